//! What an inode has besides what every archive has room for, as pax records.

use daxkit_build::source::file_flag_names;
use daxkit_format::ext4::acl;
use daxkit_volume::{Inode, Xattr};

/// Keyword and value.
pub(super) type Record = (Vec<u8>, Vec<u8>);

/// The flags, where there is a name for one; the keyword is that of star and libarchive.
pub(super) fn flags(inode: &Inode) -> Option<Record> {
    let names = file_flag_names(inode.flags());
    (!names.is_empty()).then(|| (b"SCHILY.fflags".to_vec(), names.into_bytes()))
}

/// An attribute as the host knows it: ACLs in words, as star, GNU tar and libarchive write them, the rest as star does. `None` for one that the
/// kernel keeps to itself.
pub(super) fn attribute(attribute: &Xattr) -> Result<Option<Record>, acl::AclError> {
    let Some((name, value)) = attribute.for_user()? else { return Ok(None) };
    let keyword: &[u8] = match name.as_slice() {
        b"system.posix_acl_access" => b"SCHILY.acl.access",
        b"system.posix_acl_default" => b"SCHILY.acl.default",
        _ => b"",
    };
    if !keyword.is_empty()
        && let Some(words) = acl::text(&value)
    {
        return Ok(Some((keyword.to_vec(), words.into_bytes())));
    }
    let mut keyword = b"SCHILY.xattr.".to_vec();
    for byte in name {
        // A keyword ends with the first equals sign; GNU tar writes it this way.
        match byte {
            b'%' => keyword.extend(b"%25"),
            b'=' => keyword.extend(b"%3D"),
            byte => keyword.push(byte),
        }
    }
    Ok(Some((keyword, value)))
}
