//! A machine with one mount, whatever is mounted, and system calls on it by path.

use std::path::Path;
use std::sync::Arc;

use daxkit_device::pmem::{NoWatch, PersistentMemory, Pmem, PmemOptions, Resident};
use daxkit_device::{FileDevice, FileOptions};
use daxkit_format::dax::DaxMode;
use daxkit_format::dax::ext4::DataMode;
use daxkit_mount::fs::FileSystem;
use daxkit_mount::fs::ext4::{Ext4Fs, MountError};
use daxkit_mount::ids::SbId;
use daxkit_mount::invariants::check_all;
use daxkit_mount::mm::mmap;
use daxkit_mount::profile::{Personality, Profile};
use daxkit_mount::runtime::threads::{Shared, Thread};
use daxkit_mount::vfs::mount::{MountRequest, mount, umount};
use daxkit_mount::vfs::namespace::At;
use daxkit_mount::world::World;
use daxkit_mount::world::tasks::Cred;

pub(crate) const SB: SbId = SbId(0);

/// A path on the mount.
pub(crate) fn at(path: &str) -> At<'_> {
    At { sb: SB, path: path.as_bytes() }
}

/// The memory that an image is read into.
pub(crate) fn memory(image: &Path) -> Pmem<Resident, NoWatch> {
    let file = FileDevice::open(image, FileOptions::read_only()).expect("the image opens");
    let base = Resident::read(&file).expect("the image is read");
    Pmem::new(Arc::new(base), PmemOptions::default(), NoWatch).expect("whole 2 MiB")
}

/// An image as the file system that a mount stands on.
pub(crate) fn ext4(image: &Path, now: i64) -> Result<Ext4Fs, MountError> {
    Ext4Fs::mount(memory(image), false, now)
}

/// Writes what a memory holds back into the image.
pub(crate) fn save(fs: &Ext4Fs, image: &Path) {
    let file = FileDevice::open(image, FileOptions::read_write()).expect("the image opens");
    fs.memory().write_back_to(&file).expect("the image is written");
}

/// Writes all of a memory into a new file.
pub(crate) fn write_whole(fs: &Ext4Fs, image: &Path) {
    let memory = fs.memory();
    let mut bytes = vec![0; memory.size() as usize];
    memory.peek(0, &mut bytes).expect("it is not poisoned");
    std::fs::write(image, bytes).expect("the image is written");
}

pub(crate) struct Machine<F: FileSystem> {
    pub(crate) shared: Arc<Shared<F>>,
    pub(crate) rt: Thread<F>,
}

impl<F: FileSystem> Machine<F> {
    pub(crate) fn of(fs: F, dax: DaxMode, now: i64) -> Self {
        // With inline data DAX is refused at mount: those images run without.
        let device_dax = !fs.features().inline_data;
        Self::mounted(fs, (Personality::Ext4, Profile::default()), device_dax.then_some(dax), device_dax, now)
    }

    /// By whose rules, with which option, and whether the device can DAX.
    pub(crate) fn mounted(
        fs: F,
        (personality, profile): (Personality, Profile),
        dax: Option<DaxMode>,
        device_dax: bool,
        now: i64,
    ) -> Self {
        let mut world = World::new();
        world.now = now;
        let mm = mmap::mm_alloc(&mut world);
        let task = world.tasks.spawn(Cred::ROOT, mm);
        let shared = Shared::new(world);
        let rt = shared.thread(task);
        let request = MountRequest {
            fs,
            personality,
            profile,
            dax,
            data: DataMode::Ordered,
            delalloc: true,
            device_dax,
            synchronous: true,
            partition: false,
            realtime: None,
            read_only: false,
        };
        mount(&rt, request).expect("mount");
        Self { shared, rt }
    }

    /// Nothing went wrong on the way.
    pub(crate) fn sound(&self) {
        self.shared.with(|w| {
            assert_eq!(w.findings.list(), []);
            assert_eq!(check_all(w), []);
        });
    }

    pub(crate) fn umount(&self) -> F {
        let fs = umount(&self.rt, SB).expect("umount");
        self.sound();
        fs
    }
}
