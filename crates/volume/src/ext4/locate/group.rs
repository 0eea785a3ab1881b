//! What lies at the same place in every image of one geometry: superblocks, descriptors; and the bitmaps the latter name.
//!
//! Where copies of descriptors lie: behind every superblock, or with meta_bg in the second and the last group of a meta
//! block group (`ext4_meta_bg_first_group` and its kin, Linux 6.12).

use std::ops::Range;

use daxkit_format::ext4::features::{Incompat, RoCompat};
use daxkit_format::ext4::group_desc::GroupDesc;
use daxkit_format::ext4::super_block::SUPER_BLOCK_OFFSET;
use daxkit_format::field::{Object, Structure};
use daxkit_format::{GroupNr, OnDisk};

use super::super::error::VolumeError;
use super::super::seal::{Bitmap, GroupRule, Kind, Seal, WhichBitmap};
use super::finder::{Finder, absent};
use super::{Absent, LocateError, Spot};

impl Finder<'_> {
    pub(super) fn super_block(&self, object: &Object, copy: Option<u32>) -> Result<Spot, LocateError> {
        let range = self.super_range(object, copy)?;
        let seals = vec![self.super_seal(range.start, copy)];
        Ok(Spot::one(Structure::SuperBlock, range, seals))
    }

    fn super_range(&self, object: &Object, copy: Option<u32>) -> Result<Range<u64>, LocateError> {
        let v = self.volume;
        let at = match copy {
            None => v.super_block_offset(),
            Some(0) => SUPER_BLOCK_OFFSET,
            Some(group) => {
                self.known_group(group)?;
                if !v.group_has_super(GroupNr(group)) {
                    return Err(absent(object, Absent::SuperCopy { group }));
                }
                v.geometry().group_first_block(GroupNr(group)).get() << v.geometry().block_shift()
            }
        };
        let at = self.device_byte(at);
        Ok(at..at.saturating_add(Structure::SuperBlock.size() as u64))
    }

    pub(super) fn super_seal(&self, at: u64, copy: Option<u32>) -> Seal {
        let volume = at == self.device_byte(self.volume.super_block_offset());
        Seal(Kind::Super { at, copy, volume })
    }

    pub(super) fn known_group(&self, group: u32) -> Result<(), LocateError> {
        let count = self.volume.geometry().groups_count;
        if group < count { Ok(()) } else { Err(VolumeError::NoSuchGroup { group: GroupNr(group), count }.into()) }
    }

    pub(super) fn group(&self, object: &Object, group: u32, copy: Option<u32>) -> Result<Spot, LocateError> {
        let range = self.desc_range(object, group, copy)?;
        let wide = range.end - range.start >= Structure::GroupDesc.size() as u64;
        let structure = if wide { Structure::GroupDesc } else { Structure::GroupDesc32 };
        let seals = self.desc_seals(group, copy, range.start);
        Ok(Spot::one(structure, range, seals))
    }

    /// Where a descriptor lies; without `copy` the one the volume goes by.
    pub(super) fn desc_range(&self, object: &Object, group: u32, copy: Option<u32>) -> Result<Range<u64>, LocateError> {
        let g = self.volume.geometry();
        let (block, inside) = self.volume.group_desc_location(GroupNr(group))?;
        let block = match copy {
            None => block.get(),
            Some(copy) => {
                self.known_group(copy)?;
                let index = group / g.desc_per_block;
                self.volume.desc_copy_block(index, copy).ok_or_else(|| absent(object, Absent::GroupCopy { copy }))?
            }
        };
        let start = self.block(block)?.at.saturating_add(inside as u64);
        Ok(start..start.saturating_add(g.desc_size.into()))
    }

    /// The checksums that a change of a descriptor may concern. A copy is as old as the last time it was written: it says nothing
    /// of bitmaps as they are now.
    pub(super) fn desc_seals(&self, group: u32, copy: Option<u32>, at: u64) -> Vec<Seal> {
        let bitmaps = [WhichBitmap::Blocks, WhichBitmap::Inodes].into_iter().filter(|_| copy.is_none());
        let bitmaps = bitmaps.filter_map(|which| self.bitmap_seal(which, group, at));
        bitmaps.chain(self.group_seal(group, copy, at)).collect()
    }

    fn group_seal(&self, group: u32, copy: Option<u32>, at: u64) -> Option<Seal> {
        let v = self.volume;
        let rule = match self.seed {
            Some(seed) => GroupRule::Crc32c { seed },
            None if v.has_ro_compat(RoCompat::GDT_CSUM) => {
                GroupRule::Crc16 { uuid: v.super_block().s_uuid, wide: v.has_incompat(Incompat::BIT64) }
            }
            None => return None,
        };
        Some(Seal(Kind::Group { at, len: v.geometry().desc_size, group, copy, rule }))
    }

    fn bitmap_seal(&self, which: WhichBitmap, group: u32, desc_at: u64) -> Option<Seal> {
        let g = self.volume.geometry();
        let bits = match which {
            WhichBitmap::Blocks => g.clusters_per_group,
            WhichBitmap::Inodes => g.inodes_per_group,
        };
        Some(Seal(Kind::Bitmap(Bitmap {
            which,
            group,
            desc_at,
            desc_len: g.desc_size,
            bits,
            block_size: g.block_size,
            base: self.volume.base(),
            seed: self.seed?,
        })))
    }

    /// The checksums over a bitmap: its own, which stands in the descriptor, and so the descriptor's.
    pub(super) fn bitmap_seals(&self, which: WhichBitmap, group: u32, desc_at: u64) -> Vec<Seal> {
        let Some(own) = self.bitmap_seal(which, group, desc_at) else { return Vec::new() };
        std::iter::once(own).chain(self.group_seal(group, None, desc_at)).collect()
    }

    /// The descriptor the volume goes by, not verified.
    pub(super) fn desc(&self, group: u32) -> Result<(Range<u64>, GroupDesc), LocateError> {
        let object = Object::Group { group, copy: None };
        let range = self.desc_range(&object, group, None)?;
        let bytes = self.read(&object, range.clone())?;
        Ok((range, GroupDesc::from_disk(&bytes).unwrap_or_else(OnDisk::zeroed)))
    }

    pub(super) fn block_bitmap(&self, group: u32) -> Result<Spot, LocateError> {
        let (range, desc) = self.desc(group)?;
        self.bitmap(WhichBitmap::Blocks, group, range.start, desc.block_bitmap())
    }

    pub(super) fn inode_bitmap(&self, group: u32) -> Result<Spot, LocateError> {
        let (range, desc) = self.desc(group)?;
        self.bitmap(WhichBitmap::Inodes, group, range.start, desc.inode_bitmap())
    }

    fn bitmap(&self, which: WhichBitmap, group: u32, desc_at: u64, block: u64) -> Result<Spot, LocateError> {
        Ok(Spot::plain(self.block(block)?.range(), self.bitmap_seals(which, group, desc_at)))
    }
}
