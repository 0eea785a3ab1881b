//! What goes when memory is wanted, or `drop_caches` is written (`fs/drop_caches.c`, `fs/inode.c`, `fs/dcache.c`, Linux 6.12).

use super::{IN_TRANSIT, evict, iput, kill_dentry, set_freeing, write_inode_now};
use crate::fail::Result;
use crate::filemap::invalidate::invalidate_mapping_pages;
use crate::ids::{DentryId, InodeId, PAGE_SHIFT, SbId};
use crate::locks::{LockId, Mode, with_lock};
use crate::op::{Object, Op};
use crate::runtime::Runtime;
use crate::world::objects::IState;

/// `echo WHAT > /proc/sys/vm/drop_caches`: 1 clean page cache, 2 unused dentries and inodes.
///
/// # Errors
/// An oops in an eviction.
pub fn drop_caches<R: Runtime>(rt: &R, what: u8) -> Result<()> {
    if what & 1 != 0 {
        each_super(rt, |sb| drop_pagecache_sb(rt, sb))?;
    }
    if what & 2 != 0 {
        each_super(rt, |sb| prune(rt, sb))?;
    }
    Ok(())
}

/// `drop_pagecache_sb`: one inode after another loses what is clean of it. The reference to each is given back when the next is done: it
/// is the place in the list of inodes, from which the walk goes on. So two are held, never all.
fn drop_pagecache_sb<R: Runtime>(rt: &R, sb: SbId) -> Result<()> {
    let mut held = None;
    while let Some(inode) = next_with_pages(rt, sb, held) {
        invalidate_mapping_pages(rt, inode, 0, u64::MAX >> PAGE_SHIFT);
        if let Some(before) = held.replace(inode) {
            iput(rt, before)?;
        }
    }
    held.map_or(Ok(()), |last| iput(rt, last))
}

/// The inode behind `after` that has something in its mapping, with a reference. The kernel's list has the youngest first, here they go
/// by number; who comes or goes meanwhile is seen or is not, in either.
fn next_with_pages<R: Runtime>(rt: &R, sb: SbId, after: Option<InodeId>) -> Option<InodeId> {
    rt.step(Op::world("drop_pagecache_sb"), |w| {
        // nrpages, of which DAX entries are some since 5.13; later mapping_empty.
        let entries = w.sb(sb).profile.entries_keep_inodes();
        let wanted = |id: &InodeId| {
            let node = &w.inodes[*id];
            let empty = node.nrpages == 0 || (node.s_dax && !entries);
            after.is_none_or(|after| id.0 > after.0) && node.sb == sb && !node.state.intersects(IN_TRANSIT) && !empty
        };
        let inode = w.inodes.ids().into_iter().find(wanted)?;
        w.inodes[inode].refs += 1;
        Some(inode)
    })
}

/// `iterate_supers`: runs `f` on every mount, with `s_umount` shared, so that none goes meanwhile.
pub(crate) fn each_super<R: Runtime>(rt: &R, mut f: impl FnMut(SbId) -> Result<()>) -> Result<()> {
    let count = rt.step(Op::world("iterate_supers"), |w| w.sbs.len());
    for sb in 0..count {
        let sb = SbId(sb as u16);
        with_lock(rt, LockId::s_umount(sb), Mode::Shared, || {
            let gone = rt.step(Op::new("SB_BORN").read(Object::sb(sb)), |w| w.sb(sb).gone);
            if gone { Ok(()) } else { f(sb) }
        })?;
    }
    Ok(())
}

/// Drops unused dentries, then unused inodes, of a mount. The caller holds `s_umount`.
pub(crate) fn prune<R: Runtime>(rt: &R, sb: SbId) -> Result<()> {
    loop {
        let next = rt.step(Op::world("prune_dcache"), |w| {
            let unused = |id: &DentryId| {
                let dentry = &w.dentries[*id];
                dentry.refs == 0 && dentry.sb == sb
            };
            let dentry = w.dentries.ids().into_iter().find(unused)?;
            Some(kill_dentry(w, dentry))
        });
        match next {
            Some(inode) => iput(rt, inode)?,
            None => break,
        }
    }
    // Until 5.15 inodes with pages are on the LRU: whoever meets one drops what is clean, and the inode behind it.
    let with_pages = rt.step(Op::world("inode_lru_isolate"), |w| {
        let mut inodes = w.inodes.ids();
        inodes.retain(|&id| {
            let node = &w.inodes[id];
            let unused = node.sb == sb && node.refs == 0 && !node.state.intersects(IN_TRANSIT);
            unused && node.state.contains(IState::LRU) && node.nrpages > 0 && !node.s_dax
        });
        for &id in &inodes {
            w.inodes[id].refs += 1;
        }
        inodes
    });
    for inode in with_pages {
        invalidate_mapping_pages(rt, inode, 0, u64::MAX >> PAGE_SHIFT);
        iput(rt, inode)?;
    }
    loop {
        let next = rt.step(Op::world("prune_icache"), |w| {
            let unused = |id: &InodeId| {
                let node = &w.inodes[*id];
                let gone = w.sb(node.sb).gone;
                // An inode with DAX entries never loses them here; only before 5.13 they do not keep it.
                let kept = node.nrpages > 0 && (!node.s_dax || w.sb(node.sb).profile.entries_keep_inodes());
                let on_lru = node.state.contains(IState::LRU) && !kept;
                node.sb == sb && node.refs == 0 && !node.state.intersects(IN_TRANSIT) && (on_lru || gone)
            };
            let inode = w.inodes.ids().into_iter().find(unused)?;
            w.inodes[inode].state |= IState::WILL_FREE;
            Some(inode)
        });
        let Some(inode) = next else { return Ok(()) };
        let _ = write_inode_now(rt, inode);
        set_freeing(rt, inode);
        evict(rt, inode)?;
    }
}
