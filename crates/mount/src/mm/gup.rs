//! `get_user_pages`: references to pages that outlive their mapping.

use daxkit_format::dax::Errno;

use crate::fail::{Fail, Result};
use crate::ids::PAGE_SHIFT;
use crate::mm::fault::handle_mm_fault;
use crate::mm::mmap::find_vma;
use crate::mm::page_table::{Frame, FrameKind, Pte};
use crate::op::{Object, Op};
use crate::runtime::Runtime;
use crate::wait::{QueueKey, Wake};
use crate::world::objects::VmFlags;

/// Most faults for one page.
const MOST_FAULTS: u32 = 1000;

/// Pins the page at `address`, for a device to read from or write to.
///
/// # Errors
/// `EFAULT`; `EOPNOTSUPP` for a long-term pin of a DAX page.
pub fn pin<R: Runtime>(rt: &R, address: u64, write: bool, longterm: bool) -> Result<Frame> {
    let task = rt.task();
    let page = address >> PAGE_SHIFT;
    let mm = rt.step(Op::new("mm"), |w| w.tasks.mm(task));
    let vma = rt.step(Op::new("check_vma_flags").read(Object::vmas(mm)).read(Object::WORLD), |w| {
        let vma = w.vmas[find_vma(w, mm, address)?];
        Some((vma.flags, vma.inode.is_some() && w.is_dax(vma.inode)))
    });
    let Some((flags, dax)) = vma else { return Err(Errno::EFAULT.into()) };
    if dax && longterm {
        return Err(Errno::EOPNOTSUPP.into());
    }
    if !flags.contains(if write { VmFlags::WRITE } else { VmFlags::READ }) {
        return Err(Errno::EFAULT.into());
    }
    for _ in 0..MOST_FAULTS {
        let op = Op::new("follow_page").read(Object::pte(mm, page)).write(Object::PINS).read(Object::ALL_DATA);
        let pte: Pte = rt.step(op, |w| {
            w.touch(Object::pte(mm, page), false);
            let pte = w.tables.translate(mm, page);
            if pte.accessible() && (!write || pte.writable()) {
                *w.pins.entry(pte.frame().key()) += 1;
                if let FrameKind::Folio(folio) = pte.frame().kind() {
                    w.folios[folio].refs += 1;
                }
                return pte;
            }
            Pte::NONE
        });
        if pte.present() {
            return Ok(pte.frame());
        }
        match handle_mm_fault(rt, address, write) {
            Ok(()) => {}
            Err(Fail::Oops) => return Err(Fail::Oops),
            Err(_) => return Err(Errno::EFAULT.into()),
        }
    }
    Err(Errno::EFAULT.into())
}

/// Gives a pinned page back, and wakes who waits for that.
pub fn unpin<R: Runtime>(rt: &R, frame: Frame) {
    let owner = rt.step(Op::new("unpin").write(Object::PINS).write(Object::ALL_DATA), |w| {
        let left = w.pins.get(frame.key()).unwrap_or(0).saturating_sub(1);
        if left == 0 {
            w.pins.remove(frame.key());
        } else {
            w.pins.insert(frame.key(), left);
        }
        if let FrameKind::Folio(folio) = frame.kind() {
            w.put_folio(folio);
        }
        w.frame_owners.get(frame.key()).map(|owner| owner.0)
    });
    if let Some(inode) = owner {
        let queue = QueueKey::pins(inode);
        rt.step(Op::new("wake_up_var").write(queue.object()), |w| w.wake(queue, Wake::All));
    }
}
