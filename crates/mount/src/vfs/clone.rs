//! `FICLONE` (`fs/remap_range.c`, `fs/xfs/xfs_reflink.c`, Linux 6.12): a file gets the blocks of another.

use daxkit_format::dax::{Errno, FileKind};
use daxkit_format::ext4::inode_flags::InodeFlags;

use super::freeze::with_write;
use super::open::fdget;
use crate::dax::layout::break_layouts;
use crate::dax::writeback::dax_writeback_mapping_range;
use crate::fail::{Fail, Result};
use crate::filemap::invalidate::truncate_pagecache_range;
use crate::filemap::writeback::filemap_write_and_wait;
use crate::fs::FileSystem;
use crate::ids::{FileId, InodeId, PAGE_SHIFT, PAGE_SIZE};
use crate::locks::{LockId, Mode, acquire, release};
use crate::op::{Object, Op};
use crate::profile::Personality;
use crate::runtime::Runtime;
use crate::world::objects::{IState, OpenFlags};

/// Last page of any file.
const LAST: u64 = u64::MAX >> PAGE_SHIFT;

/// `FICLONE`: all of `from` into `to`, which keeps what it has behind that.
///
/// # Errors
/// `EXDEV`, `EISDIR`, `EINVAL` (not regular, only one of them is DAX, or `from` ends within a block in the middle of `to`), `EBADF` (not open for that), `EOPNOTSUPP`, `EROFS`, `EPERM`
/// (immutable), `EIO`.
pub fn ficlone<R: Runtime>(rt: &R, to: FileId, from: FileId) -> Result<()> {
    let (target, source) = (fdget(rt, to)?, fdget(rt, from)?);
    let (dst, src) = (target.inode, source.inode);
    let sb = rt.step(Op::new("generic_file_rw_checks").read(Object::attr(dst)).read(Object::attr(src)), |w| {
        let (out, into) = (&w.inodes[src], &w.inodes[dst]);
        if out.sb != into.sb {
            return Err(Errno::EXDEV);
        }
        let kinds = [out.kind(), into.kind()];
        if kinds.contains(&FileKind::Directory) {
            return Err(Errno::EISDIR);
        }
        if kinds != [FileKind::Regular; 2] {
            return Err(Errno::EINVAL);
        }
        if !source.flags.readable() || !target.flags.writable() || target.flags.contains(OpenFlags::APPEND) {
            return Err(Errno::EBADF);
        }
        let mount = w.sb(into.sb);
        if mount.personality == Personality::Ext4 || !mount.fs.features().reflink {
            return Err(Errno::EOPNOTSUPP);
        }
        if into.disk.flags.contains(InodeFlags::IMMUTABLE) {
            return Err(Errno::EPERM);
        }
        w.not_swapped_to(src).and(w.not_swapped_to(dst))?;
        w.alive(into.sb)?;
        Ok(into.sb)
    })?;
    if dst == src {
        return Ok(());
    }
    with_write(rt, sb, || {
        // Both inodes, in one order for everybody.
        let (first, second) = if dst < src { (dst, src) } else { (src, dst) };
        let locks =
            [LockId::i_rwsem(first), LockId::i_rwsem(second), LockId::invalidate(first), LockId::invalidate(second)];
        for lock in locks {
            acquire(rt, lock, Mode::Exclusive);
        }
        let out = locked(rt, dst, src);
        if !matches!(out, Err(Fail::Oops)) {
            for lock in locks.into_iter().rev() {
                release(rt, lock);
            }
        }
        out
    })
}

fn locked<R: Runtime>(rt: &R, dst: InodeId, src: InodeId) -> Result<()> {
    let is_dax = |inode| rt.step(Op::new("IS_DAX").read(Object::s_dax(inode)), |w| w.is_dax(inode));
    let dax = is_dax(src);
    if dax != is_dax(dst) {
        return Err(Errno::EINVAL.into());
    }
    let op = Op::new("xfs_reflink_remap_prep").read(Object::WORLD);
    let (size, old_size) = rt.step(op, |w| {
        let realtime =
            |inode: InodeId| w.inodes[inode].disk.xflags.contains(daxkit_format::dax::fileattr::XFlags::REALTIME);
        let (size, old) = (w.size(src), w.size(dst));
        let middle = size < old && !size.is_multiple_of(PAGE_SIZE);
        if realtime(dst) || realtime(src) || middle { Err(Errno::EINVAL) } else { Ok((size, old)) }
    })?;
    if size == 0 {
        return Ok(());
    }
    let blocks = size.div_ceil(PAGE_SIZE);
    for inode in [dst, src] {
        break_layouts(rt, inode)?;
        // Written and write-protected: a later store to either is noticed, and copies.
        if dax {
            dax_writeback_mapping_range(rt, inode, 0, LAST)?;
        } else {
            filemap_write_and_wait(rt, inode, 0, LAST)?;
        }
    }
    truncate_pagecache_range(rt, dst, 0, blocks - 1);
    Ok(rt.step(Op::world("xfs_reflink_remap_blocks"), |w| {
        let (from, to) = (w.inodes[src].ino, w.inodes[dst].ino);
        let (sb, now) = (w.inodes[dst].sb, w.now);
        w.sb_mut(sb).fs.share(to, from, blocks)?;
        let node = &mut w.inodes[dst];
        node.disk.size = size.max(old_size);
        (node.disk.mtime, node.disk.ctime) = (now, now);
        node.state |= IState::DIRTY;
        Ok::<_, Errno>(())
    })?)
}
