//! Where blocks and inodes lie.

use super::Command;
use crate::files;
use crate::output::{self, shown, text};
use crate::session::Session;
use crate::words::number;
use anyhow::{Result, bail};
use daxkit_format::InodeNr;
use daxkit_volume::ext4::MapItem;
use daxkit_volume::{Inode, Mapping, Segment};
use serde_json::{Value, json};
use std::collections::HashSet;

pub(super) static COMMANDS: &[Command] = &[
    Command {
        names: &["blocks"],
        args: "FILE",
        summary: "List the blocks a file uses, those of its map included",
        example: "blocks <8>",
        run: blocks,
    },
    Command {
        names: &["bmap"],
        args: "FILE [LOGICAL]",
        summary: "Say where a block of a file lies (0: nowhere), or where all of them do",
        example: "bmap <8> 0",
        run: bmap,
    },
    Command { names: &["imap"], args: "FILE", summary: "Say where an inode lies", example: "imap <2>", run: imap },
    Command {
        names: &["filefrag"],
        args: "[-d] [-v] [-r] [FILE]",
        summary: "Count the pieces of a file, or of what a directory holds; -d: of the directory, -r: all below, -v: list them",
        example: "filefrag -v <8>",
        run: filefrag,
    },
];

fn blocks(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (1, 1))?;
    for spec in options.rest {
        let inode = session.inode(spec)?;
        let mut failed = None;
        let mut runs = Vec::new();
        let mut write = |session: &mut Session<'_>, first: u64, len: u64, kind: &str| -> Result<()> {
            if session.json {
                runs.push(json!({ "first": first, "len": len, "kind": kind }));
            } else {
                for block in first..first + len {
                    write!(session.out, "{block} ")?;
                }
            }
            Ok(())
        };
        // The walk borrows the volume, so it is gone through in parts.
        let items: Vec<_> = session.volume.map_walk(&inode).collect();
        for item in items {
            match item {
                Ok(MapItem::Node { block, .. }) => write(session, block.get(), 1, "map")?,
                Ok(MapItem::Run(run)) => write(session, run.physical.get(), run.len, "data")?,
                Err(e) => failed = Some(e),
            }
        }
        if session.json {
            output::document(&mut session.out, command.name(), Value::from(runs))?;
        } else {
            writeln!(session.out)?;
        }
        if let Some(e) = failed {
            session.complain(&e);
        }
    }
    Ok(())
}

fn bmap(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "a", &[], (1, 3))?;
    let (spec, logical) = match options.rest {
        [spec] => (spec, None),
        [spec, logical] => (spec, Some(number(logical, "a block of a file")?)),
        _ => bail!("the image is open for reading only; {}", command.usage()),
    };
    if options.has('a') {
        bail!("the image is open for reading only; {}", command.usage());
    }
    let inode = session.inode(spec)?;
    let Some(logical) = logical else {
        if session.json {
            let runs = super::extents::runs(session, &inode);
            return output::document(&mut session.out, command.name(), runs);
        }
        let runs: Vec<_> = session.volume.extents(&inode).collect();
        for run in runs {
            match run {
                Ok(r) => {
                    let state = if r.written { "" } else { " (uninit)" };
                    writeln!(session.out, "{} {} {}{state}", r.logical, r.physical, r.len)?;
                }
                Err(e) => session.complain(&e),
            }
        }
        return Ok(());
    };
    let found = match session.volume.map_block(&inode, logical)? {
        Segment::Mapped(m) => Some(m),
        Segment::Hole { .. } => None,
    };
    if session.json {
        let document = json!({
            "logical": logical,
            "physical": found.map_or(0, |m| m.physical.get()),
            "written": found.is_some_and(|m| m.written),
        });
        return output::document(&mut session.out, command.name(), document);
    }
    match found {
        Some(m) => writeln!(session.out, "{}{}", m.physical, if m.written { "" } else { " (uninit)" })?,
        None => writeln!(session.out, "0")?,
    }
    Ok(())
}

fn imap(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (1, 1))?;
    for spec in options.rest {
        let inode = session.inode(spec)?;
        let (block, offset) = session.volume.inode_location(inode.nr())?;
        let group = session.volume.geometry().group_of_inode(inode.nr()).map_or(0, |(group, _)| group.get());
        if session.json {
            let document = json!({
                "inode": inode.nr().get(), "group": group, "block": block.get(), "offset": offset,
            });
            output::document(&mut session.out, command.name(), document)?;
            continue;
        }
        writeln!(session.out, "Inode {} is part of block group {group}", inode.nr())?;
        writeln!(session.out, "\tlocated at block {block}, offset 0x{offset:04x}")?;
    }
    Ok(())
}

struct Report {
    verbose: bool,
    rows: Vec<Value>,
}

fn filefrag(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "dvr", &[], (0, 1))?;
    let here = [b".".to_vec()];
    let spec = options.rest.first().unwrap_or(&here[0]);
    let inode = session.inode(spec)?;
    let mut report = Report { verbose: options.has('v'), rows: Vec::new() };
    if !inode.is_dir() || options.has('d') {
        report.file(session, spec, &inode)?;
    } else {
        let mut seen = HashSet::from([inode.nr()]);
        let mut todo = vec![(spec.clone(), inode)];
        while let Some((path, dir)) = todo.pop() {
            let mut below = Vec::new();
            files::directory(session, &dir, false, &mut |session, row| {
                if matches!(row.name.as_slice(), b"." | b"..") {
                    return Ok(());
                }
                let mut child_path = path.clone();
                if child_path.last() != Some(&b'/') {
                    child_path.push(b'/');
                }
                child_path.extend_from_slice(&row.name);
                match session.volume.inode(InodeNr(row.inode.into())) {
                    Err(e) => session.complain(&e),
                    Ok(child) => {
                        report.file(session, &child_path, &child)?;
                        if options.has('r') && child.is_dir() && seen.insert(child.nr()) {
                            below.push((child_path, child));
                        }
                    }
                }
                Ok(())
            })?;
            todo.extend(below.into_iter().rev());
        }
    }
    if session.json {
        return output::document(&mut session.out, command.name(), Value::from(report.rows));
    }
    Ok(())
}

impl Report {
    fn file(&mut self, session: &mut Session<'_>, path: &[u8], inode: &Inode) -> Result<()> {
        let mut pieces: Vec<Mapping> = Vec::new();
        let mut failed = None;
        for run in session.volume.extents(inode) {
            match run {
                Ok(r) => match pieces.last_mut() {
                    Some(last) if last.end() == r.logical && last.physical.get() + last.len == r.physical.get() => {
                        last.len += r.len;
                    }
                    _ => pieces.push(r),
                },
                Err(e) => failed = Some(e),
            }
        }
        let name = shown(path);
        if session.json {
            let runs: Vec<Value> = pieces
                .iter()
                .map(|p| json!({ "logical": p.logical, "physical": p.physical.get(), "len": p.len }))
                .collect();
            self.rows.push(json!({
                "path": text(path),
                "inode": inode.nr().get(),
                "directory": inode.is_dir(),
                "count": pieces.len(),
                "pieces": runs,
            }));
        } else {
            if self.verbose {
                let blocks = inode.space() / u64::from(session.volume.block_size());
                writeln!(session.out, "\n{name} has {blocks} block(s), i_size is {}", inode.size())?;
                writeln!(session.out, " ext logical physical expected  length")?;
                let mut last: Option<&Mapping> = None;
                for (i, p) in pieces.iter().enumerate() {
                    let (logical, physical) = (p.logical, p.physical.get());
                    // Behind a hole no place is to be expected.
                    let expected = last.filter(|l| l.end() == logical).map(|l| l.physical.get() + l.len);
                    let was = expected.map(|e| e.to_string()).unwrap_or_default();
                    writeln!(session.out, "{i:4} {logical:7} {physical:8} {was:>8} {:7}", p.len)?;
                    last = Some(p);
                }
            }
            let kind = if inode.is_dir() { " (dir)" } else { "" };
            writeln!(session.out, "{name}: {} contiguous extents{kind}", pieces.len())?;
        }
        if let Some(e) = failed {
            session.complain(&e);
        }
        Ok(())
    }
}
