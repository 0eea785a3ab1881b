//! Maps of files while fast commits are carried out: changed as a list, written as a new tree at the end.

use std::collections::HashSet;

use daxkit_format::ext4::extent::{self, Extent, ExtentHeader, ExtentIdx, MAGIC, ROOT_ENTRIES};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::{BlockNr, InodeNr, OnDisk};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{Immutable, IntoBytes};

use super::super::error::{Corruption, VolumeError};
use super::super::map::{MapItem, Mapping};
use super::fc_space::Space;
use super::writer::Writer;

/// The runs of a file in order, without overlap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FileMap {
    runs: Vec<Mapping>,
}

impl FileMap {
    pub(super) fn new(runs: Vec<Mapping>) -> Self {
        Self { runs }
    }

    /// Unmaps blocks.
    pub(super) fn remove(&mut self, first: u64, end: u64) {
        if first >= end {
            return;
        }
        let from = self.runs.partition_point(|r| r.end() <= first);
        let to = self.runs.partition_point(|r| r.logical < end);
        if from >= to {
            return;
        }
        let hit: Vec<Mapping> = self.runs.get(from..to).unwrap_or_default().to_vec();
        let mut keep = Vec::new();
        if let Some(head) = hit.first().filter(|r| r.logical < first) {
            keep.push(Mapping { len: first - head.logical, ..*head });
        }
        if let Some(tail) = hit.last().and_then(|r| if r.end() > end { r.from(end) } else { None }) {
            keep.push(tail);
        }
        self.runs.splice(from..to, keep);
    }

    /// Maps a run, whatever was there before.
    pub(super) fn insert(&mut self, run: Mapping) {
        self.remove(run.logical, run.end());
        let at = self.runs.partition_point(|r| r.logical < run.logical);
        self.runs.insert(at, run);
    }

    /// The runs as extents: neighbours joined, no longer than an extent can be.
    fn extents(&self) -> Vec<Extent> {
        let mut joined: Vec<Mapping> = Vec::new();
        for run in &self.runs {
            match joined.last_mut() {
                Some(last)
                    if last.end() == run.logical
                        && last.physical.get() + last.len == run.physical.get()
                        && last.written == run.written =>
                {
                    last.len += run.len;
                }
                _ => joined.push(*run),
            }
        }
        let mut extents = Vec::new();
        for run in joined {
            let most = u64::from(if run.written { extent::MAX_WRITTEN_LEN } else { extent::MAX_UNWRITTEN_LEN });
            let mut rest = Some(run);
            while let Some(run) = rest {
                let len = run.len.min(most);
                let logical = u32::try_from(run.logical).unwrap_or(u32::MAX);
                let len16 = u16::try_from(len).unwrap_or(extent::MAX_UNWRITTEN_LEN);
                extents.push(Extent::new(logical, run.physical.get(), len16, run.written));
                rest = run.from(run.logical + len);
            }
        }
        extents
    }

    /// Writes the map as the tree of an inode, new nodes for everything below the root. Returns the nodes.
    pub(super) fn write(&self, w: &Writer<'_>, space: &mut Space, nr: InodeNr) -> Result<Vec<BlockNr>, VolumeError> {
        let inode = w.volume.inode(nr)?;
        let seed = w.inode_seed(&inode);
        let per_block = usize::from(extent::entries_per_block(w.volume.block_size()));
        let goal = self.runs.first().map_or_else(|| home(w, nr), |r| r.physical);
        let mut nodes = Vec::new();
        // Entries of one level as bytes, with the first block of the file below each.
        let mut level: Vec<(u32, [u8; 12])> = self.extents().iter().map(|e| (e.ee_block.get(), bytes_of(e))).collect();
        let mut depth = 0;
        while level.len() > usize::from(ROOT_ENTRIES) {
            let mut above = Vec::new();
            for part in level.chunks(per_block) {
                let mut block = vec![0; w.volume.block_size() as usize];
                fill(&mut block, part, per_block, depth);
                if let Some(seed) = seed {
                    extent::seal_block(seed, &mut block);
                }
                let at = space.take(w, goal)?;
                w.write_block(at, &block)?;
                nodes.push(at);
                let logical = part.first().map_or(0, |(l, _)| *l);
                above.push((logical, bytes_of(&ExtentIdx::new(logical, at.get()))));
            }
            level = above;
            depth += 1;
        }
        let mut root = [0; 60];
        fill(&mut root, &level, ROOT_ENTRIES.into(), depth);
        w.change_inode(nr, |i| i.i_block = root)?;
        Ok(nodes)
    }
}

/// The first block of the group an inode lies in.
pub(super) fn home(w: &Writer<'_>, nr: InodeNr) -> BlockNr {
    let g = w.volume.geometry();
    g.group_of_inode(nr).map_or(BlockNr(0), |(group, _)| g.group_first_block(group))
}

fn bytes_of(entry: &(impl IntoBytes + Immutable)) -> [u8; 12] {
    let mut bytes = [0; 12];
    // Both kinds of entries have twelve bytes.
    entry.write_to_prefix(&mut bytes).unwrap_or_default();
    bytes
}

fn fill(node: &mut [u8], entries: &[(u32, [u8; 12])], room: usize, depth: u16) {
    if let Some(head) = ExtentHeader::peek_mut(node) {
        *head = ExtentHeader {
            eh_magic: U16::new(MAGIC),
            eh_entries: U16::new(u16::try_from(entries.len()).unwrap_or(0)),
            eh_max: U16::new(u16::try_from(room).unwrap_or(0)),
            eh_depth: U16::new(depth),
            eh_generation: U32::new(0),
        };
    }
    for (place, (_, bytes)) in node.chunks_exact_mut(12).skip(1).zip(entries) {
        place.copy_from_slice(bytes);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn run(logical: u64, physical: u64, len: u64) -> Mapping {
        Mapping { logical, physical: BlockNr(physical), len, written: true }
    }

    #[test]
    fn ranges_are_cut_out_and_put_in() {
        let mut map = FileMap::new(vec![run(0, 100, 10), run(20, 200, 10)]);
        map.remove(3, 5);
        assert_eq!(map.runs, [run(0, 100, 3), run(5, 105, 5), run(20, 200, 10)]);
        map.remove(8, 25);
        assert_eq!(map.runs, [run(0, 100, 3), run(5, 105, 3), run(25, 205, 5)]);
        map.insert(run(2, 300, 4));
        assert_eq!(map.runs, [run(0, 100, 2), run(2, 300, 4), run(6, 106, 2), run(25, 205, 5)]);
        map.remove(0, 0);
        map.remove(100, 200);
        assert_eq!(map.runs.len(), 4);
        map.remove(0, u64::MAX);
        assert_eq!(map.runs, []);
    }

    #[test]
    fn extents_are_joined_and_cut_to_length() {
        let map = FileMap::new(vec![run(0, 100, 30_000), run(30_000, 30_100, 10_000), run(50_000, 1, 1)]);
        let lens: Vec<_> = map.extents().iter().map(|e| (e.ee_block.get(), e.start(), e.len())).collect();
        assert_eq!(lens, [(0, 100, 32768), (32768, 32868, 7232), (50_000, 1, 1)]);
    }
}
