//! Blocks that several files own.

use daxkit_format::dax::{Errno, FileKind};

use super::space::{key, of_key};
use super::{MemFs, Survives};
use crate::fs::{Ino, Media};
use crate::ids::PAGE_SIZE;

impl<W: Survives> MemFs<W> {
    pub(super) fn is_shared(&self, device_block: u64) -> bool {
        self.state.shares.get(device_block).is_some_and(|more| more > 0)
    }

    /// One owner less; the last one frees.
    pub(super) fn let_go(&mut self, device_block: u64) {
        match self.state.shares.get(device_block) {
            Some(more) if more > 1 => {
                self.state.shares.insert(device_block, more - 1);
            }
            Some(_) => {
                self.state.shares.remove(device_block);
            }
            None => self.set_used(device_block, false),
        }
    }

    pub(super) fn share_blocks(&mut self, to: Ino, from: Ino, blocks: u64) -> Result<(), Errno> {
        if !self.options.reflink {
            return Err(Errno::EOPNOTSUPP);
        }
        for ino in [to, from] {
            if self.inode(ino)?.disk.kind() != FileKind::Regular {
                return Err(Errno::EINVAL);
            }
        }
        self.unmap(to, 0, blocks);
        for (block, value) in self.backed(from) {
            // What is not written has nothing to share.
            if value & 1 == 0 && block < blocks {
                *self.state.shares.entry(value >> 1) += 1;
                self.set_block(to, block, Some(value));
            }
        }
        for ino in [to, from] {
            self.inode_mut(ino)?.reflink = true;
        }
        Ok(())
    }

    /// Files and their blocks that lie in a block of the device.
    pub(super) fn owners_of(&self, device_block: u64) -> Vec<(Ino, u64)> {
        let mut owners: Vec<_> =
            self.state.map.iter().filter(|(_, value)| value >> 1 == device_block).map(|(at, _)| of_key(at)).collect();
        owners.sort_unstable();
        owners
    }

    pub(super) fn forget_reflink(&mut self, ino: Ino) {
        let shares = self.backed(ino).into_iter().any(|(_, value)| value & 1 == 0 && self.is_shared(value >> 1));
        if !shares && let Ok(inode) = self.inode_mut(ino) {
            inode.reflink = false;
        }
    }

    pub(super) fn exchange_blocks(&mut self, cpu: u16, ino: Ino, donor: Ino, blocks: u64) -> Result<(), Errno> {
        self.inode(donor)?;
        for (block, value) in self.backed(ino) {
            let Some(other) = self.state.map.get(key(donor, block)) else { continue };
            if block >= blocks || value & 1 == 1 {
                continue;
            }
            let mut bytes = [0; PAGE_SIZE as usize];
            self.load((value >> 1) * PAGE_SIZE, &mut bytes).map_err(|_| Errno::EIO)?;
            self.store_nt(cpu, (other >> 1) * PAGE_SIZE, &bytes);
            self.set_block(ino, block, Some(other & !1));
            self.set_block(donor, block, Some(value));
        }
        self.fence(cpu);
        Ok(())
    }

    /// Copies a block that is about to be written; the copy is this file's alone.
    pub(super) fn copy_block(&mut self, cpu: u16, from: u64, to: u64) -> Result<(), Errno> {
        let mut bytes = [0; PAGE_SIZE as usize];
        self.load(from * PAGE_SIZE, &mut bytes).map_err(|_| Errno::EIO)?;
        self.store_nt(cpu, to * PAGE_SIZE, &bytes);
        self.let_go(from);
        Ok(())
    }
}
