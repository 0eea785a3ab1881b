//! How kernel code runs: in atomic steps on a world, and asleep in between.
//!
//! All of the emulated kernel is written against [`Runtime`]. On [`threads`] a step holds the one mutex of the world; in
//! [`stepping`] a scheduler decides before every step who makes the next. The borrow checker keeps references into the
//! world from living across steps, so a task that is abandoned between two steps owns nothing.

#![allow(clippy::disallowed_types, reason = "a runtime is what shares a world between tasks")]

pub mod stepping;
#[cfg(test)]
mod tests;
pub mod threads;
mod watch;

use crate::fs::FileSystem;
use crate::ids::TaskId;
use crate::op::Op;
use crate::world::World;

/// What kernel code runs on, as one task.
pub trait Runtime {
    /// The file system behind the mounts.
    type Fs: FileSystem;

    /// The task that runs (`current`).
    fn task(&self) -> TaskId;

    /// Does `f` to the world, all at once. `op` names every object that `f` touches; in a checked world `f` is held to it.
    fn step<T>(&self, op: Op, f: impl FnOnce(&mut World<Self::Fs>) -> T) -> T;

    /// Sleeps until another task makes this one runnable. The task has put itself on a queue in the step before.
    fn block(&self, op: Op);
}
