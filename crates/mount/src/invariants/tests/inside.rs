//! Each property is broken and mended between two steps of one operation: whoever looks at rest only sees nothing, who looks after
//! each step sees it.

#![allow(clippy::disallowed_types, reason = "a test takes results out of the tasks that it drives")]

use std::cell::Cell;
use std::rc::Rc;

use daxkit_device::pmem::{Domain, Persistence};
use daxkit_format::dax::DaxMode;
use daxkit_format::dax::ext4::DataMode;
use daxkit_format::dax::fileattr::XFlags;
use daxkit_format::ext4::inode_flags::InodeFlags;

use crate::dax::entry::{DaxEntry, PageEntry};
use crate::fail::Fail;
use crate::fs::mem::{MemFs, MemOptions};
use crate::fs::{Backing, FileSystem};
use crate::ids::{FileId, InodeId, MmId, PAGE_SHIFT, PAGE_SIZE, SbId, TaskId, VmaId};
use crate::invariants::{PROPERTIES, SetOutcome, check_all, same_but_for_dax};
use crate::locks::{LockId, Mode};
use crate::mm::access::{load_u64, store_u64};
use crate::mm::mmap::{MapRequest, Share, mm_alloc, mmap, munmap};
use crate::mm::page_table::{Frame, Pte};
use crate::op::{Object, Op};
use crate::profile::{Personality, Profile};
use crate::runtime::Runtime;
use crate::runtime::stepping::{Stepped, Stepper};
use crate::vfs::mount::{MountRequest, mount};
use crate::vfs::namespace::At;
use crate::vfs::{fileattr, freeze, open, rw, setattr, sync};
use crate::wait::QueueKey;
use crate::world::World;
use crate::world::findings::Finding;
use crate::world::objects::{Aops, IState, OpenFlags, VmFlags, VmOps};
use crate::world::tasks::Cred;
use crate::xarray::Tag;

type Fs = MemFs<Persistence>;

const SB: SbId = SbId(0);
const FILE: FileId = FileId(0);
/// Who makes the operation.
const WORKER: TaskId = TaskId(0);
/// Who breaks and mends.
const BREAKER: TaskId = TaskId(1);
/// Who does nothing.
const IDLER: TaskId = TaskId(2);

/// Where things are: a file of three pages, the last of them a hole, of which four are mapped. The second was stored to.
#[derive(Debug, Clone, Copy)]
struct Place {
    inode: InodeId,
    mm: MmId,
    /// Address of the mapping.
    map: u64,
}

impl Place {
    const fn page(&self, index: u64) -> u64 {
        (self.map >> PAGE_SHIFT) + index
    }

    /// The block of a page of the file.
    fn block(&self, w: &World<Fs>, index: u64) -> u64 {
        let node = &w.inodes[self.inode];
        match w.sb(SB).fs.map(node.ino, index, 1).map(|extent| extent.backing) {
            Ok(Backing::Mapped(block) | Backing::Unwritten(block)) => block,
            other => panic!("page {index} has {other:?}"),
        }
    }

    /// Maps the block of a page of the file, with an entry.
    fn show(&self, w: &mut World<Fs>, index: u64, writable: bool) {
        let block = self.block(w, index);
        w.set_page_entry(self.inode, index, PageEntry::Dax(DaxEntry::of_pfn(block, false)));
        w.inodes[self.inode].pages.set_tag(&mut w.nodes, index, Tag::Dirty, writable);
        let pte = Pte::new(Frame::pmem(SB, block), true);
        w.tables.set_pte(self.mm, self.page(index), if writable { pte.made_writable() } else { pte });
    }

    /// Takes back what [`show`](Self::show) did, and the block.
    fn hide(&self, w: &mut World<Fs>, index: u64) {
        w.tables.set_pte(self.mm, self.page(index), Pte::NONE);
        w.clear_page_entry(self.inode, index);
        let ino = w.inodes[self.inode].ino;
        w.sb_mut(SB).fs.punch(ino, index, 1).expect("punch");
    }
}

/// How a property is broken, and what must be said of it.
struct Case {
    property: u8,
    dax: DaxMode,
    /// Done before anything is looked at.
    prelude: fn(&Stepped<'_, Fs>),
    operation: fn(&Stepped<'_, Fs>, Place),
    /// Before which step of the operation it is broken.
    before: &'static str,
    /// How many steps the operation makes until it is mended.
    steps: usize,
    /// What breaking and mending write.
    object: fn(Place) -> Object,
    harm: fn(&mut World<Fs>, Place),
    mend: fn(&mut World<Fs>, Place),
    /// Who is told of, in which step, and what.
    found: (TaskId, &'static str, &'static str),
}

const STORE: Case = Case {
    property: 0,
    dax: DaxMode::Always,
    prelude: |_| {},
    operation: |rt, place| store_u64(rt, place.map, 7).expect("store"),
    before: "dax_direct_access",
    steps: 0,
    object: |place| Object::entries(place.inode),
    harm: |_, _| {},
    mend: |_, _| {},
    found: (BREAKER, "break", ""),
};

const CASES: [Case; 13] = [
    Case {
        property: 1,
        before: "insert_pfn",
        steps: 1,
        object: |_| Object::vma(VmaId(0)),
        harm: |w, place| {
            let vma = w.mms[place.mm].vmas;
            w.vmas[vma].ops = VmOps::Ext4File;
        },
        mend: |w, place| {
            let vma = w.mms[place.mm].vmas;
            w.vmas[vma].ops = VmOps::Ext4Dax;
        },
        found: (WORKER, "insert_pfn", "vm_ops is of the page cache, vm_ops was of DAX in vma->vm_ops"),
        ..STORE
    },
    Case {
        property: 2,
        dax: DaxMode::Never,
        operation: |rt, _| {
            let out = rw::read(rt, FILE, Some(2 * PAGE_SIZE), &mut [0; 8]);
            assert_eq!(out, Err(Fail::Oops));
        },
        before: "a_ops->read_folio",
        steps: 2,
        object: |place| Object::aops(place.inode),
        harm: |w, place| w.inodes[place.inode].aops = Aops::Dax,
        mend: |w, place| w.inodes[place.inode].aops = Aops::PageCache,
        found: (WORKER, "oops", "call of the absent method dax_aops.read_folio"),
        ..STORE
    },
    Case {
        property: 3,
        harm: |w, place| {
            let folio = w.alloc_folio(place.inode, 7);
            w.set_page_entry(place.inode, 7, PageEntry::Folio(folio));
        },
        mend: |w, place| {
            let folio = w.find_folio(place.inode, 7).expect("it was put there");
            w.remove_folio(BREAKER, folio);
        },
        found: (BREAKER, "break", "folio0 at 0x7 of inode1, which is S_DAX"),
        ..STORE
    },
    Case {
        property: 4,
        harm: |w, place| w.set_page_entry(place.inode, 1, PageEntry::Dax(DaxEntry::of_pfn(3, false))),
        mend: |w, place| {
            let block = place.block(w, 1);
            w.set_page_entry(place.inode, 1, PageEntry::Dax(DaxEntry::of_pfn(block, false)));
        },
        found: (BREAKER, "break", "inode1 0x1 has pfn 0x3 order 0, the file Ok(Mapped(514))"),
        ..STORE
    },
    Case {
        property: 5,
        object: |place| Object::pte(place.mm, place.page(2)),
        harm: |w, place| {
            let folio = w.alloc_folio(place.inode, 9);
            w.tables.set_pte(place.mm, place.page(2), Pte::new(Frame::folio(folio), false));
        },
        mend: |w, place| {
            let pte = w.tables.translate(place.mm, place.page(2));
            w.tables.set_pte(place.mm, place.page(2), Pte::NONE);
            w.drop_mapped(pte);
        },
        found: (BREAKER, "break", "a page is mapped that left the mapping: PTE, inode1 0x2"),
        ..STORE
    },
    Case {
        property: 6,
        object: |place| crate::dax::entry::label(place.inode, 1),
        harm: |w, place| w.inodes[place.inode].pages.set_tag(&mut w.nodes, 1, Tag::Dirty, false),
        mend: |w, place| w.inodes[place.inode].pages.set_tag(&mut w.nodes, 1, Tag::Dirty, true),
        found: (BREAKER, "break", "a writable page whose entry is clean: PTE, inode1 0x1"),
        ..STORE
    },
    Case {
        property: 7,
        object: |place| Object::pte(place.mm, place.page(2)),
        harm: |w, place| {
            let ino = w.inodes[place.inode].ino;
            w.sb_mut(SB).fs.map_for_write(0, ino, 2, 1).expect("a block");
            place.show(w, 2, true);
        },
        mend: |w, place| place.hide(w, 2),
        found: (BREAKER, "break", "a page is writable that a crash would leave as Ok(Hole): PTE, inode1 0x2"),
        ..STORE
    },
    Case {
        property: 8,
        object: |place| Object::pte(place.mm, place.page(2)),
        harm: |w, place| {
            let ino = w.inodes[place.inode].ino;
            w.sb_mut(SB).fs.preallocate(ino, 2, 1).expect("a block");
            place.show(w, 2, false);
        },
        mend: |w, place| place.hide(w, 2),
        found: (BREAKER, "break", "a page is mapped whose block was never written: PTE, inode1 0x2"),
        ..STORE
    },
    Case {
        property: 9,
        object: |place| Object::size(place.inode),
        harm: |w, place| w.inodes[place.inode].disk.size = PAGE_SIZE,
        mend: |w, place| w.inodes[place.inode].disk.size = 3 * PAGE_SIZE,
        found: (BREAKER, "break", "a page past the end is mapped: PTE, inode1 0x1"),
        ..STORE
    },
    Case {
        property: 10,
        before: "grab_mapping_entry",
        object: |place| QueueKey::dax_entry(place.inode, 0, true).object(),
        harm: |w, place| w.queue_up(IDLER, QueueKey::dax_entry(place.inode, 0, true), true),
        mend: |w, _| {
            w.interrupt(IDLER);
            w.tasks.set_signal(IDLER, false);
        },
        found: (BREAKER, "break", "task2 sleeps though no entry at 0x0 of inode1 is locked"),
        ..STORE
    },
    Case {
        property: 11,
        prelude: |rt| freeze::freeze(rt, SB).expect("freeze"),
        operation: |rt, place| assert_eq!(load_u64(rt, place.map + 2 * PAGE_SIZE), Ok(0)),
        before: "i_size_read",
        object: |_| Object::lock(LockId::journal(SB)),
        harm: |w, _| w.tasks.hold(WORKER, LockId::journal(SB), Mode::Shared),
        mend: |w, _| {
            w.tasks.drop_held(WORKER, LockId::journal(SB));
        },
        found: (BREAKER, "break", "task0 holds jbd2_handle:0 of a file system that is frozen"),
        ..STORE
    },
    Case {
        property: 12,
        object: |place| Object::attr(place.inode),
        harm: |w, place| w.inodes[place.inode].disk.flags |= InodeFlags::ENCRYPT,
        mend: |w, place| w.inodes[place.inode].disk.flags -= InodeFlags::ENCRYPT,
        found: (BREAKER, "break", "S_DAX of inode1 is true, the rules say false"),
        ..STORE
    },
    Case {
        property: 14,
        object: |place| Object::life(place.inode),
        harm: |w, place| {
            w.inodes[place.inode].refs -= 1;
            w.inodes[place.inode].state |= IState::DONTCACHE;
        },
        mend: |w, place| {
            w.inodes[place.inode].refs += 1;
            w.inodes[place.inode].state -= IState::DONTCACHE;
        },
        found: (BREAKER, "break", "inode1 is marked I_DONTCACHE and kept without a reference"),
        ..STORE
    },
];

fn request(dax: DaxMode, profile: Profile) -> MountRequest<Fs> {
    let options = MemOptions { first_block: 513, ..MemOptions::default() };
    MountRequest {
        fs: MemFs::watched(options, Persistence::new(Domain::Adr)).expect("a device"),
        personality: Personality::Ext4,
        profile,
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

/// The world in which a case happens, and where things are in it.
fn world(dax: DaxMode, profile: Profile, prelude: fn(&Stepped<'_, Fs>)) -> (World<Fs>, Place) {
    let mut world = World::new();
    let mm = mm_alloc(&mut world);
    for _ in 0..3 {
        world.tasks.spawn(Cred::ROOT, mm);
    }
    let mut stepper = Stepper::new(world);
    let address = Rc::new(Cell::new(0));
    let out = Rc::clone(&address);
    stepper.start(WORKER, move |rt| {
        mount(rt, request(dax, profile)).expect("mount");
        let at = At { sb: SB, path: b"/f" };
        assert_eq!(open::open(rt, at, OpenFlags::RDWR | OpenFlags::CREAT, 0o644), Ok(FILE));
        rw::write(rt, FILE, Some(0), &[1; 2 * PAGE_SIZE as usize]).expect("write");
        setattr::ftruncate(rt, FILE, 3 * PAGE_SIZE).expect("truncate");
        sync::fsync(rt, FILE, false).expect("fsync");
        let prot = VmFlags::READ | VmFlags::WRITE;
        let (len, sync) = (4 * PAGE_SIZE, dax == DaxMode::Always);
        let share = if sync { Share::SharedValidate } else { Share::Shared };
        let wanted = MapRequest { file: Some(FILE), offset: 0, len, prot, share, sync, address: None };
        let map = mmap(rt, &wanted).expect("mmap");
        store_u64(rt, map + PAGE_SIZE, 1).expect("store");
        prelude(rt);
        out.set(map);
    });
    assert!(stepper.run(|_, enabled| enabled[0]));
    stepper.with(|w| {
        // A table stands there: what comes is a fault of one page.
        let place = Place { inode: w.files[FILE].inode, mm, map: address.get() };
        assert_eq!((w.findings.list(), &check_all(w)[..]), (&[][..], &[][..]));
        (w.clone(), place)
    })
}

/// Makes the operation, broken into, and gives what was found.
fn play(case: &'static Case, checked: bool) -> (Place, World<Fs>) {
    let (world, place) = world(case.dax, Profile::default(), case.prelude);
    let mut stepper = Stepper::new(world);
    stepper.check_properties(checked);
    let worker = stepper.start(WORKER, move |rt| (case.operation)(rt, place));
    let breaker = stepper.start(BREAKER, move |rt| {
        let op = |name| Op::new(name).write((case.object)(place));
        rt.step(op("break"), |w| (case.harm)(w, place));
        rt.step(op("mend"), |w| (case.mend)(w, place));
    });
    while stepper.pending(worker).expect("the step comes").op().name != case.before {
        stepper.advance(worker);
    }
    stepper.advance(breaker);
    for _ in 0..case.steps {
        stepper.advance(worker);
    }
    stepper.advance(breaker);
    let inside = stepper.pending(worker).is_some();
    assert!(inside || case.property == 2, "P{}: the operation is over", case.property);
    assert!(stepper.run(|_, enabled| enabled[0]), "P{}", case.property);
    (place, stepper.with(|w| w.clone()))
}

fn seen(case: &'static Case) {
    let number = case.property;
    let only_steps = |w: &World<Fs>| -> Vec<Finding> {
        w.findings.list().iter().filter(|found| matches!(found, Finding::BrokenAt { .. })).cloned().collect()
    };
    let (_, w) = play(case, false);
    assert_eq!(only_steps(&w), [], "P{number}: nobody has looked");
    assert_eq!(check_all(&w), [], "P{number}: nothing is left of it at rest");
    let (_, w) = play(case, true);
    let (task, step, what) = case.found;
    let found: Vec<_> = only_steps(&w)
        .into_iter()
        .map(|found| match found {
            Finding::BrokenAt { property, task, step, what } => (property, task, step, without_pte(&what)),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(found, [(number, task, step, what.to_owned())]);
    assert_eq!(check_all(&w), [], "P{number}");
}

/// An address is where the search for a free one left it: it says nothing here.
fn without_pte(what: &str) -> String {
    match (what.find(": mm"), what.rfind(", inode")) {
        (Some(from), Some(to)) => format!("{}: PTE{}", &what[..from], &what[to..]),
        _ => what.to_owned(),
    }
}

/// P13: a set call that changes no DAX bit, with a failure that a design might bring.
fn set_call_differs() {
    let run = |broken: bool| {
        let (world, place) = world(DaxMode::Inode, Profile::default(), |_| {});
        let mut stepper = Stepper::new(world);
        stepper.check_properties(true);
        let result = Rc::new(Cell::new(Ok(())));
        let out = Rc::clone(&result);
        let worker =
            stepper.start(WORKER, move |rt| out.set(fileattr::ioctl_fssetxattr(rt, FILE, XFlags::NOATIME, 0, 0, 0)));
        while stepper.pending(worker).expect("the step comes").op().name != "ext4_ioctl_setflags" {
            stepper.advance(worker);
        }
        stepper.with(|w| w.sb_mut(SB).shutdown = broken);
        stepper.advance(worker);
        stepper.with(|w| w.sb_mut(SB).shutdown = false);
        assert!(stepper.run(|_, enabled| enabled[0]));
        stepper.with(|w| {
            assert_eq!(w.findings.list(), []);
            assert_eq!(check_all(w), []);
            SetOutcome::of(w, place.inode, result.get())
        })
    };
    let (with, without) = (run(true), run(false));
    assert_eq!(same_but_for_dax(&without, &run(false)), None);
    let broken = same_but_for_dax(&with, &without).expect("they differ");
    assert_eq!((broken.property, broken.what.as_str()), (13, "the call ends with EIO, without it success"));
    let moved = SetOutcome { nrpages: without.nrpages + 1, ..without };
    let broken = same_but_for_dax(&moved, &without).expect("they differ");
    assert_eq!(broken.what, "the call leaves 3 pages, without it 2");
}

#[test]
fn every_property_is_broken_inside_an_operation_and_seen() {
    for property in &PROPERTIES {
        if property.number == 13 {
            set_call_differs();
            continue;
        }
        let cases: Vec<_> = CASES.iter().filter(|case| case.property == property.number).collect();
        assert!(!cases.is_empty(), "P{} ({}) is broken by no test", property.number, property.name);
        cases.into_iter().for_each(seen);
    }
}

#[test]
fn the_table_is_in_order() {
    for (at, property) in PROPERTIES.iter().enumerate() {
        assert_eq!(usize::from(property.number), at + 1, "{}", property.name);
    }
}

/// What Linux 5.8 did: the inode went with its dirty page cache, and nothing is left to be seen at rest.
#[test]
fn dirty_pages_that_go_with_a_marked_inode_are_seen() {
    let run = |version| {
        let (world, _) = world(DaxMode::Inode, Profile::by_name(version).expect("a profile"), |_| {});
        let mut stepper = Stepper::new(world);
        stepper.check_properties(true);
        stepper.start(IDLER, |rt| {
            let at = At { sb: SB, path: b"/g" };
            let file = open::open(rt, at, OpenFlags::RDWR | OpenFlags::CREAT, 0o644).expect("open");
            rw::write(rt, file, Some(0), b"lost?").expect("write");
            fileattr::ioctl_fssetxattr(rt, file, XFlags::DAX, 0, 0, 0).expect("set");
            open::close(rt, file).expect("close");
        });
        assert!(stepper.run(|_, enabled| enabled[0]));
        stepper.with(|w| {
            assert_eq!(check_all(w), []);
            w.findings.take()
        })
    };
    assert_eq!(run("5.11"), []);
    let what = "inode2 is freed with dirty pages".to_owned();
    assert_eq!(run("5.8"), [Finding::BrokenAt { property: 14, task: IDLER, step: "iput", what }]);
}

/// `write_inode_now` of a DAX inode writes its entries back, or what was stored would be lost to a later fsync.
#[test]
fn a_marked_dax_inode_goes_without_a_dirty_entry() {
    let (world, _) = world(DaxMode::Inode, Profile::default(), |_| {});
    let mut stepper = Stepper::new(world);
    stepper.check_properties(true);
    stepper.start(IDLER, |rt| {
        let at = At { sb: SB, path: b"/g" };
        let flip = |flags| {
            let file = open::open(rt, at, OpenFlags::RDWR | OpenFlags::CREAT, 0o644).expect("open");
            fileattr::ioctl_fssetxattr(rt, file, flags, 0, 0, 0).expect("set");
            file
        };
        open::close(rt, flip(XFlags::DAX)).expect("close");
        let file = flip(XFlags::empty());
        rw::write(rt, file, Some(0), &[1; PAGE_SIZE as usize]).expect("write");
        let prot = VmFlags::READ | VmFlags::WRITE;
        let (share, address) = (Share::Shared, None);
        let wanted = MapRequest { file: Some(file), offset: 0, len: PAGE_SIZE, prot, share, sync: false, address };
        let map = mmap(rt, &wanted).expect("mmap");
        store_u64(rt, map, 7).expect("store");
        munmap(rt, map, PAGE_SIZE).expect("munmap");
        open::close(rt, file).expect("close");
    });
    assert!(stepper.run(|_, enabled| enabled[0]));
    stepper.with(|w| {
        assert_eq!(w.findings.list(), []);
        assert_eq!(w.counters.pte, 1, "it was a DAX mapping");
    });
}
