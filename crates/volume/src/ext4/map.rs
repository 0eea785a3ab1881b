//! Which blocks a file has: extent trees and indirect maps as one stream of [`Mapping`]s.
//!
//! Invariants, whatever the image holds: mappings come in rising order and do not overlap; every block named lies inside
//! the file system; no node is visited twice (the keys of a node must lie in the range its parent gave it, and an indirect
//! block may occur once), so the work is bounded by the metadata that is really there; memory is one node per level, and
//! one number per indirect block. The checks of a node are in `map_node`; that of a number
//! is `ext4_check_indirect_blockref`'s (Linux 6.12).

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use daxkit_format::ext4::features::RoCompat;
use daxkit_format::ext4::indirect;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::{BlockNr, InodeNr};

use super::error::{Corruption, Place, VolumeError};
use super::inode::Inode;
use super::map_node::CheckedNode;
use super::open::Volume;

/// Blocks a file can have: logical block numbers have 32 bits.
pub(crate) const LOGICAL_END: u64 = 1 << 32;

/// A run of blocks of a file that lie one after the other on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// First block of the file.
    pub logical: u64,
    /// Where it lies.
    pub physical: BlockNr,
    /// Blocks in a row.
    pub len: u64,
    /// False when the blocks are allocated but read as zero.
    pub written: bool,
}

impl Mapping {
    /// The block of the file behind the last, exclusive.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.logical.saturating_add(self.len)
    }

    /// The part from block `logical` of the file on; `None` when it ends before.
    #[must_use]
    pub fn from(&self, logical: u64) -> Option<Self> {
        let skip = logical.saturating_sub(self.logical);
        (skip < self.len).then(|| Self {
            logical: self.logical + skip,
            physical: BlockNr(self.physical.get() + skip),
            len: self.len - skip,
            written: self.written,
        })
    }
}

/// What lies at a block of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment {
    /// Blocks, beginning with the one asked for.
    Mapped(Mapping),
    /// Nothing, from the block asked for on.
    Hole {
        /// The block asked for.
        logical: u64,
        /// How many blocks there are before the next mapping, or the end of all files.
        len: u64,
    },
}

/// What a walk over a map meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapItem {
    /// A block of the map itself: extent index or leaf, indirect block. It comes before what lies below it.
    Node {
        /// Where it lies.
        block: BlockNr,
        /// How far it is above the data: 0 for an extent leaf, 1 for an indirect block that names data.
        level: u16,
    },
    /// Blocks of data.
    Run(Mapping),
}

enum Frame {
    Index { entries: Vec<Mapping>, next: usize, end: u64, depth: u16 },
    Leaf { runs: Vec<Mapping>, next: usize },
    Root { words: [u32; 15], next: usize },
    Indirect { block: Arc<[u8]>, next: u32, level: u8, logical: u64 },
}

/// A walk over the map of one file, nodes and data. After an error it ends.
pub struct MapWalk<'v> {
    volume: &'v Volume,
    inode: InodeNr,
    seed: Option<u32>,
    stack: Vec<Frame>,
    /// Blocks before this are of no interest.
    start: u64,
    /// Blocks seen so far.
    mapped: u64,
    limit: u64,
    indirect_seen: HashSet<u32>,
    /// A run of the indirect map that may still grow.
    pending: Option<Mapping>,
    /// Runs grow across the ends of indirect blocks.
    join: bool,
    root_node: Option<Vec<u8>>,
}

impl Volume {
    /// Walks the map of a file: its nodes and its data. Files without a map (inline data, fast symbolic links, devices) have
    /// an empty one.
    #[must_use]
    pub fn map_walk(&self, inode: &Inode) -> MapWalk<'_> {
        MapWalk::new(self, inode, 0, true)
    }

    /// The data of a file in order, unwritten parts included.
    #[must_use]
    pub fn extents(&self, inode: &Inode) -> Extents<'_> {
        Extents(self.map_walk(inode))
    }

    /// As [`Volume::extents`], beginning with the mapping that holds `logical` or comes behind it.
    #[must_use]
    pub fn extents_from(&self, inode: &Inode, logical: u64) -> Extents<'_> {
        Extents(MapWalk::new(self, inode, logical, true))
    }

    /// The blocks of the map itself, with their level; see [`MapItem::Node`].
    #[must_use]
    pub fn metadata_blocks(&self, inode: &Inode) -> MetadataBlocks<'_> {
        MetadataBlocks(self.map_walk(inode))
    }

    /// What lies at block `logical` of a file, in the time of one path down the map.
    ///
    /// # Errors
    /// The map is damaged, or the device failed.
    pub fn map_block(&self, inode: &Inode, logical: u64) -> Result<Segment, VolumeError> {
        let next = Extents(MapWalk::new(self, inode, logical, false)).next().transpose()?;
        if let Some(mapping) = next.filter(|m| m.logical <= logical).and_then(|m| m.from(logical)) {
            return Ok(Segment::Mapped(mapping));
        }
        let end = next.map_or(LOGICAL_END.max(logical.saturating_add(1)), |m| m.logical);
        Ok(Segment::Hole { logical, len: end - logical })
    }

    /// True when the inode's `i_block` is a map, as opposed to content, a link's target, or a device number.
    #[must_use]
    pub fn has_map(&self, inode: &Inode) -> bool {
        (inode.is_file() || inode.is_dir() || inode.is_symlink())
            && !inode.has_inline_data()
            && !self.is_fast_symlink(inode)
    }
}

impl<'v> MapWalk<'v> {
    fn new(volume: &'v Volume, inode: &Inode, start: u64, join: bool) -> Self {
        let shared = volume.has_ro_compat(RoCompat::SHARED_BLOCKS);
        let mut walk = Self {
            volume,
            inode: inode.nr(),
            seed: volume.inode_verify_seed(inode),
            stack: Vec::new(),
            start,
            mapped: 0,
            limit: if shared { u64::MAX } else { volume.geometry().blocks_count },
            indirect_seen: HashSet::new(),
            pending: None,
            join,
            root_node: None,
        };
        if !volume.has_map(inode) {
            return walk;
        }
        if inode.flags().contains(InodeFlags::EXTENTS) {
            walk.root_node = Some(inode.i_block.to_vec());
        } else {
            let mut words = [0; 15];
            for (word, bytes) in words.iter_mut().zip(inode.i_block.as_chunks::<4>().0) {
                *word = u32::from_le_bytes(*bytes);
            }
            walk.stack.push(Frame::Root { words, next: 0 });
        }
        walk
    }

    fn place(&self, block: BlockNr) -> Place {
        Place::InodeBlock { inode: self.inode, block, offset: 0 }
    }

    fn count(&mut self, blocks: u64) -> Result<(), VolumeError> {
        self.mapped = self.mapped.saturating_add(blocks);
        if self.mapped > self.limit {
            return Err(VolumeError::bad_inode(self.inode, Corruption::TooManyBlocks { limit: self.limit }));
        }
        Ok(())
    }

    /// Checks a node and puts it on the stack. It may map the blocks of the file in `range`.
    fn push_node(
        &mut self,
        place: Place,
        bytes: &[u8],
        depth: Option<u16>,
        range: Range<u64>,
    ) -> Result<(), VolumeError> {
        let CheckedNode { depth, entries, .. } = self.volume.check_node(place, bytes, depth, range.clone())?;
        let frame = if depth == 0 {
            Frame::Leaf { next: entries.partition_point(|r| r.end() <= self.start), runs: entries }
        } else {
            let next = entries.partition_point(|e| e.logical <= self.start).saturating_sub(1);
            Frame::Index { entries, next, end: range.end, depth }
        };
        self.stack.push(frame);
        Ok(())
    }

    fn push_child(&mut self, block: BlockNr, depth: u16, range: Range<u64>) -> Result<MapItem, VolumeError> {
        self.count(1)?;
        let (place, bytes) = self.volume.node_block(self.inode, self.seed, block)?;
        self.push_node(place, &bytes, Some(depth), range)?;
        Ok(MapItem::Node { block, level: depth })
    }

    /// Meets one number of an indirect map: nothing, data, or a block of more numbers.
    fn meet(&mut self, number: u32, level: u8, logical: u64) -> Result<Option<MapItem>, VolumeError> {
        if number == 0 {
            return Ok(None);
        }
        let block = BlockNr(number.into());
        self.volume.check_blocks(Place::Inode(self.inode), block.get(), 1)?;
        self.count(1)?;
        if level == 0 {
            return Ok(match &mut self.pending {
                Some(p) if p.end() == logical && p.physical.get() + p.len == block.get() => {
                    p.len += 1;
                    None
                }
                pending => {
                    pending.replace(Mapping { logical, physical: block, len: 1, written: true }).map(MapItem::Run)
                }
            });
        }
        if !self.indirect_seen.insert(number) {
            return Err(VolumeError::bad_inode(self.inode, Corruption::IndirectTwice { block: block.get() }));
        }
        let bytes = self.volume.block(self.place(block), block)?;
        let span = indirect::span(level - 1, self.per_block());
        let next = u32::try_from(self.start.saturating_sub(logical) / span.max(1)).unwrap_or(u32::MAX);
        self.stack.push(Frame::Indirect { block: bytes, next, level, logical });
        Ok(Some(MapItem::Node { block, level: level.into() }))
    }

    fn per_block(&self) -> u32 {
        self.volume.block_size() / 4
    }

    /// One step: an item, or nothing yet; `Err(None)` at the end.
    fn step(&mut self) -> Result<Option<MapItem>, Option<VolumeError>> {
        if let Some(root) = self.root_node.take() {
            self.push_node(Place::Inode(self.inode), &root, None, 0..LOGICAL_END).map_err(Some)?;
            return Ok(None);
        }
        let Some(frame) = self.stack.last_mut() else {
            return self.pending.take().map(|p| Some(MapItem::Run(p))).ok_or(None);
        };
        match frame {
            Frame::Leaf { runs, next } => {
                let Some(run) = runs.get(*next).copied() else {
                    self.stack.pop();
                    return Ok(None);
                };
                *next += 1;
                self.count(run.len).map_err(Some)?;
                Ok(Some(MapItem::Run(run)))
            }
            Frame::Index { entries, next, end, depth } => {
                let Some(entry) = entries.get(*next).copied() else {
                    self.stack.pop();
                    return Ok(None);
                };
                *next += 1;
                let upper = entries.get(*next).map_or(*end, |e| e.logical);
                let depth = depth.saturating_sub(1);
                self.push_child(entry.physical, depth, entry.logical..upper).map(Some).map_err(Some)
            }
            Frame::Root { words, next } => {
                let index = *next;
                let Some(number) = words.get(index).copied() else {
                    self.stack.pop();
                    return Ok(None);
                };
                *next += 1;
                let (logical, level) = indirect::root_word(index, self.per_block());
                if logical.saturating_add(indirect::span(level, self.per_block())) <= self.start {
                    return Ok(None);
                }
                self.meet(number, level, logical).map_err(Some)
            }
            Frame::Indirect { block, next, level, logical } => {
                let at = (*next as usize).saturating_mul(4);
                let Some(number) = block.get(at..at.saturating_add(4)).and_then(|b| b.try_into().ok()) else {
                    self.stack.pop();
                    return Ok(if self.join { None } else { self.pending.take().map(MapItem::Run) });
                };
                let (index, level, base) = (*next, *level - 1, *logical);
                *next += 1;
                let logical =
                    base.saturating_add(u64::from(index).saturating_mul(indirect::span(level, self.per_block())));
                self.meet(u32::from_le_bytes(number), level, logical).map_err(Some)
            }
        }
    }
}

impl Iterator for MapWalk<'_> {
    type Item = Result<MapItem, VolumeError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.step() {
                Ok(Some(item)) => return Some(Ok(item)),
                Ok(None) => {}
                Err(None) => return None,
                Err(Some(e)) => {
                    self.stack.clear();
                    self.pending = None;
                    return Some(Err(e));
                }
            }
        }
    }
}

/// See [`Volume::extents`].
pub struct Extents<'v>(MapWalk<'v>);

impl Iterator for Extents<'_> {
    type Item = Result<Mapping, VolumeError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.find_map(|item| match item {
            Ok(MapItem::Run(run)) => Some(Ok(run)),
            Ok(MapItem::Node { .. }) => None,
            Err(e) => Some(Err(e)),
        })
    }
}

/// See [`Volume::metadata_blocks`].
pub struct MetadataBlocks<'v>(MapWalk<'v>);

impl Iterator for MetadataBlocks<'_> {
    type Item = Result<(BlockNr, u16), VolumeError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.find_map(|item| match item {
            Ok(MapItem::Run(_)) => None,
            Ok(MapItem::Node { block, level }) => Some(Ok((block, level))),
            Err(e) => Some(Err(e)),
        })
    }
}
