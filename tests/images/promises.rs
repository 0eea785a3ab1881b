//! What is promised about sources and targets, where it takes a kernel or a race to see it.

use super::oracle::{self, Mounted};
use super::tools::{dax_mkfs, output, succeed, system};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Stdio};

/// A source whose one large file is read before `last`.
fn source(at: &Path) {
    fs::create_dir(at).expect("mkdir");
    let piece = super::fixtures::bytes(5, 1 << 20);
    for n in 0..4 {
        let file = File::create(at.join(format!("large{n}"))).expect("create");
        for i in 0..128 {
            file.write_all_at(&piece, i << 20).expect("write");
        }
    }
    fs::write(at.join("last"), vec![1; 100_000]).expect("write");
}

fn begin(args: &[&std::ffi::OsStr]) -> Child {
    dax_mkfs().args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the tool runs")
}

/// Waits until the process has written so many bytes, or ended.
fn wait_for_writes(child: &mut Child, bytes: u64) {
    while child.try_wait().expect("a child").is_none() {
        let io = fs::read_to_string(format!("/proc/{}/io", child.id())).unwrap_or_default();
        let written = |key: &str| io.lines().find_map(|l| l.strip_prefix(key)?.trim().parse::<u64>().ok()).unwrap_or(0);
        // copy_file_range counts as neither; blocks of the page cache that became dirty do.
        if written("wchar:").max(written("write_bytes:")) >= bytes {
            return;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_source_that_changes_is_named_and_leaves_no_image() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let root = scratch.path().join("source");
    source(&root);
    let image = scratch.path().join("image");
    let mut child = begin(&["-q".as_ref(), "-d".as_ref(), root.as_os_str(), image.as_os_str(), "1G".as_ref()]);
    wait_for_writes(&mut child, 1 << 20);
    // What has just been copied, and what has not been yet: all of them change, so one of them is noticed.
    for name in ["large0", "large1", "large2", "large3", "last"] {
        let mut file = File::options().append(true).open(root.join(name)).expect("open");
        file.write_all(b"more").expect("append");
    }
    let mut text = String::new();
    let status = child.wait().expect("a child");
    child.stderr.take().expect("piped").read_to_string(&mut text).expect("readable");
    assert_eq!(status.code(), Some(1), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("changed while the image was made") && text.contains("/source/l"), "{text}");
    assert!(!image.exists());
    assert_eq!(fs::read_dir(scratch.path()).expect("list").count(), 1);
}

#[test]
fn a_killed_run_over_an_old_image_leaves_no_file_system() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let root = scratch.path().join("source");
    source(&root);
    let image = scratch.path().join("image");
    succeed(system("mke2fs").args(["-q", "-F", "-t", "ext4"]).arg(&image).arg("1G")).expect("an old file system");
    assert_eq!(oracle::looks_like_a_file_system(&image), Some("ext4".to_owned()));
    let mut child = begin(&["-q".as_ref(), "-F".as_ref(), "-d".as_ref(), root.as_os_str(), image.as_os_str()]);
    wait_for_writes(&mut child, 1 << 20);
    assert!(child.try_wait().expect("a child").is_none(), "it was too fast to be killed half way");
    child.kill().expect("killed");
    child.wait().expect("a child");
    assert_eq!(oracle::looks_like_a_file_system(&image), None);
    let mut e2fsck = system("e2fsck");
    let out = output(e2fsck.arg("-fn").arg(&image));
    assert_eq!(out.status.code(), Some(8), "no superblock is left to be found");
}

#[test]
fn a_mounted_target_is_refused() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let image = scratch.path().join("image");
    succeed(dax_mkfs().arg("-q").arg(&image).arg("16M")).expect("an image");
    let before = fs::read(&image).expect("the image");
    let mounted = Mounted::new(&image, &scratch.path().join("mnt"), "ro").expect("mounted");
    let mut again = dax_mkfs();
    let out = output(again.arg("-F").arg(&image));
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!((out.status.code(), text.lines().count()), (Some(1), 1), "{text}");
    assert!(text.contains("/mnt") || text.contains("loop"), "{text}");
    mounted.unmount().expect("unmounted");
    assert!(fs::read(&image).expect("the image") == before);
}
