//! The kernel's paths over the file system in memory, as system calls and accesses see them.

mod common;

use common::{Machine, at};
use daxkit_format::dax::fileattr::XFlags;
use daxkit_format::dax::{DaxMode, Errno};
use daxkit_mount::fail::{Fail, Signal};
use daxkit_mount::fs::Backing;
use daxkit_mount::mm::access::{load, load_u64, store, store_u64};
use daxkit_mount::mm::gup::{pin, unpin};
use daxkit_mount::mm::madvise::{Advice, madvise};
use daxkit_mount::mm::mmap::{MapRequest, Share, mmap, mprotect, mremap, msync, munmap};
use daxkit_mount::profile::Personality;
use daxkit_mount::vfs::space::Fallocate;
use daxkit_mount::vfs::{fileattr, icache, mount, namespace, open, rw, setattr, space, statx, sync};
use daxkit_mount::world::counters::FallbackReason;
use daxkit_mount::world::objects::{OpenFlags, VmFlags};

const RW: VmFlags = VmFlags::READ.union(VmFlags::WRITE);
const PAGE: u64 = 4096;
const HUGE: u64 = 2 << 20;

fn dax(w: &Machine, path: &str) -> bool {
    statx::statx(&w.rt, at(path), true).expect("statx").attributes & 0x0020_0000 != 0
}

fn set_flag(w: &Machine, path: &str, on: bool) -> Result<(), Fail> {
    let file = open::open(&w.rt, at(path), OpenFlags::empty(), 0)?;
    let old = fileattr::ioctl_fsgetxattr(&w.rt, file)?;
    let mut xflags = old.xflags;
    xflags.set(XFlags::DAX, on);
    let out = fileattr::ioctl_fssetxattr(&w.rt, file, xflags, old.extsize, old.cowextsize, old.projid);
    open::close(&w.rt, file)?;
    out
}

fn request(file: daxkit_mount::ids::FileId) -> MapRequest {
    MapRequest { file: Some(file), offset: 0, len: PAGE, prot: RW, share: Share::Shared, sync: false, address: None }
}

#[test]
fn a_directory_passes_the_flag_on_and_s_dax_follows_the_mount() {
    for (option, expected) in [
        (None, [true, false]),
        (Some(DaxMode::Inode), [true, false]),
        (Some(DaxMode::Always), [true, true]),
        (Some(DaxMode::Never), [false, false]),
    ] {
        for personality in [Personality::Ext4, Personality::Xfs] {
            let w = Machine::mount(personality, option);
            namespace::mkdir(&w.rt, at("/d"), 0o755).expect("mkdir");
            set_flag(&w, "/d", true).expect("set");
            w.creat("/d/in");
            w.creat("/out");
            assert_eq!([dax(&w, "/d/in"), dax(&w, "/out")], expected, "{personality:?} {option:?}");
            assert!(!dax(&w, "/d"), "a directory is never S_DAX");
            w.done();
        }
    }
}

#[test]
fn a_changed_flag_waits_for_the_last_reference() {
    let w = Machine::mount(Personality::Ext4, Some(DaxMode::Inode));
    w.creat("/f");
    let held = w.open("/f");
    rw::write(&w.rt, held, Some(0), b"kept").expect("write");
    set_flag(&w, "/f", true).expect("set");
    assert!(!dax(&w, "/f"), "S_DAX of a living inode does not change");
    open::close(&w.rt, held).expect("close");
    assert!(dax(&w, "/f"), "no drop_caches is needed");
    let file = w.open("/f");
    let mut buf = [0; 4];
    assert_eq!(rw::read(&w.rt, file, Some(0), &mut buf), Ok(4));
    assert_eq!(&buf, b"kept", "dirty page cache was written back before the eviction");
    open::close(&w.rt, file).expect("close");
    w.done();
}

/// As both kernels in the test machine do: an alias that comes later is not marked, and keeps the inode.
#[test]
fn a_hard_link_that_comes_later_keeps_the_old_mode_until_drop_caches() {
    let w = Machine::mount(Personality::Ext4, Some(DaxMode::Inode));
    w.creat("/a");
    let held = w.open("/a");
    set_flag(&w, "/a", true).expect("set");
    namespace::link(&w.rt, at("/a"), at("/b")).expect("link");
    let other = w.open("/b");
    open::close(&w.rt, held).expect("close");
    open::close(&w.rt, other).expect("close");
    assert!(!dax(&w, "/b"));
    icache::drop_caches(&w.rt, 2).expect("drop");
    assert!(dax(&w, "/b"));
    w.done();
}

#[test]
fn stores_are_seen_by_read_and_are_clean_after_fsync() {
    for (personality, option) in [
        (Personality::Ext4, DaxMode::Always),
        (Personality::Xfs, DaxMode::Always),
        (Personality::Ext4, DaxMode::Never),
        (Personality::Xfs, DaxMode::Never),
    ] {
        let w = Machine::mount(personality, Some(option));
        w.creat("/f");
        let file = w.open("/f");
        setattr::ftruncate(&w.rt, file, 3 * PAGE + 100).expect("truncate");
        let map = w.map(file, 4 * PAGE, RW, Share::Shared);
        assert_eq!(load_u64(&w.rt, map + 8), Ok(0), "a hole reads as zero");
        store_u64(&w.rt, map + 8, 0x1122_3344_5566_7788).expect("store");
        store(&w.rt, map + PAGE - 2, b"over the border").expect("store");
        let mut buf = [0; 15];
        assert_eq!(rw::read(&w.rt, file, Some(PAGE - 2), &mut buf), Ok(15));
        assert_eq!(&buf, b"over the border");
        assert_eq!(rw::write(&w.rt, file, Some(2 * PAGE), b"written"), Ok(7));
        let mut buf = [0; 7];
        load(&w.rt, map + 2 * PAGE, &mut buf).expect("load");
        assert_eq!(&buf, b"written", "write(2) shows in the mapping");
        assert!(w.dirty_pages("/f") > 0);
        sync::fsync(&w.rt, file, false).expect("fsync");
        assert_eq!(w.dirty_pages("/f"), 0);
        store_u64(&w.rt, map, 1).expect("store");
        assert_eq!(w.dirty_pages("/f"), 1, "write-protected by fsync, so the next store is noticed");
        msync(&w.rt, map, PAGE, true).expect("msync");
        assert_eq!(w.dirty_pages("/f"), 0);
        assert_eq!(load_u64(&w.rt, map + 4 * PAGE), Err(Fail::Signal(Signal::SegvMapErr)));
        setattr::ftruncate(&w.rt, file, PAGE).expect("truncate");
        assert_eq!(load_u64(&w.rt, map + 2 * PAGE), Err(Fail::Signal(Signal::BusAdrErr)), "past the end");
        munmap(&w.rt, map, 4 * PAGE).expect("munmap");
        open::close(&w.rt, file).expect("close");
        w.done();
    }
}

#[test]
fn two_mib_are_mapped_at_once_where_they_can_be() {
    let w = Machine::mount(Personality::Ext4, Some(DaxMode::Always));
    w.creat("/f");
    let file = w.open("/f");
    space::fallocate(&w.rt, file, Fallocate::Allocate, 0, 3 * HUGE).expect("fallocate");
    let map = w.map(file, 3 * HUGE, RW, Share::Shared);
    assert_eq!(map % HUGE, 0);
    store_u64(&w.rt, map + 8, 7).expect("store");
    let counters = w.counters();
    assert_eq!((counters.pmd, counters.pte), (1, 0), "unwritten blocks are converted and mapped in one fault");
    assert_eq!(load_u64(&w.rt, map + HUGE), Ok(0));
    assert_eq!(w.counters().zero, 1, "a read of unwritten blocks maps the huge zero page");
    assert_eq!(rw::write(&w.rt, file, Some(HUGE + 16), b"visible!"), Ok(8));
    assert_eq!(load_u64(&w.rt, map + HUGE + 16), Ok(u64::from_le_bytes(*b"visible!")), "the zero page is gone");
    let private = w.map(file, HUGE, RW, Share::Private);
    store_u64(&w.rt, private + PAGE, 9).expect("store");
    assert_eq!(load_u64(&w.rt, map + PAGE), Ok(0), "a private copy is private");
    assert_eq!(w.counters().fallback[FallbackReason::PrivateWrite as usize], 1);
    setattr::ftruncate(&w.rt, file, 2 * HUGE + PAGE).expect("truncate");
    load_u64(&w.rt, map + 2 * HUGE).expect("load");
    assert_eq!(w.counters().fallback[FallbackReason::EndOfFile as usize], 1);
    w.done();
}

#[test]
fn a_pin_holds_truncate_up_and_a_signal_ends_the_wait() {
    let w = Machine::mount(Personality::Ext4, Some(DaxMode::Always));
    w.creat("/f");
    let file = w.open("/f");
    rw::write(&w.rt, file, Some(0), &[1; 2 * 4096]).expect("write");
    let map = w.map(file, 2 * PAGE, RW, Share::Shared);
    let frame = pin(&w.rt, map, true, false).expect("pin");
    assert_eq!(pin(&w.rt, map, true, true), Err(Fail::Errno(Errno::EOPNOTSUPP)), "FOLL_LONGTERM");
    let other = w.spawn();
    std::thread::scope(|scope| {
        let rt = &other;
        let waits = scope.spawn(move || setattr::ftruncate(rt, file, 0));
        w.until_asleep(&other);
        w.interrupt(&other);
        assert_eq!(waits.join().expect("join"), Err(Fail::Errno(Errno::ERESTARTSYS)));
        let waits = scope.spawn(move || setattr::ftruncate(rt, file, 0));
        w.until_asleep(&other);
        unpin(&w.rt, frame);
        assert_eq!(waits.join().expect("join"), Ok(()));
    });
    assert_eq!(load_u64(&w.rt, map), Err(Fail::Signal(Signal::BusAdrErr)));
    w.done();
}

#[test]
fn map_sync_is_for_dax_on_a_synchronous_device_and_commits_before_it_maps() {
    let w = Machine::mount(Personality::Ext4, Some(DaxMode::Inode));
    w.creat("/plain");
    let file = w.open("/plain");
    setattr::ftruncate(&w.rt, file, PAGE).expect("truncate");
    let asked = MapRequest { share: Share::SharedValidate, sync: true, ..request(file) };
    assert_eq!(mmap(&w.rt, &asked), Err(Fail::Errno(Errno::EOPNOTSUPP)));
    assert!(mmap(&w.rt, &MapRequest { share: Share::Shared, ..asked }).is_ok(), "plain MAP_SHARED drops it");
    namespace::mkdir(&w.rt, at("/d"), 0o755).expect("mkdir");
    set_flag(&w, "/d", true).expect("set");
    w.creat("/d/dax");
    let file = w.open("/d/dax");
    setattr::ftruncate(&w.rt, file, PAGE).expect("truncate");
    let map = mmap(&w.rt, &MapRequest { file: Some(file), ..asked }).expect("mmap");
    store_u64(&w.rt, map, 5).expect("store");
    assert!(!w.fs_is_dirty("/d/dax"), "the allocation was committed before the page was writable");
    w.done();
}

#[test]
fn permissions_of_mappings_are_the_descriptors() {
    let w = Machine::mount(Personality::Ext4, None);
    w.creat("/f");
    let file = open::open(&w.rt, at("/f"), OpenFlags::empty(), 0).expect("open");
    assert_eq!(mmap(&w.rt, &request(file)), Err(Fail::Errno(Errno::EACCES)));
    let map = mmap(&w.rt, &MapRequest { prot: VmFlags::READ, ..request(file) }).expect("mmap");
    assert_eq!(mprotect(&w.rt, map, PAGE, RW), Err(Fail::Errno(Errno::EACCES)));
    assert_eq!(store_u64(&w.rt, map, 1), Err(Fail::Signal(Signal::SegvAccErr)));
    assert_eq!(mmap(&w.rt, &MapRequest { offset: 1, ..request(file) }), Err(Fail::Errno(Errno::EINVAL)));
    assert_eq!(mmap(&w.rt, &MapRequest { len: 0, ..request(file) }), Err(Fail::Errno(Errno::EINVAL)));
    w.done();
}

#[test]
fn memory_fails_once_and_is_whole_again() {
    let w = Machine::mount(Personality::Ext4, Some(DaxMode::Always));
    w.creat("/f");
    let file = w.open("/f");
    rw::write(&w.rt, file, Some(0), &[3; 4096]).expect("write");
    let map = w.map(file, PAGE, RW, Share::Shared);
    load_u64(&w.rt, map).expect("load");
    assert_eq!(madvise(&w.rt, map, PAGE, Advice::HwPoison), Err(Fail::Signal(Signal::BusMceErrAr)));
    assert_eq!(load_u64(&w.rt, map), Ok(0x0303_0303_0303_0303));
    w.poison("/f", 0);
    let again = w.map(file, PAGE, RW, Share::Shared);
    assert_eq!(load_u64(&w.rt, again), Err(Fail::Signal(Signal::BusMceErrAr)), "bad media");
    let mut buf = [0; 8];
    assert_eq!(rw::read(&w.rt, file, Some(0), &mut buf), Err(Fail::Errno(Errno::EIO)));
    assert_eq!(rw::write(&w.rt, file, Some(0), &[4; 4096]), Ok(4096), "a driver write of whole sectors heals");
    assert_eq!(load_u64(&w.rt, again), Ok(0x0404_0404_0404_0404));
    w.done();
}

#[test]
fn mappings_grow_move_and_are_copied_by_fork() {
    let w = Machine::mount(Personality::Ext4, Some(DaxMode::Always));
    w.creat("/f");
    let file = w.open("/f");
    setattr::ftruncate(&w.rt, file, 8 * PAGE).expect("truncate");
    let map = w.map(file, PAGE, RW, Share::Shared);
    store_u64(&w.rt, map, 11).expect("store");
    let wall = w.map_at(file, map + 2 * PAGE, PAGE);
    assert_eq!(mremap(&w.rt, map, PAGE, 2 * PAGE, false), Ok(map));
    assert_eq!(mremap(&w.rt, map, 2 * PAGE, 4 * PAGE, false), Err(Fail::Errno(Errno::ENOMEM)));
    let moved = mremap(&w.rt, map, 2 * PAGE, 4 * PAGE, true).expect("mremap");
    assert_ne!(moved, map);
    assert_eq!(load_u64(&w.rt, moved), Ok(11));
    store_u64(&w.rt, moved + 3 * PAGE, 12).expect("store");
    let private = w.map(file, PAGE, RW, Share::Private);
    store_u64(&w.rt, private, 21).expect("store");
    let child = w.fork();
    assert_eq!(load_u64(&child, private), Ok(21));
    store_u64(&child, private, 22).expect("store");
    assert_eq!((load_u64(&w.rt, private), load_u64(&child, private)), (Ok(21), Ok(22)));
    store_u64(&child, moved, 13).expect("store");
    assert_eq!(load_u64(&w.rt, moved), Ok(13), "a shared mapping stays shared");
    munmap(&w.rt, wall, PAGE).expect("munmap");
    w.done();
}

#[test]
fn unlinked_files_live_until_they_are_closed() {
    let w = Machine::mount(Personality::Ext4, Some(DaxMode::Always));
    let before = w.free_blocks();
    w.creat("/f");
    let file = w.open("/f");
    rw::write(&w.rt, file, Some(0), &[1; 4096]).expect("write");
    namespace::unlink(&w.rt, at("/f")).expect("unlink");
    assert_eq!(statx::statx(&w.rt, at("/f"), true), Err(Fail::Errno(Errno::ENOENT)));
    assert_eq!(statx::fstatx(&w.rt, file).expect("statx").nlink, 0);
    let map = w.map(file, PAGE, RW, Share::Shared);
    open::close(&w.rt, file).expect("close");
    assert_eq!(load_u64(&w.rt, map), Ok(0x0101_0101_0101_0101), "the mapping holds the file");
    munmap(&w.rt, map, PAGE).expect("munmap");
    assert_eq!(w.free_blocks(), before);
    w.done();
}

#[test]
fn holes_are_punched_zeroed_and_closed() {
    for option in [DaxMode::Always, DaxMode::Never] {
        let w = Machine::mount(Personality::Ext4, Some(option));
        w.creat("/f");
        let file = w.open("/f");
        let bytes: Vec<u8> = (0..6 * PAGE).map(|at| (at / PAGE + 1) as u8).collect();
        rw::write(&w.rt, file, Some(0), &bytes).expect("write");
        let map = w.map(file, 6 * PAGE, RW, Share::Shared);
        load_u64(&w.rt, map + PAGE).expect("load");
        space::fallocate(&w.rt, file, Fallocate::Punch, PAGE - 8, PAGE + 16).expect("punch");
        assert_eq!(load_u64(&w.rt, map + PAGE - 16), Ok(0x0101_0101_0101_0101));
        assert_eq!(load_u64(&w.rt, map + PAGE - 8), Ok(0));
        assert_eq!(load_u64(&w.rt, map + PAGE + 512), Ok(0));
        assert_eq!(load_u64(&w.rt, map + 2 * PAGE), Ok(0));
        assert_eq!(load_u64(&w.rt, map + 2 * PAGE + 8), Ok(0x0303_0303_0303_0303));
        space::fallocate(&w.rt, file, Fallocate::Collapse, 0, 2 * PAGE).expect("collapse");
        assert_eq!(load_u64(&w.rt, map + PAGE), Ok(0x0404_0404_0404_0404), "what follows has moved down");
        assert_eq!(statx::fstatx(&w.rt, file).expect("statx").size, 4 * PAGE);
        let extents = space::fiemap(&w.rt, file).expect("fiemap");
        assert!(extents.iter().all(|extent| matches!(extent.backing, Backing::Mapped(_))), "{extents:?}");
        w.done();
    }
}

#[test]
fn a_mount_is_busy_while_something_is_open_and_comes_back_as_it_was() {
    let w = Machine::mount(Personality::Ext4, Some(DaxMode::Always));
    w.creat("/f");
    let file = w.open("/f");
    let map = w.map(file, PAGE, RW, Share::Shared);
    setattr::ftruncate(&w.rt, file, PAGE).expect("truncate");
    store_u64(&w.rt, map, 77).expect("store");
    open::close(&w.rt, file).expect("close");
    assert!(matches!(mount::umount(&w.rt, common::SB), Err(Fail::Errno(Errno::EBUSY))));
    munmap(&w.rt, map, PAGE).expect("munmap");
    let fs = mount::umount(&w.rt, common::SB).expect("umount");
    let again = Machine::of(fs, Personality::Ext4, Some(DaxMode::Never));
    let file = again.open("/f");
    let mut buf = [0; 8];
    assert_eq!(rw::read(&again.rt, file, Some(0), &mut buf), Ok(8));
    assert_eq!(u64::from_le_bytes(buf), 77);
    again.done();
}
