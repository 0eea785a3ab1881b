//! The walk: directories are taken in the order of their ids by any free thread, and their children are appended in that
//! same order, so that the tree comes out the same whatever the threads do and no second copy of it is needed.

use super::builder::{Builder, Chunk};
use super::entry::{Listing, Output, Worker};
use super::error::{ScanError, SkipReason, Skipped};
use super::host;
use super::tree::{Attributes, Tree, XattrSet};
use crate::progress::Progress;
use globset::GlobSet;
use rustix::fs::{Mode, OFlags};
use std::collections::VecDeque;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Who owns the files of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OwnerPolicy {
    /// Whoever owns them on the host.
    #[default]
    AsIs,
    /// This user and group.
    Fixed(u32, u32),
}

/// How to walk a source.
#[derive(Debug, Clone)]
pub struct ScanOptions {
    /// What to leave out, matched against the path inside the tree (`/a/b`); a directory goes with all it holds. See
    /// [`super::exclude_set`].
    pub exclude: GlobSet,
    /// Who owns the files.
    pub owner: OwnerPolicy,
    /// Leave out what cannot be read, instead of giving up.
    pub skip_unreadable: bool,
    /// Worker threads.
    pub threads: usize,
    /// Read extended attributes.
    pub read_xattrs: bool,
    /// Ask the host for the holes of sparse files.
    pub detect_holes: bool,
    /// Device and inode of files to leave out, as the image itself, should it lie in the source.
    pub leave_out: Vec<(u64, u64)>,
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self {
            exclude: GlobSet::empty(),
            owner: OwnerPolicy::AsIs,
            skip_unreadable: false,
            threads: 1,
            read_xattrs: true,
            detect_holes: true,
            leave_out: Vec::new(),
        }
    }
}

/// Directories with more entries than this are looked at by several threads.
const PART: usize = 2048;
/// Threads do not run further ahead than this many names of what is appended.
const AHEAD: usize = 64 << 10;

/// A directory that is being looked at.
struct Pending {
    parts: Vec<Option<Output>>,
    missing: usize,
}

struct State {
    builder: Builder,
    skipped: Vec<Skipped>,
    error: Option<ScanError>,
    /// Index of the next directory nobody has taken.
    next: usize,
    /// Index of the next directory to get its children.
    appended: usize,
    /// Directories taken, from `appended` on.
    pending: VecDeque<Pending>,
    /// Names found but not appended.
    ahead: usize,
    /// Parts of large directories that nobody has taken: the directory's index, the part's.
    parts: VecDeque<(usize, usize, Arc<Listing>)>,
}

enum Job {
    Dir(usize, Vec<u8>),
    Part(usize, usize, Arc<Listing>),
}

struct Shared<'a> {
    state: Mutex<State>,
    wake: Condvar,
    progress: &'a dyn Progress,
}

/// Walks a directory. What was left out and why comes back in the order of the walk; without
/// [`ScanOptions::skip_unreadable`] only attributes of foreign namespaces are. One stage of progress: names.
///
/// # Errors
/// The first thing in the order of the walk that cannot be read; or it was cancelled.
pub fn scan(root: &Path, options: &ScanOptions, progress: &dyn Progress) -> Result<(Tree, Vec<Skipped>), ScanError> {
    let root_error = |e: rustix::io::Errno| ScanError::Root { path: root.to_path_buf(), source: e.into() };
    progress.stage("scan the source", 0);
    let fd = rustix::fs::open(root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(root_error)?;
    let stat = host::stat(&fd, c"").map_err(root_error)?.ok_or_else(|| root_error(rustix::io::Errno::NOTDIR))?;
    let mut attributes = stat.attributes;
    if let OwnerPolicy::Fixed(uid, gid) = options.owner {
        attributes = Attributes { uid, gid, ..attributes };
    }
    let mut worker = Worker::new(&fd, root, options);
    let mut skipped = Vec::new();
    let mut xattrs = XattrSet::default();
    if options.read_xattrs {
        // The dot: the source may be named through a symlink.
        let mut path = root.as_os_str().as_bytes().to_vec();
        path.extend_from_slice(b"/.\0");
        if let Some(found) = worker.attributes_of(&path).map_err(root_error)? {
            xattrs = found.set;
            let foreign = found
                .foreign
                .into_iter()
                .map(|name| Skipped { path: root.to_path_buf(), reason: SkipReason::Xattr { name } });
            skipped.extend(foreign);
        }
    }
    let shared = Shared {
        state: Mutex::new(State {
            builder: Builder::new(&attributes, xattrs, None),
            skipped,
            error: None,
            next: 0,
            appended: 0,
            pending: VecDeque::new(),
            ahead: 0,
            parts: VecDeque::new(),
        }),
        wake: Condvar::new(),
        progress,
    };
    std::thread::scope(|scope| {
        for _ in 1..options.threads.max(1) {
            let shared = &shared;
            let mut worker = Worker::new(&fd, root, options);
            scope.spawn(move || shared.work(&mut worker));
        }
        shared.work(&mut worker);
    });
    let state = shared.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    match state.error {
        Some(error) => Err(error),
        None => Ok((state.builder.finish(), state.skipped)),
    }
}

impl Shared<'_> {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, worker: &mut Worker<'_>) {
        while let Some(job) = self.take() {
            match job {
                Job::Dir(index, inside) => self.directory(worker, index, inside),
                Job::Part(index, part, listing) => {
                    let output = worker.look(&listing, part_range(&listing, part));
                    self.deliver(index, part, output);
                }
            }
        }
    }

    /// The next job; `None` when there are none any more.
    fn take(&self) -> Option<Job> {
        let mut s = self.lock();
        loop {
            if s.error.is_some() {
                return None;
            }
            if let Some((index, part, listing)) = s.parts.pop_front() {
                return Some(Job::Part(index, part, listing));
            }
            match s.builder.dir(s.next) {
                // Somebody must always be able to work on the directory that is to be appended next.
                Some(dir) if s.ahead < AHEAD || s.next == s.appended => {
                    let index = s.next;
                    s.next += 1;
                    s.pending.push_back(Pending { parts: vec![None], missing: 1 });
                    let inside = if dir == Tree::ROOT { Vec::new() } else { s.builder.tree().path(dir) };
                    return Some(Job::Dir(index, inside));
                }
                // All directories have their children.
                None if s.pending.is_empty() => return None,
                _ => s = self.wake.wait(s).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn directory(&self, worker: &mut Worker<'_>, index: usize, inside: Vec<u8>) {
        let mut output = Output::default();
        let Some(listing) = worker.list(inside, &mut output) else {
            self.deliver(index, 0, output);
            return;
        };
        let parts = listing.len().div_ceil(PART).max(1);
        if parts == 1 {
            let output = worker.look(&listing, 0..listing.len());
            self.deliver(index, 0, output);
            return;
        }
        let listing = Arc::new(listing);
        {
            let mut s = self.lock();
            let at = index - s.appended;
            if let Some(p) = s.pending.get_mut(at) {
                p.parts.resize_with(parts, || None);
                p.missing = parts;
            }
            s.parts.extend((1..parts).map(|part| (index, part, Arc::clone(&listing))));
            self.wake.notify_all();
        }
        let output = worker.look(&listing, part_range(&listing, 0));
        self.deliver(index, 0, output);
    }

    /// Takes in what a thread found, and appends what is next.
    fn deliver(&self, index: usize, part: usize, output: Output) {
        let cancelled = self.progress.cancelled();
        let mut guard = self.lock();
        let s = &mut *guard;
        if cancelled {
            s.error.get_or_insert(ScanError::Cancelled);
        }
        let before = s.builder.tree().len();
        s.ahead += output.chunk.nodes.len();
        let at = index - s.appended;
        if let Some(p) = s.pending.get_mut(at)
            && let Some(slot) = p.parts.get_mut(part)
        {
            *slot = Some(output);
            p.missing -= 1;
        }
        while s.error.is_none() && s.pending.front().is_some_and(|p| p.missing == 0) {
            let parts = s.pending.pop_front().map(|p| p.parts).unwrap_or_default();
            let Some(dir) = s.builder.dir(s.appended) else { break };
            s.appended += 1;
            let mut chunks: Vec<Chunk> = Vec::with_capacity(parts.len());
            for output in parts.into_iter().flatten() {
                s.ahead -= output.chunk.nodes.len();
                s.skipped.extend(output.skipped);
                chunks.push(output.chunk);
                if s.error.is_none() {
                    s.error = output.error;
                }
            }
            if s.error.is_none() {
                s.error = s.builder.append(dir, chunks).err();
            }
        }
        let more = s.builder.tree().len() - before;
        drop(guard);
        if more > 0 {
            self.progress.advance(more as u64);
        }
        self.wake.notify_all();
    }
}

fn part_range(listing: &Listing, part: usize) -> std::ops::Range<usize> {
    part * PART..((part + 1) * PART).min(listing.len())
}
