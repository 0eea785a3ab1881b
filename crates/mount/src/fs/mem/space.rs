//! Blocks: which are free, and which belong where.

use daxkit_format::dax::Errno;

use super::{MemFs, Survives};
use crate::fs::{Backing, Extent, Ino, Media};
use crate::ids::PAGE_SIZE;

/// Sectors of 512 bytes in a block, for `i_blocks`.
const SECTORS: u64 = PAGE_SIZE / 512;

/// From how many blocks on the end of a hole is looked up among what is backed, and not block by block.
const LONG: u64 = 8192;

/// Blocks of all files of a small world.
const SMALL: usize = 64;

pub(super) const fn key(ino: Ino, block: u64) -> u64 {
    ino << 40 | block & 0xFF_FFFF_FFFF
}

/// The inode and the block of a [`key`].
pub(super) const fn of_key(key: u64) -> (Ino, u64) {
    (key >> 40, key & 0xFF_FFFF_FFFF)
}

const fn backing(value: Option<u64>) -> Backing {
    match value {
        None => Backing::Hole,
        Some(value) if value & 1 == 1 => Backing::Unwritten(value >> 1),
        Some(value) => Backing::Mapped(value >> 1),
    }
}

impl<W: Survives> MemFs<W> {
    fn is_used(&self, block: u64) -> bool {
        self.state.bitmap[(block / 64) as usize] >> (block % 64) & 1 == 1
    }

    pub(super) fn set_used(&mut self, block: u64, used: bool) {
        let bit = 1 << (block % 64);
        let word = &mut self.state.bitmap[(block / 64) as usize];
        if used {
            *word |= bit;
            self.state.free_blocks -= 1;
        } else {
            *word &= !bit;
            self.state.free_blocks += 1;
        }
    }

    fn blocks(&self) -> u64 {
        self.options.size / PAGE_SIZE
    }

    /// A free block: the one behind `goal` if it is free, else the next from where the search stands.
    fn take_block(&mut self, goal: Option<u64>) -> Result<u64, Errno> {
        if self.state.free_blocks == 0 {
            return Err(Errno::ENOSPC);
        }
        let goal = goal.filter(|&block| block < self.blocks() && !self.is_used(block));
        let block = match goal {
            Some(block) if self.options.gap == 0 => block,
            _ => {
                let mut block = self.state.next_block % self.blocks();
                while self.is_used(block) {
                    block = (block + 1) % self.blocks();
                }
                block
            }
        };
        self.set_used(block, true);
        self.state.next_block = block + 1 + self.options.gap;
        Ok(block)
    }

    pub(super) fn set_block(&mut self, ino: Ino, block: u64, value: Option<u64>) {
        let old = match value {
            Some(value) => self.state.map.insert(key(ino, block), value),
            None => self.state.map.remove(key(ino, block)),
        };
        let inode = &mut self.state.inodes[ino as usize];
        inode.dirty = true;
        match (old.is_some(), value.is_some()) {
            (false, true) => inode.disk.blocks += SECTORS,
            (true, false) => inode.disk.blocks -= SECTORS,
            _ => {}
        }
    }

    /// How `block` is backed, and for how long the same way.
    pub(super) fn extent_at(&self, ino: Ino, block: u64, len: u64) -> Extent {
        let first = backing(self.state.map.get(key(ino, block)));
        let is_shared = |backing| matches!(backing, Backing::Mapped(at) if self.is_shared(at));
        let shared = is_shared(first);
        if first == Backing::Hole && len > LONG {
            let behind = self.backed(ino).into_iter().find(|(at, _)| *at > block);
            let len = behind.map_or(len, |(at, _)| len.min(at - block));
            return Extent { block, len, backing: first, new: false, shared };
        }
        let mut n = 1;
        while n < len {
            let next = backing(self.state.map.get(key(ino, block + n)));
            let goes_on = match (first, next) {
                (Backing::Hole, Backing::Hole) => true,
                (Backing::Unwritten(at), Backing::Unwritten(here)) | (Backing::Mapped(at), Backing::Mapped(here)) => {
                    here == at + n
                }
                _ => false,
            };
            if !goes_on || is_shared(next) != shared {
                break;
            }
            n += 1;
        }
        Extent { block, len: n, backing: first, new: false, shared }
    }

    /// Allocates and converts, zeroes what becomes visible, and gives the written extent at `block`. Nothing outside of that
    /// extent changes: the caller has to hear of every block that is new.
    pub(super) fn make_written(&mut self, cpu: u16, ino: Ino, block: u64, len: u64) -> Result<Extent, Errno> {
        let mut shared = false;
        if let Backing::Mapped(at) = backing(self.state.map.get(key(ino, block))) {
            shared = self.is_shared(at);
            if !shared {
                return Ok(self.extent_at(ino, block, len.max(1)));
            }
        }
        let mut first = 0;
        let mut done = 0;
        while done < len.max(1) {
            let at = block + done;
            let before = backing(self.state.map.get(key(ino, at)));
            let copied = match before {
                Backing::Mapped(from) if self.is_shared(from) => Some(from),
                _ => None,
            };
            // Either all of the extent is copied, or none: who maps it has to know.
            if copied.is_some() != shared {
                break;
            }
            let device_block = match before {
                Backing::Mapped(_) if copied.is_none() => break,
                Backing::Unwritten(device_block) if done == 0 || device_block == first + done => device_block,
                Backing::Unwritten(_) => break,
                Backing::Hole | Backing::Mapped(_) => match self.take_block(self.goal(ino, at)) {
                    Ok(device_block) if done == 0 || device_block == first + done => device_block,
                    Ok(elsewhere) => {
                        self.set_used(elsewhere, false);
                        break;
                    }
                    Err(errno) if done == 0 => return Err(errno),
                    Err(_) => break,
                },
            };
            if done == 0 {
                first = device_block;
            }
            match copied {
                Some(from) => self.copy_block(cpu, from, device_block)?,
                None => self.zero(cpu, device_block * PAGE_SIZE, PAGE_SIZE),
            }
            self.set_block(ino, at, Some(device_block << 1));
            done += 1;
        }
        Ok(Extent { block, len: done, backing: Backing::Mapped(first), new: true, shared })
    }

    fn goal(&self, ino: Ino, block: u64) -> Option<u64> {
        let before = block.checked_sub(1)?;
        match backing(self.state.map.get(key(ino, before))) {
            Backing::Hole => None,
            Backing::Unwritten(at) | Backing::Mapped(at) => Some(at + 1),
        }
    }

    pub(super) fn reserve(&mut self, ino: Ino, block: u64, len: u64) -> Result<(), Errno> {
        for at in block..block.saturating_add(len) {
            if self.state.map.get(key(ino, at)).is_none() {
                let device_block = self.take_block(self.goal(ino, at))?;
                self.set_block(ino, at, Some(device_block << 1 | 1));
            }
        }
        Ok(())
    }

    /// Blocks of the file that are backed, ascending. For operations that nobody counts the cost of.
    pub(super) fn backed(&self, ino: Ino) -> Vec<(u64, u64)> {
        let mut all: Vec<_> = self
            .state
            .map
            .iter()
            .filter(|(at, _)| at >> 40 == ino)
            .map(|(at, value)| (at & 0xFF_FFFF_FFFF, value))
            .collect();
        all.sort_unstable();
        all
    }

    pub(super) fn unmap(&mut self, ino: Ino, block: u64, len: u64) {
        let range = block..block.saturating_add(len);
        if self.state.map.len() <= SMALL {
            // In a small world, that of a search, nothing is allocated.
            let mine = |at: u64| at >> 40 == ino && range.contains(&(at & 0xFF_FFFF_FFFF));
            loop {
                let next = self.state.map.iter().find(|(at, _)| mine(*at));
                let Some((at, value)) = next else { break };
                self.set_block(ino, at & 0xFF_FFFF_FFFF, None);
                self.let_go(value >> 1);
            }
            return;
        }
        for (at, value) in self.backed(ino) {
            if range.contains(&at) {
                self.set_block(ino, at, None);
                self.let_go(value >> 1);
            }
        }
    }

    pub(super) fn free_blocks_of(&mut self, ino: Ino) {
        self.unmap(ino, 0, u64::MAX);
    }

    pub(super) fn move_blocks(&mut self, ino: Ino, block: u64, len: u64, insert: bool) {
        if !insert {
            self.unmap(ino, block, len);
        }
        let all = self.backed(ino);
        for (at, _) in &all {
            if *at >= block {
                self.set_block(ino, *at, None);
            }
        }
        for (at, value) in all {
            if at >= block {
                self.set_block(ino, if insert { at + len } else { at - len }, Some(value));
            }
        }
    }
}
