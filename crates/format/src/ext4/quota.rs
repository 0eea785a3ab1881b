//! Quota files, format `vfsv1` (`struct v2_disk_dqheader`, `v2_disk_dqinfo`, `v2r1_disk_dqblk`, `qt_disk_dqdbheader`;
//! Linux `fs/quota/quotaio_v2.h`, `quota_tree.h`): a radix tree over ids, in blocks of 1 KiB.

use crate::on_disk::OnDisk;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

/// Size of a block of a quota file, whatever the file system's (`1 << V2_DQBLKSIZE_BITS`).
pub const BLOCK_SIZE: usize = 1024;
/// Block of the tree's root (`QT_TREEOFF`).
pub const TREE_ROOT: u32 = 1;
/// Levels of the tree over 32-bit ids with 256 references a block.
pub const TREE_DEPTH: u32 = 4;
/// `dqh_version` of `vfsv1`.
pub const VERSION_R1: u32 = 1;
/// Seconds a soft limit may be exceeded, when nobody says otherwise: a week.
pub const DEFAULT_GRACE: u32 = 7 * 24 * 60 * 60;

/// The three kinds of quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuotaKind {
    /// By owner.
    User,
    /// By group.
    Group,
    /// By project.
    Project,
}

impl QuotaKind {
    /// All of them, in the order of their inode numbers in the superblock.
    pub const ALL: [Self; 3] = [Self::User, Self::Group, Self::Project];

    /// `dqh_magic` (`V2_INITQMAGICS`).
    #[must_use]
    pub const fn magic(self) -> u32 {
        match self {
            Self::User => 0xD9C0_1F11,
            Self::Group => 0xD9C0_1927,
            Self::Project => 0xD9C0_3F14,
        }
    }
}

on_disk! {
    /// Head of the file.
    pub struct DqHeader("v2_disk_dqheader", 8) {
        0 dqh_magic: U32,
        4 dqh_version: U32,
    }
}

on_disk! {
    /// Behind the head: grace times and the shape of the tree.
    pub struct DqInfo("v2_disk_dqinfo", 24) {
        0x00 dqi_bgrace: U32,
        0x04 dqi_igrace: U32,
        0x08 dqi_flags: U32,
        0x0C dqi_blocks: U32,
        0x10 dqi_free_blk: U32,
        0x14 dqi_free_entry: U32,
    }
}

/// What a quota file begins with: head and shape, with the usual grace times. `blocks` that it has, and the leaf with room, 0 for none.
#[must_use]
pub fn file_head(kind: QuotaKind, blocks: u32, free_entry: u32) -> Vec<u8> {
    let mut header = DqHeader::zeroed();
    header.dqh_magic.set(kind.magic());
    header.dqh_version.set(VERSION_R1);
    let mut info = DqInfo::zeroed();
    info.dqi_bgrace.set(DEFAULT_GRACE);
    info.dqi_igrace.set(DEFAULT_GRACE);
    info.dqi_blocks.set(blocks);
    info.dqi_free_entry.set(free_entry);
    [header.as_bytes(), info.as_bytes()].concat()
}

/// A quota file in which nobody has anything: the head, and the root of a tree without leaves.
#[must_use]
pub fn empty_file(kind: QuotaKind) -> Vec<u8> {
    let mut file = file_head(kind, TREE_ROOT + 1, 0);
    file.resize((TREE_ROOT as usize + 1) * BLOCK_SIZE, 0);
    file
}

on_disk! {
    /// Head of a leaf block.
    pub struct DqDataHeader("qt_disk_dqdbheader", 16) {
        0x00 dqdh_next_free: U32,
        0x04 dqdh_prev_free: U32,
        0x08 dqdh_entries: U16,
        0x0A dqdh_pad1: U16,
        0x0C dqdh_pad2: U32,
    }
}

on_disk! {
    /// Usage and limits of one id. Space is in bytes, limits in units of 1 KiB.
    pub struct DqBlk("v2r1_disk_dqblk", 72) {
        0x00 dqb_id: U32,
        0x04 dqb_pad: U32,
        0x08 dqb_ihardlimit: U64,
        0x10 dqb_isoftlimit: U64,
        0x18 dqb_curinodes: U64,
        0x20 dqb_bhardlimit: U64,
        0x28 dqb_bsoftlimit: U64,
        0x30 dqb_curspace: U64,
        0x38 dqb_btime: U64,
        0x40 dqb_itime: U64,
    }
}

/// Entries in a leaf block.
pub const ENTRIES_PER_BLOCK: usize = (BLOCK_SIZE - size_of::<DqDataHeader>()) / size_of::<DqBlk>();

/// Which reference of a tree block at `depth` (0 for the root) leads to `id`.
#[must_use]
pub const fn tree_index(id: u32, depth: u32) -> usize {
    ((id >> ((TREE_DEPTH - 1 - depth) * 8)) & 0xff) as usize
}
