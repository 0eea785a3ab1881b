//! Inodes that go: their content, their attributes, then themselves (`ext4_evict_inode`, Linux 6.12).

use daxkit_format::InodeNr;
use daxkit_format::dax::Errno;
use daxkit_format::ext4::features::Compat;
use daxkit_format::ext4::inode::mode;
use daxkit_format::ext4::quota::QuotaKind;

use super::super::error::VolumeError;
use super::super::inode::Inode;
use super::{EditError, Editor};

impl Editor<'_> {
    /// Frees an inode with all that it has. No name may lead to it, and it may not stand among the orphans.
    ///
    /// # Errors
    /// It is an inode of the file system's own, or what it has is damaged.
    pub fn drop_inode(&mut self, mut inode: Inode) -> Result<(), EditError> {
        let nr = inode.nr();
        if self.is_own_inode(nr) {
            return Err(EditError::refused(nr, Errno::EPERM, "the file system needs this inode"));
        }
        let is_dir = inode.is_dir();
        let mapped = matches!(inode.file_type(), mode::IFREG | mode::IFDIR | mode::IFLNK)
            && !inode.has_inline_data()
            && !self.is_fast_symlink(&inode);
        if mapped {
            self.truncate(&mut inode, 0)?;
        }
        self.drop_xattrs(&mut inode)?;
        self.charge(&inode, 0, -1)?;
        // Zero would mean that it is not deleted.
        let when = u32::try_from(self.now().seconds).unwrap_or(u32::MAX).max(1);
        self.modify(&mut inode, |d| {
            d.i_links_count.set(0);
            d.set_size(0);
            if !mapped {
                d.i_block = [0; 60];
            }
            d.i_dtime.set(when);
        });
        self.store_inode(&mut inode)?;
        self.give_inode(nr, is_dir)
    }

    /// Frees an inode whatever its names, which then lead nowhere (`kill_file` of debugfs).
    ///
    /// # Errors
    /// It is free; or those of [`Editor::drop_inode`].
    pub fn kill(&mut self, nr: InodeNr) -> Result<(), EditError> {
        if !self.inode_in_use(nr)? {
            return Err(EditError::InodeState { inode: nr, used: false });
        }
        let inode = self.inode(nr)?;
        self.orphan_del_if_there(&inode)?;
        // What stands among the orphans was changed, but not what stands here.
        let inode = self.inode(nr)?;
        self.drop_inode(inode)
    }

    /// Whether an inode is reserved, or holds what the file system needs: an orphan file, quotas.
    fn is_own_inode(&self, nr: InodeNr) -> bool {
        let orphans = self.super_block().s_orphan_file_inum.get();
        nr.get() < u64::from(self.geometry().first_ino)
            || (self.has_compat(Compat::ORPHAN_FILE) && u64::from(orphans) == nr.get())
            || QuotaKind::ALL.into_iter().any(|kind| self.quota_inode(kind) == Some(nr))
    }

    /// An inode that is in use, for what makes or moves its names.
    pub(super) fn live_inode(&self, nr: InodeNr) -> Result<Inode, EditError> {
        let inode = self.inode(nr)?;
        if inode.is_free() {
            return Err(VolumeError::NoSuchInode { inode: nr, count: self.geometry().inodes_count.into() }.into());
        }
        Ok(inode)
    }
}
