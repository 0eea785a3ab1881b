//! Blocks of files. What they hold is written to the memory, here only zeroes.

use daxkit_device::pmem::{Cpu, PersistentMemory};
use daxkit_format::InodeNr;
use daxkit_format::dax::Errno;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_volume::ext4::edit::{Before, Fill};
use daxkit_volume::ext4::{Mapping, Segment};

use super::{Ext4Fs, errno_of};
use crate::fs::mem::Survives;
use crate::fs::{Backing, Extent, Ino, Media};
use crate::ids::PAGE_SIZE;

impl<W: Survives + 'static> Ext4Fs<W> {
    pub(super) fn extent_at(&self, ino: Ino, block: u64, len: u64) -> Result<Extent, Errno> {
        let inode = self.inode(ino)?;
        let hole = Extent { block, len: len.max(1), backing: Backing::Hole, new: false, shared: false };
        if !self.volume.has_map(&inode) {
            return Ok(hole);
        }
        Ok(match self.volume.map_block(&inode, block).map_err(|e| errno_of(&e))? {
            Segment::Hole { len: there, .. } => Extent { len: there.min(len).max(1), ..hole },
            Segment::Mapped(run) => {
                let at = run.physical.get();
                let backing = if run.written { Backing::Mapped(at) } else { Backing::Unwritten(at) };
                Extent { len: run.len.min(len).max(1), backing, ..hole }
            }
        })
    }

    pub(super) fn back(&mut self, cpu: u16, ino: Ino, block: u64, len: u64) -> Result<Extent, Errno> {
        // What is there already is most of what is asked for.
        let there = self.extent_at(ino, block, len)?;
        if matches!(there.backing, Backing::Mapped(_)) {
            return Ok(there);
        }
        let end = block.saturating_add(len.max(1));
        let size = self.inode(ino)?.size();
        if end > size.div_ceil(PAGE_SIZE) {
            self.put_beyond(ino)?;
        }
        let (run, before) = match self.edit_inode(ino, |editor, inode| editor.back(inode, block..end)) {
            Ok(done) => done,
            Err(errno) => {
                self.settle(ino)?;
                return Err(errno);
            }
        };
        let at = run.physical.get();
        if before != Before::Written {
            let (from, bytes) = (at * PAGE_SIZE, run.len * PAGE_SIZE);
            self.memory.with(|memory| {
                // Fails outside of the device only.
                let _ = memory.zero(Cpu(cpu.into()), from, bytes);
            });
        }
        Ok(Extent { block, len: run.len, backing: Backing::Mapped(at), new: before != Before::Written, shared: false })
    }

    pub(super) fn reserve(&mut self, ino: Ino, block: u64, len: u64) -> Result<(), Errno> {
        // `ext4_fallocate`.
        if !self.inode(ino)?.flags().contains(InodeFlags::EXTENTS) {
            return Err(Errno::EOPNOTSUPP);
        }
        let bytes = block.saturating_mul(PAGE_SIZE)..block.saturating_add(len).saturating_mul(PAGE_SIZE);
        self.edit_inode(ino, |editor, inode| editor.fallocate(inode, bytes.clone(), Fill::Unwritten, true))
    }

    pub(super) fn unmap(&mut self, ino: Ino, block: u64, len: u64) -> Result<(), Errno> {
        if !self.volume.has_map(&self.inode(ino)?) {
            return Ok(());
        }
        self.edit_inode(ino, |editor, inode| editor.punch(inode, block..block.saturating_add(len)))?;
        self.settle(ino)
    }

    pub(super) fn swap(&mut self, cpu: u16, ino: Ino, donor: Ino, blocks: u64) -> Result<(), Errno> {
        let mut at = 0;
        while at < blocks {
            let (mine, theirs) = (self.run_at(ino, at)?, self.run_at(donor, at)?);
            let (Segment::Mapped(mine), Segment::Mapped(theirs)) = (mine, theirs) else {
                let hole = [mine, theirs].into_iter().filter_map(|s| match s {
                    Segment::Hole { len, .. } => Some(len),
                    Segment::Mapped(_) => None,
                });
                at = at.saturating_add(hole.max().unwrap_or(1).max(1));
                continue;
            };
            let len = mine.len.min(theirs.len).min(blocks - at);
            if mine.written {
                let mut page = vec![0; PAGE_SIZE as usize];
                for step in 0..len {
                    let (from, to) = (mine.physical.get() + step, theirs.physical.get() + step);
                    self.load(from * PAGE_SIZE, &mut page).map_err(|_| Errno::EIO)?;
                    self.store_nt(cpu, to * PAGE_SIZE, &page);
                }
                self.fence(cpu);
                let (mine, theirs) = (Mapping { len, ..mine }, Mapping { len, ..theirs });
                self.edit_inode(ino, |editor, inode| {
                    let mut donor = editor.inode(InodeNr(donor))?;
                    editor.exchange_runs((inode, mine), (&mut donor, theirs))
                })?;
                self.dirty.insert(donor);
            }
            at += len;
        }
        Ok(())
    }

    fn run_at(&self, ino: Ino, block: u64) -> Result<Segment, Errno> {
        self.volume.map_block(&self.inode(ino)?, block).map_err(|e| errno_of(&e))
    }

    pub(super) fn leave_inline(&mut self, cpu: u16, ino: Ino) -> Result<(), Errno> {
        let inode = self.inode(ino)?;
        if !inode.has_inline_data() {
            return Err(Errno::ENODATA);
        }
        let content = self.volume.inline_data(&inode).map_err(|e| errno_of(&e))?;
        // The content does not go through the editor: it would lie in the overlay, over what is written to the memory next.
        let run = self.edit_inode(ino, |editor, inode| {
            editor.set_inline(inode, b"")?;
            editor.leave_inline(inode)?;
            if content.is_empty() {
                return Ok(None);
            }
            let (run, _) = editor.back(inode, 0..1)?;
            editor.set_size(inode, content.len() as u64)?;
            Ok(Some(run))
        })?;
        if let Some(run) = run {
            let mut block = content.clone();
            block.resize(PAGE_SIZE as usize, 0);
            self.store_nt(cpu, run.physical.get() * PAGE_SIZE, &block);
            self.fence(cpu);
        }
        Ok(())
    }
}
