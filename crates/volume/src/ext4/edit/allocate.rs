//! Blocks for files before anything is written to them.

use std::ops::Range;

use daxkit_format::dax::Errno;
use daxkit_format::ext4::inode_flags::InodeFlags;

use super::super::inode::Inode;
use super::super::map::{Mapping, Segment};
use super::{EditError, Editor};

/// What newly allocated blocks of a file hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// Nothing yet: they read as zero and are marked so (extents only).
    Unwritten,
    /// Zeroes that are written; blocks that were unwritten get them, too.
    Zeroes,
}

impl Editor<'_> {
    /// Gives blocks to the holes of a range of bytes, as fallocate(2); the size grows unless `keep_size`. Where the range covers whole windows
    /// of 2 MiB of the file, they get such of the device, as long as there are free ones, so that one fault can map each.
    ///
    /// Without extents no block can be unwritten, so holes get zeroes whatever `fill` says, and none can lie behind the end. With them
    /// blocks behind the end are always unwritten.
    ///
    /// # Errors
    /// No space; a size that the file cannot have; its map is damaged; blocks behind the end without extents.
    pub fn fallocate(
        &mut self,
        inode: &mut Inode,
        bytes: Range<u64>,
        fill: Fill,
        keep_size: bool,
    ) -> Result<(), EditError> {
        if bytes.is_empty() {
            return Ok(());
        }
        if inode.has_inline_data() {
            self.leave_inline(inode)?;
        }
        self.check_content(inode)?;
        self.check_size(inode, bytes.end)?;
        let g = *self.geometry();
        let size = if keep_size { inode.size() } else { inode.size().max(bytes.end) };
        let (start, end) = (bytes.start >> g.block_shift(), g.blocks_for(bytes.end));
        let inside = g.blocks_for(size).clamp(start, end);
        if inode.flags().contains(InodeFlags::EXTENTS) {
            self.allocate(inode, start..inside, fill)?;
            self.allocate(inode, inside..end, Fill::Unwritten)?;
        } else if inside < end {
            let what = "without extents no blocks can lie behind the end of a file";
            return Err(EditError::refused(inode.nr(), Errno::EOPNOTSUPP, what));
        } else {
            self.allocate(inode, start..end, Fill::Zeroes)?;
        }
        if size > inode.size() {
            self.zero_tail(inode, inode.size())?;
            self.put_size(inode, size)?;
        }
        self.store_inode(inode)
    }

    /// Gives blocks to the holes of a range of blocks. In memory.
    fn allocate(&mut self, inode: &mut Inode, blocks: Range<u64>, fill: Fill) -> Result<(), EditError> {
        let written = fill == Fill::Zeroes;
        let mut at = blocks.start;
        while at < blocks.end {
            let around = self.around(inode, at)?;
            let run = match around.here {
                Segment::Mapped(run) => {
                    let run = run.until(blocks.end).unwrap_or(run);
                    if written && !run.written {
                        self.zero_blocks(run.physical, run.len)?;
                        self.map_set_written(inode, run.logical..run.end(), true)?;
                    }
                    run
                }
                Segment::Hole { len, .. } => {
                    let run = self.place_hole(inode, &around, at, len.min(blocks.end - at))?;
                    if written {
                        self.zero_blocks(run.physical, run.len)?;
                    }
                    self.map_insert(inode, Mapping { written, ..run })?;
                    run
                }
            };
            at = run.end();
        }
        Ok(())
    }
}
