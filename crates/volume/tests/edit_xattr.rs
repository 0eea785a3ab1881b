//! Attributes, content kept in inodes, owners and quota, changed at random against a model; read back by this crate, debugfs and
//! the kernel, and checked by e2fsck.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::edit::{NOW, Rng, assert_clean, open_writable, seed};
use common::{Mount, mke2fs, output, run, scratch};
use daxkit_format::dax::Errno;
use daxkit_format::ext4::quota::QuotaKind;
use daxkit_volume::{EditError, Inode, InodeNr, Volume};

/// Names that are set; those of users come first, which symbolic links cannot have.
const NAMES: &[&str] = &[
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
struct Node {
    nr: InodeNr0,
    attributes: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Of regular files.
    content: Option<Vec<u8>>,
    link: bool,
    owners: (u32, u32, u32),
}

type InodeNr0 = u64;

struct Case<'a> {
    args: &'a str,
    size: &'a str,
    steps: u64,
    /// Largest value that is tried.
    largest: u64,
}

/// An access control list as getxattr gives it, with `users` named users.
fn acl(users: u32) -> Vec<u8> {
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

fn bytes(rng: &mut Rng, len: u64) -> Vec<u8> {
    // Few different values, so that some are equal.
    let salt = rng.below(3) as u8;
    (0..len).map(|i| (i as u8).wrapping_mul(7) ^ salt ^ len as u8).collect()
}

/// The files of every image.
fn source(at: &Path) {
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

fn nodes(volume: &Volume) -> BTreeMap<String, Node> {
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

fn owners(inode: &Inode) -> (u32, u32, u32) {
    (inode.uid(), inode.gid(), inode.project().unwrap_or(0))
}

/// One edit of one inode, in the image and in the model.
fn step(rng: &mut Rng, volume: &mut Volume, node: &mut Node, case: &Case<'_>) -> Result<&'static str, EditError> {
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
fn compare(volume: &Volume, nodes: &BTreeMap<String, Node>) {
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
fn compare_mounted(at: &Path, nodes: &BTreeMap<String, Node>) {
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
fn compare_debugfs(image: &Path, nodes: &BTreeMap<String, Node>) {
    let out = image.with_extension("value");
    for (path, node) in nodes.iter().step_by(5) {
        for (name, value) in node.attributes.iter().filter(|(n, _)| !n.starts_with(b"system.")) {
            let name = String::from_utf8_lossy(name);
            run("debugfs", &[&"-R", &format!("ea_get -f {} {path} \"{name}\"", out.display()), &image]);
            assert!(std::fs::read(&out).expect("a value") == *value, "{path} {name}");
        }
    }
}

/// Usage as debugfs lists it: blocks of 1 KiB and inodes by id.
fn listed_quota(image: &Path, kind: &str) -> BTreeMap<u32, (u64, u64)> {
    let text = run("debugfs", &[&"-R", &format!("list_quota {kind}"), &image]);
    let numbers = |line: &str| line.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>().ok();
    let lines = text.lines().filter_map(numbers).filter(|n| n.len() == 7);
    lines.map(|n| (n[0] as u32, (n[1], n[4]))).collect()
}

fn random(which: u64, case: &Case<'_>) {
    let dir = scratch();
    source(&dir.path().join("source"));
    let args = format!("-t ext4 {}", case.args);
    let image = mke2fs(dir.path(), "image", &args, Some(&dir.path().join("source")), case.size);
    if args.contains("quota") {
        // mke2fs counts before it copies the files.
        output("e2fsck", &[&"-fp", &image]);
    }
    assert_clean(&image, "as made");
    let mut rng = Rng::new(seed(which));
    let (device, mut volume) = open_writable(&image);
    let mut model = nodes(&volume);
    let paths: Vec<String> = model.keys().cloned().collect();
    let mut done: BTreeMap<String, u64> = BTreeMap::new();
    for round in 0..4 {
        for _ in 0..case.steps / 4 {
            let path = &paths[rng.below(paths.len() as u64) as usize];
            let outcome = match step(&mut rng, &mut volume, model.get_mut(path).expect("known"), case) {
                Ok(what) => what.to_owned(),
                Err(e) if e.errno() == Errno::ENOSPC => "no room".to_owned(),
                Err(e) => panic!("{path}: {e}"),
            };
            if std::env::var_os("DAXKIT_EACH").is_some() {
                volume.commit(&image, 0, &*device, NOW).expect("commits");
                assert_clean(&image, &format!("{path}: {outcome}"));
            }
            *done.entry(outcome).or_default() += 1;
        }
        compare(&volume, &model);
        volume.commit(&image, 0, &*device, NOW).expect("commits");
        assert_clean(&image, &format!("{} round {round}", case.args));
    }
    println!("{}: {done:?}", case.args);
    compare_debugfs(&image, &model);
    if case.args.contains("quota") {
        for (kind, name) in QuotaKind::ALL.into_iter().zip(["user", "group", "project"]) {
            let Some(file) = volume.quota(kind).expect("reads") else { continue };
            let ours = file.entries.iter().map(|(id, e)| (*id, (e.dqb_curspace.get(), e.dqb_curinodes.get())));
            let listed = listed_quota(&image, name);
            assert_eq!(ours.collect::<BTreeMap<_, _>>(), listed, "{name}");
        }
    }
    // Kernels without the format of quota files mount such images for reading only.
    let quota = case.args.contains("quota");
    {
        let mount = Mount::new(&image, &dir.path().join("mnt"), if quota { "ro" } else { "" });
        compare_mounted(&mount.path, &model);
    }
    if !quota {
        let mount = Mount::new(&image, &dir.path().join("mnt"), "");
        // The kernel goes on where we stopped.
        for (path, node) in model.iter().filter(|(_, n)| !n.link) {
            let file = mount.path.join(path.trim_start_matches('/'));
            rustix::fs::lsetxattr(&file, "user.kernel", b"was here", rustix::fs::XattrFlags::empty())
                .unwrap_or_else(|e| assert_eq!(e, rustix::io::Errno::NOSPC, "{path}"));
            std::os::unix::fs::chown(&file, Some(node.owners.0 ^ 1), Some(4)).expect("chown");
        }
        for file in ["file1", "file2", "dir1/below", "link2"] {
            std::fs::remove_file(mount.path.join(file)).expect("removes");
        }
    }
    assert_clean(&image, &format!("{} after the kernel", case.args));
    assert!(output("e2fsck", &[&"-fp", &image]).status.success());
}

#[test]
fn attributes_beside_old_inodes_lie_in_blocks() {
    random(0, &Case { args: "-I 128 -b 1024", size: "16M", steps: 2000, largest: 1100 });
}

#[test]
fn inodes_of_256_bytes() {
    random(1, &Case { args: "-I 256", size: "16M", steps: 2000, largest: 4100 });
}

#[test]
fn inodes_of_512_bytes_without_checksums() {
    random(2, &Case { args: "-I 512 -b 2048 -O ^metadata_csum", size: "16M", steps: 2000, largest: 2100 });
}

#[test]
fn without_extents() {
    random(
        3,
        &Case { args: "-I 256 -b 1024 -O ^extent,^64bit,^metadata_csum", size: "16M", steps: 2000, largest: 1100 },
    );
}

#[test]
fn values_in_inodes_of_their_own() {
    random(4, &Case { args: "-I 256 -b 1024 -O ea_inode", size: "48M", steps: 2000, largest: 65536 });
}

#[test]
fn values_in_inodes_beside_old_inodes() {
    random(5, &Case { args: "-I 128 -b 4096 -O ea_inode,^metadata_csum", size: "64M", steps: 2000, largest: 65536 });
}

#[test]
fn values_in_clusters() {
    random(6, &Case { args: "-I 256 -b 1024 -C 16384 -O ea_inode,bigalloc", size: "64M", steps: 2000, largest: 20000 });
}

#[test]
fn inline_data() {
    random(7, &Case { args: "-I 256 -b 1024 -O inline_data", size: "16M", steps: 4000, largest: 1100 });
}

#[test]
fn inline_data_in_large_inodes() {
    random(8, &Case { args: "-I 1024 -b 4096 -O inline_data,ea_inode", size: "32M", steps: 4000, largest: 9000 });
}

#[test]
fn inline_data_without_extents() {
    random(9, &Case { args: "-I 512 -b 1024 -O inline_data,^extent,^64bit", size: "16M", steps: 3000, largest: 1100 });
}

#[test]
fn quota() {
    random(
        10,
        &Case {
            args: "-I 256 -b 1024 -O quota,project -E quotatype=usrquota:grpquota:prjquota",
            size: "24M",
            steps: 4000,
            largest: 1100,
        },
    );
}

#[test]
fn quota_with_everything() {
    random(
        11,
        &Case {
            args: "-I 512 -b 4096 -O quota,project,ea_inode,inline_data -E quotatype=usrquota:grpquota:prjquota",
            size: "64M",
            steps: 4000,
            largest: 20000,
        },
    );
}

#[test]
fn quota_in_clusters() {
    random(
        12,
        &Case {
            args: "-I 256 -b 1024 -C 8192 -O bigalloc,quota,project,ea_inode -E quotatype=usrquota:grpquota:prjquota",
            size: "64M",
            steps: 3000,
            largest: 20000,
        },
    );
}

#[test]
fn a_full_image() {
    random(
        13,
        &Case {
            args: "-I 256 -b 1024 -O ea_inode,quota -E quotatype=usrquota:grpquota -N 64",
            size: "1500k",
            steps: 3000,
            largest: 65536,
        },
    );
}
