//! The same bytes from every machine, whatever the shape of the image: host file system, order of creation, user, environment,
//! number of threads and time, all of them changed at once, change nothing. (One by one they are changed in
//! `images/reproducible.rs`, for images of the default shape.)

use super::common::{Numbers, holds, memory, scratch};
use super::oracle;
use super::tools::{dax_mkfs, note, output, told};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Nobody, who may read the sources and own nothing else.
const NOBODY: &str = "65534";

/// The tree, made in an order of the caller's choice.
fn plant(at: &Path, order: u64) {
    let mut numbers = Numbers(order);
    let mut dirs: Vec<String> = (0..40).map(|i| format!("dir{i}")).collect();
    dirs.extend((0..40).map(|i| format!("dir{i}/below")));
    let mut files: Vec<(String, usize)> = (0..2000).map(|i| (format!("dir{}/file{i}", i % 37), i % 300)).collect();
    files.extend([("large".to_owned(), 5 << 20), ("dir1/below/medium".to_owned(), 70_000)]);
    let mut shuffle = |n: usize| -> Vec<usize> {
        let mut all: Vec<usize> = (0..n).collect();
        if order > 1 {
            for i in (1..n).rev() {
                all.swap(i, numbers.below(i as u64 + 1) as usize);
            }
        }
        all
    };
    for i in shuffle(40).into_iter().chain(shuffle(40).into_iter().map(|i| i + 40)) {
        fs::create_dir(at.join(&dirs[i])).expect("mkdir");
        if order > 1 {
            // Names that come and go shape the host's directory.
            fs::write(at.join(&dirs[i]).join("gone"), b"").expect("write");
        }
    }
    for i in shuffle(files.len()) {
        let (path, len) = &files[i];
        fs::write(at.join(path), vec![i as u8; *len]).expect("write");
    }
    for dir in &dirs {
        let _ = fs::remove_file(at.join(dir).join("gone"));
    }
    // Holes that every host file system keeps.
    let sparse = File::create(at.join("sparse")).expect("create");
    sparse.set_len(6 << 20).expect("length");
    for i in [0, 3, 9] {
        sparse.write_all_at(&[1; 65_536], i * (512 << 10)).expect("write");
    }
    let (first, second) = if order > 1 { ("two", "one") } else { ("one", "two") };
    fs::write(at.join(first), b"linked").expect("write");
    fs::hard_link(at.join(first), at.join(second)).expect("link");
    symlink("nowhere", at.join("fast")).expect("symlink");
    symlink("x".repeat(200), at.join("slow")).expect("symlink");
    rustix::fs::mknodat(CWD, at.join("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("fifo");
    fs::set_permissions(at.join("dir3"), Permissions::from_mode(0o2755)).expect("chmod");
    // Times last, from the bottom up.
    let mut paths: Vec<PathBuf> = files.iter().map(|(p, _)| at.join(p)).collect();
    paths.extend(["sparse", "one", "two", "fast", "slow", "fifo"].map(|n| at.join(n)));
    paths.extend(dirs.iter().rev().map(|d| at.join(d)));
    paths.push(at.to_owned());
    for path in paths {
        let mark = path.strip_prefix(at).expect("below").as_os_str().len() as i64;
        let t = Timespec { tv_sec: 1_500_000_000 + mark, tv_nsec: (mark * 1_000_001) as _ };
        let times = Timestamps { last_access: t, last_modification: t };
        rustix::fs::utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("times");
    }
    fs::set_permissions(at, Permissions::from_mode(0o755)).expect("chmod");
}

/// The image a command makes, as a hash; it is also shown to e2fsck.
fn hash(mut command: Command, image: &Path) -> blake3::Hash {
    let out = output(&mut command);
    assert!(out.status.success(), "{}", told(&command, &out));
    holds(oracle::clean(image));
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(image).expect("made")).expect("readable");
    fs::remove_file(image).expect("removed");
    hasher.finalize()
}

/// The same program, run as nobody.
fn as_nobody(command: Command) -> Command {
    let mut nobody = super::tools::system("setpriv");
    nobody.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--"]);
    nobody.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => nobody.env(name, value),
            None => nobody.env_remove(name),
        };
    }
    nobody
}

#[test]
fn the_same_bytes_whoever_and_wherever() {
    let (disk, tmpfs, out) = (scratch(), memory(), scratch());
    for dir in [disk.path(), tmpfs.path(), out.path()] {
        fs::set_permissions(dir, Permissions::from_mode(0o777)).expect("chmod");
    }
    // The tool itself where nobody may run it.
    let tool = out.path().join("tool");
    fs::copy(dax_mkfs().get_program(), &tool).expect("copied");
    let sources = [disk.path().join("a"), tmpfs.path().join("another-place")];
    for (order, at) in (1..).zip(&sources) {
        fs::create_dir(at).expect("mkdir");
        plant(at, order);
    }
    let [first, second] = &sources;
    let shapes: [&[&str]; 7] = [
        &["--reproducible"],
        &[],
        &["-b", "1024", "-O", "^has_journal"],
        &["-O", "inline_data,orphan_file,quota,project,ea_inode", "-N", "4000"],
        &["-t", "ext2", "-b", "1024", "-I", "128"],
        &["-O", "bigalloc,^resize_inode", "-C", "16384", "--holes", "zero-blocks"],
        &["--dax", "/dir1", "-O", "meta_bg,^resize_inode,^flex_bg,^metadata_csum,uninit_bg", "-g", "4096"],
    ];
    let mut hashes: Vec<(&[&str], blake3::Hash)> = Vec::new();
    for shape in shapes {
        let run = |source: &Path, name: &str, more: &[&str]| -> (Command, PathBuf) {
            let image = out.path().join(name);
            let mut command = Command::new(&tool);
            command.env_remove("SOURCE_DATE_EPOCH").args(["-q", "-F", "--owner", "0:0"]).args(shape).args(more);
            if !shape.contains(&"--reproducible") {
                command.env("SOURCE_DATE_EPOCH", "1600000000");
            }
            command.arg("-d").arg(source).arg(&image).arg("64M");
            (command, image)
        };
        let (command, image) = run(first, "image", &[]);
        let expected = hash(command, &image);
        let (command, image) = run(second, "of-nobody", &["--threads", "7"]);
        let mut command = as_nobody(command);
        command
            .env("TZ", "Pacific/Kiritimati")
            .env("LC_ALL", "tr_TR.UTF-8")
            .env("HOME", "/nonexistent")
            .current_dir("/");
        assert_eq!(hash(command, &image), expected, "{shape:?}: other bytes elsewhere");
        // What lay in the target does not show.
        let (command, image) = run(first, "used", &["--threads", "1"]);
        fs::write(&image, vec![0xee; 64 << 20]).expect("write");
        assert_eq!(hash(command, &image), expected, "{shape:?}: other bytes in a target that held data");
        hashes.push((shape, expected));
    }
    // And what should matter does.
    for (i, (a, hash_a)) in hashes.iter().enumerate() {
        for (b, hash_b) in &hashes[..i] {
            assert_ne!(hash_a, hash_b, "{a:?} and {b:?} give the same bytes");
        }
    }
    note(format!("{} shapes of image: the same bytes from everywhere", hashes.len()));
}

/// Identity follows the content: another byte, another UUID; the same content, the same UUID.
#[test]
fn identity_is_derived_from_the_content() {
    let (source, scratch) = (memory(), scratch());
    let uuid = |content: &[u8], args: &[&str]| {
        fs::write(source.path().join("file"), content).expect("write");
        for path in ["file", "."] {
            let t = Timespec { tv_sec: 1, tv_nsec: 0 };
            let times = Timestamps { last_access: t, last_modification: t };
            rustix::fs::utimensat(CWD, source.path().join(path), &times, AtFlags::empty()).expect("times");
        }
        let image = scratch.path().join("image");
        let mut command = dax_mkfs();
        command.args(["-q", "-F"]).args(args).arg("-d").arg(source.path()).arg(&image).arg("4M");
        let out = output(&mut command);
        assert!(out.status.success(), "{}", told(&command, &out));
        holds(oracle::dumpe2fs(&image))["Filesystem UUID"].clone()
    };
    let first = uuid(b"one", &["--reproducible"]);
    assert_eq!(first, uuid(b"one", &["--reproducible"]));
    assert_ne!(first, uuid(b"two", &["--reproducible"]), "content of the same length");
    assert_ne!(first, uuid(b"one", &["--reproducible", "-L", "label"]), "arguments");
    assert_ne!(uuid(b"one", &[]), uuid(b"one", &[]), "without it, chance");
    let given = "7f1d2c3b-4a59-4876-9504-a3b2c1d0e9f8";
    assert_eq!(uuid(b"one", &["--reproducible", "-U", given]), given);
}
