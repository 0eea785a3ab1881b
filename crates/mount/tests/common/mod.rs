//! A machine with one file system in memory, on real threads.

#![allow(clippy::disallowed_types, reason = "the threads of a machine share its world")]
#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]

use std::sync::Arc;

use daxkit_format::dax::DaxMode;
use daxkit_format::dax::ext4::DataMode;
use daxkit_mount::fs::mem::{MemFs, MemOptions};
use daxkit_mount::fs::{Backing, FileSystem, Media};
use daxkit_mount::ids::{FileId, SbId, TaskId};
use daxkit_mount::invariants::check_all;
use daxkit_mount::mm::mmap::{self, MapRequest, Share};
use daxkit_mount::profile::{Personality, Profile};
use daxkit_mount::runtime::Runtime;
use daxkit_mount::runtime::stepping::Stepper;
use daxkit_mount::runtime::threads::{Shared, Thread};
use daxkit_mount::vfs::mount::{MountRequest, mount};
use daxkit_mount::vfs::namespace::{At, peek};
use daxkit_mount::vfs::open;
use daxkit_mount::world::World;
use daxkit_mount::world::counters::Counters;
use daxkit_mount::world::objects::{OpenFlags, VmFlags};
use daxkit_mount::world::tasks::Cred;
use daxkit_mount::xarray::Tag;

/// The first mount.
pub const SB: SbId = SbId(0);

/// A path on the first mount.
pub fn at(path: &str) -> At<'_> {
    At { sb: SB, path: path.as_bytes() }
}

/// A file system with room for a few files.
pub fn mem(personality: Personality) -> MemFs {
    MemFs::new(MemOptions { xfs: personality == Personality::Xfs, ..MemOptions::default() }).expect("a device")
}

/// What mounts it.
pub fn request<F>(fs: F, personality: Personality, dax: Option<DaxMode>) -> MountRequest<F> {
    MountRequest {
        fs,
        personality,
        profile: Profile::default(),
        dax,
        data: DataMode::Ordered,
        delalloc: true,
        device_dax: true,
        synchronous: true,
        partition: false,
        realtime: None,
        read_only: false,
    }
}

/// Four tasks of one process and a mount, to be driven step by step.
pub fn stepped(request: MountRequest<MemFs>) -> Stepper<MemFs> {
    let mut world = World::new();
    world.check_labels(true);
    let mm = mmap::mm_alloc(&mut world);
    for _ in 0..4 {
        world.tasks.spawn(Cred::ROOT, mm);
    }
    let mut stepper = Stepper::new(world);
    let at = stepper.start(TaskId(0), |rt| {
        mount(rt, request).expect("mount");
    });
    assert!(as_far_as_it_goes(&mut stepper, at));
    stepper
}

/// Lets one program go until it has ended or sleeps. Whether it has ended.
pub fn as_far_as_it_goes(stepper: &mut Stepper<MemFs>, at: usize) -> bool {
    while stepper.enabled(at) {
        stepper.advance(at);
    }
    stepper.pending(at).is_none()
}

pub struct Machine {
    pub shared: Arc<Shared<MemFs>>,
    pub rt: Thread<MemFs>,
}

impl Machine {
    pub fn mount(personality: Personality, dax: Option<DaxMode>) -> Self {
        Self::of(mem(personality), personality, dax)
    }

    pub fn of(fs: MemFs, personality: Personality, dax: Option<DaxMode>) -> Self {
        let mut world = World::new();
        world.check_labels(true);
        let mm = mmap::mm_alloc(&mut world);
        let task = world.tasks.spawn(Cred::ROOT, mm);
        let shared = Shared::new(world);
        let rt = shared.thread(task);
        mount(&rt, request(fs, personality, dax)).expect("mount");
        Self { shared, rt }
    }

    /// Another thread of the same process.
    pub fn spawn(&self) -> Thread<MemFs> {
        let task = self.shared.with(|w| {
            let mm = w.tasks.mm(self.rt.task());
            w.tasks.spawn(Cred::ROOT, mm)
        });
        self.shared.thread(task)
    }

    pub fn fork(&self) -> Thread<MemFs> {
        let task = mmap::fork(&self.rt).expect("fork");
        self.shared.thread(task)
    }

    pub fn creat(&self, path: &str) {
        let flags = OpenFlags::RDWR | OpenFlags::CREAT | OpenFlags::EXCL;
        let file = open::open(&self.rt, at(path), flags, 0o644).expect("creat");
        open::close(&self.rt, file).expect("close");
    }

    pub fn open(&self, path: &str) -> FileId {
        open::open(&self.rt, at(path), OpenFlags::RDWR, 0).expect("open")
    }

    pub fn map(&self, file: FileId, len: u64, prot: VmFlags, share: Share) -> u64 {
        let request = MapRequest { file: Some(file), offset: 0, len, prot, share, sync: false, address: None };
        mmap::mmap(&self.rt, &request).expect("mmap")
    }

    pub fn map_at(&self, file: FileId, address: u64, len: u64) -> u64 {
        let prot = VmFlags::READ;
        let share = Share::Shared;
        let request = MapRequest { file: Some(file), offset: 0, len, prot, share, sync: false, address: Some(address) };
        mmap::mmap(&self.rt, &request).expect("mmap")
    }

    /// Dirty entries of `i_pages`.
    pub fn dirty_pages(&self, path: &str) -> usize {
        self.shared.with(|w| {
            let ino = peek(w, &at(path)).expect("it is there");
            let inode = w.ilookup(SB, ino).expect("it is cached");
            let pages = w.inodes[inode].pages;
            let (mut n, mut at) = (0, 0);
            while let Some(found) = pages.next_tagged(&w.nodes, at, u64::MAX >> 12, Some(Tag::Dirty)) {
                n += 1;
                at = found.index + (1 << found.order);
            }
            n
        })
    }

    pub fn fs_is_dirty(&self, path: &str) -> bool {
        self.shared.with(|w| {
            let ino = peek(w, &at(path)).expect("it is there");
            w.sb(SB).fs.is_dirty(ino)
        })
    }

    /// Poisons the first line of a block of a file.
    pub fn poison(&self, path: &str, block: u64) {
        self.shared.with(|w| {
            let ino = peek(w, &at(path)).expect("it is there");
            let fs = &mut w.sb_mut(SB).fs;
            let Ok(Backing::Mapped(at)) = fs.map(ino, block, 1).map(|extent| extent.backing) else {
                panic!("the block is not mapped")
            };
            fs.poison(at * 4096, 64);
        });
    }

    pub fn counters(&self) -> Counters {
        self.shared.with(|w| w.counters)
    }

    pub fn free_blocks(&self) -> u64 {
        self.shared.with(|w| w.sb(SB).fs.space().free_blocks)
    }

    pub fn task_of(rt: &Thread<MemFs>) -> TaskId {
        rt.task()
    }

    /// Waits, without a clock, until the task sleeps.
    pub fn until_asleep(&self, rt: &Thread<MemFs>) {
        while !self.shared.with(|w| w.tasks.is_blocked(rt.task())) {
            std::thread::yield_now();
        }
    }

    pub fn interrupt(&self, rt: &Thread<MemFs>) {
        self.shared.with(|w| w.interrupt(rt.task()));
    }

    /// Nothing went wrong on the way, and no lock is left.
    pub fn done(&self) {
        self.shared.with(|w| {
            assert_eq!(w.findings.list(), []);
            assert_eq!(check_all(w), []);
            for task in w.tasks.ids() {
                assert_eq!(w.tasks.held(task).collect::<Vec<_>>(), []);
            }
        });
    }
}
