//! Changes to a volume, committed through its journal: whatever moment the tool dies at, a mount (or our own replay) finds the old
//! state or the new one.
//!
//! The log is empty before and after. In between: what lies in blocks that were free is written in place, because the old state does not
//! look there; the other changed blocks are in the log and durable; `needs_recovery` is set; the
//! journal's superblock says where the log begins (this is the commit); the blocks are written in place; the log is empty
//! again; `needs_recovery` is clear. Each step is durable before the next (`jbd2_journal_commit_transaction`,
//! `jbd2_log_do_checkpoint`, Linux 6.12, with one transaction at a time).

use std::collections::BTreeMap;

use daxkit_device::{BlockDevice, RangeSet};
use daxkit_format::ext4::features::{Compat, Incompat};
use daxkit_format::ext4::inode::Timestamp;
use daxkit_format::ext4::super_block::{self, SUPER_BLOCK_OFFSET, SuperBlock};
use daxkit_format::jbd2::descriptor_block::escape;
use daxkit_format::jbd2::{DescriptorBuilder, Journal, JournalCompat, TagChecksum, commit_block};
use daxkit_format::{BlockNr, GroupNr, InodeNr};
use zerocopy::IntoBytes;

use super::super::bitmap::Bitmap;
use super::super::error::{Corruption, Place, VolumeError};
use super::super::open::Volume;
use super::ReplayOverlay;
use super::log::Log;

/// A transaction that went through the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalCommit {
    /// Its number.
    pub transaction: u32,
    /// Blocks of the file system that it changed, those that were free counted.
    pub blocks: u64,
}

/// The blocks a transaction changes: number and new content.
type Blocks = BTreeMap<u64, Vec<u8>>;

/// What is to be written.
#[derive(Default)]
struct Changed {
    /// Through the log.
    logged: Blocks,
    /// In blocks that were free.
    fresh: RangeSet,
}

impl Volume {
    /// Writes the changes of an overlay over this volume's device into `target`, which is that device, as one transaction of the
    /// journal. `None`, and nothing written, when that is not possible: there is no journal inside the image or it is not empty,
    /// the changes do not fit, or they touch the journal itself or what it is found by.
    ///
    /// # Errors
    /// The device failed. Until the log was complete the old state counts, from then on the new one.
    pub fn commit_through_journal(
        &self,
        changes: &ReplayOverlay,
        target: &dyn BlockDevice,
        now: Timestamp,
    ) -> Result<Option<JournalCommit>, VolumeError> {
        if !self.has_compat(Compat::HAS_JOURNAL) || self.super_block().s_journal_inum.get() == 0 {
            return Ok(None);
        }
        let log = Log::open(self, None)?;
        let journal = &log.journal;
        if !journal.is_empty() || journal.errno != 0 || journal.compat.contains(JournalCompat::CHECKSUM) {
            return Ok(None);
        }
        let Some(changed) = self.changed_blocks(changes, target, journal)? else { return Ok(None) };
        let Changed { logged: mut blocks, fresh } = changed;
        if blocks.is_empty() && fresh.is_empty() {
            return Ok(Some(JournalCommit { transaction: journal.sequence, blocks: 0 }));
        }
        let Some(new) = self.new_super_block(changes)? else { return Ok(None) };
        if !self.journal_is_untouched(changes, &log, &blocks)? {
            return Ok(None);
        }
        // The copy in the log, and the one in place until the log is empty, say that there is something to recover.
        let bs = u64::from(self.block_size());
        if let Some(block) = blocks.get_mut(&(SUPER_BLOCK_OFFSET / bs)) {
            let at = (SUPER_BLOCK_OFFSET % bs) as usize;
            block.iter_mut().skip(at).zip(recovering(new).as_bytes()).for_each(|(to, from)| *to = *from);
        }
        let Some(written) = build(journal, &blocks, now) else { return Ok(None) };
        let commit = JournalCommit { transaction: journal.sequence, blocks: blocks.len() as u64 + fresh.total() };
        let flush = || target.flush().map_err(VolumeError::io(Place::JournalBlock(0)));

        self.write_fresh(changes, target, &fresh)?;
        let mut at = journal.first;
        for bytes in &written {
            log.write(target, at, bytes)?;
            at = journal.next(at);
        }
        flush()?;
        self.write_super_block(target, &recovering(*self.super_block()))?;
        flush()?;
        log.write_super_block(target, journal.first, journal.sequence)?;
        flush()?;
        for (block, bytes) in &blocks {
            self.write_at(target, block.saturating_mul(bs), bytes)?;
        }
        flush()?;
        log.write_super_block(target, 0, journal.sequence.wrapping_add(1))?;
        flush()?;
        self.write_super_block(target, &new)?;
        flush()?;
        self.forget_blocks();
        Ok(Some(commit))
    }

    /// The blocks that differ from the device; `None` when more of them were in use than the journal could ever hold.
    fn changed_blocks(
        &self,
        changes: &ReplayOverlay,
        target: &dyn BlockDevice,
        journal: &Journal,
    ) -> Result<Option<Changed>, VolumeError> {
        let bs = u64::from(self.block_size());
        let mut changed = Changed::default();
        let mut used = InUse::default();
        let (mut old, mut new) = (vec![0; bs as usize], vec![0; bs as usize]);
        for change in changes.changes() {
            let start = change.range.start.saturating_sub(self.base()) / bs;
            let end = change.range.end.saturating_sub(self.base()).div_ceil(bs).min(self.geometry().blocks_count);
            for block in start..end {
                if !used.contains(self, block) {
                    changed.fresh.insert(block..block + 1);
                    continue;
                }
                let place = Place::Block(BlockNr(block));
                let at = self.base().saturating_add(block.saturating_mul(bs));
                changes.read_at(at, &mut new).map_err(VolumeError::io(place))?;
                target.read_at(at, &mut old).map_err(VolumeError::io(place))?;
                if new != old {
                    changed.logged.insert(block, new.clone());
                }
                if changed.logged.len() as u64 > u64::from(journal.ring_len()) {
                    return Ok(None);
                }
            }
        }
        Ok(Some(changed))
    }

    /// Writes what lies in blocks that were free. Until the transaction is committed nobody looks there.
    fn write_fresh(
        &self,
        changes: &ReplayOverlay,
        target: &dyn BlockDevice,
        fresh: &RangeSet,
    ) -> Result<(), VolumeError> {
        let bs = u64::from(self.block_size());
        let most = (1 << 20) / bs;
        let mut buf = Vec::new();
        for range in fresh.iter() {
            let mut block = range.start;
            while block < range.end {
                let place = Place::Block(BlockNr(block));
                let blocks = most.min(range.end - block);
                let at = self.base().saturating_add(block.saturating_mul(bs));
                if changes.known_zero(at, blocks * bs) {
                    target.write_zeroes(at, blocks * bs).map_err(VolumeError::io(place))?;
                } else {
                    buf.resize(usize::try_from(blocks * bs).unwrap_or(0), 0);
                    changes.read_at(at, &mut buf).map_err(VolumeError::io(place))?;
                    target.write_at(at, &buf).map_err(VolumeError::io(place))?;
                }
                block += blocks;
            }
        }
        Ok(())
    }

    /// The superblock after the changes; `None` when it is not one that a journal could be replayed under.
    fn new_super_block(&self, changes: &ReplayOverlay) -> Result<Option<SuperBlock>, VolumeError> {
        let at = self.base().saturating_add(SUPER_BLOCK_OFFSET);
        let mut bytes = [0; size_of::<SuperBlock>()];
        changes.read_at(at, &mut bytes).map_err(VolumeError::io(Place::SuperBlock { offset: at }))?;
        let old = self.super_block();
        let same = |sb: &SuperBlock| {
            let recover = Incompat::RECOVER;
            (!sb.has_metadata_csum() || sb.verify())
                && sb.s_uuid == old.s_uuid
                && sb.s_checksum_seed.get() == old.s_checksum_seed.get()
                && sb.s_journal_inum.get() == old.s_journal_inum.get()
                && sb.s_log_block_size.get() == old.s_log_block_size.get()
                && sb.blocks_count() == old.blocks_count()
                && sb.s_feature_compat.get() == old.s_feature_compat.get()
                && sb.incompat().difference(recover) == old.incompat().difference(recover)
                && sb.s_feature_ro_compat.get() == old.s_feature_ro_compat.get()
        };
        Ok(super_block::parse(&bytes).filter(same))
    }

    /// Whether the changes leave alone the journal's blocks and the inode it is found by.
    fn journal_is_untouched(
        &self,
        changes: &ReplayOverlay,
        log: &Log<'_>,
        blocks: &Blocks,
    ) -> Result<bool, VolumeError> {
        if log.blocks().any(|range| blocks.range(range).next().is_some()) {
            return Ok(false);
        }
        let nr = InodeNr(self.super_block().s_journal_inum.get().into());
        let (block, offset) = self.inode_location(nr)?;
        let at = self.base() + (block.get() << self.geometry().block_shift()) + offset as u64;
        let old = self.raw_inode(nr)?;
        let mut new = vec![0; old.len()];
        changes.read_at(at, &mut new).map_err(VolumeError::io(Place::Inode(nr)))?;
        if new != old {
            return Ok(false);
        }
        // Nor a block of its map.
        let inode = self.inode(nr)?;
        for block in self.metadata_blocks(&inode) {
            if blocks.contains_key(&block?.0.get()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn write_super_block(&self, target: &dyn BlockDevice, sb: &SuperBlock) -> Result<(), VolumeError> {
        self.write_at(target, SUPER_BLOCK_OFFSET, sb.as_bytes())
    }

    fn write_at(&self, target: &dyn BlockDevice, offset: u64, bytes: &[u8]) -> Result<(), VolumeError> {
        let at = self.base().saturating_add(offset);
        target.write_at(at, bytes).map_err(VolumeError::io(Place::SuperBlock { offset: at }))
    }
}

/// Which blocks were in use before the changes, by the bitmaps looked at so far. What cannot be read counts as used.
#[derive(Default)]
struct InUse {
    bitmaps: BTreeMap<GroupNr, Option<Bitmap>>,
}

impl InUse {
    fn contains(&mut self, volume: &Volume, block: u64) -> bool {
        let g = volume.geometry();
        let Some(group) = g.group_of_block(BlockNr(block)) else { return true };
        let map = self.bitmaps.entry(group).or_insert_with(|| volume.block_bitmap(group).ok());
        let inside = block.saturating_sub(g.group_first_block(group).get()) / u64::from(g.cluster_ratio);
        map.as_ref().is_none_or(|map| map.get(u32::try_from(inside).unwrap_or(u32::MAX)))
    }
}

/// The superblock while the log holds something.
fn recovering(mut sb: SuperBlock) -> SuperBlock {
    sb.s_feature_incompat.set(sb.incompat().union(Incompat::RECOVER).bits());
    if sb.has_metadata_csum() {
        sb.seal();
    }
    sb
}

/// The blocks of the log: descriptors, each with its data behind it, and the commit block. `None` when they do not fit, or a block
/// number does not.
fn build(journal: &Journal, blocks: &Blocks, now: Timestamp) -> Option<Vec<Vec<u8>>> {
    let size = journal.block_size as usize;
    let checksummed = journal.format.checksum != TagChecksum::None;
    let mut log = Vec::with_capacity(blocks.len() + blocks.len() / 100 + 2);
    let mut rest = blocks.iter().peekable();
    while rest.peek().is_some() {
        let mut descriptor = DescriptorBuilder::new(size, journal.format, journal.seed, journal.sequence);
        let mut data = Vec::new();
        while let Some((block, bytes)) = rest.peek() {
            let mut copy = bytes.to_vec();
            let escaped = escape(&mut copy);
            if !descriptor.push(**block, &copy, escaped) {
                break;
            }
            data.push(copy);
            rest.next();
        }
        if descriptor.is_empty() {
            return None;
        }
        log.push(descriptor.finish());
        log.extend(data);
    }
    let seed = checksummed.then_some(journal.seed);
    let seconds = u64::try_from(now.seconds).unwrap_or(0);
    log.push(commit_block::build(size, journal.sequence, seconds, now.nanos, seed));
    // One block of the ring stays free, so that its end can be told from its start.
    (log.len() < journal.ring_len() as usize).then_some(log)
}

impl Log<'_> {
    /// Writes a block of the journal.
    fn write(&self, target: &dyn BlockDevice, block: u32, bytes: &[u8]) -> Result<(), VolumeError> {
        let place = Place::JournalBlock(block);
        let at = self.place(block).ok_or_else(|| VolumeError::corrupt(place, Corruption::JournalHole { block }))?;
        target.write_at(at, bytes).map_err(VolumeError::io(place))
    }

    /// Says where the log begins (0: it is empty) and which transaction is there, or comes next.
    fn write_super_block(&self, target: &dyn BlockDevice, start: u32, sequence: u32) -> Result<(), VolumeError> {
        let mut sb = *self.super_block();
        sb.s_start = start.into();
        sb.s_sequence = sequence.into();
        sb.seal();
        self.write(target, 0, sb.as_bytes())
    }
}
