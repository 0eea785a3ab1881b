//! Memory for pages. One piece for each page would cost more than what is copied into it, and a few pages are no reason for a large piece:
//! the first slab is one page, each is twice the one before, until they are as large as the host's large pages. Memory that many pages were
//! written in becomes a slab as it is.

use super::pages::{Content, PAGE};
use crate::aligned::AlignedBuffer;

/// Pages of a slab that is not doubled any more.
const MOST: usize = 512;

/// Memory for pages.
#[derive(Debug, Default)]
pub(super) struct Slabs {
    slabs: Vec<AlignedBuffer>,
    /// The slab that pages are taken from one by one, how many it has, and how many were taken.
    open: (usize, usize, usize),
    /// Pages that were given back.
    free: Vec<Slot>,
    /// Pages in use.
    used: usize,
}

/// A page of a slab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    slab: usize,
    page: usize,
}

impl Slabs {
    /// A page for this content.
    pub(super) fn put(&mut self, content: &Content) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| self.next());
        self.used += 1;
        *self.get_mut(slot) = *content;
        slot
    }

    fn next(&mut self) -> Slot {
        let (slab, pages, taken) = self.open;
        if taken < pages {
            self.open.2 += 1;
            return Slot { slab, page: taken };
        }
        let pages = (pages * 2).clamp(1, MOST);
        let slab = self.add(AlignedBuffer::new(pages * PAGE as usize));
        self.open = (slab, pages, 1);
        Slot { slab, page: 0 }
    }

    fn add(&mut self, buffer: AlignedBuffer) -> usize {
        self.slabs.push(buffer);
        self.slabs.len() - 1
    }

    /// Takes memory with so many pages in it, from page `first` of it on.
    pub(super) fn adopt(
        &mut self,
        buffer: AlignedBuffer,
        first: usize,
        count: usize,
    ) -> impl Iterator<Item = Slot> + use<> {
        self.used += count;
        let slab = self.add(buffer);
        (first..first + count).map(move |page| Slot { slab, page })
    }

    /// Gives a page back.
    pub(super) fn free(&mut self, slot: Slot) {
        self.used -= 1;
        self.free.push(slot);
    }

    pub(super) fn get(&self, slot: Slot) -> &Content {
        &self.slabs[slot.slab].as_chunks().0[slot.page]
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> &mut Content {
        &mut self.slabs[slot.slab].as_chunks_mut().0[slot.page]
    }

    /// How many pages are in use.
    pub(super) fn len(&self) -> usize {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_has_a_place_of_its_own() {
        let mut slabs = Slabs::default();
        let content = |n: usize| {
            let mut content = [0; PAGE as usize];
            content[..8].copy_from_slice(&n.to_le_bytes());
            content
        };
        let mut all: Vec<(Slot, usize)> = (0..MOST).map(|n| (slabs.put(&content(n)), n)).collect();
        let mut buffer = AlignedBuffer::new(9 * PAGE as usize);
        for (bytes, n) in buffer.chunks_exact_mut(PAGE as usize).zip(1000..) {
            bytes.copy_from_slice(&content(n));
        }
        all.extend(slabs.adopt(buffer, 2, 7).zip(1002..));
        all.extend((2000..2000 + 3 * MOST).map(|n| (slabs.put(&content(n)), n)));
        assert!(all.iter().all(|(slot, n)| *slabs.get(*slot) == content(*n)));
        assert_eq!(slabs.len(), 4 * MOST + 7);
        let (slot, _) = all.swap_remove(7);
        slabs.free(slot);
        assert_eq!(slabs.put(&content(9999)), slot);
        assert!(all.iter().all(|(slot, n)| *slabs.get(*slot) == content(*n)) && *slabs.get(slot) == content(9999));
    }
}
