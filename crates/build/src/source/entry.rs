//! The entries of one directory: listed, sorted, looked at one by one.

use super::builder::Chunk;
use super::error::{ScanError, SkipReason, Skipped};
use super::host::{self, Stat};
use super::scan::{OwnerPolicy, ScanOptions};
use super::tree::{DataRanges, Kind, NO_XATTRS, Node};
use super::xattr::{Found, XattrReader};
use rustix::fs::{Access, AtFlags, OFlags, RawDir, SeekFrom};
use rustix::io::Errno;
use std::ffi::{CStr, OsStr};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// An open directory with its sorted names.
pub(super) struct Listing {
    fd: OwnedFd,
    /// Path inside the tree, without a trailing slash: empty for the root.
    inside: Vec<u8>,
    /// Names, each with a NUL.
    names: Vec<u8>,
    /// Where each name begins in `names`, in the order of the names.
    order: Vec<u32>,
}

impl Listing {
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    fn name(&self, index: usize) -> Option<&CStr> {
        let at = *self.order.get(index)? as usize;
        CStr::from_bytes_until_nul(self.names.get(at..)?).ok()
    }
}

/// What a thread keeps between directories.
pub(super) struct Worker<'a> {
    root: &'a OwnedFd,
    root_path: &'a Path,
    options: &'a ScanOptions,
    xattrs: XattrReader,
    dirents: Vec<u8>,
    path: Vec<u8>,
    noatime: bool,
    /// User id, when permissions apply to this process.
    user: Option<u32>,
}

/// What one run of entries came to.
#[derive(Default)]
pub(super) struct Output {
    pub(super) chunk: Chunk,
    pub(super) skipped: Vec<Skipped>,
    /// The run ends here.
    pub(super) error: Option<ScanError>,
}

/// What failed, before it is known whether it is an error or left out.
struct Failure {
    what: &'static str,
    errno: Errno,
}

impl<'a> Worker<'a> {
    pub(super) fn new(root: &'a OwnedFd, root_path: &'a Path, options: &'a ScanOptions) -> Self {
        let user = rustix::process::geteuid();
        Self {
            root,
            root_path,
            options,
            xattrs: XattrReader::new(),
            dirents: Vec::with_capacity(64 << 10),
            path: Vec::new(),
            noatime: true,
            user: (!user.is_root()).then_some(user.as_raw()),
        }
    }

    fn host_path(&self, inside: &[u8], name: &[u8]) -> PathBuf {
        let mut path = self.root_path.as_os_str().as_bytes().to_vec();
        while path.last() == Some(&b'/') {
            path.pop();
        }
        path.extend_from_slice(inside);
        if !name.is_empty() || path.is_empty() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        PathBuf::from(std::ffi::OsString::from_vec(path))
    }

    /// Opens and lists a directory. `Ok(None)`: it cannot be read and was noted as skipped.
    pub(super) fn list(&mut self, inside: Vec<u8>, output: &mut Output) -> Option<Listing> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        // Making an image of a tree should leave no trace in it; only owners may ask for that.
        let quiet =
            if self.noatime { host::open_dir(self.root, &inside, flags | OFlags::NOATIME) } else { Err(Errno::PERM) };
        let opened = match quiet {
            Err(Errno::PERM) => {
                self.noatime = false;
                host::open_dir(self.root, &inside, flags)
            }
            done => done,
        };
        let fd = match opened {
            Ok(fd) => fd,
            Err(errno) => {
                self.fail(output, &inside, b"", &Failure { what: "open the directory", errno });
                return None;
            }
        };
        match list(fd, inside, &mut self.dirents) {
            Ok(listing) => Some(listing),
            Err((inside, errno)) => {
                self.fail(output, &inside, b"", &Failure { what: "list the directory", errno });
                None
            }
        }
    }

    /// Notes a failure, as an error or as something left out.
    fn fail(&self, output: &mut Output, inside: &[u8], name: &[u8], failure: &Failure) {
        let path = self.host_path(inside, name);
        let vanished = matches!(failure.errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::STALE);
        let source = failure.errno.into();
        if self.options.skip_unreadable {
            let reason =
                if vanished { SkipReason::Vanished } else { SkipReason::Unreadable { what: failure.what, source } };
            output.skipped.push(Skipped { path, reason });
        } else if vanished {
            output.error = Some(ScanError::Changed { path });
        } else {
            output.error = Some(ScanError::Unreadable { what: failure.what, path, source });
        }
    }

    /// Looks at a run of a directory's entries.
    pub(super) fn look(&mut self, dir: &Listing, range: Range<usize>) -> Output {
        let mut output = Output::default();
        output.chunk.nodes.reserve_exact(range.len());
        let mut path = std::mem::take(&mut self.path);
        path.clear();
        path.extend_from_slice(self.root_path.as_os_str().as_bytes());
        path.extend_from_slice(&dir.inside);
        path.push(b'/');
        let by_path = path.len();
        for name in range.map_while(|i| dir.name(i)) {
            if output.error.is_some() {
                break;
            }
            path.truncate(by_path);
            path.extend_from_slice(name.to_bytes_with_nul());
            if path.len() > 4096 {
                // Too long for one call; the descriptor's own name is short.
                path.clear();
                path.extend_from_slice(format!("/proc/self/fd/{}/", dir.fd.as_raw_fd()).as_bytes());
                path.extend_from_slice(name.to_bytes_with_nul());
                self.entry(dir, name, &path, &mut output);
                path = self.host_path(&dir.inside, b"").into_os_string().into_vec();
                path.push(b'/');
                continue;
            }
            self.entry(dir, name, &path, &mut output);
        }
        self.path = path;
        output
    }

    fn excluded(&self, dir: &Listing, name: &[u8]) -> bool {
        if self.options.exclude.is_empty() {
            return false;
        }
        let mut inside = dir.inside.clone();
        inside.push(b'/');
        inside.extend_from_slice(name);
        self.options.exclude.is_match(Path::new(OsStr::from_bytes(&inside)))
    }

    fn entry(&mut self, dir: &Listing, name: &CStr, path: &[u8], output: &mut Output) {
        let bytes = name.to_bytes();
        if self.excluded(dir, bytes) {
            return;
        }
        let Ok(name_len) = u8::try_from(bytes.len()) else {
            let path = self.host_path(&dir.inside, bytes);
            if self.options.skip_unreadable {
                output.skipped.push(Skipped { path, reason: SkipReason::NameTooLong });
            } else {
                output.error = Some(ScanError::NameTooLong { path, len: bytes.len() });
            }
            return;
        };
        let names_before = output.chunk.names.len();
        if let Err(failure) = self.add(dir, name, name_len, path, output) {
            output.chunk.names.truncate(names_before);
            self.fail(output, &dir.inside, bytes, &failure);
        }
    }

    fn add(
        &mut self,
        dir: &Listing,
        name: &CStr,
        name_len: u8,
        path: &[u8],
        output: &mut Output,
    ) -> Result<(), Failure> {
        let failed = |what| move |errno| Failure { what, errno };
        let Some(stat) = host::stat(&dir.fd, name).map_err(failed("look at"))? else {
            return Err(Failure { what: "tell the type of", errno: Errno::OPNOTSUPP });
        };
        if self.options.leave_out.contains(&(stat.dev, stat.ino)) {
            return Ok(());
        }
        let found = self.attributes(path)?;
        if stat.kind == Kind::File {
            self.check_readable(dir, name, &stat, found.as_ref()).map_err(failed("read"))?;
        }
        let holes = if self.options.detect_holes && stat.kind == Kind::File && stat.allocated < stat.size {
            self.holes(dir, name, stat.size).map_err(failed("read"))?
        } else {
            None
        };
        let chunk = &mut output.chunk;
        let mut node = Node::new(stat.kind, &stat.attributes);
        if let OwnerPolicy::Fixed(uid, gid) = self.options.owner {
            (node.uid, node.gid) = (uid, gid);
        }
        node.name_at = chunk.names.len() as u32;
        node.name_len = name_len;
        chunk.names.extend_from_slice(name.to_bytes());
        match stat.kind {
            Kind::File => node.value = stat.size,
            Kind::Symlink => {
                let target = rustix::fs::readlinkat(&dir.fd, name, Vec::new()).map_err(failed("read the link"))?;
                node.value = target.as_bytes().len() as u64;
                chunk.names.extend_from_slice(target.as_bytes());
            }
            Kind::Char | Kind::Block => node.value = u64::from(stat.device.0) << 32 | u64::from(stat.device.1),
            Kind::Dir | Kind::Fifo | Kind::Socket => {}
        }
        let index = chunk.nodes.len() as u32;
        if let Some(Found { set, foreign }) = found {
            for name_of_attribute in foreign {
                let path = self.host_path(&dir.inside, name.to_bytes());
                output.skipped.push(Skipped { path, reason: SkipReason::Xattr { name: name_of_attribute } });
            }
            if !set.list.is_empty() {
                // Neighbours mostly have the same attributes.
                if chunk.sets.last() != Some(&set) {
                    chunk.sets.push(set);
                }
                node.xattrs = chunk.sets.len() as u32 - 1;
            }
        }
        if let Some(ranges) = holes {
            chunk.holes.push((index, ranges));
        }
        if stat.links > 1 && stat.kind != Kind::Dir {
            chunk.links.push((index, stat.dev, stat.ino));
        }
        debug_assert!(node.xattrs == NO_XATTRS || (node.xattrs as usize) < chunk.sets.len());
        chunk.nodes.push(node);
        Ok(())
    }

    /// The extended attributes of what `path` (with its NUL) names.
    pub(super) fn attributes_of(&mut self, path: &[u8]) -> Result<Option<Found>, Errno> {
        let Ok(path) = CStr::from_bytes_with_nul(path) else { return Ok(None) };
        self.xattrs.read(path)
    }

    fn attributes(&mut self, path: &[u8]) -> Result<Option<Found>, Failure> {
        if !self.options.read_xattrs {
            return Ok(None);
        }
        self.attributes_of(path).map_err(|errno| Failure { what: "read the extended attributes of", errno })
    }

    /// Content is read much later, but that it cannot be read is better known before anything is planned. Costs a system
    /// call only where the permission bits leave a doubt.
    fn check_readable(&self, dir: &Listing, name: &CStr, stat: &Stat, found: Option<&Found>) -> Result<(), Errno> {
        let Some(user) = self.user else { return Ok(()) };
        let has_acl = || found.is_some_and(|f| f.set.list.iter().any(|(n, _)| n == b"system.posix_acl_access"));
        let mode = stat.attributes.mode;
        if if stat.attributes.uid == user { mode & 0o400 != 0 } else { mode & 0o044 == 0o044 && !has_acl() } {
            return Ok(());
        }
        rustix::fs::accessat(&dir.fd, name, Access::READ_OK, AtFlags::EACCESS)
    }

    /// Where the file has data; `None` when the host reports no hole.
    fn holes(&mut self, dir: &Listing, name: &CStr, size: u64) -> Result<Option<DataRanges>, Errno> {
        let fd = host::open_file(&dir.fd, name, &mut self.noatime)?;
        let mut ranges: Vec<Range<u64>> = Vec::new();
        let mut at = 0;
        while at < size {
            let start = match rustix::fs::seek(&fd, SeekFrom::Data(at)) {
                Ok(start) => start.max(at),
                Err(Errno::NXIO) => break,
                // The host cannot tell.
                Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(None),
                Err(e) => return Err(e),
            };
            if start >= size {
                break;
            }
            let end = rustix::fs::seek(&fd, SeekFrom::Hole(start))?.min(size);
            if end <= start {
                // Cut while it was looked at; reading it will tell.
                break;
            }
            match ranges.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => ranges.push(start..end),
            }
            at = end;
        }
        let whole = matches!(&ranges[..], [only] if *only == (0..size));
        Ok((!whole).then(|| ranges.into_boxed_slice()))
    }
}

fn list(fd: OwnedFd, inside: Vec<u8>, buffer: &mut Vec<u8>) -> Result<Listing, (Vec<u8>, Errno)> {
    let mut names = Vec::new();
    let mut order = Vec::new();
    buffer.clear();
    let mut entries = RawDir::new(fd.as_fd(), buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(e) => e,
            Err(e) => return Err((inside, e)),
        };
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let Ok(at) = u32::try_from(names.len()) else { return Err((inside, Errno::OVERFLOW)) };
        order.push(at);
        names.extend_from_slice(name.to_bytes_with_nul());
    }
    // A NUL sorts before every byte of a name, so comparing to the end of the arena compares the names.
    order.sort_unstable_by(|a, b| names.get(*a as usize..).cmp(&names.get(*b as usize..)));
    // A directory that is changed while it is listed may show a name twice.
    order.dedup_by(|a, b| {
        let name = |at: u32| names.get(at as usize..).and_then(|n| CStr::from_bytes_until_nul(n).ok());
        name(*a) == name(*b)
    });
    Ok(Listing { fd, inside, names, order })
}
