//! Write-backs on their way: per line a list through one flat array, which is also what a fence goes through.
//!
//! Invariants: a line and a CPU have one mark at most; every mark is in the list of its line, which is in flight.

use super::{LineState, NONE};
use crate::pmem::access::Cpu;
use crate::pmem::line_map::LineMap;

#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) line: u64,
    pub(super) cpu: Cpu,
    /// The next of the same line.
    next: u32,
    /// How many stores of the line are on their way.
    pub(super) upto: u64,
}

#[derive(Debug, Default)]
pub(super) struct Marks {
    marks: Vec<Mark>,
}

impl Clone for Marks {
    fn clone(&self) -> Self {
        Self { marks: self.marks.clone() }
    }

    fn clone_from(&mut self, source: &Self) {
        self.marks.clone_from(&source.marks);
    }
}

impl Marks {
    pub(super) fn len(&self) -> usize {
        self.marks.len()
    }

    /// The list that begins there.
    pub(super) fn of(&self, first: u32) -> impl Iterator<Item = &Mark> {
        let mut at = first;
        std::iter::from_fn(move || {
            let mark = self.marks.get(at as usize)?;
            at = mark.next;
            Some(mark)
        })
    }

    /// Everything that was stored to the line so far is on its way for this CPU.
    pub(super) fn set(&mut self, state: &mut LineState, line: u64, cpu: Cpu) {
        let mut at = state.marks;
        while at != NONE {
            let mark = &mut self.marks[at as usize];
            if mark.cpu == cpu {
                mark.upto = state.max;
                return;
            }
            at = mark.next;
        }
        self.marks.push(Mark { line, cpu, next: state.marks, upto: state.max });
        state.marks = self.marks.len() as u32 - 1;
    }

    /// Takes out the mark at `at` if it is of this CPU.
    pub(super) fn take_of(&mut self, at: usize, cpu: Cpu, lines: &mut LineMap<LineState>) -> Option<Mark> {
        let mark = *self.marks.get(at).filter(|mark| mark.cpu == cpu)?;
        self.repoint(mark.line, at as u32, mark.next, lines);
        self.swap_remove(at, lines);
        Some(mark)
    }

    /// Takes out a whole list; its line is about to be forgotten.
    pub(super) fn remove_all(&mut self, first: u32, lines: &mut LineMap<LineState>) {
        let mut at = first;
        while let Some(mark) = self.marks.get(at as usize).copied() {
            self.repoint(mark.line, at, mark.next, lines);
            self.swap_remove(at as usize, lines);
            at = lines.get(mark.line).map_or(NONE, |state| state.marks);
        }
    }

    /// Who points to `from` in the list of the line points to `to`.
    fn repoint(&mut self, line: u64, from: u32, to: u32, lines: &mut LineMap<LineState>) {
        let Some(state) = lines.get_mut(line) else { return };
        if state.marks == from {
            state.marks = to;
            return;
        }
        let mut at = state.marks;
        while let Some(mark) = self.marks.get_mut(at as usize) {
            if mark.next == from {
                mark.next = to;
                return;
            }
            at = mark.next;
        }
    }

    /// Removes what nobody points to; the last moves into its place.
    fn swap_remove(&mut self, at: usize, lines: &mut LineMap<LineState>) {
        let last = self.marks.len() - 1;
        if at != last {
            self.repoint(self.marks[last].line, last as u32, at as u32, lines);
        }
        self.marks.swap_remove(at);
    }
}
