//! Maps of ext2 and ext3: numbers in the inode, and one, two and three levels of blocks full of numbers.
//!
//! An indirect block is made when the first number in it is, and given back with the last.

use std::ops::Range;

use daxkit_format::dax::Errno;
use daxkit_format::ext4::indirect::{self, MapPath};
use daxkit_format::ext4::inode::N_BLOCKS;
use daxkit_format::{BlockNr, InodeNr};

use super::super::super::error::Place;
use super::super::super::inode::Inode;
use super::super::super::map::Mapping;
use super::super::{EditError, Editor};
use super::Gone;

/// The inode with the list of bad blocks.
const BAD_BLOCKS: InodeNr = InodeNr(1);

impl Editor<'_> {
    fn per_block(&self) -> u32 {
        self.block_size() / 4
    }

    /// Puts a run into an indirect map. None of its blocks may be mapped.
    pub(super) fn indirect_insert(&mut self, inode: &mut Inode, run: Mapping) -> Result<(), EditError> {
        // The list of bad blocks is one of single blocks whatever the clusters are, as e2fsck makes it.
        if self.geometry().cluster_ratio > 1 && inode.nr() != BAD_BLOCKS {
            return Err(EditError::refused(inode.nr(), Errno::EOPNOTSUPP, "clusters need a map by extents"));
        }
        let mut rest = Some(run);
        while let Some(run) = rest {
            let too_large =
                EditError::FileTooLarge { inode: inode.nr(), size: run.end() << self.geometry().block_shift() };
            let path = indirect::path(run.logical, self.per_block()).ok_or(too_large)?;
            let done = self.insert_at(inode, &path, run)?;
            rest = run.from(run.logical.saturating_add(done));
        }
        Ok(())
    }

    /// Puts the beginning of a run to the place that `path` leads to; how many blocks found place.
    fn insert_at(&mut self, inode: &mut Inode, path: &MapPath, run: Mapping) -> Result<u64, EditError> {
        let mut words = words_of(inode);
        let root = usize::from(path.root);
        let Some((index, above)) = path.entries.get(..usize::from(path.depth)).and_then(|e| e.split_last()) else {
            let direct = words.get_mut(..indirect_word()).unwrap_or_default();
            let done = put(direct.get_mut(root..).unwrap_or_default(), run)?;
            self.set_words(inode, &words);
            return Ok(done);
        };
        let mut block = self.make_indirect(inode, words.get(root).copied().unwrap_or(0), run.physical)?;
        if let Some(word) = words.get_mut(root).filter(|word| **word != block) {
            *word = block;
            self.set_words(inode, &words);
        }
        for index in above {
            let mut numbers = self.numbers(inode, block)?;
            let child = self.make_indirect(inode, numbers.get(*index as usize).copied().unwrap_or(0), run.physical)?;
            if let Some(number) = numbers.get_mut(*index as usize).filter(|number| **number != child) {
                *number = child;
                self.put_numbers(block, &numbers)?;
            }
            block = child;
        }
        let mut numbers = self.numbers(inode, block)?;
        let done = put(numbers.get_mut(*index as usize..).unwrap_or_default(), run)?;
        self.put_numbers(block, &numbers)?;
        Ok(done)
    }

    /// The indirect block of this number, or a new one where there is none.
    fn make_indirect(&mut self, inode: &mut Inode, number: u32, near: BlockNr) -> Result<u32, EditError> {
        if number != 0 {
            return Ok(number);
        }
        let block = self.take_map_block(inode, near)?;
        let number = number_of(block)?;
        self.zero_blocks(block, 1)?;
        Ok(number)
    }

    /// The numbers of an indirect block.
    fn numbers(&self, inode: &Inode, number: u32) -> Result<Vec<u32>, EditError> {
        let block = BlockNr(number.into());
        self.check_blocks(Place::Inode(inode.nr()), block.get(), 1)?;
        let bytes = self.block(Place::InodeBlock { inode: inode.nr(), block, offset: 0 }, block)?;
        Ok(bytes.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)).collect())
    }

    fn put_numbers(&mut self, block: u32, numbers: &[u32]) -> Result<(), EditError> {
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        self.write_block(BlockNr(block.into()), &bytes)
    }

    fn set_words(&self, inode: &mut Inode, words: &[u32; N_BLOCKS]) {
        self.modify(inode, |i| {
            for (place, word) in i.i_block.as_chunks_mut().0.iter_mut().zip(words) {
                *place = word.to_le_bytes();
            }
        });
    }

    /// Unmaps blocks of a file with an indirect map.
    pub(super) fn indirect_remove(
        &mut self,
        inode: &mut Inode,
        blocks: Range<u64>,
        gone: Gone,
    ) -> Result<(), EditError> {
        let mut words = words_of(inode);
        let mut direct = Vec::new();
        for (index, word) in words.iter_mut().enumerate() {
            let (begin, level) = indirect::root_word(index, self.per_block());
            let span = indirect::span(level, self.per_block());
            if *word == 0 || blocks.end <= begin || begin.saturating_add(span) <= blocks.start {
                continue;
            }
            if level == 0 {
                direct.push(*word);
                *word = 0;
            } else if self.clear_indirect(inode, *word, level, begin, &blocks, gone)? {
                *word = 0;
            }
        }
        self.set_words(inode, &words);
        self.give_data(inode, &direct, gone)
    }

    /// Unmaps blocks below an indirect block, which maps the file from block `begin` on; whether nothing is left, and it was given
    /// back.
    fn clear_indirect(
        &mut self,
        inode: &mut Inode,
        number: u32,
        level: u8,
        begin: u64,
        blocks: &Range<u64>,
        gone: Gone,
    ) -> Result<bool, EditError> {
        let mut numbers = self.numbers(inode, number)?;
        let span = indirect::span(level - 1, self.per_block());
        let index = |block: u64| usize::try_from(block.saturating_sub(begin).div_ceil(span)).unwrap_or(usize::MAX);
        let first = index(blocks.start.saturating_add(1)).saturating_sub(1);
        let mut data = Vec::new();
        let mut changed = false;
        for (i, child) in numbers.iter_mut().enumerate().take(index(blocks.end)).skip(first) {
            if *child == 0 {
                continue;
            }
            if level == 1 {
                data.push(*child);
            } else if !self.clear_indirect(
                inode,
                *child,
                level - 1,
                begin.saturating_add(i as u64 * span),
                blocks,
                gone,
            )? {
                continue;
            }
            *child = 0;
            changed = true;
        }
        self.give_data(inode, &data, gone)?;
        if numbers.iter().all(|n| *n == 0) {
            self.give_map_block(inode, BlockNr(number.into()))?;
            return Ok(true);
        }
        if changed {
            self.put_numbers(number, &numbers)?;
        }
        Ok(false)
    }

    fn give_data(&mut self, inode: &mut Inode, numbers: &[u32], gone: Gone) -> Result<(), EditError> {
        if gone == Gone::Kept {
            return Ok(());
        }
        let mut runs = Vec::with_capacity(numbers.len());
        for number in numbers {
            let physical = BlockNr((*number).into());
            self.check_blocks(Place::Inode(inode.nr()), physical.get(), 1)?;
            runs.push(Mapping { logical: 0, physical, len: 1, written: true });
        }
        let given = self.give_runs(&runs)?;
        self.add_clusters(inode, -i64::try_from(given).unwrap_or(i64::MAX))
    }
}

/// The first word of `i_block` that names an indirect block.
const fn indirect_word() -> usize {
    daxkit_format::ext4::inode::NDIR_BLOCKS
}

fn words_of(inode: &Inode) -> [u32; N_BLOCKS] {
    let mut words = [0; N_BLOCKS];
    for (word, bytes) in words.iter_mut().zip(inode.i_block.as_chunks().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    words
}

/// A block as an indirect map can name it.
fn number_of(block: BlockNr) -> Result<u32, EditError> {
    // The space that lies below is all that counts for such a file.
    u32::try_from(block.get()).map_err(|_| EditError::NoSpace { wanted: 1, free: 0 })
}

/// Writes the numbers of a run into places, as many as there are; how many that was.
fn put(places: &mut [u32], run: Mapping) -> Result<u64, EditError> {
    let mut done = 0;
    for place in places.iter_mut().take(usize::try_from(run.len).unwrap_or(usize::MAX)) {
        *place = number_of(BlockNr(run.physical.get().saturating_add(done)))?;
        done += 1;
    }
    Ok(done)
}
