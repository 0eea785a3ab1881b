//! Where blocks are put: windows of 2 MiB, clusters that several blocks share, one behind the other.

use crate::Fixture;
use daxkit_format::BlockNr;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::pmd::{FileExtent, PmdGeometry, PmdSummary, summary};
use daxkit_volume::EditError;
use daxkit_volume::ext4::edit::Fill;

/// How much of the file one fault can map.
fn windows(fixture: &Fixture) -> PmdSummary {
    let extents = fixture.extents().into_iter().map(|r| FileExtent {
        logical: r.logical,
        physical: r.physical.get(),
        len: r.len,
        written: r.written,
    });
    let geometry = PmdGeometry::new(fixture.volume.block_size(), fixture.volume.base()).expect("a block size");
    summary(geometry, fixture.inode().size(), extents)
}

fn set_dax(fixture: &mut Fixture) {
    fixture
        .change(|e, inode| {
            let flags = inode.flags() | InodeFlags::DAX;
            e.set_flags(inode, flags)
        })
        .expect("the flag");
}

#[test]
fn large_files_lie_in_whole_windows() {
    let mut fixture = Fixture::new("-t ext4 -b 4096", "128M");
    fixture
        .change(|e, inode| {
            e.take_blocks(BlockNr(0), 3)?;
            e.write_content(inode, 0, &vec![1; 9 << 20])
        })
        .expect("written");
    assert_eq!(windows(&fixture), PmdSummary { windows: 4, mappable: 4, ..PmdSummary::default() });
    // A beginning in the middle of a window leaves that window, and only that.
    let mut fixture = Fixture::new("-t ext4 -b 4096", "128M");
    fixture.change(|e, inode| e.write_content(inode, 5 << 20, &vec![1; 20 << 20])).expect("written");
    let found = windows(&fixture);
    assert_eq!((found.windows, found.mappable, found.hole, found.mixed), (12, 9, 2, 1), "{found:?}");
    // Allocated, then written.
    let mut fixture = Fixture::new("-t ext4 -b 4096", "256M");
    fixture.change(|e, inode| e.fallocate(inode, 0..100 << 20, Fill::Unwritten, false)).expect("allocated");
    assert_eq!(windows(&fixture), PmdSummary { windows: 50, unwritten: 50, ..PmdSummary::default() });
    fixture.change(|e, inode| e.fallocate(inode, 0..100 << 20, Fill::Zeroes, false)).expect("written");
    assert_eq!(windows(&fixture), PmdSummary { windows: 50, mappable: 50, ..PmdSummary::default() });
    fixture.commit("windows");
}

#[test]
fn a_file_that_is_written_in_pieces_lies_in_windows() {
    // (flag, bytes of a piece, bytes that no window is begun for)
    for (dax, piece, small) in [(true, 256 << 10, 252 << 10), (false, 1 << 20, 1020 << 10)] {
        let mut fixture = Fixture::new("-t ext4 -b 4096", "128M");
        if dax {
            set_dax(&mut fixture);
        }
        let free = fixture.free();
        let pieces = (16 << 20) / piece;
        for i in 0..pieces {
            fixture.change(|e, inode| e.write_content(inode, i * piece, &vec![1; piece as usize])).expect("written");
            // Something else is written in between.
            fixture.volume.change(crate::NOW, |e| e.take_blocks(BlockNr(0), 3)).expect("taken");
        }
        assert_eq!(windows(&fixture), PmdSummary { windows: 8, mappable: 8, ..PmdSummary::default() });
        assert_eq!(fixture.free(), free - 16 * 256 - pieces * 3, "no more than was needed is in use");
        // Small files lie where there is room.
        let mut fixture = Fixture::new("-t ext4 -b 4096", "128M");
        if dax {
            set_dax(&mut fixture);
        }
        let goal = fixture.change(|e, _| e.take_blocks(BlockNr(0), 5)).expect("taken").first;
        fixture.change(|e, inode| e.write_content(inode, 0, &vec![1; small])).expect("written");
        assert_eq!(fixture.extents()[0].physical.get(), goal.get() + 5);
    }
}

#[test]
fn without_windows_files_are_written_all_the_same() {
    let mut fixture = Fixture::new("-t ext4 -b 4096", "64M");
    // A block in the middle of every window.
    let count = fixture.volume.geometry().blocks_count;
    fixture
        .change(|e, inode| {
            for window in 0..count / 512 {
                let middle = daxkit_volume::ext4::edit::Run { first: BlockNr(window * 512 + 256), len: 1 };
                match e.take_exactly(middle) {
                    Ok(()) | Err(EditError::BlockState { .. }) => {}
                    Err(e) => return Err(e),
                }
            }
            e.write_content(inode, 0, &vec![5; 24 << 20])
        })
        .expect("written");
    assert!(fixture.content().iter().all(|b| *b == 5));
    assert!(fixture.extents().len() < 40, "{:?}", fixture.extents());
}

#[test]
fn windows_are_counted_from_the_start_of_the_device() {
    // The file system begins in the middle of a window.
    let fixture = Fixture::new("-t ext4 -b 4096", "64M");
    let bytes = std::fs::read(&fixture.image).expect("read");
    let offset = 1 << 20;
    let all = [vec![0; offset], bytes].concat();
    let device = daxkit_device::MemoryDevice::from_bytes(&all);
    let options = daxkit_volume::OpenOptions { offset: offset as u64, writable: true, ..Default::default() };
    let volume = daxkit_volume::Volume::open(std::sync::Arc::new(device), &options).expect("a volume");
    let mut fixture = Fixture { volume, ..fixture };
    fixture.change(|e, inode| e.write_content(inode, 0, &vec![1; 8 << 20])).expect("written");
    assert_eq!(windows(&fixture), PmdSummary { windows: 4, mappable: 4, ..PmdSummary::default() });
    assert_eq!(fixture.extents()[0].physical.get() % 512, 256);
}

#[test]
fn blocks_that_are_added_lie_behind_each_other() {
    for args in ["-t ext4 -b 1024", "-t ext2 -b 1024", "-t ext4 -b 4096 -O bigalloc -C 16384"] {
        let mut fixture = Fixture::new(args, "96M");
        let bs = fixture.block_size();
        fixture
            .change(|e, inode| {
                for i in 0..200 {
                    let (logical, block) = e.append_block(inode)?;
                    assert_eq!((logical, inode.size()), (i, (i + 1) * bs));
                    assert!(e.block_in_use(block)?);
                }
                Ok(())
            })
            .expect("added");
        // Blocks of an indirect map lie in between.
        let most = if args.contains("ext2") { 2 } else { 1 };
        assert!(fixture.extents().len() <= most, "{args}: {:?}", fixture.extents());
        assert!(fixture.content().iter().all(|b| *b == 0));
        fixture.commit(args);
    }
}

#[test]
fn a_cluster_is_taken_with_its_first_block_and_given_back_with_its_last() {
    let mut fixture = Fixture::new("-t ext4 -b 4096 -O bigalloc -C 16384", "96M");
    let (bs, free) = (fixture.block_size(), fixture.free());
    let space = |fixture: &Fixture| ((free - fixture.free()) / 4, fixture.inode().space() >> 14);
    // Blocks 2, 1 and 3 of one cluster, then one of the next.
    for (block, clusters) in [(2, 1), (1, 1), (3, 1), (5, 2), (4, 2)] {
        fixture.change(|e, inode| e.write_content(inode, block * bs, &[block as u8; 10])).expect("written");
        assert_eq!(space(&fixture), (clusters, clusters), "block {block}");
    }
    let extents = fixture.extents();
    assert_eq!((extents.len(), extents[0].logical, extents[0].len), (1, 1, 5));
    assert_eq!(extents[0].physical.get() % 4, 1);
    fixture.commit("shared");
    for (blocks, clusters) in [(1..2, 2), (2..3, 2), (3..5, 1), (5..6, 0)] {
        fixture.change(|e, inode| e.punch(inode, blocks.clone())).expect("punched");
        assert_eq!(space(&fixture), (clusters, clusters), "{blocks:?}");
    }
    assert_eq!(fixture.extents(), []);
    // Over several clusters, with blocks that stay at both ends; and one that lies behind a hole.
    fixture.change(|e, inode| e.write_content(inode, 22 * bs, &[1])).expect("written");
    fixture.change(|e, inode| e.write_content(inode, bs, &vec![2; 20 * 4096])).expect("written");
    assert_eq!(space(&fixture), (6, 6));
    fixture.change(|e, inode| e.punch(inode, 2..20)).expect("punched");
    assert_eq!(space(&fixture), (2, 2));
    fixture.commit("punched");
}

#[test]
fn what_does_not_fit_changes_nothing() {
    for args in ["-t ext4 -b 4096", "-t ext2 -b 1024", "-t ext4 -O bigalloc"] {
        let mut fixture = Fixture::new(args, "16M");
        fixture.change(|e, inode| e.write_content(inode, 1 << 20, &[8; 100_000])).expect("written");
        let (free, content) = (fixture.free(), fixture.content());
        let before = fixture.volume.edits().expect("edits").changes();
        let refused = fixture.change(|e, inode| e.write_content(inode, 0, &vec![1; 32 << 20]));
        assert!(matches!(refused, Err(EditError::NoSpace { .. })), "{args}: {refused:?}");
        let refused = fixture.change(|e, inode| e.fallocate(inode, 0..32 << 20, Fill::Zeroes, false));
        assert!(matches!(refused, Err(EditError::NoSpace { .. })), "{args}: {refused:?}");
        assert_eq!((fixture.free(), fixture.content() == content), (free, true), "{args}");
        assert_eq!(fixture.volume.edits().expect("edits").changes(), before, "{args}");
        fixture.commit(args);
    }
}
