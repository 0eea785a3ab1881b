//! Wait queues, explicit: who sleeps, who is woken, who has to pass a wake-up on.
//!
//! With "wait until" a lost wake-up could not happen; the kernel's DAX entries can lose one, so the queues are here.

use crate::fs::FileSystem;
use crate::ids::{FolioId, InodeId, PTRS_PER_PMD, SbId, TaskId};
use crate::op::{Object, Op};
use crate::runtime::Runtime;
use crate::world::World;

/// Which queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueKey(pub(crate) u64);

impl QueueKey {
    /// The queue of a locked DAX entry (`dax_entry_waitqueue`): hashed by mapping and index, for a PMD entry by its
    /// first index. Here every entry has its own; the kernel's share 4,096.
    #[must_use]
    pub const fn dax_entry(inode: InodeId, index: u64, pmd: bool) -> Self {
        let index = if pmd { index & !(PTRS_PER_PMD - 1) } else { index };
        Self(1 << 60 | (inode.0 as u64 & 0xF_FFFF) << 36 | index & 0xF_FFFF_FFFF)
    }
    /// The queue of a locked folio.
    #[must_use]
    pub const fn folio(inode: InodeId, index: u64) -> Self {
        Self(2 << 60 | (inode.0 as u64 & 0xF_FFFF) << 36 | index & 0xF_FFFF_FFFF)
    }
    /// Who waits for pins of an inode's pages to go (`dax_layout_busy_page`).
    #[must_use]
    pub const fn pins(inode: InodeId) -> Self {
        Self(3 << 60 | inode.0 as u64)
    }
    /// Who waits for an inode to be new no more, or freed (`__I_NEW`).
    #[must_use]
    pub const fn inode(inode: InodeId) -> Self {
        Self(4 << 60 | inode.0 as u64)
    }
    /// Who waits for a thaw.
    #[must_use]
    pub const fn thaw(sb: SbId) -> Self {
        Self(5 << 60 | sb.0 as u64)
    }
    /// Who waits for direct I/O of an inode (`inode_dio_wait`).
    #[must_use]
    pub const fn dio(inode: InodeId) -> Self {
        Self(6 << 60 | inode.0 as u64)
    }

    /// What it is that its sleepers wait for.
    pub(crate) const fn awaited(self) -> Awaited {
        let (low, inode) = (self.0 & 0xF_FFFF_FFFF, (self.0 >> 36 & 0xF_FFFF) as u32);
        match self.0 >> 60 {
            1 => Awaited::Entry(InodeId(inode), low),
            2 => Awaited::Folio(FolioId(inode)),
            4 => Awaited::Inode(InodeId(self.0 as u32)),
            5 => Awaited::Thaw(SbId(self.0 as u16)),
            _ => Awaited::Pins,
        }
    }

    /// Its label.
    #[must_use]
    pub const fn object(self) -> Object {
        Object::queue(self.0)
    }
}

/// What the sleepers of a queue wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// A DAX entry is unlocked or goes.
    Entry(InodeId, u64),
    /// A folio is unlocked.
    Folio(FolioId),
    /// An inode is filled, or gone.
    Inode(InodeId),
    /// A file system is thawed.
    Thaw(SbId),
    /// Pins, or direct I/O: what ends by the doing of user space.
    Pins,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Queue {
    head: TaskId,
    tail: TaskId,
}

/// How many sleepers a wake-up is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// All that wait without exclusion before it, and the first that waits exclusively.
    One,
    /// All.
    All,
}

impl<F: FileSystem> World<F> {
    /// Puts `task` on a queue, asleep: at the end if it waits exclusively, else at the front (`prepare_to_wait`). The runtime's
    /// `block` comes next.
    pub fn queue_up(&mut self, task: TaskId, key: QueueKey, exclusive: bool) {
        self.touch(key.object(), true);
        self.tasks.sleep_on_queue(task, key.0, exclusive);
        let queue = self.queues.entry(key.0);
        let (head, tail) = (queue.head, queue.tail);
        if tail.is_none() {
            (queue.head, queue.tail) = (task, task);
        } else if exclusive {
            queue.tail = task;
            self.tasks.set_next(tail, task);
        } else {
            queue.head = task;
            self.tasks.set_next(task, head);
        }
    }

    /// Wakes sleepers of a queue, in their order. Returns how many.
    pub fn wake(&mut self, key: QueueKey, wake: Wake) -> usize {
        self.touch(key.object(), true);
        self.wake_quietly(key, wake)
    }

    /// As [`wake`](Self::wake), for a queue whose label is that of something else: a folio's belongs to `i_pages`.
    pub(crate) fn wake_quietly(&mut self, key: QueueKey, wake: Wake) -> usize {
        let Some(queue) = self.queues.get(key.0) else { return 0 };
        let (mut before, mut at) = (TaskId::NONE, queue.head);
        let (mut woken, mut exclusive_done) = (0, false);
        let mut left = Queue::default();
        while let Some(task) = at.some() {
            at = self.tasks.next(task);
            let exclusive = self.tasks.waits_exclusively(task);
            if wake == Wake::All || !exclusive_done {
                exclusive_done |= exclusive;
                self.tasks.set_next(task, TaskId::NONE);
                self.tasks.make_runnable(task);
                woken += 1;
                continue;
            }
            if before.is_none() {
                left.head = task;
            } else {
                self.tasks.set_next(before, task);
            }
            left.tail = task;
            before = task;
        }
        if before.is_some() {
            self.tasks.set_next(before, TaskId::NONE);
            self.queues.insert(key.0, left);
        } else {
            self.queues.remove(key.0);
        }
        woken
    }

    /// Whether somebody sleeps on a queue.
    #[must_use]
    pub fn has_sleepers(&self, key: QueueKey) -> bool {
        self.queues.get(key.0).is_some_and(|queue| queue.head.is_some())
    }

    /// Takes one task off its queue: a signal ends an interruptible sleep.
    pub fn interrupt(&mut self, task: TaskId) {
        self.tasks.set_signal(task, true);
        let super::world::tasks::Sleep::Queue(key) = self.tasks.sleep(task) else { return };
        let Some(queue) = self.queues.get(key) else { return };
        let (mut left, mut at) = (Queue::default(), queue.head);
        while let Some(other) = at.some() {
            at = self.tasks.next(other);
            self.tasks.set_next(other, TaskId::NONE);
            if other == task {
                continue;
            }
            if left.tail.is_none() {
                left.head = other;
            } else {
                self.tasks.set_next(left.tail, other);
            }
            left.tail = other;
        }
        if left.head.is_some() {
            self.queues.insert(key, left);
        } else {
            self.queues.remove(key);
        }
        self.tasks.make_runnable(task);
    }
}

/// Sleeps on a queue that the task has put itself on in its last step.
pub fn sleep_on<R: Runtime>(rt: &R, key: QueueKey) {
    rt.block(Op::new("sleep").write(key.object()));
}
