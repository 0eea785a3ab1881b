//! Changes to a volume, committed through its journal: whatever moment the tool dies at, a mount (or our own replay) finds the old
//! state or the new one.
//!
//! The log is empty before and after. In between: what lies in blocks that were free is written in place, because the old state does not
//! look there; the other changed blocks are in the log and durable; `needs_recovery` is set; the
//! journal's superblock says where the log begins (this is the commit); the blocks are written in place; the log is empty
//! again; `needs_recovery` is clear. Each step is durable before the next (`jbd2_journal_commit_transaction`,
//! `jbd2_log_do_checkpoint`, Linux 6.12, with one transaction at a time).

use std::collections::BTreeMap;
use std::ops::Range;

use daxkit_device::{BlockDevice, RangeSet};
use daxkit_format::ext4::features::{Compat, Incompat, RoCompat};
use daxkit_format::ext4::inode::Timestamp;
use daxkit_format::ext4::super_block::{self, SUPER_BLOCK_OFFSET, SuperBlock};
use daxkit_format::jbd2::descriptor_block::escape;
use daxkit_format::jbd2::{DescriptorBuilder, Journal, JournalCompat, TagChecksum, commit_block};
use daxkit_format::{BlockNr, GroupNr, InodeNr};
use zerocopy::IntoBytes;

use super::super::at_once::{hand_over, in_order};
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

/// Bytes compared at once: they stay in the processor's cache.
const COMPARED: u64 = 256 << 10;

/// Runs of blocks compared by all processors, before it is asked whether they are too many already.
const RUNS: usize = 256;

/// Bytes written at once.
const WRITTEN: u64 = 1 << 20;

/// What is to be written.
#[derive(Default)]
struct Changed {
    /// Through the log, ascending.
    logged: Vec<u64>,
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
        let Changed { logged, fresh } = changed;
        if logged.is_empty() && fresh.is_empty() {
            return Ok(Some(JournalCommit { transaction: journal.sequence, blocks: 0 }));
        }
        let Some(new) = self.new_super_block(changes)? else { return Ok(None) };
        if !fits(journal, &logged) || !self.journal_is_untouched(changes, &log, &logged)? {
            return Ok(None);
        }
        let commit = JournalCommit { transaction: journal.sequence, blocks: logged.len() as u64 + fresh.total() };
        let flush = || target.flush().map_err(VolumeError::io(Place::JournalBlock(0)));
        let source = Source { volume: self, changes, new };

        self.write_fresh(changes, target, &fresh)?;
        source.log(&log, target, &logged, now)?;
        flush()?;
        self.write_super_block(target, &recovering(*self.super_block()))?;
        flush()?;
        log.write_super_block(target, journal.first, journal.sequence)?;
        flush()?;
        source.write_in_place(target, &logged)?;
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
        let most = (COMPARED / bs).max(1);
        let mut changed = Changed::default();
        let mut used = InUse::default();
        let mut runs = Vec::new();
        let compare = |runs: &mut Vec<Range<u64>>, logged: &mut Vec<u64>| {
            let differ = in_order(runs, |run, memory| self.differ(changes, target, run, memory))?;
            runs.clear();
            logged.extend(differ.into_iter().flatten());
            Ok(logged.len() as u64 <= u64::from(journal.ring_len()))
        };
        for change in changes.changes() {
            let mut block = change.range.start.saturating_sub(self.base()) / bs;
            let end = change.range.end.saturating_sub(self.base()).div_ceil(bs).min(self.geometry().blocks_count);
            while block < end {
                if !used.contains(self, block) {
                    changed.fresh.insert(block..block + 1);
                    block += 1;
                    continue;
                }
                let stop = (block + 1..end.min(block + most)).find(|b| !used.contains(self, *b));
                let run = block..stop.unwrap_or(end.min(block + most));
                block = run.end;
                runs.push(run);
                if runs.len() >= RUNS && !compare(&mut runs, &mut changed.logged)? {
                    return Ok(None);
                }
            }
        }
        Ok(compare(&mut runs, &mut changed.logged)?.then_some(changed))
    }

    /// Those blocks of a run that differ from the device.
    fn differ(
        &self,
        changes: &ReplayOverlay,
        target: &dyn BlockDevice,
        run: &Range<u64>,
        (old, new): &mut (Vec<u8>, Vec<u8>),
    ) -> Result<Vec<u64>, VolumeError> {
        let bs = u64::from(self.block_size());
        let place = Place::Block(BlockNr(run.start));
        let len = usize::try_from((run.end - run.start).saturating_mul(bs)).unwrap_or(0);
        let at = self.base().saturating_add(run.start.saturating_mul(bs));
        for (bytes, device) in [(&mut *new, changes as &dyn BlockDevice), (&mut *old, target)] {
            bytes.resize(len, 0);
            device.read_at(at, bytes).map_err(VolumeError::io(place))?;
        }
        let pairs = new.chunks_exact(bs as usize).zip(old.chunks_exact(bs as usize));
        Ok(run.clone().zip(pairs).filter(|(_, (new, old))| new != old).map(|(b, _)| b).collect())
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
            // What these say follows from other blocks of the same transaction.
            let follows = RoCompat::ORPHAN_PRESENT.union(RoCompat::LARGE_FILE);
            (!sb.has_metadata_csum() || sb.verify())
                && sb.s_uuid == old.s_uuid
                && sb.s_checksum_seed.get() == old.s_checksum_seed.get()
                && sb.s_journal_inum.get() == old.s_journal_inum.get()
                && sb.s_log_block_size.get() == old.s_log_block_size.get()
                && sb.blocks_count() == old.blocks_count()
                && sb.s_feature_compat.get() == old.s_feature_compat.get()
                && sb.incompat().difference(recover) == old.incompat().difference(recover)
                && sb.ro_compat().difference(follows) == old.ro_compat().difference(follows)
        };
        Ok(super_block::parse(&bytes).filter(same))
    }

    /// Whether the changes leave alone the journal's blocks and the inode it is found by.
    fn journal_is_untouched(
        &self,
        changes: &ReplayOverlay,
        log: &Log<'_>,
        blocks: &[u64],
    ) -> Result<bool, VolumeError> {
        let within = |range: Range<u64>| {
            let first = blocks.get(blocks.partition_point(|b| *b < range.start));
            first.is_some_and(|b| *b < range.end)
        };
        if log.blocks().any(within) {
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
            if blocks.binary_search(&block?.0.get()).is_ok() {
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

/// Whether a transaction of these blocks can be written into an empty log.
fn fits(journal: &Journal, blocks: &[u64]) -> bool {
    let tags = DescriptorBuilder::capacity(journal.block_size as usize, journal.format);
    let wide = journal.format.wide || blocks.last().is_none_or(|last| u32::try_from(*last).is_ok());
    // One block of the ring stays free, so that its end can be told from its start; one is for the commit.
    wide && tags > 0 && blocks.len() + blocks.len().div_ceil(tags) + 1 < journal.ring_len() as usize
}

/// Where the blocks of a transaction come from.
struct Source<'a> {
    volume: &'a Volume,
    changes: &'a ReplayOverlay,
    /// The superblock to come. In the log, and in place until the log is empty, it says that there is something to recover.
    new: SuperBlock,
}

impl Source<'_> {
    /// Reads blocks, ascending, one behind the other into `buf`.
    fn read(&self, blocks: &[u64], buf: &mut [u8]) -> Result<(), VolumeError> {
        let bs = self.volume.block_size() as usize;
        let mut rest = &mut *buf;
        for run in blocks.chunk_by(|a, b| a + 1 == *b) {
            let Some(first) = run.first() else { continue };
            let place = Place::Block(BlockNr(*first));
            let Some((here, behind)) = rest.split_at_mut_checked(run.len() * bs) else { break };
            rest = behind;
            let at = self.volume.base().saturating_add(first.saturating_mul(bs as u64));
            self.changes.read_at(at, here).map_err(VolumeError::io(place))?;
        }
        if let Ok(index) = blocks.binary_search(&(SUPER_BLOCK_OFFSET / bs as u64)) {
            let at = index * bs + SUPER_BLOCK_OFFSET as usize % bs;
            buf.iter_mut().skip(at).zip(recovering(self.new).as_bytes()).for_each(|(to, from)| *to = *from);
        }
        Ok(())
    }

    /// Writes the log: descriptors, each with its data behind it, and the commit block.
    fn log(&self, log: &Log<'_>, target: &dyn BlockDevice, blocks: &[u64], now: Timestamp) -> Result<(), VolumeError> {
        let journal = &log.journal;
        let size = journal.block_size as usize;
        let mut writer = LogWriter { log, target, at: journal.first };
        let fill = |part: &[u64], buf: &mut Vec<u8>| {
            buf.resize(size + part.len() * size, 0);
            let (head, data) = buf.split_at_mut_checked(size).unwrap_or_default();
            self.read(part, data)?;
            let mut descriptor = DescriptorBuilder::new(size, journal.format, journal.seed, journal.sequence);
            for (block, bytes) in part.iter().zip(data.chunks_exact_mut(size)) {
                let escaped = escape(bytes);
                if !descriptor.push(*block, bytes, escaped) {
                    let place = Place::JournalBlock(journal.first);
                    return Err(VolumeError::corrupt(place, Corruption::JournalHole { block: journal.first }));
                }
            }
            head.iter_mut().zip(descriptor.finish()).for_each(|(to, from)| *to = from);
            Ok(())
        };
        let parts = blocks.chunks(DescriptorBuilder::capacity(size, journal.format).max(1));
        hand_over(parts, fill, |buf| {
            let (head, data) = buf.split_at_checked(size).unwrap_or_default();
            writer.write(head)?;
            writer.write(data)
        })?;
        let seed = (journal.format.checksum != TagChecksum::None).then_some(journal.seed);
        let seconds = u64::try_from(now.seconds).unwrap_or(0);
        writer.write(&commit_block::build(size, journal.sequence, seconds, now.nanos, seed))
    }

    /// Writes the blocks where they belong.
    fn write_in_place(&self, target: &dyn BlockDevice, blocks: &[u64]) -> Result<(), VolumeError> {
        let bs = u64::from(self.volume.block_size());
        let most = usize::try_from(WRITTEN / bs).unwrap_or(1).max(1);
        let fill = |part: &[u64], buf: &mut Vec<u8>| {
            buf.resize(part.len() * bs as usize, 0);
            self.read(part, buf)
        };
        let mut parts = blocks.chunks(most);
        hand_over(parts.clone(), fill, |buf| {
            let mut rest = buf;
            for run in parts.next().unwrap_or_default().chunk_by(|a, b| a + 1 == *b) {
                let (Some(first), Some((here, behind))) = (run.first(), rest.split_at_checked(run.len() * bs as usize))
                else {
                    break;
                };
                rest = behind;
                let offset = first.saturating_mul(bs);
                self.volume.write_at(target, offset, here)?;
                begin_writing(target, self.volume.base().saturating_add(offset), here);
            }
            Ok(())
        })
    }
}

/// Gives the device something to do while more is made ready. A little is left to the flush, which has to wait for it in any case.
fn begin_writing(target: &dyn BlockDevice, at: u64, bytes: &[u8]) {
    if bytes.len() as u64 >= COMPARED {
        target.start_writeback(at, bytes.len() as u64);
    }
}

/// Writes blocks of the log, one behind the other.
struct LogWriter<'a> {
    log: &'a Log<'a>,
    target: &'a dyn BlockDevice,
    at: u32,
}

impl LogWriter<'_> {
    /// Writes whole blocks, those that lie side by side at once.
    fn write(&mut self, mut bytes: &[u8]) -> Result<(), VolumeError> {
        let journal = &self.log.journal;
        let bs = journal.block_size as usize;
        while !bytes.is_empty() {
            let first = self.at;
            let (mut blocks, start) = (0, self.log.place(first));
            while blocks * bs < bytes.len() {
                let expected = start.and_then(|start| start.checked_add((blocks * bs) as u64));
                if blocks > 0 && self.log.place(self.at) != expected {
                    break;
                }
                blocks += 1;
                self.at = journal.next(self.at);
            }
            let (here, behind) = bytes.split_at_checked(blocks * bs).unwrap_or((bytes, &[]));
            self.log.write(self.target, first, here)?;
            if let Some(start) = start {
                begin_writing(self.target, start, here);
            }
            bytes = behind;
        }
        Ok(())
    }
}

impl Log<'_> {
    /// Writes blocks of the journal that lie side by side.
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
