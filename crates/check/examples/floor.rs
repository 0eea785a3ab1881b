//! The least that a check can cost: every inode in use and every block of every directory is read once, and its checksum summed, on two
//! threads. Nothing else is looked at. `cargo xtask bench` runs it beside `dax-fsck -n`.
//!
//! It takes a sound image with `metadata_csum` and inodes of 256 bytes, and says how many inodes and blocks it summed.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use daxkit_device::lanes::{LANES, RECORD, crc32c, crc32c_records};
use daxkit_device::{BlockDevice, FileDevice, FileOptions};
use daxkit_format::ext4::group_desc::{GroupDesc, GroupFlags};
use daxkit_format::ext4::inode;
use daxkit_volume::{Geometry, InodeNr, OpenOptions, Volume};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Inodes that a thread reads at once.
const INODES: u32 = 1024;

/// Blocks of directories that a thread reads at once.
const BLOCKS: u64 = 16;

/// Threads.
const THREADS: usize = 2;

/// What of an inode is summed: all but the two halves of the sum.
const MASK: [u8; RECORD] = {
    let mut mask = [0xff; RECORD];
    (mask[0x7C], mask[0x7D], mask[0x82], mask[0x83]) = (0, 0, 0, 0);
    mask
};

/// A run of blocks of a directory: where it lies, how many, and what its sums begin with.
type Run = (u64, u64, u32);

fn main() -> Result<()> {
    let image = std::env::args_os().nth(1).ok_or("which image?")?;
    let device: Arc<dyn BlockDevice> = Arc::new(FileDevice::open(Path::new(&image), FileOptions::read_only())?);
    let volume = Volume::open(Arc::clone(&device), &OpenOptions::default())?;
    let geo = *volume.geometry();
    let seed = volume.verify_seed().ok_or("an image without checksums")?;
    if usize::from(geo.inode_size) != RECORD {
        return Err("inodes of another size".into());
    }
    let parts = parts(&volume, &*device, &geo)?;
    let runs = Mutex::new(Vec::new());
    let inodes = on_all(&parts, |buffer, &(first, count, at)| {
        buffer.resize(count as usize * RECORD, 0);
        device.read_at(at, buffer)?;
        sum_inodes(&volume, seed, first, buffer, &runs)
    })?;
    let mut runs = runs.into_inner().map_err(|_| "a thread died")?;
    runs.sort_unstable();
    let size = geo.block_size as usize;
    // Directories that lie behind one another are read at once.
    let joined: Vec<&[Run]> = runs.chunk_by(|one, next| one.1 == 1 && next.1 == 1 && one.0 + 1 == next.0).collect();
    let joined: Vec<&[Run]> = joined.into_iter().flat_map(|runs| runs.chunks(BLOCKS as usize)).collect();
    let blocks = on_all(&joined, |buffer, runs| {
        let mut all = 0;
        if let [(first, count, seed)] = **runs {
            for start in (0..count).step_by(BLOCKS as usize) {
                buffer.resize(BLOCKS.min(count - start) as usize * size, 0);
                device.read_at((first + start) * size as u64, buffer)?;
                all += buffer.chunks_exact(size).map(|block| sum_block(seed, block)).sum::<usize>();
            }
        } else if let Some((first, ..)) = runs.first() {
            buffer.resize(runs.len() * size, 0);
            device.read_at(first * size as u64, buffer)?;
            all = buffer.chunks_exact(size).zip(*runs).map(|(block, (_, _, seed))| sum_block(*seed, block)).sum();
        }
        Ok(all)
    })?;
    println!("{inodes} inodes, {blocks} blocks of directories");
    Ok(())
}

/// The parts of the tables that are in use: their first inodes, how many, and where they lie.
fn parts(volume: &Volume, device: &dyn BlockDevice, geo: &Geometry) -> Result<Vec<(u32, u32, u64)>> {
    let mut parts = Vec::new();
    let mut block = vec![0; geo.block_size as usize];
    for index in 0..geo.desc_blocks {
        device.read_at(volume.descriptor_block(index).get() * u64::from(geo.block_size), &mut block)?;
        let groups = index * geo.desc_per_block..geo.groups_count.min((index + 1) * geo.desc_per_block);
        for (group, desc) in groups.zip(block.chunks_exact(geo.desc_size.into())) {
            let desc = GroupDesc::from_disk(desc).ok_or("a short descriptor")?;
            if desc.flags().contains(GroupFlags::INODE_UNINIT) {
                continue;
            }
            let used = geo.inodes_per_group.saturating_sub(desc.itable_unused());
            for start in (0..used).step_by(INODES as usize) {
                let at = desc.inode_table() * u64::from(geo.block_size) + u64::from(start) * RECORD as u64;
                parts.push((group * geo.inodes_per_group + 1 + start, INODES.min(used - start), at));
            }
        }
    }
    Ok(parts)
}

/// Runs `work` for each item on all threads, with a buffer that each thread has for itself; the sum of what it returns.
fn on_all<T: Sync>(items: &[T], work: impl Fn(&mut Vec<u8>, &T) -> Result<usize> + Sync) -> Result<usize> {
    let next = AtomicUsize::new(0);
    let run = || -> Result<usize> {
        let (mut buffer, mut all) = (Vec::new(), 0);
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            all += work(&mut buffer, item)?;
        }
        Ok(all)
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..THREADS).map(|_| scope.spawn(run)).collect();
        let mine = run();
        others.into_iter().try_fold(mine?, |all, other| Ok(all + other.join().map_err(|_| "a thread died")??))
    })
}

/// Sums inodes from `first` on, and notes where directories lie. Returns how many inodes have the sum that they should.
fn sum_inodes(volume: &Volume, seed: u32, first: u32, bytes: &[u8], runs: &Mutex<Vec<Run>>) -> Result<usize> {
    let (batches, rest) = bytes.as_chunks::<RECORD>().0.as_chunks::<LANES>();
    let mut all = 0;
    let mut mine = Vec::new();
    for (batch, ino) in batches.iter().zip((first..).step_by(LANES)) {
        let mut heads = [0; LANES];
        for ((head, raw), ino) in heads.iter_mut().zip(batch).zip(ino..) {
            *head = u64::from(ino) | u64::from(word(raw, 0x64)) << 32;
        }
        let sums = crc32c_records(seed, heads, batch, &MASK);
        for (index, raw) in batch.iter().enumerate() {
            let fits = match sums.and_then(|sums| sums.get(index).copied()) {
                Some(sum) => word(raw, 0x7C) as u16 == sum as u16 && word(raw, 0x82) as u16 == (sum >> 16) as u16,
                None => inode::verify(seed, ino + index as u32, raw),
            };
            all += usize::from(fits);
            note(volume, seed, ino + index as u32, raw, &mut mine)?;
        }
    }
    for (raw, ino) in rest.iter().zip(first + (batches.len() * LANES) as u32..) {
        all += usize::from(inode::verify(seed, ino, raw));
        note(volume, seed, ino, raw, &mut mine)?;
    }
    if !mine.is_empty() {
        runs.lock().map_err(|_| "a thread died")?.append(&mut mine);
    }
    Ok(all)
}

/// Notes where a directory lies.
fn note(volume: &Volume, seed: u32, ino: u32, raw: &[u8; RECORD], runs: &mut Vec<Run>) -> Result<()> {
    if word(raw, 0) >> 12 & 0xf != 4 {
        return Ok(());
    }
    let seed = inode::checksum_seed(seed, ino, word(raw, 0x64));
    let inode = volume.decode_inode(InodeNr(ino.into()), raw.to_vec());
    for run in volume.extents(&inode) {
        let run = run?;
        runs.push((run.physical.get(), run.len, seed));
    }
    Ok(())
}

/// Sums a block of a directory; 1 if it has the sum of a block with entries.
fn sum_block(seed: u32, block: &[u8]) -> usize {
    let (area, tail) = block.split_at(block.len().saturating_sub(12));
    usize::from(tail.get(8..).and_then(|sum| sum.try_into().ok()).map(u32::from_le_bytes) == Some(crc32c(seed, area)))
}

fn word(raw: &[u8; RECORD], at: usize) -> u32 {
    raw.get(at..at + 4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_le_bytes)
}
