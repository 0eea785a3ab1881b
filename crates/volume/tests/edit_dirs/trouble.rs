//! No space, indexes that nobody keeps any more, and images whose bytes lie: an answer, and nothing changed.

use std::sync::Arc;

use daxkit_device::{BlockDevice, MemoryDevice};
use daxkit_format::dax::Errno;
use daxkit_format::ext4::inode::Timestamp;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_volume::ext4::edit::NewInode;
use daxkit_volume::{InodeNr, OpenOptions, Volume};

use crate::common::{self, Rng};
use crate::model::Model;
use crate::session::{self, Script, Session, adopt, assert_clean, assert_same};

const ROOT: InodeNr = InodeNr::ROOT;

#[test]
fn a_full_image_refuses_and_stays_as_it_is() {
    for (args, size, inodes) in [
        ("-t ext4 -b 1024 -I 128 -N 4000 -O ^has_journal", "900k", false),
        ("-t ext2 -b 1024 -N 40", "2M", true),
        ("-t ext4 -b 1024 -N 4000 -O ^has_journal,inline_data -I 256", "1200k", false),
        ("-t ext4 -b 1024 -I 128 -N 4000 -O ^has_journal,quota", "900k", false),
    ] {
        let seed = 11;
        println!("{args}: seed {seed}");
        let dir = common::scratch();
        let image = session::mke2fs(dir.path(), "image", args, None, size);
        let mut session = Session::open(&image);
        let mut model = Model::new(1024);
        adopt(&session.volume, &mut model);
        let mut script = Script { rng: Rng(seed), growth: 80, plain: false, max_name: 255 };
        let mut refused = 0;
        for n in 0..4000 {
            script.growth = if n / 500 % 2 == 0 { 90 } else { 35 };
            let op = script.next(&model);
            let expected = model.predict(&op);
            let before = session.state();
            match session.apply(&op) {
                Ok(made) => {
                    assert_eq!(expected, Ok(()), "{n}: {op:?}");
                    model.apply(&op, made);
                }
                Err(e) => {
                    if e.errno() == Errno::ENOSPC && expected.is_ok() {
                        refused += 1;
                    } else {
                        assert_eq!(Err(e.errno()), expected, "{n}: {op:?}: {e}");
                    }
                    assert_eq!(session.state(), before, "{n}: {op:?} failed and changed something");
                }
            }
        }
        assert!(refused > 50, "{args}: {refused} refused");
        let (_, free_inodes) = session.volume.free_counts().expect("counts");
        assert_eq!(free_inodes < 40, inodes, "{args}: {free_inodes} inodes are free");
        session.commit();
        assert_same(&session.volume, &model, args);
        assert_clean(&image);
    }
}

#[test]
fn an_index_that_nobody_keeps_is_given_up() {
    let dir = common::scratch();
    for args in ["-t ext4 -b 1024", "-t ext4 -b 1024 -O ^metadata_csum"] {
        let image = session::mke2fs(dir.path(), "image", args, None, "32M");
        let mut session = Session::open(&image);
        let name = |n: u32| format!("{n:060}").into_bytes();
        let file = NewInode::of_root(0o600);
        let top = session.edit(|e| e.mkdir(ROOT, b"top", &NewInode::of_root(0o700))).expect("made").nr();
        for n in 0..2500 {
            session.edit(|e| e.create(top, &name(n), &file)).expect("made");
        }
        session.commit();
        assert_clean(&image);
        drop(session);
        common::debugfs_write(&image, "feature -dir_index\n");
        let mut session = Session::open(&image);
        assert!(session.volume.inode(top).expect("there").flags().contains(InodeFlags::INDEX));
        session.edit(|e| e.unlink(top, &name(7))).expect("removed");
        session.edit(|e| e.create(top, b"new", &file)).expect("made");
        let inode = session.volume.inode(top).expect("there");
        assert!(!inode.flags().contains(InodeFlags::INDEX), "{args}");
        for n in (0..2500).filter(|n| *n != 7) {
            assert!(session.volume.lookup(&inode, &name(n)).expect("sound").is_some(), "{args}: {n}");
        }
        session.commit();
        common::judge::assert_clean(&image, args);
    }
}

/// An image with directories of every kind.
fn varied(args: &str) -> Vec<u8> {
    let dir = common::scratch();
    let image = session::mke2fs(dir.path(), "image", args, None, "3M");
    let mut session = Session::open(&image);
    let (new, sub) = (NewInode::of_root(0o644), NewInode::of_root(0o755));
    for n in 0..6u32 {
        let d = session.edit(|e| e.mkdir(ROOT, format!("d{n}").as_bytes(), &sub)).expect("made").nr();
        for f in 0..8 * n {
            session.edit(|e| e.create(d, format!("{f:0$}", 20 + n as usize * 10).as_bytes(), &new)).expect("made");
        }
        session.edit(|e| e.mkdir(d, b"sub", &sub)).expect("made");
        session.edit(|e| e.symlink(d, b"link", &[b'y'; 80], &new)).expect("made");
        session.edit(|e| e.tmpfile(d, &new)).expect("made");
    }
    session.commit();
    std::fs::read(&image).expect("readable")
}

#[test]
fn whatever_the_bytes_say_there_is_an_answer() {
    let seed = 0x5eed;
    println!("seed {seed}");
    let mut rng = Rng(seed);
    for args in [
        "-t ext4 -b 1024 -O ^has_journal -N 400",
        "-t ext4 -b 1024 -O ^has_journal,inline_data,large_dir,quota -N 400",
        "-t ext2 -b 1024 -N 400",
        "-t ext4 -b 1024 -O orphan_file -N 400 -J size=1",
    ] {
        let image = varied(args);
        // Where something lies: the rest is of no interest.
        let used: Vec<usize> = (0..image.len()).filter(|at| image[*at] != 0).collect();
        let (mut answers, mut errors) = (0u32, 0u32);
        for round in 0..150 {
            let mut bytes = image.clone();
            for _ in 0..1 + rng.below(12) {
                let at = used[rng.below(used.len() as u64) as usize] + rng.below(4) as usize;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = [0, 0xff, 1, rng.next() as u8][rng.below(4) as usize];
                }
            }
            let device: Arc<dyn BlockDevice> = Arc::new(MemoryDevice::from_bytes(&bytes));
            let options = OpenOptions { writable: true, ignore_checksums: true, ..OpenOptions::default() };
            let Ok(mut volume) = Volume::open(device, &options) else { continue };
            let mut script = Script { rng: Rng(rng.next()), growth: 60, plain: false, max_name: 200 };
            let mut model = Model::new(1024);
            // Directories that may be there, and names that may stand in them.
            for n in 0..30u64 {
                let kind = crate::model::Kind::Dir { names: Default::default(), parent: 2, folded: false };
                let node = crate::model::Node { kind, mode: 0o040_755, uid: 0, gid: 0, links: 2 };
                let name = [&b"sub"[..], b"link", b"d3", b"0", b"x"][n as usize % 5];
                model.adopt(2, &[name, &[b'0'; 3][..n as usize % 4]].concat(), 11 + n * 5, node);
            }
            let now = Timestamp { seconds: 1_700_000_000, nanos: 0 };
            for _ in 0..25 {
                let op = script.next(&model);
                let done = volume.change(now, |e| crate::session::carry_out(e, &op));
                answers += 1;
                errors += u32::from(done.is_err());
            }
            for nr in [12, 15, 30, 44] {
                let _ = volume.change(now, |e| e.kill(InodeNr(nr)));
            }
            let _ = round;
        }
        println!("{args}: {errors} errors of {answers} answers");
        assert!(answers > 1000 && errors > 100 && errors < answers, "{args}: {errors} of {answers}");
    }
}
