//! What the emulated kernel knows of a file, as data: for `explain`, and for the operations that ask for a part of it.

use daxkit_format::dax::DaxDecision;
use daxkit_format::dax::fileattr::XFlags;
use daxkit_mount::dax::entry::PageEntry;
use daxkit_mount::fs::FileSystem;
use daxkit_mount::ids::{InodeId, MmId, PAGE_SHIFT, VmaId};
use daxkit_mount::mm::page_table::{FrameKind, Pte};
use daxkit_mount::world::World;
use daxkit_mount::world::objects::{Aops, IState, VmFlags, VmOps};
use daxkit_mount::xarray::Tag;
use daxkit_scenario::value::Record;
use serde::Serialize;

use super::names::Names;

/// A file that is open or mapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FileReport {
    /// The file system's name in the case.
    pub(crate) fs: String,
    /// Number on disk.
    pub(crate) inode: u64,
    /// Descriptors of it.
    pub(crate) descriptors: Vec<String>,
    pub(crate) size: u64,
    /// The persistent flag.
    pub(crate) flag: bool,
    pub(crate) s_dax: bool,
    /// The rule that decided `S_DAX` when the inode was instantiated.
    pub(crate) decided: Option<Rule>,
    /// The rule that would decide if it were instantiated now.
    pub(crate) now: Rule,
    pub(crate) aops: &'static str,
    /// References to the inode: of names in the cache, too.
    pub(crate) references: u32,
    /// Open file descriptions.
    pub(crate) open: u32,
    /// `I_DONTCACHE`.
    pub(crate) dontcache: bool,
    pub(crate) pins: u64,
    /// `i_pages`.
    pub(crate) pages: Vec<Page>,
    pub(crate) mappings: Vec<Mapping>,
}

/// A row of the table that decides `S_DAX`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Rule {
    pub(crate) s_dax: bool,
    pub(crate) row: u8,
    pub(crate) reason: String,
}

impl From<DaxDecision> for Rule {
    fn from(decision: DaxDecision) -> Self {
        Self { s_dax: decision.s_dax, row: decision.row, reason: decision.reason.to_string() }
    }
}

/// What is cached of a file at an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Page {
    pub(crate) kind: &'static str,
    pub(crate) index: u64,
    pub(crate) order: u32,
    pub(crate) dirty: bool,
    pub(crate) towrite: bool,
    pub(crate) locked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pfn: Option<u64>,
}

/// A mapping of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Mapping {
    /// Tasks whose memory it is in.
    pub(crate) tasks: Vec<String>,
    /// What scenarios call it, unless it was split or inherited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    pub(crate) start: u64,
    pub(crate) length: u64,
    /// Page of the file at its start.
    pub(crate) page: u64,
    pub(crate) protection: String,
    pub(crate) shared: bool,
    pub(crate) sync: bool,
    pub(crate) operations: &'static str,
    pub(crate) entries: Vec<Entry>,
}

/// An entry of a page table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Entry {
    pub(crate) kind: &'static str,
    pub(crate) offset: u64,
    pub(crate) target: &'static str,
    pub(crate) writable: bool,
    pub(crate) dirty: bool,
    pub(crate) pfn: u64,
}

impl Page {
    pub(super) fn record(&self) -> Record {
        let record = Record::of(self.kind)
            .with("index", self.index)
            .with("order", u64::from(self.order))
            .with("dirty", self.dirty)
            .with("towrite", self.towrite)
            .with("locked", self.locked);
        match self.pfn {
            Some(pfn) => record.with("pfn", pfn),
            None => record,
        }
    }
}

impl Entry {
    fn new<F>(w: &World<F>, offset: u64, huge: bool, pte: Pte) -> Self {
        let (target, pfn) = match pte.frame().kind() {
            _ if pte.is_hwpoison() => ("hwpoison", 0),
            FrameKind::Pmem(_, pfn) => ("dax", pfn),
            FrameKind::Folio(folio) if w.folios[folio].inode.is_none() => ("anon", u64::from(folio.0)),
            FrameKind::Folio(folio) => ("folio", u64::from(folio.0)),
            FrameKind::ZeroPage | FrameKind::HugeZeroPage => ("zero", 0),
        };
        let kind = if huge { "pmd" } else { "pte" };
        Self { kind, offset, target, writable: pte.writable(), dirty: pte.dirty(), pfn }
    }

    pub(super) fn record(&self) -> Record {
        Record::of(self.kind)
            .with("offset", self.offset)
            .with("target", self.target)
            .with("writable", self.writable)
            .with("dirty", self.dirty)
            .with("pfn", self.pfn)
    }
}

/// What is cached of a file, in order.
pub(super) fn pages<F>(w: &World<F>, inode: InodeId) -> Vec<Page> {
    let cached = w.inodes[inode].pages;
    let mut pages = Vec::new();
    let mut at = 0;
    while let Some(found) = cached.first_in(&w.nodes, at, u64::MAX >> PAGE_SHIFT) {
        let (index, order) = (found.index, found.order);
        pages.push(match PageEntry::decode(found.value) {
            PageEntry::Folio(folio) => {
                let folio = w.folios[folio];
                Page {
                    kind: "folio",
                    index,
                    order,
                    dirty: folio.dirty,
                    towrite: false,
                    locked: folio.locked,
                    pfn: None,
                }
            }
            PageEntry::Dax(entry) => Page {
                kind: match (entry.is_zero(), entry.is_empty()) {
                    (true, _) => "zero",
                    (false, true) => "empty",
                    (false, false) => "mapped",
                },
                index,
                order,
                dirty: cached.tag(&w.nodes, index, Tag::Dirty),
                towrite: cached.tag(&w.nodes, index, Tag::ToWrite),
                locked: entry.is_locked(),
                pfn: Some(entry.pfn()),
            },
        });
        at = index + (1 << order);
    }
    pages
}

/// The page table under a range of addresses, in order; offsets count from `start`.
pub(super) fn entries<F>(w: &World<F>, mm: MmId, start: u64, len: u64) -> Vec<Entry> {
    let from = start >> PAGE_SHIFT;
    let to = from + len.div_ceil(1 << PAGE_SHIFT);
    let mut list = Vec::new();
    w.tables.for_each(mm, from, to, |page, huge, pte| {
        list.push(Entry::new(w, (page.max(from) - from) << PAGE_SHIFT, huge, pte));
    });
    list
}

/// How many pages of a file are pinned.
pub(super) fn pins<F>(w: &World<F>, inode: InodeId) -> u64 {
    w.pins
        .iter()
        .filter(|(frame, count)| *count > 0 && w.frame_owners.get(*frame).is_some_and(|owner| owner.0 == inode))
        .map(|(_, count)| u64::from(count))
        .sum()
}

/// Whose operations a VMA has, or would ask for at a fault.
pub(super) fn operations<F: FileSystem>(w: &World<F>, vma: VmaId) -> &'static str {
    let vma = &w.vmas[vma];
    match vma.ops {
        VmOps::Anonymous => "anon",
        VmOps::Ext4File => "cache",
        VmOps::Ext4Dax => "dax",
        // One vector for both, which asks IS_DAX at each fault.
        VmOps::XfsFile if w.is_dax(vma.inode) => "dax",
        VmOps::XfsFile => "cache",
    }
}

fn mapping<F: FileSystem>(w: &World<F>, names: &Names, at: VmaId) -> Mapping {
    let vma = &w.vmas[at];
    let of_mm = |task: &daxkit_mount::ids::TaskId| w.tasks.mm(*task) == vma.mm;
    let tasks = names.tasks.iter().zip(&names.task_names).filter(|(task, _)| of_mm(task));
    let letter = |flag, letter: char| if vma.flags.contains(flag) { letter } else { '-' };
    Mapping {
        tasks: tasks.map(|(_, name)| name.clone()).collect(),
        name: names
            .maps
            .iter()
            .find(|((mm, _), region)| *mm == vma.mm && region.address == vma.start)
            .map(|((_, name), _)| name.clone()),
        start: vma.start,
        length: vma.end - vma.start,
        page: vma.pgoff,
        protection: [letter(VmFlags::READ, 'r'), letter(VmFlags::WRITE, 'w'), letter(VmFlags::EXEC, 'x')]
            .into_iter()
            .collect(),
        shared: vma.shared(),
        sync: vma.flags.contains(VmFlags::SYNC),
        operations: operations(w, at),
        entries: entries(w, vma.mm, vma.start, vma.end - vma.start),
    }
}

/// All of a file.
pub(super) fn file<F: FileSystem>(w: &World<F>, names: &Names, id: InodeId) -> FileReport {
    let inode = &w.inodes[id];
    let fs = names.fs.iter().find(|(_, fs)| fs.last == Some(inode.sb)).map(|(name, _)| name.clone());
    let open = names.fds.iter().filter(|(_, file)| w.files[**file].inode == id);
    let mut mappings = Vec::new();
    let mut vma = inode.mmap;
    while let Some(at) = vma.some() {
        mappings.push(mapping(w, names, at));
        vma = w.vmas[at].next_of_inode;
    }
    mappings.sort_by(|a, b| (&a.tasks, a.start).cmp(&(&b.tasks, b.start)));
    FileReport {
        fs: fs.unwrap_or_else(|| inode.sb.to_string()),
        inode: inode.ino,
        descriptors: open.map(|((_, name), _)| name.clone()).collect(),
        size: inode.disk.size,
        flag: w.fileattr(id).xflags.contains(XFlags::DAX),
        s_dax: inode.s_dax,
        decided: inode.decision.map(Rule::from),
        now: w.should_enable_dax(inode).into(),
        aops: match inode.aops {
            Aops::Dax => "dax",
            Aops::PageCache => "cache",
        },
        references: inode.refs,
        open: inode.opens,
        dontcache: inode.state.contains(IState::DONTCACHE),
        pins: pins(w, id),
        pages: pages(w, id),
        mappings,
    }
}

/// Every file that is open or mapped, by file system and number.
pub(super) fn files<F: FileSystem>(w: &World<F>, names: &Names) -> Vec<FileReport> {
    let used = |id: &InodeId| w.inodes[*id].opens > 0 || w.inodes[*id].mapped > 0;
    let mut files: Vec<_> = w.inodes.ids().into_iter().filter(used).map(|id| file(w, names, id)).collect();
    files.sort_by(|a, b| (&a.fs, a.inode).cmp(&(&b.fs, b.inode)));
    files
}
