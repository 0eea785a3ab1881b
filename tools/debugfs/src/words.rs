//! A command line cut into words by debugfs's rules (those of its `ss` library): blanks separate, double quotes hold
//! together, two double quotes inside quotes are one. There is no backslash.

use crate::output::shown;
use anyhow::{Context, Result};
use std::ops::Range;

/// Puts the words of `line` into `words`, whose memory is used again; `false` when a quote does not end.
pub(crate) fn split(line: &[u8], words: &mut Vec<Vec<u8>>) -> bool {
    let mut n = 0;
    let mut add = |word: &[u8]| {
        match words.get_mut(n) {
            Some(old) => {
                old.clear();
                old.extend_from_slice(word);
            }
            None => words.push(word.to_vec()),
        }
        n += 1;
    };
    let complete = if line.contains(&b'"') {
        let cut = cut(line);
        cut.words.iter().for_each(|word| add(&word.bytes));
        !cut.quoted
    } else {
        let parts = line.split(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n'));
        parts.filter(|word| !word.is_empty()).for_each(add);
        true
    };
    words.truncate(n);
    complete
}

/// Text that was pasted as its lines: newlines inside quotes belong to words, and comments have no quotes.
pub(crate) fn lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let (mut start, mut quoted, mut comment) = (0, false, false);
    for (at, c) in text.char_indices() {
        let line = text.get(start..at).unwrap_or_default();
        match c {
            '\n' if !quoted => {
                lines.push(line);
                (start, comment) = (at + 1, false);
            }
            '#' if line.trim_ascii_start().is_empty() => comment = true,
            '"' if !comment => quoted = !quoted,
            _ => {}
        }
    }
    lines.push(text.get(start..).unwrap_or_default());
    lines
}

/// A line cut into words.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    pub(crate) words: Vec<Word>,
    /// The line ends inside quotes.
    pub(crate) quoted: bool,
}

/// A word of a line.
#[derive(Debug, Default)]
pub(crate) struct Word {
    /// What it says, without quotes.
    pub(crate) bytes: Vec<u8>,
    /// Where it begins and ends in the line, quotes included.
    pub(crate) range: Range<usize>,
    /// Some of it is in quotes.
    pub(crate) has_quotes: bool,
}

/// Cuts a line, whether it is complete or not.
pub(crate) fn cut(line: &[u8]) -> Cut {
    let mut cut = Cut::default();
    let mut word: Option<Word> = None;
    let mut bytes = line.iter().copied().enumerate().peekable();
    while let Some((at, b)) = bytes.next() {
        if matches!(b, b' ' | b'\t' | b'\r' | b'\n') && !cut.quoted {
            cut.words.extend(word.take());
            continue;
        }
        let word = word.get_or_insert_with(|| Word { range: at..at, ..Word::default() });
        match b {
            b'"' if cut.quoted && bytes.peek().is_some_and(|(_, next)| *next == b'"') => {
                bytes.next();
                word.bytes.push(b'"');
                word.range.end = at + 2;
                continue;
            }
            b'"' => {
                cut.quoted = !cut.quoted;
                word.has_quotes = true;
            }
            b => word.bytes.push(b),
        }
        word.range.end = at + 1;
    }
    cut.words.extend(word);
    cut
}

/// Whether a word has to stand in quotes.
pub(crate) fn needs_quotes(word: &str) -> bool {
    word.is_empty() || word.contains([' ', '\t', '\r', '\n', '"'])
}

/// A word in quotes, the last of them left out: more of the word may follow.
pub(crate) fn quote_open(word: &str) -> String {
    format!("\"{}", word.replace('"', "\"\""))
}

/// A word as it stands in a line.
pub(crate) fn quote(word: &str) -> String {
    if needs_quotes(word) { quote_open(word) + "\"" } else { word.to_owned() }
}

/// A number as C writes it (`12`, `0x1f`, `017`); `what` is said when it is none.
pub(crate) fn number(word: &[u8], what: &str) -> Result<u64> {
    let text = std::str::from_utf8(word).ok();
    text.and_then(daxkit_format::field::parse_number).with_context(|| format!("{}: not {what}", shown(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Option<Vec<String>> {
        // What was there before does not show.
        let mut words = vec![b"old".to_vec(); 3];
        split(line.as_bytes(), &mut words).then(|| words.into_iter().map(|w| String::from_utf8(w).unwrap()).collect())
    }

    #[test]
    fn quotes_hold_together_and_double_to_stand_for_themselves() {
        let some = |w: &[&str]| Some(w.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        assert_eq!(words("ls  -l\t/a "), some(&["ls", "-l", "/a"]));
        assert_eq!(words("cat \"a b\"c"), some(&["cat", "a bc"]));
        assert_eq!(words("cat \"a \"\"b\"\"\""), some(&["cat", "a \"b\""]));
        assert_eq!(words("cat \"\""), some(&["cat", ""]));
        assert_eq!(words("  "), some(&[]));
        assert_eq!(words("a\\ b"), some(&["a\\", "b"]));
        assert_eq!(words("a \"b"), None);
    }

    #[test]
    fn what_is_quoted_reads_back_as_it_was() {
        for word in ["a", "", "a b", "\"", "a\"b", "\"\"", " ", "a\tb\nc", "é \"x\" "] {
            assert_eq!(words(&quote(word)), Some(vec![word.to_owned()]), "{word:?}");
            assert_eq!(words(&(quote_open(word) + "\"")), Some(vec![word.to_owned()]), "{word:?}");
        }
        assert_eq!(quote("a/b"), "a/b");
    }

    #[test]
    fn pasted_text_is_lines() {
        assert_eq!(lines("ls"), ["ls"]);
        assert_eq!(lines("ls\n  # don\"t\ncat \"two\nlines\"\n"), ["ls", "  # don\"t", "cat \"two\nlines\"", ""]);
        assert_eq!(lines("cat \"a\"\"\nb"), ["cat \"a\"\"\nb"]);
    }

    #[test]
    fn words_know_where_they_stand() {
        let line = br#"cat  "a ""b"c d"#;
        let cut = cut(line);
        let ranges: Vec<&[u8]> = cut.words.iter().map(|w| &line[w.range.clone()]).collect();
        assert_eq!(ranges, [&b"cat"[..], br#""a ""b"c"#, b"d"]);
        assert_eq!(cut.words.iter().map(|w| w.has_quotes).collect::<Vec<_>>(), [false, true, false]);
        let open = super::cut(b"cat \"a b");
        assert!(open.quoted && open.words[1].bytes == b"a b" && open.words[1].range == (4..8));
    }
}
