//! Indirect block maps: the twelve direct blocks of `i_block`, then one, two and three levels of blocks full of numbers.

use super::inode::{N_BLOCKS, NDIR_BLOCKS};

/// The path from `i_block` to one block of a file: which of the 15 words, then which entry of each block below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapPath {
    /// Index into `i_block`, 0 to 14.
    pub root: u8,
    /// How many of `entries` count: 0 for a direct block.
    pub depth: u8,
    /// Index into each indirect block, from the top.
    pub entries: [u32; 3],
}

/// The path to logical block `logical` with `per_block` numbers in a block (`ext4_block_to_path`); `None` past the end of
/// what three levels reach.
#[must_use]
pub fn path(logical: u64, per_block: u32) -> Option<MapPath> {
    let n = u64::from(per_block);
    let mut rest = logical;
    if rest < NDIR_BLOCKS as u64 {
        return Some(MapPath { root: rest as u8, depth: 0, entries: [0; 3] });
    }
    rest -= NDIR_BLOCKS as u64;
    if rest < n {
        return Some(MapPath { root: 12, depth: 1, entries: [rest as u32, 0, 0] });
    }
    rest -= n;
    let n2 = n.checked_mul(n)?;
    if rest < n2 {
        return Some(MapPath { root: 13, depth: 2, entries: [(rest / n) as u32, (rest % n) as u32, 0] });
    }
    rest -= n2;
    let n3 = n2.checked_mul(n)?;
    (rest < n3).then(|| MapPath {
        root: 14,
        depth: 3,
        entries: [(rest / n2) as u32, (rest / n % n) as u32, (rest % n) as u32],
    })
}

/// Blocks of data that one entry at `level` above the data covers: 1 for the data itself.
#[must_use]
pub fn span(level: u8, per_block: u32) -> u64 {
    u64::from(per_block).saturating_pow(u32::from(level))
}

/// Where word `index` of `i_block` begins in the file, and how far it is above the data.
#[must_use]
pub fn root_word(index: usize, per_block: u32) -> (u64, u8) {
    let direct = NDIR_BLOCKS as u64;
    match index.checked_sub(NDIR_BLOCKS) {
        None => (index as u64, 0),
        Some(0) => (direct, 1),
        Some(1) => (direct.saturating_add(span(1, per_block)), 2),
        Some(_) => (direct.saturating_add(span(1, per_block)).saturating_add(span(2, per_block)), 3),
    }
}

/// Blocks that a file can have.
#[must_use]
pub fn limit(per_block: u32) -> u64 {
    let (begin, level) = root_word(N_BLOCKS - 1, per_block);
    begin.saturating_add(span(level, per_block))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_ranges_meet_without_gap() {
        let n = 256;
        let p = |l| path(l, n);
        assert_eq!(p(11), Some(MapPath { root: 11, depth: 0, entries: [0; 3] }));
        assert_eq!(p(12), Some(MapPath { root: 12, depth: 1, entries: [0; 3] }));
        assert_eq!(p(12 + 256), Some(MapPath { root: 13, depth: 2, entries: [0; 3] }));
        assert_eq!(p(12 + 256 + 65535), Some(MapPath { root: 13, depth: 2, entries: [255, 255, 0] }));
        assert_eq!(p(12 + 256 + 65536), Some(MapPath { root: 14, depth: 3, entries: [0; 3] }));
        assert_eq!(p(12 + 256 + 65536 + (1 << 24)), None);
        assert_eq!(path(u64::MAX, 0), None);
        for word in 0..N_BLOCKS {
            let (begin, level) = root_word(word, n);
            assert_eq!(p(begin).map(|p| (usize::from(p.root), p.depth)), Some((word, level)));
        }
        assert_eq!((p(limit(n) - 1).map(|p| p.entries), p(limit(n))), (Some([255; 3]), None));
    }
}
