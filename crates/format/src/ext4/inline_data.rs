//! Inline data: a small file or directory inside its inode. The first 60 bytes lie in `i_block`, the rest is the value of the
//! attribute `system.data` in the inode. A directory begins with the inode number of its parent instead of `.` and `..`.

/// Bytes that lie in `i_block` (`EXT4_MIN_INLINE_DATA_SIZE`).
pub const MIN_SIZE: usize = 60;
/// Name of the attribute behind the `system.` prefix; it exists even when it is empty.
pub const XATTR_NAME: &[u8] = b"data";
/// Bytes at the start of an inline directory that hold the parent's number (`EXT4_INLINE_DOTDOT_SIZE`).
pub const DOTDOT_SIZE: usize = 4;

/// Most bytes that fit in an inode of `inode_size` whose extra fields take `extra_isize`, when it has no other attributes.
#[must_use]
pub fn capacity(inode_size: u16, extra_isize: u16) -> usize {
    let area = usize::from(inode_size).saturating_sub(128 + usize::from(extra_isize));
    // Header, one entry with its four-byte name, and the end of the list.
    let overhead = 4 + super::xattr::entry_len(XATTR_NAME.len()) + 4;
    MIN_SIZE + (area.saturating_sub(overhead) & !3)
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_the_kernel_documentation_says_fits() {
        // 256-byte inodes: 60 bytes in i_block and up to 68 in the attribute.
        assert_eq!(super::capacity(256, 32), 60 + 68);
        assert_eq!(super::capacity(128, 0), 60);
    }
}
