//! Random operations on files and mappings, against a model that shares no code with the kernel: an array of bytes for each file.
//! Which mode a file is in changes under way; what it holds must not care.
//!
//! `DAXKIT_SEED` and `DAXKIT_OPERATIONS` say where to begin and how many; in CI a million are made.

mod common;

use common::{Machine, SB, at};
use daxkit_format::dax::DaxMode;
use daxkit_format::dax::fileattr::XFlags;
use daxkit_mount::fail::{Fail, Signal};
use daxkit_mount::ids::FileId;
use daxkit_mount::invariants::check_all;
use daxkit_mount::mm::access::{load, store};
use daxkit_mount::mm::mmap::{Share, msync, munmap};
use daxkit_mount::profile::Personality;
use daxkit_mount::vfs::space::Fallocate;
use daxkit_mount::vfs::{fileattr, icache, mount, namespace, open, rw, setattr, space, statx, sync};
use daxkit_mount::world::objects::VmFlags;

const PAGE: u64 = 4096;
const FILES: usize = 3;
/// Largest file.
const MOST: u64 = 24 * PAGE;
const RW: VmFlags = VmFlags::READ.union(VmFlags::WRITE);

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let word = self.0;
        (word ^ word >> 33).wrapping_mul(0xFF51_AFD7_ED55_8CCD) >> 16
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// What a file has to hold.
#[derive(Default, Clone)]
struct Model {
    bytes: Vec<u8>,
}

impl Model {
    fn write(&mut self, offset: u64, data: &[u8]) {
        let end = offset as usize + data.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[offset as usize..end].copy_from_slice(data);
    }
    fn read(&self, offset: u64, len: u64) -> Vec<u8> {
        let end = (offset + len).min(self.bytes.len() as u64) as usize;
        self.bytes.get(offset as usize..end).map_or(Vec::new(), <[u8]>::to_vec)
    }
    fn zero(&mut self, offset: u64, len: u64) {
        let end = ((offset + len) as usize).min(self.bytes.len());
        if (offset as usize) < end {
            self.bytes[offset as usize..end].fill(0);
        }
    }
    fn pages(&self) -> u64 {
        (self.bytes.len() as u64).div_ceil(PAGE)
    }
}

struct Open {
    file: FileId,
    /// Where all of the largest size is mapped, if it is.
    map: Option<u64>,
}

struct Run {
    machine: Machine,
    random: Random,
    models: Vec<Model>,
    open: Vec<Option<Open>>,
}

impl Run {
    fn name(which: usize) -> String {
        format!("/d/file-{which}")
    }

    fn file(&mut self, which: usize) -> FileId {
        if self.open[which].is_none() {
            let file = self.machine.open(&Self::name(which));
            self.open[which] = Some(Open { file, map: None });
        }
        self.open[which].as_ref().map(|open| open.file).expect("it was opened")
    }

    fn map(&mut self, which: usize) -> u64 {
        let file = self.file(which);
        if let Some(map) = self.open[which].as_ref().and_then(|open| open.map) {
            return map;
        }
        let map = self.machine.map(file, MOST, RW, Share::Shared);
        self.open[which].as_mut().expect("it was opened").map = Some(map);
        map
    }

    fn close(&mut self, which: usize) {
        if let Some(open) = self.open[which].take() {
            if let Some(map) = open.map {
                munmap(&self.machine.rt, map, MOST).expect("munmap");
            }
            open::close(&self.machine.rt, open.file).expect("close");
        }
    }

    fn data(&mut self) -> Vec<u8> {
        let len = if self.random.below(4) == 0 { 1 + self.random.below(3 * PAGE) } else { 1 + self.random.below(64) };
        let first = self.random.next() as u8;
        (0..len).map(|n| first.wrapping_add(n as u8)).collect()
    }

    fn step(&mut self) {
        let which = self.random.below(FILES as u64) as usize;
        let offset = self.random.below(MOST - 4 * PAGE);
        match self.random.below(100) {
            0..20 => {
                let (file, data) = (self.file(which), self.data());
                assert_eq!(rw::write(&self.machine.rt, file, Some(offset), &data), Ok(data.len()));
                self.models[which].write(offset, &data);
            }
            20..40 => {
                let (file, len) = (self.file(which), 1 + self.random.below(2 * PAGE));
                let mut buf = vec![0; len as usize];
                let n = rw::read(&self.machine.rt, file, Some(offset), &mut buf).expect("read");
                let expected = self.models[which].read(offset, len);
                let differs = buf[..n].iter().zip(&expected).position(|(a, b)| a != b);
                assert_eq!(
                    (n, differs),
                    (expected.len(), None),
                    "read at {offset:#x}, size {:#x}",
                    self.models[which].bytes.len()
                );
            }
            40..58 => self.access(which, offset, true),
            58..74 => self.access(which, offset, false),
            74..79 => {
                let (file, size) = (self.file(which), self.random.below(MOST));
                setattr::ftruncate(&self.machine.rt, file, size).expect("truncate");
                self.models[which].bytes.resize(size as usize, 0);
            }
            79..83 => {
                let (file, len) = (self.file(which), 1 + self.random.below(3 * PAGE));
                let (mode, keep) =
                    if self.random.below(2) == 0 { (Fallocate::Punch, true) } else { (Fallocate::ZeroKeepSize, true) };
                assert!(keep);
                space::fallocate(&self.machine.rt, file, mode, offset, len).expect("fallocate");
                self.models[which].zero(offset, len);
            }
            83..85 => {
                let (file, len) = (self.file(which), 1 + self.random.below(3 * PAGE));
                space::fallocate(&self.machine.rt, file, Fallocate::Allocate, offset, len).expect("fallocate");
                let model = &mut self.models[which].bytes;
                let size = model.len().max((offset + len) as usize);
                model.resize(size, 0);
            }
            85..89 => {
                let file = self.file(which);
                sync::fsync(&self.machine.rt, file, self.random.below(2) == 0).expect("fsync");
            }
            89..91 => {
                let map = self.map(which);
                msync(&self.machine.rt, map, MOST, true).expect("msync");
            }
            91..94 => self.close(which),
            94..97 => {
                let file = self.file(which);
                let old = fileattr::ioctl_fsgetxattr(&self.machine.rt, file).expect("get");
                let mut xflags = old.xflags;
                xflags.toggle(XFlags::DAX);
                fileattr::ioctl_fssetxattr(&self.machine.rt, file, xflags, 0, 0, 0).expect("set");
            }
            97..98 => icache::drop_caches(&self.machine.rt, 3).expect("drop_caches"),
            _ => {
                let other = self.random.below(FILES as u64) as usize;
                let (a, b) = (Self::name(which), Self::name(other));
                let how = daxkit_mount::fs::Rename::Exchange;
                namespace::rename(&self.machine.rt, at(&a), at(&b), how).expect("exchange");
                self.models.swap(which, other);
                self.open.swap(which, other);
            }
        }
    }

    /// A load or store of up to eight bytes of one page; past the last page it is a SIGBUS.
    fn access(&mut self, which: usize, offset: u64, write: bool) {
        let map = self.map(which);
        let len = (1 + self.random.below(8)).min(PAGE - offset % PAGE);
        let model = &mut self.models[which];
        let there = offset / PAGE < model.pages();
        let expected = if there { Ok(()) } else { Err(Fail::Signal(Signal::BusAdrErr)) };
        // What is stored behind the end in the last page is nobody's promise.
        let inside = len.min((model.bytes.len() as u64).saturating_sub(offset)) as usize;
        if write {
            let data = self.random.next().to_le_bytes();
            let done = store(&self.machine.rt, map + offset, &data[..len as usize]);
            assert_eq!(done, expected, "store at {offset:#x}, size {:#x}", self.models[which].bytes.len());
            self.models[which].write_inside(offset, &data[..inside]);
        } else {
            let mut buf = [0; 8];
            let done = load(&self.machine.rt, map + offset, &mut buf[..len as usize]);
            assert_eq!(done, expected, "load at {offset:#x}, size {:#x}", model.bytes.len());
            if there {
                assert_eq!(buf[..inside], model.read(offset, inside as u64));
            }
        }
    }

    fn compare(&mut self) {
        for which in 0..FILES {
            let file = self.file(which);
            let mut buf = vec![0; MOST as usize + 1];
            let n = rw::read(&self.machine.rt, file, Some(0), &mut buf).expect("read");
            assert!(buf[..n] == self.models[which].bytes, "file {which} differs");
            let size = statx::fstatx(&self.machine.rt, file).expect("statx").size;
            assert_eq!(size, self.models[which].bytes.len() as u64);
        }
        self.machine.shared.with(|w| {
            assert_eq!(w.findings.list(), []);
            assert_eq!(check_all(w), []);
        });
    }
}

impl Model {
    fn write_inside(&mut self, offset: u64, data: &[u8]) {
        if !data.is_empty() {
            self.write(offset, data);
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

fn run(personality: Personality, dax: Option<DaxMode>, seed: u64, operations: u64) {
    let machine = Machine::mount(personality, dax);
    namespace::mkdir(&machine.rt, at("/d"), 0o755).expect("mkdir");
    for which in 0..FILES {
        machine.creat(&Run::name(which));
    }
    let mut run = Run {
        machine,
        random: Random(seed),
        models: vec![Model::default(); FILES],
        open: (0..FILES).map(|_| None).collect(),
    };
    for n in 0..operations {
        run.step();
        if n % 1000 == 999 {
            run.compare();
        }
    }
    run.compare();
    for which in 0..FILES {
        run.close(which);
    }
    let models = run.models.clone();
    let fs = mount::umount(&run.machine.rt, SB).expect("umount");
    let again = Machine::of(fs, personality, Some(DaxMode::Always));
    for (which, model) in models.iter().enumerate() {
        let file = again.open(&Run::name(which));
        let mut buf = vec![0; MOST as usize + 1];
        let n = rw::read(&again.rt, file, Some(0), &mut buf).expect("read");
        assert!(buf[..n] == model.bytes, "file {which} differs after the next mount");
    }
}

#[test]
fn files_hold_what_was_put_into_them() {
    let seed = number("DAXKIT_SEED").unwrap_or(1);
    let all = if std::env::var_os("CI").is_some() { 1_000_000 } else { 60_000 };
    let operations = number("DAXKIT_OPERATIONS").unwrap_or(all);
    let modes = [Some(DaxMode::Inode), Some(DaxMode::Always), Some(DaxMode::Never)];
    println!("seed {seed}, {operations} operations");
    for personality in [Personality::Ext4, Personality::Xfs] {
        for dax in modes {
            run(personality, dax, seed, operations / 6);
        }
    }
}
