//! Inodes and what hangs on them: maps pruned, attributes taken away.

use daxkit_format::OnDisk;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::xattr::{self, INDEX_SYSTEM, XattrEntry};

use super::edit_inode;
use super::fixer::{Done, Fixer};
use crate::code::Code;
use crate::pass::inode_blocks::{map_rules, tree_rules};
use crate::pass::inodes::Checked;
use crate::pass::xattrs::Area;
use crate::pass::{extents, indirect};
use crate::state::Kind;

/// Who prunes does not need to be told.
struct Nothing;

impl extents::Seen for Nothing {
    fn node(&mut self, _: u64) {}
    fn extent(&mut self, _: u32, _: u64, _: u32, _: bool) {}
    fn wrong(&mut self, _: Code, _: u64, _: u64) {}
}

impl indirect::Seen for Nothing {
    fn node(&mut self, _: u64) {}
    fn block(&mut self, _: u64, _: u64) {}
    fn wrong(&mut self, _: Code, _: u64, _: u64) {}
}

impl Fixer<'_, '_> {
    /// Takes out of a map what cannot stay.
    pub(crate) fn prune_map(&self, ino: u32) -> Done {
        let raw = self.raw_inode(ino)?;
        let checked = Checked::new(ino, &raw).ok_or("the inode is too short")?;
        let mut root = checked.disk.i_block;
        let mut failed = None;
        let mut write = |block: u64, bytes: &[u8]| {
            if let Err(why) = self.write_block(block, bytes) {
                failed.get_or_insert(why);
            }
        };
        let meta = Some(&self.state.cx.meta);
        if checked.flags.contains(InodeFlags::EXTENTS) {
            extents::prune(tree_rules(self.image, &checked, meta), &mut root, &mut Nothing, &mut write);
        } else {
            indirect::prune(map_rules(self.image, &checked, meta), &mut root, &mut Nothing, &mut write);
        }
        if let Some(why) = failed {
            return Err(why);
        }
        self.change_inode(ino, |raw| edit_inode(raw, |inode| inode.i_block = root))
    }

    pub(crate) fn empty_map(&self, ino: u32) -> Done {
        self.change_inode(ino, |raw| {
            edit_inode(raw, |inode| {
                inode.i_block = [0; 60];
                if inode.is_file() || inode.is_dir() {
                    inode.set_flags(inode.flags() | InodeFlags::EXTENTS);
                    extents::empty_root(&mut inode.i_block);
                }
            });
        })
    }

    /// Gives inline data its attribute, empty; other attributes stay, as far as there is room.
    pub(crate) fn inline_attribute(&self, ino: u32) -> Done {
        let raw = self.raw_inode(ino)?;
        let stored = raw.get(0x80..0x82).and_then(|b| b.try_into().ok()).map_or(0, u16::from_le_bytes);
        // Behind fields that are not there nobody looks for attributes.
        let extra = if stored == 0 { 32 } else { stored };
        let start = 128 + usize::from(extra);
        let mut area = vec![0; raw.len().saturating_sub(start)];
        let mut packer = xattr::Packer::inode(&mut area);
        if !packer.push(INDEX_SYSTEM, b"data", b"", 0, 0) {
            // No room at all: the inode is not one that a kernel would have given inline data.
            return self.change_inode(ino, |raw| raw.fill(0));
        }
        if let Some(old) = Area::inode(&raw) {
            for entry in old.entries() {
                let head = old.bytes.get(entry.offset..).and_then(XattrEntry::peek);
                let hash = head.map_or(0, |h| h.e_hash.get());
                if entry.value_inum != 0 {
                    packer.push_reference(entry.index, entry.name, entry.value_inum, entry.value_size, hash);
                } else if entry.index != INDEX_SYSTEM || entry.name != b"data" {
                    packer.push(entry.index, entry.name, entry.value, 0, hash);
                }
            }
        }
        self.change_inode(ino, |raw| {
            if let Some(place) = raw.get_mut(start..) {
                place.copy_from_slice(&area);
            }
            if stored == 0
                && let Some(fields) = raw.get_mut(128..start)
            {
                fields.fill(0);
                if let Some(place) = fields.get_mut(..2) {
                    place.copy_from_slice(&extra.to_le_bytes());
                }
            }
            edit_inode(raw, |inode| {
                // A directory's entries fill the room that it has.
                let size = if inode.is_dir() { 60 } else { inode.size().min(60) };
                inode.set_size(size);
            });
        })
    }

    /// Takes a block of attributes from all that have it.
    pub(crate) fn xattr_block_gone(&self, block: u64) -> Done {
        for group in 0..self.state.cx.inodes.groups() {
            for (ino, known, _) in self.state.cx.inodes.of_group(group) {
                if known.kind != Kind::Free && self.disk_inode(ino).is_ok_and(|inode| inode.file_acl() == block) {
                    self.change_inode(ino, |raw| crate::pass::xattrs::clear_file_acl(raw, 0))?;
                }
            }
        }
        Ok(())
    }
}
