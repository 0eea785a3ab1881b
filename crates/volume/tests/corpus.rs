//! Damaged images of others, in the directory DAXKIT_CORPUS: every one is opened and read within its time, without panic.

mod common;
#[path = "common/exercise.rs"]
mod exercise;

use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use daxkit_volume::OpenOptions;

#[test]
fn every_image_of_the_corpus_is_survived() {
    let Some(corpus) = std::env::var_os("DAXKIT_CORPUS").map(PathBuf::from) else {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "DAXKIT_CORPUS is unset, and CI wants it");
        eprintln!("DAXKIT_CORPUS is unset: no damaged images are read");
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
        flate2::read::GzDecoder::new(File::open(&path).unwrap()).read_to_end(&mut bytes).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let begin = Instant::now();
        for (ignore_checksums, replay, catastrophic) in
            [(false, true, false), (true, true, false), (true, false, false), (true, false, true)]
        {
            let options = OpenOptions { ignore_checksums, replay, catastrophic, ..OpenOptions::default() };
            let outcome = match common::open_bytes(&bytes, &options) {
                Ok(volume) => format!("{:?}", exercise::all(&volume)),
                Err(e) => e.to_string(),
            };
            println!("{name}: {outcome}");
        }
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(20), "{name}: {took:?}");
    }
}
