//! Moving names (`ext4_rename`, `ext4_cross_rename`, and the checks of `vfs_rename` before them).

use std::collections::HashSet;

use daxkit_format::InodeNr;
use daxkit_format::dax::Errno;
use daxkit_format::ext4::dir_entry::file_type;

use super::super::super::dir::DirEntry;
use super::super::super::error::{Corruption, VolumeError};
use super::super::super::inode::Inode;
use super::super::dir::check_name;
use super::super::{EditError, Editor};

/// What happens to a file that has the new name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RenameRule {
    /// It loses it.
    Replace,
    /// It keeps it, and nothing is moved (`RENAME_NOREPLACE`).
    Keep,
    /// It gets the old name; it must be there (`RENAME_EXCHANGE`).
    Exchange,
}

/// A name to be moved.
#[derive(Debug, Clone, Copy)]
pub struct Rename<'a> {
    /// The directory it stands in.
    pub from: InodeNr,
    /// The name.
    pub name: &'a [u8],
    /// The directory it shall stand in.
    pub to: InodeNr,
    /// The name there.
    pub new_name: &'a [u8],
    /// What becomes of what has the new name.
    pub rule: RenameRule,
    /// A file that loses its last name is kept among the orphans.
    pub keep_replaced: bool,
}

/// A name and what it leads to.
struct Named {
    entry: DirEntry,
    inode: Inode,
}

impl Editor<'_> {
    /// Moves a name, or exchanges two. The inode that lost its name to the one moved, when it was to be kept and did.
    ///
    /// # Errors
    /// A name is none, is not there, or is where it must not be; a directory would come to lie below itself, or replace something
    /// that is no empty directory; a directory cannot count one more; no space; something on the way is damaged.
    pub fn rename(&mut self, r: &Rename<'_>) -> Result<Option<Inode>, EditError> {
        check_name(r.name)?;
        let (from, to) = (self.open_dir(r.from)?, self.open_dir(r.to)?);
        let old = self.named_in(&from, r.name)?;
        let Some(old) = old else { return Err(VolumeError::NotFound { dir: r.from, name: r.name.to_vec() }.into()) };
        check_name(r.new_name)?;
        let new = self.named_in(&to, r.new_name)?;
        self.check_rename(r, &old, new.as_ref())?;
        if new.as_ref().is_some_and(|new| new.inode.nr() == old.inode.nr()) {
            return Ok(None);
        }
        for dir in [&from, &to] {
            if dir.is_encrypted() {
                return Err(EditError::refused(
                    dir.nr(),
                    Errno::ENOKEY,
                    "names of an encrypted directory need its key",
                ));
            }
        }
        self.check_project(&to, &old.inode)?;
        match (new, r.rule) {
            (Some(new), RenameRule::Exchange) => {
                self.check_project(&from, &new.inode)?;
                self.exchange(r, &from, &to, &old, &new)?;
                Ok(None)
            }
            (new, _) => self.move_name(r, &to, &old, new),
        }
    }

    fn named_in(&self, dir: &Inode, name: &[u8]) -> Result<Option<Named>, EditError> {
        let Some(entry) = self.lookup(dir, name)? else { return Ok(None) };
        let inode = self.live_inode(entry.inode)?;
        Ok(Some(Named { entry, inode }))
    }

    /// What the VFS refuses.
    fn check_rename(&self, r: &Rename<'_>, old: &Named, new: Option<&Named>) -> Result<(), EditError> {
        match (r.rule, new) {
            (RenameRule::Keep, Some(_)) => {
                return Err(EditError::Exists { dir: r.to, name: r.new_name.to_vec() });
            }
            (RenameRule::Exchange, None) => {
                return Err(VolumeError::NotFound { dir: r.to, name: r.new_name.to_vec() }.into());
            }
            _ => {}
        }
        if r.from != r.to && old.inode.is_dir() && self.lies_below(r.to, old.inode.nr())? {
            return Err(EditError::refused(old.inode.nr(), Errno::EINVAL, "the directory would lie below itself"));
        }
        let Some(new) = new.filter(|new| new.inode.nr() != old.inode.nr()) else { return Ok(()) };
        let target = new.inode.nr();
        if r.from != r.to && new.inode.is_dir() && self.lies_below(r.from, target)? {
            return Err(match r.rule {
                RenameRule::Exchange => {
                    EditError::refused(target, Errno::EINVAL, "the directory would lie below itself")
                }
                _ => EditError::NotEmpty { inode: target },
            });
        }
        if r.rule == RenameRule::Exchange {
            return Ok(());
        }
        match (old.inode.is_dir(), new.inode.is_dir()) {
            (true, false) => Err(VolumeError::NotADirectory { inode: target }.into()),
            (false, true) => Err(EditError::IsADirectory { inode: target }),
            (true, true) if !self.is_empty_dir(&new.inode)? => Err(EditError::NotEmpty { inode: target }),
            _ => Ok(()),
        }
    }

    /// Whether `dir` is `above`, or lies below it.
    fn lies_below(&self, dir: InodeNr, above: InodeNr) -> Result<bool, EditError> {
        let mut here = dir;
        let mut seen = HashSet::new();
        while here != above {
            if here == InodeNr::ROOT {
                return Ok(false);
            }
            let parent = self.parent(&self.inode(here)?)?;
            if !seen.insert(here) {
                return Err(EditError::damaged(here, Corruption::DirTwice { parent: parent.get() }));
            }
            here = parent;
        }
        Ok(true)
    }

    fn move_name(
        &mut self,
        r: &Rename<'_>,
        to: &Inode,
        old: &Named,
        new: Option<Named>,
    ) -> Result<Option<Inode>, EditError> {
        let (nr, is_dir) = (old.inode.nr(), old.inode.is_dir());
        if is_dir && new.is_none() && r.from != r.to {
            self.check_dir_links(to)?;
        }
        let mut to = to.clone();
        match &new {
            Some(new) => self.retarget_entry(&mut to, &new.entry, nr, old.entry.file_type)?,
            None => {
                self.check_new_name(&to, r.new_name)?;
                self.insert_name(&mut to, r.new_name, nr, old.entry.file_type)?;
            }
        }
        self.touch_dir(&mut to)?;

        // The new name may have moved the old one.
        let mut from = self.inode(r.from)?;
        let entry = self.lookup_existing(&from, r.name)?;
        self.remove_entry(&mut from, &entry)?;
        self.touch_dir(&mut from)?;
        if is_dir {
            self.drop_dir_link(&mut from);
            self.store_inode(&mut from)?;
            if new.is_none() {
                let mut to = self.inode(r.to)?;
                self.add_dir_link(&mut to);
                self.store_inode(&mut to)?;
            }
        }
        self.settle(nr, r.from, r.to)?;
        match new {
            Some(new) => Ok(Some(self.release(new.inode.nr(), r.keep_replaced)?).filter(|_| r.keep_replaced)),
            None => Ok(None),
        }
    }

    fn exchange(
        &mut self,
        r: &Rename<'_>,
        from: &Inode,
        to: &Inode,
        old: &Named,
        new: &Named,
    ) -> Result<(), EditError> {
        let (old_dir, new_dir) = (old.inode.is_dir(), new.inode.is_dir());
        let counts = r.from != r.to && old_dir != new_dir;
        if counts {
            self.check_dir_links(if old_dir { to } else { from })?;
        }
        for (dir, entry, other) in [(r.to, &new.entry, old), (r.from, &old.entry, new)] {
            let mut dir = self.inode(dir)?;
            self.retarget_entry(&mut dir, entry, other.inode.nr(), other.entry.file_type)?;
            if counts {
                if other.inode.is_dir() {
                    self.add_dir_link(&mut dir);
                } else {
                    self.drop_dir_link(&mut dir);
                }
            }
            self.touch_dir(&mut dir)?;
        }
        self.settle(old.inode.nr(), r.from, r.to)?;
        self.settle(new.inode.nr(), r.to, r.from)
    }

    /// Tells an inode that its name was moved; a directory where it lies now.
    fn settle(&mut self, nr: InodeNr, from: InodeNr, to: InodeNr) -> Result<(), EditError> {
        let mut inode = self.inode(nr)?;
        if inode.is_dir() && from != to {
            self.set_name_target(&mut inode, b"..", to, file_type::DIR)?;
        }
        self.touch_inode(&mut inode)
    }
}
