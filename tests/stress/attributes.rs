//! Extended attributes at every limit of size: what fills an inode, a block, or an inode of its own, and one byte more.

use super::common::{holds, make, memory, open, refused, scratch};
use super::oracle;
use super::readers;
use super::snapshot::{self, set_xattr};
use super::tools::note;
use super::tree_compare::{Allow, compare};
use std::fs;
use std::path::Path;

/// Head of a block, and of the attributes in an inode; the zero word behind the last entry.
const BLOCK_HEADER: usize = 32;
const INODE_HEADER: usize = 4;
const END: usize = 4;
/// An entry with a name of one letter behind its prefix.
const ENTRY: usize = 16 + 4;

/// The largest value of one attribute `trusted.a` in an inode of this size.
fn inode_room(inode_size: usize) -> usize {
    inode_size - 128 - 32 - INODE_HEADER - END - ENTRY
}

/// The largest value of one attribute `trusted.a` in a block of this size.
fn block_room(block_size: usize) -> usize {
    block_size - BLOCK_HEADER - END - ENTRY
}

fn value(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + len) as u8).collect()
}

fn file(at: &Path, name: &str, attributes: &[(&str, usize)]) {
    let path = at.join(name);
    fs::write(&path, name).expect("write");
    for (attribute, len) in attributes {
        set_xattr(&path, &format!("trusted.{attribute}"), &value(*len));
    }
}

/// The ACL with this many users named, as the kernel takes it.
fn acl(users: u32) -> Vec<u8> {
    let mut bytes = 2u32.to_le_bytes().to_vec();
    let mut entry = |tag: u16, id: u32| {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&6u16.to_le_bytes());
        bytes.extend_from_slice(&id.to_le_bytes());
    };
    entry(0x01, u32::MAX);
    (0..users).for_each(|user| entry(0x02, 1000 + user));
    for tag in [0x04, 0x10, 0x20] {
        entry(tag, u32::MAX);
    }
    bytes
}

/// The most users that an ACL in a block of 4 KiB names: short entries take 4 bytes, those with a name 8.
const MOST_USERS: u32 = (4096 - BLOCK_HEADER as u32 - END as u32 - 16 - 4 - 4 * 4) / 8;

/// Makes an image, has everybody read it, and returns it.
fn same(source: &Path, scratch: &Path, options: &[&str], inode_size: u32, block_size: u64) -> std::path::PathBuf {
    snapshot::of_directory(source).expect("readable");
    let expected = snapshot::of_directory(source).expect("readable");
    let image = scratch.join("image");
    let _ = fs::remove_file(&image);
    make(&[options, &["-d", source.to_str().expect("a plain path")]].concat(), &image, "16M");
    holds(oracle::clean(&image));
    let allow = Allow::nothing(inode_size, block_size);
    holds(compare("the kernel", &expected, &holds(readers::kernel(&image, scratch)), allow));
    holds(compare("daxkit-volume", &expected, &holds(readers::volume(&image)), allow));
    holds(compare("debugfs", &expected, &holds(readers::debugfs(&image, scratch)), allow));
    image
}

/// Whether the attributes of a file take a block.
fn has_block(image: &Path, path: &str) -> bool {
    let volume = open(image);
    volume.resolve(path.as_bytes(), false).expect("there").file_acl() != 0
}

#[test]
fn what_fills_an_inode_or_a_block_is_kept_there() {
    for (inode_size, block_size) in [(256, 4096), (256, 1024), (512, 2048), (1024, 4096), (128, 4096)] {
        let (source, scratch) = (memory(), scratch());
        let at = source.path();
        let room = block_room(block_size);
        let mut expected = vec![("block", true)];
        if inode_size > 128 {
            let inside = inode_room(inode_size);
            file(at, "in-inode", &[("a", inside)]);
            file(at, "over", &[("a", inside + 1)]);
            file(at, "both", &[("a", inside), ("b", room)]);
            file(at, "both-swapped", &[("a", room), ("b", inside)]);
            // As many as there is room for: values of nothing.
            let names: Vec<String> = (0..(inside + ENTRY) / ENTRY).map(|i| format!("{i:02}")).collect();
            file(at, "small-ones", &names.iter().map(|n| (n.as_str(), 0)).collect::<Vec<_>>());
            expected.extend([("in-inode", false), ("over", true), ("both", true), ("both-swapped", true)]);
            expected.push(("small-ones", false));
        }
        file(at, "block", &[("a", room)]);
        file(at, "longest-name", &[(&"n".repeat(247), 0)]);
        let options = ["-I", &inode_size.to_string(), "-b", &block_size.to_string()];
        let image = same(at, scratch.path(), &options, inode_size as u32, block_size as u64);
        for (name, block) in expected {
            assert_eq!(has_block(&image, &format!("/{name}")), block, "{name}, inodes of {inode_size}");
        }
        note(format!(
            "inodes of {inode_size}, blocks of {block_size}: a value of {} bytes in the inode, of {room} in the block",
            if inode_size > 128 { inode_room(inode_size).to_string() } else { "no".to_owned() }
        ));
    }
}

#[test]
fn one_byte_more_is_refused_by_name() {
    let scratch = scratch();
    let image = scratch.path().join("image");
    for (inode_size, block_size) in [(256, 4096), (256, 1024), (128, 4096), (1024, 1024)] {
        let room = block_room(block_size);
        let inside = if inode_size > 128 { inode_room(inode_size) } else { 0 };
        let mut cases = vec![vec![("a", room.max(inside) + 1)], vec![("a", 65_536)]];
        if inside > 0 {
            cases.push(vec![("a", inside), ("b", room + 1)]);
            cases.push(vec![("a", inside + 1), ("b", room)]);
        }
        for attributes in cases {
            let source = memory();
            fs::create_dir(source.path().join("dir")).expect("mkdir");
            file(source.path(), "dir/too much", &attributes);
            let options = ["-I", &inode_size.to_string(), "-b", &block_size.to_string()];
            let dir = source.path().to_str().expect("a plain path");
            let line = refused(&[&options[..], &["-d", dir]].concat(), &image, "16M");
            assert!(line.contains("/dir/too much"), "{attributes:?}: {line}");
            assert!(line.contains("ea_inode"), "says what would help: {line}");
        }
    }
}

#[test]
fn inodes_of_their_own_hold_up_to_64_kib() {
    for (inode_size, block_size) in [(256, 4096), (256, 1024), (128, 4096)] {
        let (source, scratch) = (memory(), scratch());
        let room = block_room(block_size);
        for len in [room, room + 1, block_size, 65_535, 65_536] {
            file(source.path(), &format!("one-{len}"), &[("a", len)]);
            file(source.path(), &format!("shared-{len}"), &[("a", len)]);
            file(source.path(), &format!("two-{len}"), &[("a", len), ("b", len)]);
        }
        let options = ["-O", "ea_inode", "-I", &inode_size.to_string(), "-b", &block_size.to_string()];
        same(source.path(), scratch.path(), &options, inode_size as u32, block_size as u64);
    }
}

#[test]
fn access_lists_up_to_a_whole_block_and_capabilities() {
    let (source, scratch) = (memory(), scratch());
    let at = source.path();
    for users in [1, 5, 100, MOST_USERS] {
        file(at, &format!("users-{users}"), &[]);
        set_xattr(&at.join(format!("users-{users}")), "system.posix_acl_access", &acl(users));
    }
    let dir = at.join("dir");
    fs::create_dir(&dir).expect("mkdir");
    set_xattr(&dir, "system.posix_acl_default", &acl(50));
    set_xattr(&dir, "system.posix_acl_access", &acl(3));
    // Revision 2, and revision 3 with the owner of its name space.
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    file(at, "capable", &[]);
    set_xattr(&at.join("capable"), "security.capability", &capability);
    file(at, "capable-and-more", &[("a", block_room(4096) - 100)]);
    set_xattr(&at.join("capable-and-more"), "security.capability", &capability);
    set_xattr(&at.join("capable-and-more"), "system.posix_acl_access", &acl(2));
    same(at, scratch.path(), &[], 256, 4096);
    note(format!("an access list of {MOST_USERS} users fills a block of 4 KiB"));

    file(at, "one too many", &[]);
    set_xattr(&at.join("one too many"), "system.posix_acl_access", &acl(MOST_USERS + 1));
    let image = scratch.path().join("refused");
    let line = refused(&["-d", at.to_str().expect("a plain path")], &image, "16M");
    assert!(line.contains("/one too many"), "{line}");
}
