//! Numbers of one kind as numbers of another: blocks, bytes, sectors, inodes, groups.

use super::Command;
use crate::output::{self, shown};
use crate::session::Session;
use crate::words::number;
use anyhow::{Context, Result, bail};
use daxkit_format::{BlockNr, GroupNr, InodeNr};
use daxkit_volume::Volume;
use serde_json::{Map, Value};

pub(super) static COMMANDS: &[Command] = &[Command {
    names: &["convert"],
    args: "UNIT NUMBER [UNIT NUMBER] [UNIT]",
    summary: "Convert byte, sector, block, cluster, group, agblock (block of a group), inode, agino (inode of a group)",
    example: "convert block 1 byte",
    run: convert,
}];

pub(crate) const UNITS: [&str; 9] =
    ["byte", "sector", "block", "offset", "cluster", "group", "agblock", "inode", "agino"];

/// Where the numbers given lead.
struct Spot {
    /// Byte of the file system.
    byte: u64,
    /// The inode, when one was named.
    inode: Option<InodeNr>,
}

fn unit(word: &[u8]) -> Result<&'static str> {
    UNITS
        .into_iter()
        .find(|u| u.as_bytes() == word)
        .with_context(|| format!("{}: not one of {}", shown(word), UNITS.join(", ")))
}

fn convert(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (2, 5))?;
    let mut given: Vec<(&'static str, u64)> = Vec::new();
    let mut wanted = None;
    for pair in options.rest.chunks(2) {
        match pair {
            [name, value] => given.push((unit(name)?, number(value, "a number")?)),
            [name] => wanted = Some(unit(name)?),
            _ => {}
        }
    }
    let volume = &session.volume;
    let spot = spot(volume, &given)?;
    if let Some(wanted) = wanted {
        let value = value(session, &spot, wanted)?;
        if session.json {
            let map: Map<String, Value> = [(wanted.to_owned(), Value::from(value))].into_iter().collect();
            return output::document(&mut session.out, command.name(), Value::from(map));
        }
        writeln!(session.out, "{value} ({value:#x})")?;
        return Ok(());
    }
    let all: Vec<(&str, u64)> = UNITS.into_iter().filter_map(|u| Some((u, value(session, &spot, u).ok()?))).collect();
    if session.json {
        let map: Map<String, Value> = all.into_iter().map(|(u, n)| (u.to_owned(), Value::from(n))).collect();
        return output::document(&mut session.out, command.name(), Value::from(map));
    }
    for (unit, n) in all {
        writeln!(session.out, "{unit:<8} {n} ({n:#x})")?;
    }
    Ok(())
}

fn spot(volume: &Volume, given: &[(&'static str, u64)]) -> Result<Spot> {
    let g = volume.geometry();
    let bs = u64::from(g.block_size);
    let group = |nr: u64| {
        let group = u32::try_from(nr).ok().filter(|n| *n < g.groups_count).map(GroupNr);
        group.with_context(|| format!("group.{nr}: no such group, the file system has {}", g.groups_count))
    };
    let inode = |nr: u64| -> Result<Spot> {
        let (block, offset) = volume.inode_location(InodeNr(nr))?;
        Ok(Spot { byte: block.get() * bs + offset as u64, inode: Some(InodeNr(nr)) })
    };
    let at = |byte: Option<u64>| -> Result<Spot> {
        let byte = byte.filter(|b| b / bs < g.blocks_count).context("behind the end of the file system")?;
        Ok(Spot { byte, inode: None })
    };
    match given {
        [("byte", n)] => at(Some(*n)),
        [("sector", n)] => at(n.checked_mul(512)),
        [("block", n)] => at(n.checked_mul(bs)),
        [("block", n), ("offset", o)] if *o < bs => at(n.checked_mul(bs).and_then(|b| b.checked_add(*o))),
        [("cluster", n)] => {
            let block = n.checked_mul(g.cluster_ratio.into()).and_then(|b| b.checked_add(g.first_data_block));
            at(block.and_then(|b| b.checked_mul(bs)))
        }
        [("group", n)] => at(g.group_first_block(group(*n)?).get().checked_mul(bs)),
        [("group", n), ("agblock", b)] => {
            let first = g.group_first_block(group(*n)?).get();
            if *b >= u64::from(g.group_blocks(group(*n)?)) {
                bail!("group.{n} has no block {b}");
            }
            at(first.checked_add(*b).and_then(|b| b.checked_mul(bs)))
        }
        [("group", n), ("agino", i)] => {
            group(*n)?;
            if *i >= u64::from(g.inodes_per_group) {
                bail!("group.{n} has no inode {i}");
            }
            inode(n * u64::from(g.inodes_per_group) + i + 1)
        }
        [("inode", n)] => inode(*n),
        _ => bail!("give one unit and its number, or group and agblock, group and agino, block and offset"),
    }
}

fn value(session: &Session<'_>, spot: &Spot, wanted: &str) -> Result<u64> {
    let g = session.volume.geometry();
    let bs = u64::from(g.block_size);
    let block = spot.byte / bs;
    let group = || g.group_of_block(BlockNr(block)).with_context(|| format!("block:{block}: in no group"));
    let inode = || match spot.inode {
        Some(nr) => Ok(nr),
        None => inode_at(session, spot.byte).with_context(|| format!("block:{block}: no block of an inode table")),
    };
    Ok(match wanted {
        "byte" => spot.byte,
        "sector" => spot.byte / 512,
        "block" => block,
        "offset" => spot.byte % bs,
        "cluster" => block.saturating_sub(g.first_data_block) / u64::from(g.cluster_ratio),
        // An inode belongs to a group, wherever the group's table lies.
        "group" => match spot.inode.and_then(|nr| g.group_of_inode(nr)) {
            Some((group, _)) => group.get().into(),
            None => group()?.get().into(),
        },
        "agblock" => block.saturating_sub(g.group_first_block(group()?).get()),
        "inode" => inode()?.get(),
        _ => g.group_of_inode(inode()?).map_or(0, |(_, index)| index.into()),
    })
}

/// The inode whose table holds a byte.
fn inode_at(session: &Session<'_>, byte: u64) -> Option<InodeNr> {
    let volume = &session.volume;
    let g = volume.geometry();
    let bs = u64::from(g.block_size);
    session.groups().find_map(|group| {
        let table = volume.group_desc(GroupNr(group)).ok()?.inode_table();
        let inside = byte.checked_sub(table.checked_mul(bs)?)? / u64::from(g.inode_size);
        (inside < g.inodes_per_group.into())
            .then(|| InodeNr(u64::from(group) * u64::from(g.inodes_per_group) + inside + 1))
    })
}
