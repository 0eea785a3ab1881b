//! A repair that is cut off at any write: a second one finishes.

use crate::bases;
use crate::mutate::{Chance, Targets, mutate};
use crate::shared::tools;
use crate::verdict::{mended, theirs, write};
use std::fs;
use std::process::Command;

/// Images that are broken.
const IMAGES: u64 = 40;

fn dax_fsck() -> Command {
    let mut command = Command::new(tools::dax("dax-fsck"));
    command.env("LC_ALL", "C");
    command
}

/// The image with the first `count` blocks that a repair changes written, and no more.
fn cut(before: &[u8], after: &[u8], count: usize) -> Vec<u8> {
    let mut bytes = before.to_vec();
    let mut left = count;
    // As it is written: ascending, the page with the superblock last.
    let chunks: Vec<usize> = (0..before.len() / 4096).collect();
    let order = chunks.iter().skip(1).chain(chunks.first());
    for chunk in order {
        let range = chunk * 4096..(chunk + 1) * 4096;
        if before[range.clone()] == after[range.clone()] {
            continue;
        }
        if left == 0 {
            break;
        }
        bytes[range.clone()].copy_from_slice(&after[range]);
        left -= 1;
    }
    bytes
}

#[test]
fn a_repair_cut_after_any_write_is_finished_by_another() {
    let seed = std::env::var("DAXKIT_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(11u64);
    println!("DAXKIT_SEED={seed}");
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let bases = bases::make(scratch.path());
    let file = scratch.path().join("image");
    let mut cuts = 0;
    for round in 0..IMAGES {
        let mut chance = Chance::new(seed.wrapping_mul(7919).wrapping_add(round));
        let base = chance.pick(&bases);
        let mut bytes = base.bytes.clone();
        let done = mutate(&mut bytes, &Targets::of(&base.bytes), &mut chance);
        let (after, _, left) = mended(&bytes);
        if after == bytes || !left.is_empty() {
            continue;
        }
        write(&file, &after);
        if theirs(&file, "-fn").0 != 0 {
            continue;
        }
        for count in 0.. {
            let half = cut(&bytes, &after, count);
            let (whole, _, left) = mended(&half);
            write(&file, &whole);
            let (status, told) = theirs(&file, "-fn");
            assert!(
                status == 0 && left.is_empty(),
                "seed {seed}, round {round}, {}, cut after {count} writes: {done:?}\n{left:?}\n{told}",
                base.name
            );
            cuts += 1;
            if half == after {
                break;
            }
        }
    }
    tools::note(format!("{cuts} repairs cut off and finished"));
    assert!(cuts > IMAGES, "too few repairs were cut off to say anything");
}

/// The undo file gives the image back, by us and by e2undo.
#[test]
fn an_undo_file_gives_the_image_back() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let bases = bases::make(scratch.path());
    let (image, undo) = (scratch.path().join("image"), scratch.path().join("undo"));
    for (round, base) in bases.iter().enumerate() {
        let mut chance = Chance::new(round as u64 + 1);
        let targets = Targets::of(&base.bytes);
        let mut bytes = base.bytes.clone();
        while mended(&bytes).1.is_empty() {
            mutate(&mut bytes, &targets, &mut chance);
        }
        for by_us in [true, false] {
            write(&image, &bytes);
            let _ = fs::remove_file(&undo);
            let out = tools::output(dax_fsck().arg("-y").arg("-z").arg(&undo).arg(&image));
            assert!(matches!(out.status.code(), Some(1 | 5)), "{}: {out:?}", base.name);
            assert!(fs::read(&image).expect("readable") != bytes, "{}: nothing was mended", base.name);
            let mut back = if by_us {
                let mut command = dax_fsck();
                command.arg("--apply-undo").arg(&undo).arg(&image);
                command
            } else {
                let mut command = tools::system("e2undo");
                command.arg(&undo).arg(&image);
                command
            };
            let out = tools::output(&mut back);
            assert!(out.status.success() || by_us && out.status.code() == Some(1), "{}: {out:?}", base.name);
            assert!(fs::read(&image).expect("readable") == bytes, "{}: by us: {by_us}", base.name);
        }
    }
}
