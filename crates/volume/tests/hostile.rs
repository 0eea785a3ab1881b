//! Images damaged at random: opening one, walking it and reading everything neither panics nor goes on for ever.

mod common;
#[path = "common/exercise.rs"]
mod exercise;

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use common::{Mount, Rng, mke2fs, open_bytes, run, scratch};
use daxkit_volume::{BlockNr, OpenOptions};
use proptest::prelude::*;

/// Small images with as much in them as possible.
fn images() -> &'static [Vec<u8>] {
    // What fails here fails once, not once for each case.
    static IMAGES: OnceLock<Result<Vec<Vec<u8>>, ()>> = OnceLock::new();
    IMAGES.get_or_init(|| std::panic::catch_unwind(make_images).map_err(drop)).as_ref().expect("the images can be made")
}

fn make_images() -> Vec<Vec<u8>> {
    let scratch = scratch();
    let src = scratch.path().join("src");
    fs::create_dir_all(src.join("many/below")).unwrap();
    for i in 0..400 {
        fs::write(src.join(format!("many/some name or other number {i}")), "x".repeat(i)).unwrap();
    }
    fs::write(src.join("big"), vec![1; 300_000]).unwrap();
    std::os::unix::fs::symlink("t".repeat(300), src.join("link")).unwrap();
    std::os::unix::fs::symlink("loop", src.join("loop")).unwrap();
    run("setfattr", &[&"-n", &"user.a", &"-v", &"v".repeat(500), &src.join("big")]);
    run("setfacl", &[&"-m", &"u:12:rwx", &src.join("big")]);
    let mut images = Vec::new();
    for (i, args) in [
        "-t ext2 -b 1024 -N 512",
        "-t ext4 -b 1024 -N 512 -J size=1",
        "-t ext4 -b 1024 -N 512 -O inline_data,ea_inode,^has_journal,quota,project",
        "-t ext4 -b 4096 -N 512 -O bigalloc,orphan_file,^resize_inode,meta_bg -C 16384",
    ]
    .into_iter()
    .enumerate()
    {
        let image = mke2fs(scratch.path(), &format!("h{i}.img"), args, Some(&src), if i == 3 { "16M" } else { "4M" });
        // An index, so that the htree is there to be damaged.
        let out = common::output("e2fsck", &[&"-fyD", &image]);
        assert!(out.status.code().is_some_and(|c| c <= 1), "{args}: {}", String::from_utf8_lossy(&out.stdout));
        images.push(fs::read(&image).unwrap());
    }
    images.push(with_pending_journal(scratch.path()));
    images
}

/// An image with a log and fast commits that were never replayed.
fn with_pending_journal(dir: &Path) -> Vec<u8> {
    let image = mke2fs(dir, "pending.img", "-t ext4 -b 1024 -N 512 -O fast_commit -J size=2", None, "16M");
    let mount = Mount::new(&image, &dir.join("mnt"), "");
    for i in 0..50 {
        fs::write(mount.path.join(format!("file{i}")), vec![3; i * 50]).unwrap();
    }
    run("sync", &[&"-f", &mount.path]);
    fs::create_dir(mount.path.join("dir")).unwrap();
    for i in 0..20 {
        let path = mount.path.join(format!("dir/file{i}"));
        fs::write(&path, vec![4; 3000]).unwrap();
        fs::File::open(&path).unwrap().sync_all().unwrap();
        fs::remove_file(mount.path.join(format!("file{i}"))).unwrap();
    }
    fs::File::open(mount.path.join("dir/file1")).unwrap().sync_all().unwrap();
    let bytes = fs::read(&image).unwrap();
    drop(mount);
    bytes
}

/// Damages `bytes` in one of several ways, mostly where something is.
fn damage(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let used: Vec<usize> =
        bytes.chunks(1024).enumerate().filter(|(_, c)| c.iter().any(|b| *b != 0)).map(|(i, _)| i * 1024).collect();
    for _ in 0..1 + rng.below(24) {
        let block = used[rng.below(used.len() as u64) as usize];
        let at = (block + rng.below(1024) as usize).min(bytes.len() - 8);
        match rng.below(8) {
            0..=2 => bytes[at] ^= 1 << rng.below(8),
            3 => bytes[at] = [0, 0xff, 0x7f, 0x80][rng.below(4) as usize],
            4 => bytes[at..at + 4].fill(0xff),
            5 => {
                // A number that may well be a block or an inode.
                let n = rng.below(4200) as u32;
                bytes[at & !3..(at & !3) + 4].copy_from_slice(&n.to_le_bytes());
            }
            6 => {
                let from = used[rng.below(used.len() as u64) as usize];
                let copy = bytes[from..(from + 1024).min(bytes.len())].to_vec();
                let to = block.min(bytes.len() - copy.len());
                bytes[to..to + copy.len()].copy_from_slice(&copy);
            }
            _ => {
                let end = (block + 1024).min(bytes.len());
                bytes[block..end].fill(0);
            }
        }
    }
    if rng.below(12) == 0 {
        let len = rng.below(bytes.len() as u64) as usize;
        bytes.truncate(len);
    }
}

#[test]
fn the_sound_images_have_no_errors() {
    for bytes in images() {
        let volume = open_bytes(bytes, &OpenOptions::default()).unwrap();
        let seen = exercise::all(&volume);
        assert!(seen.errors == 0 && seen.names > 30, "{seen:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn damage_never_harms_the_reader(seed in 1u64.., which in 0usize..5, mode in 0u8..4) {
        let mut bytes = images()[which].clone();
        damage(&mut bytes, &mut Rng(seed));
        let options = OpenOptions {
            ignore_checksums: mode > 0,
            catastrophic: mode == 3,
            super_block: (mode == 2 && seed % 2 == 0).then_some(BlockNr(8193)),
            ..OpenOptions::default()
        };
        match open_bytes(&bytes, &options) {
            Ok(volume) => {
                exercise::all(&volume);
            }
            Err(e) => prop_assert!(!e.to_string().contains('\n')),
        }
    }
}
