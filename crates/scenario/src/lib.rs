//! The scenario language: small text files in the spirit of `xfs_io` and of litmus tests, one operation a line.
//!
//! What it knows: how a scenario is written ([`parse()`], [`print()`]), what it may say ([`check()`]), how it is driven
//! against a [`Subject`] ([`run()`]) and what is told of a run ([`transcript`]). What it must never know: the emulated
//! kernel, or the real one. The language is described in `docs/scenarios.md`.
#![forbid(unsafe_code)]

pub mod ast;
pub mod case;
pub mod check;
pub mod data;
pub mod errno;
pub mod error;
pub mod letters;
pub mod matching;
pub mod ops;
pub mod parse;
pub mod place;
pub mod print;
pub mod run;
pub mod subject;
mod token;
pub mod transcript;
mod until;
pub mod value;
pub mod word;
pub mod words;

pub use ast::File;
pub use case::Case;
pub use check::check;
pub use errno::{Errno, Signal};
pub use error::{Error, Errors};
pub use ops::Operation;
pub use parse::parse;
pub use place::{Name, Place};
pub use print::print;
pub use run::{RunOptions, run, run_case};
pub use subject::{Subject, TaskRef};
pub use until::until;
pub use value::{Outcome, Record, Value};

#[cfg(test)]
mod any;
