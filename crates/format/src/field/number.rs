//! Integers as text.

/// A number in decimal, `0x` hexadecimal or `0` octal, as in C.
#[must_use]
pub fn parse_number(text: &str) -> Option<u64> {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return if hex.starts_with('+') { None } else { u64::from_str_radix(hex, 16).ok() };
    }
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    match text.strip_prefix('0') {
        Some(octal) if !octal.is_empty() => u64::from_str_radix(octal, 8).ok(),
        _ => text.parse().ok(),
    }
}

/// A number in decimal, `0x` hexadecimal, `0` or `0o` octal or `0b` binary.
#[must_use]
pub fn parse_any_base(text: &str) -> Option<u64> {
    let digits = |prefix: &str, radix| {
        let digits = text.strip_prefix(prefix)?;
        // A sign would be taken, too.
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| u64::from_str_radix(digits, radix).ok())?
    };
    parse_number(text).or_else(|| digits("0o", 8)).or_else(|| digits("0b", 2))
}

/// A number for a field of `width` bits; a negative one wraps. `None` for what is not a number or does not fit.
#[must_use]
pub fn parse_integer(text: &str, width: u32) -> Option<u64> {
    let all = all_bits(width);
    match text.strip_prefix('-') {
        None => parse_any_base(text).filter(|x| x & !all == 0),
        Some(rest) => {
            let size = parse_any_base(rest.trim_start())?;
            (size <= all / 2 + 1).then(|| size.wrapping_neg() & all)
        }
    }
}

/// All bits of a field of `width` bits.
#[must_use]
pub fn all_bits(width: u32) -> u64 {
    if width >= 64 { u64::MAX } else { (1 << width) - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_base_and_sign() {
        for (text, width, value) in [
            ("10", 8, Some(10)),
            ("0x10", 8, Some(16)),
            ("010", 8, Some(8)),
            ("0o10", 8, Some(8)),
            ("0b10", 8, Some(2)),
            ("255", 8, Some(255)),
            ("256", 8, None),
            ("-1", 16, Some(0xffff)),
            ("-0x8000", 16, Some(0x8000)),
            ("-0x8001", 16, None),
            ("-1", 64, Some(u64::MAX)),
            ("0b+1", 8, None),
            ("- 1", 48, Some(0xffff_ffff_ffff)),
            ("--1", 8, None),
            ("", 8, None),
        ] {
            assert_eq!(parse_integer(text, width), value, "{text:?} in {width} bits");
        }
    }
}
