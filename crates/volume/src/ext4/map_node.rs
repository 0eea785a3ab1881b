//! One node of an extent tree: checked, which a walk over a map and a change of one both begin with; and written.
//!
//! The checks are those of `__ext4_ext_check` (Linux 6.12), but for an index that names an earlier block than its node begins
//! with, which harms nobody.

use std::ops::Range;
use std::sync::Arc;

use daxkit_format::ext4::extent::{self, Extent, ExtentHeader, ExtentIdx, Node};
use daxkit_format::{BlockNr, InodeNr, OnDisk};
use zerocopy::IntoBytes;

use super::error::{Corruption, Place, VolumeError};
use super::map::Mapping;
use super::open::Volume;

/// Bytes of a header, and of an entry.
pub(crate) const ENTRY: usize = 12;

/// An entry of a node, leaf or index.
pub(crate) type Entry = [u8; ENTRY];

/// A node whose entries come in order, without overlap, inside of what the node may map and of the file system.
#[derive(Debug, Clone)]
pub(crate) struct CheckedNode {
    /// 0 for a leaf.
    pub(crate) depth: u16,
    /// `eh_max`.
    pub(crate) max: u16,
    /// What the node maps. In an index node `physical` is the node below that begins with `logical`, and `len` means nothing.
    pub(crate) entries: Vec<Mapping>,
}

impl Volume {
    pub(crate) fn check_blocks(&self, place: Place, first: u64, len: u64) -> Result<(), VolumeError> {
        let g = self.geometry();
        if g.has_blocks(first, len) {
            return Ok(());
        }
        let last = first.saturating_add(len).saturating_sub(1);
        Err(VolumeError::corrupt(place, Corruption::BlockRange { first, last, limit: g.blocks_count }))
    }

    /// The block of a node below the root, its checksum verified with `seed`; and its place for messages.
    pub(crate) fn node_block(
        &self,
        inode: InodeNr,
        seed: Option<u32>,
        block: BlockNr,
    ) -> Result<(Place, Arc<[u8]>), VolumeError> {
        let place = Place::InodeBlock { inode, block, offset: 0 };
        let bytes = self.block(place, block)?;
        if seed.is_some_and(|seed| !extent::verify_block(seed, &bytes)) {
            return Err(VolumeError::corrupt(place, Corruption::Checksum));
        }
        Ok((place, bytes))
    }

    /// Checks a node, which may map the blocks of the file in `range`. `depth` is what its parent promises; `None` for a root.
    pub(crate) fn check_node(
        &self,
        place: Place,
        bytes: &[u8],
        depth: Option<u16>,
        range: Range<u64>,
    ) -> Result<CheckedNode, VolumeError> {
        let bad = |why: Corruption| VolumeError::corrupt(place, why);
        let node = Node::parse(bytes, depth).map_err(|e| bad(e.into()))?;
        let entries = Vec::with_capacity(node.header().eh_entries.get().into());
        let mut checked = CheckedNode { depth: node.depth(), max: node.header().eh_max.get(), entries };
        let mut expected = range.start;
        let mut add = |entry: Mapping| {
            if entry.len == 0 {
                return Err(bad(Corruption::EmptyExtent { logical: entry.logical }));
            }
            if entry.logical < expected {
                return Err(bad(Corruption::ExtentOrder { logical: entry.logical, expected }));
            }
            expected = entry.end();
            if expected > range.end {
                let (logical, end) = (entry.logical, entry.end());
                return Err(bad(Corruption::ExtentBeyond { logical, end, limit: range.end }));
            }
            self.check_blocks(place, entry.physical.get(), entry.len)?;
            checked.entries.push(entry);
            Ok(())
        };
        if node.depth() == 0 {
            for e in node.extents() {
                let (logical, physical) = (e.ee_block.get().into(), BlockNr(e.start()));
                add(Mapping { logical, physical, len: e.len().into(), written: e.is_written() })?;
            }
            return Ok(checked);
        }
        if node.indexes().is_empty() {
            return Err(bad(Corruption::EmptyIndex));
        }
        for e in node.indexes() {
            add(Mapping::index(e.ei_block.get().into(), BlockNr(e.leaf())))?;
        }
        Ok(checked)
    }
}

impl Mapping {
    /// An entry of an index node.
    pub(crate) fn index(logical: u64, node: BlockNr) -> Self {
        Self { logical, physical: node, len: 1, written: true }
    }
}

/// Writes a node with these entries and room for `max` into bytes that are zero. The entries must come from a checked node or from
/// [`map_runs`](super::map_runs), so that their numbers fit.
pub(crate) fn fill_node(bytes: &mut [u8], max: u16, depth: u16, entries: &[Mapping]) {
    if let Some(head) = ExtentHeader::peek_mut(bytes) {
        head.eh_magic.set(extent::MAGIC);
        head.eh_entries.set(u16::try_from(entries.len()).unwrap_or(0));
        head.eh_max.set(max);
        head.eh_depth.set(depth);
    }
    for (place, e) in bytes.as_chunks_mut::<ENTRY>().0.iter_mut().skip(1).zip(entries) {
        *place = if depth == 0 { leaf_entry(e) } else { index_entry(e.logical as u32, e.physical) };
    }
}

/// A leaf entry; its numbers must fit.
pub(crate) fn leaf_entry(run: &Mapping) -> Entry {
    bytes_of(Extent::new(run.logical as u32, run.physical.get(), run.len as u16, run.written).as_bytes())
}

/// An index entry.
pub(crate) fn index_entry(key: u32, child: BlockNr) -> Entry {
    bytes_of(ExtentIdx::new(key, child.get()).as_bytes())
}

fn bytes_of(from: &[u8]) -> Entry {
    let mut entry = [0; ENTRY];
    entry.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    entry
}
