//! Writes to the target and keeps the promises about it: a new file appears whole or not at all, an old target that could not be
//! overwritten in full is left unrecognisable.

use crate::target::{self, Target};
use anyhow::{Context, Result, anyhow};
use daxkit_build::options::Resolved;
use daxkit_cli::message::Messages;
use daxkit_device::new_file::Existing;
use daxkit_device::rollback::{self, RollbackError};
use daxkit_device::{BlockDevice, FileDevice, FileOptions, NewFile, UndoDevice, UndoOptions};
use std::path::Path;
use std::sync::Arc;

/// Where to write, and how.
pub(crate) struct Put<'a> {
    pub(crate) path: &'a Path,
    /// `-z`.
    pub(crate) undo: Option<&'a Path>,
    pub(crate) resolved: &'a Resolved,
    pub(crate) messages: &'a Messages,
}

impl Put<'_> {
    /// Prepares the target and has `work` write to it.
    pub(crate) fn write<T, E: Into<anyhow::Error>>(
        &self,
        target: Target,
        work: impl FnOnce(&Arc<dyn BlockDevice>) -> Result<T, E>,
    ) -> Result<T> {
        let named = || self.path.display().to_string();
        let resolved = self.resolved;
        let p = &resolved.params;
        let len = p.blocks_count * u64::from(p.block_size);
        let window = FileOptions::read_write().offset(resolved.offset).len(len).grow();
        match target {
            Target::New => {
                let new = NewFile::create(self.path, Existing::Refuse)?;
                let device = FileDevice::from_file(new.file().try_clone()?, self.path, window)?;
                new.set_len(resolved.image_len)?;
                let device: Arc<dyn BlockDevice> = Arc::new(device);
                let done = work(&device).map_err(Into::into).with_context(named)?;
                // One that a former image of this name has left behind.
                rollback::discard(self.path)?;
                new.publish()?;
                Ok(done)
            }
            Target::Existing(whole) => {
                let old_len = whole.len();
                self.settle_rollback(&whole)?;
                let window = if resolved.prezeroed { window.fresh() } else { window };
                let device = FileDevice::from_file(whole.file().try_clone()?, self.path, window)?;
                if !whole.is_block_device() && old_len < resolved.image_len {
                    whole.file().set_len(resolved.image_len).with_context(named)?;
                }
                let done = match self.undo {
                    None => self.overwrite(device, work),
                    Some(undo) => self.overwrite_with_undo(device, undo, work),
                };
                if done.is_err() && !whole.is_block_device() && old_len < resolved.image_len {
                    // The error at hand matters more than a length that cannot be put back.
                    let _ = whole.file().set_len(old_len);
                }
                done.with_context(named)
            }
        }
    }

    /// Deals with a change that was cut short. One of another part of the image is not to be lost. An undo file is to lead back to
    /// the image as it was before. Otherwise it does not matter what becomes of it, nor whether its rollback file can be read.
    fn settle_rollback(&self, whole: &FileDevice) -> Result<()> {
        let offset = self.resolved.offset;
        if self.undo.is_none() {
            return match rollback::pending_at(self.path) {
                Ok(Some(other)) if other != offset => {
                    Err(RollbackError::Elsewhere { path: rollback::rollback_path(self.path), offset: other }.into())
                }
                _ => Ok(()),
            };
        }
        let window = FileOptions::read_write().offset(offset);
        let device = Arc::new(FileDevice::from_file(whole.file().try_clone()?, self.path, window)?);
        if rollback::honour(self.path, offset, device)?.1 {
            self.messages.note(format!("{}: a change that was cut short was rolled back", self.path.display()));
        }
        Ok(())
    }

    /// Overwrites without a way back.
    fn overwrite<T, E: Into<anyhow::Error>>(
        &self,
        device: FileDevice,
        work: impl FnOnce(&Arc<dyn BlockDevice>) -> Result<T, E>,
    ) -> Result<T> {
        let resolved = self.resolved;
        if !resolved.prezeroed {
            target::wipe(&device, resolved.discard)?;
        }
        // What it leads back to is gone.
        rollback::discard(self.path)?;
        let device = Arc::new(device);
        let shared: Arc<dyn BlockDevice> = Arc::<FileDevice>::clone(&device);
        work(&shared).map_err(|error| {
            // What was written may hold copies of a superblock. The error at hand matters more than this one's.
            let _ = target::wipe(&device, resolved.discard);
            error.into()
        })
    }

    fn overwrite_with_undo<T, E: Into<anyhow::Error>>(
        &self,
        device: FileDevice,
        undo: &Path,
        work: impl FnOnce(&Arc<dyn BlockDevice>) -> Result<T, E>,
    ) -> Result<T> {
        let named = || format!("-z {}", undo.display());
        device.learn_holes(1 << 16)?;
        let undo_options = UndoOptions { fs_offset: self.resolved.offset, ..UndoOptions::default() };
        let device = Arc::new(UndoDevice::create(device, undo, undo_options).with_context(named)?);
        let done = {
            let shared: Arc<dyn BlockDevice> = Arc::<UndoDevice<FileDevice>>::clone(&device);
            target::zap(&shared).map_err(anyhow::Error::from).and_then(|()| work(&shared).map_err(Into::into))
        };
        if done.is_err() {
            target::zap(&device)?;
        }
        let device = Arc::into_inner(device).ok_or_else(|| anyhow!("the undo file is still in use"))?;
        device.finish().with_context(named)?;
        self.messages.note(format!("e2undo {} {} takes it back", undo.display(), self.path.display()));
        done
    }
}
