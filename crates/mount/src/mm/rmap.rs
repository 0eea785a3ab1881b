//! From a file's page to where it is mapped: `unmap_mapping_range`, `pfn_mkclean_range` (Linux 6.12).
//!
//! `i_mmap_rwsem` is held shared over the walk, so the list stands still; each VMA is one step.

use crate::fs::FileSystem;
use crate::ids::{InodeId, PAGE_SHIFT, VmaId};
use crate::locks::{LockId, Mode, acquire, release};
use crate::mm::page_table::{FrameKind, Pte};
use crate::op::{Object, Op};
use crate::runtime::Runtime;
use crate::world::World;
use crate::world::objects::Vma;

impl<F: FileSystem> World<F> {
    /// Puts a VMA on its inode's list.
    pub(crate) fn vma_link_file(&mut self, vma: VmaId) {
        let inode = self.vmas[vma].inode;
        if inode.is_some() {
            self.touch(Object::i_mmap(inode), true);
            self.vmas[vma].next_of_inode = self.inodes[inode].mmap;
            self.inodes[inode].mmap = vma;
            self.inodes[inode].mapped += 1;
        }
    }

    /// Takes a VMA off its inode's list.
    pub(crate) fn vma_unlink_file(&mut self, vma: VmaId) {
        let inode = self.vmas[vma].inode;
        if inode.is_none() {
            return;
        }
        self.touch(Object::i_mmap(inode), true);
        let next = self.vmas[vma].next_of_inode;
        let mut at = self.inodes[inode].mmap;
        if at == vma {
            self.inodes[inode].mmap = next;
        } else {
            while at.is_some() && self.vmas[at].next_of_inode != vma {
                at = self.vmas[at].next_of_inode;
            }
            if at.is_some() {
                self.vmas[at].next_of_inode = next;
            }
        }
        self.inodes[inode].mapped -= 1;
    }

    /// Lets go of what an entry mapped: a dirty folio becomes dirty, an anonymous page is freed with its last reference.
    pub(crate) fn drop_mapped(&mut self, pte: Pte) {
        if !pte.present() {
            return;
        }
        if let FrameKind::Folio(folio) = pte.frame().kind() {
            if pte.dirty() && self.folios[folio].inode.is_some() {
                self.mark_folio_dirty(folio);
            }
            self.put_folio(folio);
        }
    }

    /// Clears the entries of pages `from .. to` of an address space. A huge entry that is only partly inside goes whole:
    /// a file's pages fault in again.
    pub(crate) fn zap_range(&mut self, vma: &Vma, from: u64, to: u64, even_cows: bool) {
        self.touch(Object::ptes(vma.mm), true);
        let mut at = from;
        while let Some((page, huge, pte)) = self.tables.next_present(vma.mm, at, to) {
            at = page.max(at) + 1;
            // What stands for a lost page is taken for a copy.
            let private = pte.is_hwpoison()
                || matches!(pte.frame().kind(), FrameKind::Folio(folio) if self.folios[folio].inode.is_none());
            if private && !even_cows {
                continue;
            }
            if huge {
                self.tables.split(vma.mm, page);
                at = page + crate::ids::PTRS_PER_PMD;
            } else {
                self.tables.set_pte(vma.mm, page, Pte::NONE);
                self.drop_mapped(pte);
            }
        }
    }
}

/// The pages of a VMA's address space that map pages `first ..= last` of the file.
fn overlap(vma: &Vma, first: u64, last: u64) -> Option<(u64, u64)> {
    let pages = (vma.end - vma.start) >> PAGE_SHIFT;
    let from = first.max(vma.pgoff);
    let to = last.saturating_add(1).min(vma.pgoff + pages);
    let base = vma.start >> PAGE_SHIFT;
    (from < to).then(|| (base + from - vma.pgoff, base + to - vma.pgoff))
}

fn each_vma<R: Runtime>(
    rt: &R,
    name: &'static str,
    inode: InodeId,
    first: u64,
    last: u64,
    mut f: impl FnMut(&mut World<R::Fs>, &Vma, u64, u64),
) {
    let lock = LockId::i_mmap(inode);
    let list = Object::i_mmap(inode);
    // Most files are mapped nowhere; then there is nothing to be locked out.
    let mut at = rt.step(Op::new("mapping_mapped").read(list), |w| {
        w.touch(list, false);
        w.inodes[inode].mmap
    });
    if at.is_none() {
        return;
    }
    acquire(rt, lock, Mode::Shared);
    at = rt.step(Op::new("i_mmap").read(list), |w| w.inodes[inode].mmap);
    while let Some(id) = at.some() {
        let vma = rt.step(Op::new("i_mmap next").read(list), |w| w.vmas[id]);
        if let Some((from, to)) = overlap(&vma, first, last) {
            rt.step(Op::new(name).write(Object::ptes(vma.mm)).write(Object::ALL_DATA), |w| f(w, &vma, from, to));
        }
        at = vma.next_of_inode;
    }
    release(rt, lock);
}

/// `unmap_mapping_range`: takes pages `first ..= last` of a file out of every address space; private copies only with
/// `even_cows`.
pub fn unmap_mapping_range<R: Runtime>(rt: &R, inode: InodeId, first: u64, last: u64, even_cows: bool) {
    each_vma(rt, "unmap_mapping_range", inode, first, last, |w, vma, from, to| w.zap_range(vma, from, to, even_cows));
}

/// `folio_mkclean`: the same of one page, and whether there was anything to clean.
pub(crate) fn folio_mkclean<R: Runtime>(rt: &R, inode: InodeId, index: u64) -> bool {
    let mut dirty = false;
    each_vma(rt, "folio_mkclean", inode, index, index, |w, vma, page, _| {
        let pte = w.tables.translate(vma.mm, page);
        if vma.shared() && pte.present() {
            w.touch(Object::ptes(vma.mm), true);
            dirty |= pte.dirty();
            w.tables.update(vma.mm, page, Pte::cleaned);
        }
    });
    dirty
}

/// `try_to_unmap`: a page of the page cache goes from every address space, private copies stay. `left` is what stands there from then on.
pub(crate) fn try_to_unmap<R: Runtime>(rt: &R, inode: InodeId, index: u64, left: Pte) {
    each_vma(rt, "try_to_unmap", inode, index, index, |w, vma, page, _| {
        let pte = w.tables.translate(vma.mm, page);
        let cached =
            pte.present() && matches!(pte.frame().kind(), FrameKind::Folio(folio) if w.folios[folio].inode == inode);
        if cached {
            w.touch(Object::ptes(vma.mm), true);
            w.tables.set_pte(vma.mm, page, left);
            w.drop_mapped(pte);
        }
    });
}

/// `pfn_mkclean_range`, and `folio_mkclean` of write-back: write-protects and cleans pages `first ..= last` of a file in every shared mapping.
pub fn pfn_mkclean_range<R: Runtime>(rt: &R, inode: InodeId, first: u64, last: u64) {
    each_vma(rt, "pfn_mkclean_range", inode, first, last, |w, vma, from, to| {
        if !vma.shared() {
            return;
        }
        w.touch(Object::ptes(vma.mm), true);
        let mut at = from;
        while let Some((page, huge, _)) = w.tables.next_present(vma.mm, at, to) {
            w.tables.update(vma.mm, page, Pte::cleaned);
            at = page.max(at) + 1;
            if huge {
                at = page + crate::ids::PTRS_PER_PMD;
            }
        }
    });
}
