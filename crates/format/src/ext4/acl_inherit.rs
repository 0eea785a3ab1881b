//! What a new file makes of its directory's default ACL (`posix_acl_create`, Linux 6.12). ACLs are in the form of system
//! calls here.

use super::acl::{AclEntry, AclError, AclHeader, UNDEFINED_ID, XATTR_VERSION, tag};
use crate::on_disk::OnDisk;

/// Read, write and execute of one class.
const ALL: u16 = 7;

/// The mode of a new file, and its access ACL unless the mode says the same.
///
/// # Errors
/// The default ACL is not one.
pub fn inherit(default_acl: &[u8], mode: u16) -> Result<(u16, Option<Vec<u8>>), AclError> {
    let len = default_acl.len();
    let version = AclHeader::peek(default_acl).ok_or(AclError::Short { len })?.a_version.get();
    if version != XATTR_VERSION {
        return Err(AclError::Version { found: version, expected: XATTR_VERSION });
    }
    let mut acl = default_acl.to_vec();
    let (mut owner, mut others) = (ALL, ALL);
    // Where the owning group's entry and the mask lie.
    let (mut group, mut mask) = (None, None);
    let mut more_than_mode = false;
    let mut at = size_of::<AclHeader>();
    while at < len {
        let index = (at - size_of::<AclHeader>()) / size_of::<AclEntry>();
        let entry = acl.get_mut(at..).and_then(AclEntry::peek_mut).ok_or(AclError::Cut { index })?;
        let perm = entry.e_perm.get();
        match entry.e_tag.get() {
            tag::USER_OBJ => {
                owner = perm & mode >> 6;
                entry.e_perm.set(owner);
            }
            tag::OTHER => {
                others = perm & mode;
                entry.e_perm.set(others);
            }
            tag::GROUP_OBJ => group = Some(at),
            tag::MASK => (mask, more_than_mode) = (Some(at), true),
            tag::USER | tag::GROUP if entry.e_id.get() != UNDEFINED_ID => more_than_mode = true,
            tag => return Err(AclError::Tag { index, tag }),
        }
        at += size_of::<AclEntry>();
    }
    let group = mask.or(group).ok_or(AclError::Missing { tag: tag::GROUP_OBJ })?;
    let entry = acl.get_mut(group..).and_then(AclEntry::peek_mut).ok_or(AclError::Short { len })?;
    let group = entry.e_perm.get() & mode >> 3 & ALL;
    entry.e_perm.set(group);
    let permissions = (owner & ALL) << 6 | group << 3 | (others & ALL);
    Ok((mode & !0o777 | permissions, more_than_mode.then_some(acl)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut bytes = XATTR_VERSION.to_le_bytes().to_vec();
        for (tag, perm, id) in entries {
            bytes.extend_from_slice(&tag.to_le_bytes());
            bytes.extend_from_slice(&perm.to_le_bytes());
            bytes.extend_from_slice(&id.to_le_bytes());
        }
        bytes
    }

    const NOBODY: u32 = UNDEFINED_ID;

    #[test]
    fn without_names_the_mode_says_it_all() {
        let default = acl(&[(tag::USER_OBJ, 7, NOBODY), (tag::GROUP_OBJ, 5, NOBODY), (tag::OTHER, 0, NOBODY)]);
        assert_eq!(inherit(&default, 0o100_666), Ok((0o100_640, None)));
        assert_eq!(inherit(&default, 0o102_777), Ok((0o102_750, None)));
    }

    #[test]
    fn the_mask_stands_for_the_group() {
        let entries = |owner, mask, others| {
            acl(&[
                (tag::USER_OBJ, owner, NOBODY),
                (tag::USER, 7, 1000),
                (tag::GROUP_OBJ, 5, NOBODY),
                (tag::MASK, mask, NOBODY),
                (tag::OTHER, others, NOBODY),
            ])
        };
        assert_eq!(inherit(&entries(7, 7, 5), 0o100_664), Ok((0o100_664, Some(entries(6, 6, 4)))));
        assert_eq!(inherit(&entries(7, 4, 5), 0o100_600), Ok((0o100_600, Some(entries(6, 0, 0)))));
    }

    #[test]
    fn what_is_no_acl_is_refused() {
        assert_eq!(inherit(&[], 0), Err(AclError::Short { len: 0 }));
        assert_eq!(inherit(&1u32.to_le_bytes(), 0), Err(AclError::Version { found: 1, expected: 2 }));
        assert_eq!(inherit(&acl(&[(tag::USER_OBJ, 7, NOBODY)])[..9], 0), Err(AclError::Cut { index: 0 }));
        assert_eq!(inherit(&acl(&[(tag::USER_OBJ, 7, NOBODY)]), 0), Err(AclError::Missing { tag: tag::GROUP_OBJ }));
        assert_eq!(inherit(&acl(&[(9, 7, NOBODY)]), 0), Err(AclError::Tag { index: 0, tag: 9 }));
    }
}
