//! Bits of the bitmaps, set and cleared by hand. Counts of what is free stay as they are.

use super::Command;
use super::free::MOST;
use crate::session::Session;
use crate::words::number;
use anyhow::{Context, Result, bail};
use daxkit_device::RangeSet;
use daxkit_format::BlockNr;
use daxkit_volume::ext4::edit::Run;

pub(super) static COMMANDS: &[Command] = &[
    Command {
        names: &["setb"],
        args: "BLOCK [COUNT]",
        summary: "Mark blocks as in use; no count of free blocks follows",
        example: "setb 5000 8",
        run: setb,
    },
    Command {
        names: &["freeb"],
        args: "BLOCK [COUNT]",
        summary: "Mark blocks as free; no count of free blocks follows",
        example: "freeb 5000 8",
        run: freeb,
    },
    Command {
        names: &["seti"],
        args: "FILE [COUNT]",
        summary: "Mark an inode, and those behind it, as in use; no count follows",
        example: "seti <20>",
        run: seti,
    },
    Command {
        names: &["freei"],
        args: "FILE [COUNT]",
        summary: "Mark an inode, and those behind it, as free; no count follows",
        example: "freei <20>",
        run: freei,
    },
];

fn setb(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    blocks(session, command, words, true)
}

fn freeb(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    blocks(session, command, words, false)
}

fn seti(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    inodes(session, command, words, true)
}

fn freei(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    inodes(session, command, words, false)
}

fn count(words: &[Vec<u8>]) -> Result<u64> {
    let Some(word) = words.first() else { return Ok(1) };
    let count = number(word, "a count")?;
    if count > MOST { bail!("{count}: too many at once") } else { Ok(count) }
}

fn blocks(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>], used: bool) -> Result<()> {
    let options = command.options(words, "", &[], (1, 2))?;
    session.check_writable()?;
    let Some((first, rest)) = options.rest.split_first() else { return Ok(()) };
    let (first, len) = (number(first, "a block number")?, count(rest)?);
    if first < u64::from(session.volume.super_block().s_first_data_block.get()) {
        bail!("block:{first}: no bit stands for it");
    }
    let already = session.edit_raw(|editor| Ok(editor.mark_blocks_raw(Run { first: BlockNr(first), len }, used)?))?;
    warn(session, "block", &already, used);
    Ok(())
}

fn inodes(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>], used: bool) -> Result<()> {
    let options = command.options(words, "", &[], (1, 2))?;
    session.check_writable()?;
    let Some((spec, rest)) = options.rest.split_first() else { return Ok(()) };
    let (first, len) = (session.inode_number(spec)?.get(), count(rest)?);
    let end = first.checked_add(len).context("too many")?;
    let already = session.edit_raw(|editor| Ok(editor.mark_inodes_raw(first..end, used)?))?;
    // Of several debugfs does not say so.
    if len == 1 {
        warn(session, "inode", &already, used);
    }
    Ok(())
}

/// Says what was so before; that is no failure.
fn warn(session: &Session<'_>, what: &str, already: &RangeSet, used: bool) {
    let so = if used { "set" } else { "clear" };
    for range in already.iter() {
        let last = range.end.saturating_sub(1);
        if range.start == last {
            session.messages.warning(format_args!("{what} {last} already {so}"));
        } else {
            session.messages.warning(format_args!("{what}s {}-{last} already {so}", range.start));
        }
    }
}
