//! Hashed directories (`struct dx_root`, `dx_node`, `dx_entry`, `dx_countlimit`, `dx_tail`).

use super::dir_entry::{self, DirEntry};
use crate::checksum::crc32c;
use crate::on_disk::OnDisk;
use zerocopy::little_endian::{U16, U32};

on_disk! {
    /// The fixed part of the root block: `.`, `..` and `dx_root_info`. Entries follow at byte 32.
    pub struct DxRoot("dx_root", 32) {
        0x00 dot_inode: U32,
        0x04 dot_rec_len: U16,
        0x06 dot_name_len: u8,
        0x07 dot_file_type: u8,
        0x08 dot_name: [u8; 4],
        0x0C dotdot_inode: U32,
        0x10 dotdot_rec_len: U16,
        0x12 dotdot_name_len: u8,
        0x13 dotdot_file_type: u8,
        0x14 dotdot_name: [u8; 4],
        0x18 reserved_zero: U32,
        0x1C hash_version: u8,
        0x1D info_length: u8,
        0x1E indirect_levels: u8,
        0x1F unused_flags: u8,
    }
}

on_disk! {
    /// An entry of a root or node: names with this hash and above are below this block.
    pub struct DxEntry("dx_entry", 8) {
        0 hash: U32,
        4 block: U32,
    }
}

on_disk! {
    /// Lies where the hash of the first entry would.
    pub struct DxCountLimit("dx_countlimit", 4) {
        0 limit: U16,
        2 count: U16,
    }
}

on_disk! {
    /// Behind the last possible entry, with `metadata_csum`.
    pub struct DxTail("dx_tail", 8) {
        0 dt_reserved: U32,
        4 dt_checksum: U32,
    }
}

/// Where the entries of a root begin when `info_length` is 8.
pub const ROOT_ENTRIES: usize = 32;
/// Where the entries of a node begin, behind its fake directory entry.
pub const NODE_ENTRIES: usize = 8;
/// Levels below the root: 2, or 3 with `large_dir` (`EXT4_HTREE_LEVEL`), as counted by `ext4_dir_htree_level`.
pub const MAX_LEVELS: u8 = 3;

/// Why a root or node cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DxError {
    /// Too few bytes, or no room for entries.
    #[error("htree block is too short")]
    Short,
    /// `reserved_zero`, `info_length` or `unused_flags` are not what the kernel demands.
    #[error("htree root info is not valid")]
    RootInfo,
    /// The limit does not fit the block.
    #[error("htree limit is {stored}, the block has room for {room}")]
    Limit {
        /// What stands there.
        stored: u16,
        /// What fits.
        room: u16,
    },
    /// No entry, or more than the limit.
    #[error("htree count is {stored}, the limit is {limit}")]
    Count {
        /// What stands there.
        stored: u16,
        /// What the block says it can hold.
        limit: u16,
    },
}

/// A checked root or node.
#[derive(Debug, Clone, Copy)]
pub struct DxBlock<'a> {
    /// The root's information; `None` in a node.
    pub root: Option<&'a DxRoot>,
    /// How many entries fit.
    pub limit: u16,
    /// The entries; the hash of the first is not stored and counts as 0.
    pub entries: &'a [DxEntry],
    /// Offset of the first entry.
    pub offset: usize,
}

impl<'a> DxBlock<'a> {
    /// Checks a root block; `tail` says whether room is kept for a [`DxTail`].
    ///
    /// # Errors
    /// See [`DxError`].
    pub fn parse_root(block: &'a [u8], tail: bool) -> Result<Self, DxError> {
        let root = DxRoot::peek(block).ok_or(DxError::Short)?;
        if root.reserved_zero.get() != 0 || root.info_length != 8 || root.unused_flags & 1 != 0 {
            return Err(DxError::RootInfo);
        }
        Self::parse_entries(block, ROOT_ENTRIES, tail, Some(root))
    }

    /// Checks a node block.
    ///
    /// # Errors
    /// See [`DxError`].
    pub fn parse_node(block: &'a [u8], tail: bool) -> Result<Self, DxError> {
        DirEntry::peek(block).ok_or(DxError::Short)?;
        Self::parse_entries(block, NODE_ENTRIES, tail, None)
    }

    fn parse_entries(block: &'a [u8], offset: usize, tail: bool, root: Option<&'a DxRoot>) -> Result<Self, DxError> {
        let room = limit(block.len(), offset, tail);
        let cl = block.get(offset..).and_then(DxCountLimit::peek).ok_or(DxError::Short)?;
        let (limit, count) = (cl.limit.get(), cl.count.get());
        if limit == 0 || limit != room {
            return Err(DxError::Limit { stored: limit, room });
        }
        if count == 0 || count > limit {
            return Err(DxError::Count { stored: count, limit });
        }
        let end = offset + usize::from(count) * 8;
        let entries =
            block.get(offset..end).and_then(|b| zerocopy::FromBytes::ref_from_bytes(b).ok()).ok_or(DxError::Short)?;
        Ok(Self { root, limit, entries, offset })
    }

    /// The entries as (hash, block) with the first hash read as 0 and the block's reserved high bits masked off.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32)> + 'a {
        self.entries
            .iter()
            .enumerate()
            .map(|(i, e)| (if i == 0 { 0 } else { e.hash.get() }, e.block.get() & 0x0fff_ffff))
    }
}

/// Entries that fit behind `offset` in a block (`dx_root_limit`, `dx_node_limit`).
#[must_use]
pub fn limit(block_len: usize, offset: usize, tail: bool) -> u16 {
    let room = block_len.saturating_sub(offset).saturating_sub(if tail { 8 } else { 0 });
    u16::try_from(room / 8).unwrap_or(u16::MAX)
}

/// Writes the entries of a root or node, whose first is at byte `offset`, and the limit that follows from the block's length.
pub fn write_entries(block: &mut [u8], offset: usize, tail: bool, entries: &[(u32, u32)]) {
    let limit = limit(block.len(), offset, tail);
    for (i, (hash, child)) in entries.iter().enumerate() {
        if let Some(e) = block.get_mut(offset + 8 * i..).and_then(DxEntry::peek_mut) {
            e.hash.set(*hash);
            e.block.set(*child);
        }
    }
    // It takes the place of the first hash.
    if let Some(cl) = block.get_mut(offset..).and_then(DxCountLimit::peek_mut) {
        cl.limit.set(limit);
        cl.count.set(u16::try_from(entries.len()).unwrap_or(u16::MAX));
    }
}

/// Offset of the entries in an htree block, by its shape (`get_dx_countlimit`): `None` when it is neither root nor node.
#[must_use]
pub fn entries_offset(block: &[u8]) -> Option<usize> {
    let head = DirEntry::peek(block)?;
    let bs = u32::try_from(block.len()).ok()?;
    if dir_entry::rec_len_from_disk(head.rec_len.get(), bs) == bs {
        return Some(NODE_ENTRIES);
    }
    let root = DxRoot::peek(block)?;
    let dotdot = dir_entry::rec_len_from_disk(root.dotdot_rec_len.get(), bs);
    (head.rec_len.get() == 12
        && dotdot == bs.checked_sub(12)?
        && root.reserved_zero.get() == 0
        && root.info_length == 8)
        .then_some(ROOT_ENTRIES)
}

/// Where the tail of an htree block lies, by its limit (`ext4_dx_csum`); `offset` is where its entries begin.
#[must_use]
pub fn tail_offset(block: &[u8], offset: usize) -> Option<usize> {
    let limit = DxCountLimit::peek(block.get(offset..)?)?.limit.get();
    Some(offset + usize::from(limit) * size_of::<DxEntry>())
}

/// The checksum of an htree block (`ext4_dx_csum`); `seed` is the directory inode's, `offset` where its entries begin. `None` when
/// the limit leaves the tail no room, or puts it where the checksum would cover itself.
#[must_use]
pub fn block_checksum(seed: u32, block: &[u8], offset: usize) -> Option<u32> {
    let cl = DxCountLimit::peek(block.get(offset..)?)?;
    let counted = block.get(..offset + usize::from(cl.count.get()) * 8)?;
    let tail_at = tail_offset(block, offset).filter(|at| *at >= counted.len())?;
    let tail = block.get(tail_at..).and_then(DxTail::peek)?;
    let crc = crc32c(crc32c(seed, counted), &tail.dt_reserved.get().to_le_bytes());
    Some(crc32c(crc, &[0; 4]))
}

/// True when the tail of the htree block fits.
#[must_use]
pub fn verify_block(seed: u32, block: &[u8], offset: usize) -> bool {
    let tail = tail_offset(block, offset).and_then(|at| block.get(at..)).and_then(DxTail::peek);
    let stored = tail.map(|t| t.dt_checksum.get());
    stored.is_some() && stored == block_checksum(seed, block, offset)
}

/// Stores the tail of the htree block.
pub fn seal_block(seed: u32, block: &mut [u8], offset: usize) {
    let Some(sum) = block_checksum(seed, block, offset) else { return };
    let tail = tail_offset(block, offset).and_then(|at| block.get_mut(at..)).and_then(DxTail::peek_mut);
    if let Some(tail) = tail {
        tail.dt_checksum.set(sum);
    }
}
