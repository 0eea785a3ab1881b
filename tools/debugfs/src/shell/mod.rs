//! Where commands come from, and what a failed one does.

mod complete;
mod history;
mod interactive;
mod pager;
mod patient;
mod script;

pub(crate) use pager::Screen;

use crate::opening::Opening;
use crate::session::Session;
use crate::{Args, commands, dry_run, signals, words};
use anyhow::{Context, Result, anyhow, bail};
use daxkit_cli::color::Paint;
use daxkit_cli::message::{Messages, with_causes};
use patient::Patient;
use std::io::{BufWriter, IsTerminal, Write};

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
        direct: args.direct_io,
        dry_run: args.dry_run,
        undo: args.undo.clone(),
    };
    let typed = args.request.is_empty() && args.script.is_none() && std::io::stdin().is_terminal();
    if typed {
        signals::typed();
    }
    let screen = (typed && interactive::is_possible()).then(|| Screen::new(!args.no_pager, args.write));
    let stdout = || BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    let out: Box<dyn Write> = match &screen {
        Some(screen) => Box::new(screen.clone()),
        None if args.write => Box::new(Patient::new(stdout())),
        None => Box::new(stdout()),
    };
    let mut session = Session::open(opening, (args.json, now), messages, out)?;
    session.paint = if args.json { Paint::default() } else { args.color.paint() };
    session.changes.typed = typed;
    session.changes.each = args.each || typed;
    session.screen = screen.clone();
    session.changes.once = !session.changes.each && !args.keep_going;
    let good = match screen {
        _ if !args.request.is_empty() => script::requests(&mut session, args),
        Some(screen) => match interactive::run(&mut session, &screen)? {
            interactive::End::Done => true,
            interactive::End::Unfit => script::lines(&mut session, args, typed)?,
        },
        None => script::lines(&mut session, args, typed)?,
    };
    let good = end(&mut session, good)?;
    session.finish();
    Ok(good && !session.differs)
}

/// Writes what a script has changed, when all of it succeeded.
fn end(session: &mut Session<'_>, good: bool) -> Result<bool> {
    if good {
        session.settle()?;
    }
    if session.changes.begun() {
        // Who failed on the way has been told why.
        if good {
            session.complain("a change was begun and not committed; nothing of it is written");
        }
        return Ok(false);
    }
    if good || session.changes.each {
        let shown = dry_run::show(session).and_then(|()| Ok(session.out.flush()?));
        // Whoever reads the output has seen enough.
        shown.or_else(|error| if is_broken_pipe(&error) { Ok(()) } else { Err(error) })?;
    }
    if good && !session.changes.each {
        session.commit()?;
    }
    Ok(good)
}

/// The prompt of a session: a star while a change is begun, and whose extents are being walked.
fn prompt(session: &Session<'_>) -> String {
    let begun = if session.changes.begun() { "*" } else { "" };
    let extents = session.extent.as_ref().map_or_else(String::new, |tree| format!(" (extent ino {})", tree.inode()));
    format!("dax-debugfs{begun}{extents}: ")
}

/// Runs one line; `false` when it failed, which has been said.
fn line(session: &mut Session<'_>, text: &[u8]) -> bool {
    let good = attempt(session, text);
    // Outside of begin and commit, each command of --each stands for itself.
    if !good && (!session.changes.each || session.changes.begun()) {
        session.changes.failed = true;
    }
    good
}

fn attempt(session: &mut Session<'_>, text: &[u8]) -> bool {
    session.complained = false;
    signals::forget_stop();
    let done = command(session, text);
    if signals::stop() && (done.is_err() || session.complained) {
        signals::forget_stop();
        session.complain("interrupted");
        return false;
    }
    match done {
        Ok(()) => !session.complained,
        // Whoever reads the output has seen enough. What was to be edited is not all done, though.
        Err(error) if is_broken_pipe(&error) => {
            session.done = session.screen.is_none();
            !session.opening.writable
        }
        Err(error) => {
            session.complain(with_causes(error.as_ref()));
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

/// Whether a line says nothing to the program, whatever quotes are in it.
fn is_comment(text: &[u8]) -> bool {
    text.trim_ascii_start().starts_with(b"#")
}

fn command(session: &mut Session<'_>, text: &[u8]) -> Result<()> {
    if session.put_off_line(text)? || is_comment(text) {
        return Ok(());
    }
    let mut words = std::mem::take(&mut session.words);
    let whole = words::split(text, &mut words);
    let done = match words.split_first() {
        _ if !whole => Err(anyhow!("a quote does not end")),
        Some((name, rest)) => request(session, name, rest),
        None => Ok(()),
    };
    if done.is_ok() {
        session.was_run(text, &words);
    }
    session.words = words;
    if done.is_err() {
        // What was put off came first.
        session.settle()?;
    }
    done
}

/// Runs a command by its name.
fn request(session: &mut Session<'_>, name: &[u8], rest: &[Vec<u8>]) -> Result<()> {
    let shown = || crate::output::shown(name);
    let command = commands::find(session, name)
        .with_context(|| format!("{}: no such command (help lists the commands)", shown()))?;
    session.settle_before(command)?;
    if session.closed && !command.works_without_image() {
        bail!("{}: no image is open", shown());
    }
    if !command.is_edit_of_image() {
        (command.run)(session, command, rest).with_context(shown)?;
        return Ok(session.out.flush()?);
    }
    // What it has printed goes out before it counts as done: a reader that is gone is no reason to take an edit back.
    let mut failed = None;
    let good = session.whole(|session| {
        let done = (command.run)(session, command, rest).with_context(shown);
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
