//! Writes a planned image: content first, metadata behind it, the primary superblock last.
//!
//! Until the superblock is there nothing can be taken for a file system, whatever interrupts the work. Regions that the device
//! knows to be zero are not written.

mod data;
mod dirs;
mod error;
mod groups;
mod inode;
mod journal_device;
mod special;
mod super_block;
mod tables;
mod verity;
mod zeroes;

pub use error::WriteError;
pub use journal_device::{JournalDeviceParams, write_journal_device};
pub use zeroes::find_zero_blocks;

use crate::plan::{Plan, identity};
use crate::progress::Progress;
use crate::source::{Source, Tree};
use daxkit_device::BlockDevice;
use daxkit_format::checksum::crc32c;
use daxkit_format::ext4::features::RoCompat;

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// `s_uuid`.
    pub uuid: [u8; 16],
    /// `s_hash_seed`, as bytes.
    pub hash_seed: [u8; 16],
    /// Free blocks (clusters under bigalloc times their size).
    pub free_blocks: u64,
    /// Free inodes.
    pub free_inodes: u32,
    /// Groups whose inode table is known to be zero where it is unused.
    pub zeroed_groups: u32,
}

/// What all parts of the work need.
struct Writer<'a> {
    plan: &'a Plan,
    source: &'a Source,
    tree: &'a Tree,
    device: &'a dyn BlockDevice,
    progress: &'a dyn Progress,
    uuid: [u8; 16],
    /// The seed of checksums; `None` without `metadata_csum`.
    fs_seed: Option<u32>,
    /// The seed of large attribute values' hashes, there or not.
    value_seed: u32,
}

/// Writes the image of `plan` to `device`. `source` is what the plan was made for. On return everything is durable.
///
/// # Errors
/// See [`WriteError`]; the device holds no superblock then.
pub fn write_image(
    plan: &Plan,
    source: &Source,
    device: &dyn BlockDevice,
    progress: &dyn Progress,
) -> Result<Written, WriteError> {
    let need = plan.geometry.offset(plan.geometry.blocks_count);
    if device.len() < need {
        return Err(WriteError::TooShort { have: device.len(), need });
    }
    let content = data::write_content(plan, source, device, progress)?;
    let uuid = identity::uuid(&plan.params, &plan.needs.tree_digest, &content);
    let seed = crc32c(!0, &uuid);
    let writer = Writer {
        plan,
        source,
        tree: source.tree(),
        device,
        progress,
        uuid,
        fs_seed: plan.params.features.ro_compat.contains(RoCompat::METADATA_CSUM).then_some(seed),
        value_seed: seed,
    };
    writer.write_verity()?;
    writer.write_dirs()?;
    let totals = writer.write_tables()?;
    writer.write_xattrs()?;
    writer.write_special(&totals)?;
    let written = writer.write_groups(&totals)?;
    source.check_unchanged()?;
    progress.stage("making durable", 0);
    device.flush()?;
    if progress.cancelled() {
        return Err(WriteError::Cancelled);
    }
    writer.write_primary(&written)?;
    device.flush()?;
    Ok(written)
}

impl Writer<'_> {
    /// True when group descriptors have checksums, and with them flags for what was never initialised.
    fn has_group_flags(&self) -> bool {
        self.plan.params.features.ro_compat.intersects(RoCompat::METADATA_CSUM | RoCompat::GDT_CSUM)
    }
}
