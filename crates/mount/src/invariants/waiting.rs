//! P10: whoever sleeps has somebody left to wake it.
//!
//! A sleeper on a queue of an entry, a folio or an inode waits for a state that ends in the same step that wakes. If the state is
//! gone and the sleeper is not, only one who was woken before it and has not moved on can still pass the wake-up on. Pins go in
//! one step and are told in the next: those sleepers count as waiting for user space.

use super::judge::Judge;
use crate::dax::entry::PageEntry;
use crate::fs::FileSystem;
use crate::ids::TaskId;
use crate::locks::{LockId, Mode};
use crate::wait::{Awaited, QueueKey};
use crate::world::World;
use crate::world::objects::IState;
use crate::world::tasks::Sleep;

/// `owes`: the queues whose wake-up somebody has been given and may still have to pass on.
pub(super) fn progress<F: FileSystem>(judge: &mut Judge<'_, F>, owes: &[u64]) {
    let w = judge.w;
    for task in w.tasks.ids() {
        match w.tasks.sleep(task) {
            Sleep::Queue(key) if !owes.contains(&key) => {
                if let Some(what) = over(w, QueueKey(key).awaited()) {
                    judge.say(10, format!("{task} sleeps though {what}"));
                }
            }
            _ => {}
        }
    }
    let able = can_run(w);
    for task in w.tasks.ids() {
        if let Sleep::Lock(lock) = w.tasks.sleep(task)
            && !able[usize::from(task.0)]
        {
            judge.say(10, format!("{task} sleeps for {lock}, which nobody will give back"));
        }
    }
}

/// What has happened that a sleeper waits for, if it has.
fn over<F: FileSystem>(w: &World<F>, awaited: Awaited) -> Option<String> {
    match awaited {
        Awaited::Entry(inode, index) => {
            let locked = matches!(w.page_entry(inode, index), Some(PageEntry::Dax(entry)) if entry.is_locked());
            // One label stands for all entries of 2 MiB, and so does their queue.
            (!locked && !any_locked(w, inode, index)).then(|| format!("no entry at {index:#x} of {inode} is locked"))
        }
        Awaited::Folio(folio) => (!w.folios[folio].locked).then(|| format!("{folio} is not locked")),
        Awaited::Inode(inode) => {
            let passing = IState::NEW | IState::FREEING | IState::WILL_FREE;
            (!w.inodes[inode].state.intersects(passing)).then(|| format!("{inode} is there"))
        }
        Awaited::Thaw(sb) => (!w.sb(sb).frozen).then(|| format!("{sb} is not frozen")),
        Awaited::Pins => None,
    }
}

fn any_locked<F: FileSystem>(w: &World<F>, inode: crate::ids::InodeId, index: u64) -> bool {
    let pages = w.inodes[inode].pages;
    let (mut at, last) = (index, index + crate::ids::PTRS_PER_PMD - 1);
    while let Some(found) = pages.first_in(&w.nodes, at, last) {
        if matches!(PageEntry::decode(found.value), PageEntry::Dax(entry) if entry.is_locked()) {
            return true;
        }
        at = found.index + (1 << found.order);
    }
    false
}

/// Which tasks can run some time: those that do not sleep for a lock, and those whose lock's holders, and whoever asked before them,
/// can. A sleeper on a queue is taken for one that can.
fn can_run<F: FileSystem>(w: &World<F>) -> Vec<bool> {
    let tasks: Vec<TaskId> = w.tasks.ids().collect();
    let lock_of = |task| match w.tasks.sleep(task) {
        Sleep::Lock(lock) => Some(lock),
        _ => None,
    };
    let mut able: Vec<bool> = tasks.iter().map(|&task| w.tasks.alive(task) && lock_of(task).is_none()).collect();
    loop {
        let mut more = false;
        for &task in &tasks {
            let Some(lock) = lock_of(task).filter(|_| !able[usize::from(task.0)]) else { continue };
            let holders = tasks.iter().filter(|&&holder| w.tasks.holds(holder, lock, false));
            let before = w.queue_of(lock).take_while(|&other| other != task);
            let free = holders.copied().chain(before).all(|other| able[usize::from(other.0)]);
            if free && given_some_time(w, lock) {
                able[usize::from(task.0)] = true;
                more = true;
            }
        }
        if !more {
            return able;
        }
    }
}

/// A lock is handed over when it is given back: one that is free and has sleepers stays so. What no task holds is held by a mount.
fn given_some_time<F: FileSystem>(w: &World<F>, lock: LockId) -> bool {
    w.is_held(lock, Mode::Shared)
}
