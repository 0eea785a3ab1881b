//! Open files, and who may do what (`fs/open.c`, `fs/namei.c`, Linux 6.12).

use daxkit_format::dax::{Errno, FileKind, Kernel};
use daxkit_format::ext4::inode_flags::InodeFlags;

use super::freeze::{mnt_want_write, sb_end_write};
use super::icache::{dput, iput};
use super::namespace::{At, create_at, lookup, tmpfile};
use super::setattr::do_truncate;
use crate::fail::Result;
use crate::fs::FileSystem;
use crate::ids::{DentryId, FileId, InodeId, SbId, TaskId};
use crate::op::{Object, Op};
use crate::profile::Personality;
use crate::runtime::Runtime;
use crate::world::World;
use crate::world::objects::{File, OpenFlags};

/// Read permission.
pub(crate) const MAY_READ: u16 = 4;
/// Write permission.
pub(crate) const MAY_WRITE: u16 = 2;
/// Search or execute permission.
pub(crate) const MAY_EXEC: u16 = 1;

/// `inode_permission`: the mode bits of owner, group or others.
pub(crate) fn permission<F: FileSystem>(
    w: &World<F>,
    task: TaskId,
    inode: InodeId,
    mask: u16,
) -> std::result::Result<(), Errno> {
    let (cred, disk) = (w.tasks.cred(task), &w.inodes[inode].disk);
    if mask & MAY_WRITE != 0 {
        if w.sb(w.inodes[inode].sb).read_only && matches!(disk.kind(), FileKind::Regular | FileKind::Directory) {
            return Err(Errno::EROFS);
        }
        if disk.flags.contains(InodeFlags::IMMUTABLE) {
            return Err(Errno::EPERM);
        }
    }
    if cred.privileged {
        return Ok(());
    }
    let shift = if cred.uid == disk.uid {
        6
    } else if cred.gid == disk.gid {
        3
    } else {
        0
    };
    if disk.mode >> shift & mask == mask { Ok(()) } else { Err(Errno::EACCES) }
}

/// `open`.
///
/// # Errors
/// `ENOENT`, `EEXIST`, `EACCES`, `EISDIR`, `ENOTDIR`, `ELOOP`, `EROFS`, `ENOSPC`, `EPERM` and others.
pub fn open<R: Runtime>(rt: &R, at: At<'_>, flags: OpenFlags, mode: u16) -> Result<FileId> {
    let flags = build_open_flags(rt, at.sb, flags)?;
    let nofollow = flags.contains(OpenFlags::NOFOLLOW);
    let (inode, dentry, created) = if flags.contains(OpenFlags::TMPFILE) {
        (tmpfile(rt, at, mode, flags.contains(OpenFlags::EXCL), nofollow)?, DentryId::NONE, true)
    } else if flags.contains(OpenFlags::CREAT) {
        create_at(rt, at, mode, flags.contains(OpenFlags::EXCL), nofollow)?
    } else {
        let (inode, dentry) = lookup(rt, at, !nofollow)?;
        (inode, dentry, false)
    };
    match finish_open(rt, inode, dentry, flags, created) {
        Ok(file) => Ok(file),
        Err(fail) => {
            release_path(rt, inode, dentry)?;
            Err(fail)
        }
    }
}

/// What of the flags counts, and which do not go together (`build_open_how`, `build_open_flags`).
fn build_open_flags<R: Runtime>(rt: &R, sb: SbId, flags: OpenFlags) -> Result<OpenFlags> {
    if flags.contains(OpenFlags::PATH) {
        return Ok(flags & (OpenFlags::PATH | OpenFlags::DIRECTORY | OpenFlags::NOFOLLOW));
    }
    let temporary = flags.contains(OpenFlags::TMPFILE);
    if flags.contains(OpenFlags::CREAT) && temporary {
        return Err(Errno::EINVAL.into());
    }
    // A directory is not made by opening it: refused since 6.4 ("open: return EINVAL for O_DIRECTORY | O_CREAT").
    if flags.contains(OpenFlags::CREAT | OpenFlags::DIRECTORY)
        && rt.step(Op::new("profile"), |w| w.sb(sb).profile.kernel >= Kernel(6, 4))
    {
        return Err(Errno::EINVAL.into());
    }
    if temporary && flags.bits() & 3 == 0 {
        return Err(Errno::EINVAL.into());
    }
    Ok(flags)
}

pub(crate) fn release_path<R: Runtime>(rt: &R, inode: InodeId, dentry: DentryId) -> Result<()> {
    if dentry.is_some() { dput(rt, dentry) } else { iput(rt, inode) }
}

fn finish_open<R: Runtime>(
    rt: &R,
    inode: InodeId,
    dentry: DentryId,
    flags: OpenFlags,
    created: bool,
) -> Result<FileId> {
    let task = rt.task();
    let (kind, sb) = rt.step(Op::new("may_open").read(Object::attr(inode)).read(Object::ICACHE), |w| {
        let kind = w.inodes[inode].kind();
        let directory = kind == FileKind::Directory;
        if !created && flags.contains(OpenFlags::CREAT) && directory {
            return Err(Errno::EISDIR);
        }
        // Before that a file was made all the same; from 5.7 on it was then found to be no directory (do_open).
        let made =
            created && (!flags.contains(OpenFlags::CREAT) || w.sb(w.inodes[inode].sb).profile.kernel < Kernel(5, 7));
        if !made && flags.contains(OpenFlags::DIRECTORY) && !directory {
            return Err(Errno::ENOTDIR);
        }
        if flags.contains(OpenFlags::PATH) {
            return Ok((kind, w.inodes[inode].sb));
        }
        if kind == FileKind::Symlink {
            return Err(Errno::ELOOP);
        }
        // Access mode 3 asks for both permissions and gives neither.
        let asks = flags.bits() & 3;
        let writes = asks != 0 || flags.contains(OpenFlags::TRUNC);
        if directory && writes {
            return Err(Errno::EISDIR);
        }
        let sb = w.inodes[inode].sb;
        if kind == FileKind::Regular || w.sb(sb).personality == Personality::Xfs {
            w.alive(sb)?;
        }
        if flags.writable() && w.inodes[inode].disk.flags.contains(InodeFlags::VERITY) {
            return Err(Errno::EPERM);
        }
        if !created {
            let read = if asks != 1 { MAY_READ } else { 0 };
            let write = if writes { MAY_WRITE } else { 0 };
            permission(w, task, inode, read | write)?;
            let append = w.inodes[inode].disk.flags.contains(InodeFlags::APPEND);
            let free = asks != 0 && !flags.contains(OpenFlags::APPEND);
            if append && (free || flags.contains(OpenFlags::TRUNC)) {
                return Err(Errno::EPERM);
            }
        }
        Ok((kind, w.inodes[inode].sb))
    })?;
    let file = rt.step(Op::new("alloc_file").write(Object::ICACHE).read(Object::entries(inode)), |w| {
        w.inodes[inode].opens += 1;
        let wb_err = w.sample_wb_err(inode);
        w.files.insert(File { inode, dentry, flags, pos: 0, refs: 1, wb_err })
    });
    if flags.contains(OpenFlags::TRUNC) && kind == FileKind::Regular && !created && !flags.contains(OpenFlags::PATH) {
        let truncated = mnt_want_write(rt, sb).and_then(|()| {
            let done = do_truncate(rt, inode, 0);
            sb_end_write(rt, sb);
            done
        });
        if let Err(fail) = truncated {
            rt.step(Op::new("drop file").write(Object::ICACHE), |w| {
                w.inodes[inode].opens -= 1;
                w.files.remove(file);
            });
            return Err(fail);
        }
    }
    Ok(file)
}

/// The open file, or `EBADF`.
///
/// # Errors
/// `EBADF`: it was opened with `O_PATH`.
pub(crate) fn fdget<R: Runtime>(rt: &R, file: FileId) -> Result<File> {
    let open = rt.step(Op::new("fdget").read(Object::file(file)), |w| w.files[file]);
    if open.flags.contains(OpenFlags::PATH) { Err(Errno::EBADF.into()) } else { Ok(open) }
}

/// Another reference to an open file.
///
/// # Errors
/// None today.
pub fn fget<R: Runtime>(rt: &R, file: FileId) -> Result<()> {
    rt.step(Op::new("get_file").write(Object::file(file)), |w| w.files[file].refs += 1);
    Ok(())
}

/// Drops a reference; with the last one the file is closed.
///
/// # Errors
/// An oops in the end of the inode.
pub fn fput<R: Runtime>(rt: &R, file: FileId) -> Result<()> {
    let last = rt.step(Op::new("fput").write(Object::file(file)).write(Object::ICACHE), |w| {
        w.files[file].refs -= 1;
        if w.files[file].refs > 0 {
            return None;
        }
        let open = w.files[file];
        w.inodes[open.inode].opens -= 1;
        w.files.remove(file);
        Some(open)
    });
    last.map_or(Ok(()), |open| release_path(rt, open.inode, open.dentry))
}

/// `close`.
///
/// # Errors
/// As [`fput`].
pub fn close<R: Runtime>(rt: &R, file: FileId) -> Result<()> {
    fput(rt, file)
}
