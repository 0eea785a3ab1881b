//! Directories that paths went through before, as tables from names to inodes: the next path through them reads nothing.
//!
//! Scripts name hundreds of thousands of files one after the other, directory by directory. What a directory says is taken in
//! once a few names were looked up in it, and forgotten as soon as a byte is written that it was read from.
//!
//! Invariant: a table says what its directory's blocks say. Whoever writes bytes calls [`Known::written`], whoever
//! changes the device below or the features [`Known::forget`].

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// Bytes of a directory read at once.
const READ: u64 = 64 << 10;

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
    dirs: HashMap<InodeNr, Arc<Names>, Key>,
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

    /// The directory at the end of a path that has a slash at its end, or nothing in it.
    fn walk_dirs(&self, from: InodeNr, dirs: &[u8], on_the_way: &mut dyn FnMut(InodeNr)) -> Option<InodeNr> {
        on_the_way(from);
        let mut names = dirs.split(|b| *b == b'/').filter(|name| !name.is_empty() && *name != b".");
        names.try_fold(from, |here, name| self.get(here, name).inspect(|nr| on_the_way(*nr)))
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
                let here = self.walk_dirs(from, dirs, &mut |_| {})?;
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

/// The names of one directory, as long as nothing is written.
#[derive(Debug, Clone)]
pub struct DirectoryNames {
    names: Arc<Names>,
    key: Key,
    /// Where the next name may be. Who asks for one after the other often does so in their order.
    next: usize,
}

impl DirectoryNames {
    /// The inode that a name leads to; `None` for one that is not there, and for `.` and `..`.
    #[must_use]
    pub fn get(&mut self, name: &[u8]) -> Option<InodeNr> {
        if matches!(name, b"." | b"..") { None } else { self.names.get_next(self.key, name, &mut self.next) }
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

    /// Whether there is such a directory among those that [`Volume::remembers`] says yes to.
    pub fn remembers_any(&self, which: impl Fn(InodeNr) -> bool) -> bool {
        self.known().state().dirs.keys().any(|dir| which(*dir))
    }

    /// The names of the directory at the end of a path from the root that ends with a slash, of which so many will be asked for. It is taken in
    /// where that is worth it. `None` says nothing. `on_the_way` is told every inode that the answer depends on.
    pub fn directory_names(
        &self,
        path: &[u8],
        wanted: u64,
        on_the_way: &mut dyn FnMut(InodeNr),
    ) -> Option<DirectoryNames> {
        // The two dots come first.
        let of = |state: &State, dir| {
            Some(DirectoryNames { names: Arc::clone(state.dirs.get(&dir)?), key: state.key, next: 2 })
        };
        {
            let state = self.known().state();
            let dir = state.walk_dirs(InodeNr::ROOT, path, on_the_way);
            if let Some(names) = dir.and_then(|dir| of(&state, dir)) {
                return Some(names);
            }
        }
        let dir = self.resolve_along(&self.root().ok()?, path, true, on_the_way).ok()?;
        if wanted >= dir.size() >> self.geometry().block_shift() && dir.is_dir() && !self.remembers(dir.nr()) {
            self.remember(&dir);
        }
        of(&self.known().state(), dir.nr())
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
        if visits >= blocks && (visits >= 2 || blocks == 1) {
            self.remember(dir);
        }
    }

    /// Takes a directory in, where its names are compared as they are.
    fn remember(&self, dir: &Inode) {
        if dir.is_encrypted() || self.name_rule(dir).folded {
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
                // Another thread may have been first.
                let before = state.dirs.insert(dir.nr(), Arc::new(names)).map_or(0, |names| names.len());
                state.names = state.names.saturating_sub(before);
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
        let mut names = Names::with_bytes(usize::try_from(dir.size().min(READ)).unwrap_or(0));
        let mut bytes = Vec::new();
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
                        let end = run.physical.get().saturating_add(if run.written { blocks } else { 0 });
                        let mut first = run.physical.get();
                        while first < end {
                            let next = end.min(first.saturating_add((READ >> shift).max(1)));
                            self.add_names(dir, first..next, &mut bytes, &mut names)?;
                            first = next;
                        }
                        (run.physical, run.len)
                    }
                };
                ground.insert(first.get() << shift..first.get().saturating_add(len) << shift);
            }
        }
        names.complete();
        Ok((names, ground))
    }

    /// Adds the names in blocks of a directory that lie side by side. They are read past the cache: nobody asks for them again.
    fn add_names(
        &self,
        dir: &Inode,
        blocks: Range<u64>,
        bytes: &mut Vec<u8>,
        names: &mut Names,
    ) -> Result<(), VolumeError> {
        let place = |block| Place::InodeBlock { inode: dir.nr(), block: BlockNr(block), offset: 0 };
        let bs = self.geometry().block_size as usize;
        bytes.resize(usize::try_from(blocks.end - blocks.start).unwrap_or(0).saturating_mul(bs), 0);
        self.read_blocks_into(place(blocks.start), BlockNr(blocks.start), bytes)?;
        let indexed = dir.flags().contains(InodeFlags::INDEX);
        let seed = self.inode_verify_seed(dir);
        for (block, bytes) in blocks.zip(bytes.chunks_exact(bs)) {
            let place = place(block);
            if seed.is_some_and(|seed| !dir_checksum_ok(seed, bytes, indexed)) {
                return Err(VolumeError::corrupt(place, Corruption::Checksum));
            }
            for entry in self.entries_of(bytes) {
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
        }
        Ok(())
    }
}
