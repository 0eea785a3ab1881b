//! The host's system calls in the form the walk needs: relative to open directories, never through a symlink on the way.

use super::tree::{Attributes, Kind};
use daxkit_format::ext4::inode::Timestamp;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, StatxFlags, StatxTimestamp};
use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

/// What the walk wants to know of a file.
#[derive(Clone, Copy)]
pub(super) struct Stat {
    pub(super) kind: Kind,
    pub(super) attributes: Attributes,
    pub(super) size: u64,
    pub(super) allocated: u64,
    pub(super) links: u32,
    pub(super) dev: u64,
    pub(super) ino: u64,
    pub(super) device: (u32, u32),
}

/// `fstatat`; an empty name for the descriptor itself. `None` for a type nothing is known about.
pub(super) fn stat(fd: impl AsFd, name: &CStr) -> Result<Option<Stat>, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW
        | AtFlags::NO_AUTOMOUNT
        | if name.is_empty() { AtFlags::EMPTY_PATH } else { AtFlags::empty() };
    let s = rustix::fs::statx(fd, name, flags, StatxFlags::BASIC_STATS)?;
    let kind = match FileType::from_raw_mode(s.stx_mode.into()) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Dir,
        FileType::Symlink => Kind::Symlink,
        FileType::CharacterDevice => Kind::Char,
        FileType::BlockDevice => Kind::Block,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::Unknown => return Ok(None),
    };
    let time = |t: StatxTimestamp| Timestamp { seconds: t.tv_sec, nanos: t.tv_nsec };
    Ok(Some(Stat {
        kind,
        attributes: Attributes {
            mode: s.stx_mode & 0o7777,
            uid: s.stx_uid,
            gid: s.stx_gid,
            atime: time(s.stx_atime),
            ctime: time(s.stx_ctime),
            mtime: time(s.stx_mtime),
        },
        size: s.stx_size,
        allocated: s.stx_blocks.saturating_mul(512),
        links: s.stx_nlink,
        dev: rustix::fs::makedev(s.stx_dev_major, s.stx_dev_minor),
        ino: s.stx_ino,
        device: (s.stx_rdev_major, s.stx_rdev_minor),
    }))
}

/// Longest path handed to one system call; the kernel takes 4,095 bytes.
const LONGEST: usize = 4000;

/// Opens a directory below `root`; `path` is inside the tree (`/a/b`, or `/`). No symlink is followed.
pub(super) fn open_dir(root: impl AsFd, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let relative = path.strip_prefix(b"/").unwrap_or(path);
    if relative.is_empty() {
        return rustix::fs::openat(root, c".", flags, Mode::empty());
    }
    if relative.len() <= LONGEST {
        match rustix::fs::openat2(
            &root,
            relative,
            flags,
            Mode::empty(),
            ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH,
        ) {
            // Old kernels have no openat2, and some sandboxes refuse what they do not know.
            Err(Errno::NOSYS | Errno::PERM) => {}
            done => return done,
        }
    }
    let mut names = relative.split(|b| *b == b'/').peekable();
    let mut at: Option<OwnedFd> = None;
    while let Some(name) = names.next() {
        let step = if names.peek().is_some() {
            OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
        } else {
            flags
        };
        at = Some(match &at {
            None => rustix::fs::openat(&root, name, step, Mode::empty())?,
            Some(dir) => rustix::fs::openat(dir, name, step, Mode::empty())?,
        });
    }
    at.ok_or(Errno::NOENT)
}

/// Opens a file for reading, without a trace in its access time where the host allows that.
pub(super) fn open_file(dir: impl AsFd, name: &CStr, noatime: &mut bool) -> Result<OwnedFd, Errno> {
    // Not blocking: what was a file a moment ago may be a fifo by now.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    if *noatime {
        match rustix::fs::openat(&dir, name, flags | OFlags::NOATIME, Mode::empty()) {
            // Only owners may ask for it. Who owns one file of a tree mostly owns all, so it is not tried again.
            Err(Errno::PERM) => *noatime = false,
            done => return done,
        }
    }
    rustix::fs::openat(&dir, name, flags, Mode::empty())
}
