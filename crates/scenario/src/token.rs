//! Tokens: a line of text cut into words, numbers, quoted texts and signs.

use crate::error::Error;
use crate::place::Place;

/// A token and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) place: Place,
    /// A blank, or the beginning of the line, is before it.
    pub(crate) apart: bool,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Characters that stand together and are no sign.
    Bare(String),
    /// Bytes in quotes.
    Quoted(Vec<u8>),
    /// One of [`SIGNS`].
    Sign(&'static str),
}

/// Signs, longer ones first.
pub(crate) const SIGNS: [&str; 17] =
    ["->", "!=", ">=", "<=", "=", "!", ">", "<", "*", "|", ",", "{", "}", "[", "]", "(", ")"];

/// Whether a character may stand in a bare word.
pub(crate) fn is_bare(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':' | '+' | '^' | '@' | '%' | '~' | '?' | '&' | '$')
}

/// The tokens of a line; a comment ends it.
pub(crate) fn tokens(line: &str, number: u32) -> Result<Vec<Token>, Error> {
    let chars: Vec<char> = line.chars().collect();
    let place = |from: usize, to: usize| Place {
        line: number,
        column: u32::try_from(from).unwrap_or(u32::MAX).saturating_add(1),
        width: u32::try_from(to - from).unwrap_or(u32::MAX),
    };
    let mut tokens = Vec::new();
    let (mut at, mut apart) = (0, true);
    while let Some(&c) = chars.get(at) {
        if c == '#' {
            break;
        }
        if c == ' ' || c == '\t' || c == '\r' {
            (at, apart) = (at + 1, true);
            continue;
        }
        let start = at;
        let sign = SIGNS.iter().find(|sign| chars[at..].iter().take(sign.len()).copied().eq(sign.chars()));
        let kind = if let Some(sign) = sign {
            at += sign.len();
            Kind::Sign(sign)
        } else if c == '"' {
            let (bytes, end) = quoted(&chars, at).map_err(|(from, why)| Error::new(place(from, from + 1), why))?;
            at = end;
            Kind::Quoted(bytes)
        } else if is_bare(c) {
            // `->` ends a word: `m->r` is three tokens, `-x` is one.
            while chars.get(at).is_some_and(|c| is_bare(*c)) && !chars[at..].starts_with(&['-', '>']) {
                at += 1;
            }
            Kind::Bare(chars[start..at].iter().collect())
        } else {
            return Err(Error::new(place(at, at + 1), format!("{c:?} has no meaning here")));
        };
        // A colon at the end of a word is a sign of its own: `A: load`.
        match kind {
            Kind::Bare(mut word) if word.len() > 1 && word.ends_with(':') => {
                word.pop();
                tokens.push(Token { kind: Kind::Bare(word), place: place(start, at - 1), apart });
                tokens.push(Token { kind: Kind::Sign(":"), place: place(at - 1, at), apart: false });
            }
            kind => tokens.push(Token { kind, place: place(start, at), apart }),
        }
        apart = false;
    }
    Ok(tokens)
}

/// The bytes of a quoted text that begins at `start`, and where it has ended.
fn quoted(chars: &[char], start: usize) -> Result<(Vec<u8>, usize), (usize, String)> {
    let mut bytes = Vec::new();
    let mut at = start + 1;
    while let Some(&c) = chars.get(at) {
        at += 1;
        match c {
            '"' => return Ok((bytes, at)),
            '\\' => {
                let escape = chars.get(at).copied();
                at += 1;
                match escape {
                    Some('n') => bytes.push(b'\n'),
                    Some('t') => bytes.push(b'\t'),
                    Some('0') => bytes.push(0),
                    Some(c @ ('"' | '\\')) => bytes.push(c as u8),
                    Some('x') => {
                        let digit = |at: usize| chars.get(at).and_then(|c| c.to_digit(16));
                        let (Some(high), Some(low)) = (digit(at), digit(at + 1)) else {
                            return Err((at - 2, "`\\x` needs two hexadecimal digits".to_owned()));
                        };
                        bytes.push((high * 16 + low) as u8);
                        at += 2;
                    }
                    _ => {
                        return Err((
                            at - 2,
                            "there is no such escape; there are \\n \\t \\0 \\\\ \\\" \\xHH".to_owned(),
                        ));
                    }
                }
            }
            c => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Err((start, "the quotes are not closed".to_owned()))
}
