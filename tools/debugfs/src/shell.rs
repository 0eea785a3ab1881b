//! Where commands come from, and what a failed one does.

use crate::opening::Opening;
use crate::session::Session;
use crate::{Args, commands, dry_run, words};
use anyhow::{Context, Result, bail};
use daxkit_cli::message::Messages;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, IsTerminal, Read, Write};
use std::path::Path;

/// Longest line read, so that a stream without newlines ends as an error and not out of memory.
const MAX_LINE: u64 = 1 << 20;

/// Runs everything; `false` when a command failed. `now` is in seconds since 1970.
pub(crate) fn run(args: &Args, now: u64, messages: &Messages) -> Result<bool> {
    let opening = Opening {
        image: args.image.clone(),
        offset: args.offset,
        writable: args.write,
        catastrophic: args.catastrophic,
        ignore_checksums: args.ignore_checksums,
        superblock: args.superblock,
        block_size: args.block_size,
        replay: !args.no_replay,
        undo: args.undo.clone(),
    };
    let out = Box::new(BufWriter::with_capacity(1 << 16, std::io::stdout().lock()));
    let mut session = Session::open(opening, (args.json, now), messages, out)?;
    session.changes.dry_run = args.dry_run;
    let typed = args.request.is_empty() && args.script.is_none() && std::io::stdin().is_terminal();
    session.changes.each = args.each || typed;
    let good = commands(&mut session, args, typed)?;
    let good = end(&mut session, good)?;
    session.finish()?;
    Ok(good)
}

/// Writes what a script has changed, when all of it succeeded.
fn end(session: &mut Session<'_>, mut good: bool) -> Result<bool> {
    if session.changes.begun() {
        session.complain("a change was begun and not committed; nothing of it is written");
        return Ok(false);
    }
    if session.changes.dry_run {
        dry_run::show(session)?;
    } else if good && !session.changes.each {
        if let Err(error) = session.commit() {
            session.complain(format_args!("{error:#}"));
            good = false;
        }
    }
    session.out.flush()?;
    Ok(good)
}

/// Runs all commands; whether all succeeded.
fn commands(session: &mut Session<'_>, args: &Args, typed: bool) -> Result<bool> {
    if !args.request.is_empty() {
        let mut good = true;
        for request in &args.request {
            good &= line(session, request.as_bytes());
            if session.done || (!good && !args.keep_going) {
                break;
            }
        }
        return Ok(good);
    }
    let mut script = match &args.script {
        Some(path) if path != Path::new("-") => {
            Some(BufReader::new(File::open(path).with_context(|| format!("cannot open {}", path.display()))?))
        }
        _ => None,
    };
    let mut good = true;
    loop {
        if typed {
            write!(session.out, "dax-debugfs: ")?;
            session.out.flush()?;
        }
        let mut text = Vec::new();
        let n = match &mut script {
            Some(script) => script.take(MAX_LINE).read_until(b'\n', &mut text),
            // Line by line: a command may read the next lines as answers to what it asks.
            None => std::io::stdin().lock().take(MAX_LINE).read_until(b'\n', &mut text),
        };
        let n = n.context("cannot read commands")?;
        if n == 0 {
            if typed {
                writeln!(session.out)?;
            }
            break;
        }
        if n as u64 == MAX_LINE {
            bail!("a command of more than {MAX_LINE} bytes");
        }
        let ok = line(session, &text);
        // Whoever types sees the failure and goes on.
        good &= ok || typed;
        if session.done || (!good && !args.keep_going) {
            break;
        }
    }
    session.out.flush()?;
    Ok(good)
}

/// Runs one line; `false` when it failed, which has been said.
fn line(session: &mut Session<'_>, text: &[u8]) -> bool {
    session.complained = false;
    let done = command(session, text);
    match done {
        Ok(()) => !session.complained,
        // Whoever reads the output has seen enough.
        Err(error) if is_broken_pipe(&error) => {
            session.done = true;
            true
        }
        Err(error) => {
            session.complain(format_args!("{error:#}"));
            false
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |kind| kind == Some(std::io::ErrorKind::BrokenPipe);
    error.chain().any(|e| {
        broken(e.downcast_ref::<std::io::Error>().map(std::io::Error::kind))
            || broken(e.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind))
    })
}

fn command(session: &mut Session<'_>, text: &[u8]) -> Result<()> {
    let words = words::split(text).context("a quote does not end")?;
    let Some((name, rest)) = words.split_first() else { return Ok(()) };
    if name.starts_with(b"#") {
        return Ok(());
    }
    let name = crate::output::shown(name);
    let command =
        commands::find(session, &name).with_context(|| format!("{name}: no such command (help lists the commands)"))?;
    if session.closed && !command.works_without_image() {
        bail!("{name}: no image is open");
    }
    if !command.is_edit_of_image() {
        (command.run)(session, command, rest).with_context(|| name)?;
        return Ok(session.out.flush()?);
    }
    // What it has printed goes out before it counts as done: a reader that is gone is no reason to take an edit back.
    let mut failed = None;
    let good = session.whole(|session| {
        let done = (command.run)(session, command, rest).with_context(|| name);
        failed = done.err();
        failed.is_none() && !session.complained
    });
    if let Some(error) = failed {
        return Err(error);
    }
    if good && session.changes.each && !session.changes.begun() {
        session.commit()?;
    }
    Ok(session.out.flush()?)
}
