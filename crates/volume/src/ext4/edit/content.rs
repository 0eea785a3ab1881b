//! Content of files: written at any place, cut off, punched out.
//!
//! Times are the caller's business. When a function fails, the inode in memory may be ahead of what the volume goes back to: read it
//! anew.

use std::ops::Range;

use daxkit_format::BlockNr;
use daxkit_format::ext4::features::{Incompat, RoCompat};

use super::super::error::{Place, VolumeError};
use super::super::inode::Inode;
use super::super::map::{Mapping, Segment};
use super::map::Gone;
use super::{EditError, Editor};

impl Editor<'_> {
    /// Writes bytes from byte `offset` of a file on, as pwrite(2): holes get blocks, the file grows where it must.
    ///
    /// # Errors
    /// The inode can have no content of this kind, or not as much; no space; its map is damaged.
    pub fn write_content(&mut self, inode: &mut Inode, offset: u64, bytes: &[u8]) -> Result<(), EditError> {
        let too_large = || EditError::FileTooLarge { inode: inode.nr(), size: u64::MAX };
        let end = offset.checked_add(bytes.len() as u64).ok_or_else(too_large)?;
        if bytes.is_empty() {
            return Ok(());
        }
        if inode.has_inline_data() {
            if self.write_inline(inode, offset, bytes)? {
                return Ok(());
            }
            self.leave_inline(inode)?;
        }
        self.check_content(inode)?;
        self.check_size(inode, end)?;
        if offset > inode.size() {
            self.zero_tail(inode, inode.size())?;
        }
        let shift = self.geometry().block_shift();
        let (mut at, stop) = (offset >> shift, self.geometry().blocks_for(end));
        while at < stop {
            let around = self.around(inode, at)?;
            let run = match around.here {
                Segment::Mapped(run) => {
                    let run = run.until(stop).unwrap_or(run);
                    self.write_run(&run, !run.written, offset, bytes)?;
                    if !run.written {
                        self.map_set_written(inode, run.logical..run.end(), true)?;
                    }
                    run
                }
                Segment::Hole { len, .. } => {
                    let run = self.place_hole(inode, &around, at, len.min(stop - at))?;
                    self.write_run(&run, true, offset, bytes)?;
                    self.map_insert(inode, run)?;
                    run
                }
            };
            at = run.end();
        }
        if end > inode.size() {
            self.put_size(inode, end)?;
        }
        self.store_inode(inode)
    }

    /// Writes what of `bytes`, which begin at byte `offset` of the file, lies in a run. In a fresh one the rest of its blocks
    /// becomes zero; `bytes` then reach into all of them.
    fn write_run(&mut self, run: &Mapping, fresh: bool, offset: u64, bytes: &[u8]) -> Result<(), EditError> {
        let shift = self.geometry().block_shift();
        let (start, stop) = (run.logical << shift, run.end() << shift);
        let end = offset.saturating_add(bytes.len() as u64);
        let (from, to) = (start.max(offset), stop.min(end));
        let on_disk = |byte: u64| (run.physical.get() << shift).saturating_add(byte - start);
        let place = Place::Block(run.physical);
        if fresh {
            self.zero_bytes(place, on_disk(start)..on_disk(from))?;
            self.zero_bytes(place, on_disk(to)..on_disk(stop))?;
        }
        let part = usize::try_from(from - offset).ok().zip(usize::try_from(to - offset).ok());
        let part = part.and_then(|(from, to)| bytes.get(from..to)).unwrap_or_default();
        self.write_bytes(place, on_disk(from), part)
    }

    /// Makes bytes of the file system zero, less than a block at either end of a run.
    fn zero_bytes(&mut self, place: Place, range: Range<u64>) -> Result<(), EditError> {
        let len = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
        if len == 0 { Ok(()) } else { self.write_bytes(place, range.start, &vec![0; len]) }
    }

    /// Makes what lies behind byte `size` in its block zero, where the block is written.
    pub(super) fn zero_tail(&mut self, inode: &Inode, size: u64) -> Result<(), EditError> {
        let shift = self.geometry().block_shift();
        let inside = size & u64::from(self.block_size() - 1);
        if inside == 0 || !self.has_map(inode) {
            return Ok(());
        }
        if let Segment::Mapped(run) = self.map_block(inode, size >> shift)?
            && run.written
        {
            let start = run.physical.get() << shift;
            self.zero_bytes(Place::Block(run.physical), start + inside..start + u64::from(self.block_size()))?;
        }
        Ok(())
    }

    /// Sets the size, as ftruncate(2). What lies behind a smaller one is given back, the rest of the last block made zero; up to a
    /// larger one there is a hole.
    ///
    /// # Errors
    /// As [`Editor::write_content`].
    pub fn truncate(&mut self, inode: &mut Inode, size: u64) -> Result<(), EditError> {
        if inode.has_inline_data() {
            if self.truncate_inline(inode, size)? {
                return Ok(());
            }
            self.leave_inline(inode)?;
        }
        if size == 0 && !self.can_have_map(inode) {
            // The targets of fast symbolic links and the numbers of devices take no blocks.
            return Ok(());
        }
        self.check_content(inode)?;
        self.check_size(inode, size)?;
        if size <= inode.size() {
            self.map_remove(inode, self.geometry().blocks_for(size)..u64::MAX, Gone::Given)?;
        }
        self.zero_tail(inode, size.min(inode.size()))?;
        self.put_size(inode, size)?;
        self.store_inode(inode)
    }

    /// Unmaps blocks of a file and gives them back; they read as zero then. The size stays.
    ///
    /// # Errors
    /// As [`Editor::write_content`].
    pub fn punch(&mut self, inode: &mut Inode, blocks: Range<u64>) -> Result<(), EditError> {
        if inode.has_inline_data() {
            self.leave_inline(inode)?;
        }
        self.check_content(inode)?;
        self.map_remove(inode, blocks, Gone::Given)?;
        self.store_inode(inode)
    }

    /// Gives an inode one block more behind its end, all zero, and counts it into its size. The block's number in the file, and
    /// where it lies.
    ///
    /// # Errors
    /// As [`Editor::write_content`].
    pub fn append_block(&mut self, inode: &mut Inode) -> Result<(u64, BlockNr), EditError> {
        let logical = self.geometry().blocks_for(inode.size());
        let size = logical.saturating_add(1).saturating_mul(self.block_size().into());
        self.check_content(inode)?;
        self.check_size(inode, size)?;
        self.zero_tail(inode, inode.size())?;
        let around = self.around(inode, logical)?;
        let block = match around.here {
            Segment::Mapped(run) => {
                self.map_set_written(inode, logical..logical + 1, true)?;
                run.physical
            }
            Segment::Hole { .. } => {
                let run = self.place_hole(inode, &around, logical, 1)?;
                self.map_insert(inode, run)?;
                run.physical
            }
        };
        // Whole, for it is written next, and for a directory read as well.
        self.write_block(block, &vec![0; self.block_size() as usize])?;
        self.put_size(inode, size)?;
        self.store_inode(inode)?;
        Ok((logical, block))
    }

    /// Whether the inode's `i_block` is a map, or can become one: that of a symbolic link which has no target yet.
    fn can_have_map(&self, inode: &Inode) -> bool {
        self.has_map(inode) || inode.is_symlink() && !inode.has_inline_data() && inode.size() == 0
    }

    /// Whether the inode has content that blocks can hold.
    pub(super) fn check_content(&self, inode: &Inode) -> Result<(), EditError> {
        if self.can_have_map(inode) { Ok(()) } else { Err(VolumeError::NoContent { inode: inode.nr() }.into()) }
    }

    /// Whether the inode can be as large.
    pub(super) fn check_size(&self, inode: &Inode, size: u64) -> Result<(), EditError> {
        let wide = inode.is_file() || self.has_incompat(Incompat::LARGEDIR);
        let most = if wide { i64::MAX as u64 } else { u32::MAX.into() };
        if size > most || self.geometry().blocks_for(size) > self.map_limit(inode) {
            return Err(EditError::FileTooLarge { inode: inode.nr(), size });
        }
        Ok(())
    }

    /// Sets the size of an inode, in memory; and the feature without which it may not be that large, as the kernel does.
    pub(super) fn put_size(&mut self, inode: &mut Inode, size: u64) -> Result<(), EditError> {
        let wide = inode.is_file() || self.has_incompat(Incompat::LARGEDIR);
        self.modify(inode, |i| if wide { i.set_size(size) } else { i.i_size_lo.set(size as u32) });
        if size > i32::MAX as u64 && inode.is_file() && !self.has_ro_compat(RoCompat::LARGE_FILE) {
            self.change_super_block(|sb| {
                let features = sb.ro_compat().union(RoCompat::LARGE_FILE);
                sb.s_feature_ro_compat.set(features.bits());
            })?;
        }
        Ok(())
    }
}
