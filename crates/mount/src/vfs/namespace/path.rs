//! Path walks (`link_path_walk` and what it calls).

use daxkit_format::dax::{Errno, FileKind};

use crate::fail::Result;
use crate::fs::{FileSystem, Ino};
use crate::ids::{DentryId, InodeId, SbId, TaskId};
use crate::op::{Object, Op};
use crate::runtime::Runtime;
use crate::vfs::icache::{d_lookup, d_splice, iget};
use crate::vfs::open::{MAY_EXEC, permission, release_path};
use crate::world::World;

/// Most symbolic links that one walk follows.
pub(super) const MAXSYMLINKS: u32 = 40;
/// Longest name.
pub(super) const NAME_MAX: usize = 255;

/// A path, from the root of a mount.
#[derive(Debug, Clone, Copy)]
pub struct At<'a> {
    /// The mount.
    pub sb: SbId,
    /// The path.
    pub path: &'a [u8],
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|b| *b == b'/').filter(|part| !part.is_empty())
}

/// What the last component of a path is (`last_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LastKind {
    /// A name.
    Norm,
    /// `.`
    Dot,
    /// `..`
    DotDot,
    /// There is none.
    Root,
}

/// The last component of a path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Last<'p> {
    pub(super) kind: LastKind,
    pub(super) name: &'p [u8],
    /// The path before it.
    pub(super) before: &'p [u8],
    /// Slashes follow.
    pub(super) slash: bool,
}

impl<'p> Last<'p> {
    fn of(path: &'p [u8]) -> Self {
        let end = path.iter().rposition(|b| *b != b'/').map_or(0, |at| at + 1);
        let start = path[..end].iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
        let name = &path[start..end];
        let kind = match name {
            b"" => LastKind::Root,
            b"." => LastKind::Dot,
            b".." => LastKind::DotDot,
            _ => LastKind::Norm,
        };
        Self { kind, name, before: &path[..start.saturating_sub(1)], slash: end < path.len() }
    }
}

/// `may_lookup`: whether names can be looked for in an inode.
fn may_lookup<F: FileSystem>(w: &World<F>, task: TaskId, dir: InodeId) -> std::result::Result<(), Errno> {
    if w.inodes[dir].kind() != FileKind::Directory {
        return Err(Errno::ENOTDIR);
    }
    permission(w, task, dir, MAY_EXEC)
}

/// A name below a directory, with references: to the dentry, which holds the inode.
pub(super) fn lookup_one<R: Runtime>(rt: &R, sb: SbId, dir: InodeId, name: &[u8]) -> Result<(InodeId, DentryId)> {
    let task = rt.task();
    let op = Op::new("lookup_fast").write(Object::ICACHE).read(Object::attr(dir));
    let (dir_ino, cached) = rt.step(op, |w| {
        may_lookup(w, task, dir)?;
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let ino = w.inodes[dir].ino;
        Ok((ino, d_lookup(w, sb, ino, name)))
    })?;
    if let Some(found) = cached {
        return Ok(found);
    }
    let ino = rt.step(Op::new("lookup_slow").read(Object::fs(sb)), |w| w.sb(sb).fs.lookup(dir_ino, name))?;
    let inode = iget(rt, sb, ino)?;
    let dentry = d_splice(rt, sb, dir_ino, name, inode)?;
    Ok((inode, dentry))
}

/// The root directory, with a reference.
fn root<R: Runtime>(rt: &R, sb: SbId) -> Result<(InodeId, DentryId)> {
    let root = rt.step(Op::new("s_root"), |w| w.sb(sb).fs.root());
    Ok((iget(rt, sb, root)?, DentryId::NONE))
}

/// A path walk: the inode and its dentry, with a reference to the dentry (of the root: to the inode).
///
/// # Errors
/// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`.
pub fn lookup<R: Runtime>(rt: &R, at: At<'_>, follow: bool) -> Result<(InodeId, DentryId)> {
    walk(rt, at.sb, at.path, follow, &mut 0)
}

/// Where a symbolic link leads; none when it is no link, or is not to be followed. But for then the references to it are given back.
pub(super) fn follow_link<R: Runtime>(
    rt: &R,
    sb: SbId,
    link: (InodeId, DentryId),
    follow: bool,
) -> Result<Option<Vec<u8>>> {
    let is_link = rt.step(Op::new("step_into").read(Object::attr(link.0)), |w| {
        w.inodes[link.0].kind() == FileKind::Symlink && follow
    });
    if !is_link {
        return Ok(None);
    }
    let target = rt.step(Op::new("get_link").read(Object::fs(sb)), |w| {
        let ino = w.inodes[link.0].ino;
        w.sb(sb).fs.read_link(ino)
    });
    release_path(rt, link.0, link.1)?;
    Ok(Some(target?))
}

fn walk<R: Runtime>(rt: &R, sb: SbId, path: &[u8], follow: bool, links: &mut u32) -> Result<(InodeId, DentryId)> {
    let task = rt.task();
    let mut here = root(rt, sb)?;
    let mut so_far: Vec<u8> = Vec::new();
    // What slashes follow has to be a directory, or lead to one.
    let slash = path.ends_with(b"/");
    let mut parts = components(path).peekable();
    while let Some(name) = parts.next() {
        if name == b"." || name == b".." {
            let op = Op::new("handle_dots").read(Object::attr(here.0)).read(Object::ICACHE);
            if let Err(errno) = rt.step(op, |w| may_lookup(w, task, here.0)) {
                release_path(rt, here.0, here.1)?;
                return Err(errno.into());
            }
            if name == b".." {
                let keep = so_far.iter().rposition(|b| *b == b'/').unwrap_or(0);
                so_far.truncate(keep);
                release_path(rt, here.0, here.1)?;
                here = walk(rt, sb, &so_far, true, links)?;
            }
            continue;
        }
        let next = lookup_one(rt, sb, here.0, name);
        release_path(rt, here.0, here.1)?;
        here = next?;
        let is_last = parts.peek().is_none();
        let Some(target) = follow_link(rt, sb, here, !is_last || follow || slash)? else {
            so_far.push(b'/');
            so_far.extend_from_slice(name);
            continue;
        };
        *links += 1;
        if *links > MAXSYMLINKS {
            return Err(Errno::ELOOP.into());
        }
        let mut rest = if target.starts_with(b"/") { Vec::new() } else { so_far.clone() };
        rest.push(b'/');
        rest.extend_from_slice(&target);
        for part in parts {
            rest.push(b'/');
            rest.extend_from_slice(part);
        }
        if slash {
            rest.push(b'/');
        }
        return walk(rt, sb, &rest, follow, links);
    }
    if slash && !so_far.is_empty() {
        let op = Op::new("d_can_lookup").read(Object::attr(here.0));
        if rt.step(op, |w| w.inodes[here.0].kind() != FileKind::Directory) {
            release_path(rt, here.0, here.1)?;
            return Err(Errno::ENOTDIR.into());
        }
    }
    Ok(here)
}

/// The directory that the last name of a path is in (with references), and that name (`filename_parentat`).
pub(super) fn parent<'p, R: Runtime>(rt: &R, at: At<'p>) -> Result<((InodeId, DentryId), Last<'p>)> {
    let task = rt.task();
    let last = Last::of(at.path);
    let dir = lookup(rt, At { sb: at.sb, path: last.before }, true)?;
    let op = Op::new("d_is_dir").read(Object::attr(dir.0)).read(Object::ICACHE);
    match rt.step(op, |w| may_lookup(w, task, dir.0)) {
        Ok(()) => Ok((dir, last)),
        Err(errno) => {
            release_path(rt, dir.0, dir.1)?;
            Err(errno.into())
        }
    }
}

/// The number that a path leads to on disk, past all caches and permissions; for reports.
#[must_use]
pub fn peek<F: FileSystem>(w: &World<F>, at: &At<'_>) -> Option<Ino> {
    let fs = &w.sb(at.sb).fs;
    let names = components(at.path).filter(|name| *name != b".");
    names.into_iter().try_fold(fs.root(), |dir, name| fs.lookup(dir, name).ok())
}
