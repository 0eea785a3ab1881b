//! Setting and removing extended attributes (Linux 6.12 `ext4_xattr_set_handle`).
//!
//! An attribute goes where the kernel puts it: into the inode when it fits there, else into the attribute block; its value into
//! an inode of its own when it is large or fits nowhere else. What else an inode has stays where it is. The tail of inline data is
//! an attribute, too, but not one of the user's: it is never seen here, and keeps its room.

mod block;
mod value;

use daxkit_format::dax::Errno;
use daxkit_format::ext4::acl::{self, AclError};
use daxkit_format::ext4::features::{Compat, Incompat};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::xattr;
use daxkit_format::ext4::{inline_data, xattr::value_words};

use self::block::AttrBlock;
use super::super::inode::Inode;
use super::super::xattr_list::{BLOCK_OVERHEAD, BODY_OVERHEAD, Entry, Value, total_len};
use super::{EditError, Editor};

pub(super) use block::BlockHints;
pub(super) use value::ValueHints;

/// Longest whole name (`XATTR_NAME_MAX`).
const NAME_MAX: usize = 255;

/// What an inode has, and where.
struct Lists {
    body: Vec<Entry>,
    block: Option<AttrBlock>,
}

impl Lists {
    fn in_block(&self) -> &[Entry] {
        self.block.as_ref().map_or(&[], |b| &b.entries)
    }

    fn find(&self, index: u8, name: &[u8]) -> Option<&Entry> {
        self.body.iter().chain(self.in_block()).find(|e| e.is(index, name))
    }

    /// Both lists without one attribute.
    fn without(&self, index: u8, name: &[u8]) -> Placed {
        let rest = |list: &[Entry]| list.iter().filter(|e| !e.is(index, name)).cloned().collect();
        Placed { body: rest(&self.body), block: rest(self.in_block()) }
    }
}

/// What an inode is to have, and where.
struct Placed {
    body: Vec<Entry>,
    block: Vec<Entry>,
}

impl Placed {
    /// Whether it takes space outside of the inode.
    fn counts_space(&self) -> bool {
        !self.block.is_empty() || self.body.iter().any(|e| e.value_inode().is_some())
    }

    fn find_mut(&mut self, index: u8, name: &[u8]) -> Option<&mut Entry> {
        self.body.iter_mut().chain(&mut self.block).find(|e| e.is(index, name))
    }
}

impl Editor<'_> {
    /// Sets an attribute by its whole name, whether it is there or not. The value is what `getxattr` gives: ACLs are converted; the
    /// mode is not made to agree with them.
    ///
    /// # Errors
    /// A name or value that no attribute can have; no room for it; what the inode has is damaged.
    pub fn set_xattr(&mut self, inode: &mut Inode, full_name: &[u8], given: &[u8]) -> Result<(), EditError> {
        let nr = inode.nr();
        let (index, name) = settable(inode, full_name)?;
        let converted;
        let mut value = given;
        if matches!(index, xattr::INDEX_POSIX_ACL_ACCESS | xattr::INDEX_POSIX_ACL_DEFAULT) {
            converted = acl::to_disk(given).map_err(|why| {
                let errno = if matches!(why, AclError::Version { .. }) { Errno::EOPNOTSUPP } else { Errno::EINVAL };
                EditError::refused(nr, errno, "not an access control list")
            })?;
            value = &converted;
        }
        if value.len() > xattr::SIZE_MAX as usize {
            return Err(EditError::refused(nr, Errno::E2BIG, "an attribute can have no more than 65536 bytes"));
        }
        let lists = self.attribute_lists(inode)?;
        if let Some(old) = lists.find(index, name)
            && self.has_value(inode, old, value)?
        {
            return Ok(());
        }
        let mut placed = self.place(inode, &lists, index, name, value)?;
        if inode.is_symlink() && inode.has_inline_data() && placed.counts_space() {
            // Who checks passes over what such a link has beside its inode (e2fsck 1.47), so it becomes another kind of link.
            self.leave_inline(inode)?;
            return self.set_xattr(inode, full_name, given);
        }
        if let Some(entry) = placed.find_mut(index, name)
            && entry.value_inode().is_some()
        {
            let (holder, hash) = self.take_value(inode, value)?;
            entry.value = Value::Inode { nr: holder, size: value.len() as u32 };
            entry.hash = xattr::entry_hash(name, [hash].into_iter());
        }
        self.put_lists(inode, lists, placed, (index, name))?;
        if !self.has_compat(Compat::EXT_ATTR) {
            self.change_super_block(|sb| sb.s_feature_compat.set(sb.compat().union(Compat::EXT_ATTR).bits()))?;
        }
        Ok(())
    }

    /// Removes an attribute by its whole name.
    ///
    /// # Errors
    /// There is none of this name; what the inode has is damaged.
    pub fn remove_xattr(&mut self, inode: &mut Inode, full_name: &[u8]) -> Result<(), EditError> {
        let (index, name) = settable(inode, full_name)?;
        let lists = self.attribute_lists(inode)?;
        if lists.find(index, name).is_none() {
            return Err(EditError::NoAttribute { inode: inode.nr(), name: full_name.to_vec() });
        }
        let placed = lists.without(index, name);
        self.put_lists(inode, lists, placed, (index, name))
    }

    /// Removes all attributes, because the inode is deleted. Inline data is content, and stays.
    ///
    /// # Errors
    /// What the inode has is damaged.
    pub fn drop_xattrs(&mut self, inode: &mut Inode) -> Result<(), EditError> {
        let lists = self.attribute_lists(inode)?;
        for (holder, size) in lists.body.iter().filter_map(Entry::value_inode) {
            self.uncharge_value(inode, size)?;
            self.drop_value(inode, holder)?;
        }
        if let Some(block) = lists.block {
            for (holder, size) in block.entries.iter().filter_map(Entry::value_inode) {
                self.uncharge_value(inode, size)?;
                if block.refcount == 1 {
                    self.drop_value(inode, holder)?;
                }
            }
            self.leave_attr_block(inode, &block)?;
        }
        let rest: Vec<Entry> = lists.body.into_iter().filter(Entry::is_inline_tail).collect();
        if let Some(changed) = self.with_body(inode, &rest) {
            *inode = changed;
        }
        self.store_inode(inode)
    }

    /// How many inodes hold values of an inode's attributes, those counted twice that are named twice.
    pub(super) fn value_inodes(&self, inode: &Inode) -> Result<i64, EditError> {
        let lists = self.attribute_lists(inode)?;
        Ok(lists.body.iter().chain(lists.in_block()).filter(|e| e.value_inode().is_some()).count() as i64)
    }

    fn attribute_lists(&self, inode: &Inode) -> Result<Lists, EditError> {
        Ok(Lists { body: self.body_entries(inode)?, block: self.attr_block(inode)? })
    }

    /// Whether an attribute has this value already.
    fn has_value(&self, inode: &Inode, entry: &Entry, value: &[u8]) -> Result<bool, EditError> {
        Ok(match &entry.value {
            Value::Here(here) => here == value,
            Value::Inode { size, .. } if *size as usize != value.len() => false,
            Value::Inode { .. } => {
                self.xattrs(inode)?.iter().any(|x| x.index == entry.index && x.name == entry.name && x.value == value)
            }
        })
    }

    /// Where everything lies when an attribute is set. One whose value goes into an inode has 0 for its number.
    fn place(&self, inode: &Inode, lists: &Lists, index: u8, name: &[u8], value: &[u8]) -> Result<Placed, EditError> {
        let block_size = self.block_size() as usize;
        let can_be_outside = self.has_incompat(Incompat::EA_INODE);
        // Larger than what fits into a block beside the shortest of names (`EXT4_XATTR_MIN_LARGE_EA_SIZE`).
        let large = block_size - xattr::entry_len(3) - BLOCK_OVERHEAD;
        let mut outside = can_be_outside && xattr::value_len(value.len()) > large;
        loop {
            let size = value.len() as u32;
            let new = if outside { Value::Inode { nr: 0, size } } else { Value::Here(value.to_vec()) };
            let entry = Entry { index, name: name.to_vec(), value: new, hash: 0 };
            let Placed { body: others, mut block } = lists.without(index, name);
            let mut body = lists.body.clone();
            match body.iter_mut().find(|e| e.is(index, name)) {
                Some(old) => *old = entry.clone(),
                None => body.push(entry.clone()),
            }
            let room = self.body_area(inode).map_or(0, |area| area.len());
            // A value outside is space that is counted. Where a link has some but no attribute block, e2fsck (1.47) takes the target
            // in the inode for a map, so that such an entry goes into the block.
            let misread = outside && self.is_fast_symlink(inode);
            if BODY_OVERHEAD + total_len(&body) <= room && !misread {
                return Ok(Placed { body, block });
            }
            let hash = xattr::entry_hash(name, value_words(value));
            let values = entry.value_len();
            block.push(Entry { hash, ..entry });
            // A block must not be filled with values that could lie elsewhere (`EXT4_XATTR_BLOCK_RESERVE`).
            let reserve = if can_be_outside && values > 0 { (block_size / 8).min(1024) } else { 0 };
            let all_values: usize = block.iter().map(Entry::value_len).sum();
            if BLOCK_OVERHEAD + total_len(&block) <= block_size && all_values + reserve <= block_size {
                block.sort_by(|a, b| xattr::sort_key(a.index, &a.name).cmp(&xattr::sort_key(b.index, &b.name)));
                return Ok(Placed { body: others, block });
            }
            if outside || !can_be_outside || value.is_empty() {
                return Err(EditError::refused(inode.nr(), Errno::ENOSPC, "no room for the attribute"));
            }
            outside = true;
        }
    }

    /// Stores what [`Editor::place`] found, and lets go of the value that `changed` had.
    fn put_lists(
        &mut self,
        inode: &mut Inode,
        old: Lists,
        new: Placed,
        (index, name): (u8, &[u8]),
    ) -> Result<(), EditError> {
        let shared = old.block.as_ref().is_some_and(|b| b.refcount > 1);
        let from_body = old.body.iter().find(|e| e.is(index, name)).and_then(Entry::value_inode);
        let from_block = old.in_block().iter().find(|e| e.is(index, name)).and_then(Entry::value_inode);
        if old.body != new.body {
            let room = || EditError::refused(inode.nr(), Errno::ENOSPC, "no room for the attribute");
            *inode = self.with_body(inode, &new.body).ok_or_else(room)?;
        }
        let fresh = new.block.iter().position(|e| e.is(index, name));
        self.put_attr_block(inode, old.block, &new.block, fresh)?;
        for (value, drops) in [(from_body, true), (from_block, !shared)] {
            if let Some((holder, size)) = value {
                self.uncharge_value(inode, size)?;
                // What lies in a block that others share keeps the block's reference.
                if drops {
                    self.drop_value(inode, holder)?;
                }
            }
        }
        let now = self.now();
        self.modify(inode, |d| {
            d.set_ctime(now);
            d.bump_version();
        });
        self.store_inode(inode)
    }
}

/// Index and rest of the whole name of an attribute that users may set.
fn settable<'n>(inode: &Inode, full_name: &'n [u8]) -> Result<(u8, &'n [u8]), EditError> {
    let refuse = |errno, what| Err(EditError::refused(inode.nr(), errno, what));
    if full_name.len() > NAME_MAX {
        return refuse(Errno::ERANGE, "an attribute's name can have no more than 255 bytes");
    }
    let Some((index, name)) = xattr::split_name(full_name) else {
        if xattr::PREFIXES.iter().any(|(_, prefix)| prefix.as_bytes() == full_name) {
            return refuse(Errno::EINVAL, "an attribute's name has something behind its prefix");
        }
        return refuse(Errno::EOPNOTSUPP, "ext4 has no attributes of this name");
    };
    if index == xattr::INDEX_ENCRYPTION || (index == xattr::INDEX_SYSTEM && name == inline_data::XATTR_NAME) {
        return refuse(Errno::EOPNOTSUPP, "the file system keeps this attribute to itself");
    }
    if inode.flags().contains(InodeFlags::EA_INODE) {
        return refuse(Errno::EOPNOTSUPP, "an inode that holds the value of an attribute has none itself");
    }
    Ok((index, name))
}
