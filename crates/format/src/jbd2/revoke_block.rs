//! `jbd2_journal_revoke_header_t`: blocks whose older copies in the log must not be replayed.

use super::JournalError;
use super::block_tag::TagFormat;
use super::checksum::BlockTail;
use super::header::{BlockType, JournalHeader, MAGIC};
use crate::OnDisk;
use zerocopy::IntoBytes;
use zerocopy::big_endian::U32;

on_disk! {
    /// Head of a revoke block; block numbers follow.
    pub struct RevokeHeader("jbd2_journal_revoke_header_s", 16) {
        0 h_magic: U32,
        4 h_blocktype: U32,
        8 h_sequence: U32,
        /// Bytes in use, this header counted.
        12 r_count: U32,
    }
}

const HEADER: usize = size_of::<RevokeHeader>();

/// The block numbers of a revoke block, after its header was checked; the sequence comes with them.
///
/// # Errors
/// When the header is not one of a revoke block, or `r_count` does not fit the block.
pub fn records(block: &[u8], format: TagFormat) -> Result<(u32, Records<'_>), JournalError> {
    let sequence = JournalHeader::expect(block, BlockType::Revoke, "revoke block")?;
    let head = RevokeHeader::peek(block).ok_or(JournalError::Short {
        structure: RevokeHeader::NAME,
        needed: HEADER,
        found: block.len(),
    })?;
    let count = head.r_count.get();
    let limit = block.len().saturating_sub(format.tail_bytes());
    let area = usize::try_from(count)
        .ok()
        .filter(|end| *end <= limit)
        .and_then(|end| block.get(HEADER..end))
        .ok_or(JournalError::RevokeCount { count, limit: u32::try_from(limit).unwrap_or(u32::MAX) })?;
    Ok((sequence, Records { area, width: format.revoke_bytes() }))
}

/// See [`records`]. A record that is cut off is not yielded.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    area: &'a [u8],
    width: usize,
}

impl Iterator for Records<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let (record, rest) = self.area.split_at_checked(self.width)?;
        self.area = rest;
        Some(record.iter().fold(0, |n, b| (n << 8) | u64::from(*b)))
    }
}

/// Makes a revoke block.
#[derive(Debug, Clone)]
pub struct RevokeBuilder {
    bytes: Vec<u8>,
    at: usize,
    format: TagFormat,
    seed: u32,
}

impl RevokeBuilder {
    /// An empty revoke block of `block_size` bytes.
    #[must_use]
    pub fn new(block_size: usize, format: TagFormat, seed: u32, sequence: u32) -> Self {
        let head = RevokeHeader {
            h_magic: MAGIC.into(),
            h_blocktype: (BlockType::Revoke as u32).into(),
            h_sequence: sequence.into(),
            r_count: 0.into(),
        };
        let mut bytes = vec![0; block_size];
        bytes.iter_mut().zip(head.as_bytes()).for_each(|(d, s)| *d = *s);
        Self { bytes, at: HEADER, format, seed }
    }

    /// Adds a block. `false` when there is no room, or the number does not fit the journal.
    #[must_use]
    pub fn push(&mut self, block: u64) -> bool {
        let width = self.format.revoke_bytes();
        let end = self.at + width;
        if end > self.bytes.len().saturating_sub(self.format.tail_bytes()) || (!self.format.wide && block >> 32 != 0) {
            return false;
        }
        let Some(place) = self.bytes.get_mut(self.at..end) else {
            return false;
        };
        place.iter_mut().zip(block.to_be_bytes().iter().skip(8 - width)).for_each(|(d, s)| *d = *s);
        self.at = end;
        true
    }

    /// How many blocks one block of `block_size` bytes names.
    #[must_use]
    pub fn capacity(block_size: usize, format: TagFormat) -> usize {
        block_size.saturating_sub(HEADER + format.tail_bytes()) / format.revoke_bytes()
    }

    /// Whether a block was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at == HEADER
    }

    /// Writes the count and seals the block.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        let count = u32::try_from(self.at).unwrap_or(u32::MAX);
        if let Some(head) = RevokeHeader::peek_mut(&mut self.bytes) {
            head.r_count = count.into();
        }
        if self.format.tail_bytes() != 0 {
            BlockTail::seal(&mut self.bytes, self.seed);
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::block_tag::TagChecksum;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_full_block_reads_back() {
        for (checksum, wide, room) in [
            (TagChecksum::None, false, 252),
            (TagChecksum::V3, false, 251),
            (TagChecksum::None, true, 126),
            (TagChecksum::V2, true, 125),
        ] {
            let format = TagFormat { checksum, wide };
            let base = if wide { 0x7_0000_0000 } else { 0xffff_0000u64 };
            let mut b = RevokeBuilder::new(1024, format, 4, 11);
            assert!(b.is_empty());
            let pushed = (0..).take_while(|n| b.push(base + n)).count();
            assert_eq!(pushed, room);
            let block = b.finish();
            assert_eq!(BlockTail::verify(&block, 4).is_ok(), format.tail_bytes() != 0);
            let (sequence, it) = records(&block, format).unwrap();
            assert_eq!(sequence, 11);
            assert_eq!(it.collect::<Vec<_>>(), (base..).take(room).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_count_that_does_not_fit_is_refused() {
        let format = TagFormat { checksum: TagChecksum::V3, wide: true };
        let mut block = RevokeBuilder::new(1024, format, 0, 1).finish();
        for (count, ok) in
            [(0u32, false), (15, false), (16, true), (23, true), (1020, true), (1021, false), (!0, false)]
        {
            block[12..16].copy_from_slice(&count.to_be_bytes());
            let got = records(&block, format).map(|(_, it)| it.count());
            if ok {
                assert_eq!(got, Ok((count as usize - 16) / 8), "{count}");
            } else {
                assert_eq!(got, Err(JournalError::RevokeCount { count, limit: 1020 }));
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end(mut block in proptest::collection::vec(any::<u8>(), 0..3000), wide: bool) {
            for (d, s) in block.iter_mut().zip([0xC0, 0x3B, 0x39, 0x98, 0, 0, 0, 5]) {
                *d = s;
            }
            let format = TagFormat { checksum: TagChecksum::V2, wide };
            if let Ok((_, it)) = records(&block, format) {
                prop_assert!(it.count() <= block.len() / 4);
            }
        }
    }
}
