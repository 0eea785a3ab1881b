//! `journal_superblock_t`: block 0 of the log.
//!
//! [`JournalSuperBlock`] is what lies there, [`Journal`] what has been checked. Version 1 has only the fields up to
//! `s_errno`; what lies behind them does not count there.

use super::block_tag::TagFormat;
use super::checksum::journal_seed;
use super::features::{ChecksumType, JournalCompat, JournalIncompat};
use super::header::{BlockType, MAGIC};
use super::{DEFAULT_FAST_COMMIT_BLOCKS, JournalError, MIN_JOURNAL_BLOCKS};
use crate::OnDisk;
use crate::checksum::crc32c;
use core::ops::Range;
use zerocopy::IntoBytes;
use zerocopy::big_endian::U32;

on_disk! {
    /// The journal's superblock; the rest of its block is zero.
    pub struct JournalSuperBlock("journal_superblock_s", 1024) {
        0x000 h_magic: U32,
        /// [`BlockType::SuperBlockV1`] or [`BlockType::SuperBlockV2`].
        0x004 h_blocktype: U32,
        0x008 h_sequence: U32,
        /// Bytes of a block; the same as the file system's.
        0x00C s_blocksize: U32,
        /// Blocks of the journal, superblock and fast-commit area counted.
        0x010 s_maxlen: U32,
        /// First block of the log.
        0x014 s_first: U32,
        /// First transaction expected in the log.
        0x018 s_sequence: U32,
        /// Block it begins at; 0: the log is empty.
        0x01C s_start: U32,
        /// Error of an aborted journal, a negative errno.
        0x020 s_errno: U32,
        0x024 s_feature_compat: U32,
        0x028 s_feature_incompat: U32,
        0x02C s_feature_ro_compat: U32,
        /// Of the file system with an internal journal, of its own with an external one.
        0x030 s_uuid: [u8; 16],
        /// File systems that use this journal.
        0x040 s_nr_users: U32,
        0x044 s_dynsuper: U32,
        0x048 s_max_transaction: U32,
        0x04C s_max_trans_data: U32,
        /// [`ChecksumType`].
        0x050 s_checksum_type: u8,
        0x051 s_padding2: [u8; 3],
        /// Blocks of the fast-commit area; 0 means 256.
        0x054 s_num_fc_blks: U32,
        /// Head of the log while it is empty.
        0x058 s_head: U32,
        0x05C s_padding: [U32; 40],
        /// crc32c of these 1024 bytes with this field zero, from `!0`.
        0x0FC s_checksum: U32,
        /// UUIDs of the file systems that use an external journal.
        0x100 s_users: [u8; 768],
    }
}

/// What an empty journal is made from; see [`JournalSuperBlock::new`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewJournal {
    /// Bytes of a block.
    pub block_size: u32,
    /// Blocks of the log, superblock counted, fast-commit area not.
    pub blocks: u32,
    /// Blocks of the fast-commit area behind it. [`default_fast_commit_blocks`] is what mke2fs takes.
    pub num_fc_blks: u32,
    /// The file system's UUID, or an external journal's own.
    pub uuid: [u8; 16],
    /// A journal on a device of its own (file system feature `journal_dev`); without users until a file system is
    /// attached to it ([`JournalSuperBlock::add_user`]).
    pub external: bool,
    /// mke2fs and mkfs set none, whatever the file system has: the kernel turns on what it wants when it mounts.
    pub compat: JournalCompat,
    /// As `compat`.
    pub incompat: JournalIncompat,
}

/// Blocks of the fast-commit area mke2fs 1.47 makes for a log of so many blocks.
#[must_use]
pub const fn default_fast_commit_blocks(log_blocks: u32) -> u32 {
    log_blocks / 64
}

impl JournalSuperBlock {
    /// The superblock of an empty journal, version 2, as mke2fs makes it.
    #[must_use]
    pub fn new(journal: &NewJournal) -> Self {
        // On a device the journal's superblock lies behind the file system's, which is in block 1 of 1 KiB or in the
        // first larger block; block numbers count from the start of the device.
        let first = match (journal.external, journal.block_size) {
            (false, _) => 1,
            (true, 1024) => 3,
            (true, _) => 2,
        };
        let mut sb = Self {
            h_magic: MAGIC.into(),
            h_blocktype: (BlockType::SuperBlockV2 as u32).into(),
            s_blocksize: journal.block_size.into(),
            s_maxlen: journal.blocks.saturating_add(journal.num_fc_blks).into(),
            s_first: first.into(),
            s_sequence: 1.into(),
            s_feature_compat: journal.compat.bits().into(),
            s_feature_incompat: journal.incompat.bits().into(),
            s_uuid: journal.uuid,
            s_nr_users: u32::from(!journal.external).into(),
            s_num_fc_blks: journal.num_fc_blks.into(),
            ..Self::zeroed()
        };
        if sb.has_checksum() {
            sb.s_checksum_type = ChecksumType::Crc32c as u8;
        }
        sb.seal();
        sb
    }

    /// The superblock of an empty journal, version 1: no features, no UUID.
    #[must_use]
    pub fn new_v1(block_size: u32, blocks: u32) -> Self {
        Self {
            h_magic: MAGIC.into(),
            h_blocktype: (BlockType::SuperBlockV1 as u32).into(),
            s_blocksize: block_size.into(),
            s_maxlen: blocks.into(),
            s_first: 1.into(),
            s_sequence: 1.into(),
            ..Self::zeroed()
        }
    }

    /// Version 1 has no features, whatever lies in their fields.
    #[must_use]
    pub fn is_v1(&self) -> bool {
        self.h_blocktype.get() == BlockType::SuperBlockV1 as u32
    }

    /// Compatible features.
    #[must_use]
    pub fn compat(&self) -> JournalCompat {
        JournalCompat::from_bits_retain(if self.is_v1() { 0 } else { self.s_feature_compat.get() })
    }

    /// Incompatible features.
    #[must_use]
    pub fn incompat(&self) -> JournalIncompat {
        JournalIncompat::from_bits_retain(if self.is_v1() { 0 } else { self.s_feature_incompat.get() })
    }

    /// Whether checksum version 2 or 3 is on, and with it `s_checksum`.
    #[must_use]
    pub fn has_checksum(&self) -> bool {
        self.incompat().intersects(JournalIncompat::CSUM_V2 | JournalIncompat::CSUM_V3)
    }

    /// What `s_checksum` has to be (`jbd2_superblock_csum`).
    #[must_use]
    pub fn checksum(&self) -> u32 {
        let mut copy = *self;
        copy.s_checksum = 0.into();
        crc32c(!0, copy.as_bytes())
    }

    /// # Errors
    /// [`JournalError::Checksum`] when checksums are on and this one does not match.
    pub fn verify(&self) -> Result<(), JournalError> {
        let (stored, computed) = (self.s_checksum.get(), self.checksum());
        if self.has_checksum() && stored != computed {
            return Err(JournalError::Checksum { structure: Self::NAME, stored, computed });
        }
        Ok(())
    }

    /// Writes the checksum when checksums are on; leaves the field alone otherwise.
    pub fn seal(&mut self) {
        if self.has_checksum() {
            self.s_checksum = self.checksum().into();
        }
    }

    /// Blocks of the fast-commit area as jbd2 counts them, whether the feature is on or not.
    #[must_use]
    pub fn num_fc_blks(&self) -> u32 {
        match self.s_num_fc_blks.get() {
            0 => DEFAULT_FAST_COMMIT_BLOCKS,
            n => n,
        }
    }

    /// Error the journal was aborted with: 0 or a negative errno.
    #[must_use]
    pub fn errno(&self) -> i32 {
        self.s_errno.get().cast_signed()
    }

    /// UUIDs of the file systems that use this external journal, at most 48.
    pub fn users(&self) -> impl Iterator<Item = [u8; 16]> + '_ {
        let count = usize::try_from(self.s_nr_users.get()).unwrap_or(usize::MAX);
        self.s_users.as_chunks::<16>().0.iter().take(count).copied()
    }

    /// Adds a file system to an external journal. `false` when all 48 places are taken.
    #[must_use]
    pub fn add_user(&mut self, uuid: [u8; 16]) -> bool {
        let count = self.s_nr_users.get();
        let places = self.s_users.as_chunks_mut::<16>().0;
        let Some(place) = usize::try_from(count).ok().and_then(|n| places.get_mut(n)) else {
            return false;
        };
        *place = uuid;
        self.s_nr_users = count.saturating_add(1).into();
        self.seal();
        true
    }

    /// Checks the superblock of a journal of `available` blocks inside a file system with blocks of `block_size` bytes
    /// (`journal_check_superblock` and, for fast commits, e2fsck, which unlike older kernels refuses a bad area).
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, block_size: u32, available: u64) -> Result<Journal, JournalError> {
        if self.h_magic.get() != MAGIC {
            return Err(JournalError::Magic { found: self.h_magic.get() });
        }
        let version = match BlockType::from_raw(self.h_blocktype.get()) {
            Some(BlockType::SuperBlockV1) => 1,
            Some(BlockType::SuperBlockV2) => 2,
            _ => {
                let found = self.h_blocktype.get();
                return Err(JournalError::BlockType { found, expected: "journal superblock" });
            }
        };
        if self.s_blocksize.get() != block_size {
            return Err(JournalError::BlockSize { found: self.s_blocksize.get(), expected: block_size });
        }
        let (compat, incompat) = (self.compat(), self.incompat());
        self.check_features(compat, incompat)?;
        self.verify()?;

        let maxlen = self.s_maxlen.get();
        if u64::from(maxlen) > available {
            return Err(JournalError::TooLong { maxlen, available });
        }
        let mut last = maxlen;
        let mut fast_commit = None;
        if incompat.contains(JournalIncompat::FAST_COMMIT) {
            let fc_blocks = self.num_fc_blks();
            last = maxlen
                .checked_sub(fc_blocks)
                .filter(|last| *last >= MIN_JOURNAL_BLOCKS)
                .ok_or(JournalError::FastCommitBlocks { fc_blocks, maxlen })?;
            // The kernel leaves the block between log and fast commits unused.
            fast_commit = Some(last.saturating_add(1)..maxlen);
        }
        let (first, start) = (self.s_first.get(), self.s_start.get());
        if first == 0 || first >= last {
            return Err(JournalError::First { first, last });
        }
        if last - first < MIN_JOURNAL_BLOCKS - 1 {
            return Err(JournalError::TooShort { blocks: last - first });
        }
        if start != 0 && !(first..last).contains(&start) {
            return Err(JournalError::Start { start, first, last });
        }
        let uuid = if version == 1 { [0; 16] } else { self.s_uuid };
        Ok(Journal {
            version,
            block_size,
            maxlen,
            first,
            last,
            start,
            sequence: self.s_sequence.get(),
            errno: self.errno(),
            compat,
            incompat,
            uuid,
            seed: journal_seed(&uuid),
            format: TagFormat::of(incompat),
            fast_commit,
        })
    }

    fn check_features(&self, compat: JournalCompat, incompat: JournalIncompat) -> Result<(), JournalError> {
        let ro_compat = if self.is_v1() { 0 } else { self.s_feature_ro_compat.get() };
        if incompat.unknown() != 0 {
            return Err(JournalError::UnknownIncompat(incompat.unknown()));
        }
        if ro_compat != 0 {
            return Err(JournalError::UnknownRoCompat(ro_compat));
        }
        let versions = [
            compat.contains(JournalCompat::CHECKSUM),
            incompat.contains(JournalIncompat::CSUM_V2),
            incompat.contains(JournalIncompat::CSUM_V3),
        ];
        if versions.iter().filter(|on| **on).count() > 1 {
            return Err(JournalError::ChecksumFeatures { compat: compat.bits(), incompat: incompat.bits() });
        }
        if self.has_checksum() && self.s_checksum_type != ChecksumType::Crc32c as u8 {
            return Err(JournalError::ChecksumType(self.s_checksum_type));
        }
        Ok(())
    }
}

/// A checked journal superblock. Block numbers count from the journal's start (block 0 is the superblock), on an
/// external journal from the start of its device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    /// 1 or 2.
    pub version: u8,
    /// Bytes of a block.
    pub block_size: u32,
    /// Blocks of the whole journal.
    pub maxlen: u32,
    /// First block of the ring.
    pub first: u32,
    /// End of the ring (exclusive).
    pub last: u32,
    /// Where the log begins, inside the ring; 0 when it is empty.
    pub start: u32,
    /// Transaction that begins there, or the next one of an empty log.
    pub sequence: u32,
    /// Error of an aborted journal: 0 or a negative errno.
    pub errno: i32,
    /// Compatible features.
    pub compat: JournalCompat,
    /// Incompatible features, all known.
    pub incompat: JournalIncompat,
    /// As stored.
    pub uuid: [u8; 16],
    /// Seed of the checksums of versions 2 and 3.
    pub seed: u32,
    /// Shape of tags and revoke records.
    pub format: TagFormat,
    /// The fast-commit area, when the feature is on.
    pub fast_commit: Option<Range<u32>>,
}

impl Journal {
    /// Whether there is nothing to replay.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.start == 0
    }

    /// Blocks of the ring.
    #[must_use]
    pub const fn ring_len(&self) -> u32 {
        self.last.saturating_sub(self.first)
    }

    /// The block after `block` in the ring.
    #[must_use]
    pub const fn next(&self, block: u32) -> u32 {
        match block.checked_add(1) {
            Some(n) if n < self.last => n,
            _ => self.first,
        }
    }
}

#[cfg(test)]
#[path = "super_block_tests.rs"]
mod tests;
