//! Taking blocks and giving them back: bitmaps, descriptors and the superblock's count in one step.
//!
//! Space is taken in whole clusters. Which blocks of a cluster a file already has is for whoever maps them to know.

use std::ops::Range;

use daxkit_format::ext4::group_desc::{GroupDesc, GroupFlags, bitmap_checksum};
use daxkit_format::{BlockNr, GroupNr};

use super::super::bitmap::Bitmap;
use super::super::error::VolumeError;
use super::{EditError, Editor};

/// Groups that are looked at for a run as long as wanted, before a shorter one will do.
const LOOKED_AT: u32 = 16;

/// Blocks in a row on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The first.
    pub first: BlockNr,
    /// How many.
    pub len: u64,
}

impl Editor<'_> {
    /// Takes up to `want` blocks in a row near `goal`, whole clusters, at least one. Fewer than wanted when there is no such run nearby.
    ///
    /// # Errors
    /// Nothing is free; a descriptor or bitmap is damaged.
    pub fn take_blocks(&mut self, goal: BlockNr, want: u64) -> Result<Run, EditError> {
        let g = *self.geometry();
        let ratio = u64::from(g.cluster_ratio);
        let need = u32::try_from(want.div_ceil(ratio)).unwrap_or(u32::MAX).clamp(1, g.clusters_per_group);
        let goal = BlockNr(goal.get().clamp(g.first_data_block, g.blocks_count.saturating_sub(1)));
        let home = g.group_of_block(goal).unwrap_or(GroupNr(0));
        let inside = goal.get().saturating_sub(g.group_first_block(home).get()) / ratio;
        let mut best: Option<(GroupNr, Range<u32>)> = None;
        let mut looked = 0;
        let mut step = 0;
        while step < g.groups_count {
            let group = GroupNr((home.get() + step) % g.groups_count);
            // Groups that are known to be full are passed over together.
            let here = u64::from(group.get());
            let full = self.volume.hints_mut().full.next_in(here..u64::from(g.groups_count));
            if let Some(full) = full.filter(|f| f.start == here) {
                step = step.saturating_add(u32::try_from(full.end - full.start).unwrap_or(u32::MAX));
                continue;
            }
            step += 1;
            let desc = self.group_desc(group)?;
            if desc.free_blocks_count() == 0 {
                self.volume.hints_mut().full.insert(here..here + 1);
                continue;
            }
            let from = if step == 1 { u32::try_from(inside).unwrap_or(0) } else { 0 };
            let map = self.takeable(group)?;
            let Some(found) = find_run(&map, from, need) else {
                // The count says otherwise than the bitmap, which counts; or what is free may not be taken yet.
                self.volume.hints_mut().full.insert(here..here + 1);
                continue;
            };
            let longer = best.as_ref().is_none_or(|(_, b)| found.len() > b.len());
            if longer {
                best = Some((group, found));
            }
            looked += 1;
            if best.as_ref().is_some_and(|(_, b)| b.len() >= need as usize) || looked >= LOOKED_AT {
                break;
            }
        }
        let Some((group, clusters)) = best else {
            return Err(EditError::NoSpace { wanted: want, free: self.super_block().free_blocks_count() });
        };
        let first = g.group_first_block(group).get() + u64::from(clusters.start) * ratio;
        let len = u64::from(clusters.end - clusters.start) * ratio;
        // The last cluster of the file system may stick out.
        let len = len.min(g.blocks_count.saturating_sub(first));
        self.mark(group, clusters, true)?;
        Ok(Run { first: BlockNr(first), len })
    }

    /// Finds `len` free blocks that begin at a multiple of `len`, counted from `phase` blocks before the file system: a whole window that
    /// one fault can map. `None` when no such window is free. Nothing is taken.
    ///
    /// # Errors
    /// A descriptor or bitmap is damaged.
    pub fn find_window(&self, goal: BlockNr, len: u64, phase: u64) -> Result<Option<Run>, VolumeError> {
        let g = *self.geometry();
        let ratio = u64::from(g.cluster_ratio);
        if len == 0 || !len.is_multiple_of(ratio) {
            return Ok(None);
        }
        let home = g.group_of_block(goal).unwrap_or(GroupNr(0)).get();
        for step in 0..g.groups_count {
            let group = GroupNr((home + step) % g.groups_count);
            if u64::from(self.group_desc(group)?.free_blocks_count()).saturating_mul(ratio) < len {
                continue;
            }
            let map = self.takeable(group)?;
            let start = g.group_first_block(group).get();
            let end = start.saturating_add(g.group_blocks(group).into());
            let mut at = start.saturating_add(phase).next_multiple_of(len).saturating_sub(phase);
            while at.saturating_add(len) <= end {
                let inside = at.saturating_sub(start);
                // Windows that do not begin with a cluster cannot be taken alone.
                if inside.is_multiple_of(ratio) {
                    let clusters = to_u32(inside / ratio)..to_u32((inside + len) / ratio);
                    if map.next_set(clusters.start) >= clusters.end {
                        return Ok(Some(Run { first: BlockNr(at), len }));
                    }
                }
                at += len;
            }
        }
        Ok(None)
    }

    /// Takes the clusters of these very blocks.
    ///
    /// # Errors
    /// One of them is in use, or lies outside of the file system.
    pub fn take_exactly(&mut self, run: Run) -> Result<(), EditError> {
        self.mark_run(run, true)
    }

    /// Gives back the clusters of these blocks.
    ///
    /// # Errors
    /// One of them is free, or lies outside of the file system.
    pub fn give_blocks(&mut self, run: Run) -> Result<(), EditError> {
        self.mark_run(run, false)
    }

    /// Marks the clusters of blocks as used or free. They must have been otherwise.
    fn mark_run(&mut self, run: Run, used: bool) -> Result<(), EditError> {
        let g = *self.geometry();
        let ratio = u64::from(g.cluster_ratio);
        let count = g.blocks_count;
        let end = run.first.get().checked_add(run.len).filter(|end| *end <= count);
        let end = end.ok_or(VolumeError::NoSuchBlock { block: run.first, count })?;
        let mut block = run.first.get();
        while block < end {
            let group =
                g.group_of_block(BlockNr(block)).ok_or(VolumeError::NoSuchBlock { block: BlockNr(block), count })?;
            let start = g.group_first_block(group).get();
            let stop = end.min(start.saturating_add(g.blocks_per_group.into()));
            self.mark(group, to_u32((block - start) / ratio)..to_u32((stop - start).div_ceil(ratio)), used)?;
            block = stop;
        }
        Ok(())
    }

    /// Marks clusters of a group, which must all have been otherwise.
    fn mark(&mut self, group: GroupNr, clusters: Range<u32>, used: bool) -> Result<(), EditError> {
        let g = *self.geometry();
        let mut map = self.block_bitmap(group)?;
        let count = clusters.end.saturating_sub(clusters.start);
        let blocks_of = |clusters: &Range<u32>| {
            let (start, ratio) = (g.group_first_block(group).get(), u64::from(g.cluster_ratio));
            start + u64::from(clusters.start) * ratio..start + u64::from(clusters.end) * ratio
        };
        if used && self.held().is_some_and(|held| held.overlaps(blocks_of(&clusters))) {
            return Err(EditError::BlockState { block: BlockNr(blocks_of(&clusters).start), used });
        }
        if let Some(bit) = clusters.clone().find(|bit| map.get(*bit) == used) {
            let block = g.group_first_block(group).get() + u64::from(bit) * u64::from(g.cluster_ratio);
            return Err(EditError::BlockState { block: BlockNr(block), used });
        }
        if let Some(held) = self.volume.held_mut().as_mut().filter(|_| !used) {
            held.insert(blocks_of(&clusters));
        }
        map.set_range(clusters, used);
        let mut desc = self.group_desc(group)?;
        let free = desc.free_blocks_count();
        desc.set_free_blocks_count(if used { free.saturating_sub(count) } else { free.saturating_add(count) });
        self.write_block_bitmap(group, &mut desc, &map)?;
        let blocks = u64::from(count) * u64::from(g.cluster_ratio);
        self.change_super_block(|sb| {
            let free = sb.free_blocks_count();
            sb.set_free_blocks_count(if used { free.saturating_sub(blocks) } else { free.saturating_add(blocks) });
        })?;
        if !used {
            self.volume.hints_mut().no_window = false;
            self.volume.hints_mut().full.remove(group.get().into()..u64::from(group.get()) + 1);
        }
        Ok(())
    }

    /// The bitmap of a group in which blocks that may not be taken before the next commit count as used.
    fn takeable(&self, group: GroupNr) -> Result<Bitmap, VolumeError> {
        let g = self.geometry();
        let mut map = self.block_bitmap(group)?;
        let Some(held) = self.held() else { return Ok(map) };
        let (start, ratio) = (g.group_first_block(group).get(), u64::from(g.cluster_ratio));
        let mut at = start;
        let end = start.saturating_add(g.group_blocks(group).into());
        while let Some(run) = held.next_in(at..end) {
            map.set_range(to_u32((run.start - start) / ratio)..to_u32((run.end - start).div_ceil(ratio)), true);
            at = run.end;
        }
        Ok(map)
    }

    /// Writes a group's block bitmap and its descriptor.
    pub(super) fn write_block_bitmap(
        &mut self,
        group: GroupNr,
        desc: &mut GroupDesc,
        map: &Bitmap,
    ) -> Result<(), EditError> {
        let g = *self.geometry();
        desc.bg_flags.set(desc.flags().difference(GroupFlags::BLOCK_UNINIT).bits());
        if let Some(seed) = self.seal_seed() {
            desc.set_block_bitmap_csum(bitmap_checksum(seed, map.as_bytes(), g.clusters_per_group), g.desc_size);
        }
        self.write_block(BlockNr(desc.block_bitmap()), map.as_bytes())?;
        self.write_group_desc(group, desc)
    }
}

/// The first run of `need` clear bits from `from` on, or from the beginning; the longest when there is none.
fn find_run(map: &Bitmap, from: u32, need: u32) -> Option<Range<u32>> {
    let mut best: Option<Range<u32>> = None;
    let mut at = from;
    let mut wrapped = from == 0;
    loop {
        let Some(start) = map.next_clear(at) else {
            if wrapped {
                return best;
            }
            (at, wrapped) = (0, true);
            continue;
        };
        let end = map.next_set(start).min(start.saturating_add(need));
        if end - start >= need {
            return Some(start..end);
        }
        if best.as_ref().is_none_or(|b| end - start > b.end - b.start) {
            best = Some(start..end);
        }
        if wrapped && start >= from && from != 0 {
            return best;
        }
        at = end;
    }
}

fn to_u32(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_run_that_is_long_enough_or_the_longest() {
        let mut map = Bitmap::empty(64, 512);
        map.set_range(0..100, true);
        map.set_range(110..200, true);
        map.set_range(230..512, true);
        assert_eq!(find_run(&map, 0, 5), Some(100..105));
        assert_eq!(find_run(&map, 105, 5), Some(105..110));
        assert_eq!(find_run(&map, 106, 5), Some(200..205));
        assert_eq!(find_run(&map, 220, 20), Some(200..220));
        assert_eq!(find_run(&map, 0, 31), Some(200..230));
        assert_eq!(find_run(&map, 300, 31), Some(200..230));
        map.set_range(0..512, true);
        assert_eq!(find_run(&map, 7, 1), None);
    }
}
