//! The least the work can cost: throw-away writers that do only what cannot be left out.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use anyhow::{Result, anyhow};

/// The numbers of an ext4 image that decide how much an empty one must hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Geometry {
    /// Bytes in the image; a multiple of `block_size`.
    pub(super) len: u64,
    pub(super) block_size: u64,
    /// Bytes in one group descriptor.
    pub(super) descriptor_size: u64,
}

impl Geometry {
    fn blocks_per_group(self) -> u64 {
        // One block of bitmap has a bit for each block of the group.
        self.block_size * 8
    }

    fn groups(self) -> u64 {
        (self.len / self.block_size).div_ceil(self.blocks_per_group())
    }

    /// Bytes of one copy of the superblock and all descriptors, in whole blocks.
    fn copy_len(self) -> u64 {
        self.block_size + (self.groups() * self.descriptor_size).next_multiple_of(self.block_size)
    }

    /// The groups that have a copy: 0, 1 and the powers of 3, 5 and 7 (`ext4_bg_has_super` with sparse_super).
    fn groups_with_copy(self) -> Vec<u64> {
        let mut groups = vec![0, 1];
        for base in [3u64, 5, 7] {
            groups.extend(
                std::iter::successors(Some(base), |power| power.checked_mul(base)).take_while(|p| *p < self.groups()),
            );
        }
        groups.retain(|group| *group < self.groups());
        groups.sort_unstable();
        groups
    }

    /// Bytes of all copies.
    pub(super) fn descriptor_bytes(self) -> u64 {
        self.copy_len() * self.groups_with_copy().len() as u64
    }
}

/// Writes the descriptors and their backups once, with as many bytes as they have.
pub(super) fn descriptors(target: &Path, geometry: Geometry) -> Result<()> {
    let file = OpenOptions::new().write(true).open(target)?;
    let copy = vec![0xa5; usize::try_from(geometry.copy_len())?];
    let groups = geometry.groups_with_copy();
    let next = AtomicUsize::new(0);
    in_two_threads(|| {
        while let Some(group) = groups.get(next.fetch_add(1, Ordering::Relaxed)) {
            file.write_all_at(&copy, group * geometry.blocks_per_group() * geometry.block_size)?;
        }
        Ok(())
    })?;
    file.sync_all()?;
    Ok(())
}

fn in_two_threads(work: impl Fn() -> Result<()> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let threads = [scope.spawn(&work), scope.spawn(&work)];
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread of the floor died"))?)
    })
}

/// How much a thread gathers before it writes.
const BUFFER: usize = 1 << 20;

/// Two threads read all files and write their bytes to the target.
pub(super) fn read_and_write(target: &Path, files: &[PathBuf]) -> Result<()> {
    let file = OpenOptions::new().write(true).open(target)?;
    let next = AtomicUsize::new(0);
    let end = AtomicU64::new(0);
    in_two_threads(|| copy_some(&file, files, &next, &end))?;
    file.sync_all()?;
    Ok(())
}

fn copy_some(target: &File, files: &[PathBuf], next: &AtomicUsize, end: &AtomicU64) -> Result<()> {
    let mut buf = vec![0; BUFFER];
    let mut filled = 0;
    let flush = |data: &[u8]| target.write_all_at(data, end.fetch_add(data.len() as u64, Ordering::Relaxed));
    while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
        let mut file = File::open(path)?;
        loop {
            if filled == buf.len() {
                flush(&buf)?;
                filled = 0;
            }
            match file.read(buf.get_mut(filled..).unwrap_or_default())? {
                0 => break,
                n => filled += n,
            }
        }
    }
    flush(buf.get(..filled).unwrap_or_default())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifteen_tebibytes_have_25_copies_of_the_descriptors() {
        let geometry = Geometry { len: 15 << 40, block_size: 4096, descriptor_size: 64 };
        assert_eq!(geometry.groups(), 122_880);
        let copies = geometry.groups_with_copy();
        assert_eq!(copies.len(), 25);
        assert_eq!(copies.last(), Some(&117_649));
        assert_eq!(geometry.descriptor_bytes(), 25 * (4096 + 122_880 * 64));
    }

    #[test]
    fn a_small_image_has_the_first_copies_only() {
        let groups = |nr: u64| Geometry { len: nr << 27, block_size: 4096, descriptor_size: 64 }.groups_with_copy();
        assert_eq!(groups(1), [0]);
        assert_eq!(groups(3), [0, 1]);
        assert_eq!(groups(10), [0, 1, 3, 5, 7, 9]);
    }

    #[test]
    fn every_byte_read_is_written_once() {
        let dir = std::env::temp_dir().join(format!("daxkit-floor-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory can be made");
        let mut files = Vec::new();
        let mut expected = 0u64;
        for nr in 1..=9u8 {
            let path = dir.join(format!("{nr}"));
            std::fs::write(&path, vec![nr; usize::from(nr) * 200_000]).expect("written");
            expected += u64::from(nr) * 200_000 * u64::from(nr);
            files.push(path);
        }
        let target = dir.join("target");
        std::fs::write(&target, "").expect("written");
        read_and_write(&target, &files).expect("copied");
        let sum: u64 = std::fs::read(&target).expect("read").iter().map(|b| u64::from(*b)).sum();
        assert_eq!(sum, expected);
        std::fs::remove_dir_all(&dir).expect("the directory is ours");
    }
}
