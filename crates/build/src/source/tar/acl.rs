//! ACLs in text (`acl(5)`, "ACL TEXT FORMS"), as GNU tar, star and libarchive write them, and the value of the attribute that
//! the system calls know them by.
//!
//! What comes out is what the kernel would accept and keep: entries sorted by tag and id, as `libacl` sorts them; an access ACL
//! that says no more than the permission bits is no attribute but those bits (`posix_acl_equiv_mode`).

use super::AclIds;
use super::error::AclTextError;
use super::number;
use daxkit_format::OnDisk;
use daxkit_format::ext4::acl::{AclEntry, UNDEFINED_ID, XATTR_VERSION, tag, to_disk};

/// Reads an ACL in text; entries are separated by commas or line feeds. libarchive and star add the id of a named user or
/// group as a fourth field; else it is the name, if that is a number, or `ids` has to know it.
pub(super) fn parse(text: &[u8], ids: &dyn AclIds) -> Result<Vec<u8>, AclTextError> {
    let mut entries = Vec::new();
    for line in text.split(|b| *b == b'\n') {
        let line = line.split(|b| *b == b'#').next().unwrap_or_default();
        for text in line.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|text| !text.is_empty()) {
            entries.push(entry(text, ids)?);
        }
    }
    entries.sort();
    let mut value = XATTR_VERSION.to_le_bytes().to_vec();
    for (tag, id, perm) in entries {
        value.extend(tag.to_le_bytes());
        value.extend(perm.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    check(&value)?;
    Ok(value)
}

/// Makes sure that a value is one the kernel would accept.
pub(super) fn check(value: &[u8]) -> Result<(), AclTextError> {
    to_disk(value).map(drop).map_err(AclTextError::Invalid)
}

/// Tag, id and permissions, in the order they are sorted by.
type Entry = (u16, u32, u16);

fn entry(text: &[u8], ids: &dyn AclIds) -> Result<Entry, AclTextError> {
    let malformed = || AclTextError::Entry { entry: text.to_vec() };
    let mut fields = text.split(|b| *b == b':').map(<[u8]>::trim_ascii);
    let mut kind = fields.next();
    if matches!(kind, Some(b"default" | b"d")) {
        kind = fields.next();
    }
    let fields: Vec<&[u8]> = fields.collect();
    let kind = kind.ok_or_else(malformed)?;
    match (kind, &fields[..]) {
        (b"user" | b"u", [b"", perm]) => Ok((tag::USER_OBJ, UNDEFINED_ID, permissions(perm).ok_or_else(malformed)?)),
        (b"group" | b"g", [b"", perm]) => Ok((tag::GROUP_OBJ, UNDEFINED_ID, permissions(perm).ok_or_else(malformed)?)),
        (b"mask" | b"m", [b"", perm] | [perm]) => {
            Ok((tag::MASK, UNDEFINED_ID, permissions(perm).ok_or_else(malformed)?))
        }
        (b"other" | b"o", [b"", perm] | [perm]) => {
            Ok((tag::OTHER, UNDEFINED_ID, permissions(perm).ok_or_else(malformed)?))
        }
        (b"user" | b"u" | b"group" | b"g", [name, perm] | [name, perm, b""]) => {
            let perm = permissions(perm).ok_or_else(malformed)?;
            let name = unescape(name);
            let of_user = kind.starts_with(b"u");
            let known = number::decimal(&name).ok().and_then(|id| u32::try_from(id).ok());
            let known = known.or_else(|| if of_user { ids.user(&name) } else { ids.group(&name) });
            let (tag, kind) = if of_user { (tag::USER, "user") } else { (tag::GROUP, "group") };
            Ok((tag, known.ok_or(AclTextError::Unknown { kind, name })?, perm))
        }
        (b"user" | b"u" | b"group" | b"g", [_, perm, id]) => {
            let id = number::decimal(id).ok().and_then(|id| u32::try_from(id).ok()).ok_or_else(malformed)?;
            let tag = if kind.starts_with(b"u") { tag::USER } else { tag::GROUP };
            Ok((tag, id, permissions(perm).ok_or_else(malformed)?))
        }
        _ => Err(malformed()),
    }
}

fn permissions(text: &[u8]) -> Option<u16> {
    if let [digit @ b'0'..=b'7'] = text {
        return Some(u16::from(digit - b'0'));
    }
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0, |bits, c| match c {
        b'r' => Some(bits | 4),
        b'w' => Some(bits | 2),
        b'x' => Some(bits | 1),
        b'-' => Some(bits),
        _ => None,
    })
}

/// libacl writes a byte of a name that means something else as a backslash and three octal digits.
fn unescape(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((first, after)) = rest.split_first() {
        let byte = match after {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] if *first == b'\\' => {
                Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
            }
            _ => None,
        };
        out.push(byte.unwrap_or(*first));
        rest = after.get(if byte.is_some() { 3 } else { 0 }..).unwrap_or_default();
    }
    out
}

/// The permission bits that an access ACL stands for, and whether it says more than they do (`posix_acl_equiv_mode`). Where
/// there is a mask, it is what the group's bits show.
pub(super) fn mode_of(value: &[u8]) -> (u16, bool) {
    let (mut mode, mut mask, mut says_more) = (0, None, false);
    let entries = value.get(4..).unwrap_or_default().chunks_exact(8).filter_map(AclEntry::peek);
    for entry in entries {
        let perm = entry.e_perm.get() & 7;
        match entry.e_tag.get() {
            tag::USER_OBJ => mode |= perm << 6,
            tag::GROUP_OBJ => mode |= perm << 3,
            tag::OTHER => mode |= perm,
            tag::MASK => mask = Some(perm),
            _ => says_more = true,
        }
    }
    match mask {
        Some(mask) => (mode & !0o070 | mask << 3, true),
        None => (mode, says_more),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use daxkit_format::ext4::acl::AclError;

    struct Known;

    impl AclIds for Known {
        fn user(&self, name: &[u8]) -> Option<u32> {
            (name == b"lisa").then_some(502)
        }

        fn group(&self, name: &[u8]) -> Option<u32> {
            (name == b"a:b").then_some(70)
        }
    }

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
    fn every_writer_is_understood() {
        let full =
            value(&[(1, 6, NONE), (2, 7, 1), (2, 4, 502), (4, 5, NONE), (8, 0, 70), (16, 7, NONE), (32, 4, NONE)]);
        for text in [
            // GNU tar, by name
            "user::rw-\nuser:1:rwx\nuser:lisa:r--\ngroup::r-x\ngroup:a\\072b:---\nmask::rwx\nother::r--\n",
            // libarchive, with ids
            "user::rw-,group::r-x,other::r--,user:nobody here:r--:502,user:daemon:rwx:1,group:x:---:70,mask::rwx",
            // star; getfacl with comments
            "user::rw-,user:lisa:r--:502,user:daemon:rwx:1,group::r-x,group:70:---,mask:rwx,other:r--",
            "u::6\nu:1:7\nu:502:r\n# a comment, with a comma\ng::rx\t#effective:r-x\ng:70:-\nm:7\no:4",
            "default:user::rw-,d:user:1:rwx,d:u:502:r--:,default:group::r-x,d:g:70:---,d:m::rwx,d:o::r--",
        ] {
            assert_eq!(parse(text.as_bytes(), &Known), Ok(full.clone()), "{text}");
        }
    }

    #[test]
    fn what_is_no_acl_is_refused() {
        let entry = |entry: &str| AclTextError::Entry { entry: entry.into() };
        for (text, error) in [
            ("user::rw-,user", entry("user")),
            ("user::rwz", entry("user::rwz")),
            ("user::", entry("user::")),
            ("user::8", entry("user::8")),
            ("everyone@:r:allow", entry("everyone@:r:allow")),
            ("user:lisa:r--:x", entry("user:lisa:r--:x")),
            ("user:lisa:r--:502:1", entry("user:lisa:r--:502:1")),
            ("user:bart:r--", AclTextError::Unknown { kind: "user", name: b"bart".to_vec() }),
            ("group:lisa:r--", AclTextError::Unknown { kind: "group", name: b"lisa".to_vec() }),
            ("", AclError::Missing { tag: 1 }.into()),
            ("user::r,group::r,other::r,user:1:r", AclError::Missing { tag: 16 }.into()),
            ("user::r,group::r,other::r,other::w", AclError::Order { index: 3, tag: 32 }.into()),
            ("user::r,group::r,other::r,mask::r,user:4294967295:r", AclError::Id { index: 1 }.into()),
        ] {
            assert_eq!(parse(text.as_bytes(), &Known), Err(error), "{text}");
        }
    }

    #[test]
    fn small_acls_are_permission_bits() {
        assert_eq!(mode_of(&value(&[(1, 7, NONE), (4, 5, NONE), (32, 1, NONE)])), (0o751, false));
        let masked = value(&[(1, 6, NONE), (2, 7, 5), (4, 5, NONE), (16, 6, NONE), (32, 0, NONE)]);
        assert_eq!(mode_of(&masked), (0o660, true));
        assert_eq!(mode_of(&value(&[(1, 6, NONE), (4, 5, NONE), (16, 5, NONE), (32, 0, NONE)])), (0o650, true));
    }
}
