//! A terminal on which lines are edited: history, completion, a pager.

use super::complete::complete;
use super::history::{History, MAX_LINES};
use super::{Screen, is_comment, line, prompt};
use crate::session::Session;
use crate::{signals, words};
use anyhow::Result;
use daxkit_cli::color;
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{ColorMode, CompletionType, Config, Context, Editor, Helper};
use std::borrow::Cow;
use std::cell::RefCell;
use std::io::{ErrorKind, IsTerminal};

/// How the lines ended.
pub(super) enum End {
    /// `quit`, or there are no more.
    Done,
    /// Lines cannot be edited here; plain ones may be read all the same.
    Unfit,
}

/// Whether the terminal can do more than a pipe.
pub(super) fn is_possible() -> bool {
    let plain = ["", "dumb", "cons25", "emacs"];
    let term = std::env::var("TERM").unwrap_or_default();
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && !plain.contains(&term.as_str())
}

/// Reads lines and runs them until there are no more.
pub(super) fn run(session: &mut Session<'_>, screen: &Screen) -> Result<End> {
    let color = if session.paint.is_on() { ColorMode::Enabled } else { ColorMode::Disabled };
    let config = Config::builder()
        .max_history_size(MAX_LINES)?
        .history_ignore_dups(true)?
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .completion_show_all_if_ambiguous(true)
        .color_mode(color)
        .build();
    let messages = session.messages;
    let session = RefCell::new(session);
    let Ok(mut editor) = Editor::<Assistant<'_, '_, '_>, FileHistory>::with_config(config) else {
        return Ok(End::Unfit);
    };
    editor.set_helper(Some(Assistant { session: &session }));
    let mut history = History::load(&mut editor, messages);
    signals::keep_terminal();
    loop {
        let prompt = prompt(&session.borrow());
        let text = match editor.readline(&prompt) {
            Ok(text) => text,
            // The line is thrown away, not the shell.
            Err(ReadlineError::Interrupted | ReadlineError::Signal(_)) => continue,
            Err(ReadlineError::Eof) => return Ok(End::Done),
            Err(ReadlineError::Io(error)) if error.kind() == ErrorKind::InvalidData => {
                messages.error("what was typed is not UTF-8");
                continue;
            }
            Err(_) => return Ok(End::Unfit),
        };
        history.keep(&mut editor, &text);
        let mut session = session.borrow_mut();
        for text in words::lines(&text) {
            screen.begin();
            // Whoever types sees the failure and goes on.
            line(&mut session, text.as_bytes());
            if let Some(problem) = screen.end() {
                messages.warning(problem);
            }
            if session.done {
                return Ok(End::Done);
            }
        }
    }
}

/// What helps to edit a line.
struct Assistant<'c, 'm, 's> {
    /// Nobody else uses it while a line is edited.
    session: &'c RefCell<&'m mut Session<'s>>,
}

impl Helper for Assistant<'_, '_, '_> {}

impl Completer for Assistant<'_, '_, '_> {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (Some(line), Ok(session)) = (line.get(..at), self.session.try_borrow()) else {
            return Ok((at, Vec::new()));
        };
        let (start, candidates) = complete(&session, line);
        Ok((start, candidates.into_iter().map(|c| Pair { display: c.shown, replacement: c.text }).collect()))
    }
}

impl Hinter for Assistant<'_, '_, '_> {
    type Hint = String;
}

impl Highlighter for Assistant<'_, '_, '_> {
    fn highlight_candidate<'c>(&self, candidate: &'c str, _: CompletionType) -> Cow<'c, str> {
        match self.session.try_borrow() {
            Ok(session) if candidate.ends_with('/') => {
                session.paint.paint(color::DIRECTORY, candidate).to_string().into()
            }
            _ => candidate.into(),
        }
    }
}

impl Validator for Assistant<'_, '_, '_> {
    /// A line whose quote does not end goes on; a comment has no quotes.
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let text = context.input();
        let last = words::lines(text).pop().unwrap_or_default().as_bytes();
        let goes_on = words::cut(last).quoted && !is_comment(last);
        Ok(if goes_on { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}
