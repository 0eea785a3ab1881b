//! The reading commands give the same facts as debugfs.
//!
//! Oracle: debugfs of e2fsprogs; images made by mke2fs and by the kernel.

mod common;

use common::{Scratch, ours, run, theirs};
use std::path::Path;

/// Words of a text, blanks and line ends aside.
fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// `stat` without what only one of the two prints: names of flags, nanoseconds; and with the parts of the block list in one
/// order.
fn stat(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    for line in text.lines().filter(|l| !l.starts_with("Flag names:")) {
        if line.contains("):") {
            let mut parts: Vec<_> = line.split(", ").map(str::to_owned).collect();
            parts.sort();
            out.extend(parts);
        } else if let Some((before, time)) = line.split_once(" -- ") {
            // Sat Feb  3 04:05:06.123456789 2024
            let time: Vec<_> = time.split_whitespace().map(|w| w.split('.').next().unwrap_or(w)).collect();
            out.push(format!("{} -- {}", before.trim(), time.join(" ")));
        } else {
            out.push(words(line).join(" "));
        }
    }
    // debugfs prints the heading even where there is nothing below it.
    out.retain(|l| !l.is_empty() && l != "BLOCKS:");
    out
}

fn compare(image: &Path, names: &[&str]) {
    for command in ["ls -p", "ls -l", "ls -p sub", "ls", "ls sub", "ls -l sub/deeper"] {
        assert_eq!(words(&ours(image, command)), words(&theirs(image, command)), "{command}");
    }
    for name in names {
        let command = format!("stat {name}");
        assert_eq!(stat(&ours(image, &command)), stat(&theirs(image, &command)), "{command}");
        let expected = theirs(image, &format!("ex {name}"));
        if expected.contains("Level") {
            for option in ["", "-n ", "-l "] {
                let command = format!("ex {option}{name}");
                assert_eq!(words(&ours(image, &command)), words(&theirs(image, &command)), "{command}");
            }
        }
    }
}

const NAMES: [&str; 13] = [
    "/",
    "hello",
    "\"two words\"",
    "fast",
    "slow",
    "sparse",
    "fifo",
    "sub",
    "sub/data",
    "<7>",
    "<11>",
    "lost+found",
    "<2>",
];

#[test]
fn ext4_reads_as_in_debugfs() {
    let scratch = Scratch::new();
    let image = scratch.image("ext4", "64M", &["-t", "ext4"]);
    compare(&image, &NAMES);
    compare(&image, &["<8>"]);
    assert_eq!(ours(&image, "cat hello"), "hello, world\n");
    assert_eq!(ours(&image, "cat \"two words\""), "blank\n");
    assert_eq!(ours(&image, "cat \"sub/deeper/quote\"\"d\""), "quoted\n");
    assert_eq!(ours(&image, "cat fast"), "hello");
    assert_eq!(ours(&image, "cat slow").len(), 120);
}

#[test]
fn small_blocks_and_block_maps_read_as_in_debugfs() {
    let scratch = Scratch::new();
    compare(&scratch.image("ext2", "32M", &["-t", "ext2", "-b", "1024", "-I", "128"]), &NAMES);
    compare(&scratch.image("ext3", "48M", &["-t", "ext3", "-b", "2048"]), &NAMES);
    compare(
        &scratch.image("bigalloc", "64M", &["-t", "ext4", "-O", "bigalloc,^resize_inode", "-b", "1024"]),
        &["hello", "sparse"],
    );
}

#[test]
fn inline_data_is_read() {
    let scratch = Scratch::new();
    let image = scratch.image("inline", "32M", &["-t", "ext4", "-O", "inline_data", "-I", "1024"]);
    assert_eq!(ours(&image, "cat hello"), "hello, world\n");
    assert!(ours(&image, "stat hello").contains("Size of inline data:"));
    let names = |text: &str| {
        let mut all: Vec<_> = text.lines().filter_map(|l| l.split('/').nth(5).map(str::to_owned)).collect();
        all.sort();
        all
    };
    for dir in ["/", "sub", "sub/deeper"] {
        let command = format!("ls -p {dir}");
        assert_eq!(names(&ours(&image, &command)), names(&theirs(&image, &command)), "{command}");
    }
}

/// Unwritten extents, an extent tree with leaves, a hashed directory with removed entries, ACLs, late and early times: as
/// the kernel writes them.
#[test]
fn what_the_kernel_writes_reads_as_in_debugfs() {
    let scratch = Scratch::new();
    let image = scratch.path("kernel");
    let (image_text, mount) = (image.to_str().unwrap().to_owned(), scratch.path("mnt"));
    run("mke2fs", &["-q", "-F", "-t", "ext4", "-b", "1024", "-I", "256", &image_text, "32M"]);
    std::fs::create_dir(&mount).unwrap();
    let mount_text = mount.to_str().unwrap().to_owned();
    // Needs root and loop devices; without them the oracle is missing and the test fails here.
    run("mount", &["-o", "loop", &image_text, &mount_text]);
    let script = r#"
        set -e; cd "$1"
        fallocate -l 1M unwritten
        i=1; while [ $i -lt 400 ]; do printf x | dd of=deep bs=1024 seek=$i conv=notrunc status=none; i=$((i + 2)); done
        mkdir hashed sub sub/deeper; i=0
        while [ $i -lt 300 ]; do : > hashed/entry-with-a-rather-long-name-$i; i=$((i + 1)); done
        rm hashed/*-5*
        touch -d 2100-02-03T04:05:06.5Z deep; touch -d 1950-02-03T04:05:06.25Z hashed/entry-with-a-rather-long-name-0
        setfattr -n user.long -v "$(printf %0200d 7)" unwritten
        chattr +i deep
    "#;
    let filled = common::spawn("sh", &["-c", script, "sh", &mount_text], b"");
    let _ = common::spawn("chattr", &["-i", &format!("{mount_text}/deep")], b"");
    run("umount", &[&mount_text]);
    assert!(filled.status.success(), "{}", String::from_utf8_lossy(&filled.stderr));
    compare(&image, &["/", "unwritten", "deep", "hashed", "lost+found", "<8>", "<7>"]);
    let listing = ours(&image, "ls hashed");
    // debugfs also shows where a block begins with an unused record: as a 0 and a length, without a name.
    let expected = words(&theirs(&image, "ls hashed")).join(" ");
    let expected: Vec<&str> = expected.split(" 0 (").collect();
    let unused = |part: &str| part.split_once(") ").map_or(String::new(), |(_, rest)| format!(" {rest}"));
    let (first, others) = expected.split_first().unwrap();
    let expected = others.iter().fold((*first).to_owned(), |all, part| all + &unused(part));
    assert_eq!(words(&listing).join(" "), expected);
    assert!(ours(&image, "stat deep").contains("2100"));
    let early = "stat hashed/entry-with-a-rather-long-name-0";
    assert!(ours(&image, early).contains("04:05:06.250000000 1950"));
    assert_eq!(stat(&ours(&image, early)), stat(&theirs(&image, early)));
}

#[test]
fn removed_entries_are_found() {
    let scratch = Scratch::new();
    let image = scratch.image("removed", "16M", &["-t", "ext4"]);
    // The kernel wipes what it removes; debugfs leaves it in the slack of the entry before.
    run("debugfs", &["-w", "-R", "unlink sub/data", image.to_str().unwrap()]);
    run("debugfs", &["-w", "-R", "unlink sub/again", image.to_str().unwrap()]);
    let found = words(&ours(&image, "ls -d sub"));
    assert_eq!(found, words(&theirs(&image, "ls -d sub")));
    assert!(found.iter().any(|w| w.starts_with('<')) && found.contains(&"data".to_owned()), "{found:?}");
    assert!(!ours(&image, "ls sub").contains("data"));
}

#[test]
fn attributes_and_flags_are_shown() {
    let scratch = Scratch::new();
    let image = scratch.image("flags", "32M", &["-t", "ext4"]);
    let list = ours(&image, "ea_list hello");
    assert!(
        list.contains("  user.text (7) = \"a value\"\n") && list.contains("  user.bytes (3) = 00 ff 80\n"),
        "{list}"
    );
    run("debugfs", &["-w", "-R", "sif hello flags 0x2080010", image.to_str().unwrap()]);
    let attributes = ours(&image, "lsattr hello");
    assert_eq!(attributes, "----i-----------e-x----- hello\n");
    assert_eq!(words(&ours(&image, "lsattr -l hello")), ["hello", "IMMUTABLE", "EXTENTS", "DAX"]);
    let all = ours(&image, "lsattr -R /");
    assert_eq!(all.lines().count(), 12, "{all}");
    assert!(all.contains(" /sub/deeper/quote\"d\n"), "{all}");
    assert_eq!(ours(&image, "lsattr -d /"), "----------------e------- /\n");
}

#[test]
fn windows_of_two_mebibytes_are_judged_by_their_place() {
    let scratch = Scratch::new();
    std::fs::write(scratch.path("tree/five"), vec![5; 5 << 20]).unwrap();
    let image = scratch.image("pmd", "64M", &["-t", "ext4", "-b", "4096"]);
    let extents = ours(&image, "ex -l five");
    let rows: Vec<Vec<String>> = extents.lines().skip(1).map(words).collect();
    assert_eq!(rows.len(), 1, "mke2fs wrote the file in one piece: {extents}");
    let row = rows.first().unwrap();
    let physical: u64 = row[row.len() - 4].parse().unwrap();
    let offset = (512 - physical % 512) % 512 * 4096;
    let good = ours(&image, &format!("pmd --data-offset {offset} five"));
    assert!(good.starts_with("five: 2 of 2 whole 2 MiB windows can be mapped by one fault, 100.0%\n"), "{good}");
    assert!(good.contains("  0-1 ") && good.contains("mappable\n") && good.contains("the file ends inside"), "{good}");
    let bad = ours(&image, &format!("pmd --data-offset={} five", offset + 4096));
    assert!(bad.contains("five: 0 of 2") && bad.contains("misaligned: 4096 bytes behind a 2 MiB boundary"), "{bad}");
}
