//! Attributes of items and rules: mode, owner, times, extended attributes, ACLs, flags.

use super::acl;
use super::error::quoted;
use super::reader::{Field, Table};
use super::schema::XATTR_VALUE;
use super::times::time;
use super::types::Attrs;
use super::values::{base64, hex, owner};
use daxkit_format::ext4::inode_flags::{InodeFlags, LSATTR_LETTERS};
use daxkit_format::ext4::xattr;
use daxkit_format::field::did_you_mean;
use daxkit_format::field::{BitSet, parse_number};
use toml::de::DeValue;

/// Longest full name of an extended attribute (`XATTR_NAME_MAX`).
const LONGEST_XATTR_NAME: usize = 255;

/// Reads what a table shares with the others of its kind.
pub(super) fn attrs(table: &Table<'_>) -> Attrs {
    let mut out = Attrs { mode: table.get("mode").and_then(mode), ..Attrs::default() };
    ids(table, &mut out);
    // What holds for all times gives way to one that is named.
    let all = table.get("time").and_then(time);
    let named = |key| table.get(key).and_then(time).or(all);
    out.atime = named("atime");
    out.ctime = named("ctime");
    out.mtime = named("mtime");
    out.crtime = named("crtime");
    out.xattrs = xattrs(table);
    flags(table, &mut out);
    out
}

/// Permission bits: octal in a text, and in a number only where it says so. A bare 644 is 01204, which nobody means.
fn mode(field: Field<'_>) -> Option<u16> {
    let bits = match field.value() {
        DeValue::Integer(number) => field.integer().filter(|n| number.radix() != 10 || *n == 0),
        DeValue::String(text) => {
            let digits = text.strip_prefix("0o").unwrap_or(text);
            let octal = digits.bytes().all(|b| b.is_ascii_digit());
            octal.then(|| i128::from_str_radix(digits, 8).ok()).flatten()
        }
        _ => None,
    };
    bits.filter(|n| (0..=0o7777).contains(n))
        .and_then(|n| u16::try_from(n).ok())
        .or_else(|| field.wants("permission bits in octal, such as 0o644 or \"0644\", at most 0o7777"))
}

fn ids(table: &Table<'_>, out: &mut Attrs) {
    if let Some(both) = table.get("owner") {
        for one in ["uid", "gid"].iter().filter_map(|key| table.get(key)) {
            table.conflict(both, one);
        }
        (out.uid, out.gid) = owner(both).unzip();
        return;
    }
    out.uid = table.get("uid").and_then(|field| field.number(0..=u32::MAX));
    out.gid = table.get("gid").and_then(|field| field.number(0..=u32::MAX));
}

/// An extended attribute and where it is given; a value that is wrong is `None`.
struct Found<'a> {
    name: &'a [u8],
    value: Option<Vec<u8>>,
    field: Field<'a>,
}

/// The extended attributes by name, those with a key of their own among them.
fn xattrs(table: &Table<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    if let Some(field) = table.get("xattrs") {
        match field.value().as_table() {
            Some(free) => {
                let entries = Table::free_entries(table.reader, free).into_iter();
                found.extend(entries.map(|field| Found {
                    name: field.key.as_bytes(),
                    value: xattr_value(field),
                    field,
                }));
            }
            None => {
                field.wants::<()>("a table such as { \"user.a\" = \"text\" }");
            }
        }
    }
    let mut with_key = |key, name: &'static [u8], read: fn(Field<'_>) -> Option<Vec<u8>>| {
        let Some(field) = table.get(key) else { return };
        if let Some(other) = found.iter().find(|known| known.name == name) {
            table.conflict(other.field, field);
        }
        found.push(Found { name, value: read(field), field });
    };
    with_key("acl", b"system.posix_acl_access", |field| acl_value(field, false));
    with_key("default_acl", b"system.posix_acl_default", |field| acl_value(field, true));
    with_key("selinux", b"security.selinux", selinux);
    let mut out: Vec<_> = found.into_iter().filter_map(|one| Some((one.name.to_vec(), one.value?))).collect();
    out.sort();
    out
}

fn xattr_value(entry: Field<'_>) -> Option<Vec<u8>> {
    let name = entry.key;
    if !name.contains('.')
        && entry.value().as_table().is_some_and(|t| !t.contains_key("hex") && !t.contains_key("base64"))
    {
        return entry.refuse_at(
            entry.key_offset,
            "is not a whole name: one with a dot stands in quotes, as in \"user.a\" = \"text\"",
        );
    }
    if let Err(why) = xattr_name(name) {
        return entry.refuse_at(entry.key_offset, why);
    }
    let value = match entry.as_table(&XATTR_VALUE) {
        Some(table) => {
            let field = table.need_one_of(XATTR_VALUE.keys)?;
            if field.key == "hex" { hex(field)? } else { base64(field)? }
        }
        None => entry.text("a text, { hex = \"00ff\" } or { base64 = \"AP8=\" }")?.as_bytes().to_vec(),
    };
    if value.len() > xattr::SIZE_MAX as usize {
        return entry.refuse(format_args!("has {} bytes; the most is {}", value.len(), xattr::SIZE_MAX));
    }
    if name.starts_with("system.posix_acl_")
        && let Err(why) = acl::check(&value)
    {
        return entry.refuse(why);
    }
    Some(value)
}

/// Whether Linux's ext4 serves an attribute of this name. Of `system.` it has the ACLs alone.
fn xattr_name(name: &str) -> Result<(), String> {
    if name.contains('\0') {
        return Err("holds a NUL".to_owned());
    }
    if name.len() > LONGEST_XATTR_NAME {
        return Err(format!("has {} bytes; the name of an attribute has at most {LONGEST_XATTR_NAME}", name.len()));
    }
    match xattr::split_name(name.as_bytes()) {
        Some((1..=4 | 6, _)) => Ok(()),
        _ => Err("is not the full name of an attribute: user.NAME, trusted.NAME, security.NAME, \
                  system.posix_acl_access or system.posix_acl_default"
            .to_owned()),
    }
}

fn acl_value(field: Field<'_>, default: bool) -> Option<Vec<u8>> {
    let text = field.text("an ACL as getfacl prints it, such as \"u::rwx,g::r-x,o::r-x\"")?;
    match acl::parse(text, default) {
        Ok(value) => Some(value),
        Err(why) => field.refuse(why),
    }
}

/// A context, with the NUL that SELinux stores behind it.
fn selinux(field: Field<'_>) -> Option<Vec<u8>> {
    const WANTED: &str = "a context such as \"system_u:object_r:usr_t:s0\"";
    let text = field.text(WANTED)?;
    if text.is_empty() || text.contains('\0') {
        return field.wants(WANTED);
    }
    Some([text.as_bytes(), b"\0"].concat())
}

/// Names of attributes to take away; what is also set is noted.
pub(super) fn remove_xattrs(field: Field<'_>, set: &[(Vec<u8>, Vec<u8>)]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for element in field.one_or_list() {
        let Some(name) = element.text("the full name of an attribute") else { continue };
        if let Err(why) = xattr_name(name) {
            element.refuse::<()>(format_args!("names {}, which {why}", quoted(name)));
        } else if set.iter().any(|(known, _)| known == name.as_bytes()) {
            element.refuse::<()>(format_args!("names {}, which is set as well", quoted(name)));
        }
        out.push(name.as_bytes().to_vec());
    }
    out
}

fn flags(table: &Table<'_>, out: &mut Attrs) {
    let named = table.get("flags");
    let letters = table.get("chattr");
    let words = named.map(|field| flag_words(field).unwrap_or_default()).unwrap_or_default();
    out.flags = words | letters.and_then(chattr).unwrap_or_default();
    let dax = table.get("dax");
    out.dax = dax.and_then(|field| field.bool());
    if let (Some(false), Some(dax)) = (out.dax, dax) {
        let by_letter = letters.filter(|field| chattr(*field).unwrap_or_default().contains(InodeFlags::DAX));
        let by_name = named.filter(|_| words.contains(InodeFlags::DAX));
        if let Some(other) = by_name.or(by_letter) {
            table.conflict(dax, other);
        }
    }
}

/// Names of the field table in any case, or numbers; in a list, or in a text with commas, blanks or `|` between.
fn flag_words(field: Field<'_>) -> Option<InodeFlags> {
    let mut bits = 0;
    for element in field.one_or_list() {
        let text = element.text("names of flags such as [\"NODUMP\", \"NOATIME\"]")?;
        for word in text.split([',', '|', ' ']).filter(|word| !word.is_empty()) {
            let number = || parse_number(word).and_then(|n| u32::try_from(n).ok()).map(u64::from);
            let Some(bit) = BitSet::Inode.bit(word).or_else(number) else {
                let names = BitSet::Inode.names();
                let hint = did_you_mean(word, names.iter().map(|(name, _)| *name));
                return element.refuse(format_args!("has no flag {}{hint}", quoted(word)));
            };
            bits |= bit;
        }
    }
    Some(InodeFlags::from_bits_retain(bits as u32))
}

/// Letters of chattr(1) and lsattr(1), with or without the `+` before them.
fn chattr(field: Field<'_>) -> Option<InodeFlags> {
    const WANTED: &str = "letters of chattr such as \"xd\"";
    let text = field.text(WANTED)?;
    let letters = text.strip_prefix('+').unwrap_or(text);
    if letters.is_empty() {
        return field.wants(WANTED);
    }
    let mut flags = InodeFlags::empty();
    for letter in letters.chars() {
        let Some((_, flag)) = LSATTR_LETTERS.iter().find(|(known, _)| *known == letter) else {
            let known: String = LSATTR_LETTERS.iter().map(|(known, _)| *known).collect();
            return field.refuse(format_args!("has no flag {}; the letters are {known}", quoted(&letter.to_string())));
        };
        flags |= *flag;
    }
    Some(flags)
}
