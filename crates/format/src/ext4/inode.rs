//! The inode (`struct ext4_inode`): 128 bytes of old, then a tail whose length `i_extra_isize` tells.

use super::inode_flags::InodeFlags;
use crate::checksum::crc32c;
use crate::on_disk::OnDisk;
use zerocopy::little_endian::{U16, U32};

/// Size of the part every inode has (`EXT4_GOOD_OLD_INODE_SIZE`).
pub const GOOD_OLD_INODE_SIZE: u16 = 128;
/// Blocks named directly in `i_block`.
pub const NDIR_BLOCKS: usize = 12;
/// Words in `i_block` (`EXT4_N_BLOCKS`).
pub const N_BLOCKS: usize = 15;
/// `i_extra_isize` of a kernel that knows all fields up to `i_projid`.
pub const EXTRA_ISIZE: u16 = 32;

on_disk! {
    /// The inode as far as Linux 6.12 knows it: 160 bytes. A 128-byte inode has the fields up to `osd2` only.
    pub struct Inode("ext4_inode", 160) {
        0x00 i_mode: U16,
        0x02 i_uid: U16,
        0x04 i_size_lo: U32,
        0x08 i_atime: U32,
        0x0C i_ctime: U32,
        0x10 i_mtime: U32,
        0x14 i_dtime: U32,
        0x18 i_gid: U16,
        0x1A i_links_count: U16,
        0x1C i_blocks_lo: U32,
        0x20 i_flags: U32,
        /// `osd1.linux1.l_i_version`.
        0x24 l_i_version: U32,
        /// A block map, an extent tree's root, a fast symlink, a device number, or inline data.
        0x28 i_block: [u8; 60],
        0x64 i_generation: U32,
        0x68 i_file_acl_lo: U32,
        0x6C i_size_high: U32,
        0x70 i_obso_faddr: U32,
        0x74 l_i_blocks_high: U16,
        0x76 l_i_file_acl_high: U16,
        0x78 l_i_uid_high: U16,
        0x7A l_i_gid_high: U16,
        0x7C l_i_checksum_lo: U16,
        0x7E l_i_reserved: U16,
        0x80 i_extra_isize: U16,
        0x82 i_checksum_hi: U16,
        0x84 i_ctime_extra: U32,
        0x88 i_mtime_extra: U32,
        0x8C i_atime_extra: U32,
        0x90 i_crtime: U32,
        0x94 i_crtime_extra: U32,
        0x98 i_version_hi: U32,
        0x9C i_projid: U32,
    }
}

/// File types in `i_mode`.
pub mod mode {
    /// Mask of the type (`S_IFMT`).
    pub const IFMT: u16 = 0o170_000;
    /// Fifo.
    pub const IFIFO: u16 = 0o010_000;
    /// Character device.
    pub const IFCHR: u16 = 0o020_000;
    /// Directory.
    pub const IFDIR: u16 = 0o040_000;
    /// Block device.
    pub const IFBLK: u16 = 0o060_000;
    /// Regular file.
    pub const IFREG: u16 = 0o100_000;
    /// Symbolic link.
    pub const IFLNK: u16 = 0o120_000;
    /// Socket.
    pub const IFSOCK: u16 = 0o140_000;
}

/// A time as ext4 stores it: 34 bits of seconds from 1901 to 2446 and nanoseconds, in an extra word where the inode has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Timestamp {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds, below 1,000,000,000.
    pub nanos: u32,
}

impl Timestamp {
    /// The earliest time an inode can hold.
    pub const MIN_SECONDS: i64 = i32::MIN as i64;
    /// The latest second with the extra word (year 2446).
    pub const MAX_SECONDS: i64 = i32::MIN as i64 + (1 << 34) - 1;
    /// The latest second without it (year 2038).
    pub const MAX_SECONDS_OLD: i64 = i32::MAX as i64;

    /// Decodes (`ext4_decode_extra_time`); without an extra word the seconds are signed 32 bits.
    #[must_use]
    pub const fn decode(seconds: u32, extra: Option<u32>) -> Self {
        let base = seconds as i32 as i64;
        match extra {
            None => Self { seconds: base, nanos: 0 },
            Some(x) => Self { seconds: base + (((x & 3) as i64) << 32), nanos: x >> 2 },
        }
    }

    /// The two words (`ext4_encode_extra_time`), clamped to what they can hold, as the kernel's `timestamp_truncate` does.
    #[must_use]
    pub fn encode(self, has_extra: bool) -> (u32, u32) {
        let max = if has_extra { Self::MAX_SECONDS } else { Self::MAX_SECONDS_OLD };
        let s = self.seconds.clamp(Self::MIN_SECONDS, max);
        // At either end of the range the kernel drops the fraction as well.
        let nanos = if s != self.seconds { 0 } else { self.nanos };
        let low = s as i32;
        let epoch = ((s - i64::from(low)) >> 32) as u32 & 3;
        (low as u32, if has_extra { epoch | nanos << 2 } else { 0 })
    }
}

impl Inode {
    /// An inode from its bytes on disk; `extra` fields past the stored `i_extra_isize` are taken as absent (zero).
    /// `None` when there are fewer than 128 bytes. Bits outside the 160 known bytes stay with the caller.
    #[must_use]
    pub fn from_disk(bytes: &[u8]) -> Option<Self> {
        use zerocopy::IntoBytes;
        let mut inode = Self::zeroed();
        if bytes.len() < 128 {
            return None;
        }
        let have = bytes.len().min(size_of::<Self>());
        inode.as_mut_bytes().get_mut(..have)?.copy_from_slice(bytes.get(..have)?);
        let extra = if have >= 130 { usize::from(inode.i_extra_isize.get()) } else { 0 };
        let known = 128usize.saturating_add(extra).max(if have >= 130 { 130 } else { 128 });
        if known < size_of::<Self>() {
            inode.as_mut_bytes().get_mut(known..)?.fill(0);
        }
        Some(inode)
    }

    /// True when the stored `i_extra_isize` covers the field that ends at byte `end`.
    #[must_use]
    pub fn has_until(&self, end: u16) -> bool {
        u32::from(self.i_extra_isize.get()) + 128 >= u32::from(end)
    }

    /// Size in bytes (all 64 bits; directories use the high half only with `large_dir`).
    #[must_use]
    pub fn size(&self) -> u64 {
        u64::from(self.i_size_high.get()) << 32 | u64::from(self.i_size_lo.get())
    }

    /// Stores the size.
    pub fn set_size(&mut self, size: u64) {
        self.i_size_lo.set(size as u32);
        self.i_size_high.set((size >> 32) as u32);
    }

    /// The stored block count, 48 bits: 512-byte sectors, or file system blocks with the HUGE_FILE flag.
    #[must_use]
    pub fn blocks_stored(&self) -> u64 {
        u64::from(self.l_i_blocks_high.get()) << 32 | u64::from(self.i_blocks_lo.get())
    }

    /// Stores the block count.
    pub fn set_blocks_stored(&mut self, n: u64) {
        self.i_blocks_lo.set(n as u32);
        self.l_i_blocks_high.set((n >> 32) as u16);
    }

    /// Owner.
    #[must_use]
    pub fn uid(&self) -> u32 {
        u32::from(self.l_i_uid_high.get()) << 16 | u32::from(self.i_uid.get())
    }

    /// Group.
    #[must_use]
    pub fn gid(&self) -> u32 {
        u32::from(self.l_i_gid_high.get()) << 16 | u32::from(self.i_gid.get())
    }

    /// Stores the owner.
    pub fn set_uid(&mut self, uid: u32) {
        self.i_uid.set(uid as u16);
        self.l_i_uid_high.set((uid >> 16) as u16);
    }

    /// Stores the group.
    pub fn set_gid(&mut self, gid: u32) {
        self.i_gid.set(gid as u16);
        self.l_i_gid_high.set((gid >> 16) as u16);
    }

    /// Block of extended attributes; 0 for none.
    #[must_use]
    pub fn file_acl(&self) -> u64 {
        u64::from(self.l_i_file_acl_high.get()) << 32 | u64::from(self.i_file_acl_lo.get())
    }

    /// Stores the block of extended attributes.
    pub fn set_file_acl(&mut self, block: u64) {
        self.i_file_acl_lo.set(block as u32);
        self.l_i_file_acl_high.set((block >> 32) as u16);
    }

    /// The flags.
    #[must_use]
    pub fn flags(&self) -> InodeFlags {
        InodeFlags::from_bits_retain(self.i_flags.get())
    }

    /// Stores the flags.
    pub fn set_flags(&mut self, flags: InodeFlags) {
        self.i_flags.set(flags.bits());
    }

    /// The type bits of `i_mode`.
    #[must_use]
    pub fn file_type(&self) -> u16 {
        self.i_mode.get() & mode::IFMT
    }

    /// True for a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.file_type() == mode::IFDIR
    }

    /// True for a regular file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.file_type() == mode::IFREG
    }

    /// True for a symbolic link.
    #[must_use]
    pub fn is_symlink(&self) -> bool {
        self.file_type() == mode::IFLNK
    }

    /// Access time.
    #[must_use]
    pub fn atime(&self) -> Timestamp {
        Timestamp::decode(self.i_atime.get(), self.has_until(0x90).then(|| self.i_atime_extra.get()))
    }

    /// Change time.
    #[must_use]
    pub fn ctime(&self) -> Timestamp {
        Timestamp::decode(self.i_ctime.get(), self.has_until(0x88).then(|| self.i_ctime_extra.get()))
    }

    /// Modification time.
    #[must_use]
    pub fn mtime(&self) -> Timestamp {
        Timestamp::decode(self.i_mtime.get(), self.has_until(0x8C).then(|| self.i_mtime_extra.get()))
    }

    /// Creation time; `None` where the inode has no room for one.
    #[must_use]
    pub fn crtime(&self) -> Option<Timestamp> {
        self.has_until(0x98).then(|| Timestamp::decode(self.i_crtime.get(), Some(self.i_crtime_extra.get())))
    }

    /// Stores the time of the last access.
    pub fn set_atime(&mut self, time: Timestamp) {
        let has_extra = self.has_until(0x90);
        let (seconds, extra) = time.encode(has_extra);
        self.i_atime.set(seconds);
        if has_extra {
            self.i_atime_extra.set(extra);
        }
    }

    /// Stores the time of the last change of the inode.
    pub fn set_ctime(&mut self, time: Timestamp) {
        let has_extra = self.has_until(0x88);
        let (seconds, extra) = time.encode(has_extra);
        self.i_ctime.set(seconds);
        if has_extra {
            self.i_ctime_extra.set(extra);
        }
    }

    /// Stores the time of the last change of the content.
    pub fn set_mtime(&mut self, time: Timestamp) {
        let has_extra = self.has_until(0x8C);
        let (seconds, extra) = time.encode(has_extra);
        self.i_mtime.set(seconds);
        if has_extra {
            self.i_mtime_extra.set(extra);
        }
    }

    /// Stores the creation time, where the inode has room for one.
    pub fn set_crtime(&mut self, time: Timestamp) {
        if self.has_until(0x98) {
            let (seconds, extra) = time.encode(true);
            self.i_crtime.set(seconds);
            self.i_crtime_extra.set(extra);
        }
    }

    /// Counts one change more in `i_version`, as far as the inode has room for it.
    pub fn bump_version(&mut self) {
        let low = self.l_i_version.get().wrapping_add(1);
        self.l_i_version.set(low);
        if low == 0 && self.has_until(0x9C) {
            self.i_version_hi.set(self.i_version_hi.get().wrapping_add(1));
        }
    }

    /// The device number of a device node: the old form when the first word holds something, else the new (`new_decode_dev`).
    #[must_use]
    pub fn device(&self) -> (u32, u32) {
        let word =
            |at: usize| self.i_block.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
        let (old, new) = (word(0), word(4));
        if old != 0 {
            ((old >> 8) & 0xff, old & 0xff)
        } else {
            ((new & 0xfff00) >> 8, (new & 0xff) | ((new >> 12) & 0xfff00))
        }
    }

    /// Stores a device number, in the old form where it fits (`ext4_mknod` through `old_valid_dev`).
    pub fn set_device(&mut self, major: u32, minor: u32) {
        self.i_block = [0; 60];
        let [a, b, c, d, e, f, g, h, ..] = &mut self.i_block;
        if major < 256 && minor < 256 {
            [*a, *b, *c, *d] = (major << 8 | minor).to_le_bytes();
        } else {
            let new = (minor & 0xff) | (major & 0xfff) << 8 | (minor & !0xff) << 12;
            [*e, *f, *g, *h] = new.to_le_bytes();
        }
    }
}

/// The seed of everything that belongs to an inode: its own checksum, its extent blocks, its directory blocks.
#[must_use]
pub fn checksum_seed(fs_seed: u32, ino: u32, generation: u32) -> u32 {
    crc32c(crc32c(fs_seed, &ino.to_le_bytes()), &generation.to_le_bytes())
}

/// The checksum of an inode's bytes as they lie on disk (`ext4_inode_csum`), `s_inode_size` of them. `fs_seed` is the file
/// system's. The high half counts only where [`checksum_has_high`].
#[must_use]
pub fn checksum(fs_seed: u32, ino: u32, raw: &[u8]) -> u32 {
    if let Some(sum) = checksum_at_once(fs_seed, ino, raw) {
        return sum;
    }
    let generation = raw.get(0x64..0x68).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
    let mut crc = checksum_seed(fs_seed, ino, generation);
    crc = crc32c(crc, raw.get(..0x7C).unwrap_or(raw));
    crc = crc32c(crc, &[0; 2]);
    crc = crc32c(crc, raw.get(0x7E..raw.len().min(128)).unwrap_or_default());
    if raw.len() > 128 {
        if checksum_has_high(raw) {
            crc = crc32c(crc, raw.get(0x80..0x82).unwrap_or_default());
            crc = crc32c(crc, &[0; 2]);
            crc = crc32c(crc, raw.get(0x84..).unwrap_or_default());
        } else {
            crc = crc32c(crc, raw.get(0x80..).unwrap_or_default());
        }
    }
    crc
}

/// [`checksum`] of an inode of the usual size, from an aligned copy of all that goes into it: the pieces are too short to be summed up
/// fast one by one.
fn checksum_at_once(fs_seed: u32, ino: u32, raw: &[u8]) -> Option<u32> {
    #[repr(align(8))]
    struct Copy([u8; 8 + 256]);
    let mut copy = Copy([0; 8 + 256]);
    let all = copy.0.get_mut(..8 + raw.len())?;
    let (head, body) = all.split_at_mut_checked(8)?;
    head.get_mut(..4)?.copy_from_slice(&ino.to_le_bytes());
    head.get_mut(4..)?.copy_from_slice(raw.get(0x64..0x68)?);
    body.copy_from_slice(raw);
    body.get_mut(0x7C..0x7E)?.fill(0);
    if checksum_has_high(raw) {
        body.get_mut(0x82..0x84)?.fill(0);
    }
    Some(crc32c(fs_seed, all))
}

/// True when `i_extra_isize` says that `i_checksum_hi` is there.
#[must_use]
pub fn checksum_has_high(raw: &[u8]) -> bool {
    raw.len() > 0x84 && raw.get(0x80..0x82).and_then(|b| b.try_into().ok()).is_some_and(|b| u16::from_le_bytes(b) >= 4)
}

/// True when the stored checksum fits. Only for file systems with `metadata_csum`.
#[must_use]
pub fn verify(fs_seed: u32, ino: u32, raw: &[u8]) -> bool {
    let half = |at: usize| raw.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_le_bytes);
    let sum = checksum(fs_seed, ino, raw);
    half(0x7C) == sum as u16 && (!checksum_has_high(raw) || half(0x82) == (sum >> 16) as u16)
}

/// Stores the checksum. Only for file systems with `metadata_csum`.
pub fn seal(fs_seed: u32, ino: u32, raw: &mut [u8]) {
    let sum = checksum(fs_seed, ino, raw);
    if let Some(lo) = raw.get_mut(0x7C..0x7E) {
        lo.copy_from_slice(&(sum as u16).to_le_bytes());
    }
    if checksum_has_high(raw)
        && let Some(hi) = raw.get_mut(0x82..0x84)
    {
        hi.copy_from_slice(&((sum >> 16) as u16).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_from_1901_to_2446_survive() {
        for seconds in [
            Timestamp::MIN_SECONDS,
            -1,
            0,
            1,
            i64::from(i32::MAX),
            i64::from(i32::MAX) + 1,
            1 << 32,
            Timestamp::MAX_SECONDS,
        ] {
            let t = Timestamp { seconds, nanos: 999_999_999 };
            let (lo, extra) = t.encode(true);
            assert_eq!(Timestamp::decode(lo, Some(extra)), t);
        }
        let late = Timestamp { seconds: i64::MAX, nanos: 5 };
        let (lo, extra) = late.encode(true);
        assert_eq!(Timestamp::decode(lo, Some(extra)), Timestamp { seconds: Timestamp::MAX_SECONDS, nanos: 0 });
        let (lo, extra) = late.encode(false);
        assert_eq!((Timestamp::decode(lo, None).seconds, extra), (Timestamp::MAX_SECONDS_OLD, 0));
    }

    #[test]
    fn device_numbers_survive_in_both_forms() {
        let mut inode = Inode::zeroed();
        for (major, minor) in [(0, 1), (8, 1), (255, 255), (256, 0), (259, 70_000), (4095, 0xf_ffff)] {
            inode.set_device(major, minor);
            assert_eq!(inode.device(), (major, minor));
        }
    }

    #[test]
    fn a_short_inode_has_no_extra_fields() {
        let mut bytes = [0xffu8; 256];
        bytes[0x80..0x82].copy_from_slice(&4u16.to_le_bytes());
        let inode = Inode::from_disk(&bytes).expect("long enough");
        assert_eq!(inode.i_checksum_hi.get(), 0xffff);
        assert_eq!(inode.i_ctime_extra.get(), 0);
        assert_eq!(inode.crtime(), None);
        assert!(Inode::from_disk(&bytes[..127]).is_none());
    }

    #[test]
    fn a_sealed_inode_verifies_and_a_changed_one_does_not() {
        for len in [128usize, 256, 1024] {
            let mut raw = vec![3u8; len];
            if len > 128 {
                raw[0x80..0x82].copy_from_slice(&32u16.to_le_bytes());
            }
            seal(5, 12, &mut raw);
            assert!(verify(5, 12, &raw));
            assert!(!verify(5, 13, &raw));
            raw[0] ^= 1;
            assert!(!verify(5, 12, &raw));
        }
    }
}
