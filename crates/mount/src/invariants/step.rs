//! Judgement after a step: of the properties that the step's objects can break, around those objects.

use super::judge::{Judge, Wanted};
use super::{Broken, filled, tables};
use crate::fail::Oops;
use crate::fs::FileSystem;
use crate::ids::{InodeId, MmId, PAGE_SHIFT, PTRS_PER_PMD, TaskId, VmaId};
use crate::op::{Kind, Object, Op};
use crate::wait::QueueKey;
use crate::world::World;
use crate::world::findings::Finding;
use crate::world::objects::{Aops, VmOps};
use crate::world::tasks::Sleep;

const ALL: u64 = u64::MAX >> PAGE_SHIFT;

/// What has to be remembered from one step to the next.
#[derive(Debug, Default)]
pub struct History {
    tasks: Vec<Past>,
    deferred: Vec<(u8, InodeId)>,
    /// Findings of the world that have been looked at.
    seen: usize,
    /// What has been told in this run: a property that stays broken is told once.
    told: Vec<Broken>,
}

/// What a task did.
#[derive(Debug, Clone, Copy, Default)]
struct Past {
    /// The mode that its fault has met first: of which word, in which step, whether DAX.
    mode: Option<(&'static str, &'static str, bool)>,
    /// The queue that it sleeps on.
    asleep: Option<u64>,
    /// The queue that it was woken from and whose wake-up it may have to pass on.
    owes: Option<u64>,
}

impl History {
    /// Of a world in which nothing is under way.
    #[must_use]
    pub fn of<F: FileSystem>(w: &World<F>) -> Self {
        let mut new = Self::default();
        new.forget(w);
        new
    }

    /// Begins anew, keeps the memory.
    pub fn forget<F: FileSystem>(&mut self, w: &World<F>) {
        self.tasks.clear();
        self.deferred.clear();
        self.told.clear();
        self.seen = w.findings.list().len();
    }
}

/// Judges what the step `op`, which `task` has just made, can have broken, and what had to wait for a lock that it has let go.
/// What is found says who and in which step ([`Finding::BrokenAt`]).
pub fn check_after_step<F: FileSystem>(history: &mut History, w: &mut World<F>, task: TaskId, op: &Op) {
    let mut broken = Vec::new();
    history.tasks.resize(w.tasks.ids().count(), Past::default());
    called(history, w, &mut broken);
    saw(history, w, task, op, &mut broken);
    woke(history, w, task, op);
    let owes: Vec<u64> = history.tasks.iter().filter_map(|past| past.owes).collect();
    let mut unlocked = false;
    for (object, _) in op.objects().filter(|(_, write)| *write) {
        unlocked |= object.is(Kind::Lock);
        let wanted = Wanted::broken_by(object);
        if !wanted.is_empty() {
            let mut judge = Judge::new(w, wanted, false);
            around(&mut judge, object, &owes);
            broken.append(&mut judge.broken);
            history.deferred.append(&mut judge.deferred);
        }
    }
    if unlocked || op.allows(Object::WORLD, true) {
        history.deferred.sort_unstable();
        history.deferred.dedup();
        for (number, inode) in std::mem::take(&mut history.deferred) {
            let mut judge = Judge::new(w, Wanted::only(number), false);
            if filled(w).any(|other| other == inode) {
                of_inode(&mut judge, inode, 0, ALL);
            }
            broken.append(&mut judge.broken);
            history.deferred.append(&mut judge.deferred);
        }
    }
    for found in broken {
        if !history.told.contains(&found) {
            let Broken { property, what } = found.clone();
            w.findings.add(Finding::BrokenAt { property, task, step: op.name, what });
            history.told.push(found);
        }
    }
    history.seen = w.findings.list().len();
}

/// P2 and the order of locks: the kernel's code says so itself.
fn called<F: FileSystem>(history: &History, w: &World<F>, broken: &mut Vec<Broken>) {
    for finding in w.findings.list().iter().skip(history.seen) {
        match finding {
            Finding::Oops(_, oops @ (Oops::NullMethod { .. } | Oops::NullPage { .. })) => {
                broken.push(Broken { property: 2, what: oops.to_string() });
            }
            Finding::LockOrder(order) => broken.push(Broken { property: 10, what: order.to_string() }),
            _ => {}
        }
    }
}

/// P1: the words that one fault reads, where the kernel reads them, belong to one mode.
fn saw<F: FileSystem>(history: &mut History, w: &World<F>, task: TaskId, op: &Op, broken: &mut Vec<Broken>) {
    let past = &mut history.tasks[usize::from(task.0)];
    if !w.tasks.in_kernel(task) {
        past.mode = None;
        return;
    }
    for (object, _) in op.objects() {
        let Some((word, dax)) = mode_of(w, object) else { continue };
        match past.mode {
            None => past.mode = Some((word, op.name, dax)),
            Some((first, step, was)) if was != dax => {
                let told = |dax| if dax { "DAX" } else { "the page cache" };
                let what = format!("{word} is of {}, {first} was of {} in {step}", told(dax), told(was));
                broken.push(Broken { property: 1, what });
            }
            Some(_) => {}
        }
    }
}

/// Which mode a word says, if it is one of those that do.
fn mode_of<F: FileSystem>(w: &World<F>, object: Object) -> Option<(&'static str, bool)> {
    let (number, _) = object.numbers();
    if object.is(Kind::SDax) {
        Some(("S_DAX", w.inodes[InodeId(number)].s_dax))
    } else if object.is(Kind::Aops) {
        Some(("a_ops", w.inodes[InodeId(number)].aops == Aops::Dax))
    } else if object.is(Kind::Vma) {
        match w.vmas[VmaId(number)].ops {
            VmOps::Ext4Dax => Some(("vm_ops", true)),
            VmOps::Ext4File => Some(("vm_ops", false)),
            // XFS has one for both.
            VmOps::XfsFile | VmOps::Anonymous => None,
        }
    } else {
        None
    }
}

/// Who was woken has to take what it waited for or pass the wake-up on, in steps that still name the queue.
fn woke<F: FileSystem>(history: &mut History, w: &World<F>, task: TaskId, op: &Op) {
    let past = &mut history.tasks[usize::from(task.0)];
    if past.owes.is_some_and(|key| !op.allows(QueueKey(key).object(), true)) {
        past.owes = None;
    }
    for id in w.tasks.ids() {
        let past = &mut history.tasks[usize::from(id.0)];
        let asleep = match w.tasks.sleep(id) {
            Sleep::Queue(key) => Some(key),
            _ => None,
        };
        if past.asleep.is_some() && asleep.is_none() {
            past.owes = past.asleep;
        }
        if asleep.is_some() {
            past.owes = None;
        }
        past.asleep = asleep;
    }
}

/// Judges around an object.
fn around<F: FileSystem>(judge: &mut Judge<'_, F>, object: Object, owes: &[u64]) {
    let (number, second) = object.numbers();
    let mut inode = |from, to| {
        let inode = InodeId(number);
        if living_or_leaving(judge.w, inode) {
            of_inode(judge, inode, from, to);
        }
    };
    if object.is(Kind::Entry) {
        inode(second * PTRS_PER_PMD, second * PTRS_PER_PMD + PTRS_PER_PMD - 1);
    } else if [Kind::Entries, Kind::SDax, Kind::Size, Kind::Attr, Kind::Life, Kind::BlockMap]
        .iter()
        .any(|&kind| object.is(kind))
    {
        inode(0, ALL);
    } else if object.is(Kind::Pte) {
        tables::of_mm(judge, MmId(number as u16), second, second);
    } else if object.is(Kind::Ptes) {
        tables::of_mm(judge, MmId(number as u16), 0, ALL);
    } else if object.is(Kind::Icache) || object.is(Kind::World) {
        super::whole(judge);
    }
    super::tasks(judge, owes);
}

/// Whether the slot is in use, by an inode that is not being filled.
fn living_or_leaving<F: FileSystem>(w: &World<F>, inode: InodeId) -> bool {
    super::filled(w).any(|other| other == inode)
}

fn of_inode<F: FileSystem>(judge: &mut Judge<'_, F>, inode: InodeId, from: u64, to: u64) {
    super::one(judge, inode, from, to);
    tables::of_inode(judge, inode, from, to);
}
