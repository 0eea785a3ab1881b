//! Attributes, content kept in inodes, owners and quota, changed at random against a model; read back by this crate, debugfs and
//! the kernel, and checked by e2fsck.

#![allow(unreachable_pub)]

#[path = "../common/mod.rs"]
mod common;
mod damage;
mod model;
mod placement;
mod quota;
mod sharing;

use std::collections::BTreeMap;

use common::edit::{NOW, Rng, assert_clean, open_writable, seed};
use common::{Mount, mke2fs, output, scratch};
use daxkit_format::dax::Errno;
use daxkit_format::ext4::quota::QuotaKind;
use model::{Case, compare, compare_debugfs, compare_mounted, nodes, source, step};
use quota::listed_quota;

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
            let outcome = match step(&mut rng, &mut volume, path, model.get_mut(path).expect("known"), case) {
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
