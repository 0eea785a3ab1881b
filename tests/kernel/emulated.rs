//! The emulated kernel, asked by system calls as data.

use std::collections::BTreeMap;

use daxkit_format::dax::fileattr::XFlags;
use daxkit_mount::fail::Fail;
use daxkit_mount::fs::{FileSystem, Rename};
use daxkit_mount::ids::FileId;
use daxkit_mount::mm::access::{copy_from_user, copy_to_user};
use daxkit_mount::mm::madvise::{Advice, madvise};
use daxkit_mount::mm::mmap::{MapRequest, Share, mmap, mprotect, mremap, msync, munmap};
use daxkit_mount::runtime::Runtime;
use daxkit_mount::runtime::threads::Thread;
use daxkit_mount::vfs::attr::{self, Time};
use daxkit_mount::vfs::seek::{Whence, lseek};
use daxkit_mount::vfs::space::{Fallocate, fallocate};
use daxkit_mount::vfs::statx::Statx;
use daxkit_mount::vfs::{fileattr, freeze, mount, namespace, open, rw, setattr, statx, sync};
use daxkit_mount::world::objects::{OpenFlags, VmFlags};
use daxkit_mount::world::tasks::Cred;

use crate::call::{Call, Fsx, On, Op, Out, PLAIN, Pages, Stat, Subject, User, When};
use crate::machine::{Machine, SB, at};

type Done<T> = Result<T, Fail>;

const EBADF: Fail = Fail::Errno(daxkit_format::dax::Errno::EBADF);
const EINVAL: Fail = Fail::Errno(daxkit_format::dax::Errno::EINVAL);
const EFAULT: i32 = 14;

/// A machine, and what is open on it.
pub(crate) struct Emulated<F: FileSystem> {
    pub(crate) machine: Machine<F>,
    plain: Thread<F>,
    files: BTreeMap<usize, FileId>,
    /// First address of the window.
    window: u64,
    now: i64,
}

/// Numbers of `madvise`.
const ADVICE: [(u32, Advice); 8] = [
    (3, Advice::WillNeed),
    (4, Advice::DontNeed),
    (9, Advice::Remove),
    (10, Advice::DontFork),
    (20, Advice::Cold),
    (21, Advice::Pageout),
    (22, Advice::PopulateRead),
    (23, Advice::PopulateWrite),
];

/// Modes of `fallocate`, by their bits.
const MODES: [(u32, Fallocate); 9] = [
    (0, Fallocate::Allocate),
    (0x01, Fallocate::KeepSize),
    (0x03, Fallocate::Punch),
    (0x08, Fallocate::Collapse),
    (0x10, Fallocate::Zero),
    (0x11, Fallocate::ZeroKeepSize),
    (0x20, Fallocate::Insert),
    (0x40, Fallocate::Unshare),
    (0x41, Fallocate::UnshareKeepSize),
];

fn find<T: Copy>(table: &[(u32, T)], number: u32) -> Done<T> {
    table.iter().find(|(n, _)| *n == number).map(|(_, value)| *value).ok_or(EINVAL)
}

fn told<T>(done: Done<T>, out: impl FnOnce(T) -> Out) -> Out {
    match done {
        Ok(value) => out(value),
        Err(Fail::Errno(errno)) => Out::Fails(errno.number()),
        Err(Fail::Signal(_)) => Out::Fails(EFAULT),
        Err(Fail::Oops) => panic!("the emulated kernel crashed"),
    }
}

fn done(done: Done<()>) -> Out {
    told(done, |()| Out::Done)
}

fn time(when: When) -> Time {
    match when {
        When::Now => Time::Now,
        When::Omit => Time::Omit,
        When::At(seconds) => Time::At(seconds),
    }
}

/// What a program's signed number is to the emulated kernel, which takes none below 0.
fn unsigned(number: i64) -> Done<u64> {
    u64::try_from(number).map_err(|_| EINVAL)
}

impl<F: FileSystem> Emulated<F> {
    pub(crate) fn new(machine: Machine<F>, window: u64) -> Self {
        let root = machine.rt.task();
        let (task, now) = machine.shared.with(|w| {
            let mm = w.tasks.mm(root);
            (w.tasks.spawn(Cred::user(PLAIN), mm), w.now)
        });
        let plain = machine.shared.thread(task);
        Self { machine, plain, files: BTreeMap::new(), window, now }
    }

    /// Type and permissions of what a path or a slot leads to.
    pub(crate) fn mode(&self, on: &On, follow: bool) -> Option<u16> {
        let rt = &self.machine.rt;
        match on {
            On::Slot(slot) => statx::fstatx(rt, *self.files.get(slot)?).ok().map(|stat| stat.mode),
            On::Path(path) => statx::statx(rt, at(path), follow).ok().map(|stat| stat.mode),
        }
    }

    /// Whether a file has a hint for the size of its extents.
    pub(crate) fn has_hint(&self, slot: usize) -> bool {
        let rt = &self.machine.rt;
        let attr = self.file(slot).and_then(|file| fileattr::ioctl_fsgetxattr(rt, file));
        attr.is_ok_and(|attr| attr.extsize != 0)
    }

    /// Whether all of a range of the window can be read.
    pub(crate) fn can_load(&self, address: u64, len: usize) -> bool {
        copy_from_user(&self.machine.rt, self.window + address, &mut vec![0; len]).is_ok_and(|n| n == len)
    }

    fn rt(&self, user: User) -> &Thread<F> {
        if user == User::Root { &self.machine.rt } else { &self.plain }
    }

    fn file(&self, slot: usize) -> Done<FileId> {
        self.files.get(&slot).copied().ok_or(EBADF)
    }

    fn on<T>(&self, user: User, on: &On, f: impl FnOnce(&Thread<F>, FileId) -> Done<T>) -> Done<T> {
        let rt = self.rt(user);
        match on {
            On::Slot(slot) => f(rt, self.file(*slot)?),
            On::Path(path) => {
                let file = open::open(rt, at(path), OpenFlags::empty(), 0)?;
                let out = f(rt, file);
                open::close(rt, file)?;
                out
            }
        }
    }

    fn stat(&self, stat: Statx) -> Out {
        let dir = stat.mode >> 12 == 0o4;
        Out::Stat(Stat {
            mode: stat.mode,
            nlink: stat.nlink,
            uid: stat.uid,
            gid: stat.gid,
            size: if dir { 0 } else { stat.size },
            attributes: stat.attributes,
            mtime: (stat.mtime != self.now).then_some(stat.mtime),
        })
    }

    fn range(&self, pages: Pages) -> (u64, u64) {
        (self.window + pages.first * 4096, pages.count * 4096)
    }

    fn put(&mut self, slot: usize, file: FileId, user: User) -> Done<()> {
        match self.files.insert(slot, file) {
            Some(old) => open::close(self.rt(user), old),
            None => Ok(()),
        }
    }

    fn run(&mut self, user: User, op: &Op) -> Out {
        let rt = self.rt(user);
        match op {
            Op::Open(slot, path, flags, mode) => {
                let opened = open::open(rt, at(path), OpenFlags::from_bits_truncate(*flags), *mode);
                done(opened.and_then(|file| self.put(*slot, file, user)))
            }
            Op::Close(slot) => match self.files.remove(slot) {
                Some(file) => done(open::close(self.rt(user), file)),
                None => done(Err(EBADF)),
            },
            Op::Read(slot, offset, len) => {
                let mut buf = vec![0; *len];
                told(self.file(*slot).and_then(|file| rw::read(rt, file, *offset, &mut buf)), |n| {
                    Out::Bytes(buf[..n].to_vec())
                })
            }
            Op::Write(slot, offset, first, len) => {
                let data = crate::counting(*first, *len);
                let written = self.file(*slot).and_then(|file| rw::write(rt, file, *offset, &data));
                told(written, |n| Out::Number(n as u64))
            }
            Op::Seek(slot, offset, whence) => {
                let whence = [Whence::Set, Whence::Cur, Whence::End, Whence::Data, Whence::Hole][*whence as usize];
                let sought = self.file(*slot).and_then(|file| lseek(rt, file, *offset, whence));
                told(sought, Out::Number)
            }
            Op::Truncate(path, size) => done(unsigned(*size).and_then(|size| setattr::truncate(rt, at(path), size))),
            Op::Ftruncate(slot, size) => {
                done(self.file(*slot).and_then(|file| setattr::ftruncate(rt, file, unsigned(*size)?)))
            }
            Op::Fallocate(slot, mode, offset, len) => done(self.file(*slot).and_then(|file| {
                let (offset, len) = (unsigned(*offset)?, unsigned(*len)?);
                fallocate(rt, file, find(&MODES, *mode)?, offset, len)
            })),
            Op::Fsync(slot, datasync) => done(self.file(*slot).and_then(|file| sync::fsync(rt, file, *datasync))),
            Op::Sync => done(sync::syncfs(rt, SB)),
            Op::Remount(read_only) => done(mount::remount(rt, SB, None, None, Some(*read_only))),
            Op::Freeze => done(freeze::freeze(rt, SB)),
            Op::Thaw => done(freeze::thaw(rt, SB)),
            Op::Frozen(ops) => {
                let frozen = done(freeze::freeze(rt, SB));
                let mut outs = vec![frozen.clone()];
                if frozen == Out::Done {
                    outs.extend(ops.iter().map(|op| self.run(user, op)));
                    outs.push(done(freeze::thaw(self.rt(user), SB)));
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
            | Op::WriteFrom(..) => self.memory(user, op),
            _ => self.names_and_attributes(user, op),
        }
    }

    fn names_and_attributes(&self, user: User, op: &Op) -> Out {
        let rt = self.rt(user);
        match op {
            Op::Mkdir(path, mode) => done(namespace::mkdir(rt, at(path), *mode)),
            Op::Mknod(path, mode, rdev) => done(namespace::mknod(rt, at(path), *mode, *rdev)),
            Op::Symlink(target, path) => done(namespace::symlink(rt, target.as_bytes(), at(path))),
            Op::Link(old, new) => done(namespace::link(rt, at(old), at(new))),
            Op::LinkFile(slot, new) => {
                done(self.file(*slot).and_then(|file| namespace::linkat_file(rt, file, at(new))))
            }
            Op::Unlink(path) => done(namespace::unlink(rt, at(path))),
            Op::Rmdir(path) => done(namespace::rmdir(rt, at(path))),
            Op::Rename(old, new, how) => {
                let how = [Rename::Replace, Rename::NoReplace, Rename::Exchange][*how as usize];
                done(namespace::rename(rt, at(old), at(new), how))
            }
            Op::Readlink(path) => told(namespace::readlink(rt, at(path)), Out::Bytes),
            Op::Readdir(path) => told(namespace::readdir(rt, at(path)), |names| {
                let mut names: Vec<Vec<u8>> = names.into_iter().map(|name| name.name).collect();
                names.sort();
                Out::Names(names)
            }),
            Op::Stat(path, follow) => told(statx::statx(rt, at(path), *follow), |stat| self.stat(stat)),
            Op::Fstat(slot) => told(self.file(*slot).and_then(|file| statx::fstatx(rt, file)), |stat| self.stat(stat)),
            Op::Chmod(on, mode) => done(self.on(user, on, |rt, file| attr::fchmod(rt, file, *mode))),
            Op::Chown(on, uid, gid) => done(self.on(user, on, |rt, file| attr::fchown(rt, file, *uid, *gid))),
            Op::Utimens(on, a, m) => done(self.on(user, on, |rt, file| attr::futimens(rt, file, time(*a), time(*m)))),
            Op::SetXattr(on, name, value) => done(self.on(user, on, |rt, file| match value {
                Some(len) => attr::fsetxattr(rt, file, name.as_bytes(), &crate::counting(1, *len)),
                None => attr::fremovexattr(rt, file, name.as_bytes()),
            })),
            Op::GetXattr(on, name) => {
                told(self.on(user, on, |rt, file| attr::fgetxattr(rt, file, name.as_bytes())), Out::Bytes)
            }
            Op::ListXattr(on) => told(self.on(user, on, attr::flistxattr), Out::Names),
            Op::GetFlags(on) => {
                told(self.on(user, on, fileattr::ioctl_getflags), |flags| Out::Number(u64::from(flags)))
            }
            Op::SetFlags(on, flags) => done(self.on(user, on, |rt, file| fileattr::ioctl_setflags(rt, file, *flags))),
            Op::ToggleFlags(on, bits) => done(self.on(user, on, |rt, file| {
                let old = fileattr::ioctl_getflags(rt, file)?;
                fileattr::ioctl_setflags(rt, file, old ^ bits)
            })),
            Op::GetFsx(on) => told(self.on(user, on, fileattr::ioctl_fsgetxattr), |attr| {
                let (xflags, projid) = (attr.xflags.bits(), attr.projid);
                Out::Fsx(Fsx { xflags, extsize: attr.extsize, projid, cowextsize: attr.cowextsize })
            }),
            Op::SetFsx(on, fsx) => done(self.on(user, on, |rt, file| {
                let xflags = XFlags::from_bits_retain(fsx.xflags);
                fileattr::ioctl_fssetxattr(rt, file, xflags, fsx.extsize, fsx.cowextsize, fsx.projid)
            })),
            Op::ToggleFsx(on, bits) => done(self.on(user, on, |rt, file| {
                let old = fileattr::ioctl_fsgetxattr(rt, file)?;
                let xflags = old.xflags ^ XFlags::from_bits_retain(*bits);
                fileattr::ioctl_fssetxattr(rt, file, xflags, old.extsize, old.cowextsize, old.projid)
            })),
            Op::Loosen(path) => done(self.on(User::Root, &On::Path(path.clone()), |rt, file| {
                let old = fileattr::ioctl_fsgetxattr(rt, file)?;
                let xflags = old.xflags - XFlags::IMMUTABLE - XFlags::APPEND;
                fileattr::ioctl_fssetxattr(rt, file, xflags, old.extsize, old.cowextsize, old.projid)
            })),
            other => unreachable!("{other:?} is run elsewhere"),
        }
    }

    fn memory(&self, user: User, op: &Op) -> Out {
        let rt = self.rt(user);
        match op {
            Op::Mmap { at, slot, offset, prot, flags } => {
                let file = match slot.map(|slot| self.file(slot)) {
                    Some(Err(fail)) => return done(Err(fail)),
                    Some(Ok(file)) => Some(file),
                    None => None,
                };
                let (address, len) = self.range(*at);
                let share = match flags & 3 {
                    1 => Share::Shared,
                    2 => Share::Private,
                    _ => Share::SharedValidate,
                };
                let request = MapRequest {
                    file,
                    offset: offset * 4096,
                    len,
                    prot: VmFlags::from_bits_truncate(*prot),
                    share,
                    sync: flags & 0x8_0000 != 0,
                    address: Some(address),
                };
                told(mmap(rt, &request), |got| Out::Number(got - self.window))
            }
            Op::Munmap(pages) => done(munmap(rt, self.range(*pages).0, self.range(*pages).1)),
            Op::Mprotect(pages, prot) => {
                let (address, len) = self.range(*pages);
                done(mprotect(rt, address, len, VmFlags::from_bits_truncate(*prot)))
            }
            Op::Mremap(pages, count) => {
                let (address, len) = self.range(*pages);
                told(mremap(rt, address, len, count * 4096, false), |got| Out::Number(got - self.window))
            }
            Op::Msync(pages, flags) => {
                let (address, len) = self.range(*pages);
                done(msync(rt, address, len, flags & 4 != 0))
            }
            Op::Madvise(pages, advice) => {
                let (address, len) = self.range(*pages);
                done(find(&ADVICE, *advice).and_then(|advice| madvise(rt, address, len, advice)))
            }
            Op::Load(offset, len) => {
                let mut buf = vec![0; *len];
                told(copy_from_user(rt, self.window + offset, &mut buf), |n| match n {
                    0 if *len > 0 => Out::Fails(EFAULT),
                    n => Out::Bytes(buf[..n].to_vec()),
                })
            }
            Op::Store(offset, first, len) => {
                let data = crate::counting(*first, *len);
                told(copy_to_user(rt, self.window + offset, &data), |n| match n {
                    0 if *len > 0 => Out::Fails(EFAULT),
                    n => Out::Number(n as u64),
                })
            }
            Op::ReadTo(slot, offset, address, len) => {
                let address = self.window + address;
                let read = self.file(*slot).and_then(|file| rw::read_to_user(rt, file, Some(*offset), address, *len));
                told(read, |n| Out::Number(n as u64))
            }
            Op::WriteFrom(slot, offset, address, len) => {
                let address = self.window + address;
                let written =
                    self.file(*slot).and_then(|file| rw::write_from_user(rt, file, Some(*offset), address, *len));
                told(written, |n| Out::Number(n as u64))
            }
            other => unreachable!("{other:?} is run elsewhere"),
        }
    }

    /// Closes and unmaps everything.
    pub(crate) fn leave(&mut self) {
        let _ = munmap(&self.machine.rt, self.window, crate::WINDOW * 4096);
        for (_, file) in std::mem::take(&mut self.files) {
            open::close(&self.machine.rt, file).expect("close");
        }
    }
}

impl<F: FileSystem> Subject for Emulated<F> {
    fn call(&mut self, call: &Call) -> Out {
        self.run(call.user, &call.op)
    }
}
