//! What a dry run would write: the bytes that differ, by place.

use crate::opening::Target;
use crate::output;
use crate::session::Session;
use anyhow::Result;
use daxkit_device::BlockDevice;
use daxkit_format::field::to_hex;
use serde_json::json;

/// Most bytes of a place that are shown.
const SHOWN: usize = 32;

/// Most places that are shown; the rest is counted.
const MAX_PLACES: u64 = 10_000;

/// Bytes compared at once.
const CHUNK: u64 = 64 << 10;

/// Bytes that would change.
struct Difference {
    offset: u64,
    old: Vec<u8>,
    new: Vec<u8>,
    len: u64,
}

/// Shows what would be written.
pub(crate) fn show(session: &mut Session<'_>) -> Result<()> {
    let Some(overlay) = session.volume.edits().cloned() else { return Ok(()) };
    let below: &dyn BlockDevice = match &session.target {
        Target::ReadOnly => return Ok(()),
        Target::Image(device) => &**device,
        Target::Undo(device) => &**device,
    };
    let (mut found, mut more, mut bytes) = (Vec::new(), 0u64, 0u64);
    for change in overlay.changes() {
        let mut at = change.range.start;
        while at < change.range.end {
            let len = CHUNK.min(change.range.end - at) as usize;
            let (mut old, mut new) = (vec![0; len], vec![0; len]);
            below.read_at(at, &mut old)?;
            overlay.read_at(at, &mut new)?;
            let mut inside = 0;
            while let Some(start) = (inside..len).find(|i| old.get(*i) != new.get(*i)) {
                let end = (start..len).find(|i| old.get(*i) == new.get(*i)).unwrap_or(len);
                bytes += (end - start) as u64;
                if (found.len() as u64) < MAX_PLACES {
                    let part = |b: &[u8]| b.get(start..end.min(start + SHOWN)).unwrap_or_default().to_vec();
                    let (offset, len) = (at + start as u64, (end - start) as u64);
                    found.push(Difference { offset, old: part(&old), new: part(&new), len });
                } else {
                    more += 1;
                }
                inside = end;
            }
            at += len as u64;
        }
    }
    let (base, bs) = (session.volume.base(), u64::from(session.volume.block_size()));
    let place = |at: u64| format!("block:{}+{:#x}", at.saturating_sub(base) / bs, at.saturating_sub(base) % bs);
    if session.json {
        let rows: Vec<_> = found
            .iter()
            .map(|d| {
                let (old, new) = (to_hex(&d.old), to_hex(&d.new));
                json!({ "place": place(d.offset), "offset": d.offset, "len": d.len, "old": old, "new": new })
            })
            .collect();
        return output::document(
            &mut session.out,
            "dry-run",
            json!({ "changes": rows, "left_out": more, "bytes": bytes }),
        );
    }
    for d in &found {
        let dots = if d.len > SHOWN as u64 { "..." } else { "" };
        writeln!(
            session.out,
            "would change {} ({} bytes): {}{dots} -> {}{dots}",
            place(d.offset),
            d.len,
            to_hex(&d.old),
            to_hex(&d.new)
        )?;
    }
    if more > 0 {
        writeln!(session.out, "and {more} more places")?;
    }
    writeln!(session.out, "{bytes} bytes would change")?;
    Ok(())
}
