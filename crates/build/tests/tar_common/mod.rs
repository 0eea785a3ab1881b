//! Trees on disk, the programs that archive them, and the comparison of a tree with what was read of its archive.
#![allow(dead_code, unreachable_pub)]

use daxkit_build::source::{
    AclIds, Archive, Attributes, ContentFile, FileData, Member, MemberKind, Notice, NumericIds, TarError, TarInput,
    TarOptions,
};
use daxkit_format::ext4::inode::Timestamp;
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Runs an oracle's program, which must be there and succeed; returns what it wrote.
pub fn run(program: &str, args: &[&OsStr], dir: &Path) -> Vec<u8> {
    let output = Command::new(program)
        .args(args)
        .current_dir(dir)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("oracle missing: cannot run {program}: {error}"));
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// As [`run`], with the arguments in one text.
pub fn run_words(command: &str, dir: &Path) -> Vec<u8> {
    let mut words = command.split(' ').map(OsStr::new);
    let program = words.next().and_then(OsStr::to_str).expect("a program");
    run(program, &words.collect::<Vec<_>>(), dir)
}

/// Runs a program of Python.
pub fn python(text: &str, dir: &Path) {
    run("python3", &["-c".as_ref(), text.as_ref()], dir);
}

/// Makes sure that this may own files by anybody and make devices.
pub fn must_be_root() {
    assert!(rustix::process::geteuid().is_root(), "this test makes devices and gives files away: run it as root");
}

pub fn never() -> bool {
    false
}

pub fn options() -> TarOptions {
    TarOptions { spool_dir: std::env::temp_dir(), read_xattrs: true, ids: Arc::new(NumericIds) }
}

pub fn options_with(ids: impl AclIds + 'static) -> TarOptions {
    TarOptions { ids: Arc::new(ids), ..options() }
}

/// An archive, read to its end.
#[derive(Debug)]
pub struct Contents {
    pub members: Vec<Member>,
    pub content: ContentFile,
    pub notices: Vec<Notice>,
}

pub fn read_all(input: TarInput<'_>, options: TarOptions) -> Result<Contents, TarError> {
    let mut archive = Archive::open(input, options)?;
    let mut members = Vec::new();
    while let Some(member) = archive.next_member(&never)? {
        members.push(member);
    }
    let notices = archive.take_notices();
    Ok(Contents { members, content: archive.finish()?, notices })
}

pub fn read_path(path: &Path) -> Contents {
    read_all(TarInput::Path(path), options()).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn read_bytes(bytes: impl Into<Vec<u8>>) -> Result<Contents, TarError> {
    read_all(TarInput::Stream(Box::new(std::io::Cursor::new(bytes.into()))), options())
}

impl Contents {
    /// The member of this name, without regard to a slash at the end and `./` at the start.
    pub fn get(&self, path: &str) -> &Member {
        self.members
            .iter()
            .find(|member| clean(&member.path) == path.as_bytes())
            .unwrap_or_else(|| panic!("{path} is not in the archive"))
    }

    pub fn data(&self, path: &str) -> &FileData {
        match &self.get(path).kind {
            MemberKind::File(data) => data,
            other => panic!("{path} is {other:?}"),
        }
    }

    /// The bytes of a file, holes as zeroes.
    pub fn bytes(&self, data: &FileData) -> Vec<u8> {
        let mut bytes = vec![0; data.size as usize];
        let whole = [0..data.size];
        let mut at = data.at;
        for range in data.ranges.as_deref().unwrap_or(&whole) {
            let piece = &mut bytes[range.start as usize..range.end as usize];
            self.content.file.read_exact_at(piece, at).expect("the content is there");
            at += piece.len() as u64;
        }
        bytes
    }
}

/// A name without `./` at the start and without slashes at the end.
pub fn clean(path: &[u8]) -> &[u8] {
    let mut path = path.strip_prefix(b"./").unwrap_or(path);
    while let Some(shorter) = path.strip_suffix(b"/") {
        path = shorter;
    }
    if path == b"." { b"" } else { path }
}

/// One name of a tree as it is on disk.
#[derive(Debug)]
pub struct OnDisk {
    pub ino: u64,
    pub attributes: Attributes,
    pub kind: DiskKind,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum DiskKind {
    File(Vec<u8>),
    Dir,
    Symlink(Vec<u8>),
    Char(u32, u32),
    Block(u32, u32),
    Fifo,
}

/// How exactly an archive tells times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// Seconds of the last change.
    Seconds,
    /// All three, to the nanosecond.
    All,
    /// The last change to the nanosecond, and nothing else.
    Nanos,
}

/// A tree as it is, by path inside it; the root is not there. Content is read first, so that the times are those a program
/// sees that comes afterwards.
pub fn snapshot(root: &Path) -> BTreeMap<Vec<u8>, OnDisk> {
    let mut contents = Vec::new();
    let mut dirs = vec![PathBuf::new()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(root.join(&dir)).expect("a directory") {
            let path = dir.join(entry.expect("an entry").file_name());
            let full = root.join(&path);
            let meta = fs::symlink_metadata(&full).expect("it is there");
            let device = (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
            let kind = match meta.file_type() {
                t if t.is_dir() => {
                    dirs.push(path.clone());
                    DiskKind::Dir
                }
                t if t.is_symlink() => {
                    DiskKind::Symlink(fs::read_link(&full).expect("a link").as_os_str().as_bytes().to_vec())
                }
                t if t.is_char_device() => DiskKind::Char(device.0, device.1),
                t if t.is_block_device() => DiskKind::Block(device.0, device.1),
                t if t.is_fifo() => DiskKind::Fifo,
                _ => DiskKind::File(fs::read(&full).expect("a file")),
            };
            contents.push((path, kind));
        }
    }
    let stat = |(path, kind): (PathBuf, DiskKind)| {
        let full = root.join(&path);
        let meta = fs::symlink_metadata(&full).expect("it is there");
        let time = |seconds, nanos: i64| Timestamp { seconds, nanos: nanos as u32 };
        let attributes = Attributes {
            mode: (meta.mode() & 0o7777) as u16,
            uid: meta.uid(),
            gid: meta.gid(),
            atime: time(meta.atime(), meta.atime_nsec()),
            ctime: time(meta.ctime(), meta.ctime_nsec()),
            mtime: time(meta.mtime(), meta.mtime_nsec()),
        };
        (path.into_os_string().as_bytes().to_vec(), OnDisk { ino: meta.ino(), attributes, kind, xattrs: xattrs(&full) })
    };
    contents.into_iter().map(stat).collect()
}

/// Extended attributes as the host has them, sorted.
pub fn xattrs(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut names = vec![0; 65536];
    let len = rustix::fs::llistxattr(path, &mut names[..]).expect("attributes");
    let mut list = Vec::new();
    for name in names[..len].split(|b| *b == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 65536];
        let len = rustix::fs::lgetxattr(path, name, &mut value[..]).expect("an attribute");
        value.truncate(len);
        list.push((name.to_vec(), value));
    }
    list.sort();
    list
}

/// Compares what was read with the tree; the archive has every name but perhaps the root's.
pub fn compare(what: &str, contents: &Contents, tree: &BTreeMap<Vec<u8>, OnDisk>, times: Times) {
    let mut seen = BTreeMap::new();
    for member in contents.members.iter().filter(|member| !clean(&member.path).is_empty()) {
        let path = clean(&member.path);
        let shown = format!("{what}: {}", path.escape_ascii());
        let disk = tree.get(path).unwrap_or_else(|| panic!("{shown} is not on disk"));
        assert!(seen.insert(path.to_vec(), member).is_none(), "{shown} comes twice");
        compare_kind(&shown, contents, member, disk, tree);
        let (found, on_disk) = (&member.attributes, &disk.attributes);
        assert_eq!((found.uid, found.gid), (on_disk.uid, on_disk.gid), "{shown}");
        // Linux has no permissions of symlinks; some programs mask them with the umask.
        if !matches!(member.kind, MemberKind::Symlink(_)) {
            assert_eq!(format!("{:o}", found.mode), format!("{:o}", on_disk.mode), "{shown}");
        }
        let whole = |t: Timestamp| Timestamp { nanos: 0, ..t };
        match times {
            Times::Seconds => assert_eq!(found.mtime, whole(on_disk.mtime), "{shown}"),
            Times::Nanos => assert_eq!(found.mtime, on_disk.mtime, "{shown}"),
            Times::All => assert_eq!(found, on_disk, "{shown}"),
        }
        if times != Times::All {
            assert_eq!((found.atime, found.ctime), (found.mtime, found.mtime), "{shown}");
        }
    }
    let missing: Vec<_> = tree.keys().filter(|path| !seen.contains_key(*path)).map(|p| p.escape_ascii()).collect();
    assert!(missing.is_empty(), "{what}: missing {}", missing.iter().map(ToString::to_string).collect::<String>());
}

fn compare_kind(shown: &str, contents: &Contents, member: &Member, disk: &OnDisk, tree: &BTreeMap<Vec<u8>, OnDisk>) {
    match (&member.kind, &disk.kind) {
        (MemberKind::File(data), DiskKind::File(bytes)) => {
            assert_eq!(data.size, bytes.len() as u64, "{shown}");
            assert!(contents.bytes(data) == *bytes, "{shown}: its content");
        }
        (MemberKind::HardLink(target, None), _) => {
            let first = tree.get(clean(target)).unwrap_or_else(|| panic!("{shown} links to nothing"));
            assert_eq!(first.ino, disk.ino, "{shown}");
        }
        (MemberKind::Symlink(target), DiskKind::Symlink(on_disk)) => assert_eq!(target, on_disk, "{shown}"),
        (MemberKind::Char(a, b), DiskKind::Char(c, d)) | (MemberKind::Block(a, b), DiskKind::Block(c, d)) => {
            assert_eq!((a, b), (c, d), "{shown}");
        }
        (MemberKind::Dir, DiskKind::Dir) | (MemberKind::Fifo, DiskKind::Fifo) => {}
        (found, _) => panic!("{shown} is {found:?}, not {:?}", disk.kind),
    }
}

/// Bytes that are different at every place.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.max(1);
    std::iter::from_fn(|| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        Some((state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8)
    })
    .take(len)
    .collect()
}

pub fn set_times(path: &Path, atime: (i64, i64), mtime: (i64, i64)) {
    let spec = |(tv_sec, tv_nsec)| Timespec { tv_sec, tv_nsec };
    let times = Timestamps { last_access: spec(atime), last_modification: spec(mtime) };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("times");
}

pub fn chown(path: &Path, uid: u32, gid: u32) {
    let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
    rustix::fs::chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).expect("an owner");
}

/// A tree that every format can hold: names and targets below 100 bytes, small numbers, whole seconds.
pub fn plain_tree(root: &Path) {
    must_be_root();
    fs::create_dir_all(root.join("dir/sub")).expect("directories");
    fs::create_dir(root.join("empty")).expect("a directory");
    for len in [0, 1, 511, 512, 513, 1024, 70_000, 700_001] {
        fs::write(root.join(format!("dir/file-{len}")), noise(len, len as u64)).expect("a file");
    }
    fs::write(root.join("n".repeat(90)), "long").expect("a file");
    symlink("../dir/file-1", root.join("dir/link")).expect("a link");
    symlink("t".repeat(99), root.join("to-nowhere")).expect("a link");
    fs::hard_link(root.join("dir/file-513"), root.join("dir/sub/again")).expect("a link");
    fs::hard_link(root.join("dir/file-513"), root.join("zz-again")).expect("a link");
    for (name, mode) in [("dir/file-1", 0o4755), ("dir/file-512", 0o2711), ("empty", 0o1777), ("dir/file-511", 0)] {
        fs::set_permissions(root.join(name), PermissionsExt::from_mode(mode)).expect("a mode");
    }
    for (name, uid, gid) in [("dir/file-0", 1, 2), ("dir/sub", 1000, 65534), ("dir/file-1024", 0o777777, 0o777777)] {
        chown(&root.join(name), uid, gid);
    }
    // Giving it away took them.
    fs::set_permissions(root.join("dir/sub"), PermissionsExt::from_mode(0o3750)).expect("a mode");
    let mut paths: Vec<_> = snapshot(root).into_keys().collect();
    paths.reverse();
    for (nr, path) in paths.iter().enumerate() {
        let seconds = 1_000_000_000 + 12_345_678 * nr as i64;
        set_times(&root.join(OsStr::from_bytes(path)), (seconds + 5, 0), (seconds, 0));
    }
}

/// Device nodes and a fifo, for formats that have them.
pub fn add_devices(root: &Path) {
    for (name, kind, major, minor) in [
        ("null", FileType::CharacterDevice, 1, 3),
        ("disk", FileType::BlockDevice, 259, 70_000),
        ("last", FileType::CharacterDevice, 4095, 0o777777),
        ("fifo", FileType::Fifo, 0, 0),
    ] {
        let device = rustix::fs::makedev(major, minor);
        rustix::fs::mknodat(CWD, root.join(name), kind, Mode::from_raw_mode(0o600), device).expect("a device");
        set_times(&root.join(name), (1_600_000_000, 0), (1_600_000_001, 0));
    }
}

/// Names in parts of a length that only extensions can hold, and bytes that are not UTF-8.
pub fn add_long_names(root: &Path) {
    let deep = root.join(["d".repeat(120), "e".repeat(255), "f".repeat(200)].join("/"));
    fs::create_dir_all(&deep).expect("directories");
    for name in [
        OsString::from("n".repeat(100)),
        OsString::from("n".repeat(101)),
        OsString::from("n".repeat(255)),
        OsStr::from_bytes(b"not \xff\xfe UTF-8 \xe4").to_owned(),
        OsString::from("line\nfeed = 12 path=x\n"),
        OsString::from("snowman \u{2603}"),
    ] {
        fs::write(root.join(&name), name.as_bytes()).expect("a file");
        fs::write(deep.join(&name), name.as_bytes()).expect("a file");
    }
    symlink("t".repeat(100), root.join("link-100")).expect("a link");
    symlink(OsStr::from_bytes(&[b'\xe4'; 1000]), root.join("link-1000")).expect("a link");
    fs::hard_link(deep.join("n".repeat(255)), root.join("far")).expect("a link");
}

/// Makes an empty directory in `scratch` and fills it.
pub fn tree(scratch: &Path, fill: &[fn(&Path)]) -> PathBuf {
    let root = scratch.join("tree");
    fs::create_dir(&root).expect("a directory");
    fill.iter().for_each(|fill| fill(&root));
    root
}
