//! Directories that lie in their inode: behind the parent's number in `i_block`, and in the attribute `system.data`.
//!
//! Each of the two parts is filled with entries from end to end; none crosses from one into the other.

use std::ops::Range;

use daxkit_format::ext4::dir_block::NewEntry;
use daxkit_format::ext4::dir_entry::{EntryError, PAD, entry_len};
use daxkit_format::ext4::inline_data::{DOTDOT_SIZE, MIN_SIZE};

use super::super::super::dir::DirEntry;
use super::super::super::error::Corruption;
use super::super::super::inode::Inode;
use super::super::{EditError, Editor};

/// Where the two parts lie in the content.
fn parts(len: usize) -> [Range<usize>; 2] {
    [DOTDOT_SIZE..MIN_SIZE.min(len), MIN_SIZE.min(len)..len]
}

fn damaged(dir: &Inode, why: EntryError) -> EditError {
    EditError::damaged(dir.nr(), why)
}

impl Editor<'_> {
    /// The content of an inline directory without names.
    pub(in super::super) fn empty_inline_dir(&self, parent: u32) -> Vec<u8> {
        let mut content = vec![0; MIN_SIZE];
        if let Some((head, area)) = content.split_at_mut_checked(DOTDOT_SIZE) {
            head.copy_from_slice(&parent.to_le_bytes());
            self.entry_style().clear(area);
        }
        content
    }

    /// Adds an entry; false when the inode has no room for it.
    pub(super) fn add_inline(&mut self, dir: &mut Inode, new: &NewEntry<'_>) -> Result<bool, EditError> {
        let style = self.entry_style();
        let mut content = self.inline_data(dir)?;
        for part in parts(content.len()) {
            let area = content.get_mut(part).unwrap_or_default();
            if !area.is_empty() && style.add(area, new).map_err(|e| damaged(dir, e))? {
                return self.set_inline(dir, &content);
            }
        }
        // Linux takes all the room that other attributes leave, when it takes any.
        let old = content.len().max(MIN_SIZE);
        let grown = self.inline_capacity(dir)? / PAD * PAD;
        if grown <= old + entry_len(1) {
            return Ok(false);
        }
        content.resize(grown, 0);
        let area = content.get_mut(MIN_SIZE..).unwrap_or_default();
        if old == MIN_SIZE {
            style.clear(area);
        } else {
            style.stretch(area, old - MIN_SIZE).map_err(|e| damaged(dir, e))?;
        }
        let added = style.add(area, new).map_err(|e| damaged(dir, e))?;
        // The room stays taken although the name is too long for it: so the entries lie as Linux has them in the block to come.
        Ok(self.set_inline(dir, &content)? && added)
    }

    pub(super) fn remove_inline(&mut self, dir: &mut Inode, at: usize) -> Result<(), EditError> {
        let style = self.entry_style();
        let mut content = self.inline_data(dir)?;
        for part in parts(content.len()) {
            if part.contains(&at) {
                let area = content.get_mut(part.clone()).unwrap_or_default();
                style.remove(area, at - part.start).map_err(|e| damaged(dir, e))?;
            }
        }
        self.set_same_inline(dir, &content)
    }

    pub(super) fn retarget_inline(
        &mut self,
        dir: &mut Inode,
        entry: &DirEntry,
        inode: u32,
        file_type: u8,
    ) -> Result<(), EditError> {
        let mut content = self.inline_data(dir)?;
        if entry.is_dot() {
            if entry.name == b".."
                && let Some(head) = content.get_mut(..DOTDOT_SIZE)
            {
                head.copy_from_slice(&inode.to_le_bytes());
            }
        } else {
            self.entry_style().set_target(&mut content, entry.offset as usize, inode, file_type);
        }
        self.set_same_inline(dir, &content)
    }

    /// Stores content that is as long as before.
    fn set_same_inline(&mut self, dir: &mut Inode, content: &[u8]) -> Result<(), EditError> {
        if self.set_inline(dir, content)? {
            return Ok(());
        }
        let why = Corruption::InlineData { size: dir.size(), found: self.inline_capacity(dir)? };
        Err(EditError::damaged(dir.nr(), why))
    }
}
