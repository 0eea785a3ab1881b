//! Group descriptors: where they lie, and reading them one by one.
//!
//! They are read when asked for, through the block cache, because a hostile superblock may claim two thousand million
//! groups. Where they lie follows `descriptor_loc` (Linux 6.12), and for a backup superblock the rules of e2fsprogs.

use daxkit_format::ext4::features::RoCompat;
use daxkit_format::ext4::group_desc::{self, GroupDesc};
use daxkit_format::{BlockNr, GroupNr};

use super::error::{Corruption, Place, VolumeError};
use super::open::Volume;

impl Volume {
    /// True when group `group` begins with a superblock.
    #[must_use]
    pub fn group_has_super(&self, group: GroupNr) -> bool {
        self.super_block().group_has_super(group.get())
    }

    /// The block that holds the superblock this volume was opened with, the descriptors behind it.
    fn super_block_nr(&self) -> u64 {
        self.super_block_offset() >> self.geometry().block_shift()
    }

    /// Where descriptor block `index` lies (`index` counts from 0 over the whole table).
    #[must_use]
    pub fn descriptor_block(&self, index: u32) -> BlockNr {
        let g = self.geometry();
        let super_block = self.super_block_nr();
        if index < g.first_meta_bg {
            return BlockNr(super_block.saturating_add(1).saturating_add(index.into()));
        }
        // A meta block group has its descriptors in its first group, and copies in the second and the last.
        let mut group = u64::from(index) * u64::from(g.desc_per_block);
        let primary = self.super_block_offset() == 1024;
        if !primary && group + 1 < u64::from(g.groups_count) {
            group += 1;
        }
        let group = GroupNr(u32::try_from(group).unwrap_or(u32::MAX));
        let mut skip = u64::from(self.group_has_super(group));
        // Blocks of 1 KiB that are counted from 0: the boot block comes first.
        if group.get() == 0 && g.block_size == 1024 && g.first_data_block == 0 {
            skip += 1;
        }
        BlockNr(g.group_first_block(group).get().saturating_add(skip))
    }

    /// The block that holds descriptor block `index` in group `copy`.
    pub(crate) fn desc_copy_block(&self, index: u32, copy: u32) -> Option<u64> {
        let g = self.geometry();
        if index < g.first_meta_bg {
            let behind = self.group_has_super(GroupNr(copy)).then(|| self.behind_super(copy))?;
            return behind.checked_add(index.into());
        }
        let first = index.checked_mul(g.desc_per_block)?;
        let holds = [Some(first), first.checked_add(1), first.checked_add(g.desc_per_block - 1)];
        holds.contains(&Some(copy)).then(|| self.behind_super(copy))
    }

    /// The block behind a group's superblock, if it has one; else its first.
    fn behind_super(&self, group: u32) -> u64 {
        let g = self.geometry();
        let start = g.group_first_block(GroupNr(group)).get();
        // With blocks of 1 KiB the superblock is in block 1 even where groups begin at block 0 (bigalloc).
        let odd = u64::from(group == 0 && g.block_size == 1024 && g.first_data_block == 0);
        start + odd + u64::from(self.group_has_super(GroupNr(group)))
    }

    /// The bytes of a group's descriptor as they lie on disk.
    ///
    /// # Errors
    /// No such group, a descriptor table that leads out of the file system, or the device failed.
    pub fn raw_group_desc(&self, group: GroupNr) -> Result<Vec<u8>, VolumeError> {
        let (block, at) = self.group_desc_location(group)?;
        let bytes = self.block(Place::Group(group), block)?;
        let end = at.saturating_add(self.geometry().desc_size.into());
        Ok(bytes.get(at..end).unwrap_or_default().to_vec())
    }

    /// The block that holds a group's descriptor, and the byte in it.
    ///
    /// # Errors
    /// No such group.
    pub fn group_desc_location(&self, group: GroupNr) -> Result<(BlockNr, usize), VolumeError> {
        let g = self.geometry();
        if group.get() >= g.groups_count {
            return Err(VolumeError::NoSuchGroup { group, count: g.groups_count });
        }
        let block = self.descriptor_block(group.get() / g.desc_per_block);
        let at = (group.get() % g.desc_per_block) as usize * usize::from(g.desc_size);
        Ok((block, at))
    }

    /// A group's descriptor. Its checksum is verified where there is one.
    ///
    /// # Errors
    /// As [`Volume::raw_group_desc`], or the checksum does not match.
    pub fn group_desc(&self, group: GroupNr) -> Result<GroupDesc, VolumeError> {
        let raw = self.raw_group_desc(group)?;
        if !self.group_desc_checksum_ok(group, &raw) {
            return Err(VolumeError::corrupt(Place::Group(group), Corruption::Checksum));
        }
        Ok(GroupDesc::from_disk(&raw).unwrap_or_else(daxkit_format::OnDisk::zeroed))
    }

    fn group_desc_checksum_ok(&self, group: GroupNr, raw: &[u8]) -> bool {
        let stored = || GroupDesc::from_disk(raw).map(|d| d.bg_checksum.get());
        if let Some(seed) = self.verify_seed() {
            return stored() == Some(group_desc::checksum_with_seed(seed, group.get(), raw));
        }
        // Without metadata_csum there may be the older crc16, which nobody asked to ignore unless rescuing.
        let old = self.has_ro_compat(RoCompat::GDT_CSUM) && !self.super_block().has_metadata_csum();
        !old || self.ignores_checksums() || stored() == Some(group_desc::checksum(self.super_block(), group.get(), raw))
    }

    /// The block in which a group's inode table begins, checked to lie inside the file system.
    pub(crate) fn inode_table(&self, group: GroupNr) -> Result<BlockNr, VolumeError> {
        let table = self.group_desc(group)?.inode_table();
        let g = self.geometry();
        let blocks = u64::from(g.inode_table_blocks);
        if !g.has_blocks(table, blocks) {
            let last = table.saturating_add(blocks).saturating_sub(1);
            let why = Corruption::BlockRange { first: table, last, limit: g.blocks_count };
            return Err(VolumeError::corrupt(Place::Group(group), why));
        }
        Ok(BlockNr(table))
    }
}
