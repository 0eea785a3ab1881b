//! The two encodings of libarchive's records of extended attributes: percent signs in names, base64 in values.

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};

/// Undoes percent encoding of every byte. A percent sign without two hexadecimal digits behind it stands for itself.
pub(super) fn percent_decode(text: &[u8]) -> Vec<u8> {
    decode_where(text, |_| true)
}

/// Undoes percent encoding of `%` and `=` alone, the two bytes that GNU tar cannot write in a keyword and encodes.
pub(super) fn percent_decode_gnu(text: &[u8]) -> Vec<u8> {
    decode_where(text, |byte| matches!(byte, b'%' | b'='))
}

fn decode_where(text: &[u8], wanted: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let decoded = match after {
            [high, low, ..] if *first == b'%' => hex(*high).zip(hex(*low)).map(|(h, l)| h << 4 | l),
            _ => None,
        };
        match decoded.filter(|byte| wanted(*byte)) {
            Some(byte) => {
                out.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok())
}

/// Base64 with or without padding: libarchive writes none.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Decodes base64 with or without padding; `None` when it is not base64.
pub(super) fn base64_decode(text: &[u8]) -> Option<Vec<u8>> {
    LENIENT.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_signs_are_undone() {
        assert_eq!(percent_decode(b"user.%C3%A9%20%3d%"), "user.\u{e9} =%".as_bytes());
        assert_eq!(percent_decode(b"%4"), b"%4");
        assert_eq!(percent_decode(b"%zz%41"), b"%zzA");
        assert_eq!(percent_decode_gnu(b"user.p%253Dq%3Dr%41"), b"user.p%3Dq=r%41");
    }

    #[test]
    fn base64_is_undone() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("Mw", b"3"),
            ("Mw==", b"3"),
            ("AAEC", &[0, 1, 2]),
            ("YmluCmFyeT0x", b"bin\nary=1"),
            ("+/+/", &[0xfb, 0xff, 0xbf]),
            ("//8", &[0xff, 0xff]),
        ] {
            assert_eq!(base64_decode(text.as_bytes()).as_deref(), Some(bytes), "{text}");
        }
        for text in ["M", "AAECM", "A-EC", "A=EC", "A===", "AAEC\n"] {
            assert_eq!(base64_decode(text.as_bytes()), None, "{text}");
        }
    }
}
