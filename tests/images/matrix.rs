//! The matrix: every pair of choices of features, block sizes, inode sizes, sizes and sources, in at least 150 images.

use super::fixtures::{Source, Sources};
use super::harness::{self, Expect, Skipped};
use super::pairwise::{self, Partial};
use super::tools::{Failure, dax_mkfs, note, output, system, told};
use super::tree_compare::Allow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A dimension: its name and what can be chosen.
const DIMENSIONS: [(&str, &[&str]); 13] = [
    ("type", &["ext4", "ext3", "ext2"]),
    ("block", &["4096", "1024", "2048", "16384", "65536"]),
    ("inode", &["256", "128", "512", "1024"]),
    ("checksums", &["metadata_csum", "none", "uninit_bg", "metadata_csum_seed"]),
    ("width", &["64bit", "32bit"]),
    ("map", &["extent", "indirect"]),
    ("layout", &["flex_bg", "no_flex_bg", "meta_bg", "bigalloc", "sparse_super2", "no_sparse_super", "packed"]),
    ("directories", &["dir_index", "linear", "large_dir", "inline_data", "casefold"]),
    ("journal", &["internal", "none", "fast_commit", "sized"]),
    ("extra", &["nothing", "ea_inode", "quota", "project", "orphan_file", "mmp", "encrypt", "verity", "stable_inodes"]),
    ("size", &["small", "odd", "groups"]),
    ("source", &["none", "small", "names", "xattrs", "sparse", "many", "large", "large_xattrs"]),
    ("tune", &["default", "no reserve", "more inodes", "stride", "hash seed"]),
];

/// One row: what was chosen in each dimension.
struct Row([&'static str; DIMENSIONS.len()]);

impl Row {
    fn get(&self, dimension: &str) -> &'static str {
        let at = DIMENSIONS.iter().position(|(name, _)| *name == dimension).expect("a dimension of this name");
        self.0[at]
    }

    fn number(&self, dimension: &str) -> u32 {
        self.get(dimension).parse().expect("a number")
    }
}

/// What excludes what, by the rules of the format and of mke2fs.
fn allowed(row: &Partial) -> bool {
    let is = |dimension: &str, value: &str| {
        let at = DIMENSIONS.iter().position(|(name, _)| *name == dimension).expect("a dimension of this name");
        row[at].is_some_and(|chosen| DIMENSIONS[at].1[chosen] == value)
    };
    let never = [
        // Block maps hold 32 bits, and clusters need extents.
        is("map", "indirect") && (is("width", "64bit") || is("layout", "bigalloc")),
        // Old inodes have no room.
        is("inode", "128") && (is("directories", "inline_data") || is("extra", "project")),
        is("extra", "orphan_file") && is("journal", "none"),
        // Only in inodes of their own.
        is("source", "large_xattrs") && !is("extra", "ea_inode") && decided(row, "extra"),
    ];
    !never.contains(&true)
}

fn decided(row: &Partial, dimension: &str) -> bool {
    let at = DIMENSIONS.iter().position(|(name, _)| *name == dimension).expect("a dimension of this name");
    row[at].is_some()
}

fn rows() -> Vec<Row> {
    let sizes: Vec<usize> = DIMENSIONS.iter().map(|(_, values)| values.len()).collect();
    pairwise::rows(&sizes, 160, &allowed)
        .into_iter()
        .map(|row| {
            let mut chosen = [""; DIMENSIONS.len()];
            for (i, value) in row.into_iter().enumerate() {
                chosen[i] = DIMENSIONS[i].1[value];
            }
            Row(chosen)
        })
        .collect()
}

const UUID: &str = "7f1d2c3b-4a59-4876-9504-a3b2c1d0e9f8";
const LABEL: &str = "matrix";

/// The command line of a row, the same for mke2fs and dax-mkfs, and what must come of it.
struct Plan<'s> {
    args: Vec<String>,
    /// Blocks asked for.
    blocks: u64,
    features: BTreeSet<String>,
    fields: Vec<(&'static str, String)>,
    source: Option<&'s Source>,
    allow: Allow,
    block_size: u32,
}

fn plan<'s>(row: &Row, sources: &'s Sources) -> Plan<'s> {
    let (block, inode) = (row.number("block"), row.number("inode"));
    let mut words: Vec<&str> = Vec::new();
    let mut args: Vec<String> =
        ["-F", "-q", "-t", row.get("type"), "-L", LABEL, "-U", UUID].map(str::to_owned).to_vec();
    let mut fields = vec![("Block size", block.to_string()), ("Inode size", inode.to_string())];
    let mut extended = Vec::new();
    fields.push(("Filesystem volume name", LABEL.to_owned()));
    fields.push(("Filesystem UUID", UUID.to_owned()));
    args.extend(["-b".into(), block.to_string(), "-I".into(), inode.to_string()]);
    words.extend(match row.get("checksums") {
        "none" => &["^metadata_csum", "^uninit_bg"][..],
        "uninit_bg" => &["^metadata_csum", "uninit_bg"],
        "metadata_csum_seed" => &["metadata_csum", "metadata_csum_seed"],
        _ => &["metadata_csum"],
    });
    words.push(if row.get("width") == "64bit" { "64bit" } else { "^64bit" });
    words.push(if row.get("map") == "extent" { "extent" } else { "^extent" });
    let mut cluster = block;
    words.extend(match row.get("layout") {
        "no_flex_bg" => &["^flex_bg"][..],
        "meta_bg" => &["meta_bg", "^resize_inode"],
        "bigalloc" => {
            cluster = block * 4;
            args.extend(["-C".into(), cluster.to_string()]);
            fields.push(("Cluster size", cluster.to_string()));
            &["bigalloc", "^resize_inode"]
        }
        "sparse_super2" => &["sparse_super2", "^resize_inode"],
        "no_sparse_super" => &["^sparse_super", "^resize_inode"],
        "packed" => {
            extended.push("packed_meta_blocks=1".to_owned());
            &["flex_bg"]
        }
        _ => &["flex_bg"],
    });
    words.extend(match row.get("directories") {
        "linear" => &["^dir_index"][..],
        "large_dir" => &["dir_index", "large_dir"],
        "inline_data" => &["inline_data"],
        "casefold" => {
            extended.push("encoding=utf8".to_owned());
            &["casefold"]
        }
        _ => &["dir_index"],
    });
    words.extend(match row.get("journal") {
        "none" => &["^has_journal"][..],
        "fast_commit" => &["has_journal", "fast_commit"],
        "sized" => {
            // The smallest there is: 1,024 blocks, in MiB.
            args.extend(["-J".into(), format!("size={}", (u64::from(block) * 1200).div_ceil(1 << 20))]);
            &["has_journal"]
        }
        _ => &["has_journal"],
    });
    words.extend(match row.get("extra") {
        "nothing" => &[][..],
        "project" => &["quota", "project"],
        other => std::slice::from_ref(
            DIMENSIONS[9].1.iter().find(|v| **v == other).expect("one of the features of this dimension"),
        ),
    });
    let block_u64 = u64::from(block);
    let small = (32u64 << 20).div_ceil(block_u64).max(3500);
    let blocks = match row.get("size") {
        // Whole clusters where there are any, and a last group that has room for its own metadata.
        "odd" if cluster != block => small * 2 + 4004,
        "odd" => small * 2 + 4003,
        "groups" if cluster != block => small * 3,
        "groups" => {
            // Small groups, so that there are several whatever the block size; an end that fills no group.
            args.extend(["-g".into(), "8192".into()]);
            fields.push(("Blocks per group", "8192".into()));
            small.max(8192 * 3 + 3000)
        }
        _ => small,
    };
    match row.get("tune") {
        "no reserve" => {
            args.extend(["-m", "0"].map(str::to_owned));
            fields.push(("Reserved block count", "0".into()));
        }
        "more inodes" => args.extend(["-N", "9001"].map(str::to_owned)),
        "stride" => {
            extended.extend(["stride=16".to_owned(), "stripe_width=64".to_owned()]);
            fields.push(("RAID stride", "16".into()));
            fields.push(("RAID stripe width", "64".into()));
        }
        "hash seed" => {
            extended.push(format!("hash_seed={UUID}"));
            if !words.contains(&"^dir_index") {
                fields.push(("Directory Hash Seed", UUID.into()));
            }
        }
        // Enough for the largest source whatever the maker's ratio.
        _ => args.extend(["-N", "4096"].map(str::to_owned)),
    }
    if matches!(row.get("tune"), "no reserve" | "stride" | "hash seed") {
        args.extend(["-i", "8192"].map(str::to_owned));
    }
    fields.push(("Block count", blocks.to_string()));
    args.extend(["-O".into(), words.join(",")]);
    if !extended.is_empty() {
        args.extend(["-E".into(), extended.join(",")]);
    }
    let source = (row.get("source") != "none").then(|| sources.get(row.get("source")));
    Plan {
        args,
        blocks,
        features: features(row.get("type"), &words),
        fields,
        source,
        allow: Allow::nothing(inode, cluster.into()),
        block_size: block,
    }
}

/// The features of a type, edited.
fn features(fs_type: &str, words: &[&str]) -> BTreeSet<String> {
    let mut all: BTreeSet<&str> =
        ["ext_attr", "resize_inode", "dir_index", "filetype", "sparse_super", "large_file"].into();
    if fs_type != "ext2" {
        all.insert("has_journal");
    }
    if fs_type == "ext4" {
        all.extend(["extent", "64bit", "flex_bg", "huge_file", "dir_nlink", "extra_isize", "metadata_csum"]);
    }
    for word in words {
        match word.strip_prefix('^') {
            Some(name) => all.remove(name),
            None => all.insert(word),
        };
    }
    if all.contains("metadata_csum") {
        all.remove("uninit_bg");
    }
    all.into_iter().map(str::to_owned).collect()
}

/// Who makes the images.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Maker {
    DaxMkfs,
    Mke2fs,
}

fn make(maker: Maker, plan: &Plan<'_>, image: &Path) -> Command {
    let mut command = match maker {
        Maker::DaxMkfs => dax_mkfs(),
        Maker::Mke2fs => system("mke2fs"),
    };
    if maker == Maker::DaxMkfs {
        command.args(["--pmem-align", "none"]);
    }
    command.args(&plan.args);
    if let Some(source) = plan.source {
        command.arg("-d").arg(&source.path);
    }
    command.arg(image).arg(plan.blocks.to_string());
    command
}

fn check(maker: Maker, row: &Row, sources: &Sources, scratch: &Path) -> Result<Skipped, Failure> {
    let mut plan = plan(row, sources);
    let image = scratch.join("image");
    let _ = std::fs::remove_file(&image);
    let mut command = make(maker, &plan, &image);
    let out = output(&mut command);
    let made = told(&command, &out);
    if !out.status.success() {
        return Err(made);
    }
    if maker == Maker::Mke2fs {
        plan.allow = Allow { mke2fs: true, any_holes: true, ..plan.allow };
    }
    let expect = Expect {
        source: plan.source,
        allow: plan.allow,
        block_size: plan.block_size,
        inode_size: row.number("inode"),
        features: plan.features,
        fields: plan.fields,
    };
    harness::check(&image, scratch, &expect).map_err(|e| format!("{made}\n{e}"))
}

/// Checks rows on two threads; what failed, and what was skipped by whom.
fn check_all(maker: Maker, rows: &[Row], sources: &Sources) {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let skipped: Mutex<BTreeMap<(&str, String), usize>> = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let scratch = tempfile::tempdir().expect("a temporary directory");
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match check(maker, row, sources, scratch.path()) {
                        Ok(reasons) => {
                            let mut all = skipped.lock().expect("no panic");
                            for (reader, why) in reasons {
                                *all.entry((reader, why)).or_default() += 1;
                            }
                        }
                        Err(e) => {
                            if std::env::var_os("DAXKIT_TESTS_VERBOSE").is_some() {
                                note(format!("{}\n{e}\n", row.0.join(" ")));
                            }
                            failures.lock().expect("no panic").push(format!("{}\n{e}", row.0.join(" ")));
                        }
                    }
                }
            });
        }
    });
    for ((reader, why), count) in skipped.into_inner().expect("no panic") {
        note(format!("{reader} was not asked about {count} images of {}: {why}", rows.len()));
    }
    let failures = failures.into_inner().expect("no panic");
    assert!(failures.is_empty(), "{} of {} images failed:\n\n{}", failures.len(), rows.len(), failures.join("\n\n"));
}

#[test]
fn the_matrix_is_large_enough_and_holds_every_pair() {
    let rows = rows();
    assert!(rows.len() >= 150, "{}", rows.len());
    for (a, (dimension, values)) in DIMENSIONS.iter().enumerate() {
        for value in *values {
            let count = rows.iter().filter(|r| r.0[a] == *value).count();
            assert!(count >= 8, "{dimension} {value}: {count}");
        }
    }
}

#[test]
fn images_of_dax_mkfs_are_what_was_asked_for() {
    check_all(Maker::DaxMkfs, &rows(), &Sources::make());
}

/// The harness itself, on images nobody doubts.
#[test]
fn images_of_mke2fs_pass_the_same_checks() {
    // mke2fs 1.47.0 counts quotas before it copies, takes large files for inline ones where they begin with a hole, and
    // does not count the blocks of attributes in inodes.
    let broken = |row: &Row| {
        matches!(row.get("extra"), "quota" | "project")
            || row.get("directories") == "inline_data"
            || row.get("source") == "large_xattrs"
    };
    let chosen: Vec<Row> = rows().into_iter().filter(|r| !broken(r)).step_by(7).collect();
    let sources = Sources::make();
    check_all(Maker::Mke2fs, &chosen, &sources);
    // And it notices when the image is not what the source is.
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let row = Row([
        "ext4",
        "1024",
        "256",
        "metadata_csum",
        "64bit",
        "extent",
        "flex_bg",
        "dir_index",
        "internal",
        "nothing",
        "small",
        "small",
        "default",
    ]);
    let mut wrong = plan(&row, &sources);
    let image = scratch.path().join("image");
    let out = output(&mut make(Maker::Mke2fs, &wrong, &image));
    assert!(out.status.success());
    wrong.allow = Allow { mke2fs: true, any_holes: true, ..wrong.allow };
    let mut expect = Expect {
        source: Some(sources.get("large")),
        allow: wrong.allow,
        block_size: wrong.block_size,
        inode_size: 256,
        features: wrong.features,
        fields: wrong.fields,
    };
    let told = harness::check(&image, scratch.path(), &expect).map(drop).expect_err("another tree");
    for reader in ["daxkit-volume", "debugfs", "the kernel", "ext4-view"] {
        assert!(told.contains(&format!("{reader} sees")), "{reader}: {told}");
    }
    expect.source = wrong.source;
    assert_eq!(harness::check(&image, scratch.path(), &expect).map(drop), Ok(()));
    expect.fields.push(("Block count", "1".into()));
    assert!(harness::check(&image, scratch.path(), &expect).is_err());
}
