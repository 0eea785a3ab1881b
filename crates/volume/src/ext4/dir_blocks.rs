//! Blocks of directories as a whole: how entries are written here, and what becomes of a block when its directory changes shape.

use daxkit_format::InodeNr;
use daxkit_format::OnDisk;
use daxkit_format::ext4::dir_block::{self, EntryStyle};
use daxkit_format::ext4::dir_entry::{self, DirEntry as DiskEntry, Entries};
use daxkit_format::ext4::dx;
use daxkit_format::ext4::features::Incompat;
use daxkit_format::ext4::inline_data::DOTDOT_SIZE;

use super::error::{Corruption, VolumeError};
use super::inode::Inode;
use super::open::Volume;

impl Volume {
    pub(crate) fn entries_of<'b>(&self, block: &'b [u8]) -> Entries<'b> {
        self.entry_style().entries(block)
    }

    /// What a block of a hashed directory has to be when the index is given up: its root becomes a block with `.` and `..`, an
    /// index block one without names. `None` for a leaf. Not sealed.
    pub(crate) fn without_index(
        &self,
        dir: &Inode,
        logical: u64,
        bytes: &[u8],
    ) -> Result<Option<Vec<u8>>, VolumeError> {
        let mut plain = vec![0; bytes.len()];
        let area = plain.get_mut(..self.dir_area()).unwrap_or_default();
        if logical == 0 {
            self.entry_style().dots(area, number(dir.nr()), number(self.parent(dir)?));
        } else if dx::entries_offset(bytes) == Some(dx::NODE_ENTRIES)
            && DiskEntry::peek(bytes).is_some_and(|e| e.inode.get() == 0)
        {
            self.entry_style().clear(area);
        } else {
            return Ok(None);
        }
        Ok(Some(plain))
    }

    /// The block that holds the names of an inline directory, `.` and `..` before them. Not sealed.
    pub(crate) fn inline_dir_as_block(&self, dir: &Inode) -> Result<Vec<u8>, VolumeError> {
        let content = self.inline_data(dir)?;
        let mut block = vec![0; self.block_size() as usize];
        let area = block.get_mut(..self.dir_area()).unwrap_or_default();
        let style = self.entry_style();
        style.dots(area, number(dir.nr()), number(self.parent(dir)?));
        let entries = content.get(DOTDOT_SIZE..).unwrap_or_default();
        let at = dir_entry::entry_len(1) + dir_entry::entry_len(2);
        let Some(into) = area.get_mut(at..at + entries.len()).filter(|into| !into.is_empty()) else {
            let why = Corruption::InlineData { size: dir.size(), found: content.len() };
            return Err(VolumeError::bad_inode(dir.nr(), why));
        };
        // They lie as they lay, the last one up to the end.
        into.copy_from_slice(entries);
        style.set_rec_len(area, dir_entry::entry_len(1), dir_entry::entry_len(2));
        style.stretch(area, at + entries.len()).map_err(|e| VolumeError::bad_inode(dir.nr(), e))?;
        Ok(block)
    }

    /// How entries are written here.
    pub(crate) fn entry_style(&self) -> EntryStyle {
        EntryStyle { block_size: self.block_size(), has_file_type: self.has_incompat(Incompat::FILETYPE) }
    }

    /// Bytes of a directory block that hold entries: what lies before the checksum, where there is one.
    pub(crate) fn dir_area(&self) -> usize {
        let tail = if self.super_block().has_metadata_csum() { dir_block::TAIL_LEN } else { 0 };
        self.block_size() as usize - tail
    }
}

/// An inode's number as entries hold it.
fn number(nr: InodeNr) -> u32 {
    u32::try_from(nr.get()).unwrap_or(u32::MAX)
}
