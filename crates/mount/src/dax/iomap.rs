//! `iomap_begin`: what is behind a range of a file, allocated for a write.

use crate::fail::Result;
use crate::fs::{Extent, FileSystem};
use crate::ids::{InodeId, PAGE_SHIFT};
use crate::locks::{LockId, Mode, acquire, release};
use crate::op::{Object, Op};
use crate::runtime::Runtime;

/// Maps `pages` pages from `index`. A write gets blocks that are allocated, zeroed and written before it returns, so no fault
/// can show what a block held before (`IOMAP_WRITE`, `EXT4_GET_BLOCKS_CREATE_ZERO`, `XFS_BMAPI_CONVERT | XFS_BMAPI_ZERO`).
///
/// # Errors
/// Those of the file system.
#[inline]
pub fn iomap_begin<R: Runtime>(rt: &R, inode: InodeId, index: u64, pages: u64, write: bool) -> Result<Extent> {
    let lock = LockId::i_data(inode);
    let task = rt.task().0;
    if write {
        acquire(rt, lock, Mode::Exclusive);
        let op = Op::new("map_blocks create").write(Object::block_map(inode)).write(Object::ALL_DATA);
        let extent = rt.step(op, |w| {
            w.touch(Object::block_map(inode), true);
            let (sb, ino) = (w.inodes[inode].sb, w.inodes[inode].ino);
            w.alive(sb)?;
            w.sb_mut(sb).fs.map_for_write(task, ino, index, pages)
        });
        release(rt, lock);
        Ok(extent?)
    } else {
        acquire(rt, lock, Mode::Shared);
        let extent = rt.step(Op::new("map_blocks").read(Object::block_map(inode)), |w| {
            w.touch(Object::block_map(inode), false);
            let (sb, ino) = (w.inodes[inode].sb, w.inodes[inode].ino);
            w.may_map(inode)?;
            w.sb(sb).fs.map(ino, index, pages)
        });
        release(rt, lock);
        Ok(extent?)
    }
}

/// Whether a synchronous fault must wait for metadata (`IOMAP_F_DIRTY`): it is not committed, or the write is past the end.
pub fn iomap_dirty<R: Runtime>(rt: &R, inode: InodeId, index: u64, pages: u64) -> bool {
    let op = Op::new("iomap dirty").read(Object::block_map(inode)).read(Object::size(inode)).read(Object::attr(inode));
    rt.step(op, |w| {
        let (sb, ino) = (w.inodes[inode].sb, w.inodes[inode].ino);
        w.sb(sb).fs.is_dirty(ino) || (index + pages) << PAGE_SHIFT > w.size(inode).next_multiple_of(1 << PAGE_SHIFT)
    })
}
