//! ACLs as getfacl(1) prints them, with numeric ids, into the form of the system call.

use super::error::quoted;
use daxkit_format::ext4::acl::{AclEntry, AclError, UNDEFINED_ID, XATTR_VERSION, tag, to_disk};
use zerocopy::IntoBytes;

/// The value of `system.posix_acl_access`, or of `system.posix_acl_default` when `default`.
///
/// Entries are separated by commas or lines; what follows a `#` is a comment, as getfacl's `#effective:`. They are put into
/// the order the kernel wants.
///
/// # Errors
/// What is wrong with the text, or why the kernel would not take the ACL.
pub(super) fn parse(text: &str, default: bool) -> Result<Vec<u8>, String> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let words = lines.flat_map(|line| line.split(',')).map(str::trim).filter(|word| !word.is_empty());
    let mut entries = words.map(|word| entry(word, default)).collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(|(tag, _, id)| (*tag, *id));
    if let Some([(tag, _, id), _]) = entries.array_windows().find(|[a, b]| (a.0, a.2) == (b.0, b.2)) {
        let of = if *id == UNDEFINED_ID { String::new() } else { format!(" of id {id}") };
        return Err(format!("has two entries `{}`{of}", tag_name(*tag)));
    }
    let mut value = XATTR_VERSION.to_le_bytes().to_vec();
    for (tag, perm, id) in entries {
        let entry = AclEntry { e_tag: tag.into(), e_perm: perm.into(), e_id: id.into() };
        value.extend_from_slice(entry.as_bytes());
    }
    check(&value).map(|()| value)
}

/// Whether the kernel would take the value of a system call.
///
/// # Errors
/// Why not.
pub(super) fn check(value: &[u8]) -> Result<(), String> {
    match to_disk(value) {
        Ok(_) => Ok(()),
        Err(AclError::Missing { tag: tag::MASK }) => {
            Err("names users or groups, and then needs a mask (`mask::rwx`)".to_owned())
        }
        Err(AclError::Missing { tag }) => Err(format!("lacks the entry `{}::`", tag_name(tag))),
        Err(other) => Err(format!("is not an ACL: {other}")),
    }
}

const TAGS: &[(&str, u16, u16)] = &[
    ("user", tag::USER_OBJ, tag::USER),
    ("group", tag::GROUP_OBJ, tag::GROUP),
    ("mask", tag::MASK, tag::MASK),
    ("other", tag::OTHER, tag::OTHER),
];

fn tag_name(tag: u16) -> &'static str {
    TAGS.iter().find(|(_, unnamed, named)| *unnamed == tag || *named == tag).map_or("", |(name, ..)| name)
}

/// Tag, permissions and id of one entry.
fn entry(word: &str, default: bool) -> Result<(u16, u16, u32), String> {
    let wrong = |why: &str| format!("has the entry {}: {why}", quoted(word));
    let rest = word.strip_prefix("default:").or_else(|| word.strip_prefix("d:"));
    if rest.is_some() && !default {
        return Err(wrong("entries of the default ACL belong into `default_acl`"));
    }
    let mut parts = rest.unwrap_or(word).split(':');
    let (Some(kind), Some(id), Some(perm), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(wrong("wants KIND:ID:PERMISSIONS"));
    };
    let found = TAGS.iter().find(|(name, ..)| *name == kind || (kind.len() == 1 && name.starts_with(kind)));
    let (_, unnamed, named) = found.ok_or_else(|| wrong("begins with none of user, group, mask, other"))?;
    let perm = permissions(perm).ok_or_else(|| wrong("wants permissions such as rw-"))?;
    if id.is_empty() {
        return Ok((*unnamed, perm, UNDEFINED_ID));
    }
    if unnamed == named {
        return Err(wrong("a mask and others have no id"));
    }
    let id = id.parse().ok().filter(|n| *n != UNDEFINED_ID && id.bytes().all(|b| b.is_ascii_digit()));
    Ok((*named, perm, id.ok_or_else(|| wrong("wants the id as a number"))?))
}

fn permissions(text: &str) -> Option<u16> {
    let [r, w, x] = *text.as_bytes() else { return None };
    [(r, b'r'), (w, b'w'), (x, b'x')].into_iter().try_fold(0, |all, (found, letter)| match found {
        b'-' => Some(all << 1),
        _ if found == letter => Some(all << 1 | 1),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use daxkit_format::OnDisk;
    use daxkit_format::ext4::acl::from_disk;

    #[test]
    fn entries_are_put_in_order() {
        let value = parse("u::rwx,g::r-x,o::r-x,u:1000:rw-,m::rwx,user:7:--x,group:5:r--", false).unwrap();
        let entries: Vec<_> = value[4..]
            .chunks(8)
            .map(|e| {
                let e = AclEntry::peek(e).unwrap();
                (e.e_tag.get(), e.e_perm.get(), e.e_id.get())
            })
            .collect();
        let none = UNDEFINED_ID;
        assert_eq!(
            entries,
            [(1, 7, none), (2, 1, 7), (2, 6, 1000), (4, 5, none), (8, 4, 5), (16, 7, none), (32, 5, none)]
        );
        assert_eq!(from_disk(&to_disk(&value).unwrap()).unwrap(), value);
    }

    #[test]
    fn what_getfacl_prints_is_taken() {
        let printed = "# file: a\n# owner: 0\n# group: 0\nuser::rwx\nuser:1000:rwx\t#effective:r-x\ngroup::r-x\nmask::r-x\nother::r-x\n\n";
        assert_eq!(parse(printed, false), parse("u::rwx,u:1000:rwx,g::r-x,m::r-x,o::r-x", false));
        assert_eq!(
            parse("default:user::rwx\ndefault:group::r-x\nd:other::---", true),
            parse("u::rwx,g::r-x,o::---", true)
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, error) in [
            ("", "lacks the entry `user::`"),
            ("u::rwx,g::rwx", "lacks the entry `other::`"),
            ("u::rwx,u:1:rwx,g::rwx,o::rwx", "names users or groups, and then needs a mask (`mask::rwx`)"),
            ("u::rwx,u::rwx,g::rwx,o::rwx", "has two entries `user`"),
            ("u::rwx,u:1:rwx,u:1:---,g::rwx,o::rwx", "has two entries `user` of id 1"),
            ("d:u::rwx", "has the entry \"d:u::rwx\": entries of the default ACL belong into `default_acl`"),
            ("u:root:rwx", "has the entry \"u:root:rwx\": wants the id as a number"),
            ("u:+1:rwx", "has the entry \"u:+1:rwx\": wants the id as a number"),
            ("u:4294967295:rwx", "has the entry \"u:4294967295:rwx\": wants the id as a number"),
            ("o:1:rwx", "has the entry \"o:1:rwx\": a mask and others have no id"),
            ("u::rw", "has the entry \"u::rw\": wants permissions such as rw-"),
            ("u::wrx", "has the entry \"u::wrx\": wants permissions such as rw-"),
            ("x::rwx", "has the entry \"x::rwx\": begins with none of user, group, mask, other"),
            ("::rwx", "has the entry \"::rwx\": begins with none of user, group, mask, other"),
            ("u:rwx", "has the entry \"u:rwx\": wants KIND:ID:PERMISSIONS"),
        ] {
            assert_eq!(parse(text, false).unwrap_err(), error, "{text}");
        }
    }
}
