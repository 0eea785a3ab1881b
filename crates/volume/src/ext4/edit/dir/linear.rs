//! Directories of blocks, one after the other, and what is common to every block of entries.

use daxkit_format::BlockNr;
use daxkit_format::ext4::dir_block::NewEntry;
use daxkit_format::ext4::dir_entry::{self, EntryError};
use daxkit_format::ext4::dx;
use daxkit_format::ext4::features::{Compat, Incompat};
use daxkit_format::ext4::inode_flags::InodeFlags;

use super::super::super::dir::DirEntry;
use super::super::super::error::{Place, VolumeError};
use super::super::super::inode::Inode;
use super::super::{EditError, Editor};

/// Damage of a block of a directory.
pub(super) fn bad_block(dir: &Inode, block: BlockNr, why: EntryError) -> EditError {
    VolumeError::corrupt(Place::InodeBlock { inode: dir.nr(), block, offset: 0 }, why).into()
}

impl Editor<'_> {
    /// Adds an entry to the first block that has room, or to a new one. A directory of one block becomes a hashed one
    /// instead of growing (`ext4_add_entry`).
    pub(super) fn add_linear(&mut self, dir: &mut Inode, new: &NewEntry<'_>) -> Result<(), EditError> {
        let blocks = dir.size() >> self.geometry().block_shift();
        for logical in 0..blocks {
            if let Some((block, bytes)) = self.dir_block(dir, logical)?
                && self.add_to_block(dir, block, &bytes, new)?
            {
                return Ok(());
            }
        }
        if blocks == 1 && self.has_compat(Compat::DIR_INDEX) && self.make_indexed(dir)? {
            return self.add_indexed(dir, new);
        }
        let (block, mut bytes) = self.append_empty(dir)?;
        let area = self.dir_area();
        let style = self.entry_style();
        style.add(bytes.get_mut(..area).unwrap_or_default(), new).map_err(|e| bad_block(dir, block, e))?;
        self.write_leaf(dir, block, &mut bytes)
    }

    /// Adds an entry to a block; false when it has no room.
    pub(super) fn add_to_block(
        &mut self,
        dir: &Inode,
        block: BlockNr,
        bytes: &[u8],
        new: &NewEntry<'_>,
    ) -> Result<bool, EditError> {
        let mut bytes = bytes.to_vec();
        let area = bytes.get_mut(..self.dir_area()).unwrap_or_default();
        if !self.entry_style().add(area, new).map_err(|e| bad_block(dir, block, e))? {
            return Ok(false);
        }
        self.write_leaf(dir, block, &mut bytes)?;
        Ok(true)
    }

    pub(super) fn remove_from_block(&mut self, dir: &Inode, block: BlockNr, at: usize) -> Result<(), EditError> {
        let mut bytes = self.read_block(block)?;
        let area = bytes.get_mut(..self.dir_area()).unwrap_or_default();
        self.entry_style().remove(area, at).map_err(|e| bad_block(dir, block, e))?;
        self.write_leaf(dir, block, &mut bytes)
    }

    pub(super) fn retarget_in_block(
        &mut self,
        dir: &Inode,
        block: BlockNr,
        entry: &DirEntry,
        inode: u32,
        file_type: u8,
    ) -> Result<(), EditError> {
        let mut bytes = self.read_block(block)?;
        self.entry_style().set_target(&mut bytes, entry.offset as usize, inode, file_type);
        // `.` and `..` of a hashed directory stand in the root of its index.
        let root = dir.flags().contains(InodeFlags::INDEX)
            && entry.logical == 0
            && dx::entries_offset(&bytes) == Some(dx::ROOT_ENTRIES);
        if root {
            self.write_index(dir, block, dx::ROOT_ENTRIES, &mut bytes)
        } else {
            self.write_leaf(dir, block, &mut bytes)
        }
    }

    /// Appends a block with one unused entry; where it lies, and its bytes, which are not written yet.
    pub(super) fn append_unwritten(&mut self, dir: &mut Inode) -> Result<(u32, BlockNr, Vec<u8>), EditError> {
        let bs = self.block_size();
        let wide = self.has_incompat(Incompat::LARGEDIR);
        let size = dir.size().saturating_add(bs.into());
        if !wide && size > u32::MAX.into() {
            return Err(EditError::FileTooLarge { inode: dir.nr(), size });
        }
        let (logical, block) = self.append_block(dir)?;
        let mut bytes = vec![0; bs as usize];
        self.entry_style().clear(bytes.get_mut(..self.dir_area()).unwrap_or_default());
        // Indexes name blocks with 28 bits.
        let logical = u32::try_from(logical).ok().filter(|l| *l < 1 << 28);
        Ok((logical.ok_or(EditError::FileTooLarge { inode: dir.nr(), size })?, block, bytes))
    }

    /// Appends a block with one unused entry.
    pub(super) fn append_empty(&mut self, dir: &mut Inode) -> Result<(BlockNr, Vec<u8>), EditError> {
        let (_, block, mut bytes) = self.append_unwritten(dir)?;
        self.write_leaf(dir, block, &mut bytes)?;
        Ok((block, bytes))
    }

    /// Writes a block of entries, sealed.
    pub(in super::super) fn write_leaf(
        &mut self,
        dir: &Inode,
        block: BlockNr,
        bytes: &mut [u8],
    ) -> Result<(), EditError> {
        if let Some(seed) = self.inode_seal_seed(dir) {
            dir_entry::seal_block(seed, bytes);
        }
        self.write_block(block, bytes)
    }
}
