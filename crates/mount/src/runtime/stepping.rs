//! A runtime that is driven: every task is a coroutine that stops before each step and says what the step will touch.
//!
//! A run goes like this: put the world in its first state, [`Stepper::start`] the tasks, then as long as some task can
//! move, choose one and [`Stepper::advance`] it. Stacks are kept from one run to the next, so a run allocates nothing.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

use super::Runtime;
use super::watch::Watch;
use crate::fs::FileSystem;
use crate::ids::TaskId;
use crate::op::Op;
use crate::world::World;

/// Bytes of a task's stack.
const STACK: usize = 128 << 10;

/// What a task says when it stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pending {
    /// It will make this step next.
    Step(Op),
    /// It sleeps until somebody wakes it.
    Sleep(Op),
}

impl Pending {
    /// The step that comes next.
    #[must_use]
    pub const fn op(&self) -> &Op {
        match self {
            Self::Step(op) | Self::Sleep(op) => op,
        }
    }
}

/// What the coroutines and the scheduler share: the world, borrowed for the length of a step.
struct Shared<F> {
    world: RefCell<World<F>>,
    steps: Cell<u64>,
    /// Whether `watch` is to be asked after each step.
    watched: Cell<bool>,
    watch: RefCell<Watch>,
    /// Nothing changes any more: the run is given up.
    livelock: Cell<bool>,
}

impl<F: FileSystem> Shared<F> {
    #[cold]
    fn look(&self, world: &mut World<F>, task: TaskId, op: &Op) {
        if self.watch.borrow_mut().after_step(world, task, op) {
            self.livelock.set(true);
        }
    }
}

type Task = Coroutine<(), (), (), DefaultStack>;

/// How a program stands between two steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// Before the step that is in its mailbox.
    Step,
    /// Before a sleep.
    Sleep,
    /// At its end.
    Ended,
}

/// Where a program leaves what it will do next. It is not handed over with the switch of stacks: that would copy it three
/// times a step.
struct Mailbox {
    stand: Cell<Stand>,
    op: Cell<Op>,
}

impl Mailbox {
    const fn new() -> Self {
        Self { stand: Cell::new(Stand::Ended), op: Cell::new(Op::new("")) }
    }

    #[inline]
    fn pending(&self) -> Option<Pending> {
        match self.stand.get() {
            Stand::Step => Some(Pending::Step(self.op.get())),
            Stand::Sleep => Some(Pending::Sleep(self.op.get())),
            Stand::Ended => None,
        }
    }
}

/// One task's view. It lives on the task's stack.
pub struct Stepped<'y, F> {
    shared: &'y Shared<F>,
    mailbox: &'y Mailbox,
    yielder: &'y Yielder<(), ()>,
    task: TaskId,
}

struct Slot {
    task: TaskId,
    coroutine: Task,
    mailbox: Rc<Mailbox>,
}

/// The tasks of a run and the world they run on.
pub struct Stepper<F> {
    shared: Rc<Shared<F>>,
    slots: Vec<Option<Slot>>,
    /// What ended programs leave to those that come.
    spare: Vec<(DefaultStack, Rc<Mailbox>)>,
}

impl<F: FileSystem + 'static> Stepper<F> {
    /// A stepper over `world`.
    #[must_use]
    pub fn new(world: World<F>) -> Self {
        let shared = Rc::new(Shared {
            world: RefCell::new(world),
            steps: Cell::new(0),
            watched: Cell::new(false),
            watch: RefCell::default(),
            livelock: Cell::new(false),
        });
        Self { shared, slots: Vec::new(), spare: Vec::new() }
    }

    /// From now on judges after each step what the step can have broken ([`crate::invariants::check_after_step`]). To be asked
    /// for while nothing is under way; costs nothing until it is.
    pub fn check_properties(&mut self, on: bool) {
        self.shared.watch.borrow_mut().properties(&self.shared.world.borrow(), on);
        self.note_watch();
    }

    /// Gives a run up when each of its last `bound` steps has left the world in a state in which it had been before, with a
    /// [`Finding::Livelock`](crate::world::findings::Finding::Livelock).
    pub fn bound_livelock(&mut self, bound: Option<u64>) {
        self.shared.watch.borrow_mut().livelock(bound);
        self.note_watch();
    }

    /// Whether the run was given up because nothing changed any more.
    #[must_use]
    pub fn livelocked(&self) -> bool {
        self.shared.livelock.get()
    }

    fn note_watch(&self) {
        self.shared.watched.set(self.shared.watch.borrow().is_on());
    }

    /// Looks at the world, or changes it, between two steps.
    pub fn with<T>(&self, f: impl FnOnce(&mut World<F>) -> T) -> T {
        f(&mut self.shared.world.borrow_mut())
    }

    /// Puts the world back to `first`, drops the tasks of the run before.
    pub fn reset(&mut self, first: &World<F>) {
        for at in 0..self.slots.len() {
            self.retire(at);
        }
        self.slots.clear();
        self.shared.world.borrow_mut().clone_from(first);
        if self.shared.watched.get() {
            self.shared.watch.borrow_mut().forget(first);
            self.shared.livelock.set(false);
        }
    }

    /// Drops the program in place `at`, wherever it stands, and keeps its stack. What it holds in the world stays held.
    pub fn retire(&mut self, at: usize) {
        if let Some(mut slot) = self.slots[at].take() {
            if !slot.coroutine.done() {
                slot.coroutine.force_unwind();
            }
            self.spare.push((slot.coroutine.into_stack(), slot.mailbox));
        }
    }

    /// Starts a program of `task` and runs it up to its first step. Returns its place.
    ///
    /// # Panics
    /// If the host has no memory for another stack.
    pub fn start(&mut self, task: TaskId, program: impl FnOnce(&Stepped<'_, F>) + 'static) -> usize {
        let (stack, mailbox) = self
            .spare
            .pop()
            .unwrap_or_else(|| (DefaultStack::new(STACK).expect("memory for a stack"), Rc::new(Mailbox::new())));
        let (shared, own) = (Rc::clone(&self.shared), Rc::clone(&mailbox));
        let coroutine = Coroutine::with_stack(stack, move |yielder: &Yielder<(), ()>, ()| {
            program(&Stepped { shared: &shared, mailbox: &own, yielder, task });
        });
        let mut slot = Slot { task, coroutine, mailbox };
        Self::resume(&mut slot);
        if let Some(at) = self.slots.iter().position(Option::is_none) {
            self.slots[at] = Some(slot);
            return at;
        }
        self.slots.push(Some(slot));
        self.slots.len() - 1
    }

    #[inline]
    fn resume(slot: &mut Slot) {
        if let CoroutineResult::Return(()) = slot.coroutine.resume(()) {
            slot.mailbox.stand.set(Stand::Ended);
        }
    }

    /// How many places there are; some may be empty.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.slots.len()
    }

    /// What the program in place `at` does next; `None` when it has ended.
    #[must_use]
    pub fn pending(&self, at: usize) -> Option<Pending> {
        self.slots[at].as_ref().and_then(|slot| slot.mailbox.pending())
    }

    /// Whether the program in place `at` can move: it has not ended and does not sleep.
    #[must_use]
    #[inline]
    pub fn enabled(&self, at: usize) -> bool {
        let Some(slot) = &self.slots[at] else { return false };
        match slot.mailbox.stand.get() {
            Stand::Step => true,
            Stand::Sleep => !self.shared.world.borrow().tasks.is_blocked(slot.task),
            Stand::Ended => false,
        }
    }

    /// Lets the program in place `at` make its step and run up to the next.
    pub fn advance(&mut self, at: usize) {
        debug_assert!(self.enabled(at), "the task cannot move");
        if let Some(slot) = &mut self.slots[at] {
            Self::resume(slot);
        }
    }

    /// Whether every program has ended.
    #[must_use]
    pub fn finished(&self) -> bool {
        self.slots.iter().flatten().all(|slot| slot.mailbox.stand.get() == Stand::Ended)
    }

    /// Steps made since the stepper was made.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.shared.steps.get()
    }

    /// Advances by what `choose` picks from the tasks that can move until none can. Returns whether all have ended; if
    /// not, those that are left wait for each other, or do not get on ([`livelocked`](Self::livelocked)).
    pub fn run(&mut self, mut choose: impl FnMut(&Self, &[usize]) -> usize) -> bool {
        let mut enabled = Vec::with_capacity(self.slots.len());
        loop {
            enabled.clear();
            enabled.extend((0..self.slots.len()).filter(|&at| self.enabled(at)));
            if enabled.is_empty() || self.shared.livelock.get() {
                return self.finished();
            }
            let at = choose(self, &enabled);
            self.advance(at);
        }
    }
}

impl<F: FileSystem> Runtime for Stepped<'_, F> {
    type Fs = F;

    fn task(&self) -> TaskId {
        self.task
    }

    #[inline]
    fn step<T>(&self, op: Op, f: impl FnOnce(&mut World<F>) -> T) -> T {
        // Read back from the mailbox by whoever judges the step, so that the label is written once, field by field.
        self.mailbox.op.set(op);
        self.mailbox.stand.set(Stand::Step);
        self.yielder.suspend(());
        let mut world = self.shared.world.borrow_mut();
        self.shared.steps.set(self.shared.steps.get() + 1);
        world.begin_step(|| self.mailbox.op.get());
        let out = f(&mut world);
        world.end_step();
        if self.shared.watched.get() {
            self.shared.look(&mut world, self.task, &self.mailbox.op.get());
        }
        world.tasks.forget_woken();
        out
    }

    fn block(&self, op: Op) {
        self.mailbox.op.set(op);
        self.mailbox.stand.set(Stand::Sleep);
        self.yielder.suspend(());
    }
}
