//! From what was typed to what is made: every default is chosen here, in one pass, in the order in which they depend on
//! each other (features, units, extent, journal, inodes, identity).

use super::error::{Notice, OptionError};
use super::extended::{Extended, RootOwner, encoding_flags};
use super::features::{self, FsType};
use super::journal::{self, JournalWords};
use super::numbers::{bytes, number_in};
use super::request::{Facts, Request};
use super::sizes::{self, Units};
use super::{dax, identity, usage};
use crate::params::{InodeCount, MetadataPlace, Params, QuotaKinds};
use daxkit_format::ext4::features::{Compat, Feature, Features, Incompat, RoCompat};
use daxkit_format::ext4::hash::HashVersion;
use daxkit_format::ext4::super_block::{DefaultMountOpts, ENCODING_UTF8_12_1, errors};

/// What is made, and how the target is treated.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The image.
    pub params: Params,
    /// What the user should know, in the order it was decided.
    pub notices: Vec<Notice>,
    /// Bytes the file must have; a longer target keeps its length.
    pub image_len: u64,
    /// Where the file system begins in the file.
    pub offset: u64,
    /// Whether the target's old content is discarded first.
    pub discard: bool,
    /// Whether the target is promised to be all zero.
    pub prezeroed: bool,
    /// Owner and group that the root directory has even when a source says otherwise (`-E root_owner`).
    pub root_owner: Option<(u32, u32)>,
    /// Likewise its permissions (`-E root_perms=`).
    pub root_perms: Option<u16>,
}

/// `-o` by name (`EXT4_OS_*`).
fn creator_os(typed: Option<&str>) -> Result<u32, OptionError> {
    let Some(text) = typed else {
        return Ok(0);
    };
    match text.to_ascii_lowercase().as_str() {
        "linux" => Ok(0),
        "gnu" | "hurd" => Ok(HURD),
        "freebsd" => Ok(3),
        "lites" => Ok(4),
        other => number_in("-o", other, 0..=4)
            .map(|n| n as u32)
            .map_err(|_| OptionError::value("-o", text, "wants linux, hurd, freebsd, lites or a number up to 4")),
    }
}

const HURD: u32 = 1;

fn error_behaviour(typed: Option<&str>) -> Result<u16, OptionError> {
    match typed {
        None | Some("continue") => Ok(errors::CONTINUE),
        Some("remount-ro") => Ok(errors::REMOUNT_RO),
        Some("panic") => Ok(errors::PANIC),
        Some(other) => Err(OptionError::value("-e", other, "wants continue, remount-ro or panic")),
    }
}

/// The share of blocks for the superuser, in percent.
fn reserved_percent(typed: Option<&str>) -> Result<f64, OptionError> {
    let Some(text) = typed else {
        return Ok(5.0);
    };
    text.parse::<f64>()
        .ok()
        .filter(|p| (0.0..=50.0).contains(p))
        .ok_or_else(|| OptionError::value("-m", text, "wants a percentage from 0 to 50"))
}

/// Type, `-O`, and the words that imply a feature. Conflicts are settled later, when inode size and journal are known.
fn wanted_features(
    request: &Request,
    e: &Extended,
    j: &JournalWords,
    revision: u32,
    os: u32,
) -> Result<Features, OptionError> {
    let hurd = os == HURD;
    let fs_type = FsType::parse(request.fs_type.as_deref(), hurd)?;
    let mut f = if revision == 0 { Features::default() } else { fs_type.features() };
    if hurd {
        features::NOT_FOR_HURD.iter().for_each(|feature| f.set(*feature, false));
    }
    for words in &request.features {
        features::edit(&mut f, words)?;
    }
    if let Some(feature) = features::NOT_FOR_HURD[..4].iter().find(|feature| hurd && f.has(**feature)) {
        return Err(OptionError::conflict(format!("-O {}", feature.name()), "GNU/Hurd cannot read it"));
    }
    let journal_device = f.incompat.contains(Incompat::JOURNAL_DEV);
    if (request.with_journal || j.ask_for_one()) && !journal_device {
        f.compat |= Compat::HAS_JOURNAL;
    }
    if revision == 0 && f != Features::default() {
        return Err(OptionError::conflict("-r 0", format!("a file system of revision 0 has no features: {f}")));
    }
    if journal_device {
        return Ok(f);
    }
    if e.encoding.is_some() {
        f.set(Feature::Incompat(Incompat::CASEFOLD), true);
    }
    if e.quota.is_some_and(|q| q.project) {
        f.set(Feature::RoCompat(RoCompat::PROJECT), true);
    }
    Ok(f)
}

/// `s_encoding` and its flags.
fn encoding(f: &Features, e: &Extended) -> Result<(u16, u16), OptionError> {
    if !f.incompat.contains(Incompat::CASEFOLD) {
        if let Some(flags) = &e.encoding_flags {
            return Err(OptionError::conflict(
                format!("-E encoding_flags={flags}"),
                "needs an encoding (-E encoding=utf8 or -O casefold)",
            ));
        }
        return Ok((0, 0));
    }
    let flags = e.encoding_flags.as_deref().map_or(Ok(0), encoding_flags)?;
    Ok((e.encoding.unwrap_or(ENCODING_UTF8_12_1), flags))
}

fn inode_size(request: &Request, usage: Option<u16>, block: u32, revision: u32) -> Result<u16, OptionError> {
    let typed = match request.inode_size.as_deref() {
        Some(text) => {
            let size = number_in("-I", text, 0..=u64::from(block))?;
            if size != 0 && (!size.is_power_of_two() || size < 128) {
                return Err(OptionError::value("-I", text, format!("wants a power of two from 128 to {block}")));
            }
            Some(size as u16).filter(|s| *s != 0)
        }
        None => None,
    };
    if revision == 0 {
        return match typed {
            None | Some(128) => Ok(128),
            Some(size) => Err(OptionError::conflict(format!("-I {size}"), "inodes of revision 0 have 128 bytes")),
        };
    }
    Ok(typed.or(usage).unwrap_or(256))
}

/// How many inodes, and whether their tables leave room for anything else.
fn inode_count(
    request: &Request,
    units: &Units,
    usage_ratio: u32,
    blocks: u64,
    inode_size: u16,
    features: &Features,
    facts: &Facts,
) -> Result<InodeCount, OptionError> {
    let typed_ratio = match request.inode_ratio.as_deref() {
        Some(text) => Some(
            bytes(text, 1)
                .filter(|n| (1024..=64 << 20).contains(n))
                .ok_or_else(|| OptionError::value("-i", text, "wants a number of bytes from 1024 to 67108864"))?
                as u32,
        ),
        None => None,
    };
    let exact = match request.inodes.as_deref() {
        Some(text) => Some(number_in("-N", text, 0..=u64::from(u32::MAX))?).filter(|n| *n != 0),
        None => None,
    };
    let ratio = typed_ratio.unwrap_or_else(|| usage_ratio.max(units.block).max(units.cluster));
    let size = u128::from(blocks) * u128::from(units.block);
    let by_ratio = size / u128::from(ratio);
    let most = u128::from(u32::MAX);
    if exact.is_none() && by_ratio > most && !features.incompat.contains(Incompat::BIT64) {
        return Err(OptionError::conflict(
            format!("-i {ratio}"),
            format!("makes {by_ratio} inodes; there can be {most} (a larger -i, or -N)"),
        ));
    }
    let count = exact.map_or(by_ratio.min(most), u128::from);
    if count * u128::from(inode_size) >= size {
        return Err(OptionError::conflict(
            exact.map_or(format!("-i {ratio}"), |n| format!("-N {n}")),
            format!("{count} inodes of {inode_size} bytes fill the whole file system of {blocks} blocks"),
        ));
    }
    Ok(match exact {
        Some(n) => InodeCount::Exact(n),
        None if typed_ratio.is_none() && facts.content.is_some() => InodeCount::Content { ratio },
        None => InodeCount::Ratio(ratio),
    })
}

/// `-E resize=`: the size to grow to. Implies the resize inode where it takes descriptor blocks that are not there yet.
fn resize_max(
    e: &Extended,
    units: &Units,
    blocks: u64,
    per_group: Option<u32>,
    desc_size: u16,
    revision: u32,
    features: &mut Features,
) -> Result<Option<u64>, OptionError> {
    let Some(text) = &e.resize else {
        return Ok(None);
    };
    let most = bytes(text, u64::from(units.block)).map(|b| b / u64::from(units.block));
    let most = most.filter(|m| *m > blocks).ok_or_else(|| {
        OptionError::value("-E resize=", text.clone(), format!("wants a size above the file system's {blocks} blocks"))
    })?;
    let in_group = per_group.map_or(u64::from(units.cluster) * 8, u64::from);
    let in_block = u64::from(units.block / u32::from(desc_size));
    let descriptor_blocks = |blocks: u64| blocks.div_ceil(in_group).div_ceil(in_block);
    if descriptor_blocks(most) > descriptor_blocks(blocks) {
        if revision == 0 {
            return Err(OptionError::conflict("-r 0", "a file system of revision 0 cannot grow (-E resize=)"));
        }
        features.compat |= Compat::RESIZE_INODE;
    }
    Ok(Some(most))
}

/// Which quota files are made.
fn quota(f: &Features, e: &Extended) -> QuotaKinds {
    if !f.ro_compat.contains(RoCompat::QUOTA) {
        return QuotaKinds::default();
    }
    let mut kinds = e.quota.unwrap_or(QuotaKinds { user: true, group: true, project: false });
    kinds.project |= f.ro_compat.contains(RoCompat::PROJECT);
    kinds
}

fn orphan_file_size(e: &Extended, block: u32, f: &Features) -> Result<Option<u64>, OptionError> {
    /// Most blocks that the kernel reads (`ext4_init_orphan_info`).
    const MOST_BLOCKS: u64 = 512;
    let Some(text) = &e.orphan_file else {
        return Ok(None);
    };
    if !f.compat.contains(Compat::ORPHAN_FILE) {
        return Err(OptionError::conflict(format!("-E orphan_file_size={text}"), "needs the feature orphan_file"));
    }
    let block = u64::from(block);
    let blocks = bytes(text, block).map(|b| b / block).filter(|b| (1..=MOST_BLOCKS).contains(b));
    blocks.map(|b| Some(b * block)).ok_or_else(|| {
        OptionError::value(
            "-E orphan_file_size=",
            text.clone(),
            format!("wants 1 to {MOST_BLOCKS} blocks of {block} bytes"),
        )
    })
}

fn root_owner(request: &Request, e: &Extended, facts: &Facts) -> Result<Option<(u32, u32)>, OptionError> {
    match e.root_owner {
        None => Ok(None),
        Some(RootOwner::Ids(uid, gid)) => Ok(Some((uid, gid))),
        Some(RootOwner::Caller) if request.is_reproducible() => Err(OptionError::conflict(
            "-E root_owner",
            "a reproducible image cannot depend on who makes it; give root_owner=UID:GID",
        )),
        Some(RootOwner::Caller) => Ok(Some(facts.caller)),
    }
}

fn revision(request: &Request, e: &Extended) -> Result<u32, OptionError> {
    match request.revision.as_deref() {
        None => Ok(e.revision.unwrap_or(1)),
        Some(text) => Ok(number_in("-r", text, 0..=1)? as u32),
    }
}

fn check_paths(request: &Request) -> Result<(), OptionError> {
    for path in &request.dax_paths {
        if path.first() != Some(&b'/') {
            let shown = String::from_utf8_lossy(path);
            return Err(OptionError::value("--dax", shown, "wants an absolute path inside the image"));
        }
    }
    Ok(())
}

/// A journal device holds a journal and nothing else.
fn check_journal_device(request: &Request, e: &Extended, facts: &Facts, blocks: u64) -> Result<(), OptionError> {
    let refuse = |what: &str| Err(OptionError::conflict("-O journal_dev", format!("a journal device has no {what}")));
    if facts.content.is_some() {
        return refuse("files (-d)");
    }
    if !request.dax_paths.is_empty() {
        return refuse("files (--dax)");
    }
    if request.with_journal || !request.journal.is_empty() {
        return refuse("journal of its own (-j, -J)");
    }
    if e.resize.is_some() {
        return refuse("resize inode (-E resize=)");
    }
    if blocks < journal::LEAST_JOURNAL_BLOCKS {
        return Err(OptionError::Size(format!(
            "{blocks} blocks: a journal has at least {}",
            journal::LEAST_JOURNAL_BLOCKS
        )));
    }
    Ok(())
}

/// Whether extended attributes of the source are copied; known before the source is read.
///
/// # Errors
/// An `-E` option that cannot be read.
pub fn copies_xattrs(request: &Request) -> Result<bool, OptionError> {
    Ok(Extended::parse(&request.extended)?.copy_xattrs)
}

/// Where the file system begins in its file (`-E offset=`).
///
/// # Errors
/// An `-E` option that cannot be read.
pub fn offset(request: &Request) -> Result<u64, OptionError> {
    Ok(Extended::parse(&request.extended)?.offset)
}

/// Bytes in a block; known before the source is read.
///
/// # Errors
/// A size or a feature that cannot be.
pub fn block_size(request: &Request, facts: &Facts) -> Result<u32, OptionError> {
    let e = Extended::parse(&request.extended)?;
    let j = JournalWords::parse(&request.journal)?;
    let os = creator_os(request.creator_os.as_deref())?;
    let features = wanted_features(request, &e, &j, revision(request, &e)?, os)?;
    Ok(Units::resolve(request, &features, facts, &mut Vec::new())?.block)
}

/// The path of the external journal that `-J device=` names.
///
/// # Errors
/// A `-J` option that cannot be read.
pub fn journal_device_path(request: &Request) -> Result<Option<String>, OptionError> {
    Ok(JournalWords::parse(&request.journal)?.device)
}

/// Resolves what was typed.
///
/// # Errors
/// The first wish that cannot be met, in one line.
pub fn resolve(request: &Request, facts: &Facts) -> Result<Resolved, OptionError> {
    let mut notices = Vec::new();
    check_paths(request)?;
    let e = Extended::parse(&request.extended)?;
    let j = JournalWords::parse(&request.journal)?;
    let revision = revision(request, &e)?;
    let os = creator_os(request.creator_os.as_deref())?;
    let mut features = wanted_features(request, &e, &j, revision, os)?;
    let is_journal_device = features.incompat.contains(Incompat::JOURNAL_DEV);
    if is_journal_device {
        features::reduce_to_journal_device(&mut features);
    }

    let units = Units::resolve(request, &features, facts, &mut notices)?;
    let extent = sizes::extent(request, &units, e.offset, facts, &mut notices)?;
    let blocks = extent.blocks;
    if is_journal_device {
        check_journal_device(request, &e, facts, blocks)?;
    }
    sizes::check_block_count(blocks, &units, &mut features)?;

    let desc_size = descriptor_size(&e, &features)?;
    let blocks_per_group = sizes::blocks_per_group(request, &units)?;
    let resize_max = resize_max(&e, &units, blocks, blocks_per_group, desc_size, revision, &mut features)?;
    let usage = usage::find(request.usage.as_deref(), blocks.saturating_mul(u64::from(units.block)), os == HURD)?;
    let inode_size = inode_size(request, usage.inode_size, units.block, revision)?;
    let journal = journal::resolve(&j, &mut features, units.block, blocks, facts, &mut notices)?;
    features::check(&mut features, inode_size, &mut notices)?;
    if inode_size == 128 && revision > 0 {
        notices.push(Notice::warning("inodes of 128 bytes cannot hold times after 2038, nor parts of a second"));
    }
    let inodes = inode_count(request, &units, usage.inode_ratio, blocks, inode_size, &features, facts)?;
    let percent = if is_journal_device { 0.0 } else { reserved_percent(request.reserved_percent.as_deref())? };
    if e.stride != 0 && e.stripe_width % u32::from(e.stride) != 0 {
        notices.push(Notice::warning(format!(
            "-E stripe_width={} is not a multiple of stride={}",
            e.stripe_width, e.stride
        )));
    }
    let (encoding, encoding_flags) = encoding(&features, &e)?;
    let flex_bg_size = sizes::flex_bg_size(request, &features)?;
    let packed = features.incompat.contains(Incompat::FLEX_BG) && e.packed.unwrap_or(true);
    let mount_opts =
        if revision == 0 { DefaultMountOpts::empty() } else { DefaultMountOpts::ACL | DefaultMountOpts::USER_XATTR };

    let root_owner = root_owner(request, &e, facts)?;
    let params = Params {
        block_size: units.block,
        cluster_size: units.cluster,
        blocks_count: blocks,
        features,
        revision,
        inode_size,
        inodes,
        blocks_per_group,
        flex_bg_size,
        metadata: if packed { MetadataPlace::Packed } else { MetadataPlace::PerFlexGroup },
        num_backup_sb: e.num_backup_sb,
        desc_size,
        reserved_blocks: (percent * blocks as f64 / 100.0) as u64,
        resize_max,
        journal,
        label: identity::text_field("-L", request.label.as_deref(), 16, &mut notices)?,
        identity: identity::identity(request, e.hash_seed, facts)?,
        last_mounted: identity::text_field("-M", request.last_mounted.as_deref(), 64, &mut notices)?,
        creator_os: os,
        errors: error_behaviour(request.errors.as_deref())?,
        hash_version: HashVersion::HalfMd4,
        default_mount_opts: mount_opts.bits(),
        mount_opts: Vec::new(),
        stride: e.stride,
        stripe_width: e.stripe_width,
        mmp_interval: if features.incompat.contains(Incompat::MMP) { mmp_interval(&e) } else { 0 },
        orphan_file_size: orphan_file_size(&e, units.block, &features)?,
        encoding,
        encoding_flags,
        // Zero lets the kernel choose one when the first key is derived.
        encrypt_pw_salt: [0; 16],
        quota: quota(&features, &e),
        root_owner: root_owner.unwrap_or_default(),
        root_perms: e.root_perms,
        root_selinux: e.root_selinux.clone(),
        test_fs: e.test_fs,
        lazy_itable_init: e.lazy_itable_init,
        lazy_journal_init: e.lazy_journal_init,
        data_offset: e.offset,
        time: identity::time(request, facts),
        reproducible: request.is_reproducible(),
        page_size: units.page,
        holes: request.holes.unwrap_or_default(),
        dax_paths: request.dax_paths.clone(),
        order: request.order.clone(),
        sized_by_content: request.blocks.is_some(),
        threads: request.threads.unwrap_or(facts.processors).max(1),
    };
    if !is_journal_device {
        dax::check(&params, !request.dax_paths.is_empty(), &mut notices)?;
    }
    Ok(Resolved {
        params,
        notices,
        image_len: extent.image_len,
        offset: e.offset,
        discard: e.discard,
        prezeroed: e.prezeroed,
        root_owner,
        root_perms: e.root_perms,
    })
}

/// Seconds between two updates of the MMP block (`EXT4_MMP_UPDATE_INTERVAL`).
fn mmp_interval(e: &Extended) -> u16 {
    e.mmp_interval.filter(|n| *n != 0).unwrap_or(5)
}

fn descriptor_size(e: &Extended, f: &Features) -> Result<u16, OptionError> {
    match (e.desc_size, f.incompat.contains(Incompat::BIT64)) {
        (size, true) => Ok(size.unwrap_or(64)),
        (None, false) => Ok(32),
        (Some(size), false) => {
            Err(OptionError::conflict(format!("-E desc_size={size}"), "needs the feature 64bit (-O 64bit)"))
        }
    }
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
