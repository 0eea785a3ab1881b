//! XFS's inode flags, on disk and in user space (`libxfs/xfs_format.h`, `xfs_inode_util.c`; Linux 6.12).

use super::FileKind;
use super::fileattr::XFlags;
use bitflags::bitflags;

bitflags! {
    /// `di_flags`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct DiFlags: u16 {
        /// Data lies on the realtime device.
        const REALTIME = 1 << 0;
        /// Blocks were preallocated.
        const PREALLOC = 1 << 1;
        /// For the realtime bitmap inode only.
        const NEWRTBM = 1 << 2;
        /// Nothing may change.
        const IMMUTABLE = 1 << 3;
        /// Writes only append.
        const APPEND = 1 << 4;
        /// Writes are synchronous.
        const SYNC = 1 << 5;
        /// Access times are not updated.
        const NOATIME = 1 << 6;
        /// dump(8) leaves it out.
        const NODUMP = 1 << 7;
        /// New files lie on the realtime device.
        const RTINHERIT = 1 << 8;
        /// Children get the project id.
        const PROJINHERIT = 1 << 9;
        /// Symbolic links cannot be made.
        const NOSYMLINKS = 1 << 10;
        /// `di_extsize` counts.
        const EXTSIZE = 1 << 11;
        /// Children get `di_extsize`.
        const EXTSZINHERIT = 1 << 12;
        /// xfs_fsr(8) leaves it out.
        const NODEFRAG = 1 << 13;
        /// Files of a directory are allocated together.
        const FILESTREAM = 1 << 14;
        const _ = !0;
    }
}

bitflags! {
    /// `di_flags2`, in version 3 inodes only.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct DiFlags2: u64 {
        /// **The DAX flag.**
        const DAX = 1 << 0;
        /// Blocks may be shared.
        const REFLINK = 1 << 1;
        /// `di_cowextsize` counts.
        const COWEXTSIZE = 1 << 2;
        /// Times have 64 bits.
        const BIGTIME = 1 << 3;
        /// Extent counters have 64 bits.
        const NREXT64 = 1 << 4;
        const _ = !0;
    }
}

impl DiFlags2 {
    /// All bits 6.12 knows (`XFS_DIFLAG2_ANY`).
    pub const ANY: Self =
        Self::DAX.union(Self::REFLINK).union(Self::COWEXTSIZE).union(Self::BIGTIME).union(Self::NREXT64);
}

pub(super) const PAIRS: [(XFlags, DiFlags); 14] = [
    (XFlags::REALTIME, DiFlags::REALTIME),
    (XFlags::PREALLOC, DiFlags::PREALLOC),
    (XFlags::IMMUTABLE, DiFlags::IMMUTABLE),
    (XFlags::APPEND, DiFlags::APPEND),
    (XFlags::SYNC, DiFlags::SYNC),
    (XFlags::NOATIME, DiFlags::NOATIME),
    (XFlags::NODUMP, DiFlags::NODUMP),
    (XFlags::RTINHERIT, DiFlags::RTINHERIT),
    (XFlags::PROJINHERIT, DiFlags::PROJINHERIT),
    (XFlags::NOSYMLINKS, DiFlags::NOSYMLINKS),
    (XFlags::EXTSIZE, DiFlags::EXTSIZE),
    (XFlags::EXTSZINHERIT, DiFlags::EXTSZINHERIT),
    (XFlags::NODEFRAG, DiFlags::NODEFRAG),
    (XFlags::FILESTREAM, DiFlags::FILESTREAM),
];

/// What an inode's flags are for user space (`xfs_ip2xflags`), `HASATTR` left out.
#[must_use]
pub fn to_xflags(flags: DiFlags, flags2: DiFlags2) -> XFlags {
    let mut x = PAIRS.iter().filter(|(_, d)| flags.contains(*d)).fold(XFlags::empty(), |acc, (x, _)| acc | *x);
    x.set(XFlags::DAX, flags2.contains(DiFlags2::DAX));
    x.set(XFlags::COWEXTSIZE, flags2.contains(DiFlags2::COWEXTSIZE));
    x
}

/// `di_flags` a set call asks for: what the type of the inode allows, and `PREALLOC` as it was (`xfs_flags2diflags`).
#[must_use]
pub fn to_di_flags(kind: FileKind, old: DiFlags, xflags: XFlags) -> DiFlags {
    let any = DiFlags::IMMUTABLE
        | DiFlags::APPEND
        | DiFlags::SYNC
        | DiFlags::NOATIME
        | DiFlags::NODUMP
        | DiFlags::NODEFRAG
        | DiFlags::FILESTREAM;
    let own = match kind {
        FileKind::Directory => DiFlags::RTINHERIT | DiFlags::NOSYMLINKS | DiFlags::EXTSZINHERIT | DiFlags::PROJINHERIT,
        FileKind::Regular => DiFlags::REALTIME | DiFlags::EXTSIZE,
        FileKind::Symlink | FileKind::Special => DiFlags::empty(),
    };
    let asked = PAIRS.iter().filter(|(x, _)| xflags.contains(*x)).fold(DiFlags::empty(), |acc, (_, d)| acc | *d);
    (old & DiFlags::PREALLOC) | (asked & (any | own))
}

/// `di_flags2` a set call asks for: what no call can set stays (`xfs_flags2diflags2`).
#[must_use]
pub fn to_di_flags2(old: DiFlags2, xflags: XFlags) -> DiFlags2 {
    let mut new = old & (DiFlags2::REFLINK | DiFlags2::BIGTIME | DiFlags2::NREXT64);
    new.set(DiFlags2::DAX, xflags.contains(XFlags::DAX));
    new.set(DiFlags2::COWEXTSIZE, xflags.contains(XFlags::COWEXTSIZE));
    new
}
