//! The image being dumped: its geometry as far as it can be trusted, which bytes have been printed, and where they go.
//!
//! Invariant: a byte is printed only by whoever claimed it, and it can be claimed once. What nobody claims is printed
//! last, by `free`.

use super::names::Names;
use super::{Data, DumpError, DumpOptions, TITLE, VERSION};
use daxkit_device::{BlockDevice, RangeSet};
use daxkit_format::ext4::features::{Incompat, RoCompat};
use daxkit_format::ext4::super_block::{self, SUPER_BLOCK_OFFSET, SuperBlock};
use std::io::Write;
use std::ops::Range;

/// More groups than this are not looked at (they would describe more than two pebibytes in blocks of 4 KiB); what they
/// hold is printed with the free blocks. A bound against superblocks that lie.
const MAX_GROUPS: u32 = 1 << 24;

/// The numbers that everything else depends on, checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Geometry {
    pub(crate) block_size: u32,
    /// Blocks of the file system that also lie inside the device.
    pub(crate) blocks: u64,
    pub(crate) first_data_block: u64,
    pub(crate) blocks_per_group: u64,
    pub(crate) clusters_per_group: u32,
    pub(crate) cluster_ratio: u64,
    pub(crate) inodes_per_group: u32,
    pub(crate) inode_size: u32,
    pub(crate) desc_size: u32,
    pub(crate) groups: u32,
    /// Seed of the checksums, when there are any.
    pub(crate) seed: Option<u32>,
    pub(crate) has_file_type: bool,
}

impl Geometry {
    pub(crate) fn of(sb: &SuperBlock, device_len: u64) -> Result<Self, &'static str> {
        let block_size = sb.block_size().ok_or("s_log_block_size is impossible")?;
        let cluster_ratio = sb.cluster_ratio().ok_or("s_log_cluster_size is impossible")?;
        let inode_size = u32::from(sb.inode_size());
        if inode_size < 128 || inode_size > block_size || !inode_size.is_power_of_two() {
            return Err("s_inode_size is impossible");
        }
        let desc_size = u32::from(sb.desc_size());
        if desc_size < 32 || desc_size > block_size.min(1024) || !desc_size.is_power_of_two() {
            return Err("s_desc_size is impossible");
        }
        let bits = block_size * 8;
        let clusters_per_group = if cluster_ratio == 1 { sb.s_blocks_per_group } else { sb.s_clusters_per_group }.get();
        if clusters_per_group == 0 || clusters_per_group > bits {
            return Err("a group has no blocks, or more than its bitmap");
        }
        let inodes_per_group = sb.s_inodes_per_group.get();
        if inodes_per_group == 0 || inodes_per_group > bits {
            return Err("a group has no inodes, or more than its bitmap");
        }
        let groups = sb.groups_count().ok_or("the number of blocks is impossible")?.min(MAX_GROUPS);
        Ok(Self {
            block_size,
            blocks: sb.blocks_count().min(device_len / u64::from(block_size)),
            first_data_block: u64::from(sb.s_first_data_block.get()),
            blocks_per_group: u64::from(sb.s_blocks_per_group.get()),
            clusters_per_group,
            cluster_ratio: u64::from(cluster_ratio),
            inodes_per_group,
            inode_size,
            desc_size,
            groups,
            seed: sb.has_metadata_csum().then(|| sb.checksum_seed()),
            has_file_type: sb.incompat().contains(Incompat::FILETYPE),
        })
    }

    /// First block of a group.
    pub(crate) fn group_start(&self, group: u32) -> u64 {
        self.first_data_block.saturating_add(u64::from(group).saturating_mul(self.blocks_per_group))
    }

    /// Descriptors in a block.
    pub(crate) fn descs_per_block(&self) -> u32 {
        self.block_size / self.desc_size
    }
}

/// See the module.
pub(super) struct Image<'a> {
    pub(super) device: &'a dyn BlockDevice,
    pub(super) options: DumpOptions,
    pub(super) out: &'a mut dyn Write,
    pub(super) len: u64,
    pub(super) sb: SuperBlock,
    pub(super) geo: Result<Geometry, &'static str>,
    pub(super) names: Names,
    /// Inode tables that were claimed and not yet printed.
    pub(super) tables: RangeSet,
    claimed: RangeSet,
    /// A range known to be a hole, so that neighbours do not ask the host again.
    hole: Range<u64>,
}

impl<'a> Image<'a> {
    pub(super) fn open(
        device: &'a dyn BlockDevice,
        options: DumpOptions,
        names: Names,
        out: &'a mut dyn Write,
    ) -> Result<Self, DumpError> {
        let len = device.len();
        let mut image = Self {
            device,
            options,
            out,
            len,
            sb: daxkit_format::OnDisk::zeroed(),
            geo: Err("the image is too short for a superblock"),
            names,
            tables: RangeSet::new(),
            claimed: RangeSet::new(),
            hole: 0..0,
        };
        if len >= SUPER_BLOCK_OFFSET + 1024 {
            let bytes = image.read(SUPER_BLOCK_OFFSET, 1024)?;
            image.geo = match super_block::parse(&bytes) {
                Some(sb) => {
                    image.sb = sb;
                    Geometry::of(&sb, len)
                }
                None => Err("there is no superblock"),
            };
        }
        Ok(image)
    }

    pub(super) fn dump(&mut self) -> Result<(), DumpError> {
        writeln!(self.out, "{TITLE} {VERSION}")?;
        writeln!(self.out, "length {}", self.len)?;
        writeln!(self.out, "data {}", if self.options.data == Data::Full { "full" } else { "hash" })?;
        match self.geo {
            Err(reason) => {
                writeln!(self.out, "unreadable {reason}")?;
                // A superblock that makes no sense is still worth reading field by field.
                if self.sb.s_magic.get() == super_block::MAGIC {
                    self.super_block()?;
                }
            }
            Ok(geo) => {
                self.super_block()?;
                self.super_copies(&geo)?;
                self.mmp(&geo)?;
                self.descriptors(&geo)?;
                self.descriptor_copies(&geo)?;
                self.bitmaps(&geo)?;
                self.claim_inode_tables(&geo)?;
                self.inodes(&geo)?;
            }
        }
        self.free()?;
        writeln!(self.out, "end")?;
        Ok(())
    }

    /// Marks a range as printed here. `false`, and nothing marked, when a byte of it was printed before or it does not lie
    /// inside the device.
    pub(super) fn claim(&mut self, range: Range<u64>) -> bool {
        if range.end > self.len || range.is_empty() || self.claimed.overlaps(range.clone()) {
            return false;
        }
        self.claimed.insert(range);
        true
    }

    /// Claims a block of the file system.
    pub(super) fn claim_block(&mut self, geo: &Geometry, block: u64) -> bool {
        let Some(range) = self.block_range(geo, block, 1) else { return false };
        self.claim(range)
    }

    /// Claims those parts of a range that nobody has, and returns them.
    pub(super) fn claim_rest(&mut self, range: Range<u64>) -> Vec<Range<u64>> {
        let range = range.start..range.end.min(self.len);
        let parts: Vec<_> = self.claimed.gaps(range.clone()).collect();
        self.claimed.insert(range);
        parts
    }

    /// The first part of `within` that nobody claimed.
    pub(super) fn next_unclaimed(&self, within: Range<u64>) -> Option<Range<u64>> {
        self.claimed.next_gap(within)
    }

    /// The bytes of `count` blocks; `None` when they do not lie inside the device.
    pub(super) fn block_range(&self, geo: &Geometry, block: u64, count: u64) -> Option<Range<u64>> {
        let bs = u64::from(geo.block_size);
        let start = block.checked_mul(bs)?;
        let end = block.checked_add(count)?.checked_mul(bs)?;
        (end <= self.len).then_some(start..end)
    }

    /// The bytes of the inode table that begins at `block`; what is left of its last block belongs to nobody.
    pub(super) fn table_range(&self, geo: &Geometry, block: u64) -> Option<Range<u64>> {
        let start = block.checked_mul(u64::from(geo.block_size))?;
        let end = start.checked_add(u64::from(geo.inodes_per_group) * u64::from(geo.inode_size))?;
        (end <= self.len).then_some(start..end)
    }

    /// Reads bytes inside the device.
    pub(super) fn read(&mut self, offset: u64, len: usize) -> Result<Vec<u8>, DumpError> {
        let mut buf = vec![0; len];
        if !self.is_hole(offset..offset.saturating_add(len as u64))? {
            self.device.read_at(offset, &mut buf)?;
        }
        Ok(buf)
    }

    /// Reads a block; `None` when it lies outside of the device.
    pub(super) fn read_block(&mut self, geo: &Geometry, block: u64) -> Result<Option<Vec<u8>>, DumpError> {
        match self.block_range(geo, block, 1) {
            Some(range) => self.read(range.start, geo.block_size as usize).map(Some),
            None => Ok(None),
        }
    }

    /// Whether the host knows that the range reads as zero.
    pub(super) fn is_hole(&mut self, range: Range<u64>) -> Result<bool, DumpError> {
        Ok(self.data_from(range.start)?.is_none_or(|data| data >= range.end))
    }

    /// The next byte at or after `offset` that may be something else than zero.
    pub(super) fn data_from(&mut self, offset: u64) -> Result<Option<u64>, DumpError> {
        if !self.hole.contains(&offset) {
            let next = self.device.next_data(offset)?.map_or(u64::MAX, |r| r.start.max(offset));
            self.hole = offset..next;
        }
        Ok(if self.hole.end == u64::MAX { None } else { Some(self.hole.end.max(offset)) })
    }

    pub(super) fn has_incompat(&self, feature: Incompat) -> bool {
        self.sb.incompat().contains(feature)
    }

    pub(super) fn has_ro_compat(&self, feature: RoCompat) -> bool {
        self.sb.ro_compat().contains(feature)
    }
}
