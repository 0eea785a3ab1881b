//! What new inodes inherit, what times and versions change, what is refused: against the kernel where it can be asked.

use daxkit_format::dax::Errno;
use daxkit_format::ext4::inode::Timestamp;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_volume::ext4::edit::{NewInode, Rename, RenameRule};
use daxkit_volume::{InodeNr, Volume};

use crate::common::{self, Mount};
use crate::session::{self, Session, assert_clean};
use crate::tree;

const ROOT: InodeNr = InodeNr::ROOT;
const FILE: NewInode = NewInode::of_root(0o100_644);
const DIR: NewInode = NewInode::of_root(0o755);

/// Children of a directory with every flag that can be inherited, and some that cannot.
#[test]
fn children_inherit_as_under_the_kernel() {
    for (n, flags) in [
        // All but the journalling of data, which excludes DAX.
        InodeFlags::SECRM
            | InodeFlags::UNRM
            | InodeFlags::COMPR
            | InodeFlags::SYNC
            | InodeFlags::NODUMP
            | InodeFlags::NOATIME
            | InodeFlags::NOTAIL
            | InodeFlags::DIRSYNC
            | InodeFlags::TOPDIR
            | InodeFlags::DAX
            | InodeFlags::PROJINHERIT,
        InodeFlags::JOURNAL_DATA | InodeFlags::PROJINHERIT,
        InodeFlags::DAX,
        InodeFlags::empty(),
    ]
    .into_iter()
    .enumerate()
    {
        let dir = common::scratch();
        let image = session::mke2fs(dir.path(), "ours", "-t ext4", None, "32M");
        let all = (flags | InodeFlags::EXTENTS).bits();
        let script = ["flags", "projid 77", "gid 44", "mode 042755"].map(|what| {
            let value = if what == "flags" { format!(" {all:#x}") } else { String::new() };
            format!("set_inode_field d {what}{value}\n")
        });
        common::debugfs_write(&image, &format!("mkdir d\n{}", script.concat()));
        let theirs = dir.path().join("theirs");
        common::copy(&image, &theirs);
        {
            let mount = Mount::new(&theirs, &dir.path().join("mnt"), "");
            let d = mount.path.join("d");
            std::fs::create_dir(d.join("dir")).expect("mkdir");
            std::fs::write(d.join("file"), "").expect("create");
            std::os::unix::fs::symlink("short", d.join("fast")).expect("symlink");
            std::os::unix::fs::symlink("x".repeat(100), d.join("slow")).expect("symlink");
            common::run("mkfifo", &[&d.join("fifo")]);
            common::run("mknod", &[&d.join("node"), &"c", &"300", &"70000"]);
        }
        let mut session = Session::open(&image);
        let d = session.volume.resolve(b"/d", false).expect("there").nr();
        let node = |mode| NewInode::of_root(mode);
        session.edit(|e| e.mkdir(d, b"dir", &DIR)).expect("made");
        session.edit(|e| e.create(d, b"file", &FILE)).expect("made");
        session.edit(|e| e.symlink(d, b"fast", b"short", &FILE)).expect("made");
        session.edit(|e| e.symlink(d, b"slow", &[b'x'; 100], &FILE)).expect("made");
        session.edit(|e| e.mknod(d, b"fifo", &node(0o010_644), (0, 0))).expect("made");
        session.edit(|e| e.mknod(d, b"node", &node(0o020_644), (300, 70_000))).expect("made");
        session.commit();
        assert_clean(&image);
        assert_clean(&theirs);
        let theirs = common::open(&theirs);
        for name in ["dir", "file", "fast", "slow", "fifo", "node"] {
            let path = format!("/d/{name}");
            let [a, b] = [&session.volume, &theirs].map(|v| v.resolve(path.as_bytes(), false).expect("there"));
            assert_eq!(a.flags(), b.flags(), "case {n}: {name}");
            let facts = |i: &daxkit_volume::Inode| {
                (i.i_mode.get(), i.uid(), i.gid(), i.project(), i.i_links_count.get(), i.size(), i.space(), i.device())
            };
            assert_eq!(facts(&a), facts(&b), "case {n}: {name}");
            assert_eq!(a.i_extra_isize.get(), b.i_extra_isize.get());
            assert_eq!((a.crtime(), a.atime(), a.mtime()), (Some(a.ctime()), a.ctime(), a.ctime()), "{name}");
        }
        let [a, b] = [&session.volume, &theirs].map(|v| v.resolve(b"/d", false).expect("there"));
        assert_eq!(a.i_links_count, b.i_links_count);
    }
}

/// Default ACLs, with names and without, make the same modes and ACLs of children.
#[test]
fn default_acls_are_handed_on_as_under_the_kernel() {
    const NOBODY: u32 = u32::MAX;
    let plain = [(1, 7, NOBODY), (4, 5, NOBODY), (0x20, 0, NOBODY)];
    let named = [(1, 7, NOBODY), (2, 7, 1000), (4, 5, NOBODY), (0x10, 5, NOBODY), (0x20, 5, NOBODY)];
    for (n, entries) in [&plain[..], &named].into_iter().enumerate() {
        let mut acl = 2u32.to_le_bytes().to_vec();
        for (tag, perm, id) in entries {
            acl.extend([u16::to_le_bytes(*tag), u16::to_le_bytes(*perm)].concat());
            acl.extend(id.to_le_bytes());
        }
        for args in ["-t ext4", "-t ext4 -O inline_data", "-t ext3 -I 128"] {
            let dir = common::scratch();
            let theirs = session::mke2fs(dir.path(), "theirs", args, None, "16M");
            {
                let mount = Mount::new(&theirs, &dir.path().join("mnt"), "");
                std::fs::create_dir(mount.path.join("d")).expect("mkdir");
                let flags = rustix::fs::XattrFlags::empty();
                rustix::fs::setxattr(mount.path.join("d"), "system.posix_acl_default", &acl, flags).expect("set");
            }
            let image = dir.path().join("ours");
            common::copy(&theirs, &image);
            {
                let mount = Mount::new(&theirs, &dir.path().join("mnt"), "");
                let d = mount.path.join("d");
                let script = "umask 022; mkdir $0/dir $0/dir/below; : > $0/file; mkfifo $0/fifo; ln -s x $0/link";
                common::run("sh", &[&"-c", &script, &d]);
            }
            let mut session = Session::open(&image);
            session
                .edit(|e| {
                    let d = e.resolve(b"/d", false)?.nr();
                    let dir = e.mkdir(d, b"dir", &NewInode::of_root(0o777))?;
                    e.mkdir(dir.nr(), b"below", &NewInode::of_root(0o777))?;
                    e.create(d, b"file", &NewInode::of_root(0o666))?;
                    e.mknod(d, b"fifo", &NewInode::of_root(0o010_666), (0, 0))?;
                    e.symlink(d, b"link", b"x", &FILE)
                })
                .expect("made");
            session.commit();
            assert_clean(&image);
            let (ours, theirs) = (tree::of_volume(&session.volume), tree::of_volume(&common::open(&theirs)));
            assert!(ours[&b"d/dir"[..]].xattrs.contains_key(&b"system.posix_acl_default"[..]));
            assert_eq!(ours[&b"d/file"[..]].xattrs.len(), n, "{args}");
            tree::assert_same(&ours, &theirs, &format!("{entries:?}: {args}"), |_| false, false);
        }
    }
}

#[test]
fn projects_are_not_left_by_their_names() {
    let dir = common::scratch();
    let image = session::mke2fs(dir.path(), "image", "-t ext4 -O project,quota -E quotatype=prjquota", None, "32M");
    let mut session = Session::open(&image);
    session
        .edit(|e| {
            for (name, project) in [(&b"a"[..], 5), (b"b", 6)] {
                let new = NewInode { project: Some(project), ..DIR };
                let mut dir = e.mkdir(ROOT, name, &new)?;
                e.modify(&mut dir, |d| d.set_flags(d.flags() | InodeFlags::PROJINHERIT));
                e.store_inode(&mut dir)?;
                e.create(dir.nr(), b"f", &FILE)?;
                e.create(dir.nr(), b"g", &NewInode { project: Some(5), ..FILE })?;
            }
            Ok(())
        })
        .expect("made");
    let nr = |v: &Volume, path: &str| v.resolve(path.as_bytes(), false).expect("there").nr();
    let (a, b) = (nr(&session.volume, "/a"), nr(&session.volume, "/b"));
    let in_b = nr(&session.volume, "/b/f");
    assert_eq!(session.volume.inode(in_b).expect("there").project(), Some(6));
    let rename = |from, name, to, rule| Rename { from, name, to, new_name: name, rule, keep_replaced: false };
    let refused = session.edit(|e| e.link(a, b"linked", in_b).map(|_| ())).expect_err("another project");
    assert_eq!(refused.errno(), Errno::EXDEV);
    for rule in [RenameRule::Replace, RenameRule::Exchange] {
        let refused = session.edit(|e| e.rename(&rename(b, b"f", a, rule))).expect_err("another project");
        assert_eq!(refused.errno(), Errno::EXDEV);
    }
    // One of project 5 that lies in b may go to a, but not be exchanged for one of project 5 that would come to b.
    let refused = session.edit(|e| e.rename(&rename(b, b"g", a, RenameRule::Exchange))).expect_err("another project");
    assert_eq!(refused.errno(), Errno::EXDEV);
    session.edit(|e| e.rename(&rename(b, b"g", a, RenameRule::Replace))).expect("moved");
    session.commit();
    assert_clean(&image);
}

#[test]
fn names_of_encrypted_directories_go_but_do_not_come() {
    let dir = common::scratch();
    let image = session::mke2fs(dir.path(), "image", "-t ext4 -b 1024 -O encrypt", None, "16M");
    common::debugfs_write(&image, "mkdir d\nmkdir e\n");
    let mut session = Session::open(&image);
    let nr = |v: &Volume, path: &str| v.resolve(path.as_bytes(), false).expect("there").nr();
    let (d, e) = (nr(&session.volume, "/d"), nr(&session.volume, "/e"));
    session.edit(|x| x.create(d, b"0123456789abcdef", &FILE)).expect("made");
    session
        .edit(|x| x.change_inode(d, |i| i.set_flags(i.flags() | InodeFlags::ENCRYPT)).map(|_| ()))
        .expect("as if it were encrypted");
    let file = nr(&session.volume, "/d/0123456789abcdef");
    let rename = |from, to| Rename {
        from,
        name: b"0123456789abcdef",
        to,
        new_name: b"new",
        rule: RenameRule::Replace,
        keep_replaced: false,
    };
    let answers = [
        session.edit(|x| x.create(d, b"new", &FILE).map(|_| ())),
        session.edit(|x| x.mkdir(d, b"new", &DIR).map(|_| ())),
        session.edit(|x| x.symlink(d, b"new", b"x", &FILE).map(|_| ())),
        session.edit(|x| x.link(d, b"new", file).map(|_| ())),
        session.edit(|x| x.tmpfile(d, &FILE).map(|_| ())),
        session.edit(|x| x.rename(&rename(d, e)).map(|_| ())),
        session.edit(|x| x.rename(&rename(d, d)).map(|_| ())),
    ];
    for answer in answers {
        assert_eq!(answer.expect_err("no key").errno(), Errno::ENOKEY);
    }
    session.edit(|x| x.unlink(d, b"0123456789abcdef")).expect("removed");
    assert!(session.volume.is_empty_dir(&session.volume.inode(d).expect("there")).expect("sound"));
}

#[test]
fn names_without_case_and_their_spelling() {
    for (flags, strict) in [("", false), (",encoding_flags=strict", true)] {
        let dir = common::scratch();
        let args = format!("-t ext4 -b 1024 -O casefold -E encoding=utf8{flags}");
        let image = session::mke2fs(dir.path(), "image", &args, None, "16M");
        common::debugfs_write(&image, "mkdir d\nset_inode_field d flags 0x40080000\n");
        let mut session = Session::open(&image);
        let d = session.volume.resolve(b"/d", false).expect("there").nr();
        session.edit(|e| e.create(d, "Stra\u{df}e".as_bytes(), &FILE)).expect("made");
        let again = session.edit(|e| e.create(d, b"STRASSE", &FILE)).expect_err("the same name");
        assert_eq!(again.errno(), Errno::EEXIST);
        // e2fsck 1.47.0 cannot hash such a name, so it stands where nothing is hashed.
        let plain = session.edit(|e| e.mkdir(d, b"plain", &DIR)).expect("made").nr();
        let bad = session.edit(|e| e.create(plain, b"no utf-8: \xff", &FILE).map(|_| ()));
        assert_eq!(bad.map_err(|e| e.errno()), if strict { Err(Errno::EINVAL) } else { Ok(()) });
        // In other directories bytes are bytes.
        session.edit(|e| e.create(ROOT, b"no utf-8: \xff", &FILE)).expect("made");
        let sub = session.edit(|e| e.mkdir(d, b"sub", &DIR)).expect("made");
        assert!(sub.flags().contains(InodeFlags::CASEFOLD), "handed on");
        for n in 0..400 {
            session.edit(|e| e.create(d, format!("N\u{c4}ME{n:0100}").as_bytes(), &FILE)).expect("made");
        }
        let inode = session.volume.inode(d).expect("there");
        assert!(inode.flags().contains(InodeFlags::INDEX));
        for n in 0..400 {
            let name = format!("na\u{308}me{n:0100}");
            let found = session.volume.lookup(&inode, name.as_bytes()).expect("sound").expect("found");
            assert_eq!(found.name, format!("N\u{c4}ME{n:0100}").as_bytes(), "the spelling stays");
        }
        let r = Rename {
            from: d,
            name: b"strasse",
            to: d,
            new_name: "STRA\u{df}E".as_bytes(),
            rule: RenameRule::Replace,
            keep_replaced: false,
        };
        assert!(session.edit(|e| e.rename(&r)).expect("nothing to do").is_none());
        session.edit(|e| e.unlink(d, b"sTrAsSe")).expect("removed");
        session.commit();
        assert_clean(&image);
    }
}

#[test]
fn times_versions_and_generations() {
    let dir = common::scratch();
    let image = session::mke2fs(dir.path(), "image", "-t ext4", None, "16M");
    let at = |session: &Session, nr: InodeNr| {
        let i = session.volume.inode(nr).expect("there");
        (i.atime().seconds, i.mtime().seconds, i.ctime().seconds, i.l_i_version.get())
    };
    let mut session = Session::open(&image);
    let d = session.edit(|e| e.mkdir(ROOT, b"d", &DIR)).expect("made");
    let made = session.seconds;
    assert_eq!(d.crtime(), Some(Timestamp { seconds: made, nanos: 123_456_789 }));
    let file = session.edit(|e| e.create(d.nr(), b"f", &FILE)).expect("made").nr();
    assert_eq!(at(&session, d.nr()), (made, made + 1, made + 1, 2));
    assert_eq!(at(&session, file), (made + 1, made + 1, made + 1, 1));
    session.edit(|e| e.link(ROOT, b"g", file).map(|_| ())).expect("linked");
    assert_eq!(at(&session, file), (made + 1, made + 1, made + 2, 2));
    assert_eq!(at(&session, d.nr()), (made, made + 1, made + 1, 2));
    let r = Rename { from: ROOT, name: b"g", to: d.nr(), new_name: b"g", rule: RenameRule::Keep, keep_replaced: false };
    session.edit(|e| e.rename(&r)).expect("moved");
    assert_eq!(at(&session, file), (made + 1, made + 1, made + 3, 3));
    assert_eq!(at(&session, d.nr()), (made, made + 3, made + 3, 3));
    assert_eq!(at(&session, ROOT).1, made + 3);
    session.edit(|e| e.unlink(d.nr(), b"f")).expect("removed");
    assert_eq!(at(&session, file), (made + 1, made + 1, made + 4, 4));

    // The same again gives the same; another time, or the next inode of the number, another generation.
    let generation = |session: &mut Session, name: &[u8]| {
        let inode = session.edit(|e| e.create(ROOT, name, &FILE)).expect("made");
        (inode.nr(), inode.i_generation.get())
    };
    let first = generation(&mut session, b"one");
    session.edit(|e| e.unlink(ROOT, b"one")).expect("removed");
    session.seconds -= 2;
    let second = generation(&mut session, b"one");
    assert_eq!(first.0, second.0);
    assert_ne!(first.1, second.1);
    let copy = dir.path().join("copy");
    common::copy(&image, &copy);
    let mut other = Session::open(&copy);
    let again: Vec<u32> = (0..2)
        .map(|n| {
            session.volume.abandon().expect("abandoned");
            session.seconds = 2_000_000_000;
            other.seconds = 2_000_000_000 + n;
            assert_eq!(session.edit(|e| e.create(ROOT, b"x", &FILE)).expect("made").nr(), InodeNr(12));
            let a = session.volume.inode(InodeNr(12)).expect("there").i_generation.get();
            let b = other.edit(|e| e.create(ROOT, format!("x{n}").as_bytes(), &FILE)).expect("made");
            assert_eq!(a == b.i_generation.get(), n == 0);
            a
        })
        .collect();
    assert_eq!(again[0], again[1]);
}
