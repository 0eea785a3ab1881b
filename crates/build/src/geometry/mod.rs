//! The shape of a file system: groups, inodes, descriptors, where metadata lies. Arithmetic only; nothing is allocated here.
//!
//! The rules of size are mke2fs's (`ext2fs_initialize`, e2fsprogs 1.47): inode counts are rounded up to fill table blocks, a
//! last group too small to be of use is given up, reserved descriptor blocks allow growing 1,024 times.

mod metadata;

pub use metadata::{MetadataMap, Segments};

use crate::params::{InodeCount, Params};
use daxkit_format::OnDisk;
use daxkit_format::ext4::features::{Compat, Features, Incompat, RoCompat};
use daxkit_format::ext4::super_block::SuperBlock;
use std::ops::Range;

/// Why no file system of this shape can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GeometryError {
    /// Fewer blocks than the metadata takes.
    #[error("{blocks} blocks of {block_size} bytes are too few for a file system of this shape")]
    TooSmall {
        /// Blocks asked for.
        blocks: u64,
        /// Their size in bytes.
        block_size: u32,
    },
    /// More blocks than the features can number.
    #[error("{blocks} blocks are more than {limit}, the most these features allow")]
    TooLarge {
        /// Blocks asked for.
        blocks: u64,
        /// The limit.
        limit: u64,
    },
    /// More inodes than the format can hold or the groups have room for.
    #[error("{inodes} inodes do not fit: {reason}")]
    Inodes {
        /// Inodes asked for.
        inodes: u64,
        /// What stands against it.
        reason: &'static str,
    },
    /// Blocks per group out of range.
    #[error("{blocks_per_group} blocks per group: must be a multiple of 8 from 256 to {limit}")]
    BlocksPerGroup {
        /// What was asked for.
        blocks_per_group: u32,
        /// The most that is possible.
        limit: u32,
    },
}

/// The shape of one file system.
#[derive(Debug, Clone)]
pub struct Geometry {
    /// Bytes in a block.
    pub block_size: u32,
    /// Blocks in a cluster, a power of two; 1 without bigalloc.
    pub cluster_ratio: u32,
    /// 1 for blocks of 1 KiB, else 0.
    pub first_data_block: u32,
    /// Blocks in the file system; may be fewer than asked for.
    pub blocks_count: u64,
    /// Blocks in a group.
    pub blocks_per_group: u32,
    /// Number of groups.
    pub groups: u32,
    /// Inodes in a group.
    pub inodes_per_group: u32,
    /// Bytes of an inode.
    pub inode_size: u16,
    /// Blocks of one inode table.
    pub itable_blocks: u32,
    /// Bytes of a descriptor.
    pub desc_size: u16,
    /// Blocks of the descriptor table.
    pub desc_blocks: u32,
    /// Blocks reserved behind the descriptors for growing.
    pub reserved_gdt: u32,
    /// Features, `meta_bg` added and `resize_inode` taken away where the size forces it.
    pub features: Features,
    /// Superblock with the fields that decide where backups lie.
    backups: SuperBlock,
}

/// Largest number of clusters in a group: the free count of a 32-byte descriptor has 16 bits.
const MAX_CLUSTERS_PER_GROUP: u32 = 65528;
/// Blocks a last group must have beyond its metadata to be worth it.
const WORTHWHILE: u64 = 50;

impl Geometry {
    /// The shape for `params`; `needed_inodes` are those the content takes, the reserved ones not counted.
    ///
    /// # Errors
    /// See [`GeometryError`].
    pub fn new(params: &Params, needed_inodes: u64) -> Result<Self, GeometryError> {
        let bs = params.block_size;
        let ratio = (params.cluster_size / bs).max(1);
        let max_bpg = (bs * 8).min(MAX_CLUSTERS_PER_GROUP).saturating_mul(ratio);
        let first_data_block = u32::from(params.cluster_size == 1024);
        let asked = params.blocks_count / u64::from(ratio) * u64::from(ratio);
        let limit = if params.features.incompat.contains(Incompat::BIT64) { 1 << 48 } else { u64::from(u32::MAX) };
        if asked > limit {
            return Err(GeometryError::TooLarge { blocks: asked, limit });
        }
        if let Some(bpg) = params.blocks_per_group
            && (bpg % 8 != 0 || bpg < 256 || bpg > max_bpg || bpg % ratio != 0)
        {
            return Err(GeometryError::BlocksPerGroup { blocks_per_group: bpg, limit: max_bpg });
        }
        let mut g = Self {
            block_size: bs,
            cluster_ratio: ratio,
            first_data_block,
            blocks_count: asked,
            blocks_per_group: params.blocks_per_group.unwrap_or(max_bpg),
            groups: 0,
            inodes_per_group: 0,
            inode_size: params.inode_size,
            itable_blocks: 0,
            desc_size: params.desc_size,
            desc_blocks: 0,
            reserved_gdt: 0,
            features: params.features,
            backups: SuperBlock::zeroed(),
        };
        loop {
            g.count_groups()?;
            if !g.count_inodes(params, needed_inodes)? {
                // Too many inodes for the groups there are: smaller groups make more of them.
                let smaller = g.blocks_per_group / 2 / (8 * ratio) * (8 * ratio);
                if params.blocks_per_group.is_some() || smaller < 256 * ratio {
                    return Err(GeometryError::Inodes {
                        inodes: requested_inodes(params, asked, needed_inodes),
                        reason: "the groups have no room for them",
                    });
                }
                g.blocks_per_group = smaller;
                g.blocks_count = asked;
                continue;
            }
            g.count_descriptors(params);
            if !g.drop_small_last_group()? {
                break;
            }
        }
        Ok(g)
    }

    fn count_groups(&mut self) -> Result<(), GeometryError> {
        let small = GeometryError::TooSmall { blocks: self.blocks_count, block_size: self.block_size };
        let blocks = self.blocks_count.checked_sub(u64::from(self.first_data_block)).filter(|b| *b > 0).ok_or(small)?;
        let groups = blocks.div_ceil(u64::from(self.blocks_per_group));
        self.groups = u32::try_from(groups).map_err(|_| GeometryError::TooLarge {
            blocks: self.blocks_count,
            limit: u64::from(u32::MAX) * u64::from(self.blocks_per_group),
        })?;
        Ok(())
    }

    /// `Ok(false)` when the groups are too few for the inodes.
    fn count_inodes(&mut self, params: &Params, needed: u64) -> Result<bool, GeometryError> {
        let wanted = requested_inodes(params, params.blocks_count, needed).max(16);
        let (bs, isize) = (self.block_size, u32::from(self.inode_size));
        let per_block = bs / isize;
        let max_ipg = (bs * 8).min(65536 - per_block);
        let mut ipg = wanted.div_ceil(u64::from(self.groups)).max(8);
        if ipg > u64::from(max_ipg) {
            // A ratio may be rounded down; a count, and what the content needs, may not.
            let least = match params.inodes {
                InodeCount::Ratio(_) => 0,
                InodeCount::Exact(n) => n,
                InodeCount::Content { .. } => for_content(needed),
            };
            if least > u64::from(max_ipg) * u64::from(self.groups) {
                return Ok(false);
            }
            ipg = u64::from(max_ipg);
        }
        let ipg = ipg as u32;
        let mut blocks = (ipg * isize).div_ceil(bs);
        let fill = |blocks: u32| (blocks * per_block).min(max_ipg) & !7;
        // Whole table blocks, and a multiple of eight inodes so that bitmap bytes are whole.
        while fill(blocks) < ipg.min(max_ipg & !7) || fill(blocks) == 0 {
            blocks += 1;
        }
        let mut ipg = fill(blocks);
        let total = u64::from(ipg) * u64::from(self.groups);
        if total > u64::from(u32::MAX) {
            // Fewer then, down to eight in a table block that has room for more.
            ipg = (u32::MAX / self.groups) & !7;
            if matches!(params.inodes, InodeCount::Exact(_)) || ipg == 0 {
                return Err(GeometryError::Inodes {
                    inodes: total,
                    reason: "more than 2^32 - 1 in all groups together",
                });
            }
        }
        self.inodes_per_group = ipg;
        self.itable_blocks = (self.inodes_per_group * isize).div_ceil(bs);
        Ok(true)
    }

    fn count_descriptors(&mut self, params: &Params) {
        let per_block = u64::from(self.block_size / u32::from(self.desc_size));
        self.desc_blocks = u64::from(self.groups).div_ceil(per_block) as u32;
        self.reserved_gdt = 0;
        if self.features.compat.contains(Compat::RESIZE_INODE) && self.blocks_count > u64::from(u32::MAX) {
            // The resize inode's maps hold 32-bit block numbers.
            self.features.compat.remove(Compat::RESIZE_INODE);
        }
        if self.features.compat.contains(Compat::RESIZE_INODE) {
            let most =
                params.resize_max.unwrap_or_else(|| self.blocks_count.saturating_mul(1024)).min(u64::from(u32::MAX));
            let groups =
                most.saturating_sub(u64::from(self.first_data_block)).div_ceil(u64::from(self.blocks_per_group));
            let blocks = groups.div_ceil(per_block).saturating_sub(u64::from(self.desc_blocks));
            self.reserved_gdt = blocks.min(u64::from(self.block_size / 4)) as u32;
        }
        if self.reserved_gdt + self.desc_blocks > self.blocks_per_group / 4 * 3 {
            self.features.incompat.insert(Incompat::META_BG);
            self.features.compat.remove(Compat::RESIZE_INODE);
            self.reserved_gdt = 0;
        }
        let sb = &mut self.backups;
        sb.s_feature_compat.set(self.features.compat.bits());
        sb.s_feature_ro_compat.set(self.features.ro_compat.bits());
        if self.features.compat.contains(Compat::SPARSE_SUPER2) {
            let last = self.groups - 1;
            let first = u32::from(params.num_backup_sb >= 1 && last >= 1);
            let second = if params.num_backup_sb >= 2 && last >= 2 { last } else { 0 };
            sb.s_backup_bgs = [first.into(), second.into()];
        }
    }

    /// Gives up a last group that is hardly larger than its metadata; `true` when that changed the shape.
    fn drop_small_last_group(&mut self) -> Result<bool, GeometryError> {
        let rest = (self.blocks_count - u64::from(self.first_data_block)) % u64::from(self.blocks_per_group);
        let overhead = u64::from(self.base_len(self.groups - 1)) + 2 + u64::from(self.itable_blocks);
        let size = if rest == 0 { u64::from(self.blocks_per_group) } else { rest };
        if size < overhead && (self.groups == 1 || rest == 0) {
            return Err(GeometryError::TooSmall { blocks: self.blocks_count, block_size: self.block_size });
        }
        if self.groups > 1 && rest != 0 && rest < overhead + WORTHWHILE {
            self.blocks_count -= rest;
            return Ok(true);
        }
        Ok(false)
    }

    /// First block of a group.
    #[must_use]
    pub fn group_first(&self, group: u32) -> u64 {
        u64::from(self.first_data_block) + u64::from(group) * u64::from(self.blocks_per_group)
    }

    /// The blocks of a group.
    #[must_use]
    pub fn group_range(&self, group: u32) -> Range<u64> {
        let first = self.group_first(group);
        first..(first + u64::from(self.blocks_per_group)).min(self.blocks_count)
    }

    /// The group a block lies in.
    #[must_use]
    pub fn group_of(&self, block: u64) -> u32 {
        (block.saturating_sub(u64::from(self.first_data_block)) / u64::from(self.blocks_per_group)) as u32
    }

    /// True when the group begins with a copy of the superblock.
    #[must_use]
    pub fn has_super(&self, group: u32) -> bool {
        self.backups.group_has_super(group)
    }

    /// `s_backup_bgs`.
    #[must_use]
    pub fn backup_bgs(&self) -> [u32; 2] {
        self.backups.s_backup_bgs.map(|g| g.get())
    }

    /// True when descriptors lie in their meta block groups.
    #[must_use]
    pub fn meta_bg(&self) -> bool {
        self.features.incompat.contains(Incompat::META_BG)
    }

    /// Descriptors in a block, which is also the number of groups in a meta block group.
    #[must_use]
    pub fn descs_per_block(&self) -> u32 {
        self.block_size / u32::from(self.desc_size)
    }

    /// Block of the superblock's copy in a group that has one. With bigalloc over blocks of 1 KiB the boot block comes first.
    #[must_use]
    pub fn super_block_nr(&self, group: u32) -> u64 {
        let first = self.group_first(group);
        if first == 0 && self.block_size == 1024 { 1 } else { first }
    }

    /// Where a group's superblock copy, descriptors and reserved descriptor blocks lie; empty in a group without.
    #[must_use]
    pub fn base_range(&self, group: u32) -> Range<u64> {
        let first = self.group_first(group);
        first..first + u64::from(self.base_len(group))
    }

    fn base_len(&self, group: u32) -> u32 {
        let boot = u32::from(group == 0 && self.block_size == 1024 && self.first_data_block == 0);
        let sb = u32::from(self.has_super(group));
        let table = if self.meta_bg() {
            u32::from(self.is_meta_desc_group(group))
        } else if self.has_super(group) {
            self.desc_blocks + self.reserved_gdt
        } else {
            0
        };
        if sb + table == 0 { 0 } else { boot + sb + table }
    }

    fn is_meta_desc_group(&self, group: u32) -> bool {
        let n = self.descs_per_block();
        let at = group % n;
        at == 0 || at == 1 || at == n - 1
    }

    /// All places where descriptor block `index` (of the whole table) lies, the primary first.
    #[must_use]
    pub fn desc_block_places(&self, index: u32) -> Vec<u64> {
        if self.meta_bg() {
            let n = self.descs_per_block();
            let first = index * n;
            return [0, 1, n - 1]
                .iter()
                .filter_map(|k| first.checked_add(*k))
                .filter(|g| *g < self.groups)
                .map(|g| self.base_range(g).end - 1)
                .collect();
        }
        self.super_groups().map(|g| self.super_block_nr(g) + 1 + u64::from(index)).collect()
    }

    /// The groups with a copy of the superblock, group 0 first.
    pub fn super_groups(&self) -> impl Iterator<Item = u32> + '_ {
        // All powers and their neighbours are few; without sparse_super every group has a copy.
        let sparse = self.features.ro_compat.contains(RoCompat::SPARSE_SUPER)
            || self.features.compat.contains(Compat::SPARSE_SUPER2);
        let candidates: Box<dyn Iterator<Item = u32>> =
            if sparse { Box::new(self.sparse_candidates().into_iter()) } else { Box::new(0..self.groups) };
        candidates.filter(|g| *g < self.groups && self.has_super(*g))
    }

    fn sparse_candidates(&self) -> Vec<u32> {
        let mut all = vec![0, 1];
        all.extend(self.backup_bgs());
        for base in [3u32, 5, 7] {
            let mut g = base;
            while g < self.groups {
                all.push(g);
                let Some(next) = g.checked_mul(base) else { break };
                g = next;
            }
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Inodes in the whole file system.
    #[must_use]
    pub fn inodes_count(&self) -> u32 {
        self.inodes_per_group.saturating_mul(self.groups)
    }

    /// Bytes from the start of the file system to a block.
    #[must_use]
    pub fn offset(&self, block: u64) -> u64 {
        block * u64::from(self.block_size)
    }

    /// Clusters in a group's full bitmap.
    #[must_use]
    pub fn clusters_per_group(&self) -> u32 {
        self.blocks_per_group / self.cluster_ratio
    }
}

fn requested_inodes(params: &Params, blocks: u64, needed: u64) -> u64 {
    let bytes = blocks.saturating_mul(u64::from(params.block_size));
    match params.inodes {
        InodeCount::Exact(n) => n,
        InodeCount::Ratio(r) => bytes / u64::from(r.max(1)),
        InodeCount::Content { ratio } => (bytes / u64::from(ratio.max(1))).max(for_content(needed)),
    }
}

/// What the content takes and a reserve of an eighth, at least 64.
fn for_content(needed: u64) -> u64 {
    needed.saturating_add((needed / 8).max(64)).saturating_add(16)
}
