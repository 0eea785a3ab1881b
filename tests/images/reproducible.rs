//! The same source and arguments give the same bytes: whatever clock, user, host file system, order of directories, number
//! of threads, or environment.

use super::fixtures;
use super::tools::{dax, dax_mkfs, output, succeed, system, told};
use super::{oracle, snapshot, tools};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const EPOCH: &str = "1500000000";

/// Makes an image and gives back the hash of its bytes.
fn digest(command: &mut Command, args: &[&str], source: &Path, image: &Path) -> blake3::Hash {
    let _ = fs::remove_file(image);
    command.args(args).arg("-q").arg("-d").arg(source).arg(image).arg("96M");
    let out = output(command);
    assert!(out.status.success(), "{}", told(command, &out));
    hash(image)
}

fn hash(image: &Path) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    let mut file = fs::File::open(image).expect("the image");
    std::io::copy(&mut file, &mut hasher).expect("a readable image");
    hasher.finalize()
}

fn with_epoch() -> Command {
    let mut command = dax_mkfs();
    command.env("SOURCE_DATE_EPOCH", EPOCH);
    command
}

/// A copy with all a file has but its times of access and change.
fn copy(from: &Path, to: &Path) {
    let mut command = system("cp");
    succeed(command.args(["-a", "--sparse=auto", "-T"]).arg(from).arg(to)).expect("a copy");
}

/// The same tree, its directories made in another order.
fn all_in_one_backwards(from: &Path, at: &Path) {
    fs::create_dir(at).expect("mkdir");
    fixtures::ON_ANY_HOST.into_iter().rev().for_each(|name| copy(&from.join(name), &at.join(name)));
    fixtures::finish(at);
}

#[test]
fn neither_clock_nor_host_nor_threads_matter() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let memory = tempfile::tempdir_in("/dev/shm").expect("a directory on the tmpfs at /dev/shm");
    let image = scratch.path().join("image");
    let one = scratch.path().join("one");
    fixtures::all_in_one(&one);
    let first = digest(&mut with_epoch(), &[], &one, &image);
    oracle::clean(&image).expect("clean");
    let told = oracle::dumpe2fs(&image).expect("a superblock");
    assert_eq!(told["Filesystem created"], "Fri Jul 14 02:40:00 2017");
    assert_eq!(told["Default directory hash"], "half_md4");
    let uuid = told["Filesystem UUID"].clone();
    let flags = &told["Filesystem flags"];
    assert_eq!(flags.trim(), "signed_directory_hash");

    let same = |what: &str, command: &mut Command, args: &[&str], source: &Path, image: &Path| {
        assert_eq!(digest(command, args, source, image), first, "{what}");
    };
    // Some time has passed since the first run: access times, and the clock.
    same("a second run", &mut with_epoch(), &[], &one, &image);
    for threads in ["1", "2", "7"] {
        same("threads", &mut with_epoch(), &["--threads", threads], &one, &image);
    }
    let other = memory.path().join("other-name-of-the-source");
    all_in_one_backwards(&one, &other);
    let in_memory = memory.path().join("other-image");
    same("another file system, order, and path", &mut with_epoch(), &[], &other, &in_memory);
    let mut odd = with_epoch();
    odd.env("MKE2FS_CONFIG", "/nonexistent").env("LC_ALL", "tr_TR.UTF-8").env("TZ", "Asia/Kathmandu").env("HOME", "/");
    odd.env("MKE2FS_FIRST_META_BG", "1").env("E2FSPROGS_FAKE_TIME", "1").current_dir("/");
    same("another environment", &mut odd, &[], &one, &image);
    // Over an old file of the right length that holds something else.
    fs::write(&image, fixtures::bytes(1, 96 << 20)).expect("write");
    let mut over = with_epoch();
    over.args(["-F", "-q", "-d"]).arg(&one).arg(&image);
    let out = output(&mut over);
    assert!(out.status.success(), "{}", tools::told(&over, &out));
    let told = oracle::dumpe2fs(&image).expect("a superblock");
    assert_eq!(told["Filesystem UUID"], uuid);

    // The option alone: times come from the source.
    let alone = digest(&mut dax_mkfs(), &["--reproducible"], &one, &image);
    assert_eq!(digest(&mut dax_mkfs(), &["--reproducible"], &other, &in_memory), alone);

    // What differs must show in the bytes, and in what is derived from them.
    fs::write(one.join("small/f1"), b"X").expect("write");
    let changed = digest(&mut with_epoch(), &[], &one, &image);
    assert_ne!(changed, first);
    let told = oracle::dumpe2fs(&image).expect("a superblock");
    assert_ne!(told["Filesystem UUID"], uuid);
}

#[test]
fn the_user_does_not_matter() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let open = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).expect("chmod");
    open(scratch.path(), 0o777);
    // Where the tool lies nobody else may look.
    let tool = scratch.path().join("dax-mkfs");
    fs::copy(dax("dax-mkfs"), &tool).expect("a copy of the tool");
    open(&tool, 0o755);
    let source = scratch.path().join("source");
    fixtures::make("small", &source);
    fixtures::make("many", &source.join("many"));

    let args = ["--owner", "1000:1000"];
    let by_root = digest(&mut with_epoch(), &args, &source, &scratch.path().join("by-root"));
    let mut nobody = system("setpriv");
    nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&tool);
    nobody.env("SOURCE_DATE_EPOCH", EPOCH);
    let image: PathBuf = scratch.path().join("by-nobody");
    assert_eq!(digest(&mut nobody, &args, &source, &image), by_root);
    // And all of it belongs to whom it was given.
    let told = super::readers::volume(&image).expect("readable");
    let theirs = |p: &Vec<u8>| p != b"/lost+found";
    assert!(told.iter().filter(|(p, _)| theirs(p)).all(|(_, e)| (e.uid, e.gid) == (1000, 1000)));
    assert_eq!(told.len(), snapshot::of_directory(&source).expect("readable").len() + 1);
}

#[test]
fn the_source_may_hold_the_image() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    fs::write(scratch.path().join("file"), b"content").expect("write");
    let image = scratch.path().join("image");
    for round in 0..2 {
        let mut command = dax_mkfs();
        command.args(["-q", "-F", "-d"]).arg(scratch.path()).arg(&image).arg("16M");
        let out = output(&mut command);
        assert!(out.status.success(), "{}", told(&command, &out));
        let names: Vec<_> = super::readers::volume(&image).expect("readable").into_keys().collect();
        assert_eq!(names, [&b"/"[..], b"/file", b"/lost+found"], "round {round}");
    }
}
