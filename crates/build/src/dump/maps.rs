//! Maps from logical to physical blocks: extent trees and indirect blocks. They are printed while they are walked; the data
//! they lead to goes to a [`Sink`].

use super::DumpError;
use super::content::Digest;
use super::cover::Cover;
use super::image::{Geometry, Image};
use super::inodes::{Role, Subject};
use daxkit_format::ext4::extent::{self, MAX_DEPTH, Node};
use daxkit_format::ext4::indirect;
use std::fmt::Display;
use std::ops::Range;

/// More runs than this are not followed as blocks of a directory or journal; their content is printed with the free blocks.
const MAX_RUNS: usize = 1 << 20;

/// Blocks that lie one after the other in the file and in the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) logical: u64,
    pub(super) physical: u64,
    pub(super) len: u64,
    pub(super) written: bool,
}

/// Gets each block's logical number, physical number and bytes.
pub(super) type EachBlock<'f, 'i> = &'f mut dyn FnMut(&mut Image<'i>, u64, u64, &[u8]) -> Result<(), DumpError>;

/// What becomes of the data: hashed (or printed) at once, or remembered until the inode's own lines are out.
pub(super) struct Sink {
    remember: bool,
    pub(super) runs: Vec<Run>,
    data: Digest,
    past_end: Digest,
    unwritten: Digest,
    /// Nodes below the root that wait for their turn: path, block, depth.
    children: Vec<(Vec<u16>, u64, u16)>,
    /// Indirect blocks below `i_block`: index, block, level.
    indirect: Vec<(u32, u64, u8)>,
    /// Runs in the root, to be followed after the inode's lines.
    root_runs: Vec<Run>,
}

/// Indirect blocks side by side, each the one before plus one.
#[derive(Default)]
struct Steady {
    /// The words of the last block seen.
    words: Vec<u32>,
    /// The index that would go on.
    next: Option<u32>,
    /// First and last index not yet printed.
    run: Option<(u32, u32)>,
}

impl Sink {
    pub(super) fn new(role: Role) -> Self {
        Self {
            remember: !matches!(role, Role::File | Role::Symlink),
            runs: Vec::new(),
            data: Digest::default(),
            past_end: Digest::default(),
            unwritten: Digest::default(),
            children: Vec::new(),
            indirect: Vec::new(),
            root_runs: Vec::new(),
        }
    }
}

/// `0.3.5`.
fn dotted<T: Display>(path: &[T]) -> String {
    path.iter().map(ToString::to_string).collect::<Vec<_>>().join(".")
}

impl<'a> Image<'a> {
    /// The root of an extent tree in `i_block`.
    pub(super) fn extent_root(
        &mut self,
        s: &Subject,
        cover: &mut Cover<'_>,
        at: usize,
        used: bool,
        sink: &mut Sink,
    ) -> Result<(), DumpError> {
        let mut runs = Vec::new();
        let mut children = Vec::new();
        self.node(s, cover, at..at + 60, None, (&[], None), &mut runs, &mut children)?;
        // A free inode's blocks belong to others by now.
        if used {
            sink.root_runs = runs;
            sink.children = children;
        }
        Ok(())
    }

    /// Prints a node that lies in `range` of the covered bytes; what it is not is left over. Children come out in `children`,
    /// extents in `runs`.
    #[allow(clippy::too_many_arguments)]
    fn node(
        &mut self,
        s: &Subject,
        cover: &mut Cover<'_>,
        range: Range<usize>,
        depth: Option<u16>,
        (path, block): (&[u16], Option<u64>),
        runs: &mut Vec<Run>,
        children: &mut Vec<(Vec<u16>, u64, u16)>,
    ) -> Result<(), DumpError> {
        let bytes = cover.bytes().get(range.clone()).unwrap_or_default();
        let Ok(node) = Node::parse(bytes, depth) else {
            if let Some(block) = block {
                writeln!(self.out, "  /node:{} @{block} damaged", dotted(path))?;
            }
            return Ok(());
        };
        let header = node.header();
        match block {
            Some(block) => write!(self.out, "  /node:{} @{block}", dotted(path))?,
            None => write!(self.out, "  /node")?,
        }
        write!(self.out, " entries {} max {} depth {}", header.eh_entries, header.eh_max, header.eh_depth)?;
        if header.eh_generation.get() != 0 {
            write!(self.out, " generation {}", header.eh_generation)?;
        }
        let used = 12 + 12 * usize::from(header.eh_entries.get());
        cover.mark(range.start..range.start + used);
        if depth.is_some()
            && let Some(seed) = s.seed
            && extent::verify_block(seed, bytes)
        {
            let tail = range.start + extent::tail_offset(header.eh_max.get());
            if cover.take(tail..tail + 4) {
                write!(self.out, " et_checksum ok")?;
            }
        }
        writeln!(self.out)?;
        let dot = if path.is_empty() { "" } else { "." };
        let place = |i: u16| format!("/extent:{}{dot}{i}", dotted(path));
        if node.depth() == 0 {
            for (i, e) in (0..).zip(node.extents()) {
                let state = if e.is_written() { "" } else { " unwritten" };
                writeln!(self.out, "  {} {}+{} @{}{state}", place(i), e.ee_block, e.len(), e.start())?;
                runs.push(Run {
                    logical: u64::from(e.ee_block.get()),
                    physical: e.start(),
                    len: u64::from(e.len()),
                    written: e.is_written(),
                });
            }
        } else {
            for (i, e) in (0..).zip(node.indexes()) {
                let unused = if e.ei_unused.get() == 0 { String::new() } else { format!(" ei_unused {}", e.ei_unused) };
                writeln!(self.out, "  {} {} node @{}{unused}", place(i), e.ei_block, e.leaf())?;
                let mut below = path.to_vec();
                below.push(i);
                children.push((below, e.leaf(), node.depth() - 1));
            }
        }
        Ok(())
    }

    /// Follows the map: everything below `i_block`.
    pub(super) fn map_blocks(&mut self, geo: &Geometry, s: &Subject, sink: &mut Sink) -> Result<(), DumpError> {
        for run in std::mem::take(&mut sink.root_runs) {
            self.run(geo, s, sink, run)?;
        }
        // Deepest first in order of the entries: a stack, each level pushed in reverse.
        let mut waiting: Vec<_> = std::mem::take(&mut sink.children).into_iter().rev().collect();
        while let Some((path, block, depth)) = waiting.pop() {
            if depth >= MAX_DEPTH {
                continue;
            }
            let place = format!("/node:{}", dotted(&path));
            if !self.claim_block(geo, block) {
                writeln!(self.out, "  {place} @{block} elsewhere")?;
                continue;
            }
            let Some(bytes) = self.read_block(geo, block)? else { continue };
            let mut cover = Cover::new(&bytes);
            let (mut runs, mut children) = (Vec::new(), Vec::new());
            let len = bytes.len();
            self.node(s, &mut cover, 0..len, Some(depth), (&path, Some(block)), &mut runs, &mut children)?;
            cover.rest(self.out, "  ", &place, 0)?;
            for run in runs {
                self.run(geo, s, sink, run)?;
            }
            waiting.extend(children.into_iter().rev());
        }
        let n = geo.block_size / 4;
        let mut first = 12u64;
        for level in 1..=3u8 {
            let start = first;
            first += indirect::span(level, n);
            let found: Vec<_> = sink.indirect.iter().copied().filter(|(_, _, l)| *l == level).collect();
            for (word, block, _) in found {
                self.indirect_block(geo, s, sink, &mut vec![word], (block, level), start, &mut Steady::default())?;
            }
        }
        Ok(())
    }

    /// The fifteen words of an indirect map.
    pub(super) fn indirect_root(&mut self, block: &[u8; 60], used: bool, sink: &mut Sink) -> Result<(), DumpError> {
        let words: Vec<u32> = block.as_chunks::<4>().0.iter().map(|w| u32::from_le_bytes(*w)).collect();
        let (direct, rest) = words.split_at_checked(12).unwrap_or_default();
        for (i, from, len) in steps(direct) {
            self.map_line("", i, from, len)?;
            if used {
                sink.root_runs.push(Run { logical: i, physical: u64::from(from), len, written: true });
            }
        }
        for (i, word) in (12u32..).zip(rest).filter(|(_, w)| **w != 0) {
            let level = (i - 11) as u8;
            writeln!(self.out, "  /map:{i} @{word} level {level}")?;
            if used {
                sink.indirect.push((i, u64::from(*word), level));
            }
        }
        Ok(())
    }

    fn map_line(&mut self, prefix: &str, i: u64, from: u32, len: u64) -> Result<(), DumpError> {
        if len == 1 {
            writeln!(self.out, "  /map:{prefix}{i} @{from}")?;
        } else {
            writeln!(self.out, "  /map:{prefix}{i}-{} @{from}-{}", i + len - 1, u64::from(from) + len - 1)?;
        }
        Ok(())
    }

    /// An indirect block, `level` levels above the data, and what is below it. `steady` knows its neighbour.
    #[allow(clippy::too_many_arguments)]
    fn indirect_block(
        &mut self,
        geo: &Geometry,
        s: &Subject,
        sink: &mut Sink,
        path: &mut Vec<u32>,
        (block, level): (u64, u8),
        first: u64,
        steady: &mut Steady,
    ) -> Result<(), DumpError> {
        if !self.claim_block(geo, block) {
            self.finish_steady(steady, path)?;
            writeln!(self.out, "  /map:{} @{block} elsewhere", dotted(path))?;
            return Ok(());
        }
        let Some(bytes) = self.read_block(geo, block)? else { return Ok(()) };
        let words: Vec<u32> = bytes.as_chunks::<4>().0.iter().map(|w| u32::from_le_bytes(*w)).collect();
        if level == 1 {
            return self.indirect_leaf(geo, s, sink, path, words, first, steady);
        }
        let prefix = format!("{}.", dotted(path));
        for (i, from, len) in steps(&words) {
            self.map_line(&prefix, i, from, len)?;
        }
        let span = indirect::span(level - 1, geo.block_size / 4);
        let mut below = Steady::default();
        for (i, word) in (0u32..).zip(&words).filter(|(_, w)| **w != 0) {
            path.push(i);
            let start = first.saturating_add(u64::from(i).saturating_mul(span));
            self.indirect_block(geo, s, sink, path, (u64::from(*word), level - 1), start, &mut below)?;
            path.pop();
        }
        path.push(0);
        self.finish_steady(&mut below, path)?;
        path.pop();
        Ok(())
    }

    /// An indirect block that names data. Those of the resize inode differ from the one before by one in every word, which is
    /// said in one line for many.
    #[allow(clippy::too_many_arguments)]
    fn indirect_leaf(
        &mut self,
        geo: &Geometry,
        s: &Subject,
        sink: &mut Sink,
        path: &[u32],
        words: Vec<u32>,
        first: u64,
        steady: &mut Steady,
    ) -> Result<(), DumpError> {
        let index = path.last().copied().unwrap_or(0);
        let goes_on = steady.next == Some(index)
            && words.len() == steady.words.len()
            && words.iter().any(|w| *w != 0)
            && words
                .iter()
                .zip(&steady.words)
                .all(|(w, b)| if *b == 0 { *w == 0 } else { Some(*w) == b.checked_add(1) });
        if goes_on {
            let run = steady.run.get_or_insert((index, index));
            run.1 = index;
        } else {
            self.finish_steady(steady, path)?;
        }
        let prefix = format!("{}.", dotted(path));
        for (i, from, len) in steps(&words) {
            if !goes_on {
                self.map_line(&prefix, i, from, len)?;
            }
            let logical = first.saturating_add(i);
            self.run(geo, s, sink, Run { logical, physical: u64::from(from), len, written: true })?;
        }
        steady.next = index.checked_add(1);
        steady.words = words;
        Ok(())
    }

    /// Prints a run of steady blocks; `path` is that of any of their neighbours.
    fn finish_steady(&mut self, steady: &mut Steady, path: &[u32]) -> Result<(), DumpError> {
        steady.next = None;
        let Some((first, last)) = steady.run.take() else { return Ok(()) };
        let above = path.split_last().map_or(String::new(), |(_, above)| dotted(above));
        writeln!(self.out, "  /map:{above}.{first}-{last} each +1")?;
        Ok(())
    }

    /// A run of data blocks.
    fn run(&mut self, geo: &Geometry, s: &Subject, sink: &mut Sink, run: Run) -> Result<(), DumpError> {
        let bs = u64::from(geo.block_size);
        if sink.remember {
            if let Some(last) = sink.runs.last_mut()
                && last.logical.checked_add(last.len) == Some(run.logical)
                && last.physical.checked_add(last.len) == Some(run.physical)
                && last.written == run.written
            {
                last.len += run.len;
            } else if sink.runs.len() < MAX_RUNS {
                sink.runs.push(run);
            }
            return Ok(());
        }
        let start = run.physical.saturating_mul(bs).min(self.len);
        let end = run.physical.saturating_add(run.len).saturating_mul(bs).min(self.len);
        let parts = self.claim_rest(start..end);
        if parts.iter().map(|p| p.end - p.start).sum::<u64>() < run.len.saturating_mul(bs) {
            writeln!(self.out, "  /block:{}+{} @{} elsewhere", run.logical, run.len, run.physical)?;
        }
        for part in parts {
            let offset = run.logical.saturating_mul(bs).saturating_add(part.start - start);
            if self.wants_full() || s.role == Role::Symlink {
                let place = |o: u64| {
                    let at = offset.saturating_add(o);
                    if at % bs == 0 {
                        format!("/block:{}", at / bs)
                    } else {
                        format!("/block:{}+{:#x}", at / bs, at % bs)
                    }
                };
                let header = format!("/block:{}+{} @{}", run.logical, run.len, run.physical);
                self.full(part, self.wants_full().then_some(header.as_str()), &place)?;
                continue;
            }
            if !run.written {
                self.hash(part, &mut sink.unwritten)?;
                continue;
            }
            let inside = s.inode.size().saturating_sub(offset).min(part.end - part.start);
            self.hash(part.start..part.start + inside, &mut sink.data)?;
            self.hash(part.start + inside..part.end, &mut sink.past_end)?;
        }
        Ok(())
    }

    /// Prints what the sink gathered.
    pub(super) fn finish(&mut self, geo: &Geometry, s: &Subject, sink: Sink) -> Result<(), DumpError> {
        sink.data.finish(self.out, "  ", "data")?;
        sink.past_end.finish(self.out, "  ", "past_end")?;
        sink.unwritten.finish(self.out, "  ", "unwritten")?;
        match s.role {
            Role::File | Role::Symlink => Ok(()),
            Role::Directory => self.directory(geo, s, &sink.runs),
            Role::Journal => self.journal(geo, &sink.runs),
            Role::Quota(kind) => self.quota(geo, kind, &sink.runs),
            Role::Orphans => self.orphans(geo, s, &sink.runs),
        }
    }

    /// Calls `each` for every block of the runs that nobody has printed and that is not zero: logical number, physical
    /// number, bytes.
    pub(super) fn each_block(
        &mut self,
        geo: &Geometry,
        runs: &[Run],
        each: EachBlock<'_, 'a>,
    ) -> Result<(), DumpError> {
        let bs = u64::from(geo.block_size);
        for run in runs {
            let start = run.physical.saturating_mul(bs).min(self.len);
            let end = run.physical.saturating_add(run.len).saturating_mul(bs).min(self.len);
            let mut at = start;
            let mut others = false;
            while let Some(gap) = self.next_unclaimed(at..end) {
                others |= gap.start > at;
                // A block of which a part was printed belongs to that printer.
                let first = gap.start.div_ceil(bs).saturating_mul(bs);
                let last = (gap.end / bs).saturating_mul(bs);
                others |= first > gap.start || last < gap.end;
                at = gap.end;
                if first < last {
                    self.claim(first..last);
                    self.owned_blocks(geo, first..last, run.logical + (first - start) / bs, each)?;
                }
            }
            if others || at < end {
                writeln!(self.out, "blocks {}+{} @{} partly elsewhere", run.logical, run.len, run.physical)?;
            }
        }
        Ok(())
    }

    /// The blocks of a claimed range.
    fn owned_blocks(
        &mut self,
        geo: &Geometry,
        range: Range<u64>,
        logical: u64,
        each: EachBlock<'_, 'a>,
    ) -> Result<(), DumpError> {
        let bs = u64::from(geo.block_size);
        let mut at = range.start;
        while let Some(data) = self.data_from(at)?.filter(|d| *d < range.end) {
            let start = data / bs * bs;
            let bytes = self.read(start, geo.block_size as usize)?;
            if bytes.iter().any(|b| *b != 0) {
                each(self, logical + (start - range.start) / bs, start / bs, &bytes)?;
            }
            at = start + bs;
            if at >= range.end {
                break;
            }
        }
        Ok(())
    }
}

/// The words that are not zero, as runs in which both index and word go up by one: index, word, length.
fn steps(words: &[u32]) -> Vec<(u64, u32, u64)> {
    let mut out: Vec<(u64, u32, u64)> = Vec::new();
    for (i, word) in (0u64..).zip(words).filter(|(_, w)| **w != 0) {
        match out.last_mut() {
            Some((at, from, len)) if *at + *len == i && u64::from(*from) + *len == u64::from(*word) => *len += 1,
            _ => out.push((i, *word, 1)),
        }
    }
    out
}
