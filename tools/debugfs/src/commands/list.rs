//! What a directory holds, what a file holds.

use super::Command;
use crate::files::{self, Row};
use crate::output::{self, shown, text};
use crate::session::Session;
use anyhow::{Result, bail};
use daxkit_format::ext4::dir_entry::{self, file_type};
use daxkit_format::{BlockNr, InodeNr};
use serde_json::{Value, json};
use std::io::Write;

pub(super) static COMMANDS: &[Command] = &[
    Command {
        names: &["ls", "list_directory"],
        args: "[-c] [-d] [-l] [-p] [-r] [FILE]",
        summary: "List a directory; -l: long, -p: as /inode/mode/uid/gid/name/size/, -d: removed entries too, -c: checksums",
        example: "ls -l /\nls -p <2>",
        run: ls,
    },
    Command {
        names: &["cat"],
        args: "FILE",
        summary: "Print the content of a file, or the target of a symbolic link",
        example: "cat <11>",
        run: cat,
    },
];

/// Columns of the short form of `ls`.
const WIDTH: usize = 80;

/// Bytes copied at once.
const CHUNK: usize = 1 << 20;

/// Longest content that becomes a JSON document.
const JSON_MAX: u64 = 64 << 20;

fn ls(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    // `-r` asks for encrypted names as they are stored, which is what is shown in any case.
    let options = command.options(words, "cdlpr", &[], (0, 1))?;
    let dir = match options.rest.first() {
        Some(spec) => session.inode(spec)?,
        None => session.volume.inode(session.here)?,
    };
    let (long, plain, deleted) = (options.has('l'), options.has('p'), options.has('d'));
    let mut rows: Vec<Value> = Vec::new();
    let mut column = 0;
    let named = |e: anyhow::Error| match options.rest.first() {
        Some(spec) => e.context(shown(spec)),
        None => e,
    };
    files::directory(session, &dir, deleted, &mut |session, row| {
        if session.json {
            rows.push(document(session, &row));
        } else if plain {
            plain_row(session, &row)?;
        } else if long {
            long_row(session, &row)?;
        } else {
            let number = if row.deleted { format!("<{}>", row.inode) } else { format!(" {} ", row.inode) };
            let (head, name) = (format!("{number} ({}) ", row.rec_len), shown(&row.name));
            let width = head.chars().count() + name.chars().count() + 3;
            if column + width > WIDTH && column > 0 {
                writeln!(session.out)?;
                column = 0;
            }
            write!(session.out, "{head}{}   ", session.paint.paint(output::style(row.file_type), name))?;
            column += width;
        }
        Ok(())
    })
    .map_err(named)?;
    if session.json {
        return output::document(&mut session.out, command.name(), Value::from(rows));
    }
    if column > 0 {
        writeln!(session.out)?;
    }
    if options.has('c') {
        checksums(session, &dir, long)?;
    }
    Ok(())
}

/// The checksum of each leaf block of a directory, as a last row of its own.
fn checksums(session: &mut Session<'_>, dir: &daxkit_volume::Inode, long: bool) -> Result<()> {
    let runs: Vec<_> = session.volume.extents(dir).collect();
    for run in runs {
        let run = run?;
        for step in 0..run.len {
            let bytes = session.volume.read_block(BlockNr(run.physical.get() + step))?;
            if let Some(tail) = dir_entry::tail(&bytes) {
                let head = if long { "     0       0" } else { " 0 " };
                writeln!(session.out, "{head} (dirblock checksum: 0x{:08x})", tail.det_checksum)?;
            }
        }
    }
    Ok(())
}

/// The inode of a row; a damaged one is complained about, and shown as it is where that can be.
fn inode_of(session: &mut Session<'_>, row: &Row) -> Option<daxkit_volume::Inode> {
    if row.inode == 0 {
        return None;
    }
    let nr = InodeNr(u64::from(row.inode));
    match session.volume.inode(nr) {
        Ok(inode) => Some(inode),
        Err(e) => {
            session.complain(&e);
            session.volume.inode_unverified(nr).ok()
        }
    }
}

fn long_row(session: &mut Session<'_>, row: &Row) -> Result<()> {
    let Some(inode) = inode_of(session, row) else {
        writeln!(session.out, "<{:>6}> {}", row.inode, shown(&row.name))?;
        return Ok(());
    };
    let (open, close) = if row.deleted { ('<', '>') } else { (' ', ' ') };
    writeln!(
        session.out,
        "{open}{:6}{close} {:6o} ({})  {:5}  {:5}   {:5} {} {}",
        row.inode,
        inode.i_mode,
        row.file_type,
        inode.uid(),
        inode.gid(),
        inode.size(),
        files::short_time(inode.mtime()),
        session.paint.paint(output::style(file_type::of_mode(inode.i_mode.get())), shown(&row.name))
    )?;
    Ok(())
}

fn plain_row(session: &mut Session<'_>, row: &Row) -> Result<()> {
    let Some(inode) = inode_of(session, row) else { return Ok(()) };
    write!(session.out, "/{}/{:06o}/{}/{}/{}/", row.inode, inode.i_mode, inode.uid(), inode.gid(), shown(&row.name))?;
    if inode.is_dir() {
        writeln!(session.out, "/")?;
    } else {
        writeln!(session.out, "{}/", inode.size())?;
    }
    Ok(())
}

fn document(session: &mut Session<'_>, row: &Row) -> Value {
    let mut value = json!({
        "inode": row.inode,
        "rec_len": row.rec_len,
        "file_type": row.file_type,
        "name": text(&row.name),
        "deleted": row.deleted,
    });
    if let Some(inode) = inode_of(session, row)
        && let Some(map) = value.as_object_mut()
    {
        map.insert("i_mode".to_owned(), Value::from(inode.i_mode.get()));
        map.insert("i_uid".to_owned(), Value::from(inode.uid()));
        map.insert("i_gid".to_owned(), Value::from(inode.gid()));
        map.insert("i_size".to_owned(), Value::from(inode.size()));
        map.insert("i_mtime".to_owned(), Value::from(daxkit_format::field::format_time(inode.mtime())));
    }
    value
}

fn cat(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (1, 1))?;
    for spec in options.rest {
        let inode = session.inode(spec)?;
        if session.json {
            if inode.size() > JSON_MAX {
                bail!("{}: {} bytes are too many for a JSON document", shown(spec), inode.size());
            }
            let bytes = content(session, &inode)?;
            output::document(
                &mut session.out,
                command.name(),
                json!({ "inode": inode.nr().get(), "content": text(&bytes) }),
            )?;
            continue;
        }
        if inode.is_symlink() {
            let target = session.volume.read_link(&inode)?;
            session.out.write_all(&target)?;
            continue;
        }
        // Devices and their like have no content, which a length of 0 would hide.
        session.volume.reader(&inode)?;
        let mut buf = vec![0; CHUNK];
        let mut at = 0;
        loop {
            let n = session.volume.read_at(&inode, at, &mut buf)?;
            if n == 0 {
                break;
            }
            session.out.write_all(buf.get(..n).unwrap_or_default())?;
            at += n as u64;
        }
    }
    Ok(())
}

fn content(session: &Session<'_>, inode: &daxkit_volume::Inode) -> Result<Vec<u8>> {
    if inode.is_symlink() {
        return Ok(session.volume.read_link(inode)?);
    }
    Ok(session.volume.read_file(inode, 0..inode.size())?)
}
