//! Names of every length and every byte there can be.

use super::common::{holds, make, memory, scratch};
use super::oracle;
use super::readers;
use super::snapshot;
use super::tools::note;
use super::tree_compare::{Allow, compare};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

/// Every byte but `/` and NUL.
fn alphabet() -> Vec<u8> {
    (1..=255).filter(|b| *b != b'/').collect()
}

/// Names of 255 bytes with every byte in every place, names of one byte each, and of each length.
fn all() -> BTreeSet<Vec<u8>> {
    let alphabet = alphabet();
    let mut names = BTreeSet::new();
    for begin in 0..alphabet.len() {
        names.insert(alphabet.iter().cycle().skip(begin).take(255).copied().collect());
        names.insert(vec![alphabet[begin]; 255]);
        names.insert(vec![alphabet[begin]]);
        names.insert(vec![alphabet[begin]; 1 + begin]);
    }
    names.remove(&b"."[..]);
    names.remove(&b".."[..]);
    names
}

#[test]
fn names_of_255_arbitrary_bytes() {
    let (source, scratch) = (memory(), scratch());
    for (i, name) in all().into_iter().enumerate() {
        let path = source.path().join(OsStr::from_bytes(&name));
        match i % 7 {
            0 => {
                fs::create_dir(&path).expect("mkdir");
                fs::write(path.join(OsStr::from_bytes(&[0xff; 255])), &name).expect("write");
            }
            // What a link points to is as arbitrary as its name.
            1 => std::os::unix::fs::symlink(OsStr::from_bytes(&name), &path).expect("symlink"),
            _ => fs::write(&path, &name).expect("write"),
        }
    }
    snapshot::of_directory(source.path()).expect("readable");
    let expected = snapshot::of_directory(source.path()).expect("readable");
    note(format!("{} names of up to 255 arbitrary bytes", expected.len()));
    assert!(expected.len() > 900);
    for (block, options) in [(1024, &["-b", "1024"][..]), (4096, &[]), (4096, &["-O", "^dir_index,^metadata_csum"])] {
        let image = scratch.path().join("image");
        let dir = source.path().to_str().expect("a plain path");
        make(&[options, &["-d", dir]].concat(), &image, "32M");
        holds(oracle::clean(&image));
        let allow = Allow::nothing(256, block);
        holds(compare("the kernel", &expected, &holds(readers::kernel(&image, scratch.path())), allow));
        holds(compare("daxkit-volume", &expected, &holds(readers::volume(&image)), allow));
        fs::remove_file(&image).expect("removed");
    }
}
