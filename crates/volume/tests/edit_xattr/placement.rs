//! The same attributes set by the kernel and by us lie in the same places.

use std::path::Path;

use crate::common::edit::{NOW, Rng, assert_clean, open_writable, seed};
use crate::common::{Mount, copy, mke2fs, open, scratch};
use crate::model::{NAMES, acl};
use daxkit_format::dax::Errno;
use daxkit_volume::ext4::XattrPlace;
use daxkit_volume::{EditError, Volume};
use rustix::fs::XattrFlags;

/// One call: file, name, the value to set or nothing to remove.
type Call = (usize, String, Option<Vec<u8>>);

const FILES: usize = 12;

fn calls(rng: &mut Rng, count: u64, largest: u64) -> Vec<Call> {
    let one = |_| {
        let file = rng.below(FILES as u64) as usize;
        if rng.below(20) == 0 {
            return (file, "system.posix_acl_access".to_owned(), Some(acl(1 + rng.below(4) as u32)));
        }
        let name = NAMES[rng.below(NAMES.len() as u64) as usize].to_owned();
        let len = match rng.below(10) {
            0 => 0,
            1..6 => rng.below(50),
            6..8 => rng.below(400),
            8 => 600 + rng.below(500),
            _ => rng.below(largest + 1),
        };
        // No two files have equal values, so nothing is shared: the kernel shares as its cache allows.
        let value = (rng.below(10) < 7).then(|| (0..len).map(|i| (i as u8) ^ (file as u8 * 16 + 1)).collect());
        (file, name, value)
    };
    (0..count).map(one).collect()
}

/// What each call came to: 0 or an error's number.
fn by_kernel(at: &Path, calls: &[Call]) -> Vec<i32> {
    let one = |(file, name, value): &Call| {
        let path = at.join(format!("f{file}"));
        let result = match value {
            Some(value) => rustix::fs::setxattr(&path, name.as_str(), value, XattrFlags::empty()),
            None => rustix::fs::removexattr(&path, name.as_str()),
        };
        result.err().map_or(0, rustix::io::Errno::raw_os_error)
    };
    calls.iter().map(one).collect()
}

fn by_us(volume: &mut Volume, calls: &[Call]) -> Vec<i32> {
    let mut one = |(file, name, value): &Call| {
        let done = volume.change(NOW, |e| {
            let mut inode = e.resolve(format!("/f{file}").as_bytes(), false).map_err(EditError::from)?;
            match value {
                Some(value) => e.set_xattr(&mut inode, name.as_bytes(), value),
                None => e.remove_xattr(&mut inode, name.as_bytes()),
            }
        });
        done.err().map_or(0, |e| e.errno().number())
    };
    calls.iter().map(&mut one).collect()
}

/// Everything that the attributes of a file come to.
fn state(volume: &Volume, file: usize) -> String {
    let inode = volume.resolve(format!("/f{file}").as_bytes(), false).expect("a file");
    let mut text = format!("{} bytes, {} on disk, inline {}", inode.size(), inode.space(), inode.has_inline_data());
    for x in volume.xattrs(&inode).expect("attributes") {
        let place = match x.place {
            XattrPlace::Inode => "inode",
            XattrPlace::Block(_) => "block",
        };
        let outside = if x.value_inode.is_some() { " outside" } else { "" };
        let name = x.full_name();
        text += &format!("\n{} {place}{outside} {:#x} {:?}", String::from_utf8_lossy(&name), x.hash, x.value);
    }
    text
}

fn same_places(which: u64, args: &str, size: &str, largest: u64) {
    let dir = scratch();
    let source = dir.path().join("source");
    std::fs::create_dir(&source).expect("source");
    for i in 0..FILES {
        std::fs::write(source.join(format!("f{i}")), vec![b'c'; i * 14]).expect("file");
    }
    let ours = mke2fs(dir.path(), "ours", &format!("-t ext4 {args}"), Some(&source), size);
    let theirs = dir.path().join("theirs");
    copy(&ours, &theirs);
    let mut rng = Rng::new(seed(which));
    let (device, mut volume) = open_writable(&ours);
    for round in 0..6 {
        let calls = calls(&mut rng, 150, largest);
        let expected = by_kernel(&Mount::new(&theirs, &dir.path().join("mnt"), "").path, &calls);
        assert_eq!(by_us(&mut volume, &calls), expected, "{args} round {round}");
        assert!(expected.contains(&Errno::ENODATA.number()));
        volume.commit(&ours, 0, &*device, NOW).expect("commits");
        let kernel = open(&theirs);
        for file in 0..FILES {
            assert_eq!(state(&volume, file), state(&kernel, file), "{args} round {round} file {file}");
        }
        let free = |v: &Volume| (v.super_block().free_blocks_count(), v.super_block().s_free_inodes_count.get());
        assert_eq!(free(&volume), free(&kernel), "{args} round {round}");
        assert_clean(&ours, args);
    }
}

#[test]
fn what_the_kernel_refuses_is_refused_with_its_error() {
    let dir = scratch();
    let source = dir.path().join("source");
    std::fs::create_dir(&source).expect("source");
    std::fs::write(source.join("f0"), b"content").expect("file");
    let image =
        mke2fs(dir.path(), "image", "-t ext4 -I 256 -b 4096 -J size=16 -O inline_data,ea_inode", Some(&source), "64M");
    let long = |len: usize| format!("user.{}", "n".repeat(len - 5));
    let set = |name: &str, value: &[u8]| (0, name.to_owned(), Some(value.to_vec()));
    let mut calls = vec![
        set(&long(255), b"longest"),
        set(&long(256), b"too long"),
        set("user.", b"no name"),
        set("user.large", &vec![1; 65_536]),
        set("user.large", &vec![1; 65_537]),
        set("nothing.known", b""),
        set("system.data", b"is not the user's"),
        set("system.other", b""),
        set("encryption.c", b""),
        set("system.posix_acl_access", b"no list"),
        set("system.posix_acl_access", &acl(1)[..20]),
        set("security.capability.not", b""),
    ];
    calls.extend(["user.none", "system.data", "system.posix_acl_access"].map(|name| (0, name.to_owned(), None)));
    let expected = by_kernel(&Mount::new(&image, &dir.path().join("mnt"), "").path, &calls);
    // The kernel ignores what is not there when it takes an access control list away; such names it cannot set are ours to set.
    let image =
        mke2fs(dir.path(), "again", "-t ext4 -I 256 -b 4096 -J size=16 -O inline_data,ea_inode", Some(&source), "64M");
    let (_, mut volume) = open_writable(&image);
    let found = by_us(&mut volume, &calls);
    for ((call, expected), found) in calls.iter().zip(expected).zip(found) {
        let differs = match (call.1.as_str(), &call.2) {
            ("system.other", _) => Some((Errno::EOPNOTSUPP.number(), 0)),
            ("system.posix_acl_access", None) => Some((0, Errno::ENODATA.number())),
            _ => None,
        };
        assert_eq!((expected, found), differs.unwrap_or((expected, expected)), "{:?}", call.1);
    }
}

#[test]
fn attributes_lie_where_the_kernel_puts_them() {
    same_places(20, "-I 256 -b 1024", "16M", 1100);
    same_places(21, "-I 128 -b 1024", "16M", 1100);
    same_places(22, "-I 512 -b 4096 -O ^metadata_csum", "16M", 5000);
}

#[test]
fn attributes_lie_where_the_kernel_puts_them_beside_inline_data() {
    same_places(23, "-I 256 -b 1024 -O inline_data", "16M", 1100);
    same_places(24, "-I 1024 -b 4096 -O inline_data", "16M", 5000);
}

#[test]
fn values_lie_outside_when_the_kernel_puts_them_there() {
    same_places(25, "-I 256 -b 1024 -O ea_inode", "48M", 20_000);
    same_places(26, "-I 128 -b 4096 -O ea_inode", "48M", 65_536);
    same_places(27, "-I 512 -b 2048 -O ea_inode,inline_data", "48M", 20_000);
}
