//! The tree of ids in a quota file, changed in place (Linux 6.12 `fs/quota/quota_tree.c`).
//!
//! Leaves with room for entries are in one list, blocks that nobody refers to in another. A block is in neither before it is in
//! use. Every number is checked against the count of blocks in the head before it is followed, and no list is walked.

use daxkit_format::ext4::quota::{
    BLOCK_SIZE, DqBlk, DqDataHeader, DqHeader, DqInfo, ENTRIES_PER_BLOCK, QuotaKind, TREE_DEPTH, TREE_ROOT, tree_index,
};
use daxkit_format::{InodeNr, OnDisk};
use zerocopy::IntoBytes;

use super::super::super::error::{Corruption, Place, VolumeError};
use super::super::super::inode::Inode;
use super::super::super::map::Segment;
use super::super::{EditError, Editor};

/// An open quota file.
pub(super) struct Tree {
    file: Inode,
    pub(super) info: DqInfo,
}

/// Where the entry of an id is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    block: u32,
    index: usize,
}

impl Slot {
    fn at(self) -> usize {
        size_of::<DqDataHeader>() + self.index * size_of::<DqBlk>()
    }
}

impl Tree {
    fn damaged(&self, block: u32) -> EditError {
        let limit = self.info.dqi_blocks.get();
        EditError::damaged(self.file.nr(), Corruption::QuotaTree { block, limit })
    }
}

impl Editor<'_> {
    pub(super) fn quota_tree(&self, kind: QuotaKind, file: InodeNr) -> Result<Tree, EditError> {
        let file = self.inode(file)?;
        let info = self.quota_info(kind, &file)?;
        let tree = Tree { file, info };
        let blocks = info.dqi_blocks.get();
        if blocks <= TREE_ROOT || u64::from(blocks) * BLOCK_SIZE as u64 > tree.file.size() {
            return Err(tree.damaged(blocks));
        }
        Ok(tree)
    }

    /// Where the entry of an id is; `None` when it has none.
    pub(super) fn find_quota(&self, tree: &Tree, id: u32) -> Result<Option<Slot>, EditError> {
        let mut block = TREE_ROOT;
        for depth in 0..TREE_DEPTH {
            block = word(&self.tree_block(tree, block)?, tree_index(id, depth));
            if block == 0 {
                return Ok(None);
            }
        }
        let leaf = self.tree_block(tree, block)?;
        let index = entries(&leaf).position(|e| is_used(e) && e.dqb_id.get() == id);
        index.map(|index| Some(Slot { block, index })).ok_or_else(|| tree.damaged(block))
    }

    /// The byte of the file system at which an entry lies.
    pub(super) fn quota_position(&self, tree: &Tree, slot: Slot) -> Result<u64, EditError> {
        let at = u64::from(slot.block) * BLOCK_SIZE as u64 + slot.at() as u64;
        let shift = self.geometry().block_shift();
        match self.map_block(&tree.file, at >> shift)? {
            Segment::Mapped(m) if m.written => Ok((m.physical.get() << shift) + (at & ((1 << shift) - 1))),
            _ => Err(tree.damaged(slot.block)),
        }
    }

    /// Adds the entry of an id that has none.
    pub(super) fn insert_quota(&mut self, tree: &mut Tree, entry: &DqBlk) -> Result<Slot, EditError> {
        let id = entry.dqb_id.get();
        let before = tree.info;
        let mut block = TREE_ROOT;
        for depth in 0..TREE_DEPTH {
            let mut bytes = self.tree_block(tree, block)?;
            let mut next = word(&bytes, tree_index(id, depth));
            if next == 0 {
                next = if depth + 1 < TREE_DEPTH { self.take_tree_block(tree)? } else { self.leaf_with_room(tree)? };
                set_word(&mut bytes, tree_index(id, depth), next);
                self.write_tree_block(tree, block, &bytes)?;
            }
            block = next;
        }
        let mut leaf = self.tree_block(tree, block)?;
        let free = entries(&leaf).position(|e| !is_used(e));
        let slot = Slot { block, index: free.ok_or_else(|| tree.damaged(block))? };
        let count = change_count(&mut leaf, 1);
        if usize::from(count) >= ENTRIES_PER_BLOCK {
            self.unlist_leaf(tree, block, &mut leaf)?;
        }
        put(&mut leaf, slot.at(), entry.as_bytes());
        self.write_tree_block(tree, block, &leaf)?;
        self.write_tree_info(tree, &before)?;
        Ok(slot)
    }

    /// Removes the entry of an id, and the blocks of the tree that led to it alone.
    pub(super) fn remove_quota(&mut self, tree: &mut Tree, id: u32) -> Result<(), EditError> {
        let Some(slot) = self.find_quota(tree, id)? else { return Ok(()) };
        let before = tree.info;
        let mut way = Vec::new();
        let mut block = TREE_ROOT;
        for depth in 0..TREE_DEPTH {
            let bytes = self.tree_block(tree, block)?;
            let index = tree_index(id, depth);
            let next = word(&bytes, index);
            way.push((block, index, bytes));
            block = next;
        }
        let mut leaf = self.tree_block(tree, slot.block)?;
        put(&mut leaf, slot.at(), &[0; size_of::<DqBlk>()]);
        let count = usize::from(change_count(&mut leaf, -1));
        if count == 0 {
            self.unlist_leaf(tree, slot.block, &mut leaf)?;
            self.give_tree_block(tree, slot.block)?;
        } else {
            if count + 1 == ENTRIES_PER_BLOCK {
                self.list_leaf(tree, slot.block, &mut leaf)?;
            }
            self.write_tree_block(tree, slot.block, &leaf)?;
        }
        for (block, index, mut bytes) in way.into_iter().rev() {
            set_word(&mut bytes, index, 0);
            if block != TREE_ROOT && bytes.iter().all(|b| *b == 0) {
                self.give_tree_block(tree, block)?;
            } else {
                self.write_tree_block(tree, block, &bytes)?;
                break;
            }
        }
        self.write_tree_info(tree, &before)
    }

    fn tree_block(&self, tree: &Tree, block: u32) -> Result<Vec<u8>, EditError> {
        if block < TREE_ROOT || block >= tree.info.dqi_blocks.get() {
            return Err(tree.damaged(block));
        }
        Ok(self.quota_block(&tree.file, block)?)
    }

    fn write_tree_block(&mut self, tree: &mut Tree, block: u32, bytes: &[u8]) -> Result<(), EditError> {
        let at = u64::from(block) * BLOCK_SIZE as u64;
        let shift = self.geometry().block_shift();
        if at + BLOCK_SIZE as u64 <= tree.file.size()
            && let Segment::Mapped(m) = self.map_block(&tree.file, at >> shift)?
            && m.written
        {
            let place = Place::FileBlock { inode: tree.file.nr(), logical: at >> shift };
            return self.write_bytes(place, (m.physical.get() << shift) + (at & ((1 << shift) - 1)), bytes);
        }
        self.write_content(&mut tree.file, at, bytes)
    }

    fn write_tree_info(&mut self, tree: &mut Tree, before: &DqInfo) -> Result<(), EditError> {
        if tree.info == *before {
            return Ok(());
        }
        let mut head = self.quota_block(&tree.file, 0)?;
        put(&mut head, size_of::<DqHeader>(), tree.info.as_bytes());
        self.write_tree_block(tree, 0, &head)
    }

    /// A block of zeroes that nobody refers to: one given back before, or a new one at the end (`get_free_dqblk`).
    fn take_tree_block(&mut self, tree: &mut Tree) -> Result<u32, EditError> {
        let block = match tree.info.dqi_free_blk.get() {
            0 => {
                let end = tree.info.dqi_blocks.get();
                tree.info.dqi_blocks.set(end.checked_add(1).ok_or_else(|| tree.damaged(end))?);
                end
            }
            free => {
                let bytes = self.tree_block(tree, free)?;
                tree.info.dqi_free_blk.set(head(&bytes).dqdh_next_free.get());
                free
            }
        };
        self.write_tree_block(tree, block, &[0; BLOCK_SIZE])?;
        Ok(block)
    }

    /// Gives a block back (`put_free_dqblk`).
    fn give_tree_block(&mut self, tree: &mut Tree, block: u32) -> Result<(), EditError> {
        let mut bytes = [0; BLOCK_SIZE];
        set_list(&mut bytes, tree.info.dqi_free_blk.get(), 0);
        tree.info.dqi_free_blk.set(block);
        self.write_tree_block(tree, block, &bytes)
    }

    fn leaf_with_room(&mut self, tree: &mut Tree) -> Result<u32, EditError> {
        if tree.info.dqi_free_entry.get() == 0 {
            let leaf = self.take_tree_block(tree)?;
            tree.info.dqi_free_entry.set(leaf);
        }
        Ok(tree.info.dqi_free_entry.get())
    }

    /// Takes a leaf out of the list of those with room (`remove_free_dqentry`); the leaf itself is for the caller to write.
    fn unlist_leaf(&mut self, tree: &mut Tree, block: u32, leaf: &mut [u8]) -> Result<(), EditError> {
        let (next, prev) = list(leaf);
        if prev == 0 && tree.info.dqi_free_entry.get() != block {
            return Ok(());
        }
        if next != 0 {
            let mut bytes = self.tree_block(tree, next)?;
            let after = list(&bytes).0;
            set_list(&mut bytes, after, prev);
            self.write_tree_block(tree, next, &bytes)?;
        }
        if prev == 0 {
            tree.info.dqi_free_entry.set(next);
        } else {
            let mut bytes = self.tree_block(tree, prev)?;
            let before = list(&bytes).1;
            set_list(&mut bytes, next, before);
            self.write_tree_block(tree, prev, &bytes)?;
        }
        set_list(leaf, 0, 0);
        Ok(())
    }

    /// Puts a leaf at the head of the list of those with room (`insert_free_dqentry`); the leaf itself is for the caller to write.
    fn list_leaf(&mut self, tree: &mut Tree, block: u32, leaf: &mut [u8]) -> Result<(), EditError> {
        let next = tree.info.dqi_free_entry.get();
        if next != 0 {
            let mut bytes = self.tree_block(tree, next)?;
            let after = list(&bytes).0;
            set_list(&mut bytes, after, block);
            self.write_tree_block(tree, next, &bytes)?;
        }
        set_list(leaf, next, 0);
        tree.info.dqi_free_entry.set(block);
        Ok(())
    }

    /// Reads the entry that lies at a byte of the file system.
    pub(super) fn read_quota_entry(&self, file: InodeNr, at: u64) -> Result<DqBlk, VolumeError> {
        let mut entry = DqBlk::zeroed();
        self.read_bytes(Place::Inode(file), at, entry.as_mut_bytes())?;
        Ok(entry)
    }
}

/// An entry of nothing but zeroes is a free one.
pub(super) fn is_used(entry: &DqBlk) -> bool {
    entry.as_bytes().iter().any(|b| *b != 0)
}

fn entries(leaf: &[u8]) -> impl Iterator<Item = &DqBlk> {
    leaf.get(size_of::<DqDataHeader>()..).unwrap_or_default().chunks_exact(size_of::<DqBlk>()).filter_map(DqBlk::peek)
}

fn head(block: &[u8]) -> DqDataHeader {
    DqDataHeader::peek(block).copied().unwrap_or_else(OnDisk::zeroed)
}

/// What stands behind and before a block in its list.
fn list(block: &[u8]) -> (u32, u32) {
    let head = head(block);
    (head.dqdh_next_free.get(), head.dqdh_prev_free.get())
}

fn set_list(block: &mut [u8], next: u32, prev: u32) {
    if let Some(head) = DqDataHeader::peek_mut(block) {
        head.dqdh_next_free.set(next);
        head.dqdh_prev_free.set(prev);
    }
}

/// Changes how many entries a leaf says it has; how many that are then.
fn change_count(leaf: &mut [u8], by: i16) -> u16 {
    let Some(head) = DqDataHeader::peek_mut(leaf) else { return 0 };
    let count = head.dqdh_entries.get().saturating_add_signed(by);
    head.dqdh_entries.set(count);
    count
}

fn word(block: &[u8], index: usize) -> u32 {
    block.as_chunks::<4>().0.get(index).map_or(0, |w| u32::from_le_bytes(*w))
}

fn set_word(block: &mut [u8], index: usize, value: u32) {
    if let Some(word) = block.as_chunks_mut::<4>().0.get_mut(index) {
        *word = value.to_le_bytes();
    }
}

fn put(block: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = block.get_mut(at..at.saturating_add(bytes.len())) {
        place.copy_from_slice(bytes);
    }
}
