//! The bytes of one structure while they are printed: who has been shown, and what is left over.

use super::DumpError;
use daxkit_format::field::to_hex;
use std::io::Write;
use std::ops::Range;

/// Bytes in one line of a hexadecimal dump.
pub(super) const LINE: usize = 32;

/// Bytes, and which of them have been printed.
pub(super) struct Cover<'a> {
    bytes: &'a [u8],
    shown: Vec<bool>,
}

impl<'a> Cover<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, shown: vec![false; bytes.len()] }
    }

    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Marks bytes as printed.
    pub(super) fn mark(&mut self, range: Range<usize>) {
        if let Some(part) = self.shown.get_mut(range) {
            part.fill(true);
        }
    }

    /// Marks bytes as printed if none of them was; `false`, and nothing done, otherwise or when they are not all there.
    pub(super) fn take(&mut self, range: Range<usize>) -> bool {
        match self.shown.get_mut(range) {
            Some(part) if part.iter().all(|s| !s) => {
                part.fill(true);
                true
            }
            _ => false,
        }
    }

    /// Prints what has not been shown and is not zero: `{indent}{place}+0xOFFSET HEX`, the offset counted from `base`
    /// before these bytes.
    pub(super) fn rest(self, out: &mut dyn Write, indent: &str, place: &str, base: usize) -> Result<(), DumpError> {
        let mut at = 0;
        let unseen = |i: usize| self.shown.get(i) == Some(&false);
        while at < self.bytes.len() {
            if !unseen(at) || self.bytes.get(at) == Some(&0) {
                at += 1;
                continue;
            }
            let mut end = at;
            let mut used = at;
            while end < at + LINE && unseen(end) {
                if self.bytes.get(end).is_some_and(|b| *b != 0) {
                    used = end + 1;
                }
                end += 1;
            }
            let line = self.bytes.get(at..used).unwrap_or_default();
            writeln!(out, "{indent}{place}+{:#x} {}", base + at, to_hex(line))?;
            at = end;
        }
        Ok(())
    }
}
