//! Maps of files changed in place: extent trees and indirect blocks behind one face.
//!
//! Blocks of the map itself are taken and given back here; blocks of data are taken by [`place`](self::place) before they are mapped, and
//! given back when they are unmapped. Both are counted (`i_blocks`, quota) where that happens, so that no way of mapping forgets it. The
//! inode is changed in memory only; who calls stores it.

mod cursor;
mod free;
mod indirect;
mod node;
mod pack;
mod place;
mod tree;
mod tree_node;

use std::ops::Range;

use daxkit_format::BlockNr;
use daxkit_format::OnDisk;
use daxkit_format::ext4::extent::{self, ExtentHeader, ROOT_ENTRIES};
use daxkit_format::ext4::features::RoCompat;
use daxkit_format::ext4::indirect as layout;
use daxkit_format::ext4::inode_flags::InodeFlags;
use zerocopy::IntoBytes;

pub use cursor::{CursorError, Move, Standing, TreeCursor, TreeEntry};

use super::super::error::VolumeError;
use super::super::inode::Inode;
use super::super::map::Mapping;
use super::super::map_runs;
use super::super::open::Volume;
use super::{EditError, Editor};

/// Sectors, or blocks, that `i_blocks` can count with both of its halves.
const MOST_SPACE: u64 = (1 << 48) - 1;

impl Volume {
    /// Blocks that the kind of map a file has can map (`ext4_max_size`, `ext4_max_bitmap_size`, without regard to `i_blocks`).
    #[must_use]
    pub fn map_limit(&self, inode: &Inode) -> u64 {
        let extents = u64::from(u32::MAX);
        if inode.flags().contains(InodeFlags::EXTENTS) {
            return extents;
        }
        layout::limit(self.block_size() / 4).min(extents)
    }

    /// Where blocks of an inode are looked for when it has none yet: its group.
    pub(super) fn home(&self, inode: &Inode) -> BlockNr {
        let g = self.geometry();
        g.group_of_inode(inode.nr()).map_or(BlockNr(0), |(group, _)| g.group_first_block(group))
    }
}

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

    /// Adds blocks to, or takes them from, what an inode counts as its own (`ext4_inode_blocks_set`), and charges the quotas. In
    /// memory.
    ///
    /// # Errors
    /// The count does not fit; a quota file is damaged.
    pub fn add_space(&mut self, inode: &mut Inode, blocks: i64) -> Result<(), EditError> {
        let size = u64::from(self.block_size());
        let bytes = blocks.saturating_mul(i64::from(self.block_size()));
        // An inode that says too little is damaged already; what it has can be given back all the same.
        let space = inode.space().saturating_add_signed(bytes);
        let huge_file = self.has_ro_compat(RoCompat::HUGE_FILE);
        let too_large = || EditError::FileTooLarge { inode: inode.nr(), size: inode.size() };
        // Small counts are in sectors; the flag says that a large one is in blocks.
        let (stored, in_blocks) = match space / 512 {
            sectors if sectors <= u32::MAX.into() => (sectors, false),
            _ if !huge_file => return Err(too_large()),
            sectors if sectors <= MOST_SPACE => (sectors, false),
            _ if space / size <= MOST_SPACE => (space / size, true),
            _ => return Err(too_large()),
        };
        self.modify(inode, |disk| {
            disk.set_blocks_stored(stored);
            if huge_file {
                let mut flags = disk.flags();
                flags.set(InodeFlags::HUGE_FILE, in_blocks);
                disk.set_flags(flags);
            }
        });
        self.charge(inode, bytes, 0)
    }

    /// As [`Editor::add_space`], in clusters.
    fn add_clusters(&mut self, inode: &mut Inode, clusters: i64) -> Result<(), EditError> {
        if clusters == 0 {
            return Ok(());
        }
        self.add_space(inode, clusters.saturating_mul(self.geometry().cluster_ratio.into()))
    }

    /// Maps a run where there is a hole.
    pub(super) fn map_insert(&mut self, inode: &mut Inode, run: Mapping) -> Result<(), EditError> {
        if run.end() > self.map_limit(inode) {
            let size = run.end().saturating_mul(self.block_size().into());
            return Err(EditError::FileTooLarge { inode: inode.nr(), size });
        }
        if inode.flags().contains(InodeFlags::EXTENTS) {
            self.edit_leaves(inode, run.logical..run.end(), |runs, part| {
                if let Some(piece) = run.within(part) {
                    map_runs::insert(runs, piece);
                }
            })
        } else {
            self.indirect_insert(inode, run)
        }
    }

    /// Unmaps blocks of a file. What is to become of them is for `gone` to say.
    pub(super) fn map_remove(&mut self, inode: &mut Inode, blocks: Range<u64>, gone: Gone) -> Result<(), EditError> {
        // A block behind the last possible one can be mapped by what others have written.
        let blocks = blocks.start..blocks.end.min(self.map_limit(inode).saturating_add(1));
        if blocks.is_empty() || !self.has_map(inode) {
            return Ok(());
        }
        if inode.flags().contains(InodeFlags::EXTENTS) {
            self.tree_remove(inode, blocks, gone)
        } else {
            self.indirect_remove(inode, blocks, gone)
        }
    }

    /// Makes what is mapped of `blocks` written or unwritten. Without extents everything is written.
    pub(super) fn map_set_written(
        &mut self,
        inode: &mut Inode,
        blocks: Range<u64>,
        written: bool,
    ) -> Result<(), EditError> {
        if !inode.flags().contains(InodeFlags::EXTENTS) {
            return Ok(());
        }
        self.edit_leaves(inode, blocks, |runs, part| {
            map_runs::set_written(runs, part, written);
        })
    }

    /// Maps one block by hand, whatever was there; `None` unmaps it. Nothing is taken or given back but blocks of the map.
    ///
    /// # Errors
    /// The map is damaged, or has no place for it.
    pub fn set_block(&mut self, inode: &mut Inode, logical: u64, to: Option<(u64, bool)>) -> Result<(), EditError> {
        self.map_remove(inode, logical..logical.saturating_add(1), Gone::Kept)?;
        if let Some((physical, written)) = to {
            if physical >> 48 != 0 {
                let (block, count) = (BlockNr(physical), self.geometry().blocks_count);
                return Err(VolumeError::NoSuchBlock { block, count }.into());
            }
            self.map_insert(inode, Mapping { logical, physical: BlockNr(physical), len: 1, written })?;
        }
        self.store_inode(inode)
    }
}

/// What becomes of blocks of data that are unmapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    /// They are free again.
    Given,
    /// They stay in use and counted: somebody else knows them.
    Kept,
}
