//! A set of line numbers as a flat, sorted array of ranges.
//!
//! [`RangeSet`](crate::RangeSet) does the same over a tree; this one is for few ranges that are copied very often: its
//! `clone_from` is one copy of memory.
//!
//! Invariant: for neighbours `a..b`, `c..d`: `a < b < c < d`.

use std::ops::Range;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct FlatRanges {
    ranges: Vec<(u64, u64)>,
}

impl Clone for FlatRanges {
    fn clone(&self) -> Self {
        Self { ranges: self.ranges.clone() }
    }

    fn clone_from(&mut self, source: &Self) {
        self.ranges.clone_from(&source.ranges);
    }
}

impl FlatRanges {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.ranges.clear();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Range<u64>> {
        self.ranges.iter().map(|(start, end)| *start..*end)
    }

    pub(super) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        // Those that touch or overlap are `from .. to`.
        let from = self.ranges.partition_point(|r| r.1 < range.start);
        let to = self.ranges.partition_point(|r| r.0 <= range.end);
        let start = self.ranges.get(from).filter(|_| from < to).map_or(range.start, |r| r.0.min(range.start));
        let end = if from < to { self.ranges[to - 1].1.max(range.end) } else { range.end };
        if from == to {
            self.ranges.insert(from, (start, end));
        } else {
            self.ranges[from] = (start, end);
            self.ranges.drain(from + 1..to);
        }
    }

    pub(super) fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        // Those that overlap are `from .. to`.
        let from = self.ranges.partition_point(|r| r.1 <= range.start);
        let to = self.ranges.partition_point(|r| r.0 < range.end);
        if from >= to {
            return;
        }
        let (left, right) = ((self.ranges[from].0, range.start), (range.end, self.ranges[to - 1].1));
        let mut at = from;
        self.ranges.drain(from..to);
        for part in [left, right] {
            if part.0 < part.1 {
                self.ranges.insert(at, part);
                at += 1;
            }
        }
    }

    /// The first part of `within` that is in the set.
    #[inline]
    pub(super) fn next_in(&self, within: Range<u64>) -> Option<Range<u64>> {
        let at = self.ranges.partition_point(|r| r.1 <= within.start);
        let (start, end) = *self.ranges.get(at)?;
        let part = start.max(within.start)..end.min(within.end);
        (!part.is_empty()).then_some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_behaves_like_a_range_set(ops in prop::collection::vec((any::<bool>(), 0u64..64, 0u64..20), 1..60)) {
            let (mut flat, mut tree) = (FlatRanges::default(), crate::RangeSet::new());
            for (insert, start, len) in ops {
                let range = start..start + len;
                if insert {
                    flat.insert(range.clone());
                    tree.insert(range);
                } else {
                    flat.remove(range.clone());
                    tree.remove(range);
                }
                prop_assert_eq!(flat.iter().collect::<Vec<_>>(), tree.iter().collect::<Vec<_>>());
                for n in 0..70 {
                    prop_assert_eq!(flat.next_in(n..n + 7), tree.next_in(n..n + 7));
                }
            }
        }
    }
}
