//! Quota files: usage and limits by id (format `vfsv1`, Linux `fs/quota/quota_tree.c`).
//!
//! The tree is four levels of blocks of 1 KiB. Every block is visited once; a tree that leads to a block a second time is
//! refused.

use std::collections::{BTreeMap, HashSet};

use daxkit_format::ext4::features::RoCompat;
use daxkit_format::ext4::quota::{
    BLOCK_SIZE, DqBlk, DqDataHeader, DqHeader, DqInfo, QuotaKind, TREE_DEPTH, TREE_ROOT, VERSION_R1,
};
use daxkit_format::{InodeNr, OnDisk};
use zerocopy::IntoBytes;

use super::error::{Corruption, VolumeError};
use super::inode::Inode;
use super::open::Volume;

/// The content of one quota file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaFile {
    /// Grace times and the shape of the tree.
    pub info: DqInfo,
    /// Usage and limits by id.
    pub entries: BTreeMap<u32, DqBlk>,
}

impl Volume {
    /// The inode that holds a quota file; `None` when there is none of this kind.
    #[must_use]
    pub fn quota_inode(&self, kind: QuotaKind) -> Option<InodeNr> {
        let sb = self.super_block();
        let number = match kind {
            QuotaKind::User => sb.s_usr_quota_inum.get(),
            QuotaKind::Group => sb.s_grp_quota_inum.get(),
            QuotaKind::Project => sb.s_prj_quota_inum.get(),
        };
        (self.has_ro_compat(RoCompat::QUOTA) && number != 0).then_some(InodeNr(number.into()))
    }

    /// Reads a quota file; `None` when there is none of this kind.
    ///
    /// # Errors
    /// Its head is not one, its tree leads out of the file or in a circle, or the device failed.
    pub fn quota(&self, kind: QuotaKind) -> Result<Option<QuotaFile>, VolumeError> {
        let Some(nr) = self.quota_inode(kind) else { return Ok(None) };
        let inode = self.inode(nr)?;
        let info = self.quota_info(kind, &inode)?;
        // The last block may be cut: what is not there is zero. Blocks beyond those that the head counts are none of the tree.
        let there = u32::try_from(inode.size().div_ceil(BLOCK_SIZE as u64)).unwrap_or(u32::MAX);
        let limit = info.dqi_blocks.get();
        if limit > there {
            return Err(VolumeError::bad_inode(nr, Corruption::QuotaTree { block: limit, limit: there }));
        }
        let mut seen = HashSet::from([0]);
        let mut entries = BTreeMap::new();
        let mut todo = vec![(TREE_ROOT, 0)];
        while let Some((block, depth)) = todo.pop() {
            // Several ids may share a leaf, and come to it from several places.
            if block >= limit || (!seen.insert(block) && depth < TREE_DEPTH) {
                return Err(VolumeError::bad_inode(nr, Corruption::QuotaTree { block, limit }));
            }
            let bytes = self.quota_block(&inode, block)?;
            if depth == TREE_DEPTH {
                for entry in leaf_entries(&bytes) {
                    entries.insert(entry.dqb_id.get(), entry);
                }
                continue;
            }
            let mut below: Vec<u32> = bytes.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect();
            below.retain(|b| *b != 0);
            below.dedup();
            if depth + 1 == TREE_DEPTH {
                below.retain(|b| !seen.contains(b) || *b >= limit);
                below.sort_unstable();
                below.dedup();
            }
            todo.extend(below.into_iter().rev().map(|b| (b, depth + 1)));
        }
        Ok(Some(QuotaFile { info, entries }))
    }

    /// The head of a quota file: grace times and the shape of the tree.
    pub(crate) fn quota_info(&self, kind: QuotaKind, inode: &Inode) -> Result<DqInfo, VolumeError> {
        let head = self.quota_block(inode, 0)?;
        let header = DqHeader::peek(&head).copied().unwrap_or_else(OnDisk::zeroed);
        let (magic, version) = (header.dqh_magic.get(), header.dqh_version.get());
        if magic != kind.magic() || version != VERSION_R1 {
            return Err(VolumeError::bad_inode(inode.nr(), Corruption::QuotaHeader { magic, version }));
        }
        let rest = head.get(size_of::<DqHeader>()..).unwrap_or_default();
        Ok(DqInfo::peek(rest).copied().unwrap_or_else(OnDisk::zeroed))
    }

    pub(crate) fn quota_block(&self, inode: &Inode, block: u32) -> Result<Vec<u8>, VolumeError> {
        let from = u64::from(block) * BLOCK_SIZE as u64;
        let mut bytes = self.read_file(inode, from..from + BLOCK_SIZE as u64)?;
        bytes.resize(BLOCK_SIZE, 0);
        Ok(bytes)
    }
}

/// The entries of a leaf that are in use: one that is all zero is not.
fn leaf_entries(block: &[u8]) -> impl Iterator<Item = DqBlk> + '_ {
    block
        .get(size_of::<DqDataHeader>()..)
        .unwrap_or_default()
        .chunks_exact(size_of::<DqBlk>())
        .filter_map(DqBlk::peek)
        .filter(|e| e.as_bytes().iter().any(|b| *b != 0))
        .copied()
}
