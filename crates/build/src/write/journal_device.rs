//! A journal on a device of its own (`-O journal_dev`): a superblock that says so, and the journal's superblock behind it.

use super::WriteError;
use daxkit_device::BlockDevice;
use daxkit_format::OnDisk;
use daxkit_format::ext4::features::Incompat;
use daxkit_format::ext4::inode::Timestamp;
use daxkit_format::ext4::super_block::{MAGIC, STATE_VALID, SUPER_BLOCK_OFFSET, SuperBlock, errors};
use daxkit_format::jbd2::{JournalCompat, JournalIncompat, JournalSuperBlock, NewJournal};
use zerocopy::IntoBytes;

/// What a journal device is made from.
#[derive(Debug, Clone)]
pub struct JournalDeviceParams {
    /// Bytes in a block; that of the file systems that will use it.
    pub block_size: u32,
    /// Blocks of the device.
    pub blocks: u32,
    /// Its UUID.
    pub uuid: [u8; 16],
    /// Its label, at most 16 bytes.
    pub label: Vec<u8>,
    /// Time of creation.
    pub time: Timestamp,
}

/// Writes an empty journal over the whole device; durable on return.
///
/// # Errors
/// The device is too short or cannot be written.
pub fn write_journal_device(p: &JournalDeviceParams, device: &dyn BlockDevice) -> Result<(), WriteError> {
    let bs = u64::from(p.block_size);
    let need = u64::from(p.blocks) * bs;
    if device.len() < need || p.blocks < 1024 {
        return Err(WriteError::TooShort { have: device.len(), need: need.max(1024 * bs) });
    }
    let mut sb = SuperBlock::zeroed();
    let first = u32::from(p.block_size == 1024);
    sb.set_blocks_count(u64::from(p.blocks));
    sb.s_first_data_block.set(first);
    sb.s_log_block_size.set(p.block_size.trailing_zeros() - 10);
    sb.s_log_cluster_size.set(p.block_size.trailing_zeros() - 10);
    sb.s_blocks_per_group.set((p.block_size * 8).min(65528));
    sb.s_clusters_per_group.set((p.block_size * 8).min(65528));
    sb.s_magic.set(MAGIC);
    sb.s_state.set(STATE_VALID);
    sb.s_errors.set(errors::CONTINUE);
    sb.s_rev_level.set(1);
    sb.s_first_ino.set(11);
    sb.s_inode_size.set(256);
    sb.s_max_mnt_count.set(u16::MAX);
    sb.s_feature_incompat.set(Incompat::JOURNAL_DEV.bits());
    sb.s_uuid = p.uuid;
    sb.s_volume_name.iter_mut().zip(&p.label).for_each(|(t, f)| *t = *f);
    let seconds = p.time.seconds.max(0) as u32;
    sb.s_wtime.set(seconds);
    sb.s_lastcheck.set(seconds);
    sb.s_mkfs_time.set(seconds);
    let journal = JournalSuperBlock::new(&NewJournal {
        block_size: p.block_size,
        blocks: p.blocks,
        num_fc_blks: 0,
        uuid: p.uuid,
        external: true,
        compat: JournalCompat::empty(),
        incompat: JournalIncompat::empty(),
    });
    let at = u64::from(first + 1) * bs;
    let mut block = journal.as_bytes().to_vec();
    block.resize(p.block_size as usize, 0);
    device.write_zeroes(0, SUPER_BLOCK_OFFSET)?;
    device.write_zeroes(SUPER_BLOCK_OFFSET + 1024, at.saturating_sub(SUPER_BLOCK_OFFSET + 1024))?;
    device.write_at(at, &block)?;
    device.write_zeroes(at + bs, need - at - bs)?;
    device.flush()?;
    device.write_at(SUPER_BLOCK_OFFSET, sb.as_bytes())?;
    device.flush()?;
    Ok(())
}
