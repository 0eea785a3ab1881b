//! Numbers as a recipe may write them.

use daxkit_format::field::{BitSet, Format, ValueError, parse_number};

/// What [`operand`] takes.
const NUMBERS: &str = "numbers joined by | or ,";

/// A number in decimal, `0x` hexadecimal, `0` or `0o` octal or `0b` binary.
pub(super) fn number(text: &str) -> Option<u64> {
    let digits = |prefix: &str, radix| {
        let digits = text.strip_prefix(prefix)?;
        // A sign would be taken, too.
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| u64::from_str_radix(digits, radix).ok())?
    };
    parse_number(text).or_else(|| digits("0o", 8)).or_else(|| digits("0b", 2))
}

/// A number for a field of `width` bits; a negative one wraps. `None` for what is not a number or does not fit.
pub(super) fn wrapped(text: &str, width: u32) -> Option<u64> {
    let mask = mask(width);
    match text.strip_prefix('-') {
        None => number(text).filter(|x| x & !mask == 0),
        Some(rest) => {
            let size = number(rest.trim_start())?;
            (size <= mask / 2 + 1).then(|| size.wrapping_neg() & mask)
        }
    }
}

/// All bits of a field of `width` bits.
pub(super) fn mask(width: u32) -> u64 {
    if width >= 64 { u64::MAX } else { (1 << width) - 1 }
}

/// Bits for a field of `width` bits: numbers, or names where its bits have names, joined by `|`, `,` or spaces.
pub(super) fn operand(format: Format, text: &str, width: u32) -> Result<u64, ValueError> {
    let named = |word: &str| match format {
        Format::Bits(set) => BitSet::bit(set, word),
        _ => None,
    };
    let mut words = text.split([' ', ',', '|']).filter(|w| !w.is_empty()).peekable();
    let syntax = || ValueError::Syntax { text: text.to_owned(), wanted: NUMBERS };
    words.peek().ok_or_else(syntax)?;
    let all = words.try_fold(0, |all, word| Some(all | named(word).or_else(|| number(word))?)).ok_or_else(syntax)?;
    let fits = all & !mask(width) == 0;
    if fits { Ok(all) } else { Err(ValueError::Range { text: text.to_owned(), bytes: width as usize / 8 }) }
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
            assert_eq!(wrapped(text, width), value, "{text:?} in {width} bits");
        }
    }

    #[test]
    fn bits_by_name_or_number() {
        let flags = Format::Bits(BitSet::Inode);
        assert_eq!(operand(flags, "DAX|0x8", 32), Ok(0x0200_0008));
        assert_eq!(operand(flags, "dax, index", 32), Ok(0x0200_1000));
        assert_eq!(operand(Format::Decimal, "1|2", 8), Ok(3));
        assert!(operand(Format::Decimal, "DAX", 32).is_err());
        assert!(operand(Format::Decimal, "0x1ff", 8).is_err());
        assert!(operand(Format::Decimal, " | ", 8).is_err());
    }
}
