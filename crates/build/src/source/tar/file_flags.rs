//! File flags by name, as libarchive and star write them (`SCHILY.fflags`), and the flags of an inode that they are. There is no name for
//! the DAX flag.

use daxkit_format::dax::FileKind;
use daxkit_format::dax::ext4::mask_flags;
use daxkit_format::ext4::inode_flags::InodeFlags;

/// Names of the flags that `chattr(1)` can set on ext4. libarchive's come first, then what star and the BSDs call the same.
const NAMES: &[(&str, InodeFlags)] = &[
    ("sappnd", InodeFlags::APPEND),
    ("schg", InodeFlags::IMMUTABLE),
    ("nodump", InodeFlags::NODUMP),
    ("noatime", InodeFlags::NOATIME),
    ("compress", InodeFlags::COMPR),
    ("dirsync", InodeFlags::DIRSYNC),
    ("journal-data", InodeFlags::JOURNAL_DATA),
    ("notail", InodeFlags::NOTAIL),
    ("projinherit", InodeFlags::PROJINHERIT),
    ("securedeletion", InodeFlags::SECRM),
    ("sync", InodeFlags::SYNC),
    ("topdir", InodeFlags::TOPDIR),
    ("undel", InodeFlags::UNRM),
    ("sappend", InodeFlags::APPEND),
    ("append", InodeFlags::APPEND),
    ("uappnd", InodeFlags::APPEND),
    ("uappend", InodeFlags::APPEND),
    ("schange", InodeFlags::IMMUTABLE),
    ("simmutable", InodeFlags::IMMUTABLE),
    ("immutable", InodeFlags::IMMUTABLE),
    ("uchg", InodeFlags::IMMUTABLE),
    ("uchange", InodeFlags::IMMUTABLE),
    ("uimmutable", InodeFlags::IMMUTABLE),
    ("journal", InodeFlags::JOURNAL_DATA),
    ("secdel", InodeFlags::SECRM),
    ("undelete", InodeFlags::UNRM),
];

/// Reads a list of flags. `left_out` is called with each name that stands for no flag of ext4, or for one that the kernel keeps
/// from what is of this kind.
pub(super) fn parse(text: &[u8], kind: FileKind, mut left_out: impl FnMut(&[u8])) -> InodeFlags {
    let mut flags = InodeFlags::empty();
    for name in text.split(|b| matches!(b, b',' | b' ')).filter(|name| !name.is_empty()) {
        let flag = NAMES.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, flag)| *flag);
        match flag.filter(|flag| mask_flags(kind, *flag) == *flag) {
            Some(flag) => flags |= flag,
            None => left_out(name),
        }
    }
    flags
}

/// The flags that have names, by the names that libarchive writes.
#[must_use]
pub fn file_flag_names(flags: InodeFlags) -> String {
    let mut rest = flags;
    let mut names = Vec::new();
    for (name, flag) in NAMES {
        if rest.contains(*flag) {
            names.push(*name);
            rest.remove(*flag);
        }
    }
    names.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_flags_where_they_may_be() {
        let parse = |text: &str, kind| {
            let mut unknown = Vec::new();
            let flags = parse(text.as_bytes(), kind, |name| unknown.push(String::from_utf8_lossy(name).into_owned()));
            (flags, unknown.join(" "))
        };
        let dir = FileKind::Directory;
        assert_eq!(parse("schg,nodump", dir), (InodeFlags::IMMUTABLE | InodeFlags::NODUMP, String::new()));
        assert_eq!(file_flag_names(InodeFlags::IMMUTABLE | InodeFlags::NODUMP | InodeFlags::DAX), "schg,nodump");
        assert_eq!(parse("", dir), (InodeFlags::empty(), String::new()));
        assert_eq!(
            parse("nocow,uchg, arch,topdir", dir),
            (InodeFlags::IMMUTABLE | InodeFlags::TOPDIR, "nocow arch".into())
        );
        assert_eq!(parse("topdir,sync", FileKind::Regular), (InodeFlags::SYNC, "topdir".into()));
        assert_eq!(parse("schg,noatime", FileKind::Symlink), (InodeFlags::NOATIME, "schg".into()));
    }
}
