//! `diff` tells exactly what was changed, by whom and where it does not matter.

mod common;

use common::{Scratch, tool};
use std::path::{Path, PathBuf};

/// What `diff` prints, and its exit status.
fn diff(a: &Path, args: &str, b: &Path) -> (Vec<String>, i32) {
    let output = tool(&["-R", &format!("diff {args} {}", b.display()), a.to_str().unwrap()], b"");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args}");
    let text = String::from_utf8(output.stdout).unwrap();
    (text.lines().map(str::to_owned).collect(), output.status.code().unwrap())
}

/// A copy of an image, edited by debugfs.
fn edited(scratch: &Scratch, image: &Path, name: &str, edits: &[&str]) -> PathBuf {
    let copy = scratch.path(name);
    std::fs::copy(image, &copy).unwrap();
    for edit in edits {
        let said = common::spawn("debugfs", &["-w", "-R", edit, copy.to_str().unwrap()], b"");
        let complaint = String::from_utf8_lossy(&said.stderr).into_owned();
        // It greets on standard error.
        assert!(said.status.success() && complaint.lines().count() <= 1, "{edit}: {complaint}");
    }
    copy
}

fn image(scratch: &Scratch) -> PathBuf {
    scratch.image("a.img", "32M", &["-t", "ext4", "-U", "6a1f4c1e-0000-4000-8000-000000000001"])
}

#[test]
fn the_same_image_differs_in_nothing() {
    let scratch = Scratch::new();
    let a = image(&scratch);
    let b = edited(&scratch, &a, "b.img", &[]);
    for args in ["", "-l", "-t", "-q", "-b", "--bytes -lt"] {
        let (lines, status) = diff(&a, args, &b);
        let expected: &[&str] = if args.contains('b') { &["0 bytes differ"] } else { &[] };
        assert_eq!((lines.as_slice(), status), (expected.map_strings().as_slice(), 0), "{args}");
    }
}

/// Literals as the lines they stand for.
trait Strings {
    fn map_strings(&self) -> Vec<String>;
}

impl Strings for [&str] {
    fn map_strings(&self) -> Vec<String> {
        self.iter().map(|s| (*s).to_owned()).collect()
    }
}

#[test]
fn each_edit_is_told_and_nothing_else() {
    let scratch = Scratch::new();
    let a = image(&scratch);
    let host = scratch.path("host");
    std::fs::write(&host, "new content\n").unwrap();
    let data: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
    let mut other = data.clone();
    (other[5000], other[5001], other[700_000]) = (!other[5000], !other[5001], 0);
    let host_data = scratch.path("data");
    std::fs::write(&host_data, &other).unwrap();
    let write = format!("write {} sub/data", host_data.display());
    let cases: &[(&[&str], &[&str])] = &[
        (&["sif hello mode 0100640"], &["/hello i_mode: 4711 -> 0640"]),
        (&["sif hello uid 70000", "sif hello gid 5"], &["/hello i_uid: 0 -> 70000", "/hello i_gid: 0 -> 5"]),
        (&["sif hello mtime @1000000000"], &["/hello mtime: 2024-02-03T04:05:06Z -> 2001-09-09T01:46:40Z"]),
        (&["sif hello atime @1000000000", "sif hello ctime @1000000001"], &[]),
        (&["sif hello flags 0x2080080"], &["/hello i_flags.NOATIME: 0 -> 1", "/hello i_flags.DAX: 0 -> 1"]),
        (&["sif hello projid 9"], &["/hello i_projid: 0 -> 9"]),
        (&["sif hello links_count 7"], &["/hello i_links_count: 2 -> 7"]),
        (&["ea_set hello user.new x"], &["/hello xattr.\"user.new\": none -> \"x\""]),
        (&["ea_set hello user.text other"], &["/hello xattr.\"user.text\": \"a value\" -> \"other\""]),
        (&["ea_rm hello user.text"], &["/hello xattr.\"user.text\": \"a value\" -> none"]),
        (&["unlink \"two words\""], &["- /two words (regular)"]),
        (&["ssv volume_name changed"], &["super.s_volume_name: \"\" -> \"changed\""]),
        (&["ssv errors 3"], &["super.s_errors: continue -> panic"]),
        (&["feature -large_dir", "feature stable_inodes"], &["super feature stable_inodes: only in the second"]),
        (&["sif sparse size 9000001"], &["/sparse i_size: 9000000 -> 9000001"]),
        (&["mknod null c 1 3", "mknod zero c 1 5"], &["+ /null (character special)", "+ /zero (character special)"]),
        (&["symlink link elsewhere"], &["+ /link (symlink)"]),
        (
            &["unlink fast", "symlink fast elsewhere", "sif fast mtime @0"],
            &["/fast mtime: @T -> 1970-01-01T00:00:00Z", "/fast target: \"hello\" -> \"elsewhere\""],
        ),
        (&["ln hello third"], &["+ /third (regular)"]),
        (&["unlink sub/again", "ln sparse sub/again"], &["/sub/again is one file with /hello in the first only"]),
        (
            &["mkdir new", "mkdir new/below", "mkdir new/other"],
            &["/ i_links_count: 4 -> 5", "+ /new (directory, 2 names below)"],
        ),
        (&["rm hello", "mkdir hello"], &["/hello type: regular -> directory"]),
        (
            &["rm sub/data", &write, "sif sub/data mtime @0"],
            &["/sub/data content: 3 bytes differ, the first at 0x1388"],
        ),
    ];
    for (edits, expected) in cases {
        let b = edited(&scratch, &a, "b.img", edits);
        let (lines, status) = diff(&a, "", &b);
        println!("{edits:?}\n  {lines:#?} {status}\n  {expected:?}");
    }
    panic!("see");
}
