//! `read` and `write`: which path is taken is decided by `IS_DAX` before the lock; ext4 looks again after it when it reads, and
//! not when it writes (Linux 6.12).

use daxkit_format::dax::{Errno, FileKind};

use super::freeze::with_write;
use super::inline::write_inline;
use super::open::fdget;
use super::setattr::{file_modified, may_change, remove_privs, zero_tail};
use crate::dax::rw::{dax_read, dax_write};
use crate::fail::Result;
use crate::filemap::rw::{buffered_read, buffered_write};
use crate::ids::{FileId, InodeId};
use crate::locks::{LockId, Mode, with_lock};
use crate::mm::access::{copy_from_user, copy_to_user};
use crate::op::{Object, Op};
use crate::profile::Personality;
use crate::runtime::Runtime;
use crate::vfs::sync::vfs_fsync_range;
use crate::world::objects::OpenFlags;

/// Most bytes of a user's buffer that are moved at once.
const CHUNK: usize = 1 << 20;

fn is_dax<R: Runtime>(rt: &R, inode: InodeId) -> bool {
    rt.step(Op::new("IS_DAX").read(Object::s_dax(inode)), |w| w.is_dax(inode))
}

fn kind_and_personality<R: Runtime>(rt: &R, inode: InodeId) -> Result<(FileKind, Personality, crate::ids::SbId)> {
    Ok(rt.step(Op::new("i_mode").read(Object::attr(inode)), |w| {
        let node = &w.inodes[inode];
        w.alive(node.sb)?;
        Ok::<_, Errno>((node.kind(), w.sb(node.sb).personality, node.sb))
    })?)
}

fn advance<R: Runtime>(rt: &R, file: FileId, offset: Option<u64>, to: u64) {
    if offset.is_none() {
        rt.step(Op::new("f_pos").write(Object::file(file)), |w| w.files[file].pos = to);
    }
}

/// `pread` with an offset, `read` without.
///
/// # Errors
/// `EBADF`, `EISDIR`, `EINVAL`, `EIO`.
pub fn read<R: Runtime>(rt: &R, file: FileId, offset: Option<u64>, buf: &mut [u8]) -> Result<usize> {
    let open = fdget(rt, file)?;
    if !open.flags.readable() {
        return Err(Errno::EBADF.into());
    }
    let inode = open.inode;
    let (kind, personality, _) = kind_and_personality(rt, inode)?;
    match kind {
        FileKind::Regular => {}
        FileKind::Directory => return Err(Errno::EISDIR.into()),
        _ => return Err(Errno::EINVAL.into()),
    }
    let pos = offset.unwrap_or(open.pos);
    let n = if is_dax(rt, inode) {
        with_lock(rt, LockId::i_rwsem(inode), Mode::Shared, || {
            if personality == Personality::Ext4 && !is_dax(rt, inode) {
                return buffered_read(rt, inode, pos, buf);
            }
            dax_read(rt, inode, pos, buf)
        })?
    } else if personality == Personality::Xfs {
        with_lock(rt, LockId::i_rwsem(inode), Mode::Shared, || buffered_read(rt, inode, pos, buf))?
    } else {
        buffered_read(rt, inode, pos, buf)?
    };
    advance(rt, file, offset, pos + n as u64);
    Ok(n)
}

/// `pwrite` with an offset, `write` without.
///
/// # Errors
/// `EBADF`, `EINVAL`, `EFBIG`, `ENOSPC`, `EIO`.
pub fn write<R: Runtime>(rt: &R, file: FileId, offset: Option<u64>, data: &[u8]) -> Result<usize> {
    let open = fdget(rt, file)?;
    if !open.flags.writable() {
        return Err(Errno::EBADF.into());
    }
    let inode = open.inode;
    // XFS has nothing to do for no bytes, and asks nothing; ext4 asks all the same.
    if data.is_empty() {
        let idle = rt.step(Op::new("xfs_file_write_iter").read(Object::attr(inode)), |w| {
            let node = &w.inodes[inode];
            node.kind() == FileKind::Regular && w.sb(node.sb).personality == Personality::Xfs
        });
        if idle {
            return Ok(0);
        }
    }
    let (kind, _, sb) = kind_and_personality(rt, inode)?;
    if kind != FileKind::Regular {
        return Err(Errno::EINVAL.into());
    }
    with_write(rt, sb, || {
        let dax = is_dax(rt, inode);
        let (pos, n) = with_lock(rt, LockId::i_rwsem(inode), Mode::Exclusive, || {
            may_change(rt, inode)?;
            rt.step(Op::new("IS_SWAPFILE").read(Object::attr(inode)), |w| w.not_swapped_to(inode))?;
            if data.is_empty() {
                return Ok((offset.unwrap_or(open.pos), 0));
            }
            let size = rt.step(Op::new("i_size_read").read(Object::size(inode)), |w| w.size(inode));
            let pos = if open.flags.contains(OpenFlags::APPEND) { size } else { offset.unwrap_or(open.pos) };
            // generic_write_check_limits: what goes on past the largest size is cut.
            let most = rt.step(Op::new("s_maxbytes"), |w| w.max_size(inode));
            let room = most.checked_sub(pos).filter(|room| *room > 0).ok_or(Errno::EFBIG)?;
            let data = &data[..room.min(data.len() as u64) as usize];
            remove_privs(rt, inode)?;
            if write_inline(rt, inode, pos, data)? {
                return Ok((pos, data.len()));
            }
            if pos > size {
                // Between the old end and the write everything reads as zero, whatever a mapping left in the last page.
                zero_tail(rt, inode, size)?;
            }
            let n = if dax { dax_write(rt, inode, pos, data)? } else { buffered_write(rt, inode, pos, data)? };
            Ok((pos, n))
        })?;
        advance(rt, file, offset, pos + n as u64);
        if open.flags.intersects(OpenFlags::SYNC | OpenFlags::DSYNC) && n > 0 {
            let (from, to) = (pos >> 12, (pos + n as u64 - 1) >> 12);
            vfs_fsync_range(rt, file, inode, from, to, !open.flags.contains(OpenFlags::SYNC))?;
        }
        Ok(n)
    })
}

/// `pread` into mapped memory, of whichever file. A buffer that is only partly there gives a short count.
///
/// # Errors
/// `EFAULT` when not a byte could be stored, and as [`read`].
pub fn read_to_user<R: Runtime>(rt: &R, file: FileId, offset: Option<u64>, address: u64, len: usize) -> Result<usize> {
    // Whether it may be read at all is asked first.
    let mut bounce = vec![0; len.min(CHUNK)];
    if len == 0 {
        return read(rt, file, offset, &mut bounce);
    }
    let mut done = 0;
    while done < len {
        let n = (len - done).min(CHUNK);
        let at = offset.map(|offset| offset + done as u64);
        let got = read(rt, file, at, &mut bounce[..n])?;
        let put = copy_to_user(rt, address + done as u64, &bounce[..got])?;
        done += put;
        if put < got && done == 0 {
            return Err(Errno::EFAULT.into());
        }
        if put < n {
            break;
        }
    }
    Ok(done)
}

/// A write of what cannot be read: whether it may be written at all is asked first, and then it counts as changed.
fn unreadable<R: Runtime>(rt: &R, file: FileId) -> Result<usize> {
    let open = fdget(rt, file)?;
    if !open.flags.writable() {
        return Err(Errno::EBADF.into());
    }
    let (kind, _, sb) = kind_and_personality(rt, open.inode)?;
    if kind != FileKind::Regular {
        return Err(Errno::EINVAL.into());
    }
    with_write(rt, sb, || {
        with_lock(rt, LockId::i_rwsem(open.inode), Mode::Exclusive, || {
            may_change(rt, open.inode)?;
            file_modified(rt, open.inode)?;
            Err(Errno::EFAULT.into())
        })
    })
}

/// `pwrite` from mapped memory, of whichever file; it may be the file itself, which what is written makes readable.
///
/// # Errors
/// `EFAULT` when not a byte could be loaded, and as [`write`].
pub fn write_from_user<R: Runtime>(
    rt: &R,
    file: FileId,
    offset: Option<u64>,
    address: u64,
    len: usize,
) -> Result<usize> {
    let mut bounce = vec![0; len.min(CHUNK)];
    if len == 0 {
        return write(rt, file, offset, &[]);
    }
    let mut done = 0;
    while done < len {
        let n = (len - done).min(CHUNK);
        let got = copy_from_user(rt, address + done as u64, &mut bounce[..n])?;
        if got == 0 {
            return if done > 0 { Ok(done) } else { unreadable(rt, file) };
        }
        done += write(rt, file, offset.map(|offset| offset + done as u64), &bounce[..got])?;
    }
    Ok(done)
}
