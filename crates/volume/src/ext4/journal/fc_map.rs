//! Maps of files while fast commits are carried out: changed as a list, written as a new tree at the end.

use std::collections::HashSet;

use daxkit_format::ext4::extent::{self, ROOT_ENTRIES};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::{BlockNr, InodeNr};

use super::super::error::{Corruption, VolumeError};
use super::super::map::{MapItem, Mapping};
use super::super::map_node::fill_node;
use super::super::map_runs;
use super::fc_space::Space;
use super::writer::Writer;

/// The runs of a file in order, without overlap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FileMap {
    runs: Vec<Mapping>,
}

impl FileMap {
    /// A map of runs in order, without overlap, of any length.
    pub(super) fn new(runs: Vec<Mapping>) -> Self {
        let mut map = Self::default();
        for run in runs {
            map_runs::insert(&mut map.runs, run);
        }
        map
    }

    /// Unmaps blocks.
    pub(super) fn remove(&mut self, first: u64, end: u64) {
        map_runs::remove(&mut self.runs, &(first..end));
    }

    /// Maps a run, whatever was there before.
    pub(super) fn insert(&mut self, run: Mapping) {
        self.remove(run.logical, run.end());
        map_runs::insert(&mut self.runs, run);
    }

    /// Writes the map as the tree of an inode, new nodes for everything below the root. Returns the nodes.
    pub(super) fn write(&self, w: &Writer<'_>, space: &mut Space, nr: InodeNr) -> Result<Vec<BlockNr>, VolumeError> {
        let inode = w.volume.inode(nr)?;
        let seed = w.inode_seed(&inode);
        let per_block = extent::entries_per_block(w.volume.block_size());
        let goal = self.runs.first().map_or_else(|| home(w, nr), |r| r.physical);
        let mut nodes = Vec::new();
        let mut level = self.runs.clone();
        let mut depth = 0;
        while level.len() > usize::from(ROOT_ENTRIES) {
            let mut above = Vec::new();
            for part in level.chunks(per_block.into()) {
                let mut block = vec![0; w.volume.block_size() as usize];
                fill_node(&mut block, per_block, depth, part);
                if let Some(seed) = seed {
                    extent::seal_block(seed, &mut block);
                }
                let at = space.take(w, goal)?;
                w.write_block(at, &block)?;
                nodes.push(at);
                above.extend(part.first().map(|e| Mapping::index(e.logical, at)));
            }
            level = above;
            depth += 1;
        }
        let mut root = [0; 60];
        fill_node(&mut root, ROOT_ENTRIES, depth, &level);
        w.change_inode(nr, |i| i.i_block = root)?;
        Ok(nodes)
    }
}

/// The first block of the group an inode lies in.
pub(super) fn home(w: &Writer<'_>, nr: InodeNr) -> BlockNr {
    let g = w.volume.geometry();
    g.group_of_inode(nr).map_or(BlockNr(0), |(group, _)| g.group_first_block(group))
}

/// Everything a file's map names: nodes and data, as (first block, number of blocks).
pub(super) fn blocks_of(w: &Writer<'_>, nr: InodeNr) -> Result<Vec<(u64, u64)>, VolumeError> {
    let inode = w.volume.inode(nr)?;
    let mut all = Vec::new();
    for item in w.volume.map_walk(&inode) {
        all.push(match item? {
            MapItem::Node { block, .. } => (block.get(), 1),
            MapItem::Run(run) => (run.physical.get(), run.len),
        });
    }
    Ok(all)
}

/// Counts the blocks a file takes into its inode: map, data, attribute block, in whole clusters.
pub(super) fn count_blocks(w: &Writer<'_>, nr: InodeNr) -> Result<(), VolumeError> {
    let inode = w.volume.inode(nr)?;
    let g = *w.volume.geometry();
    let ratio = u64::from(g.cluster_ratio);
    let mut blocks = 0u64;
    let mut seen = HashSet::new();
    for (first, len) in blocks_of(w, nr)? {
        if ratio == 1 {
            blocks = blocks.saturating_add(len);
            continue;
        }
        for cluster in first / ratio..(first + len).div_ceil(ratio) {
            if seen.insert(cluster) {
                blocks = blocks.saturating_add(ratio);
            }
        }
    }
    if inode.file_acl() != 0 {
        blocks = blocks.saturating_add(ratio);
    }
    if blocks > g.blocks_count {
        return Err(VolumeError::bad_inode(nr, Corruption::TooManyBlocks { limit: g.blocks_count }));
    }
    let huge = inode.flags().contains(InodeFlags::HUGE_FILE);
    let stored = if huge { blocks } else { blocks << (g.block_shift() - 9) };
    w.change_inode(nr, |i| i.set_blocks_stored(stored))
}
