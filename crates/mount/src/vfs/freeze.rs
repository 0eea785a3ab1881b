//! `FIFREEZE`, `FITHAW`: no write and no write fault begins while a file system is frozen (`fs/super.c`, Linux 6.12).

use daxkit_format::dax::{Errno, Kernel};

use super::sync::sync_filesystem;
use crate::fail::{Fail, Result};
use crate::fs::FileSystem;
use crate::ids::SbId;
use crate::locks::{LockId, Mode, acquire, release, with_lock};
use crate::op::{Object, Op};
use crate::runtime::Runtime;
use crate::wait::{QueueKey, Wake, sleep_on};
use crate::world::World;

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
    if !matches!(out, Err(Fail::Oops)) {
        sb_end_write(rt, sb);
    }
    out
}

/// Whether a freeze that has begun has also ended. From then on no task holds the levels, though they are taken; a read-only mount
/// needs none.
pub(crate) fn complete<F: FileSystem>(w: &World<F>, sb: SbId) -> bool {
    let level = LockId::sb_pagefault(sb);
    let mount = w.sb(sb);
    mount.frozen && (mount.read_only || w.writer_of(level).is_some_and(|task| !w.tasks.holds(task, level, true)))
}

enum Claim {
    Done,
    Begun,
    Wait,
}

/// `freeze_super`: writers first, then write faults, then everything is written.
///
/// `s_umount` guards the state, but who writes may want it: it is let go while writers are waited for, and taken again before write faults
/// are. Who takes it meanwhile finds a freeze that has begun.
///
/// # Errors
/// `EBUSY` when it is frozen already, or (before 6.6) about to be; those of the sync, after which it is not frozen.
pub fn freeze<R: Runtime>(rt: &R, sb: SbId) -> Result<()> {
    let (umount, queue) = (LockId::s_umount(sb), QueueKey::thaw(sb));
    loop {
        acquire(rt, umount, Mode::Exclusive);
        match begin(rt, sb)? {
            Claim::Done => return Ok(()),
            Claim::Begun => break,
            Claim::Wait => sleep_on(rt, queue),
        }
    }
    acquire(rt, LockId::sb_writers(sb), Mode::Exclusive);
    with_lock(rt, umount, Mode::Exclusive, || {
        acquire(rt, LockId::sb_pagefault(sb), Mode::Exclusive);
        let synced = sync_filesystem(rt, sb);
        if matches!(synced, Err(Fail::Oops)) {
            return synced;
        }
        let task = rt.task();
        rt.step(Op::world("SB_FREEZE_COMPLETE"), |w| {
            for lock in [LockId::sb_pagefault(sb), LockId::sb_writers(sb)] {
                if synced.is_ok() {
                    // Held until the thaw, by the mount rather than by a task, which may end before that.
                    w.tasks.forget_held(task, lock);
                } else {
                    w.unlock(task, lock);
                }
            }
            w.sb_mut(sb).frozen = synced.is_ok();
            w.wake(queue, Wake::All);
        });
        synced
    })
}

/// What `s_umount` is held for at first, and given back with: whose freeze it is. Whoever has to wait is put on the queue in the same step,
/// so that no freeze ends in between.
fn begin<R: Runtime>(rt: &R, sb: SbId) -> std::result::Result<Claim, Errno> {
    let (task, umount, queue) = (rt.task(), LockId::s_umount(sb), QueueKey::thaw(sb));
    rt.step(Op::world("freeze_super"), |w| {
        let capable = w.tasks.cred(task).privileged;
        let mount = w.sb_mut(sb);
        let claim = if !capable {
            // ioctl_fsfreeze
            Err(Errno::EPERM)
        } else if mount.gone {
            // Nobody can ask for it: the descriptor that is asked through keeps the mount.
            Err(Errno::EBADF)
        } else if !mount.frozen {
            mount.frozen = true;
            Ok(if mount.read_only { Claim::Done } else { Claim::Begun })
        } else if mount.profile.kernel < Kernel(6, 6) || complete(w, sb) {
            Err(Errno::EBUSY)
        } else {
            // wait_for_partially_frozen: the other one may still fail.
            Ok(Claim::Wait)
        };
        w.unlock(task, umount);
        if matches!(claim, Ok(Claim::Wait)) {
            w.queue_up(task, queue, false);
        }
        claim
    })
}

/// `thaw_super`, by whichever task.
///
/// # Errors
/// `EINVAL` when it is not frozen, or not yet.
pub fn thaw<R: Runtime>(rt: &R, sb: SbId) -> Result<()> {
    let task = rt.task();
    with_lock(rt, LockId::s_umount(sb), Mode::Exclusive, || {
        rt.step(Op::world("thaw_super"), |w| {
            // ioctl_fsthaw
            if !w.tasks.cred(task).privileged {
                return Err(Errno::EPERM.into());
            }
            if !complete(w, sb) {
                return Err(Errno::EINVAL.into());
            }
            w.sb_mut(sb).frozen = false;
            if w.sb(sb).read_only {
                return Ok(());
            }
            for lock in [LockId::sb_pagefault(sb), LockId::sb_writers(sb)] {
                w.tasks.hold(task, lock, Mode::Exclusive);
                w.unlock(task, lock);
            }
            Ok(())
        })
    })
}
