//! Locks, queues and labels under every schedule, and on real threads.

use std::collections::BTreeSet;

use super::Runtime;
use super::stepping::{Stepped, Stepper};
use super::threads::Shared;
use crate::fs::none::NoFs;
use crate::ids::{InodeId, MmId, TaskId};
use crate::locks::{LockClass, LockId, Mode, acquire, release};
use crate::op::{Object, Op};
use crate::wait::{QueueKey, Wake, sleep_on};
use crate::world::World;
use crate::world::findings::Finding;
use crate::world::tasks::Cred;

const LOCK: LockId = LockId::i_rwsem(InodeId(1));

fn world(tasks: usize) -> World<NoFs> {
    let mut world = World::new();
    world.check_labels(true);
    for _ in 0..tasks {
        world.tasks.spawn(Cred::ROOT, MmId::NONE);
    }
    world
}

type Program = fn(&Stepped<'_, NoFs>);

/// Runs every schedule; gives each end to `judge`: the stepper, whether all tasks ended, the order of steps.
fn every_schedule(
    first: &World<NoFs>,
    programs: &[Program],
    mut judge: impl FnMut(&Stepper<NoFs>, bool, &[usize]),
) -> usize {
    let mut stepper = Stepper::new(first.clone());
    stepper.check_properties(true);
    // One choice for each step: which of the tasks that can move, of how many.
    let mut choices: Vec<(usize, usize)> = Vec::new();
    let mut runs = 0;
    loop {
        stepper.reset(first);
        for (at, program) in programs.iter().enumerate() {
            stepper.start(TaskId(at as u16), *program);
        }
        let (mut depth, mut order) = (0, Vec::new());
        let ended = stepper.run(|_, enabled| {
            if depth == choices.len() {
                choices.push((0, enabled.len()));
            }
            assert_eq!(choices[depth].1, enabled.len(), "a run is not the same a second time");
            let chosen = enabled[choices[depth].0];
            depth += 1;
            order.push(chosen);
            chosen
        });
        runs += 1;
        judge(&stepper, ended, &order);
        while let Some((chosen, of)) = choices.pop() {
            if chosen + 1 < of {
                choices.push((chosen + 1, of));
                break;
            }
        }
        if choices.is_empty() {
            return runs;
        }
    }
}

fn bump(rt: &impl Runtime<Fs = NoFs>) {
    let op = Op::new("read").read(Object::PINS);
    let seen = rt.step(op, |w| {
        w.touch(Object::PINS, false);
        w.now
    });
    let op = Op::new("write").write(Object::PINS);
    rt.step(op, |w| {
        w.touch(Object::PINS, true);
        w.now = seen + 1;
    });
}

fn bump_locked(rt: &impl Runtime<Fs = NoFs>) {
    acquire(rt, LOCK, Mode::Exclusive);
    bump(rt);
    release(rt, LOCK);
}

#[test]
fn two_tasks_of_two_steps_have_six_schedules_and_lose_an_update_in_four() {
    let mut sums = Vec::new();
    let runs = every_schedule(&world(2), &[|rt| bump(rt), |rt| bump(rt)], |stepper, ended, _| {
        assert!(ended);
        sums.push(stepper.with(|w| w.now));
    });
    assert_eq!(runs, 6);
    assert_eq!(sums.iter().filter(|sum| **sum == 1).count(), 4);
    assert_eq!(sums.iter().filter(|sum| **sum == 2).count(), 2);
}

#[test]
fn an_exclusive_lock_loses_no_update_under_any_schedule() {
    let program: Program = |rt| bump_locked(rt);
    let runs = every_schedule(&world(3), &[program; 3], |stepper, ended, order| {
        assert!(ended, "{order:?}");
        stepper.with(|w| {
            assert_eq!(w.now, 3, "{order:?}");
            assert_eq!(w.findings.list(), []);
        });
    });
    assert!(runs > 100, "{runs}");
}

/// The residual deadlock of a full lock-out: a reader nested behind a queued writer.
#[test]
fn a_reader_nested_behind_a_queued_writer_deadlocks_in_some_schedules_only() {
    let reader: Program = |rt| {
        acquire(rt, LOCK, Mode::Shared);
        acquire(rt, LOCK, Mode::Shared);
        release(rt, LOCK);
        release(rt, LOCK);
    };
    let (mut stuck, mut done) = (0, 0);
    every_schedule(&world(2), &[reader, |rt| bump_locked(rt)], |stepper, ended, order| {
        // That the class does not nest is said where it happens, in every schedule; that nobody gets on, in those that end so.
        let mut asleep: Vec<_> = stepper.with(|w| w.findings.take());
        asleep.retain(|found| matches!(found, Finding::BrokenAt { what, .. } if what.contains("sleeps")));
        let of = |n| {
            let what = format!("task{n} sleeps for {LOCK}, which nobody will give back");
            Finding::BrokenAt { property: 10, task: TaskId(0), step: "lock", what }
        };
        if ended {
            done += 1;
            assert_eq!(asleep, [], "{order:?}");
        } else {
            stuck += 1;
            assert_eq!(asleep, [of(0), of(1)], "{order:?}");
        }
    });
    assert!(stuck > 0 && done > 0, "{stuck} {done}");
}

/// A task that asks and is told under the same label sees every wake-up; one that tests first and queues up in a later step
/// can lose it.
#[test]
fn a_wake_up_between_test_and_sleep_is_lost() {
    const QUEUE: QueueKey = QueueKey::pins(InodeId(3));
    fn wait(rt: &Stepped<'_, NoFs>, at_once: bool) {
        let me = rt.task();
        let op = Op::new("test").read(Object::PINS).write(QUEUE.object());
        let must_wait = rt.step(op, |w| {
            let unset = w.now == 0;
            if at_once && unset {
                w.queue_up(me, QUEUE, true);
            }
            unset
        });
        if !must_wait {
            return;
        }
        if !at_once {
            rt.step(Op::new("queue up").write(QUEUE.object()), |w| w.queue_up(me, QUEUE, true));
        }
        sleep_on(rt, QUEUE);
    }
    fn set(rt: &Stepped<'_, NoFs>) {
        let op = Op::new("set").write(Object::PINS).write(QUEUE.object());
        rt.step(op, |w| {
            w.now = 1;
            w.wake(QUEUE, Wake::One);
        });
    }
    let mut ends = BTreeSet::new();
    every_schedule(&world(2), &[|rt| wait(rt, true), |rt| set(rt)], |_, ended, _| {
        ends.insert(ended);
    });
    assert_eq!(ends, BTreeSet::from([true]));
    every_schedule(&world(2), &[|rt| wait(rt, false), |rt| set(rt)], |_, ended, _| {
        ends.insert(ended);
    });
    assert_eq!(ends, BTreeSet::from([false, true]));
}

#[test]
fn one_wake_up_is_for_all_that_share_and_one_that_excludes() {
    const QUEUE: QueueKey = QueueKey::dax_entry(InodeId(3), 513, true);
    let mut w = world(5);
    for (task, exclusive) in [(0, false), (1, true), (2, false), (3, true), (4, true)] {
        w.queue_up(TaskId(task), QUEUE, exclusive);
    }
    assert_eq!(w.wake(QUEUE, Wake::One), 3);
    let asleep: Vec<_> = (0..5).filter(|&task| w.tasks.is_blocked(TaskId(task))).collect();
    assert_eq!(asleep, [3, 4]);
    w.interrupt(TaskId(3));
    assert!(!w.tasks.is_blocked(TaskId(3)) && w.tasks.signal_pending(TaskId(3)));
    assert_eq!(w.wake(QUEUE, Wake::All), 1);
    assert!(!w.has_sleepers(QUEUE));
}

#[test]
fn what_a_step_did_not_declare_is_found() {
    let first = world(1);
    let program: Program = |rt| {
        rt.step(Op::new("honest").read(Object::ALL_DATA), |w| w.touch(Object::data(InodeId(7)), false));
        rt.step(Op::new("liar").read(Object::ALL_DATA), |w| w.touch(Object::data(InodeId(7)), true));
    };
    every_schedule(&first, &[program], |stepper, _, _| {
        let found = stepper.with(|w| w.findings.take());
        assert_eq!(found.len(), 1);
        assert!(matches!(found[0], Finding::Undeclared { op, write: true, .. } if op.name == "liar"), "{found:?}");
    });
}

#[test]
fn locks_out_of_order_are_found() {
    let program: Program = |rt| {
        acquire(rt, LockId::invalidate(InodeId(1)), Mode::Shared);
        acquire(rt, LOCK, Mode::Shared);
    };
    every_schedule(&world(1), &[program], |stepper, _, _| {
        let found = stepper.with(|w| w.findings.take());
        assert!(
            matches!(&found[..], [Finding::LockOrder(order), Finding::BrokenAt { property: 10, step: "lock", .. }]
                if order.taken.class == LockClass::IRwsem),
            "{found:?}"
        );
    });
}

/// Swapping neighbouring steps that do not conflict leaves the same end: what the labels promise to an explorer.
#[test]
fn steps_whose_labels_do_not_conflict_commute() {
    fn touch_own(rt: &Stepped<'_, NoFs>) {
        let inode = InodeId(u32::from(rt.task().0) + 10);
        let lock = LockId::i_rwsem(inode);
        acquire(rt, lock, Mode::Exclusive);
        bump(rt);
        release(rt, lock);
    }
    let first = world(2);
    let programs: [Program; 2] = [|rt| touch_own(rt), |rt| touch_own(rt)];
    let run = |order: &[usize]| {
        let mut stepper = Stepper::new(first.clone());
        for (at, program) in programs.iter().enumerate() {
            stepper.start(TaskId(at as u16), *program);
        }
        let mut labels = Vec::new();
        for &at in order {
            labels.push(*stepper.pending(at).expect("the schedule is possible").op());
            stepper.advance(at);
        }
        (labels, stepper.with(|w| w.now))
    };
    let mut orders = Vec::new();
    every_schedule(&first, &programs, |_, _, order| orders.push(order.to_vec()));
    let mut swapped = 0;
    for order in &orders {
        let (labels, end) = run(order);
        for at in 0..order.len() - 1 {
            if order[at] != order[at + 1] && !labels[at].conflicts(&labels[at + 1]) {
                let mut other = order.clone();
                other.swap(at, at + 1);
                assert_eq!(run(&other).1, end, "{order:?} at {at}");
                swapped += 1;
            }
        }
    }
    assert!(swapped > 50, "{swapped}");
}

#[test]
fn threads_lose_no_update_either() {
    const ROUNDS: i64 = 2000;
    let shared = Shared::new(world(4));
    std::thread::scope(|scope| {
        for task in 0..4 {
            let rt = shared.thread(TaskId(task));
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    bump_locked(&rt);
                }
            });
        }
    });
    shared.with(|w| {
        assert_eq!(w.now, 4 * ROUNDS);
        assert_eq!(w.findings.list(), []);
    });
}

/// Two tasks that wait for a word by looking at it again and again, under a lock, and nobody sets it: everybody can always move.
#[test]
fn tasks_that_go_on_and_change_nothing_are_a_livelock() {
    const BOUND: u64 = 200;
    fn look(rt: &Stepped<'_, NoFs>) {
        loop {
            acquire(rt, LOCK, Mode::Exclusive);
            let set = rt.step(Op::new("look").read(Object::PINS), |w| w.now == 1);
            release(rt, LOCK);
            if set {
                return;
            }
        }
    }
    let run = |setter: bool| {
        let mut stepper = Stepper::new(world(3));
        stepper.bound_livelock(Some(BOUND));
        stepper.start(TaskId(0), look);
        stepper.start(TaskId(1), look);
        if setter {
            stepper.start(TaskId(2), |rt| {
                for n in 0..3 * BOUND as i64 {
                    rt.step(Op::new("count").write(Object::PINS), |w| w.now = -n);
                }
                rt.step(Op::new("set").write(Object::PINS), |w| w.now = 1);
            });
        }
        let mut turn = 0;
        let ended = stepper.run(|_, enabled| {
            turn += 1;
            enabled[turn % enabled.len()]
        });
        (ended, stepper.livelocked(), stepper.with(|w| w.findings.take()))
    };
    let (ended, livelocked, found) = run(false);
    assert!(!ended && livelocked);
    assert!(matches!(found[..], [Finding::Livelock { steps: BOUND, .. }]), "{found:?}");
    assert_eq!(run(true), (true, false, vec![]), "the third gets on all the time");
}
