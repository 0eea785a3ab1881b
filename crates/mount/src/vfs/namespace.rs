//! Names: path walks, and everything that makes, moves or takes a name away (`fs/namei.c`, Linux 6.12). What a child inherits
//! is decided by `format::dax`, at creation and never again.

mod leave;
mod path;

use daxkit_format::dax::fileattr::{XFlags, to_flags};
use daxkit_format::dax::{Errno, FileKind, ext4, xfs};
use daxkit_format::ext4::inode_flags::InodeFlags;

pub use leave::{rename, rmdir, unlink};
pub use path::{At, lookup, peek};

use super::freeze::{mnt_want_write, sb_end_write, with_write};
use super::icache::{d_splice, iget, iput, xfs_attrs};
use super::open::{MAY_EXEC, MAY_READ, MAY_WRITE, permission, release_path};
use crate::fail::{Fail, Result};
use crate::fs::{FileSystem, Name, NewInode};
use crate::ids::{DentryId, FileId, InodeId};
use crate::locks::{LockId, Mode, with_lock};
use crate::op::{Object, Op};
use crate::profile::Personality;
use crate::runtime::Runtime;
use crate::world::World;
use crate::world::objects::IState;
use path::{Last, LastKind, MAXSYMLINKS, NAME_MAX, follow_link, lookup_one, parent};

/// Runs `f` with the directory of a path locked exclusively and its last name, for something new to be made there
/// (`filename_create`). `f` is told whether the mount can be written, which counts for less than that the name is there.
fn in_parent<R: Runtime, T>(rt: &R, at: At<'_>, f: impl FnOnce(InodeId, &Last<'_>, bool) -> Result<T>) -> Result<T> {
    let (dir, last) = parent(rt, at)?;
    if last.kind != LastKind::Norm {
        release_path(rt, dir.0, dir.1)?;
        return Err(Errno::EEXIST.into());
    }
    let wants = mnt_want_write(rt, at.sb);
    let writable = wants.is_ok();
    let out = match wants {
        Ok(()) | Err(Fail::Errno(Errno::EROFS)) => {
            with_lock(rt, LockId::i_rwsem(dir.0), Mode::Exclusive, || f(dir.0, &last, writable))
        }
        Err(fail) => Err(fail),
    };
    if !matches!(out, Err(Fail::Oops)) {
        if writable {
            sb_end_write(rt, at.sb);
        }
        release_path(rt, dir.0, dir.1)?;
    }
    out
}

/// What of the last name of a path speaks against making it: it is too long, it is there, it is that of a directory and none is to be
/// made, nothing may be written.
fn may_make<F: FileSystem>(
    w: &World<F>,
    dir: InodeId,
    last: &Last<'_>,
    is_dir: bool,
    writable: bool,
) -> std::result::Result<(), Errno> {
    if last.name.len() > NAME_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    let parent = &w.inodes[dir];
    match w.sb(parent.sb).fs.lookup(parent.ino, last.name) {
        Ok(_) => return Err(Errno::EEXIST),
        Err(Errno::ENOENT) => {}
        Err(errno) => return Err(errno),
    }
    if last.slash && !is_dir {
        return Err(Errno::ENOENT);
    }
    if writable { Ok(()) } else { Err(Errno::EROFS) }
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
    let member = cred.privileged || cred.gid == parent.disk.gid;
    let mode = match kind {
        FileKind::Directory if setgid => mode | 0o2000,
        // A group that its maker is not in gives itself to nobody (mode_strip_sgid, 6.0).
        _ if kind != FileKind::Directory && setgid && mode & 0o2010 == 0o2010 && !member => mode & !0o2000,
        _ => mode,
    };
    let mut new = NewInode {
        mode,
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
        block_size: features.block_size,
    }
}

/// Makes a name (with whether the mount can be written) and its inode. Returns the inode with a reference.
fn create<R: Runtime>(
    rt: &R,
    dir: InodeId,
    name: Option<(&Last<'_>, bool)>,
    mode: u16,
    rdev: u32,
    target: &[u8],
) -> Result<InodeId> {
    let task = rt.task();
    let (sb, ino, may_inline) = rt.step(Op::world("create"), |w| {
        let sb = w.inodes[dir].sb;
        if let Some((last, writable)) = name {
            may_make(w, dir, last, mode >> 12 == 0o4, writable)?;
        }
        let name = name.map(|(last, _)| last.name);
        permission(w, task, dir, MAY_WRITE | MAY_EXEC)?;
        // A character device 0:0 is a whiteout, which anybody may make.
        let device = mode >> 12 == 0o6 || mode >> 12 == 0o2 && rdev != 0;
        if device && !w.tasks.cred(task).privileged {
            return Err(Errno::EPERM);
        }
        w.alive(sb)?;
        let parent = &w.inodes[dir];
        if mode >> 12 == 0o12
            && w.sb(sb).personality == Personality::Xfs
            && parent.disk.xflags.contains(XFlags::NOSYMLINKS)
        {
            return Err(Errno::EPERM);
        }
        let new = new_inode(w, task, dir, mode, rdev)?;
        let dir_ino = w.inodes[dir].ino;
        let ino = w.sb_mut(sb).fs.create(dir_ino, name, &new, target)?;
        if name.is_some() {
            w.refresh_directory(dir);
        }
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
    let inode = in_parent(rt, at, |dir, last, writable| create(rt, dir, Some((last, writable)), mode, rdev, target))?;
    iput(rt, inode)
}

/// `open(O_CREAT)`: finds or makes a regular file (`open_last_lookups`). The last value tells whether it was made. A link at the
/// end is followed to what may be made where it leads.
pub(crate) fn create_at<R: Runtime>(
    rt: &R,
    at: At<'_>,
    mode: u16,
    exclusive: bool,
    nofollow: bool,
) -> Result<(InodeId, DentryId, bool)> {
    let mut path = at.path.to_vec();
    let mut links = 0;
    loop {
        let at = At { path: &path, ..at };
        let (dir, last) = parent(rt, at)?;
        if last.kind != LastKind::Norm || last.slash {
            release_path(rt, dir.0, dir.1)?;
            let there = exclusive && last.kind != LastKind::Norm;
            return Err(if there { Errno::EEXIST } else { Errno::EISDIR }.into());
        }
        let found = lookup_one(rt, at.sb, dir.0, last.name);
        release_path(rt, dir.0, dir.1)?;
        match found {
            Ok((inode, dentry)) if exclusive => {
                release_path(rt, inode, dentry)?;
                return Err(Errno::EEXIST.into());
            }
            Ok((inode, dentry)) => {
                let Some(target) = follow_link(rt, at.sb, (inode, dentry), !nofollow)? else {
                    return Ok((inode, dentry, false));
                };
                links += 1;
                if links > MAXSYMLINKS {
                    return Err(Errno::ELOOP.into());
                }
                let mut next = if target.starts_with(b"/") { Vec::new() } else { last.before.to_vec() };
                next.push(b'/');
                next.extend_from_slice(&target);
                path = next;
                continue;
            }
            Err(Fail::Errno(Errno::ENOENT)) => {}
            Err(fail) => return Err(fail),
        }
        let made = in_parent(rt, at, |dir, last, writable| {
            let inode = create(rt, dir, Some((last, writable)), 0o10_0000 | mode & 0o7777, 0, b"")?;
            let dir_ino = rt.step(Op::new("dir"), |w| w.inodes[dir].ino);
            let dentry = d_splice(rt, at.sb, dir_ino, last.name, inode)?;
            Ok((inode, dentry))
        });
        match made {
            Ok((inode, dentry)) => return Ok((inode, dentry, true)),
            // Another task was first.
            Err(Fail::Errno(Errno::EEXIST)) if !exclusive => {}
            Err(fail) => return Err(fail),
        }
    }
}

/// `O_TMPFILE`: inherits from the directory that is named, wherever it is linked later; with `O_EXCL` nowhere.
pub(crate) fn tmpfile<R: Runtime>(rt: &R, at: At<'_>, mode: u16, exclusive: bool, nofollow: bool) -> Result<InodeId> {
    let dir = lookup(rt, at, !nofollow)?;
    let is_dir = rt.step(Op::new("d_is_dir"), |w| w.inodes[dir.0].kind() == FileKind::Directory);
    let out = if is_dir {
        with_write(rt, at.sb, || {
            let inode = create(rt, dir.0, None, 0o10_0000 | mode & 0o7777, 0, b"")?;
            if !exclusive {
                rt.step(Op::world("I_LINKABLE"), |w| w.inodes[inode].state |= IState::LINKABLE);
            }
            Ok(inode)
        })
    } else {
        Err(Errno::ENOTDIR.into())
    };
    release_path(rt, dir.0, dir.1)?;
    out
}

/// `mkdir`.
///
/// # Errors
/// `EEXIST`, `ENOENT`, `EACCES`, `EROFS`, `ENOSPC`, `EMLINK` and others.
pub fn mkdir<R: Runtime>(rt: &R, at: At<'_>, mode: u16) -> Result<()> {
    make(rt, at, 0o4_0000 | mode & 0o1777, 0, b"")
}

/// `mknod`: `mode` with a type, or without for a regular file.
///
/// # Errors
/// As [`mkdir`]; `EPERM` for devices without privilege, and for directories; `EINVAL` for what is no type.
pub fn mknod<R: Runtime>(rt: &R, at: At<'_>, mode: u16, rdev: u32) -> Result<()> {
    let (kind, mode) = (mode >> 12, mode & 0o7777);
    match kind {
        0 | 0o10 => make(rt, at, 0o10_0000 | mode, 0, b""),
        0o1 | 0o14 => make(rt, at, kind << 12 | mode, 0, b""),
        0o2 | 0o6 => make(rt, at, kind << 12 | mode, rdev, b""),
        0o4 => Err(Errno::EPERM.into()),
        _ => Err(Errno::EINVAL.into()),
    }
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
    in_parent(rt, at, |dir, last, writable| {
        // Before the inode's lock, which may be the directory's.
        rt.step(Op::world("vfs_link"), |w| {
            let (node, parent) = (w.inodes[inode], w.inodes[dir]);
            may_make(w, dir, last, false, writable)?;
            permission(w, task, dir, MAY_WRITE | MAY_EXEC)?;
            if node.sb != parent.sb {
                return Err(Errno::EXDEV);
            }
            let fixed = node.disk.flags.intersects(InodeFlags::IMMUTABLE | InodeFlags::APPEND);
            if fixed || node.kind() == FileKind::Directory { Err(Errno::EPERM) } else { Ok(()) }
        })?;
        with_lock(rt, LockId::i_rwsem(inode), Mode::Exclusive, || {
            rt.step(Op::world("link"), |w| {
                let (node, parent) = (w.inodes[inode], w.inodes[dir]);
                // What has lost its last name gets none again.
                if node.disk.nlink == 0 && !node.state.contains(IState::LINKABLE) {
                    return Err(Errno::ENOENT.into());
                }
                w.alive(parent.sb)?;
                enter(w, dir, inode)?;
                w.sb_mut(node.sb).fs.link(node.ino, parent.ino, last.name)?;
                w.refresh_inode(inode);
                w.refresh_directory(dir);
                let now = w.now;
                w.inodes[inode].disk.ctime = now;
                let parent = &mut w.inodes[dir];
                (parent.disk.mtime, parent.disk.ctime) = (now, now);
                parent.state |= IState::DIRTY;
                w.inodes[inode].state |= IState::DIRTY;
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
            if w.inodes[inode].kind() != FileKind::Directory {
                return Err(Errno::ENOTDIR);
            }
            permission(w, task, inode, MAY_READ)?;
            let ino = w.inodes[inode].ino;
            w.sb(at.sb).fs.read_dir(ino)
        }))
    });
    release_path(rt, inode, dentry)?;
    Ok(names??)
}
