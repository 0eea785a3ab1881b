//! Changing directories: names made, taken away, led elsewhere.
//!
//! What a name leads to is not looked at here, and times stay as they are: that is the business of what makes, links and moves
//! files. Entries lie as Linux puts them: in the first room there is, in a hashed directory in the leaf of their hash.

mod index;
mod inline;
mod linear;
mod rebuild;
mod reshape;

use daxkit_format::InodeNr;
use daxkit_format::dax::Errno;
use daxkit_format::ext4::casefold;
use daxkit_format::ext4::dir_block::NewEntry;
use daxkit_format::ext4::dir_entry::NAME_LEN;
use daxkit_format::ext4::features::Compat;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::super_block::ENCODING_STRICT;

use super::super::dir::DirEntry;
use super::super::error::VolumeError;
use super::super::inode::Inode;
use super::super::open::Volume;
use super::{EditError, Editor};

/// Whether an entry can have this name.
///
/// # Errors
/// It cannot.
pub(super) fn check_name(name: &[u8]) -> Result<(), EditError> {
    if name.len() > NAME_LEN {
        return Err(EditError::NameTooLong { len: name.len() });
    }
    if matches!(name, b"" | b"." | b"..") || name.iter().any(|b| matches!(b, 0 | b'/')) {
        return Err(EditError::BadName { name: name.to_vec() });
    }
    Ok(())
}

impl Volume {
    /// Whether a directory has no entries but `.` and `..`.
    ///
    /// # Errors
    /// Not a directory; a block of it is damaged.
    pub fn is_empty_dir(&self, dir: &Inode) -> Result<bool, VolumeError> {
        for entry in self.read_dir(dir)? {
            if !entry?.is_dot() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The entry with this name, which must be there.
    pub(crate) fn lookup_existing(&self, dir: &Inode, name: &[u8]) -> Result<DirEntry, VolumeError> {
        self.lookup(dir, name)?.ok_or_else(|| VolumeError::NotFound { dir: dir.nr(), name: name.to_vec() })
    }
}

impl Editor<'_> {
    /// Makes a name in a directory. Neither what it leads to is changed, nor a time.
    ///
    /// # Errors
    /// It is no name, or it is there already; the directory is encrypted, so that names are made only with its key; no space; the
    /// directory is damaged.
    pub fn add_name(&mut self, dir: &mut Inode, name: &[u8], target: InodeNr, file_type: u8) -> Result<(), EditError> {
        self.check_new_name(dir, name)?;
        self.insert_name(dir, name, target, file_type)
    }

    /// Whether a name could be made.
    ///
    /// # Errors
    /// As [`Editor::add_name`].
    pub(super) fn check_new_name(&self, dir: &Inode, name: &[u8]) -> Result<(), EditError> {
        check_name(name)?;
        if self.lookup(dir, name)?.is_some() {
            return Err(EditError::Exists { dir: dir.nr(), name: name.to_vec() });
        }
        if dir.is_encrypted() {
            return Err(EditError::refused(dir.nr(), Errno::ENOKEY, "names of an encrypted directory need its key"));
        }
        let strict = self.super_block().s_encoding_flags.get() & ENCODING_STRICT != 0;
        if strict && self.name_rule(dir).folded && casefold::validate(name).is_err() {
            return Err(EditError::refused(dir.nr(), Errno::EINVAL, "the name is not valid UTF-8"));
        }
        Ok(())
    }

    /// Makes a name that was found to be possible.
    pub(super) fn insert_name(
        &mut self,
        dir: &mut Inode,
        name: &[u8],
        target: InodeNr,
        file_type: u8,
    ) -> Result<(), EditError> {
        let inode = entry_number(target)?;
        let new = NewEntry { inode, name, file_type };
        if dir.has_inline_data() {
            if self.add_inline(dir, &new)? {
                return Ok(());
            }
            self.leave_inline(dir)?;
        }
        if dir.flags().contains(InodeFlags::INDEX) {
            if self.has_compat(Compat::DIR_INDEX) {
                return self.add_indexed(dir, &new);
            }
            self.give_up_index(dir)?;
        }
        self.add_linear(dir, &new)
    }

    /// Takes a name away; what it led to stays. The entry as it was.
    ///
    /// # Errors
    /// It is not there, or is `.` or `..`; the directory is damaged.
    pub fn remove_name(&mut self, dir: &mut Inode, name: &[u8]) -> Result<DirEntry, EditError> {
        if matches!(name, b"" | b"." | b"..") {
            return Err(EditError::BadName { name: name.to_vec() });
        }
        let entry = self.lookup_existing(dir, name)?;
        self.remove_entry(dir, &entry)?;
        Ok(entry)
    }

    /// Takes an entry away that was just looked up.
    pub(super) fn remove_entry(&mut self, dir: &mut Inode, entry: &DirEntry) -> Result<(), EditError> {
        match entry.block {
            Some(block) => self.remove_from_block(dir, block, entry.offset as usize),
            None => self.remove_inline(dir, entry.offset as usize),
        }
    }

    /// Leads a name (or `..`) elsewhere. The entry as it was.
    ///
    /// # Errors
    /// It is not there; the directory is damaged.
    pub fn set_name_target(
        &mut self,
        dir: &mut Inode,
        name: &[u8],
        target: InodeNr,
        file_type: u8,
    ) -> Result<DirEntry, EditError> {
        let entry = self.lookup_existing(dir, name)?;
        self.retarget_entry(dir, &entry, target, file_type)?;
        Ok(entry)
    }

    /// Leads an entry elsewhere that was just looked up.
    pub(super) fn retarget_entry(
        &mut self,
        dir: &mut Inode,
        entry: &DirEntry,
        target: InodeNr,
        file_type: u8,
    ) -> Result<(), EditError> {
        let inode = entry_number(target)?;
        match entry.block {
            Some(block) => self.retarget_in_block(dir, block, entry, inode, file_type),
            None => self.retarget_inline(dir, entry, inode, file_type),
        }
    }

    /// Gives a directory one more block without a name. A hashed directory takes it for the names with the highest hashes.
    ///
    /// # Errors
    /// No space, no room in the index, or the directory is damaged.
    pub fn expand_dir(&mut self, dir: &mut Inode) -> Result<(), EditError> {
        if !dir.is_dir() {
            return Err(VolumeError::NotADirectory { inode: dir.nr() }.into());
        }
        if dir.has_inline_data() {
            self.leave_inline(dir)?;
        }
        if dir.flags().contains(InodeFlags::INDEX) {
            if self.has_compat(Compat::DIR_INDEX) {
                return self.append_leaf(dir);
            }
            self.give_up_index(dir)?;
        }
        self.append_empty(dir).map(|_| ())
    }
}

/// An inode number as entries hold it.
pub(super) fn entry_number(nr: InodeNr) -> Result<u32, EditError> {
    let none = || VolumeError::NoSuchInode { inode: nr, count: u32::MAX.into() };
    u32::try_from(nr.get()).ok().filter(|n| *n != 0).ok_or_else(none).map_err(Into::into)
}
