//! From numbers back to names: whose block, whose name.

use super::Command;
use crate::output::{self, shown, text};
use crate::parallel;
use crate::session::Session;
use crate::words::number;
use anyhow::Result;
use daxkit_format::ext4::dir_entry::file_type;
use daxkit_format::{BlockNr, InodeNr};
use daxkit_volume::ext4::{BlockSet, BlockUse, NameScan, Naming, OwnerScan};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};

pub(super) static COMMANDS: &[Command] = &[
    Command {
        names: &["ncheck"],
        args: "[-c] INODE...",
        summary: "Find the names of inodes, any number in one pass; -c: say when an entry's file type is wrong",
        example: "ncheck 11",
        run: ncheck,
    },
    Command {
        names: &["icheck"],
        args: "BLOCK...",
        summary: "Find the inodes that use blocks, any number in one pass",
        example: "icheck 1000 1001",
        run: icheck,
    },
];

fn ncheck(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "c", &[], (1, usize::MAX))?;
    let mut asked = Vec::new();
    for word in options.rest {
        let bare = word.strip_prefix(b"<").and_then(|w| w.strip_suffix(b">")).unwrap_or(word);
        asked.push(InodeNr(number(bare, "an inode number")?));
    }
    let count = u64::from(session.volume.geometry().inodes_count);
    for nr in asked.iter().filter(|nr| nr.get() == 0 || nr.get() > count) {
        session.complain(format_args!("inode:{nr}: no such inode, the file system has {count}"));
    }
    let wanted: HashSet<InodeNr> = asked.into_iter().filter(|nr| (1..=count).contains(&nr.get())).collect();
    let (tables, mut errors) = session.volume.inode_tables();
    let volume = &session.volume;
    // Groups without directories are passed over, unless somebody's names are then not all found: counts may be wrong.
    let (mut likely, mut others) = (tables, Vec::new());
    others.extend(likely.extract_if(.., |t| t.directories == Some(0)));
    let mut scan = NameScan::default();
    parallel::in_order(&likely, |table| volume.names_of(table, &wanted), |found| scan.append(found));
    if !others.is_empty() && !complete(session, &scan, &wanted) {
        parallel::in_order(&others, |table| volume.names_of(table, &wanted), |found| scan.append(found));
        scan.names.sort_by_key(|n| n.dir);
    }
    let mut paths = volume.directory_paths(scan.names.iter().map(|n| n.dir), &scan.parents);
    errors.append(std::mem::take(&mut scan.errors));
    errors.append(std::mem::take(&mut paths.errors));

    // The path of a directory serves all that lies in it.
    let mut above: HashMap<InodeNr, Option<Vec<u8>>> = HashMap::new();
    let mut rows = Vec::new();
    if !session.json {
        writeln!(session.out, "Inode\tPathname")?;
    }
    for name in &scan.names {
        let dir = above.entry(name.dir).or_insert_with(|| paths.path(name.dir));
        let mut path = match dir {
            Some(dir) => dir.clone(),
            None => {
                session.complain(format_args!("inode:{}: no way leads to this directory from the root", name.dir));
                format!("<{}>/", name.dir).into_bytes()
            }
        };
        path.extend_from_slice(&name.name);
        let wrong = options.has('c') && wrong_type(session, name);
        if session.json {
            rows.push(json!({
                "inode": name.inode.get(),
                "path": text(&path),
                "directory": name.dir.get(),
                "file_type": name.file_type,
                "wrong_file_type": if options.has('c') { Value::from(wrong) } else { Value::Null },
            }));
        } else {
            let mark = if wrong { "  <--- BAD FILETYPE" } else { "" };
            writeln!(session.out, "{}\t{}{mark}", name.inode, shown(&path))?;
        }
    }
    session.complain_all(errors);
    if session.json {
        return output::document(&mut session.out, command.name(), Value::from(rows));
    }
    Ok(())
}

/// Whether every inode has at least as many names as it counts.
fn complete(session: &Session<'_>, scan: &NameScan, wanted: &HashSet<InodeNr>) -> bool {
    let mut names: HashMap<InodeNr, u32> = HashMap::new();
    scan.names.iter().for_each(|n| *names.entry(n.inode).or_default() += 1);
    wanted.iter().all(|nr| {
        // One name for a directory, none for what no directory names.
        let links = session.volume.inode_unverified(*nr).map_or(0, |i| match i.is_dir() {
            true => 1,
            false => u32::from(i.i_links_count.get()),
        });
        names.get(nr).copied().unwrap_or(0) >= links || nr.get() < 11
    })
}

/// Whether an entry says another type than the inode has. One that says none is right.
fn wrong_type(session: &Session<'_>, name: &Naming) -> bool {
    let inode = session.volume.inode_unverified(name.inode);
    name.file_type != file_type::UNKNOWN && inode.is_ok_and(|i| file_type::of_mode(i.i_mode.get()) != name.file_type)
}

fn icheck(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (1, usize::MAX))?;
    let mut asked = Vec::new();
    for word in options.rest {
        asked.push(BlockNr(number(word, "a block number")?));
    }
    let wanted: BlockSet = asked.iter().copied().collect();
    let (tables, mut errors) = session.volume.inode_tables();
    let mut scan = OwnerScan::default();
    let volume = &session.volume;
    parallel::in_order(&tables, |table| volume.block_owners(table, &wanted), |found| scan.append(found));
    errors.append(std::mem::take(&mut scan.errors));

    if !session.json {
        writeln!(session.out, "Block\tInode number")?;
    }
    let mut rows = Vec::new();
    for block in asked {
        let owners = scan.blocks.get(&block);
        let named = owners.map(|o| o.named.as_slice()).unwrap_or_default();
        if session.json {
            let list: Vec<Value> = named.iter().map(|o| owner(o.inode, o.used_for)).collect();
            let count = owners.map_or(0, |o| o.count);
            rows.push(json!({ "block": block.get(), "count": count, "owners": list }));
            continue;
        }
        if named.is_empty() {
            writeln!(session.out, "{block}\t<block not found>")?;
        }
        for o in named {
            writeln!(session.out, "{block}\t{}", o.inode)?;
        }
    }
    session.complain_all(errors);
    if session.json {
        return output::document(&mut session.out, command.name(), Value::from(rows));
    }
    Ok(())
}

fn owner(inode: InodeNr, used_for: BlockUse) -> Value {
    let inode = inode.get();
    match used_for {
        BlockUse::Data { logical } => json!({ "inode": inode, "used_for": "data", "logical": logical }),
        BlockUse::Map => json!({ "inode": inode, "used_for": "map" }),
        BlockUse::Attributes => json!({ "inode": inode, "used_for": "attributes" }),
    }
}
