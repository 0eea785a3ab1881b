//! `chmod`, `chown`, `utimens`, extended attributes.

use daxkit_format::dax::{Errno, FileKind};
use daxkit_format::ext4::inode_flags::InodeFlags;

use super::freeze::with_write;
use super::open::{MAY_READ, MAY_WRITE, fdget, permission};
use crate::fail::Result;
use crate::fs::FileSystem;
use crate::ids::{FileId, InodeId, TaskId};
use crate::locks::{LockId, Mode, with_lock};
use crate::op::{Object, Op};
use crate::runtime::Runtime;
use crate::world::World;
use crate::world::objects::IState;
use crate::world::tasks::Cred;

/// What no call of this kind changes on an inode with one of these (`may_setattr`, `xattr_permission`).
const FIXED: InodeFlags = InodeFlags::IMMUTABLE.union(InodeFlags::APPEND);

/// `notify_change` of an open file: no flag of `forbidden`, then `f`, which asks who it is.
fn change<R: Runtime, T>(
    rt: &R,
    file: FileId,
    forbidden: InodeFlags,
    f: impl FnOnce(&mut World<R::Fs>, InodeId, Cred) -> std::result::Result<T, Errno>,
) -> Result<T> {
    let inode = fdget(rt, file)?.inode;
    let task = rt.task();
    let sb = rt.step(Op::new("i_sb"), |w| w.inodes[inode].sb);
    with_write(rt, sb, || {
        with_lock(rt, LockId::i_rwsem(inode), Mode::Exclusive, || {
            let out = rt.step(Op::new("notify_change").write(Object::WORLD), |w| {
                let cred = w.tasks.cred(task);
                w.alive(sb)?;
                if w.inodes[inode].disk.flags.intersects(forbidden) {
                    return Err(Errno::EPERM);
                }
                let out = f(w, inode, cred)?;
                w.inodes[inode].disk.ctime = w.now;
                w.inodes[inode].state |= IState::DIRTY;
                Ok(out)
            });
            Ok(out?)
        })
    })
}

/// `fchmod`.
///
/// # Errors
/// `EPERM`, `EROFS`, `EBADF`.
pub fn fchmod<R: Runtime>(rt: &R, file: FileId, mode: u16) -> Result<()> {
    change(rt, file, FIXED, |w, inode, cred| {
        let disk = &mut w.inodes[inode].disk;
        if !cred.privileged && cred.uid != disk.uid {
            return Err(Errno::EPERM);
        }
        // A group that the caller is not in gives itself to nobody (setattr_copy).
        let member = cred.privileged || cred.gid == disk.gid;
        let mode = if member { mode } else { mode & !0o2000 };
        disk.mode = disk.mode & !0o7777 | mode & 0o7777;
        Ok(())
    })
}

/// `fchown`.
///
/// # Errors
/// `EPERM`, `EROFS`, `EBADF`.
pub fn fchown<R: Runtime>(rt: &R, file: FileId, uid: u32, gid: u32) -> Result<()> {
    change(rt, file, FIXED, |w, inode, cred| {
        let disk = &mut w.inodes[inode].disk;
        // chown_ok, chgrp_ok
        let own_group = cred.uid == disk.uid && uid == disk.uid && (gid == disk.gid || gid == cred.gid);
        if !cred.privileged && !own_group {
            return Err(Errno::EPERM);
        }
        if disk.kind() != FileKind::Directory {
            // setattr_should_drop_suidgid: of a group that executes it always, else where the caller is not in it.
            let member = cred.privileged || cred.gid == disk.gid;
            let group = if disk.mode & 0o10 != 0 || !member { 0o2000 } else { 0 };
            disk.mode &= !(0o4000 | group);
        }
        (disk.uid, disk.gid) = (uid, gid);
        Ok(())
    })
}

/// What becomes of one of an inode's times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// `UTIME_NOW`.
    Now,
    /// `UTIME_OMIT`.
    Omit,
    /// These seconds.
    At(i64),
}

/// `futimens` (`vfs_utimes`): access and modification time.
///
/// Both to now is a touch, which whoever may write to the file may do, also when it is append-only. Anything else takes its
/// owner and a file without restriction. Both left out is nothing at all.
///
/// # Errors
/// `EPERM`, `EACCES` (a touch by somebody who may not write), `EROFS`, `EBADF`.
pub fn futimens<R: Runtime>(rt: &R, file: FileId, atime: Time, mtime: Time) -> Result<()> {
    if (atime, mtime) == (Time::Omit, Time::Omit) {
        return Ok(());
    }
    let touch = (atime, mtime) == (Time::Now, Time::Now);
    let task = rt.task();
    change(rt, file, if touch { InodeFlags::IMMUTABLE } else { FIXED }, |w, inode, cred| {
        if !cred.privileged && cred.uid != w.inodes[inode].disk.uid {
            if !touch {
                return Err(Errno::EPERM);
            }
            permission(w, task, inode, MAY_WRITE)?;
        }
        let now = w.now;
        let disk = &mut w.inodes[inode].disk;
        for (time, to) in [(&mut disk.atime, atime), (&mut disk.mtime, mtime)] {
            match to {
                Time::Now => *time = now,
                Time::Omit => {}
                Time::At(seconds) => *time = seconds,
            }
        }
        Ok(())
    })
}

/// `fsetxattr`.
///
/// # Errors
/// `ENOSPC`, `ERANGE`, `EOPNOTSUPP`, `EPERM`.
pub fn fsetxattr<R: Runtime>(rt: &R, file: FileId, name: &[u8], value: &[u8]) -> Result<()> {
    set_xattr(rt, file, name, Some(value))
}

/// `fremovexattr`.
///
/// # Errors
/// `ENODATA` and as [`fsetxattr`].
pub fn fremovexattr<R: Runtime>(rt: &R, file: FileId, name: &[u8]) -> Result<()> {
    set_xattr(rt, file, name, None)
}

fn set_xattr<R: Runtime>(rt: &R, file: FileId, name: &[u8], value: Option<&[u8]>) -> Result<()> {
    let task = rt.task();
    change(rt, file, FIXED, |w, inode, _| {
        xattr_permission(w, task, inode, name, true)?;
        let (sb, ino) = (w.inodes[inode].sb, w.inodes[inode].ino);
        w.sb_mut(sb).fs.set_xattr(ino, name, value)
    })
}

/// `fgetxattr`.
///
/// # Errors
/// `ENODATA`, `EOPNOTSUPP`.
pub fn fgetxattr<R: Runtime>(rt: &R, file: FileId, name: &[u8]) -> Result<Vec<u8>> {
    let inode = fdget(rt, file)?.inode;
    let task = rt.task();
    Ok(rt.step(Op::new("vfs_getxattr").read(Object::WORLD), |w| {
        xattr_permission(w, task, inode, name, false)?;
        let (sb, ino) = (w.inodes[inode].sb, w.inodes[inode].ino);
        w.sb(sb).fs.get_xattr(ino, name)
    })?)
}

/// `flistxattr`: names of attributes, sorted. `trusted.` ones are for who may read them.
///
/// # Errors
/// `EBADF`, `EOPNOTSUPP`.
pub fn flistxattr<R: Runtime>(rt: &R, file: FileId) -> Result<Vec<Vec<u8>>> {
    let inode = fdget(rt, file)?.inode;
    let task = rt.task();
    let mut names = rt.step(Op::new("vfs_listxattr").read(Object::WORLD), |w| {
        let node = &w.inodes[inode];
        let privileged = w.tasks.cred(task).privileged;
        let mut names = w.sb(node.sb).fs.list_xattrs(node.ino)?;
        names.retain(|name| privileged || !name.starts_with(b"trusted."));
        Ok::<_, Errno>(names)
    })?;
    names.sort();
    Ok(names)
}

/// `xattr_permission`, without what is asked of every change; then whether there is such a name space.
fn xattr_permission<F: FileSystem>(
    w: &World<F>,
    task: TaskId,
    inode: InodeId,
    name: &[u8],
    write: bool,
) -> std::result::Result<(), Errno> {
    let (cred, node) = (w.tasks.cred(task), &w.inodes[inode]);
    // What may not be changed is refused; what may not be seen is not there.
    let refused = if write { Errno::EPERM } else { Errno::ENODATA };
    if name.starts_with(b"security.") {
        // cap_inode_setxattr; anybody may read.
        return if write && !cred.privileged { Err(Errno::EPERM) } else { Ok(()) };
    }
    if name.starts_with(b"trusted.") {
        return if cred.privileged { Ok(()) } else { Err(refused) };
    }
    if name.starts_with(b"user.") {
        if !matches!(node.kind(), FileKind::Regular | FileKind::Directory) {
            return Err(refused);
        }
        let sticky = node.kind() == FileKind::Directory && node.disk.mode & 0o1000 != 0;
        if write && sticky && !cred.privileged && cred.uid != node.disk.uid {
            return Err(Errno::EPERM);
        }
    }
    permission(w, task, inode, if write { MAY_WRITE } else { MAY_READ })?;
    if name.starts_with(b"user.") { Ok(()) } else { Err(Errno::EOPNOTSUPP) }
}
