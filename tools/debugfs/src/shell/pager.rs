//! The screen of somebody who types: what a command prints goes there, or through a pager when it is too long for it.
//!
//! The output of a command is held back until it is whole or the screen is full. `DAX_DEBUGFS_PAGER`, else `PAGER`, else `less` then
//! gets it; an empty one or `cat` means that there is to be none.

use crate::signals;
use rustix::termios::tcgetwinsize;
use std::cell::RefCell;
use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;

/// So much is held back at most, whatever fits the screen.
const MAX_HELD: usize = 1 << 20;

/// What a shell would not take as it is written.
const SHELL: &[char] =
    &['|', '&', ';', '<', '>', '(', ')', '$', '`', '\\', '"', '\'', '*', '?', '[', '#', '~', '=', '%'];

/// Where output goes; clones are the same screen.
#[derive(Debug, Clone)]
pub(crate) struct Screen(Rc<RefCell<Inner>>);

#[derive(Debug)]
struct Inner {
    /// The command line of the pager; `None`: there is to be none.
    pager: Option<String>,
    /// Commands that edit go on when nobody reads what they print.
    patient: bool,
    state: State,
    held: Vec<u8>,
    size: Size,
    /// Rows that are held, and the column where the last one ends.
    rows: usize,
    column: usize,
    /// The next bytes belong to an escape sequence.
    escape: bool,
}

#[derive(Debug, Clone, Copy)]
struct Size {
    rows: usize,
    columns: usize,
}

#[derive(Debug)]
enum State {
    /// What comes is held back.
    Held,
    /// The screen is full, and there is no pager: what comes goes on the screen.
    Open,
    /// A pager has it.
    Paged(Box<Child>),
    /// The pager was left.
    Left(Box<Child>),
}

impl Screen {
    /// Standard output, a terminal.
    pub(super) fn new(paged: bool, patient: bool) -> Self {
        let pager = choose(|name| std::env::var_os(name)).filter(|_| paged);
        Self(Rc::new(RefCell::new(Inner {
            pager,
            patient,
            state: State::Held,
            held: Vec::new(),
            size: Size { rows: 24, columns: 80 },
            rows: 0,
            column: 0,
            escape: false,
        })))
    }

    /// Whether a pager has the terminal.
    pub(crate) fn is_paged(&self) -> bool {
        matches!(self.0.borrow().state, State::Paged(_) | State::Left(_))
    }

    /// A command begins.
    pub(super) fn begin(&self) {
        let mut inner = self.0.borrow_mut();
        let size = tcgetwinsize(io::stdout()).ok();
        let or = |n: Option<u16>, default| n.filter(|n| *n > 0).map_or(default, usize::from);
        inner.size = Size { rows: or(size.map(|s| s.ws_row), 24), columns: or(size.map(|s| s.ws_col), 80) };
        inner.restart();
    }

    /// The command has ended; a pager is left to who reads in it. What is wrong with the pager comes back.
    pub(super) fn end(&self) -> Option<String> {
        let mut inner = self.0.borrow_mut();
        let written = inner.flush();
        let state = std::mem::replace(&mut inner.state, State::Held);
        inner.restart();
        let (State::Paged(mut child) | State::Left(mut child)) = state else {
            return written.err().map(|e| format!("standard output: {e}"));
        };
        drop(child.stdin.take());
        let status = child.wait();
        match (status, &inner.pager) {
            (Ok(status), Some(pager)) if matches!(status.code(), Some(126 | 127)) => {
                let what = format!("{pager}: cannot be run as a pager; there is none from now on");
                inner.pager = None;
                Some(what)
            }
            _ => None,
        }
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut inner = self.0.borrow_mut();
        inner.check()?;
        inner.take(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut inner = self.0.borrow_mut();
        inner.check()?;
        inner.flush()
    }
}

impl Inner {
    fn restart(&mut self) {
        self.held.clear();
        (self.rows, self.column, self.escape) = (0, 0, false);
    }

    /// A command that is to stop prints nothing more.
    fn check(&mut self) -> io::Result<()> {
        if signals::stop() {
            self.restart();
            return Err(io::Error::other("interrupted"));
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.state {
            State::Left(_) => return self.unread(),
            State::Paged(_) => {
                self.held.extend_from_slice(bytes);
                return if self.held.len() >= 1 << 16 { self.flush() } else { Ok(()) };
            }
            State::Open => {
                self.held.extend_from_slice(bytes);
                return if self.held.len() >= 1 << 13 { self.flush() } else { Ok(()) };
            }
            State::Held => {}
        }
        self.held.extend_from_slice(bytes);
        self.count(bytes);
        // The prompt that follows needs a row as well.
        if self.rows + 1 < self.size.rows && self.held.len() < MAX_HELD {
            return Ok(());
        }
        self.state = match self.pager.as_deref().map(start) {
            Some(Ok(child)) => State::Paged(Box::new(child)),
            // A pager that is not there is not worth a failure.
            Some(Err(_)) | None => State::Open,
        };
        self.flush()
    }

    /// Counts the rows that `bytes` take on the screen.
    fn count(&mut self, bytes: &[u8]) {
        for &b in bytes {
            match b {
                _ if self.escape => self.escape = !b.is_ascii_alphabetic(),
                0x1b => self.escape = true,
                b'\n' => {
                    self.rows += 1;
                    self.column = 0;
                }
                b'\t' => self.column = (self.column / 8 + 1) * 8,
                // What follows the first byte of a character takes no place.
                0x80..=0xbf => {}
                _ => self.column += 1,
            }
            if self.column > self.size.columns {
                self.rows += 1;
                self.column = 1;
            }
        }
    }

    /// Passes on what is held.
    fn flush(&mut self) -> io::Result<()> {
        let held = std::mem::take(&mut self.held);
        let paged = match &mut self.state {
            State::Left(_) => return Ok(()),
            State::Held | State::Open => None,
            State::Paged(child) => child.stdin.as_mut(),
        };
        let Some(pager) = paged else {
            let mut out = io::stdout().lock();
            out.write_all(&held)?;
            return out.flush();
        };
        match pager.write_all(&held).and_then(|()| pager.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.state = match std::mem::replace(&mut self.state, State::Open) {
                    State::Paged(child) => State::Left(child),
                    other => other,
                };
                self.unread()
            }
            done => done,
        }
    }

    /// Nobody reads any more.
    fn unread(&self) -> io::Result<()> {
        if self.patient { Ok(()) } else { Err(ErrorKind::BrokenPipe.into()) }
    }
}

/// The pager that the environment wants.
fn choose(get: impl Fn(&str) -> Option<OsString>) -> Option<String> {
    let wanted = ["DAX_DEBUGFS_PAGER", "PAGER"].into_iter().find_map(get);
    let pager = wanted.map_or_else(|| "less".to_owned(), |p| p.to_string_lossy().trim().to_owned());
    Some(pager).filter(|p| !p.is_empty() && p != "cat")
}

/// Starts a pager: as it is when it is plain words, so that a missing one is noticed, else by the shell.
fn start(pager: &str) -> io::Result<Child> {
    let mut command = if pager.contains(SHELL) {
        let mut shell = Command::new("sh");
        shell.args(["-c", pager]);
        shell
    } else {
        let mut words = pager.split_whitespace();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        command
    };
    // Colours as they are, nothing left to do for what fits, and the text stays on the screen.
    if std::env::var_os("LESS").is_none() {
        command.env("LESS", "FRX");
    }
    command.stdin(Stdio::piped()).spawn()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(own: Option<&str>, pager: Option<&str>) -> Option<String> {
        choose(|name| match name {
            "PAGER" => pager.map(OsString::from),
            _ => own.map(OsString::from),
        })
    }

    #[test]
    fn the_environment_chooses_the_pager() {
        assert_eq!(chosen(None, None).as_deref(), Some("less"));
        assert_eq!(chosen(None, Some("more -s")).as_deref(), Some("more -s"));
        assert_eq!(chosen(Some("most"), Some("more")).as_deref(), Some("most"));
        assert_eq!(chosen(Some(""), Some("more")), None);
        assert_eq!(chosen(None, Some("cat")), None);
    }

    #[test]
    fn rows_are_those_of_the_screen() {
        let screen = Screen::new(false, false);
        let mut inner = screen.0.borrow_mut();
        inner.size = Size { rows: 10, columns: 10 };
        let mut rows = |text: &str| {
            inner.restart();
            inner.count(text.as_bytes());
            (inner.rows, inner.column)
        };
        assert_eq!(rows("a\nb"), (1, 1));
        // A row that is just full is one row.
        assert_eq!(rows("0123456789"), (0, 10));
        assert_eq!(rows("0123456789\n"), (1, 0));
        assert_eq!(rows("0123456789a\n"), (2, 0));
        assert_eq!(rows("\x1b[1m\x1b[34m012345678\x1b[0m\n"), (1, 0));
        assert_eq!(rows("éééééééééé\n"), (1, 0));
        assert_eq!(rows("a\tb"), (0, 9));
    }
}
