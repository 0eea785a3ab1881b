//! The whole tree, one name after the other.
//!
//! Depth first: a directory comes before what it holds, its entries in the order in which they lie. Memory is the queue of
//! one directory per level. Every directory is entered once; one that is reached again (a loop, or two names) is an error of
//! that name. Files with several names come once per name; [`Visit::first`] tells the first.

use std::collections::HashSet;

use daxkit_format::InodeNr;

use super::dir::{DirEntries, DirEntry};
use super::error::{Corruption, VolumeError};
use super::inode::Inode;
use super::open::Volume;

/// Deepest directory entered. Linux cannot name deeper ones, and a path of each visit is built.
const MAX_DEPTH: usize = 2048;

/// One name of the tree.
#[derive(Debug, Clone)]
pub struct Visit {
    /// The path from where the walk began, without a slash at the front; empty for the beginning itself.
    pub path: Vec<u8>,
    /// The directory that holds the name; the beginning's own number for the beginning.
    pub parent: InodeNr,
    /// The entry; `None` for the beginning.
    pub entry: Option<DirEntry>,
    /// What it names.
    pub inode: Inode,
    /// False when a name of the same inode came before.
    pub first: bool,
}

/// Something of the tree that cannot be visited.
#[derive(Debug)]
pub struct WalkError {
    /// The path from where the walk began; of a damaged directory, its own.
    pub path: Vec<u8>,
    /// What is wrong.
    pub error: VolumeError,
}

struct Level<'v> {
    entries: DirEntries<'v>,
    inode: InodeNr,
    path_len: usize,
}

/// See [`Volume::walk`].
pub struct Walk<'v> {
    volume: &'v Volume,
    begin: Option<Inode>,
    stack: Vec<Level<'v>>,
    path: Vec<u8>,
    dirs: HashSet<u64>,
    linked: HashSet<u64>,
    entered: bool,
}

impl Volume {
    /// Everything below (and with) `begin`. Errors do not end the walk; what they concern is left out.
    #[must_use]
    pub fn walk(&self, begin: Inode) -> Walk<'_> {
        Walk {
            volume: self,
            begin: Some(begin),
            stack: Vec::new(),
            path: Vec::new(),
            dirs: HashSet::new(),
            linked: HashSet::new(),
            entered: false,
        }
    }
}

impl Walk<'_> {
    /// Leaves out what the directory holds that the last visit was to. Does nothing when that was no directory.
    pub fn skip_dir(&mut self) {
        if std::mem::take(&mut self.entered) {
            self.stack.pop();
        }
    }

    fn enter(&mut self, inode: &Inode) -> Result<(), VolumeError> {
        self.dirs.insert(inode.nr().get());
        let entries = self.volume.read_dir(inode)?;
        self.stack.push(Level { entries, inode: inode.nr(), path_len: self.path.len() });
        self.entered = true;
        Ok(())
    }

    fn visit(&mut self, parent: InodeNr, entry: DirEntry) -> Result<Visit, VolumeError> {
        // Ciphertext may hold slashes; nobody who takes the path for one may be led out of the tree.
        if entry.name.iter().any(|b| matches!(b, 0 | b'/')) {
            return Err(VolumeError::bad_inode(parent, Corruption::DirName { offset: entry.offset }));
        }
        let inode = self.volume.inode(entry.inode)?;
        let mut first = true;
        if inode.is_dir() {
            if self.dirs.contains(&inode.nr().get()) {
                let why = Corruption::DirTwice { parent: parent.get() };
                return Err(VolumeError::bad_inode(inode.nr(), why));
            }
            if self.stack.len() < MAX_DEPTH {
                self.enter(&inode)?;
            } else {
                return Err(VolumeError::bad_inode(inode.nr(), Corruption::TooDeep { limit: MAX_DEPTH }));
            }
        } else if inode.i_links_count.get() != 1 {
            // Also when the count is wrong: only one link is certain to come once.
            first = self.linked.insert(inode.nr().get());
        }
        Ok(Visit { path: self.path.clone(), parent, entry: Some(entry), inode, first })
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<Visit, WalkError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.entered = false;
        if let Some(inode) = self.begin.take() {
            if inode.is_dir()
                && let Err(error) = self.enter(&inode)
            {
                return Some(Err(WalkError { path: Vec::new(), error }));
            }
            return Some(Ok(Visit { path: Vec::new(), parent: inode.nr(), entry: None, inode, first: true }));
        }
        loop {
            let level = self.stack.last_mut()?;
            self.path.truncate(level.path_len);
            let parent = level.inode;
            match level.entries.next() {
                None => {
                    self.stack.pop();
                }
                Some(Err(error)) => return Some(Err(WalkError { path: self.path.clone(), error })),
                Some(Ok(entry)) if entry.is_dot() => {}
                Some(Ok(entry)) => {
                    if !self.path.is_empty() {
                        self.path.push(b'/');
                    }
                    self.path.extend_from_slice(&entry.name);
                    let visit = self.visit(parent, entry);
                    return Some(visit.map_err(|error| WalkError { path: self.path.clone(), error }));
                }
            }
        }
    }
}
