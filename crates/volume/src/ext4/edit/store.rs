//! Writing structures into the overlay, each with its checksum where the file system has them.

use std::ops::Range;
use std::sync::Arc;

use daxkit_device::{BlockDevice, DeviceError};
use daxkit_format::ext4::features::RoCompat;
use daxkit_format::ext4::group_desc::{self, GroupDesc};
use daxkit_format::ext4::inode::{self, Inode as DiskInode};
use daxkit_format::ext4::super_block::SuperBlock;
use daxkit_format::{BlockNr, GroupNr, InodeNr, OnDisk};
use zerocopy::IntoBytes;

use super::super::error::{Place, VolumeError};
use super::super::inode::Inode;
use super::{EditError, Editor};

impl Editor<'_> {
    /// The seed of the checksums of what belongs to an inode: its map's blocks, its directory blocks.
    #[must_use]
    pub fn inode_seal_seed(&self, inode: &Inode) -> Option<u32> {
        let nr = u32::try_from(inode.nr().get()).ok()?;
        Some(inode::checksum_seed(self.seal_seed()?, nr, inode.i_generation.get()))
    }

    /// Writes bytes from byte `offset` of the file system on, whatever they are.
    ///
    /// # Errors
    /// They do not lie on the device.
    pub fn write_bytes(&mut self, place: Place, offset: u64, bytes: &[u8]) -> Result<(), EditError> {
        self.put_bytes(place, offset, bytes)
    }

    /// As [`Editor::write_bytes`], for who has several threads that write different bytes.
    pub(super) fn put_bytes(&self, place: Place, offset: u64, bytes: &[u8]) -> Result<(), EditError> {
        let at = self.base().saturating_add(offset);
        self.overlay(place)?.write_at(at, bytes).map_err(VolumeError::io(place))?;
        self.wrote(offset, bytes);
        Ok(())
    }

    /// Forgets what was known of bytes that were written, or learns what they say now.
    fn wrote(&self, offset: u64, bytes: &[u8]) {
        let (shift, len) = (self.geometry().block_shift(), bytes.len() as u64);
        let inside = offset & ((1 << shift) - 1);
        if inside.saturating_add(len) <= 1 << shift {
            self.known().written(offset..offset.saturating_add(len));
            self.cache().patch(offset >> shift, usize::try_from(inside).unwrap_or(usize::MAX), bytes);
        } else {
            self.forget(offset, len);
        }
    }

    /// Changes bytes of the file system, where `change` says that it did. Other threads may change other bytes.
    pub(super) fn change_bytes<E: From<EditError>>(
        &self,
        place: Place,
        range: Range<u64>,
        change: impl FnOnce(&mut [u8]) -> Result<bool, E>,
    ) -> Result<(), E> {
        let overlay = self.overlay(place).map_err(EditError::from)?;
        let (base, len) = (self.base(), range.end.saturating_sub(range.start));
        if len <= u64::from(self.geometry().block_size) {
            let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
            self.read_bytes(place, range.start, &mut bytes).map_err(EditError::from)?;
            return if change(&mut bytes)? { Ok(self.put_bytes(place, range.start, &bytes)?) } else { Ok(()) };
        }
        let at = base.saturating_add(range.start)..base.saturating_add(range.end);
        let changed = overlay.change(at, change).map_err(VolumeError::io(place)).map_err(EditError::from)??;
        if changed {
            self.forget(range.start, len);
        }
        Ok(())
    }

    /// Makes blocks zero.
    ///
    /// # Errors
    /// They do not lie in the file system.
    pub fn zero_blocks(&mut self, first: BlockNr, len: u64) -> Result<(), EditError> {
        let shift = self.geometry().block_shift();
        let (offset, bytes) = (first.get() << shift, len << shift);
        let place = Place::Block(first);
        let at = self.base().saturating_add(offset);
        self.overlay(place)?.write_zeroes(at, bytes).map_err(VolumeError::io(place))?;
        self.forget(offset, bytes);
        Ok(())
    }

    /// Writes a whole block of metadata. Its checksum is the caller's business.
    ///
    /// # Errors
    /// It does not lie in the file system.
    pub fn write_block(&mut self, block: BlockNr, bytes: &[u8]) -> Result<(), EditError> {
        let place = Place::Block(block);
        let at = self.base().saturating_add(block.get() << self.geometry().block_shift());
        self.overlay(place)?.write_at(at, bytes).map_err(VolumeError::io(place))?;
        let shift = self.geometry().block_shift();
        self.known().written(block.get() << shift..block.get().saturating_add(1) << shift);
        self.cache().put(block.get(), &Arc::from(bytes));
        Ok(())
    }

    /// Writes data, `bytes` from the beginning of `block` on. It may be several blocks, and end within one.
    ///
    /// # Errors
    /// As [`Editor::write_bytes`].
    pub fn write_data(&mut self, block: BlockNr, bytes: &[u8]) -> Result<(), EditError> {
        self.write_bytes(Place::Block(block), block.get() << self.geometry().block_shift(), bytes)
    }

    fn overlay(&self, place: Place) -> Result<Arc<super::super::ReplayOverlay>, VolumeError> {
        let none = || VolumeError::Io { place, source: DeviceError::ReadOnly };
        self.edits().cloned().ok_or_else(none)
    }

    /// Forgets what was cached of a range of bytes.
    fn forget(&self, offset: u64, len: u64) {
        let shift = self.geometry().block_shift();
        let (first, end) = (offset >> shift, offset.saturating_add(len).div_ceil(1 << shift));
        self.cache().forget_range(first..end);
        self.known().written(offset..offset.saturating_add(len));
    }

    /// Changes the decoded fields of an inode in memory; [`Editor::store_inode`] writes it.
    pub fn modify(&self, inode: &mut Inode, change: impl FnOnce(&mut DiskInode)) {
        let mut raw = inode.raw().to_vec();
        if let Some(disk) = DiskInode::peek_mut(&mut raw) {
            change(disk);
        } else {
            // Inodes of 128 bytes end before the structure does.
            let mut whole = *inode.disk();
            change(&mut whole);
            raw.iter_mut().zip(whole.as_bytes()).for_each(|(d, s)| *d = *s);
        }
        *inode = self.decode_inode(inode.nr(), raw);
    }

    /// Changes the bytes of an inode in memory, all of them.
    pub fn modify_raw(&self, inode: &mut Inode, change: impl FnOnce(&mut [u8])) {
        let mut raw = inode.raw().to_vec();
        change(&mut raw);
        *inode = self.decode_inode(inode.nr(), raw);
    }

    /// Writes an inode, sealed. What is in memory gets the checksum, too.
    ///
    /// # Errors
    /// No such inode, or the group's descriptor cannot be used.
    pub fn store_inode(&mut self, inode: &mut Inode) -> Result<(), EditError> {
        let nr = inode.nr();
        if let (Some(seed), Ok(ino)) = (self.seal_seed(), u32::try_from(nr.get())) {
            self.modify_raw(inode, |raw| inode::seal(seed, ino, raw));
        }
        let (block, at) = self.inode_location(nr)?;
        let offset = (block.get() << self.geometry().block_shift()).saturating_add(at as u64);
        self.write_bytes(Place::Inode(nr), offset, inode.raw())
    }

    /// Reads an inode, changes its fields, writes it.
    ///
    /// # Errors
    /// As [`Volume::inode`](super::super::Volume::inode) and [`Editor::store_inode`].
    pub fn change_inode(&mut self, nr: InodeNr, change: impl FnOnce(&mut DiskInode)) -> Result<Inode, EditError> {
        let mut inode = self.inode(nr)?;
        self.modify(&mut inode, change);
        self.store_inode(&mut inode)?;
        Ok(inode)
    }

    /// Writes a group's descriptor, sealed.
    ///
    /// # Errors
    /// No such group, or the device failed.
    pub fn write_group_desc(&mut self, group: GroupNr, desc: &GroupDesc) -> Result<(), EditError> {
        let (block, at) = self.group_desc_location(group)?;
        let mut bytes = self.block(Place::Group(group), block)?.to_vec();
        let size = usize::from(self.geometry().desc_size);
        let seed = self.seal_seed();
        if let Some(raw) = bytes.get_mut(at..at.saturating_add(size)) {
            raw.iter_mut().zip(desc.as_bytes()).for_each(|(d, s)| *d = *s);
            if seed.is_some() || self.has_ro_compat(RoCompat::GDT_CSUM) {
                let old = || group_desc::checksum(self.super_block(), group.get(), raw);
                let sum = seed.map_or_else(old, |seed| group_desc::checksum_with_seed(seed, group.get(), raw));
                if let Some(place) = raw.get_mut(0x1E..0x20) {
                    place.copy_from_slice(&sum.to_le_bytes());
                }
            }
        }
        self.write_block(block, &bytes)
    }

    /// Changes the superblock and writes it, sealed. The backups stay as they are, as under a mount.
    ///
    /// # Errors
    /// The device failed.
    pub fn change_super_block(&mut self, change: impl FnOnce(&mut SuperBlock)) -> Result<(), EditError> {
        let mut sb = *self.super_block();
        change(&mut sb);
        if sb.has_metadata_csum() {
            sb.seal();
        }
        let offset = self.super_block_offset();
        self.write_bytes(Place::SuperBlock { offset: self.base().saturating_add(offset) }, offset, sb.as_bytes())?;
        self.volume.set_super_block(sb);
        Ok(())
    }
}
