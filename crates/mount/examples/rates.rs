//! How fast the emulated kernel is, on one core: accesses that hit, faults, schedules. `cargo xtask bench` runs it.

#![allow(clippy::disallowed_types, reason = "what is measured is taken out of the tasks")]

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use daxkit_format::dax::DaxMode;
use daxkit_format::dax::ext4::DataMode;
use daxkit_format::dax::fileattr::XFlags;
use daxkit_mount::fs::mem::{MemFs, MemOptions};
use daxkit_mount::ids::{FileId, SbId, TaskId};
use daxkit_mount::mm::access::{load_u64, store_u64};
use daxkit_mount::mm::fault::handle_mm_fault;
use daxkit_mount::mm::madvise::{Advice, madvise};
use daxkit_mount::mm::mmap::{self, MapRequest, Share};
use daxkit_mount::profile::{Personality, Profile};
use daxkit_mount::runtime::Runtime;
use daxkit_mount::runtime::stepping::Stepper;
use daxkit_mount::runtime::threads::Shared;
use daxkit_mount::vfs::mount::{MountRequest, mount};
use daxkit_mount::vfs::namespace::At;
use daxkit_mount::vfs::{fileattr, open, rw};
use daxkit_mount::world::World;
use daxkit_mount::world::objects::{OpenFlags, VmFlags};
use daxkit_mount::world::tasks::Cred;

const PAGE: u64 = 4096;
const FILE: FileId = FileId(0);

fn request(gap: u64, dax: DaxMode) -> MountRequest<MemFs> {
    let options = MemOptions { size: 64 << 20, gap, first_block: 513, ..MemOptions::default() };
    MountRequest {
        fs: MemFs::new(options).expect("a device"),
        personality: Personality::Ext4,
        profile: Profile::default(),
        dax: Some(dax),
        data: DataMode::Ordered,
        delalloc: true,
        device_dax: true,
        synchronous: true,
        partition: false,
        realtime: None,
        read_only: false,
    }
}

/// Mounts, and maps a written file of `pages` pages.
fn prepare<R: Runtime<Fs = MemFs>>(rt: &R, pages: u64, dax: DaxMode) -> u64 {
    mount(rt, request(0, dax)).expect("mount");
    let at = At { sb: SbId(0), path: b"/f" };
    let file = open::open(rt, at, OpenFlags::RDWR | OpenFlags::CREAT, 0o644).expect("open");
    assert_eq!(file, FILE);
    for page in 0..pages {
        rw::write(rt, file, Some(page * PAGE), &[1; 4096]).expect("write");
    }
    let prot = VmFlags::READ | VmFlags::WRITE;
    let share = Share::Shared;
    let len = pages * PAGE;
    let wanted = MapRequest { file: Some(file), offset: 0, len, prot, share, sync: false, address: None };
    mmap::mmap(rt, &wanted).expect("mmap")
}

fn world() -> World<MemFs> {
    let mut world = World::new();
    let mm = mmap::mm_alloc(&mut world);
    world.tasks.spawn(Cred::ROOT, mm);
    world.tasks.spawn(Cred::ROOT, mm);
    world
}

fn best(runs: u32, mut f: impl FnMut() -> f64) -> f64 {
    (0..runs).map(|_| f()).fold(0.0, f64::max)
}

fn hits() -> (f64, f64) {
    let shared = Shared::new(world());
    let rt = shared.thread(TaskId(0));
    let map = prepare(&rt, 64, DaxMode::Always);
    for page in 0..64 {
        store_u64(&rt, map + page * PAGE, page).expect("store");
    }
    const N: u64 = 4_000_000;
    let loads = best(5, || {
        let begin = Instant::now();
        let mut sum = 0u64;
        for n in 0..N {
            sum = sum.wrapping_add(load_u64(&rt, map + (n % 64) * PAGE).expect("load"));
        }
        assert_eq!(sum, (0..64).sum::<u64>() * (N / 64));
        N as f64 / begin.elapsed().as_secs_f64()
    });
    let stores = best(5, || {
        let begin = Instant::now();
        for n in 0..N {
            store_u64(&rt, map + (n % 64) * PAGE, n % 64).expect("store");
        }
        N as f64 / begin.elapsed().as_secs_f64()
    });
    (loads, stores)
}

/// A written extent, no entry, 4 KiB each (blocks not aligned to 2 MiB): the entries go between rounds, outside of the clock.
fn faults() -> f64 {
    const PAGES: u64 = 4096;
    let shared = Shared::new(world());
    let rt = shared.thread(TaskId(0));
    let map = prepare(&rt, PAGES, DaxMode::Always);
    madvise(&rt, map, PAGES * PAGE, Advice::NoHugePage).expect("madvise");
    best(10, || {
        use daxkit_mount::filemap::invalidate::truncate_pagecache_range;
        let inode = shared.with(|w| w.files[FILE].inode);
        truncate_pagecache_range(&rt, inode, 0, PAGES);
        let begin = Instant::now();
        for page in 0..PAGES {
            handle_mm_fault(&rt, map + page * PAGE, true).expect("fault");
        }
        PAGES as f64 / begin.elapsed().as_secs_f64()
    })
}

/// A fault against a change of the flag, every schedule a random one, with a reset before each.
fn schedules() -> (f64, f64, f64) {
    let mut stepper = Stepper::new(world());
    let address = Rc::new(Cell::new(0));
    let out = Rc::clone(&address);
    let slot = stepper.start(TaskId(0), move |rt| out.set(prepare(rt, 1, DaxMode::Inode)));
    assert!(stepper.run(|_, enabled| enabled[0]));
    stepper.retire(slot);
    let map = address.get();
    let first = stepper.with(|w| w.clone());
    const RUNS: u32 = 100_000;
    let mut seed = 0x9E37_79B9_7F4A_7C15u64;
    let (mut steps, mut clones) = (0.0, 0.0);
    let rate = best(5, || {
        let before = stepper.steps();
        let begin = Instant::now();
        for _ in 0..RUNS {
            stepper.reset(&first);
            stepper.start(TaskId(0), move |rt| store_u64(rt, map, 5).expect("store"));
            stepper.start(TaskId(1), move |rt| {
                fileattr::ioctl_fssetxattr(rt, FILE, XFlags::DAX, 0, 0, 0).expect("set");
            });
            assert!(stepper.run(|_, enabled| {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                enabled[((seed >> 32) as usize * enabled.len()) >> 32]
            }));
        }
        let seconds = begin.elapsed().as_secs_f64();
        steps = (stepper.steps() - before) as f64 / f64::from(RUNS);
        f64::from(RUNS) / seconds
    });
    let mut copy = first.clone();
    let cost = best(5, || {
        let begin = Instant::now();
        for _ in 0..RUNS {
            copy.clone_from(&first);
        }
        clones = begin.elapsed().as_secs_f64() / f64::from(RUNS);
        1.0 / clones
    });
    (rate, steps, 1e9 / cost)
}

fn main() {
    let (loads, stores) = hits();
    println!("loads that hit\t{loads:.0}\ta second\t20000000");
    println!("stores that hit\t{stores:.0}\ta second\t20000000");
    println!("faults, 4 KiB, written extent, no entry\t{:.0}\ta second\t1000000", faults());
    let (rate, steps, reset) = schedules();
    println!("schedules of fault and flag change ({steps:.0} steps, reset {reset:.0} ns)\t{rate:.0}\ta second\t300000");
}
