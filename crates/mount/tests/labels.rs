//! Every operation is made once, each step held to its label and followed by a judgement of what it can have broken. A walk over the
//! sources tells which steps were never made.

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use common::{SB, at, request};
use daxkit_format::dax::DaxMode;
use daxkit_format::dax::fileattr::XFlags;
use daxkit_mount::dax::layout;
use daxkit_mount::fail::{Fail, Signal};
use daxkit_mount::fs::Rename;
use daxkit_mount::fs::mem::{MemFs, MemOptions};
use daxkit_mount::ids::{FileId, TaskId};
use daxkit_mount::invariants::check_all;
use daxkit_mount::mm::access::{
    copy_from_user, copy_to_user, flush, load, load_u64, sfence, store, store_nt, store_u64,
};
use daxkit_mount::mm::gup::{pin, unpin};
use daxkit_mount::mm::madvise::{Advice, madvise};
use daxkit_mount::mm::mmap::{self, MapRequest, Share, exit_mm, fork, mprotect, mremap, msync, munmap};
use daxkit_mount::op::{Object, Op};
use daxkit_mount::profile::Personality;
use daxkit_mount::runtime::Runtime;
use daxkit_mount::runtime::stepping::Stepper;
use daxkit_mount::vfs::advise::FileAdvice;
use daxkit_mount::vfs::attr::{self, Time};
use daxkit_mount::vfs::mount::{mount, remount, umount};
use daxkit_mount::vfs::seek::{Whence, lseek};
use daxkit_mount::vfs::space::Fallocate;
use daxkit_mount::vfs::{
    advise, clone, fileattr, freeze, icache, move_extents, namespace, open, protect, rw, setattr, shutdown, space,
    statx, swap, sync,
};
use daxkit_mount::world::World;
use daxkit_mount::world::objects::{OpenFlags, VmFlags};
use daxkit_mount::world::tasks::Cred;

const PAGE: u64 = 4096;
const HUGE: u64 = 2 << 20;
const RW: VmFlags = VmFlags::READ.union(VmFlags::WRITE);

/// Steps that one task after another does not make, in order: it takes a race, a failure on the way, or a kernel that mixes the
/// modes.
const NOT_HERE: [&str; 9] = [
    "clear_shadow_entry",
    // Of releases before 5.8 alone.
    "dax_invalidate",
    "drop file",
    "folio_end_writeback",
    "invalidate_complete_folio2",
    "oops",
    "put_unlocked_entry",
    "remove_folio",
    "wait_on_inode",
];

fn map<R: Runtime>(rt: &R, file: Option<FileId>, len: u64, share: Share, sync: bool) -> u64 {
    let wanted = MapRequest { file, offset: 0, len, prot: RW, share, sync, address: None };
    mmap::mmap(rt, &wanted).expect("mmap")
}

fn creat<R: Runtime>(rt: &R, path: &str) -> FileId {
    open::open(rt, at(path), OpenFlags::RDWR | OpenFlags::CREAT, 0o644).expect("open")
}

/// Names, attributes, mounts.
fn names<R: Runtime>(rt: &R) {
    namespace::mkdir(rt, at("/d"), 0o755).expect("mkdir");
    namespace::mkdir(rt, at("/e"), 0o755).expect("mkdir");
    namespace::mknod(rt, at("/d/fifo"), 0o1_0644, 0).expect("mknod");
    namespace::symlink(rt, b"/d/f", at("/l")).expect("symlink");
    assert_eq!(namespace::readlink(rt, at("/l")).expect("readlink"), b"/d/f");
    let file = creat(rt, "/d/f");
    namespace::link(rt, at("/d/f"), at("/d/g")).expect("link");
    assert_eq!(namespace::readdir(rt, at("/d")).expect("readdir").len(), 3);
    namespace::rename(rt, at("/d/g"), at("/e/g"), Rename::Replace).expect("rename");
    namespace::rename(rt, at("/d/fifo"), at("/e/g"), Rename::Exchange).expect("exchange");
    namespace::unlink(rt, at("/d/fifo")).expect("unlink");
    namespace::unlink(rt, at("/e/g")).expect("unlink");
    namespace::rmdir(rt, at("/e")).expect("rmdir");
    let nameless = open::open(rt, at("/d"), OpenFlags::RDWR | OpenFlags::TMPFILE, 0o600).expect("O_TMPFILE");
    namespace::linkat_file(rt, nameless, at("/d/named")).expect("linkat");
    open::close(rt, nameless).expect("close");
    attr::fchmod(rt, file, 0o600).expect("fchmod");
    attr::fchown(rt, file, 1, 1).expect("fchown");
    attr::futimens(rt, file, Time::At(1), Time::Now).expect("futimens");
    attr::fsetxattr(rt, file, b"user.a", b"1").expect("setxattr");
    assert_eq!(attr::fgetxattr(rt, file, b"user.a").expect("getxattr"), b"1");
    assert_eq!(attr::flistxattr(rt, file).expect("listxattr").len(), 1);
    attr::fremovexattr(rt, file, b"user.a").expect("removexattr");
    let flags = fileattr::ioctl_getflags(rt, file).expect("getflags");
    fileattr::ioctl_setflags(rt, file, flags).expect("setflags");
    let old = fileattr::ioctl_fsgetxattr(rt, file).expect("fsgetxattr");
    fileattr::ioctl_fssetxattr(rt, file, old.xflags | XFlags::DAX, 0, 0, old.projid).expect("fssetxattr");
    assert!(fileattr::ioctl_fssetxattr_unreadable(rt, file).is_err());
    statx::statx(rt, at("/l"), true).expect("statx");
    statx::statx(rt, at("/d/."), true).expect("statx");
    statx::statx(rt, at("/d/"), true).expect("statx");
    statx::fstatx(rt, file).expect("fstatx");
    statx::statfs(rt, SB);
    open::fget(rt, file).expect("fget");
    open::fput(rt, file).expect("fput");
    open::close(rt, file).expect("close");
    setattr::truncate(rt, at("/d/f"), 5000).expect("truncate");
    icache::drop_caches(rt, 3).expect("drop_caches");
    let (inode, dentry) = namespace::lookup(rt, at("/d/f"), true).expect("lookup");
    icache::igrab(rt, inode);
    icache::iput(rt, inode).expect("iput");
    icache::dput(rt, dentry).expect("dput");
    let file = open::open(rt, at("/d/f"), OpenFlags::RDWR | OpenFlags::TRUNC | OpenFlags::APPEND, 0).expect("open");
    open::close(rt, file).expect("close");
    namespace::mkdir(rt, at("/p"), 0o755).expect("mkdir");
    let file = creat(rt, "/p/verity");
    open::close(rt, file).expect("close");
    let file = open::open(rt, at("/p/verity"), OpenFlags::empty(), 0).expect("open");
    // Not every file system and not every mode can do it.
    let _ = protect::enable_verity(rt, file);
    open::close(rt, file).expect("close");
    let dir = open::open(rt, at("/d"), OpenFlags::DIRECTORY, 0).expect("open");
    let _ = protect::set_encryption(rt, dir);
    open::close(rt, dir).expect("close");
}

/// Data, without a mapping.
fn data<R: Runtime>(rt: &R) {
    let file = creat(rt, "/data");
    assert_eq!(rw::write(rt, file, Some(100), &[1; 9000]), Ok(9000));
    let mut buf = [0; 64];
    assert_eq!(rw::read(rt, file, Some(5000), &mut buf), Ok(64));
    assert_eq!(rw::write(rt, file, None, b"here"), Ok(4));
    assert_eq!(lseek(rt, file, 0, Whence::Data), Ok(0));
    lseek(rt, file, 0, Whence::Hole).expect("lseek");
    lseek(rt, file, 0, Whence::End).expect("lseek");
    for mode in [
        Fallocate::Allocate,
        Fallocate::KeepSize,
        Fallocate::Punch,
        Fallocate::Zero,
        Fallocate::ZeroKeepSize,
        Fallocate::Insert,
        Fallocate::Collapse,
    ] {
        space::fallocate(rt, file, mode, PAGE, PAGE).unwrap_or_else(|fail| panic!("{mode:?}: {fail}"));
        rw::write(rt, file, Some(0), &[2; 3 * PAGE as usize]).expect("write");
    }
    space::fallocate(rt, file, Fallocate::Punch, 100, 200).expect("part of a page");
    sync::fsync(rt, file, true).expect("fsync");
    space::fiemap(rt, file).expect("fiemap");
    let _ = space::fibmap(rt, file, 0);
    setattr::ftruncate(rt, file, 100).expect("truncate");
    setattr::ftruncate(rt, file, 3 * PAGE).expect("truncate");
    let other = creat(rt, "/other");
    rw::write(rt, other, Some(0), &[3; 3 * PAGE as usize]).expect("write");
    let _ = clone::ficlone(rt, other, file);
    rw::write(rt, other, Some(0), &[4; PAGE as usize]).expect("write to what is shared");
    let _ = move_extents::move_extents(rt, file, other, PAGE);
    sync::fsync(rt, file, false).expect("fsync");
    rw::read(rt, file, Some(0), &mut buf).expect("read");
    icache::drop_caches(rt, 1).expect("drop_caches");
    rw::read(rt, file, Some(0), &mut buf).expect("read");
    let direct = open::open(rt, at("/data"), OpenFlags::RDWR | OpenFlags::DIRECT, 0).expect("open");
    rw::write(rt, direct, Some(0), &[5; PAGE as usize]).expect("write");
    rw::read(rt, direct, Some(0), &mut [0; PAGE as usize]).expect("read");
    for file in [file, other, direct] {
        open::close(rt, file).expect("close");
    }
    let tiny = creat(rt, "/tiny");
    rw::write(rt, tiny, Some(0), b"tiny").expect("write");
    open::close(rt, tiny).expect("close");
    sync::sync(rt).expect("sync");
    icache::drop_caches(rt, 3).expect("drop_caches");
    let tiny = creat(rt, "/tiny");
    let small = map(rt, Some(tiny), PAGE, Share::Shared, false);
    assert_eq!(load_u64(rt, small), Ok(u64::from_le_bytes(*b"tiny\0\0\0\0")));
    munmap(rt, small, PAGE).expect("munmap");
    open::close(rt, tiny).expect("close");
    assert!(!layout::is_poisoned(rt, SB, 0));
    sync::syncfs(rt, SB).expect("syncfs");
}

/// Mappings and accesses.
fn memory<R: Runtime>(rt: &R) {
    let file = creat(rt, "/mapped");
    rw::write(rt, file, Some(0), &[1; PAGE as usize]).expect("write");
    space::fallocate(rt, file, Fallocate::Allocate, HUGE, HUGE).expect("fallocate");
    let len = 2 * HUGE;
    let address = map(rt, Some(file), len, Share::Shared, false);
    store_u64(rt, address, 1).expect("store");
    store(rt, address + PAGE, &[2; 16]).expect("store to a hole");
    assert_eq!(load_u64(rt, address + 2 * PAGE), Ok(0));
    store(rt, address + 2 * PAGE, &[3; 16]).expect("store where zero was read");
    load_u64(rt, address + HUGE).expect("load");
    store_u64(rt, address + HUGE + PAGE, 4).expect("store");
    msync(rt, address, len, true).expect("msync");
    store_u64(rt, address, 5).expect("store to what is write-protected");
    store_u64(rt, address + HUGE, 5).expect("store");
    rw::write(rt, file, Some(3 * PAGE), &[6; 8]).expect("write");
    let frame = pin(rt, address, true, false).expect("pin");
    // A wait for the pin would have no end but for a signal.
    let task = rt.task();
    rt.step(Op::new("kill").write(Object::task(task)), |w| w.tasks.set_signal(task, true));
    let _ = setattr::ftruncate(rt, file, 2 * HUGE - PAGE);
    rt.step(Op::new("handle signal").write(Object::task(task)), |w| w.tasks.set_signal(task, false));
    unpin(rt, frame);
    flush(rt, address, PAGE).expect("flush");
    sfence(rt);
    let mut buf = [0; 8];
    assert_eq!(copy_from_user(rt, address, &mut buf), Ok(8));
    assert_eq!(copy_to_user(rt, address, &buf), Ok(8));
    assert_eq!(rw::write_from_user(rt, file, Some(4 * PAGE), address, 32), Ok(32));
    assert_eq!(rw::read_to_user(rt, file, Some(4 * PAGE), address, 32), Ok(32));
    let private = map(rt, Some(file), len, Share::Private, false);
    load(rt, private, &mut buf).expect("load");
    store(rt, private, &buf).expect("a copy of what is mapped");
    store(rt, private + PAGE, &buf).expect("a copy");
    store(rt, private + HUGE, &buf).expect("a copy");
    let anonymous = map(rt, None, 2 * PAGE, Share::Private, false);
    store(rt, anonymous, &buf).expect("store");
    let child = fork(rt).expect("fork");
    assert_eq!(child, TaskId(2));
    store(rt, anonymous, &buf).expect("a copy for the parent");
    for advice in [
        Advice::NoHugePage,
        Advice::HugePage,
        Advice::PopulateRead,
        Advice::PopulateWrite,
        Advice::DontNeed,
        Advice::DontFork,
    ] {
        madvise(rt, private, 2 * PAGE, advice).unwrap_or_else(|fail| panic!("{advice:?}: {fail}"));
    }
    let _ = madvise(rt, address, PAGE, Advice::HwPoison);
    let _ = madvise(rt, private, PAGE, Advice::HwPoison);
    let _ = madvise(rt, anonymous, PAGE, Advice::HwPoison);
    mprotect(rt, private + PAGE, PAGE, VmFlags::READ).expect("mprotect");
    let moved = mremap(rt, private, PAGE, 3 * PAGE, true).expect("mremap");
    munmap(rt, moved, 3 * PAGE).expect("munmap");
    if let Ok(sync) = mmap::mmap(
        rt,
        &MapRequest {
            file: Some(file),
            offset: 0,
            len: 2 * HUGE,
            prot: RW,
            share: Share::SharedValidate,
            sync: true,
            address: None,
        },
    ) {
        store(rt, sync + 7 * PAGE, &buf).expect("store to a hole");
        munmap(rt, sync, 2 * HUGE).expect("munmap");
    }
    setattr::ftruncate(rt, file, PAGE + 10).expect("truncate");
    store_u64(rt, address + PAGE, 8).expect("store");
    let behind = map(rt, Some(file), 3 * PAGE, Share::Private, false);
    assert_eq!(store_u64(rt, behind + 2 * PAGE, 1), Err(Fail::Signal(Signal::BusAdrErr)));
    munmap(rt, behind, 3 * PAGE).expect("munmap");
    munmap(rt, address, len).expect("munmap");
    open::close(rt, file).expect("close");
}

/// Swap files, blocks of one's own, advice, and stores past the cache.
fn apart<R: Runtime>(rt: &R) {
    let file = open::open(rt, at("/swap"), OpenFlags::RDWR | OpenFlags::CREAT, 0o600).expect("open");
    let mut header = vec![0; 4 * PAGE as usize];
    (header[1024], header[1028]) = (1, 3);
    header[4086..4096].copy_from_slice(b"SWAPSPACE2");
    rw::write(rt, file, Some(0), &header).expect("write");
    assert_eq!(rw::write(rt, file, Some(0), b""), Ok(0));
    space::nextents(rt, file).expect("nextents");
    for advice in [FileAdvice::DontNeed, FileAdvice::WillNeed, FileAdvice::Pattern] {
        advise::fadvise(rt, file, 0, 0, advice).expect("fadvise");
    }
    let address = map(rt, Some(file), 2 * PAGE, Share::Shared, false);
    store_nt(rt, address, &7u64.to_le_bytes()).expect("store past the cache");
    for advice in [Advice::WillNeed, Advice::Cold, Advice::Pageout, Advice::Remove] {
        madvise(rt, address, PAGE, advice).expect("madvise");
    }
    munmap(rt, address, 2 * PAGE).expect("munmap");
    // XFS alone shares blocks, and so unshares them.
    let copy = open::open(rt, at("/copy"), OpenFlags::RDWR | OpenFlags::CREAT, 0o600).expect("open");
    let shares = clone::ficlone(rt, copy, file).is_ok();
    assert_eq!(space::fallocate(rt, copy, Fallocate::Unshare, 0, 4 * PAGE).is_ok(), shares);
    open::close(rt, copy).expect("close");
    rw::write(rt, file, Some(0), &header).expect("write");
    // A DAX file is none to swap to.
    let swaps = swap::swapon(rt, at("/swap")).is_ok();
    assert_eq!(swap::swapoff(rt, at("/swap")).is_ok(), swaps);
    open::close(rt, file).expect("close");
}

/// What changes a mount, at the end.
fn mounts<R: Runtime>(rt: &R) {
    exit_mm(rt).expect("exit");
    freeze::freeze(rt, SB).expect("freeze");
    freeze::thaw(rt, SB).expect("thaw");
    remount(rt, SB, None, None, Some(true)).expect("remount");
    remount(rt, SB, None, None, Some(false)).expect("remount");
    shutdown::shutdown(rt, SB, true).expect("shutdown");
    umount(rt, SB).expect("umount");
}

/// Makes everything on a mount; the names of the steps that were made.
fn all(personality: Personality, dax: DaxMode, inline_data: bool) -> BTreeSet<&'static str> {
    let told = format!("{personality:?} {dax:?} inline {inline_data}");
    let mut world = World::new();
    world.check_labels(true);
    let mm = mmap::mm_alloc(&mut world);
    for _ in 0..2 {
        world.tasks.spawn(Cred::ROOT, mm);
    }
    let mut stepper = Stepper::new(world);
    stepper.check_properties(true);
    let xfs = personality == Personality::Xfs;
    let options = MemOptions { xfs, inline_data, reflink: xfs, verity: true, encrypt: true, ..MemOptions::default() };
    let fs = MemFs::new(options).expect("a device");
    stepper.start(TaskId(0), move |rt| {
        mount(rt, request(fs, personality, Some(dax))).expect("mount");
        names(rt);
        data(rt);
        memory(rt);
        apart(rt);
    });
    let mut made = BTreeSet::new();
    let run = |stepper: &mut Stepper<MemFs>, made: &mut BTreeSet<&'static str>| {
        let ended = stepper.run(|stepper, enabled| {
            made.insert(stepper.pending(enabled[0]).expect("it can move").op().name);
            enabled[0]
        });
        assert!(ended, "{told}");
        stepper.with(|w| {
            assert_eq!(w.findings.list(), [], "{told}");
            assert_eq!(check_all(w), [], "{told}");
        });
    };
    run(&mut stepper, &mut made);
    stepper.start(TaskId(2), |rt| exit_mm(rt).expect("exit of the child"));
    run(&mut stepper, &mut made);
    stepper.start(TaskId(0), |rt| mounts(rt));
    run(&mut stepper, &mut made);
    made
}

/// The names of the steps of a source file: what stands in quotes behind a constructor of a label.
fn steps_of(text: &str, names: &mut BTreeSet<String>) {
    let text = text.split("#[cfg(test)]").next().unwrap_or(text);
    for constructor in ["Op::new(\"", "Op::world(\""] {
        for part in text.split(constructor).skip(1) {
            if let Some((name, _)) = part.split_once('"') {
                names.insert(name.to_owned());
            }
        }
    }
}

fn sources(dir: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).expect("the sources are here") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            steps_of(&std::fs::read_to_string(&path).expect("a source"), names);
        }
    }
}

#[test]
fn every_step_of_every_operation_is_held_to_its_label_and_leaves_the_properties_whole() {
    let mut made = BTreeSet::new();
    for personality in [Personality::Ext4, Personality::Xfs] {
        for dax in [DaxMode::Always, DaxMode::Never, DaxMode::Inode] {
            made.extend(all(personality, dax, false));
        }
    }
    made.extend(all(Personality::Ext4, DaxMode::Never, true));
    let mut known = BTreeSet::new();
    for part in ["vfs", "mm", "dax", "filemap"] {
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(part), &mut known);
    }
    let missing: Vec<_> = known.iter().filter(|name| !made.contains(name.as_str())).map(String::as_str).collect();
    assert_eq!(missing, NOT_HERE, "steps that are not made, and those that are known not to be");
}
