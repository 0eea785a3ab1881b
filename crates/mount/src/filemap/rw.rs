//! Buffered reads and writes (`generic_file_read_iter`, `generic_perform_write`, Linux 6.12).

use daxkit_format::dax::Errno;

use super::fault::{dirty_folio, get_folio};
use crate::dax::iomap::iomap_begin;
use crate::fail::Result;
use crate::ids::{InodeId, PAGE_SHIFT, PAGE_SIZE};
use crate::op::{Object, Op};
use crate::runtime::Runtime;
use crate::world::objects::IState;

/// Reads from `pos`, at most to the end of the file.
///
/// # Errors
/// `EIO`.
pub fn buffered_read<R: Runtime>(rt: &R, inode: InodeId, pos: u64, buf: &mut [u8]) -> Result<usize> {
    let size = rt.step(Op::new("i_size_read").read(Object::size(inode)), |w| w.size(inode));
    let len = (buf.len() as u64).min(size.saturating_sub(pos)) as usize;
    let mut done = 0;
    while done < len {
        let at = pos + done as u64;
        let n = ((PAGE_SIZE - at % PAGE_SIZE) as usize).min(len - done);
        let folio = get_folio(rt, inode, at >> PAGE_SHIFT)?;
        let part = &mut buf[done..done + n];
        rt.step(Op::new("copy_page_to_iter").read(Object::data(inode)).write(Object::entries(inode)), |w| {
            w.touch(Object::data(inode), false);
            let from = (at % PAGE_SIZE) as usize;
            part.copy_from_slice(&w.folio_bytes[folio.0 as usize][from..from + n]);
            w.unlock_folio(folio);
            w.put_folio(folio);
        });
        done += n;
    }
    Ok(done)
}

/// Writes at `pos`. `i_rwsem` is held exclusively.
///
/// # Errors
/// `ENOSPC`, `EIO`, if nothing was written before.
pub fn buffered_write<R: Runtime>(rt: &R, inode: InodeId, pos: u64, data: &[u8]) -> Result<usize> {
    let mut done = 0;
    while done < data.len() {
        let at = pos + done as u64;
        let n = ((PAGE_SIZE - at % PAGE_SIZE) as usize).min(data.len() - done);
        // Space is taken now, so that write-back cannot fail for want of it.
        let step =
            iomap_begin(rt, inode, at >> PAGE_SHIFT, 1, true).and_then(|_| get_folio(rt, inode, at >> PAGE_SHIFT));
        let folio = match step {
            Ok(folio) => folio,
            Err(crate::fail::Fail::Errno(Errno::ENOSPC)) if done > 0 => break,
            Err(fail) => return Err(fail),
        };
        let part = &data[done..done + n];
        rt.step(Op::new("copy_page_from_iter").write(Object::data(inode)), |w| {
            w.touch(Object::data(inode), true);
            let to = (at % PAGE_SIZE) as usize;
            w.folio_bytes[folio.0 as usize][to..to + n].copy_from_slice(part);
        });
        dirty_folio(rt, inode, folio);
        done += n;
        let end = pos + done as u64;
        let op = Op::new("write_end")
            .write(Object::size(inode))
            .write(Object::attr(inode))
            .write(Object::life(inode))
            .write(Object::entries(inode));
        rt.step(op, |w| {
            w.touch(Object::size(inode), true);
            let now = w.now;
            let node = &mut w.inodes[inode];
            node.disk.size = node.disk.size.max(end);
            (node.disk.mtime, node.disk.ctime) = (now, now);
            node.state |= IState::DIRTY;
            w.unlock_folio(folio);
            w.put_folio(folio);
        });
    }
    Ok(done)
}
