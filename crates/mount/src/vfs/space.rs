//! `fallocate`, `FIEMAP`, `FIBMAP` (Linux 6.12).

use daxkit_format::dax::{Errno, FileKind};
use daxkit_format::ext4::inode_flags::InodeFlags;

use super::freeze::with_write;
use super::open::fdget;
use super::setattr::{convert_inline, zero_cached, zero_tail};
use crate::dax::layout::break_layouts;
use crate::dax::rw::dax_zero_range;
use crate::fail::{Fail, Oops, Result};
use crate::filemap::invalidate::{truncate_inode_pages_range, truncate_pagecache_range};
use crate::filemap::writeback::filemap_write_and_wait;
use crate::fs::{Backing, Extent, FileSystem};
use crate::ids::{FileId, InodeId, PAGE_SHIFT, PAGE_SIZE};
use crate::locks::{LockId, Mode, acquire, release};
use crate::mm::rmap::unmap_mapping_range;
use crate::op::{Object, Op};
use crate::profile::Personality;
use crate::runtime::Runtime;
use crate::world::objects::{Aops, IState};

/// What `fallocate` is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallocate {
    /// Reserve, and make the file as long.
    Allocate,
    /// `FALLOC_FL_KEEP_SIZE`.
    KeepSize,
    /// `FALLOC_FL_PUNCH_HOLE | KEEP_SIZE`.
    Punch,
    /// `FALLOC_FL_ZERO_RANGE`.
    Zero,
    /// `FALLOC_FL_ZERO_RANGE | KEEP_SIZE`.
    ZeroKeepSize,
    /// `FALLOC_FL_COLLAPSE_RANGE`.
    Collapse,
    /// `FALLOC_FL_INSERT_RANGE`.
    Insert,
}

/// `fallocate`.
///
/// # Errors
/// `EBADF` (not open for writing), `EINVAL`, `EFBIG`, `ENODEV` (not regular), `ENOSPC`, `ERESTARTSYS`, `EPERM`.
pub fn fallocate<R: Runtime>(rt: &R, file: FileId, mode: Fallocate, offset: u64, len: u64) -> Result<()> {
    let open = fdget(rt, file)?;
    let inode = open.inode;
    if !open.flags.writable() {
        return Err(Errno::EBADF.into());
    }
    let (kind, sb, flags) = rt.step(Op::new("i_mode").read(Object::attr(inode)), |w| {
        let node = &w.inodes[inode];
        (node.kind(), node.sb, node.disk.flags)
    });
    if len == 0 {
        return Err(Errno::EINVAL.into());
    }
    // An append-only file may get blocks, and nothing else.
    let reserves = matches!(mode, Fallocate::Allocate | Fallocate::KeepSize);
    if flags.contains(InodeFlags::IMMUTABLE) || (!reserves && flags.contains(InodeFlags::APPEND)) {
        return Err(Errno::EPERM.into());
    }
    if kind != FileKind::Regular {
        return Err(if kind == FileKind::Directory { Errno::EISDIR } else { Errno::ENODEV }.into());
    }
    let end = offset.checked_add(len).filter(|end| *end <= 1 << 44).ok_or(Errno::EFBIG)?;
    with_write(rt, sb, || {
        let (i_rwsem, invalidate) = (LockId::i_rwsem(inode), LockId::invalidate(inode));
        acquire(rt, i_rwsem, Mode::Exclusive);
        acquire(rt, invalidate, Mode::Exclusive);
        let out = locked(rt, inode, mode, offset, end);
        if !matches!(out, Err(Fail::Oops)) {
            release(rt, invalidate);
            release(rt, i_rwsem);
        }
        out
    })
}

fn locked<R: Runtime>(rt: &R, inode: InodeId, mode: Fallocate, offset: u64, end: u64) -> Result<()> {
    convert_inline(rt, inode)?;
    let size = rt.step(Op::new("i_size_read").read(Object::size(inode)), |w| w.size(inode));
    let (first, last) = (offset / PAGE_SIZE, end.div_ceil(PAGE_SIZE));
    match mode {
        Fallocate::Allocate | Fallocate::KeepSize => {
            meta(rt, inode, |fs, ino| fs.preallocate(ino, first, last - first))?;
        }
        Fallocate::Punch => {
            break_layouts(rt, inode)?;
            punch(rt, inode, offset, end.min(size.next_multiple_of(PAGE_SIZE)))?;
        }
        Fallocate::Zero | Fallocate::ZeroKeepSize => {
            break_layouts(rt, inode)?;
            punch(rt, inode, offset, end)?;
            meta(rt, inode, |fs, ino| fs.preallocate(ino, first, last - first))?;
        }
        Fallocate::Collapse | Fallocate::Insert => return shift(rt, inode, mode, offset, end, size),
    }
    if matches!(mode, Fallocate::Allocate | Fallocate::Zero) && end > size {
        // What a mapping left behind the old end must not show.
        zero_tail(rt, inode, size)?;
        set_size(rt, inode, end);
    }
    Ok(())
}

fn meta<R: Runtime>(
    rt: &R,
    inode: InodeId,
    f: impl FnOnce(&mut R::Fs, crate::fs::Ino) -> std::result::Result<(), Errno>,
) -> Result<()> {
    let lock = LockId::i_data(inode);
    acquire(rt, lock, Mode::Exclusive);
    let done = rt.step(Op::new("change block map").write(Object::WORLD), |w| {
        let (sb, ino) = (w.inodes[inode].sb, w.inodes[inode].ino);
        f(&mut w.sb_mut(sb).fs, ino)
    });
    release(rt, lock);
    Ok(done?)
}

fn set_size<R: Runtime>(rt: &R, inode: InodeId, size: u64) {
    rt.step(Op::new("i_size_write").write(Object::WORLD), |w| {
        let now = w.now;
        let node = &mut w.inodes[inode];
        node.disk.size = size;
        (node.disk.mtime, node.disk.ctime) = (now, now);
        node.state |= IState::DIRTY;
    });
}

/// A hole: whole blocks go, the edges are zeroed.
fn punch<R: Runtime>(rt: &R, inode: InodeId, from: u64, to: u64) -> Result<()> {
    if from >= to {
        return Ok(());
    }
    let dax = rt.step(Op::new("IS_DAX").read(Object::s_dax(inode)), |w| w.is_dax(inode));
    let (first, last) = (from.div_ceil(PAGE_SIZE), to / PAGE_SIZE);
    let edges = if first > last { [(from, to), (to, to)] } else { [(from, first * PAGE_SIZE), (last * PAGE_SIZE, to)] };
    for (a, b) in edges {
        if a < b {
            if dax {
                dax_zero_range(rt, inode, a, b - a)?;
            } else {
                zero_cached(rt, inode, a, b)?;
            }
        }
    }
    if first < last {
        truncate_pagecache_range(rt, inode, first, last - 1);
        meta(rt, inode, |fs, ino| fs.punch(ino, first, last - first))?;
    }
    Ok(())
}

fn shift<R: Runtime>(rt: &R, inode: InodeId, mode: Fallocate, offset: u64, end: u64, size: u64) -> Result<()> {
    let insert = mode == Fallocate::Insert;
    if !offset.is_multiple_of(PAGE_SIZE) || !end.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL.into());
    }
    if if insert { offset >= size } else { end >= size } {
        return Err(Errno::EINVAL.into());
    }
    break_layouts(rt, inode)?;
    let first = offset >> PAGE_SHIFT;
    // Everything from there on moves: it is written, then no page may stay in its old place.
    let dax = rt.step(Op::new("IS_DAX").read(Object::s_dax(inode)), |w| w.is_dax(inode));
    if dax {
        crate::dax::writeback::dax_writeback_mapping_range(rt, inode, first, u64::MAX >> PAGE_SHIFT)?;
    } else {
        filemap_write_and_wait(rt, inode, first, u64::MAX >> PAGE_SHIFT)?;
    }
    unmap_mapping_range(rt, inode, first, u64::MAX, true);
    truncate_inode_pages_range(rt, inode, first, u64::MAX >> PAGE_SHIFT);
    meta(rt, inode, |fs, ino| fs.shift(ino, first, (end - offset) >> PAGE_SHIFT, insert))?;
    set_size(rt, inode, if insert { size + (end - offset) } else { size - (end - offset) });
    Ok(())
}

/// `FS_IOC_FIEMAP`: what is backed, in order; neighbours are one extent. Dirty data is written first.
///
/// # Errors
/// Those of the file system.
pub fn fiemap<R: Runtime>(rt: &R, file: FileId) -> Result<Vec<Extent>> {
    let inode = fdget(rt, file)?.inode;
    Ok(rt.step(Op::new("fiemap").read(Object::WORLD), |w| {
        let node = &w.inodes[inode];
        let fs = &w.sb(node.sb).fs;
        let blocks = node.disk.size.div_ceil(PAGE_SIZE).max(1);
        let mut extents = Vec::new();
        let mut at = 0;
        while at < blocks {
            let extent = fs.map(node.ino, at, blocks - at)?;
            at += extent.len.max(1);
            if extent.backing != Backing::Hole {
                extents.push(extent);
            }
        }
        Ok::<_, Errno>(extents)
    })?)
}

/// `FIBMAP` (`bmap`): tests `a_ops->bmap`, then calls it; in between anything can happen.
///
/// # Errors
/// `EINVAL` when the vector has no such method (XFS with DAX).
pub fn fibmap<R: Runtime>(rt: &R, file: FileId, block: u64) -> Result<u64> {
    let inode = fdget(rt, file)?.inode;
    let task = rt.task();
    let has = |name: &'static str| {
        rt.step(Op::new(name).read(Object::aops(inode)), |w| {
            w.touch(Object::aops(inode), false);
            let personality = w.sb(w.inodes[inode].sb).personality;
            !(personality == Personality::Xfs && w.inodes[inode].aops == Aops::Dax)
        })
    };
    if !has("a_ops->bmap test") {
        return Err(Errno::EINVAL.into());
    }
    if !has("a_ops->bmap call") {
        return Err(rt.step(Op::new("oops"), |w| w.oops(task, Oops::NullMethod { method: "xfs_dax_aops.bmap" })));
    }
    let extent = crate::dax::iomap::iomap_begin(rt, inode, block, 1, false)?;
    Ok(if let Backing::Mapped(at) = extent.backing { at } else { 0 })
}
