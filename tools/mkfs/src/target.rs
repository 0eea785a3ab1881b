//! The target: new, or there already; what may be done to it; and how its old content is made unrecognisable.
//!
//! Invariant: from the moment an existing target is changed until its new superblock is written, nothing in it can be taken
//! for a file system. A new file has no name until it is complete.

use crate::signatures;
use anyhow::{Context, Result, bail};
use daxkit_cli::question;
use daxkit_device::{BlockDevice, DeviceError, FileDevice, FileOptions, OpenError};
use daxkit_format::ext4::super_block::{self, MAGIC, SUPER_BLOCK_OFFSET, SuperBlock};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes at the start that hold whatever marks a file system, a volume or a partition table.
const HEAD: u64 = 128 << 10;
/// Bytes at the end that hold backups of such marks (GPT, MD RAID).
const TAIL: u64 = 64 << 10;
/// More copies of an old superblock than this are not looked for.
const MOST_BACKUPS: usize = 1 << 20;
/// Holes of a sparse file that are worth knowing before zeroing.
const MOST_HOLES: usize = 1 << 16;

/// The target as found.
#[derive(Debug)]
pub(crate) enum Target {
    /// Nothing has that name yet.
    New,
    /// A regular file or block device, open and locked unless the run is dry.
    Existing(FileDevice),
}

impl Target {
    /// Looks at the path, and takes an existing target for writing unless the run is dry.
    pub(crate) fn open(path: &Path, dry_run: bool) -> Result<Self> {
        match fs::metadata(path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if fs::symlink_metadata(path).is_ok() {
                    bail!("{}: is a symbolic link to nothing", path.display());
                }
                let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
                if !fs::metadata(parent).is_ok_and(|meta| meta.is_dir()) {
                    bail!("{}: {} is not a directory", path.display(), parent.display());
                }
                if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
                    bail!("{}: is the name of a directory", path.display());
                }
                return Ok(Self::New);
            }
            Err(error) => return Err(OpenError::from_io(path, "open", error).into()),
        }
        let options = if dry_run { FileOptions::read_only() } else { FileOptions::read_write() };
        Ok(Self::Existing(FileDevice::open(path, options)?))
    }

    /// Numbers that tell the file from all others on the host.
    pub(crate) fn identity(&self) -> Option<(u64, u64)> {
        match self {
            Self::New => None,
            Self::Existing(device) => device.file().metadata().ok().map(|meta| (meta.dev(), meta.ino())),
        }
    }
}

/// Refuses to overwrite data unless that was asked for, or somebody at the terminal agrees. `from` is where the file system
/// will begin.
pub(crate) fn check_content(path: &Path, device: &FileDevice, from: u64, force: bool) -> Result<()> {
    if force || from >= device.len() {
        return Ok(());
    }
    let read = || -> Result<Option<String>> {
        let window = FileDevice::from_file(
            device.file().try_clone()?,
            path,
            FileOptions::read_only().offset(from).len(device.len() - from),
        )?;
        Ok(signatures::content(&window)?)
    };
    let Some(what) = read().with_context(|| path.display().to_string())? else {
        return Ok(());
    };
    if question::can_ask() && question::ask(format_args!("{} holds {what}. Proceed anyway?", path.display())) {
        return Ok(());
    }
    bail!("{}: holds {what}; -F overwrites it", path.display());
}

/// Makes the old content of a window unrecognisable before anything new is written, and knows as much of it as zero as the
/// host can make zero cheaply.
pub(crate) fn wipe(window: &FileDevice, discard: bool) -> Result<(), DeviceError> {
    // Copies before the original: a crash in between leaves the old file system as it was, or nothing.
    zap(window)?;
    if discard {
        window.punch_all()?;
    } else if !window.is_block_device() {
        window.learn_holes(MOST_HOLES)?;
    }
    window.flush()
}

/// Zeroes every place by which a file system can be found: first copies of old superblocks, then both ends.
pub(crate) fn zap(device: &dyn BlockDevice) -> Result<(), DeviceError> {
    let len = device.len();
    for (at, size) in old_copies(device)? {
        device.write_zeroes(at, size.min(len.saturating_sub(at)))?;
    }
    let tail = len.saturating_sub(TAIL);
    device.write_zeroes(tail, len - tail)?;
    device.flush()?;
    device.write_zeroes(0, len.min(HEAD))?;
    device.flush()
}

/// Places of old superblock copies, with their lengths: those the superblock names, and those of the usual geometries.
fn old_copies(device: &dyn BlockDevice) -> Result<Vec<(u64, u64)>, DeviceError> {
    let len = device.len();
    let mut head = vec![0; len.min(4096) as usize];
    device.read_at(0, &mut head)?;
    let mut found = Vec::new();
    if let Some(sb) = head.get(SUPER_BLOCK_OFFSET as usize..).and_then(super_block::parse) {
        found.extend(ext_copies(&sb, len).map(|at| (at, 1024)));
    }
    if head.starts_with(b"XFSB") {
        found.extend(xfs_copies(&head, len).map(|at| (at, 4096)));
    }
    for block in [1024u64, 2048, 4096, 65536] {
        let first = u64::from(block == 1024);
        for group in usual_groups(len / (block * block * 8)) {
            let at = (group * block * 8 + first) * block;
            if has_magic(device, at)? {
                found.push((at, 1024));
            }
        }
    }
    Ok(found)
}

/// Groups up to `last` that keep a copy under `sparse_super`.
fn usual_groups(last: u64) -> Vec<u64> {
    let mut groups = vec![1];
    for base in [3u64, 5, 7] {
        groups.extend(std::iter::successors(Some(base), |g| g.checked_mul(base)).take_while(|g| *g <= last));
    }
    groups.retain(|g| *g <= last);
    groups
}

fn has_magic(device: &dyn BlockDevice, at: u64) -> Result<bool, DeviceError> {
    if at.checked_add(1024).is_none_or(|end| end > device.len()) {
        return Ok(false);
    }
    let mut magic = [0; 2];
    device.read_at(at + 0x38, &mut magic)?;
    Ok(u16::from_le_bytes(magic) == MAGIC)
}

/// Offsets of the copies a superblock speaks of, as far as they lie on the device. Its numbers are not to be trusted.
fn ext_copies(sb: &SuperBlock, len: u64) -> impl Iterator<Item = u64> + '_ {
    let block = sb.block_size().map_or(0, u64::from);
    let per_group = u64::from(sb.s_blocks_per_group.get());
    let first = u64::from(sb.s_first_data_block.get());
    let groups = if block == 0 || per_group == 0 { 0 } else { sb.groups_count().unwrap_or(0) };
    (1..groups)
        .map_while(move |group| {
            let at = u64::from(group).checked_mul(per_group)?.checked_add(first)?.checked_mul(block)?;
            at.checked_add(1024).filter(|end| *end <= len).map(|_| (group, at))
        })
        .filter(|(group, _)| sb.group_has_super(*group))
        .map(|(_, at)| at)
        .take(MOST_BACKUPS)
}

/// Starts of an XFS's allocation groups (`sb_blocksize`, `sb_agblocks`, `sb_agcount`), as far as they lie on the device.
fn xfs_copies(head: &[u8], len: u64) -> impl Iterator<Item = u64> {
    let number = |at: usize| -> u64 {
        head.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, |b| u64::from(u32::from_be_bytes(b)))
    };
    let (size, count) = (number(4).saturating_mul(number(84)), number(88));
    (1..if size == 0 { 0 } else { count })
        .map_while(move |group| group.checked_mul(size).filter(|at| *at < len))
        .take(MOST_BACKUPS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use daxkit_device::MemoryDevice;
    use daxkit_format::OnDisk;
    use zerocopy::IntoBytes;

    fn old(block_size: u32, per_group: u32, blocks: u64) -> SuperBlock {
        let mut sb = SuperBlock::zeroed();
        sb.s_magic.set(MAGIC);
        sb.s_log_block_size.set(block_size.trailing_zeros() - 10);
        sb.s_first_data_block.set(u32::from(block_size == 1024));
        sb.s_blocks_per_group.set(per_group);
        sb.set_blocks_count(blocks);
        sb
    }

    #[test]
    fn copies_of_any_geometry_are_found_and_zeroed() {
        let device = MemoryDevice::new(64 << 20);
        let sb = old(1024, 1000 * 8, 65536);
        device.write_at(1024, sb.as_bytes()).unwrap();
        let copies: Vec<u64> = ext_copies(&sb, device.len()).collect();
        assert_eq!(copies, (1..=8).map(|g| (g * 8000 + 1) * 1024).collect::<Vec<_>>());
        // One left over by a file system that was made with the usual geometry before.
        device.write_at(3 * 8192 * 1024 + 1024, sb.as_bytes()).unwrap();
        for at in &copies {
            device.write_at(*at, sb.as_bytes()).unwrap();
        }
        zap(&device).unwrap();
        for at in copies.iter().chain(&[1024, 3 * 8192 * 1024 + 1024]) {
            assert!(!has_magic(&device, *at).unwrap(), "{at}");
        }
    }

    #[test]
    fn hostile_numbers_lead_nowhere() {
        for sb in [old(1024, 0, 1 << 40), old(4096, u32::MAX, u64::MAX), old(65536, 1, u64::MAX)] {
            assert!(ext_copies(&sb, 1 << 20).count() <= 16);
        }
        let device = MemoryDevice::new(1 << 20);
        device.write_at(0, &[0xff; 4096]).unwrap();
        device.write_at(0, b"XFSB").unwrap();
        zap(&device).unwrap();
        let tiny = MemoryDevice::new(100);
        zap(&tiny).unwrap();
        zap(&MemoryDevice::new(0)).unwrap();
    }
}
