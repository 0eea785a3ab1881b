//! Tasks that fault, write, change flags and truncate at once, in the stepping runtime, over many schedules from a seed.

#![allow(clippy::disallowed_types, reason = "a test takes results out of the tasks that it drives")]

mod common;

use common::{SB, at, mem, request};
use daxkit_format::dax::fileattr::XFlags;
use daxkit_format::dax::{DaxMode, Errno};
use daxkit_mount::fail::{Fail, Signal};
use daxkit_mount::fs::FileSystem;
use daxkit_mount::fs::mem::MemFs;
use daxkit_mount::ids::{FileId, TaskId};
use daxkit_mount::invariants::check_all;
use daxkit_mount::mm::access::{load, store};
use daxkit_mount::mm::madvise::{Advice, madvise};
use daxkit_mount::mm::mmap::{self, MapRequest, Share};
use daxkit_mount::profile::Personality;
use daxkit_mount::runtime::stepping::{Stepped, Stepper};
use daxkit_mount::vfs::mount::mount;
use daxkit_mount::vfs::{fileattr, freeze, open, rw, setattr, sync};
use daxkit_mount::world::World;
use daxkit_mount::world::objects::{OpenFlags, VmFlags};
use daxkit_mount::world::tasks::Cred;
use daxkit_mount::xarray::Tag;

const FILE: FileId = FileId(0);
const PAGE: u64 = 4096;

/// Two tasks of one process with a file of two pages mapped, not touched yet. The mapping's address.
fn prepared(personality: Personality, dax: DaxMode) -> (World<MemFs>, u64) {
    let mut world = World::new();
    world.check_labels(true);
    let mm = mmap::mm_alloc(&mut world);
    for _ in 0..3 {
        world.tasks.spawn(Cred::ROOT, mm);
    }
    let mut stepper = Stepper::new(world);
    let address = std::rc::Rc::new(std::cell::Cell::new(0));
    let out = std::rc::Rc::clone(&address);
    stepper.start(TaskId(0), move |rt| {
        mount(rt, request(mem(personality), personality, Some(dax))).expect("mount");
        let flags = OpenFlags::RDWR | OpenFlags::CREAT;
        assert_eq!(open::open(rt, at("/f"), flags, 0o644).expect("open"), FILE);
        rw::write(rt, FILE, Some(0), &[1; 2 * 4096]).expect("write");
        sync::fsync(rt, FILE, false).expect("fsync");
        let prot = VmFlags::READ | VmFlags::WRITE;
        let wanted = MapRequest {
            file: Some(FILE),
            offset: 0,
            len: 2 * PAGE,
            prot,
            share: Share::Shared,
            sync: false,
            address: None,
        };
        out.set(mmap::mmap(rt, &wanted).expect("mmap"));
    });
    assert!(stepper.run(|_, enabled| enabled[0]));
    (stepper.with(|w| w.clone()), address.get())
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % n
    }
}

type Program = Box<dyn Fn(&Stepped<'_, MemFs>, u64)>;

fn fault(offset: u64, value: u8) -> Program {
    Box::new(move |rt, map| store(rt, map + offset, &[value; 8]).expect("store"))
}

fn run(
    personality: Personality,
    dax: DaxMode,
    programs: &[fn() -> Program],
    rounds: usize,
    mut end: impl FnMut(&mut World<MemFs>),
) {
    let (first, map) = prepared(personality, dax);
    let seed = 0x5EED_0001;
    let mut random = Random(seed);
    let mut stepper = Stepper::new(first.clone());
    stepper.check_properties(true);
    for round in 0..rounds {
        stepper.reset(&first);
        for (at, program) in programs.iter().enumerate() {
            let program = program();
            stepper.start(TaskId(at as u16), move |rt| program(rt, map));
        }
        let mut order = Vec::new();
        let ended = stepper.run(|_, enabled| {
            let chosen = enabled[random.below(enabled.len())];
            order.push(chosen);
            chosen
        });
        let told = format!("seed {seed:#x} round {round} {personality:?} {dax:?} schedule {order:?}");
        assert!(ended, "tasks wait for each other: {told}");
        stepper.with(|w| {
            assert_eq!(w.findings.list(), [], "{told}");
            assert_eq!(check_all(w), [], "{told}");
            for task in w.tasks.ids() {
                assert_eq!(w.tasks.held(task).count(), 0, "{told}");
            }
            end(w);
        });
    }
}

const MODES: [(Personality, DaxMode); 4] = [
    (Personality::Ext4, DaxMode::Always),
    (Personality::Ext4, DaxMode::Never),
    (Personality::Xfs, DaxMode::Always),
    (Personality::Xfs, DaxMode::Never),
];

#[test]
fn faults_on_one_page_agree_on_one_entry() {
    for (personality, dax) in MODES {
        let programs: [fn() -> Program; 3] = [|| fault(0, 2), || fault(64, 3), || fault(PAGE, 4)];
        run(personality, dax, &programs, 1500, |w| {
            let inode = w.files[FILE].inode;
            assert_eq!(w.inodes[inode].nrpages, 2);
        });
    }
}

#[test]
fn stores_race_with_fsync_and_none_is_lost() {
    for (personality, dax) in MODES {
        let programs: [fn() -> Program; 3] =
            [|| fault(0, 2), || Box::new(|rt, _| sync::fsync(rt, FILE, false).expect("fsync")), || fault(PAGE, 4)];
        run(personality, dax, &programs, 1500, |_| {});
    }
}

#[test]
fn faults_race_with_truncate() {
    for (personality, dax) in MODES {
        let programs: [fn() -> Program; 2] = [
            || {
                Box::new(|rt, map| {
                    // Either the page was there, or it is past the end: both are right.
                    let _ = store(rt, map + PAGE, &[9; 8]);
                    let mut buf = [0; 8];
                    load(rt, map, &mut buf).expect("the first page stays");
                    assert_eq!(buf, [1; 8]);
                })
            },
            || Box::new(|rt, _| setattr::ftruncate(rt, FILE, PAGE).expect("truncate")),
        ];
        run(personality, dax, &programs, 1500, |w| {
            let inode = w.files[FILE].inode;
            let node = w.inodes[inode];
            if node.s_dax {
                assert!(node.nrpages <= 1, "no entry is left past the end");
            }
            // A fault that looked at the size before the truncation may leave a page in the cache, as filemap_fault does: a clean
            // one, of no block.
            assert_eq!(node.pages.next_tagged(&w.nodes, 1, u64::MAX >> 12, Some(Tag::Dirty)), None);
            let ino = w.inodes[inode].ino;
            assert_eq!(w.sb(SB).fs.read_inode(ino).expect("inode").blocks, 8, "one block is left");
        });
    }
}

#[test]
fn the_advisory_design_survives_every_schedule_of_fault_and_flag() {
    for (personality, _) in MODES {
        let programs: [fn() -> Program; 3] = [
            || fault(0, 2),
            || {
                Box::new(|rt, _| {
                    for on in [true, false, true] {
                        let old = fileattr::ioctl_fsgetxattr(rt, FILE).expect("get");
                        let mut xflags = old.xflags;
                        xflags.set(XFlags::DAX, on);
                        fileattr::ioctl_fssetxattr(rt, FILE, xflags, 0, 0, 0).expect("set");
                    }
                })
            },
            || {
                Box::new(|rt, _| {
                    let file = open::open(rt, at("/f"), OpenFlags::RDWR, 0).expect("open");
                    rw::write(rt, file, Some(PAGE), &[7; 16]).expect("write");
                    open::close(rt, file).expect("close");
                })
            },
        ];
        run(personality, DaxMode::Inode, &programs, 1500, |w| {
            let inode = w.files[FILE].inode;
            assert!(!w.inodes[inode].s_dax, "the inode has lived through it");
            let sb = w.sb(SB);
            assert_eq!(sb.generation, 2, "root and file were instantiated once each");
        });
    }
}

#[test]
fn memory_fails_under_stores_and_write_back() {
    for (personality, dax) in MODES {
        let programs: [fn() -> Program; 3] = [
            || {
                Box::new(|rt, map| {
                    // Either the store meets what is left of a lost page, or it comes before or after.
                    let stored = store(rt, map, &[2; 8]);
                    assert!(matches!(stored, Ok(()) | Err(Fail::Signal(Signal::BusMceErrAr))), "{stored:?}");
                })
            },
            || {
                Box::new(|rt, _| {
                    let written = sync::fsync(rt, FILE, false);
                    assert!(matches!(written, Ok(()) | Err(Fail::Errno(Errno::EIO))), "{written:?}");
                })
            },
            || {
                Box::new(|rt, map| {
                    let told = madvise(rt, map, PAGE, Advice::HwPoison);
                    // A fault or a write-back that is under way has a reference too.
                    let fails = [Fail::Errno(Errno::EBUSY), Fail::Signal(Signal::BusMceErrAr)];
                    assert!(told.is_ok() || fails.contains(&told.unwrap_err()), "{told:?}");
                })
            },
        ];
        run(personality, dax, &programs, 1000, |_| {});
    }
}

#[test]
fn no_write_fault_gets_past_a_freeze() {
    for (personality, dax) in MODES {
        let programs: [fn() -> Program; 3] = [
            || fault(0, 2),
            || {
                Box::new(|rt, _| {
                    freeze::freeze(rt, SB).expect("freeze");
                    freeze::thaw(rt, SB).expect("thaw");
                })
            },
            || fault(PAGE, 4),
        ];
        run(personality, dax, &programs, 1000, |_| {});
    }
}

/// What the labels promise to an explorer: two neighbouring steps of different tasks that do not conflict can change places, and all
/// ends in the same state.
#[test]
fn steps_of_the_kernel_whose_labels_do_not_conflict_commute() {
    type Start = fn() -> Program;
    let flag: Start = || {
        Box::new(|rt, _| {
            let old = fileattr::ioctl_fsgetxattr(rt, FILE).expect("get");
            fileattr::ioctl_fssetxattr(rt, FILE, old.xflags ^ XFlags::DAX, 0, 0, 0).expect("set");
        })
    };
    let cut: Start = || Box::new(|rt, _| setattr::ftruncate(rt, FILE, PAGE).expect("truncate"));
    let written: Start = || Box::new(|rt, _| sync::fsync(rt, FILE, false).expect("fsync"));
    let sets: [[Start; 3]; 3] =
        [[|| fault(0, 2), || fault(PAGE, 4), flag], [|| fault(0, 2), written, flag], [|| fault(0, 2), cut, written]];
    let mut swapped = 0;
    for (personality, dax) in MODES {
        let (first, map) = prepared(personality, dax);
        let mut stepper = Stepper::new(first.clone());
        let mut random = Random(0x5EED_0002);
        for programs in &sets {
            let start = |stepper: &mut Stepper<MemFs>| {
                stepper.reset(&first);
                for (at, program) in programs.iter().enumerate() {
                    let program = program();
                    stepper.start(TaskId(at as u16), move |rt| program(rt, map));
                }
            };
            for _ in 0..25 {
                start(&mut stepper);
                let mut order = Vec::new();
                assert!(stepper.run(|stepper, enabled| {
                    let chosen = enabled[random.below(enabled.len())];
                    order.push((chosen, *stepper.pending(chosen).expect("it can move").op()));
                    chosen
                }));
                let end = stepper.with(|w| w.digest());
                let pairs: Vec<_> = (1..order.len())
                    .filter(|&at| order[at - 1].0 != order[at].0 && !order[at - 1].1.conflicts(&order[at].1))
                    .collect();
                for _ in 0..8.min(pairs.len()) {
                    let at = pairs[random.below(pairs.len())];
                    let told = format!("{personality:?} {dax:?}: {:?} and {:?}", order[at - 1], order[at]);
                    order.swap(at - 1, at);
                    start(&mut stepper);
                    for (chosen, _) in &order {
                        assert!(stepper.enabled(*chosen), "{told}");
                        stepper.advance(*chosen);
                    }
                    assert!(stepper.finished(), "{told}");
                    assert_eq!(stepper.with(|w| w.digest()), end, "{told}");
                    order.swap(at - 1, at);
                    swapped += 1;
                }
            }
        }
    }
    assert!(swapped > 1000, "{swapped}");
}
