//! Replaying the journal: what a mount would do, into an overlay, so that the device stays as it is.
//!
//! First the log of blocks (`recover`), then the fast commits behind it (`fast_commit` and its helpers), then the superblocks are marked as
//! recovered. Orphans are left to whoever mounts.

mod commit;
mod fast_commit;
mod fc_dir;
mod fc_map;
mod fc_space;
mod hand;
mod log;
mod recover;
mod writer;

use std::sync::Arc;

use daxkit_device::{BlockDevice, Overlay};
use daxkit_format::OnDisk;
use daxkit_format::ext4::features::{Compat, Incompat};
use daxkit_format::ext4::super_block::{MAGIC, STATE_ERROR, SUPER_BLOCK_OFFSET, SuperBlock};
use zerocopy::IntoBytes;

pub use commit::JournalCommit;
pub use hand::{HandJournal, JournalWriteError, LogChecksum, Transaction};

use super::error::{Place, VolumeError};
use super::open::{EDITS_IN_MEMORY, OpenOptions, Volume};
use log::Log;

/// Most groups whose free blocks are added up: four times those of 15 TiB.
const COUNTED_GROUPS: u32 = 1 << 19;

/// An overlay over the device a volume was opened on.
pub type ReplayOverlay = Overlay<Arc<dyn BlockDevice>>;

/// What replaying a journal came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplayReport {
    /// The first transaction of the log.
    pub first_transaction: u32,
    /// The transaction after the last one replayed.
    pub end_transaction: u32,
    /// Blocks written.
    pub blocks: u64,
    /// Blocks left out because a later transaction revoked them.
    pub revoked: u64,
    /// Blocks left out because their checksum does not match or they do not lie inside the file system. The kernel then
    /// refuses to mount; a checker looks closely.
    pub bad_blocks: u64,
    /// The transaction whose commit block is damaged: it and what comes behind it was not replayed. The kernel then refuses
    /// to mount.
    pub failed_transaction: Option<u32>,
    /// The error with which the journal was aborted, a negative errno; 0 for none.
    pub errno: i32,
    /// Tags of fast commits carried out, heads, tails and padding not counted.
    pub fast_commit_tags: u64,
}

impl ReplayReport {
    /// True when all that was committed is there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.bad_blocks == 0 && self.failed_transaction.is_none()
    }
}

/// A volume over the overlay that its journal was replayed into.
pub(crate) struct Replayed {
    pub(crate) volume: Volume,
    pub(crate) overlay: Arc<ReplayOverlay>,
    pub(crate) report: ReplayReport,
}

/// Replays the journal of `volume`, which was opened from `device`. `None` when there is no journal, although the superblock
/// wants recovery.
pub(crate) fn replay(
    volume: &Volume,
    device: &Arc<dyn BlockDevice>,
    options: &OpenOptions,
) -> Result<Option<Replayed>, VolumeError> {
    if !volume.has_compat(Compat::HAS_JOURNAL) {
        return Ok(None);
    }
    let log = Log::open(volume, options.journal.as_deref())?;
    let overlay = Arc::new(Overlay::spilling(Arc::clone(device), EDITS_IN_MEMORY));
    let report = replay_into(volume, &log, &overlay, options)?;
    let dynamic: Arc<dyn BlockDevice> = Arc::<ReplayOverlay>::clone(&overlay);
    let volume = Volume::open_without_replay(dynamic, options)?;
    Ok(Some(Replayed { volume, overlay, report }))
}

/// Replays a log into an overlay over the device of `volume`: the blocks, then the fast commits, then the marks of what was done.
fn replay_into(
    volume: &Volume,
    log: &Log<'_>,
    overlay: &Arc<ReplayOverlay>,
    options: &OpenOptions,
) -> Result<ReplayReport, VolumeError> {
    let mut report = recover::recover(volume, log, overlay)?;
    if let Some(blocks) = recover::fast_commit_blocks(log, &report)? {
        let below = Volume::open_without_replay(Arc::<ReplayOverlay>::clone(overlay), options)?;
        report.fast_commit_tags = fast_commit::replay(below, overlay, &blocks, report.end_transaction)?;
    }
    mark_recovered(volume, log, overlay, &report, options)?;
    Ok(report)
}

/// Clears `needs_recovery` and empties the log.
fn mark_recovered(
    volume: &Volume,
    log: &Log<'_>,
    overlay: &Arc<ReplayOverlay>,
    report: &ReplayReport,
    options: &OpenOptions,
) -> Result<(), VolumeError> {
    let below = Volume::open_without_replay(Arc::clone(overlay) as Arc<dyn BlockDevice>, options)?;
    // The counts in the superblock are as old as the last clean state; a mount adds up those of the groups.
    let free = (below.geometry().groups_count <= COUNTED_GROUPS).then(|| below.free_counts().ok()).flatten();
    let mut offsets = vec![SUPER_BLOCK_OFFSET];
    if volume.super_block_offset() != SUPER_BLOCK_OFFSET {
        offsets.push(volume.super_block_offset());
    }
    for offset in offsets {
        let at = volume.base().saturating_add(offset);
        let place = Place::SuperBlock { offset: at };
        let mut sb = SuperBlock::zeroed();
        overlay.read_at(at, sb.as_mut_bytes()).map_err(VolumeError::io(place))?;
        if sb.s_magic.get() != MAGIC {
            continue;
        }
        sb.s_feature_incompat.set(sb.incompat().difference(Incompat::RECOVER).bits());
        if let Some((clusters, inodes)) = free {
            // Groups count clusters, the superblock blocks.
            sb.set_free_blocks_count(clusters.saturating_mul(below.geometry().cluster_ratio.into()));
            sb.s_free_inodes_count.set(u32::try_from(inodes).unwrap_or(u32::MAX));
        }
        if report.errno != 0 || !report.is_complete() {
            sb.s_state.set(sb.s_state.get() | STATE_ERROR);
        }
        sb.seal();
        overlay.write_at(at, sb.as_bytes()).map_err(VolumeError::io(place))?;
    }
    log.mark_empty(volume, overlay, report.end_transaction.wrapping_add(1))
}
