//! `FS_IOC_GETFLAGS`, `FS_IOC_SETFLAGS`, `FS_IOC_FSGETXATTR`, `FS_IOC_FSSETXATTR` (`fs/ioctl.c` and the methods, Linux 6.12).
//!
//! A set call changes the flag. It never touches `S_DAX`, `a_ops`, `i_pages` or a page table; what it does for the change to take
//! effect some time is to mark the inode `I_DONTCACHE`.

use daxkit_format::dax::fileattr::{Caller, FileAttr, SetCall, XFlags, known_xflags, set, to_flags, to_xflags};
use daxkit_format::dax::{Errno, FileKind, ext4, xfs};
use daxkit_format::ext4::inode_flags::InodeFlags;

use super::freeze::with_write;
use super::history;
use super::icache::{d_mark_dontcache, xfs_attrs};
use super::namespace::xfs_geometry;
use super::open::fdget;
use crate::dax::writeback::dax_writeback_mapping_range;
use crate::fail::Result;
use crate::filemap::writeback::filemap_write_and_wait;
use crate::fs::FileSystem;
use crate::ids::{FileId, InodeId, PAGE_SHIFT, TaskId};
use crate::locks::{LockId, Mode, acquire, release, with_lock};
use crate::op::{Object, Op};
use crate::profile::{Personality, Switch};
use crate::runtime::Runtime;
use crate::world::World;
use crate::world::objects::{IState, SuperBlock};

impl<F: FileSystem> World<F> {
    /// `vfs_fileattr_get`.
    #[must_use]
    pub fn fileattr(&self, inode: InodeId) -> FileAttr {
        let node = &self.inodes[inode];
        let disk = &node.disk;
        match self.sb(node.sb).personality {
            Personality::Ext4 => {
                let flags = disk.flags - history::unknown_flags(self.sb(node.sb));
                ext4::fileattr_get(node.kind(), flags, disk.projid)
            }
            Personality::Xfs => FileAttr::from_xflags(disk.xflags, disk.extsize, disk.cowextsize, disk.projid),
        }
    }
}

/// Special files: on ext4 they have no methods for attributes (`ext4_special_inode_operations`), XFS's refused them until 6.16
/// (`xfs_fileattr_get`, which a set call begins with).
fn has_attributes<F: FileSystem>(mount: &SuperBlock<F>, kind: FileKind) -> std::result::Result<(), Errno> {
    let xfs = mount.personality == Personality::Xfs && mount.profile.kernel >= xfs::SPECIAL_FILES;
    if kind == FileKind::Special && !xfs { Err(Errno::ENOTTY) } else { Ok(()) }
}

/// `FS_IOC_GETFLAGS`: the bits of `FS_*_FL`.
///
/// # Errors
/// `EBADF`, `ENOTTY` (special files).
pub fn ioctl_getflags<R: Runtime>(rt: &R, file: FileId) -> Result<u32> {
    let attr = ioctl_fsgetxattr(rt, file)?;
    let flags = if attr.flags.is_empty() { to_flags(attr.xflags) } else { attr.flags };
    let inode = fdget(rt, file)?.inode;
    let shown = rt.step(Op::new("i_sb"), |w| history::shown_flags(w.sb(w.inodes[inode].sb), flags));
    Ok(shown.bits())
}

/// `FS_IOC_FSGETXATTR`.
///
/// # Errors
/// As [`ioctl_getflags`].
pub fn ioctl_fsgetxattr<R: Runtime>(rt: &R, file: FileId) -> Result<FileAttr> {
    let inode = fdget(rt, file)?.inode;
    rt.step(Op::new("fileattr_get").read(Object::attr(inode)), |w| {
        w.touch(Object::attr(inode), false);
        let node = &w.inodes[inode];
        has_attributes(w.sb(node.sb), node.kind())?;
        Ok(w.fileattr(inode))
    })
}

/// `FS_IOC_SETFLAGS`.
///
/// # Errors
/// Those of the generic checks, then of ext4 or XFS, in their order.
pub fn ioctl_setflags<R: Runtime>(rt: &R, file: FileId, flags: u32) -> Result<()> {
    vfs_fileattr_set(rt, file, &SetCall::SetFlags(InodeFlags::from_bits_retain(flags)))
}

/// `FS_IOC_FSSETXATTR`.
///
/// # Errors
/// As [`ioctl_setflags`].
pub fn ioctl_fssetxattr<R: Runtime>(
    rt: &R,
    file: FileId,
    xflags: XFlags,
    extsize: u32,
    cowextsize: u32,
    projid: u32,
) -> Result<()> {
    vfs_fileattr_set(rt, file, &SetCall::FsSetXattr { xflags, extsize, cowextsize, projid })
}

/// `FS_IOC_FSSETXATTR` with an argument that cannot be read: that is seen first.
///
/// # Errors
/// `EBADF`, else `EFAULT`.
pub fn ioctl_fssetxattr_unreadable<R: Runtime>(rt: &R, file: FileId) -> Result<()> {
    fdget(rt, file)?;
    Err(Errno::EFAULT.into())
}

/// `vfs_fileattr_set`. Who may call is asked before the lock: a stranger gets his answer however long it is held.
fn vfs_fileattr_set<R: Runtime>(rt: &R, file: FileId, call: &SetCall) -> Result<()> {
    let inode = fdget(rt, file)?.inode;
    let task = rt.task();
    // XFS of old takes the lock where it needs it, or not at all.
    let (sb, locks) = rt.step(Op::new("i_sb"), |w| {
        let mount = w.sb(w.inodes[inode].sb);
        let old = mount.personality == Personality::Xfs && mount.profile.switch() != Switch::Advisory;
        known_xflags(call, mount.profile.kernel).map(|()| (w.inodes[inode].sb, !old))
    })?;
    with_write(rt, sb, || {
        rt.step(Op::new("inode_owner_or_capable").read(Object::attr(inode)), |w| {
            w.touch(Object::attr(inode), false);
            let (cred, node) = (w.tasks.cred(task), &w.inodes[inode]);
            let without_method = w.sb(node.sb).personality == Personality::Ext4 && node.kind() == FileKind::Special;
            if without_method {
                return Err(Errno::ENOTTY);
            }
            if cred.privileged || cred.uid == node.disk.uid { Ok(()) } else { Err(Errno::EPERM) }
        })?;
        if !locks {
            return set_locked(rt, task, inode, call);
        }
        with_lock(rt, LockId::i_rwsem(inode), Mode::Exclusive, || set_locked(rt, task, inode, call))
    })
}

fn set_locked<R: Runtime>(rt: &R, task: TaskId, inode: InodeId, call: &SetCall) -> Result<()> {
    let checked = rt.step(Op::new("fileattr_set_prepare").read(Object::attr(inode)), |w| {
        w.touch(Object::attr(inode), false);
        let cred = w.tasks.cred(task);
        let node = &w.inodes[inode];
        has_attributes(w.sb(node.sb), node.kind())?;
        // What comes before the lock has been asked.
        let caller =
            Caller { cap_linux_immutable: cred.linux_immutable, init_user_ns: cred.init_user_ns, ..Caller::ROOT };
        let call = history::understood(w, node, call)?;
        let old = w.fileattr(inode);
        let seals = node.kind() == FileKind::Regular && !old.flags.contains(InodeFlags::IMMUTABLE);
        set(&call, &caller, node.kind(), &old)
            .map(|attr| (attr, seals && attr.flags.contains(InodeFlags::IMMUTABLE), w.sb(node.sb).personality, node.sb))
    });
    let (attr, seals, personality, sb) = checked?;
    match personality {
        Personality::Ext4 => {
            if seals {
                // What is mapped becomes read-only with the write, so that later stores come to the file system.
                let dax = rt.step(Op::new("IS_DAX").read(Object::s_dax(inode)), |w| w.is_dax(inode));
                if dax {
                    dax_writeback_mapping_range(rt, inode, 0, u64::MAX >> PAGE_SHIFT)?;
                } else {
                    filemap_write_and_wait(rt, inode, 0, u64::MAX >> PAGE_SHIFT)?;
                }
            }
            // The handle is started before anything changes.
            acquire(rt, LockId::journal(sb), Mode::Shared);
            let out = ext4_fileattr_set(rt, task, inode, &attr);
            release(rt, LockId::journal(sb));
            out
        }
        Personality::Xfs => xfs_fileattr_set(rt, inode, &attr, call.is_fsx()),
    }
}

fn ext4_fileattr_set<R: Runtime>(rt: &R, task: TaskId, inode: InodeId, attr: &FileAttr) -> Result<()> {
    let s_dax = rt.step(Op::new("IS_DAX").read(Object::s_dax(inode)), |w| w.is_dax(inode));
    let sb = rt.step(Op::new("i_sb"), |w| w.inodes[inode].sb);
    let op = Op::new("ext4_ioctl_setflags")
        .write(Object::attr(inode))
        .write(Object::life(inode))
        .write(Object::ICACHE)
        .read(Object::fs(sb));
    rt.step(op, |w| {
        w.touch(Object::attr(inode), true);
        let node = w.inodes[inode];
        let mount = w.sb(node.sb);
        let features = mount.fs.features();
        let unknown = node.disk.flags & history::unknown_flags(mount);
        // ext4_empty_dir is asked only when it matters: it reads the directory. One that cannot be read is not empty.
        let folds = (node.disk.flags ^ attr.flags).contains(InodeFlags::CASEFOLD);
        let has_entries = folds
            && node.kind() == FileKind::Directory
            && !mount.fs.read_dir(node.ino).is_ok_and(|names| names.is_empty());
        let mut outcome = ext4::fileattr_set(
            &ext4::SetTarget {
                kind: node.kind(),
                flags: node.disk.flags - unknown,
                projid: node.disk.projid,
                s_dax,
                verity_in_progress: node.verity_in_progress,
                // Quota inodes have no names and `usrjquota=` is not known: nothing that can be open is one.
                quota_file: false,
                has_entries,
                cap_sys_resource: w.tasks.cred(task).sys_resource,
                has_journal: features.has_journal,
                casefold: features.casefold,
                project: features.project,
                mode: mount.dax,
            },
            attr,
        );
        outcome.flags |= unknown;
        // Every other refusal comes before the handle is started.
        if matches!(outcome.result, Ok(()) | Err(Errno::EBUSY)) && mount.shutdown {
            (outcome.result, outcome.dontcache) = (Err(Errno::EIO), false);
        }
        // EBUSY comes after the handle: the other flags are committed by then. Every other refusal comes before it.
        let committed = matches!(outcome.result, Ok(()) | Err(Errno::EBUSY));
        if committed {
            let now = w.now;
            let disk = &mut w.inodes[inode].disk;
            disk.flags = outcome.flags;
            disk.xflags = to_xflags(outcome.flags);
            disk.ctime = now;
            if outcome.result.is_ok() && features.project {
                disk.projid = attr.projid;
            }
            w.inodes[inode].state |= IState::DIRTY;
        }
        if outcome.dontcache {
            d_mark_dontcache(w, inode);
        }
        // ext4_ioctl_setproject comes after ext4_ioctl_setflags: the flags are changed by then.
        if outcome.result.is_ok() && !features.project && attr.projid != 0 {
            return Err(Errno::EOPNOTSUPP.into());
        }
        outcome.result.map_err(Into::into)
    })
}

fn xfs_fileattr_set<R: Runtime>(rt: &R, inode: InodeId, attr: &FileAttr, fsx: bool) -> Result<()> {
    let switch = rt.step(Op::new("profile"), |w| w.sb(w.inodes[inode].sb).profile.switch());
    if switch == Switch::Advisory {
        return xfs_ioctl_setattr(rt, inode, attr, fsx);
    }
    let excluded = history::dax_invalidate(rt, inode, attr)?;
    let out = xfs_ioctl_setattr(rt, inode, attr, fsx);
    history::admit(rt, inode, excluded);
    out
}

fn xfs_ioctl_setattr<R: Runtime>(rt: &R, inode: InodeId, attr: &FileAttr, fsx: bool) -> Result<()> {
    let s_dax = rt.step(Op::new("IS_DAX").read(Object::s_dax(inode)), |w| w.is_dax(inode));
    let lock = LockId::i_data(inode);
    let op = Op::new("xfs_ioctl_setattr")
        .write(Object::attr(inode))
        .write(Object::life(inode))
        .write(Object::ICACHE)
        .read(Object::block_map(inode));
    let outcome = |w: &World<R::Fs>| {
        let node = &w.inodes[inode];
        let mount = w.sb(node.sb);
        let target = xfs::SetTarget {
            kind: node.kind(),
            attrs: xfs_attrs(mount, node),
            s_dax,
            has_extents: mount.fs.read_inode(node.ino).is_ok_and(|disk| disk.blocks > 0),
            geometry: xfs_geometry(mount),
            mode: mount.dax,
            data_dax: mount.device_dax,
            rt_dax: mount.realtime == Some(true),
            read_only: mount.read_only,
            shutdown: mount.shutdown,
        };
        xfs::fileattr_set(&target, attr, fsx, mount.profile.kernel)
    };
    // xfs_ioctl_setattr_prepare_dax comes before the transaction: a set that fails may still doom the cached inode.
    let prepare = Op::new("xfs_ioctl_setattr_prepare_dax")
        .write(Object::life(inode))
        .write(Object::ICACHE)
        .read(Object::block_map(inode));
    rt.step(prepare, |w| {
        let advisory = w.sb(w.inodes[inode].sb).profile.switch() == Switch::Advisory;
        if advisory && outcome(w).dontcache {
            d_mark_dontcache(w, inode);
        }
    });
    acquire(rt, lock, Mode::Exclusive);
    let task = rt.task();
    let result = rt.step(op, |w| {
        w.touch(Object::attr(inode), true);
        let outcome = outcome(w);
        let privileged = w.tasks.cred(task).privileged;
        if outcome.result.is_ok() {
            let now = w.now;
            let node = &mut w.inodes[inode];
            node.disk.xflags = xfs::to_xflags(outcome.flags, outcome.flags2);
            // What the VFS tests: S_IMMUTABLE, S_APPEND and the like (xfs_diflags_to_iflags).
            node.disk.flags = to_flags(node.disk.xflags);
            node.disk.projid = attr.projid;
            // CAP_FSETID; not of FS_IOC_SETFLAGS.
            if fsx && !privileged {
                node.disk.mode &= !0o6000;
            }
            let hint = |on: bool, bytes| if on { bytes } else { 0 };
            let sized = XFlags::EXTSIZE | XFlags::EXTSZINHERIT;
            node.disk.extsize = hint(node.disk.xflags.intersects(sized), attr.extsize);
            node.disk.cowextsize = hint(node.disk.xflags.contains(XFlags::COWEXTSIZE), attr.cowextsize);
            node.disk.ctime = now;
            node.state |= IState::DIRTY;
        }
        outcome.result
    });
    if result.is_ok() {
        history::diflags_to_linux(rt, inode);
    }
    release(rt, lock);
    result.map_err(Into::into)
}
