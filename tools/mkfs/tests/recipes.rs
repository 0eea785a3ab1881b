//! Recipes that are wrong, and the options that go with sources: one line with its place, exit status 1, nothing left behind.

mod common;

use common::{Bench, assert_clean};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// What a recipe says, and what the line must hold.
const REFUSED: &[(&str, &str)] = &[
    ("version = 2", "recipe.toml:1:11: "),
    ("[[file]\npath = \"/a\"", "recipe.toml:1:"),
    ("[[file]]\npath = \"/a\"\ntxet = \"x\"", "did you mean `text`?"),
    ("[[file]]\npath = \"a\"", "recipe.toml:2:8: "),
    ("[[file]]\npath = \"/a/../b\"", "`..`"),
    ("[[file]]\ntext = \"x\"", "`path`"),
    ("[[file]]\npath = \"/a\"\n[[file]]\npath = \"/a\"", "given twice"),
    ("[[file]]\npath = \"/a\"\nsize = 1\ntext = \"xy\"", "recipe.toml:4:"),
    ("[[file]]\npath = \"/a\"\nsource = \"missing\"", "missing"),
    ("[[file]]\npath = \"/a\"\nsource = \"src\"", "not a regular file"),
    ("[[file]]\npath = \"/a\"\nsource = \"src/file\"\nsize = 1", "longer than its size"),
    ("[[file]]\npath = \"/a\"\n[[file]]\npath = \"/a/b\"", "not a directory"),
    ("[[symlink]]\npath = \"/l\"\ntarget = \"l\"\n[[file]]\npath = \"/l/x\"", "symbolic links"),
    ("[[link]]\npath = \"/a\"\ntarget = \"/missing\"", "not there"),
    ("[[link]]\npath = \"/a\"\ntarget = \"/d\"\n[[dir]]\npath = \"/d\"", "directory"),
    ("[[node]]\npath = \"/n\"\ntype = \"char\"", "`device`"),
    ("[[rule]]\nmatch = \"/no/such\"\nmode = \"600\"", "matches nothing"),
    ("[[file]]\npath = \"/a\"\nsize = \"1M\"\npattern = \"random\"\nplace = { block = 1 }", "/a"),
    ("[[file]]\npath = \"/a\"\nsize = \"9000T\"\npattern = \"zero\"", "/a"),
    ("[[file]]\npath = \"/a\"\nxattrs = { \"user.a\" = { hex = \"0\" } }", "recipe.toml:3:"),
    ("[[defect]]\nplace = \"inode:99999999.i_mode\"\nset = 0", "recipe.toml:1:1"),
    ("[[defect]]\nplace = \"super.s_no_such_field\"\nset = 0", "recipe.toml:2:"),
    ("[filesystem]\nsize = \"tiny\"", "SIZE tiny"),
    ("[filesystem]\nblock_size = \"3000\"", "3000"),
    ("[filesystem]\nholes = \"many\"", "many"),
    ("source = \"missing.tar\"", "missing.tar"),
    ("source = [\"src/file\"]", "not a tar archive"),
    ("a = [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "recipe.toml:1:"),
    ("\"new\\nline\" = 1", "new\\nline"),
    ("[[file]]\npath = \"/a\"\nmode = 0xffffffffffffffffff", "recipe.toml:3:"),
    ("[[file]]\npath = \"/a\"\ntime = 1900-01-01T00:00:00Z", "1901"),
];

#[test]
fn each_is_one_line_with_its_place_and_leaves_no_file() {
    let bench = Bench::new();
    fs::create_dir(bench.path("src")).expect("mkdir");
    fs::write(bench.path("src/file"), b"content").expect("write");
    for (text, word) in REFUSED {
        fs::write(bench.path("recipe.toml"), text).expect("write");
        let before = bench.names();
        let line = bench.refused(&["--recipe", "recipe.toml", "--manifest", "manifest", "image"]);
        assert!(line.contains(word), "{text:?}: '{word}' is not in: {line}");
        assert_eq!(bench.names(), before, "{text:?}");
    }
    fs::write(bench.path("recipe.toml"), b"version = 1\n# \xff\n").expect("write");
    assert_eq!(bench.refused(&["--recipe", "recipe.toml", "image"]), "recipe.toml:2: is not UTF-8");
    fs::write(bench.path("recipe.toml"), vec![b'#'; (16 << 20) + 1]).expect("write");
    assert!(bench.refused(&["--recipe", "recipe.toml", "image"]).contains("at most"));
    assert!(bench.refused(&["--recipe", "missing.toml", "image"]).starts_with("missing.toml: "));
    assert!(bench.refused(&["--recipe", "src", "image"]).starts_with("src: "));
}

/// A recipe with something of everything.
const WHOLE: &str = r#"
version = 1
[filesystem]
size = "32M"
label = "whole"
[[dir]]
path = "/d"
dax = true
entries = { count = 20, prefix = "e", size = 10 }
[[file]]
path = "/d/large"
size = "3M"
pattern = { random = 7 }
unwritten = ["1M..2M"]
acl = "u::rw-,u:5:r--,g::r--,m::r--,o::---"
[[file]]
path = { bytes = "2f61ff" }
text = "odd"
time = 2020-01-01T00:00:00.5Z
[[symlink]]
path = "/s"
target = "d/large"
[[node]]
path = "/n"
type = "char"
device = "1:3"
[[rule]]
match = "/d/e*"
mode = "600"
[[defect]]
place = "inode:12.i_generation"
set = 7
"#;

#[test]
fn a_recipe_that_is_cut_off_or_damaged_is_told_or_still_one() {
    let bench = Bench::new();
    let mut refused = 0;
    let mut texts: Vec<Vec<u8>> = (0..WHOLE.len()).step_by(7).map(|cut| WHOLE.as_bytes()[..cut].to_vec()).collect();
    let mut state = 0x2545_f491_4f6c_dd1du64;
    for _ in 0..150 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let mut text = WHOLE.as_bytes().to_vec();
        text[(state % WHOLE.len() as u64) as usize] = b"\"'[]{}=,.\n#09\\x\0\xff"[(state >> 32) as usize % 17];
        texts.push(text);
    }
    let count = texts.len();
    for text in texts {
        fs::write(bench.path("recipe.toml"), &text).expect("write");
        let run = bench.run(&["-q", "--recipe", "recipe.toml", "image"]);
        let shown = String::from_utf8_lossy(&text);
        if run.status == 0 {
            assert_eq!(run.stderr, "", "{shown}");
            fs::remove_file(bench.path("image")).expect("an image");
        } else {
            refused += 1;
            assert_eq!((run.status, run.stderr.lines().count()), (1, 1), "{}\n{shown}", run.stderr);
            assert!(run.stderr.starts_with("dax-mkfs: error: "), "{}\n{shown}", run.stderr);
        }
        assert_eq!(bench.names(), ["recipe.toml"], "{shown}");
    }
    assert!(refused > count / 3 && refused < count, "{refused} of {count}");
}

#[test]
fn what_goes_with_sources_is_refused_in_one_line_too() {
    let bench = Bench::new();
    fs::create_dir(bench.path("src")).expect("mkdir");
    fs::write(bench.path("src/file"), vec![7; 3 << 20]).expect("write");
    fs::write(bench.path("order"), b"/file\nfile\n").expect("write");
    fs::write(bench.path("binary-order"), b"/\xff\n\xfe\n").expect("write");
    let before = bench.names();
    for (args, word) in [
        (&["--reserve", "lots", "-d", "src", "image"][..], "--reserve lots"),
        (&["--reserve", "96%", "-d", "src", "image"], "--reserve 96%"),
        (&["--reserve", "1M", "-d", "src", "image", "32M"], "only SIZE auto"),
        (&["--reserve", "9000000T", "-d", "src", "image"], "--reserve"),
        (&["--order", "missing", "-d", "src", "image"], "--order missing"),
        (&["--order", "order", "-d", "src", "image"], "line 2: \"file\""),
        (&["--order", "binary-order", "-d", "src", "image"], "line 2: \"\\xfe\""),
        (&["--order", "src", "-d", "src", "image"], "--order src"),
        (&["--manifest", "nodir/manifest", "-d", "src", "image"], "--manifest"),
        (&["--manifest", "src", "-d", "src", "image"], "--manifest"),
        (&["-n", "--manifest", "manifest", "-d", "src", "image"], "--manifest: a dry run"),
        (&["-g", "/missing", "-d", "src", "image"], "-g /missing"),
        (&["-g", "/new\nline", "-d", "src", "image"], "-g /new\\nline"),
        (&["--block-map", "missing", "-d", "src", "image"], "missing"),
        (&["-g", "8192", "-g", "16384", "-d", "src", "image"], "given twice"),
        (&["-d", "src", "-d", "missing", "image"], "missing"),
        (&["-d", "src", "-d", "/dev/null", "image"], "empty"),
        (&["-b", "1024", "-O", "^64bit,^extent", "-d", "src", "image", "2M"], "no space"),
    ] {
        let line = bench.refused(args);
        assert!(line.contains(word), "{args:?}: '{word}' is not in: {line}");
        assert_eq!(bench.names(), before, "{args:?}");
    }
}

#[test]
fn any_number_of_inodes_finds_its_size() {
    let bench = Bench::new();
    fs::write(bench.path("archive"), [0; 10_240]).expect("write");
    for count in ["1000000", "17000000", "4000000000"] {
        let run = bench.ok(&["-n", "-q", "-N", count, "-d", "archive", "image"]);
        assert_eq!(run.stderr, "", "{count}");
    }
    assert!(bench.refused(&["-n", "-N", "5000000000", "-d", "archive", "image"]).contains("-N 5000000000"));
}

#[test]
fn a_directory_that_cannot_be_written_to_is_named() {
    let bench = Bench::new();
    fs::write(bench.path("archive"), [0; 10_240]).expect("write");
    fs::create_dir(bench.path("closed")).expect("mkdir");
    fs::set_permissions(bench.path(""), fs::Permissions::from_mode(0o755)).expect("chmod");
    // The superuser writes everywhere.
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(env!("CARGO_BIN_EXE_dax-mkfs"));
    command.args(["-d", "-", "closed/image"]).current_dir(bench.path(""));
    command.stdin(fs::File::open(bench.path("archive")).expect("the archive"));
    let run = common::Run::of(command.output().expect("the oracle setpriv (package util-linux) must be there"));
    assert_eq!((run.status, run.stderr.lines().count()), (1, 1), "{}", run.stderr);
    assert!(run.stderr.contains("\"closed\""), "{}", run.stderr);
    bench.ok(&["-q", "-d", "archive", "closed/image"]);
    assert_clean(&bench.path("closed/image"));
}
