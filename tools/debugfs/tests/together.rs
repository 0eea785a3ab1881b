//! Scripts that set the same field of many files: whatever is put off, nobody can tell.

mod common;

use common::{run, spawn, tool};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const DIRS: usize = 3;
const FILES: usize = 120;

fn path(i: usize) -> String {
    format!("/d{}/file{:03}", i % DIRS, i / DIRS)
}

/// An image with `DIRS` directories and `FILES` files in them.
fn image(dir: &Path, inode_size: &str) -> PathBuf {
    let tree = dir.join("tree");
    for i in 0..FILES {
        let file = tree.join(&path(i)[1..]);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, format!("{i}")).unwrap();
    }
    let image = dir.join("image");
    let tree = tree.to_str().unwrap();
    let args = ["-q", "-F", "-t", "ext4", "-b", "1024", "-I", inode_size, "-O", "^has_journal", "-d", tree];
    run("mke2fs", &[&args[..], &[image.to_str().unwrap(), "8M"]].concat());
    image
}

/// What the tool made of a copy of the image, and what it said.
fn after(image: &Path, args: &[&str], script: &str) -> (Vec<u8>, String, Option<i32>) {
    let copy = image.with_extension("ours");
    fs::copy(image, &copy).unwrap();
    let output = tool(&[&["-w"], args, &[copy.to_str().unwrap()]].concat(), script.as_bytes());
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (fs::read(copy).unwrap(), said, output.status.code())
}

#[test]
fn what_is_set_together_is_what_is_set_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let image = image(dir.path(), "256");
    let mut script = String::new();
    // Every file, most of them by paths that were gone before; some twice, some with another value in between; directories, too.
    for i in (0..FILES).chain(0..FILES) {
        let value = if i % 50 == 49 { "0x80010" } else { "0x2080000" };
        writeln!(script, "sif {} flags {value}", path(i)).unwrap();
        if i % 40 == 39 {
            writeln!(script, "sif /d1 uid {i}\nsif /d2/./file001 mtime @{i}\nsif <12> uid 7\nsif d0/file000 gid {i}")
                .unwrap();
        }
    }
    let (ours, said, status) = after(&image, &[], &script);
    assert_eq!((said.as_str(), status), ("", Some(0)));
    // With --keep-going and --each nothing is put off.
    for args in [&["--keep-going"][..], &["--each"]] {
        let (single, said, status) = after(&image, args, &script);
        assert_eq!((said.as_str(), status), ("", Some(0)));
        let differ = (0..ours.len()).filter(|at| ours[*at] != single[*at]);
        // The superblock says when it was written, and how much.
        let differ: Vec<usize> = differ.filter(|at| !(0x400..0x800).contains(at)).collect();
        assert!(differ.is_empty(), "{args:?}: {differ:x?}");
    }
    let theirs = image.with_extension("theirs");
    fs::copy(&image, &theirs).unwrap();
    spawn("debugfs", &["-w", "-f", "-", theirs.to_str().unwrap()], script.as_bytes());
    let theirs = fs::read(theirs).unwrap();
    let differ: Vec<usize> =
        (0..ours.len()).filter(|at| ours[*at] != theirs[*at] && !(0x400..0x800).contains(at)).collect();
    assert!(differ.is_empty(), "{differ:x?}");
}

#[test]
fn nobody_sees_what_was_put_off() {
    let dir = tempfile::tempdir().unwrap();
    let image = image(dir.path(), "128");
    let all = |field: &str| (0..FILES).fold(String::new(), |s, i| s + &format!("sif {} {field}\n", path(i)));
    let warm = all("flags 0x80000");
    let original = fs::read(&image).unwrap();
    // The next command finds it done.
    let (_, said, _) = after(&image, &[], &format!("{warm}sif /d0/file003 uid 77\nstat /d0/file003\n"));
    assert!(said.contains("User:    77"), "{said}");
    // A failure that was put off is told before the one after it, and nothing is written.
    for behind in ["nonsense", "stat /nothing", "sif /nothing uid 5", "sif /d0/file001 nothing 5", "", "quit"] {
        let script = format!("{warm}sif /d0/file003 crtime 5\nsif /d0/file004 crtime 5\n{behind}\n");
        let (bytes, said, status) = after(&image, &[], &script);
        assert_eq!((said.lines().count(), status), (1, Some(1)), "{behind}: {said}");
        assert!(said.contains("crtime: the structure ends before this field, after 128 bytes"), "{behind}: {said}");
        assert!(bytes == original, "{behind}");
    }
    // What a directory becomes counts for the paths through it.
    let (bytes, said, status) = after(&image, &[], &format!("{warm}sif /d0 mode 0100644\nsif /d0/file001 uid 5\n"));
    assert!(status == Some(1) && said.contains("not a directory"), "{said}");
    assert!(bytes == original);
    // Also where it waits itself, and nothing of it was remembered.
    let (bytes, said, status) = after(&image, &[], "sif /d0 mode 0100644\nsif /d0/file001 mode 0100644\n");
    assert!(status == Some(1) && said.contains("not a directory"), "{said}");
    assert!(bytes == original);
    // So does what a path through it was said to be before: names are looked up again.
    let script =
        format!("{warm}unlink /d0/file001\nln /d1/file002 /d0/file001\nsif /d0/file001 uid 99\nstat /d1/file002\n");
    let (_, said, _) = after(&image, &[], &script);
    assert!(said.contains("User:    99"), "{said}");
}
