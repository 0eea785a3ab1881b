//! Taking inodes and giving them back: bitmap, descriptor, the part of the table that counts as unused.

use daxkit_format::ext4::features::RoCompat;
use daxkit_format::ext4::group_desc::{GroupDesc, GroupFlags, bitmap_checksum};
use daxkit_format::{BlockNr, GroupNr, InodeNr};

use super::super::bitmap::Bitmap;
use super::super::error::{Place, VolumeError};
use super::{EditError, Editor};

impl Editor<'_> {
    /// Takes a free inode, in the group of `near` where there is one, else in the next group that has one. Its bytes are those
    /// that lie in the table.
    ///
    /// # Errors
    /// None is free; a descriptor or bitmap is damaged.
    pub fn take_inode(&mut self, near: InodeNr, is_dir: bool) -> Result<InodeNr, EditError> {
        let nr = self.find_free_inode(near)?.ok_or(EditError::NoInodes)?;
        self.mark_inode(nr, true, is_dir)?;
        Ok(nr)
    }

    /// The free inode that [`Editor::take_inode`] would take.
    ///
    /// # Errors
    /// A descriptor or bitmap is damaged.
    pub fn find_free_inode(&mut self, near: InodeNr) -> Result<Option<InodeNr>, EditError> {
        let g = *self.geometry();
        let home = g.group_of_inode(near).map_or(0, |(group, _)| group.get());
        let mut step = 0;
        while step < g.groups_count {
            let group = (home + step) % g.groups_count;
            let here = u64::from(group);
            let none = self.volume.hints_mut().no_inodes.next_in(here..u64::from(g.groups_count));
            if let Some(none) = none.filter(|f| f.start == here) {
                step = step.saturating_add(u32::try_from(none.end - none.start).unwrap_or(u32::MAX));
                continue;
            }
            step += 1;
            if self.group_desc(GroupNr(group))?.free_inodes_count() > 0 {
                let map = self.inode_bitmap(GroupNr(group))?;
                let first = here * u64::from(g.inodes_per_group) + 1;
                // Reserved inodes are marked as used, but whoever made the image may have forgotten it.
                let from = u64::from(g.first_ino).saturating_sub(first);
                let free = u32::try_from(from).ok().and_then(|from| map.next_clear(from));
                if let Some(index) = free {
                    return Ok(Some(InodeNr(first + u64::from(index))));
                }
            }
            self.volume.hints_mut().no_inodes.insert(here..here + 1);
        }
        Ok(None)
    }

    /// Gives an inode back. Its bytes stay as they are.
    ///
    /// # Errors
    /// It is free; a descriptor or bitmap is damaged.
    pub fn give_inode(&mut self, nr: InodeNr, is_dir: bool) -> Result<(), EditError> {
        self.mark_inode(nr, false, is_dir)
    }

    /// Marks an inode, which must have been otherwise.
    ///
    /// # Errors
    /// It is that already; no such inode; a descriptor or bitmap is damaged.
    pub fn mark_inode(&mut self, nr: InodeNr, used: bool, is_dir: bool) -> Result<(), EditError> {
        let g = *self.geometry();
        let none = VolumeError::NoSuchInode { inode: nr, count: g.inodes_count.into() };
        let (group, index) = g.group_of_inode(nr).ok_or(none)?;
        let mut map = self.inode_bitmap(group)?;
        if map.set(index, used) == used {
            return Err(EditError::InodeState { inode: nr, used });
        }
        let mut desc = self.group_desc(group)?;
        let step = |n: u32, up: bool| if up { n.saturating_add(1) } else { n.saturating_sub(1) };
        desc.set_free_inodes_count(step(desc.free_inodes_count(), !used));
        if is_dir {
            desc.set_used_dirs_count(step(desc.used_dirs_count(), used));
        }
        if used {
            self.use_table(group, &mut desc, index)?;
        }
        self.write_inode_bitmap(group, &mut desc, &map)?;
        self.change_super_block(|sb| sb.s_free_inodes_count.set(step(sb.s_free_inodes_count.get(), !used)))?;
        if !used {
            self.volume.hints_mut().no_inodes.remove(group.get().into()..u64::from(group.get()) + 1);
        }
        Ok(())
    }

    /// Takes the inodes up to `index` out of the unused part of the table. They may never have been written, so they are made
    /// zero.
    fn use_table(&mut self, group: GroupNr, desc: &mut GroupDesc, index: u32) -> Result<(), EditError> {
        let g = *self.geometry();
        if !self.has_ro_compat(RoCompat::GDT_CSUM) && !self.super_block().has_metadata_csum() {
            return Ok(());
        }
        let unused =
            if desc.flags().contains(GroupFlags::INODE_UNINIT) { g.inodes_per_group } else { desc.itable_unused() };
        let known = g.inodes_per_group.saturating_sub(unused);
        if index < known {
            return Ok(());
        }
        if !desc.flags().contains(GroupFlags::INODE_ZEROED) {
            let table = self.inode_table(group)?;
            let size = usize::from(g.inode_size);
            let start = (table.get() << g.block_shift()) + u64::from(known) * size as u64;
            let zeroes = vec![0; (index + 1 - known) as usize * size];
            self.write_bytes(Place::Group(group), start, &zeroes)?;
        }
        desc.set_itable_unused(g.inodes_per_group.saturating_sub(index + 1));
        Ok(())
    }

    /// Writes a group's inode bitmap and its descriptor.
    pub(super) fn write_inode_bitmap(
        &mut self,
        group: GroupNr,
        desc: &mut GroupDesc,
        map: &Bitmap,
    ) -> Result<(), EditError> {
        let g = *self.geometry();
        desc.bg_flags.set(desc.flags().difference(GroupFlags::INODE_UNINIT).bits());
        if let Some(seed) = self.seal_seed() {
            desc.set_inode_bitmap_csum(bitmap_checksum(seed, map.as_bytes(), g.inodes_per_group), g.desc_size);
        }
        self.write_block(BlockNr(desc.inode_bitmap()), map.as_bytes())?;
        self.write_group_desc(group, desc)
    }
}
