//! Inodes, by number or by path, and the checksums that depend on one.

use std::mem::offset_of;
use std::ops::Range;

use daxkit_format::InodeNr;
use daxkit_format::ext4::features::Compat;
use daxkit_format::ext4::inode::Inode as DiskInode;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::field::{InodeRef, Object, Structure};

use super::super::error::{Corruption, Place as At, VolumeError};
use super::super::inode::Inode;
use super::super::map::MapItem;
use super::super::seal::{Block, InodeSeed, Kind, Seal};
use super::finder::{Finder, absent};
use super::{Absent, LocateError, Located, Spot};

/// Most blocks whose checksums are looked for because of one inode's generation.
const MAX_DEPENDENTS: usize = 1 << 20;

/// An inode and where it lies.
pub(super) struct Found {
    pub(super) inode: Inode,
    /// Byte of the device.
    pub(super) at: u64,
}

impl Found {
    pub(super) fn ino(&self) -> u32 {
        u32::try_from(self.inode.nr().get()).unwrap_or(u32::MAX)
    }

    pub(super) fn range(&self) -> Range<u64> {
        self.at..self.at.saturating_add(self.inode.raw().len() as u64)
    }

    /// Byte of the device at which `i_block` begins.
    pub(super) fn i_block_at(&self) -> u64 {
        self.at.saturating_add(offset_of!(DiskInode, i_block) as u64)
    }

    pub(super) fn generation(&self) -> Range<u64> {
        let at = self.at.saturating_add(offset_of!(DiskInode, i_generation) as u64);
        at..at.saturating_add(4)
    }
}

impl Finder<'_> {
    pub(super) fn whole_inode(&self, inode: &InodeRef) -> Result<Spot, LocateError> {
        let found = self.inode(inode)?;
        let seals = self.inode_seal(&found).into_iter().collect();
        Ok(Spot::one(Structure::Inode, found.range(), seals))
    }

    pub(super) fn inode(&self, inode: &InodeRef) -> Result<Found, LocateError> {
        match inode {
            InodeRef::Number(nr) => self.inode_by_number(*nr),
            InodeRef::Path(path) if path.first() != Some(&b'/') => {
                Err(absent(&Object::Inode(inode.clone()), Absent::Relative))
            }
            // The last name is meant itself, even when it is a symbolic link.
            InodeRef::Path(path) => self.inode_by_number(self.lenient()?.resolve(path, false)?.nr().get()),
        }
    }

    pub(super) fn inode_by_number(&self, nr: u64) -> Result<Found, LocateError> {
        let g = self.volume.geometry();
        let count = g.inodes_count.into();
        let (group, index) =
            g.group_of_inode(InodeNr(nr)).ok_or(VolumeError::NoSuchInode { inode: InodeNr(nr), count })?;
        let table = self.desc(group.get())?.1.inode_table();
        let blocks = u64::from(g.inode_table_blocks);
        if !g.has_blocks(table, blocks) {
            let last = table.saturating_add(blocks).saturating_sub(1);
            let why = Corruption::BlockRange { first: table, last, limit: g.blocks_count };
            return Err(VolumeError::corrupt(At::Group(group), why).into());
        }
        let byte = (table << g.block_shift()) + u64::from(index) * u64::from(g.inode_size);
        let at = self.device_byte(byte);
        let object = Object::Inode(InodeRef::Number(nr));
        let raw = self.read(&object, at..at.saturating_add(g.inode_size.into()))?;
        Ok(Found { inode: self.volume.decode_inode(InodeNr(nr), raw), at })
    }

    pub(super) fn inode_seal(&self, found: &Found) -> Option<Seal> {
        let len = self.volume.geometry().inode_size;
        Some(Seal(Kind::Inode { at: found.at, len, ino: found.ino(), fs: self.seed? }))
    }

    /// The seed of the checksums of an inode's blocks.
    pub(super) fn inode_seed(&self, found: &Found) -> Option<InodeSeed> {
        Some(InodeSeed { fs: self.seed?, ino: found.ino(), generation_at: found.generation().start })
    }

    /// Adds the checksums of an inode's blocks where the place names its generation.
    pub(super) fn seals_by_generation(&self, object: &Object, located: &mut Located) -> Result<(), LocateError> {
        if self.seed.is_none() {
            return Ok(());
        }
        let inodes = match object {
            Object::Inode(inode) => vec![self.inode(inode)?],
            Object::Block(_) => self.inodes_of(&located.seals)?,
            _ => return Ok(()),
        };
        for found in inodes {
            let generation = found.generation();
            if generation.start < located.named.end && located.named.start < generation.end {
                let more = self.block_seals(object, &found)?;
                located.seals.extend(more);
            }
        }
        Ok(())
    }

    /// The checksums of all blocks of an inode that are computed from its generation: nodes of its extent tree, blocks of
    /// a directory, blocks of the orphan file. A damaged map is followed as far as it leads.
    fn block_seals(&self, object: &Object, found: &Found) -> Result<Vec<Seal>, LocateError> {
        let inode = &found.inode;
        let extents = inode.flags().contains(InodeFlags::EXTENTS);
        let content = inode.is_dir() || self.is_orphan_file(found.ino());
        let (mut seals, mut seen) = (Vec::new(), 0);
        let mut count = || {
            seen += 1;
            let limit = MAX_DEPENDENTS;
            if seen > limit { Err(absent(object, Absent::TooMany { limit })) } else { Ok(()) }
        };
        for item in self.lenient()?.map_walk(inode).map_while(Result::ok) {
            match item {
                MapItem::Node { block, .. } if extents => {
                    count()?;
                    seals.extend(self.extents_seal(found, self.block(block.get())?));
                }
                MapItem::Run(run) if content && run.written => {
                    for step in 0..run.len {
                        count()?;
                        let block = self.block(run.physical.get().saturating_add(step))?;
                        seals.extend(self.content_seals(object, found, block, run.logical.saturating_add(step))?);
                    }
                }
                _ => {}
            }
        }
        Ok(seals)
    }

    /// The checksums over a block of an inode's content, if it is one that has any.
    pub(super) fn content_seals(
        &self,
        object: &Object,
        found: &Found,
        block: Block,
        logical: u64,
    ) -> Result<Vec<Seal>, LocateError> {
        if self.is_journal(found.ino()) {
            return self.log_seals(object, found, block, logical);
        }
        let Some(seed) = self.inode_seed(found) else { return Ok(Vec::new()) };
        if self.is_orphan_file(found.ino()) {
            return Ok(vec![Seal(Kind::Orphans { block, seed })]);
        }
        if !found.inode.is_dir() {
            return Ok(Vec::new());
        }
        let bytes = self.read(object, block.range())?;
        Ok(self.dir_seal(found, block, &bytes, logical).into_iter().collect())
    }

    pub(super) fn extents_seal(&self, found: &Found, block: Block) -> Option<Seal> {
        Some(Seal(Kind::Extents { block, seed: self.inode_seed(found)? }))
    }

    pub(super) fn is_orphan_file(&self, ino: u32) -> bool {
        self.volume.has_compat(Compat::ORPHAN_FILE) && self.volume.super_block().s_orphan_file_inum.get() == ino
    }

    pub(super) fn is_journal(&self, ino: u32) -> bool {
        self.volume.has_compat(Compat::HAS_JOURNAL) && self.volume.super_block().s_journal_inum.get() == ino
    }
}
