//! `dax_iomap_rw`, `dax_zero_range` (`fs/dax.c`, Linux 6.12): read and write past the page cache.

use super::iomap::iomap_begin;
use crate::fail::Result;
use crate::filemap::invalidate::invalidate_inode_pages2_range;
use crate::fs::{Backing, Media};
use crate::ids::{InodeId, PAGE_SHIFT, PAGE_SIZE};
use crate::op::{Object, Op};
use crate::runtime::Runtime;
use crate::world::objects::IState;
use daxkit_format::dax::Errno;

/// Most pages that one mapping of a long request asks for.
const MOST_PAGES: u64 = 4096;

/// Reads from `pos`, at most to the end of the file. `i_rwsem` is held shared.
///
/// # Errors
/// `EIO` for poison, if nothing was read before it.
pub fn dax_read<R: Runtime>(rt: &R, inode: InodeId, pos: u64, buf: &mut [u8]) -> Result<usize> {
    let size = rt.step(Op::new("i_size_read").read(Object::size(inode)), |w| w.size(inode));
    let len = (buf.len() as u64).min(size.saturating_sub(pos));
    let mut done = 0;
    while done < len {
        let at = pos + done;
        let index = at >> PAGE_SHIFT;
        let wanted = ((at % PAGE_SIZE) + len - done).div_ceil(PAGE_SIZE).min(MOST_PAGES);
        let extent = iomap_begin(rt, inode, index, wanted, false)?;
        let n = (extent.len * PAGE_SIZE - at % PAGE_SIZE).min(len - done);
        let part = &mut buf[done as usize..(done + n) as usize];
        match extent.backing {
            Backing::Hole | Backing::Unwritten(_) => part.fill(0),
            Backing::Mapped(block) => {
                let from = block * PAGE_SIZE + at % PAGE_SIZE;
                let ok = rt.step(Op::new("dax_copy_to_iter").read(Object::data(inode)), |w| {
                    w.touch(Object::data(inode), false);
                    let sb = w.inodes[inode].sb;
                    w.sb(sb).fs.load(from, part).is_ok()
                });
                if !ok {
                    return if done > 0 { Ok(done as usize) } else { Err(Errno::EIO.into()) };
                }
            }
        }
        done += n;
    }
    Ok(done as usize)
}

/// Writes at `pos`, past the end if need be. `i_rwsem` is held exclusively. No entry becomes dirty: the bytes are durable, the
/// metadata is not.
///
/// # Errors
/// `ENOSPC` and others, if nothing was written before.
pub fn dax_write<R: Runtime>(rt: &R, inode: InodeId, pos: u64, data: &[u8]) -> Result<usize> {
    let task = rt.task();
    let len = data.len() as u64;
    let mut done = 0;
    while done < len {
        let at = pos + done;
        let index = at >> PAGE_SHIFT;
        let wanted = ((at % PAGE_SIZE) + len - done).div_ceil(PAGE_SIZE).min(MOST_PAGES);
        let extent = match iomap_begin(rt, inode, index, wanted, true) {
            Ok(extent) => extent,
            Err(fail) if done == 0 => return Err(fail),
            Err(_) => break,
        };
        let Backing::Mapped(block) = extent.backing else { return Err(Errno::EIO.into()) };
        if extent.new || extent.shared {
            // Mappings still show the zero page: entries go first, then the mappings, or a fault could put them back.
            // An entry that is dirty refuses; that is of no interest here.
            let _ = invalidate_inode_pages2_range(rt, inode, index, index + extent.len - 1);
        }
        let n = (extent.len * PAGE_SIZE - at % PAGE_SIZE).min(len - done);
        let to = block * PAGE_SIZE + at % PAGE_SIZE;
        rt.step(Op::new("dax_copy_from_iter").write(Object::data(inode)), |w| {
            w.touch(Object::data(inode), true);
            let sb = w.inodes[inode].sb;
            w.sb_mut(sb).fs.store_nt(task.0, to, &data[done as usize..(done + n) as usize]);
        });
        done += n;
    }
    // The size follows the copy: a reader sees bytes or the old end, never blocks without bytes.
    let end = pos + done;
    let op = Op::new("i_size_write").write(Object::size(inode)).write(Object::attr(inode)).write(Object::life(inode));
    rt.step(op, |w| {
        w.touch(Object::size(inode), true);
        let sb = w.inodes[inode].sb;
        w.sb_mut(sb).fs.fence(task.0);
        let now = w.now;
        let node = &mut w.inodes[inode];
        node.disk.size = node.disk.size.max(end);
        (node.disk.mtime, node.disk.ctime) = (now, now);
        node.state |= IState::DIRTY;
    });
    Ok(done as usize)
}

/// `dax_zero_range`: zeroes bytes where blocks are written; holes and unwritten blocks read as zero already.
///
/// # Errors
/// Those of the file system.
pub fn dax_zero_range<R: Runtime>(rt: &R, inode: InodeId, pos: u64, len: u64) -> Result<()> {
    let task = rt.task();
    let mut at = pos;
    while at < pos + len {
        let index = at >> PAGE_SHIFT;
        let wanted = (pos + len).div_ceil(PAGE_SIZE).saturating_sub(index).clamp(1, MOST_PAGES);
        let mut extent = iomap_begin(rt, inode, index, wanted, false)?;
        if extent.shared {
            // Other files keep what they have: this one gets a copy, which mappings must see.
            extent = iomap_begin(rt, inode, index, extent.len, true)?;
            let _ = invalidate_inode_pages2_range(rt, inode, index, index + extent.len - 1);
        }
        let n = (extent.len * PAGE_SIZE - at % PAGE_SIZE).min(pos + len - at);
        if let Backing::Mapped(block) = extent.backing {
            let to = block * PAGE_SIZE + at % PAGE_SIZE;
            rt.step(Op::new("dax_zero_iter").write(Object::data(inode)), |w| {
                w.touch(Object::data(inode), true);
                let sb = w.inodes[inode].sb;
                let fs = &mut w.sb_mut(sb).fs;
                fs.zero(task.0, to, n);
                fs.fence(task.0);
            });
        }
        at += n;
    }
    Ok(())
}

/// `dax_truncate_page`: zeroes from `pos` to the end of its page.
///
/// # Errors
/// Those of the file system.
pub fn dax_truncate_page<R: Runtime>(rt: &R, inode: InodeId, pos: u64) -> Result<()> {
    let rest = pos.next_multiple_of(PAGE_SIZE) - pos;
    if rest == 0 { Ok(()) } else { dax_zero_range(rt, inode, pos, rest) }
}
