//! What can go wrong with a source. Each message is one line whatever the names hold: paths are quoted and escaped.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a directory could not be taken as a source.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The source itself cannot be opened as a directory.
    #[error("cannot open the source directory {path:?}: {source}")]
    Root {
        /// The directory.
        path: PathBuf,
        /// The host's reason.
        source: io::Error,
    },
    /// Something below it cannot be read.
    #[error("cannot {what} {path:?}: {source}")]
    Unreadable {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The host's reason.
        source: io::Error,
    },
    /// It was there when its directory was listed and was gone, or another thing, a moment later.
    #[error("{path:?} changed while it was read")]
    Changed {
        /// What changed.
        path: PathBuf,
    },
    /// A name no directory entry can hold.
    #[error("the name of {path:?} has {len} bytes, a directory entry holds 255")]
    NameTooLong {
        /// Which.
        path: PathBuf,
        /// Bytes of its name.
        len: usize,
    },
    /// More names than the tree can number.
    #[error("the source has more than {limit} {what}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much would fit.
        limit: u64,
    },
    /// It was told to stop.
    #[error("cancelled")]
    Cancelled,
}

/// Something that was left out, and why: a line of warning.
#[derive(Debug)]
pub struct Skipped {
    /// What was left out.
    pub path: PathBuf,
    /// Why.
    pub reason: SkipReason,
}

/// Why something was left out.
#[derive(Debug)]
pub enum SkipReason {
    /// It cannot be read. For a directory that cannot be listed the directory itself stays, empty.
    Unreadable {
        /// What was tried.
        what: &'static str,
        /// The host's reason.
        source: io::Error,
    },
    /// It was gone when it was looked at.
    Vanished,
    /// Its name is longer than 255 bytes.
    NameTooLong,
    /// One of its extended attributes belongs to a namespace ext4 cannot store; the rest of it stays.
    Xattr {
        /// The attribute's full name.
        name: Vec<u8>,
    },
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.reason {
            SkipReason::Unreadable { what, source } => write!(f, "skipped {path:?}: cannot {what} it: {source}"),
            SkipReason::Vanished => write!(f, "skipped {path:?}: it vanished while its directory was read"),
            SkipReason::NameTooLong => write!(f, "skipped {path:?}: its name is longer than 255 bytes"),
            SkipReason::Xattr { name } => {
                write!(f, "left out attribute {} of {path:?}: ext4 has no place for its namespace", name.escape_ascii())
            }
        }
    }
}

/// Why the content of a file could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file is not the one that was scanned: another type, size or time, or gone.
    #[error("{path:?} changed while the image was made")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be opened or read.
    #[error("cannot read {path:?}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The host's reason.
        source: io::Error,
    },
    /// Nothing says where its bytes come from: a mistake of the program.
    #[error("nothing holds the content of {path:?}")]
    Nowhere {
        /// The file's path in the image.
        path: PathBuf,
    },
    /// It ended before the length it was scanned with.
    #[error("{path:?} ended early: it shrank while the image was made")]
    Short {
        /// The file.
        path: PathBuf,
    },
}
