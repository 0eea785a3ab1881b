//! `mount`, `remount`, `umount` (`fs/ext4/super.c`, `fs/xfs/xfs_super.c`, Linux 6.12).

use daxkit_format::dax::ext4::DataMode;
use daxkit_format::dax::{DaxMode, Errno, FileKind, ext4, xfs};

use super::freeze::complete;
use super::history::mount_mode;
use super::icache::{in_use, prune};
use super::sync::sync_filesystem;
use crate::fail::{Fail, Result};
use crate::fs::FileSystem;
use crate::ids::{PAGE_SIZE, SbId};
use crate::locks::{LockId, Mode, with_lock};
use crate::op::Op;
use crate::profile::{Personality, Profile};
use crate::runtime::Runtime;
use crate::world::World;
use crate::world::objects::SuperBlock;

/// What is mounted, on what, with which options.
#[derive(Debug, Clone)]
pub struct MountRequest<F> {
    /// The file system.
    pub fs: F,
    /// Whose methods.
    pub personality: Personality,
    /// Which kernel.
    pub profile: Profile,
    /// Option `dax`.
    pub dax: Option<DaxMode>,
    /// Option `data`.
    pub data: DataMode,
    /// Option `delalloc`.
    pub delalloc: bool,
    /// The device can DAX.
    pub device_dax: bool,
    /// The device is synchronous.
    pub synchronous: bool,
    /// The device is a partition.
    pub partition: bool,
    /// XFS: whether the realtime device can DAX, when there is one. Data of realtime files lies on the data device all the same.
    pub realtime: Option<bool>,
    /// Option `ro`.
    pub read_only: bool,
}

/// Mounts.
///
/// # Errors
/// `EINVAL` as the tables of ext4 and XFS say, `EROFS`, `EIO` (the superblock could not be written).
pub fn mount<R: Runtime>(rt: &R, request: MountRequest<R::Fs>) -> Result<SbId> {
    let features = request.fs.features();
    let (dax, dax_shown) = match request.personality {
        _ if !request.profile.has_dax_modes() => mount_mode(&request)?,
        Personality::Ext4 => {
            let mounted = ext4::mount(&ext4::MountInputs {
                option: request.dax,
                device: request.device_dax,
                block_size: features.block_size,
                page_size: PAGE_SIZE as u32,
                inline_data: features.inline_data,
                data: request.data,
            })
            .map_err(ext4::MountRefusal::errno)?;
            (mounted.mode, mounted.shown)
        }
        Personality::Xfs => {
            let mounted = xfs::mount(&xfs::MountInputs {
                option: request.dax,
                data_dax: request.device_dax,
                rt_dax: request.realtime == Some(true),
                block_size: features.block_size,
                page_size: PAGE_SIZE as u32,
                reflink: features.reflink,
                partition: request.partition,
                kernel: request.profile.kernel,
            })?;
            (mounted.mode, mounted.shown)
        }
    };
    if features.read_only && !request.read_only {
        return Err(Errno::EROFS.into());
    }
    rt.step(Op::world("mount"), |w| {
        let mut fs = request.fs;
        if !request.read_only {
            fs.set_writable(true, w.now)?;
        }
        w.sbs.push(SuperBlock {
            fs,
            personality: request.personality,
            profile: request.profile,
            dax,
            dax_shown,
            data: request.data,
            // Data journalling and delayed allocation exclude each other.
            delalloc: request.delalloc && request.data != DataMode::Journal,
            device_dax: request.device_dax,
            synchronous: request.synchronous,
            partition: request.partition,
            realtime: request.realtime,
            read_only: request.read_only,
            gone: false,
            frozen: false,
            shutdown: false,
            generation: 0,
        });
        Ok(SbId((w.sbs.len() - 1) as u16))
    })
}

/// Changes options of a mount. Another DAX mode is refused by ext4 and not looked at by XFS.
///
/// # Errors
/// `EINVAL`, `EBUSY` (frozen, or files are open for writing and `ro` is wanted), `EROFS` (`rw` of what can only be read).
pub fn remount<R: Runtime>(
    rt: &R,
    sb: SbId,
    dax: Option<DaxMode>,
    data: Option<DataMode>,
    read_only: Option<bool>,
) -> Result<()> {
    with_lock(rt, LockId::s_umount(sb), Mode::Exclusive, || {
        let checked = rt.step(Op::world("reconfigure_super"), |w| {
            let mount = w.sb(sb);
            if mount.frozen {
                return Err(Errno::EBUSY);
            }
            if mount.personality == Personality::Ext4 {
                // Before 5.8 another mode is warned of and ignored.
                if mount.profile.has_dax_modes() {
                    let mounted = ext4::Mounted { mode: mount.dax, shown: mount.dax_shown };
                    ext4::remount(&mounted, dax, data.unwrap_or(mount.data))?;
                }
                // data= cannot be changed on a mounted file system.
                if data.is_some_and(|data| data != mount.data) {
                    return Err(Errno::EINVAL);
                }
            }
            // A feature that may not be written (ext4_feature_set_ok, xfs_fs_reconfigure).
            if read_only == Some(false) && mount.fs.features().read_only {
                return Err(Errno::EROFS);
            }
            if read_only == Some(true) && !mount.read_only {
                let writers = w.files.ids().into_iter().any(|id| {
                    let file = w.files[id];
                    // What is written to a special file does not come to the file system.
                    let node = &w.inodes[file.inode];
                    node.sb == sb && file.flags.writable() && node.kind() != FileKind::Special
                });
                // s_remove_count: what has lost its last name still has to be freed.
                let unlinked =
                    w.inodes.ids().into_iter().any(|id| w.inodes[id].sb == sb && w.inodes[id].disk.nlink == 0);
                if writers || unlinked {
                    return Err(Errno::EBUSY);
                }
            }
            Ok(())
        });
        checked?;
        if read_only == Some(true) {
            sync_filesystem(rt, sb)?;
        }
        rt.step(Op::world("reconfigure_super"), |w| {
            let Some(read_only) = read_only else { return Ok(()) };
            let now = w.now;
            let mount = w.sb_mut(sb);
            if mount.read_only != read_only {
                mount.fs.set_writable(!read_only, now)?;
                mount.read_only = read_only;
            }
            Ok(())
        })
    })
}

/// Unmounts: everything is written, every inode goes. Gives the file system back.
///
/// # Errors
/// `EBUSY` when something is open or mapped, or a freeze is under way.
pub fn umount<R: Runtime>(rt: &R, sb: SbId) -> Result<R::Fs> {
    with_lock(rt, LockId::s_umount(sb), Mode::Exclusive, || {
        // One step, as under the kernel's mount_lock: from here on no walk begins, and none was under way.
        let busy = rt.step(Op::world("do_umount"), |w| {
            // A freeze that is under way was asked for through a descriptor.
            let freezing = w.sb(sb).frozen && !complete(w, sb);
            let busy = w.sb(sb).gone || freezing || in_use(w, sb);
            w.sb_mut(sb).gone |= !busy;
            busy
        });
        if busy {
            return Err(Errno::EBUSY.into());
        }
        // generic_shutdown_super does not look at what its syncs say: there is nobody left to tell.
        let shut = |out| if matches!(out, Err(Fail::Oops)) { out } else { Ok(()) };
        shut(sync_filesystem(rt, sb))?;
        prune(rt, sb)?;
        shut(sync_filesystem(rt, sb))?;
        Ok(rt.step(Op::world("put_super"), |w| {
            let mut fs = w.sb(sb).fs.clone();
            if w.sb(sb).shutdown {
                // What was not committed when it was shut down never will be. Where that is not known it stays.
                let _ = fs.crash(false);
            } else if !w.sb(sb).read_only {
                // Nobody is left to tell.
                let _ = fs.set_writable(false, w.now);
            }
            fs
        }))
    })
}

/// Options as `/proc/mounts` shows them, as far as they are known here.
#[must_use]
pub fn show_options<F: FileSystem>(w: &World<F>, sb: SbId) -> String {
    let mount = w.sb(sb);
    let mut words = vec![if mount.read_only { "ro" } else { "rw" }];
    if let Some(mode) = mount.dax_shown {
        words.push(mount.profile.shown(mode));
    }
    if !mount.delalloc && mount.personality == Personality::Ext4 {
        words.push("nodelalloc");
    }
    match mount.data {
        DataMode::Journal => words.push("data=journal"),
        DataMode::Writeback => words.push("data=writeback"),
        DataMode::Ordered => {}
    }
    words.join(",")
}
