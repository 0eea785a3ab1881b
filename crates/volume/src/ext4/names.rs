//! The names of certain inodes, for any number of inodes in one pass over the directories.
//!
//! First every directory of the inode tables is read for entries that name one of the inodes, and for its own parent. Then the
//! names of the directories found, and of those above them, are looked for in their parents, each directory once for
//! all that is wanted from it. Memory is bounded by what is found and by a few bytes for each directory. What is damaged is
//! reported and read as far as it goes.

use std::collections::{BTreeMap, HashMap, HashSet};

use daxkit_format::ext4::inode::{self, mode};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::{BlockNr, InodeNr};

use super::dir::dir_checksum_ok;
use super::error::{Corruption, Place, VolumeError};
use super::inode::Inode;
use super::open::Volume;
use super::tables::{InodeTable, ScanErrors, mode_and_links};

/// Most names kept for one inode; `i_links_count` ends at 65,000.
const MAX_NAMES: usize = 65_536;

/// Bytes of a directory read at once.
const READ: u32 = 64 << 10;

/// Deepest directory a path is made for.
const MAX_DEPTH: usize = 2048;

/// An entry that names one of the inodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naming {
    /// What it names.
    pub inode: InodeNr,
    /// The directory in which it stands.
    pub dir: InodeNr,
    /// The name.
    pub name: Vec<u8>,
    /// `file_type`; 0 without the feature.
    pub file_type: u8,
}

/// What a scan found, in the order of directories.
#[derive(Debug, Default)]
pub struct NameScan {
    /// The entries.
    pub names: Vec<Naming>,
    /// The directory above each directory, as its entry `..` says.
    pub parents: HashMap<InodeNr, InodeNr>,
    /// What could not be read.
    pub errors: ScanErrors,
}

impl NameScan {
    /// Takes what a scan of a later table found.
    pub fn append(&mut self, other: Self) {
        self.names.extend(other.names);
        self.parents.extend(other.parents);
        self.errors.append(other.errors);
    }
}

/// Where directories are: what [`Volume::directory_paths`] found out.
#[derive(Debug, Default)]
pub struct DirectoryPaths {
    /// Parent and name of each directory.
    named: HashMap<InodeNr, (InodeNr, Vec<u8>)>,
    /// What could not be read.
    pub errors: ScanErrors,
}

impl DirectoryPaths {
    /// The path of a directory, with a slash at its end; `None` when no way leads to it from the root.
    #[must_use]
    pub fn path(&self, dir: InodeNr) -> Option<Vec<u8>> {
        let mut names: Vec<&[u8]> = Vec::new();
        let mut here = dir;
        while here != InodeNr::ROOT {
            let (parent, name) = self.named.get(&here)?;
            // Longer than that is a ring.
            if names.len() == MAX_DEPTH {
                return None;
            }
            names.push(name);
            here = *parent;
        }
        let mut path = vec![b'/'];
        for name in names.iter().rev() {
            path.extend_from_slice(name);
            path.push(b'/');
        }
        Some(path)
    }
}

impl Volume {
    /// The names of the inodes of `wanted` in the directories of one table ([`Volume::inode_tables`]).
    #[must_use]
    pub fn names_of(&self, table: &InodeTable, wanted: &HashSet<InodeNr>) -> NameScan {
        let mut scan = NameScan::default();
        let mut counts: HashMap<InodeNr, usize> = HashMap::new();
        let filter = Filter::new(wanted);
        let (mut dirs, mut read, mut damaged) = (Vec::new(), HashSet::new(), ScanErrors::default());
        let done = self.scan_table(table, &mut |nr, raw| {
            if mode_and_links(raw).is_some_and(|(mode, links)| links != 0 && mode & mode::IFMT == mode::IFDIR) {
                if let (Some(seed), Ok(ino)) = (self.verify_seed(), u32::try_from(nr.get()))
                    && !inode::verify(seed, ino, raw)
                {
                    damaged.push(VolumeError::bad_inode(nr, Corruption::Checksum));
                }
                dirs.push(self.decode_inode(nr, raw.to_vec()));
            }
        });
        scan.errors = damaged;
        if let Err(e) = done {
            scan.errors.push(e);
        }
        for dir in dirs {
            let nr = dir.nr();
            let NameScan { names, parents, errors } = &mut scan;
            self.scan_dir(&dir, &mut read, errors, &mut |inode, file_type, name| match name {
                b"." => {}
                b".." => {
                    parents.entry(nr).or_insert(inode);
                }
                name if filter.may_have(inode) && wanted.contains(&inode) => {
                    let count = counts.entry(inode).or_default();
                    *count += 1;
                    if *count <= MAX_NAMES {
                        names.push(Naming { inode, dir: nr, name: name.to_vec(), file_type });
                    }
                }
                _ => {}
            });
        }
        scan
    }

    /// The paths of directories. `parents` has the directory above each (from [`NameScan`]).
    #[must_use]
    pub fn directory_paths(
        &self,
        dirs: impl IntoIterator<Item = InodeNr>,
        parents: &HashMap<InodeNr, InodeNr>,
    ) -> DirectoryPaths {
        let mut paths = DirectoryPaths::default();
        let mut asked = HashSet::from([InodeNr::ROOT]);
        let mut todo: Vec<InodeNr> = dirs.into_iter().filter(|dir| asked.insert(*dir)).collect();
        while !todo.is_empty() {
            let mut by_parent: BTreeMap<InodeNr, HashSet<InodeNr>> = BTreeMap::new();
            for dir in todo.drain(..) {
                if let Some(parent) = parents.get(&dir) {
                    by_parent.entry(*parent).or_default().insert(dir);
                }
            }
            for (parent, mut children) in by_parent {
                if let Some(inode) = self.readable(parent, &mut paths.errors).filter(|i| i.is_dir()) {
                    let DirectoryPaths { named, errors } = &mut paths;
                    self.scan_dir(&inode, &mut HashSet::new(), errors, &mut |nr, _, name| {
                        if !matches!(name, b"." | b"..") && children.remove(&nr) {
                            named.insert(nr, (parent, name.to_vec()));
                        }
                    });
                }
                if asked.insert(parent) {
                    todo.push(parent);
                }
            }
        }
        paths
    }

    /// An inode, if need be with a wrong checksum, which is reported.
    fn readable(&self, nr: InodeNr, errors: &mut ScanErrors) -> Option<Inode> {
        match self.inode(nr) {
            Ok(inode) => Some(inode),
            Err(e) => {
                let damaged = e.is_corruption();
                errors.push(e);
                self.inode_unverified(nr).ok().filter(|_| damaged)
            }
        }
    }

    /// Calls `each` with inode, type and name of every entry of a directory. Blocks of `read` belong to another directory
    /// and are left out, or a hostile image could have every inode read all blocks; those read are added.
    pub(super) fn scan_dir(
        &self,
        dir: &Inode,
        read: &mut HashSet<BlockNr>,
        errors: &mut ScanErrors,
        each: &mut dyn FnMut(InodeNr, u8, &[u8]),
    ) {
        if dir.has_inline_data() {
            match self.read_dir(dir) {
                Err(e) => errors.push(e),
                Ok(entries) => {
                    for entry in entries {
                        match entry {
                            Ok(e) => each(e.inode, e.file_type, &e.name),
                            Err(e) => errors.push(e),
                        }
                    }
                }
            }
            return;
        }
        let blocks = self.geometry().blocks_for(dir.size());
        for run in self.extents(dir) {
            let run = match run {
                Ok(run) => run,
                Err(e) => {
                    errors.push(e);
                    return;
                }
            };
            let end = run.end().min(blocks);
            let mut from = run.logical;
            while from < end {
                let count = (end - from).min(self.blocks_at_once());
                let first = run.physical.get() + (from - run.logical);
                // A directory with a block of another one is read no further.
                if let Some(block) = (first..first + count).map(BlockNr).find(|block| !read.insert(*block)) {
                    let why = Corruption::DirTwice { parent: dir.nr().get() };
                    let place = Place::InodeBlock { inode: dir.nr(), block, offset: 0 };
                    return errors.push(VolumeError::corrupt(place, why));
                }
                if run.written {
                    self.scan_dir_blocks(dir, BlockNr(first), count, errors, each);
                }
                from += count;
            }
        }
    }

    /// Blocks of a directory read at once.
    fn blocks_at_once(&self) -> u64 {
        u64::from(READ / self.block_size()).max(1)
    }

    fn scan_dir_blocks(
        &self,
        dir: &Inode,
        first: BlockNr,
        count: u64,
        errors: &mut ScanErrors,
        each: &mut dyn FnMut(InodeNr, u8, &[u8]),
    ) {
        let size = self.block_size() as usize;
        let mut bytes = vec![0; size.saturating_mul(usize::try_from(count).unwrap_or(1))];
        let place = |block| Place::InodeBlock { inode: dir.nr(), block, offset: 0 };
        if let Err(e) = self.read_blocks_into(place(first), first, &mut bytes) {
            return errors.push(e);
        }
        let (seed, indexed) = (self.inode_verify_seed(dir), dir.flags().contains(InodeFlags::INDEX));
        for (block, bytes) in (first.get()..).map(BlockNr).zip(bytes.chunks_exact(size)) {
            // A wrong checksum is no reason not to read what is there.
            if seed.is_some_and(|seed| !dir_checksum_ok(seed, bytes, indexed)) {
                errors.push(VolumeError::corrupt(place(block), Corruption::Checksum));
            }
            for entry in self.entries_of(bytes) {
                match entry {
                    Ok(e) if e.inode != 0 => each(InodeNr(e.inode.into()), e.file_type, e.name),
                    Ok(_) => {}
                    Err(e) => {
                        errors.push(VolumeError::corrupt(place(block), e));
                        break;
                    }
                }
            }
        }
    }
}

/// A quick look whether a number may be among those wanted: one bit for all numbers that end alike.
struct Filter(Vec<u64>);

impl Filter {
    /// Bits.
    const SIZE: u64 = 1 << 16;

    fn new(wanted: &HashSet<InodeNr>) -> Self {
        let mut words = vec![0; (Self::SIZE / 64) as usize];
        for nr in wanted {
            if let Some(word) = words.get_mut((nr.get() % Self::SIZE / 64) as usize) {
                *word |= 1 << (nr.get() % 64);
            }
        }
        Self(words)
    }

    fn may_have(&self, nr: InodeNr) -> bool {
        self.0.get((nr.get() % Self::SIZE / 64) as usize).is_some_and(|word| word >> (nr.get() % 64) & 1 == 1)
    }
}
