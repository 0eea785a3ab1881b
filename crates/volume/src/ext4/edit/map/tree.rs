//! Extent trees: runs put in and taken out along one path from the root to a leaf.
//!
//! After each change: every node but the root has an entry; an index entry begins with the same block as the node it leads to;
//! runs that continue each other in one leaf are one; a tree that fits in the inode lies there.

use std::ops::Range;

use daxkit_format::ext4::extent::{MAX_DEPTH, MAX_UNWRITTEN_LEN, MAX_WRITTEN_LEN, ROOT_ENTRIES};

use super::super::super::error::{Corruption, VolumeError};
use super::super::super::inode::Inode;
use super::super::super::map::Mapping;
use super::super::{EditError, Editor};
use super::LOGICAL_END;
use super::node::{Entry, TreeNode, child, index, key, leaf, run, set_key};

/// A node on the way down, its entries taken out to be changed.
struct Step {
    node: TreeNode,
    entries: Vec<Entry>,
    /// The entry that leads on.
    at: usize,
    /// The entry that was put in.
    newest: Option<usize>,
}

/// The way from the root to a leaf.
struct Path {
    steps: Vec<Step>,
    /// Where the next leaf begins.
    end: u64,
}

impl Path {
    /// The way to the leaf in which block `logical` of the file is, or would be.
    fn to(editor: &Editor<'_>, inode: &Inode, logical: u64) -> Result<Self, EditError> {
        let mut steps = Vec::new();
        let mut end = LOGICAL_END;
        let mut node = TreeNode::read(editor, inode, None, None)?;
        loop {
            let entries = node.entries();
            check(editor, inode, &node, &entries, end)?;
            if node.depth == 0 {
                steps.push(Step { node, entries, at: 0, newest: None });
                return Ok(Self { steps, end });
            }
            let at = entries.partition_point(|e| u64::from(key(e)) <= logical).saturating_sub(1);
            end = entries.get(at + 1).map_or(end, |e| key(e).into());
            let Some(below) = entries.get(at).map(child) else {
                return Err(VolumeError::corrupt(node.place(inode), Corruption::EmptyIndex).into());
            };
            let depth = node.depth - 1;
            steps.push(Step { node, entries, at, newest: None });
            node = TreeNode::read_verified(editor, inode, below, depth)?;
        }
    }

    fn leaf(&mut self) -> Option<&mut Step> {
        self.steps.last_mut()
    }

    /// Writes what was changed, from the leaf up as far as it must.
    fn store(mut self, editor: &mut Editor<'_>, inode: &mut Inode) -> Result<(), EditError> {
        while let Some(mut step) = self.steps.pop() {
            let below_root = self.steps.len() == 1;
            let Some(parent) = self.steps.last_mut() else {
                return store_root(editor, inode, step);
            };
            let Some(block) = step.node.block else { break };
            if step.entries.is_empty() {
                editor.give_map_block(inode, block)?;
                parent.entries.remove(parent.at.min(parent.entries.len().saturating_sub(1)));
                continue;
            }
            let first = step.entries.first().map_or(0, key);
            let mut changed = false;
            if let Some(entry) = parent.entries.get_mut(parent.at).filter(|e| key(e) != first) {
                set_key(entry, first);
                changed = true;
            }
            let max = usize::from(step.node.max);
            if step.entries.len() > max {
                let right = split(&mut step.entries, step.newest);
                let near = editor.take_map_block(inode, block)?;
                let mut node = TreeNode::new(near, step.node.depth, editor.block_size());
                write(editor, inode, &mut node, &right)?;
                parent.entries.insert(parent.at + 1, index(right.first().map_or(0, key), near));
                parent.newest = Some(parent.at + 1);
                changed = true;
            } else if step.entries.len() < max / 4 {
                changed |= join(editor, inode, &mut step, parent)?;
            }
            write(editor, inode, &mut step.node, &step.entries)?;
            // Perhaps all of it fits in the inode now.
            changed |= below_root && parent.entries.len() == 1 && step.entries.len() <= ROOT_ENTRIES.into();
            if !changed {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn write(editor: &mut Editor<'_>, inode: &mut Inode, node: &mut TreeNode, entries: &[Entry]) -> Result<(), EditError> {
    // Nodes are split before they are written, so there is room unless `eh_max` is less than half of what it should be.
    if !node.set_entries(entries) {
        let why = Corruption::TooManyBlocks { limit: node.max.into() };
        return Err(VolumeError::corrupt(node.place(inode), why).into());
    }
    node.write(editor, inode)
}

/// Takes the upper half of too many entries; when the last one is the new one, as in a file that grows, all but that one stay.
fn split(entries: &mut Vec<Entry>, newest: Option<usize>) -> Vec<Entry> {
    let last = entries.len().saturating_sub(1);
    entries.split_off(if newest == Some(last) { last } else { entries.len().div_ceil(2) })
}

/// Takes the entries of a neighbour that has few as well, whose block is given back. Whether there was one.
fn join(editor: &mut Editor<'_>, inode: &mut Inode, step: &mut Step, parent: &mut Step) -> Result<bool, EditError> {
    let room = usize::from(step.node.max) * 3 / 4;
    let (depth, at) = (step.node.depth, parent.at);
    for (neighbour, behind) in [(at.checked_add(1), true), (at.checked_sub(1), false)] {
        let Some(neighbour) = neighbour else { continue };
        let Some(block) = parent.entries.get(neighbour).map(child) else { continue };
        let other = TreeNode::read_verified(editor, inode, block, depth)?;
        let theirs = other.entries();
        if theirs.len() + step.entries.len() > room {
            continue;
        }
        if behind {
            step.entries.extend(theirs);
        } else {
            step.entries.splice(0..0, theirs);
            if let (Some(entry), Some(first)) = (parent.entries.get_mut(at), step.entries.first()) {
                set_key(entry, key(first));
            }
        }
        editor.give_map_block(inode, block)?;
        parent.entries.remove(neighbour);
        if !behind {
            parent.at -= 1;
        }
        return Ok(true);
    }
    Ok(false)
}

/// Writes the root, a level higher or lower where it must be.
fn store_root(editor: &mut Editor<'_>, inode: &mut Inode, mut step: Step) -> Result<(), EditError> {
    if step.entries.is_empty() {
        step.node.set_depth(0);
    }
    if step.entries.len() > usize::from(step.node.max) {
        if step.node.depth >= MAX_DEPTH {
            return Err(EditError::FileTooLarge { inode: inode.nr(), size: inode.size() });
        }
        let near = editor.home(inode);
        let block = editor.take_map_block(inode, near)?;
        let mut below = TreeNode::new(block, step.node.depth, editor.block_size());
        write(editor, inode, &mut below, &step.entries)?;
        step.entries = vec![index(step.entries.first().map_or(0, key), block)];
        step.node.set_depth(below.depth + 1);
    }
    // What fits in the inode lies there.
    while step.node.depth > 0
        && let [only] = step.entries.as_slice()
    {
        let block = child(only);
        let below = TreeNode::read_verified(editor, inode, block, step.node.depth - 1)?;
        if below.len() > usize::from(ROOT_ENTRIES.min(step.node.max)) {
            break;
        }
        step.entries = below.entries();
        step.node.set_depth(below.depth);
        editor.give_map_block(inode, block)?;
    }
    write(editor, inode, &mut step.node, &step.entries)
}

/// Checks the entries of a node, which may map blocks of the file up to `end`, as a reader does.
fn check(editor: &Editor<'_>, inode: &Inode, node: &TreeNode, entries: &[Entry], end: u64) -> Result<(), EditError> {
    let bad = |why| Err(EditError::from(VolumeError::corrupt(node.place(inode), why)));
    let mut expected = 0;
    for entry in entries {
        let logical = u64::from(key(entry));
        if logical < expected {
            return bad(Corruption::ExtentOrder { logical, expected });
        }
        if node.depth > 0 {
            expected = logical + 1;
            continue;
        }
        let run = run(entry);
        if run.len == 0 {
            return bad(Corruption::EmptyExtent { logical });
        }
        if run.end() > end {
            return bad(Corruption::ExtentBeyond { logical, end: run.end(), limit: end });
        }
        let g = editor.geometry();
        if !g.has_blocks(run.physical.get(), run.len) {
            let (first, last) = (run.physical.get(), run.physical.get().saturating_add(run.len - 1));
            return bad(Corruption::BlockRange { first, last, limit: g.blocks_count });
        }
        expected = run.end();
    }
    Ok(())
}

/// Whether `b` continues `a` so that both fit in one extent.
fn continues(a: &Mapping, b: &Mapping) -> bool {
    let most = u64::from(if a.written { MAX_WRITTEN_LEN } else { MAX_UNWRITTEN_LEN });
    a.written == b.written
        && a.end() == b.logical
        && a.physical.get() + a.len == b.physical.get()
        && a.len + b.len <= most
}

impl Editor<'_> {
    /// Puts a run where there is a hole.
    pub(super) fn tree_insert(&mut self, inode: &mut Inode, whole: Mapping) -> Result<(), EditError> {
        let most = u64::from(if whole.written { MAX_WRITTEN_LEN } else { MAX_UNWRITTEN_LEN });
        let mut rest = Some(whole);
        while let Some(left) = rest {
            let part = Mapping { len: left.len.min(most), ..left };
            self.insert_part(inode, part)?;
            rest = left.from(part.end());
        }
        Ok(())
    }

    fn insert_part(&mut self, inode: &mut Inode, part: Mapping) -> Result<(), EditError> {
        let mut path = Path::to(self, inode, part.logical)?;
        let Some(Step { entries, newest, .. }) = path.leaf() else { return Ok(()) };
        let at = entries.partition_point(|e| u64::from(key(e)) <= part.logical);
        let before = at.checked_sub(1).and_then(|i| entries.get(i)).map(run);
        let after = entries.get(at).map(run);
        let overlap = before.is_some_and(|b| b.end() > part.logical) || after.is_some_and(|a| a.logical < part.end());
        if overlap {
            let why = Corruption::ExtentOrder { logical: part.logical, expected: part.end() };
            return Err(EditError::damaged(inode.nr(), why));
        }
        let joined_before = before.filter(|b| continues(b, &part));
        let mut new = joined_before.map_or(part, |b| Mapping { len: b.len + part.len, ..b });
        let joined_after = after.filter(|a| continues(&new, a));
        if let Some(a) = joined_after {
            new.len += a.len;
        }
        let from = at - usize::from(joined_before.is_some());
        let to = at + usize::from(joined_after.is_some());
        entries.splice(from..to, [leaf(&new)]);
        *newest = Some(from);
        path.store(self, inode)
    }

    /// Takes out what maps these blocks, and says what that was.
    pub(super) fn tree_remove(&mut self, inode: &mut Inode, blocks: Range<u64>) -> Result<Vec<Mapping>, EditError> {
        let mut removed = Vec::new();
        let mut from = blocks.start;
        while from < blocks.end {
            let mut path = Path::to(self, inode, from)?;
            let end = path.end.min(blocks.end);
            let next = path.end;
            let Some(Step { entries, .. }) = path.leaf() else { break };
            let first = entries.partition_point(|e| run(e).end() <= from);
            let last = entries.partition_point(|e| u64::from(key(e)) < end);
            if first < last {
                let hit: Vec<Mapping> = entries.get(first..last).unwrap_or_default().iter().map(run).collect();
                let mut keep = Vec::new();
                for r in &hit {
                    let start = r.logical.max(from);
                    let stop = r.end().min(end);
                    if r.logical < start {
                        keep.push(leaf(&Mapping { len: start - r.logical, ..*r }));
                    }
                    removed.extend(r.from(start).map(|r| Mapping { len: stop - start, ..r }));
                    keep.extend(r.from(stop).filter(|_| r.end() > stop).map(|r| leaf(&r)));
                }
                entries.splice(first..last, keep);
                path.store(self, inode)?;
            }
            from = next;
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use daxkit_format::BlockNr;

    #[test]
    fn runs_join_when_place_state_and_length_allow_it() {
        let run = |logical, physical, len, written| Mapping { logical, physical: BlockNr(physical), len, written };
        assert!(continues(&run(0, 100, 5, true), &run(5, 105, 5, true)));
        assert!(!continues(&run(0, 100, 5, true), &run(5, 105, 5, false)));
        assert!(!continues(&run(0, 100, 5, true), &run(6, 106, 5, true)));
        assert!(!continues(&run(0, 100, 5, true), &run(5, 104, 5, true)));
        assert!(continues(&run(0, 100, 32_760, true), &run(32_760, 32_860, 8, true)));
        assert!(!continues(&run(0, 100, 32_760, false), &run(32_760, 32_860, 8, false)));
    }
}
