//! fs-verity and encryption of ext4 as far as DAX sees them (`fs/verity/enable.c`, `fs/crypto/policy.c`, `fs/ext4/verity.c`,
//! `fs/ext4/crypto.c`, Linux 6.12): who may have which flag. No hash is computed, and nothing is encrypted.

use daxkit_format::dax::{Errno, FileKind};
use daxkit_format::ext4::inode_flags::InodeFlags;

use super::freeze::with_write;
use super::inline::convert_inline;
use super::open::{MAY_WRITE, fdget, permission};
use crate::fail::Result;
use crate::fs::FileSystem;
use crate::ids::{FileId, InodeId};
use crate::locks::{LockId, Mode, with_lock};
use crate::op::{Object, Op};
use crate::profile::Personality;
use crate::runtime::Runtime;
use crate::world::World;
use crate::world::objects::IState;

fn set_flag<F: FileSystem>(w: &mut World<F>, inode: InodeId, flag: InodeFlags) {
    let now = w.now;
    let node = &mut w.inodes[inode];
    node.disk.flags |= flag;
    node.disk.ctime = now;
    node.state |= IState::DIRTY;
}

/// `FS_IOC_ENABLE_VERITY`.
///
/// # Errors
/// `ENOTTY` (XFS), `EOPNOTSUPP` (no such feature), `EACCES`, `EPERM` (append-only), `EISDIR`, `EINVAL` (not regular, DAX), `EROFS`,
/// `ETXTBSY` (open for writing), `EEXIST`.
pub fn enable_verity<R: Runtime>(rt: &R, file: FileId) -> Result<()> {
    let inode = fdget(rt, file)?.inode;
    let task = rt.task();
    let sb = rt.step(Op::new("fsverity_ioctl_enable").read(Object::attr(inode)), |w| {
        let node = &w.inodes[inode];
        let mount = w.sb(node.sb);
        if mount.personality == Personality::Xfs {
            return Err(Errno::ENOTTY);
        }
        if !mount.fs.has_verity() {
            return Err(Errno::EOPNOTSUPP);
        }
        permission(w, task, inode, MAY_WRITE)?;
        match node.kind() {
            _ if node.disk.flags.contains(InodeFlags::APPEND) => Err(Errno::EPERM),
            FileKind::Directory => Err(Errno::EISDIR),
            FileKind::Regular => Ok(node.sb),
            _ => Err(Errno::EINVAL),
        }
    })?;
    with_write(rt, sb, || {
        rt.step(Op::world("deny_write_access"), |w| {
            let writers =
                w.files.ids().into_iter().any(|id| w.files[id].inode == inode && w.files[id].flags.writable());
            if writers { Err(Errno::ETXTBSY) } else { Ok(()) }
        })?;
        with_lock(rt, LockId::i_rwsem(inode), Mode::Exclusive, || {
            let s_dax = rt.step(Op::new("IS_DAX").read(Object::s_dax(inode)), |w| w.is_dax(inode));
            rt.step(Op::new("ext4_begin_enable_verity").read(Object::attr(inode)), |w| {
                let flags = w.inodes[inode].disk.flags;
                if flags.contains(InodeFlags::VERITY) {
                    Err(Errno::EEXIST)
                } else if s_dax || flags.contains(InodeFlags::DAX) {
                    Err(Errno::EINVAL)
                } else {
                    w.alive(sb)
                }
            })?;
            convert_inline(rt, inode)?;
            rt.step(Op::world("ext4_end_enable_verity"), |w| set_flag(w, inode, InodeFlags::VERITY));
            Ok(())
        })
    })
}

/// `FS_IOC_SET_ENCRYPTION_POLICY`; the key is there. A directory that has the policy already keeps it.
///
/// # Errors
/// `ENOTTY` (XFS), `EOPNOTSUPP` (no such feature, or the DAX flag), `EACCES` (not the owner), `EROFS`, `ENOTDIR`, `ENOTEMPTY`, `EPERM`
/// (the root).
pub fn set_encryption<R: Runtime>(rt: &R, file: FileId) -> Result<()> {
    let inode = fdget(rt, file)?.inode;
    let task = rt.task();
    let sb = rt.step(Op::new("fscrypt_ioctl_set_policy").read(Object::attr(inode)), |w| {
        let (cred, node) = (w.tasks.cred(task), &w.inodes[inode]);
        let mount = w.sb(node.sb);
        if mount.personality == Personality::Xfs {
            Err(Errno::ENOTTY)
        } else if !mount.fs.has_encrypt() {
            Err(Errno::EOPNOTSUPP)
        } else if !cred.privileged && cred.uid != node.disk.uid {
            Err(Errno::EACCES)
        } else {
            Ok(node.sb)
        }
    })?;
    with_write(rt, sb, || {
        with_lock(rt, LockId::i_rwsem(inode), Mode::Exclusive, || {
            let done = rt.step(Op::world("ext4_set_context"), |w| {
                let node = w.inodes[inode];
                let fs = &w.sb(sb).fs;
                if node.disk.flags.contains(InodeFlags::ENCRYPT) {
                    return Ok(());
                }
                if node.kind() != FileKind::Directory {
                    return Err(Errno::ENOTDIR);
                }
                if !fs.read_dir(node.ino)?.is_empty() {
                    return Err(Errno::ENOTEMPTY);
                }
                if node.ino == fs.root() {
                    return Err(Errno::EPERM);
                }
                if node.disk.flags.contains(InodeFlags::DAX) {
                    return Err(Errno::EOPNOTSUPP);
                }
                w.alive(sb)?;
                if node.disk.inline_data {
                    w.sb_mut(sb).fs.convert_inline(task.0, node.ino)?;
                    w.refresh_inode(inode);
                }
                set_flag(w, inode, InodeFlags::ENCRYPT);
                Ok(())
            });
            Ok(done?)
        })
    })
}
