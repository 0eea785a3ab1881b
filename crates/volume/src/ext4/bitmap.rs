//! Which blocks and inodes of a group are in use.
//!
//! A group whose descriptor says that a bitmap was never written has one all the same: what it must look like follows from
//! where the group's own metadata lies (`ext4_init_block_bitmap`, Linux 6.12). Bits past the end of the group are set.

use std::ops::Range;

use daxkit_format::ext4::features::{Incompat, RoCompat};
use daxkit_format::ext4::group_desc::{GroupDesc, GroupFlags, bitmap_checksum};
use daxkit_format::{BlockNr, GroupNr, InodeNr};

use super::error::{Corruption, Place, VolumeError};
use super::open::Volume;
use super::tables::ScanErrors;

/// The bits of one group: clusters or inodes, set where in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bitmap {
    bytes: Vec<u8>,
    len: u32,
}

impl Bitmap {
    /// A bitmap of `len` bits in the bytes of a block. Bits past `len` are not looked at.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>, len: u32) -> Self {
        let most = u32::try_from(bytes.len().saturating_mul(8)).unwrap_or(u32::MAX);
        Self { len: len.min(most), bytes }
    }

    /// All bits clear but those past the end, in `bytes` bytes.
    #[must_use]
    pub fn empty(bytes: usize, len: u32) -> Self {
        let mut map = Self::from_bytes(vec![0; bytes], len);
        for bit in map.len as usize..bytes * 8 {
            if let Some(byte) = map.bytes.get_mut(bit / 8) {
                *byte |= 1 << (bit % 8);
            }
        }
        map
    }

    /// Number of bits.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// True for a bitmap without bits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether a bit is set; bits past the end are.
    #[must_use]
    pub fn get(&self, bit: u32) -> bool {
        bit >= self.len || self.bytes.get(bit as usize / 8).is_none_or(|byte| byte >> (bit % 8) & 1 == 1)
    }

    /// Sets or clears a bit; returns what it was. Bits past the end stay as they are.
    pub fn set(&mut self, bit: u32, value: bool) -> bool {
        let was = self.get(bit);
        if bit < self.len
            && let Some(byte) = self.bytes.get_mut(bit as usize / 8)
        {
            let mask = 1 << (bit % 8);
            if value {
                *byte |= mask;
            } else {
                *byte &= !mask;
            }
        }
        was
    }

    /// How many bits are clear.
    #[must_use]
    pub fn count_clear(&self) -> u32 {
        let whole = self.len as usize / 8;
        let bytes = self.bytes.get(..whole).unwrap_or_default();
        let (words, rest) = bytes.as_chunks::<8>();
        let mut clear: u32 = words.iter().map(|w| u64::from_ne_bytes(*w).count_zeros()).sum();
        clear += rest.iter().map(|b| b.count_zeros()).sum::<u32>();
        clear + (whole as u32 * 8..self.len).filter(|bit| !self.get(*bit)).count() as u32
    }

    /// The first clear bit at or after `from`.
    #[must_use]
    pub fn next_clear(&self, from: u32) -> Option<u32> {
        let mut bit = from;
        while bit < self.len {
            if bit.is_multiple_of(8) && self.bytes.get(bit as usize / 8) == Some(&0xff) {
                bit += 8;
            } else if self.get(bit) {
                bit += 1;
            } else {
                return Some(bit);
            }
        }
        None
    }

    /// The first set bit at or after `from`; the length where there is none.
    #[must_use]
    pub fn next_set(&self, from: u32) -> u32 {
        let mut bit = from;
        while bit < self.len {
            if bit.is_multiple_of(64)
                && let Some(word) = self.bytes.get(bit as usize / 8..).and_then(<[u8]>::first_chunk::<8>)
                && u64::from_le_bytes(*word) == 0
            {
                bit += 64;
            } else if self.get(bit) {
                return bit;
            } else {
                bit += 1;
            }
        }
        self.len
    }

    /// Sets or clears the bits of a range; how many of them were otherwise before.
    pub fn set_range(&mut self, bits: Range<u32>, value: bool) -> u32 {
        bits.map(|bit| u32::from(self.set(bit, value) != value)).sum()
    }

    /// The bytes, as long as a block.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Volume {
    /// True when descriptors may say that a bitmap was never written.
    fn has_uninit_groups(&self) -> bool {
        self.has_ro_compat(RoCompat::GDT_CSUM) || self.super_block().has_metadata_csum()
    }

    /// Clusters of a group: the bits of its block bitmap that mean something.
    #[must_use]
    pub fn group_clusters(&self, group: GroupNr) -> u32 {
        let g = self.geometry();
        g.group_blocks(group).div_ceil(g.cluster_ratio)
    }

    /// Blocks at the start of a group that hold a superblock, descriptors and what is reserved for more of them
    /// (`ext4_num_base_meta_blocks`).
    #[must_use]
    pub fn group_base_meta_blocks(&self, group: GroupNr) -> u32 {
        let g = self.geometry();
        let has_super = self.group_has_super(group);
        let meta_bg = self.has_incompat(Incompat::META_BG);
        let old_part = u64::from(g.first_meta_bg) * u64::from(g.desc_per_block);
        if !meta_bg || u64::from(group.get()) < old_part {
            let gdt = g.first_meta_bg.saturating_add(u32::from(self.super_block().s_reserved_gdt_blocks.get()));
            return if has_super { gdt.saturating_add(1) } else { 0 };
        }
        let place = group.get() % g.desc_per_block;
        u32::from(has_super) + u32::from(place == 0 || place == 1 || place == g.desc_per_block - 1)
    }

    /// The block bitmap of a group in which nothing but its own metadata is in use.
    #[must_use]
    pub fn initial_block_bitmap(&self, group: GroupNr, desc: &GroupDesc) -> Bitmap {
        let g = self.geometry();
        let mut map = Bitmap::empty(g.block_size as usize, self.group_clusters(group));
        let first = g.group_first_block(group).get();
        let mut mark = |block: u64, len: u32| {
            for block in block..block.saturating_add(len.into()) {
                if let Some(inside) = block.checked_sub(first).and_then(|b| u32::try_from(b).ok()) {
                    map.set(inside / g.cluster_ratio, true);
                }
            }
        };
        mark(first, self.group_base_meta_blocks(group).min(g.blocks_per_group));
        mark(desc.block_bitmap(), 1);
        mark(desc.inode_bitmap(), 1);
        mark(desc.inode_table(), g.inode_table_blocks);
        map
    }

    fn bitmap_block(&self, place: Place, block: u64) -> Result<Vec<u8>, VolumeError> {
        let g = self.geometry();
        if !g.has_blocks(block, 1) {
            let why = Corruption::BlockRange { first: block, last: block, limit: g.blocks_count };
            return Err(VolumeError::corrupt(place, why));
        }
        Ok(self.block(place, BlockNr(block))?.to_vec())
    }

    fn check_bitmap(&self, place: Place, bytes: &[u8], bits: u32, stored: u32) -> Result<(), VolumeError> {
        let Some(seed) = self.verify_seed() else { return Ok(()) };
        let mask = if self.geometry().desc_size >= 64 { u32::MAX } else { 0xffff };
        if bitmap_checksum(seed, bytes, bits) & mask == stored & mask {
            return Ok(());
        }
        Err(VolumeError::corrupt(place, Corruption::Checksum))
    }

    /// Which clusters of a group are in use.
    ///
    /// # Errors
    /// No such group; its descriptor or the bitmap is damaged; the device failed.
    pub fn block_bitmap(&self, group: GroupNr) -> Result<Bitmap, VolumeError> {
        let desc = self.group_desc(group)?;
        if self.has_uninit_groups() && desc.flags().contains(GroupFlags::BLOCK_UNINIT) {
            return Ok(self.initial_block_bitmap(group, &desc));
        }
        let place = Place::BlockBitmap(group);
        let bytes = self.bitmap_block(place, desc.block_bitmap())?;
        self.check_bitmap(place, &bytes, self.geometry().clusters_per_group, desc.block_bitmap_csum())?;
        Ok(Bitmap::from_bytes(bytes, self.group_clusters(group)))
    }

    /// Which inodes of a group are in use.
    ///
    /// # Errors
    /// As [`Volume::block_bitmap`].
    pub fn inode_bitmap(&self, group: GroupNr) -> Result<Bitmap, VolumeError> {
        let desc = self.group_desc(group)?;
        let bits = self.geometry().inodes_per_group;
        if self.has_uninit_groups() && desc.flags().contains(GroupFlags::INODE_UNINIT) {
            return Ok(Bitmap::empty(self.block_size() as usize, bits));
        }
        let place = Place::InodeBitmap(group);
        let bytes = self.bitmap_block(place, desc.inode_bitmap())?;
        self.check_bitmap(place, &bytes, bits, desc.inode_bitmap_csum())?;
        Ok(Bitmap::from_bytes(bytes, bits))
    }

    /// Whether the bitmap says that an inode is in use.
    ///
    /// # Errors
    /// As [`Volume::inode_bitmap`]; no such inode.
    pub fn inode_in_use(&self, nr: InodeNr) -> Result<bool, VolumeError> {
        let count = self.geometry().inodes_count.into();
        let (group, index) = self.geometry().group_of_inode(nr).ok_or(VolumeError::NoSuchInode { inode: nr, count })?;
        Ok(self.inode_bitmap(group)?.get(index))
    }

    /// Whether the bitmap says that a block is in use.
    ///
    /// # Errors
    /// As [`Volume::block_bitmap`]; no such block.
    pub fn block_in_use(&self, block: BlockNr) -> Result<bool, VolumeError> {
        let g = self.geometry();
        let group = g.group_of_block(block).ok_or(VolumeError::NoSuchBlock { block, count: g.blocks_count })?;
        let inside = block.get().saturating_sub(g.group_first_block(group).get()) / u64::from(g.cluster_ratio);
        Ok(self.block_bitmap(group)?.get(u32::try_from(inside).unwrap_or(u32::MAX)))
    }

    /// Free clusters and free inodes by the descriptors of all groups.
    ///
    /// # Errors
    /// A descriptor is damaged, or the device failed.
    pub fn free_counts(&self) -> Result<(u64, u64), VolumeError> {
        let (mut clusters, mut inodes) = (0u64, 0u64);
        for group in 0..self.geometry().groups_count {
            let desc = self.group_desc(GroupNr(group))?;
            clusters = clusters.saturating_add(desc.free_blocks_count().into());
            inodes = inodes.saturating_add(desc.free_inodes_count().into());
        }
        Ok((clusters, inodes))
    }
}

impl Volume {
    /// The groups that begin within the device: what a damaged superblock claims beyond is not looked for.
    #[must_use]
    pub fn groups_on_device(&self) -> Range<u32> {
        let g = self.geometry();
        let bytes = self.device().len().saturating_sub(self.base());
        let groups = bytes.div_ceil(u64::from(g.blocks_per_group).saturating_mul(g.block_size.into()).max(1));
        0..u32::try_from(groups.saturating_add(1)).unwrap_or(u32::MAX).min(g.groups_count)
    }

    /// Calls `each` with the first block and the length of every run of free blocks, joined over the ends of groups. Groups whose
    /// bitmap cannot be read count as in use; their errors are returned.
    pub fn free_runs(&self, mut each: impl FnMut(u64, u64)) -> ScanErrors {
        let g = self.geometry();
        let mut errors = ScanErrors::default();
        let mut run: Option<(u64, u64)> = None;
        for group in self.groups_on_device().map(GroupNr) {
            let map = match self.block_bitmap(group) {
                Ok(map) => map,
                Err(e) => {
                    errors.push(e);
                    continue;
                }
            };
            let start = g.group_first_block(group).get();
            let end = start + u64::from(g.group_blocks(group));
            let ratio = u64::from(g.cluster_ratio);
            let mut bit = 0;
            while let Some(free) = map.next_clear(bit) {
                let mut past = free;
                while past < map.len() && !map.get(past) {
                    past += 1;
                }
                let first = start + u64::from(free) * ratio;
                let stop = (start + u64::from(past) * ratio).min(end);
                match &mut run {
                    Some((_, until)) if *until == first => *until = stop,
                    other => {
                        if let Some((from, until)) = other.replace((first, stop)) {
                            each(from, until - from);
                        }
                    }
                }
                bit = past;
            }
        }
        if let Some((from, until)) = run {
            each(from, until - from);
        }
        errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_past_the_end_are_set_and_stay() {
        let mut map = Bitmap::empty(4, 19);
        assert_eq!(map.as_bytes(), [0, 0, 0b1111_1000, 0xff]);
        assert_eq!((map.count_clear(), map.next_clear(0)), (19, Some(0)));
        assert!(!map.set(18, true) && map.set(18, true) && map.set(19, false));
        assert_eq!((map.count_clear(), map.next_clear(18)), (18, None));
        assert_eq!(map.as_bytes(), [0, 0, 0b1111_1100, 0xff]);
        for bit in 0..16 {
            map.set(bit, true);
        }
        assert_eq!(map.next_clear(0), Some(16));
        let mut wide = Bitmap::empty(64, 500);
        assert_eq!((wide.next_set(0), wide.set_range(130..140, true), wide.set_range(135..150, true)), (500, 10, 10));
        assert_eq!((wide.next_set(0), wide.next_set(150), wide.next_clear(130)), (130, 500, Some(150)));
        assert!(!map.set(16, false) || map.get(15));
    }
}
