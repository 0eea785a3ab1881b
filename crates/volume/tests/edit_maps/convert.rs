//! From extents to indirect blocks and back.

use crate::Fixture;
use crate::common::edit::Rng;
use daxkit_format::dax::Errno;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_volume::EditError;
use daxkit_volume::ext4::edit::{Fill, NewInode};

#[test]
fn the_data_stays_where_it_is() {
    let mut rng = Rng::new(11);
    for bs in [1024u64, 4096] {
        let mut fixture = Fixture::new(&format!("-t ext4 -b {bs}"), "200M");
        let free = fixture.free();
        // Into each level of an indirect map, in order and in pieces.
        let double = 12 + bs / 4 + bs / 4 * bs / 4;
        fixture
            .change(|e, inode| {
                for _ in 0..300 {
                    let at = rng.below(3000);
                    e.write_content(
                        inode,
                        at * bs,
                        &vec![rng.below(255) as u8 + 1; (bs * (1 + rng.below(5))) as usize],
                    )?;
                }
                e.write_content(inode, (double + 5) * bs, &vec![9; 3 * bs as usize])
            })
            .expect("written");
        let whole = |fixture: &Fixture| {
            let runs = fixture.extents();
            let blocks: Vec<_> =
                runs.iter().flat_map(|r| (0..r.len).map(|i| (r.logical + i, r.physical.get() + i))).collect();
            let end = 4000 * bs;
            (blocks, fixture.volume.read_file(&fixture.inode(), 0..end).expect("read"), fixture.inode().size())
        };
        let before = whole(&fixture);
        let counted = |fixture: &Fixture| {
            let blocks = (before.0.len() + fixture.levels().len()) as u64;
            assert_eq!((fixture.inode().space(), free - fixture.free()), (blocks * bs, blocks));
        };
        counted(&fixture);
        fixture.change(|e, inode| e.convert_map(inode, false)).expect("to indirect blocks");
        assert!(!fixture.inode().flags().contains(InodeFlags::EXTENTS));
        assert_eq!(fixture.levels().last(), Some(&3));
        assert!(whole(&fixture) == before);
        counted(&fixture);
        fixture.commit("indirect");
        fixture.change(|e, inode| e.convert_map(inode, true)).expect("to extents");
        assert!(fixture.inode().flags().contains(InodeFlags::EXTENTS) && whole(&fixture) == before);
        counted(&fixture);
        fixture.commit("extents");
        fixture.change(|e, inode| e.truncate(inode, 0)).expect("truncated");
        assert_eq!(fixture.free(), free);
    }
}

#[test]
fn what_the_other_kind_cannot_hold_is_refused() {
    let mut fixture = Fixture::new("-t ext4 -b 4096", "32M");
    fixture.change(|e, inode| e.fallocate(inode, 0..10_000, Fill::Unwritten, false)).expect("allocated");
    let errno = |refused: Result<(), EditError>| refused.expect_err("refused").errno();
    let before = fixture.inode();
    assert_eq!(errno(fixture.change(|e, inode| e.convert_map(inode, false))), Errno::EOPNOTSUPP);
    assert_eq!(fixture.inode(), before);
    // A block that three levels do not reach.
    fixture
        .change(|e, inode| {
            e.truncate(inode, 0)?;
            e.write_content(inode, 1 << 43, &[1])
        })
        .expect("written");
    assert_eq!(errno(fixture.change(|e, inode| e.convert_map(inode, false))), Errno::EFBIG);
    let nr = fixture.volume.change(crate::NOW, |e| {
        let link = e.symlink(daxkit_volume::InodeNr::ROOT, b"l", b"target", &NewInode::of_root(0))?;
        Ok::<_, EditError>(link.nr())
    });
    fixture.nr = nr.expect("made");
    assert_eq!(errno(fixture.change(|e, inode| e.convert_map(inode, true))), Errno::EOPNOTSUPP);
    fixture.commit("refused");
    let mut fixture = Fixture::new("-t ext4 -O bigalloc", "32M");
    assert_eq!(errno(fixture.change(|e, inode| e.convert_map(inode, false))), Errno::EOPNOTSUPP);
    let mut fixture = Fixture::new("-t ext2", "32M");
    assert_eq!(errno(fixture.change(|e, inode| e.convert_map(inode, true))), Errno::EOPNOTSUPP);
}

#[test]
fn directories_and_long_targets_are_converted() {
    let mut fixture = Fixture::new("-t ext4 -b 1024", "32M");
    let root = daxkit_volume::InodeNr::ROOT;
    let (dir, link) = fixture
        .volume
        .change(crate::NOW, |e| {
            let dir = e.mkdir(root, b"dir", &NewInode::of_root(0o755))?.nr();
            for i in 0..500 {
                e.create(dir, format!("a file with number {i}").as_bytes(), &NewInode::of_root(0o100_644))?;
            }
            let link = e.symlink(root, b"link", &[b'y'; 700], &NewInode::of_root(0))?.nr();
            Ok::<_, EditError>((dir, link))
        })
        .expect("made");
    for to_extents in [false, true] {
        for nr in [dir, link] {
            fixture.nr = nr;
            fixture.change(|e, inode| e.convert_map(inode, to_extents)).expect("converted");
        }
        fixture.commit("converted");
        assert_eq!(fixture.volume.read_link(&fixture.volume.inode(link).expect("there")).expect("target"), [b'y'; 700]);
        let dir = fixture.volume.inode(dir).expect("there");
        assert_eq!(fixture.volume.read_dir(&dir).expect("a directory").count(), 502);
        assert!(fixture.volume.lookup(&dir, b"a file with number 333").expect("sound").is_some());
    }
}
