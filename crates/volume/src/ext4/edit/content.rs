//! The content of files: written, cut off, punched, allocated ahead.

use std::ops::Range;

use daxkit_format::BlockNr;
use daxkit_format::ext4::extent;
use daxkit_format::ext4::inode_flags::InodeFlags;

use super::super::inode::Inode;
use super::super::map::{Mapping, Segment};
use super::map::LOGICAL_END;
use super::{EditError, Editor, Run};

/// What one page fault maps at best.
const PMD: u64 = 2 << 20;

/// What newly allocated blocks of a file hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// Nothing yet: they read as zero and are marked so (extents only).
    Unwritten,
    /// Zeroes that are written.
    Zeroes,
}

impl Editor<'_> {
    /// Writes bytes into a file, as pwrite(2): holes get blocks, the file grows where it must.
    ///
    /// # Errors
    /// No space; a size that the file cannot have; its map is damaged.
    pub fn write_content(&mut self, inode: &mut Inode, offset: u64, bytes: &[u8]) -> Result<(), EditError> {
        let end = offset.checked_add(bytes.len() as u64);
        let end = end.ok_or(EditError::FileTooLarge { inode: inode.nr(), size: u64::MAX })?;
        if bytes.is_empty() {
            return Ok(());
        }
        if inode.has_inline_data() {
            if self.write_inline(inode, offset, bytes)? {
                return Ok(());
            }
            self.leave_inline(inode)?;
        }
        let shift = self.geometry().block_shift();
        let bs = 1u64 << shift;
        let last = end.div_ceil(bs);
        let mut block = offset >> shift;
        while block < last {
            let segment = self.map_block(inode, block)?;
            let (run, fresh) = match segment {
                Segment::Mapped(m) if m.written => (Mapping { len: m.len.min(last - block), ..m }, false),
                Segment::Mapped(m) => {
                    let run = Mapping { len: m.len.min(last - block), ..m };
                    self.map_remove(inode, run.logical..run.end())?;
                    let run = Mapping { written: true, ..run };
                    self.map_insert(inode, run)?;
                    (run, true)
                }
                Segment::Hole { len, .. } => (self.fill_hole(inode, block, len.min(last - block), true)?, true),
            };
            // The part of the bytes that lies in this run; what else new blocks hold is zero.
            let start = (run.logical << shift).max(offset);
            let stop = (run.end() << shift).min(end);
            let part = bytes.get((start - offset) as usize..(stop - offset) as usize).unwrap_or_default();
            let into = start - (run.logical << shift);
            if fresh && (into > 0 || stop < run.end() << shift) {
                let mut whole = vec![0; usize::try_from(run.len << shift).unwrap_or(0)];
                let at = into as usize;
                whole.iter_mut().skip(at).zip(part).for_each(|(to, from)| *to = *from);
                self.write_data(run.physical, &whole)?;
            } else {
                let place = super::super::error::Place::FileBlock { inode: inode.nr(), logical: run.logical };
                self.write_bytes(place, (run.physical.get() << shift).saturating_add(into), part)?;
            }
            block = run.end();
        }
        self.grow_to(inode, end)?;
        self.store_inode(inode)
    }

    /// Sets the size if it is larger than it was.
    fn grow_to(&mut self, inode: &mut Inode, size: u64) -> Result<(), EditError> {
        if size <= inode.size() {
            return Ok(());
        }
        self.check_size(inode, size)?;
        self.modify(inode, |disk| disk.set_size(size));
        self.note_large_file(inode, size)
    }

    /// A file of more than 2 GiB is a feature of its own.
    fn note_large_file(&mut self, inode: &Inode, size: u64) -> Result<(), EditError> {
        use daxkit_format::ext4::features::RoCompat;
        if !inode.is_file() || size <= i32::MAX as u64 || self.has_ro_compat(RoCompat::LARGE_FILE) {
            return Ok(());
        }
        self.change_super_block(|sb| {
            sb.s_feature_ro_compat.set(sb.ro_compat().union(RoCompat::LARGE_FILE).bits());
        })
    }

    /// The largest size that logical block numbers, or an indirect map, allow.
    fn check_size(&self, inode: &Inode, size: u64) -> Result<(), EditError> {
        let bs = u64::from(self.block_size());
        let blocks = if inode.flags().contains(InodeFlags::EXTENTS) {
            LOGICAL_END - 1
        } else {
            let n = bs / 4;
            (12 + n + n * n + n * n * n).min(LOGICAL_END - 1)
        };
        if size > blocks.saturating_mul(bs) { Err(EditError::FileTooLarge { inode: inode.nr(), size }) } else { Ok(()) }
    }

    /// Gives blocks to the beginning of a hole, at most `len`, and maps them; what they hold is for the caller to write.
    fn fill_hole(&mut self, inode: &mut Inode, logical: u64, len: u64, written: bool) -> Result<Mapping, EditError> {
        let ratio = u64::from(self.geometry().cluster_ratio);
        let run = match self.in_shared_cluster(inode, logical, len)? {
            Some(run) => run,
            None => {
                // The last cluster may be the file's already because of what lies behind the hole.
                let last = (logical + len) / ratio * ratio;
                let shared = last > logical && self.mapped_in(inode, last..last + ratio)?.is_some();
                let len = if ratio > 1 && shared { last - logical } else { len };
                self.take_for(inode, logical, len)?
            }
        };
        let mapping = Mapping { logical, physical: run.first, len: run.len.min(len), written };
        debug_assert!(
            ratio == 1 || (mapping.physical.get() - self.cluster_start(mapping.physical)) % ratio == logical % ratio
        );
        self.map_insert(inode, mapping)?;
        Ok(mapping)
    }

    /// The first block of the cluster that holds a block.
    fn cluster_start(&self, block: BlockNr) -> u64 {
        let g = self.geometry();
        let ratio = u64::from(g.cluster_ratio);
        g.first_data_block + (block.get().saturating_sub(g.first_data_block)) / ratio * ratio
    }

    /// Where a block of a file has to lie because its cluster is the file's already; not counted anew.
    fn in_shared_cluster(&self, inode: &Inode, logical: u64, len: u64) -> Result<Option<Run>, EditError> {
        let ratio = u64::from(self.geometry().cluster_ratio);
        if ratio == 1 {
            return Ok(None);
        }
        let first = logical / ratio * ratio;
        let Some(mapping) = self.mapped_in(inode, first..first + ratio)? else { return Ok(None) };
        let start = mapping.physical.get() - (mapping.logical - first);
        let at = start + (logical - first);
        Ok(Some(Run { first: BlockNr(at), len: len.min(first + ratio - logical) }))
    }

    /// The first mapping in a range of blocks of a file, cut to it.
    fn mapped_in(&self, inode: &Inode, blocks: Range<u64>) -> Result<Option<Mapping>, EditError> {
        let mapping = match self.map_block(inode, blocks.start)? {
            Segment::Mapped(m) => Some(m),
            Segment::Hole { len, .. } if blocks.start + len < blocks.end => {
                match self.map_block(inode, blocks.start + len)? {
                    Segment::Mapped(m) => Some(m),
                    Segment::Hole { .. } => None,
                }
            }
            Segment::Hole { .. } => None,
        };
        Ok(mapping.map(|m| Mapping { len: m.len.min(blocks.end - m.logical), ..m }))
    }

    /// Takes blocks for a hole: whole windows where the hole has some, else near what lies before it.
    fn take_for(&mut self, inode: &mut Inode, logical: u64, len: u64) -> Result<Run, EditError> {
        let ratio = u64::from(self.geometry().cluster_ratio);
        let inside = logical % ratio;
        let window = PMD >> self.geometry().block_shift();
        let goal = match logical.checked_sub(1).map(|before| self.map_block(inode, before)).transpose()? {
            Some(Segment::Mapped(m)) => BlockNr(m.physical.get() + 1),
            _ => self.home(inode),
        };
        let whole = inode.is_file() && window > 1;
        if whole && logical.is_multiple_of(window) && len >= window {
            let phase = self.base() >> self.geometry().block_shift();
            if let Some(run) = self.take_window(goal, window, phase)? {
                self.add_space(inode, run.len.cast_signed())?;
                return Ok(run);
            }
        }
        // A window that begins later in the hole is left for the next step.
        let until = if whole && len > window { (window - logical % window).min(len) } else { len };
        let mut run = self.take_blocks(goal, until + inside)?;
        self.add_space(inode, run.len.next_multiple_of(ratio).cast_signed())?;
        run.first = BlockNr(run.first.get() + inside);
        run.len = run.len.saturating_sub(inside).min(until);
        if !inode.flags().contains(InodeFlags::EXTENTS) && run.first.get() + run.len > u64::from(u32::MAX) {
            return Err(EditError::FileTooLarge { inode: inode.nr(), size: inode.size() });
        }
        Ok(run)
    }

    /// Gives one more block to the end of a directory or file: its size is a block more, the block is zero.
    ///
    /// # Errors
    /// No space; a size that it cannot have; its map is damaged.
    pub fn append_block(&mut self, inode: &mut Inode) -> Result<(u64, BlockNr), EditError> {
        let bs = u64::from(self.block_size());
        let logical = inode.size().div_ceil(bs);
        let mapping = match self.map_block(inode, logical)? {
            Segment::Mapped(m) => {
                // Blocks behind the end, as fallocate leaves them.
                self.map_remove(inode, logical..logical + 1)?;
                let mapping = Mapping { len: 1, written: true, ..m };
                self.map_insert(inode, mapping)?;
                mapping
            }
            Segment::Hole { .. } => self.fill_hole(inode, logical, 1, true)?,
        };
        self.write_block(mapping.physical, &vec![0; bs as usize])?;
        self.grow_to(inode, (logical + 1) * bs)?;
        self.store_inode(inode)?;
        Ok((logical, mapping.physical))
    }

    /// Sets the size. What lies behind a smaller one is given back, the rest of the last block made zero; up to a larger one there is
    /// a hole.
    ///
    /// # Errors
    /// A size that it cannot have; its map is damaged.
    pub fn truncate(&mut self, inode: &mut Inode, size: u64) -> Result<(), EditError> {
        if inode.has_inline_data() {
            if self.truncate_inline(inode, size)? {
                return Ok(());
            }
            self.leave_inline(inode)?;
        }
        self.check_size(inode, size)?;
        let bs = u64::from(self.block_size());
        if self.has_map(inode) {
            self.zero_tail(inode, size)?;
            self.free_range(inode, size.div_ceil(bs)..LOGICAL_END)?;
        }
        self.modify(inode, |disk| disk.set_size(size));
        self.note_large_file(inode, size)?;
        self.store_inode(inode)
    }

    /// Makes what lies behind `size` in its block zero.
    fn zero_tail(&mut self, inode: &Inode, size: u64) -> Result<(), EditError> {
        let shift = self.geometry().block_shift();
        let inside = size & ((1 << shift) - 1);
        if inside == 0 || size >= inode.size() {
            return Ok(());
        }
        if let Segment::Mapped(m) = self.map_block(inode, size >> shift)?
            && m.written
        {
            let place = super::super::error::Place::FileBlock { inode: inode.nr(), logical: m.logical };
            let zeroes = vec![0; ((1 << shift) - inside) as usize];
            self.write_bytes(place, (m.physical.get() << shift) + inside, &zeroes)?;
        }
        Ok(())
    }

    /// Unmaps blocks of a file and gives them back. The size stays.
    ///
    /// # Errors
    /// The map is damaged; a block is free already.
    pub fn punch(&mut self, inode: &mut Inode, blocks: Range<u64>) -> Result<(), EditError> {
        if inode.has_inline_data() {
            self.leave_inline(inode)?;
        }
        self.free_range(inode, blocks)?;
        self.store_inode(inode)
    }

    fn free_range(&mut self, inode: &mut Inode, blocks: Range<u64>) -> Result<(), EditError> {
        let ratio = u64::from(self.geometry().cluster_ratio);
        for run in self.map_remove(inode, blocks)? {
            if ratio == 1 {
                self.give_blocks(Run { first: run.physical, len: run.len })?;
                self.add_space(inode, -run.len.cast_signed())?;
                continue;
            }
            // A cluster goes when no block of it is mapped any more.
            let mut at = run.logical;
            while at < run.end() {
                let first = at / ratio * ratio;
                if self.mapped_in(inode, first..first + ratio)?.is_none() {
                    let physical = run.physical.get() + (at - run.logical);
                    let block = BlockNr(self.cluster_start(BlockNr(physical)));
                    // A second run of the same cluster finds it gone.
                    if self.block_in_use(block)? {
                        self.give_blocks(Run { first: block, len: 1 })?;
                        self.add_space(inode, -ratio.cast_signed())?;
                    }
                }
                at = first + ratio;
            }
        }
        Ok(())
    }

    /// Gives blocks to the holes of a range of bytes; the size grows unless `keep_size`.
    ///
    /// # Errors
    /// No space; a size that the file cannot have; its map is damaged; unwritten blocks without extents.
    pub fn fallocate(
        &mut self,
        inode: &mut Inode,
        bytes: Range<u64>,
        fill: Fill,
        keep_size: bool,
    ) -> Result<(), EditError> {
        if inode.has_inline_data() {
            self.leave_inline(inode)?;
        }
        self.check_size(inode, bytes.end)?;
        let shift = self.geometry().block_shift();
        let end = bytes.end.div_ceil(1 << shift);
        let extents = inode.flags().contains(InodeFlags::EXTENTS);
        // Behind the end of a file there may be blocks, but none that are written.
        let written_until = if keep_size { inode.size().div_ceil(1 << shift) } else { end };
        if end > written_until && !extents {
            use daxkit_format::dax::Errno;
            let why = "without extents no blocks can lie behind the end of a file";
            return Err(EditError::refused(inode.nr(), Errno::EOPNOTSUPP, why));
        }
        let mut block = bytes.start >> shift;
        while block < end {
            let next = match self.map_block(inode, block)? {
                Segment::Mapped(m) => m.end(),
                Segment::Hole { len, .. } => {
                    let unwritten = extents && (fill == Fill::Unwritten || block >= written_until);
                    let until = if unwritten { end } else { written_until };
                    let most = len.min(until - block).min(u64::from(extent::MAX_UNWRITTEN_LEN));
                    let run = self.fill_hole(inode, block, most, !unwritten)?;
                    if !unwritten {
                        self.zero_blocks(run.physical, run.len)?;
                    }
                    run.end()
                }
            };
            block = next;
        }
        if !keep_size {
            self.grow_to(inode, bytes.end)?;
        }
        self.store_inode(inode)
    }

    /// Changes how a file is mapped: by extents, or by indirect blocks. The data stays where it is.
    ///
    /// # Errors
    /// The other kind of map cannot hold it.
    pub fn convert_map(&mut self, inode: &mut Inode, to_extents: bool) -> Result<(), EditError> {
        use daxkit_format::dax::Errno;
        use daxkit_format::ext4::features::Incompat;
        if inode.flags().contains(InodeFlags::EXTENTS) == to_extents {
            return Ok(());
        }
        let nr = inode.nr();
        let refuse = |what| Err(EditError::refused(nr, Errno::EOPNOTSUPP, what));
        if to_extents && !self.has_incompat(Incompat::EXTENTS) {
            return refuse("the file system has no feature extent");
        }
        if !to_extents && self.geometry().cluster_ratio > 1 {
            return refuse("with bigalloc every file is mapped by extents");
        }
        let flip = |disk: &mut daxkit_format::ext4::inode::Inode| {
            let mut flags = disk.flags();
            flags.set(InodeFlags::EXTENTS, to_extents);
            disk.set_flags(flags);
        };
        if inode.has_inline_data() || !self.has_map(inode) {
            // Fast symbolic links and inline data have no map; the flag says nothing of them.
            self.modify(inode, flip);
            return self.store_inode(inode);
        }
        let runs = self.map_remove(inode, 0..LOGICAL_END)?;
        if !to_extents && runs.iter().any(|r| !r.written) {
            return refuse("blocks that read as zero need extents");
        }
        self.modify(inode, flip);
        self.new_map(inode);
        for run in runs {
            self.map_insert(inode, run)?;
        }
        self.store_inode(inode)
    }
}
