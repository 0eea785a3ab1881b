//! The changes that a cursor makes where it stands: entries replaced, put in, taken out, nodes split.

use daxkit_format::BlockNr;
use daxkit_format::ext4::extent::{MAX_DEPTH, MAX_UNWRITTEN_LEN, MAX_WRITTEN_LEN};

use super::super::super::super::inode::Inode;
use super::super::super::super::map::Mapping;
use super::super::super::Editor;
use super::super::node::{Entry, TreeNode, index_entry, key, leaf_entry, set_key};
use super::{CursorError, Level, TreeCursor, TreeEntry};

impl TreeCursor {
    /// Puts another entry where the cursor stands.
    ///
    /// # Errors
    /// A number does not fit; the entry is no longer there.
    pub fn replace(&self, editor: &mut Editor<'_>, new: &TreeEntry) -> Result<(), CursorError> {
        let mut inode = editor.inode(self.inode)?;
        let level = self.top()?;
        let mut node = TreeNode::read(editor, &inode, level.block, None)?;
        let mut entries = node.entries();
        *entries.get_mut(level.at).ok_or(CursorError::Nowhere)? = encoded(new, node.depth == 0)?;
        put(editor, &mut inode, &mut node, &entries)
    }

    /// Puts a new entry before the one the cursor stands on, or behind it; the cursor then stands on the new one. A full
    /// node is split.
    ///
    /// # Errors
    /// As [`TreeCursor::replace`] and [`TreeCursor::split`].
    pub fn insert(&mut self, editor: &mut Editor<'_>, new: &TreeEntry, after: bool) -> Result<(), CursorError> {
        let mut inode = editor.inode(self.inode)?;
        if self.path.is_empty() {
            self.path.push(Level { block: None, at: 0, visited: false });
        }
        let mut node = TreeNode::read(editor, &inode, self.top()?.block, None)?;
        if node.len() >= usize::from(node.max) {
            self.split(editor)?;
            inode = editor.inode(self.inode)?;
            node = TreeNode::read(editor, &inode, self.top()?.block, None)?;
        }
        let mut entries = node.entries();
        let at = if entries.is_empty() { 0 } else { self.top()?.at + usize::from(after) };
        if at > entries.len() {
            return Err(CursorError::Nowhere);
        }
        entries.insert(at, encoded(new, node.depth == 0)?);
        put(editor, &mut inode, &mut node, &entries)?;
        self.stand(at);
        Ok(())
    }

    /// Removes the entry the cursor stands on; a node that is empty then goes, too, with the entry that leads to it. What the entry maps
    /// stays in use.
    ///
    /// # Errors
    /// The entry is no longer there; a block of the tree is free already.
    pub fn delete(&mut self, editor: &mut Editor<'_>) -> Result<(), CursorError> {
        loop {
            let mut inode = editor.inode(self.inode)?;
            let level = self.top()?;
            let mut node = TreeNode::read(editor, &inode, level.block, None)?;
            let mut entries = node.entries();
            if level.at >= entries.len() {
                return Err(CursorError::Nowhere);
            }
            entries.remove(level.at);
            let Some(block) = level.block.filter(|_| entries.is_empty()) else {
                if entries.is_empty() {
                    node.set_depth(0);
                }
                put(editor, &mut inode, &mut node, &entries)?;
                self.stand(level.at.min(entries.len().saturating_sub(1)));
                return Ok(());
            };
            editor.give_map_block(&mut inode, block)?;
            editor.store_inode(&mut inode)?;
            self.path.pop();
        }
    }

    /// Splits the node the cursor stands in: its upper half moves into a new one. The root grows a level instead when it is full
    /// or the cursor stands in it. The cursor stays on its entry.
    ///
    /// # Errors
    /// The node has too few entries; no block is free; the tree is as deep as it can be.
    pub fn split(&mut self, editor: &mut Editor<'_>) -> Result<(), CursorError> {
        if self.path.len() <= 1 {
            return self.grow(editor);
        }
        // There must be room above for one more entry.
        let above = self.path.len() - 2;
        let inode = editor.inode(self.inode)?;
        let parent = TreeNode::read(editor, &inode, self.path.get(above).and_then(|l| l.block), None)?;
        if parent.len() >= usize::from(parent.max) {
            let mut upper = Self { inode: self.inode, path: self.path.get(..=above).unwrap_or_default().to_vec() };
            upper.split(editor)?;
            let here = self.top()?;
            self.path = upper.path;
            self.path.push(here);
        }
        let mut inode = editor.inode(self.inode)?;
        let here = self.top()?;
        let mut node = TreeNode::read(editor, &inode, here.block, None)?;
        let entries = node.entries();
        if entries.len() < 2 {
            return Err(CursorError::TooFew(entries.len()));
        }
        let (low, high) = entries.split_at(entries.len().div_ceil(2));
        let block = self.new_node(editor, &mut inode, here.block, node.depth, high)?;
        put(editor, &mut inode, &mut node, low)?;
        let new = index_entry(high.first().map_or(0, key), block);
        let level = *self.path.get(self.path.len() - 2).ok_or(CursorError::Nowhere)?;
        let mut parent = TreeNode::read(editor, &inode, level.block, None)?;
        let mut above = parent.entries();
        above.insert((level.at + 1).min(above.len()), new);
        put(editor, &mut inode, &mut parent, &above)?;
        if let Some(at) = here.at.checked_sub(low.len()) {
            self.path.pop();
            self.stand(level.at + 1);
            self.visit();
            self.path.push(Level { block: Some(block), at, visited: here.visited });
        }
        Ok(())
    }

    /// Moves the entries of the root into a new node below it.
    fn grow(&mut self, editor: &mut Editor<'_>) -> Result<(), CursorError> {
        let mut inode = editor.inode(self.inode)?;
        let mut root = TreeNode::read(editor, &inode, None, None)?;
        if root.depth >= MAX_DEPTH {
            return Err(CursorError::TooDeep(root.depth));
        }
        let entries = root.entries();
        let first = entries.first().map(key).ok_or(CursorError::TooFew(0))?;
        let block = self.new_node(editor, &mut inode, None, root.depth, &entries)?;
        root.set_depth(root.depth + 1);
        put(editor, &mut inode, &mut root, &[index_entry(first, block)])?;
        let here = self.path.pop().unwrap_or(Level { block: None, at: 0, visited: false });
        self.path.push(Level { block: None, at: 0, visited: true });
        self.path.push(Level { block: Some(block), ..here });
        Ok(())
    }

    /// Takes a block for a node, and writes it.
    fn new_node(
        &self,
        editor: &mut Editor<'_>,
        inode: &mut Inode,
        near: Option<BlockNr>,
        depth: u16,
        entries: &[Entry],
    ) -> Result<BlockNr, CursorError> {
        let near = near.unwrap_or_else(|| editor.home(inode));
        let block = editor.take_map_block(inode, near)?;
        let mut node = TreeNode::new(block, depth, editor.block_size());
        put(editor, inode, &mut node, entries)?;
        Ok(block)
    }

    /// Makes the entries above say where what lies below them begins, as far up as the cursor's node is the first of its parent.
    ///
    /// # Errors
    /// A node is damaged.
    pub fn fix_parents(&self, editor: &mut Editor<'_>) -> Result<(), CursorError> {
        let mut inode = editor.inode(self.inode)?;
        for below in (1..self.path.len()).rev() {
            let (Some(low), Some(high)) = (self.path.get(below), self.path.get(below - 1)) else { break };
            let first = TreeNode::read(editor, &inode, low.block, None)?.entry(0).map(|e| key(&e));
            let Some(first) = first else { break };
            let mut node = TreeNode::read(editor, &inode, high.block, None)?;
            let mut entries = node.entries();
            let entry = entries.get_mut(high.at).ok_or(CursorError::Nowhere)?;
            if key(entry) == first {
                break;
            }
            set_key(entry, first);
            put(editor, &mut inode, &mut node, &entries)?;
            if high.at > 0 {
                break;
            }
        }
        Ok(())
    }
}

fn encoded(entry: &TreeEntry, leaf: bool) -> Result<Entry, CursorError> {
    if entry.physical >= 1 << 48 {
        return Err(CursorError::Range { what: "block", value: entry.physical });
    }
    if !leaf {
        return Ok(index_entry(entry.logical, BlockNr(entry.physical)));
    }
    let most = if entry.written { MAX_WRITTEN_LEN } else { MAX_UNWRITTEN_LEN };
    if entry.len > u64::from(most) {
        return Err(CursorError::Range { what: "length", value: entry.len });
    }
    let (logical, physical) = (entry.logical.into(), BlockNr(entry.physical));
    Ok(leaf_entry(&Mapping { logical, physical, len: entry.len, written: entry.written }))
}

/// Writes a node and, where it is the root, the inode.
fn put(editor: &mut Editor<'_>, inode: &mut Inode, node: &mut TreeNode, entries: &[Entry]) -> Result<(), CursorError> {
    if !node.set_entries(entries) {
        return Err(CursorError::Full);
    }
    node.write(editor, inode)?;
    Ok(editor.store_inode(inode)?)
}
