//! Bytes of inodes and blocks as they lie.

use super::Command;
use crate::output::{self, shown, text};
use crate::session::Session;
use crate::words::number;
use anyhow::{Context, Result, bail};
use daxkit_format::ext4::xattr::{self, XattrEntry, XattrHeader, XattrIbodyHeader};
use daxkit_format::{BlockNr, OnDisk};
use daxkit_volume::Segment;
use serde_json::{Value, json};
use std::io::Write;

pub(super) static COMMANDS: &[Command] = &[
    Command {
        names: &["inode_dump", "idump", "id"],
        args: "[-b] [-e] [-x] FILE",
        summary: "Show the bytes of an inode; -b: of i_block, -e: behind the fields, -x: those as attributes",
        example: "idump <2>",
        run: inode_dump,
    },
    Command {
        names: &["block_dump", "bdump", "bd"],
        args: "[-x] [-f FILE] BLOCK",
        summary: "Show the bytes of a block; -f: of a file, -x: as a block of attributes",
        example: "bdump 1",
        run: block_dump,
    },
];

/// Lines of sixteen bytes as debugfs shows them: octal offset, words, letters; a line like the one before is a star.
fn hex(out: &mut dyn Write, bytes: &[u8]) -> Result<()> {
    let mut last: Option<&[u8]> = None;
    let mut starred = false;
    for (at, row) in (0..).step_by(16).zip(bytes.chunks(16)) {
        // A short row at the end counts as the same when it begins the same.
        if last.is_some_and(|l| l.starts_with(row)) {
            if !starred {
                writeln!(out, "*")?;
            }
            starred = true;
            continue;
        }
        (last, starred) = (Some(row), false);
        write!(out, "{at:04o}  ")?;
        for word in row.chunks(2) {
            word.iter().try_for_each(|b| write!(out, "{b:02x}"))?;
            write!(out, " ")?;
        }
        let letters: String = row.iter().map(|b| if (0x20..0x7f).contains(b) { char::from(*b) } else { '.' }).collect();
        writeln!(out, " {letters}")?;
    }
    writeln!(out)?;
    Ok(())
}

fn inode_dump(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "bex", &[], (1, 1))?;
    let (block, extra, attributes) = (options.has('b'), options.has('e'), options.has('x'));
    if u8::from(block) + u8::from(extra) + u8::from(attributes) > 1 {
        bail!("{}", command.usage());
    }
    for spec in options.rest {
        let inode = session.inode(spec)?;
        let raw = inode.raw();
        let behind = || {
            let room = raw.len().saturating_sub(128);
            let used = usize::from(inode.i_extra_isize.get());
            raw.get(128 + used..).filter(|_| room > 0 && used <= room && used >= 4).unwrap_or_default()
        };
        let bytes = match (block, extra || attributes) {
            (true, _) => &inode.i_block[..],
            (_, true) => behind(),
            _ => raw,
        };
        if attributes {
            let magic = XattrIbodyHeader::peek(bytes).map_or(0, |h| h.h_magic.get());
            entries(session, command, bytes, magic, size_of::<XattrIbodyHeader>(), size_of::<XattrIbodyHeader>())?;
        } else if session.json {
            let document = json!({ "inode": inode.nr().get(), "bytes": daxkit_format::field::to_hex(bytes) });
            output::document(&mut session.out, command.name(), document)?;
        } else {
            hex(&mut *session.out, bytes)?;
        }
    }
    Ok(())
}

fn block_dump(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "xf:", &[], (1, 1))?;
    let Some(word) = options.rest.first() else { return Ok(()) };
    let wanted = number(word, "a block number")?;
    let block = match options.value("f") {
        None => wanted,
        Some(spec) => {
            let inode = session.inode(spec)?;
            match session.volume.map_block(&inode, wanted)? {
                Segment::Mapped(m) => m.physical.get(),
                // A hole reads as block 0 would be wrong: it has no bytes at all.
                Segment::Hole { .. } => bail!("{}: block {wanted} is a hole", shown(spec)),
            }
        }
    };
    let bytes = session.volume.read_block(BlockNr(block))?;
    if options.has('x') {
        let magic = XattrHeader::peek(&bytes).map_or(0, |h| h.h_magic.get());
        return entries(session, command, &bytes, magic, size_of::<XattrHeader>(), 0);
    }
    if session.json {
        let document = json!({ "block": block, "bytes": daxkit_format::field::to_hex(&bytes) });
        return output::document(&mut session.out, command.name(), document);
    }
    hex(&mut *session.out, &bytes)
}

/// The entries of attributes as they lie from byte `first` of `area`; values count from `base`. Nothing is believed: what leads
/// out of the area ends the list.
fn entries(
    session: &mut Session<'_>,
    command: &Command,
    area: &[u8],
    magic: u32,
    first: usize,
    base: usize,
) -> Result<()> {
    let mut rows = Vec::new();
    if !session.json {
        let start = if base == 0 { String::new() } else { format!(", value_start ={base}") };
        writeln!(session.out, "magic = {magic:08x}, length = {}{start}", area.len())?;
        if let Some(head) = XattrHeader::peek(area).filter(|h| base == 0 && h.h_magic.get() == xattr::MAGIC) {
            writeln!(session.out, "refcount = {}, blocks = {}", head.h_refcount, head.h_blocks)?;
            writeln!(session.out, "hash = {:08x}, checksum = {:08x}", head.h_hash, head.h_checksum)?;
            let reserved: Vec<String> = head.h_reserved.iter().map(|w| format!("{w:08x}")).collect();
            writeln!(session.out, "reserved: {}", reserved.join(" "))?;
        }
        writeln!(session.out)?;
    }
    let sound = magic == xattr::MAGIC;
    let mut at = first;
    while let Some(rest) = area.get(at..).filter(|r| sound && r.first_chunk::<4>().is_some_and(|w| *w != [0; 4])) {
        let entry = XattrEntry::peek(rest).context("an entry runs past the end")?;
        let len = usize::from(entry.e_name_len);
        let name = rest.get(16..16 + len).context("a name runs past the end")?;
        let (offset, size) = (usize::from(entry.e_value_offs.get()), entry.e_value_size.get());
        let from = base + offset;
        let inside = usize::try_from(size).ok().and_then(|size| area.get(from..from.checked_add(size)?));
        let value = if entry.e_value_inum.get() == 0 { inside.unwrap_or_default() } else { &[] };
        if session.json {
            rows.push(json!({
                "offset": at, "e_hash": entry.e_hash.get(), "e_name_index": entry.e_name_index,
                "e_value_offs": offset, "e_value_inum": entry.e_value_inum.get(), "e_value_size": size,
                "name": text(name), "value": daxkit_format::field::to_hex(value),
            }));
        } else {
            let out = &mut session.out;
            let hash = entry.e_hash.get();
            writeln!(
                out,
                "offset = {at} ({at:04o}), hash = {hash}, name_len = {len}, name_index = {}",
                entry.e_name_index
            )?;
            writeln!(
                out,
                "value_offset = {offset} ({from:04o}), value_inum = {}, value_size = {size}",
                entry.e_value_inum
            )?;
            writeln!(out, "name = {}\nvalue = {}\n", shown(name), shown(value))?;
        }
        at = at.saturating_add((16 + len).next_multiple_of(4));
    }
    if session.json {
        return output::document(
            &mut session.out,
            command.name(),
            json!({ "h_magic": magic, "entries": Value::from(rows) }),
        );
    }
    if sound {
        writeln!(session.out, "last entry found at offset {at} ({at:04o})")?;
    }
    Ok(())
}
