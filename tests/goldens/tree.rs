//! The trees the goldens are made from: the same content, times and permissions wherever they are made.

use rustix::fs::{AtFlags, CWD, FileType, Timespec, Timestamps, XattrFlags};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;

fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    fs::write(path, content).expect("write");
}

fn attribute(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty())
        .unwrap_or_else(|e| panic!("setting {name} on {}: {e}", path.display()));
}

/// Some of everything.
pub(crate) fn small(at: &Path) {
    write(at.join("hello"), "Hello, world!\n");
    write(at.join("empty"), "");
    write(at.join("medium"), (0..9000).map(|i| (i / 100) as u8).collect::<Vec<_>>());
    fs::create_dir_all(at.join("sub/empty")).expect("mkdir");
    write(at.join("sub/nested"), "nested\n");
    fs::hard_link(at.join("hello"), at.join("sub/hello-too")).expect("link");
    symlink("sub/nested", at.join("fast-link")).expect("symlink");
    symlink("slow/".repeat(20), at.join("slow-link")).expect("symlink");
    rustix::fs::mknodat(CWD, at.join("fifo"), FileType::Fifo, 0o640.into(), 0).expect("fifo");
    write(at.join("attributes"), "x");
    attribute(&at.join("attributes"), "user.color", b"blue");
    attribute(&at.join("attributes"), "user.size", &[b'l'; 200]);
    fs::set_permissions(at.join("sub"), Permissions::from_mode(0o2750)).expect("chmod");
}

/// Files that fit in an inode, and some that do not.
pub(crate) fn tiny(at: &Path) {
    for len in [0, 1, 60, 61, 130, 170] {
        write(at.join(format!("f{len}")), "0123456789".repeat(20).get(..len).expect("ASCII"));
    }
    fs::create_dir(at.join("dir")).expect("mkdir");
    write(at.join("dir/a"), "a");
    write(at.join("dir/with an attribute"), "with");
    attribute(&at.join("dir/with an attribute"), "user.a", b"b");
    symlink("x".repeat(80), at.join("link")).expect("symlink");
}

/// Attributes in inodes, blocks and inodes of their own; blocks that files share.
pub(crate) fn attributes(at: &Path) {
    for name in ["in-inode", "in-block", "in-inodes", "shares-1", "shares-2", "list"] {
        write(at.join(name), name);
    }
    attribute(&at.join("in-inode"), "user.short", b"short");
    attribute(&at.join("in-block"), "user.long", &[b'l'; 500]);
    attribute(&at.join("in-block"), "user.short", b"as well");
    attribute(&at.join("in-inodes"), "user.large", &[b'L'; 1500]);
    for i in 1..=2 {
        attribute(&at.join(format!("shares-{i}")), "user.same", &[b's'; 300]);
        attribute(&at.join(format!("shares-{i}")), "user.large", &[b'L'; 1500]);
    }
    // owner rw, user 1000 r, group r, mask r, others nothing
    let entries: [(u16, u16, u32); 5] =
        [(1, 6, u32::MAX), (2, 4, 1000), (4, 4, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)];
    let mut list = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        list.extend(tag.to_le_bytes());
        list.extend(permissions.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    attribute(&at.join("list"), "system.posix_acl_access", &list);
}

/// A directory with an index.
pub(crate) fn wide(at: &Path) {
    fs::create_dir(at.join("wide")).expect("mkdir");
    write(at.join("wide/000"), "");
    for i in 1..300 {
        // One inode, so that the text is about the directory.
        fs::hard_link(at.join("wide/000"), at.join(format!("wide/{i:03}-{}", "n".repeat(i % 40)))).expect("link");
    }
}

/// Holes, and maps of more than one level.
pub(crate) fn sparse(at: &Path) {
    let make = |name: &str, len: u64, places: &mut dyn Iterator<Item = u64>| {
        let file = File::create(at.join(name)).expect("create");
        file.set_len(len).expect("length");
        for place in places {
            file.write_all_at(&[(place >> 12) as u8 | 1; 4096], place).expect("write");
        }
    };
    make("hole", 100_000, &mut std::iter::empty());
    make("head", 100_000, &mut (0..1));
    make("tail", 1 << 20, &mut [(1 << 20) - 4096].into_iter());
    make("pieces", 1 << 30, &mut (0..40).map(|i| i * 3 * 8192));
    make("far", 1 << 33, &mut [0, 1 << 20, 1 << 28, (1 << 33) - 4096].into_iter());
}

/// What gets the DAX flag, and what does not.
pub(crate) fn dax(at: &Path) {
    fs::create_dir_all(at.join("persistent/below")).expect("mkdir");
    fs::create_dir(at.join("one")).expect("mkdir");
    for (name, len) in
        [("persistent/exact", 2 << 20), ("persistent/below/more", (2 << 20) + 5000), ("one/file", 10_000)]
    {
        write(at.join(name), vec![len as u8 | 1; len]);
    }
    write(at.join("one/other"), "not here");
    symlink("exact", at.join("persistent/link")).expect("symlink");
    rustix::fs::mknodat(CWD, at.join("persistent/fifo"), FileType::Fifo, 0o600.into(), 0).expect("fifo");
}

/// Gives everything fixed times and, where nothing else was chosen, permissions; from the bottom up.
pub(crate) fn settle(at: &Path) {
    settle_below(at, &mut 0);
}

fn settle_below(path: &Path, count: &mut i64) {
    let meta = fs::symlink_metadata(path).expect("there");
    if meta.is_dir() {
        let mut below: Vec<_> = fs::read_dir(path).expect("readable").map(|e| e.expect("an entry").path()).collect();
        below.sort();
        below.iter().for_each(|p| settle_below(p, count));
    }
    // The umask decided otherwise.
    if (meta.is_file() || meta.is_dir()) && meta.permissions().mode() & 0o7777 != 0o2750 && !path.ends_with("list") {
        let mode = if meta.is_dir() { 0o755 } else { 0o644 };
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("chmod");
    } else if meta.permissions().mode() & 0o170_000 == 0o010_000 {
        fs::set_permissions(path, Permissions::from_mode(0o640)).expect("chmod");
    }
    *count += 1;
    let t = Timespec { tv_sec: 1_600_000_000 + *count, tv_nsec: (*count * 1000) as _ };
    let times = Timestamps { last_access: t, last_modification: t };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("times");
}
