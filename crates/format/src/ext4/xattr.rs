//! Extended attributes: the header of a block, the header in an inode, entries, hashes (`struct ext4_xattr_header`,
//! `ext4_xattr_ibody_header`, `ext4_xattr_entry`).

use crate::checksum::crc32c;
use crate::on_disk::OnDisk;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

/// `h_magic` (`EXT4_XATTR_MAGIC`).
pub const MAGIC: u32 = 0xEA02_0000;
/// Largest reference count of a shared block (`EXT4_XATTR_REFCOUNT_MAX`).
pub const REFCOUNT_MAX: u32 = 1024;
/// Largest value of an attribute (`XATTR_SIZE_MAX`); larger than one block only with `ea_inode`.
pub const SIZE_MAX: u32 = 65536;

on_disk! {
    /// Head of a block of attributes.
    pub struct XattrHeader("ext4_xattr_header", 32) {
        0x00 h_magic: U32,
        0x04 h_refcount: U32,
        0x08 h_blocks: U32,
        0x0C h_hash: U32,
        0x10 h_checksum: U32,
        0x14 h_reserved: [U32; 3],
    }
}

on_disk! {
    /// Head of the attributes in an inode.
    pub struct XattrIbodyHeader("ext4_xattr_ibody_header", 4) {
        0 h_magic: U32,
    }
}

on_disk! {
    /// The fixed part of an entry; the name follows, padded to 4 bytes.
    pub struct XattrEntry("ext4_xattr_entry", 16) {
        0x00 e_name_len: u8,
        0x01 e_name_index: u8,
        0x02 e_value_offs: U16,
        0x04 e_value_inum: U32,
        0x08 e_value_size: U32,
        0x0C e_hash: U32,
    }
}

/// `e_name_index` and the prefix it stands for (`EXT4_XATTR_INDEX_*`).
pub const PREFIXES: &[(u8, &str)] = &[
    (1, "user."),
    (2, "system.posix_acl_access"),
    (3, "system.posix_acl_default"),
    (4, "trusted."),
    (5, "lustre."),
    (6, "security."),
    (7, "system."),
    (8, "system.richacl"),
    (9, "encryption."),
    (10, "gnu."),
];

/// `e_name_index` of POSIX access ACLs.
pub const INDEX_POSIX_ACL_ACCESS: u8 = 2;
/// `e_name_index` of POSIX default ACLs.
pub const INDEX_POSIX_ACL_DEFAULT: u8 = 3;
/// `e_name_index` of `system.`; `system.data` is the tail of inline data.
pub const INDEX_SYSTEM: u8 = 7;
/// `e_name_index` of encryption contexts; the name is `c`.
pub const INDEX_ENCRYPTION: u8 = 9;

/// Splits a full name into index and rest; the longest prefix wins. `None` for a namespace ext4 cannot store.
#[must_use]
pub fn split_name(full: &[u8]) -> Option<(u8, &[u8])> {
    PREFIXES
        .iter()
        .filter_map(|(index, prefix)| {
            let rest = full.strip_prefix(prefix.as_bytes())?;
            // The ACL and richacl names are whole names; the others are prefixes with something behind.
            (prefix.ends_with('.') != rest.is_empty()).then_some((prefix.len(), *index, rest))
        })
        .max_by_key(|(len, ..)| *len)
        .map(|(_, index, rest)| (index, rest))
}

/// The prefix of a name index; empty for 0, `None` for one that is not known.
#[must_use]
pub fn prefix(index: u8) -> Option<&'static str> {
    if index == 0 {
        return Some("");
    }
    PREFIXES.iter().find(|(i, _)| *i == index).map(|(_, p)| *p)
}

/// Bytes of an entry with a name of `name_len` (`EXT4_XATTR_LEN`).
#[must_use]
pub const fn entry_len(name_len: usize) -> usize {
    (16 + name_len + 3) & !3
}

/// Bytes a value takes where it is stored (`EXT4_XATTR_SIZE`).
#[must_use]
pub const fn value_len(size: usize) -> usize {
    (size + 3) & !3
}

/// The order of entries in a block: index, then length of the name, then the name (`ext4_xattr_find_entry`).
#[must_use]
pub fn sort_key(index: u8, name: &[u8]) -> (u8, usize, &[u8]) {
    (index, name.len(), name)
}

/// The hash of an entry over its name and the words of its value (`ext4_xattr_hash_entry`). For a value in an inode of its
/// own the only word is that inode's hash. Bytes of the name are unsigned, as in Linux since 6.3 and on all images without
/// such names.
#[must_use]
pub fn entry_hash(name: &[u8], value_words: impl Iterator<Item = u32>) -> u32 {
    let hash = name.iter().fold(0u32, |h, b| h.rotate_left(5) ^ u32::from(*b));
    value_words.fold(hash, |h, w| h.rotate_left(16) ^ w)
}

/// As [`entry_hash`] with the bytes of the name taken as signed, the older form that is still accepted.
#[must_use]
pub fn entry_hash_signed(name: &[u8], value_words: impl Iterator<Item = u32>) -> u32 {
    let hash = name.iter().fold(0u32, |h, b| h.rotate_left(5) ^ i32::from(*b as i8) as u32);
    value_words.fold(hash, |h, w| h.rotate_left(16) ^ w)
}

/// The little-endian words of a value, the last one padded with zeroes.
pub fn value_words(value: &[u8]) -> impl Iterator<Item = u32> + '_ {
    value.chunks(4).map(|c| c.iter().rev().fold(0u32, |w, b| w << 8 | u32::from(*b)))
}

/// The hash of a block over the hashes of its entries (`ext4_xattr_rehash`); 0 when one of them is 0.
#[must_use]
pub fn block_hash(entry_hashes: impl Iterator<Item = u32>) -> u32 {
    let mut hash = 0u32;
    for e in entry_hashes {
        if e == 0 {
            return 0;
        }
        hash = hash.rotate_left(16) ^ e;
    }
    hash
}

/// The hash of a value in an inode of its own (`ext4_xattr_inode_hash`), from the file system's seed.
#[must_use]
pub fn ea_inode_hash(fs_seed: u32, value: &[u8]) -> u32 {
    crc32c(fs_seed, value)
}

/// The checksum of a block of attributes; `block_nr` is where it lies (`ext4_xattr_block_csum`).
#[must_use]
pub fn block_checksum(fs_seed: u32, block_nr: u64, block: &[u8]) -> u32 {
    let mut crc = crc32c(fs_seed, &block_nr.to_le_bytes());
    crc = crc32c(crc, block.get(..0x10).unwrap_or_default());
    crc = crc32c(crc, &[0; 4]);
    crc32c(crc, block.get(0x14..).unwrap_or_default())
}

/// True when the checksum of the block fits.
#[must_use]
pub fn verify_block(fs_seed: u32, block_nr: u64, block: &[u8]) -> bool {
    XattrHeader::peek(block).is_some_and(|h| h.h_checksum.get() == block_checksum(fs_seed, block_nr, block))
}

/// Stores the checksum of the block.
pub fn seal_block(fs_seed: u32, block_nr: u64, block: &mut [u8]) {
    let sum = block_checksum(fs_seed, block_nr, block);
    if let Some(h) = XattrHeader::peek_mut(block) {
        h.h_checksum.set(sum);
    }
}

/// One attribute as found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Offset of the entry from the start of the area given.
    pub offset: usize,
    /// `e_name_index`.
    pub index: u8,
    /// The name behind the prefix.
    pub name: &'a [u8],
    /// `e_value_inum`: the inode that holds the value, or 0.
    pub value_inum: u32,
    /// `e_value_size`.
    pub value_size: u32,
    /// The value; empty when it lies in an inode.
    pub value: &'a [u8],
    /// `e_hash`.
    pub hash: u32,
}

/// Why the attributes cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum XattrError {
    /// The list of entries runs out of the area without an end.
    #[error("attribute entry at offset {offset} runs past the end")]
    Entry {
        /// Where.
        offset: usize,
    },
    /// A value outside of the area, or over the entries.
    #[error("attribute entry at offset {offset} has a value of {size} bytes at {value_offset}, out of place")]
    Value {
        /// Where the entry is.
        offset: usize,
        /// `e_value_offs`.
        value_offset: u16,
        /// `e_value_size`.
        size: u32,
    },
}

/// Iterates over the entries from `first` in `area`; value offsets count from `base` (the start of the block, or of the
/// entries in an inode).
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    area: &'a [u8],
    offset: usize,
    base: usize,
    done: bool,
}

impl<'a> Attributes<'a> {
    /// Of a block: entries behind its 32-byte header, values counted from its start.
    #[must_use]
    pub fn in_block(block: &'a [u8]) -> Self {
        Self { area: block, offset: 32, base: 0, done: false }
    }

    /// Of an inode: `area` is everything behind the extra fields, its magic included; values are counted from the first entry.
    /// `None` without the magic.
    #[must_use]
    pub fn in_inode(area: &'a [u8]) -> Option<Self> {
        (XattrIbodyHeader::peek(area)?.h_magic.get() == MAGIC).then_some(Self { area, offset: 4, base: 4, done: false })
    }

    fn entry(&self, offset: usize) -> Result<Option<Attribute<'a>>, XattrError> {
        let rest = self.area.get(offset..).unwrap_or_default();
        // Four zero bytes end the list; so does the end of the area, as the kernel's checks allow.
        match rest.get(..4) {
            None => return Err(XattrError::Entry { offset }),
            Some([0, 0, 0, 0]) => return Ok(None),
            Some(_) => {}
        }
        let e = XattrEntry::peek(rest).ok_or(XattrError::Entry { offset })?;
        let name = rest.get(16..16 + usize::from(e.e_name_len)).ok_or(XattrError::Entry { offset })?;
        let (value_offset, size) = (e.e_value_offs.get(), e.e_value_size.get());
        let value = if e.e_value_inum.get() != 0 || size == 0 {
            &[]
        } else {
            usize::try_from(size)
                .ok()
                .and_then(|size| {
                    let from = self.base.checked_add(usize::from(value_offset))?;
                    self.area.get(from..from.checked_add(size)?)
                })
                .ok_or(XattrError::Value { offset, value_offset, size })?
        };
        Ok(Some(Attribute {
            offset,
            index: e.e_name_index,
            name,
            value_inum: e.e_value_inum.get(),
            value_size: size,
            value,
            hash: e.e_hash.get(),
        }))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, XattrError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        match self.entry(self.offset) {
            Ok(Some(a)) => {
                self.offset += entry_len(a.name.len());
                Some(Ok(a))
            }
            Ok(None) => {
                self.done = true;
                None
            }
            Err(e) => {
                self.done = true;
                Some(Err(e))
            }
        }
    }
}

/// An area being filled with attributes: entries grow from the front, values from the back.
#[derive(Debug)]
pub struct Packer<'a> {
    area: &'a mut [u8],
    base: usize,
    entry_at: usize,
    value_at: usize,
}

impl<'a> Packer<'a> {
    /// In a zeroed block; the header is left to [`Packer::finish_block`].
    #[must_use]
    pub fn block(block: &'a mut [u8]) -> Self {
        let end = block.len();
        Self { area: block, base: 0, entry_at: 32, value_at: end }
    }

    /// In the zeroed area behind an inode's extra fields; writes the magic.
    #[must_use]
    pub fn inode(area: &'a mut [u8]) -> Self {
        let end = area.len();
        if let Some(h) = XattrIbodyHeader::peek_mut(area) {
            h.h_magic.set(MAGIC);
        }
        Self { area, base: 4, entry_at: 4, value_at: end }
    }

    /// Adds an attribute with its value here, or (with `value_inum`) in an inode. `false`, and nothing done, when there is no
    /// room. Four bytes are always left for the end of the list.
    pub fn push(&mut self, index: u8, name: &[u8], value: &[u8], value_inum: u32, hash: u32) -> bool {
        let here = if value_inum == 0 { value } else { &[] };
        self.put(index, name, here, (value_inum, value.len() as u32), hash)
    }

    /// Adds an attribute whose value of `value_size` bytes lies in an inode. As [`Packer::push`] when there is no room.
    pub fn push_reference(&mut self, index: u8, name: &[u8], value_inum: u32, value_size: u32, hash: u32) -> bool {
        self.put(index, name, &[], (value_inum, value_size), hash)
    }

    fn put(&mut self, index: u8, name: &[u8], here: &[u8], (inum, size): (u32, u32), hash: u32) -> bool {
        let (need_entry, need_value) = (entry_len(name.len()), value_len(here.len()));
        if self.entry_at + need_entry + 4 + need_value > self.value_at {
            return false;
        }
        let at = self.value_at - need_value;
        let head = XattrEntry {
            e_name_len: name.len() as u8,
            e_name_index: index,
            e_value_offs: U16::new(if here.is_empty() { 0 } else { (at - self.base) as u16 }),
            e_value_inum: U32::new(inum),
            e_value_size: U32::new(size),
            e_hash: U32::new(hash),
        };
        let Some(entry) = self.area.get_mut(self.entry_at..self.entry_at + 16 + name.len()) else { return false };
        let (fixed, tail) = entry.split_at_mut(16);
        fixed.copy_from_slice(head.as_bytes());
        tail.copy_from_slice(name);
        if let Some(v) = self.area.get_mut(at..at + here.len()) {
            v.copy_from_slice(here);
        }
        self.entry_at += need_entry;
        self.value_at = at;
        true
    }

    /// Writes the header of a block over the entries pushed.
    pub fn finish_block(self, refcount: u32) {
        let hash = block_hash(Attributes::in_block(self.area).map_while(Result::ok).map(|a| a.hash));
        if let Some(h) = XattrHeader::peek_mut(self.area) {
            h.h_magic.set(MAGIC);
            h.h_refcount.set(refcount);
            h.h_blocks.set(1);
            h.h_hash.set(hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_split_at_the_longest_prefix() {
        assert_eq!(split_name(b"user.a"), Some((1, &b"a"[..])));
        assert_eq!(split_name(b"system.posix_acl_access"), Some((2, &b""[..])));
        assert_eq!(split_name(b"system.data"), Some((7, &b"data"[..])));
        assert_eq!(split_name(b"security.capability"), Some((6, &b"capability"[..])));
        assert_eq!(split_name(b"btrfs.compression"), None);
        assert_eq!(split_name(b"user."), None);
    }

    #[test]
    fn what_was_packed_reads_back() {
        let mut block = vec![0u8; 1024];
        let mut p = Packer::block(&mut block);
        assert!(p.push(1, b"one", b"value of one", 0, 11));
        assert!(p.push(6, b"two", &[9; 30], 77, 12));
        assert!(p.push(1, b"empty", b"", 0, 13));
        assert!(p.push_reference(1, b"far", 78, 65536, 15));
        assert!(!p.push(1, b"big", &[0; 1000], 0, 14));
        p.finish_block(3);
        let found: Vec<_> = Attributes::in_block(&block).map(|a| a.expect("sound")).collect();
        assert_eq!(found.len(), 4);
        assert_eq!((found[0].name, found[0].value), (&b"one"[..], &b"value of one"[..]));
        assert_eq!((found[1].value_inum, found[1].value_size, found[1].value.len()), (77, 30, 0));
        assert_eq!(found[2].value, b"");
        assert_eq!((found[3].value_inum, found[3].value_size, found[3].value.len()), (78, 65536, 0));
    }

    #[test]
    fn a_value_out_of_place_is_an_error() {
        let mut block = vec![0u8; 1024];
        let mut p = Packer::block(&mut block);
        assert!(p.push(1, b"a", b"v", 0, 1));
        block[32 + 2..32 + 4].copy_from_slice(&1024u16.to_le_bytes());
        let e = Attributes::in_block(&block).next();
        assert_eq!(e, Some(Err(XattrError::Value { offset: 32, value_offset: 1024, size: 1 })));
    }
}
