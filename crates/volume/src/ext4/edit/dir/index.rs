//! Hashed directories: making the index, splitting leaves and index blocks, adding levels (`ext4_dx_add_entry`, `do_split`,
//! `make_indexed_dir`, Linux 6.12).
//!
//! Names that share a hash may lie in several leaves; the index entries of all but the first have bit 0 of the hash set.

use daxkit_format::BlockNr;
use daxkit_format::OnDisk;
use daxkit_format::dax::Errno;
use daxkit_format::ext4::dir_block::NewEntry;
use daxkit_format::ext4::dir_entry::Entry;
use daxkit_format::ext4::dx::{self, DxRoot};
use daxkit_format::ext4::hash::{DirHash, HashVersion};

use super::super::super::error::{Corruption, Place, VolumeError};
use super::super::super::htree::Frame;
use super::super::super::inode::Inode;
use super::super::{EditError, Editor};
use super::linear::bad_block;

/// Splits that one name can ask for: of every level of the index and of the leaf, each perhaps twice.
pub(super) const MOST_SPLITS: usize = 16;

impl Editor<'_> {
    /// Adds an entry to the leaf of its hash.
    pub(super) fn add_indexed(&mut self, dir: &mut Inode, new: &NewEntry<'_>) -> Result<(), EditError> {
        for _ in 0..MOST_SPLITS {
            let mut frames = self.way_to(dir, new.name)?;
            let Some(leaf) = frames.last().map(Frame::block) else { break };
            let (block, bytes) = self.htree_node(dir, leaf)?;
            if self.add_to_block(dir, block, &bytes, new)? {
                return Ok(());
            }
            if self.make_room(dir, &mut frames)?
                && let Some(frame) = frames.last_mut()
            {
                self.split_leaf(dir, frame, (block, &bytes))?;
            }
        }
        Err(EditError::damaged(dir.nr(), Corruption::HtreeEndless))
    }

    /// The way down to a name, of a directory whose index must be usable.
    fn way_to(&self, dir: &Inode, name: &[u8]) -> Result<Vec<Frame>, EditError> {
        match self.htree_probe(dir, name)? {
            Some((_, frames)) => Ok(frames),
            None => Err(self.unusable(dir)?),
        }
    }

    /// Why an index cannot be used.
    pub(super) fn unusable(&self, dir: &Inode) -> Result<EditError, EditError> {
        let root = self.dir_block(dir, 0)?;
        let version = root.and_then(|(_, bytes)| DxRoot::peek(&bytes).map(|r| r.hash_version));
        if version == Some(HashVersion::SipHash as u8) {
            return Ok(EditError::refused(dir.nr(), Errno::ENOKEY, "the directory's index needs its key"));
        }
        Ok(EditError::damaged(dir.nr(), dx::DxError::RootInfo))
    }

    /// Sees to it that the last index block of the way has room for one entry more. False when that changed the index, so
    /// that the way has to be looked for anew.
    pub(super) fn make_room(&mut self, dir: &mut Inode, frames: &mut [Frame]) -> Result<bool, EditError> {
        let full = |f: &Frame| f.entries.len() >= f.limit;
        match frames.iter().rposition(|f| !full(f)) {
            Some(level) if level + 1 == frames.len() => Ok(true),
            Some(level) => {
                if let Some([above, node, ..]) = frames.get_mut(level..) {
                    self.split_node(dir, above, node)?;
                }
                Ok(false)
            }
            None => {
                if frames.len() > usize::from(self.htree_levels()) {
                    return Err(EditError::refused(dir.nr(), Errno::ENOSPC, "the directory's index is full"));
                }
                let levels = u8::try_from(frames.len()).unwrap_or(u8::MAX);
                if let Some(root) = frames.first_mut() {
                    self.add_level(dir, root, levels)?;
                }
                Ok(false)
            }
        }
    }

    /// Moves the upper half of an index block into a new one.
    fn split_node(&mut self, dir: &mut Inode, above: &mut Frame, node: &mut Frame) -> Result<(), EditError> {
        let upper = node.entries.split_off(node.entries.len() / 2);
        let hash = upper.first().map_or(0, |(hash, _)| *hash);
        let logical = self.append_node(dir, &upper)?;
        self.write_frame(dir, node, |_| {})?;
        above.entries.insert(above.at + 1, (hash, logical));
        self.write_frame(dir, above, |_| {})
    }

    /// Moves all entries of the root into a new block below it.
    fn add_level(&mut self, dir: &mut Inode, root: &mut Frame, levels: u8) -> Result<(), EditError> {
        let all = std::mem::take(&mut root.entries);
        let logical = self.append_node(dir, &all)?;
        root.entries.push((0, logical));
        self.write_frame(dir, root, |bytes| {
            if let Some(root) = DxRoot::peek_mut(bytes) {
                root.indirect_levels = levels;
            }
        })
    }

    /// Appends an index block.
    fn append_node(&mut self, dir: &mut Inode, entries: &[(u32, u32)]) -> Result<u32, EditError> {
        let (logical, block, mut bytes) = self.append_unwritten(dir)?;
        let whole = bytes.len();
        bytes.fill(0);
        self.entry_style().set_rec_len(&mut bytes, 0, whole);
        dx::write_entries(&mut bytes, dx::NODE_ENTRIES, self.super_block().has_metadata_csum(), entries);
        self.write_index(dir, block, dx::NODE_ENTRIES, &mut bytes)?;
        Ok(logical)
    }

    /// Writes the entries of an index block.
    pub(super) fn write_frame(
        &mut self,
        dir: &Inode,
        frame: &Frame,
        change: impl FnOnce(&mut [u8]),
    ) -> Result<(), EditError> {
        let mut bytes = self.read_block(frame.place)?;
        change(&mut bytes);
        dx::write_entries(&mut bytes, frame.offset, self.super_block().has_metadata_csum(), &frame.entries);
        self.write_index(dir, frame.place, frame.offset, &mut bytes)
    }

    /// Writes an index block, sealed.
    pub(super) fn write_index(
        &mut self,
        dir: &Inode,
        block: BlockNr,
        offset: usize,
        bytes: &mut [u8],
    ) -> Result<(), EditError> {
        if let Some(seed) = self.inode_seal_seed(dir) {
            dx::seal_block(seed, bytes, offset);
        }
        self.write_block(block, bytes)
    }

    /// Moves the upper half of a leaf's names, by hash, into a new leaf.
    pub(super) fn split_leaf(
        &mut self,
        dir: &mut Inode,
        frame: &mut Frame,
        leaf: (BlockNr, &[u8]),
    ) -> Result<(), EditError> {
        let (block, bytes) = leaf;
        let version = self.hash_version(dir)?;
        let mut names = self.hashed_names(dir, block, bytes, version)?;
        if names.len() < 2 {
            // So few names leave room in any block that they fill from end to end.
            return Err(EditError::damaged(dir.nr(), Corruption::HtreeEndless));
        }
        names.sort_by_key(|(hash, e)| (*hash, e.offset));
        let upper = names.split_off(split_point(&names, bytes.len()));
        let hash = upper.first().map_or(0, |(hash, _)| *hash);
        let continued = names.last().is_some_and(|(last, _)| *last == hash);

        let (logical, new_block, mut new_bytes) = self.append_unwritten(dir)?;
        let area = self.dir_area();
        let style = self.entry_style();
        // What stays keeps its order.
        names.sort_by_key(|(_, e)| e.offset);
        let mut old_bytes = vec![0; bytes.len()];
        style.fill(old_bytes.get_mut(..area).unwrap_or_default(), names.iter().map(|(_, e)| *e));
        style.fill(new_bytes.get_mut(..area).unwrap_or_default(), upper.iter().map(|(_, e)| *e));
        self.write_leaf(dir, block, &mut old_bytes)?;
        self.write_leaf(dir, new_block, &mut new_bytes)?;
        frame.entries.insert(frame.at + 1, (hash | u32::from(continued), logical));
        self.write_frame(dir, frame, |_| {})
    }

    pub(super) fn hash_version(&self, dir: &Inode) -> Result<u8, EditError> {
        let root = self.htree_node(dir, 0)?.1;
        DxRoot::peek(&root).map(|r| r.hash_version).ok_or_else(|| EditError::damaged(dir.nr(), dx::DxError::Short))
    }

    /// The names of a leaf with their hashes.
    pub(super) fn hashed_names<'b>(
        &self,
        dir: &Inode,
        block: BlockNr,
        bytes: &'b [u8],
        version: u8,
    ) -> Result<Vec<(u32, Entry<'b>)>, EditError> {
        let mut names = Vec::new();
        for entry in self.entry_style().entries(bytes.get(..self.dir_area()).unwrap_or_default()) {
            let e = entry.map_err(|e| bad_block(dir, block, e))?;
            if e.inode == 0 {
                continue;
            }
            let hash = self.name_hash(dir, version, e.name).filter(|_| !e.name.is_empty());
            let Some(DirHash { hash, .. }) = hash else {
                let offset = u32::try_from(e.offset).unwrap_or(u32::MAX);
                let place = Place::InodeBlock { inode: dir.nr(), block, offset };
                return Err(VolumeError::corrupt(place, Corruption::DirName { offset }).into());
            };
            names.push((hash, e));
        }
        Ok(names)
    }
}

/// How many of the names, sorted by hash, stay: so many that neither part is much more than half full, or half of them when
/// all take less than half of the block. What counts are whole records, with the room behind each name.
fn split_point(names: &[(u32, Entry<'_>)], block_len: usize) -> usize {
    let mut size = 0;
    for (i, (_, e)) in names.iter().enumerate().rev() {
        let len = e.rec_len as usize;
        if size + len / 2 > block_len / 2 {
            return (i + 1).clamp(1, names.len().saturating_sub(1).max(1));
        }
        size += len;
    }
    names.len() / 2
}
