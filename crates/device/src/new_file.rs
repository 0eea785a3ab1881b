//! A target that appears whole or not at all.
//!
//! The content grows in a file without a name (`O_TMPFILE`) in the target's directory; `publish` makes it durable and
//! gives it the name in one step. A process that dies before leaves nothing. Where the host has no such files, a hidden
//! name beside the target stands in; only a process that is killed can leave that one behind.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, linkat, openat, renameat, renameat_with, unlinkat};
use rustix::io::Errno;

use crate::error::OpenError;
use crate::file::{FileDevice, FileOptions};

/// What becomes of a file that has the target's name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and publishing fails.
    Refuse,
    /// It is replaced in one step, so that the name always means a whole file: the old or the new one.
    Replace,
}

/// A file that has no name until it is published. Dropped before, it leaves nothing.
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    dir: File,
    name: OsString,
    file: File,
    existing: Existing,
    /// The hidden name, where the host has no files without one.
    hidden: Option<OsString>,
}

impl NewFile {
    /// Begins a file that will be `path`. It can be read and written, and is empty.
    ///
    /// # Errors
    /// Also when `path` is a directory, or exists and is to stay.
    pub fn create(path: &Path, existing: Existing) -> Result<Self, OpenError> {
        Self::begin(path, existing, true)
    }

    fn begin(path: &Path, existing: Existing, try_nameless: bool) -> Result<Self, OpenError> {
        let fail = |op| move |e: io::Error| OpenError::from_io(path, op, e);
        match fs::symlink_metadata(path) {
            Ok(meta) if meta.is_dir() => {
                return Err(OpenError::IsDirectory { path: path.to_owned() });
            }
            Ok(_) if existing == Existing::Refuse => {
                return Err(OpenError::AlreadyExists { path: path.to_owned() });
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(fail("create")(error)),
        }
        let Some(name) = path.file_name().map(OsStr::to_owned) else {
            return Err(OpenError::IsDirectory { path: path.to_owned() });
        };
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let dir_flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = File::from(openat(CWD, parent, dir_flags, Mode::empty()).map_err(|e| fail("create")(e.into()))?);
        let (file, hidden) = match try_nameless.then(|| nameless(&dir)) {
            Some(Ok(file)) => (file, None),
            // The kernel or the file system is too old for files without a name. A kernel that does not know the flag sees
            // an attempt to open a directory for writing.
            None | Some(Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT)) => {
                with_hidden_name(&name, |hidden| {
                    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                    openat(&dir, hidden, flags, Mode::from_raw_mode(0o666)).map(File::from)
                })
                .map(|(file, hidden)| (file, Some(hidden)))
                .map_err(|e| fail("create")(e.into()))?
            }
            Some(Err(errno)) => return Err(fail("create")(errno.into())),
        };
        Ok(Self { path: path.to_owned(), dir, name, file, existing, hidden })
    }

    /// The name it will have.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file, open for reading and writing.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Sets the length. What is new reads as zero and takes no space.
    ///
    /// # Errors
    /// The host's limit, for instance.
    pub fn set_len(&self, len: u64) -> Result<(), OpenError> {
        self.file.set_len(len).map_err(|e| OpenError::from_io(&self.path, "extend", e))
    }

    /// The file as a device of `len` bytes that are all known to be zero. To be asked for once, before anything is written.
    ///
    /// # Errors
    /// The host's limit, for instance.
    pub fn device(&self, len: u64) -> Result<FileDevice, OpenError> {
        let file = self.file.try_clone().map_err(|e| OpenError::from_io(&self.path, "open", e))?;
        FileDevice::from_file(file, &self.path, FileOptions::read_write().len(len).grow())
    }

    /// Makes the content durable, gives the file its name, and makes the name durable.
    ///
    /// # Errors
    /// [`OpenError::AlreadyExists`] when the name has been taken meanwhile and is to stay. Nothing is left behind then.
    pub fn publish(mut self) -> Result<(), OpenError> {
        self.file.sync_all().map_err(|e| OpenError::from_io(&self.path, "flush", e))?;
        self.name_it().map_err(|e| OpenError::from_io(&self.path, "create", e.into()))?;
        self.dir.sync_all().map_err(|e| OpenError::from_io(&self.path, "flush", e))
    }

    fn name_it(&mut self) -> Result<(), Errno> {
        match (&self.hidden, self.existing) {
            (None, Existing::Refuse) => self.link_as(&self.name),
            (None, Existing::Replace) => {
                // A link cannot replace; a rename can. From here on there is a hidden name that Drop must know.
                let ((), hidden) = with_hidden_name(&self.name, |hidden| self.link_as(hidden))?;
                self.hidden = Some(hidden);
                self.rename()
            }
            (Some(_), Existing::Replace) => self.rename(),
            (Some(hidden), Existing::Refuse) => {
                match renameat_with(&self.dir, hidden, &self.dir, &self.name, RenameFlags::NOREPLACE) {
                    // A link refuses to replace on every host; Drop takes the hidden name away.
                    Err(Errno::INVAL | Errno::NOSYS) => {
                        linkat(&self.dir, hidden, &self.dir, &self.name, AtFlags::empty())
                    }
                    Err(errno) => Err(errno),
                    Ok(()) => {
                        self.hidden = None;
                        Ok(())
                    }
                }
            }
        }
    }

    fn rename(&mut self) -> Result<(), Errno> {
        if let Some(hidden) = &self.hidden {
            renameat(&self.dir, hidden, &self.dir, &self.name)?;
        }
        self.hidden = None;
        Ok(())
    }

    /// Gives a nameless file a name.
    fn link_as(&self, name: &OsStr) -> Result<(), Errno> {
        let by_proc = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        match linkat(CWD, by_proc, &self.dir, name, AtFlags::SYMLINK_FOLLOW) {
            // No /proc: the direct way needs a privilege, but not /proc.
            Err(Errno::NOENT) => linkat(&self.file, "", &self.dir, name, AtFlags::EMPTY_PATH),
            other => other,
        }
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(hidden) = &self.hidden {
            // Nothing can be done about a failure, and nobody could be told.
            let _ = unlinkat(&self.dir, hidden, AtFlags::empty());
        }
    }
}

pub(crate) fn nameless(dir: &File) -> Result<File, Errno> {
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    openat(dir, ".", flags, Mode::from_raw_mode(0o666)).map(File::from)
}

/// Tries hidden names until `make` finds one that is free.
fn with_hidden_name<T>(name: &OsStr, make: impl Fn(&OsStr) -> Result<T, Errno>) -> Result<(T, OsString), Errno> {
    let pid = std::process::id();
    for n in 0..10_000u32 {
        let mut hidden = OsString::from(".");
        // The name may be as long as names can be; the hidden one must fit too.
        if name.len() <= 200 {
            hidden.push(name);
        }
        hidden.push(format!(".{pid}-{n}.daxkit-new"));
        match make(&hidden) {
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
            Ok(made) => return Ok((made, hidden)),
        }
    }
    Err(Errno::EXIST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::BlockDevice;

    fn names(dir: &Path) -> Vec<OsString> {
        let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn it_appears_whole_or_not_at_all() {
        for nameless in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("image");
            let new = NewFile::begin(&path, Existing::Refuse, nameless).unwrap();
            assert_eq!(new.hidden.is_none(), nameless);
            let device = new.device(1 << 20).unwrap();
            assert!(device.known_zero(0, 1 << 20));
            device.write_at(5, b"content").unwrap();
            assert!(!path.exists());
            new.publish().unwrap();
            assert_eq!(names(dir.path()), ["image"]);
            let bytes = fs::read(&path).unwrap();
            assert_eq!((bytes.len(), &bytes[5..12]), (1 << 20, &b"content"[..]));
        }
    }

    #[test]
    fn dropped_unpublished_it_leaves_nothing() {
        for nameless in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let new = NewFile::begin(&dir.path().join("image"), Existing::Refuse, nameless).unwrap();
            new.set_len(4096).unwrap();
            drop(new);
            assert!(names(dir.path()).is_empty());
        }
    }

    #[test]
    fn a_name_that_has_been_taken_stays_unless_told_otherwise() {
        for nameless in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("image");
            let new = NewFile::begin(&path, Existing::Refuse, nameless).unwrap();
            let other = NewFile::begin(&path, Existing::Replace, nameless).unwrap();
            fs::write(&path, b"mine").unwrap();
            assert!(matches!(new.publish(), Err(OpenError::AlreadyExists { .. })));
            assert_eq!(fs::read(&path).unwrap(), b"mine");
            other.set_len(3).unwrap();
            other.publish().unwrap();
            assert_eq!(fs::read(&path).unwrap(), [0; 3]);
            assert_eq!(names(dir.path()), ["image"]);
            assert!(matches!(NewFile::create(&path, Existing::Refuse), Err(OpenError::AlreadyExists { .. })));
        }
    }

    #[test]
    fn wrong_places_are_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(NewFile::create(dir.path(), Existing::Replace), Err(OpenError::IsDirectory { .. })));
        let gone = dir.path().join("no/such");
        let error = NewFile::create(&gone, Existing::Refuse).unwrap_err();
        assert_eq!(error.to_string(), format!("{}: no such file or directory", gone.display()));
        let long = dir.path().join("x".repeat(255));
        NewFile::begin(&long, Existing::Refuse, false).unwrap().publish().unwrap();
        assert!(long.exists());
    }
}
