//! Sizes: of pages, blocks, clusters and groups, of the file system, and of the file that holds it.
//!
//! The rules are mke2fs's (`PRS`, e2fsprogs 1.47): a bare SIZE counts KiB, or blocks when `-b` was given; without SIZE the
//! target's length decides, whole pages of it. Stricter in one point: a size that is not a power of two where it must be one
//! is refused, not rounded down.

use super::error::{Notice, OptionError};
use super::numbers::{bytes, human, number, number_in};
use super::request::{Facts, Request};
use daxkit_format::ext4::features::{Features, Incompat, RoCompat};

/// Sizes of units, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Units {
    pub(super) page: u32,
    pub(super) block: u32,
    pub(super) cluster: u32,
    /// What one unit of a bare SIZE is.
    pub(super) size_unit: u64,
}

fn power_of_two(option: &'static str, text: &str, range: std::ops::RangeInclusive<u64>) -> Result<u32, OptionError> {
    bytes(text, 1).filter(|n| n.is_power_of_two() && range.contains(n)).map(|n| n as u32).ok_or_else(|| {
        OptionError::value(option, text, format!("wants a power of two from {} to {}", range.start(), range.end()))
    })
}

impl Units {
    pub(super) fn resolve(
        request: &Request,
        features: &Features,
        facts: &Facts,
        notices: &mut Vec<Notice>,
    ) -> Result<Self, OptionError> {
        let page = match request.page_size.as_deref() {
            Some(text) => power_of_two("--page-size", text, 4096..=65536)?,
            None => 4096,
        };
        let (typed, least) = match request.block_size.as_deref() {
            // A negative size is the least that will do.
            Some(text) => match text.strip_prefix('-') {
                Some(text) => (None, power_of_two("-b", text, 1024..=65536)?),
                None => (Some(power_of_two("-b", text, 1024..=65536)?), 0),
            },
            None => (None, 0),
        };
        let known = typed.or(facts.journal_device.map(|j| j.block_size));
        let block = known.unwrap_or_else(|| page.max(least).max(facts.sector_size));
        if block < facts.sector_size {
            return Err(OptionError::conflict(
                format!("-b {block}"),
                format!("the device's sectors are larger: {} bytes", facts.sector_size),
            ));
        }
        let cluster = cluster_size(request, features, block, notices)?;
        let size_unit = known.map_or(1024, u64::from);
        Ok(Self { page, block, cluster, size_unit })
    }
}

fn cluster_size(
    request: &Request,
    features: &Features,
    block: u32,
    notices: &mut Vec<Notice>,
) -> Result<u32, OptionError> {
    let bigalloc = features.ro_compat.contains(RoCompat::BIGALLOC);
    let usual = block.saturating_mul(16);
    let Some(text) = request.cluster_size.as_deref() else {
        return Ok(if bigalloc { usual } else { block });
    };
    let cluster = power_of_two("-C", text, 2048..=512 << 20)?;
    if !bigalloc {
        return Err(OptionError::conflict(format!("-C {text}"), "clusters need the feature bigalloc (-O bigalloc)"));
    }
    if cluster < block {
        return Err(OptionError::conflict(format!("-C {text}"), format!("is smaller than a block of {block} bytes")));
    }
    if cluster > usual {
        notices.push(Notice::warning(format!(
            "clusters of {} are more than 16 blocks, which the kernel calls experimental",
            human(cluster.into())
        )));
    }
    Ok(cluster)
}

/// The extent of file system and file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Blocks of the file system.
    pub(super) blocks: u64,
    /// Bytes the file must have.
    pub(super) image_len: u64,
}

/// How many blocks the file system has, and how long its file is.
pub(super) fn extent(
    request: &Request,
    units: &Units,
    offset: u64,
    facts: &Facts,
    notices: &mut Vec<Notice>,
) -> Result<Extent, OptionError> {
    let block = u64::from(units.block);
    if !offset.is_multiple_of(u64::from(facts.sector_size.max(512))) {
        return Err(OptionError::value(
            "-E offset=",
            offset.to_string(),
            format!("wants a multiple of the sector size {}", facts.sector_size.max(512)),
        ));
    }
    let blocks = match request.size.as_deref() {
        _ if request.blocks.is_some() => request.blocks.unwrap_or_default(),
        Some(text) => {
            let blocks = bytes(text, units.size_unit).map(|b| b / block).filter(|b| *b > 0);
            blocks.ok_or_else(|| {
                OptionError::Size(format!(
                    "SIZE {text}: wants a number of {}, or a number with K, M, G, T or s (sectors), and at least one block",
                    if units.size_unit == 1024 { "KiB".to_owned() } else { format!("blocks of {} bytes", units.size_unit) }
                ))
            })?
        }
        None => blocks_of_target(units, offset, facts, notices)?,
    };
    let end = blocks
        .checked_mul(block)
        .and_then(|b| b.checked_add(offset))
        .ok_or_else(|| OptionError::Size(format!("{blocks} blocks of {block} bytes are more than 2^64 bytes")))?;
    Ok(Extent { blocks, image_len: image_len(request, end, facts, notices)? })
}

fn blocks_of_target(units: &Units, offset: u64, facts: &Facts, notices: &mut Vec<Notice>) -> Result<u64, OptionError> {
    let content = facts.content.map(|c| format!(" (the source holds {} bytes)", c.bytes)).unwrap_or_default();
    let Some(target) = facts.target else {
        return Err(OptionError::Size(format!("SIZE is needed for a file that does not exist{content}")));
    };
    if target.len == 0 {
        return Err(OptionError::Size(format!("SIZE is needed for an empty file{content}")));
    }
    let block = u64::from(units.block);
    let in_page = (u64::from(units.page) / block).max(1);
    let blocks = (target.len / block / in_page * in_page).saturating_sub(offset / block);
    if blocks == 0 {
        return Err(OptionError::Size(format!(
            "no block of {block} bytes fits: it has {} bytes, and the file system begins at {offset}",
            target.len
        )));
    }
    if offset > 0 {
        notices.push(Notice::warning(format!(
            "-E offset= without SIZE: the file system takes the {blocks} blocks behind it"
        )));
    }
    Ok(blocks)
}

/// A new file, or one that must grow, gets a length a pmem device can have; one that is long enough keeps its own.
fn image_len(request: &Request, end: u64, facts: &Facts, notices: &mut Vec<Notice>) -> Result<u64, OptionError> {
    let align = request.pmem_align.unwrap_or_default().bytes();
    if let Some(target) = facts.target
        && target.len >= end
    {
        if target.len % align != 0 {
            notices.push(Notice::note(format!(
                "its length of {} bytes is not a multiple of {}: as a pmem device its end is cut off",
                target.len,
                human(align)
            )));
        }
        return Ok(target.len);
    }
    if let Some(target) = facts.target.filter(|t| !t.can_grow) {
        return Err(OptionError::Size(format!(
            "the device has {} bytes, the file system would need {end}",
            target.len
        )));
    }
    let len = end.checked_next_multiple_of(align).filter(|len| *len <= i64::MAX as u64);
    let len = len.ok_or_else(|| OptionError::Size(format!("{end} bytes are more than a file can have")))?;
    if len != end {
        notices.push(Notice::note(format!(
            "the file gets {len} bytes instead of {end}: a pmem device is a multiple of {} (--pmem-align)",
            human(align)
        )));
    }
    Ok(len)
}

/// What the features allow to be numbered.
pub(super) fn check_block_count(blocks: u64, units: &Units, features: &mut Features) -> Result<(), OptionError> {
    if blocks > u64::from(u32::MAX) {
        if !features.incompat.contains(Incompat::BIT64) {
            return Err(OptionError::Size(format!(
                "{blocks} blocks of {} bytes need more than 32 bits: -O 64bit, or larger blocks",
                units.block
            )));
        }
        // The resize inode is a file with a block map of 32-bit numbers.
        features.compat.remove(daxkit_format::ext4::features::Compat::RESIZE_INODE);
    }
    // 2^32 groups of eight blocks for each byte of a bitmap block; 48 bits in an extent.
    let groups = u64::from(units.block) * 8;
    let limit = (groups << 32).min(1 << 48);
    if blocks >= limit {
        return Err(OptionError::Size(format!(
            "{blocks} blocks: with blocks of {} bytes the limit is {limit}",
            units.block
        )));
    }
    Ok(())
}

/// `-g`, in blocks; with bigalloc the number typed counts clusters.
pub(super) fn blocks_per_group(request: &Request, units: &Units) -> Result<Option<u32>, OptionError> {
    let Some(text) = request.blocks_per_group.as_deref() else {
        return Ok(None);
    };
    let most = u64::from(units.block) * 8;
    let typed = number(text).filter(|n| *n == 0 || n % 8 == 0 && (256..=most).contains(n));
    let typed =
        typed.ok_or_else(|| OptionError::value("-g", text, format!("wants a multiple of 8 from 256 to {most}")))?;
    let blocks = typed * u64::from(units.cluster / units.block);
    let fits =
        u32::try_from(blocks).map_err(|_| OptionError::value("-g", text, "makes groups of 2^32 blocks or more"))?;
    Ok(Some(fits).filter(|n| *n != 0))
}

/// `-G`: groups whose metadata lies together.
pub(super) fn flex_bg_size(request: &Request, features: &Features) -> Result<u32, OptionError> {
    let flex = features.incompat.contains(Incompat::FLEX_BG);
    let Some(text) = request.flex_bg_size.as_deref() else {
        return Ok(if flex { 16 } else { 1 });
    };
    let size = number_in("-G", text, 1..=1 << 31)? as u32;
    if !size.is_power_of_two() {
        return Err(OptionError::value("-G", text, "wants a power of two"));
    }
    if !flex {
        return Err(OptionError::conflict(format!("-G {text}"), "needs the feature flex_bg (-O flex_bg)"));
    }
    Ok(size)
}
