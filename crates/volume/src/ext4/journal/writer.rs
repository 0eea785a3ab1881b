//! Changing a volume that lies over an overlay, as far as fast commits need it.
//!
//! Invariant: every structure written carries its checksum where the file system has them.

use daxkit_device::BlockDevice;
use daxkit_format::ext4::features::RoCompat;
use daxkit_format::ext4::group_desc::{self, GroupDesc};
use daxkit_format::ext4::inode;
use daxkit_format::{BlockNr, GroupNr, InodeNr, OnDisk};
use zerocopy::IntoBytes;

use super::super::error::{Place, VolumeError};
use super::super::inode::Inode;
use super::super::open::Volume;
use super::ReplayOverlay;

/// A volume and the overlay it reads through.
pub(super) struct Writer<'o> {
    pub(super) volume: Volume,
    overlay: &'o ReplayOverlay,
}

impl<'o> Writer<'o> {
    pub(super) fn new(volume: Volume, overlay: &'o ReplayOverlay) -> Self {
        Self { volume, overlay }
    }

    /// The seed of all checksums, when there are any.
    pub(super) fn seed(&self) -> Option<u32> {
        let sb = self.volume.super_block();
        sb.has_metadata_csum().then(|| sb.checksum_seed())
    }

    /// The seed of what belongs to an inode.
    pub(super) fn inode_seed(&self, inode: &Inode) -> Option<u32> {
        let nr = u32::try_from(inode.nr().get()).ok()?;
        Some(inode::checksum_seed(self.seed()?, nr, inode.i_generation.get()))
    }

    fn write_bytes(&self, place: Place, offset: u64, bytes: &[u8]) -> Result<(), VolumeError> {
        let at = self.volume.base().saturating_add(offset);
        self.overlay.write_at(at, bytes).map_err(VolumeError::io(place))
    }

    pub(super) fn write_block(&self, block: BlockNr, bytes: &[u8]) -> Result<(), VolumeError> {
        self.write_bytes(Place::Block(block), block.get() << self.volume.geometry().block_shift(), bytes)?;
        self.volume.cache().forget(block.get());
        Ok(())
    }

    /// Writes the bytes of an inode, sealed.
    pub(super) fn write_inode(&self, nr: InodeNr, mut raw: Vec<u8>) -> Result<(), VolumeError> {
        if let (Some(seed), Ok(ino)) = (self.seed(), u32::try_from(nr.get())) {
            inode::seal(seed, ino, &mut raw);
        }
        let (block, at) = self.volume.inode_location(nr)?;
        let offset = (block.get() << self.volume.geometry().block_shift()).saturating_add(at as u64);
        self.write_bytes(Place::Inode(nr), offset, &raw)?;
        self.volume.cache().forget(block.get());
        Ok(())
    }

    /// Changes the decoded fields of an inode and writes it.
    pub(super) fn change_inode(&self, nr: InodeNr, change: impl FnOnce(&mut inode::Inode)) -> Result<(), VolumeError> {
        let mut raw = self.volume.raw_inode(nr)?;
        if let Some(disk) = inode::Inode::peek_mut(&mut raw) {
            change(disk);
        } else {
            // Inodes of 128 bytes end before the structure does.
            let mut whole = inode::Inode::from_disk(&raw).unwrap_or_else(OnDisk::zeroed);
            change(&mut whole);
            raw.iter_mut().zip(whole.as_bytes()).for_each(|(d, s)| *d = *s);
        }
        self.write_inode(nr, raw)
    }

    pub(super) fn write_group_desc(&self, group: GroupNr, desc: &GroupDesc) -> Result<(), VolumeError> {
        let (block, at) = self.volume.group_desc_location(group)?;
        let mut raw = self.volume.raw_group_desc(group)?;
        raw.iter_mut().zip(desc.as_bytes()).for_each(|(d, s)| *d = *s);
        if self.seed().is_some() || self.volume.has_ro_compat(RoCompat::GDT_CSUM) {
            let sum = group_desc::checksum(self.volume.super_block(), group.get(), &raw);
            if let Some(place) = raw.get_mut(0x1E..0x20) {
                place.copy_from_slice(&sum.to_le_bytes());
            }
        }
        let offset = (block.get() << self.volume.geometry().block_shift()).saturating_add(at as u64);
        self.write_bytes(Place::Group(group), offset, &raw)?;
        self.volume.cache().forget(block.get());
        Ok(())
    }
}
