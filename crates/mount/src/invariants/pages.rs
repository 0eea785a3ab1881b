//! Properties of `i_pages`.

use super::judge::{Judge, Wanted};
use crate::dax::entry::PageEntry;
use crate::fs::{Backing, FileSystem};
use crate::ids::{InodeId, PAGE_SHIFT};
use crate::world::World;

fn each<F: FileSystem>(w: &World<F>, inode: InodeId, from: u64, to: u64, mut f: impl FnMut(u64, u32, PageEntry)) {
    let pages = w.inodes[inode].pages;
    let mut at = from;
    while let Some(found) = pages.first_in(&w.nodes, at, to) {
        f(found.index, found.order, PageEntry::decode(found.value));
        at = found.index + (1 << found.order);
    }
}

/// P3: entries of an `S_DAX` inode, folios of any other, never both.
pub(super) fn homogeneous<F: FileSystem>(judge: &mut Judge<'_, F>, inode: InodeId, from: u64, to: u64) {
    let w = judge.w;
    let s_dax = w.inodes[inode].s_dax;
    each(w, inode, from, to, |index, _, entry| match entry {
        PageEntry::Folio(folio) if s_dax => {
            judge.say(3, format!("{folio} at {index:#x} of {inode}, which is S_DAX"));
        }
        PageEntry::Dax(entry) if !s_dax => {
            judge.say(3, format!("{entry:?} at {index:#x} of {inode}, which is not S_DAX"));
        }
        _ => {}
    });
}

/// P3: `nrpages` is what is there: `clear_inode` insists on it. P10: no entry is locked at rest.
pub(super) fn counted<F: FileSystem>(judge: &mut Judge<'_, F>, inode: InodeId) {
    let w = judge.w;
    let mut pages = 0;
    each(w, inode, 0, u64::MAX >> PAGE_SHIFT, |index, order, entry| {
        pages += 1 << order;
        if let PageEntry::Dax(entry) = entry
            && entry.is_locked()
            && judge.at_rest
        {
            judge.say(10, format!("the entry at {index:#x} of {inode} is locked for ever"));
        }
    });
    let told = w.inodes[inode].nrpages;
    if told != pages {
        judge.say(3, format!("nrpages of {inode} is {told}, {pages} pages are there"));
    }
}

/// P4: an entry's page is the block that the file has there; a freed block has no entry. P8: nor has one that was never written.
pub(super) fn owned<F: FileSystem>(judge: &mut Judge<'_, F>, due: Wanted, inode: InodeId, from: u64, to: u64) {
    let w = judge.w;
    let node = &w.inodes[inode];
    let fs = &w.sb(node.sb).fs;
    each(w, inode, from, to, |index, order, entry| {
        let PageEntry::Dax(entry) = entry else { return };
        if !entry.is_real() || judge.excused(4, entry) {
            return;
        }
        for page in 0..1u64 << order {
            let backing = fs.map(node.ino, index + page, 1).map(|extent| extent.backing);
            let pfn = entry.pfn() + page;
            if backing != Ok(Backing::Mapped(pfn)) {
                let property = if backing == Ok(Backing::Unwritten(pfn)) { 8 } else { 4 };
                if due.has(property) {
                    judge.say(property, format!("{inode} {:#x} has {entry:?}, the file {backing:?}", index + page));
                }
                return;
            }
        }
    });
}
