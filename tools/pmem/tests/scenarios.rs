//! Every scenario of `images/scenarios` on the emulated kernel: each case passes, but for those listed here, which cannot be run,
//! and why.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

/// How many cases each file has.
const CASES: &[(&str, usize)] = &[
    ("advisory.dax", 64),
    ("ext4-flags.dax", 17),
    ("faults.dax", 40),
    ("inline-data.dax", 7),
    ("mount.dax", 20),
    ("namespace.dax", 32),
    ("s-dax-ext4.dax", 14),
    ("s-dax-xfs.dax", 11),
    ("set-calls.dax", 92),
    ("xfs-inheritance.dax", 30),
    ("xfstests.dax", 49),
];

/// Cases that are skipped: file, title, how many, why.
const SKIPPED: &[(&str, &str, usize, &str)] = &[
    ("ext4-flags.dax", "the flag is refused on a verity file", 1, "needs verity"),
    ("ext4-flags.dax", "verity is refused where the flag is", 1, "needs verity"),
    ("ext4-flags.dax", "an encryption policy is refused where the flag is", 1, "needs encryption"),
    ("ext4-flags.dax", "a file inside an encrypted directory is not accessed directly", 1, "needs encryption"),
    ("ext4-flags.dax", "extents of a DAX file are not exchanged", 1, "needs move_extents"),
    ("faults.dax", "fsync takes write access away and the dirty mark off", 2, "line 115: durable is not emulated"),
    ("faults.dax", "poisoned media gives SIGBUS and EIO until it is written", 2, "needs media_poison"),
    ("inline-data.dax", "a store through a mapping takes it out", 1, "line 78: durable is not emulated"),
    ("mount.dax", "dax=always where blocks can be shared depends on release and partition", 2, "needs reflink"),
    (
        "namespace.dax",
        "blocks are shared only between files of the same kind, and the flag is not copied",
        2,
        "needs reflink",
    ),
    ("s-dax-ext4.dax", "encrypted: no", 1, "needs encryption"),
    ("s-dax-ext4.dax", "verity: no", 1, "needs verity"),
    ("s-dax-xfs.dax", "shares blocks: no, up to 6.1", 2, "needs reflink"),
    ("s-dax-xfs.dax", "for a realtime file its own device counts", 1, "needs realtime"),
    (
        "set-calls.dax",
        "an argument that cannot be read comes before a mount that cannot be written",
        4,
        "line 9: fssetxattr_bad is not emulated",
    ),
    ("set-calls.dax", "a file system that was shut down gives EIO", 2, "line 157: shutdown is not emulated"),
    ("set-calls.dax", "a file with data does not move to the realtime device", 4, "needs realtime"),
    ("set-calls.dax", "a DAX file does not move to a realtime device that is no pmem", 4, "needs realtime"),
    ("set-calls.dax", "up to 6.1 a file that shares blocks is refused the flag", 4, "needs reflink"),
    ("xfs-inheritance.dax", "rtinherit becomes realtime where there is a realtime device", 2, "needs realtime"),
    (
        "xfs-inheritance.dax",
        "noatime, nodump, sync and nodefrag go where their switch is on",
        2,
        "line 49: sysctl is not emulated",
    ),
    (
        "xfs-inheritance.dax",
        "nosymlinks goes only where its switch is on, and it is off",
        2,
        "line 60: sysctl is not emulated",
    ),
    ("xfs-inheritance.dax", "the hint for copied extents goes with its value", 2, "needs reflink"),
    ("xfs-inheritance.dax", "sharing of blocks does not go", 2, "needs reflink"),
    ("xfstests.dax", "with MAP_SYNC blocks are the file's as soon as a store is done", 2, "needs power_cut"),
    ("xfstests.dax", "a failure of memory reaches every process that maps the page", 1, "needs rmap"),
];

fn run(path: &PathBuf) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_dax-pmem"))
        .args(["run", "none", "--json", "--keep-going"])
        .arg(path)
        .output()
        .expect("dax-pmem runs");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{}", path.display());
    serde_json::from_slice(&output.stdout).expect("a transcript")
}

#[test]
fn every_case_passes_or_is_known_to_be_skipped() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../images/scenarios");
    let entries = std::fs::read_dir(dir).expect("there are scenarios").map(|entry| entry.expect("an entry").path());
    let mut counted = BTreeMap::new();
    let mut skipped: BTreeMap<(String, String, String), usize> = BTreeMap::new();
    for path in entries {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let transcript = run(&path);
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
