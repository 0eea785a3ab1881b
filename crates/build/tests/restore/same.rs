//! What is not edited is built to identical bytes, however damaged it is.

use super::images::{KINDS, check, image, text};
use daxkit_build::dump::Data;
use flate2::read::GzDecoder;
use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;

#[test]
fn every_kind_of_image_comes_back() {
    for (size, args) in KINDS {
        check(&image(size, args), &format!("{args:?}"));
    }
}

#[test]
fn a_bitmap_of_chance_comes_back() {
    let (size, args) = KINDS.iter().find(|(_, args)| args.contains(&"65536")).unwrap();
    let mut bytes = image(size, args);
    let text = String::from_utf8(text(&bytes, Data::Hash)).unwrap();
    let at = text.lines().find_map(|line| line.strip_prefix("group.0/block_bitmap @")).unwrap();
    let start = at.parse::<usize>().unwrap() * 65_536;
    let mut state = 5u64;
    for byte in &mut bytes[start..start + 65_536] {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *byte = (state >> 56) as u8;
    }
    check(&bytes, "a bitmap of chance");
}

#[test]
fn damage_anywhere_comes_back() {
    // The same numbers on every run, and others when asked.
    let seed = std::env::var("DAXKIT_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(7);
    println!("DAXKIT_SEED={seed}");
    let mut state: u64 = seed;
    let mut below = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % n
    };
    for (size, args) in KINDS {
        let original = image(size, args);
        // What is not zero is what means something.
        let set: Vec<usize> = (0..original.len()).filter(|at| original[*at] != 0).collect();
        for round in 0..60 {
            let mut bytes = original.clone();
            let mut edits = Vec::new();
            for _ in 0..=below(6) {
                let at = match below(4) {
                    0 => below(bytes.len()),
                    1 => 1024 + below(1024),
                    _ => set[below(set.len())] + below(9) - 4,
                }
                .min(bytes.len() - 1);
                let value = match below(4) {
                    0 => 0,
                    1 => 0xff,
                    2 => bytes[at] ^ (1 << below(8)),
                    _ => u8::try_from(below(256)).unwrap(),
                };
                bytes[at] = value;
                edits.push((at, value));
            }
            check(&bytes, &format!("seed {seed}, {args:?}, round {round}, {edits:x?}"));
        }
    }
}

#[test]
fn the_corpus_comes_back() {
    let Some(corpus) = std::env::var_os("DAXKIT_CORPUS").map(PathBuf::from) else {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "DAXKIT_CORPUS is unset, and CI wants it");
        eprintln!("DAXKIT_CORPUS is unset: no damaged images are restored");
        return;
    };
    let dir = if corpus.join("ext4").is_dir() { corpus.join("ext4") } else { corpus };
    let mut images: Vec<PathBuf> = fs::read_dir(&dir)
        .unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
        .map(|e| e.unwrap().path())
        .filter(|p| p.to_string_lossy().ends_with(".img.gz"))
        .collect();
    images.sort();
    assert!(!images.is_empty(), "{} holds no images", dir.display());
    for path in images {
        let mut bytes = Vec::new();
        GzDecoder::new(File::open(&path).unwrap()).read_to_end(&mut bytes).unwrap();
        check(&bytes, &path.display().to_string());
    }
}
