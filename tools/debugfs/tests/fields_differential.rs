//! Fields, bits and bytes set through both programs on copies of one image: the same bytes afterwards.
//!
//! Oracle: debugfs of e2fsprogs. What differs between any two runs is left out: when the superblock was written and how much, and the
//! checksum of the superblock, which is looked at by itself.

mod common;

use common::judge::assert_clean;
use common::{run, spawn, tool};
use std::fs;
use std::path::{Path, PathBuf};

/// An image and copies of it.
struct Images {
    dir: tempfile::TempDir,
    bytes: Vec<u8>,
}

/// Without a journal, so that both programs write in place.
const PLAIN: &[&str] = &["-t", "ext4", "-b", "1024", "-I", "256", "-O", "^has_journal,^resize_inode"];

impl Images {
    fn new(args: &[&str], size: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("sub")).unwrap();
        fs::write(tree.join("file"), "hello\n").unwrap();
        fs::write(tree.join("large"), vec![7; 30_000]).unwrap();
        let image = dir.path().join("image");
        let uuids = "lazy_itable_init=0,hash_seed=00112233-4455-6677-8899-aabbccddeeff";
        let mut all = vec!["-q", "-F", "-U", "01234567-89ab-cdef-0123-456789abcdef", "-E", uuids];
        all.extend(["-d", tree.to_str().unwrap()]);
        all.extend(args);
        all.extend([image.to_str().unwrap(), size]);
        run("mke2fs", &all);
        let bytes = fs::read(&image).unwrap();
        Self { dir, bytes }
    }

    fn copy(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, &self.bytes).unwrap();
        path
    }

    /// The image after a script through debugfs, and what it said.
    fn theirs(&self, script: &str) -> (Vec<u8>, String) {
        let image = self.copy("theirs");
        let output = spawn("debugfs", &["-w", "-f", "-", image.to_str().unwrap()], script.as_bytes());
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (fs::read(image).unwrap(), said)
    }

    /// The image after a script through the tool, which must succeed, and what it printed.
    fn ours(&self, script: &str) -> (Vec<u8>, String) {
        let image = self.copy("ours");
        let output = tool(&["-w", image.to_str().unwrap()], script.as_bytes());
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{script}: {complaint}");
        (fs::read(image).unwrap(), String::from_utf8(output.stdout).unwrap())
    }

    /// A script through the tool fails with one line that contains `why`, and the image is as it was.
    fn refused(&self, script: &str, why: &str) {
        let image = self.copy("refused");
        let output = tool(&["-w", image.to_str().unwrap()], script.as_bytes());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{script}: {said}");
        assert_eq!(said.lines().count(), 1, "{script}: {said}");
        assert!(said.contains(why), "{script}: {said}");
        assert!(fs::read(image).unwrap() == self.bytes, "{script}: the image was changed");
    }

    /// A script makes the same of the image in both programs.
    fn same(&self, script: &str) {
        let (theirs, said) = self.theirs(script);
        let (ours, _) = self.ours(script);
        let different = differences(&ours, &theirs);
        assert!(different.is_empty(), "{script}: ours/theirs differ at {different:x?}\ndebugfs: {said}");
    }

    /// As [`Images::same`], and the script changes something.
    fn same_change(&self, script: &str) {
        self.same(script);
        let (ours, _) = self.ours(script);
        assert!(!differences(&ours, &self.bytes).is_empty(), "{script}: changes nothing");
    }
}

/// What two runs do not have in common: `s_wtime`, `s_kbytes_written`, `s_checksum` of the first superblock.
const TIMES: [std::ops::Range<usize>; 3] = [0x430..0x434, 0x578..0x580, 0x7fc..0x800];

/// Where two images differ (the first places): offset, ours, theirs.
fn differences(ours: &[u8], theirs: &[u8]) -> Vec<(usize, u8, u8)> {
    assert_eq!(ours.len(), theirs.len());
    let all = (0..ours.len()).filter(|at| ours[*at] != theirs[*at] && !TIMES.iter().any(|r| r.contains(at)));
    all.map(|at| (at, ours[at], theirs[at])).take(12).collect()
}

/// The names that `-l` of debugfs lists, each with its type, arrays and halves written out.
fn listed(image: &Path, request: &str) -> Vec<(String, String)> {
    let output = spawn("debugfs", &["-R", &format!("{request} -l"), image.to_str().unwrap()], b"");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut names = Vec::new();
    for line in text.lines().filter(|line| line.starts_with('\t')) {
        let (name, kind) = line.trim().split_once('\t').unwrap();
        let (name, kind) = (name.trim(), kind.trim().to_owned());
        let (name, halves) = name.strip_suffix("[_hi|_lo]").map_or((name, false), |name| (name, true));
        match name.strip_suffix(']').and_then(|n| n.split_once('[')) {
            Some((array, "")) => names.push((format!("{array}[1]"), kind)),
            Some((array, count)) => match count.parse::<u32>() {
                Ok(count) => names.extend([0, count - 1].map(|i| (format!("{array}[{i}]"), kind.clone()))),
                Err(_) => names.push((name.to_owned(), kind)),
            },
            None if halves => {
                names.extend(["", "_lo", "_hi"].map(|end| (format!("{name}{end}"), kind.clone())));
            }
            None => names.push((name.to_owned(), kind)),
        }
    }
    assert!(names.len() > 5, "{request} -l: {text}");
    names
}

/// A value of a type that `-l` names.
fn value(name: &str, kind: &str) -> &'static str {
    match kind {
        "date/time" if name.ends_with("_lo") || name.ends_with("_hi") => "5",
        "date/time" => "20240229123456",
        "UUID" => "fedcba98-7654-3210-fedc-ba9876543210",
        "string" => "text",
        "hash algorithm" => "tea",
        "set physical->logical block map" => "1999",
        _ => "5",
    }
}

#[test]
fn every_field_of_the_superblock() {
    let images = Images::new(PLAIN, "4M");
    for (name, kind) in listed(&images.copy("list"), "set_super_value") {
        match name.as_str() {
            // Where debugfs writes descriptors and copies of them follows from these, and so where it writes at the end.
            "first_data_block" | "first_meta_bg" => {
                let (ours, _) = images.ours(&format!("ssv {name} 5"));
                let at = if name == "first_meta_bg" { 0x504 } else { 0x414 };
                assert_eq!(ours[at..at + 4], [5, 0, 0, 0], "{name}");
            }
            // In debugfs this is no name of an encoding.
            "encoding" => images.same_change("ssv encoding utf8"),
            // Written again by debugfs at the end.
            "wtime" | "kbytes_written" | "checksum" | "block_group_nr" => {
                let (ours, _) = images.ours(&format!("ssv {name} 5"));
                let at = match name.as_str() {
                    "wtime" => 0x430,
                    "block_group_nr" => 0x45a,
                    "checksum" => 0x7fc,
                    _ => 0x578,
                };
                assert_eq!(ours[at..at + 2], [5, 0], "{name}");
            }
            _ => images.same_change(&format!("ssv {name} {}", value(&name, &kind))),
        }
    }
}

#[test]
fn every_field_of_an_inode() {
    let images = Images::new(PLAIN, "4M");
    for (name, kind) in listed(&images.copy("list"), "set_inode_field") {
        // Half of this one is the checksum, which is made right afterwards.
        let value = if name == "author" { "0x50000" } else { value(&name, &kind) };
        images.same_change(&format!("set_inode_field /large {name} {value}"));
    }
    // Indirect maps, inodes of 128 bytes, no checksums.
    let images = Images::new(&["-t", "ext2", "-b", "1024", "-I", "128"], "4M");
    for (name, kind) in listed(&images.copy("list"), "set_inode_field") {
        let beyond =
            name.ends_with("_extra") || name.starts_with("crtime") || name == "projid" || name == "extra_isize";
        let half = ["atime_hi", "ctime_hi", "mtime_hi", "version_hi", "checksum_hi"].contains(&name.as_str());
        let script = format!("set_inode_field large {name} {}", value(&name, &kind));
        if beyond || half {
            images.refused(&script, "after 128 bytes");
        } else {
            images.same_change(&script);
        }
    }
}

#[test]
fn every_field_of_a_group_descriptor() {
    for (args, what) in [(PLAIN, "wide"), (&["-t", "ext4", "-b", "1024", "-O", "^has_journal,^64bit"][..], "narrow")] {
        let images = Images::new(args, "20M");
        for (name, kind) in listed(&images.copy("list"), "set_block_group") {
            // debugfs leaves the descriptor's checksum as it is until it is told to make it right.
            let script = format!("set_block_group 1 {name} {}\n", value(&name, &kind));
            if name == "checksum" {
                images.same_change(&script);
                images.same_change(&script.replace('5', "0x4321"));
            }
            images.same_change(&format!("{script}set_bg 1 checksum calc\n").replace("checksum 5", "flags 3"));
        }
        let (_, ours) = images.ours("set_bg 0 free_inodes_count 9\nset_bg 0 checksum calc\n");
        let (_, theirs) = images.theirs("set_bg 0 free_inodes_count 9\nset_bg 0 checksum calc\n");
        assert!(ours.starts_with("Checksum set to 0x") && theirs.contains(ours.trim()), "{what}: {ours} {theirs}");
    }
}

#[test]
fn every_field_of_multiple_mount_protection() {
    let images =
        Images::new(&["-t", "ext4", "-b", "1024", "-O", "^has_journal,mmp", "-E", "mmp_update_interval=1"], "4M");
    // Opening such an image for writing takes debugfs many seconds, so it is opened once, and looks after each step.
    let names = listed(&images.copy("list"), "set_mmp_value");
    let script = |name: &str, kind: &str| match name {
        "clear" => "set_mmp_value clear\n".to_owned(),
        // It makes the block unreadable for debugfs itself, and is looked at below.
        "magic" => String::new(),
        _ => format!("set_mmp_value {name} {}\n", value(name, kind)),
    };
    let all: String = names.iter().map(|(name, kind)| script(name, kind) + "dump_mmp\n").collect();
    let facts = |text: &str| -> Vec<String> {
        // debugfs writes the time, the machine, and always a right checksum; the order of the lines is the same.
        let kept = ["check_interval", "sequence", "update_interval", "magic"];
        let named = |line: &&str| kept.iter().any(|k| line.starts_with(k));
        let names = |line: &&str| line.contains("_name: text");
        text.lines().filter(|line| named(line) || names(line)).map(str::to_owned).collect()
    };
    let (_, theirs) = images.theirs(&all);
    let image = images.copy("steps");
    let output = tool(&["-w", "--keep-going", image.to_str().unwrap()], all.as_bytes());
    let (mut ours, mut theirs) = (facts(&String::from_utf8_lossy(&output.stdout)), facts(&theirs));
    // `clear` comes first: debugfs then names its machine and the sequence it has written itself while it has the image open.
    assert!(ours.len() > 20, "{ours:?}");
    let both = ours.len().min(theirs.len());
    ours.truncate(both);
    theirs.truncate(both);
    assert_eq!(ours, theirs);
    // Bytes at their places, with a checksum that fits.
    for (field, value, at) in
        [("seq", "5", 4), ("nodename", "text", 16), ("bdevname", "text", 80), ("check_interval", "5", 112)]
    {
        let (after, _) = images.ours(&format!("smmp {field} {value}\nsums mmp"));
        let block = u64::from_le_bytes(images.bytes[0x568..0x570].try_into().unwrap()) as usize * 1024;
        assert!([b'5' - b'0', b't'].contains(&after[block + at]), "{field}");
    }
    images.ours("smmp magic 5\n");
    let (cleared, _) = images.ours("smmp magic 5\nsmmp seq 9\nsmmp clear\ndump_mmp\n");
    let block = u64::from_le_bytes(images.bytes[0x568..0x570].try_into().unwrap()) as usize * 1024;
    assert_eq!(
        cleared[block..block + 8],
        [0x58, 0x4d, 0x4d, 0x00, 0x4f, 0xff, 0x4d, 0xff][..0]
            .iter()
            .copied()
            .chain(images.bytes[block..block + 8].iter().copied())
            .collect::<Vec<_>>()
    );
}

#[test]
fn our_lists_hold_every_name_of_debugfs() {
    let images = Images::new(&["-t", "ext4", "-b", "1024", "-O", "^has_journal,mmp"], "4M");
    let image = images.copy("list");
    for request in ["set_super_value", "set_inode_field", "set_block_group", "set_mmp_value"] {
        let names = |text: &str| -> Vec<String> {
            let rows = text.lines().filter_map(|line| line.strip_prefix('\t'));
            rows.filter_map(|row| row.split('\t').next()).map(|name| name.trim().to_owned()).collect()
        };
        let ours = names(&common::ours(&image, &format!("{request} -l")));
        let theirs = names(&common::theirs(&image, &format!("{request} -l")));
        assert!(theirs.len() > 5);
        for name in &theirs {
            assert!(ours.contains(name), "{request} -l: {name} is not in {ours:?}");
        }
    }
}

#[test]
fn values_in_all_forms() {
    let images = Images::new(PLAIN, "4M");
    for script in [
        // Numbers of C, by any name of the field.
        "ssv s_mnt_count 010",
        "ssv mnt_count 0x10",
        "ssv mnt_count +7",
        "ssv mnt_count \" 5\"",
        "ssv max_mnt_count -1",
        "ssv max_mnt_count -32768",
        "ssv max_mnt_count 40000",
        "ssv log_cluster_size -1",
        "ssv mmp_block 0xffffffffffffffff",
        "ssv s_jnl_blocks[0x2] 9",
        "ssv blocks_count 0x123456789",
        "sif <12> i_flags 0x80010",
        "sif file mode 0100600",
        "sif /file uid 70000",
        "sif /file size 99999999999",
        "sif /file blocks 0x123456789abc",
        "sif /file file_acl 0xba9876543210",
        "sif /file version 0x0000000500000007",
        "sif /file block[11] 7",
        "set_bg 0x0 free_blocks_count 0x12345678\nset_bg 0 checksum calc",
        // Times.
        "sif file atime @5",
        "sif file atime @-5",
        "sif file atime @0x10",
        "sif file atime 5",
        "sif file atime 2024",
        "sif file atime 2024022",
        "sif file atime 20240229",
        "sif file atime 2024022912",
        "sif file atime 202402291234",
        "sif file atime 2024022912345",
        "sif file atime 20240230",
        "sif file atime 1700000000",
        "sif file mtime 22000101",
        "sif file mtime 24460101",
        "sif file mtime_extra 0x12345678\nsif file mtime 22000101",
        "ssv mkfs_time 21050101",
        // UUIDs, hashes, encodings, text.
        "ssv uuid FEDCBA98-7654-3210-fedc-ba9876543210",
        "ssv uuid clear",
        "ssv uuid NULL",
        "ssv def_hash_version TEA",
        "ssv def_hash_version legacy",
        "ssv encoding utf8-12.1",
        "ssv encoding 1",
        "ssv volume_name \"two words\"",
        "ssv volume_name \"\"",
        "ssv last_mounted /a/b",
    ] {
        images.same(script);
    }
    for (script, why) in [
        ("ssv prealloc_blocks 256", "1 bytes"),
        ("ssv prealloc_blocks -129", "-129"),
        ("ssv mnt_count 70000", "2 bytes"),
        ("ssv max_mnt_count -40000", "-40000"),
        ("ssv mnt_count 1k", "1k"),
        ("ssv mnt_count 0xg", "0xg"),
        ("ssv mnt_count \"\"", "mnt_count"),
        ("ssv def_hash_version foo", "foo"),
        ("ssv encoding UTF-9", "UTF-9"),
        ("ssv uuid 0123", "0123"),
        ("ssv uuid random1", "random1"),
        ("ssv volume_name 0123456789abcdefg", "16 bytes"),
        ("ssv mtime 22000101", "4 bytes"),
        ("sif file mtime 99991231", "8 bytes"),
        ("sif file atime 1712103000", "1901"),
        ("sif file atime yesterday", "yesterday"),
        ("sif file links_count 70000", "2 bytes"),
        ("sif file blocks 0x1000000000000", "6 bytes"),
        ("sif file bmap[3] 99999999", "block:99999999"),
        ("sif file bmap[3] x", "x"),
        ("sif file flags.DAX 2", "flag"),
    ] {
        images.refused(script, why);
    }
}

#[test]
fn what_only_we_know() {
    let images = Images::new(PLAIN, "4M");
    let (ours, _) = images.ours("sif file flags.DAX 1\nsif file flags \"EXTENTS NOATIME\"\nssv state orphans");
    let (theirs, _) = images.theirs("sif file flags 0x80080\nssv state 4");
    assert!(differences(&ours, &theirs).is_empty());
    // Now, and chance.
    let (ours, _) = images.ours("set_current_time @77\nsif file atime now");
    let (theirs, _) = images.theirs("sif file atime 77");
    assert!(differences(&ours, &theirs).is_empty());
    let random = |word: &str| images.ours(&format!("ssv uuid {word}")).0[0x468..0x478].to_vec();
    assert_ne!(random("random"), random("random"));
    assert_eq!((random("random")[6] >> 4, random("time")[6] >> 4), (4, 1));
    // The checksum of the superblock is right, or what it was set to.
    let (right, _) = images.ours("ssv volume_name a");
    let check = images.dir.path().join("check");
    fs::write(&check, right).unwrap();
    assert!(common::ours(&check, "sums super").contains("right"));
    let (set, _) = images.ours("ssv checksum 0x11223344");
    assert_eq!(set[0x7fc..0x800], [0x44, 0x33, 0x22, 0x11]);
}

#[test]
fn a_changed_seed_changes_nothing_else() {
    let images = Images::new(PLAIN, "4M");
    // What comes after it is sealed as what came before.
    images.same_change(
        "ssv uuid fedcba98-7654-3210-fedc-ba9876543210\nsif file flags 0x80010\nset_bg 0 used_dirs_count 9\n\
         set_bg 0 checksum calc\nsetb 3000 4\nsif sub mode 040700\n",
    );
    images.same_change("feature ^metadata_csum\nsif file flags 0x80010\nsif file flags 0x80020\nsetb 3000 4\n");
    let image = images.copy("seed");
    let output = tool(&["-w", "-R", "ssv uuid clear", image.to_str().unwrap()], b"");
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("no other checksum of the image fits"));
}

#[test]
fn bits_and_whole_inodes() {
    for args in [
        PLAIN,
        &["-t", "ext4", "-b", "1024", "-O", "^has_journal,^metadata_csum,uninit_bg"],
        &["-t", "ext2", "-b", "1024"],
    ] {
        let images = Images::new(args, "20M");
        for script in [
            "setb 3000",
            "setb 3000 9",
            "setb 8190 5",
            "setb 20470 10",
            "freeb 300 20",
            "seti <30>",
            "seti <30> 20",
            "freei file 3",
            "freei <12>",
            "clri file",
            "clri <30>",
            "copy_inode file <20>",
            "copy_inode <2> sub",
            "dirty",
            "dirty\ndirty -clean",
            "feature ^dir_index,project +quota -ext_attr",
            "feature none",
            "feature FEATURE_C5 FEATURE_I31",
            "features large_dir",
            "zap 3000",
            "zap -p 0x41 3000\nzap -b 9 3000",
            "zap -f large -o 5 -l 2 -p 255 1",
            "zap_block -f file -b 0 0",
            "zap -p 1 -l 0 3000",
        ] {
            // debugfs forgets bits of groups whose bitmaps were never written.
            let lost = !args.contains(&"ext2") && script == "setb 8190 5";
            if !lost {
                images.same(script);
            }
        }
        for (script, why) in [
            ("setb 0", "block:0"),
            ("setb 20480", "20480"),
            ("freeb 20479 3", "2048"),
            ("setb x", "x: not a block number"),
            ("setb 3000 x", "x: not a count"),
            ("seti <99999>", "99999"),
            ("seti <5000> 9999", "inode"),
            ("freei <0>", "<0>"),
            ("clri /nothing", "nothing"),
            ("copy_inode file", "usage"),
            ("copy_inode file /nothing", "nothing"),
            ("dirty -foo", "usage"),
            ("feature nothing_like_it", "nothing_like_it"),
            ("feature dir_index,FEATURE_C32", "FEATURE_C32"),
            ("zap 99999999", "99999999"),
            ("zap -o 1024 3000", "1024"),
            ("zap -o 1000 -l 100 3000", "length"),
            ("zap -p 256 3000", "pattern"),
            ("zap -b 8192 3000", "bit"),
            ("zap -b 9 -o 5 3000", "-b"),
            ("zap -f large 1000", "hole"),
            ("set_current_time x", "x"),
            ("undelete file", "not marked as deleted"),
        ] {
            images.refused(script, why);
        }
    }
}

#[test]
fn bits_of_groups_that_were_never_written_count() {
    let images = Images::new(PLAIN, "20M");
    let (ours, _) = images.ours("setb 10000 3\ntestb 10000 3\nseti <3000>\n");
    let image = images.dir.path().join("check");
    fs::write(&image, ours).unwrap();
    assert!(common::theirs(&image, "testb 10000 3").contains("Block 10002 marked in use"));
    assert!(common::theirs(&image, "testi <3000>").contains("is marked in use"));
    let warned = tool(&["-w", "-R", "setb 10001 3", image.to_str().unwrap()], b"");
    assert!(warned.status.success());
    assert!(String::from_utf8_lossy(&warned.stderr).contains("blocks 10001-10002 already set"));
}

#[test]
fn fields_by_questions() {
    let images = Images::new(PLAIN, "4M");
    // Answers follow on standard input; an empty one leaves the field, and so does the end.
    images.same_change("modify_inode file\n0100600\n1\n2\n\n0x5\n\n\n\n3\n");
    images.same_change(
        "mi <12>\n\n\n\n77\n\n\n\n\n\n1\n2\n0x80010\n5\n6\n7\n8\n1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n",
    );
    let questions = |text: String| {
        let text = text.replace("debugfs: ", "").replace("mi file\n", "");
        text.split(']').map(|q| q.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    let theirs = images.theirs("mi file\n").1;
    let theirs = questions(theirs.split("debugfs 1.").next().unwrap().to_owned());
    let ours = questions(images.ours("mi file\n").1);
    assert!(ours.len() > 25, "{ours:?}");
    assert_eq!(ours, theirs);
    images.refused("mi file\n99999999\n", "Bad value - 99999999");
    images.refused("mi file\nx\n", "Bad value - x");
    // With a script the answers come from standard input all the same.
    let (image, script) = (images.copy("script"), images.dir.path().join("commands"));
    fs::write(&script, "mi file\nmi <12>\n").unwrap();
    let output = tool(&["-w", "-f", script.to_str().unwrap(), image.to_str().unwrap()], b"0100611\n");
    assert!(output.status.success());
    assert!(common::theirs(&image, "stat file").contains("Mode:  0611"));
}

#[test]
fn deleted_inodes_come_back() {
    for args in [PLAIN, &["-t", "ext2", "-b", "1024"]] {
        let images = Images::new(args, "4M");
        let before = images.copy("before");
        let old = common::theirs(&before, "stat large");
        // As debugfs deletes: the map stays.
        let (deleted, _) = images.theirs("rm large\n");
        let images = Images { dir: tempfile::tempdir().unwrap(), bytes: deleted };
        let nr = old.split_whitespace().nth(1).unwrap();
        let (ours, _) = images.ours(&format!("undelete <{nr}> /sub/back\n"));
        let check = images.dir.path().join("check");
        fs::write(&check, &ours).unwrap();
        assert_eq!(common::ours(&check, "cat /sub/back").len(), 30_000);
        assert_clean(&check, "undeleted");
        // Without a name it is the same as in debugfs.
        images.same_change(&format!("undel <{nr}>\n"));
        // Blocks that somebody has taken since then do not come back.
        let block = common::theirs(&before, "blocks large").split_whitespace().next().unwrap().to_owned();
        let script = format!("setb {block}\nundel <{nr}>\n");
        let image = images.copy("taken");
        let output = tool(&["-w", image.to_str().unwrap()], script.as_bytes());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains("in use already"), "{said}");
        assert!(fs::read(image).unwrap() == images.bytes);
    }
}

#[test]
fn free_blocks_that_are_not_zero() {
    let images = Images::new(PLAIN, "4M");
    let (zapped, _) = images.theirs("zap -p 65 3000\nzap -p 66 -l 5 3100\n");
    let image = images.dir.path().join("zapped");
    fs::write(&image, zapped).unwrap();
    assert_eq!(common::ours(&image, "dump_unused"), common::theirs(&image, "dump_unused"));
    assert!(common::ours(&image, "dump_unused").contains("Unused block 3100"));
}

#[test]
fn a_file_system_from_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new");
    fs::write(&path, vec![0xa5; 3 << 20]).unwrap();
    let text = path.to_str().unwrap();
    let output = tool(&[], format!("init_filesys {text} 2000\nmkdir /d\nparams\n").as_bytes());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("Open mode: read-write"));
    assert_clean(&path, "made from nothing");
    let shown = run("dumpe2fs", &["-h", text]);
    for fact in
        ["(original)", "features:      (none)", "Block count:              2000", "Block size:               1024"]
    {
        assert!(shown.contains(fact), "{fact}: {shown}");
    }
    assert!(common::theirs(&path, "ls /").contains(" d "));
    let before = fs::read(&path).unwrap();
    for (script, why) in [
        (format!("init_filesys {text} 4000"), "do not fit"),
        (format!("init_filesys {text}"), "usage"),
        (format!("init_filesys {text} x"), "x: not a number of blocks"),
        ("init_filesys /nothing/there 2000".to_owned(), "/nothing/there"),
        (format!("open -w {text}\ninit_filesys {text} 2000"), "still open"),
    ] {
        let output = tool(&[], script.as_bytes());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(why) && said.lines().count() == 1, "{script}: {said}");
        assert!(fs::read(&path).unwrap() == before, "{script}");
    }
}

#[test]
fn nothing_is_edited_without_being_asked() {
    let images = Images::new(PLAIN, "4M");
    let image = images.copy("readonly");
    for command in [
        "ssv mnt_count 5",
        "sif file flags 0",
        "set_bg 0 flags 0",
        "smmp seq 5",
        "clri file",
        "copy_inode file <20>",
        "mi file",
        "undel <20>",
        "setb 3000",
        "freeb 300",
        "seti <30>",
        "freei file",
        "dirty",
        "feature dir_index",
        "zap 3000",
        "set super.s_state 0",
        "fuzz super.s_state ones",
        "sums -f super",
        "sums -b super",
    ] {
        let output = tool(&["-R", command, image.to_str().unwrap()], b"");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        assert!(said.contains("reading only") && said.lines().count() == 1, "{command}: {said}");
    }
    assert!(fs::read(image).unwrap() == images.bytes);
    for (script, why) in [
        ("ssv nothing 5", "no such field"),
        ("ssv jnl_blocks[17] 5", "no such field"),
        ("ssv mnt_count_lo 5", "no such field"),
        ("ssv mnt_count", "usage"),
        ("sif file nothing 5", "no such field"),
        ("sif file block[15] 5", "no such field"),
        ("sif /nothing flags 5", "nothing"),
        ("sif <99999> flags 5", "99999"),
        ("sif <0> flags 5", "<0>"),
        ("sif file bmap 5", "bmap"),
        ("set_bg 999 flags 5", "999"),
        ("set_bg x flags 5", "x"),
        ("set_bg 0 nothing 5", "no such field"),
        ("smmp seq 5", "mmp"),
        ("ssv mnt_count 5\nssv nothing 5", "no such field"),
        ("fuzz super.s_state zeros", "no such verb"),
        ("fuzz -c -d super.s_state ones", "exclude"),
        ("fuzz super.s_nothing ones", "s_nothing"),
        ("set super.s_state", "usage"),
        ("set super 0xzz", "0xzz"),
        ("sums -f -b super", "usage"),
    ] {
        images.refused(script, why);
    }
}

#[test]
fn places_set_damaged_and_their_checksums() {
    let images = Images::new(PLAIN, "4M");
    let check = images.dir.path().join("check");
    let fsck = |bytes: &[u8]| {
        fs::write(&check, bytes).unwrap();
        let output = spawn("e2fsck", &["-fn", check.to_str().unwrap()], b"");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    // What `set` writes is what the request for the field writes.
    let (ours, said) =
        images.ours("set inode:12.i_flags.DAX 1\nset super.s_mnt_count 9\nset group.0.bg_used_dirs_count 3\n");
    assert_eq!(said, "inode:12.i_flags.DAX = 1\nsuper.s_mnt_count = 9\ngroup.0.bg_used_dirs_count = 3\n");
    let (theirs, _) = images
        .theirs("sif <12> flags 0x2080000\nssv mnt_count 9\nset_bg 0 used_dirs_count 3\nset_bg 0 checksum calc\n");
    assert!(differences(&ours, &theirs).is_empty(), "{:x?}", differences(&ours, &theirs));
    // Every verb, sealed (the damage is the only one) and not.
    for (verb, value) in [
        ("zeroes", "0"),
        ("ones", "65535"),
        ("firstbit", "32769"),
        ("middlebit", "129"),
        ("lastbit", "0"),
        ("add", "2"),
        ("sub", "0"),
    ] {
        let (ours, said) = images.ours(&format!("fuzz inode:12.i_links_count {verb}\n"));
        assert_eq!(said, format!("inode:12.i_links_count = {value}\n"));
        let (theirs, _) = images.theirs(&format!("sif <12> links_count {value}\n"));
        assert!(differences(&ours, &theirs).is_empty(), "{verb}");
        let (stale, _) = images.ours(&format!("fuzz -c inode:12.i_links_count {verb}\n"));
        let (code, said) = fsck(&stale);
        assert!(code != Some(0) && said.contains("checksum does not match inode"), "{verb}: {said}");
    }
    let random = |seed: &str| images.ours(&format!("fuzz {seed} inode:12.i_size random\n")).1;
    assert_eq!(random("--seed 5"), random("--seed 5"));
    assert_ne!(random("--seed 5"), random("--seed 6"));
    assert_eq!(random("--seed 0"), random(""));
    // Checksums broken one by one, which e2fsck sees, and made right again.
    for (place, complaint) in [
        ("inode:12", "Inode 12 passes checks, but checksum does not match inode"),
        ("group.0", "checksum"),
        ("group.0/block_bitmap", "bitmap"),
        ("group.0/inode_bitmap", "bitmap"),
        ("dir:2/block:0", "checksum"),
        ("super", "uperblock"),
    ] {
        let (broken, said) = images.ours(&format!("sums -b {place}\n"));
        assert!(said.starts_with("checksum ") && said.ends_with(": made wrong\n"), "{place}: {said}");
        let (code, said) = fsck(&broken);
        assert!(code != Some(0) && said.contains(complaint), "{place}: {said}");
        let images = Images { dir: tempfile::tempdir().unwrap(), bytes: broken };
        let image = images.copy("fix");
        let output = tool(&["-w", "-n", "-R", &format!("sums -f {place}"), image.to_str().unwrap()], b"");
        assert!(output.status.success(), "{place}: {}", String::from_utf8_lossy(&output.stderr));
        let (code, said) = fsck(&fs::read(image).unwrap());
        assert_eq!(code, Some(0), "{place}: {said}");
    }
}
