//! What releases before 5.8 did otherwise: one option `dax`, a flag on XFS alone, and set calls that changed `S_DAX` of a living
//! inode or looked as if they would (`xfs_ioctl.c`, `xfs_super.c` and ext4's `super.c` of those years). From source: no kernel
//! here can check it.

use daxkit_format::dax::fileattr::{FileAttr, SetCall, XFlags, to_flags};
use daxkit_format::dax::{DaxMode, Errno, FileKind, Kernel};
use daxkit_format::ext4::inode_flags::InodeFlags;

use super::mount::MountRequest;
use crate::dax::writeback::dax_writeback_mapping_range;
use crate::fail::{Fail, Result};
use crate::filemap::invalidate::invalidate_inode_pages2_range;
use crate::filemap::writeback::filemap_write_and_wait;
use crate::fs::FileSystem;
use crate::ids::{InodeId, PAGE_SHIFT, PAGE_SIZE};
use crate::locks::{LockId, Mode, acquire, release};
use crate::op::{Object, Op};
use crate::profile::{Personality, Switch};
use crate::runtime::Runtime;
use crate::world::World;
use crate::world::objects::{Inode, SuperBlock};

/// Flags that `FS_IOC_SETFLAGS` did not carry on XFS, nor `FS_IOC_GETFLAGS` show: it keeps them.
const XFS_NOT_CARRIED: InodeFlags = InodeFlags::DAX.union(InodeFlags::PROJINHERIT);

/// Whether `bdev_dax_supported` is asked of a device, and so of the realtime device too. Until 4.17 it is asked of the mount, which means
/// its data device (`__bdev_dax_supported` and its callers in `xfs_super.c` and `xfs_ioctl.c`, read as of 4.13, 4.14 and 5.x; the change
/// is of May 2018, so 4.18). What it looks at that far back is what `device_dax` says of a device: blocks that are pages, a partition
/// that begins at a page, a device that gives an address.
const fn asks_each_device(kernel: Kernel) -> bool {
    kernel.0 > 4 || (kernel.0 == 4 && kernel.1 >= 18)
}

/// The mode of a mount, and what is shown of it. `Inode`: only XFS's flag counts; `Never`: nothing does, for ext4 has no flag.
///
/// # Errors
/// `EINVAL`: a mode is named; the device or the features do not suit the release.
pub(super) fn mount_mode<F: FileSystem>(
    request: &MountRequest<F>,
) -> std::result::Result<(DaxMode, Option<DaxMode>), Errno> {
    let (kernel, features) = (request.profile.kernel, request.fs.features());
    let off = match request.personality {
        Personality::Ext4 => (DaxMode::Never, None),
        Personality::Xfs => (DaxMode::Inode, None),
    };
    match request.dax {
        None => return Ok(off),
        Some(DaxMode::Always) => {}
        Some(DaxMode::Inode | DaxMode::Never) => return Err(Errno::EINVAL),
    }
    let pages = u64::from(features.block_size) == PAGE_SIZE;
    let usable = match request.personality {
        Personality::Ext4 => {
            if request.data == daxkit_format::dax::ext4::DataMode::Journal {
                return Err(Errno::EINVAL);
            }
            // Inline data was looked at since 4.15. From 4.16 to 4.20 what does not suit turned the option off; before and
            // after it fails the mount.
            let usable = request.device_dax && pages && (kernel < Kernel(4, 15) || !features.inline_data);
            let turns_off = kernel >= Kernel(4, 16) && kernel < Kernel(5, 0);
            if !usable && !turns_off {
                return Err(Errno::EINVAL);
            }
            usable
        }
        Personality::Xfs => {
            // xfs_fs_fill_super of 4.14 only warns, and leaves out files that share blocks one by one; that of 4.19 and 5.x refuses. That
            // 4.16 is where it changed was not read in a source.
            if features.reflink && kernel >= Kernel(4, 16) {
                return Err(Errno::EINVAL);
            }
            pages && (request.device_dax || (asks_each_device(kernel) && request.realtime == Some(true)))
        }
    };
    Ok(if usable { (DaxMode::Always, Some(DaxMode::Always)) } else { off })
}

/// What `FS_IOC_GETFLAGS` shows of the flags there are.
pub(super) fn shown_flags<F>(mount: &SuperBlock<F>, flags: InodeFlags) -> InodeFlags {
    match mount.personality {
        Personality::Xfs if mount.profile.switch() != Switch::Advisory => flags - XFS_NOT_CARRIED,
        _ => flags,
    }
}

/// Flags of ext4 that this release does not know: they are neither shown nor changed.
pub(super) fn unknown_flags<F>(mount: &SuperBlock<F>) -> InodeFlags {
    if mount.profile.ext4_has_flag() { InodeFlags::empty() } else { InodeFlags::DAX }
}

/// A set call as this release understands it.
///
/// # Errors
/// `EOPNOTSUPP`: it names a flag that the call does not carry.
pub(super) fn understood<F: FileSystem>(
    w: &World<F>,
    node: &Inode,
    call: &SetCall,
) -> std::result::Result<SetCall, Errno> {
    let mount = w.sb(node.sb);
    if mount.profile.switch() == Switch::Advisory {
        return Ok(*call);
    }
    match (mount.personality, call) {
        (Personality::Ext4, SetCall::SetFlags(flags)) if flags.contains(InodeFlags::DAX) => Err(Errno::EOPNOTSUPP),
        (Personality::Ext4, SetCall::FsSetXattr { xflags, .. }) if xflags.contains(XFlags::DAX) => {
            Err(Errno::EOPNOTSUPP)
        }
        (Personality::Xfs, SetCall::SetFlags(flags)) if flags.intersects(XFS_NOT_CARRIED) => Err(Errno::EOPNOTSUPP),
        (Personality::Xfs, SetCall::SetFlags(flags)) => {
            Ok(SetCall::SetFlags(*flags | to_flags(node.disk.xflags) & XFS_NOT_CARRIED))
        }
        _ => Ok(*call),
    }
}

/// Whether the locks of I/O and faults are held.
#[must_use]
pub(super) struct Excluded(bool);

/// `xfs_ioctl_setattr_dax_invalidate`: where `S_DAX` is to change, nobody reads, writes or faults until the transaction is through, and
/// the page cache is empty.
///
/// # Errors
/// `EINVAL` (block size; since 4.14 the device), `EBUSY` (something dirty stays), those of writing.
pub(super) fn dax_invalidate<R: Runtime>(rt: &R, inode: InodeId, attr: &FileAttr) -> Result<Excluded> {
    let wants = attr.xflags.contains(XFlags::DAX);
    let (switch, kind) = rt.step(Op::new("dax_invalidate").read(Object::attr(inode)), |w| {
        let node = &w.inodes[inode];
        let mount = w.sb(node.sb);
        let kernel = mount.profile.kernel;
        let realtime = node.disk.xflags.contains(XFlags::REALTIME) && asks_each_device(kernel);
        let device = if realtime { mount.realtime == Some(true) } else { mount.device_dax };
        let pages = u64::from(mount.fs.features().block_size) == PAGE_SIZE;
        let refused = wants && ((kernel >= Kernel(4, 13) && !pages) || (kernel >= Kernel(4, 14) && !device));
        if refused { Err(Errno::EINVAL) } else { Ok((mount.profile.switch(), node.kind())) }
    })?;
    let s_dax = rt.step(Op::new("IS_DAX").read(Object::s_dax(inode)), |w| w.is_dax(inode));
    if switch == Switch::Unlocked || kind != FileKind::Regular || s_dax == wants {
        return Ok(Excluded(false));
    }
    acquire(rt, LockId::i_rwsem(inode), Mode::Exclusive);
    acquire(rt, LockId::invalidate(inode), Mode::Exclusive);
    let last = u64::MAX >> PAGE_SHIFT;
    let written = if s_dax {
        dax_writeback_mapping_range(rt, inode, 0, last)
    } else {
        filemap_write_and_wait(rt, inode, 0, last)
    };
    match written.and_then(|()| invalidate_inode_pages2_range(rt, inode, 0, last)) {
        Ok(()) => Ok(Excluded(true)),
        Err(fail) => {
            if !matches!(fail, Fail::Oops) {
                admit(rt, inode, Excluded(true));
            }
            Err(fail)
        }
    }
}

/// Lets go of what [`dax_invalidate`] locked.
pub(super) fn admit<R: Runtime>(rt: &R, inode: InodeId, excluded: Excluded) {
    if excluded.0 {
        release(rt, LockId::invalidate(inode));
        release(rt, LockId::i_rwsem(inode));
    }
}

/// `xfs_diflags_to_linux`: until 4.13 `S_DAX` becomes what the flag is, whatever the mount says. There is one vector of operations, so nothing
/// else changes.
pub(super) fn diflags_to_linux<R: Runtime>(rt: &R, inode: InodeId) {
    rt.step(Op::new("xfs_diflags_to_linux").write(Object::s_dax(inode)).read(Object::attr(inode)), |w| {
        let node = &w.inodes[inode];
        let instant = matches!(w.sb(node.sb).profile.switch(), Switch::Unlocked | Switch::Locked);
        if instant && node.kind() == FileKind::Regular {
            w.touch(Object::s_dax(inode), true);
            w.inodes[inode].s_dax = w.inodes[inode].disk.xflags.contains(XFlags::DAX);
        }
    });
}
