//! A tree as plain data, read through a volume or through the host's file system, so that the two can be compared.
#![allow(dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use daxkit_volume::{InodeNr, Volume};

/// What one name has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub links: u64,
    pub mtime: (i64, u32),
    pub size: u64,
    pub device: Option<(u32, u32)>,
    pub target: Option<Vec<u8>>,
    /// A hash of the content and its length.
    pub content: Option<(u64, u64)>,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first name of the same inode.
    pub same_as: Option<Vec<u8>>,
}

pub type Tree = BTreeMap<Vec<u8>, Node>;

fn hash(seed: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(seed, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3))
}

/// Reads everything a volume holds; any error fails the test.
pub fn of_volume(volume: &Volume) -> Tree {
    let mut tree = Tree::new();
    let mut firsts: BTreeMap<InodeNr, Vec<u8>> = BTreeMap::new();
    for visit in volume.walk(volume.root().expect("root")) {
        let visit = visit.unwrap_or_else(|e| panic!("/{}: {}", e.path.escape_ascii(), e.error));
        let i = &visit.inode;
        let name = || format!("/{}", visit.path.escape_ascii());
        let mut content = None;
        if i.is_file() {
            let mut h = 0xcbf2_9ce4_8422_2325;
            let mut at = 0;
            let mut buf = vec![0; 1 << 16];
            loop {
                let n = volume.read_at(i, at, &mut buf).unwrap_or_else(|e| panic!("{}: {e}", name()));
                if n == 0 {
                    break;
                }
                h = hash(h, &buf[..n]);
                at += n as u64;
            }
            content = Some((at, h));
        }
        let xattrs = volume.xattrs(i).unwrap_or_else(|e| panic!("{}: {e}", name()));
        let same_as = match firsts.entry(i.nr()) {
            std::collections::btree_map::Entry::Occupied(o) => Some(o.get().clone()),
            std::collections::btree_map::Entry::Vacant(v) => {
                v.insert(visit.path.clone());
                None
            }
        };
        assert_eq!(visit.first, same_as.is_none(), "{}", name());
        let special = matches!(i.file_type(), 0o020_000 | 0o060_000);
        let mtime = i.mtime();
        tree.insert(
            visit.path.clone(),
            Node {
                mode: u32::from(i.i_mode.get()),
                uid: i.uid(),
                gid: i.gid(),
                links: u64::from(i.i_links_count.get()),
                mtime: (mtime.seconds, mtime.nanos),
                size: if i.is_file() || i.is_symlink() { i.size() } else { 0 },
                device: special.then(|| i.device()),
                target: i.is_symlink().then(|| volume.read_link(i).unwrap_or_else(|e| panic!("{}: {e}", name()))),
                content,
                xattrs: xattrs.iter().filter_map(|x| x.for_user().expect("a sound ACL")).collect(),
                same_as,
            },
        );
    }
    canonical(tree)
}

/// Reads everything below a directory of the host.
pub fn of_host(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut firsts = BTreeMap::new();
    visit_host(root, Vec::new(), &mut tree, &mut firsts);
    canonical(tree)
}

/// The order of names differs from one side to the other; the first name is the first of the alphabet on both.
fn canonical(mut tree: Tree) -> Tree {
    let mut classes: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
    for (path, node) in &tree {
        if let Some(first) = &node.same_as {
            classes.entry(first.clone()).or_default().push(path.clone());
        }
    }
    for (first, mut all) in classes {
        all.push(first);
        all.sort();
        for path in &all {
            tree.get_mut(path).unwrap().same_as = Some(all[0].clone());
        }
    }
    tree
}

fn visit_host(at: &Path, path: Vec<u8>, tree: &mut Tree, firsts: &mut BTreeMap<(u64, u64), Vec<u8>>) {
    let meta = at.symlink_metadata().unwrap_or_else(|e| panic!("{}: {e}", at.display()));
    let kind = meta.file_type();
    let same_as = firsts.get(&(meta.dev(), meta.ino())).cloned();
    firsts.entry((meta.dev(), meta.ino())).or_insert_with(|| path.clone());
    let (major, minor) = (rustix_major(meta.rdev()), rustix_minor(meta.rdev()));
    tree.insert(
        path.clone(),
        Node {
            mode: meta.mode(),
            uid: meta.uid(),
            gid: meta.gid(),
            links: meta.nlink(),
            mtime: (meta.mtime(), meta.mtime_nsec() as u32),
            size: if kind.is_file() || kind.is_symlink() { meta.size() } else { 0 },
            device: (kind.is_block_device() || kind.is_char_device()).then_some((major, minor)),
            target: kind.is_symlink().then(|| std::fs::read_link(at).unwrap().as_os_str().as_bytes().to_vec()),
            content: kind.is_file().then(|| {
                let bytes = std::fs::read(at).unwrap();
                (bytes.len() as u64, hash(0xcbf2_9ce4_8422_2325, &bytes))
            }),
            xattrs: host_xattrs(at),
            same_as,
        },
    );
    if kind.is_dir() {
        for entry in std::fs::read_dir(at).unwrap() {
            let entry = entry.unwrap();
            let mut below = path.clone();
            if !below.is_empty() {
                below.push(b'/');
            }
            below.extend_from_slice(entry.file_name().as_bytes());
            visit_host(&entry.path(), below, tree, firsts);
        }
    }
}

fn rustix_major(dev: u64) -> u32 {
    (((dev >> 8) & 0xfff) | ((dev >> 32) & !0xfff)) as u32
}

fn rustix_minor(dev: u64) -> u32 {
    ((dev & 0xff) | ((dev >> 12) & !0xff)) as u32
}

fn host_xattrs(at: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let path = CString::new(at.as_os_str().as_bytes()).unwrap();
    let mut names = vec![0u8; 1 << 16];
    let n = rustix::fs::llistxattr(&path, &mut names[..]).unwrap_or_else(|e| panic!("{}: {e}", at.display()));
    let mut found = BTreeMap::new();
    for name in names[..n].split(|b| *b == 0).filter(|n| !n.is_empty()) {
        let mut value = vec![0u8; 1 << 17];
        let name_c = CString::new(name).unwrap();
        let n =
            rustix::fs::lgetxattr(&path, &name_c, &mut value[..]).unwrap_or_else(|e| panic!("{}: {e}", at.display()));
        value.truncate(n);
        found.insert(name.to_vec(), value);
    }
    found
}

/// Fails with the first difference between two trees. `lost+found` and the root itself are left out if asked.
pub fn assert_same(left: &Tree, right: &Tree, what: &str, ignore: impl Fn(&[u8]) -> bool, times: bool) {
    let strip = |t: &Tree| -> Tree {
        t.iter()
            .filter(|(p, _)| !ignore(p))
            .map(|(p, n)| {
                let mut n = n.clone();
                if !times {
                    n.mtime = (0, 0);
                }
                (p.clone(), n)
            })
            .collect()
    };
    let (left, right) = (strip(left), strip(right));
    for (path, node) in &left {
        let other = right.get(path);
        assert_eq!(Some(node), other, "{what}: /{}", path.escape_ascii());
    }
    for path in right.keys() {
        assert!(left.contains_key(path), "{what}: /{} is only on the right", path.escape_ascii());
    }
}
