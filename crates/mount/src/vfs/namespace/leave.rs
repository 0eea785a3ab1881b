//! Names that go: `unlink`, `rmdir`, `rename`.

use daxkit_format::dax::Errno;
use daxkit_format::ext4::inode_flags::InodeFlags;

use super::{At, enter, in_parent, lookup_one, parent, split_last};
use crate::fail::{Fail, Result};
use crate::fs::{FileSystem, Rename};
use crate::ids::{DentryId, InodeId, SbId, TaskId};
use crate::locks::{LockClass, LockId, Mode, acquire, release};
use crate::op::Op;
use crate::runtime::Runtime;
use crate::vfs::freeze::with_write;
use crate::vfs::icache::{d_drop, dput};
use crate::vfs::open::{MAY_EXEC, MAY_WRITE, permission, release_path};
use crate::world::World;

/// `may_delete`: whether a name of `inode` may go from `dir`.
fn may_delete<F: FileSystem>(
    w: &World<F>,
    task: TaskId,
    dir: InodeId,
    inode: InodeId,
) -> std::result::Result<(), Errno> {
    permission(w, task, dir, MAY_WRITE | MAY_EXEC)?;
    let (parent, node, cred) = (&w.inodes[dir], &w.inodes[inode], w.tasks.cred(task));
    let sticky = parent.disk.mode & 0o1000 != 0;
    let strange = sticky && !cred.privileged && cred.uid != node.disk.uid && cred.uid != parent.disk.uid;
    let fixed = node.disk.flags.intersects(InodeFlags::IMMUTABLE | InodeFlags::APPEND);
    if strange || fixed || node.swap.is_some() || parent.disk.flags.contains(InodeFlags::APPEND) {
        return Err(Errno::EPERM);
    }
    Ok(())
}

fn remove<R: Runtime>(rt: &R, at: At<'_>, is_dir: bool) -> Result<()> {
    let task = rt.task();
    let victim = in_parent(rt, at, |dir, name| {
        let (inode, dentry) = lookup_one(rt, at.sb, dir, name)?;
        let lock = LockId::i_rwsem(inode);
        acquire(rt, lock, Mode::Exclusive);
        let done = rt.step(Op::world("unlink"), |w| {
            w.alive(at.sb)?;
            may_delete(w, task, dir, inode)?;
            let (parent, now) = (w.inodes[dir], w.now);
            w.sb_mut(at.sb).fs.unlink(parent.ino, name, is_dir, now)?;
            d_drop(w, at.sb, parent.ino, name);
            w.refresh_inode(inode);
            w.refresh_inode(dir);
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
    })?;
    // The inode's end is outside of the directory's lock.
    dput(rt, victim)
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
    if split_last(at.path).is_none() {
        return Err(Errno::EBUSY.into());
    }
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
    let busy = |fail| if matches!(fail, Fail::Errno(Errno::EEXIST)) { Errno::EBUSY.into() } else { fail };
    let (from_dir, from_name) = parent(rt, from).map_err(busy)?;
    let (to_dir, to_name) = match parent(rt, to).map_err(busy) {
        Ok(found) => found,
        Err(fail) => {
            release_path(rt, from_dir.0, from_dir.1)?;
            return Err(fail);
        }
    };
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
        let out = rename_locked(rt, sb, (from_dir.0, from_name), (to_dir.0, to_name), how, task);
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

type Spot<'a> = (InodeId, &'a [u8]);

fn rename_locked<R: Runtime>(
    rt: &R,
    sb: SbId,
    from: Spot<'_>,
    to: Spot<'_>,
    how: Rename,
    task: TaskId,
) -> Result<Option<DentryId>> {
    let (moved, moved_dentry) = lookup_one(rt, sb, from.0, from.1)?;
    let there = match lookup_one(rt, sb, to.0, to.1) {
        Ok(found) => Some(found),
        Err(Fail::Errno(Errno::ENOENT)) => None,
        Err(fail) => {
            dput(rt, moved_dentry)?;
            return Err(fail);
        }
    };
    let done = rt.step(Op::world("rename"), |w| {
        w.alive(sb)?;
        match (how, there) {
            (Rename::NoReplace, Some(_)) => return Err(Errno::EEXIST),
            (Rename::Exchange, None) => return Err(Errno::ENOENT),
            // Two names of one inode: nothing happens, whoever asks.
            (_, Some((other, _))) if other == moved => return Ok(()),
            _ => {}
        }
        may_delete(w, task, from.0, moved)?;
        match there {
            Some((other, _)) => may_delete(w, task, to.0, other)?,
            None => permission(w, task, to.0, MAY_WRITE | MAY_EXEC)?,
        }
        enter(w, to.0, moved)?;
        if let (Rename::Exchange, Some((other, _))) = (how, there) {
            enter(w, from.0, other)?;
        }
        let (from_ino, to_ino, now) = (w.inodes[from.0].ino, w.inodes[to.0].ino, w.now);
        w.sb_mut(sb).fs.rename(from_ino, from.1, to_ino, to.1, how, now)?;
        d_drop(w, sb, from_ino, from.1);
        d_drop(w, sb, to_ino, to.1);
        for inode in [Some(moved), there.map(|found| found.0), Some(from.0), Some(to.0)].into_iter().flatten() {
            w.refresh_inode(inode);
        }
        Ok(())
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
