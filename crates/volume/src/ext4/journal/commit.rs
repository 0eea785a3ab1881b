//! Changes to a volume, committed through its journal: whatever moment the tool dies at, a mount (or our own replay) finds the old
//! state or the new one.
//!
//! The log is empty before and after. In between: what lies in blocks that were free is written in place, because the old state does not
//! look there; the other changed blocks are in the log, and `needs_recovery` is set; the
//! journal's superblock says where the log begins (this is the commit); the blocks are written in place; the log is empty
//! again; `needs_recovery` is clear. Each step is durable before the next (`jbd2_journal_commit_transaction`,
//! `jbd2_log_do_checkpoint`, Linux 6.12, with one transaction at a time).
//!
//! None of these five waits for the device can be left out. Before the log begins anywhere nobody reads it, so its parts and the flag may
//! become durable in any order; but all of them before its beginning is: there may be a whole log of the same number that was given up. The
//! beginning has to be durable before a block in place, those before the log is empty, and that before the flag is gone: a log
//! to be replayed that no flag tells of is something to ask about for `e2fsck`.

use std::collections::BTreeMap;
use std::ops::Range;

use daxkit_device::{AlignedBuffer, BlockDevice, RangeSet};
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
    /// Through the log, ascending; those that do not differ from the device are left out at last when they would be written.
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
        // While the log is written there is time to compare, so it is done before only where it matters what comes out.
        for compare in [false, true] {
            let Some(Changed { logged, fresh }) = self.changed_blocks(changes, target, journal, compare)? else {
                continue;
            };
            if compare && logged.is_empty() && fresh.is_empty() {
                return Ok(Some(JournalCommit { transaction: journal.sequence, blocks: 0 }));
            }
            let Some(new) = self.new_super_block(changes)? else { continue };
            if fits(journal, &logged) && self.journal_is_untouched(changes, &log, &logged)? {
                let source = Source { volume: self, changes, target, new };
                return source.commit(&log, logged, &fresh, now).map(Some);
            }
        }
        Ok(None)
    }

    /// The blocks that were written, or where they are to be compared those of them that differ from the device; `None` when more of them
    /// were in use than the journal could ever hold. Blocks that were free are not compared.
    fn changed_blocks(
        &self,
        changes: &ReplayOverlay,
        target: &dyn BlockDevice,
        journal: &Journal,
        compare: bool,
    ) -> Result<Option<Changed>, VolumeError> {
        let bs = u64::from(self.block_size());
        let most = (COMPARED / bs).max(1);
        let mut changed = Changed::default();
        let mut used = InUse::default();
        let mut runs = Vec::new();
        let take = |runs: &mut Vec<Range<u64>>, logged: &mut Vec<u64>| {
            if compare {
                let differ = in_order(runs, |run, memory| self.differ(changes, target, run, memory))?;
                logged.extend(differ.into_iter().flatten());
            } else {
                logged.extend(runs.iter().cloned().flatten());
            }
            runs.clear();
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
                if runs.len() >= RUNS && !take(&mut runs, &mut changed.logged)? {
                    return Ok(None);
                }
            }
        }
        Ok(take(&mut runs, &mut changed.logged)?.then_some(changed))
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

/// Where the blocks of a transaction come from, and where they go.
struct Source<'a> {
    volume: &'a Volume,
    changes: &'a ReplayOverlay,
    target: &'a dyn BlockDevice,
    /// The superblock to come. In the log, and in place until the log is empty, it says that there is something to recover.
    new: SuperBlock,
}

impl Source<'_> {
    /// Writes everything, in the order in which it has to be durable.
    fn commit(
        &self,
        log: &Log<'_>,
        written: Vec<u64>,
        fresh: &RangeSet,
        now: Timestamp,
    ) -> Result<JournalCommit, VolumeError> {
        let (volume, target, journal) = (self.volume, self.target, &log.journal);
        let flush = || target.flush().map_err(VolumeError::io(Place::JournalBlock(0)));
        volume.write_fresh(self.changes, target, fresh)?;
        let mut writer = LogWriter { log, target, at: journal.first };
        let logged = self.log(&mut writer, &written)?;
        let commit = JournalCommit { transaction: journal.sequence, blocks: logged.len() as u64 + fresh.total() };
        if commit.blocks == 0 {
            return Ok(commit);
        }
        writer.end(now)?;
        // Nobody follows a log that begins nowhere, whatever of this is durable first.
        volume.write_super_block(target, &recovering(*volume.super_block()))?;
        flush()?;
        log.write_super_block(target, journal.first, journal.sequence)?;
        flush()?;
        self.write_in_place(&logged)?;
        flush()?;
        log.write_super_block(target, 0, journal.sequence.wrapping_add(1))?;
        flush()?;
        volume.write_super_block(target, &self.new)?;
        flush()?;
        volume.forget_blocks();
        Ok(commit)
    }

    /// Reads blocks, ascending, one behind the other into `buf`.
    fn read(&self, blocks: &[u64], buf: &mut [u8]) -> Result<(), VolumeError> {
        self.read_from(self.changes, blocks, buf)?;
        self.say_recovering(blocks, buf);
        Ok(())
    }

    fn read_from(&self, device: &dyn BlockDevice, blocks: &[u64], buf: &mut [u8]) -> Result<(), VolumeError> {
        let bs = self.volume.block_size() as usize;
        let mut rest = buf;
        for run in blocks.chunk_by(|a, b| a + 1 == *b) {
            let Some(first) = run.first() else { continue };
            let place = Place::Block(BlockNr(*first));
            let Some((here, behind)) = rest.split_at_mut_checked(run.len() * bs) else { break };
            rest = behind;
            let at = self.volume.base().saturating_add(first.saturating_mul(bs as u64));
            device.read_at(at, here).map_err(VolumeError::io(place))?;
        }
        Ok(())
    }

    /// Where the superblock is among blocks that were read: that there is something to recover.
    fn say_recovering(&self, blocks: &[u64], buf: &mut [u8]) {
        let bs = self.volume.block_size() as usize;
        if let Ok(index) = blocks.binary_search(&(SUPER_BLOCK_OFFSET / bs as u64)) {
            let at = index * bs + SUPER_BLOCK_OFFSET as usize % bs;
            buf.iter_mut().skip(at).zip(recovering(self.new).as_bytes()).for_each(|(to, from)| *to = *from);
        }
    }

    /// Leaves out of blocks, and of what was read of them, those that the device has as they are; returns how many are left.
    fn leave_out_same(&self, blocks: &mut [u64], data: &mut [u8], old: &mut Vec<u8>) -> Result<usize, VolumeError> {
        let bs = self.volume.block_size() as usize;
        let at_once = usize::try_from(COMPARED).unwrap_or(bs) / bs;
        let mut left = 0;
        let mut at = 0;
        while let Some(part) = blocks.get(at..).filter(|rest| !rest.is_empty()) {
            let part = part.get(..at_once).unwrap_or(part);
            let len = part.len();
            old.resize(len * bs, 0);
            self.read_from(self.target, part, old)?;
            for (index, old) in (at..at + len).zip(old.chunks_exact(bs)) {
                if data.get(index * bs..(index + 1) * bs).is_some_and(|new| new == old) {
                    continue;
                }
                if left < index {
                    blocks.swap(left, index);
                    data.copy_within(index * bs..(index + 1) * bs, left * bs);
                }
                left += 1;
            }
            at += len;
        }
        Ok(left)
    }

    /// Writes descriptors into the log, each with its data behind it, of those blocks that differ from the device; returns them.
    fn log(&self, writer: &mut LogWriter<'_>, written: &[u64]) -> Result<Vec<u64>, VolumeError> {
        let journal = &writer.log.journal;
        let size = journal.block_size as usize;
        let mut logged = Vec::with_capacity(written.len());
        let mut old = Vec::new();
        let fill = |part: &[u64], buf: &mut AlignedBuffer| {
            buf.resize(size + part.len() * size);
            let (head, data) = buf.split_at_mut_checked(size).unwrap_or_default();
            let mut blocks = part.to_vec();
            self.read_from(self.changes, &blocks, data)?;
            let left = self.leave_out_same(&mut blocks, data, &mut old)?;
            blocks.truncate(left);
            self.say_recovering(&blocks, data);
            let mut descriptor = DescriptorBuilder::new(size, journal.format, journal.seed, journal.sequence);
            for (block, bytes) in blocks.iter().zip(data.chunks_exact_mut(size)) {
                let escaped = escape(bytes);
                if !descriptor.push(*block, bytes, escaped) {
                    let place = Place::JournalBlock(journal.first);
                    return Err(VolumeError::corrupt(place, Corruption::JournalHole { block: journal.first }));
                }
            }
            head.iter_mut().zip(descriptor.finish()).for_each(|(to, from)| *to = from);
            buf.truncate(if blocks.is_empty() { 0 } else { size + blocks.len() * size });
            logged.append(&mut blocks);
            Ok(())
        };
        let parts = written.chunks(DescriptorBuilder::capacity(size, journal.format).max(1));
        hand_over(parts, fill, |buf| writer.write(buf))?;
        Ok(logged)
    }

    /// Writes the blocks where they belong.
    fn write_in_place(&self, blocks: &[u64]) -> Result<(), VolumeError> {
        let bs = u64::from(self.volume.block_size());
        let most = usize::try_from(WRITTEN / bs).unwrap_or(1).max(1);
        let fill = |part: &[u64], buf: &mut AlignedBuffer| {
            buf.resize(part.len() * bs as usize);
            self.read(part, buf)
        };
        let mut parts = blocks.chunks(most);
        hand_over(parts.clone(), fill, |buf| {
            let mut rest = &**buf;
            for run in parts.next().unwrap_or_default().chunk_by(|a, b| a + 1 == *b) {
                let (Some(first), Some((here, behind))) = (run.first(), rest.split_at_checked(run.len() * bs as usize))
                else {
                    break;
                };
                rest = behind;
                let at = self.volume.base().saturating_add(first.saturating_mul(bs));
                self.target.write_out(at, here).map_err(VolumeError::io(Place::Block(BlockNr(*first))))?;
            }
            Ok(())
        })
    }
}

/// Writes blocks of the log, one behind the other.
struct LogWriter<'a> {
    log: &'a Log<'a>,
    target: &'a dyn BlockDevice,
    at: u32,
}

impl LogWriter<'_> {
    /// Writes the block that makes a transaction of what was written.
    fn end(&mut self, now: Timestamp) -> Result<(), VolumeError> {
        let journal = &self.log.journal;
        let seed = (journal.format.checksum != TagChecksum::None).then_some(journal.seed);
        let seconds = u64::try_from(now.seconds).unwrap_or(0);
        let block = commit_block::build(journal.block_size as usize, journal.sequence, seconds, now.nanos, seed);
        self.write(&block)
    }

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
        target.write_out(at, bytes).map_err(VolumeError::io(place))
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
