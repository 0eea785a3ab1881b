//! Writing what edits came to into the image, all or none of it.
//!
//! Two ways: as one transaction of the image's own journal, which the kernel and e2fsck replay as well as daxkit; or, where that
//! cannot be (no journal, changes that do not fit or touch the journal itself), in place with a rollback file beside the image, which
//! only daxkit knows.

use std::path::Path;

use daxkit_device::BlockDevice;
use daxkit_device::rollback::{RollbackError, write_all_or_none};
use daxkit_format::ext4::inode::Timestamp;

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

    /// The volume without the edits; `None` when it cannot be opened, because it is damaged or an edit mends it.
    fn as_it_was(&self, target: &dyn BlockDevice) -> Option<Volume> {
        let below = std::sync::Arc::clone(self.edits()?.base());
        if below.len() != target.len()
            || self.super_block_offset() != daxkit_format::ext4::super_block::SUPER_BLOCK_OFFSET
        {
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
