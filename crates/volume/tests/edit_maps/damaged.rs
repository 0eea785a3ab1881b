//! Damaged maps are changed at random: only that it comes to an end, without a panic, counts.

use crate::common::edit::{NOW, Rng, seed};
use crate::common::{mke2fs, scratch};
use crate::files;
use daxkit_device::MemoryDevice;
use daxkit_format::{BlockNr, InodeNr};
use daxkit_volume::ext4::edit::Fill;
use daxkit_volume::{EditError, Editor, OpenOptions, Volume};
use std::sync::Arc;

/// A sound image with two files of many pieces.
fn image(args: &str) -> (Vec<u8>, [InodeNr; 2]) {
    let dir = scratch();
    let path = mke2fs(dir.path(), "image", args, None, "8M");
    let bytes = std::fs::read(&path).expect("read");
    let mut volume = open(&bytes);
    let nrs = files(&mut volume);
    let bs = u64::from(volume.block_size());
    volume
        .change(NOW, |e| {
            for (nr, step) in nrs.into_iter().zip([3, 7]) {
                let mut inode = e.inode(nr)?;
                for i in 0..400 {
                    e.write_content(&mut inode, i * step * bs, &[i as u8])?;
                }
                e.fallocate(&mut inode, 9 << 20..(9 << 20) + 100_000, Fill::Unwritten, false)?;
            }
            Ok::<_, EditError>(())
        })
        .expect("written");
    let mut all = vec![0; bytes.len()];
    volume.device().read_at(0, &mut all).expect("read");
    (all, nrs)
}

fn open(bytes: &[u8]) -> Volume {
    let options = OpenOptions { writable: true, ignore_checksums: true, ..OpenOptions::default() };
    Volume::open(Arc::new(MemoryDevice::from_bytes(bytes)), &options).expect("a volume")
}

/// Damages the maps of two files: their inodes, and the blocks of the maps.
fn damage(volume: &mut Volume, nrs: &[InodeNr; 2], nodes: &[BlockNr], rng: &mut Rng) {
    let count = volume.geometry().blocks_count;
    volume
        .change(NOW, |e| {
            for _ in 0..1 + rng.below(6) {
                let values =
                    [0, 1, 4, 0xff, rng.below(count), rng.below(1 << 13), u64::MAX, 0xf30a, 0x7fff_ffff, 1 << 15];
                let value = values[rng.below(values.len() as u64) as usize].to_le_bytes();
                let len = [1, 2, 4][rng.below(3) as usize];
                let put = |bytes: &mut [u8], rng: &mut Rng| {
                    // Heads and first entries count most.
                    let room = if rng.below(2) == 0 { 48 } else { bytes.len() as u64 };
                    let at = (rng.below(room) as usize).min(bytes.len() - len);
                    bytes[at..at + len].copy_from_slice(&value[..len]);
                };
                if rng.below(2) == 0 {
                    let mut inode = e.inode(nrs[rng.below(2) as usize])?;
                    e.modify_raw(&mut inode, |raw| match rng.below(4) {
                        0 => put(&mut raw[4..40], rng),
                        1 => put(&mut raw[0x64..0x80], rng),
                        _ => put(&mut raw[40..100], rng),
                    });
                    e.store_inode(&mut inode)?;
                } else {
                    let block = nodes[rng.below(nodes.len() as u64) as usize];
                    let mut bytes = e.read_block(block)?;
                    if rng.below(5) == 0 {
                        let other = nodes[rng.below(nodes.len() as u64) as usize];
                        bytes = e.read_block(other)?;
                    } else {
                        put(&mut bytes, rng);
                    }
                    e.write_block(block, &bytes)?;
                }
            }
            Ok::<_, EditError>(())
        })
        .expect("damaged");
}

fn edit(e: &mut Editor<'_>, nr: InodeNr, rng: &mut Rng) -> Result<(), EditError> {
    let mut inode = e.inode(nr)?;
    let bs = u64::from(e.block_size());
    let block = match rng.below(4) {
        0 => rng.below(1 << 33),
        _ => rng.below(12_000),
    };
    let len = 1 + rng.below(60);
    match rng.below(8) {
        0 | 1 => e.write_content(&mut inode, block * bs + rng.below(9), &vec![3; (len * bs) as usize]),
        2 => e.punch(&mut inode, block..block + len),
        3 => e.punch(&mut inode, 0..u64::MAX),
        4 => e.truncate(&mut inode, block * bs + 1),
        5 => e.fallocate(&mut inode, block * bs..(block + len) * bs, Fill::Zeroes, rng.below(2) == 0),
        6 => e.append_block(&mut inode).map(|_| ()),
        _ => e.convert_map(&mut inode, rng.below(2) == 0),
    }
}

#[test]
fn damaged_maps_never_harm_who_changes_them() {
    let kinds = [
        "-t ext4 -b 1024",
        "-t ext2 -b 1024",
        "-t ext4 -b 1024 -O bigalloc -C 4096",
        "-t ext4 -b 1024 -O ^metadata_csum",
    ];
    for (kind, args) in kinds.iter().enumerate() {
        let seed = seed(100 + kind as u64);
        let mut rng = Rng::new(seed);
        let (bytes, nrs) = image(args);
        let sound = open(&bytes);
        let nodes: Vec<BlockNr> = nrs
            .iter()
            .flat_map(|nr| {
                let inode = sound.inode(*nr).expect("sound");
                sound.metadata_blocks(&inode).map(|n| n.expect("sound").0).collect::<Vec<_>>()
            })
            .collect();
        let (mut done, mut refused) = (0, 0);
        for round in 0..150 {
            let mut volume = open(&bytes);
            damage(&mut volume, &nrs, &nodes, &mut rng);
            for _ in 0..12 {
                let before = rng.clone();
                let result = volume.change(NOW, |e| edit(e, nrs[rng.below(2) as usize], &mut rng));
                match result {
                    Ok(()) => done += 1,
                    Err(e) => {
                        assert!(!e.to_string().contains('\n'), "{args}, seed {seed}, round {round}, {before:?}: {e}");
                        refused += 1;
                    }
                }
            }
        }
        assert!(done > 200 && refused > 200, "{args}: {done} done, {refused} refused");
    }
}
