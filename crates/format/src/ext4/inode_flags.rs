//! `i_flags` bit by bit (`EXT4_*_FL`, Linux 6.12): who sets it, whether it is inherited, whether a user may change it.

bitflags::bitflags! {
    /// The flags of an inode.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct InodeFlags: u32 {
        /// Secure deletion. Set by chattr `s`; inherited; ext4 does nothing with it.
        const SECRM = 0x0000_0001;
        /// Undelete. Set by chattr `u`; inherited; ext4 does nothing with it.
        const UNRM = 0x0000_0002;
        /// Compress. Set by chattr `c`; inherited; ext4 does nothing with it.
        const COMPR = 0x0000_0004;
        /// Synchronous updates. Set by chattr `S`; inherited.
        const SYNC = 0x0000_0008;
        /// Nothing may change. Set by chattr `i`; not inherited.
        const IMMUTABLE = 0x0000_0010;
        /// Writes only append. Set by chattr `a`; not inherited.
        const APPEND = 0x0000_0020;
        /// dump(8) leaves it out. Set by chattr `d`; inherited, by every type.
        const NODUMP = 0x0000_0040;
        /// Access times are not updated. Set by chattr `A`; inherited, by every type.
        const NOATIME = 0x0000_0080;
        /// Compression: dirty. Visible, never set by ext4.
        const DIRTY = 0x0000_0100;
        /// Compression: has compressed clusters. Visible, never set by ext4.
        const COMPRBLK = 0x0000_0200;
        /// Compression: do not. Inherited; visible, not modifiable.
        const NOCOMPR = 0x0000_0400;
        /// Encrypted. Set by the encryption policy ioctl; children of an encrypted directory get it with their context.
        const ENCRYPT = 0x0000_0800;
        /// A hashed directory. Set by the kernel when a directory outgrows one block.
        const INDEX = 0x0000_1000;
        /// AFS directory. Never set by Linux.
        const IMAGIC = 0x0000_2000;
        /// Data goes through the journal. Set by chattr `j`; inherited; excludes DAX.
        const JOURNAL_DATA = 0x0000_4000;
        /// No tail merging. Set by chattr `t`; inherited; ext4 does nothing with it.
        const NOTAIL = 0x0000_8000;
        /// Directory changes are synchronous. Set by chattr `D`; inherited by directories.
        const DIRSYNC = 0x0001_0000;
        /// Top of directory hierarchies, for the allocator. Set by chattr `T`; not inherited.
        const TOPDIR = 0x0002_0000;
        /// `i_blocks` counts file system blocks. Set by the kernel for files above 2 TiB.
        const HUGE_FILE = 0x0004_0000;
        /// Mapped by extents. Set at creation, or by chattr `e`.
        const EXTENTS = 0x0008_0000;
        /// fs-verity. Set by the verity ioctl; excludes DAX.
        const VERITY = 0x0010_0000;
        /// The inode holds an attribute value. Set by the kernel.
        const EA_INODE = 0x0020_0000;
        /// Blocks past the end of file. Historic (`EXT4_EOFBLOCKS_FL`).
        const EOFBLOCKS = 0x0040_0000;
        /// Historic snapshot file (`SNAPFILE`).
        const SNAPFILE = 0x0100_0000;
        /// **The DAX flag**: this file wants to be mapped directly. Set by chattr `x`; inherited by files and directories.
        const DAX = 0x0200_0000;
        /// Historic: snapshot is being deleted.
        const SNAPFILE_DELETED = 0x0400_0000;
        /// Historic: snapshot has shrunk.
        const SNAPFILE_SHRUNK = 0x0800_0000;
        /// Data lives in the inode. Set by the kernel; excludes DAX except on directories.
        const INLINE_DATA = 0x1000_0000;
        /// Children get the project id. Set by chattr `P`; inherited by directories.
        const PROJINHERIT = 0x2000_0000;
        /// Names are compared without case. Set by chattr `F` on empty directories; inherited by directories.
        const CASEFOLD = 0x4000_0000;
        /// Reserved for the ext4 library.
        const RESERVED = 0x8000_0000;
        const _ = !0;
    }
}

/// The letters of lsattr(1) in the order it prints them.
pub const LSATTR_LETTERS: &[(char, InodeFlags)] = &[
    ('s', InodeFlags::SECRM),
    ('u', InodeFlags::UNRM),
    ('S', InodeFlags::SYNC),
    ('D', InodeFlags::DIRSYNC),
    ('i', InodeFlags::IMMUTABLE),
    ('a', InodeFlags::APPEND),
    ('d', InodeFlags::NODUMP),
    ('A', InodeFlags::NOATIME),
    ('c', InodeFlags::COMPR),
    ('B', InodeFlags::COMPRBLK),
    ('Z', InodeFlags::DIRTY),
    ('E', InodeFlags::ENCRYPT),
    ('j', InodeFlags::JOURNAL_DATA),
    ('I', InodeFlags::INDEX),
    ('t', InodeFlags::NOTAIL),
    ('T', InodeFlags::TOPDIR),
    ('e', InodeFlags::EXTENTS),
    ('C', InodeFlags::from_bits_retain(0x0080_0000)),
    ('x', InodeFlags::DAX),
    ('F', InodeFlags::CASEFOLD),
    ('N', InodeFlags::INLINE_DATA),
    ('P', InodeFlags::PROJINHERIT),
    ('V', InodeFlags::VERITY),
    ('m', InodeFlags::NOCOMPR),
];

impl InodeFlags {
    /// The flags as lsattr(1) prints them: one letter or a dash each.
    #[must_use]
    pub fn lsattr(self) -> String {
        LSATTR_LETTERS.iter().map(|(c, f)| if self.contains(*f) { *c } else { '-' }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lsattr_prints_dashes_and_letters_in_its_own_order() {
        assert_eq!((InodeFlags::EXTENTS | InodeFlags::DAX).lsattr(), "----------------e-x-----");
        assert_eq!(InodeFlags::empty().lsattr().len(), LSATTR_LETTERS.len());
    }
}
