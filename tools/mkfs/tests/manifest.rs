//! The manifest against debugfs and against the files; block maps; the order of a last version.

mod common;

use common::{Bench, assert_clean, oracle};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const RECIPE: &str = r#"
[filesystem]
dax = "/pmem"
[[dir]]
path = "/pmem"
[[file]]
path = "/pmem/table"
pattern = "offset"
size = "4M+123"
[[file]]
path = "/pmem/not"
text = "kept from it"
dax = false
[[file]]
path = "/mixed"
pattern = { random = 3 }
size = "64K"
unwritten = ["8K..16K", "128K..192K"]
holes = ["32K..40K"]
[[file]]
path = "/pieces"
pattern = "text"
size = "80K"
fragments = 9
mode = 0o640
owner = "70000:80000"
[[file]]
path = "/verity"
text = "sealed"
flags = ["VERITY", "DAX"]
[[file]]
path = "/indirect"
pattern = "offset"
size = "100K"
mapping = "indirect"
[[symlink]]
path = "/link"
target = "pmem/table"
[[node]]
path = "/null"
type = "char"
device = "1:3"
[[link]]
path = "/again"
target = "/pieces"
"#;

fn manifest(bench: &Bench, name: &str) -> (Value, BTreeMap<String, Value>) {
    let document: Value = serde_json::from_slice(&fs::read(bench.path(name)).expect("the manifest")).expect("JSON");
    let entries = document["entries"].as_array().expect("entries").clone();
    let by_path = entries.into_iter().map(|e| (e["path"].as_str().expect("a path").to_owned(), e)).collect();
    (document, by_path)
}

fn debugfs(image: &Path, request: &str) -> String {
    oracle("debugfs", &["-R", request, image.to_str().expect("text")]).stdout
}

/// The word behind a label in what `stat` prints.
fn word<'t>(text: &'t str, label: &str) -> &'t str {
    let rest = text.split_once(label).unwrap_or_else(|| panic!("no {label} in {text}")).1;
    rest.split_whitespace().next().unwrap_or_default()
}

#[test]
fn every_fact_is_what_debugfs_sees() {
    let bench = Bench::new();
    fs::write(bench.path("r.toml"), RECIPE).expect("write");
    bench.ok(&["--recipe", "r.toml", "-O", "verity", "--manifest", "m.json", "image"]);
    let image = bench.path("image");
    assert_clean(&image);
    let (document, entries) = manifest(&bench, "m.json");
    assert_eq!(document["image"]["uuid"].as_str().expect("text"), common::dumpe2fs(&image, "Filesystem UUID"));
    assert_eq!(document["mounts"]["always"]["works"], true);
    for (path, entry) in entries.iter().filter(|(path, _)| *path != "/lost+found") {
        let stat = debugfs(&image, &format!("stat {path}"));
        let number = |key: &str| entry[key].as_u64().unwrap_or_else(|| panic!("{path}: {key}")).to_string();
        assert_eq!(word(&stat, "Inode:"), number("inode"), "{path}");
        assert_eq!(word(&stat, "User:"), number("uid"), "{path}");
        assert_eq!(word(&stat, "Group:"), number("gid"), "{path}");
        assert_eq!(word(&stat, "Links:"), number("links"), "{path}");
        assert_eq!(word(&stat, "Mode:"), entry["mode"].as_str().expect("a mode"), "{path}");
        let flags = u64::from_str_radix(word(&stat, "Flags:").trim_start_matches("0x"), 16).expect("hex");
        assert_eq!(Some(flags), entry["flags_value"].as_u64(), "{path}");
        if entry["type"] == "file" {
            assert_eq!(word(&stat, "Size:"), number("size"), "{path}");
            let host = bench.path("content");
            debugfs(&image, &format!("dump {path} {}", host.display()));
            let sum = oracle("sha256sum", &[host.to_str().expect("text")]);
            assert_eq!(sum.stdout.split(' ').next(), entry["sha256"].as_str(), "{path}");
            let blocks: Vec<String> =
                debugfs(&image, &format!("blocks {path}")).split_whitespace().map(str::to_owned).collect();
            let mapped: u64 = entry["extents"]
                .as_array()
                .expect("extents")
                .iter()
                .map(|e| e["length"].as_u64().expect("length"))
                .sum();
            for e in entry["extents"].as_array().expect("extents") {
                assert!(blocks.contains(&e["physical"].to_string()), "{path}: {e}");
            }
            assert!(blocks.len() as u64 >= mapped, "{path}: {mapped} blocks, debugfs has {}", blocks.len());
        }
    }
    let extents = |path: &str| -> Vec<(u64, u64, bool)> {
        let list = entries[path]["extents"].as_array().expect("extents");
        let n = |e: &Value, key: &str| e[key].as_u64().expect("a number");
        list.iter().map(|e| (n(e, "logical"), n(e, "length"), e["written"].as_bool().expect("a bool"))).collect()
    };
    assert_eq!(extents("/mixed"), [(0, 2, true), (2, 2, false), (4, 4, true), (10, 6, true), (32, 16, false)]);
    assert_eq!(extents("/pieces").len(), 9);
    assert_eq!(entries["/again"]["inode"], entries["/pieces"]["inode"]);
    assert_eq!(entries["/pmem/table"]["pmd"]["mappable"], 2);
}

#[test]
fn where_the_flag_comes_from_and_what_it_comes_to() {
    let bench = Bench::new();
    fs::write(bench.path("r.toml"), RECIPE).expect("write");
    bench.ok(&["--recipe", "r.toml", "-O", "verity", "--manifest", "m.json", "image"]);
    let (_, entries) = manifest(&bench, "m.json");
    let told = |path: &str| {
        let dax = &entries[path]["dax"];
        let mode = |m: &str| {
            let d = &dax["s_dax"][m];
            (d["effective"].as_bool().expect("a bool"), d["rule"].as_u64().expect("a rule"))
        };
        let from = dax["from"].as_str().expect("from").to_owned();
        (dax["flag"].as_bool().expect("a bool"), from, mode("always"), mode("inode"), mode("never"))
    };
    let expected = |flag, from: &str, always, inode| (flag, from.to_owned(), always, inode, (false, 1));
    assert_eq!(told("/pmem"), expected(true, "option", (false, 2), (false, 2)));
    assert_eq!(told("/pmem/table"), expected(true, "inherited", (true, 8), (true, 9)));
    assert_eq!(told("/pmem/not"), expected(false, "recipe", (true, 8), (false, 9)));
    assert_eq!(told("/mixed"), expected(false, "none", (true, 8), (false, 9)));
    assert_eq!(told("/verity"), expected(true, "recipe", (false, 6), (false, 6)));
    assert_eq!(told("/link"), expected(false, "none", (false, 2), (false, 2)));
    // Without --dax blocks may be smaller than pages; nothing is effective then, and dax=always does not mount.
    let recipe = RECIPE.replace("dax = \"/pmem\"\n", "block_size = 1024\n");
    fs::write(bench.path("small.toml"), recipe).expect("write");
    bench.ok(&["--recipe", "small.toml", "-O", "verity", "--manifest", "small.json", "small"]);
    let (document, entries) = manifest(&bench, "small.json");
    assert_eq!(document["mounts"]["always"]["works"], false);
    assert_eq!(document["mounts"]["inode"]["works"], true);
    assert!(entries.values().all(|e| e["dax"]["s_dax"]["inode"]["effective"] == false));
}

#[test]
fn a_block_map_is_what_debugfs_says() {
    let bench = Bench::new();
    fs::write(bench.path("r.toml"), RECIPE).expect("write");
    let run = bench.ok(&["--recipe", "r.toml", "-O", "verity", "-g", "/pieces", "--block-map", "/mixed", "image"]);
    let maps: Vec<&str> = run.stdout.lines().take_while(|l| !l.contains("blocks of")).collect();
    assert!(maps[0].starts_with("/pieces: inode ") && maps[0].ends_with(", 9 runs"), "{}", maps[0]);
    let bmap = |line: &str| -> Vec<u64> { line.split_whitespace().filter_map(|w| w.parse().ok()).collect() };
    for line in &maps[1..10] {
        let [logical, physical, _] = bmap(line)[..] else { panic!("{line}") };
        assert_eq!(debugfs(&bench.path("image"), &format!("bmap /pieces {logical}")).trim(), physical.to_string());
    }
    assert!(maps.iter().any(|l| l.ends_with(" unwritten")), "{maps:?}");
    let line = bench.refused(&["--recipe", "r.toml", "-O", "verity", "-g", "/nowhere", "other"]);
    assert_eq!(line, "-g /nowhere: no such file in the image");
}

/// Blocks in which two images differ.
fn difference(a: &Path, b: &Path) -> usize {
    let (a, b) = (fs::read(a).expect("read"), fs::read(b).expect("read"));
    let longest = a.len().max(b.len()).div_ceil(4096);
    let block = |v: &[u8], i: usize| v.get(i * 4096..((i + 1) * 4096).min(v.len())).map(<[u8]>::to_vec);
    (0..longest).filter(|i| block(&a, *i) != block(&b, *i)).count()
}

#[test]
fn an_order_keeps_files_where_they_were() {
    let bench = Bench::new();
    let source = bench.path("source");
    for i in 0..200 {
        let dir = source.join(format!("d{}", i % 5));
        fs::create_dir_all(&dir).expect("mkdir");
        fs::write(dir.join(format!("f{i:03}")), vec![i as u8; 10_000 + i * 13]).expect("write");
    }
    let fixed = ["-U", "01234567-89ab-cdef-0123-456789abcdef", "-E", "hash_seed=01234567-89ab-cdef-0123-456789abcdef"];
    let make = |image: &str, more: &[&str]| {
        let mut args = vec!["-q", "-d", "source", "--reproducible"];
        args.extend(fixed);
        args.extend(more);
        args.extend([image, "32M"]);
        bench.ok(&args);
        assert_clean(&bench.path(image));
        bench.path(image)
    };
    let first = make("first", &["--manifest", "m.json"]);
    let (document, _) = manifest(&bench, "m.json");
    let order: String = document["entries"]
        .as_array()
        .expect("entries")
        .iter()
        .map(|e| e["path"].as_str().expect("a path").to_owned() + "\n")
        .collect();
    fs::write(bench.path("order"), order).expect("write");
    // A file that comes first of all by its name.
    fs::write(source.join("d0/a-new-file"), vec![7; 50_000]).expect("write");
    let with = make("with", &["--order", "order"]);
    let without = make("without", &[]);
    let (with, without) = (difference(&first, &with), difference(&first, &without));
    println!("{with} blocks differ with the order, {without} without");
    assert!(with < 60, "{with} blocks differ");
    assert!(without > 500, "{without} blocks differ");
    assert!(bench.refused(&["-d", "source", "--order", "missing", "x"]).starts_with("--order missing: "));
}
