//! The numbers of a superblock after they were checked against each other and against the device.
//!
//! Invariant: whoever holds a [`Geometry`] can multiply and divide its numbers without further checks: block size and
//! inode size are powers of two, nothing is zero that is divided by, no product of two leaves 64 bits. The rules are those of
//! `ext4_handle_clustersize`, `ext4_block_group_meta_init`, `ext4_inode_info_init`, `ext4_check_geometry` (Linux 6.12).

use daxkit_format::ext4::features::{Compat, Incompat, RoCompat};
use daxkit_format::ext4::inode::GOOD_OLD_INODE_SIZE;
use daxkit_format::ext4::super_block::SuperBlock;
use daxkit_format::{BlockNr, GroupNr, InodeNr};

/// A number of the superblock that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GeometryError {
    /// A field outside of what is possible.
    #[error("{field} is {value}, allowed is {min} to {max}")]
    Range {
        /// The field's name.
        field: &'static str,
        /// What stands there.
        value: u64,
        /// Least.
        min: u64,
        /// Most.
        max: u64,
    },
    /// A field that has to be a power of two.
    #[error("{field} is {value}, not a power of two")]
    PowerOfTwo {
        /// The field's name.
        field: &'static str,
        /// What stands there.
        value: u64,
    },
    /// A field that has to follow from others.
    #[error("{field} is {value}, the other numbers say {expected}")]
    Mismatch {
        /// The field's name.
        field: &'static str,
        /// What stands there.
        value: u64,
        /// What follows from the others.
        expected: u64,
    },
    /// The device is shorter than the file system.
    #[error("s_blocks_count says {needed} bytes, the device has {found}")]
    Truncated {
        /// Bytes of the file system.
        needed: u64,
        /// Bytes of the device.
        found: u64,
    },
    /// Blocks, first block and blocks a group do not make any group, or too many.
    #[error("no possible number of groups: {blocks} blocks from {first}, {per_group} a group")]
    Groups {
        /// `s_blocks_count`.
        blocks: u64,
        /// `s_first_data_block`.
        first: u32,
        /// `s_blocks_per_group`.
        per_group: u32,
    },
    /// The descriptor table does not fit on the device.
    #[error("the {blocks} blocks of group descriptors do not lie inside the file system")]
    DescriptorTable {
        /// Blocks of the table.
        blocks: u32,
    },
}

/// The shape of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes of a block.
    pub block_size: u32,
    /// Blocks of an allocation cluster; 1 without bigalloc.
    pub cluster_ratio: u32,
    /// Blocks of the file system.
    pub blocks_count: u64,
    /// Block at which group 0 begins.
    pub first_data_block: u64,
    /// Blocks of a group.
    pub blocks_per_group: u32,
    /// Clusters of a group: the bits of its block bitmap.
    pub clusters_per_group: u32,
    /// Number of groups.
    pub groups_count: u32,
    /// Number of inodes.
    pub inodes_count: u32,
    /// Inodes of a group: the bits of its inode bitmap.
    pub inodes_per_group: u32,
    /// Bytes of an inode.
    pub inode_size: u16,
    /// Blocks of a group's inode table.
    pub inode_table_blocks: u32,
    /// First inode that is not reserved.
    pub first_ino: u32,
    /// Bytes of a group descriptor.
    pub desc_size: u16,
    /// Descriptors in a block.
    pub desc_per_block: u32,
    /// Blocks of descriptors.
    pub desc_blocks: u32,
    /// The first descriptor block that lies in its own meta block group; `desc_blocks` without meta_bg.
    pub first_meta_bg: u32,
    /// Blocks kept free behind the descriptors.
    pub reserved_gdt_blocks: u16,
}

fn range(field: &'static str, value: impl Into<u64>, min: u64, max: u64) -> Result<(), GeometryError> {
    let value = value.into();
    if (min..=max).contains(&value) { Ok(()) } else { Err(GeometryError::Range { field, value, min, max }) }
}

fn power_of_two(field: &'static str, value: u64) -> Result<(), GeometryError> {
    if value.is_power_of_two() { Ok(()) } else { Err(GeometryError::PowerOfTwo { field, value }) }
}

impl Geometry {
    /// Checks the numbers of `sb`. `device_len` are the bytes behind the start of the file system; with `truncated` a
    /// device that is too short is no error.
    ///
    /// # Errors
    /// The first number that cannot be.
    pub fn check(sb: &SuperBlock, device_len: u64, truncated: bool) -> Result<Self, GeometryError> {
        range("s_log_block_size", sb.s_log_block_size.get(), 0, 6)?;
        let block_size = 1024u32 << sb.s_log_block_size.get();
        let bits = u64::from(block_size) * 8;

        let bigalloc = sb.ro_compat().contains(RoCompat::BIGALLOC);
        let cluster_ratio = sb.cluster_ratio().ok_or(GeometryError::Range {
            field: "s_log_cluster_size",
            value: sb.s_log_cluster_size.get().into(),
            min: sb.s_log_block_size.get().into(),
            max: u64::from(sb.s_log_block_size.get()) + 16,
        })?;
        let blocks_per_group = sb.s_blocks_per_group.get();
        let clusters_per_group = if bigalloc { sb.s_clusters_per_group.get() } else { blocks_per_group };
        range(if bigalloc { "s_clusters_per_group" } else { "s_blocks_per_group" }, clusters_per_group, 1, bits)?;
        let expected = u64::from(clusters_per_group) * u64::from(cluster_ratio);
        if u64::from(blocks_per_group) != expected {
            return Err(GeometryError::Mismatch {
                field: "s_blocks_per_group",
                value: blocks_per_group.into(),
                expected,
            });
        }

        let inode_size = sb.inode_size();
        range("s_inode_size", inode_size, GOOD_OLD_INODE_SIZE.into(), block_size.into())?;
        power_of_two("s_inode_size", inode_size.into())?;
        let inodes_per_block = block_size / u32::from(inode_size);
        let inodes_per_group = sb.s_inodes_per_group.get();
        range("s_inodes_per_group", inodes_per_group, inodes_per_block.into(), bits)?;
        range("s_first_ino", sb.first_ino(), InodeNr::GOOD_OLD_FIRST.get(), u32::MAX.into())?;

        let desc_size = sb.desc_size();
        if sb.incompat().contains(Incompat::BIT64) {
            range("s_desc_size", desc_size, 64, 1024)?;
            power_of_two("s_desc_size", desc_size.into())?;
        }

        let blocks_count = sb.blocks_count();
        // Byte offsets have to fit in what a file offset can be.
        range("s_blocks_count", blocks_count, 1, i64::MAX as u64 / u64::from(block_size))?;
        let needed = blocks_count * u64::from(block_size);
        if needed > device_len && !truncated {
            return Err(GeometryError::Truncated { needed, found: device_len });
        }
        let first_data_block = sb.s_first_data_block.get();
        let least = u64::from(block_size == 1024 && !bigalloc);
        range("s_first_data_block", first_data_block, least, blocks_count.saturating_sub(1))?;
        let groups_count = sb.groups_count().filter(|g| *g <= u32::MAX / 2).ok_or(GeometryError::Groups {
            blocks: blocks_count,
            first: first_data_block,
            per_group: blocks_per_group,
        })?;
        let inodes_count = sb.s_inodes_count.get();
        let expected = u64::from(groups_count) * u64::from(inodes_per_group);
        if u64::from(inodes_count) != expected && !(truncated && u64::from(inodes_count) < expected) {
            return Err(GeometryError::Mismatch { field: "s_inodes_count", value: inodes_count.into(), expected });
        }

        let desc_per_block = block_size / u32::from(desc_size);
        let desc_blocks = groups_count.div_ceil(desc_per_block);
        let first_meta_bg = if sb.incompat().contains(Incompat::META_BG) {
            range("s_first_meta_bg", sb.s_first_meta_bg.get(), 0, desc_blocks.into())?;
            sb.s_first_meta_bg.get()
        } else {
            desc_blocks
        };
        if u64::from(first_data_block) + 1 + u64::from(first_meta_bg) > blocks_count {
            return Err(GeometryError::DescriptorTable { blocks: first_meta_bg });
        }
        let reserved = if sb.compat().contains(Compat::RESIZE_INODE) { sb.s_reserved_gdt_blocks.get() } else { 0 };
        Ok(Self {
            block_size,
            cluster_ratio,
            blocks_count,
            first_data_block: first_data_block.into(),
            blocks_per_group,
            clusters_per_group,
            groups_count,
            inodes_count,
            inodes_per_group,
            inode_size,
            inode_table_blocks: inodes_per_group.div_ceil(inodes_per_block),
            first_ino: sb.first_ino(),
            desc_size,
            desc_per_block,
            desc_blocks,
            first_meta_bg,
            reserved_gdt_blocks: reserved,
        })
    }

    /// Bytes of the file system.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.blocks_count.saturating_mul(self.block_size.into())
    }

    /// First block of a group.
    #[must_use]
    pub fn group_first_block(&self, group: GroupNr) -> BlockNr {
        BlockNr(self.first_data_block + u64::from(group.get()) * u64::from(self.blocks_per_group))
    }

    /// Blocks of a group: all but the last have the same.
    #[must_use]
    pub fn group_blocks(&self, group: GroupNr) -> u32 {
        let rest = self.blocks_count.saturating_sub(self.group_first_block(group).get());
        u32::try_from(rest).unwrap_or(u32::MAX).min(self.blocks_per_group)
    }

    /// The group of a block; `None` before the first group and past the end.
    #[must_use]
    pub fn group_of_block(&self, block: BlockNr) -> Option<GroupNr> {
        let inside = block.get().checked_sub(self.first_data_block)?;
        let group = u32::try_from(inside / u64::from(self.blocks_per_group)).ok()?;
        (block.get() < self.blocks_count).then_some(GroupNr(group))
    }

    /// The group of an inode and its index in the group's table; `None` for a number of no inode.
    #[must_use]
    pub fn group_of_inode(&self, inode: InodeNr) -> Option<(GroupNr, u32)> {
        let index = u32::try_from(inode.get()).ok()?.checked_sub(1)?;
        (index < self.inodes_count).then_some((GroupNr(index / self.inodes_per_group), index % self.inodes_per_group))
    }

    /// True when the blocks lie inside the file system and not over the superblock (`ext4_inode_block_valid`).
    #[must_use]
    pub fn has_blocks(&self, first: u64, len: u64) -> bool {
        first > self.first_data_block && first.checked_add(len).is_some_and(|end| end <= self.blocks_count)
    }

    /// Log2 of the block size.
    #[must_use]
    pub fn block_shift(&self) -> u32 {
        self.block_size.trailing_zeros()
    }

    /// Blocks that hold `bytes`.
    #[must_use]
    pub fn blocks_for(&self, bytes: u64) -> u64 {
        bytes.div_ceil(self.block_size.into())
    }
}
