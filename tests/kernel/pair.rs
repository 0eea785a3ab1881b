//! Both kernels on one file system, side by side.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use daxkit_format::dax::Kernel;
use daxkit_mount::fs::FileSystem;
use daxkit_mount::fs::ext4::Ext4Fs;
use daxkit_mount::fs::mem::{MemFs, MemOptions};
use daxkit_mount::profile::{Personality, Profile};
use daxkit_mount::runtime::Runtime;
use rustix::thread::CapabilitySet;

use crate::call::{Call, On, Op, Out, Subject, User, When};
use crate::emulated::Emulated;
use crate::host::Host;
use crate::machine::{Machine, ext4, save};
use crate::shared::judge;
use crate::shared::oracle::Mounted;
use crate::shared::tools::{succeed, system};

/// When everything happens for the emulated kernel.
const NOW: i64 = 4_000_000_000;
/// When the image was made.
const MADE: i64 = 1_000_000_000;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// ext4 over an image, and the kernel's over the same.
    Ext4,
    /// The file system in memory by XFS's rules, and XFS.
    Xfs,
}

impl Kind {
    fn name(self) -> &'static str {
        if self == Self::Ext4 { "ext4" } else { "xfs" }
    }

    /// No access times; and no blocks that nobody asked for, which XFS reserves behind the end.
    fn options(self) -> &'static str {
        if self == Self::Ext4 { "rw,noatime" } else { "rw,noatime,allocsize=4096" }
    }

    /// An empty image.
    pub(crate) fn make(self, image: &Path) {
        let mut command = match self {
            Self::Ext4 => {
                // With encryption there are no large folios (6.16), of which a part that is cut away stays dirty.
                let mut command = system("mke2fs");
                command.args(["-q", "-F", "-t", "ext4", "-b", "4096", "-O", "encrypt"]).arg(image).arg("32M");
                command.env("E2FSPROGS_FAKE_TIME", MADE.to_string());
                command
            }
            Self::Xfs => {
                let file = std::fs::File::create(image).expect("an image");
                file.set_len(320 << 20).expect("an image");
                let mut command = system("mkfs.xfs");
                command.args(["-q", "-f"]).arg(image);
                command
            }
        };
        succeed(&mut command).expect("an image");
    }
}

/// The emulated kernel over either file system.
trait Below: Subject {
    /// Whether blocks are allocated by a hint, which the file system in memory only knows of.
    fn has_hint(&self, slot: usize) -> bool;
    fn can_load(&self, address: u64, len: usize) -> bool;
    fn mode(&self, on: &On, follow: bool) -> Option<u16>;
    /// Closes all, unmounts, and writes the image, where there is one.
    fn end(self: Box<Self>, image: &Path);
}

/// What of a file system is kept when it has been unmounted.
trait Kept {
    fn keep(&self, image: &Path);
}

impl Kept for Ext4Fs {
    fn keep(&self, image: &Path) {
        save(self, image);
    }
}

/// It lies in no image.
impl Kept for MemFs {
    fn keep(&self, _: &Path) {}
}

impl<F: FileSystem + Kept> Below for Emulated<F> {
    fn mode(&self, on: &On, follow: bool) -> Option<u16> {
        Self::mode(self, on, follow)
    }

    fn can_load(&self, address: u64, len: usize) -> bool {
        Self::can_load(self, address, len)
    }

    fn has_hint(&self, slot: usize) -> bool {
        Self::has_hint(self, slot)
    }

    fn end(mut self: Box<Self>, image: &Path) {
        self.leave();
        self.machine.umount().keep(image);
    }
}

fn machine<F: FileSystem>(fs: F, personality: Personality, kernel: Kernel) -> Machine<F> {
    let machine = Machine::mounted(fs, (personality, Profile::for_kernel(kernel)), None, false, NOW);
    // Root is only as mighty as whoever runs this.
    let has = rustix::thread::capabilities(None).expect("capabilities").effective;
    let task = machine.rt.task();
    machine.shared.with(|w| {
        let mut cred = w.tasks.cred(task);
        cred.linux_immutable = has.contains(CapabilitySet::LINUX_IMMUTABLE);
        cred.sys_resource = has.contains(CapabilitySet::SYS_RESOURCE);
        w.tasks.set_cred(task, cred);
    });
    machine
}

/// The version of the kernel of this machine.
pub(crate) fn running() -> Kernel {
    let name = rustix::system::uname();
    let release = name.release().to_str().expect("a version");
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse().ok());
    Kernel(numbers.next().expect("a version"), numbers.next().expect("a version"))
}

/// Where two answers differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) call: Call,
    pub(crate) emulated: Out,
    pub(crate) host: Out,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{:?}: {:?}", self.call.user, self.call.op)?;
        writeln!(f, "  emulated: {:?}", self.emulated)?;
        write!(f, "  kernel:   {:?}", self.host)
    }
}

/// Both.
pub(crate) struct Pair {
    kind: Kind,
    emulated: Box<dyn Below>,
    host: Host,
    mounted: Mounted,
    dir: tempfile::TempDir,
}

/// Each pair has a window of its own in the addresses of this process.
static WINDOWS: AtomicU64 = AtomicU64::new(0);

impl Pair {
    /// Mounts copies of a new image.
    pub(crate) fn new(kind: Kind, kernel: Kernel) -> Self {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let searchable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(dir.path(), searchable).expect("a scratch directory");
        let image = dir.path().join("image");
        kind.make(&image);
        let window = 0x1000_0000_0000 + ((WINDOWS.fetch_add(1, Ordering::Relaxed) % 4096) << 32);
        let emulated: Box<dyn Below> = match kind {
            Kind::Ext4 => {
                std::fs::copy(&image, dir.path().join("emulated")).expect("a copy");
                let fs = ext4(&dir.path().join("emulated"), NOW).expect("it mounts");
                Box::new(Emulated::new(machine(fs, Personality::Ext4, kernel), window))
            }
            Kind::Xfs => {
                let options =
                    MemOptions { size: 320 << 20, inodes: 8192, xfs: true, reflink: true, ..MemOptions::default() };
                let fs = MemFs::new(options).expect("a device");
                Box::new(Emulated::new(machine(fs, Personality::Xfs, kernel), window))
            }
        };
        let at = dir.path().join("mnt");
        let mounted = Mounted::of(kind.name(), &image, &at, kind.options()).expect("root, and loop devices");
        let host = Host::new(mounted.path(), window);
        let mut pair = Self { kind, emulated, host, mounted, dir };
        // Everybody may do something.
        for op in [
            Op::Chmod(On::Path("/".to_owned()), 0o777),
            Op::Utimens(On::Path("/".to_owned()), When::At(7), When::At(7)),
        ] {
            pair.call(&Call::root(op)).expect("both do it");
        }
        pair
    }

    /// What is not asked of either: devices and sockets do not answer for the file system, FIFOs for their attributes only.
    fn is_left(&self, op: &Op) -> bool {
        const TYPES: [u16; 3] = [0o2, 0o6, 0o14];
        let mode = |on: &On| self.emulated.mode(on, true).unwrap_or(0o10_0000) >> 12;
        let path = |path: &String| mode(&On::Path(path.clone()));
        match op {
            // A row of `known`: a write of what cannot be read makes a file of ext4 longer all the same. And behind what could be
            // read, in a page that was new, XFS leaves what was in that memory before (seen with 6.18).
            Op::WriteFrom(_, _, address, len) if !self.emulated.can_load(*address, *len) => true,
            Op::Frozen(ops) => ops.iter().any(|op| self.is_left(op)),
            Op::Open(_, at, flags, _) if flags & 0o10_000_000 == 0 => {
                let kind = path(at);
                TYPES.contains(&kind) || kind == 0o1 && flags & 1 == 1
            }
            Op::Chmod(on, _)
            | Op::Chown(on, ..)
            | Op::Utimens(on, ..)
            | Op::SetXattr(on, ..)
            | Op::GetXattr(on, _)
            | Op::ListXattr(on)
            | Op::GetFlags(on)
            | Op::SetFlags(on, _)
            | Op::ToggleFlags(on, _)
            | Op::GetFsx(on)
            | Op::SetFsx(on, _)
            | Op::ToggleFsx(on, _) => matches!(on, On::Path(_)) && TYPES.contains(&mode(on)),
            Op::Loosen(at) => TYPES.contains(&path(at)),
            Op::Read(slot, ..)
            | Op::Write(slot, ..)
            | Op::Seek(slot, ..)
            | Op::Fsync(slot, _)
            | Op::ReadTo(slot, ..)
            | Op::WriteFrom(slot, ..)
            | Op::Mmap { slot: Some(slot), .. } => {
                let kind = mode(&On::Slot(*slot));
                // In a directory positions are each file system's own.
                kind == 0o1 || matches!(op, Op::Seek(..)) && (kind == 0o4 || self.emulated.has_hint(*slot))
            }
            _ => false,
        }
    }

    /// Asks both, and nothing but that.
    pub(crate) fn ask(&mut self, call: &Call) -> (Out, Out) {
        if self.is_left(&call.op) { (Out::Left, Out::Left) } else { self.ask_anyway(call) }
    }

    /// Asks both also what is left else.
    pub(crate) fn ask_anyway(&mut self, call: &Call) -> (Out, Out) {
        (self.emulated.call(call), self.host.call(call))
    }

    /// Asks both; their answers must be the same.
    pub(crate) fn call(&mut self, call: &Call) -> Result<Out, Box<Difference>> {
        let (emulated, host) = self.ask(call);
        if emulated == host {
            return Ok(host);
        }
        Err(Box::new(Difference { call: call.clone(), emulated, host }))
    }

    /// Unmounts both; the emulated kernel's image must be whole.
    pub(crate) fn end(self) -> Result<(), String> {
        let Self { kind, emulated, mut host, mounted, dir } = self;
        let image: PathBuf = dir.path().join("emulated");
        emulated.end(&image);
        host.leave();
        drop(host);
        mounted.unmount()?;
        if kind == Kind::Ext4 {
            judge::both(&image)?;
        }
        Ok(())
    }
}

/// Asks one call as root.
pub(crate) fn root(pair: &mut Pair, op: Op) -> Result<Out, Box<Difference>> {
    pair.call(&Call { user: User::Root, op })
}
