//! The same operations through the system calls of the kernel.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags, RenameFlags};

use crate::model::{Kind, Model, Op, ROOT, Rule};

/// A mounted image, whose tree is that of a model.
pub struct Kernel {
    root: OwnedFd,
}

type Answer = Result<(), i32>;

impl Kernel {
    pub fn new(at: &Path) -> Self {
        let root = fs::openat(CWD, at, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .expect("the mount point");
        Self { root }
    }

    /// The directory above and the name of a node, by the model.
    fn name_of(model: &Model, nr: u64) -> (u64, Vec<u8>) {
        let mut dirs: Vec<u64> = model.dirs.clone();
        if let Kind::Dir { parent, .. } = &model.nodes[&nr].kind {
            dirs = vec![*parent];
        }
        for dir in dirs {
            if let Some((name, _)) = model.names(dir).iter().find(|(_, n)| **n == nr) {
                return (dir, name.clone());
            }
        }
        panic!("inode {nr} has no name");
    }

    fn dir(&self, model: &Model, nr: u64) -> OwnedFd {
        let mut names = Vec::new();
        let mut here = nr;
        while here != ROOT {
            let (above, name) = Self::name_of(model, here);
            names.push(name);
            here = above;
        }
        let mut fd = self.root.try_clone().expect("a descriptor");
        for name in names.iter().rev() {
            fd = fs::openat(&fd, name.as_slice(), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .expect("a directory");
        }
        fd
    }

    /// Carries out an operation; the model is as before it.
    pub fn apply(&self, model: &Model, op: &Op) -> Answer {
        self.call(model, op).map_err(rustix::io::Errno::raw_os_error)
    }

    fn call(&self, model: &Model, op: &Op) -> rustix::io::Result<()> {
        match op {
            Op::Make { dir, name, mode, device, .. } => {
                let fd = self.dir(model, *dir);
                let permissions = Mode::from_raw_mode(u32::from(mode & 0o7777));
                let kind = FileType::from_raw_mode(u32::from(*mode));
                match kind {
                    FileType::Directory => fs::mkdirat(&fd, name.as_slice(), permissions)?,
                    FileType::RegularFile => {
                        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                        drop(fs::openat(&fd, name.as_slice(), flags, permissions)?);
                    }
                    _ => fs::mknodat(&fd, name.as_slice(), kind, permissions, fs::makedev(device.0, device.1))?,
                }
                // The mask, and bits that mkdir drops. What the directory hands on stays.
                let made = fs::statat(&fd, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW)?;
                let inherited = Mode::from_raw_mode(made.st_mode & 0o2000);
                fs::chmodat(&fd, name.as_slice(), permissions | inherited, AtFlags::empty())
            }
            Op::Symlink { dir, name, target } => {
                fs::symlinkat(target.as_slice(), self.dir(model, *dir), name.as_slice())
            }
            Op::Link { dir, name, target } => {
                if *target == ROOT {
                    // There is no name by which it could be linked; other directories answer for it.
                    return model
                        .find(*dir, name)
                        .map_or(Err(rustix::io::Errno::PERM), |_| Err(rustix::io::Errno::EXIST));
                }
                let (above, old) = Self::name_of(model, *target);
                let (from, to) = (self.dir(model, above), self.dir(model, *dir));
                fs::linkat(from, old.as_slice(), to, name.as_slice(), AtFlags::empty())
            }
            Op::Unlink { dir, name } => fs::unlinkat(self.dir(model, *dir), name.as_slice(), AtFlags::empty()),
            Op::Rmdir { dir, name } => fs::unlinkat(self.dir(model, *dir), name.as_slice(), AtFlags::REMOVEDIR),
            Op::Rename { from, name, to, new_name, rule } => {
                let flags = match rule {
                    Rule::Replace => RenameFlags::empty(),
                    Rule::Keep => RenameFlags::NOREPLACE,
                    Rule::Exchange => RenameFlags::EXCHANGE,
                };
                let (from, to) = (self.dir(model, *from), self.dir(model, *to));
                fs::renameat_with(from, name.as_slice(), to, new_name.as_slice(), flags)
            }
        }
    }
}
