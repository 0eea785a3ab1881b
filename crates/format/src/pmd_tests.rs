//! Tests of the 2 MiB windows: one row per reason, and any extents against a model that looks at every block.

use super::*;
use proptest::prelude::*;

const W: u64 = 512;

fn geometry(block_size: u32, offset: u64) -> PmdGeometry {
    PmdGeometry::new(block_size, offset).unwrap()
}

/// An extent of written blocks of 4 KiB.
const fn w(logical: u64, physical: u64, len: u64) -> FileExtent {
    FileExtent { logical, physical, len, written: true }
}

/// An extent of unwritten ones.
const fn u(logical: u64, physical: u64, len: u64) -> FileExtent {
    FileExtent { logical, physical, len, written: false }
}

fn runs(offset: u64, size: u64, extents: &[FileExtent]) -> Vec<(u64, u64, WindowState)> {
    windows(geometry(4096, offset), size, extents.iter().copied()).map(|r| (r.first, r.count, r.state)).collect()
}

use FaultSize::{AsAllocated, Huge, HugeZero, Small};
use WindowState::{Discontiguous, Hole, Mappable, Misaligned, Mixed, SplitExtents, Tail, Unwritten};

/// Name, offset of the file system, extents, and what the first window is and gets.
type Row = (&'static str, u64, &'static [FileExtent], WindowState, FaultSize, FaultSize);

#[test]
fn one_row_per_reason() {
    const ROWS: &[Row] = &[
        ("written and aligned", 0, &[w(0, W, W)], Mappable, Huge, Huge),
        ("longer than the window", 0, &[w(0, W, 3 * W)], Mappable, Huge, Huge),
        ("aligned by the offset", 4096, &[w(0, W - 1, W)], Mappable, Huge, Huge),
        ("misaligned by the offset", 4096, &[w(0, W, W)], Misaligned { by: 4096 }, Small, Small),
        ("misaligned by the block", 0, &[w(0, 3, W)], Misaligned { by: 3 * 4096 }, Small, Small),
        ("hole", 0, &[w(W, W, W)], Hole, HugeZero, AsAllocated),
        ("empty", 0, &[], Hole, HugeZero, AsAllocated),
        ("unwritten", 0, &[u(0, W, W)], Unwritten { misaligned_by: 0 }, HugeZero, Huge),
        ("unwritten, misaligned", 0, &[u(0, 1, W)], Unwritten { misaligned_by: 4096 }, HugeZero, Small),
        (
            "half unwritten",
            0,
            &[w(0, W, 256), u(256, W + 256, 256)],
            Mixed { written: 256, unwritten: 256, hole: 0 },
            Small,
            Small,
        ),
        ("one block short", 0, &[w(0, W, W - 1)], Mixed { written: W - 1, unwritten: 0, hole: 1 }, Small, Small),
        (
            "first block missing",
            0,
            &[w(1, W + 1, W - 1)],
            Mixed { written: W - 1, unwritten: 0, hole: 1 },
            Small,
            Small,
        ),
        ("unwritten and hole", 0, &[u(0, W, 1)], Mixed { written: 0, unwritten: 1, hole: W - 1 }, Small, Small),
        ("two places", 0, &[w(0, W, 256), w(256, 2 * W, 256)], Discontiguous { extents: 2 }, Small, Small),
        ("two places swapped", 0, &[w(0, W + 256, 256), w(256, W, 256)], Discontiguous { extents: 2 }, Small, Small),
        ("unwritten in two places", 0, &[u(0, W, 256), u(256, 2 * W, 256)], Discontiguous { extents: 2 }, Small, Small),
        ("two extents in one place", 0, &[w(0, W, 100), w(100, W + 100, W)], SplitExtents { at: 100 }, Small, Small),
        ("the same, misaligned", 0, &[w(0, 1, 100), w(100, 101, W)], Misaligned { by: 4096 }, Small, Small),
        ("the same, unwritten", 0, &[u(0, 1, 100), u(100, 101, W)], SplitExtents { at: 100 }, Small, Small),
    ];
    for (name, offset, extents, state, read, write) in ROWS {
        assert_eq!(runs(*offset, PMD_SIZE, extents), [(0, 1, *state)], "{name}");
        assert_eq!((state.read_fault(), state.write_fault()), (*read, *write), "{name}");
        assert_eq!(state.is_mappable(), *name == "longer than the window" || (*read, *write) == (Huge, Huge), "{name}");
        assert!(!state.to_string().is_empty());
    }
}

#[test]
fn the_end_of_the_file() {
    let one = [w(0, W, 4 * W)];
    assert_eq!(runs(0, 0, &one), []);
    assert_eq!(runs(0, 1, &one), [(0, 1, Tail)]);
    assert_eq!(runs(0, PMD_SIZE - 4096, &one), [(0, 1, Tail)]);
    // The kernel counts pages, so a file that ends within the last page has the whole window.
    assert_eq!(runs(0, PMD_SIZE - 4095, &one), [(0, 1, Mappable)]);
    assert_eq!(runs(0, 2 * PMD_SIZE + 1, &one), [(0, 2, Mappable), (2, 1, Tail)]);
    assert_eq!((Tail.read_fault(), Tail.write_fault()), (Small, Small));
}

#[test]
fn a_summary_counts_whole_windows_only() {
    let g = geometry(4096, 0);
    let extents =
        [w(0, W, 2 * W), u(2 * W, 9 * W, W), w(4 * W, 20 * W + 1, W), w(5 * W, 30 * W, 9), w(6 * W, 40 * W, 1)];
    let sum = summary(g, 7 * PMD_SIZE - 1, extents);
    assert_eq!(
        sum,
        PmdSummary { windows: 6, mappable: 2, hole: 1, unwritten: 1, misaligned: 1, mixed: 1, ..PmdSummary::default() }
    );
    assert_eq!(sum.share(), Some(1.0 / 3.0));
    assert!(!sum.is_complete());
    let small = summary(g, PMD_SIZE - 1, [w(0, W, W)]);
    assert_eq!((small.windows, small.share(), small.is_complete()), (0, None, true));
    let mut total = sum;
    total.add(&sum);
    assert_eq!((total.windows, total.mappable, total.hole), (12, 4, 2));
}

#[test]
fn the_largest_sparse_file_costs_its_extents() {
    let all = windows(geometry(4096, 0), u64::MAX, [w(5 * W, W, W)]);
    let states: Vec<_> = all.map(|r| r.state).collect();
    // The last page is not whole, but its window's last page is within the file.
    assert_eq!(states, [Hole, Mappable, Hole]);
    assert_eq!(summary(geometry(512, 0), u64::MAX, []).windows, u64::MAX / PMD_SIZE);
    // Extents at the extremes neither panic nor loop.
    let wild = [
        w(u64::MAX, u64::MAX, u64::MAX),
        w(0, u64::MAX, u64::MAX),
        u(7, 1, u64::MAX - 7),
        w(u64::MAX - 1, 0, 1),
        w(3, 3, 0),
    ];
    assert_eq!(runs(u64::MAX, 3 * PMD_SIZE, &wild).len(), 1);
    assert_eq!(windows(geometry(512, 1), u64::MAX, wild).map(|r| r.count).sum::<u64>(), u64::MAX.div_ceil(PMD_SIZE));
}

#[test]
fn block_sizes_that_cannot_be_are_refused() {
    for size in [0, 1, 256, 3000, 4097, 2 << 20] {
        assert_eq!(PmdGeometry::new(size, 0), None);
    }
}

/// State of a window by looking at each of its blocks.
fn model(g: PmdGeometry, window: u64, size: u64, map: &[Option<(usize, u64, bool)>]) -> WindowState {
    let per = g.window_blocks();
    let blocks: Vec<_> = (window * per..(window + 1) * per)
        .map(|b| usize::try_from(b).ok().and_then(|b| map.get(b).copied()).flatten())
        .collect();
    if (window + 1) * per > size.div_ceil(g.block_size) {
        return Tail;
    }
    let count = |f: fn(&Option<(usize, u64, bool)>) -> bool| blocks.iter().filter(|b| f(b)).count() as u64;
    let written = count(|b| matches!(b, Some((.., true))));
    let unwritten = count(|b| matches!(b, Some((.., false))));
    let hole = count(Option::is_none);
    if hole == per {
        return Hole;
    }
    if written != per && unwritten != per {
        return Mixed { written, unwritten, hole };
    }
    let blocks: Vec<_> = blocks.into_iter().flatten().collect();
    let mut ids: Vec<_> = blocks.iter().map(|b| b.0).collect();
    ids.dedup();
    let by = g.misaligned_by(blocks[0].1);
    if !blocks.windows(2).all(|p| p[1].1 == p[0].1 + 1) {
        return Discontiguous { extents: ids.len() as u64 };
    }
    match (ids.len(), written == per, by) {
        (1, false, misaligned_by) => Unwritten { misaligned_by },
        (_, true, by) if by != 0 => Misaligned { by },
        (1, true, _) => Mappable,
        _ => {
            let at = blocks.iter().position(|b| b.0 != blocks[0].0).unwrap() as u64;
            SplitExtents { at: window * per + at }
        }
    }
}

/// A gap, a length, how it continues its predecessor, whether it is written.
fn pieces() -> impl Strategy<Value = Vec<(u64, u64, u8, bool)>> {
    let gap = prop_oneof![4 => Just(0u64), 1 => 0u64..5, 1 => Just(32), 1 => 30u64..70];
    let len = prop_oneof![3 => 1u64..6, 2 => Just(32), 1 => Just(16), 1 => 28u64..100, 1 => Just(64), 1 => Just(0)];
    proptest::collection::vec((gap, len, 0u8..4, prop_oneof![4 => Just(true), 1 => Just(false)]), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn as_if_every_block_were_looked_at(
        pieces in pieces(),
        overlap in 0u64..40,
        size in prop_oneof![0u64..20 << 20, (0u64..10).prop_map(|n| n * PMD_SIZE), Just(1u64 << 40)],
        offset in prop_oneof![2 => Just(0u64), 1 => (0u64..64).prop_map(|n| n << 16)],
    ) {
        // Blocks of 64 KiB: a window has 32.
        let g = geometry(65536, offset);
        let mut extents = Vec::new();
        let (mut logical, mut physical) = (0u64, 32u64);
        for (i, (gap, len, place, written)) in pieces.into_iter().enumerate() {
            logical += gap;
            physical = match place {
                0 => physical + 1,
                1 => physical.next_multiple_of(32) + logical % 32,
                _ => physical + gap,
            };
            // Some begin before their predecessor ends.
            let back = if i % 5 == 4 { overlap.min(logical).min(physical) } else { 0 };
            extents.push(FileExtent { logical: logical - back, physical: physical - back, len: len + back, written });
            logical += len;
            physical += len;
        }
        let mut map = vec![None; 2000];
        for (id, e) in extents.iter().enumerate() {
            for n in 0..e.len {
                let slot = &mut map[usize::try_from(e.logical + n).unwrap()];
                if slot.is_none() {
                    *slot = Some((id, e.physical + n, e.written));
                }
            }
        }
        // "The first counts" holds for a whole prefix: a later extent never fills a gap before the end of an earlier one.
        let mut reached = 0;
        for (id, e) in extents.iter().enumerate().filter(|(_, e)| e.len > 0) {
            for b in e.logical..reached.min(e.logical + e.len) {
                let slot = &mut map[usize::try_from(b).unwrap()];
                if slot.is_some_and(|s| s.0 == id) {
                    *slot = None;
                }
            }
            reached = reached.max(e.logical + e.len);
        }
        let total = size.div_ceil(PMD_SIZE);
        let mut next = 0;
        let mut last = None;
        for run in windows(g, size, extents.iter().copied()) {
            prop_assert_eq!(run.first, next);
            prop_assert!(run.count > 0 && last != Some(run.state));
            last = Some(run.state);
            // Far behind the last extent all windows are alike.
            for window in (run.first..run.first + run.count).take(80) {
                prop_assert_eq!(run.state, model(g, window, size, &map), "window {}", window);
            }
            next += run.count;
        }
        prop_assert_eq!(next, total);
        let sum = summary(g, size, extents.iter().copied());
        prop_assert_eq!(
            sum.windows,
            sum.mappable + sum.hole + sum.unwritten + sum.mixed + sum.discontiguous + sum.split + sum.misaligned
        );
    }
}

#[test]
fn indirect_maps_are_answered_by_block() {
    let whole = FileExtent { logical: 10, physical: 100, len: 1050, written: true };
    let pieces: Vec<(u64, u64, u64)> =
        cut_at_indirect_blocks(whole, 1024).map(|e| (e.logical, e.physical, e.len)).collect();
    assert_eq!(pieces, [(10, 100, 2), (12, 102, 1024), (1036, 1126, 24)]);
    let far = FileExtent { logical: u64::MAX - 3, physical: 1, len: 3, written: true };
    assert_eq!(cut_at_indirect_blocks(far, 256).map(|e| e.len).sum::<u64>(), 3);
}
