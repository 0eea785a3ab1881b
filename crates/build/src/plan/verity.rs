//! Where fs-verity's Merkle tree and descriptor lie behind a file's data (`ext4_end_enable_verity`, Linux 6.12).
//!
//! Blocks of the tree have 4 KiB whatever the file system's, the hash is SHA-256 and there is no salt: what the kernel's tools use
//! unless told otherwise.

use crate::source::{Kind, NodeId, Tree};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::verity::{VerityDescriptor, metadata_offset};
use std::ops::Range;

/// Bytes of a block of the tree.
pub const TREE_BLOCK: u64 = 4096;
/// Bytes of a digest.
pub const DIGEST: u64 = 32;

/// Bytes and levels of the Merkle tree over `size` bytes: the blocks of each level, the lowest first.
#[must_use]
pub fn levels(size: u64) -> Vec<u64> {
    let mut levels = Vec::new();
    let mut blocks = size.div_ceil(TREE_BLOCK);
    while blocks > 1 {
        blocks = blocks.div_ceil(TREE_BLOCK / DIGEST);
        levels.push(blocks);
    }
    levels
}

/// Where things lie, in bytes of the file: the tree, the descriptor, and the end of the block that ends with its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The Merkle tree, the highest level first.
    pub tree: Range<u64>,
    /// The descriptor.
    pub descriptor: u64,
    /// Behind the four bytes that hold the descriptor's size.
    pub end: u64,
}

/// The layout behind a file of `size` bytes; `None` past the end of numbers.
#[must_use]
pub fn layout(size: u64, block_size: u32) -> Option<Layout> {
    let block = u64::from(block_size);
    let start = metadata_offset(size)?;
    let blocks: u64 = levels(size).iter().sum();
    let end = start.checked_add(blocks.checked_mul(TREE_BLOCK)?)?;
    let descriptor = end.checked_next_multiple_of(block)?;
    let behind = descriptor.checked_add(size_of::<VerityDescriptor>() as u64 + 4)?;
    Some(Layout { tree: start..end, descriptor, end: behind.checked_next_multiple_of(block)? })
}

/// Whether the file gets a Merkle tree.
#[must_use]
pub fn is_verity(tree: &Tree, id: NodeId) -> bool {
    tree.kind(id) == Kind::File && tree.extra(id).is_some_and(|e| e.flags.contains(InodeFlags::VERITY))
}

/// The blocks of a verity file behind its data; `None` for another file.
#[must_use]
pub(super) fn block_range(tree: &Tree, id: NodeId, block_size: u32) -> Option<Range<u64>> {
    if !is_verity(tree, id) {
        return None;
    }
    let layout = layout(tree.size(id), block_size)?;
    let block = u64::from(block_size);
    Some(layout.tree.start / block..layout.end / block)
}
