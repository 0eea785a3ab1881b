//! Write-back of the page cache: `a_ops->writepages`, folio by folio.

use super::fault::lock_folio;
use crate::dax::entry::PageEntry;
use crate::dax::iomap::iomap_begin;
use crate::fail::{Fail, Result};
use crate::fs::{Backing, Media};
use crate::ids::{InodeId, PAGE_SIZE};
use crate::mm::rmap::pfn_mkclean_range;
use crate::op::{Object, Op};
use crate::runtime::Runtime;
use crate::xarray::Tag;

/// `filemap_write_and_wait_range` of the page cache: pages `from ..= to`.
///
/// # Errors
/// Those of the file system.
pub fn filemap_write_and_wait<R: Runtime>(rt: &R, inode: InodeId, from: u64, to: u64) -> Result<()> {
    let task = rt.task();
    let mut at = from;
    loop {
        let next = rt.step(Op::new("find dirty").write(Object::entries(inode)), |w| {
            w.touch(Object::entries(inode), false);
            let found = w.inodes[inode].pages.next_tagged(&w.nodes, at, to, Some(Tag::Dirty))?;
            let folio = match PageEntry::decode(found.value) {
                PageEntry::Folio(folio) => {
                    w.folios[folio].refs += 1;
                    Some(folio)
                }
                PageEntry::Dax(_) => None,
            };
            Some((found, folio))
        });
        let Some((found, folio)) = next else { return Ok(()) };
        at = found.index + (1 << found.order);
        let Some(folio) = folio else { continue };
        if lock_folio(rt, inode, folio) {
            // folio_clear_dirty_for_io: write-protected first, so that a later store is noticed.
            pfn_mkclean_range(rt, inode, found.index, found.index);
            let extent = match iomap_begin(rt, inode, found.index, 1, true) {
                Ok(extent) => extent,
                Err(fail) => {
                    if fail != Fail::Oops {
                        rt.step(Op::new("unlock_page").write(Object::entries(inode)), |w| {
                            w.unlock_folio(folio);
                            w.put_folio(folio);
                        });
                    }
                    return Err(fail);
                }
            };
            let op = Op::new("submit_bio write").write(Object::data(inode)).write(Object::entries(inode));
            rt.step(op, |w| {
                w.touch(Object::data(inode), true);
                w.folios[folio].dirty = false;
                w.inodes[inode].pages.set_tag(&mut w.nodes, found.index, Tag::Dirty, false);
                if let Backing::Mapped(block) = extent.backing {
                    let bytes = w.folio_bytes[folio.0 as usize];
                    let sb = w.inodes[inode].sb;
                    let fs = &mut w.sb_mut(sb).fs;
                    fs.store_nt(task.0, block * PAGE_SIZE, &bytes);
                    fs.fence(task.0);
                }
                w.unlock_folio(folio);
            });
        }
        rt.step(Op::new("put_page").write(Object::entries(inode)), |w| w.put_folio(folio));
    }
}
