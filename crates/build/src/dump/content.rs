//! The data of files and of free blocks: hashed, or in full.

use super::cover::LINE;
use super::image::Image;
use super::{Data, DumpError};
use daxkit_format::field::{quote, to_hex};
use std::io::Write;
use std::ops::Range;

/// Bytes read at once.
const CHUNK: u64 = 1 << 20;

/// Longest piece of text on one line.
const TEXT_LINE: usize = 96;

static ZEROES: [u8; 1 << 16] = [0; 1 << 16];

/// A hash over pieces of content, which also knows whether they were all zero.
#[derive(Default)]
pub(super) struct Digest {
    hasher: blake3::Hasher,
    len: u64,
    some: bool,
}

impl Digest {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        self.some |= bytes.iter().any(|b| *b != 0);
    }

    fn zeroes(&mut self, mut len: u64) {
        self.len += len;
        while len > 0 {
            let n = len.min(ZEROES.len() as u64);
            self.hasher.update(ZEROES.get(..n as usize).unwrap_or_default());
            len -= n;
        }
    }

    /// `{indent}{what} blake3:HASH BYTES`; nothing when all was zero.
    pub(super) fn finish(self, out: &mut dyn Write, indent: &str, what: &str) -> Result<(), DumpError> {
        if self.some {
            writeln!(out, "{indent}{what} blake3:{} {} bytes", self.hasher.finalize().to_hex(), self.len)?;
        }
        Ok(())
    }
}

impl Image<'_> {
    /// Feeds bytes of the image to `digest`.
    pub(super) fn hash(&mut self, range: Range<u64>, digest: &mut Digest) -> Result<(), DumpError> {
        let mut at = range.start;
        while at < range.end {
            let data = self.data_from(at)?.unwrap_or(range.end).min(range.end);
            digest.zeroes(data - at);
            at = data;
            if at < range.end {
                let n = (range.end - at).min(CHUNK);
                digest.update(&self.read(at, n as usize)?);
                at += n;
            }
        }
        Ok(())
    }

    /// Prints bytes of the image that are not zero, as text where they are text; `header` before the first. `place` makes the place of an
    /// offset from the range's start.
    pub(super) fn full(
        &mut self,
        range: Range<u64>,
        mut header: Option<&str>,
        place: &dyn Fn(u64) -> String,
    ) -> Result<(), DumpError> {
        let mut at = range.start;
        while at < range.end {
            let data = self.data_from(at)?.unwrap_or(range.end).min(range.end);
            at = data;
            if at < range.end {
                // Whole blocks at a time, so that a line never crosses the end of one.
                let n = (range.end - at).min(CHUNK - at % CHUNK);
                let bytes = self.read(at, n as usize)?;
                let base = at - range.start;
                for (offset, line) in Lines::new(&bytes) {
                    if let Some(header) = header.take() {
                        writeln!(self.out, "  {header}")?;
                    }
                    writeln!(self.out, "  {} {line}", place(base + offset as u64))?;
                }
                at += n;
            }
        }
        Ok(())
    }

    pub(super) fn wants_full(&self) -> bool {
        self.options.data == Data::Full
    }
}

/// Cuts bytes into printable lines, zeroes left out.
pub(super) struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The line before was text that did not end: what follows it may be short and is text all the same.
    inside: bool,
}

impl<'a> Lines<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, inside: false }
    }
}

impl Iterator for Lines<'_> {
    type Item = (usize, String);

    fn next(&mut self) -> Option<(usize, String)> {
        let rest = self.bytes.get(self.at..)?;
        let start = self.at + rest.iter().position(|b| *b != 0)?;
        // A line never crosses a multiple of 1 KiB, the smallest block.
        let room = 1024 - start % 1024;
        let rest = self.bytes.get(start..)?;
        let text = rest.iter().take(TEXT_LINE.min(room)).take_while(|b| is_text(**b)).count();
        let text = rest.iter().take(text).position(|b| *b == b'\n').map_or(text, |i| i + 1);
        let goes_on = self.inside && start == self.at && text > 0;
        if text >= 8 || goes_on || (text > 0 && rest.get(text - 1) == Some(&b'\n')) {
            self.at = start + text;
            self.inside = rest.get(text - 1) != Some(&b'\n');
            return Some((start, quote(rest.get(..text)?)));
        }
        let line = rest.get(..rest.len().min(LINE).min(room))?;
        let used = line.iter().rposition(|b| *b != 0)? + 1;
        self.at = start + line.len();
        self.inside = false;
        Some((start, to_hex(line.get(..used)?)))
    }
}

fn is_text(b: u8) -> bool {
    b == b'\n' || b == b'\t' || (0x20..0x7f).contains(&b) || b >= 0x80
}

/// Short bytes as text when they look like it, else in hexadecimal; zeroes at the end are left out.
pub(super) fn short(bytes: &[u8]) -> String {
    let used = bytes.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
    let bytes = bytes.get(..used).unwrap_or_default();
    exact(bytes)
}

/// As [`short`], with every byte.
pub(super) fn exact(bytes: &[u8]) -> String {
    let looks = bytes.iter().all(|b| *b != 0 && is_text(*b)) && std::str::from_utf8(bytes).is_ok();
    if looks { quote(bytes) } else { format!("0x{}", to_hex(bytes)) }
}
