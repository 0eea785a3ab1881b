//! A tree together with the places its files' bytes come from: directories of the host, archives, content made by rule.

use super::error::SourceError;
use super::pattern::Piece;
use super::tar::ContentFile;
use super::tree::{NodeId, Time, Tree};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A tree whose content can be read.
pub struct Source {
    tree: Tree,
    roots: Vec<Root>,
    /// For each node; empty where all of it comes from the one directory that the tree itself was scanned from.
    origins: Vec<Origin>,
}

/// Where bytes come from.
pub(crate) enum Root {
    /// A directory of the host and the tree that was scanned from it; `None` where that is the source's own tree.
    Directory(PathBuf, Option<Tree>),
    /// A file that holds the content of many, and what it is called in messages; see [`super::reader`] for how sparse files lie in
    /// it.
    Stored(ContentFile, PathBuf),
    /// Content made by rule, or taken from single files of the host.
    Made(Vec<Made>),
}

/// What tells that a file has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    len: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

impl Stamp {
    pub(crate) fn of(meta: &std::fs::Metadata) -> Self {
        Self { len: meta.len(), mtime: (meta.mtime(), meta.mtime_nsec()), ctime: (meta.ctime(), meta.ctime_nsec()) }
    }
}

/// The content of one file.
pub(crate) enum Made {
    /// These bytes.
    Bytes(Vec<u8>),
    /// Patterns, in order and apart.
    Pieces(Vec<Piece>),
    /// All of a file of the host, which was like this when the tree was made.
    Host(PathBuf, Stamp),
}

/// Which root, and where in it: a node of a directory's tree, an offset, or an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin(u64);

const AT_BITS: u32 = 48;

impl Origin {
    /// Of what has no content.
    pub(crate) const NOWHERE: Self = Self(u64::MAX);

    /// `None` where the numbers are too large: 65,535 roots, 256 TiB in each.
    pub(crate) fn new(root: usize, at: u64) -> Option<Self> {
        let root = u64::try_from(root).ok().filter(|r| *r < u64::from(u16::MAX))?;
        (at < 1 << AT_BITS).then_some(Self(root << AT_BITS | at))
    }

    pub(crate) fn root(self) -> usize {
        (self.0 >> AT_BITS) as usize
    }

    pub(crate) fn at(self) -> u64 {
        self.0 & ((1 << AT_BITS) - 1)
    }
}

impl Source {
    /// A tree without files that have content.
    #[must_use]
    pub fn empty(tree: Tree) -> Self {
        Self { tree, roots: Vec::new(), origins: Vec::new() }
    }

    /// A tree that was scanned from a directory.
    #[must_use]
    pub fn directory(tree: Tree, path: &Path) -> Self {
        Self { tree, roots: vec![Root::Directory(path.to_path_buf(), None)], origins: Vec::new() }
    }

    pub(super) fn merged(tree: Tree, roots: Vec<Root>, origins: Vec<Origin>) -> Self {
        Self { tree, roots, origins }
    }

    /// The tree.
    #[must_use]
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The tree, to be changed.
    pub const fn tree_mut(&mut self) -> &mut Tree {
        &mut self.tree
    }

    pub(super) fn roots(&self) -> &[Root] {
        &self.roots
    }

    pub(super) fn origin(&self, id: NodeId) -> Origin {
        match self.origins.get(id.0 as usize) {
            Some(origin) => *origin,
            None => Origin(u64::from(id.0)),
        }
    }

    /// Makes sure that archives are still what was read. Single files are checked as they are read.
    ///
    /// # Errors
    /// One has changed.
    pub fn check_unchanged(&self) -> Result<(), SourceError> {
        let mut stored = self.roots.iter().filter_map(|root| match root {
            Root::Stored(file, _) => Some(file),
            Root::Directory(..) | Root::Made(_) => None,
        });
        stored.try_for_each(ContentFile::check)
    }

    /// Bytes of memory that tree and origins take.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.tree.memory() + self.origins.capacity() * size_of::<Origin>()
    }
}

/// What a host's file was when it was scanned, in the tree's own precision.
pub(super) fn same_times(tree: &Tree, id: NodeId, mtime: Time, ctime: Time) -> bool {
    tree.packed_times(id) == (mtime, ctime)
}
