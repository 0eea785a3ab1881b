//! The kernel of this machine, asked by real system calls on a mount in a scratch directory.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, Gid, Mode, OFlags, RenameFlags, SeekFrom, StatxFlags, Timespec, Timestamps,
    Uid, XattrFlags,
};
use rustix::io::Errno;

use crate::call::{Call, Fsx, On, Op, Out, PLAIN, Pages, Stat, Subject, User, When};
use crate::sys::{self, FsXattr, Raw};

/// Bits of `stx_attributes` that are compared: compressed, immutable, append, nodump, encrypted, verity, DAX.
const ATTRIBUTES: u64 = 0x0030_0874;

type Files = BTreeMap<usize, OwnedFd>;

struct State {
    at: PathBuf,
    window: u64,
    began: i64,
    files: Files,
    /// Memory of the program's own, in a file.
    bounce: OwnedFd,
}

/// A mount, what is open on it, and a thread that has given up its privileges.
pub(crate) struct Host {
    state: Arc<Mutex<State>>,
    calls: Sender<Op>,
    outs: Receiver<Out>,
}

fn told<T>(done: Result<T, Errno>, out: impl FnOnce(T) -> Out) -> Out {
    done.map_or_else(|errno| Out::Fails(errno.raw_os_error()), out)
}

fn done(done: Result<(), Errno>) -> Out {
    told(done, |()| Out::Done)
}

fn raw<T>(done: Raw<T>) -> Result<T, Errno> {
    done.map_err(Errno::from_raw_os_error)
}

fn time(when: When) -> Timespec {
    let (tv_sec, tv_nsec) = match when {
        When::Now => (0, rustix::fs::UTIME_NOW),
        When::Omit => (0, rustix::fs::UTIME_OMIT),
        When::At(seconds) => (seconds, 0),
    };
    Timespec { tv_sec, tv_nsec }
}

fn get_flags(fd: BorrowedFd<'_>) -> Result<u32, Errno> {
    let mut flags = [0; 2];
    raw(sys::ioctl(fd, sys::GETFLAGS, &mut flags)).map(|()| flags[0])
}

fn set_flags(fd: BorrowedFd<'_>, flags: u32) -> Result<(), Errno> {
    raw(sys::ioctl(fd, sys::SETFLAGS, &mut [flags, 0]))
}

fn get_fsx(fd: BorrowedFd<'_>) -> Result<FsXattr, Errno> {
    let mut fsx = FsXattr::default();
    raw(sys::ioctl(fd, sys::FSGETXATTR, &mut fsx)).map(|()| fsx)
}

fn set_fsx(fd: BorrowedFd<'_>, mut fsx: FsXattr) -> Result<(), Errno> {
    raw(sys::ioctl(fd, sys::FSSETXATTR, &mut fsx))
}

fn toggle_fsx(fd: BorrowedFd<'_>, change: impl FnOnce(u32) -> u32) -> Result<(), Errno> {
    let fsx = get_fsx(fd)?;
    set_fsx(fd, FsXattr { xflags: change(fsx.xflags), ..fsx })
}

impl State {
    fn path(&self, path: &str) -> PathBuf {
        // Not `join`, which knows absolute paths.
        let mut whole = self.at.clone().into_os_string();
        whole.push(path);
        whole.into()
    }

    fn file(&self, slot: usize) -> Result<BorrowedFd<'_>, Errno> {
        self.files.get(&slot).map(AsFd::as_fd).ok_or(Errno::BADF)
    }

    fn on<T>(&self, on: &On, f: impl FnOnce(BorrowedFd<'_>) -> Result<T, Errno>) -> Result<T, Errno> {
        match on {
            On::Slot(slot) => f(self.file(*slot)?),
            On::Path(path) => {
                f(rustix::fs::open(self.path(path), OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?.as_fd())
            }
        }
    }

    fn range(&self, pages: Pages) -> (u64, u64) {
        (self.window + pages.first * 4096, pages.count * 4096)
    }

    fn stat(&self, stat: rustix::fs::Statx) -> Out {
        let dir = stat.stx_mode >> 12 == 0o4;
        Out::Stat(Stat {
            mode: stat.stx_mode,
            nlink: stat.stx_nlink,
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            size: if dir { 0 } else { stat.stx_size },
            attributes: stat.stx_attributes.bits() & ATTRIBUTES,
            mtime: (stat.stx_mtime.tv_sec < self.began).then_some(stat.stx_mtime.tv_sec),
        })
    }

    fn run(&mut self, op: &Op) -> Out {
        match op {
            Op::Open(slot, path, flags, mode) => {
                let flags = OFlags::from_bits_retain(*flags) | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let opened = rustix::fs::open(self.path(path), flags, Mode::from_raw_mode(u32::from(*mode)));
                done(opened.map(|file| {
                    self.files.insert(*slot, file);
                }))
            }
            Op::Close(slot) => done(self.files.remove(slot).map(drop).ok_or(Errno::BADF)),
            Op::Read(slot, offset, len) => {
                let mut buf = vec![0; *len];
                let read = self.file(*slot).and_then(|file| match offset {
                    Some(offset) => rustix::io::pread(file, &mut buf, *offset),
                    None => rustix::io::read(file, &mut buf),
                });
                told(read, |n| Out::Bytes(buf[..n].to_vec()))
            }
            Op::Write(slot, offset, first, len) => {
                let data = crate::counting(*first, *len);
                let written = self.file(*slot).and_then(|file| match offset {
                    Some(offset) => rustix::io::pwrite(file, &data, *offset),
                    None => rustix::io::write(file, &data),
                });
                told(written, |n| Out::Number(n as u64))
            }
            Op::Seek(slot, offset, whence) => {
                let to = match whence {
                    0 => SeekFrom::Start(*offset as u64),
                    1 => SeekFrom::Current(*offset),
                    2 => SeekFrom::End(*offset),
                    3 => SeekFrom::Data(*offset as u64),
                    _ => SeekFrom::Hole(*offset as u64),
                };
                told(self.file(*slot).and_then(|file| rustix::fs::seek(file, to)), Out::Number)
            }
            Op::Truncate(path, size) => done(sys::truncate(&self.path(path), *size).map_err(Errno::from_raw_os_error)),
            Op::Ftruncate(slot, size) => {
                done(self.file(*slot).and_then(|file| rustix::fs::ftruncate(file, *size as u64)))
            }
            Op::Fallocate(slot, mode, offset, len) => done(self.file(*slot).and_then(|file| {
                let mode = FallocateFlags::from_bits_retain(*mode);
                rustix::fs::fallocate(file, mode, *offset as u64, *len as u64)
            })),
            Op::Fsync(slot, datasync) => done(self.file(*slot).and_then(|file| match datasync {
                true => rustix::fs::fdatasync(file),
                false => rustix::fs::fsync(file),
            })),
            Op::Sync => done(self.root().and_then(rustix::fs::syncfs)),
            Op::Remount(read_only) => done(raw(sys::remount(&self.at, *read_only))),
            Op::Freeze => done(self.freeze(sys::FIFREEZE)),
            Op::Thaw => done(self.freeze(sys::FITHAW)),
            Op::Frozen(ops) => {
                let frozen = done(self.freeze(sys::FIFREEZE));
                let mut outs = vec![frozen.clone()];
                if frozen == Out::Done {
                    outs.extend(ops.iter().map(|op| self.run(op)));
                    outs.push(done(self.freeze(sys::FITHAW)));
                }
                Out::Many(outs)
            }
            Op::Mmap { .. }
            | Op::Munmap(_)
            | Op::Mprotect(..)
            | Op::Mremap(..)
            | Op::Msync(..)
            | Op::Madvise(..)
            | Op::Load(..)
            | Op::Store(..)
            | Op::ReadTo(..)
            | Op::WriteFrom(..) => self.memory(op),
            _ => self.names_and_attributes(op),
        }
    }

    fn root(&self) -> Result<OwnedFd, Errno> {
        rustix::fs::open(&self.at, OFlags::RDONLY, Mode::empty())
    }

    fn freeze(&self, request: u32) -> Result<(), Errno> {
        raw(sys::ioctl(self.root()?.as_fd(), request, &mut [0, 0]))
    }

    fn names_and_attributes(&self, op: &Op) -> Out {
        match op {
            Op::Mkdir(path, mode) => done(rustix::fs::mkdir(self.path(path), Mode::from_raw_mode(u32::from(*mode)))),
            Op::Mknod(path, mode, rdev) => {
                let kind = match mode >> 12 {
                    0 => FileType::RegularFile,
                    _ => FileType::from_raw_mode(u32::from(*mode)),
                };
                let permissions = Mode::from_raw_mode(u32::from(*mode));
                done(rustix::fs::mknodat(CWD, self.path(path), kind, permissions, u64::from(*rdev)))
            }
            Op::Symlink(target, path) => done(rustix::fs::symlink(target.as_str(), self.path(path))),
            Op::Link(old, new) => done(rustix::fs::linkat(CWD, self.path(old), CWD, self.path(new), AtFlags::empty())),
            Op::LinkFile(slot, new) => done(
                self.file(*slot)
                    .and_then(|file| rustix::fs::linkat(file, "", CWD, self.path(new), AtFlags::EMPTY_PATH)),
            ),
            Op::Unlink(path) => done(rustix::fs::unlink(self.path(path))),
            Op::Rmdir(path) => done(rustix::fs::rmdir(self.path(path))),
            Op::Rename(old, new, how) => {
                let how = RenameFlags::from_bits_retain(*how);
                done(rustix::fs::renameat_with(CWD, self.path(old), CWD, self.path(new), how))
            }
            Op::Readlink(path) => {
                told(rustix::fs::readlink(self.path(path), Vec::new()), |target| Out::Bytes(target.into_bytes()))
            }
            Op::Readdir(path) => told(self.names(path), Out::Names),
            Op::Stat(path, follow) => {
                let flags = if *follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
                told(rustix::fs::statx(CWD, self.path(path), flags, StatxFlags::BASIC_STATS), |stat| self.stat(stat))
            }
            Op::Fstat(slot) => {
                let statx = |file| rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS);
                told(self.file(*slot).and_then(statx), |stat| self.stat(stat))
            }
            Op::Chmod(on, mode) => {
                done(self.on(on, |file| rustix::fs::fchmod(file, Mode::from_raw_mode(u32::from(*mode)))))
            }
            Op::Chown(on, uid, gid) => {
                done(self.on(on, |file| rustix::fs::fchown(file, Some(Uid::from_raw(*uid)), Some(Gid::from_raw(*gid)))))
            }
            Op::Utimens(on, a, m) => {
                let times = Timestamps { last_access: time(*a), last_modification: time(*m) };
                done(self.on(on, |file| rustix::fs::futimens(file, &times)))
            }
            Op::SetXattr(on, name, value) => done(self.on(on, |file| match value {
                Some(len) => rustix::fs::fsetxattr(file, name.as_str(), &crate::counting(1, *len), XattrFlags::empty()),
                None => rustix::fs::fremovexattr(file, name.as_str()),
            })),
            Op::GetXattr(on, name) => {
                let mut buf = vec![0; 1 << 16];
                told(self.on(on, |file| rustix::fs::fgetxattr(file, name.as_str(), &mut buf[..])), |n| {
                    Out::Bytes(buf[..n].to_vec())
                })
            }
            Op::ListXattr(on) => {
                let mut buf = vec![0; 1 << 16];
                told(self.on(on, |file| rustix::fs::flistxattr(file, &mut buf[..])), |n| {
                    let names = buf[..n].split(|b| *b == 0).filter(|name| !name.is_empty());
                    let mut names: Vec<Vec<u8>> = names.map(<[u8]>::to_vec).collect();
                    names.sort();
                    Out::Names(names)
                })
            }
            Op::GetFlags(on) => told(self.on(on, get_flags), |flags| Out::Number(u64::from(flags))),
            Op::SetFlags(on, flags) => done(self.on(on, |file| set_flags(file, *flags))),
            Op::ToggleFlags(on, bits) => done(self.on(on, |file| set_flags(file, get_flags(file)? ^ bits))),
            Op::GetFsx(on) => told(self.on(on, get_fsx), |fsx| {
                let FsXattr { xflags, extsize, projid, cowextsize, .. } = fsx;
                // Whether there is a place for attributes depends on the security modules.
                Out::Fsx(Fsx { xflags: xflags & !0x8000_0000, extsize, projid, cowextsize })
            }),
            Op::SetFsx(on, fsx) => {
                let Fsx { xflags, extsize, projid, cowextsize } = *fsx;
                let fsx = FsXattr { xflags, extsize, projid, cowextsize, ..FsXattr::default() };
                done(self.on(on, |file| set_fsx(file, fsx)))
            }
            Op::ToggleFsx(on, bits) => done(self.on(on, |file| toggle_fsx(file, |old| old ^ bits))),
            Op::Loosen(path) => done(self.on(&On::Path(path.clone()), |file| toggle_fsx(file, |old| old & !0x18))),
            other => unreachable!("{other:?} is run elsewhere"),
        }
    }

    fn names(&self, path: &str) -> Result<Vec<Vec<u8>>, Errno> {
        let dir = rustix::fs::open(self.path(path), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::new(dir)? {
            let name = entry?.file_name().to_owned();
            if ![c".", c".."].contains(&CStr::from_bytes_with_nul(name.as_bytes_with_nul()).expect("a name")) {
                names.push(name.into_bytes());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Loads from the window, as the kernel does for a `write`: what would be a signal is an error, or a short count.
    fn load(&self, offset: u64, len: usize) -> Result<Vec<u8>, Errno> {
        let n = raw(sys::write_from(self.bounce.as_fd(), 0, self.window + offset, len))?;
        let mut buf = vec![0; n];
        rustix::io::pread(&self.bounce, &mut buf, 0).map(|_| buf)
    }

    /// Stores into the window, as the kernel does for a `read`.
    fn store(&self, offset: u64, first: u8, len: usize) -> Result<usize, Errno> {
        rustix::io::pwrite(&self.bounce, &crate::counting(first, len), 0)?;
        raw(sys::read_to(self.bounce.as_fd(), 0, self.window + offset, len))
    }

    fn memory(&self, op: &Op) -> Out {
        match op {
            Op::Mmap { at, slot, offset, prot, flags } => {
                let file = match slot.map(|slot| self.file(slot)) {
                    Some(Err(errno)) => return done(Err(errno)),
                    Some(Ok(file)) => Some(file),
                    None => None,
                };
                let (address, len) = self.range(*at);
                let got = sys::mmap(address, len, *prot, *flags, file, offset * 4096);
                told(raw(got), |got| Out::Number(got - self.window))
            }
            Op::Munmap(pages) => done(raw(sys::munmap(self.range(*pages).0, self.range(*pages).1))),
            Op::Mprotect(pages, prot) => done(raw(sys::mprotect(self.range(*pages).0, self.range(*pages).1, *prot))),
            Op::Mremap(pages, count) => {
                let (address, len) = self.range(*pages);
                told(raw(sys::mremap(address, len, count * 4096)), |got| Out::Number(got - self.window))
            }
            Op::Msync(pages, flags) => done(raw(sys::msync(self.range(*pages).0, self.range(*pages).1, *flags))),
            Op::Madvise(pages, advice) => done(raw(sys::madvise(self.range(*pages).0, self.range(*pages).1, *advice))),
            Op::Load(offset, len) => told(self.load(*offset, *len), Out::Bytes),
            Op::Store(offset, first, len) => told(self.store(*offset, *first, *len), |n| Out::Number(n as u64)),
            Op::ReadTo(slot, offset, address, len) => {
                let read = |file| raw(sys::read_to(file, *offset, self.window + address, *len));
                told(self.file(*slot).and_then(read), |n| Out::Number(n as u64))
            }
            Op::WriteFrom(slot, offset, address, len) => {
                let write = |file| raw(sys::write_from(file, *offset, self.window + address, *len));
                told(self.file(*slot).and_then(write), |n| Out::Number(n as u64))
            }
            other => unreachable!("{other:?} is run elsewhere"),
        }
    }
}

/// The thread of the plain user: credentials are a thread's own to the kernel.
fn plain(state: &Mutex<State>, calls: &Receiver<Op>, outs: &Sender<Out>) {
    rustix::thread::set_thread_groups(&[]).expect("root");
    let (uid, gid) = (Uid::from_raw(PLAIN), Gid::from_raw(PLAIN));
    rustix::thread::set_thread_res_gid(gid, gid, gid).expect("root");
    rustix::thread::set_thread_res_uid(uid, uid, uid).expect("root");
    while let Ok(op) = calls.recv() {
        let out = state.lock().expect("nobody panicked").run(&op);
        if outs.send(out).is_err() {
            return;
        }
    }
}

impl Host {
    pub(crate) fn new(at: &Path, window: u64) -> Self {
        rustix::process::umask(Mode::empty());
        // No page is read that nobody asked for: what is cached counts for `SEEK_DATA`.
        let device = rustix::fs::stat(at).expect("the mount").st_dev;
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let ahead = format!("/sys/dev/block/{major}:{minor}/bdi/read_ahead_kb");
        std::fs::write(&ahead, "0").unwrap_or_else(|e| panic!("{ahead}: {e}"));
        let began = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
        let began = i64::try_from(began.as_secs()).expect("not that late") - 3600;
        let bounce = rustix::fs::memfd_create("bounce", rustix::fs::MemfdFlags::CLOEXEC).expect("a memory file");
        let state = State { at: at.to_owned(), window, began, files: Files::new(), bounce };
        let state = Arc::new(Mutex::new(state));
        let ((calls, asked), (answers, outs)) = (channel(), channel());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || plain(&shared, &asked, &answers));
        Self { state, calls, outs }
    }

    /// Closes and unmaps everything.
    pub(crate) fn leave(&mut self) {
        let mut state = self.state.lock().expect("nobody panicked");
        let _ = sys::munmap(state.window, crate::WINDOW * 4096);
        state.files.clear();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // The mount below is to be unmounted, whatever happened.
        if let Ok(mut state) = self.state.lock() {
            let _ = sys::munmap(state.window, crate::WINDOW * 4096);
            state.files.clear();
        }
    }
}

impl Subject for Host {
    fn call(&mut self, call: &Call) -> Out {
        if call.user == User::Root {
            return self.state.lock().expect("nobody panicked").run(&call.op);
        }
        self.calls.send(call.op.clone()).expect("the thread is there");
        self.outs.recv().expect("the thread is there")
    }
}
