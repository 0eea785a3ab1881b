//! Edits of bytes and bits that say nothing of what else they would concern: what is written is sealed, and nothing follows from
//! it. Afterwards the file system may well be damaged; that is what they are for.

use std::ops::Range;

use daxkit_device::RangeSet;
use daxkit_format::ext4::super_block::SuperBlock;
use daxkit_format::{BlockNr, InodeNr};

use super::super::error::{Place, VolumeError};
use super::super::inode::Inode;
use super::super::seal::Edit;
use super::{EditError, Editor, Hints, Run};

impl Editor<'_> {
    /// Writes bytes of the device: what [`Located::edits`](super::super::Located::edits), [`seal`](super::super::seal()) and
    /// [`Seal`](super::super::Seal) return. Where they are the superblock's the volume goes by them from then on, but for its geometry and the
    /// seed of its checksums.
    ///
    /// # Errors
    /// They do not lie in the file system.
    pub fn apply(&mut self, edits: &[Edit]) -> Result<(), EditError> {
        let shift = self.geometry().block_shift();
        let sb = self.base().saturating_add(self.super_block_offset());
        let sb = sb..sb.saturating_add(size_of::<SuperBlock>() as u64);
        for edit in edits {
            let offset = edit.offset.saturating_sub(self.base());
            self.write_bytes(Place::Block(BlockNr(offset >> shift)), offset, &edit.bytes)?;
        }
        if edits.iter().map(Edit::range).any(|r| r.start < sb.end && sb.start < r.end) {
            self.volume.read_super_block()?;
        }
        // Bitmaps and counts may be others now, descriptors may name other tables.
        self.known().forget();
        *self.volume.hints_mut() = Hints::default();
        Ok(())
    }

    /// Writes an inode as it is, its checksum not looked at.
    ///
    /// # Errors
    /// No such inode, or the group's descriptor cannot be used.
    pub fn store_unsealed(&mut self, inode: &Inode) -> Result<(), EditError> {
        let (block, at) = self.inode_location(inode.nr())?;
        let offset = (block.get() << self.geometry().block_shift()).saturating_add(at as u64);
        self.write_bytes(inode.place(), offset, inode.raw())
    }

    /// Marks the clusters of blocks as used or free, whatever they were; no count follows. Returns the blocks that were so already.
    ///
    /// # Errors
    /// One of them lies outside of the file system; a descriptor or bitmap is damaged.
    pub fn mark_blocks_raw(&mut self, run: Run, used: bool) -> Result<RangeSet, EditError> {
        let g = *self.geometry();
        let ratio = u64::from(g.cluster_ratio);
        let outside = |block| VolumeError::NoSuchBlock { block, count: g.blocks_count };
        let end = run.first.get().checked_add(run.len).filter(|end| *end <= g.blocks_count);
        let end = end.ok_or_else(|| outside(BlockNr(run.first.get().max(g.blocks_count))))?;
        let (mut already, mut block) = (RangeSet::default(), run.first.get());
        while block < end {
            let group = g.group_of_block(BlockNr(block)).ok_or_else(|| outside(BlockNr(block)))?;
            let start = g.group_first_block(group).get();
            let stop = end.min(start.saturating_add(g.blocks_per_group.into()));
            let clusters = to_u32(block.saturating_sub(start) / ratio)..to_u32((stop - start).div_ceil(ratio));
            let mut map = self.block_bitmap(group)?;
            for bit in clusters.clone().filter(|bit| map.get(*bit) == used) {
                let first = start.saturating_add(u64::from(bit) * ratio);
                already.insert(first.max(block)..first.saturating_add(ratio).min(stop));
            }
            map.set_range(clusters, used);
            let mut desc = self.group_desc(group)?;
            self.write_block_bitmap(group, &mut desc, &map)?;
            block = stop;
        }
        *self.volume.hints_mut() = Hints::default();
        Ok(already)
    }

    /// Marks inodes as used or free, whatever they were; no count follows. Returns those that were so already.
    ///
    /// # Errors
    /// One of them does not exist; a descriptor or bitmap is damaged.
    pub fn mark_inodes_raw(&mut self, inodes: Range<u64>, used: bool) -> Result<RangeSet, EditError> {
        let g = *self.geometry();
        let none = |nr| VolumeError::NoSuchInode { inode: InodeNr(nr), count: g.inodes_count.into() };
        if inodes.end.saturating_sub(1) > u64::from(g.inodes_count) {
            return Err(none(inodes.end.saturating_sub(1)).into());
        }
        let (mut already, mut nr) = (RangeSet::default(), inodes.start);
        while nr < inodes.end {
            let (group, index) = g.group_of_inode(InodeNr(nr)).ok_or_else(|| none(nr))?;
            let first = nr.saturating_sub(index.into());
            let stop = inodes.end.min(first.saturating_add(g.inodes_per_group.into()));
            let bits = index..to_u32(stop.saturating_sub(first));
            let mut map = self.inode_bitmap(group)?;
            for bit in bits.clone().filter(|bit| map.get(*bit) == used) {
                already.insert(first.saturating_add(bit.into())..first.saturating_add(bit.into()).saturating_add(1));
            }
            map.set_range(bits, used);
            let mut desc = self.group_desc(group)?;
            self.write_inode_bitmap(group, &mut desc, &map)?;
            nr = stop;
        }
        *self.volume.hints_mut() = Hints::default();
        Ok(already)
    }
}

fn to_u32(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
