//! Progress, for programs (`-C FD`) and for a terminal.

use daxkit_check::Progress;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Writes lines `PASS DONE ALL DEVICE`, as e2fsck does, to a descriptor that the caller has opened.
#[derive(Debug)]
struct Lines {
    out: Mutex<File>,
    device: String,
}

impl Progress for Lines {
    fn pass(&self, pass: u8, done: u64, all: u64) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever wanted to know may be gone.
        let _ = writeln!(out, "{pass} {done} {all} {}", self.device);
    }
}

/// Names the pass on the terminal, and takes the line back.
#[derive(Debug)]
struct Screen {
    begin: std::time::Instant,
}

impl Progress for Screen {
    fn pass(&self, pass: u8, done: u64, all: u64) {
        if self.begin.elapsed().as_millis() < 500 {
            return;
        }
        let share = (done * 100).checked_div(all).unwrap_or(100);
        let mut err = std::io::stderr().lock();
        let text = if pass >= 5 && share == 100 { String::new() } else { format!("pass {pass}: {share:>3}%") };
        let _ = write!(err, "\r\x1b[K{text}").and_then(|()| err.flush());
    }
}

/// What was asked for.
pub(crate) fn of(descriptor: Option<i32>, quiet: bool, image: &str) -> Option<Arc<dyn Progress>> {
    match descriptor {
        Some(fd) if fd > 0 => {
            // The descriptor was opened by whoever calls; the host gives it back by name.
            let path = PathBuf::from(format!("/proc/self/fd/{fd}"));
            let out = File::options().append(true).open(path).ok()?;
            Some(Arc::new(Lines { out: Mutex::new(out), device: image.to_owned() }))
        }
        _ if !quiet && std::io::stderr().is_terminal() => Some(Arc::new(Screen { begin: std::time::Instant::now() })),
        _ => None,
    }
}
