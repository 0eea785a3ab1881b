//! Memory of the kernel's own that has failed: pages of the page cache, and anonymous ones (`mm/memory-failure.c`, Linux 6.12). What is
//! clean is dropped, and read again by whoever wants it; what was dirty is lost, which every user of it is told once.

use daxkit_format::dax::{Errno, Kernel};

use super::fault::lock_folio;
use crate::fail::Result;
use crate::fs::FileSystem;
use crate::ids::{FileId, FolioId, InodeId, MmId, PAGE_SHIFT};
use crate::mm::page_table::{Frame, Pte};
use crate::mm::rmap::{folio_mkclean, try_to_unmap};
use crate::op::{Object, Op};
use crate::runtime::Runtime;
use crate::world::World;

impl<F: FileSystem> World<F> {
    /// `mapping_set_error`: kept in two places, one for whoever waits for write-back first (`AS_EIO`) and one for every open file. An
    /// error that nobody has seen yet is not told twice.
    pub(crate) fn mapping_set_error(&mut self, inode: InodeId) {
        let node = &mut self.inodes[inode];
        node.as_eio = true;
        if node.wb_err == 0 || node.wb_err & SEEN != 0 {
            node.wb_err = (node.wb_err | SEEN) + 1;
        }
    }

    /// `errseq_sample`, for a file that is opened: an error that nobody has seen is news to it as well.
    pub(crate) fn sample_wb_err(&self, inode: InodeId) -> u32 {
        let now = self.inodes[inode].wb_err;
        if now & SEEN == 0 { 0 } else { now }
    }

    /// `file_check_and_advance_wb_err`.
    pub(crate) fn check_and_advance_wb_err(&mut self, file: FileId, inode: InodeId) -> std::result::Result<(), Errno> {
        let node = &mut self.inodes[inode];
        node.as_eio = false;
        if self.files[file].wb_err == node.wb_err {
            return Ok(());
        }
        node.wb_err |= SEEN;
        self.files[file].wb_err = node.wb_err;
        Err(Errno::EIO)
    }
}

/// Of an `errseq_t`: somebody was told. The rest counts; 0 is no error yet.
const SEEN: u32 = 1;

/// `memory_failure` of a folio that the caller has a reference to, as `madvise(MADV_HWPOISON)` asks for it at a page of `mm`. Says whether
/// the caller is to be killed: who asks is told since 6.11 (`MF_ACTION_REQUIRED`, added by a change of May 2024; that this is 6.11 was
/// not read in a source), if what it had there was dirty. Others are told when they get there: nobody asks to be told early.
///
/// # Errors
/// `EBUSY`: somebody else has a reference too. The page is out of the mapping all the same.
pub fn memory_failure<R: Runtime>(rt: &R, mm: MmId, page: u64, folio: FolioId) -> Result<bool> {
    let (inode, index, tells) = rt.step(Op::world("TestSetPageHWPoison"), |w| {
        let state = w.folios[folio];
        (state.inode, state.index, action_required(w, mm, page, state.inode))
    });
    if inode.is_none() {
        return Ok(rt.step(Op::world("hwpoison_user_mappings"), |w| lose_anonymous(w, mm, folio)) && tells);
    }
    let task = rt.task();
    if !lock_folio(rt, inode, folio) {
        // "already truncated LRU page"
        return Err(Errno::EBUSY.into());
    }
    let clean = rt.step(Op::new("folio_test_dirty").read(Object::entries(inode)), |w| !w.folios[folio].dirty);
    // hwpoison_user_mappings: what only the page tables know counts.
    let dirty = !clean || folio_mkclean(rt, inode, index);
    let mapped = dirty && rt.step(Op::world("collect_procs_file"), |w| maps(w, mm, inode, index));
    try_to_unmap(rt, inode, index, if dirty { Pte::hwpoison() } else { Pte::NONE });
    let op = Op::new("truncate_error_folio").write(Object::entries(inode)).write(Object::data(inode));
    let busy = rt.step(op, |w| {
        if dirty {
            w.mapping_set_error(inode);
        }
        w.remove_folio(task, folio);
        w.unlock_folio(folio);
        w.folios[folio].refs > 1
    });
    if busy && !(mapped && tells) { Err(Errno::EBUSY.into()) } else { Ok(mapped && tells) }
}

fn action_required<F: FileSystem>(w: &World<F>, mm: MmId, page: u64, inode: InodeId) -> bool {
    let mapped = || crate::mm::mmap::find_vma(w, mm, page << PAGE_SHIFT).map(|vma| w.vmas[vma].inode);
    let inode = inode.some().or_else(|| mapped().and_then(InodeId::some));
    // Memory of no file is that of whichever kernel there is.
    let sb = inode.map_or(crate::ids::SbId(0), |inode| w.inodes[inode].sb);
    w.sbs.get(usize::from(sb.0)).is_none_or(|mount| mount.profile.kernel >= Kernel(6, 11))
}

/// `collect_procs_file`: a mapping that covers the page is enough.
fn maps<F: FileSystem>(w: &World<F>, mm: MmId, inode: InodeId, index: u64) -> bool {
    let mut vma = w.inodes[inode].mmap;
    while let Some(at) = vma.some() {
        let mapping = w.vmas[at];
        if mapping.mm == mm && mapping.address_of(index).is_some() {
            return true;
        }
        vma = mapping.next_of_inode;
    }
    false
}

/// An anonymous page is lost wherever it is mapped; true when `mm` is among those.
fn lose_anonymous<F: FileSystem>(w: &mut World<F>, mm: MmId, folio: FolioId) -> bool {
    let mut told = false;
    for id in w.vmas.ids() {
        let vma = w.vmas[id];
        let (mut at, to) = (vma.start >> PAGE_SHIFT, vma.end >> PAGE_SHIFT);
        while let Some((page, huge, pte)) = w.tables.next_present(vma.mm, at, to) {
            at = page.max(at) + 1;
            if !huge && pte.present() && pte.frame() == Frame::folio(folio) {
                told |= vma.mm == mm;
                w.tables.set_pte(vma.mm, page, Pte::hwpoison());
                w.drop_mapped(pte);
            }
        }
    }
    told
}
