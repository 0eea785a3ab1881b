//! What commands change, and when it is written.
//!
//! Every command counts as a whole or not at all: a savepoint is set before it, and taken back when it fails. What succeeded
//! is written by [`Session::commit`], all of it or none: after each command, after `commit`, when the image is closed, or at the
//! end of a script. A change of which a command failed is not written, except by somebody at a terminal, who saw it fail.

use crate::commands::External;
use crate::opening::Target;
use crate::session::Session;
use crate::{dry_run, signals};
use anyhow::{Context, Result, bail};
use daxkit_device::rollback::rollback_pending;
use daxkit_volume::ext4::edit::Savepoint;
use daxkit_volume::{Committed, Editor};
use std::sync::Arc;

/// How edits count together.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Each command is written by itself, unless it stands between `begin` and `commit`.
    pub(crate) each: bool,
    /// Somebody types the commands.
    pub(crate) typed: bool,
    /// The first failure is the end, and nothing is written then: commands need no savepoints.
    pub(crate) once: bool,
    /// A command of the present change failed.
    pub(crate) failed: bool,
    /// Something was edited. A journal that was replayed is no edit: it waits for one.
    edited: bool,
    /// Where `begin` stands, and whether something was edited before.
    begun: Option<(Savepoint, bool)>,
    /// How many devices beside the image were open then.
    externals: usize,
}

impl Changes {
    /// Whether a change was begun and not ended.
    pub(crate) fn begun(&self) -> bool {
        self.begun.is_some()
    }

    /// Forgets what concerns the image, which goes.
    pub(crate) fn forget(&mut self) {
        self.edited = false;
        self.begun = None;
    }

    /// Whether the present change must not be written.
    fn is_spoilt(&self) -> bool {
        self.failed && !self.typed
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
        let done = self.volume.change(now, edit)?;
        self.changes.edited = true;
        Ok(done)
    }

    /// As [`Session::edit`], for edits of bytes: features that are not known do not stand in the way.
    pub(crate) fn edit_raw<T>(&mut self, edit: impl FnOnce(&mut Editor<'_>) -> Result<T>) -> Result<T> {
        self.check_writable()?;
        let now = self.time();
        let done = self.volume.change_raw(now, edit)?;
        self.changes.edited = true;
        Ok(done)
    }

    /// As [`Session::edit_raw`], for an edit that is one write: it needs no savepoint of its own.
    pub(crate) fn edit_at_once<T>(&mut self, edit: impl FnOnce(&mut Editor<'_>) -> Result<T>) -> Result<T> {
        self.check_writable()?;
        let now = self.time();
        let done = edit(&mut self.volume.editor(now).context("the image is open for reading only")?)?;
        self.changes.edited = true;
        Ok(done)
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
        if self.changes.once {
            return work(self);
        }
        let Some(savepoint) = self.volume.set_savepoint() else { return work(self) };
        let edited = self.changes.edited;
        let before = self.volume.edits().map(Arc::clone);
        let externals = self.externals.len();
        self.externals.iter().for_each(External::set_savepoint);
        let good = work(self);
        // A command may have opened another image, or ended the change.
        let same = match (&before, self.volume.edits()) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            _ => false,
        };
        if same {
            if good {
                self.volume.release_savepoint(savepoint);
                self.externals.iter().take(externals).for_each(External::release_savepoint);
            } else {
                self.volume.roll_back(savepoint);
                self.roll_back_externals(externals);
                self.changes.edited = edited;
            }
        }
        good
    }

    /// Takes back what was written to devices beside the image since their savepoints; those that were opened since then are closed.
    fn roll_back_externals(&mut self, count: usize) {
        self.externals.truncate(count);
        self.externals.iter().for_each(External::roll_back);
    }

    /// Begins a change of several commands.
    pub(crate) fn begin(&mut self) -> Result<()> {
        self.check_writable()?;
        if self.changes.begun() {
            bail!("a change was begun already; commit or abort it first");
        }
        if self.changes.each {
            self.changes.failed = false;
        }
        let edited = self.changes.edited;
        self.changes.externals = self.externals.len();
        self.externals.iter().for_each(External::set_savepoint);
        self.changes.begun = self.volume.set_savepoint().map(|savepoint| (savepoint, edited));
        Ok(())
    }

    /// Forgets what was edited since `begin`.
    pub(crate) fn abort(&mut self) -> Result<()> {
        let (savepoint, edited) = self.changes.begun.take().context("no change was begun")?;
        self.volume.roll_back(savepoint);
        self.changes.edited = edited;
        self.extent = None;
        self.journal = None;
        self.roll_back_externals(self.changes.externals);
        Ok(())
    }

    /// Ends the change that was begun, and writes it.
    pub(crate) fn commit_begun(&mut self) -> Result<Option<Committed>> {
        if self.changes.is_spoilt() {
            self.abort()?;
            bail!("a command of this change failed; nothing of it is written");
        }
        let (savepoint, _) = self.changes.begun.take().context("no change was begun")?;
        self.volume.release_savepoint(savepoint);
        self.externals.iter().take(self.changes.externals).for_each(External::release_savepoint);
        self.commit()
    }

    /// Writes all edits, durably; `None` in a dry run. Until then the image is as it was.
    ///
    /// # Errors
    /// A command of the change failed: nothing was written. Or the image failed, which is then closed: it is as it was, or will be
    /// when it is opened the next time.
    pub(crate) fn commit(&mut self) -> Result<Option<Committed>> {
        if self.changes.is_spoilt() {
            bail!("a command of this change failed; nothing of it is written");
        }
        self.settle()?;
        if !self.changes.edited {
            return Ok(Some(Committed::Nothing));
        }
        let (image, offset, now) = (self.opening.path().to_owned(), self.opening.offset, self.time());
        let written = {
            let (volume, target) = (&mut self.volume, &mut self.target);
            match target {
                Target::ReadOnly => Ok(Committed::Nothing),
                Target::DryRun(_) => return Ok(None),
                Target::Image(device) => {
                    signals::hold(self.messages, || Ok(volume.commit(&image, offset, &**device, now)?))
                }
                Target::Undo(undo) => signals::hold(self.messages, || {
                    let device = undo.device(volume)?;
                    let done = volume.commit(&image, offset, device, now)?;
                    device.settle().context("the undo file is not complete")?;
                    Ok(done)
                }),
            }
        };
        self.changes.edited = false;
        if written.is_ok() && matches!(self.target, Target::Image(_) | Target::Undo(_)) {
            // The image first: a log that was replayed is emptied when its blocks are there, and one that is written only
            // now is not missed before.
            self.externals.iter().try_for_each(External::commit)?;
        }
        let Err(error) = written else { return written.map(Some) };
        self.drop_image()?;
        let then = if rollback_pending(&image) { ", and rolled back when it is opened again" } else { "" };
        Err(error.context(format!("the change was not written; the image is closed{then}")))
    }

    /// Writes what was changed, and closes the image.
    pub(crate) fn close(&mut self) -> Result<()> {
        if self.changes.begun() {
            bail!("a change was begun; commit or abort it first");
        }
        let shown = if self.changes.is_spoilt() { Ok(()) } else { dry_run::show(self) };
        let done = shown.and(self.commit().map(drop));
        self.finish();
        self.drop_image()?;
        done
    }

    /// Ends with the image: what was not written is forgotten.
    pub(crate) fn finish(&mut self) {
        self.together = None;
        self.changes.begun = None;
        if let Target::Undo(undo) = std::mem::replace(&mut self.target, Target::ReadOnly)
            && let Some(path) = undo.made()
        {
            let image = self.opening.path().display();
            self.messages.note(format_args!("e2undo {} {image} takes it back", path.display()));
        }
    }
}
