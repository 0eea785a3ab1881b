//! Reports as text.

use daxkit_build::defect::Applied;
use daxkit_build::params::Identity;
use daxkit_build::params::Params;
use daxkit_build::report::{PlanReport, ResultReport, uuid_text};
use daxkit_cli::message::one_line;
use daxkit_cli::size::{exact, rough};
use std::io::{self, Write};
use std::path::Path;

/// Backups printed on one line.
const BACKUPS_IN_A_LINE: usize = 8;

/// The geometry, in the manner of mke2fs.
pub(crate) fn geometry(out: &mut dyn Write, p: &Params, plan: &PlanReport) -> io::Result<()> {
    let bytes = plan.blocks.saturating_mul(u64::from(plan.block_size));
    writeln!(out, "Filesystem label={}", one_line(&plan.label))?;
    let os = ["Linux", "GNU/Hurd", "Masix", "FreeBSD", "Lites"];
    writeln!(out, "OS type: {}", os.get(p.creator_os as usize).unwrap_or(&"(unknown)"))?;
    writeln!(out, "Block size={}, cluster size={}", plan.block_size, plan.cluster_size)?;
    writeln!(out, "Stride={} blocks, stripe width={} blocks", p.stride, p.stripe_width)?;
    writeln!(out, "{} inodes, {} blocks ({})", plan.inodes, plan.blocks, rough(bytes))?;
    let percent = plan.reserved_blocks as f64 * 100.0 / plan.blocks.max(1) as f64;
    writeln!(out, "{} blocks ({percent:.2}%) reserved for the super user", plan.reserved_blocks)?;
    writeln!(out, "First data block={}", plan.first_data_block)?;
    writeln!(out, "{} block group{}", plan.groups, if plan.groups == 1 { "" } else { "s" })?;
    writeln!(out, "{} blocks per group, {} groups per flex group", plan.blocks_per_group, p.flex_bg_size)?;
    writeln!(out, "{} inodes per group, {} bytes each", plan.inodes_per_group, plan.inode_size)?;
    writeln!(out, "Reserved GDT blocks: {}", plan.reserved_gdt_blocks)?;
    match plan.journal_blocks {
        Some(blocks) => writeln!(out, "Journal: {blocks} blocks")?,
        None => writeln!(out, "Journal: {}", if p.journal.is_some() { "on a device of its own" } else { "none" })?,
    }
    match &p.identity {
        Identity::Given { uuid, .. } | Identity::FromContent { uuid: Some(uuid), .. } => {
            writeln!(out, "Filesystem UUID: {}", uuid_text(uuid))?;
        }
        Identity::FromContent { uuid: None, .. } => writeln!(out, "Filesystem UUID: derived from the content")?,
    }
    writeln!(out, "Features: {}", plan.features.join(" "))?;
    if !plan.super_block_backups.is_empty() {
        writeln!(out, "Superblock backups stored on blocks:")?;
        for line in plan.super_block_backups.chunks(BACKUPS_IN_A_LINE) {
            let line: Vec<String> = line.iter().map(u64::to_string).collect();
            writeln!(out, "\t{}", line.join(", "))?;
        }
    }
    Ok(())
}

/// For each file with a whole window, the share that 2 MiB faults can map.
pub(crate) fn files(out: &mut dyn Write, plan: &PlanReport) -> io::Result<()> {
    let Some(content) = &plan.content else { return Ok(()) };
    if content.pmd.files.is_empty() {
        return Ok(());
    }
    writeln!(out, "PMD-able  windows         size  runs  dax  file")?;
    for f in &content.pmd.files {
        writeln!(
            out,
            "{:>7}%  {:>7}  {:>11}  {:>4}  {:>3}  {}",
            percent(f.mappable, f.windows),
            f.windows,
            rough(f.size),
            f.runs,
            if f.dax { "x" } else { "-" },
            one_line(&f.path)
        )?;
    }
    Ok(())
}

/// What is wrong on purpose, a line each.
pub(crate) fn defects(out: &mut dyn Write, defects: &[Applied]) -> io::Result<()> {
    for d in defects {
        let (before, after) = (one_line(&d.before), one_line(&d.after));
        writeln!(out, "defect {}: {before} -> {after} (byte {:#x})", one_line(&d.place), d.offset)?;
    }
    Ok(())
}

/// Whole percent; 100 only for all of it.
fn percent(part: u64, whole: u64) -> u64 {
    (u128::from(part) * 100 / u128::from(whole.max(1))) as u64
}

/// What was made, in one line.
pub(crate) fn summary(
    out: &mut dyn Write,
    path: &Path,
    plan: &PlanReport,
    result: Option<&ResultReport>,
) -> io::Result<()> {
    write!(
        out,
        "{}: {} blocks of {}, {} inodes",
        one_line(&path.display()),
        plan.blocks,
        exact(plan.block_size.into()),
        plan.inodes
    )?;
    if let Some(c) = &plan.content
        && c.files > 0
    {
        write!(out, "; {} file{}, {}", c.files, if c.files == 1 { "" } else { "s" }, rough(c.bytes))?;
        if c.pmd.windows > 0 {
            write!(
                out,
                "; PMD-able {}% ({} of {} windows)",
                percent(c.pmd.mappable, c.pmd.windows),
                c.pmd.mappable,
                c.pmd.windows
            )?;
        }
    }
    match result {
        Some(result) => writeln!(out, "; UUID {}", result.uuid),
        None => writeln!(out, "; nothing written"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_percent_is_all_of_it() {
        assert_eq!(percent(999, 1000), 99);
        assert_eq!(percent(1000, 1000), 100);
        assert_eq!(percent(0, 0), 0);
    }
}
