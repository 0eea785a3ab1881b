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
use rows::{Row, Rows};
use serde_json::json;
use std::sync::Arc;

/// Shows what would be written.
pub(crate) fn show(session: &mut Session<'_>) -> Result<()> {
    let Target::DryRun(device) = &session.target else { return Ok(()) };
    let options = OpenOptions { ignore_checksums: session.opening.ignore_checksums, ..OpenOptions::default() };
    let before = Volume::open(Arc::clone(device), &options)?;
    let changed = changed_blocks(&before, &session.volume)?;
    let blocks = blocks::name(&before, &session.volume, &changed);
    let mut rows = Rows::default();
    for (block, what) in changed.iter().zip(blocks) {
        rows.block(&before, &session.volume, *block, &what)?;
    }
    let Rows { rows, left_out, bytes, .. } = rows.finish();
    if session.json {
        let rows: Vec<_> = rows.iter().map(Row::document).collect();
        let document = json!({ "changes": rows, "left_out": left_out, "bytes": bytes });
        return output::document(&mut session.out, "dry-run", document);
    }
    for row in &rows {
        writeln!(session.out, "{row}")?;
    }
    if left_out > 0 {
        writeln!(session.out, "and {left_out} more places")?;
    }
    writeln!(session.out, "{bytes} bytes would change")?;
    Ok(())
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
