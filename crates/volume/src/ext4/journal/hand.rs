//! Transactions written into the journal by hand, to be replayed by somebody else: the kernel, e2fsck, or [`Editor::run_journal`].
//!
//! What is written is in the log at once, as an edit like every other; `needs_recovery` is set with the first transaction that is
//! committed. One that is not stays behind the end of the log, where the next one overwrites it.

use std::sync::Arc;

use daxkit_device::BlockDevice;
use daxkit_format::ext4::features::{Compat, Incompat};
use daxkit_format::jbd2::descriptor_block::{self, escape};
use daxkit_format::jbd2::{
    BlockType, ChecksumType, DescriptorBuilder, Journal, JournalCompat, JournalHeader, JournalIncompat,
    JournalSuperBlock, RevokeBuilder, TagChecksum, commit_block, crc32_be,
};
use zerocopy::IntoBytes;

use super::super::edit::{EditError, Editor};
use super::super::error::{Place, VolumeError};
use super::super::open::OpenOptions;
use super::log::Log;
use super::recover::Cursor;
use super::{ReplayReport, replay_into};

/// Why a journal cannot be written by hand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JournalWriteError {
    /// The file system has none.
    #[error("the file system has no journal")]
    None,
    /// A journal of version 1 has no features.
    #[error("a journal of version 1 has neither checksums nor revoked blocks")]
    Version1,
    /// What is in the log has other checksums, or none.
    #[error("the log is not empty: checksums of its transactions cannot be changed")]
    NotEmpty,
    /// The log has no room for a transaction.
    #[error("the journal has no room: {wanted} blocks are needed, {free} are free")]
    Full {
        /// Blocks of the transaction.
        wanted: u64,
        /// Blocks that are free.
        free: u64,
    },
    /// A block that is not inside the file system, or has too large a number for the journal.
    #[error("block:{block}: there is no such block, or the journal cannot name it")]
    NoSuchBlock {
        /// Its number.
        block: u64,
    },
}

/// A version of checksums of blocks, for file systems that have checksums; others get those of whole transactions
/// ([`JournalCompat::CHECKSUM`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogChecksum {
    /// 16 bits in each tag.
    V2,
    /// 32 bits in each tag.
    V3,
}

/// A transaction to be written.
#[derive(Debug, Clone, Default)]
pub struct Transaction {
    /// Blocks of the file system, and what they are to hold.
    pub blocks: Vec<(u64, Vec<u8>)>,
    /// Blocks of which nothing that came before is to be replayed.
    pub revoked: Vec<u64>,
    /// Leave the commit block out.
    pub uncommitted: bool,
}

impl Transaction {
    /// Blocks of the log that it takes.
    fn len(&self, journal: &Journal) -> u64 {
        let size = journal.block_size as usize;
        let descriptors = self.blocks.len().div_ceil(DescriptorBuilder::capacity(size, journal.format).max(1));
        let revokes = self.revoked.len().div_ceil(RevokeBuilder::capacity(size, journal.format).max(1));
        (descriptors + self.blocks.len() + revokes + usize::from(!self.uncommitted)) as u64
    }
}

/// A journal that is open to be written by hand.
#[derive(Debug, Clone)]
pub struct HandJournal {
    external: Option<Arc<dyn BlockDevice>>,
}

impl Editor<'_> {
    /// Opens the journal, which lies inside the image or is `external`; `checksum` turns checksums on. A file system with blocks of
    /// 64 bits gets a journal with such, as long as its log is empty.
    ///
    /// # Errors
    /// See [`JournalWriteError`]; or the journal's superblock is damaged.
    pub fn open_journal(
        &mut self,
        external: Option<Arc<dyn BlockDevice>>,
        checksum: Option<LogChecksum>,
    ) -> Result<HandJournal, EditError> {
        if !self.has_compat(Compat::HAS_JOURNAL) {
            return Err(JournalWriteError::None.into());
        }
        let journal = HandJournal { external };
        let log = journal.log(self)?;
        let (mut sb, is_empty) = (*log.super_block(), log.journal.is_empty());
        let old = sb;
        if let Some(version) = checksum {
            if sb.is_v1() {
                return Err(JournalWriteError::Version1.into());
            }
            if !is_empty {
                return Err(JournalWriteError::NotEmpty.into());
            }
            let none = JournalIncompat::CSUM_V2 | JournalIncompat::CSUM_V3;
            let (mut compat, mut incompat) = (sb.compat(), sb.incompat().difference(none));
            if self.super_block().has_metadata_csum() {
                compat.remove(JournalCompat::CHECKSUM);
                incompat.insert(match version {
                    LogChecksum::V2 => JournalIncompat::CSUM_V2,
                    LogChecksum::V3 => JournalIncompat::CSUM_V3,
                });
                sb.s_checksum_type = ChecksumType::Crc32c as u8;
            } else {
                compat.insert(JournalCompat::CHECKSUM);
            }
            sb.s_feature_compat = compat.bits().into();
            sb.s_feature_incompat = incompat.bits().into();
        }
        if is_empty && !sb.is_v1() && self.has_incompat(Incompat::BIT64) {
            sb.s_feature_incompat = sb.incompat().union(JournalIncompat::BIT64).bits().into();
            if sb.s_uuid == [0; 16] {
                sb.s_uuid = self.super_block().s_uuid;
            }
        }
        if sb != old {
            journal.write_super_block(self, sb)?;
        }
        Ok(journal)
    }

    /// Writes a transaction behind the last one in the log: descriptors, each with its blocks, then what is revoked, then the commit
    /// block.
    ///
    /// # Errors
    /// See [`JournalWriteError`]; or the log is damaged.
    pub fn write_transaction(&mut self, journal: &HandJournal, transaction: &Transaction) -> Result<(), EditError> {
        let log = journal.log(self)?;
        let state = &log.journal;
        let mut sb = *log.super_block();
        let revoke = JournalIncompat::REVOKE;
        let first_revoke = !transaction.revoked.is_empty() && !sb.incompat().contains(revoke);
        if first_revoke && sb.is_v1() {
            return Err(JournalWriteError::Version1.into());
        }
        let head = head(&log)?;
        let wanted = transaction.len(state);
        let free = u64::from(state.ring_len()).saturating_sub(head.used + 1);
        if wanted > free {
            return Err(JournalWriteError::Full { wanted, free }.into());
        }
        let blocks = self.transaction(state, head.sequence, transaction)?;
        let mut at = head.block;
        let mut places = Vec::with_capacity(blocks.len());
        for _ in &blocks {
            places.push(journal.place(self, &log, at)?);
            at = state.next(at);
        }
        let (first, was_empty, sequence) = (head.block, state.is_empty(), state.sequence);
        if first_revoke {
            sb.s_feature_incompat = sb.incompat().union(revoke).bits().into();
            journal.write_super_block(self, sb)?;
        }
        for (at, bytes) in places.into_iter().zip(&blocks) {
            journal.write_at(self, at, bytes)?;
        }
        if transaction.uncommitted {
            return Ok(());
        }
        if was_empty {
            sb.s_start = first.into();
            sb.s_sequence = sequence.into();
            journal.write_super_block(self, sb)?;
        }
        if !self.has_incompat(Incompat::RECOVER) {
            self.change_super_block(|sb| sb.s_feature_incompat.set(sb.incompat().union(Incompat::RECOVER).bits()))?;
        }
        Ok(())
    }

    /// Replays the journal into the image, as a mount would, and empties it. `None` when there is nothing in it.
    ///
    /// # Errors
    /// There is no journal, or it is damaged.
    pub fn run_journal(&mut self, external: Option<Arc<dyn BlockDevice>>) -> Result<Option<ReplayReport>, EditError> {
        if !self.has_compat(Compat::HAS_JOURNAL) {
            return Err(JournalWriteError::None.into());
        }
        let overlay = Arc::clone(self.edits().ok_or(EditError::NotWritable)?);
        let options = OpenOptions {
            offset: self.base(),
            ignore_checksums: self.ignores_checksums(),
            replay: false,
            ..OpenOptions::default()
        };
        let journal = HandJournal { external };
        let log = journal.log(self)?;
        if log.journal.is_empty() && !self.has_incompat(Incompat::RECOVER) {
            return Ok(None);
        }
        let mut sb = *log.super_block();
        let report = replay_into(self, &log, &overlay, &options)?;
        self.reread()?;
        if journal.external.is_some() && sb.s_start.get() != 0 {
            sb.s_start = 0.into();
            sb.s_sequence = report.end_transaction.wrapping_add(1).into();
            journal.write_super_block(self, sb)?;
        }
        Ok(Some(report))
    }

    /// The blocks of the log that a transaction comes to.
    fn transaction(&self, journal: &Journal, sequence: u32, t: &Transaction) -> Result<Vec<Vec<u8>>, EditError> {
        let size = journal.block_size as usize;
        let count = self.geometry().blocks_count;
        let no_such = |block: u64| EditError::from(JournalWriteError::NoSuchBlock { block });
        if let Some((block, _)) = t.blocks.iter().find(|(block, bytes)| *block >= count || bytes.len() != size) {
            return Err(no_such(*block));
        }
        if let Some(block) = t.revoked.iter().find(|block| **block >= count) {
            return Err(no_such(*block));
        }
        let mut log = Vec::new();
        let per_descriptor = DescriptorBuilder::capacity(size, journal.format).max(1);
        for part in t.blocks.chunks(per_descriptor) {
            let mut descriptor = DescriptorBuilder::new(size, journal.format, journal.seed, sequence);
            let mut data = Vec::new();
            for (block, bytes) in part {
                let mut bytes = bytes.clone();
                let escaped = escape(&mut bytes);
                if !descriptor.push(*block, &bytes, escaped) {
                    return Err(no_such(*block));
                }
                data.push(bytes);
            }
            log.push(descriptor.finish());
            log.extend(data);
        }
        let crc = log.iter().fold(!0, |crc, block| crc32_be(crc, block));
        let mut revoked = t.revoked.iter().peekable();
        while let Some(next) = revoked.peek() {
            let next = **next;
            let mut records = RevokeBuilder::new(size, journal.format, journal.seed, sequence);
            while revoked.next_if(|block| records.push(**block)).is_some() {}
            if records.is_empty() {
                return Err(no_such(next));
            }
            log.push(records.finish());
        }
        if !t.uncommitted {
            let seed = (journal.format.checksum != TagChecksum::None).then_some(journal.seed);
            let seconds = u64::try_from(self.now().seconds).unwrap_or(0);
            let mut commit = commit_block::build(size, sequence, seconds, self.now().nanos, seed);
            if journal.compat.contains(JournalCompat::CHECKSUM) {
                commit_block::seal_v1(&mut commit, crc);
            }
            log.push(commit);
        }
        Ok(log)
    }
}

impl HandJournal {
    fn log<'v>(&'v self, editor: &'v Editor<'_>) -> Result<Log<'v>, EditError> {
        Ok(Log::open(editor, self.external.as_deref())?)
    }

    /// Where a block of the journal lies.
    fn place(&self, editor: &Editor<'_>, log: &Log<'_>, block: u32) -> Result<At, VolumeError> {
        let place = Place::JournalBlock(block);
        let byte = match &self.external {
            Some(_) => u64::from(block).checked_mul(editor.block_size().into()),
            None => log.place(block).and_then(|at| at.checked_sub(editor.base())),
        };
        let hole = super::super::error::Corruption::JournalHole { block };
        Ok(At { place, byte: byte.ok_or_else(|| VolumeError::corrupt(place, hole))? })
    }

    fn write_at(&self, editor: &mut Editor<'_>, at: At, bytes: &[u8]) -> Result<(), EditError> {
        match &self.external {
            Some(device) => Ok(device.write_at(at.byte, bytes).map_err(VolumeError::io(at.place))?),
            None => editor.write_bytes(at.place, at.byte, bytes),
        }
    }

    fn write_super_block(&self, editor: &mut Editor<'_>, mut sb: JournalSuperBlock) -> Result<(), EditError> {
        sb.seal();
        let log = self.log(editor)?;
        let at = self.place(editor, &log, log.super_block_nr())?;
        self.write_at(editor, at, sb.as_bytes())
    }
}

/// A block of the journal, and its first byte on the device that it lies on.
#[derive(Debug, Clone, Copy)]
struct At {
    place: Place,
    byte: u64,
}

/// Where the log ends.
struct Head {
    /// The block behind its last commit block.
    block: u32,
    /// The number of the next transaction.
    sequence: u32,
    /// Blocks of the log.
    used: u64,
}

fn head(log: &Log<'_>) -> Result<Head, VolumeError> {
    let journal = &log.journal;
    let mut head = Head { block: journal.first, sequence: journal.sequence, used: 0 };
    if journal.is_empty() {
        return Ok(head);
    }
    head.block = journal.start;
    let mut cursor = Cursor::new(log);
    while let Some((_, block)) = cursor.next()? {
        match JournalHeader::of(&block) {
            Some((_, found)) if found != head.sequence => break,
            Some((BlockType::Descriptor, _)) => {
                for _ in descriptor_block::tags(&block, journal.format) {
                    if !cursor.skip() {
                        break;
                    }
                }
            }
            Some((BlockType::Revoke, _)) => {}
            Some((BlockType::Commit, _)) => {
                head.sequence = head.sequence.wrapping_add(1);
                (head.block, head.used) = cursor.position();
            }
            _ => break,
        }
    }
    Ok(head)
}
