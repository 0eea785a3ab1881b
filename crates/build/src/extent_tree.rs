//! Extent trees and indirect maps made from runs of blocks: how many blocks of their own they need, and their bytes.

use crate::plan::map::{BlockMap, Run};
use daxkit_format::OnDisk;
use daxkit_format::ext4::extent::{self, Extent, ExtentHeader, ExtentIdx};
use daxkit_format::ext4::indirect;
use zerocopy::IntoBytes;

/// Extents end at multiples of this in the file where a long run is cut: a cut inside a 2 MiB window would cost that window.
const CUT: u64 = 2048;

/// Cuts a run into pieces that one extent can hold.
pub fn pieces(run: Run) -> impl Iterator<Item = Run> {
    let max = u64::from(if run.written { extent::MAX_WRITTEN_LEN } else { extent::MAX_UNWRITTEN_LEN });
    let mut rest = run;
    std::iter::from_fn(move || {
        if rest.len == 0 {
            return None;
        }
        let len = if rest.len <= max { rest.len } else { max - (rest.logical + max) % CUT };
        let piece = Run { len, ..rest };
        rest = Run { logical: rest.logical + len, physical: rest.physical + len, len: rest.len - len, ..rest };
        Some(piece)
    })
}

/// Extents that `runs` become.
fn extents(runs: impl Iterator<Item = Run>) -> impl Iterator<Item = Extent> {
    runs.flat_map(pieces).map(|p| Extent::new(p.logical as u32, p.physical, p.len as u16, p.written))
}

/// Blocks the extent tree over `runs` needs besides the inode.
#[must_use]
pub fn tree_blocks(runs: &[Run], block_size: u32) -> u64 {
    // A long run is cut about every 32,768 blocks; counting pieces is cheap even for the longest.
    let count = runs.iter().map(|r| pieces(*r).count() as u64).sum::<u64>();
    let per_block = u64::from(extent::entries_per_block(block_size));
    let (mut level, mut total) = (count, 0);
    while level > u64::from(extent::ROOT_ENTRIES) {
        level = level.div_ceil(per_block);
        total += level;
    }
    total
}

/// Builds the extent tree: the 60 bytes of `i_block`, and each block of the tree given to `emit`. `meta` are the blocks counted by
/// [`tree_blocks`]; `seed` seals them.
///
/// # Errors
/// What `emit` returns.
pub fn build_tree<E>(
    runs: impl Iterator<Item = Run>,
    mut meta: impl Iterator<Item = u64>,
    block_size: u32,
    seed: Option<u32>,
    mut emit: impl FnMut(u64, &[u8]) -> Result<(), E>,
) -> Result<[u8; 60], E> {
    let per_block = usize::from(extent::entries_per_block(block_size));
    let mut all = extents(runs).peekable();
    let mut first: Vec<Extent> = Vec::with_capacity(4);
    while first.len() < usize::from(extent::ROOT_ENTRIES)
        && let Some(e) = all.next()
    {
        first.push(e);
    }
    if all.peek().is_none() {
        return Ok(root(0, first.as_bytes()));
    }
    let mut block = vec![0u8; block_size as usize];
    let mut node = |depth: u16, entries: &[u8], at: u64| -> Result<(), E> {
        fill(&mut block, depth, per_block as u16, entries);
        if let Some(seed) = seed {
            extent::seal_block(seed, &mut block);
        }
        emit(at, &block)
    };
    // Leaves as they come; of them only the index entries stay in memory.
    let mut level: Vec<ExtentIdx> = Vec::new();
    let mut leaf: Vec<Extent> = first;
    loop {
        while leaf.len() < per_block
            && let Some(e) = all.next()
        {
            leaf.push(e);
        }
        let Some(head) = leaf.first() else { break };
        let at = meta.next().unwrap_or(0);
        level.push(ExtentIdx::new(head.ee_block.get(), at));
        node(0, leaf.as_bytes(), at)?;
        leaf.clear();
    }
    let mut depth = 1;
    while level.len() > usize::from(extent::ROOT_ENTRIES) {
        let mut above = Vec::with_capacity(level.len() / per_block + 1);
        for chunk in level.chunks(per_block) {
            let at = meta.next().unwrap_or(0);
            above.push(ExtentIdx::new(chunk.first().map_or(0, |c| c.ei_block.get()), at));
            node(depth, chunk.as_bytes(), at)?;
        }
        level = above;
        depth += 1;
    }
    Ok(root(depth, level.as_bytes()))
}

/// The root of a tree with at most four entries.
#[must_use]
fn root(depth: u16, entries: &[u8]) -> [u8; 60] {
    let mut bytes = [0; 60];
    fill(&mut bytes, depth, extent::ROOT_ENTRIES, entries);
    bytes
}

fn fill(node: &mut [u8], depth: u16, max: u16, entries: &[u8]) {
    node.fill(0);
    if let Some(h) = ExtentHeader::peek_mut(node) {
        h.eh_magic.set(extent::MAGIC);
        h.eh_entries.set((entries.len() / 12) as u16);
        h.eh_max.set(max);
        h.eh_depth.set(depth);
    }
    if let Some(space) = node.get_mut(12..12 + entries.len()) {
        space.copy_from_slice(entries);
    }
}

/// Walks an indirect map over `runs` in order and tells each change of the path: the blocks of the map appear in the order in
/// which they are first needed, a parent before its children.
struct IndirectWalk {
    per_block: u32,
    /// For each level above the data (1 to 3) which block of that level is open, counted over the whole file.
    open: [Option<u64>; 3],
}

impl IndirectWalk {
    fn new(block_size: u32) -> Self {
        Self { per_block: block_size / 4, open: [None; 3] }
    }
}

/// Blocks the indirect map over `runs` needs besides the inode; `None` when the file is too long for one.
#[must_use]
pub fn indirect_blocks(runs: &[Run], block_size: u32) -> Option<u64> {
    let mut total = 0;
    let mut walk = IndirectWalk::new(block_size);
    let n = u64::from(walk.per_block);
    for run in runs {
        let (mut at, end) = (run.logical, run.logical + run.len);
        indirect::path(end.checked_sub(1)?, walk.per_block)?;
        while at < end {
            let path = indirect::path(at, walk.per_block)?;
            if path.depth == 0 {
                at += 1;
                continue;
            }
            // All data under the same lowest block is one step.
            let low = path.entries.get(usize::from(path.depth) - 1).copied().unwrap_or(0);
            for level in 1..=path.depth {
                let id = block_id(&path, level, walk.per_block);
                if let Some(slot) = walk.open.get_mut(usize::from(level) - 1)
                    && *slot != Some(id)
                {
                    *slot = Some(id);
                    total += 1;
                }
            }
            at += n - u64::from(low);
        }
    }
    Some(total)
}

/// A number that tells apart the map blocks of one level (1: lowest) of a file.
fn block_id(path: &indirect::MapPath, level: u8, per_block: u32) -> u64 {
    let above = path.depth - level;
    let index =
        path.entries.iter().take(usize::from(above)).fold(0u64, |acc, e| acc * u64::from(per_block) + u64::from(*e));
    u64::from(path.root) << 56 | index
}

/// Builds the indirect map: `i_block`, and each block of the map given to `emit`. `map.meta` holds as many blocks as
/// [`indirect_blocks`] counted. Only the blocks of the open path are in memory.
///
/// # Errors
/// What `emit` returns.
pub fn build_indirect<E>(
    map: &BlockMap,
    block_size: u32,
    mut emit: impl FnMut(u64, &[u8]) -> Result<(), E>,
) -> Result<[u8; 60], E> {
    let per_block = block_size / 4;
    let mut meta = map.meta_blocks();
    let mut i_block = [0u8; 60];
    let put = |i_block: &mut [u8; 60], root: u8, block: u64| {
        let at = usize::from(root) * 4;
        if let Some(w) = i_block.get_mut(at..at + 4) {
            w.copy_from_slice(&(block as u32).to_le_bytes());
        }
    };
    // For each level (1 to 3): id, place and bytes of the open block.
    let mut open: [Option<(u64, u64, Vec<u8>)>; 3] = [None, None, None];
    for run in &map.runs {
        for k in 0..run.len {
            let Some(path) = indirect::path(run.logical + k, per_block) else { continue };
            if path.depth == 0 {
                put(&mut i_block, path.root, run.physical + k);
                continue;
            }
            for level in (1..=path.depth).rev() {
                let id = block_id(&path, level, per_block);
                let slot = usize::from(level) - 1;
                if open.get(slot).and_then(Option::as_ref).is_some_and(|(have, ..)| *have == id) {
                    continue;
                }
                if let Some((_, at, bytes)) = open.get_mut(slot).and_then(Option::take) {
                    emit(at, &bytes)?;
                }
                let at = meta.next().unwrap_or(0);
                if level == path.depth {
                    put(&mut i_block, path.root, at);
                } else {
                    let entry = path.entries.get(usize::from(path.depth - level) - 1).copied().unwrap_or(0);
                    store(open.get_mut(slot + 1), entry, at);
                }
                if let Some(o) = open.get_mut(slot) {
                    *o = Some((id, at, vec![0; block_size as usize]));
                }
            }
            let entry = path.entries.get(usize::from(path.depth) - 1).copied().unwrap_or(0);
            store(open.get_mut(0), entry, run.physical + k);
        }
    }
    for (_, at, bytes) in open.into_iter().flatten() {
        emit(at, &bytes)?;
    }
    Ok(i_block)
}

fn store(open: Option<&mut Option<(u64, u64, Vec<u8>)>>, entry: u32, block: u64) {
    let at = entry as usize * 4;
    if let Some(Some((_, _, bytes))) = open
        && let Some(w) = bytes.get_mut(at..at + 4)
    {
        w.copy_from_slice(&(block as u32).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    fn run(logical: u64, physical: u64, len: u64) -> Run {
        Run { logical, physical, len, written: true }
    }

    fn read_tree(bytes: &[u8], blocks: &BTreeMap<u64, Vec<u8>>, out: &mut Vec<(u32, u64, u16)>) {
        let node = extent::Node::parse(bytes, None).expect("sound");
        if node.depth() == 0 {
            out.extend(node.extents().iter().map(|e| (e.ee_block.get(), e.start(), e.len())));
        } else {
            for i in node.indexes() {
                let below = &blocks[&i.leaf()];
                assert!(extent::verify_block(7, below));
                read_tree(below, blocks, out);
            }
        }
    }

    #[test]
    fn trees_of_every_depth_read_back() {
        for n in [1u64, 4, 5, 84, 85 * 4, 85 * 4 + 1, 85 * 85 * 4 + 1] {
            let runs: Vec<Run> = (0..n).map(|i| run(i * 2, 1000 + i * 3, 1)).collect();
            let need = tree_blocks(&runs, 1024);
            let mut blocks = BTreeMap::new();
            let meta = (0..need).map(|i| 1_000_000 + i);
            let root = build_tree(runs.iter().copied(), meta, 1024, Some(7), |at, b| {
                assert!(blocks.insert(at, b.to_vec()).is_none());
                Ok::<(), Infallible>(())
            });
            let Ok(root) = root;
            assert_eq!(blocks.len() as u64, need, "{n} extents");
            let mut found = Vec::new();
            read_tree(&root, &blocks, &mut found);
            let expected: Vec<_> = runs.iter().map(|r| (r.logical as u32, r.physical, 1)).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn long_runs_become_several_extents() {
        assert_eq!(tree_blocks(&[run(0, 10, 4 * 32768)], 4096), 0);
        assert_eq!(tree_blocks(&[run(0, 10, 4 * 32768 + 1)], 4096), 1);
    }

    #[test]
    fn indirect_maps_name_every_block_where_it_belongs() {
        let runs = vec![run(0, 5000, 3), run(10, 6000, 5), run(300, 7000, 600), run(70_000, 9000, 2)];
        let need = indirect_blocks(&runs, 1024).expect("reachable");
        let map = BlockMap { runs, meta: vec![100..100 + need] };
        let mut blocks = BTreeMap::new();
        let Ok(i_block) = build_indirect(&map, 1024, |at, b| {
            assert!(blocks.insert(at, b.to_vec()).is_none());
            Ok::<(), Infallible>(())
        });
        assert_eq!(blocks.len() as u64, need);
        let word = |b: &[u8], i: u32| u64::from(u32::from_le_bytes(b[i as usize * 4..][..4].try_into().expect("four")));
        for r in &map.runs {
            for k in 0..r.len {
                let p = indirect::path(r.logical + k, 256).expect("reachable");
                let mut at = word(&i_block, u32::from(p.root));
                for e in &p.entries[..usize::from(p.depth)] {
                    at = word(&blocks[&at], *e);
                }
                assert_eq!(at, r.physical + k);
            }
        }
        assert_eq!(indirect_blocks(&[run(1 << 32, 1, 1)], 4096), None);
    }
}
