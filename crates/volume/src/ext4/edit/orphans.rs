//! Orphans: inodes that are in use although no name leads to them. A mount frees those that it finds.
//!
//! They stand in the orphan file where there is one with room, else in the list that begins in the superblock and goes on in
//! `i_dtime` (`ext4_orphan_add`, `ext4_orphan_del`, Linux 6.12).

use daxkit_format::ext4::features::{Compat, RoCompat};
use daxkit_format::ext4::orphan;
use daxkit_format::{BlockNr, InodeNr};

use super::super::inode::Inode;
use super::super::map::Mapping;
use super::dir::entry_number;
use super::{EditError, Editor};

impl Editor<'_> {
    /// Puts an inode among the orphans.
    ///
    /// # Errors
    /// The orphan file is damaged, or the number cannot be one.
    pub fn orphan_add(&mut self, inode: &mut Inode) -> Result<(), EditError> {
        let nr = entry_number(inode.nr())?;
        if self.has_compat(Compat::ORPHAN_FILE) && self.change_orphan_file(0, nr)? {
            return self.store_inode(inode);
        }
        let next = self.super_block().s_last_orphan.get();
        self.modify(inode, |d| d.i_dtime.set(next));
        self.store_inode(inode)?;
        self.change_super_block(|sb| sb.s_last_orphan.set(nr))
    }

    /// Takes an inode out from among the orphans.
    ///
    /// # Errors
    /// It is none; the list or the file is damaged.
    pub fn orphan_del(&mut self, inode: &mut Inode) -> Result<(), EditError> {
        if !self.orphan_del_if_there(inode)? {
            return Err(EditError::InodeState { inode: inode.nr(), used: false });
        }
        self.modify(inode, |d| d.i_dtime.set(0));
        self.store_inode(inode)
    }

    /// Takes an inode's number out of the file or the list; false when it is in neither. The inode stays as it is.
    pub(super) fn orphan_del_if_there(&mut self, inode: &Inode) -> Result<bool, EditError> {
        let nr = entry_number(inode.nr())?;
        if self.has_compat(Compat::ORPHAN_FILE)
            && self.has_ro_compat(RoCompat::ORPHAN_PRESENT)
            && self.change_orphan_file(nr, 0)?
        {
            return Ok(true);
        }
        let list = self.orphan_list()?;
        let Some(at) = list.iter().position(|n| *n == inode.nr()) else { return Ok(false) };
        let next = inode.i_dtime.get();
        match at.checked_sub(1).and_then(|before| list.get(before)) {
            Some(before) => {
                self.change_inode(*before, |d| d.i_dtime.set(next))?;
            }
            None => self.change_super_block(|sb| sb.s_last_orphan.set(next))?,
        }
        Ok(true)
    }

    /// Changes the first word of the orphan file that is `from` into `to`; false when none is.
    fn change_orphan_file(&mut self, from: u32, to: u32) -> Result<bool, EditError> {
        let file = self.inode(InodeNr(self.super_block().s_orphan_file_inum.get().into()))?;
        let seed = self.inode_seal_seed(&file);
        let entries = orphan::entries_per_block(self.block_size()) as usize;
        let runs: Vec<Mapping> = self.extents(&file).collect::<Result<_, _>>()?;
        let mut found = false;
        let mut others = false;
        for run in runs.iter().filter(|run| run.written) {
            for step in 0..run.len {
                let block = BlockNr(run.physical.get().saturating_add(step));
                let mut bytes = self.orphan_block(&file, block)?.to_vec();
                let (words, _) = bytes.as_chunks_mut::<4>();
                let words = words.get_mut(..entries).unwrap_or_default();
                let place = if found { None } else { words.iter_mut().find(|w| u32::from_le_bytes(**w) == from) };
                let here = place.is_some();
                if let Some(word) = place {
                    *word = to.to_le_bytes();
                }
                others |= words.iter().any(|w| *w != [0; 4]);
                if here {
                    orphan::seal_block(seed, block.get(), &mut bytes);
                    self.write_block(block, &bytes)?;
                    found = true;
                }
                if found && others {
                    break;
                }
            }
        }
        if found && others != self.has_ro_compat(RoCompat::ORPHAN_PRESENT) {
            self.change_super_block(|sb| {
                let mut features = sb.ro_compat();
                features.set(RoCompat::ORPHAN_PRESENT, others);
                sb.s_feature_ro_compat.set(features.bits());
            })?;
        }
        Ok(found)
    }
}
