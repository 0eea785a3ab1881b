//! What is overwritten is kept, and given back.

use anyhow::{Context, Result, bail};
use daxkit_check::Repaired;
use daxkit_device::{BlockDevice, FileDevice, FileOptions, UndoDevice, UndoOptions, apply_undo};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use crate::status::{CORRECTED, Usage};

/// Makes sure that an undo file can be made.
pub(crate) fn check_new(path: &Path) -> Result<()> {
    if std::fs::symlink_metadata(path).is_ok() {
        bail!(Usage(format!("-z {}: exists already", path.display())));
    }
    Ok(())
}

/// The byte of an image at which the primary superblock's page begins: it is written last.
const SUPER_PAGE: std::ops::Range<u64> = 0..4096;

/// Writes what was mended, the superblock last, under an undo file when one is wanted.
pub(crate) fn write(
    repaired: &Repaired,
    device: &Arc<dyn BlockDevice>,
    undo: Option<&Path>,
    offset: u64,
) -> Result<()> {
    let edits = repaired.edits();
    if edits.is_unchanged() {
        return Ok(());
    }
    let Some(path) = undo else { return in_order(repaired, &**device) };
    let context = || format!("-z {}", path.display());
    let options = UndoOptions { fs_offset: offset, ..UndoOptions::default() };
    let under = UndoDevice::create(Arc::clone(device), path, options).with_context(context)?;
    let ranges: Vec<_> = edits.changes().into_iter().map(|change| change.range).collect();
    under.save(&ranges).with_context(context)?;
    in_order(repaired, &under)?;
    under.finish().with_context(context)?;
    Ok(())
}

fn in_order(repaired: &Repaired, target: &dyn BlockDevice) -> Result<()> {
    let edits = repaired.edits();
    let mut buffer = vec![0; 1 << 20];
    let mut copy = |range: std::ops::Range<u64>| -> Result<()> {
        let mut at = range.start;
        while at < range.end {
            let part = buffer.get_mut(..(range.end - at).min(1 << 20) as usize).unwrap_or_default();
            edits.read_at(at, part)?;
            target.write_at(at, part)?;
            at += part.len() as u64;
        }
        Ok(())
    };
    let mut last = Vec::new();
    for change in edits.changes() {
        let range = change.range;
        if range.start < SUPER_PAGE.end {
            last.push(range.start..range.end.min(SUPER_PAGE.end));
        }
        let rest = range.start.max(SUPER_PAGE.end)..range.end;
        if !rest.is_empty() {
            copy(rest)?;
        }
    }
    target.flush()?;
    for range in last {
        copy(range)?;
    }
    Ok(target.flush()?)
}

/// Gives an image back as it was.
pub(crate) fn apply(file: &Path, image: &Path, offset: u64) -> Result<u8> {
    let undo = File::open(file).with_context(|| file.display().to_string())?;
    let device = FileDevice::open(image, FileOptions::read_write().offset(offset))?;
    let applied = apply_undo(&undo, &device).with_context(|| file.display().to_string())?;
    anstream::println!("{}: {} bytes given back", image.display(), applied.bytes);
    Ok(CORRECTED)
}
