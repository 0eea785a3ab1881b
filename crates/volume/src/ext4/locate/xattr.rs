//! Entries of extended attributes, in the inode or in their block, and the tail of inline data.
//!
//! Entries are followed by the lengths of their names alone; what they say of their values may be damaged.

use std::ops::Range;

use daxkit_format::OnDisk;
use daxkit_format::ext4::inline_data;
use daxkit_format::ext4::inode::GOOD_OLD_INODE_SIZE;
use daxkit_format::ext4::xattr::{INDEX_SYSTEM, XattrEntry, XattrHeader, XattrIbodyHeader, entry_len, split_name};
use daxkit_format::field::{InodeRef, Object, Structure};

use super::super::seal::{Block, Kind, Seal};
use super::finder::{Finder, absent};
use super::inode::Found;
use super::{Absent, LocateError, Spot};

impl Finder<'_> {
    pub(super) fn xattr(&self, object: &Object, inode: &InodeRef, name: &[u8]) -> Result<Spot, LocateError> {
        let found = self.inode(inode)?;
        let missing = || absent(object, Absent::Xattr);
        let (index, rest) = split(name).ok_or_else(missing)?;
        let spot =
            |range: Range<u64>, seal: Option<Seal>| Spot::one(Structure::XattrEntry, range, seal.into_iter().collect());
        if let Some((first, area)) = in_inode(&found)
            && let Some(entry) = find(area, index, rest)
        {
            let start = first.saturating_add(entry.start as u64);
            return Ok(spot(start..start.saturating_add(entry.len() as u64), self.inode_seal(&found)));
        }
        let nr = found.inode.file_acl();
        if nr == 0 {
            return Err(missing());
        }
        let block = self.block(nr)?;
        let bytes = self.read(object, block.range())?;
        let header = size_of::<XattrHeader>();
        let entry = find(bytes.get(header..).unwrap_or_default(), index, rest).ok_or_else(missing)?;
        let start = block.at.saturating_add((header + entry.start) as u64);
        Ok(spot(start..start.saturating_add(entry.len() as u64), self.xattrs_seal(block)))
    }

    pub(super) fn xattrs_seal(&self, block: Block) -> Option<Seal> {
        Some(Seal(Kind::Xattrs { block, fs: self.seed? }))
    }

    /// Where the part of inline data lies that does not fit in `i_block`.
    pub(super) fn inline_tail(&self, found: &Found) -> Option<Range<u64>> {
        let (first, area) = in_inode(found)?;
        let entry = find(area, INDEX_SYSTEM, inline_data::XATTR_NAME)?;
        let entry = XattrEntry::peek(area.get(entry)?)?;
        let start = first.checked_add(entry.e_value_offs.get().into())?;
        let end = start.checked_add(entry.e_value_size.get().into())?;
        (end <= found.range().end).then_some(start..end)
    }
}

/// The entries behind an inode's fields: the byte of the device at which they begin, and everything from there on.
fn in_inode(found: &Found) -> Option<(u64, &[u8])> {
    let extra = found.inode.i_extra_isize.get();
    if extra == 0 {
        return None;
    }
    let at = usize::from(GOOD_OLD_INODE_SIZE) + usize::from(extra) + size_of::<XattrIbodyHeader>();
    let area = found.inode.raw().get(at..)?;
    Some((found.at.saturating_add(at as u64), area))
}

/// The entry with this name, its name and padding counted.
fn find(area: &[u8], index: u8, name: &[u8]) -> Option<Range<usize>> {
    let mut at = 0;
    loop {
        let rest = area.get(at..)?;
        // Four zero bytes end the list.
        if rest.get(..4)? == [0; 4] {
            return None;
        }
        let entry = XattrEntry::peek(rest)?;
        let len = usize::from(entry.e_name_len);
        let head = size_of::<XattrEntry>();
        let end = at.checked_add(entry_len(len))?;
        if entry.e_name_index == index && rest.get(head..head + len)? == name {
            return Some(at..end.min(area.len()));
        }
        at = end;
    }
}

/// Index and rest of a name; a prefix that is not known is written as its number.
fn split(name: &[u8]) -> Option<(u8, &[u8])> {
    split_name(name).or_else(|| {
        let dot = name.iter().position(|b| *b == b'.')?;
        let (number, rest) = name.split_at_checked(dot)?;
        Some((std::str::from_utf8(number).ok()?.parse().ok()?, rest.get(1..)?))
    })
}
