//! Making files of every type.

use daxkit_format::InodeNr;
use daxkit_format::dax::Errno;
use daxkit_format::ext4::dir_entry::file_type;
use daxkit_format::ext4::features::Incompat;
use daxkit_format::ext4::inline_data::MIN_SIZE;
use daxkit_format::ext4::inode::mode;
use daxkit_format::ext4::inode_flags::InodeFlags;

use super::super::super::inode::Inode;
use super::super::dir::entry_number;
use super::super::{EditError, Editor, NewInode};

/// Longest target of a symbolic link, the zero byte at its end counted (`PATH_MAX`).
const PATH_MAX: usize = 4096;

impl Editor<'_> {
    /// Makes a regular file without content.
    ///
    /// # Errors
    /// The name is none, or is there; the directory is none, is removed, is encrypted; no space or inode is left; something on
    /// the way is damaged.
    pub fn create(&mut self, dir: InodeNr, name: &[u8], new: &NewInode) -> Result<Inode, EditError> {
        self.make(dir, name, &new.typed(mode::IFREG), |_, _| Ok(()))
    }

    /// Makes a device node, a fifo or a socket, as the type in the mode says; the device counts for device nodes. A regular file, when it
    /// says that or nothing.
    ///
    /// # Errors
    /// As [`Editor::create`]; the mode says something else, or there is no such device number.
    pub fn mknod(
        &mut self,
        dir: InodeNr,
        name: &[u8],
        new: &NewInode,
        (major, minor): (u32, u32),
    ) -> Result<Inode, EditError> {
        match new.mode & mode::IFMT {
            0 | mode::IFREG => self.create(dir, name, new),
            mode::IFCHR | mode::IFBLK => {
                if major >= 1 << 12 || minor >= 1 << 20 {
                    return Err(EditError::refused(dir, Errno::EINVAL, "no such device number"));
                }
                self.make(dir, name, new, |editor, inode| {
                    editor.modify(inode, |d| d.set_device(major, minor));
                    editor.store_inode(inode)
                })
            }
            mode::IFIFO | mode::IFSOCK => self.make(dir, name, new, |_, _| Ok(())),
            _ => Err(EditError::refused(dir, Errno::EINVAL, "no node can have such a type")),
        }
    }

    /// Makes a symbolic link: its target lies in the inode where it fits, else in a block.
    ///
    /// # Errors
    /// As [`Editor::create`]; the target is empty, or longer than a block or a path can be.
    pub fn symlink(&mut self, dir: InodeNr, name: &[u8], target: &[u8], new: &NewInode) -> Result<Inode, EditError> {
        if target.is_empty() {
            return Err(EditError::refused(dir, Errno::ENOENT, "a symbolic link leads somewhere"));
        }
        if target.contains(&0) {
            return Err(EditError::BadName { name: target.to_vec() });
        }
        if target.len() >= PATH_MAX {
            return Err(EditError::NameTooLong { len: target.len() });
        }
        if target.len() >= self.block_size() as usize {
            // A name that is there already counts for more.
            self.check_new_name(&self.open_dir(dir)?, name)?;
            return Err(EditError::NameTooLong { len: target.len() });
        }
        let new = NewInode { mode: 0o777, ..*new }.typed(mode::IFLNK);
        self.make(dir, name, &new, |editor, inode| editor.fill_symlink(inode, target))
    }

    fn fill_symlink(&mut self, inode: &mut Inode, target: &[u8]) -> Result<(), EditError> {
        let size = target.len() as u64;
        if target.len() < MIN_SIZE {
            self.modify(inode, |d| {
                d.set_flags(d.flags() - InodeFlags::EXTENTS);
                d.i_block = [0; MIN_SIZE];
                d.i_block.iter_mut().zip(target).for_each(|(to, from)| *to = *from);
                d.set_size(size);
            });
            return self.store_inode(inode);
        }
        if self.has_incompat(Incompat::INLINE_DATA) && self.set_inline(inode, target)? {
            return Ok(());
        }
        let (_, block) = self.append_block(inode)?;
        self.write_data(block, target)?;
        self.modify(inode, |d| d.set_size(size));
        self.store_inode(inode)
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// As [`Editor::create`]; the directory above cannot count one more.
    pub fn mkdir(&mut self, dir: InodeNr, name: &[u8], new: &NewInode) -> Result<Inode, EditError> {
        let mut parent = self.open_dir(dir)?;
        self.check_new_name(&parent, name)?;
        self.check_dir_links(&parent)?;
        let mut inode = self.new_inode_with(&parent, &new.typed(mode::IFDIR), 2)?;
        self.fill_dir(&mut inode, dir)?;
        self.insert_name(&mut parent, name, inode.nr(), file_type::DIR)?;
        self.add_dir_link(&mut parent);
        self.touch_dir(&mut parent)?;
        Ok(inode)
    }

    /// Gives a new directory its entries `.` and `..`.
    fn fill_dir(&mut self, inode: &mut Inode, parent: InodeNr) -> Result<(), EditError> {
        let (own, parent) = (entry_number(inode.nr())?, entry_number(parent)?);
        if self.has_incompat(Incompat::INLINE_DATA) {
            let content = self.empty_inline_dir(parent);
            if self.set_inline(inode, &content)? {
                return Ok(());
            }
        }
        let (_, block) = self.append_block(inode)?;
        let mut bytes = vec![0; self.block_size() as usize];
        self.entry_style().dots(bytes.get_mut(..self.dir_area()).unwrap_or_default(), own, parent);
        self.write_leaf(inode, block, &mut bytes)
    }

    /// Makes a regular file without a name (`O_TMPFILE`): it stands among the orphans until it is linked.
    ///
    /// # Errors
    /// As [`Editor::create`].
    pub fn tmpfile(&mut self, dir: InodeNr, new: &NewInode) -> Result<Inode, EditError> {
        let parent = self.open_dir(dir)?;
        let mut inode = self.new_inode(&parent, &new.typed(mode::IFREG))?;
        self.orphan_add(&mut inode)?;
        Ok(inode)
    }

    /// Makes an inode with one link, which `fill` may fill, and its name.
    fn make(
        &mut self,
        dir: InodeNr,
        name: &[u8],
        new: &NewInode,
        fill: impl FnOnce(&mut Self, &mut Inode) -> Result<(), EditError>,
    ) -> Result<Inode, EditError> {
        let mut parent = self.open_dir(dir)?;
        self.check_new_name(&parent, name)?;
        let mut inode = self.new_inode_with(&parent, new, 1)?;
        fill(self, &mut inode)?;
        self.insert_name(&mut parent, name, inode.nr(), file_type::of_mode(inode.i_mode.get()))?;
        self.touch_dir(&mut parent)?;
        Ok(inode)
    }
}
