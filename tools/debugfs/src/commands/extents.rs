//! Where the blocks of a file lie.

use super::Command;
use crate::files::extent_tree;
use crate::output::{self, shown};
use crate::session::Session;
use anyhow::{Result, bail};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_volume::Inode;
use serde_json::{Value, json};

pub(super) static COMMANDS: &[Command] = &[Command {
    names: &["extents", "dump_extents", "ex"],
    args: "[-n] [-l] FILE",
    summary: "Show the extent tree of a file; -n: index entries only, -l: leaf entries only",
    example: "extents <8>",
    run: extents,
}];

fn extents(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "nl", &[], (1, 1))?;
    let (index_only, leaf_only) = (options.has('n'), options.has('l'));
    for spec in options.rest {
        let inode = session.inode(spec)?;
        if session.json {
            let runs =
                if session.volume.has_map(&inode) { runs(session, &inode) } else { Value::from(Vec::<Value>::new()) };
            output::document(&mut session.out, command.name(), runs)?;
            continue;
        }
        if !inode.flags().contains(InodeFlags::EXTENTS) {
            bail!("{}: does not use extents", shown(spec));
        }
        let (entries, error) = extent_tree(session, &inode);
        let bs = u64::from(session.volume.block_size());
        let digits = |n: u64| n.max(1).ilog10() as usize + 1;
        let logical = digits(inode.size().div_ceil(bs)).max(5);
        let physical = digits(session.volume.geometry().blocks_count).max(5);
        writeln!(
            session.out,
            "Level Entries {:>wl$} {:>wp$} Length Flags",
            "Logical",
            "Physical",
            wl = 2 * logical + 3,
            wp = 2 * physical + 3
        )?;
        for e in &entries {
            if (index_only && e.leaf) || (leaf_only && !e.leaf) {
                continue;
            }
            let width = digits(e.count as u64).max(3);
            write!(
                session.out,
                "{:2}/{:2} {:>width$}/{:>width$} {:>logical$} - {:>logical$} {:>physical$}",
                e.level,
                e.depth,
                e.index,
                e.count,
                e.logical,
                (e.logical + e.len).saturating_sub(1),
                e.physical,
            )?;
            if e.leaf {
                let last = (e.physical + e.len).saturating_sub(1);
                let state = if e.written { "" } else { "Uninit" };
                writeln!(session.out, " - {last:>physical$} {:6} {state}", e.len)?;
            } else {
                writeln!(session.out, " {:>gap$} {:6}", "", e.len, gap = physical + 2)?;
            }
        }
        if let Some(e) = error {
            session.complain(format_args!("inode:{}: {e:#}", inode.nr()));
        }
    }
    Ok(())
}

/// The data of a file as runs, whatever kind of map it has.
pub(super) fn runs(session: &mut Session<'_>, inode: &Inode) -> Value {
    let mut runs: Vec<Value> = Vec::new();
    let mut failed = None;
    for run in session.volume.extents(inode) {
        match run {
            Ok(r) => runs.push(json!({
                "logical": r.logical, "physical": r.physical.get(), "len": r.len, "written": r.written,
            })),
            Err(e) => failed = Some(e),
        }
    }
    if let Some(e) = failed {
        session.complain(&e);
    }
    Value::from(runs)
}
