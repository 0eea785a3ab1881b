//! A directory of 200,000 entries: an index of more than one level, in which the kernel and daxkit find every name.

use super::common::{Numbers, holds, make, memory, open, scratch};
use super::oracle::{self, Mounted};
use super::tools::note;
use daxkit_format::InodeNr;
use daxkit_format::OnDisk;
use daxkit_format::ext4::dx::DxRoot;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::time::Instant;

const ENTRIES: usize = 200_000;

/// Names of many lengths and of all sorts of bytes: what hashes differ in.
fn name(i: usize) -> Vec<u8> {
    let mut numbers = Numbers(i as u64 + 1);
    let mut name = format!("{i:06}-").into_bytes();
    for _ in 0..numbers.below(30) {
        name.push(match numbers.below(255) as u8 + 1 {
            b'/' => b'x',
            byte => byte,
        });
    }
    name
}

#[test]
fn two_hundred_thousand_entries() {
    let (source, scratch) = (memory(), scratch());
    let wide = source.path().join("wide");
    fs::create_dir(&wide).expect("mkdir");
    for i in 0..ENTRIES {
        fs::write(wide.join(OsStr::from_bytes(&name(i))), b"").expect("room for the files");
    }
    let dir = source.path().to_str().expect("a plain path");
    for hash in ["half_md4", "tea"] {
        let image = scratch.path().join(hash);
        let begin = Instant::now();
        make(&["-b", "1024", "-d", dir], &image, "256M");
        let made = begin.elapsed();
        if hash == "tea" {
            // Another hash function: e2fsck builds the index anew, and the kernel and daxkit must agree with it as well.
            holds(super::tools::succeed(super::tools::system("tune2fs").args(["-E", "hash_alg=tea"]).arg(&image)));
            let out = super::tools::output(super::tools::system("e2fsck").arg("-fyD").arg(&image));
            assert!(out.status.code().is_some_and(|c| c <= 1));
        }
        let begin = Instant::now();
        holds(oracle::clean(&image));
        let checked = begin.elapsed();

        let volume = open(&image);
        let inode = volume.resolve(b"/wide", false).expect("the directory");
        let root = volume.read_file_block(&inode, 0).expect("readable").expect("there").1;
        let levels = DxRoot::peek(&root).expect("an index").indirect_levels;
        assert!(levels >= 1, "an index of one level");
        assert_eq!(inode.flags().bits() & 0x1000, 0x1000, "the directory is indexed");
        let begin = Instant::now();
        let mut inodes = vec![InodeNr(0); ENTRIES];
        for (i, inode_nr) in inodes.iter_mut().enumerate() {
            let entry = volume.lookup(&inode, &name(i)).expect("readable");
            let entry = entry.unwrap_or_else(|| panic!("{} is not found", name(i).escape_ascii()));
            assert_eq!(entry.name, name(i));
            *inode_nr = entry.inode;
            let absent = [&name(i)[..], b"!"].concat();
            if i % 100 == 0 {
                assert!(volume.lookup(&inode, &absent).expect("readable").is_none());
            }
        }
        let looked_up = begin.elapsed();
        let mut listed = 0;
        for entry in volume.read_dir(&inode).expect("a directory") {
            listed += usize::from(!entry.expect("readable").is_dot());
        }
        assert_eq!(listed, ENTRIES);

        let mounted = holds(Mounted::new(&image, &scratch.path().join("mnt"), "ro"));
        let at = mounted.path().join("wide");
        let begin = Instant::now();
        assert_eq!(fs::read_dir(&at).expect("readable").count(), ENTRIES);
        let mut numbers = Numbers(7);
        for _ in 0..20_000 {
            use std::os::unix::fs::MetadataExt;
            let i = numbers.below(ENTRIES as u64) as usize;
            let meta = fs::symlink_metadata(at.join(OsStr::from_bytes(&name(i))));
            let meta = meta.unwrap_or_else(|e| panic!("the kernel does not find {}: {e}", name(i).escape_ascii()));
            assert_eq!(meta.ino(), inodes[i].get());
            let absent = fs::symlink_metadata(at.join(format!("{i:07}"))).expect_err("absent");
            assert_eq!(absent.kind(), ErrorKind::NotFound);
        }
        let by_kernel = begin.elapsed();
        holds(mounted.unmount());
        note(format!(
            "{ENTRIES} entries ({hash}, {} levels of index, {} blocks): made in {:.1} s, e2fsck {:.1} s, looked up by daxkit \
             {:.1} s, listed and 40,000 looked up by the kernel {:.1} s",
            levels + 1,
            inode.size() / 1024,
            made.as_secs_f64(),
            checked.as_secs_f64(),
            looked_up.as_secs_f64(),
            by_kernel.as_secs_f64()
        ));
        fs::remove_file(&image).expect("removed");
    }
}

/// Without an index every name is found as well.
#[test]
fn a_linear_directory_of_ten_thousand() {
    let (source, scratch) = (memory(), scratch());
    for i in 0..10_000 {
        fs::write(source.path().join(OsStr::from_bytes(&name(i))), b"").expect("write");
    }
    let image = scratch.path().join("image");
    make(&["-O", "^dir_index", "-d", source.path().to_str().expect("a plain path")], &image, "32M");
    holds(oracle::clean(&image));
    let mounted = holds(Mounted::new(&image, &scratch.path().join("mnt"), "ro"));
    for i in 0..10_000 {
        let path = mounted.path().join(OsStr::from_bytes(&name(i)));
        assert!(path.exists(), "the kernel does not find {}", name(i).escape_ascii());
    }
    holds(mounted.unmount());
}
