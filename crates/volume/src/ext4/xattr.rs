//! Extended attributes: in the inode, in a block of their own, their values perhaps in further inodes.
//!
//! Everything an inode names is read and checked (checksums, hashes of values in inodes) before it is given out, in the order
//! in which it lies: those in the inode first. ACLs are given in ext4's own form; [`Xattr::for_user`] has the other.

use daxkit_format::ext4::acl::{self, AclError};
use daxkit_format::ext4::inode::GOOD_OLD_INODE_SIZE;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::xattr::{self, Attribute, Attributes, XattrHeader};
use daxkit_format::{BlockNr, InodeNr, OnDisk};

use super::error::{Corruption, Place, VolumeError};
use super::inode::Inode;
use super::open::Volume;

/// Where an attribute lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XattrPlace {
    /// Behind the fields of the inode.
    Inode,
    /// In the attribute block.
    Block(BlockNr),
}

/// A whole name and a value.
pub type NameAndValue = (Vec<u8>, Vec<u8>);

/// One attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Xattr {
    /// `e_name_index`: stands for the prefix of the name.
    pub index: u8,
    /// The name behind the prefix.
    pub name: Vec<u8>,
    /// The value as ext4 stores it.
    pub value: Vec<u8>,
    /// Where the entry lies.
    pub place: XattrPlace,
    /// The inode that holds the value, when it does not lie beside the entry.
    pub value_inode: Option<InodeNr>,
    /// `e_hash`.
    pub hash: u32,
}

impl Xattr {
    /// The whole name; a prefix that is not known is written as its number.
    #[must_use]
    pub fn full_name(&self) -> Vec<u8> {
        let mut full = match xattr::prefix(self.index) {
            Some(prefix) => prefix.as_bytes().to_vec(),
            None => format!("{}.", self.index).into_bytes(),
        };
        full.extend_from_slice(&self.name);
        full
    }

    /// True for an ACL, access or default.
    #[must_use]
    pub fn is_acl(&self) -> bool {
        matches!(self.index, xattr::INDEX_POSIX_ACL_ACCESS | xattr::INDEX_POSIX_ACL_DEFAULT)
    }

    /// Name and value as listxattr and getxattr give them; `None` for one the kernel keeps to itself (inline data,
    /// encryption contexts).
    ///
    /// # Errors
    /// An ACL that is not one.
    pub fn for_user(&self) -> Result<Option<NameAndValue>, AclError> {
        if self.is_acl() {
            return Ok(Some((self.full_name(), acl::from_disk(&self.value)?)));
        }
        // user, trusted, security and hurd are the namespaces that have a handler (`ext4_xattr_handlers`).
        let visible = matches!(self.index, 1 | 4 | 6 | 10);
        Ok(visible.then(|| (self.full_name(), self.value.clone())))
    }
}

impl Volume {
    /// The entries behind an inode's fields; `None` when it has no room or no magic number there.
    pub(crate) fn inode_attributes<'i>(&self, inode: &'i Inode) -> Result<Option<Attributes<'i>>, VolumeError> {
        let room = u16::try_from(inode.raw().len()).unwrap_or(u16::MAX).saturating_sub(GOOD_OLD_INODE_SIZE);
        let stored = inode.i_extra_isize.get();
        // Zero means that nothing behind the old fields was ever used.
        if room == 0 || stored == 0 {
            return Ok(None);
        }
        if stored > room || !stored.is_multiple_of(4) {
            return Err(VolumeError::bad_inode(inode.nr(), Corruption::ExtraIsize { stored, room }));
        }
        let area = inode.raw().get(usize::from(GOOD_OLD_INODE_SIZE) + usize::from(stored)..).unwrap_or_default();
        Ok(Attributes::in_inode(area))
    }

    /// All attributes of an inode.
    ///
    /// # Errors
    /// Entries, the attribute block or an inode with a value are damaged.
    pub fn xattrs(&self, inode: &Inode) -> Result<Vec<Xattr>, VolumeError> {
        let mut found = Vec::new();
        for attribute in self.inode_attributes(inode)?.into_iter().flatten() {
            let a = attribute.map_err(|e| VolumeError::bad_inode(inode.nr(), e))?;
            found.push(self.xattr(inode, inode.place(), &a, XattrPlace::Inode)?);
        }
        if inode.file_acl() != 0 {
            let (block, bytes) = self.xattr_block(inode)?;
            let place = Place::InodeBlock { inode: inode.nr(), block, offset: 0 };
            for attribute in Attributes::in_block(&bytes) {
                let a = attribute.map_err(|e| VolumeError::corrupt(place, e))?;
                found.push(self.xattr(inode, place, &a, XattrPlace::Block(block))?);
            }
        }
        Ok(found)
    }

    /// One attribute by its whole name, in ext4's form.
    ///
    /// # Errors
    /// As [`Volume::xattrs`].
    pub fn xattr_by_name(&self, inode: &Inode, name: &[u8]) -> Result<Option<Xattr>, VolumeError> {
        Ok(self.xattrs(inode)?.into_iter().find(|x| x.full_name() == name))
    }

    /// The block of attributes of an inode that has one: its number and bytes, header and checksum verified.
    ///
    /// # Errors
    /// The number is not possible, the block is not one of attributes, or the device failed.
    pub fn xattr_block(&self, inode: &Inode) -> Result<(BlockNr, Vec<u8>), VolumeError> {
        let block = BlockNr(inode.file_acl());
        let g = self.geometry();
        if !g.has_blocks(block.get(), 1) {
            let why = Corruption::BlockRange { first: block.get(), last: block.get(), limit: g.blocks_count };
            return Err(VolumeError::bad_inode(inode.nr(), why));
        }
        let place = Place::InodeBlock { inode: inode.nr(), block, offset: 0 };
        let bytes = self.block(place, block)?;
        let header = XattrHeader::peek(&bytes).copied().unwrap_or_else(OnDisk::zeroed);
        let found = header.h_magic.get();
        if found != xattr::MAGIC {
            let why = Corruption::Magic { structure: XattrHeader::NAME, found, expected: xattr::MAGIC };
            return Err(VolumeError::corrupt(place, why));
        }
        if header.h_blocks.get() != 1 {
            return Err(VolumeError::corrupt(place, Corruption::XattrBlocks { found: header.h_blocks.get() }));
        }
        if self.verify_seed().is_some_and(|seed| !xattr::verify_block(seed, block.get(), &bytes)) {
            return Err(VolumeError::corrupt(place, Corruption::Checksum));
        }
        Ok((block, bytes.to_vec()))
    }

    fn xattr(&self, owner: &Inode, at: Place, a: &Attribute<'_>, place: XattrPlace) -> Result<Xattr, VolumeError> {
        let value = if a.value_inum == 0 { a.value.to_vec() } else { self.ea_inode_value(owner, at, a)? };
        Ok(Xattr {
            index: a.index,
            name: a.name.to_vec(),
            value,
            place,
            value_inode: (a.value_inum != 0).then_some(InodeNr(a.value_inum.into())),
            hash: a.hash,
        })
    }

    /// The value that lies in an inode of its own (`ext4_xattr_inode_get`).
    fn ea_inode_value(&self, owner: &Inode, at: Place, a: &Attribute<'_>) -> Result<Vec<u8>, VolumeError> {
        let inode = a.value_inum;
        let bad = |why| VolumeError::corrupt(at, why);
        let holder = self.inode(InodeNr(inode.into()))?;
        if !holder.flags().contains(InodeFlags::EA_INODE) || !holder.is_file() {
            return Err(bad(Corruption::EaInodeFlag { inode }));
        }
        if holder.size() != u64::from(a.value_size) || a.value_size > xattr::SIZE_MAX {
            return Err(bad(Corruption::EaInodeSize { inode, stored: a.value_size, found: holder.size() }));
        }
        let value = self.read_file(&holder, 0..holder.size())?;
        if !self.ignores_checksums()
            && !self.is_lustre_value(owner, &holder)
            && !self.ea_inode_hash_ok(&holder, a, &value)
        {
            return Err(bad(Corruption::EaInodeHash { inode }));
        }
        Ok(value)
    }

    /// Values that Lustre made name their owner instead of carrying a hash and a count.
    pub(crate) fn is_lustre_value(&self, owner: &Inode, holder: &Inode) -> bool {
        u64::from(holder.i_mtime.get()) == owner.nr().get() && holder.i_generation == owner.i_generation
    }

    /// `ext4_xattr_inode_verify_hashes`: the inode keeps the hash of its value where others have their access time.
    fn ea_inode_hash_ok(&self, holder: &Inode, a: &Attribute<'_>, value: &[u8]) -> bool {
        let hash = xattr::ea_inode_hash(self.super_block().checksum_seed(), value);
        let words = || std::iter::once(hash);
        holder.i_atime.get() == hash
            && (a.hash == xattr::entry_hash(a.name, words()) || a.hash == xattr::entry_hash_signed(a.name, words()))
    }
}
