//! `rdump` gives back what was put in, and a hostile image cannot lead it out of its directory.

mod common;

use common::{Scratch, ours, run, tool};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Everything about a tree that a copy must keep, one line a file.
fn describe(root: &Path) -> Vec<String> {
    let mut out = Vec::new();
    let mut waiting = vec![root.to_path_buf()];
    while let Some(dir) = waiting.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = std::fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let content = if meta.is_file() {
                format!(
                    "{:?}",
                    std::fs::read(&path)
                        .unwrap()
                        .iter()
                        .fold(7u64, |h, b| h.wrapping_mul(31).wrapping_add((*b).into()))
                )
            } else if meta.is_symlink() {
                std::fs::read_link(&path).unwrap().to_str().unwrap().to_owned()
            } else {
                String::new()
            };
            let xattrs = if meta.is_symlink() {
                String::new()
            } else {
                run("getfattr", &["-d", "-e", "hex", "--absolute-names", path.to_str().unwrap()])
            };
            let xattrs: Vec<_> = xattrs.lines().filter(|l| l.contains('=')).collect();
            let links = if meta.is_dir() { 0 } else { meta.nlink() };
            out.push(format!(
                "{name} {:o} {}:{} {} {links} {}.{} {:x} {content} {xattrs:?}",
                meta.mode(),
                meta.uid(),
                meta.gid(),
                if meta.is_dir() { 0 } else { meta.size() },
                meta.mtime(),
                meta.mtime_nsec(),
                meta.rdev(),
            ));
            if meta.is_dir() {
                waiting.push(path);
            }
        }
    }
    out.sort();
    out
}

#[test]
fn the_tree_comes_back_as_it_was() {
    let scratch = Scratch::new();
    for (name, args) in [("ext4", &["-t", "ext4"][..]), ("ext3", &["-t", "ext3", "-b", "1024", "-I", "256"])] {
        let image = scratch.image(name, "64M", args);
        let dest = scratch.path(&format!("out-{name}"));
        std::fs::create_dir(&dest).unwrap();
        ours(&image, &format!("rdump / {}", dest.display()));
        std::fs::remove_dir(dest.join("lost+found")).unwrap();
        let mut expected = describe(&scratch.path("tree"));
        // mke2fs keeps whole seconds.
        let seconds = |lines: &mut Vec<String>| {
            for line in lines {
                *line = line.replace(".123456789 ", ".0 ");
                let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
                let cut = |w: &String| match w.split_once('.') {
                    Some((s, n))
                        if s.bytes().all(|b| b.is_ascii_digit())
                            && !s.is_empty()
                            && n.bytes().all(|b| b.is_ascii_digit()) =>
                    {
                        format!("{s}.")
                    }
                    _ => w.clone(),
                };
                *line = words.iter().map(cut).collect::<Vec<_>>().join(" ");
            }
        };
        let mut found = describe(&dest);
        seconds(&mut expected);
        seconds(&mut found);
        assert_eq!(found, expected, "{name}");
        // Holes are holes again.
        let blocks = std::fs::metadata(dest.join("sparse")).unwrap().blocks();
        assert!(blocks * 512 < 64 << 10, "{blocks}");
    }
}

#[test]
fn nanoseconds_and_devices_survive() {
    let scratch = Scratch::new();
    let image = scratch.image("image", "32M", &["-t", "ext4"]);
    let image_text = image.to_str().unwrap();
    for command in ["sif hello mtime_extra 0x1d6f3454", "mknod null c 1 3"] {
        run("debugfs", &["-w", "-R", command, image_text]);
    }
    let dest = scratch.path("out");
    std::fs::create_dir(&dest).unwrap();
    let output = tool(&["-R", &format!("rdump -v hello null {}", dest.display()), image_text], b"");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().take(2).collect::<Vec<_>>(), ["hello", "null"]);
    let hello = std::fs::metadata(dest.join("hello")).unwrap();
    assert_eq!((hello.mtime_nsec(), hello.mode() & 0o7777), (123_456_789, 0o4711));
    // Only root can make devices; whoever is not root is told.
    match std::fs::metadata(dest.join("null")) {
        Ok(null) => assert_eq!(null.rdev(), 0x103),
        Err(_) => assert!(String::from_utf8_lossy(&output.stderr).contains("device not set on 1 file, the first null")),
    }
    // What exists is not written to.
    let again = tool(&["-R", &format!("rdump hello {}", dest.display()), image_text], b"");
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("hello: File exists"));
}

/// Without checksums, so that names can be changed under the tool.
fn renamed(scratch: &Scratch, from: &[u8], to: &[u8]) -> std::path::PathBuf {
    let image = scratch.image("hostile", "16M", &["-t", "ext2", "-b", "1024"]);
    let mut bytes = std::fs::read(&image).unwrap();
    let at = bytes.windows(from.len()).position(|w| w == from).unwrap();
    bytes[at..at + to.len()].copy_from_slice(to);
    std::fs::write(&image, bytes).unwrap();
    image
}

#[test]
fn a_name_with_slashes_leads_nowhere() {
    let scratch = Scratch::new();
    std::fs::write(scratch.path("tree/qqqqqqqqq"), "escaped").unwrap();
    let image = renamed(&scratch, b"qqqqqqqqq", b"../escape");
    let dest = scratch.path("out");
    std::fs::create_dir(&dest).unwrap();
    let output = tool(&["-R", &format!("rdump / {}", dest.display()), image.to_str().unwrap()], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(!scratch.path("escape").exists());
    // The rest of the tree is there.
    assert_eq!(std::fs::read(dest.join("hello")).unwrap(), b"hello, world\n");
}

#[test]
fn a_link_in_the_place_of_a_directory_is_not_followed() {
    let scratch = Scratch::new();
    let outside = scratch.path("outside");
    std::fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, scratch.path("tree/kkkk1")).unwrap();
    std::fs::create_dir(scratch.path("tree/kkkk2")).unwrap();
    std::fs::write(scratch.path("tree/kkkk2/file"), "escaped").unwrap();
    let image = renamed(&scratch, b"kkkk2", b"kkkk1");
    let dest = scratch.path("out");
    std::fs::create_dir(&dest).unwrap();
    let output = tool(&["-R", &format!("rdump / {}", dest.display()), image.to_str().unwrap()], b"");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    assert_eq!(std::fs::read(dest.join("hello")).unwrap(), b"hello, world\n");
}
