//! What a scenario's names stand for: descriptors, mappings, pins, file systems, tasks.

use std::collections::BTreeMap;

use daxkit_mount::ids::{FileId, MmId, SbId, TaskId};
use daxkit_mount::mm::page_table::Frame;

use super::options::Options;

/// A mapping: where it is, and how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Region {
    pub(crate) address: u64,
    pub(crate) len: u64,
}

/// Pages that were pinned together.
#[derive(Debug, Clone, Default)]
pub(crate) struct PinSet(pub(crate) Vec<Frame>);

/// A mounted or unmounted file system of a case.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mounted {
    pub(crate) sb: Option<SbId>,
    /// What it was when it was mounted last: where its contents and its device are.
    pub(crate) last: Option<SbId>,
    /// With which options it was mounted last.
    pub(crate) options: Options,
}

/// A name that belongs to a process: threads share it.
pub(crate) type Own = (MmId, String);

/// All names of a case. A name that is not there stands for something that could not be made.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) fds: BTreeMap<Own, FileId>,
    pub(crate) maps: BTreeMap<Own, Region>,
    pub(crate) pins: BTreeMap<Own, PinSet>,
    pub(crate) fs: BTreeMap<String, Mounted>,
    /// The file system where a bare path leads.
    pub(crate) first_fs: String,
    /// Tasks by their number in the case.
    pub(crate) tasks: Vec<TaskId>,
    /// Names of tasks, in the same order.
    pub(crate) task_names: Vec<String>,
}

impl Names {
    /// The descriptors of a process, for a child to have copies of.
    pub(crate) fn descriptors(&self, of: MmId) -> Vec<(String, FileId)> {
        self.fds.iter().filter(|((mm, _), _)| *mm == of).map(|((_, name), file)| (name.clone(), *file)).collect()
    }

    /// The mappings of a process.
    pub(crate) fn mappings(&self, of: MmId) -> Vec<(String, Region)> {
        self.maps.iter().filter(|((mm, _), _)| *mm == of).map(|((_, name), region)| (name.clone(), *region)).collect()
    }
}
