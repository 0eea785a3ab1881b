//! Superblocks: features one by one, other fields by their names.

use super::{Difference, Each, Side};
use daxkit_format::ext4::features::{Features, Incompat, RoCompat};
use daxkit_format::field::{Access, Structure};
use daxkit_volume::Volume;
use zerocopy::IntoBytes;

/// Fields that mean something to whoever mounts.
const MEANING: &[&str] = &[
    "s_volume_name",
    "s_uuid",
    "s_blocks_count",
    "s_log_block_size",
    "s_log_cluster_size",
    "s_inodes_count",
    "s_inode_size",
    "s_r_blocks_count",
    "s_def_resuid",
    "s_def_resgid",
    "s_default_mount_opts",
    "s_mount_opts",
    "s_errors",
    "s_max_mnt_count",
    "s_checkinterval",
    "s_encoding",
    "s_encoding_flags",
    "s_encrypt_pw_salt",
];

/// Fields that say how space is used, and in which order names lie.
const LAYOUT: &[&str] = &[
    "s_first_data_block",
    "s_blocks_per_group",
    "s_inodes_per_group",
    "s_first_ino",
    "s_desc_size",
    "s_first_meta_bg",
    "s_reserved_gdt_blocks",
    "s_log_groups_per_flex",
    "s_raid_stride",
    "s_raid_stripe_width",
    "s_min_extra_isize",
    "s_want_extra_isize",
    "s_hash_seed",
    "s_def_hash_version",
    "s_backup_bgs",
];

pub(super) fn compare<E>(a: &Volume, b: &Volume, layout: bool, each: Each<'_, E>) -> Result<(), E> {
    for (side, one, other) in [(Side::A, lasting(a), lasting(b)), (Side::B, lasting(b), lasting(a))] {
        for feature in one.iter().filter(|f| !other.has(*f)) {
            each(Difference::Feature { name: feature.name(), side })?;
        }
    }
    let meaning = MEANING.iter().map(|name| (name, false));
    let how = LAYOUT.iter().map(|name| (name, true)).filter(|_| layout);
    for (name, layout) in meaning.chain(how) {
        let Some(access) = Access::find(Structure::SuperBlock, name) else { continue };
        let text = |v: &Volume| access.get_text(v.super_block().as_bytes()).unwrap_or_default();
        let (a, b) = (text(a), text(b));
        if a != b {
            each(Difference::Super { field: access.name, a, b, layout })?;
        }
    }
    Ok(())
}

/// The features without those that come and go with every mount.
fn lasting(volume: &Volume) -> Features {
    let mut features = volume.features();
    features.incompat.remove(Incompat::RECOVER);
    features.ro_compat.remove(RoCompat::ORPHAN_PRESENT);
    features
}
