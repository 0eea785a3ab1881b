//! Preflight: what stands between this file system and DAX, found before anything is written.
//!
//! The facts are those of `ext4_should_enable_dax`, `ext4_fill_super` and `fs_dax_get_by_bdev` (Linux 6.12): blocks are pages,
//! the partition begins on a page, data is not journalled; files that hold inline, encrypted or verity data never have
//! `S_DAX`, and `dax=always` refuses to mount a file system with inline_data.

use super::error::{Notice, OptionError};
use super::numbers::human;
use crate::params::Params;
use daxkit_format::ext4::features::{Incompat, RoCompat};
use daxkit_format::ext4::super_block::DefaultMountOpts;

/// What one 2 MiB fault maps.
const PMD_SIZE: u64 = 2 << 20;

/// Refuses, when `--dax` was asked for, what makes it impossible; warns about it otherwise.
pub(super) fn check(p: &Params, asked: bool, notices: &mut Vec<Notice>) -> Result<(), OptionError> {
    for reason in obstacles(p) {
        if asked {
            return Err(OptionError::Dax(reason));
        }
        notices.push(Notice::warning(format!("no DAX on this file system: {reason}")));
    }
    if let Some(reason) = misaligned(p) {
        if asked {
            return Err(OptionError::Dax(reason));
        }
        notices.push(Notice::warning(reason));
    }
    notices.extend(limits(p, asked).into_iter().map(Notice::warning));
    Ok(())
}

/// Reasons why no file at all can have DAX.
fn obstacles(p: &Params) -> Vec<String> {
    let mut found = Vec::new();
    if p.block_size != p.page_size {
        found.push(format!(
            "blocks of {} bytes, but pages of {}: the kernel maps pages, and only a block that is one (-b {}, or --page-size \
             for another machine)",
            p.block_size, p.page_size, p.page_size
        ));
    } else if !p.data_offset.is_multiple_of(u64::from(p.page_size)) {
        found.push(format!(
            "-E offset={} is not a multiple of the page size {}: a partition that begins inside a page cannot be mapped",
            p.data_offset, p.page_size
        ));
    }
    let journalled = DefaultMountOpts::JOURNAL_DATA;
    let modes = DefaultMountOpts::from_bits_retain(p.default_mount_opts)
        & (DefaultMountOpts::JOURNAL_DATA | DefaultMountOpts::JOURNAL_DATA_ORDERED);
    if modes == journalled {
        found.push("the default mount option data=journal writes all data through the journal".to_owned());
    }
    found
}

/// Why no 2 MiB window can be aligned: clusters that straddle its edges.
fn misaligned(p: &Params) -> Option<String> {
    let cluster = u64::from(p.cluster_size);
    (p.cluster_size > p.block_size && !p.data_offset.is_multiple_of(cluster.min(PMD_SIZE))).then(|| {
        format!(
            "-E offset={} does not lie on a cluster of {}: no 2 MiB window of a file would be aligned on the device",
            p.data_offset,
            human(cluster)
        )
    })
}

/// Reasons why some files cannot have it, or why 2 MiB faults cannot happen.
fn limits(p: &Params, asked: bool) -> Vec<String> {
    let mut found = Vec::new();
    if p.features.incompat.contains(Incompat::INLINE_DATA) {
        found.push(
            "inline_data: the kernel refuses to mount with dax=always, and a file inside its inode has no DAX"
                .to_owned(),
        );
    }
    if p.features.incompat.contains(Incompat::ENCRYPT) {
        found.push("encrypt: encrypted files never have DAX".to_owned());
    }
    if p.features.ro_compat.contains(RoCompat::VERITY) {
        found.push("verity: files with fs-verity never have DAX".to_owned());
    }
    if asked && !p.features.incompat.contains(Incompat::EXTENTS) {
        found
            .push("without extents the image may be mounted by the ext2 driver, which ignores the DAX flag".to_owned());
    }
    if p.block_size > 4096 && p.block_size == p.page_size {
        found.push(format!("blocks of {}: can be mounted only where pages are as large", human(p.block_size.into())));
    }
    found
}
