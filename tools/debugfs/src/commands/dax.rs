//! What persistent memory means for a file: which 2 MiB windows one fault can map.

use super::Command;
use crate::output::{self, shown, text};
use crate::session::Session;
use anyhow::{Context, Result, bail};
use daxkit_format::pmd::{FaultSize, PMD_SIZE, PmdGeometry, WindowState, summary, windows};
use serde_json::{Value, json};

pub(super) static COMMANDS: &[Command] = &[Command {
    names: &["pmd"],
    args: "[--data-offset BYTES] FILE...",
    summary: "Show which 2 MiB windows of a file one page fault can map, and why not the others",
    example: "pmd <8>",
    run: pmd,
}];

fn pmd(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &["data-offset"], (1, usize::MAX))?;
    let data_offset = match options.value("data-offset") {
        None => 0,
        Some(value) => {
            let value = shown(value);
            daxkit_cli::size::parse(&value, 1).with_context(|| format!("--data-offset: {value:?} is not a size"))?
        }
    };
    let geometry = PmdGeometry::new(session.volume.block_size(), data_offset).context("impossible block size")?;
    for spec in options.rest {
        let inode = session.inode(spec)?;
        if !inode.is_file() {
            bail!("{}: not a regular file", shown(spec));
        }
        let extents = session.volume.pmd_extents(&inode).collect::<Result<Vec<_>, _>>().with_context(|| shown(spec))?;
        let sum = summary(geometry, inode.size(), extents.iter().copied());
        let runs: Vec<_> = windows(geometry, inode.size(), extents.iter().copied()).collect();
        if session.json {
            let runs: Vec<Value> = runs
                .iter()
                .map(|r| {
                    json!({
                        "first": r.first,
                        "count": r.count,
                        "state": kind(r.state),
                        "why": r.state.to_string(),
                        "read_fault": fault(r.state.read_fault()),
                        "write_fault": fault(r.state.write_fault()),
                    })
                })
                .collect();
            let document = json!({
                "file": text(spec),
                "inode": inode.nr().get(),
                "i_size": inode.size(),
                "block_size": session.volume.block_size(),
                "data_offset": data_offset,
                "windows": sum.windows,
                "mappable": sum.mappable,
                "share": sum.share(),
                "runs": runs,
            });
            output::document(&mut session.out, command.name(), document)?;
            continue;
        }
        let share = sum.share().map(|s| format!(", {:.1}%", s * 100.0)).unwrap_or_default();
        writeln!(
            session.out,
            "{}: {} of {} whole 2 MiB windows can be mapped by one fault{share}",
            shown(spec),
            sum.mappable,
            sum.windows
        )?;
        if session.volume.block_size() != 4096 {
            writeln!(
                session.out,
                "  blocks of {} bytes: on machines with pages of another size there is no DAX",
                session.volume.block_size()
            )?;
        }
        for r in &runs {
            let last = r.first + r.count - 1;
            let range = if r.count == 1 { r.first.to_string() } else { format!("{}-{last}", r.first) };
            writeln!(
                session.out,
                "  {range:<12} bytes {:#x}-{:#x}  {}",
                r.first * PMD_SIZE,
                ((r.first + r.count) * PMD_SIZE).min(inode.size()).saturating_sub(1),
                r.state
            )?;
        }
    }
    Ok(())
}

/// The name of a state, the same in every version.
pub(super) fn kind(state: WindowState) -> &'static str {
    match state {
        WindowState::Mappable => "mappable",
        WindowState::Hole => "hole",
        WindowState::Unwritten { .. } => "unwritten",
        WindowState::Mixed { .. } => "mixed",
        WindowState::Discontiguous { .. } => "discontiguous",
        WindowState::SplitExtents { .. } => "split",
        WindowState::Misaligned { .. } => "misaligned",
        WindowState::Tail => "tail",
    }
}

pub(super) fn fault(size: FaultSize) -> &'static str {
    match size {
        FaultSize::Huge => "2M",
        FaultSize::HugeZero => "2M-zero",
        FaultSize::AsAllocated => "as-allocated",
        FaultSize::Small => "4K",
    }
}
