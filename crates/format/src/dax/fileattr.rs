//! The generic half of the set calls: `FS_IOC_SETFLAGS` and `FS_IOC_FSSETXATTR` (`fs/ioctl.c`, Linux 6.12).
//!
//! Both calls carry part of the attributes; the rest is kept. The common part, with the DAX bit in it, is overwritten by
//! **both**: a caller that leaves the bit out clears it.

use super::{Errno, FileKind, Kernel};
use crate::ext4::inode_flags::InodeFlags;
use bitflags::bitflags;

bitflags! {
    /// `FS_XFLAG_*`: the flags of `struct fsxattr`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct XFlags: u32 {
        /// Data lies on the realtime device.
        const REALTIME = 0x1;
        /// Blocks were preallocated.
        const PREALLOC = 0x2;
        /// Nothing may change.
        const IMMUTABLE = 0x8;
        /// Writes only append.
        const APPEND = 0x10;
        /// Writes are synchronous.
        const SYNC = 0x20;
        /// Access times are not updated.
        const NOATIME = 0x40;
        /// dump(8) leaves it out.
        const NODUMP = 0x80;
        /// New files lie on the realtime device.
        const RTINHERIT = 0x100;
        /// Children get the project id.
        const PROJINHERIT = 0x200;
        /// Symbolic links cannot be made.
        const NOSYMLINKS = 0x400;
        /// There is a hint for the size of extents.
        const EXTSIZE = 0x800;
        /// Children get the hint.
        const EXTSZINHERIT = 0x1000;
        /// xfs_fsr(8) leaves it out.
        const NODEFRAG = 0x2000;
        /// Files of a directory are allocated together.
        const FILESTREAM = 0x4000;
        /// **The DAX flag.**
        const DAX = 0x8000;
        /// There is a hint for the size of copied extents.
        const COWEXTSIZE = 0x1_0000;
        /// There are extended attributes (never set by a call).
        const HASATTR = 0x8000_0000;
        const _ = !0;
    }
}

impl XFlags {
    /// What both calls carry (`FS_XFLAG_COMMON`).
    pub const COMMON: Self = Self::SYNC
        .union(Self::IMMUTABLE)
        .union(Self::APPEND)
        .union(Self::NODUMP)
        .union(Self::NOATIME)
        .union(Self::DAX)
        .union(Self::PROJINHERIT);

    /// All that have a name (`FS_XFLAGS_MASK`).
    pub const KNOWN: Self = Self::from_bits_retain(0x8001_FFFB);
}

/// What both calls carry, in the other spelling (`FS_COMMON_FL`).
pub const COMMON_FL: InodeFlags = InodeFlags::SYNC
    .union(InodeFlags::IMMUTABLE)
    .union(InodeFlags::APPEND)
    .union(InodeFlags::NODUMP)
    .union(InodeFlags::NOATIME)
    .union(InodeFlags::DAX)
    .union(InodeFlags::PROJINHERIT);

const PAIRS: [(InodeFlags, XFlags); 7] = [
    (InodeFlags::SYNC, XFlags::SYNC),
    (InodeFlags::IMMUTABLE, XFlags::IMMUTABLE),
    (InodeFlags::APPEND, XFlags::APPEND),
    (InodeFlags::NODUMP, XFlags::NODUMP),
    (InodeFlags::NOATIME, XFlags::NOATIME),
    (InodeFlags::DAX, XFlags::DAX),
    (InodeFlags::PROJINHERIT, XFlags::PROJINHERIT),
];

/// The common part of `flags` in the other spelling (`fileattr_fill_flags`).
#[must_use]
pub fn to_xflags(flags: InodeFlags) -> XFlags {
    PAIRS.iter().filter(|(f, _)| flags.contains(*f)).fold(XFlags::empty(), |acc, (_, x)| acc | *x)
}

/// The common part of `xflags` in the other spelling (`fileattr_fill_xflags`).
#[must_use]
pub fn to_flags(xflags: XFlags) -> InodeFlags {
    PAIRS.iter().filter(|(_, x)| xflags.contains(*x)).fold(InodeFlags::empty(), |acc, (f, _)| acc | *f)
}

/// An inode's attributes as the generic code sees them (`struct fileattr`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileAttr {
    /// `FS_*_FL`, the same bits as ext4's.
    pub flags: InodeFlags,
    /// `FS_XFLAG_*`.
    pub xflags: XFlags,
    /// Hint for the size of extents, in bytes.
    pub extsize: u32,
    /// Hint for the size of copied extents, in bytes.
    pub cowextsize: u32,
    /// Project id.
    pub projid: u32,
}

impl FileAttr {
    /// What a file system with `FS_*_FL` bits reports.
    #[must_use]
    pub fn from_flags(flags: InodeFlags, projid: u32) -> Self {
        Self { flags, xflags: to_xflags(flags), projid, ..Self::default() }
    }

    /// What a file system with `FS_XFLAG_*` bits reports.
    #[must_use]
    pub fn from_xflags(xflags: XFlags, extsize: u32, cowextsize: u32, projid: u32) -> Self {
        Self { flags: to_flags(xflags), xflags, extsize, cowextsize, projid }
    }
}

/// One of the two calls, with what it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetCall {
    /// `FS_IOC_SETFLAGS`.
    SetFlags(InodeFlags),
    /// `FS_IOC_FSSETXATTR`.
    FsSetXattr {
        /// `fsx_xflags`.
        xflags: XFlags,
        /// `fsx_extsize`.
        extsize: u32,
        /// `fsx_cowextsize`.
        cowextsize: u32,
        /// `fsx_projid`.
        projid: u32,
    },
}

impl SetCall {
    /// Whether it is `FS_IOC_FSSETXATTR` (`fsx_valid`).
    #[must_use]
    pub const fn is_fsx(&self) -> bool {
        matches!(self, Self::FsSetXattr { .. })
    }

    /// The attributes the call asks for: its own, and of the rest what was there.
    #[must_use]
    pub fn merge(&self, old: &FileAttr) -> FileAttr {
        match *self {
            Self::SetFlags(flags) => {
                FileAttr { flags, xflags: to_xflags(flags) | (old.xflags - XFlags::COMMON), ..*old }
            }
            Self::FsSetXattr { xflags, extsize, cowextsize, projid } => {
                let flags = to_flags(xflags) | (old.flags - COMMON_FL);
                FileAttr { flags, xflags, extsize, cowextsize, projid }
            }
        }
    }
}

/// Who calls, and from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The argument could be read.
    pub argument_readable: bool,
    /// The mount, not the descriptor, allows writes.
    pub mount_writable: bool,
    /// The file system has a method to set attributes.
    pub has_method: bool,
    /// Owns the inode or may act as if.
    pub owner_or_capable: bool,
    /// `CAP_LINUX_IMMUTABLE`.
    pub cap_linux_immutable: bool,
    /// In the initial user namespace.
    pub init_user_ns: bool,
}

impl Caller {
    /// Root, to whom all is allowed.
    pub const ROOT: Self = Self {
        argument_readable: true,
        mount_writable: true,
        has_method: true,
        owner_or_capable: true,
        cap_linux_immutable: true,
        init_user_ns: true,
    };
}

/// The generic half of a call: the checks in their order, and what the file system is then asked to set
/// (`ioctl_setflags`, `ioctl_fssetxattr`, `vfs_fileattr_set`, `fileattr_set_prepare`).
///
/// # Errors
/// The first check that fails.
pub fn set(call: &SetCall, caller: &Caller, kind: FileKind, old: &FileAttr) -> Result<FileAttr, Errno> {
    for (ok, errno) in [
        (caller.argument_readable, Errno::EFAULT),
        (caller.mount_writable, Errno::EROFS),
        (caller.has_method, Errno::ENOTTY),
        (caller.owner_or_capable, Errno::EPERM),
    ] {
        if !ok {
            return Err(errno);
        }
    }
    let mut new = call.merge(old);
    prepare(&mut new, caller, kind, old)?;
    Ok(new)
}

/// Whether a kernel takes the bits that a call carries: since 6.17 `FS_IOC_FSSETXATTR` refuses those it does not know, and before that it
/// ignored them (`copy_fsxattr_from_user`; "fs: prepare for extending file_get/setattr()"). That comes before every other check.
///
/// # Errors
/// `EOPNOTSUPP`.
pub fn known_xflags(call: &SetCall, kernel: Kernel) -> Result<(), Errno> {
    match call {
        SetCall::FsSetXattr { xflags, .. } if kernel >= Kernel(6, 17) && !XFlags::KNOWN.contains(*xflags) => {
            Err(Errno::EOPNOTSUPP)
        }
        _ => Ok(()),
    }
}

fn prepare(new: &mut FileAttr, caller: &Caller, kind: FileKind, old: &FileAttr) -> Result<(), Errno> {
    let check = |ok: bool, errno| if ok { Ok(()) } else { Err(errno) };
    let guarded = InodeFlags::APPEND | InodeFlags::IMMUTABLE;
    check(caller.cap_linux_immutable || !(new.flags ^ old.flags).intersects(guarded), Errno::EPERM)?;
    let same_project = new.projid == old.projid;
    if caller.init_user_ns {
        check(same_project || new.projid != u32::MAX, Errno::EINVAL)?;
    } else {
        check(same_project && !(new.xflags ^ old.xflags).intersects(XFlags::PROJINHERIT), Errno::EINVAL)?;
    }
    let (file, dir) = (kind == FileKind::Regular, kind == FileKind::Directory);
    for (flag, allowed) in [
        (XFlags::EXTSIZE, file),
        (XFlags::EXTSZINHERIT, dir),
        (XFlags::COWEXTSIZE, file || dir),
        (XFlags::DAX, kind.can_hold_dax()),
    ] {
        check(allowed || !new.xflags.contains(flag), Errno::EINVAL)?;
    }
    // A hint of zero turns itself off.
    if new.extsize == 0 {
        new.xflags -= XFlags::EXTSIZE | XFlags::EXTSZINHERIT;
    }
    if new.cowextsize == 0 {
        new.xflags -= XFlags::COWEXTSIZE;
    }
    Ok(())
}

#[cfg(test)]
#[path = "fileattr_tests.rs"]
mod tests;
