//! What is wrong with a recipe, and where: one line, whatever the recipe holds.

use super::types::At;
use std::fmt::Display;

/// Why a recipe is not taken. Its text is `LINE:COLUMN: MESSAGE`; the name of the file is for the caller to put in front.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{}: {message}", at.line, at.column)]
pub struct RecipeError {
    /// Where.
    pub at: At,
    /// What is wrong, in one line.
    pub message: String,
}

impl RecipeError {
    /// An error at a place of the recipe. What would break the line in two is escaped.
    #[must_use]
    pub fn at(at: At, message: impl Display) -> Self {
        Self { at, message: one_line(&message.to_string()) }
    }
}

/// The text with everything escaped that ends a line or moves a cursor.
fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Most characters of a text of the recipe that a message repeats.
const LONGEST_SHOWN: usize = 60;

/// A text of the recipe in quotes, for a message: escaped, and cut where it is long.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("{:?}...", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

/// A key of the recipe between backticks, for a message: escaped, and cut where it is long.
pub(super) fn key_shown(key: &str) -> String {
    let escaped: String = key.chars().take(LONGEST_SHOWN + 1).flat_map(char::escape_debug).collect();
    format!("`{}`", cut(escaped))
}

/// A text that is escaped already, cut where it is long.
pub(super) fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(LONGEST_SHOWN) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line() {
        let error = RecipeError::at(At { line: 3, column: 7 }, "a\nb\u{1b}[2Jc\u{2028}d\u{85}");
        assert_eq!(error.to_string(), "3:7: a\\nb\\u{1b}[2Jc\\u{2028}d\\u{85}");
    }

    #[test]
    fn what_is_repeated_is_escaped_and_cut() {
        assert_eq!(quoted("a\"\n"), r#""a\"\n""#);
        assert_eq!(quoted(&"\u{e4}".repeat(61)), format!("\"{}\"...", "\u{e4}".repeat(60)));
        assert_eq!(key_shown("si\u{202e}ze\n"), "`si\\u{202e}ze\\n`");
        assert_eq!(key_shown(&"k".repeat(61)), format!("`{}...`", "k".repeat(60)));
    }
}
