//! Trace events, named and shaped as the kernel's tracepoints. Off, they cost a test of one byte.

use std::fmt;

use crate::fail::VmFault;
use crate::ids::{InodeId, TaskId};

/// An event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// `fs_dax:dax_pte_fault` (`done` false) and `dax_pte_fault_done`.
    DaxPteFault {
        /// On leaving.
        done: bool,
        /// The file.
        inode: InodeId,
        /// Page of the file.
        pgoff: u64,
        /// A write.
        write: bool,
        /// Called for a page that is mapped read-only.
        mkwrite: bool,
        /// Result, on leaving.
        result: Option<VmFault>,
    },
    /// `fs_dax:dax_pmd_fault` and `dax_pmd_fault_done`.
    DaxPmdFault {
        /// On leaving.
        done: bool,
        /// The file.
        inode: InodeId,
        /// Page of the file.
        pgoff: u64,
        /// A write.
        write: bool,
        /// Result, on leaving.
        result: Option<VmFault>,
    },
    /// `fs_dax:dax_load_hole`.
    DaxLoadHole {
        /// The file.
        inode: InodeId,
        /// Page of the file.
        pgoff: u64,
    },
    /// `fs_dax:dax_pmd_load_hole`, or its `_fallback`.
    DaxPmdLoadHole {
        /// The file.
        inode: InodeId,
        /// Page of the file.
        pgoff: u64,
        /// It could not.
        fallback: bool,
    },
    /// `fs_dax:dax_insert_pfn_mkwrite`.
    DaxInsertPfnMkwrite {
        /// The file.
        inode: InodeId,
        /// Page of the file.
        pgoff: u64,
        /// There was no entry any more.
        no_entry: bool,
    },
    /// `fs_dax:dax_writeback_range` (`done` false) and `dax_writeback_range_done`.
    DaxWritebackRange {
        /// On leaving.
        done: bool,
        /// The file.
        inode: InodeId,
    },
    /// `fs_dax:dax_writeback_one`.
    DaxWritebackOne {
        /// The file.
        inode: InodeId,
        /// Page of the file.
        pgoff: u64,
        /// Pages.
        pages: u64,
    },
    /// `filemap:mm_filemap_add_to_page_cache`.
    FilemapAdd {
        /// The file.
        inode: InodeId,
        /// Page of the file.
        pgoff: u64,
    },
    /// `filemap:mm_filemap_delete_from_page_cache`.
    FilemapDelete {
        /// The file.
        inode: InodeId,
        /// Page of the file.
        pgoff: u64,
    },
    /// `filemap:mm_filemap_fault` (6.12).
    FilemapFault {
        /// The file.
        inode: InodeId,
        /// Page of the file.
        pgoff: u64,
    },
    /// `exceptions:page_fault_user`.
    PageFaultUser {
        /// Address.
        address: u64,
        /// Error code: 1 present, 2 write, 4 user.
        error_code: u8,
    },
    /// `ext4:ext4_evict_inode` or `xfs:xfs_destroy_inode`: an in-core inode goes.
    EvictInode {
        /// The in-core inode.
        inode: InodeId,
    },
}

impl Event {
    /// The tracepoint's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::DaxPteFault { done: false, .. } => "dax_pte_fault",
            Self::DaxPteFault { .. } => "dax_pte_fault_done",
            Self::DaxPmdFault { done: false, .. } => "dax_pmd_fault",
            Self::DaxPmdFault { .. } => "dax_pmd_fault_done",
            Self::DaxLoadHole { .. } => "dax_load_hole",
            Self::DaxPmdLoadHole { fallback: false, .. } => "dax_pmd_load_hole",
            Self::DaxPmdLoadHole { .. } => "dax_pmd_load_hole_fallback",
            Self::DaxInsertPfnMkwrite { no_entry: false, .. } => "dax_insert_pfn_mkwrite",
            Self::DaxInsertPfnMkwrite { .. } => "dax_insert_pfn_mkwrite_no_entry",
            Self::DaxWritebackRange { done: false, .. } => "dax_writeback_range",
            Self::DaxWritebackRange { .. } => "dax_writeback_range_done",
            Self::DaxWritebackOne { .. } => "dax_writeback_one",
            Self::FilemapAdd { .. } => "mm_filemap_add_to_page_cache",
            Self::FilemapDelete { .. } => "mm_filemap_delete_from_page_cache",
            Self::FilemapFault { .. } => "mm_filemap_fault",
            Self::PageFaultUser { .. } => "page_fault_user",
            Self::EvictInode { .. } => "evict_inode",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::DaxPteFault { inode, pgoff, write, mkwrite, result, .. } => {
                let access = if *mkwrite {
                    "MKWRITE"
                } else if *write {
                    "WRITE"
                } else {
                    "READ"
                };
                write!(f, ": {inode} {access} pgoff {pgoff:#x}")?;
                result.map_or(Ok(()), |result| write!(f, " {result:?}"))
            }
            Self::DaxPmdFault { inode, pgoff, write, result, .. } => {
                write!(f, ": {inode} {} pgoff {pgoff:#x}", if *write { "WRITE" } else { "READ" })?;
                result.map_or(Ok(()), |result| write!(f, " {result:?}"))
            }
            Self::DaxLoadHole { inode, pgoff }
            | Self::DaxPmdLoadHole { inode, pgoff, .. }
            | Self::DaxInsertPfnMkwrite { inode, pgoff, .. }
            | Self::FilemapAdd { inode, pgoff }
            | Self::FilemapDelete { inode, pgoff }
            | Self::FilemapFault { inode, pgoff } => write!(f, ": {inode} pgoff {pgoff:#x}"),
            Self::DaxWritebackOne { inode, pgoff, pages } => write!(f, ": {inode} pgoff {pgoff:#x} pglen {pages:#x}"),
            Self::DaxWritebackRange { inode, .. } | Self::EvictInode { inode } => write!(f, ": {inode}"),
            Self::PageFaultUser { address, error_code } => {
                write!(f, ": address {address:#x} error_code {error_code:#x}")
            }
        }
    }
}

/// The events of a run, if anybody wants them.
#[derive(Debug, Default)]
pub struct Trace {
    on: bool,
    events: Vec<(TaskId, Event)>,
}

impl Clone for Trace {
    fn clone(&self) -> Self {
        Self { on: self.on, events: self.events.clone() }
    }

    fn clone_from(&mut self, source: &Self) {
        self.on = source.on;
        self.events.clone_from(&source.events);
    }
}

impl Trace {
    /// Turns events on or off.
    pub fn set(&mut self, on: bool) {
        self.on = on;
    }

    /// Whether events are wanted.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.on
    }

    /// Notes an event.
    #[inline]
    pub fn emit(&mut self, task: TaskId, event: Event) {
        if self.on {
            self.events.push((task, event));
        }
    }

    /// Takes the events noted since the last time.
    pub fn take(&mut self) -> Vec<(TaskId, Event)> {
        std::mem::take(&mut self.events)
    }
}
