//! Arithmetic behind items: ranges without gaps, and how many names an htree of some depth needs.

use super::types::DirEntries;
use daxkit_format::ext4::dir_entry::{NAME_LEN, entry_len};
use daxkit_format::ext4::dx;
use std::ops::Range;

/// What of `ranges` lies outside of `gap`.
pub(super) fn without(ranges: &[Range<u64>], gap: &Range<u64>) -> Vec<Range<u64>> {
    let parts = |r: &Range<u64>| [r.start..r.end.min(gap.start), r.start.max(gap.end)..r.end];
    ranges.iter().flat_map(parts).filter(|r| r.start < r.end).collect()
}

/// Joins ranges (in order and apart) that touch.
pub(super) fn joined(ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut out: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for r in ranges.into_iter().filter(|r| !r.is_empty()) {
        match out.last_mut() {
            Some(last) if last.end == r.start => last.end = r.end,
            _ => out.push(r),
        }
    }
    out
}

/// Names that give a directory an htree of so many levels, leaves filled as the builder fills them; `None` when they are more than
/// can be numbered or the levels are unknown. Room for checksums is counted whether or not the file system has them: without, a
/// leaf holds at most as many.
pub(super) fn names_for_levels(levels: u8, entries: &DirEntries, block_size: u32) -> Option<u32> {
    let block = block_size as usize;
    let digits = usize::from(entries.width).max(10);
    let longest = (entries.prefix.len() + digits).min(NAME_LEN);
    let shortest = entries.prefix.len() + usize::from(entries.width).max(1);
    // The most names a leaf can hold decides how many are enough.
    let per_leaf = (block / 8 * 7).checked_div(entry_len(shortest.min(longest)))?;
    let (root, node) =
        (u64::from(dx::limit(block, dx::ROOT_ENTRIES, false)), u64::from(dx::limit(block, dx::NODE_ENTRIES, false)));
    let leaves = match levels {
        0 => return Some(0),
        1 => 2,
        2 => root + 1,
        3 => root.checked_mul(node)? + 1,
        _ => return None,
    };
    u32::try_from(leaves.checked_mul(per_leaf as u64)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_cut_out() {
        assert_eq!(without(&[0..10], &(3..5)), [0..3, 5..10]);
        assert_eq!(without(&[0..10, 20..30], &(5..25)), [0..5, 25..30]);
        assert_eq!(without(&[5..10], &(0..20)), []);
        assert_eq!(without(&[0..10], &(10..20)), [0..10]);
        assert_eq!(joined(vec![0..2, 2..4, 5..5, 6..7]), [0..4, 6..7]);
    }
}
