//! The inode tables of all groups, read in one go: what scans over every inode stand on.
//!
//! A scan is cut into tables, so that whoever has threads can give each some. Tables that were never written, that lie outside
//! of the file system, or over one that came before, are left out; so all scans together read no byte of the device
//! twice, whatever a hostile image says. Inodes behind `bg_itable_unused` and those in holes of the device are skipped.

use daxkit_device::{BlockDevice, RangeSet};
use daxkit_format::ext4::features::RoCompat;
use daxkit_format::ext4::group_desc::GroupFlags;
use daxkit_format::{BlockNr, GroupNr, InodeNr};

use super::error::{Corruption, Place, VolumeError};
use super::open::Volume;

/// Most groups that are asked: 2 PiB in blocks of 4 KiB. A bound against superblocks that lie.
const MAX_GROUPS: u32 = 1 << 24;

/// Bytes of a table read at once.
const CHUNK: u64 = 256 << 10;

/// Most errors kept of one scan; the rest is counted.
const MAX_ERRORS: usize = 64;

/// A part of the inode tables that can be scanned on its own: the inodes of one group that may be in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InodeTable {
    /// Whose.
    pub group: GroupNr,
    /// Where it begins.
    pub block: BlockNr,
    /// How many inodes from its beginning may be in use.
    pub inodes: u32,
    /// How many of them are directories, by the descriptor (`bg_used_dirs_count`), where it has a checksum: a hint.
    pub directories: Option<u32>,
}

/// What was in the way of a scan: the first errors, and how many there were.
#[derive(Debug, Default)]
pub struct ScanErrors {
    /// The first of them.
    pub first: Vec<VolumeError>,
    /// All of them.
    pub count: u64,
}

impl ScanErrors {
    /// Takes one more.
    pub fn push(&mut self, error: VolumeError) {
        self.count += 1;
        if self.first.len() < MAX_ERRORS {
            self.first.push(error);
        }
    }

    /// Takes those of another scan.
    pub fn append(&mut self, other: Self) {
        self.count += other.count;
        let room = MAX_ERRORS.saturating_sub(self.first.len());
        self.first.extend(other.first.into_iter().take(room));
    }
}

impl Volume {
    /// The inode tables to scan, and what is wrong with those that cannot be.
    #[must_use]
    pub fn inode_tables(&self) -> (Vec<InodeTable>, ScanErrors) {
        let g = *self.geometry();
        let (mut tables, mut errors, mut seen) = (Vec::new(), ScanErrors::default(), RangeSet::new());
        let per_block = g.desc_per_block.max(1);
        let groups = g.groups_count.min(MAX_GROUPS);
        for first in (0..groups).step_by(per_block as usize) {
            let at = self.descriptor_block(first / per_block).get().saturating_mul(g.block_size.into());
            // A hole describes no group; a volume that does not trust itself is not asked group by group either.
            if self.device().known_zero(self.base().saturating_add(at), g.block_size.into()) {
                continue;
            }
            for group in first..groups.min(first.saturating_add(per_block)) {
                match self.table_of(GroupNr(group), &mut seen) {
                    Ok(table) => tables.extend(table),
                    Err(e) => errors.push(e),
                }
            }
        }
        (tables, errors)
    }

    fn table_of(&self, group: GroupNr, seen: &mut RangeSet) -> Result<Option<InodeTable>, VolumeError> {
        let g = self.geometry();
        let desc = self.group_desc(group)?;
        let counts = !self.is_catastrophic()
            && (self.has_ro_compat(RoCompat::GDT_CSUM) || self.super_block().has_metadata_csum());
        if counts && desc.flags().contains(GroupFlags::INODE_UNINIT) {
            return Ok(None);
        }
        let block = self.inode_table(group)?;
        let blocks = block.get()..block.get().saturating_add(g.inode_table_blocks.into());
        if seen.overlaps(blocks.clone()) {
            let why = Corruption::BlockRange { first: blocks.start, last: blocks.end - 1, limit: g.blocks_count };
            return Err(VolumeError::corrupt(Place::Group(group), why));
        }
        seen.insert(blocks);
        let unused = if counts { desc.itable_unused() } else { 0 };
        let left = g.inodes_count.saturating_sub(group.get().saturating_mul(g.inodes_per_group));
        let inodes = g.inodes_per_group.saturating_sub(unused).min(left);
        let directories = counts.then(|| desc.used_dirs_count());
        Ok((inodes > 0).then_some(InodeTable { group, block, inodes, directories }))
    }

    /// Calls `each` with the number and the bytes of every inode of a table that is not a hole of the device.
    pub(crate) fn scan_table(
        &self,
        table: &InodeTable,
        each: &mut dyn FnMut(InodeNr, &[u8]),
    ) -> Result<(), VolumeError> {
        let g = self.geometry();
        let size = u64::from(g.inode_size);
        let first = u64::from(table.group.get()) * u64::from(g.inodes_per_group) + 1;
        let end = u64::from(table.inodes) * size;
        let start = table.block.get() << g.block_shift();
        let mut buf = Vec::new();
        let mut at = 0;
        while at < end {
            let len = CHUNK.min(end - at);
            let here = start.saturating_add(at);
            if !self.device().known_zero(self.base().saturating_add(here), len) {
                buf.resize(usize::try_from(len).unwrap_or(0), 0);
                self.read_bytes(Place::Group(table.group), here, &mut buf)?;
                let numbers = first + at / size..;
                for (nr, raw) in numbers.zip(buf.chunks_exact(usize::from(g.inode_size))) {
                    each(InodeNr(nr), raw);
                }
            }
            at += len;
        }
        Ok(())
    }
}

/// Mode and number of links of an inode, straight from its bytes: what most inodes are passed over by.
pub(crate) fn mode_and_links(raw: &[u8]) -> Option<(u16, u16)> {
    let word = |at: usize| raw.get(at..)?.first_chunk::<2>().map(|b| u16::from_le_bytes(*b));
    Some((word(0)?, word(0x1A)?))
}
