//! What the command-line tools share: exit status, messages, colour, questions, progress, interrupts, JSON, sizes,
//! documentation.
//!
//! What it knows: a terminal and a process. What it must never know: any file system. Libraries return data and typed
//! errors; only what is here and the binaries turn them into text on a screen.

#![forbid(unsafe_code)]

pub mod color;
pub mod docs;
pub mod interrupt;
pub mod json;
pub mod message;
pub mod progress;
pub mod question;
pub mod size;
pub mod status;
pub mod usage;
