//! Two trees, name by name.

use super::links::{Links, Met};
use super::{Begin, Change, DiffOptions, Difference, Each, Pair, Side, content};
use daxkit_format::InodeNr;
use daxkit_volume::{Corruption, Inode, Place, Volume, VolumeError};
use std::collections::{BTreeMap, HashSet};

/// Deepest directory that is entered. Linux cannot name deeper ones.
const MAX_DEPTH: usize = 2048;

/// What a name leads to in each.
type Found = (Option<InodeNr>, Option<InodeNr>);

/// A directory that is being compared.
struct Level {
    path: Vec<u8>,
    /// Its number in both.
    dirs: (InodeNr, InodeNr),
    names: std::collections::btree_map::IntoIter<Vec<u8>, Found>,
}

/// See the module.
pub(super) struct Trees<'v, 'e, E> {
    pair: Pair<'v, 'e, E>,
    /// Directories that were entered, so that none is entered twice.
    entered: (HashSet<InodeNr>, HashSet<InodeNr>),
    links: Links,
    buffers: content::Buffers,
}

impl<'v, 'e, E> Trees<'v, 'e, E> {
    pub(super) fn new(a: &'v Volume, b: &'v Volume, options: DiffOptions, each: Each<'e, E>) -> Self {
        Self {
            pair: Pair { a, b, options, each },
            entered: Default::default(),
            links: Links::default(),
            buffers: content::Buffers::default(),
        }
    }

    pub(super) fn compare(mut self, begin: Begin<'_>) -> Result<(), E> {
        let mut levels = Vec::new();
        // Below the root, a path has no second slash.
        let base = begin.path.strip_suffix(b"/").unwrap_or(begin.path);
        let dirs = (begin.a.nr(), begin.b.nr());
        levels.extend(self.inodes(dirs, begin.path, base, begin.a, begin.b)?);
        while let Some(level) = levels.last_mut() {
            let Some((name, found)) = level.names.next() else {
                levels.pop();
                continue;
            };
            let (path, dirs) = (joined(&level.path, &name), level.dirs);
            if let Some(below) = self.name(dirs, path, found, levels.len())? {
                levels.push(below);
            }
        }
        Ok(())
    }

    /// Compares what a name leads to; returns the level below when that is a directory in both.
    fn name(
        &mut self,
        dirs: (InodeNr, InodeNr),
        path: Vec<u8>,
        found: Found,
        depth: usize,
    ) -> Result<Option<Level>, E> {
        let (a, b) = match found {
            (Some(a), Some(b)) => (a, b),
            (Some(a), None) => return self.only(Side::A, path, a).map(|()| None),
            (None, Some(b)) => return self.only(Side::B, path, b).map(|()| None),
            (None, None) => return Ok(None),
        };
        let read = (self.pair.a.inode(a), self.pair.b.inode(b));
        let Some((one, other)) = self.pair.both(&path, read.0, read.1)? else { return Ok(None) };
        if one.is_dir() && other.is_dir() && depth >= MAX_DEPTH {
            let error = bad_inode(a, Corruption::TooDeep { limit: MAX_DEPTH });
            return self.pair.damaged(Side::A, &path, error).map(|()| None);
        }
        self.inodes(dirs, &path, &path, &one, &other)
    }

    /// Compares two inodes; returns the level below where both are directories. `base` is the path for what is below.
    fn inodes(
        &mut self,
        parents: (InodeNr, InodeNr),
        path: &[u8],
        base: &[u8],
        a: &Inode,
        b: &Inode,
    ) -> Result<Option<Level>, E> {
        let several = |inode: &Inode| !inode.is_dir() && inode.i_links_count.get() != 1;
        if several(a) || several(b) {
            match self.links.meet(path, a.nr(), b.nr()) {
                Met::New => {}
                Met::Before => return Ok(None),
                Met::Apart(side, with) => self.pair.changed(path, Change::Linked { with, side })?,
            }
        }
        self.pair.inodes(path, a, b, &mut self.buffers)?;
        match (a.is_dir(), b.is_dir()) {
            (true, true) => {}
            (false, false) => return Ok(None),
            (is_a, _) => {
                let (side, dir) = if is_a { (Side::A, a) } else { (Side::B, b) };
                for (name, nr) in self.names(side, path, dir)? {
                    self.only(side, joined(base, &name), nr)?;
                }
                return Ok(None);
            }
        }
        let entered = (&mut self.entered.0, &mut self.entered.1);
        for (side, parent, nr, entered) in
            [(Side::A, parents.0, a.nr(), entered.0), (Side::B, parents.1, b.nr(), entered.1)]
        {
            if !entered.insert(nr) {
                let error = bad_inode(nr, Corruption::DirTwice { parent: parent.get() });
                return self.pair.damaged(side, path, error).map(|()| None);
            }
        }
        let mut names: BTreeMap<Vec<u8>, Found> = BTreeMap::new();
        for (name, nr) in self.names(Side::A, path, a)? {
            names.entry(name).or_default().0 = Some(nr);
        }
        for (name, nr) in self.names(Side::B, path, b)? {
            names.entry(name).or_default().1 = Some(nr);
        }
        Ok(Some(Level { path: base.to_vec(), dirs: (a.nr(), b.nr()), names: names.into_iter() }))
    }

    /// The names of a directory; what is damaged of it is told.
    fn names(&mut self, side: Side, path: &[u8], dir: &Inode) -> Result<BTreeMap<Vec<u8>, InodeNr>, E> {
        let mut names = BTreeMap::new();
        let entries = match self.pair.volume(side).read_dir(dir) {
            Ok(entries) => entries,
            Err(error) => return self.pair.damaged(side, path, error).map(|()| names),
        };
        for entry in entries {
            match entry {
                Ok(entry) if entry.is_dot() => {}
                Ok(entry) => {
                    names.insert(entry.name, entry.inode);
                }
                Err(error) => self.pair.damaged(side, path, error)?,
            }
        }
        Ok(names)
    }

    /// Tells of a name that one has, after all that is damaged below it.
    fn only(&mut self, side: Side, path: Vec<u8>, nr: InodeNr) -> Result<(), E> {
        let volume = self.pair.volume(side);
        let inode = match volume.inode(nr) {
            Ok(inode) => inode,
            Err(error) => {
                self.pair.damaged(side, &path, error)?;
                return (self.pair.each)(Difference::Only { side, path, mode: None, below: 0 });
            }
        };
        let mode = Some(inode.i_mode.get());
        let mut below = 0u64;
        if inode.is_dir() {
            for visit in volume.walk(inode).skip(1) {
                below = below.saturating_add(1);
                if let Err(e) = visit {
                    self.pair.damaged(side, &joined(&path, &e.path), e.error)?;
                }
            }
        }
        (self.pair.each)(Difference::Only { side, path, mode, below })
    }
}

fn bad_inode(nr: InodeNr, why: Corruption) -> VolumeError {
    VolumeError::Corrupt { place: Place::Inode(nr), why }
}

fn joined(dir: &[u8], name: &[u8]) -> Vec<u8> {
    [dir, b"/", name].concat()
}
