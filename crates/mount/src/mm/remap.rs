//! `mremap` (`mm/mremap.c`, Linux 6.12).

use daxkit_format::dax::Errno;

use super::mmap::{carve, find_vma, link, munmap, overlaps, range, unlink};
use crate::fail::Result;
use crate::fs::FileSystem;
use crate::ids::{MmId, PAGE_SHIFT, PMD_SIZE};
use crate::locks::{LockId, Mode, with_lock};
use crate::mm::page_table::Pte;
use crate::op::{Object, Op};
use crate::runtime::Runtime;
use crate::world::World;

/// Makes a mapping longer or shorter; moves it if it has to and may.
///
/// # Errors
/// `EINVAL`, `EFAULT` (not one mapping), `ENOMEM` (it may not move).
pub fn mremap<R: Runtime>(rt: &R, old: u64, old_len: u64, new_len: u64, may_move: bool) -> Result<u64> {
    let task = rt.task();
    let (start, end) = range(old, old_len)?;
    let (_, new_end) = range(old, new_len)?;
    if new_end == start {
        return Err(Errno::EINVAL.into());
    }
    let mm = rt.step(Op::new("mm"), |w| w.tasks.mm(task));
    let op = Op::new("vma_lookup").read(Object::vmas(mm));
    let Some(shared) = rt.step(op, |w| find_vma(w, mm, start).map(|vma| w.vmas[vma].shared())) else {
        return Err(Errno::EFAULT.into());
    };
    if end == start {
        // Of nothing there can be another mapping elsewhere, and only a shared one.
        return Err(if shared { Errno::ENOMEM } else { Errno::EINVAL }.into());
    }
    if new_end <= end {
        if new_end < end {
            munmap(rt, new_end, end - new_end)?;
        }
        return Ok(old);
    }
    with_lock(rt, LockId::mmap(mm), Mode::Exclusive, || {
        rt.step(Op::world("mremap"), |w| {
            let id = find_vma(w, mm, start).ok_or(Errno::EFAULT)?;
            if w.vmas[id].end < end {
                return Err(Errno::EFAULT.into());
            }
            let len = new_end - start;
            if w.vmas[id].end == end && !overlaps(w, mm, end, new_end) {
                w.vmas[id].end = new_end;
                w.mms[mm].next_address = w.mms[mm].next_address.max(new_end.next_multiple_of(PMD_SIZE) + PMD_SIZE);
                return Ok(old);
            }
            if !may_move {
                return Err(Errno::ENOMEM.into());
            }
            carve(w, mm, start, end);
            let id = find_vma(w, mm, start).ok_or(Errno::EFAULT)?;
            let to = w.mms[mm].next_address + start % PMD_SIZE;
            w.mms[mm].next_address = (to + len).next_multiple_of(PMD_SIZE) + PMD_SIZE;
            unlink(w, id);
            move_entries(w, mm, start >> PAGE_SHIFT, end >> PAGE_SHIFT, to >> PAGE_SHIFT);
            (w.vmas[id].start, w.vmas[id].end) = (to, to + len);
            link(w, id);
            Ok(to)
        })
    })
}

/// `move_page_tables`: entries of 4 KiB move; huge ones are split and fault in again.
fn move_entries<F: FileSystem>(w: &mut World<F>, mm: MmId, from: u64, to: u64, new: u64) {
    let mut at = from;
    while let Some((page, huge, pte)) = w.tables.next_present(mm, at, to) {
        if huge {
            w.tables.split(mm, page);
            at = page + crate::ids::PTRS_PER_PMD;
            continue;
        }
        w.tables.set_pte(mm, page, Pte::NONE);
        w.tables.set_pte(mm, new + (page - from), pte);
        at = page + 1;
    }
}
