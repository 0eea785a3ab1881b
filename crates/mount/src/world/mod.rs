//! The world: everything that the emulated kernel keeps, in slabs of plain data, addressed by ids.
//!
//! A world is copied in microseconds ([`Clone::clone_from`] allocates nothing once the memory is there), so an explorer starts every run
//! from a snapshot. Kernel code gets at it in steps only (see [`crate::runtime`]); between two steps it holds ids.

pub mod counters;
mod digest;
pub mod findings;
pub mod objects;
pub mod tasks;

use std::cell::{Cell, RefCell};

use crate::fail::{Fail, Oops};
use crate::flat_map::FlatMap;
use crate::fs::FileSystem;
use crate::ids::{DentryId, FileId, FolioId, InodeId, MmId, SbId, TaskId, VmaId};
use crate::locks::LockState;
use crate::mm::page_table::PageTables;
use crate::op::{Object, Op};
use crate::slab::Slab;
use crate::trace::Trace;
use crate::wait::Queue;
use crate::xarray::Nodes;
use counters::Counters;
use findings::{Finding, Findings};
use objects::{Dentry, File, Folio, Inode, Mm, SuperBlock, Vma};
use tasks::Tasks;

/// Bytes of a page.
pub type PageBytes = [u8; crate::ids::PAGE_SIZE as usize];

/// Holds steps to what they declared. Off unless asked for.
#[derive(Debug, Default)]
struct Audit {
    on: Cell<bool>,
    current: RefCell<Option<Op>>,
    errors: RefCell<Vec<(Op, Object, bool)>>,
}

/// Everything.
///
/// Fields are public to the crate's kernel code, which says what it touches by [`touch`](Self::touch) in the accessors
/// it goes through.
#[derive(Debug, Default)]
pub struct World<F> {
    /// Mounts.
    pub sbs: Vec<SuperBlock<F>>,
    /// In-core inodes.
    pub inodes: Slab<InodeId, Inode>,
    /// In-core inodes by mount and number on disk.
    pub icache: FlatMap<InodeId>,
    /// Names in the cache.
    pub dentries: Slab<DentryId, Dentry>,
    /// Names in the cache by directory and hash of the name.
    pub dcache: FlatMap<DentryId>,
    /// Open files.
    pub files: Slab<FileId, File>,
    /// Address spaces.
    pub mms: Slab<MmId, Mm>,
    /// Mappings.
    pub vmas: Slab<VmaId, Vma>,
    /// Page tables.
    pub tables: PageTables,
    /// Nodes of all `i_pages`.
    pub nodes: Nodes,
    /// Pages of the page cache, anonymous pages.
    pub folios: Slab<FolioId, Folio>,
    /// Their bytes.
    pub folio_bytes: Vec<PageBytes>,
    /// Extra references to pages (`get_user_pages`), by frame.
    pub pins: FlatMap<u32>,
    /// `page->mapping` and `page->index` of device pages: which inode and index a frame is associated with.
    pub frame_owners: FlatMap<(InodeId, u64)>,
    /// Tasks.
    pub tasks: Tasks,
    pub(crate) locks: FlatMap<LockState>,
    pub(crate) queues: FlatMap<Queue>,
    /// What went wrong.
    pub findings: Findings,
    /// Events.
    pub trace: Trace,
    /// Counts.
    pub counters: Counters,
    /// `/proc/sys/fs/xfs/inherit_*`.
    pub sysctls: daxkit_format::dax::xfs::Sysctls,
    /// Seconds since 1970, as given by whoever drives.
    pub now: i64,
    audit: Audit,
}

impl<F: FileSystem> Clone for World<F> {
    fn clone(&self) -> Self {
        let mut new = Self::new();
        new.clone_from(self);
        new
    }

    fn clone_from(&mut self, source: &Self) {
        self.sbs.clone_from(&source.sbs);
        self.inodes.clone_from(&source.inodes);
        self.icache.clone_from(&source.icache);
        self.dentries.clone_from(&source.dentries);
        self.dcache.clone_from(&source.dcache);
        self.files.clone_from(&source.files);
        self.mms.clone_from(&source.mms);
        self.vmas.clone_from(&source.vmas);
        self.tables.clone_from(&source.tables);
        self.nodes.clone_from(&source.nodes);
        self.folios.clone_from(&source.folios);
        self.folio_bytes.clone_from(&source.folio_bytes);
        self.pins.clone_from(&source.pins);
        self.frame_owners.clone_from(&source.frame_owners);
        self.tasks.clone_from(&source.tasks);
        self.locks.clone_from(&source.locks);
        self.queues.clone_from(&source.queues);
        self.findings.clone_from(&source.findings);
        self.trace.clone_from(&source.trace);
        self.counters = source.counters;
        self.sysctls = source.sysctls;
        self.now = source.now;
        self.audit.on.set(source.audit.on.get());
    }
}

impl<F: FileSystem> World<F> {
    /// A world with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self {
            sbs: Vec::new(),
            inodes: Slab::default(),
            icache: FlatMap::default(),
            dentries: Slab::default(),
            dcache: FlatMap::default(),
            files: Slab::default(),
            mms: Slab::default(),
            vmas: Slab::default(),
            tables: PageTables::default(),
            nodes: Nodes::default(),
            folios: Slab::default(),
            folio_bytes: Vec::new(),
            pins: FlatMap::default(),
            frame_owners: FlatMap::default(),
            tasks: Tasks::default(),
            locks: FlatMap::default(),
            queues: FlatMap::default(),
            findings: Findings::default(),
            trace: Trace::default(),
            counters: Counters::default(),
            sysctls: daxkit_format::dax::xfs::Sysctls::default(),
            now: 0,
            audit: Audit::default(),
        }
    }

    /// Holds every step to its label from now on; what it touches beyond becomes a [`Finding::Undeclared`].
    pub fn check_labels(&mut self, on: bool) {
        self.audit.on.set(on);
    }

    /// Says that the step at hand touches `object`.
    #[inline]
    pub fn touch(&self, object: Object, write: bool) {
        if self.audit.on.get() {
            self.audit_touch(object, write);
        }
    }

    #[cold]
    fn audit_touch(&self, object: Object, write: bool) {
        if let Some(op) = &*self.audit.current.borrow()
            && !op.allows(object, write)
        {
            self.audit.errors.borrow_mut().push((*op, object, write));
        }
    }

    #[inline]
    pub(crate) fn begin_step(&mut self, op: impl FnOnce() -> Op) {
        if self.audit.on.get() {
            *self.audit.current.borrow_mut() = Some(op());
        }
    }

    #[inline]
    pub(crate) fn end_step(&mut self) {
        if self.audit.on.get() {
            *self.audit.current.borrow_mut() = None;
            let errors = std::mem::take(&mut *self.audit.errors.borrow_mut());
            for (op, object, write) in errors {
                self.findings.add(Finding::Undeclared { op, object, write });
            }
        }
    }

    pub(crate) fn note_deadlock(&mut self) {
        if self.tasks.all_inside_sleep() {
            self.findings.add(Finding::Deadlock);
        }
    }

    /// Notes that tasks are left that can never go on.
    pub fn note_stuck(&mut self) {
        self.findings.add(Finding::Deadlock);
    }

    /// The kernel crashes in `task`.
    pub fn oops(&mut self, task: TaskId, oops: Oops) -> Fail {
        self.findings.add(Finding::Oops(task, oops));
        self.tasks.kill(task);
        Fail::Oops
    }

    /// A mount.
    #[must_use]
    #[inline]
    pub fn sb(&self, sb: SbId) -> &SuperBlock<F> {
        &self.sbs[usize::from(sb.0)]
    }

    /// A mount, to be changed.
    #[inline]
    pub fn sb_mut(&mut self, sb: SbId) -> &mut SuperBlock<F> {
        &mut self.sbs[usize::from(sb.0)]
    }

    /// `IS_DAX(inode)`.
    #[must_use]
    #[inline]
    pub fn is_dax(&self, inode: InodeId) -> bool {
        self.touch(Object::s_dax(inode), false);
        self.inodes[inode].s_dax
    }

    /// `i_size_read`.
    #[must_use]
    #[inline]
    pub fn size(&self, inode: InodeId) -> u64 {
        self.touch(Object::size(inode), false);
        self.inodes[inode].disk.size
    }
}
