//! One line, word by word.

use super::error::Read;
use daxkit_format::field::{parse_hex, parse_number, quote, unquote};

/// What is left of a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words<'a>(pub(super) &'a str);

impl<'a> Words<'a> {
    /// The next word; empty at the end.
    pub(super) fn word(&mut self) -> &'a str {
        let text = self.0.trim_start_matches(' ');
        let (word, rest) = text.split_at(text.find(' ').unwrap_or(text.len()));
        self.0 = rest;
        word
    }

    /// What comes next, without taking it.
    pub(super) fn peek(&self) -> &'a str {
        Self(self.0).word()
    }

    /// The rest of the line.
    pub(super) fn rest(&mut self) -> &'a str {
        std::mem::take(&mut self.0).trim_start_matches(' ')
    }

    /// Takes the next word if it is this one.
    pub(super) fn takes(&mut self, word: &str) -> bool {
        let found = self.peek() == word;
        if found {
            self.word();
        }
        found
    }

    /// Takes this word.
    pub(super) fn expect(&mut self, word: &str) -> Read {
        if self.takes(word) { Ok(()) } else { Err(format!("{word} is missing before {}", self.shown()).into()) }
    }

    /// A number.
    pub(super) fn number<T: TryFrom<u64>>(&mut self, what: &str) -> Read<T> {
        number(self.word(), what)
    }

    /// `@BLOCK`.
    pub(super) fn at(&mut self) -> Read<u64> {
        let word = self.word();
        let digits =
            word.strip_prefix('@').ok_or_else(|| format!("@BLOCK is missing before {}", quote(word.as_bytes())))?;
        number(digits, "a block number")
    }

    /// A text in quotes.
    pub(super) fn quoted(&mut self) -> Read<Vec<u8>> {
        let text = self.0.trim_start_matches(' ');
        let (bytes, rest) =
            unquote(text).ok_or_else(|| format!("a text in quotes is missing before {}", self.shown()))?;
        self.0 = rest;
        Ok(bytes)
    }

    /// A text in quotes, or `0xHEX`.
    pub(super) fn bytes(&mut self) -> Read<Vec<u8>> {
        if self.0.trim_start_matches(' ').starts_with('"') {
            return self.quoted();
        }
        let word = self.word();
        let hex = word.strip_prefix("0x").and_then(parse_hex);
        hex.ok_or_else(|| format!("{}: neither a text in quotes nor 0x with digits", quote(word.as_bytes())).into())
    }

    /// A text in quotes, or hexadecimal digits: what lies at a place.
    pub(super) fn content(&mut self) -> Read<Vec<u8>> {
        if self.0.trim_start_matches(' ').starts_with('"') {
            return self.quoted();
        }
        let word = self.word();
        if word.starts_with("blake3:") {
            return Err(super::error::Fault::Hashed);
        }
        let hex = parse_hex(word).filter(|bytes| !bytes.is_empty() && !word.starts_with("0x"));
        hex.ok_or_else(|| format!("{}: neither a text in quotes nor hexadecimal digits", quote(word.as_bytes())).into())
    }

    /// Nothing may follow.
    pub(super) fn end(&self) -> Read {
        if self.0.trim_matches(' ').is_empty() { Ok(()) } else { Err(format!("{} is too much", self.shown()).into()) }
    }

    fn shown(&self) -> String {
        match self.0.trim_matches(' ') {
            "" => "the end of the line".to_owned(),
            text => quote(text.as_bytes()),
        }
    }
}

/// A number that fits.
pub(super) fn number<T: TryFrom<u64>>(word: &str, what: &str) -> Read<T> {
    let fits = parse_number(word).and_then(|n| T::try_from(n).ok());
    fits.ok_or_else(|| format!("{}: not {what}", quote(word.as_bytes())).into())
}

/// `FIRST-LAST` or one number.
pub(super) fn range<T: TryFrom<u64> + Copy + PartialOrd>(word: &str, what: &str) -> Read<(T, T)> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    let (first, last) = (number(first, what)?, number(last, what)?);
    if last < first {
        return Err(format!("{word}: ends before it begins").into());
    }
    Ok((first, last))
}
