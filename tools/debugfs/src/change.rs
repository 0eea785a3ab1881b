//! What commands change, and when it is written.
//!
//! Every command counts as a whole or not at all: a savepoint is set before it, and taken back when it fails. What succeeded
//! is written by [`Session::commit`], all of it or none: after each command, after `commit`, or at the end of a script.

use crate::opening::Target;
use crate::session::Session;
use anyhow::{Context, Result, bail};
use daxkit_volume::ext4::edit::Savepoint;
use daxkit_volume::{Committed, Editor};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// True while an image is being written. A signal then waits for the end.
pub(crate) static COMMITTING: AtomicBool = AtomicBool::new(false);

/// How edits count together.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Each command is written by itself, unless it stands between `begin` and `commit`.
    pub(crate) each: bool,
    /// Nothing is written; what would be is shown.
    pub(crate) dry_run: bool,
    /// Where `begin` stands.
    begun: Option<Savepoint>,
}

impl Changes {
    /// Whether a change was begun and not ended.
    pub(crate) fn begun(&self) -> bool {
        self.begun.is_some()
    }
}

impl Session<'_> {
    /// Makes an edit. It is part of the present change.
    ///
    /// # Errors
    /// The image is open for reading only, or those of `edit`; nothing of it is left then.
    pub(crate) fn edit<T>(&mut self, edit: impl FnOnce(&mut Editor<'_>) -> Result<T>) -> Result<T> {
        self.check_writable()?;
        let now = self.time();
        self.volume.change(now, edit)
    }

    /// As [`Session::edit`], for edits of bytes: features that are not known do not stand in the way.
    pub(crate) fn edit_raw<T>(&mut self, edit: impl FnOnce(&mut Editor<'_>) -> Result<T>) -> Result<T> {
        self.check_writable()?;
        let now = self.time();
        self.volume.change_raw(now, edit)
    }

    /// Whether edits can be made at all, for commands that have something to do before.
    pub(crate) fn check_writable(&self) -> Result<()> {
        if !self.opening.writable {
            bail!("the image is open for reading only (-w opens it for writing)");
        }
        Ok(())
    }

    /// Runs a command so that it counts as a whole. `work` says whether it succeeded.
    pub(crate) fn whole(&mut self, work: impl FnOnce(&mut Self) -> bool) -> bool {
        let Some(savepoint) = self.volume.set_savepoint() else { return work(self) };
        let before = self.volume.edits().map(Arc::clone);
        let good = work(self);
        // A command may have opened another image, or ended the change.
        let same = match (&before, self.volume.edits()) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            _ => false,
        };
        if same {
            if good {
                self.volume.release_savepoint(savepoint);
            } else {
                self.volume.roll_back(savepoint);
            }
        }
        good
    }

    /// Begins a change of several commands.
    pub(crate) fn begin(&mut self) -> Result<()> {
        self.check_writable()?;
        if self.changes.begun() {
            bail!("a change was begun already; commit or abort it first");
        }
        self.changes.begun = self.volume.set_savepoint();
        Ok(())
    }

    /// Forgets what was edited since `begin`.
    pub(crate) fn abort(&mut self) -> Result<()> {
        let begun = self.changes.begun.take().context("no change was begun")?;
        self.volume.roll_back(begun);
        self.extent = None;
        Ok(())
    }

    /// Ends the change that was begun, and writes it.
    pub(crate) fn commit_begun(&mut self) -> Result<Option<Committed>> {
        let begun = self.changes.begun.take().context("no change was begun")?;
        self.volume.release_savepoint(begun);
        self.commit()
    }

    /// Writes all edits, durably; `None` in a dry run. Until then the image is as it was.
    pub(crate) fn commit(&mut self) -> Result<Option<Committed>> {
        if self.changes.dry_run {
            return Ok(None);
        }
        let (image, offset, now) = (self.opening.path().to_owned(), self.opening.offset, self.time());
        COMMITTING.store(true, Ordering::SeqCst);
        let done = match &self.target {
            Target::ReadOnly => Ok(Committed::Nothing),
            Target::Image(device) => self.volume.commit(&image, offset, &**device, now),
            Target::Undo(device) => self.volume.commit(&image, offset, &**device, now),
        };
        COMMITTING.store(false, Ordering::SeqCst);
        done.map(Some).context("the image was not changed")
    }

    /// Ends with the image: what was not committed is forgotten, the undo file is completed.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.changes.begun = None;
        if let Target::Undo(device) = std::mem::replace(&mut self.target, Target::ReadOnly)
            && let Some(device) = Arc::into_inner(device)
        {
            device.finish().context("the undo file is not complete")?;
        }
        Ok(())
    }
}
