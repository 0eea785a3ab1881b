//! Bytes as a scenario writes them: `0x41*4096`, `"text"`, `zero*512`, `random:7*2M`, and rows of those with commas.

use core::fmt::Write as _;

/// Most bytes that one piece of data may have.
pub const MOST: u64 = 1 << 30;

/// Bytes that are described, not stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Data {
    /// The pieces, one behind the other; none of no length.
    pub pieces: Vec<Piece>,
}

/// A piece of data: what, how many times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// What is repeated.
    pub what: Fill,
    /// How many times (of random bytes: how many).
    pub times: u64,
}

/// What a piece is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fill {
    /// One byte.
    Byte(u8),
    /// Some bytes.
    Text(Vec<u8>),
    /// Random bytes from a seed, the same at each run.
    Random(u64),
}

impl Piece {
    /// Length in bytes; `None` when that is too much.
    #[must_use]
    pub fn len(&self) -> Option<u64> {
        let one = if let Fill::Text(text) = &self.what { text.len() as u64 } else { 1 };
        one.checked_mul(self.times).filter(|len| *len <= MOST)
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }
}

impl Data {
    /// Length in bytes; at most [`MOST`] in data that was parsed.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.pieces.iter().filter_map(Piece::len).sum()
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, one by one.
    pub fn iter(&self) -> impl Iterator<Item = u8> + '_ {
        self.pieces.iter().flat_map(Piece::iter)
    }

    /// The bytes, in memory.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.iter().collect()
    }

    /// Whether these are the bytes.
    #[must_use]
    pub fn is(&self, bytes: &[u8]) -> bool {
        self.len() == bytes.len() as u64 && self.iter().eq(bytes.iter().copied())
    }
}

impl Piece {
    fn iter(&self) -> Box<dyn Iterator<Item = u8> + '_> {
        let len = usize::try_from(self.len().unwrap_or(0)).unwrap_or(0);
        match &self.what {
            Fill::Byte(byte) => Box::new(std::iter::repeat_n(*byte, len)),
            Fill::Text(text) => Box::new(text.iter().copied().cycle().take(len)),
            Fill::Random(seed) => {
                let mut state = *seed;
                let words = std::iter::repeat_with(move || split_mix(&mut state).to_le_bytes());
                Box::new(words.flatten().take(len))
            }
        }
    }
}

/// The next number of the generator `SplitMix64`.
pub(crate) fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Bytes in quotes, so that the language reads them back.
#[must_use]
pub fn quote(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            0x20..=0x7e => text.push(char::from(byte)),
            _ => write!(text, "\\x{byte:02x}").expect("a string takes all"),
        }
    }
    text.push('"');
    text
}

/// Most pieces that a description of bytes has.
const MOST_PIECES: usize = 8;

/// Bytes in the language's words, cut when they are of many pieces.
#[must_use]
pub fn describe(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "\"\"".to_owned();
    }
    let mut pieces: Vec<String> = Vec::new();
    let mut rest = bytes;
    while let Some(&first) = rest.first() {
        if pieces.len() == MOST_PIECES {
            pieces.push(format!("... of {} bytes", bytes.len()));
            break;
        }
        let run = rest.iter().take_while(|byte| **byte == first).count();
        let text = rest.iter().take(64).take_while(|byte| (0x20..=0x7e).contains(*byte)).count();
        let (piece, len) = match (first, run) {
            (0, _) => (format!("zero*{}", crate::print::size(run as u64)), run),
            _ if run < 8 && text >= 4 => (quote(&rest[..text]), text),
            _ => (format!("{first:#04x}*{}", crate::print::size(run as u64)), run),
        };
        pieces.push(piece);
        rest = &rest[len..];
    }
    pieces.join(",")
}
