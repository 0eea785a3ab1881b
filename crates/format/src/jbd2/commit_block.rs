//! `struct commit_header`: the block that ends a transaction.

use super::JournalError;
use super::features::ChecksumType;
use super::header::{BlockType, JournalHeader, MAGIC};
use crate::OnDisk;
use crate::checksum::crc32c;
use zerocopy::IntoBytes;
use zerocopy::big_endian::{U32, U64};

on_disk! {
    /// A commit block; the rest of the block is zero.
    pub struct CommitHeader("commit_header", 60) {
        0 h_magic: U32,
        4 h_blocktype: U32,
        8 h_sequence: U32,
        /// [`ChecksumType`]; only version 1 sets it.
        12 h_chksum_type: u8,
        /// Bytes of `h_chksum` in use; only version 1 sets it.
        13 h_chksum_size: u8,
        14 h_padding: [u8; 2],
        /// The first is the checksum of the transaction (version 1) or of this block (versions 2 and 3).
        16 h_chksum: [U32; 8],
        48 h_commit_sec: U64,
        56 h_commit_nsec: U32,
    }
}

/// Bytes of a version 1 checksum (`JBD2_CRC32_CHKSUM_SIZE`).
const V1_SIZE: u8 = 4;

/// Makes a commit block. Without `seed` it has no checksum; give it one by [`seal_v1`] where that is wanted.
#[must_use]
pub fn build(block_size: usize, sequence: u32, sec: u64, nsec: u32, seed: Option<u32>) -> Vec<u8> {
    let head = CommitHeader {
        h_magic: MAGIC.into(),
        h_blocktype: (BlockType::Commit as u32).into(),
        h_sequence: sequence.into(),
        h_commit_sec: sec.into(),
        h_commit_nsec: nsec.into(),
        ..CommitHeader::zeroed()
    };
    let mut bytes = vec![0; block_size];
    bytes.iter_mut().zip(head.as_bytes()).for_each(|(d, s)| *d = *s);
    if let Some(seed) = seed {
        seal(&mut bytes, seed);
    }
    bytes
}

/// Checksum of versions 2 and 3: the whole block with the first word of `h_chksum` zero. `None` when it is too short.
#[must_use]
pub fn compute(block: &[u8], seed: u32) -> Option<u32> {
    let head = block.get(..16)?;
    let rest = block.get(20..)?;
    Some(crc32c(crc32c(crc32c(seed, head), &[0; 4]), rest))
}

/// Verifies a block's checksum of version 2 or 3.
///
/// # Errors
/// [`JournalError::Checksum`], or [`JournalError::Short`].
pub fn verify(block: &[u8], seed: u32) -> Result<(), JournalError> {
    let head = CommitHeader::peek(block).ok_or_else(|| short(block))?;
    let computed = compute(block, seed).ok_or_else(|| short(block))?;
    match stored(head) {
        sum if sum == computed => Ok(()),
        stored => Err(JournalError::Checksum { structure: CommitHeader::NAME, stored, computed }),
    }
}

/// Verifies a commit block of which perhaps only the first sector reached the disk: the header alone, the rest of the
/// block taken as zero. Recovery accepts that as well (`jbd2_commit_block_csum_verify_partial`).
///
/// # Errors
/// As [`verify`].
pub fn verify_partial(block: &[u8], seed: u32) -> Result<(), JournalError> {
    let Some(head) = block.get(..size_of::<CommitHeader>()) else {
        return Err(short(block));
    };
    let mut bare = vec![0; block.len()];
    bare.iter_mut().zip(head).for_each(|(d, s)| *d = *s);
    verify(&bare, seed)
}

/// Writes the checksum of version 2 or 3. A block too short for a commit header is left alone.
pub fn seal(block: &mut [u8], seed: u32) {
    if let Some(sum) = compute(block, seed)
        && let Some(place) = block.get_mut(16..20)
    {
        place.copy_from_slice(&sum.to_be_bytes());
    }
}

/// Verifies version 1: `computed` is [`super::crc32_be`] from `!0` over the transaction's descriptor and data blocks. A
/// commit block without any checksum is accepted as long as `seen` is false, that is until one with a checksum came by.
///
/// # Errors
/// [`JournalError::Checksum`], or [`JournalError::Short`].
pub fn verify_v1(block: &[u8], computed: u32, seen: bool) -> Result<(), JournalError> {
    let head = CommitHeader::peek(block).ok_or_else(|| short(block))?;
    let sum = stored(head);
    let shape = (head.h_chksum_type, head.h_chksum_size);
    let absent = shape == (0, 0) && sum == 0 && !seen;
    if absent || (shape == (ChecksumType::Crc32 as u8, V1_SIZE) && sum == computed) {
        return Ok(());
    }
    Err(JournalError::Checksum { structure: CommitHeader::NAME, stored: sum, computed })
}

/// Writes the checksum of version 1.
pub fn seal_v1(block: &mut [u8], computed: u32) {
    if let Some(head) = CommitHeader::peek_mut(block) {
        head.h_chksum_type = ChecksumType::Crc32 as u8;
        head.h_chksum_size = V1_SIZE;
        if let Some(first) = head.h_chksum.first_mut() {
            *first = computed.into();
        }
    }
}

/// Sequence of a commit block.
///
/// # Errors
/// When it is none: see [`JournalHeader::expect`].
pub fn sequence(block: &[u8]) -> Result<u32, JournalError> {
    JournalHeader::expect(block, BlockType::Commit, "commit block")
}

fn stored(head: &CommitHeader) -> u32 {
    head.h_chksum.first().map_or(0, |s| s.get())
}

fn short(block: &[u8]) -> JournalError {
    JournalError::Short { structure: CommitHeader::NAME, needed: size_of::<CommitHeader>(), found: block.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_block_verifies_until_a_bit_flips() {
        let mut block = build(1024, 5, 0x1_0203_0405, 6, Some(77));
        assert_eq!(sequence(&block), Ok(5));
        assert_eq!(block[48..60], [0, 0, 0, 1, 2, 3, 4, 5, 0, 0, 0, 6]);
        assert_eq!(verify(&block, 77), Ok(()));
        for at in [0, 15, 16, 20, 1023] {
            block[at] ^= 1;
            assert!(verify(&block, 77).is_err(), "{at}");
            block[at] ^= 1;
        }
        // Junk behind the header is forgiven by the partial form only.
        block[100] = 1;
        assert!(verify(&block, 77).is_err());
        assert_eq!(verify_partial(&block, 77), Ok(()));
        assert!(verify(&block[..59], 77).is_err() && verify_partial(&block[..59], 77).is_err());
    }

    #[test]
    fn version_1_lives_in_the_same_place() {
        let mut block = build(1024, 5, 0, 0, None);
        assert_eq!(verify_v1(&block, 9, false), Ok(()));
        assert!(verify_v1(&block, 9, true).is_err());
        seal_v1(&mut block, 0x0102_0304);
        assert_eq!(block[12..20], [1, 4, 0, 0, 1, 2, 3, 4]);
        assert_eq!(verify_v1(&block, 0x0102_0304, true), Ok(()));
        assert_eq!(
            verify_v1(&block, 9, false),
            Err(JournalError::Checksum { structure: "commit_header", stored: 0x0102_0304, computed: 9 })
        );
    }
}
