//! System calls as data: what both kernels are asked, and what they answer. Arguments are the numbers that a program hands in.

use std::fmt;

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    /// Root, with every capability.
    Root,
    /// User and group 1000, with none.
    Plain,
}

/// The number of [`User::Plain`].
pub(crate) const PLAIN: u32 = 1000;

/// What a call is about: a descriptor that is kept, or one that is opened for the call (to read, links followed).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum On {
    Slot(usize),
    Path(String),
}

/// A time for `utimensat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Now,
    Omit,
    At(i64),
}

/// Pages of the window of addresses, counted from its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pages {
    pub(crate) first: u64,
    pub(crate) count: u64,
}

/// `struct fsxattr`, without the number of extents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fsx {
    pub(crate) xflags: u32,
    pub(crate) extsize: u32,
    pub(crate) projid: u32,
    pub(crate) cowextsize: u32,
}

/// A system call. Descriptors stand in slots; opening into one that is taken closes what was there (`dup2`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    Open(usize, String, u32, u16),
    Close(usize),
    Read(usize, Option<u64>, usize),
    /// Bytes that count up from the first.
    Write(usize, Option<u64>, u8, usize),
    Seek(usize, i64, u32),
    Truncate(String, i64),
    Ftruncate(usize, i64),
    Fallocate(usize, u32, i64, i64),
    Fsync(usize, bool),
    Sync,
    Mkdir(String, u16),
    Mknod(String, u16, u32),
    Symlink(String, String),
    Link(String, String),
    LinkFile(usize, String),
    Unlink(String),
    Rmdir(String),
    Rename(String, String, u32),
    Readlink(String),
    Readdir(String),
    Stat(String, bool),
    Fstat(usize),
    Chmod(On, u16),
    Chown(On, u32, u32),
    Utimens(On, When, When),
    SetXattr(On, String, Option<usize>),
    GetXattr(On, String),
    ListXattr(On),
    GetFlags(On),
    SetFlags(On, u32),
    /// Reads the flags and writes them back with these bits the other way round.
    ToggleFlags(On, u32),
    GetFsx(On),
    SetFsx(On, Fsx),
    /// The same for `FS_IOC_FSSETXATTR`.
    ToggleFsx(On, u32),
    /// Takes immutable and append-only away, as root.
    Loosen(String),
    Mmap {
        at: Pages,
        slot: Option<usize>,
        offset: u64,
        prot: u32,
        flags: u32,
    },
    Munmap(Pages),
    Mprotect(Pages, u32),
    Mremap(Pages, u64),
    Msync(Pages, u32),
    Madvise(Pages, u32),
    /// Bytes at an address of the window. Part of them may be there.
    Load(u64, usize),
    Store(u64, u8, usize),
    /// `pread` into the window, `pwrite` from it.
    ReadTo(usize, u64, u64, usize),
    WriteFrom(usize, u64, u64, usize),
    Remount(bool),
    /// These while the mount is frozen: none that writes. Whatever comes of them, it is thawed.
    Frozen(Vec<Op>),
    Freeze,
    Thaw,
}

/// A call and who makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) user: User,
    pub(crate) op: Op,
}

impl Call {
    pub(crate) fn root(op: Op) -> Self {
        Self { user: User::Root, op }
    }
}

/// What `statx` says, as far as it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) mode: u16,
    pub(crate) nlink: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Of directories each file system has its own idea.
    pub(crate) size: u64,
    pub(crate) attributes: u64,
    /// None: since the test began.
    pub(crate) mtime: Option<i64>,
}

/// What came of a call.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Out {
    Done,
    Number(u64),
    Bytes(Vec<u8>),
    Names(Vec<Vec<u8>>),
    Stat(Stat),
    Fsx(Fsx),
    Many(Vec<Out>),
    Fails(i32),
    /// It was not asked: what a device or a FIFO does with it is no file system's matter.
    Left,
}

/// Stretches of equal bytes and of bytes that count up are short to print.
fn brief(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    write!(f, "{} bytes", bytes.len())?;
    let mut at = 0;
    let mut parts = 0;
    while at < bytes.len() && parts < 12 {
        let step = bytes.get(at + 1).map_or(0, |next| next.wrapping_sub(bytes[at]));
        let step = if step == 1 { 1 } else { 0 };
        let run = bytes[at..].windows(2).take_while(|pair| pair[1] == pair[0].wrapping_add(step)).count() + 1;
        write!(f, " {}{:#x}*{run}", if step == 1 { "+" } else { "" }, bytes[at])?;
        at += run;
        parts += 1;
    }
    if at < bytes.len() { f.write_str(" ...") } else { Ok(()) }
}

impl fmt::Debug for Out {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Number(n) => write!(f, "{n} ({n:#x})"),
            Self::Bytes(bytes) => brief(f, bytes),
            Self::Names(names) => {
                f.debug_list().entries(names.iter().map(|name| String::from_utf8_lossy(name))).finish()
            }
            Self::Stat(stat) => write!(
                f,
                "mode {:o} nlink {} owner {}:{} size {} attributes {:#x} mtime {:?}",
                stat.mode, stat.nlink, stat.uid, stat.gid, stat.size, stat.attributes, stat.mtime
            ),
            Self::Fsx(fsx) => write!(f, "{fsx:x?}"),
            Self::Many(outs) => f.debug_list().entries(outs).finish(),
            Self::Fails(number) => write!(f, "{}", std::io::Error::from_raw_os_error(*number)),
            Self::Left => f.write_str("not asked"),
        }
    }
}

/// Who can be asked.
pub(crate) trait Subject {
    /// Makes a call.
    fn call(&mut self, call: &Call) -> Out;
}
