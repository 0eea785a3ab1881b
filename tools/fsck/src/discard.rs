//! `-E discard`: what nothing uses is given back to the host.

use anyhow::Result;
use daxkit_device::BlockDevice;
use daxkit_format::GroupNr;
use daxkit_format::ext4::features::RoCompat;
use daxkit_volume::Volume;

/// Gives free blocks, and the parts of inode tables that were never used, back to the host. How many bytes they were.
pub(crate) fn unused(volume: &Volume, device: &dyn BlockDevice) -> Result<u64> {
    let geo = *volume.geometry();
    let size = u64::from(geo.block_size);
    let mut free = Vec::new();
    let errors = volume.free_runs(|first, len| free.push((first, len)));
    let mut bytes = 0;
    // A bitmap that cannot be read says nothing of any block.
    if errors.count == 0 {
        for (first, len) in free {
            device.discard(first * size, len * size)?;
            bytes += len * size;
        }
    }
    // Without checksums of descriptors no part of a table is known to be unused.
    let sb = volume.super_block();
    if !sb.has_metadata_csum() && !sb.ro_compat().contains(RoCompat::GDT_CSUM) {
        return Ok(bytes);
    }
    for group in 0..geo.groups_count {
        let Ok(desc) = volume.group_desc(GroupNr(group)) else { continue };
        let used = geo.inodes_per_group.saturating_sub(desc.itable_unused());
        let first = (u64::from(used) * u64::from(geo.inode_size)).div_ceil(size);
        let len = u64::from(geo.inode_table_blocks).saturating_sub(first);
        if len > 0 {
            // An inode is free because it is zero: nothing else may be read there.
            device.write_zeroes((desc.inode_table() + first) * size, len * size)?;
            bytes += len * size;
        }
    }
    Ok(bytes)
}
