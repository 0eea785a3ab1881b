//! What a dry run would write: every place that differs from the image, by name, as it is and as it would be.
//!
//! What is compared is the file system, as a mount would show it before and after: neither what a journal that is replayed does nor
//! what the journal holds while a change passes through it is an edit.

mod blocks;
mod rows;

use crate::opening::Target;
use crate::output;
use crate::session::Session;
use anyhow::Result;
use daxkit_device::BlockDevice;
use daxkit_volume::{OpenOptions, Volume};
use rows::Row;
pub(crate) use rows::Rows;
use serde_json::{Value, json};
use std::sync::Arc;

/// Bytes compared at once: whole blocks, whatever their size.
const CHUNK: u64 = 256 << 10;

/// Shows what would be written.
pub(crate) fn show(session: &mut Session<'_>) -> Result<()> {
    let Target::DryRun(device) = &session.target else { return Ok(()) };
    let options = OpenOptions {
        ignore_checksums: session.opening.ignore_checksums,
        replay: session.opening.replay,
        ..OpenOptions::default()
    };
    let before = Volume::open(Arc::clone(device), &options)?;
    let changed = changed_blocks(&before, &session.volume)?;
    named(&before, &session.volume, &changed)?.show(session, "dry-run", "would change")
}

/// The places that differ between two images of one shape.
pub(crate) fn differences(a: &Volume, b: &Volume) -> Result<Rows> {
    let differing = differing_blocks(a, b)?;
    named(a, b, &differing)
}

fn named(before: &Volume, after: &Volume, changed: &[u64]) -> Result<Rows> {
    let mut rows = Rows::default();
    for (block, what) in changed.iter().zip(blocks::name(before, after, changed)) {
        rows.block(before, after, *block, &what)?;
    }
    Ok(rows.finish())
}

impl Rows {
    /// Whether nothing differs.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// All of them for JSON.
    pub(crate) fn document(&self) -> Value {
        let Self { rows, left_out, bytes, .. } = self;
        let rows: Vec<_> = rows.iter().map(Row::document).collect();
        json!({ "changes": rows, "left_out": left_out, "bytes": bytes })
    }

    /// Prints them; `verb` says what the bytes do.
    pub(crate) fn show(&self, session: &mut Session<'_>, command: &str, verb: &str) -> Result<()> {
        let Self { rows, left_out, bytes, .. } = self;
        if session.json {
            return output::document(&mut session.out, command, self.document());
        }
        for row in rows {
            writeln!(session.out, "{row}")?;
        }
        if *left_out > 0 {
            writeln!(session.out, "and {left_out} more places")?;
        }
        writeln!(session.out, "{bytes} bytes {verb}")?;
        Ok(())
    }
}

/// The blocks in which two images differ, ascending. Holes of both are not read.
fn differing_blocks(a: &Volume, b: &Volume) -> Result<Vec<u64>> {
    let bs = u64::from(a.block_size());
    let (end, mut at) = (a.geometry().bytes(), 0);
    let mut differing = Vec::new();
    let (mut one, mut other) = (vec![0; CHUNK as usize], vec![0; CHUNK as usize]);
    while at < end {
        let next = |volume: &Volume| -> Result<u64> {
            let data = volume.device().next_data(volume.base().saturating_add(at))?;
            Ok(data.map_or(end, |d| d.start.saturating_sub(volume.base())))
        };
        at = next(a)?.min(next(b)?).max(at) / bs * bs;
        let n = CHUNK.min(end.saturating_sub(at)) as usize;
        let (Some(x), Some(y)) = (one.get_mut(..n), other.get_mut(..n)) else { break };
        a.device().read_at(a.base().saturating_add(at), x)?;
        b.device().read_at(b.base().saturating_add(at), y)?;
        if x != y {
            let blocks = x.chunks(bs as usize).zip(y.chunks(bs as usize)).zip(at / bs..);
            differing.extend(blocks.filter(|((x, y), _)| x != y).map(|(_, block)| block));
        }
        at += n as u64;
    }
    Ok(differing)
}

/// The blocks of the file system that differ, ascending.
fn changed_blocks(before: &Volume, after: &Volume) -> Result<Vec<u64>> {
    let Some(overlay) = after.edits() else { return Ok(Vec::new()) };
    let (base, bs) = (after.base(), u64::from(after.block_size()));
    let mut changed = Vec::new();
    let (mut old, mut new) = (vec![0; bs as usize], vec![0; bs as usize]);
    for change in overlay.changes() {
        let start = change.range.start.saturating_sub(base) / bs;
        let end = change.range.end.saturating_sub(base).div_ceil(bs).min(after.geometry().blocks_count);
        // A page may hold several blocks, and a block several pages.
        let start = changed.last().map_or(start, |last: &u64| start.max(last.saturating_add(1)));
        for block in start..end {
            let at = base.saturating_add(block.saturating_mul(bs));
            before.device().read_at(at, &mut old)?;
            overlay.read_at(at, &mut new)?;
            if old != new {
                changed.push(block);
            }
        }
    }
    Ok(changed)
}
