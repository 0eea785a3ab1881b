//! Which blocks and inodes are in use while fast commits are carried out, and taking free ones.
//!
//! Blocks that a fast commit maps somewhere are never taken for anything else, wherever in the fast commits that stands
//! (`ext4_fc_replay_check_excluded`, Linux 6.12). Bitmaps and descriptors are written at the end, by [`Space::flush`].

use std::collections::BTreeMap;

use daxkit_device::RangeSet;
use daxkit_format::ext4::group_desc::{GroupFlags, bitmap_checksum};
use daxkit_format::{BlockNr, GroupNr, InodeNr};

use super::super::bitmap::Bitmap;
use super::super::error::{ReplayError, VolumeError};
use super::writer::Writer;

#[derive(Default)]
struct Inodes {
    map: Option<Bitmap>,
    dirs: i64,
}

/// The bitmaps that were looked at and perhaps changed.
pub(super) struct Space {
    blocks: BTreeMap<GroupNr, Bitmap>,
    inodes: BTreeMap<GroupNr, Inodes>,
    excluded: RangeSet,
}

impl Space {
    /// `excluded` are blocks that must not be taken.
    pub(super) fn new(excluded: RangeSet) -> Self {
        Self { blocks: BTreeMap::new(), inodes: BTreeMap::new(), excluded }
    }

    fn block_map(&mut self, w: &Writer<'_>, group: GroupNr) -> Result<&mut Bitmap, VolumeError> {
        Ok(match self.blocks.entry(group) {
            std::collections::btree_map::Entry::Occupied(o) => o.into_mut(),
            std::collections::btree_map::Entry::Vacant(v) => v.insert(w.volume.block_bitmap(group)?),
        })
    }

    /// Marks blocks (the clusters they lie in) as used or free.
    pub(super) fn mark(&mut self, w: &Writer<'_>, first: u64, len: u64, used: bool) -> Result<(), VolumeError> {
        let g = *w.volume.geometry();
        let mut block = first;
        let end = first.saturating_add(len);
        while block < end {
            let Some(group) = g.group_of_block(BlockNr(block)) else { break };
            let start = g.group_first_block(group).get();
            let stop = end.min(start.saturating_add(g.blocks_per_group.into()));
            let map = self.block_map(w, group)?;
            let ratio = u64::from(g.cluster_ratio);
            for cluster in (block - start) / ratio..(stop - start).div_ceil(ratio) {
                map.set(u32::try_from(cluster).unwrap_or(u32::MAX), used);
            }
            block = stop;
        }
        Ok(())
    }

    /// Takes a free block, near `goal` if there is one.
    pub(super) fn take(&mut self, w: &Writer<'_>, goal: BlockNr) -> Result<BlockNr, VolumeError> {
        let g = *w.volume.geometry();
        let home = g.group_of_block(goal).unwrap_or(GroupNr(0)).get();
        for step in 0..g.groups_count {
            let group = GroupNr((u64::from(home) + u64::from(step)).rem_euclid(g.groups_count.into()) as u32);
            // A group without free blocks need not have its bitmap kept.
            if !self.blocks.contains_key(&group) && w.volume.group_desc(group)?.free_blocks_count() == 0 {
                continue;
            }
            let first = g.group_first_block(group).get();
            let mut from = 0;
            while let Some(cluster) = self.block_map(w, group)?.next_clear(from) {
                let block = first + u64::from(cluster) * u64::from(g.cluster_ratio);
                let blocks = block..block + u64::from(g.cluster_ratio);
                if g.has_blocks(block, 1) && !self.excluded.overlaps(blocks) {
                    self.block_map(w, group)?.set(cluster, true);
                    return Ok(BlockNr(block));
                }
                from = cluster + 1;
            }
        }
        Err(VolumeError::corrupt(super::super::error::Place::Block(goal), ReplayError::NoSpace))
    }

    /// Marks an inode as used or free; `dir` says whether it is a directory.
    pub(super) fn mark_inode(&mut self, w: &Writer<'_>, nr: InodeNr, used: bool, dir: bool) -> Result<(), VolumeError> {
        let count = w.volume.geometry().inodes_count.into();
        let (group, index) =
            w.volume.geometry().group_of_inode(nr).ok_or(VolumeError::NoSuchInode { inode: nr, count })?;
        let inodes = self.inodes.entry(group).or_default();
        let map = match &mut inodes.map {
            Some(map) => map,
            none => none.insert(w.volume.inode_bitmap(group)?),
        };
        if map.set(index, used) != used && dir {
            inodes.dirs += if used { 1 } else { -1 };
        }
        Ok(())
    }

    /// Writes what was changed.
    pub(super) fn flush(self, w: &Writer<'_>) -> Result<(), VolumeError> {
        let g = *w.volume.geometry();
        for (group, map) in self.blocks {
            let mut desc = w.volume.group_desc(group)?;
            if map == w.volume.block_bitmap(group)? {
                continue;
            }
            let free = map.count_clear();
            desc.set_free_blocks_count(free);
            desc.bg_flags.set(desc.flags().difference(GroupFlags::BLOCK_UNINIT).bits());
            if let Some(seed) = w.seed() {
                let sum = bitmap_checksum(seed, map.as_bytes(), g.clusters_per_group);
                desc.set_block_bitmap_csum(sum, g.desc_size);
            }
            w.write_block(BlockNr(desc.block_bitmap()), map.as_bytes())?;
            w.write_group_desc(group, &desc)?;
        }
        for (group, inodes) in self.inodes {
            let Some(map) = inodes.map else { continue };
            let mut desc = w.volume.group_desc(group)?;
            if map == w.volume.inode_bitmap(group)? {
                continue;
            }
            let free = map.count_clear();
            desc.set_free_inodes_count(free);
            let dirs = i64::from(desc.used_dirs_count()).saturating_add(inodes.dirs).max(0);
            desc.set_used_dirs_count(u32::try_from(dirs).unwrap_or(u32::MAX));
            let unused = (0..map.len()).rev().take_while(|bit| !map.get(*bit)).count();
            desc.set_itable_unused(desc.itable_unused().min(u32::try_from(unused).unwrap_or(u32::MAX)));
            desc.bg_flags.set(desc.flags().difference(GroupFlags::INODE_UNINIT).bits());
            if let Some(seed) = w.seed() {
                desc.set_inode_bitmap_csum(bitmap_checksum(seed, map.as_bytes(), g.inodes_per_group), g.desc_size);
            }
            w.write_block(BlockNr(desc.inode_bitmap()), map.as_bytes())?;
            w.write_group_desc(group, &desc)?;
        }
        Ok(())
    }
}
