//! Usage types (`-T`): how many bytes there are for each inode. The table is mke2fs.conf's of e2fsprogs 1.47, with one change:
//! no type decides the block size, because a block that is not a page cannot be mapped.

use super::error::OptionError;

/// A usage type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usage {
    /// Its name.
    pub(super) name: &'static str,
    /// Bytes for each inode.
    pub(super) inode_ratio: u32,
    /// Bytes of an inode, where not 256.
    pub(super) inode_size: Option<u16>,
}

const fn usage(name: &'static str, inode_ratio: u32) -> Usage {
    Usage { name, inode_ratio, inode_size: None }
}

const TYPES: &[Usage] = &[
    usage("small", 4096),
    usage("floppy", 8192),
    usage("default", 16384),
    usage("big", 32768),
    usage("huge", 65536),
    usage("news", 4096),
    usage("largefile", 1_048_576),
    usage("largefile4", 4_194_304),
    Usage { name: "hurd", inode_ratio: 16384, inode_size: Some(128) },
];

/// The types typed after `-T`, the later overriding the earlier; without any, the one for the size in bytes.
pub(super) fn find(typed: Option<&str>, bytes: u64, hurd: bool) -> Result<Usage, OptionError> {
    let by_size = match bytes {
        _ if bytes < 3 << 20 => "floppy",
        _ if bytes < 512 << 20 => "small",
        _ if bytes < 4 << 40 => "default",
        _ if bytes < 16 << 40 => "big",
        _ => "huge",
    };
    let mut found = usage("default", 16384);
    for word in typed.unwrap_or(by_size).split(',').filter(|w| !w.is_empty()) {
        let this = TYPES.iter().find(|u| u.name == word).ok_or_else(|| OptionError::Word {
            option: "-T",
            word: word.to_owned(),
            known: TYPES.iter().map(|u| u.name).collect::<Vec<_>>().join(", "),
        })?;
        // `default` has no section in the file: it changes nothing that stands before it.
        if this.name != "default" {
            let inode_ratio = if this.name == "hurd" { found.inode_ratio } else { this.inode_ratio };
            found = Usage { name: this.name, inode_ratio, inode_size: this.inode_size.or(found.inode_size) };
        }
    }
    if hurd {
        found.inode_size = Some(128);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_choose_as_the_configuration_file_does() {
        let ratio = |bytes| find(None, bytes, false).unwrap().inode_ratio;
        assert_eq!(ratio((3 << 20) - 1), 8192);
        assert_eq!(ratio(3 << 20), 4096);
        assert_eq!(ratio(512 << 20), 16384);
        assert_eq!(ratio(4 << 40), 32768);
        assert_eq!(ratio(16 << 40), 65536);
    }

    #[test]
    fn typed_types_override_the_size_and_each_other() {
        let of = |t| find(Some(t), 1 << 20, false).unwrap();
        assert_eq!(of("news").inode_ratio, 4096);
        assert_eq!(of("largefile,default").inode_ratio, 1 << 20);
        assert_eq!(of("hurd").inode_size, Some(128));
        assert_eq!(of("").inode_ratio, 16384);
        assert!(find(Some("new"), 1, false).is_err());
    }
}
