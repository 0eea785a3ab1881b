//! The journal written by hand: the same log as debugfs writes, and the same image when it is replayed, by whoever does it.

mod common;

use common::judge::assert_clean;
use common::{run, spawn, tool};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A seed for content, so that every block is another.
fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let next = |state: &mut u64| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 56) as u8
    };
    (0..len).map(|_| next(&mut state)).collect()
}

struct Images {
    dir: tempfile::TempDir,
    image: PathBuf,
    block_size: usize,
}

/// File systems whose journals have other tags, checksums and features.
const KINDS: [(usize, &[&str]); 5] = [
    (1024, &["-t", "ext4", "-b", "1024"]),
    (4096, &["-t", "ext4", "-b", "4096", "-O", "^64bit"]),
    (1024, &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum"]),
    (2048, &["-t", "ext3", "-b", "2048"]),
    (1024, &["-t", "ext4", "-b", "1024", "-O", "fast_commit", "-J", "size=2,fast_commit_size=256"]),
];

impl Images {
    fn new((block_size, args): (usize, &[&str])) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        let mut all = vec!["-q", "-F", "-U", "01234567-89ab-cdef-0123-456789abcdef"];
        all.extend(args);
        all.extend([image.to_str().unwrap(), "24M"]);
        run("mke2fs", &all);
        for (name, blocks) in [("three", 3), ("one", 1), ("many", 300)] {
            fs::write(dir.path().join(name), bytes(blocks, usize::try_from(blocks).unwrap() * block_size)).unwrap();
        }
        let mut magic = bytes(9, block_size);
        magic[..4].copy_from_slice(&0xC03B_3998u32.to_be_bytes());
        fs::write(dir.path().join("magic"), magic).unwrap();
        Self { dir, image, block_size }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn copy(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::copy(&self.image, &path).unwrap();
        path
    }

    /// The script with names of files put in.
    fn script(&self, text: &str) -> String {
        ["three", "one", "many", "magic"]
            .iter()
            .fold(text.to_owned(), |t, n| t.replace(&format!("${n}"), &self.path(n)))
    }

    /// The image after a script through debugfs.
    fn theirs(&self, script: &str) -> PathBuf {
        let image = self.copy("theirs");
        let output = spawn("debugfs", &["-w", "-f", "-", image.to_str().unwrap()], self.script(script).as_bytes());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.lines().all(|line| line.starts_with("debugfs 1.")), "{script}: {said}");
        image
    }

    /// The image after a script through the tool, which must succeed without a word.
    fn ours(&self, script: &str) -> PathBuf {
        let image = self.copy("ours");
        let output = tool(&["-w", image.to_str().unwrap()], self.script(script).as_bytes());
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{script}");
        image
    }

    /// A script is refused in one line, and the image is as it was.
    fn refused(&self, script: &str, why: &str) {
        let image = self.copy("refused");
        let output = tool(&["-w", image.to_str().unwrap()], self.script(script).as_bytes());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{script}: {said}");
        assert!(said.contains(why), "{script}: {said}");
        assert!(fs::read(image).unwrap() == fs::read(&self.image).unwrap(), "{script}: the image was changed");
    }

    fn block(&self, image: &Path, block: usize) -> Vec<u8> {
        let all = fs::read(image).unwrap();
        all[block * self.block_size..][..self.block_size].to_vec()
    }
}

fn logdump(image: &Path) -> String {
    let text = run("debugfs", &["-R", "logdump -aS", image.to_str().unwrap()]);
    // The superblock's checksum is as old as its other fields are; those are compared.
    text.lines().filter(|line| !line.starts_with("Journal checksum:")).collect::<Vec<_>>().join("\n")
}

/// Replays by e2fsck, and says that nothing else was wrong.
fn replayed(image: &Path) {
    let output = spawn("e2fsck", &["-fy", image.to_str().unwrap()], b"");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("recovering journal") || String::from_utf8_lossy(&output.stderr).contains("recovering"),
        "{said}"
    );
    assert!(output.status.code().is_some_and(|code| code <= 1) && !said.contains("? yes"), "{said}");
}

/// Scripts for both, and the blocks to look at.
const SCRIPTS: [&str; 7] = [
    "jo\njw -b 3000 $one\njc\n",
    "jo\njw -b 3000,3002-3003 $three\njw -b 3005 $one\njc\n",
    "jo\njw -b 3000-3002 $three\njw -r 3000,3002\njw -b 3002 $one\njc\n",
    "jo -c\njw -b 3000,3001,3005 $three\njw -r 3001\njc\njo\njw -b 3007 $one\njc\n",
    "journal_open\njournal_write -b 0xbb8-0xbba $three\njournal_write\njournal_close\n",
    "jo\njw -b 3000 $magic\njc\n",
    "jo -c\njw -b 3000-3299 $many\njc\n",
];

#[test]
fn the_log_is_that_of_debugfs() {
    for kind in KINDS {
        let images = Images::new(kind);
        for script in SCRIPTS {
            let (ours, theirs) = (images.ours(script), images.theirs(script));
            // In a descriptor that is full debugfs does not mark the last tag, as the kernel does.
            let full =
                |text: String| if script.contains("$many") { text.replace("flags 0xa", "flags 0x2") } else { text };
            assert_eq!(full(logdump(&ours)), full(logdump(&theirs)), "{kind:?}: {script}");
            let features = |image: &Path| {
                let text = run("dumpe2fs", &["-h", image.to_str().unwrap()]);
                let wanted = ["Filesystem features", "Journal features", "Journal start", "Journal sequence"];
                text.lines().filter(|l| wanted.iter().any(|w| l.starts_with(w))).map(str::to_owned).collect::<Vec<_>>()
            };
            assert_eq!(features(&ours), features(&theirs), "{kind:?}: {script}");
            // Replayed by e2fsck, by the tool, by debugfs: the same blocks.
            let by_us = images.dir.path().join("by-us");
            fs::copy(&ours, &by_us).unwrap();
            let output = tool(&["-w", "-R", "jr", by_us.to_str().unwrap()], b"");
            assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
            let by_debugfs = images.dir.path().join("by-debugfs");
            fs::copy(&ours, &by_debugfs).unwrap();
            spawn("debugfs", &["-w", "-R", "jr", by_debugfs.to_str().unwrap()], b"");
            replayed(&ours);
            replayed(&theirs);
            // debugfs writes no checksums of whole transactions that fit where something is revoked.
            let whole = !features(&ours)[0].contains("metadata_csum") && script.contains("jo -c");
            let theirs = (!(whole && script.contains("jw -r"))).then_some(&theirs);
            for image in [theirs, Some(&by_us), Some(&by_debugfs)].into_iter().flatten() {
                let part = |image: &Path| {
                    let all = fs::read(image).unwrap();
                    all[2995 * images.block_size..3310 * images.block_size].to_vec()
                };
                let differ = part(&ours).iter().zip(part(image)).position(|(a, b)| *a != b);
                let block = differ.map(|at| 2995 + at / images.block_size);
                assert_eq!(block, None, "{kind:?}: {script}: {}", image.display());
                let said = assert_clean(image, &format!("{kind:?}: {script}"));
                assert!(!said.contains("recovering"), "{kind:?}: {script}: {said}");
            }
        }
    }
}

#[test]
fn what_was_revoked_or_not_committed_stays_away() {
    for kind in KINDS {
        let images = Images::new(kind);
        let (three, one) = (fs::read(images.path("three")).unwrap(), fs::read(images.path("one")).unwrap());
        let part = |n: usize| three[n * images.block_size..][..images.block_size].to_vec();
        let old = images.block(&images.image, 3001);
        let image = images.ours("jo\njw -b 3000-3002 $three\njw -r 3001\njw -b 3002 $one\njw -c -b 3000 $one\njc\n");
        let dump = logdump(&image);
        replayed(&image);
        assert_eq!(images.block(&image, 3000), part(0), "{dump}");
        assert_eq!(images.block(&image, 3001), old, "{dump}");
        assert_eq!(images.block(&image, 3002), one, "{dump}");
        // What was not committed is overwritten by the next one.
        let image = images.ours("jo\njw -c -b 3000-3002 $three\njw -b 3001 $one\njc\njr\n");
        assert_eq!(images.block(&image, 3000), images.block(&images.image, 3000));
        assert_eq!(images.block(&image, 3001), one);
        // With nothing committed there is nothing to replay.
        let image = images.ours("jo\njw -c -b 3000 $one\njc\njr\n");
        assert_clean(&image, "nothing committed");
        assert_eq!(images.block(&image, 3000), images.block(&images.image, 3000));
    }
}

#[test]
fn the_kernel_replays_it() {
    for kind in KINDS {
        let images = Images::new(kind);
        let image = images.ours("jo -c\njw -b 3000-3299 $many\njw -r 3000\njw -b 3001 $magic\njc\n");
        let mount = images.dir.path().join("mount");
        fs::create_dir(&mount).unwrap();
        run("mount", &["-o", "loop", image.to_str().unwrap(), mount.to_str().unwrap()]);
        run("umount", &[mount.to_str().unwrap()]);
        let many = fs::read(images.path("many")).unwrap();
        assert_eq!(images.block(&image, 3000), images.block(&images.image, 3000), "{kind:?}");
        assert_eq!(images.block(&image, 3001), fs::read(images.path("magic")).unwrap(), "{kind:?}");
        assert_eq!(images.block(&image, 3299), many[299 * images.block_size..], "{kind:?}");
        assert_clean(&image, &format!("{kind:?}, replayed by the kernel"));
    }
}

#[test]
fn the_ring_goes_round_and_fills_up() {
    let images = Images::new(KINDS[0]);
    // Each round leaves the log empty at another place only if it is run by a mount; here it grows until it is full.
    let fill = format!("jo\n{}", "jw -b 3000-3299 $many\n".repeat(3));
    let image = images.ours(&format!("{fill}jc\n"));
    replayed(&image);
    images.refused(&format!("{fill}jw -b 3000-3299 $many\njc\n"), "the journal has no room: 30");
}

#[test]
fn a_journal_on_a_device_of_its_own() {
    let images = Images::new(KINDS[0]);
    let (journal, image) = (images.dir.path().join("log"), images.dir.path().join("with"));
    let uuid = "89abcdef-0123-4567-89ab-cdef01234567";
    run("mke2fs", &["-q", "-F", "-b", "1024", "-O", "journal_dev", "-U", uuid, journal.to_str().unwrap(), "4M"]);
    let loops: Vec<String> = vec![run("losetup", &["-f", "--show", journal.to_str().unwrap()]).trim().to_owned()];
    let made = spawn(
        "mke2fs",
        &[
            "-q",
            "-F",
            "-t",
            "ext4",
            "-b",
            "1024",
            "-J",
            &format!("device={}", loops[0]),
            image.to_str().unwrap(),
            "24M",
        ],
        b"",
    );
    run("losetup", &["-d", &loops[0]]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let before = fs::read(&journal).unwrap();
    let one = fs::read(images.path("one")).unwrap();
    let script = format!("jo -f {}\njw -b 3000 $one\njc\n", journal.display());
    // Nothing of a script that fails is on any device.
    let failed = tool(&["-w", image.to_str().unwrap()], images.script(&format!("{script}stat /nothing\n")).as_bytes());
    assert_eq!(failed.status.code(), Some(1));
    assert!(fs::read(&journal).unwrap() == before);
    // A dry run writes nothing, and needs no right to.
    fs::set_permissions(&journal, fs::Permissions::from_mode(0o444)).unwrap();
    let dry = tool(&["-w", "--dry-run", image.to_str().unwrap()], images.script(&script).as_bytes());
    assert_eq!(dry.status.code(), Some(0), "{}", String::from_utf8_lossy(&dry.stderr));
    assert!(fs::read(&journal).unwrap() == before);
    fs::set_permissions(&journal, fs::Permissions::from_mode(0o644)).unwrap();
    // What is taken back is all that came after `begin`, and nothing that came before.
    let script =
        format!("{script}begin\njo -f {0}\njw -b 3001 $one\njc\nabort\nbegin\nmkdir /x\nabort\n", journal.display());
    let done = tool(&["-w", image.to_str().unwrap()], images.script(&script).as_bytes());
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    let said = spawn("e2fsck", &["-fy", "-j", journal.to_str().unwrap(), image.to_str().unwrap()], b"");
    assert!(said.status.code().is_some_and(|code| code <= 1), "{}", String::from_utf8_lossy(&said.stdout));
    assert_eq!(images.block(&image, 3000), one);
    assert_eq!(images.block(&image, 3001), vec![0; 1024]);

    // From one session to the next: written, more written, and run.
    let (log, name) = (journal.to_str().unwrap(), image.to_str().unwrap());
    let lines = |options: &[&str], script: String| {
        let done = tool(&[options, &[name]].concat(), images.script(&script).as_bytes());
        (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let (status, said) = lines(&["-w"], format!("jo -f {log}\njw -b 3002 $one\njc\n"));
    assert_eq!(status, Some(0), "{said}");
    let (status, said) = lines(&["-w"], "jo\n".to_owned());
    assert_eq!(status, Some(1));
    assert!(said.contains("--no-replay opens it as it lies, journal_run -f DEVICE replays it then"), "{said}");
    let (status, said) = lines(&["-w", "--no-replay"], format!("jo -f {log}\njw -b 3003 $one\njc\n"));
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("the journal is not replayed: what it holds will be written over"), "{said}");
    assert_eq!(images.block(&image, 3002), vec![0; 1024]);
    let before = (fs::read(&image).unwrap(), fs::read(&journal).unwrap());
    let (status, _) = lines(&["-w", "--no-replay"], "jr\n".to_owned());
    assert_eq!(status, Some(1), "it is not said where the log lies");
    let (status, said) = lines(&["-w", "--no-replay", "--dry-run"], format!("jr -f {log}\n"));
    assert_eq!(status, Some(0), "{said}");
    assert!(before == (fs::read(&image).unwrap(), fs::read(&journal).unwrap()));
    let (status, said) = lines(&["-w", "--no-replay"], format!("jr -f {log}\n"));
    assert_eq!(status, Some(0), "{said}");
    assert_eq!((images.block(&image, 3002), images.block(&image, 3003)), (one.clone(), one));
    let clean = spawn("e2fsck", &["-fn", "-j", log, name], b"");
    assert_eq!(clean.status.code(), Some(0), "{}", String::from_utf8_lossy(&clean.stdout));
    // Both are as they were while a rollback file says so.
    let rollback = format!("{log}.daxkit-rollback");
    fs::write(&rollback, b"no such file was ever written by a tool").unwrap();
    let (status, said) = lines(&["-w"], format!("jo -f {log}\n"));
    assert_eq!(status, Some(1));
    assert!(said.contains(".daxkit-rollback"), "{said}");
}

#[test]
fn a_device_is_not_asked_for_a_journal_inside() {
    let images = Images::new(KINDS[0]);
    let image = images.dir.path().join("inside");
    fs::copy(&images.image, &image).unwrap();
    let script = images.script("jo -f /nothing/there\njw -b 3000 $one\njc\njr\n");
    let done = tool(&["-w", image.to_str().unwrap()], script.as_bytes());
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(0), "{said}");
    assert!(said.contains("-f /nothing/there: the journal lies inside the image; this is not looked at"), "{said}");
    assert_eq!(images.block(&image, 3000), fs::read(images.path("one")).unwrap());
}

#[test]
fn what_cannot_be_is_refused() {
    let images = Images::new(KINDS[0]);
    for (script, why) in [
        ("jw -b 3000 $one", "the journal is not open"),
        ("jc", "the journal is not open"),
        ("jo\njo", "the journal is open already"),
        ("jo -v 1", "version 2 or 3, not 1"),
        ("jo -v x", "x: not a version"),
        ("jo -q", "no option -q"),
        ("jo\njw -b 3000", "a file with the content of the blocks is wanted"),
        ("jo\njw -b 3000 /nothing", "/nothing: No such file"),
        ("jo\njw -b 3000-3003 $three", "it holds 3 blocks of 1024 bytes, not 4"),
        ("jo\njw -b 99999999 $one", "block:99999999"),
        ("jo\njw -r 99999999", "block:99999999"),
        ("jo\njw -b x $one", "x: not a block number"),
        ("jo\njw -b 5-3 $one", "5-3: ends before it begins"),
        ("jo\njw -b 0-18446744073709551615 $one", "more blocks than a journal holds"),
        ("jo\njr", "the journal is open; close it first"),
        ("jo\njw -b 3000 $one\njc\njo -c", "the log is not empty"),
        ("jo\njw -b 3000 $one\njc\nstat /nothing", "nothing"),
    ] {
        images.refused(script, why);
    }
    let readonly = images.copy("readonly");
    for request in ["jo", "jc", "jw", "jr"] {
        let output = tool(&["-R", request, readonly.to_str().unwrap()], b"");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains("reading only"), "{request}: {said}");
    }
    assert!(fs::read(readonly).unwrap() == fs::read(&images.image).unwrap());
    let none = Images::new((1024, &["-t", "ext2", "-b", "1024"]));
    none.refused("jo", "the file system has no journal");
    none.refused("jr", "the file system has no journal");
    // What was replayed is told in numbers.
    let image = images.ours("jo\njw -b 3000-3002 $three\njw -r 3001\njc\n");
    let json = tool(&["-w", "--json", "-R", "jr", image.to_str().unwrap()], b"");
    let told: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(told["command"], "journal_run");
    assert_eq!((&told["result"]["blocks"], &told["result"]["revoked"]), (&2.into(), &1.into()), "{told}");
    let again = tool(&["-w", "--json", "-R", "jr", image.to_str().unwrap()], b"");
    assert_eq!(String::from_utf8(again.stdout).unwrap(), "{\"command\":\"journal_run\",\"result\":null}\n");
}
