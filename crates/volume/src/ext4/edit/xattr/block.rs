//! The attribute block of an inode: shared by inodes with the same attributes, copied before it is changed.

use std::collections::HashMap;

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

impl AttrBlock {
    fn parse(place: Place, nr: BlockNr, bytes: Vec<u8>) -> Result<Self, VolumeError> {
        let refcount = XattrHeader::peek(&bytes).map_or(0, |h| h.h_refcount.get());
        if refcount == 0 {
            return Err(VolumeError::corrupt(place, Corruption::XattrRefcount));
        }
        let entries = Attributes::in_block(&bytes)
            .map(|a| a.map(|a| Entry::of(&a)).map_err(|e| VolumeError::corrupt(place, e)))
            .collect::<Result<_, _>>()?;
        Ok(Self { nr, bytes, refcount, entries })
    }
}

/// What an equal block has in its header; 0 for one that is not shared.
fn hash(entries: &[Entry]) -> u32 {
    xattr::block_hash(entries.iter().map(|e| e.hash))
}

/// Attribute blocks by their hash.
#[derive(Debug, Default)]
pub(in super::super) struct BlockHints {
    by_hash: HashMap<u32, BlockNr>,
}

impl BlockHints {
    /// Blocks that are remembered.
    const MOST: usize = 1 << 16;

    fn find(&self, hash: u32) -> Option<BlockNr> {
        self.by_hash.get(&hash).copied()
    }

    fn remember(&mut self, hash: u32, nr: BlockNr) {
        if self.by_hash.len() >= Self::MOST {
            self.by_hash.clear();
        }
        if hash != 0 {
            self.by_hash.insert(hash, nr);
        }
    }
}

impl Editor<'_> {
    pub(super) fn attr_block(&self, inode: &Inode) -> Result<Option<AttrBlock>, EditError> {
        if inode.file_acl() == 0 {
            return Ok(None);
        }
        let (nr, bytes) = self.xattr_block(inode)?;
        let place = Place::InodeBlock { inode: inode.nr(), block: nr, offset: 0 };
        Ok(Some(AttrBlock::parse(place, nr, bytes)?))
    }

    /// Gives an inode an attribute block with these entries, or none when there are none: the one it has, changed; one that another
    /// inode has already; or a new one. `fresh` is the entry that is new, whose value's inode is counted already. In memory.
    pub(super) fn put_attr_block(
        &mut self,
        inode: &mut Inode,
        old: Option<AttrBlock>,
        entries: &[Entry],
        fresh: Option<usize>,
    ) -> Result<(), EditError> {
        if old.as_ref().map_or(&[][..], |b| &b.entries) == entries {
            return Ok(());
        }
        if entries.is_empty() {
            return old.map_or(Ok(()), |old| self.leave_attr_block(inode, &old));
        }
        let alone = old.as_ref().is_none_or(|b| b.refcount == 1);
        let own = old.as_ref().map(|b| b.nr).filter(|_| alone);
        let equal = self.equal_block(entries, own)?;
        // Whose references to inodes with values change: the block's that is left, or the copy's that is made.
        for (at, entry) in entries.iter().enumerate() {
            let Some((holder, _)) = entry.value_inode() else { continue };
            if equal.is_some() && (fresh == Some(at) || own.is_some()) {
                self.drop_value(inode, holder)?;
            } else if equal.is_none() && fresh != Some(at) && !alone {
                self.add_value_reference(inode, holder)?;
            }
        }
        let (nr, refcount) = match (equal, own) {
            (Some(block), _) => (block.nr, block.refcount + 1),
            (None, Some(nr)) => (nr, 1),
            (None, None) => (self.take_blocks(self.home(inode), 1)?.first, 1),
        };
        if let Some(old) = old.filter(|old| old.nr != nr) {
            self.leave_attr_block(inode, &old)?;
        }
        if nr.get() != inode.file_acl() {
            self.modify(inode, |d| d.set_file_acl(nr.get()));
            self.add_space(inode, self.geometry().cluster_ratio.into())?;
        }
        let room = || EditError::refused(inode.nr(), Errno::ENOSPC, "no room for the attribute");
        let mut bytes = pack_block(self.block_size() as usize, entries, refcount).ok_or_else(room)?;
        self.volume.hints_mut().attr_blocks.remember(hash(entries), nr);
        self.write_attr_block(nr, &mut bytes)
    }

    /// A block with these very entries that one inode more may share.
    fn equal_block(&mut self, entries: &[Entry], own: Option<BlockNr>) -> Result<Option<AttrBlock>, EditError> {
        let found = self.volume.hints_mut().attr_blocks.find(hash(entries));
        let Some(nr) = found.filter(|nr| Some(*nr) != own) else { return Ok(None) };
        // It may have gone meanwhile, and the block may be another's.
        let bytes = self.block(Place::Block(nr), nr)?.to_vec();
        let sound = self.block_in_use(nr)?
            && XattrHeader::peek(&bytes).is_some_and(|h| h.h_magic.get() == xattr::MAGIC && h.h_blocks.get() == 1)
            && self.seal_seed().is_none_or(|seed| xattr::verify_block(seed, nr.get(), &bytes));
        if !sound {
            return Ok(None);
        }
        let block = AttrBlock::parse(Place::Block(nr), nr, bytes).ok();
        Ok(block.filter(|b| b.entries == entries && b.refcount < xattr::REFCOUNT_MAX))
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
