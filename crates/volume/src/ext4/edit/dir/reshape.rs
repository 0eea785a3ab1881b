//! Directories that get an index, lose it, or grow although nothing asks for room.

use daxkit_format::OnDisk;
use daxkit_format::dax::Errno;
use daxkit_format::ext4::dir_entry::entry_len;
use daxkit_format::ext4::dx::{self, DxRoot};
use daxkit_format::ext4::hash::DirHash;
use daxkit_format::ext4::inode_flags::InodeFlags;

use super::super::super::error::Corruption;
use super::super::super::htree::Frame;
use super::super::super::inode::Inode;
use super::super::{EditError, Editor};
use super::index::MOST_SPLITS;
use super::linear::bad_block;

/// The highest hash that a name can have.
const LAST_HASH: u32 = 0xffff_fffc;

impl Editor<'_> {
    /// Makes a hashed directory of one with a single block. False when that cannot be: names are hashed in a way that is not
    /// known, or the block does not begin as one must.
    pub(super) fn make_indexed(&mut self, dir: &mut Inode) -> Result<bool, EditError> {
        let version = self.super_block().s_def_hash_version;
        if self.name_hash(dir, version, b"any").is_none() {
            return Ok(false);
        }
        let (block, bytes) = self.htree_node(dir, 0)?;
        let area = self.dir_area();
        let style = self.entry_style();
        let mut entries = Vec::new();
        for entry in style.entries(bytes.get(..area).unwrap_or_default()) {
            entries.push(entry.map_err(|e| bad_block(dir, block, e))?);
        }
        let [dot, dotdot, rest @ ..] = entries.as_slice() else { return Ok(false) };
        if dot.name != b"." || dotdot.name != b".." || dotdot.offset != entry_len(1) {
            return Ok(false);
        }
        // The names move as they lie.
        let Some(first) = rest.first().map(|e| e.offset) else { return Ok(false) };
        let (logical, leaf_block, mut leaf) = self.append_unwritten(dir)?;
        let moved = bytes.get(first..area).unwrap_or_default();
        if let Some(into) = leaf.get_mut(..moved.len()) {
            into.copy_from_slice(moved);
        }
        style
            .stretch(leaf.get_mut(..area).unwrap_or_default(), moved.len())
            .map_err(|e| bad_block(dir, leaf_block, e))?;
        self.write_leaf(dir, leaf_block, &mut leaf)?;

        let mut root = vec![0; bytes.len()];
        let whole = root.len();
        style.dots(root.get_mut(..whole).unwrap_or_default(), dot.inode, dotdot.inode);
        if let Some(info) = DxRoot::peek_mut(&mut root) {
            info.dot_file_type = dot.file_type;
            info.dotdot_file_type = dotdot.file_type;
            info.hash_version = version;
            info.info_length = 8;
        }
        dx::write_entries(&mut root, dx::ROOT_ENTRIES, self.super_block().has_metadata_csum(), &[(0, logical)]);
        self.write_index(dir, block, dx::ROOT_ENTRIES, &mut root)?;
        self.modify(dir, |d| d.set_flags(d.flags() | InodeFlags::INDEX));
        self.store_inode(dir)?;
        if let Some(frame) = self.way_to_end(dir)?.last_mut() {
            self.split_leaf(dir, frame, (leaf_block, &leaf))?;
        }
        Ok(true)
    }

    /// Appends a leaf without names behind the last one.
    pub(super) fn append_leaf(&mut self, dir: &mut Inode) -> Result<(), EditError> {
        for _ in 0..MOST_SPLITS {
            let mut frames = self.way_to_end(dir)?;
            if !self.make_room(dir, &mut frames)? {
                continue;
            }
            let Some(frame) = frames.last_mut() else { break };
            let (block, bytes) = self.htree_node(dir, frame.block())?;
            let version = self.hash_version(dir)?;
            let names = self.hashed_names(dir, block, &bytes, version)?;
            let begins = frame.entries.get(frame.at).map_or(0, |(hash, _)| *hash);
            let hash = names.iter().map(|(hash, _)| *hash).max().unwrap_or(begins & !1);
            if hash >= LAST_HASH {
                return Err(EditError::refused(dir.nr(), Errno::ENOSPC, "no hash is left for another block"));
            }
            let (logical, new_block, mut new_bytes) = self.append_unwritten(dir)?;
            self.write_leaf(dir, new_block, &mut new_bytes)?;
            frame.entries.insert(frame.at + 1, (hash + 2, logical));
            return self.write_frame(dir, frame, |_| {});
        }
        Err(EditError::damaged(dir.nr(), Corruption::HtreeEndless))
    }

    /// The way down to the last leaf.
    fn way_to_end(&self, dir: &Inode) -> Result<Vec<Frame>, EditError> {
        let last = DirHash { hash: u32::MAX, minor_hash: 0 };
        // Any name tells whether hashes can be made.
        match self.htree_way(dir, |version| self.name_hash(dir, version, b"any").map(|_| last))? {
            Some((_, frames)) => Ok(frames),
            None => Err(self.unusable(dir)?),
        }
    }

    /// Makes a directory without an index of one that has one: index blocks become blocks without names.
    pub(super) fn give_up_index(&mut self, dir: &mut Inode) -> Result<(), EditError> {
        let blocks = dir.size() >> self.geometry().block_shift();
        for logical in 0..blocks {
            if let Some((block, bytes)) = self.dir_block(dir, logical)?
                && let Some(mut plain) = self.without_index(dir, logical, &bytes)?
            {
                self.write_leaf(dir, block, &mut plain)?;
            }
        }
        self.modify(dir, |d| d.set_flags(d.flags() - InodeFlags::INDEX));
        self.store_inode(dir)
    }
}
