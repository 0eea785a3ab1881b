//! `cargo xtask images` over the recipes of `images/`, and over some that say what is not so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the tools under test are: `DAXKIT_BIN_DIR`, or the directory of this profile.
fn bin_dir() -> PathBuf {
    let dir = std::env::var_os("DAXKIT_BIN_DIR").map(PathBuf::from).unwrap_or_else(|| {
        let xtask = Path::new(env!("CARGO_BIN_EXE_xtask"));
        xtask.parent().expect("a program lies in a directory").to_owned()
    });
    let mkfs = dir.join("dax-mkfs");
    assert!(mkfs.is_file(), "this test needs {}: cargo build -p dax-mkfs", mkfs.display());
    dir
}

/// Runs the chore; whether it succeeds, and what it prints.
fn images(args: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let output = command.arg("images").args(args).env("DAXKIT_BIN_DIR", bin_dir()).output().expect("xtask runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn every_image_is_as_its_recipe_says() {
    let (success, said) = images(&[]);
    assert!(success, "{said}");
    assert!(said.contains("\nas expected: ") && !said.contains("NOT AS EXPECTED"), "{said}");
}

const HEAD: &str =
    "[filesystem]\nsize = \"auto\"\nfeatures = \"^has_journal\"\n[[file]]\npath = \"/victim\"\ntext = \"text\"\n";
const DEFECT: &str = "[[defect]]\nplace = 'inode.\"/victim\".i_links_count'\nset = 3\n";

/// What e2fsck and the kernel say is needed: without them the chore has nothing to compare with.
#[test]
fn a_recipe_that_says_what_is_not_so_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let says = "ref count is 3, should be 1";
    let cases = [
        ("right", format!("{HEAD}{DEFECT}[expect]\ne2fsck = {{ exit = 4, says = \"{says}\" }}\nmounts = true\n"), None),
        ("silent", format!("{HEAD}{DEFECT}"), Some("e2fsck -fn ends with 4, expected 0")),
        (
            "status",
            format!("{HEAD}{DEFECT}[expect]\ne2fsck = {{ exit = 8, says = \"{says}\" }}\n"),
            Some("ends with 4, expected 8"),
        ),
        (
            "text",
            format!("{HEAD}{DEFECT}[expect]\ne2fsck = {{ exit = 4, says = \"no such text\" }}\n"),
            Some("does not say \"no such text\""),
        ),
        ("mounts", format!("{HEAD}[expect]\nmounts = false\n"), Some("the kernel mounts it and is expected to refuse")),
        (
            "refuses",
            format!("{HEAD}[[defect]]\nplace = \"super.s_magic\"\nset = 0\n[expect]\ne2fsck = 8\nmounts = true\n"),
            Some("the kernel refuses it and is expected to mount"),
        ),
        (
            "defects/mute",
            format!("{HEAD}{DEFECT}[expect]\ne2fsck = 4\n"),
            Some("neither what e2fsck prints nor why it is blind"),
        ),
    ];
    fs::create_dir(dir.path().join("defects")).expect("a directory");
    for (name, recipe, _) in &cases {
        fs::write(dir.path().join(format!("{name}.toml")), recipe).expect("a recipe");
    }
    let from = dir.path().to_str().expect("a UTF-8 path");
    for (name, _, difference) in &cases {
        let (success, said) = images(&["--from", from, name]);
        match difference {
            None => assert!(success, "{said}"),
            Some(text) => assert!(!success && said.contains(text), "{name}: {said}"),
        }
    }
    let (success, said) = images(&["--from", from]);
    assert!(!success && said.contains("not as expected: 6 of 7"), "{said}");
    assert_eq!(said.matches("NOT AS EXPECTED").count(), 6, "{said}");
}

#[test]
fn what_is_kept_is_there_and_nothing_else_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let keep = dir.path().join("kept");
    let (success, said) = images(&["defects/inode-size", "--keep", keep.to_str().expect("a UTF-8 path")]);
    assert!(success, "{said}");
    let names = |dir: &Path| -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .expect("a directory")
            .map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&keep), ["defects"]);
    assert_eq!(names(&keep.join("defects")), ["inode-size.img", "inode-size.json"]);
    let (success, said) = images(&["no-such-recipe"]);
    assert!(!success && said.contains("there is no recipe \"no-such-recipe\""), "{said}");
}
