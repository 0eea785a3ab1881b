//! The passes: what is read once, in parallel, and what is concluded from it.

pub(crate) mod bitmaps;
pub(crate) mod claims;
pub(crate) mod dax;
pub(crate) mod dirs;
pub(crate) mod duplicates;
pub(crate) mod entries;
pub(crate) mod extents;
pub(crate) mod groups;
pub(crate) mod htree;
pub(crate) mod indirect;
pub(crate) mod inline;
pub(crate) mod inode_blocks;
pub(crate) mod inodes;
pub(crate) mod journal;
pub(crate) mod names;
pub(crate) mod plain;
pub(crate) mod quota;
pub(crate) mod special;
pub(crate) mod super_block;
pub(crate) mod tree;
pub(crate) mod xattrs;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use std::collections::HashMap;

use crate::finding::Finding;
use crate::image::Image;
use crate::state::{BlockMap, Inodes, Named};

/// What all passes share.
pub(crate) struct Context<'i> {
    pub(crate) image: &'i Image,
    /// Clusters that somebody owns.
    pub(crate) blocks: BlockMap,
    /// Those of them that the file system itself owns.
    pub(crate) meta: BlockMap,
    pub(crate) inodes: Inodes,
    /// What of each group is looked at.
    pub(crate) scans: Vec<groups::GroupScan>,
    /// Blocks of the list of bad blocks.
    pub(crate) bad: std::collections::HashSet<u64>,
    /// What time it is, in seconds since 1970.
    pub(crate) now: u64,
    pub(crate) threads: usize,
    pub(crate) dax_rules: dax::DaxRules,
    pub(crate) wishes: &'i crate::wishes::Wishes,
    pub(crate) progress: Option<&'i dyn crate::check::Progress>,
    /// Somebody wants to stop.
    pub(crate) stop: &'i AtomicBool,
}

/// A directory: what the scan of inodes learns for the pass over directories.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dir {
    pub(crate) ino: u32,
    /// Runs of its blocks, in order: block of the file, block of the image, how many.
    pub(crate) runs: Vec<(u32, u64, u32)>,
    /// Blocks of the file, holes counted.
    pub(crate) blocks: u32,
    pub(crate) flags: u32,
    pub(crate) generation: u32,
    pub(crate) inline: bool,
}

/// A name that leads to a directory, in the order in which the first of several counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DirLink {
    pub(crate) child: u32,
    pub(crate) parent: u32,
    pub(crate) logical: u32,
    pub(crate) offset: u32,
    pub(crate) block: u64,
    /// Its name is `lost+found`.
    pub(crate) is_lost_found: bool,
}

/// Inodes that use a block of attributes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Users {
    pub(crate) uses: u32,
    /// Those of them that need not be counted.
    pub(crate) soft: u32,
    /// One of them.
    pub(crate) ino: u32,
}

/// What one thread finds.
#[derive(Debug, Default)]
pub(crate) struct Local {
    pub(crate) findings: Vec<Finding>,
    pub(crate) dirs: Vec<Dir>,
    /// Clusters that were claimed a second time.
    pub(crate) twice: Vec<(u64, u64)>,
    /// Blocks of attributes, and who uses them.
    pub(crate) xattr_blocks: HashMap<u64, Users>,
    /// Inodes that hold values of attributes: how many attributes name them.
    pub(crate) ea_inodes: HashMap<u32, u64>,
    pub(crate) usage: Usage,
    pub(crate) charges: quota::Charges,
    /// Regular files with the DAX flag.
    pub(crate) dax: Vec<u32>,
    pub(crate) diverging: Vec<dax::Diverging>,
    /// Free clusters and inodes.
    pub(crate) free: (u64, u64),
    /// Inodes with names.
    pub(crate) named: Named,
    /// Those that other threads found.
    pub(crate) more_named: Vec<Named>,
    /// Names that lead to directories.
    pub(crate) links: Vec<DirLink>,
    /// Where `..` leads from each directory; 0 where there is none.
    pub(crate) dotdots: Vec<(u32, u32)>,
    /// Directories of each group that has any.
    pub(crate) dirs_of: Vec<(u32, u32)>,
    /// Directories of the part of a group that is being scanned.
    pub(crate) group_dirs: u32,
    /// Large directories with an index, which are looked at in parts.
    pub(crate) large: Vec<(u32, htree::Index)>,
    /// Directories with a name where the index does not look for it.
    pub(crate) broken: Vec<u32>,
    /// Directories in which a name may come twice.
    pub(crate) repeats: Vec<u32>,
    /// Names whose hash is the first or the last of a leaf: their directory, and a quick hash.
    pub(crate) edges: Vec<(u32, u32)>,
    /// Names of one directory after the other.
    pub(crate) names: names::Names,
    /// Room for what is read, used again and again.
    pub(crate) room: Vec<u8>,
}

/// What is used, for statistics.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Inodes in use.
    pub inodes: u64,
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub dirs: u64,
    /// Symbolic links.
    pub links: u64,
    /// Devices, fifos and sockets.
    pub special: u64,
    /// Files in more than one piece.
    pub fragmented: u64,
    /// Blocks in use.
    pub blocks: u64,
    /// Inodes with the DAX flag.
    pub dax: u64,
    /// A file is larger than 2 GiB.
    pub large: u64,
}

impl Usage {
    pub(crate) fn add(&mut self, other: Self) {
        self.inodes += other.inodes;
        self.files += other.files;
        self.dirs += other.dirs;
        self.links += other.links;
        self.special += other.special;
        self.fragmented += other.fragmented;
        self.dax += other.dax;
        self.large += other.large;
    }
}

impl Local {
    pub(crate) fn find(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    fn append(&mut self, mut other: Self) {
        self.findings.append(&mut other.findings);
        self.dirs.append(&mut other.dirs);
        self.twice.append(&mut other.twice);
        self.dax.append(&mut other.dax);
        self.diverging.append(&mut other.diverging);
        self.more_named.append(&mut other.more_named);
        self.more_named.push(other.named);
        self.links.append(&mut other.links);
        self.dotdots.append(&mut other.dotdots);
        for (block, users) in other.xattr_blocks {
            let all = self.xattr_blocks.entry(block).or_insert(Users { uses: 0, soft: 0, ino: users.ino });
            *all = Users { uses: all.uses + users.uses, soft: all.soft + users.soft, ino: all.ino.min(users.ino) };
        }
        for (ino, uses) in other.ea_inodes {
            *self.ea_inodes.entry(ino).or_default() += uses;
        }
        self.dirs_of.append(&mut other.dirs_of);
        self.large.append(&mut other.large);
        self.broken.append(&mut other.broken);
        self.repeats.append(&mut other.repeats);
        self.edges.append(&mut other.edges);
        for (id, (bytes, inodes)) in other.charges {
            let used = self.charges.entry(id).or_default();
            *used = (used.0 + bytes, used.1 + inodes);
        }
        self.free = (self.free.0 + other.free.0, self.free.1 + other.free.1);
        self.usage.add(other.usage);
    }
}

impl Context<'_> {
    /// Inodes from the start of a group's table on that are scanned.
    pub(crate) fn scanned(&self, group: u32) -> u32 {
        self.scans.get(group as usize).map_or(0, |scan| scan.inodes)
    }

    /// Whether a group's descriptor can be trusted in what it says was never written.
    pub(crate) fn trusts(&self, group: u32) -> bool {
        self.scans.get(group as usize).is_some_and(|scan| scan.trusted)
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    /// Runs `work` for each of `items`, on all threads, and puts together what they found. The order of what is found depends on nothing
    /// but the items.
    pub(crate) fn parallel<T: Sync>(&self, pass: u8, items: &[T], work: impl Fn(&mut Local, &T) + Sync) -> Local {
        let threads = self.threads.clamp(1, items.len().max(1));
        let all = items.len() as u64;
        let step = (all / 100).max(1);
        let done = AtomicU64::new(0);
        if let Some(progress) = self.progress {
            progress.pass(pass, 0, all);
        }
        // Each thread begins with a part of its own, and helps with those of others when it is through: threads that read side by side
        // would wait for each other, in the host's page cache and in the tables here.
        let part = items.len().div_ceil(threads).max(1);
        let parts: Vec<(AtomicUsize, &[T])> = items.chunks(part).map(|items| (AtomicUsize::new(0), items)).collect();
        let run = |own: usize| {
            let mut local = Local::default();
            let (before, from_own) = parts.split_at(own.min(parts.len()));
            for (next, items) in from_own.iter().chain(before) {
                while let Some(item) = items.get(next.fetch_add(1, Relaxed)).filter(|_| !self.stopped()) {
                    work(&mut local, item);
                    if let Some(progress) = self.progress {
                        let done = done.fetch_add(1, Relaxed) + 1;
                        if done.is_multiple_of(step) || done == all {
                            progress.pass(pass, done, all);
                        }
                    }
                }
            }
            local
        };
        let run = &run;
        let mut all = std::thread::scope(|scope| {
            let handles: Vec<_> = (1..threads).map(|own| scope.spawn(move || run(own))).collect();
            let mut all = run(0);
            for handle in handles {
                match handle.join() {
                    Ok(local) => all.append(local),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            all
        });
        all.dirs.sort_by_key(|dir| dir.ino);
        all.twice.sort_unstable();
        all
    }
}
