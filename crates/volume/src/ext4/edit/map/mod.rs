//! Maps of files changed in place: extent trees and indirect blocks behind one face.
//!
//! What is mapped and unmapped here are blocks of the file; whether their place on disk is in use is for
//! [`content`](super::content) to know. Blocks of the map itself are taken and given back here. The inode is changed in memory only;
//! who calls stores it.

mod cursor;
mod indirect;
mod node;
mod tree;

use std::ops::Range;

use daxkit_format::BlockNr;
use daxkit_format::OnDisk;
use daxkit_format::ext4::extent::{self, ExtentHeader, ROOT_ENTRIES};
use daxkit_format::ext4::features::RoCompat;
use daxkit_format::ext4::inode_flags::InodeFlags;
use zerocopy::IntoBytes;

pub use cursor::{CursorError, Move, Standing, TreeCursor, TreeEntry};

use super::super::inode::Inode;
use super::super::map::Mapping;
use super::{EditError, Editor, Run};

/// Blocks a file can have: logical block numbers have 32 bits.
pub(super) const LOGICAL_END: u64 = 1 << 32;

impl Editor<'_> {
    /// Makes the map of an inode an empty one: a root of extents where it has the flag, else no blocks. In memory.
    pub fn new_map(&self, inode: &mut Inode) {
        let mut map = [0; 60];
        if inode.flags().contains(InodeFlags::EXTENTS) {
            let mut header = ExtentHeader::zeroed();
            header.eh_magic.set(extent::MAGIC);
            header.eh_max.set(ROOT_ENTRIES);
            map.iter_mut().zip(header.as_bytes()).for_each(|(to, from)| *to = *from);
        }
        self.modify(inode, |disk| disk.i_block = map);
    }

    /// Adds blocks to, or takes them from, what an inode counts as its own (`i_blocks`), and charges the quotas. In memory.
    ///
    /// # Errors
    /// The count does not fit; a quota file is damaged.
    pub fn add_space(&mut self, inode: &mut Inode, blocks: i64) -> Result<(), EditError> {
        let bs = i64::from(self.block_size());
        let bytes = blocks.saturating_mul(bs);
        let space = inode.space().saturating_add_signed(bytes);
        let huge = self.has_ro_compat(RoCompat::HUGE_FILE);
        let in_sectors = space / 512;
        let too_large = || EditError::FileTooLarge { inode: inode.nr(), size: space };
        // Small counts are in sectors; the flag says that a large one is in blocks (`ext4_inode_blocks_set`).
        let (stored, flag) = if in_sectors <= u64::from(u32::MAX) {
            (in_sectors, false)
        } else if !huge {
            return Err(too_large());
        } else if in_sectors < 1 << 48 {
            (in_sectors, false)
        } else {
            (space / u64::from(self.block_size()), true)
        };
        if stored >= 1 << 48 {
            return Err(too_large());
        }
        self.modify(inode, |disk| {
            let mut flags = disk.flags();
            flags.set(InodeFlags::HUGE_FILE, flag);
            disk.set_flags(flags);
            disk.set_blocks_stored(stored);
        });
        self.charge(inode, bytes, 0)
    }

    /// Maps blocks of a file where there is a hole.
    pub(super) fn map_insert(&mut self, inode: &mut Inode, run: Mapping) -> Result<(), EditError> {
        if run.len == 0 {
            return Ok(());
        }
        if run.end() > LOGICAL_END {
            let size = run.end().saturating_mul(self.block_size().into());
            return Err(EditError::FileTooLarge { inode: inode.nr(), size });
        }
        if inode.flags().contains(InodeFlags::EXTENTS) {
            self.tree_insert(inode, run)
        } else {
            self.indirect_insert(inode, run)
        }
    }

    /// Unmaps blocks of a file, and says where they were.
    pub(super) fn map_remove(&mut self, inode: &mut Inode, blocks: Range<u64>) -> Result<Vec<Mapping>, EditError> {
        let blocks = blocks.start..blocks.end.min(LOGICAL_END);
        if blocks.is_empty() || !self.has_map(inode) {
            return Ok(Vec::new());
        }
        if inode.flags().contains(InodeFlags::EXTENTS) {
            self.tree_remove(inode, blocks)
        } else {
            self.indirect_remove(inode, blocks)
        }
    }

    /// Maps one block by hand, whatever was there; `None` unmaps it. Nothing is taken or given back but blocks of the map.
    ///
    /// # Errors
    /// The map is damaged, or has no place for it.
    pub fn set_block(&mut self, inode: &mut Inode, logical: u64, to: Option<(u64, bool)>) -> Result<(), EditError> {
        self.map_remove(inode, logical..logical.saturating_add(1))?;
        if let Some((physical, written)) = to {
            self.map_insert(inode, Mapping { logical, physical: BlockNr(physical), len: 1, written })?;
        }
        self.store_inode(inode)
    }

    /// Takes a block for the map of a file, counted in its space.
    fn take_map_block(&mut self, inode: &mut Inode, near: BlockNr) -> Result<BlockNr, EditError> {
        let run = self.take_blocks(near, 1)?;
        self.add_space(inode, i64::from(self.geometry().cluster_ratio))?;
        Ok(run.first)
    }

    /// Gives a block of the map back.
    fn give_map_block(&mut self, inode: &mut Inode, block: BlockNr) -> Result<(), EditError> {
        self.give_blocks(Run { first: block, len: 1 })?;
        self.add_space(inode, -i64::from(self.geometry().cluster_ratio))
    }

    /// Where blocks of an inode are looked for when it has none yet: its group.
    pub(super) fn home(&self, inode: &Inode) -> BlockNr {
        let g = self.geometry();
        let group = g.group_of_inode(inode.nr()).map_or(daxkit_format::GroupNr(0), |(group, _)| group);
        g.group_first_block(group)
    }
}
