//! Journals left behind by debugfs and by a running kernel, replayed, and compared with what e2fsck makes of them.

mod common;
#[path = "common/tree.rs"]
mod tree;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions as FileOpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use common::{
    Mount, Rng, assert_clean, copy, debugfs_write, materialise, mke2fs, open, output, run, scratch, try_open,
};
use daxkit_volume::{OpenOptions, Volume};

/// Replays with e2fsck on a copy.
fn replayed_by_e2fsck(image: &Path) -> PathBuf {
    let target = image.with_extension("e2fsck");
    copy(image, &target);
    // Exit status 1: something was corrected.
    let out = output("e2fsck", &[&"-y", &"-E", &"journal_only", &target]);
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.code().is_some_and(|c| c <= 1) && !text.contains("Pass 1"), "{text}");
    target
}

/// Replays with this crate into a copy.
fn replayed_by_us(image: &Path) -> (PathBuf, Volume) {
    let volume = open(image);
    assert!(volume.replay_report().is_some(), "{} wants recovery", image.display());
    assert!(!volume.needs_recovery());
    let target = image.with_extension("ours");
    materialise(&**volume.device(), &target);
    (target, volume)
}

/// The blocks in which two images differ.
fn differing_blocks(a: &Path, b: &Path, block_size: usize) -> BTreeSet<u64> {
    let (a, b) = (fs::read(a).unwrap(), fs::read(b).unwrap());
    assert_eq!(a.len(), b.len());
    (0u64..).zip(a.chunks(block_size).zip(b.chunks(block_size))).filter(|(_, (x, y))| x != y).map(|(n, _)| n).collect()
}

fn same_tree(ours: &Volume, theirs: &Path, what: &str) {
    let a = tree::of_volume(ours);
    let b = tree::of_volume(&open(theirs));
    tree::assert_same(&b, &a, what, |_| false, true);
}

#[test]
fn a_log_by_debugfs_with_every_kind_of_checksum() {
    let scratch = scratch();
    let mut rng = Rng(7);
    for (i, (mkfs, jo)) in [
        ("-t ext4 -b 1024 -O ^metadata_csum,^64bit", "jo"),
        ("-t ext4 -b 1024 -O ^64bit", "jo -c"),
        ("-t ext4 -b 4096", "jo -c"),
        ("-t ext4 -b 4096 -O 64bit", "jo -c -v 2"),
        ("-t ext4 -b 4096 -O 64bit,^metadata_csum", "jo -c -v 3"),
        ("-t ext3 -b 4096", "jo"),
    ]
    .into_iter()
    .enumerate()
    {
        let image = mke2fs(scratch.path(), &format!("d{i}.img"), mkfs, None, "32M");
        let mut data = Vec::new();
        for _ in 0..(3 * 4096) {
            data.push(rng.next() as u8);
        }
        // One block that begins with the journal's magic number, and has to be escaped.
        data[..4].copy_from_slice(&[0xC0, 0x3B, 0x39, 0x98]);
        let file = scratch.path().join("data");
        fs::write(&file, &data).unwrap();
        let first = 6000;
        let block_size = if mkfs.contains("1024") { 1024u64 } else { 4096 };
        let last = first + (3 * 4096 / block_size) - 1;
        let list = format!("{first}-{last}");
        let script =
            format!("{jo}\njw -b {list} {f}\njw -r {}\njw -b {} {f}\njc\n", first + 1, first + 2, f = file.display());
        debugfs_write(&image, &script);
        let theirs = replayed_by_e2fsck(&image);
        let (ours, volume) = replayed_by_us(&image);
        let report = volume.replay_report().unwrap();
        // With version 1 checksums debugfs 1.47 writes a wrong one for a transaction of revokes only.
        let v1 = mkfs.contains("64bit,^metadata_csum");
        assert_eq!(report.is_complete(), !v1, "{mkfs}: {report:?}");
        assert_eq!(report.revoked, u64::from(!v1), "{mkfs}: {report:?}");
        let replayed = volume.read_block(daxkit_volume::BlockNr(first)).unwrap();
        assert_eq!(replayed, data[..block_size as usize], "{mkfs}");
        let journal = journal_super(&volume);
        let differ = differing_blocks(&ours, &theirs, block_size as usize);
        let allowed = BTreeSet::from([0, 1024 / block_size, journal]);
        assert!(differ.is_subset(&allowed), "{mkfs}: {differ:?} beyond {allowed:?}");
        fs::remove_file(&image).unwrap();
    }
}

fn journal_super(volume: &Volume) -> u64 {
    let inode = volume.inode(daxkit_volume::InodeNr::JOURNAL).unwrap();
    volume.extents(&inode).next().unwrap().unwrap().physical.get()
}

#[test]
fn a_commit_that_does_not_match_ends_the_log() {
    let scratch = scratch();
    let image = mke2fs(scratch.path(), "c.img", "-t ext4 -b 1024", None, "32M");
    let data = scratch.path().join("data");
    fs::write(&data, [0x11; 1024]).unwrap();
    let f = data.display();
    debugfs_write(&image, &format!("jo -c\njw -b 7000 {f}\njw -b 7001 {f}\njw -b 7002 {f}\njc\n"));
    let journal = journal_super(&try_open(&image, &OpenOptions { replay: false, ..OpenOptions::default() }).unwrap());
    // Each transaction: descriptor, data, commit; the second commit block is the journal's block 6.
    let file = FileOpenOptions::new().write(true).open(&image).unwrap();
    file.write_all_at(&[0xff; 4], (journal + 6) * 1024 + 100).unwrap();
    drop(file);
    let volume = open(&image);
    let report = volume.replay_report().unwrap();
    // The rest of a commit block behind its header does not count.
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(report.blocks, 3);

    let file = FileOpenOptions::new().write(true).open(&image).unwrap();
    file.write_all_at(&[0xff; 4], (journal + 6) * 1024 + 16).unwrap();
    drop(file);
    let volume = open(&image);
    let report = volume.replay_report().unwrap();
    assert_eq!(report.failed_transaction, Some(report.first_transaction + 1));
    assert_eq!(report.blocks, 1);

    // A data block that does not match is left out, the others are not.
    let image = mke2fs(scratch.path(), "b.img", "-t ext4 -b 1024", None, "32M");
    debugfs_write(&image, &format!("jo -c\njw -b 7000 {f}\njw -b 7001 {f}\njc\n"));
    let file = FileOpenOptions::new().write(true).open(&image).unwrap();
    file.write_all_at(b"broken", (journal + 2) * 1024).unwrap();
    drop(file);
    let volume = open(&image);
    let report = volume.replay_report().unwrap();
    assert_eq!((report.bad_blocks, report.blocks, report.is_complete()), (1, 1, false));
    assert_eq!(volume.read_block(daxkit_volume::BlockNr(7001)).unwrap(), [0x11; 1024]);
}

#[test]
fn an_external_journal() {
    let scratch = scratch();
    let journal = scratch.path().join("journal.img");
    run(
        "mke2fs",
        &[
            &"-q",
            &"-F",
            &"-b",
            &"4096",
            &"-O",
            &"journal_dev",
            &"-U",
            &"6a1c0f0e-2b43-4b6e-9d8c-111111111111",
            &journal,
            &"8M",
        ],
    );
    // debugfs cannot write an external journal, so the log of an internal one is put there: what differs is the
    // superblock in front.
    let inside = mke2fs(
        scratch.path(),
        "i.img",
        "-t ext4 -b 4096 -J size=4 -U 6a1c0f0e-2b43-4b6e-9d8c-111111111111",
        None,
        "32M",
    );
    let data = scratch.path().join("data");
    fs::write(&data, [0x22; 4096]).unwrap();
    debugfs_write(&inside, &format!("jo\njw -b 5000 {}\njc\n", data.display()));
    let volume = try_open(&inside, &OpenOptions { replay: false, ..OpenOptions::default() }).unwrap();
    let at = journal_super(&volume) as usize * 4096;
    let mut log = fs::read(&inside).unwrap()[at..at + (4 << 20)].to_vec();
    // Block numbers of an external journal count from the start of the device, where two more blocks lie.
    let word = |log: &[u8], at: usize| u32::from_be_bytes(log[at..at + 4].try_into().unwrap());
    let start = word(&log, 0x1C);
    assert_eq!(start, 1);
    log[0x10..0x14].copy_from_slice(&1025u32.to_be_bytes());
    log[0x14..0x18].copy_from_slice(&2u32.to_be_bytes());
    log[0x1C..0x20].copy_from_slice(&2u32.to_be_bytes());
    let mut device = fs::read(&journal).unwrap();
    device[4096..4096 + log.len()].copy_from_slice(&log);
    fs::write(&journal, &device).unwrap();
    // The file system forgets its own journal and names the other.
    debugfs_write(
        &inside,
        "ssv journal_inum 0\nssv journal_uuid 6a1c0f0e-2b43-4b6e-9d8c-111111111111\nssv journal_dev 0x801\n",
    );
    let error = try_open(&inside, &OpenOptions::default()).expect_err("needs the journal");
    assert_eq!(error.to_string(), "super: the journal lies on another device, which is needed to replay it");
    let external = daxkit_device::FileDevice::open(&journal, daxkit_device::FileOptions::read_only()).unwrap();
    let options = OpenOptions { journal: Some(std::sync::Arc::new(external)), ..OpenOptions::default() };
    let volume = try_open(&inside, &options).unwrap();
    assert_eq!(volume.replay_report().unwrap().blocks, 1);
    assert_eq!(volume.read_block(daxkit_volume::BlockNr(5000)).unwrap(), [0x22; 4096]);
    let other = scratch.path().join("other.img");
    run("mke2fs", &[&"-q", &"-F", &"-b", &"4096", &"-O", &"journal_dev", &other, &"8M"]);
    let external = daxkit_device::FileDevice::open(&other, daxkit_device::FileOptions::read_only()).unwrap();
    let options = OpenOptions { journal: Some(std::sync::Arc::new(external)), ..OpenOptions::default() };
    let error = try_open(&inside, &options).expect_err("another journal");
    assert_eq!(error.to_string(), "journal block 0: journal belongs to another file system");
}

/// Work that fills a journal: names come and go, blocks are freed and used again.
fn churn(root: &Path, rng: &mut Rng, rounds: u64) {
    for round in 0..rounds {
        let dir = root.join(format!("d{}", rng.below(8)));
        fs::create_dir_all(&dir).unwrap();
        let file = dir.join(format!("f{}", rng.below(40)));
        match rng.below(8) {
            0..=3 => fs::write(&file, vec![round as u8; rng.below(30_000) as usize]).unwrap(),
            4 => drop(fs::remove_file(&file)),
            5 => drop(fs::rename(&file, root.join(format!("moved{}", rng.below(20))))),
            6 => drop(symlink("x".repeat(1 + rng.below(200) as usize), dir.join(format!("s{round}")))),
            _ => drop(fs::remove_dir_all(root.join(format!("d{}", rng.below(8))))),
        }
    }
}

#[test]
fn a_log_left_by_the_kernel() {
    let scratch = scratch();
    for (i, (args, options)) in [
        ("-t ext4 -b 1024", ""),
        ("-t ext4 -b 4096 -O ^metadata_csum", ""),
        ("-t ext3 -b 1024", "data=journal,journal_checksum"),
        ("-t ext4 -b 4096 -O inline_data,orphan_file", ""),
        ("-t ext4 -b 1024 -J size=1", ""),
        ("-t ext4 -b 1024", "data=writeback,journal_async_commit"),
    ]
    .into_iter()
    .enumerate()
    {
        let image = mke2fs(scratch.path(), &format!("k{i}.img"), args, None, "64M");
        let mount = Mount::new(&image, &scratch.path().join("mnt"), options);
        let mut rng = Rng(11 + i as u64);
        for _ in 0..6 {
            churn(&mount.path, &mut rng, 150);
            run("sync", &[&"-f", &mount.path]);
        }
        let snapshot = scratch.path().join(format!("s{i}.img"));
        run("cp", &[&image, &snapshot]);
        let expected = tree::of_host(&mount.path);
        drop(mount);

        let theirs = replayed_by_e2fsck(&snapshot);
        let (ours, volume) = replayed_by_us(&snapshot);
        let report = volume.replay_report().unwrap();
        assert!(report.is_complete() && report.blocks > 0, "{args}: {report:?}");
        let block_size = volume.block_size() as usize;
        let differ = differing_blocks(&ours, &theirs, block_size);
        let allowed = BTreeSet::from([0, 1024 / block_size as u64, journal_super(&volume)]);
        assert!(differ.is_subset(&allowed), "{args}: {differ:?}");
        same_tree(&volume, &theirs, args);
        tree::assert_same(&expected, &tree::of_volume(&volume), args, |_| false, true);
        // What the orphan file says is left to whoever mounts, and e2fsck has an opinion on that.
        if !args.contains("orphan_file") {
            assert_clean(&ours);
        }
    }
}

fn fsync_write(path: &Path, bytes: &[u8], offset: u64) {
    let file = FileOpenOptions::new().create(true).truncate(false).write(true).open(path).unwrap();
    file.write_all_at(bytes, offset).unwrap();
    file.sync_all().unwrap();
}

#[test]
fn fast_commits_left_by_the_kernel() {
    let scratch = scratch();
    for (i, args) in [
        "-t ext4 -b 4096 -O fast_commit",
        "-t ext4 -b 1024 -O fast_commit",
        "-t ext4 -b 4096 -O fast_commit,^metadata_csum",
        "-t ext4 -b 4096 -O fast_commit,inline_data",
        "-t ext4 -b 4096 -O fast_commit,bigalloc -C 16384",
    ]
    .into_iter()
    .enumerate()
    {
        let image = mke2fs(scratch.path(), &format!("f{i}.img"), args, None, "128M");
        let mount = Mount::new(&image, &scratch.path().join("mnt"), "");
        let root = mount.path.clone();
        fs::create_dir(root.join("old")).unwrap();
        for n in 0..60 {
            fs::write(root.join(format!("old/file{n}")), vec![n as u8; 9000]).unwrap();
        }
        fs::write(root.join("gone"), vec![5; 50_000]).unwrap();
        fs::write(root.join("punched"), vec![6; 400_000]).unwrap();
        run("sync", &[&"-f", &root]);
        // A first full commit of something small, so that fast ones may follow.
        fsync_write(&root.join("first"), b"first", 0);

        fsync_write(&root.join("grown"), &[1; 20_000], 0);
        fsync_write(&root.join("grown"), &[2; 20_000], 20_000);
        for n in 0..12 {
            // Many extents: every other block.
            fsync_write(&root.join("sparse"), &[3; 4096], n * 40_960);
        }
        fs::hard_link(root.join("grown"), root.join("old/link")).unwrap();
        fsync_write(&root.join("grown"), &[4; 10], 5);
        fs::remove_file(root.join("old/file7")).unwrap();
        fs::rename(root.join("old/file8"), root.join("old/renamed with a longer name")).unwrap();
        fsync_write(&root.join("old/renamed with a longer name"), b"x", 3);
        symlink("somewhere", root.join("symbolic")).unwrap();
        for n in 0..40 {
            let path = root.join(format!("old/new file with quite a long name to fill the block {n}"));
            // What is not synced may have a name and no content after a crash.
            if n % 5 == 0 {
                fsync_write(&path, &vec![n as u8; n * 300], 0);
            } else {
                File::create(&path).unwrap();
            }
        }
        let file = FileOpenOptions::new().write(true).open(root.join("punched")).unwrap();
        file.set_len(100_000).unwrap();
        file.sync_all().unwrap();
        drop(file);
        fs::set_permissions(root.join("first"), fs::Permissions::from_mode(0o640)).unwrap();
        fs::remove_file(root.join("gone")).unwrap();
        fs::create_dir(root.join("newdir")).unwrap();
        fsync_write(&root.join("newdir/inside"), b"inside", 0);
        fsync_write(&root.join("last"), b"the last one", 0);
        let snapshot = scratch.path().join(format!("fs{i}.img"));
        run("cp", &[&image, &snapshot]);
        let expected = tree::of_host(&mount.path);
        drop(mount);

        let (ours, volume) = replayed_by_us(&snapshot);
        let report = volume.replay_report().unwrap().clone();
        assert!(report.is_complete(), "{args}: {report:?}");
        assert!(report.fast_commit_tags > 0, "{args}: {report:?}");
        assert_clean(&ours);
        tree::assert_same(&expected, &tree::of_volume(&volume), args, |_| false, false);
        // e2fsck 1.47.0 gives up on a number that was a file's and becomes a directory's, so the kernel is asked.
        let theirs = snapshot.with_extension("kernel");
        copy(&snapshot, &theirs);
        drop(Mount::new(&theirs, &scratch.path().join("mnt"), ""));
        // The kernel counts no links of directories when it replays, and gives them the time of the replay.
        let without_dirs = |mut t: tree::Tree| {
            t.values_mut().filter(|n| n.mode & 0o170_000 == 0o040_000).for_each(|n| (n.links, n.mtime) = (0, (0, 0)));
            t
        };
        let kernel = without_dirs(tree::of_volume(&open(&theirs)));
        tree::assert_same(&kernel, &without_dirs(tree::of_volume(&volume)), args, |_| false, true);
    }
}
