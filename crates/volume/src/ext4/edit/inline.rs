//! Content kept in the inode: the first 60 bytes where a map would be, the rest as the value of `system.data` among the
//! inode's attributes (Linux 6.12 `fs/ext4/inline.c`).

use daxkit_format::ext4::dir_entry;
use daxkit_format::ext4::features::Incompat;
use daxkit_format::ext4::inline_data::{MIN_SIZE, XATTR_NAME};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::xattr;

use super::super::error::VolumeError;
use super::super::inode::Inode;
use super::super::open::Volume;
use super::super::xattr_list::{BODY_OVERHEAD, Entry, total_len};
use super::{EditError, Editor};

impl Volume {
    /// Most bytes that can be kept in an inode beside its other attributes; 0 when none can, because the file system does not
    /// have the feature or the inode no room for `system.data` (`ext4_get_max_inline_size`).
    ///
    /// # Errors
    /// The attributes in the inode are damaged.
    pub fn inline_capacity(&self, inode: &Inode) -> Result<usize, VolumeError> {
        // What is encrypted or has hashes over its blocks needs blocks.
        let never = InodeFlags::ENCRYPT | InodeFlags::VERITY | InodeFlags::EA_INODE;
        if !self.has_incompat(Incompat::INLINE_DATA) || inode.flags().intersects(never) {
            return Ok(0);
        }
        let Some(area) = self.body_area(inode) else { return Ok(0) };
        let mut others = self.body_entries(inode)?;
        others.retain(|e| !e.is_inline_tail());
        let taken = BODY_OVERHEAD + xattr::entry_len(XATTR_NAME.len()) + total_len(&others);
        Ok(area.len().checked_sub(taken).map_or(0, |rest| MIN_SIZE + rest / 4 * 4))
    }
}

impl Editor<'_> {
    /// Keeps `content` in the inode, whose whole content it then is; its size follows. False, and nothing done, when it does not
    /// fit, the inode has blocks, or it is of another kind: Linux keeps the targets of new symbolic links elsewhere. The content of a directory is as [`Volume::inline_data`] gives it: the parent's number, then
    /// two areas of entries, parted behind byte 60. Times are the caller's business.
    ///
    /// # Errors
    /// The attributes in the inode are damaged.
    pub fn set_inline(&mut self, inode: &mut Inode, content: &[u8]) -> Result<bool, EditError> {
        let fits = content.len() <= self.inline_capacity(inode)?;
        let free = self.map_walk(inode).next().is_none() && (inode.is_file() || inode.is_dir());
        if !fits || !(inode.has_inline_data() || free) {
            return Ok(false);
        }
        let (head, tail) = content.split_at(content.len().min(MIN_SIZE));
        let mut entries = self.body_entries(inode)?;
        let new = Entry::inline_tail(tail);
        match entries.iter_mut().find(|e| e.is_inline_tail()) {
            Some(entry) => *entry = new,
            None => entries.push(new),
        }
        let Some(mut changed) = self.with_body(inode, &entries) else { return Ok(false) };
        self.modify(&mut changed, |d| {
            d.i_block = [0; MIN_SIZE];
            d.i_block.iter_mut().zip(head).for_each(|(to, from)| *to = *from);
            d.set_flags(d.flags().difference(InodeFlags::EXTENTS).union(InodeFlags::INLINE_DATA));
            d.set_size(content.len() as u64);
        });
        self.store_inode(&mut changed)?;
        *inode = changed;
        Ok(true)
    }

    /// Writes into content that is kept in the inode, as pwrite(2); false, and nothing done, when it does not fit there.
    pub(super) fn write_inline(&mut self, inode: &mut Inode, offset: u64, bytes: &[u8]) -> Result<bool, EditError> {
        let Some(start) = self.inline_size(inode, offset)? else { return Ok(false) };
        let mut content = self.inline_data(inode)?;
        let end = start.saturating_add(bytes.len());
        if end > content.len() {
            if end > self.inline_capacity(inode)? {
                return Ok(false);
            }
            content.resize(end, 0);
        }
        content.iter_mut().skip(start).zip(bytes).for_each(|(to, from)| *to = *from);
        self.set_inline(inode, &content)
    }

    /// Sets the size of content that is kept in the inode; false, and nothing done, when it does not fit there.
    pub(super) fn truncate_inline(&mut self, inode: &mut Inode, size: u64) -> Result<bool, EditError> {
        let Some(size) = self.inline_size(inode, size)? else { return Ok(false) };
        let mut content = self.inline_data(inode)?;
        content.resize(size, 0);
        self.set_inline(inode, &content)
    }

    /// A size that can be kept in the inode.
    fn inline_size(&self, inode: &Inode, size: u64) -> Result<Option<usize>, EditError> {
        let most = self.inline_capacity(inode)?;
        Ok(usize::try_from(size).ok().filter(|size| *size <= most))
    }

    /// Moves content that is kept in the inode into blocks; nothing happens to an inode without such content. What a directory
    /// keeps becomes one block with `.` and `..`.
    ///
    /// # Errors
    /// No space is left, or the content is damaged.
    pub fn leave_inline(&mut self, inode: &mut Inode) -> Result<(), EditError> {
        if !inode.has_inline_data() {
            return Ok(());
        }
        let content = if inode.is_dir() { self.inline_dir_as_block(inode)? } else { self.inline_data(inode)? };
        let mut entries = self.body_entries(inode)?;
        entries.retain(|e| !e.is_inline_tail());
        let mut changed = self.with_body(inode, &entries).unwrap_or_else(|| inode.clone());
        let fast_link = inode.is_symlink() && content.len() < MIN_SIZE;
        let extents = self.has_incompat(Incompat::EXTENTS) && !fast_link;
        self.modify(&mut changed, |d| {
            let mut flags = d.flags().difference(InodeFlags::INLINE_DATA);
            flags.set(InodeFlags::EXTENTS, extents);
            d.set_flags(flags);
        });
        if inode.is_symlink() {
            // As long as it was inline data it was not charged.
            self.charge(&changed, 0, 1)?;
        }
        if !fast_link {
            self.modify(&mut changed, |d| d.set_size(0));
            self.new_map(&mut changed);
        }
        if inode.is_dir() {
            let (_, block) = self.append_block(&mut changed)?;
            let mut bytes = content;
            if let Some(seed) = self.inode_seal_seed(&changed) {
                dir_entry::seal_block(seed, &mut bytes);
            }
            self.write_block(block, &bytes)?;
        } else if !fast_link {
            self.write_content(&mut changed, 0, &content)?;
        }
        self.store_inode(&mut changed)?;
        *inode = changed;
        Ok(())
    }
}
