//! The DAX flag over `O_TMPFILE`, `link`, `rename` and `RENAME_EXCHANGE`: it comes from the directory at creation, and stays.

mod common;

use common::{Machine, at};
use daxkit_format::dax::fileattr::XFlags;
use daxkit_format::dax::{DaxMode, Errno};
use daxkit_mount::fail::Fail;
use daxkit_mount::fs::Rename;
use daxkit_mount::ids::FileId;
use daxkit_mount::profile::Personality;
use daxkit_mount::vfs::fileattr::{ioctl_fsgetxattr, ioctl_fssetxattr};
use daxkit_mount::vfs::namespace::{self, mkdir, rename};
use daxkit_mount::vfs::{open, statx};
use daxkit_mount::world::objects::OpenFlags;

fn dax(w: &Machine, file: FileId) -> bool {
    ioctl_fsgetxattr(&w.rt, file).expect("get").xflags.contains(XFlags::DAX)
}

fn dax_of(w: &Machine, path: &str) -> bool {
    let file = open::open(&w.rt, at(path), OpenFlags::empty(), 0).expect("open");
    let flag = dax(w, file);
    open::close(&w.rt, file).expect("close");
    flag
}

/// `/on` whose children get the flag, `/off` whose do not.
fn two_directories(personality: Personality) -> Machine {
    let w = Machine::mount(personality, Some(DaxMode::Inode));
    for (path, xflags) in [("/on", XFlags::DAX), ("/off", XFlags::empty())] {
        mkdir(&w.rt, at(path), 0o755).expect("mkdir");
        let dir = open::open(&w.rt, at(path), OpenFlags::DIRECTORY, 0).expect("open");
        ioctl_fssetxattr(&w.rt, dir, xflags, 0, 0, 0).expect("set");
        open::close(&w.rt, dir).expect("close");
    }
    w
}

#[test]
fn a_file_without_a_name_inherits_from_where_it_was_opened() {
    for personality in [Personality::Ext4, Personality::Xfs] {
        let w = two_directories(personality);
        for (born, linked, flag) in [("/on", "/off/a", true), ("/off", "/on/b", false)] {
            let flags = OpenFlags::RDWR | OpenFlags::TMPFILE | OpenFlags::DIRECTORY;
            let file = open::open(&w.rt, at(born), flags, 0o644).expect("open");
            assert_eq!(dax(&w, file), flag, "{personality:?}");
            namespace::linkat_file(&w.rt, file, at(linked)).expect("link");
            assert_eq!(dax(&w, file), flag);
            open::close(&w.rt, file).expect("close");
            assert_eq!(dax_of(&w, linked), flag);
            let attributes = statx::statx(&w.rt, at(linked)).expect("statx").attributes;
            assert_eq!(attributes != 0, flag, "S_DAX follows the flag");
        }
        w.done();
    }
}

#[test]
fn moving_a_name_inherits_nothing() {
    for personality in [Personality::Ext4, Personality::Xfs] {
        let w = two_directories(personality);
        w.creat("/on/a");
        w.creat("/off/b");
        mkdir(&w.rt, at("/on/sub"), 0o755).expect("mkdir");
        rename(&w.rt, at("/on/a"), at("/off/b"), Rename::Exchange).expect("exchange");
        assert!(dax_of(&w, "/off/b"), "what was /on/a");
        assert!(!dax_of(&w, "/on/a"), "what was /off/b");
        rename(&w.rt, at("/off/b"), at("/off/c"), Rename::Replace).expect("rename");
        rename(&w.rt, at("/on/a"), at("/on/c"), Rename::NoReplace).expect("rename");
        assert!(dax_of(&w, "/off/c") && !dax_of(&w, "/on/c"));
        namespace::link(&w.rt, at("/on/c"), at("/on/d")).expect("link");
        assert!(!dax_of(&w, "/on/d"));
        rename(&w.rt, at("/on/sub"), at("/off/sub"), Rename::Replace).expect("rename");
        w.creat("/off/sub/f");
        assert!(dax_of(&w, "/off/sub") && dax_of(&w, "/off/sub/f"), "a directory keeps what its children get");
        let there = rename(&w.rt, at("/on/c"), at("/off/c"), Rename::NoReplace);
        assert_eq!(there, Err(Fail::Errno(Errno::EEXIST)));
        w.done();
    }
}
