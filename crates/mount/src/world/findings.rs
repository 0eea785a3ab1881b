//! What went wrong in a run: crashes of the emulated kernel, locks out of order, deadlocks, broken properties, and steps
//! that touched more than they had said.

use crate::fail::Oops;
use crate::ids::TaskId;
use crate::locks::OrderViolation;
use crate::op::{Object, Op};

/// One thing that went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The kernel crashed in a task.
    Oops(TaskId, Oops),
    /// Locks were taken against their order.
    LockOrder(OrderViolation),
    /// Everybody inside the kernel sleeps.
    Deadlock,
    /// A property does not hold (`P1` to `P14`).
    Broken {
        /// Its number.
        property: u8,
        /// What was seen.
        what: String,
    },
    /// A property does not hold after a step, though nothing that it is excused by is held.
    BrokenAt {
        /// Its number.
        property: u8,
        /// Who made the step.
        task: TaskId,
        /// The step's name.
        step: &'static str,
        /// What was seen.
        what: String,
    },
    /// Tasks went on, and nothing changed.
    Livelock {
        /// How many steps were made since something did.
        steps: u64,
        /// Who made the last of them.
        task: TaskId,
        /// The last step's name.
        step: &'static str,
    },
    /// A step touched what it had not declared: a fault of the emulation, not of what it emulates.
    Undeclared {
        /// The step.
        op: Op,
        /// What it touched.
        object: Object,
        /// Whether it wrote.
        write: bool,
    },
    /// A `WARN_ON`.
    Warning(&'static str),
}

/// The findings of a run.
#[derive(Debug, Default)]
pub struct Findings {
    list: Vec<Finding>,
}

impl Clone for Findings {
    fn clone(&self) -> Self {
        Self { list: self.list.clone() }
    }

    fn clone_from(&mut self, source: &Self) {
        // Nothing is copied where nothing is: the usual case in a search.
        self.list.clear();
        self.list.extend(source.list.iter().cloned());
    }
}

impl Findings {
    /// What was found.
    #[must_use]
    pub fn list(&self) -> &[Finding] {
        &self.list
    }

    /// Takes what was found.
    pub fn take(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.list)
    }

    pub(crate) fn add(&mut self, finding: Finding) {
        if !self.list.contains(&finding) {
            self.list.push(finding);
        }
    }

    pub(crate) fn order(&mut self, violation: OrderViolation) {
        self.add(Finding::LockOrder(violation));
    }
}
