//! `dax_iomap_pte_fault` (`fs/dax.c`, Linux 6.12): one page, found, entered, mapped.

use super::entry::{DaxEntry, Grab, dax_unlock_entry, grab_mapping_entry};
use super::insert::{Insert, Put, dax_insert_entry, insert_pfn};
use super::iomap::{iomap_begin, iomap_dirty};
use crate::fail::{Fail, Result, VmFault};
use crate::fs::{Backing, Extent, Media};
use crate::ids::{PAGE_SHIFT, PAGE_SIZE};
use crate::mm::fault::Vmf;
use crate::mm::page_table::{Frame, Pte, Walk};
use crate::op::{Object, Op};
use crate::runtime::Runtime;
use crate::trace::Event;
use daxkit_format::dax::Errno;

/// `vmf_error` and `dax_fault_return`: the fault's answer to an errno.
pub(crate) fn vmf_error(fail: Fail) -> Result<VmFault> {
    match fail {
        Fail::Errno(Errno::ENOMEM) => Ok(VmFault::Oom),
        Fail::Errno(_) => Ok(VmFault::Sigbus),
        other => Err(other),
    }
}

fn traced<R: Runtime>(rt: &R, vmf: &Vmf, result: Option<VmFault>) {
    rt.step(Op::new("trace"), |w| {
        w.trace.emit(
            vmf.task,
            Event::DaxPteFault {
                done: result.is_some(),
                inode: vmf.inode,
                pgoff: vmf.pgoff,
                write: vmf.write,
                mkwrite: vmf.mkwrite,
                result,
            },
        );
    });
}

/// The fault. `vmf.shared_write()` decides whether blocks are allocated; a private write copies into `vmf.cow`.
///
/// # Errors
/// An oops only; everything else is a [`VmFault`].
#[inline]
pub fn dax_iomap_pte_fault<R: Runtime>(rt: &R, vmf: &mut Vmf) -> Result<VmFault> {
    if vmf.tracing {
        traced(rt, vmf, None);
    }
    let result = fault(rt, vmf)?;
    if vmf.tracing {
        traced(rt, vmf, Some(result));
    }
    Ok(result)
}

#[inline]
fn fault<R: Runtime>(rt: &R, vmf: &mut Vmf) -> Result<VmFault> {
    let (inode, index) = (vmf.inode, vmf.pgoff);
    let past = rt.step(Op::new("i_size_read").read(Object::size(inode)), |w| index << PAGE_SHIFT >= w.size(inode));
    if past {
        return Ok(VmFault::Sigbus);
    }
    let entry = match grab_mapping_entry(rt, inode, index, 0) {
        Grab::Locked(entry) => entry,
        Grab::Fallback => return Ok(VmFault::Fallback),
        Grab::Sigbus => return Ok(VmFault::Sigbus),
    };
    // A huge entry may have been put while this fault waited for the entry's lock.
    let page = vmf.address >> PAGE_SHIFT;
    let huge = rt.step(Op::new("pmd_trans_huge").read(Object::pte(vmf.mm, page)), |w| {
        w.touch(Object::pte(vmf.mm, page), false);
        matches!(w.tables.walk(vmf.mm, page), Walk::Huge(_))
    });
    let (result, entry) = if huge { (Ok(VmFault::NoPage), entry) } else { mapped(rt, vmf, entry) };
    dax_unlock_entry(rt, inode, index, entry);
    result
}

fn mapped<R: Runtime>(rt: &R, vmf: &mut Vmf, entry: DaxEntry) -> (Result<VmFault>, DaxEntry) {
    let write = vmf.write && vmf.shared;
    let extent = match iomap_begin(rt, vmf.inode, vmf.pgoff, 1, write) {
        Ok(extent) => extent,
        Err(fail) => return (vmf_error(fail), entry),
    };
    if vmf.cow.is_some() {
        return (cow(rt, vmf, &extent), entry);
    }
    match extent.backing {
        Backing::Hole | Backing::Unwritten(_) if !write => load_hole(rt, vmf, entry),
        Backing::Mapped(block) => insert(rt, vmf, entry, &extent, block),
        // A write was promised written blocks.
        Backing::Hole | Backing::Unwritten(_) => (Ok(VmFault::Sigbus), entry),
    }
}

/// `dax_fault_cow_page`: copies into the page that was prepared, and maps that.
fn cow<R: Runtime>(rt: &R, vmf: &Vmf, extent: &Extent) -> Result<VmFault> {
    let page = vmf.address >> PAGE_SHIFT;
    let (inode, folio) = (vmf.inode, vmf.cow);
    let op = Op::new("dax_fault_cow_page").read(Object::data(inode)).write(Object::pte(vmf.mm, page));
    rt.step(op, |w| {
        w.touch(Object::data(inode), false);
        w.touch(Object::pte(vmf.mm, page), true);
        let sb = w.inodes[inode].sb;
        let mut bytes = [0; PAGE_SIZE as usize];
        if let Backing::Mapped(block) = extent.backing
            && w.sb(sb).fs.load(block * PAGE_SIZE, &mut bytes).is_err()
        {
            return Ok(VmFault::HwPoison);
        }
        w.folio_bytes[folio.0 as usize] = bytes;
        w.folios[folio].uptodate = true;
        w.counters.cow += 1;
        if !matches!(w.tables.walk(vmf.mm, page), Walk::PmdNone | Walk::Pte(Pte::NONE)) {
            return Ok(VmFault::NoPage);
        }
        w.tables.set_pte(vmf.mm, page, Pte::new(Frame::folio(folio), false).made_writable());
        Ok(VmFault::DoneCow)
    })
}

/// `dax_load_hole`: a zero entry, and the shared zero page read-only.
fn load_hole<R: Runtime>(rt: &R, vmf: &Vmf, entry: DaxEntry) -> (Result<VmFault>, DaxEntry) {
    let insert = Insert { inode: vmf.inode, index: vmf.pgoff, dirty: false, copied: false, shared: false };
    let entry = dax_insert_entry(rt, insert, entry, DaxEntry::zero(false));
    if let Err(oops) = insert_pfn(rt, vmf, Frame::ZERO, Put::ReadOnly) {
        return (Err(oops), entry);
    }
    rt.step(Op::new("count"), |w| {
        w.counters.zero += 1;
        w.trace.emit(vmf.task, Event::DaxLoadHole { inode: vmf.inode, pgoff: vmf.pgoff });
    });
    (Ok(VmFault::NoPage), entry)
}

fn insert<R: Runtime>(
    rt: &R,
    vmf: &mut Vmf,
    entry: DaxEntry,
    extent: &Extent,
    block: u64,
) -> (Result<VmFault>, DaxEntry) {
    let inode = vmf.inode;
    let write = vmf.write && vmf.shared;
    let (poisoned, sb) = rt.step(Op::new("dax_direct_access").read(Object::data(inode)), |w| {
        w.touch(Object::data(inode), false);
        w.counters.pte += 1;
        let sb = w.inodes[inode].sb;
        (w.sb(sb).fs.is_poisoned(block * PAGE_SIZE, PAGE_SIZE), sb)
    });
    if poisoned {
        return (Ok(VmFault::HwPoison), entry);
    }
    let sync = write && vmf.sync && iomap_dirty(rt, inode, vmf.pgoff, 1);
    let told = Insert {
        inode,
        index: vmf.pgoff,
        dirty: write && !sync,
        copied: extent.shared && write,
        shared: extent.shared,
    };
    let entry = dax_insert_entry(rt, told, entry, DaxEntry::of_pfn(block, false));
    // A large entry stays when a small fault meets it: the page is then inside of it.
    let frame = if entry.is_pmd() {
        Frame::pmem(sb, entry.pfn() + vmf.pgoff % crate::ids::PTRS_PER_PMD)
    } else {
        Frame::pmem(sb, block)
    };
    if sync {
        vmf.sync_frame = frame;
        return (Ok(VmFault::NeedDsync), entry);
    }
    let put = if write { Put::Writable } else { Put::ReadOnly };
    if let Err(oops) = insert_pfn(rt, vmf, frame, put) {
        return (Err(oops), entry);
    }
    (Ok(if extent.new { VmFault::NoPageMajor } else { VmFault::NoPage }), entry)
}
