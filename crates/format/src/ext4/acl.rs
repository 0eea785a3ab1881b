//! POSIX ACLs: ext4 keeps them in a compact form of its own (`ext4_acl_header`, `ext4_acl_entry`,
//! `ext4_acl_entry_short`, Linux 6.12 `fs/ext4/acl.h`), while system calls, tar and user space see the form of
//! `posix_acl_xattr_header` and `posix_acl_xattr_entry` (`include/uapi/linux/posix_acl_xattr.h`).
//!
//! Both forms hold the same entries in the same order. On disk the id is left out where it means nothing.
//! Invariant: [`to_disk`] accepts exactly what the kernel accepts to be set (`posix_acl_valid`); [`from_disk`] accepts what
//! the kernel reads (`ext4_acl_from_disk`), which is more.

use crate::on_disk::OnDisk;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

/// `a_version` on disk (`EXT4_ACL_VERSION`).
pub const DISK_VERSION: u32 = 1;
/// `a_version` of the attribute's value in system calls (`POSIX_ACL_XATTR_VERSION`).
pub const XATTR_VERSION: u32 = 2;
/// The id of entries that have none (`ACL_UNDEFINED_ID`).
pub const UNDEFINED_ID: u32 = u32::MAX;

/// `e_tag` values, the same in both forms, in the order in which entries must stand.
pub mod tag {
    /// The owner.
    pub const USER_OBJ: u16 = 0x01;
    /// A named user.
    pub const USER: u16 = 0x02;
    /// The owning group.
    pub const GROUP_OBJ: u16 = 0x04;
    /// A named group.
    pub const GROUP: u16 = 0x08;
    /// The limit of everything but owner and others.
    pub const MASK: u16 = 0x10;
    /// Everybody else.
    pub const OTHER: u16 = 0x20;
}

on_disk! {
    /// Head of either form.
    pub struct AclHeader("ext4_acl_header", 4) {
        0 a_version: U32,
    }
}

on_disk! {
    /// An entry without id, on disk.
    pub struct AclEntryShort("ext4_acl_entry_short", 4) {
        0 e_tag: U16,
        2 e_perm: U16,
    }
}

on_disk! {
    /// An entry with id, on disk; in system calls every entry has this form (`posix_acl_xattr_entry`).
    pub struct AclEntry("ext4_acl_entry", 8) {
        0 e_tag: U16,
        2 e_perm: U16,
        4 e_id: U32,
    }
}

/// Why a value is not an ACL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AclError {
    /// Fewer bytes than a header has.
    #[error("ACL of {len} bytes is shorter than its header")]
    Short {
        /// Bytes there are.
        len: usize,
    },
    /// Not the version this form has.
    #[error("ACL version is {found}, not {expected}")]
    Version {
        /// What stands there.
        found: u32,
        /// What belongs there.
        expected: u32,
    },
    /// The last entry is cut off.
    #[error("ACL entry {index} is cut off by the end of the value")]
    Cut {
        /// Which entry, from 0.
        index: usize,
    },
    /// A tag nobody knows.
    #[error("ACL entry {index} has tag {tag:#x}")]
    Tag {
        /// Which entry, from 0.
        index: usize,
        /// `e_tag`.
        tag: u16,
    },
    /// Permissions other than read, write and execute.
    #[error("ACL entry {index} has permissions {perm:#o}")]
    Perm {
        /// Which entry, from 0.
        index: usize,
        /// `e_perm`.
        perm: u16,
    },
    /// A named user or group without id.
    #[error("ACL entry {index} names nobody")]
    Id {
        /// Which entry, from 0.
        index: usize,
    },
    /// The entry does not stand where its tag belongs, or stands there twice.
    #[error("ACL entry {index} with tag {tag:#x} is out of order")]
    Order {
        /// Which entry, from 0.
        index: usize,
        /// `e_tag`.
        tag: u16,
    },
    /// Owner, owning group or others are missing, or the mask that named entries need.
    #[error("ACL has no entry with tag {tag:#x}")]
    Missing {
        /// `e_tag` of the entry.
        tag: u16,
    },
}

/// Converts the value of `system.posix_acl_access` or `_default` as system calls and tar hold it to the bytes that ext4
/// stores. An ACL of no entries is no ACL; it is refused because the owner's entry is missing.
///
/// # Errors
/// What the kernel refuses to set.
pub fn to_disk(xattr_value: &[u8]) -> Result<Vec<u8>, AclError> {
    let mut rest = body(xattr_value, XATTR_VERSION)?;
    let mut out = DISK_VERSION.to_le_bytes().to_vec();
    let mut order = Order::default();
    let mut index = 0;
    while !rest.is_empty() {
        let (entry, after) = AclEntry::peek(rest).zip(rest.get(8..)).ok_or(AclError::Cut { index })?;
        let (tag, perm) = (entry.e_tag.get(), entry.e_perm.get());
        order.check(index, tag)?;
        if perm & !7 != 0 {
            return Err(AclError::Perm { index, perm });
        }
        if has_id(tag) {
            if entry.e_id.get() == UNDEFINED_ID {
                return Err(AclError::Id { index });
            }
            out.extend_from_slice(entry.as_bytes());
        } else {
            out.extend_from_slice(AclEntryShort { e_tag: entry.e_tag, e_perm: entry.e_perm }.as_bytes());
        }
        rest = after;
        index += 1;
    }
    order.finish()?;
    Ok(out)
}

/// Converts what ext4 stores to the value that system calls and tar hold.
///
/// # Errors
/// What the kernel cannot read.
pub fn from_disk(disk: &[u8]) -> Result<Vec<u8>, AclError> {
    let mut rest = body(disk, DISK_VERSION)?;
    let mut out = XATTR_VERSION.to_le_bytes().to_vec();
    let mut index = 0;
    while !rest.is_empty() {
        let short = AclEntryShort::peek(rest).ok_or(AclError::Cut { index })?;
        let tag = short.e_tag.get();
        let entry = if has_id(tag) {
            *AclEntry::peek(rest).ok_or(AclError::Cut { index })?
        } else if matches!(tag, tag::USER_OBJ | tag::GROUP_OBJ | tag::MASK | tag::OTHER) {
            AclEntry { e_tag: short.e_tag, e_perm: short.e_perm, e_id: U32::new(UNDEFINED_ID) }
        } else {
            return Err(AclError::Tag { index, tag });
        };
        out.extend_from_slice(entry.as_bytes());
        rest = rest.get(if has_id(tag) { 8 } else { 4 }..).unwrap_or_default();
        index += 1;
    }
    Ok(out)
}

/// The value of `system.posix_acl_access` or `_default` as system calls hold it, in the short text form of acl(5) with users and
/// groups by number: `user::rw-,user:1000:r--,...`. `None` when it is not an ACL, or says what that form
/// has no words for.
#[must_use]
pub fn text(xattr_value: &[u8]) -> Option<String> {
    let rest = body(xattr_value, XATTR_VERSION).ok()?;
    let (entries, cut) = rest.as_chunks::<8>();
    if !cut.is_empty() {
        return None;
    }
    let mut words = Vec::with_capacity(entries.len());
    for entry in entries {
        let entry = AclEntry::peek(entry)?;
        let (id, perm) = (entry.e_id.get(), entry.e_perm.get());
        if perm & !7 != 0 {
            return None;
        }
        let who = match entry.e_tag.get() {
            tag::USER_OBJ => "user:".to_owned(),
            tag::USER => format!("user:{id}"),
            tag::GROUP_OBJ => "group:".to_owned(),
            tag::GROUP => format!("group:{id}"),
            tag::MASK => "mask:".to_owned(),
            tag::OTHER => "other:".to_owned(),
            _ => return None,
        };
        let bit = |mask: u16, letter: char| if perm & mask == 0 { '-' } else { letter };
        words.push(format!("{who}:{}{}{}", bit(4, 'r'), bit(2, 'w'), bit(1, 'x')));
    }
    Some(words.join(","))
}

fn has_id(tag: u16) -> bool {
    matches!(tag, tag::USER | tag::GROUP)
}

fn body(value: &[u8], expected: u32) -> Result<&[u8], AclError> {
    let short = AclError::Short { len: value.len() };
    let found = AclHeader::peek(value).ok_or(short)?.a_version.get();
    if found != expected {
        return Err(AclError::Version { found, expected });
    }
    value.get(4..).ok_or(short)
}

/// The order of `posix_acl_valid`: owner, users, group, groups, mask, others; a mask where somebody is named.
#[derive(Default)]
struct Order {
    seen: u16,
}

impl Order {
    fn check(&mut self, index: usize, tag: u16) -> Result<(), AclError> {
        // Each tag is a bit, and the bits rise in the order of the entries.
        let before = match tag {
            tag::USER_OBJ => 0,
            tag::USER | tag::GROUP_OBJ => tag::USER_OBJ,
            tag::GROUP | tag::MASK | tag::OTHER => tag::USER_OBJ | tag::GROUP_OBJ,
            _ => return Err(AclError::Tag { index, tag }),
        };
        let later = self.seen & !(tag | (tag - 1)) != 0;
        let twice = self.seen & tag != 0 && !has_id(tag);
        if self.seen & before != before || twice || later {
            return Err(AclError::Order { index, tag });
        }
        self.seen |= tag;
        Ok(())
    }

    fn finish(&self) -> Result<(), AclError> {
        let named = self.seen & (tag::USER | tag::GROUP) != 0;
        [tag::USER_OBJ, tag::GROUP_OBJ, tag::OTHER]
            .into_iter()
            .chain(named.then_some(tag::MASK))
            .find(|t| self.seen & t == 0)
            .map_or(Ok(()), |tag| Err(AclError::Missing { tag }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut v = XATTR_VERSION.to_le_bytes().to_vec();
        for (tag, perm, id) in entries {
            v.extend(tag.to_le_bytes());
            v.extend(perm.to_le_bytes());
            v.extend(id.to_le_bytes());
        }
        v
    }

    const NONE: u32 = UNDEFINED_ID;

    #[test]
    fn an_acl_with_everything_goes_there_and_back() {
        let v =
            value(&[(1, 7, NONE), (2, 6, 1000), (2, 4, 1001), (4, 5, NONE), (8, 0, 5), (16, 7, NONE), (32, 1, NONE)]);
        let disk = to_disk(&v).unwrap();
        assert_eq!(disk.len(), 4 + 4 * 4 + 3 * 8);
        assert_eq!(disk[..16], [1, 0, 0, 0, 1, 0, 7, 0, 2, 0, 6, 0, 0xE8, 3, 0, 0]);
        assert_eq!(from_disk(&disk).unwrap(), v);
        let words = "user::rwx,user:1000:rw-,user:1001:r--,group::r-x,group:5:---,mask::rwx,other::--x";
        assert_eq!(text(&v).unwrap(), words);
        assert_eq!((text(&v[..20]), text(&value(&[(1, 8, NONE)])), text(&value(&[(3, 7, NONE)]))), (None, None, None));
    }

    #[test]
    fn the_smallest_acl_has_three_entries() {
        let v = value(&[(1, 6, NONE), (4, 4, NONE), (32, 4, NONE)]);
        assert_eq!(to_disk(&v).unwrap(), [1, 0, 0, 0, 1, 0, 6, 0, 4, 0, 4, 0, 32, 0, 4, 0]);
    }

    #[test]
    fn what_the_kernel_refuses_is_refused() {
        let (o, g, r) = ((1, 7, NONE), (4, 7, NONE), (32, 7, NONE));
        for (entries, why) in [
            (&[][..], AclError::Missing { tag: 1 }),
            (&[o, g], AclError::Missing { tag: 32 }),
            (&[o, r], AclError::Order { index: 1, tag: 32 }),
            (&[g, o, r], AclError::Order { index: 0, tag: 4 }),
            (&[o, o, g, r], AclError::Order { index: 1, tag: 1 }),
            (&[o, g, (2, 7, 1), (16, 7, NONE), r], AclError::Order { index: 2, tag: 2 }),
            (&[o, (2, 7, 1), g, r], AclError::Missing { tag: 16 }),
            (&[o, g, r, (16, 7, NONE)], AclError::Order { index: 3, tag: 16 }),
            (&[o, (2, 7, NONE), g, (16, 7, NONE), r], AclError::Id { index: 1 }),
            (&[o, (2, 8, 1), g, (16, 7, NONE), r], AclError::Perm { index: 1, perm: 8 }),
            (&[o, g, (3, 7, 1), r], AclError::Tag { index: 2, tag: 3 }),
        ] {
            assert_eq!(to_disk(&value(entries)), Err(why), "{entries:?}");
        }
        assert_eq!(to_disk(&[2, 0, 0]), Err(AclError::Short { len: 3 }));
        assert_eq!(to_disk(&[1, 0, 0, 0]), Err(AclError::Version { found: 1, expected: 2 }));
        let mut cut = value(&[o, g, r]);
        cut.pop();
        assert_eq!(to_disk(&cut), Err(AclError::Cut { index: 2 }));
    }

    #[test]
    fn any_bytes_from_disk_end_in_a_value_or_an_error() {
        assert_eq!(from_disk(&[1, 0, 0, 0]).unwrap(), [2, 0, 0, 0]);
        assert_eq!(from_disk(&[1, 0, 0, 0, 2, 0, 7, 0]), Err(AclError::Cut { index: 0 }));
        assert_eq!(from_disk(&[1, 0, 0, 0, 64, 0, 7, 0]), Err(AclError::Tag { index: 0, tag: 64 }));
        assert_eq!(from_disk(&[1, 0, 0, 0, 1, 0, 7]), Err(AclError::Cut { index: 0 }));
        assert_eq!(from_disk(&[]), Err(AclError::Short { len: 0 }));
    }
}
