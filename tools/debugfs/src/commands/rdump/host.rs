//! Trees of the image as trees of the host.
//!
//! Bytes from an image are hostile, names among them: every name is opened or made relative to a directory this command
//! opened itself, symbolic links are never followed, and nothing that exists is written to.

use super::{Tree, joined};
use crate::output::{self, shown, text};
use crate::session::Session;
use anyhow::{Context, Result, anyhow};
use daxkit_format::ext4::inode::{Timestamp, mode};
use daxkit_volume::{Inode, Volume};
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;
use serde_json::json;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

/// Bytes of a file copied at once.
const CHUNK: usize = 1 << 20;

/// Copies the trees into a directory that exists.
pub(super) fn copy(
    session: &mut Session<'_>,
    name: &str,
    sources: Vec<Tree>,
    dest: &[u8],
    verbose: bool,
) -> Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = fs::open(OsStr::from_bytes(dest), flags, Mode::empty())
        .map_err(std::io::Error::from)
        .with_context(|| shown(dest))?;
    let here = fs::fstat(&root).map_err(std::io::Error::from)?;
    let egid = rustix::process::getegid().as_raw();
    let mut copy = Copy {
        root: Rc::new(root),
        links: HashMap::new(),
        unset: Vec::new(),
        verbose,
        lines: Vec::new(),
        errors: Vec::new(),
        copied: 0,
        // What is made belongs to whoever makes it, unless the directory hands its group down.
        own: (here.st_mode & 0o2000 == 0 && here.st_gid == egid).then(|| (rustix::process::geteuid().as_raw(), egid)),
    };
    for tree in sources {
        copy.tree(session, &tree.name, tree.inode).with_context(|| shown(&tree.name))?;
        copy.flush(session)?;
    }
    copy.report(session, name)
}

/// Sets an attribute by name and value.
type SetXattr<'f> = &'f dyn Fn(&[u8], &[u8]) -> Result<(), Errno>;

/// What could not be set.
struct Unset {
    what: &'static str,
    first: Vec<u8>,
    why: String,
    count: u64,
}

struct Copy {
    root: Rc<OwnedFd>,
    /// Where an inode with several names was copied to, from `root`.
    links: HashMap<u64, Vec<u8>>,
    unset: Vec<Unset>,
    verbose: bool,
    lines: Vec<String>,
    errors: Vec<String>,
    copied: u64,
    /// The owner new files have anyway, where that is certain.
    own: Option<(u32, u32)>,
}

/// A directory being filled.
struct Level {
    fd: Rc<OwnedFd>,
    inode: Inode,
    path: Vec<u8>,
}

impl Copy {
    fn tree(&mut self, session: &Session<'_>, name: &[u8], inode: Inode) -> Result<()> {
        let volume = &session.volume;
        let mut levels: Vec<Level> = Vec::new();
        // Directories and files alike: one visit each, the beginning first.
        let mut walk = volume.walk(inode);
        while let Some(visit) = walk.next() {
            let visit = match visit {
                Ok(visit) => visit,
                Err(e) => {
                    self.errors.push(format!("{}: {}", shown(&joined(name, &e.path)), e.error));
                    continue;
                }
            };
            let path = joined(name, &visit.path);
            let depth = if visit.path.is_empty() { 0 } else { 1 + visit.path.iter().filter(|b| **b == b'/').count() };
            while levels.len() > depth {
                self.leave(volume, &mut levels);
            }
            if self.verbose && !path.is_empty() {
                self.lines.push(shown(&path));
            }
            if let Err(e) = self.one(volume, &mut levels, &path, &visit.inode) {
                self.errors.push(format!("{}: {e:#}", shown(&path)));
                // Nothing below a directory that could not be made has a place to go.
                walk.skip_dir();
            }
        }
        while !levels.is_empty() {
            self.leave(volume, &mut levels);
        }
        Ok(())
    }

    /// Makes one file or directory; directories stay open until everything in them is there.
    fn one(&mut self, volume: &Volume, levels: &mut Vec<Level>, path: &[u8], inode: &Inode) -> Result<()> {
        let at = match levels.last() {
            Some(level) => Rc::clone(&level.fd),
            None => Rc::clone(&self.root),
        };
        let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
        let os = OsStr::from_bytes(name);
        let io = std::io::Error::from;
        if inode.is_dir() {
            let fd = if path.is_empty() {
                at
            } else {
                match fs::mkdirat(&*at, os, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(e) => return Err(io(e).into()),
                }
                let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                Rc::new(fs::openat(&*at, os, flags, Mode::empty()).map_err(io)?)
            };
            self.copied += 1;
            levels.push(Level { fd, inode: inode.clone(), path: path.to_vec() });
            return Ok(());
        }
        if inode.i_links_count.get() > 1 {
            if let Some(first) = self.links.get(&inode.nr().get()) {
                let first = OsStr::from_bytes(first);
                fs::linkat(&*self.root, first, &*at, os, AtFlags::empty()).map_err(io)?;
                self.copied += 1;
                return Ok(());
            }
            self.links.insert(inode.nr().get(), path.to_vec());
        }
        match inode.file_type() {
            mode::IFREG => self.file(volume, &at, os, path, inode)?,
            mode::IFLNK => {
                let target = volume.read_link(inode)?;
                fs::symlinkat(OsStr::from_bytes(&target), &*at, os).map_err(io)?;
                self.metadata_by_name(volume, &at, os, path, inode);
            }
            _ => self.special(volume, &at, os, path, inode)?,
        }
        self.copied += 1;
        Ok(())
    }

    fn file(&mut self, volume: &Volume, at: &OwnedFd, name: &OsStr, path: &[u8], inode: &Inode) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = fs::openat(at, name, flags, Mode::RUSR | Mode::WUSR).map_err(std::io::Error::from)?;
        let file = File::from(fd);
        let mut buf = Vec::new();
        let mut end = 0;
        for range in volume.data_ranges(inode) {
            let range = range?;
            let mut from = range.start;
            while from < range.end {
                let n = (range.end - from).min(CHUNK as u64) as usize;
                buf.resize(n, 0);
                let n = volume.read_at(inode, from, &mut buf)?;
                if n == 0 {
                    break;
                }
                file.write_all_at(buf.get(..n).unwrap_or_default(), from)?;
                from += n as u64;
            }
            end = from;
        }
        if end != inode.size() {
            file.set_len(inode.size())?;
        }
        self.metadata(volume, &file, path, inode);
        Ok(())
    }

    fn special(&mut self, volume: &Volume, at: &OwnedFd, name: &OsStr, path: &[u8], inode: &Inode) -> Result<()> {
        let (kind, device) = match inode.file_type() {
            mode::IFCHR => (FileType::CharacterDevice, true),
            mode::IFBLK => (FileType::BlockDevice, true),
            mode::IFIFO => (FileType::Fifo, false),
            mode::IFSOCK => (FileType::Socket, false),
            other => return Err(anyhow!("a file of no known type ({other:#o})")),
        };
        let (major, minor) = if device { inode.device() } else { (0, 0) };
        match fs::mknodat(at, name, kind, Mode::RUSR | Mode::WUSR, fs::makedev(major, minor)) {
            Err(Errno::PERM) if device => self.failed("device", path, Errno::PERM.into()),
            Err(e) => return Err(std::io::Error::from(e).into()),
            Ok(()) => self.metadata_by_name(volume, at, name, path, inode),
        }
        Ok(())
    }

    fn leave(&mut self, volume: &Volume, levels: &mut Vec<Level>) {
        if let Some(level) = levels.pop()
            // The host's directory itself stays as it is.
            && !level.path.is_empty()
        {
            self.metadata(volume, &*level.fd, &level.path, &level.inode);
        }
    }

    /// Owner first, as changing it clears bits of the mode; times last, as everything else changes them.
    fn metadata(&mut self, volume: &Volume, fd: &impl AsFd, path: &[u8], inode: &Inode) {
        if let Some((uid, gid)) = self.owner(inode, path)
            && let Err(e) = fs::fchown(fd, Some(uid), Some(gid))
        {
            self.failed("owner", path, e.into());
        }
        let mode = Mode::from_raw_mode(u32::from(inode.i_mode.get() & 0o7777));
        if let Err(e) = fs::fchmod(fd, mode) {
            self.failed("mode", path, e.into());
        }
        self.xattrs(volume, path, inode, &|name, value| {
            fs::fsetxattr(fd, OsStr::from_bytes(name), value, XattrFlags::empty())
        });
        if let Err(e) = fs::futimens(fd, &times(inode)) {
            self.failed("times", path, e.into());
        }
    }

    fn metadata_by_name(&mut self, volume: &Volume, at: &OwnedFd, name: &OsStr, path: &[u8], inode: &Inode) {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        if let Some((uid, gid)) = self.owner(inode, path)
            && let Err(e) = fs::chownat(at, name, Some(uid), Some(gid), flags)
        {
            self.failed("owner", path, e.into());
        }
        if !inode.is_symlink() {
            // Made by this command a moment ago, and no link: following is safe, and all fchmodat(2) can do.
            let mode = Mode::from_raw_mode(u32::from(inode.i_mode.get() & 0o7777));
            if let Err(e) = fs::chmodat(at, name, mode, AtFlags::empty()) {
                self.failed("mode", path, e.into());
            }
        }
        let mut whole = format!("/proc/self/fd/{}/", at.as_raw_fd()).into_bytes();
        whole.extend_from_slice(name.as_bytes());
        self.xattrs(volume, path, inode, &|name, value| {
            fs::lsetxattr(OsStr::from_bytes(&whole), OsStr::from_bytes(name), value, XattrFlags::empty())
        });
        if let Err(e) = fs::utimensat(at, name, &times(inode), flags) {
            self.failed("times", path, e.into());
        }
    }

    fn xattrs(&mut self, volume: &Volume, path: &[u8], inode: &Inode, set: SetXattr<'_>) {
        let list = match volume.xattrs(inode) {
            Ok(list) => list,
            Err(e) => {
                self.errors.push(format!("{}: {e}", shown(path)));
                return;
            }
        };
        for x in list {
            match x.for_user() {
                Ok(Some((name, value))) => {
                    if let Err(e) = set(&name, &value) {
                        self.failed("attribute", path, e.into());
                    }
                }
                // Inline data is content; encryption contexts cannot be set by anybody.
                Ok(None) => {}
                Err(e) => self.errors.push(format!("{}: {}: {e}", shown(path), shown(&x.full_name()))),
            }
        }
    }

    /// The owner to set; `None` when it is right already, or when the host has no such owner (-1 means "leave it").
    fn owner(&mut self, inode: &Inode, path: &[u8]) -> Option<(fs::Uid, fs::Gid)> {
        if self.own == Some((inode.uid(), inode.gid())) {
            return None;
        }
        if inode.uid() == u32::MAX || inode.gid() == u32::MAX {
            self.failed("owner", path, Errno::INVAL.into());
            return None;
        }
        Some((fs::Uid::from_raw(inode.uid()), fs::Gid::from_raw(inode.gid())))
    }

    fn failed(&mut self, what: &'static str, path: &[u8], why: std::io::Error) {
        let why = why.to_string();
        if self.verbose {
            self.lines.push(format!("{}: {what} not set: {why}", shown(path)));
        }
        match self.unset.iter_mut().find(|u| u.what == what && u.why == why) {
            Some(u) => u.count += 1,
            None => self.unset.push(Unset { what, first: path.to_vec(), why, count: 1 }),
        }
    }

    /// Prints what came up during one source.
    fn flush(&mut self, session: &mut Session<'_>) -> Result<()> {
        for line in self.lines.drain(..) {
            if !session.json {
                writeln!(session.out, "{line}")?;
            }
        }
        for error in self.errors.drain(..) {
            session.complain(error);
        }
        Ok(())
    }

    fn report(self, session: &mut Session<'_>, name: &str) -> Result<()> {
        for u in &self.unset {
            session.out.flush()?;
            let files = if u.count == 1 { "1 file".to_owned() } else { format!("{} files", u.count) };
            session.messages.warning(format_args!(
                "{} not set on {files}, the first {}: {}",
                u.what,
                shown(&u.first),
                u.why
            ));
        }
        if session.json {
            let unset: Vec<_> = self
                .unset
                .iter()
                .map(|u| json!({ "what": u.what, "count": u.count, "first": text(&u.first), "why": u.why }))
                .collect();
            return output::document(&mut session.out, name, json!({ "copied": self.copied, "unset": unset }));
        }
        Ok(())
    }
}

fn times(inode: &Inode) -> Timestamps {
    let spec = |t: Timestamp| Timespec { tv_sec: t.seconds, tv_nsec: i64::from(t.nanos.min(999_999_999)) };
    Timestamps { last_access: spec(inode.atime()), last_modification: spec(inode.mtime()) }
}
