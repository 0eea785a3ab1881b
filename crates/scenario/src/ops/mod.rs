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
    /// Its arguments in order, then those by name.
    pub usage: &'static [&'static str],
    /// What it gives.
    pub shape: Shape,
}

impl OperationInfo {
    /// `open NEW_FD PATH OPEN_FLAGS [mode=MODE]`.
    #[must_use]
    pub fn usage_line(&self) -> String {
        [&[self.name][..], self.usage].concat().join(" ")
    }
}
