//! Images by mke2fs, filled from a directory, read back: the same tree.

mod common;
#[path = "common/tree.rs"]
mod tree;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;

use common::{mke2fs, open, run, scratch};

/// A tree with something of everything.
fn source(dir: &Path) {
    fs::create_dir_all(dir.join("a/b/c")).unwrap();
    fs::write(dir.join("empty"), b"").unwrap();
    fs::write(dir.join("small"), b"hello").unwrap();
    fs::write(dir.join("a/medium"), vec![7u8; 100_000]).unwrap();
    fs::write(dir.join("a/b/inline"), vec![9u8; 100]).unwrap();
    fs::hard_link(dir.join("small"), dir.join("a/b/c/hard")).unwrap();
    symlink("small", dir.join("fast")).unwrap();
    symlink("x".repeat(59), dir.join("fast59")).unwrap();
    symlink("y".repeat(60), dir.join("slow60")).unwrap();
    symlink("z".repeat(900), dir.join("slow900")).unwrap();
    let sparse = File::create(dir.join("a/sparse")).unwrap();
    sparse.set_len(5_000_000).unwrap();
    sparse.write_all_at(b"somewhere", 3_000_000).unwrap();
    sparse.write_all_at(&[3; 70_000], 400_000).unwrap();
    // With inline_data mke2fs 1.47 forgets a hole at the end.
    sparse.write_all_at(b"end", 4_999_997).unwrap();
    fs::set_permissions(dir.join("small"), fs::Permissions::from_mode(0o4751)).unwrap();
    run("mknod", &[&dir.join("null"), &"c", &"1", &"3"]);
    run("mknod", &[&dir.join("big"), &"b", &"259", &"70000"]);
    run("mkfifo", &[&dir.join("fifo")]);
    run("chown", &[&"70000:80000", &dir.join("a/medium")]);
    for i in 0..300 {
        let name = format!("entry number {i} with a rather long name {}", "n".repeat(i % 150));
        fs::write(dir.join("a/b").join(name), i.to_string()).unwrap();
    }
    run("setfattr", &[&"-n", &"user.one", &"-v", &"a value", &dir.join("small")]);
    run("setfattr", &[&"-n", &"user.long", &"-v", &"v".repeat(700), &dir.join("small")]);
    run("setfattr", &[&"-n", &"trusted.t", &"-v", &"trust", &dir.join("a")]);
    run("setfacl", &[&"-m", &"u:1234:rwx,g:99:r-x", &dir.join("a/medium")]);
    run("setfacl", &[&"-d", &"-m", &"u:4321:r--", &dir.join("a/b")]);
}

#[test]
fn every_variant_reads_back() {
    let scratch = scratch();
    let src = scratch.path().join("src");
    fs::create_dir(&src).unwrap();
    source(&src);
    let expected = tree::of_host(&src);
    for (i, args) in [
        "-t ext2 -b 1024",
        "-t ext3 -b 4096",
        "-t ext4",
        "-t ext4 -b 1024 -I 128",
        "-t ext4 -b 2048 -O ^metadata_csum,uninit_bg",
        "-t ext4 -b 1024 -O ^resize_inode,meta_bg",
        "-t ext4 -b 1024 -O ^64bit,^metadata_csum -g 1024",
        "-t ext4 -b 4096 -O bigalloc -C 65536",
        "-t ext4 -b 4096 -O inline_data -I 256",
        "-t ext4 -b 4096 -O inline_data -I 1024",
        "-t ext4 -b 65536",
        "-t ext4 -b 4096 -O ea_inode,metadata_csum_seed,large_dir",
        "-t ext4 -b 4096 -O ^extent,^64bit",
        "-t ext4 -b 1024 -O sparse_super2,^resize_inode",
        "-t ext4 -b 4096 -O quota,project,orphan_file,mmp,verity,encrypt,fast_commit",
        "-t ext4 -b 4096 -O ^filetype,^extent,^64bit,^metadata_csum",
    ]
    .into_iter()
    .enumerate()
    {
        let image = mke2fs(scratch.path(), &format!("v{i}.img"), args, Some(&src), "48M");
        let volume = open(&image);
        let found = tree::of_volume(&volume);
        // mke2fs keeps whole seconds only.
        tree::assert_same(&expected, &found, args, |p| p.is_empty() || p == b"lost+found", false);
        for path in expected.keys().filter(|p| !p.is_empty()) {
            let by_path = volume.resolve(path, false).unwrap();
            let (parent, name) = volume.resolve_parent(path).unwrap();
            let entry = volume.lookup(&parent, &name).unwrap().unwrap();
            assert_eq!(entry.inode, by_path.nr(), "{args}: {}", path.escape_ascii());
        }
        assert_eq!(volume.resolve(b"/a/b/c/../../../fast", true).unwrap().size(), 5);
        fs::remove_file(image).unwrap();
    }
}
