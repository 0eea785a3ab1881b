//! What system calls do to names: make, link, move and remove files, with their rules and errors.
//!
//! The rules are those of ext4 (`fs/ext4/namei.c`, Linux 6.12) and of what the VFS checks before it whoever asks. Who may do
//! what (permissions, sticky directories, the flags `immutable` and `append`) is not checked: whoever can write the image can
//! do all of it.

mod link;
mod make;
mod rename;

use daxkit_format::InodeNr;
use daxkit_format::dax::Errno;
use daxkit_format::ext4::features::{Compat, RoCompat};
use daxkit_format::ext4::inode_flags::InodeFlags;

pub use rename::{Rename, RenameRule};

use super::super::error::VolumeError;
use super::super::inode::Inode;
use super::{EditError, Editor};

/// Most links of an inode (`EXT4_LINK_MAX`).
const LINK_MAX: u16 = 65_000;

impl Editor<'_> {
    /// A directory in which names may be made.
    fn open_dir(&self, nr: InodeNr) -> Result<Inode, EditError> {
        let dir = self.live_inode(nr)?;
        if !dir.is_dir() {
            return Err(VolumeError::NotADirectory { inode: nr }.into());
        }
        if dir.i_links_count.get() == 0 {
            return Err(EditError::refused(nr, Errno::ENOENT, "the directory is removed"));
        }
        Ok(dir)
    }

    /// Whether a directory is a hashed one, and counts as such (`is_dx`).
    fn is_indexed(&self, dir: &Inode) -> bool {
        self.has_compat(Compat::DIR_INDEX) && dir.flags().contains(InodeFlags::INDEX)
    }

    /// Whether one directory more fits into a directory (`EXT4_DIR_LINK_MAX`).
    fn check_dir_links(&self, dir: &Inode) -> Result<(), EditError> {
        let uncounted = self.has_ro_compat(RoCompat::DIR_NLINK) && self.is_indexed(dir);
        if dir.i_links_count.get() >= LINK_MAX && !uncounted {
            return Err(EditError::TooManyLinks { inode: dir.nr() });
        }
        Ok(())
    }

    /// Counts one directory more in a directory, in memory. In a hashed one, where there are too many to count, one link
    /// stands for any number (`ext4_inc_count`).
    fn add_dir_link(&self, dir: &mut Inode) {
        let links = dir.i_links_count.get().saturating_add(1);
        let uncounted = self.is_indexed(dir) && (links > LINK_MAX || links == 2);
        self.modify(dir, |d| d.i_links_count.set(if uncounted { 1 } else { links }));
    }

    /// Counts one directory less in a directory, in memory (`ext4_dec_count`).
    fn drop_dir_link(&self, dir: &mut Inode) {
        let links = dir.i_links_count.get();
        if links > 2 {
            self.modify(dir, |d| d.i_links_count.set(links - 1));
        }
    }

    /// Stores a directory in which a name has changed, with the time.
    fn touch_dir(&mut self, dir: &mut Inode) -> Result<(), EditError> {
        let now = self.now();
        self.modify(dir, |d| {
            d.set_mtime(now);
            d.set_ctime(now);
            d.bump_version();
        });
        self.store_inode(dir)
    }

    /// Stores an inode whose links have changed, with the time.
    fn touch_inode(&mut self, inode: &mut Inode) -> Result<(), EditError> {
        let now = self.now();
        self.modify(inode, |d| {
            d.set_ctime(now);
            d.bump_version();
        });
        self.store_inode(inode)
    }

    /// Whether a file may get a name in a directory that hands its project on.
    fn check_project(&self, dir: &Inode, inode: &Inode) -> Result<(), EditError> {
        let hands_on = dir.flags().contains(InodeFlags::PROJINHERIT) && self.has_ro_compat(RoCompat::PROJECT);
        if hands_on && dir.project() != inode.project() {
            return Err(EditError::refused(inode.nr(), Errno::EXDEV, "belongs to another project than the directory"));
        }
        Ok(())
    }

    /// Takes one link from an inode that is no directory, or all from one that is. With the last it goes, or, to be `kept`,
    /// stands among the orphans from then on.
    fn release(&mut self, nr: InodeNr, kept: bool) -> Result<Inode, EditError> {
        let mut inode = self.inode(nr)?;
        let links = if inode.is_dir() { 0 } else { inode.i_links_count.get().saturating_sub(1) };
        self.modify(&mut inode, |d| d.i_links_count.set(links));
        if links == 0 && !kept {
            self.drop_inode(inode.clone())?;
            return Ok(inode);
        }
        self.touch_inode(&mut inode)?;
        if links == 0 {
            self.orphan_add(&mut inode)?;
        }
        Ok(inode)
    }
}
