use super::*;
use crate::progress::{CancelFlag, NoProgress};
use daxkit_format::ext4::inode::Timestamp;
use rustix::fs::{CWD, Mode, OFlags, XattrFlags};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

fn temp() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn options(threads: usize) -> ScanOptions {
    ScanOptions { threads, ..ScanOptions::default() }
}

fn scanned(root: &Path) -> Tree {
    let (tree, skipped) = scan(root, &options(2), &NoProgress).expect("a readable source");
    assert!(skipped.is_empty(), "{skipped:?}");
    tree
}

fn write(path: &Path, content: &[u8]) {
    fs::write(path, content).expect("write");
}

/// What the standard library says of a tree, in the order ids must have.
fn walk(root: &Path) -> Vec<(Vec<u8>, fs::Metadata)> {
    let mut all = vec![(b"/".to_vec(), fs::symlink_metadata(root).expect("root"))];
    let mut next = 0;
    while let Some((inside, meta)) = all.get(next).cloned() {
        next += 1;
        if !meta.is_dir() {
            continue;
        }
        let host = root.join(OsStr::from_bytes(&inside[1..]));
        let mut names: Vec<OsString> =
            fs::read_dir(&host).expect("list").map(|e| e.expect("entry").file_name()).collect();
        names.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        for name in names {
            let mut path = if inside == b"/" { Vec::new() } else { inside.clone() };
            path.push(b'/');
            path.extend_from_slice(name.as_bytes());
            let meta = fs::symlink_metadata(host.join(name)).expect("stat");
            all.push((path, meta));
        }
    }
    all
}

fn assert_same(tree: &Tree, root: &Path) {
    let all = walk(root);
    assert_eq!(tree.len(), all.len());
    let mut dirs = Vec::new();
    for (id, (path, meta)) in tree.ids().zip(&all) {
        assert_eq!(tree.path(id), *path);
        assert_eq!(tree.lookup(path), Some(id));
        let kind = match meta.mode() & 0o170_000 {
            0o100_000 => Kind::File,
            0o040_000 => Kind::Dir,
            0o120_000 => Kind::Symlink,
            0o020_000 => Kind::Char,
            0o060_000 => Kind::Block,
            0o010_000 => Kind::Fifo,
            _ => Kind::Socket,
        };
        assert_eq!(tree.kind(id), kind);
        assert_eq!(u32::from(tree.mode(id)), meta.mode() & 0o7777);
        assert_eq!((tree.uid(id), tree.gid(id)), (meta.uid(), meta.gid()));
        let time = |s, n: i64| Timestamp { seconds: s, nanos: n as u32 };
        assert_eq!(tree.mtime(id), time(meta.mtime(), meta.mtime_nsec()));
        assert_eq!(tree.ctime(id), time(meta.ctime(), meta.ctime_nsec()));
        match kind {
            Kind::File => assert_eq!(tree.size(id), meta.len()),
            Kind::Symlink => {
                let target = fs::read_link(root.join(OsStr::from_bytes(&path[1..]))).expect("link");
                assert_eq!(tree.symlink_target(id), target.as_os_str().as_bytes());
                assert_eq!(tree.size(id), target.as_os_str().len() as u64);
            }
            Kind::Dir => {
                dirs.push(id);
                for child in tree.children(id) {
                    assert!(child > id.0);
                    assert_eq!(tree.parent(NodeId(child)), id);
                }
            }
            _ => assert_eq!(tree.size(id), 0),
        }
        let same: Vec<usize> = (0..all.len())
            .filter(|i| !meta.is_dir() && (all[*i].1.dev(), all[*i].1.ino()) == (meta.dev(), meta.ino()))
            .collect();
        if same.len() > 1 {
            assert_eq!(tree.primary(id).0 as usize, same[0]);
            assert_eq!(tree.links(id) as usize, same.len());
        } else {
            assert_eq!((tree.primary(id), tree.links(id)), (id, 1));
        }
    }
    assert_eq!(tree.dirs().collect::<Vec<_>>(), dirs);
    assert_eq!(tree.dir_count(), dirs.len());
}

/// A small generator of numbers, the same on every machine.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn name(&mut self, unique: usize) -> OsString {
        let len = if self.below(10) == 0 { 240 } else { self.below(12) };
        let mut name: Vec<u8> = (0..len)
            .map(|_| match self.below(256) as u8 {
                0 | b'/' => b'\n',
                b => b,
            })
            .collect();
        name.extend_from_slice(format!("{unique}").as_bytes());
        OsString::from_vec(name)
    }
}

fn random_tree(root: &Path, seed: u64) {
    let mut r = Numbers(seed);
    let mut dirs = vec![root.to_path_buf()];
    let mut files: Vec<PathBuf> = Vec::new();
    for i in 0..120 {
        let dir = dirs[r.below(dirs.len() as u64) as usize].clone();
        let path = dir.join(r.name(i));
        match r.below(10) {
            0..=2 => {
                fs::create_dir(&path).expect("mkdir");
                dirs.push(path);
            }
            3 => symlink(OsString::from_vec(vec![b'x'; 1 + r.below(3000) as usize]), &path).expect("symlink"),
            4 if !files.is_empty() => {
                let old = &files[r.below(files.len() as u64) as usize];
                fs::hard_link(old, &path).expect("link");
            }
            5 => rustix::fs::mknodat(CWD, &path, rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o640), 0)
                .expect("mkfifo"),
            _ => {
                write(&path, &vec![b'c'; r.below(9000) as usize]);
                fs::set_permissions(&path, fs::Permissions::from_mode(r.below(0o10000) as u32)).expect("chmod");
                files.push(path);
            }
        }
    }
}

#[test]
fn a_tree_is_what_the_standard_library_sees_with_any_number_of_threads() {
    for seed in 0..24 {
        let dir = temp();
        random_tree(dir.path(), seed);
        for threads in [1, 2, 7] {
            let (tree, skipped) = scan(dir.path(), &options(threads), &NoProgress).expect("scan");
            assert!(skipped.is_empty());
            assert_same(&tree, dir.path());
        }
    }
}

#[test]
fn a_large_directory_is_shared_by_threads_and_stays_in_order() {
    let dir = temp();
    let big = dir.path().join("big");
    fs::create_dir(&big).expect("mkdir");
    fs::create_dir(dir.path().join("after")).expect("mkdir");
    for i in 0..7000u32 {
        let path = big.join(format!("{:08x}", i.wrapping_mul(2_654_435_761)));
        if i % 50 == 0 { fs::create_dir(&path).expect("mkdir") } else { write(&path, b"") }
    }
    write(&dir.path().join("after/file"), b"x");
    for threads in [1, 3] {
        let (tree, _) = scan(dir.path(), &options(threads), &NoProgress).expect("scan");
        assert_eq!(tree.len(), 7004);
        let names: Vec<Vec<u8>> =
            tree.children(tree.lookup(b"/big").expect("big")).map(|c| tree.name(NodeId(c)).to_vec()).collect();
        assert!(names.is_sorted() && names.len() == 7000);
        assert!(tree.lookup(b"/after/file").is_some());
        // 56 bytes a node, 4 a directory, 8 or 9 a name.
        assert!(tree.memory() <= 7004 * 68, "{}", tree.memory());
    }
}

#[test]
fn hard_links_share_a_primary_even_when_some_are_left_out() {
    let dir = temp();
    let p = dir.path();
    fs::create_dir(p.join("a")).expect("mkdir");
    fs::create_dir(p.join("b")).expect("mkdir");
    write(&p.join("a/1"), b"x");
    fs::hard_link(p.join("a/1"), p.join("b/2")).expect("link");
    fs::hard_link(p.join("a/1"), p.join("3")).expect("link");
    write(&p.join("b/single"), b"y");
    fs::hard_link(p.join("b/single"), p.join("gone")).expect("link");
    let exclude = exclude_set(["/gone"]).expect("glob");
    let (tree, _) = scan(p, &ScanOptions { exclude, ..options(2) }, &NoProgress).expect("scan");
    let id = |path: &[u8]| tree.lookup(path).expect("there");
    assert_eq!(tree.primary(id(b"/a/1")), id(b"/3"));
    assert_eq!(tree.primary(id(b"/b/2")), id(b"/3"));
    assert_eq!(tree.links(id(b"/b/2")), 3);
    assert_eq!((tree.primary(id(b"/b/single")), tree.links(id(b"/b/single"))), (id(b"/b/single"), 1));
}

#[test]
fn holes_are_reported_as_the_host_sees_them() {
    let dir = temp();
    let p = dir.path();
    let file = fs::File::create(p.join("sparse")).expect("create");
    file.set_len(10 << 20).expect("length");
    file.write_all_at(&[1; 4096], 2 << 20).expect("write");
    file.write_all_at(&[1; 100], (4 << 20) + 5).expect("write");
    file.sync_all().expect("sync");
    fs::hard_link(p.join("sparse"), p.join("twin")).expect("link");
    fs::File::create(p.join("hole")).expect("create").set_len(1 << 40).expect("length");
    write(&p.join("full"), &[1; 100_000]);
    write(&p.join("empty"), b"");
    let tree = scanned(p);
    let ranges = |path: &[u8]| tree.data_ranges(tree.lookup(path).expect("there")).map(<[_]>::to_vec);
    let block = fs::metadata(p).expect("stat").blksize();
    assert_eq!(block, 4096, "the temporary directory's file system has other blocks than this test expects");
    let (two, four) = (2u64 << 20, 4u64 << 20);
    assert_eq!(ranges(b"/sparse"), Some(vec![two..two + 4096, four..four + 4096]));
    assert_eq!(ranges(b"/twin"), ranges(b"/sparse"));
    assert_eq!(ranges(b"/hole"), Some(vec![]));
    assert_eq!(ranges(b"/full"), None);
    assert_eq!(ranges(b"/empty"), None);
    let (blind, _) = scan(p, &ScanOptions { detect_holes: false, ..options(1) }, &NoProgress).expect("scan");
    assert_eq!(blind.data_ranges(blind.lookup(b"/sparse").expect("there")), None);
}

fn set(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty())
        .unwrap_or_else(|e| panic!("setting {name} (security. and trusted. need root): {e}"));
}

#[test]
fn attributes_of_all_namespaces_come_along_and_equal_sets_are_stored_once() {
    let dir = temp();
    let p = dir.path();
    for name in ["a", "b", "c", "plain", "acl"] {
        write(&p.join(name), b"");
    }
    symlink("a", p.join("link")).expect("symlink");
    fs::create_dir(p.join("d")).expect("mkdir");
    for name in ["b", "a", "c"] {
        set(&p.join(name), "user.two", b"2");
        set(&p.join(name), "user.one", b"");
    }
    set(&p.join("c"), "trusted.t", &[0; 3000]);
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    set(&p.join("c"), "security.capability", &capability);
    set(&p.join("link"), "trusted.on_link", b"l");
    set(p, "user.root", b"r");
    let status = Command::new("setfacl")
        .args(["-m", "u:1234:rw,g:77:r"])
        .arg(p.join("acl"))
        .status()
        .expect("this test needs setfacl (package acl)");
    assert!(status.success());
    let status = Command::new("setfacl").args(["-d", "-m", "u:5:rwx"]).arg(p.join("d")).status().expect("setfacl");
    assert!(status.success());

    let tree = scanned(p);
    let id = |path: &str| tree.lookup(path.as_bytes()).expect("there");
    let list = |path: &str| tree.xattrs(id(path)).map(|s| s.list.clone());
    let pair = |n: &str, v: &[u8]| (n.as_bytes().to_vec(), v.to_vec());
    assert_eq!(list("/a"), Some(vec![pair("user.one", b""), pair("user.two", b"2")]));
    assert_eq!(tree.xattr_set_id(id("/a")), tree.xattr_set_id(id("/b")));
    assert_eq!(
        list("/c"),
        Some(vec![
            pair("security.capability", &capability),
            pair("trusted.t", &[0; 3000]),
            pair("user.one", b""),
            pair("user.two", b"2"),
        ])
    );
    assert_eq!((list("/plain"), tree.xattr_set_id(id("/plain"))), (None, None));
    assert_eq!(list("/link"), Some(vec![pair("trusted.on_link", b"l")]));
    assert_eq!(list("/"), Some(vec![pair("user.root", b"r")]));
    let acl = list("/acl").expect("an ACL");
    assert_eq!(acl.len(), 1);
    assert_eq!(acl[0].0, b"system.posix_acl_access");
    // Version 2, then user::, user:1234:rw, group::, group:77:r, mask, other, 8 bytes each.
    assert_eq!((acl[0].1.len(), &acl[0].1[..4]), (4 + 6 * 8, &[2, 0, 0, 0][..]));
    assert_eq!(list("/d").expect("a default ACL")[0].0, b"system.posix_acl_default");
    assert_eq!(tree.xattr_sets().len(), 6);

    let (without, _) = scan(p, &ScanOptions { read_xattrs: false, ..options(1) }, &NoProgress).expect("scan");
    assert!(without.xattr_sets().is_empty() && without.xattrs(Tree::ROOT).is_none());
}

#[test]
fn attributes_of_the_largest_size_and_many_names() {
    // tmpfs has no limit in the way; ext4 would need a block for each.
    let dir = tempfile::tempdir_in("/dev/shm").expect("a directory on tmpfs, mounted on /dev/shm");
    let file = dir.path().join("f");
    write(&file, b"");
    let mut names: Vec<String> = (0..40).map(|i| format!("trusted.{i}{}", "n".repeat(100))).collect();
    for name in &names {
        set(&file, name, b"v");
    }
    names.push("trusted.large".into());
    set(&file, "trusted.large", &[7; 65536]);
    names.sort();
    let tree = scanned(dir.path());
    let found = tree.xattrs(NodeId(1)).expect("attributes");
    assert_eq!(
        found.list.iter().map(|(n, _)| n.clone()).collect::<Vec<_>>(),
        names.iter().map(|n| n.as_bytes().to_vec()).collect::<Vec<_>>()
    );
    let large = found.list.iter().find(|(n, _)| n == b"trusted.large").expect("large");
    assert_eq!(large.1, vec![7; 65536]);
}

#[test]
fn device_nodes_keep_their_numbers() {
    let dir = temp();
    let dev = rustix::fs::makedev(259, 70_000);
    for (name, kind) in [("c", rustix::fs::FileType::CharacterDevice), ("b", rustix::fs::FileType::BlockDevice)] {
        rustix::fs::mknodat(CWD, dir.path().join(name), kind, Mode::from_raw_mode(0o600), dev)
            .expect("making device nodes needs root");
    }
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("s")).expect("socket");
    let tree = scanned(dir.path());
    assert_same(&tree, dir.path());
    assert_eq!(tree.device(tree.lookup(b"/c").expect("c")), (259, 70_000));
    assert_eq!(tree.device(tree.lookup(b"/b").expect("b")), (259, 70_000));
    assert_eq!(tree.device(tree.lookup(b"/s").expect("s")), (0, 0));
}

#[test]
fn excluded_paths_and_the_image_itself_are_left_out() {
    let dir = temp();
    let p = dir.path();
    for d in ["src", "src/target", "src/target/x", "target", "keep", "keep/etc"] {
        fs::create_dir(p.join(d)).expect("mkdir");
    }
    for f in ["a.o", "src/b.o", "src/b.c", "keep/etc/passwd", "image"] {
        write(&p.join(f), b"");
    }
    write(&p.join(OsStr::from_bytes(b"\xff\xfe.o")), b"");
    let image = fs::metadata(p.join("image")).expect("stat");
    let leave_out = vec![(image.dev(), image.ino())];
    let paths = |patterns: &[&str]| {
        let exclude = exclude_set(patterns).expect("globs");
        let o = ScanOptions { exclude, leave_out: leave_out.clone(), ..options(2) };
        let (tree, _) = scan(p, &o, &NoProgress).expect("scan");
        tree.ids().map(|i| String::from_utf8_lossy(&tree.path(i)).into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(paths(&["*.o", "/target", "etc/"]), ["/", "/keep", "/src", "/src/b.c", "/src/target", "/src/target/x"]);
    assert_eq!(paths(&["/*.o", "target", "/keep/**"]), ["/", "/keep", "/src", "/src/b.c", "/src/b.o"]);
    assert!(exclude_set(["[a"]).is_err());
}

#[test]
fn paths_longer_than_the_kernel_takes_are_reached() {
    let dir = temp();
    let mut at = rustix::fs::open(dir.path(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).expect("open");
    let mut path = Vec::new();
    for i in 0..30 {
        let name = format!("{i:0>230}");
        rustix::fs::mkdirat(&at, &name, Mode::from_raw_mode(0o755)).expect("mkdir");
        at = rustix::fs::openat(&at, &name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).expect("open");
        path.push(b'/');
        path.extend_from_slice(name.as_bytes());
    }
    for name in ["deep", "deeper"] {
        let fd =
            rustix::fs::openat(&at, name, OFlags::CREATE | OFlags::RDWR, Mode::from_raw_mode(0o644)).expect("file");
        rustix::fs::fsetxattr(&fd, "user.deep", name.as_bytes(), XattrFlags::empty()).expect("xattr");
        fs::File::from(fd).write_all(b"bottom").expect("write");
    }
    let tree = scanned(dir.path());
    assert_eq!(tree.len(), 33);
    path.extend_from_slice(b"/deeper");
    let id = tree.lookup(&path).expect("the deep file");
    assert_eq!(tree.xattrs(id).expect("attributes").list, vec![(b"user.deep".to_vec(), b"deeper".to_vec())]);
    let source = Source::directory(tree.clone(), dir.path());
    let mut reader = Reader::new(&source).expect("reader");
    let file = reader.open(id).expect("open");
    let mut content = [0; 6];
    file.read_exact_at(&mut content, 0).expect("read");
    file.finish().expect("unchanged");
    assert_eq!(&content, b"bottom");
}

#[test]
fn owners_can_be_replaced() {
    let dir = temp();
    write(&dir.path().join("f"), b"");
    let o = ScanOptions { owner: OwnerPolicy::Fixed(70_000, 5), ..options(1) };
    let (tree, _) = scan(dir.path(), &o, &NoProgress).expect("scan");
    for id in tree.ids() {
        assert_eq!((tree.uid(id), tree.gid(id)), (70_000, 5));
    }
}

#[test]
fn a_source_that_is_no_directory_is_refused() {
    let dir = temp();
    write(&dir.path().join("f"), b"");
    for (path, text) in [("f", "Not a directory"), ("none", "No such file")] {
        let path = dir.path().join(path);
        let error = scan(&path, &options(2), &NoProgress).map(drop).expect_err("refused");
        assert!(matches!(error, ScanError::Root { .. }));
        assert!(error.to_string().contains(text), "{error}");
    }
    let (tree, _) = scan(Path::new("/dev/shm/../shm/."), &options(1), &NoProgress).expect("a path with dots");
    assert_eq!(tree.path(Tree::ROOT), b"/");
}

#[test]
fn a_source_may_be_named_through_a_symlink() {
    let dir = temp();
    fs::create_dir(dir.path().join("real")).expect("mkdir");
    set(&dir.path().join("real"), "user.root", b"r");
    write(&dir.path().join("real/f"), b"content");
    symlink("real", dir.path().join("link")).expect("symlink");
    let link = dir.path().join("link");
    let tree = scanned(&link);
    assert_eq!(tree.xattrs(Tree::ROOT).map(|s| s.list.len()), Some(1));
    let source = Source::directory(tree.clone(), &link);
    let mut reader = Reader::new(&source).expect("reader");
    reader.open(tree.lookup(b"/f").expect("f")).expect("open").finish().expect("same");
}

#[test]
fn cancelling_ends_the_scan() {
    let dir = temp();
    let flag = CancelFlag::default();
    flag.cancel();
    let error = scan(dir.path(), &options(2), &flag).map(drop).expect_err("cancelled");
    assert!(matches!(error, ScanError::Cancelled));
}

#[test]
fn a_file_that_changed_since_the_scan_is_noticed() {
    let dir = temp();
    let p = dir.path();
    let names = ["grown", "touched", "removed", "replaced", "to_link", "to_fifo", "shrinks", "written", "same"];
    for name in names {
        write(&p.join(name), b"0123456789");
    }
    fs::create_dir(p.join("dir")).expect("mkdir");
    write(&p.join("dir/f"), b"x");
    let tree = scanned(p);
    let source = Source::directory(tree.clone(), p);
    let mut reader = Reader::new(&source).expect("reader");
    let id = |name: &str| tree.lookup(format!("/{name}").as_bytes()).expect("there");

    write(&p.join("grown"), b"0123456789a");
    let later = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
    fs::File::options().write(true).open(p.join("touched")).and_then(|f| f.set_times(later)).expect("touch");
    fs::remove_file(p.join("removed")).expect("remove");
    fs::remove_file(p.join("replaced")).expect("remove");
    write(&p.join("replaced"), b"9876543210");
    fs::remove_file(p.join("to_link")).expect("remove");
    symlink("same", p.join("to_link")).expect("symlink");
    fs::remove_file(p.join("to_fifo")).expect("remove");
    rustix::fs::mknodat(CWD, p.join("to_fifo"), rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0)
        .expect("fifo");
    fs::remove_dir_all(p.join("dir")).expect("remove");
    for name in ["grown", "touched", "removed", "replaced", "to_link", "to_fifo", "dir/f"] {
        let error = reader.open(id(name)).map(drop).expect_err(name);
        let SourceError::Changed { path } = error else { panic!("{name}: {error}") };
        assert_eq!(path, p.join(name));
    }

    let open = reader.open(id("shrinks")).expect("open");
    fs::File::options().write(true).open(p.join("shrinks")).and_then(|f| f.set_len(3)).expect("cut");
    let error = open.read_exact_at(&mut [0; 10], 0).expect_err("short");
    assert!(matches!(&error, SourceError::Short { path } if *path == p.join("shrinks")), "{error}");
    assert!(matches!(open.finish(), Err(SourceError::Changed { .. })));

    let open = reader.open(id("written")).expect("open");
    open.read_exact_at(&mut [0; 10], 0).expect("read");
    let file = fs::File::options().write(true).open(p.join("written")).expect("open");
    file.write_all_at(b"X", 4).expect("write");
    file.set_times(fs::FileTimes::new().set_modified(std::time::SystemTime::now())).expect("touch");
    assert!(matches!(open.finish(), Err(SourceError::Changed { .. })));

    let open = reader.open(id("same")).expect("open");
    let mut content = [0; 10];
    open.read_exact_at(&mut content, 0).expect("read");
    assert_eq!((&content, open.size()), (b"0123456789", 10));
    open.finish().expect("unchanged");
    // A directory has no content.
    assert!(reader.open(Tree::ROOT).is_err());
}

#[test]
fn reading_leaves_access_times_alone() {
    let dir = temp();
    let file = dir.path().join("f");
    write(&file, b"x");
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(86_400);
    fs::File::options()
        .write(true)
        .open(&file)
        .and_then(|f| f.set_times(fs::FileTimes::new().set_accessed(old)))
        .expect("touch");
    let sub = dir.path().join("d");
    fs::create_dir(&sub).expect("mkdir");
    rustix::fs::utimensat(
        CWD,
        &sub,
        &rustix::fs::Timestamps {
            last_access: rustix::fs::Timespec { tv_sec: 86_400, tv_nsec: 0 },
            last_modification: rustix::fs::Timespec { tv_sec: 86_401, tv_nsec: 0 },
        },
        rustix::fs::AtFlags::empty(),
    )
    .expect("touch");
    let tree = scanned(dir.path());
    assert_eq!(fs::metadata(&sub).and_then(|m| m.accessed()).expect("stat"), old);
    let source = Source::directory(tree.clone(), dir.path());
    let open = Reader::new(&source).and_then(|mut r| r.open(NodeId(2))).expect("open");
    open.read_exact_at(&mut [0], 0).expect("read");
    open.finish().expect("same");
    assert_eq!(fs::metadata(&file).and_then(|m| m.accessed()).expect("stat"), old);
    assert_eq!(tree.atime(NodeId(2)), Timestamp { seconds: 86_400, nanos: 0 });
}

/// Runs on a thread that gave up being root, so that permissions apply to it.
fn as_nobody<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let (user, group) = (rustix::fs::Uid::from_raw(65534), rustix::fs::Gid::from_raw(65534));
            rustix::thread::set_thread_groups(&[]).expect("giving up groups needs root");
            rustix::thread::set_thread_res_gid(group, group, group).expect("giving up the group needs root");
            rustix::thread::set_thread_res_uid(user, user, user).expect("giving up the user needs root");
            work()
        });
        thread.join().expect("no panic")
    })
}

#[test]
fn what_cannot_be_read_is_an_error_or_left_out() {
    let dir = temp();
    let p = dir.path();
    fs::set_permissions(p, fs::Permissions::from_mode(0o755)).expect("chmod");
    write(&p.join("open"), b"o");
    write(&p.join("secret"), b"s");
    write(&p.join("for_nobody"), b"n");
    fs::set_permissions(p.join("secret"), fs::Permissions::from_mode(0o600)).expect("chmod");
    fs::set_permissions(p.join("for_nobody"), fs::Permissions::from_mode(0o640)).expect("chmod");
    let status = Command::new("setfacl")
        .args(["-m", "u:65534:r"])
        .arg(p.join("for_nobody"))
        .status()
        .expect("this test needs setfacl (package acl)");
    assert!(status.success());
    fs::create_dir(p.join("closed")).expect("mkdir");
    write(&p.join("closed/inside"), b"i");
    fs::set_permissions(p.join("closed"), fs::Permissions::from_mode(0o700)).expect("chmod");
    let sparse = fs::File::create(p.join("sparse")).expect("create");
    sparse.set_len(1 << 20).expect("length");
    fs::set_permissions(p.join("sparse"), fs::Permissions::from_mode(0o200)).expect("chmod");

    for threads in [1, 3] {
        let error = as_nobody(|| scan(p, &options(threads), &NoProgress).map(drop)).expect_err("unreadable");
        let ScanError::Unreadable { path, source, .. } = &error else { panic!("{error}") };
        assert_eq!((path, source.kind()), (&p.join("secret"), std::io::ErrorKind::PermissionDenied));
        let o = ScanOptions { skip_unreadable: true, ..options(threads) };
        let (tree, skipped) = as_nobody(|| scan(p, &o, &NoProgress)).expect("skipping");
        let left: Vec<PathBuf> = skipped.iter().map(|s| s.path.clone()).collect();
        assert_eq!(left, [p.join("secret"), p.join("sparse"), p.join("closed")]);
        assert!(skipped.iter().all(|s| matches!(s.reason, SkipReason::Unreadable { .. })));
        assert_eq!(skipped[0].to_string().lines().count(), 1);
        let paths: Vec<Vec<u8>> = tree.ids().map(|i| tree.path(i)).collect();
        assert_eq!(paths, [&b"/"[..], b"/closed", b"/for_nobody", b"/open"]);
        as_nobody(|| {
            let source = Source::directory(tree.clone(), p);
            let mut reader = Reader::new(&source).expect("reader");
            for name in [&b"/for_nobody"[..], b"/open"] {
                reader.open(tree.lookup(name).expect("there")).expect("readable").finish().expect("same");
            }
        });
    }
    let tree = scanned(p);
    let error = as_nobody(|| {
        let source = Source::directory(tree.clone(), p);
        let mut reader = Reader::new(&source).expect("reader");
        reader.open(tree.lookup(b"/secret").expect("there")).map(drop).expect_err("unreadable")
    });
    assert!(matches!(error, SourceError::Unreadable { path, .. } if path == p.join("secret")));
}

#[test]
fn messages_stay_on_one_line() {
    let path = PathBuf::from(OsStr::from_bytes(b"/a\nb\xff"));
    let error = ScanError::Changed { path: path.clone() };
    assert_eq!(error.to_string(), r#""/a\nb\xFF" changed while it was read"#);
    let skipped = Skipped { path, reason: SkipReason::Xattr { name: b"odd.\n".to_vec() } };
    assert_eq!(skipped.to_string().lines().count(), 1);
}

#[test]
fn times_are_packed_without_loss() {
    for t in [
        Timestamp { seconds: Timestamp::MIN_SECONDS, nanos: 0 },
        Timestamp { seconds: -1, nanos: 999_999_999 },
        Timestamp { seconds: 1_700_000_000, nanos: 123_456_789 },
        Timestamp { seconds: Timestamp::MAX_SECONDS, nanos: 999_999_999 },
    ] {
        assert_eq!(Timestamp::from(Time::from(t)), t);
    }
    let clamped = |seconds| Timestamp::from(Time::from(Timestamp { seconds, nanos: 5 }));
    assert_eq!(clamped(i64::MAX), Timestamp { seconds: Timestamp::MAX_SECONDS, nanos: 0 });
    assert_eq!(clamped(i64::MIN), Timestamp { seconds: Timestamp::MIN_SECONDS, nanos: 0 });
}

#[test]
fn an_empty_tree_has_a_root_only() {
    let time = Timestamp { seconds: 7, nanos: 8 };
    let tree = Tree::empty(&Attributes { mode: 0o755, uid: 1, gid: 2, atime: time, ctime: time, mtime: time });
    assert_eq!((tree.len(), tree.is_empty(), tree.dir_count()), (1, false, 1));
    assert!(tree.children(Tree::ROOT).is_empty());
    assert_eq!((tree.kind(Tree::ROOT), tree.mode(Tree::ROOT), tree.mtime(Tree::ROOT)), (Kind::Dir, 0o755, time));
    assert_eq!((tree.lookup(b"/"), tree.lookup(b"/x"), tree.lookup(b"x")), (Some(Tree::ROOT), None, None));
    assert_eq!(tree.parent(Tree::ROOT), Tree::ROOT);
}
