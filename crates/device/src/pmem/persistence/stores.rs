//! Stores in flight: lists through one flat array.

use std::ops::Range;

use super::NONE;
use crate::pmem::access::LINE;

/// Bytes that are stored as one, where they are aligned.
const ATOM: usize = 8;

/// The part of one store that lies in one line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    next: u32,
    at: u8,
    len: u8,
    bytes: [u8; LINE],
}

impl Record {
    /// `bytes` is not empty and lies in a line.
    pub(super) fn new(at: usize, bytes: &[u8]) -> Self {
        let mut copy = [0; LINE];
        copy[..bytes.len()].copy_from_slice(bytes);
        Self { next: NONE, at: at as u8, len: bytes.len() as u8, bytes: copy }
    }

    pub(super) fn bytes_in_line(&self) -> Range<usize> {
        usize::from(self.at)..usize::from(self.at) + usize::from(self.len)
    }

    /// How many sets of atoms there are that may have persisted, the empty one not counted.
    pub(super) fn torn_states(&self) -> u64 {
        let range = self.bytes_in_line();
        let atoms = (range.end.div_ceil(ATOM)) - range.start / ATOM;
        (1 << atoms) - 1
    }

    /// Applies the atoms whose bits are set, the first atom's bit lowest.
    pub(super) fn apply_atoms(&self, line: &mut [u8; LINE], atoms: u64) {
        let range = self.bytes_in_line();
        for at in range.clone() {
            if atoms >> (at / ATOM - range.start / ATOM) & 1 == 1 {
                line[at] = self.bytes[at - range.start];
            }
        }
    }
}

/// All stores in flight.
#[derive(Debug)]
pub(super) struct Stores {
    records: Vec<Record>,
    /// Records without use.
    free: u32,
    used: u32,
}

impl Default for Stores {
    fn default() -> Self {
        Self { records: Vec::new(), free: NONE, used: 0 }
    }
}

impl Clone for Stores {
    fn clone(&self) -> Self {
        Self { records: self.records.clone(), free: self.free, used: self.used }
    }

    fn clone_from(&mut self, source: &Self) {
        self.records.clone_from(&source.records);
        (self.free, self.used) = (source.free, source.used);
    }
}

impl Stores {
    pub(super) fn add(&mut self, record: Record) -> u32 {
        self.used += 1;
        if self.free == NONE {
            self.records.push(record);
            return self.records.len() as u32 - 1;
        }
        let at = self.free;
        self.free = self.records[at as usize].next;
        self.records[at as usize] = record;
        at
    }

    pub(super) fn link(&mut self, last: u32, next: u32) {
        self.records[last as usize].next = next;
    }

    /// The list that begins there.
    pub(super) fn from(&self, first: u32) -> impl Iterator<Item = &Record> {
        let mut at = first;
        std::iter::from_fn(move || {
            let record = self.records.get(at as usize)?;
            at = record.next;
            Some(record)
        })
    }

    /// Applies the store and forgets it. Returns the one behind it.
    pub(super) fn fold_into(&mut self, at: u32, line: &mut [u8; LINE]) -> u32 {
        let record = self.records[at as usize];
        line[record.bytes_in_line()].copy_from_slice(&record.bytes[..usize::from(record.len)]);
        self.used -= 1;
        if self.used == 0 {
            // Nothing is left: begin anew, so that a copy is short again.
            self.records.clear();
            self.free = NONE;
        } else {
            self.records[at as usize].next = self.free;
            self.free = at;
        }
        record.next
    }
}
