//! What a recipe asks of a file beyond its bytes: checked against the file system, and turned into ranges and places.
//!
//! Flags are literal: whatever is asked for is on the disk, whether or not the kernel would have allowed it. What is refused here
//! is what the format cannot hold.

use super::error::{ImagePath, PlanError};
use super::map::Run;
use super::needs::{Needs, block_ranges};
use super::place::Data;
use super::verity;
use crate::params::Params;
use crate::source::{Extra, Kind, Mapping, NodeId, Placement, Tree};
use daxkit_format::ext4::casefold::casefold;
use daxkit_format::ext4::dir_tree::{Item, Shape};
use daxkit_format::ext4::extent;
use daxkit_format::ext4::features::Incompat;
use daxkit_format::ext4::inode_flags::InodeFlags;
use std::collections::HashMap;
use std::ops::Range;

/// Flags that follow from how an inode is laid out, never from a wish alone.
const LAYOUT: InodeFlags = InodeFlags::EXTENTS.union(InodeFlags::INLINE_DATA);

/// Makes sure that every wish can be met by the format.
pub(super) fn check(params: &Params, tree: &Tree, needs: &Needs) -> Result<(), PlanError> {
    for (id, extra) in tree.extras() {
        check_one(params, tree, needs, id, extra)
            .map_err(|reason| PlanError::Extra { path: ImagePath(tree.path(id)), reason })?;
    }
    Ok(())
}

fn check_one(params: &Params, tree: &Tree, needs: &Needs, id: NodeId, extra: &Extra) -> Result<(), String> {
    let kind = tree.kind(id);
    let bs = u64::from(params.block_size);
    let extents = params.features.incompat.contains(Incompat::EXTENTS);
    let inline = wants_inline(tree, id);
    if inline && !params.features.incompat.contains(Incompat::INLINE_DATA) {
        return Err("inline data needs the feature inline_data".to_owned());
    }
    if inline && !matches!(kind, Kind::File | Kind::Dir) {
        return Err("only a file or a directory can be inline".to_owned());
    }
    let of_file = !extra.unwritten.is_empty()
        || extra.placement != Placement::Best
        || matches!(extra.mapping, Mapping::Extents | Mapping::Indirect);
    if of_file && kind != Kind::File {
        return Err("only a regular file has blocks to be placed, mapped or left unwritten".to_owned());
    }
    if extra.mapping == Mapping::Extents && !extents {
        return Err("an extent tree needs the feature extent".to_owned());
    }
    if extra.mapping == Mapping::Indirect && params.cluster_size > params.block_size {
        return Err("with clusters (bigalloc) no file is mapped by indirect blocks".to_owned());
    }
    if inline && of_file {
        return Err("inline data has no blocks".to_owned());
    }
    let indirect = !needs.has_extents(tree, id);
    if !extra.unwritten.is_empty() && indirect {
        return Err("a map of indirect blocks has no unwritten ranges".to_owned());
    }
    if let Some(r) = extra.unwritten.iter().find(|r| r.start % bs != 0 || (r.end % bs != 0 && r.end != tree.size(id))) {
        return Err(format!(
            "the unwritten range {}..{} does not begin and end with a block of {bs} bytes",
            r.start, r.end
        ));
    }
    if extra.flags.contains(InodeFlags::VERITY) && kind == Kind::File {
        if indirect {
            return Err("fs-verity keeps its tree behind the data, which needs extents".to_owned());
        }
        if extra.unwritten.iter().any(|r| r.end > tree.size(id)) {
            return Err("fs-verity keeps its tree where the unwritten range lies".to_owned());
        }
    }
    let ratio = u64::from(params.cluster_size / params.block_size).max(1);
    check_placement(tree, needs, id, &extra.placement, bs, ratio, indirect)
}

fn check_placement(
    tree: &Tree,
    needs: &Needs,
    id: NodeId,
    placement: &Placement,
    bs: u64,
    ratio: u64,
    indirect: bool,
) -> Result<(), String> {
    let wanted = || needs.data(tree, id).ranges();
    let blocks = || wanted().iter().map(|r| r.end - r.start).sum::<u64>();
    match placement {
        Placement::Best => Ok(()),
        Placement::Block(_) | Placement::Align { .. } if ratio > 1 && wanted().len() > 1 => {
            Err("with clusters (bigalloc) only a file without holes can be placed".to_owned())
        }
        Placement::Block(block) if block % ratio != 0 => {
            Err(format!("block {block} does not begin a cluster of {ratio} blocks"))
        }
        Placement::Block(_) => Ok(()),
        Placement::Align { skew, .. } if skew % (bs * ratio) != 0 => {
            Err(format!("a skew of {skew} bytes must be whole blocks of {} bytes", bs * ratio))
        }
        Placement::Align { align, skew } => {
            if !align.is_power_of_two() || align % bs != 0 {
                return Err(format!("an alignment of {align} bytes is not a power of two of at least a block ({bs})"));
            }
            if skew >= align {
                return Err(format!("a skew of {skew} bytes must be less than the alignment of {align}"));
            }
            Ok(())
        }
        Placement::Fragments { pieces, gap } => {
            if *pieces == 0 || *gap == 0 {
                return Err("at least one piece, and a gap of at least one block".to_owned());
            }
            enough_blocks(blocks(), *pieces)
        }
        Placement::TreeDepth(depth) => {
            if indirect {
                return Err("a map of indirect blocks has no depth to choose".to_owned());
            }
            let pieces = pieces_for_depth(*depth, needs.block_size())
                .ok_or_else(|| format!("an extent tree of depth {depth} cannot be: 5 is the most"))?;
            enough_blocks(blocks(), pieces)
        }
        Placement::Extents(list) => {
            if ratio > 1 {
                return Err("exact extents and clusters (bigalloc) do not go together".to_owned());
            }
            if indirect && list.iter().any(|e| e.unwritten) {
                return Err("a map of indirect blocks has no unwritten ranges".to_owned());
            }
            let size = tree.size(id);
            let ranges = match needs.byte_ranges(tree, id) {
                Some(ranges) => block_ranges(ranges, size, bs),
                None if size == 0 => Vec::new(),
                None => std::iter::once(0..size.div_ceil(bs)).collect(),
            };
            let mut written: Vec<Range<u64>> = Vec::new();
            for e in list.iter().filter(|e| !e.unwritten) {
                let end = e.logical.saturating_add(e.len);
                match written.last_mut() {
                    Some(last) if last.end == e.logical => last.end = end,
                    _ => written.push(e.logical..end),
                }
            }
            let covered = |r: &Range<u64>| written.iter().any(|w| w.start <= r.start && r.end <= w.end);
            match ranges.iter().find(|r| !covered(r)) {
                Some(r) => Err(format!("its data in blocks {}..{} lies outside its written extents", r.start, r.end)),
                None => Ok(()),
            }
        }
    }
}

fn enough_blocks(blocks: u64, pieces: u64) -> Result<(), String> {
    if blocks < pieces {
        return Err(format!("{pieces} pieces need as many blocks, it has {blocks}"));
    }
    Ok(())
}

/// The fewest extents that an extent tree of this depth holds; `None` for a depth that the format does not know.
pub(super) fn pieces_for_depth(depth: u8, block_size: u32) -> Option<u64> {
    if depth == 0 {
        return Some(1);
    }
    if depth > 5 {
        return None;
    }
    let per_block = u64::from(extent::entries_per_block(block_size));
    let below = per_block.checked_pow(u32::from(depth) - 1)?;
    below.checked_mul(u64::from(extent::ROOT_ENTRIES))?.checked_add(1)
}

/// Whether somebody asked that the node's data lie in its inode.
pub(super) fn wants_inline(tree: &Tree, id: NodeId) -> bool {
    tree.extra(id).is_some_and(|e| e.mapping == Mapping::Inline || e.flags.contains(InodeFlags::INLINE_DATA))
}

/// Whether nothing was asked that needs blocks.
pub(super) fn allows_inline(tree: &Tree, id: NodeId) -> bool {
    tree.extra(id).is_none_or(|e| {
        e.unwritten.is_empty()
            && e.placement == Placement::Best
            && !matches!(e.mapping, Mapping::Extents | Mapping::Indirect)
            && !e.flags.contains(InodeFlags::VERITY)
            && e.htree_levels == 0
    })
}

/// Whether somebody asked for a map of indirect blocks.
pub(super) fn wants_indirect(tree: &Tree, id: NodeId) -> bool {
    tree.extra(id).is_some_and(|e| e.mapping == Mapping::Indirect)
}

/// Makes sure that a directory has as many levels as were asked for.
pub(super) fn check_levels(tree: &Tree, id: NodeId, shape: Shape) -> Result<(), PlanError> {
    let wanted = tree.extra(id).map_or(0, |e| e.htree_levels);
    if shape.levels() < wanted {
        let reason = format!("its names make an htree of {} levels, {wanted} were asked for", shape.levels());
        return Err(PlanError::Extra { path: ImagePath(tree.path(id)), reason });
    }
    Ok(())
}

/// Two names that a directory without case cannot hold both, as Linux would not create the second. Names that cannot be folded are
/// compared by their bytes.
pub(super) fn same_when_folded<'t>(items: &[Item<'t>]) -> Option<(&'t [u8], &'t [u8])> {
    let mut seen: HashMap<Vec<u8>, &[u8]> = HashMap::with_capacity(items.len());
    items.iter().find_map(|item| {
        let mut folded = Vec::new();
        casefold(item.name, &mut folded).ok()?;
        seen.insert(folded, item.name).map(|before| (before, item.name))
    })
}

/// The blocks of a file with wishes; `None` where they follow from its bytes alone.
pub(super) fn data(needs: &Needs, tree: &Tree, id: NodeId) -> Option<Data> {
    let extra = tree.extra(id).filter(|_| tree.kind(id) == Kind::File)?;
    let verity = verity::block_range(tree, id, needs.block_size());
    if extra.unwritten.is_empty() && verity.is_none() && !matches!(extra.placement, Placement::Extents(_)) {
        return None;
    }
    let bs = u64::from(needs.block_size());
    let mut all: Vec<Range<u64>> = if let Placement::Extents(list) = &extra.placement {
        list.iter().map(|e| e.logical..e.logical.saturating_add(e.len)).collect()
    } else {
        let size = tree.size(id);
        match needs.byte_ranges(tree, id) {
            Some(ranges) => block_ranges(ranges, size, bs),
            None if size == 0 => Vec::new(),
            None => std::iter::once(0..size.div_ceil(bs)).collect(),
        }
    };
    all.extend(extra.unwritten.iter().map(|r| r.start / bs..r.end.div_ceil(bs)));
    all.extend(verity);
    Some(Data::sparse(joined(all)))
}

/// Sorts ranges and joins those that touch or overlap.
fn joined(mut all: Vec<Range<u64>>) -> Vec<Range<u64>> {
    all.sort_unstable_by_key(|r| r.start);
    let mut out: Vec<Range<u64>> = Vec::with_capacity(all.len());
    for r in all.into_iter().filter(|r| !r.is_empty()) {
        match out.last_mut() {
            Some(last) if last.end >= r.start => last.end = last.end.max(r.end),
            _ => out.push(r),
        }
    }
    out
}

/// The unwritten ranges of a file, in blocks.
fn unwritten(needs: &Needs, tree: &Tree, id: NodeId) -> Vec<Range<u64>> {
    let Some(extra) = tree.extra(id) else { return Vec::new() };
    let bs = u64::from(needs.block_size());
    let mut all: Vec<Range<u64>> = extra.unwritten.iter().map(|r| r.start / bs..r.end.div_ceil(bs)).collect();
    if let Placement::Extents(list) = &extra.placement {
        all.extend(list.iter().filter(|e| e.unwritten).map(|e| e.logical..e.logical.saturating_add(e.len)));
    }
    joined(all)
}

/// Cuts runs where unwritten ranges begin and end, and marks those.
pub(super) fn mark_unwritten(needs: &Needs, tree: &Tree, id: NodeId, runs: Vec<Run>) -> Vec<Run> {
    let unwritten = unwritten(needs, tree, id);
    if unwritten.is_empty() {
        return runs;
    }
    let mut out = Vec::with_capacity(runs.len());
    for run in runs {
        let (mut at, end) = (run.logical, run.logical + run.len);
        let part = |from: u64, to: u64, written| Run {
            logical: from,
            physical: run.physical + (from - run.logical),
            len: to - from,
            written,
        };
        for r in unwritten.iter().filter(|r| r.start < end && r.end > run.logical) {
            let (from, to) = (r.start.max(at), r.end.min(end));
            if at < from {
                out.push(part(at, from, true));
            }
            if from < to {
                out.push(part(from, to, false));
            }
            at = at.max(to);
        }
        if at < end {
            out.push(part(at, end, true));
        }
    }
    out
}

/// The pieces a file is to lie in, each in one run.
pub(super) fn pieces(needs: &Needs, tree: &Tree, id: NodeId, ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let wanted = match tree.extra(id).map(|e| &e.placement) {
        Some(Placement::Fragments { pieces, .. }) => *pieces,
        Some(Placement::TreeDepth(depth)) => pieces_for_depth(*depth, needs.block_size()).unwrap_or(1),
        _ => return ranges.to_vec(),
    };
    cut(ranges, wanted)
}

/// Cuts ranges into at least `pieces` pieces of nearly equal length.
fn cut(ranges: &[Range<u64>], pieces: u64) -> Vec<Range<u64>> {
    let total: u64 = ranges.iter().map(|r| r.end - r.start).sum();
    let pieces = pieces.clamp(1, total.max(1));
    // Block n of all belongs to piece n * pieces / total; a piece never goes over the edge of a range.
    let edge = |piece: u64| (u128::from(piece) * u128::from(total)).div_ceil(u128::from(pieces)) as u64;
    let (mut out, mut done, mut piece) = (Vec::new(), 0, 1);
    for r in ranges {
        let mut at = r.start;
        while at < r.end {
            while edge(piece) <= done {
                piece += 1;
            }
            let end = r.end.min(at + (edge(piece) - done));
            out.push(at..end);
            done += end - at;
            at = end;
        }
    }
    out
}

/// The runs of a file whose place was named.
pub(super) fn fixed(needs: &Needs, tree: &Tree, id: NodeId) -> Vec<Run> {
    match tree.extra(id).map(|e| &e.placement) {
        Some(Placement::Block(block)) => {
            let run = |r: Range<u64>| {
                let physical = block.saturating_add(r.start);
                Run { logical: r.start, physical, len: r.end - r.start, written: true }
            };
            needs.data(tree, id).ranges().into_iter().map(run).collect()
        }
        Some(Placement::Extents(list)) => {
            list.iter().map(|e| Run { logical: e.logical, physical: e.physical, len: e.len, written: true }).collect()
        }
        _ => Vec::new(),
    }
}

/// The flags of an inode that were asked for and do not follow from its layout.
#[must_use]
pub(crate) fn flags(tree: &Tree, id: NodeId) -> InodeFlags {
    tree.extra(id).map_or(InodeFlags::empty(), |e| e.flags.difference(LAYOUT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_nearly_equal_and_cover_all() {
        for (ranges, n) in [(vec![0..10], 3), (vec![0..10, 20..21], 4), (vec![5..6], 1), (vec![0..100], 100)] {
            let total: u64 = ranges.iter().map(|r| r.end - r.start).sum();
            let out = cut(&ranges, n);
            assert!(out.len() as u64 >= n, "{ranges:?} {n}: {out:?}");
            assert_eq!(out.iter().map(|r| r.end - r.start).sum::<u64>(), total);
            assert!(out.windows(2).all(|w| w[0].end <= w[1].start));
            assert!(out.iter().all(|r| r.end - r.start <= total.div_ceil(n)));
        }
    }

    #[test]
    fn a_depth_needs_more_extents_than_the_one_below_can_hold() {
        assert_eq!([0, 1, 2].map(|d| pieces_for_depth(d, 4096)), [Some(1), Some(5), Some(1361)]);
        assert_eq!(pieces_for_depth(2, 1024), Some(4 * 84 + 1));
        assert_eq!(pieces_for_depth(6, 4096), None);
    }

    #[test]
    fn ranges_join() {
        assert_eq!(joined(vec![5..6, 0..2, 2..3, 9..9]), [0..3, 5..6]);
    }
}
