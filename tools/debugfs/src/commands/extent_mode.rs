//! debugfs's extent mode: one inode's extent tree walked and changed entry by entry, by hand. The requests are there while a tree is
//! open.

use super::Command;
use crate::output::{self, shown};
use crate::session::Session;
use crate::words::number;
use anyhow::{Context, Result, bail};
use daxkit_format::ext4::extent::{MAX_UNWRITTEN_LEN, MAX_WRITTEN_LEN};
use daxkit_volume::ext4::edit::{CursorError, Move, TreeCursor, TreeEntry};
use serde_json::{Value, json};

pub(super) static COMMANDS: &[Command] = &[Command {
    names: &["extent_open", "eo"],
    args: "[FILE]",
    summary: "Open the extent tree of a file, to walk and change it entry by entry (help then lists how); without FILE: say which is open",
    example: "extent_open <8>",
    run: open,
}];

macro_rules! moves {
    ($($names:expr, $run:ident, $step:expr, $summary:expr;)*) => {
        $(fn $run(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
            go(session, command, words, $step)
        })*
        const MOVES: &[Command] = &[$(Command {
            names: $names, args: "", summary: $summary, example: $names[0], run: $run,
        }),*];
    };
}

moves! {
    &["root_node", "root"], root, Move::Root, "Go to the first entry of the root";
    &["last_leaf"], last_leaf, Move::LastLeaf, "Go to the last entry of the last leaf";
    &["first_sibling", "first_sib"], first_sibling, Move::FirstSibling, "Go to the first entry of the node";
    &["last_sibling", "last_sib"], last_sibling, Move::LastSibling, "Go to the last entry of the node";
    &["next_sibling", "next_sib", "ns"], next_sibling, Move::NextSibling, "Go to the next entry of the node";
    &["prev_sibling", "prev_sib", "ps"], prev_sibling, Move::PrevSibling, "Go to the previous entry of the node";
    &["next_leaf", "nl"], next_leaf, Move::NextLeaf, "Go to the next entry of a leaf";
    &["prev_leaf", "pl"], prev_leaf, Move::PrevLeaf, "Go to the previous entry of a leaf";
    &["next", "n"], next, Move::Next, "Go to the next entry, each node before and after what lies below it";
    &["previous", "prev", "p"], previous, Move::Prev, "Go to the previous entry";
    &["up_node", "up", "u"], up, Move::Up, "Go to the entry that leads to this node";
    &["down_node", "down", "d"], down, Move::Down, "Go to the first entry of the node below";
}

const EDITS: &[Command] = &[
    Command {
        names: &["current_node", "current"],
        args: "",
        summary: "Show the entry",
        example: "current_node",
        run: current,
    },
    Command {
        names: &["delete_node", "delete"],
        args: "",
        summary: "Delete the entry; a node that is empty then goes, too. What it maps stays in use",
        example: "delete_node",
        run: delete,
    },
    Command {
        names: &["insert_node", "insert"],
        args: "[--after] [--uninit] LOGICAL LENGTH PHYSICAL",
        summary: "Insert an entry before this one or, with --after, behind it; --uninit: blocks that read as zero",
        example: "insert_node --after 100 8 5000",
        run: insert,
    },
    Command {
        names: &["split_node", "split"],
        args: "",
        summary: "Split the node; the root gets a node below it",
        example: "split_node",
        run: split,
    },
    Command {
        names: &["fix_parents", "fixp"],
        args: "",
        summary: "Make the entries above say where this node begins",
        example: "fix_parents",
        run: fix_parents,
    },
    Command {
        names: &["set_bmap"],
        args: "[--uninit] LOGICAL PHYSICAL",
        summary: "Map one block of the file, whatever was there; PHYSICAL 0 unmaps it. No block is taken or given back",
        example: "set_bmap 100 5000",
        run: set_bmap,
    },
    Command {
        names: &["replace_node", "replace"],
        args: "[--uninit] LOGICAL LENGTH PHYSICAL",
        summary: "Put another entry in place of this one",
        example: "replace_node 100 8 5000",
        run: replace,
    },
    Command {
        names: &["print_all", "all"],
        args: "[--leaf-only] [--reverse]",
        summary: "Show all entries in their order",
        example: "print_all",
        run: print_all,
    },
    Command {
        names: &["goto_block", "goto"],
        args: "BLOCK [LEVEL]",
        summary: "Go to the entry that holds a block of the file, LEVEL levels above the leaves",
        example: "goto_block 100",
        run: goto_block,
    },
    Command { names: &["info"], args: "", summary: "Say where the cursor stands", example: "info", run: info },
    Command {
        names: &["extent_close", "ec"],
        args: "",
        summary: "Close the tree",
        example: "extent_close",
        run: close,
    },
];

/// The requests that are there while a tree is open.
pub(crate) static MODE: [&[Command]; 2] = [MOVES, EDITS];

fn open(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (0, 1))?;
    let Some(spec) = options.rest.first() else {
        let open = session.extent.as_ref().context("no extent tree is open")?.inode();
        if session.json {
            return output::document(&mut session.out, command.name(), json!({ "inode": open.get() }));
        }
        writeln!(session.out, "Current inode is <{open}>")?;
        return Ok(());
    };
    if let Some(open) = &session.extent {
        bail!("the extent tree of <{}> is open already", open.inode());
    }
    let inode = session.inode(spec)?;
    session.extent = Some(TreeCursor::new(&inode).with_context(|| shown(spec))?);
    Ok(())
}

fn close(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    command.options(words, "", &[], (0, 0))?;
    session.extent.take().context("no extent tree is open").map(drop)
}

/// What a request does to the cursor.
fn with_cursor<T>(
    session: &mut Session<'_>,
    work: impl FnOnce(&mut Session<'_>, &mut TreeCursor) -> Result<T>,
) -> Result<T> {
    let mut cursor = session.extent.clone().context("no extent tree is open")?;
    let done = work(session, &mut cursor)?;
    session.extent = Some(cursor);
    Ok(done)
}

fn go(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>], step: Move) -> Result<()> {
    command.options(words, "", &[], (0, 0))?;
    with_cursor(session, |session, cursor| {
        let entry = cursor.go(&session.volume, step)?;
        show(session, command, &entry)
    })
}

fn line(entry: &TreeEntry) -> String {
    let end = u64::from(entry.logical).wrapping_add(entry.len).wrapping_sub(1) as u32;
    let mut flags = String::new();
    for (set, name) in [(entry.leaf, "LEAF "), (!entry.written, "UNINIT "), (entry.second_visit, "2ND_VISIT")] {
        if set {
            flags.push_str(name);
        }
    }
    if flags.is_empty() {
        flags.push_str("(none)");
    }
    let TreeEntry { logical, len, physical, .. } = entry;
    format!("extent: lblk {logical}--{end}, len {len}, pblk {physical}, flags: {flags}")
}

fn value(entry: &TreeEntry) -> Value {
    json!({
        "logical": entry.logical, "len": entry.len, "physical": entry.physical, "written": entry.written,
        "leaf": entry.leaf, "second_visit": entry.second_visit,
    })
}

fn show(session: &mut Session<'_>, command: &'static Command, entry: &TreeEntry) -> Result<()> {
    if session.json {
        return output::document(&mut session.out, command.name(), value(entry));
    }
    writeln!(session.out, "{}", line(entry))?;
    Ok(())
}

fn current(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    command.options(words, "", &[], (0, 0))?;
    with_cursor(session, |session, cursor| {
        let entry = cursor.current(&session.volume)?;
        show(session, command, &entry)
    })
}

fn info(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    command.options(words, "", &[], (0, 0))?;
    with_cursor(session, |session, cursor| {
        let (entry, at) = (cursor.current(&session.volume)?, cursor.standing(&session.volume)?);
        let room = (usize::from(at.max).saturating_sub(at.entries)).saturating_mul(12);
        if session.json {
            let document = json!({
                "current": value(&entry), "entry": at.entry, "entries": at.entries, "max": at.max, "bytes": room,
                "level": at.level, "depth": at.depth,
            });
            return output::document(&mut session.out, command.name(), document);
        }
        writeln!(session.out, "{}", line(&entry))?;
        writeln!(
            session.out,
            "Current handle location: {}/{} (max: {}, bytes {room}), level {}/{}",
            at.entry, at.entries, at.max, at.level, at.depth
        )?;
        writeln!(session.out, "\tmax lblk: {}, max pblk: {}", u32::MAX, (1u64 << 48) - 1)?;
        writeln!(session.out, "\tmax_len: {MAX_WRITTEN_LEN}, max_uninit_len: {MAX_UNWRITTEN_LEN}")?;
        Ok(())
    })
}

fn print_all(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let (mut leaf_only, mut reverse) = (false, false);
    for word in words {
        match word.as_slice() {
            b"--leaf-only" => leaf_only = true,
            b"--reverse" => reverse = true,
            _ => bail!("{}", command.usage()),
        }
    }
    with_cursor(session, |session, cursor| {
        let (first, step) = if reverse { (Move::LastLeaf, Move::Prev) } else { (Move::Root, Move::Next) };
        let mut entry = cursor.go(&session.volume, first)?;
        let mut all = Vec::new();
        // A tree that leads into itself has no end.
        let most = session.volume.geometry().blocks_count.saturating_mul(2);
        for _ in 0..most {
            if entry.leaf || !leaf_only {
                if session.json {
                    all.push(value(&entry));
                } else {
                    writeln!(session.out, "{}", line(&entry))?;
                }
            }
            entry = match cursor.go(&session.volume, step) {
                Ok(entry) => entry,
                Err(CursorError::NoEntry(_)) => break,
                Err(e) => return Err(e.into()),
            };
        }
        if session.json {
            output::document(&mut session.out, command.name(), Value::from(all))?;
        }
        Ok(())
    })
}

fn goto_block(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (1, 2))?;
    let mut words = options.rest.iter();
    let block = number(words.next().map(Vec::as_slice).unwrap_or_default(), "a block")?;
    let level = words.next().map_or(Ok(0), |word| number(word, "a level"))?;
    let level = u16::try_from(level).context("no tree has so many levels")?;
    with_cursor(session, |session, cursor| {
        let entry = cursor.go_to(&session.volume, block, level)?;
        show(session, command, &entry)
    })
}

/// `--after`, `--uninit`, and the numbers behind them.
fn parse(command: &'static Command, words: &[Vec<u8>], count: usize) -> Result<(bool, bool, Vec<u64>)> {
    let (mut after, mut uninit, mut numbers) = (false, false, Vec::new());
    for word in words {
        match word.as_slice() {
            b"--after" if command.args.contains("--after") => after = true,
            b"--uninit" => uninit = true,
            word => numbers.push(number(word, "a number")?),
        }
    }
    if numbers.len() != count {
        bail!("{}", command.usage());
    }
    Ok((after, uninit, numbers))
}

fn entry(numbers: &[u64], uninit: bool) -> Result<TreeEntry> {
    let [logical, len, physical] = *numbers else { bail!("three numbers") };
    let logical = u32::try_from(logical).with_context(|| format!("{logical}: no file has such a block"))?;
    Ok(TreeEntry { logical, len, physical, written: !uninit, leaf: true, second_visit: false })
}

fn insert(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let (after, uninit, numbers) = parse(command, words, 3)?;
    let new = entry(&numbers, uninit)?;
    changed(session, command, |editor, cursor| cursor.insert(editor, &new, after))
}

fn replace(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let (_, uninit, numbers) = parse(command, words, 3)?;
    let new = entry(&numbers, uninit)?;
    changed(session, command, |editor, cursor| cursor.replace(editor, &new))
}

fn delete(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    command.options(words, "", &[], (0, 0))?;
    changed(session, command, |editor, cursor| cursor.delete(editor))
}

fn split(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    command.options(words, "", &[], (0, 0))?;
    changed(session, command, |editor, cursor| cursor.split(editor))
}

fn fix_parents(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    command.options(words, "", &[], (0, 0))?;
    with_cursor(session, |session, cursor| session.edit(|editor| Ok(cursor.fix_parents(editor)?)))
}

fn set_bmap(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let (_, uninit, numbers) = parse(command, words, 2)?;
    let [logical, physical] = *numbers.as_slice() else { bail!("{}", command.usage()) };
    with_cursor(session, |session, cursor| {
        let nr = cursor.inode();
        session.edit(|editor| {
            let mut inode = editor.inode(nr)?;
            Ok(editor.set_block(&mut inode, logical, (physical != 0).then_some((physical, !uninit)))?)
        })
    })
}

/// Makes an edit, and shows where the cursor stands then.
fn changed(
    session: &mut Session<'_>,
    command: &'static Command,
    edit: impl FnOnce(&mut daxkit_volume::Editor<'_>, &mut TreeCursor) -> Result<(), CursorError>,
) -> Result<()> {
    with_cursor(session, |session, cursor| {
        session.edit(|editor| Ok(edit(editor, cursor)?))?;
        match cursor.current(&session.volume) {
            Ok(entry) => show(session, command, &entry),
            // The tree may be empty now.
            Err(CursorError::Nowhere) => Ok(()),
            Err(e) => Err(e.into()),
        }
    })
}
