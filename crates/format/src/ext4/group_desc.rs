//! Group descriptors (`struct ext4_group_desc`): 32 bytes, or 64 (and more) with the 64bit feature.

use super::features::{Incompat, RoCompat};
use super::super_block::SuperBlock;
use crate::checksum::{crc16, crc32c};
use crate::on_disk::OnDisk;
use zerocopy::little_endian::{U16, U32};

on_disk! {
    /// The 32 bytes that every descriptor has.
    pub struct GroupDesc32("ext4_group_desc", 32) {
        0x00 bg_block_bitmap_lo: U32,
        0x04 bg_inode_bitmap_lo: U32,
        0x08 bg_inode_table_lo: U32,
        0x0C bg_free_blocks_count_lo: U16,
        0x0E bg_free_inodes_count_lo: U16,
        0x10 bg_used_dirs_count_lo: U16,
        0x12 bg_flags: U16,
        0x14 bg_exclude_bitmap_lo: U32,
        0x18 bg_block_bitmap_csum_lo: U16,
        0x1A bg_inode_bitmap_csum_lo: U16,
        0x1C bg_itable_unused_lo: U16,
        0x1E bg_checksum: U16,
    }
}

on_disk! {
    /// The whole descriptor of a 64bit file system.
    pub struct GroupDesc("ext4_group_desc", 64) {
        0x00 bg_block_bitmap_lo: U32,
        0x04 bg_inode_bitmap_lo: U32,
        0x08 bg_inode_table_lo: U32,
        0x0C bg_free_blocks_count_lo: U16,
        0x0E bg_free_inodes_count_lo: U16,
        0x10 bg_used_dirs_count_lo: U16,
        0x12 bg_flags: U16,
        0x14 bg_exclude_bitmap_lo: U32,
        0x18 bg_block_bitmap_csum_lo: U16,
        0x1A bg_inode_bitmap_csum_lo: U16,
        0x1C bg_itable_unused_lo: U16,
        0x1E bg_checksum: U16,
        0x20 bg_block_bitmap_hi: U32,
        0x24 bg_inode_bitmap_hi: U32,
        0x28 bg_inode_table_hi: U32,
        0x2C bg_free_blocks_count_hi: U16,
        0x2E bg_free_inodes_count_hi: U16,
        0x30 bg_used_dirs_count_hi: U16,
        0x32 bg_itable_unused_hi: U16,
        0x34 bg_exclude_bitmap_hi: U32,
        0x38 bg_block_bitmap_csum_hi: U16,
        0x3A bg_inode_bitmap_csum_hi: U16,
        0x3C bg_reserved: U32,
    }
}

bitflags::bitflags! {
    /// `bg_flags`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct GroupFlags: u16 {
        /// The inode bitmap is not written, no inode is in use (`EXT4_BG_INODE_UNINIT`).
        const INODE_UNINIT = 0x0001;
        /// The block bitmap is not written, only metadata is in use (`EXT4_BG_BLOCK_UNINIT`).
        const BLOCK_UNINIT = 0x0002;
        /// The inode table reads as zero where unused (`EXT4_BG_INODE_ZEROED`).
        const INODE_ZEROED = 0x0004;
        const _ = !0;
    }
}

/// Where `bg_checksum` lies.
const CHECKSUM_AT: usize = 0x1E;

/// Joins a low and a high half.
fn join(lo: u32, hi: u32) -> u64 {
    u64::from(hi) << 32 | u64::from(lo)
}

impl GroupDesc {
    /// A descriptor from its bytes on disk: 32 of them fill the low half, 64 and more the whole. `None` below 32.
    #[must_use]
    pub fn from_disk(bytes: &[u8]) -> Option<Self> {
        use zerocopy::IntoBytes;
        if let Some(whole) = Self::peek(bytes) {
            return Some(*whole);
        }
        let half = GroupDesc32::peek(bytes)?;
        let mut whole = Self::zeroed();
        whole.as_mut_bytes().get_mut(..32)?.copy_from_slice(half.as_bytes());
        Some(whole)
    }

    /// Block of the block bitmap.
    #[must_use]
    pub fn block_bitmap(&self) -> u64 {
        join(self.bg_block_bitmap_lo.get(), self.bg_block_bitmap_hi.get())
    }

    /// Block of the inode bitmap.
    #[must_use]
    pub fn inode_bitmap(&self) -> u64 {
        join(self.bg_inode_bitmap_lo.get(), self.bg_inode_bitmap_hi.get())
    }

    /// First block of the inode table.
    #[must_use]
    pub fn inode_table(&self) -> u64 {
        join(self.bg_inode_table_lo.get(), self.bg_inode_table_hi.get())
    }

    /// Free blocks (clusters under bigalloc).
    #[must_use]
    pub fn free_blocks_count(&self) -> u32 {
        u32::from(self.bg_free_blocks_count_hi.get()) << 16 | u32::from(self.bg_free_blocks_count_lo.get())
    }

    /// Free inodes.
    #[must_use]
    pub fn free_inodes_count(&self) -> u32 {
        u32::from(self.bg_free_inodes_count_hi.get()) << 16 | u32::from(self.bg_free_inodes_count_lo.get())
    }

    /// Directories in the group.
    #[must_use]
    pub fn used_dirs_count(&self) -> u32 {
        u32::from(self.bg_used_dirs_count_hi.get()) << 16 | u32::from(self.bg_used_dirs_count_lo.get())
    }

    /// Inodes at the end of the table that were never used.
    #[must_use]
    pub fn itable_unused(&self) -> u32 {
        u32::from(self.bg_itable_unused_hi.get()) << 16 | u32::from(self.bg_itable_unused_lo.get())
    }

    /// Checksum of the block bitmap (16 bits with 32-byte descriptors).
    #[must_use]
    pub fn block_bitmap_csum(&self) -> u32 {
        u32::from(self.bg_block_bitmap_csum_hi.get()) << 16 | u32::from(self.bg_block_bitmap_csum_lo.get())
    }

    /// Checksum of the inode bitmap (16 bits with 32-byte descriptors).
    #[must_use]
    pub fn inode_bitmap_csum(&self) -> u32 {
        u32::from(self.bg_inode_bitmap_csum_hi.get()) << 16 | u32::from(self.bg_inode_bitmap_csum_lo.get())
    }

    /// The flags.
    #[must_use]
    pub fn flags(&self) -> GroupFlags {
        GroupFlags::from_bits_retain(self.bg_flags.get())
    }

    /// Stores where the block bitmap lies.
    pub fn set_block_bitmap(&mut self, block: u64) {
        self.bg_block_bitmap_lo.set(block as u32);
        self.bg_block_bitmap_hi.set((block >> 32) as u32);
    }

    /// Stores where the inode bitmap lies.
    pub fn set_inode_bitmap(&mut self, block: u64) {
        self.bg_inode_bitmap_lo.set(block as u32);
        self.bg_inode_bitmap_hi.set((block >> 32) as u32);
    }

    /// Stores where the inode table begins.
    pub fn set_inode_table(&mut self, block: u64) {
        self.bg_inode_table_lo.set(block as u32);
        self.bg_inode_table_hi.set((block >> 32) as u32);
    }

    /// Stores the number of free blocks (clusters).
    pub fn set_free_blocks_count(&mut self, n: u32) {
        self.bg_free_blocks_count_lo.set(n as u16);
        self.bg_free_blocks_count_hi.set((n >> 16) as u16);
    }

    /// Stores the number of free inodes.
    pub fn set_free_inodes_count(&mut self, n: u32) {
        self.bg_free_inodes_count_lo.set(n as u16);
        self.bg_free_inodes_count_hi.set((n >> 16) as u16);
    }

    /// Stores the number of directories.
    pub fn set_used_dirs_count(&mut self, n: u32) {
        self.bg_used_dirs_count_lo.set(n as u16);
        self.bg_used_dirs_count_hi.set((n >> 16) as u16);
    }

    /// Stores the number of never-used inodes.
    pub fn set_itable_unused(&mut self, n: u32) {
        self.bg_itable_unused_lo.set(n as u16);
        self.bg_itable_unused_hi.set((n >> 16) as u16);
    }

    /// Stores the checksum of the block bitmap; the high half only where `desc_size` has room for it.
    pub fn set_block_bitmap_csum(&mut self, sum: u32, desc_size: u16) {
        self.bg_block_bitmap_csum_lo.set(sum as u16);
        self.bg_block_bitmap_csum_hi.set(if desc_size >= 64 { (sum >> 16) as u16 } else { 0 });
    }

    /// Stores the checksum of the inode bitmap; the high half only where `desc_size` has room for it.
    pub fn set_inode_bitmap_csum(&mut self, sum: u32, desc_size: u16) {
        self.bg_inode_bitmap_csum_lo.set(sum as u16);
        self.bg_inode_bitmap_csum_hi.set(if desc_size >= 64 { (sum >> 16) as u16 } else { 0 });
    }
}

/// The checksum of group `group`'s descriptor as it lies on disk (`ext4_group_desc_csum`): crc32c with `metadata_csum`, crc16
/// with `uninit_bg`, 0 without either. `desc` is the whole descriptor, `s_desc_size` bytes.
#[must_use]
pub fn checksum(sb: &SuperBlock, group: u32, desc: &[u8]) -> u16 {
    if sb.has_metadata_csum() {
        checksum_with_seed(sb.checksum_seed(), group, desc)
    } else if sb.ro_compat().contains(RoCompat::GDT_CSUM) {
        checksum_with_uuid(&sb.s_uuid, sb.incompat().contains(Incompat::BIT64), group, desc)
    } else {
        0
    }
}

/// [`checksum`] for `uninit_bg` file systems: crc16 from the UUID. `wide` is the 64bit feature; without it only what lies before
/// the checksum counts.
#[must_use]
pub fn checksum_with_uuid(uuid: &[u8; 16], wide: bool, group: u32, desc: &[u8]) -> u16 {
    let mut crc = crc16(!0, uuid);
    crc = crc16(crc, &group.to_le_bytes());
    crc = crc16(crc, desc.get(..CHECKSUM_AT).unwrap_or(desc));
    if wide { crc16(crc, desc.get(CHECKSUM_AT + 2..).unwrap_or_default()) } else { crc }
}

/// [`checksum`] for `metadata_csum` file systems when the seed is at hand.
#[must_use]
pub fn checksum_with_seed(seed: u32, group: u32, desc: &[u8]) -> u16 {
    let mut crc = crc32c(seed, &group.to_le_bytes());
    crc = crc32c(crc, desc.get(..CHECKSUM_AT).unwrap_or(desc));
    crc = crc32c(crc, &[0; 2]);
    crc32c(crc, desc.get(CHECKSUM_AT + 2..).unwrap_or_default()) as u16
}

/// The checksum of a bitmap: `bits / 8` bytes of it, from the file system's seed. Descriptors of 32 bytes keep the low 16 bits.
#[must_use]
pub fn bitmap_checksum(seed: u32, bitmap: &[u8], bits: u32) -> u32 {
    let n = usize::try_from(bits / 8).unwrap_or(usize::MAX);
    crc32c(seed, bitmap.get(..n).unwrap_or(bitmap))
}
