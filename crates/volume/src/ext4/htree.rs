//! Looking a name up in a hashed directory (`dx_probe`, `ext4_htree_next_block`, Linux 6.12).
//!
//! Names that share a hash may continue in the next leaf, whose index entry then has bit 0 of its hash set. The number of
//! leaves read is bounded by the number of blocks of the directory.

use daxkit_format::ext4::casefold;
use daxkit_format::ext4::dx::{self, DxBlock, DxError};
use daxkit_format::ext4::features::Incompat;
use daxkit_format::ext4::hash::{DirHash, HashVersion, dirhash};
use daxkit_format::ext4::super_block::SuperFlags;
use daxkit_format::{BlockNr, InodeNr};

use super::dir::{DirBlock, DirEntry};
use super::error::{Corruption, Place, VolumeError};
use super::inode::Inode;
use super::open::Volume;

/// One step of the way down: an index block, and which of its entries was taken.
#[derive(Debug)]
pub(crate) struct Frame {
    /// Where the block lies.
    pub(crate) place: BlockNr,
    /// Byte in the block at which the entries begin.
    pub(crate) offset: usize,
    /// How many entries fit.
    pub(crate) limit: usize,
    /// Hash and block of the directory of each entry.
    pub(crate) entries: Vec<(u32, u32)>,
    /// Which was taken.
    pub(crate) at: usize,
}

/// The hash of a name and the way down to it.
pub(crate) type HashAndWay = (DirHash, Vec<Frame>);

impl Volume {
    /// Looks a name up by the index. `None` when the index cannot be used (an unknown hash, a key that is not here, a root
    /// that is none), and the directory has to be searched from end to end, as the kernel does.
    pub(crate) fn htree_lookup(&self, dir: &Inode, name: &[u8]) -> Result<Option<Option<DirEntry>>, VolumeError> {
        let Some((hash, mut frames)) = self.htree_probe(dir, name)? else { return Ok(None) };
        let tail = self.super_block().has_metadata_csum();
        let mut leaves = self.geometry().blocks_for(dir.size());
        loop {
            let leaf = frames.last().map_or(0, Frame::block);
            if let Some(found) = self.search_leaf(dir, leaf, name)? {
                return Ok(Some(Some(found)));
            }
            if leaves == 0 {
                return Err(VolumeError::bad_inode(dir.nr(), Corruption::HtreeEndless));
            }
            leaves -= 1;
            if !self.next_leaf(dir, &mut frames, hash.hash, tail)? {
                return Ok(Some(None));
            }
        }
    }

    /// The block of the directory into which a new name belongs. `None` as for a lookup.
    pub(crate) fn htree_leaf(&self, dir: &Inode, name: &[u8]) -> Result<Option<u32>, VolumeError> {
        Ok(self.htree_probe(dir, name)?.and_then(|(_, frames)| frames.last().map(Frame::block)))
    }

    /// The way down to the first leaf that may hold a name.
    pub(crate) fn htree_probe(&self, dir: &Inode, name: &[u8]) -> Result<Option<HashAndWay>, VolumeError> {
        self.htree_way(dir, |version| self.name_hash(dir, version, name))
    }

    /// The way down to the first leaf that may hold names with a hash, which `hash_of` makes for the version that the root
    /// says.
    pub(crate) fn htree_way(
        &self,
        dir: &Inode,
        hash_of: impl FnOnce(u8) -> Option<DirHash>,
    ) -> Result<Option<HashAndWay>, VolumeError> {
        let Some((block, root)) = self.dir_block(dir, 0)? else { return Ok(None) };
        let place = Place::InodeBlock { inode: dir.nr(), block, offset: 0 };
        let tail = self.super_block().has_metadata_csum();
        let top = match DxBlock::parse_root(&root, tail) {
            Ok(top) => top,
            Err(DxError::RootInfo | DxError::Short) => return Ok(None),
            Err(e) => return Err(VolumeError::corrupt(place, e)),
        };
        let Some(info) = top.root else { return Ok(None) };
        let Some(hash) = hash_of(info.hash_version) else { return Ok(None) };
        let limit = self.htree_levels();
        if info.indirect_levels > limit {
            let why = Corruption::HtreeLevels { levels: info.indirect_levels, limit };
            return Err(VolumeError::corrupt(place, why));
        }

        let mut frames = vec![Frame::at(block, &top, hash.hash)];
        for _ in 0..info.indirect_levels {
            let child = frames.last().map_or(0, Frame::block);
            let node = self.htree_node(dir, child)?;
            frames.push(Frame::at(node.0, &parse_node(dir.nr(), &node, tail)?, hash.hash));
        }
        Ok(Some((hash, frames)))
    }

    /// Goes on to the next leaf if names with this hash may continue there.
    fn next_leaf(&self, dir: &Inode, frames: &mut [Frame], hash: u32, tail: bool) -> Result<bool, VolumeError> {
        let Some(level) = frames.iter().rposition(|f| f.at + 1 < f.entries.len()) else { return Ok(false) };
        let Some((frame, below)) = frames.get_mut(level..).and_then(<[Frame]>::split_first_mut) else {
            return Ok(false);
        };
        frame.at += 1;
        let next = frame.entries.get(frame.at).map_or(0, |(h, _)| *h);
        if next & !1 != hash {
            return Ok(false);
        }
        let mut child = frame.block();
        for frame in below {
            let node = self.htree_node(dir, child)?;
            *frame = Frame::at(node.0, &parse_node(dir.nr(), &node, tail)?, 0);
            child = frame.block();
        }
        Ok(true)
    }

    /// Levels of index blocks that may lie below the root (`ext4_dir_htree_level`, which counts the root).
    pub(crate) fn htree_levels(&self) -> u8 {
        if self.has_incompat(Incompat::LARGEDIR) { dx::MAX_LEVELS - 1 } else { dx::MAX_LEVELS - 2 }
    }

    /// A block of a hashed directory that must be there.
    pub(crate) fn htree_node(&self, dir: &Inode, logical: u32) -> Result<DirBlock, VolumeError> {
        let logical = u64::from(logical);
        self.dir_block(dir, logical)?
            .ok_or_else(|| VolumeError::corrupt(Place::FileBlock { inode: dir.nr(), logical }, DxError::Short))
    }

    fn search_leaf(&self, dir: &Inode, logical: u32, name: &[u8]) -> Result<Option<DirEntry>, VolumeError> {
        let (block, bytes) = self.htree_node(dir, logical)?;
        let rule = self.name_rule(dir);
        for entry in self.entries_of(&bytes) {
            let place = Place::InodeBlock { inode: dir.nr(), block, offset: 0 };
            let e = entry.map_err(|e| VolumeError::corrupt(place, e))?;
            if e.inode != 0 && rule.matches(e.name, name) {
                return Ok(Some(DirEntry {
                    inode: InodeNr(e.inode.into()),
                    file_type: e.file_type,
                    name: e.name.to_vec(),
                    logical: logical.into(),
                    block: Some(block),
                    offset: u32::try_from(e.offset).unwrap_or(u32::MAX),
                }));
            }
        }
        Ok(None)
    }

    /// The hash of a name in a directory whose root says `version`; `None` where it cannot be computed.
    #[must_use]
    pub fn name_hash(&self, dir: &Inode, version: u8, name: &[u8]) -> Option<DirHash> {
        let flags = SuperFlags::from_bits_retain(self.super_block().s_flags.get());
        let version = HashVersion::resolve(version, flags.contains(SuperFlags::UNSIGNED_HASH)).ok()?;
        if version == HashVersion::SipHash {
            return None;
        }
        let seed = self.super_block().hash_seed();
        if self.name_rule(dir).folded {
            return casefold::dirhash_casefold(name, version, &seed, false).ok();
        }
        Some(dirhash(name, version, &seed))
    }
}

fn parse_node(dir: InodeNr, (block, bytes): &DirBlock, tail: bool) -> Result<DxBlock<'_>, VolumeError> {
    DxBlock::parse_node(bytes, tail)
        .map_err(|e| VolumeError::corrupt(Place::InodeBlock { inode: dir, block: *block, offset: 0 }, e))
}

impl Frame {
    /// The entry under which names with this hash begin: the last whose hash is not greater.
    fn at(place: BlockNr, node: &DxBlock<'_>, hash: u32) -> Self {
        let entries: Vec<_> = node.iter().collect();
        let at = entries.partition_point(|(h, _)| *h <= hash).saturating_sub(1);
        Self { place, offset: node.offset, limit: node.limit.into(), entries, at }
    }

    /// The block of the directory that was taken.
    pub(crate) fn block(&self) -> u32 {
        self.entries.get(self.at).map_or(0, |(_, block)| *block)
    }
}
