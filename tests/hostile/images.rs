//! The sound images that are damaged: small ones, with every structure there is in one of them.

use super::tools::{dax_mkfs, output, succeed, system, told};
use rustix::fs::{CWD, FileType, XattrFlags};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Name, source, options, size.
type Shape = (&'static str, fn(&Path), &'static [&'static str], &'static str);

const SHAPES: &[Shape] = &[
    ("all", plant, &["-b", "1024", "-O", "ea_inode,orphan_file,quota,project,fast_commit"], "4M"),
    ("old", plant, &["-t", "ext2", "-b", "1024", "-I", "128", "-O", "^resize_inode"], "2M"),
    (
        "inline",
        plant,
        &["-b", "2048", "-g", "512", "-O", "inline_data,mmp,meta_bg,^resize_inode,casefold,metadata_csum_seed"],
        "3M",
    ),
    ("clusters", plant, &["-O", "bigalloc,^resize_inode,^metadata_csum,uninit_bg,sparse_super2", "-C", "16384"], "4M"),
    ("wide", wide, &["-b", "1024", "-O", "large_dir"], "2M"),
];

/// Names of the images, in the order of their files.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    SHAPES.iter().map(|(name, ..)| *name).chain(["logged"])
}

/// Copies the images to where they stay.
pub(crate) fn keep() -> PathBuf {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hostile-images");
    fs::create_dir_all(&kept).expect("a directory");
    for name in names() {
        fs::copy(all().join(name), kept.join(name)).expect("a copy");
    }
    kept
}

/// A directory with all images, made once, or given.
pub(crate) fn all() -> &'static Path {
    static GIVEN: LazyLock<Option<PathBuf>> =
        LazyLock::new(|| std::env::var_os(super::worker::IMAGES).map(PathBuf::from));
    if let Some(given) = &*GIVEN {
        return given;
    }
    static IMAGES: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
        let place = tempfile::tempdir().expect("a temporary directory");
        for (name, plant, options, size) in SHAPES {
            let source = place.path().join("source");
            fs::create_dir(&source).expect("mkdir");
            plant(&source);
            let mut command = dax_mkfs();
            command.args(["-q", "--reproducible", "--pmem-align", "none", "--holes", "zero-blocks"]).args(*options);
            let out = output(command.arg("-d").arg(&source).arg(place.path().join(name)).arg(size));
            assert!(out.status.success(), "{}", told(&command, &out));
            fs::remove_dir_all(&source).expect("removed");
        }
        logged(place.path());
        place
    });
    IMAGES.path()
}

fn write(path: PathBuf, content: impl AsRef<[u8]>) {
    fs::write(path, content).expect("write");
}

fn attribute(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty())
        .unwrap_or_else(|e| panic!("setting {name} on {}: {e}", path.display()));
}

/// A little of everything.
fn plant(at: &Path) {
    fs::create_dir_all(at.join("a/b/c")).expect("mkdir");
    write(at.join("a/b/c/file"), "down here");
    write(at.join("tiny"), "tiny");
    write(at.join("medium"), vec![3; 100]);
    write(at.join("large"), vec![7; 30_000]);
    // Many pieces, so that maps have several levels, far enough for all indirect ones.
    let file = File::create(at.join("pieces")).expect("create");
    file.set_len(80 << 20).expect("length");
    for i in 0..100 {
        file.write_all_at(&[i as u8 | 1; 1000], i * 8192).expect("write");
    }
    file.write_all_at(b"the end", (80 << 20) - 7).expect("write");
    fs::create_dir(at.join("many")).expect("mkdir");
    for i in 0..60 {
        write(at.join(format!("many/{i}-{}", "n".repeat(90))), "");
    }
    symlink("a/b/c/file", at.join("link")).expect("symlink");
    symlink("s".repeat(300), at.join("slow")).expect("symlink");
    symlink("loop", at.join("loop")).expect("symlink");
    fs::hard_link(at.join("tiny"), at.join("a/tiny-too")).expect("link");
    rustix::fs::mknodat(CWD, at.join("fifo"), FileType::Fifo, 0o600.into(), 0).expect("fifo");
    attribute(&at.join("tiny"), "user.short", b"value");
    attribute(&at.join("large"), "user.long", &[b'v'; 500]);
    attribute(&at.join("large"), "user.short", b"value");
    let list = [2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 9, 0, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255];
    let list = [&list[..], &[16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255]].concat();
    attribute(&at.join("medium"), "system.posix_acl_access", &list);
}

/// A directory whose index has two levels.
fn wide(at: &Path) {
    fs::create_dir(at.join("wide")).expect("mkdir");
    write(at.join("wide/0"), "");
    for i in 1..1200 {
        fs::hard_link(at.join("wide/0"), at.join(format!("wide/{i}-{}", "w".repeat(180)))).expect("link");
    }
    // A large value, for an inode of its own.
    let file = at.join("file");
    write(file.clone(), vec![1; 5000]);
    attribute(&file, "user.value", &[b'v'; 600]);
}

/// An image whose journal waits to be replayed, with fast commits: taken from under a mounted file system.
fn logged(place: &Path) {
    let image = place.join("mounted");
    let mut command = dax_mkfs();
    command.args(["-q", "-b", "1024", "-O", "fast_commit,^resize_inode", "-J", "size=1", "-N", "256"]);
    let out = output(command.arg(&image).arg("4M"));
    assert!(out.status.success(), "{}", told(&command, &out));
    let at = place.join("mnt");
    fs::create_dir(&at).expect("mkdir");
    let mounted = succeed(system("mount").args(["-t", "ext4", "-o", "loop"]).arg(&image).arg(&at));
    mounted.unwrap_or_else(|told| panic!("the kernel does not mount it (as root, with loop devices)\n{told}"));
    for i in 0..30 {
        write(at.join(format!("file{i}")), vec![3; i * 50]);
    }
    succeed(system("sync").arg("-f").arg(&at)).unwrap_or_else(|told| panic!("{told}"));
    fs::create_dir(at.join("dir")).expect("mkdir");
    for i in 0..10 {
        let path = at.join(format!("dir/file{i}"));
        write(path.clone(), vec![4; 3000]);
        File::open(&path).and_then(|f| f.sync_all()).expect("fsync");
        fs::remove_file(at.join(format!("file{i}"))).expect("unlink");
    }
    File::open(at.join("dir/file1")).and_then(|f| f.sync_all()).expect("fsync");
    fs::copy(&image, place.join("logged")).expect("a copy");
    succeed(system("umount").arg(&at)).unwrap_or_else(|told| panic!("{told}"));
    fs::remove_file(&image).expect("removed");
}
