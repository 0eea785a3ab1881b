//! Write-back of the page cache: `a_ops->writepages`, folio by folio.

use super::fault::lock_folio;
use crate::dax::entry::PageEntry;
use crate::dax::iomap::iomap_begin;
use crate::fail::{Fail, Result};
use crate::fs::{Backing, Media};
use crate::ids::{FileId, FolioId, InodeId, PAGE_SHIFT, PAGE_SIZE};
use crate::mm::rmap::pfn_mkclean_range;
use crate::op::{Object, Op};
use crate::runtime::Runtime;
use crate::world::World;
use crate::xarray::Tag;
use daxkit_format::dax::Errno;

/// `filemap_write_and_wait_range` of the page cache: pages `from ..= to`. Whoever waits first is told of data that were lost before.
///
/// # Errors
/// Those of the file system; `EIO`.
pub fn filemap_write_and_wait<R: Runtime>(rt: &R, inode: InodeId, from: u64, to: u64) -> Result<()> {
    write_pages(
        rt,
        inode,
        from,
        to,
        |w| if std::mem::take(&mut w.inodes[inode].as_eio) { Err(Errno::EIO) } else { Ok(()) },
    )
}

/// The same for who has no use for an error that is somebody else's (`filemap_fdatawait_keep_errors`).
///
/// # Errors
/// Those of the file system.
pub fn filemap_write_and_keep_errors<R: Runtime>(rt: &R, inode: InodeId, from: u64, to: u64) -> Result<()> {
    write_pages(rt, inode, from, to, |_| Ok(()))
}

/// `file_write_and_wait_range`: each open file is told once, if there is one.
///
/// # Errors
/// Those of the file system; `EIO`.
pub fn file_write_and_wait<R: Runtime>(rt: &R, file: FileId, inode: InodeId, from: u64, to: u64) -> Result<()> {
    write_pages(rt, inode, from, to, |w| if file.is_some() { w.check_and_advance_wb_err(file, inode) } else { Ok(()) })
}

/// Writes what is dirty of pages `from ..= to`; `errors` looks, when nothing is, for what was lost before.
fn write_pages<R: Runtime>(
    rt: &R,
    inode: InodeId,
    from: u64,
    to: u64,
    mut errors: impl FnMut(&mut World<R::Fs>) -> std::result::Result<(), Errno>,
) -> Result<()> {
    let mut at = from;
    loop {
        let next = rt.step(Op::new("find dirty").write(Object::entries(inode)), |w| {
            w.touch(Object::entries(inode), false);
            let Some(found) = w.inodes[inode].pages.next_tagged(&w.nodes, at, to, Some(Tag::Dirty)) else {
                return errors(w).map(|()| None);
            };
            let folio = match PageEntry::decode(found.value) {
                PageEntry::Folio(folio) => {
                    w.folios[folio].refs += 1;
                    Some(folio)
                }
                PageEntry::Dax(_) => None,
            };
            Ok(Some((found, folio)))
        })?;
        let Some((found, folio)) = next else { return Ok(()) };
        at = found.index + (1 << found.order);
        let Some(folio) = folio else { continue };
        if lock_folio(rt, inode, folio) {
            let written = write_folio(rt, inode, folio, found.index);
            if let Err(fail) = written {
                if fail == Fail::Oops {
                    return Err(fail);
                }
                // It stays dirty (`folio_redirty_for_writepage`), and nobody waits for it.
                rt.step(Op::new("folio_end_writeback").write(Object::entries(inode)), |w| {
                    w.unlock_folio(folio);
                    w.put_folio(folio);
                });
                return Err(fail);
            }
        }
        rt.step(Op::new("put_page").write(Object::entries(inode)), |w| w.put_folio(folio));
    }
}

/// Writes a locked folio and unlocks it. On an error it is locked still.
fn write_folio<R: Runtime>(rt: &R, inode: InodeId, folio: FolioId, index: u64) -> Result<()> {
    let task = rt.task();
    // folio_clear_dirty_for_io: write-protected first, so that a later store is noticed.
    pfn_mkclean_range(rt, inode, index, index);
    let size = rt.step(Op::new("i_size_read").read(Object::size(inode)), |w| w.size(inode));
    let inside = size.saturating_sub(index << PAGE_SHIFT).min(PAGE_SIZE) as usize;
    // What lies wholly behind the end gets no blocks: it is on its way out (`mpage_prepare_extent_to_map`).
    let backing = if inside == 0 { Backing::Hole } else { iomap_begin(rt, inode, index, 1, true)?.backing };
    let op = Op::new("submit_bio write").write(Object::data(inode)).write(Object::entries(inode));
    rt.step(op, |w| {
        w.touch(Object::data(inode), true);
        w.folios[folio].dirty = false;
        w.inodes[inode].pages.set_tag(&mut w.nodes, index, Tag::Dirty, false);
        if let Backing::Mapped(block) = backing {
            // What a mapping stored behind the end does not get onto the device (`ext4_bio_write_folio`).
            w.folio_bytes[folio.0 as usize][inside..].fill(0);
            let bytes = w.folio_bytes[folio.0 as usize];
            let sb = w.inodes[inode].sb;
            let fs = &mut w.sb_mut(sb).fs;
            fs.store_nt(task.0, block * PAGE_SIZE, &bytes);
            fs.fence(task.0);
        }
        w.unlock_folio(folio);
    });
    Ok(())
}
