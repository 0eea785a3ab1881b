//! The image that is checked: its superblock, its groups, and how its parts are read.

use std::sync::Arc;

use daxkit_device::{BlockDevice, DeviceError};
use daxkit_format::GroupNr;
use daxkit_format::ext4::features::{Compat, Incompat, RoCompat};
use daxkit_format::ext4::group_desc::GroupDesc;
use daxkit_format::ext4::super_block::{SUPER_BLOCK_OFFSET, SuperBlock};
use daxkit_volume::{Corruption, Geometry, GeometryError, OpenOptions, Place, Volume, VolumeError};

/// An image whose superblock can be used.
pub(crate) struct Image {
    pub(crate) device: Arc<dyn BlockDevice>,
    /// For what the volume knows of layout. It trusts nothing.
    pub(crate) volume: Volume,
    pub(crate) sb: SuperBlock,
    pub(crate) geo: Geometry,
    /// The descriptors as they lie on disk.
    pub(crate) groups: Vec<GroupDesc>,
    /// Groups whose descriptor could not be read.
    pub(crate) unreadable: Vec<u32>,
    /// Seed of the checksums of metadata, where there are such.
    pub(crate) seed: Option<u32>,
    pub(crate) has: Has,
}

/// Features, as questions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Has {
    pub(crate) extents: bool,
    pub(crate) filetype: bool,
    pub(crate) inline_data: bool,
    pub(crate) dir_index: bool,
    pub(crate) bigalloc: bool,
    pub(crate) bit64: bool,
    pub(crate) huge_file: bool,
    pub(crate) ext_attr: bool,
    pub(crate) large_dir: bool,
    pub(crate) large_file: bool,
    pub(crate) flex_bg: bool,
    pub(crate) meta_bg: bool,
    pub(crate) ea_inode: bool,
    pub(crate) casefold: bool,
    pub(crate) imagic: bool,
    pub(crate) journal: bool,
    pub(crate) resize_inode: bool,
    pub(crate) shared_blocks: bool,
    pub(crate) gdt_csum: bool,
    pub(crate) metadata_csum: bool,
    pub(crate) quota: bool,
    pub(crate) orphan_file: bool,
    pub(crate) dir_nlink: bool,
    pub(crate) mmp: bool,
}

impl Has {
    fn of(sb: &SuperBlock) -> Self {
        let (c, i, r) = (sb.compat(), sb.incompat(), sb.ro_compat());
        Self {
            extents: i.contains(Incompat::EXTENTS),
            filetype: i.contains(Incompat::FILETYPE),
            inline_data: i.contains(Incompat::INLINE_DATA),
            dir_index: c.contains(Compat::DIR_INDEX),
            bigalloc: r.contains(RoCompat::BIGALLOC),
            bit64: i.contains(Incompat::BIT64),
            huge_file: r.contains(RoCompat::HUGE_FILE),
            ext_attr: c.contains(Compat::EXT_ATTR),
            large_dir: i.contains(Incompat::LARGEDIR),
            large_file: r.contains(RoCompat::LARGE_FILE),
            flex_bg: i.contains(Incompat::FLEX_BG),
            meta_bg: i.contains(Incompat::META_BG),
            ea_inode: i.contains(Incompat::EA_INODE),
            casefold: i.contains(Incompat::CASEFOLD),
            imagic: c.contains(Compat::IMAGIC_INODES),
            journal: c.contains(Compat::HAS_JOURNAL),
            resize_inode: c.contains(Compat::RESIZE_INODE),
            shared_blocks: r.contains(RoCompat::SHARED_BLOCKS),
            gdt_csum: r.contains(RoCompat::GDT_CSUM),
            metadata_csum: r.contains(RoCompat::METADATA_CSUM),
            quota: r.contains(RoCompat::QUOTA),
            orphan_file: c.contains(Compat::ORPHAN_FILE),
            dir_nlink: r.contains(RoCompat::DIR_NLINK),
            mmp: i.contains(Incompat::MMP),
        }
    }

    /// Whether descriptors have checksums, and so groups can have parts that were never written.
    pub(crate) fn group_checksums(&self) -> bool {
        self.gdt_csum || self.metadata_csum
    }
}

impl Image {
    /// Opens what lies on a device, whatever state it is in.
    ///
    /// # Errors
    /// The superblock cannot be used.
    pub(crate) fn open(device: Arc<dyn BlockDevice>) -> Result<Self, VolumeError> {
        let options =
            OpenOptions { ignore_checksums: true, catastrophic: true, replay: false, ..OpenOptions::default() };
        let volume = Volume::open(Arc::clone(&device), &options)?;
        let (sb, geo) = (*volume.super_block(), *volume.geometry());
        if !bitmaps_fit(&geo, device.len()) {
            let why = GeometryError::Truncated { needed: geo.bytes(), found: device.len() };
            let place = Place::SuperBlock { offset: SUPER_BLOCK_OFFSET };
            return Err(VolumeError::Corrupt { place, why: Corruption::Geometry(why) });
        }
        let has = Has::of(&sb);
        let seed = has.metadata_csum.then(|| sb.checksum_seed());
        let mut image = Self { device, volume, sb, geo, groups: Vec::new(), unreadable: Vec::new(), seed, has };
        image.read_groups();
        Ok(image)
    }

    fn read_groups(&mut self) {
        let (per_block, size) = (self.geo.desc_per_block, usize::from(self.geo.desc_size));
        let mut block = vec![0; self.geo.block_size as usize];
        self.groups.reserve(self.geo.groups_count as usize);
        for index in 0..self.geo.desc_blocks {
            let first = index * per_block;
            let count = per_block.min(self.geo.groups_count - first);
            if self.read_block(self.volume.descriptor_block(index).get(), &mut block).is_err() {
                block.fill(0);
                self.unreadable.extend(first..first + count);
            }
            let descs = block.chunks_exact(size.max(1)).take(count as usize);
            self.groups.extend(descs.map(|bytes| GroupDesc::from_disk(bytes).unwrap_or_else(zeroed)));
        }
    }

    pub(crate) fn block_size(&self) -> usize {
        self.geo.block_size as usize
    }

    /// Reads from a block on, `buf` bytes.
    pub(crate) fn read_block(&self, block: u64, buf: &mut [u8]) -> Result<(), DeviceError> {
        let at = block.checked_mul(self.geo.block_size.into());
        let at = at.ok_or(DeviceError::OutOfRange { offset: u64::MAX, len: 0, device_len: self.device.len() })?;
        self.device.read_at(at, buf)
    }

    /// A block of its own.
    pub(crate) fn block(&self, block: u64) -> Result<Vec<u8>, DeviceError> {
        let mut bytes = vec![0; self.block_size()];
        self.read_block(block, &mut bytes)?;
        Ok(bytes)
    }

    /// Whether blocks may belong to somebody.
    pub(crate) fn is_block(&self, first: u64, len: u64) -> bool {
        first >= self.geo.first_data_block.max(1)
            && first.checked_add(len).is_some_and(|end| end <= self.geo.blocks_count)
    }

    /// The cluster of a block, as block bitmaps count them.
    pub(crate) fn cluster(&self, block: u64) -> u64 {
        block.saturating_sub(self.geo.first_data_block) / u64::from(self.geo.cluster_ratio)
    }

    /// The clusters of a range of blocks: the first, and how many.
    pub(crate) fn clusters(&self, first: u64, len: u64) -> (u64, u64) {
        if len == 0 {
            return (self.cluster(first), 0);
        }
        let from = self.cluster(first);
        (from, self.cluster(first.saturating_add(len - 1)) - from + 1)
    }

    /// Clusters of the whole file system.
    pub(crate) fn clusters_count(&self) -> u64 {
        (self.geo.blocks_count - self.geo.first_data_block).div_ceil(self.geo.cluster_ratio.into())
    }

    /// Where the bytes of a descriptor lie.
    pub(crate) fn desc_at(&self, group: u32) -> u64 {
        let index = group / self.geo.desc_per_block;
        let inside = u64::from(group % self.geo.desc_per_block) * u64::from(self.geo.desc_size);
        self.volume.descriptor_block(index).get() * u64::from(self.geo.block_size) + inside
    }

    /// Where an inode's bytes lie, if its group's table is where one can be.
    pub(crate) fn inode_at(&self, ino: u32) -> Option<u64> {
        let index = ino.checked_sub(1).filter(|i| *i < self.geo.inodes_count)?;
        let (group, inside) = (index / self.geo.inodes_per_group, index % self.geo.inodes_per_group);
        let table = self.groups.get(group as usize)?.inode_table();
        if !self.is_block(table, self.geo.inode_table_blocks.into()) {
            return None;
        }
        Some(table * u64::from(self.geo.block_size) + u64::from(inside) * u64::from(self.geo.inode_size))
    }

    /// The bytes of an inode.
    pub(crate) fn raw_inode(&self, ino: u32) -> Option<Vec<u8>> {
        let mut bytes = vec![0; self.geo.inode_size.into()];
        self.device.read_at(self.inode_at(ino)?, &mut bytes).ok()?;
        Some(bytes)
    }

    /// Blocks at the start of a group that superblock and descriptors take: first and count, twice.
    pub(crate) fn group_head(&self, group: u32) -> (u64, u64) {
        let first = self.geo.group_first_block(GroupNr(group)).get();
        let mut len = u64::from(self.volume.group_base_meta_blocks(GroupNr(group)));
        // With blocks of 1 KiB counted from 0 the superblock lies behind the boot block.
        if group == 0 && self.geo.block_size == 1024 && self.geo.first_data_block == 0 {
            len += 1;
        }
        (first, len.min(u64::from(self.geo.group_blocks(GroupNr(group)))))
    }
}

/// Whether the two bitmaps of every group can lie on a device. Where they cannot next to nothing is left to be judged, and the work, which
/// goes with the groups, would not be bounded by what there is.
pub(crate) fn bitmaps_fit(geo: &Geometry, device_len: u64) -> bool {
    2 * u64::from(geo.groups_count) * u64::from(geo.block_size) <= device_len
}

fn zeroed() -> GroupDesc {
    daxkit_format::OnDisk::zeroed()
}
