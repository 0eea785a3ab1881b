//! Numbers and sizes as mke2fs reads them (`strtoull` with base 0, `parse_num_blocks2`, e2fsprogs 1.47): decimal, `0x`
//! hexadecimal, leading `0` octal; suffixes K, M, G, T are powers of 1024, `s` is a sector of 512 bytes.

use super::error::OptionError;

/// A number without a suffix.
#[must_use]
pub fn number(text: &str) -> Option<u64> {
    let (digits, radix) = if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        (hex, 16)
    } else if text.len() > 1 && text.starts_with('0') {
        (&text[1..], 8)
    } else {
        (text, 10)
    };
    // `from_str_radix` takes a sign; strtoull does too, but no option here wants one.
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}

/// A number of bytes: bare numbers count `unit` bytes each.
#[must_use]
pub fn bytes(text: &str, unit: u64) -> Option<u64> {
    let (digits, unit) = match text.chars().last()? {
        'k' | 'K' => (&text[..text.len() - 1], 1 << 10),
        'm' | 'M' => (&text[..text.len() - 1], 1 << 20),
        'g' | 'G' => (&text[..text.len() - 1], 1 << 30),
        't' | 'T' => (&text[..text.len() - 1], 1 << 40),
        's' => (&text[..text.len() - 1], 512),
        _ => (text, unit),
    };
    number(digits)?.checked_mul(unit)
}

/// A number that must lie in a range.
pub(super) fn number_in(
    option: &'static str,
    text: &str,
    range: std::ops::RangeInclusive<u64>,
) -> Result<u64, OptionError> {
    number(text).filter(|n| range.contains(n)).ok_or_else(|| {
        OptionError::value(option, text, format!("wants a number from {} to {}", range.start(), range.end()))
    })
}

/// The argument of a word that is on or off: nothing or a number other than 0 is on.
pub(super) fn switch(option: &'static str, text: Option<&str>) -> Result<bool, OptionError> {
    match text {
        None => Ok(true),
        Some(text) => number(text).map(|n| n != 0).ok_or_else(|| OptionError::value(option, text, "wants 0 or 1")),
    }
}

/// A size for people: in the largest unit that divides it.
#[must_use]
pub fn human(bytes: u64) -> String {
    for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return format!("{} {unit}", bytes >> shift);
        }
    }
    format!("{bytes} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_strtoull() {
        assert_eq!(number("10"), Some(10));
        assert_eq!(number("0x10"), Some(16));
        assert_eq!(number("010"), Some(8));
        assert_eq!(number("0"), Some(0));
        for bad in ["", "x", "-1", "+1", "1x", "0x", "08", "1.5", "18446744073709551616", "0x-1", "ä"] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_take_one_suffix() {
        assert_eq!(bytes("3", 1024), Some(3072));
        assert_eq!(bytes("3s", 1024), Some(1536));
        assert_eq!(bytes("2k", 1), Some(2048));
        assert_eq!(bytes("1T", 1), Some(1 << 40));
        for bad in ["", "k", "1kb", "1MiB", "1.5M", "99999999999T", "1S", "1€"] {
            assert_eq!(bytes(bad, 1), None, "{bad}");
        }
    }

    #[test]
    fn sizes_are_printed_exactly() {
        assert_eq!(human(2 << 20), "2 MiB");
        assert_eq!(human(1 << 40), "1 TiB");
        assert_eq!(human(1025), "1025 bytes");
        assert_eq!(human(0), "0 bytes");
    }
}
