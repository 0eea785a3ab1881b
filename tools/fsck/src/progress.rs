//! Progress, for programs (`-C FD`) and for a terminal. SIGUSR1 begins it, SIGUSR2 ends it.

use daxkit_check::Progress;
use daxkit_cli::interrupt::Toggle;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Writes lines `PASS DONE ALL DEVICE`, as e2fsck does, to a descriptor that the caller has opened.
#[derive(Debug)]
struct Lines {
    /// The descriptor, and the pass and how much of it was said last: threads may come too late.
    out: Mutex<(File, u8, u64)>,
    device: String,
    shown: Toggle,
}

impl Progress for Lines {
    fn pass(&self, pass: u8, done: u64, all: u64) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let late = out.1 == pass && out.2 > done && done != 0;
        if late || !self.shown.is_on() {
            return;
        }
        (out.1, out.2) = (pass, done);
        // Whoever wanted to know may be gone.
        let _ = writeln!(out.0, "{pass} {done} {all} {}", self.device);
    }
}

/// Names the pass on the terminal, and takes the line back.
#[derive(Debug)]
struct Screen {
    begin: std::time::Instant,
    shown: Toggle,
}

impl Progress for Screen {
    fn pass(&self, pass: u8, done: u64, all: u64) {
        if !self.shown.is_on() || self.begin.elapsed().as_millis() < 500 {
            return;
        }
        let share = (done * 100).checked_div(all).unwrap_or(100);
        let mut err = std::io::stderr().lock();
        let text = if pass >= 5 && share == 100 { String::new() } else { format!("pass {pass}: {share:>3}%") };
        let _ = write!(err, "\r\x1b[K{text}").and_then(|()| err.flush());
    }
}

/// What was asked for.
///
/// # Errors
/// The host does not let signals be caught; there is no such descriptor.
pub(crate) fn of(descriptor: Option<i32>, quiet: bool, image: &str) -> std::io::Result<Option<Arc<dyn Progress>>> {
    let fd = descriptor.unwrap_or(0);
    let shown = Toggle::of_user_signals(fd > 0 || (fd == 0 && !quiet && std::io::stderr().is_terminal()))?;
    if fd == 0 {
        return Ok(Some(Arc::new(Screen { begin: std::time::Instant::now(), shown })));
    }
    // The descriptor was opened by whoever calls; the host gives it back by name.
    let path = PathBuf::from(format!("/proc/self/fd/{}", fd.unsigned_abs()));
    let out = File::options().append(true).open(path)?;
    Ok(Some(Arc::new(Lines { out: Mutex::new((out, 0, 0)), device: image.to_owned(), shown })))
}
