//! The operations: one table, from which the tree's type, the parser, the printer and the list in `docs/scenarios.md`
//! (held to it by a test) all come.

mod arg;
pub mod args;
mod table;

pub(crate) use arg::{Arg, NameVisitor};
pub use table::Operation;

/// What an operation gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Nothing but success.
    Unit,
    /// A number.
    Number,
    /// A word or text.
    Text,
    /// Bytes.
    Bytes,
    /// A set of words.
    Set,
    /// A list of words or texts.
    Texts,
    /// A record with these fields.
    Record(&'static [&'static str]),
    /// A list of records: of these kinds, with some of these fields. Empty lists: whichever.
    Records(&'static [&'static str], &'static [&'static str]),
    /// What the operation gives that is waited for.
    Any,
}

/// A row of the table of operations.
#[derive(Debug, Clone, Copy)]
pub struct OperationInfo {
    /// How it is written.
    pub name: &'static str,
    /// Which group of the reference it is in.
    pub group: &'static str,
    /// What it does, in a sentence.
    pub about: &'static str,
    /// Its arguments in order: name and type. Flags may be left out.
    pub arguments: &'static [(&'static str, &'static str)],
    /// Its arguments by name.
    pub options: &'static [(&'static str, &'static str)],
    /// What it gives.
    pub shape: Shape,
}

impl OperationInfo {
    /// `open NEW_FD PATH OPEN_FLAGS [mode=MODE]`; numbers and texts go by their names.
    #[must_use]
    pub fn usage_line(&self) -> String {
        let shown = |(name, kind): &(&str, &str)| match *kind {
            "NUMBER" | "TEXT" => name.to_uppercase(),
            kind => kind.to_owned(),
        };
        let arguments = self.arguments.iter().map(shown);
        let options = self.options.iter().map(|option| format!("[{}={}]", option.0, option.1));
        [self.name.to_owned()].into_iter().chain(arguments).chain(options).collect::<Vec<_>>().join(" ")
    }

    /// What it gives, in words.
    #[must_use]
    pub fn gives(&self) -> String {
        let code = |words: &[&str]| words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" ");
        match self.shape {
            Shape::Unit => "-".to_owned(),
            Shape::Number => "a number".to_owned(),
            Shape::Text => "a word or text".to_owned(),
            Shape::Bytes => "bytes".to_owned(),
            Shape::Set => "a set".to_owned(),
            Shape::Texts => "a list".to_owned(),
            Shape::Record(fields) => format!("a record: {}", code(fields)),
            Shape::Records([], _) => "records".to_owned(),
            Shape::Records(kinds, fields) => format!("records {} with {}", code(kinds), code(fields)),
            Shape::Any => "what was waited for".to_owned(),
        }
    }
}
