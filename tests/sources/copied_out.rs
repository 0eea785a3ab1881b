//! Trees that come out of an image as an archive: every program that reads archives finds them whole, and an image made of the archive
//! holds the same tree.

use super::bench::Bench;
use super::fixtures;
use super::snapshot::{self, Snapshot};
use super::tools::{dax, output, succeed, system, told};
use super::tree_compare::{Allow, compare};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn debugfs(image: &Path, request: &str) -> Command {
    let mut command = Command::new(dax("dax-debugfs"));
    command.env("LC_ALL", "C").arg("-R").arg(request).arg(image);
    command
}

/// What archives hold of a tree: no sockets, and no times but one.
fn held(tree: &Snapshot) -> Snapshot {
    let mut held = tree.clone();
    held.retain(|_, e| e.kind() != 0o140_000);
    for entry in held.values_mut() {
        (entry.atime, entry.ctime) = (None, None);
    }
    held
}

/// An image of the tree, the tree as it was then, and the archive that came out of the image.
fn copied_out(bench: &Bench) -> (PathBuf, Snapshot, PathBuf) {
    let tree = bench.path("tree");
    fixtures::all_in_one(&tree);
    let mut deep = tree.clone();
    for level in 0..13 {
        deep.push(format!("{level}-{}", "d".repeat(240)));
    }
    fs::create_dir_all(&deep).expect("mkdir");
    fs::write(deep.join("bottom"), b"deep").expect("write");
    fixtures::finish(&tree);
    let expected = held(&snapshot::settled(&tree).expect("a readable tree"));
    let image = bench.path("first");
    fs::rename(bench.image(&["-d", "tree"]), &image).expect("rename");
    let archive = bench.path("out.tar");
    let mut command = debugfs(&image, &format!("rdump --tar {} /", archive.display()));
    let out = output(&mut command);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success() && said.lines().all(|l| l.contains("socket")), "{}", told(&command, &out));
    (image, expected, archive)
}

#[test]
fn an_image_of_the_archive_has_the_same_tree() {
    let bench = Bench::new();
    let (first, expected, _) = copied_out(&bench);
    let second = bench.image(&["-d", "out.tar"]);
    bench.check(&second, &expected, Allow::nothing(256, 4096)).expect("the tree");
    let mut diff = debugfs(&first, &format!("diff {} /", second.display()));
    let out = output(&mut diff);
    let lines = String::from_utf8_lossy(&out.stdout).into_owned();
    // What differs is what archives cannot hold.
    assert!(lines.lines().all(|l| l.starts_with("- /names/socket (socket)")), "{}", told(&diff, &out));
    assert_eq!((lines.lines().count(), out.status.code()), (1, Some(1)), "{lines}");
}

#[test]
fn archivers_give_the_tree_back() {
    let bench = Bench::new();
    let (_, expected, archive) = copied_out(&bench);
    let extract: [(&str, &[&str]); 2] = [
        ("tar", &["--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "-xpf"]),
        ("bsdtar", &["--xattrs", "--acls", "--numeric-owner", "-xpf"]),
    ];
    for (program, args) in extract {
        let dir = bench.path(program);
        fs::create_dir(&dir).expect("mkdir");
        let mut command = system(program);
        command.args(args).arg(&archive).arg("-C").arg(&dir);
        succeed(&mut command).expect("extracted");
        let found = snapshot::settled(&dir).expect("a readable tree");
        let mut expected = expected.clone();
        if program == "bsdtar" {
            // It leaves the directory it extracts into as it is, and takes a time before 1970 for one after it.
            for name in [&b"/"[..], b"/names/time1"] {
                let time = found.get(name).expect("an entry").mtime;
                expected.get_mut(name).expect("an entry").mtime = time;
            }
        }
        compare(program, &expected, &found, Allow::nothing(256, 4096)).unwrap_or_else(|e| panic!("{e}"));
    }
}

#[test]
fn two_makers_of_one_tree_differ_in_its_layout_only() {
    let bench = Bench::new();
    let tree = bench.path("tree");
    for name in ["small", "many"] {
        fs::create_dir_all(&tree).expect("mkdir");
        fixtures::make(name, &tree.join(name));
    }
    // mke2fs makes two inodes of a link with two names, and keeps whole seconds.
    fs::remove_file(tree.join("small/a/link60-too")).expect("remove");
    let mut touch = system("find");
    touch.arg(&tree).args(["-exec", "touch", "-h", "-d", "@1600000000", "{}", "+"]);
    succeed(&mut touch).expect("times");
    let same = ["-t", "ext4", "-b", "4096", "-N", "8192", "-U", "6a1f4c1e-0000-4000-8000-000000000001", "-d", "tree"];
    let theirs = bench.path("theirs");
    let mut mke2fs = system("mke2fs");
    mke2fs.current_dir(bench.path(".")).env("E2FSPROGS_FAKE_TIME", "1600000000").args(["-q", "-F"]).args(same);
    succeed(mke2fs.args(["theirs", "64M"])).expect("an image");
    let mut mkfs = bench.mkfs(&same);
    succeed(mkfs.env("SOURCE_DATE_EPOCH", "1600000000").args(["ours", "64M"])).expect("an image");

    let diff = |args: &str| {
        let out = output(&mut debugfs(&bench.path("ours"), &format!("diff {args} {}", theirs.display())));
        assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
        (String::from_utf8_lossy(&out.stdout).into_owned(), out.status.code())
    };
    assert_eq!(diff(""), (String::new(), Some(0)));
    let (lines, status) = diff("-l");
    assert_eq!(status, Some(1));
    assert!(lines.lines().all(|l| l.contains(" layout ") || l.starts_with("super.")), "{lines}");
    assert!(lines.contains("super.s_hash_seed: ") && lines.contains(" layout extents: "), "{lines}");
}
