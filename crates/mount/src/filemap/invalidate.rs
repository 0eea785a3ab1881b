//! Taking pages out of a mapping (`mm/truncate.c`, Linux 6.12): what an entry is decides how, and `IS_DAX` *now* decides
//! what a value entry is taken for.

use daxkit_format::dax::Errno;

use super::fault::lock_folio;
use crate::dax::entry::{PageEntry, dax_delete_mapping_entry, dax_invalidate_entry, label};
use crate::fail::Result;
use crate::ids::{InodeId, PAGE_SHIFT, PAGE_SIZE};
use crate::mm::rmap::unmap_mapping_range;
use crate::op::{Object, Op};
use crate::runtime::Runtime;
use crate::xarray::Found;

fn next<R: Runtime>(rt: &R, inode: InodeId, at: u64, to: u64) -> Option<Found> {
    rt.step(Op::new("find_lock_entries").read(Object::entries(inode)), |w| {
        w.touch(Object::entries(inode), false);
        w.inodes[inode].pages.first_in(&w.nodes, at, to)
    })
}

/// `truncate_inode_pages_range`: drops pages `from ..= to`, dirty or not.
pub fn truncate_inode_pages_range<R: Runtime>(rt: &R, inode: InodeId, from: u64, to: u64) {
    let task = rt.task();
    let mut at = from;
    while let Some(found) = next(rt, inode, at, to) {
        at = found.index + (1 << found.order);
        match PageEntry::decode(found.value) {
            PageEntry::Dax(_) => {
                let dax = rt.step(Op::new("dax_mapping").read(Object::s_dax(inode)), |w| w.is_dax(inode));
                if dax {
                    dax_delete_mapping_entry(rt, inode, found.index);
                } else {
                    // Taken for a shadow entry: it goes, and nrpages is not told.
                    rt.step(Op::new("clear_shadow_entry").write(label(inode, found.index)), |w| {
                        w.touch(label(inode, found.index), true);
                        let node = &mut w.inodes[inode];
                        node.pages.erase(&mut w.nodes, found.index);
                    });
                }
            }
            PageEntry::Folio(folio) => {
                rt.step(Op::new("get_page").write(Object::entries(inode)), |w| w.folios[folio].refs += 1);
                if lock_folio(rt, inode, folio) {
                    unmap_mapping_range(rt, inode, found.index, found.index, false);
                    rt.step(Op::new("truncate_inode_folio").write(Object::entries(inode)), |w| {
                        w.remove_folio(task, folio);
                        w.unlock_folio(folio);
                    });
                }
                rt.step(Op::new("put_page").write(Object::entries(inode)), |w| w.put_folio(folio));
            }
        }
    }
}

/// `truncate_pagecache`: what is past the new size is unmapped before it is dropped, private copies as well, and unmapped once more after.
pub fn truncate_pagecache<R: Runtime>(rt: &R, inode: InodeId, new_size: u64) {
    let first = new_size.div_ceil(PAGE_SIZE);
    unmap_mapping_range(rt, inode, first, u64::MAX, true);
    truncate_inode_pages_range(rt, inode, first, u64::MAX >> PAGE_SHIFT);
    unmap_mapping_range(rt, inode, first, u64::MAX, true);
}

/// `truncate_pagecache_range`, for holes: private copies stay.
pub fn truncate_pagecache_range<R: Runtime>(rt: &R, inode: InodeId, first: u64, last: u64) {
    unmap_mapping_range(rt, inode, first, last, false);
    truncate_inode_pages_range(rt, inode, first, last);
}

/// `invalidate_inode_pages2_range`: drops clean pages `from ..= to`. DAX entries go before the mappings, because a fault could put an
/// entry back in between.
///
/// # Errors
/// `EBUSY` when something dirty stays.
pub fn invalidate_inode_pages2_range<R: Runtime>(rt: &R, inode: InodeId, from: u64, to: u64) -> Result<()> {
    let task = rt.task();
    let mut busy = false;
    let mut values = false;
    let mut at = from;
    while let Some(found) = next(rt, inode, at, to) {
        at = found.index + (1 << found.order);
        match PageEntry::decode(found.value) {
            PageEntry::Dax(_) => {
                values = true;
                busy |= !dax_invalidate_entry(rt, inode, found.index, false);
            }
            PageEntry::Folio(folio) => {
                rt.step(Op::new("get_page").write(Object::entries(inode)), |w| w.folios[folio].refs += 1);
                if lock_folio(rt, inode, folio) {
                    unmap_mapping_range(rt, inode, found.index, found.index, false);
                    busy |= rt.step(Op::new("invalidate_complete_folio2").write(Object::entries(inode)), |w| {
                        let dirty = w.folios[folio].dirty;
                        if !dirty {
                            w.remove_folio(task, folio);
                        }
                        w.unlock_folio(folio);
                        dirty
                    });
                }
                rt.step(Op::new("put_page").write(Object::entries(inode)), |w| w.put_folio(folio));
            }
        }
    }
    if values {
        unmap_mapping_range(rt, inode, from, to, false);
    }
    if busy { Err(Errno::EBUSY.into()) } else { Ok(()) }
}

/// `invalidate_mapping_pages`: of pages `from ..= to` clean, unmapped, unlocked folios go; DAX entries never do.
pub fn invalidate_mapping_pages<R: Runtime>(rt: &R, inode: InodeId, from: u64, to: u64) {
    let task = rt.task();
    let mut at = from;
    while let Some(found) = next(rt, inode, at, to) {
        at = found.index + (1 << found.order);
        if let PageEntry::Folio(folio) = PageEntry::decode(found.value) {
            rt.step(Op::new("mapping_evict_folio").write(Object::entries(inode)), |w| {
                let state = w.folios[folio];
                if state.inode == inode && !state.dirty && !state.locked && state.refs == 1 {
                    w.remove_folio(task, folio);
                }
            });
        }
    }
}
