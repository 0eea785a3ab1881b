//! Quota files that grow and shrink.

use std::collections::BTreeMap;
use std::path::Path;

use crate::common::edit::{NOW, Rng, assert_clean, open_writable, seed};
use crate::common::{mke2fs, open_bytes, run, scratch};
use daxkit_format::OnDisk;
use daxkit_format::dax::Errno;
use daxkit_format::ext4::quota::{BLOCK_SIZE, DqBlk, QuotaKind};
use daxkit_volume::ext4::edit::{NewInode, QuotaIds};
use daxkit_volume::{EditError, InodeNr, OpenOptions, Place, Volume};
use zerocopy::IntoBytes;

/// Usage as debugfs lists it: bytes and inodes by id.
pub fn listed_quota(image: &Path, kind: &str) -> BTreeMap<u32, (u64, u64)> {
    let text = run("debugfs", &[&"-R", &format!("list_quota {kind}"), &image]);
    let numbers = |line: &str| line.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>().ok();
    let lines = text.lines().filter_map(numbers).filter(|n| n.len() == 7);
    lines.map(|n| (n[0] as u32, (n[1], n[4]))).collect()
}

fn entries(volume: &Volume, kind: QuotaKind) -> BTreeMap<u32, DqBlk> {
    volume.quota(kind).expect("reads").expect("a quota file").entries
}

fn usage(volume: &Volume, kind: QuotaKind) -> BTreeMap<u32, (u64, u64)> {
    entries(volume, kind).iter().map(|(id, e)| (*id, (e.dqb_curspace.get(), e.dqb_curinodes.get()))).collect()
}

const QUOTA: &str = "-t ext4 -O quota,project -E quotatype=usrquota:grpquota:prjquota";

#[test]
fn a_tree_of_many_ids_grows_and_is_used_again() {
    let dir = scratch();
    let image = mke2fs(dir.path(), "image", &format!("{QUOTA} -b 1024 -N 8000"), None, "24M");
    let (device, mut volume) = open_writable(&image);
    let mut rng = Rng::new(seed(40));
    let mut files: BTreeMap<u32, String> = BTreeMap::new();
    let mut sizes = Vec::new();
    for round in 0..4 {
        // First up to 2000 owners all over the numbers there are, then down to few.
        let goal = if round % 2 == 0 { 2000 } else { 25 };
        while files.len() < goal {
            let id = rng.next() as u32 >> [0, 8, 16, 24][rng.below(4) as usize];
            let name = format!("f{id}");
            if files.insert(id, name.clone()).is_none() {
                let new = NewInode { uid: id, gid: id / 3, project: Some(id / 7), ..NewInode::of_root(0o644) };
                let made = volume.change(NOW, |e| {
                    let mut inode = e.create(InodeNr::ROOT, name.as_bytes(), &new)?;
                    if id % 5 == 0 { e.write_content(&mut inode, 0, &[1; 1500]) } else { Ok(()) }
                });
                made.unwrap_or_else(|e| panic!("{name}: {e}"));
            }
        }
        while files.len() > goal {
            let id = *files.keys().nth(rng.below(files.len() as u64) as usize).expect("some are left");
            let name = files.remove(&id).expect("known");
            volume.change(NOW, |e| e.unlink(InodeNr::ROOT, name.as_bytes())).expect("removes");
        }
        let users = usage(&volume, QuotaKind::User);
        let mut expected: Vec<u32> = files.keys().copied().chain([0]).collect();
        expected.sort_unstable();
        expected.dedup();
        assert_eq!(users.keys().copied().collect::<Vec<_>>(), expected, "no entry is left of who has nothing");
        volume.commit(&image, 0, &*device, NOW).expect("commits");
        assert_clean(&image, &format!("round {round}"));
        for (kind, name) in QuotaKind::ALL.into_iter().zip(["user", "group", "project"]) {
            assert_eq!(usage(&volume, kind), listed_quota(&image, name), "round {round}, {name}");
        }
        let info = volume.quota(QuotaKind::User).expect("reads").expect("a quota file").info;
        sizes.push(info.dqi_blocks.get());
        assert!(goal > 25 || info.dqi_free_blk.get() != 0, "blocks of the tree are given back");
    }
    assert!(sizes[0] == sizes[1] && sizes[2] == sizes[3] && sizes[2] < sizes[0] * 5 / 4, "{sizes:?}");
}

#[test]
fn what_fails_is_charged_to_nobody() {
    let dir = scratch();
    let image = mke2fs(dir.path(), "image", &format!("{QUOTA} -b 1024"), None, "16M");
    let (_, mut volume) = open_writable(&image);
    let new = NewInode { uid: 77, ..NewInode::of_root(0o644) };
    volume.change(NOW, |e| e.create(InodeNr::ROOT, b"one", &new)).expect("creates");
    let before = usage(&volume, QuotaKind::User);
    assert_eq!(before.get(&77), Some(&(0, 1)));
    let failed = volume.change(NOW, |e| {
        let mut inode = e.create(InodeNr::ROOT, b"two", &NewInode { uid: 78, ..new })?;
        e.write_content(&mut inode, 0, &[1; 5000])?;
        e.unlink(InodeNr::ROOT, b"one")?;
        e.create(InodeNr::ROOT, b"two", &new)
    });
    assert!(matches!(failed, Err(EditError::Exists { .. })), "{failed:?}");
    assert_eq!(usage(&volume, QuotaKind::User), before);
    volume.change(NOW, |e| e.create(InodeNr::ROOT, b"two", &NewInode { uid: 78, ..new })).expect("creates");
    assert_eq!(usage(&volume, QuotaKind::User).get(&78), Some(&(0, 1)));
}

/// Changes the entry of a user in the quota file.
fn change_entry(volume: &mut Volume, id: u32, change: impl FnOnce(&mut DqBlk)) {
    let nr = volume.quota_inode(QuotaKind::User).expect("a quota file");
    let file = volume.inode(nr).expect("an inode");
    let bytes = volume.read_file(&file, 0..file.size()).expect("reads");
    let at = bytes.windows(4).step_by(4).rposition(|w| w == id.to_le_bytes()).expect("an entry") * 4;
    assert!(at > 2 * BLOCK_SIZE);
    let mut entry = DqBlk::peek(&bytes[at..]).copied().expect("an entry");
    change(&mut entry);
    volume
        .change(NOW, |e| {
            let mut file = e.inode(nr).map_err(EditError::from)?;
            e.write_content(&mut file, at as u64, entry.as_bytes())
        })
        .expect("writes");
}

#[test]
fn limits_stay_and_grace_begins_when_they_are_exceeded() {
    let dir = scratch();
    let image = mke2fs(dir.path(), "image", &format!("{QUOTA} -b 1024"), None, "16M");
    let (device, mut volume) = open_writable(&image);
    let id = 0x7654_3210;
    let new = NewInode { uid: id, ..NewInode::of_root(0o644) };
    volume.change(NOW, |e| e.create(InodeNr::ROOT, b"f", &new)).expect("creates");
    change_entry(&mut volume, id, |e| {
        e.dqb_bsoftlimit.set(4);
        e.dqb_isoftlimit.set(1);
        e.dqb_bhardlimit.set(5);
    });
    let entry = |volume: &Volume| {
        let e = entries(volume, QuotaKind::User)[&id];
        (e.dqb_curspace.get(), e.dqb_btime.get(), e.dqb_curinodes.get(), e.dqb_itime.get())
    };
    let week = u64::try_from(NOW.seconds).expect("after 1970") + 7 * 24 * 60 * 60;
    let resize = |volume: &mut Volume, size: usize| {
        volume
            .change(NOW, |e| {
                let mut inode = e.resolve(b"/f", false).map_err(EditError::from)?;
                e.truncate(&mut inode, 0)?;
                e.write_content(&mut inode, 0, &vec![1; size])
            })
            .expect("writes");
    };
    resize(&mut volume, 4096);
    assert_eq!(entry(&volume), (4096, 0, 1, 0));
    resize(&mut volume, 9000);
    assert_eq!(entry(&volume), (9216, week, 1, 0), "limits are not for the superuser");
    volume.change(NOW, |e| e.create(InodeNr::ROOT, b"g", &new)).expect("creates");
    assert_eq!(entry(&volume), (9216, week, 2, week));
    resize(&mut volume, 10);
    assert_eq!(entry(&volume), (1024, 0, 2, week));
    for name in [b"f", b"g"] {
        volume.change(NOW, |e| e.unlink(InodeNr::ROOT, name)).expect("removes");
    }
    assert_eq!(entry(&volume), (0, 0, 0, 0), "an entry with limits stays");
    volume.commit(&image, 0, &*device, NOW).expect("commits");
    assert_clean(&image, "limits");
}

#[test]
fn a_damaged_quota_file_is_said_to_be_damaged() {
    let dir = scratch();
    let image = mke2fs(dir.path(), "image", &format!("{QUOTA} -b 1024"), None, "16M");
    let mut rng = Rng::new(seed(41));
    let mut refused = 0;
    let sound = std::fs::read(&image).expect("reads");
    for _ in 0..300 {
        let options = OpenOptions { writable: true, ..OpenOptions::default() };
        let mut volume = open_bytes(&sound, &options).expect("a volume");
        let nr = volume.quota_inode(QuotaKind::Group).expect("a quota file");
        let file = volume.inode(nr).expect("an inode");
        let blocks: Vec<_> = volume.extents(&file).map(|run| run.expect("a run").physical).collect();
        let start = blocks[0].get() * 1024;
        volume
            .change(NOW, |e| {
                for _ in 0..1 + rng.below(4) {
                    let at = [rng.below(40), rng.below(6 * 1024), 5 * 1024 + rng.below(16)][rng.below(3) as usize];
                    let wrong = rng.next().to_le_bytes();
                    let len = 1 + rng.below(4) as usize;
                    e.write_bytes(Place::Inode(nr), start + at, &wrong[..len])?;
                }
                Ok::<_, EditError>(())
            })
            .expect("damages");
        for i in 0..40 {
            let done = volume.change(NOW, |e| {
                let root = e.root().map_err(EditError::from)?;
                let ids = QuotaIds { user: i * 1000, group: i * 300, project: i };
                e.transfer(&root, ids)?;
                e.charge(&root, -1024, -1)
            });
            if let Err(e) = done {
                assert_eq!(e.errno(), Errno::EUCLEAN, "{e}");
                refused += 1;
            }
            let _ = volume.quota(QuotaKind::Group);
        }
    }
    println!("{refused} of 12000 refused");
    assert!((1000..11_000).contains(&refused), "{refused}");
}
