//! The file format of `e2undo` ("E2UNDO02", e2fsprogs 1.43 and later).
//!
//! The file consists of blocks of one size. Block 0 begins with the header. A copy of the superblock stands in a block that
//! the header names, its magic number inverted so that no tool takes the file for a file system. Then follow groups of a key
//! block and the pre-images its keys describe, in order; only the last key block may be partly filled.
//! All integers are little-endian; all checksums are crc32c without the final inversion.

use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `magic` of the header.
pub(super) const MAGIC: [u8; 8] = *b"E2UNDO02";
/// `magic` of a key block.
pub(super) const KEY_BLOCK_MAGIC: u32 = 0xCADE_CADE;
/// `state`: the tool that wrote the file got to its end.
pub(super) const STATE_FINISHED: u32 = 1;
/// `f_compat`: `fs_offset` counts.
pub(super) const COMPAT_FS_OFFSET: u32 = 1;
/// Smallest and largest block.
pub(super) const BLOCK_SIZES: std::ops::RangeInclusive<u32> = 1024..=1 << 20;
/// A pre-image has at most this many blocks of the undo file.
pub(super) const MAX_EXTENT_BLOCKS: u64 = 512;
/// Where the superblock copy comes from, and its length.
pub(super) const SUPER_OFFSET: u64 = 1024;
pub(super) const SUPER_SIZE: usize = 1024;
/// The place of the superblock's magic number, which the copy inverts.
pub(super) const SUPER_MAGIC_AT: std::ops::Range<usize> = 56..58;

/// `struct undo_header`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Header {
    pub(super) magic: [u8; 8],
    pub(super) num_keys: U64,
    /// Undo block of the superblock copy.
    pub(super) super_offset: U64,
    /// Undo block of the first key block.
    pub(super) key_offset: U64,
    pub(super) block_size: U32,
    /// Unit of `Key::fsblk`.
    pub(super) fs_block_size: U32,
    pub(super) sb_crc: U32,
    pub(super) state: U32,
    pub(super) f_compat: U32,
    pub(super) f_incompat: U32,
    pub(super) f_rocompat: U32,
    pub(super) pad32: U32,
    pub(super) fs_offset: U64,
    pub(super) padding: [u8; 436],
    pub(super) header_crc: U32,
}

/// The head of `struct undo_key_block`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct KeyBlockHead {
    pub(super) magic: U32,
    /// Of the whole block, taken with this field zero.
    pub(super) crc: U32,
    pub(super) reserved: U64,
}

/// `struct undo_key`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Key {
    pub(super) fsblk: U64,
    pub(super) blk_crc: U32,
    /// Bytes.
    pub(super) size: U32,
}

const _: () = assert!(size_of::<Header>() == 512 && size_of::<KeyBlockHead>() == 16 && size_of::<Key>() == 16);
const _: () = assert!(std::mem::offset_of!(Header, fs_offset) == 64 && std::mem::offset_of!(Header, header_crc) == 508);

impl Header {
    pub(super) fn crc(&self) -> u32 {
        let bytes = self.as_bytes();
        crc(&bytes[..bytes.len() - size_of::<u32>()])
    }
}

/// How many keys a key block holds.
pub(super) fn keys_per_block(block_size: u32) -> u64 {
    u64::from(block_size) / size_of::<Key>() as u64 - 1
}

/// crc32c with start value all ones and no final inversion.
pub(super) fn crc(data: &[u8]) -> u32 {
    !crc32c::crc32c(data)
}

/// Continues [`crc`].
pub(super) fn crc_append(before: u32, data: &[u8]) -> u32 {
    !crc32c::crc32c_append(!before, data)
}

/// A key block of `block_size` bytes with these keys.
pub(super) fn key_block(keys: &[Key], block_size: u32) -> Vec<u8> {
    let mut head = KeyBlockHead { magic: KEY_BLOCK_MAGIC.into(), crc: 0.into(), reserved: 0.into() };
    let build = |head: &KeyBlockHead| {
        let mut block = Vec::with_capacity(block_size as usize);
        block.extend_from_slice(head.as_bytes());
        keys.iter().for_each(|key| block.extend_from_slice(key.as_bytes()));
        block.resize(block_size as usize, 0);
        block
    };
    head.crc = crc(&build(&head)).into();
    build(&head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_chain() {
        assert_eq!(crc(b"123456789"), !0xE306_9283);
        assert_eq!(crc_append(crc(b"1234"), b"56789"), crc(b"123456789"));
    }

    #[test]
    fn a_key_block_has_its_size_and_its_own_checksum() {
        let key = Key { fsblk: 5.into(), blk_crc: 6.into(), size: 7.into() };
        let mut block = key_block(&[key; 3], 1024);
        assert_eq!((block.len(), keys_per_block(1024)), (1024, 63));
        let stored = u32::from_le_bytes(block[4..8].try_into().unwrap());
        block[4..8].fill(0);
        assert_eq!(crc(&block), stored);
    }
}
