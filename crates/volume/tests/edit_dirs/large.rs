//! Directories of many names: indexes of several levels, names of one hash in several leaves, counts that overflow.

use std::collections::HashMap;

use daxkit_format::dax::Errno;
use daxkit_format::ext4::dir_entry::file_type;
use daxkit_format::ext4::hash::{HashVersion, dirhash};
use daxkit_format::ext4::super_block::SuperFlags;
use daxkit_volume::ext4::edit::NewInode;
use daxkit_volume::{InodeNr, Volume};

use crate::common::{self, Rng};
use crate::session::{self, Session, assert_clean};

const FILE: NewInode = NewInode::of_root(0o644);
const DIR: NewInode = NewInode::of_root(0o755);

/// What `htree_dump` of debugfs says of a directory: levels below the root, and the hashes of all index entries, some twice.
fn htree_dump(image: &std::path::Path, path: &str) -> (u32, Vec<u32>) {
    let text = common::debugfs(image, &format!("htree_dump {path}"));
    let levels = text.lines().find_map(|l| l.trim().strip_prefix("Indirect levels: ")).expect("levels");
    let hashes = text.lines().filter_map(|l| l.trim().strip_prefix("Entry #")?.split_once("Hash 0x"));
    let hashes = hashes.map(|(_, h)| u32::from_str_radix(&h[..8], 16).expect("a hash")).collect();
    (levels.parse().expect("a number"), hashes)
}

fn shuffled<T>(mut all: Vec<T>, rng: &mut Rng) -> Vec<T> {
    for i in (1..all.len()).rev() {
        all.swap(i, rng.below(i as u64 + 1) as usize);
    }
    all
}

/// Makes a directory of so many names of such lengths, looks at it, and empties it in another order.
fn fill_and_empty(mke2fs: &str, size: &str, count: usize, lengths: std::ops::Range<u64>, levels: u32) {
    let seed = 5;
    println!("{mke2fs}: seed {seed}");
    let mut rng = Rng(seed);
    let dir = common::scratch();
    let image = session::mke2fs(dir.path(), "image", mke2fs, None, size);
    let mut session = Session::open(&image);
    let top = session.edit(|e| e.mkdir(InodeNr::ROOT, b"top", &DIR)).expect("made").nr();
    let names: Vec<Vec<u8>> = (0..count)
        .map(|n| {
            let mut name = format!("{n:x}-").into_bytes();
            let len = lengths.start + rng.below(lengths.end - lengths.start);
            name.extend((name.len() as u64..len).map(|_| b'a' + rng.below(26) as u8));
            name
        })
        .collect();
    let start = std::time::Instant::now();
    for name in shuffled(names.clone(), &mut rng) {
        session.edit(|e| e.create(top, &name, &FILE)).unwrap_or_else(|e| panic!("{}: {e}", name.escape_ascii()));
    }
    println!("{count} names made in {:?}", start.elapsed());
    session.commit();
    assert_clean(&image);
    let (found_levels, hashes) = htree_dump(&image, "/top");
    assert_eq!(found_levels, levels);
    let leaves = session.volume.inode(top).expect("there").size() / u64::from(session.volume.block_size());
    assert!(hashes.len() as u64 >= leaves - 1, "{} entries for {leaves} blocks", hashes.len());
    {
        // The kernel finds each name.
        let mount = common::Mount::new(&image, &dir.path().join("mnt"), "ro,noload");
        let top = mount.path.join("top");
        assert_eq!(std::fs::read_dir(&top).expect("a directory").count(), count);
        for name in &names {
            let name = std::str::from_utf8(name).expect("text");
            top.join(name).symlink_metadata().unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }
    let start = std::time::Instant::now();
    for (n, name) in shuffled(names, &mut rng).iter().enumerate() {
        session.edit(|e| e.unlink(top, name)).unwrap_or_else(|e| panic!("{}: {e}", name.escape_ascii()));
        if n == count / 2 {
            session.commit();
            assert_clean(&image);
        }
    }
    println!("{count} names removed in {:?}", start.elapsed());
    let inode = session.volume.inode(top).expect("there");
    assert!(session.volume.is_empty_dir(&inode).expect("sound"));
    // The index stays, and takes names again.
    session.edit(|e| e.create(top, b"once more", &FILE)).expect("made");
    session.edit(|e| e.unlink(top, b"once more")).expect("removed");
    session.edit(|e| e.rmdir(InodeNr::ROOT, b"top")).expect("removed");
    session.commit();
    assert_clean(&image);
}

#[test]
fn two_hundred_thousand_names_in_two_levels_and_three() {
    fill_and_empty("-t ext4 -b 1024 -I 128 -N 210000", "128M", 200_000, 8..24, 1);
    fill_and_empty("-t ext4 -b 1024 -I 128 -N 210000 -O large_dir", "200M", 200_000, 30..180, 2);
}

#[test]
fn an_index_that_is_full_says_so() {
    let dir = common::scratch();
    let image = session::mke2fs(dir.path(), "image", "-t ext4 -b 1024 -I 128", None, "64M");
    let mut session = Session::open(&image);
    let mut top = session.edit(|e| e.mkdir(InodeNr::ROOT, b"top", &DIR)).expect("made");
    let file = session.edit(|e| e.create(InodeNr::ROOT, b"file", &FILE)).expect("made").nr();
    // Names alone: the file would have too many links.
    let mut made = 0;
    let error = loop {
        let name = format!("{made}{}", "x".repeat(240));
        match session.edit(|e| e.add_name(&mut top, name.as_bytes(), file, file_type::REG_FILE)) {
            Ok(()) => made += 1,
            Err(e) => break e,
        }
        top = session.volume.inode(top.nr()).expect("there");
    };
    assert_eq!((error.errno(), error.to_string().contains("index is full")), (Errno::ENOSPC, true), "{error}");
    assert!(made > 10_000, "{made}");
    for n in (0..made).step_by(3) {
        let name = format!("{n}{}", "x".repeat(240));
        let found = session.volume.lookup(&top, name.as_bytes()).expect("sound");
        assert_eq!(found.expect("found").inode, file);
    }
    session.edit(|e| e.change_inode(file, |d| d.i_links_count.set(u16::try_from(made + 1).unwrap_or(0)))).expect("set");
    session.commit();
    assert_clean(&image);
    let (levels, _) = htree_dump(&image, "/top");
    assert_eq!(levels, 1);
}

/// Names of `len` bytes of which each has the hash of another.
fn pairs_of_one_hash(volume: &Volume, candidates: u32, len: usize) -> Vec<[Vec<u8>; 2]> {
    let sb = volume.super_block();
    let unsigned = sb.s_flags.get() & SuperFlags::UNSIGNED_HASH.bits() != 0;
    let version = HashVersion::resolve(sb.s_def_hash_version, unsigned).expect("known");
    let name = |n: u32| {
        let mut name = format!("{n:08x}").into_bytes();
        name.resize(len, b'z');
        name
    };
    let mut seen: HashMap<u32, u32> = HashMap::new();
    let mut pairs = Vec::new();
    for n in 0..candidates {
        if let Some(other) = seen.insert(dirhash(&name(n), version, &sb.hash_seed()).hash, n) {
            pairs.push([name(other), name(n)]);
        }
    }
    pairs
}

#[test]
fn names_of_one_hash_go_on_in_the_next_leaf() {
    for hash in ["half_md4", "tea", "legacy"] {
        let dir = common::scratch();
        let image = session::mke2fs(dir.path(), "image", "-t ext4 -b 1024", None, "16M");
        common::run("tune2fs", &[&"-E", &format!("hash_alg={hash}"), &image]);
        let mut session = Session::open(&image);
        let pairs = pairs_of_one_hash(&session.volume, 500_000, 250);
        assert!(pairs.len() > 20, "{hash}: {} pairs", pairs.len());
        let top = session.edit(|e| e.mkdir(InodeNr::ROOT, b"top", &DIR)).expect("made").nr();
        let names: Vec<&Vec<u8>> = shuffled(pairs.iter().take(400).flatten().collect(), &mut Rng(3));
        for name in &names {
            session.edit(|e| e.create(top, name, &FILE)).expect("made");
        }
        session.commit();
        assert_clean(&image);
        let (_, hashes) = htree_dump(&image, "/top");
        let continued = hashes.iter().filter(|h| *h & 1 == 1).count();
        assert!(continued > 2, "{hash}: {continued} of {} leaves go on with the hash before", hashes.len());
        {
            let mount = common::Mount::new(&image, &dir.path().join("mnt"), "ro,noload");
            for name in &names {
                let name = std::str::from_utf8(name).expect("text");
                mount.path.join("top").join(name).symlink_metadata().unwrap_or_else(|e| panic!("{name}: {e}"));
            }
        }
        for name in &names {
            assert_eq!(session.edit(|e| e.create(top, name, &FILE)).expect_err("there").errno(), Errno::EEXIST);
            session.edit(|e| e.unlink(top, name)).expect("found");
        }
        session.commit();
        assert_clean(&image);
    }
}

#[test]
fn more_links_than_can_be_counted() {
    let dir = common::scratch();
    for (feature, uncounted) in [("dir_nlink", true), ("^dir_nlink", false)] {
        let args = format!("-t ext4 -b 1024 -I 128 -N 70000 -O {feature}");
        let image = session::mke2fs(dir.path(), "image", &args, None, "128M");
        let mut session = Session::open(&image);
        let top = session.edit(|e| e.mkdir(InodeNr::ROOT, b"top", &DIR)).expect("made").nr();
        for n in 0..64_998 {
            session.edit(|e| e.mkdir(top, format!("{n}").as_bytes(), &DIR)).expect("made");
        }
        let links = |session: &Session| session.volume.inode(top).expect("there").i_links_count.get();
        assert_eq!(links(&session), 65_000);
        let more = session.edit(|e| e.mkdir(top, b"more", &DIR));
        if uncounted {
            more.expect("made");
            assert_eq!(links(&session), 1);
            session.edit(|e| e.mkdir(top, b"and more", &DIR)).expect("made");
            session.edit(|e| e.rmdir(top, b"more")).expect("removed");
            assert_eq!(links(&session), 1, "it is not counted any more");
        } else {
            assert_eq!(more.expect_err("full").errno(), Errno::EMLINK);
            session.edit(|e| e.rmdir(top, b"7")).expect("removed");
            session.edit(|e| e.mkdir(top, b"more", &DIR)).expect("made");
            assert_eq!(links(&session), 65_000);
        }
        session.commit();
        assert_clean(&image);
    }
    let image = session::mke2fs(dir.path(), "image", "-t ext4 -b 4096", None, "64M");
    let mut session = Session::open(&image);
    let file = session.edit(|e| e.create(InodeNr::ROOT, b"file", &FILE)).expect("made").nr();
    for n in 1..65_000 {
        session.edit(|e| e.link(InodeNr::ROOT, format!("{n}").as_bytes(), file)).expect("linked");
    }
    let more = session.edit(|e| e.link(InodeNr::ROOT, b"more", file));
    assert_eq!(more.expect_err("full").errno(), Errno::EMLINK);
    session.commit();
    assert_clean(&image);
}
