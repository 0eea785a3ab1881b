//! Names: found, listed, made, moved, taken away.

use daxkit_format::InodeNr;
use daxkit_format::dax::{Errno, FileKind};
use daxkit_format::ext4::dir_entry::file_type;
use daxkit_format::ext4::inode::mode;
use daxkit_volume::ext4::edit::{NewInode as VolumeInode, Rename as Move, RenameRule};
use daxkit_volume::{DirEntry, Inode};

use super::inode::{MINOR_BITS, STORED};
use super::{Ext4Fs, errno_of};
use crate::fs::mem::Survives;
use crate::fs::{Ino, Name, NewInode, Rename};

impl<W: Survives + 'static> Ext4Fs<W> {
    fn dir(&self, ino: Ino) -> Result<Inode, Errno> {
        let dir = self.inode(ino)?;
        if dir.is_dir() { Ok(dir) } else { Err(Errno::ENOTDIR) }
    }

    pub(super) fn find_name(&self, dir: Ino, name: &[u8]) -> Result<Ino, Errno> {
        let dir = self.dir(dir)?;
        if name.len() > daxkit_format::ext4::dir_entry::NAME_LEN {
            return Err(Errno::ENAMETOOLONG);
        }
        let found = self.volume.lookup(&dir, name).map_err(|e| errno_of(&e))?;
        Ok(found.ok_or(Errno::ENOENT)?.inode.get())
    }

    pub(super) fn list_names(&self, dir: Ino) -> Result<Vec<Name>, Errno> {
        let dir = self.dir(dir)?;
        let mut names = Vec::new();
        for entry in self.volume.read_dir(&dir).map_err(|e| errno_of(&e))? {
            let entry = entry.map_err(|e| errno_of(&e))?;
            if !entry.is_dot() {
                let kind = self.kind_of(&entry);
                names.push(Name { ino: entry.inode.get(), kind, name: entry.name });
            }
        }
        Ok(names)
    }

    /// The type that an entry says, or its inode where entries do not.
    fn kind_of(&self, entry: &DirEntry) -> FileKind {
        match entry.file_type {
            file_type::REG_FILE => FileKind::Regular,
            file_type::DIR => FileKind::Directory,
            file_type::SYMLINK => FileKind::Symlink,
            file_type::UNKNOWN => {
                let inode = self.volume.inode(entry.inode).ok();
                inode.and_then(|inode| FileKind::from_mode(inode.i_mode.get())).unwrap_or(FileKind::Special)
            }
            _ => FileKind::Special,
        }
    }

    pub(super) fn make(&mut self, dir: Ino, name: Option<&[u8]>, new: &NewInode, target: &[u8]) -> Result<Ino, Errno> {
        self.heard_of(new.now);
        self.dir(dir)?;
        let wanted = VolumeInode {
            mode: new.mode,
            uid: new.uid,
            gid: new.gid,
            project: Some(new.projid),
            // The VFS has looked at the set-group-ID bit.
            keep_group: true,
        };
        let parent = InodeNr(dir);
        let device = (new.rdev >> MINOR_BITS, new.rdev & ((1 << MINOR_BITS) - 1));
        let nr = self.edit(|editor| {
            let mut inode = match (name, new.mode & mode::IFMT) {
                (None, _) => editor.tmpfile(parent, &wanted)?,
                (Some(name), mode::IFDIR) => editor.mkdir(parent, name, &wanted)?,
                (Some(name), mode::IFLNK) => editor.symlink(parent, name, target, &wanted)?,
                (Some(name), _) => editor.mknod(parent, name, &wanted, device)?,
            };
            let flags = (inode.flags() & STORED) | (new.flags - STORED);
            if inode.flags() != flags {
                editor.modify(&mut inode, |d| d.set_flags(flags));
                editor.store_inode(&mut inode)?;
            }
            Ok(inode.nr().get())
        })?;
        self.dirty.extend([nr, dir]);
        Ok(nr)
    }

    pub(super) fn remove_name(&mut self, dir: Ino, name: &[u8], is_dir: bool, now: i64) -> Result<(), Errno> {
        self.heard_of(now);
        let ino = self.find_name(dir, name)?;
        match (self.inode(ino)?.is_dir(), is_dir) {
            (true, false) => return Err(Errno::EISDIR),
            (false, true) => return Err(Errno::ENOTDIR),
            _ => {}
        }
        self.leave_orphans(ino)?;
        self.edit(|editor| editor.detach(InodeNr(dir), name).map(drop))?;
        self.dirty.extend([ino, dir]);
        self.rejoin_orphans(ino)
    }

    pub(super) fn move_name(
        &mut self,
        from: (Ino, &[u8]),
        to: (Ino, &[u8]),
        how: Rename,
        now: i64,
    ) -> Result<(), Errno> {
        self.heard_of(now);
        let moved = self.find_name(from.0, from.1)?;
        let replaced = self.find_name(to.0, to.1).ok();
        let rule = match how {
            Rename::Replace => RenameRule::Replace,
            Rename::NoReplace => RenameRule::Keep,
            Rename::Exchange => RenameRule::Exchange,
        };
        let step =
            Move { from: InodeNr(from.0), name: from.1, to: InodeNr(to.0), new_name: to.1, rule, keep_replaced: true };
        let ends = replaced.filter(|ino| how == Rename::Replace && *ino != moved);
        if let Some(ino) = ends {
            self.leave_orphans(ino)?;
        }
        let done = self.edit(|editor| editor.rename(&step).map(drop));
        if let Some(ino) = ends {
            self.rejoin_orphans(ino)?;
        }
        done?;
        self.dirty.extend([from.0, to.0, moved]);
        self.dirty.extend(replaced);
        Ok(())
    }

    /// Takes a file with data behind its size out from among the orphans, for an edit that may put it there for another reason.
    fn leave_orphans(&mut self, ino: Ino) -> Result<(), Errno> {
        if self.beyond.remove(&ino) {
            self.edit_inode(ino, |editor, inode| editor.orphan_del(inode))?;
            self.left.insert(ino);
        }
        Ok(())
    }

    /// Puts it back, unless it has no links and stands there already.
    fn rejoin_orphans(&mut self, ino: Ino) -> Result<(), Errno> {
        if self.left.remove(&ino) { self.put_beyond(ino) } else { Ok(()) }
    }
}
