//! Every scenario of `images/scenarios` on the emulated kernel: each case passes, but for those listed here, which cannot be run,
//! and why.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use daxkit_mount::profile::PROFILES;
use serde_json::Value;

/// How many cases each file has.
const CASES: &[(&str, usize)] = &[
    ("advice.dax", 31),
    ("advisory.dax", 64),
    ("crash.dax", 22),
    ("ext4-flags.dax", 18),
    ("faults.dax", 40),
    ("inline-data.dax", 7),
    ("memory-failure.dax", 17),
    ("mount.dax", 22),
    ("namespace.dax", 34),
    ("positions.dax", 16),
    ("s-dax-ext4.dax", 14),
    ("s-dax-xfs.dax", 11),
    ("releases.dax", 110),
    ("set-calls.dax", 92),
    ("shared-blocks.dax", 16),
    ("swap.dax", 14),
    ("xfs-inheritance.dax", 30),
    ("xfstests.dax", 61),
];

/// Cases that are skipped: file, title, how many, why. None today.
const SKIPPED: &[(&str, &str, usize, &str)] = &[];

fn run(args: &[&str], path: &PathBuf) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_dax-pmem")).args(args).arg(path).output().expect("dax-pmem runs");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{}", path.display());
    serde_json::from_slice(&output.stdout).expect("a transcript")
}

#[test]
fn every_case_passes_or_is_known_to_be_skipped() {
    all(&["run", "none", "--json", "--keep-going"]);
}

/// What ext4 cases want in memory lies on volumes here: the same cases, the same words.
#[test]
fn every_case_passes_on_volumes_as_well() {
    all(&["run", "none", "--json", "--keep-going", "--volumes"]);
}

fn all(args: &[&str]) {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../images/scenarios");
    let entries = std::fs::read_dir(dir).expect("there are scenarios").map(|entry| entry.expect("an entry").path());
    let mut counted = BTreeMap::new();
    let mut skipped: BTreeMap<(String, String, String), usize> = BTreeMap::new();
    for path in entries {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let transcript = run(args, &path);
        let cases = transcript["cases"].as_array().expect("cases");
        for case in cases {
            let title = case["scenario"].as_str().expect("a title");
            let verdict = &case["verdict"];
            if verdict == "passed" {
                continue;
            }
            let why = verdict["skipped"].as_str();
            let why = why.unwrap_or_else(|| panic!("{name}: {title} [{}]: {verdict}", case["case"]));
            *skipped.entry((name.clone(), title.to_owned(), why.to_owned())).or_default() += 1;
        }
        counted.insert(name, cases.len());
    }
    let expected: BTreeMap<_, _> = CASES.iter().map(|(name, cases)| ((*name).to_owned(), *cases)).collect();
    assert_eq!(counted, expected);
    let expected: BTreeMap<_, _> = SKIPPED
        .iter()
        .map(|(file, title, cases, why)| (((*file).to_owned(), (*title).to_owned(), (*why).to_owned()), *cases))
        .collect();
    assert_eq!(skipped, expected);
}

/// The table of releases in the reference is the table of profiles.
#[test]
fn the_reference_lists_the_profiles() {
    let reference = include_str!("../../../docs/scenarios.md");
    let rows = reference.lines().skip_while(|line| !line.starts_with("| Release |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|')).map(|line| {
        let mut cells = line.trim_start_matches("| ").split(" | ");
        (cells.next().unwrap_or_default().trim_matches('`'), cells.next().unwrap_or_default())
    });
    let known = PROFILES.iter().map(|(name, profile)| (*name, profile.evidence.text()));
    assert_eq!(rows.collect::<Vec<_>>(), known.collect::<Vec<_>>());
}
