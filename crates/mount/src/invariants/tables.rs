//! Properties of page tables.

use super::Broken;
use crate::dax::entry::PageEntry;
use crate::fs::{Backing, FileSystem};
use crate::ids::{MmId, PAGE_SHIFT, PAGE_SIZE};
use crate::mm::page_table::{FrameKind, Pte};
use crate::world::World;
use crate::world::objects::Vma;
use crate::xarray::Tag;

/// P4, P6 and P9 of every entry of an address space.
pub(super) fn owned<F: FileSystem>(w: &World<F>, mm: MmId, broken: &mut Vec<Broken>) {
    let mut at = w.mms[mm].vmas;
    while let Some(id) = at.some() {
        let vma = w.vmas[id];
        at = vma.next_of_mm;
        if vma.inode.is_none() {
            continue;
        }
        w.tables.for_each(mm, vma.start >> PAGE_SHIFT, vma.end >> PAGE_SHIFT, |page, huge, pte| {
            let address = (page << PAGE_SHIFT).max(vma.start);
            judge(w, &vma, address, huge, pte, broken);
        });
    }
}

fn judge<F: FileSystem>(w: &World<F>, vma: &Vma, address: u64, huge: bool, pte: Pte, broken: &mut Vec<Broken>) {
    if !pte.present() {
        return;
    }
    let inode = vma.inode;
    let node = &w.inodes[inode];
    let index = vma.index_of(address);
    let mut say = |property, what: String| {
        broken.push(Broken {
            property,
            what: format!("{what}: {} {address:#x} maps {pte:?}, {inode} {index:#x}", vma.mm),
        });
    };
    let private = matches!(pte.frame().kind(), FrameKind::Folio(folio) if w.folios[folio].inode.is_none());
    if private && !vma.shared() {
        return;
    }
    if index << PAGE_SHIFT >= node.disk.size.next_multiple_of(PAGE_SIZE) {
        say(9, "a page past the end is mapped".to_owned());
    }
    match pte.frame().kind() {
        FrameKind::Pmem(sb, pfn) => {
            let first = if huge { index & !(crate::ids::PTRS_PER_PMD - 1) } else { index };
            let backing = w.sb(sb).fs.map(node.ino, first, 1).map(|extent| extent.backing);
            if sb != node.sb || backing != Ok(Backing::Mapped(pfn)) {
                say(4, format!("a page is mapped that is not the file's, which has {backing:?}"));
            }
            let entry = w.page_entry(inode, index);
            if !matches!(entry, Some(PageEntry::Dax(entry)) if entry.is_real()) {
                say(4, "a device page is mapped without an entry".to_owned());
            }
            if pte.writable() && !node.pages.tag(&w.nodes, index, Tag::Dirty) {
                say(6, "a writable page whose entry is clean".to_owned());
            }
        }
        FrameKind::Folio(folio) => {
            if w.folios[folio].inode != inode || w.folios[folio].index != index {
                say(5, "a page is mapped that left the mapping".to_owned());
            }
            if pte.writable() && vma.shared() && !w.folios[folio].dirty {
                say(6, "a writable page that is clean".to_owned());
            }
        }
        FrameKind::ZeroPage | FrameKind::HugeZeroPage => {
            if pte.writable() {
                say(8, "the zero page is writable".to_owned());
            }
        }
    }
}
