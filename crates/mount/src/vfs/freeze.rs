//! `FIFREEZE`, `FITHAW`: no write and no write fault begins while a file system is frozen.

use daxkit_format::dax::Errno;

use super::sync::sync_filesystem;
use crate::fail::Result;
use crate::ids::SbId;
use crate::locks::{LockId, Mode, acquire, release};
use crate::op::{Object, Op};
use crate::runtime::Runtime;

/// `sb_start_write`: sleeps while the file system is frozen.
pub fn sb_start_write<R: Runtime>(rt: &R, sb: SbId) {
    acquire(rt, LockId::sb_writers(sb), Mode::Shared);
}

/// `sb_end_write`.
pub fn sb_end_write<R: Runtime>(rt: &R, sb: SbId) {
    release(rt, LockId::sb_writers(sb));
}

/// `mnt_want_write`: not on a read-only mount.
///
/// # Errors
/// `EROFS`.
pub fn mnt_want_write<R: Runtime>(rt: &R, sb: SbId) -> Result<()> {
    sb_start_write(rt, sb);
    let read_only = rt.step(Op::new("__mnt_is_readonly").read(Object::sb(sb)), |w| w.sb(sb).read_only);
    if read_only {
        sb_end_write(rt, sb);
        return Err(Errno::EROFS.into());
    }
    Ok(())
}

/// Runs `f` as a system call that writes.
///
/// # Errors
/// `EROFS`, and those of `f`.
pub fn with_write<R: Runtime, T>(rt: &R, sb: SbId, f: impl FnOnce() -> Result<T>) -> Result<T> {
    mnt_want_write(rt, sb)?;
    let out = f();
    if !matches!(out, Err(crate::fail::Fail::Oops)) {
        sb_end_write(rt, sb);
    }
    out
}

/// `freeze_super`: writers first, then write faults, then everything is written.
///
/// # Errors
/// `EBUSY` when it is frozen already.
pub fn freeze<R: Runtime>(rt: &R, sb: SbId) -> Result<()> {
    if rt.step(Op::new("freeze_super").write(Object::sb(sb)), |w| w.sb(sb).frozen) {
        return Err(Errno::EBUSY.into());
    }
    acquire(rt, LockId::sb_writers(sb), Mode::Exclusive);
    acquire(rt, LockId::sb_pagefault(sb), Mode::Exclusive);
    rt.step(Op::new("frozen").write(Object::sb(sb)), |w| w.sb_mut(sb).frozen = true);
    sync_filesystem(rt, sb)?;
    let task = rt.task();
    // The locks stay held until the thaw, by the mount rather than by a task, which may end before that.
    rt.step(Op::world("frozen"), |w| {
        w.tasks.forget_held(task, LockId::sb_writers(sb));
        w.tasks.forget_held(task, LockId::sb_pagefault(sb));
    });
    Ok(())
}

/// `thaw_super`, by whichever task.
///
/// # Errors
/// `EINVAL` when it is not frozen.
pub fn thaw<R: Runtime>(rt: &R, sb: SbId) -> Result<()> {
    let task = rt.task();
    rt.step(Op::world("thaw_super"), |w| {
        if !w.sb(sb).frozen {
            return Err(Errno::EINVAL.into());
        }
        w.sb_mut(sb).frozen = false;
        for lock in [LockId::sb_pagefault(sb), LockId::sb_writers(sb)] {
            w.tasks.hold(task, lock, Mode::Exclusive);
            w.unlock(task, lock);
        }
        Ok(())
    })
}
