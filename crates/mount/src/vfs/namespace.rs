//! Names: path walks, and everything that makes, moves or takes a name away (`fs/namei.c`, Linux 6.12). What a child inherits
//! is decided by `format::dax`, at creation and never again.

mod leave;

use daxkit_format::dax::fileattr::{XFlags, to_flags};
use daxkit_format::dax::{Errno, FileKind, ext4, xfs};
use daxkit_format::ext4::inode_flags::InodeFlags;

pub use leave::{rename, rmdir, unlink};

use super::freeze::with_write;
use super::icache::{d_lookup, d_splice, iget, iput, xfs_attrs};
use super::open::{MAY_EXEC, MAY_READ, MAY_WRITE, permission, release_path};
use crate::fail::{Fail, Result};
use crate::fs::{FileSystem, Ino, Name, NewInode};
use crate::ids::{DentryId, FileId, InodeId, SbId};
use crate::locks::{LockId, Mode, with_lock};
use crate::op::{Object, Op};
use crate::profile::Personality;
use crate::runtime::Runtime;
use crate::world::World;
use crate::world::objects::IState;

/// Most symbolic links that one walk follows.
const MAXSYMLINKS: u32 = 40;

/// A path, from the root of a mount.
#[derive(Debug, Clone, Copy)]
pub struct At<'a> {
    /// The mount.
    pub sb: SbId,
    /// The path.
    pub path: &'a [u8],
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".")
}

/// The last name of a path and the path before it.
fn split_last(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let last = components(path).next_back()?;
    let end = last.as_ptr() as usize - path.as_ptr() as usize;
    Some((&path[..end], last))
}

/// A name below a directory, with references: to the dentry, which holds the inode.
fn lookup_one<R: Runtime>(rt: &R, sb: SbId, dir: InodeId, name: &[u8]) -> Result<(InodeId, DentryId)> {
    if name.len() > 255 {
        return Err(Errno::ENAMETOOLONG.into());
    }
    let task = rt.task();
    let op = Op::new("lookup_fast").write(Object::ICACHE).read(Object::attr(dir));
    let (dir_ino, cached) = rt.step(op, |w| {
        if w.inodes[dir].kind() != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        permission(w, task, dir, MAY_EXEC)?;
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

fn walk<R: Runtime>(rt: &R, sb: SbId, path: &[u8], follow: bool, links: &mut u32) -> Result<(InodeId, DentryId)> {
    let mut here = root(rt, sb)?;
    let mut so_far: Vec<u8> = Vec::new();
    let mut parts = components(path).peekable();
    while let Some(name) = parts.next() {
        if name == b".." {
            let keep = so_far.iter().rposition(|b| *b == b'/').unwrap_or(0);
            so_far.truncate(keep);
            release_path(rt, here.0, here.1)?;
            here = walk(rt, sb, &so_far, true, links)?;
            continue;
        }
        let next = lookup_one(rt, sb, here.0, name);
        release_path(rt, here.0, here.1)?;
        here = next?;
        let is_last = parts.peek().is_none();
        let link = rt.step(Op::new("step_into").read(Object::attr(here.0)), |w| {
            w.inodes[here.0].kind() == FileKind::Symlink && (!is_last || follow || path.ends_with(b"/"))
        });
        if !link {
            so_far.push(b'/');
            so_far.extend_from_slice(name);
            continue;
        }
        *links += 1;
        let target = rt.step(Op::new("get_link").read(Object::fs(sb)), |w| {
            let ino = w.inodes[here.0].ino;
            w.sb(sb).fs.read_link(ino)
        });
        release_path(rt, here.0, here.1)?;
        if *links > MAXSYMLINKS {
            return Err(Errno::ELOOP.into());
        }
        let target = target?;
        let mut rest = if target.starts_with(b"/") { Vec::new() } else { so_far.clone() };
        rest.push(b'/');
        rest.extend_from_slice(&target);
        for part in parts {
            rest.push(b'/');
            rest.extend_from_slice(part);
        }
        return walk(rt, sb, &rest, follow, links);
    }
    Ok(here)
}

/// The directory that the last name of a path is in (with references), and that name.
fn parent<'p, R: Runtime>(rt: &R, at: At<'p>) -> Result<((InodeId, DentryId), &'p [u8])> {
    let Some((before, name)) = split_last(at.path) else { return Err(Errno::EEXIST.into()) };
    if name == b".." {
        return Err(Errno::EINVAL.into());
    }
    if name.len() > 255 {
        return Err(Errno::ENAMETOOLONG.into());
    }
    let dir = lookup(rt, At { sb: at.sb, path: before }, true)?;
    let is_dir =
        rt.step(Op::new("d_is_dir").read(Object::attr(dir.0)), |w| w.inodes[dir.0].kind() == FileKind::Directory);
    if !is_dir {
        release_path(rt, dir.0, dir.1)?;
        return Err(Errno::ENOTDIR.into());
    }
    Ok((dir, name))
}

/// Runs `f` with the directory of a path locked exclusively, as a write to the mount.
fn in_parent<R: Runtime, T>(rt: &R, at: At<'_>, f: impl FnOnce(InodeId, &[u8]) -> Result<T>) -> Result<T> {
    let (dir, name) = parent(rt, at)?;
    let out = with_write(rt, at.sb, || with_lock(rt, LockId::i_rwsem(dir.0), Mode::Exclusive, || f(dir.0, name)));
    if !matches!(out, Err(Fail::Oops)) {
        release_path(rt, dir.0, dir.1)?;
    }
    out
}

/// What a new inode in `dir` starts with: mode, owner, and what it inherits.
fn new_inode<F: FileSystem>(
    w: &World<F>,
    task: crate::ids::TaskId,
    dir: InodeId,
    mode: u16,
    rdev: u32,
) -> std::result::Result<NewInode, Errno> {
    let (cred, parent) = (w.tasks.cred(task), &w.inodes[dir]);
    let mount = w.sb(parent.sb);
    let kind = FileKind::from_mode(mode).unwrap_or(FileKind::Regular);
    let setgid = parent.disk.mode & 0o2000 != 0;
    let mut new = NewInode {
        mode: if setgid && kind == FileKind::Directory { mode | 0o2000 } else { mode },
        uid: cred.uid,
        gid: if setgid { parent.disk.gid } else { cred.gid },
        projid: 0,
        flags: InodeFlags::empty(),
        xflags: XFlags::empty(),
        extsize: 0,
        cowextsize: 0,
        rdev,
        now: w.now,
    };
    let features = mount.fs.features();
    match mount.personality {
        Personality::Ext4 => {
            let created = ext4::create(&ext4::Creation {
                kind,
                parent: parent.disk.flags,
                encrypt: parent.disk.flags.contains(InodeFlags::ENCRYPT) && kind != FileKind::Special,
                extents: features.extents,
                inline_data: features.inline_data,
            })?;
            new.flags = created.flags - super::history::unknown_flags(mount);
            if features.project && parent.disk.flags.contains(InodeFlags::PROJINHERIT) {
                new.projid = parent.disk.projid;
            }
        }
        Personality::Xfs => {
            let geometry = xfs_geometry(mount);
            let attrs = xfs::inherited(&geometry, &w.sysctls, kind, &xfs_attrs(mount, parent));
            new.xflags = xfs::to_xflags(attrs.flags, attrs.flags2);
            new.flags = to_flags(new.xflags);
            (new.extsize, new.cowextsize) =
                (attrs.extsize * features.block_size, attrs.cowextsize * features.block_size);
            new.projid = attrs.projid;
        }
    }
    Ok(new)
}

/// XFS's geometry as its rules want it, of a mount.
pub(crate) fn xfs_geometry<F: FileSystem>(mount: &crate::world::objects::SuperBlock<F>) -> xfs::Geometry {
    let features = mount.fs.features();
    xfs::Geometry {
        ag_blocks: u32::try_from(features.blocks).unwrap_or(u32::MAX),
        rt_extent: mount.realtime.map(|_| 1),
        v3_inodes: features.v3_inodes,
        reflink: features.reflink,
        bigtime: false,
    }
}

/// Makes a name and its inode. Returns the inode with a reference.
fn create<R: Runtime>(
    rt: &R,
    dir: InodeId,
    name: Option<&[u8]>,
    mode: u16,
    rdev: u32,
    target: &[u8],
) -> Result<InodeId> {
    let task = rt.task();
    let (sb, ino, may_inline) = rt.step(Op::world("create"), |w| {
        let sb = w.inodes[dir].sb;
        permission(w, task, dir, MAY_WRITE | MAY_EXEC)?;
        w.alive(sb)?;
        let new = new_inode(w, task, dir, mode, rdev)?;
        let dir_ino = w.inodes[dir].ino;
        let ino = w.sb_mut(sb).fs.create(dir_ino, name, &new, target)?;
        w.refresh_inode(dir);
        let inline = w.sb(sb).fs.features().inline_data && w.sb(sb).personality == Personality::Ext4;
        let never = InodeFlags::DAX | InodeFlags::ENCRYPT;
        Ok::<_, Errno>((
            sb,
            ino,
            inline && FileKind::from_mode(mode) == Some(FileKind::Regular) && !new.flags.intersects(never),
        ))
    })?;
    let inode = iget(rt, sb, ino)?;
    if may_inline {
        rt.step(Op::world("EXT4_STATE_MAY_INLINE_DATA"), |w| w.inodes[inode].state |= IState::MAY_INLINE);
    }
    Ok(inode)
}

fn make<R: Runtime>(rt: &R, at: At<'_>, mode: u16, rdev: u32, target: &[u8]) -> Result<()> {
    let inode = in_parent(rt, at, |dir, name| create(rt, dir, Some(name), mode, rdev, target))?;
    iput(rt, inode)
}

/// `open(O_CREAT)`: finds or makes a regular file. The last value tells whether it was made.
pub(crate) fn create_at<R: Runtime>(
    rt: &R,
    at: At<'_>,
    mode: u16,
    exclusive: bool,
    nofollow: bool,
) -> Result<(InodeId, DentryId, bool)> {
    match lookup(rt, at, !nofollow && !exclusive) {
        Ok((inode, dentry)) if exclusive => {
            release_path(rt, inode, dentry)?;
            return Err(Errno::EEXIST.into());
        }
        Ok((inode, dentry)) => return Ok((inode, dentry, false)),
        Err(Fail::Errno(Errno::ENOENT)) => {}
        Err(fail) => return Err(fail),
    }
    if at.path.ends_with(b"/") {
        return Err(Errno::EISDIR.into());
    }
    let made = in_parent(rt, at, |dir, name| {
        let inode = create(rt, dir, Some(name), 0o10_0000 | mode & 0o7777, 0, b"")?;
        let dir_ino = rt.step(Op::new("dir"), |w| w.inodes[dir].ino);
        let dentry = d_splice(rt, at.sb, dir_ino, name, inode)?;
        Ok((inode, dentry))
    });
    match made {
        Ok((inode, dentry)) => Ok((inode, dentry, true)),
        // Another task was first.
        Err(Fail::Errno(Errno::EEXIST)) if !exclusive => {
            lookup(rt, at, !nofollow).map(|(inode, dentry)| (inode, dentry, false))
        }
        Err(fail) => Err(fail),
    }
}

/// `O_TMPFILE`: inherits from the directory that is named, wherever it is linked later.
pub(crate) fn tmpfile<R: Runtime>(rt: &R, at: At<'_>, mode: u16) -> Result<InodeId> {
    let dir = lookup(rt, at, true)?;
    let out = with_write(rt, at.sb, || {
        let is_dir = rt.step(Op::new("d_is_dir"), |w| w.inodes[dir.0].kind() == FileKind::Directory);
        if !is_dir {
            return Err(Errno::ENOTDIR.into());
        }
        create(rt, dir.0, None, 0o10_0000 | mode & 0o7777, 0, b"")
    });
    release_path(rt, dir.0, dir.1)?;
    out
}

/// `mkdir`.
///
/// # Errors
/// `EEXIST`, `ENOENT`, `EACCES`, `EROFS`, `ENOSPC`, `EMLINK` and others.
pub fn mkdir<R: Runtime>(rt: &R, at: At<'_>, mode: u16) -> Result<()> {
    make(rt, at, 0o4_0000 | mode & 0o7777, 0, b"")
}

/// `mknod`: `mode` with a type.
///
/// # Errors
/// As [`mkdir`]; `EPERM` for devices without privilege.
pub fn mknod<R: Runtime>(rt: &R, at: At<'_>, mode: u16, rdev: u32) -> Result<()> {
    let task = rt.task();
    let device = matches!(mode >> 12, 0o2 | 0o6);
    if device && !rt.step(Op::new("capable"), |w| w.tasks.cred(task).privileged) {
        return Err(Errno::EPERM.into());
    }
    make(rt, at, mode, if device { rdev } else { 0 }, b"")
}

/// `symlink`.
///
/// # Errors
/// As [`mkdir`]; `ENOENT` for an empty target.
pub fn symlink<R: Runtime>(rt: &R, target: &[u8], at: At<'_>) -> Result<()> {
    if target.is_empty() {
        return Err(Errno::ENOENT.into());
    }
    make(rt, at, 0o12_0777, 0, target)
}

fn link_inode<R: Runtime>(rt: &R, inode: InodeId, at: At<'_>) -> Result<()> {
    let task = rt.task();
    in_parent(rt, at, |dir, name| {
        // Before the inode's lock, which may be the directory's.
        rt.step(Op::world("vfs_link"), |w| {
            let (node, parent) = (w.inodes[inode], w.inodes[dir]);
            permission(w, task, dir, MAY_EXEC)?;
            if w.sb(parent.sb).fs.lookup(parent.ino, name).is_ok() {
                return Err(Errno::EEXIST);
            }
            permission(w, task, dir, MAY_WRITE)?;
            if node.sb != parent.sb {
                return Err(Errno::EXDEV);
            }
            let fixed = node.disk.flags.intersects(InodeFlags::IMMUTABLE | InodeFlags::APPEND);
            if fixed || node.kind() == FileKind::Directory { Err(Errno::EPERM) } else { Ok(()) }
        })?;
        with_lock(rt, LockId::i_rwsem(inode), Mode::Exclusive, || {
            rt.step(Op::world("link"), |w| {
                let (node, parent) = (w.inodes[inode], w.inodes[dir]);
                w.alive(parent.sb)?;
                enter(w, dir, inode)?;
                w.sb_mut(node.sb).fs.link(node.ino, parent.ino, name)?;
                w.refresh_inode(inode);
                w.refresh_inode(dir);
                Ok(())
            })
        })
    })
}

/// XFS, and ext4 with projects: a directory that gives its project to children takes none of another's.
fn enter<F: FileSystem>(w: &World<F>, dir: InodeId, inode: InodeId) -> std::result::Result<(), Errno> {
    let (parent, node) = (&w.inodes[dir], &w.inodes[inode]);
    match w.sb(parent.sb).personality {
        Personality::Xfs => xfs::enter_directory(&xfs_attrs(w.sb(parent.sb), parent), node.disk.projid),
        Personality::Ext4
            if parent.disk.flags.contains(InodeFlags::PROJINHERIT) && parent.disk.projid != node.disk.projid =>
        {
            Err(Errno::EXDEV)
        }
        Personality::Ext4 => Ok(()),
    }
}

/// `link`; of a symbolic link the link itself.
///
/// # Errors
/// `EXDEV`, `EPERM` (a directory), `EEXIST`, `EMLINK` and others.
pub fn link<R: Runtime>(rt: &R, old: At<'_>, new: At<'_>) -> Result<()> {
    let (inode, dentry) = lookup(rt, old, false)?;
    let out = if old.sb == new.sb { link_inode(rt, inode, new) } else { Err(Errno::EXDEV.into()) };
    release_path(rt, inode, dentry)?;
    out
}

/// `linkat(AT_EMPTY_PATH)`: a name for an open file, `O_TMPFILE`'s among them.
///
/// # Errors
/// As [`link`].
pub fn linkat_file<R: Runtime>(rt: &R, file: FileId, new: At<'_>) -> Result<()> {
    let inode = rt.step(Op::new("fdget").read(Object::file(file)), |w| w.files[file].inode);
    link_inode(rt, inode, new)
}

/// `readlink`.
///
/// # Errors
/// `EINVAL` when it is no symbolic link.
pub fn readlink<R: Runtime>(rt: &R, at: At<'_>) -> Result<Vec<u8>> {
    let (inode, dentry) = lookup(rt, at, false)?;
    let target = rt.step(Op::new("readlink").read(Object::fs(at.sb)), |w| {
        let ino = w.inodes[inode].ino;
        w.sb(at.sb).fs.read_link(ino)
    });
    release_path(rt, inode, dentry)?;
    Ok(target?)
}

/// `getdents`: a whole directory, without `.` and `..`.
///
/// # Errors
/// `ENOTDIR`, `EACCES`.
pub fn readdir<R: Runtime>(rt: &R, at: At<'_>) -> Result<Vec<Name>> {
    let task = rt.task();
    let (inode, dentry) = lookup(rt, at, true)?;
    let names = with_lock(rt, LockId::i_rwsem(inode), Mode::Shared, || {
        Ok(rt.step(Op::new("iterate_shared").read(Object::fs(at.sb)), |w| {
            permission(w, task, inode, MAY_READ)?;
            let ino = w.inodes[inode].ino;
            w.sb(at.sb).fs.read_dir(ino)
        }))
    });
    release_path(rt, inode, dentry)?;
    Ok(names??)
}

/// The number that a path leads to on disk, past all caches and permissions; for reports.
#[must_use]
pub fn peek<F: FileSystem>(w: &World<F>, at: &At<'_>) -> Option<Ino> {
    let fs = &w.sb(at.sb).fs;
    components(at.path).try_fold(fs.root(), |dir, name| fs.lookup(dir, name).ok())
}
