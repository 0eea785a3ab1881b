//! Content of the files of a source, with proof that they are what was scanned.
//!
//! In a file that holds the content of others, that of one file lies in one piece from its offset on; of a sparse file its
//! ranges of data lie there one after the other, without the holes between them.

use super::error::SourceError;
use super::host::{self, Stat};
use super::pattern::fill_pieces;
use super::roots::{Made, Origin, Root, Source, Stamp, same_times};
use super::tar::ContentFile;
use super::tree::{Kind, NodeId, Tree};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The content of files that have none: zeroes as far as they go.
static NOTHING: Made = Made::Bytes(Vec::new());

/// Opens files. One for each thread; it keeps the directory last used open, so files are best opened in the order of their ids.
pub struct Reader<'s> {
    source: &'s Source,
    /// The directories of the host, by the number of their root.
    roots: Vec<Option<OwnedFd>>,
    /// Root, node in its tree, and the directory last used.
    dir: Option<(usize, NodeId, OwnedFd)>,
    noatime: bool,
}

/// A file of the source, open for reading.
pub struct OpenFile<'s> {
    body: Body<'s>,
    size: u64,
}

enum Body<'s> {
    /// A file of a scanned directory: its root, the tree that was scanned from it, its node there.
    Scanned { file: File, root: &'s Path, tree: &'s Tree, id: NodeId },
    /// A file of the host by itself.
    Single { file: File, path: &'s Path, stamp: Stamp },
    /// Part of a file that holds the content of others.
    Stored { file: &'s File, name: &'s Path, at: u64 },
    /// The same of a sparse file.
    Sparse { file: &'s File, name: &'s Path, ranges: StoredRanges<'s> },
    /// Made by rule.
    Made(&'s Made),
}

impl<'s> Reader<'s> {
    /// A reader of the source's files.
    ///
    /// # Errors
    /// A directory cannot be opened any more.
    pub fn new(source: &'s Source) -> Result<Self, SourceError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |root: &Root| match root {
            Root::Directory(path, _) => rustix::fs::open(path, flags, Mode::empty())
                .map(Some)
                .map_err(|e| SourceError::Unreadable { path: path.clone(), source: e.into() }),
            Root::Stored(..) | Root::Made(_) => Ok(None),
        };
        let roots = source.roots().iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { source, roots, dir: None, noatime: true })
    }

    /// Opens a file and makes sure that it is the one that was scanned: same type, size, mtime and ctime.
    ///
    /// # Errors
    /// It is not, or it cannot be opened.
    pub fn open(&mut self, id: NodeId) -> Result<OpenFile<'s>, SourceError> {
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

    fn open_unchecked(&mut self, id: NodeId) -> Result<OpenFile<'s>, SourceError> {
        let source = self.source;
        let id = source.tree().primary(id);
        let size = source.tree().size(id);
        let origin = source.origin(id);
        let nowhere = || SourceError::Nowhere { path: PathBuf::from(OsString::from_vec(source.tree().path(id))) };
        if origin == Origin::NOWHERE {
            return Ok(OpenFile { body: Body::Made(&NOTHING), size });
        }
        let body = match source.roots().get(origin.root()).ok_or_else(nowhere)? {
            Root::Directory(path, own) => {
                let tree = own.as_ref().unwrap_or(source.tree());
                self.open_scanned(origin.root(), path, tree, NodeId(origin.at() as u32))?
            }
            Root::Stored(ContentFile { file, .. }, name) => match source.tree().data_ranges(id) {
                None => Body::Stored { file, name, at: origin.at() },
                Some(ranges) => Body::Sparse { file, name, ranges: StoredRanges::new(ranges, origin.at()) },
            },
            Root::Made(list) => match list.get(origin.at() as usize).ok_or_else(nowhere)? {
                Made::Host(path, stamp) => Body::Single { file: open_single(path)?, path, stamp: *stamp },
                made => Body::Made(made),
            },
        };
        Ok(OpenFile { body, size })
    }

    fn open_scanned(
        &mut self,
        root: usize,
        path: &'s Path,
        tree: &'s Tree,
        id: NodeId,
    ) -> Result<Body<'s>, SourceError> {
        let error = |errno: Errno| {
            let path = host_path(path, tree, id);
            match errno {
                Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::STALE | Errno::NXIO => {
                    SourceError::Changed { path }
                }
                other => SourceError::Unreadable { path, source: other.into() },
            }
        };
        let parent = tree.parent(id);
        let dir = match self.dir.take() {
            Some((r, at, fd)) if (r, at) == (root, parent) => fd,
            _ => {
                let fd = self.roots.get(root).and_then(Option::as_ref).ok_or_else(|| error(Errno::BADF))?;
                host::open_dir(fd, &tree.path(parent), OFlags::PATH).map_err(error)?
            }
        };
        let opened = CString::new(tree.name(id))
            .map_err(|_| Errno::INVAL)
            .and_then(|name| host::open_file(&dir, &name, &mut self.noatime));
        self.dir = Some((root, parent, dir));
        Ok(Body::Scanned { file: opened.map_err(error)?.into(), root: path, tree, id })
    }
}

fn open_single(path: &Path) -> Result<File, SourceError> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(|source| SourceError::Unreadable { path: path.to_path_buf(), source })
}

impl OpenFile<'_> {
    /// Its length as it was scanned.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Where its bytes come from on the host, for messages.
    #[must_use]
    pub fn host_path(&self) -> PathBuf {
        match &self.body {
            Body::Scanned { root, tree, id, .. } => host_path(root, tree, *id),
            Body::Single { path, .. } => path.to_path_buf(),
            Body::Stored { name, .. } | Body::Sparse { name, .. } => name.to_path_buf(),
            Body::Made(_) => PathBuf::new(),
        }
    }

    /// Fills the buffer from this offset of the file.
    ///
    /// # Errors
    /// The file ends before, or cannot be read.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), SourceError> {
        match &self.body {
            Body::Scanned { file, .. } | Body::Single { file, .. } => {
                file.read_exact_at(buffer, offset).map_err(|e| self.read_error(e))
            }
            Body::Stored { file, at, .. } => {
                file.read_exact_at(buffer, at.saturating_add(offset)).map_err(|e| self.read_error(e))
            }
            Body::Sparse { file, ranges, .. } => {
                buffer.fill(0);
                let end = offset.saturating_add(buffer.len() as u64);
                for (part, stored_at) in ranges.parts(offset..end) {
                    let to = buffer.get_mut((part.start - offset) as usize..(part.end - offset) as usize);
                    file.read_exact_at(to.unwrap_or_default(), stored_at).map_err(|e| self.read_error(e))?;
                }
                Ok(())
            }
            Body::Made(made) => {
                match made {
                    Made::Bytes(bytes) => {
                        let from = bytes.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or_default();
                        let n = from.len().min(buffer.len());
                        let (have, rest) = buffer.split_at_mut(n);
                        have.copy_from_slice(from.get(..n).unwrap_or_default());
                        rest.fill(0);
                    }
                    Made::Pieces(pieces) => fill_pieces(pieces, offset, buffer),
                    Made::Host(..) => buffer.fill(0),
                }
                Ok(())
            }
        }
    }

    /// The file of the host and the offset in it that hold the first bytes of a range of this one, and how many of them follow
    /// each other there; `None` where they have to be read.
    #[must_use]
    pub fn in_host_file(&self, range: Range<u64>) -> Option<(&File, u64, u64)> {
        let len = range.end.checked_sub(range.start)?;
        match &self.body {
            Body::Scanned { file, .. } | Body::Single { file, .. } => Some((file, range.start, len)),
            Body::Stored { file, at, .. } => Some((file, at.checked_add(range.start)?, len)),
            Body::Sparse { file, ranges, .. } => {
                let (part, stored_at) = ranges.parts(range.clone()).next()?;
                (part.start == range.start).then_some((*file, stored_at, part.end - part.start))
            }
            Body::Made(_) => None,
        }
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
        match &self.body {
            Body::Scanned { file, tree, id, .. } => {
                let stat = host::stat(file, c"")
                    .map_err(|e| SourceError::Unreadable { path: self.host_path(), source: e.into() })?;
                let same = |s: &Stat| {
                    s.kind == Kind::File
                        && tree.kind(*id) == Kind::File
                        && s.size == tree.size(*id)
                        && same_times(tree, *id, s.attributes.mtime.into(), s.attributes.ctime.into())
                };
                if stat.as_ref().is_some_and(same) {
                    Ok(())
                } else {
                    Err(SourceError::Changed { path: self.host_path() })
                }
            }
            Body::Single { file, path, stamp } => {
                let unreadable = |source| SourceError::Unreadable { path: path.to_path_buf(), source };
                if Stamp::of(&file.metadata().map_err(unreadable)?) == *stamp {
                    Ok(())
                } else {
                    Err(SourceError::Changed { path: path.to_path_buf() })
                }
            }
            Body::Stored { .. } | Body::Sparse { .. } | Body::Made(_) => Ok(()),
        }
    }
}

/// Where the ranges of a sparse file lie in the file that stores them.
struct StoredRanges<'s> {
    ranges: &'s [Range<u64>],
    /// The place of each.
    places: Vec<u64>,
}

impl<'s> StoredRanges<'s> {
    fn new(ranges: &'s [Range<u64>], at: u64) -> Self {
        let mut next = at;
        let mut place = |r: &Range<u64>| {
            let here = next;
            next = next.saturating_add(r.end - r.start);
            here
        };
        Self { ranges, places: ranges.iter().map(&mut place).collect() }
    }

    /// The parts of `wanted` that are stored, each with its place.
    fn parts(&self, wanted: Range<u64>) -> impl Iterator<Item = (Range<u64>, u64)> + '_ {
        let first = self.ranges.partition_point(|r| r.end <= wanted.start);
        let all = self.ranges.iter().zip(&self.places).skip(first);
        all.take_while({
            let end = wanted.end;
            move |(r, _)| r.start < end
        })
        .map(move |(r, place)| {
            let part = r.start.max(wanted.start)..r.end.min(wanted.end);
            let at = place.saturating_add(part.start - r.start);
            (part, at)
        })
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
