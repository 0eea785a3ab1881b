//! The same operations on ext4, on the file system in memory and on the model.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use daxkit_format::dax::DaxMode;
use daxkit_format::dax::fileattr::XFlags;
use daxkit_mount::fail::{Fail, Signal};
use daxkit_mount::fs::FileSystem;
use daxkit_mount::fs::ext4::Ext4Fs;
use daxkit_mount::fs::mem::{MemFs, MemOptions};
use daxkit_mount::ids::FileId;
use daxkit_mount::mm::access::{load, store};
use daxkit_mount::mm::mmap::{MapRequest, Share, mmap, munmap};
use daxkit_mount::vfs::space::Fallocate;
use daxkit_mount::vfs::{attr, fileattr, icache, namespace, open, rw, setattr, space, statx, sync};
use daxkit_mount::world::objects::{OpenFlags, VmFlags};

use crate::machine::{Machine, SB, at, ext4, save, write_whole};
use crate::model::{How, Kind, Model, No};
use crate::random::Random;
use crate::shared::oracle::Mounted;
use crate::shared::tools::{succeed, system};
use crate::shared::{judge, oracle};

const PAGE: u64 = 4096;
/// Largest file.
const MOST: u64 = 24 * PAGE;
/// When everything happens: behind the clock of any mke2fs that ran before.
const NOW: i64 = 4_000_000_000;

/// What an operation came to, as far as both file systems must agree.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Out {
    Done,
    Count(usize),
    Bytes(Vec<u8>),
    Fails(Fail),
}

fn told<T>(done: Result<T, Fail>, out: impl FnOnce(T) -> Out) -> Out {
    done.map_or_else(Out::Fails, out)
}

fn done(done: Result<(), Fail>) -> Out {
    told(done, |()| Out::Done)
}

/// Bytes that count up from a first one: short to print.
#[derive(Debug, Clone, Copy)]
struct Data {
    first: u8,
    len: u64,
}

impl Data {
    fn bytes(self) -> Vec<u8> {
        (0..self.len).map(|n| self.first.wrapping_add(n as u8)).collect()
    }
}

#[derive(Debug, Clone)]
enum Op {
    Creat(String),
    Mkdir(String),
    Symlink(String, Vec<u8>),
    Mkfifo(String),
    Link(String, String),
    Unlink(String),
    Rmdir(String),
    Rename(String, String, How),
    /// A file is opened and kept, by its place among those that are open.
    Open(usize, String),
    Close(usize),
    Write(usize, u64, Data),
    Read(usize, u64, u64),
    Truncate(usize, u64),
    Fallocate(usize, Fallocate, u64, u64),
    Store(usize, u64, Vec<u8>),
    Load(usize, u64, u64),
    Fsync(usize),
    SetXattr(usize, Vec<u8>, Option<Vec<u8>>),
    Chmod(usize, u16),
    Chown(usize, u32, u32),
    ToggleDax(usize),
    DropCaches,
    Sync,
}

/// One side: a machine and what it has open.
struct Side<F: FileSystem> {
    machine: Machine<F>,
    open: BTreeMap<usize, (FileId, u64)>,
}

impl<F: FileSystem> Side<F> {
    fn new(fs: F, dax: DaxMode, now: i64) -> Self {
        Self { machine: Machine::of(fs, dax, now), open: BTreeMap::new() }
    }

    fn run(&mut self, op: &Op) -> Out {
        let rt = &self.machine.rt;
        let file = |slot: &usize| self.open[slot].0;
        match op {
            Op::Creat(path) => {
                let flags = OpenFlags::RDWR | OpenFlags::CREAT | OpenFlags::EXCL;
                done(open::open(rt, at(path), flags, 0o644).and_then(|file| open::close(rt, file)))
            }
            Op::Mkdir(path) => done(namespace::mkdir(rt, at(path), 0o755)),
            Op::Symlink(path, target) => done(namespace::symlink(rt, target, at(path))),
            Op::Mkfifo(path) => done(namespace::mknod(rt, at(path), 0o1_0644, 0)),
            Op::Link(old, new) => done(namespace::link(rt, at(old), at(new))),
            Op::Unlink(path) => done(namespace::unlink(rt, at(path))),
            Op::Rmdir(path) => done(namespace::rmdir(rt, at(path))),
            Op::Rename(old, new, how) => {
                let how = match how {
                    How::Replace => daxkit_mount::fs::Rename::Replace,
                    How::NoReplace => daxkit_mount::fs::Rename::NoReplace,
                    How::Exchange => daxkit_mount::fs::Rename::Exchange,
                };
                done(namespace::rename(rt, at(old), at(new), how))
            }
            Op::Open(slot, path) => {
                let flags = OpenFlags::RDWR | OpenFlags::NOFOLLOW;
                let opened = open::open(rt, at(path), flags, 0);
                let mapped = opened.and_then(|file| {
                    let prot = VmFlags::READ | VmFlags::WRITE;
                    let share = Share::Shared;
                    let wanted =
                        MapRequest { file: Some(file), offset: 0, len: MOST, prot, share, sync: false, address: None };
                    match mmap(rt, &wanted) {
                        Ok(map) => Ok((file, map)),
                        Err(fail) => open::close(rt, file).and(Err(fail)),
                    }
                });
                told(mapped, |mapped| {
                    self.open.insert(*slot, mapped);
                    Out::Done
                })
            }
            Op::Close(slot) => {
                let (file, map) = self.open.remove(slot).expect("it is open");
                done(munmap(rt, map, MOST).and_then(|()| open::close(rt, file)))
            }
            Op::Write(slot, offset, data) => told(rw::write(rt, file(slot), Some(*offset), &data.bytes()), Out::Count),
            Op::Read(slot, offset, len) => {
                let mut buf = vec![0; *len as usize];
                told(rw::read(rt, file(slot), Some(*offset), &mut buf), |n| Out::Bytes(buf[..n].to_vec()))
            }
            Op::Truncate(slot, size) => done(setattr::ftruncate(rt, file(slot), *size)),
            Op::Fallocate(slot, mode, offset, len) => done(space::fallocate(rt, file(slot), *mode, *offset, *len)),
            Op::Store(slot, offset, data) => done(store(rt, self.open[slot].1 + offset, data)),
            Op::Load(slot, offset, len) => {
                let mut buf = vec![0; *len as usize];
                told(load(rt, self.open[slot].1 + offset, &mut buf), |()| Out::Bytes(buf))
            }
            Op::Fsync(slot) => done(sync::fsync(rt, file(slot), false)),
            Op::SetXattr(slot, name, Some(value)) => done(attr::fsetxattr(rt, file(slot), name, value)),
            Op::SetXattr(slot, name, None) => done(attr::fremovexattr(rt, file(slot), name)),
            Op::Chmod(slot, mode) => done(attr::fchmod(rt, file(slot), *mode)),
            Op::Chown(slot, uid, gid) => done(attr::fchown(rt, file(slot), *uid, *gid)),
            Op::ToggleDax(slot) => {
                let file = file(slot);
                let toggled = fileattr::ioctl_fsgetxattr(rt, file).and_then(|old| {
                    let mut xflags = old.xflags;
                    xflags.toggle(XFlags::DAX);
                    fileattr::ioctl_fssetxattr(rt, file, xflags, 0, 0, 0)
                });
                done(toggled)
            }
            Op::DropCaches => done(icache::drop_caches(rt, 3)),
            Op::Sync => done(sync::sync(rt)),
        }
    }

    fn close_all(&mut self) {
        for slot in self.open.keys().copied().collect::<Vec<_>>() {
            assert_eq!(self.run(&Op::Close(slot)), Out::Done);
        }
    }

    /// Everything that lies below the root must be what the model says.
    fn compare(&self, model: &Model) {
        let rt = &self.machine.rt;
        let mut found = Vec::new();
        let mut dirs = vec![String::new()];
        while let Some(dir) = dirs.pop() {
            for name in namespace::readdir(rt, at(&format!("/{dir}"))).expect("readdir") {
                let name = String::from_utf8(name.name).expect("names are ASCII");
                if dir.is_empty() && name == "lost+found" {
                    continue;
                }
                let path = format!("{dir}/{name}");
                if model.names.get(&path).is_some_and(|node| model.is_dir(*node)) {
                    dirs.push(path.clone());
                }
                found.push(path);
            }
        }
        found.sort();
        let expected: Vec<&String> = model.names.keys().filter(|path| !path.is_empty()).collect();
        assert_eq!(found.iter().collect::<Vec<_>>(), expected);
        for (path, node) in model.names.iter().filter(|(path, _)| !path.is_empty()) {
            let wanted = &model.nodes[node];
            if let Kind::Link(target) = &wanted.kind {
                assert_eq!(&namespace::readlink(rt, at(path)).expect("readlink"), target);
                continue;
            }
            let stat = statx::statx(rt, at(path), false).expect("statx");
            let ownership = (stat.nlink, stat.mode & 0o7777, stat.uid, stat.gid);
            assert_eq!(ownership, (model.links(*node), wanted.mode, wanted.uid, wanted.gid), "{path}");
            if wanted.kind == Kind::Fifo {
                continue;
            }
            let flags = if wanted.kind == Kind::Dir { OpenFlags::DIRECTORY } else { OpenFlags::empty() };
            let file = open::open(rt, at(path), flags, 0).expect("open");
            let xflags = fileattr::ioctl_fsgetxattr(rt, file).expect("fsgetxattr").xflags;
            assert_eq!(xflags.contains(XFlags::DAX), wanted.dax, "{path}");
            for (name, value) in &wanted.xattrs {
                assert_eq!(&attr::fgetxattr(rt, file, name).expect("fgetxattr"), value, "{path}");
            }
            if let Kind::File(bytes) = &wanted.kind {
                assert_eq!(stat.size, bytes.len() as u64, "{path}");
                let mut buf = vec![0; bytes.len() + 1];
                let n = rw::read(rt, file, Some(0), &mut buf).expect("read");
                let differs = buf[..n].iter().zip(bytes).position(|(a, b)| a != b);
                assert_eq!((n, differs), (bytes.len(), None), "{path}");
            }
            open::close(rt, file).expect("close");
        }
    }
}

/// What is open, for the model.
struct Driver {
    random: Random,
    model: Model,
    /// Slot to node.
    open: BTreeMap<usize, u64>,
    /// Small files lie inside their inodes.
    inline: bool,
}

const SLOTS: u64 = 4;

impl Driver {
    /// A path, of what is there or not.
    fn path(&mut self) -> String {
        let dirs: Vec<String> = self
            .model
            .names
            .iter()
            .filter(|(_, node)| self.model.is_dir(**node))
            .map(|(path, _)| path.clone())
            .collect();
        let dir = self.random.of(&dirs).clone();
        let long = self.random.below(12) == 0;
        let name = self.random.below(14);
        if long { format!("{dir}/{}{name}", "n".repeat(60)) } else { format!("{dir}/{name}") }
    }

    fn there(&mut self) -> String {
        let paths: Vec<String> = self.model.names.keys().filter(|path| !path.is_empty()).cloned().collect();
        if paths.is_empty() || self.random.below(8) == 0 { self.path() } else { self.random.of(&paths).clone() }
    }

    fn slot(&mut self) -> Option<usize> {
        let open: Vec<usize> = self.open.keys().copied().collect();
        (!open.is_empty()).then(|| *self.random.of(&open))
    }

    fn data(&mut self) -> Data {
        let len = match self.random.below(4) {
            0 => 1 + self.random.below(3 * PAGE),
            1 => 1 + self.random.below(160),
            _ => 1 + self.random.below(24),
        };
        Data { first: self.random.next() as u8, len }
    }

    fn next(&mut self) -> Op {
        let path = self.path();
        // A tree that only grows becomes slow, and never full.
        let crowded = self.model.names.len() > 120;
        match self.random.below(100) {
            0..8 if crowded => Op::Unlink(self.there()),
            8..13 if crowded => Op::Rmdir(self.there()),
            0..5 => Op::Creat(path),
            5..8 => Op::Mkdir(path),
            8..10 => {
                let len = 1 + self.random.below(90) as usize;
                Op::Symlink(path, vec![b't'; len])
            }
            10..11 => Op::Mkfifo(path),
            11..13 => Op::Link(self.there(), path),
            13..16 => Op::Unlink(self.there()),
            16..17 => Op::Rmdir(self.there()),
            17..21 => {
                let how = *self.random.of(&[How::Replace, How::Replace, How::NoReplace, How::Exchange]);
                let old = self.there();
                Op::Rename(old, if self.random.below(2) == 0 { path } else { self.there() }, how)
            }
            21..22 => Op::DropCaches,
            22..23 => Op::Sync,
            n => match self.slot() {
                None => {
                    let slot = (0..SLOTS as usize).find(|slot| !self.open.contains_key(slot)).expect("none is open");
                    Op::Open(slot, self.there())
                }
                Some(slot) => self.on_file(n, slot),
            },
        }
    }

    fn on_file(&mut self, n: u64, slot: usize) -> Op {
        let offset = self.random.below(MOST - 4 * PAGE);
        // Sometimes near the beginning, where small files are.
        let offset = if self.random.below(3) == 0 { offset % 200 } else { offset };
        let inside = 8.min(PAGE - offset % PAGE);
        match n {
            23..27 => match (0..SLOTS as usize).find(|slot| !self.open.contains_key(slot)) {
                Some(free) => Op::Open(free, self.there()),
                None => Op::Close(slot),
            },
            27..29 => Op::Close(slot),
            29..44 => Op::Write(slot, offset, self.data()),
            44..56 => Op::Read(slot, offset, 1 + self.random.below(2 * PAGE)),
            56..61 => Op::Truncate(slot, self.random.below(MOST)),
            61..68 => {
                let mode = *self.random.of(&[
                    Fallocate::Punch,
                    Fallocate::ZeroKeepSize,
                    Fallocate::Allocate,
                    Fallocate::KeepSize,
                    Fallocate::Zero,
                ]);
                Op::Fallocate(slot, mode, offset, 1 + self.random.below(3 * PAGE))
            }
            68..70 => {
                let mode = *self.random.of(&[Fallocate::Collapse, Fallocate::Insert]);
                Op::Fallocate(slot, mode, offset / PAGE * PAGE, PAGE * (1 + self.random.below(2)))
            }
            70..80 => Op::Store(slot, offset, self.random.next().to_le_bytes()[..inside as usize].to_vec()),
            80..88 => Op::Load(slot, offset, inside),
            88..91 => Op::Fsync(slot),
            91..94 => {
                let name = format!("user.{}", self.random.below(5)).into_bytes();
                let value = (self.random.below(3) != 0).then(|| vec![b'v'; self.random.below(300) as usize]);
                Op::SetXattr(slot, name, value)
            }
            94..95 => Op::Chmod(slot, 0o600 + self.random.below(0o200) as u16),
            95..96 => Op::Chown(slot, self.random.below(3) as u32, self.random.below(70_000) as u32),
            // Content inside the inode and the flag exclude each other, and who has which is not the model's to know.
            _ if self.inline => Op::Fsync(slot),
            _ => Op::ToggleDax(slot),
        }
    }

    /// What the model expects; `None` where only the two file systems must agree.
    fn expect(&mut self, op: &Op) -> Option<Out> {
        let model = &mut self.model;
        let said =
            |done: Result<(), No>| Some(done.map_or_else(|no| Out::Fails(Fail::Errno(errno(no))), |()| Out::Done));
        match op {
            Op::Creat(path) => said(model.make(path, Kind::File(Vec::new()), 0o644).map(drop)),
            Op::Mkdir(path) => said(model.make(path, Kind::Dir, 0o755).map(drop)),
            Op::Symlink(path, target) => said(model.make(path, Kind::Link(target.clone()), 0o777).map(drop)),
            Op::Mkfifo(path) => said(model.make(path, Kind::Fifo, 0o644).map(drop)),
            Op::Link(old, new) => said(model.link(old, new)),
            Op::Unlink(path) => said(model.remove(path, false).map(drop)),
            Op::Rmdir(path) => said(model.remove(path, true).map(drop)),
            Op::Rename(old, new, how) => said(model.rename(old, new, *how)),
            Op::Open(slot, path) => {
                let found = model.find(path);
                match found {
                    Ok(node) if matches!(model.nodes[&node].kind, Kind::File(_)) => {
                        self.open.insert(*slot, node);
                        Some(Out::Done)
                    }
                    Ok(_) => None,
                    Err(no) => said(Err(no)),
                }
            }
            Op::Close(slot) => {
                self.open.remove(slot);
                Some(Out::Done)
            }
            Op::Write(slot, offset, data) => {
                let (bytes, data) = (model.bytes(self.open[slot]), data.bytes());
                let end = *offset as usize + data.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*offset as usize..end].copy_from_slice(&data);
                Some(Out::Count(data.len()))
            }
            Op::Read(slot, offset, len) => {
                let bytes = model.bytes(self.open[slot]);
                let end = bytes.len().min((offset + len) as usize);
                Some(Out::Bytes(bytes.get(*offset as usize..end).unwrap_or_default().to_vec()))
            }
            Op::Truncate(slot, size) => {
                model.bytes(self.open[slot]).resize(*size as usize, 0);
                Some(Out::Done)
            }
            Op::Fallocate(slot, mode, offset, len) => {
                fallocate(model.bytes(self.open[slot]), *mode, *offset as usize, *len as usize)
            }
            Op::Store(slot, offset, data) => {
                let bytes = model.bytes(self.open[slot]);
                if offset / PAGE >= (bytes.len() as u64).div_ceil(PAGE) {
                    return Some(Out::Fails(Fail::Signal(Signal::BusAdrErr)));
                }
                let from = *offset as usize;
                let end = bytes.len().min(from + data.len());
                if from < end {
                    bytes[from..end].copy_from_slice(&data[..end - from]);
                }
                Some(Out::Done)
            }
            Op::Load(slot, offset, len) => {
                let bytes = model.bytes(self.open[slot]);
                if offset / PAGE >= (bytes.len() as u64).div_ceil(PAGE) {
                    return Some(Out::Fails(Fail::Signal(Signal::BusAdrErr)));
                }
                // What lies behind the end in the last page is nobody's promise.
                let (from, end) = (*offset as usize, (offset + len) as usize);
                (end <= bytes.len()).then(|| Out::Bytes(bytes[from..end].to_vec()))
            }
            Op::SetXattr(slot, name, value) => {
                let node = model.nodes.get_mut(&self.open[slot]).expect("it is open");
                match value {
                    Some(value) => {
                        node.xattrs.insert(name.clone(), value.clone());
                    }
                    None if node.xattrs.remove(name).is_none() => return said(Err(No::Value)),
                    None => {}
                }
                Some(Out::Done)
            }
            Op::Chmod(slot, mode) => {
                model.nodes.get_mut(&self.open[slot]).expect("it is open").mode = *mode;
                Some(Out::Done)
            }
            Op::Chown(slot, uid, gid) => {
                let node = model.nodes.get_mut(&self.open[slot]).expect("it is open");
                (node.uid, node.gid) = (*uid, *gid);
                Some(Out::Done)
            }
            Op::ToggleDax(slot) => {
                let node = model.nodes.get_mut(&self.open[slot]).expect("it is open");
                node.dax = !node.dax;
                Some(Out::Done)
            }
            Op::Fsync(_) | Op::DropCaches | Op::Sync => Some(Out::Done),
        }
    }
}

fn errno(no: No) -> daxkit_format::dax::Errno {
    use daxkit_format::dax::Errno;
    match no {
        No::Entry => Errno::ENOENT,
        No::Exists => Errno::EEXIST,
        No::IsDir => Errno::EISDIR,
        No::NotDir => Errno::ENOTDIR,
        No::NotEmpty => Errno::ENOTEMPTY,
        No::Invalid => Errno::EINVAL,
        No::Permission => Errno::EPERM,
        No::Value => Errno::ENODATA,
    }
}

fn fallocate(bytes: &mut Vec<u8>, mode: Fallocate, offset: usize, len: usize) -> Option<Out> {
    let (size, end) = (bytes.len(), offset + len);
    let zero = |bytes: &mut Vec<u8>| {
        if offset < size {
            bytes[offset..end.min(size)].fill(0);
        }
    };
    match mode {
        Fallocate::Allocate => bytes.resize(size.max(end), 0),
        Fallocate::KeepSize => {}
        // Nobody asks for these here: blocks are not shared.
        Fallocate::Unshare | Fallocate::UnshareKeepSize => return None,
        Fallocate::Punch | Fallocate::ZeroKeepSize => zero(bytes),
        Fallocate::Zero => {
            zero(bytes);
            bytes.resize(size.max(end), 0);
        }
        Fallocate::Collapse if end >= size => return Some(Out::Fails(Fail::Errno(errno(No::Invalid)))),
        Fallocate::Collapse => {
            bytes.drain(offset..end);
        }
        Fallocate::Insert if offset >= size => return Some(Out::Fails(Fail::Errno(errno(No::Invalid)))),
        Fallocate::Insert => {
            bytes.splice(offset..offset, std::iter::repeat_n(0, len));
        }
    }
    Some(Out::Done)
}

/// An image of a kind that mke2fs makes.
fn make(dir: &Path, name: &str, options: &str) -> std::path::PathBuf {
    let image = dir.join(name);
    let mut command = system("mke2fs");
    command.args(["-q", "-F", "-b", "4096"]).args(options.split_whitespace()).arg(&image).arg("16M");
    succeed(&mut command).expect("mke2fs makes the image");
    image
}

/// The tree that the kernel shows of an image must be the model's.
fn compare_with_kernel(image: &Path, model: &Model, scratch: &Path) {
    let mounted = Mounted::new(image, &scratch.join("mnt"), "ro").expect("a loop mount");
    for (path, node) in model.names.iter().filter(|(path, _)| !path.is_empty()) {
        let host = mounted.path().join(&path[1..]);
        match &model.nodes[node].kind {
            Kind::File(bytes) => {
                assert!(&fs::read(&host).expect("it can be read") == bytes, "{path} differs in the kernel")
            }
            Kind::Link(target) => {
                let there = fs::read_link(&host).expect("it is a link");
                assert_eq!(there.as_os_str().as_encoded_bytes(), target);
            }
            Kind::Dir => assert!(fs::symlink_metadata(&host).expect("it is there").is_dir()),
            Kind::Fifo => assert!(!fs::symlink_metadata(&host).expect("it is there").is_file()),
        }
    }
    mounted.unmount().expect("umount");
}

/// What lies in the memory at any moment is what a mount can go on with: the last commit counts, data that was written since lies in
/// blocks that were nobody's.
fn pull_the_plug(machine: &Machine<Ext4Fs>, image: &Path, context: &str) {
    let memory = machine.shared.with(|w| w.sb(SB).fs.memory());
    let again = Ext4Fs::mount(memory, false, NOW * 2).unwrap_or_else(|e| panic!("{e}\n{context}"));
    write_whole(&again, image);
    judge::both(image).unwrap_or_else(|e| panic!("after a power cut: {e}\n{context}"));
}

/// One run on one kind of image, in rounds: each ends with an unmount, the judges, and the next mount.
fn run(options: &str, dax: DaxMode, seed: u64, rounds: u64, operations: u64) {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let image = make(scratch.path(), "image", options);
    let mut mem_fs =
        MemFs::new(MemOptions { size: 16 << 20, inodes: 4096, ..MemOptions::default() }).expect("a device");
    let mut driver = Driver {
        random: Random(seed),
        model: Model::new(),
        open: BTreeMap::new(),
        inline: options.contains("inline_data"),
    };
    for round in 0..rounds {
        let now = NOW + i64::try_from(round).expect("few rounds") * 1000;
        let mut real = Side::new(ext4(&image, now).expect("it mounts"), dax, now);
        let mut mem = Side::new(mem_fs, dax, now);
        let mut last = Vec::new();
        for n in 0..operations {
            let op = driver.next();
            let context = || format!("{options}, seed {seed}, round {round}, operation {n}: {op:?}\nbefore: {last:?}");
            // The model is told first: it says what is open.
            let expected = driver.expect(&op);
            let (got, other) = (real.run(&op), mem.run(&op));
            if let Some(expected) = &expected {
                assert!(got == *expected, "ext4: {got:?}, the model: {expected:?}\n{}", context());
            }
            assert!(
                got == other || matches!(op, Op::Load(..)) && expected.is_none(),
                "ext4: {got:?}, mem: {other:?}\n{}",
                context()
            );
            if n % (operations / 3).max(500) == 499 {
                pull_the_plug(&real.machine, &scratch.path().join("unplugged"), &context());
            }
            if last.len() >= 8 {
                last.remove(0);
            }
            last.push(op);
        }
        real.compare(&driver.model);
        mem.compare(&driver.model);
        real.close_all();
        mem.close_all();
        driver.open.clear();
        let fs = real.machine.umount();
        save(&fs, &image);
        judge::both(&image).unwrap_or_else(|e| panic!("{options}, seed {seed}, round {round}: {e}"));
        compare_with_kernel(&image, &driver.model, scratch.path());
        mem_fs = mem.machine.umount();
    }
    let _ = oracle::dumpe2fs(&image).expect("dumpe2fs reads it");
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// Kinds of images: how a file is mapped, where small ones lie, what is counted, what makes a commit whole.
const KINDS: &[(&str, DaxMode)] = &[
    ("-t ext4", DaxMode::Inode),
    ("-t ext4", DaxMode::Always),
    ("-t ext4", DaxMode::Never),
    ("-t ext4 -O ^has_journal", DaxMode::Inode),
    ("-t ext4 -O quota,project -E quotatype=usrquota:grpquota:prjquota", DaxMode::Inode),
    ("-t ext4 -O inline_data", DaxMode::Never),
    ("-t ext4 -O orphan_file", DaxMode::Always),
    ("-t ext4 -O ^metadata_csum,uninit_bg,^64bit -I 128", DaxMode::Inode),
];

#[test]
fn ext4_memory_and_model_agree() {
    let seed = number("DAXKIT_SEED").unwrap_or(1);
    let all = if std::env::var_os("CI").is_some() { 1_000_000 } else { 32_000 };
    let operations = number("DAXKIT_OPERATIONS").unwrap_or(all);
    let rounds = (operations / 16_000).clamp(2, 16);
    println!("seed {seed}, {operations} operations, {rounds} rounds on each of {} kinds", KINDS.len());
    for (options, dax) in KINDS {
        run(options, *dax, seed, rounds, operations / (KINDS.len() as u64 * rounds));
    }
}
