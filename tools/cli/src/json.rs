//! JSON on standard output: one document, indented, with a newline at its end.

use serde::Serialize;
use std::io::{self, Write};

/// Prints a value.
///
/// # Errors
/// Standard output cannot be written.
pub fn print(value: &impl Serialize) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    serde_json::to_writer_pretty(&mut out, value)?;
    out.write_all(b"\n")?;
    out.flush()
}
