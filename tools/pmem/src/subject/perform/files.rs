//! Files and names.

use daxkit_format::dax::Errno;
use daxkit_mount::fail::Fail;
use daxkit_mount::fs::{Backing, Rename};
use daxkit_mount::ids::FileId;
use daxkit_mount::runtime::Runtime;
use daxkit_mount::vfs::space::Fallocate;
use daxkit_mount::vfs::{advise, clone, move_extents, namespace, open, rw, seek, setattr, space, swap, sync};
use daxkit_mount::world::objects::OpenFlags;
use daxkit_scenario::ops::Operation as Do;
use daxkit_scenario::value::{Record, Value};
use daxkit_scenario::word::{Set, Word};
use daxkit_scenario::words::{FallocFlag, FileAdvice, NodeKind, OpenFlag, RenameFlag, Whence};

use super::{Call, Done, MOST_READ, number, state};

impl<R: Runtime> Call<'_, R> {
    pub(super) fn file(&self, operation: &Do) -> Option<Done> {
        let rt = self.rt;
        let unit = |()| Value::Unit;
        Some(match operation {
            Do::Open { fd, path, flags, mode } => self
                .at(path)
                .and_then(|at| open::open(rt, at, open_flags(*flags), mode.map_or(0o644, |mode| mode.0 as u16)))
                .map(|file| {
                    self.name_file(&fd.0.text, file);
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
                let own = self.own(&fd.0.text);
                let file = self.names.borrow_mut().fds.remove(&own);
                file.ok_or(Fail::Errno(Errno::EBADF)).and_then(|file| open::close(rt, file)).map(unit)
            }
            Do::Dup { new, fd } => self.fd(&fd.0.text).and_then(|file| {
                open::fget(rt, file)?;
                self.name_file(&new.0.text, file);
                Ok(Value::Unit)
            }),
            Do::Lseek { fd, offset, whence } => self
                .fd(&fd.0.text)
                .and_then(|file| {
                    let whence = match whence {
                        Whence::Set => seek::Whence::Set,
                        Whence::Cur => seek::Whence::Cur,
                        Whence::End => seek::Whence::End,
                        Whence::Data => seek::Whence::Data,
                        Whence::Hole => seek::Whence::Hole,
                    };
                    seek::lseek(rt, file, offset.cast_signed(), whence)
                })
                .map(Value::Number),
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
            Do::Fadvise { fd, offset, length, advice } => {
                let advice = match advice {
                    FileAdvice::WillNeed => advise::FileAdvice::WillNeed,
                    FileAdvice::DontNeed => advise::FileAdvice::DontNeed,
                    FileAdvice::Normal | FileAdvice::Sequential | FileAdvice::Random => advise::FileAdvice::Pattern,
                };
                self.fd(&fd.0.text).and_then(|file| advise::fadvise(rt, file, *offset, *length, advice)).map(unit)
            }
            Do::Fsync { fd } => self.fd(&fd.0.text).and_then(|file| sync::fsync(rt, file, false)).map(unit),
            Do::Fdatasync { fd } => self.fd(&fd.0.text).and_then(|file| sync::fsync(rt, file, true)).map(unit),
            Do::Fiemap { target } => self.with_target(target, |file| {
                let extents = space::fiemap(rt, file)?;
                let block = u64::from(state::features(rt, file).block_size);
                let last = extents.len();
                if state::of_inode(rt, file, |inode| inode.disk.inline_data) {
                    let size = state::of_inode(rt, file, |inode| inode.disk.size);
                    let inside = Record::of("inline").with("logical", 0).with("length", size);
                    return Ok(Value::List(vec![inside.with("shared", false).with("last", true).into()]));
                }
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
            Do::Ficlone { to, from } => {
                self.fd(&to.0.text).and_then(|to| clone::ficlone(rt, to, self.fd(&from.0.text)?)).map(unit)
            }
            Do::MoveExtents { fd, donor, length } => self
                .fd(&fd.0.text)
                .and_then(|file| move_extents::move_extents(rt, file, self.fd(&donor.0.text)?, *length))
                .map(unit),
            Do::Swapon { path } => self.at(path).and_then(|at| swap::swapon(rt, at)).map(unit),
            Do::Swapoff { path } => self.at(path).and_then(|at| swap::swapoff(rt, at)).map(unit),
            Do::Bmap { fd, block } => {
                self.fd(&fd.0.text).and_then(|file| space::fibmap(rt, file, *block)).map(Value::Number)
            }
            _ => return None,
        })
    }

    /// Calls an open file by a name. One that was called so before stays open, as a descriptor that is forgotten does.
    fn name_file(&self, name: &str, file: FileId) {
        let own = self.own(name);
        self.names.borrow_mut().fds.insert(own, file);
    }

    pub(super) fn bytes(&self, file: FileId, offset: Option<u64>, length: u64) -> Done {
        let mut buf = vec![0; length.min(MOST_READ) as usize];
        let n = rw::read(self.rt, file, offset, &mut buf)?;
        buf.truncate(n);
        Ok(Value::Bytes(buf))
    }

    pub(super) fn name(&self, operation: &Do) -> Done {
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
        ["unshare"] => Fallocate::Unshare,
        ["keep_size", "unshare"] => Fallocate::UnshareKeepSize,
        _ => return None,
    })
}
