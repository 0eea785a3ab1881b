//! A command line cut into words by debugfs's rules (those of its `ss` library): blanks separate, double quotes hold
//! together, two double quotes inside quotes are one. There is no backslash.

use crate::output::shown;
use anyhow::{Context, Result};

/// The words of `line`; `None` when a quote does not end.
pub(crate) fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    if !line.contains(&b'"') {
        let words = line.split(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n'));
        return Some(words.filter(|word| !word.is_empty()).map(<[u8]>::to_vec).collect());
    }
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quoted = false;
    let mut bytes = line.iter().copied().peekable();
    while let Some(b) = bytes.next() {
        match b {
            b'"' if quoted && bytes.peek() == Some(&b'"') => {
                bytes.next();
                word.get_or_insert_default().push(b'"');
            }
            b'"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            b' ' | b'\t' | b'\r' | b'\n' if !quoted => words.extend(word.take()),
            b => word.get_or_insert_default().push(b),
        }
    }
    words.extend(word);
    (!quoted).then_some(words)
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
        split(line.as_bytes()).map(|w| w.into_iter().map(|w| String::from_utf8(w).unwrap()).collect())
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
}
