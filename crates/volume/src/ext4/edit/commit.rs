//! Writing what edits came to into the image, all or none of it.
//!
//! Two ways: as one transaction of the image's own journal, which the kernel and e2fsck replay as well as daxkit; or, where that
//! cannot be (no journal, changes that do not fit or touch the journal itself), in place with a rollback file beside the image, which
//! only daxkit knows.

use std::ops::Range;
use std::path::Path;

use daxkit_device::rollback::{RollbackError, write_all_or_none};
use daxkit_device::{BlockDevice, DeviceError, RangeSet};
use daxkit_format::InodeNr;
use daxkit_format::ext4::inode::Timestamp;
use daxkit_format::ext4::super_block::SUPER_BLOCK_OFFSET;

use super::super::error::{Place, VolumeError};
use super::super::journal::{JournalCommit, ReplayOverlay};
use super::super::open::{OpenOptions, Volume};
use super::EditError;

/// How edits came into the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// There was nothing to write.
    Nothing,
    /// As one transaction of the journal.
    Journal(JournalCommit),
    /// In place: under a rollback file that is gone again, or, of a mounted volume, without.
    InPlace,
}

/// Why edits did not come into the image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The volume cannot be changed, or could not be read.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The device or the rollback file failed.
    #[error(transparent)]
    Rollback(#[from] RollbackError),
}

impl CommitError {
    /// A device that could not be written.
    #[must_use]
    pub fn device(e: DeviceError) -> Self {
        VolumeError::io(Place::SuperBlock { offset: SUPER_BLOCK_OFFSET })(e).into()
    }
}

impl From<VolumeError> for CommitError {
    fn from(e: VolumeError) -> Self {
        Self::Edit(e.into())
    }
}

impl Volume {
    /// Writes all edits into `target`, the device that the volume was opened on; it is the image at `image`, and begins at byte
    /// `image_offset` of it. Afterwards there are no edits.
    ///
    /// # Errors
    /// The image is then as it was before, or will be when it is opened by a mount (through the journal) or by daxkit (in place). The edits
    /// are still there.
    pub fn commit(
        &mut self,
        image: &Path,
        image_offset: u64,
        target: &dyn BlockDevice,
        now: Timestamp,
    ) -> Result<Committed, CommitError> {
        self.commit_or(target, now, |overlay| Ok(write_all_or_none(image, image_offset, target, overlay)?))
    }

    /// Writes all edits into the device that the volume was opened on, as a file system that is mounted does: through the journal; and
    /// where that cannot be, in place, so that who stops in between leaves something for a checker. Blocks that were given back
    /// may be taken from then on ([`Volume::hold_freed`]).
    ///
    /// # Errors
    /// The device failed, or the volume was not opened for writing. The edits are still there.
    pub fn commit_below(&mut self, now: Timestamp) -> Result<Committed, CommitError> {
        let Some(overlay) = self.edits() else { return Err(EditError::NotWritable.into()) };
        let target = std::sync::Arc::clone(overlay.base());
        self.commit_or(&*target, now, |overlay| {
            overlay.apply_to(&*target).and_then(|()| target.flush()).map_err(CommitError::device)
        })
    }

    /// Writes all edits through the journal, or as `otherwise` does.
    fn commit_or(
        &mut self,
        target: &dyn BlockDevice,
        now: Timestamp,
        otherwise: impl FnOnce(&ReplayOverlay) -> Result<(), CommitError>,
    ) -> Result<Committed, CommitError> {
        let Some(overlay) = self.edits().cloned() else { return Err(EditError::NotWritable.into()) };
        let committed = if overlay.is_unchanged() {
            Committed::Nothing
        } else {
            let through = match self.as_it_was(target) {
                Some(old) => old.commit_through_journal(&overlay, target, now)?,
                None => None,
            };
            match through {
                Some(commit) if commit.blocks == 0 => Committed::Nothing,
                Some(commit) => Committed::Journal(commit),
                None => {
                    otherwise(&overlay)?;
                    Committed::InPlace
                }
            }
        };
        overlay.forget();
        self.forget_blocks();
        if let Some(held) = self.held_mut() {
            *held = RangeSet::new();
            self.hints_mut().space_came_free();
        }
        Ok(committed)
    }

    /// Says whether blocks that edits give back may be taken again only after the next commit. A file system that writes data past its
    /// journal needs that: until the commit the old state counts, in which those blocks are somebody else's
    /// (`ext4_mb_free_metadata`, Linux 6.12).
    pub fn hold_freed(&mut self, hold: bool) {
        *self.held_mut() = hold.then(RangeSet::new);
    }

    /// Whether blocks wait for the next commit before they can be taken.
    #[must_use]
    pub fn holds_freed(&self) -> bool {
        self.held().is_some_and(|held| !held.is_empty())
    }

    /// The bytes that [`Volume::commit`] will write, as far as that can be said before, for who wants to save them first: the edits,
    /// and of the journal what they are expected to need.
    #[must_use]
    pub fn places_of_commit(&self) -> Vec<Range<u64>> {
        let Some(overlay) = self.edits() else { return Vec::new() };
        let mut places: Vec<_> = overlay.changes().into_iter().map(|change| change.range).collect();
        let bs = u64::from(self.block_size());
        let logged = places.iter().map(|range| (range.end - range.start).div_ceil(bs)).sum::<u64>();
        let at = |block: u64| self.base().saturating_add(block.saturating_mul(bs));
        let mut add = |first: u64, blocks: u64| {
            let range = at(first)..at(first.saturating_add(blocks)).min(overlay.len());
            places.extend((!range.is_empty()).then_some(range));
        };
        add(SUPER_BLOCK_OFFSET / bs, 1);
        // Descriptors and the commit block come with what is logged; the journal's superblock lies before.
        let mut left = logged.saturating_add(logged / 32).saturating_add(16);
        let nr = InodeNr(self.super_block().s_journal_inum.get().into());
        let Ok(journal) = self.inode(nr) else { return places };
        for run in self.extents(&journal).map_while(Result::ok) {
            let blocks = run.len.min(left);
            add(run.physical.get(), blocks);
            left -= blocks;
        }
        places
    }

    /// The volume without the edits; `None` when it cannot be opened, because it is damaged or an edit mends it.
    fn as_it_was(&self, target: &dyn BlockDevice) -> Option<Volume> {
        let below = std::sync::Arc::clone(self.edits()?.base());
        if below.len() != target.len() || self.super_block_offset() != SUPER_BLOCK_OFFSET {
            return None;
        }
        let options = OpenOptions {
            offset: self.base(),
            ignore_checksums: self.ignores_checksums(),
            replay: false,
            ..OpenOptions::default()
        };
        Volume::open(below, &options).ok()
    }
}
