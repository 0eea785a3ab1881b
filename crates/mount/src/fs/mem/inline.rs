//! Contents inside the inode: of small files, and of directories with few names.

use daxkit_format::dax::{Errno, FileKind};
use daxkit_format::ext4::inode_flags::InodeFlags;

use super::{MemFs, Survives, names};
use crate::fs::{Backing, Ino, Media};
use crate::ids::PAGE_SIZE;

/// Most bytes in an inode of 256 bytes without other attributes: 60 where the map would be, 68 as `system.data`.
const MOST: usize = 128;
/// Bytes of it that the number of a directory's parent takes.
const PARENT: usize = 4;

/// Bytes of a directory's entry.
const fn entry_len(name: &[u8]) -> usize {
    (8 + name.len()).next_multiple_of(4)
}

impl<W: Survives> MemFs<W> {
    fn mark_inline(&mut self, ino: Ino, inline: bool) -> Result<(), Errno> {
        let disk = &mut self.inode_mut(ino)?.disk;
        disk.inline_data = inline;
        disk.flags.set(InodeFlags::INLINE_DATA, inline);
        disk.flags.set(InodeFlags::EXTENTS, !inline);
        Ok(())
    }

    /// A new directory of a file system that can has its names inside.
    pub(super) fn begin_directory(&mut self, ino: Ino) -> Result<(), Errno> {
        if self.options.inline_data && !self.options.xfs { self.mark_inline(ino, true) } else { Ok(()) }
    }

    /// Names that fit into the inode no more move to a block, and stay there.
    pub(super) fn grow_directory(&mut self, dir: Ino) -> Result<(), Errno> {
        if !self.inode(dir)?.disk.inline_data {
            return Ok(());
        }
        let taken: usize = self.state.names.of(dir).map(|(name, _)| entry_len(name)).sum();
        if PARENT + taken > MOST { self.mark_inline(dir, false) } else { Ok(()) }
    }

    pub(super) fn inline_content(&self, ino: Ino) -> Result<Vec<u8>, Errno> {
        if !self.inode(ino)?.disk.inline_data {
            return Err(Errno::ENODATA);
        }
        Ok(self.state.names.value(ino, names::INLINE).unwrap_or_default().to_vec())
    }

    pub(super) fn keep_inline(&mut self, ino: Ino, content: &[u8]) -> Result<bool, Errno> {
        let disk = self.inode(ino)?.disk;
        let never = InodeFlags::DAX | InodeFlags::ENCRYPT | InodeFlags::VERITY;
        let can = self.options.inline_data && disk.kind() == FileKind::Regular && !disk.flags.intersects(never);
        if !can || content.len() > MOST || !(disk.inline_data || disk.blocks == 0) {
            return Ok(false);
        }
        self.state.names.set_value(ino, names::INLINE, content);
        self.mark_inline(ino, true)?;
        Ok(true)
    }

    pub(super) fn move_out(&mut self, cpu: u16, ino: Ino) -> Result<(), Errno> {
        let bytes = self.inline_content(ino)?;
        if !bytes.is_empty() {
            let extent = self.make_written(cpu, ino, 0, 1)?;
            if let Backing::Mapped(at) = extent.backing {
                self.store_nt(cpu, at * PAGE_SIZE, &bytes);
            }
        }
        self.state.names.remove_value(ino, names::INLINE);
        self.mark_inline(ino, false)
    }
}
