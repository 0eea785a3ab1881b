//! Which 2 MiB windows of a file one page fault can map.
//!
//! The conditions are those of `dax_iomap_pmd_fault` and `dax_iomap_direct_access` (Linux 6.12) that depend on the file;
//! those that depend on the mapping (its place, its length, private or shared, huge pages switched off) are taken as met.
//! A window is **mappable** when a fault, read or write, maps 2 MiB of its *data* at once: it lies inside the file, is
//! written, and is one extent whose address on the device is a multiple of 2 MiB.
//!
//! Nothing here is done per block, and nothing per window where an extent or a hole has many of them, so a sparse file
//! of any size costs as much as it has extents. A page is taken to be a block: where they differ there is no DAX at all.

use core::fmt;
use core::iter::Peekable;

/// Bytes a page-table entry of the second level maps on machines with 4 KiB pages (`PMD_SIZE`).
pub const PMD_SIZE: u64 = 2 << 20;

/// Where a file system's blocks lie on the persistent memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PmdGeometry {
    block_size: u64,
    data_offset: u64,
}

impl PmdGeometry {
    /// `data_offset`: bytes from the start of the device to the file system's block 0. `None` unless the block size is
    /// a power of two from 512 bytes to 1 MiB.
    #[must_use]
    pub fn new(block_size: u32, data_offset: u64) -> Option<Self> {
        (block_size.is_power_of_two() && (512..=1 << 20).contains(&block_size))
            .then(|| Self { block_size: u64::from(block_size), data_offset })
    }

    /// Blocks of a window.
    #[must_use]
    pub fn window_blocks(self) -> u64 {
        PMD_SIZE / self.block_size
    }

    /// How far behind a 2 MiB boundary of the device block `physical` begins.
    #[must_use]
    pub fn misaligned_by(self, physical: u64) -> u64 {
        // 2 MiB divides 2^64, so an overflow does not change the remainder.
        self.data_offset.wrapping_add(physical.wrapping_mul(self.block_size)) % PMD_SIZE
    }
}

/// A run of blocks of a file as one entry of its extent tree maps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileExtent {
    /// First block in the file.
    pub logical: u64,
    /// First block on the device.
    pub physical: u64,
    /// Blocks.
    pub len: u64,
    /// False: allocated, but reads as zeroes.
    pub written: bool,
}

/// Cuts an extent of a file with indirect blocks where those end, as one question to such a map is answered
/// (`ext4_ind_map_blocks`): behind block 11, and behind every `per_block` blocks from there on, which is the number of entries of an
/// indirect block. No fault maps more than one piece.
pub fn cut_at_indirect_blocks(extent: FileExtent, per_block: u64) -> impl Iterator<Item = FileExtent> {
    const DIRECT: u64 = 12;
    let per_block = per_block.max(1);
    let mut rest = extent;
    core::iter::from_fn(move || {
        if rest.len == 0 {
            return None;
        }
        let end = match rest.logical.checked_sub(DIRECT) {
            None => DIRECT,
            Some(behind) => (behind / per_block).saturating_add(1).saturating_mul(per_block).saturating_add(DIRECT),
        };
        let len = rest.len.min(end - rest.logical);
        let piece = FileExtent { len, ..rest };
        rest = FileExtent {
            logical: rest.logical.saturating_add(len),
            physical: rest.physical.saturating_add(len),
            len: rest.len - len,
            ..rest
        };
        Some(piece)
    })
}

/// The extents of a file in pieces of which a fault maps one at most: as they are in an extent tree, and cut by
/// [`cut_at_indirect_blocks`] where the map is one of indirect blocks.
pub fn pieces(
    extents: impl IntoIterator<Item = FileExtent>,
    by_extents: bool,
    block_size: u32,
) -> impl Iterator<Item = FileExtent> {
    let per_block = u64::from(block_size / 4);
    extents.into_iter().flat_map(move |extent| {
        let cut = (!by_extents).then(|| cut_at_indirect_blocks(extent, per_block));
        by_extents.then_some(extent).into_iter().chain(cut.into_iter().flatten())
    })
}

/// What one window is, and so why a fault in it falls back to 4 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WindowState {
    /// One written, aligned extent.
    Mappable,
    /// Nothing is mapped. A read maps the huge zero page; a write allocates 2 MiB, aligned if the allocator can.
    Hole,
    /// One extent that is not written. A read maps the huge zero page, whatever the alignment; a write first zeroes and
    /// converts the extent, and maps it when aligned.
    Unwritten {
        /// Bytes behind a 2 MiB boundary of the device.
        misaligned_by: u64,
    },
    /// Holes, unwritten and written blocks together.
    Mixed {
        /// Written blocks.
        written: u64,
        /// Unwritten blocks.
        unwritten: u64,
        /// Blocks of holes.
        hole: u64,
    },
    /// All written or all unwritten, but in several places.
    Discontiguous {
        /// Extents with blocks in the window.
        extents: u64,
    },
    /// In one place, aligned if written, but an extent ends inside. The file system answers a fault with one extent,
    /// so the first fault falls back; only when ext4 has both in its extent status cache, joined, can a later one succeed.
    SplitExtents {
        /// Block of the file the second extent begins with.
        at: u64,
    },
    /// One written place at an address that is not a multiple of 2 MiB.
    Misaligned {
        /// Bytes behind such a multiple.
        by: u64,
    },
    /// The file ends before the window's last page.
    Tail,
}

/// What a fault gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultSize {
    /// 2 MiB of the file's data.
    Huge,
    /// 2 MiB of zeroes that are not the file's.
    HugeZero,
    /// 2 MiB or 4 KiB, as the allocator finds space.
    AsAllocated,
    /// 4 KiB.
    Small,
}

impl WindowState {
    /// Whether one fault maps 2 MiB of data, whether it reads or writes.
    #[must_use]
    pub const fn is_mappable(self) -> bool {
        matches!(self, Self::Mappable)
    }

    /// What the first read fault in the window gets.
    #[must_use]
    pub const fn read_fault(self) -> FaultSize {
        match self {
            Self::Mappable => FaultSize::Huge,
            Self::Hole | Self::Unwritten { .. } => FaultSize::HugeZero,
            _ => FaultSize::Small,
        }
    }

    /// What the first write fault of a shared mapping gets.
    #[must_use]
    pub const fn write_fault(self) -> FaultSize {
        match self {
            Self::Mappable | Self::Unwritten { misaligned_by: 0 } => FaultSize::Huge,
            Self::Hole => FaultSize::AsAllocated,
            _ => FaultSize::Small,
        }
    }
}

impl fmt::Display for WindowState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mappable => write!(f, "mappable"),
            Self::Hole => write!(f, "hole"),
            Self::Unwritten { misaligned_by: 0 } => write!(f, "unwritten"),
            Self::Unwritten { misaligned_by } => {
                write!(f, "unwritten, {misaligned_by} bytes behind a 2 MiB boundary")
            }
            Self::Mixed { written, unwritten, hole: 0 } => {
                write!(f, "partly unwritten: {unwritten} of {} blocks", written + unwritten)
            }
            Self::Mixed { written, unwritten: 0, hole } => {
                write!(f, "partly a hole: {hole} of {} blocks", written + hole)
            }
            Self::Mixed { written, unwritten, hole } => {
                write!(f, "mixed: {written} blocks written, {unwritten} unwritten, {hole} of holes")
            }
            Self::Discontiguous { extents } => write!(f, "in {extents} extents that do not follow each other"),
            Self::SplitExtents { at } => write!(f, "contiguous, but a new extent begins at block {at}"),
            Self::Misaligned { by } => write!(f, "misaligned: {by} bytes behind a 2 MiB boundary"),
            Self::Tail => write!(f, "the file ends inside"),
        }
    }
}

/// Windows in a row with the same state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowRun {
    /// The first window: window `n` begins at byte `n * 2 MiB` of the file.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// What each of them is.
    pub state: WindowState,
}

/// The windows of a file of `size` bytes, in order, from the first to the one with its last byte; blocks behind the end
/// of the file do not count. `extents` are in order of `logical`; where two overlap the first one counts.
#[must_use]
pub fn windows<I>(geometry: PmdGeometry, size: u64, extents: I) -> Windows<I::IntoIter>
where
    I: IntoIterator<Item = FileExtent>,
{
    let blocks = size.div_ceil(geometry.block_size);
    let per = geometry.window_blocks();
    let source = Source { extents: extents.into_iter(), reached: 0, blocks: u64::MAX - u64::MAX % per };
    Windows {
        geometry,
        extents: source.peekable(),
        window: 0,
        whole: blocks / per,
        total: blocks.div_ceil(per),
        held: None,
    }
}

/// See [`windows`].
#[derive(Debug, Clone)]
pub struct Windows<I: Iterator<Item = FileExtent>> {
    geometry: PmdGeometry,
    extents: Peekable<Source<I>>,
    window: u64,
    whole: u64,
    total: u64,
    held: Option<WindowRun>,
}

/// The extents as they count: none empty, none over another, none past the last block there can be.
#[derive(Debug, Clone)]
struct Source<I> {
    extents: I,
    reached: u64,
    blocks: u64,
}

impl<I: Iterator<Item = FileExtent>> Iterator for Source<I> {
    type Item = FileExtent;

    fn next(&mut self) -> Option<FileExtent> {
        loop {
            let e = self.extents.next()?;
            let start = e.logical.max(self.reached);
            let end = e.logical.saturating_add(e.len).min(self.blocks);
            if start < end {
                self.reached = end;
                let physical = e.physical.wrapping_add(start - e.logical);
                return Some(FileExtent { logical: start, physical, len: end - start, written: e.written });
            }
        }
    }
}

impl<I: Iterator<Item = FileExtent>> Windows<I> {
    /// The next run, not yet joined with the one behind it.
    fn step(&mut self) -> Option<WindowRun> {
        let first = self.window;
        if first >= self.whole {
            return (first < self.total).then(|| self.emit(1, WindowState::Tail));
        }
        let per = self.geometry.window_blocks();
        // No overflow: `first < whole`, and `whole * per` is at most the file's blocks.
        let begin = first * per;
        let left = self.whole - first;
        while self.extents.next_if(|e| e.logical + e.len <= begin).is_some() {}
        let Some(e) = self.extents.peek().copied() else {
            return Some(self.emit(left, WindowState::Hole));
        };
        if e.logical >= begin + per {
            return Some(self.emit(((e.logical - begin) / per).min(left), WindowState::Hole));
        }
        let inside = (e.logical + e.len - begin) / per;
        if e.logical <= begin && inside > 0 {
            let by = self.geometry.misaligned_by(e.physical.wrapping_add(begin - e.logical));
            let state = match (e.written, by) {
                (false, misaligned_by) => WindowState::Unwritten { misaligned_by },
                (true, 0) => WindowState::Mappable,
                (true, by) => WindowState::Misaligned { by },
            };
            return Some(self.emit(inside.min(left), state));
        }
        let state = self.patchwork(begin, begin + per);
        Some(self.emit(1, state))
    }

    fn emit(&mut self, count: u64, state: WindowState) -> WindowRun {
        let first = self.window;
        self.window += count;
        WindowRun { first, count, state }
    }

    /// A window that no single extent or hole fills. Consumes the extents that end in it.
    fn patchwork(&mut self, begin: u64, end: u64) -> WindowState {
        let (mut written, mut unwritten, mut extents) = (0, 0, 0u64);
        let mut start = None;
        let mut second = None;
        let mut contiguous = true;
        let mut expected = 0;
        while let Some(e) = self.extents.peek().copied().filter(|e| e.logical < end) {
            let from = e.logical.max(begin);
            let to = (e.logical + e.len).min(end);
            let physical = e.physical.wrapping_add(from - e.logical);
            *(if e.written { &mut written } else { &mut unwritten }) += to - from;
            extents += 1;
            match start {
                None => start = Some(physical),
                Some(_) => {
                    second = second.or(Some(from));
                    contiguous &= physical == expected;
                }
            }
            expected = physical.wrapping_add(to - from);
            if e.logical + e.len > end {
                break;
            }
            self.extents.next();
        }
        let hole = (end - begin) - written - unwritten;
        let by = start.map_or(0, |p| self.geometry.misaligned_by(p));
        match (written, unwritten, hole, second) {
            (0, 0, ..) => WindowState::Hole,
            (_, 0, 0, Some(_)) if contiguous && by != 0 => WindowState::Misaligned { by },
            (_, 0, 0, Some(at)) | (0, _, 0, Some(at)) if contiguous => WindowState::SplitExtents { at },
            (_, 0, 0, _) | (0, _, 0, _) => WindowState::Discontiguous { extents },
            _ => WindowState::Mixed { written, unwritten, hole },
        }
    }
}

impl<I: Iterator<Item = FileExtent>> Iterator for Windows<I> {
    type Item = WindowRun;

    fn next(&mut self) -> Option<WindowRun> {
        let mut run = self.held.take().or_else(|| self.step())?;
        while let Some(more) = self.step() {
            if more.state != run.state {
                self.held = Some(more);
                break;
            }
            run.count += more.count;
        }
        Some(run)
    }
}

/// How much of a file one fault can map, in windows. Only windows wholly inside the file count, byte for byte: the last
/// one of a file that ends within its last page does not, although the kernel may map it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PmdSummary {
    /// Whole windows of the file.
    pub windows: u64,
    /// Of these, [`WindowState::Mappable`].
    pub mappable: u64,
    /// Of these, [`WindowState::Hole`].
    pub hole: u64,
    /// Of these, [`WindowState::Unwritten`].
    pub unwritten: u64,
    /// Of these, [`WindowState::Mixed`].
    pub mixed: u64,
    /// Of these, [`WindowState::Discontiguous`].
    pub discontiguous: u64,
    /// Of these, [`WindowState::SplitExtents`].
    pub split: u64,
    /// Of these, [`WindowState::Misaligned`].
    pub misaligned: u64,
}

impl PmdSummary {
    /// The mappable share, from 0 to 1; `None` for a file that has no whole window.
    #[must_use]
    // Exact: there are at most 2^43 windows in a file.
    pub fn share(&self) -> Option<f64> {
        (self.windows != 0).then(|| self.mappable as f64 / self.windows as f64)
    }

    /// Whether every whole window is mappable. True for a file that has none.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.mappable == self.windows
    }

    /// Adds another file's windows.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in [
            (&mut self.windows, other.windows),
            (&mut self.mappable, other.mappable),
            (&mut self.hole, other.hole),
            (&mut self.unwritten, other.unwritten),
            (&mut self.mixed, other.mixed),
            (&mut self.discontiguous, other.discontiguous),
            (&mut self.split, other.split),
            (&mut self.misaligned, other.misaligned),
        ] {
            *mine = mine.saturating_add(theirs);
        }
    }
}

/// Sums the windows of a file up; arguments as for [`windows`].
#[must_use]
pub fn summary<I>(geometry: PmdGeometry, size: u64, extents: I) -> PmdSummary
where
    I: IntoIterator<Item = FileExtent>,
{
    let mut sum = PmdSummary { windows: size / PMD_SIZE, ..PmdSummary::default() };
    if sum.windows == 0 {
        return sum;
    }
    for run in windows(geometry, size, extents) {
        let count = run.count.min(sum.windows.saturating_sub(run.first));
        let counter = match run.state {
            WindowState::Mappable => &mut sum.mappable,
            WindowState::Hole => &mut sum.hole,
            WindowState::Unwritten { .. } => &mut sum.unwritten,
            WindowState::Mixed { .. } => &mut sum.mixed,
            WindowState::Discontiguous { .. } => &mut sum.discontiguous,
            WindowState::SplitExtents { .. } => &mut sum.split,
            WindowState::Misaligned { .. } => &mut sum.misaligned,
            WindowState::Tail => continue,
        };
        *counter += count;
    }
    sum
}

#[cfg(test)]
#[path = "pmd_tests.rs"]
mod tests;
