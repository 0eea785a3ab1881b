//! A tree as one reader sees it, in a form that can be compared with what another reader sees.

use super::tools::Failure;
use rustix::fs::{Mode, OFlags, SeekFrom, XattrFlags};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A time: seconds and nanoseconds.
pub(crate) type Time = (i64, u32);

/// What one name stands for. What a reader cannot tell is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Type and permissions, as in `st_mode`.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Files and symlinks.
    pub(crate) size: Option<u64>,
    pub(crate) mtime: Time,
    pub(crate) atime: Option<Time>,
    pub(crate) ctime: Option<Time>,
    /// Hash of a file's content, or a symlink's target.
    pub(crate) content: Option<Vec<u8>>,
    /// Where a file has data.
    pub(crate) data: Option<Vec<Range<u64>>>,
    pub(crate) xattrs: Option<BTreeMap<Vec<u8>, Vec<u8>>>,
    pub(crate) device: Option<(u32, u32)>,
    /// Link count; not for directories.
    pub(crate) links: Option<u32>,
    /// Number of the inode, only to find out which names share one.
    pub(crate) inode: u64,
}

impl Entry {
    /// The type bits.
    pub(crate) fn kind(&self) -> u32 {
        self.mode & 0o170_000
    }

    pub(crate) fn is_dir(&self) -> bool {
        self.kind() == 0o040_000
    }

    pub(crate) fn is_symlink(&self) -> bool {
        self.kind() == 0o120_000
    }

    pub(crate) fn is_file(&self) -> bool {
        self.kind() == 0o100_000
    }
}

/// All names of a tree by their path inside: `/` is the root.
pub(crate) type Snapshot = BTreeMap<Vec<u8>, Entry>;

/// What the host's system calls say of a directory: a source, or a mounted image.
pub(crate) fn of_directory(root: &Path) -> Result<Snapshot, Failure> {
    let mut all = Snapshot::new();
    let mut todo = vec![b"/".to_vec()];
    while let Some(inside) = todo.pop() {
        let host = root.join(std::ffi::OsStr::from_bytes(inside.strip_prefix(b"/").unwrap_or(&inside)));
        let entry = of_path(&host).map_err(|e| format!("{}: {e}", host.display()))?;
        if entry.is_dir() {
            for name in fs::read_dir(&host).map_err(|e| format!("{}: {e}", host.display()))? {
                let name = name.map_err(|e| format!("{}: {e}", host.display()))?.file_name();
                todo.push(join(&inside, name.as_bytes()));
            }
        }
        all.insert(inside, entry);
    }
    Ok(all)
}

/// As [`of_directory`], looked at twice: the first look settles the access times of directories and links.
pub(crate) fn settled(root: &Path) -> Result<Snapshot, Failure> {
    of_directory(root)?;
    of_directory(root)
}

/// A path and a name below it.
pub(crate) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = if dir == b"/" { Vec::new() } else { dir.to_vec() };
    path.push(b'/');
    path.extend_from_slice(name);
    path
}

fn of_path(path: &Path) -> std::io::Result<Entry> {
    let meta = fs::symlink_metadata(path)?;
    let mut entry = Entry {
        mode: meta.mode(),
        uid: meta.uid(),
        gid: meta.gid(),
        size: None,
        mtime: (meta.mtime(), meta.mtime_nsec() as u32),
        atime: Some((meta.atime(), meta.atime_nsec() as u32)),
        ctime: Some((meta.ctime(), meta.ctime_nsec() as u32)),
        content: None,
        data: None,
        xattrs: Some(xattrs_of(path)?),
        device: None,
        links: (!meta.is_dir()).then_some(meta.nlink() as u32),
        inode: meta.ino(),
    };
    if meta.is_file() {
        // Looking must not change what is compared.
        let flags = OFlags::RDONLY | OFlags::NOATIME | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
        entry.size = Some(meta.len());
        let data = data_ranges(&file, meta.len())?;
        entry.content = Some(hash_ranges(meta.len(), &data, |at, buf| {
            use std::os::unix::fs::FileExt;
            file.read_exact_at(buf, at)
        })?);
        entry.data = Some(data);
    } else if meta.is_symlink() {
        let target = fs::read_link(path)?;
        entry.size = Some(meta.len());
        entry.content = Some(target.as_os_str().as_bytes().to_vec());
    } else if matches!(entry.kind(), 0o020_000 | 0o060_000) {
        entry.device = Some((rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev())));
    }
    Ok(entry)
}

/// The hash of a file's content that does not depend on where its holes are: of every piece of 4 KiB that holds anything
/// but zeroes, with its place.
pub(crate) fn hash_ranges<E>(
    size: u64,
    data: &[Range<u64>],
    mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
) -> Result<Vec<u8>, E> {
    const PIECE: u64 = 4096;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    for range in data {
        at = at.max(range.start / PIECE * PIECE);
        let end = range.end.div_ceil(PIECE).saturating_mul(PIECE).min(size);
        while at < end {
            let len = (end - at).min(buffer.len() as u64) as usize;
            read(at, &mut buffer[..len])?;
            for (i, piece) in buffer[..len].chunks(PIECE as usize).enumerate() {
                // What lies behind the last data is told by the size, which is compared for itself.
                if let Some(last) = piece.iter().rposition(|b| *b != 0) {
                    hasher.update(&(at + i as u64 * PIECE).to_le_bytes());
                    hasher.update(&(last as u64).to_le_bytes());
                    hasher.update(&piece[..=last]);
                }
            }
            at += len as u64;
        }
    }
    Ok(hasher.finalize().as_bytes().to_vec())
}

/// Where the host says that a file has data, in blocks of 4 KiB at least.
pub(crate) fn data_ranges(file: &File, size: u64) -> std::io::Result<Vec<Range<u64>>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(rustix::io::Errno::NXIO) => break,
            Err(e) => return Err(e.into()),
        };
        let end = rustix::fs::seek(file, SeekFrom::Hole(start))?.min(size);
        match ranges.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => ranges.push(start..end),
        }
        at = end;
    }
    Ok(ranges)
}

fn xattrs_of(path: &Path) -> std::io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut names = vec![0; 65536];
    let len = match rustix::fs::llistxattr(path, &mut names[..]) {
        Ok(len) => len,
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        Err(e) => return Err(e.into()),
    };
    let mut found = BTreeMap::new();
    for name in names[..len].split(|b| *b == 0).filter(|n| !n.is_empty()) {
        let mut value = vec![0; 65536];
        let len = rustix::fs::lgetxattr(path, name, &mut value[..])?;
        value.truncate(len);
        found.insert(name.to_vec(), value);
    }
    Ok(found)
}

/// Gives a file an attribute.
pub(crate) fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty())
        .unwrap_or_else(|e| panic!("setting {name} on {} (as root): {e}", path.display()));
}

/// The hash of a file that is read whole.
pub(crate) fn hash_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    // Not by position: what cannot be sought can be read too.
    let mut at = 0;
    hash_ranges(size, &[0..size], |from, buf| {
        assert_eq!(from, at, "read in order");
        at += buf.len() as u64;
        file.read_exact(buf)
    })
}
