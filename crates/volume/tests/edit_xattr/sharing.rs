//! Attribute blocks and inodes with values that several inodes share.

use crate::common::edit::{NOW, assert_clean, open_writable};
use crate::common::{Mount, mke2fs, scratch};
use crate::model::acl;
use daxkit_volume::{EditError, InodeNr, Volume};

/// The attribute block of each file and how often it says it is shared.
fn blocks(volume: &Volume, paths: &[String]) -> Vec<(u64, u32)> {
    let block_of = |path: &String| {
        let inode = volume.inode(volume.resolve(path.as_bytes(), false).expect("there").nr()).expect("an inode");
        if inode.file_acl() == 0 {
            return (0, 0);
        }
        let (nr, bytes) = volume.xattr_block(&inode).expect("a block");
        (nr.get(), u32::from_le_bytes(bytes[4..8].try_into().expect("four bytes")))
    };
    paths.iter().map(block_of).collect()
}

#[test]
fn equal_blocks_are_shared_and_copied_before_they_change() {
    let dir = scratch();
    std::fs::create_dir(dir.path().join("source")).expect("source");
    let paths: Vec<String> = (0..1100).map(|i| format!("/f{i:04}")).collect();
    for path in &paths {
        std::fs::write(dir.path().join("source").join(path.trim_start_matches('/')), b"").expect("file");
    }
    let image =
        mke2fs(dir.path(), "image", "-t ext4 -I 128 -b 1024 -O ea_inode", Some(&dir.path().join("source")), "16M");
    let (device, mut volume) = open_writable(&image);
    let edit = |volume: &mut Volume, path: &String, name: &str, value: Option<&[u8]>| {
        volume
            .change(NOW, |e| {
                let mut inode = e.resolve(path.as_bytes(), false).map_err(EditError::from)?;
                match value {
                    Some(value) => e.set_xattr(&mut inode, name.as_bytes(), value),
                    None => e.remove_xattr(&mut inode, name.as_bytes()),
                }
            })
            .expect("an edit");
    };
    let large = [7; 3000];
    let free = volume.super_block().free_blocks_count();
    for path in &paths {
        edit(&mut volume, path, "system.posix_acl_access", Some(&acl(2)));
        edit(&mut volume, path, "user.large", Some(&large));
    }
    // As many as may share one do, the rest share another; the value lies in one inode.
    let found = blocks(&volume, &paths);
    let mut distinct = found.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.iter().map(|(_, count)| *count).collect::<Vec<_>>().iter().sum::<u32>(), 1100);
    assert_eq!((distinct.len(), found.iter().filter(|f| f.1 == 1024).count()), (2, 1024));
    assert_eq!(free - volume.super_block().free_blocks_count(), 2 + 3);
    volume.commit(&image, 0, &*device, NOW).expect("commits");
    assert_clean(&image, "shared");

    edit(&mut volume, &paths[5], "user.small", Some(b"x"));
    edit(&mut volume, &paths[6], "user.large", None);
    edit(&mut volume, &paths[7], "system.posix_acl_access", None);
    edit(&mut volume, &paths[7], "user.large", None);
    let found = blocks(&volume, &paths);
    assert_eq!((found[4].1, found[5].1, found[6].1, found[7]), (1021, 1, 1, (0, 0)));
    volume.commit(&image, 0, &*device, NOW).expect("commits");
    assert_clean(&image, "parted");

    edit(&mut volume, &paths[5], "user.small", None);
    let again = blocks(&volume, &paths);
    assert_eq!((again[4], again[5], again[1099].1), (found[4], again[1099], 77), "one of the blocks that are like it");
    volume.commit(&image, 0, &*device, NOW).expect("commits");
    assert_clean(&image, "joined");

    for path in &paths {
        volume.change(NOW, |e| e.unlink(InodeNr::ROOT, path.trim_start_matches('/').as_bytes())).expect("removes");
    }
    assert_eq!(volume.super_block().free_blocks_count(), free);
    volume.commit(&image, 0, &*device, NOW).expect("commits");
    assert_clean(&image, "removed");
}

#[test]
fn blocks_that_the_kernel_shares_are_parted() {
    let dir = scratch();
    let image = mke2fs(dir.path(), "image", "-t ext4 -I 128 -b 4096 -O ea_inode", None, "32M");
    let paths: Vec<String> = (0..8).map(|i| format!("/f{i}")).collect();
    {
        let mount = Mount::new(&image, &dir.path().join("mnt"), "");
        for path in &paths {
            let file = mount.path.join(path.trim_start_matches('/'));
            std::fs::write(&file, b"x").expect("file");
            for (name, value) in [("user.a", &[1; 10][..]), ("user.large", &[2; 9000]), ("trusted.x", &[3; 12000])] {
                rustix::fs::setxattr(&file, name, value, rustix::fs::XattrFlags::empty()).expect("setxattr");
            }
        }
    }
    let (device, mut volume) = open_writable(&image);
    let shared = blocks(&volume, &paths);
    assert!(shared.iter().all(|(_, count)| *count == 8), "the kernel shares equal blocks: {shared:?}");
    for (i, path) in paths.iter().enumerate() {
        volume
            .change(NOW, |e| {
                let mut inode = e.resolve(path.as_bytes(), false).map_err(EditError::from)?;
                match i {
                    0 => e.set_xattr(&mut inode, b"user.large", &[4; 9000]),
                    1 => e.remove_xattr(&mut inode, b"trusted.x"),
                    2 => e.drop_xattrs(&mut inode),
                    3 => e.set_xattr(&mut inode, b"user.large", b"small"),
                    4 => e.unlink(InodeNr::ROOT, b"f4"),
                    5 => e.set_owner(&mut inode, 1, 2),
                    _ => Ok(()),
                }
            })
            .expect("an edit");
        volume.commit(&image, 0, &*device, NOW).expect("commits");
        assert_clean(&image, path);
    }
    let left: Vec<String> = paths.iter().filter(|p| *p != "/f4").cloned().collect();
    assert_eq!(blocks(&volume, &left).iter().map(|b| b.1).collect::<Vec<_>>(), [1, 1, 0, 1, 3, 3, 3]);
    let _mount = Mount::new(&image, &dir.path().join("mnt"), "");
    let mut value = vec![0; 65536];
    for (path, name, len) in
        [("f0", "user.large", 9000), ("f1", "user.large", 9000), ("f3", "user.large", 5), ("f7", "trusted.x", 12000)]
    {
        let found = rustix::fs::getxattr(dir.path().join("mnt").join(path), name, &mut value[..]).expect("getxattr");
        assert_eq!(found, len, "{path}");
    }
}
