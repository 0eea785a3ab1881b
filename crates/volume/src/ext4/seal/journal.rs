//! Checksums of the journal, versions 2 and 3: superblock, descriptor, revoke and commit blocks, and the data blocks
//! whose checksums stand in the tags of their descriptor block.

use daxkit_device::{BlockDevice, DeviceError};
use daxkit_format::OnDisk;
use daxkit_format::jbd2::{
    BlockTag, BlockTag3, BlockTail, BlockType, CommitHeader, JournalHeader, JournalSuperBlock, commit_block,
    data_checksum, journal_seed,
};
use std::mem::offset_of;
use std::ops::Range;

use super::kind::{read, slice};
use super::{Look, State};

/// Where the checksum of a commit block lies: the first word of the field.
const COMMIT_SUM: usize = offset_of!(CommitHeader, h_chksum);

/// What the checksums of a log are computed from: the UUID in the journal's superblock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::ext4) struct JournalSeed {
    /// Byte of the device at which that superblock lies.
    pub(in crate::ext4) super_at: u64,
}

impl JournalSeed {
    fn value(self, device: &dyn BlockDevice) -> Result<u32, DeviceError> {
        let sb = super_block(device, self.super_at)?;
        Ok(journal_seed(if sb.is_v1() { &[0; 16] } else { &sb.s_uuid }))
    }
}

/// How much of a data block's checksum its tag holds, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::ext4) enum TagVersion {
    /// The lower half.
    V2,
    /// All of it.
    V3,
}

/// Reads the journal's superblock, whatever it is.
pub(super) fn super_block(device: &dyn BlockDevice, at: u64) -> Result<JournalSuperBlock, DeviceError> {
    let bytes = read(device, at, size_of::<JournalSuperBlock>())?;
    Ok(JournalSuperBlock::peek(&bytes).copied().unwrap_or_else(OnDisk::zeroed))
}

/// The superblock's own.
pub(super) fn super_look(device: &dyn BlockDevice, at: u64) -> Result<Look, DeviceError> {
    let sb = super_block(device, at)?;
    let covers = vec![at..at.saturating_add(size_of::<JournalSuperBlock>() as u64)];
    if !sb.has_checksum() {
        return Ok(Look::absent(covers, State::Unused));
    }
    let stored = sb.s_checksum.get().to_be_bytes();
    Ok(Look::new(covers, sb.checksum())
        .big_endian_part(at.saturating_add(offset_of!(JournalSuperBlock, s_checksum) as u64), &stored))
}

/// A descriptor's or revoke block's, in its tail, or a commit block's, in its header: whichever the block says it is.
pub(super) fn block_look(device: &dyn BlockDevice, block: Range<u64>, seed: JournalSeed) -> Result<Look, DeviceError> {
    let bytes = read(device, block.start, (block.end - block.start) as usize)?;
    let value = seed.value(device)?;
    let (right, at) = match JournalHeader::of(&bytes) {
        Some((BlockType::Descriptor | BlockType::Revoke, _)) => {
            (BlockTail::compute(&bytes, value), bytes.len().saturating_sub(4))
        }
        Some((BlockType::Commit, _)) => (commit_block::compute(&bytes, value), COMMIT_SUM),
        _ => return Ok(Look::absent(vec![block], State::Unused)),
    };
    let start = block.start;
    Ok(match right {
        Some(right) => Look::new(vec![block], right).big_endian_part(start + at as u64, slice(&bytes, at, 4)),
        None => Look::absent(vec![block], State::Impossible),
    })
}

/// A data block's, in its tag. `sequence` is the number of the transaction.
pub(super) fn data_look(
    device: &dyn BlockDevice,
    block: Range<u64>,
    sequence: u32,
    tag_at: u64,
    version: TagVersion,
    seed: JournalSeed,
) -> Result<Look, DeviceError> {
    let bytes = read(device, block.start, (block.end - block.start) as usize)?;
    let right = data_checksum(seed.value(device)?, sequence, &bytes);
    let (at, len) = match version {
        TagVersion::V2 => (tag_at.saturating_add(offset_of!(BlockTag, t_checksum) as u64), 2),
        TagVersion::V3 => (tag_at.saturating_add(offset_of!(BlockTag3, t_checksum) as u64), 4),
    };
    // Narrow sums are compared as narrow.
    let right = if len == 2 { right & 0xffff } else { right };
    let stored = read(device, at, len)?;
    Ok(Look::new(vec![block], right).big_endian_part(at, &stored))
}
