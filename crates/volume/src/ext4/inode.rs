//! Reading inodes.
//!
//! An [`Inode`] keeps the bytes as they lie on disk beside their decoded form, because attributes live behind the known
//! fields and a writer has to keep what it does not know.

use std::ops::Deref;

use daxkit_format::ext4::features::{Incompat, RoCompat};
use daxkit_format::ext4::inode::{self, Inode as DiskInode};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::{BlockNr, InodeNr};

use super::error::{Corruption, Place, VolumeError};
use super::open::Volume;

/// An inode that was read: number, bytes, decoded fields (by [`Deref`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inode {
    nr: InodeNr,
    raw: Vec<u8>,
    disk: DiskInode,
    size: u64,
    /// Space of the blocks in use, in bytes.
    space: u64,
}

impl Deref for Inode {
    type Target = DiskInode;

    fn deref(&self) -> &DiskInode {
        &self.disk
    }
}

impl Inode {
    /// Its number.
    #[must_use]
    pub fn nr(&self) -> InodeNr {
        self.nr
    }

    /// Its bytes as they lie on disk, `s_inode_size` of them.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The decoded fields.
    #[must_use]
    pub fn disk(&self) -> &DiskInode {
        &self.disk
    }

    /// The size in bytes. The high half counts for regular files, and with `large_dir` for directories (`ext4_isize`).
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Space its blocks take, in bytes, attributes and the map itself counted (`i_blocks`).
    #[must_use]
    pub fn space(&self) -> u64 {
        self.space
    }

    /// The place for messages.
    #[must_use]
    pub fn place(&self) -> Place {
        Place::Inode(self.nr)
    }

    /// True when it is not in use: no links and no mode.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.disk.i_links_count.get() == 0 && self.disk.i_mode.get() == 0
    }

    /// True when the content lies in the inode.
    #[must_use]
    pub fn has_inline_data(&self) -> bool {
        self.flags().contains(InodeFlags::INLINE_DATA)
    }

    /// True when the inode is encrypted; its content and (of a directory) its names are then ciphertext.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.flags().contains(InodeFlags::ENCRYPT)
    }

    /// True when the file is protected by fs-verity.
    #[must_use]
    pub fn is_verity(&self) -> bool {
        self.flags().contains(InodeFlags::VERITY)
    }

    /// The project, where the inode has room for one.
    #[must_use]
    pub fn project(&self) -> Option<u32> {
        (self.raw.len() > 128 && self.disk.has_until(0xA0)).then(|| self.disk.i_projid.get())
    }
}

impl Volume {
    /// Where an inode lies: block and byte in it.
    ///
    /// # Errors
    /// No such inode, or the group's descriptor cannot be used.
    pub fn inode_location(&self, nr: InodeNr) -> Result<(BlockNr, usize), VolumeError> {
        let g = self.geometry();
        let (group, index) =
            g.group_of_inode(nr).ok_or(VolumeError::NoSuchInode { inode: nr, count: g.inodes_count.into() })?;
        let table = self.inode_table(group)?;
        let byte = u64::from(index) * u64::from(g.inode_size);
        let block = BlockNr(table.get() + (byte >> g.block_shift()));
        Ok((block, (byte & u64::from(g.block_size - 1)) as usize))
    }

    /// The byte of the file system at which an inode begins.
    pub(crate) fn inode_byte(&self, nr: InodeNr) -> Result<u64, VolumeError> {
        let (block, at) = self.inode_location(nr)?;
        Ok((block.get() << self.geometry().block_shift()).saturating_add(at as u64))
    }

    /// The bytes of an inode as they lie on disk. Nothing in them is checked.
    ///
    /// # Errors
    /// As [`Volume::inode_location`], or the device failed.
    pub fn raw_inode(&self, nr: InodeNr) -> Result<Vec<u8>, VolumeError> {
        let (block, at) = self.inode_location(nr)?;
        let bytes = self.block(Place::Inode(nr), block)?;
        let end = at + usize::from(self.geometry().inode_size);
        Ok(bytes.get(at..end).unwrap_or_default().to_vec())
    }

    /// An inode, its checksum verified. One that is all zero was never used and has no checksum.
    ///
    /// # Errors
    /// As [`Volume::raw_inode`], or the checksum does not match.
    pub fn inode(&self, nr: InodeNr) -> Result<Inode, VolumeError> {
        let raw = self.raw_inode(nr)?;
        if !self.inode_checksum_ok(nr, &raw) {
            return Err(VolumeError::bad_inode(nr, Corruption::Checksum));
        }
        Ok(self.decode_inode(nr, raw))
    }

    /// An inode without regard to its checksum.
    ///
    /// # Errors
    /// As [`Volume::raw_inode`].
    pub fn inode_unverified(&self, nr: InodeNr) -> Result<Inode, VolumeError> {
        Ok(self.decode_inode(nr, self.raw_inode(nr)?))
    }

    fn inode_checksum_ok(&self, nr: InodeNr, raw: &[u8]) -> bool {
        let (Some(seed), Ok(ino)) = (self.verify_seed(), u32::try_from(nr.get())) else { return true };
        inode::verify(seed, ino, raw) || raw.iter().all(|b| *b == 0)
    }

    /// Decodes the bytes of an inode.
    #[must_use]
    pub fn decode_inode(&self, nr: InodeNr, raw: Vec<u8>) -> Inode {
        let disk = DiskInode::from_disk(&raw).unwrap_or_else(daxkit_format::OnDisk::zeroed);
        let wide = disk.is_file() || self.has_incompat(Incompat::LARGEDIR);
        let size = if wide { disk.size() } else { disk.i_size_lo.get().into() };
        let mut stored = disk.blocks_stored();
        let mut unit = 512;
        if self.has_ro_compat(RoCompat::HUGE_FILE) {
            if disk.flags().contains(InodeFlags::HUGE_FILE) {
                unit = u64::from(self.block_size());
            }
        } else {
            // The high half means nothing then (`ext4_inode_blocks`).
            stored = disk.i_blocks_lo.get().into();
        }
        Inode { nr, raw, disk, size, space: stored.saturating_mul(unit) }
    }

    /// The seed of checksums that belong to an inode (its map, its directory blocks), where they are verified.
    #[must_use]
    pub fn inode_verify_seed(&self, inode: &Inode) -> Option<u32> {
        let ino = u32::try_from(inode.nr.get()).ok()?;
        Some(inode::checksum_seed(self.verify_seed()?, ino, inode.disk.i_generation.get()))
    }

    /// The root directory.
    ///
    /// # Errors
    /// As [`Volume::inode`], or inode 2 is no directory.
    pub fn root(&self) -> Result<Inode, VolumeError> {
        let root = self.inode(InodeNr::ROOT)?;
        if root.is_dir() { Ok(root) } else { Err(VolumeError::NotADirectory { inode: InodeNr::ROOT }) }
    }
}
