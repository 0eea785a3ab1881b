//! An extent tree walked and changed entry by entry, by hand: nothing is kept in order but what the hand does.
//!
//! This is what debugfs's extent mode stands on; the moves and what they mean are those of `ext2fs_extent_get` (e2fsprogs 1.47).
//! A cursor stands on one entry of one node and knows the way up to the root. Bytes are read anew for each step, so a cursor stays
//! good whatever else changes; where an entry is no longer there it says so.

mod edit;

use daxkit_format::ext4::extent::MAX_DEPTH;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::{BlockNr, InodeNr};

use super::super::super::error::VolumeError;
use super::super::super::inode::Inode;
use super::super::super::open::Volume;
use super::super::EditError;
use super::node::{TreeNode, child, key, run};

/// Why a cursor does not move or change anything.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CursorError {
    /// It stands nowhere yet.
    #[error("no current node")]
    Nowhere,
    /// There is no entry in that direction.
    #[error("no '{0}' extent")]
    NoEntry(&'static str),
    /// No entry holds the block.
    #[error("no extent holds block {block} at level {level}")]
    NotFound {
        /// The block of the file.
        block: u64,
        /// Levels above the leaves.
        level: u16,
    },
    /// The inode's blocks are not mapped by extents.
    #[error("inode:{0}: does not use extents")]
    NoExtents(InodeNr),
    /// The node has as many entries as it has room for.
    #[error("the node is full")]
    Full,
    /// A node of one entry cannot be split.
    #[error("a node of {0} entries cannot be split")]
    TooFew(usize),
    /// The tree is as deep as it can be.
    #[error("the tree has {0} levels, the most there can be")]
    TooDeep(u16),
    /// A number that an entry has no room for.
    #[error("{what} {value} does not fit in an extent")]
    Range {
        /// Which number.
        what: &'static str,
        /// What it is.
        value: u64,
    },
    /// The tree is damaged, or the edit is refused.
    #[error(transparent)]
    Edit(#[from] EditError),
}

impl From<VolumeError> for CursorError {
    fn from(e: VolumeError) -> Self {
        Self::Edit(e.into())
    }
}

/// An entry as a cursor shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeEntry {
    /// First block of the file.
    pub logical: u32,
    /// Blocks; of an index entry those up to the next.
    pub len: u64,
    /// Where the blocks, or the node below, lie.
    pub physical: u64,
    /// False for blocks that read as zero.
    pub written: bool,
    /// It maps blocks; others lead to nodes.
    pub leaf: bool,
    /// The cursor has been below.
    pub second_visit: bool,
}

/// A move of a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// The first entry of the root.
    Root,
    /// The last entry of the last leaf.
    LastLeaf,
    /// The first entry of the node.
    FirstSibling,
    /// The last entry of the node.
    LastSibling,
    /// The next entry of the node.
    NextSibling,
    /// The previous entry of the node.
    PrevSibling,
    /// The next entry of a leaf, this one or one behind it.
    NextLeaf,
    /// The previous entry of a leaf.
    PrevLeaf,
    /// Forward through all entries, each node before and after what lies below it.
    Next,
    /// Backward through all entries.
    Prev,
    /// The entry that leads here.
    Up,
    /// The first entry of the node below.
    Down,
}

/// Where a cursor stands, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The entry in its node, from 1 on.
    pub entry: usize,
    /// Entries of the node.
    pub entries: usize,
    /// Entries there is room for.
    pub max: u16,
    /// Levels below the root.
    pub level: u16,
    /// Levels below the root of the leaves.
    pub depth: u16,
}

#[derive(Debug, Clone, Copy)]
struct Level {
    block: Option<BlockNr>,
    at: usize,
    visited: bool,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct TreeCursor {
    inode: InodeNr,
    path: Vec<Level>,
}

impl TreeCursor {
    /// A cursor that stands nowhere, over the tree of an inode.
    ///
    /// # Errors
    /// The inode has no extents.
    pub fn new(inode: &Inode) -> Result<Self, CursorError> {
        if inode.flags().contains(InodeFlags::EXTENTS) {
            Ok(Self { inode: inode.nr(), path: Vec::new() })
        } else {
            Err(CursorError::NoExtents(inode.nr()))
        }
    }

    /// Whose tree it is.
    #[must_use]
    pub fn inode(&self) -> InodeNr {
        self.inode
    }

    fn top(&self) -> Result<Level, CursorError> {
        self.path.last().copied().ok_or(CursorError::Nowhere)
    }

    fn depth(volume: &Volume, inode: &Inode) -> Result<u16, CursorError> {
        Ok(TreeNode::read(volume, inode, None, None)?.depth)
    }

    /// The entry it stands on.
    ///
    /// # Errors
    /// It stands nowhere, or the entry is no longer there.
    pub fn current(&self, volume: &Volume) -> Result<TreeEntry, CursorError> {
        let inode = volume.inode(self.inode)?;
        let level = self.top()?;
        let node = TreeNode::read(volume, &inode, level.block, None)?;
        let entry = node.entry(level.at).ok_or(CursorError::Nowhere)?;
        if node.depth == 0 {
            let run = run(&entry);
            return Ok(TreeEntry {
                logical: key(&entry),
                len: run.len,
                physical: run.physical.get(),
                written: run.written,
                leaf: true,
                second_visit: false,
            });
        }
        let end = self.end_below(volume, &inode, self.path.len() - 1)?;
        let logical = key(&entry);
        // A range that ends before it begins wraps around, as the numbers on disk do.
        let len = u64::from((end as u32).wrapping_sub(logical));
        Ok(TreeEntry {
            logical,
            len,
            physical: child(&entry).get(),
            written: true,
            leaf: false,
            second_visit: level.visited,
        })
    }

    /// The end of what the entry at a level of the path may map.
    fn end_below(&self, volume: &Volume, inode: &Inode, level: usize) -> Result<u64, CursorError> {
        for step in self.path.get(..=level).unwrap_or_default().iter().rev() {
            let node = TreeNode::read(volume, inode, step.block, None)?;
            if let Some(next) = node.entry(step.at + 1) {
                return Ok(key(&next).into());
            }
        }
        Ok(volume.geometry().blocks_for(inode.size()))
    }

    /// Where it stands.
    ///
    /// # Errors
    /// As [`TreeCursor::current`].
    pub fn standing(&self, volume: &Volume) -> Result<Standing, CursorError> {
        let inode = volume.inode(self.inode)?;
        let level = self.top()?;
        let node = TreeNode::read(volume, &inode, level.block, None)?;
        Ok(Standing {
            entry: level.at + 1,
            entries: node.len(),
            max: node.max,
            level: (self.path.len() - 1) as u16,
            depth: Self::depth(volume, &inode)?,
        })
    }

    /// Moves, and says where it stands then. A cursor that cannot move stays where it is.
    ///
    /// # Errors
    /// There is nothing in that direction, or a node is damaged.
    pub fn go(&mut self, volume: &Volume, step: Move) -> Result<TreeEntry, CursorError> {
        let mut moved = self.clone();
        moved.step(volume, step)?;
        let entry = moved.current(volume)?;
        *self = moved;
        Ok(entry)
    }

    fn step(&mut self, volume: &Volume, step: Move) -> Result<(), CursorError> {
        let inode = volume.inode(self.inode)?;
        // A cursor that stands nowhere begins at the root.
        if step == Move::Root || self.path.is_empty() {
            self.path = vec![Level { block: None, at: 0, visited: false }];
            if step == Move::Root {
                return Ok(());
            }
        }
        let entries = |level: Level| -> Result<_, CursorError> {
            let node = TreeNode::read(volume, &inode, level.block, None)?;
            Ok((node.len(), node.depth))
        };
        let here = self.top()?;
        let (count, depth) = entries(here)?;
        match step {
            Move::Root => {}
            Move::FirstSibling => self.stand(0),
            Move::LastSibling => self.stand(count.saturating_sub(1)),
            Move::NextSibling if here.at + 1 < count => self.stand(here.at + 1),
            Move::NextSibling => return Err(CursorError::NoEntry("next")),
            Move::PrevSibling if here.at > 0 => self.stand(here.at - 1),
            Move::PrevSibling => return Err(CursorError::NoEntry("previous")),
            Move::Up if self.path.len() > 1 => {
                self.path.pop();
            }
            Move::Up => return Err(CursorError::NoEntry("up")),
            Move::Down if depth > 0 => self.descend(volume, &inode, false)?,
            Move::Down => return Err(CursorError::NoEntry("down")),
            Move::Next if depth > 0 && !here.visited => {
                // Only who comes down this way goes on behind it on the way back.
                self.visit();
                self.descend(volume, &inode, false)?;
            }
            Move::Next if here.at + 1 < count => self.stand(here.at + 1),
            Move::Next => return self.step(volume, Move::Up).map_err(|_| CursorError::NoEntry("next")),
            Move::Prev if depth > 0 && here.visited => {
                self.stand(here.at);
                self.descend(volume, &inode, true)?;
            }
            Move::Prev if here.at > 0 => {
                self.stand(here.at - 1);
                // Its children come first on the way back.
                if depth > 0 {
                    self.visit();
                }
            }
            Move::Prev if self.path.len() > 1 => {
                self.path.pop();
            }
            Move::Prev => return Err(CursorError::NoEntry("previous")),
            Move::LastLeaf => {
                self.path = vec![Level { block: None, at: 0, visited: false }];
                let (count, depth) = entries(self.top()?)?;
                self.stand(count.saturating_sub(1));
                for _ in 0..depth {
                    self.descend(volume, &inode, true)?;
                }
            }
            Move::NextLeaf => self.seek_leaf(volume, Move::Next)?,
            Move::PrevLeaf => self.seek_leaf(volume, Move::Prev)?,
        }
        Ok(())
    }

    /// On to the next entry of a leaf in a direction.
    fn seek_leaf(&mut self, volume: &Volume, step: Move) -> Result<(), CursorError> {
        loop {
            self.step(volume, step)?;
            if self.current(volume)?.leaf {
                return Ok(());
            }
        }
    }

    fn stand(&mut self, at: usize) {
        if let Some(level) = self.path.last_mut() {
            (level.at, level.visited) = (at, false);
        }
    }

    fn visit(&mut self) {
        if let Some(level) = self.path.last_mut() {
            level.visited = true;
        }
    }

    fn descend(&mut self, volume: &Volume, inode: &Inode, last: bool) -> Result<(), CursorError> {
        let here = self.top()?;
        if self.path.len() > usize::from(MAX_DEPTH) {
            return Err(CursorError::TooDeep(MAX_DEPTH));
        }
        let node = TreeNode::read(volume, inode, here.block, None)?;
        let entry = node.entry(here.at).ok_or(CursorError::Nowhere)?;
        let child = child(&entry);
        let below = TreeNode::read(volume, inode, Some(child), Some(node.depth.saturating_sub(1)))?;
        let at = if last { below.len().saturating_sub(1) } else { 0 };
        self.path.push(Level { block: Some(child), at, visited: last && below.depth > 0 });
        Ok(())
    }

    /// To the entry that holds block `block` of the file, `level` levels above the leaves.
    ///
    /// # Errors
    /// There is none; the cursor stays where it is.
    pub fn go_to(&mut self, volume: &Volume, block: u64, level: u16) -> Result<TreeEntry, CursorError> {
        let inode = volume.inode(self.inode)?;
        let missing = CursorError::NotFound { block, level };
        let mut moved = Self { inode: self.inode, path: vec![Level { block: None, at: 0, visited: false }] };
        loop {
            let here = moved.top()?;
            let node = TreeNode::read(volume, &inode, here.block, None)?;
            let behind = node.entries().partition_point(|e| u64::from(key(e)) <= block);
            let Some(at) = behind.checked_sub(1) else { return Err(missing) };
            moved.stand(at);
            if node.depth <= level {
                break;
            }
            moved.descend(volume, &inode, false)?;
        }
        let entry = moved.current(volume)?;
        if entry.leaf && u64::from(entry.logical) + entry.len <= block {
            return Err(missing);
        }
        *self = moved;
        Ok(entry)
    }
}
