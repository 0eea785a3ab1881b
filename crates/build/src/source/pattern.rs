//! Content made by rule: each byte depends on its offset in the file (and a seed) alone, so any range is made by itself and the
//! same file comes out whatever the threads do.

use std::ops::Range;

/// A range of a file filled with a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Where, in bytes; not empty.
    pub range: Range<u64>,
    /// With what.
    pub pattern: Pattern,
}

/// Bytes made by rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// Written zeroes.
    Zero,
    /// One byte again and again.
    Byte(u8),
    /// Each 8 bytes are their own offset in the file, little-endian.
    Offset,
    /// Pseudo-random bytes, not to be compressed; the same for the same seed.
    Random(u64),
    /// Readable lines of 64 bytes that name the offset.
    Text,
    /// These bytes again and again, from offset 0 of the file on.
    Repeat(Vec<u8>),
}

/// Bytes of a line of [`Pattern::Text`].
const LINE: u64 = 64;

impl Pattern {
    /// Fills the buffer with what lies from `offset` of the file on.
    pub fn fill(&self, offset: u64, buffer: &mut [u8]) {
        match self {
            Self::Zero => buffer.fill(0),
            Self::Byte(b) => buffer.fill(*b),
            Self::Offset => fill_units(offset, buffer, |unit| (unit * 8).to_le_bytes()),
            Self::Random(seed) => fill_units(offset, buffer, |unit| random_word(*seed, unit).to_le_bytes()),
            Self::Text => fill_units(offset, buffer, line),
            Self::Repeat(bytes) => {
                let Some(first) = offset.checked_rem(bytes.len() as u64) else { return buffer.fill(0) };
                let endless = bytes.iter().cycle().skip(first as usize);
                buffer.iter_mut().zip(endless).for_each(|(to, from)| *to = *from);
            }
        }
    }
}

/// Fills a buffer with units of `N` bytes, each made from its number.
fn fill_units<const N: usize>(offset: u64, buffer: &mut [u8], unit: impl Fn(u64) -> [u8; N]) {
    let n = N as u64;
    let (mut at, mut rest) = (offset / n, buffer);
    let lead = (offset % n) as usize;
    if lead > 0 {
        let (head, tail) = rest.split_at_mut((N - lead).min(rest.len()));
        head.iter_mut().zip(unit(at).iter().skip(lead)).for_each(|(to, from)| *to = *from);
        (at, rest) = (at + 1, tail);
    }
    let mut whole = rest.chunks_exact_mut(N);
    for chunk in &mut whole {
        chunk.copy_from_slice(&unit(at));
        at = at.wrapping_add(1);
    }
    whole.into_remainder().iter_mut().zip(unit(at)).for_each(|(to, from)| *to = from);
}

/// The pseudo-random word with this number: splitmix64 (Steele, Lea, Flood 2014) over a counter, which makes every word by itself.
#[must_use]
pub fn random_word(seed: u64, number: u64) -> u64 {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let mix = |z: u64| {
        let z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    };
    mix(mix(seed.wrapping_add(GOLDEN)).wrapping_add(number.wrapping_add(1).wrapping_mul(GOLDEN)))
}

fn line(number: u64) -> [u8; LINE as usize] {
    let mut out = [b'.'; LINE as usize];
    let text = format!("offset {:#018x} line {number} ", number.wrapping_mul(LINE));
    out.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
    out[LINE as usize - 1] = b'\n';
    out
}

/// Fills the buffer with what pieces (in order and apart) have from `offset` on, and zeroes between them.
pub(super) fn fill_pieces(pieces: &[Piece], offset: u64, buffer: &mut [u8]) {
    let end = offset.saturating_add(buffer.len() as u64);
    buffer.fill(0);
    let first = pieces.partition_point(|p| p.range.end <= offset);
    for piece in pieces.iter().skip(first).take_while(|p| p.range.start < end) {
        let (from, to) = (piece.range.start.max(offset), piece.range.end.min(end));
        if let Some(part) = buffer.get_mut((from - offset) as usize..(to - offset) as usize) {
            piece.pattern.fill(from, part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Pattern> {
        let repeat = Pattern::Repeat(b"abcde".to_vec());
        vec![Pattern::Zero, Pattern::Byte(7), Pattern::Offset, Pattern::Random(1), Pattern::Text, repeat]
    }

    #[test]
    fn any_range_is_what_the_whole_has_there() {
        for pattern in all() {
            let mut whole = vec![1; 1000];
            pattern.fill(0, &mut whole);
            for start in [0usize, 1, 7, 8, 63, 64, 65, 500] {
                for len in [0usize, 1, 3, 8, 9, 64, 200, 500] {
                    let mut part = vec![1; len];
                    pattern.fill(start as u64, &mut part);
                    assert_eq!(part, whole[start..start + len], "{pattern:?} {start}+{len}");
                }
            }
        }
    }

    #[test]
    fn what_the_bytes_are_is_fixed() {
        let first = |p: Pattern, at, n| {
            let mut b = vec![0; n];
            p.fill(at, &mut b);
            b
        };
        assert_eq!(first(Pattern::Offset, 16, 9), [16, 0, 0, 0, 0, 0, 0, 0, 24]);
        assert_eq!(first(Pattern::Text, 64, 64), b"offset 0x0000000000000040 line 1 ..............................\n");
        assert_eq!(first(Pattern::Repeat(b"abc".to_vec()), 2, 5), b"cabca");
        assert_eq!(first(Pattern::Repeat(Vec::new()), 2, 2), [0, 0]);
        assert_ne!(first(Pattern::Random(1), 0, 8), first(Pattern::Random(2), 0, 8));
        // Pinned: an image made years ago is made again.
        let word = u64::from_le_bytes(first(Pattern::Random(7), 8, 8).try_into().expect("eight"));
        assert_eq!(word, random_word(7, 1));
    }

    #[test]
    fn between_pieces_there_is_nothing() {
        let pieces =
            [Piece { range: 2..4, pattern: Pattern::Byte(1) }, Piece { range: 6..u64::MAX, pattern: Pattern::Byte(2) }];
        let mut b = [9; 10];
        fill_pieces(&pieces, 0, &mut b);
        assert_eq!(b, [0, 0, 1, 1, 0, 0, 2, 2, 2, 2]);
        fill_pieces(&pieces, 3, &mut b);
        assert_eq!(b, [1, 0, 0, 2, 2, 2, 2, 2, 2, 2]);
    }
}
