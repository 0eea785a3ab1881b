//! Values of attributes in inodes of their own (feature `ea_inode`).
//!
//! Such an inode counts who names it where others have their version and change time, and has the hash of its value for an
//! access time. Equal values share an inode when they were set through one volume. Whoever names a value is charged for it as
//! if it were not shared (`ext4_xattr_inode_alloc_quota`); the inode itself is charged to nobody.

use std::collections::HashMap;

use daxkit_format::InodeNr;
use daxkit_format::ext4::features::Incompat;
use daxkit_format::ext4::inode::mode;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::xattr;

use super::super::super::error::Corruption;
use super::super::super::inode::Inode;
use super::super::{EditError, Editor};

/// Inodes that hold values, by the hash of the value.
#[derive(Debug, Default)]
pub(in super::super) struct ValueHints {
    by_hash: HashMap<u32, u32>,
}

impl ValueHints {
    /// Values that are remembered.
    const MOST: usize = 1 << 16;

    fn remember(&mut self, hash: u32, inode: u32) {
        if self.by_hash.len() >= Self::MOST {
            self.by_hash.clear();
        }
        self.by_hash.insert(hash, inode);
    }
}

impl Editor<'_> {
    /// An inode that holds this value, with one reference more for whoever asks, and the value's hash. The owner is charged.
    pub(super) fn take_value(&mut self, owner: &mut Inode, value: &[u8]) -> Result<(u32, u32), EditError> {
        let hash = xattr::ea_inode_hash(self.super_block().checksum_seed(), value);
        let blocks = self.value_blocks(value.len() as u64);
        self.add_space(owner, blocks)?;
        self.charge(owner, 0, 1)?;
        if let Some(nr) = self.known_value(hash, value)? {
            self.add_value_reference(owner, nr)?;
            return Ok((nr, hash));
        }
        let nr = self.new_value(owner, hash, value)?;
        self.volume.hints_mut().values.remember(hash, nr);
        Ok((nr, hash))
    }

    /// Takes back what the owner was charged for a value. In memory.
    pub(super) fn uncharge_value(&mut self, owner: &mut Inode, size: u32) -> Result<(), EditError> {
        let blocks = self.value_blocks(size.into());
        self.add_space(owner, -blocks)?;
        self.charge(owner, 0, -1)
    }

    /// Blocks that are charged for a value.
    fn value_blocks(&self, size: u64) -> i64 {
        let ratio = u64::from(self.geometry().cluster_ratio);
        self.geometry().blocks_for(size).next_multiple_of(ratio).cast_signed()
    }

    fn known_value(&mut self, hash: u32, value: &[u8]) -> Result<Option<u32>, EditError> {
        let Some(nr) = self.volume.hints_mut().values.by_hash.get(&hash).copied() else { return Ok(None) };
        let Ok(holder) = self.inode(InodeNr(nr.into())) else { return Ok(None) };
        // It may have gone meanwhile, and its number may be another's.
        let same = holder.flags().contains(InodeFlags::EA_INODE)
            && holder.i_links_count.get() > 0
            && holder.size() == value.len() as u64
            && (1..u64::MAX).contains(&references(&holder))
            && self.read_file(&holder, 0..holder.size()).is_ok_and(|found| found == value);
        Ok(same.then_some(nr))
    }

    fn new_value(&mut self, owner: &Inode, hash: u32, value: &[u8]) -> Result<u32, EditError> {
        let nr = self.take_inode(owner.nr(), false)?;
        let (extra, generation) = (self.extra_isize(), self.new_generation(nr)?);
        let mut holder = self.decode_inode(nr, vec![0; self.geometry().inode_size.into()]);
        let (now, extents) = (self.now(), self.has_incompat(Incompat::EXTENTS));
        self.modify(&mut holder, |d| {
            d.i_extra_isize.set(extra);
            d.i_generation.set(generation);
            d.i_mode.set(mode::IFREG | 0o600);
            d.set_uid(owner.uid());
            d.set_gid(owner.gid());
            d.i_links_count.set(1);
            d.set_mtime(now);
            d.set_crtime(now);
            let mut flags = InodeFlags::EA_INODE;
            flags.set(InodeFlags::EXTENTS, extents);
            d.set_flags(flags);
        });
        self.new_map(&mut holder);
        self.write_content(&mut holder, 0, value)?;
        self.modify(&mut holder, |d| d.i_atime.set(hash));
        self.set_references(&mut holder, 1)?;
        u32::try_from(nr.get()).map_err(|_| EditError::NoInodes)
    }

    /// Counts one more who names a value.
    pub(super) fn add_value_reference(&mut self, owner: &Inode, nr: u32) -> Result<(), EditError> {
        let (mut holder, count) = self.value_holder(owner, nr)?;
        let count = count.checked_add(1).ok_or_else(|| damaged(owner, nr))?;
        self.set_references(&mut holder, count)
    }

    /// Counts one fewer who names a value; the inode goes with the last.
    pub(super) fn drop_value(&mut self, owner: &Inode, nr: u32) -> Result<(), EditError> {
        let (mut holder, count) = self.value_holder(owner, nr)?;
        if count > 1 {
            return self.set_references(&mut holder, count - 1);
        }
        self.set_references(&mut holder, 0)?;
        self.drop_inode(holder)
    }

    /// An inode with a value, and how often it is named.
    fn value_holder(&self, owner: &Inode, nr: u32) -> Result<(Inode, u64), EditError> {
        let holder = self.inode(InodeNr(nr.into()))?;
        if !holder.flags().contains(InodeFlags::EA_INODE) || !holder.is_file() {
            return Err(EditError::damaged(owner.nr(), Corruption::EaInodeFlag { inode: nr }));
        }
        let count = if self.is_lustre_value(owner, &holder) { 1 } else { references(&holder) };
        if count == 0 || holder.i_links_count.get() == 0 {
            return Err(damaged(owner, nr));
        }
        Ok((holder, count))
    }

    fn set_references(&mut self, holder: &mut Inode, count: u64) -> Result<(), EditError> {
        self.modify(holder, |d| {
            d.i_ctime.set((count >> 32) as u32);
            d.l_i_version.set(count as u32);
        });
        self.store_inode(holder)
    }
}

fn references(holder: &Inode) -> u64 {
    u64::from(holder.i_ctime.get()) << 32 | u64::from(holder.l_i_version.get())
}

fn damaged(owner: &Inode, inode: u32) -> EditError {
    EditError::damaged(owner.nr(), Corruption::EaInodeReferences { inode })
}
