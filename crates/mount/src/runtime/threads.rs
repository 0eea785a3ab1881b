//! Real threads: one mutex for a world, held for a step; one condition variable per sleeping task.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::Runtime;
use crate::fs::FileSystem;
use crate::ids::TaskId;
use crate::op::Op;
use crate::world::World;

/// A world that threads share.
#[derive(Debug)]
pub struct Shared<F> {
    world: Mutex<World<F>>,
    /// One for each task, by number modulo their count: a wake-up for another task is looked at and slept over.
    sleepers: Box<[Condvar]>,
}

/// Condition variables in a [`Shared`].
const SLEEPERS: usize = 64;

/// One task's hold on a shared world. It is `Send`: a thread takes it along.
#[derive(Debug)]
pub struct Thread<F> {
    shared: Arc<Shared<F>>,
    task: TaskId,
}

impl<F: FileSystem> Shared<F> {
    /// Shares `world`.
    #[must_use]
    pub fn new(world: World<F>) -> Arc<Self> {
        Arc::new(Self { world: Mutex::new(world), sleepers: (0..SLEEPERS).map(|_| Condvar::new()).collect() })
    }

    /// Looks at the world, or changes it, from outside of every task.
    pub fn with<T>(&self, f: impl FnOnce(&mut World<F>) -> T) -> T {
        let mut world = self.world.lock();
        let out = f(&mut world);
        self.notify(&mut world);
        out
    }

    /// A runtime for `task`.
    #[must_use]
    pub fn thread(self: &Arc<Self>, task: TaskId) -> Thread<F> {
        Thread { shared: Arc::clone(self), task }
    }

    #[inline]
    fn notify(&self, world: &mut MutexGuard<'_, World<F>>) {
        while let Some(task) = world.tasks.next_woken() {
            self.sleepers[usize::from(task.0) % SLEEPERS].notify_all();
        }
    }
}

impl<F: FileSystem> Runtime for Thread<F> {
    type Fs = F;

    fn task(&self) -> TaskId {
        self.task
    }

    #[inline]
    fn step<T>(&self, op: Op, f: impl FnOnce(&mut World<F>) -> T) -> T {
        let mut world = self.shared.world.lock();
        world.begin_step(|| op);
        let out = f(&mut world);
        world.end_step();
        self.shared.notify(&mut world);
        out
    }

    fn block(&self, _op: Op) {
        let mut world = self.shared.world.lock();
        world.note_deadlock();
        self.shared.notify(&mut world);
        while world.tasks.is_blocked(self.task) {
            self.shared.sleepers[usize::from(self.task.0) % SLEEPERS].wait(&mut world);
        }
    }
}
