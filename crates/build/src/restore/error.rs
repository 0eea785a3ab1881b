//! Why a text is no image.

use daxkit_device::DeviceError;
use std::io;

/// A text that was not built. What was written until then is no image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The text has hashes in place of data.
    #[error(
        "line {line}: the text has hashes in place of data; only one with all of it (dump_image --data) can be built"
    )]
    Hashed {
        /// Counted from 1.
        line: u64,
    },
    /// Another version of the text form.
    #[error("line {line}: this is version {found} of the text form, not {expected}")]
    Version {
        /// Counted from 1.
        line: u64,
        /// What the text says.
        found: String,
        /// What can be read.
        expected: u32,
    },
    /// A line that cannot be understood, or asks for what cannot be.
    #[error("line {line}: {reason}")]
    Line {
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The text ends before its end.
    #[error("line {line}: the text ends here, without a line that says `end`")]
    Cut {
        /// Number of lines.
        line: u64,
    },
    /// The text could not be read.
    #[error("cannot read the text: {0}")]
    Read(#[source] io::Error),
    /// The image could not be made.
    #[error("cannot make the image: {0}")]
    Make(#[source] io::Error),
    /// The image could not be written, or read back.
    #[error("cannot write the image: {0}")]
    Device(#[from] DeviceError),
}

/// What is wrong with a line whose number somebody else knows.
#[derive(Debug)]
pub(super) enum Fault {
    Text(String),
    Hashed,
    Version(String),
    Device(DeviceError),
}

impl From<String> for Fault {
    fn from(reason: String) -> Self {
        Self::Text(reason)
    }
}

impl From<&str> for Fault {
    fn from(reason: &str) -> Self {
        Self::Text(reason.to_owned())
    }
}

impl From<DeviceError> for Fault {
    fn from(error: DeviceError) -> Self {
        Self::Device(error)
    }
}

impl Fault {
    pub(super) fn at(self, line: u64) -> RestoreError {
        match self {
            Self::Text(reason) => RestoreError::Line { line, reason },
            Self::Hashed => RestoreError::Hashed { line },
            Self::Version(found) => RestoreError::Version { line, found, expected: crate::dump::VERSION },
            Self::Device(DeviceError::OutOfRange { offset, len, .. }) => {
                RestoreError::Line { line, reason: format!("{len} bytes at byte {offset} are not inside the image") }
            }
            Self::Device(error) => RestoreError::Device(error),
        }
    }
}

/// What a line came to.
pub(super) type Read<T = ()> = Result<T, Fault>;
