//! The shape of extent trees and indirect maps: when they grow, split, shrink and go.

use crate::Fixture;
use crate::common::edit::Rng;
use daxkit_format::BlockNr;
use daxkit_format::ext4::extent::{self, Extent, ExtentHeader};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_volume::ext4::edit::{Fill, Run};
use daxkit_volume::{EditError, Editor, Inode, VolumeError};
use zerocopy::IntoBytes;

/// Every second block of a file, in this order.
fn write_every_second(fixture: &mut Fixture, numbers: impl Iterator<Item = u64>) {
    let bs = fixture.block_size();
    fixture
        .change(|e, inode| {
            for i in numbers {
                e.write_content(inode, i * 2 * bs, &[i as u8; 3])?;
            }
            Ok(())
        })
        .expect("written");
}

#[test]
fn a_file_written_in_order_has_full_leaves() {
    // 84 entries a node, 4 in the inode.
    let mut fixture = Fixture::new("-t ext4 -b 1024", "64M");
    for (count, levels) in
        [(4, vec![]), (5, vec![0]), (84, vec![0]), (85, vec![0; 2]), (336, vec![0; 4]), (337, vec![0, 0, 0, 0, 0, 1])]
    {
        let done = fixture.extents().len() as u64;
        write_every_second(&mut fixture, done..count);
        assert_eq!((fixture.extents().len() as u64, fixture.levels()), (count, levels), "{count}");
        assert_eq!(fixture.inode().space(), (count + fixture.levels().len() as u64) << 10);
    }
    fixture.commit("in order");
    // Backwards every split leaves two halves.
    let mut fixture = Fixture::new("-t ext4 -b 1024", "64M");
    write_every_second(&mut fixture, (0..336).rev());
    assert_eq!(fixture.extents().len(), 336);
    assert_eq!(fixture.levels(), [vec![0; 7], vec![1]].concat());
    fixture.commit("backwards");
}

#[test]
fn a_deep_tree_comes_and_goes_without_a_trace() {
    for args in
        ["-t ext4 -b 1024", "-t ext4 -b 1024 -O ^metadata_csum", "-t ext2 -b 1024", "-t ext4 -O bigalloc -C 8192"]
    {
        let mut fixture = Fixture::new(args, "200M");
        let bs = fixture.block_size();
        let ratio = u64::from(fixture.volume.geometry().cluster_ratio);
        let free = fixture.free();
        let count = 9000;
        fixture
            .change(|editor, inode| {
                // Every second cluster, from the middle outwards.
                for i in 0..count {
                    let at = if i % 2 == 0 { count / 2 + i / 2 } else { count / 2 - 1 - i / 2 };
                    editor.write_content(inode, at * 2 * ratio * bs, &[7; 10])?;
                }
                Ok(())
            })
            .expect("written");
        let inode = fixture.inode();
        assert!(fixture.levels().last() >= Some(&1), "{args}: {:?}", fixture.levels());
        let blocks = fixture.extents().len() + fixture.levels().len();
        assert_eq!((fixture.extents().len() as u64, inode.space() / bs / ratio), (count, blocks as u64), "{args}");
        fixture.commit(args);
        // A third goes, then all but a few, then all.
        let punch = |fixture: &mut Fixture, step: u64| {
            fixture
                .change(|e, inode| {
                    for i in (0..count).step_by(step as usize).skip(1) {
                        e.punch(inode, i * 2 * ratio..i * 2 * ratio + 1)?;
                    }
                    Ok(())
                })
                .expect("punched");
        };
        punch(&mut fixture, 3);
        fixture.commit(args);
        punch(&mut fixture, 1);
        assert_eq!(fixture.extents().len(), 1, "{args}");
        assert_eq!(fixture.levels(), [], "{args}: what is left lies in the inode");
        fixture.change(|e, inode| e.truncate(inode, 0)).expect("truncated");
        assert_eq!((fixture.free(), fixture.inode().space()), (free, 0), "{args}");
        fixture.commit(args);
    }
}

#[test]
fn nodes_that_have_become_small_are_united() {
    let mut fixture = Fixture::new("-t ext4 -b 1024", "64M");
    let mut rng = Rng::new(5);
    write_every_second(&mut fixture, 0..3000);
    let mut left: Vec<u64> = (0..3000).collect();
    while left.len() > 300 {
        let i = left.swap_remove(rng.below(left.len() as u64) as usize);
        fixture.change(|e, inode| e.punch(inode, i * 2..i * 2 + 1)).expect("punched");
    }
    let leaves = fixture.levels().iter().filter(|l| **l == 0).count();
    // No two neighbours under one node fit into one, so three of them hold more than one has room for.
    assert!((4..=12).contains(&leaves), "{leaves} leaves for 300 extents");
    fixture.commit("united");
    left.sort_unstable();
    let found: Vec<u64> = fixture.extents().iter().map(|r| r.logical / 2).collect();
    assert_eq!(found, left);
}

#[test]
fn a_hole_can_be_punched_when_no_block_is_free() {
    for args in ["-t ext4 -b 1024", "-t ext2 -b 1024"] {
        let mut fixture = Fixture::new(args, "8M");
        fixture
            .change(|e, inode| {
                e.write_content(inode, 0, &vec![3; 4 << 20])?;
                while let Ok(run) = e.take_blocks(BlockNr(0), 1000) {
                    assert!(run.len > 0);
                }
                assert_eq!(e.super_block().free_blocks_count(), 0);
                // Each needs an entry more, and from the fifth on a node.
                for i in 0..200 {
                    e.punch(inode, i * 10..i * 10 + 1)?;
                }
                Ok(())
            })
            .unwrap_or_else(|e| panic!("{args}: {e}"));
        let nodes = fixture.levels().len() as u64;
        let given = if args.contains("ext4") { 200 - nodes } else { 200 };
        assert_eq!(fixture.free(), given, "{args}");
    }
}

#[test]
fn extents_are_as_long_as_they_can_be_and_no_longer() {
    // All metadata in the first group, so that there are long stretches of free blocks.
    let mut fixture = Fixture::new("-t ext4 -b 4096 -G 64 -N 64", "1G");
    fixture
        .change(|e, inode| {
            e.fallocate(inode, 0..700 << 20, Fill::Unwritten, true)?;
            assert_eq!(inode.size(), 0);
            e.fallocate(inode, 0..700 << 20, Fill::Unwritten, false)
        })
        .expect("allocated");
    let extents = fixture.extents();
    assert!(extents.iter().all(|r| !r.written && r.len <= u64::from(extent::MAX_UNWRITTEN_LEN)), "{extents:?}");
    assert_eq!(extents.iter().map(|r| r.len).sum::<u64>(), 700 << 8);
    fixture.commit("unwritten");
    // Written from front to back in pieces: neighbours become one again.
    fixture
        .change(|e, inode| {
            for mib in 0..700 {
                e.write_content(inode, mib << 20, &[1])?;
                e.fallocate(inode, mib << 20..(mib + 1) << 20, Fill::Zeroes, false)?;
            }
            Ok(())
        })
        .expect("written");
    let extents = fixture.extents();
    assert!(extents.iter().all(|r| r.written), "{extents:?}");
    let merged: Vec<_> = extents.windows(2).filter(|w| w[0].physical.get() + w[0].len == w[1].physical.get()).collect();
    for pair in merged {
        assert!(pair[0].len + pair[1].len > u64::from(extent::MAX_WRITTEN_LEN), "{pair:?} could be one");
    }
    fixture.commit("written");
}

type Damage = fn(&mut [u8]);
type Change = fn(&mut Editor<'_>, &mut Inode) -> Result<(), EditError>;

#[test]
fn a_damaged_node_is_an_error_with_its_place() {
    let mut fixture = Fixture::new("-t ext4 -b 1024", "16M");
    write_every_second(&mut fixture, 0..100);
    let inode = fixture.inode();
    let node = fixture.volume.metadata_blocks(&inode).nth(1).expect("a second leaf").expect("sound").0;
    let good = fixture.volume.read_block(node).expect("read");
    let seed = fixture.change(|e, inode| Ok(e.inode_seal_seed(inode))).expect("a seed").expect("checksums");
    let damages: [(&str, Damage); 5] = [
        ("magic", |b| b[0] ^= 1),
        ("eh_entries", |b| b[2..4].copy_from_slice(&900u16.to_le_bytes())),
        ("stands where", |b| b[12..16].copy_from_slice(&3u32.to_le_bytes())),
        ("do not lie inside", |b| b[20..24].copy_from_slice(&u32::MAX.to_le_bytes())),
        ("eh_depth", |b| b[6] = 1),
    ];
    for (why, damage) in damages {
        let mut bytes = good.clone();
        damage(&mut bytes);
        extent::seal_block(seed, &mut bytes);
        fixture.volume.change(crate::NOW, |e| e.write_block(node, &bytes)).expect("damaged");
        let before = fixture.volume.edits().expect("edits").changes();
        let edits: [Change; 3] = [
            |e, inode| e.write_content(inode, 181 << 10, &[1]),
            |e, inode| e.punch(inode, 180..181),
            |e, inode| e.truncate(inode, 0),
        ];
        for edit in edits {
            let refused = fixture.change(edit).expect_err(why);
            assert!(matches!(refused, EditError::Volume(VolumeError::Corrupt { .. })), "{refused}");
            let text = refused.to_string();
            assert!(text.contains(&format!("inode:{} block:{node}", fixture.nr)) && text.contains(why), "{text}");
        }
        assert_eq!(fixture.volume.edits().expect("edits").changes(), before);
    }
    let mut bytes = good.clone();
    bytes[50] ^= 1;
    fixture.volume.change(crate::NOW, |e| e.write_block(node, &bytes)).expect("damaged");
    let refused = fixture.change(|e, inode| e.punch(inode, 180..181)).expect_err("a checksum");
    assert!(refused.to_string().ends_with("checksum does not match"), "{refused}");
}

/// A root of two levels as no one would make it: the second leaf begins later than the root says.
#[test]
fn keys_that_begin_too_early_are_put_right() {
    let mut fixture = Fixture::new("-t ext4 -b 1024 -O ^metadata_csum", "16M");
    write_every_second(&mut fixture, 0..100);
    let second = fixture.volume.extents(&fixture.inode()).nth(84).expect("an extent").expect("sound").logical;
    fixture
        .change(|e, inode| {
            e.modify(inode, |d| d.i_block[24..28].copy_from_slice(&(second as u32 - 1).to_le_bytes()));
            e.store_inode(inode)
        })
        .expect("changed");
    let (bs, before) = (fixture.block_size(), fixture.extents());
    // Over the end of the first leaf and into the gap that the second one has in front.
    fixture.change(|e, inode| e.write_content(inode, (second - 1) * bs, &[9; 1024])).expect("written");
    fixture.change(|e, inode| e.punch(inode, second..second + 1)).expect("punched");
    let mut expected: Vec<u64> = before.iter().map(|r| r.logical).filter(|l| *l != second).collect();
    expected.push(second - 1);
    expected.sort_unstable();
    assert_eq!(fixture.extents().iter().map(|r| r.logical).collect::<Vec<_>>(), expected);
    fixture.commit("keys");
}

#[test]
fn a_tree_as_deep_as_it_can_be_is_changed_and_goes() {
    let mut fixture = Fixture::new("-t ext4 -b 1024 -O ^metadata_csum", "16M");
    let free = fixture.free();
    // One extent below five nodes.
    fixture
        .change(|e, inode| {
            let data = e.take_blocks(BlockNr(0), 1)?.first;
            let mut below = Extent::new(7, data.get(), 1, true).as_bytes().to_vec();
            for depth in 0..6u16 {
                let header = ExtentHeader {
                    eh_magic: extent::MAGIC.into(),
                    eh_entries: 1.into(),
                    eh_max: (if depth == 5 { 4 } else { 84 }).into(),
                    eh_depth: depth.into(),
                    eh_generation: 0.into(),
                };
                let mut bytes = header.as_bytes().to_vec();
                bytes.extend(&below);
                if depth == 5 {
                    e.modify(inode, |d| d.i_block[..24].copy_from_slice(&bytes));
                    e.add_space(inode, 6)?;
                    return e.store_inode(inode);
                }
                bytes.resize(1024, 0);
                let Run { first, .. } = e.take_blocks(BlockNr(0), 1)?;
                e.write_block(first, &bytes)?;
                below = extent::ExtentIdx::new(7, first.get()).as_bytes().to_vec();
            }
            Ok(())
        })
        .expect("made");
    assert_eq!(fixture.levels(), [0, 1, 2, 3, 4]);
    fixture.change(|e, inode| e.write_content(inode, 1 << 30, &[1])).expect("written");
    assert_eq!((fixture.levels().len(), fixture.extents().len()), (5, 2));
    fixture.commit("deep");
    fixture.change(|e, inode| e.punch(inode, 7..8)).expect("punched");
    assert_eq!((fixture.levels(), fixture.extents().len()), (vec![], 1), "what fits in the inode lies there");
    fixture.commit("punched");
    fixture.change(|e, inode| e.truncate(inode, 0)).expect("truncated");
    assert_eq!(fixture.free(), free);
    assert!(fixture.inode().flags().contains(InodeFlags::EXTENTS));
    fixture.commit("gone");
}
