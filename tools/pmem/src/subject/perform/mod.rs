//! One operation of a scenario as calls of the emulated kernel.

mod attributes;
mod files;
mod memory;
mod mounts;
mod observe;

use std::cell::RefCell;
use std::rc::Rc;

use daxkit_format::dax::Errno;
use daxkit_mount::fail::{Fail, Signal};
use daxkit_mount::ids::{FileId, SbId};
use daxkit_mount::mm::mmap;
use daxkit_mount::runtime::Runtime;
use daxkit_mount::vfs::namespace::At;
use daxkit_mount::vfs::open;
use daxkit_mount::world::objects::OpenFlags;
use daxkit_mount::world::tasks::Cred;
use daxkit_scenario::ops::Operation as Do;
use daxkit_scenario::ops::args::{Address, Path, Target};
use daxkit_scenario::value::{Outcome, Value};

use super::names::{Names, Own, Region};
use super::state;

/// The result of a call, before it is an [`Outcome`].
type Done = Result<Value, Fail>;

pub(super) type SharedNames = Rc<RefCell<Names>>;

/// Most bytes that one operation may read into memory at once.
const MOST_READ: u64 = 64 << 20;

/// Does `operation` as the task of `rt`.
pub(super) fn perform<R: Runtime>(rt: &R, names: &SharedNames, operation: &Do) -> Outcome {
    let call = Call { rt, names };
    match call.run(operation) {
        Some(Ok(value)) => Outcome::Done(value),
        Some(Err(fail)) => failed(rt, fail),
        None => Outcome::Unsupported(format!("{} is not emulated", operation.name())),
    }
}

fn failed<R: Runtime>(rt: &R, fail: Fail) -> Outcome {
    match fail {
        Fail::Errno(errno) => Outcome::Failed(errno_of(errno)),
        Fail::Signal(signal) => Outcome::Signal(match signal {
            Signal::SegvMapErr | Signal::SegvAccErr => daxkit_scenario::errno::Signal::Sigsegv,
            Signal::BusAdrErr | Signal::BusMceErrAr => daxkit_scenario::errno::Signal::Sigbus,
        }),
        Fail::Oops => Outcome::Oops(state::last_oops(rt)),
    }
}

fn errno_of(errno: Errno) -> daxkit_scenario::errno::Errno {
    daxkit_scenario::errno::Errno::from_number(match errno {
        // What user space sees of an interrupted call that is not started again.
        Errno::ERESTARTSYS => Errno::EINTR.number(),
        other => other.number(),
    })
    .unwrap_or(daxkit_scenario::errno::Errno::EIO)
}

struct Call<'a, R> {
    rt: &'a R,
    names: &'a SharedNames,
}

impl<R: Runtime> Call<'_, R> {
    /// A name of the task's process.
    fn own(&self, name: &str) -> Own {
        (state::mm(self.rt, self.rt.task()), name.to_owned())
    }

    fn fd(&self, name: &str) -> Result<FileId, Fail> {
        let own = self.own(name);
        self.names.borrow().fds.get(&own).copied().ok_or(Fail::Errno(Errno::EBADF))
    }

    fn map(&self, name: &str) -> Result<Region, Fail> {
        let own = self.own(name);
        self.names.borrow().maps.get(&own).copied().ok_or(Fail::Signal(Signal::SegvMapErr))
    }

    fn fs(&self, name: Option<&str>) -> Result<SbId, Fail> {
        let names = self.names.borrow();
        let name = name.unwrap_or(&names.first_fs);
        names.fs.get(name).and_then(|fs| fs.sb).ok_or(Fail::Errno(Errno::ENODEV))
    }

    fn at<'p>(&self, path: &'p Path) -> Result<At<'p>, Fail> {
        Ok(At { sb: self.fs(path.fs.as_ref().map(|name| &*name.text))?, path: path.path.as_bytes() })
    }

    fn address(&self, at: &Address) -> Result<u64, Fail> {
        Ok(self.map(&at.map.0.text)?.address + at.offset)
    }

    fn range(&self, map: &str, offset: Option<u64>, length: Option<u64>) -> Result<(u64, u64), Fail> {
        let region = self.map(map)?;
        let offset = offset.unwrap_or(0);
        Ok((region.address + offset, length.unwrap_or(region.len.saturating_sub(offset))))
    }

    /// Opens a path for a call that wants a descriptor, as the programs of a shell do.
    fn with_target<T>(&self, target: &Target, f: impl FnOnce(FileId) -> Result<T, Fail>) -> Result<T, Fail> {
        self.with_open(target, OpenFlags::empty(), f)
    }

    /// Gets at the inode of a path without a system call on it: of whatever type, whoever asks, a symbolic link itself.
    fn with_inode<T>(&self, target: &Target, f: impl FnOnce(FileId) -> Result<T, Fail>) -> Result<T, Fail> {
        self.with_open(target, OpenFlags::PATH | OpenFlags::NOFOLLOW, f)
    }

    fn with_open<T>(
        &self,
        target: &Target,
        flags: OpenFlags,
        f: impl FnOnce(FileId) -> Result<T, Fail>,
    ) -> Result<T, Fail> {
        match target {
            Target::Fd(fd) => f(self.fd(&fd.0.text)?),
            Target::Path(path) => {
                let file = open::open(self.rt, self.at(path)?, flags, 0)?;
                let out = f(file);
                open::close(self.rt, file)?;
                out
            }
        }
    }

    /// With the last thread of a process go its mappings and its descriptors.
    fn exit(&self) -> Result<(), Fail> {
        let mm = state::mm(self.rt, self.rt.task());
        mmap::exit_mm(self.rt)?;
        if state::users(self.rt, mm) > 0 {
            return Ok(());
        }
        let open = {
            let mut names = self.names.borrow_mut();
            let open = names.descriptors(mm);
            names.fds.retain(|(of, _), _| *of != mm);
            names.maps.retain(|(of, _), _| *of != mm);
            open
        };
        open.into_iter().try_for_each(|(_, file)| open::close(self.rt, file))
    }

    fn run(&self, operation: &Do) -> Option<Done> {
        Some(match operation {
            Do::Open { .. }
            | Do::Close { .. }
            | Do::Dup { .. }
            | Do::Lseek { .. }
            | Do::Creat { .. }
            | Do::Read { .. }
            | Do::Pread { .. }
            | Do::Write { .. }
            | Do::Pwrite { .. }
            | Do::ReadInto { .. }
            | Do::WriteFrom { .. }
            | Do::Truncate { .. }
            | Do::Ftruncate { .. }
            | Do::Fallocate { .. }
            | Do::Fsync { .. }
            | Do::Fdatasync { .. }
            | Do::Fiemap { .. }
            | Do::Bmap { .. }
            | Do::Ficlone { .. }
            | Do::MoveExtents { .. }
            | Do::Swapon { .. }
            | Do::Swapoff { .. }
            | Do::Fadvise { .. } => return self.file(operation),
            Do::Mkdir { .. }
            | Do::Mknod { .. }
            | Do::Symlink { .. }
            | Do::Link { .. }
            | Do::Linkat { .. }
            | Do::Rename { .. }
            | Do::Unlink { .. }
            | Do::Rmdir { .. }
            | Do::Readdir { .. }
            | Do::Readlink { .. } => self.name(operation),
            Do::Mount { .. }
            | Do::Remount { .. }
            | Do::Umount { .. }
            | Do::MountOptions { .. }
            | Do::Statfs { .. }
            | Do::Sync {}
            | Do::Syncfs { .. }
            | Do::Freeze { .. }
            | Do::Thaw { .. }
            | Do::DropCaches { .. }
            | Do::Shutdown { .. }
            | Do::Sysctl { .. }
            | Do::Poison { .. } => {
                return self.mounts(operation);
            }
            Do::Mmap { .. }
            | Do::Munmap { .. }
            | Do::Mremap { .. }
            | Do::Mprotect { .. }
            | Do::Madvise { .. }
            | Do::Msync { .. }
            | Do::Load { .. }
            | Do::Store { .. }
            | Do::LoadBytes { .. }
            | Do::StoreBytes { .. }
            | Do::Clwb { .. }
            | Do::Clflush { .. }
            | Do::Sfence {}
            | Do::Pin { .. }
            | Do::Unpin { .. } => {
                // Where a task next runs in user mode a signal that was sent to it meets it.
                if is_access(operation) && state::take_sigbus(self.rt) {
                    return Some(Err(Fail::Signal(Signal::BusMceErrAr)));
                }
                return self.memory(operation);
            }
            Do::Fork { child } => mmap::fork(self.rt).and_then(|task| {
                let (parent, mm) = (state::mm(self.rt, self.rt.task()), state::mm(self.rt, task));
                let (open, mapped) = {
                    let names = self.names.borrow();
                    (names.descriptors(parent), names.mappings(parent))
                };
                for (_, file) in &open {
                    open::fget(self.rt, *file)?;
                }
                let mut names = self.names.borrow_mut();
                names.fds.extend(open.into_iter().map(|(name, file)| ((mm, name), file)));
                names.maps.extend(mapped.into_iter().map(|(name, region)| ((mm, name), region)));
                names.tasks.push(task);
                names.task_names.push(child.0.text.to_string());
                Ok(Value::Unit)
            }),
            Do::Exit {} => self.exit().map(|()| Value::Unit),
            Do::Setuid { uid } => {
                state::set_cred(self.rt, if *uid == 0 { Cred::ROOT } else { Cred::user(*uid as u32) });
                Ok(Value::Unit)
            }
            Do::Interrupt { task } => {
                let names = self.names.borrow();
                let at = names.task_names.iter().position(|name| **name == *task.0.text);
                let task = at.and_then(|at| names.tasks.get(at).copied());
                drop(names);
                match task {
                    Some(task) => {
                        state::interrupt(self.rt, task);
                        Ok(Value::Unit)
                    }
                    None => Err(Fail::Errno(Errno::ENOENT)),
                }
            }
            Do::Getflags { .. }
            | Do::Setflags { .. }
            | Do::Chattr { .. }
            | Do::Fsgetxattr { .. }
            | Do::Fssetxattr { .. }
            | Do::Fschattr { .. }
            | Do::Stat { .. }
            | Do::Statx { .. }
            | Do::Chmod { .. }
            | Do::Chown { .. }
            | Do::Setxattr { .. }
            | Do::Getxattr { .. }
            | Do::Listxattr { .. }
            | Do::Removexattr { .. }
            | Do::FssetxattrBad { .. }
            | Do::EnableVerity { .. }
            | Do::SetEncryption { .. } => {
                return self.attributes(operation);
            }
            _ => return self.state(operation),
        })
    }
}

fn is_access(operation: &Do) -> bool {
    matches!(operation, Do::Load { .. } | Do::Store { .. } | Do::LoadBytes { .. } | Do::StoreBytes { .. })
}

fn number(n: usize) -> Value {
    Value::Number(n as u64)
}
