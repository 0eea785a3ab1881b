//! Finding a superblock: the primary one, or a backup that the caller names.
//!
//! A backup lies at the very start of its block. The primary one lies at byte 1024, which is block 1 of 1 KiB or the middle
//! of block 0.

use daxkit_device::BlockDevice;
use daxkit_format::BlockNr;
use daxkit_format::ext4::super_block::{self, SUPER_BLOCK_OFFSET, SuperBlock};

use super::error::{Place, VolumeError};

/// A superblock and the byte, from the start of the file system, at which it lies.
pub(crate) struct Found {
    pub(crate) super_block: SuperBlock,
    pub(crate) offset: u64,
}

/// Reads the superblock. `base` is the byte of the device at which the file system begins. Without `block_size` a backup is
/// looked for under every block size there is.
pub(crate) fn find(
    device: &dyn BlockDevice,
    base: u64,
    block: Option<BlockNr>,
    block_size: Option<u32>,
) -> Result<Found, VolumeError> {
    let Some(block) = block else { return read(device, base, SUPER_BLOCK_OFFSET) };
    let sizes = block_size.map_or_else(|| (0..=6).map(|log| 1024u32 << log).collect(), |size| vec![size]);
    let mut first_error = None;
    for size in sizes {
        // The primary superblock is meant when its block is named.
        let offset = match block.get().checked_mul(size.into()) {
            Some(0) => SUPER_BLOCK_OFFSET,
            Some(offset) => offset,
            None => continue,
        };
        match read(device, base, offset) {
            Ok(found) if block_size.is_some() || found.super_block.block_size() == Some(size) => return Ok(found),
            Ok(_) => {}
            Err(e) => {
                first_error.get_or_insert(e);
            }
        }
    }
    let offset = block.get().saturating_mul(block_size.unwrap_or(1024).into());
    Err(first_error
        .unwrap_or(VolumeError::NotExt4 { place: Place::SuperBlock { offset: base.saturating_add(offset) } }))
}

fn read(device: &dyn BlockDevice, base: u64, offset: u64) -> Result<Found, VolumeError> {
    let at = base.saturating_add(offset);
    let place = Place::SuperBlock { offset: at };
    let mut bytes = [0; size_of::<SuperBlock>()];
    // A device too short to hold one is no file system; that is not the host's failure.
    if at.checked_add(bytes.len() as u64).is_none_or(|end| end > device.len()) {
        return Err(VolumeError::NotExt4 { place });
    }
    device.read_at(at, &mut bytes).map_err(VolumeError::io(place))?;
    let super_block = super_block::parse(&bytes).ok_or(VolumeError::NotExt4 { place })?;
    Ok(Found { super_block, offset })
}
