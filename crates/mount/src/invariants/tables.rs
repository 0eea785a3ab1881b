//! Properties of page tables.

use super::judge::{Judge, Wanted};
use crate::dax::entry::PageEntry;
use crate::fs::{Backing, FileSystem};
use crate::ids::{FolioId, InodeId, MmId, PAGE_SHIFT, PAGE_SIZE, PTRS_PER_PMD};
use crate::mm::page_table::{FrameKind, Pte};
use crate::world::objects::{VmFlags, Vma};
use crate::xarray::Tag;

/// P4 to P9 of pages `from ..= to` of an address space.
pub(super) fn of_mm<F: FileSystem>(judge: &mut Judge<'_, F>, mm: MmId, from: u64, to: u64) {
    let mut at = judge.w.mms[mm].vmas;
    while let Some(id) = at.some() {
        let vma = judge.w.vmas[id];
        at = vma.next_of_mm;
        of_vma(judge, &vma, from, to);
    }
}

/// The same of pages `from ..= to` of a file, wherever they are mapped.
pub(super) fn of_inode<F: FileSystem>(judge: &mut Judge<'_, F>, inode: InodeId, from: u64, to: u64) {
    let mut at = judge.w.inodes[inode].mmap;
    while let Some(id) = at.some() {
        let vma = judge.w.vmas[id];
        at = vma.next_of_inode;
        let base = vma.start >> PAGE_SHIFT;
        let page_of = |index: u64| base.saturating_add(index.saturating_sub(vma.pgoff));
        if to >= vma.pgoff {
            of_vma(judge, &vma, page_of(from), page_of(to));
        }
    }
}

fn of_vma<F: FileSystem>(judge: &mut Judge<'_, F>, vma: &Vma, from: u64, to: u64) {
    let (first, end) = ((vma.start >> PAGE_SHIFT).max(from), (vma.end >> PAGE_SHIFT).min(to.saturating_add(1)));
    if vma.inode.is_none() || first >= end {
        return;
    }
    let due = judge.due(vma.inode);
    if due.is_empty() {
        return;
    }
    let w = judge.w;
    w.tables.for_each(vma.mm, first, end, |page, huge, pte| {
        let address = (page << PAGE_SHIFT).max(vma.start);
        if pte.present() {
            entry(judge, due, vma, address, huge, pte);
        }
    });
}

/// One entry of a page table, and what is said of it.
struct Seen<'a> {
    vma: &'a Vma,
    address: u64,
    index: u64,
    huge: bool,
    pte: Pte,
    due: Wanted,
}

impl Seen<'_> {
    fn say<F: FileSystem>(&self, judge: &mut Judge<'_, F>, property: u8, what: &str) {
        if self.due.has(property) {
            let Self { vma, address, index, pte, .. } = self;
            judge.say(property, format!("{what}: {} {address:#x} maps {pte:?}, {} {index:#x}", vma.mm, vma.inode));
        }
    }
}

fn entry<F: FileSystem>(judge: &mut Judge<'_, F>, due: Wanted, vma: &Vma, address: u64, huge: bool, pte: Pte) {
    let w = judge.w;
    let seen = Seen { vma, address, index: vma.index_of(address), huge, pte, due };
    let private = matches!(pte.frame().kind(), FrameKind::Folio(folio) if w.folios[folio].inode.is_none());
    if private && !vma.shared() {
        return;
    }
    if seen.index << PAGE_SHIFT >= w.inodes[vma.inode].disk.size.next_multiple_of(PAGE_SIZE) {
        seen.say(judge, 9, "a page past the end is mapped");
    }
    match pte.frame().kind() {
        FrameKind::Pmem(sb, pfn) if sb == w.inodes[vma.inode].sb => device_page(judge, &seen, pfn),
        FrameKind::Pmem(..) => seen.say(judge, 4, "a page of another device is mapped"),
        FrameKind::Folio(folio) => cached_page(judge, &seen, folio),
        FrameKind::ZeroPage | FrameKind::HugeZeroPage => {
            if pte.writable() {
                seen.say(judge, 8, "the zero page is writable");
            }
        }
    }
}

fn device_page<F: FileSystem>(judge: &mut Judge<'_, F>, seen: &Seen<'_>, pfn: u64) {
    let w = judge.w;
    let (inode, index) = (seen.vma.inode, seen.index);
    let node = &w.inodes[inode];
    let fs = &w.sb(node.sb).fs;
    let first = if seen.huge { index & !(PTRS_PER_PMD - 1) } else { index };
    let entry = match w.page_entry(inode, index) {
        Some(PageEntry::Dax(entry)) => Some(entry),
        _ => None,
    };
    let excused = |judge: &Judge<'_, F>, property| entry.is_some_and(|entry| judge.excused(property, entry));
    if (seen.due.has(4) || seen.due.has(8)) && !excused(judge, 4) {
        let backing = fs.map(node.ino, first, 1).map(|extent| extent.backing);
        if backing == Ok(Backing::Unwritten(pfn)) {
            seen.say(judge, 8, "a page is mapped whose block was never written");
        } else if backing != Ok(Backing::Mapped(pfn)) {
            seen.say(judge, 4, &format!("a page is mapped that is not the file's, which has {backing:?}"));
        }
        if !entry.is_some_and(|entry| entry.is_real()) {
            seen.say(judge, 4, "a device page is mapped without an entry");
        }
    }
    if !seen.pte.writable() {
        return;
    }
    if !excused(judge, 6) && !node.pages.tag(&w.nodes, index, Tag::Dirty) {
        seen.say(judge, 6, "a writable page whose entry is clean");
    }
    // A file without a name does not outlive a crash, so nothing of it has to. Where nothing waits for a commit all is well.
    let promised = seen.vma.flags.contains(VmFlags::SYNC | VmFlags::SHARED) && node.disk.nlink > 0;
    if seen.due.has(7) && promised && fs.is_dirty(node.ino) {
        let after = judge.after_crash(node.sb).map(|fs| fs.map(node.ino, first, 1).map(|extent| extent.backing));
        if let Some(after) = after
            && after != Ok(Backing::Mapped(pfn))
        {
            seen.say(judge, 7, &format!("a page is writable that a crash would leave as {after:?}"));
        }
    }
}

fn cached_page<F: FileSystem>(judge: &mut Judge<'_, F>, seen: &Seen<'_>, folio: FolioId) {
    let state = judge.w.folios[folio];
    if !judge.excused_by_folio(5, state.locked) && (state.inode != seen.vma.inode || state.index != seen.index) {
        seen.say(judge, 5, "a page is mapped that left the mapping");
    }
    let writable = seen.pte.writable() && seen.vma.shared();
    if writable && !state.dirty && !judge.excused_by_folio(6, state.locked) {
        seen.say(judge, 6, "a writable page that is clean");
    }
}
