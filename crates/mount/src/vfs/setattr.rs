//! `truncate`: `i_rwsem`, then `invalidate_lock`, then nobody may have the blocks, then they go (Linux 6.12).

use daxkit_format::dax::{Errno, FileKind};
use daxkit_format::ext4::inode_flags::InodeFlags;

use super::freeze::with_write;
use super::inline::truncate_inline;
use super::namespace::{At, lookup};
use super::open::{MAY_WRITE, fdget, permission, release_path};
use crate::dax::iomap::iomap_begin;
use crate::dax::layout::break_layouts;
use crate::dax::rw::dax_truncate_page;
use crate::fail::{Fail, Result};
use crate::filemap::fault::{dirty_folio, get_folio};
use crate::filemap::invalidate::truncate_pagecache;
use crate::fs::{Backing, FileSystem};
use crate::ids::{FileId, InodeId, PAGE_SHIFT, PAGE_SIZE};
use crate::locks::{LockId, Mode, acquire, release};
use crate::op::{Object, Op};
use crate::profile::Personality;
use crate::runtime::Runtime;
use crate::world::World;
use crate::world::objects::IState;

/// Largest size that is emulated: 2^32 blocks of 4 KiB. XFS could do more.
const MAX_SIZE: u64 = 1 << 44;

impl<F: FileSystem> World<F> {
    /// `s_maxbytes`: on ext4 a block less, so that the length of an extent can be told of the largest file (`ext4_max_size`).
    pub(crate) fn max_size(&self, inode: InodeId) -> u64 {
        match self.sb(self.inodes[inode].sb).personality {
            Personality::Ext4 => MAX_SIZE - PAGE_SIZE,
            Personality::Xfs => MAX_SIZE,
        }
    }
}

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
        w.alive(node.sb)?;
        let refuses = w.sb(node.sb).personality == Personality::Ext4;
        if refuses && node.disk.flags.contains(InodeFlags::IMMUTABLE) { Err(Errno::EPERM) } else { Ok(()) }
    })?)
}

/// `file_remove_privs`: a file that somebody without privilege changes loses its set-user-ID and set-group-ID.
///
/// # Errors
/// `EPERM`: ext4 changes no mode of what is append-only (`ext4_setattr`).
pub(crate) fn remove_privs<R: Runtime>(rt: &R, inode: InodeId) -> Result<()> {
    let task = rt.task();
    let op = Op::new("file_remove_privs").read(Object::attr(inode));
    let drop = rt.step(op, |w| {
        let (cred, disk) = (w.tasks.cred(task), &w.inodes[inode].disk);
        let member = cred.gid == disk.gid;
        let group = if disk.mode & 0o10 != 0 || !member { 0o2000 } else { 0 };
        let ext4 = w.sb(w.inodes[inode].sb).personality == Personality::Ext4;
        let fixed = ext4 && disk.flags.intersects(InodeFlags::APPEND | InodeFlags::IMMUTABLE);
        match disk.mode & (0o4000 | group) {
            _ if cred.privileged || disk.kind() != FileKind::Regular => Ok(0),
            0 => Ok(0),
            _ if fixed => Err(Errno::EPERM),
            drop => Ok(drop),
        }
    })?;
    if drop != 0 {
        let op = Op::new("notify_change").write(Object::attr(inode)).write(Object::life(inode));
        rt.step(op, |w| {
            w.touch(Object::attr(inode), true);
            let now = w.now;
            let node = &mut w.inodes[inode];
            node.disk.mode &= !drop;
            node.disk.ctime = now;
            node.state |= IState::DIRTY;
        });
    }
    Ok(())
}

/// `file_modified`: as above, and the times.
///
/// # Errors
/// As above.
pub(crate) fn file_modified<R: Runtime>(rt: &R, inode: InodeId) -> Result<()> {
    remove_privs(rt, inode)?;
    let op = Op::new("file_update_time").write(Object::attr(inode)).write(Object::life(inode));
    rt.step(op, |w| {
        w.touch(Object::attr(inode), true);
        let now = w.now;
        let node = &mut w.inodes[inode];
        (node.disk.mtime, node.disk.ctime) = (now, now);
        node.state |= IState::DIRTY;
    });
    Ok(())
}

fn change_size<R: Runtime>(rt: &R, inode: InodeId, size: u64) -> Result<()> {
    // A swap file may grow: else swapping would write to blocks that are free by then.
    rt.step(Op::new("inode_newsize_ok").read(Object::attr(inode)).read(Object::size(inode)), |w| {
        if size <= w.size(inode) {
            return w.not_swapped_to(inode);
        }
        if size > w.max_size(inode) { Err(Errno::EFBIG) } else { Ok(()) }
    })?;
    remove_privs(rt, inode)?;
    break_layouts(rt, inode)?;
    if truncate_inline(rt, inode, size)? {
        return Ok(());
    }
    let old = rt.step(Op::new("i_size_read").read(Object::size(inode)), |w| w.size(inode));
    // What lies behind the end in its page was mapped and could be written: it must be zero before it counts.
    zero_tail(rt, inode, size.min(old))?;
    set_size(rt, inode, size);
    // What was reserved behind the end goes even where the end stays.
    if size <= old {
        truncate_pagecache(rt, inode, size);
        free_behind(rt, inode, size)?;
    }
    Ok(())
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
    // A hole reads as zero already, unless its blocks are only delayed (`ext4_block_zero_page_range`).
    let index = from >> PAGE_SHIFT;
    let cached = rt.step(Op::new("filemap_get_folio").read(Object::entries(inode)), |w| {
        w.touch(Object::entries(inode), false);
        w.find_folio(inode, index).is_some_and(|folio| w.folios[folio].dirty)
    });
    if !cached && !matches!(iomap_begin(rt, inode, index, 1, false)?.backing, Backing::Mapped(_)) {
        return Ok(());
    }
    let folio = get_folio(rt, inode, index)?;
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

/// Frees what lies behind the end.
pub(crate) fn free_behind<R: Runtime>(rt: &R, inode: InodeId, size: u64) -> Result<()> {
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
