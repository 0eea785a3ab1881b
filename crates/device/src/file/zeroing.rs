//! Making ranges of a file read as zero: by a hole, by the kernel, by writing.

use std::ops::Range;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::FileDevice;
use crate::block::write_zero_bytes;
use crate::error::DeviceError;

/// Below this it is cheaper to write zeroes than to have the host's file system cut a hole.
const PUNCH_AT_LEAST: u64 = 4096;

impl FileDevice {
    /// Cuts a hole. `false` when the host cannot.
    pub(super) fn punch(&self, range: Range<u64>) -> Result<bool, DeviceError> {
        // On a block device this is `blkdev_issue_zeroout` without fallback (`blkdev_fallocate`): it reads as zero or fails.
        self.fallocate(FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, range)
    }

    pub(super) fn fallocate(&self, mode: FallocateFlags, range: Range<u64>) -> Result<bool, DeviceError> {
        let len = range.end - range.start;
        if len == 0 {
            return Ok(true);
        }
        loop {
            match fallocate(&self.file, mode, self.base + range.start, len) {
                Ok(()) => {
                    self.zero.insert(range);
                    return Ok(true);
                }
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::PERM | Errno::NODEV) => return Ok(false),
                Err(errno) => {
                    return Err(DeviceError::from_io("zero", range.start, len, errno.into()));
                }
            }
        }
    }

    /// The part of the range that the host can zero by itself: whole sectors on a block device, all of it in a file.
    pub(super) fn zeroable(&self, range: &Range<u64>) -> Range<u64> {
        if !self.is_block {
            return range.clone();
        }
        let sector = u64::from(self.sector);
        let start = (self.base + range.start).next_multiple_of(sector);
        let end = (self.base + range.end) / sector * sector;
        if start < end { start - self.base..end - self.base } else { range.start..range.start }
    }

    /// Zeroes a range of which nothing is known.
    pub(super) fn zero_range(&self, range: Range<u64>) -> Result<(), DeviceError> {
        if range.end - range.start >= PUNCH_AT_LEAST {
            let inner = self.zeroable(&range);
            // A block device without an offload for zeroing still takes ZERO_RANGE: the kernel writes, we do not.
            if self.punch(inner.clone())?
                || (self.is_block
                    && self.fallocate(FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE, inner.clone())?)
            {
                self.zero_by_writing(range.start..inner.start)?;
                return self.zero_by_writing(inner.end..range.end);
            }
        }
        self.zero_by_writing(range)
    }

    pub(super) fn zero_by_writing(&self, range: Range<u64>) -> Result<(), DeviceError> {
        write_zero_bytes(self, range.start, range.end - range.start)?;
        self.zero.insert(range);
        Ok(())
    }
}
