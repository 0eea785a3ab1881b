//! The superblock (`struct ext4_super_block`), at byte 1024 of the file system and at the start of each backup group.

use super::features::{Compat, Incompat, RoCompat};
use crate::checksum::crc32c;
use crate::on_disk::OnDisk;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

/// Offset of the primary superblock from the start of the file system, in bytes.
pub const SUPER_BLOCK_OFFSET: u64 = 1024;
/// `s_magic` (`EXT4_SUPER_MAGIC`).
pub const MAGIC: u16 = 0xEF53;
/// `s_checksum_type`: crc32c, the only one there is.
pub const CHECKSUM_CRC32C: u8 = 1;

on_disk! {
    /// `struct ext4_super_block`, 1024 bytes.
    pub struct SuperBlock("ext4_super_block", 1024) {
        0x000 s_inodes_count: U32,
        0x004 s_blocks_count_lo: U32,
        0x008 s_r_blocks_count_lo: U32,
        0x00C s_free_blocks_count_lo: U32,
        0x010 s_free_inodes_count: U32,
        0x014 s_first_data_block: U32,
        /// Block size is `1024 << s_log_block_size`.
        0x018 s_log_block_size: U32,
        0x01C s_log_cluster_size: U32,
        0x020 s_blocks_per_group: U32,
        0x024 s_clusters_per_group: U32,
        0x028 s_inodes_per_group: U32,
        0x02C s_mtime: U32,
        0x030 s_wtime: U32,
        0x034 s_mnt_count: U16,
        0x036 s_max_mnt_count: U16,
        0x038 s_magic: U16,
        0x03A s_state: U16,
        0x03C s_errors: U16,
        0x03E s_minor_rev_level: U16,
        0x040 s_lastcheck: U32,
        0x044 s_checkinterval: U32,
        0x048 s_creator_os: U32,
        0x04C s_rev_level: U32,
        0x050 s_def_resuid: U16,
        0x052 s_def_resgid: U16,
        0x054 s_first_ino: U32,
        0x058 s_inode_size: U16,
        0x05A s_block_group_nr: U16,
        0x05C s_feature_compat: U32,
        0x060 s_feature_incompat: U32,
        0x064 s_feature_ro_compat: U32,
        0x068 s_uuid: [u8; 16],
        0x078 s_volume_name: [u8; 16],
        0x088 s_last_mounted: [u8; 64],
        0x0C8 s_algorithm_usage_bitmap: U32,
        0x0CC s_prealloc_blocks: u8,
        0x0CD s_prealloc_dir_blocks: u8,
        0x0CE s_reserved_gdt_blocks: U16,
        0x0D0 s_journal_uuid: [u8; 16],
        0x0E0 s_journal_inum: U32,
        0x0E4 s_journal_dev: U32,
        0x0E8 s_last_orphan: U32,
        0x0EC s_hash_seed: [U32; 4],
        0x0FC s_def_hash_version: u8,
        0x0FD s_jnl_backup_type: u8,
        0x0FE s_desc_size: U16,
        0x100 s_default_mount_opts: U32,
        0x104 s_first_meta_bg: U32,
        0x108 s_mkfs_time: U32,
        0x10C s_jnl_blocks: [U32; 17],
        0x150 s_blocks_count_hi: U32,
        0x154 s_r_blocks_count_hi: U32,
        0x158 s_free_blocks_count_hi: U32,
        0x15C s_min_extra_isize: U16,
        0x15E s_want_extra_isize: U16,
        0x160 s_flags: U32,
        0x164 s_raid_stride: U16,
        0x166 s_mmp_update_interval: U16,
        0x168 s_mmp_block: U64,
        0x170 s_raid_stripe_width: U32,
        0x174 s_log_groups_per_flex: u8,
        0x175 s_checksum_type: u8,
        0x176 s_encryption_level: u8,
        0x177 s_reserved_pad: u8,
        0x178 s_kbytes_written: U64,
        0x180 s_snapshot_inum: U32,
        0x184 s_snapshot_id: U32,
        0x188 s_snapshot_r_blocks_count: U64,
        0x190 s_snapshot_list: U32,
        0x194 s_error_count: U32,
        0x198 s_first_error_time: U32,
        0x19C s_first_error_ino: U32,
        0x1A0 s_first_error_block: U64,
        0x1A8 s_first_error_func: [u8; 32],
        0x1C8 s_first_error_line: U32,
        0x1CC s_last_error_time: U32,
        0x1D0 s_last_error_ino: U32,
        0x1D4 s_last_error_line: U32,
        0x1D8 s_last_error_block: U64,
        0x1E0 s_last_error_func: [u8; 32],
        0x200 s_mount_opts: [u8; 64],
        0x240 s_usr_quota_inum: U32,
        0x244 s_grp_quota_inum: U32,
        0x248 s_overhead_clusters: U32,
        0x24C s_backup_bgs: [U32; 2],
        0x254 s_encrypt_algos: [u8; 4],
        0x258 s_encrypt_pw_salt: [u8; 16],
        0x268 s_lpf_ino: U32,
        0x26C s_prj_quota_inum: U32,
        0x270 s_checksum_seed: U32,
        0x274 s_wtime_hi: u8,
        0x275 s_mtime_hi: u8,
        0x276 s_mkfs_time_hi: u8,
        0x277 s_lastcheck_hi: u8,
        0x278 s_first_error_time_hi: u8,
        0x279 s_last_error_time_hi: u8,
        0x27A s_first_error_errcode: u8,
        0x27B s_last_error_errcode: u8,
        0x27C s_encoding: U16,
        0x27E s_encoding_flags: U16,
        0x280 s_orphan_file_inum: U32,
        0x284 s_reserved: [U32; 94],
        0x3FC s_checksum: U32,
    }
}

/// `s_state`: unmounted cleanly (`EXT4_VALID_FS`).
pub const STATE_VALID: u16 = 0x0001;
/// `s_state`: errors detected (`EXT4_ERROR_FS`).
pub const STATE_ERROR: u16 = 0x0002;
/// `s_state`: orphans are being recovered (`EXT4_ORPHAN_FS`).
pub const STATE_ORPHAN: u16 = 0x0004;
/// `s_state`: fast-commit replay is going on (`EXT4_FC_REPLAY`).
pub const STATE_FC_REPLAY: u16 = 0x0020;

/// `s_errors`: what the kernel does when it finds damage.
pub mod errors {
    /// Go on (`EXT4_ERRORS_CONTINUE`).
    pub const CONTINUE: u16 = 1;
    /// Remount read-only (`EXT4_ERRORS_RO`).
    pub const REMOUNT_RO: u16 = 2;
    /// Panic (`EXT4_ERRORS_PANIC`).
    pub const PANIC: u16 = 3;
}

bitflags::bitflags! {
    /// `s_flags`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct SuperFlags: u32 {
        /// Directory hashes treat bytes as signed (`EXT2_FLAGS_SIGNED_HASH`).
        const SIGNED_HASH = 0x0001;
        /// Directory hashes treat bytes as unsigned (`EXT2_FLAGS_UNSIGNED_HASH`).
        const UNSIGNED_HASH = 0x0002;
        /// Test file system (`EXT2_FLAGS_TEST_FILESYS`).
        const TEST_FILESYS = 0x0004;
        const _ = !0;
    }
}

bitflags::bitflags! {
    /// `s_default_mount_opts` (`EXT4_DEFM_*`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct DefaultMountOpts: u32 {
        /// `debug`.
        const DEBUG = 0x0001;
        /// `bsdgroups`.
        const BSDGROUPS = 0x0002;
        /// `user_xattr`.
        const USER_XATTR = 0x0004;
        /// `acl`.
        const ACL = 0x0008;
        /// `uid16`.
        const UID16 = 0x0010;
        /// `data=journal` (both journal mode bits together mean `data=writeback`).
        const JOURNAL_DATA = 0x0020;
        /// `data=ordered`.
        const JOURNAL_DATA_ORDERED = 0x0040;
        /// `nobarrier`.
        const NOBARRIER = 0x0100;
        /// `block_validity`.
        const BLOCK_VALIDITY = 0x0200;
        /// `discard`.
        const DISCARD = 0x0400;
        /// `nodelalloc`.
        const NODELALLOC = 0x0800;
        const _ = !0;
    }
}

/// `s_encoding_flags`: names that are not valid in the encoding are refused (`SB_ENC_STRICT_MODE_FL`).
pub const ENCODING_STRICT: u16 = 1;
/// `s_encoding`: UTF-8, Unicode 12.1 (`EXT4_ENC_UTF8_12_1`).
pub const ENCODING_UTF8_12_1: u16 = 1;

impl SuperBlock {
    /// Compatible features.
    #[must_use]
    pub fn compat(&self) -> Compat {
        Compat::from_bits_retain(self.s_feature_compat.get())
    }

    /// Incompatible features.
    #[must_use]
    pub fn incompat(&self) -> Incompat {
        Incompat::from_bits_retain(self.s_feature_incompat.get())
    }

    /// Read-only-compatible features.
    #[must_use]
    pub fn ro_compat(&self) -> RoCompat {
        RoCompat::from_bits_retain(self.s_feature_ro_compat.get())
    }

    /// Block size in bytes; `None` when `s_log_block_size` is past the format's 64 KiB.
    #[must_use]
    pub fn block_size(&self) -> Option<u32> {
        let log = self.s_log_block_size.get();
        (log <= 6).then(|| 1024 << log)
    }

    /// Blocks in one allocation cluster, as a power of two; 1 without bigalloc. `None` when the two sizes contradict.
    #[must_use]
    pub fn cluster_ratio(&self) -> Option<u32> {
        if !self.ro_compat().contains(RoCompat::BIGALLOC) {
            return Some(1);
        }
        let shift = self.s_log_cluster_size.get().checked_sub(self.s_log_block_size.get())?;
        (shift <= 16).then(|| 1 << shift)
    }

    /// Blocks in the file system.
    #[must_use]
    pub fn blocks_count(&self) -> u64 {
        self.wide(self.s_blocks_count_lo.get(), self.s_blocks_count_hi.get())
    }

    /// Free blocks; under bigalloc too, where descriptors count clusters.
    #[must_use]
    pub fn free_blocks_count(&self) -> u64 {
        self.wide(self.s_free_blocks_count_lo.get(), self.s_free_blocks_count_hi.get())
    }

    /// Blocks reserved for the superuser.
    #[must_use]
    pub fn r_blocks_count(&self) -> u64 {
        self.wide(self.s_r_blocks_count_lo.get(), self.s_r_blocks_count_hi.get())
    }

    fn wide(&self, lo: u32, hi: u32) -> u64 {
        let hi = if self.incompat().contains(Incompat::BIT64) { hi } else { 0 };
        u64::from(hi) << 32 | u64::from(lo)
    }

    /// Stores the number of blocks.
    pub fn set_blocks_count(&mut self, n: u64) {
        self.s_blocks_count_lo.set(n as u32);
        self.s_blocks_count_hi.set((n >> 32) as u32);
    }

    /// Stores the number of free blocks.
    pub fn set_free_blocks_count(&mut self, n: u64) {
        self.s_free_blocks_count_lo.set(n as u32);
        self.s_free_blocks_count_hi.set((n >> 32) as u32);
    }

    /// Stores the number of reserved blocks.
    pub fn set_r_blocks_count(&mut self, n: u64) {
        self.s_r_blocks_count_lo.set(n as u32);
        self.s_r_blocks_count_hi.set((n >> 32) as u32);
    }

    /// Size of a group descriptor in bytes (32, or `s_desc_size` with the 64bit feature), unchecked.
    #[must_use]
    pub fn desc_size(&self) -> u16 {
        if self.incompat().contains(Incompat::BIT64) { self.s_desc_size.get() } else { 32 }
    }

    /// Size of an inode on disk in bytes (128 in revision 0), unchecked.
    #[must_use]
    pub fn inode_size(&self) -> u16 {
        if self.s_rev_level.get() == 0 { 128 } else { self.s_inode_size.get() }
    }

    /// First inode that is not reserved.
    #[must_use]
    pub fn first_ino(&self) -> u32 {
        if self.s_rev_level.get() == 0 { 11 } else { self.s_first_ino.get() }
    }

    /// Number of block groups; `None` when the geometry is impossible (no blocks a group, first block past the end).
    #[must_use]
    pub fn groups_count(&self) -> Option<u32> {
        let blocks = self.blocks_count().checked_sub(u64::from(self.s_first_data_block.get()))?;
        let per_group = u64::from(self.s_blocks_per_group.get());
        if per_group == 0 || blocks == 0 {
            return None;
        }
        u32::try_from(blocks.div_ceil(per_group)).ok()
    }

    /// True when metadata carries crc32c checksums.
    #[must_use]
    pub fn has_metadata_csum(&self) -> bool {
        self.ro_compat().contains(RoCompat::METADATA_CSUM)
    }

    /// The seed of all metadata checksums (`s_csum_seed`): stored, or derived from the UUID.
    #[must_use]
    pub fn checksum_seed(&self) -> u32 {
        if self.incompat().contains(Incompat::CSUM_SEED) {
            self.s_checksum_seed.get()
        } else {
            crc32c(!0, &self.s_uuid)
        }
    }

    /// The hash seed of directories.
    #[must_use]
    pub fn hash_seed(&self) -> [u32; 4] {
        self.s_hash_seed.map(U32::get)
    }

    /// The superblock's own checksum, over everything before `s_checksum`.
    #[must_use]
    pub fn checksum(&self) -> u32 {
        let bytes = self.as_bytes();
        crc32c(!0, bytes.get(..0x3FC).unwrap_or_default())
    }

    /// True when the checksum fits, or there is none to fit.
    #[must_use]
    pub fn verify(&self) -> bool {
        !self.has_metadata_csum() || self.s_checksum.get() == self.checksum()
    }

    /// Stores the checksum where the feature asks for one.
    pub fn seal(&mut self) {
        if self.has_metadata_csum() {
            let sum = self.checksum();
            self.s_checksum.set(sum);
        }
    }

    /// True when group `group` begins with a copy of the superblock and descriptors (`ext4_bg_has_super`).
    #[must_use]
    pub fn group_has_super(&self, group: u32) -> bool {
        if group == 0 {
            return true;
        }
        if self.compat().contains(Compat::SPARSE_SUPER2) {
            return self.s_backup_bgs.iter().any(|g| g.get() == group);
        }
        if group == 1 || !self.ro_compat().contains(RoCompat::SPARSE_SUPER) {
            return true;
        }
        group & 1 == 1 && [3, 5, 7].iter().any(|base| is_power_of(group, *base))
    }
}

fn is_power_of(mut n: u32, base: u32) -> bool {
    while n > 1 && n.is_multiple_of(base) {
        n /= base;
    }
    n == 1
}

/// Reads a superblock from the 1024 bytes at [`SUPER_BLOCK_OFFSET`]; `None` when they are too few or the magic is not there.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<SuperBlock> {
    SuperBlock::peek(bytes).copied().filter(|sb| sb.s_magic.get() == MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backups_stand_in_group_one_and_the_powers_of_three_five_and_seven() {
        let mut sb = SuperBlock::zeroed();
        assert!((0..100).all(|g| sb.group_has_super(g)));
        sb.s_feature_ro_compat.set(RoCompat::SPARSE_SUPER.bits());
        let with: Vec<u32> = (0..400).filter(|g| sb.group_has_super(*g)).collect();
        assert_eq!(with, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125, 243, 343]);
        sb.s_feature_compat.set(Compat::SPARSE_SUPER2.bits());
        sb.s_backup_bgs = [U32::new(1), U32::new(399)];
        let with: Vec<u32> = (0..400).filter(|g| sb.group_has_super(*g)).collect();
        assert_eq!(with, [0, 1, 399]);
    }

    #[test]
    fn hostile_geometry_is_none_and_never_a_panic() {
        let mut sb = SuperBlock::zeroed();
        assert_eq!(sb.groups_count(), None);
        sb.s_first_data_block.set(u32::MAX);
        sb.s_blocks_per_group.set(1);
        assert_eq!(sb.groups_count(), None);
        sb.s_log_block_size.set(u32::MAX);
        assert_eq!(sb.block_size(), None);
    }
}
