//! `journal_block_tag_t` and `journal_block_tag3_t`: which block of the file system a data block of the log belongs to.
//!
//! The length of a tag depends on the journal's features (`journal_tag_bytes`), and so do the places of its flags and
//! of its checksum; [`TagFormat`] is that rule, once.

use super::features::JournalIncompat;
use crate::OnDisk;
use crate::checksum::crc32c;
use bitflags::bitflags;
use zerocopy::IntoBytes;
use zerocopy::big_endian::{U16, U32};

on_disk! {
    /// A tag without checksum version 3. Without 64-bit block numbers the last field is not there.
    pub struct BlockTag("journal_block_tag_s", 12) {
        0 t_blocknr: U32,
        /// Lower half of the checksum with version 2, 0 without.
        4 t_checksum: U16,
        6 t_flags: U16,
        8 t_blocknr_high: U32,
    }
}

on_disk! {
    /// A tag with checksum version 3; the same length whether block numbers have 64 bits or not.
    pub struct BlockTag3("journal_block_tag3_s", 16) {
        0 t_blocknr: U32,
        4 t_flags: U32,
        8 t_blocknr_high: U32,
        12 t_checksum: U32,
    }
}

bitflags! {
    /// `t_flags`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct TagFlags: u16 {
        /// The block began with the journal's magic number, which is zeroed in the log (`JBD2_FLAG_ESCAPE`).
        const ESCAPE = 1;
        /// The UUID of the tag before also holds here; otherwise sixteen bytes follow (`JBD2_FLAG_SAME_UUID`).
        const SAME_UUID = 2;
        /// Never written (`JBD2_FLAG_DELETED`).
        const DELETED = 4;
        /// Last tag of this descriptor block (`JBD2_FLAG_LAST_TAG`).
        const LAST_TAG = 8;
        const _ = !0;
    }
}

/// What a tag says of its data block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TagChecksum {
    /// Nothing: no checksum, or version 1, which is in the commit block.
    None,
    /// Lower 16 bits of the checksum.
    V2,
    /// The whole checksum.
    V3,
}

/// Shape of the tags and revoke records of one journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TagFormat {
    /// What the tags say of their data blocks; also whether blocks have a [`super::BlockTail`].
    pub checksum: TagChecksum,
    /// Block numbers have 64 bits (`JBD2_FEATURE_INCOMPAT_64BIT`).
    pub wide: bool,
}

impl TagFormat {
    /// The shape in a journal with these features.
    #[must_use]
    pub const fn of(features: JournalIncompat) -> Self {
        let checksum = if features.contains(JournalIncompat::CSUM_V3) {
            TagChecksum::V3
        } else if features.contains(JournalIncompat::CSUM_V2) {
            TagChecksum::V2
        } else {
            TagChecksum::None
        };
        Self { checksum, wide: features.contains(JournalIncompat::BIT64) }
    }

    /// Bytes of one tag, its UUID not counted (`journal_tag_bytes`).
    ///
    /// Version 2 makes every tag two bytes longer than its fields need: the kernel counts its 16-bit checksum twice.
    #[must_use]
    pub const fn tag_bytes(self) -> usize {
        match (self.checksum, self.wide) {
            (TagChecksum::None, false) => 8,
            (TagChecksum::None, true) => 12,
            (TagChecksum::V2, false) => 10,
            (TagChecksum::V2, true) => 14,
            (TagChecksum::V3, _) => 16,
        }
    }

    /// Bytes at the end of a descriptor or revoke block that hold its checksum.
    #[must_use]
    pub const fn tail_bytes(self) -> usize {
        match self.checksum {
            TagChecksum::None => 0,
            TagChecksum::V2 | TagChecksum::V3 => 4,
        }
    }

    /// Bytes of one record of a revoke block.
    #[must_use]
    pub const fn revoke_bytes(self) -> usize {
        if self.wide { 8 } else { 4 }
    }

    /// Block number, flags and checksum of the tag at the start of `bytes`; `None` when they are too few.
    #[must_use]
    pub fn read(self, bytes: &[u8]) -> Option<(u64, TagFlags, u32)> {
        let bytes = bytes.get(..self.tag_bytes())?;
        if self.checksum == TagChecksum::V3 {
            let t = BlockTag3::peek(bytes)?;
            // Only the lower half of the flags is ever looked at.
            let [_, _, hi, lo] = t.t_flags.get().to_be_bytes();
            let flags = TagFlags::from_bits_retain(u16::from_be_bytes([hi, lo]));
            return Some((self.join(t.t_blocknr, t.t_blocknr_high), flags, t.t_checksum.get()));
        }
        // A short tag ends before t_blocknr_high.
        let mut whole = BlockTag::zeroed();
        whole.as_mut_bytes().iter_mut().zip(bytes).for_each(|(d, s)| *d = *s);
        let sum = if self.checksum == TagChecksum::V2 { u32::from(whole.t_checksum.get()) } else { 0 };
        let flags = TagFlags::from_bits_retain(whole.t_flags.get());
        Some((self.join(whole.t_blocknr, whole.t_blocknr_high), flags, sum))
    }

    /// Writes a tag to the start of `bytes`. `false`, and nothing written, when they are too few or the block number
    /// needs more than 32 bits in a journal without 64-bit numbers. `data_sum` is [`data_checksum`] of the block.
    #[must_use]
    pub fn write(self, bytes: &mut [u8], block: u64, flags: TagFlags, data_sum: u32) -> bool {
        let (hi, lo) = split(block);
        let Some(bytes) = bytes.get_mut(..self.tag_bytes()) else {
            return false;
        };
        if hi != 0 && !self.wide {
            return false;
        }
        bytes.fill(0);
        if self.checksum == TagChecksum::V3 {
            let tag = BlockTag3 {
                t_blocknr: lo.into(),
                t_flags: u32::from(flags.bits()).into(),
                t_blocknr_high: hi.into(),
                t_checksum: data_sum.into(),
            };
            bytes.iter_mut().zip(tag.as_bytes()).for_each(|(d, s)| *d = *s);
        } else {
            let tag = BlockTag {
                t_blocknr: lo.into(),
                t_checksum: self.stored_checksum(data_sum).to_be_bytes().last_chunk().copied().unwrap_or([0; 2]).into(),
                t_flags: flags.bits().into(),
                t_blocknr_high: hi.into(),
            };
            bytes.iter_mut().zip(tag.as_bytes()).for_each(|(d, s)| *d = *s);
        }
        true
    }

    /// What a tag stores of a data block's checksum: all of it, half of it, or 0.
    #[must_use]
    pub const fn stored_checksum(self, data_sum: u32) -> u32 {
        match self.checksum {
            TagChecksum::None => 0,
            TagChecksum::V2 => data_sum & 0xffff,
            TagChecksum::V3 => data_sum,
        }
    }

    fn join(self, lo: U32, hi: U32) -> u64 {
        let hi = if self.wide { u64::from(hi.get()) } else { 0 };
        hi << 32 | u64::from(lo.get())
    }
}

/// Upper and lower half.
fn split(block: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = block.to_be_bytes();
    (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
}

/// Checksum of a data block as it lies in the log, that is after escaping (`jbd2_block_tag_csum_set`).
#[must_use]
pub fn data_checksum(seed: u32, sequence: u32, data: &[u8]) -> u32 {
    crc32c(crc32c(seed, &sequence.to_be_bytes()), data)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [(TagFormat, usize); 6] = [
        (TagFormat { checksum: TagChecksum::None, wide: false }, 8),
        (TagFormat { checksum: TagChecksum::None, wide: true }, 12),
        (TagFormat { checksum: TagChecksum::V2, wide: false }, 10),
        (TagFormat { checksum: TagChecksum::V2, wide: true }, 14),
        (TagFormat { checksum: TagChecksum::V3, wide: false }, 16),
        (TagFormat { checksum: TagChecksum::V3, wide: true }, 16),
    ];

    #[test]
    fn every_shape_reads_back_what_was_written() {
        for (format, len) in ALL {
            assert_eq!(format.tag_bytes(), len);
            let mut bytes = [0xee; 17];
            let block = if format.wide { 0x1234_5678_9abc } else { 0x9abc_def0 };
            let flags = TagFlags::ESCAPE | TagFlags::LAST_TAG;
            assert!(format.write(&mut bytes, block, flags, 0xdead_beef));
            assert_eq!(format.read(&bytes), Some((block, flags, format.stored_checksum(0xdead_beef))), "{format:?}");
            assert!(bytes[len..].iter().all(|b| *b == 0xee));
            assert_eq!(format.read(&bytes[..len - 1]), None);
            assert!(!format.write(&mut bytes[..len - 1], block, flags, 0));
        }
    }

    #[test]
    fn a_number_too_large_is_refused() {
        for (format, _) in ALL {
            assert_eq!(format.write(&mut [0; 16], 1 << 32, TagFlags::empty(), 0), format.wide);
        }
    }

    #[test]
    fn the_bytes_of_each_kind() {
        let mut bytes = [0; 16];
        let v2 = TagFormat { checksum: TagChecksum::V2, wide: true };
        assert!(v2.write(&mut bytes, 0x0000_0002_0000_0001, TagFlags::SAME_UUID, 0x1122_3344));
        assert_eq!(bytes[..14], [0, 0, 0, 1, 0x33, 0x44, 0, 2, 0, 0, 0, 2, 0, 0]);
        let v3 = TagFormat { checksum: TagChecksum::V3, wide: true };
        assert!(v3.write(&mut bytes, 0x0000_0002_0000_0001, TagFlags::SAME_UUID, 0x1122_3344));
        assert_eq!(bytes, [0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2, 0x11, 0x22, 0x33, 0x44]);
    }
}
