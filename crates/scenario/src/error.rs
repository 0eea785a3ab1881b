//! What is wrong with a scenario, and where.

use crate::place::Place;
use core::fmt;

/// Most errors that are told of one text.
pub const MOST: usize = 20;

/// One error of a scenario's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Where.
    pub place: Place,
    /// What, in one line.
    pub message: String,
    /// The line of the text, for showing.
    pub line: String,
}

impl Error {
    pub(crate) fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into(), line: String::new() }
    }

    /// In one line, without the text.
    #[must_use]
    pub fn one_line(&self) -> String {
        format!("{}:{}: {}", self.place.line, self.place.column, self.message)
    }

    pub(crate) fn show_line_of(mut self, text: &str) -> Self {
        let index = (self.place.line as usize).saturating_sub(1);
        // Control characters would spoil the caret's place; a line that is endless is cut.
        let shown = text.lines().nth(index).unwrap_or("").chars().take(400);
        self.line = shown.map(|c| if c.is_control() { ' ' } else { c }).collect();
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.one_line())?;
        let column = (self.place.column as usize).saturating_sub(1);
        if self.line.is_empty() || column > self.line.chars().count() {
            return Ok(());
        }
        let number = self.place.line.to_string();
        let room = (self.line.chars().count() - column).max(1);
        let carets = "^".repeat((self.place.width as usize).clamp(1, room));
        write!(f, "\n {number} | {}", self.line)?;
        write!(f, "\n {:1$} | {2:column$}{carets}", "", number.len(), "")
    }
}

/// All that is wrong with a scenario's text, in the order of the text, at most [`MOST`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Errors {
    /// The errors; never none.
    pub list: Vec<Error>,
    /// There are more.
    pub more: bool,
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.list.iter().enumerate() {
            write!(f, "{}{error}", if i == 0 { "" } else { "\n" })?;
        }
        if self.more {
            write!(f, "\nthere are more errors")?;
        }
        Ok(())
    }
}

/// Collects errors up to the bound.
#[derive(Default)]
pub(crate) struct Collector {
    list: Vec<Error>,
    more: bool,
}

impl Collector {
    pub(crate) fn push(&mut self, error: Error) {
        if self.list.len() < MOST {
            self.list.push(error);
        } else {
            self.more = true;
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The errors as a result, each with its line of `text`.
    pub(crate) fn finish(self, text: &str) -> Result<(), Errors> {
        if self.list.is_empty() {
            return Ok(());
        }
        let mut list: Vec<Error> = self.list.into_iter().map(|error| error.show_line_of(text)).collect();
        list.sort_by_key(|error| (error.place.line, error.place.column));
        Err(Errors { list, more: self.more })
    }
}
