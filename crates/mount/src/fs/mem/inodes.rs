//! Inodes: their numbers, their links, and where directories lie.

use daxkit_format::dax::fileattr::to_xflags;
use daxkit_format::dax::{Errno, FileKind};

use super::{FIRST, MemFs, MemInode, Survives};
use crate::fs::{DiskInode, Ino, NewInode};

impl<W: Survives> MemFs<W> {
    pub(super) fn slot(&self, ino: Ino) -> Option<usize> {
        let at = usize::try_from(ino).ok()?;
        self.state.inodes.get(at).filter(|inode| inode.used).map(|_| at)
    }

    pub(super) fn inode(&self, ino: Ino) -> Result<&MemInode, Errno> {
        self.slot(ino).map(|at| &self.state.inodes[at]).ok_or(Errno::ENOENT)
    }

    pub(super) fn inode_mut(&mut self, ino: Ino) -> Result<&mut MemInode, Errno> {
        let at = self.slot(ino).ok_or(Errno::ENOENT)?;
        let inode = &mut self.state.inodes[at];
        inode.dirty = true;
        Ok(inode)
    }

    pub(super) fn dir(&self, ino: Ino) -> Result<&MemInode, Errno> {
        let inode = self.inode(ino)?;
        if inode.disk.kind() == FileKind::Directory { Ok(inode) } else { Err(Errno::ENOTDIR) }
    }

    pub(super) fn put_inode(&mut self, ino: Ino, new: &NewInode, nlink: u32) {
        let at = ino as usize;
        let disk = DiskInode {
            mode: new.mode,
            uid: new.uid,
            gid: new.gid,
            projid: new.projid,
            nlink,
            size: 0,
            blocks: 0,
            flags: new.flags,
            xflags: if self.options.xfs { new.xflags } else { to_xflags(new.flags) },
            extsize: new.extsize,
            cowextsize: new.cowextsize,
            inline_data: false,
            rdev: new.rdev,
            atime: new.now,
            mtime: new.now,
            ctime: new.now,
            generation: 0,
        };
        let inode = MemInode { disk, used: true, dirty: true, reflink: false };
        while self.state.inodes.len() <= at {
            self.state.inodes.push(MemInode { used: false, ..inode });
        }
        self.state.inodes[at] = inode;
        self.state.free_inodes -= 1;
    }

    pub(super) fn free_number(&self) -> Result<Ino, Errno> {
        if self.state.free_inodes == 0 {
            return Err(Errno::ENOSPC);
        }
        let first = FIRST as usize;
        let free = (first..self.state.inodes.len()).find(|&at| !self.state.inodes[at].used);
        Ok(free.unwrap_or(self.state.inodes.len().max(first)) as Ino)
    }

    pub(super) fn count_link(&mut self, ino: Ino, by: i32, now: i64) {
        if let Ok(inode) = self.inode_mut(ino) {
            inode.disk.nlink = inode.disk.nlink.saturating_add_signed(by);
            inode.disk.ctime = now;
        }
    }

    pub(super) fn changed(&mut self, dir: Ino, now: i64) {
        if let Ok(inode) = self.inode_mut(dir) {
            (inode.disk.mtime, inode.disk.ctime) = (now, now);
        }
    }

    pub(super) fn is_dir(&self, ino: Ino) -> bool {
        self.inode(ino).is_ok_and(|inode| inode.disk.kind() == FileKind::Directory)
    }

    /// Whether `dir` is `of`, or lies below it.
    pub(super) fn is_below(&self, mut dir: Ino, of: Ino) -> bool {
        for _ in 0..=self.state.inodes.len() {
            if dir == of {
                return true;
            }
            let Some(parent) = self.state.names.parent_of(dir) else { return false };
            dir = parent;
        }
        false
    }

    pub(super) fn drop_name(&mut self, dir: Ino, name: &[u8], ino: Ino, now: i64) {
        self.state.names.remove(dir, name);
        self.changed(dir, now);
        if self.is_dir(ino) {
            self.count_link(dir, -1, now);
            self.count_link(ino, -2, now);
        } else {
            self.count_link(ino, -1, now);
        }
    }
}
