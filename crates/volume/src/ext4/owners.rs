//! Which inodes use certain blocks, for any number of blocks in one pass over the inode tables.
//!
//! An inode uses its data, the nodes of its map, and its block of attributes. What is damaged uses what can be read of it, and
//! is reported: maps that cannot be, and wrong checksums of inodes that use one of the blocks. Memory is bounded by the number of blocks asked for: of a block with more users than
//! [`MAX_OWNERS`], the rest is only counted.

use std::collections::{BTreeMap, HashSet};

use daxkit_format::ext4::extent::Node;
use daxkit_format::ext4::inode::{self, Inode as DiskInode, mode};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::{BlockNr, InodeNr};

use super::error::{Corruption, VolumeError};
use super::map::MapItem;
use super::open::Volume;
use super::tables::{InodeTable, ScanErrors, mode_and_links};

/// Users of one block that are named. A block of attributes may have 1024 (`EXT4_XATTR_REFCOUNT_MAX`).
pub const MAX_OWNERS: usize = 1024;

/// What an inode uses a block for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BlockUse {
    /// It holds this block of the file.
    Data {
        /// Block of the file.
        logical: u64,
    },
    /// It is a node of the map.
    Map,
    /// It holds attributes.
    Attributes,
}

/// One user of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockOwner {
    /// Who.
    pub inode: InodeNr,
    /// What for.
    pub used_for: BlockUse,
}

/// The users of one block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owners {
    /// The first [`MAX_OWNERS`], in the order of inodes.
    pub named: Vec<BlockOwner>,
    /// All.
    pub count: u64,
}

/// What a scan found.
#[derive(Debug, Default)]
pub struct OwnerScan {
    /// The users of each block that has some.
    pub blocks: BTreeMap<BlockNr, Owners>,
    /// What could not be read.
    pub errors: ScanErrors,
    /// Nodes of maps met so far: one that belongs to a second map is damage, and not followed again, or a hostile image
    /// could have every inode walk all blocks.
    nodes: HashSet<u64>,
    /// Uses found.
    found: u64,
}

impl OwnerScan {
    /// Takes what a scan of a later table found.
    pub fn append(&mut self, other: Self) {
        for (block, owners) in other.blocks {
            let known = self.blocks.entry(block).or_default();
            known.count += owners.count;
            let room = MAX_OWNERS.saturating_sub(known.named.len());
            known.named.extend(owners.named.into_iter().take(room));
        }
        self.errors.append(other.errors);
    }

    fn add(&mut self, block: u64, inode: InodeNr, used_for: BlockUse) {
        self.found += 1;
        let owners = self.blocks.entry(BlockNr(block)).or_default();
        owners.count += 1;
        if owners.named.len() < MAX_OWNERS {
            owners.named.push(BlockOwner { inode, used_for });
        }
    }
}

/// Blocks to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockSet(Vec<u64>);

impl FromIterator<BlockNr> for BlockSet {
    fn from_iter<I: IntoIterator<Item = BlockNr>>(blocks: I) -> Self {
        let mut all: Vec<u64> = blocks.into_iter().map(BlockNr::get).collect();
        all.sort_unstable();
        all.dedup();
        Self(all)
    }
}

impl BlockSet {
    /// The blocks of the set in a run of `len` from `first`.
    fn inside(&self, first: u64, len: u64) -> impl Iterator<Item = u64> {
        let end = first.saturating_add(len);
        let from = self.0.partition_point(|b| *b < first);
        self.0.get(from..).unwrap_or_default().iter().copied().take_while(move |b| *b < end)
    }
}

impl Volume {
    /// The users of the blocks of `wanted` among the inodes of one table ([`Volume::inode_tables`]).
    #[must_use]
    pub fn block_owners(&self, table: &InodeTable, wanted: &BlockSet) -> OwnerScan {
        let mut scan = OwnerScan::default();
        let done = self.scan_table(table, &mut |nr, raw| {
            let before = scan.found;
            self.add_owner(nr, raw, wanted, &mut scan);
            // Whoever uses none of the blocks is not asked for its checksum, which would cost more than all the rest.
            if scan.found != before
                && let (Some(seed), Ok(ino)) = (self.verify_seed(), u32::try_from(nr.get()))
                && !inode::verify(seed, ino, raw)
            {
                scan.errors.push(VolumeError::bad_inode(nr, Corruption::Checksum));
            }
        });
        if let Err(e) = done {
            scan.errors.push(e);
        }
        scan
    }

    fn add_owner(&self, nr: InodeNr, raw: &[u8], wanted: &BlockSet, scan: &mut OwnerScan) {
        if mode_and_links(raw).is_none_or(|(_, links)| links == 0) {
            return;
        }
        let Some(disk) = DiskInode::from_disk(raw) else { return };
        if disk.file_acl() != 0 && wanted.inside(disk.file_acl(), 1).next().is_some() {
            scan.add(disk.file_acl(), nr, BlockUse::Attributes);
        }
        // What is being deleted has a map that is half gone.
        if disk.i_dtime.get() != 0 {
            return;
        }
        let flags = disk.flags();
        let plain = matches!(disk.file_type(), mode::IFREG | mode::IFDIR);
        if plain && flags.contains(InodeFlags::EXTENTS) && !flags.contains(InodeFlags::INLINE_DATA) {
            // Nearly every file: the extents lie in the inode, and a glance at them is enough.
            if let Ok(node) = Node::parse(&disk.i_block, None)
                && node.depth() == 0
            {
                let limit = self.geometry().blocks_count;
                for e in node.extents() {
                    let (start, len) = (e.start(), u64::from(e.len()));
                    for block in wanted.inside(start, len).filter(|b| *b < limit) {
                        let logical = u64::from(e.ee_block.get()) + (block - start);
                        scan.add(block, nr, BlockUse::Data { logical });
                    }
                    if !self.geometry().has_blocks(start, len) {
                        let last = start.saturating_add(len).saturating_sub(1);
                        let why = Corruption::BlockRange { first: start, last, limit };
                        scan.errors.push(VolumeError::bad_inode(nr, why));
                    }
                }
                return;
            }
        }
        self.add_mapped(nr, raw, wanted, scan);
    }

    fn add_mapped(&self, nr: InodeNr, raw: &[u8], wanted: &BlockSet, scan: &mut OwnerScan) {
        let inode = self.decode_inode(nr, raw.to_vec());
        for item in self.map_walk(&inode) {
            match item {
                Ok(MapItem::Node { block, .. }) => {
                    if wanted.inside(block.get(), 1).next().is_some() {
                        scan.add(block.get(), nr, BlockUse::Map);
                    }
                    if !scan.nodes.insert(block.get()) {
                        scan.errors.push(VolumeError::bad_inode(nr, Corruption::IndirectTwice { block: block.get() }));
                        return;
                    }
                }
                Ok(MapItem::Run(run)) => {
                    for block in wanted.inside(run.physical.get(), run.len) {
                        let logical = run.logical + (block - run.physical.get());
                        scan.add(block, nr, BlockUse::Data { logical });
                    }
                }
                Err(e) => scan.errors.push(e),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_finds_its_blocks_in_a_run() {
        let set: BlockSet = [9, 3, 9, 12].map(BlockNr).into_iter().collect();
        let inside = |first, len| set.inside(first, len).collect::<Vec<_>>();
        assert_eq!(inside(0, 3), []);
        assert_eq!(inside(3, 7), [3, 9]);
        assert_eq!(inside(10, u64::MAX), [12]);
    }

    #[test]
    fn of_a_block_with_many_users_the_rest_is_counted() {
        let mut scan = OwnerScan::default();
        for nr in 0..2000 {
            scan.add(5, InodeNr(nr), BlockUse::Attributes);
        }
        let mut other = OwnerScan::default();
        other.add(5, InodeNr(3000), BlockUse::Map);
        scan.append(other);
        let owners = &scan.blocks[&BlockNr(5)];
        assert_eq!((owners.named.len(), owners.count), (MAX_OWNERS, 2001));
    }
}
