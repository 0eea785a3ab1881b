//! Content changed at random, against bytes in memory; what e2fsck and debugfs make of it.

mod common;

use common::{edit::*, mke2fs, output, scratch};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::{BlockNr, InodeNr};
use daxkit_volume::ext4::edit::Fill;
use daxkit_volume::{EditError, Editor, Inode, Volume};
use std::path::Path;

/// Images that keep their maps differently: arguments of mke2fs, size, and how large a file may become in the test.
const KINDS: &[(&str, &str, u64)] = &[
    ("-t ext4", "64M", 12 << 20),
    ("-t ext4 -b 1024", "48M", 6 << 20),
    ("-t ext4 -b 1024 -O ^extent,^64bit", "48M", 20 << 20),
    ("-t ext4 -O ^metadata_csum,^64bit", "64M", 12 << 20),
    ("-t ext4 -O bigalloc -C 16384", "96M", 6 << 20),
    ("-t ext4 -b 1024 -O bigalloc -C 65536", "96M", 3 << 20),
    ("-t ext4 -O ^huge_file,^extra_isize -I 128", "64M", 12 << 20),
    ("-t ext2", "48M", 30 << 20),
];

/// Two files of the image, made by debugfs: whatever is done to one must leave the other alone.
fn files(image: &Path) -> [InodeNr; 2] {
    for name in ["a", "b"] {
        let out = output("debugfs", &[&"-w", &"-R", &format!("write /dev/null {name}"), &image]);
        assert!(out.status.success(), "debugfs: {}", String::from_utf8_lossy(&out.stderr));
    }
    let volume = common::open(image);
    ["/a", "/b"].map(|p| volume.resolve(p.as_bytes(), false).expect("there").nr())
}

/// One random change of a file and of the bytes it should hold.
fn change(
    editor: &mut Editor<'_>,
    rng: &mut Rng,
    nr: InodeNr,
    model: &mut Vec<u8>,
    most: u64,
) -> Result<String, EditError> {
    let mut inode = editor.inode(nr)?;
    let bs = u64::from(editor.block_size());
    let at = rng.below(most);
    let len = match rng.below(4) {
        0 => rng.below(100),
        1 => rng.below(bs * 3),
        _ => rng.below(bs * 60),
    };
    let end = (at + len).min(most);
    let at = at.min(end);
    Ok(match rng.below(10) {
        0..5 => {
            let bytes: Vec<u8> = (0..end - at).map(|_| rng.below(255) as u8 + 1).collect();
            editor.write_content(&mut inode, at, &bytes)?;
            if !bytes.is_empty() {
                model.resize(model.len().max(end as usize), 0);
                model[at as usize..end as usize].copy_from_slice(&bytes);
            }
            format!("write {at}..{end}")
        }
        5 => {
            editor.truncate(&mut inode, at)?;
            model.resize(at as usize, 0);
            format!("truncate {at}")
        }
        6 | 7 => {
            let (first, last) = (at / bs, end.div_ceil(bs));
            editor.punch(&mut inode, first..last)?;
            let to = model.len().min((last * bs) as usize);
            if ((first * bs) as usize) < to {
                model[(first * bs) as usize..to].fill(0);
            }
            format!("punch blocks {first}..{last}")
        }
        8 => {
            let fill = if rng.below(2) == 0 { Fill::Unwritten } else { Fill::Zeroes };
            let keep = rng.below(2) == 0;
            match editor.attempt(|e| e.fallocate(&mut inode, at..end, fill, keep)) {
                Ok(()) => {}
                Err(EditError::Refused { .. }) => return Ok("fallocate refused".to_owned()),
                Err(e) => return Err(e),
            }
            if !keep {
                model.resize(model.len().max(end as usize), 0);
            }
            format!("fallocate {at}..{end} {fill:?} {keep}")
        }
        _ => {
            let extents = !inode.flags().contains(InodeFlags::EXTENTS);
            match editor.attempt(|e| e.convert_map(&mut inode, extents)) {
                Ok(()) | Err(EditError::Refused { .. } | EditError::FileTooLarge { .. }) => {}
                Err(e) => return Err(e),
            }
            format!("convert {extents}")
        }
    })
}

fn content(volume: &Volume, nr: InodeNr) -> Vec<u8> {
    let inode = volume.inode(nr).expect("an inode");
    volume.read_file(&inode, 0..inode.size()).expect("content")
}

fn blocks_of(volume: &Volume, inode: &Inode) -> u64 {
    let data: u64 = volume.extents(inode).map(|r| r.expect("sound").len).sum();
    data + volume.metadata_blocks(inode).count() as u64
}

#[test]
fn files_hold_what_was_written_whatever_maps_them() {
    for (kind, (args, size, most)) in KINDS.iter().enumerate() {
        let seed = seed(kind as u64);
        let mut rng = Rng::new(seed);
        let dir = scratch();
        let image = mke2fs(dir.path(), "image", args, None, size);
        let files = files(&image);
        let mut models = [Vec::new(), Vec::new()];
        let (device, mut volume) = open_writable(&image);
        for round in 0..12 {
            for step in 0..60 {
                let which = rng.below(2) as usize;
                let (nr, model) = (files[which], &mut models[which]);
                let before = model.clone();
                let done = volume.change(NOW, |editor| change(editor, &mut rng, nr, model, *most));
                match done {
                    Ok(_) => {}
                    Err(EditError::NoSpace { .. }) => *model = before,
                    Err(e) => panic!("{args}, seed {seed}, round {round}, step {step}: {e}"),
                }
            }
            for (nr, model) in files.iter().zip(&models) {
                let found = content(&volume, *nr);
                assert_eq!(found.len(), model.len(), "{args}, seed {seed}, round {round}");
                let at = found.iter().zip(model).position(|(a, b)| a != b);
                assert_eq!(at, None, "{args}, seed {seed}, round {round}: inode {nr} differs");
            }
            volume.commit(&image, 0, &*device, NOW).expect("committed");
            assert_clean(&image, &format!("{args}, seed {seed}, round {round}"));
            let cat = output("debugfs", &[&"-R", &"cat /a", &image]);
            assert!(cat.stdout == models[0], "{args}, seed {seed}, round {round}: debugfs reads otherwise");
        }
    }
}

#[test]
fn a_deep_tree_comes_and_goes_without_a_trace() {
    for args in
        ["-t ext4 -b 1024", "-t ext4 -b 1024 -O ^metadata_csum", "-t ext2 -b 1024", "-t ext4 -O bigalloc -C 8192"]
    {
        let dir = scratch();
        let image = mke2fs(dir.path(), "image", args, None, "200M");
        let [nr, _] = files(&image);
        let (device, mut volume) = open_writable(&image);
        let bs = u64::from(volume.block_size());
        let ratio = u64::from(volume.geometry().cluster_ratio);
        let free = volume.super_block().free_blocks_count();
        let count = 9000;
        volume
            .change(NOW, |editor| {
                let mut inode = editor.inode(nr)?;
                // Every second cluster, from the middle outwards.
                for i in 0..count {
                    let at = if i % 2 == 0 { count / 2 + i / 2 } else { count / 2 - 1 - i / 2 };
                    editor.write_content(&mut inode, at * 2 * ratio * bs, &[7; 10])?;
                }
                Ok::<_, EditError>(())
            })
            .expect("written");
        let inode = volume.inode(nr).expect("there");
        if inode.flags().contains(InodeFlags::EXTENTS) {
            let levels = volume.metadata_blocks(&inode).map(|n| n.expect("sound").1).max();
            assert!(levels >= Some(1) || bs > 1024, "{args}: {levels:?}");
        }
        assert_eq!(inode.space() / bs / ratio, blocks_of(&volume, &inode), "{args}");
        volume.commit(&image, 0, &*device, NOW).expect("committed");
        assert_clean(&image, args);
        // A third goes, then all.
        volume
            .change(NOW, |editor| {
                let mut inode = editor.inode(nr)?;
                for i in 0..count / 3 {
                    editor.punch(&mut inode, i * 6 * ratio..i * 6 * ratio + 1)?;
                }
                Ok::<_, EditError>(())
            })
            .expect("punched");
        volume.commit(&image, 0, &*device, NOW).expect("committed");
        assert_clean(&image, args);
        volume
            .change(NOW, |editor| {
                let mut inode = editor.inode(nr)?;
                editor.truncate(&mut inode, 0)
            })
            .expect("truncated");
        assert_eq!(volume.super_block().free_blocks_count(), free, "{args}");
        assert_eq!(volume.inode(nr).expect("there").space(), 0, "{args}");
        volume.commit(&image, 0, &*device, NOW).expect("committed");
        assert_clean(&image, args);
    }
}

#[test]
fn large_files_lie_in_whole_windows() {
    let dir = scratch();
    let image = mke2fs(dir.path(), "image", "-t ext4 -b 4096", None, "128M");
    let [nr, _] = files(&image);
    let (_, mut volume) = open_writable(&image);
    volume
        .change(NOW, |editor| {
            let mut inode = editor.inode(nr)?;
            editor.take_blocks(BlockNr(0), 3)?;
            editor.write_content(&mut inode, 0, &vec![1; 9 << 20])
        })
        .expect("written");
    let inode = volume.inode(nr).expect("there");
    for run in volume.extents(&inode) {
        let run = run.expect("sound");
        assert_eq!(run.logical % 512, run.physical.get() % 512, "{run:?}");
    }
}

#[test]
fn a_write_that_does_not_fit_changes_nothing() {
    let dir = scratch();
    let image = mke2fs(dir.path(), "image", "-t ext4", None, "16M");
    let [nr, _] = files(&image);
    let (_, mut volume) = open_writable(&image);
    let free = volume.super_block().free_blocks_count();
    let refused = volume.change(NOW, |editor| {
        let mut inode = editor.inode(nr)?;
        editor.write_content(&mut inode, 0, &vec![1; 32 << 20])
    });
    assert!(matches!(refused, Err(EditError::NoSpace { .. })), "{refused:?}");
    assert_eq!((volume.super_block().free_blocks_count(), content(&volume, nr).len()), (free, 0));
    assert!(volume.edits().is_some_and(|e| e.is_unchanged()));
}
