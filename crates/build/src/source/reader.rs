//! Content of the files of a scanned tree, with proof that they are what was scanned.

use super::error::SourceError;
use super::host::{self, Stat};
use super::tree::{Kind, NodeId, Time, Tree};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Opens files. One for each thread; it keeps the directory last used open, so files are best opened in the order of their ids.
pub struct Reader<'t> {
    tree: &'t Tree,
    root: OwnedFd,
    root_path: PathBuf,
    dir: Option<(NodeId, OwnedFd)>,
    noatime: bool,
}

/// A file of the tree, open for reading.
pub struct OpenFile<'t> {
    /// The file, at its start.
    pub file: File,
    tree: &'t Tree,
    id: NodeId,
    root_path: PathBuf,
}

impl<'t> Reader<'t> {
    /// A reader of the tree that was scanned from `root`.
    ///
    /// # Errors
    /// `root` cannot be opened any more.
    pub fn new(tree: &'t Tree, root: &Path) -> Result<Self, SourceError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(root, flags, Mode::empty())
            .map_err(|e| SourceError::Unreadable { path: root.to_path_buf(), source: e.into() })?;
        Ok(Self { tree, root: fd, root_path: root.to_path_buf(), dir: None, noatime: true })
    }

    /// Opens a file and makes sure that it is the one that was scanned: same type, size, mtime and ctime.
    ///
    /// # Errors
    /// It is not, or it cannot be opened.
    pub fn open(&mut self, id: NodeId) -> Result<OpenFile<'t>, SourceError> {
        let open = self.open_unchecked(id)?;
        open.check()?;
        Ok(open)
    }

    /// Reads a whole file into `buffer`, which is as long as the file was when it was scanned, and makes sure afterwards that it is
    /// that file and did not change: one question to the host less than [`Reader::open`] and [`OpenFile::finish`], which counts
    /// for small files.
    ///
    /// # Errors
    /// It is another file by now, it changed, or it cannot be read.
    pub fn read_whole(&mut self, id: NodeId, buffer: &mut [u8]) -> Result<(), SourceError> {
        let file = self.open_unchecked(id)?;
        let read = file.read_exact_at(buffer, 0);
        // That it is not the file any more says more than what reading it led to.
        file.check()?;
        read
    }

    fn open_unchecked(&mut self, id: NodeId) -> Result<OpenFile<'t>, SourceError> {
        let error = |root: &Path, tree: &Tree, errno: Errno| {
            let path = host_path(root, tree, id);
            match errno {
                Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::STALE | Errno::NXIO => {
                    SourceError::Changed { path }
                }
                other => SourceError::Unreadable { path, source: other.into() },
            }
        };
        let parent = self.tree.parent(id);
        let dir = match self.dir.take() {
            Some((at, fd)) if at == parent => fd,
            _ => host::open_dir(&self.root, &self.tree.path(parent), OFlags::PATH)
                .map_err(|e| error(&self.root_path, self.tree, e))?,
        };
        let opened = CString::new(self.tree.name(id))
            .map_err(|_| Errno::INVAL)
            .and_then(|name| host::open_file(&dir, &name, &mut self.noatime));
        self.dir = Some((parent, dir));
        let fd = opened.map_err(|e| error(&self.root_path, self.tree, e))?;
        Ok(OpenFile { file: fd.into(), tree: self.tree, id, root_path: self.root_path.clone() })
    }
}

impl OpenFile<'_> {
    /// Which file it is.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// Its length as it was scanned.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.tree.size(self.id)
    }

    /// The file's path on the host, for messages.
    #[must_use]
    pub fn host_path(&self) -> PathBuf {
        host_path(&self.root_path, self.tree, self.id)
    }

    /// Fills the buffer from this offset of the file.
    ///
    /// # Errors
    /// The file ends before, or cannot be read.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), SourceError> {
        self.file.read_exact_at(buffer, offset).map_err(|e| self.read_error(e))
    }

    /// The error for a failed read of this file by other means.
    #[must_use]
    pub fn read_error(&self, source: std::io::Error) -> SourceError {
        let path = self.host_path();
        if source.kind() == std::io::ErrorKind::UnexpectedEof {
            SourceError::Short { path }
        } else {
            SourceError::Unreadable { path, source }
        }
    }

    /// Makes sure that the file did not change while it was read.
    ///
    /// # Errors
    /// It did.
    pub fn finish(self) -> Result<(), SourceError> {
        self.check()
    }

    fn check(&self) -> Result<(), SourceError> {
        let stat = host::stat(&self.file, c"")
            .map_err(|e| SourceError::Unreadable { path: self.host_path(), source: e.into() })?;
        let same = |s: &Stat| {
            s.kind == Kind::File
                && self.tree.kind(self.id) == Kind::File
                && s.size == self.tree.size(self.id)
                && (Time::from(s.attributes.mtime), Time::from(s.attributes.ctime)) == self.tree.packed_times(self.id)
        };
        if stat.as_ref().is_some_and(same) { Ok(()) } else { Err(SourceError::Changed { path: self.host_path() }) }
    }
}

fn host_path(root: &Path, tree: &Tree, id: NodeId) -> PathBuf {
    let mut path = root.as_os_str().as_bytes().to_vec();
    while path.last() == Some(&b'/') {
        path.pop();
    }
    path.extend_from_slice(&tree.path(id));
    PathBuf::from(OsString::from_vec(path))
}
