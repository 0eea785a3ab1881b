//! Where commands come from, and what a failed one does.

use crate::opening::Opening;
use crate::session::Session;
use crate::{Args, commands, dry_run, words};
use anyhow::{Context, Result, bail};
use daxkit_cli::message::{Messages, with_causes};
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
        direct: args.direct_io,
        dry_run: args.dry_run,
        undo: args.undo.clone(),
    };
    let out: Box<dyn Write> = match args.write {
        true => Box::new(Patient(Some(std::io::stdout().lock()))),
        false => Box::new(std::io::stdout().lock()),
    };
    let out = Box::new(BufWriter::with_capacity(1 << 16, out));
    let mut session = Session::open(opening, (args.json, now), messages, out)?;
    let typed = args.request.is_empty() && args.script.is_none() && std::io::stdin().is_terminal();
    session.changes.typed = typed;
    session.changes.each = args.each || typed;
    let good = commands(&mut session, args, typed)?;
    let good = end(&mut session, good)?;
    session.finish();
    Ok(good)
}

/// Writes what a script has changed, when all of it succeeded.
fn end(session: &mut Session<'_>, good: bool) -> Result<bool> {
    if session.changes.begun() {
        // Who failed on the way has been told why.
        if good {
            session.complain("a change was begun and not committed; nothing of it is written");
        }
        return Ok(false);
    }
    if good || session.changes.each {
        dry_run::show(session)?;
        session.out.flush()?;
    }
    if good && !session.changes.each {
        session.commit()?;
    }
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
    let mut input: Box<dyn BufRead> = match &args.script {
        Some(path) if path != Path::new("-") => {
            let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
            Box::new(BufReader::new(file))
        }
        _ => Box::new(BufReader::new(std::io::stdin())),
    };
    let mut good = true;
    loop {
        if typed {
            write!(session.out, "dax-debugfs: ")?;
            session.out.flush()?;
        }
        let mut text = Vec::new();
        let n = input.by_ref().take(MAX_LINE).read_until(b'\n', &mut text).context("cannot read commands")?;
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
    let good = attempt(session, text);
    // Outside of begin and commit, each command of --each stands for itself.
    if !good && (!session.changes.each || session.changes.begun()) {
        session.changes.failed = true;
    }
    good
}

fn attempt(session: &mut Session<'_>, text: &[u8]) -> bool {
    session.complained = false;
    let done = command(session, text);
    match done {
        Ok(()) => !session.complained,
        // Whoever reads the output has seen enough. What was to be edited is not all done, though.
        Err(error) if is_broken_pipe(&error) => {
            session.done = true;
            !session.opening.writable
        }
        Err(error) => {
            session.complain(with_causes(error.as_ref()));
            false
        }
    }
}

/// The output of a run that edits: when nobody reads it any more, the commands go on without.
struct Patient<W>(Option<W>);

impl<W: Write> Patient<W> {
    fn go_on<T>(&mut self, work: impl FnOnce(&mut W) -> std::io::Result<T>, without: T) -> std::io::Result<T> {
        let Some(out) = &mut self.0 else { return Ok(without) };
        match work(out) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                self.0 = None;
                Ok(without)
            }
            done => done,
        }
    }
}

impl<W: Write> Write for Patient<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.go_on(|out| out.write(bytes), bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.go_on(W::flush, ())
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
