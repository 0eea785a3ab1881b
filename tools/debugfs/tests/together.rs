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

/// An image with many files, a directory of several blocks, and a link to a directory.
fn wide_image(dir: &Path) -> (PathBuf, Vec<String>) {
    let tree = dir.join("wide");
    let mut paths = Vec::new();
    for (d, count) in [("a", 40), ("b", 300), ("c/d/e", 90), ("c/d/f", 1)] {
        fs::create_dir_all(tree.join(d)).unwrap();
        for i in 0..count {
            let path = format!("{d}/a-file-of-this-name-{i:04}");
            fs::write(tree.join(&path), "").unwrap();
            paths.push(format!("/{path}"));
        }
    }
    std::os::unix::fs::symlink("c/d", tree.join("link")).unwrap();
    let image = dir.join("wide.img");
    run(
        "mke2fs",
        &[
            "-q",
            "-F",
            "-t",
            "ext4",
            "-b",
            "1024",
            "-O",
            "^has_journal",
            "-d",
            tree.to_str().unwrap(),
            image.to_str().unwrap(),
            "16M",
        ],
    );
    (image, paths)
}

#[test]
fn lines_that_are_looked_at_ahead_come_to_what_they_come_to_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let (image, paths) = wide_image(dir.path());
    let mut script = String::new();
    let odd = [
        "sif /a flags 0x80000",
        "sif \"/a/a-file-of-this-name-0001\" flags 0x2080000",
        "sif /link/e/a-file-of-this-name-0007 flags 0x2080000",
        "sif /c/../a//a-file-of-this-name-0003 flags 0x2080000",
        "sif /c/d/./e/. uid 3",
        "sif /a/.. gid 4",
        "\t sif   /a/a-file-of-this-name-0000 flags 0x2080000  ",
        "# a comment",
        "",
        "sif <12> flags 0x80000",
        "sif c/d/e/a-file-of-this-name-0002 flags 0x80000",
        "sif /b flags 0x80000",
        "sif /a/a-file-of-this-name-0009 generation 7",
        "sif /c/d/e/a-file-of-this-name-0009 bmap[3] 0",
    ];
    // Far more text than is read at once.
    for (i, path) in paths.iter().cycle().take(60_000).enumerate() {
        let value = if i / 20_000 == 1 { "0x2080000" } else { "0x80000" };
        writeln!(script, "sif {path} flags {value}").unwrap();
        if i % 3001 == 3000 {
            writeln!(script, "{}", odd[i / 3001 % odd.len()]).unwrap();
        }
    }
    let file = dir.path().join("script");
    fs::write(&file, &script).unwrap();
    let from_file = ["-f", file.to_str().unwrap()];
    let (ours, said, status) = after(&image, &from_file, "");
    assert_eq!((said.as_str(), status), ("", Some(0)));
    let (single, said, status) = after(&image, &[], &script);
    assert_eq!((said.as_str(), status), ("", Some(0)));
    let (each, said, status) = after(&image, &["--keep-going"], &script);
    assert_eq!((said.as_str(), status), ("", Some(0)));
    for (other, how) in [(single, "from a pipe"), (each, "one by one")] {
        let differ: Vec<usize> = (0..ours.len()).filter(|at| ours[*at] != other[*at]).collect();
        let differ: Vec<_> = differ.into_iter().filter(|at| !(0x400..0x800).contains(at)).collect();
        assert!(differ.is_empty(), "{how}: {:x?}", &differ[..differ.len().min(9)]);
    }
    // A checksum that is set stays as it is set: what was put off before does not come behind.
    let long = script;
    let script = format!("{}sif {} checksum 0x1234\n", &long[..long.find("sif /b/").unwrap()], paths[3]);
    let (ours, said, status) = after(&image, &[], &script);
    let (each, _, _) = after(&image, &["--keep-going"], &script);
    assert_eq!((said.as_str(), status), ("", Some(0)));
    assert!(ours[0x800..] == each[0x800..]);
    // The first failure is told, and nothing is written.
    let original = fs::read(&image).unwrap();
    for (at, wrong) in [(3, "/a/nothing"), (50_000, "/nothing/b"), (59_990, "/a/a-file-of-this-name-0001/x")] {
        let mut lines: Vec<&str> = long.lines().collect();
        let line = format!("sif {wrong} flags 0x80000");
        lines.insert(at, &line);
        lines.insert(at + 5000.min(lines.len() - at - 1), "sif /never/told flags 0x80000");
        fs::write(&file, lines.join("\n")).unwrap();
        let (bytes, said, status) = after(&image, &from_file, "");
        assert!(status == Some(1) && said.lines().count() == 1 && said.contains(wrong), "{wrong}: {said}");
        assert!(bytes == original, "{wrong}");
    }
    // What becomes of a directory counts for the lines behind, however many are looked at before.
    let lines = paths.iter().map(|path| format!("sif {path} mode 0100644\n")).collect::<String>();
    for before in ["sif /a/", "sif /b/", "sif /b/a-file-of-this-name-0280"] {
        let mut lines = lines.clone();
        lines.insert_str(lines.find(before).unwrap(), "sif /b mode 0100644\n");
        fs::write(&file, &lines).unwrap();
        let (bytes, said, status) = after(&image, &from_file, "");
        assert!(status == Some(1) && said.contains("not a directory"), "{before}: {said}");
        assert!(bytes == original, "{before}");
    }
}
