//! The blocks of a directory built whole: one linear block, several, or a hashed tree.
//!
//! A hashed directory is built whole: names in the order of their hashes, leaves filled to seven eighths so that the first
//! names a running system adds need no split, index blocks above them. The shape is counted when the image is planned and built
//! when it is written, by the same packing.

use super::casefold::dirhash_casefold;
use super::dir_entry::{self, DirEntry, entry_len, rec_len_to_disk};
use super::dx::{self, DxRoot};
use super::hash::{DirHash, HashVersion, dirhash};
use crate::OnDisk;
use zerocopy::IntoBytes;

/// One name.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    /// The name.
    pub name: &'a [u8],
    /// Its inode.
    pub ino: u32,
    /// `file_type`.
    pub file_type: u8,
}

/// What decides the shape of directories in one file system.
#[derive(Debug, Clone, Copy)]
pub struct DirFormat {
    /// Bytes in a block.
    pub block_size: u32,
    /// Room for a checksum at the end of each block.
    pub tail: bool,
    /// Entries hold the file type.
    pub has_file_type: bool,
    /// How names are hashed, where directories are indexed at all.
    pub hash: Option<(HashVersion, [u32; 4])>,
    /// Names are folded before they are hashed: this directory compares them without case.
    pub folded: bool,
    /// Three levels of index instead of two.
    pub large_dir: bool,
}

/// The blocks a directory takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Entries in order, no index.
    Linear {
        /// Number of blocks.
        blocks: u32,
    },
    /// A root, index blocks, leaves.
    Hashed {
        /// Index blocks on each level below the root, top down.
        nodes: [u32; 2],
        /// Leaves.
        leaves: u32,
    },
}

impl Shape {
    /// Blocks in all.
    #[must_use]
    pub fn blocks(self) -> u32 {
        match self {
            Self::Linear { blocks } => blocks,
            Self::Hashed { nodes: [a, b], leaves } => 1 + a + b + leaves,
        }
    }

    /// Levels of index: 0 for a linear directory, 1 for a root over leaves.
    #[must_use]
    pub fn levels(self) -> u8 {
        match self {
            Self::Linear { .. } => 0,
            Self::Hashed { nodes, .. } => 1 + nodes.iter().filter(|n| **n > 0).count() as u8,
        }
    }
}

/// Names in the order of their hashes, cut into leaves.
struct Packing {
    /// (hash, minor hash, index of the item)
    order: Vec<(u32, u32, u32)>,
    /// Index into `order` of each leaf's first name.
    leaves: Vec<u32>,
}

impl DirFormat {
    fn usable(&self) -> usize {
        self.block_size as usize - if self.tail { 12 } else { 0 }
    }

    /// The shape of a directory with these names.
    #[must_use]
    pub fn shape(&self, items: &[Item<'_>]) -> Shape {
        let total: usize = 24 + items.iter().map(|i| entry_len(i.name.len())).sum::<usize>();
        if total <= self.usable() {
            return Shape::Linear { blocks: 1 };
        }
        match self.hash {
            Some(hash) => {
                let leaves = self.pack(items, hash).leaves.len();
                self.hashed_shape(leaves).unwrap_or_else(|| self.linear_shape(items))
            }
            None => self.linear_shape(items),
        }
    }

    fn hashed_shape(&self, leaves: usize) -> Option<Shape> {
        let root = usize::from(dx::limit(self.block_size as usize, dx::ROOT_ENTRIES, self.tail));
        let node = usize::from(dx::limit(self.block_size as usize, dx::NODE_ENTRIES, self.tail));
        let low = leaves.div_ceil(node);
        let high = low.div_ceil(node);
        let nodes = if leaves <= root {
            [0, 0]
        } else if low <= root {
            [0, low as u32]
        } else if self.large_dir && high <= root {
            [high as u32, low as u32]
        } else {
            return None;
        };
        Some(Shape::Hashed { nodes, leaves: leaves as u32 })
    }

    fn linear_shape(&self, items: &[Item<'_>]) -> Shape {
        let (mut blocks, mut used) = (1, 24);
        for item in items {
            let len = entry_len(item.name.len());
            if used + len > self.usable() {
                (blocks, used) = (blocks + 1, 0);
            }
            used += len;
        }
        Shape::Linear { blocks }
    }

    fn name_hash(&self, name: &[u8], version: HashVersion, seed: &[u32; 4]) -> DirHash {
        let folded = self.folded.then(|| dirhash_casefold(name, version, seed, false).ok()).flatten();
        folded.unwrap_or_else(|| dirhash(name, version, seed))
    }

    fn pack(&self, items: &[Item<'_>], (version, seed): (HashVersion, [u32; 4])) -> Packing {
        let mut order: Vec<(u32, u32, u32)> = items
            .iter()
            .enumerate()
            .map(|(i, item)| {
                let h = self.name_hash(item.name, version, &seed);
                (h.hash, h.minor_hash, i as u32)
            })
            .collect();
        order.sort_unstable();
        let room = self.usable() / 8 * 7;
        let mut leaves = vec![0];
        let mut used = 0;
        for (at, (_, _, i)) in order.iter().enumerate() {
            let len = items.get(*i as usize).map_or(0, |item| entry_len(item.name.len()));
            if used + len > room {
                leaves.push(at as u32);
                used = 0;
            }
            used += len;
        }
        Packing { order, leaves }
    }

    /// Appends the blocks of the directory `ino` with parent `parent` to `out`; `seed` seals them where the file system has
    /// checksums. The number of blocks is that of [`DirFormat::shape`].
    pub fn build(&self, items: &[Item<'_>], ino: u32, parent: u32, seed: Option<u32>, out: &mut Vec<u8>) {
        match (self.shape(items), self.hash) {
            (Shape::Hashed { nodes, leaves }, Some(hash)) => {
                let packing = self.pack(items, hash);
                self.build_hashed(items, &packing, hash.0, (ino, parent), nodes, leaves, seed, out);
            }
            (shape, _) => self.build_linear(items, (ino, parent), shape.blocks(), seed, out),
        }
    }

    fn dots(&self, (ino, parent): (u32, u32)) -> [Item<'static>; 2] {
        let file_type = dir_entry::file_type::DIR;
        [Item { name: b".", ino, file_type }, Item { name: b"..", ino: parent, file_type }]
    }

    fn build_linear(&self, items: &[Item<'_>], dots: (u32, u32), blocks: u32, seed: Option<u32>, out: &mut Vec<u8>) {
        let mut w = LeafWriter::new(self, seed, out);
        for item in self.dots(dots).iter().chain(items) {
            w.push(item);
        }
        w.finish();
        let done = w.blocks;
        for _ in done..blocks {
            self.push_empty(seed, out);
        }
    }

    /// Appends a block without a name, as `lost+found` keeps in store.
    pub fn push_empty(&self, seed: Option<u32>, out: &mut Vec<u8>) {
        let mut w = LeafWriter::new(self, seed, out);
        w.open();
        w.finish();
    }

    #[allow(clippy::too_many_arguments)]
    fn build_hashed(
        &self,
        items: &[Item<'_>],
        packing: &Packing,
        version: HashVersion,
        dots: (u32, u32),
        nodes: [u32; 2],
        leaves: u32,
        seed: Option<u32>,
        out: &mut Vec<u8>,
    ) {
        let bs = self.block_size as usize;
        let first_leaf = 1 + nodes[0] + nodes[1];
        // The hash at which each leaf begins; its lowest bit says that the leaf before ends with the same hash.
        let mut level: Vec<(u32, u32)> = Vec::with_capacity(leaves as usize);
        for (n, at) in packing.leaves.iter().enumerate() {
            let at = *at as usize;
            let hash = packing.order.get(at).map_or(0, |o| o.0);
            let continued = at.checked_sub(1).and_then(|p| packing.order.get(p)).is_some_and(|o| o.0 == hash);
            level.push((if n == 0 { 0 } else { hash | u32::from(continued) }, first_leaf + n as u32));
        }
        let node_limit = usize::from(dx::limit(bs, dx::NODE_ENTRIES, self.tail));
        let start = out.len();
        out.resize(start + bs * first_leaf as usize, 0);
        // From the leaves upwards: the level just above them lies behind the one above that.
        let mut next_block = first_leaf;
        for count in nodes.iter().rev().filter(|n| **n > 0) {
            next_block -= count;
            let mut above = Vec::with_capacity(*count as usize);
            for (k, chunk) in level.chunks(node_limit).enumerate() {
                let nr = next_block + k as u32;
                above.push((chunk.first().map_or(0, |c| c.0), nr));
                let at = start + nr as usize * bs;
                if let Some(block) = out.get_mut(at..at + bs) {
                    if let Some(head) = DirEntry::peek_mut(block) {
                        head.rec_len.set(rec_len_to_disk(self.block_size, self.block_size));
                    }
                    self.fill_index(block, dx::NODE_ENTRIES, chunk, seed);
                }
            }
            level = above;
        }
        if let Some(block) = out.get_mut(start..start + bs) {
            let levels = nodes.iter().filter(|n| **n > 0).count() as u8;
            self.fill_root(block, version, dots, levels);
            self.fill_index(block, dx::ROOT_ENTRIES, &level, seed);
        }
        let mut bounds = packing.leaves.iter().map(|l| *l as usize).skip(1).chain([packing.order.len()]);
        for from in &packing.leaves {
            let to = bounds.next().unwrap_or(packing.order.len());
            let mut w = LeafWriter::new(self, seed, out);
            for (_, _, i) in packing.order.get(*from as usize..to).unwrap_or_default() {
                if let Some(item) = items.get(*i as usize) {
                    w.push(item);
                }
            }
            w.finish();
        }
    }

    fn fill_root(&self, block: &mut [u8], version: HashVersion, (ino, parent): (u32, u32), levels: u8) {
        let file_type = if self.has_file_type { dir_entry::file_type::DIR } else { 0 };
        let Some(root) = DxRoot::peek_mut(block) else { return };
        root.dot_inode.set(ino);
        root.dot_rec_len.set(12);
        root.dot_name_len = 1;
        root.dot_file_type = file_type;
        root.dot_name = *b".\0\0\0";
        root.dotdot_inode.set(parent);
        root.dotdot_rec_len.set(rec_len_to_disk(self.block_size - 12, self.block_size));
        root.dotdot_name_len = 2;
        root.dotdot_file_type = file_type;
        root.dotdot_name = *b"..\0\0";
        root.hash_version = version.on_disk();
        root.info_length = 8;
        root.indirect_levels = levels;
    }

    fn fill_index(&self, block: &mut [u8], offset: usize, entries: &[(u32, u32)], seed: Option<u32>) {
        dx::write_entries(block, offset, self.tail, entries);
        if let Some(seed) = seed {
            dx::seal_block(seed, block, offset);
        }
    }
}

/// Fills linear blocks one after the other.
struct LeafWriter<'a> {
    format: &'a DirFormat,
    seed: Option<u32>,
    out: &'a mut Vec<u8>,
    /// Start of the open block in `out`.
    start: Option<usize>,
    /// Offset in the block behind the last entry, and of the last entry.
    used: usize,
    last: usize,
    blocks: u32,
}

impl<'a> LeafWriter<'a> {
    fn new(format: &'a DirFormat, seed: Option<u32>, out: &'a mut Vec<u8>) -> Self {
        Self { format, seed, out, start: None, used: 0, last: 0, blocks: 0 }
    }

    fn open(&mut self) {
        let start = self.out.len();
        self.out.resize(start + self.format.block_size as usize, 0);
        self.start = Some(start);
        (self.used, self.last) = (0, 0);
        self.blocks += 1;
    }

    fn push(&mut self, item: &Item<'_>) {
        let len = entry_len(item.name.len());
        if self.start.is_none() || self.used + len > self.format.usable() {
            self.finish();
            self.open();
        }
        let Some(start) = self.start else { return };
        let at = start + self.used;
        put_entry(self.out.get_mut(at..at + len).unwrap_or_default(), item, len as u32, self.format);
        self.last = self.used;
        self.used += len;
    }

    /// Stretches the last entry to the end of the block and seals it.
    fn finish(&mut self) {
        let Some(start) = self.start.take() else { return };
        let usable = self.format.usable();
        let bs = self.format.block_size;
        let Some(block) = self.out.get_mut(start..) else { return };
        if let Some(e) = block.get_mut(self.last..).and_then(DirEntry::peek_mut) {
            e.rec_len.set(rec_len_to_disk((usable - self.last) as u32, bs));
        }
        if self.format.tail {
            dir_entry::seal_block(self.seed.unwrap_or(0), block);
        }
    }
}

fn put_entry(at: &mut [u8], item: &Item<'_>, rec_len: u32, format: &DirFormat) {
    let head = DirEntry {
        inode: item.ino.into(),
        rec_len: rec_len_to_disk(rec_len, format.block_size).into(),
        name_len: item.name.len() as u8,
        file_type: if format.has_file_type { item.file_type } else { 0 },
    };
    if let Some((fixed, rest)) = at.split_at_mut_checked(8) {
        fixed.copy_from_slice(head.as_bytes());
        rest.iter_mut().zip(item.name).for_each(|(d, s)| *d = *s);
    }
}

/// Packs a directory into an inode: the 56 bytes behind the parent's number in `i_block`, and up to `room` bytes of the
/// `system.data` attribute. `None` when it does not fit. Entries never cross from one area into the other.
#[must_use]
pub fn build_inline(items: &[Item<'_>], parent: u32, room: usize, format: &DirFormat) -> Option<([u8; 60], Vec<u8>)> {
    let mut first = [0u8; 60];
    first.get_mut(..4)?.copy_from_slice(&parent.to_le_bytes());
    let mut rest = items;
    fill_area(first.get_mut(4..)?, &mut rest, format);
    if rest.is_empty() {
        return Some((first, Vec::new()));
    }
    let need: usize = rest.iter().map(|i| entry_len(i.name.len())).sum();
    if need > room {
        return None;
    }
    let mut second = vec![0; need];
    fill_area(&mut second, &mut rest, format);
    rest.is_empty().then_some((first, second))
}

fn fill_area(area: &mut [u8], items: &mut &[Item<'_>], format: &DirFormat) {
    let (mut used, mut last) = (0, 0);
    while let Some((item, rest)) = items.split_first() {
        let len = entry_len(item.name.len());
        if used + len > area.len() {
            break;
        }
        put_entry(area.get_mut(used..used + len).unwrap_or_default(), item, len as u32, format);
        last = used;
        used += len;
        *items = rest;
    }
    let stretch = (area.len() - last) as u32;
    if let Some(e) = area.get_mut(last..).and_then(DirEntry::peek_mut) {
        e.rec_len.set(rec_len_to_disk(stretch, format.block_size));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ext4::dir_entry::Entries;
    use crate::ext4::dx::DxBlock;
    use std::collections::BTreeSet;

    fn format(block_size: u32, large_dir: bool) -> DirFormat {
        let hash = Some((HashVersion::HalfMd4, [1, 2, 3, 4]));
        DirFormat { block_size, tail: true, has_file_type: true, hash, folded: false, large_dir }
    }

    /// Follows the index to each name and finds it in the leaf it leads to, or in the next ones while the hash continues.
    fn check(format: &DirFormat, names: &[Vec<u8>]) -> Shape {
        let items: Vec<Item<'_>> =
            names.iter().enumerate().map(|(i, n)| Item { name: n, ino: i as u32 + 12, file_type: 1 }).collect();
        let mut out = Vec::new();
        format.build(&items, 11, 2, Some(99), &mut out);
        let bs = format.block_size as usize;
        let shape = format.shape(&items);
        assert_eq!(out.len(), shape.blocks() as usize * bs);
        let Shape::Hashed { nodes, .. } = shape else { return shape };
        let block = |n: u32| &out[n as usize * bs..][..bs];
        let mut leaves = Vec::new();
        let root = DxBlock::parse_root(block(0), true).expect("root");
        let mut level: Vec<(u32, u32)> = root.iter().collect();
        for _ in nodes.iter().filter(|n| **n > 0) {
            level = level
                .iter()
                .flat_map(|(_, b)| DxBlock::parse_node(block(*b), true).expect("node").iter().collect::<Vec<_>>())
                .collect();
        }
        leaves.extend(level);
        let mut seen = BTreeSet::new();
        let mut floor = 0;
        for (hash, b) in leaves {
            let leaf = block(b);
            assert!(dir_entry::verify_block(99, leaf));
            for e in Entries::new(&leaf[..bs - 12], format.block_size, true) {
                let e = e.expect("sound");
                let h = dirhash(e.name, HashVersion::HalfMd4, &[1, 2, 3, 4]).hash;
                assert!(h >= floor && h >= hash & !1);
                floor = h;
                seen.insert(e.name.to_vec());
            }
        }
        assert_eq!(seen.len(), names.len());
        shape
    }

    #[test]
    fn every_name_is_found_where_the_index_says() {
        let names = |n: u32| (0..n).map(|i| format!("file number {i:06}").into_bytes()).collect::<Vec<_>>();
        assert_eq!(check(&format(4096, false), &names(100)), Shape::Linear { blocks: 1 });
        assert!(matches!(check(&format(4096, false), &names(1000)), Shape::Hashed { nodes: [0, 0], .. }));
        assert!(matches!(check(&format(1024, false), &names(20_000)), Shape::Hashed { nodes: [0, (1..)], .. }));
        assert!(matches!(check(&format(65536, false), &names(20_000)), Shape::Hashed { nodes: [0, 0], .. }));
        assert!(matches!(check(&format(1024, true), &names(600_000)), Shape::Hashed { nodes: [(1..), (1..)], .. }));
        assert!(matches!(check(&format(1024, false), &names(600_000)), Shape::Linear { .. }));
    }

    #[test]
    fn inline_directories_keep_the_two_areas_apart() {
        let f = format(4096, false);
        let names: Vec<Vec<u8>> = (0..6).map(|i| vec![b'a' + i; 10]).collect();
        let items: Vec<Item<'_>> = names.iter().map(|n| Item { name: n, ino: 20, file_type: 1 }).collect();
        let (first, second) = build_inline(&items, 2, 80, &f).expect("fits");
        assert_eq!(Entries::new(&first[4..], 4096, true).count(), 2);
        assert_eq!(Entries::new(&second, 4096, true).count(), 4);
        assert!(build_inline(&items, 2, 76, &f).is_none());
        let (first, second) = build_inline(&[], 2, 0, &f).expect("fits");
        assert_eq!((Entries::new(&first[4..], 4096, true).count(), second.len()), (1, 0));
    }
}
