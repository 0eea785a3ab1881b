//! Changes in place, all or nothing: a rollback file beside the image leads back as long as they are not complete.
//!
//! The file is an undo file (`e2undo` reads it). It is made under another name and gets its own when every pre-image is
//! durable; only then does the image change; when the image is durable it goes. So where the name stands, the image may be half
//! changed, and whoever opens the image rolls it back first. The Linux kernel does not know this file: an image that is mounted
//! while it stands is mounted half changed.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::block::BlockDevice;
use crate::error::DeviceError;
use crate::overlay::Overlay;
use crate::undo::{Applied, UndoDevice, UndoError, UndoOptions, apply_undo, fs_offset};

/// What follows the image's name in that of its rollback file.
const SUFFIX: &str = ".daxkit-rollback";
/// What follows that while the file is being made.
const UNFINISHED: &str = ".new";

/// Why changes were not made, or not taken back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RollbackError {
    /// The rollback file could not be made, used or removed.
    #[error("rollback file {path:?}: {source}")]
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: UndoError,
    },
    /// A change that was cut short waits for being rolled back; its rollback file must not be lost to another one.
    #[error("{path:?} stands: the image must be rolled back before it can be changed")]
    Pending {
        /// The rollback file.
        path: PathBuf,
    },
    /// A change that was cut short waits for being rolled back, in another part of the image.
    #[error("{path:?} stands, for the file system at byte {offset} of the image: open that for writing first")]
    Elsewhere {
        /// The rollback file.
        path: PathBuf,
        /// Where that file system begins.
        offset: u64,
    },
    /// The image failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// The rollback file of an image. An image has one, whatever symbolic links lead to it.
#[must_use]
pub fn rollback_path(image: &Path) -> PathBuf {
    let mut name = OsString::from(fs::canonicalize(image).unwrap_or_else(|_| image.to_owned()));
    name.push(SUFFIX);
    PathBuf::from(name)
}

/// Whether an image waits for being rolled back.
#[must_use]
pub fn rollback_pending(image: &Path) -> bool {
    fs::symlink_metadata(rollback_path(image)).is_ok()
}

/// Where the file system that waits for being rolled back begins in its image; `None` when none waits.
///
/// # Errors
/// The rollback file cannot be read, or is none.
pub fn pending_at(image: &Path) -> Result<Option<u64>, RollbackError> {
    let path = rollback_path(image);
    let Some(file) = open(&path)? else { return Ok(None) };
    fs_offset(&file).map(Some).map_err(|source| RollbackError::File { path, source })
}

/// The rollback file, if it stands.
fn open(path: &Path) -> Result<Option<File>, RollbackError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => {
            Err(RollbackError::File { path: path.to_owned(), source: UndoError::File { op: "open", source } })
        }
    }
}

/// Rolls back what an interrupted run has half changed; `None` when there is nothing to roll back. `device` is the image (or an
/// overlay over it, for who may not write: then the file stays, see [`finish_roll_back`]).
///
/// # Errors
/// The rollback file is damaged or belongs to something else; nothing has been changed then. Or the device failed; then it can be
/// tried again.
pub fn roll_back(image: &Path, device: &dyn BlockDevice) -> Result<Option<Applied>, RollbackError> {
    let path = rollback_path(image);
    let Some(file) = open(&path)? else { return Ok(None) };
    apply_undo(&file, device).map(Some).map_err(|source| RollbackError::File { path, source })
}

/// The device of an image, from byte `offset` of it on, as it was before a run that was cut short, and whether there was one. A
/// device open for writing is rolled back in place and the file removed; over one open for reading the old content lies in memory.
/// Every tool that opens an image calls this first.
///
/// # Errors
/// As [`roll_back`] and [`finish_roll_back`]; or what waits is another part of the image, which somebody who only reads this one
/// leaves alone.
pub fn honour(
    image: &Path,
    offset: u64,
    device: Arc<dyn BlockDevice>,
) -> Result<(Arc<dyn BlockDevice>, bool), RollbackError> {
    let Some(home) = pending_at(image)? else { return Ok((device, false)) };
    let read_only = device.geometry().read_only;
    if home != offset {
        if read_only {
            return Ok((device, false));
        }
        return Err(RollbackError::Elsewhere { path: rollback_path(image), offset: home });
    }
    if read_only {
        let overlay = Arc::new(Overlay::new(device));
        let rolled_back = roll_back(image, &*overlay)?.is_some();
        return Ok((overlay, rolled_back));
    }
    let rolled_back = roll_back(image, &*device)?.is_some();
    device.flush()?;
    finish_roll_back(image)?;
    Ok((device, rolled_back))
}

/// Removes the rollback file of an image that was rolled back and is durable.
///
/// # Errors
/// The host refuses.
pub fn finish_roll_back(image: &Path) -> Result<(), RollbackError> {
    let path = rollback_path(image);
    remove(&path).map_err(|source| RollbackError::File { path, source })
}

/// Removes what an interrupted run has left beside an image whose content does not matter any more, because it was made
/// unrecognisable, or there is none. Returns whether a rollback file was there.
///
/// # Errors
/// The host refuses.
pub fn discard(image: &Path) -> Result<bool, RollbackError> {
    let path = rollback_path(image);
    let unfinished = unfinished(&path);
    let gone = |path: &Path| match remove(path) {
        Ok(()) => Ok(true),
        Err(UndoError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(RollbackError::File { path: path.to_owned(), source }),
    };
    gone(&unfinished)?;
    gone(&path)
}

/// The name of a rollback file while it is being made.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED);
    PathBuf::from(name)
}

/// Writes the changes of an overlay into `device`, which lies below it and is the image at `image`, all or none of them.
/// `fs_offset` is where the device begins in the image.
///
/// # Errors
/// The rollback file cannot be made, or there is one: nothing has been changed. Or the device failed: the image is as before, or is
/// when it is rolled back, which has been tried.
pub fn write_all_or_none<D: BlockDevice>(
    image: &Path,
    fs_offset: u64,
    device: &dyn BlockDevice,
    changes: &Overlay<D>,
) -> Result<(), RollbackError> {
    let path = rollback_path(image);
    let fail = |source| RollbackError::File { path: path.clone(), source };
    if rollback_pending(image) {
        return Err(RollbackError::Pending { path });
    }
    let unfinished = unfinished(&path);
    // Left by a run that was cut short before it changed anything.
    match fs::remove_file(&unfinished) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(fail(UndoError::File { op: "remove", source }));
        }
        _ => {}
    }
    let saved = save(&unfinished, fs_offset, device, changes).and_then(|()| {
        fs::rename(&unfinished, &path).map_err(|source| UndoError::File { op: "rename", source })?;
        sync_dir(&path)
    });
    if let Err(error) = saved {
        // Nothing has been changed; what the file held does not matter.
        let _ = fs::remove_file(&unfinished);
        return Err(fail(error));
    }
    let written = changes.apply_to(device).and_then(|()| device.flush());
    if let Err(error) = written {
        if roll_back(image, device).is_ok() {
            remove(&path).map_err(fail)?;
        }
        return Err(error.into());
    }
    remove(&path).map_err(fail)
}

/// Saves what the changes will overwrite, durably.
fn save<D: BlockDevice>(
    path: &Path,
    fs_offset: u64,
    device: &dyn BlockDevice,
    changes: &Overlay<D>,
) -> Result<(), UndoError> {
    let options = UndoOptions { fs_offset, ..UndoOptions::default() };
    let undo = UndoDevice::create(device, path, options)?;
    let ranges: Vec<_> = changes.changes().into_iter().map(|change| change.range).collect();
    undo.save(&ranges)?;
    Ok(())
}

fn remove(path: &Path) -> Result<(), UndoError> {
    fs::remove_file(path).map_err(|source| UndoError::File { op: "remove", source })?;
    sync_dir(path)
}

/// Makes the names in a file's directory durable.
fn sync_dir(path: &Path) -> Result<(), UndoError> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(|source| UndoError::File { op: "flush", source })
}
