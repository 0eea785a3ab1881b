//! Multiple mount protection (`struct mmp_struct`): one block that a mounted file system writes every few seconds.

use crate::checksum::crc32c;
use crate::on_disk::OnDisk;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

/// `mmp_magic` (`EXT4_MMP_MAGIC`).
pub const MAGIC: u32 = 0x004D_4D50;
/// `mmp_seq` of a file system that is not in use (`EXT4_MMP_SEQ_CLEAN`).
pub const SEQ_CLEAN: u32 = 0xFF4D_4D50;
/// `mmp_seq` while a checker runs (`EXT4_MMP_SEQ_FSCK`).
pub const SEQ_FSCK: u32 = 0xE24D_4D50;
/// Default seconds between two writes (`EXT4_MMP_UPDATE_INTERVAL`).
pub const UPDATE_INTERVAL: u16 = 5;

on_disk! {
    /// The block's first 1024 bytes.
    pub struct MmpStruct("mmp_struct", 1024) {
        0x000 mmp_magic: U32,
        0x004 mmp_seq: U32,
        0x008 mmp_time: U64,
        0x010 mmp_nodename: [u8; 64],
        0x050 mmp_bdevname: [u8; 32],
        0x070 mmp_check_interval: U16,
        0x072 mmp_pad1: U16,
        0x074 mmp_pad2: [U32; 226],
        0x3FC mmp_checksum: U32,
    }
}

impl MmpStruct {
    /// The checksum, from the file system's seed.
    #[must_use]
    pub fn checksum(&self, fs_seed: u32) -> u32 {
        crc32c(fs_seed, self.as_bytes().get(..0x3FC).unwrap_or_default())
    }

    /// True when the checksum fits.
    #[must_use]
    pub fn verify(&self, fs_seed: u32) -> bool {
        self.mmp_checksum.get() == self.checksum(fs_seed)
    }

    /// Stores the checksum.
    pub fn seal(&mut self, fs_seed: u32) {
        let sum = self.checksum(fs_seed);
        self.mmp_checksum.set(sum);
    }

    /// A block of a file system that is not in use.
    #[must_use]
    pub fn clean(interval: u16, time: u64) -> Self {
        let mut m = Self::zeroed();
        m.mmp_magic.set(MAGIC);
        m.mmp_seq.set(SEQ_CLEAN);
        m.mmp_time.set(time);
        m.mmp_check_interval.set(interval);
        m
    }
}
