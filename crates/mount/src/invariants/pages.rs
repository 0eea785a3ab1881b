//! Properties of `i_pages`.

use super::Broken;
use crate::dax::entry::PageEntry;
use crate::fs::{Backing, FileSystem};
use crate::ids::{InodeId, PAGE_SHIFT};
use crate::world::World;

fn each<F: FileSystem>(w: &World<F>, inode: InodeId, mut f: impl FnMut(u64, u32, PageEntry)) {
    let pages = w.inodes[inode].pages;
    let mut at = 0;
    while let Some(found) = pages.first_in(&w.nodes, at, u64::MAX >> PAGE_SHIFT) {
        f(found.index, found.order, PageEntry::decode(found.value));
        at = found.index + (1 << found.order);
    }
}

/// P3: entries of an `S_DAX` inode, folios of any other, never both.
pub(super) fn homogeneous<F: FileSystem>(w: &World<F>, inode: InodeId, broken: &mut Vec<Broken>) {
    let s_dax = w.inodes[inode].s_dax;
    each(w, inode, |index, _, entry| match entry {
        PageEntry::Folio(folio) if s_dax => {
            broken.push(Broken { property: 3, what: format!("{folio} at {index:#x} of {inode}, which is S_DAX") });
        }
        PageEntry::Dax(entry) if !s_dax => {
            broken
                .push(Broken { property: 3, what: format!("{entry:?} at {index:#x} of {inode}, which is not S_DAX") });
        }
        _ => {}
    });
}

/// `nrpages` is what is there: `clear_inode` insists on it. No entry is locked at rest.
pub(super) fn counted<F: FileSystem>(w: &World<F>, inode: InodeId, broken: &mut Vec<Broken>) {
    let mut pages = 0;
    each(w, inode, |index, order, entry| {
        pages += 1 << order;
        if let PageEntry::Dax(entry) = entry
            && entry.is_locked()
        {
            broken
                .push(Broken { property: 10, what: format!("the entry at {index:#x} of {inode} is locked for ever") });
        }
    });
    let told = w.inodes[inode].nrpages;
    if told != pages {
        broken.push(Broken { property: 3, what: format!("nrpages of {inode} is {told}, {pages} pages are there") });
    }
}

/// P4: an entry's page is the block that the file has there; a freed block has no entry.
pub(super) fn owned<F: FileSystem>(w: &World<F>, inode: InodeId, broken: &mut Vec<Broken>) {
    let node = &w.inodes[inode];
    let fs = &w.sb(node.sb).fs;
    each(w, inode, |index, order, entry| {
        let PageEntry::Dax(entry) = entry else { return };
        if !entry.is_real() {
            return;
        }
        for page in 0..1u64 << order {
            let backing = fs.map(node.ino, index + page, 1).map(|extent| extent.backing);
            if backing != Ok(Backing::Mapped(entry.pfn() + page)) {
                let what = format!("{inode} {:#x} has {entry:?}, the file {backing:?}", index + page);
                broken.push(Broken { property: 4, what });
                return;
            }
        }
    });
}
