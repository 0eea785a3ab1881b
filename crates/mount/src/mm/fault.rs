//! The dispatch of a fault (`mm/memory.c`, Linux 6.12): `handle_mm_fault`, `do_fault`, `do_wp_page`.
//!
//! A shared write fault on the page cache is two operations: `->fault` returns the folio locked, it is unlocked, and only
//! then `->page_mkwrite` is called. DAX answers in one. Which handler runs is read from the VMA in a step of its own; on XFS each
//! handler reads `S_DAX` in another.

use crate::dax::fault::{ext4_dax_huge_fault, xfs_dax_fault};
use crate::fail::{Fail, Oops, Result, Signal, VmFault};
use crate::filemap::fault::{filemap_fault, page_mkwrite};
use crate::ids::{FolioId, InodeId, MmId, PAGE_SHIFT, PAGE_SIZE, PMD_ORDER, SbId, TaskId, VmaId};
use crate::locks::{LockId, Mode, acquire, release};
use crate::mm::mmap::find_vma;
use crate::mm::page_table::{Frame, FrameKind, Pte, Walk};
use crate::op::{Object, Op};
use crate::runtime::Runtime;
use crate::trace::Event;
use crate::world::objects::{VmFlags, VmOps, Vma};

/// Most times that one access is tried again: a kernel that does not get on would be a livelock.
const MOST_TRIES: u32 = 10_000;

/// `struct vm_fault`.
#[derive(Debug, Clone, Copy)]
pub struct Vmf {
    /// Whose fault.
    pub task: TaskId,
    /// In which address space.
    pub mm: MmId,
    /// In which mapping.
    pub vma: VmaId,
    /// The page's address.
    pub address: u64,
    /// The page of the file.
    pub pgoff: u64,
    /// The file; none for anonymous memory.
    pub inode: InodeId,
    /// Its mount.
    pub sb: SbId,
    /// A write.
    pub write: bool,
    /// The mapping is shared.
    pub shared: bool,
    /// The mapping is `MAP_SYNC`.
    pub sync: bool,
    /// The page is mapped read-only and is to become writable.
    pub mkwrite: bool,
    /// `vmf->page`: what half 1 found. None in a one-shot fault.
    pub folio: FolioId,
    /// `vmf->cow_page`: a page prepared for a private copy.
    pub cow: FolioId,
    /// What a synchronous fault will map.
    pub sync_frame: Frame,
    /// Whether trace events are wanted.
    pub tracing: bool,
}

impl Vmf {
    fn op(&self, name: &'static str) -> Op {
        Op::new(name).write(Object::pte(self.mm, self.address >> PAGE_SHIFT)).read(Object::vma(self.vma))
    }

    fn page(&self) -> u64 {
        self.address >> PAGE_SHIFT
    }
}

/// What is tried next.
enum Next {
    /// The access can be made again.
    Again,
    /// `VM_FAULT_SIGBUS`.
    Signal(Signal),
}

fn signal_of(fault: VmFault) -> Next {
    match fault {
        VmFault::Sigbus => Next::Signal(Signal::BusAdrErr),
        VmFault::HwPoison => Next::Signal(Signal::BusMceErrAr),
        _ => Next::Again,
    }
}

/// A trap: makes `address` accessible, or says which signal the task gets. The access is made again afterwards.
///
/// # Errors
/// A signal, or an oops.
pub fn handle_mm_fault<R: Runtime>(rt: &R, address: u64, write: bool) -> Result<()> {
    let task = rt.task();
    let (mm, tracing) = rt.step(Op::new("trap"), |w| {
        w.counters.faults += 1;
        w.tasks.set_in_kernel(task, true);
        (w.tasks.mm(task), w.trace.is_on())
    });
    let lock = LockId::mmap(mm);
    acquire(rt, lock, Mode::Shared);
    let result = locked(rt, mm, address, write, tracing);
    if !matches!(result, Err(Fail::Oops)) {
        release(rt, lock);
    }
    rt.step(Op::new("return to user"), |w| w.tasks.set_in_kernel(task, false));
    result
}

fn locked<R: Runtime>(rt: &R, mm: MmId, address: u64, write: bool, tracing: bool) -> Result<()> {
    let task = rt.task();
    let page = address & !(PAGE_SIZE - 1);
    let found = rt.step(Op::new("find_vma").read(Object::vmas(mm)), |w| {
        w.touch(Object::vmas(mm), false);
        let id = find_vma(w, mm, address)?;
        let vma = w.vmas[id];
        let sb = if vma.inode.is_some() { w.inodes[vma.inode].sb } else { SbId::NONE };
        if tracing {
            let present = w.tables.translate(mm, address >> PAGE_SHIFT).present();
            let error_code = u8::from(present) | u8::from(write) << 1 | 4;
            w.trace.emit(task, Event::PageFaultUser { address, error_code });
        }
        Some((id, vma, sb))
    });
    let Some((id, vma, sb)) = found else { return Err(Fail::Signal(Signal::SegvMapErr)) };
    let allowed = if write { VmFlags::WRITE } else { VmFlags::READ | VmFlags::WRITE | VmFlags::EXEC };
    if !vma.flags.intersects(allowed) {
        return Err(Fail::Signal(Signal::SegvAccErr));
    }
    let vmf = Vmf {
        task,
        mm,
        vma: id,
        address: page,
        pgoff: vma.index_of(page),
        inode: vma.inode,
        sb,
        write,
        shared: vma.shared(),
        sync: vma.flags.contains(VmFlags::SYNC),
        mkwrite: false,
        folio: FolioId::NONE,
        cow: FolioId::NONE,
        sync_frame: Frame::ZERO,
        tracing,
    };
    match handle(rt, vmf, &vma)? {
        Next::Again => Ok(()),
        Next::Signal(signal) => Err(Fail::Signal(signal)),
    }
}

/// `__handle_mm_fault`: huge first where the mapping can, then one page.
fn handle<R: Runtime>(rt: &R, mut vmf: Vmf, vma: &Vma) -> Result<Next> {
    for _ in 0..MOST_TRIES {
        let walk = rt.step(Op::new("walk").read(Object::pte(vmf.mm, vmf.page())), |w| {
            w.touch(Object::pte(vmf.mm, vmf.page()), false);
            w.tables.walk(vmf.mm, vmf.page())
        });
        match walk {
            Walk::PmdNone if vma.file.is_some() && !vma.flags.contains(VmFlags::NOHUGEPAGE) => {
                match huge_fault(rt, &mut vmf)? {
                    VmFault::Fallback => {}
                    // A racing fault has put a table: look again.
                    VmFault::Done => continue,
                    other => return Ok(signal_of(other)),
                }
                return handle_pte(rt, vmf, Pte::NONE);
            }
            Walk::PmdNone => return handle_pte(rt, vmf, Pte::NONE),
            Walk::Huge(pte) => {
                if !vmf.write || pte.writable() {
                    return Ok(Next::Again);
                }
                // wp_huge_pmd: a shared mapping asks again for 2 MiB; else the entry is split and 4 KiB fault.
                if vmf.shared {
                    match huge_fault(rt, &mut vmf)? {
                        VmFault::Fallback | VmFault::Done => {}
                        other => return Ok(signal_of(other)),
                    }
                }
                rt.step(Op::new("split_huge_pmd").write(Object::ptes(vmf.mm)), |w| {
                    w.touch(Object::ptes(vmf.mm), true);
                    w.tables.split(vmf.mm, vmf.page());
                    w.tables.alloc_table(vmf.mm, vmf.page());
                });
            }
            Walk::Pte(pte) => return handle_pte(rt, vmf, pte),
        }
    }
    Ok(Next::Again)
}

/// `vm_ops->huge_fault`, where there is one.
fn huge_fault<R: Runtime>(rt: &R, vmf: &mut Vmf) -> Result<VmFault> {
    match ops(rt, vmf) {
        VmOps::Ext4Dax => ext4_dax_huge_fault(rt, vmf, PMD_ORDER),
        // xfs_filemap_huge_fault: IS_DAX without a lock.
        VmOps::XfsFile if is_dax(rt, vmf) => xfs_dax_fault(rt, vmf, PMD_ORDER),
        VmOps::Anonymous | VmOps::Ext4File | VmOps::XfsFile => Ok(VmFault::Fallback),
    }
}

fn ops<R: Runtime>(rt: &R, vmf: &Vmf) -> VmOps {
    rt.step(Op::new("vma->vm_ops").read(Object::vma(vmf.vma)), |w| {
        w.touch(Object::vma(vmf.vma), false);
        w.vmas[vmf.vma].ops
    })
}

fn is_dax<R: Runtime>(rt: &R, vmf: &Vmf) -> bool {
    rt.step(Op::new("IS_DAX").read(Object::s_dax(vmf.inode)), |w| w.is_dax(vmf.inode))
}

/// `handle_pte_fault`.
fn handle_pte<R: Runtime>(rt: &R, mut vmf: Vmf, pte: Pte) -> Result<Next> {
    if pte.is_hwpoison() {
        return Ok(Next::Signal(Signal::BusMceErrAr));
    }
    if pte.is_none() {
        return if vmf.inode.is_none() { do_anonymous_page(rt, &vmf) } else { do_fault(rt, &mut vmf) };
    }
    if vmf.write && !pte.writable() { do_wp_page(rt, &mut vmf, pte) } else { Ok(Next::Again) }
}

/// `do_anonymous_page`: a fresh page of zeroes.
fn do_anonymous_page<R: Runtime>(rt: &R, vmf: &Vmf) -> Result<Next> {
    rt.step(vmf.op("do_anonymous_page").write(Object::ALL_DATA), |w| {
        w.touch(Object::pte(vmf.mm, vmf.page()), true);
        if w.tables.translate(vmf.mm, vmf.page()).is_none() {
            let folio = w.alloc_folio(InodeId::NONE, 0);
            let pte = Pte::new(Frame::folio(folio), false);
            let writable = w.vmas[vmf.vma].flags.contains(VmFlags::WRITE);
            w.tables.set_pte(vmf.mm, vmf.page(), if writable { pte.made_writable() } else { pte });
        }
    });
    Ok(Next::Again)
}

/// `vm_ops->fault`.
fn call_fault<R: Runtime>(rt: &R, vmf: &mut Vmf) -> Result<VmFault> {
    match ops(rt, vmf) {
        VmOps::Ext4Dax => ext4_dax_huge_fault(rt, vmf, 0),
        VmOps::Ext4File => filemap_fault(rt, vmf),
        VmOps::XfsFile => xfs_filemap_fault(rt, vmf),
        VmOps::Anonymous => Ok(VmFault::Sigbus),
    }
}

/// `xfs_filemap_fault`: `IS_DAX` decides here, without a lock, and again under the lock. That is harmless only because `S_DAX` does
/// not change.
fn xfs_filemap_fault<R: Runtime>(rt: &R, vmf: &mut Vmf) -> Result<VmFault> {
    let dax = is_dax(rt, vmf);
    if dax && vmf.write && vmf.shared {
        return xfs_write_fault(rt, vmf);
    }
    if dax { xfs_dax_fault(rt, vmf, 0) } else { filemap_fault(rt, vmf) }
}

/// `xfs_write_fault`: DAX in one shot, or `iomap_page_mkwrite`, which wants the page that half 1 found.
fn xfs_write_fault<R: Runtime>(rt: &R, vmf: &mut Vmf) -> Result<VmFault> {
    if is_dax(rt, vmf) { xfs_dax_fault(rt, vmf, 0) } else { page_mkwrite(rt, vmf) }
}

/// `do_read_fault`, `do_cow_fault`, `do_shared_fault`.
fn do_fault<R: Runtime>(rt: &R, vmf: &mut Vmf) -> Result<Next> {
    if !vmf.write {
        return match call_fault(rt, vmf)? {
            VmFault::Locked | VmFault::LockedMajor => {
                finish_fault(rt, vmf);
                Ok(Next::Again)
            }
            other => Ok(signal_of(other)),
        };
    }
    if !vmf.shared {
        return do_cow_fault(rt, vmf);
    }
    match call_fault(rt, vmf)? {
        VmFault::Locked | VmFault::LockedMajor => {}
        other => return Ok(signal_of(other)),
    }
    // Between the halves nothing is held but mmap_lock and a reference to the folio.
    let folio = vmf.folio;
    rt.step(Op::new("unlock_page").write(Object::entries(vmf.inode)), |w| w.unlock_folio(folio));
    let result = do_page_mkwrite(rt, vmf)?;
    match result {
        VmFault::Locked | VmFault::LockedMajor => {
            finish_fault(rt, vmf);
            Ok(Next::Again)
        }
        other => {
            rt.step(Op::new("put_page").write(Object::entries(vmf.inode)), |w| w.put_folio(folio));
            Ok(signal_of(other))
        }
    }
}

/// `do_page_mkwrite`: `vm_ops->page_mkwrite`, tested for and called.
fn do_page_mkwrite<R: Runtime>(rt: &R, vmf: &mut Vmf) -> Result<VmFault> {
    let inode = vmf.inode;
    if inode.is_some() {
        let swapped_to = rt.step(Op::new("IS_SWAPFILE").read(Object::attr(inode)), |w| w.inodes[inode].swap.is_some());
        if swapped_to {
            return Ok(VmFault::Sigbus);
        }
    }
    vmf.mkwrite = true;
    let result = match ops(rt, vmf) {
        VmOps::Ext4File => page_mkwrite(rt, vmf),
        VmOps::Ext4Dax => ext4_dax_huge_fault(rt, vmf, 0),
        VmOps::XfsFile => xfs_write_fault(rt, vmf),
        VmOps::Anonymous => Ok(VmFault::Locked),
    };
    vmf.mkwrite = false;
    result
}

/// `finish_fault` and `fault_dirty_shared_page`: the folio, locked, is put into the page table; after a shared write it becomes
/// dirty through `a_ops->dirty_folio`, looked up now.
fn finish_fault<R: Runtime>(rt: &R, vmf: &Vmf) {
    let folio = vmf.folio;
    let page = vmf.page();
    let shared_write = vmf.write && vmf.shared;
    let mapped = rt.step(vmf.op("finish_fault"), |w| {
        w.touch(Object::pte(vmf.mm, page), true);
        if !w.tables.translate(vmf.mm, page).is_none() {
            return false;
        }
        w.folios[folio].refs += 1;
        let pte = Pte::new(Frame::folio(folio), false);
        w.tables.set_pte(vmf.mm, page, if shared_write { pte.made_writable() } else { pte });
        w.counters.page_cache += 1;
        true
    });
    if mapped && shared_write {
        crate::filemap::fault::dirty_folio(rt, vmf.inode, folio);
    }
    rt.step(Op::new("unlock_page").write(Object::entries(vmf.inode)), |w| {
        w.unlock_folio(folio);
        w.put_folio(folio);
    });
}

/// `do_cow_fault`: a page is prepared before the file is asked.
fn do_cow_fault<R: Runtime>(rt: &R, vmf: &mut Vmf) -> Result<Next> {
    vmf.cow = rt.step(Op::new("alloc cow page"), |w| w.alloc_folio(InodeId::NONE, 0));
    let cow = vmf.cow;
    match call_fault(rt, vmf)? {
        VmFault::DoneCow => Ok(Next::Again),
        VmFault::Locked | VmFault::LockedMajor => {
            let (folio, page) = (vmf.folio, vmf.page());
            let op = vmf.op("finish cow").read(Object::data(vmf.inode)).write(Object::entries(vmf.inode));
            rt.step(op, |w| {
                w.touch(Object::pte(vmf.mm, page), true);
                w.folio_bytes[cow.0 as usize] = w.folio_bytes[folio.0 as usize];
                if w.tables.translate(vmf.mm, page).is_none() {
                    w.tables.set_pte(vmf.mm, page, Pte::new(Frame::folio(cow), false).made_writable());
                    w.counters.cow += 1;
                } else {
                    w.put_folio(cow);
                }
                w.unlock_folio(folio);
                w.put_folio(folio);
            });
            Ok(Next::Again)
        }
        other => {
            rt.step(Op::new("put cow page"), |w| w.put_folio(cow));
            Ok(signal_of(other))
        }
    }
}

/// `do_wp_page`: a write to what is mapped read-only. Half 1 was an earlier fault.
fn do_wp_page<R: Runtime>(rt: &R, vmf: &mut Vmf, pte: Pte) -> Result<Next> {
    rt.step(Op::new("count"), |w| w.counters.wp += 1);
    if !vmf.shared || vmf.inode.is_none() {
        return wp_page_copy(rt, vmf, pte);
    }
    match pte.frame().kind() {
        // wp_pfn_shared: the pte lock was dropped; nothing is held but mmap_lock.
        FrameKind::Pmem(..) | FrameKind::ZeroPage | FrameKind::HugeZeroPage => {
            vmf.mkwrite = true;
            let result = match ops(rt, vmf) {
                VmOps::Ext4Dax => ext4_dax_huge_fault(rt, vmf, 0)?,
                VmOps::XfsFile => xfs_write_fault(rt, vmf)?,
                VmOps::Ext4File | VmOps::Anonymous => {
                    return Err(rt.step(Op::new("oops"), |w| {
                        w.oops(vmf.task, Oops::NullMethod { method: "ext4_file_vm_ops.pfn_mkwrite" })
                    }));
                }
            };
            Ok(signal_of(result))
        }
        // wp_page_shared: a reference to the folio is taken, then half 2.
        FrameKind::Folio(folio) => {
            let page = vmf.page();
            let same = rt.step(vmf.op("wp_page_shared get"), |w| {
                let same = w.tables.translate(vmf.mm, page) == pte;
                if same {
                    w.folios[folio].refs += 1;
                }
                same
            });
            if !same {
                return Ok(Next::Again);
            }
            vmf.folio = folio;
            let result = do_page_mkwrite(rt, vmf)?;
            if !matches!(result, VmFault::Locked | VmFault::LockedMajor) {
                rt.step(Op::new("put_page").write(Object::entries(vmf.inode)), |w| w.put_folio(folio));
                return Ok(signal_of(result));
            }
            let made = rt.step(vmf.op("wp_page_reuse"), |w| {
                w.touch(Object::pte(vmf.mm, page), true);
                let same = w.tables.translate(vmf.mm, page) == pte;
                if same {
                    w.tables.set_pte(vmf.mm, page, pte.made_writable());
                }
                same
            });
            if made {
                crate::filemap::fault::dirty_folio(rt, vmf.inode, folio);
            }
            rt.step(Op::new("unlock_page").write(Object::entries(vmf.inode)), |w| {
                w.unlock_folio(folio);
                w.put_folio(folio);
            });
            Ok(Next::Again)
        }
    }
}

/// `wp_page_copy`: a private copy of what is mapped.
fn wp_page_copy<R: Runtime>(rt: &R, vmf: &Vmf, pte: Pte) -> Result<Next> {
    let page = vmf.page();
    rt.step(vmf.op("wp_page_copy").write(Object::ALL_DATA), |w| {
        w.touch(Object::pte(vmf.mm, page), true);
        if w.tables.translate(vmf.mm, page) != pte {
            return Ok(Next::Again);
        }
        if let FrameKind::Folio(folio) = pte.frame().kind()
            && w.folios[folio].inode.is_none()
            && w.folios[folio].refs == 1
        {
            w.tables.set_pte(vmf.mm, page, pte.made_writable());
            return Ok(Next::Again);
        }
        let mut bytes = [0; PAGE_SIZE as usize];
        if w.read_frame(pte.frame(), 0, &mut bytes).is_err() {
            return Ok(Next::Signal(Signal::BusMceErrAr));
        }
        let copy = w.alloc_folio(InodeId::NONE, 0);
        w.folio_bytes[copy.0 as usize] = bytes;
        if let Walk::Huge(_) = w.tables.walk(vmf.mm, page) {
            w.tables.split(vmf.mm, page);
        }
        w.tables.set_pte(vmf.mm, page, Pte::new(Frame::folio(copy), false).made_writable());
        w.drop_mapped(pte);
        w.counters.cow += 1;
        Ok(Next::Again)
    })
}
