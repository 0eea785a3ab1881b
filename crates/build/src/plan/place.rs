//! Places the content: directories and other small metadata first, then whole 2 MiB windows, then everything else.
//!
//! Files with whole windows go from the largest to the smallest, each span of windows in the smallest free run that holds it,
//! so that a file is in one run where any run is long enough. The tail behind the last window follows it directly while there
//! is room to spare; when there is not, tails are placed with the small files so that no window is lost to them.

use super::error::{ImagePath, PlanError};
use super::extras;
use super::map::{BlockMap, Maps, Run};
use super::needs::Needs;
use crate::extent_tree;
use crate::params::Params;
use crate::source::{Kind, NodeId, Placement, Tree};
use crate::space::FreeSpace;
use std::ops::Range;

/// What the placement needs to know of the nodes.
pub struct Content<'a> {
    /// The tree.
    pub tree: &'a Tree,
    /// Parameters.
    pub params: &'a Params,
    /// Which blocks each node wants.
    pub needs: &'a Needs,
}

/// Blocks with data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// None.
    None,
    /// The first so many blocks.
    Dense(u64),
    /// These ranges of blocks.
    Sparse(Vec<Range<u64>>),
}

impl Data {
    /// These ranges.
    #[must_use]
    pub fn sparse(ranges: Vec<Range<u64>>) -> Self {
        if ranges.is_empty() { Self::None } else { Self::Sparse(ranges) }
    }

    /// The ranges, in order and apart.
    #[must_use]
    pub fn ranges(self) -> Vec<Range<u64>> {
        match self {
            Self::None => Vec::new(),
            Self::Dense(n) => std::iter::once(0..n).collect(),
            Self::Sparse(r) => r,
        }
    }
}

/// Takes blocks for something small in as few runs as possible.
///
/// # Errors
/// [`PlanError::NoSpace`].
pub fn take(
    space: &mut FreeSpace,
    block_size: u32,
    blocks: u64,
    what: impl FnOnce() -> String,
) -> Result<Vec<Range<u64>>, PlanError> {
    let mut out = Vec::new();
    if space.take_small(blocks, &mut out) {
        return Ok(out);
    }
    Err(PlanError::NoSpace { what: what(), needed: blocks, free: space.free(), block_size })
}

/// What decides how many blocks an inode's map takes.
#[derive(Debug, Clone, Copy)]
pub struct MapRules {
    block_size: u32,
    /// Whether an allocation is a cluster of several blocks.
    clusters: bool,
    extents: bool,
}

impl MapRules {
    /// The rules of a file system for an inode with extents, or without.
    #[must_use]
    pub fn new(params: &Params, extents: bool) -> Self {
        Self { block_size: params.block_size, clusters: params.cluster_size > params.block_size, extents }
    }
}

/// Clusters of `ratio` blocks that ranges (in order and apart) touch.
#[must_use]
pub fn clusters(ranges: &[Range<u64>], ratio: u64) -> u64 {
    let (mut total, mut behind) = (0, 0);
    for r in ranges.iter().filter(|r| !r.is_empty()) {
        let (first, end) = ((r.start / ratio).max(behind), r.end.div_ceil(ratio));
        total += end.saturating_sub(first);
        behind = behind.max(end);
    }
    total
}

/// Takes the blocks of files whose place was named, before anything else can have them.
///
/// # Errors
/// They are not free.
pub fn take_fixed(needs: &Needs, tree: &Tree, space: &mut FreeSpace) -> Result<(), PlanError> {
    for (id, _) in tree.extras() {
        for run in extras::fixed(needs, tree, id) {
            let end = run.physical.saturating_add(run.len);
            if run.len > 0 && !space.take_exact(run.physical..end) {
                let reason = format!("blocks {}..{end} are not free: metadata, another file or the end", run.physical);
                return Err(PlanError::Extra { path: ImagePath(tree.path(id)), reason });
            }
        }
    }
    Ok(())
}

/// Takes the blocks of an inode's map (extent tree or indirect blocks) for the runs of `map`.
///
/// # Errors
/// No space, or a file too long for an indirect map.
pub fn take_map_blocks(
    space: &mut FreeSpace,
    rules: MapRules,
    map: &mut BlockMap,
    path: &dyn Fn() -> Vec<u8>,
    size: u64,
) -> Result<(), PlanError> {
    let bs = rules.block_size;
    let need = if rules.extents {
        extent_tree::tree_blocks(&map.runs, bs)
    } else {
        let n = u64::from(bs / 4);
        let limit = (12 + n + n * n + n * n * n) * u64::from(bs);
        extent_tree::indirect_blocks(&map.runs, bs).ok_or_else(|| PlanError::FileTooLarge {
            path: ImagePath(path()),
            size,
            limit,
        })?
    };
    // With bigalloc each block of a map is a cluster of its own, as the kernel allocates and e2fsck counts.
    let pieces = if rules.clusters { need } else { 1 };
    for _ in 0..pieces.min(need) {
        let what = || format!("the block map of {}", String::from_utf8_lossy(&path()));
        map.meta.extend(take(space, bs, need / pieces.max(1), what)?);
    }
    Ok(())
}

/// A file with whole windows.
struct Big {
    id: u32,
    windows: u64,
}

impl Content<'_> {
    /// Places the data of all files and symlinks.
    ///
    /// # Errors
    /// No space.
    pub fn place(&self, space: &mut FreeSpace, maps: &mut Maps) -> Result<(), PlanError> {
        let ratio = u64::from(self.params.cluster_size / self.params.block_size);
        for (id, extra) in self.tree.extras() {
            if extra.placement != Placement::Best {
                let map = self.place_wished(id, &extra.placement, ratio, space)?;
                self.keep(id, map, space, maps)?;
            }
        }
        let window = space.window_blocks().filter(|w| w.is_multiple_of(ratio) && *w >= ratio);
        let mut bigs = Vec::new();
        let (mut rounded, mut small) = (0u64, 0u64);
        if let Some(w) = window {
            for id in self.tree.ids().filter(|id| self.tree.kind(*id) == Kind::File && !self.is_placed(*id)) {
                let (windows, rest) = match self.needs.data(self.tree, id) {
                    Data::None => (0, 0),
                    Data::Dense(n) => (n / w, n % w),
                    Data::Sparse(r) => {
                        let windows = r.iter().map(|r| spans(r, w).1).sum();
                        let total: u64 = r.iter().map(|r| r.end - r.start).sum();
                        (windows, total - windows * w)
                    }
                };
                if windows > 0 {
                    bigs.push(Big { id: id.0, windows });
                    rounded += windows + u64::from(rest > 0);
                } else {
                    small += rest;
                }
            }
        }
        // The largest first, so that each finds a run; but what somebody put in order keeps that order.
        let listed = |id: u32| self.needs.inodes.position(NodeId(id)).unwrap_or(u32::MAX);
        bigs.sort_by_key(|b| (listed(b.id), std::cmp::Reverse(b.windows), b.id));
        // Tails directly behind their windows only when all windows and everything small surely fit besides.
        let attach = window.is_some_and(|w| rounded + small.div_ceil(w) < space.windows());
        let mut partial: Vec<(u32, BlockMap)> = Vec::with_capacity(bigs.len());
        for big in &bigs {
            let map = self.place_windows(NodeId(big.id), window.unwrap_or(1), attach, space);
            partial.push((big.id, map));
        }
        space.rewind();
        partial.sort_by_key(|(id, _)| *id);
        let mut rest = |id: NodeId| -> Result<(), PlanError> {
            if self.is_placed(id) {
                return Ok(());
            }
            let at = partial.binary_search_by_key(&id.0, |(p, _)| *p).ok();
            let have = at.and_then(|at| partial.get_mut(at)).map(|(_, m)| std::mem::take(m));
            self.place_rest(id, have, ratio, space, maps)
        };
        for id in self.needs.inodes.listed() {
            rest(*id)?;
        }
        for id in self.tree.ids().filter(|id| self.needs.inodes.position(*id).is_none()) {
            rest(id)?;
        }
        Ok(())
    }

    /// Whether the node has its place by a wish.
    fn is_placed(&self, id: NodeId) -> bool {
        self.tree.extra(id).is_some_and(|e| e.placement != Placement::Best)
    }

    fn place_wished(
        &self,
        id: NodeId,
        placement: &Placement,
        ratio: u64,
        space: &mut FreeSpace,
    ) -> Result<BlockMap, PlanError> {
        let mut map = BlockMap::default();
        let ranges = self.needs.data(self.tree, id).ranges();
        let what = || String::from_utf8_lossy(&self.tree.path(id)).into_owned();
        match placement {
            Placement::Best => {}
            Placement::Block(_) | Placement::Extents(_) => {
                // Not joined: extents that touch stay extents of their own.
                map.runs = extras::fixed(self.needs, self.tree, id);
            }
            Placement::Align { align, skew } => {
                let bs = u64::from(self.params.block_size);
                for range in ranges {
                    let len = range.end - range.start;
                    // The wish is about the file's first byte: a later range keeps its distance from that.
                    let residue = (skew / bs + range.start % (align / bs)) % (align / bs);
                    let found = space.find_aligned(len, align / bs, residue);
                    let physical =
                        found.filter(|at| space.take_exact(*at..at + len)).ok_or_else(|| PlanError::NoSpace {
                            what: format!("{} at {skew} bytes behind a multiple of {align}", what()),
                            needed: len,
                            free: space.free(),
                            block_size: self.params.block_size,
                        })?;
                    map.push(Run { logical: range.start, physical, len, written: true });
                }
            }
            Placement::Fragments { .. } | Placement::TreeDepth(_) => {
                let gap = if let Placement::Fragments { gap, .. } = placement { *gap } else { 1 };
                let mut aside = Vec::new();
                for piece in extras::pieces(self.needs, self.tree, id, &ranges) {
                    self.place_piece(piece, ratio, space, &mut map, what)?;
                    aside.extend(take(space, self.params.block_size, gap, what)?);
                }
                aside.into_iter().for_each(|r| space.release(r.start..r.end.next_multiple_of(ratio)));
            }
        }
        Ok(map)
    }

    /// Takes the blocks of the map itself, and keeps it.
    fn keep(&self, id: NodeId, mut map: BlockMap, space: &mut FreeSpace, maps: &mut Maps) -> Result<(), PlanError> {
        map.runs = extras::mark_unwritten(self.needs, self.tree, id, map.runs);
        let path = || self.tree.path(id);
        let rules = MapRules::new(self.params, self.needs.has_extents(self.tree, id));
        take_map_blocks(space, rules, &mut map, &path, self.tree.size(id))?;
        let blocks = self.tree.size(id).div_ceil(u64::from(self.params.block_size));
        maps.set(id.0, map, blocks);
        Ok(())
    }

    fn place_windows(&self, id: NodeId, w: u64, attach: bool, space: &mut FreeSpace) -> BlockMap {
        let mut map = BlockMap::default();
        for range in self.needs.data(self.tree, id).ranges() {
            let (first, count) = spans(&range, w);
            let (mut at, mut left) = (first, count);
            let tail = range.end - (first + count * w).min(range.end);
            if attach
                && count > 0
                && let Some(physical) = space.take_windows_and_tail(count, tail)
            {
                map.push(Run { logical: first, physical, len: count * w + tail, written: true });
                continue;
            }
            while left > 0 {
                let Some((start, n)) = space.take_windows(left) else { break };
                map.push(Run { logical: at, physical: start, len: n * w, written: true });
                at += n * w;
                left -= n;
            }
        }
        map
    }

    /// Places what has no place yet, and the blocks of the map.
    fn place_rest(
        &self,
        id: NodeId,
        have: Option<BlockMap>,
        ratio: u64,
        space: &mut FreeSpace,
        maps: &mut Maps,
    ) -> Result<(), PlanError> {
        let data = self.needs.data(self.tree, id);
        if data == Data::None {
            return Ok(());
        }
        let what = || String::from_utf8_lossy(&self.tree.path(id)).into_owned();
        let mut map = BlockMap::default();
        let mut placed = have.unwrap_or_default().runs.into_iter().peekable();
        for range in data.ranges() {
            let mut at = range.start;
            while at < range.end {
                // Up to the next run that is there already, then over it.
                let stop = placed.peek().map_or(range.end, |r| r.logical.min(range.end));
                if at < stop {
                    self.place_piece(at..stop, ratio, space, &mut map, what)?;
                    at = stop;
                }
                if let Some(run) = placed.next_if(|r| r.logical == at && at < range.end) {
                    at += run.len;
                    map.push(run);
                }
            }
        }
        self.keep(id, map, space, maps)
    }

    /// Places one range of blocks. With bigalloc a block's place in its cluster on disk is its place in the file's cluster.
    fn place_piece(
        &self,
        range: Range<u64>,
        ratio: u64,
        space: &mut FreeSpace,
        map: &mut BlockMap,
        what: impl FnOnce() -> String,
    ) -> Result<(), PlanError> {
        let mut range = range;
        if ratio > 1 && !range.start.is_multiple_of(ratio) {
            // The cluster may be there already, from the range before it.
            if let Some(last) = map.runs.last()
                && (last.logical + last.len - 1) / ratio == range.start / ratio
            {
                let end = range.end.min(range.start.next_multiple_of(ratio));
                let physical = last.physical + (range.start - last.logical);
                map.push(Run { logical: range.start, physical, len: end - range.start, written: true });
                range.start = end;
            }
        }
        if range.start >= range.end {
            return Ok(());
        }
        let lead = range.start % ratio;
        let mut at = range.start - lead;
        let mut first = lead;
        for run in take(space, self.params.block_size, range.end - at, what)? {
            let len = run.end - run.start;
            map.push(Run { logical: at + first, physical: run.start + first, len: len - first, written: true });
            at += len;
            first = 0;
        }
        Ok(())
    }
}

/// The whole windows of `w` blocks in a range: where the first begins, and how many.
fn spans(range: &Range<u64>, w: u64) -> (u64, u64) {
    let first = range.start.next_multiple_of(w);
    (first, (range.end / w).saturating_sub(first / w))
}
