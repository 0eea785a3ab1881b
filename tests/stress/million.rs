//! A million files: how long, how much memory, and whether every name is there.

use super::common::{holds, make, measure, memory, open, scratch};
use super::oracle;
use super::tools::{dax_mkfs, note};
use std::fs;
use std::path::Path;
use std::time::Instant;

const DIRS: usize = 1000;
const FILES: usize = 1000;

/// Content of a file: every tenth has some.
fn content(dir: usize, file: usize) -> Option<String> {
    file.is_multiple_of(10).then(|| format!("{dir}/{file}\n"))
}

fn plant(at: &Path) {
    // Half of the directories each.
    std::thread::scope(|scope| {
        for half in 0..2 {
            scope.spawn(move || {
                for dir in (half..DIRS).step_by(2) {
                    let path = at.join(format!("dir{dir:03}"));
                    fs::create_dir(&path).expect("a directory");
                    for file in 0..FILES {
                        let path = path.join(format!("file{file:03}"));
                        fs::write(path, content(dir, file).unwrap_or_default()).expect("room for a million files");
                    }
                }
            });
        }
    });
}

/// The number behind a word, when the name is exactly that.
fn number(name: &[u8], word: &str) -> Option<usize> {
    let digits = std::str::from_utf8(name).ok()?.strip_prefix(word)?;
    (digits.len() == 3).then(|| digits.parse().ok())?
}

#[test]
fn a_million_files() {
    let (source, scratch) = (memory(), scratch());
    let begin = Instant::now();
    plant(source.path());
    let planted = begin.elapsed();
    let image = scratch.path().join("image");
    let mut command = dax_mkfs();
    let used = measure(command.args(["-q", "-d"]).arg(source.path()).arg(&image).arg("2G"));
    let files = (DIRS * FILES + DIRS) as u64;
    let most = files * 200 + (64 << 20);
    let per_file = used.memory as f64 / files as f64;
    note(format!(
        "a million files: dax-mkfs took {used} ({per_file:.0} bytes a file, at most {} MiB); planting them {:.1} s",
        most >> 20,
        planted.as_secs_f64()
    ));
    assert!(used.memory < most, "{} bytes of memory, more than {most}", used.memory);

    let begin = Instant::now();
    holds(oracle::clean(&image));
    let checked = begin.elapsed();

    let begin = Instant::now();
    let volume = open(&image);
    let mut seen = vec![false; DIRS * FILES];
    let (mut dirs, mut last) = (0, None);
    for visit in volume.walk(volume.root().expect("a root")) {
        let visit = visit.unwrap_or_else(|e| panic!("{}: {}", e.path.escape_ascii(), e.error));
        let path = visit.path.escape_ascii().to_string();
        match (visit.path.splitn(2, |b| *b == b'/').collect::<Vec<_>>()[..].as_ref(), visit.inode.is_dir()) {
            ([b""] | [b"lost+found"], true) => {}
            ([dir], true) => {
                last = Some(number(dir, "dir").unwrap_or_else(|| panic!("{path}: not in the source")));
                dirs += 1;
            }
            ([dir, file], false) => {
                let (dir, file) = number(dir, "dir").zip(number(file, "file")).unwrap_or_else(|| panic!("{path}"));
                assert_eq!(last, Some(dir), "{path}: below another directory");
                assert!(!std::mem::replace(&mut seen[dir * FILES + file], true), "{path}: twice");
                let expected = content(dir, file).unwrap_or_default();
                assert_eq!(visit.inode.size(), expected.len() as u64, "{path}");
                if file.is_multiple_of(100) {
                    let found = volume.read_file(&visit.inode, 0..visit.inode.size()).expect("readable");
                    assert_eq!(found, expected.as_bytes(), "{path}");
                }
            }
            _ => panic!("{path}: not in the source"),
        }
    }
    assert_eq!(dirs, DIRS);
    let missing = seen.iter().filter(|s| !**s).count();
    assert_eq!(missing, 0, "names are missing");
    note(format!(
        "a million files: e2fsck took {:.1} s, daxkit-volume's walk {:.1} s",
        checked.as_secs_f64(),
        begin.elapsed().as_secs_f64()
    ));
}

/// Where the ratio of inodes to bytes would give too few, the content decides; where it is fixed, it is an error.
#[test]
fn the_number_of_inodes_follows_the_content() {
    let (source, scratch) = (memory(), scratch());
    for i in 0..3000 {
        fs::write(source.path().join(format!("{i}")), b"").expect("write");
    }
    let image = scratch.path().join("image");
    let dir = source.path().to_str().expect("a plain path");
    make(&["-d", dir], &image, "4M");
    holds(oracle::clean(&image));
    let told = holds(oracle::dumpe2fs(&image));
    let count = |field: &str| told[field].parse::<u64>().expect("a number");
    assert!(count("Inode count") >= 3011 && count("Free inodes") > 0, "{told:?}");
    fs::remove_file(&image).expect("removed");
    let line = super::common::refused(&["-d", dir, "-N", "1024"], &image, "4M");
    assert!(line.contains("inodes"), "{line}");
}
