//! Folios: pages of the page cache, and anonymous ones.

use crate::dax::entry::PageEntry;
use crate::fs::FileSystem;
use crate::ids::{FolioId, InodeId, PAGE_SIZE};
use crate::trace::Event;
use crate::wait::{QueueKey, Wake};
use crate::world::World;
use crate::world::objects::{Folio, IState};
use crate::xarray::Tag;

impl<F: FileSystem> World<F> {
    /// A zeroed page with one reference; anonymous when `inode` is none.
    pub(crate) fn alloc_folio(&mut self, inode: InodeId, index: u64) -> FolioId {
        let folio =
            Folio { inode, index, uptodate: inode.is_none(), locked: false, dirty: false, writeback: false, refs: 1 };
        let id = self.folios.insert(folio);
        let at = id.0 as usize;
        if self.folio_bytes.len() <= at {
            self.folio_bytes.resize(at + 1, [0; PAGE_SIZE as usize]);
        } else {
            self.folio_bytes[at] = [0; PAGE_SIZE as usize];
        }
        id
    }

    /// Drops a reference; the last one frees.
    pub(crate) fn put_folio(&mut self, folio: FolioId) {
        let refs = &mut self.folios[folio].refs;
        *refs = refs.saturating_sub(1);
        if *refs == 0 {
            self.folios.remove(folio);
        }
    }

    /// The folio at an index, if one is there.
    pub(crate) fn find_folio(&self, inode: InodeId, index: u64) -> Option<FolioId> {
        match self.page_entry(inode, index) {
            Some(PageEntry::Folio(folio)) => Some(folio),
            _ => None,
        }
    }

    /// `filemap_add_folio`: locked, not up to date; the cache holds a reference. A DAX entry that is there is taken for a shadow
    /// and swallowed, as `__filemap_add_folio` does.
    pub(crate) fn add_folio(&mut self, task: crate::ids::TaskId, inode: InodeId, index: u64) -> FolioId {
        let folio = self.alloc_folio(inode, index);
        self.folios[folio].locked = true;
        self.set_page_entry(inode, index, PageEntry::Folio(folio));
        self.trace.emit(task, Event::FilemapAdd { inode, pgoff: index });
        folio
    }

    /// `filemap_remove_folio`: the cache's reference goes.
    pub(crate) fn remove_folio(&mut self, task: crate::ids::TaskId, folio: FolioId) {
        let (inode, index) = (self.folios[folio].inode, self.folios[folio].index);
        if inode.is_none() {
            return;
        }
        self.clear_page_entry(inode, index);
        self.folios[folio].inode = InodeId::NONE;
        self.folios[folio].dirty = false;
        self.trace.emit(task, Event::FilemapDelete { inode, pgoff: index });
        self.put_folio(folio);
    }

    /// `folio_trylock`.
    pub(crate) fn try_lock_folio(&mut self, folio: FolioId) -> bool {
        !std::mem::replace(&mut self.folios[folio].locked, true)
    }

    /// `folio_unlock`, and a wake-up of who waits for it.
    pub(crate) fn unlock_folio(&mut self, folio: FolioId) {
        self.folios[folio].locked = false;
        self.wake_quietly(QueueKey::folio(InodeId(folio.0), 0), Wake::One);
    }

    /// `folio_mark_dirty` of a page of the cache.
    pub(crate) fn mark_folio_dirty(&mut self, folio: FolioId) {
        let (inode, index) = (self.folios[folio].inode, self.folios[folio].index);
        self.folios[folio].dirty = true;
        if inode.is_some() {
            self.inodes[inode].state |= IState::DIRTY_PAGES;
            self.inodes[inode].pages.set_tag(&mut self.nodes, index, Tag::Dirty, true);
        }
    }
}
