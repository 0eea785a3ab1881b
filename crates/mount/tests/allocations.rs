//! A schedule, the reset before it included, allocates nothing once the arrays are as large as they get.

#![allow(clippy::disallowed_types, reason = "a test takes results out of the tasks that it drives")]

mod common;
#[path = "../../../tests/shared/counted.rs"]
mod counted;

use std::cell::Cell;
use std::rc::Rc;

use common::{at, mem, request};
use counted::allocations;
use daxkit_format::dax::DaxMode;
use daxkit_format::dax::fileattr::XFlags;
use daxkit_mount::fs::mem::MemFs;
use daxkit_mount::ids::{FileId, TaskId};
use daxkit_mount::mm::access::{load, store};
use daxkit_mount::mm::mmap::{self, MapRequest, Share};
use daxkit_mount::profile::Personality;
use daxkit_mount::runtime::stepping::Stepper;
use daxkit_mount::vfs::mount::mount;
use daxkit_mount::vfs::{fileattr, open, rw, setattr, sync};
use daxkit_mount::world::World;
use daxkit_mount::world::objects::{OpenFlags, VmFlags};
use daxkit_mount::world::tasks::Cred;

const FILE: FileId = FileId(0);

fn prepared(personality: Personality, dax: DaxMode) -> (World<MemFs>, u64) {
    let mut world = World::new();
    let mm = mmap::mm_alloc(&mut world);
    for _ in 0..3 {
        world.tasks.spawn(Cred::ROOT, mm);
    }
    let mut stepper = Stepper::new(world);
    let address = Rc::new(Cell::new(0));
    let out = Rc::clone(&address);
    stepper.start(TaskId(0), move |rt| {
        mount(rt, request(mem(personality), personality, Some(dax))).expect("mount");
        open::open(rt, at("/f"), OpenFlags::RDWR | OpenFlags::CREAT, 0o644).expect("open");
        rw::write(rt, FILE, Some(0), &[1; 2 * 4096]).expect("write");
        let prot = VmFlags::READ | VmFlags::WRITE;
        let share = Share::Shared;
        let wanted = MapRequest { file: Some(FILE), offset: 0, len: 8192, prot, share, sync: false, address: None };
        out.set(mmap::mmap(rt, &wanted).expect("mmap"));
    });
    assert!(stepper.run(|_, enabled| enabled[0]));
    (stepper.with(|w| w.clone()), address.get())
}

#[test]
fn a_schedule_allocates_nothing_in_the_steady_state() {
    for (personality, dax) in
        [(Personality::Ext4, DaxMode::Always), (Personality::Ext4, DaxMode::Inode), (Personality::Xfs, DaxMode::Always)]
    {
        let (first, map) = prepared(personality, dax);
        let mut stepper = Stepper::new(first.clone());
        let mut before = 0;
        let mut enabled_list = 0;
        for round in 0..600u64 {
            if round == 300 {
                before = allocations();
                enabled_list = 0;
            }
            stepper.reset(&first);
            stepper.start(TaskId(0), move |rt| {
                store(rt, map, &[2; 8]).expect("store");
                let mut buf = [0; 8];
                // The page may be past the end by now.
                let _ = load(rt, map + 4096, &mut buf);
            });
            stepper.start(TaskId(1), move |rt| {
                fileattr::ioctl_fssetxattr(rt, FILE, XFlags::DAX, 0, 0, 0).expect("set");
                sync::fsync(rt, FILE, false).expect("fsync");
            });
            stepper
                .start(TaskId(2), move |rt| setattr::ftruncate(rt, FILE, 4096 + round % 2 * 4096).expect("truncate"));
            let mut turn = round as usize;
            let ended = stepper.run(|_, enabled| {
                turn = turn.wrapping_mul(5).wrapping_add(3);
                enabled[turn % enabled.len()]
            });
            assert!(ended);
            // `run` keeps one list of who can move.
            enabled_list += 1;
        }
        let allocated = allocations() - before;
        println!("{personality:?} {dax:?}: {allocated} allocations in {enabled_list} schedules");
        assert_eq!(allocated, enabled_list, "one list a run, and nothing else");
    }
}
