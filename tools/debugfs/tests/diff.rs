//! `diff` tells exactly what was changed, by whom and where it does not matter.

mod common;

use common::{Scratch, ours, run, tool};
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
        assert_eq!((lines.as_slice(), status), (expected.strings().as_slice(), 0), "{args}");
    }
}

/// Literals as the lines they stand for.
trait Strings {
    fn strings(&self) -> Vec<String>;
}

impl Strings for [&str] {
    fn strings(&self) -> Vec<String> {
        self.iter().map(|s| (*s).to_owned()).collect()
    }
}

#[test]
fn each_edit_is_told_and_nothing_else() {
    let scratch = Scratch::new();
    let a = image(&scratch);
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
        (&["unlink fast", "symlink fast elsewhere"], &["/fast target: \"hello\" -> \"elsewhere\""]),
        (&["ln hello third"], &["+ /third (regular)"]),
        (
            &["unlink sub/again", "ln sparse sub/again"],
            &[
                "/sub/again is one file with /hello in the first only",
                "/sub/again i_mode: 4711 -> 0644",
                "/sub/again xattr.\"user.bytes\": \"\\x00\\xff\\x80\" -> none",
                "/sub/again xattr.\"user.text\": \"a value\" -> none",
                "/sub/again i_links_count: 2 -> 1",
                "/sub/again i_size: 13 -> 9000000",
                "/sub/again content: 13 bytes differ, the first at 0x0",
            ],
        ),
        (
            &["mkdir new", "mkdir new/below", "mkdir new/other"],
            &["/ i_links_count: 4 -> 5", "+ /new (directory, 2 names below)"],
        ),
        (
            &["unlink \"two words\"", "mkdir \"two words\"", "mkdir \"two words/below\""],
            &[
                "/ i_links_count: 4 -> 5",
                "/two words type: regular -> directory",
                "/two words i_mode: 0644 -> 0755",
                "+ /two words/below (directory, 0 names below)",
            ],
        ),
        (&["rm sub/data", &write], &["/sub/data content: 3 bytes differ, the first at 0x1388"]),
    ];
    for (edits, expected) in cases {
        let b = edited(&scratch, &a, "b.img", edits);
        let (mut lines, status) = diff(&a, "", &b);
        // What debugfs makes is as old as the test.
        lines.retain(|line| !line.contains(" mtime: ") || edits.iter().any(|edit| edit.contains(" mtime ")));
        assert_eq!(lines, expected.strings(), "{edits:?}");
        assert_eq!(status, i32::from(!expected.is_empty()), "{edits:?}");
    }
}

#[test]
fn times_layout_and_bytes_are_told_when_they_are_asked_for() {
    let scratch = Scratch::new();
    let a = image(&scratch);
    let b = edited(&scratch, &a, "b.img", &["sif hello atime @1000000000", "sif hello ctime @1000000001"]);
    let (lines, status) = diff(&a, "-t", &b);
    let ends: Vec<&str> = lines.iter().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!((ends, status), (vec!["2001-09-09T01:46:40Z", "2001-09-09T01:46:41Z"], 1), "{lines:?}");
    assert!(lines[0].starts_with("/hello atime: ") && lines[1].starts_with("/hello ctime: "), "{lines:?}");

    // The same content, copied behind everything else.
    let host = scratch.path("tree/sub/data");
    let write = format!("write {} copy", host.display());
    let b = edited(&scratch, &a, "b.img", &[&write, "rm sub/data", "ln copy sub/data", "unlink copy"]);
    let quiet = |args: &str| {
        let (mut lines, status) = diff(&a, args, &b);
        lines.retain(|line| !line.contains(" mtime: "));
        (lines, status)
    };
    assert_eq!(quiet("").0, Vec::<String>::new());
    let (lines, status) = quiet("-l");
    let number = |image: &Path, name: &str| {
        let stat = ours(image, &format!("stat {name}"));
        stat.split_whitespace().nth(1).unwrap().to_owned()
    };
    let (old, new) = (number(&a, "sub/data"), number(&b, "sub/data"));
    assert_eq!(lines[0], format!("/sub/data layout inode: {old} -> {new}"), "{lines:?}");
    assert!(
        lines[1].starts_with("/sub/data layout extents: 800768 bytes elsewhere, the first at 0x0: 0+782@"),
        "{lines:?}"
    );
    assert_eq!((lines.len(), status), (2, 1), "{lines:?}");

    let b = edited(&scratch, &a, "b.img", &["sif hello uid 5"]);
    let number = number(&a, "hello");
    let (lines, status) = diff(&a, "--bytes", &b);
    assert_eq!(lines[0], "/hello i_uid: 0 -> 5");
    assert_eq!(lines[1], format!("inode:{number}.i_uid: 0 -> 5"));
    assert!(lines[2].starts_with(&format!("inode:{number}.l_i_checksum_lo: ")), "{lines:?}");
    assert!(lines.last().unwrap().ends_with(" bytes differ"), "{lines:?}");
    assert_eq!(status, 1);
}

#[test]
fn json_has_the_names_of_the_field_table() {
    let scratch = Scratch::new();
    let a = image(&scratch);
    let b = edited(
        &scratch,
        &a,
        "b.img",
        &["sif hello mode 0100600", "sif hello flags 0x2080000", "ea_set hello user.new x", "mkdir new", "unlink fifo"],
    );
    let json = |args: &str| -> serde_json::Value {
        let output = tool(&["--json", "-R", &format!("diff {args} {}", b.display()), a.to_str().unwrap()], b"");
        assert_eq!(output.status.code(), Some(1));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let expected = serde_json::json!({ "command": "diff", "result": { "bytes": null, "differences": [
        { "kind": "changed", "path": "/", "what": "i_links_count", "a": 4, "b": 5 },
        { "kind": "only", "in": "a", "path": "/fifo", "type": "FIFO", "below": 0 },
        { "kind": "changed", "path": "/hello", "what": "i_mode", "a": 0o4711, "b": 0o600 },
        { "kind": "changed", "path": "/hello", "what": "i_flags.DAX", "a": false, "b": true },
        { "kind": "changed", "path": "/hello", "what": "xattr", "name": "user.new", "a": null, "b": "x" },
        { "kind": "only", "in": "b", "path": "/new", "type": "directory", "below": 0 },
    ]}});
    assert_eq!(json(""), expected);
    assert_eq!(json("-q"), serde_json::json!({ "command": "diff", "result": { "differ": true } }));
    let bytes = json("-b");
    let places = bytes["result"]["bytes"]["changes"].as_array().unwrap();
    assert!(places.iter().any(|row| row["place"].as_str().unwrap().ends_with(".i_flags")), "{places:?}");
}

#[test]
fn a_part_of_the_tree_and_one_file_can_be_compared() {
    let scratch = Scratch::new();
    let a = image(&scratch);
    let b = edited(&scratch, &a, "b.img", &["sif hello uid 5", "sif sub/data uid 6", "ssv volume_name x"]);
    let (name, b_name) = (a.to_str().unwrap(), b.display());
    let said = |command: &str| {
        let output = tool(&["-R", "cd sub", "-R", command, name], b"");
        (String::from_utf8(output.stdout).unwrap(), output.status.code())
    };
    // The other name of hello is in there.
    let both = "/sub/again i_uid: 0 -> 5\n/sub/data i_uid: 0 -> 6\n";
    assert_eq!(said(&format!("diff {b_name} /sub")), (both.into(), Some(1)));
    assert_eq!(said(&format!("diff {b_name} data")), ("/sub/data i_uid: 0 -> 6\n".into(), Some(1)));
    assert_eq!(said(&format!("diff {b_name} again")), ("/sub/again i_uid: 0 -> 5\n".into(), Some(1)));
    assert_eq!(said(&format!("diff {b_name} deeper")), (String::new(), Some(0)));
    assert_eq!(said(&format!("diff -q {b_name}")), (format!("{name} and {b_name} differ\n"), Some(1)));
    let refused = |command: &str| {
        let output = tool(&["-R", command, name], b"");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused(&format!("diff {b_name} <12>")).contains("a path is wanted"));
    assert!(refused(&format!("diff -b {b_name} /sub")).contains("--bytes compares images"));
    assert!(refused(&format!("diff --bytes=1 {b_name}")).contains("--bytes takes no value"));
    assert!(refused("diff /nosuch").contains("/nosuch"));
    let small = scratch.image("small", "16M", &["-t", "ext2"]);
    assert!(refused(&format!("diff -b {}", small.display())).contains("different shapes"));
}

#[test]
fn what_is_damaged_is_told_and_the_rest_compared() {
    let scratch = Scratch::new();
    let a = image(&scratch);
    let b = edited(&scratch, &a, "b.img", &["sif hello uid 5"]);
    // An inode whose checksum is wrong.
    let stat = run("debugfs", &["-R", "imap sub", b.to_str().unwrap()]);
    let word = |after: &str| {
        let text = stat.split(after).nth(1).unwrap().trim_start();
        let digits = text.split(|c: char| !c.is_ascii_hexdigit() && c != 'x').next().unwrap();
        digits.strip_prefix("0x").map_or_else(|| digits.parse(), |hex| u64::from_str_radix(hex, 16)).unwrap()
    };
    let at = word("located at block") * 4096_u64.min(block_size(&b)) + word("offset");
    let mut bytes = std::fs::read(&b).unwrap();
    bytes[usize::try_from(at).unwrap() + 0x18] ^= 1;
    std::fs::write(&b, bytes).unwrap();
    let (lines, status) = diff(&a, "", &b);
    assert_eq!(lines[0], "/hello i_uid: 0 -> 5");
    assert!(lines[1].starts_with("/sub: damaged in the second: inode:") && lines[1].contains("checksum"), "{lines:?}");
    assert_eq!((lines.len(), status), (2, 1), "{lines:?}");
}

fn block_size(image: &Path) -> u64 {
    let stats = run("dumpe2fs", &["-h", image.to_str().unwrap()]);
    let line = stats.lines().find(|line| line.starts_with("Block size:")).unwrap();
    line.split_whitespace().last().unwrap().parse().unwrap()
}
