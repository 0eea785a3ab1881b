//! From text to TOML: the first error in the order of the text, and a document that can be dropped.
//!
//! `toml` bounds brackets and the dots of one key at 80 each, but not their product: keys with dots inside nested inline
//! tables make a document of some thousand levels, and dropping it recursively overflows the stack of a thread. So the
//! document is always taken over, errors or not, and taken apart in a loop. Nothing else here descends further than the
//! language does.

use super::error::key_shown;
use super::position::Lines;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A document, taken apart in a loop when it is dropped.
pub(super) struct Document<'t>(DeTable<'t>);

impl<'t> Document<'t> {
    /// Reads a text.
    ///
    /// # Errors
    /// The first thing in it that is not TOML: its offset in bytes, and what is wrong.
    pub(super) fn read(text: &'t str, lines: &Lines<'_>) -> Result<Self, (usize, String)> {
        let (document, errors) = Self::recover(text);
        let at = |e: &toml::de::Error| e.span().map_or_else(|| dotted_line(text), |span| span.start);
        let Some(first) = errors.iter().min_by_key(|e| at(e)) else { return Ok(document) };
        let offset = at(first);
        let key = first.span().and_then(|span| text.get(span));
        Err((offset, key.and_then(|key| twice(text, lines, offset, key, first)).unwrap_or_else(|| message(first))))
    }

    /// Its top table.
    pub(super) fn top(&self) -> &DeTable<'t> {
        &self.0
    }

    fn recover(text: &'t str) -> (Self, Vec<toml::de::Error>) {
        let (table, errors) = DeTable::parse_recoverable(text);
        (Self(table.into_inner()), errors)
    }
}

impl Drop for Document<'_> {
    fn drop(&mut self) {
        let mut tables = vec![std::mem::take(&mut self.0)];
        let mut values = Vec::new();
        while let Some(table) = tables.pop() {
            values.extend(table.into_iter().map(|(_, value)| value.into_inner()));
            while let Some(value) = values.pop() {
                match value {
                    DeValue::Table(table) => tables.push(table),
                    DeValue::Array(array) => values.extend(array.into_iter().map(Spanned::into_inner)),
                    _ => {}
                }
            }
        }
    }
}

/// The message of `toml`, in the terms of whoever wrote the recipe.
fn message(error: &toml::de::Error) -> String {
    let message = error.message().trim_end_matches(", expected nothing");
    match message {
        "recursion limit" => "a key has more than 80 parts".to_owned(),
        "unexpected leading zero" => "a number begins with 0; octal is written 0o644".to_owned(),
        _ => message.to_owned(),
    }
}

/// The only error without a position is that of a key with too many dots: the first line that can hold one.
fn dotted_line(text: &str) -> usize {
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        if line.matches('.').count() >= 80 {
            return offset;
        }
        offset += line.len();
    }
    0
}

/// The message for a key given twice, with the place of the first where it can be found again.
fn twice(text: &str, lines: &Lines<'_>, offset: usize, key: &str, error: &toml::de::Error) -> Option<String> {
    if error.message() != "duplicate key" {
        return None;
    }
    // What stands before the second key is free of errors, apart from not being closed.
    let (before, _) = Document::recover(text.get(..offset)?);
    let name = key.trim_matches(['"', '\'']);
    let first = first_of(&before.0, text.get(..offset)?, name);
    let line = first.map_or_else(String::new, |at| format!(", first on line {}", lines.at(at).line));
    Some(format!("{} is given twice{line}", key_shown(name)))
}

/// The offset of the key `name` in the table to which the end of a text belongs, where a second key of that name follows.
fn first_of(top: &DeTable<'_>, text: &str, name: &str) -> Option<usize> {
    let line = text.rsplit('\n').next().unwrap_or_default().trim();
    let (mut table, path) = match line.trim_start_matches('[') {
        // Behind an open bracket stands the name of a table, by its path from the top.
        path if path.len() < line.len() => (top, path),
        path => (open_table(top, text.trim_end()), path),
    };
    if let Some(path) = path.strip_suffix('.') {
        for part in path.split('.') {
            table = inner(table.get(part.trim().trim_matches(['"', '\'']))?)?;
        }
    }
    table.get_key_value(name).map(|(key, _)| key.span().start)
}

/// The innermost table that the end of a text is in: that of the last header, or in it one whose bracket is not closed.
fn open_table<'a, 't>(top: &'a DeTable<'t>, text: &str) -> &'a DeTable<'t> {
    let mut table = top;
    while let Some((key, value)) = table.iter().max_by_key(|(_, value)| last_start(value))
        && let Some(next) = inner(value)
    {
        // The span of a table with a header is the header alone, that of one by dots is its key.
        let header = key.span() != value.span() && next.values().any(|v| v.span().start >= last_end(value));
        let unclosed = text.ends_with(',') && last_end(value) >= text.len();
        if !header && !unclosed {
            break;
        }
        table = next;
    }
    table
}

/// A table, or the last of a list of tables.
fn inner<'a, 't>(mut value: &'a Spanned<DeValue<'t>>) -> Option<&'a DeTable<'t>> {
    while let DeValue::Array(array) = value.get_ref() {
        value = array.last()?;
    }
    value.get_ref().as_table()
}

/// Where a value begins; of an array of tables, where the last of them does.
fn last_start(value: &Spanned<DeValue<'_>>) -> usize {
    match value.get_ref() {
        DeValue::Array(array) => array.last().map_or(0, |last| last.span().start).max(value.span().start),
        _ => value.span().start,
    }
}

/// Where a value ends; of an array of tables, where the last of them does.
fn last_end(value: &Spanned<DeValue<'_>>) -> usize {
    match value.get_ref() {
        DeValue::Array(array) => array.last().map_or(0, |last| last.span().end).max(value.span().end),
        _ => value.span().end,
    }
}
