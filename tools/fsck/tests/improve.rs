//! What is done besides mending: directories, extent trees and block maps built anew, bad blocks, shared blocks, free space.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

type Words<'a> = &'a [&'a str];

fn run(program: &str, args: Words<'_>) -> Output {
    Command::new(program)
        .args(args)
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .env("LC_ALL", "C")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("this test needs {program} (package e2fsprogs): {e}"))
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// An image, and the directory that goes with it.
struct Image {
    dir: tempfile::TempDir,
    path: PathBuf,
}

impl Image {
    /// By mke2fs, after a script for debugfs.
    fn new(args: Words<'_>, size: &str, script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        let made = run("mke2fs", &[&["-q", "-F"], args, &[path.to_str().unwrap(), size]].concat());
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let image = Self { dir, path };
        fs::write(image.file("content"), vec![7; 20 << 10]).unwrap();
        image.debugfs(script);
        image
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn name(&self) -> &str {
        self.path.to_str().unwrap()
    }

    fn debugfs(&self, script: &str) -> String {
        let file = self.file("script");
        fs::write(&file, script.replace("$CONTENT", self.file("content").to_str().unwrap())).unwrap();
        out(&run("debugfs", &["-w", "-f", file.to_str().unwrap(), self.name()]))
    }

    /// Runs the tool, and says how it ended and what it said.
    fn fsck(&self, args: Words<'_>) -> (Option<i32>, String) {
        let done = run(env!("CARGO_BIN_EXE_dax-fsck"), &[args, &[self.name()]].concat());
        (done.status.code(), out(&done) + &String::from_utf8_lossy(&done.stderr))
    }

    #[track_caller]
    fn is_sound(&self) {
        let e2fsck = run("e2fsck", &["-fn", self.name()]);
        assert_eq!(e2fsck.status.code(), Some(0), "{}", out(&e2fsck));
        let (status, said) = self.fsck(&["-n"]);
        assert_eq!(status, Some(0), "{said}");
    }

    /// Flags and size of an inode, as debugfs says them.
    fn stat(&self, path: &str) -> (u32, u64) {
        let text = self.debugfs(&format!("stat {path}\n"));
        let word = |key: &str| text.split(key).nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
        let flags = word("Flags:").trim_start_matches("0x");
        (u32::from_str_radix(flags, 16).unwrap(), word("Size:").parse().unwrap())
    }

    /// Where a block of a file lies.
    fn block(&self, path: &str, logical: u64) -> u64 {
        self.debugfs(&format!("bmap {path} {logical}\n")).lines().last().unwrap().trim().parse().unwrap()
    }

    fn bad_blocks(&self) -> Vec<u64> {
        out(&run("dumpe2fs", &["-b", self.name()])).lines().map(|line| line.parse().unwrap()).collect()
    }

    /// The names of a directory, sorted.
    fn names(&self, path: &str) -> Vec<String> {
        let text = self.debugfs(&format!("ls -p {path}\n"));
        let name = |line: &str| {
            let fields: Vec<&str> = line.strip_prefix('/')?.split('/').collect();
            if fields.first() == Some(&"0") { None } else { fields.get(4).map(|name| (*name).to_owned()) }
        };
        let mut names: Vec<String> = text.lines().filter_map(name).collect();
        names.sort();
        names
    }
}

const INDEX: u32 = 0x1000;
const EXTENTS: u32 = 0x80000;

/// A directory with so many names.
fn many(dir: &str, count: usize) -> String {
    let mut script = format!("mkdir {dir}\nwrite $CONTENT one\n");
    // debugfs makes room for what it writes, not for what it links.
    script += &format!("expand_dir {dir}\n").repeat(count * 48 / 1024 + 2);
    for i in 0..count {
        script += &format!("ln one {dir}/a-name-that-takes-some-room-{i}\n");
    }
    script + "sif one links_count " + &(count + 1).to_string() + "\n"
}

#[test]
fn directories_get_an_index_where_one_helps() {
    let image = Image::new(&["-t", "ext4", "-b", "1024"], "4M", &many("/d", 300));
    let names = image.names("/d");
    assert_eq!((names.len(), image.stat("/d").0 & INDEX), (302, 0));
    let lost_found = image.stat("/lost+found");
    let before = fs::read(&image.path).unwrap();
    assert_eq!(image.fsck(&["-y", "-E", "fixes_only"]).0, Some(0));
    assert!(fs::read(&image.path).unwrap() == before, "fixes_only leaves directories alone");
    let (status, said) = image.fsck(&["-p"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("directories built anew: 1"), "{said}");
    assert_eq!((image.stat("/d").0 & INDEX, image.names("/d")), (INDEX, names));
    assert_eq!(image.stat("/lost+found"), lost_found);
    image.is_sound();
    assert!(!image.fsck(&["-y", "-D"]).1.contains("anew"), "what is as it should be stays");
}

#[test]
fn directories_of_every_kind_are_optimised() {
    let kinds: &[(Words<'_>, &str, bool)] = &[
        (&["-t", "ext4", "-b", "1024"], "8M", true),
        (&["-t", "ext4", "-b", "4096", "-O", "inline_data"], "8M", true),
        (&["-t", "ext4", "-b", "1024", "-C", "4096", "-O", "bigalloc"], "8M", true),
        (&["-t", "ext4", "-b", "1024", "-O", "^dir_index"], "8M", false),
        (&["-t", "ext2", "-b", "1024", "-O", "^dir_index,^filetype"], "8M", false),
        (&["-t", "ext4", "-b", "1024", "-O", "casefold,large_dir"], "8M", true),
        (&["-t", "ext4", "-b", "1024", "-O", "quota,^metadata_csum,uninit_bg"], "8M", true),
    ];
    for (args, size, indexed) in kinds {
        let mut script = many("/d", 400);
        // Casefolded where that can be, while it is empty.
        if args.iter().any(|word| word.contains("casefold")) {
            script = script.replacen("write", "sif /d flags 0x40080000\nwrite", 1);
        }
        let image = Image::new(args, size, &script);
        run("e2fsck", &["-fy", "-E", "fixes_only", image.name()]);
        // Most of the names go again: the blocks stay.
        let gone: String = (60..400).map(|i| format!("unlink /d/a-name-that-takes-some-room-{i}\n")).collect();
        image.debugfs(&(gone + "sif one links_count 61\n"));
        let (names, (_, before)) = (image.names("/d"), image.stat("/d"));
        assert_eq!(names.len(), 62, "{args:?}");
        let (status, said) = image.fsck(&["-y", "-D"]);
        assert_eq!(status, Some(0), "{args:?}: {said}");
        assert!(said.contains("directories built anew: "), "{args:?}: {said}");
        let (flags, size) = image.stat("/d");
        assert!(size < before, "{args:?}: {size} of {before}");
        let block: u64 = args[3].parse().unwrap();
        assert_eq!(flags & INDEX != 0, *indexed && size > block, "{args:?}: {size}");
        assert_eq!(image.names("/d"), names, "{args:?}");
        image.is_sound();
    }
}

#[test]
fn an_index_of_two_levels_is_built() {
    let image = Image::new(&["-t", "ext4", "-b", "1024", "-N", "64"], "8M", &many("/d", 8000));
    let (status, said) = image.fsck(&["-y"]);
    assert_eq!(status, Some(0), "{said}");
    let dump = image.debugfs("htree_dump /d\n");
    assert!(dump.contains("Indirect levels: 1"), "{}", dump.lines().take(12).collect::<Vec<_>>().join("\n"));
    assert_eq!(image.names("/d").len(), 8002);
    image.is_sound();
}

#[test]
fn an_index_that_is_damaged_is_built_anew() {
    let image = Image::new(&["-t", "ext4", "-b", "1024"], "4M", &many("/d", 300));
    assert_eq!(image.fsck(&["-y", "-D"]).0, Some(0));
    let root = image.block("/d", 0);
    let mut bytes = fs::read(&image.path).unwrap();
    // A kind of hash that there is not.
    bytes[root as usize * 1024 + 0x1c] = 77;
    fs::write(&image.path, bytes).unwrap();
    let (status, said) = image.fsck(&["-p"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("HTR002") && said.contains("directories built anew: 1"), "{said}");
    assert_eq!(image.stat("/d").0 & INDEX, INDEX);
    assert_eq!(image.names("/d").len(), 302);
    image.is_sound();
}

/// An image with a file whose extent tree has a node for each few extents.
fn with_a_wide_tree() -> Image {
    let image = Image::new(&["-t", "ext4", "-b", "1024", "-O", "^has_journal"], "4M", "write $CONTENT wide\n");
    // Blocks one apart, so that each is an extent; then most of them go, and their nodes stay.
    image.debugfs("sif wide size 1024000\n");
    let lines = |line: &dyn Fn(u64) -> String| image.debugfs(&(0..400).map(line).collect::<String>());
    lines(&|i| format!("setb {}\n", 2000 + 2 * i));
    lines(&|i| format!("sif wide bmap[{}] {}\n", 100 + 2 * i, 2000 + 2 * i));
    lines(&|i| if i % 20 == 0 { String::new() } else { format!("sif wide bmap[{}] 0\n", 100 + 2 * i) });
    run("e2fsck", &["-fy", "-E", "fixes_only", image.name()]);
    image
}

#[test]
fn extent_trees_are_made_narrow() {
    let image = with_a_wide_tree();
    let e2fsck = out(&run("e2fsck", &["-fn", image.name()]));
    assert!(e2fsck.contains("could be narrower") || e2fsck.contains("could be shorter"), "{e2fsck}");
    let (status, said) = image.fsck(&["-n"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("EXT011"), "{said}");
    assert!(!image.fsck(&["-n", "-E", "no_optimize_extents"]).1.contains("EXT011"));
    let content = image.debugfs("cat wide\n");
    let (status, said) = image.fsck(&["-y"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("EXT011") && said.contains("mended"), "{said}");
    image.is_sound();
    let e2fsck = out(&run("e2fsck", &["-fn", image.name()]));
    assert!(!e2fsck.contains("could be"), "{e2fsck}");
    assert_eq!(image.debugfs("cat wide\n"), content);
}

#[test]
fn block_maps_become_extents() {
    let image = Image::new(&["-t", "ext3", "-b", "1024"], "8M", &(many("/d", 200) + "write $CONTENT two\n"));
    run("tune2fs", &["-O", "extent", image.name()]);
    run("e2fsck", &["-fy", "-E", "fixes_only", image.name()]);
    let content = image.debugfs("cat two\n");
    assert_eq!((image.stat("two").0 & EXTENTS, image.stat("/d").0 & EXTENTS), (0, 0));
    let (status, said) = image.fsck(&["-y", "-E", "bmap2extent"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("files mapped by extents now: "), "{said}");
    for path in ["two", "/d", "/", "/lost+found"] {
        assert_eq!(image.stat(path).0 & EXTENTS, EXTENTS, "{path}");
    }
    assert_eq!(image.debugfs("cat two\n"), content);
    image.is_sound();
    let image = Image::new(&["-t", "ext3", "-b", "1024"], "8M", "");
    let (status, said) = image.fsck(&["-y", "-E", "bmap2extent"]);
    assert!(status == Some(0) && said.contains("not done: bmap2extent"), "{said}");
}

#[test]
fn bad_blocks_are_listed_and_kept_from_files() {
    let image = Image::new(&["-t", "ext4", "-b", "1024"], "8M", "write $CONTENT f\n");
    let content = image.debugfs("cat f\n");
    let first = image.block("f", 3);
    let list = image.file("list");
    let name = list.to_str().unwrap();
    fs::write(&list, format!("7000\n7001\n{first}\n99999999\n")).unwrap();
    let (status, said) = image.fsck(&["-y", "-l", name]);
    // A file had one of them, and has a copy now.
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("DUP001") && said.contains("bad blocks listed: 3"), "{said}");
    assert!(said.contains("block 99999999 is out of range"), "{said}");
    let mut expected = vec![first, 7000, 7001];
    expected.sort_unstable();
    assert_eq!(image.bad_blocks(), expected);
    assert_eq!(image.debugfs("cat f\n"), content);
    image.is_sound();
    fs::write(&list, "5000 6000\n").unwrap();
    assert_eq!(image.fsck(&["-p", "-l", name]).0, Some(0));
    expected.extend([5000, 6000]);
    expected.sort_unstable();
    assert_eq!(image.bad_blocks(), expected);
    image.is_sound();
    // So many that the list needs blocks for itself.
    fs::write(&list, (6000..6600).map(|n| format!("{n}\n")).collect::<String>()).unwrap();
    assert_eq!(image.fsck(&["-y", "-L", name]).0, Some(0));
    assert_eq!(image.bad_blocks(), (6000..6600).collect::<Vec<_>>());
    image.is_sound();
    // Every block can be read.
    assert_eq!(image.fsck(&["-y", "-c", "-k"]).0, Some(0));
    assert_eq!(image.bad_blocks().len(), 600);
    assert_eq!(image.fsck(&["-y", "-c"]).0, Some(0));
    assert_eq!(image.bad_blocks(), [0; 0]);
    image.is_sound();
    fs::write(&list, "7\nseven\n").unwrap();
    let (status, said) = image.fsck(&["-y", "-l", name]);
    assert!(status == Some(16) && said.contains("\"seven\" is no block"), "{said}");
}

#[test]
fn bad_blocks_are_listed_under_bigalloc() {
    let image = Image::new(&["-t", "ext4", "-b", "1024", "-C", "4096", "-O", "bigalloc"], "8M", "write $CONTENT f\n");
    run("e2fsck", &["-fy", image.name()]);
    let content = image.debugfs("cat f\n");
    let first = image.block("f", 5);
    let list = image.file("list");
    let name = list.to_str().unwrap();
    // Two of a cluster, one of a file, and so many that the list needs blocks for itself.
    let mut expected: Vec<u64> = (7000..7020).chain([first]).collect();
    expected.sort_unstable();
    fs::write(&list, expected.iter().map(|n| format!("{n}\n")).collect::<String>()).unwrap();
    let (status, said) = image.fsck(&["-y", "-l", name]);
    assert!(status == Some(1) && said.contains("bad blocks listed: 21"), "{said}");
    assert_eq!(image.bad_blocks(), expected);
    assert_eq!(image.debugfs("cat f\n"), content);
    image.is_sound();
    fs::write(&list, "6001\n6002\n").unwrap();
    assert_eq!(image.fsck(&["-p", "-L", name]).0, Some(0));
    assert_eq!(image.bad_blocks(), [6001, 6002]);
    image.is_sound();
    assert_eq!(image.fsck(&["-y", "-c", "-k"]).0, Some(0));
    assert_eq!(image.bad_blocks(), [6001, 6002]);
    assert_eq!(image.fsck(&["-y", "-c", "-c"]).0, Some(0));
    assert_eq!(image.bad_blocks(), [0; 0]);
    image.is_sound();
}

#[test]
fn blocks_that_are_tried_by_writing_are_as_they_were() {
    let image = Image::new(&["-t", "ext4", "-b", "1024"], "32M", "write $CONTENT f\n");
    // The list is written anew, and nothing else: reading alone comes to the same.
    let read = image.file("read");
    fs::copy(&image.path, &read).unwrap();
    let done = run(env!("CARGO_BIN_EXE_dax-fsck"), &["-y", "-c", read.to_str().unwrap()]);
    assert_eq!(done.status.code(), Some(0), "{}", out(&done));
    let blocks = fs::metadata(&image.path).unwrap().blocks();
    let (status, said) = image.fsck(&["-y", "-c", "-c"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(fs::read(&image.path).unwrap() == fs::read(&read).unwrap());
    assert!(fs::metadata(&image.path).unwrap().blocks() <= blocks);
    image.is_sound();
}

/// An image in which two files share their blocks, as the feature allows; so many blocks are free.
fn with_shared_blocks(size: &str) -> Image {
    let script = "write $CONTENT a\nwrite $CONTENT b\n";
    let image = Image::new(&["-t", "ext4", "-b", "1024", "-O", "^has_journal,^resize_inode"], size, script);
    let map = |path: &str| (0..20).map(|n| image.block(path, n)).collect::<Vec<_>>();
    let (a, b) = (map("a"), map("b"));
    let mut script = String::new();
    for (n, block) in a.iter().enumerate() {
        script += &format!("freeb {}\nsif b bmap[{n}] {block}\n", b[n]);
    }
    image.debugfs(&(script + "feature shared_blocks\n"));
    run("e2fsck", &["-fy", "-E", "fixes_only", image.name()]);
    image
}

#[test]
fn shared_blocks_are_unshared() {
    let image = with_shared_blocks("4M");
    let e2fsck = run("e2fsck", &["-fn", image.name()]);
    assert_eq!(e2fsck.status.code(), Some(0), "{}", out(&e2fsck));
    let before = fs::read(&image.path).unwrap();
    assert_eq!(image.fsck(&["-y"]).0, Some(0));
    assert_eq!(image.fsck(&["-n", "-E", "unshare_blocks"]).0, Some(0), "there is space");
    assert!(fs::read(&image.path).unwrap() == before);
    let (status, said) = image.fsck(&["-y", "-E", "unshare_blocks"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("SUP029") && said.contains("DUP001 inode:13"), "{said}");
    assert!(!out(&run("dumpe2fs", &["-h", image.name()])).contains("shared_blocks"));
    assert_ne!(image.block("a", 0), image.block("b", 0));
    image.is_sound();
    assert_eq!(image.fsck(&["-y", "-E", "unshare_blocks"]).0, Some(0));
}

#[test]
fn blocks_that_nothing_uses_are_given_back() {
    let image = Image::new(&["-t", "ext4", "-b", "1024"], "16M", "write $CONTENT f\n");
    let content = image.debugfs("cat f\n");
    // Something lies in the free blocks.
    let mut bytes = fs::read(&image.path).unwrap();
    let end = bytes.len();
    bytes[12 << 20..end - (3 << 20)].fill(9);
    fs::write(&image.path, bytes).unwrap();
    let before = fs::metadata(&image.path).unwrap().blocks();
    assert_eq!(image.fsck(&["-n", "-E", "discard"]).0, Some(0));
    let (status, said) = image.fsck(&["-y", "-E", "discard"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("were given back"), "{said}");
    assert!(fs::metadata(&image.path).unwrap().blocks() < before / 2);
    assert_eq!(image.debugfs("cat f\n"), content);
    image.is_sound();
    let (status, said) = image.fsck(&["-y", "-E", "discard", "-z", "undo"]);
    assert!(status == Some(16) && said.contains("cannot be kept"), "{said}");
    let (status, said) = image.fsck(&["-y", "-E", "discard,nodiscard"]);
    assert!(status == Some(0) && !said.contains("given back"), "{said}");
}

#[test]
fn pieces_of_files_are_told_as_e2fsck_tells_them() {
    let image = with_a_wide_tree();
    let lines = |text: &str| text.lines().filter(|l| l.contains("expecting")).map(str::to_owned).collect::<Vec<_>>();
    let theirs = lines(&out(&run("e2fsck", &["-fn", "-E", "fragcheck", image.name()])));
    let ours = lines(&image.fsck(&["-n", "-E", "fragcheck"]).1);
    assert!(!theirs.is_empty());
    assert_eq!(ours, theirs);
}

#[test]
fn names_are_held_against_the_encoding_when_that_is_asked() {
    let script = "mkdir /d\nsif /d flags 0x40080000\nwrite $CONTENT /d/name\n";
    let image = Image::new(&["-t", "ext4", "-b", "1024", "-O", "casefold,^metadata_csum"], "4M", script);
    let mut bytes = fs::read(&image.path).unwrap();
    let at = bytes.windows(4).rposition(|w| w == b"name").unwrap();
    bytes[at] = 0xff;
    fs::write(&image.path, bytes).unwrap();
    assert_eq!(image.fsck(&["-n"]).0, Some(0));
    let (status, said) = image.fsck(&["-n", "-E", "check_encoding"]);
    assert!(status == Some(4) && said.contains("DIR015"), "{said}");
    let theirs = run("e2fsck", &["-fn", "-E", "check_encoding", image.name()]);
    assert_eq!(theirs.status.code(), Some(4), "{}", out(&theirs));
    let (status, said) = image.fsck(&["-y", "-E", "check_encoding"]);
    assert_eq!(status, Some(1), "{said}");
    let theirs = run("e2fsck", &["-fn", "-E", "check_encoding", image.name()]);
    assert_eq!(theirs.status.code(), Some(0), "{}", out(&theirs));
}

#[test]
fn only_a_journal_is_replayed_when_that_is_asked() {
    let image = Image::new(&["-t", "ext4", "-b", "1024"], "4M", &many("/d", 300));
    let before = fs::read(&image.path).unwrap();
    assert_eq!(image.fsck(&["-y", "-D", "-E", "journal_only,bmap2extent"]).0, Some(0));
    assert!(fs::read(&image.path).unwrap() == before);
}
