//! What a crash leaves: the metadata of the last commit, and of the memory what had reached it.

use daxkit_device::BlockDevice;
use daxkit_device::pmem::{NoWatch, Persistence, Pmem, Watch};
use daxkit_format::dax::Errno;

use super::names::Names;
use super::{MemFs, MemInode};
use crate::flat_map::FlatMap;

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

/// Metadata as they were committed.
#[derive(Debug, Clone)]
pub(super) struct Committed {
    inodes: Vec<MemInode>,
    free_inodes: u32,
    names: Names,
    map: FlatMap<u64>,
    bitmap: Vec<u64>,
    shares: FlatMap<u32>,
    free_blocks: u64,
    next_block: u64,
}

impl<W: Survives> MemFs<W> {
    pub(super) fn note_committed(&mut self) {
        if !W::KNOWS {
            return;
        }
        self.committed = Some(Box::new(Committed {
            inodes: self.inodes.clone(),
            free_inodes: self.free_inodes,
            names: self.names.clone(),
            map: self.map.clone(),
            bitmap: self.bitmap.clone(),
            shares: self.shares.clone(),
            free_blocks: self.free_blocks,
            next_block: self.next_block,
        }));
    }

    pub(super) fn lose(&mut self, power: bool) -> Result<(), Errno> {
        let Some(committed) = self.committed.clone() else { return Err(Errno::EOPNOTSUPP) };
        if power {
            self.memory = W::survivors(&self.memory).ok_or(Errno::EOPNOTSUPP)?;
        }
        let Committed { inodes, free_inodes, names, map, bitmap, shares, free_blocks, next_block } = *committed;
        (self.inodes, self.free_inodes, self.names, self.map) = (inodes, free_inodes, names, map);
        (self.bitmap, self.shares, self.free_blocks, self.next_block) = (bitmap, shares, free_blocks, next_block);
        // The next mount frees orphans.
        for ino in 0..self.inodes.len() {
            if self.inodes[ino].used && self.inodes[ino].disk.nlink == 0 {
                crate::fs::FileSystem::free_inode(self, ino as u64)?;
            }
        }
        self.note_committed();
        Ok(())
    }
}
