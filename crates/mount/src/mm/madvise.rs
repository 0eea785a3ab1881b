//! `madvise` (`mm/madvise.c`, Linux 6.12).

use daxkit_format::dax::Errno;

use crate::fail::{Fail, Result, Signal};
use crate::fs::FileSystem;
use crate::ids::{MmId, PAGE_SHIFT, PAGE_SIZE, PTRS_PER_PMD, TaskId};
use crate::locks::{LockId, Mode, with_lock};
use crate::mm::gup::{pin, unpin};
use crate::mm::mmap::{find_vma, first_in};
use crate::mm::page_table::{FrameKind, Pte};
use crate::op::{Object, Op};
use crate::runtime::Runtime;
use crate::vfs::advise::{FileAdvice, fadvise};
use crate::vfs::open::{MAY_WRITE, fget, fput, permission};
use crate::vfs::space::{Fallocate, fallocate};
use crate::world::World;
use crate::world::objects::{VmFlags, Vma};
use crate::{dax, filemap};

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
    /// `MADV_SOFT_OFFLINE`: as if it were about to fail.
    SoftOffline,
    /// `MADV_WILLNEED`: read into the page cache.
    WillNeed,
    /// `MADV_REMOVE`: a hole in the file.
    Remove,
    /// `MADV_COLD`: reclaim it before others. Nothing is reclaimed here by itself.
    Cold,
    /// `MADV_PAGEOUT`: reclaim it now.
    Pageout,
}

/// Advises about a range. Where a part of it is not mapped the rest is advised of all the same, and `ENOMEM` is for the end
/// (`madvise_walk_vmas`); faulting in ahead and failures stop there.
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
    if len == 0 {
        return Ok(());
    }
    match advice {
        Advice::WillNeed | Advice::Remove => on_files(rt, address, end, advice),
        Advice::SoftOffline => {
            if !rt.step(Op::new("capable"), |w| w.tasks.cred(task).privileged) {
                return Err(Errno::EPERM.into());
            }
            let mut at = address;
            while at < end {
                let frame = pin(rt, at, false, false)?;
                unpin(rt, frame);
                // Pages of a device are not online, the zero page is nobody's; any other is moved, which nobody sees.
                if !matches!(frame.kind(), FrameKind::Folio(_)) {
                    return Err(Errno::EIO.into());
                }
                at += PAGE_SIZE;
            }
            Ok(())
        }
        Advice::PopulateRead | Advice::PopulateWrite => {
            let mut at = address;
            while at < end {
                let write = advice == Advice::PopulateWrite;
                match pin(rt, at, write, false) {
                    Ok(frame) => unpin(rt, frame),
                    Err(Fail::Errno(Errno::EFAULT)) => {
                        // madvise_populate: a mapping that forbids it is told from a fault that failed.
                        let wanted = if write { VmFlags::WRITE } else { VmFlags::READ };
                        let flags = rt.step(Op::world("find_vma"), |w| {
                            find_vma(w, w.tasks.mm(task), at).map(|vma| w.vmas[vma].flags)
                        });
                        let errno = match flags {
                            None => Errno::ENOMEM,
                            Some(flags) if !flags.contains(wanted) => Errno::EINVAL,
                            Some(_) => Errno::EFAULT,
                        };
                        return Err(errno.into());
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
            let mm = rt.step(Op::new("mm"), |w| w.tasks.mm(task));
            let mut at = address;
            let (mut told, mut failed) = (false, Ok(()));
            while at < end && failed.is_ok() {
                match inject(rt, mm, at) {
                    Ok(caller) => told |= caller,
                    Err(fail) => failed = Err(fail),
                }
                at += PAGE_SIZE;
            }
            // The signal meets the caller on its way back, whatever came of later pages.
            if told && failed != Err(Fail::Oops) { Err(Fail::Signal(Signal::BusMceErrAr)) } else { failed }
        }
        _ => {
            let mm = rt.step(Op::new("mm"), |w| w.tasks.mm(task));
            let reads = matches!(advice, Advice::DontNeed | Advice::Cold | Advice::Pageout);
            let mode = if reads { Mode::Shared } else { Mode::Exclusive };
            with_lock(rt, LockId::mmap(mm), mode, || over_vmas(rt, mm, address, end, advice))
        }
    }
}

/// `madvise_inject_error`, one page. Says whether the caller is to be killed.
fn inject<R: Runtime>(rt: &R, mm: MmId, at: u64) -> Result<bool> {
    let frame = pin(rt, at, false, false)?;
    let FrameKind::Folio(folio) = frame.kind() else {
        unpin(rt, frame);
        return dax::failure::memory_failure(rt, frame);
    };
    // The reference to a page of the kernel's own is kept until it is out of the way.
    let failed = filemap::failure::memory_failure(rt, mm, at >> PAGE_SHIFT, folio);
    unpin(rt, frame);
    failed
}

/// What is passed on to the files that are mapped there, without the lock of the address space: a file's own come before it.
fn on_files<R: Runtime>(rt: &R, address: u64, end: u64, advice: Advice) -> Result<()> {
    let task = rt.task();
    let mm = rt.step(Op::new("mm"), |w| w.tasks.mm(task));
    let mut at = address;
    let mut hole = false;
    while at < end {
        let found = with_lock(rt, LockId::mmap(mm), Mode::Shared, || {
            let vma =
                rt.step(Op::new("find_vma").read(Object::vmas(mm)), |w| first_in(w, mm, at, end).map(|id| w.vmas[id]));
            let Some(vma) = vma else { return Err(Errno::ENOMEM.into()) };
            let (asks, may) = (advice == Advice::Remove, VmFlags::SHARED | VmFlags::MAYWRITE);
            if asks && vma.file.is_none() {
                return Err(Errno::EINVAL.into());
            }
            if asks && !vma.flags.contains(may) {
                return Err(Errno::EACCES.into());
            }
            if vma.file.is_some() {
                fget(rt, vma.file)?;
            }
            Ok(vma)
        })?;
        hole |= found.start > at;
        at = at.max(found.start);
        let to = found.end.min(end);
        if found.file.is_some() {
            let offset = found.index_of(at) << PAGE_SHIFT;
            let done = match advice {
                Advice::Remove => fallocate(rt, found.file, Fallocate::Punch, offset, to - at),
                _ => fadvise(rt, found.file, offset, to - at, FileAdvice::WillNeed),
            };
            if matches!(done, Err(Fail::Oops)) {
                return done;
            }
            fput(rt, found.file)?;
            done?;
        }
        at = to;
    }
    if hole { Err(Errno::ENOMEM.into()) } else { Ok(()) }
}

/// `madvise_pageout`: clean pages of the page cache that nobody else maps go, if the caller may write the file. There is nothing to swap to
/// that would take others.
fn pageout<F: FileSystem>(w: &mut World<F>, task: TaskId, vma: &Vma, from: u64, to: u64) {
    if vma.inode.is_none() {
        return;
    }
    let owns = w.tasks.cred(task).uid == w.inodes[vma.inode].disk.uid;
    if !owns && permission(w, task, vma.inode, MAY_WRITE).is_err() {
        return;
    }
    let mut at = from;
    while let Some((page, huge, pte)) = w.tables.next_present(vma.mm, at, to) {
        at = page.max(at) + if huge { PTRS_PER_PMD } else { 1 };
        let FrameKind::Folio(folio) = pte.frame().kind() else { continue };
        let state = w.folios[folio];
        // The cache's reference and this mapping's.
        if state.inode == vma.inode && !state.dirty && !state.locked && !pte.dirty() && state.refs == 2 {
            w.tables.set_pte(vma.mm, page, Pte::NONE);
            w.drop_mapped(pte);
            w.remove_folio(task, folio);
        }
    }
}

fn over_vmas<R: Runtime>(rt: &R, mm: MmId, address: u64, end: u64, advice: Advice) -> Result<()> {
    let task = rt.task();
    let mut at = address;
    let mut hole = false;
    while at < end {
        let find = Op::new("find_vma").read(Object::vmas(mm));
        let found = rt.step(find, |w| first_in(w, mm, at, end).map(|id| (id, w.vmas[id])));
        let Some((id, vma)) = found else { return Err(Errno::ENOMEM.into()) };
        hole |= vma.start > at;
        at = at.max(vma.start);
        let to = vma.end.min(end);
        let op = Op::new("madvise").write(Object::ptes(mm)).write(Object::vma(id)).write(Object::ALL_DATA);
        rt.step(op, |w| {
            let flags = &mut w.vmas[id].flags;
            match advice {
                Advice::Cold => {}
                Advice::Pageout => pageout(w, task, &vma, at >> PAGE_SHIFT, to >> PAGE_SHIFT),
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
    if hole { Err(Errno::ENOMEM.into()) } else { Ok(()) }
}
