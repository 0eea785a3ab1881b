//! Lines from options, from a file, from a pipe, and from a terminal that cannot be more than a pipe.

use super::{line, prompt};
use crate::Args;
use crate::session::Session;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::path::Path;

/// Bytes of a script read at once.
const READ: usize = 1 << 20;

/// Longest line read, so that a stream without newlines ends as an error and not out of memory.
const MAX_LINE: u64 = 1 << 20;

/// Runs what `-R` gives; `false` when a command failed.
pub(super) fn requests(session: &mut Session<'_>, args: &Args) -> bool {
    let mut good = true;
    for request in &args.request {
        good &= line(session, request.as_bytes());
        if session.done || (!good && !args.keep_going) {
            break;
        }
    }
    good
}

/// Runs the lines of the script or of standard input, which `typed` says is a terminal; `false` when a command failed.
pub(super) fn lines(session: &mut Session<'_>, args: &Args, typed: bool) -> Result<bool> {
    let mut script = match &args.script {
        Some(path) if path != Path::new("-") => {
            let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
            Some(BufReader::with_capacity(READ, file))
        }
        _ => None,
    };
    let mut text = Vec::new();
    let mut good = true;
    let mut ahead = Ahead::default();
    loop {
        // With the output elsewhere, there is nobody to be asked.
        if typed && std::io::stdout().is_terminal() {
            write!(session.out, "{}", prompt(session))?;
            session.out.flush()?;
        }
        if let Some(script) = &mut script {
            ahead.look(session, script);
        }
        text.clear();
        let n = match &mut script {
            Some(script) => script.take(MAX_LINE).read_until(b'\n', &mut text),
            // Line by line: a command may read the next ones as answers to what it asks.
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

/// Looks at the lines of a script that were read and not run yet.
#[derive(Default)]
struct Ahead {
    /// Bytes at the end of what was read that were looked at to no avail.
    seen: usize,
}

impl Ahead {
    fn look(&mut self, session: &mut Session<'_>, script: &mut BufReader<File>) {
        let read = script.buffer().len();
        self.seen = self.seen.min(read);
        if read == self.seen {
            return;
        }
        if let Some(done) = session.put_off_lines(script.buffer()) {
            script.consume(done);
            // Nothing is looked at again and again: half of it has to be done with each time.
            self.seen = if done >= read / 2 { 0 } else { read - done };
        }
    }
}
