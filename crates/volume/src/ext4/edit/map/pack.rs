//! Maps made anew from the runs they map: extent trees as small as they can be.

use super::super::super::inode::Inode;
use super::super::super::map::Mapping;
use super::super::super::map_runs;
use super::super::{EditError, Editor};
use super::Gone;
use daxkit_format::ext4::inode_flags::InodeFlags;

impl Editor<'_> {
    /// Builds the extent tree of a file anew, every node full, runs joined that are one. The data stays where it is. What is not mapped
    /// by extents stays as it is.
    ///
    /// # Errors
    /// The map is damaged.
    pub fn pack_map(&mut self, inode: &mut Inode) -> Result<(), EditError> {
        if !self.has_map(inode) || !inode.flags().contains(InodeFlags::EXTENTS) {
            return Ok(());
        }
        let runs: Vec<Mapping> = self.extents(inode).collect::<Result<_, _>>()?;
        self.map_remove(inode, 0..u64::MAX, Gone::Kept)?;
        self.new_map(inode);
        self.map_insert_all(inode, runs)?;
        self.store_inode(inode)
    }

    /// Maps runs, in order, into an empty map.
    pub(in super::super) fn map_insert_all(&mut self, inode: &mut Inode, runs: Vec<Mapping>) -> Result<(), EditError> {
        if !inode.flags().contains(InodeFlags::EXTENTS) {
            return runs.into_iter().try_for_each(|run| self.map_insert(inode, run));
        }
        let mut all = Vec::with_capacity(runs.len());
        runs.into_iter().for_each(|run| map_runs::insert(&mut all, run));
        let limit = self.map_limit(inode);
        if let Some(last) = all.last().filter(|last| last.end() > limit) {
            let size = last.end().saturating_mul(self.block_size().into());
            return Err(EditError::FileTooLarge { inode: inode.nr(), size });
        }
        // All at once: the tree is then split from the bottom up into full nodes.
        self.edit_leaf(inode, 0..limit, |_, runs, _| {
            *runs = all;
            Ok(())
        })
    }
}
