//! `dax_writeback_mapping_range` (`fs/dax.c`, Linux 6.12): what the CPU cached of a file becomes durable.

use super::entry::{DaxEntry, PageEntry, label, with_unlocked_entry};
use crate::fail::Result;
use crate::fs::{FileSystem, Media};
use crate::ids::{InodeId, PAGE_SIZE, PTRS_PER_PMD};
use crate::mm::rmap::pfn_mkclean_range;
use crate::op::{Object, Op};
use crate::runtime::Runtime;
use crate::trace::Event;
use crate::xarray::Tag;
use daxkit_format::dax::Errno;

/// Writes back every dirty entry of pages `from ..= to`.
///
/// # Errors
/// `EIO` when the block size is not the page size.
pub fn dax_writeback_mapping_range<R: Runtime>(rt: &R, inode: InodeId, from: u64, to: u64) -> Result<()> {
    let task = rt.task();
    let block_size = rt.step(Op::new("i_blkbits"), |w| w.sb(w.inodes[inode].sb).fs.features().block_size);
    if u64::from(block_size) != PAGE_SIZE {
        return Err(Errno::EIO.into());
    }
    // tag_pages_for_writeback: what becomes dirty later is not ours, so this ends.
    rt.step(Op::new("tag_pages_for_writeback").write(Object::entries(inode)), |w| {
        w.touch(Object::entries(inode), true);
        w.trace.emit(task, Event::DaxWritebackRange { done: false, inode });
        let mut at = from;
        let mut pages = w.inodes[inode].pages;
        while let Some(found) = pages.next_tagged(&w.nodes, at, to, Some(Tag::Dirty)) {
            pages.set_tag(&mut w.nodes, found.index, Tag::ToWrite, true);
            at = found.index + (1 << found.order);
        }
        w.inodes[inode].pages = pages;
    });
    let mut at = from;
    loop {
        let next = rt.step(Op::new("find TOWRITE").read(Object::entries(inode)), |w| {
            w.touch(Object::entries(inode), false);
            w.inodes[inode].pages.next_tagged(&w.nodes, at, to, Some(Tag::ToWrite))
        });
        let Some(found) = next else { break };
        if let PageEntry::Dax(entry) = PageEntry::decode(found.value) {
            dax_writeback_one(rt, inode, found.index, entry);
        }
        at = found.index + (1 << found.order);
    }
    rt.step(Op::new("trace"), |w| w.trace.emit(task, Event::DaxWritebackRange { done: true, inode }));
    Ok(())
}

/// `dax_writeback_one`: lock, write-protect and clean every mapping, flush, and only then, in the step that unlocks, clear
/// `DIRTY`: a store in between faults, waits for the lock and makes the entry dirty again.
fn dax_writeback_one<R: Runtime>(rt: &R, inode: InodeId, index: u64, seen: DaxEntry) {
    let task = rt.task();
    let locked = with_unlocked_entry(rt, "dax_writeback_one lock", inode, index, |w, entry| {
        let entry = entry.filter(|entry| entry.pfn() == seen.pfn() && entry.is_real())?;
        let pages = &mut w.inodes[inode].pages;
        if !pages.tag(&w.nodes, index, Tag::ToWrite) {
            return None;
        }
        pages.set_tag(&mut w.nodes, index, Tag::ToWrite, false);
        w.set_page_entry(inode, index, PageEntry::Dax(entry.locked()));
        Some(entry)
    });
    let Some(entry) = locked else { return };
    let pages = if entry.is_pmd() { PTRS_PER_PMD } else { 1 };
    let first = index & !(pages - 1);
    pfn_mkclean_range(rt, inode, first, first + pages - 1);
    rt.step(Op::new("dax_flush").write(Object::ALL_DATA), |w| {
        w.touch(Object::ALL_DATA, true);
        let sb = w.inodes[inode].sb;
        let fs = &mut w.sb_mut(sb).fs;
        fs.write_back(task.0, entry.pfn() * PAGE_SIZE, pages * PAGE_SIZE);
        fs.fence(task.0);
    });
    let queue = crate::wait::QueueKey::dax_entry(inode, index, true).object();
    rt.step(Op::new("dax_writeback_one unlock").write(label(inode, index)).write(queue), |w| {
        w.unlock_entry(inode, index, entry);
        w.inodes[inode].pages.set_tag(&mut w.nodes, index, Tag::Dirty, false);
        w.trace.emit(task, Event::DaxWritebackOne { inode, pgoff: first, pages });
    });
}
