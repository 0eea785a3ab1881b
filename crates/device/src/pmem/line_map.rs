//! A map from numbers of lines to plain data: open addressing over flat arrays of `Copy` elements.
//!
//! Why not a hash map of a library: `clone_from` must be two copies of memory and no allocation, also where the two
//! sides have grown differently.
//!
//! Invariants: `table` is a power of two long (or empty) and at most half full; every entry's index is in it exactly once,
//! reachable from its key's home without a gap.

/// No entry here.
const EMPTY: u32 = u32::MAX;

/// The golden ratio in 64 bits (Knuth's multiplicative hashing): neighbouring lines do not meet.
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

/// A map by line number. Entries have positions that change when one is removed.
#[derive(Debug)]
pub(super) struct LineMap<T> {
    entries: Vec<(u64, T)>,
    table: Vec<u32>,
}

impl<T: Copy> Clone for LineMap<T> {
    fn clone(&self) -> Self {
        Self { entries: self.entries.clone(), table: self.table.clone() }
    }

    fn clone_from(&mut self, source: &Self) {
        self.entries.clone_from(&source.entries);
        self.table.clone_from(&source.table);
    }
}

impl<T: Copy> Default for LineMap<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), table: Vec::new() }
    }
}

impl<T: Copy> LineMap<T> {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Entries in an order that depends on the operations so far only.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.entries.iter().map(|(line, value)| (*line, value))
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.table.fill(EMPTY);
    }

    #[inline]
    fn home(&self, line: u64) -> usize {
        // The upper bits are the mixed ones; a table has 2^32 places at most.
        ((line.wrapping_mul(FACTOR) >> 32) as usize) & (self.table.len() - 1)
    }

    /// The place in the table that leads to the entry.
    #[inline]
    fn place(&self, line: u64) -> Option<usize> {
        if self.table.is_empty() {
            return None;
        }
        let mask = self.table.len() - 1;
        let mut at = self.home(line);
        loop {
            let index = self.table[at];
            if index == EMPTY {
                return None;
            }
            if self.entries[index as usize].0 == line {
                return Some(at);
            }
            at = (at + 1) & mask;
        }
    }

    #[inline]
    pub(super) fn get(&self, line: u64) -> Option<&T> {
        let at = self.place(line)?;
        Some(&self.entries[self.table[at] as usize].1)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, line: u64) -> Option<&mut T> {
        let at = self.place(line)?;
        Some(&mut self.entries[self.table[at] as usize].1)
    }

    /// Puts in an entry that is not there yet.
    pub(super) fn insert_new(&mut self, line: u64, value: T) -> &mut T {
        debug_assert!(self.get(line).is_none());
        if (self.entries.len() + 1) * 2 > self.table.len() {
            self.grow();
        }
        let at = self.free_place(line);
        self.table[at] = self.entries.len() as u32;
        self.entries.push((line, value));
        let last = self.entries.len() - 1;
        &mut self.entries[last].1
    }

    fn free_place(&self, line: u64) -> usize {
        let mask = self.table.len() - 1;
        let mut at = self.home(line);
        while self.table[at] != EMPTY {
            at = (at + 1) & mask;
        }
        at
    }

    fn grow(&mut self) {
        let len = (self.table.len() * 2).max(16);
        self.table.clear();
        self.table.resize(len, EMPTY);
        for index in 0..self.entries.len() {
            let at = self.free_place(self.entries[index].0);
            self.table[at] = index as u32;
        }
    }

    pub(super) fn remove(&mut self, line: u64) -> Option<T> {
        let at = self.place(line)?;
        let index = self.table[at] as usize;
        let last = self.entries.len() - 1;
        if index != last
            && let Some(moved) = self.place(self.entries[last].0)
        {
            self.table[moved] = index as u32;
        }
        self.close_gap(at);
        Some(self.entries.swap_remove(index).1)
    }

    /// Empties a place and moves up whoever would be cut off from its home. Reads keys by index, so the entries must
    /// still be where the table says, save that the last may already be known by its new index.
    fn close_gap(&mut self, mut gap: usize) {
        let mask = self.table.len() - 1;
        let removed = self.table[gap] as usize;
        let last = self.entries.len() - 1;
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            let index = self.table[at];
            if index == EMPTY {
                break;
            }
            let key = if index as usize == removed { self.entries[last].0 } else { self.entries[index as usize].0 };
            let home = self.home(key);
            // Whether the gap lies on the way from the home to here.
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(gap) & mask) {
                self.table[gap] = index;
                gap = at;
            }
        }
        self.table[gap] = EMPTY;
    }

    /// Keeps the entries that `keep` wants.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(u64) -> bool) {
        self.entries.retain(|(line, _)| keep(*line));
        self.table.fill(EMPTY);
        for index in 0..self.entries.len() {
            let at = self.free_place(self.entries[index].0);
            self.table[at] = index as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_behaves_like_a_tree(ops in prop::collection::vec((0u8..8, 0u64..40, any::<u32>()), 1..300), stride in 1u64..9) {
            let (mut map, mut model) = (LineMap::default(), BTreeMap::new());
            let mut kept = (map.clone(), model.clone());
            for (op, key, value) in ops {
                let key = key * stride;
                match op {
                    0..=3 => {
                        match map.get_mut(key) {
                            Some(place) => *place = value,
                            None => *map.insert_new(key, 0) = value,
                        }
                        model.insert(key, value);
                    }
                    4 | 5 => prop_assert_eq!(map.remove(key), model.remove(&key)),
                    6 if value % 4 == 0 => {
                        map.retain(|line| line % 3 != 0);
                        model.retain(|line, _| line % 3 != 0);
                    }
                    6 => kept = (map.clone(), model.clone()),
                    _ => {
                        map.clone_from(&kept.0);
                        model.clone_from(&kept.1);
                    }
                }
                prop_assert_eq!(map.len(), model.len());
                for key in (0..40).map(|k| k * stride) {
                    prop_assert_eq!(map.get(key), model.get(&key));
                }
            }
            let all: BTreeMap<u64, u32> = map.iter().map(|(line, value)| (line, *value)).collect();
            prop_assert_eq!(all, model);
        }
    }
}
