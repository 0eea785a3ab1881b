//! Values that many keys share: sizes, ranges, bytes, paths.

use super::reader::Field;
use super::schema;
use crate::options::bytes;
use base64::Engine;
use base64::prelude::BASE64_STANDARD as STANDARD;
use daxkit_format::field::parse_hex;
use std::ops::Range;
use std::path::PathBuf;

/// Largest size and offset of anything: what a file's length can be (`loff_t`).
const MOST: u64 = i64::MAX as u64;
/// Longest name in a directory (`EXT4_NAME_LEN`).
pub(super) const LONGEST_NAME: usize = 255;

const SIZE: &str = "a size such as 4096, \"3M\" or \"3M-512\"";
const RANGE: &str = "a range such as \"1M..2M\" or \"3M..\"";

/// A size in bytes: an integer, or text as [`sum`] reads it.
pub(super) fn size(field: Field<'_>) -> Option<u64> {
    if let Some(n) = field.integer() {
        return match u64::try_from(n) {
            Ok(n) if n <= MOST => Some(n),
            Ok(_) => field.refuse("is more than 2^63-1 bytes"),
            Err(_) => field.wants(SIZE),
        };
    }
    size_in(field, field.text(SIZE)?)
}

/// A size that stands in `text`, a part of the value.
fn size_in(field: Field<'_>, text: &str) -> Option<u64> {
    match sum(text) {
        Ok(n) => Some(n),
        Err(SumError::Syntax) => field.wants(SIZE),
        Err(SumError::Large) => field.refuse("is more than 2^63-1 bytes"),
        Err(SumError::Negative) => field.refuse("is less than 0"),
    }
}

enum SumError {
    Syntax,
    Large,
    Negative,
}

/// Numbers of bytes as the command line has them (`4096`, `0x1000`, `3M`), added and subtracted (`3M-512`).
fn sum(text: &str) -> Result<u64, SumError> {
    let mut total = 0i128;
    let mut rest = text;
    let mut sign = 1;
    loop {
        let end = rest.find(['+', '-']).unwrap_or(rest.len());
        let (term, behind) = rest.split_at_checked(end).ok_or(SumError::Syntax)?;
        let term = term.trim_matches(' ');
        let n = bytes(term, 1).ok_or_else(|| if is_size(term) { SumError::Large } else { SumError::Syntax })?;
        // As many terms as would overflow this do not fit in memory.
        total = total.saturating_add(sign * i128::from(n));
        let mut after = behind.chars();
        sign = match after.next() {
            None => break,
            Some('-') => -1,
            Some(_) => 1,
        };
        rest = after.as_str();
    }
    match u64::try_from(total) {
        Ok(n) if n <= MOST => Ok(n),
        Ok(_) => Err(SumError::Large),
        Err(_) if total < 0 => Err(SumError::Negative),
        Err(_) => Err(SumError::Large),
    }
}

/// True for a size that was refused for being large alone.
fn is_size(term: &str) -> bool {
    let digits = term.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G', 't', 'T', 's']).unwrap_or(term);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// A list of ranges in bytes, in order and apart. `end` is where an open one ends: the size of the file, `u64::MAX` where that
/// is not known yet.
pub(super) fn ranges(field: Field<'_>, end: u64) -> Option<Vec<Range<u64>>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for element in field.list("a list of ranges such as [\"1M..2M\", \"3M..\"]")? {
        let range = range(element, end)?;
        if let Some(last) = ranges.last().filter(|last| range.start < last.end) {
            return element.refuse(format_args!(
                "wants ranges in order and apart; this one begins at {}, before {}, the end of the one before it",
                range.start, last.end
            ));
        }
        ranges.push(range);
    }
    Some(ranges)
}

fn range(field: Field<'_>, end: u64) -> Option<Range<u64>> {
    let Some((from, to)) = field.text(RANGE)?.split_once("..") else { return field.wants(RANGE) };
    let start = size_in(field, from)?;
    let open = to.trim_matches(' ').is_empty();
    let end = if open { end } else { size_in(field, to)? };
    if start < end {
        return Some(start..end);
    }
    if open {
        return field.refuse(format_args!("has a range from {start} to the end of the file, which is at {end}"));
    }
    field.refuse(format_args!("has an empty range, from {start} to {end}"))
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(field: Field<'_>) -> Option<Vec<u8>> {
    const WANTED: &str = "pairs of hexadecimal digits such as \"00ff\"";
    parse_hex(field.text(WANTED)?).or_else(|| field.wants(WANTED))
}

/// Bytes in base64 (RFC 4648 section 4, padded).
pub(super) fn base64(field: Field<'_>) -> Option<Vec<u8>> {
    const WANTED: &str = "base64 with its padding, such as \"AP8=\"";
    STANDARD.decode(field.text(WANTED)?).ok().or_else(|| field.wants(WANTED))
}

/// A text, or bytes as `{ bytes = "2f61ff" }`; not empty and without a NUL.
pub(super) fn path_bytes(field: Field<'_>) -> Option<Vec<u8>> {
    let bytes = match field.as_table(&schema::PATH) {
        Some(table) => hex(table.need("bytes")?)?,
        None => field.text("a path, or { bytes = \"HEX\" }")?.as_bytes().to_vec(),
    };
    if bytes.is_empty() {
        return field.refuse("is empty");
    }
    if bytes.contains(&0) {
        return field.refuse("holds a NUL, which ends every path");
    }
    Some(bytes)
}

/// An absolute path in the image, its slashes squeezed.
pub(super) fn image_path(field: Field<'_>) -> Option<Vec<u8>> {
    let bytes = path_bytes(field)?;
    if bytes.first() != Some(&b'/') {
        return field.refuse("wants an absolute path in the image: it begins with `/`");
    }
    let mut clean = Vec::with_capacity(bytes.len());
    for name in bytes.split(|b| *b == b'/').filter(|name| !name.is_empty()) {
        if name == b"." || name == b".." {
            return field.refuse(format_args!("has the component `{}`", name.escape_ascii()));
        }
        if name.len() > LONGEST_NAME {
            return field.refuse(format_args!("has a name of {} bytes; the most is {LONGEST_NAME}", name.len()));
        }
        clean.push(b'/');
        clean.extend_from_slice(name);
    }
    if clean.is_empty() {
        clean.push(b'/');
    }
    Some(clean)
}

/// A path of the host, relative ones from the recipe's directory.
pub(super) fn host_path(field: Field<'_>) -> Option<PathBuf> {
    let text = field.text("a path of the host")?;
    if text.is_empty() {
        return field.refuse("is empty");
    }
    if text.contains('\0') {
        return field.refuse("holds a NUL, which ends every path");
    }
    Some(field.reader.dir.join(text))
}

/// User and group as `UID:GID`.
pub(super) fn owner(field: Field<'_>) -> Option<(u32, u32)> {
    const WANTED: &str = "\"UID:GID\" in numbers";
    pair(field.text(WANTED)?).or_else(|| field.wants(WANTED))
}

/// Two decimal numbers with a colon between.
pub(super) fn pair(text: &str) -> Option<(u32, u32)> {
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?;
    let (one, other) = text.split_once(':')?;
    Some((number(one)?, number(other)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_add_and_subtract() {
        for (text, expected) in [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("0x1000", Some(4096)),
            ("3M", Some(3 << 20)),
            ("3M-512", Some((3 << 20) - 512)),
            ("1G + 2k - 1", Some((1 << 30) + 2047)),
            ("1-2+1", Some(0)),
            ("9223372036854775807", Some(MOST)),
            ("8388607T+1023G+1023M+1023K+1023", Some(MOST)),
            ("9223372036854775808", None),
            ("8388608T", None),
            ("1-2", None),
            ("", None),
            ("3M+", None),
            ("-1", None),
            ("+1", None),
            ("3MB", None),
            ("1.5M", None),
            ("\u{e4}", None),
        ] {
            assert_eq!(sum(text).ok(), expected, "{text}");
        }
        assert!(matches!(sum("99999999999999999999999"), Err(SumError::Large)));
        assert!(matches!(sum("18014398509481984T"), Err(SumError::Large)));
        assert!(matches!(sum("1-2"), Err(SumError::Negative)));
    }

    /// The vectors of RFC 4648 section 10, and what is not base64.
    #[test]
    fn base64_has_one_spelling_for_each_value() {
        for (text, value) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmE=", "fooba"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(STANDARD.decode(text).ok().as_deref(), Some(value.as_bytes()), "{text}");
        }
        assert_eq!(STANDARD.decode("+/8=").ok().as_deref(), Some(&[0xfb, 0xff][..]));
        for bad in
            ["Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "Zm9v=", "=", "====", "Z===", "Zm 9v", "Zm9v\n", "Zg==Zg==", "-_8="]
        {
            assert_eq!(STANDARD.decode(bad).ok(), None, "{bad:?}");
        }
    }
}
