//! What keeps an image safe from edits: undo files, locks, and the rollback of changes that were cut short.

mod common;

use common::judge::assert_clean;
use common::{Scratch, fails, ours, run, spawn, stderr, stdout, tool};
use daxkit_device::rollback::{RollbackError, rollback_path, write_all_or_none};
use daxkit_device::{BlockDevice, FaultInjector, FaultPlan, FileDevice, FileOptions, MemoryDevice, Overlay};
use std::path::{Path, PathBuf};
use std::process::Output;

fn good(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(output), stderr(output));
}

fn sound(image: &str) {
    assert_clean(Path::new(image), "after edits");
}

/// Edits of every kind, more than fit into a small journal when `much` is said.
fn script(scratch: &Scratch, much: bool) -> Vec<u8> {
    let mut script = "mkdir a\nchattr +x hello\nrm sub/data\nsymlink s a\n".to_owned();
    if much {
        let big = scratch.path("big");
        std::fs::write(&big, vec![0x77; 3 << 20]).unwrap();
        script += &format!("write {} big\n", big.display());
        script += &(0..400).map(|n| format!("mkdir a/{n}\n")).collect::<String>();
    }
    script.into_bytes()
}

/// Both ways into an image: through the journal, and in place.
const ROUTES: [(&[&str], &str); 3] = [
    (&["-t", "ext4", "-b", "1024"], "journal"),
    (&["-t", "ext4", "-b", "4096"], "journal"),
    (&["-t", "ext2", "-b", "1024"], "in-place"),
];

#[test]
fn an_undo_file_leads_back_byte_for_byte() {
    let scratch = Scratch::new();
    for (n, (args, how)) in ROUTES.into_iter().enumerate() {
        let image = scratch.image("image", "32M", args);
        let text = image.to_str().unwrap();
        let before = std::fs::read(&image).unwrap();
        for options in [&["-w"][..], &["-w", "--each"], &["-w", "-D"]] {
            let undo = scratch.path(&format!("undo{n}{}", options.concat()));
            let undo_text = undo.to_str().unwrap();
            let edits = [b"begin\n", script(&scratch, true).as_slice(), b"commit\nmkdir b\nrmdir a/7\n"].concat();
            let output = tool(&[options, &["--json", "-z", undo_text, text]].concat(), &edits);
            good(&output);
            assert!(stdout(&output).contains(&format!("\"how\":\"{how}\"")), "{}", stdout(&output));
            assert_eq!(stderr(&output), format!("dax-debugfs: note: e2undo {undo_text} {text} takes it back\n"));
            assert!(std::fs::read(&image).unwrap() != before);
            sound(text);
            // What is there already is not written to.
            let there = std::fs::read(&undo).unwrap();
            assert!(fails(&["-w", "-z", undo_text, "-R", "mkdir c", text]).contains(": exists already"));
            assert!(std::fs::read(&undo).unwrap() == there && !ours(&image, "ls -p /").contains("/c/"));
            run("e2undo", &[undo_text, text]);
            assert!(std::fs::read(&image).unwrap() == before, "{args:?} {options:?}");
        }
    }
}

#[test]
fn an_undo_file_is_made_with_the_first_change() {
    let scratch = Scratch::new();
    let image = scratch.image("image", "16M", &["-t", "ext4"]);
    let (text, undo) = (image.to_str().unwrap(), scratch.path("undo"));
    let undo_text = undo.to_str().unwrap();
    for script in [&b"ls\n"[..], b"mkdir a\nstat nosuch\n", b"begin\nmkdir a\nabort\n"] {
        tool(&["-w", "-z", undo_text, text], script);
        assert!(!undo.exists(), "{script:?}");
    }
    let before = std::fs::read(&image).unwrap();
    let message = fails(&["-w", "-z", "/nosuch/undo", "-R", "mkdir a", text]);
    assert!(message.contains("-z /nosuch/undo: cannot create the undo file: "), "{message}");
    assert!(std::fs::read(&image).unwrap() == before);
    // A file system that begins later in its file: e2undo finds it by itself.
    let disk = scratch.path("disk");
    std::fs::write(&disk, [vec![0xee; 1 << 20], before.clone()].concat()).unwrap();
    let output = tool(&["-w", "--offset", "1M", "-z", undo_text, disk.to_str().unwrap()], b"mkdir a\n");
    good(&output);
    assert!(std::fs::read(&disk).unwrap()[1 << 20..] != before);
    run("e2undo", &[undo_text, disk.to_str().unwrap()]);
    assert!(std::fs::read(&disk).unwrap() == [vec![0xee; 1 << 20], before].concat());
}

#[test]
fn an_image_in_use_is_not_edited() {
    let scratch = Scratch::new();
    let image = scratch.image("image", "16M", &["-t", "ext4"]);
    let text = image.to_str().unwrap();
    let before = std::fs::read(&image).unwrap();
    let edit = ["-w", "-R", "mkdir a", text];
    {
        let holder = FileDevice::open(&image, FileOptions::read_write()).unwrap();
        let me = format!("{text}: locked by process {}", std::process::id());
        assert!(fails(&edit).contains(&me));
        // Who only looks is told, and looks.
        let output = tool(&["-R", "cat hello", text], b"");
        good(&output);
        assert_eq!(stdout(&output), "hello, world\n");
        assert!(stderr(&output).contains("warning") && stderr(&output).contains(&me), "{}", stderr(&output));
        drop(holder);
    }
    let device = run("losetup", &["--show", "-f", text]).trim().to_owned();
    let behind = format!("{text}: behind loop device {}", device.trim_start_matches("/dev/"));
    let mount = scratch.path("mount");
    std::fs::create_dir(&mount).unwrap();
    let (of_file, of_device) = {
        let of_file = fails(&edit);
        run("mount", &[&device, mount.to_str().unwrap()]);
        let of_device = fails(&["-w", "-R", "mkdir a", &device]);
        run("umount", &[mount.to_str().unwrap()]);
        run("losetup", &["-d", &device]);
        (of_file, of_device)
    };
    assert!(of_file.contains(&behind), "{of_file}");
    assert!(of_device.contains(&format!("{device}: mounted at ")), "{of_device}");
    assert!(!ours(&image, "ls -p /").contains("/a/"));
    // Mounting has changed the superblock; the tree is what it was.
    assert_eq!(std::fs::metadata(&image).unwrap().len(), before.len() as u64);
}

#[test]
fn an_image_that_cannot_be_written_is_one_line() {
    let scratch = Scratch::new();
    let image = scratch.image("image", "16M", &["-t", "ext4"]);
    let text = image.to_str().unwrap();
    let before = std::fs::read(&image).unwrap();
    let device = run("losetup", &["--show", "-r", "-f", text]).trim().to_owned();
    let message = fails(&["-w", "-R", "mkdir a", &device]);
    let dry = tool(&["-w", "--dry-run", "-R", "mkdir a", &device], b"");
    run("losetup", &["-d", &device]);
    assert!(message.contains(&format!("{device}: ")), "{message}");
    // A dry run needs no right to write.
    good(&dry);
    assert!(stdout(&dry).contains("inode:2.i_links_count: 4 -> 5"), "{}", stdout(&dry));
    assert!(fails(&["-w", "-R", "mkdir a", "/nosuch/image"]).contains("/nosuch/image"));
    assert!(fails(&["-w", "-R", "mkdir a", scratch.path("tree").to_str().unwrap()]).contains("is a directory"));
    assert!(fails(&["-D", "-R", "ls", "/sys/kernel/uevent_seqnum"]).contains("cannot use direct I/O: "));
    assert!(std::fs::read(&image).unwrap() == before);
}

#[test]
fn block_devices_are_edited_like_files() {
    let scratch = Scratch::new();
    for (args, _) in ROUTES {
        let image = scratch.image("image", "32M", args);
        let text = image.to_str().unwrap();
        let before = std::fs::read(&image).unwrap();
        let (undo, edits) = (scratch.path("undo"), script(&scratch, true));
        let device = run("losetup", &["--show", "-f", text]).trim().to_owned();
        let output = tool(&["-w", "-D", "-z", undo.to_str().unwrap(), &device], &edits);
        let left_behind = rollback_path(Path::new(&device)).exists();
        let check = spawn("e2fsck", &["-fn", &device], b"");
        let tree = stdout(&tool(&["-R", "ls -p /", &device], b""));
        run("e2undo", &[undo.to_str().unwrap(), &device]);
        run("losetup", &["-d", &device]);
        good(&output);
        good(&check);
        assert!(!left_behind && tree.contains("/a/") && tree.contains("/big/"), "{tree}");
        assert!(std::fs::read(&image).unwrap() == before);
        std::fs::remove_file(undo).unwrap();
    }
}

/// Leaves an image as a run does that is killed while it writes in place: half of a change, and the rollback file.
fn cut_short(image: &Path, offset: u64) -> PathBuf {
    let bytes = std::fs::read(image).unwrap();
    let file = FileDevice::open(image, FileOptions::read_write().offset(offset)).unwrap();
    let overlay = Overlay::new(MemoryDevice::from_bytes(&bytes[usize::try_from(offset).unwrap()..]));
    // A label, and rubbish where descriptors and inodes are.
    overlay.write_at(1024 + 120, b"new").unwrap();
    overlay.write_at(2048, &[0xa5; 300_000]).unwrap();
    let device = FaultInjector::new(&file, FaultPlan::new().cut_after(100_000));
    let error = write_all_or_none(image, offset, &device, &overlay).unwrap_err();
    assert!(matches!(error, RollbackError::Device(_)), "{error}");
    drop(device);
    assert!(std::fs::read(image).unwrap() != bytes);
    rollback_path(image)
}

#[test]
fn a_change_that_was_cut_short_is_rolled_back_by_who_opens_the_image() {
    let scratch = Scratch::new();
    let image = scratch.image("image", "16M", &["-t", "ext2", "-b", "1024"]);
    let text = image.to_str().unwrap();
    let before = std::fs::read(&image).unwrap();
    let rollback = cut_short(&image, 0);
    let half = std::fs::read(&image).unwrap();
    // Who may not write sees the old content, by whatever name the image is called.
    let link = scratch.path("link");
    std::os::unix::fs::symlink(&image, &link).unwrap();
    for (options, name) in [(&["-R", "cat hello"][..], text), (&["-R", "cat hello"], link.to_str().unwrap())] {
        let output = tool(&[options, &[name]].concat(), b"");
        good(&output);
        assert_eq!(stdout(&output), "hello, world\n");
        let note = format!("dax-debugfs: note: {name}: a change that was cut short is, in memory, rolled back\n");
        assert_eq!(stderr(&output), note);
    }
    good(&tool(&["-w", "--dry-run", text], b"mkdir a\n"));
    assert!(std::fs::read(&image).unwrap() == half && rollback.exists());
    // Who may write puts it back, for good, before anything else.
    let output = tool(&["-w", link.to_str().unwrap()], b"stat nosuch\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("a change that was cut short was rolled back"), "{}", stderr(&output));
    assert!(std::fs::read(&image).unwrap() == before && !rollback.exists());
    let rollback = cut_short(&image, 0);
    good(&tool(&["-w", text], b"mkdir a\n"));
    assert!(!rollback.exists() && ours(&image, "ls -p /").contains("/a/"));
    sound(text);
}

#[test]
fn a_way_back_that_is_none_stops_who_would_write() {
    let scratch = Scratch::new();
    let image = scratch.image("image", "16M", &["-t", "ext4"]);
    let text = image.to_str().unwrap();
    let before = std::fs::read(&image).unwrap();
    let rollback = rollback_path(&image);
    std::fs::write(&rollback, b"junk").unwrap();
    assert!(fails(&["-w", "-R", "mkdir a", text]).contains("image.daxkit-rollback\": not an undo file"));
    let output = tool(&["-R", "cat hello", text], b"");
    good(&output);
    assert!(stderr(&output).contains("half changed: rollback file "), "{}", stderr(&output));
    std::fs::remove_file(&rollback).unwrap();
    // One of another file system in the same file.
    let disk = scratch.path("disk");
    std::fs::write(&disk, [before.clone(), before.clone()].concat()).unwrap();
    let disk_text = disk.to_str().unwrap();
    let rollback = cut_short(&disk, 16 << 20);
    let message = fails(&["-w", "-R", "mkdir a", disk_text]);
    assert!(message.contains("stands, for the file system at byte 16777216 of the image"), "{message}");
    assert_eq!(stdout(&tool(&["-R", "cat hello", disk_text], b"")), "hello, world\n");
    good(&tool(&["-w", "--offset", "16M", "-R", "ls", disk_text], b""));
    assert!(!rollback.exists() && std::fs::read(&disk).unwrap() == [before.clone(), before].concat());
}

#[test]
fn direct_io_reads_and_writes_the_same() {
    let scratch = Scratch::new();
    for (args, _) in ROUTES {
        let (one, other) = (scratch.image("one", "32M", args), scratch.path("other"));
        std::fs::copy(&one, &other).unwrap();
        let edits = script(&scratch, true);
        let (plain, direct) =
            (tool(&["-w", one.to_str().unwrap()], &edits), tool(&["-w", "-D", other.to_str().unwrap()], &edits));
        good(&plain);
        good(&direct);
        assert_eq!(ours(&one, "ls -l /"), stdout(&tool(&["-D", "-R", "ls -l /", other.to_str().unwrap()], b"")));
        sound(other.to_str().unwrap());
        let big = |image: &Path| {
            spawn(env!("CARGO_BIN_EXE_dax-debugfs"), &["-D", "-R", "cat big", image.to_str().unwrap()], b"")
        };
        assert!(big(&one).stdout == vec![0x77; 3 << 20] && big(&other).stdout == vec![0x77; 3 << 20]);
    }
}
