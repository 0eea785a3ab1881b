//! What a file system that is mounted does to a volume, beside what tools do: data goes past the editor, straight to the device, so the
//! map and the size change without it.

use std::ops::Range;
use std::sync::Arc;

use daxkit_device::{BlockDevice, DeviceError};
use daxkit_format::InodeNr;
use daxkit_format::dax::Errno;
use daxkit_format::ext4::inode_flags::InodeFlags;

use super::super::error::VolumeError;
use super::super::inode::Inode;
use super::super::journal::ReplayOverlay;
use super::super::map::{Mapping, Segment};
use super::super::open::Volume;
use super::map::Gone;
use super::{EditError, Editor};

/// How blocks of a file were backed before [`Editor::back`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// By nothing: they were allocated now.
    Hole,
    /// By blocks that read as zero.
    Unwritten,
    /// As they are now.
    Written,
}

impl Volume {
    /// The same volume, edits included, over another device that holds what its own does. `None` when it was not opened for writing.
    ///
    /// # Errors
    /// Edits that wait in the host's file could not be read, or a device failed.
    pub fn fork(&self, device: Arc<dyn BlockDevice>) -> Result<Option<Self>, DeviceError> {
        let Some(edits) = self.edits() else { return Ok(None) };
        let overlay = ReplayOverlay::new(device);
        edits.apply_to(&overlay)?;
        Ok(Some(self.over(Arc::new(overlay))))
    }

    /// The same volume over a device, without edits.
    #[must_use]
    pub fn over_empty(&self, device: Arc<dyn BlockDevice>) -> Self {
        self.over(Arc::new(ReplayOverlay::new(device)))
    }

    /// Blocks of the journal inside the image; 0 without one.
    #[must_use]
    pub fn journal_blocks(&self) -> u64 {
        let nr = self.super_block().s_journal_inum.get();
        let journal = if nr == 0 { None } else { self.inode(InodeNr(nr.into())).ok() };
        journal.map_or(0, |journal| journal.size() >> self.geometry().block_shift())
    }

    /// Whether a file has blocks behind block `end` that hold data, and so must be counted by its size.
    ///
    /// # Errors
    /// Its map is damaged.
    pub fn has_data_behind(&self, inode: &Inode, end: u64) -> Result<bool, VolumeError> {
        if !self.has_map(inode) {
            return Ok(false);
        }
        for run in self.extents_from(inode, end) {
            let run = run?;
            if run.written && run.end() > end {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Editor<'_> {
    /// Backs the first of `blocks` of a file, and what lies behind it as far as it was backed the same way, by written blocks. Nothing is
    /// written to them: what is not [`Before::Written`] must be zeroed, or written whole, before the next commit. The inode
    /// is stored.
    ///
    /// # Errors
    /// No space; a file that cannot have such blocks; its map is damaged.
    pub fn back(&mut self, inode: &mut Inode, blocks: Range<u64>) -> Result<(Mapping, Before), EditError> {
        self.check_content(inode)?;
        self.check_size(inode, blocks.end.saturating_mul(self.block_size().into()))?;
        let len = blocks.end.saturating_sub(blocks.start).max(1);
        let around = self.around(inode, blocks.start)?;
        match around.here {
            Segment::Mapped(run) => {
                let run = run.until(blocks.end).unwrap_or(run);
                if run.written {
                    return Ok((run, Before::Written));
                }
                self.map_set_written(inode, run.logical..run.end(), true)?;
                self.store_inode(inode)?;
                Ok((Mapping { written: true, ..run }, Before::Unwritten))
            }
            Segment::Hole { len: hole, .. } => {
                let run = self.place_hole(inode, &around, blocks.start, hole.min(len))?;
                self.map_insert(inode, run)?;
                self.store_inode(inode)?;
                Ok((run, Before::Hole))
            }
        }
    }

    /// Sets the size of a file that is mapped, and nothing else: neither are blocks behind it given back nor bytes made zero.
    ///
    /// # Errors
    /// The file cannot be as large, or cannot be stored.
    pub fn set_size(&mut self, inode: &mut Inode, size: u64) -> Result<(), EditError> {
        self.check_size(inode, size)?;
        self.put_size(inode, size)?;
        self.store_inode(inode)
    }

    /// Takes `len` blocks out of a file at block `at` and moves what follows down, or moves it up and leaves a hole
    /// (`ext4_collapse_range`, `ext4_insert_range`). The size is the caller's business.
    ///
    /// # Errors
    /// The file has no extents; the range is not made of whole clusters; the file would be too large; its map is damaged.
    pub fn shift_map(&mut self, inode: &mut Inode, at: u64, len: u64, insert: bool) -> Result<(), EditError> {
        self.check_content(inode)?;
        if !inode.flags().contains(InodeFlags::EXTENTS) {
            return Err(EditError::refused(inode.nr(), Errno::EOPNOTSUPP, "without extents no blocks can be moved"));
        }
        let ratio = u64::from(self.geometry().cluster_ratio);
        if !at.is_multiple_of(ratio) || !len.is_multiple_of(ratio) {
            return Err(EditError::refused(inode.nr(), Errno::EINVAL, "the range is not made of whole clusters"));
        }
        let from = if insert { at } else { at.saturating_add(len) };
        let moved = |run: Mapping| {
            let run = run.from(from)?;
            let to = if insert { run.logical.checked_add(len)? } else { run.logical.checked_sub(len)? };
            Some(Mapping { logical: to, ..run })
        };
        let mut runs = Vec::new();
        for run in self.extents_from(inode, from) {
            runs.extend(moved(run?));
        }
        let limit = self.map_limit(inode);
        if runs.last().is_some_and(|run| run.end() > limit) {
            return Err(EditError::FileTooLarge { inode: inode.nr(), size: u64::MAX });
        }
        if !insert {
            self.map_remove(inode, at..from, Gone::Given)?;
        }
        self.map_remove(inode, from..u64::MAX, Gone::Kept)?;
        for run in runs {
            self.map_insert(inode, run)?;
        }
        self.store_inode(inode)
    }

    /// Gives a run of blocks that `inode` has to `donor`, and what that has at the same place of the file to `inode`: written both
    /// (`swap_inode_data` of `EXT4_IOC_MOVE_EXT`). Both are stored. The runs lie at the same blocks of the files and are as long.
    ///
    /// # Errors
    /// A map is damaged; no space for blocks of a map.
    pub fn exchange_runs(
        &mut self,
        (inode, mine): (&mut Inode, Mapping),
        (donor, theirs): (&mut Inode, Mapping),
    ) -> Result<(), EditError> {
        for (inode, old, new) in [(inode, mine, theirs), (donor, theirs, mine)] {
            self.map_remove(inode, old.logical..old.end(), Gone::Kept)?;
            self.map_insert(inode, Mapping { written: true, ..new })?;
            self.store_inode(inode)?;
        }
        Ok(())
    }

    /// What a mount does with orphans: those without links go, those that were being truncated lose what lies behind their end
    /// (`ext4_orphan_cleanup`). How many there were.
    ///
    /// # Errors
    /// The list or one of them is damaged.
    pub fn clean_orphans(&mut self) -> Result<usize, EditError> {
        let orphans = self.orphans()?;
        for nr in &orphans {
            let mut inode = self.inode(*nr)?;
            if inode.i_links_count.get() == 0 {
                self.orphan_del_if_there(&inode)?;
                self.drop_inode(self.inode(*nr)?)?;
            } else {
                let size = inode.size();
                self.truncate(&mut inode, size)?;
                self.orphan_del(&mut inode)?;
            }
        }
        Ok(orphans.len())
    }
}
