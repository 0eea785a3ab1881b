//! Names that go: `unlink`, `rmdir`, `rename`.

use daxkit_format::dax::{Errno, FileKind};
use daxkit_format::ext4::inode_flags::InodeFlags;

use super::path::{Last, LastKind, lookup_one, parent};
use super::{At, enter};
use crate::fail::{Fail, Result};
use crate::fs::{FileSystem, Ino, Rename};
use crate::ids::{DentryId, InodeId, SbId, TaskId};
use crate::locks::{LockClass, LockId, Mode, acquire, release, with_lock};
use crate::op::Op;
use crate::profile::Personality;
use crate::runtime::Runtime;
use crate::vfs::freeze::with_write;
use crate::vfs::icache::{d_drop, dput};
use crate::vfs::open::{MAY_EXEC, MAY_WRITE, permission, release_path};
use crate::world::World;

/// `may_delete`: whether a name of `inode` may go from `dir`, where it is to be that of a directory or not, if that matters.
fn may_delete<F: FileSystem>(
    w: &World<F>,
    task: TaskId,
    dir: InodeId,
    inode: InodeId,
    is_dir: Option<bool>,
) -> std::result::Result<(), Errno> {
    permission(w, task, dir, MAY_WRITE | MAY_EXEC)?;
    let (parent, node, cred) = (&w.inodes[dir], &w.inodes[inode], w.tasks.cred(task));
    let sticky = parent.disk.mode & 0o1000 != 0;
    let strange = sticky && !cred.privileged && cred.uid != node.disk.uid && cred.uid != parent.disk.uid;
    let fixed = node.disk.flags.intersects(InodeFlags::IMMUTABLE | InodeFlags::APPEND);
    if strange || fixed || node.swap.is_some() || parent.disk.flags.contains(InodeFlags::APPEND) {
        return Err(Errno::EPERM);
    }
    match (is_dir, node.kind() == FileKind::Directory) {
        (Some(true), false) => Err(Errno::ENOTDIR),
        (Some(false), true) => Err(Errno::EISDIR),
        _ => Ok(()),
    }
}

fn remove<R: Runtime>(rt: &R, at: At<'_>, is_dir: bool) -> Result<()> {
    let task = rt.task();
    let (dir, last) = parent(rt, at)?;
    let refused = match last.kind {
        LastKind::Norm => None,
        _ if !is_dir => Some(Errno::EISDIR),
        LastKind::Dot => Some(Errno::EINVAL),
        LastKind::DotDot => Some(Errno::ENOTEMPTY),
        LastKind::Root => Some(Errno::EBUSY),
    };
    let out = match refused {
        Some(errno) => Err(errno.into()),
        None => with_write(rt, at.sb, || {
            with_lock(rt, LockId::i_rwsem(dir.0), Mode::Exclusive, || {
                remove_locked(rt, at.sb, dir.0, &last, is_dir, task)
            })
        }),
    };
    if matches!(out, Err(Fail::Oops)) {
        return Err(Fail::Oops);
    }
    release_path(rt, dir.0, dir.1)?;
    // The inode's end is outside of the directory's lock.
    dput(rt, out?)
}

fn remove_locked<R: Runtime>(
    rt: &R,
    sb: SbId,
    dir: InodeId,
    last: &Last<'_>,
    is_dir: bool,
    task: TaskId,
) -> Result<DentryId> {
    let name = last.name;
    let (inode, dentry) = lookup_one(rt, sb, dir, name)?;
    let lock = LockId::i_rwsem(inode);
    acquire(rt, lock, Mode::Exclusive);
    let done = rt.step(Op::world("unlink"), |w| {
        if last.slash && !is_dir {
            let directory = w.inodes[inode].kind() == FileKind::Directory;
            return Err(if directory { Errno::EISDIR } else { Errno::ENOTDIR });
        }
        w.alive(sb)?;
        may_delete(w, task, dir, inode, Some(is_dir))?;
        let (parent, now) = (w.inodes[dir], w.now);
        w.sb_mut(sb).fs.unlink(parent.ino, name, is_dir, now)?;
        d_drop(w, sb, parent.ino, name);
        w.refresh_inode(inode);
        w.refresh_directory(dir);
        Ok::<_, Errno>(())
    });
    release(rt, lock);
    match done {
        Ok(()) => Ok(dentry),
        Err(errno) => {
            dput(rt, dentry)?;
            Err(errno.into())
        }
    }
}

/// `unlink`.
///
/// # Errors
/// `ENOENT`, `EISDIR`, `EPERM`, `EACCES`, `EROFS`.
pub fn unlink<R: Runtime>(rt: &R, at: At<'_>) -> Result<()> {
    remove(rt, at, false)
}

/// `rmdir`.
///
/// # Errors
/// `ENOENT`, `ENOTDIR`, `ENOTEMPTY`, `EBUSY` (the root).
pub fn rmdir<R: Runtime>(rt: &R, at: At<'_>) -> Result<()> {
    remove(rt, at, true)
}

/// `renameat2`. The flags of what is moved stay as they are: nothing is inherited again.
///
/// # Errors
/// `ENOENT`, `EXDEV`, `EEXIST`, `EINVAL` (into itself), `ENOTEMPTY`, `EISDIR`, `ENOTDIR`, `EPERM` and others.
pub fn rename<R: Runtime>(rt: &R, from: At<'_>, to: At<'_>, how: Rename) -> Result<()> {
    let task = rt.task();
    if from.sb != to.sb {
        return Err(Errno::EXDEV.into());
    }
    let sb = from.sb;
    let (from_dir, from_last) = parent(rt, from)?;
    let (to_dir, to_last) = match parent(rt, to) {
        Ok(found) => found,
        Err(fail) => {
            release_path(rt, from_dir.0, from_dir.1)?;
            return Err(fail);
        }
    };
    // do_renameat2
    if from_last.kind != LastKind::Norm || to_last.kind != LastKind::Norm {
        release_path(rt, from_dir.0, from_dir.1)?;
        release_path(rt, to_dir.0, to_dir.1)?;
        let there = from_last.kind == LastKind::Norm && how == Rename::NoReplace;
        return Err(if there { Errno::EEXIST } else { Errno::EBUSY }.into());
    }
    let victim = with_write(rt, sb, || {
        let across = from_dir.0 != to_dir.0;
        let mutex = LockId { class: LockClass::RenameMutex, of: u32::from(sb.0) };
        if across {
            acquire(rt, mutex, Mode::Exclusive);
        }
        let (first, second) = (from_dir.0.min(to_dir.0), from_dir.0.max(to_dir.0));
        acquire(rt, LockId::i_rwsem(first), Mode::Exclusive);
        if across {
            acquire(rt, LockId::i_rwsem(second), Mode::Exclusive);
        }
        let out = rename_locked(rt, sb, (from_dir.0, from_last), (to_dir.0, to_last), how, task);
        if across {
            release(rt, LockId::i_rwsem(second));
        }
        release(rt, LockId::i_rwsem(first));
        if across {
            release(rt, mutex);
        }
        out
    });
    release_path(rt, from_dir.0, from_dir.1)?;
    release_path(rt, to_dir.0, to_dir.1)?;
    match victim? {
        Some(dentry) => dput(rt, dentry),
        None => Ok(()),
    }
}

type Spot<'a> = (InodeId, Last<'a>);

/// Whether a directory lies in another, or is it.
fn is_below<F: FileSystem>(w: &World<F>, sb: SbId, mut below: Ino, above: Ino) -> bool {
    let fs = &w.sb(sb).fs;
    while below != above {
        match fs.lookup(below, b"..") {
            Ok(parent) if parent != below => below = parent,
            _ => return false,
        }
    }
    true
}

/// What of the names and of where they lie speaks against a rename, before anybody is asked for permission (`do_renameat2`).
fn may_rename<F: FileSystem>(
    w: &World<F>,
    from: Spot<'_>,
    to: Spot<'_>,
    moved: InodeId,
    there: Option<InodeId>,
    how: Rename,
) -> std::result::Result<(), Errno> {
    let is_dir = |inode: InodeId| w.inodes[inode].kind() == FileKind::Directory;
    let exchange = how == Rename::Exchange;
    match (how, there) {
        (Rename::NoReplace, Some(_)) => return Err(Errno::EEXIST),
        (Rename::Exchange, None) => return Err(Errno::ENOENT),
        (Rename::Exchange, Some(other)) if !is_dir(other) && to.1.slash => return Err(Errno::ENOTDIR),
        _ => {}
    }
    if !is_dir(moved) && (from.1.slash || !exchange && to.1.slash) {
        return Err(Errno::ENOTDIR);
    }
    // The trap of lock_rename.
    if from.0 != to.0 {
        let sb = w.inodes[moved].sb;
        let ino = |inode: InodeId| w.inodes[inode].ino;
        if is_dir(moved) && is_below(w, sb, ino(to.0), ino(moved)) {
            return Err(Errno::EINVAL);
        }
        if there.is_some_and(|other| is_dir(other) && is_below(w, sb, ino(from.0), ino(other))) {
            return Err(if exchange { Errno::EINVAL } else { Errno::ENOTEMPTY });
        }
    }
    Ok(())
}

fn rename_locked<R: Runtime>(
    rt: &R,
    sb: SbId,
    from: Spot<'_>,
    to: Spot<'_>,
    how: Rename,
    task: TaskId,
) -> Result<Option<DentryId>> {
    let (moved, moved_dentry) = lookup_one(rt, sb, from.0, from.1.name)?;
    let there = match lookup_one(rt, sb, to.0, to.1.name) {
        Ok(found) => Some(found),
        Err(Fail::Errno(Errno::ENOENT)) => None,
        Err(fail) => {
            dput(rt, moved_dentry)?;
            return Err(fail);
        }
    };
    let done = rt.step(Op::world("rename"), |w| {
        w.alive(sb)?;
        may_rename(w, from, to, moved, there.map(|found| found.0), how)?;
        // Two names of one inode: nothing happens, whoever asks.
        if there.is_some_and(|(other, _)| other == moved) {
            return Ok(());
        }
        let is_dir = w.inodes[moved].kind() == FileKind::Directory;
        may_delete(w, task, from.0, moved, None)?;
        match there {
            Some((other, _)) => may_delete(w, task, to.0, other, (how != Rename::Exchange).then_some(is_dir))?,
            None => permission(w, task, to.0, MAY_WRITE | MAY_EXEC)?,
        }
        // The name `..` changes in a directory that gets another parent.
        if from.0 != to.0 {
            if is_dir {
                permission(w, task, moved, MAY_WRITE)?;
            }
            if let (Rename::Exchange, Some((other, _))) = (how, there)
                && w.inodes[other].kind() == FileKind::Directory
            {
                permission(w, task, other, MAY_WRITE)?;
            }
        }
        enter(w, to.0, moved)?;
        if let (Rename::Exchange, Some((other, _))) = (how, there) {
            enter(w, from.0, other)?;
        }
        let (from_ino, to_ino, now) = (w.inodes[from.0].ino, w.inodes[to.0].ino, w.now);
        let xfs = w.sb(sb).personality == Personality::Xfs;
        let renamed = w.sb_mut(sb).fs.rename(from_ino, from.1.name, to_ino, to.1.name, how, now);
        // xfs_rename says the other of the two that POSIX allows.
        renamed.map_err(|errno| if xfs && errno == Errno::ENOTEMPTY { Errno::EEXIST } else { errno })?;
        d_drop(w, sb, from_ino, from.1.name);
        d_drop(w, sb, to_ino, to.1.name);
        for inode in [Some(moved), there.map(|found| found.0)].into_iter().flatten() {
            w.refresh_inode(inode);
        }
        for dir in [from.0, to.0] {
            w.refresh_directory(dir);
        }
        Ok::<_, Errno>(())
    });
    dput(rt, moved_dentry)?;
    match (done, there) {
        (Ok(()), there) => Ok(there.map(|found| found.1)),
        (Err(errno), Some((_, dentry))) => {
            dput(rt, dentry)?;
            Err(errno.into())
        }
        (Err(errno), None) => Err(errno.into()),
    }
}
