//! One node of an extent tree as bytes, for changes by hand: read with its header checked, written with its checksum.

use daxkit_format::ext4::extent::{self, Extent, ExtentHeader, ExtentIdx, Node};
use daxkit_format::{BlockNr, OnDisk};
use zerocopy::{FromBytes, IntoBytes};

use super::super::super::error::{Place, VolumeError};
use super::super::super::inode::Inode;
use super::super::super::map::Mapping;
use super::super::super::map_node::ENTRY;
pub(super) use super::super::super::map_node::{Entry, index_entry, leaf_entry};
use super::super::super::open::Volume;
use super::super::{EditError, Editor};

/// See the module.
pub(super) struct TreeNode {
    /// `None` for the root, which lies in the inode.
    pub(super) block: Option<BlockNr>,
    bytes: Vec<u8>,
    pub(super) depth: u16,
    pub(super) max: u16,
}

impl TreeNode {
    /// Reads a node; `depth` is what its parent promises.
    pub(super) fn read(
        volume: &Volume,
        inode: &Inode,
        block: Option<BlockNr>,
        depth: Option<u16>,
    ) -> Result<Self, VolumeError> {
        let place = Self::place_of(inode, block);
        let bytes = match block {
            None => inode.i_block.to_vec(),
            Some(block) => {
                volume.check_blocks(place, block.get(), 1)?;
                volume.block(place, block)?.to_vec()
            }
        };
        let node = Node::parse(&bytes, depth).map_err(|e| VolumeError::corrupt(place, e))?;
        let (depth, max) = (node.depth(), node.header().eh_max.get());
        Ok(Self { block, bytes, depth, max })
    }

    /// An empty node in a block.
    pub(super) fn new(block: BlockNr, depth: u16, block_size: u32) -> Self {
        let max = extent::entries_per_block(block_size);
        let mut header = ExtentHeader::zeroed();
        header.eh_magic.set(extent::MAGIC);
        header.eh_max.set(max);
        header.eh_depth.set(depth);
        let mut bytes = vec![0; block_size as usize];
        bytes.iter_mut().zip(header.as_bytes()).for_each(|(to, from)| *to = *from);
        Self { block: Some(block), bytes, depth, max }
    }

    fn place_of(inode: &Inode, block: Option<BlockNr>) -> Place {
        match block {
            None => inode.place(),
            Some(block) => Place::InodeBlock { inode: inode.nr(), block, offset: 0 },
        }
    }

    pub(super) fn len(&self) -> usize {
        ExtentHeader::peek(&self.bytes).map_or(0, |h| h.eh_entries.get().into())
    }

    pub(super) fn entry(&self, at: usize) -> Option<Entry> {
        let from = ENTRY * (at + 1);
        self.bytes.get(from..)?.first_chunk::<ENTRY>().copied().filter(|_| at < self.len())
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        (0..self.len()).filter_map(|at| self.entry(at)).collect()
    }

    /// Replaces all entries; false when there is no room for them. What lay behind them is made zero.
    #[must_use]
    pub(super) fn set_entries(&mut self, entries: &[Entry]) -> bool {
        if entries.len() > usize::from(self.max) {
            return false;
        }
        let room = self.len().max(entries.len());
        let Some(area) = self.bytes.get_mut(ENTRY..ENTRY * (room + 1)) else { return false };
        area.fill(0);
        area.iter_mut().zip(entries.as_flattened()).for_each(|(to, from)| *to = *from);
        if let Some(header) = ExtentHeader::peek_mut(&mut self.bytes) {
            header.eh_entries.set(entries.len() as u16);
        }
        true
    }

    pub(super) fn set_depth(&mut self, depth: u16) {
        self.depth = depth;
        if let Some(header) = ExtentHeader::peek_mut(&mut self.bytes) {
            header.eh_depth.set(depth);
        }
    }

    /// Writes the node; the root into the inode in memory.
    pub(super) fn write(&mut self, editor: &mut Editor<'_>, inode: &mut Inode) -> Result<(), EditError> {
        let Some(block) = self.block else {
            let root = &self.bytes;
            editor.modify(inode, |disk| disk.i_block.iter_mut().zip(root).for_each(|(to, from)| *to = *from));
            return Ok(());
        };
        if let Some(seed) = editor.inode_seal_seed(inode) {
            extent::seal_block(seed, &mut self.bytes);
        }
        editor.write_block(block, &self.bytes)
    }
}

/// The first block of the file that an entry, leaf or index, is about.
pub(super) fn key(entry: &Entry) -> u32 {
    entry.first_chunk::<4>().map_or(0, |b| u32::from_le_bytes(*b))
}

/// Makes an entry begin with another block of the file.
pub(super) fn set_key(entry: &mut Entry, key: u32) {
    if let Some(bytes) = entry.first_chunk_mut::<4>() {
        *bytes = key.to_le_bytes();
    }
}

/// The node an index entry leads to.
pub(super) fn child(entry: &Entry) -> BlockNr {
    BlockNr(ExtentIdx::read_from_bytes(entry).map_or(0, |e| e.leaf()))
}

/// The run of a leaf entry.
pub(super) fn run(entry: &Entry) -> Mapping {
    let e = Extent::read_from_bytes(entry).unwrap_or_else(|_| Extent::zeroed());
    Mapping {
        logical: e.ee_block.get().into(),
        physical: BlockNr(e.start()),
        len: e.len().into(),
        written: e.is_written(),
    }
}
