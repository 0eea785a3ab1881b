//! Writing what edits came to into the image, all or none of it.
//!
//! Two ways: as one transaction of the image's own journal, which the kernel and e2fsck replay as well as daxkit; or, where that
//! cannot be (no journal, changes that do not fit or touch the journal itself), in place with a rollback file beside the image, which
//! only daxkit knows.

use std::ops::Range;
use std::path::Path;

use daxkit_device::BlockDevice;
use daxkit_device::rollback::{RollbackError, write_all_or_none};
use daxkit_format::InodeNr;
use daxkit_format::ext4::inode::Timestamp;
use daxkit_format::ext4::super_block::SUPER_BLOCK_OFFSET;

use super::super::error::VolumeError;
use super::super::journal::JournalCommit;
use super::super::open::{OpenOptions, Volume};
use super::EditError;

/// How edits came into the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// There was nothing to write.
    Nothing,
    /// As one transaction of the journal.
    Journal(JournalCommit),
    /// In place, under a rollback file that is gone again.
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
        let Some(overlay) = self.edits().cloned() else { return Err(EditError::NotWritable.into()) };
        if overlay.is_unchanged() {
            return Ok(Committed::Nothing);
        }
        let committed = match self.as_it_was(target) {
            Some(old) => old.commit_through_journal(&overlay, target, now)?,
            None => None,
        };
        let committed = match committed {
            Some(commit) if commit.blocks == 0 => Committed::Nothing,
            Some(commit) => Committed::Journal(commit),
            None => {
                write_all_or_none(image, image_offset, target, &overlay)?;
                Committed::InPlace
            }
        };
        overlay.forget();
        self.forget_blocks();
        Ok(committed)
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
