//! What differs between two file systems, by meaning: what their superblocks promise, which names there are, what stands behind
//! them. Where things lie is no difference unless it is asked for: a copy made by another tool is the same tree.
//!
//! Both trees are walked together, directory by directory in the order of names' bytes. Memory: the names of one directory a level, and
//! the pairs of directories that were compared.

use std::collections::{BTreeMap, HashSet};

use daxkit_format::InodeNr;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::field::{Access, BitSet, Structure, format_time, quote};
use daxkit_volume::{Inode, Volume, VolumeError};
use zerocopy::IntoBytes;

/// Bytes of files compared at once.
const CHUNK: usize = 1 << 20;

/// Deepest directory that is entered.
const MAX_DEPTH: usize = 2048;

/// Flags that say how an inode is stored.
const LAYOUT_FLAGS: InodeFlags =
    InodeFlags::EXTENTS.union(InodeFlags::INDEX).union(InodeFlags::HUGE_FILE).union(InodeFlags::INLINE_DATA);

/// Fields of the superblock that mean something to whoever mounts.
const SUPER_FIELDS: &[&str] = &[
    "s_volume_name",
    "s_uuid",
    "s_feature_compat",
    "s_feature_incompat",
    "s_feature_ro_compat",
    "s_blocks_count",
    "s_log_block_size",
    "s_log_cluster_size",
    "s_inodes_count",
    "s_inode_size",
    "s_first_ino",
    "s_r_blocks_count",
    "s_default_mount_opts",
    "s_mount_opts",
    "s_errors",
    "s_max_mnt_count",
    "s_checkinterval",
    "s_def_resuid",
    "s_def_resgid",
    "s_hash_seed",
    "s_def_hash_version",
    "s_encoding",
    "s_encoding_flags",
];

/// What to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiffOptions {
    /// Access and change times, too, and when an inode was made.
    pub all_times: bool,
    /// Where blocks lie, and how inodes are stored.
    pub layout: bool,
}

/// One difference. Values are text in the forms of the field table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// A field of the superblock.
    Super {
        /// Its name.
        field: &'static str,
        /// In the first.
        a: String,
        /// In the second.
        b: String,
    },
    /// A name that only one of them has.
    Only {
        /// Whether it is the second that has it.
        second: bool,
        /// The path.
        path: Vec<u8>,
    },
    /// Something about a file.
    Changed {
        /// The path.
        path: Vec<u8>,
        /// What: the name of a field, `content`, `target`, `xattr.NAME`, `extents`.
        what: String,
        /// In the first.
        a: String,
        /// In the second.
        b: String,
    },
    /// Something that cannot be compared, because it is damaged.
    Damaged {
        /// Whether it is in the second.
        second: bool,
        /// The path.
        path: Vec<u8>,
        /// Why.
        why: String,
    },
}

/// Names and what they lead to.
type Names = BTreeMap<Vec<u8>, InodeNr>;

/// A directory that is being compared.
struct Level {
    path: Vec<u8>,
    names: Vec<(Vec<u8>, Option<InodeNr>, Option<InodeNr>)>,
    next: usize,
}

/// Compares two volumes from the directories `roots` down; each difference is given to `each`, whose error ends it.
///
/// # Errors
/// Those of `each`. Damage is a difference.
pub fn diff<E>(
    a: &Volume,
    b: &Volume,
    roots: (&Inode, &Inode),
    options: DiffOptions,
    each: &mut dyn FnMut(Difference) -> Result<(), E>,
) -> Result<(), E> {
    super_blocks(a, b, each)?;
    let mut diff = Diff { a, b, options, each, seen: HashSet::new(), buf: (vec![0; CHUNK], vec![0; CHUNK]) };
    diff.inodes(b"/", roots.0, roots.1)?;
    let mut levels = vec![diff.level(b"", roots.0, roots.1)?];
    while let Some(level) = levels.last_mut() {
        let Some((name, in_a, in_b)) = level.names.get(level.next).cloned() else {
            levels.pop();
            continue;
        };
        level.next += 1;
        let path = [level.path.as_slice(), b"/", &name].concat();
        match (in_a, in_b) {
            (Some(nr_a), Some(nr_b)) => {
                let Some((one, other)) = diff.both(&path, nr_a, nr_b)? else { continue };
                diff.inodes(&path, &one, &other)?;
                let new = one.is_dir() && other.is_dir() && diff.seen.insert((nr_a.get(), nr_b.get()));
                if new && levels.len() < MAX_DEPTH {
                    let level = diff.level(&path, &one, &other)?;
                    levels.push(level);
                }
            }
            (Some(_), None) => (diff.each)(Difference::Only { second: false, path })?,
            _ => (diff.each)(Difference::Only { second: true, path })?,
        }
    }
    Ok(())
}

fn super_blocks<E>(a: &Volume, b: &Volume, each: &mut dyn FnMut(Difference) -> Result<(), E>) -> Result<(), E> {
    for name in SUPER_FIELDS {
        let Some(access) = Access::find(Structure::SuperBlock, name) else { continue };
        let text = |v: &Volume| access.get_text(v.super_block().as_bytes()).unwrap_or_default();
        let (a, b) = (text(a), text(b));
        if a != b {
            each(Difference::Super { field: access.name, a, b })?;
        }
    }
    Ok(())
}

struct Diff<'v, 'e, E> {
    a: &'v Volume,
    b: &'v Volume,
    options: DiffOptions,
    each: &'e mut dyn FnMut(Difference) -> Result<(), E>,
    /// Pairs of directories that were entered.
    seen: HashSet<(u64, u64)>,
    buf: (Vec<u8>, Vec<u8>),
}

impl<E> Diff<'_, '_, E> {
    fn damaged(&mut self, second: bool, path: &[u8], why: &VolumeError) -> Result<(), E> {
        (self.each)(Difference::Damaged { second, path: path.to_vec(), why: why.to_string() })
    }

    fn changed(&mut self, path: &[u8], what: &str, a: impl ToString, b: impl ToString) -> Result<(), E> {
        let (a, b) = (a.to_string(), b.to_string());
        (self.each)(Difference::Changed { path: path.to_vec(), what: what.to_owned(), a, b })
    }

    /// Both inodes of a name; `None` when one cannot be read, which is told.
    fn both(&mut self, path: &[u8], a: InodeNr, b: InodeNr) -> Result<Option<(Inode, Inode)>, E> {
        let (one, other) = (self.a.inode(a), self.b.inode(b));
        for (second, read) in [(false, &one), (true, &other)] {
            if let Err(e) = read {
                self.damaged(second, path, e)?;
            }
        }
        Ok(one.ok().zip(other.ok()))
    }

    fn level(&mut self, path: &[u8], a: &Inode, b: &Inode) -> Result<Level, E> {
        let (one, other) = (self.names(false, path, a)?, self.names(true, path, b)?);
        let mut names: BTreeMap<Vec<u8>, (Option<InodeNr>, Option<InodeNr>)> = BTreeMap::new();
        for (name, nr) in one {
            names.entry(name).or_default().0 = Some(nr);
        }
        for (name, nr) in other {
            names.entry(name).or_default().1 = Some(nr);
        }
        let names = names.into_iter().map(|(name, (a, b))| (name, a, b)).collect();
        Ok(Level { path: path.to_vec(), names, next: 0 })
    }

    fn names(&mut self, second: bool, path: &[u8], dir: &Inode) -> Result<Names, E> {
        let volume = if second { self.b } else { self.a };
        let mut names = Names::new();
        let entries = match volume.read_dir(dir) {
            Ok(entries) => entries,
            Err(e) => {
                self.damaged(second, path, &e)?;
                return Ok(names);
            }
        };
        for entry in entries {
            match entry {
                Ok(entry) if entry.is_dot() => {}
                Ok(entry) => {
                    names.insert(entry.name, entry.inode);
                }
                Err(e) => self.damaged(second, path, &e)?,
            }
        }
        Ok(names)
    }

    fn inodes(&mut self, path: &[u8], a: &Inode, b: &Inode) -> Result<(), E> {
        let mut fields = vec!["i_mode", "i_uid_full", "i_gid_full"];
        if self.options.all_times {
            fields.extend(["atime", "ctime", "crtime"]);
        }
        for name in fields {
            let Some(access) = Access::find(Structure::Inode, name) else { continue };
            let text = |inode: &Inode| access.get_text(inode.raw()).unwrap_or_default();
            let (one, other) = (text(a), text(b));
            if one != other {
                self.changed(path, access.name, one, other)?;
            }
        }
        if a.mtime() != b.mtime() {
            self.changed(path, "mtime", format_time(a.mtime()), format_time(b.mtime()))?;
        }
        let project = |inode: &Inode| inode.project().unwrap_or(0);
        if project(a) != project(b) {
            self.changed(path, "i_projid", project(a), project(b))?;
        }
        let shown = if self.options.layout { InodeFlags::all() } else { InodeFlags::all() - LAYOUT_FLAGS };
        let (one, other) = (a.flags() & shown, b.flags() & shown);
        if one != other {
            let text = |flags: InodeFlags| BitSet::Inode.format(flags.bits().into());
            self.changed(path, "i_flags", text(one), text(other))?;
        }
        if a.file_type() != b.file_type() {
            return Ok(());
        }
        if a.i_links_count != b.i_links_count {
            self.changed(path, "i_links_count", a.i_links_count, b.i_links_count)?;
        }
        self.xattrs(path, a, b)?;
        if a.is_symlink() {
            return self.targets(path, a, b);
        }
        if a.is_file() {
            self.content(path, a, b)?;
        } else if !a.is_dir() && a.device() != b.device() {
            let text = |(major, minor): (u32, u32)| format!("{major}:{minor}");
            self.changed(path, "device", text(a.device()), text(b.device()))?;
        }
        if self.options.layout { self.layout(path, a, b) } else { Ok(()) }
    }

    fn targets(&mut self, path: &[u8], a: &Inode, b: &Inode) -> Result<(), E> {
        match (self.a.read_link(a), self.b.read_link(b)) {
            (Ok(one), Ok(other)) if one == other => Ok(()),
            (Ok(one), Ok(other)) => self.changed(path, "target", quote(&one), quote(&other)),
            (Err(e), _) => self.damaged(false, path, &e),
            (_, Err(e)) => self.damaged(true, path, &e),
        }
    }

    fn xattrs(&mut self, path: &[u8], a: &Inode, b: &Inode) -> Result<(), E> {
        let mut sets = [BTreeMap::new(), BTreeMap::new()];
        for (second, (volume, inode), set) in
            [(false, (self.a, a)), (true, (self.b, b))].into_iter().zip(&mut sets).map(|((s, v), set)| (s, v, set))
        {
            match volume.xattrs(inode) {
                // Inline data is content, and told as such.
                Ok(list) => set.extend(
                    list.into_iter().map(|x| (x.full_name(), x.value)).filter(|(name, _)| name != b"system.data"),
                ),
                Err(e) => return self.damaged(second, path, &e),
            }
        }
        let [one, other] = sets;
        let names: std::collections::BTreeSet<&Vec<u8>> = one.keys().chain(other.keys()).collect();
        for name in names {
            let (x, y) = (one.get(name), other.get(name));
            if x != y {
                let text = |value: Option<&Vec<u8>>| value.map_or("none".to_owned(), |v| quote(v));
                self.changed(path, &format!("xattr.{}", quote(name)), text(x), text(y))?;
            }
        }
        Ok(())
    }

    /// Compares what files hold, holes and all; the first byte that differs is told.
    fn content(&mut self, path: &[u8], a: &Inode, b: &Inode) -> Result<(), E> {
        if a.size() != b.size() {
            return self.changed(path, "i_size", a.size(), b.size());
        }
        let (mut at, end) = (0, a.size());
        while at < end {
            // Where neither has data both read as zero.
            let next = match (next_data(self.a, a, at), next_data(self.b, b, at)) {
                (Ok(x), Ok(y)) => x.min(y),
                (Err(e), _) => return self.damaged(false, path, &e),
                (_, Err(e)) => return self.damaged(true, path, &e),
            };
            at = next;
            if at >= end {
                break;
            }
            let n = (end - at).min(CHUNK as u64) as usize;
            let (Some(one), Some(other)) = (self.buf.0.get_mut(..n), self.buf.1.get_mut(..n)) else { break };
            if let Err(e) = self.a.read_at(a, at, one) {
                return self.damaged(false, path, &e);
            }
            if let Err(e) = self.b.read_at(b, at, other) {
                return self.damaged(true, path, &e);
            }
            if let Some(i) = one.iter().zip(other.iter()).position(|(x, y)| x != y) {
                let byte = |bytes: &[u8]| bytes.get(i).map_or(String::new(), |b| format!("{b:#04x}"));
                let (x, y) = (byte(one), byte(other));
                return self.changed(path, &format!("content+{:#x}", at + i as u64), x, y);
            }
            at += n as u64;
        }
        Ok(())
    }

    fn layout(&mut self, path: &[u8], a: &Inode, b: &Inode) -> Result<(), E> {
        if a.nr() != b.nr() {
            self.changed(path, "inode", a.nr(), b.nr())?;
        }
        let text = |volume: &Volume, inode: &Inode| -> Result<String, VolumeError> {
            let mut text = Vec::new();
            for run in volume.extents(inode) {
                let r = run?;
                let state = if r.written { "" } else { " unwritten" };
                text.push(format!("{}+{}@{}{state}", r.logical, r.len, r.physical));
                if text.len() == 8 {
                    text.push("...".to_owned());
                    break;
                }
            }
            Ok(text.join(" "))
        };
        match (text(self.a, a), text(self.b, b)) {
            (Ok(one), Ok(other)) if one == other => Ok(()),
            (Ok(one), Ok(other)) => self.changed(path, "extents", one, other),
            (Err(e), _) => self.damaged(false, path, &e),
            (_, Err(e)) => self.damaged(true, path, &e),
        }
    }
}

/// The first byte of data at or behind a byte of a file; its size where there is none.
fn next_data(volume: &Volume, inode: &Inode, at: u64) -> Result<u64, VolumeError> {
    if inode.has_inline_data() {
        return Ok(at);
    }
    let shift = volume.geometry().block_shift();
    for run in volume.extents_from(inode, at >> shift) {
        let run = run?;
        if run.written {
            return Ok((run.logical << shift).max(at));
        }
    }
    Ok(inode.size())
}
