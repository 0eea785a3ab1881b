//! An image from its text form ([`crate::dump`]): the same bytes, or those of a text that somebody edited.
//!
//! The text is read once, from the first line to the last, and each section is written when it ends. `ok` stands for what fits
//! the bytes as they are then, so an edited text gets right checksums: those of an inode, a directory block, a node of a map, a
//! block of attributes or of the log with their sections; those of bitmaps and descriptors, which have to know what
//! comes later, at the end, before the copies that are the same as the primary ones.
//!
//! What a line says for the reader only (the kind and name of an inode, blocks that lie `elsewhere`) is not looked at.
//!
//! Memory: one structure, a byte for each group, and the copies of descriptors that differ from the primary ones.

mod buffer;
mod dirs;
mod error;
mod groups;
mod image;
mod inodes;
mod journal;
mod maps;
mod special;
mod supers;
mod words;
mod xattrs;

pub use error::RestoreError;

use crate::dump::{TITLE, VERSION};
use daxkit_device::BlockDevice;
use error::{Fault, Read};
use image::Restorer;
use std::io::{self, BufRead, Read as _};
use std::sync::Arc;
use words::Words;

/// Longest line: a value of an attribute fits, written in escapes.
const MAX_LINE: u64 = 1 << 20;

/// The lines of a text.
struct Lines<'t> {
    text: &'t mut dyn BufRead,
    /// Number of the last one read.
    number: u64,
    bytes: Vec<u8>,
}

impl Lines<'_> {
    /// The next line, without its end; `None` behind the last.
    fn next(&mut self) -> Result<Option<&str>, RestoreError> {
        self.bytes.clear();
        let n = self.text.take(MAX_LINE).read_until(b'\n', &mut self.bytes).map_err(RestoreError::Read)?;
        if n == 0 {
            return Ok(None);
        }
        self.number += 1;
        let at = |reason: &str| Fault::from(reason).at(self.number);
        if n as u64 == MAX_LINE {
            return Err(at("a line of more than a megabyte"));
        }
        let line = self.bytes.strip_suffix(b"\n").unwrap_or(&self.bytes);
        std::str::from_utf8(line).map(Some).map_err(|_| at("not UTF-8"))
    }

    /// A line of the head: this word, and what is behind it.
    fn head<T>(&mut self, word: &str, read: impl FnOnce(&mut Words<'_>) -> Read<T>) -> Result<T, RestoreError> {
        let Some(line) = self.next()? else { return Err(RestoreError::Cut { line: self.number }) };
        let mut words = Words(line);
        let value = words.expect(word).and_then(|()| read(&mut words)).and_then(|v| words.end().map(|()| v));
        value.map_err(|fault| fault.at(self.number))
    }
}

/// Builds the image that `text` is the form of. `make` makes the device it goes to, of the length it is given, all
/// zeroes; what it returns is written, and read in places.
///
/// # Errors
/// See [`RestoreError`]. What is on the device then is no image.
pub fn restore(
    text: &mut dyn BufRead,
    make: &mut dyn FnMut(u64) -> io::Result<Arc<dyn BlockDevice>>,
) -> Result<Arc<dyn BlockDevice>, RestoreError> {
    let mut lines = Lines { text, number: 0, bytes: Vec::new() };
    lines.head(TITLE, |words| match words.word() {
        version if version == VERSION.to_string() => Ok(()),
        other => Err(Fault::Version(other.to_owned())),
    })?;
    let len: u64 = lines.head("length", |words| words.number("a length in bytes"))?;
    if i64::try_from(len).is_err() {
        return Err(Fault::from("no file can be that long").at(lines.number));
    }
    lines.head("data", |words| match words.word() {
        "full" => Ok(()),
        "hash" => Err(Fault::Hashed),
        _ => Err("data is `full` or `hash`".into()),
    })?;
    let device = make(len).map_err(RestoreError::Make)?;
    let mut image = Restorer::new(Arc::clone(&device));
    loop {
        let Some(line) = lines.next()? else { return Err(RestoreError::Cut { line: lines.number }) };
        let done = if line == "end" { image.end().map(|()| true) } else { image.line(line).map(|()| false) };
        if done.map_err(|fault| fault.at(lines.number))? {
            break;
        }
    }
    match lines.next()? {
        Some(_) => Err(Fault::from("something follows the end").at(lines.number)),
        None => Ok(device),
    }
}
