//! The scenarios of `images/scenarios` parse and check, and together cover every row of the tables they are made from.

use daxkit_scenario::{check, parse, print};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Every file of scenarios with its text.
fn files() -> BTreeMap<String, String> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../images/scenarios");
    let entries = std::fs::read_dir(&dir).expect("there are scenarios").map(|entry| entry.expect("an entry").path());
    let texts = entries.map(|path| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(name.ends_with(".dax"), "{name} is no scenario");
        (name, std::fs::read_to_string(&path).expect("a text"))
    });
    texts.collect()
}

#[test]
fn every_scenario_parses_checks_and_prints() {
    for (name, text) in files() {
        let file = parse(&text).unwrap_or_else(|errors| panic!("{name}:\n{errors}"));
        check(&file, &text).unwrap_or_else(|errors| panic!("{name}:\n{errors}"));
        assert_eq!(parse(&print(&file)).as_ref(), Ok(&file), "{name}");
        let lines: Vec<_> = text.lines().collect();
        let begins = lines.iter().enumerate().filter(|(_, line)| line.starts_with("scenario "));
        for (at, line) in begins {
            assert!(at > 0 && lines[at - 1].starts_with("# row: "), "{name}: {line} does not say which row it is");
        }
    }
}

/// Rows: section, then what they are called; a number where the table has no names.
const ROWS: &[(&str, &[&str])] = &[
    ("1.1", &["creation regular", "creation directory", "creation other", "creation inline", "edge"]),
    ("1.1 exclusion", &["1", "2", "3", "4", "5", "6", "7", "8", "9"]),
    ("1.2", &["special", "v4", "hint"]),
    ("1.2 inheritance", &["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]),
    ("1.3 order", &["1", "2", "3", "4", "6", "7 immutable", "7 project", "7 hints", "7 dax"]),
    ("1.3 ext4", &["visible", "kind", "immutable", "xflags"]),
    ("1.3 xfs", &["setflags", "shutdown", "realtime", "reflink"]),
    ("1.3", &["any device", "nextents"]),
    ("1.4", &["create", "mknod", "tmpfile", "rename", "chattr directory", "copy", "reflink", "unshare", "mount"]),
    ("2.1", &["once"]),
    ("2.2 decision", &["1", "2", "3", "3 delalloc", "3 no journal", "3 data=journal", "4", "5", "6", "7", "8", "9"]),
    ("2.3 decision", &["1", "2", "3", "4", "5", "5 realtime", "6", "7"]),
    ("2.4", &["dax", "default", "always no device", "always inline", "always journal", "always reflink"]),
    ("2.4", &["inode no device", "remount other", "remount inode", "shown"]),
    ("2.5", &["close", "directory", "always never", "same", "twice", "failed set", "references", "new opens"]),
    ("2.5", &["hard link", "drop_caches", "statx", "data"]),
    ("3.1", &["freeze"]),
    ("3.2", &["madvise"]),
    ("3.5", &["zero page"]),
    ("3.7", &["pmd", "hole", "colour", "private write", "outside vma", "end of file", "small entry", "past the end"]),
    ("3.8", &["MAP_SYNC"]),
    ("3.9", &["fsync", "nt"]),
    ("3.10", &["write", "fadvise", "statfs", "order"]),
    ("3.11", &["pins"]),
    ("3.12", &["memory failure", "media", "soft offline"]),
    ("7 swap", &["dax", "holes", "who", "protected", "flag"]),
    ("8", &["4.5", "4.13", "4.14", "5.8", "5.11", "6.2"]),
    ("6 generic", &["413", "428", "437", "452", "462", "470", "503", "605", "606", "607", "608"]),
    ("6 ext4", &["030", "031", "039", "047", "053"]),
    ("6 xfs", &["166", "179", "550", "551", "552", "558", "559"]),
];

/// What no scenario covers yet, and why.
const WAITING: &[(&str, &str)] = &[
    ("1.1 creation casefold", "the letter F needs an encoding, which `fs` cannot ask for"),
    ("1.2 verifier", "an inode with impossible flags comes from an image with a defect, not from operations"),
    ("1.3 order 5 8 9", "locks are not seen from outside"),
    ("1.3 ext4 quota", "quota files have no name to open"),
    ("2.3 decision 5 holder", "a holder of the device is not an operation"),
    ("3.7 thp_disabled", "switching huge pages off for a task is not an operation"),
    ("3.7 map_error not_contiguous lost_race", "faults of the device, and races that a schedule has to choose"),
    ("3.7 short_extent not_mapped unaligned_pfn", "where blocks lie is for an image made by a recipe to say"),
    ("6 ext4 022", "`debugfs` changes the superblock between two mounts: a second program"),
    ("6 ext4 035", "resizing a mounted volume is not an operation"),
    ("6 ext4 055", "`debugfs` damages a quota file: a second program, and quotas are not accounted"),
    ("6 xfs 128", "`xfs_fsr` exchanges extents: a second program, and `XFS_IOC_SWAPEXT` is not an operation"),
];

#[test]
fn every_row_is_covered() {
    let rows = ROWS.iter().flat_map(|(section, rows)| rows.iter().map(move |row| format!("{section} {row}")));
    let known: BTreeSet<String> = rows.collect();
    let mut covered = BTreeSet::new();
    for (name, text) in files() {
        for row in text.lines().filter_map(|line| line.strip_prefix("# row: ")) {
            assert!(known.contains(row), "{name}: there is no row {row}");
            covered.insert(row.to_owned());
        }
    }
    let missing: Vec<_> = known.difference(&covered).collect();
    assert!(missing.is_empty(), "no scenario for {missing:?}");
    for (row, why) in WAITING {
        assert!(!known.contains(*row) && !why.is_empty(), "{row} waits no longer");
    }
}

/// The list of xfstests in the reference is the rows and the waiting ones of section 6, and no others.
#[test]
fn the_reference_lists_every_test_of_xfstests() {
    let reference = include_str!("../../../docs/scenarios.md");
    let section = reference.split("\n## ").find(|part| part.starts_with("xfstests\n")).expect("a section");
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    let mut listed = BTreeMap::new();
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [test, place, text] = cells[..] else { panic!("{row}") };
        assert_eq!(listed.insert(format!("6 {}", test.replace('/', " ")), (place, text)), None, "{row}");
    }
    let told = ROWS.iter().filter(|(section, _)| section.starts_with("6 "));
    let told = told.flat_map(|(section, rows)| rows.iter().map(move |row| format!("{section} {row}")));
    let waiting = WAITING.iter().filter(|(row, _)| row.starts_with("6 "));
    let known: BTreeSet<_> = told.clone().chain(waiting.clone().map(|(row, _)| (*row).to_owned())).collect();
    assert_eq!(listed.keys().cloned().collect::<BTreeSet<_>>(), known);
    let scenarios = &files()["xfstests.dax"];
    for row in told {
        assert_eq!(listed[&row].0, "`xfstests.dax`", "{row}");
        assert!(scenarios.lines().any(|line| line.strip_prefix("# row: ") == Some(&row)), "{row} is not there");
    }
    for (row, why) in waiting {
        assert_eq!(listed[*row], ("waits", *why));
    }
}
