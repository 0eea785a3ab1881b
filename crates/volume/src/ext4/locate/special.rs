//! Structures that an image has once: multiple mount protection, quota files, the orphan file.

use daxkit_format::OnDisk;
use daxkit_format::ext4::features::{Compat, Incompat};
use daxkit_format::ext4::quota::{
    BLOCK_SIZE, DqBlk, DqDataHeader, DqHeader, ENTRIES_PER_BLOCK, QuotaKind, TREE_DEPTH, TREE_ROOT, tree_index,
};
use daxkit_format::field::{Object, Structure};
use std::ops::Range;
use zerocopy::IntoBytes;

use super::super::seal::{Kind, Seal};
use super::finder::{Finder, absent};
use super::inode::Found;
use super::{Absent, LocateError, Spot};

impl Finder<'_> {
    pub(super) fn mmp_block(&self, object: &Object) -> Result<Spot, LocateError> {
        if !self.volume.has_incompat(Incompat::MMP) {
            return Err(absent(object, Absent::NoMmp));
        }
        let block = self.block(self.volume.super_block().s_mmp_block.get())?;
        Ok(Spot::one(Structure::MmpStruct, block.range(), self.mmp_seal(block.at).into_iter().collect()))
    }

    pub(super) fn mmp_seal(&self, at: u64) -> Option<Seal> {
        Some(Seal(Kind::Mmp { at, fs: self.seed? }))
    }

    pub(super) fn quota(&self, object: &Object, kind: QuotaKind, id: Option<u32>) -> Result<Spot, LocateError> {
        let nr = self.volume.quota_inode(kind).ok_or_else(|| absent(object, Absent::NoQuota))?;
        let found = self.inode_by_number(nr.get())?;
        let Some(id) = id else {
            let head = self.quota_block(object, &found, 0)?;
            let spot = Spot::one(Structure::DqHeader, head, Vec::new());
            return Ok(spot.with(Structure::DqInfo, size_of::<DqHeader>() as u64));
        };
        let mut number = TREE_ROOT;
        for depth in 0..TREE_DEPTH {
            let block = self.quota_block(object, &found, number)?;
            let at = block.start.saturating_add(tree_index(id, depth) as u64 * 4);
            let next = self.word(object, at)?.ok_or_else(|| absent(object, Absent::NoQuotaId))?;
            number = u32::try_from(next).unwrap_or(u32::MAX);
        }
        let block = self.quota_block(object, &found, number)?;
        let bytes = self.read(object, block.clone())?;
        let entries = bytes.get(size_of::<DqDataHeader>()..).unwrap_or_default();
        let slot = entries.chunks_exact(size_of::<DqBlk>()).take(ENTRIES_PER_BLOCK).position(|e| {
            // An entry that is all zero is not in use.
            DqBlk::peek(e).is_some_and(|e| e.dqb_id.get() == id && e.as_bytes().iter().any(|b| *b != 0))
        });
        let slot = slot.ok_or_else(|| absent(object, Absent::NoQuotaId))?;
        let start = block.start.saturating_add((size_of::<DqDataHeader>() + slot * size_of::<DqBlk>()) as u64);
        // Quota files have no checksums.
        Ok(Spot::one(Structure::DqBlk, start..start.saturating_add(size_of::<DqBlk>() as u64), Vec::new()))
    }

    /// Where block `number` of a quota file lies; its blocks have a size of their own.
    fn quota_block(&self, object: &Object, found: &Found, number: u32) -> Result<Range<u64>, LocateError> {
        let byte = u64::from(number) * BLOCK_SIZE as u64;
        let shift = self.volume.geometry().block_shift();
        let block = self.mapped(object, found, byte >> shift)?;
        let start = block.at.saturating_add(byte & (self.block_size() - 1));
        Ok(start..start.saturating_add(BLOCK_SIZE as u64))
    }

    pub(super) fn orphan_block(&self, object: &Object, logical: u64) -> Result<Spot, LocateError> {
        if !self.volume.has_compat(Compat::ORPHAN_FILE) {
            return Err(absent(object, Absent::NoOrphanFile));
        }
        let found = self.inode_by_number(self.volume.super_block().s_orphan_file_inum.get().into())?;
        let block = self.mapped(object, &found, logical)?;
        let seals = self.content_seals(object, &found, block, logical)?;
        let tail = u64::from(block.len).saturating_sub(Structure::OrphanBlockTail.size() as u64);
        Ok(Spot::plain(block.range(), seals).with(Structure::OrphanBlockTail, tail))
    }
}
