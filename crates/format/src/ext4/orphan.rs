//! The orphan file (`struct ext4_orphan_block_tail`): blocks full of inode numbers, each with a tail.
//!
//! The older orphan list is a chain: `s_last_orphan`, then the next inode's number in `i_dtime`.

use crate::checksum::crc32c;
use crate::on_disk::OnDisk;
use zerocopy::little_endian::U32;

/// `ob_magic` (`EXT4_ORPHAN_BLOCK_MAGIC`).
pub const MAGIC: u32 = 0x0B10_CA04;

on_disk! {
    /// The last eight bytes of each block.
    pub struct OrphanBlockTail("ext4_orphan_block_tail", 8) {
        0 ob_magic: U32,
        4 ob_checksum: U32,
    }
}

/// Inode numbers that fit in a block.
#[must_use]
pub fn entries_per_block(block_size: u32) -> u32 {
    block_size.saturating_sub(8) / 4
}

/// The checksum of a block; `inode_seed` is the orphan file's own, `block_nr` where the block lies
/// (`ext4_orphan_file_block_csum`).
#[must_use]
pub fn block_checksum(inode_seed: u32, block_nr: u64, block: &[u8]) -> u32 {
    let crc = crc32c(inode_seed, &block_nr.to_le_bytes());
    crc32c(crc, block.get(..block.len().saturating_sub(8)).unwrap_or_default())
}

/// The tail of a block.
#[must_use]
pub fn tail(block: &[u8]) -> Option<&OrphanBlockTail> {
    OrphanBlockTail::peek(block.get(block.len().checked_sub(8)?..)?)
}

/// True when magic and checksum fit.
#[must_use]
pub fn verify_block(inode_seed: u32, block_nr: u64, block: &[u8]) -> bool {
    tail(block).is_some_and(|t| {
        t.ob_magic.get() == MAGIC && t.ob_checksum.get() == block_checksum(inode_seed, block_nr, block)
    })
}

/// Writes the tail; the checksum only where `inode_seed` is given (`metadata_csum`).
pub fn seal_block(inode_seed: Option<u32>, block_nr: u64, block: &mut [u8]) {
    let sum = inode_seed.map_or(0, |s| block_checksum(s, block_nr, block));
    let Some(at) = block.len().checked_sub(8) else { return };
    if let Some(t) = block.get_mut(at..).and_then(OrphanBlockTail::peek_mut) {
        t.ob_magic.set(MAGIC);
        t.ob_checksum.set(sum);
    }
}
