//! Where an archive goes.

use anyhow::{Result, anyhow};
use daxkit_device::{Existing, NewFile};
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;

/// A file of the host.
pub(super) enum Target {
    /// A regular file, which gets its name when it is complete.
    New(NewFile),
    /// What is there and no regular file, as a pipe or a device: it is written to, not replaced.
    There(File),
}

impl Target {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let known = match std::fs::metadata(path) {
            Ok(known) => known,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Self::New(NewFile::create(path, Existing::Refuse)?));
            }
            Err(error) => return Err(error.into()),
        };
        if known.is_dir() {
            return Err(anyhow!("is a directory"));
        }
        if known.is_file() {
            // A link stays one, and what it leads to is replaced.
            return Ok(Self::New(NewFile::create(&path.canonicalize()?, Existing::Replace)?));
        }
        Ok(Self::There(OpenOptions::new().write(true).open(path)?))
    }

    pub(super) fn file(&self) -> &File {
        match self {
            Self::New(new) => new.file(),
            Self::There(file) => file,
        }
    }

    /// Makes it durable, and gives it its name.
    pub(super) fn finish(self) -> Result<()> {
        match self {
            Self::New(new) => Ok(new.publish()?),
            Self::There(file) => match file.sync_all() {
                // A pipe keeps nothing.
                Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
                done => Ok(done?),
            },
        }
    }
}
