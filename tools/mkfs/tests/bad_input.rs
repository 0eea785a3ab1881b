//! Bad input: each is one line on standard error, exit status 1, and leaves no new file.

mod common;

use common::Bench;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

/// Arguments and a word that the line must hold.
const REFUSED: &[(&[&str], &str)] = &[
    (&[], "<IMAGE>"),
    (&["image"], "SIZE is needed"),
    (&["image", "8M", "9M"], "unexpected argument"),
    (&["--bogus", "image", "8M"], "--bogus"),
    (&["-Z", "image", "8M"], "-Z"),
    (&["image", "8MB"], "SIZE 8MB"),
    (&["image", "0"], "SIZE 0"),
    (&["image", "-1"], "-1"),
    (&["image", "1K"], "SIZE 1K"),
    (&["image", "16K"], "too few"),
    (&["image", "9999999T"], "more than a file can have"),
    (&["-n", "image", "600000T"], "limit"),
    (&["-b", "512", "image", "8M"], "-b 512"),
    (&["-b", "3000", "image", "8M"], "power of two"),
    (&["-t", "xfs", "image", "8M"], "-t xfs"),
    (&["-T", "enormous", "image", "8M"], "-T enormous"),
    (&["-U", "me", "image", "8M"], "-U me"),
    (&["-N", "-5", "image", "8M"], "-N -5"),
    (&["-N", "99999999", "image", "8M"], "-N 99999999"),
    (&["-i", "1", "image", "8M"], "-i 1"),
    (&["-I", "100", "image", "8M"], "-I 100"),
    (&["-m", "60", "image", "8M"], "-m 60"),
    (&["-O", "bogus", "image", "8M"], "bogus"),
    (&["-O", "FEATURE_C12", "image", "8M"], "FEATURE_C12"),
    (&["-O", "needs_recovery", "image", "8M"], "cannot be made"),
    (&["-O", "^extent", "image", "8M"], "64bit"),
    (&["-E", "bogus", "image", "8M"], "-E bogus"),
    (&["-E", "stride=x", "image", "8M"], "stride"),
    (&["-E", "offset=100", "image", "8M"], "offset"),
    (&["-J", "size=1", "image", "8M"], "-J size=1"),
    (&["-J", "device=/nowhere/journal", "image", "8M"], "/nowhere/journal"),
    (&["-G", "3", "image", "8M"], "-G 3"),
    (&["-g", "100", "image", "8M"], "-g 100"),
    (&["-r", "2", "image", "8M"], "-r 2"),
    (&["-o", "plan9", "image", "8M"], "-o plan9"),
    (&["-e", "laugh", "image", "8M"], "-e laugh"),
    (&["-C", "64K", "image", "8M"], "bigalloc"),
    (&["-c", "image", "8M"], "bad blocks"),
    (&["-l", "list", "image", "8M"], "bad blocks"),
    (&["-S", "image", "8M"], "-S"),
    (&["-z", "undo", "image", "8M"], "nothing to undo"),
    (&["-q", "-v", "image", "8M"], "cannot be used with"),
    (&["-d", "nowhere", "image", "8M"], "nowhere"),
    (&["-d", "afile", "image", "8M"], "afile"),
    (&["--dax", "relative", "image", "8M"], "absolute"),
    (&["--dax", "/missing", "-d", "src", "image", "8M"], "/missing"),
    (&["--dax", "/link", "-d", "src", "image", "8M"], "/link"),
    (&["--dax", "/file", "-b", "1024", "-d", "src", "image", "8M"], "pages of 4096"),
    (&["--owner", "root", "image", "8M"], "UID:GID"),
    (&["--exclude", "[", "-d", "src", "image", "8M"], "--exclude"),
    (&["--holes", "many", "image", "8M"], "many"),
    (&["--page-size", "5000", "image", "8M"], "--page-size"),
    (&["--pmem-align", "3M", "image", "8M"], "3M"),
    (&["--threads", "0", "image", "8M"], "--threads"),
    (&["-U", "random", "--reproducible", "image", "8M"], "reproducible"),
    (&["-d", "src", "image", "1M"], "no space"),
    (&["-N", "16", "-d", "src", "image", "16M"], "inodes"),
    (&["nodir/image", "8M"], "nodir"),
    (&["dir", "8M"], "is a directory"),
    (&["image/", "8M"], "directory"),
    (&["dangling", "8M"], "symbolic link"),
    (&["/dev/null", "8M"], "neither a regular file nor a block device"),
    (&["empty"], "SIZE is needed"),
];

#[test]
fn each_is_one_line_and_leaves_no_file() {
    let bench = Bench::new();
    fs::create_dir(bench.path("dir")).unwrap();
    fs::create_dir(bench.path("src")).unwrap();
    fs::write(bench.path("src/file"), vec![7; 3 << 20]).unwrap();
    for i in 0..40 {
        fs::write(bench.path(&format!("src/{i}")), b"x").unwrap();
    }
    symlink("file", bench.path("src/link")).unwrap();
    symlink("nothing", bench.path("dangling")).unwrap();
    fs::write(bench.path("afile"), b"x").unwrap();
    bench.file("empty", 0);
    let before = bench.names();
    for (args, word) in REFUSED {
        let line = bench.refused(args);
        assert!(line.contains(word), "{args:?}: '{word}' is not in: {line}");
        assert_eq!(bench.names(), before, "{args:?}");
    }
    assert_eq!(fs::metadata(bench.path("empty")).unwrap().len(), 0);
}

#[test]
fn what_cannot_be_read_is_named_or_left_out() {
    let bench = Bench::new();
    fs::create_dir(bench.path("src")).unwrap();
    fs::write(bench.path("src/open"), b"x").unwrap();
    fs::write(bench.path("src/secret\nline"), b"x").unwrap();
    fs::set_permissions(bench.path("src/secret\nline"), fs::Permissions::from_mode(0o000)).unwrap();
    // The superuser reads everything; as somebody else the same run must fail.
    let as_nobody = |args: &[&str]| {
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
        command.arg(env!("CARGO_BIN_EXE_dax-mkfs")).args(args).env("NO_COLOR", "1").current_dir(bench.path(""));
        common::Run::of(command.output().expect("the oracle setpriv (package util-linux) must be there"))
    };
    fs::set_permissions(bench.path(""), fs::Permissions::from_mode(0o777)).unwrap();
    let is_root = fs::metadata("/proc/self").map(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0).unwrap();
    let run = |args: &[&str]| if is_root { as_nobody(args) } else { bench.run(args) };
    let failed = run(&["-d", "src", "image", "8M"]);
    assert_eq!(failed.status, 1, "{}", failed.stderr);
    assert_eq!(failed.stderr.lines().count(), 1, "{}", failed.stderr);
    assert!(failed.stderr.contains("secret"), "{}", failed.stderr);
    assert!(!bench.path("image").exists());
    let skipped = run(&["--skip-unreadable", "-d", "src", "image", "8M"]);
    assert_eq!(skipped.status, 0, "{}", skipped.stderr);
    assert!(skipped.stderr.contains("warning: skipped"), "{}", skipped.stderr);
    common::assert_clean(&bench.path("image"));
}
