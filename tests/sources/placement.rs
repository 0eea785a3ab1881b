//! Where blocks lie: `-g` and `--block-map` against debugfs, and how little changes from one version of an image to the next when it
//! is made in the order of the one before.

use super::bench::Bench;
use super::fixtures::{bytes, set_times};
use super::oracle;
use super::tools::{note, output, succeed, told};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What debugfs says of each block of a file: its place on disk, 0 for a hole.
fn bmap(image: &Path, path: &str, blocks: u64, scratch: &Path) -> Vec<u64> {
    let script: String = (0..blocks).map(|n| format!("bmap {path} {n}\n")).collect();
    let text = oracle::debugfs(image, script.as_bytes(), scratch).expect("debugfs answers");
    let text = String::from_utf8_lossy(&text);
    let answers = text.lines().filter(|l| !l.starts_with("debugfs:"));
    // Behind the block stands whether it is written.
    answers.map(|l| l.split_whitespace().next().expect("a number").parse().expect("a number")).collect()
}

/// A map of the tool: first block of the file, on disk, blocks, and whether they are written.
type Run = (u64, u64, u64, bool);

/// The maps that the tool printed, by the lines above them.
fn printed(stdout: &str) -> Vec<(String, Vec<Run>)> {
    let mut maps: Vec<(String, Vec<Run>)> = Vec::new();
    for line in stdout.lines().filter(|l| !l.starts_with("image:")) {
        if line.starts_with('/') {
            maps.push((line.to_owned(), Vec::new()));
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| words[at].parse().expect("a number");
        let run = (number(0), number(1), number(2), words.get(3) != Some(&"unwritten"));
        maps.last_mut().expect("a file above").1.push(run);
    }
    maps
}

#[test]
fn block_maps_are_those_of_debugfs() {
    let bench = Bench::new();
    let tree = bench.path("tree");
    fs::create_dir_all(tree.join("d")).expect("mkdir");
    fs::write(tree.join("d/large"), bytes(1, (5 << 20) + 1)).expect("write");
    fs::write(tree.join("empty"), b"").expect("write");
    let sparse = File::create(tree.join("sparse")).expect("create");
    sparse.set_len(900 * 4096).expect("length");
    (0..300).for_each(|i| sparse.write_all_at(&bytes(i, 4096), i * 3 * 4096).expect("write"));
    fs::hard_link(tree.join("sparse"), tree.join("twin")).expect("link");
    let recipe = "version = 1\n[[file]]\npath = \"/pieces\"\nsize = \"1M\"\npattern = \"random\"\nfragments = 9\nunwritten = [\"256K..512K\"]\n";
    fs::write(bench.path("recipe.toml"), recipe).expect("write");
    for args in [
        &["--recipe", "recipe.toml"][..],
        &["-t", "ext2"],
        &["-t", "ext3", "-b", "1024"],
        &["-O", "bigalloc,^resize_inode", "--recipe", "recipe.toml"],
    ] {
        let image = bench.path("image");
        let _ = fs::remove_file(&image);
        let mut paths = vec!["/d/large", "/sparse", "/twin", "/empty", "/"];
        paths.extend(args.contains(&"--recipe").then_some("/pieces"));
        let mut command = super::tools::dax_mkfs();
        command.current_dir(bench.path("")).args(args).args(["-d", "tree", "image"]);
        for (nr, path) in paths.iter().enumerate() {
            command.args([if nr % 2 == 0 { "-g" } else { "--block-map" }, path]);
        }
        let out = output(&mut command);
        assert!(out.status.success(), "{}", told(&command, &out));
        oracle::clean(&image).expect("clean");
        let block: u64 = oracle::dumpe2fs(&image).expect("a superblock")["Block size"].parse().expect("a number");
        let maps = printed(&String::from_utf8_lossy(&out.stdout));
        assert_eq!(maps.len(), paths.len());
        // Those of the short form come first, in their order.
        let mut order: Vec<&str> = paths.iter().step_by(2).copied().collect();
        order.extend(paths.iter().skip(1).step_by(2));
        for (path, (head, runs)) in order.into_iter().zip(&maps) {
            let size = match path {
                "/" => block,
                "/pieces" => 1 << 20,
                _ => fs::metadata(tree.join(&path[1..])).expect("there").len(),
            };
            let stat = oracle::debugfs(&image, format!("stat {path}\n").as_bytes(), &bench.path("")).expect("debugfs");
            let stat = String::from_utf8_lossy(&stat);
            let inode = stat.split("Inode: ").nth(1).and_then(|t| t.split_whitespace().next()).expect("an inode");
            let s = if runs.len() == 1 { "" } else { "s" };
            assert_eq!(*head, format!("{path}: inode {inode}, {} run{s}", runs.len()), "{args:?}");
            let blocks = size.div_ceil(block);
            let mut expected = vec![0; blocks as usize];
            for (logical, physical, len, _) in runs {
                (0..*len)
                    .filter(|i| logical + i < blocks)
                    .for_each(|i| expected[(logical + i) as usize] = physical + i);
            }
            assert_eq!(bmap(&image, path, blocks, &bench.path("")), expected, "{args:?} {path}");
            let unwritten: u64 = runs.iter().filter(|r| !r.3).map(|r| r.2 * block).sum();
            assert_eq!(unwritten, if path == "/pieces" { 256 << 10 } else { 0 }, "{args:?} {path}");
        }
        // A plan has the same maps.
        let mut dry = super::tools::dax_mkfs();
        dry.current_dir(bench.path("")).args(args).args(["-n", "-d", "tree", "other", "-g", "/d/large"]);
        let planned = succeed(&mut dry).expect("a plan");
        let planned = String::from_utf8_lossy(&planned).into_owned();
        let at = planned.find("/d/large: ").expect("its map");
        let end = planned.find("other: ").expect("the summary");
        assert_eq!(printed(&planned[at..end])[0].1, maps[0].1, "{args:?}");
    }
}

/// Blocks of 4 KiB in which two images differ.
fn difference(one: &Path, two: &Path) -> u64 {
    let (mut one, mut two) = (File::open(one).expect("an image"), File::open(two).expect("an image"));
    let (mut a, mut b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut different = 0;
    loop {
        let (n, m) = (one.read(&mut a).expect("readable"), two.read(&mut b).expect("readable"));
        assert_eq!(n, m, "images of one length");
        if n == 0 {
            return different;
        }
        different += a[..n].chunks(4096).zip(b[..n].chunks(4096)).filter(|(a, b)| a != b).count() as u64;
    }
}

/// A tree of 600 files, 20 MiB, in 20 directories.
fn version_one(at: &Path) {
    for dir in 0..20 {
        fs::create_dir_all(at.join(format!("dir{dir:02}"))).expect("mkdir");
        for file in 0..30 {
            let path = at.join(format!("dir{dir:02}/file{file:02}"));
            fs::write(&path, bytes(dir * 100 + file, 1000 + (dir * 7919 + file * 4241) as usize % 70_000))
                .expect("write");
            set_times(&path, 1_500_000_000, 0);
        }
    }
    settle(at);
}

/// Times of directories do not tell when they were filled.
fn settle(at: &Path) {
    (0..20).for_each(|dir| set_times(&at.join(format!("dir{dir:02}")), 1_500_000_000, 0));
    set_times(at, 1_500_000_000, 0);
}

#[test]
fn little_changes_between_versions_in_the_same_order() {
    let bench = Bench::new();
    version_one(&bench.path("tree"));
    const UUID: &str = "7f1d2c3b-4a59-4876-9504-a3b2c1d0e9f8";
    let seed = format!("hash_seed={UUID}");
    let make = |image: &str, order: bool| {
        let mut args = vec!["--reproducible", "-U", UUID, "-E", &seed, "-d", "tree"];
        if order {
            args.extend(["--order", "order"]);
        }
        args.extend([image, "64M"]);
        let mut command = bench.mkfs(&[]);
        succeed(command.args(args)).expect("an image");
        oracle::clean(&bench.path(image)).expect("clean");
        bench.path(image)
    };
    // The order of version 1: its names, as its manifest lists them.
    let first = {
        let mut command = bench.mkfs(&["--reproducible", "--manifest", "manifest", "-d", "tree", "listed", "64M"]);
        succeed(&mut command).expect("an image");
        let made: serde_json::Value =
            serde_json::from_slice(&fs::read(bench.path("manifest")).expect("a manifest")).expect("JSON");
        let paths = made["entries"].as_array().expect("a list").iter().map(|e| e["path"].as_str().expect("a path"));
        fs::write(bench.path("order"), paths.collect::<Vec<_>>().join("\n")).expect("write");
        make("first", true)
    };
    let plain = make("plain", false);
    // The order of the names is that of the tree, so that naming it changes nothing.
    assert_eq!(difference(&first, &plain), 0);

    let changed = |what: &str, change: &dyn Fn(&Path)| {
        let tree = bench.path("tree");
        change(&tree);
        settle(&tree);
        let (ordered, unordered) = (make("ordered", true), make("unordered", false));
        let counts = (difference(&first, &ordered), difference(&plain, &unordered));
        note(format!("{what}: {} blocks of 4 KiB change in the old order, {} without it", counts.0, counts.1));
        for image in ["ordered", "unordered"] {
            fs::remove_file(bench.path(image)).expect("remove");
        }
        fs::remove_dir_all(&tree).expect("remove");
        version_one(&tree);
        counts
    };
    let file = |path: std::path::PathBuf, content: Vec<u8>| {
        fs::write(&path, content).expect("write");
        set_times(&path, 1_500_000_000, 0);
    };
    // 10,000 bytes: three blocks.
    let grow = |tree: &Path| {
        let path = tree.join("dir00/file03");
        let content = [fs::read(&path).expect("there"), bytes(2, 10_000)].concat();
        file(path, content);
    };
    let added = changed("a file is added", &|tree| file(tree.join("dir00/a new file"), bytes(1, 10_000)));
    let rewritten = changed("a file changes in one byte", &|tree| {
        let path = tree.join("dir10/file10");
        let mut content = fs::read(&path).expect("there");
        content[0] ^= 1;
        file(path, content);
    });
    // What lies behind it moves, as it does without an order.
    let grown = changed("a file in the middle grows by 10,000 bytes", &grow);
    changed("a file is removed", &|tree| fs::remove_file(tree.join("dir00/file00")).expect("remove"));
    assert!(added.0 < 16 && added.1 > 5000, "{added:?}");
    assert_eq!(rewritten, (1, 1));
    assert!(grown.0 > 5000, "{grown:?}: an order now helps what grows; say so where it is documented");

    // So what grows goes last.
    let order = fs::read_to_string(bench.path("order")).expect("the order");
    let (last, others): (Vec<&str>, Vec<&str>) = order.lines().partition(|l| *l == "/dir00/file03");
    fs::write(bench.path("order"), [others, last].concat().join("\n")).expect("write");
    let before = make("before", true);
    grow(&bench.path("tree"));
    settle(&bench.path("tree"));
    let count = difference(&before, &make("after", true));
    note(format!("a file that was named last grows by 10,000 bytes: {count} blocks of 4 KiB change"));
    assert!(count < 12, "{count}");
}
