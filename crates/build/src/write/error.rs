//! Why an image could not be written.

use crate::source::SourceError;
use daxkit_device::{CopyError, DeviceError};
use std::path::PathBuf;

/// Why writing stopped. The superblock was not written then.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A source file changed or cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The target cannot be written.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Somebody asked to stop.
    #[error("interrupted")]
    Cancelled,
    /// The device is shorter than the plan.
    #[error("the target has {have} bytes, the file system needs {need}")]
    TooShort {
        /// Bytes of the device.
        have: u64,
        /// Bytes of the file system.
        need: u64,
    },
}

impl WriteError {
    /// The error of a copy from the file at `path`.
    pub(crate) fn of_copy(path: PathBuf, error: CopyError) -> Self {
        match error {
            CopyError::Source(source) => Self::Source(SourceError::Unreadable { path, source }),
            CopyError::SourceShort { .. } => Self::Source(SourceError::Short { path }),
            CopyError::Target(e) => Self::Device(e),
        }
    }
}
