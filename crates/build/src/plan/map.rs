//! Where the blocks of each inode lie, kept small: one number for a file in one run, a list for the others.

use std::ops::Range;

/// A run of a file's blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// First block in the file.
    pub logical: u64,
    /// First block on disk.
    pub physical: u64,
    /// Blocks.
    pub len: u64,
    /// False for blocks that are allocated and read as zeroes until they are written.
    pub written: bool,
}

/// The blocks of an inode that is not in one run from its start, or needs blocks for its map.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockMap {
    /// Data, in order of `logical`.
    pub runs: Vec<Run>,
    /// Blocks of the extent tree or the indirect map.
    pub meta: Vec<Range<u64>>,
}

impl BlockMap {
    /// Adds a run behind the others, joined to the last one where it continues that.
    pub fn push(&mut self, run: Run) {
        match self.runs.last_mut() {
            Some(last)
                if last.logical + last.len == run.logical
                    && last.physical + last.len == run.physical
                    && last.written == run.written =>
            {
                last.len += run.len;
            }
            _ => self.runs.push(run),
        }
    }

    /// Blocks of data.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.runs.iter().map(|r| r.len).sum()
    }

    /// The blocks of `meta` one by one.
    pub fn meta_blocks(&self) -> impl Iterator<Item = u64> + '_ {
        self.meta.iter().cloned().flatten()
    }
}

const COMPLEX: u64 = 1 << 63;

/// The maps of all nodes of a tree.
#[derive(Debug, Default)]
pub struct Maps {
    /// 0: no blocks; a block number: one run from logical block 0 of the length that the size tells; or an index.
    start: Vec<u64>,
    complex: Vec<BlockMap>,
}

/// The map of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeMap<'a> {
    /// No blocks.
    Empty,
    /// One run from the start; the caller knows how long.
    Simple(u64),
    /// Anything else.
    Complex(&'a BlockMap),
}

impl Maps {
    /// No node has blocks.
    #[must_use]
    pub fn new(nodes: usize) -> Self {
        Self { start: vec![0; nodes], complex: Vec::new() }
    }

    /// Stores the map of node `id`, whose size covers `blocks` blocks; a single run over all of them without map blocks is
    /// kept as its start.
    pub fn set(&mut self, id: u32, map: BlockMap, blocks: u64) {
        let value = match map.runs.as_slice() {
            [] if map.meta.is_empty() => 0,
            [run] if run.logical == 0 && run.len == blocks && run.written && map.meta.is_empty() => run.physical,
            _ => {
                self.complex.push(map);
                COMPLEX | (self.complex.len() as u64 - 1)
            }
        };
        if let Some(slot) = self.start.get_mut(id as usize) {
            *slot = value;
        }
    }

    /// Stores a single run from logical block 0.
    pub fn set_simple(&mut self, id: u32, start: u64) {
        if let Some(slot) = self.start.get_mut(id as usize) {
            *slot = start;
        }
    }

    /// The map of node `id`.
    #[must_use]
    pub fn get(&self, id: u32) -> NodeMap<'_> {
        match self.start.get(id as usize) {
            None | Some(0) => NodeMap::Empty,
            Some(v) if v & COMPLEX != 0 => {
                self.complex.get((v & !COMPLEX) as usize).map_or(NodeMap::Empty, NodeMap::Complex)
            }
            Some(v) => NodeMap::Simple(*v),
        }
    }

    /// The runs of node `id`, whose single run has `blocks` blocks.
    pub fn runs(&self, id: u32, blocks: u64) -> impl Iterator<Item = Run> + '_ {
        let (one, many): (Option<Run>, &[Run]) = match self.get(id) {
            NodeMap::Empty => (None, &[]),
            NodeMap::Simple(physical) => (Some(Run { logical: 0, physical, len: blocks, written: true }), &[]),
            NodeMap::Complex(map) => (None, &map.runs),
        };
        one.into_iter().chain(many.iter().copied())
    }
}
