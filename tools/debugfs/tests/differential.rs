//! Each reading request through both programs on the same image: the same facts.
//!
//! Oracle: debugfs of e2fsprogs. Images are made by mke2fs, e2fsck -D and debugfs -w.

mod common;

use common::{Scratch, ours, run, spawn, theirs, tool};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Words of a text, blanks and line ends aside.
fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Both programs print the same words in the same order.
fn same(image: &Path, requests: &[&str]) {
    for request in requests {
        let expected = words(&theirs(image, request));
        assert!(!expected.is_empty(), "{request}: debugfs says nothing");
        assert_eq!(words(&ours(image, request)), expected, "{request} on {}", image.display());
    }
}

/// Both programs print the same lines in some order, blanks aside.
fn same_lines(image: &Path, requests: &[&str]) {
    let lines = |text: &str| {
        text.lines().map(|l| words(l).join(" ").replace("//", "/")).filter(|l| !l.is_empty()).collect::<BTreeSet<_>>()
    };
    for request in requests {
        let expected = lines(&theirs(image, request));
        assert!(!expected.is_empty(), "{request}: debugfs says nothing");
        assert_eq!(lines(&ours(image, request)), expected, "{request} on {}", image.display());
    }
}

fn check(image: &Path, how: &str) {
    // 1: something was corrected, which is what -D does.
    let output = spawn("e2fsck", &["-f", "-y", how, image.to_str().unwrap()], b"");
    assert!(output.status.code().is_some_and(|c| c < 4), "{}", String::from_utf8_lossy(&output.stdout));
}

fn debugfs_write(image: &Path, script: &str) {
    let output = spawn("debugfs", &["-w", "-f", "-", image.to_str().unwrap()], script.as_bytes());
    assert!(output.status.success());
}

/// The tree with a directory of many names.
fn scratch() -> Scratch {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path("tree/many")).unwrap();
    for nr in 0..300 {
        std::fs::write(scratch.path(&format!("tree/many/a name that is long {nr}")), format!("{nr}\n")).unwrap();
    }
    scratch
}

/// Everything ext4 has that these requests show.
fn full(scratch: &Scratch) -> PathBuf {
    let features = "metadata_csum,quota,project,orphan_file";
    let image = scratch.image("full", "32M", &["-t", "ext4", "-b", "1024", "-I", "256", "-O", features]);
    check(&image, "-D");
    image
}

/// Indirect maps, no checksums.
fn old(scratch: &Scratch) -> PathBuf {
    let image = scratch.image("old", "32M", &["-t", "ext2", "-b", "1024"]);
    check(&image, "-D");
    image
}

#[test]
fn the_superblock_and_the_groups() {
    let scratch = scratch();
    let bigalloc =
        scratch.image("bigalloc", "64M", &["-t", "ext4", "-O", "bigalloc", "-E", "stride=16,stripe_width=32"]);
    run("tune2fs", &["-i", "180d", "-e", "remount-ro", "-c", "20", "-L", "label", bigalloc.to_str().unwrap()]);
    let inline = scratch.image("inline", "32M", &["-t", "ext4", "-O", "inline_data,metadata_csum_seed", "-I", "1024"]);
    let marked = full(&scratch);
    debugfs_write(&marked, "ssv kbytes_written 10000000\nssv last_orphan 15\nssv mnt_count 7\n");
    // A writer waits for other machines there, so nothing is changed in it.
    let mmp = scratch.image("mmp", "32M", &["-t", "ext4", "-b", "1024", "-O", "mmp"]);
    for image in [&marked, &old(&scratch), &bigalloc, &inline, &mmp] {
        same(image, &["stats", "stats -h", "show_super_stats", "features", "feature", "params"]);
    }
    same(&mmp, &["dump_mmp"]);
    let theirs = words(&theirs(&marked, "supported_features"));
    let ours_all = words(&ours(&marked, "supported_features"));
    // An external journal is no file system to read; the last is a bit debugfs has no name for.
    let missing: Vec<_> = theirs.iter().filter(|w| !ours_all.contains(w)).collect();
    assert_eq!(missing, ["journal_dev", "FEATURE_I5"]);
    same(&marked, &["supported_features metadata_csum", "supported_features journal_64bit"]);
}

#[test]
fn owners_of_blocks_and_names_of_inodes() {
    let scratch = scratch();
    let inline = scratch.image("inline", "32M", &["-t", "ext4", "-O", "inline_data", "-I", "1024"]);
    let attributes = scratch.image("attributes", "32M", &["-t", "ext4", "-I", "128", "-b", "1024"]);
    for image in [&full(&scratch), &old(&scratch), &inline, &attributes] {
        let blocks: Vec<String> = (0..4000).step_by(3).chain(20_000..20_050).map(|b: u32| b.to_string()).collect();
        same(image, &[&format!("icheck {}", blocks.join(" "))]);
        // The root has no name; debugfs ends at the last link it counted, so one inode at a time where there are two.
        let inodes: Vec<String> = (11..330).map(|i: u32| i.to_string()).collect();
        let paths = |text: &str| text.lines().skip(1).map(|l| l.replace("//", "/")).collect::<BTreeSet<_>>();
        let request = format!("ncheck {}", inodes.join(" "));
        assert_eq!(paths(&ours(image, &request)), paths(&theirs(image, &request)), "{}", image.display());
        let request = format!("ncheck -c {}", inodes.join(" "));
        assert_eq!(paths(&ours(image, &request)), paths(&theirs(image, &request)), "{}", image.display());
    }
    // All names of one inode, and what for a block is used.
    let image = full(&scratch);
    let document = tool(&["--json", "-R", "ncheck 999999", "-R", "icheck 2690", image.to_str().unwrap()], b"");
    assert_eq!(document.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&document.stderr).contains("inode:999999: no such inode"));
}

#[test]
fn a_wrong_file_type_is_said() {
    let scratch = Scratch::new();
    let image = scratch.image("types", "16M", &["-t", "ext2"]);
    let inode = words(&ours(&image, "stat hello"))[1].clone();
    debugfs_write(&image, "sif hello mode 0120777\n");
    let lines = |text: &str| text.lines().map(|l| l.replace("//", "/")).collect::<Vec<_>>();
    let request = format!("ncheck -c {inode}");
    assert_eq!(lines(&ours(&image, &request)), lines(&theirs(&image, &request)));
    assert_eq!(ours(&image, &request).matches("<--- BAD FILETYPE").count(), 2);
    assert!(!ours(&image, &format!("ncheck {inode}")).contains("<---"));
}

#[test]
fn places_of_blocks() {
    let scratch = scratch();
    let image = full(&scratch);
    debugfs_write(&image, "fallocate hello 10 20\n");
    for image in [&image, &old(&scratch)] {
        for file in ["hello", "sparse", "sub/data", "many", "<8>", "<7>", "/"] {
            if image.ends_with("old") && file == "<8>" {
                continue;
            }
            same(image, &[&format!("imap {file}"), &format!("filefrag -dv {file}"), &format!("filefrag -d {file}")]);
            let request = format!("blocks {file}");
            let sorted = |text: &str| words(text).into_iter().collect::<BTreeSet<_>>();
            assert_eq!(sorted(&ours(image, &request)), sorted(&theirs(image, &request)), "{request}");
            for logical in ["0", "1", "12", "13", "400", "4882"] {
                same(image, &[&format!("bmap {file} {logical}")]);
            }
        }
        same(image, &["filefrag sub", "filefrag hello"]);
        same_lines(image, &["filefrag -r /", "filefrag -vr sub"]);
    }
    assert!(ours(&image, "bmap hello").ends_with(" 11 (uninit)\n"));
}

#[test]
fn free_and_in_use() {
    let scratch = scratch();
    let bigalloc = scratch.image("bigalloc", "64M", &["-t", "ext4", "-O", "bigalloc"]);
    for image in [&full(&scratch), &old(&scratch), &bigalloc] {
        same(image, &["testb 1", "testb 8000 200", "testi hello", "testi <900>", "ffi", "ffi 2"]);
        // debugfs finds no free blocks at all where clusters are larger than blocks.
        if image.ends_with("bigalloc") {
            continue;
        }
        same(image, &["freefrag", "e2freefrag"]);
        // debugfs counts one chunk too many.
        let without = |text: &str| text.lines().filter(|l| !l.contains("chunks:")).map(words).collect::<Vec<_>>();
        for request in ["freefrag -c 64", "freefrag -c 2048"] {
            assert_eq!(without(&ours(image, request)), without(&theirs(image, request)), "{request}");
        }
    }
    same(&full(&scratch), &["ffb", "ffb 5", "ffb 3 20000", "ffb 4 9000"]);
    same(&old(&scratch), &["ffb", "ffb 7", "ffb 3 20000", "ffb 2 32766"]);
    let free = ours(&full(&scratch), "freesp -A 2M -b");
    let free_blocks: u64 = words(free.lines().find(|l| l.contains("free blocks")).unwrap())[0].parse().unwrap();
    let stats = ours(&full(&scratch), "stats -h");
    let line = stats.lines().find(|l| l.starts_with("Free blocks")).unwrap();
    assert_eq!(words(line)[2], free_blocks.to_string());
}

#[test]
fn directories_and_hashes() {
    let scratch = scratch();
    let image = full(&scratch);
    same(&image, &["htree many", "htree_dump many", "ls -c sub", "ls -l -c sub", "ls -r sub", "dirsearch / hello"]);
    same(&image, &["dirsearch many \"a name that is long 77\"", "dirsearch / lost+found", "pwd"]);
    assert_eq!(ours(&image, "dirsearch / nosuch"), theirs(&image, "dirsearch / nosuch"));
    let leaves = |text: &str| {
        text.lines().filter(|l| l.contains("Entry #") || l.contains("a name")).map(words).collect::<Vec<_>>()
    };
    let old = old(&scratch);
    assert_eq!(leaves(&ours(&old, "htree many")), leaves(&theirs(&old, "htree many")));
    same(
        &image,
        &[
            "dx_hash hello",
            "hash -h tea hello",
            "dx_hash -h legacy hello",
            "dx_hash -h half_md4 -s 01234567-89ab-cdef-0123-456789abcdef hello",
            "dx_hash -h half_md4 \"a name that is long and longer still, with more than 32 bytes\"",
        ],
    );
}

#[test]
fn bytes_attributes_and_content() {
    let scratch = scratch();
    let image = full(&scratch);
    same(
        &image,
        &["idump hello", "idump -b hello", "idump -e hello", "id <8>", "bdump 1", "bd 266", "bdump -f sub/data 3"],
    );
    same(
        &image,
        &[
            "ea_get hello user.text",
            "ea_get -x hello user.bytes",
            "ea_get -V hello user.text",
            "ea_get -x hello user.text",
        ],
    );
    let facts = |text: &str| text.lines().filter(|l| !l.starts_with("value =")).map(words).collect::<Vec<_>>();
    assert_eq!(facts(&ours(&image, "idump -x hello")), facts(&theirs(&image, "idump -x hello")));
    let small = scratch.image("small", "32M", &["-t", "ext4", "-I", "128", "-b", "1024"]);
    let stat = ours(&small, "stat hello");
    let block = words(stat.lines().find(|l| l.starts_with("File ACL")).unwrap())[2].clone();
    let request = format!("bdump -x {block}");
    assert_eq!(facts(&ours(&small, &request)), facts(&theirs(&small, &request)));

    for file in ["hello", "sparse", "sub/data"] {
        let (a, b) = (scratch.path("a"), scratch.path("b"));
        ours(&image, &format!("dump -p {file} {}", a.display()));
        run("debugfs", &["-R", &format!("dump -p {file} {}", b.display()), image.to_str().unwrap()]);
        assert!(std::fs::read(&a).unwrap() == std::fs::read(&b).unwrap(), "{file}");
        let stat = |path: &Path| run("stat", &["-c", "%u %g %s %Y", path.to_str().unwrap()]);
        assert_eq!(stat(&a), stat(&b), "{file}");
        // debugfs changes the owner last, which takes the setuid bit away; the source has it.
        let mode = |path: &Path| run("stat", &["-c", "%a", path.to_str().unwrap()]);
        assert_eq!(mode(&a), mode(&scratch.path("tree").join(file)), "{file}");
    }
    let value = scratch.path("value");
    ours(&image, &format!("ea_get -f {} hello user.bytes", value.display()));
    assert_eq!(std::fs::read(&value).unwrap(), [0, 0xff, 0x80]);
}

#[test]
fn quota_and_deleted_inodes() {
    let scratch = scratch();
    let image = full(&scratch);
    same(&image, &["list_quota user", "lq group", "lq project", "get_quota user 0", "gq project 5", "lsdel"]);
    let deleted = "rm sub/data\nkill_file hello\nrm \"many/a name that is long 3\"\n";
    debugfs_write(&image, deleted);
    same_lines(&image, &["lsdel", "list_deleted_inodes", "ls -d sub"]);
    assert!(ours(&image, "lsdel").ends_with("3 deleted inodes found.\n"), "{}", ours(&image, "lsdel"));
    assert_eq!(ours(&image, "lsdel 100000"), ours(&image, "lsdel"));
    let old = old(&scratch);
    debugfs_write(&old, deleted);
    same_lines(&old, &["lsdel"]);
    debugfs_write(&image, "ssv last_orphan 20\nsif <20> dtime 0\n");
    assert_eq!(ours(&image, "orphan_inodes"), "20\tin the orphan list\n");
}

#[test]
fn the_log_of_the_journal() {
    let scratch = scratch();
    let image = full(&scratch);
    same(&image, &["logdump", "logdump -a", "logdump -S"]);
    let data = scratch.path("data");
    std::fs::write(&data, [0x11; 3072]).unwrap();
    let data = data.display();
    debugfs_write(
        &image,
        &format!("jo -c\njw -b 2000,2001,2002 -r 3000,3001 {data}\njw -b 2003 {data}\njw -r 2003\njc\n"),
    );
    same(
        &image,
        &[
            "logdump",
            "logdump -a",
            "logdump -S",
            "logdump -b 2001",
            "logdump -c -b 2001",
            "logdump -b 3000",
            "logdump -a -c",
            "logdump -b 2003",
            "logdump -n 1",
        ],
    );
    let raw = scratch.path("log");
    run("debugfs", &["-R", &format!("dump <8> {}", raw.display()), image.to_str().unwrap()]);
    same(&image, &[&format!("logdump -f {}", raw.display()), &format!("logdump -a -f {}", raw.display())]);
    let found =
        |text: &str| text.lines().filter(|l| l.starts_with("Found expected")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(found(&ours(&image, "logdump -O")), found(&theirs(&image, "logdump -O")));
    // The log is shown as it lies, although what else is read is as after a replay.
    assert!(ours(&image, "logdump").contains("descriptor block"));
}

#[test]
fn roots_and_images_change() {
    let scratch = scratch();
    let (image, other) = (full(&scratch), old(&scratch));
    let script =
        format!("chroot sub\ncd /deeper\npwd\nls -p /\nclose\nparams\nopen {}\nparams\nls -p /\n", other.display());
    let output = tool(&[image.to_str().unwrap()], script.as_bytes());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("PATH: /sub/deeper\n") && text.contains("PATH: /sub\n"), "{text}");
    assert!(text.contains("/data/") && text.contains("No filesystem is open"), "{text}");
    assert!(
        text.contains(&format!("Filesystem in use: {}", other.display())) && text.contains("/lost+found/"),
        "{text}"
    );
    let closed = tool(&["-R", "close", "-R", "ls", image.to_str().unwrap()], b"");
    assert_eq!(closed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&closed.stderr).contains("no image is open"));
}

#[test]
fn bad_arguments_are_one_line_and_status_one() {
    let scratch = scratch();
    let image = full(&scratch);
    for request in [
        "ncheck",
        "ncheck x",
        "icheck",
        "icheck x",
        "bmap",
        "bmap hello x",
        "bmap -a hello 1",
        "bmap hello 1 2 3",
        "imap",
        "imap nosuch",
        "blocks",
        "blocks nosuch",
        "filefrag nosuch",
        "filefrag -q",
        "testb",
        "testb x",
        "testb 1 x",
        "testb 99999999",
        "testi",
        "testi <99999>",
        "ffb x",
        "ffb 0",
        "ffi nosuch",
        "ffi 2 x",
        "freefrag -c 3",
        "freefrag -c x",
        "freesp -A x",
        "freesp -A 3",
        "dirsearch /",
        "dirsearch hello x",
        "ea_get",
        "ea_get hello user.nosuch",
        "idump",
        "idump -b -e hello",
        "bdump x",
        "bdump 99999999",
        "bdump -f hello 7",
        "bdump -f",
        "dx_hash",
        "dx_hash -h nosuch a",
        "dx_hash -s zz a",
        "htree hello",
        "htree sub",
        "dump hello",
        "dump hello /nosuch/file",
        "dump_mmp 5",
        "dump_mmp x",
        "dump_mmp 99999999",
        "lq",
        "lq xx",
        "gq user",
        "gq user x",
        "gq xx 1",
        "lsdel x",
        "stats -x",
        "stats x",
        "params x",
        "open",
        "open x",
        "close x",
        "feature metadata_csum",
        "supported_features nosuch",
        "logdump -b",
        "logdump -b x",
        "logdump -f /nosuch",
        "logdump -i nosuch",
        "logdump -x",
        "lcd /nosuch",
        "lcd",
        "cd hello",
        "chroot hello",
        "chroot nosuch",
        "pwd x",
        "ls -x",
        "locate",
        "locate nosuch",
        "locate inode:2.nosuch",
        "locate block:99999999",
        "print",
        "print nosuch",
        "push",
        "push nosuch",
        "history x",
        "sums",
        "sums -a x",
        "sums nosuch",
        "convert",
        "convert block",
        "convert nosuch 1",
        "convert block x",
        "convert block 1 nosuch",
        "convert block 99999999",
        "convert group 99",
        "convert inode 0",
        "dax",
        "dax nosuch",
        "dax --page-size x hello",
        "inherit hello",
        "inherit",
    ] {
        let output = tool(&["-R", request, image.to_str().unwrap()], b"");
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{request}: {message}");
        assert_eq!(message.lines().count(), 1, "{request}: {message}");
        assert!(message.starts_with("dax-debugfs: error: "), "{request}: {message}");
    }
}
