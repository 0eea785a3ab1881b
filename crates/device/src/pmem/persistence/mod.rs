//! A watch that knows where bytes are: in the cache, on their way, durable.
//!
//! For each line that is not wholly durable it keeps the durable content and the stores since, in order. Of those any
//! number from `min` to `max` may have reached the media when power fails: the cache may evict a line at any time, so even what
//! nobody wrote back. `max` is what was executed, `min` what is guaranteed; stores below `min` are folded into the durable content
//! and forgotten. A line of which everything is durable is forgotten too. So memory is bounded by the stores in flight.
//!
//! - `clwb`, `clflushopt` and a non-temporal store mark the line for their CPU, up to `max`; that CPU's fence raises `min`
//!   to its marks. `clflush` raises `min` at once.
//! - Stores to one line persist in order. Of one store of more than 8 bytes any subset of its aligned 8-byte atoms may persist
//!   before the next store to the line does.
//! - In [`Domain::Eadr`] the cache is durable: nothing is ever in flight.
//!
//! Everything is in flat arrays of `Copy` elements, so that `clone_from` copies memory and allocates nothing.

mod marks;
mod stores;
#[cfg(test)]
mod tests;

use super::access::{Cpu, LINE};
use super::line_map::LineMap;
use super::watch::{LineStore, StoreKind, Watch, WriteBack};
use marks::Marks;
use stores::{Record, Stores};

/// The end of a list in an array.
const NONE: u32 = u32::MAX;

/// What survives a power cut besides the media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Domain {
    /// The memory controller's queues: what was written back and fenced.
    #[default]
    Adr,
    /// The CPU caches too: what was stored.
    Eadr,
}

/// Where the last store to a byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereabouts {
    /// In the cache; on media only if the line happened to be evicted.
    Cache,
    /// Written back, not fenced.
    OnItsWay,
    /// It survives for certain.
    Durable,
}

/// A line of which not everything is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InFlight {
    /// Its number.
    pub line: u64,
    /// How many stores have persisted for certain, counted since the line was last wholly durable.
    pub min: u64,
    /// How many were executed.
    pub max: u64,
    /// How many are on their way at least, whoever wrote them back.
    pub on_its_way: u64,
    /// How many contents a power cut may leave.
    pub states: u64,
}

#[derive(Debug, Clone, Copy)]
struct LineState {
    durable: [u8; LINE],
    /// Pending stores, oldest first.
    first: u32,
    last: u32,
    min: u64,
    max: u64,
    /// The marks of this line.
    marks: u32,
}

/// Knows what is durable.
#[derive(Debug, Default)]
pub struct Persistence {
    domain: Domain,
    lines: LineMap<LineState>,
    stores: Stores,
    marks: Marks,
}

impl Clone for Persistence {
    fn clone(&self) -> Self {
        Self { domain: self.domain, lines: self.lines.clone(), stores: self.stores.clone(), marks: self.marks.clone() }
    }

    fn clone_from(&mut self, source: &Self) {
        self.domain = source.domain;
        self.lines.clone_from(&source.lines);
        self.stores.clone_from(&source.stores);
        self.marks.clone_from(&source.marks);
    }
}

impl Persistence {
    /// Everything that is there now is durable.
    #[must_use]
    pub fn new(domain: Domain) -> Self {
        Self { domain, ..Self::default() }
    }

    /// What survives besides the media.
    #[must_use]
    pub fn domain(&self) -> Domain {
        self.domain
    }

    /// Whether everything is durable.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.lines.is_empty()
    }

    /// The lines of which not everything is durable, in an order that depends on the operations so far only.
    pub fn in_flight(&self) -> impl Iterator<Item = InFlight> {
        self.lines.iter().map(|(line, state)| InFlight {
            line,
            min: state.min,
            max: state.max,
            on_its_way: self.marks.of(state.marks).map(|mark| mark.upto).max().unwrap_or(0).max(state.min),
            states: self.stores.from(state.first).fold(1, |n, store| n + store.torn_states()),
        })
    }

    /// The content of a line that is certain to survive; `None` where that is the visible one.
    #[must_use]
    pub fn durable_line(&self, line: u64) -> Option<&[u8; LINE]> {
        self.lines.get(line).map(|state| &state.durable)
    }

    /// Where the last store to a byte of a line is.
    #[must_use]
    pub fn whereabouts(&self, line: u64, at: usize) -> Whereabouts {
        let Some(state) = self.lines.get(line) else { return Whereabouts::Durable };
        let mut ordinal = state.min;
        let mut last = None;
        for store in self.stores.from(state.first) {
            ordinal += 1;
            if store.bytes_in_line().contains(&at) {
                last = Some(ordinal);
            }
        }
        match last {
            None => Whereabouts::Durable,
            Some(last) if self.marks.of(state.marks).any(|mark| mark.upto >= last) => Whereabouts::OnItsWay,
            Some(_) => Whereabouts::Cache,
        }
    }

    /// Whether this CPU has a write-back of the line on its way that its next fence will complete.
    #[must_use]
    pub fn is_marked(&self, line: u64, cpu: Cpu) -> bool {
        self.lines.get(line).is_some_and(|state| self.marks.of(state.marks).any(|mark| mark.cpu == cpu))
    }

    /// The content number `choice` of those that a power cut may leave: 0 is the durable one, then for each store in
    /// order the subsets of its atoms, the whole store last. A number beyond the last is the last.
    pub(super) fn content(&self, line: u64, choice: u64) -> Option<[u8; LINE]> {
        let state = self.lines.get(line)?;
        let mut content = state.durable;
        let mut left = choice;
        for store in self.stores.from(state.first) {
            if left == 0 {
                break;
            }
            let subsets = store.torn_states();
            store.apply_atoms(&mut content, left.min(subsets));
            left = left.saturating_sub(subsets);
        }
        Some(content)
    }

    /// What is up to `upto` is durable from now on.
    fn raise(&mut self, line: u64, upto: u64) {
        let Some(state) = self.lines.get_mut(line) else { return };
        while state.min < upto && state.first != NONE {
            state.first = self.stores.fold_into(state.first, &mut state.durable);
            state.min += 1;
        }
        if state.first == NONE {
            let marks = state.marks;
            self.marks.remove_all(marks, &mut self.lines);
            self.lines.remove(line);
        }
    }

    fn mark(&mut self, line: u64, cpu: Cpu) {
        if let Some(state) = self.lines.get_mut(line) {
            self.marks.set(state, line, cpu);
        }
    }
}

impl Watch for Persistence {
    const WATCHES_LINES: bool = true;

    fn line_store(&mut self, store: &LineStore<'_>) {
        if self.domain == Domain::Eadr {
            return;
        }
        let record = self.stores.add(Record::new(store.at, store.bytes));
        match self.lines.get_mut(store.line) {
            Some(state) => {
                self.stores.link(state.last, record);
                state.last = record;
                state.max += 1;
            }
            None => {
                let durable = *store.before;
                let state = LineState { durable, first: record, last: record, min: 0, max: 1, marks: NONE };
                self.lines.insert_new(store.line, state);
            }
        }
        if store.kind == StoreKind::NonTemporal {
            self.mark(store.line, store.cpu);
        }
    }

    fn write_back(&mut self, cpu: Cpu, line: u64, how: WriteBack) {
        match how {
            WriteBack::Clwb | WriteBack::ClflushOpt => self.mark(line, cpu),
            WriteBack::Clflush => self.raise(line, u64::MAX),
        }
    }

    fn fence(&mut self, cpu: Cpu) {
        // Backwards: what moves into a place from behind has been looked at.
        let mut at = self.marks.len();
        while at > 0 {
            at -= 1;
            if let Some(mark) = self.marks.take_of(at, cpu, &mut self.lines) {
                self.raise(mark.line, mark.upto);
            }
            at = at.min(self.marks.len());
        }
    }
}
