//! What is in use and what is free.

use super::Command;
use crate::output;
use crate::session::Session;
use crate::words::number;
use anyhow::{Context, Result, bail};
use daxkit_format::{BlockNr, GroupNr, InodeNr};
use daxkit_volume::Inode;
use serde_json::{Value, json};

pub(super) static COMMANDS: &[Command] = &[
    Command {
        names: &["testb"],
        args: "BLOCK [COUNT]",
        summary: "Say whether blocks are marked in use",
        example: "testb 1",
        run: testb,
    },
    Command {
        names: &["testi"],
        args: "FILE",
        summary: "Say whether an inode is marked in use",
        example: "testi <2>",
        run: testi,
    },
    Command {
        names: &["find_free_block", "ffb"],
        args: "[COUNT [GOAL]]",
        summary: "Find free blocks, from a block on",
        example: "ffb 3",
        run: find_block,
    },
    Command {
        names: &["find_free_inode", "ffi"],
        args: "[DIRECTORY [MODE]]",
        summary: "Find a free inode, from the group of a directory on",
        example: "ffi",
        run: find_inode,
    },
    Command {
        names: &["freefrag", "e2freefrag"],
        args: "[-c KIB]",
        summary: "Show in which pieces the free blocks lie; -c: free chunks of this size too",
        example: "freefrag",
        run: freefrag,
    },
    Command {
        names: &["freesp"],
        args: "[-A BYTES] [-b]",
        summary: "Show free runs by powers of two, and how many aligned windows (-A, 2M) are free; -b: list them",
        example: "freesp -A 2M",
        run: freesp,
    },
];

/// Most blocks that `testb` and `ffb` list.
pub(super) const MOST: u64 = 1 << 20;

fn testb(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (1, 2))?;
    let (first, count) = match options.rest {
        [first, count] => (number(first, "a block number")?, number(count, "a count")?),
        [first] => (number(first, "a block number")?, 1),
        _ => return Ok(()),
    };
    let end = first.checked_add(count).filter(|_| count <= MOST).context("too many blocks")?;
    let mut rows = Vec::new();
    for block in first..end {
        let used = session.volume.block_in_use(BlockNr(block))?;
        if session.json {
            rows.push(json!({ "block": block, "in_use": used }));
        } else {
            writeln!(session.out, "Block {block} {}", if used { "marked in use" } else { "not in use" })?;
        }
    }
    if session.json {
        return output::document(&mut session.out, command.name(), Value::from(rows));
    }
    Ok(())
}

fn testi(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (1, 1))?;
    for spec in options.rest {
        let nr = session.inode(spec)?.nr();
        let used = session.volume.inode_in_use(nr)?;
        if session.json {
            output::document(&mut session.out, command.name(), json!({ "inode": nr.get(), "in_use": used }))?;
        } else {
            writeln!(session.out, "Inode {nr} is {}", if used { "marked in use" } else { "not in use" })?;
        }
    }
    Ok(())
}

fn find_block(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (0, 2))?;
    let count = options.rest.first().map_or(Ok(1), |w| number(w, "a count"))?;
    let goal = options.rest.get(1).map_or(Ok(0), |w| number(w, "a block number"))?;
    let count =
        usize::try_from(count).ok().filter(|n| (1..=MOST as usize).contains(n)).context("not a possible count")?;
    let (mut behind, mut before) = (Vec::new(), Vec::new());
    let errors = session.volume.free_runs(|first, len| {
        let end = first + len;
        let split = goal.clamp(first, end);
        behind.extend((split..end).take(count - behind.len()));
        before.extend((first..split).take(count - before.len()));
    });
    // Behind the last block the search goes on at the first one.
    behind.extend(before);
    behind.truncate(count);
    session.complain_all(errors);
    if behind.is_empty() {
        bail!("no free block");
    }
    if session.json {
        return output::document(&mut session.out, command.name(), Value::from(behind));
    }
    let list: Vec<String> = behind.iter().map(u64::to_string).collect();
    writeln!(session.out, "Free blocks found: {}", list.join(" "))?;
    Ok(())
}

fn find_inode(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (0, 2))?;
    let dir = match options.rest.first() {
        None => session.here,
        // As in debugfs a bare number is a directory's inode.
        Some(word) => match number(word, "an inode") {
            Ok(nr) => InodeNr(nr),
            Err(_) => session.inode(word).map(|inode: Inode| inode.nr())?,
        },
    };
    if let Some(mode) = options.rest.get(1) {
        number(mode, "a mode")?;
    }
    let g = *session.volume.geometry();
    let count = u64::from(g.inodes_count);
    let (from, _) =
        g.group_of_inode(dir).with_context(|| format!("inode:{dir}: no such inode, the file system has {count}"))?;
    let groups = (from.get()..session.groups().end).chain(0..from.get().min(session.groups().end));
    for group in groups {
        let map = match session.volume.inode_bitmap(GroupNr(group)) {
            Ok(map) => map,
            Err(e) => {
                session.complain(&e);
                continue;
            }
        };
        let reserved = if group == 0 { g.first_ino.saturating_sub(1) } else { 0 };
        if let Some(index) = map.next_clear(reserved) {
            let nr = u64::from(group) * u64::from(g.inodes_per_group) + u64::from(index) + 1;
            if session.json {
                return output::document(&mut session.out, command.name(), json!({ "inode": nr }));
            }
            writeln!(session.out, "Free inode found: {nr}")?;
            return Ok(());
        }
    }
    bail!("no free inode");
}

/// Free runs by powers of two of their length.
struct Histogram {
    /// Runs and blocks, by log2 of the blocks.
    rows: [(u64, u64); 64],
    runs: u64,
    blocks: u64,
    least: u64,
    most: u64,
}

impl Histogram {
    fn new() -> Self {
        Self { rows: [(0, 0); 64], runs: 0, blocks: 0, least: u64::MAX, most: 0 }
    }

    fn add(&mut self, len: u64) {
        if let Some((runs, blocks)) = self.rows.get_mut(len.max(1).ilog2() as usize) {
            *runs += 1;
            *blocks += len;
        }
        self.runs += 1;
        self.blocks += len;
        self.least = self.least.min(len);
        self.most = self.most.max(len);
    }

    /// The rows with something in them, and their power.
    fn filled(&self) -> impl Iterator<Item = (u32, u64, u64)> {
        (0u32..).zip(self.rows).filter(|(_, (runs, _))| *runs > 0).map(|(power, (runs, blocks))| (power, runs, blocks))
    }

    fn share(&self, blocks: u64) -> f64 {
        if self.blocks == 0 { 0.0 } else { blocks as f64 * 100.0 / self.blocks as f64 }
    }
}

/// Bytes in one digit or more and a letter.
fn bytes(n: u64) -> (u64, char) {
    let mut n = n >> 10;
    for unit in ['K', 'M', 'G', 'T', 'P'] {
        if n < 1024 {
            return (n, unit);
        }
        n >>= 10;
    }
    (n, 'E')
}

fn freefrag(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "c:", &[], (0, 0))?;
    let g = *session.volume.geometry();
    let bs = u64::from(g.block_size);
    let chunk = match options.value("c") {
        None => None,
        Some(word) => {
            let kib = number(word, "a chunk size in KiB")?;
            let size = kib.checked_mul(1024).filter(|s| s.is_power_of_two() && *s >= bs);
            Some(size.context("a chunk is a power of two and not less than a block")? / bs)
        }
    };
    let mut histogram = Histogram::new();
    let mut free_chunks = 0;
    let errors = session.volume.free_runs(|first, len| {
        histogram.add(len);
        if let Some(chunk) = chunk {
            free_chunks += windows(first, len, chunk).1;
        }
    });
    session.complain_all(errors);
    let average = histogram.blocks.checked_div(histogram.runs).unwrap_or(0);
    let (min, max) = (if histogram.runs == 0 { 0 } else { histogram.least }, histogram.most);
    if session.json {
        let rows: Vec<Value> = histogram
            .filled()
            .map(|(power, runs, blocks)| json!({ "from": bs << power, "runs": runs, "blocks": blocks }))
            .collect();
        let document = json!({
            "block_size": bs, "blocks": g.blocks_count, "free_blocks": histogram.blocks, "runs": histogram.runs,
            "least": min, "most": max, "histogram": rows,
            "chunk_blocks": chunk, "chunks": chunk.map(|c| g.blocks_count.div_ceil(c)), "free_chunks": free_chunks,
        });
        return output::document(&mut session.out, command.name(), document);
    }
    let image = output::shown(session.opening.path().as_os_str().as_encoded_bytes());
    let out = &mut session.out;
    let percent = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 };
    writeln!(out, "Device: {image}\nBlocksize: {bs} bytes\nTotal blocks: {}", g.blocks_count)?;
    writeln!(out, "Free blocks: {} ({:.1}%)\n", histogram.blocks, percent(histogram.blocks, g.blocks_count))?;
    if let Some(chunk) = chunk {
        let chunks = g.blocks_count.div_ceil(chunk);
        writeln!(out, "Chunksize: {} bytes ({chunk} blocks)\nTotal chunks: {chunks}", chunk * bs)?;
        writeln!(out, "Free chunks: {free_chunks} ({:.1}%)\n", percent(free_chunks, chunks))?;
    }
    writeln!(out, "Min. free extent: {} KB \nMax. free extent: {} KB", min * bs / 1024, max * bs / 1024)?;
    writeln!(out, "Avg. free extent: {} KB\nNum. free extent: {}", average * bs / 1024, histogram.runs)?;
    writeln!(out, "\nHISTOGRAM OF FREE EXTENT SIZES:")?;
    writeln!(out, "Extent Size Range :  Free extents   Free Blocks  Percent")?;
    for (power, runs, blocks) in histogram.filled() {
        let ((from, unit), (to, to_unit)) = (bytes(bs << power), bytes(bs << (power + 1)));
        let share = histogram.share(blocks);
        writeln!(out, "{from:5}{unit}...{to:5}{to_unit}-  :  {runs:12}  {blocks:12}  {share:6.2}%")?;
    }
    Ok(())
}

/// The first whole window inside a run of blocks, and how many there are. A window begins at a multiple of its size.
fn windows(first: u64, len: u64, window: u64) -> (u64, u64) {
    let begin = first.next_multiple_of(window);
    (begin, (first + len).saturating_sub(begin) / window)
}

fn freesp(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "A:b", &[], (0, 0))?;
    let bs = u64::from(session.volume.block_size());
    let align = match options.value("A") {
        None => 2 << 20,
        Some(word) => {
            let text = output::shown(word);
            daxkit_cli::size::parse(&text, 1).with_context(|| format!("-A: {text:?} is not a size"))?
        }
    };
    if align < bs || !align.is_multiple_of(bs) || align > 1 << 40 {
        bail!("-A: {align} is not a multiple of the block size, or too large");
    }
    let window = align / bs;
    let mut histogram = Histogram::new();
    let (mut whole, mut runs) = (0, Vec::new());
    let errors = session.volume.free_runs(|first, len| {
        histogram.add(len);
        let (begin, count) = windows(first, len, window);
        whole += count;
        if options.has('b') && runs.len() < MOST as usize {
            runs.push((first, len, begin, count));
        }
    });
    session.complain_all(errors);
    if session.json {
        let rows: Vec<Value> = histogram
            .filled()
            .map(|(power, runs, blocks)| json!({ "from": 1u64 << power, "runs": runs, "blocks": blocks }))
            .collect();
        let list: Vec<Value> = runs
            .iter()
            .map(|(first, len, begin, count)| {
                json!({ "first": first, "len": len, "first_window": (*count > 0).then_some(begin), "windows": count })
            })
            .collect();
        let document = json!({
            "block_size": bs, "free_blocks": histogram.blocks, "runs": histogram.runs, "align": align,
            "aligned_windows": whole, "histogram": rows, "list": if options.has('b') { Value::from(list) } else { Value::Null },
        });
        return output::document(&mut session.out, command.name(), document);
    }
    let out = &mut session.out;
    writeln!(out, "{:>10} {:>10} {:>10} {:>12} {:>7}", "from", "to", "runs", "blocks", "percent")?;
    for (power, runs, blocks) in histogram.filled() {
        let (from, to) = (1u64 << power, (1u64 << power).saturating_mul(2).saturating_sub(1));
        writeln!(out, "{from:10} {to:10} {runs:10} {blocks:12} {:7.2}", histogram.share(blocks))?;
    }
    writeln!(out, "{} free blocks in {} runs", histogram.blocks, histogram.runs)?;
    writeln!(out, "{whole} whole free windows of {align} bytes at multiples of that")?;
    for (first, len, begin, count) in runs {
        let note = if count > 0 { format!("  {count} windows from {begin}") } else { String::new() };
        writeln!(out, "  {first}-{} ({len}){note}", first + len - 1)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_windows_lie_inside_a_run() {
        assert_eq!(windows(0, 512, 512), (0, 1));
        assert_eq!(windows(1, 511, 512), (512, 0));
        assert_eq!(windows(1, 1535, 512), (512, 2));
        assert_eq!(windows(300, 100, 512), (512, 0));
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!((bytes(4096), bytes(4 << 20), bytes(1 << 50)), ((4, 'K'), (4, 'M'), (1, 'P')));
    }
}
