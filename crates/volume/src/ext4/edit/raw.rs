//! Edits of bytes and bits, whatever they make of the image: fields by place, bits of bitmaps, bytes of blocks. Checksums over what is
//! written are made right unless they are to be left; counts and everything else stay as they are.

use std::ops::Range;

use daxkit_format::field::{Object, Place as FieldPlace, ValueError};
use daxkit_format::{BlockNr, InodeNr};

use super::super::error::{Place, VolumeError};
use super::super::inode::Inode;
use super::super::locate::{LocateError, Located};
use super::super::seal::{Edit, SealError, seal};
use super::{EditError, Editor};

/// Why bytes were not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RawError {
    /// The place is not there.
    #[error(transparent)]
    Locate(#[from] LocateError),
    /// A checksum over it cannot be looked at or made right.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The value is not one of the field.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// The place names no field, where one is wanted.
    #[error("{0}: names no field")]
    NoField(String),
    /// The volume failed.
    #[error(transparent)]
    Edit(#[from] EditError),
}

impl From<VolumeError> for RawError {
    fn from(e: VolumeError) -> Self {
        Self::Edit(e.into())
    }
}

/// What becomes of the checksums over bytes that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sums {
    /// They are made right.
    Right,
    /// They stay as they are.
    Stale,
}

impl Editor<'_> {
    /// Writes bytes at a place that was found, with what the checksums over them then have to be.
    ///
    /// # Errors
    /// A checksum cannot be made right; the device failed.
    pub fn apply(&mut self, found: &Located, edits: &[Edit], sums: Sums) -> Result<(), RawError> {
        let sealed = match sums {
            Sums::Right => seal(&**self.device(), &found.seals, edits)?,
            Sums::Stale => Vec::new(),
        };
        for edit in edits.iter().chain(&sealed) {
            let at = edit.offset.checked_sub(self.base()).ok_or(EditError::NotWritable)?;
            self.write_bytes(Place::Block(BlockNr(at >> self.geometry().block_shift())), at, &edit.bytes)?;
        }
        self.volume.read_super_block()?;
        Ok(())
    }

    /// Sets the field that a place names, given as text.
    ///
    /// # Errors
    /// There is no such place or field; the text is no value of it; a checksum cannot be made right.
    pub fn set_field(&mut self, place: &FieldPlace, text: &str, sums: Sums) -> Result<(), RawError> {
        let found = self.locate(place)?;
        let field = found.field.ok_or_else(|| RawError::NoField(place.to_string()))?;
        let before = found.read(&**self.device()).map_err(VolumeError::io(self.place_of(place)))?;
        let mut after = before.clone();
        field.set_text(&mut after, text)?;
        let edits = found.edits(&before, &after);
        self.apply(&found, &edits, sums)
    }

    fn place_of(&self, place: &FieldPlace) -> Place {
        match place.object {
            Object::Block(nr) => Place::Block(BlockNr(nr)),
            _ => Place::SuperBlock { offset: self.super_block_offset() },
        }
    }

    /// Writes the bytes of an inode; sealed, or just as they are.
    ///
    /// # Errors
    /// No such inode, or the group's descriptor cannot be used.
    pub fn write_raw_inode(&mut self, nr: InodeNr, raw: Vec<u8>, sums: Sums) -> Result<Inode, EditError> {
        let mut inode = self.decode_inode(nr, raw);
        if sums == Sums::Right {
            self.store_inode(&mut inode)?;
            return Ok(inode);
        }
        let (block, at) = self.inode_location(nr)?;
        let offset = (block.get() << self.geometry().block_shift()).saturating_add(at as u64);
        self.write_bytes(Place::Inode(nr), offset, inode.raw())?;
        Ok(inode)
    }

    /// Sets or clears the bits of blocks in the block bitmaps. Counts stay as they are. How many bits were otherwise.
    ///
    /// # Errors
    /// No such blocks; a descriptor or bitmap is damaged.
    pub fn set_block_bits(&mut self, blocks: Range<u64>, used: bool) -> Result<u64, EditError> {
        let g = *self.geometry();
        let (ratio, count) = (u64::from(g.cluster_ratio), g.blocks_count);
        let mut changed = 0;
        let mut block = blocks.start;
        while block < blocks.end {
            let missing = VolumeError::NoSuchBlock { block: BlockNr(block), count };
            let group = g.group_of_block(BlockNr(block)).ok_or(missing)?;
            let start = g.group_first_block(group).get();
            let stop = blocks.end.min(start.saturating_add(g.group_blocks(group).into()));
            let bits = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
            let mut map = self.block_bitmap(group)?;
            let clusters = bits((block - start) / ratio)..bits((stop - start).div_ceil(ratio));
            changed += u64::from(map.set_range(clusters, used));
            let mut desc = self.group_desc(group)?;
            self.write_block_bitmap(group, &mut desc, &map)?;
            block = stop;
        }
        self.forget_space();
        Ok(changed)
    }

    /// Sets or clears the bits of inodes in the inode bitmaps. Counts stay as they are. How many bits were otherwise.
    ///
    /// # Errors
    /// No such inodes; a descriptor or bitmap is damaged.
    pub fn set_inode_bits(&mut self, first: InodeNr, count: u64, used: bool) -> Result<u64, EditError> {
        let g = *self.geometry();
        let mut changed = 0;
        let end = first.get().saturating_add(count);
        let mut nr = first.get();
        while nr < end {
            let missing = VolumeError::NoSuchInode { inode: InodeNr(nr), count: g.inodes_count.into() };
            let (group, index) = g.group_of_inode(InodeNr(nr)).ok_or(missing)?;
            let here = (end - nr).min(u64::from(g.inodes_per_group - index));
            let mut map = self.inode_bitmap(group)?;
            changed += u64::from(map.set_range(index..index + here as u32, used));
            let mut desc = self.group_desc(group)?;
            self.write_inode_bitmap(group, &mut desc, &map)?;
            nr += here;
        }
        self.forget_space();
        Ok(changed)
    }

    /// Groups that were full may have space now.
    fn forget_space(&mut self) {
        let hints = self.volume.hints_mut();
        hints.full.clear();
        hints.no_inodes.clear();
    }
}
