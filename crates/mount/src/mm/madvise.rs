//! `madvise` (`mm/madvise.c`, Linux 6.12).

use daxkit_format::dax::Errno;

use crate::dax::layout::memory_failure;
use crate::fail::{Fail, Result};
use crate::ids::{PAGE_SHIFT, PAGE_SIZE};
use crate::locks::{LockId, Mode, with_lock};
use crate::mm::gup::{pin, unpin};
use crate::mm::mmap::find_vma;
use crate::op::{Object, Op};
use crate::runtime::Runtime;
use crate::world::objects::VmFlags;

/// What is advised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// `MADV_DONTNEED`: unmap.
    DontNeed,
    /// `MADV_POPULATE_READ`: fault in.
    PopulateRead,
    /// `MADV_POPULATE_WRITE`: fault in for writing.
    PopulateWrite,
    /// `MADV_HUGEPAGE`.
    HugePage,
    /// `MADV_NOHUGEPAGE`.
    NoHugePage,
    /// `MADV_DONTFORK`.
    DontFork,
    /// `MADV_HWPOISON`: as if the memory had failed, once.
    HwPoison,
}

/// Advises about a range.
///
/// # Errors
/// `EINVAL`, `ENOMEM` (a part is not mapped), `EFAULT` (populate met a signal), `EPERM`; a signal from `HwPoison`.
pub fn madvise<R: Runtime>(rt: &R, address: u64, len: u64, advice: Advice) -> Result<()> {
    let task = rt.task();
    if !address.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL.into());
    }
    let len = len.checked_next_multiple_of(PAGE_SIZE).ok_or(Errno::EINVAL)?;
    let end = address.checked_add(len).ok_or(Errno::EINVAL)?;
    match advice {
        Advice::PopulateRead | Advice::PopulateWrite => {
            let mut at = address;
            while at < end {
                match pin(rt, at, advice == Advice::PopulateWrite, false) {
                    Ok(frame) => unpin(rt, frame),
                    Err(Fail::Errno(Errno::EFAULT)) => {
                        let mapped = rt.step(Op::world("find_vma"), |w| find_vma(w, w.tasks.mm(task), at).is_some());
                        return Err(if mapped { Errno::EFAULT } else { Errno::ENOMEM }.into());
                    }
                    Err(other) => return Err(other),
                }
                at += PAGE_SIZE;
            }
            Ok(())
        }
        Advice::HwPoison => {
            if !rt.step(Op::new("capable"), |w| w.tasks.cred(task).privileged) {
                return Err(Errno::EPERM.into());
            }
            let mut at = address;
            while at < end {
                let frame = pin(rt, at, false, false)?;
                unpin(rt, frame);
                memory_failure(rt, frame)?;
                at += PAGE_SIZE;
            }
            Ok(())
        }
        _ => {
            let mm = rt.step(Op::new("mm"), |w| w.tasks.mm(task));
            let mode = if advice == Advice::DontNeed { Mode::Shared } else { Mode::Exclusive };
            with_lock(rt, LockId::mmap(mm), mode, || over_vmas(rt, mm, address, end, advice))
        }
    }
}

fn over_vmas<R: Runtime>(rt: &R, mm: crate::ids::MmId, address: u64, end: u64, advice: Advice) -> Result<()> {
    let mut at = address;
    while at < end {
        let found =
            rt.step(Op::new("find_vma").read(Object::vmas(mm)), |w| find_vma(w, mm, at).map(|id| (id, w.vmas[id])));
        let Some((id, vma)) = found else { return Err(Errno::ENOMEM.into()) };
        let to = vma.end.min(end);
        let op = Op::new("madvise").write(Object::ptes(mm)).write(Object::vma(id)).write(Object::ALL_DATA);
        rt.step(op, |w| {
            let flags = &mut w.vmas[id].flags;
            match advice {
                Advice::HugePage => {
                    flags.remove(VmFlags::NOHUGEPAGE);
                    flags.insert(VmFlags::HUGEPAGE);
                }
                Advice::NoHugePage => {
                    flags.remove(VmFlags::HUGEPAGE);
                    flags.insert(VmFlags::NOHUGEPAGE);
                }
                Advice::DontFork => flags.insert(VmFlags::DONTCOPY),
                _ => w.zap_range(&vma, at >> PAGE_SHIFT, to >> PAGE_SHIFT, true),
            }
        });
        at = to;
    }
    Ok(())
}
