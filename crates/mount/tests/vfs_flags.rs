//! What `FS_IOC_{GET,SET}FLAGS` and `FS_IOC_FS{GET,SET}XATTR` answer, and what a flag does after it is set.

mod common;

use common::{Machine, SB, at};
use daxkit_format::dax::fileattr::XFlags;
use daxkit_format::dax::{DaxMode, Errno};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_mount::fail::Fail;
use daxkit_mount::fs::FileSystem;
use daxkit_mount::fs::mem::{MemFs, MemOptions};
use daxkit_mount::ids::FileId;
use daxkit_mount::profile::Personality;
use daxkit_mount::runtime::threads::Thread;
use daxkit_mount::vfs::fileattr::{ioctl_fsgetxattr, ioctl_fssetxattr, ioctl_getflags, ioctl_setflags};
use daxkit_mount::vfs::namespace::{self, mkdir, mknod, peek};
use daxkit_mount::vfs::space::{self, Fallocate};
use daxkit_mount::vfs::{attr, open, rw, setattr, sync};
use daxkit_mount::world::objects::OpenFlags;
use daxkit_mount::world::tasks::Cred;

const BOTH: [Personality; 2] = [Personality::Ext4, Personality::Xfs];
const PAGE: u64 = 4096;

fn errno<T>(errno: Errno) -> Result<T, Fail> {
    Err(Fail::Errno(errno))
}

fn setx(rt: &Thread<MemFs>, file: FileId, xflags: XFlags) -> Result<(), Fail> {
    ioctl_fssetxattr(rt, file, xflags, 0, 0, 0)
}

fn setf(rt: &Thread<MemFs>, file: FileId, flags: InodeFlags) -> Result<(), Fail> {
    ioctl_setflags(rt, file, flags.bits())
}

/// What an ext4 file cannot lose by a call, since it is compared by calls that say what they want.
fn base(personality: Personality) -> InodeFlags {
    if personality == Personality::Ext4 { InodeFlags::EXTENTS } else { InodeFlags::empty() }
}

fn as_user<T>(w: &Machine, cred: Cred, f: impl FnOnce(&Thread<MemFs>) -> T) -> T {
    let rt = w.spawn();
    w.shared.with(|world| world.tasks.set_cred(Machine::task_of(&rt), cred));
    f(&rt)
}

#[test]
fn immutable_and_append_count_once_they_are_set_by_either_call() {
    for personality in BOTH {
        for by_xflags in [true, false] {
            let w = Machine::mount(personality, None);
            w.creat("/f");
            let file = w.open("/f");
            rw::write(&w.rt, file, Some(0), &[1; 4096]).expect("write");
            let set = |flag: InodeFlags, xflag: XFlags| {
                let done =
                    if by_xflags { setx(&w.rt, file, xflag) } else { setf(&w.rt, file, base(personality) | flag) };
                assert_eq!(done, Ok(()), "{personality:?}");
            };

            set(InodeFlags::APPEND, XFlags::APPEND);
            assert_eq!(open::open(&w.rt, at("/f"), OpenFlags::RDWR, 0), errno(Errno::EPERM), "{personality:?}");
            assert_eq!(setattr::truncate(&w.rt, at("/f"), 0), errno(Errno::EPERM));
            assert_eq!(setattr::ftruncate(&w.rt, file, 0), errno(Errno::EPERM));
            assert_eq!(attr::fchmod(&w.rt, file, 0o600), errno(Errno::EPERM));
            assert_eq!(space::fallocate(&w.rt, file, Fallocate::Punch, 0, PAGE), errno(Errno::EPERM));
            assert_eq!(space::fallocate(&w.rt, file, Fallocate::KeepSize, 0, PAGE), Ok(()));
            assert_eq!(namespace::unlink(&w.rt, at("/f")), errno(Errno::EPERM));
            let appender = open::open(&w.rt, at("/f"), OpenFlags::RDWR | OpenFlags::APPEND, 0).expect("open");
            open::close(&w.rt, appender).expect("close");

            set(InodeFlags::IMMUTABLE, XFlags::IMMUTABLE);
            assert_eq!(open::open(&w.rt, at("/f"), OpenFlags::RDWR, 0), errno(Errno::EPERM));
            assert_eq!(setattr::truncate(&w.rt, at("/f"), 0), errno(Errno::EPERM));
            assert_eq!(space::fallocate(&w.rt, file, Fallocate::KeepSize, 0, PAGE), errno(Errno::EPERM));
            assert_eq!(namespace::link(&w.rt, at("/f"), at("/g")), errno(Errno::EPERM));
            // Who had it open goes on with XFS, not with ext4.
            let late = if personality == Personality::Ext4 { errno(Errno::EPERM) } else { Ok(8) };
            assert_eq!(rw::write(&w.rt, file, Some(0), &[2; 8]), late);
            let late = if personality == Personality::Ext4 { errno(Errno::EPERM) } else { Ok(()) };
            assert_eq!(setattr::ftruncate(&w.rt, file, 8), late);

            set(InodeFlags::empty(), XFlags::empty());
            assert_eq!(setattr::truncate(&w.rt, at("/f"), 0), Ok(()));
            open::close(&w.rt, file).expect("close");
            w.done();
        }
    }
}

#[test]
fn flags_of_a_child_are_the_same_in_both_spellings() {
    for personality in BOTH {
        let w = Machine::mount(personality, None);
        mkdir(&w.rt, at("/d"), 0o755).expect("mkdir");
        let dir = open::open(&w.rt, at("/d"), OpenFlags::DIRECTORY, 0).expect("open");
        setx(&w.rt, dir, XFlags::DAX | XFlags::NODUMP).expect("set");
        w.creat("/d/f");
        let file = w.open("/d/f");
        let shown = ioctl_fsgetxattr(&w.rt, file).expect("get").xflags;
        assert_eq!(shown, XFlags::DAX | XFlags::NODUMP, "{personality:?}");
        let flags = InodeFlags::from_bits_retain(ioctl_getflags(&w.rt, file).expect("get"));
        assert_eq!(flags - InodeFlags::EXTENTS, InodeFlags::DAX | InodeFlags::NODUMP);
        let kept = w.shared.with(|world| world.inodes[world.files[file].inode].disk.flags);
        assert_eq!(kept - InodeFlags::EXTENTS, InodeFlags::DAX | InodeFlags::NODUMP);
    }
}

#[test]
fn a_refused_call_changes_neither_time_nor_state() {
    let w = Machine::mount(Personality::Ext4, Some(DaxMode::Always));
    w.creat("/f");
    let file = w.open("/f");
    sync::syncfs(&w.rt, SB).expect("sync");
    let state = || w.shared.with(|world| world.inodes[world.files[file].inode].state);
    let ctime = || w.shared.with(|world| world.inodes[world.files[file].inode].disk.ctime);
    w.shared.with(|world| world.now = 100);
    let (was, then) = (state(), ctime());
    assert_eq!(setf(&w.rt, file, InodeFlags::EXTENTS | InodeFlags::DIRSYNC), errno(Errno::EOPNOTSUPP));
    assert_eq!((state(), ctime()), (was, then));
    // JOURNAL_DATA of an S_DAX file is refused after the other flags are committed.
    let both = InodeFlags::EXTENTS | InodeFlags::NODUMP | InodeFlags::JOURNAL_DATA;
    assert_eq!(setf(&w.rt, file, both), errno(Errno::EBUSY));
    assert_eq!(ctime(), 100);
    let flags = ioctl_getflags(&w.rt, file).expect("get");
    assert_eq!(InodeFlags::from_bits_retain(flags), InodeFlags::EXTENTS | InodeFlags::NODUMP);
    w.done();
}

#[test]
fn the_generic_checks_answer_in_their_order() {
    for personality in BOTH {
        let w = Machine::mount(personality, None);
        w.creat("/f");
        mkdir(&w.rt, at("/d"), 0o755).expect("mkdir");
        mknod(&w.rt, at("/p"), 0o1_0644, 0).expect("mknod");
        let file = w.open("/f");
        let dir = open::open(&w.rt, at("/d"), OpenFlags::DIRECTORY, 0).expect("open");
        let fifo = w.open("/p");
        let path = open::open(&w.rt, at("/f"), OpenFlags::PATH, 0).expect("open");

        for done in [setx(&w.rt, path, XFlags::DAX), setf(&w.rt, path, InodeFlags::DAX)] {
            assert_eq!(done, errno(Errno::EBADF));
        }
        assert_eq!(ioctl_getflags(&w.rt, path), errno(Errno::EBADF));
        for done in [setx(&w.rt, fifo, XFlags::DAX), setf(&w.rt, fifo, InodeFlags::DAX)] {
            assert_eq!(done, errno(Errno::ENOTTY), "{personality:?}");
        }
        assert_eq!(ioctl_getflags(&w.rt, fifo), errno(Errno::ENOTTY), "{personality:?}");
        assert_eq!(ioctl_fsgetxattr(&w.rt, fifo), errno(Errno::ENOTTY));

        as_user(&w, Cred::user(7), |rt| {
            assert_eq!(setx(rt, file, XFlags::DAX), errno(Errno::EPERM));
            assert_eq!(setf(rt, file, InodeFlags::DAX), errno(Errno::EPERM));
            // No method comes before whose it is; XFS has one.
            let fifo_errno = if personality == Personality::Ext4 { Errno::ENOTTY } else { Errno::EPERM };
            assert_eq!(setf(rt, fifo, InodeFlags::DAX), errno(fifo_errno));
            assert_eq!(ioctl_fsgetxattr(rt, file).map(|a| a.xflags), Ok(XFlags::empty()));
        });
        as_user(&w, Cred { linux_immutable: false, ..Cred::ROOT }, |rt| {
            assert_eq!(setx(rt, file, XFlags::IMMUTABLE), errno(Errno::EPERM));
            assert_eq!(setf(rt, file, base(personality) | InodeFlags::APPEND), errno(Errno::EPERM));
        });
        as_user(&w, Cred { init_user_ns: false, ..Cred::ROOT }, |rt| {
            assert_eq!(ioctl_fssetxattr(rt, file, XFlags::empty(), 0, 0, 5), errno(Errno::EINVAL));
            assert_eq!(setx(rt, dir, XFlags::PROJINHERIT), errno(Errno::EINVAL));
        });
        assert_eq!(setx(&w.rt, dir, XFlags::EXTSIZE), errno(Errno::EINVAL));
        assert_eq!(setx(&w.rt, file, XFlags::EXTSZINHERIT), errno(Errno::EINVAL));
        // A caller who leaves the bit out clears it, by both calls.
        for clear in [true, false] {
            assert_eq!(setx(&w.rt, file, XFlags::DAX), Ok(()));
            let done = if clear { setx(&w.rt, file, XFlags::empty()) } else { setf(&w.rt, file, base(personality)) };
            assert_eq!(done, Ok(()));
            assert_eq!(ioctl_fsgetxattr(&w.rt, file).expect("get").xflags, XFlags::empty());
        }
        w.shared.with(|world| world.sb_mut(SB).read_only = true);
        as_user(&w, Cred::user(7), |rt| assert_eq!(setx(rt, file, XFlags::DAX), errno(Errno::EROFS)));
        w.done();
    }
}

#[test]
fn the_methods_of_ext4_answer_as_the_table_says() {
    let w = Machine::mount(Personality::Ext4, None);
    w.creat("/f");
    mkdir(&w.rt, at("/d"), 0o755).expect("mkdir");
    let (file, extents) = (w.open("/f"), InodeFlags::EXTENTS);
    let dir = open::open(&w.rt, at("/d"), OpenFlags::DIRECTORY, 0).expect("open");
    assert_eq!(setf(&w.rt, file, InodeFlags::from_bits_retain(1 << 29)), errno(Errno::EOPNOTSUPP));
    assert_eq!(setf(&w.rt, file, extents | InodeFlags::INDEX), Ok(()), "visible, dropped without a word");
    assert_eq!(setf(&w.rt, file, extents | InodeFlags::PROJINHERIT), errno(Errno::EOPNOTSUPP));
    assert_eq!(setx(&w.rt, file, XFlags::REALTIME), Ok(()), "what ext4 cannot represent is ignored");
    as_user(&w, Cred { sys_resource: false, ..Cred::ROOT }, |rt| {
        assert_eq!(setf(rt, file, extents | InodeFlags::JOURNAL_DATA), errno(Errno::EPERM));
    });
    // Each of the two is held against the old other: together they pass, and then only both can go.
    let both = InodeFlags::DAX | InodeFlags::JOURNAL_DATA;
    assert_eq!(setf(&w.rt, file, extents | both), Ok(()));
    assert_eq!(setf(&w.rt, file, extents | InodeFlags::DAX), errno(Errno::EOPNOTSUPP));
    assert_eq!(setf(&w.rt, file, extents | InodeFlags::JOURNAL_DATA), errno(Errno::EOPNOTSUPP));
    assert_eq!(setf(&w.rt, file, extents), Ok(()));
    assert_eq!(setx(&w.rt, file, XFlags::IMMUTABLE), Ok(()));
    assert_eq!(setx(&w.rt, file, XFlags::IMMUTABLE | XFlags::DAX), errno(Errno::EPERM));
    assert_eq!(ioctl_fssetxattr(&w.rt, file, XFlags::IMMUTABLE, 0, 0, 9), errno(Errno::EPERM));
    assert_eq!(setx(&w.rt, file, XFlags::empty()), Ok(()));
    assert_eq!(setf(&w.rt, dir, extents | InodeFlags::CASEFOLD), errno(Errno::EOPNOTSUPP), "without the feature");
    w.done();
}

#[test]
fn only_an_empty_directory_folds_case() {
    let fs = MemFs::new(MemOptions { casefold: true, ..MemOptions::default() }).expect("a device");
    let w = Machine::of(fs, Personality::Ext4, None);
    mkdir(&w.rt, at("/d"), 0o755).expect("mkdir");
    w.creat("/d/f");
    let dir = open::open(&w.rt, at("/d"), OpenFlags::DIRECTORY, 0).expect("open");
    let folded = InodeFlags::EXTENTS | InodeFlags::CASEFOLD;
    assert_eq!(setf(&w.rt, dir, folded), errno(Errno::ENOTEMPTY));
    assert_eq!(setx(&w.rt, dir, XFlags::DAX), Ok(()), "other flags do not mind");
    namespace::unlink(&w.rt, at("/d/f")).expect("unlink");
    assert_eq!(setf(&w.rt, dir, folded), Ok(()));
    w.creat("/d/f");
    assert_eq!(setf(&w.rt, dir, InodeFlags::EXTENTS), errno(Errno::ENOTEMPTY), "and back");
    w.done();
}

#[test]
fn the_methods_of_xfs_answer_as_the_table_says() {
    let w = Machine::mount(Personality::Xfs, None);
    w.creat("/f");
    let file = w.open("/f");
    assert_eq!(setf(&w.rt, file, InodeFlags::JOURNAL_DATA), errno(Errno::EOPNOTSUPP));
    assert_eq!(setf(&w.rt, file, InodeFlags::EXTENTS), errno(Errno::EOPNOTSUPP));
    assert_eq!(setx(&w.rt, file, XFlags::REALTIME), errno(Errno::EINVAL), "no realtime device");
    assert_eq!(ioctl_fssetxattr(&w.rt, file, XFlags::DAX, 0, 0, 3), Ok(()));
    assert_eq!(ioctl_fsgetxattr(&w.rt, file).map(|a| (a.xflags, a.projid)), Ok((XFlags::DAX, 3)));
    w.shared.with(|world| world.sb_mut(SB).shutdown = true);
    assert_eq!(setx(&w.rt, file, XFlags::empty()), errno(Errno::EIO));
    w.shared.with(|world| world.sb_mut(SB).shutdown = false);
    assert_eq!(peek_flags(&w, "/f"), XFlags::DAX);
    w.done();
}

fn peek_flags(w: &Machine, path: &str) -> XFlags {
    sync::syncfs(&w.rt, SB).expect("sync");
    w.shared.with(|world| {
        let ino = peek(world, &at(path)).expect("it is there");
        world.sb(SB).fs.read_inode(ino).expect("it is there").xflags
    })
}
