//! Further names for what there is, and names taken away.

use daxkit_format::InodeNr;
use daxkit_format::dax::Errno;
use daxkit_format::ext4::dir_entry::file_type;

use super::super::super::dir::DirEntry;
use super::super::super::error::VolumeError;
use super::super::super::inode::Inode;
use super::super::dir::check_name;
use super::super::{EditError, Editor};
use super::LINK_MAX;

impl Editor<'_> {
    /// Gives an inode another name. One without any must stand among the orphans, and does not any more.
    ///
    /// # Errors
    /// The name is none, or is there; the inode is a directory, has as many links as it can count, belongs to another project
    /// than the directory hands on; no space; something on the way is damaged.
    pub fn link(&mut self, dir: InodeNr, name: &[u8], target: InodeNr) -> Result<Inode, EditError> {
        let mut parent = self.open_dir(dir)?;
        self.check_new_name(&parent, name)?;
        let mut inode = self.live_inode(target)?;
        if inode.is_dir() {
            return Err(EditError::refused(target, Errno::EPERM, "a directory has one name only"));
        }
        let links = inode.i_links_count.get();
        if links >= LINK_MAX {
            return Err(EditError::TooManyLinks { inode: target });
        }
        self.check_project(&parent, &inode)?;
        if links == 0 {
            if !self.orphan_del_if_there(&inode)? {
                return Err(EditError::refused(target, Errno::ENOENT, "the file is removed"));
            }
            self.modify(&mut inode, |d| d.i_dtime.set(0));
        }
        self.modify(&mut inode, |d| d.i_links_count.set(links + 1));
        self.touch_inode(&mut inode)?;
        self.insert_name(&mut parent, name, target, file_type::of_mode(inode.i_mode.get()))?;
        self.touch_dir(&mut parent)?;
        Ok(inode)
    }

    /// Takes a name of a file away; with its last name the file goes.
    ///
    /// # Errors
    /// The name is not there; it leads to a directory; something on the way is damaged.
    pub fn unlink(&mut self, dir: InodeNr, name: &[u8]) -> Result<(), EditError> {
        let (mut parent, entry, inode) = self.named(dir, name)?;
        if inode.is_dir() {
            return Err(EditError::IsADirectory { inode: inode.nr() });
        }
        self.remove_entry(&mut parent, &entry)?;
        self.touch_dir(&mut parent)?;
        self.release(inode.nr(), false)?;
        Ok(())
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// The name is not there; it leads to something else, or to a directory with entries; something on the way is damaged.
    pub fn rmdir(&mut self, dir: InodeNr, name: &[u8]) -> Result<(), EditError> {
        let (mut parent, entry, inode) = self.named(dir, name)?;
        self.remove_dir(&mut parent, &entry, &inode)?;
        self.release(inode.nr(), false)?;
        Ok(())
    }

    /// Takes a name away, of a file or of an empty directory, and keeps what it led to although that was the last name: it is
    /// open, and stands among the orphans.
    ///
    /// # Errors
    /// As [`Editor::unlink`] and [`Editor::rmdir`].
    pub fn detach(&mut self, dir: InodeNr, name: &[u8]) -> Result<Inode, EditError> {
        let (mut parent, entry, inode) = self.named(dir, name)?;
        if inode.is_dir() {
            self.remove_dir(&mut parent, &entry, &inode)?;
        } else {
            self.remove_entry(&mut parent, &entry)?;
            self.touch_dir(&mut parent)?;
        }
        self.release(inode.nr(), true)
    }

    fn remove_dir(&mut self, parent: &mut Inode, entry: &DirEntry, inode: &Inode) -> Result<(), EditError> {
        if !self.is_empty_dir(inode)? {
            return Err(EditError::NotEmpty { inode: inode.nr() });
        }
        self.remove_entry(parent, entry)?;
        self.drop_dir_link(parent);
        self.touch_dir(parent)
    }

    /// The directory, the entry with this name, and what it leads to.
    pub(super) fn named(&self, dir: InodeNr, name: &[u8]) -> Result<(Inode, DirEntry, Inode), EditError> {
        check_name(name)?;
        let parent = self.live_inode(dir)?;
        let entry = self.lookup_existing(&parent, name)?;
        let inode = self.live_inode(entry.inode)?;
        Ok((parent, entry, inode))
    }

    /// Makes a name without counting it: neither the links of what it leads to nor a time change (`link` of debugfs).
    ///
    /// # Errors
    /// As [`Editor::add_name`].
    pub fn link_raw(&mut self, dir: InodeNr, name: &[u8], target: InodeNr, file_type: u8) -> Result<(), EditError> {
        let count = self.geometry().inodes_count.into();
        if target.get() > count {
            return Err(VolumeError::NoSuchInode { inode: target, count }.into());
        }
        let mut dir = self.inode(dir)?;
        self.add_name(&mut dir, name, target, file_type)
    }

    /// Takes a name away without looking at what it leads to (`unlink` of debugfs). The entry as it was.
    ///
    /// # Errors
    /// As [`Editor::remove_name`].
    pub fn unlink_raw(&mut self, dir: InodeNr, name: &[u8]) -> Result<DirEntry, EditError> {
        let mut dir = self.inode(dir)?;
        self.remove_name(&mut dir, name)
    }
}
