//! The resize inode: which descriptor blocks are kept free for growing, and where their copies are.

use daxkit_format::ext4::features::Compat;
use daxkit_format::ext4::resize_inode::dind_index;
use daxkit_format::{BlockNr, InodeNr};

use super::error::{Corruption, Place, VolumeError};
use super::open::Volume;

/// One reserved descriptor block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservedGdt {
    /// The block in group 0, which is also the indirect block that lists the copies.
    pub block: BlockNr,
    /// Its copies in the backup groups, in order.
    pub copies: Vec<BlockNr>,
}

impl Volume {
    /// The reserved descriptor blocks that the resize inode lists; empty without the feature.
    ///
    /// # Errors
    /// The inode or one of its blocks names what cannot be, or the device failed.
    pub fn reserved_gdt(&self) -> Result<Vec<ReservedGdt>, VolumeError> {
        if !self.has_compat(Compat::RESIZE_INODE) {
            return Ok(Vec::new());
        }
        let g = self.geometry();
        let inode = self.inode(InodeNr::RESIZE)?;
        // Word 13 of the map: the double-indirect block.
        let dind = inode.i_block.get(52..56).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
        if dind == 0 {
            return Ok(Vec::new());
        }
        let numbers = |block: u32| -> Result<Vec<u32>, VolumeError> {
            let at = BlockNr(block.into());
            if !g.has_blocks(at.get(), 1) {
                let why = Corruption::BlockRange { first: at.get(), last: at.get(), limit: g.blocks_count };
                return Err(VolumeError::bad_inode(InodeNr::RESIZE, why));
            }
            let bytes = self.block(Place::InodeBlock { inode: InodeNr::RESIZE, block: at, offset: 0 }, at)?;
            Ok(bytes.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect())
        };
        let table = numbers(dind)?;
        let mut reserved = Vec::new();
        for step in 0..u32::from(g.reserved_gdt_blocks) {
            let index = dind_index(g.desc_blocks.saturating_add(step), g.block_size);
            let block = table.get(index as usize).copied().unwrap_or(0);
            if block == 0 {
                continue;
            }
            let copies = numbers(block)?.into_iter().filter(|c| *c != 0).map(|c| BlockNr(c.into())).collect();
            reserved.push(ReservedGdt { block: BlockNr(block.into()), copies });
        }
        Ok(reserved)
    }
}
