//! Who a scenario is run against.

use crate::ast::Turn;
use crate::case::Case;
use crate::ops::Operation;
use crate::value::{Outcome, Record};
use crate::words::Need;

/// A task of a case: its place among [`Case::tasks`] (0 is `root`; tasks that were forked come after those declared).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskRef<'a> {
    /// Its number.
    pub index: usize,
    /// Its name.
    pub name: &'a str,
}

/// Why a case could not begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SetUpError(pub String);

/// One operation of a concurrent block.
#[derive(Debug, Clone, Copy)]
pub struct ConcurrentStep<'a> {
    /// Which step of the block's list it is, for telling its outcome.
    pub index: usize,
    /// Whose.
    pub task: TaskRef<'a>,
    /// What.
    pub operation: &'a Operation,
}

/// Something that can do the operations of a scenario: the emulated kernel, or a real one.
pub trait Subject {
    /// Whether it can give what a scenario needs. A case that needs what is not there is skipped, naming it.
    fn supports(&self, need: Need) -> bool;

    /// Makes what a case declares: devices, file systems, mounted unless declared otherwise, tasks. What was there from
    /// an earlier case is gone.
    ///
    /// # Errors
    /// When that cannot be made; the case fails.
    fn begin(&mut self, case: &Case<'_>) -> Result<(), SetUpError>;

    /// Does one operation. A descriptor or mapping whose making failed is not there: `EBADF`, `SIGSEGV`.
    ///
    /// An operation that waits for another task gives [`Outcome::Blocked`]; [`Operation::Wait`] of the same task then
    /// tells how it ended.
    fn run(&mut self, task: TaskRef<'_>, operation: &Operation) -> Outcome;

    /// Runs the steps of a concurrent block with an interleaving of its own choice (`schedule` empty) or with this one,
    /// and gives an outcome for each step in the order of `steps`. `None`: it has no finer interleaving than whole
    /// operations, which the driver then chooses.
    fn concurrent(&mut self, steps: &[ConcurrentStep<'_>], schedule: &[Turn]) -> Option<Vec<Outcome>> {
        let _ = (steps, schedule);
        None
    }

    /// Trace events since the last call, in order, for the transcript. What [`Operation::Trace`] tells is apart from it.
    fn take_events(&mut self) -> Vec<Record> {
        Vec::new()
    }

    /// Incidents and violated properties (`P3`) since the last call, in words; the first word is what a claim names.
    fn take_incidents(&mut self) -> Vec<String> {
        Vec::new()
    }
}
