//! What a device knows to read as zero, shared between threads.
//!
//! Invariant: a byte is in the map only if it reads as zero. So a writer takes its range out before it writes, and who
//! makes zeroes puts the range in after the host has made them.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::range_set::RangeSet;

/// Ranges of bytes that are known to read as zero.
#[derive(Debug, Default)]
pub struct ZeroMap {
    /// Whether `known` may hold anything: writers to a device without zeroes take no lock.
    any: AtomicBool,
    known: Mutex<RangeSet>,
}

impl ZeroMap {
    /// Nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything in `range` reads as zero.
    #[must_use]
    pub fn with(range: Range<u64>) -> Self {
        let map = Self::new();
        map.insert(range);
        map
    }

    fn known(&self) -> MutexGuard<'_, RangeSet> {
        // A thread that panicked did so outside the set's own operations; the set is whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The range reads as zero from now on.
    pub fn insert(&self, range: Range<u64>) {
        let mut known = self.known();
        known.insert(range);
        self.any.store(!known.is_empty(), Ordering::Release);
    }

    /// The range is about to be written.
    pub fn remove(&self, range: Range<u64>) {
        if !self.any.load(Ordering::Acquire) {
            return;
        }
        let mut known = self.known();
        known.remove(range);
        self.any.store(!known.is_empty(), Ordering::Release);
    }

    /// Whether the whole range is known to read as zero.
    #[must_use]
    pub fn contains(&self, range: Range<u64>) -> bool {
        range.is_empty() || (self.any.load(Ordering::Acquire) && self.known().contains(range))
    }

    /// The first part of `within` that is not known to be zero.
    #[must_use]
    pub fn next_unknown(&self, within: Range<u64>) -> Option<Range<u64>> {
        if !self.any.load(Ordering::Acquire) {
            return (!within.is_empty()).then_some(within);
        }
        self.known().next_gap(within)
    }

    /// How many bytes are known to read as zero.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.known().total()
    }

    /// A copy of what is known.
    #[must_use]
    pub fn to_set(&self) -> RangeSet {
        self.known().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knowledge_comes_and_goes() {
        let map = ZeroMap::new();
        assert!(!map.contains(0..1) && map.contains(3..3));
        assert_eq!(map.next_unknown(2..9), Some(2..9));
        map.insert(0..100);
        map.remove(10..20);
        assert!(map.contains(0..10) && !map.contains(0..11) && map.contains(20..100));
        assert_eq!(map.next_unknown(0..100), Some(10..20));
        map.remove(0..100);
        assert!(!map.any.load(Ordering::Acquire));
        assert_eq!(map.total(), 0);
    }

    #[test]
    fn writers_of_different_ranges_do_not_lose_each_other() {
        let map = ZeroMap::with(0..4096);
        std::thread::scope(|scope| {
            for worker in 0..4u64 {
                let map = &map;
                scope.spawn(move || (0..1024).filter(|n| n % 4 == worker).for_each(|n| map.remove(n * 4..n * 4 + 2)));
            }
        });
        assert_eq!(map.total(), 2048);
        assert!((0..1024).all(|n| map.contains(n * 4 + 2..n * 4 + 4) && !map.contains(n * 4..n * 4 + 1)));
    }
}
