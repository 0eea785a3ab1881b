//! What quota files say, and which inodes are gone or about to be.

use super::Command;
use crate::files::long_time;
use crate::output::{self, shown};
use crate::session::Session;
use crate::words::number;
use anyhow::{Context, Result, bail};
use daxkit_format::OnDisk;
use daxkit_format::ext4::inode::Timestamp;
use daxkit_format::ext4::quota::{DqBlk, QuotaKind};
use daxkit_format::field::Structure;
use daxkit_format::{BlockNr, GroupNr, InodeNr};
use daxkit_volume::ext4::{Bitmap, MapItem, QuotaFile};
use daxkit_volume::{Inode, Volume};
use serde_json::{Value, json};
use zerocopy::IntoBytes;

pub(super) static COMMANDS: &[Command] = &[
    Command {
        names: &["list_quota", "lq"],
        args: "user|group|project",
        summary: "Show usage and limits of all ids",
        example: "list_quota user",
        run: list_quota,
    },
    Command {
        names: &["get_quota", "gq"],
        args: "user|group|project ID",
        summary: "Show usage and limits of one id",
        example: "get_quota user 0",
        run: get_quota,
    },
    Command {
        names: &["list_deleted_inodes", "lsdel"],
        args: "[SECONDS]",
        summary: "List deleted inodes with how many of their blocks are still free; or those of the last seconds",
        example: "lsdel",
        run: list_deleted,
    },
    Command {
        names: &["orphan_inodes"],
        args: "",
        summary: "List inodes that were unlinked while open, or being truncated",
        example: "orphan_inodes",
        run: orphans,
    },
];

fn quota_of(session: &Session<'_>, word: &[u8]) -> Result<(&'static str, QuotaFile)> {
    let (name, kind) = match word {
        b"user" => ("user", QuotaKind::User),
        b"group" => ("group", QuotaKind::Group),
        b"project" => ("project", QuotaKind::Project),
        other => bail!("{}: not one of user, group, project", shown(other)),
    };
    let file = session.volume.quota(kind)?;
    Ok((name, file.with_context(|| format!("no quota of {name}s is kept"))?))
}

fn rows(session: &mut Session<'_>, command: &Command, kind: &str, entries: &[DqBlk]) -> Result<()> {
    if session.json {
        let list: Vec<Value> = entries
            .iter()
            .map(|e| Value::from(output::fields(Structure::DqBlk, e.as_bytes(), size_of::<DqBlk>())))
            .collect();
        return output::document(&mut session.out, command.name(), Value::from(list));
    }
    let out = &mut session.out;
    writeln!(
        out,
        "{kind:>7} {:>2} {:>10} {:>8} {:>8}  {:>10} {:>8} {:>8}",
        "id", "space", "quota", "limit", "inodes", "quota", "limit"
    )?;
    for e in entries {
        // Limits of space are kept in KiB and shown in bytes.
        let bytes = |kib: u64| kib.saturating_mul(1024);
        writeln!(
            out,
            "{:10} {:10} {:8} {:8}  {:10} {:8} {:8}",
            e.dqb_id,
            e.dqb_curspace,
            bytes(e.dqb_bsoftlimit.get()),
            bytes(e.dqb_bhardlimit.get()),
            e.dqb_curinodes,
            e.dqb_isoftlimit,
            e.dqb_ihardlimit
        )?;
    }
    Ok(())
}

fn list_quota(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (1, 1))?;
    let word = options.rest.first().map(Vec::as_slice).unwrap_or_default();
    let (kind, file) = quota_of(session, word)?;
    let entries: Vec<DqBlk> = file.entries.into_values().collect();
    rows(session, command, kind, &entries)
}

fn get_quota(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (2, 2))?;
    let [word, id] = options.rest else { return Ok(()) };
    let id = u32::try_from(number(id, "an id")?).context("not an id")?;
    let (kind, file) = quota_of(session, word)?;
    let entry = file.entries.get(&id).copied().unwrap_or_else(|| {
        let mut none = DqBlk::zeroed();
        none.dqb_id.set(id);
        none
    });
    rows(session, command, kind, &[entry])
}

/// A deleted inode: how many of its blocks nobody uses again.
struct Deleted {
    inode: Inode,
    blocks: u64,
    free: u64,
}

/// Looks at the blocks of deleted inodes. The bitmap looked at last is kept.
struct Counter<'v> {
    volume: &'v Volume,
    bitmap: Option<(GroupNr, Option<Bitmap>)>,
    /// Blocks that may still be looked at: deleted maps may overlap, but not without end.
    left: u64,
}

impl Counter<'_> {
    fn is_free(&mut self, block: u64) -> bool {
        let g = self.volume.geometry();
        let Some(group) = g.group_of_block(BlockNr(block)) else { return false };
        if self.bitmap.as_ref().is_none_or(|(known, _)| *known != group) {
            self.bitmap = Some((group, self.volume.block_bitmap(group).ok()));
        }
        let inside = block.saturating_sub(g.group_first_block(group).get()) / u64::from(g.cluster_ratio);
        let map = self.bitmap.as_ref().and_then(|(_, map)| map.as_ref());
        map.is_some_and(|map| !map.get(u32::try_from(inside).unwrap_or(u32::MAX)))
    }

    /// The blocks of a deleted inode's map; `None` when it has none, or not a whole map.
    fn count(&mut self, inode: Inode) -> Option<Deleted> {
        let (mut blocks, mut free) = (0, 0);
        for item in self.volume.map_walk(&inode) {
            let (first, len) = match item.ok()? {
                MapItem::Node { block, .. } => (block.get(), 1),
                MapItem::Run(run) => (run.physical.get(), run.len),
            };
            self.left = self.left.checked_sub(len)?;
            blocks += len;
            for block in first..first + len {
                free += u64::from(self.is_free(block));
            }
        }
        (blocks > 0).then_some(Deleted { inode, blocks, free })
    }
}

fn list_deleted(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (0, 1))?;
    let since = match options.rest.first() {
        None => 0,
        Some(word) => {
            let seconds = number(word, "a number of seconds")?;
            session.now.saturating_sub(seconds)
        }
    };
    let (tables, mut errors) = session.volume.inode_tables();
    let volume = &session.volume;
    let mut counter = Counter { volume, bitmap: None, left: volume.geometry().blocks_count.saturating_mul(4) };
    let mut found: Vec<Deleted> = Vec::new();
    let per_group = u64::from(session.volume.geometry().inodes_per_group);
    for table in tables {
        let first = u64::from(table.group.get()) * per_group + 1;
        for nr in (first..first + u64::from(table.inodes)).map(InodeNr) {
            let inode = match volume.inode(nr) {
                Ok(inode) => inode,
                Err(e) => {
                    errors.push(e);
                    continue;
                }
            };
            let dtime = inode.i_dtime.get();
            if dtime != 0 && u64::from(dtime) >= since {
                found.extend(counter.count(inode));
            }
        }
    }
    session.complain_all(errors);
    // The latest last, as whoever has just removed something looks there.
    found.sort_by_key(|d| d.inode.i_dtime.get());
    if session.json {
        let list: Vec<Value> = found
            .iter()
            .map(|d| {
                json!({
                    "inode": d.inode.nr().get(), "i_uid": d.inode.uid(), "i_mode": d.inode.i_mode.get(),
                    "i_size": d.inode.size(), "free_blocks": d.free, "blocks": d.blocks, "i_dtime": d.inode.i_dtime.get(),
                })
            })
            .collect();
        return output::document(&mut session.out, command.name(), Value::from(list));
    }
    writeln!(session.out, " Inode  Owner  Mode    Size      Blocks   Time deleted")?;
    for d in &found {
        let i = &d.inode;
        let time = long_time(Timestamp { seconds: i64::from(i.i_dtime.get()), nanos: 0 });
        writeln!(
            session.out,
            "{:6} {:6} {:6o} {:6} {:6}/{:6} {time}",
            i.nr(),
            i.uid(),
            i.i_mode,
            i.size(),
            d.free,
            d.blocks
        )?;
    }
    writeln!(session.out, "{} deleted inodes found.", found.len())?;
    Ok(())
}

fn orphans(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    command.options(words, "", &[], (0, 0))?;
    let mut found = Vec::new();
    for (place, list) in [("list", session.volume.orphan_list()), ("file", session.volume.orphan_file())] {
        match list {
            Ok(list) => found.extend(list.into_iter().map(|nr| (place, nr))),
            Err(e) => session.complain(&e),
        }
    }
    if session.json {
        let list: Vec<Value> = found.iter().map(|(p, nr)| json!({ "inode": nr.get(), "in": p })).collect();
        return output::document(&mut session.out, command.name(), Value::from(list));
    }
    for (place, nr) in found {
        writeln!(session.out, "{nr}\tin the orphan {place}")?;
    }
    Ok(())
}
