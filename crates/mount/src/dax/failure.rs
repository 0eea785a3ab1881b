//! Memory that has failed (`mm/memory-failure.c`, `fs/xfs/xfs_notify_failure.c`, Linux 6.12): who has a page mapped is told.

use super::entry::{PageEntry, dax_unlock_entry, with_unlocked_entry};
use crate::fail::Result;
use crate::fs::FileSystem;
use crate::ids::{InodeId, SbId, TaskId};
use crate::mm::page_table::{Frame, FrameKind};
use crate::mm::rmap::unmap_mapping_range;
use crate::op::{Object, Op};
use crate::runtime::Runtime;
use crate::vfs::icache::iput;
use crate::world::World;
use daxkit_format::dax::Errno;

/// `memory_failure` of a page of a device, as `madvise(MADV_HWPOISON)` asks for it: every mapping of the page loses it, whichever file it is a
/// mapping of, and every process that had one is sent SIGBUS. The media is whole: the next access faults in again. Says whether the
/// caller is among the processes.
///
/// XFS looks up in its reverse map which files own the block. Without one, as on ext4, only the file is known that the page belongs to,
/// and of a page that several files own none.
///
/// # Errors
/// `EBUSY`: nobody knows whose it is; a zero page is nobody's (`me_kernel`; the big one cannot be split).
pub fn memory_failure<R: Runtime>(rt: &R, frame: Frame) -> Result<bool> {
    let FrameKind::Pmem(sb, block) = frame.kind() else { return Err(Errno::EBUSY.into()) };
    let owners = rt.step(Op::world("notify_failure"), |w| owners(w, frame, sb, block))?;
    let mut told = false;
    for (inode, index) in owners {
        told |= kill_procs(rt, inode, index);
        iput(rt, inode)?;
    }
    Ok(told)
}

/// Files in memory that own a page of the device, and where in them it is; each with a reference.
fn owners<F: FileSystem>(
    w: &mut World<F>,
    frame: Frame,
    sb: SbId,
    block: u64,
) -> std::result::Result<Vec<(InodeId, u64)>, Errno> {
    let found: Vec<_> = match w.sb(sb).fs.owners(block) {
        // xfs_dax_failure_fn: a file that is not in memory is mapped nowhere.
        Some(all) => all.into_iter().filter_map(|(ino, at)| Some((w.ilookup(sb, ino)?, at))).collect(),
        None => {
            let (inode, index) = w.frame_owners.get(frame.key()).ok_or(Errno::EBUSY)?;
            if w.sb(sb).fs.map(w.inodes[inode].ino, index, 1).is_ok_and(|extent| extent.shared) {
                return Err(Errno::EBUSY);
            }
            vec![(inode, index)]
        }
    };
    for (inode, _) in &found {
        w.inodes[*inode].refs += 1;
    }
    Ok(found)
}

/// `mf_dax_kill_procs`: whoever has the page of the file mapped is told, and loses it. Where there is no entry nobody has.
fn kill_procs<R: Runtime>(rt: &R, inode: InodeId, index: u64) -> bool {
    let caller = rt.task();
    let held = with_unlocked_entry(rt, "dax_lock_mapping_entry", inode, index, |w, entry| {
        let entry = entry.filter(|entry| entry.is_real())?;
        w.set_page_entry(inode, index, PageEntry::Dax(entry.locked()));
        Some(entry)
    });
    let Some(entry) = held else { return false };
    let told = rt.step(Op::world("collect_procs_fsdax"), |w| collect_procs(w, caller, inode, index));
    unmap_mapping_range(rt, inode, index, index, false);
    dax_unlock_entry(rt, inode, index, entry);
    told
}

/// Sends SIGBUS to who maps the page; true when the caller does, who gets it as soon as the call is over.
fn collect_procs<F: FileSystem>(w: &mut World<F>, caller: TaskId, inode: InodeId, index: u64) -> bool {
    w.touch(Object::i_mmap(inode), false);
    let own = w.tasks.mm(caller);
    let mut told = false;
    let mut vma = w.inodes[inode].mmap;
    while let Some(at) = vma.some() {
        let mapping = w.vmas[at];
        vma = mapping.next_of_inode;
        if mapping.address_of(index).is_none() {
            continue;
        }
        told |= mapping.mm == own;
        for task in w.tasks.ids() {
            if w.tasks.mm(task) == mapping.mm && mapping.mm != own {
                w.tasks.post_sigbus(task);
            }
        }
    }
    told
}
