//! Directory entries (`struct ext4_dir_entry_2`, `ext4_dir_entry_tail`) and the linear directory block.

use crate::checksum::crc32c;
use crate::on_disk::OnDisk;
use zerocopy::little_endian::{U16, U32};

/// Longest name (`EXT4_NAME_LEN`).
pub const NAME_LEN: usize = 255;
/// Entries begin at multiples of this (`EXT4_DIR_PAD`).
pub const PAD: usize = 4;
/// `file_type` of the fake entry that holds the checksum (`EXT4_FT_DIR_CSUM`).
pub const FT_DIR_CSUM: u8 = 0xDE;

on_disk! {
    /// The fixed part of an entry; the name follows. Without the `filetype` feature `file_type` was meant to be the high byte of the
    /// length; it is zero in names, and set in the fake entry that holds the checksum.
    pub struct DirEntry("ext4_dir_entry_2", 8) {
        0 inode: U32,
        4 rec_len: U16,
        6 name_len: u8,
        7 file_type: u8,
    }
}

on_disk! {
    /// The last 12 bytes of a directory block, with `metadata_csum`.
    pub struct DirEntryTail("ext4_dir_entry_tail", 12) {
        0 det_reserved_zero1: U32,
        4 det_rec_len: U16,
        6 det_reserved_zero2: u8,
        7 det_reserved_ft: u8,
        8 det_checksum: U32,
    }
}

on_disk! {
    /// Behind the name in directories that are encrypted and casefolded (`struct ext4_dir_entry_hash`).
    pub struct DirEntryHash("ext4_dir_entry_hash", 8) {
        0 hash: U32,
        4 minor_hash: U32,
    }
}

/// `file_type` values.
pub mod file_type {
    /// Unknown.
    pub const UNKNOWN: u8 = 0;
    /// Regular file.
    pub const REG_FILE: u8 = 1;
    /// Directory.
    pub const DIR: u8 = 2;
    /// Character device.
    pub const CHRDEV: u8 = 3;
    /// Block device.
    pub const BLKDEV: u8 = 4;
    /// Fifo.
    pub const FIFO: u8 = 5;
    /// Socket.
    pub const SOCK: u8 = 6;
    /// Symbolic link.
    pub const SYMLINK: u8 = 7;

    /// The value for the type bits of `i_mode`.
    #[must_use]
    pub const fn of_mode(i_mode: u16) -> u8 {
        use crate::ext4::inode::mode;
        match i_mode & mode::IFMT {
            mode::IFREG => REG_FILE,
            mode::IFDIR => DIR,
            mode::IFCHR => CHRDEV,
            mode::IFBLK => BLKDEV,
            mode::IFIFO => FIFO,
            mode::IFSOCK => SOCK,
            mode::IFLNK => SYMLINK,
            _ => UNKNOWN,
        }
    }
}

/// Bytes an entry with a name of `name_len` needs (`ext4_dir_rec_len`).
#[must_use]
pub const fn entry_len(name_len: usize) -> usize {
    (8 + name_len + PAD - 1) & !(PAD - 1)
}

/// Decodes `rec_len` (`ext4_rec_len_from_disk`): blocks of 64 KiB do not fit 16 bits.
#[must_use]
pub const fn rec_len_from_disk(stored: u16, block_size: u32) -> u32 {
    let len = stored as u32;
    if block_size < 65536 {
        return len;
    }
    if len == 65535 || len == 0 {
        return block_size;
    }
    (len & 65532) | ((len & 3) << 16)
}

/// Encodes `rec_len` (`ext4_rec_len_to_disk`).
#[must_use]
pub const fn rec_len_to_disk(len: u32, block_size: u32) -> u16 {
    if len < 65536 {
        return len as u16;
    }
    if len == block_size {
        return if block_size == 65536 { 65535 } else { 0 };
    }
    ((len & 65532) | ((len >> 16) & 3)) as u16
}

/// One entry as found in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Offset in the block.
    pub offset: usize,
    /// Inode number; 0 for an unused entry.
    pub inode: u32,
    /// Length of the record.
    pub rec_len: u32,
    /// `file_type`; 0 without the feature.
    pub file_type: u8,
    /// The name.
    pub name: &'a [u8],
}

/// Why the rest of a block cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Fewer bytes left than an entry's head.
    #[error("directory entry at offset {offset} is cut off by the end of the block")]
    Short {
        /// Where.
        offset: usize,
    },
    /// `rec_len` is too small, not a multiple of 4, or leads out of the block.
    #[error("directory entry at offset {offset} has rec_len {rec_len}")]
    RecLen {
        /// Where.
        offset: usize,
        /// What stands there.
        rec_len: u32,
    },
    /// The name does not fit in the record.
    #[error("directory entry at offset {offset} has name_len {name_len} in a record of {rec_len}")]
    NameLen {
        /// Where.
        offset: usize,
        /// What stands there.
        name_len: u16,
        /// The record it must fit in.
        rec_len: u32,
    },
}

/// The entries of a linear directory block (or the part of one), unused entries and the checksum's fake entry included.
#[derive(Debug, Clone)]
pub struct Entries<'a> {
    block: &'a [u8],
    block_size: u32,
    offset: usize,
    has_file_type: bool,
    failed: bool,
}

impl<'a> Entries<'a> {
    /// Iterates over `block`; `block_size` decides how lengths are stored, `has_file_type` is the `filetype` feature.
    #[must_use]
    pub fn new(block: &'a [u8], block_size: u32, has_file_type: bool) -> Self {
        Self { block, block_size, offset: 0, has_file_type, failed: false }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, EntryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.offset >= self.block.len() {
            return None;
        }
        let offset = self.offset;
        let result = self.entry(offset);
        match &result {
            Ok(e) => self.offset = offset.saturating_add(e.rec_len as usize),
            Err(_) => self.failed = true,
        }
        Some(result)
    }
}

impl<'a> Entries<'a> {
    fn entry(&self, offset: usize) -> Result<Entry<'a>, EntryError> {
        let rest = self.block.get(offset..).unwrap_or_default();
        let head = DirEntry::peek(rest).ok_or(EntryError::Short { offset })?;
        let rec_len = rec_len_from_disk(head.rec_len.get(), self.block_size);
        // No name is longer than a byte can say, so nobody reads the other byte as a part of the length.
        let name_len = u16::from(head.name_len);
        let file_type = if self.has_file_type { head.file_type } else { 0 };
        if rec_len < 8 || !rec_len.is_multiple_of(4) || rec_len as usize > rest.len() {
            return Err(EntryError::RecLen { offset, rec_len });
        }
        let name = rest
            .get(8..8 + usize::from(name_len))
            .filter(|n| n.len() + 8 <= rec_len as usize && n.len() <= NAME_LEN)
            .ok_or(EntryError::NameLen { offset, name_len, rec_len })?;
        Ok(Entry { offset, inode: head.inode.get(), rec_len, file_type, name })
    }
}

/// The tail of a directory block when it has the shape of one.
#[must_use]
pub fn tail(block: &[u8]) -> Option<&DirEntryTail> {
    let at = block.len().checked_sub(12)?;
    let t = DirEntryTail::peek(block.get(at..)?)?;
    let shape = t.det_reserved_zero1.get() == 0
        && t.det_rec_len.get() == 12
        && t.det_reserved_zero2 == 0
        && t.det_reserved_ft == FT_DIR_CSUM;
    shape.then_some(t)
}

/// The checksum of a linear directory block; `seed` is the directory inode's.
#[must_use]
pub fn block_checksum(seed: u32, block: &[u8]) -> u32 {
    crc32c(seed, block.get(..block.len().saturating_sub(12)).unwrap_or_default())
}

/// True when the block has a tail and it fits.
#[must_use]
pub fn verify_block(seed: u32, block: &[u8]) -> bool {
    tail(block).is_some_and(|t| t.det_checksum.get() == block_checksum(seed, block))
}

/// Writes the tail into the last 12 bytes.
pub fn seal_block(seed: u32, block: &mut [u8]) {
    let sum = block_checksum(seed, block);
    let Some(at) = block.len().checked_sub(12) else { return };
    if let Some(t) = block.get_mut(at..).and_then(DirEntryTail::peek_mut) {
        *t = DirEntryTail::zeroed();
        t.det_rec_len.set(12);
        t.det_reserved_ft = FT_DIR_CSUM;
        t.det_checksum.set(sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_lengths_survive_at_every_block_size() {
        for bs in [1024u32, 4096, 32768, 65536] {
            for len in (12..=bs).step_by(4) {
                assert_eq!(rec_len_from_disk(rec_len_to_disk(len, bs), bs), len, "{len} of {bs}");
            }
        }
    }

    #[test]
    fn a_record_of_no_length_ends_the_walk() {
        let block = [0u8; 64];
        let found: Vec<_> = Entries::new(&block, 1024, true).collect();
        assert_eq!(found, [Err(EntryError::RecLen { offset: 0, rec_len: 0 })]);
    }
}
