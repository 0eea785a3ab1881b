//! Changing a volume.
//!
//! A volume opened for writing ([`OpenOptions::writable`](super::OpenOptions::writable)) reads through an overlay, and changes go
//! there: the device stays as it is until [`Volume::commit`] writes them, all or none. [`Volume::change`] runs one edit; it
//! counts as a whole or, when it fails, not at all. Edits that a script makes one after the other add up in the overlay;
//! [`Volume::abandon`] forgets them all.
//!
//! An [`Editor`] reads like the volume it is made from (it derefs to it) and adds what changes it, one file a subject. After
//! each of its methods the overlay holds a whole file system: every structure carries its checksum, counts agree with
//! bitmaps, the superblock with the groups.
//!
//! Times enter with the edit; nothing here asks a clock or draws a random number.

mod allocate;
mod backups;
mod bulk;
mod clusters;
mod commit;
mod content;
mod convert;
mod dir;
mod error;
mod flags;
mod inline;
mod inodes;
mod live;
mod map;
mod namespace;
mod new_inode;
mod orphans;
mod quota;
mod raw;
mod remove;
mod store;
mod xattr;

use std::ops::Deref;

use daxkit_device::RangeSet;
use daxkit_format::OnDisk;
use daxkit_format::ext4::features::Feature;
use daxkit_format::ext4::inode::Timestamp;
use daxkit_format::ext4::super_block::{SUPER_BLOCK_OFFSET, SuperBlock};
use zerocopy::IntoBytes;

pub use allocate::Fill;
pub use clusters::Run;
pub use commit::{CommitError, Committed};
pub use error::{EditError, errno_of};
pub use flags::{FlagChange, FlagStep, chattr_flags, chattr_letter, flag_step};
pub use live::Before;
pub use map::{CursorError, Move, Standing, TreeCursor, TreeEntry};
pub use namespace::{Rename, RenameRule};
pub use new_inode::NewInode;
pub use quota::QuotaIds;

use super::error::{Place, VolumeError};
use super::open::Volume;

/// What edits remember of each other, to be quick. Nothing depends on it being there.
#[derive(Debug, Default)]
pub(crate) struct Hints {
    /// Groups without a free cluster.
    full: RangeSet,
    /// Groups without a free inode.
    no_inodes: RangeSet,
    /// Whether no window was free when one was last looked for, and nothing was given back since.
    no_window: bool,
    quota: quota::QuotaHints,
    values: xattr::ValueHints,
    attr_blocks: xattr::BlockHints,
}

impl Hints {
    /// Blocks that were held came free.
    fn space_came_free(&mut self) {
        self.full = RangeSet::new();
        self.no_window = false;
    }
}

/// A point in the edits of a volume; see [`Volume::set_savepoint`].
#[derive(Debug)]
#[must_use]
pub struct Savepoint {
    super_block: SuperBlock,
}

/// One edit of a volume; see the module.
#[derive(Debug)]
pub struct Editor<'v> {
    volume: &'v mut Volume,
    now: Timestamp,
}

impl Deref for Editor<'_> {
    type Target = Volume;

    fn deref(&self) -> &Volume {
        self.volume
    }
}

impl Editor<'_> {
    /// The time that counts as now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Takes the superblock as it lies now, after bytes were written past the editor.
    pub(crate) fn reread(&mut self) -> Result<(), EditError> {
        self.volume.forget_everything();
        Ok(self.volume.read_super_block()?)
    }

    /// Runs a part of the edit that counts as a whole or not at all.
    ///
    /// # Errors
    /// Those of `edit`; the volume is then as it was before.
    pub fn attempt<T, E: From<EditError>>(
        &mut self,
        edit: impl FnOnce(&mut Editor<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let now = self.now;
        self.volume.change(now, edit)
    }
}

impl Volume {
    /// Runs an edit. `now` is the time that it is made at.
    ///
    /// # Errors
    /// The volume was not opened for writing, or has a feature under which it must not be changed; or those of `edit`. The volume
    /// is then as it was before.
    pub fn change<T, E: From<EditError>>(
        &mut self,
        now: Timestamp,
        edit: impl FnOnce(&mut Editor<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.check_writable()?;
        self.change_raw(now, edit)
    }

    /// As [`Volume::change`], for edits of bytes: features that are not known do not stand in the way.
    ///
    /// # Errors
    /// The volume was not opened for writing; or those of `edit`.
    pub fn change_raw<T, E: From<EditError>>(
        &mut self,
        now: Timestamp,
        edit: impl FnOnce(&mut Editor<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let savepoint = self.set_savepoint().ok_or(EditError::NotWritable)?;
        let done = edit(&mut Editor { volume: self, now });
        match done {
            Ok(_) => self.release_savepoint(savepoint),
            Err(_) => self.roll_back(savepoint),
        }
        done
    }

    /// An editor without a savepoint: for an edit that is one write, or under a savepoint that was set before. `None` when the volume
    /// was not opened for writing.
    pub fn editor(&mut self, now: Timestamp) -> Option<Editor<'_>> {
        self.edits()?;
        Some(Editor { volume: self, now })
    }

    /// Sets a savepoint: the edits from here on can be taken back alone, or kept. Savepoints nest, and end in the order in which
    /// they lie in each other. `None` when the volume was not opened for writing.
    pub fn set_savepoint(&mut self) -> Option<Savepoint> {
        self.edits()?.set_savepoint();
        Some(Savepoint { super_block: *self.super_block() })
    }

    /// Keeps the edits since a savepoint.
    pub fn release_savepoint(&mut self, _: Savepoint) {
        if let Some(overlay) = self.edits() {
            overlay.release_savepoint();
        }
    }

    /// Takes back the edits since a savepoint.
    pub fn roll_back(&mut self, savepoint: Savepoint) {
        if let Some(overlay) = self.edits() {
            overlay.roll_back_to_savepoint();
        }
        self.set_super_block(savepoint.super_block);
        self.forget_everything();
    }

    /// Whether the volume may be changed.
    ///
    /// # Errors
    /// Why not.
    pub fn check_writable(&self) -> Result<(), EditError> {
        if self.edits().is_none() || self.super_block_offset() != SUPER_BLOCK_OFFSET {
            return Err(EditError::NotWritable);
        }
        if !self.read_only_features().is_empty() {
            return Err(EditError::Features(self.read_only_features().to_vec()));
        }
        Ok(())
    }

    /// Forgets all edits that were not committed. Where a journal was replayed on opening that is forgotten, too: open the volume
    /// anew.
    ///
    /// # Errors
    /// The device failed.
    pub fn abandon(&mut self) -> Result<(), VolumeError> {
        if let Some(overlay) = self.edits() {
            overlay.forget();
        }
        self.forget_everything();
        self.read_super_block()
    }

    /// Takes the superblock that is there now, because its bytes were written.
    ///
    /// # Errors
    /// The device failed.
    pub fn read_super_block(&mut self) -> Result<(), VolumeError> {
        let mut sb = SuperBlock::zeroed();
        let offset = self.super_block_offset();
        self.read_bytes(Place::SuperBlock { offset: self.base().saturating_add(offset) }, offset, sb.as_mut_bytes())?;
        self.set_super_block(sb);
        Ok(())
    }

    fn forget_everything(&mut self) {
        self.forget_blocks();
        *self.hints_mut() = Hints::default();
    }

    /// The features of a superblock under which it must not be changed, for messages.
    #[must_use]
    pub(crate) fn feature_names(features: &[Feature]) -> String {
        features.iter().map(|f| f.name()).collect::<Vec<_>>().join(", ")
    }
}
