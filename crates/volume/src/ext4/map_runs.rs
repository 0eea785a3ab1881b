//! Lists of runs, as the leaf of an extent tree holds them: in order, without overlap, none longer than an extent can be.

use std::ops::Range;

use daxkit_format::BlockNr;
use daxkit_format::ext4::extent::{MAX_UNWRITTEN_LEN, MAX_WRITTEN_LEN};

use super::map::Mapping;

/// Where a long run is cut in two, it is at a multiple of this many blocks of the file: a window that one fault can map must not
/// lie in two extents.
const WINDOW: u64 = 512;

/// The longest extent of a kind.
fn longest(written: bool) -> u64 {
    u64::from(if written { MAX_WRITTEN_LEN } else { MAX_UNWRITTEN_LEN })
}

/// Takes what lies in `blocks` of the file out of a list, and gives it back.
pub(crate) fn remove(runs: &mut Vec<Mapping>, blocks: &Range<u64>) -> Vec<Mapping> {
    let from = runs.partition_point(|r| r.end() <= blocks.start);
    let to = runs.partition_point(|r| r.logical < blocks.end);
    if from >= to {
        return Vec::new();
    }
    let hit = runs.get(from..to).unwrap_or_default();
    let before = hit.first().and_then(|r| r.until(blocks.start));
    let behind = hit.last().and_then(|r| r.from(blocks.end));
    let removed = hit.iter().filter_map(|r| r.within(blocks)).collect();
    runs.splice(from..to, before.into_iter().chain(behind));
    removed
}

/// Puts a run into a list, none of whose blocks may be there. Neighbours are joined with it where that makes no extent too long.
pub(crate) fn insert(runs: &mut Vec<Mapping>, run: Mapping) {
    let at = runs.partition_point(|r| r.logical < run.logical);
    let pieces = cut(run);
    let count = pieces.len();
    runs.splice(at..at, pieces);
    join(runs, at.saturating_add(count).saturating_sub(1));
    if let Some(before) = at.checked_sub(1) {
        join(runs, before);
    }
}

/// Makes what is mapped in `blocks` of the file written or unwritten; whether anything was otherwise.
pub(crate) fn set_written(runs: &mut Vec<Mapping>, blocks: &Range<u64>, written: bool) -> bool {
    let from = runs.partition_point(|r| r.end() <= blocks.start);
    let to = runs.partition_point(|r| r.logical < blocks.end);
    if runs.get(from..to).unwrap_or_default().iter().all(|r| r.written == written) {
        return false;
    }
    for piece in remove(runs, blocks) {
        insert(runs, Mapping { written, ..piece });
    }
    true
}

/// A run as extents.
fn cut(run: Mapping) -> Vec<Mapping> {
    let most = longest(run.written);
    let mut pieces = Vec::new();
    let mut rest = Some(run);
    while let Some(run) = rest {
        let mut len = run.len.min(most);
        if len < run.len {
            let aligned = (run.logical.saturating_add(most) / WINDOW * WINDOW).saturating_sub(run.logical);
            len = if aligned > 0 { aligned } else { len };
        }
        pieces.push(Mapping { len, ..run });
        rest = run.from(run.logical.saturating_add(len));
    }
    pieces
}

/// Joins a run with the one behind it, where they are one.
fn join(runs: &mut Vec<Mapping>, at: usize) {
    let (Some(a), Some(b)) = (runs.get(at).copied(), runs.get(at.saturating_add(1)).copied()) else { return };
    let len = a.len.saturating_add(b.len);
    if a.written == b.written && a.is_followed_by(&b) && len <= longest(a.written) {
        runs.splice(at..=at.saturating_add(1), [Mapping { len, ..a }]);
    }
}

impl Mapping {
    /// The part before block `logical` of the file; `None` when it begins there or behind.
    pub(crate) fn until(&self, logical: u64) -> Option<Self> {
        let len = self.len.min(logical.saturating_sub(self.logical));
        (len > 0).then_some(Self { len, ..*self })
    }

    /// The part in `blocks` of the file.
    pub(crate) fn within(&self, blocks: &Range<u64>) -> Option<Self> {
        self.from(blocks.start)?.until(blocks.end)
    }

    /// Whether `next` goes on where this ends, in the file and on disk.
    fn is_followed_by(&self, next: &Self) -> bool {
        self.end() == next.logical && BlockNr(self.physical.get().saturating_add(self.len)) == next.physical
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(logical: u64, physical: u64, len: u64) -> Mapping {
        Mapping { logical, physical: BlockNr(physical), len, written: true }
    }

    fn unwritten(logical: u64, physical: u64, len: u64) -> Mapping {
        Mapping { written: false, ..run(logical, physical, len) }
    }

    #[test]
    fn ranges_are_cut_out() {
        let mut runs = vec![run(0, 100, 10), run(20, 200, 10)];
        assert_eq!(remove(&mut runs, &(3..5)), [run(3, 103, 2)]);
        assert_eq!(runs, [run(0, 100, 3), run(5, 105, 5), run(20, 200, 10)]);
        assert_eq!(remove(&mut runs, &(8..25)), [run(8, 108, 2), run(20, 200, 5)]);
        assert_eq!(runs, [run(0, 100, 3), run(5, 105, 3), run(25, 205, 5)]);
        assert_eq!(remove(&mut runs, &(8..25)), []);
        assert_eq!(remove(&mut runs, &(0..u64::MAX)).len(), 3);
        assert_eq!(runs, []);
    }

    #[test]
    fn neighbours_are_joined_when_they_are_one() {
        let mut runs = vec![run(0, 100, 10), run(20, 120, 10)];
        insert(&mut runs, run(10, 110, 10));
        assert_eq!(runs, [run(0, 100, 30)]);
        insert(&mut runs, run(30, 200, 1));
        insert(&mut runs, unwritten(31, 201, 1));
        insert(&mut runs, unwritten(40, 210, 1));
        assert_eq!(runs, [run(0, 100, 30), run(30, 200, 1), unwritten(31, 201, 1), unwritten(40, 210, 1)]);
        assert!(set_written(&mut runs, &(31..35), true) && !set_written(&mut runs, &(0..40), true));
        assert_eq!(runs, [run(0, 100, 30), run(30, 200, 2), unwritten(40, 210, 1)]);
        assert!(set_written(&mut runs, &(10..31), false));
        assert_eq!(
            runs,
            [run(0, 100, 10), unwritten(10, 110, 20), unwritten(30, 200, 1), run(31, 201, 1), unwritten(40, 210, 1)]
        );
    }

    #[test]
    fn no_extent_is_too_long_and_none_ends_in_a_window() {
        let mut runs = Vec::new();
        insert(&mut runs, run(5, 1005, 70_000));
        let lens: Vec<_> = runs.iter().map(|r| (r.logical, r.physical.get(), r.len)).collect();
        assert_eq!(lens, [(5, 1005, 32_763), (32_768, 33_768, 32_768), (65_536, 66_536, 4469)]);
        runs.clear();
        insert(&mut runs, unwritten(0, 1000, 40_000));
        assert_eq!(runs, [unwritten(0, 1000, 32_256), unwritten(32_256, 33_256, 7744)]);
        // An extent that would become too long stays beside its neighbour.
        let mut runs = vec![run(0, 1000, 32_767)];
        insert(&mut runs, run(32_767, 33_767, 1));
        insert(&mut runs, run(32_768, 33_768, 1));
        assert_eq!(runs, [run(0, 1000, 32_768), run(32_768, 33_768, 1)]);
    }
}
