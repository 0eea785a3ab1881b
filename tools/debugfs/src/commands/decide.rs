//! Is it really DAX? The flag on disk, what a mount makes of it, and what a fault gets.

use super::Command;
use super::dax::{fault, kind};
use crate::output::{self, shown, text};
use crate::session::Session;
use anyhow::{Context, Result};
use daxkit_format::dax::ext4::{DaxInputs, JournalInputs, MountInputs, mount, should_enable_dax};
use daxkit_format::dax::{DaxMode, FileKind};
use daxkit_format::ext4::features::Incompat;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::pmd::{PMD_SIZE, PmdGeometry, WindowRun, windows};
use daxkit_volume::Inode;
use serde_json::{Value, json};

pub(super) static COMMANDS: &[Command] = &[Command {
    names: &["dax"],
    args: "[-n] [--page-size BYTES] [--data-offset BYTES] FILE",
    summary: "Say whether a file is accessed directly under each mount option, and which rule decides; -n: on a device without DAX",
    example: "dax <8>",
    run: dax,
}];

fn size(options: &super::Options<'_>, name: &str, default: u64) -> Result<u64> {
    let Some(word) = options.value(name) else { return Ok(default) };
    let word = shown(word);
    daxkit_cli::size::parse(&word, 1).with_context(|| format!("--{name}: {word:?} is not a size"))
}

/// The directory in which the name of a file stands, as far as the word tells.
fn parent(session: &mut Session<'_>, spec: &[u8], inode: &Inode) -> Option<Inode> {
    if inode.is_dir() {
        let nr = session.volume.parent(inode).ok().filter(|nr| *nr != inode.nr())?;
        return session.volume.inode(nr).ok();
    }
    // A number does not say by which name the file was meant.
    if spec.starts_with(b"<") || spec.starts_with(b"inode") {
        return None;
    }
    let dir = match spec.iter().rposition(|b| *b == b'/') {
        Some(0) => b"/".as_slice(),
        Some(at) => spec.get(..at)?,
        None => b".",
    };
    session.inode(dir).ok()
}

fn dax(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "n", &["page-size", "data-offset"], (1, 1))?;
    let page_size = u32::try_from(size(&options, "page-size", 4096)?).context("--page-size: too large")?;
    let data_offset = size(&options, "data-offset", 0)?;
    let device = !options.has('n');
    let spec = options.rest.first().map(Vec::as_slice).unwrap_or_default();
    let inode = session.inode(spec)?;
    let kind_of =
        FileKind::from_mode(inode.i_mode.get()).with_context(|| format!("{}: of no known type", shown(spec)))?;
    let flag = inode.flags().contains(InodeFlags::DAX);
    let above = parent(session, spec, &inode);
    let journal = JournalInputs::of_defaults(session.volume.super_block());
    let block_size = session.volume.block_size();

    let mut modes = Vec::new();
    let mut lines = Vec::new();
    for mode in [DaxMode::Always, DaxMode::Inode, DaxMode::Never] {
        let inputs = MountInputs {
            option: Some(mode),
            device,
            block_size,
            page_size,
            inline_data: session.volume.has_incompat(Incompat::INLINE_DATA),
            data: journal.data,
        };
        let option = mode.option();
        if let Err(refusal) = mount(&inputs) {
            modes.push(json!({ "option": option, "mounts": false, "why": refusal.to_string() }));
            lines.push(format!("{option:<10}  no mount: {refusal}"));
            continue;
        }
        let decision = should_enable_dax(&DaxInputs {
            mode,
            kind: kind_of,
            flags: inode.flags(),
            // Not known yet when Linux decides; see the field.
            has_inline_data: false,
            journal,
            device,
            block_size,
            page_size,
        });
        let (row, why) = (decision.row, decision.reason.to_string());
        modes.push(json!({ "option": option, "mounts": true, "s_dax": decision.s_dax, "row": row, "why": why }));
        let answer = if decision.s_dax { "S_DAX" } else { "no S_DAX" };
        lines.push(format!("{option:<10}  {answer}: row {row}, {why}"));
    }
    let runs = if inode.is_file() { faults(session, &inode, data_offset)? } else { Vec::new() };
    if session.json {
        let parent = above.map(|p| json!({ "inode": p.nr().get(), "dax_flag": p.flags().contains(InodeFlags::DAX) }));
        let document = json!({
            "file": text(spec), "inode": inode.nr().get(), "dax_flag": flag, "parent": parent, "device": device,
            "page_size": page_size, "block_size": block_size, "mounts": modes,
            "windows": runs.iter().map(window).collect::<Vec<_>>(),
        });
        return output::document(&mut session.out, command.name(), document);
    }
    let out = &mut session.out;
    writeln!(out, "{}: the DAX flag is {} on inode {}", shown(spec), if flag { "set" } else { "clear" }, inode.nr())?;
    if let Some(p) = above {
        let has = p.flags().contains(InodeFlags::DAX);
        let gives = if has && kind_of.can_hold_dax() { "would get it" } else { "would not get it" };
        let origin = match (flag, has && kind_of.can_hold_dax()) {
            (true, true) => ": inherited, or set on it",
            (true, false) => ": set on it, or inherited before the directory lost it or the file was moved here",
            (false, true) => ": cleared on it, or older than the directory's flag, or moved here",
            (false, false) => "",
        };
        let state = if has { "set" } else { "clear" };
        writeln!(out, "  directory {} has the flag {state}: what is made there now {gives}{origin}", p.nr())?;
    }
    for line in lines {
        writeln!(out, "  {line}")?;
    }
    if !device {
        writeln!(out, "  (on a device without DAX)")?;
    }
    if !runs.is_empty() {
        writeln!(out, "  with S_DAX, faults in each window of 2 MiB:")?;
    }
    for r in &runs {
        let last = r.first + r.count - 1;
        let range = if r.count == 1 { r.first.to_string() } else { format!("{}-{last}", r.first) };
        let (read, write) = (fault(r.state.read_fault()), fault(r.state.write_fault()));
        writeln!(out, "    {range:<10} at {:#x}: read {read}, write {write}: {}", r.first * PMD_SIZE, r.state)?;
    }
    Ok(())
}

fn faults(session: &mut Session<'_>, inode: &Inode, data_offset: u64) -> Result<Vec<WindowRun>> {
    let geometry = PmdGeometry::new(session.volume.block_size(), data_offset).context("impossible block size")?;
    let (mut extents, mut failed) = (Vec::new(), None);
    for extent in session.volume.pmd_extents(inode) {
        match extent {
            Ok(extent) => extents.push(extent),
            Err(e) => failed = Some(e),
        }
    }
    if let Some(e) = failed {
        session.complain(&e);
    }
    Ok(windows(geometry, inode.size(), extents).collect())
}

fn window(r: &WindowRun) -> Value {
    json!({
        "first": r.first, "count": r.count, "state": kind(r.state), "why": r.state.to_string(),
        "read_fault": fault(r.state.read_fault()), "write_fault": fault(r.state.write_fault()),
    })
}
