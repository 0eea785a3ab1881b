//! One operation of a scenario as calls of the emulated kernel.

use std::cell::RefCell;
use std::rc::Rc;

use daxkit_format::dax::fileattr::XFlags;
use daxkit_format::dax::{Errno, FileKind};
use daxkit_mount::fail::{Fail, Signal};
use daxkit_mount::fs::{Backing, FileSystem, Rename};
use daxkit_mount::ids::{FileId, PAGE_SIZE, SbId};
use daxkit_mount::mm::access;
use daxkit_mount::mm::madvise::Advice;
use daxkit_mount::mm::mmap::{self, MapRequest, Share};
use daxkit_mount::mm::{gup, madvise};
use daxkit_mount::runtime::Runtime;
use daxkit_mount::vfs::namespace::At;
use daxkit_mount::vfs::space::Fallocate;
use daxkit_mount::vfs::{attr, fileattr, freeze, icache, mount, namespace, open, rw, setattr, space, statx, sync};
use daxkit_mount::world::objects::{OpenFlags, VmFlags};
use daxkit_mount::world::tasks::Cred;
use daxkit_scenario::letters::{Flag, XFlag, letters_of};
use daxkit_scenario::ops::Operation as Do;
use daxkit_scenario::ops::args::{Address, Path, Target};
use daxkit_scenario::value::{Outcome, Record, Value};
use daxkit_scenario::word::{Set, Word};
use daxkit_scenario::words::{
    FallocFlag, MapAdvice, MapFlag, MsyncFlag, NodeKind, OpenFlag, PinFlag, Prot, RenameFlag, StoreFlag, Width,
};

use super::names::{Mounted, Names, PinSet, Region};
use super::options;
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
    fn fd(&self, name: &str) -> Result<FileId, Fail> {
        self.names.borrow().fds.get(name).copied().ok_or(Fail::Errno(Errno::EBADF))
    }

    fn map(&self, name: &str) -> Result<Region, Fail> {
        self.names.borrow().maps.get(name).copied().ok_or(Fail::Signal(Signal::SegvMapErr))
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
        match target {
            Target::Fd(fd) => f(self.fd(&fd.0.text)?),
            Target::Path(path) => {
                let file = open::open(self.rt, self.at(path)?, OpenFlags::empty(), 0)?;
                let out = f(file);
                open::close(self.rt, file)?;
                out
            }
        }
    }

    fn fsx(
        &self,
        target: &Target,
        xflags: impl FnOnce(u32) -> u32,
        projid: Option<u64>,
        extsize: Option<u64>,
        cow: Option<u64>,
    ) -> Result<(), Fail> {
        self.with_target(target, |file| {
            let old = fileattr::ioctl_fsgetxattr(self.rt, file)?;
            fileattr::ioctl_fssetxattr(
                self.rt,
                file,
                XFlags::from_bits_retain(xflags(old.xflags.bits())),
                extsize.map_or(old.extsize, |n| n as u32),
                cow.map_or(old.cowextsize, |n| n as u32),
                projid.map_or(old.projid, |n| n as u32),
            )
        })
    }

    fn run(&self, operation: &Do) -> Option<Done> {
        Some(match operation {
            Do::Open { .. }
            | Do::Close { .. }
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
            | Do::DropCaches { .. } => {
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
                return self.memory(operation);
            }
            Do::Fork { child } => mmap::fork(self.rt).map(|task| {
                let mut names = self.names.borrow_mut();
                names.tasks.push(task);
                names.task_names.push(child.0.text.to_string());
                Value::Unit
            }),
            Do::Exit {} => mmap::exit_mm(self.rt).map(|()| Value::Unit),
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
            | Do::Removexattr { .. } => {
                return self.attributes(operation);
            }
            _ => return self.state(operation),
        })
    }

    fn file(&self, operation: &Do) -> Option<Done> {
        let rt = self.rt;
        let unit = |()| Value::Unit;
        Some(match operation {
            Do::Open { fd, path, flags, mode } => self
                .at(path)
                .and_then(|at| open::open(rt, at, open_flags(*flags), mode.map_or(0o644, |mode| mode.0 as u16)))
                .map(|file| {
                    self.names.borrow_mut().fds.insert(fd.0.text.to_string(), file);
                    Value::Unit
                }),
            Do::Creat { path, mode } => self
                .at(path)
                .and_then(|at| {
                    let flags = OpenFlags::WRONLY | OpenFlags::CREAT | OpenFlags::TRUNC;
                    open::open(rt, at, flags, mode.map_or(0o644, |mode| mode.0 as u16))
                })
                .and_then(|file| open::close(rt, file))
                .map(unit),
            Do::Close { fd } => {
                let file = self.names.borrow_mut().fds.remove(&*fd.0.text);
                file.ok_or(Fail::Errno(Errno::EBADF)).and_then(|file| open::close(rt, file)).map(unit)
            }
            Do::Read { fd, length } => self.fd(&fd.0.text).and_then(|file| self.bytes(file, None, *length)),
            Do::Pread { fd, offset, length } => {
                self.fd(&fd.0.text).and_then(|file| self.bytes(file, Some(*offset), *length))
            }
            Do::Write { fd, data } => {
                self.fd(&fd.0.text).and_then(|file| rw::write(rt, file, None, &data.to_vec())).map(number)
            }
            Do::Pwrite { fd, offset, data } => {
                self.fd(&fd.0.text).and_then(|file| rw::write(rt, file, Some(*offset), &data.to_vec())).map(number)
            }
            Do::ReadInto { fd, offset, to, length } => self.fd(&fd.0.text).and_then(|file| {
                rw::read_to_user(rt, file, Some(*offset), self.address(to)?, *length as usize).map(number)
            }),
            Do::WriteFrom { fd, offset, from, length } => self.fd(&fd.0.text).and_then(|file| {
                rw::write_from_user(rt, file, Some(*offset), self.address(from)?, *length as usize).map(number)
            }),
            Do::Truncate { path, size } => self.at(path).and_then(|at| setattr::truncate(rt, at, *size)).map(unit),
            Do::Ftruncate { fd, size } => {
                self.fd(&fd.0.text).and_then(|file| setattr::ftruncate(rt, file, *size)).map(unit)
            }
            Do::Fallocate { fd, offset, length, flags } => {
                let mode = falloc(*flags)?;
                self.fd(&fd.0.text).and_then(|file| space::fallocate(rt, file, mode, *offset, *length)).map(unit)
            }
            // Accepted and without effect, as on a DAX file; read-ahead is not emulated.
            Do::Fadvise { fd, .. } => self.fd(&fd.0.text).map(|_| Value::Unit),
            Do::Fsync { fd } => self.fd(&fd.0.text).and_then(|file| sync::fsync(rt, file, false)).map(unit),
            Do::Fdatasync { fd } => self.fd(&fd.0.text).and_then(|file| sync::fsync(rt, file, true)).map(unit),
            Do::Fiemap { target } => self.with_target(target, |file| {
                let extents = space::fiemap(rt, file)?;
                let block = u64::from(state::features(rt, file).block_size);
                let last = extents.len();
                let records = extents.iter().enumerate().filter_map(|(at, extent)| {
                    let (kind, physical) = match extent.backing {
                        Backing::Hole => return None,
                        Backing::Unwritten(at) => ("unwritten", at),
                        Backing::Mapped(at) => ("written", at),
                    };
                    Some(Value::Record(
                        Record::of(kind)
                            .with("logical", extent.block * block)
                            .with("physical", physical * block)
                            .with("length", extent.len * block)
                            .with("shared", extent.shared)
                            .with("last", at + 1 == last),
                    ))
                });
                Ok(Value::List(records.collect()))
            }),
            Do::Bmap { fd, block } => {
                self.fd(&fd.0.text).and_then(|file| space::fibmap(rt, file, *block)).map(Value::Number)
            }
            _ => return None,
        })
    }

    fn bytes(&self, file: FileId, offset: Option<u64>, length: u64) -> Done {
        let mut buf = vec![0; length.min(MOST_READ) as usize];
        let n = rw::read(self.rt, file, offset, &mut buf)?;
        buf.truncate(n);
        Ok(Value::Bytes(buf))
    }

    fn name(&self, operation: &Do) -> Done {
        let rt = self.rt;
        let unit = |()| Value::Unit;
        match operation {
            Do::Mkdir { path, mode } => {
                namespace::mkdir(rt, self.at(path)?, mode.map_or(0o755, |mode| mode.0 as u16)).map(unit)
            }
            Do::Mknod { path, kind, mode } => {
                let kind = match kind {
                    NodeKind::Fifo => 0o01_0000,
                    NodeKind::Socket => 0o14_0000,
                    NodeKind::Char => 0o02_0000,
                    NodeKind::Block => 0o06_0000,
                    NodeKind::Regular => 0o10_0000,
                };
                namespace::mknod(rt, self.at(path)?, kind | mode.map_or(0o644, |mode| mode.0 as u16 & 0o7777), 0x103)
                    .map(unit)
            }
            Do::Symlink { target, path } => namespace::symlink(rt, target.0.as_bytes(), self.at(path)?).map(unit),
            Do::Link { from, to } => namespace::link(rt, self.at(from)?, self.at(to)?).map(unit),
            Do::Linkat { fd, to } => namespace::linkat_file(rt, self.fd(&fd.0.text)?, self.at(to)?).map(unit),
            Do::Rename { from, to, flags } => {
                let how = match (flags.contains(RenameFlag::Exchange), flags.contains(RenameFlag::Noreplace)) {
                    (true, true) => return Err(Fail::Errno(Errno::EINVAL)),
                    (true, false) => Rename::Exchange,
                    (false, true) => Rename::NoReplace,
                    (false, false) => Rename::Replace,
                };
                namespace::rename(rt, self.at(from)?, self.at(to)?, how).map(unit)
            }
            Do::Unlink { path } => namespace::unlink(rt, self.at(path)?).map(unit),
            Do::Rmdir { path } => namespace::rmdir(rt, self.at(path)?).map(unit),
            Do::Readdir { path } => {
                let mut names: Vec<_> = namespace::readdir(rt, self.at(path)?)?
                    .into_iter()
                    .map(|entry| String::from_utf8_lossy(&entry.name).into_owned())
                    .collect();
                names.sort();
                Ok(Value::List(names.into_iter().map(Value::Text).collect()))
            }
            Do::Readlink { path } => namespace::readlink(rt, self.at(path)?)
                .map(|target| Value::Text(String::from_utf8_lossy(&target).into_owned())),
            _ => Err(Fail::Errno(Errno::EINVAL)),
        }
    }

    fn attributes(&self, operation: &Do) -> Option<Done> {
        let rt = self.rt;
        let unit = |()| Value::Unit;
        Some(match operation {
            Do::Getflags { target } => self.with_target(target, |file| {
                let bits = fileattr::ioctl_getflags(rt, file)?;
                Ok(Value::set(letters_of::<Flag>(bits)))
            }),
            Do::Setflags { target, flags } => {
                self.with_target(target, |file| fileattr::ioctl_setflags(rt, file, flags.bits())).map(unit)
            }
            Do::Chattr { change, target } => self
                .with_target(target, |file| {
                    let old = fileattr::ioctl_getflags(rt, file)?;
                    fileattr::ioctl_setflags(rt, file, change.apply(old))
                })
                .map(unit),
            Do::Fsgetxattr { target } => self.with_target(target, |file| {
                let attr = fileattr::ioctl_fsgetxattr(rt, file)?;
                Ok(Value::Record(
                    Record::default()
                        .with("xflags", Value::set(letters_of::<XFlag>(attr.xflags.bits())))
                        .with("raw", u64::from(attr.xflags.bits()))
                        .with("extsize", u64::from(attr.extsize))
                        .with("cowextsize", u64::from(attr.cowextsize))
                        .with("projid", u64::from(attr.projid)),
                ))
            }),
            Do::Fssetxattr { target, xflags, projid, extsize, cowextsize } => {
                let new = xflags.bits();
                // A program that fills the structure itself leaves at zero what it does not name.
                let zero = |n: &Option<u64>| Some(n.unwrap_or(0));
                self.fsx(target, |_| new, zero(projid), zero(extsize), zero(cowextsize)).map(unit)
            }
            Do::Fschattr { change, target, projid, extsize, cowextsize } => {
                self.fsx(target, |old| change.apply(old), *projid, *extsize, *cowextsize).map(unit)
            }
            Do::Stat { target } => self.stat(target, false),
            Do::Statx { target, .. } => self.stat(target, true),
            Do::Chmod { target, mode } => {
                self.with_target(target, |file| attr::fchmod(rt, file, mode.0 as u16)).map(unit)
            }
            Do::Chown { target, uid, gid } => {
                self.with_target(target, |file| attr::fchown(rt, file, *uid as u32, *gid as u32)).map(unit)
            }
            Do::Setxattr { target, name, value } => {
                self.with_target(target, |file| attr::fsetxattr(rt, file, name.0.as_bytes(), &value.to_vec())).map(unit)
            }
            Do::Getxattr { target, name } => {
                self.with_target(target, |file| attr::fgetxattr(rt, file, name.0.as_bytes())).map(Value::Bytes)
            }
            Do::Removexattr { target, name } => {
                self.with_target(target, |file| attr::fremovexattr(rt, file, name.0.as_bytes())).map(unit)
            }
            _ => return None,
        })
    }

    fn stat(&self, target: &Target, extended: bool) -> Done {
        let st = match target {
            Target::Path(path) => statx::statx(self.rt, self.at(path)?)?,
            Target::Fd(fd) => statx::fstatx(self.rt, self.fd(&fd.0.text)?)?,
        };
        let kind = match FileKind::from_mode(st.mode) {
            Some(FileKind::Regular) => "regular",
            Some(FileKind::Directory) => "directory",
            Some(FileKind::Symlink) => "symlink",
            _ => "special",
        };
        let record = Record::default()
            .with("type", kind)
            .with("mode", u64::from(st.mode & 0o7777))
            .with("size", st.size)
            .with("blocks", st.blocks)
            .with("nlink", u64::from(st.nlink))
            .with("uid", u64::from(st.uid))
            .with("gid", u64::from(st.gid))
            .with("ino", st.ino);
        Ok(Value::Record(if extended {
            let dax = st.attributes & 0x0020_0000 != 0 || st.attributes & 0x2000 != 0;
            record.with("attributes", st.attributes).with("attributes_mask", st.attributes_mask).with("dax", dax)
        } else {
            record
        }))
    }

    fn mounts(&self, operation: &Do) -> Option<Done> {
        let rt = self.rt;
        let unit = |()| Value::Unit;
        Some(match operation {
            Do::Remount { fs, options } => self.fs(Some(&fs.0.text)).and_then(|sb| {
                let options = options::parse(&options.0).map_err(|_| Fail::Errno(Errno::EINVAL))?;
                mount::remount(rt, sb, options.dax, options.data, options.read_only).map(unit)
            }),
            Do::Umount { fs } => self.fs(Some(&fs.0.text)).and_then(|sb| {
                let kept = mount::umount(rt, sb)?;
                state::keep_unmounted(rt, sb, kept);
                self.names.borrow_mut().fs.insert(fs.0.text.to_string(), Mounted { sb: None, last: Some(sb) });
                Ok(Value::Unit)
            }),
            Do::Mount { fs, options } => {
                let last = self.names.borrow().fs.get(&*fs.0.text).and_then(|fs| fs.last);
                let Some(last) = last else { return Some(Err(Fail::Errno(Errno::EBUSY))) };
                let Ok(options) = options::parse(&options.0) else { return Some(Err(Fail::Errno(Errno::EINVAL))) };
                mount::mount(rt, state::request(rt, last, &options)).map(|sb| {
                    self.names.borrow_mut().fs.insert(fs.0.text.to_string(), Mounted { sb: Some(sb), last: Some(sb) });
                    Value::Unit
                })
            }
            Do::MountOptions { fs } => self.fs(Some(&fs.0.text)).map(|sb| {
                let shown = state::look(rt, |w| mount::show_options(w, sb));
                Value::set(shown.split(',').filter(|word| !word.is_empty()))
            }),
            Do::Statfs { fs } => self.fs(Some(&fs.0.text)).map(|sb| {
                state::look(rt, |w| {
                    let (features, space) = (w.sb(sb).fs.features(), w.sb(sb).fs.space());
                    Value::Record(
                        Record::default()
                            .with("bsize", u64::from(features.block_size))
                            .with("blocks", features.blocks)
                            .with("bfree", space.free_blocks)
                            .with("bavail", space.free_blocks)
                            .with("ffree", space.free_inodes),
                    )
                })
            }),
            Do::Sync {} => sync::sync(rt).map(unit),
            Do::Syncfs { fs } => self.fs(Some(&fs.0.text)).and_then(|sb| sync::syncfs(rt, sb)).map(unit),
            Do::Freeze { fs } => self.fs(Some(&fs.0.text)).and_then(|sb| freeze::freeze(rt, sb)).map(unit),
            Do::Thaw { fs } => self.fs(Some(&fs.0.text)).and_then(|sb| freeze::thaw(rt, sb)).map(unit),
            Do::DropCaches { what } => icache::drop_caches(rt, *what as u8).map(unit),
            _ => return None,
        })
    }

    fn memory(&self, operation: &Do) -> Option<Done> {
        let rt = self.rt;
        let unit = |()| Value::Unit;
        Some(match operation {
            Do::Mmap { map, fd, offset, length, flags, prot, addr } => self.fd(&fd.0.text).and_then(|file| {
                let request = MapRequest {
                    file: Some(file),
                    offset: *offset,
                    len: *length,
                    prot: protection(prot.unwrap_or(Prot::Rw)),
                    share: share(*flags),
                    sync: flags.contains(MapFlag::Sync),
                    address: *addr,
                };
                let address = mmap::mmap(rt, &request)?;
                self.names.borrow_mut().maps.insert(map.0.text.to_string(), Region { address, len: *length });
                if flags.contains(MapFlag::Populate) {
                    madvise::madvise(rt, address, *length, Advice::PopulateRead)?;
                }
                Ok(Value::Unit)
            }),
            Do::Munmap { map, offset, length } => {
                self.range(&map.0.text, *offset, *length).and_then(|(address, len)| {
                    mmap::munmap(rt, address, len)?;
                    if offset.is_none() && length.is_none() {
                        self.names.borrow_mut().maps.remove(&*map.0.text);
                    }
                    Ok(Value::Unit)
                })
            }
            Do::Mremap { map, length, .. } => self.map(&map.0.text).and_then(|region| {
                let address = mmap::mremap(rt, region.address, region.len, *length, true)?;
                self.names.borrow_mut().maps.insert(map.0.text.to_string(), Region { address, len: *length });
                Ok(Value::Unit)
            }),
            Do::Mprotect { map, prot, offset, length } => self
                .range(&map.0.text, *offset, *length)
                .and_then(|(address, len)| mmap::mprotect(rt, address, len, protection(*prot)))
                .map(unit),
            Do::Madvise { map, advice, offset, length } => {
                let advice = match advice {
                    MapAdvice::DontNeed => Advice::DontNeed,
                    MapAdvice::PopulateRead => Advice::PopulateRead,
                    MapAdvice::PopulateWrite => Advice::PopulateWrite,
                    MapAdvice::HugePage => Advice::HugePage,
                    MapAdvice::NoHugePage => Advice::NoHugePage,
                    MapAdvice::HwPoison => Advice::HwPoison,
                    MapAdvice::Normal => return Some(Ok(Value::Unit)),
                    _ => return None,
                };
                self.range(&map.0.text, *offset, *length)
                    .and_then(|(address, len)| madvise::madvise(rt, address, len, advice))
                    .map(unit)
            }
            Do::Msync { map, flags, offset, length } => self
                .range(&map.0.text, *offset, *length)
                .and_then(|(address, len)| mmap::msync(rt, address, len, flags.contains(MsyncFlag::Sync)))
                .map(unit),
            Do::Load { at, width } => self.address(at).and_then(|address| {
                let mut buf = [0; 8];
                access::load(rt, address, &mut buf[..width_of(*width)])?;
                Ok(Value::Number(u64::from_le_bytes(buf)))
            }),
            Do::Store { at, width, value, flags } if !flags.contains(StoreFlag::Nt) => self
                .address(at)
                .and_then(|address| access::store(rt, address, &value.to_le_bytes()[..width_of(*width)]))
                .map(unit),
            Do::LoadBytes { at, length } => self.address(at).and_then(|address| {
                let mut buf = vec![0; (*length).min(MOST_READ) as usize];
                access::load(rt, address, &mut buf)?;
                Ok(Value::Bytes(buf))
            }),
            Do::StoreBytes { at, data } => {
                self.address(at).and_then(|address| access::store(rt, address, &data.to_vec())).map(unit)
            }
            Do::Clwb { at, length } | Do::Clflush { at, length } => {
                self.address(at).and_then(|address| access::flush(rt, address, *length)).map(unit)
            }
            Do::Sfence {} => {
                access::sfence(rt);
                Ok(Value::Unit)
            }
            Do::Pin { pin, at, length, flags } => self.address(at).and_then(|address| {
                let mut set = PinSet::default();
                let mut page = address & !(PAGE_SIZE - 1);
                while page < address + length {
                    match gup::pin(rt, page, flags.contains(PinFlag::Write), flags.contains(PinFlag::Longterm)) {
                        Ok(frame) => set.0.push(frame),
                        Err(fail) => {
                            for frame in set.0 {
                                gup::unpin(rt, frame);
                            }
                            return Err(fail);
                        }
                    }
                    page += PAGE_SIZE;
                }
                self.names.borrow_mut().pins.insert(pin.0.text.to_string(), set);
                Ok(Value::Unit)
            }),
            Do::Unpin { pin } => {
                let set = self.names.borrow_mut().pins.remove(&*pin.0.text);
                match set {
                    Some(set) => {
                        for frame in set.0 {
                            gup::unpin(rt, frame);
                        }
                        Ok(Value::Unit)
                    }
                    None => Err(Fail::Errno(Errno::EINVAL)),
                }
            }
            _ => return None,
        })
    }

    fn state(&self, operation: &Do) -> Option<Done> {
        let rt = self.rt;
        Some(match operation {
            Do::Flag { target } => self.with_target(target, |file| {
                Ok(Value::from(fileattr::ioctl_fsgetxattr(rt, file)?.xflags.contains(XFlags::DAX)))
            }),
            Do::SDax { target } => {
                self.with_target(target, |file| Ok(Value::from(state::of_inode(rt, file, |inode| inode.s_dax))))
            }
            Do::Aops { target } => self.with_target(target, |file| {
                let aops = state::of_inode(rt, file, |inode| inode.aops);
                Ok(Value::Text(format!("{aops:?}").to_lowercase()))
            }),
            Do::VmOps { map } => self.map(&map.0.text).map(|region| state::vm_ops(rt, region.address)),
            Do::Entries { target } => self.with_target(target, |file| Ok(state::entries(rt, file))),
            Do::Ptes { map } => self.map(&map.0.text).map(|region| state::ptes(rt, region)),
            Do::Pins { target } => self.with_target(target, |file| Ok(Value::Number(state::pins(rt, file)))),
            Do::Cached { path } => self.at(path).map(|at| state::cached(rt, &at)),
            Do::CachedInodes { fs } => self.fs(Some(&fs.0.text)).map(|sb| state::cached_inodes(rt, sb)),
            Do::Dontcache { target } => self.with_target(target, |file| Ok(state::dontcache(rt, file))),
            Do::Counter { name } => match state::counter(rt, name.word()) {
                Some(n) => Ok(Value::Number(n)),
                None => Err(Fail::Errno(Errno::ENOENT)),
            },
            Do::ResetCounters {} => {
                state::reset_counters(rt);
                Ok(Value::Unit)
            }
            Do::Trace {} => Ok(Value::List(state::trace(rt).into_iter().map(Value::Record).collect())),
            Do::Explain { target } => self.with_target(target, |file| Ok(Value::Text(state::explain(rt, file)))),
            _ => return None,
        })
    }
}

fn number(n: usize) -> Value {
    Value::Number(n as u64)
}

fn width_of(width: Width) -> usize {
    match width {
        Width::U8 => 1,
        Width::U16 => 2,
        Width::U32 => 4,
        Width::U64 => 8,
    }
}

fn open_flags(flags: Set<OpenFlag>) -> OpenFlags {
    flags.iter().fold(OpenFlags::empty(), |all, flag| {
        all | match flag {
            OpenFlag::Rdonly | OpenFlag::Noatime => OpenFlags::empty(),
            OpenFlag::Wronly => OpenFlags::WRONLY,
            OpenFlag::Rdwr => OpenFlags::RDWR,
            OpenFlag::Creat => OpenFlags::CREAT,
            OpenFlag::Excl => OpenFlags::EXCL,
            OpenFlag::Trunc => OpenFlags::TRUNC,
            OpenFlag::Append => OpenFlags::APPEND,
            OpenFlag::Direct => OpenFlags::DIRECT,
            OpenFlag::Sync => OpenFlags::SYNC | OpenFlags::DSYNC,
            OpenFlag::Dsync => OpenFlags::DSYNC,
            OpenFlag::Directory => OpenFlags::DIRECTORY,
            OpenFlag::Nofollow => OpenFlags::NOFOLLOW,
            OpenFlag::Path => OpenFlags::PATH,
            OpenFlag::Tmpfile => OpenFlags::TMPFILE | OpenFlags::DIRECTORY,
        }
    })
}

fn protection(prot: Prot) -> VmFlags {
    match prot {
        Prot::None => VmFlags::empty(),
        Prot::R => VmFlags::READ,
        Prot::W => VmFlags::WRITE,
        Prot::Rw => VmFlags::READ | VmFlags::WRITE,
        Prot::Rx => VmFlags::READ | VmFlags::EXEC,
        Prot::Rwx => VmFlags::READ | VmFlags::WRITE | VmFlags::EXEC,
    }
}

fn share(flags: Set<MapFlag>) -> Share {
    if flags.contains(MapFlag::SharedValidate) {
        Share::SharedValidate
    } else if flags.contains(MapFlag::Private) {
        Share::Private
    } else {
        Share::Shared
    }
}

fn falloc(flags: Set<FallocFlag>) -> Option<Fallocate> {
    let words: Vec<_> = flags.iter().map(Word::word).collect();
    Some(match words.as_slice() {
        [] => Fallocate::Allocate,
        ["keep_size"] => Fallocate::KeepSize,
        ["punch"] | ["keep_size", "punch"] => Fallocate::Punch,
        ["zero"] => Fallocate::Zero,
        ["keep_size", "zero"] => Fallocate::ZeroKeepSize,
        ["collapse"] => Fallocate::Collapse,
        ["insert"] => Fallocate::Insert,
        _ => return None,
    })
}
