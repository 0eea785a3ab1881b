//! Address spaces of tasks that begin and end: `fork`, `exit_mm` (`kernel/fork.c`, `mm/mmap.c`, Linux 6.12).

use super::mmap::{link, mm_alloc, remove_vma};
use crate::fail::Result;
use crate::fs::FileSystem;
use crate::ids::{MmId, PAGE_SHIFT, TaskId, VmaId};
use crate::locks::{LockId, Mode, with_lock};
use crate::mm::page_table::{Frame, FrameKind, Pte};
use crate::op::{Object, Op};
use crate::runtime::Runtime;
use crate::world::World;
use crate::world::objects::{VmFlags, Vma};

/// A child with a copy of the address space. Entries of shared file mappings are not copied, they fault in again; private
/// pages are shared read-only until one side writes.
///
/// # Errors
/// `ENOMEM`.
pub fn fork<R: Runtime>(rt: &R) -> Result<TaskId> {
    let task = rt.task();
    let mm = rt.step(Op::new("mm"), |w| w.tasks.mm(task));
    with_lock(rt, LockId::mmap(mm), Mode::Exclusive, || {
        Ok(rt.step(Op::world("dup_mmap"), |w| {
            let child = mm_alloc(w);
            w.mms[child].next_address = w.mms[mm].next_address;
            let cred = w.tasks.cred(task);
            let new = w.tasks.spawn(cred, child);
            let mut at = w.mms[mm].vmas;
            while let Some(id) = at.some() {
                let vma = w.vmas[id];
                at = vma.next_of_mm;
                if vma.flags.contains(VmFlags::DONTCOPY) {
                    continue;
                }
                let copy = w.vmas.insert(Vma { mm: child, next_of_inode: VmaId::NONE, ..vma });
                link(w, copy);
                if vma.file.is_some() {
                    w.files[vma.file].refs += 1;
                }
                w.vma_link_file(copy);
                copy_private(w, &vma, child);
            }
            new
        }))
    })
}

fn copy_private<F: FileSystem>(w: &mut World<F>, vma: &Vma, child: MmId) {
    let (mut at, to) = (vma.start >> PAGE_SHIFT, vma.end >> PAGE_SHIFT);
    while let Some((page, huge, pte)) = w.tables.next_present(vma.mm, at, to) {
        at = if huge { page + crate::ids::PTRS_PER_PMD } else { page + 1 };
        if pte.is_hwpoison() && !vma.shared() {
            w.tables.set_pte(child, page, pte);
        }
        let FrameKind::Folio(folio) = pte.frame().kind() else { continue };
        if huge || w.folios[folio].inode.is_some() {
            continue;
        }
        let shared = if vma.shared() { pte } else { pte.write_protected() };
        w.folios[folio].refs += 1;
        w.tables.set_pte(vma.mm, page, shared);
        w.tables.set_pte(child, page, Pte::new(Frame::folio(folio), false));
        w.tables.update(child, page, |_| shared);
    }
}

/// The task lets go of its address space; with its last user every mapping goes.
///
/// # Errors
/// An oops only.
pub fn exit_mm<R: Runtime>(rt: &R) -> Result<()> {
    let task = rt.task();
    let (mm, last) = rt.step(Op::world("exit_mm"), |w| {
        let mm = w.tasks.mm(task);
        w.tasks.kill(task);
        w.mms[mm].users -= 1;
        (mm, w.mms[mm].users == 0)
    });
    if !last {
        return Ok(());
    }
    with_lock(rt, LockId::mmap(mm), Mode::Exclusive, || {
        loop {
            let next = rt.step(Op::new("exit_mmap").read(Object::vmas(mm)), |w| {
                w.mms[mm].vmas.some().map(|id| (id, w.vmas[id]))
            });
            let Some((id, vma)) = next else { return Ok(()) };
            remove_vma(rt, id, &vma)?;
        }
    })
}
