//! What must hold whenever nobody is in the middle of changing it: properties of section "P" of the design.
//!
//! [`properties`] is the table of all. Those that a state shows are judged at rest ([`check_all`]) and, where that is asked for, after every step
//! that writes what can break them, unless somebody holds a lock under which they may be false ([`World::judge_steps`]). P1, P2 and
//! deadlocks (P10) are judged where they happen ([`crate::world::findings`]); P7 and P13 compare two runs, or a run with what survives a crash.

mod pages;
mod properties;
mod state;
mod tables;

pub use properties::{Judged, Property, properties};

use crate::fs::FileSystem;
use crate::ids::TaskId;
use crate::op::{Kind, Op};
use crate::world::World;
use crate::world::findings::Finding;

/// A property that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Its number: 3 for P3.
    pub property: u8,
    /// What was seen.
    pub what: String,
}

/// Judges a world that is at rest: no task is inside the kernel. Bounded by what is cached and mapped.
#[must_use]
pub fn check_all<F: FileSystem>(w: &World<F>) -> Vec<Broken> {
    judge(w, &properties())
}

fn judge<'p, F: FileSystem + 'p>(w: &World<F>, properties: impl IntoIterator<Item = &'p Property<F>>) -> Vec<Broken> {
    let mut broken = Vec::new();
    for property in properties {
        if let Judged::State(judge) = property.judged {
            judge(w, &mut broken);
        }
    }
    broken
}

/// Judges what a step that was just made can have broken.
pub(crate) fn after_step<F: FileSystem>(w: &mut World<F>, task: TaskId, op: &Op) {
    let all = properties::<F>();
    let mut relevant =
        all.iter().filter(|property| can_break(op, property.broken_by) && !is_excused(w, property)).peekable();
    if relevant.peek().is_none() {
        return;
    }
    for Broken { property, what } in judge(w, relevant) {
        // What was broken by an earlier step is told of that one.
        let known =
            |finding: &Finding| matches!(finding, Finding::Broken { what: told, .. } if told.starts_with(&what));
        if !w.findings.list().iter().any(known) {
            let what = format!("{what}, behind `{}` of {task}", op.name);
            w.findings.add(Finding::Broken { property, what });
        }
    }
}

fn can_break(op: &Op, kinds: &[Kind]) -> bool {
    op.objects()
        .any(|(object, write)| write && kinds.iter().any(|kind| object.is_of(*kind) || object.is_of(Kind::World)))
}

fn is_excused<F: FileSystem>(w: &World<F>, property: &Property<F>) -> bool {
    w.tasks.ids().any(|task| w.tasks.held(task).any(|lock| property.excused.contains(&lock.class)))
}

/// As [`check_all`], noted among the world's findings.
pub fn note_all<F: FileSystem>(w: &mut World<F>) {
    for Broken { property, what } in check_all(w) {
        w.findings.add(Finding::Broken { property, what });
    }
}

#[cfg(test)]
mod tests;
