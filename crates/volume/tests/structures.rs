//! What mke2fs, e2fsck and the kernel make of the rarer structures, and what this crate reads of it.

mod common;
#[path = "common/tree.rs"]
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions as FileOpenOptions};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;

use common::{Mount, assert_clean, debugfs, debugfs_write, mke2fs, open, open_bytes, output, run, scratch, try_open};
use daxkit_format::ext4::quota::QuotaKind;
use daxkit_volume::{BlockNr, GroupNr, InodeNr, OpenOptions, Segment, Unsupported, VolumeError};

#[test]
fn a_deep_htree_finds_every_name() {
    let scratch = scratch();
    for (i, (args, count)) in
        [("-t ext4 -b 1024 -N 40000", 20_000), ("-t ext4 -b 4096 -N 40000 -O ^metadata_csum", 20_000)]
            .into_iter()
            .enumerate()
    {
        let image = mke2fs(scratch.path(), &format!("h{i}.img"), args, None, "128M");
        let mount = Mount::new(&image, &scratch.path().join("mnt"), "");
        let dir = mount.path.join("dir");
        fs::create_dir(&dir).unwrap();
        let name = |n: u32| format!("a name that takes some room {n:06} {}", "\u{e9}".repeat(n as usize % 40));
        for n in 0..count {
            File::create(dir.join(name(n))).unwrap();
        }
        for n in (0..count).step_by(7) {
            fs::remove_file(dir.join(name(n))).unwrap();
        }
        drop(mount);
        assert_clean(&image);
        let volume = open(&image);
        let dir = volume.resolve(b"/dir", true).unwrap();
        assert!(dir.flags().contains(daxkit_format::ext4::inode_flags::InodeFlags::INDEX));
        let found: BTreeMap<Vec<u8>, InodeNr> =
            volume.read_dir(&dir).unwrap().map(|e| e.unwrap()).map(|e| (e.name, e.inode)).collect();
        assert_eq!(found.len() as u32, count - count.div_ceil(7) + 2);
        for n in 0..count {
            let entry = volume.lookup(&dir, name(n).as_bytes()).unwrap();
            assert_eq!(entry.map(|e| e.inode), found.get(name(n).as_bytes()).copied(), "{n}");
        }
        assert_eq!(volume.lookup(&dir, b"absent").unwrap(), None);
        assert_eq!(volume.lookup(&dir, b"..").unwrap().unwrap().inode, InodeNr::ROOT);
        assert_eq!(volume.path_of_dir(&dir).unwrap(), b"/dir");
        if i == 0 {
            let levels = debugfs(&image, "htree_dump /dir");
            assert!(levels.contains("Indirect levels: 1"), "deep enough to have a second level");
        }
    }
}

#[test]
fn a_casefolded_directory_finds_what_folds_to_the_same() {
    let scratch = scratch();
    let src = scratch.path().join("src");
    fs::create_dir_all(src.join("dir")).unwrap();
    for n in 0..500 {
        fs::write(src.join(format!("dir/File Number {n} Stra\u{df}e")), n.to_string()).unwrap();
    }
    let image = mke2fs(scratch.path(), "c.img", "-t ext4 -b 1024 -O casefold -E encoding=utf8", Some(&src), "16M");
    // mke2fs makes no casefolded directories, debugfs and e2fsck together do.
    let flags = debugfs(&image, "stat /dir");
    assert!(flags.contains("Flags: 0x8"), "{flags}");
    debugfs_write(&image, "sif /dir flags 0x40080000\n");
    let out = output("e2fsck", &[&"-fyD", &image]);
    assert!(out.status.code().is_some_and(|c| c <= 1), "{}", String::from_utf8_lossy(&out.stdout));
    assert_clean(&image);
    let volume = open(&image);
    let dir = volume.resolve(b"/dir", true).unwrap();
    let bits = dir.flags().bits();
    assert_eq!(bits & 0x4000_1000, 0x4000_1000, "casefolded and hashed: {bits:#x}");
    for n in 0..500 {
        for name in [format!("File Number {n} Stra\u{df}e"), format!("FILE number {n} STRASSE")] {
            let entry = volume.lookup(&dir, name.as_bytes()).unwrap().unwrap_or_else(|| panic!("{name}"));
            let file = volume.inode(entry.inode).unwrap();
            assert_eq!(volume.read_file(&file, 0..10).unwrap(), n.to_string().as_bytes());
        }
    }
    assert_eq!(volume.lookup(&dir, b"file number 500 strasse").unwrap(), None);
    assert_eq!(volume.lookup(&volume.root().unwrap(), b"DIR").unwrap(), None);
}

#[test]
fn trees_made_by_the_kernel() {
    let scratch = scratch();
    for (i, args) in [
        "-t ext4 -b 1024",
        "-t ext3 -b 1024",
        "-t ext2 -b 1024",
        "-t ext4 -b 4096 -O ea_inode,inline_data",
        "-t ext4 -b 4096 -O bigalloc -C 32768",
        "-t ext4 -b 1024 -O ^resize_inode,meta_bg -g 1024",
    ]
    .into_iter()
    .enumerate()
    {
        let image = mke2fs(scratch.path(), &format!("t{i}.img"), args, None, "160M");
        let mount = Mount::new(&image, &scratch.path().join("mnt"), "");
        let root = &mount.path;
        // Every other block: as many extents as blocks, and every level of an indirect map.
        let sparse = File::create(root.join("comb")).unwrap();
        for n in 0..4000u64 {
            sparse.write_all_at(&n.to_le_bytes(), n * 8192).unwrap();
        }
        sparse.write_all_at(b"far away", 80 << 20).unwrap();
        drop(sparse);
        let file = File::create(root.join("preallocated")).unwrap();
        if i != 1 && i != 2 {
            run("fallocate", &[&"-l", &"3000000", &root.join("preallocated")]);
        }
        file.write_all_at(&[7; 5000], 100_000).unwrap();
        drop(file);
        fs::create_dir(root.join("d")).unwrap();
        for n in 0..30 {
            fs::create_dir(root.join(format!("d/sub{n}"))).unwrap();
            fs::write(root.join(format!("d/sub{n}/f")), vec![n as u8; n * 11]).unwrap();
            symlink("q".repeat(n * 4 + 1), root.join(format!("d/link{n}"))).unwrap();
        }
        run("setfattr", &[&"-n", &"user.small", &"-v", &"s", &root.join("d")]);
        run("setfattr", &[&"-n", &"user.empty", &root.join("d")]);
        run("setfattr", &[&"-n", &"security.x", &"-v", &"m".repeat(300), &root.join("d/sub1/f")]);
        run("setfacl", &[&"-m", &"u:77:rwx,d:g:88:rx", &root.join("d/sub2")]);
        if args.contains("ea_inode") {
            let big = "e".repeat(60_000);
            run("setfattr", &[&"-n", &"user.big", &"-v", &big, &root.join("d/sub3/f")]);
            run("setfattr", &[&"-n", &"user.big", &"-v", &big, &root.join("d/sub4/f")]);
        }
        let expected = tree::of_host(root);
        drop(mount);
        assert_clean(&image);
        let volume = open(&image);
        tree::assert_same(&expected, &tree::of_volume(&volume), args, |_| false, true);

        let comb = volume.resolve(b"/comb", true).unwrap();
        let runs: Vec<_> = volume.extents(&comb).map(|r| r.unwrap()).collect();
        for run in runs.iter().step_by(97) {
            assert_eq!(volume.map_block(&comb, run.logical).unwrap(), Segment::Mapped(*run), "{args}");
        }
        for pair in runs.windows(2).step_by(53).filter(|p| p[0].end() < p[1].logical) {
            let hole = Segment::Hole { logical: pair[0].end(), len: pair[1].logical - pair[0].end() };
            assert_eq!(volume.map_block(&comb, pair[0].end()).unwrap(), hole, "{args}");
        }
        let last = runs.last().unwrap();
        assert!(matches!(volume.map_block(&comb, last.end()).unwrap(), Segment::Hole { .. }));
        same_blocks_as_debugfs(&image, "/comb");
        let ranges: Vec<_> = volume.data_ranges(&comb).map(|r| r.unwrap()).collect();
        assert_eq!(ranges.last().unwrap().end, comb.size());
        if i != 1 && i != 2 {
            let pre = volume.resolve(b"/preallocated", true).unwrap();
            assert!(volume.extents(&pre).any(|r| !r.unwrap().written), "{args}");
            assert_eq!(volume.data_ranges(&pre).count(), 1);
        }
        same_bitmaps_as_dumpe2fs(&image);
    }
}

/// The blocks of a file, its map's included, as `debugfs blocks` and this crate give them.
fn same_blocks_as_debugfs(image: &Path, path: &str) {
    let volume = open(image);
    let inode = volume.resolve(path.as_bytes(), true).unwrap();
    let mut ours = BTreeSet::new();
    for run in volume.extents(&inode).map(|r| r.unwrap()) {
        ours.extend(run.physical.get()..run.physical.get() + run.len);
    }
    ours.extend(volume.metadata_blocks(&inode).map(|b| b.unwrap().0.get()));
    let theirs: BTreeSet<u64> =
        debugfs(image, &format!("blocks {path}")).split_whitespace().map(|w| w.parse().unwrap()).collect();
    assert_eq!(ours, theirs, "{}", image.display());
}

/// Free blocks and inodes, group by group.
fn same_bitmaps_as_dumpe2fs(image: &Path) {
    let volume = open(image);
    let text = run("dumpe2fs", &[&image]);
    let list = |line: &str| -> BTreeSet<u64> {
        let mut all = BTreeSet::new();
        for part in line.split(':').nth(1).unwrap().split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let (a, b) = part.split_once('-').unwrap_or((part, part));
            all.extend(a.parse::<u64>().unwrap()..=b.parse::<u64>().unwrap());
        }
        all
    };
    let g = *volume.geometry();
    let free = |prefix: &str| -> Vec<BTreeSet<u64>> {
        text.lines().map(str::trim).filter(|l| l.starts_with(prefix) && l.contains(": ")).map(list).collect()
    };
    let per_group: Vec<_> =
        text.lines().map(str::trim).filter(|l| l.starts_with("Free blocks:")).skip(1).map(list).collect();
    assert_eq!(per_group.len() as u32, g.groups_count);
    for (group, expected) in (0..).map(GroupNr).zip(&per_group) {
        let map = volume.block_bitmap(group).unwrap();
        let first = g.group_first_block(group).get();
        let mut ours = BTreeSet::new();
        for cluster in (0..map.len()).filter(|c| !map.get(*c)) {
            let block = first + u64::from(cluster) * u64::from(g.cluster_ratio);
            ours.extend((block..block + u64::from(g.cluster_ratio)).filter(|b| *b < g.blocks_count));
        }
        let expected: BTreeSet<u64> = expected.iter().copied().filter(|b| *b < g.blocks_count).collect();
        if g.cluster_ratio == 1 {
            assert_eq!(ours, expected, "{} group {group}", image.display());
        } else {
            assert_eq!(map.count_clear(), volume.group_desc(group).unwrap().free_blocks_count());
        }
    }
    let inodes: Vec<_> = free("Free inodes:").into_iter().skip(1).collect();
    for (group, expected) in (0..).map(GroupNr).zip(&inodes) {
        let map = volume.inode_bitmap(group).unwrap();
        let first = u64::from(group.get()) * u64::from(g.inodes_per_group) + 1;
        let ours: BTreeSet<u64> = (0..map.len()).filter(|i| !map.get(*i)).map(|i| first + u64::from(i)).collect();
        assert_eq!(&ours, expected, "{} group {group}", image.display());
    }
    let (clusters, inodes) = volume.free_counts().unwrap();
    assert_eq!(clusters * u64::from(g.cluster_ratio), volume.super_block().free_blocks_count());
    assert_eq!(inodes, u64::from(volume.super_block().s_free_inodes_count.get()));
}

#[test]
fn backup_superblocks_open_the_same_tree() {
    let scratch = scratch();
    let src = scratch.path().join("src");
    fs::create_dir_all(src.join("a/b")).unwrap();
    fs::write(src.join("a/b/c"), b"content").unwrap();
    for (i, (args, backup, size)) in [
        ("-t ext4 -b 1024", 8193, 1024u32),
        ("-t ext4 -b 4096", 32768, 4096),
        ("-t ext4 -b 1024 -O ^resize_inode,meta_bg -g 1024", 1025, 1024),
        ("-t ext4 -b 1024 -O ^resize_inode,sparse_super2", 8193, 1024),
    ]
    .into_iter()
    .enumerate()
    {
        let image = mke2fs(scratch.path(), &format!("b{i}.img"), args, Some(&src), "200M");
        let expected = tree::of_volume(&open(&image));
        // The primary superblock and its descriptors are gone.
        let file = FileOpenOptions::new().write(true).open(&image).unwrap();
        file.write_all_at(&vec![0; 3 * size as usize], 0).unwrap();
        drop(file);
        assert!(matches!(try_open(&image, &OpenOptions::default()), Err(VolumeError::NotExt4 { .. })), "{args}");
        for block_size in [None, Some(size)] {
            let options = OpenOptions { super_block: Some(BlockNr(backup)), block_size, ..OpenOptions::default() };
            let volume = try_open(&image, &options).unwrap_or_else(|e| panic!("{args}: {e}"));
            let found = tree::of_volume(&volume);
            tree::assert_same(&expected, &found, args, |_| false, true);
        }
    }
}

#[test]
fn an_image_inside_a_larger_one() {
    let scratch = scratch();
    let image = mke2fs(scratch.path(), "o.img", "-t ext4", None, "8M");
    let mut bytes = vec![0xEE; 1 << 20];
    bytes.extend(fs::read(&image).unwrap());
    let options = OpenOptions { offset: 1 << 20, ..OpenOptions::default() };
    let volume = open_bytes(&bytes, &options).unwrap();
    assert_eq!(tree::of_volume(&volume).len(), 2);
    assert!(matches!(open_bytes(&bytes, &OpenOptions::default()), Err(VolumeError::NotExt4 { .. })));
}

#[test]
fn features_that_are_not_known_are_named() {
    let scratch = scratch();
    let image = mke2fs(scratch.path(), "f.img", "-t ext4 -O ^metadata_csum", None, "8M");
    let sound = fs::read(&image).unwrap();
    let with = |at: usize, bits: u32| {
        let mut bytes = sound.clone();
        let old = u32::from_le_bytes(bytes[1024 + at..1028 + at].try_into().unwrap());
        bytes[1024 + at..1028 + at].copy_from_slice(&(old | bits).to_le_bytes());
        open_bytes(&bytes, &OpenOptions::default())
    };
    let error = with(0x60, 0x0008_1001).err().unwrap();
    assert_eq!(error.to_string(), "super: feature compression, dirdata, FEATURE_I19 is not supported");
    let error = with(0x60, 8).err().unwrap();
    assert!(matches!(error, VolumeError::Unsupported(Unsupported::JournalDevice)));
    let volume = with(0x64, 0x8000_5000).unwrap();
    let names: Vec<_> = volume.read_only_features().iter().map(|f| f.name()).collect();
    assert_eq!(names, ["read-only", "shared_blocks", "FEATURE_R31"]);
    assert!(with(0x5C, 0x8000_0000).unwrap().read_only_features().is_empty());
}

#[test]
fn a_checksum_that_does_not_match_is_an_error_unless_told_otherwise() {
    let scratch = scratch();
    let src = scratch.path().join("src");
    fs::create_dir(&src).unwrap();
    fs::write(src.join("file"), b"content").unwrap();
    let image = mke2fs(scratch.path(), "s.img", "-t ext4", Some(&src), "8M");
    debugfs_write(&image, "sif /file mtime 12345\nsif /file checksum 0x1234\n");
    let error = open(&image).resolve(b"/file", true).err().unwrap();
    assert_eq!(error.to_string(), "inode:12: checksum does not match");
    let options = OpenOptions { ignore_checksums: true, ..OpenOptions::default() };
    let volume = try_open(&image, &options).unwrap();
    assert_eq!(volume.resolve(b"/file", true).unwrap().size(), 7);
    assert_eq!(open(&image).inode_unverified(InodeNr(12)).unwrap().size(), 7);
}

#[test]
fn quota_files_are_read() {
    let scratch = scratch();
    let src = scratch.path().join("src");
    fs::create_dir(&src).unwrap();
    for uid in [0u32, 5, 300, 70_000, 4_000_000] {
        let path = src.join(format!("of{uid}"));
        fs::write(&path, vec![1; 10_000]).unwrap();
        run("chown", &[&format!("{uid}:{}", uid + 1), &path]);
    }
    let image = mke2fs(scratch.path(), "q.img", "-t ext4 -b 4096 -O quota,project", Some(&src), "16M");
    // mke2fs writes the quota files before it fills the tree.
    let out = output("e2fsck", &[&"-fy", &image]);
    assert!(out.status.code().is_some_and(|c| c <= 1), "{}", String::from_utf8_lossy(&out.stdout));
    let volume = open(&image);
    let user = volume.quota(QuotaKind::User).unwrap().unwrap();
    let usage = |id| user.entries.get(&id).map(|e| (e.dqb_curinodes.get(), e.dqb_curspace.get()));
    for uid in [5, 300, 70_000, 4_000_000] {
        assert_eq!(usage(uid), Some((1, 12_288)), "{uid}");
    }
    assert_eq!(user.entries.len(), 5);
    let group = volume.quota(QuotaKind::Group).unwrap().unwrap();
    assert_eq!(group.entries.get(&4_000_001).map(|e| e.dqb_curinodes.get()), Some(1));
    let project = volume.quota(QuotaKind::Project).unwrap().unwrap();
    assert_eq!(project.entries.keys().copied().collect::<Vec<_>>(), [0]);
    let plain = mke2fs(scratch.path(), "n.img", "-t ext4", None, "16M");
    assert_eq!(open(&plain).quota(QuotaKind::User).unwrap(), None);
}

#[test]
fn orphans_mmp_and_the_resize_inode() {
    let scratch = scratch();
    for (i, args) in ["-t ext4 -b 1024", "-t ext4 -b 4096 -O orphan_file"].into_iter().enumerate() {
        let image = mke2fs(scratch.path(), &format!("p{i}.img"), args, None, "32M");
        let mount = Mount::new(&image, &scratch.path().join("mnt"), "");
        let mut open_files = Vec::new();
        let mut numbers = BTreeSet::new();
        for n in 0..5 {
            use std::os::unix::fs::MetadataExt;
            let path = mount.path.join(format!("doomed{n}"));
            let file = File::create(&path).unwrap();
            numbers.insert(file.metadata().unwrap().ino());
            open_files.push(file);
            fs::remove_file(path).unwrap();
        }
        run("sync", &[&"-f", &mount.path]);
        let snapshot = scratch.path().join(format!("ps{i}.img"));
        run("cp", &[&image, &snapshot]);
        drop(open_files);
        drop(mount);
        let volume = open(&snapshot);
        let (list, file) = (volume.orphan_list().unwrap(), volume.orphan_file().unwrap());
        assert_eq!(if i == 0 { file.len() } else { list.len() }, 0, "{args}");
        let found: BTreeSet<u64> = volume.orphans().unwrap().iter().map(|nr| nr.get()).collect();
        assert_eq!(found, numbers, "{args}");
        assert_eq!(open(&image).orphans().unwrap(), []);
        assert_eq!(volume.mmp().unwrap(), None);
    }
    let image = mke2fs(scratch.path(), "m.img", "-t ext4 -b 4096 -O mmp", None, "32M");
    let mmp = open(&image).mmp().unwrap().unwrap();
    assert_eq!(daxkit_volume::ext4::mmp_state(&mmp), daxkit_volume::ext4::MmpState::Clean);

    let image = mke2fs(scratch.path(), "r.img", "-t ext4 -b 1024 -E resize=4000000", None, "64M");
    let volume = open(&image);
    let reserved = volume.reserved_gdt().unwrap();
    let g = *volume.geometry();
    assert_eq!(reserved.len(), usize::from(g.reserved_gdt_blocks));
    assert!(!reserved.is_empty());
    for (n, block) in (0u64..).zip(&reserved) {
        assert_eq!(block.block.get(), 2 + u64::from(g.desc_blocks) + n);
        let backups: Vec<u64> = [1, 3, 5, 7].iter().map(|group| group * 8192 + block.block.get()).collect();
        assert_eq!(block.copies.iter().map(|c| c.get()).collect::<Vec<_>>(), backups);
    }
}

#[test]
fn links_are_followed_up_to_a_limit() {
    let scratch = scratch();
    let src = scratch.path().join("src");
    fs::create_dir_all(src.join("d/e")).unwrap();
    fs::write(src.join("d/e/f"), b"x").unwrap();
    symlink("/d/e", src.join("abs")).unwrap();
    symlink("../d/e/f", src.join("d/rel")).unwrap();
    symlink("self", src.join("self")).unwrap();
    symlink("d", src.join("l0")).unwrap();
    for n in 1..=45 {
        symlink(format!("l{}", n - 1), src.join(format!("l{n}"))).unwrap();
    }
    let image = mke2fs(scratch.path(), "l.img", "-t ext4", Some(&src), "8M");
    let volume = open(&image);
    let nr = |path: &[u8], follow| volume.resolve(path, follow).map(|i| i.nr());
    let f = nr(b"/d/e/f", false).unwrap();
    assert_eq!(nr(b"//d/./e/../e//f", true).unwrap(), f);
    assert_eq!(nr(b"/abs/f", false).unwrap(), f);
    assert_eq!(nr(b"/d/rel", true).unwrap(), f);
    assert!(volume.resolve(b"/d/rel", false).unwrap().is_symlink());
    assert!(volume.resolve(b"/abs/", false).unwrap().is_dir());
    assert_eq!(nr(b"/../../d/e/f", false).unwrap(), f);
    assert!(matches!(nr(b"/self", true), Err(VolumeError::TooManyLinks { .. })));
    assert!(nr(b"/l39/e", false).is_ok());
    assert!(matches!(nr(b"/l40/e", false), Err(VolumeError::TooManyLinks { .. })));
    let d = nr(b"/d", true).unwrap();
    assert_eq!(nr(b"/d/none", true).unwrap_err().to_string(), format!("inode:{d}: no entry none"));
    assert!(matches!(nr(b"/d/e/f/g", true), Err(VolumeError::NotADirectory { inode }) if inode == f));
    assert!(matches!(nr(b"/d/e/f/", true), Err(VolumeError::NotADirectory { .. })));
    assert!(matches!(nr(b"", true), Err(VolumeError::BadPath { .. })));
    let (dir, name) = volume.resolve_parent(b"/abs/new/").unwrap();
    assert_eq!((volume.path_of_dir(&dir).unwrap(), name), (b"/d/e".to_vec(), b"new".to_vec()));
    assert!(matches!(volume.resolve_parent(b"/"), Err(VolumeError::BadPath { .. })));
}

#[test]
fn fifteen_tebibytes_open_at_once() {
    let scratch = scratch();
    let image = scratch.path().join("huge.img");
    File::create(&image).unwrap().set_len(15 << 40).unwrap();
    run("mke2fs", &[&"-q", &"-F", &"-t", &"ext4", &"-E", &"lazy_itable_init=1", &"-J", &"size=4", &image]);
    let volume = open(&image);
    assert_eq!(volume.geometry().groups_count, 122_880);
    assert_eq!(tree::of_volume(&volume).len(), 2);
    let (clusters, _) = volume.free_counts().unwrap();
    assert_eq!(clusters, volume.super_block().free_blocks_count());
    let last = GroupNr(122_879);
    assert_eq!(volume.block_bitmap(last).unwrap().count_clear(), volume.group_desc(last).unwrap().free_blocks_count());
}

#[test]
fn a_verity_descriptor_is_found_behind_the_data() {
    let scratch = scratch();
    let src = scratch.path().join("src");
    fs::create_dir(&src).unwrap();
    // Data, from 64 KiB on a Merkle tree of one block, then the descriptor, and its size in the last four bytes.
    let mut bytes = vec![0x5a; 5000];
    bytes.resize(65536, 0);
    bytes.extend([0x33; 4096]);
    let mut descriptor = vec![1, 1, 12, 0, 0, 0, 0, 0];
    descriptor.extend(5000u64.to_le_bytes());
    descriptor.resize(256, 0x77);
    bytes.extend(&descriptor);
    bytes.resize(65536 + 2 * 4096 - 4, 0);
    bytes.extend(256u32.to_le_bytes());
    fs::write(src.join("file"), &bytes).unwrap();
    let image = mke2fs(scratch.path(), "v.img", "-t ext4 -b 4096 -O verity", Some(&src), "8M");
    let volume = open(&image);
    let file = volume.resolve(b"/file", true).unwrap();
    assert_eq!(volume.verity_descriptor(&file).unwrap(), None);
    debugfs_write(&image, "sif /file flags 0x180000\nsif /file size 5000\n");
    assert_clean(&image);
    let volume = open(&image);
    let file = volume.resolve(b"/file", true).unwrap();
    assert!(file.is_verity());
    assert_eq!(volume.read_file(&file, 0..1 << 20).unwrap(), [0x5a; 5000]);
    let found = volume.verity_descriptor(&file).unwrap().unwrap();
    assert_eq!((found.version, found.log_blocksize, found.data_size.get()), (1, 12, 5000));
}
