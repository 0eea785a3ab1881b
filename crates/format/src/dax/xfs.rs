//! XFS's rules (`libxfs/xfs_inode_util.c`, `xfs_inode_buf.c`, `xfs_iops.c`, `xfs_ioctl.c`, `xfs_super.c`; Linux 6.12, and
//! where a [`Kernel`] is asked for, before). The flag exists since 4.5; these rules hold since 5.8.

use super::fileattr::{FileAttr, XFlags};
use super::{DaxDecision, DaxMode, DaxReason, Errno, FileKind, Kernel};
use crate::ext4::inode_flags::InodeFlags;
use core::fmt;

pub use super::xfs_flags::{DiFlags, DiFlags2, to_di_flags, to_di_flags2, to_xflags};

/// The kernel since which special files have attributes ("xfs: allow setting file attributes on special files").
pub const SPECIAL_FILES: Kernel = Kernel(6, 17);

/// Largest extent in blocks (`XFS_MAX_BMBT_EXTLEN`).
pub const MAX_BMBT_EXTLEN: u32 = (1 << 21) - 1;

/// What of the superblock the rules need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Blocks of an allocation group.
    pub ag_blocks: u32,
    /// Blocks of a realtime extent, when there is a realtime device.
    pub rt_extent: Option<u32>,
    /// Inodes of version 3 (the format with checksums); only these have `di_flags2`.
    pub v3_inodes: bool,
    /// The feature `reflink`.
    pub reflink: bool,
    /// The feature `bigtime`.
    pub bigtime: bool,
    /// Bytes of a block.
    pub block_size: u32,
}

/// What an inode says of its data's placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attrs {
    /// `di_flags`.
    pub flags: DiFlags,
    /// `di_flags2`.
    pub flags2: DiFlags2,
    /// `di_extsize`, in blocks.
    pub extsize: u32,
    /// `di_cowextsize`, in blocks.
    pub cowextsize: u32,
    /// `di_projid`.
    pub projid: u32,
}

/// Whether the hint for the size of extents is valid (`xfs_inode_validate_extsize`).
#[must_use]
pub fn extsize_valid(g: &Geometry, kind: FileKind, a: &Attrs) -> bool {
    let (hint, inherit) = (a.flags.contains(DiFlags::EXTSIZE), a.flags.contains(DiFlags::EXTSZINHERIT));
    let realtime = a.flags.contains(DiFlags::REALTIME);
    let unit = if realtime { g.rt_extent.unwrap_or(1) } else { 1 };
    (!hint || kind == FileKind::Regular)
        && (!inherit || kind == FileKind::Directory)
        && (hint || inherit) == (a.extsize != 0)
        && a.extsize.checked_rem(unit) == Some(0)
        && a.extsize <= MAX_BMBT_EXTLEN
        && (realtime || a.extsize <= g.ag_blocks / 2)
}

/// Whether the hint for the size of copied extents is valid (`xfs_inode_validate_cowextsize`).
#[must_use]
pub fn cowextsize_valid(g: &Geometry, kind: FileKind, a: &Attrs) -> bool {
    let hint = a.flags2.contains(DiFlags2::COWEXTSIZE);
    (!hint || (g.reflink && kind.can_hold_dax() && !a.flags.contains(DiFlags::REALTIME)))
        && hint == (a.cowextsize != 0)
        && a.cowextsize <= MAX_BMBT_EXTLEN
        && a.cowextsize <= g.ag_blocks / 2
}

/// The `fs.xfs.inherit_*` sysctls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Sysctls {
    pub inherit_noatime: bool,
    pub inherit_nodump: bool,
    pub inherit_sync: bool,
    pub inherit_nodefrag: bool,
    pub inherit_nosymlinks: bool,
}

impl Default for Sysctls {
    fn default() -> Self {
        Self {
            inherit_noatime: true,
            inherit_nodump: true,
            inherit_sync: true,
            inherit_nodefrag: true,
            inherit_nosymlinks: false,
        }
    }
}

/// What a child inherits (`xfs_inode_init`); what the features give every new inode is not in it. Hints that are not valid
/// for the child are dropped.
#[must_use]
pub fn inherited(g: &Geometry, sysctls: &Sysctls, kind: FileKind, parent: &Attrs) -> Attrs {
    let mut child = Attrs::default();
    if parent.flags.contains(DiFlags::PROJINHERIT) {
        child.projid = parent.projid;
    }
    if !kind.can_hold_dax() {
        return child;
    }
    let dir = kind == FileKind::Directory;
    let mut take = |from, to, allowed: bool| {
        if parent.flags.contains(from) && allowed {
            child.flags |= to;
        }
    };
    take(DiFlags::RTINHERIT, DiFlags::RTINHERIT, dir);
    take(DiFlags::RTINHERIT, DiFlags::REALTIME, !dir && g.rt_extent.is_some());
    take(DiFlags::EXTSZINHERIT, if dir { DiFlags::EXTSZINHERIT } else { DiFlags::EXTSIZE }, true);
    take(DiFlags::PROJINHERIT, DiFlags::PROJINHERIT, dir);
    for (flag, allowed) in [
        (DiFlags::NOATIME, sysctls.inherit_noatime),
        (DiFlags::NODUMP, sysctls.inherit_nodump),
        (DiFlags::SYNC, sysctls.inherit_sync),
        (DiFlags::NODEFRAG, sysctls.inherit_nodefrag),
        (DiFlags::NOSYMLINKS, sysctls.inherit_nosymlinks),
        (DiFlags::FILESTREAM, true),
    ] {
        take(flag, flag, allowed);
    }
    let hints = DiFlags::EXTSIZE | DiFlags::EXTSZINHERIT;
    if child.flags.intersects(hints) {
        child.extsize = parent.extsize;
        if !extsize_valid(g, kind, &child) {
            child.flags -= hints;
            child.extsize = 0;
        }
    }
    if g.v3_inodes {
        child.flags2 = parent.flags2 & (DiFlags2::DAX | DiFlags2::COWEXTSIZE);
        if child.flags2.contains(DiFlags2::COWEXTSIZE) {
            child.cowextsize = parent.cowextsize;
            if !cowextsize_valid(g, kind, &child) {
                child.flags2 -= DiFlags2::COWEXTSIZE;
                child.cowextsize = 0;
            }
        }
    }
    child
}

/// What the verifier finds wrong with an inode's flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BadFlags {
    /// `REFLINK` or `COWEXTSIZE` without the feature.
    NoReflink,
    /// `REFLINK` on something else than a regular file.
    ReflinkKind,
    /// `REFLINK` with `REALTIME`.
    ReflinkRealtime,
    /// The hint for the size of extents.
    Extsize,
    /// The hint for the size of copied extents.
    Cowextsize,
    /// `BIGTIME` without the feature.
    NoBigtime,
}

impl fmt::Display for BadFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoReflink => "REFLINK or COWEXTSIZE without the feature",
            Self::ReflinkKind => "REFLINK on something else than a regular file",
            Self::ReflinkRealtime => "REFLINK on a realtime file",
            Self::Extsize => "invalid extent size hint",
            Self::Cowextsize => "invalid copy-on-write extent size hint",
            Self::NoBigtime => "BIGTIME without the feature",
        })
    }
}

/// The verifier of `di_flags2` (`xfs_dinode_verify`). DAX is never wrong for it, whatever the type of the inode; only
/// xfs_scrub minds ([`scrub_minds_dax`]).
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(g: &Geometry, kind: FileKind, a: &Attrs) -> Result<(), BadFlags> {
    let check = |ok: bool, bad| if ok { Ok(()) } else { Err(bad) };
    check(extsize_valid(g, kind, a), BadFlags::Extsize)?;
    if !g.v3_inodes {
        return Ok(());
    }
    let has = |flag| a.flags2.contains(flag);
    check(g.reflink || !a.flags2.intersects(DiFlags2::REFLINK | DiFlags2::COWEXTSIZE), BadFlags::NoReflink)?;
    check(!has(DiFlags2::REFLINK) || kind == FileKind::Regular, BadFlags::ReflinkKind)?;
    check(!(has(DiFlags2::REFLINK) && a.flags.contains(DiFlags::REALTIME)), BadFlags::ReflinkRealtime)?;
    check(cowextsize_valid(g, kind, a), BadFlags::Cowextsize)?;
    check(g.bigtime || !has(DiFlags2::BIGTIME), BadFlags::NoBigtime)
}

/// Whether xfs_scrub calls the DAX flag of an inode bad; its repair clears it (`xchk_inode_flags2`).
#[must_use]
pub fn scrub_minds_dax(kind: FileKind, flags2: DiFlags2) -> bool {
    flags2.contains(DiFlags2::DAX) && !kind.can_hold_dax()
}

/// An inode a set call is made on, and its surroundings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetTarget {
    /// Its type.
    pub kind: FileKind,
    /// Its flags.
    pub attrs: Attrs,
    /// Its `S_DAX`.
    pub s_dax: bool,
    /// It has extents, written or delayed.
    pub has_extents: bool,
    /// The superblock.
    pub geometry: Geometry,
    /// How it is mounted.
    pub mode: DaxMode,
    /// The data device can be accessed directly.
    pub data_dax: bool,
    /// The realtime device, if any, can.
    pub rt_dax: bool,
    /// The file system is read-only.
    pub read_only: bool,
    /// The file system is shut down.
    pub shutdown: bool,
}

/// What a set call did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetOutcome {
    /// What the call answers.
    pub result: Result<(), Errno>,
    /// `di_flags` afterwards.
    pub flags: DiFlags,
    /// `di_flags2` afterwards.
    pub flags2: DiFlags2,
    /// The inode is marked not to be cached; even when the call then fails.
    pub dontcache: bool,
}

/// What `FS_IOC_SETFLAGS` may carry.
const SETFLAGS: InodeFlags = InodeFlags::IMMUTABLE
    .union(InodeFlags::APPEND)
    .union(InodeFlags::NOATIME)
    .union(InodeFlags::NODUMP)
    .union(InodeFlags::SYNC)
    .union(InodeFlags::DAX)
    .union(InodeFlags::PROJINHERIT);

/// XFS's half of a set call, after [`super::fileattr::set`] (`xfs_fileattr_set`); `fsx` says which of the two calls it is.
/// Project ids and the values of hints are left to the caller.
#[must_use]
pub fn fileattr_set(t: &SetTarget, attr: &FileAttr, fsx: bool, kernel: Kernel) -> SetOutcome {
    let (flags, flags2) = (t.attrs.flags, t.attrs.flags2);
    let mut out = SetOutcome { result: Ok(()), flags, flags2, dontcache: false };
    if t.kind == FileKind::Special && kernel < SPECIAL_FILES {
        out.result = Err(Errno::ENOTTY);
        return out;
    }
    if !fsx && !SETFLAGS.contains(attr.flags) {
        out.result = Err(Errno::EOPNOTSUPP);
        return out;
    }
    let wants = attr.xflags.contains(XFlags::DAX);
    out.dontcache =
        t.kind != FileKind::Directory && t.mode == DaxMode::Inode && wants != flags2.contains(DiFlags2::DAX);
    match set_xflags(t, attr, fsx, kernel) {
        Ok((flags, flags2)) => (out.flags, out.flags2) = (flags, flags2),
        Err(errno) => out.result = Err(errno),
    }
    out
}

/// Whether hints may be set (`xfs_ioctl_setattr_check_extsize`, `xfs_ioctl_setattr_check_cowextsize`). `SETFLAGS` carries none and is
/// not asked.
fn check_hints(t: &SetTarget, attr: &FileAttr) -> Result<(), Errno> {
    let check = |ok: bool| if ok { Ok(()) } else { Err(Errno::EINVAL) };
    let block = t.geometry.block_size;
    let wanted = Attrs {
        flags: to_di_flags(t.kind, t.attrs.flags, attr.xflags),
        flags2: to_di_flags2(t.attrs.flags2, attr.xflags),
        extsize: attr.extsize.div_ceil(block),
        cowextsize: attr.cowextsize.div_ceil(block),
        projid: attr.projid,
    };
    // The hint of a file that has extents stays as it is.
    let same = u64::from(t.attrs.extsize) * u64::from(block) == u64::from(attr.extsize);
    check(t.kind != FileKind::Regular || !t.has_extents || same)?;
    check(attr.extsize.is_multiple_of(block) && extsize_valid(&t.geometry, t.kind, &wanted))?;
    check(attr.cowextsize.is_multiple_of(block) && cowextsize_valid(&t.geometry, t.kind, &wanted))
}

fn set_xflags(t: &SetTarget, attr: &FileAttr, fsx: bool, kernel: Kernel) -> Result<(DiFlags, DiFlags2), Errno> {
    let check = |ok: bool, errno| if ok { Ok(()) } else { Err(errno) };
    let xflags = attr.xflags;
    check(!t.read_only, Errno::EROFS)?;
    check(!t.shutdown, Errno::EIO)?;
    if fsx {
        check_hints(t, attr)?;
    }
    let realtime = xflags.contains(XFlags::REALTIME);
    let mut old2 = t.attrs.flags2;
    if realtime != t.attrs.flags.contains(DiFlags::REALTIME) {
        check(!t.has_extents, Errno::EINVAL)?;
        check(!t.s_dax || (t.data_dax && t.rt_dax), Errno::EINVAL)?;
    }
    if realtime {
        let unit = t.geometry.rt_extent.ok_or(Errno::EINVAL)?;
        check(t.attrs.extsize.checked_rem(unit) == Some(0), Errno::EINVAL)?;
        old2 -= DiFlags2::REFLINK;
    }
    let wants = xflags.contains(XFlags::DAX);
    check(kernel >= Kernel(6, 2) || !wants || !old2.contains(DiFlags2::REFLINK), Errno::EINVAL)?;
    let flags2 = to_di_flags2(old2, xflags);
    check(t.geometry.v3_inodes || flags2.is_empty(), Errno::EINVAL)?;
    Ok((to_di_flags(t.kind, t.attrs.flags, xflags), flags2))
}

/// What decides `S_DAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DaxInputs {
    /// The kernel is built with `CONFIG_FS_DAX`.
    pub config_fs_dax: bool,
    /// How the file system is mounted.
    pub mode: DaxMode,
    /// Type of the inode.
    pub kind: FileKind,
    /// `di_flags` when it is instantiated.
    pub flags: DiFlags,
    /// `di_flags2` then.
    pub flags2: DiFlags2,
    /// Bytes of a block.
    pub block_size: u32,
    /// Bytes of a page of the machine that mounts.
    pub page_size: u32,
    /// The data device can be accessed directly ([`super::DaxDevice::usable`]).
    pub data_dax: bool,
    /// The realtime device, if any, can.
    pub rt_dax: bool,
    /// The kernel, from 5.8 on.
    pub kernel: Kernel,
}

/// Whether a file is accessed directly (`xfs_inode_should_enable_dax`): seven rules, the first that holds.
#[must_use]
pub fn should_enable_dax(i: &DaxInputs) -> DaxDecision {
    let no = |row, reason| DaxDecision { s_dax: false, row, reason };
    if !i.config_fs_dax {
        return no(1, DaxReason::NotBuilt);
    }
    if i.mode == DaxMode::Never {
        return no(1, DaxReason::MountNever);
    }
    if i.kind != FileKind::Regular {
        return no(2, DaxReason::NotRegular);
    }
    if i.kernel < Kernel(6, 2) && i.flags2.contains(DiFlags2::REFLINK) {
        return no(3, DaxReason::Reflink);
    }
    if i.block_size != i.page_size {
        return no(4, DaxReason::BlockSize);
    }
    let device = if i.flags.contains(DiFlags::REALTIME) { i.rt_dax } else { i.data_dax };
    if !device {
        return no(5, DaxReason::Device);
    }
    if i.mode == DaxMode::Always {
        return DaxDecision { s_dax: true, row: 6, reason: DaxReason::MountAlways };
    }
    let s_dax = i.flags2.contains(DiFlags2::DAX);
    DaxDecision { s_dax, row: 7, reason: if s_dax { DaxReason::FlagSet } else { DaxReason::FlagClear } }
}

/// What decides how a mount ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MountInputs {
    /// The option given, if any.
    pub option: Option<DaxMode>,
    /// The data device can be accessed directly.
    pub data_dax: bool,
    /// The realtime device, if any, can.
    pub rt_dax: bool,
    /// Bytes of a block.
    pub block_size: u32,
    /// Bytes of a page.
    pub page_size: u32,
    /// The feature `reflink`.
    pub reflink: bool,
    /// The data device is a partition.
    pub partition: bool,
    /// The kernel, from 5.8 on.
    pub kernel: Kernel,
}

/// A mounted file system, as far as DAX is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mounted {
    /// What counts.
    pub mode: DaxMode,
    /// What `/proc/mounts` shows.
    pub shown: Option<DaxMode>,
    /// Why `dax=always` became `dax=never`.
    pub turned_off: Option<DaxReason>,
}

/// Mounts (`xfs_setup_dax_always`). Where `dax=always` cannot work the mount succeeds with `dax=never`: then not even the
/// flag counts.
///
/// Until 5.16 (`xfs_fc_fill_super`, read as of 5.8 and 5.15) `reflink` is refused even where DAX has just been turned off. Since
/// `xfs_setup_dax_always` exists (written in November 2021, so 5.17) what is turned off is asked nothing more. Since 6.0 (read in the change
/// of June 2022) it is refused on partitions only.
///
/// # Errors
/// `EINVAL` for `dax=always` with `reflink`, before 6.0; since then only when the data device is a partition.
pub fn mount(m: &MountInputs) -> Result<Mounted, Errno> {
    let option = m.option.unwrap_or(DaxMode::Inode);
    if option != DaxMode::Always {
        let shown = m.option.filter(|o| *o == DaxMode::Never);
        return Ok(Mounted { mode: option, shown, turned_off: None });
    }
    if m.reflink && m.kernel < Kernel(5, 17) {
        return Err(Errno::EINVAL);
    }
    let turned_off = if !m.data_dax && !m.rt_dax {
        Some(DaxReason::Device)
    } else if m.block_size != m.page_size {
        Some(DaxReason::BlockSize)
    } else {
        None
    };
    if turned_off.is_some() {
        return Ok(Mounted { mode: DaxMode::Never, shown: Some(DaxMode::Never), turned_off });
    }
    if m.reflink && (m.partition || m.kernel < Kernel(6, 0)) {
        return Err(Errno::EINVAL);
    }
    Ok(Mounted { mode: DaxMode::Always, shown: Some(DaxMode::Always), turned_off: None })
}

/// The mode after a remount that names `option`: always the one before, for XFS never looks (`xfs_fs_reconfigure`).
#[must_use]
pub const fn remount(mounted: &Mounted, option: Option<DaxMode>) -> DaxMode {
    let _ = option;
    mounted.mode
}

/// Whether an inode can be linked or renamed into a directory.
///
/// # Errors
/// `EXDEV` when the directory gives its children another project than the inode has.
pub fn enter_directory(dir: &Attrs, projid: u32) -> Result<(), Errno> {
    if dir.flags.contains(DiFlags::PROJINHERIT) && dir.projid != projid { Err(Errno::EXDEV) } else { Ok(()) }
}

/// Whether blocks can be shared between two files (`xfs_reflink_remap_prep`); their flags do not matter and are not
/// copied.
///
/// # Errors
/// `EINVAL` unless both have the same `S_DAX`.
pub fn remap(source_s_dax: bool, target_s_dax: bool) -> Result<(), Errno> {
    if source_s_dax == target_s_dax { Ok(()) } else { Err(Errno::EINVAL) }
}

#[cfg(test)]
#[path = "xfs_tests.rs"]
mod tests;
