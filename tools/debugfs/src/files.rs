//! What several commands want to know about files: the rows of a directory as they lie, times as debugfs writes them, the
//! nodes of an extent tree.

use crate::session::Session;
use anyhow::{Result, bail};
use daxkit_format::BlockNr;
use daxkit_format::OnDisk;
use daxkit_format::ext4::dir_entry::{self, DirEntry, Entries, entry_len};
use daxkit_format::ext4::extent::{self, Node};
use daxkit_format::ext4::features::Incompat;
use daxkit_format::ext4::inode::{Timestamp, mode};
use daxkit_volume::Inode;
use std::collections::HashSet;

/// An entry of a directory.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) inode: u32,
    pub(crate) rec_len: u32,
    pub(crate) file_type: u8,
    pub(crate) name: Vec<u8>,
    /// It lies in the slack of another entry, or has inode 0.
    pub(crate) deleted: bool,
}

/// Calls `each` for the entries of a directory in the order in which they lie; `deleted` asks for those that were removed
/// as well, as far as they can be made out. A damaged block is complained about and left.
pub(crate) fn directory(
    session: &mut Session<'_>,
    dir: &Inode,
    deleted: bool,
    each: &mut dyn FnMut(&mut Session<'_>, Row) -> Result<()>,
) -> Result<()> {
    if !dir.is_dir() {
        bail!("not a directory");
    }
    let reader =
        Reader { bs: session.volume.block_size(), types: session.volume.has_incompat(Incompat::FILETYPE), deleted };
    if dir.has_inline_data() {
        let data = session.volume.inline_data(dir)?;
        let parent = session.volume.parent(dir)?;
        for (name, inode) in [(&b"."[..], dir.nr()), (b"..", parent)] {
            let inode = u32::try_from(inode.get()).unwrap_or(0);
            each(session, Row { inode, rec_len: 12, file_type: 2, name: name.to_vec(), deleted: false })?;
        }
        // The entries in i_block end where it does; those in the attribute begin anew.
        let (first, second) = data.split_at_checked(60).unwrap_or((&data, &[]));
        reader.block(session, first.get(4..).unwrap_or_default(), "inline data", each)?;
        return reader.block(session, second, "inline data", each);
    }
    let extents: Vec<_> = session.volume.extents(dir).collect();
    for run in extents {
        let run = match run {
            Ok(run) => run,
            Err(e) => {
                session.complain(&e);
                break;
            }
        };
        let end = dir.size().div_ceil(u64::from(reader.bs)).min(run.end());
        for logical in run.logical..end {
            let block = BlockNr(run.physical.get() + (logical - run.logical));
            match session.volume.read_block(block) {
                Ok(bytes) => {
                    let place = format!("dir:{}/block:{logical}", dir.nr());
                    reader.block(session, &bytes, &place, each)?;
                }
                Err(e) => session.complain(&e),
            }
        }
    }
    Ok(())
}

struct Reader {
    bs: u32,
    types: bool,
    deleted: bool,
}

impl Reader {
    fn block(
        &self,
        session: &mut Session<'_>,
        bytes: &[u8],
        place: &str,
        each: &mut dyn FnMut(&mut Session<'_>, Row) -> Result<()>,
    ) -> Result<()> {
        for entry in Entries::new(bytes, self.bs, self.types) {
            let entry = match entry {
                Ok(entry) => entry,
                Err(e) => {
                    session.complain(format_args!("{place}: {e}"));
                    break;
                }
            };
            let is_tail = entry.inode == 0 && entry.rec_len == 12 && entry.file_type == dir_entry::FT_DIR_CSUM;
            let gone = entry.inode == 0;
            if !gone || (self.deleted && !is_tail && !entry.name.is_empty()) {
                each(session, row(&entry, gone))?;
            }
            if self.deleted {
                let from = entry.offset + entry_len(if gone { 0 } else { entry.name.len() });
                self.slack(session, bytes, from, entry.offset + entry.rec_len as usize, each)?;
            }
        }
        Ok(())
    }

    /// Entries that were removed: their bytes lie in the slack of the one before.
    fn slack(
        &self,
        session: &mut Session<'_>,
        bytes: &[u8],
        mut at: usize,
        end: usize,
        each: &mut dyn FnMut(&mut Session<'_>, Row) -> Result<()>,
    ) -> Result<()> {
        while at + entry_len(1) <= end {
            let found = bytes.get(at..end).and_then(|rest| Entries::new(rest, self.bs, self.types).next());
            let plausible = bytes.get(at..end).and_then(DirEntry::peek).is_some_and(|d| d.inode.get() != 0);
            match found {
                Some(Ok(e)) if plausible && !e.name.is_empty() && !e.name.contains(&0) => {
                    each(session, row(&e, true))?;
                    // What it covered may hold older ones.
                    at += entry_len(e.name.len());
                }
                _ => at += 4,
            }
        }
        Ok(())
    }
}

fn row(entry: &dir_entry::Entry<'_>, deleted: bool) -> Row {
    Row { inode: entry.inode, rec_len: entry.rec_len, file_type: entry.file_type, name: entry.name.to_vec(), deleted }
}

/// The type of an inode in debugfs's words.
pub(crate) fn type_name(i_mode: u16) -> &'static str {
    match i_mode & mode::IFMT {
        mode::IFREG => "regular",
        mode::IFDIR => "directory",
        mode::IFLNK => "symlink",
        mode::IFCHR => "character special",
        mode::IFBLK => "block special",
        mode::IFIFO => "FIFO",
        mode::IFSOCK => "socket",
        _ => "bad type",
    }
}

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A time taken apart: year, month (1 to 12), day, clock.
struct Parts {
    year: String,
    month: usize,
    day: u32,
    clock: String,
}

fn parts(t: Timestamp) -> Option<Parts> {
    // The table of the field module knows the calendar: YYYY-MM-DDThh:mm:ssZ.
    let text = daxkit_format::field::format_time(Timestamp { seconds: t.seconds, nanos: 0 });
    let (date, clock) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.split('-');
    Some(Parts {
        year: date.next()?.to_owned(),
        month: date.next()?.parse().ok()?,
        day: date.next()?.parse().ok()?,
        clock: clock.to_owned(),
    })
}

/// As ctime(3) writes it, in UTC, with nanoseconds where there are some: `Sat Feb  3 04:05:06.123456789 2024`.
pub(crate) fn long_time(t: Timestamp) -> String {
    let Some(p) = parts(t) else { return daxkit_format::field::format_time(t) };
    let day = usize::try_from(t.seconds.div_euclid(86_400).rem_euclid(7)).unwrap_or(0);
    let fraction = if t.nanos == 0 { String::new() } else { format!(".{:09}", t.nanos) };
    let (day_name, month) = (DAYS.get(day).unwrap_or(&"?"), MONTHS.get(p.month.wrapping_sub(1)).unwrap_or(&"?"));
    format!("{day_name} {month} {:2} {}{fraction} {}", p.day, p.clock, p.year)
}

/// As `ls -l` of debugfs writes it, in UTC: ` 3-Feb-2024 04:05`.
pub(crate) fn short_time(t: Timestamp) -> String {
    let Some(p) = parts(t) else { return daxkit_format::field::format_time(t) };
    let month = MONTHS.get(p.month.wrapping_sub(1)).unwrap_or(&"?");
    format!("{:2}-{month}-{} {}", p.day, p.year, p.clock.get(..5).unwrap_or_default())
}

/// One entry of an extent tree, index or leaf.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TreeEntry {
    /// Levels below the root.
    pub(crate) level: u16,
    /// Depth of the whole tree.
    pub(crate) depth: u16,
    /// Which of how many in its node, from 1.
    pub(crate) index: usize,
    pub(crate) count: usize,
    pub(crate) logical: u64,
    /// Blocks; of an index entry: up to the next one.
    pub(crate) len: u64,
    /// The first block, or the node below.
    pub(crate) physical: u64,
    pub(crate) leaf: bool,
    pub(crate) written: bool,
}

/// The entries of an inode's extent tree as a walk in order meets them, up to the point of any damage, which is returned with
/// them.
pub(crate) fn extent_tree(session: &Session<'_>, inode: &Inode) -> (Vec<TreeEntry>, Option<anyhow::Error>) {
    let mut entries = Vec::new();
    let blocks = inode.size().div_ceil(u64::from(session.volume.block_size()));
    let mut walk = TreeWalk { session, seen: HashSet::new(), depth: 0, seed: session.volume.inode_verify_seed(inode) };
    let error = walk.node(&inode.i_block, None, blocks, 0, &mut entries).err();
    (entries, error)
}

struct TreeWalk<'s, 'a> {
    session: &'s Session<'a>,
    seen: HashSet<u64>,
    depth: u16,
    seed: Option<u32>,
}

impl TreeWalk<'_, '_> {
    fn node(
        &mut self,
        bytes: &[u8],
        depth: Option<u16>,
        end: u64,
        level: u16,
        entries: &mut Vec<TreeEntry>,
    ) -> Result<()> {
        let node = Node::parse(bytes, depth)?;
        if depth.is_none() {
            self.depth = node.depth();
        }
        let leaf = node.depth() == 0;
        let base = TreeEntry {
            level,
            depth: self.depth,
            index: 0,
            count: 0,
            logical: 0,
            len: 0,
            physical: 0,
            leaf,
            written: true,
        };
        let count = node.extents().len();
        if leaf {
            entries.extend(node.extents().iter().enumerate().map(|(i, e)| TreeEntry {
                index: i + 1,
                count,
                logical: e.ee_block.get().into(),
                len: e.len().into(),
                physical: e.start(),
                written: e.is_written(),
                ..base
            }));
            return Ok(());
        }
        for (i, e) in node.indexes().iter().enumerate() {
            let logical = u64::from(e.ei_block.get());
            let next = node.indexes().get(i + 1).map_or(end, |n| u64::from(n.ei_block.get()));
            let len = next.saturating_sub(logical);
            entries.push(TreeEntry { index: i + 1, count, logical, len, physical: e.leaf(), ..base });
            if !self.seen.insert(e.leaf()) {
                bail!("block:{}: a node of the extent tree occurs twice", e.leaf());
            }
            let below = self.session.volume.read_block(BlockNr(e.leaf()))?;
            if self.seed.is_some_and(|s| !extent::verify_block(s, &below)) {
                bail!("block:{}: the checksum of the extent node does not match", e.leaf());
            }
            self.node(&below, Some(node.depth() - 1), next, level + 1, entries)?;
        }
        Ok(())
    }
}
