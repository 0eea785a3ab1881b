//! The cases of a scenario: one for each combination of what its file systems leave open.

use crate::ast::{Condition, Declarations, Feature, File, FsDecl, MountOptions, Release, Scenario, Source, TaskDecl};
use crate::place::Name;
use crate::word::{Set, Word};
use crate::words::{Capability, Device, Need, Rules};

/// Most cases of one scenario.
pub const MOST: usize = 256;

/// A scenario with everything decided.
#[derive(Debug, Clone)]
pub struct Case<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// What is needed.
    pub needs: Set<Need>,
    /// File systems; the first is where a bare path leads.
    pub filesystems: Vec<FileSystem<'a>>,
    /// Tasks; the first is `root`.
    pub tasks: Vec<TaskSpec<'a>>,
}

/// A file system of a case.
#[derive(Debug, Clone)]
pub struct FileSystem<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its rules.
    pub rules: Rules,
    /// The release.
    pub release: Release,
    /// Where it comes from.
    pub source: &'a Source,
    /// Block size.
    pub block: u64,
    /// Features on and off.
    pub features: &'a [Feature],
    /// Mount options.
    pub options: MountOptions,
    /// The device.
    pub device: Device,
    /// XFS's realtime device.
    pub realtime: Option<Device>,
    /// Whether it is mounted at the beginning.
    pub mounted: bool,
}

/// A task of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskSpec<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its capabilities.
    pub caps: Set<Capability>,
    /// The task (by number) whose thread it is.
    pub thread_of: Option<usize>,
    /// In a user namespace of its own.
    pub userns: bool,
}

impl FileSystem<'_> {
    fn summary(&self) -> String {
        format!("{} {} {} {}", self.name, self.rules.word(), self.release, self.options)
    }
}

/// The cases of a scenario of a file, in the order of what is declared; at most [`MOST`].
#[must_use]
pub fn cases<'a>(file: &'a File, scenario: &'a Scenario) -> Vec<Case<'a>> {
    let of = |f: fn(&Declarations) -> &[FsDecl]| f(&file.shared).iter().chain(f(&scenario.declarations));
    let mut choices: Vec<Vec<FileSystem<'a>>> = vec![Vec::new()];
    for decl in of(|d| &d.filesystems) {
        let alternatives = alternatives(decl);
        let extend = |chosen: &Vec<FileSystem<'a>>| {
            let chosen = chosen.clone();
            alternatives.clone().into_iter().map(move |next| chosen.iter().cloned().chain([next]).collect::<Vec<_>>())
        };
        choices = choices.iter().flat_map(extend).take(MOST).collect();
    }
    let tasks = tasks(file.shared.tasks.iter().chain(&scenario.declarations.tasks));
    let needs = file.shared.needs.union(scenario.declarations.needs);
    let case = |filesystems| Case { scenario, needs, filesystems, tasks: tasks.clone() };
    choices.into_iter().map(case).collect()
}

fn alternatives(decl: &FsDecl) -> Vec<FileSystem<'_>> {
    let profiles = if decl.profiles.is_empty() { &[Release::DEFAULT][..] } else { &decl.profiles };
    let none = [MountOptions::default()];
    let options = if decl.options.is_empty() { &none[..] } else { &decl.options };
    let mut all = Vec::new();
    for &rules in &decl.rules {
        for &release in profiles {
            for options in options {
                all.push(FileSystem {
                    name: &decl.name.text,
                    rules,
                    release,
                    source: &decl.source,
                    block: decl.block.unwrap_or(4096),
                    features: &decl.features,
                    options: options.clone(),
                    device: decl.device.unwrap_or(Device::Pmem),
                    realtime: decl.realtime,
                    mounted: !decl.unmounted,
                });
            }
        }
    }
    all.truncate(MOST);
    all
}

fn tasks<'a>(declared: impl Iterator<Item = &'a TaskDecl>) -> Vec<TaskSpec<'a>> {
    let all: Set<Capability> = Capability::ALL.iter().copied().collect();
    let mut tasks = vec![TaskSpec { name: "root", uid: 0, gid: 0, caps: all, thread_of: None, userns: false }];
    for decl in declared {
        let uid = decl.uid.unwrap_or(0);
        let find = |name: &Name| tasks.iter().position(|task| *task.name == *name.text);
        let caps = decl.caps.unwrap_or(if uid == 0 { all } else { Set::EMPTY });
        let thread_of = decl.thread_of.as_ref().and_then(find);
        let gid = decl.gid.unwrap_or(uid);
        tasks.push(TaskSpec { name: &decl.name.text, uid, gid, caps, thread_of, userns: decl.userns });
    }
    tasks
}

impl Case<'_> {
    /// What sets it apart, in one line: `a ext4 6.12 dax=inode`.
    #[must_use]
    pub fn summary(&self) -> String {
        self.filesystems.iter().map(FileSystem::summary).collect::<Vec<_>>().join("; ")
    }

    /// Whether a condition holds.
    #[must_use]
    pub fn holds(&self, condition: &Condition) -> bool {
        let fs = match &condition.fs {
            Some(name) => self.filesystems.iter().find(|fs| *fs.name == *name.text),
            None => self.filesystems.first(),
        };
        fs.is_some_and(|fs| {
            condition.rules.is_none_or(|rules| rules == fs.rules)
                && condition.from.is_none_or(|from| fs.release >= from)
                && condition.to.is_none_or(|to| fs.release <= to)
                && condition.option.as_ref().is_none_or(|option| match option.as_str() {
                    "defaults" => fs.options.0.is_empty(),
                    option => fs.options.0.iter().any(|given| given == option),
                })
        })
    }
}
