//! Inodes and what hangs on them: maps pruned, attributes taken away.

use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::xattr::{self, INDEX_SYSTEM};

use super::edit_inode;
use super::fixer::{Done, Fixer};
use crate::code::Code;
use crate::pass::inode_blocks::{map_rules, tree_rules};
use crate::pass::inodes::Checked;
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

    /// Gives inline data its attribute, empty; where there is no room for it the data cannot stay inline, and goes.
    pub(crate) fn inline_attribute(&self, ino: u32) -> Done {
        let raw = self.raw_inode(ino)?;
        let extra = usize::from(u16::from_le_bytes([
            raw.get(0x80).copied().unwrap_or(0),
            raw.get(0x81).copied().unwrap_or(0),
        ]));
        let start = 128 + extra;
        let dir = self.disk_inode(ino)?.is_dir();
        // `system.data` has a head of 16 bytes, its name, and four bytes of zero behind.
        let need = 4 + xattr::entry_len(4) + 4;
        let free = raw.get(start..).is_some_and(|area| area.len() >= need)
            && crate::pass::xattrs::Area::inode(&raw).is_none_or(|area| area.entries().is_empty());
        if !free || dir {
            return self.change_inode(ino, |raw| raw.fill(0));
        }
        self.change_inode(ino, |raw| {
            if let Some(area) = raw.get_mut(start..) {
                area.fill(0);
                let mut packer = xattr::Packer::inode(area);
                let _ = packer.push(INDEX_SYSTEM, b"data", b"", 0, 0);
            }
            edit_inode(raw, |inode| inode.set_size(inode.size().min(60)));
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
