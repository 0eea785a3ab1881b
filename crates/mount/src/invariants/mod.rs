//! What must hold whenever nobody is in the middle of changing it: properties of section "P" of the design, judged over a whole
//! world.
//!
//! Here are those that can be judged by looking at a state: P3 (a mapping is homogeneous), P4 (who owns a page), P6 (what is
//! writable is dirty), P9 (nothing past the end), P12 (`S_DAX` is what the rules say), and that `nrpages` is true. P1, P2 and P10 are judged where
//! they happen ([`crate::world::findings`]); the others compare two runs or look at what survives a crash.

mod pages;
mod tables;

use daxkit_format::dax::FileKind;

use crate::fs::FileSystem;
use crate::ids::InodeId;
use crate::world::World;
use crate::world::findings::Finding;
use crate::world::objects::IState;

/// A property that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Its number: 3 for P3.
    pub property: u8,
    /// What was seen.
    pub what: String,
}

/// Judges a world that is at rest: no task is inside the kernel. Bounded by what is cached and mapped.
#[must_use]
pub fn check_all<F: FileSystem>(w: &World<F>) -> Vec<Broken> {
    let mut broken = Vec::new();
    for inode in living(w) {
        pages::homogeneous(w, inode, &mut broken);
        pages::counted(w, inode, &mut broken);
        pages::owned(w, inode, &mut broken);
        decided(w, inode, &mut broken);
    }
    for mm in w.mms.ids() {
        tables::owned(w, mm, &mut broken);
    }
    broken
}

/// As [`check_all`], noted among the world's findings.
pub fn note_all<F: FileSystem>(w: &mut World<F>) {
    for Broken { property, what } in check_all(w) {
        w.findings.add(Finding::Broken { property, what });
    }
}

fn living<F: FileSystem>(w: &World<F>) -> impl Iterator<Item = InodeId> {
    let gone = IState::NEW | IState::FREEING | IState::WILL_FREE;
    w.inodes.ids().into_iter().filter(move |&inode| !w.inodes[inode].state.intersects(gone))
}

/// P12: `S_DAX` came from the rules at some time; of a flag that has not changed since (no `I_DONTCACHE`), it still agrees.
fn decided<F: FileSystem>(w: &World<F>, inode: InodeId, broken: &mut Vec<Broken>) {
    let node = &w.inodes[inode];
    let changed = node.state.contains(IState::DONTCACHE) || node.disk.inline_data;
    let expected = w.should_enable_dax(node).s_dax;
    if node.kind() != FileKind::Regular && node.s_dax {
        broken.push(Broken { property: 12, what: format!("{inode} is no regular file and S_DAX") });
    } else if !changed && node.s_dax != expected && w.sb(node.sb).dax != daxkit_format::dax::DaxMode::Inode {
        broken.push(Broken {
            property: 12,
            what: format!("S_DAX of {inode} is {}, the rules say {expected}", node.s_dax),
        });
    }
}

#[cfg(test)]
mod tests;
