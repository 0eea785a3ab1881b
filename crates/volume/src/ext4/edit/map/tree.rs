//! Extent trees changed in place: one leaf is edited as a list of runs, and what that does to the nodes above it follows from the
//! bottom up.
//!
//! A node that becomes too full is split (at its end when entries were appended, so that files written in order get full leaves), the
//! root by one level more; one that becomes empty is given back; one that has become less than half full is united with a
//! neighbour where both fit into one; the root takes in its last child when that is small enough. The first key of every
//! node stands in the one above it. Each edit of a leaf reads and writes the nodes of one path, and at most two neighbours a
//! level.

use std::ops::Range;

use daxkit_format::BlockNr;
use daxkit_format::ext4::extent::{MAX_DEPTH, ROOT_ENTRIES, entries_per_block};

use super::super::super::inode::Inode;
use super::super::super::map::Mapping;
use super::super::super::map_node::CheckedNode;
use super::super::{EditError, Editor};
use super::tree_node::Level;

impl Editor<'_> {
    /// Edits every leaf that maps blocks of `blocks`, or would: `change` gets its runs and which of the blocks it is for.
    pub(super) fn edit_leaves(
        &mut self,
        inode: &mut Inode,
        blocks: Range<u64>,
        mut change: impl FnMut(&mut Vec<Mapping>, &Range<u64>),
    ) -> Result<(), EditError> {
        let mut at = blocks.start;
        while at < blocks.end {
            let mut end = blocks.end;
            self.edit_leaf(inode, at..blocks.end, |_, runs, part| {
                end = part.end;
                change(runs, part);
                Ok(())
            })?;
            at = end;
        }
        Ok(())
    }

    /// Edits the leaf that maps the first of `blocks`, or would; `change` gets its runs and how far it maps the blocks, which is
    /// one at least.
    pub(super) fn edit_leaf(
        &mut self,
        inode: &mut Inode,
        blocks: Range<u64>,
        change: impl FnOnce(&mut Self, &mut Vec<Mapping>, &Range<u64>) -> Result<(), EditError>,
    ) -> Result<(), EditError> {
        let path = self.tree_path(inode, blocks.start)?;
        let Some(leaf) = path.last() else { return Ok(()) };
        let part = blocks.start..leaf.range.end.min(blocks.end);
        let mut runs = leaf.node.entries.clone();
        change(self, &mut runs, &part)?;
        if runs == leaf.node.entries { Ok(()) } else { self.replace_leaf(inode, path, runs) }
    }

    /// Writes the new entries of the leaf that `path` leads to, and what follows from them in the nodes above.
    fn replace_leaf(&mut self, inode: &mut Inode, mut path: Vec<Level>, runs: Vec<Mapping>) -> Result<(), EditError> {
        let Some(mut level) = path.pop() else { return Ok(()) };
        let mut entries = runs;
        loop {
            let (Some(block), Some(above)) = (level.block, path.pop()) else {
                return self.replace_root(inode, &level, entries);
            };
            let small = entries.len() <= usize::from(ROOT_ENTRIES);
            let mut upper = above.node.entries.clone();
            self.replace_node(inode, block, &level, entries, &above, &mut upper)?;
            let root_can_shrink = small && above.block.is_none() && upper.len() == 1;
            if upper == above.node.entries && !root_can_shrink {
                return Ok(());
            }
            (level, entries) = (above, upper);
        }
    }

    /// Writes new entries of a node that lies in `block`; `upper` are those of the node above, which are changed accordingly.
    fn replace_node(
        &mut self,
        inode: &mut Inode,
        block: BlockNr,
        level: &Level,
        mut entries: Vec<Mapping>,
        above: &Level,
        upper: &mut Vec<Mapping>,
    ) -> Result<(), EditError> {
        let (max, depth) = (level.node.max, level.node.depth);
        if entries.is_empty() {
            upper.remove(above.at);
            return self.give_map_block(inode, block);
        }
        let shrunk = entries.len() < level.node.entries.len();
        if shrunk && entries.len() < usize::from(max / 2) && self.unite(inode, block, level, &entries, above, upper)? {
            return Ok(());
        }
        let behind = self.split(inode, depth, &level.node.entries, &mut entries, max)?;
        if let Some(entry) = upper.get_mut(above.at) {
            entry.logical = entries.first().map_or(entry.logical, |e| e.logical);
        }
        let next = above.at.saturating_add(1);
        upper.splice(next..next, behind);
        self.put_tree_node(inode, block, &CheckedNode { depth, max, entries })
    }

    /// Writes what does not fit into a node of `room` entries, which held `old`, into new ones; gives back the entries for them of the node above.
    fn split(
        &mut self,
        inode: &mut Inode,
        depth: u16,
        old: &[Mapping],
        entries: &mut Vec<Mapping>,
        room: u16,
    ) -> Result<Vec<Mapping>, EditError> {
        let room = usize::from(room);
        if entries.len() <= room {
            return Ok(Vec::new());
        }
        let max = entries_per_block(self.block_size());
        // Whether all that is new stands at the end; the last old entry may have grown.
        let kept = old.len().saturating_sub(1);
        let appended = entries.len() >= old.len() && entries.get(..kept) == old.get(..kept);
        let count = entries.len().div_ceil(usize::from(max)).max(2);
        let keep = if appended { room } else { room.min(entries.len().div_ceil(count)) };
        let rest = entries.split_off(keep.min(entries.len()));
        let share =
            if appended { usize::from(max) } else { rest.len().div_ceil(rest.len().div_ceil(max.into()).max(1)) };
        let mut upper = Vec::new();
        for part in rest.chunks(share.max(1)) {
            let block = self.take_map_block(inode, self.home(inode))?;
            let node = CheckedNode { depth, max, entries: part.to_vec() };
            self.put_tree_node(inode, block, &node)?;
            upper.extend(part.first().map(|e| Mapping::index(e.logical, block)));
        }
        Ok(upper)
    }

    /// Puts the entries of a node into one with those of a neighbour, if they fit.
    fn unite(
        &mut self,
        inode: &mut Inode,
        block: BlockNr,
        level: &Level,
        entries: &[Mapping],
        above: &Level,
        upper: &mut Vec<Mapping>,
    ) -> Result<bool, EditError> {
        let depth = level.node.depth;
        let next = above.at.saturating_add(1);
        if let Some(Level { block: Some(gone), node, .. }) = self.tree_child(inode, above, next)?
            && node.entries.len().saturating_add(entries.len()) <= usize::from(level.node.max)
        {
            let united = [entries, &node.entries].concat();
            upper.remove(next);
            if let (Some(entry), Some(first)) = (upper.get_mut(above.at), united.first()) {
                entry.logical = first.logical;
            }
            self.give_map_block(inode, gone)?;
            self.put_tree_node(inode, block, &CheckedNode { depth, max: level.node.max, entries: united })?;
            return Ok(true);
        }
        let Some(before) = above.at.checked_sub(1) else { return Ok(false) };
        if let Some(Level { block: Some(stays), node, .. }) = self.tree_child(inode, above, before)?
            && node.entries.len().saturating_add(entries.len()) <= usize::from(node.max)
        {
            let united = [&node.entries, entries].concat();
            upper.remove(above.at);
            self.give_map_block(inode, block)?;
            self.put_tree_node(inode, stays, &CheckedNode { depth, max: node.max, entries: united })?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Writes new entries of the root, which becomes deeper where they are too many, and less deep where it can.
    fn replace_root(&mut self, inode: &mut Inode, level: &Level, mut entries: Vec<Mapping>) -> Result<(), EditError> {
        let mut depth = if entries.is_empty() { 0 } else { level.node.depth };
        while entries.len() > usize::from(ROOT_ENTRIES) {
            if depth >= MAX_DEPTH {
                return Err(EditError::FileTooLarge { inode: inode.nr(), size: inode.size() });
            }
            // All of them go into nodes of their own.
            entries = self.split(inode, depth, &level.node.entries, &mut entries, 0)?;
            depth += 1;
        }
        while depth > 0
            && let [only] = entries.as_slice()
        {
            let node = CheckedNode { depth, max: ROOT_ENTRIES, entries: vec![*only] };
            let root = Level { block: None, node, at: 0, range: level.range.clone() };
            let Some(child) = self.tree_child(inode, &root, 0)? else { break };
            if child.node.entries.len() > usize::from(ROOT_ENTRIES) {
                break;
            }
            self.give_map_block(inode, only.physical)?;
            entries = child.node.entries;
            depth -= 1;
        }
        self.put_tree_root(inode, depth, &entries);
        Ok(())
    }
}
