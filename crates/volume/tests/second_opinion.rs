//! The crate ext4-view reads the same images and is asked for its opinion.

mod common;
#[path = "common/tree.rs"]
mod tree;

use std::fs;
use std::os::unix::fs::symlink;

use common::{mke2fs, open, scratch};

#[test]
fn ext4_view_sees_the_same() {
    let scratch = scratch();
    let src = scratch.path().join("src");
    fs::create_dir_all(src.join("a/b")).unwrap();
    for n in 0..200 {
        fs::write(src.join(format!("a/b/file{n}")), vec![n as u8; n * 37]).unwrap();
    }
    symlink("a/b", src.join("link")).unwrap();
    symlink("z".repeat(200), src.join("long")).unwrap();
    let mut asked = 0;
    for (i, args) in [
        "-t ext2 -b 1024",
        "-t ext3 -b 1024",
        "-t ext4 -b 1024",
        "-t ext4 -b 4096",
        "-t ext4 -b 4096 -O bigalloc -C 16384",
        "-t ext4 -b 4096 -O inline_data",
        "-t ext4 -b 4096 -O ^metadata_csum,^64bit",
        "-t ext4 -b 65536",
    ]
    .into_iter()
    .enumerate()
    {
        let image = mke2fs(scratch.path(), &format!("e{i}.img"), args, Some(&src), "32M");
        let other = match ext4_view::Ext4::load(Box::new(fs::read(&image).unwrap())) {
            Ok(other) => other,
            Err(e) => {
                println!("{args}: skipped by ext4-view: {e}");
                continue;
            }
        };
        asked += 1;
        let volume = open(&image);
        for visit in volume.walk(volume.root().unwrap()) {
            let visit = visit.unwrap();
            let path = [b"/", visit.path.as_slice()].concat();
            let path = ext4_view::Path::try_from(path.as_slice()).unwrap();
            let meta = other.symlink_metadata(path).unwrap_or_else(|e| panic!("{args}: {path:?}: {e}"));
            let i = &visit.inode;
            assert_eq!(
                (meta.mode(), meta.uid(), meta.gid()),
                (i.i_mode.get() & 0o7777, i.uid(), i.gid()),
                "{args} {path:?}"
            );
            assert_eq!((meta.is_dir(), meta.is_symlink()), (i.is_dir(), i.is_symlink()), "{args} {path:?}");
            if i.is_file() {
                assert_eq!(other.read(path).unwrap(), volume.read_file(i, 0..i.size()).unwrap(), "{args} {path:?}");
            }
            if i.is_symlink() {
                assert_eq!(other.read_link(path).unwrap().as_ref(), volume.read_link(i).unwrap(), "{args} {path:?}");
            }
            if i.is_dir() {
                let mut theirs: Vec<Vec<u8>> =
                    other.read_dir(path).unwrap().map(|e| e.unwrap().file_name().as_ref().to_vec()).collect();
                let mut ours: Vec<Vec<u8>> = volume.read_dir(i).unwrap().map(|e| e.unwrap().name).collect();
                theirs.sort();
                ours.sort();
                assert_eq!(ours, theirs, "{args} {path:?}");
            }
        }
    }
    assert!(asked >= 5, "ext4-view reads most of these, it read {asked}");
}
