//! The source trees the images are made from, built once per run.

use super::snapshot::{self, Snapshot, set_xattr};
use super::tools::{output, system};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps};
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// A source tree and what the host's system calls say of it.
pub(crate) struct Source {
    pub(crate) name: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) tree: Snapshot,
}

/// Names of all source trees, in the order the matrix counts them.
pub(crate) const NAMES: [&str; 7] = ["small", "names", "xattrs", "sparse", "many", "large", "large_xattrs"];

/// All of them. Each maker has its own: mke2fs changes the access times of what it reads.
pub(crate) struct Sources {
    all: Vec<Source>,
    /// Kept for their directories.
    _places: [tempfile::TempDir; 2],
}

impl Sources {
    /// Makes them.
    pub(crate) fn make() -> Self {
        let place = tempfile::tempdir().expect("a temporary directory");
        // Large attributes fit on tmpfs, not on most disks.
        let memory = tempfile::tempdir_in("/dev/shm").expect("a directory on the tmpfs at /dev/shm");
        let all = NAMES.into_iter().map(|name| {
            let path = if name == "large_xattrs" { memory.path() } else { place.path() }.join(name);
            make(name, &path);
            let tree = snapshot::settled(&path).expect("a readable source");
            Source { name, path, tree }
        });
        Self { all: all.collect(), _places: [place, memory] }
    }

    /// The one of this name.
    pub(crate) fn get(&self, name: &str) -> &Source {
        self.all.iter().find(|s| s.name == name).expect("a source of this name")
    }
}

/// Makes one of the trees of [`NAMES`] anew, for tests that change theirs, or copy it and so its access times.
pub(crate) fn make(name: &str, at: &Path) {
    let makers: [fn(&Path); 7] = [small, names, xattrs, sparse, many, large, large_xattrs];
    let (_, make) = NAMES.into_iter().zip(makers).find(|(n, _)| *n == name).expect("a source of this name");
    fs::create_dir(at).expect("mkdir");
    fs::set_permissions(at, Permissions::from_mode(0o755)).expect("chmod");
    make(at);
}

/// Trees that fit on any host.
pub(crate) const ON_ANY_HOST: [&str; 6] = ["small", "names", "xattrs", "sparse", "many", "large"];

/// One tree of several.
pub(crate) fn all_in_one(at: &Path) {
    fs::create_dir(at).expect("mkdir");
    ON_ANY_HOST.into_iter().for_each(|name| make(name, &at.join(name)));
    finish(at);
}

/// Mode and times of a root that do not depend on when it was filled.
pub(crate) fn finish(at: &Path) {
    fs::set_permissions(at, Permissions::from_mode(0o755)).expect("chmod");
    set_times(at, 1_400_000_000, 55);
}

/// Bytes that do not repeat soon, the same in every run.
pub(crate) fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut all = Vec::with_capacity(len + 8);
    while all.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        all.extend_from_slice(&state.to_le_bytes());
    }
    all.truncate(len);
    all
}

fn write(path: impl AsRef<Path>, content: &[u8]) {
    fs::write(path, content).expect("write");
}

/// Sets both times of a path, not following a symlink.
pub(crate) fn set_times(path: &Path, seconds: i64, nanos: i64) {
    let t = Timespec { tv_sec: seconds, tv_nsec: nanos as _ };
    rustix::fs::utimensat(CWD, path, &Timestamps { last_access: t, last_modification: t }, AtFlags::SYMLINK_NOFOLLOW)
        .expect("setting times");
}

/// What most trees have: files of sizes around every limit, directories, both sorts of symlinks, hard links.
fn small(at: &Path) {
    for len in [0, 1, 59, 60, 61, 127, 160, 1023, 1024, 1025, 4095, 4096, 4097, 12_288, 12_289, 65_536, 70_000] {
        write(at.join(format!("f{len}")), &bytes(len as u64, len));
    }
    fs::create_dir_all(at.join("a/b/c/d")).expect("mkdir");
    fs::create_dir(at.join("empty")).expect("mkdir");
    write(at.join("a/b/c/d/deep"), b"deep\n");
    write(at.join("a/zeroes"), &[0; 10_000]);
    for len in [1, 58, 59, 60, 61, 900] {
        // No component longer than a name can be: ext4-view refuses such a path.
        let target: String = "0123456789abcdefghi/".chars().cycle().take(len).collect();
        symlink(target, at.join(format!("link{len}"))).expect("symlink");
    }
    symlink("../f1", at.join("a/up")).expect("symlink");
    write(at.join("linked"), b"one inode");
    fs::hard_link(at.join("linked"), at.join("a/linked-too")).expect("link");
    fs::hard_link(at.join("linked"), at.join("a/b/linked-again")).expect("link");
    fs::hard_link(at.join("link60"), at.join("a/link60-too")).expect("link");
    set_times(&at.join("a/b"), 1_600_000_000, 123_456_789);
}

/// Odd names, types, owners, permissions and times.
fn names(at: &Path) {
    let mut longest: Vec<u8> = (1..=255).map(|b| if b == b'/' { b'x' } else { b }).collect();
    longest.truncate(255);
    let odd: [&[u8]; 16] = [
        &longest,
        b"new\nline",
        b"back\\slash \"quoted\" 'name'",
        b" blank ",
        b"-dash",
        b"...",
        b".hidden",
        b"\x01",
        b"\xff",
        b"\x80\x81\xfe",
        "\u{e4}\u{df}\u{1f4a9}".as_bytes(),
        b"*?[a-z]{}",
        b"%s%n",
        b"#comment",
        b"<12>",
        b"tab\there",
    ];
    for (i, name) in odd.into_iter().enumerate() {
        write(at.join(OsStr::from_bytes(name)), format!("{i}").as_bytes());
    }
    let dir = at.join(OsStr::from_bytes(&[b'd'; 255]));
    fs::create_dir(&dir).expect("mkdir");
    write(dir.join(OsStr::from_bytes(&[b'f'; 255])), b"far");
    symlink(OsStr::from_bytes(b"to\n\xff nowhere"), at.join("odd-link")).expect("symlink");

    let node = |name: &str, kind, mode: u32, major, minor| {
        let mode = Mode::from_raw_mode(mode as _);
        rustix::fs::mknodat(CWD, at.join(name), kind, mode, rustix::fs::makedev(major, minor))
            .unwrap_or_else(|e| panic!("making the node {name} (as root): {e}"));
    };
    node("fifo", FileType::Fifo, 0o640, 0, 0);
    node("socket", FileType::Socket, 0o600, 0, 0);
    node("null", FileType::CharacterDevice, 0o666, 1, 3);
    node("big-char", FileType::CharacterDevice, 0o600, 259, 70_000);
    node("disk", FileType::BlockDevice, 0o660, 8, 255);
    node("big-block", FileType::BlockDevice, 0o600, 4095, 0xf_ffff);

    for (i, mode) in [0o0, 0o777, 0o4755, 0o2755, 0o1777, 0o7777, 0o600].into_iter().enumerate() {
        let path = at.join(format!("mode{i}"));
        write(&path, b"");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("chmod");
    }
    let sticky = at.join("sticky");
    fs::create_dir(&sticky).expect("mkdir");
    fs::set_permissions(&sticky, Permissions::from_mode(0o3777)).expect("chmod");
    for (i, (uid, gid)) in
        [(1, 2), (65_535, 65_536), (70_000, 100_000), (u32::MAX - 1, u32::MAX - 1)].into_iter().enumerate()
    {
        let path = at.join(format!("owner{i}"));
        write(&path, b"mine");
        std::os::unix::fs::lchown(&path, Some(uid), Some(gid)).expect("chown (as root)");
    }
    let times = [
        (i64::from(i32::MIN), 0),
        (-1, 999_999_999),
        (0, 0),
        (1, 1),
        (i64::from(i32::MAX), 5),
        (i64::from(i32::MAX) + 1, 999_999_999),
        (i64::from(u32::MAX) + 1, 7),
        (15_032_385_535, 999_999_999),
    ];
    for (i, (seconds, nanos)) in times.into_iter().enumerate() {
        let path = at.join(format!("time{i}"));
        write(&path, b"when");
        set_times(&path, seconds, nanos);
    }
}

fn setfacl(args: &[&str], path: &Path) {
    let out = output(system("setfacl").args(args).arg(path));
    assert!(out.status.success(), "setfacl: {}", String::from_utf8_lossy(&out.stderr));
}

/// Attributes that fit in every inode or block there is.
fn xattrs(at: &Path) {
    for name in ["plain", "one", "same1", "same2", "same3", "capable", "acl", "empty-value", "many"] {
        write(at.join(name), name.as_bytes());
    }
    set_xattr(&at.join("one"), "user.one", b"1");
    for i in 1..=3 {
        let path = at.join(format!("same{i}"));
        set_xattr(&path, "user.shared", &bytes(9, 500));
        set_xattr(&path, "user.second", b"as well");
    }
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    set_xattr(&at.join("capable"), "security.capability", &capability);
    set_xattr(&at.join("empty-value"), "user.empty", b"");
    for i in 0..12 {
        set_xattr(&at.join("many"), &format!("user.{}", "n".repeat(i + 1)), &bytes(i as u64, i * 2));
    }
    setfacl(&["-m", "u:1234:rw,u:70000:r,g:77:r,m::rw"], &at.join("acl"));
    let dir = at.join("dir");
    fs::create_dir(&dir).expect("mkdir");
    setfacl(&["-m", "g:5:rx"], &dir);
    setfacl(&["-d", "-m", "u:5:rwx,g:6:r"], &dir);
    set_xattr(&dir, "trusted.on_directory", &bytes(4, 100));
    symlink("plain", at.join("link")).expect("symlink");
    set_xattr(&at.join("link"), "trusted.on_link", b"l");
    symlink("x".repeat(100), at.join("slow-link")).expect("symlink");
    set_xattr(&at.join("slow-link"), "security.on_slow_link", b"s");
    rustix::fs::mknodat(CWD, at.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("mkfifo");
    set_xattr(&at.join("fifo"), "trusted.on_fifo", b"f");
    // Together with inline data little of the inode is left.
    write(at.join("small-content"), &bytes(8, 100));
    set_xattr(&at.join("small-content"), "user.medium", &bytes(7, 80));
}

/// Attributes for which a block is too small, or which need inodes of their own.
fn large_xattrs(at: &Path) {
    for (i, len) in [1, 900, 1024, 2000, 4000, 5000, 10_000, 65_535, 65_536].into_iter().enumerate() {
        let path = at.join(format!("file{i}"));
        write(&path, b"");
        set_xattr(&path, "trusted.value", &bytes(i as u64, len));
    }
    // The same value twice: one inode may serve both.
    for i in 0..2 {
        let path = at.join(format!("twin{i}"));
        write(&path, b"");
        set_xattr(&path, "trusted.value", &bytes(99, 30_000));
        set_xattr(&path, "security.other", &bytes(98, 2_000));
    }
    fs::create_dir(at.join("dir")).expect("mkdir");
    set_xattr(&at.join("dir"), "trusted.large", &bytes(97, 20_000));
}

/// Holes in every place.
fn sparse(at: &Path) {
    let make = |name: &str, len: u64, data: &[(u64, usize)]| {
        let file = File::create(at.join(name)).expect("create");
        file.set_len(len).expect("length");
        for (offset, count) in data {
            file.write_all_at(&bytes(*offset, *count), *offset).expect("write");
        }
        file.sync_all().expect("sync");
    };
    make("all-hole", 10 << 20, &[]);
    make("head", 1 << 20, &[(0, 4096)]);
    make("tail", 1 << 20, &[((1 << 20) - 4096, 4096)]);
    make("middle", (1 << 20) + 1, &[(300_000, 5000)]);
    make("far", (3 << 30) + 17, &[(0, 1), (3 << 30, 17)]);
    let pieces: Vec<(u64, usize)> = (0..700).map(|i| (i * 3 * 4096, 4096)).collect();
    make("pieces", 700 * 3 * 4096, &pieces);
    // Windows of 2 MiB: whole, with a hole, whole, part.
    make("windows", (7 << 20) + 5, &[(0, 2 << 20), (3 << 20, 1 << 20), (4 << 20, 2 << 20), (6 << 20, (1 << 20) + 5)]);
}

/// Directories with many entries.
fn many(at: &Path) {
    fs::create_dir(at.join("files")).expect("mkdir");
    for i in 0..2500 {
        write(at.join(format!("files/entry-{i:05}-with-a-name-of-some-length")), b"");
    }
    fs::create_dir(at.join("dirs")).expect("mkdir");
    for i in 0..120 {
        fs::create_dir(at.join(format!("dirs/{i}"))).expect("mkdir");
    }
    fs::create_dir(at.join("links")).expect("mkdir");
    write(at.join("links/0"), b"many names");
    for i in 1..150 {
        fs::hard_link(at.join("links/0"), at.join(format!("links/{i}"))).expect("link");
    }
}

/// Files of several huge pages.
fn large(at: &Path) {
    write(at.join("exact"), &bytes(1, 4 << 20));
    write(at.join("more"), &bytes(2, (5 << 20) + 123));
    write(at.join("short"), &bytes(3, 1000));
}
