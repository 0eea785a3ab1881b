//! From paths to inodes.
//!
//! Paths are bytes, begin at the root (or at a directory that is given) and use slashes. A name of the form `<12>` is not
//! special here; dax-debugfs reads it before it asks.

use std::collections::HashSet;

use daxkit_format::InodeNr;

use super::error::{Corruption, VolumeError};
use super::inode::Inode;
use super::open::Volume;

/// Symbolic links followed on one path (`MAXSYMLINKS` of Linux).
pub const MAX_SYMLINKS: u32 = 40;

/// Longest path, and longest path that links may make it into.
const MAX_PATH: usize = 1 << 20;

impl Volume {
    /// The inode at the end of `path`. Symbolic links on the way are followed, and the last one too if `follow`.
    ///
    /// # Errors
    /// A part is missing or no directory, too many links, or something on the way is damaged.
    pub fn resolve(&self, path: &[u8], follow: bool) -> Result<Inode, VolumeError> {
        self.resolve_from(&self.root()?, path, follow)
    }

    /// As [`Volume::resolve`], from a directory; a path that begins with a slash begins at the root all the same.
    ///
    /// # Errors
    /// As [`Volume::resolve`].
    pub fn resolve_from(&self, dir: &Inode, path: &[u8], follow: bool) -> Result<Inode, VolumeError> {
        self.resolve_along(dir, path, follow, &mut |_| {})
    }

    /// As [`Volume::resolve_from`]; `on_the_way` is told every inode that is read, those of directories that are remembered left out.
    ///
    /// # Errors
    /// As [`Volume::resolve`].
    pub fn resolve_along(
        &self,
        dir: &Inode,
        path: &[u8],
        follow: bool,
        on_the_way: &mut dyn FnMut(InodeNr),
    ) -> Result<Inode, VolumeError> {
        if path.is_empty() || path.len() > MAX_PATH {
            return Err(VolumeError::BadPath { path: path.iter().take(256).copied().collect() });
        }
        let mut here = if path.first() == Some(&b'/') { self.root()? } else { dir.clone() };
        if let Some(nr) = self.known().walk(here.nr(), path) {
            let found = self.inode(nr)?;
            on_the_way(nr);
            if !(follow && found.is_symlink()) {
                return Ok(found);
            }
        }
        // Names still to go, the next one last.
        let mut names = split(path);
        let must_be_dir = path.last() == Some(&b'/');
        on_the_way(here.nr());
        let mut links = 0;
        while let Some(name) = names.pop() {
            let nr = match self.known().get(here.nr(), &name) {
                Some(nr) => nr,
                None => {
                    let entry = self
                        .lookup(&here, &name)?
                        .ok_or_else(|| VolumeError::NotFound { dir: here.nr(), name: name.clone() })?;
                    self.visited(&here);
                    entry.inode
                }
            };
            let next = self.inode(nr)?;
            on_the_way(next.nr());
            if next.is_symlink() && (follow || must_be_dir || !names.is_empty()) {
                links += 1;
                let target = self.read_link(&next)?;
                let long = names.iter().map(|n| n.len() + 1).sum::<usize>() + target.len() > MAX_PATH;
                if links > MAX_SYMLINKS || long {
                    return Err(VolumeError::TooManyLinks { inode: next.nr() });
                }
                if target.first() == Some(&b'/') {
                    here = self.root()?;
                    on_the_way(here.nr());
                }
                names.extend(split(&target));
                continue;
            }
            here = next;
        }
        if must_be_dir && !here.is_dir() {
            return Err(VolumeError::NotADirectory { inode: here.nr() });
        }
        Ok(here)
    }

    /// The directory in which the last name of `path` stands or would stand, and that name.
    ///
    /// # Errors
    /// As [`Volume::resolve`] for the directory; a path without a last name (`/`, `.` or `..` at the end).
    pub fn resolve_parent(&self, path: &[u8]) -> Result<(Inode, Vec<u8>), VolumeError> {
        let end = path.iter().rposition(|b| *b != b'/').map_or(0, |last| last + 1);
        let trimmed = path.get(..end).unwrap_or_default();
        let begin = trimmed.iter().rposition(|b| *b == b'/').map_or(0, |slash| slash + 1);
        let (above, name) = trimmed.split_at_checked(begin).unwrap_or_default();
        if matches!(name, b"" | b"." | b"..") {
            return Err(VolumeError::BadPath { path: path.iter().take(256).copied().collect() });
        }
        let dir = if above.is_empty() { self.root()? } else { self.resolve(above, true)? };
        if !dir.is_dir() {
            return Err(VolumeError::NotADirectory { inode: dir.nr() });
        }
        Ok((dir, name.to_vec()))
    }

    /// The path of a directory, found by going up from it. Only directories know where they are.
    ///
    /// # Errors
    /// Not a directory, one on the way is damaged or not listed by its parent, or the way does not end at the root.
    pub fn path_of_dir(&self, dir: &Inode) -> Result<Vec<u8>, VolumeError> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut here = dir.clone();
        let mut len = 0;
        let mut seen = HashSet::new();
        while here.nr() != InodeNr::ROOT {
            let parent = self.inode(self.parent(&here)?)?;
            if !seen.insert(here.nr().get()) {
                return Err(VolumeError::bad_inode(here.nr(), Corruption::DirTwice { parent: parent.nr().get() }));
            }
            let mut name = None;
            for entry in self.read_dir(&parent)? {
                let entry = entry?;
                if entry.inode == here.nr() && !entry.is_dot() {
                    name = Some(entry.name);
                    break;
                }
            }
            let name = name.ok_or(VolumeError::NotFound { dir: parent.nr(), name: Vec::new() })?;
            len += name.len() + 1;
            if len > MAX_PATH {
                return Err(VolumeError::TooManyLinks { inode: dir.nr() });
            }
            names.push(name);
            here = parent;
        }
        let mut path = Vec::new();
        for name in names.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        if path.is_empty() {
            path.push(b'/');
        }
        Ok(path)
    }
}

/// The names of a path, the last one first.
fn split(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|b| *b == b'/').rev().filter(|n| !n.is_empty() && *n != b".").map(<[u8]>::to_vec).collect()
}
