//! Freezing, step by step: who may have `s_umount` while a freeze waits.

mod common;

use common::{SB, as_far_as_it_goes, mem, request, stepped};
use daxkit_format::dax::{Errno, Kernel};
use daxkit_mount::fail::Fail;
use daxkit_mount::fs::mem::MemFs;
use daxkit_mount::ids::TaskId;
use daxkit_mount::invariants::check_all;
use daxkit_mount::locks::{LockId, Mode, acquire, release};
use daxkit_mount::op::{Object, Op};
use daxkit_mount::profile::Personality;
use daxkit_mount::runtime::stepping::{Pending, Stepped, Stepper};
use daxkit_mount::vfs::freeze::{freeze, sb_end_write, sb_start_write, thaw};
use daxkit_mount::vfs::mount::{remount, umount};
use daxkit_mount::vfs::sync;

const BUSY: Option<Fail> = Some(Fail::Errno(Errno::EBUSY));

fn machine() -> Stepper<MemFs> {
    let mut stepper = stepped(request(mem(Personality::Ext4), Personality::Ext4, None));
    stepper.check_properties(true);
    stepper
}

fn ends(stepper: &mut Stepper<MemFs>, task: u16, program: impl FnOnce(&Stepped<'_, MemFs>) + 'static) -> bool {
    let at = stepper.start(TaskId(task), program);
    as_far_as_it_goes(stepper, at)
}

/// A program that has passed its first step, which takes a freeze level.
fn holder(stepper: &mut Stepper<MemFs>, program: impl FnOnce(&Stepped<'_, MemFs>) + 'static) -> usize {
    let at = stepper.start(TaskId(1), program);
    stepper.advance(at);
    at
}

fn sleeps_for(stepper: &Stepper<MemFs>, at: usize, lock: LockId) -> bool {
    let asleep = Pending::Sleep(Op::new("sleep for lock").write(Object::lock(lock)));
    stepper.pending(at) == Some(asleep)
}

fn nothing_is_left(stepper: &mut Stepper<MemFs>) {
    assert!(stepper.run(|_, enabled| enabled[0]), "tasks wait for each other");
    stepper.with(|w| {
        assert_eq!(w.findings.list(), []);
        assert_eq!(check_all(w), []);
        for task in w.tasks.ids() {
            assert_eq!(w.tasks.held(task).count(), 0);
        }
    });
}

#[test]
fn s_umount_is_free_while_a_freeze_waits_for_writers() {
    let mut m = machine();
    let writer = holder(&mut m, |rt| {
        sb_start_write(rt, SB);
        // A writer may take s_umount: the freeze waits for it without.
        sync::syncfs(rt, SB).expect("syncfs");
        sb_end_write(rt, SB);
    });
    let freezer = m.start(TaskId(0), |rt| freeze(rt, SB).expect("freeze"));
    assert!(!as_far_as_it_goes(&mut m, freezer));
    assert!(sleeps_for(&m, freezer, LockId::sb_writers(SB)));
    assert!(m.with(|w| w.writer_of(LockId::s_umount(SB)).is_none() && w.readers_of(LockId::s_umount(SB)) == 0));
    // Who comes now gets the lock, and finds that a freeze has begun.
    assert!(ends(&mut m, 2, |rt| {
        assert_eq!(remount(rt, SB, None, None, Some(true)).err(), BUSY);
        assert_eq!(umount(rt, SB).err(), BUSY);
        assert_eq!(thaw(rt, SB).err(), Some(Fail::Errno(Errno::EINVAL)));
        assert_eq!(sync::syncfs(rt, SB), Ok(()));
    }));
    // Another writer waits behind the freeze.
    let late = m.start(TaskId(3), |rt| {
        sb_start_write(rt, SB);
        sb_end_write(rt, SB);
    });
    assert!(!as_far_as_it_goes(&mut m, late));
    assert!(as_far_as_it_goes(&mut m, writer));
    assert!(as_far_as_it_goes(&mut m, freezer));
    assert!(!m.enabled(late));
    assert!(ends(&mut m, 2, |rt| assert_eq!(thaw(rt, SB), Ok(()))));
    nothing_is_left(&mut m);
}

#[test]
fn s_umount_is_held_while_a_freeze_waits_for_write_faults() {
    let mut m = machine();
    let fault = holder(&mut m, |rt| {
        acquire(rt, LockId::sb_pagefault(SB), Mode::Shared);
        release(rt, LockId::sb_pagefault(SB));
    });
    let freezer = m.start(TaskId(0), |rt| freeze(rt, SB).expect("freeze"));
    assert!(!as_far_as_it_goes(&mut m, freezer));
    assert!(sleeps_for(&m, freezer, LockId::sb_pagefault(SB)));
    assert_eq!(m.with(|w| w.writer_of(LockId::s_umount(SB))), Some(TaskId(0)));
    let waits = m.start(TaskId(2), |rt| assert_eq!(remount(rt, SB, None, None, Some(true)).err(), BUSY));
    let thaws = m.start(TaskId(3), |rt| assert_eq!(thaw(rt, SB), Ok(())));
    for at in [waits, thaws] {
        assert!(!as_far_as_it_goes(&mut m, at));
        assert!(sleeps_for(&m, at, LockId::s_umount(SB)));
    }
    assert!(as_far_as_it_goes(&mut m, fault));
    assert!(as_far_as_it_goes(&mut m, freezer));
    // In the order of asking: the remount meets a frozen mount, and the thaw one whose freeze is complete.
    nothing_is_left(&mut m);
    assert!(!m.with(|w| w.sb(SB).frozen));
}

#[test]
fn a_freeze_waits_for_who_has_s_umount_before_it_begins() {
    let mut m = machine();
    let reader = holder(&mut m, |rt| sync::syncfs(rt, SB).expect("syncfs"));
    let freezer = m.start(TaskId(0), |rt| freeze(rt, SB).expect("freeze"));
    assert!(!as_far_as_it_goes(&mut m, freezer));
    assert!(sleeps_for(&m, freezer, LockId::s_umount(SB)));
    assert!(!m.with(|w| w.sb(SB).frozen), "it has not begun");
    assert!(as_far_as_it_goes(&mut m, reader));
    assert!(as_far_as_it_goes(&mut m, freezer));
    assert!(ends(&mut m, 2, |rt| assert_eq!(thaw(rt, SB), Ok(()))));
    nothing_is_left(&mut m);
}

#[test]
fn two_freezers_and_a_writer_end_in_every_order() {
    for kernel in [Kernel(6, 2), Kernel(6, 12)] {
        let mut m = machine();
        m.with(|w| w.sb_mut(SB).profile.kernel = kernel);
        let first = m.with(|w| w.clone());
        for seed in 0..200usize {
            m.reset(&first);
            for task in [0, 1] {
                // Whoever comes second is told so, at once or after a wait, or finds it thawed again.
                m.start(TaskId(task), |rt| match freeze(rt, SB) {
                    Ok(()) => assert_eq!(thaw(rt, SB), Ok(())),
                    other => assert_eq!(other.err(), BUSY),
                });
            }
            m.start(TaskId(2), |rt| {
                sb_start_write(rt, SB);
                sync::syncfs(rt, SB).expect("syncfs");
                sb_end_write(rt, SB);
            });
            let mut at = seed;
            assert!(
                m.run(|_, enabled| {
                    at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    enabled[(at >> 33) % enabled.len()]
                }),
                "tasks wait for each other: seed {seed} {kernel:?}"
            );
            nothing_is_left(&mut m);
            assert!(!m.with(|w| w.sb(SB).frozen));
        }
    }
}
