//! The metadata: all that a commit keeps and a crash brings back.

use super::names::Names;
use crate::flat_map::FlatMap;
use crate::fs::DiskInode;

#[derive(Debug, Clone, Copy)]
pub(super) struct MemInode {
    pub disk: DiskInode,
    pub used: bool,
    /// Metadata that is not committed.
    pub dirty: bool,
    /// It shares blocks, or did.
    pub reflink: bool,
}

/// Metadata, as they are or as they were committed.
#[derive(Debug)]
pub(super) struct State {
    pub inodes: Vec<MemInode>,
    pub free_inodes: u32,
    pub names: Names,
    /// (inode, block of the file) to block of the device, shifted by one, with the lowest bit for "unwritten".
    pub map: FlatMap<u64>,
    /// One bit for each block in use.
    pub bitmap: Vec<u64>,
    /// Blocks that more than one file owns: how many more.
    pub shares: FlatMap<u32>,
    pub free_blocks: u64,
    pub next_block: u64,
}

impl Clone for State {
    fn clone(&self) -> Self {
        let Self { inodes, free_inodes, names, map, bitmap, shares, free_blocks, next_block } = self;
        Self {
            inodes: inodes.clone(),
            free_inodes: *free_inodes,
            names: names.clone(),
            map: map.clone(),
            bitmap: bitmap.clone(),
            shares: shares.clone(),
            free_blocks: *free_blocks,
            next_block: *next_block,
        }
    }

    /// Keeps the memory that is there: an explorer does this before every run.
    fn clone_from(&mut self, source: &Self) {
        let Self { inodes, free_inodes, names, map, bitmap, shares, free_blocks, next_block } = source;
        self.inodes.clone_from(inodes);
        self.free_inodes = *free_inodes;
        self.names.clone_from(names);
        self.map.clone_from(map);
        self.bitmap.clone_from(bitmap);
        self.shares.clone_from(shares);
        self.free_blocks = *free_blocks;
        self.next_block = *next_block;
    }
}
