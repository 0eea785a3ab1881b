//! A set of numbers kept as sorted ranges that neither touch nor overlap.
//!
//! Invariant: for any two neighbours `a..b`, `c..d` in the map, `a < b < c < d`.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of `u64` as coalesced ranges.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RangeSet {
    /// Start of each range, and the number after its last.
    ranges: BTreeMap<u64, u64>,
}

impl RangeSet {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { ranges: BTreeMap::new() }
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many ranges it takes to say what is in it.
    #[must_use]
    pub fn range_count(&self) -> usize {
        self.ranges.len()
    }

    /// How many numbers are in it.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.iter().map(|r| r.end - r.start).sum()
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.ranges.iter().map(|(&start, &end)| start..end)
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.ranges.clear();
    }

    /// Puts a range in. An empty or inverted range changes nothing.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let Range { mut start, mut end } = range;
        if let Some((&before, &before_end)) = self.ranges.range(..=start).next_back()
            && before_end >= start
        {
            if before_end >= end {
                return;
            }
            start = before;
        }
        // Every range that begins inside the new one, or directly after it, is swallowed.
        while let Some((&next, &next_end)) = self.ranges.range(start..=end).next() {
            self.ranges.remove(&next);
            end = end.max(next_end);
        }
        self.ranges.insert(start, end);
    }

    /// Takes a range out. Returns whether anything was in.
    pub fn remove(&mut self, range: Range<u64>) -> bool {
        if range.is_empty() {
            return false;
        }
        let mut removed = false;
        while let Some((&start, &end)) = self.ranges.range(..range.end).next_back() {
            if end <= range.start {
                break;
            }
            removed = true;
            if start < range.start {
                self.ranges.insert(start, range.start);
            } else {
                self.ranges.remove(&start);
            }
            if end > range.end {
                self.ranges.insert(range.end, end);
            }
            if start <= range.start {
                break;
            }
        }
        removed
    }

    /// Whether the whole range is in the set. The empty range is.
    #[must_use]
    pub fn contains(&self, range: Range<u64>) -> bool {
        range.is_empty() || self.ranges.range(..=range.start).next_back().is_some_and(|(_, &end)| end >= range.end)
    }

    /// Whether any number of the range is in the set.
    #[must_use]
    pub fn overlaps(&self, range: Range<u64>) -> bool {
        !range.is_empty() && self.ranges.range(..range.end).next_back().is_some_and(|(_, &end)| end > range.start)
    }

    /// The first part of `within` that is in the set.
    #[must_use]
    pub fn next_in(&self, within: Range<u64>) -> Option<Range<u64>> {
        if within.is_empty() {
            return None;
        }
        if let Some((_, &end)) = self.ranges.range(..=within.start).next_back()
            && end > within.start
        {
            return Some(within.start..end.min(within.end));
        }
        let (&start, &end) = self.ranges.range(within.clone()).next()?;
        Some(start..end.min(within.end))
    }

    /// The first part of `within` that is not in the set.
    #[must_use]
    pub fn next_gap(&self, within: Range<u64>) -> Option<Range<u64>> {
        let mut start = within.start;
        if let Some((_, &end)) = self.ranges.range(..=start).next_back() {
            start = start.max(end);
        }
        if start >= within.end {
            return None;
        }
        let end = self.ranges.range(start..within.end).next().map_or(within.end, |(&next, _)| next);
        Some(start..end)
    }

    /// The parts of `within` that are not in the set, ascending.
    pub fn gaps(&self, within: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut at = within.start;
        std::iter::from_fn(move || {
            let gap = self.next_gap(at..within.end)?;
            at = gap.end;
            Some(gap)
        })
    }
}

impl FromIterator<Range<u64>> for RangeSet {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Self {
        let mut set = Self::new();
        for range in ranges {
            set.insert(range);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ranges(set: &RangeSet) -> Vec<Range<u64>> {
        set.iter().collect()
    }

    #[test]
    fn neighbours_coalesce_and_holes_split() {
        let mut set: RangeSet = [0..4, 8..12, 4..8].into_iter().collect();
        assert_eq!(ranges(&set), vec![0..12]);
        assert!(set.remove(5..6));
        assert_eq!(ranges(&set), vec![0..5, 6..12]);
        assert!(!set.remove(5..6));
        assert!(set.contains(6..12) && !set.contains(4..7) && set.contains(5..5));
        assert!(set.overlaps(4..7) && !set.overlaps(5..6));
        assert_eq!(set.next_gap(0..20), Some(5..6));
        assert_eq!(set.gaps(0..20).collect::<Vec<_>>(), vec![5..6, 12..20]);
        assert_eq!(set.next_in(5..20), Some(6..12));
        assert_eq!(set.next_in(12..20), None);
        assert_eq!(set.total(), 11);
    }

    #[test]
    fn the_largest_numbers_are_no_special_case() {
        let mut set = RangeSet::new();
        set.insert(0..u64::MAX);
        assert!(set.remove(u64::MAX - 1..u64::MAX));
        assert_eq!(ranges(&set), vec![0..u64::MAX - 1]);
        assert!(set.contains(0..u64::MAX - 1));
    }

    proptest! {
        #[test]
        fn it_behaves_like_a_row_of_flags(ops in prop::collection::vec((any::<bool>(), 0u64..64, 0u64..20), 1..60)) {
            let mut model = [false; 96];
            let mut set = RangeSet::new();
            for (insert, start, len) in ops {
                let range = start..start + len;
                let was_in = model[start as usize..(start + len) as usize].iter().any(|b| *b);
                if insert { set.insert(range.clone()); } else { prop_assert_eq!(set.remove(range.clone()), was_in); }
                model[start as usize..(start + len) as usize].fill(insert);
                let mut last_end = None;
                for r in set.iter() {
                    prop_assert!(r.start < r.end && last_end.is_none_or(|end| end < r.start));
                    last_end = Some(r.end);
                }
                for n in 0..96u64 {
                    prop_assert_eq!(set.contains(n..n + 1), model[n as usize]);
                    prop_assert_eq!(set.overlaps(n..n + 1), model[n as usize]);
                }
                let gap = set.next_gap(start..90);
                let first = (start..90).find(|n| !model[*n as usize]);
                prop_assert_eq!(gap.as_ref().map(|g| g.start), first);
                if let Some(gap) = gap {
                    prop_assert!((gap.clone()).all(|n| !model[n as usize]));
                    prop_assert!(gap.end == 90 || model[gap.end as usize]);
                }
                let part = set.next_in(start..90);
                prop_assert_eq!(part.as_ref().map(|g| g.start), (start..90).find(|n| model[*n as usize]));
                if let Some(part) = part {
                    prop_assert!((part.clone()).all(|n| model[n as usize]));
                    prop_assert!(part.end == 90 || !model[part.end as usize]);
                }
            }
        }
    }
}
