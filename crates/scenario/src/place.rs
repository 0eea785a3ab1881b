//! Where in a scenario's text something stands.

use serde::Serialize;

/// A place in the text: line and column counted from 1, the column in characters.
///
/// **Two places are always equal.** A syntax tree carries places for messages; what it says does not depend on them, and
/// trees are compared for what they say.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Place {
    /// The line, from 1; 0 when the thing stands in no text.
    pub line: u32,
    /// The column of the first character, from 1.
    pub column: u32,
    /// How many characters it has.
    pub width: u32,
}

impl PartialEq for Place {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Place {}

impl Place {
    /// From the beginning of this one to the end of a later one on the same line.
    #[must_use]
    pub fn to(self, end: Self) -> Self {
        if end.line != self.line || end.column < self.column {
            return self;
        }
        Self { width: (end.column - self.column).saturating_add(end.width), ..self }
    }
}

/// A name that a scenario gives to something: a file system, a task, a descriptor, a mapping, a pin, a register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The name: letters, digits and `_`, not beginning with a digit.
    pub text: Box<str>,
    /// Where it stands.
    pub place: Place,
}

impl Name {
    /// A name that stands in no text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self { text: text.into(), place: Place::default() }
    }

    /// Whether `text` is a name.
    #[must_use]
    pub fn is_name(text: &str) -> bool {
        text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && text.len() <= 64
    }
}

impl core::fmt::Display for Name {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.text)
    }
}
