//! Directories that paths went through before, as tables from names to inodes: the next path through them reads nothing.
//!
//! Scripts name hundreds of thousands of files one after the other, directory by directory. What a directory says is taken in
//! once a few names were looked up in it, and forgotten as soon as a byte is written that it was read from.
//!
//! Invariant: a table says what its directory's blocks say. Whoever writes bytes calls [`Known::written`], whoever
//! changes the device below or the features [`Known::forget`].

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use daxkit_device::RangeSet;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::{BlockNr, InodeNr};

use super::dir::{dir_checksum_ok, possible_name};
use super::error::{Corruption, Place, VolumeError};
use super::inode::Inode;
use super::map::MapItem;
use super::open::Volume;
use names::{Key, Names};

mod names;

/// Most names kept.
const MAX_NAMES: usize = 1 << 18;

/// Most directories whose visits are counted.
const MAX_COUNTED: usize = 1 << 12;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Known {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    key: Key,
    dirs: HashMap<InodeNr, Names, Key>,
    /// Names in all of them.
    names: usize,
    /// The bytes of the file system that they were read from.
    ground: RangeSet,
    /// Names looked up in directories that are not known.
    visits: HashMap<InodeNr, u64>,
    /// Where the last path began, what stood before its last name, and the directory that this led to.
    last: Option<(InodeNr, Vec<u8>, InodeNr)>,
}

impl State {
    fn forget(&mut self) {
        let key = self.key;
        *self = Self { key, dirs: HashMap::with_hasher(key), ..Self::default() };
    }

    /// The inode that a name of a directory leads to, where the directory is known.
    fn get(&self, dir: InodeNr, name: &[u8]) -> Option<InodeNr> {
        self.dirs.get(&dir)?.get(self.key, name)
    }

    /// See [`Known::walk`].
    fn walk(&mut self, from: InodeNr, path: &[u8]) -> Option<InodeNr> {
        // A path that ends with a slash or a dot may go on through a link, and ends at a directory.
        if path.last() == Some(&b'/') {
            return None;
        }
        let cut = path.iter().rposition(|b| *b == b'/').map_or(0, |slash| slash + 1);
        let (dirs, name) = path.split_at_checked(cut)?;
        if name == b"." {
            return None;
        }
        let dir = match &self.last {
            Some((start, before, dir)) if *start == from && before == dirs => *dir,
            _ => {
                let mut here = from;
                for name in dirs.split(|b| *b == b'/').filter(|name| !name.is_empty() && *name != b".") {
                    here = self.get(here, name)?;
                }
                self.last = Some((from, dirs.to_vec(), here));
                here
            }
        };
        if name.is_empty() { Some(dir) } else { self.get(dir, name) }
    }
}

impl Known {
    fn state(&self) -> MutexGuard<'_, State> {
        // A table is put in as a whole, so a panic elsewhere leaves none that is half.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everything.
    pub(crate) fn forget(&self) {
        self.state().forget();
    }

    /// Forgets what bytes of the file system said that are written now.
    pub(crate) fn written(&self, bytes: Range<u64>) {
        let mut state = self.state();
        if !state.dirs.is_empty() && state.ground.overlaps(bytes) {
            state.forget();
        }
    }

    /// The inode that a name of a directory leads to, where the directory is known and has it.
    pub(crate) fn get(&self, dir: InodeNr, name: &[u8]) -> Option<InodeNr> {
        self.state().get(dir, name)
    }

    /// The inode at the end of a path, when every directory on the way is known. The inode itself may be anything.
    pub(crate) fn walk(&self, from: InodeNr, path: &[u8]) -> Option<InodeNr> {
        self.state().walk(from, path)
    }
}

impl Volume {
    /// The number of the inode at the end of `path`, from a directory or, with a slash in front, from the root. A symbolic link at
    /// the end is not followed. The inode itself is read only where it has to be.
    ///
    /// # Errors
    /// As [`Volume::resolve`].
    pub fn resolve_number(&self, from: InodeNr, path: &[u8]) -> Result<InodeNr, VolumeError> {
        let start = if path.first() == Some(&b'/') { InodeNr::ROOT } else { from };
        match self.known().walk(start, path).filter(|_| !path.is_empty()) {
            Some(nr) => Ok(nr),
            None => Ok(self.resolve_from(&self.inode(from)?, path, false)?.nr()),
        }
    }

    /// As [`Volume::resolve_number`] of a path from the root, when every directory on the way was taken in before and what is found is none
    /// of them: until another directory is read, no path depends on such an inode, whatever is written to it. `None` says nothing.
    pub fn remembered_number(&self, path: &[u8]) -> Option<InodeNr> {
        let mut state = self.known().state();
        let nr = state.walk(InodeNr::ROOT, path)?;
        (!state.dirs.contains_key(&nr)).then_some(nr)
    }

    /// Whether paths through a directory are answered by what was taken in of it.
    pub fn remembers(&self, dir: InodeNr) -> bool {
        self.known().state().dirs.contains_key(&dir)
    }

    /// Counts a name looked up in a directory, and takes the directory in when that will have been worth it.
    pub(crate) fn visited(&self, dir: &Inode) {
        let blocks = dir.size() >> self.geometry().block_shift();
        let visits = {
            let mut state = self.known().state();
            if state.visits.len() >= MAX_COUNTED {
                state.visits.clear();
            }
            let visits = state.visits.entry(dir.nr()).or_default();
            *visits += 1;
            *visits
        };
        // An index finds one name in two blocks or three; all of them take the whole directory. One block is read as a whole in any case.
        if visits < blocks || (visits < 2 && blocks != 1) || dir.is_encrypted() || self.name_rule(dir).folded {
            return;
        }
        // One that is damaged is looked at every time, so that every time it is said.
        if let Ok((names, ground)) = self.take_in(dir) {
            let mut state = self.known().state();
            if state.names.saturating_add(names.len()) > MAX_NAMES {
                state.forget();
            }
            if names.len() <= MAX_NAMES {
                state.names += names.len();
                ground.iter().for_each(|range| state.ground.insert(range));
                state.dirs.insert(dir.nr(), names);
            }
            state.visits.remove(&dir.nr());
        }
    }

    /// The names of a directory, and the bytes that they are read from.
    fn take_in(&self, dir: &Inode) -> Result<(Names, RangeSet), VolumeError> {
        let shift = self.geometry().block_shift();
        let (block, at) = self.inode_location(dir.nr())?;
        let start = (block.get() << shift).saturating_add(at as u64);
        let mut ground: RangeSet = [start..start.saturating_add(dir.raw().len() as u64)].into_iter().collect();
        let mut names = Names::default();
        if dir.has_inline_data() {
            for entry in self.read_dir(dir)? {
                let entry = entry?;
                names.add(&entry.name, u32::try_from(entry.inode.get()).unwrap_or(0));
            }
        }
        if self.has_map(dir) {
            for item in self.map_walk(dir) {
                let (first, len) = match item? {
                    MapItem::Node { block, .. } => (block, 1),
                    MapItem::Run(run) => {
                        let blocks = (dir.size() >> shift).saturating_sub(run.logical).min(run.len);
                        let first = run.physical.get();
                        for block in first..first.saturating_add(if run.written { blocks } else { 0 }) {
                            self.add_names(dir, BlockNr(block), &mut names)?;
                        }
                        (run.physical, run.len)
                    }
                };
                ground.insert(first.get() << shift..first.get().saturating_add(len) << shift);
            }
        }
        names.index(self.known().state().key);
        Ok((names, ground))
    }

    /// Adds the names in a block of a directory.
    fn add_names(&self, dir: &Inode, block: BlockNr, names: &mut Names) -> Result<(), VolumeError> {
        let place = Place::InodeBlock { inode: dir.nr(), block, offset: 0 };
        let bytes = self.block(place, block)?;
        let indexed = dir.flags().contains(InodeFlags::INDEX);
        if self.inode_verify_seed(dir).is_some_and(|seed| !dir_checksum_ok(seed, &bytes, indexed)) {
            return Err(VolumeError::corrupt(place, Corruption::Checksum));
        }
        for entry in self.entries_of(&bytes) {
            let entry = entry.map_err(|e| VolumeError::corrupt(place, e))?;
            if entry.inode == 0 {
                continue;
            }
            if !possible_name(entry.name, false) {
                let offset = u32::try_from(entry.offset).unwrap_or(u32::MAX);
                return Err(VolumeError::corrupt(place, Corruption::DirName { offset }));
            }
            names.add(entry.name, entry.inode);
        }
        Ok(())
    }
}
