//! What properties ask of a state, each over a whole world.

use daxkit_format::dax::{DaxMode, FileKind};

use super::{Broken, pages, tables};
use crate::fs::FileSystem;
use crate::ids::{InodeId, SbId};
use crate::locks::LockId;
use crate::vfs::freeze::complete;
use crate::world::World;
use crate::world::objects::IState;

/// Inodes that are neither being filled nor on their way out.
fn living<F: FileSystem>(w: &World<F>) -> impl Iterator<Item = InodeId> {
    let gone = IState::NEW | IState::FREEING | IState::WILL_FREE;
    w.inodes.ids().into_iter().filter(move |&inode| !w.inodes[inode].state.intersects(gone))
}

/// P3, `nrpages` included: `clear_inode` insists on it.
pub(super) fn homogeneous<F: FileSystem>(w: &World<F>, broken: &mut Vec<Broken>) {
    for inode in living(w) {
        pages::homogeneous(w, inode, broken);
        pages::counted(w, inode, broken);
    }
}

/// P4.
pub(super) fn owned<F: FileSystem>(w: &World<F>, broken: &mut Vec<Broken>) {
    for inode in living(w) {
        pages::owned(w, inode, broken);
    }
    of_tables(w, 4, broken);
}

/// P5.
pub(super) fn mapped_folios<F: FileSystem>(w: &World<F>, broken: &mut Vec<Broken>) {
    of_tables(w, 5, broken);
}

/// P6.
pub(super) fn writable_is_dirty<F: FileSystem>(w: &World<F>, broken: &mut Vec<Broken>) {
    of_tables(w, 6, broken);
}

/// P8.
pub(super) fn zero_page<F: FileSystem>(w: &World<F>, broken: &mut Vec<Broken>) {
    of_tables(w, 8, broken);
}

/// P9.
pub(super) fn inside<F: FileSystem>(w: &World<F>, broken: &mut Vec<Broken>) {
    of_tables(w, 9, broken);
}

fn of_tables<F: FileSystem>(w: &World<F>, property: u8, broken: &mut Vec<Broken>) {
    let before = broken.len();
    for mm in w.mms.ids() {
        tables::owned(w, mm, broken);
    }
    let mut at = 0;
    broken.retain(|one| {
        at += 1;
        at <= before || one.property == property
    });
}

/// P10, of a world at rest: an entry that is locked stays so for ever.
pub(super) fn unlocked<F: FileSystem>(w: &World<F>, broken: &mut Vec<Broken>) {
    for inode in living(w) {
        pages::unlocked(w, inode, broken);
    }
}

/// P11.
pub(super) fn frozen<F: FileSystem>(w: &World<F>, broken: &mut Vec<Broken>) {
    for sb in (0..w.sbs.len()).map(|at| SbId(at as u16)).filter(|&sb| complete(w, sb)) {
        let kept_out = [LockId::sb_writers(sb), LockId::sb_pagefault(sb), LockId::journal(sb)];
        for task in w.tasks.ids() {
            for lock in w.tasks.held(task).filter(|lock| kept_out.contains(lock)) {
                let what = format!("{task} holds {lock} of a mount that is frozen");
                broken.push(Broken { property: 11, what });
            }
        }
    }
}

/// P12: `S_DAX` came from the rules at some time; of a flag that has not changed since (no `I_DONTCACHE`), it still agrees.
pub(super) fn decided<F: FileSystem>(w: &World<F>, broken: &mut Vec<Broken>) {
    for inode in living(w) {
        let node = &w.inodes[inode];
        let changed = node.state.contains(IState::DONTCACHE) || node.disk.inline_data;
        let expected = w.should_enable_dax(node).s_dax;
        if node.kind() != FileKind::Regular && node.s_dax {
            broken.push(Broken { property: 12, what: format!("{inode} is no regular file and S_DAX") });
        } else if !changed && node.s_dax != expected && w.sb(node.sb).dax != DaxMode::Inode {
            let what = format!("S_DAX of {inode} is {}, the rules say {expected}", node.s_dax);
            broken.push(Broken { property: 12, what });
        }
    }
}

/// P14: the last reference decides, in the step in which it goes.
pub(super) fn leaves<F: FileSystem>(w: &World<F>, broken: &mut Vec<Broken>) {
    for inode in living(w) {
        let node = &w.inodes[inode];
        if node.refs == 0 && node.state.contains(IState::DONTCACHE) {
            let what = format!("{inode} is to leave memory, nobody refers to it, and it stays");
            broken.push(Broken { property: 14, what });
        }
    }
}
