//! The manifest against those who read the image: debugfs for inodes and extents, the kernel and `sha256sum` for content and
//! times, and the table of the DAX rules written out again.

use super::bench::Bench;
use super::oracle::Mounted;
use super::snapshot::{self, Snapshot};
use super::tools::{succeed, system};
use super::{fixtures, oracle, readers};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The manifest of an image made with these options.
fn manifest(bench: &Bench, args: &[&str]) -> Value {
    let image = bench.path("image");
    let _ = fs::remove_file(&image);
    let mut command = bench.mkfs(&["--manifest", "manifest"]);
    succeed(command.args(args).arg("image")).expect("an image");
    serde_json::from_slice(&fs::read(bench.path("manifest")).expect("a manifest")).expect("JSON")
}

/// Its entries by the bytes of their paths.
fn entries(manifest: &Value) -> BTreeMap<Vec<u8>, &Value> {
    let bytes = |entry: &Value| match entry.get("path_bytes").and_then(Value::as_str) {
        Some(hex) => (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hex")).collect(),
        None => entry["path"].as_str().expect("a path").as_bytes().to_vec(),
    };
    let list = manifest["entries"].as_array().expect("a list");
    let found: BTreeMap<Vec<u8>, &Value> = list.iter().map(|e| (bytes(e), e)).collect();
    assert_eq!(found.len(), list.len(), "every path once");
    found
}

/// What debugfs knows beside a snapshot: flags, sectors, and the leaves of the extent tree.
struct Facts {
    flags: u64,
    sectors: u64,
    extents: Vec<Value>,
}

fn facts(image: &Path, names: &Snapshot, scratch: &Path) -> BTreeMap<u64, Facts> {
    let inodes: std::collections::BTreeSet<u64> = names.values().map(|e| e.inode).collect();
    let script: String = inodes.iter().map(|i| format!("stat <{i}>\n")).collect();
    let text = oracle::debugfs(image, script.as_bytes(), scratch).expect("debugfs answers");
    let mut found = BTreeMap::new();
    for (inode, part) in readers::answers(&text, "stat").expect("answers") {
        let word =
            |key: &str| part.split(key).nth(1).and_then(|t| t.split_whitespace().next()).expect("a word").to_owned();
        let flags = u64::from_str_radix(word("Flags:").trim_start_matches("0x"), 16).expect("flags");
        let sectors = word("Blockcount:").parse().expect("sectors");
        found.insert(u64::from(inode), Facts { flags, sectors, extents: Vec::new() });
    }
    let mapped: Vec<u64> = found.iter().filter(|(_, f)| f.flags & 0x8_0000 != 0).map(|(i, _)| *i).collect();
    let script: String = mapped.iter().map(|i| format!("dump_extents -l <{i}>\n")).collect();
    let text = oracle::debugfs(image, script.as_bytes(), scratch).expect("debugfs answers");
    for (inode, part) in readers::answers(&text, "dump_extents -l").expect("answers") {
        // ` 0/ 0   1/  2     0 -     2  1166 -  1168      3 Uninit`
        for line in part.lines().filter(|l| !l.starts_with("Level") && !l.trim().is_empty()) {
            let words = line.replace(['/', '-'], " ");
            let numbers: Vec<u64> = words.split_whitespace().map_while(|w| w.parse().ok()).collect();
            let [_, _, _, _, first, last, physical, ..] = numbers[..] else { panic!("{line}") };
            found.get_mut(&inode.into()).expect("asked for").extents.push(json!({
                "logical": first, "physical": physical, "length": last - first + 1, "written": !line.contains("Uninit"),
            }));
        }
    }
    found
}

/// SHA-256 of every file of a directory, by path, as `sha256sum` tells it.
fn sums(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let script = "find . -type f -print0 | xargs -0 -r sha256sum -z --";
    let text = succeed(system("sh").args(["-c", script]).current_dir(root)).expect("sums");
    let lines = text.split(|b| *b == 0).filter(|l| !l.is_empty());
    lines.map(|l| (l[67..].to_vec(), String::from_utf8_lossy(&l[..64]).into_owned())).collect()
}

/// The three times of every name of a directory, as GNU find prints them.
fn times(root: &Path) -> BTreeMap<Vec<u8>, Vec<String>> {
    let one = |t: char| format!("%{t}Y-%{t}m-%{t}dT%{t}H:%{t}M:%{t}S");
    let format = format!("%p\\0{} {} {}\\0", one('T'), one('C'), one('A'));
    let text = succeed(system("find").args([".", "-printf", &format]).current_dir(root)).expect("times");
    let mut fields = text.split(|b| *b == 0);
    let mut found = BTreeMap::new();
    while let (Some(path), Some(times)) = (fields.next(), fields.next()) {
        let times = String::from_utf8_lossy(times);
        // find prints ten digits of fraction, the manifest nine or none.
        let times = times.split(' ').map(|t| format!("{}Z", t[..t.len() - 1].trim_end_matches(".000000000")));
        found.insert(path.strip_prefix(b".").expect("below").to_vec(), times.collect());
    }
    found
}

/// Holds the manifest of an image against all who read it.
fn hold(bench: &Bench, manifest: &Value, has_extents: bool) {
    let (image, scratch) = (bench.path("image"), bench.path(""));
    oracle::clean(&image).expect("clean");
    let entries = entries(manifest);
    let mut names = readers::debugfs(&image, &scratch).expect("debugfs reads it");
    names.remove(&b"/lost+found"[..]);
    assert!(names.keys().eq(entries.keys()), "the same names");
    let facts = facts(&image, &names, &scratch);
    let mounted = Mounted::new(&image, &bench.path("mnt"), "ro").expect("mounted");
    let (sums, times) = (sums(mounted.path()), times(mounted.path()));
    let kernel = snapshot::of_directory(mounted.path()).expect("readable");
    mounted.unmount().expect("unmounted");
    let links = kernel.iter().filter(|(_, e)| e.is_symlink());
    let targets: BTreeMap<&Vec<u8>, &Vec<u8>> =
        links.filter_map(|(path, e)| Some((path, e.content.as_ref()?))).collect();
    for (path, entry) in &entries {
        let told = path.escape_ascii();
        let name = &names[path];
        let kind = match name.kind() {
            0o100_000 => "file",
            0o040_000 => "directory",
            0o120_000 => "symlink",
            0o020_000 => "char",
            0o060_000 => "block",
            0o010_000 => "fifo",
            _ => "socket",
        };
        let fact = &facts[&name.inode];
        let mut expected = vec![
            ("type", json!(kind)),
            ("inode", json!(name.inode)),
            ("mode", json!(format!("{:04o}", name.mode & 0o7777))),
            ("uid", json!(name.uid)),
            ("gid", json!(name.gid)),
            ("flags_value", json!(fact.flags)),
            ("allocated", json!(fact.sectors * 512)),
        ];
        if let Some(links) = name.links {
            expected.push(("links", json!(links)));
        }
        if let Some(size) = name.size {
            expected.push(("size", json!(size)));
        }
        if let Some((major, minor)) = name.device {
            expected.push(("device", json!([major, minor])));
        }
        if has_extents && fact.flags & 0x8_0000 != 0 {
            expected.push(("extents", json!(fact.extents)));
        }
        let inside = if path == b"/" { Vec::new() } else { path.clone() };
        if let Some(sum) = sums.get(&[b".", &inside[..]].concat()) {
            expected.push(("sha256", json!(sum)));
        }
        for (key, time) in ["mtime", "ctime", "atime"].into_iter().zip(&times[&inside]) {
            expected.push((key, json!(time)));
        }
        for (key, value) in expected {
            assert_eq!(entry[key], value, "{key} of {told}");
        }
        if let (Some(target), "symlink") = (targets.get(&inside), kind) {
            assert_eq!(entry["target"], String::from_utf8_lossy(target).into_owned(), "target of {told}");
        }
        let listed = entry["xattrs"].as_array().map_or(&[][..], Vec::as_slice);
        let xattrs = name.xattrs.iter().flatten();
        assert_eq!(listed.len(), xattrs.clone().count(), "attributes of {told}");
        for (found, (name, value)) in listed.iter().zip(xattrs) {
            assert_eq!(found["name"], String::from_utf8_lossy(name).into_owned(), "{told}");
            // Of an ACL debugfs tells another form than that on disk.
            if !name.starts_with(b"system.posix_acl_") {
                let hex: String = value.iter().map(|b| format!("{b:02x}")).collect();
                assert_eq!(found["value"], hex, "{} of {told}", name.escape_ascii());
            }
        }
    }
    assert_eq!(entries.values().filter(|e| e["sha256"].is_string()).count(), sums.len(), "every file has a sum");
}

#[test]
fn facts_are_those_of_the_image() {
    let bench = Bench::new();
    fixtures::all_in_one(&bench.path("tree"));
    // Everybody writes out or reads all of its holes.
    fs::remove_file(bench.path("tree/sparse/far")).expect("remove");
    for (args, has_extents) in [
        (&["--dax", "/small", "--dax", "/large/more"][..], true),
        (&["-O", "inline_data,quota", "-J", "size=4"], true),
        (&["-b", "1024", "-O", "^has_journal,^metadata_csum"], true),
        (&["-t", "ext3", "-O", "^dir_index"], false),
    ] {
        let made = manifest(&bench, &[args, &["-d", "tree"]].concat());
        hold(&bench, &made, has_extents);
    }
}

/// `ext4_should_enable_dax` as the table in the documentation of the rules has it, first match wins; with the default mount options,
/// under which data is journalled in no case: allocation is delayed.
fn s_dax(mode: &str, is_file: bool, flags: u64, block_is_page: bool) -> Value {
    let has = |flag: u64| flags & flag != 0;
    let rules = [
        (mode == "never", false),
        (!is_file, false),
        (false, false),
        // Inline data: Linux decides before it has looked for it, so the rule never applies to an inode that is read.
        (false, false),
        (has(0x800), false),
        (has(0x10_0000), false),
        (!block_is_page, false),
        (mode == "always", true),
        (true, has(0x0200_0000)),
    ];
    let at = rules.iter().position(|(matches, _)| *matches).expect("the last matches everything");
    json!({ "effective": rules[at].1, "rule": at + 1 })
}

/// Every combination of the flags that the rules look at, on files, and some on what is no file.
fn combinations() -> String {
    let flags = ["DAX", "JOURNAL_DATA", "ENCRYPT", "VERITY"];
    let mut text = "version = 1\n[filesystem]\nfeatures = [\"encrypt\", \"verity\"]\nsize = \"32M\"\n".to_owned();
    for bits in 0..16 {
        let chosen: Vec<String> =
            (0..4).filter(|bit| bits >> bit & 1 == 1).map(|bit| format!("\"{}\"", flags[bit])).collect();
        let size = if bits % 2 == 0 { 40 } else { 70_000 };
        text.push_str(&format!(
            "[[file]]\npath = \"/f{bits}\"\nsize = {size}\npattern = \"random\"\nflags = [{}]\n",
            chosen.join(", ")
        ));
    }
    text.push_str("[[dir]]\npath = \"/d\"\ndax = true\n[[file]]\npath = \"/d/heir\"\ntext = \"x\"\n");
    text.push_str("[[file]]\npath = \"/d/not\"\ntext = \"x\"\ndax = false\n[[dir]]\npath = \"/d/e\"\n");
    text.push_str("[[symlink]]\npath = \"/d/s\"\ntarget = \"heir\"\n[[node]]\npath = \"/d/n\"\ntype = \"fifo\"\n");
    text
}

#[test]
fn decisions_are_those_of_the_table() {
    let bench = Bench::new();
    fs::write(bench.path("recipe.toml"), combinations()).expect("write");
    let mut rules = BTreeMap::new();
    for (args, block_is_page, inline_data) in [
        (&[][..], true, false),
        (&["-O", "^has_journal"], true, false),
        (&["-O", "inline_data"], true, true),
        (&["-b", "1024"], false, false),
        (&["-b", "4096", "--page-size", "16384"], false, false),
        (&["-b", "65536", "--page-size", "65536", "128M"], true, false),
        (&["--dax", "/f0"], true, false),
    ] {
        let (args, size) = match args {
            [args @ .., size] if size.ends_with('M') => (args, Some(*size)),
            args => (args, None),
        };
        let _ = fs::remove_file(bench.path("image"));
        let mut command = bench.mkfs(&["--manifest", "manifest", "--recipe", "recipe.toml"]);
        succeed(command.args(args).arg("image").args(size)).expect("an image");
        oracle::clean(&bench.path("image")).unwrap_or_else(|e| panic!("{args:?}: {e}"));
        let made: Value = serde_json::from_slice(&fs::read(bench.path("manifest")).expect("a manifest")).expect("JSON");
        for (path, entry) in entries(&made) {
            let told = path.escape_ascii();
            let flags = entry["flags_value"].as_u64().expect("a number");
            for mode in ["always", "inode", "never"] {
                let expected = s_dax(mode, entry["type"] == "file", flags, block_is_page);
                assert_eq!(entry["dax"]["s_dax"][mode], expected, "{args:?} dax={mode} {told}");
                *rules.entry(expected["rule"].as_u64()).or_insert(0) += 1;
            }
            assert_eq!(entry["dax"]["flag"], flags & 0x0200_0000 != 0, "{args:?} {told}");
        }
        let from = |path: &str| entries(&made)[path.as_bytes()]["dax"]["from"].clone();
        let option = args.contains(&"--dax");
        assert_eq!(from("/f0"), if option { "option" } else { "none" });
        assert_eq!((from("/f1"), from("/d"), from("/d/heir")), ("recipe".into(), "recipe".into(), "inherited".into()));
        assert_eq!((from("/d/not"), from("/d/e")), ("recipe".into(), "inherited".into()));
        assert_eq!((from("/d/s"), from("/d/n")), ("none".into(), "none".into()));
        // `ext4_fill_super` refuses dax=always with inline data, and with blocks that are no pages.
        let works = |mode: &str| made["mounts"][mode]["works"].as_bool().expect("a word");
        assert_eq!(works("always"), block_is_page && !inline_data, "{args:?}");
        assert!(works("inode") && works("never"), "{args:?}");
    }
    let seen: Vec<u64> = rules.keys().flatten().copied().collect();
    assert_eq!(seen, [1, 2, 5, 6, 7, 8, 9], "every rule that a flag or an option can reach: {rules:?}");
}

#[test]
fn what_is_wrong_on_purpose_is_named_and_not_described() {
    let bench = Bench::new();
    let recipe = "version = 1\n[[file]]\npath = \"/f\"\ntext = \"x\"\n[[defect]]\nplace = 'inode.\"/f\".i_links_count'\nset = 9\n";
    fs::write(bench.path("recipe.toml"), recipe).expect("write");
    let made = manifest(&bench, &["--recipe", "recipe.toml"]);
    assert_eq!(made["defects"], json!(["inode.\"/f\".i_links_count"]));
    assert_eq!(entries(&made)[&b"/f"[..]]["links"], 1);
    let text = oracle::debugfs(&bench.path("image"), b"stat /f\n", &bench.path("")).expect("debugfs answers");
    assert!(String::from_utf8_lossy(&text).contains("Links: 9"));
}
