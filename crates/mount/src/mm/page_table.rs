//! Page tables: what a virtual page maps, in entries of 4 KiB and 2 MiB.
//!
//! The upper levels are a hash from (address space, address / 2 MiB) to a [`Pmd`]; under it the 512 entries of a table stand in
//! eight blocks of 64, so that a world with few mappings stays small enough to be copied a hundred thousand times a second.

use std::fmt;

use crate::flat_map::FlatMap;
use crate::ids::{FolioId, MmId, PTRS_PER_PMD, SbId};
use crate::slab::Slab;

/// A page of memory: of a pmem device, of the page cache, anonymous, or a zero page.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frame(u64);

/// What a [`Frame`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// Page `pfn` of the device under a mount.
    Pmem(SbId, u64),
    /// A page of the page cache, or an anonymous page.
    Folio(FolioId),
    /// The shared zero page of 4 KiB.
    ZeroPage,
    /// The shared zero page of 2 MiB.
    HugeZeroPage,
}

const FRAME_BITS: u32 = 52;

impl Frame {
    /// The shared 4 KiB zero page.
    pub const ZERO: Self = Self(2 << 50);
    /// The shared 2 MiB zero page.
    pub const HUGE_ZERO: Self = Self(3 << 50);

    /// A page of the device under `sb`.
    #[must_use]
    pub const fn pmem(sb: SbId, pfn: u64) -> Self {
        Self((sb.0 as u64 & 0xFF) << 40 | pfn & 0xFF_FFFF_FFFF)
    }

    /// A page of the page cache, or an anonymous one.
    #[must_use]
    pub const fn folio(folio: FolioId) -> Self {
        Self(1 << 50 | folio.0 as u64)
    }

    /// What it is.
    #[must_use]
    pub const fn kind(self) -> FrameKind {
        match self.0 >> 50 & 3 {
            0 => FrameKind::Pmem(SbId((self.0 >> 40 & 0xFF) as u16), self.0 & 0xFF_FFFF_FFFF),
            1 => FrameKind::Folio(FolioId(self.0 as u32)),
            2 => FrameKind::ZeroPage,
            _ => FrameKind::HugeZeroPage,
        }
    }

    /// The frame `pages` further on; for pages of a device.
    #[must_use]
    pub const fn plus(self, pages: u64) -> Self {
        Self(self.0 + pages)
    }

    /// Its bits, as a key.
    #[must_use]
    pub const fn key(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            FrameKind::Pmem(sb, pfn) => write!(f, "{sb}/pfn {pfn:#x}"),
            FrameKind::Folio(folio) => write!(f, "{folio}"),
            FrameKind::ZeroPage => f.write_str("zero page"),
            FrameKind::HugeZeroPage => f.write_str("huge zero page"),
        }
    }
}

/// One entry, of either size. 0 is none.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Pte(u64);

const PRESENT: u64 = 1 << 63;
const WRITE: u64 = 1 << 62;
const DIRTY: u64 = 1 << 61;
const YOUNG: u64 = 1 << 60;
/// No `struct page` behind it, as far as `vm_normal_page` is concerned: DAX and the zero page.
const SPECIAL: u64 = 1 << 59;
const POISON: u64 = 1 << 58;
/// `_PAGE_PROTNONE`: it maps a page, and nobody may touch that.
const PROTNONE: u64 = 1 << 57;

impl Pte {
    /// No entry.
    pub const NONE: Self = Self(0);

    /// A present, clean, read-only entry. `special`: a DAX page or a zero page.
    #[must_use]
    pub const fn new(frame: Frame, special: bool) -> Self {
        Self(PRESENT | YOUNG | (if special { SPECIAL } else { 0 }) | frame.0 & ((1 << FRAME_BITS) - 1))
    }

    /// A hwpoison entry: an access gives SIGBUS.
    #[must_use]
    pub const fn hwpoison() -> Self {
        Self(POISON)
    }

    /// Nothing at all.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
    /// It maps a page.
    #[must_use]
    pub const fn present(self) -> bool {
        self.0 & PRESENT != 0
    }
    /// It maps a page that may be touched.
    #[must_use]
    pub const fn accessible(self) -> bool {
        self.0 & (PRESENT | PROTNONE) == PRESENT
    }
    /// The same page, which nobody may touch from now on, or which may be touched again.
    #[must_use]
    pub const fn with_access(self, may: bool) -> Self {
        if may { Self(self.0 & !PROTNONE) } else { Self(self.0 | PROTNONE) }
    }
    /// It is a hwpoison entry.
    #[must_use]
    pub const fn is_hwpoison(self) -> bool {
        self.0 & POISON != 0
    }
    /// It may be written.
    #[must_use]
    pub const fn writable(self) -> bool {
        self.0 & WRITE != 0
    }
    /// It was written through.
    #[must_use]
    pub const fn dirty(self) -> bool {
        self.0 & DIRTY != 0
    }
    /// `pte_special`.
    #[must_use]
    pub const fn special(self) -> bool {
        self.0 & SPECIAL != 0
    }
    /// The page.
    #[must_use]
    pub const fn frame(self) -> Frame {
        Frame(self.0 & ((1 << FRAME_BITS) - 1))
    }
    /// With write permission and the dirty bit.
    #[must_use]
    pub const fn made_writable(self) -> Self {
        Self(self.0 | WRITE | DIRTY | YOUNG)
    }
    /// With the dirty bit, as the CPU sets it.
    #[must_use]
    pub const fn made_dirty(self) -> Self {
        Self(self.0 | DIRTY | YOUNG)
    }
    /// Without write permission.
    #[must_use]
    pub const fn write_protected(self) -> Self {
        Self(self.0 & !WRITE)
    }
    /// Without write permission and dirty bit (`pfn_mkclean_range`).
    #[must_use]
    pub const fn cleaned(self) -> Self {
        Self(self.0 & !(WRITE | DIRTY))
    }
}

impl fmt::Debug for Pte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() {
            return f.write_str("none");
        }
        if self.is_hwpoison() {
            return f.write_str("hwpoison");
        }
        write!(
            f,
            "{:?} {}{}",
            self.frame(),
            if self.writable() { "rw" } else { "ro" },
            if self.dirty() { " dirty" } else { "" }
        )
    }
}

/// 64 entries.
#[derive(Debug, Clone, Copy)]
pub struct PteBlock([Pte; 64]);

/// Number of a block of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PteBlockId(u32);

impl From<u32> for PteBlockId {
    fn from(n: u32) -> Self {
        Self(n)
    }
}

impl From<PteBlockId> for u32 {
    fn from(id: PteBlockId) -> u32 {
        id.0
    }
}

/// What stands for 2 MiB of addresses: nothing, one huge entry, or a table.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pmd {
    huge: Pte,
    /// A table was put here (it may be empty): huge entries are out until it is taken away.
    table: bool,
    /// Blocks of the table, plus one.
    blocks: [u32; 8],
    used: u16,
}

/// Page tables of all address spaces.
#[derive(Debug, Default)]
pub struct PageTables {
    pmds: FlatMap<Pmd>,
    blocks: Slab<PteBlockId, PteBlock>,
}

impl Clone for PageTables {
    fn clone(&self) -> Self {
        Self { pmds: self.pmds.clone(), blocks: self.blocks.clone() }
    }

    fn clone_from(&mut self, source: &Self) {
        self.pmds.clone_from(&source.pmds);
        self.blocks.clone_from(&source.blocks);
    }
}

/// What a walk finds for a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walk {
    /// `pmd_none`.
    PmdNone,
    /// A huge entry.
    Huge(Pte),
    /// An entry of a table, maybe none.
    Pte(Pte),
}

const fn pmd_key(mm: MmId, page: u64) -> u64 {
    (mm.0 as u64) << 36 | (page / PTRS_PER_PMD) & 0xF_FFFF_FFFF
}

impl PageTables {
    /// What maps virtual page `page` (address >> 12).
    #[must_use]
    #[inline]
    pub fn walk(&self, mm: MmId, page: u64) -> Walk {
        let Some(pmd) = self.pmds.get(pmd_key(mm, page)) else { return Walk::PmdNone };
        if !pmd.huge.is_none() {
            return Walk::Huge(pmd.huge);
        }
        if !pmd.table {
            return Walk::PmdNone;
        }
        let block = pmd.blocks[(page as usize >> 6) & 7];
        if block == 0 {
            return Walk::Pte(Pte::NONE);
        }
        Walk::Pte(self.blocks[PteBlockId(block - 1)].0[page as usize & 63])
    }

    /// The frame and permissions under a page, whatever the size of its entry: none if nothing is present.
    #[must_use]
    #[inline]
    pub fn translate(&self, mm: MmId, page: u64) -> Pte {
        match self.walk(mm, page) {
            Walk::PmdNone => Pte::NONE,
            Walk::Pte(pte) => pte,
            Walk::Huge(pte) => match pte.frame().kind() {
                FrameKind::Pmem(..) => Pte(pte.0 + page % PTRS_PER_PMD),
                _ => pte,
            },
        }
    }

    /// Puts an entry of 4 KiB; makes the table if need be. There is no huge entry.
    pub fn set_pte(&mut self, mm: MmId, page: u64, pte: Pte) {
        let key = pmd_key(mm, page);
        let which = (page as usize >> 6) & 7;
        let pmd = self.pmds.entry(key);
        debug_assert!(pmd.huge.is_none(), "a table under a huge entry");
        if pte.is_none() && pmd.blocks[which] == 0 {
            return;
        }
        pmd.table = true;
        if pmd.blocks[which] == 0 {
            let id: u32 = self.blocks.insert(PteBlock([Pte::NONE; 64])).into();
            pmd.blocks[which] = id + 1;
        }
        let slot = &mut self.blocks[PteBlockId(pmd.blocks[which] - 1)].0[page as usize & 63];
        match (slot.is_none(), pte.is_none()) {
            (true, false) => pmd.used += 1,
            (false, true) => pmd.used -= 1,
            _ => {}
        }
        *slot = pte;
    }

    /// Puts a huge entry over the 2 MiB of `page`, or takes it away. There is no table.
    pub fn set_huge(&mut self, mm: MmId, page: u64, pte: Pte) {
        let key = pmd_key(mm, page);
        if pte.is_none() {
            if self.pmds.get(key).is_some_and(|pmd| !pmd.table) {
                self.pmds.remove(key);
            }
            return;
        }
        let pmd = self.pmds.entry(key);
        debug_assert!(!pmd.table, "a huge entry over a table");
        pmd.huge = pte;
    }

    /// Changes the entry that maps `page`, whatever its size.
    pub fn update(&mut self, mm: MmId, page: u64, f: impl FnOnce(Pte) -> Pte) {
        match self.walk(mm, page) {
            Walk::PmdNone => {}
            Walk::Pte(pte) if pte.is_none() => {}
            Walk::Pte(pte) => self.set_pte(mm, page, f(pte)),
            Walk::Huge(pte) => {
                let new = f(pte);
                if new.is_none() {
                    self.set_huge(mm, page, new);
                } else if let Some(pmd) = self.pmds.get_mut(pmd_key(mm, page)) {
                    pmd.huge = new;
                }
            }
        }
    }

    /// Puts an empty table where nothing is (`pte_alloc`).
    pub fn alloc_table(&mut self, mm: MmId, page: u64) {
        let pmd = self.pmds.entry(pmd_key(mm, page));
        if pmd.huge.is_none() {
            pmd.table = true;
        }
    }

    /// Splits a huge entry: of a file's pages nothing is left, they fault in again (`__split_huge_pmd` of a file mapping).
    pub fn split(&mut self, mm: MmId, page: u64) {
        if matches!(self.walk(mm, page), Walk::Huge(_)) {
            self.set_huge(mm, page, Pte::NONE);
        }
    }

    /// Takes away tables that map nothing inside of the 2 MiB of `page` (`free_pgtables` after the last VMA there has gone).
    pub fn free_table(&mut self, mm: MmId, page: u64) {
        let key = pmd_key(mm, page);
        let Some(pmd) = self.pmds.get(key) else { return };
        if pmd.huge.is_none() && pmd.used == 0 {
            for block in pmd.blocks {
                if block != 0 {
                    self.blocks.remove(PteBlockId(block - 1));
                }
            }
            self.pmds.remove(key);
        }
    }

    /// The first entry of pages `from .. to` that is not none, with its first page and whether it is huge.
    #[must_use]
    pub fn next_present(&self, mm: MmId, from: u64, to: u64) -> Option<(u64, bool, Pte)> {
        let mut page = from;
        while page < to {
            let end = (page / PTRS_PER_PMD + 1) * PTRS_PER_PMD;
            if let Some(pmd) = self.pmds.get(pmd_key(mm, page)) {
                if !pmd.huge.is_none() {
                    return Some((page & !(PTRS_PER_PMD - 1), true, pmd.huge));
                }
                let mut at = page;
                while pmd.used > 0 && at < end.min(to) {
                    let block = pmd.blocks[(at as usize >> 6) & 7];
                    if block == 0 {
                        at = (at | 63) + 1;
                        continue;
                    }
                    let pte = self.blocks[PteBlockId(block - 1)].0[at as usize & 63];
                    if !pte.is_none() {
                        return Some((at, false, pte));
                    }
                    at += 1;
                }
            }
            page = end;
        }
        None
    }

    /// Every entry of pages `from .. to` that is not none, with its first page and whether it is huge. A huge entry counts if it
    /// overlaps.
    pub fn for_each(&self, mm: MmId, from: u64, to: u64, mut f: impl FnMut(u64, bool, Pte)) {
        let mut at = from;
        while let Some((page, huge, pte)) = self.next_present(mm, at, to) {
            f(page, huge, pte);
            at = if huge { page + PTRS_PER_PMD } else { page + 1 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Frame, PageTables, Pte, Walk};
    use crate::ids::{MmId, SbId};

    #[test]
    fn huge_entries_translate_page_by_page_and_exclude_tables() {
        let mm = MmId(1);
        let mut tables = PageTables::default();
        let first = Frame::pmem(SbId(0), 512);
        tables.set_huge(mm, 1024, Pte::new(first, true));
        assert_eq!(tables.translate(mm, 1030).frame(), first.plus(6));
        assert_eq!(tables.walk(mm, 1536), Walk::PmdNone);
        tables.split(mm, 1030);
        assert_eq!(tables.walk(mm, 1030), Walk::PmdNone);
        tables.set_pte(mm, 1030, Pte::new(first, true).made_writable());
        assert!(tables.translate(mm, 1030).writable());
        let mut seen = Vec::new();
        tables.for_each(mm, 0, 4096, |page, huge, _| seen.push((page, huge)));
        assert_eq!(seen, [(1030, false)]);
        tables.set_pte(mm, 1030, Pte::NONE);
        tables.free_table(mm, 1030);
        assert_eq!(tables.walk(mm, 1030), Walk::PmdNone);
    }
}
