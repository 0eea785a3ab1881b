//! The three passes over the log: find its end, collect what is revoked, write what is not (`do_one_pass`, Linux 6.12).
//!
//! Invariant: no pass reads more blocks than the ring has, whatever descriptors claim; without that bound a ring of
//! descriptor blocks without any commit would be walked for ever.

use std::collections::HashMap;

use daxkit_device::BlockDevice;
use daxkit_format::OnDisk;
use daxkit_format::jbd2::{
    BlockTail, BlockType, CommitHeader, JournalCompat, JournalHeader, JournalIncompat, commit_block, crc32_be,
    descriptor_block, fast_commit, revoke_block, tid_geq, tid_gt,
};

use super::super::error::{Corruption, Place, VolumeError};
use super::super::open::Volume;
use super::log::Log;
use super::{ReplayOverlay, ReplayReport};

/// Most bytes of fast commits that are read; Linux makes areas of one megabyte.
const FAST_COMMIT_BYTES: usize = 256 << 20;

/// A place in the ring that cannot go round twice.
pub(super) struct Cursor<'l> {
    log: &'l Log<'l>,
    at: u32,
    left: u32,
}

impl<'l> Cursor<'l> {
    pub(super) fn new(log: &'l Log<'l>) -> Self {
        Self { log, at: log.journal.start, left: log.journal.ring_len() }
    }

    /// The next block and its number; `None` when the whole ring was read.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Vec<u8>)>, VolumeError> {
        let at = self.at;
        Ok(if self.skip() { Some((at, self.log.read(at)?)) } else { None })
    }

    /// The block that comes next, and how many came before.
    pub(super) fn position(&self) -> (u32, u64) {
        (self.at, u64::from(self.log.journal.ring_len().saturating_sub(self.left)))
    }

    pub(super) fn skip(&mut self) -> bool {
        let Some(left) = self.left.checked_sub(1) else { return false };
        self.left = left;
        self.at = self.log.journal.next(self.at);
        true
    }
}

fn bad(block: u32, why: impl Into<Corruption>) -> VolumeError {
    VolumeError::corrupt(Place::JournalBlock(block), why)
}

/// Replays the log into the overlay.
pub(crate) fn recover(volume: &Volume, log: &Log<'_>, overlay: &ReplayOverlay) -> Result<ReplayReport, VolumeError> {
    let journal = &log.journal;
    let mut report = ReplayReport {
        first_transaction: journal.sequence,
        end_transaction: journal.sequence,
        errno: journal.errno,
        ..ReplayReport::default()
    };
    if journal.is_empty() {
        return Ok(report);
    }
    scan(log, &mut report)?;
    let revokes = revokes(log, report.end_transaction)?;
    write(volume, log, overlay, &revokes, &mut report)?;
    Ok(report)
}

/// The blocks of the fast-commit area, as far as they begin with a tag; `None` when there is nothing to replay.
pub(crate) fn fast_commit_blocks(log: &Log<'_>, report: &ReplayReport) -> Result<Option<Vec<Vec<u8>>>, VolumeError> {
    let Some(area) = log.journal.fast_commit.clone().filter(|_| !log.journal.is_empty() && report.is_complete()) else {
        return Ok(None);
    };
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    let mut bytes = 0;
    for block in area {
        let content = log.read(block)?;
        let tag = fast_commit::FcTl::peek(&content).map_or(0, |tl| tl.fc_tag.get());
        bytes += content.len();
        let begins = blocks.is_empty() && tag != fast_commit::TAG_HEAD;
        if begins || tag == 0 || tag > fast_commit::TAG_HEAD || bytes > FAST_COMMIT_BYTES {
            break;
        }
        blocks.push(content);
    }
    Ok(Some(blocks).filter(|b| !b.is_empty()))
}

/// Finds the end of the log: the first transaction without a sound commit block.
fn scan(log: &Log<'_>, report: &mut ReplayReport) -> Result<(), VolumeError> {
    let journal = &log.journal;
    let has_tail = journal.format.tail_bytes() != 0;
    let v1 = journal.compat.contains(JournalCompat::CHECKSUM);
    let mut sequence = journal.sequence;
    let mut end = None;
    let mut crc = !0;
    let mut last_time = 0;
    // A damaged descriptor or revoke block may be the rest of an older round; the time of its commit tells.
    let mut damaged = None;
    let mut cursor = Cursor::new(log);
    while let Some((at, block)) = cursor.next()? {
        let Some((kind, found)) = JournalHeader::of(&block) else { break };
        if found != sequence {
            break;
        }
        match kind {
            BlockType::Descriptor => {
                if has_tail && BlockTail::verify(&block, journal.seed).is_err() {
                    damaged = damaged.or(Some(at));
                }
                let sum = v1 && damaged.is_none() && end.is_none();
                if sum {
                    crc = crc32_be(crc, &block);
                }
                for _ in descriptor_block::tags(&block, journal.format) {
                    if sum {
                        let Some((_, data)) = cursor.next()? else { break };
                        crc = crc32_be(crc, &data);
                    } else if !cursor.skip() {
                        break;
                    }
                }
            }
            BlockType::Revoke => {
                if has_tail && BlockTail::verify(&block, journal.seed).is_err() {
                    damaged = damaged.or(Some(at));
                }
            }
            BlockType::Commit => {
                let time = CommitHeader::peek(&block).map_or(0, |h| h.h_commit_sec.get());
                if let Some(at) = damaged {
                    if time < last_time {
                        break;
                    }
                    let why = BlockTail::verify(&log.read(at)?, journal.seed).err();
                    return Err(why.map_or_else(|| bad(at, Corruption::Checksum), |why| bad(at, why)));
                }
                if v1 && end.is_some() {
                    // A commit behind a damaged one: the damage is no interrupted write.
                    report.failed_transaction = end;
                    break;
                }
                let sound = if v1 {
                    commit_block::verify_v1(&block, crc, false).is_ok()
                } else if has_tail {
                    commit_block::verify(&block, journal.seed).is_ok()
                        || commit_block::verify_partial(&block, journal.seed).is_ok()
                } else {
                    true
                };
                if v1 && sound {
                    crc = !0;
                }
                if !sound {
                    if time < last_time {
                        break;
                    }
                    end.get_or_insert(sequence);
                    if !journal.incompat.contains(JournalIncompat::ASYNC_COMMIT) {
                        report.failed_transaction = Some(sequence);
                        break;
                    }
                }
                last_time = time;
                sequence = sequence.wrapping_add(1);
            }
            BlockType::SuperBlockV1 | BlockType::SuperBlockV2 => break,
        }
    }
    report.end_transaction = end.unwrap_or(sequence);
    Ok(())
}

/// Collects for each revoked block the last transaction that revoked it.
fn revokes(log: &Log<'_>, end: u32) -> Result<HashMap<u64, u32>, VolumeError> {
    let journal = &log.journal;
    let mut table = HashMap::new();
    let mut sequence = journal.sequence;
    let mut cursor = Cursor::new(log);
    while !tid_geq(sequence, end) {
        let Some((at, block)) = cursor.next()? else { break };
        match JournalHeader::of(&block) {
            Some((_, found)) if found != sequence => break,
            Some((BlockType::Descriptor, _)) => {
                for _ in descriptor_block::tags(&block, journal.format) {
                    if !cursor.skip() {
                        break;
                    }
                }
            }
            Some((BlockType::Revoke, _)) => {
                let (_, records) = revoke_block::records(&block, journal.format).map_err(|e| bad(at, e))?;
                for revoked in records {
                    let last = table.entry(revoked).or_insert(sequence);
                    if tid_gt(sequence, *last) {
                        *last = sequence;
                    }
                }
            }
            Some((BlockType::Commit, _)) => sequence = sequence.wrapping_add(1),
            _ => break,
        }
    }
    Ok(table)
}

/// Writes the blocks of all transactions before the end, but for the revoked.
fn write(
    volume: &Volume,
    log: &Log<'_>,
    overlay: &ReplayOverlay,
    revokes: &HashMap<u64, u32>,
    report: &mut ReplayReport,
) -> Result<(), VolumeError> {
    let journal = &log.journal;
    let mut sequence = journal.sequence;
    let mut cursor = Cursor::new(log);
    while !tid_geq(sequence, report.end_transaction) {
        let Some((_, block)) = cursor.next()? else { break };
        match JournalHeader::of(&block) {
            Some((_, found)) if found != sequence => break,
            Some((BlockType::Descriptor, _)) => {
                for tag in descriptor_block::tags(&block, journal.format) {
                    let Some((at, mut data)) = cursor.next()? else { break };
                    if revokes.get(&tag.block).is_some_and(|last| tid_geq(*last, sequence)) {
                        report.revoked += 1;
                        continue;
                    }
                    let inside = tag.block < volume.geometry().blocks_count;
                    if !inside || !tag.verify(journal.format, journal.seed, sequence, &data) {
                        report.bad_blocks += 1;
                        continue;
                    }
                    tag.unescape(&mut data);
                    let byte = tag.block << volume.geometry().block_shift();
                    overlay
                        .write_at(volume.base().saturating_add(byte), &data)
                        .map_err(VolumeError::io(Place::JournalBlock(at)))?;
                    report.blocks += 1;
                }
            }
            Some((BlockType::Revoke, _)) => {}
            Some((BlockType::Commit, _)) => sequence = sequence.wrapping_add(1),
            _ => break,
        }
    }
    Ok(())
}
