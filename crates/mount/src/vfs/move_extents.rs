//! `EXT4_IOC_MOVE_EXT` (`fs/ext4/ioctl.c`, `fs/ext4/move_extent.c`, Linux 6.12): a file's data move into the blocks of a donor, which
//! gets the old ones.

use daxkit_format::dax::{Errno, FileKind};
use daxkit_format::ext4::inode_flags::InodeFlags;

use super::freeze::with_write;
use super::open::fdget;
use crate::fail::{Fail, Result};
use crate::filemap::invalidate::truncate_pagecache_range;
use crate::filemap::writeback::filemap_write_and_wait;
use crate::fs::FileSystem;
use crate::ids::{FileId, InodeId, PAGE_SHIFT, PAGE_SIZE};
use crate::locks::{LockId, Mode, acquire, release};
use crate::op::{Object, Op};
use crate::profile::Personality;
use crate::runtime::Runtime;

/// Moves `len` bytes from the beginning of `file` into blocks of `donor`.
///
/// # Errors
/// `ENOTTY` (XFS), `EBADF` (not open for that), `EOPNOTSUPP` (DAX, encrypted, or journalled by its flag), `EINVAL` (the same file, not regular, empty,
/// or on another file system), `EPERM`, `EROFS`.
pub fn move_extents<R: Runtime>(rt: &R, file: FileId, donor: FileId, len: u64) -> Result<()> {
    let (orig, donor) = (fdget(rt, file)?, fdget(rt, donor)?);
    let (to, from) = (orig.inode, donor.inode);
    let sb = rt.step(Op::new("ext4_ioctl").read(Object::attr(to)), |w| {
        let node = &w.inodes[to];
        if w.sb(node.sb).personality == Personality::Xfs {
            return Err(Errno::ENOTTY);
        }
        if !orig.flags.readable() || !orig.flags.writable() || !donor.flags.writable() {
            return Err(Errno::EBADF);
        }
        Ok(node.sb)
    })?;
    // Of the donor nobody asks.
    if rt.step(Op::new("IS_DAX").read(Object::s_dax(to)), |w| w.is_dax(to)) {
        return Err(Errno::EOPNOTSUPP.into());
    }
    with_write(rt, sb, || {
        rt.step(Op::new("ext4_move_extents").read(Object::WORLD), |w| {
            let nodes = [&w.inodes[to], &w.inodes[from]];
            if nodes[1].sb != sb || to == from || nodes.iter().any(|node| node.kind() != FileKind::Regular) {
                return Err(Errno::EINVAL);
            }
            let no = InodeFlags::ENCRYPT | InodeFlags::JOURNAL_DATA;
            if nodes.iter().any(|node| node.disk.flags.intersects(no)) { Err(Errno::EOPNOTSUPP) } else { Ok(()) }
        })?;
        let locks = [LockId::i_rwsem(to.min(from)), LockId::i_rwsem(to.max(from))];
        for lock in locks {
            acquire(rt, lock, Mode::Exclusive);
        }
        let out = locked(rt, to, from, len);
        if !matches!(out, Err(Fail::Oops)) {
            for lock in locks.into_iter().rev() {
                release(rt, lock);
            }
        }
        out
    })
}

fn locked<R: Runtime>(rt: &R, to: InodeId, from: InodeId, len: u64) -> Result<()> {
    let blocks = rt.step(Op::new("mext_check_arguments").read(Object::WORLD), |w| {
        let fixed = InodeFlags::IMMUTABLE | InodeFlags::APPEND;
        let nodes = [&w.inodes[to], &w.inodes[from]];
        if nodes[1].disk.mode & 0o6000 != 0 {
            return Err(Errno::EINVAL);
        }
        if nodes.iter().any(|node| node.disk.flags.intersects(fixed)) {
            return Err(Errno::EPERM);
        }
        w.not_swapped_to(to).and(w.not_swapped_to(from))?;
        if nodes.iter().any(|node| !node.disk.flags.contains(InodeFlags::EXTENTS)) {
            return Err(Errno::EOPNOTSUPP);
        }
        w.alive(nodes[0].sb)?;
        let ends = nodes.map(|node| node.disk.size.div_ceil(PAGE_SIZE));
        let blocks = len.div_ceil(PAGE_SIZE).min(ends[0]).min(ends[1]);
        if blocks == 0 { Err(Errno::EINVAL) } else { Ok(blocks) }
    })?;
    let last = blocks - 1;
    let donor_dax = rt.step(Op::new("IS_DAX").read(Object::s_dax(from)), |w| w.is_dax(from));
    filemap_write_and_wait(rt, to, 0, u64::MAX >> PAGE_SHIFT)?;
    if !donor_dax {
        filemap_write_and_wait(rt, from, 0, u64::MAX >> PAGE_SHIFT)?;
    }
    truncate_pagecache_range(rt, from, 0, last);
    let task = rt.task().0;
    Ok(rt.step(Op::world("move_extent_per_page"), |w| {
        let (sb, orig, donor) = (w.inodes[to].sb, w.inodes[to].ino, w.inodes[from].ino);
        w.sb_mut(sb).fs.exchange(task, orig, donor, blocks)
    })?)
}
