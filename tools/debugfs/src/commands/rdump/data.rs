//! What a file holds, as far as it can be read.

use daxkit_volume::{Inode, Volume, VolumeError};
use std::ops::Range;

/// Ranges of one file that are told apart: what readers of archives take at the most.
const MAX_RANGES: usize = 1 << 20;

/// Where a file holds data, and what is in the way of finding the rest, which then counts as a hole. Of a file in too many pieces
/// small holes are taken for data.
pub(super) fn ranges(volume: &Volume, inode: &Inode) -> (Vec<Range<u64>>, Option<VolumeError>) {
    let mut gap = 0;
    loop {
        match within(volume, inode, gap) {
            Some(found) => return found,
            None => gap = gap.saturating_mul(4).max(u64::from(volume.block_size())),
        }
    }
}

/// The ranges when holes of up to `gap` bytes are none; `None` when they are too many.
fn within(volume: &Volume, inode: &Inode, gap: u64) -> Option<(Vec<Range<u64>>, Option<VolumeError>)> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for range in volume.data_ranges(inode) {
        let full = ranges.len() + 1 >= MAX_RANGES;
        match (range, ranges.last_mut()) {
            (Err(error), _) => return Some((ranges, Some(error))),
            (Ok(range), Some(last)) if range.start.saturating_sub(last.end) <= gap => last.end = range.end,
            // One entry more says where the file ends.
            (Ok(_), _) if full => return None,
            (Ok(range), _) => ranges.push(range),
        }
    }
    Some((ranges, None))
}

/// Fills `part` from byte `at` of a file. Blocks that cannot be read are zeroes; why is returned.
pub(super) fn read(volume: &Volume, inode: &Inode, at: u64, part: &mut [u8]) -> Option<VolumeError> {
    let error = volume.read_at(inode, at, part).err()?;
    let size = volume.block_size() as usize;
    for (from, block) in (at..).step_by(size).zip(part.chunks_mut(size)) {
        if volume.read_at(inode, from, block).is_err() {
            block.fill(0);
        }
    }
    Some(error)
}
