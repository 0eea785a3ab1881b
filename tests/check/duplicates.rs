//! A name that comes twice in a directory with an index, in two of its leaves.

use crate::bases;
use crate::by_hand::{changed, found, repaired};
use crate::corpus::used;
use crate::mutate::open_any;
use crate::shared::tools;
use crate::verdict::{theirs, write};
use daxkit_format::ext4::hash::{HashVersion, dirhash};
use std::collections::BTreeSet;
use std::fs;

const BLOCK: usize = 1024;

/// An entry of a leaf: where its record begins, what it leads to, its name.
struct Entry {
    at: usize,
    inode: u32,
    name: Vec<u8>,
}

/// The image with a directory `/d` of so many files, and the number of that directory.
fn image(files: u32) -> (Vec<u8>, u64) {
    let scratch = bases::scratch();
    let (tree, path) = (scratch.path().join("tree"), scratch.path().join("image"));
    fs::create_dir_all(tree.join("d")).expect("mkdir");
    for nr in 0..files {
        fs::write(tree.join(format!("d/a-name-of-some-length-{nr:05}")), b"").expect("written");
    }
    let mut command = tools::dax_mkfs();
    command.env("SOURCE_DATE_EPOCH", "1700000000").args(["-q", "--reproducible", "-b", "1024"]);
    command.args([
        "-O",
        "^has_journal",
        "--pmem-align",
        "none",
        "-E",
        "hash_seed=01234567-89ab-cdef-0123-456789abcdef",
    ]);
    tools::succeed(command.arg("-d").arg(&tree).arg(&path).arg("4M")).unwrap_or_else(|told| panic!("{told}"));
    let bytes = fs::read(&path).expect("readable");
    assert_eq!(found(&bytes), [""; 0]);
    let volume = open_any(&bytes).1.expect("sound");
    let dir = volume.resolve(b"/d", true).expect("there").nr().get();
    (bytes, dir)
}

fn block_of(bytes: &[u8], dir: u64, logical: u64) -> Vec<u8> {
    let volume = open_any(bytes).1.expect("opens");
    let inode = volume.inode_unverified(daxkit_volume::InodeNr(dir)).expect("there");
    let start = logical * BLOCK as u64;
    volume.read_file(&inode, start..start + BLOCK as u64).expect("readable")
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// The leaves, in the order of the index: where its entry lies in the root, the block, the names. The first has no hash of its own.
fn leaves(bytes: &[u8], dir: u64) -> Vec<(usize, u64, Vec<Entry>)> {
    let root = block_of(bytes, dir, 0);
    assert_eq!(root[0x1e], 0, "the root leads to leaves");
    let count = usize::from(u16::from_le_bytes([root[0x22], root[0x23]]));
    let leaf = |index: usize| {
        let at = 0x20 + index * 8;
        let logical = u64::from(word(&root, at + 4));
        let leaf = block_of(bytes, dir, logical);
        let (mut entries, mut from) = (Vec::new(), 0);
        while from < BLOCK - 12 {
            let (inode, len) = (word(&leaf, from), usize::from(u16::from_le_bytes([leaf[from + 4], leaf[from + 5]])));
            if inode != 0 {
                let name = leaf[from + 8..from + 8 + usize::from(leaf[from + 6])].to_vec();
                entries.push(Entry { at: from, inode, name });
            }
            from += len;
        }
        (at, logical, entries)
    };
    (0..count).map(leaf).collect()
}

/// Both repairs leave what e2fsck finds clean, with the same inodes in use, and as many names.
fn mended_as_by_e2fsck(bytes: &[u8], how: &str, dir: u64, names: usize) {
    let scratch = bases::scratch();
    let (mine, other) = (scratch.path().join("mine"), scratch.path().join("other"));
    write(&mine, &repaired(bytes, |_| true));
    write(&other, bytes);
    theirs(&other, how);
    for file in [&mine, &other] {
        let (status, said) = theirs(file, "-fn");
        assert_eq!(status, 0, "{said}");
        let after = fs::read(file).expect("readable");
        assert_eq!(found(&after), [""; 0]);
        let volume = open_any(&after).1.expect("sound");
        let inode = volume.inode(daxkit_volume::InodeNr(dir)).expect("there");
        let all: Vec<Vec<u8>> =
            volume.read_dir(&inode).expect("a directory").map(|entry| entry.expect("sound").name.to_vec()).collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), names + 2);
        assert_eq!(all.len(), names + 2);
    }
    assert_eq!(used(&mine).0, used(&other).0);
}

/// A name of one leaf written over one of another leaf, which keeps its inode or leads to that of the first as well.
fn in_the_wrong_leaf(files: u32, same_inode: bool) {
    let (mut bytes, dir) = image(files);
    let leaves = leaves(&bytes, dir);
    assert!(leaves.len() > 3);
    let (from, to) = (&leaves[1], &leaves[leaves.len() - 1]);
    let (name, victim) = (&from.2[3], &to.2[5]);
    changed(&mut bytes, &format!("inode:{dir}/block:{}+{:#x}", to.1, victim.at + 8), &name.name);
    if same_inode {
        changed(&mut bytes, &format!("inode:{dir}/block:{}+{:#x}", to.1, victim.at), &name.inode.to_le_bytes());
    }
    let later = if to.1 > from.1 { (to.1, victim.at) } else { (from.1, name.at) };
    let mut expected =
        vec![format!("DIR013 inode:{dir}/block:{}+{:#x}", later.0, later.1), format!("HTR006 inode:{dir}/block:0")];
    if same_inode {
        // What has no name any more is empty, and goes.
        expected.push(format!("INO038 inode:{}", victim.inode));
        expected.push(format!("INO036 inode:{}.i_links_count", name.inode));
    }
    let (mut codes, files) = (found(&bytes), files as usize);
    codes.sort();
    expected.sort();
    assert_eq!(codes, expected);
    mended_as_by_e2fsck(&bytes, "-fy", dir, if same_inode { files - 1 } else { files });
}

#[test]
fn in_the_wrong_leaf_of_a_small_directory() {
    in_the_wrong_leaf(400, false);
    in_the_wrong_leaf(400, true);
}

#[test]
fn in_the_wrong_leaf_of_a_directory_that_is_checked_in_parts() {
    in_the_wrong_leaf(2000, false);
    in_the_wrong_leaf(2000, true);
}

/// The index says that names of one hash may lie in either of two leaves, and one name lies in both: the index is right.
fn on_the_edge_of_two_leaves(files: u32, same_inode: bool) {
    let (mut bytes, dir) = image(files);
    let leaves = leaves(&bytes, dir);
    let seed = open_any(&bytes).1.expect("sound").super_block().hash_seed();
    let hash = |entry: &&Entry| dirhash(&entry.name, HashVersion::HalfMd4, &seed).hash;
    let [.., one, next] = leaves.as_slice() else { panic!("there are two leaves") };
    let (name, victim) = (one.2.iter().max_by_key(hash).expect("names"), &next.2[5]);
    let (edge, place) = (hash(&name) | 1, format!("inode:{dir}/block:{}", next.1));
    changed(&mut bytes, &format!("inode:{dir}/block:0+{:#x}", next.0), &edge.to_le_bytes());
    assert_eq!(found(&bytes), [""; 0]);
    changed(&mut bytes, &format!("{place}+{:#x}", victim.at + 8), &name.name);
    let later = if next.1 > one.1 { (next.1, victim.at) } else { (one.1, name.at) };
    let mut expected = vec![format!("DIR013 inode:{dir}/block:{}+{:#x}", later.0, later.1)];
    if same_inode {
        changed(&mut bytes, &format!("{place}+{:#x}", victim.at), &name.inode.to_le_bytes());
        // What has no name any more is empty, and goes.
        expected.push(format!("INO038 inode:{}", victim.inode));
        expected.push(format!("INO036 inode:{}.i_links_count", name.inode));
    }
    let mut codes = found(&bytes);
    codes.sort();
    expected.sort();
    assert_eq!(codes, expected);
    // Without -D it looks for names that come twice block by block.
    let scratch = bases::scratch();
    let file = scratch.path().join("image");
    write(&file, &bytes);
    assert_eq!(theirs(&file, "-fn").0, if same_inode { 4 } else { 0 });
    mended_as_by_e2fsck(&bytes, "-fyD", dir, files as usize - usize::from(same_inode));
}

#[test]
fn on_the_edge_of_two_leaves_of_a_small_directory() {
    on_the_edge_of_two_leaves(400, false);
    on_the_edge_of_two_leaves(400, true);
}

#[test]
fn on_the_edge_of_two_leaves_of_a_directory_that_is_checked_in_parts() {
    on_the_edge_of_two_leaves(2000, false);
    on_the_edge_of_two_leaves(2000, true);
}
