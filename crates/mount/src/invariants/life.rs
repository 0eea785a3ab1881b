//! Properties of inodes and mounts: what decided `S_DAX`, how an inode ends, what a freeze holds off.

use daxkit_format::dax::{DaxMode, FileKind};

use super::judge::Judge;
use crate::fs::FileSystem;
use crate::ids::{InodeId, PAGE_SHIFT};
use crate::locks::LockClass;
use crate::vfs::freeze;
use crate::world::objects::IState;
use crate::xarray::Tag;

/// P12: `S_DAX` came from the rules at some time; of a flag that has not changed since (no `I_DONTCACHE`), it still agrees.
pub(super) fn decided<F: FileSystem>(judge: &mut Judge<'_, F>, inode: InodeId) {
    let w = judge.w;
    let node = &w.inodes[inode];
    let changed = node.state.contains(IState::DONTCACHE) || node.disk.inline_data;
    let expected = w.should_enable_dax(node).s_dax;
    if node.kind() != FileKind::Regular && node.s_dax {
        judge.say(12, format!("{inode} is no regular file and S_DAX"));
    } else if !changed && node.s_dax != expected && w.sb(node.sb).dax != DaxMode::Inode {
        judge.say(12, format!("S_DAX of {inode} is {}, the rules say {expected}", node.s_dax));
    }
}

/// P14: a marked inode that nobody refers to is on its way out; what is on its way out and has a name has nothing left to write.
/// That the next instantiation follows the rules is P12 of that one.
pub(super) fn ends<F: FileSystem>(judge: &mut Judge<'_, F>, inode: InodeId) {
    let w = judge.w;
    let node = &w.inodes[inode];
    let leaving = IState::NEW | IState::FREEING | IState::WILL_FREE;
    if node.refs == 0 && node.state.contains(IState::DONTCACHE) && !node.state.intersects(leaving) {
        judge.say(14, format!("{inode} is marked I_DONTCACHE and kept without a reference"));
    }
    let sb = w.sb(node.sb);
    let may_lose = node.disk.nlink == 0 || sb.gone || sb.shutdown;
    if node.state.contains(IState::FREEING)
        && !may_lose
        && node.pages.next_tagged(&w.nodes, 0, u64::MAX >> PAGE_SHIFT, Some(Tag::Dirty)).is_some()
    {
        judge.say(14, format!("{inode} is freed with dirty pages"));
    }
}

/// P11: a freeze that is complete has waited for everybody, and nobody has got past it since.
pub(super) fn frozen<F: FileSystem>(judge: &mut Judge<'_, F>) {
    let w = judge.w;
    for task in w.tasks.ids().filter(|&task| w.tasks.alive(task)) {
        for lock in w.tasks.held(task) {
            let level = matches!(lock.class, LockClass::Journal | LockClass::SbPagefault);
            let sb = crate::ids::SbId(lock.of as u16);
            if level && freeze::complete(w, sb) {
                judge.say(11, format!("{task} holds {lock} of a file system that is frozen"));
            }
        }
    }
}
