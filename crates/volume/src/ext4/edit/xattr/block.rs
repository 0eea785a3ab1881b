//! The attribute block of an inode: shared by inodes with the same attributes, copied before it is changed.

use daxkit_format::ext4::xattr::{self, Attributes, XattrHeader};
use daxkit_format::{BlockNr, OnDisk};

use super::super::super::error::{Corruption, Place, VolumeError};
use super::super::super::inode::Inode;
use super::super::super::xattr_list::{Entry, pack_block};
use super::super::{EditError, Editor, Run};
use daxkit_format::dax::Errno;

/// A block and what is in it.
pub(super) struct AttrBlock {
    nr: BlockNr,
    bytes: Vec<u8>,
    /// How many inodes share it; at least 1.
    pub(super) refcount: u32,
    pub(super) entries: Vec<Entry>,
}

impl Editor<'_> {
    pub(super) fn attr_block(&self, inode: &Inode) -> Result<Option<AttrBlock>, EditError> {
        if inode.file_acl() == 0 {
            return Ok(None);
        }
        let (nr, bytes) = self.xattr_block(inode)?;
        let place = Place::InodeBlock { inode: inode.nr(), block: nr, offset: 0 };
        let refcount = XattrHeader::peek(&bytes).map_or(0, |h| h.h_refcount.get());
        if refcount == 0 {
            return Err(VolumeError::corrupt(place, Corruption::XattrRefcount).into());
        }
        let entries = Attributes::in_block(&bytes)
            .map(|a| a.map(|a| Entry::of(&a)).map_err(|e| VolumeError::corrupt(place, e)))
            .collect::<Result<_, _>>()?;
        Ok(Some(AttrBlock { nr, bytes, refcount, entries }))
    }

    /// Gives an inode an attribute block with these entries, or none when there are none. `fresh` is the entry whose value's
    /// inode is counted already. In memory.
    pub(super) fn put_attr_block(
        &mut self,
        inode: &mut Inode,
        old: Option<AttrBlock>,
        entries: Vec<Entry>,
        fresh: Option<usize>,
    ) -> Result<(), EditError> {
        if old.as_ref().map_or(&[][..], |b| &b.entries) == entries {
            return Ok(());
        }
        if entries.is_empty() {
            return old.map_or(Ok(()), |old| self.leave_attr_block(inode, &old));
        }
        let room = || EditError::refused(inode.nr(), Errno::ENOSPC, "no room for the attribute");
        let mut bytes = pack_block(self.block_size() as usize, &entries, 1).ok_or_else(room)?;
        let nr = match &old {
            Some(old) if old.refcount == 1 => old.nr,
            _ => self.take_blocks(self.home(inode), 1)?.first,
        };
        if let Some(old) = old
            && old.refcount > 1
        {
            // The copy names the values again that the block named.
            for (at, entry) in entries.iter().enumerate() {
                if let Some((holder, _)) = entry.value_inode().filter(|_| fresh != Some(at)) {
                    self.add_value_reference(inode, holder)?;
                }
            }
            self.leave_attr_block(inode, &old)?;
        }
        if nr.get() != inode.file_acl() {
            self.modify(inode, |d| d.set_file_acl(nr.get()));
            self.add_space(inode, self.geometry().cluster_ratio.into())?;
        }
        self.write_attr_block(nr, &mut bytes)
    }

    /// Takes the attribute block away from an inode; it goes when no other inode shares it. References to inodes with values are
    /// the caller's business. In memory.
    pub(super) fn leave_attr_block(&mut self, inode: &mut Inode, block: &AttrBlock) -> Result<(), EditError> {
        if block.refcount > 1 {
            let mut bytes = block.bytes.clone();
            if let Some(head) = XattrHeader::peek_mut(&mut bytes) {
                head.h_refcount.set(block.refcount - 1);
            }
            self.write_attr_block(block.nr, &mut bytes)?;
        } else {
            self.give_blocks(Run { first: block.nr, len: 1 })?;
        }
        self.modify(inode, |d| d.set_file_acl(0));
        let ratio = i64::from(self.geometry().cluster_ratio);
        self.add_space(inode, -ratio)
    }

    fn write_attr_block(&mut self, nr: BlockNr, bytes: &mut [u8]) -> Result<(), EditError> {
        if let Some(seed) = self.seal_seed() {
            xattr::seal_block(seed, nr.get(), bytes);
        }
        self.write_block(nr, bytes)
    }
}
