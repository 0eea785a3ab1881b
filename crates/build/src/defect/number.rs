//! Numbers as a recipe may write them.

use daxkit_format::field::{BitSet, Format, ValueError, all_bits, parse_any_base};

/// What [`operand`] takes.
const NUMBERS: &str = "numbers joined by | or ,";

/// Bits for a field of `width` bits: numbers, or names where its bits have names, joined by `|`, `,` or spaces.
pub(super) fn operand(format: Format, text: &str, width: u32) -> Result<u64, ValueError> {
    let named = |word: &str| match format {
        Format::Bits(set) => BitSet::bit(set, word),
        _ => None,
    };
    let mut words = text.split([' ', ',', '|']).filter(|w| !w.is_empty()).peekable();
    let syntax = || ValueError::Syntax { text: text.to_owned(), wanted: NUMBERS };
    words.peek().ok_or_else(syntax)?;
    let all =
        words.try_fold(0, |all, word| Some(all | named(word).or_else(|| parse_any_base(word))?)).ok_or_else(syntax)?;
    let fits = all & !all_bits(width) == 0;
    if fits { Ok(all) } else { Err(ValueError::Range { text: text.to_owned(), bytes: width as usize / 8 }) }
}

#[cfg(test)]
mod tests {
    use super::*;

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
