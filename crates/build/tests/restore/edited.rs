//! Texts that somebody edited: what was changed is there, and every checksum fits.

use super::images::{KINDS, built, image, run, spawn, text};
use daxkit_build::dump::Data;
use std::path::PathBuf;

struct Edited {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Edited {
    /// The image of a kind, with the first of each of these texts replaced.
    fn new(kind: usize, edits: &[(&str, &str)]) -> Self {
        let (size, args) = KINDS[kind];
        let mut text = String::from_utf8(text(&image(size, args), Data::Full)).unwrap();
        for (from, to) in edits {
            assert!(text.contains(from), "{from:?} is not in the text of {args:?}");
            text = text.replacen(from, to, 1);
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        std::fs::write(&path, built(text.as_bytes()).unwrap_or_else(|e| panic!("{e}"))).unwrap();
        Self { _dir: dir, path }
    }

    fn debugfs(&self, request: &str) -> String {
        run("debugfs", &["-R", request, self.path.to_str().unwrap()])
    }

    /// What e2fsck finds to be wrong.
    fn check(&self) -> (Option<i32>, String) {
        let output = spawn("e2fsck", &["-fn", self.path.to_str().unwrap()]);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn is_clean(&self) {
        let (code, said) = self.check();
        assert_eq!(code, Some(0), "{said}");
    }
}

/// An image without anything in its log.
const QUIET: usize = 3;

#[test]
fn an_edit_gets_its_checksums() {
    let edited = Edited::new(
        QUIET,
        &[
            ("super\n", "super\n  .s_volume_name \"edited\"\n"),
            ("/entry:12 \"..\" inode 2", "/entry:12 \"..\" inode 2"),
            ("\"entry-with-a-long-name-0042\"", "\"entry-with-a-long-name-4200\""),
        ],
    );
    edited.is_clean();
    assert!(edited.debugfs("ls sub").contains("entry-with-a-long-name-4200"));
    assert!(edited.debugfs("stats -h").contains("Filesystem volume name:   edited"));
}

#[test]
fn data_flags_times_and_attributes_can_be_edited() {
    let plain = String::from_utf8(text(&image(KINDS[QUIET].0, KINDS[QUIET].1), Data::Full)).unwrap();
    let hello = plain.split("\ninode:").find(|part| part.contains("file \"/hello\"")).unwrap();
    let flags = hello.lines().find(|line| line.contains(".i_flags")).unwrap();
    let mtime = hello.lines().find(|line| line.contains(".i_mtime")).unwrap();
    let head = format!("inode:{}", hello.lines().next().unwrap());
    let whole = format!("inode:{hello}");
    let changed = whole
        .replace(flags, &format!("{flags} DAX"))
        .replace(mtime, "  .i_mtime 2222-02-02T02:02:02.000000003Z")
        .replace("\"a value\"", "\"another, longer value\"");
    assert_ne!(whole, changed);
    let edited = Edited::new(QUIET, &[(&whole, &changed)]);
    edited.is_clean();
    let stat = edited.debugfs("stat hello");
    assert!(stat.contains("2222"), "{stat}");
    assert!(
        run("debugfs", &["-R", "ea_get hello user.text", edited.path.to_str().unwrap()])
            .contains("another, longer value")
    );
    assert!(head.starts_with("inode:"));
    // A content that is not inline.
    let edited = Edited::new(0, &[("\"hello, world\\x0a\"", "\"HELLO, WORLD\\x0a\"")]);
    assert!(edited.debugfs("cat hello").contains("HELLO, WORLD"));
}

#[test]
fn groups_and_bitmaps_get_theirs() {
    // A bit that is set for nobody: e2fsck finds that, and no wrong checksum.
    let (size, args) = KINDS[8];
    let plain = String::from_utf8(text(&image(size, args), Data::Full)).unwrap();
    let from = plain.find("group.0/inode_bitmap").unwrap();
    let range = plain[from..].lines().nth(1).unwrap().to_owned();
    let last: u32 = range.trim().rsplit('-').next().unwrap().parse().unwrap();
    let changed = range.replace(&last.to_string(), &(last + 1).to_string());
    let head = plain[from..].lines().next().unwrap();
    let edited = Edited::new(8, &[(&format!("{head}\n{range}"), &format!("{head}\n{changed}"))]);
    let (code, said) = edited.check();
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("Inode bitmap differences") && !said.contains("checksum"), "{said}");
}

#[test]
fn a_structure_is_built_that_was_not_there() {
    // An attribute for a file that had none, and a name for it in place of another.
    let (size, args) = KINDS[QUIET];
    let plain = String::from_utf8(text(&image(size, args), Data::Full)).unwrap();
    let odd = plain.split("\ninode:").find(|part| part.contains("file \"/sub/entry-with-a-long-name-0001\"")).unwrap();
    let whole = format!("inode:{odd}\n");
    let changed = whole.replacen("  .i_checksum ok\n", "", 1)
        + "  .i_checksum ok\n  .xattr.\"user.new\" = \"of the text\" hash ok\n";
    let edited = Edited::new(QUIET, &[(&whole, &changed)]);
    let said = edited.debugfs("ea_list sub/entry-with-a-long-name-0001");
    assert!(said.contains("user.new (11) = \"of the text\""), "{said}");
}
