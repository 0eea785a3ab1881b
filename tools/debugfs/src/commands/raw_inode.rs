//! Inodes changed by hand: field by field with questions, cleared, copied, brought back.

use super::Command;
use crate::output::shown;
use crate::session::Session;
use crate::signals;
use anyhow::{Context, Result, bail};
use daxkit_device::RangeSet;
use daxkit_format::ext4::dir_entry::file_type;
use daxkit_format::field::{Access, Structure, parse_integer};
use daxkit_format::{BlockNr, FieldValue, InodeNr};
use daxkit_volume::ext4::MapItem;
use daxkit_volume::ext4::edit::Run;
use std::io::{BufRead, IsTerminal};

pub(super) static COMMANDS: &[Command] = &[
    Command {
        names: &["modify_inode", "mi"],
        args: "FILE",
        summary: "Ask for each field of an inode; an empty answer leaves it as it is",
        example: "modify_inode <12>",
        run: modify,
    },
    Command {
        names: &["clri"],
        args: "FILE",
        summary: "Make the first 128 bytes of an inode zero",
        example: "clri <12>",
        run: clear,
    },
    Command {
        names: &["copy_inode"],
        args: "FROM TO",
        summary: "Write the bytes of one inode over another",
        example: "copy_inode <12> <13>",
        run: copy,
    },
    Command {
        names: &["undelete", "undel"],
        args: "INODE [NAME]",
        summary: "Mark a deleted inode and the blocks it still names as in use, and make a name for it",
        example: "undelete <12> /back",
        run: undelete,
    },
];

/// Bytes of an inode without extra fields.
const OLD_SIZE: usize = 128;

/// `s_creator_os`: Hurd.
const OS_HURD: u32 = 1;

/// How a value is shown in a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Octal,
    Decimal,
    Hex,
}

/// What is asked for: the words, the field, an element of it.
type Question = (&'static str, &'static str, Option<usize>, Shown);

const BEFORE: &[Question] = &[
    ("Mode", "i_mode", None, Shown::Octal),
    ("User ID", "i_uid", None, Shown::Decimal),
    ("Group ID", "i_gid", None, Shown::Decimal),
    ("Size", "i_size_lo", None, Shown::Decimal),
    ("Creation time", "i_ctime", None, Shown::Decimal),
    ("Modification time", "i_mtime", None, Shown::Decimal),
    ("Access time", "i_atime", None, Shown::Decimal),
    ("Deletion time", "i_dtime", None, Shown::Decimal),
    ("Link count", "i_links_count", None, Shown::Decimal),
];

const MIDDLE: &[Question] = &[
    ("Block count", "i_blocks_lo", None, Shown::Decimal),
    ("File flags", "i_flags", None, Shown::Hex),
    ("Generation", "i_generation", None, Shown::Hex),
    ("File acl", "i_file_acl_lo", None, Shown::Decimal),
    ("High 32bits of size", "i_size_high", None, Shown::Decimal),
];

const FRAGMENT: Question = ("Fragment address", "i_obso_faddr", None, Shown::Decimal);

const LINUX: &[Question] = &[("Block count high", "l_i_blocks_high", None, Shown::Decimal)];

const HURD: &[Question] = &[
    ("Translator Block", "l_i_version", None, Shown::Decimal),
    FRAGMENT,
    ("Fragment number", "h_i_frag", None, Shown::Decimal),
    ("Fragment size", "h_i_fsize", None, Shown::Decimal),
];

const INDIRECT: &[Question] = &[
    ("Indirect Block", "i_block", Some(12), Shown::Decimal),
    ("Double Indirect Block", "i_block", Some(13), Shown::Decimal),
    ("Triple Indirect Block", "i_block", Some(14), Shown::Decimal),
];

fn modify(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (1, 1))?;
    session.check_writable()?;
    let Some(spec) = options.rest.first() else { return Ok(()) };
    let mut inode = session.inode(spec)?;
    let hurd = session.volume.super_block().s_creator_os.get() == OS_HURD;
    let direct = (0..12).map(|n| (format!("Direct Block #{n}"), "i_block", Some(n), Shown::Decimal));
    let owned = |q: &Question| (q.0.to_owned(), q.1, q.2, q.3);
    let questions = BEFORE
        .iter()
        .chain(if hurd { &[] } else { LINUX })
        .chain(MIDDLE)
        .chain(if hurd { HURD } else { &[FRAGMENT] })
        .map(owned)
        .chain(direct)
        .chain(INDIRECT.iter().map(owned));
    let mut raw = inode.raw().to_vec();
    for (words, name, element, shown) in questions {
        let access = Access::find(Structure::Inode, name);
        let access = match element {
            Some(n) => access.and_then(|a| a.element(&n.to_string())),
            None => access,
        };
        if !ask(session, &words, access.context("no such field")?, shown, &mut raw)? {
            writeln!(session.out)?;
            break;
        }
    }
    session.edit_raw(|editor| {
        editor.modify_raw(&mut inode, |bytes| bytes.copy_from_slice(&raw));
        Ok(editor.store_inode(&mut inode)?)
    })
}

/// Asks for one field; at a terminal again until the answer is one. `false` when somebody there has said that no answers follow.
fn ask(session: &mut Session<'_>, words: &str, access: Access, shown: Shown, raw: &mut [u8]) -> Result<bool> {
    let Some(FieldValue::Int(old)) = access.get(raw) else { return Ok(true) };
    let old = match shown {
        Shown::Octal => format!("0{old:o}"),
        Shown::Decimal => old.to_string(),
        Shown::Hex => format!("{old:#x}"),
    };
    loop {
        if !session.json {
            write!(session.out, "{words:>30}    [{old}] ")?;
        }
        session.out.flush()?;
        let mut answer = String::new();
        let stdin = std::io::stdin();
        if stdin.is_terminal() {
            signals::wait_for_input()?;
        }
        let n = stdin.lock().read_line(&mut answer).context("cannot read the answer")?;
        let answer = answer.trim();
        // Without more input everything stays.
        if n == 0 || answer.is_empty() {
            return Ok(n != 0 || !stdin.is_terminal());
        }
        let value = parse_integer(answer, access.low.kind.len() as u32 * 8).map(FieldValue::Int);
        if value.is_some_and(|value| access.set(raw, &value)) {
            return Ok(true);
        }
        if !stdin.is_terminal() {
            bail!("Bad value - {answer}");
        }
        writeln!(session.out, "Bad value - {answer}")?;
    }
}

fn clear(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (1, 1))?;
    session.check_writable()?;
    let Some(spec) = options.rest.first() else { return Ok(()) };
    let mut inode = session.inode(spec)?;
    session.edit_raw(|editor| {
        editor.modify_raw(&mut inode, |raw| raw.iter_mut().take(OLD_SIZE).for_each(|b| *b = 0));
        Ok(editor.store_inode(&mut inode)?)
    })
}

fn copy(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (2, 2))?;
    session.check_writable()?;
    let [from, to] = options.rest else { return Ok(()) };
    let from = session.inode(from)?;
    let to = session.inode_number(to)?;
    session.edit_raw(|editor| {
        let mut to = editor.inode_unverified(to)?;
        editor.modify_raw(&mut to, |raw| raw.copy_from_slice(from.raw()));
        Ok(editor.store_inode(&mut to)?)
    })
}

fn undelete(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (1, 2))?;
    session.check_writable()?;
    let Some((spec, name)) = options.rest.split_first() else { return Ok(()) };
    let nr = session.inode_number(spec)?;
    if session.volume.inode_in_use(nr)? {
        bail!("{}: the inode is not marked as deleted", shown(spec));
    }
    let name = name.first().map(|name| session.parent_and_name(name)).transpose()?;
    session.edit(|editor| bring_back(editor, nr, name)).with_context(|| shown(spec))
}

fn bring_back(editor: &mut daxkit_volume::Editor<'_>, nr: InodeNr, name: Option<(InodeNr, Vec<u8>)>) -> Result<()> {
    let mut inode = editor.inode(nr)?;
    let is_dir = inode.is_dir();
    editor.modify(&mut inode, |disk| {
        disk.i_links_count.set(if is_dir { 2 } else { 1 });
        disk.i_dtime.set(0);
    });
    // Whole clusters, each once, however its blocks lie in the file.
    let ratio = u64::from(editor.geometry().cluster_ratio);
    let mut clusters = RangeSet::default();
    if editor.has_map(&inode) {
        for item in editor.map_walk(&inode) {
            let (block, len) = match item? {
                MapItem::Node { block, .. } => (block, 1),
                MapItem::Run(run) => (run.physical, run.len),
            };
            clusters.insert(block.get() / ratio..block.get().saturating_add(len).div_ceil(ratio));
        }
    }
    let acl = inode.file_acl();
    if acl != 0 && !editor.block_in_use(BlockNr(acl))? {
        clusters.insert(acl / ratio..(acl + 1).div_ceil(ratio));
    }
    for run in clusters.iter() {
        let (first, end) = (run.start * ratio, (run.end * ratio).min(editor.geometry().blocks_count));
        editor.take_exactly(Run { first: BlockNr(first), len: end.saturating_sub(first) })?;
    }
    editor.mark_inode(nr, true, is_dir)?;
    editor.store_inode(&mut inode)?;
    editor.charge(&inode, i64::try_from(inode.space()).unwrap_or(i64::MAX), 1)?;
    if let Some((dir, name)) = name {
        editor.link_raw(dir, &name, nr, file_type::of_mode(inode.i_mode.get()))?;
    }
    Ok(())
}
