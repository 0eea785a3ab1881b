//! The copies of superblock and descriptors in other groups. Edits leave them alone, as a mount does; a rescue goes by them.

use std::sync::Arc;

use daxkit_device::BlockDevice;
use daxkit_format::GroupNr;
use daxkit_format::ext4::features::Incompat;
use daxkit_format::ext4::super_block::{STATE_VALID, SUPER_BLOCK_OFFSET};
use zerocopy::IntoBytes;

use super::super::error::{Place, VolumeError};
use super::super::journal::ReplayOverlay;
use super::super::open::{EDITS_IN_MEMORY, OpenOptions, Volume};
use super::{EditError, Editor};

impl Volume {
    /// The volume that was opened by a copy, with that copy of the superblock and of the descriptors in place of the primary ones, in an
    /// overlay over `device`.
    pub(in super::super) fn in_place_of_the_primary(
        &self,
        device: Arc<dyn BlockDevice>,
        options: &OpenOptions,
    ) -> Result<Self, VolumeError> {
        let mut sb = *self.super_block();
        sb.s_block_group_nr.set(0);
        if sb.has_metadata_csum() {
            sb.seal();
        }
        let overlay = Arc::new(ReplayOverlay::spilling(device, EDITS_IN_MEMORY));
        let at = self.base().saturating_add(SUPER_BLOCK_OFFSET);
        overlay.write_at(at, sb.as_bytes()).map_err(VolumeError::io(Place::SuperBlock { offset: at }))?;
        let options = OpenOptions { super_block: None, ..options.clone() };
        let primary = Self::open_without_replay(Arc::<ReplayOverlay>::clone(&overlay), &options)?;
        let (g, size) = (*self.geometry(), u64::from(self.block_size()));
        for index in 0..g.groups_count.div_ceil(g.desc_per_block.max(1)) {
            let (from, to) = (self.descriptor_block(index), primary.descriptor_block(index));
            let bytes = self.block(Place::Block(from), from)?;
            let at = self.base().saturating_add(to.get().saturating_mul(size));
            overlay.write_at(at, &bytes).map_err(VolumeError::io(Place::Block(to)))?;
        }
        Ok(primary.over(overlay))
    }
}

impl Editor<'_> {
    /// Writes all copies of the superblock and of the descriptors, as both are now. As in those that e2fsprogs writes, the file system of a
    /// copy is not said to be clean: whoever needs the copy had better look.
    ///
    /// # Errors
    /// The device failed.
    pub fn write_backups(&mut self) -> Result<(), EditError> {
        let g = *self.geometry();
        let shift = g.block_shift();
        let mut sb = *self.super_block();
        sb.s_state.set(sb.s_state.get() & !STATE_VALID);
        sb.s_feature_incompat.set(sb.incompat().difference(Incompat::RECOVER).bits());
        for group in (1..g.groups_count).map(GroupNr).filter(|group| self.group_has_super(*group)).collect::<Vec<_>>() {
            // The field has 16 bits; groups with larger numbers have what is left of them.
            sb.s_block_group_nr.set((group.get() & 0xFFFF) as u16);
            if sb.has_metadata_csum() {
                sb.seal();
            }
            let at = g.group_first_block(group).get() << shift;
            self.write_bytes(Place::SuperBlock { offset: self.base().saturating_add(at) }, at, sb.as_bytes())?;
        }
        for index in 0..g.groups_count.div_ceil(g.desc_per_block.max(1)) {
            let own = self.descriptor_block(index);
            let bytes = self.block(Place::Block(own), own)?;
            let first = index.saturating_mul(g.desc_per_block);
            let last = first.saturating_add(g.desc_per_block.saturating_sub(1));
            let copies = if index < g.first_meta_bg {
                1..g.groups_count
            } else {
                first..g.groups_count.min(last.saturating_add(1))
            };
            let blocks =
                copies.filter_map(|copy| self.desc_copy_block(index, copy)).filter(|block| *block != own.get());
            for block in blocks.collect::<Vec<_>>() {
                self.write_block(daxkit_format::BlockNr(block), &bytes)?;
            }
        }
        Ok(())
    }
}
