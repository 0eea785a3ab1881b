//! Inline data: in `i_block`, and behind it in the attribute `system.data`.

use daxkit_format::ext4::xattr::INDEX_SYSTEM;

use super::xattrs::Area;

/// Bytes in `i_block`.
pub(crate) const IN_MAP: usize = 60;

/// The bytes of inline data that an inode has room for: those in `i_block`, and those of its attribute. `None` without
/// the attribute.
pub(crate) fn capacity(raw: &[u8]) -> Option<usize> {
    tail(raw).map(|tail| IN_MAP + tail.len())
}

/// The part in the attribute.
pub(crate) fn tail(raw: &[u8]) -> Option<&[u8]> {
    let area = Area::inode(raw)?;
    area.entries()
        .into_iter()
        .find(|entry| entry.index == INDEX_SYSTEM && entry.name == b"data")
        .map(|entry| entry.value)
}
