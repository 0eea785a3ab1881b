//! Edits of attributes and inline data of damaged inodes come to an end, with or without an error.

use crate::common::edit::{NOW, Rng, assert_clean, open_writable, seed};
use crate::common::{mke2fs, open_bytes, scratch};
use crate::model::{acl, source};
use daxkit_volume::{EditError, Editor, Inode, InodeNr, OpenOptions, Place};

type Try = fn(&mut Editor<'_>, &mut Inode) -> Result<(), EditError>;

/// What is tried with each inode.
const TRIES: &[Try] = &[
    |e, i| e.set_xattr(i, b"user.a", &[3; 100]),
    |e, i| e.set_xattr(i, b"trusted.larger", &[3; 700]),
    |e, i| e.set_xattr(i, b"trusted.outside", &[3; 7000]),
    |e, i| e.remove_xattr(i, b"user.b"),
    |e, i| e.drop_xattrs(i),
    |e, i| e.leave_inline(i),
    |e, i| e.truncate(i, 90),
    |e, i| e.write_content(i, 30, &[1; 50]),
    |e, i| e.set_owner(i, 5, 6),
    |e, i| e.set_project(i, 8),
];

#[test]
fn edits_of_damaged_attributes_end() {
    let dir = scratch();
    source(&dir.path().join("source"));
    let args = "-t ext4 -I 256 -b 1024 -N 64 -O inline_data,ea_inode,quota,project,^metadata_csum \
                -E quotatype=usrquota:grpquota:prjquota";
    let image = mke2fs(dir.path(), "image", args, Some(&dir.path().join("source")), "2M");
    let (device, mut volume) = open_writable(&image);
    // Behind the quota file of projects.
    let files: Vec<InodeNr> = (13..48).map(InodeNr).collect();
    for nr in &files {
        volume
            .change(NOW, |e| {
                let mut inode = e.inode(*nr).map_err(EditError::from)?;
                e.set_xattr(&mut inode, b"user.b", b"short")?;
                e.set_xattr(&mut inode, b"system.posix_acl_access", &acl(3))?;
                let len = 20 * (nr.get() as usize % 9);
                e.set_xattr(&mut inode, b"trusted.some", &vec![1; len])?;
                e.set_xattr(&mut inode, b"user.outside", &[2; 3000])
            })
            .expect("an edit");
    }
    volume.commit(&image, 0, &*device, NOW).expect("commits");
    assert!(!crate::common::output("e2fsck", &[&"-fp", &image]).status.code().is_none_or(|c| c > 1));
    assert_clean(&image, "before");
    let sound = std::fs::read(&image).expect("reads");

    let mut rng = Rng::new(seed(50));
    let (mut done, mut refused) = (0, 0);
    for _ in 0..150 {
        let options = OpenOptions { writable: true, ..OpenOptions::default() };
        let mut volume = open_bytes(&sound, &options).expect("a volume");
        for nr in &files {
            let damage = volume.change(NOW, |e| {
                let inode = e.inode(*nr).map_err(EditError::from)?;
                let (block, at) = e.inode_location(*nr).map_err(EditError::from)?;
                let inode_at = block.get() * 1024 + at as u64;
                for _ in 0..1 + rng.below(3) {
                    let offset = match rng.below(3) {
                        0 if inode.file_acl() != 0 => inode.file_acl() * 1024 + rng.below(200),
                        1 => inode_at + 0x80 + rng.below(128),
                        _ => inode_at + [0x1C, 0x20, 0x28, 0x68, 4][rng.below(5) as usize] + rng.below(4),
                    };
                    let wrong = [rng.next() as u8, 0, 1, 0xff][rng.below(4) as usize];
                    e.write_bytes(Place::Inode(*nr), offset, &[wrong])?;
                }
                Ok::<_, EditError>(())
            });
            damage.expect("damages");
        }
        for nr in &files {
            for attempt in TRIES {
                let outcome = volume.change(NOW, |e| {
                    let mut inode = e.inode(*nr).map_err(EditError::from)?;
                    let _ = e.inline_capacity(&inode);
                    attempt(e, &mut inode)
                });
                match outcome {
                    Ok(()) => done += 1,
                    Err(e) => {
                        assert!(!e.to_string().contains('\n'), "{e}");
                        refused += 1;
                    }
                }
            }
        }
    }
    println!("{done} done, {refused} refused");
    assert!(done > 5000 && refused > 1000, "{done} {refused}");
}
