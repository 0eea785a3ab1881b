//! `FALLOC_FL_UNSHARE_RANGE`: a file gets blocks of its own for what it shares (`xfs_reflink_unshare`, `dax_file_unshare`,
//! `iomap_file_unshare`, Linux 6.12).

use crate::dax::iomap::iomap_begin;
use crate::dax::rw::{dax_read, dax_write};
use crate::fail::Result;
use crate::filemap::fault::{dirty_folio, get_folio};
use crate::filemap::writeback::filemap_write_and_wait;
use crate::fs::FileSystem;
use crate::ids::{InodeId, PAGE_SHIFT, PAGE_SIZE};
use crate::op::{Object, Op};
use crate::runtime::Runtime;

/// Copies what bytes `from .. to` share, as far as the file goes. `i_rwsem` and `invalidate_lock` are held exclusively.
///
/// # Errors
/// `ENOSPC`, `EIO`: what was copied before stays copied.
pub(super) fn unshare<R: Runtime>(rt: &R, inode: InodeId, from: u64, to: u64) -> Result<()> {
    let size = rt.step(Op::new("i_size_read").read(Object::size(inode)), |w| w.size(inode));
    let dax = rt.step(Op::new("IS_DAX").read(Object::s_dax(inode)), |w| w.is_dax(inode));
    let (first, last) = (from >> PAGE_SHIFT, to.min(size).div_ceil(PAGE_SIZE));
    let mut at = first;
    while at < last {
        let extent = iomap_begin(rt, inode, at, last - at, false)?;
        if extent.shared {
            for index in at..at + extent.len {
                copy_page(rt, inode, index, size, dax)?;
            }
        }
        at += extent.len;
    }
    if first < last && !dax {
        // The copies are made by write-back.
        filemap_write_and_wait(rt, inode, first, last - 1)?;
    }
    rt.step(Op::new("xfs_reflink_try_clear_inode_flag").write(Object::WORLD), |w| {
        let (sb, ino) = (w.inodes[inode].sb, w.inodes[inode].ino);
        w.sb_mut(sb).fs.forget_shared(ino);
    });
    Ok(())
}

fn copy_page<R: Runtime>(rt: &R, inode: InodeId, index: u64, size: u64, dax: bool) -> Result<()> {
    if !dax {
        let folio = get_folio(rt, inode, index)?;
        dirty_folio(rt, inode, folio);
        rt.step(Op::new("unlock_page").write(Object::entries(inode)), |w| {
            w.unlock_folio(folio);
            w.put_folio(folio);
        });
        return Ok(());
    }
    let pos = index << PAGE_SHIFT;
    let mut bytes = [0; PAGE_SIZE as usize];
    let part = &mut bytes[..(size - pos).min(PAGE_SIZE) as usize];
    let n = dax_read(rt, inode, pos, part)?;
    dax_write(rt, inode, pos, &part[..n])?;
    Ok(())
}
