//! Orphans: inodes that are unlinked but still open, or being truncated, when the file system was last written.
//!
//! They stand in a list (`s_last_orphan`, then from inode to inode in `i_dtime`), or in the orphan file, or in both.

use std::collections::HashSet;
use std::sync::Arc;

use daxkit_format::ext4::features::{Compat, RoCompat};
use daxkit_format::ext4::orphan;
use daxkit_format::{BlockNr, InodeNr};

use super::error::{Corruption, Place, VolumeError};
use super::inode::Inode;
use super::open::Volume;

impl Volume {
    /// The inodes of the orphan list, first to last.
    ///
    /// # Errors
    /// The list leads out of the table or comes back to itself, an inode cannot be read.
    pub fn orphan_list(&self) -> Result<Vec<InodeNr>, VolumeError> {
        let g = self.geometry();
        let (mut seen, mut list) = (HashSet::new(), Vec::new());
        let (mut from, mut next) = (0, u64::from(self.super_block().s_last_orphan.get()));
        while next != 0 {
            // The kernel refuses reserved inodes too (`ext4_orphan_get`).
            if next < u64::from(g.first_ino) || next > u64::from(g.inodes_count) || !seen.insert(next) {
                let place = if from == 0 { Place::SuperBlock { offset: 1024 } } else { Place::Inode(InodeNr(from)) };
                return Err(VolumeError::corrupt(place, Corruption::OrphanList { from, to: next }));
            }
            list.push(InodeNr(next));
            from = next;
            next = self.inode(InodeNr(next))?.i_dtime.get().into();
        }
        Ok(list)
    }

    /// The inodes named in the orphan file; empty without the feature, or when it says that there are none.
    ///
    /// # Errors
    /// A block of the file is missing or damaged.
    pub fn orphan_file(&self) -> Result<Vec<InodeNr>, VolumeError> {
        if !self.has_compat(Compat::ORPHAN_FILE) || !self.has_ro_compat(RoCompat::ORPHAN_PRESENT) {
            return Ok(Vec::new());
        }
        let inode = self.inode(InodeNr(self.super_block().s_orphan_file_inum.get().into()))?;
        let mut found = Vec::new();
        for run in self.extents(&inode) {
            let run = run?;
            for step in (0..run.len).filter(|_| run.written) {
                let block = BlockNr(run.physical.get().saturating_add(step));
                let bytes = self.orphan_block(&inode, block)?;
                let entries = orphan::entries_per_block(self.block_size()) as usize;
                let (words, _) = bytes.as_chunks::<4>();
                let numbers = words.iter().take(entries).map(|w| u32::from_le_bytes(*w));
                found.extend(numbers.filter(|n| *n != 0).map(|n| InodeNr(n.into())));
            }
        }
        Ok(found)
    }

    /// A block of the orphan file, which must have the tail of one.
    pub(crate) fn orphan_block(&self, file: &Inode, block: BlockNr) -> Result<Arc<[u8]>, VolumeError> {
        let place = Place::InodeBlock { inode: file.nr(), block, offset: 0 };
        let bytes = self.block(place, block)?;
        let sound = match self.inode_verify_seed(file) {
            Some(seed) => orphan::verify_block(seed, block.get(), &bytes),
            None => orphan::tail(&bytes).is_some_and(|t| t.ob_magic.get() == orphan::MAGIC),
        };
        if sound { Ok(bytes) } else { Err(VolumeError::corrupt(place, Corruption::OrphanBlock)) }
    }

    /// All orphans: those of the list, then those of the file.
    ///
    /// # Errors
    /// As [`Volume::orphan_list`] and [`Volume::orphan_file`].
    pub fn orphans(&self) -> Result<Vec<InodeNr>, VolumeError> {
        let mut all = self.orphan_list()?;
        all.extend(self.orphan_file()?);
        Ok(all)
    }
}
