//! The tree that images are made from before they are broken: small, and with some of everything that has a structure on disk.

use rustix::fs::{CWD, FileType, XattrFlags};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;

fn attribute(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty())
        .unwrap_or_else(|e| panic!("setting {name} on {}: {e}", path.display()));
}

/// Some of everything.
pub(crate) fn make(at: &Path) {
    fs::write(at.join("hello"), "Hello, world!\n").expect("write");
    fs::write(at.join("empty"), "").expect("write");
    fs::write(at.join("medium"), vec![7; 30_000]).expect("write");
    fs::create_dir_all(at.join("sub/deeper/still")).expect("mkdir");
    fs::write(at.join("sub/deeper/file"), "down here\n").expect("write");
    fs::hard_link(at.join("hello"), at.join("sub/hello-too")).expect("link");
    symlink("sub/deeper", at.join("fast-link")).expect("symlink");
    symlink("slow/".repeat(20), at.join("slow-link")).expect("symlink");
    rustix::fs::mknodat(CWD, at.join("fifo"), FileType::Fifo, 0o640.into(), 0).expect("fifo");
    fs::create_dir(at.join("wide")).expect("mkdir");
    for i in 0..90 {
        fs::write(at.join(format!("wide/a-file-with-a-longer-name-{i:03}")), "").expect("write");
    }
    let sparse = File::create(at.join("sparse")).expect("create");
    for i in 0..6 {
        sparse.write_all_at(&[i + 1; 1024], u64::from(i) * 9000).expect("write");
    }
    fs::write(at.join("attributes"), "x").expect("write");
    attribute(&at.join("attributes"), "user.color", b"blue");
    for name in ["attributes", "sub/deeper/file"] {
        attribute(&at.join(name), "user.long", &[b'l'; 300]);
    }
}
