//! Checksums of metadata: those over one place, or all.

use super::Command;
use super::fields;
use super::place;
use crate::output;
use crate::parallel;
use crate::session::Session;
use anyhow::{Result, bail};
use daxkit_format::GroupNr;
use daxkit_format::ext4::features::RoCompat;
use daxkit_format::field::{Object, Place};
use daxkit_volume::ext4::{InodeTable, MapItem, ScanErrors};
use daxkit_volume::{InodeNr, Located, Seal, Verdict, Volume};
use serde_json::json;

pub(super) static COMMANDS: &[Command] = &[Command {
    names: &["sums"],
    args: "-a | [-f | -b] PLACE",
    summary: "Verify the checksums over a place; -f: make them right; -b: make the innermost wrong. -a: verify those of all \
              superblocks, groups, inodes, maps, directories, attributes",
    example: "sums inode:2",
    run: sums,
}];

fn sums(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "abf", &[], (0, 1))?;
    let (fix, spoil) = (options.has('f'), options.has('b'));
    match (options.has('a'), options.rest) {
        (true, []) if !fix && !spoil => all(session, command),
        (false, [word]) if !(fix && spoil) => {
            let place = place::parse(session, word)?;
            let found = session.volume.locate(&place)?;
            if fix {
                mend(session, &found.seals)?;
            } else if spoil {
                return break_one(session, command, &place, &found);
            }
            let rows = place::show_seals(session, &found)?;
            if session.json {
                let document = json!({ "place": place.to_string(), "checksums": rows });
                return output::document(&mut session.out, command.name(), document);
            }
            if found.seals.is_empty() {
                writeln!(session.out, "no checksum protects {place}")?;
            }
            Ok(())
        }
        _ => bail!("{}", command.usage()),
    }
}

/// Makes checksums right, those that others are computed from first.
fn mend(session: &mut Session<'_>, seals: &[Seal]) -> Result<()> {
    session.check_writable()?;
    session.edit_raw(|editor| {
        for seal in seals {
            let edits = seal.fix(&**editor.device())?;
            editor.apply(&edits)?;
        }
        Ok(())
    })
}

/// Makes the innermost checksum over what a place names wrong; those over the checksum stay right.
fn break_one(session: &mut Session<'_>, command: &Command, place: &Place, found: &Located) -> Result<()> {
    session.check_writable()?;
    let device = session.volume.device().clone();
    for (n, seal) in found.seals.iter().enumerate() {
        // A descriptor holds checksums of bitmaps, too; those are broken by the places of the bitmaps.
        let covers = seal.covers(&*device)?.iter().any(|r| r.start < found.named.end && found.named.start < r.end);
        let edits = if covers { seal.spoil(&*device)? } else { Vec::new() };
        if edits.is_empty() {
            continue;
        }
        let outer = found.seals.get(n + 1..).unwrap_or_default();
        fields::write(session, &edits, outer)?;
        let name = seal.to_string();
        if session.json {
            let document = json!({ "place": place.to_string(), "broken": name });
            return output::document(&mut session.out, command.name(), document);
        }
        writeln!(session.out, "checksum {name}: made wrong")?;
        return Ok(());
    }
    bail!("no checksum protects {place}");
}

/// How many checksums were looked at.
#[derive(Debug, Default)]
struct Counts {
    inodes: u64,
    nodes: u64,
    directories: u64,
    attributes: u64,
    errors: ScanErrors,
}

/// The checksums of one table's inodes and of what they own. The readers of the volume verify what they read.
fn table(volume: &Volume, table: &InodeTable) -> Counts {
    let mut counts = Counts::default();
    let first = u64::from(table.group.get()) * u64::from(volume.geometry().inodes_per_group) + 1;
    for nr in (first..first + u64::from(table.inodes)).map(InodeNr) {
        let inode = match volume.inode(nr) {
            Ok(inode) if inode.is_free() => continue,
            Ok(inode) => inode,
            Err(e) => {
                counts.errors.push(e);
                continue;
            }
        };
        counts.inodes += 1;
        for item in volume.map_walk(&inode) {
            match item {
                Ok(MapItem::Node { .. }) => counts.nodes += 1,
                Ok(MapItem::Run(_)) => {}
                Err(e) => counts.errors.push(e),
            }
        }
        if inode.is_dir() && inode.i_links_count.get() != 0 {
            counts.directories += 1;
            match volume.read_dir(&inode) {
                Ok(entries) => entries.filter_map(Result::err).for_each(|e| counts.errors.push(e)),
                Err(e) => counts.errors.push(e),
            }
        }
        if inode.file_acl() != 0 {
            counts.attributes += 1;
            if let Err(e) = volume.xattr_block(&inode) {
                counts.errors.push(e);
            }
        }
    }
    counts
}

fn all(session: &mut Session<'_>, command: &Command) -> Result<()> {
    let volume = &session.volume;
    if volume.verify_seed().is_none() && !volume.has_ro_compat(RoCompat::GDT_CSUM) {
        bail!("nothing has a checksum here (feature metadata_csum), or they are not to be looked at (-c)");
    }
    let mut errors = ScanErrors::default();
    let mut wrong = Vec::new();
    let mut supers = 0u64;
    let groups = session.groups().end;
    for group in (0..groups).map(GroupNr) {
        for done in [
            volume.group_desc(group).map(drop),
            volume.block_bitmap(group).map(drop),
            volume.inode_bitmap(group).map(drop),
        ] {
            if let Err(e) = done {
                errors.push(e);
            }
        }
        if volume.group_has_super(group) {
            match volume.locate(&Object::Super { copy: Some(group.get()) }.place()) {
                Ok(found) => {
                    for seal in &found.seals {
                        supers += 1;
                        if let Ok(Verdict::Wrong { .. }) = seal.verify(&**volume.device()) {
                            wrong.push(seal.to_string());
                        }
                    }
                }
                Err(e) => wrong.push(e.to_string()),
            }
        }
    }
    for done in [volume.mmp().map(drop), volume.orphan_file().map(drop)] {
        if let Err(e) = done {
            errors.push(e);
        }
    }
    let (tables, failed) = volume.inode_tables();
    errors.append(failed);
    let mut sum = Counts::default();
    parallel::in_order(
        &tables,
        |t| table(volume, t),
        |c| {
            sum.inodes += c.inodes;
            sum.nodes += c.nodes;
            sum.directories += c.directories;
            sum.attributes += c.attributes;
            sum.errors.append(c.errors);
        },
    );
    errors.append(sum.errors);
    let bad = errors.count + wrong.len() as u64;
    let more = errors.count.saturating_sub(errors.first.len() as u64);
    let mut lines = wrong;
    lines.retain(|l| !l.is_empty());
    let lines: Vec<String> = lines
        .into_iter()
        .map(|l| format!("{l}: checksum does not match"))
        .chain(errors.first.iter().map(ToString::to_string))
        .collect();
    if session.json {
        let document = json!({
            "superblocks": supers, "groups": groups, "inodes": sum.inodes, "map_nodes": sum.nodes,
            "directories": sum.directories, "attribute_blocks": sum.attributes, "bad": bad, "errors": lines,
        });
        output::document(&mut session.out, command.name(), document)?;
    } else {
        writeln!(
            session.out,
            "{supers} superblocks, {groups} groups with bitmaps, {} inodes, {} map nodes, {} directories, {} attribute blocks: {bad} bad",
            sum.inodes, sum.nodes, sum.directories, sum.attributes
        )?;
    }
    for line in lines {
        session.complain(line);
    }
    if more > 0 {
        session.complain(format_args!("and {more} more"));
    }
    Ok(())
}
