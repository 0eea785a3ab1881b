//! Before blocks are taken away: nobody may have them mapped or pinned (`dax_layout_busy_page_range`, Linux 6.12).

use super::entry::with_unlocked_entry;
use crate::fail::Result;
use crate::fs::FileSystem;
use crate::ids::{InodeId, SbId};
use crate::locks::{LockId, Mode, acquire, release};
use crate::mm::page_table::Frame;
use crate::mm::rmap::unmap_mapping_range;
use crate::op::{Object, Op};
use crate::runtime::Runtime;
use crate::wait::{QueueKey, sleep_on};
use crate::world::World;
use daxkit_format::dax::Errno;

/// Unmaps the whole file and waits until none of its pages is pinned. The caller holds `invalidate_lock` exclusively; it is
/// dropped while this waits, so everything that the caller knows must be looked at again.
///
/// # Errors
/// `ERESTARTSYS` when a signal comes.
pub fn break_layouts<R: Runtime>(rt: &R, inode: InodeId) -> Result<()> {
    let task = rt.task();
    let invalidate = LockId::invalidate(inode);
    loop {
        let dax = rt.step(Op::new("dax_mapping").read(Object::s_dax(inode)), |w| w.is_dax(inode));
        if !dax {
            return Ok(());
        }
        unmap_mapping_range(rt, inode, 0, u64::MAX, false);
        let mut at = 0;
        let mut busy = false;
        loop {
            let next = rt.step(Op::new("scan").read(Object::entries(inode)), |w| {
                w.touch(Object::entries(inode), false);
                w.inodes[inode].pages.first_in(&w.nodes, at, u64::MAX >> 12)
            });
            let Some(found) = next else { break };
            busy |= with_unlocked_entry(rt, "dax_busy_page", inode, found.index, |w, entry| {
                entry.is_some_and(|entry| is_pinned(w, inode, entry.is_real().then_some((entry.pfn(), entry.order()))))
            });
            at = found.index + (1 << found.order);
        }
        if !busy {
            return Ok(());
        }
        release(rt, invalidate);
        let queue = QueueKey::pins(inode);
        let op = Op::new("wait for pins").read(Object::PINS).write(queue.object()).read(Object::task(task));
        // The pin may have gone since: then there is nobody to wake this task.
        let asleep = rt.step(op, |w| {
            w.touch(Object::PINS, false);
            let still = w.pins.iter().any(|(key, n)| n > 0 && w.frame_owners.get(key).is_some_and(|o| o.0 == inode));
            if still && !w.tasks.signal_pending(task) {
                w.queue_up(task, queue, false);
                return true;
            }
            false
        });
        if asleep {
            sleep_on(rt, queue);
        }
        acquire(rt, invalidate, Mode::Exclusive);
        let signal = rt.step(Op::new("signal_pending").write(Object::task(task)), |w| {
            let pending = w.tasks.signal_pending(task);
            w.tasks.set_signal(task, false);
            pending
        });
        if signal {
            return Err(Errno::ERESTARTSYS.into());
        }
    }
}

fn is_pinned<F: FileSystem>(w: &World<F>, inode: InodeId, real: Option<(u64, u32)>) -> bool {
    let Some((pfn, order)) = real else { return false };
    let sb = w.inodes[inode].sb;
    (0..1u64 << order).any(|page| w.pins.get(Frame::pmem(sb, pfn + page).key()).is_some_and(|n| n > 0))
}

/// Whether a mount's device has poison anywhere in the blocks of a page.
pub fn is_poisoned<R: Runtime>(rt: &R, sb: SbId, pfn: u64) -> bool {
    use crate::fs::Media;
    rt.step(Op::new("poison").read(Object::ALL_DATA), |w| w.sb(sb).fs.is_poisoned(pfn << 12, 1 << 12))
}
