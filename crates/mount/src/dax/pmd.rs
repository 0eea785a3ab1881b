//! `dax_iomap_pmd_fault` (`fs/dax.c`, Linux 6.12): 2 MiB at once, or a reason why not.

use super::entry::{DaxEntry, Grab, dax_unlock_entry, grab_mapping_entry};
use super::insert::{Insert, Put, dax_insert_entry, forget_entry, insert_pfn_pmd};
use super::iomap::{iomap_begin, iomap_dirty};
use crate::fail::{Fail, Result, VmFault};
use crate::fs::{Backing, Media};
use crate::ids::{PAGE_SHIFT, PAGE_SIZE, PMD_ORDER, PMD_SIZE, PTRS_PER_PMD};
use crate::mm::fault::Vmf;
use crate::mm::page_table::{Frame, Walk};
use crate::op::{Object, Op};
use crate::runtime::Runtime;
use crate::trace::Event;
use crate::world::counters::FallbackReason as Why;

fn traced<R: Runtime>(rt: &R, vmf: &Vmf, result: Option<VmFault>) {
    rt.step(Op::new("trace"), |w| {
        let done = result.is_some();
        let event = Event::DaxPmdFault { done, inode: vmf.inode, pgoff: vmf.pgoff, write: vmf.write, result };
        w.trace.emit(vmf.task, event);
    });
}

/// The fault. [`VmFault::Fallback`] sends the core to a fault of 4 KiB; why is counted.
///
/// # Errors
/// An oops only.
pub fn dax_iomap_pmd_fault<R: Runtime>(rt: &R, vmf: &mut Vmf) -> Result<VmFault> {
    if vmf.tracing {
        traced(rt, vmf, None);
    }
    let result = match fault(rt, vmf) {
        Ok(Ok(done)) => done,
        Ok(Err(why)) => {
            // What the huge fault leaves of a huge entry is split, and the small one tries.
            rt.step(Op::new("split_huge_pmd").write(Object::ptes(vmf.mm)), |w| {
                w.touch(Object::ptes(vmf.mm), true);
                w.counters.fallback[why as usize] += 1;
                w.tables.split(vmf.mm, vmf.address >> PAGE_SHIFT);
            });
            VmFault::Fallback
        }
        Err(fail) => return Err(fail),
    };
    if vmf.tracing {
        traced(rt, vmf, Some(result));
    }
    Ok(result)
}

/// `dax_fault_check_fallback`.
fn check<R: Runtime>(rt: &R, vmf: &Vmf, pages: u64) -> std::result::Result<(), Why> {
    let first = vmf.address & !(PMD_SIZE - 1);
    if (vmf.pgoff ^ vmf.address >> PAGE_SHIFT) & (PTRS_PER_PMD - 1) != 0 {
        return Err(Why::Colour);
    }
    if vmf.write && !vmf.shared {
        return Err(Why::PrivateWrite);
    }
    let vma = rt.step(Op::new("vma").read(Object::vma(vmf.vma)), |w| w.vmas[vmf.vma]);
    if first < vma.start || first + PMD_SIZE > vma.end {
        return Err(Why::OutsideVma);
    }
    if (vmf.pgoff | (PTRS_PER_PMD - 1)) >= pages {
        return Err(Why::EndOfFile);
    }
    Ok(())
}

fn fault<R: Runtime>(rt: &R, vmf: &mut Vmf) -> Result<std::result::Result<VmFault, Why>> {
    let (inode, index) = (vmf.inode, vmf.pgoff & !(PTRS_PER_PMD - 1));
    let size = rt.step(Op::new("i_size_read").read(Object::size(inode)), |w| w.size(inode));
    let pages = size.div_ceil(PAGE_SIZE);
    if vmf.pgoff >= pages {
        return Ok(Ok(VmFault::Sigbus));
    }
    if let Err(why) = check(rt, vmf, pages) {
        return Ok(Err(why));
    }
    let entry = match grab_mapping_entry(rt, inode, index, PMD_ORDER) {
        Grab::Locked(entry) => entry,
        Grab::Fallback => return Ok(Err(Why::SmallEntry)),
        Grab::Sigbus => return Ok(Ok(VmFault::Sigbus)),
    };
    let page = vmf.address >> PAGE_SHIFT;
    let table = rt.step(Op::new("pmd_none").read(Object::ptes(vmf.mm)), |w| {
        w.touch(Object::ptes(vmf.mm), false);
        matches!(w.tables.walk(vmf.mm, page), Walk::Pte(_))
    });
    // A racing small fault has put a table: the access is tried again.
    let (result, entry) = if table { (Ok(Ok(VmFault::Done)), entry) } else { mapped(rt, vmf, index, entry) };
    dax_unlock_entry(rt, inode, index, entry);
    result
}

type Mapped = (Result<std::result::Result<VmFault, Why>>, DaxEntry);

fn mapped<R: Runtime>(rt: &R, vmf: &mut Vmf, index: u64, entry: DaxEntry) -> Mapped {
    let write = vmf.write && vmf.shared;
    let inode = vmf.inode;
    let extent = match iomap_begin(rt, inode, index, PTRS_PER_PMD, write) {
        Ok(extent) => extent,
        Err(Fail::Oops) => return (Err(Fail::Oops), entry),
        Err(_) => return (Ok(Err(Why::MapError)), entry),
    };
    // Copies that no entry of 2 MiB can show are for small faults to map.
    let fall_back = |why| {
        let entry = if extent.shared && write { forget_entry(rt, inode, index, entry) } else { entry };
        (Ok(Err(why)), entry)
    };
    if extent.len < PTRS_PER_PMD {
        return fall_back(Why::ShortExtent);
    }
    let block = match extent.backing {
        Backing::Mapped(block) => block,
        _ if write => return (Ok(Err(Why::NotMapped)), entry),
        _ => return load_hole(rt, vmf, index, entry),
    };
    if block % PTRS_PER_PMD != 0 {
        return fall_back(Why::UnalignedPfn);
    }
    let (whole, sb) = rt.step(Op::new("dax_direct_access").read(Object::data(inode)), |w| {
        w.touch(Object::data(inode), false);
        let sb = w.inodes[inode].sb;
        let fs = &w.sb(sb).fs;
        (block + PTRS_PER_PMD <= fs.pages() && !fs.is_poisoned(block * PAGE_SIZE, PMD_SIZE), sb)
    });
    if !whole {
        return fall_back(Why::NotContiguous);
    }
    let sync = write && vmf.sync && iomap_dirty(rt, inode, index, PTRS_PER_PMD);
    let told = Insert { inode, index, dirty: write && !sync, copied: extent.shared && write, shared: extent.shared };
    let entry = dax_insert_entry(rt, told, entry, DaxEntry::of_pfn(block, true));
    let frame = Frame::pmem(sb, block);
    if sync {
        vmf.sync_frame = frame;
        return (Ok(Ok(VmFault::NeedDsync)), entry);
    }
    if !insert_pfn_pmd(rt, vmf, frame, if write { Put::Writable } else { Put::ReadOnly }) {
        return (Ok(Ok(VmFault::NoPage)), entry);
    }
    rt.step(Op::new("count"), |w| w.counters.pmd += 1);
    (Ok(Ok(if extent.new { VmFault::NoPageMajor } else { VmFault::NoPage })), entry)
}

/// `dax_pmd_load_hole`: the huge zero page.
fn load_hole<R: Runtime>(rt: &R, vmf: &Vmf, index: u64, entry: DaxEntry) -> Mapped {
    let told = Insert { inode: vmf.inode, index, dirty: false, copied: false, shared: false };
    let entry = dax_insert_entry(rt, told, entry, DaxEntry::zero(true));
    let page = vmf.address >> PAGE_SHIFT;
    let none = rt.step(Op::new("pmd_none").read(Object::ptes(vmf.mm)), |w| {
        w.touch(Object::ptes(vmf.mm), false);
        matches!(w.tables.walk(vmf.mm, page), Walk::PmdNone)
    });
    let put = none && insert_pfn_pmd(rt, vmf, Frame::HUGE_ZERO, Put::ReadOnly);
    rt.step(Op::new("count"), |w| {
        w.counters.zero += u64::from(put);
        w.trace.emit(vmf.task, Event::DaxPmdLoadHole { inode: vmf.inode, pgoff: index, fallback: !put });
    });
    (Ok(if put { Ok(VmFault::NoPage) } else { Err(Why::LostRace) }), entry)
}
