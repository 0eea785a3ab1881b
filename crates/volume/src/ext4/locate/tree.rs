//! Nodes and entries of extent trees, words of indirect maps: by the entries that lead to them.
//!
//! Only what is needed to go on is looked at: that the entry named is there, and where it leads. Headers may be damaged in
//! every other way.

use std::ops::Range;

use daxkit_format::ext4::extent::{ExtentHeader, ExtentIdx, tail_offset};
use daxkit_format::ext4::inode::{N_BLOCKS, NDIR_BLOCKS};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::field::{InodeRef, Object, Structure};
use daxkit_format::{FieldDef, FieldKind, OnDisk};

use super::super::seal::Seal;
use super::finder::{Finder, absent};
use super::inode::Found;
use super::{Absent, LocateError, Spot};

/// Bytes of a header, and of an entry.
const HEADER: usize = size_of::<ExtentHeader>();
const ENTRY: usize = size_of::<ExtentIdx>();

/// A node of an extent tree: in `i_block` or in a block of its own.
pub(super) struct NodeAt {
    pub(super) range: Range<u64>,
    pub(super) bytes: Vec<u8>,
    pub(super) in_inode: bool,
    seals: Vec<Seal>,
}

impl NodeAt {
    /// Distance from the data: 0 for a leaf.
    pub(super) fn depth(&self) -> u16 {
        ExtentHeader::peek(&self.bytes).map_or(0, |h| h.eh_depth.get())
    }

    /// Entries in use, as far as there is room for them.
    pub(super) fn entries(&self) -> usize {
        let room = self.bytes.len().saturating_sub(HEADER) / ENTRY;
        ExtentHeader::peek(&self.bytes).map_or(0, |h| usize::from(h.eh_entries.get())).min(room)
    }

    /// The bytes of an entry, from it to the end of the node.
    pub(super) fn entry(&self, index: usize) -> Option<&[u8]> {
        (index < self.entries()).then(|| self.bytes.get(HEADER + index * ENTRY..)).flatten()
    }
}

impl Finder<'_> {
    /// The root of an inode's tree.
    pub(super) fn root_node(&self, object: &Object, found: &Found) -> Result<NodeAt, LocateError> {
        let bytes = found.inode.i_block.to_vec();
        let magic = ExtentHeader::peek(&bytes).is_some_and(|h| h.eh_magic.get() == daxkit_format::ext4::extent::MAGIC);
        // Either may be what is damaged.
        if !found.inode.flags().contains(InodeFlags::EXTENTS) && !magic {
            return Err(absent(object, Absent::NoExtents));
        }
        let start = found.i_block_at();
        let range = start..start.saturating_add(bytes.len() as u64);
        Ok(NodeAt { range, bytes, in_inode: true, seals: self.inode_seal(found).into_iter().collect() })
    }

    /// The node below an entry of an index node.
    pub(super) fn child(&self, object: &Object, found: &Found, entry: &[u8]) -> Result<NodeAt, LocateError> {
        let leaf = ExtentIdx::peek(entry).map_or(0, ExtentIdx::leaf);
        let block = self.block(leaf)?;
        let bytes = self.read(object, block.range())?;
        let seals = self.extents_seal(found, block).into_iter().collect();
        Ok(NodeAt { range: block.range(), bytes, in_inode: false, seals })
    }

    fn node_at(&self, object: &Object, found: &Found, path: &[u16]) -> Result<NodeAt, LocateError> {
        let mut node = self.root_node(object, found)?;
        for index in path {
            let entry = node.entry((*index).into()).ok_or_else(|| no_entry(object, *index, &node))?;
            node = self.child(object, found, entry)?;
        }
        Ok(node)
    }

    pub(super) fn node(&self, object: &Object, inode: &InodeRef, path: &[u16]) -> Result<Spot, LocateError> {
        let found = self.inode(inode)?;
        let node = self.node_at(object, &found, path)?;
        let spot = Spot::one(Structure::ExtentHeader, node.range.clone(), node.seals);
        let max = ExtentHeader::peek(&node.bytes).map_or(0, |h| h.eh_max.get());
        let has_tail = self.seed.is_some() && !node.in_inode;
        Ok(if has_tail { spot.with(Structure::ExtentTail, tail_offset(max) as u64) } else { spot })
    }

    pub(super) fn extent(&self, object: &Object, inode: &InodeRef, path: &[u16]) -> Result<Spot, LocateError> {
        let found = self.inode(inode)?;
        let (index, above) = path.split_last().ok_or_else(|| absent(object, Absent::NoExtents))?;
        let node = self.node_at(object, &found, above)?;
        node.entry((*index).into()).ok_or_else(|| no_entry(object, *index, &node))?;
        let start = node.range.start + (HEADER + usize::from(*index) * ENTRY) as u64;
        // Fields of the other kind are found too: the depth may be what is damaged.
        let kinds = match node.depth() {
            0 => [Structure::Extent, Structure::ExtentIdx],
            _ => [Structure::ExtentIdx, Structure::Extent],
        };
        let spot = Spot::plain(start..start + ENTRY as u64, node.seals);
        Ok(kinds.into_iter().fold(spot, |spot, kind| spot.with(kind, 0)))
    }

    pub(super) fn map_word(&self, object: &Object, inode: &InodeRef, path: &[u32]) -> Result<Spot, LocateError> {
        let found = self.inode(inode)?;
        if found.inode.flags().contains(InodeFlags::EXTENTS) {
            return Err(absent(object, Absent::NoIndirect));
        }
        let (root, below) = path.split_first().ok_or_else(|| absent(object, Absent::NoIndirect))?;
        let words = N_BLOCKS as u32;
        if *root >= words {
            return Err(absent(object, Absent::Entry { index: *root, count: words }));
        }
        let levels = (root + 1).saturating_sub(NDIR_BLOCKS as u32);
        if below.len() > levels as usize {
            return Err(absent(object, Absent::Level { root: *root, levels }));
        }
        let mut at = found.i_block_at() + u64::from(*root) * 4;
        let per_block = self.volume.block_size() / 4;
        for index in below {
            if *index >= per_block {
                return Err(absent(object, Absent::Entry { index: *index, count: per_block }));
            }
            let block = self.word(object, at)?.ok_or_else(|| absent(object, Absent::MapHole))?;
            at = self.block(block)?.at + u64::from(*index) * 4;
        }
        // Indirect blocks have no checksums.
        let seals = if below.is_empty() { self.inode_seal(&found) } else { None };
        let word = FieldDef { name: "map", offset: 0, kind: FieldKind::Le { width: 4, count: 1 } };
        Ok(Spot { word: Some(word), ..Spot::plain(at..at + 4, seals.into_iter().collect()) })
    }
}

fn no_entry(object: &Object, index: u16, node: &NodeAt) -> LocateError {
    absent(object, Absent::Entry { index: index.into(), count: node.entries() as u32 })
}
