//! fs-verity: what ext4 keeps behind a file's data (`struct fsverity_descriptor`, Linux `include/uapi/linux/fsverity.h`, and
//! `fs/ext4/verity.c`). Behind the last byte, from the next multiple of 64 KiB: Merkle tree, descriptor, its size.

use zerocopy::little_endian::{U32, U64};

/// The Merkle tree begins at the next multiple of this behind the end of the data.
pub const METADATA_ALIGN: u64 = 65536;

on_disk! {
    /// The descriptor.
    pub struct VerityDescriptor("fsverity_descriptor", 256) {
        0x00 version: u8,
        0x01 hash_algorithm: u8,
        0x02 log_blocksize: u8,
        0x03 salt_size: u8,
        0x04 sig_size: U32,
        0x08 data_size: U64,
        0x10 root_hash: [u8; 64],
        0x50 salt: [u8; 32],
        0x70 reserved: [u8; 144],
    }
}

/// Where the metadata of a file of `size` bytes begins; `None` past the end of numbers.
#[must_use]
pub fn metadata_offset(size: u64) -> Option<u64> {
    size.checked_next_multiple_of(METADATA_ALIGN)
}
