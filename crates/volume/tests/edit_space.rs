//! Space taken and given back: what e2fsck makes of it, and what a failed edit leaves.

mod common;

use common::edit::{NOW, assert_clean, open_writable};
use common::{mke2fs, scratch};
use daxkit_format::{BlockNr, InodeNr};
use daxkit_volume::ext4::edit::Run;
use daxkit_volume::{Committed, EditError, Volume};

/// Feature sets that keep their space differently.
const KINDS: &[(&str, &str)] = &[
    ("-t ext4", "300M"),
    ("-t ext4 -b 1024 -O ^resize_inode", "40M"),
    ("-t ext4 -O bigalloc -C 65536", "600M"),
    ("-t ext4 -O ^metadata_csum,uninit_bg", "300M"),
    ("-t ext4 -O ^metadata_csum,^uninit_bg,^flex_bg,^64bit", "300M"),
    ("-t ext4 -O meta_bg,^resize_inode", "300M"),
    ("-t ext2", "100M"),
];

#[test]
fn what_is_given_back_was_never_taken() {
    for (args, size) in KINDS {
        let dir = scratch();
        let image = mke2fs(dir.path(), "image", args, None, size);
        let (device, mut volume) = open_writable(&image);
        let free = |v: &Volume| (v.super_block().free_blocks_count(), v.super_block().s_free_inodes_count.get());
        let before = free(&volume);
        let groups = volume.geometry().groups_count;
        let taken = volume
            .change(NOW, |editor| {
                let mut runs = Vec::new();
                for step in 0..200u64 {
                    let goal = editor.geometry().blocks_count / 200 * step;
                    let run = editor.take_blocks(BlockNr(goal), 1 + step % 70)?;
                    assert!(run.len >= 1 && editor.block_in_use(run.first)?, "{args}: {run:?}");
                    runs.push(run);
                }
                let mut inodes = Vec::new();
                for (i, group) in (0..groups).cycle().take(300).enumerate() {
                    let near = InodeNr(u64::from(group) * u64::from(editor.geometry().inodes_per_group) + 1);
                    inodes.push(editor.take_inode(near, i % 3 == 0)?);
                }
                Ok::<_, EditError>((runs, inodes))
            })
            .expect("space");
        let sum: u64 = taken.0.iter().map(|r| r.len).sum();
        assert_eq!(free(&volume), (before.0 - sum, before.1 - 300), "{args}");
        volume
            .change(NOW, |editor| {
                for (i, run) in taken.0.iter().enumerate() {
                    editor.give_blocks(*run)?;
                    assert!(
                        matches!(editor.attempt(|e| e.give_blocks(*run)), Err(EditError::BlockState { .. })),
                        "{i}"
                    );
                }
                for (i, nr) in taken.1.iter().enumerate() {
                    editor.give_inode(*nr, i % 3 == 0)?;
                }
                Ok::<_, EditError>(())
            })
            .expect("given back");
        assert_eq!(free(&volume), before, "{args}");
        let committed = volume.commit(&image, 0, &*device, NOW).expect("committed");
        assert_eq!(matches!(committed, Committed::Journal(_)), !args.contains("ext2"), "{args}: {committed:?}");
        assert!(volume.edits().is_some_and(|e| e.is_unchanged()));
        assert_clean(&image, args);
    }
}

#[test]
fn a_failed_edit_changes_nothing_and_a_full_volume_says_so() {
    let dir = scratch();
    let image = mke2fs(dir.path(), "image", "-t ext4", None, "20M");
    let (_, mut volume) = open_writable(&image);
    let all = volume.super_block().free_blocks_count();
    let taken = volume.change(NOW, |editor| {
        let mut taken = 0;
        loop {
            match editor.take_blocks(BlockNr(0), 512) {
                Ok(run) => taken += run.len,
                Err(EditError::NoSpace { wanted: 512, free: 0 }) => break,
                Err(e) => return Err(e),
            }
        }
        assert_eq!(taken, all);
        assert_eq!(editor.super_block().free_blocks_count(), 0);
        Err::<(), _>(EditError::NoInodes)
    });
    assert!(matches!(taken, Err(EditError::NoInodes)));
    assert_eq!(volume.super_block().free_blocks_count(), all);
    assert!(volume.edits().is_some_and(|e| e.is_unchanged()));
    volume.change(NOW, |e| e.take_blocks(BlockNr(0), 4)).expect("there is space again");
}

#[test]
fn windows_are_whole_and_aligned_to_the_device() {
    let dir = scratch();
    let image = mke2fs(dir.path(), "image", "-t ext4 -b 4096", None, "64M");
    for phase in [0, 256] {
        let (_, mut volume) = open_writable(&image);
        let mut found = 0;
        let take = |e: &mut daxkit_volume::Editor<'_>| {
            let window = e.find_window(BlockNr(5000), 512, phase)?;
            window.map_or(Ok(()), |run| e.take_exactly(run))?;
            Ok::<_, EditError>(window)
        };
        while let Some(Run { first, len }) = volume.change(NOW, take).expect("sound") {
            assert_eq!(((first.get() + phase) % 512, len), (0, 512));
            found += 1;
        }
        assert!((20..32).contains(&found), "{found}");
    }
}

#[test]
fn a_volume_open_for_reading_is_not_changed() {
    let dir = scratch();
    let image = mke2fs(dir.path(), "image", "-t ext4", None, "20M");
    let mut volume = common::open(&image);
    let refused = volume.change(NOW, |e| e.take_blocks(BlockNr(0), 1));
    assert!(matches!(refused, Err(EditError::NotWritable)), "{refused:?}");
}
