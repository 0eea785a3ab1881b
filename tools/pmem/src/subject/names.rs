//! What a scenario's names stand for: descriptors, mappings, pins, file systems, tasks.

use std::collections::BTreeMap;

use daxkit_mount::ids::{FileId, SbId, TaskId};
use daxkit_mount::mm::page_table::Frame;

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
}

/// All names of a case. A name that is not there stands for something that could not be made.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) fds: BTreeMap<String, FileId>,
    pub(crate) maps: BTreeMap<String, Region>,
    pub(crate) pins: BTreeMap<String, PinSet>,
    pub(crate) fs: BTreeMap<String, Mounted>,
    /// The file system where a bare path leads.
    pub(crate) first_fs: String,
    /// Tasks by their number in the case.
    pub(crate) tasks: Vec<TaskId>,
    /// Names of tasks, in the same order.
    pub(crate) task_names: Vec<String>,
}
