//! Numbers as archives spell them: octal and base-256 in the fields of a header, decimal in PAX records, decimal with a
//! fraction for times.

use daxkit_format::ext4::inode::Timestamp;

/// A field that holds no number, or one beyond 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotANumber;

/// Reads a numeric field of a header: octal digits between blanks, ended by a NUL or a blank, or GNU's base-256, whose first
/// bit is set and whose other bits are a big-endian two's complement number. `None` when nothing stands there.
pub(super) fn field(bytes: &[u8]) -> Result<Option<i64>, NotANumber> {
    match bytes.first() {
        Some(first) if first & 0x80 != 0 => base_256(*first, bytes.get(1..).unwrap_or_default()).map(Some),
        _ => octal(bytes),
    }
}

fn base_256(first: u8, rest: &[u8]) -> Result<i64, NotANumber> {
    // The second bit is the sign.
    let high = i64::from((first << 1).cast_signed() >> 1);
    rest.iter().try_fold(high, |n, byte| n.checked_mul(256)?.checked_add(i64::from(*byte))).ok_or(NotANumber)
}

fn octal(bytes: &[u8]) -> Result<Option<i64>, NotANumber> {
    let start = bytes.iter().position(|b| *b != b' ').unwrap_or(bytes.len());
    let text = bytes.get(start..).unwrap_or_default();
    let end = text.iter().position(|b| matches!(b, b' ' | 0)).unwrap_or(text.len());
    let digits = text.get(..end).unwrap_or_default();
    if digits.is_empty() {
        return Ok(None);
    }
    digits
        .iter()
        .try_fold(0i64, |n, digit| match digit {
            b'0'..=b'7' => n.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
            _ => None,
        })
        .map(Some)
        .ok_or(NotANumber)
}

/// Reads decimal digits and nothing else.
pub(super) fn decimal(text: &[u8]) -> Result<u64, NotANumber> {
    if text.is_empty() {
        return Err(NotANumber);
    }
    text.iter()
        .try_fold(0u64, |n, digit| match digit {
            b'0'..=b'9' => n.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
            _ => None,
        })
        .ok_or(NotANumber)
}

/// Reads a time of a PAX record: seconds since 1970, perhaps negative, perhaps with a fraction. What is finer than a
/// nanosecond is rounded towards the past, as GNU tar does.
pub(super) fn time(text: &[u8]) -> Result<Timestamp, NotANumber> {
    let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let dot = text.iter().position(|b| *b == b'.');
    let (whole, fraction) = match dot {
        Some(dot) => (text.get(..dot).unwrap_or_default(), text.get(dot + 1..).unwrap_or_default()),
        None => (text, &[][..]),
    };
    let whole = i64::try_from(decimal(whole)?).map_err(|_| NotANumber)?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(NotANumber);
    }
    let digits = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    let nanos = digits.fold(0u32, |n, digit| n * 10 + u32::from(digit - b'0'));
    if !negative {
        return Ok(Timestamp { seconds: whole, nanos });
    }
    let finer = fraction.iter().skip(9).any(|digit| *digit != b'0');
    let nanos = nanos + u32::from(finer);
    Ok(match nanos {
        0 => Timestamp { seconds: -whole, nanos: 0 },
        // `whole` is at most `i64::MAX`, so one less than its negative is still a number.
        n => Timestamp { seconds: -whole - 1, nanos: 1_000_000_000 - n },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_is_read_with_any_ending() {
        for (text, expected) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"000644 \0", Some(0o644)),
            (b"  644 \0\0", Some(0o644)),
            (b"77777777777", Some(0o77777777777)),
            (b"777777777777", Some(0o777777777777)),
            (b"0\0garbage", Some(0)),
            (b"        ", None),
            (b"\0\0\0\0", None),
            (b"", None),
        ] {
            assert_eq!(field(text), Ok(expected), "{}", text.escape_ascii());
        }
        for text in [&b"0000648\0"[..], b"-1\0", b"0x1\0", b"7777777777777777777777"] {
            assert_eq!(field(text), Err(NotANumber), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn base_256_has_a_sign() {
        assert_eq!(field(&[0x80, 0, 0, 0, 0, 0, 1, 0]), Ok(Some(256)));
        assert_eq!(field(&[0xff; 12]), Ok(Some(-1)));
        assert_eq!(field(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0]), Ok(Some(-512)));
        assert_eq!(field(&[0x80, 0, 0, 0, 0x7f, 255, 255, 255, 255, 255, 255, 255]), Ok(Some(i64::MAX)));
        assert_eq!(field(&[0xff, 255, 255, 255, 0x80, 0, 0, 0, 0, 0, 0, 0]), Ok(Some(i64::MIN)));
        // The bits of the first byte count, too.
        assert_eq!(field(&[0x81, 0, 0]), Ok(Some(0x1_0000)));
        assert_eq!(field(&[0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]), Err(NotANumber));
        assert_eq!(field(&[0xff, 255, 255, 255, 0x7f, 255, 255, 255, 255, 255, 255, 255]), Err(NotANumber));
    }

    #[test]
    fn times_have_signs_and_fractions() {
        for (text, seconds, nanos) in [
            ("0", 0, 0),
            ("1700000000.123456789", 1_700_000_000, 123_456_789),
            ("5.5", 5, 500_000_000),
            ("5.0000000019", 5, 1),
            ("-1", -1, 0),
            ("-1.5", -2, 500_000_000),
            ("-0.25", -1, 750_000_000),
            ("-0.0000000001", -1, 999_999_999),
            ("-3.9999999999", -4, 0),
            ("9223372036854775807.9", i64::MAX, 900_000_000),
            ("-9223372036854775807.9", i64::MIN, 100_000_000),
            ("7.", 7, 0),
        ] {
            assert_eq!(time(text.as_bytes()), Ok(Timestamp { seconds, nanos }), "{text}");
        }
        for text in ["", "-", ".5", "1e5", "1.x", "9223372036854775808", " 1", "1 ", "+1", "1.5.5"] {
            assert_eq!(time(text.as_bytes()), Err(NotANumber), "{text}");
        }
    }

    #[test]
    fn decimals_are_digits() {
        assert_eq!(decimal(b"18446744073709551615"), Ok(u64::MAX));
        for text in ["", "18446744073709551616", "-1", "1 ", "a"] {
            assert_eq!(decimal(text.as_bytes()), Err(NotANumber), "{text}");
        }
    }
}
