//! Help, version, documents, and what is printed.

mod common;

use common::{Bench, assert_clean, dumpe2fs};
use std::fs;

#[test]
fn help_and_version_go_to_standard_output() {
    let bench = Bench::new();
    let help = bench.ok(&["--help"]);
    assert!(help.stderr.is_empty());
    for letter in "btLUNiImOEJTGgrMoedndqvVFzCj".chars() {
        assert!(help.stdout.contains(&format!("  -{letter}")), "-{letter} is missing in {}", help.stdout);
    }
    for long in ["--dax", "--owner", "--exclude", "--skip-unreadable", "--holes", "--page-size", "--pmem-align"] {
        assert!(help.stdout.contains(long), "{long}");
    }
    let version = bench.ok(&["-V"]);
    assert_eq!(version.stdout, format!("dax-mkfs {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn documents_are_made() {
    let bench = Bench::new();
    assert!(bench.ok(&["--document", "man"]).stdout.contains(".TH dax-mkfs 8"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = bench.ok(&["--document", shell]).stdout;
        assert!(text.contains("dax-mkfs") && text.contains("pmem-align"), "{shell}");
    }
}

#[test]
fn one_line_says_what_was_made() {
    let bench = Bench::new();
    let run = bench.ok(&["-U", "01234567-89ab-cdef-0123-456789abcdef", "image", "64M"]);
    assert_eq!(run.stdout, "image: 16384 blocks of 4 KiB, 16384 inodes; UUID 01234567-89ab-cdef-0123-456789abcdef\n");
    assert_eq!(run.stderr, "");
    assert_clean(&bench.path("image"));
    assert_eq!(dumpe2fs(&bench.path("image"), "Filesystem UUID"), "01234567-89ab-cdef-0123-456789abcdef");
    let quiet = bench.ok(&["-q", "other", "9M"]);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
}

#[test]
fn a_dry_run_prints_the_plan_and_writes_nothing() {
    let bench = Bench::new();
    let run = bench.ok(&["-n", "image", "300M"]);
    assert!(run.stdout.contains("76800 inodes, 76800 blocks (300 MiB)"), "{}", run.stdout);
    assert!(run.stdout.contains("Superblock backups stored on blocks:\n\t32768\n"), "{}", run.stdout);
    assert!(run.stdout.ends_with("nothing written\n"));
    assert!(bench.names().is_empty());

    let old = vec![0x5a; 8 << 20];
    fs::write(bench.path("old"), &old).unwrap();
    let before = fs::metadata(bench.path("old")).unwrap().modified().unwrap();
    bench.ok(&["-n", "old"]);
    assert_eq!(fs::read(bench.path("old")).unwrap(), old);
    assert_eq!(fs::metadata(bench.path("old")).unwrap().modified().unwrap(), before);
}

#[test]
fn the_verbose_report_says_how_much_of_each_file_one_fault_maps() {
    let bench = Bench::new();
    fs::create_dir(bench.path("src")).unwrap();
    fs::write(bench.path("src/large"), vec![1; 5 << 20]).unwrap();
    fs::write(bench.path("src/small"), b"x").unwrap();
    let run = bench.ok(&["-v", "-d", "src", "--dax", "/large", "image", "64M"]);
    let line = run.stdout.lines().find(|l| l.ends_with("/large")).expect("a line for /large");
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[..2], ["100%", "2"], "{line}");
    assert_eq!(words[5], "x", "{line}");
    assert!(!run.stdout.contains("/small"));
    assert!(run.stdout.contains("2 files, 5 MiB; PMD-able 100% (2 of 2 windows)"), "{}", run.stdout);
    assert_clean(&bench.path("image"));
}

#[test]
fn the_new_files_length_is_rounded_and_told() {
    let bench = Bench::new();
    let run = bench.ok(&["image", "9M"]);
    assert_eq!(
        run.stderr,
        "dax-mkfs: note: image: the file gets 10485760 bytes instead of 9437184: a pmem device is a multiple of 2 MiB (--pmem-align)\n"
    );
    assert_eq!(fs::metadata(bench.path("image")).unwrap().len(), 10 << 20);
    assert_eq!(dumpe2fs(&bench.path("image"), "Block count"), "2304");
    bench.ok(&["--pmem-align", "none", "exact", "9M"]);
    assert_eq!(fs::metadata(bench.path("exact")).unwrap().len(), 9 << 20);
    bench.file("old", 9 << 20);
    bench.ok(&["old"]);
    assert_eq!(fs::metadata(bench.path("old")).unwrap().len(), 9 << 20);
    bench.file("short", 1 << 20);
    bench.ok(&["short", "9M"]);
    assert_eq!(fs::metadata(bench.path("short")).unwrap().len(), 10 << 20);
    assert_clean(&bench.path("short"));
}

#[test]
fn the_root_directory_belongs_to_whom_the_options_say() {
    let bench = Bench::new();
    fs::create_dir(bench.path("src")).unwrap();
    for source in [&["-d", "src"][..], &[]] {
        let _ = fs::remove_file(bench.path("image"));
        bench.ok(&[&["-q", "-E", "root_owner=12:34,root_perms=1750"], source, &["image", "16M"]].concat());
        let image = bench.path("image");
        let run = common::oracle("debugfs", &["-R", "stat /", image.to_str().unwrap()]);
        assert!(
            run.stdout.contains("Mode:  01750") && run.stdout.contains("User:    12   Group:    34"),
            "{}",
            run.stdout
        );
        assert_clean(&image);
    }
}

#[test]
fn two_reproducible_runs_make_the_same_bytes() {
    let bench = Bench::new();
    fs::create_dir(bench.path("src")).unwrap();
    fs::write(bench.path("src/a"), b"content").unwrap();
    bench.ok(&["--reproducible", "-d", "src", "one", "8M"]);
    let run = bench.command(&["-d", "src", "two", "8M"]).env("SOURCE_DATE_EPOCH", "1000").output().unwrap();
    assert!(run.status.success());
    bench.ok(&["--reproducible", "--threads", "1", "-d", "src", "three", "8M"]);
    assert!(fs::read(bench.path("one")).unwrap() == fs::read(bench.path("three")).unwrap());
    assert!(dumpe2fs(&bench.path("two"), "Filesystem created").contains("1970"));
    let bad = bench.command(&["four", "8M"]).env("SOURCE_DATE_EPOCH", "soon").output().unwrap();
    assert_eq!(bad.status.code(), Some(1));
    assert!(!bench.path("four").exists());
}
