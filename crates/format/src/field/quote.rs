//! Names in double quotes: arbitrary bytes in, printable text out, and back.

/// Writes `bytes` in double quotes. `"` and `\` get a backslash; bytes that are not printable UTF-8 become `\xNN`.
#[must_use]
pub fn quote(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                c if is_plain(c) => out.push(c),
                c => {
                    let mut buf = [0; 4];
                    c.encode_utf8(&mut buf).bytes().for_each(|b| push_hex(&mut out, b));
                }
            }
        }
        chunk.invalid().iter().for_each(|b| push_hex(&mut out, *b));
    }
    out.push('"');
    out
}

fn push_hex(out: &mut String, b: u8) {
    out.push_str(&format!("\\x{b:02x}"));
}

/// Not a control character, and not one that changes how its neighbours are shown: a name must not be able to disguise the
/// line it stands in.
fn is_plain(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff0}'..='\u{ffff}' | '\u{e0000}'..='\u{e007f}')
}

/// Reads what [`quote`] wrote from the start of `text`; returns the bytes and what follows the closing quote. `None` when
/// it does not begin with a quote, does not end, or has an unknown escape.
#[must_use]
pub fn unquote(text: &str) -> Option<(Vec<u8>, &str)> {
    let mut rest = text.strip_prefix('"')?;
    let mut out = Vec::new();
    loop {
        let stop = rest.find(['"', '\\'])?;
        let (plain, special) = rest.split_at_checked(stop)?;
        out.extend_from_slice(plain.as_bytes());
        if let Some(after) = special.strip_prefix('"') {
            return Some((out, after));
        }
        if let Some(after) = special.strip_prefix("\\x") {
            let (digits, after) = after.split_at_checked(2)?;
            if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                return None;
            }
            out.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after;
            continue;
        }
        let escaped = special.strip_prefix('\\')?;
        let c = escaped.chars().next().filter(|c| matches!(c, '"' | '\\'))?;
        out.push(c as u8);
        rest = escaped.get(1..)?;
    }
}
