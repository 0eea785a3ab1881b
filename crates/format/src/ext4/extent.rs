//! Extent trees (`struct ext4_extent_header`, `ext4_extent`, `ext4_extent_idx`, `ext4_extent_tail`).

use crate::checksum::crc32c;
use crate::on_disk::OnDisk;
use zerocopy::little_endian::{U16, U32};

/// `eh_magic`.
pub const MAGIC: u16 = 0xF30A;
/// Longest written extent (`EXT_INIT_MAX_LEN`).
pub const MAX_WRITTEN_LEN: u16 = 32768;
/// Longest unwritten extent (`EXT_UNWRITTEN_MAX_LEN`).
pub const MAX_UNWRITTEN_LEN: u16 = 32767;
/// Deepest tree the format can need; the kernel refuses more (`EXT4_MAX_EXTENT_DEPTH`).
pub const MAX_DEPTH: u16 = 5;
/// Entries that fit in the 60 bytes of `i_block`.
pub const ROOT_ENTRIES: u16 = 4;

on_disk! {
    /// Head of every node.
    pub struct ExtentHeader("ext4_extent_header", 12) {
        0 eh_magic: U16,
        2 eh_entries: U16,
        4 eh_max: U16,
        6 eh_depth: U16,
        8 eh_generation: U32,
    }
}

on_disk! {
    /// A leaf entry.
    pub struct Extent("ext4_extent", 12) {
        0 ee_block: U32,
        4 ee_len: U16,
        6 ee_start_hi: U16,
        8 ee_start_lo: U32,
    }
}

on_disk! {
    /// An index entry.
    pub struct ExtentIdx("ext4_extent_idx", 12) {
        0 ei_block: U32,
        4 ei_leaf_lo: U32,
        8 ei_leaf_hi: U16,
        10 ei_unused: U16,
    }
}

on_disk! {
    /// Behind the last possible entry of a node in a block of its own, with `metadata_csum`.
    pub struct ExtentTail("ext4_extent_tail", 4) {
        0 et_checksum: U32,
    }
}

impl Extent {
    /// An extent; `len` is at most [`MAX_WRITTEN_LEN`], or [`MAX_UNWRITTEN_LEN`] when not `written`.
    #[must_use]
    pub fn new(logical: u32, physical: u64, len: u16, written: bool) -> Self {
        Self {
            ee_block: U32::new(logical),
            ee_len: U16::new(if written { len } else { len.saturating_add(MAX_WRITTEN_LEN) }),
            ee_start_hi: U16::new((physical >> 32) as u16),
            ee_start_lo: U32::new(physical as u32),
        }
    }

    /// First block on disk.
    #[must_use]
    pub fn start(&self) -> u64 {
        u64::from(self.ee_start_hi.get()) << 32 | u64::from(self.ee_start_lo.get())
    }

    /// Number of blocks, whether written or not (`ext4_ext_get_actual_len`).
    #[must_use]
    pub fn len(&self) -> u16 {
        let raw = self.ee_len.get();
        if raw <= MAX_WRITTEN_LEN { raw } else { raw - MAX_WRITTEN_LEN }
    }

    /// True for the impossible extent of no blocks.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// False when the blocks are allocated but read as zero.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.ee_len.get() <= MAX_WRITTEN_LEN
    }
}

impl ExtentIdx {
    /// An index entry for the node at `child`.
    #[must_use]
    pub fn new(logical: u32, child: u64) -> Self {
        Self {
            ei_block: U32::new(logical),
            ei_leaf_lo: U32::new(child as u32),
            ei_leaf_hi: U16::new((child >> 32) as u16),
            ei_unused: U16::new(0),
        }
    }

    /// The block of the node below.
    #[must_use]
    pub fn leaf(&self) -> u64 {
        u64::from(self.ei_leaf_hi.get()) << 32 | u64::from(self.ei_leaf_lo.get())
    }
}

/// Why a node cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// Fewer bytes than a header.
    #[error("too short for an extent header")]
    Short,
    /// `eh_magic` is wrong.
    #[error("extent header magic is {stored:#06x}, not 0xf30a")]
    Magic {
        /// What stands there.
        stored: u16,
    },
    /// `eh_max` does not fit the node, or is zero.
    #[error("eh_max is {stored}, the node has room for {room}")]
    Max {
        /// What stands there.
        stored: u16,
        /// What fits.
        room: u16,
    },
    /// More entries than `eh_max`.
    #[error("eh_entries is {stored}, eh_max is {max}")]
    Entries {
        /// What stands there.
        stored: u16,
        /// What the header allows.
        max: u16,
    },
    /// Deeper than the tree can be, or not the depth the parent promised.
    #[error("eh_depth is {stored}, expected {expected}")]
    Depth {
        /// What stands there.
        stored: u16,
        /// What the parent says, or the deepest possible.
        expected: u16,
    },
}

/// A node whose header was checked against the bytes it lies in; entries beyond `eh_entries` are out of reach.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    header: &'a ExtentHeader,
    entries: &'a [u8],
}

impl<'a> Node<'a> {
    /// Checks the header of the node in `bytes` (the 60 bytes of `i_block`, or a block). `depth` is what the parent promises;
    /// `None` for a root, which may have any depth up to [`MAX_DEPTH`].
    ///
    /// # Errors
    /// See [`NodeError`].
    pub fn parse(bytes: &'a [u8], depth: Option<u16>) -> Result<Self, NodeError> {
        let header = ExtentHeader::peek(bytes).ok_or(NodeError::Short)?;
        if header.eh_magic.get() != MAGIC {
            return Err(NodeError::Magic { stored: header.eh_magic.get() });
        }
        let stored = header.eh_depth.get();
        match depth {
            Some(expected) if stored != expected => return Err(NodeError::Depth { stored, expected }),
            None if stored > MAX_DEPTH => return Err(NodeError::Depth { stored, expected: MAX_DEPTH }),
            _ => {}
        }
        let room = u16::try_from((bytes.len() - size_of::<ExtentHeader>()) / size_of::<Extent>()).unwrap_or(u16::MAX);
        let max = header.eh_max.get();
        if max == 0 || max > room {
            return Err(NodeError::Max { stored: max, room });
        }
        let count = header.eh_entries.get();
        if count > max {
            return Err(NodeError::Entries { stored: count, max });
        }
        let end = 12 + usize::from(count) * 12;
        Ok(Self { header, entries: bytes.get(12..end).unwrap_or_default() })
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &'a ExtentHeader {
        self.header
    }

    /// 0 for a leaf.
    #[must_use]
    pub fn depth(&self) -> u16 {
        self.header.eh_depth.get()
    }

    /// The entries of a leaf.
    #[must_use]
    pub fn extents(&self) -> &'a [Extent] {
        zerocopy::FromBytes::ref_from_bytes(self.entries).unwrap_or_default()
    }

    /// The entries of an index node.
    #[must_use]
    pub fn indexes(&self) -> &'a [ExtentIdx] {
        zerocopy::FromBytes::ref_from_bytes(self.entries).unwrap_or_default()
    }
}

/// Where the tail of a node in a block of its own lies, by its `eh_max` (`EXT4_EXTENT_TAIL_OFFSET`).
#[must_use]
pub fn tail_offset(eh_max: u16) -> usize {
    12 + 12 * usize::from(eh_max)
}

/// Entries that fit in a node of `block_size` bytes, the tail's room left free as the kernel leaves it.
#[must_use]
pub fn entries_per_block(block_size: u32) -> u16 {
    u16::try_from((block_size.saturating_sub(12)) / 12).unwrap_or(u16::MAX)
}

/// The checksum of a node in a block of its own; `seed` is the inode's.
#[must_use]
pub fn block_checksum(seed: u32, block: &[u8]) -> Option<u32> {
    let header = ExtentHeader::peek(block)?;
    Some(crc32c(seed, block.get(..tail_offset(header.eh_max.get()))?))
}

/// True when the tail of the node fits; `seed` is the inode's.
#[must_use]
pub fn verify_block(seed: u32, block: &[u8]) -> bool {
    let stored = ExtentHeader::peek(block)
        .and_then(|h| block.get(tail_offset(h.eh_max.get())..))
        .and_then(ExtentTail::peek)
        .map(|t| t.et_checksum.get());
    stored.is_some() && stored == block_checksum(seed, block)
}

/// Stores the tail of the node.
pub fn seal_block(seed: u32, block: &mut [u8]) {
    let Some(sum) = block_checksum(seed, block) else { return };
    let at = ExtentHeader::peek(block).map_or(usize::MAX, |h| tail_offset(h.eh_max.get()));
    if let Some(tail) = block.get_mut(at..).and_then(ExtentTail::peek_mut) {
        tail.et_checksum.set(sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_and_state_share_a_field() {
        for (len, written) in [(1, true), (32768, true), (1, false), (32767, false)] {
            let e = Extent::new(7, 1 << 40, len, written);
            assert_eq!((e.len(), e.is_written(), e.start()), (len, written, 1 << 40));
        }
    }

    #[test]
    fn a_node_that_lies_about_its_room_is_refused() {
        let mut b = [0u8; 60];
        assert_eq!(Node::parse(&b, None).err(), Some(NodeError::Magic { stored: 0 }));
        b[0..2].copy_from_slice(&MAGIC.to_le_bytes());
        assert_eq!(Node::parse(&b, None).err(), Some(NodeError::Max { stored: 0, room: 4 }));
        b[4] = 5;
        assert_eq!(Node::parse(&b, None).err(), Some(NodeError::Max { stored: 5, room: 4 }));
        b[4] = 4;
        b[2] = 5;
        assert_eq!(Node::parse(&b, None).err(), Some(NodeError::Entries { stored: 5, max: 4 }));
        b[2] = 4;
        assert_eq!(Node::parse(&b, None).map(|n| n.extents().len()).ok(), Some(4));
        assert_eq!(Node::parse(&b, Some(1)).err(), Some(NodeError::Depth { stored: 0, expected: 1 }));
    }
}
