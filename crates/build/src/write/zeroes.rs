//! Finds blocks of zeroes in source files, so that they can become holes (`--holes=zero-blocks`).

use super::WriteError;
use crate::plan::RangeOverrides;
use crate::pool;
use crate::progress::Progress;
use crate::source::{Kind, NodeId, Reader, Source};
use std::ops::Range;

const BUFFER: usize = 1 << 20;

/// For each file with a block of nothing but zeroes, the ranges that remain. Reads all files.
///
/// # Errors
/// A file changed or cannot be read.
pub fn find_zero_blocks(
    source: &Source,
    block_size: u32,
    threads: usize,
    progress: &dyn Progress,
) -> Result<RangeOverrides, WriteError> {
    let tree = source.tree();
    let files: Vec<NodeId> = tree
        .ids()
        .filter(|id| tree.kind(*id) == Kind::File && tree.primary(*id) == *id && tree.size(*id) > 0)
        .collect();
    progress.stage("looking for zeroes", files.len() as u64);
    let init = || Ok((Reader::new(source)?, RangeOverrides::new(), vec![0u8; BUFFER]));
    let done = pool::run(threads, files.len(), progress, init, |(reader, found, buffer), i| {
        let Some(id) = files.get(i).copied() else { return Ok(()) };
        let file = reader.open(id)?;
        let size = tree.size(id);
        let whole: Vec<Range<u64>> = std::iter::once(0..size).collect();
        let ranges = tree.data_ranges(id).unwrap_or(&whole);
        let mut kept: Vec<Range<u64>> = Vec::new();
        for r in ranges {
            // Whole blocks are judged, so begin at one.
            let mut at = r.start / u64::from(block_size) * u64::from(block_size);
            while at < r.end {
                let n = (r.end - at).min(BUFFER as u64) as usize;
                let part = buffer.get_mut(..n).unwrap_or_default();
                file.read_exact_at(part, at)?;
                for (k, block) in part.chunks(block_size as usize).enumerate() {
                    let start = at + k as u64 * u64::from(block_size);
                    if block.iter().all(|b| *b == 0) {
                        continue;
                    }
                    let end = start + block.len() as u64;
                    match kept.last_mut() {
                        Some(last) if last.end == start => last.end = end,
                        _ => kept.push(start..end),
                    }
                }
                at += n as u64;
            }
        }
        file.finish()?;
        if kept.as_slice() != ranges {
            found.insert(id.0, kept);
        }
        progress.advance(1);
        Ok(())
    })?;
    Ok(done.into_iter().flat_map(|(_, found, _)| found).collect())
}
