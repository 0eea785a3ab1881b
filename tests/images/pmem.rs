//! What persistent memory asks of an image, as debugfs and the kernel see it: the flag, and runs that one 2 MiB fault can map.

use super::oracle::{self, Mounted};
use super::tools::{dax_mkfs, succeed, system};
use super::{fixtures, readers};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// `EXT4_DAX_FL`.
const DAX: u32 = 0x0200_0000;
/// Bytes one PMD maps.
const WINDOW: u64 = 2 << 20;

/// The flags of a path, as debugfs prints them.
fn flags(image: &Path, path: &str, scratch: &Path) -> u32 {
    let text = oracle::debugfs(image, format!("stat {path}\n").as_bytes(), scratch).expect("debugfs answers");
    let text = String::from_utf8_lossy(&text);
    let word = text.split("Flags: 0x").nth(1).and_then(|t| t.split_whitespace().next()).expect("flags");
    u32::from_str_radix(word, 16).expect("a number")
}

#[test]
fn the_dax_flag_is_inherited_as_the_kernel_would() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let source = scratch.path().join("source");
    fs::create_dir_all(source.join("db/deep/er")).expect("mkdir");
    fs::create_dir(source.join("other")).expect("mkdir");
    for file in ["db/data", "db/deep/er/data", "other/data", "other/alone"] {
        fs::write(source.join(file), b"content").expect("write");
    }
    symlink("data", source.join("db/link")).expect("symlink");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, source.join("db/fifo"), rustix::fs::FileType::Fifo, mode, 0).expect("mkfifo");
    let image = scratch.path().join("image");
    succeed(dax_mkfs().args(["-q", "--dax", "/db", "--dax", "/other/alone", "-d"]).arg(&source).arg(&image).arg("32M"))
        .expect("an image");
    oracle::clean(&image).expect("clean");
    let has = |path| flags(&image, path, scratch.path()) & DAX != 0;
    for path in ["/db", "/db/data", "/db/deep", "/db/deep/er", "/db/deep/er/data", "/other/alone"] {
        assert!(has(path), "{path}");
    }
    for path in ["/", "/other", "/other/data", "/db/link", "/db/fifo", "/lost+found"] {
        assert!(!has(path), "{path}");
    }
    // The kernel hands it on to what is created below.
    let mounted = Mounted::new(&image, &scratch.path().join("mnt"), "rw").expect("mounted");
    fs::write(mounted.path().join("db/deep/new"), b"x").expect("write");
    let text = succeed(system("lsattr").arg(mounted.path().join("db/deep/new"))).expect("lsattr (package e2fsprogs)");
    assert!(String::from_utf8_lossy(&text).split_whitespace().next().is_some_and(|f| f.contains('x')));
    mounted.unmount().expect("unmounted");

    let _ = fs::remove_file(&image);
    succeed(dax_mkfs().args(["-q", "--dax", "/", "-d"]).arg(&source).arg(&image).arg("32M")).expect("an image");
    assert!(has("/") && has("/other/data") && !has("/lost+found") && !has("/db/link"));
}

/// The runs of a file by debugfs: first block in the file, on disk, and how many.
fn runs(image: &Path, path: &str, scratch: &Path) -> Vec<(u64, u64, u64)> {
    let text =
        oracle::debugfs(image, format!("dump_extents -l {path}\n").as_bytes(), scratch).expect("debugfs answers");
    // ` 0/ 0   1/  1     0 -  1023  2048 -  3071   1024`
    let text = String::from_utf8_lossy(&text).replace(['/', '-'], " ");
    let numbers = text.lines().map(|l| l.split_whitespace().map_while(|w| w.parse().ok()).collect::<Vec<u64>>());
    numbers.filter(|n| n.len() >= 9 || n.len() == 8).map(|n| (n[4], n[6], n[5] - n[4] + 1)).collect()
}

#[test]
fn whole_windows_lie_where_one_fault_can_map_them() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let source = scratch.path().join("source");
    fs::create_dir(&source).expect("mkdir");
    let sizes = [2 << 20, 5 << 20, (4 << 20) + 1, 20 << 20, (2 << 20) - 1, 3 << 20, 100, 7 << 20];
    for (i, size) in sizes.into_iter().enumerate() {
        fs::write(source.join(format!("f{i}")), fixtures::bytes(i as u64, size)).expect("write");
    }
    fixtures::make("many", &source.join("many"));
    let image = scratch.path().join("image");
    for (args, offset) in [
        (&[][..], 0),
        (&["-E", "offset=1048576"], 1 << 20),
        (&["-O", "^flex_bg,^resize_inode"], 0),
        (&["-O", "bigalloc,^resize_inode"], 0),
        (&["-O", "^has_journal", "-g", "8192"], 0),
    ] {
        let _ = fs::remove_file(&image);
        succeed(dax_mkfs().arg("-q").args(args).arg("-d").arg(&source).arg(&image).arg("128M")).expect("an image");
        // debugfs and e2fsck want the file system at the start of the file.
        let plain = scratch.path().join("plain");
        let place = if offset == 0 {
            image.clone()
        } else {
            let whole = fs::read(&image).expect("the image");
            fs::write(&plain, &whole[offset as usize..]).expect("write");
            plain
        };
        oracle::clean(&place).unwrap_or_else(|e| panic!("{args:?}: {e}"));
        for (i, size) in sizes.into_iter().enumerate() {
            let runs = runs(&place, &format!("/f{i}"), scratch.path());
            let told: u64 = runs.iter().map(|r| r.2).sum();
            assert_eq!(told, (size as u64).div_ceil(4096), "{args:?} f{i}: {runs:?}");
            for window in 0..size as u64 / WINDOW {
                let first = window * WINDOW / 4096;
                let holds = runs.iter().any(|(logical, physical, len)| {
                    *logical <= first
                        && first + WINDOW / 4096 <= logical + len
                        && ((physical + first - logical) * 4096 + offset).is_multiple_of(WINDOW)
                });
                assert!(holds, "{args:?}: window {window} of f{i} cannot be mapped: {runs:?}");
            }
        }
        // There is room, so each is in one run.
        let whole = runs(&place, "/f3", scratch.path());
        assert_eq!(whole.len(), 1, "{args:?}: {whole:?}");
        let tree = readers::volume(&place).expect("readable");
        assert_eq!(tree.len(), super::snapshot::of_directory(&source).expect("readable").len() + 1);
    }
}
