//! The journal's superblock and the blocks of its log, as far as they lie in the file system.

use daxkit_format::OnDisk;
use daxkit_format::ext4::features::Compat;
use daxkit_format::field::{Object, Structure};
use daxkit_format::jbd2::{
    BlockType, DescriptorBuilder, JournalHeader, JournalIncompat, JournalSuperBlock, TagChecksum, TagFormat,
    descriptor_block,
};

use super::super::seal::{Block, JournalSeed, Kind, Seal, TagVersion};
use super::finder::{Finder, absent};
use super::inode::Found;
use super::{Absent, LocateError, Spot};

/// What the journal's superblock says of the log, not checked.
struct Log {
    seed: JournalSeed,
    format: TagFormat,
    /// Blocks of the ring: first, and the end.
    first: u64,
    end: u64,
}

impl Finder<'_> {
    fn journal(&self, object: &Object) -> Result<Found, LocateError> {
        if !self.volume.has_compat(Compat::HAS_JOURNAL) {
            return Err(absent(object, Absent::NoJournal));
        }
        match self.volume.super_block().s_journal_inum.get() {
            0 => Err(absent(object, Absent::ExternalJournal)),
            nr => self.inode_by_number(nr.into()),
        }
    }

    pub(super) fn journal_super(&self, object: &Object) -> Result<Spot, LocateError> {
        let found = self.journal(object)?;
        let block = self.mapped(object, &found, 0)?;
        let seals = self.log_seals(object, &found, block, 0)?;
        Ok(Spot::one(Structure::JournalSuperBlock, block.range(), seals))
    }

    pub(super) fn journal_block(&self, object: &Object, nr: u64) -> Result<Spot, LocateError> {
        let found = self.journal(object)?;
        let block = self.mapped(object, &found, nr)?;
        let seals = self.log_seals(object, &found, block, nr)?;
        let spot = Spot::plain(block.range(), seals);
        let bytes = self.read(object, block.range())?;
        let Some((kind, _)) = JournalHeader::of(&bytes) else { return Ok(spot) };
        let spot = spot.with(Structure::JournalHeader, 0);
        let format = self.log(object, &found)?.format;
        let tail = (block.len as usize).saturating_sub(format.tail_bytes()) as u64;
        let has_tail = format.tail_bytes() != 0 && nr != 0;
        Ok(match kind {
            BlockType::Commit => spot.with(Structure::CommitHeader, 0),
            BlockType::Revoke if has_tail => spot.with(Structure::RevokeHeader, 0).with(Structure::BlockTail, tail),
            BlockType::Revoke => spot.with(Structure::RevokeHeader, 0),
            BlockType::Descriptor if has_tail => spot.with(Structure::BlockTail, tail),
            _ => spot,
        })
    }

    fn log(&self, object: &Object, found: &Found) -> Result<Log, LocateError> {
        let block = self.mapped(object, found, 0)?;
        let bytes = self.read(object, block.range())?;
        let sb = JournalSuperBlock::peek(&bytes).copied().unwrap_or_else(OnDisk::zeroed);
        let incompat = sb.incompat();
        let fast = if incompat.contains(JournalIncompat::FAST_COMMIT) { sb.num_fc_blks() } else { 0 };
        Ok(Log {
            seed: JournalSeed { super_at: block.at },
            format: TagFormat::of(incompat),
            first: sb.s_first.get().into(),
            end: sb.s_maxlen.get().saturating_sub(fast).into(),
        })
    }

    /// The checksums over block `nr` of the journal, which lies at `block`.
    pub(super) fn log_seals(
        &self,
        object: &Object,
        found: &Found,
        block: Block,
        nr: u64,
    ) -> Result<Vec<Seal>, LocateError> {
        if nr == 0 {
            return Ok(vec![Seal(Kind::Journal { at: block.at })]);
        }
        let log = self.log(object, found)?;
        if log.format.checksum == TagChecksum::None || nr < log.first || nr >= log.end {
            return Ok(Vec::new());
        }
        let (block, seed) = (Block { nr, ..block }, log.seed);
        let bytes = self.read(object, block.range())?;
        Ok(match JournalHeader::of(&bytes) {
            Some(_) => vec![Seal(Kind::LogBlock { block, seed })],
            None => self.data_seals(object, found, &log, block)?,
        })
    }

    /// A data block's checksum stands in its tag, in the nearest block before it that has a header.
    fn data_seals(&self, object: &Object, found: &Found, log: &Log, block: Block) -> Result<Vec<Seal>, LocateError> {
        let most = DescriptorBuilder::capacity(block.len as usize, log.format) as u64;
        let mut nr = block.nr;
        for index in 0..=most.min(log.end - log.first) {
            nr = if nr <= log.first { log.end.saturating_sub(1) } else { nr - 1 };
            let before = Block { nr, ..self.mapped(object, found, nr)? };
            let bytes = self.read(object, before.range())?;
            match JournalHeader::of(&bytes) {
                None => {}
                Some((BlockType::Descriptor, sequence)) => {
                    let tag = descriptor_block::tags(&bytes, log.format).nth(index as usize);
                    let Some(tag) = tag else { return Ok(Vec::new()) };
                    let version = if log.format.checksum == TagChecksum::V3 { TagVersion::V3 } else { TagVersion::V2 };
                    let data = Kind::LogData {
                        block,
                        sequence,
                        tag_at: before.at.saturating_add(tag.offset as u64),
                        version,
                        seed: log.seed,
                    };
                    return Ok(vec![Seal(data), Seal(Kind::LogBlock { block: before, seed: log.seed })]);
                }
                Some(_) => return Ok(Vec::new()),
            }
        }
        Ok(Vec::new())
    }
}
