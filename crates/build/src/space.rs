//! Free space while an image is planned, and where things are put so that 2 MiB windows survive.
//!
//! Three ways to take from it: whole windows (aligned to the start of the pmem device, best fit, so that long runs are kept
//! for long files), one run for something small (next fit, so that what is created together lies together), and exact places.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Bytes of the window one PMD entry maps on x86-64.
pub const WINDOW_BYTES: u64 = 2 << 20;

/// Free blocks, in runs; with bigalloc every run begins and ends at a cluster.
#[derive(Debug, Clone)]
pub struct FreeSpace {
    runs: BTreeMap<u64, u64>,
    /// (windows that fit, start of the run)
    by_windows: BTreeSet<(u64, u64)>,
    /// (length, start of the run): the last is the longest, of equal ones the first on the device
    by_length: BTreeSet<(u64, Reverse<u64>)>,
    window: Option<Window>,
    /// Blocks between the start of the pmem device and block 0, rounded down.
    phase: u64,
    cluster: u64,
    cursor: u64,
    free: u64,
}

/// How windows lie: `blocks` in each, and the number of blocks that block 0 is past a window's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    blocks: u64,
    phase: u64,
}

impl FreeSpace {
    /// Nothing free yet. `data_offset` is the distance in bytes of block 0 from the start of the pmem device; where that is no
    /// multiple of the block size there are no windows.
    #[must_use]
    pub fn new(block_size: u32, cluster_ratio: u32, data_offset: u64) -> Self {
        let bs = u64::from(block_size);
        let window = (WINDOW_BYTES.is_multiple_of(bs) && data_offset.is_multiple_of(bs))
            .then(|| Window { blocks: WINDOW_BYTES / bs, phase: data_offset / bs % (WINDOW_BYTES / bs) });
        Self {
            runs: BTreeMap::new(),
            by_windows: BTreeSet::new(),
            by_length: BTreeSet::new(),
            window,
            phase: data_offset / bs,
            cluster: u64::from(cluster_ratio),
            cursor: 0,
            free: 0,
        }
    }

    /// Blocks in a window; `None` where windows are impossible.
    #[must_use]
    pub fn window_blocks(&self) -> Option<u64> {
        self.window.map(|w| w.blocks)
    }

    /// Free blocks.
    #[must_use]
    pub fn free(&self) -> u64 {
        self.free
    }

    /// All free runs in order.
    pub fn runs(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.runs.iter().map(|(s, l)| *s..s + l)
    }

    /// Makes a run free. Clusters that are only partly inside stay used.
    pub fn release(&mut self, range: Range<u64>) {
        let mut start = range.start.next_multiple_of(self.cluster);
        let mut end = range.end / self.cluster * self.cluster;
        if start >= end {
            return;
        }
        if let Some((&before, &len)) = self.runs.range(..start).next_back()
            && before + len == start
        {
            start = before;
            self.remove(before);
        }
        if let Some(&len) = self.runs.get(&end) {
            self.remove(end);
            end += len;
        }
        self.insert(start, end - start);
    }

    fn windows_in(&self, start: u64, len: u64) -> u64 {
        let Some(w) = self.window else { return 0 };
        let first = aligned(w, start);
        (start + len).saturating_sub(first) / w.blocks
    }

    fn insert(&mut self, start: u64, len: u64) {
        if len == 0 {
            return;
        }
        self.runs.insert(start, len);
        self.by_windows.insert((self.windows_in(start, len), start));
        self.by_length.insert((len, Reverse(start)));
        self.free += len;
    }

    fn remove(&mut self, start: u64) -> u64 {
        let len = self.runs.remove(&start).unwrap_or(0);
        self.by_windows.remove(&(self.windows_in(start, len), start));
        self.by_length.remove(&(len, Reverse(start)));
        self.free -= len;
        len
    }

    /// Takes exactly these blocks; `false`, and nothing taken, when they are not all free.
    pub fn take_exact(&mut self, range: Range<u64>) -> bool {
        let Some((&start, &len)) = self.runs.range(..=range.start).next_back() else { return false };
        let end = start + len;
        let (from, to) = (range.start / self.cluster * self.cluster, range.end.next_multiple_of(self.cluster));
        if to > end || from < start || from >= to {
            return false;
        }
        self.remove(start);
        self.insert(start, from - start);
        self.insert(to, end - to);
        true
    }

    /// The first place of `len` free blocks in one run that lies `residue` blocks behind a multiple of `align` blocks on the pmem
    /// device; not taken yet.
    #[must_use]
    pub fn find_aligned(&self, len: u64, align: u64, residue: u64) -> Option<u64> {
        let phase = self.phase.checked_rem(align)?;
        self.runs.iter().find_map(|(start, have)| {
            let ahead = (residue + 2 * align - phase - start % align) % align;
            (ahead.checked_add(len)? <= *have).then_some(start + ahead)
        })
    }

    /// Windows that fit in all free runs together.
    #[must_use]
    pub fn windows(&self) -> u64 {
        self.by_windows.iter().map(|(n, _)| n).sum()
    }

    /// Takes up to `windows` whole windows in one run: all of them from the smallest run that has so many, else what the
    /// largest has. The start and the number taken; `None` when there is no window left.
    pub fn take_windows(&mut self, windows: u64) -> Option<(u64, u64)> {
        let w = self.window?;
        let &(have, start) = self
            .by_windows
            .range((windows, 0)..)
            .next()
            .or_else(|| self.by_windows.last())
            .filter(|(have, _)| *have > 0)?;
        let n = windows.min(have);
        let at = aligned(w, start);
        self.take_exact(at..at + n * w.blocks).then_some((at, n))
    }

    /// Takes so many whole windows and `tail` blocks directly behind them, in the run with the fewest windows that holds all of
    /// it. Where it begins; `None`, and nothing taken, when no run does.
    pub fn take_windows_and_tail(&mut self, windows: u64, tail: u64) -> Option<u64> {
        let w = self.window?;
        let len = windows * w.blocks + tail;
        let at = self.by_windows.range((windows, 0)..).find_map(|(_, start)| {
            let at = aligned(w, *start);
            let end = start + self.runs.get(start)?;
            (at + len.next_multiple_of(self.cluster) <= end).then_some(at)
        })?;
        self.take_exact(at..at + len).then_some(at)
    }

    /// Takes `blocks` in one run where one is long enough at or behind the last small allocation, else in one run anywhere,
    /// else in pieces; appends the runs to `out`. `false` when there is not enough left, nothing taken then.
    pub fn take_small(&mut self, blocks: u64, out: &mut Vec<Range<u64>>) -> bool {
        if blocks == 0 {
            return true;
        }
        let need = blocks.next_multiple_of(self.cluster);
        if need > self.free {
            return false;
        }
        // Runs are only looked through when one of them will do.
        if self.by_length.last().is_some_and(|(longest, _)| *longest >= need) {
            let fits = |(s, l): (&u64, &u64)| (*l >= need).then_some(*s);
            let at = self.runs.range(self.cursor..).find_map(fits).or_else(|| self.runs.iter().find_map(fits));
            let Some(start) = at else { return false };
            let len = self.remove(start);
            self.insert(start + need, len - need);
            self.cursor = start + need;
            out.push(start..start + blocks);
            return true;
        }
        let mut left = blocks;
        while left > 0 {
            // The longest run first keeps the pieces few.
            let Some(&(len, Reverse(start))) = self.by_length.last() else { return false };
            let n = left.min(len);
            self.remove(start);
            let taken = n.next_multiple_of(self.cluster);
            self.insert(start + taken, len - taken);
            out.push(start..start + n);
            left -= n;
        }
        true
    }

    /// The next small allocation looks from the lowest free block on again.
    pub fn rewind(&mut self) {
        self.cursor = 0;
    }
}

fn aligned(w: Window, start: u64) -> u64 {
    let past = (start + w.phase) % w.blocks;
    if past == 0 { start } else { start + w.blocks - past }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(ranges: &[Range<u64>]) -> FreeSpace {
        let mut f = FreeSpace::new(4096, 1, 0);
        ranges.iter().for_each(|r| f.release(r.clone()));
        f
    }

    #[test]
    fn windows_come_from_the_smallest_run_that_has_them() {
        let mut f = space(&[1..2000, 3000..4700, 5000..20000]);
        assert_eq!(f.windows(), 2 + 3 + 29);
        assert_eq!(f.take_windows(2), Some((512, 2)));
        assert_eq!(f.take_windows(3), Some((3072, 3)));
        assert_eq!(f.take_windows(100), Some((5120, 29)));
        assert_eq!(f.take_windows(1), None);
    }

    #[test]
    fn alignment_counts_from_the_start_of_the_device() {
        let mut f = FreeSpace::new(4096, 1, 1 << 20);
        f.release(0..2000);
        assert_eq!(f.take_windows(1), Some((256, 1)));
        let mut odd = FreeSpace::new(4096, 1, 512);
        odd.release(0..2000);
        assert_eq!((odd.window_blocks(), odd.take_windows(1)), (None, None));
    }

    #[test]
    fn small_things_follow_each_other_and_split_only_at_the_end() {
        let mut f = space(&[10..14, 20..30]);
        let mut out = Vec::new();
        assert!(f.take_small(6, &mut out) && f.take_small(3, &mut out) && f.take_small(4, &mut out));
        assert_eq!(out, [20..26, 26..29, 10..14]);
        assert!(!f.take_small(2, &mut out));
        assert!(f.take_small(1, &mut out));
        assert_eq!(f.free(), 0);
        let mut f = space(&[10..14, 20..30]);
        out.clear();
        assert!(f.take_small(12, &mut out));
        assert_eq!(out, [20..30, 10..12]);
    }

    #[test]
    fn clusters_are_taken_whole() {
        let mut f = FreeSpace::new(4096, 16, 0);
        f.release(5..100);
        assert_eq!(f.free(), 80);
        let mut out = Vec::new();
        assert!(f.take_small(3, &mut out));
        assert_eq!((out[0].clone(), f.free()), (16..19, 64));
    }
}
