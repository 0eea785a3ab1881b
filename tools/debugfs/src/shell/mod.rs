//! Where commands come from, and what a failed one does.

mod script;

use crate::session::{Opening, Session};
use crate::{Args, commands, words};
use anyhow::{Context, Result, bail};
use daxkit_cli::message::Messages;
use std::io::{BufWriter, IsTerminal};
use std::path::Path;

/// Runs everything; `false` when a command failed. `now` is in seconds since 1970.
pub(crate) fn run(args: &Args, image: &Path, now: u64, messages: &Messages) -> Result<bool> {
    let opening = Opening {
        image: image.to_owned(),
        offset: args.offset,
        catastrophic: args.catastrophic,
        superblock: args.superblock,
        block_size: args.block_size,
        replay: !args.no_replay,
    };
    let out = Box::new(BufWriter::with_capacity(1 << 16, std::io::stdout().lock()));
    let mut session = Session::open(opening, (args.json, now), messages, out)?;
    if !args.request.is_empty() {
        return Ok(script::requests(&mut session, args));
    }
    let typed = args.script.is_none() && std::io::stdin().is_terminal();
    script::lines(&mut session, args, typed)
}

/// The prompt of a session.
fn prompt(_session: &Session<'_>) -> &'static str {
    "dax-debugfs: "
}

/// Runs one line; `false` when it failed, which has been said.
fn line(session: &mut Session<'_>, text: &[u8]) -> bool {
    session.complained = false;
    let done = command(session, text).and_then(|()| session.out.flush().map_err(anyhow::Error::from));
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
        commands::find(&name).with_context(|| format!("{name}: no such command (help lists the commands)"))?;
    if session.closed && !command.works_without_image() {
        bail!("{name}: no image is open");
    }
    (command.run)(session, command, rest).with_context(|| name)
}
