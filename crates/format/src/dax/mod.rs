//! The rules of the DAX flag, as pure functions: what a child inherits, which flags exclude it, what a set call answers,
//! and when a file is really accessed directly.
//!
//! Three things must be kept apart. The **flag** is a bit on disk (`EXT4_DAX_FL`, `XFS_DIFLAG2_DAX`), advice that a set
//! call or creation changes. **`S_DAX`** is a bit of the inode in memory, computed from the flag, the mount and the
//! device when the inode is instantiated, and never changed while it lives. How pages are mapped follows from `S_DAX`.
//! The rules here are the first two; they are those of Linux 6.12 ([`ext4`], [`xfs`], [`fileattr`]) unless a function
//! takes a [`Kernel`].

pub mod ext4;
pub mod fileattr;
pub mod xfs;
mod xfs_flags;

use core::fmt;

/// A kernel release, where rules differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kernel(pub u16, pub u16);

impl Kernel {
    /// The release the rules were read from.
    pub const LATEST: Self = Self(6, 12);
}

/// The error numbers that these rules and operations on a volume give, by the kernel's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Errno {
    /// Operation not permitted.
    EPERM,
    /// No such file or directory.
    ENOENT,
    /// Interrupted system call.
    EINTR,
    /// Input/output error.
    EIO,
    /// No such device or address.
    ENXIO,
    /// Argument list, or an attribute's value, too long.
    E2BIG,
    /// Bad file descriptor.
    EBADF,
    /// Try again.
    EAGAIN,
    /// Cannot allocate memory.
    ENOMEM,
    /// Permission denied.
    EACCES,
    /// Bad address.
    EFAULT,
    /// Device or resource busy.
    EBUSY,
    /// File exists.
    EEXIST,
    /// Link across devices, or into another project.
    EXDEV,
    /// No such device.
    ENODEV,
    /// Not a directory.
    ENOTDIR,
    /// Is a directory.
    EISDIR,
    /// Invalid argument.
    EINVAL,
    /// The object has no such control.
    ENOTTY,
    /// Text file busy.
    ETXTBSY,
    /// File too large.
    EFBIG,
    /// No space left on device.
    ENOSPC,
    /// Illegal seek.
    ESPIPE,
    /// Read-only file system.
    EROFS,
    /// Too many links.
    EMLINK,
    /// Result too large, or an attribute's name too long.
    ERANGE,
    /// File name too long.
    ENAMETOOLONG,
    /// Directory not empty.
    ENOTEMPTY,
    /// Too many levels of symbolic links.
    ELOOP,
    /// No such attribute.
    ENODATA,
    /// A checksum does not match (`EFSBADCRC`).
    EBADMSG,
    /// Value too large to be stored.
    EOVERFLOW,
    /// Operation not supported.
    EOPNOTSUPP,
    /// The inode that a number leads to is gone.
    ESTALE,
    /// The file system is damaged (`EFSCORRUPTED`).
    EUCLEAN,
    /// The key is not there.
    ENOKEY,
    /// Interrupted, to be started again; user space sees EINTR or nothing.
    ERESTARTSYS,
}

impl Errno {
    /// The number, as on most of Linux' architectures.
    #[must_use]
    pub const fn number(self) -> i32 {
        match self {
            Self::EPERM => 1,
            Self::ENOENT => 2,
            Self::EINTR => 4,
            Self::EIO => 5,
            Self::ENXIO => 6,
            Self::E2BIG => 7,
            Self::EBADF => 9,
            Self::EAGAIN => 11,
            Self::ENOMEM => 12,
            Self::EACCES => 13,
            Self::EFAULT => 14,
            Self::EBUSY => 16,
            Self::EEXIST => 17,
            Self::EXDEV => 18,
            Self::ENODEV => 19,
            Self::ENOTDIR => 20,
            Self::EISDIR => 21,
            Self::EINVAL => 22,
            Self::ENOTTY => 25,
            Self::ETXTBSY => 26,
            Self::EFBIG => 27,
            Self::ENOSPC => 28,
            Self::ESPIPE => 29,
            Self::EROFS => 30,
            Self::EMLINK => 31,
            Self::ERANGE => 34,
            Self::ENAMETOOLONG => 36,
            Self::ENOTEMPTY => 39,
            Self::ELOOP => 40,
            Self::ENODATA => 61,
            Self::EBADMSG => 74,
            Self::EOVERFLOW => 75,
            Self::EOPNOTSUPP => 95,
            Self::ESTALE => 116,
            Self::EUCLEAN => 117,
            Self::ENOKEY => 126,
            Self::ERESTARTSYS => 512,
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Type of an inode, as far as the rules care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A FIFO, a socket or a device node.
    Special,
}

impl FileKind {
    /// From the type bits of `i_mode`; `None` when they are none.
    #[must_use]
    pub const fn from_mode(mode: u16) -> Option<Self> {
        Some(match mode >> 12 {
            0o10 => Self::Regular,
            0o4 => Self::Directory,
            0o12 => Self::Symlink,
            0o1 | 0o2 | 0o6 | 0o14 => Self::Special,
            _ => return None,
        })
    }

    /// Whether the flag may be set on it.
    #[must_use]
    pub const fn can_hold_dax(self) -> bool {
        matches!(self, Self::Regular | Self::Directory)
    }
}

/// How a mounted file system treats the flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DaxMode {
    /// Every file that can is accessed directly.
    Always,
    /// The flag decides.
    Inode,
    /// No file is.
    Never,
}

impl DaxMode {
    /// The mode of a mount option, `dax` or `dax=WORD`; `None` for anything else.
    #[must_use]
    pub fn from_option(option: &str) -> Option<Self> {
        Some(match option {
            "dax" | "dax=always" => Self::Always,
            "dax=inode" => Self::Inode,
            "dax=never" => Self::Never,
            _ => return None,
        })
    }

    /// The option that names it.
    #[must_use]
    pub const fn option(self) -> &'static str {
        match self {
            Self::Always => "dax=always",
            Self::Inode => "dax=inode",
            Self::Never => "dax=never",
        }
    }
}

/// Whether a file is accessed directly, and which rule said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DaxDecision {
    /// `S_DAX`.
    pub s_dax: bool,
    /// Number of the rule, counted from 1, in the order they are tried.
    pub row: u8,
    /// The same in words.
    pub reason: DaxReason,
}

/// The rules that decide `S_DAX`; not every one exists in every file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DaxReason {
    /// The kernel is built without `CONFIG_FS_DAX`.
    NotBuilt,
    /// Mounted with `dax=never`.
    MountNever,
    /// Not a regular file.
    NotRegular,
    /// Data goes through the journal.
    DataJournal,
    /// Data lies in the inode.
    InlineData,
    /// Data is encrypted.
    Encrypted,
    /// Data is protected by fs-verity.
    Verity,
    /// Blocks are shared with another file.
    Reflink,
    /// Blocks are not pages.
    BlockSize,
    /// The device cannot be accessed directly.
    Device,
    /// Mounted with `dax=always`.
    MountAlways,
    /// The flag is set.
    FlagSet,
    /// The flag is clear.
    FlagClear,
}

impl fmt::Display for DaxReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotBuilt => "the kernel is built without DAX",
            Self::MountNever => "mounted with dax=never",
            Self::NotRegular => "not a regular file",
            Self::DataJournal => "data goes through the journal",
            Self::InlineData => "data lies in the inode",
            Self::Encrypted => "encrypted",
            Self::Verity => "protected by fs-verity",
            Self::Reflink => "shares blocks with another file",
            Self::BlockSize => "the block size is not the page size",
            Self::Device => "the device cannot be accessed directly",
            Self::MountAlways => "mounted with dax=always",
            Self::FlagSet => "the DAX flag is set",
            Self::FlagClear => "the DAX flag is clear",
        })
    }
}

/// Whether the device can be accessed directly (`fs_dax_get_by_bdev`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DaxDevice {
    /// Its queue says it can, and it has a live dax device.
    pub advertises: bool,
    /// Start of the partition in bytes; 0 for a whole device.
    pub start: u64,
    /// Its length in bytes.
    pub len: u64,
    /// XFS only: the one place for a holder is free.
    pub holder_free: bool,
}

impl DaxDevice {
    /// The answer, on a machine with pages of `page_size` bytes.
    #[must_use]
    pub fn usable(&self, page_size: u32) -> bool {
        let aligned = |n: u64| n.checked_rem(u64::from(page_size)) == Some(0);
        self.advertises && self.holder_free && aligned(self.start) && aligned(self.len)
    }
}

/// Operations that make, move or copy an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum NamespaceOp {
    Create,
    Mkdir,
    Mknod,
    Symlink,
    /// `open` with `O_TMPFILE`, then `linkat`.
    Tmpfile,
    Rename,
    Exchange,
    Link,
    /// The flag of what already lies in a directory when the directory's own changes.
    SetOnParent,
    /// `cp`, also with `-a`.
    Copy,
    /// `cp --reflink`.
    Reflink,
}

/// Where the flag of the object of a [`NamespaceOp`] comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FlagSource {
    /// The directory it is made in, at that instant.
    Parent,
    /// The directory named in `open`, not where it is linked later.
    NamedDirectory,
    /// It is never set.
    Never,
    /// It stays what it was.
    Unchanged,
    /// A new inode: the directory it is copied to; the source's flag does not count.
    Destination,
}

impl NamespaceOp {
    /// The rule, the same for both file systems.
    #[must_use]
    pub const fn flag_source(self) -> FlagSource {
        match self {
            Self::Create | Self::Mkdir => FlagSource::Parent,
            Self::Tmpfile => FlagSource::NamedDirectory,
            Self::Mknod | Self::Symlink => FlagSource::Never,
            Self::Rename | Self::Exchange | Self::Link | Self::SetOnParent => FlagSource::Unchanged,
            Self::Copy | Self::Reflink => FlagSource::Destination,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_and_kinds() {
        for (mode, kind) in [
            (0o100_644, Some(FileKind::Regular)),
            (0o040_755, Some(FileKind::Directory)),
            (0o120_777, Some(FileKind::Symlink)),
            (0o010_600, Some(FileKind::Special)),
            (0o020_600, Some(FileKind::Special)),
            (0o060_600, Some(FileKind::Special)),
            (0o140_600, Some(FileKind::Special)),
            (0o000_600, None),
            (0o170_600, None),
        ] {
            assert_eq!(FileKind::from_mode(mode), kind, "{mode:o}");
        }
    }

    #[test]
    fn mount_options() {
        for (word, mode) in [
            ("dax", Some(DaxMode::Always)),
            ("dax=always", Some(DaxMode::Always)),
            ("dax=inode", Some(DaxMode::Inode)),
            ("dax=never", Some(DaxMode::Never)),
            ("dax=", None),
            ("nodax", None),
        ] {
            assert_eq!(DaxMode::from_option(word), mode, "{word}");
        }
        assert_eq!(DaxMode::from_option(DaxMode::Inode.option()), Some(DaxMode::Inode));
    }

    #[test]
    fn a_device_must_be_page_aligned_all_over() {
        let good = DaxDevice { advertises: true, start: 1 << 20, len: 1 << 30, holder_free: true };
        let rows = [
            ("as it should be", good, 4096, true),
            ("no dax device", DaxDevice { advertises: false, ..good }, 4096, false),
            ("start", DaxDevice { start: 512, ..good }, 4096, false),
            ("length", DaxDevice { len: (1 << 30) + 512, ..good }, 4096, false),
            ("large pages", DaxDevice { start: 4096, ..good }, 65536, false),
            ("held by another", DaxDevice { holder_free: false, ..good }, 4096, false),
            ("no pages at all", good, 0, false),
        ];
        for (name, device, page_size, expected) in rows {
            assert_eq!(device.usable(page_size), expected, "{name}");
        }
    }

    #[test]
    fn where_the_flag_comes_from() {
        use NamespaceOp::*;
        for (op, source) in [
            (Create, FlagSource::Parent),
            (Mkdir, FlagSource::Parent),
            (Mknod, FlagSource::Never),
            (Symlink, FlagSource::Never),
            (Tmpfile, FlagSource::NamedDirectory),
            (Rename, FlagSource::Unchanged),
            (Exchange, FlagSource::Unchanged),
            (Link, FlagSource::Unchanged),
            (SetOnParent, FlagSource::Unchanged),
            (Copy, FlagSource::Destination),
            (Reflink, FlagSource::Destination),
        ] {
            assert_eq!(op.flag_source(), source, "{op:?}");
        }
    }
}
