//! `fallocate`, `FIEMAP`, `FIBMAP` (Linux 6.12).

use daxkit_format::dax::fileattr::XFlags;
use daxkit_format::dax::{Errno, FileKind};
use daxkit_format::ext4::inode_flags::InodeFlags;

use super::freeze::with_write;
use super::inline::convert_inline;
use super::open::fdget;
use super::setattr::{file_modified, free_behind, zero_cached, zero_tail};
use super::unshare::unshare;
use crate::dax::layout::break_layouts;
use crate::dax::rw::dax_zero_range;
use crate::fail::{Fail, Oops, Result};
use crate::filemap::invalidate::{truncate_inode_pages_range, truncate_pagecache, truncate_pagecache_range};
use crate::filemap::writeback::filemap_write_and_wait;
use crate::fs::{Backing, Extent, FileSystem};
use crate::ids::{FileId, InodeId, PAGE_SHIFT, PAGE_SIZE};
use crate::locks::{LockId, Mode, acquire, release};
use crate::mm::rmap::unmap_mapping_range;
use crate::op::{Object, Op};
use crate::profile::Personality;
use crate::runtime::Runtime;
use crate::world::objects::{Aops, IState};

/// Blocks that a file can have.
const LAST_BLOCK: u64 = 1 << 32;

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
    /// `FALLOC_FL_UNSHARE_RANGE`.
    Unshare,
    /// `FALLOC_FL_UNSHARE_RANGE | KEEP_SIZE`.
    UnshareKeepSize,
}

/// `fallocate`.
///
/// # Errors
/// `EINVAL`, `EBADF` (not open for writing), `EPERM`, `ETXTBSY` (swapped to), `ESPIPE`, `EISDIR`, `ENODEV` (not regular), `EFBIG`, in
/// this order; `EOPNOTSUPP`, `ENOSPC`, `ERESTARTSYS`.
pub fn fallocate<R: Runtime>(rt: &R, file: FileId, mode: Fallocate, offset: u64, len: u64) -> Result<()> {
    let open = fdget(rt, file)?;
    let inode = open.inode;
    if len == 0 {
        return Err(Errno::EINVAL.into());
    }
    if !open.flags.writable() {
        return Err(Errno::EBADF.into());
    }
    let (type_bits, sb, flags, personality) = rt.step(Op::new("i_mode").read(Object::attr(inode)), |w| {
        let node = &w.inodes[inode];
        (node.disk.mode & 0o17_0000, node.sb, node.disk.flags, w.sb(node.sb).personality)
    });
    let unshares = matches!(mode, Fallocate::Unshare | Fallocate::UnshareKeepSize);
    let alive = |w: &mut crate::world::World<R::Fs>| w.alive(sb);
    // An append-only file may get blocks, and nothing else.
    let reserves = matches!(mode, Fallocate::Allocate | Fallocate::KeepSize);
    if flags.contains(InodeFlags::IMMUTABLE) || (!reserves && flags.contains(InodeFlags::APPEND)) {
        return Err(Errno::EPERM.into());
    }
    rt.step(Op::new("IS_SWAPFILE").read(Object::attr(inode)), |w| w.not_swapped_to(inode))?;
    match type_bits {
        0o10_0000 => {}
        0o1_0000 => return Err(Errno::ESPIPE.into()),
        0o4_0000 => return Err(Errno::EISDIR.into()),
        _ => return Err(Errno::ENODEV.into()),
    }
    let most = rt.step(Op::new("s_maxbytes"), |w| w.max_size(inode));
    let end = offset.checked_add(len).filter(|end| *end <= most).ok_or(Errno::EFBIG)?;
    with_write(rt, sb, || {
        rt.step(Op::new("ext4_forced_shutdown").read(Object::sb(sb)), alive)?;
        if unshares && personality == Personality::Ext4 {
            return Err(Errno::EOPNOTSUPP.into());
        }
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
    file_modified(rt, inode)?;
    let size = rt.step(Op::new("i_size_read").read(Object::size(inode)), |w| w.size(inode));
    let (first, last) = (offset / PAGE_SIZE, end.div_ceil(PAGE_SIZE));
    match mode {
        Fallocate::Allocate | Fallocate::KeepSize => {
            meta(rt, inode, |fs, ino| fs.preallocate(ino, first, last - first))?;
        }
        Fallocate::Punch => {
            break_layouts(rt, inode)?;
            // ext4_punch_hole: what reaches past the end ends with its page; XFS also frees what is reserved behind.
            let end = if is_xfs(rt, inode) || end <= size { end } else { size.next_multiple_of(PAGE_SIZE) };
            punch(rt, inode, offset, end)?;
        }
        Fallocate::Zero | Fallocate::ZeroKeepSize => {
            break_layouts(rt, inode)?;
            punch(rt, inode, offset, end)?;
            meta(rt, inode, |fs, ino| fs.preallocate(ino, first, last - first))?;
        }
        Fallocate::Unshare | Fallocate::UnshareKeepSize => {
            break_layouts(rt, inode)?;
            unshare(rt, inode, offset, end)?;
            meta(rt, inode, |fs, ino| fs.preallocate(ino, first, last - first))?;
        }
        Fallocate::Collapse | Fallocate::Insert => return shift(rt, inode, mode, offset, end, size),
    }
    if mode != Fallocate::Punch {
        rt.step(Op::new("XFS_DIFLAG_PREALLOC").write(Object::attr(inode)), |w| {
            w.touch(Object::attr(inode), true);
            if w.sb(w.inodes[inode].sb).personality == Personality::Xfs {
                // xfs_alloc_file_space
                w.inodes[inode].disk.xflags |= XFlags::PREALLOC;
            }
        });
    }
    if matches!(mode, Fallocate::Allocate | Fallocate::Zero | Fallocate::Unshare) && end > size {
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

fn is_xfs<R: Runtime>(rt: &R, inode: InodeId) -> bool {
    rt.step(Op::new("personality"), |w| w.sb(w.inodes[inode].sb).personality == Personality::Xfs)
}

/// A hole: whole blocks go, the edges are zeroed.
fn punch<R: Runtime>(rt: &R, inode: InodeId, from: u64, to: u64) -> Result<()> {
    if from >= to {
        return Ok(());
    }
    let dax = rt.step(Op::new("IS_DAX").read(Object::s_dax(inode)), |w| w.is_dax(inode));
    if is_xfs(rt, inode) && !dax {
        // xfs_flush_unmap_range: nothing of the pages stays, not even of those that are only touched.
        let (first, last) = (from / PAGE_SIZE, to.div_ceil(PAGE_SIZE) - 1);
        filemap_write_and_wait(rt, inode, first, last)?;
        truncate_pagecache_range(rt, inode, first, last);
    }
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
    // An insert that would push the end too far is told so before it is asked where it begins.
    if insert && size + (end - offset) > rt.step(Op::new("s_maxbytes"), |w| w.max_size(inode)) {
        return Err(Errno::EFBIG.into());
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
    let xfs = is_xfs(rt, inode);
    if xfs {
        // xfs_flush_unmap_range: private copies stay.
        truncate_pagecache_range(rt, inode, first, u64::MAX >> PAGE_SHIFT);
    } else {
        unmap_mapping_range(rt, inode, first, u64::MAX, true);
        truncate_inode_pages_range(rt, inode, first, u64::MAX >> PAGE_SHIFT);
    }
    meta(rt, inode, |fs, ino| fs.shift(ino, first, (end - offset) >> PAGE_SHIFT, insert))?;
    let size = if insert { size + (end - offset) } else { size - (end - offset) };
    set_size(rt, inode, size);
    if xfs && !insert {
        // xfs_falloc_setsize: a truncate.
        truncate_pagecache(rt, inode, size);
        free_behind(rt, inode, size)?;
    }
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

/// `fsx_nextents`: how many extents the data have, neighbours counted as one. ext4 does not say (0).
///
/// # Errors
/// Those of the file system.
pub fn nextents<R: Runtime>(rt: &R, file: FileId) -> Result<u64> {
    let inode = fdget(rt, file)?.inode;
    Ok(rt.step(Op::new("xfs_iext_count").read(Object::WORLD), |w| {
        let node = &w.inodes[inode];
        let mount = w.sb(node.sb);
        if mount.personality == Personality::Ext4 || node.kind() != FileKind::Regular {
            return Ok(0);
        }
        let (mut count, mut at, mut before) = (0, 0, Backing::Hole);
        while at < LAST_BLOCK {
            let extent = mount.fs.map(node.ino, at, LAST_BLOCK - at)?;
            // Sharing is no property of an extent here: it may begin or end within one.
            let goes_on = extent.backing == before;
            count += u64::from(extent.backing != Backing::Hole && !goes_on);
            at += extent.len.max(1);
            before = match extent.backing {
                Backing::Hole => Backing::Hole,
                Backing::Unwritten(block) => Backing::Unwritten(block + extent.len),
                Backing::Mapped(block) => Backing::Mapped(block + extent.len),
            };
        }
        Ok::<_, Errno>(count)
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
