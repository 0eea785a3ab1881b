//! Indirect maps: block numbers in the inode, and one, two and three levels of blocks full of them.

use std::ops::Range;

use daxkit_format::BlockNr;
use daxkit_format::ext4::indirect;
use daxkit_format::ext4::inode::{N_BLOCKS, NDIR_BLOCKS};

use super::super::super::error::{Corruption, Place, VolumeError};
use super::super::super::inode::Inode;
use super::super::super::map::Mapping;
use super::super::{EditError, Editor};

impl Editor<'_> {
    fn per_block(&self) -> u32 {
        self.block_size() / 4
    }

    fn read_numbers(&self, inode: &Inode, block: u32) -> Result<Vec<u8>, EditError> {
        let (g, nr) = (self.geometry(), BlockNr(block.into()));
        let place = Place::InodeBlock { inode: inode.nr(), block: nr, offset: 0 };
        if !g.has_blocks(nr.get(), 1) {
            let why = Corruption::BlockRange { first: nr.get(), last: nr.get(), limit: g.blocks_count };
            return Err(VolumeError::corrupt(place, why).into());
        }
        Ok(self.block(place, nr)?.to_vec())
    }

    /// Maps a run where there is a hole.
    pub(super) fn indirect_insert(&mut self, inode: &mut Inode, run: Mapping) -> Result<(), EditError> {
        let n = self.per_block();
        let too_large = |editor: &Self, inode: &Inode| {
            let size = run.end().saturating_mul(editor.block_size().into());
            EditError::FileTooLarge { inode: inode.nr(), size }
        };
        if !run.written || run.physical.get().saturating_add(run.len) > u64::from(u32::MAX) + 1 {
            return Err(too_large(self, inode));
        }
        let mut at = run.logical;
        while at < run.end() {
            let path = indirect::path(at, n).ok_or_else(|| too_large(self, inode))?;
            let physical = run.physical.get() + (at - run.logical);
            if path.depth == 0 {
                set_word(self, inode, path.root.into(), physical as u32);
                at += 1;
                continue;
            }
            // Down to the block that names data; what is missing on the way is made.
            let mut block = word(inode, path.root.into());
            if block == 0 {
                block = self.new_numbers(inode, BlockNr(physical))?;
                set_word(self, inode, path.root.into(), block);
            }
            for index in path.entries.iter().take(usize::from(path.depth) - 1) {
                let mut numbers = self.read_numbers(inode, block)?;
                let mut next = number(&numbers, *index);
                if next == 0 {
                    next = self.new_numbers(inode, BlockNr(physical))?;
                    set_number(&mut numbers, *index, next);
                    self.write_block(BlockNr(block.into()), &numbers)?;
                }
                block = next;
            }
            let mut numbers = self.read_numbers(inode, block)?;
            let first = path.entries.get(usize::from(path.depth) - 1).copied().unwrap_or(0);
            let count = (run.end() - at).min(u64::from(n - first));
            for (index, value) in (first..).zip(physical..physical + count) {
                set_number(&mut numbers, index, value as u32);
            }
            self.write_block(BlockNr(block.into()), &numbers)?;
            at += count;
        }
        Ok(())
    }

    /// Takes a block for numbers; it holds none.
    fn new_numbers(&mut self, inode: &mut Inode, near: BlockNr) -> Result<u32, EditError> {
        let block = self.take_map_block(inode, near)?;
        let number = u32::try_from(block.get())
            .map_err(|_| EditError::FileTooLarge { inode: inode.nr(), size: inode.size() })?;
        self.write_block(block, &vec![0; self.block_size() as usize])?;
        Ok(number)
    }

    /// Unmaps blocks, and says where they were.
    pub(super) fn indirect_remove(&mut self, inode: &mut Inode, blocks: Range<u64>) -> Result<Vec<Mapping>, EditError> {
        let n = u64::from(self.per_block());
        let mut removed = Vec::new();
        let mut logical = 0u64;
        for index in 0..N_BLOCKS {
            let level = index.saturating_sub(NDIR_BLOCKS - 1) as u8;
            let span = indirect::span(level, self.per_block());
            let here = logical..logical.saturating_add(span);
            logical = here.end;
            let number = word(inode, index);
            if number == 0 || here.start >= blocks.end || here.end <= blocks.start {
                continue;
            }
            if level == 0 {
                push(&mut removed, here.start, number);
                set_word(self, inode, index, 0);
            } else if self.remove_below(inode, number, level, here.start, &blocks, n, &mut removed)? {
                set_word(self, inode, index, 0);
            }
        }
        Ok(removed)
    }

    /// Unmaps what a block of numbers, and those below it, map in a range; true when it is empty then, and was given back.
    #[expect(clippy::too_many_arguments, reason = "a recursion carries where it is")]
    fn remove_below(
        &mut self,
        inode: &mut Inode,
        block: u32,
        level: u8,
        start: u64,
        blocks: &Range<u64>,
        n: u64,
        removed: &mut Vec<Mapping>,
    ) -> Result<bool, EditError> {
        let mut numbers = self.read_numbers(inode, block)?;
        let span = indirect::span(level - 1, self.per_block());
        let first = blocks.start.saturating_sub(start) / span;
        let last = blocks.end.saturating_sub(start).div_ceil(span).min(n);
        let mut changed = false;
        for index in first..last {
            let (index, logical) = (index as u32, start.saturating_add(index * span));
            let below = number(&numbers, index);
            if below == 0 {
                continue;
            }
            let gone = if level == 1 {
                push(removed, logical, below);
                true
            } else {
                self.remove_below(inode, below, level - 1, logical, blocks, n, removed)?
            };
            if gone {
                set_number(&mut numbers, index, 0);
                changed = true;
            }
        }
        if numbers.iter().all(|b| *b == 0) {
            self.give_map_block(inode, BlockNr(block.into()))?;
            return Ok(true);
        }
        if changed {
            self.write_block(BlockNr(block.into()), &numbers)?;
        }
        Ok(false)
    }
}

/// Adds a block to runs.
fn push(runs: &mut Vec<Mapping>, logical: u64, number: u32) {
    let physical = u64::from(number);
    match runs.last_mut() {
        Some(last) if last.end() == logical && last.physical.get() + last.len == physical => last.len += 1,
        _ => runs.push(Mapping { logical, physical: BlockNr(physical), len: 1, written: true }),
    }
}

fn number(numbers: &[u8], index: u32) -> u32 {
    let at = index as usize * 4;
    numbers.get(at..).and_then(<[u8]>::first_chunk::<4>).map_or(0, |b| u32::from_le_bytes(*b))
}

fn set_number(numbers: &mut [u8], index: u32, value: u32) {
    let at = index as usize * 4;
    if let Some(bytes) = numbers.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<4>) {
        *bytes = value.to_le_bytes();
    }
}

fn word(inode: &Inode, index: usize) -> u32 {
    number(&inode.i_block, index as u32)
}

fn set_word(editor: &Editor<'_>, inode: &mut Inode, index: usize, value: u32) {
    editor.modify(inode, |disk| set_number(&mut disk.i_block, index as u32, value));
}
