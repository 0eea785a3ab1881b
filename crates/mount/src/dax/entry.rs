//! Entries of `i_pages`: a folio, or a DAX value entry with its lock bit; how they are locked, waited for and replaced
//! (`fs/dax.c`, Linux 6.12).

use std::fmt;

use crate::fail::Oops;
use crate::fs::FileSystem;
use crate::ids::{FolioId, InodeId, PMD_ORDER, PTRS_PER_PMD};
use crate::mm::rmap::unmap_mapping_range;
use crate::op::{Object, Op};
use crate::runtime::Runtime;
use crate::wait::{QueueKey, Wake, sleep_on};
use crate::world::World;
use crate::world::findings::Finding;

const VALUE: u64 = 1 << 63;
const LOCKED: u64 = 1;
const PMD: u64 = 2;
const ZERO_PAGE: u64 = 4;
const EMPTY: u64 = 8;
const SHIFT: u32 = 4;

/// A value entry: a page number of the device and four bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DaxEntry(u64);

impl DaxEntry {
    /// An entry that stands for `pfn`.
    #[must_use]
    pub const fn of_pfn(pfn: u64, pmd: bool) -> Self {
        Self(VALUE | pfn << SHIFT | if pmd { PMD } else { 0 })
    }
    /// An entry that only holds the place while a fault works.
    #[must_use]
    pub const fn empty(pmd: bool) -> Self {
        Self(VALUE | EMPTY | if pmd { PMD } else { 0 })
    }
    /// An entry for a hole that was read.
    #[must_use]
    pub const fn zero(pmd: bool) -> Self {
        Self(VALUE | ZERO_PAGE | if pmd { PMD } else { 0 })
    }
    /// The page of the device; 0 for zero and empty entries.
    #[must_use]
    pub const fn pfn(self) -> u64 {
        (self.0 & !VALUE) >> SHIFT
    }
    /// It stands for 2 MiB.
    #[must_use]
    pub const fn is_pmd(self) -> bool {
        self.0 & PMD != 0
    }
    /// It stands for a hole.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 & ZERO_PAGE != 0
    }
    /// It holds a place.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 & EMPTY != 0
    }
    /// Somebody works on it.
    #[must_use]
    pub const fn is_locked(self) -> bool {
        self.0 & LOCKED != 0
    }
    /// log2 of its pages.
    #[must_use]
    pub const fn order(self) -> u32 {
        if self.is_pmd() { PMD_ORDER } else { 0 }
    }
    /// With the lock bit.
    #[must_use]
    pub const fn locked(self) -> Self {
        Self(self.0 | LOCKED)
    }
    /// Without it.
    #[must_use]
    pub const fn unlocked(self) -> Self {
        Self(self.0 & !LOCKED)
    }
    /// Whether it is for a page of the device.
    #[must_use]
    pub const fn is_real(self) -> bool {
        self.0 & (ZERO_PAGE | EMPTY) == 0
    }
}

impl fmt::Debug for DaxEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_zero() {
            "zero"
        } else if self.is_empty() {
            "empty"
        } else {
            "pfn"
        };
        let lock = if self.is_locked() { " locked" } else { "" };
        write!(f, "{what} {:#x} order {}{lock}", self.pfn(), self.order())
    }
}

/// What stands at an index of `i_pages`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageEntry {
    /// A page of the page cache.
    Folio(FolioId),
    /// A DAX entry.
    Dax(DaxEntry),
}

impl PageEntry {
    /// As it is stored.
    #[must_use]
    pub const fn encode(self) -> u64 {
        match self {
            Self::Folio(folio) => folio.0 as u64 + 1,
            Self::Dax(entry) => entry.0,
        }
    }

    /// From what is stored.
    #[must_use]
    pub const fn decode(value: u64) -> Self {
        if value & VALUE != 0 { Self::Dax(DaxEntry(value)) } else { Self::Folio(FolioId((value - 1) as u32)) }
    }
}

/// The label of an index: entries of 2 MiB and of 4 KiB in the same 2 MiB are one object, because which is there is only
/// known once the step is made.
#[must_use]
#[inline]
pub const fn label(inode: InodeId, index: u64) -> Object {
    Object::entry(inode, index / PTRS_PER_PMD)
}

pub(crate) const fn queue(inode: InodeId, index: u64) -> QueueKey {
    QueueKey::dax_entry(inode, index, true)
}

/// What [`grab_mapping_entry`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grab {
    /// The entry, locked by the caller.
    Locked(DaxEntry),
    /// `VM_FAULT_FALLBACK`: a smaller entry is in the way.
    Fallback,
    /// `EIO`: a folio is there. `VM_FAULT_SIGBUS`.
    Sigbus,
}

enum Look {
    Done(Grab),
    Wait,
    /// A zero or empty entry of 2 MiB where 4 KiB are wanted; it is locked now.
    Downgrade(DaxEntry),
}

impl<F: FileSystem> World<F> {
    /// What stands at an index.
    #[must_use]
    pub fn page_entry(&self, inode: InodeId, index: u64) -> Option<PageEntry> {
        self.touch(label(inode, index), false);
        self.inodes[inode].pages.load(&self.nodes, index).map(|found| PageEntry::decode(found.value))
    }

    /// Puts an entry, counts `nrpages`.
    pub(crate) fn set_page_entry(&mut self, inode: InodeId, index: u64, entry: PageEntry) {
        self.touch(label(inode, index), true);
        let order = match entry {
            PageEntry::Dax(entry) => entry.order(),
            PageEntry::Folio(_) => 0,
        };
        let index = index & !((1 << order) - 1);
        let node = &mut self.inodes[inode];
        if node.pages.load(&self.nodes, index).is_none() {
            node.nrpages += 1 << order;
        }
        node.pages.store(&mut self.nodes, index, order, entry.encode());
    }

    /// Takes an entry out, counts `nrpages`.
    pub(crate) fn clear_page_entry(&mut self, inode: InodeId, index: u64) -> Option<PageEntry> {
        self.touch(label(inode, index), true);
        let node = &mut self.inodes[inode];
        let found = node.pages.erase(&mut self.nodes, index)?;
        node.nrpages -= 1 << found.order;
        Some(PageEntry::decode(found.value))
    }

    /// `dax_disassociate_entry`: the device's pages belong to the file no more.
    pub(crate) fn disassociate(&mut self, inode: InodeId, entry: DaxEntry) {
        if !entry.is_real() {
            return;
        }
        let sb = self.inodes[inode].sb;
        for page in 0..1u64 << entry.order() {
            let frame = crate::mm::page_table::Frame::pmem(sb, entry.pfn() + page);
            if self.frame_owners.get(frame.key()).is_some_and(|owner| owner.0 == inode) {
                self.frame_owners.remove(frame.key());
            }
        }
    }

    /// `dax_associate_entry`: from now on a page's file and index are known. A page that is already another file's is a
    /// warning, unless the extent is shared.
    pub(crate) fn associate(&mut self, inode: InodeId, index: u64, entry: DaxEntry, shared: bool) {
        if !entry.is_real() {
            return;
        }
        let sb = self.inodes[inode].sb;
        let index = index & !((1 << entry.order()) - 1);
        for page in 0..1u64 << entry.order() {
            let frame = crate::mm::page_table::Frame::pmem(sb, entry.pfn() + page);
            if let Some(owner) = self.frame_owners.insert(frame.key(), (inode, index + page))
                && owner.0 != inode
                && !shared
            {
                self.findings.add(Finding::Warning("page->mapping of a DAX page is another file's"));
            }
        }
    }

    fn look(&mut self, task: crate::ids::TaskId, inode: InodeId, index: u64, order: u32) -> Look {
        self.touch(label(inode, index), true);
        let found = self.inodes[inode].pages.load(&self.nodes, index);
        let Some(found) = found else {
            let pmd = order == PMD_ORDER;
            if pmd {
                let first = index & !(PTRS_PER_PMD - 1);
                let pages = self.inodes[inode].pages;
                if let Some(small) = pages.first_in(&self.nodes, first, first + PTRS_PER_PMD - 1) {
                    return match PageEntry::decode(small.value) {
                        PageEntry::Folio(_) => Look::Done(Grab::Sigbus),
                        PageEntry::Dax(_) => Look::Done(Grab::Fallback),
                    };
                }
            }
            let entry = DaxEntry::empty(pmd).locked();
            self.set_page_entry(inode, index, PageEntry::Dax(entry));
            return Look::Done(Grab::Locked(entry));
        };
        let PageEntry::Dax(entry) = PageEntry::decode(found.value) else { return Look::Done(Grab::Sigbus) };
        if order == PMD_ORDER && !entry.is_pmd() {
            return Look::Done(Grab::Fallback);
        }
        if entry.is_locked() {
            self.queue_up(task, queue(inode, index), true);
            return Look::Wait;
        }
        let entry = entry.locked();
        self.set_page_entry(inode, index, PageEntry::Dax(entry));
        if order == 0 && entry.is_pmd() && !entry.is_real() {
            return Look::Downgrade(entry);
        }
        Look::Done(Grab::Locked(entry))
    }

    /// Unlocks in the step at hand, replacing the value by `entry`, and wakes one waiter.
    pub(crate) fn unlock_entry(&mut self, inode: InodeId, index: u64, entry: DaxEntry) {
        self.set_page_entry(inode, index, PageEntry::Dax(entry.unlocked()));
        self.wake(queue(inode, index), Wake::One);
    }
}

fn op(name: &'static str, inode: InodeId, index: u64) -> Op {
    Op::new(name).write(label(inode, index)).write(queue(inode, index).object())
}

/// `grab_mapping_entry`: finds or makes the entry at `index` and locks it.
#[inline]
pub fn grab_mapping_entry<R: Runtime>(rt: &R, inode: InodeId, index: u64, order: u32) -> Grab {
    let task = rt.task();
    let mut waited = false;
    loop {
        match rt.step(op("grab_mapping_entry", inode, index), |w| w.look(task, inode, index, order)) {
            Look::Done(grab) => {
                if waited && !matches!(grab, Grab::Locked(_)) {
                    put_unlocked_entry(rt, inode, index, Wake::One);
                }
                return grab;
            }
            Look::Wait => {
                waited = true;
                sleep_on(rt, queue(inode, index));
            }
            Look::Downgrade(entry) => {
                if entry.is_zero() {
                    let first = index & !(PTRS_PER_PMD - 1);
                    unmap_mapping_range(rt, inode, first, first + PTRS_PER_PMD - 1, false);
                }
                rt.step(op("downgrade", inode, index), |w| {
                    w.clear_page_entry(inode, index);
                    w.wake(queue(inode, index), Wake::All);
                });
            }
        }
    }
}

/// `put_unlocked_entry`: a task that was woken and does not lock passes the wake-up on, or it is lost.
pub fn put_unlocked_entry<R: Runtime>(rt: &R, inode: InodeId, index: u64, wake: Wake) {
    rt.step(Op::new("put_unlocked_entry").write(queue(inode, index).object()), |w| w.wake(queue(inode, index), wake));
}

/// `dax_unlock_entry`: puts `entry` in its place, unlocked, and wakes one waiter.
#[inline]
pub fn dax_unlock_entry<R: Runtime>(rt: &R, inode: InodeId, index: u64, entry: DaxEntry) {
    rt.step(op("dax_unlock_entry", inode, index), |w| w.unlock_entry(inode, index, entry));
}

/// `get_unlocked_entry`: waits until what stands at `index` is not locked. Nobody holds it on return but the step that
/// follows; `f` runs in the step that found it so.
pub fn with_unlocked_entry<R: Runtime, T>(
    rt: &R,
    name: &'static str,
    inode: InodeId,
    index: u64,
    mut f: impl FnMut(&mut World<R::Fs>, Option<DaxEntry>) -> T,
) -> T {
    let task = rt.task();
    loop {
        let done = rt.step(op(name, inode, index), |w| {
            let entry = match w.page_entry(inode, index) {
                Some(PageEntry::Dax(entry)) if entry.is_locked() => {
                    w.queue_up(task, queue(inode, index), true);
                    return None;
                }
                Some(PageEntry::Dax(entry)) => Some(entry),
                _ => None,
            };
            let out = f(w, entry);
            // Whoever waited must pass the wake-up on if it leaves the entry unlocked.
            let locked = matches!(w.page_entry(inode, index), Some(PageEntry::Dax(entry)) if entry.is_locked());
            if !locked {
                w.wake(queue(inode, index), Wake::One);
            }
            Some(out)
        });
        match done {
            Some(out) => return out,
            None => sleep_on(rt, queue(inode, index)),
        }
    }
}

/// `__dax_invalidate_entry`: takes out the entry at `index` once it is unlocked; without `trunc` only if it is neither
/// dirty nor to be written. Returns whether it is gone.
pub fn dax_invalidate_entry<R: Runtime>(rt: &R, inode: InodeId, index: u64, trunc: bool) -> bool {
    use crate::xarray::Tag;
    with_unlocked_entry(rt, "dax_invalidate_entry", inode, index, |w, entry| {
        let Some(entry) = entry else { return false };
        let pages = w.inodes[inode].pages;
        let busy = pages.tag(&w.nodes, index, Tag::Dirty) || pages.tag(&w.nodes, index, Tag::ToWrite);
        if busy && !trunc {
            return false;
        }
        w.disassociate(inode, entry);
        w.clear_page_entry(inode, index);
        w.wake(queue(inode, index), Wake::All);
        true
    })
}

/// `dax_delete_mapping_entry`, for truncation. An entry that is not there is a bug of the caller.
pub fn dax_delete_mapping_entry<R: Runtime>(rt: &R, inode: InodeId, index: u64) {
    if !dax_invalidate_entry(rt, inode, index, true) {
        rt.step(op("dax_delete_mapping_entry", inode, index), |w| {
            w.findings.add(Finding::Warning("dax_delete_mapping_entry found no entry"));
        });
    }
}

/// Says of an entry that must be there that it is not: `BUG_ON(nrpages)` of `clear_inode`.
pub(crate) fn bug_if_pages_left<R: Runtime>(rt: &R, inode: InodeId) -> crate::fail::Result<()> {
    let task = rt.task();
    rt.step(Op::new("clear_inode").read(Object::entries(inode)), |w| {
        if w.inodes[inode].nrpages == 0 {
            Ok(())
        } else {
            Err(w.oops(task, Oops::Bug { condition: "inode->i_data.nrpages" }))
        }
    })
}
