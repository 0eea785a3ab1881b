//! Blocks of files, each found by the one path through the map that leads to it.

use daxkit_format::OnDisk;
use daxkit_format::ext4::extent::{Extent, ExtentIdx, MAX_DEPTH};
use daxkit_format::ext4::indirect;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::field::{InodeRef, Object};

use super::super::seal::Block;
use super::finder::{Finder, absent};
use super::inode::Found;
use super::{Absent, LocateError, Spot};

impl Finder<'_> {
    pub(super) fn file_block(&self, object: &Object, inode: &InodeRef, logical: u64) -> Result<Spot, LocateError> {
        let found = self.inode(inode)?;
        let block = self.mapped(object, &found, logical)?;
        let seals = self.content_seals(object, &found, block, logical)?;
        Ok(Spot::plain(block.range(), seals))
    }

    /// Where block `logical` of a file lies, written or not.
    pub(super) fn mapped(&self, object: &Object, found: &Found, logical: u64) -> Result<Block, LocateError> {
        if !self.volume.has_map(&found.inode) {
            return Err(absent(object, Absent::NoBlocks));
        }
        let block = if found.inode.flags().contains(InodeFlags::EXTENTS) {
            self.by_extents(object, found, logical)?
        } else {
            self.by_words(object, found, logical)?
        };
        self.block(block.ok_or_else(|| absent(object, Absent::Hole { logical }))?)
    }

    fn by_extents(&self, object: &Object, found: &Found, logical: u64) -> Result<Option<u64>, LocateError> {
        let mut node = self.root_node(object, found)?;
        for _ in 0..=MAX_DEPTH {
            let entries: Vec<&[u8]> = (0..node.entries()).filter_map(|i| node.entry(i)).collect();
            if node.depth() == 0 {
                let mut extents = entries.into_iter().filter_map(Extent::peek);
                return Ok(extents.find_map(|e| {
                    let inside = logical.checked_sub(e.ee_block.get().into())?;
                    (inside < u64::from(e.len())).then(|| e.start().checked_add(inside)).flatten()
                }));
            }
            // The last that does not begin behind the block, whatever their order.
            let indexes = entries
                .into_iter()
                .filter(|e| ExtentIdx::peek(e).is_some_and(|i| u64::from(i.ei_block.get()) <= logical));
            let next = indexes.max_by_key(|e| ExtentIdx::peek(e).map_or(0, |i| i.ei_block.get()));
            let Some(entry) = next else { return Ok(None) };
            node = self.child(object, found, entry)?;
        }
        Ok(None)
    }

    fn by_words(&self, object: &Object, found: &Found, logical: u64) -> Result<Option<u64>, LocateError> {
        let Some(path) = indirect::path(logical, self.volume.block_size() / 4) else { return Ok(None) };
        let below = path.entries.iter().take(path.depth.into()).map(|index| u64::from(*index));
        let mut at = found.i_block_at() + u64::from(path.root) * 4;
        for index in below {
            let Some(block) = self.word(object, at)? else { return Ok(None) };
            at = self.block(block)?.at + index * 4;
        }
        self.word(object, at)
    }

    /// A block number at a byte of the device; `None` for 0.
    pub(super) fn word(&self, object: &Object, at: u64) -> Result<Option<u64>, LocateError> {
        let bytes = self.read(object, at..at.saturating_add(4))?;
        let word = bytes.as_slice().try_into().map_or(0, u32::from_le_bytes);
        Ok((word != 0).then_some(word.into()))
    }
}
