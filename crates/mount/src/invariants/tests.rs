//! Each property is broken by hand, seen, and mended: a judge that sees nothing proves nothing.

use daxkit_format::dax::DaxMode;
use daxkit_format::dax::ext4::DataMode;

use super::{Judged, check_all, properties};
use crate::dax::entry::{DaxEntry, PageEntry};
use crate::fs::mem::{MemFs, MemOptions};
use crate::ids::{FileId, FolioId, InodeId, MmId, PAGE_SHIFT, SbId, TaskId};
use crate::locks::{LockId, Mode};
use crate::mm::access::store_u64;
use crate::mm::mmap::{MapRequest, Share, mm_alloc, mmap};
use crate::mm::page_table::{Frame, Pte};
use crate::op::{Object, Op};
use crate::profile::{Personality, Profile};
use crate::runtime::Runtime;
use crate::runtime::stepping::Stepper;
use crate::runtime::threads::Shared;
use crate::vfs::freeze::freeze;
use crate::vfs::mount::{MountRequest, mount};
use crate::vfs::namespace::At;
use crate::vfs::{open, rw};
use crate::world::World;
use crate::world::findings::Finding;
use crate::world::objects::{IState, OpenFlags, VmFlags};
use crate::world::tasks::Cred;
use crate::xarray::Tag;

struct Fixture {
    world: World<MemFs>,
    inode: InodeId,
    mm: MmId,
    page: u64,
}

fn fixture() -> Fixture {
    let mut world = World::new();
    let mm = mm_alloc(&mut world);
    let task = world.tasks.spawn(Cred::ROOT, mm);
    let shared = Shared::new(world);
    let rt = shared.thread(task);
    let fs = MemFs::new(MemOptions { first_block: 513, ..MemOptions::default() }).expect("a device");
    let request = MountRequest {
        fs,
        personality: Personality::Ext4,
        profile: Profile::default(),
        dax: Some(DaxMode::Always),
        data: DataMode::Ordered,
        delalloc: true,
        device_dax: true,
        synchronous: true,
        partition: false,
        realtime: None,
        read_only: false,
    };
    mount(&rt, request).expect("mount");
    let at = At { sb: SbId(0), path: b"/f" };
    let file = open::open(&rt, at, OpenFlags::RDWR | OpenFlags::CREAT, 0o644).expect("open");
    rw::write(&rt, file, Some(0), &[1; 2 * 4096]).expect("write");
    let prot = VmFlags::READ | VmFlags::WRITE;
    let share = Share::Shared;
    let wanted = MapRequest { file: Some(file), offset: 0, len: 4 * 4096, prot, share, sync: false, address: None };
    let address = mmap(&rt, &wanted).expect("mmap");
    store_u64(&rt, address, 1).expect("store");
    let inode = shared.with(|w| w.files[file].inode);
    let world = shared.with(|w| w.clone());
    let _ = rt.task();
    Fixture { world, inode, mm, page: address >> PAGE_SHIFT }
}

/// Breaks a copy of the world, and expects exactly these properties to be named.
fn sees(properties: &[u8], change: impl FnOnce(&mut World<MemFs>, &Fixture)) {
    let fixture = fixture();
    assert_eq!(check_all(&fixture.world), [], "the world is sound");
    let mut world = fixture.world.clone();
    change(&mut world, &fixture);
    let mut seen: Vec<u8> = check_all(&world).iter().map(|broken| broken.property).collect();
    seen.dedup();
    assert_eq!(seen, properties, "{:?}", check_all(&world));
    world.clone_from(&fixture.world);
    assert_eq!(check_all(&world), [], "and sound again");
}

#[test]
fn p3_a_folio_among_entries_and_a_wrong_count() {
    sees(&[3], |w, f| {
        let folio = w.alloc_folio(f.inode, 7);
        w.set_page_entry(f.inode, 7, PageEntry::Folio(folio));
    });
    sees(&[3], |w, f| w.inodes[f.inode].nrpages += 1);
    sees(&[3, 12], |w, f| w.inodes[f.inode].s_dax = false);
}

#[test]
fn p4_an_entry_or_a_page_of_another_block() {
    sees(&[4], |w, f| w.set_page_entry(f.inode, 1, PageEntry::Dax(DaxEntry::of_pfn(3, false))));
    sees(&[4], |w, f| w.tables.update(f.mm, f.page, |_| Pte::new(Frame::pmem(SbId(0), 3), true)));
    sees(&[4, 6], |w, f| {
        w.clear_page_entry(f.inode, 0);
    });
}

#[test]
fn p5_p6_p8_p9_of_page_tables() {
    sees(&[5], |w, f| {
        let folio = w.alloc_folio(f.inode, 9);
        assert_ne!(folio, FolioId::NONE);
        w.tables.set_pte(f.mm, f.page + 1, Pte::new(Frame::folio(folio), false));
    });
    sees(&[6], |w, f| w.inodes[f.inode].pages.set_tag(&mut w.nodes, 0, Tag::Dirty, false));
    sees(&[8], |w, f| w.tables.set_pte(f.mm, f.page + 1, Pte::new(Frame::ZERO, true).made_writable()));
    sees(&[9], |w, f| w.tables.set_pte(f.mm, f.page + 3, Pte::new(Frame::ZERO, true)));
}

#[test]
fn p10_an_entry_that_stays_locked() {
    sees(&[10], |w, f| {
        let Some(PageEntry::Dax(entry)) = w.page_entry(f.inode, 0) else { panic!("an entry is there") };
        w.set_page_entry(f.inode, 0, PageEntry::Dax(entry.locked()));
    });
}

/// An operation that breaks something in one step and mends it in the next.
fn inside<R: Runtime<Fs = MemFs>>(rt: &R, op: Op, property: u8, inode: InodeId, page: u64) {
    let saved = rt.step(Op::new("look").read(Object::WORLD), |w| w.clone());
    rt.step(op, |w| break_property(w, property, rt.task(), inode, page));
    rt.step(Op::new("mend").write(Object::file(FileId(0))), |w| {
        let findings = w.findings.clone();
        w.clone_from(&saved);
        w.findings = findings;
    });
}

fn break_property(w: &mut World<MemFs>, property: u8, task: TaskId, inode: InodeId, page: u64) {
    let mm = w.tasks.mm(task);
    let zero = Pte::new(Frame::ZERO, true);
    match property {
        3 => w.inodes[inode].nrpages += 1,
        4 => w.set_page_entry(inode, 1, PageEntry::Dax(DaxEntry::of_pfn(3, false))),
        5 => {
            let folio = w.alloc_folio(inode, 9);
            w.tables.set_pte(mm, page + 1, Pte::new(Frame::folio(folio), false));
        }
        6 => w.inodes[inode].pages.set_tag(&mut w.nodes, 0, Tag::Dirty, false),
        8 => w.tables.set_pte(mm, page + 1, zero.made_writable()),
        9 => w.tables.set_pte(mm, page + 3, zero),
        11 => w.tasks.hold(task, LockId::journal(SbId(0)), Mode::Shared),
        12 => {
            let root = w.ilookup(SbId(0), 2).expect("the root is cached");
            w.inodes[root].s_dax = true;
        }
        14 => {
            w.inodes[inode].refs = 0;
            w.inodes[inode].state |= IState::DONTCACHE;
        }
        other => panic!("nobody knows how to break P{other}"),
    }
}

/// What a step that breaks a property says that it writes.
fn breaking(property: u8, inode: InodeId, mm: MmId) -> Op {
    let op = Op::new("break");
    match property {
        3 | 4 | 6 => op.write(Object::entries(inode)),
        11 => op.write(Object::lock(LockId::journal(SbId(0)))),
        12 => op.write(Object::s_dax(inode)),
        14 => op.write(Object::life(inode)),
        _ => op.write(Object::ptes(mm)),
    }
}

#[test]
fn what_is_broken_and_mended_inside_one_operation_is_seen_behind_the_step_that_broke_it() {
    for property in properties::<MemFs>().iter().filter(|p| matches!(p.judged, Judged::State(_))) {
        let number = property.number;
        // Of a world at rest alone: in the middle of things an entry may be locked.
        if property.broken_by.is_empty() {
            assert_eq!(number, 10);
            continue;
        }
        for judged in [false, true] {
            let Fixture { mut world, inode, mm, page } = fixture();
            world.judge_steps(judged);
            let task = world.tasks.ids().next().expect("a task");
            let mut stepper = Stepper::new(world);
            if number == 11 {
                let at = stepper.start(task, |rt| freeze(rt, SbId(0)).expect("freeze"));
                while stepper.pending(at).is_some() {
                    stepper.advance(at);
                }
            }
            assert_eq!(stepper.with(|w| w.findings.list().to_vec()), [], "before P{number}");
            stepper.start(task, move |rt| inside(rt, breaking(number, inode, mm), number, inode, page));
            assert!(stepper.run(|_, enabled| enabled[0]));
            stepper.with(|w| {
                assert_eq!(check_all(w), [], "at rest nothing is seen of P{number}");
                let seen: Vec<u8> = w
                    .findings
                    .list()
                    .iter()
                    .map(|finding| match finding {
                        Finding::Broken { property, what } => {
                            assert!(what.ends_with(&format!(", behind `break` of {task}")), "{what}");
                            *property
                        }
                        other => panic!("{other:?}"),
                    })
                    .collect();
                let expected = if judged { vec![number] } else { Vec::new() };
                assert_eq!(seen, expected, "P{number}: {:?}", w.findings.list());
            });
        }
    }
}

#[test]
fn the_table_is_by_number_and_says_how_each_is_judged() {
    let all = properties::<MemFs>();
    for (property, number) in all.iter().zip(1..) {
        assert_eq!(property.number, number);
        assert!(!property.says.is_empty());
        let by_state = matches!(property.judged, Judged::State(_));
        assert!(by_state || property.broken_by.is_empty(), "P{number}");
    }
}
