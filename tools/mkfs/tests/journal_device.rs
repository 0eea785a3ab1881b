//! External journals: made, used, and listed as used.

mod common;

use common::{Bench, dumpe2fs, oracle};

#[test]
fn a_file_system_finds_its_journal_and_is_listed_there() {
    let bench = Bench::new();
    bench.ok(&["-q", "-O", "journal_dev", "-b", "4096", "-L", "log", "journal", "16M"]);
    let (journal, image) = (bench.path("journal"), bench.path("image"));
    assert_eq!(dumpe2fs(&journal, "Filesystem features"), "journal_dev");
    assert_eq!(dumpe2fs(&journal, "Journal number of users"), "0");
    bench.ok(&["-q", "-J", "device=journal", "image", "64M"]);
    assert_eq!(dumpe2fs(&image, "Journal UUID"), dumpe2fs(&journal, "Filesystem UUID"));
    assert_eq!(dumpe2fs(&journal, "Journal users"), dumpe2fs(&image, "Filesystem UUID"));
    let run = oracle("e2fsck", &["-fn", "-j", journal.to_str().unwrap(), image.to_str().unwrap()]);
    assert_eq!(run.status, 0, "{}{}", run.stdout, run.stderr);
    // A second user.
    bench.ok(&["-q", "-J", "device=journal", "other", "64M"]);
    assert_eq!(dumpe2fs(&journal, "Journal number of users"), "2");
}

#[test]
fn what_is_no_journal_device_is_refused() {
    let bench = Bench::new();
    bench.ok(&["-q", "plain", "8M"]);
    bench.file("short", 100);
    for (device, word) in [("plain", "not a journal device"), ("short", "too short"), ("UUID=1", "wants a path")] {
        let line = bench.refused(&["-J", &format!("device={device}"), "image", "64M"]);
        assert!(line.contains(word), "{line}");
        assert!(!bench.path("image").exists());
    }
    bench.ok(&["-q", "-O", "journal_dev", "-b", "1024", "journal", "4M"]);
    assert!(bench.refused(&["-J", "device=journal", "-b", "4096", "image", "64M"]).contains("blocks of 1024"));
    bench.ok(&["-q", "-J", "device=journal", "image", "64M"]);
    assert_eq!(dumpe2fs(&bench.path("image"), "Block size"), "1024");
}
