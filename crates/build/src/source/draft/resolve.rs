//! Paths of a draft, followed as if its root were the root of a running system.

use super::{Draft, NameId, implied_dir};
use crate::source::draft_error::DraftError;
use crate::source::tree::{Kind, Time};

/// Symbolic links that one path may lead through (`MAXSYMLINKS`).
const MOST_LINKS: u32 = 40;
/// Longest path. The kernel takes 4,095 bytes in one call; deeper trees exist, and are walked step by step.
const LONGEST_PATH: usize = 65_535;
/// Longest target of a symbolic link that a path may lead through (`PATH_MAX`).
const LONGEST_TARGET: usize = 4095;

/// The result of following a path.
pub(super) struct Found {
    pub(super) name: NameId,
    /// Layers below this one are hidden beneath it.
    pub(super) opaque: u16,
}

impl Draft {
    /// Resolves the directory a path lies in and gives the last name; `None` for the root itself. Directories on the way that are
    /// not there are made, with `mtime` until something describes them.
    pub(super) fn parent_of<'p>(
        &mut self,
        path: &'p [u8],
        mtime: Time,
    ) -> Result<Option<(Found, &'p [u8])>, DraftError> {
        let names = components(path)?;
        let Some((last, dirs)) = names.split_last() else { return Ok(None) };
        let mut links = 0;
        let mut at = Found { name: Self::ROOT, opaque: self.name(Self::ROOT).map_or(0, |n| n.opaque) };
        for name in dirs {
            at = self.descend(at, name, Some(mtime), &mut links, path)?;
        }
        Ok(Some((at, last)))
    }

    /// One step down, through symbolic links; `make` makes what is missing.
    fn descend(
        &mut self,
        at: Found,
        name: &[u8],
        make: Option<Time>,
        links: &mut u32,
        path: &[u8],
    ) -> Result<Found, DraftError> {
        if name == b".." {
            // Only in targets of links: the root's parent is the root.
            let parent = self.name(at.name).map_or(Self::ROOT, |n| n.parent);
            return Ok(Found { name: parent, opaque: self.opaque_at(parent) });
        }
        let Some(child) = self.visible_child(at.name, name, at.opaque) else {
            let missing = || DraftError::Missing { path: path.to_vec(), name: name.to_vec() };
            let mtime = make.ok_or_else(missing)?;
            if let Some(hidden) = self.child(at.name, name) {
                self.kill(hidden);
            }
            let inode = self.add_inode(implied_dir(mtime))?;
            let child = self.add_name(at.name, name, inode)?;
            return Ok(Found { name: child, opaque: at.opaque });
        };
        match self.kind(child) {
            Some(Kind::Dir) => {
                let layer = self.layer;
                let Self { names, entered, .. } = self;
                let opaque = names.get_mut(child.0 as usize).map_or(0, |n| {
                    if let Some(mtime) = make
                        && n.layer < layer
                    {
                        n.layer = layer;
                        entered.insert(child, mtime);
                    }
                    n.opaque
                });
                Ok(Found { name: child, opaque: at.opaque.max(opaque) })
            }
            Some(Kind::Symlink) => {
                *links += 1;
                let target = self.inode(self.inode_of(child)).map(|i| self.target(i).to_vec()).unwrap_or_default();
                if *links > MOST_LINKS || target.len() > LONGEST_TARGET {
                    return Err(DraftError::Loop { path: path.to_vec() });
                }
                let mut here = if target.starts_with(b"/") {
                    Found { name: Self::ROOT, opaque: self.opaque_at(Self::ROOT) }
                } else {
                    at
                };
                for step in target.split(|b| *b == b'/').filter(|s| !s.is_empty() && *s != b".") {
                    here = self.descend(here, step, make, links, path)?;
                }
                Ok(here)
            }
            _ => Err(DraftError::NotADirectory { path: path.to_vec(), blocker: self.path(child) }),
        }
    }

    /// The strongest opacity on the way from the root down to a directory.
    pub(super) fn opaque_at(&self, id: NameId) -> u16 {
        let mut opaque = 0;
        let mut at = id;
        while let Some(n) = self.name(at) {
            opaque = opaque.max(n.opaque);
            if at == Self::ROOT {
                break;
            }
            at = n.parent;
        }
        opaque
    }

    /// The name that a path leads to; the last one is not followed.
    pub(crate) fn lookup(&mut self, path: &[u8]) -> Option<NameId> {
        let names = components(path).ok()?;
        let Some((last, dirs)) = names.split_last() else { return Some(Self::ROOT) };
        let mut links = 0;
        let mut at = Found { name: Self::ROOT, opaque: self.name(Self::ROOT).map_or(0, |n| n.opaque) };
        for name in dirs {
            at = self.descend(at, name, None, &mut links, path).ok()?;
        }
        self.visible_child(at.name, last, at.opaque)
    }
}

/// The names of a path: a leading slash, repeated ones and dots do not count; `..` is refused.
pub(super) fn components(path: &[u8]) -> Result<Vec<&[u8]>, DraftError> {
    if path.len() > LONGEST_PATH {
        return Err(DraftError::PathTooLong { len: path.len(), limit: LONGEST_PATH });
    }
    let mut names = Vec::new();
    for name in path.split(|b| *b == b'/').filter(|n| !n.is_empty() && *n != b".") {
        if name == b".." {
            return Err(DraftError::DotDot { path: path.to_vec() });
        }
        if name.contains(&0) {
            return Err(DraftError::Nul { path: path.to_vec() });
        }
        names.push(name);
    }
    Ok(names)
}
