//! Putting what a fault found into `i_pages` and into the page table.

use super::entry::{DaxEntry, PageEntry, label};
use crate::fail::{Oops, Result};
use crate::fs::FileSystem;
use crate::ids::{InodeId, PAGE_SHIFT, PTRS_PER_PMD};
use crate::mm::fault::Vmf;
use crate::mm::page_table::{Frame, Pte, Walk};
use crate::mm::rmap::unmap_mapping_range;
use crate::op::{Object, Op};
use crate::runtime::Runtime;
use crate::world::World;
use crate::world::objects::{IState, VmFlags};
use crate::xarray::Tag;

/// What `dax_insert_entry` is told.
#[derive(Debug, Clone, Copy)]
pub struct Insert {
    /// The file.
    pub inode: InodeId,
    /// Page of the file.
    pub index: u64,
    /// A write that is not synchronous: the entry becomes dirty.
    pub dirty: bool,
    /// The extent was shared and is a copy now: even a real entry is replaced.
    pub copied: bool,
    /// Other files may own the page too.
    pub shared: bool,
}

/// `dax_insert_entry`: replaces an empty or zero entry (or a shared one) by `new`; a real one stays as it is. The entry is
/// locked by the caller and stays so. A zero page is taken out of every mapping first.
#[inline]
pub fn dax_insert_entry<R: Runtime>(rt: &R, insert: Insert, old: DaxEntry, new: DaxEntry) -> DaxEntry {
    let Insert { inode, index, dirty, copied, shared } = insert;
    if dirty {
        rt.step(Op::new("__mark_inode_dirty").write(Object::life(inode)), |w| {
            w.inodes[inode].state |= IState::DIRTY_PAGES;
        });
    }
    if copied || (old.is_zero() && !new.is_zero()) {
        let pages = if old.is_pmd() { PTRS_PER_PMD } else { 1 };
        let first = index & !(pages - 1);
        unmap_mapping_range(rt, inode, first, first + pages - 1, false);
    }
    rt.step(Op::new("dax_insert_entry").write(label(inode, index)).write(Object::PINS), |w| {
        let entry = if copied || old.is_zero() || old.is_empty() {
            w.disassociate(inode, old);
            if copied && old.is_pmd() && !new.is_pmd() {
                // One page of the 2 MiB is another one now: the entry for all of them goes.
                w.clear_page_entry(inode, index);
                w.wake(super::entry::queue(inode, index), crate::wait::Wake::All);
            }
            w.associate(inode, index, new, shared);
            let entry = new.locked();
            w.set_page_entry(inode, index, PageEntry::Dax(entry));
            entry
        } else {
            old.locked()
        };
        if dirty {
            w.touch(label(inode, index), true);
            let node = &mut w.inodes[inode];
            node.pages.set_tag(&mut w.nodes, index, Tag::Dirty, true);
            if copied {
                node.pages.set_tag(&mut w.nodes, index, Tag::ToWrite, true);
            }
        }
        entry
    })
}

/// The extent was copied, but no entry of 2 MiB comes of it: the old one, locked by the caller, becomes empty, or it would show
/// what the file does not own any more.
pub fn forget_entry<R: Runtime>(rt: &R, inode: InodeId, index: u64, old: DaxEntry) -> DaxEntry {
    if !old.is_real() {
        return old;
    }
    unmap_mapping_range(rt, inode, index, index + PTRS_PER_PMD - 1, false);
    rt.step(Op::new("dax_insert_entry").write(label(inode, index)).write(Object::PINS), |w| {
        w.disassociate(inode, old);
        let entry = DaxEntry::empty(old.is_pmd()).locked();
        w.set_page_entry(inode, index, PageEntry::Dax(entry));
        entry
    })
}

/// How `insert_pfn` puts an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// Read-only (`vmf_insert_mixed`).
    ReadOnly,
    /// Writable and dirty (`vmf_insert_mixed_mkwrite`): an entry for the same page is upgraded.
    Writable,
}

fn pte_op(name: &'static str, vmf: &Vmf) -> Op {
    Op::new(name).write(Object::pte(vmf.mm, vmf.address >> PAGE_SHIFT)).read(Object::vma(vmf.vma))
}

/// `insert_pfn` (`mm/memory.c`): one page-table entry, under its lock. An entry for another page stays; the access faults again.
///
/// # Errors
/// Until 4.18 a `BUG_ON`: a mapping that was made while the file was no DAX file is not one that pages of a device go into.
#[inline]
pub fn insert_pfn<R: Runtime>(rt: &R, vmf: &Vmf, frame: Frame, put: Put) -> Result<()> {
    let page = vmf.address >> PAGE_SHIFT;
    rt.step(pte_op("insert_pfn", vmf), |w| {
        if w.sb(vmf.sb).profile.wants_mixedmap() && !w.vmas[vmf.vma].flags.contains(VmFlags::MIXEDMAP) {
            return Err(w.oops(vmf.task, Oops::Bug { condition: "!(vma->vm_flags & VM_MIXEDMAP)" }));
        }
        w.touch(Object::pte(vmf.mm, page), true);
        let pte = match w.tables.walk(vmf.mm, page) {
            Walk::Huge(_) => return Ok(()),
            Walk::PmdNone => Pte::NONE,
            Walk::Pte(pte) => pte,
        };
        if pte.present() {
            if put == Put::Writable && pte.frame() == frame {
                w.tables.set_pte(vmf.mm, page, pte.made_writable());
            }
            return Ok(());
        }
        if pte.is_hwpoison() {
            return Ok(());
        }
        let new = Pte::new(frame, true);
        w.tables.set_pte(vmf.mm, page, if put == Put::Writable { new.made_writable() } else { new });
        Ok(())
    })
}

/// `insert_pfn_pmd` (`mm/huge_memory.c`). Returns whether the entry is there: not if a table is in the way.
pub fn insert_pfn_pmd<R: Runtime>(rt: &R, vmf: &Vmf, frame: Frame, put: Put) -> bool {
    let page = vmf.address >> PAGE_SHIFT & !(PTRS_PER_PMD - 1);
    let op = Op::new("insert_pfn_pmd").write(Object::ptes(vmf.mm)).read(Object::vma(vmf.vma));
    rt.step(op, |w| put_huge(w, vmf, page, frame, put))
}

fn put_huge<F: FileSystem>(w: &mut World<F>, vmf: &Vmf, page: u64, frame: Frame, put: Put) -> bool {
    w.touch(Object::ptes(vmf.mm), true);
    match w.tables.walk(vmf.mm, page) {
        Walk::Pte(_) => false,
        Walk::Huge(pte) => {
            if put == Put::Writable && pte.frame() == frame {
                w.tables.update(vmf.mm, page, Pte::made_writable);
            }
            true
        }
        Walk::PmdNone => {
            let new = Pte::new(frame, true);
            w.tables.set_huge(vmf.mm, page, if put == Put::Writable { new.made_writable() } else { new });
            true
        }
    }
}
