//! What a crash leaves: the metadata of the last commit, and of the memory what had reached it.

use daxkit_device::BlockDevice;
use daxkit_device::pmem::{NoWatch, Persistence, Pmem, Watch};
use daxkit_format::dax::Errno;

use super::MemFs;

/// A watch that may know what survives.
pub trait Survives: Watch + Sized {
    /// Whether it does. Only then are commits kept, for which memory has to be allocated.
    const KNOWS: bool;
    /// The memory after a power cut in which nothing in flight has reached it; `None` when that is not known.
    fn survivors<B: BlockDevice>(memory: &Pmem<B, Self>) -> Option<Pmem<B, Self>>;
}

impl Survives for NoWatch {
    const KNOWS: bool = false;

    fn survivors<B: BlockDevice>(_: &Pmem<B, Self>) -> Option<Pmem<B, Self>> {
        None
    }
}

impl Survives for Persistence {
    const KNOWS: bool = true;

    fn survivors<B: BlockDevice>(memory: &Pmem<B, Self>) -> Option<Pmem<B, Self>> {
        let states = memory.crash_states();
        let left = states.image(&states.none());
        Some(left.watched_by(Self::new(memory.watch().domain())))
    }
}

impl<W: Survives> MemFs<W> {
    pub(super) fn note_committed(&mut self) {
        if !W::KNOWS {
            return;
        }
        match &mut self.committed {
            Some(committed) => (**committed).clone_from(&self.state),
            none => *none = Some(Box::new(self.state.clone())),
        }
    }

    pub(super) fn lose(&mut self, power: bool) -> Result<(), Errno> {
        let Some(committed) = self.committed.clone() else { return Err(Errno::EOPNOTSUPP) };
        if power {
            self.memory = W::survivors(&self.memory).ok_or(Errno::EOPNOTSUPP)?;
        }
        self.state = *committed;
        // The next mount frees orphans.
        for ino in 0..self.state.inodes.len() {
            if self.state.inodes[ino].used && self.state.inodes[ino].disk.nlink == 0 {
                crate::fs::FileSystem::free_inode(self, ino as u64)?;
            }
        }
        self.note_committed();
        Ok(())
    }
}
