//! Directories built anew from their names: as many blocks as the names need, with an index where they need more than one.

use daxkit_format::BlockNr;
use daxkit_format::dax::Errno;
use daxkit_format::ext4::dir_tree::{DirFormat, Item, Shape};
use daxkit_format::ext4::features::{Compat, Incompat};
use daxkit_format::ext4::hash::HashVersion;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::super_block::SuperFlags;

use super::super::super::dir::DirEntry;
use super::super::super::error::{Corruption, Place, VolumeError};
use super::super::super::inode::Inode;
use super::super::super::map::Segment;
use super::super::map::Gone;
use super::super::{EditError, Editor};
use super::entry_number;

impl Editor<'_> {
    /// Builds a directory anew: names in the order of their hashes below an index, or, where one block holds them or the file system
    /// has no indexes, in the order of their inodes. Blocks that are not needed any more are given back. Returns whether anything
    /// was otherwise.
    ///
    /// # Errors
    /// The directory is damaged; its names are hashed with a key; no space.
    pub fn rebuild_dir(&mut self, dir: &mut Inode) -> Result<bool, EditError> {
        if !dir.is_dir() {
            return Err(VolumeError::NotADirectory { inode: dir.nr() }.into());
        }
        if dir.has_inline_data() {
            return Ok(false);
        }
        if dir.is_encrypted() && dir.flags().contains(InodeFlags::CASEFOLD) {
            return Err(EditError::refused(dir.nr(), Errno::ENOKEY, "the directory's index needs its key"));
        }
        let parent = entry_number(self.parent(dir)?)?;
        let mut names = Vec::new();
        for entry in self.read_dir(dir)? {
            names.push(entry?);
        }
        names.retain(|entry| !entry.is_dot());
        let format = self.dir_format(dir);
        let (bytes, indexed) = self.built(dir, parent, &mut names, &format)?;
        if indexed == dir.flags().contains(InodeFlags::INDEX) && self.dir_bytes(dir)? == bytes {
            return Ok(false);
        }
        self.put_dir(dir, &bytes, indexed)?;
        Ok(true)
    }

    /// What decides the shape of a directory here.
    fn dir_format(&self, dir: &Inode) -> DirFormat {
        let sb = self.super_block();
        let unsigned = SuperFlags::from_bits_retain(sb.s_flags.get()).contains(SuperFlags::UNSIGNED_HASH);
        let version = HashVersion::resolve(sb.s_def_hash_version, unsigned).ok();
        let version = version.filter(|v| *v != HashVersion::SipHash && self.has_compat(Compat::DIR_INDEX));
        DirFormat {
            block_size: self.block_size(),
            tail: sb.has_metadata_csum(),
            has_file_type: self.has_incompat(Incompat::FILETYPE),
            hash: version.map(|version| (version, sb.hash_seed())),
            folded: self.name_rule(dir).folded,
            large_dir: self.has_incompat(Incompat::LARGEDIR),
        }
    }

    /// The blocks of a directory with these names, and whether they have an index.
    fn built(
        &self,
        dir: &Inode,
        parent: u32,
        names: &mut [DirEntry],
        format: &DirFormat,
    ) -> Result<(Vec<u8>, bool), EditError> {
        // Who reads a directory in this order finds the inodes in the order of their table.
        names.sort_by(|a, b| (a.inode, &a.name).cmp(&(b.inode, &b.name)));
        let mut items = Vec::with_capacity(names.len());
        for entry in names.iter() {
            items.push(Item { name: &entry.name, ino: entry_number(entry.inode)?, file_type: entry.file_type });
        }
        let mut bytes = Vec::new();
        format.build(&items, entry_number(dir.nr())?, parent, self.inode_seal_seed(dir), &mut bytes);
        Ok((bytes, matches!(format.shape(&items), Shape::Hashed { .. })))
    }

    /// Where a block of a directory lies.
    fn dir_block_place(&self, dir: &Inode, logical: u64) -> Result<BlockNr, EditError> {
        match self.map_block(dir, logical)? {
            Segment::Mapped(run) if run.written => Ok(run.physical),
            _ => {
                let offset = u32::try_from(logical).unwrap_or(u32::MAX);
                Err(VolumeError::corrupt(Place::Inode(dir.nr()), Corruption::DirName { offset }).into())
            }
        }
    }

    /// All blocks of a directory as they lie.
    fn dir_bytes(&self, dir: &Inode) -> Result<Vec<u8>, EditError> {
        let mut bytes = Vec::new();
        for logical in 0..self.geometry().blocks_for(dir.size()) {
            bytes.extend_from_slice(&self.read_block(self.dir_block_place(dir, logical)?)?);
        }
        Ok(bytes)
    }

    /// Gives a directory these blocks and no others.
    fn put_dir(&mut self, dir: &mut Inode, bytes: &[u8], indexed: bool) -> Result<(), EditError> {
        let size = self.block_size() as usize;
        let count = (bytes.len() / size) as u64;
        while self.geometry().blocks_for(dir.size()) < count {
            self.append_block(dir)?;
        }
        for (logical, block) in bytes.chunks_exact(size).enumerate() {
            let place = self.dir_block_place(dir, logical as u64)?;
            self.write_block(place, block)?;
        }
        self.map_remove(dir, count..u64::MAX, Gone::Given)?;
        self.put_size(dir, bytes.len() as u64)?;
        self.modify(dir, |disk| {
            let mut flags = disk.flags();
            flags.set(InodeFlags::INDEX, indexed);
            disk.set_flags(flags);
        });
        self.store_inode(dir)
    }
}
