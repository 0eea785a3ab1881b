//! Nodes of an extent tree as they are read on the way down, and written again.

use std::ops::Range;

use daxkit_format::BlockNr;
use daxkit_format::ext4::extent;
use daxkit_format::ext4::inode_flags::InodeFlags;

use super::super::super::error::{Place, VolumeError};
use super::super::super::inode::Inode;
use super::super::super::map::{LOGICAL_END, Mapping};
use super::super::super::map_node::{CheckedNode, fill_node};
use super::super::super::open::Volume;
use super::super::{EditError, Editor};

/// A node on the path from the root to a leaf.
#[derive(Debug)]
pub(super) struct Level {
    /// Where it lies; `None` for the root, which is in the inode.
    pub(super) block: Option<BlockNr>,
    pub(super) node: CheckedNode,
    /// Which entry the path goes on with.
    pub(super) at: usize,
    /// The blocks of the file that it may map.
    pub(super) range: Range<u64>,
}

impl Level {
    /// The blocks of the file that the node below entry `at` may map.
    pub(super) fn below(&self, at: usize) -> Option<Range<u64>> {
        let start = self.node.entries.get(at)?.logical;
        let end = self.node.entries.get(at.saturating_add(1)).map_or(self.range.end, |e| e.logical);
        Some(start..end)
    }
}

impl Volume {
    /// The root of an inode's tree.
    fn tree_root(&self, inode: &Inode) -> Result<Level, VolumeError> {
        debug_assert!(inode.flags().contains(InodeFlags::EXTENTS));
        let range = 0..LOGICAL_END;
        let node = self.check_node(Place::Inode(inode.nr()), &inode.i_block, None, range.clone())?;
        Ok(Level { block: None, node, at: 0, range })
    }

    /// The node at entry `at` of `above`.
    pub(super) fn tree_child(&self, inode: &Inode, above: &Level, at: usize) -> Result<Option<Level>, VolumeError> {
        let (Some(entry), Some(range)) = (above.node.entries.get(at), above.below(at)) else { return Ok(None) };
        let (place, bytes) = self.node_block(inode.nr(), self.inode_verify_seed(inode), entry.physical)?;
        let depth = above.node.depth.saturating_sub(1);
        let node = self.check_node(place, &bytes, Some(depth), range.clone())?;
        Ok(Some(Level { block: Some(entry.physical), node, at: 0, range }))
    }

    /// The path to the leaf that maps block `logical` of a file, or would; the root comes first.
    pub(super) fn tree_path(&self, inode: &Inode, logical: u64) -> Result<Vec<Level>, VolumeError> {
        let mut path = vec![self.tree_root(inode)?];
        while let Some(level) = path.last_mut().filter(|level| level.node.depth > 0) {
            level.at = level.node.entries.partition_point(|e| e.logical <= logical).saturating_sub(1);
            // A node with a depth has entries, or it would not have passed.
            let Some(child) = self.tree_child(inode, level, level.at)? else { break };
            path.push(child);
        }
        Ok(path)
    }
}

impl Editor<'_> {
    /// Writes the root of a tree into the inode, in memory.
    pub(super) fn put_tree_root(&self, inode: &mut Inode, depth: u16, entries: &[Mapping]) {
        let mut root = [0; 60];
        fill_node(&mut root, extent::ROOT_ENTRIES, depth, entries);
        self.modify(inode, |i| i.i_block = root);
    }

    /// Writes a node that lies in a block, sealed.
    pub(super) fn put_tree_node(&mut self, inode: &Inode, block: BlockNr, node: &CheckedNode) -> Result<(), EditError> {
        let mut bytes = vec![0; self.block_size() as usize];
        fill_node(&mut bytes, node.max, node.depth, &node.entries);
        if let Some(seed) = self.inode_seal_seed(inode) {
            extent::seal_block(seed, &mut bytes);
        }
        self.write_block(block, &bytes)
    }
}
