//! `truncate`: `i_rwsem`, then `invalidate_lock`, then nobody may have the blocks, then they go (Linux 6.12).

use daxkit_format::dax::{Errno, FileKind};
use daxkit_format::ext4::inode_flags::InodeFlags;

use super::freeze::with_write;
use super::namespace::{At, lookup};
use super::open::{MAY_WRITE, fdget, permission, release_path};
use crate::dax::layout::break_layouts;
use crate::dax::rw::dax_truncate_page;
use crate::fail::{Fail, Result};
use crate::filemap::fault::{dirty_folio, get_folio};
use crate::filemap::invalidate::truncate_pagecache;
use crate::fs::FileSystem;
use crate::ids::{FileId, InodeId, PAGE_SHIFT, PAGE_SIZE};
use crate::locks::{LockId, Mode, acquire, release};
use crate::op::{Object, Op};
use crate::profile::Personality;
use crate::runtime::Runtime;
use crate::world::objects::IState;

/// Largest size: 2^32 blocks of 4 KiB, as ext4 has them.
const MAX_SIZE: u64 = 1 << 44;

/// `truncate`.
///
/// # Errors
/// `EISDIR`, `EINVAL`, `EACCES`, `EFBIG`, `EROFS`, `EPERM`.
pub fn truncate<R: Runtime>(rt: &R, at: At<'_>, size: u64) -> Result<()> {
    let task = rt.task();
    let (inode, dentry) = lookup(rt, at, true)?;
    let kind = rt.step(Op::new("vfs_truncate").read(Object::attr(inode)), |w| w.inodes[inode].kind());
    let out = match kind {
        FileKind::Regular => with_write(rt, at.sb, || {
            rt.step(Op::new("inode_permission").read(Object::attr(inode)), |w| {
                permission(w, task, inode, MAY_WRITE)?;
                if w.inodes[inode].disk.flags.contains(InodeFlags::APPEND) { Err(Errno::EPERM) } else { Ok(()) }
            })?;
            do_truncate(rt, inode, size)
        }),
        FileKind::Directory => Err(Errno::EISDIR.into()),
        _ => Err(Errno::EINVAL.into()),
    };
    if !matches!(out, Err(Fail::Oops)) {
        release_path(rt, inode, dentry)?;
    }
    out
}

/// `ftruncate`.
///
/// # Errors
/// `EINVAL` (not open for writing, not regular), `EFBIG`, `EPERM`.
pub fn ftruncate<R: Runtime>(rt: &R, file: FileId, size: u64) -> Result<()> {
    let open = fdget(rt, file)?;
    let sb = rt.step(Op::new("do_ftruncate").read(Object::attr(open.inode)), |w| {
        let node = &w.inodes[open.inode];
        if node.kind() != FileKind::Regular || !open.flags.writable() {
            return Err(Errno::EINVAL);
        }
        if node.disk.flags.contains(InodeFlags::APPEND) { Err(Errno::EPERM) } else { Ok(node.sb) }
    })?;
    with_write(rt, sb, || do_truncate(rt, open.inode, size))
}

/// `do_truncate` and `ext4_setattr`.
///
/// # Errors
/// `EFBIG`, `ERESTARTSYS` (interrupted while pages were pinned), those of the file system.
pub(crate) fn do_truncate<R: Runtime>(rt: &R, inode: InodeId, size: u64) -> Result<()> {
    if size > MAX_SIZE {
        return Err(Errno::EFBIG.into());
    }
    let (i_rwsem, invalidate) = (LockId::i_rwsem(inode), LockId::invalidate(inode));
    acquire(rt, i_rwsem, Mode::Exclusive);
    acquire(rt, invalidate, Mode::Exclusive);
    let out = may_change(rt, inode).and_then(|()| change_size(rt, inode, size));
    if !matches!(out, Err(Fail::Oops)) {
        release(rt, invalidate);
        release(rt, i_rwsem);
    }
    out
}

/// ext4 refuses whoever had an immutable file open from before, at the head of `ext4_setattr` and of
/// `ext4_generic_write_checks`; XFS lets them finish.
pub(crate) fn may_change<R: Runtime>(rt: &R, inode: InodeId) -> Result<()> {
    Ok(rt.step(Op::new("IS_IMMUTABLE").read(Object::attr(inode)), |w| {
        let node = &w.inodes[inode];
        let refuses = w.sb(node.sb).personality == Personality::Ext4;
        if refuses && node.disk.flags.contains(InodeFlags::IMMUTABLE) { Err(Errno::EPERM) } else { Ok(()) }
    })?)
}

fn change_size<R: Runtime>(rt: &R, inode: InodeId, size: u64) -> Result<()> {
    break_layouts(rt, inode)?;
    convert_inline(rt, inode)?;
    let old = rt.step(Op::new("i_size_read").read(Object::size(inode)), |w| w.size(inode));
    // What lies behind the end in its page was mapped and could be written: it must be zero before it counts.
    zero_tail(rt, inode, size.min(old))?;
    set_size(rt, inode, size);
    if size < old {
        truncate_pagecache(rt, inode, size);
        free_behind(rt, inode, size)?;
    }
    Ok(())
}

/// Contents inside the inode go to a block before anything is done with them.
pub(crate) fn convert_inline<R: Runtime>(rt: &R, inode: InodeId) -> Result<()> {
    let task = rt.task().0;
    let inline = rt.step(Op::new("has_inline").read(Object::attr(inode)), |w| w.inodes[inode].disk.inline_data);
    if !inline {
        return Ok(());
    }
    Ok(rt.step(Op::world("ext4_convert_inline_data"), |w| {
        let (sb, ino) = (w.inodes[inode].sb, w.inodes[inode].ino);
        w.sb_mut(sb).fs.convert_inline(task, ino)?;
        let disk = &mut w.inodes[inode].disk;
        disk.inline_data = false;
        disk.flags.remove(InodeFlags::INLINE_DATA);
        Ok::<_, Errno>(())
    })?)
}

fn set_size<R: Runtime>(rt: &R, inode: InodeId, size: u64) {
    let op = Op::new("i_size_write").write(Object::size(inode)).write(Object::attr(inode)).write(Object::life(inode));
    rt.step(op, |w| {
        w.touch(Object::size(inode), true);
        let now = w.now;
        let node = &mut w.inodes[inode];
        node.disk.size = size;
        (node.disk.mtime, node.disk.ctime) = (now, now);
        node.state |= IState::DIRTY;
    });
}

/// Zeroes from `pos` to the end of its page, on the media or in the page cache.
pub(crate) fn zero_tail<R: Runtime>(rt: &R, inode: InodeId, pos: u64) -> Result<()> {
    if pos.is_multiple_of(PAGE_SIZE) {
        return Ok(());
    }
    let dax = rt.step(Op::new("IS_DAX").read(Object::s_dax(inode)), |w| w.is_dax(inode));
    if dax {
        return dax_truncate_page(rt, inode, pos);
    }
    zero_cached(rt, inode, pos, pos.next_multiple_of(PAGE_SIZE))
}

/// Zeroes bytes `from .. to` of one page in the page cache.
pub(crate) fn zero_cached<R: Runtime>(rt: &R, inode: InodeId, from: u64, to: u64) -> Result<()> {
    let folio = get_folio(rt, inode, from >> PAGE_SHIFT)?;
    rt.step(Op::new("folio_zero_range").write(Object::data(inode)), |w| {
        w.touch(Object::data(inode), true);
        let (from, len) = ((from % PAGE_SIZE) as usize, (to - from) as usize);
        w.folio_bytes[folio.0 as usize][from..from + len].fill(0);
    });
    dirty_folio(rt, inode, folio);
    rt.step(Op::new("unlock_page").write(Object::entries(inode)), |w| {
        w.unlock_folio(folio);
        w.put_folio(folio);
    });
    Ok(())
}

fn free_behind<R: Runtime>(rt: &R, inode: InodeId, size: u64) -> Result<()> {
    let lock = LockId::i_data(inode);
    acquire(rt, lock, Mode::Exclusive);
    let done = rt.step(Op::new("ext4_truncate").write(Object::block_map(inode)).write(Object::WORLD), |w| {
        let (sb, ino) = (w.inodes[inode].sb, w.inodes[inode].ino);
        let first = size.div_ceil(PAGE_SIZE);
        w.sb_mut(sb).fs.punch(ino, first, (MAX_SIZE >> PAGE_SHIFT) - first)
    });
    release(rt, lock);
    Ok(done?)
}
