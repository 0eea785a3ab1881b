//! The superblock, and its writing at the very end.

use super::{WriteError, Writer, Written};
use crate::params::Journal;
use daxkit_format::OnDisk;
use daxkit_format::checksum::crc32c;
use daxkit_format::ext4::features::{Compat, Incompat, RoCompat};
use daxkit_format::ext4::inode::{EXTRA_ISIZE, Timestamp};
use daxkit_format::ext4::quota::QuotaKind;
use daxkit_format::ext4::super_block::{self, CHECKSUM_CRC32C, MAGIC, SUPER_BLOCK_OFFSET, SuperBlock, SuperFlags};
use zerocopy::IntoBytes;

/// `s_jnl_backup_type`: `s_jnl_blocks` holds the journal inode's map.
const JNL_BACKUP_BLOCKS: u8 = 1;

impl Writer<'_> {
    /// The superblock without the counts that are known at the end; enough for checksums of descriptors.
    pub(super) fn super_block(&self) -> SuperBlock {
        let (p, g) = (&self.plan.params, &self.plan.geometry);
        let mut sb = SuperBlock::zeroed();
        sb.s_inodes_count.set(g.inodes_count());
        sb.set_blocks_count(g.blocks_count);
        sb.set_r_blocks_count(p.reserved_blocks.min(g.blocks_count / 2));
        sb.s_first_data_block.set(g.first_data_block);
        sb.s_log_block_size.set(g.block_size.trailing_zeros() - 10);
        sb.s_log_cluster_size.set((g.block_size * g.cluster_ratio).trailing_zeros() - 10);
        sb.s_blocks_per_group.set(g.blocks_per_group);
        sb.s_clusters_per_group.set(g.clusters_per_group());
        sb.s_inodes_per_group.set(g.inodes_per_group);
        sb.s_max_mnt_count.set(u16::MAX);
        sb.s_magic.set(MAGIC);
        sb.s_state.set(super_block::STATE_VALID);
        sb.s_errors.set(p.errors);
        sb.s_creator_os.set(p.creator_os);
        sb.s_rev_level.set(p.revision);
        if p.revision > 0 {
            sb.s_first_ino.set(11);
            sb.s_inode_size.set(p.inode_size);
        }
        sb.s_feature_compat.set(p.features.compat.bits());
        sb.s_feature_incompat.set(p.features.incompat.bits());
        sb.s_feature_ro_compat.set(p.features.ro_compat.bits());
        sb.s_uuid = self.uuid;
        copy(&mut sb.s_volume_name, &p.label);
        copy(&mut sb.s_last_mounted, &p.last_mounted);
        sb.s_reserved_gdt_blocks.set(g.reserved_gdt as u16);
        for (word, b) in sb.s_hash_seed.iter_mut().zip(self.plan.needs.hash_seed.chunks_exact(4)) {
            word.set(b.iter().rev().fold(0, |acc, b| acc << 8 | u32::from(*b)));
        }
        sb.s_def_hash_version = p.hash_version.on_disk();
        if p.features.incompat.contains(Incompat::BIT64) {
            sb.s_desc_size.set(g.desc_size);
        }
        sb.s_default_mount_opts.set(p.default_mount_opts);
        self.set_times(&mut sb, p.time);
        if p.inode_size > 128 {
            sb.s_min_extra_isize.set(EXTRA_ISIZE);
            sb.s_want_extra_isize.set(EXTRA_ISIZE);
        }
        let mut flags = if p.hash_version.on_disk() != p.hash_version as u8 {
            SuperFlags::UNSIGNED_HASH
        } else {
            SuperFlags::SIGNED_HASH
        };
        flags.set(SuperFlags::TEST_FILESYS, p.test_fs);
        sb.s_flags.set(flags.bits());
        sb.s_raid_stride.set(p.stride);
        sb.s_raid_stripe_width.set(p.stripe_width);
        if let Some(block) = self.plan.special.mmp {
            sb.s_mmp_block.set(block);
            sb.s_mmp_update_interval.set(p.mmp_interval);
        }
        if p.features.incompat.contains(Incompat::FLEX_BG) {
            sb.s_log_groups_per_flex = p.flex_bg_size.max(1).trailing_zeros() as u8;
        }
        if p.features.ro_compat.contains(RoCompat::METADATA_CSUM) {
            sb.s_checksum_type = CHECKSUM_CRC32C;
        }
        if p.features.incompat.contains(Incompat::CSUM_SEED) {
            sb.s_checksum_seed.set(crc32c(!0, &self.uuid));
        }
        if p.features.incompat.contains(Incompat::ENCRYPT) {
            // AES-256-XTS for contents, AES-256-CTS for names: what fscrypt starts with.
            sb.s_encrypt_algos = [1, 4, 0, 0];
            sb.s_encrypt_pw_salt = p.encrypt_pw_salt;
        }
        copy(&mut sb.s_mount_opts, &p.mount_opts);
        sb.s_usr_quota_inum.set(self.plan.quota_ino(QuotaKind::User));
        sb.s_grp_quota_inum.set(self.plan.quota_ino(QuotaKind::Group));
        sb.s_prj_quota_inum.set(self.plan.quota_ino(QuotaKind::Project));
        sb.s_overhead_clusters.set(u32::try_from(self.plan.overhead_clusters).unwrap_or(0));
        if p.features.compat.contains(Compat::SPARSE_SUPER2) {
            sb.s_backup_bgs = g.backup_bgs().map(Into::into);
        }
        if p.features.incompat.contains(Incompat::CASEFOLD) {
            sb.s_encoding.set(p.encoding);
            sb.s_encoding_flags.set(p.encoding_flags);
        }
        sb.s_orphan_file_inum.set(self.plan.needs.inodes.orphan_file.unwrap_or(0));
        sb
    }

    fn set_times(&self, sb: &mut SuperBlock, t: Timestamp) {
        let seconds = t.seconds.max(0);
        let (lo, hi) = (seconds as u32, (seconds >> 32) as u8);
        sb.s_wtime.set(lo);
        sb.s_wtime_hi = hi;
        sb.s_lastcheck.set(lo);
        sb.s_lastcheck_hi = hi;
        sb.s_mkfs_time.set(lo);
        sb.s_mkfs_time_hi = hi;
    }

    /// The superblock of group `group`, sealed.
    pub(super) fn final_super_block(&self, written: &Written, group: u32) -> SuperBlock {
        let mut sb = self.super_block();
        let ratio = u64::from(self.plan.geometry.cluster_ratio);
        // Under bigalloc the count on disk is in blocks although the groups count clusters.
        sb.set_free_blocks_count(written.free_blocks / ratio * ratio);
        sb.s_free_inodes_count.set(written.free_inodes);
        sb.s_block_group_nr.set(group as u16);
        match &self.plan.params.journal {
            Some(Journal::Internal { .. }) => self.set_journal_backup(&mut sb),
            Some(Journal::External { uuid, device_number }) => {
                sb.s_journal_uuid = *uuid;
                sb.s_journal_dev.set(*device_number);
            }
            None => {}
        }
        sb.seal();
        sb
    }

    fn set_journal_backup(&self, sb: &mut SuperBlock) {
        let Some(j) = &self.plan.special.journal else { return };
        sb.s_journal_inum.set(8);
        // The map's own blocks are written again with the same bytes; failing to write them was an error before.
        let Ok(i_block) = self.map_bytes(8, &j.map, self.plan.has_extents()) else { return };
        sb.s_jnl_backup_type = JNL_BACKUP_BLOCKS;
        for (word, b) in sb.s_jnl_blocks.iter_mut().zip(i_block.chunks_exact(4)) {
            word.set(b.iter().rev().fold(0, |acc, b| acc << 8 | u32::from(*b)));
        }
        let size = u64::from(j.blocks) * self.block_bytes();
        let [.., high, low] = &mut sb.s_jnl_blocks;
        high.set((size >> 32) as u32);
        low.set(size as u32);
    }

    /// Writes the primary superblock: from now on this is a file system.
    pub(super) fn write_primary(&self, written: &Written) -> Result<(), WriteError> {
        let sb = self.final_super_block(written, 0);
        if self.block_bytes() > SUPER_BLOCK_OFFSET {
            self.device.write_zeroes(0, SUPER_BLOCK_OFFSET)?;
            let rest = SUPER_BLOCK_OFFSET + 1024;
            self.device.write_zeroes(rest, self.block_bytes().saturating_sub(rest))?;
        } else {
            self.device.write_zeroes(0, self.block_bytes())?;
        }
        self.device.write_at(SUPER_BLOCK_OFFSET, sb.as_bytes())?;
        Ok(())
    }
}

fn copy(to: &mut [u8], from: &[u8]) {
    to.iter_mut().zip(from).for_each(|(t, f)| *t = *f);
}
