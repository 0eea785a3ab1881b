//! Lists of attributes taken out of an inode or a block, to be changed and put back.
//!
//! What is put back lies as the kernel lays it: entries in the order of the list, values packed at the end in the same order.

use std::ops::Range;

use daxkit_format::ext4::inode::GOOD_OLD_INODE_SIZE;
use daxkit_format::ext4::xattr::{self, Attribute, Packer};
use daxkit_format::ext4::{inline_data, xattr::INDEX_SYSTEM};

use super::error::VolumeError;
use super::inode::Inode;
use super::open::Volume;

/// Bytes that a list in an inode takes beside its entries and values: the magic number and the four zero bytes at the end.
pub(crate) const BODY_OVERHEAD: usize = 8;
/// The same in a block: the header and the end.
pub(crate) const BLOCK_OVERHEAD: usize = 36;

/// Where the value of an attribute is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// Beside the entry.
    Here(Vec<u8>),
    /// In an inode of its own.
    Inode { nr: u32, size: u32 },
}

/// An attribute on its way from one place to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) index: u8,
    pub(crate) name: Vec<u8>,
    pub(crate) value: Value,
    pub(crate) hash: u32,
}

impl Entry {
    pub(crate) fn of(a: &Attribute<'_>) -> Self {
        let value = match a.value_inum {
            0 => Value::Here(a.value.to_vec()),
            nr => Value::Inode { nr, size: a.value_size },
        };
        Self { index: a.index, name: a.name.to_vec(), value, hash: a.hash }
    }

    /// The tail of inline data.
    pub(crate) fn inline_tail(tail: &[u8]) -> Self {
        let value = Value::Here(tail.to_vec());
        Self { index: INDEX_SYSTEM, name: inline_data::XATTR_NAME.to_vec(), value, hash: 0 }
    }

    pub(crate) fn is_inline_tail(&self) -> bool {
        self.is(INDEX_SYSTEM, inline_data::XATTR_NAME)
    }

    pub(crate) fn is(&self, index: u8, name: &[u8]) -> bool {
        self.index == index && self.name == name
    }

    /// The inode with the value and the value's size, where there is one.
    pub(crate) fn value_inode(&self) -> Option<(u32, u32)> {
        match self.value {
            Value::Here(_) => None,
            Value::Inode { nr, size } => Some((nr, size)),
        }
    }

    /// Bytes of its value in the list's own area.
    pub(crate) fn value_len(&self) -> usize {
        match &self.value {
            Value::Here(value) => xattr::value_len(value.len()),
            Value::Inode { .. } => 0,
        }
    }

    /// All its bytes in the list's own area.
    pub(crate) fn len(&self) -> usize {
        xattr::entry_len(self.name.len()) + self.value_len()
    }

    fn push(&self, packer: &mut Packer<'_>) -> bool {
        match &self.value {
            Value::Here(value) => packer.push(self.index, &self.name, value, 0, self.hash),
            Value::Inode { nr, size } => packer.push_reference(self.index, &self.name, *nr, *size, self.hash),
        }
    }
}

/// Bytes that entries take in their area.
pub(crate) fn total_len(entries: &[Entry]) -> usize {
    entries.iter().map(Entry::len).sum()
}

/// A block of attributes, not sealed; `None` when they do not fit.
pub(crate) fn pack_block(block_size: usize, entries: &[Entry], refcount: u32) -> Option<Vec<u8>> {
    let mut block = vec![0; block_size];
    let mut packer = Packer::block(&mut block);
    entries.iter().all(|e| e.push(&mut packer)).then(|| packer.finish_block(refcount))?;
    Some(block)
}

impl Volume {
    /// The bytes of an inode behind its fields, where attributes lie; `None` when it has no room for any
    /// (`EXT4_INODE_HAS_XATTR_SPACE`).
    pub(crate) fn body_area(&self, inode: &Inode) -> Option<Range<usize>> {
        let extra = usize::from(inode.i_extra_isize.get());
        let start = usize::from(GOOD_OLD_INODE_SIZE) + extra;
        let end = inode.raw().len();
        (extra != 0 && start + BODY_OVERHEAD <= end).then_some(start..end)
    }

    /// The attributes in an inode.
    pub(crate) fn body_entries(&self, inode: &Inode) -> Result<Vec<Entry>, VolumeError> {
        let found = self.inode_attributes(inode)?.into_iter().flatten();
        found.map(|a| Ok(Entry::of(&a.map_err(|e| VolumeError::bad_inode(inode.nr(), e))?))).collect()
    }

    /// The inode with other attributes in it, not sealed; `None` when they do not fit.
    pub(crate) fn with_body(&self, inode: &Inode, entries: &[Entry]) -> Option<Inode> {
        let Some(area) = self.body_area(inode) else { return entries.is_empty().then(|| inode.clone()) };
        let mut raw = inode.raw().to_vec();
        let body = raw.get_mut(area)?;
        body.fill(0);
        if !entries.is_empty() {
            let mut packer = Packer::inode(body);
            if !entries.iter().all(|e| e.push(&mut packer)) {
                return None;
            }
        }
        Some(self.decode_inode(inode.nr(), raw))
    }
}
