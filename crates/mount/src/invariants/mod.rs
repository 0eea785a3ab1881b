//! What must hold: properties of section "P" of the design, as values in one table, judged over a world at rest
//! ([`check_all`]), or after each step by what it wrote ([`check_after_step`]).
//!
//! A property that a state shows is judged by looking at it. P1 and P2 are judged by what the steps of one fault saw and did,
//! P13 by comparing two runs ([`same_but_for_dax`]). Of P6 and P8, what survives a crash is for an explorer of crashes to compare.

mod judge;
mod life;
mod pages;
mod runs;
mod step;
mod table;
mod tables;
mod waiting;

pub use runs::{SetOutcome, same_but_for_dax};
pub use step::{History, check_after_step};
pub use table::{Guard, Judged, PROPERTIES, Property};

use crate::fs::FileSystem;
use crate::ids::{InodeId, PAGE_SHIFT};
use crate::world::World;
use crate::world::findings::Finding;
use crate::world::objects::IState;
use judge::{Judge, Wanted};

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
    let mut judge = Judge::new(w, Wanted::states(), true);
    whole(&mut judge);
    tasks(&mut judge, &[]);
    judge.broken
}

/// As [`check_all`], noted among the world's findings.
pub fn note_all<F: FileSystem>(w: &mut World<F>) {
    for Broken { property, what } in check_all(w) {
        w.findings.add(Finding::Broken { property, what });
    }
}

/// Inodes that have been filled; some may be on their way out.
fn filled<F: FileSystem>(w: &World<F>) -> impl Iterator<Item = InodeId> {
    w.inodes.ids().into_iter().filter(move |&inode| !w.inodes[inode].state.contains(IState::NEW))
}

/// All inodes and address spaces.
fn whole<F: FileSystem>(judge: &mut Judge<'_, F>) {
    let w = judge.w;
    for inode in filled(w) {
        one(judge, inode, 0, u64::MAX >> PAGE_SHIFT);
    }
    if (4..=9).any(|number| judge.wants(number)) {
        for mm in w.mms.ids() {
            tables::of_mm(judge, mm, 0, u64::MAX >> PAGE_SHIFT);
        }
    }
}

/// One inode, and pages `from ..= to` of it.
fn one<F: FileSystem>(judge: &mut Judge<'_, F>, inode: InodeId, from: u64, to: u64) {
    let leaving = IState::FREEING | IState::WILL_FREE;
    if judge.wants(14) {
        life::ends(judge, inode);
    }
    if judge.w.inodes[inode].state.intersects(leaving) {
        return;
    }
    if judge.wants(3) {
        pages::homogeneous(judge, inode, from, to);
        pages::counted(judge, inode);
    }
    if judge.wants(4) || judge.wants(8) {
        let due = judge.due(inode);
        if !due.is_empty() {
            pages::owned(judge, due, inode, from, to);
        }
    }
    if judge.wants(12) {
        life::decided(judge, inode);
    }
}

/// What holds of tasks and locks.
fn tasks<F: FileSystem>(judge: &mut Judge<'_, F>, owes: &[u64]) {
    if judge.wants(10) {
        waiting::progress(judge, owes);
    }
    if judge.wants(11) {
        life::frozen(judge);
    }
}

#[cfg(test)]
mod tests;
