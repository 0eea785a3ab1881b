//! What the file systems put around the DAX fault: `ext4_dax_huge_fault` and `__xfs_filemap_fault` (Linux 6.12).

use super::entry::{PageEntry, label};
use super::insert::{Put, insert_pfn, insert_pfn_pmd};
use super::pmd::dax_iomap_pmd_fault;
use super::pte::dax_iomap_pte_fault;
use crate::fail::{Result, VmFault};
use crate::ids::{FileId, PMD_ORDER, PTRS_PER_PMD};
use crate::locks::{LockId, Mode, acquire, release};
use crate::mm::fault::Vmf;
use crate::op::{Object, Op};
use crate::runtime::Runtime;
use crate::trace::Event;
use crate::vfs::sync::vfs_fsync_range;
use crate::world::objects::IState;
use crate::xarray::Tag;

/// `dax_iomap_fault`.
#[inline]
fn dax_iomap_fault<R: Runtime>(rt: &R, vmf: &mut Vmf, order: u32) -> Result<VmFault> {
    if order == PMD_ORDER { dax_iomap_pmd_fault(rt, vmf) } else { dax_iomap_pte_fault(rt, vmf) }
}

/// `ext4_dax_huge_fault`, and its `fault` and `pfn_mkwrite`, which are the same with order 0.
///
/// # Errors
/// An oops only.
pub fn ext4_dax_huge_fault<R: Runtime>(rt: &R, vmf: &mut Vmf, order: u32) -> Result<VmFault> {
    let invalidate = LockId::invalidate(vmf.inode);
    if !(vmf.write && vmf.shared) {
        acquire(rt, invalidate, Mode::Shared);
        let result = dax_iomap_fault(rt, vmf, order)?;
        release(rt, invalidate);
        return Ok(result);
    }
    let (pagefault, journal) = (LockId::sb_pagefault(vmf.sb), LockId::journal(vmf.sb));
    acquire(rt, pagefault, Mode::Shared);
    file_update_time(rt, vmf);
    acquire(rt, invalidate, Mode::Shared);
    acquire(rt, journal, Mode::Shared);
    let mut result = dax_iomap_fault(rt, vmf, order)?;
    release(rt, journal);
    if result == VmFault::NeedDsync {
        result = dax_finish_sync_fault(rt, vmf, order)?;
    }
    release(rt, invalidate);
    release(rt, pagefault);
    Ok(result)
}

/// `xfs_dax_fault_locked` with what calls it: the lock, and for a write the freeze reference.
///
/// # Errors
/// An oops only.
pub fn xfs_dax_fault<R: Runtime>(rt: &R, vmf: &mut Vmf, order: u32) -> Result<VmFault> {
    let invalidate = LockId::invalidate(vmf.inode);
    let write = vmf.write && vmf.shared;
    let pagefault = LockId::sb_pagefault(vmf.sb);
    if write {
        acquire(rt, pagefault, Mode::Shared);
        file_update_time(rt, vmf);
    }
    acquire(rt, invalidate, Mode::Shared);
    let mut result = dax_iomap_fault(rt, vmf, order)?;
    if result == VmFault::NeedDsync {
        result = dax_finish_sync_fault(rt, vmf, order)?;
    }
    release(rt, invalidate);
    if write {
        release(rt, pagefault);
    }
    Ok(result)
}

/// `file_update_time`.
pub(crate) fn file_update_time<R: Runtime>(rt: &R, vmf: &Vmf) {
    let inode = vmf.inode;
    rt.step(Op::new("file_update_time").write(Object::attr(inode)).write(Object::life(inode)), |w| {
        w.touch(Object::attr(inode), true);
        let now = w.now;
        let node = &mut w.inodes[inode];
        if node.disk.mtime != now || node.disk.ctime != now {
            (node.disk.mtime, node.disk.ctime) = (now, now);
            node.state |= IState::DIRTY;
        }
    });
}

/// `dax_finish_sync_fault`: the metadata becomes durable, then the page is mapped, unless the entry has changed.
fn dax_finish_sync_fault<R: Runtime>(rt: &R, vmf: &Vmf, order: u32) -> Result<VmFault> {
    let pages = 1u64 << order;
    let first = vmf.pgoff & !(pages - 1);
    // No file is told here of what was lost.
    if vfs_fsync_range(rt, FileId::NONE, vmf.inode, first, first + pages - 1, true).is_err() {
        return Ok(VmFault::Sigbus);
    }
    dax_insert_pfn_mkwrite(rt, vmf, order)
}

/// `dax_insert_pfn_mkwrite`.
fn dax_insert_pfn_mkwrite<R: Runtime>(rt: &R, vmf: &Vmf, order: u32) -> Result<VmFault> {
    let (inode, index) = (vmf.inode, vmf.pgoff);
    let locked = super::entry::with_unlocked_entry(rt, "dax_insert_pfn_mkwrite", inode, index, |w, entry| {
        let entry = entry.filter(|entry| entry.order() == order && entry.is_real())?;
        w.set_page_entry(inode, index, PageEntry::Dax(entry.locked()));
        w.inodes[inode].pages.set_tag(&mut w.nodes, index, Tag::Dirty, true);
        Some(entry)
    });
    let no_entry = locked.is_none();
    rt.step(Op::new("trace").read(label(inode, index)), |w| {
        w.trace.emit(vmf.task, Event::DaxInsertPfnMkwrite { inode, pgoff: index, no_entry });
    });
    let Some(entry) = locked else { return Ok(VmFault::NoPage) };
    rt.step(Op::new("__mark_inode_dirty").write(Object::life(inode)), |w| {
        w.inodes[inode].state |= IState::DIRTY_PAGES;
    });
    let result = if order == PMD_ORDER {
        debug_assert_eq!(vmf.sync_frame.key() % PTRS_PER_PMD, 0, "a huge frame starts at 2 MiB");
        insert_pfn_pmd(rt, vmf, vmf.sync_frame, Put::Writable);
        VmFault::NoPage
    } else {
        insert_pfn(rt, vmf, vmf.sync_frame, Put::Writable)?;
        VmFault::NoPage
    };
    super::entry::dax_unlock_entry(rt, inode, index, entry);
    Ok(result)
}
