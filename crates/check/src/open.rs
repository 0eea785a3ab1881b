//! Getting at an image whatever state it is in: a superblock from a backup, descriptors from a backup, the journal replayed.
//! What that comes to is written into the overlay that is given, and said.

use std::sync::Arc;

use daxkit_device::{BlockDevice, Overlay};
use daxkit_format::ext4::super_block::{self, SUPER_BLOCK_OFFSET, SuperBlock};
use daxkit_volume::{Corruption, Geometry, GeometryError, OpenOptions, Volume, VolumeError};
use zerocopy::IntoBytes;

use crate::code::Code;
use crate::finding::{At, Finding};
use crate::image::{Image, bitmaps_fit};
use crate::repair::Fix;

/// The overlay that all is read through.
pub(crate) type Edits = Overlay<Arc<dyn BlockDevice>>;

/// Groups that have backups in one layout or another.
const BACKUP_GROUPS: &[u64] = &[1, 3, 5, 7, 9, 25, 27, 49, 81, 125, 243, 343];

/// How to open.
#[derive(Debug, Clone, Default)]
pub struct Opening {
    /// Take the superblock from this block.
    pub super_block: Option<u64>,
    /// The block size with which it counts.
    pub block_size: Option<u32>,
    /// The device with the journal.
    pub journal: Option<Arc<dyn BlockDevice>>,
}

/// An image that was opened, or nothing that could be.
pub(crate) struct Opened {
    pub(crate) image: Option<Image>,
    pub(crate) findings: Vec<Finding>,
}

fn fatal(code: Code, why: &VolumeError) -> Opened {
    let finding = Finding::new(code, At::Super("")).stored(why.to_string());
    Opened { image: None, findings: vec![finding] }
}

/// What is wrong with a superblock that cannot be used.
fn code_of(error: &VolumeError) -> Code {
    match error {
        VolumeError::Corrupt { why: Corruption::Geometry(GeometryError::Truncated { .. }), .. } => Code::SuperSize,
        _ => Code::SuperNumbers,
    }
}

/// Opens the image below `edits`.
pub(crate) fn open(edits: &Arc<Edits>, opening: &Opening) -> Opened {
    let device = || Arc::clone(edits) as Arc<dyn BlockDevice>;
    let mut findings = Vec::new();
    let first = match opening.super_block {
        Some(_) => None,
        None => Some(Image::open(device())),
    };
    let image = match first {
        Some(Ok(image)) if is_whole(&image) => Ok(image),
        Some(Err(error @ VolumeError::Unsupported(_))) => return fatal(Code::SuperUnsupported, &error),
        other => {
            let code = match &other {
                Some(Ok(_)) => Code::SuperChecksum,
                Some(Err(error @ VolumeError::Corrupt { .. })) => code_of(error),
                _ => Code::SuperMagic,
            };
            match from_backup(edits, opening) {
                Some(block) => {
                    let finding = Finding::new(code, At::Super("")).observed(format!("that of block {block}"));
                    findings.push(finding.fix(Fix::Done));
                    Image::open(device())
                }
                None => match other {
                    Some(found) => patched(edits, &mut findings).unwrap_or(found),
                    None => Image::open(device()),
                },
            }
        }
    };
    let image = match image {
        Ok(image) => image,
        Err(error @ VolumeError::Unsupported(_)) => return fatal(Code::SuperUnsupported, &error),
        Err(error @ VolumeError::Corrupt { .. }) => return fatal(code_of(&error), &error),
        Err(error) => return fatal(Code::SuperMagic, &error),
    };
    let image = descriptors(edits, image, &mut findings);
    let image = replayed(edits, image, opening, &mut findings);
    Opened { image: Some(image), findings }
}

/// Whether the superblock is one that nothing else contradicts.
fn is_whole(image: &Image) -> bool {
    counts_its_inodes(&image.sb) && (!image.has.metadata_csum || image.sb.verify() || image.groups_are_placed())
}

/// Whether the inodes are those of the groups.
fn counts_its_inodes(sb: &SuperBlock) -> bool {
    let all = sb.groups_count().and_then(|groups| groups.checked_mul(sb.s_inodes_per_group.get()));
    all == Some(sb.s_inodes_count.get())
}

/// Whether an image of this length can be opened with a superblock.
fn can_be(sb: &SuperBlock, len: u64) -> bool {
    Geometry::check(sb, len, true).is_ok_and(|geo| bitmaps_fit(&geo, len))
}

/// The superblock with the blocks that there are, when it claims more and its count of inodes says that these are all.
fn with_blocks_of(sb: &SuperBlock, len: u64) -> Option<SuperBlock> {
    let blocks = len / u64::from(sb.block_size()?);
    let mut with = *sb;
    with.set_blocks_count(blocks);
    (sb.blocks_count() > blocks && counts_its_inodes(&with)).then_some(with)
}

fn read_super(edits: &Edits, at: u64) -> Option<SuperBlock> {
    let mut bytes = [0; size_of::<SuperBlock>()];
    edits.read_at(at, &mut bytes).ok()?;
    super_block::parse(&bytes)
}

/// Writes the first backup that can be used in place of the superblock. Returns the block it was in.
fn from_backup(edits: &Edits, opening: &Opening) -> Option<u64> {
    let sizes: Vec<u64> = match opening.block_size {
        Some(size) => vec![size.into()],
        None => (0..=6).map(|log| 1024 << log).collect(),
    };
    let per_group = read_super(edits, SUPER_BLOCK_OFFSET).map(|sb| u64::from(sb.s_blocks_per_group.get()));
    let mut places = Vec::new();
    for size in sizes {
        if let Some(block) = opening.super_block {
            places.push((block, size));
            continue;
        }
        let first = u64::from(size == 1024);
        for per in per_group.into_iter().filter(|n| *n > 0 && *n <= size * 8).chain([size * 8]) {
            places.extend(BACKUP_GROUPS.iter().map(|group| (group * per + first, size)));
        }
    }
    for (block, size) in places {
        let Some(at) = block.checked_mul(size) else { continue };
        let Some(sb) = read_super(edits, at) else { continue };
        let fits = sb.block_size().map(u64::from) == Some(size)
            && (!sb.has_metadata_csum() || sb.verify())
            && counts_its_inodes(&sb)
            && can_be(&sb, edits.len());
        if !fits {
            continue;
        }
        let mut sb = sb;
        sb.s_block_group_nr = 0.into();
        if sb.has_metadata_csum() {
            sb.seal();
        }
        if edits.write_at(SUPER_BLOCK_OFFSET, sb.as_bytes()).is_ok() {
            return Some(block);
        }
    }
    None
}

/// A superblock of which one number is wrong, and no backup says which: the ones that follow from others are written.
fn patched(edits: &Arc<Edits>, findings: &mut Vec<Finding>) -> Option<Result<Image, VolumeError>> {
    let sb = read_super(edits, SUPER_BLOCK_OFFSET)?;
    let inodes = sb.groups_count().and_then(|groups| groups.checked_mul(sb.s_inodes_per_group.get()));
    let mut tries: Vec<(Code, &'static str, SuperBlock)> = Vec::new();
    tries.extend(with_blocks_of(&sb, edits.len()).map(|with| (Code::SuperSize, "s_blocks_count_lo", with)));
    if let Some(inodes) = inodes {
        let mut with = sb;
        with.s_inodes_count = inodes.into();
        tries.push((Code::SuperInodesCount, "s_inodes_count", with));
    }
    let mut with = sb;
    with.s_first_meta_bg = 0.into();
    tries.push((Code::SuperFirstMetaBg, "s_first_meta_bg", with));
    let mut with = sb;
    with.s_inode_size = 128.into();
    tries.push((Code::SuperNumbers, "s_inode_size", with));
    let claimed = sb.blocks_count().saturating_mul(sb.block_size().unwrap_or(0).into());
    for (code, field, mut sb) in tries {
        if !can_be(&sb, edits.len()) {
            continue;
        }
        if sb.has_metadata_csum() {
            sb.seal();
        }
        edits.write_at(SUPER_BLOCK_OFFSET, sb.as_bytes()).ok()?;
        let mut finding = Finding::new(code, At::Super(field)).fix(Fix::Done);
        if code == Code::SuperSize {
            finding = finding.stored(claimed).observed(edits.len());
        }
        findings.push(finding);
        return Some(Image::open(Arc::clone(edits) as Arc<dyn BlockDevice>));
    }
    None
}

/// Takes the descriptors of a backup when the primary ones cannot be used.
fn descriptors(edits: &Arc<Edits>, image: Image, findings: &mut Vec<Finding>) -> Image {
    if image.groups_are_placed() || image.has.meta_bg {
        return image;
    }
    let size = image.block_size();
    for group in super::pass::special::backups(&image) {
        let start = image.geo.group_first_block(daxkit_volume::GroupNr(group)).get();
        let blocks: Option<Vec<Vec<u8>>> =
            (0..image.geo.desc_blocks).map(|index| image.block(start + 1 + u64::from(index)).ok()).collect();
        let Some(blocks) = blocks else { continue };
        edits.set_savepoint();
        let written = blocks.iter().enumerate().all(|(index, bytes)| {
            let at = image.volume.descriptor_block(index as u32).get() * size as u64;
            edits.write_at(at, bytes).is_ok()
        });
        let again = Image::open(Arc::clone(edits) as Arc<dyn BlockDevice>);
        match again {
            Ok(again) if written && again.groups_are_placed() => {
                edits.release_savepoint();
                findings.push(
                    Finding::new(Code::GroupTable, At::Group(0, ""))
                        .observed(format!("those of group {group}"))
                        .fix(Fix::Done),
                );
                return again;
            }
            _ => edits.roll_back_to_savepoint(),
        }
    }
    image
}

/// Replays the journal, if it wants to be and can be.
fn replayed(edits: &Arc<Edits>, image: Image, opening: &Opening, findings: &mut Vec<Finding>) -> Image {
    if !image.volume.needs_recovery() || !image.has.journal {
        return image;
    }
    let options = OpenOptions {
        ignore_checksums: true,
        replay: true,
        journal: opening.journal.clone(),
        ..OpenOptions::default()
    };
    let Ok(volume) = Volume::open(Arc::clone(edits) as Arc<dyn BlockDevice>, &options) else {
        // What keeps it from being replayed is found by who checks the journal.
        return image;
    };
    let mut pending = Finding::new(Code::JournalPending, At::Journal);
    if let Some(report) = volume.replay_report() {
        pending = pending.stored(format!("{} blocks", report.blocks));
        if !report.is_complete() {
            findings.push(
                Finding::new(Code::JournalCorrupt, At::Journal)
                    .stored(format!("{} blocks left out", report.bad_blocks))
                    .fix(Fix::Done),
            );
        }
    }
    findings.push(pending.fix(Fix::Done));
    let Some(overlay) = volume.replay_overlay() else { return image };
    // A device that fails here fails again when it is read, and is named then.
    if overlay.apply_to(&**edits).is_err() {
        return image;
    }
    Image::open(Arc::clone(edits) as Arc<dyn BlockDevice>).unwrap_or(image)
}
