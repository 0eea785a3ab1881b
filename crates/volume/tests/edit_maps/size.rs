//! Sizes and counts at their limits, and what lies behind the end of a file.

use crate::Fixture;
use crate::common::debugfs;
use daxkit_format::BlockNr;
use daxkit_format::dax::Errno;
use daxkit_format::ext4::features::RoCompat;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_volume::EditError;
use daxkit_volume::ext4::edit::{Fill, NewInode};

#[test]
fn what_lies_behind_the_end_reads_as_zero_when_the_file_grows() {
    for args in ["-t ext4 -b 4096", "-t ext2 -b 4096"] {
        let mut fixture = Fixture::new(args, "16M");
        fixture.change(|e, inode| e.write_content(inode, 0, &[1; 5000])).expect("written");
        // What a mapping leaves in the last page.
        let last = fixture.extents().last().map(|r| r.physical.get() + r.len - 1).expect("a block");
        let dirty = |e: &mut daxkit_volume::Editor<'_>| {
            let block = e.read_block(BlockNr(last))?;
            let bytes: Vec<u8> = block.iter().map(|b| if *b == 0 { 7 } else { *b }).collect();
            e.write_data(BlockNr(last), &bytes)
        };
        let expected = |len: usize| [vec![1; 5000], vec![0; len - 5000]].concat();
        fixture
            .change(|e, inode| {
                dirty(e)?;
                e.truncate(inode, 6000)
            })
            .expect("grown");
        assert!(fixture.content() == expected(6000), "{args}");
        fixture
            .change(|e, inode| {
                e.truncate(inode, 5000)?;
                dirty(e)?;
                e.write_content(inode, 8190, &[0])
            })
            .expect("written");
        assert!(fixture.content() == expected(8191), "{args}");
        fixture
            .change(|e, inode| {
                e.truncate(inode, 5000)?;
                dirty(e)?;
                e.fallocate(inode, 7000..20_000, Fill::Zeroes, false)
            })
            .expect("allocated");
        assert!(fixture.content() == expected(20_000), "{args}");
        fixture
            .change(|e, inode| {
                e.truncate(inode, 5000)?;
                dirty(e)?;
                e.append_block(inode)
            })
            .expect("appended");
        assert!(fixture.content() == expected(12_288), "{args}");
        fixture.commit(args);
    }
}

#[test]
fn blocks_behind_the_end_are_unwritten_and_go_with_a_truncation() {
    let mut fixture = Fixture::new("-t ext4 -b 4096", "64M");
    let free = fixture.free();
    fixture
        .change(|e, inode| {
            e.write_content(inode, 0, &[1; 100])?;
            e.fallocate(inode, 0..1 << 20, Fill::Zeroes, true)
        })
        .expect("allocated");
    assert_eq!((fixture.inode().size(), free - fixture.free()), (100, 256));
    assert_eq!(fixture.extents().iter().map(|r| (r.len, r.written)).collect::<Vec<_>>(), [(1, true), (255, false)]);
    fixture.commit("behind the end");
    fixture.change(|e, inode| e.truncate(inode, 100)).expect("truncated");
    assert_eq!(free - fixture.free(), 1);
    fixture.commit("truncated");
    let mut fixture = Fixture::new("-t ext2", "16M");
    let refused = fixture.change(|e, inode| e.fallocate(inode, 0..1 << 20, Fill::Zeroes, true)).expect_err("ext2");
    assert_eq!(refused.errno(), Errno::EOPNOTSUPP);
    fixture.change(|e, inode| e.fallocate(inode, 0..1 << 20, Fill::Unwritten, false)).expect("zeroes");
    assert!(fixture.content().iter().all(|b| *b == 0) && fixture.inode().size() == 1 << 20);
    fixture.commit("ext2");
}

#[test]
fn files_end_where_their_map_ends() {
    // (arguments, blocks that a map reaches)
    let kinds = [
        ("-t ext4 -b 4096", u64::from(u32::MAX)),
        ("-t ext4 -b 1024", u64::from(u32::MAX)),
        ("-t ext2 -b 1024", 12 + 256 + 256 * 256 + 256 * 256 * 256),
        ("-t ext2 -b 4096", 12 + 1024 + 1024 * 1024 + 1024 * 1024 * 1024),
    ];
    for (args, blocks) in kinds {
        let mut fixture = Fixture::new(args, "32M");
        let free = fixture.free();
        let end = blocks * fixture.block_size();
        assert_eq!(fixture.volume.map_limit(&fixture.inode()), blocks, "{args}");
        fixture.change(|e, inode| e.write_content(inode, end - 3, &[1, 2, 3])).expect("the last block");
        assert_eq!(fixture.inode().size(), end, "{args}");
        for refused in [
            fixture.change(|e, inode| e.write_content(inode, end - 1, &[1, 2])),
            fixture.change(|e, inode| e.truncate(inode, end + 1)),
            fixture.change(|e, inode| e.truncate(inode, u64::MAX)),
            fixture.change(|e, inode| e.write_content(inode, u64::MAX, &[1])),
            fixture.change(|e, inode| e.append_block(inode).map(|_| ())),
            fixture.change(|e, inode| e.fallocate(inode, end..end + 1, Fill::Zeroes, false)),
        ] {
            assert!(matches!(refused, Err(EditError::FileTooLarge { .. })), "{args}: {refused:?}");
        }
        fixture.commit(args);
        let last = fixture.volume.read_file(&fixture.inode(), end - 5..end + 5).expect("read");
        assert_eq!(last, [0, 0, 1, 2, 3], "{args}");
        fixture.change(|e, inode| e.truncate(inode, 0)).expect("truncated");
        assert_eq!(fixture.free(), free, "{args}");
        fixture.commit(args);
    }
}

#[test]
fn a_file_over_two_gib_is_a_feature() {
    let mut fixture = Fixture::new("-t ext2 -O ^large_file", "16M");
    fixture.change(|e, inode| e.truncate(inode, (1 << 31) - 1)).expect("grown");
    assert!(!fixture.volume.has_ro_compat(RoCompat::LARGE_FILE));
    fixture.change(|e, inode| e.truncate(inode, 1 << 31)).expect("grown");
    assert!(fixture.volume.has_ro_compat(RoCompat::LARGE_FILE));
    fixture.commit("large");
    assert!(debugfs(&fixture.image, "features").contains("large_file"));
}

#[test]
fn space_is_counted_in_sectors_and_from_2_tib_on_otherwise() {
    // (feature huge_file, blocks of 4096, i_blocks, in blocks)
    let most = u64::from(u32::MAX);
    for (args, blocks, stored) in [
        ("-t ext4 -b 4096", most / 8, Some((most / 8 * 8, false))),
        ("-t ext4 -b 4096", most / 8 + 1, Some((most + 1, false))),
        ("-t ext4 -b 4096", ((1 << 48) - 8) / 8, Some(((1 << 48) - 8, false))),
        ("-t ext4 -b 4096", (1 << 48) / 8, Some(((1 << 48) / 8, true))),
        ("-t ext4 -b 4096", 1 << 48, None),
        ("-t ext4 -b 4096 -O ^huge_file", most / 8, Some((most / 8 * 8, false))),
        ("-t ext4 -b 4096 -O ^huge_file", most / 8 + 1, None),
    ] {
        let mut fixture = Fixture::new(args, "16M");
        let done = fixture.change(|e, inode| {
            e.add_space(inode, blocks.cast_signed())?;
            e.store_inode(inode)
        });
        let inode = fixture.inode();
        match stored {
            Some((sectors, in_blocks)) => {
                done.expect("counted");
                let huge = inode.flags().contains(InodeFlags::HUGE_FILE);
                assert_eq!((inode.blocks_stored(), huge), (sectors, in_blocks), "{args}, {blocks}");
                assert_eq!(inode.space(), blocks * 4096, "{args}, {blocks}");
                fixture
                    .change(|e, inode| {
                        e.add_space(inode, -blocks.cast_signed())?;
                        e.store_inode(inode)
                    })
                    .expect("counted");
                assert_eq!(fixture.inode().space(), 0);
                assert!(!fixture.inode().flags().contains(InodeFlags::HUGE_FILE));
            }
            None => assert!(matches!(done, Err(EditError::FileTooLarge { .. })), "{args}, {blocks}: {done:?}"),
        }
    }
}

#[test]
fn inodes_without_a_map_have_no_content_to_write() {
    for args in ["-t ext4", "-t ext2"] {
        let mut fixture = Fixture::new(args, "16M");
        let (short, long, fifo) = fixture
            .volume
            .change(crate::NOW, |e| {
                let root = daxkit_volume::InodeNr::ROOT;
                let short = e.symlink(root, b"short", b"target", &NewInode::of_root(0))?;
                let long = e.symlink(root, b"long", &[b'x'; 500], &NewInode::of_root(0))?;
                let fifo = e.mknod(root, b"fifo", &NewInode::of_root(0o010_644), (0, 0))?;
                Ok::<_, EditError>((short.nr(), long.nr(), fifo.nr()))
            })
            .expect("made");
        for nr in [short, fifo] {
            fixture.nr = nr;
            let before = fixture.inode();
            let refused = fixture.change(|e, inode| e.write_content(inode, 0, b"x")).expect_err("no content");
            assert_eq!(refused.errno(), Errno::EINVAL, "{args}: {refused}");
            fixture.change(|e, inode| e.truncate(inode, 0)).expect("nothing to do");
            assert_eq!(fixture.inode(), before, "{args}");
        }
        assert_eq!(fixture.volume.read_link(&fixture.volume.inode(long).expect("there")).expect("target"), [b'x'; 500]);
        fixture.commit(args);
    }
}
