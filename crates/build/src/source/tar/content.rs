//! The file that content is read from afterwards, with proof that it is what was looked through.

use crate::source::SourceError;
use crate::source::host;
use daxkit_format::ext4::inode::Timestamp;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The content of an archive's members. It is read by offset, by any number of threads.
#[derive(Debug)]
pub struct ContentFile {
    /// The archive itself, or what was put aside of a stream.
    pub file: File,
    archive: Option<Seen>,
}

/// An archive as it was when it was opened.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) path: PathBuf,
    stamp: Stamp,
}

/// What changes with a file: its length, mtime and ctime.
type Stamp = (u64, Timestamp, Timestamp);

impl Seen {
    pub(super) fn new(path: &Path, stat: &host::Stat) -> Self {
        Self { path: path.to_path_buf(), stamp: stamp(stat) }
    }

    /// True when the file is still as it was.
    pub(super) fn is_same(&self, file: &File) -> io::Result<bool> {
        Ok(host::stat(file, c"")?.is_some_and(|stat| stamp(&stat) == self.stamp))
    }
}

fn stamp(stat: &host::Stat) -> Stamp {
    (stat.size, stat.attributes.mtime, stat.attributes.ctime)
}

impl ContentFile {
    pub(super) const fn new(file: File, archive: Option<Seen>) -> Self {
        Self { file, archive }
    }

    /// The archive, where it is read in place; `None` for what was put aside, which nobody else can reach.
    #[must_use]
    pub fn archive(&self) -> Option<&Path> {
        self.archive.as_ref().map(|seen| &*seen.path)
    }

    /// Makes sure that the archive was not written to since it was opened. To be asked after content was read.
    ///
    /// # Errors
    /// It was, or the host cannot tell.
    pub fn check(&self) -> Result<(), SourceError> {
        let Some(seen) = &self.archive else { return Ok(()) };
        let path = seen.path.clone();
        match seen.is_same(&self.file) {
            Ok(true) => Ok(()),
            Ok(false) => Err(SourceError::Changed { path }),
            Err(source) => Err(SourceError::Unreadable { path, source }),
        }
    }
}
