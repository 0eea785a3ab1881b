//! Inodes between their form on disk and what the core keeps of them.

use daxkit_format::InodeNr;
use daxkit_format::dax::Errno;
use daxkit_format::dax::fileattr::to_xflags;
use daxkit_format::ext4::features::RoCompat;
use daxkit_format::ext4::inode::{Timestamp, mode};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_volume::Inode;

use super::Ext4Fs;
use crate::fs::mem::Survives;
use crate::fs::{DiskInode, Ino};
use crate::ids::PAGE_SIZE;

/// Flags that say how an inode is stored: the volume changes them with what they say, and what the core remembers of them may be old.
/// `EXTENTS` is among them, but a set call may change it, too.
pub(super) const STORED: InodeFlags = InodeFlags::INDEX
    .union(InodeFlags::INLINE_DATA)
    .union(InodeFlags::HUGE_FILE)
    .union(InodeFlags::EA_INODE)
    .union(InodeFlags::EXTENTS);

/// Bits of the minor number in the core's device numbers (`MINORBITS`).
pub(super) const MINOR_BITS: u32 = 20;

/// An inode as the core sees it.
pub(super) fn decode(inode: &Inode) -> Result<DiskInode, Errno> {
    let flags = inode.flags();
    let special = matches!(inode.file_type(), mode::IFCHR | mode::IFBLK);
    let (major, minor) = if special { inode.device() } else { (0, 0) };
    // A size that is negative for the kernel (`__ext4_iget`).
    if i64::try_from(inode.size()).is_err() {
        return Err(Errno::EUCLEAN);
    }
    Ok(DiskInode {
        mode: inode.i_mode.get(),
        uid: inode.uid(),
        gid: inode.gid(),
        projid: inode.project().unwrap_or(0),
        nlink: inode.i_links_count.get().into(),
        size: inode.size(),
        blocks: inode.space() / 512,
        flags,
        xflags: to_xflags(flags),
        extsize: 0,
        cowextsize: 0,
        inline_data: inode.has_inline_data(),
        rdev: major << MINOR_BITS | minor,
        atime: inode.atime().seconds,
        mtime: inode.mtime().seconds,
        ctime: inode.ctime().seconds,
        generation: inode.i_generation.get(),
    })
}

/// The core knows seconds: nanoseconds stay as long as the second does.
fn newer(old: Timestamp, seconds: i64) -> Timestamp {
    if old.seconds == seconds { old } else { Timestamp { seconds, nanos: 0 } }
}

impl<W: Survives + 'static> Ext4Fs<W> {
    /// Writes what the core may change of an inode.
    pub(super) fn store(&mut self, ino: Ino, new: &DiskInode) -> Result<(), Errno> {
        self.heard_of(new.ctime);
        let old = self.inode(ino)?;
        let shorter = old.is_file() && new.size < old.size();
        if shorter && !old.has_inline_data() && !self.beyond.contains(&ino) {
            self.set_beyond(ino, new.size)?;
        }
        self.edit_inode(ino, |editor, inode| {
            if (new.uid, new.gid) != (inode.uid(), inode.gid()) {
                editor.set_owner(inode, new.uid, new.gid)?;
            }
            if editor.has_ro_compat(RoCompat::PROJECT) && inode.project().is_some_and(|old| old != new.projid) {
                editor.set_project(inode, new.projid)?;
            }
            let extents = new.flags.contains(InodeFlags::EXTENTS);
            let mapped = inode.is_file() && !inode.has_inline_data() && !new.inline_data;
            if mapped && inode.flags().contains(InodeFlags::EXTENTS) != extents {
                editor.convert_map(inode, extents)?;
            }
            if inode.is_file() && inode.size() != new.size && !inode.has_inline_data() {
                editor.set_size(inode, new.size)?;
            }
            let flags = (inode.flags() & STORED) | (new.flags - STORED);
            editor.modify(inode, |d| {
                d.i_mode.set(d.i_mode.get() & mode::IFMT | new.mode & !mode::IFMT);
                d.set_flags(flags);
                d.set_atime(newer(d.atime(), new.atime));
                d.set_mtime(newer(d.mtime(), new.mtime));
                d.set_ctime(newer(d.ctime(), new.ctime));
                d.bump_version();
            });
            if inode.i_generation.get() != new.generation {
                editor.set_generation(inode, new.generation)?;
            }
            editor.store_inode(inode)
        })?;
        self.settle(ino)
    }

    /// Notes a file that has, or is about to have, data behind `size`: until that is not so any more it stands among the orphans, so
    /// that a mount after a crash frees what its size does not count (`ext4_orphan_add` in `ext4_setattr` and
    /// `ext4_dax_write_iter`).
    pub(super) fn set_beyond(&mut self, ino: Ino, size: u64) -> Result<(), Errno> {
        let inode = self.inode(ino)?;
        let end = size.div_ceil(PAGE_SIZE);
        // One without links stands there already.
        if inode.i_links_count.get() == 0
            || !self.volume.has_data_behind(&inode, end).map_err(|e| super::errno_of(&e))?
        {
            return Ok(());
        }
        self.put_beyond(ino)
    }

    /// As [`Ext4Fs::set_beyond`], without looking.
    pub(super) fn put_beyond(&mut self, ino: Ino) -> Result<(), Errno> {
        if self.beyond.contains(&ino) || self.inode(ino)?.i_links_count.get() == 0 {
            return Ok(());
        }
        self.edit_inode(ino, |editor, inode| editor.orphan_add(inode))?;
        self.beyond.insert(ino);
        Ok(())
    }

    /// Takes a file out from among the orphans when its size counts all that it has.
    pub(super) fn settle(&mut self, ino: Ino) -> Result<(), Errno> {
        if !self.beyond.contains(&ino) {
            return Ok(());
        }
        let inode = self.inode(ino)?;
        let end = inode.size().div_ceil(PAGE_SIZE);
        if self.volume.has_data_behind(&inode, end).map_err(|e| super::errno_of(&e))? {
            return Ok(());
        }
        self.edit_inode(ino, |editor, inode| editor.orphan_del(inode))?;
        self.beyond.remove(&ino);
        Ok(())
    }

    /// Frees an inode that has no name any more.
    pub(super) fn free(&mut self, ino: Ino) -> Result<(), Errno> {
        if self.inode(ino)?.i_links_count.get() > 0 {
            return Err(Errno::EINVAL);
        }
        self.edit(|editor| {
            let mut inode = editor.inode(InodeNr(ino))?;
            editor.orphan_del(&mut inode)?;
            editor.drop_inode(inode)
        })?;
        self.beyond.remove(&ino);
        self.dirty.remove(&ino);
        Ok(())
    }
}
