//! The lines typed before, kept in a file from one run to the next.
//!
//! The file is `DAX_DEBUGFS_HISTORY` (empty: none), else `dax-debugfs/history` in `XDG_STATE_HOME`, else in `~/.local/state`. That it
//! cannot be read or written is said once, and stops nothing.

use daxkit_cli::message::Messages;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Editor, Helper};
use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Lines kept.
pub(super) const MAX_LINES: usize = 1000;

/// Longest line kept.
const MAX_LENGTH: usize = 4096;

/// Largest file read: far more than so many lines make.
const MAX_FILE: u64 = 16 << 20;

/// See the module.
#[derive(Debug)]
pub(super) struct History {
    /// `None`: there is none, or it failed.
    path: Option<PathBuf>,
    messages: Messages,
}

impl History {
    /// Reads the history into an editor.
    pub(super) fn load<H: Helper>(editor: &mut Editor<H, FileHistory>, messages: Messages) -> Self {
        let mut history = Self { path: place(|name| std::env::var_os(name)), messages };
        let Some(path) = &history.path else { return history };
        let loaded = match std::fs::metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return history,
            Err(error) => Err(error.into()),
            // As in /dev/null: no history is wanted.
            Ok(data) if !data.is_file() && !data.is_dir() => {
                history.path = None;
                return history;
            }
            Ok(data) if data.len() > MAX_FILE => Err(Error::other("too large for a history").into()),
            Ok(_) => editor.load_history(path),
        };
        history.check("read", loaded);
        history
    }

    /// Keeps a line. One that begins with a blank is not kept, nor is the same one twice in a row.
    pub(super) fn keep<H: Helper>(&mut self, editor: &mut Editor<H, FileHistory>, line: &str) {
        if line.trim().is_empty() || line.len() > MAX_LENGTH || !matches!(editor.add_history_entry(line), Ok(true)) {
            return;
        }
        let Some(path) = &self.path else { return };
        let saved = make_parent(path).map_err(ReadlineError::from).and_then(|()| editor.append_history(path));
        self.check("write", saved);
    }

    /// One failure is enough.
    fn check(&mut self, what: &str, done: Result<(), ReadlineError>) {
        if let Err(error) = done
            && let Some(path) = self.path.take()
        {
            self.messages.warning(format_args!("cannot {what} the history {}: {error}", path.display()));
        }
    }
}

/// Makes the directory of the file, for its owner only.
fn make_parent(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() && !dir.is_dir() => {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)
        }
        _ => Ok(()),
    }
}

/// Where the environment wants the history.
fn place(get: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if let Some(own) = get("DAX_DEBUGFS_HISTORY") {
        return Some(PathBuf::from(own)).filter(|p| !p.as_os_str().is_empty());
    }
    let absolute = |name| get(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state.join("dax-debugfs/history"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_says_where_the_history_is() {
        let at = |vars: &[(&str, &str)]| {
            place(|name| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v)))
                .map(|p| p.to_str().unwrap().to_owned())
        };
        let state = ("XDG_STATE_HOME", "/s");
        let home = ("HOME", "/h");
        assert_eq!(at(&[state, home]).as_deref(), Some("/s/dax-debugfs/history"));
        assert_eq!(at(&[home]).as_deref(), Some("/h/.local/state/dax-debugfs/history"));
        assert_eq!(at(&[("XDG_STATE_HOME", "relative"), home]).as_deref(), Some("/h/.local/state/dax-debugfs/history"));
        assert_eq!(at(&[]), None);
        assert_eq!(at(&[("DAX_DEBUGFS_HISTORY", "mine"), state, home]).as_deref(), Some("mine"));
        assert_eq!(at(&[("DAX_DEBUGFS_HISTORY", ""), state, home]), None);
    }
}
