//! `journal_header_t`, the twelve bytes every block of the log that is not data begins with.

use super::JournalError;
use crate::OnDisk;
use zerocopy::big_endian::U32;

/// `JBD2_MAGIC_NUMBER`. A data block that begins with it is escaped in the log
/// ([`TagFlags::ESCAPE`](super::TagFlags::ESCAPE)).
pub const MAGIC: u32 = 0xC03B_3998;

on_disk! {
    /// Head of a block of the log.
    pub struct JournalHeader("journal_header_s", 12) {
        0 h_magic: U32,
        4 h_blocktype: U32,
        8 h_sequence: U32,
    }
}

/// What `h_blocktype` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum BlockType {
    /// Tags of the data blocks that follow (`JBD2_DESCRIPTOR_BLOCK`).
    Descriptor = 1,
    /// End of a transaction (`JBD2_COMMIT_BLOCK`).
    Commit = 2,
    /// Superblock without features (`JBD2_SUPERBLOCK_V1`).
    SuperBlockV1 = 3,
    /// Superblock (`JBD2_SUPERBLOCK_V2`).
    SuperBlockV2 = 4,
    /// Blocks not to be replayed from older transactions (`JBD2_REVOKE_BLOCK`).
    Revoke = 5,
}

impl BlockType {
    /// The type with this number.
    #[must_use]
    pub const fn from_raw(raw: u32) -> Option<Self> {
        Some(match raw {
            1 => Self::Descriptor,
            2 => Self::Commit,
            3 => Self::SuperBlockV1,
            4 => Self::SuperBlockV2,
            5 => Self::Revoke,
            _ => return None,
        })
    }
}

impl JournalHeader {
    /// A header of this type in this transaction.
    #[must_use]
    pub fn new(block_type: BlockType, sequence: u32) -> Self {
        Self { h_magic: MAGIC.into(), h_blocktype: (block_type as u32).into(), h_sequence: sequence.into() }
    }

    /// The header at the start of `block`, if there is one: the magic matches and the type is known.
    #[must_use]
    pub fn of(block: &[u8]) -> Option<(BlockType, u32)> {
        let h = Self::peek(block)?;
        if h.h_magic.get() != MAGIC {
            return None;
        }
        Some((BlockType::from_raw(h.h_blocktype.get())?, h.h_sequence.get()))
    }

    /// As [`JournalHeader::of`], but a certain type is wanted. Returns the sequence.
    ///
    /// # Errors
    /// [`JournalError::Short`], [`JournalError::Magic`], [`JournalError::BlockType`].
    pub fn expect(block: &[u8], wanted: BlockType, name: &'static str) -> Result<u32, JournalError> {
        let h =
            Self::peek(block).ok_or(JournalError::Short { structure: Self::NAME, needed: 12, found: block.len() })?;
        if h.h_magic.get() != MAGIC {
            return Err(JournalError::Magic { found: h.h_magic.get() });
        }
        if h.h_blocktype.get() != wanted as u32 {
            return Err(JournalError::BlockType { found: h.h_blocktype.get(), expected: name });
        }
        Ok(h.h_sequence.get())
    }
}

/// Whether transaction `x` is later than `y`; sequence numbers wrap around (`tid_gt`).
#[must_use]
pub const fn tid_gt(x: u32, y: u32) -> bool {
    x.wrapping_sub(y).cast_signed() > 0
}

/// Whether transaction `x` is `y` or later (`tid_geq`).
#[must_use]
pub const fn tid_geq(x: u32, y: u32) -> bool {
    x.wrapping_sub(y).cast_signed() >= 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    #[test]
    fn a_header_reads_back() {
        let h = JournalHeader::new(BlockType::Revoke, 0x0102_0304);
        assert_eq!(h.as_bytes(), [0xC0, 0x3B, 0x39, 0x98, 0, 0, 0, 5, 1, 2, 3, 4]);
        assert_eq!(JournalHeader::of(h.as_bytes()), Some((BlockType::Revoke, 0x0102_0304)));
        assert_eq!(JournalHeader::of(&h.as_bytes()[..11]), None);
    }

    #[test]
    fn what_is_not_a_header_is_refused_with_its_reason() {
        let mut h = JournalHeader::new(BlockType::Commit, 7);
        assert_eq!(JournalHeader::expect(h.as_bytes(), BlockType::Commit, "commit"), Ok(7));
        assert_eq!(
            JournalHeader::expect(h.as_bytes(), BlockType::Revoke, "revoke"),
            Err(JournalError::BlockType { found: 2, expected: "revoke" })
        );
        h.h_blocktype = 6.into();
        assert_eq!(JournalHeader::of(h.as_bytes()), None);
        h.h_magic = 1.into();
        assert_eq!(
            JournalHeader::expect(h.as_bytes(), BlockType::Commit, "commit"),
            Err(JournalError::Magic { found: 1 })
        );
    }

    #[test]
    fn sequences_compare_around_the_wrap() {
        assert!(tid_gt(1, u32::MAX) && !tid_gt(u32::MAX, 1));
        assert!(tid_geq(5, 5) && !tid_gt(5, 5));
    }
}
