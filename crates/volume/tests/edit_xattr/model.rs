//! What an image holds, changed along with it.

use std::collections::BTreeMap;
use std::path::Path;

use crate::common::edit::{NOW, Rng};
use crate::common::run;
use daxkit_volume::ext4::edit::NewInode;
use daxkit_volume::{EditError, Inode, InodeNr, Volume};

/// Names that are set; those of users come first, which symbolic links cannot have.
pub const NAMES: &[&str] = &[
    "user.a",
    "user.b",
    "user.a rather long name, as some programs have them for what they keep of a file",
    "user.\u{fc}ber",
    "trusted.overlay.opaque",
    "trusted.overlay.redirect",
    "security.test",
    "trusted.t",
    "security.another",
    "trusted.and.one.more",
];
const FIRST_FOR_LINKS: u64 = 4;

/// What the image holds by path.
#[derive(Debug, Default, Clone)]
pub struct Node {
    pub nr: u64,
    pub attributes: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Of regular files.
    pub content: Option<Vec<u8>>,
    pub link: bool,
    pub owners: (u32, u32, u32),
}

pub struct Case<'a> {
    pub args: &'a str,
    pub size: &'a str,
    pub steps: u64,
    /// Largest value that is tried.
    pub largest: u64,
}

/// An access control list as getxattr gives it, with `users` named users.
pub fn acl(users: u32) -> Vec<u8> {
    let none = u32::MAX;
    let mut entries = vec![(1u16, 7u16, none)];
    entries.extend((0..users).map(|u| (2, 5, 1000 + u)));
    entries.extend([(4, 5, none), (16, 7, none), (32, 1, none)]);
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, perm, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(perm.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

pub fn bytes(rng: &mut Rng, len: u64) -> Vec<u8> {
    // Few different values, so that some are equal.
    let salt = rng.below(3) as u8;
    (0..len).map(|i| (i as u8).wrapping_mul(7) ^ salt ^ len as u8).collect()
}

/// The files of every image.
pub fn source(at: &Path) {
    std::fs::create_dir(at).expect("source");
    for i in 0..24 {
        std::fs::write(at.join(format!("file{i}")), vec![b'x'; i * 9]).expect("file");
    }
    for i in 0..4 {
        std::fs::create_dir(at.join(format!("dir{i}"))).expect("directory");
        std::fs::write(at.join(format!("dir{i}/below")), b"below").expect("file");
    }
    for i in 0..3 {
        std::os::unix::fs::symlink("t".repeat(20 + 40 * i), at.join(format!("link{i}"))).expect("link");
    }
}

pub fn nodes(volume: &Volume) -> BTreeMap<String, Node> {
    let mut nodes = BTreeMap::new();
    for visit in volume.walk(volume.root().expect("root")) {
        let visit = visit.expect("walks");
        let path = format!("/{}", String::from_utf8_lossy(&visit.path));
        if path.contains("lost+found") {
            continue;
        }
        let inode = &visit.inode;
        let content = inode.is_file().then(|| volume.read_file(inode, 0..inode.size()).expect("reads"));
        let owners = owners(inode);
        let node = Node { nr: inode.nr().get(), content, link: inode.is_symlink(), owners, ..Node::default() };
        nodes.insert(path, node);
    }
    nodes
}

pub fn owners(inode: &Inode) -> (u32, u32, u32) {
    (inode.uid(), inode.gid(), inode.project().unwrap_or(0))
}

/// One edit of one inode, in the image and in the model.
pub fn step(
    rng: &mut Rng,
    volume: &mut Volume,
    path: &str,
    node: &mut Node,
    case: &Case<'_>,
) -> Result<&'static str, EditError> {
    let now = NOW;
    let mut after = node.clone();
    let names = if node.link { FIRST_FOR_LINKS } else { 0 };
    let name = NAMES[(names + rng.below(NAMES.len() as u64 - names)) as usize].as_bytes().to_vec();
    let projects = case.args.contains("project");
    let what = rng.below(100);
    let done = volume.change(now, |editor| {
        let mut inode = editor.inode(InodeNr(node.nr))?;
        match what {
            0..45 => {
                let len = match rng.below(12) {
                    0 => 0,
                    1..6 => rng.below(40),
                    6..9 => rng.below(300),
                    9 => 700 + rng.below(400),
                    10 => rng.below(5000).min(case.largest),
                    _ => rng.below(case.largest + 1),
                };
                let value = bytes(rng, len);
                editor.set_xattr(&mut inode, &name, &value)?;
                after.attributes.insert(name, value);
                Ok("set")
            }
            45..50 if !node.link => {
                let value = acl(1 + rng.below(5) as u32);
                editor.set_xattr(&mut inode, b"system.posix_acl_access", &value)?;
                after.attributes.insert(b"system.posix_acl_access".to_vec(), value);
                Ok("acl")
            }
            50..72 => {
                let name = match node.attributes.keys().nth(rng.below(4) as usize) {
                    Some(there) => there.clone(),
                    None => name,
                };
                match (editor.remove_xattr(&mut inode, &name), after.attributes.remove(&name)) {
                    (Ok(()), Some(_)) => Ok("remove"),
                    (Err(EditError::NoAttribute { .. }), None) => Ok("nothing to remove"),
                    (result, before) => panic!("{result:?}, {before:?}"),
                }
            }
            72..75 => {
                editor.drop_xattrs(&mut inode)?;
                after.attributes.clear();
                Ok("drop")
            }
            75..78 if !path.contains("dir") && path != "/" => {
                let root = InodeNr::ROOT;
                let name = path.trim_start_matches('/').as_bytes();
                editor.unlink(root, name)?;
                after.attributes.clear();
                after.owners = (7, 9, 0);
                let new = NewInode { uid: 7, gid: 9, ..NewInode::of_root(0o644) };
                let made = match &mut after.content {
                    Some(content) => {
                        content.clear();
                        editor.create(root, name, &new)?
                    }
                    None => editor.symlink(root, name, &vec![b'x'; 20 + rng.below(80) as usize], &new)?,
                };
                after.nr = made.nr().get();
                Ok("unlink")
            }
            75..85 => {
                let (uid, gid) = ([0, 1, 1000, 70_000, 1 << 31][rng.below(5) as usize], 5000 + rng.below(40) as u32);
                editor.set_owner(&mut inode, uid, gid)?;
                (after.owners.0, after.owners.1) = (uid, gid);
                Ok("chown")
            }
            85..90 if projects => {
                after.owners.2 = rng.below(300) as u32 * 257;
                editor.set_project(&mut inode, after.owners.2)?;
                Ok("project")
            }
            _ => {
                let Some(content) = &mut after.content else { return Ok("nothing") };
                let at = rng.below(content.len() as u64 + 20);
                if rng.below(3) == 0 {
                    editor.truncate(&mut inode, at)?;
                    content.resize(at as usize, 0);
                    return Ok("truncate");
                }
                let len = if rng.below(10) == 0 { rng.below(9000) } else { rng.below(70) };
                let new = bytes(rng, len);
                let end = at as usize + new.len();
                editor.write_content(&mut inode, at, &new)?;
                if !new.is_empty() {
                    content.resize(content.len().max(end), 0);
                    content[at as usize..end].copy_from_slice(&new);
                }
                Ok("write")
            }
        }
    });
    if done.is_ok() {
        *node = after;
    }
    done
}

/// What this crate reads is what the model has.
pub fn compare(volume: &Volume, nodes: &BTreeMap<String, Node>) {
    for (path, node) in nodes {
        let inode = volume.inode(InodeNr(node.nr)).expect("an inode");
        let found: BTreeMap<_, _> =
            volume.xattrs(&inode).expect("attributes").iter().filter_map(|x| x.for_user().expect("sound")).collect();
        assert_eq!(found, node.attributes, "{path}");
        if let Some(content) = &node.content {
            assert!(volume.read_file(&inode, 0..inode.size()).expect("reads") == *content, "{path}");
        }
        assert_eq!(owners(&inode), node.owners, "{path}");
    }
}

/// What the kernel reads is what the model has.
pub fn compare_mounted(at: &Path, nodes: &BTreeMap<String, Node>) {
    for (path, node) in nodes {
        let file = at.join(path.trim_start_matches('/'));
        let mut list = vec![0; 65536];
        let len = rustix::fs::llistxattr(&file, &mut list[..]).expect("listxattr");
        let mut found = BTreeMap::new();
        for name in list[..len].split(|b| *b == 0).filter(|n| !n.is_empty()) {
            let mut value = vec![0; 65536];
            let len = rustix::fs::lgetxattr(&file, name, &mut value[..]).expect("getxattr");
            value.truncate(len);
            found.insert(name.to_vec(), value);
        }
        assert_eq!(found, node.attributes, "{path}");
        if let Some(content) = &node.content {
            assert!(std::fs::read(&file).expect("reads") == *content, "{path}");
        }
    }
}

/// What debugfs reads is what the model has.
pub fn compare_debugfs(image: &Path, nodes: &BTreeMap<String, Node>) {
    let out = image.with_extension("value");
    for (path, node) in nodes.iter().step_by(5) {
        for (name, value) in node.attributes.iter().filter(|(n, _)| !n.starts_with(b"system.")) {
            let name = String::from_utf8_lossy(name);
            run("debugfs", &[&"-R", &format!("ea_get -f {} {path} \"{name}\"", out.display()), &image]);
            assert!(std::fs::read(&out).expect("a value") == *value, "{path} {name}");
        }
    }
}
