//! Files without a name, for a mount to find, and what debugfs does to names and inodes without counting.

use daxkit_format::dax::Errno;
use daxkit_format::ext4::dir_entry::file_type;
use daxkit_volume::ext4::edit::{NewInode, Rename, RenameRule};
use daxkit_volume::{InodeNr, Volume};

use crate::common::{self, Mount};
use crate::session::{self, Session, assert_clean};

const ROOT: InodeNr = InodeNr::ROOT;
const FILE: NewInode = NewInode::of_root(0o644);
const DIR: NewInode = NewInode::of_root(0o755);

fn free(volume: &Volume) -> (u64, u64) {
    volume.free_counts().expect("counts")
}

#[test]
fn a_mount_frees_the_orphans_and_only_those() {
    for args in ["-t ext4", "-t ext4 -O orphan_file", "-t ext3", "-t ext4 -O inline_data", "-t ext4 -O ^has_journal"] {
        let dir = common::scratch();
        let image = session::mke2fs(dir.path(), "image", args, None, "32M");
        let mut session = Session::open(&image);
        let untouched = free(&session.volume);
        let mut kept = Vec::new();
        for n in 0..40u32 {
            let name = format!("{n}");
            let made = session.edit(|e| {
                Ok(match n % 4 {
                    0 => e.tmpfile(ROOT, &FILE)?,
                    1 => {
                        let mut file = e.create(ROOT, name.as_bytes(), &FILE)?;
                        e.write_content(&mut file, 0, &[7; 30_000])?;
                        e.detach(ROOT, name.as_bytes())?
                    }
                    2 => {
                        e.mkdir(ROOT, name.as_bytes(), &DIR)?;
                        e.detach(ROOT, name.as_bytes())?
                    }
                    _ => {
                        e.symlink(ROOT, name.as_bytes(), &[b'x'; 300], &FILE)?;
                        e.create(ROOT, b"other", &FILE)?;
                        let rule = RenameRule::Replace;
                        let (name, new_name) = (&b"other"[..], name.as_bytes());
                        let r = Rename { from: ROOT, name, to: ROOT, new_name, rule, keep_replaced: true };
                        let replaced = e.rename(&r)?.expect("replaced");
                        e.unlink(ROOT, new_name)?;
                        replaced
                    }
                })
            });
            let made = made.unwrap_or_else(|e| panic!("{args}, {n}: {e}"));
            assert_eq!(made.i_links_count.get(), 0);
            kept.push(made.nr());
        }
        let mut listed = session.volume.orphans().expect("orphans");
        listed.sort();
        let mut expected = kept.clone();
        expected.sort();
        assert_eq!(listed, expected, "{args}");
        // From the middle, the beginning and the end.
        for (n, nr) in kept.iter().enumerate().filter(|(n, _)| [0, 4, 5, 20, 36, 39].contains(n)) {
            session
                .edit(|e| {
                    if n % 4 == 0 {
                        e.link(ROOT, format!("linked {n}").as_bytes(), *nr)?;
                        return Ok(());
                    }
                    let mut inode = e.inode(*nr)?;
                    e.orphan_del(&mut inode)?;
                    let again = e.orphan_del(&mut inode).expect_err("it is none any more");
                    assert_eq!(again.errno(), Errno::EINVAL);
                    e.drop_inode(inode)
                })
                .unwrap_or_else(|e| panic!("{args}, {n}: {e}"));
        }
        assert_eq!(session.volume.orphans().expect("orphans").len(), 34);
        let gone = session.edit(|e| e.link(ROOT, b"gone", kept[5]).map(|_| ()));
        assert!(matches!(gone.expect_err("gone").errno(), Errno::ENOENT), "{args}");
        session.commit();
        // e2fsck frees them, too, and finds nothing else.
        let checked = dir.path().join("checked");
        common::copy(&image, &checked);
        let text = common::output("e2fsck", &[&"-fy", &checked]);
        let text = String::from_utf8_lossy(&text.stdout).into_owned();
        assert!(!text.contains("Fix"), "{args}: {text}");
        assert_clean(&checked);
        if args.contains("orphan_file") && !std::path::Path::new("/sys/fs/ext4/features/orphan_file").exists() {
            println!("this kernel has no list of its features; orphan_file is mounted all the same");
        }
        drop(Mount::new(&image, &dir.path().join("mnt"), ""));
        assert_clean(&image);
        for volume in [common::open(&image), common::open(&checked)] {
            assert_eq!(volume.orphans().expect("orphans"), [], "{args}");
            let names: Vec<_> =
                volume.read_dir(&volume.root().expect("root")).expect("a directory").flatten().collect();
            let linked = names.iter().filter(|e| e.name.starts_with(b"linked")).count();
            assert_eq!((linked, names.len()), (4, 7), "{args}");
            assert_eq!(free(&volume).1, untouched.1 - 4, "{args}: inodes");
        }
    }
}

#[test]
fn names_and_inodes_as_debugfs_treats_them() {
    let dir = common::scratch();
    let image = session::mke2fs(dir.path(), "ours", "-t ext4 -b 1024", None, "16M");
    common::debugfs_write(&image, "mkdir d\nmkdir d/e\nmkdir f\n");
    let text = dir.path().join("text");
    std::fs::write(&text, vec![b'x'; 20_000]).expect("written");
    common::debugfs_write(&image, &format!("write {0} a\nwrite {0} d/b\nsymlink s /d/b\n", text.display()));
    let theirs = dir.path().join("theirs");
    common::copy(&image, &theirs);
    common::debugfs_write(
        &theirs,
        "ln a d/second\nunlink d/b\nkill_file f\nunlink f\nrm s\nrmdir d/e\nexpand_dir d\nexpand_dir d\n",
    );
    let mut session = Session::open(&image);
    let nr = |session: &Session, path: &str| session.volume.resolve(path.as_bytes(), false).expect("there").nr();
    let (a, d, f, b) = (nr(&session, "/a"), nr(&session, "/d"), nr(&session, "/f"), nr(&session, "/d/b"));
    session
        .edit(|e| {
            e.link_raw(d, b"second", a, file_type::REG_FILE)?;
            let entry = e.unlink_raw(d, b"b")?;
            assert_eq!((entry.inode, entry.file_type), (b, file_type::REG_FILE));
            e.kill(f)?;
            e.unlink_raw(ROOT, b"f")?;
            e.unlink(ROOT, b"s")?;
            e.rmdir(d, b"e")?;
            let mut dir = e.inode(d)?;
            e.expand_dir(&mut dir)?;
            e.expand_dir(&mut dir)
        })
        .expect("edited");
    session.commit();
    let (ours, theirs) = (&session.volume, &common::open(&theirs));
    for volume in [ours, theirs] {
        assert_eq!(volume.inode(a).expect("there").i_links_count.get(), 1, "not counted");
        let lost = volume.inode(b).expect("there");
        assert_eq!((lost.i_links_count.get(), lost.size()), (1, 20_000), "not touched");
        assert!(volume.inode_in_use(b).expect("a bitmap") && !volume.inode_in_use(f).expect("a bitmap"));
        assert_eq!(volume.resolve(b"/d", false).expect("there").size(), 3 * 1024);
        assert_eq!(volume.resolve(b"/d/second", false).expect("there").nr(), a);
    }
    assert_eq!(ours.free_counts().expect("counts"), theirs.free_counts().expect("counts"));
    let refused = session.edit(|e| e.kill(InodeNr(8))).expect_err("the journal");
    assert_eq!(refused.errno(), Errno::EPERM);
    let refused = session.edit(|e| e.kill(f)).expect_err("it is free");
    assert_eq!(refused.errno(), Errno::EINVAL);
    let refused = session.edit(|e| e.link_raw(d, b"far", InodeNr(1 << 31), 1)).expect_err("no such inode");
    assert_eq!(refused.errno(), Errno::EINVAL);
}

#[test]
fn hashed_directories_take_blocks_without_names() {
    let dir = common::scratch();
    let image = session::mke2fs(dir.path(), "image", "-t ext4 -b 1024", None, "32M");
    let mut session = Session::open(&image);
    let top = session.edit(|e| e.mkdir(ROOT, b"top", &DIR)).expect("made").nr();
    for n in 0..600 {
        session.edit(|e| e.create(top, format!("{n:0100}").as_bytes(), &FILE)).expect("made");
    }
    for _ in 0..200 {
        session
            .edit(|e| {
                let mut dir = e.inode(top)?;
                e.expand_dir(&mut dir)
            })
            .expect("a block more");
    }
    session.commit();
    assert_clean(&image);
    for n in 600..3000 {
        session.edit(|e| e.create(top, format!("{n:0100}").as_bytes(), &FILE)).expect("made");
    }
    session.commit();
    assert_clean(&image);
    let top = session.volume.inode(top).expect("there");
    for n in 0..3000 {
        let found = session.volume.lookup(&top, format!("{n:0100}").as_bytes()).expect("sound");
        assert!(found.is_some(), "{n}");
    }
}
