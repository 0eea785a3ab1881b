//! Locks as data: who holds them, who waits, in which order they may be taken.
//!
//! A lock is granted in the order of asking, as an rwsem's queue does: a reader that comes after a waiting writer waits
//! too. Asking and being granted are two steps when the lock is not free. A lock is handed over by the task that
//! releases it; nobody can slip in between.

use std::fmt;

use crate::fs::FileSystem;
use crate::ids::{InodeId, MmId, SbId, TaskId};
use crate::op::{Object, Op};
use crate::runtime::Runtime;
use crate::world::World;

/// Classes of locks, outermost first: the order in which a task may take them (`mm/filemap.c`, `mm/rmap.c`,
/// `fs/xfs/xfs_inode.c`, Linux 6.12).
///
/// Spinlocks that are never held across a step (`i_pages`, page-table locks) have no class: a step is atomic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum LockClass {
    /// `sb_start_write`: the freeze level of system calls.
    SbWriters,
    /// `s_umount`: a freeze lets it go to wait for writers, who may take it.
    SUmount,
    /// `s_vfs_rename_mutex`.
    RenameMutex,
    /// `i_aops_sem` of a full lock-out design.
    IAopsSem,
    /// `inode->i_rwsem`; of two, the directory and then the child, or ascending.
    IRwsem,
    /// `mm->mmap_lock`.
    MmapLock,
    /// `sb_start_pagefault`: the freeze level of faults.
    SbPagefault,
    /// `mapping->invalidate_lock`.
    InvalidateLock,
    /// A running transaction of ext4: begun between `invalidate_lock` and the entry.
    Journal,
    /// XFS's ILOCK, ext4's `i_data_sem`.
    IData,
    /// `mapping->i_mmap_rwsem`.
    IMmapRwsem,
}

impl LockClass {
    /// The kernel's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SUmount => "s_umount",
            Self::SbWriters => "sb_writers",
            Self::RenameMutex => "s_vfs_rename_mutex",
            Self::IAopsSem => "i_aops_sem",
            Self::IRwsem => "i_rwsem",
            Self::MmapLock => "mmap_lock",
            Self::SbPagefault => "sb_pagefault",
            Self::InvalidateLock => "invalidate_lock",
            Self::Journal => "jbd2_handle",
            Self::IData => "i_data_sem",
            Self::IMmapRwsem => "i_mmap_rwsem",
        }
    }

    /// Whether a task may hold two of the class, the second of a higher number.
    const fn nests(self) -> bool {
        matches!(self, Self::IRwsem | Self::InvalidateLock | Self::IData)
    }
}

/// One lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockId {
    /// Its class.
    pub class: LockClass,
    /// Whose it is: the number of an inode, a mount, an address space.
    pub of: u32,
}

impl LockId {
    /// `i_rwsem`.
    #[must_use]
    pub const fn i_rwsem(inode: InodeId) -> Self {
        Self { class: LockClass::IRwsem, of: inode.0 }
    }
    /// `invalidate_lock`.
    #[must_use]
    pub const fn invalidate(inode: InodeId) -> Self {
        Self { class: LockClass::InvalidateLock, of: inode.0 }
    }
    /// `i_data_sem` or ILOCK.
    #[must_use]
    pub const fn i_data(inode: InodeId) -> Self {
        Self { class: LockClass::IData, of: inode.0 }
    }
    /// `i_mmap_rwsem`.
    #[must_use]
    pub const fn i_mmap(inode: InodeId) -> Self {
        Self { class: LockClass::IMmapRwsem, of: inode.0 }
    }
    /// `mmap_lock`.
    #[must_use]
    pub const fn mmap(mm: MmId) -> Self {
        Self { class: LockClass::MmapLock, of: mm.0 as u32 }
    }
    /// `sb_start_write`.
    #[must_use]
    pub const fn sb_writers(sb: SbId) -> Self {
        Self { class: LockClass::SbWriters, of: sb.0 as u32 }
    }
    /// `sb_start_pagefault`.
    #[must_use]
    pub const fn sb_pagefault(sb: SbId) -> Self {
        Self { class: LockClass::SbPagefault, of: sb.0 as u32 }
    }
    /// ext4's running transaction.
    #[must_use]
    pub const fn journal(sb: SbId) -> Self {
        Self { class: LockClass::Journal, of: sb.0 as u32 }
    }
    /// `s_umount`.
    #[must_use]
    pub const fn s_umount(sb: SbId) -> Self {
        Self { class: LockClass::SUmount, of: sb.0 as u32 }
    }

    pub(crate) const fn key(self) -> u64 {
        (self.class as u64) << 32 | self.of as u64
    }
}

impl fmt::Display for LockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.class.name(), self.of)
    }
}

/// Shared or exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Many readers.
    #[default]
    Shared,
    /// One writer.
    Exclusive,
}

/// A lock's state: holders, and a queue that is threaded through the tasks.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LockState {
    writer: TaskId,
    readers: u32,
    head: TaskId,
    tail: TaskId,
}

/// Something that the order of locks forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderViolation {
    /// Who.
    pub task: TaskId,
    /// What the task held.
    pub held: LockId,
    /// What it took.
    pub taken: LockId,
}

impl fmt::Display for OrderViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} takes {} while it holds {}", self.task, self.taken, self.held)
    }
}

impl<F: FileSystem> World<F> {
    /// Takes the lock for `task` if nobody is before it, else puts the task to sleep on its queue. Returns whether it
    /// was taken.
    pub(crate) fn lock_or_queue(&mut self, task: TaskId, lock: LockId, mode: Mode) -> bool {
        self.touch(Object::lock(lock), true);
        self.check_order(task, lock);
        let state = self.locks.entry(lock.key());
        let free = match mode {
            Mode::Shared => state.writer.is_none() && state.head.is_none(),
            Mode::Exclusive => state.writer.is_none() && state.readers == 0 && state.head.is_none(),
        };
        if free {
            match mode {
                Mode::Shared => state.readers += 1,
                Mode::Exclusive => state.writer = task,
            }
            self.tasks.hold(task, lock, mode);
            return true;
        }
        let tail = std::mem::replace(&mut state.tail, task);
        if tail.is_none() {
            state.head = task;
        } else {
            self.tasks.set_next(tail, task);
        }
        self.tasks.sleep_for_lock(task, lock, mode);
        false
    }

    /// Gives the lock back, and hands it to whoever is first in the queue: one writer, or all readers before the next.
    pub(crate) fn unlock(&mut self, task: TaskId, lock: LockId) {
        self.touch(Object::lock(lock), true);
        let mode = self.tasks.drop_held(task, lock);
        let state = self.locks.entry(lock.key());
        match mode {
            Mode::Exclusive => state.writer = TaskId::NONE,
            Mode::Shared => state.readers -= 1,
        }
        while let Some(first) = state.head.some() {
            let (wanted, next) = self.tasks.waiting(first);
            let grant = match wanted {
                Mode::Shared => state.writer.is_none(),
                Mode::Exclusive => state.writer.is_none() && state.readers == 0,
            };
            if !grant {
                break;
            }
            match wanted {
                Mode::Shared => state.readers += 1,
                Mode::Exclusive => state.writer = first,
            }
            state.head = next;
            if next.is_none() {
                state.tail = TaskId::NONE;
            }
            self.tasks.hold(first, lock, wanted);
            self.tasks.make_runnable(first);
        }
    }

    fn check_order(&mut self, task: TaskId, taken: LockId) {
        for held in self.tasks.held(task) {
            let wrong = match held.class.cmp(&taken.class) {
                std::cmp::Ordering::Less => false,
                std::cmp::Ordering::Equal => !taken.class.nests() || held.of == taken.of,
                std::cmp::Ordering::Greater => true,
            };
            if wrong {
                self.findings.order(OrderViolation { task, held, taken });
            }
        }
    }

    /// Who holds a lock exclusively.
    #[must_use]
    pub fn writer_of(&self, lock: LockId) -> Option<TaskId> {
        self.locks.get(lock.key()).and_then(|state| state.writer.some())
    }

    /// Whether somebody holds a lock at least this way.
    pub(crate) fn is_held(&self, lock: LockId, mode: Mode) -> bool {
        self.writer_of(lock).is_some() || (mode == Mode::Shared && self.readers_of(lock) > 0)
    }

    /// Who sleeps for a lock, in the order of asking.
    pub(crate) fn queue_of(&self, lock: LockId) -> impl Iterator<Item = TaskId> + '_ {
        let mut at = self.locks.get(lock.key()).map_or(TaskId::NONE, |state| state.head);
        std::iter::from_fn(move || {
            let task = at.some()?;
            at = self.tasks.next(task);
            Some(task)
        })
    }

    /// How many hold a lock shared.
    #[must_use]
    pub fn readers_of(&self, lock: LockId) -> u32 {
        self.locks.get(lock.key()).map_or(0, |state| state.readers)
    }
}

/// Takes `lock`, and sleeps for it if need be.
#[inline]
pub fn acquire<R: Runtime>(rt: &R, lock: LockId, mode: Mode) {
    let op = Op::new("lock").write(Object::lock(lock));
    let task = rt.task();
    if !rt.step(op, |w| w.lock_or_queue(task, lock, mode)) {
        rt.block(Op::new("sleep for lock").write(Object::lock(lock)));
    }
}

/// Gives `lock` back.
#[inline]
pub fn release<R: Runtime>(rt: &R, lock: LockId) {
    let op = Op::new("unlock").write(Object::lock(lock));
    let task = rt.task();
    rt.step(op, |w| w.unlock(task, lock));
}

/// Runs `f` with `lock` held. After an oops the lock stays held, as it does in the kernel: the task died with it.
#[inline]
pub fn with_lock<R: Runtime, T>(
    rt: &R,
    lock: LockId,
    mode: Mode,
    f: impl FnOnce() -> crate::fail::Result<T>,
) -> crate::fail::Result<T> {
    acquire(rt, lock, mode);
    let out = f();
    if !matches!(out, Err(crate::fail::Fail::Oops)) {
        release(rt, lock);
    }
    out
}
