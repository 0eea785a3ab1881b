//! Mounts: what is refused, what a remount may change, freezing.

mod common;

use common::{Machine, SB, at, mem, request};
use daxkit_format::dax::ext4::DataMode;
use daxkit_format::dax::{DaxMode, Errno, Kernel};
use daxkit_mount::fail::Fail;
use daxkit_mount::fs::FileSystem;
use daxkit_mount::fs::mem::{MemFs, MemOptions};
use daxkit_mount::profile::Personality;
use daxkit_mount::vfs::freeze::{freeze, sb_end_write, sb_start_write, thaw};
use daxkit_mount::vfs::mount::{mount, remount, umount};
use daxkit_mount::vfs::namespace::peek;
use daxkit_mount::vfs::{attr, rw};

fn errno<T>(errno: Errno) -> Result<T, Fail> {
    Err(Fail::Errno(errno))
}

#[test]
fn always_is_refused_by_ext4_and_turned_off_by_xfs() {
    let w = Machine::mount(Personality::Ext4, None);
    let always = |personality| request(mem(personality), personality, Some(DaxMode::Always));
    let ext4 = always(Personality::Ext4);
    assert_eq!(mount(&w.rt, MountOf { device_dax: false, ..ext4.clone() }).err(), Some(Fail::Errno(Errno::EINVAL)));
    assert_eq!(mount(&w.rt, MountOf { data: DataMode::Journal, ..ext4 }).err(), Some(Fail::Errno(Errno::EINVAL)));
    let xfs = mount(&w.rt, MountOf { device_dax: false, ..always(Personality::Xfs) }).expect("mount");
    assert_eq!(w.shared.with(|world| world.sb(xfs).dax), DaxMode::Never);
    let fs = MemFs::new(MemOptions { read_only: true, ..MemOptions::default() }).expect("a device");
    assert_eq!(mount(&w.rt, request(fs, Personality::Ext4, None)).err(), Some(Fail::Errno(Errno::EROFS)));
}

type MountOf = daxkit_mount::vfs::mount::MountRequest<MemFs>;

#[test]
fn a_remount_changes_no_dax_mode_and_cannot_make_writable_what_is_not() {
    let w = Machine::mount(Personality::Ext4, None);
    assert_eq!(remount(&w.rt, SB, Some(DaxMode::Inode), None, None), errno(Errno::EINVAL));
    assert_eq!(remount(&w.rt, SB, Some(DaxMode::Always), None, None), errno(Errno::EINVAL));
    assert_eq!(remount(&w.rt, SB, None, None, Some(true)), Ok(()));
    let x = Machine::mount(Personality::Xfs, None);
    assert_eq!(remount(&x.rt, SB, Some(DaxMode::Always), None, None), Ok(()));
    assert_eq!(x.shared.with(|world| world.sb(SB).dax), DaxMode::Inode);
    let fs = MemFs::new(MemOptions { read_only: true, ..MemOptions::default() }).expect("a device");
    let sb = mount(&w.rt, MountOf { read_only: true, ..request(fs, Personality::Ext4, None) }).expect("mount");
    assert_eq!(remount(&w.rt, sb, None, None, Some(false)), errno(Errno::EROFS));
}

#[test]
fn a_freeze_whose_sync_fails_leaves_nothing_frozen() {
    let w = Machine::mount(Personality::Ext4, None);
    w.creat("/f");
    let file = w.open("/f");
    attr::fchmod(&w.rt, file, 0o600).expect("chmod");
    w.shared.with(|world| {
        let ino = peek(world, &at("/f")).expect("it is there");
        let fs = &mut world.sb_mut(SB).fs;
        fs.unlink(fs.root(), b"f", false, 0).expect("unlink");
        fs.free_inode(ino).expect("free");
    });
    assert_eq!(freeze(&w.rt, SB), errno(Errno::ENOENT));
    assert_eq!(thaw(&w.rt, SB), errno(Errno::EINVAL));
    sb_start_write(&w.rt, SB);
    sb_end_write(&w.rt, SB);
    w.done();
}

#[test]
fn a_second_freezer_is_told_that_it_is_busy() {
    for kernel in [Kernel(6, 2), Kernel(6, 12)] {
        let w = Machine::mount(Personality::Ext4, None);
        w.shared.with(|world| world.sb_mut(SB).profile.kernel = kernel);
        let (one, two) = (w.spawn(), w.spawn());
        sb_start_write(&w.rt, SB);
        std::thread::scope(|scope| {
            let first = scope.spawn(|| freeze(&one, SB));
            w.until_asleep(&one);
            let second = scope.spawn(|| freeze(&two, SB));
            if kernel >= Kernel(6, 6) {
                w.until_asleep(&two);
                sb_end_write(&w.rt, SB);
                assert_eq!(second.join().expect("no panic"), errno(Errno::EBUSY));
            } else {
                assert_eq!(second.join().expect("no panic"), errno(Errno::EBUSY));
                sb_end_write(&w.rt, SB);
            }
            assert_eq!(first.join().expect("no panic"), Ok(()));
        });
        assert_eq!(remount(&w.rt, SB, None, None, Some(true)), errno(Errno::EBUSY));
        assert_eq!(thaw(&w.rt, SB), Ok(()));
        w.creat("/f");
        let file = w.open("/f");
        assert_eq!(umount(&w.rt, SB).err(), Some(Fail::Errno(Errno::EBUSY)));
        assert_eq!(rw::write(&w.rt, file, Some(0), &[1]), Ok(1));
        w.done();
    }
}
