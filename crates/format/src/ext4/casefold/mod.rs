//! Names in casefolded directories: two names are the same file when their foldings are equal bytes.
//!
//! The folding is the kernel's `utf8_casefold` with form `UTF8_NFDICF` of fs/unicode (Linux 6.12): canonical
//! decomposition, full case folding, default ignorable code points removed, combining marks in canonical order. The
//! data is Unicode 12.1.0 and must stay so: `s_encoding` = 1 (`EXT4_ENC_UTF8_12_1`) names that version, and directory
//! indexes hold hashes of folded names. Facts of the kernel that are easy to get wrong:
//!
//! * Unassigned code points are valid. They fold to themselves, with combining class 0.
//! * An ignorable code point vanishes, but marks are not reordered across the place where it was.
//! * Folding takes a stray continuation byte (0x80 to 0xbf) for a part of the character before it and keeps it; only
//!   the first byte of a name cannot be one. `utf8_validate`, which strict mode asks, has no such gap.
//!
//! From 6.12-rc4 up to 6.12.4 and 6.13-rc2 kernels kept ignorables in names; that was a regression and was taken back.
//! Invariant: no panic for any bytes; work and output are bounded by the name's length times the number of classes.

use super::hash::{DirHash, HashVersion, dirhash};

mod tables;
use tables::{BLOCK_BITS, BLOCK_OF, ENDS, FAR_IGNORABLES, FIRST_MAPPING, MAPPED, VALUES};

/// The longest folding the kernel makes: one byte less than its buffer of `PATH_MAX`.
const MAX_FOLDED: usize = 4095;

/// A name that is not UTF-8, or (with thousands of reordered stray bytes) one the kernel refuses to fold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("name is not valid UTF-8 at byte {valid_up_to}")]
pub struct InvalidUtf8 {
    /// How many bytes before it are valid.
    pub valid_up_to: usize,
}

/// What the tables know about one code point.
enum Folded {
    /// Stays, with this combining class.
    Itself(u8),
    /// Becomes these code points, none of which maps any further.
    Mapped(&'static str),
    /// Becomes a Hangul leading consonant, a vowel and perhaps a trailing consonant.
    Hangul([Option<char>; 3]),
}

fn lookup(c: char) -> Folded {
    let cp = u32::from(c);
    if let Some(jamo) = hangul(cp) {
        return Folded::Hangul(jamo);
    }
    if FAR_IGNORABLES.contains(&cp) {
        return Folded::Mapped("");
    }
    let value = BLOCK_OF
        .get((cp >> BLOCK_BITS) as usize)
        .and_then(|&block| VALUES.get((usize::from(block) << BLOCK_BITS) | (cp as usize & ((1 << BLOCK_BITS) - 1))))
        .copied()
        .unwrap_or(0);
    match (u8::try_from(value), value.checked_sub(FIRST_MAPPING)) {
        (Ok(class), _) => Folded::Itself(class),
        (Err(_), index) => Folded::Mapped(mapping(usize::from(index.unwrap_or(0)))),
    }
}

fn mapping(index: usize) -> &'static str {
    let end = |i: usize| ENDS.get(i).map_or(0, |&end| usize::from(end));
    MAPPED.get(end(index)..end(index + 1)).unwrap_or("")
}

/// The combining class of a code point that does not map.
fn class(c: char) -> u8 {
    match lookup(c) {
        Folded::Itself(class) => class,
        Folded::Mapped(_) | Folded::Hangul(_) => 0,
    }
}

/// The arithmetic decomposition of section 3.12 of the Unicode standard.
fn hangul(cp: u32) -> Option<[Option<char>; 3]> {
    const SYLLABLES: u32 = 0xac00;
    const LEADING: u32 = 0x1100;
    const VOWELS: u32 = 0x1161;
    const TRAILING: u32 = 0x11a7;
    const VOWEL_COUNT: u32 = 21;
    const TRAILING_COUNT: u32 = 28;
    let index = cp.checked_sub(SYLLABLES).filter(|i| *i < 19 * VOWEL_COUNT * TRAILING_COUNT)?;
    let trailing = index % TRAILING_COUNT;
    Some([
        char::from_u32(LEADING + index / (VOWEL_COUNT * TRAILING_COUNT)),
        char::from_u32(VOWELS + index / TRAILING_COUNT % VOWEL_COUNT),
        if trailing == 0 { None } else { char::from_u32(TRAILING + trailing) },
    ])
}

/// A part of a run of combining marks, held back until the run ends.
enum Held {
    Mark(u8, char),
    Stray(u8),
}

/// Collects what folding yields, bringing runs of combining marks into canonical order.
struct Folder<'a> {
    out: &'a mut Vec<u8>,
    run: Vec<Held>,
}

impl Folder<'_> {
    fn push(&mut self, c: char, class: u8) {
        if class == 0 {
            self.end_run();
            emit(self.out, c);
        } else {
            self.run.push(Held::Mark(class, c));
        }
    }

    fn push_stray(&mut self, byte: u8) {
        if self.run.is_empty() {
            self.out.push(byte);
        } else {
            self.run.push(Held::Stray(byte));
        }
    }

    /// Writes the run: the marks of the lowest class first, those of one class in the order they came.
    ///
    /// The kernel scans a run once to find the lowest class and once more for each class, and it passes on stray bytes
    /// in every scan.
    fn end_run(&mut self) {
        if self.run.is_empty() {
            return;
        }
        let mut class = 0;
        loop {
            let mut next = None;
            for held in &self.run {
                match *held {
                    Held::Stray(byte) => self.out.push(byte),
                    Held::Mark(c, mark) if c == class => emit(self.out, mark),
                    Held::Mark(c, _) if c > class && next.is_none_or(|n| c < n) => next = Some(c),
                    Held::Mark(..) => {}
                }
            }
            match next {
                Some(next) => class = next,
                None => break,
            }
        }
        self.run.clear();
    }
}

fn emit(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// A name as the kernel's functions see it: they stop at a zero byte.
fn until_nul(name: &[u8]) -> &[u8] {
    name.iter().position(|&b| b == 0).and_then(|end| name.get(..end)).unwrap_or(name)
}

/// Whether strict mode (`EXT4_ENC_STRICT_MODE_FL`) allows this name: `utf8_validate`.
pub fn validate(name: &[u8]) -> Result<(), InvalidUtf8> {
    match std::str::from_utf8(until_nul(name)) {
        Ok(_) => Ok(()),
        Err(error) => Err(InvalidUtf8 { valid_up_to: error.valid_up_to() }),
    }
}

/// Puts the folded name into `out`, replacing what it held. The result may be empty, and need not be UTF-8.
///
/// On an error the content of `out` means nothing.
pub fn casefold(name: &[u8], out: &mut Vec<u8>) -> Result<(), InvalidUtf8> {
    fold_any_length(name, out)?;
    if out.len() > MAX_FOLDED { Err(InvalidUtf8 { valid_up_to: name.len() }) } else { Ok(()) }
}

fn fold_any_length(name: &[u8], out: &mut Vec<u8>) -> Result<(), InvalidUtf8> {
    out.clear();
    let name = until_nul(name);
    if name.is_ascii() {
        out.extend(name.iter().map(u8::to_ascii_lowercase));
        return Ok(());
    }
    out.reserve(name.len());
    let mut folder = Folder { out, run: Vec::new() };
    let mut done = 0;
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            match lookup(c) {
                Folded::Itself(class) => folder.push(c, class),
                // It counts as a character of class 0, which ends the run of marks before it.
                Folded::Mapped("") => folder.end_run(),
                Folded::Mapped(text) => text.chars().for_each(|c| folder.push(c, class(c))),
                Folded::Hangul(jamo) => jamo.into_iter().flatten().for_each(|c| folder.push(c, 0)),
            }
        }
        done += chunk.valid().len();
        match *chunk.invalid() {
            [] => {}
            [byte @ 0x80..=0xbf] if done > 0 => folder.push_stray(byte),
            _ => return Err(InvalidUtf8 { valid_up_to: done }),
        }
        done += chunk.invalid().len();
    }
    folder.end_run();
    Ok(())
}

/// Whether a casefolded directory takes both names for the same: `generic_ci_match`.
///
/// A name that cannot be folded equals only itself, in strict mode and without.
pub fn eq_folded(a: &[u8], b: &[u8]) -> bool {
    if a == b {
        return true;
    }
    if a.is_ascii() && b.is_ascii() {
        return until_nul(a).eq_ignore_ascii_case(until_nul(b));
    }
    let (mut left, mut right) = (Vec::new(), Vec::new());
    fold_any_length(a, &mut left).is_ok() && fold_any_length(b, &mut right).is_ok() && left == right
}

/// The hash of a name in a casefolded directory: that of the folded name.
///
/// A name that cannot be folded is hashed as it is. With `strict`, a name that strict mode does not allow is an error:
/// the kernel refuses to create it. An encrypted directory without its key does not come here: its names are ciphertext.
pub fn dirhash_casefold(
    name: &[u8],
    version: HashVersion,
    seed: &[u32; 4],
    strict: bool,
) -> Result<DirHash, InvalidUtf8> {
    // Most names are short and ASCII: no allocation for those.
    let mut small = [0u8; 255];
    if let Some(small) = small.get_mut(..name.len())
        && name.iter().all(|b| (1..0x80).contains(b))
    {
        small.copy_from_slice(name);
        small.make_ascii_lowercase();
        return Ok(dirhash(small, version, seed));
    }
    if strict {
        validate(name)?;
    }
    let mut folded = Vec::new();
    let hashed = if casefold(name, &mut folded).is_ok() { &folded } else { name };
    Ok(dirhash(hashed, version, seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(name: &str) -> String {
        let mut out = b"old content".to_vec();
        casefold(name.as_bytes(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn letters_fold() {
        assert_eq!(fold("README.Txt"), "readme.txt");
        assert_eq!(fold("Straße"), "strasse");
        assert_eq!(fold("\u{1e9e}"), "ss");
        assert_eq!(fold("ΣΊΣΥΦΟΣ"), fold("σίσυφος"));
        assert_eq!(fold("\u{212b}"), "a\u{30a}"); // the angstrom sign is decomposed, then folded
        assert_eq!(fold("\u{fb03}"), "ffi"); // a ligature folds though it does not decompose canonically
        assert_eq!(fold("\u{13a0}\u{ab70}"), "\u{13a0}\u{13a0}"); // Cherokee folds to capitals
        assert_eq!(fold("\u{130}I\u{131}"), "i\u{307}i\u{131}"); // not Turkic
        assert_eq!(fold("\u{1e900}"), "\u{1e922}");
        assert_eq!(fold("\u{2f800}"), "\u{4e3d}");
    }

    #[test]
    fn a_folding_decomposes_further() {
        assert_eq!(fold("\u{1f82}"), "\u{3b1}\u{313}\u{300}\u{3b9}");
        assert_eq!(fold("\u{345}"), "\u{3b9}");
        assert_eq!(fold("\u{390}"), "\u{3b9}\u{308}\u{301}");
    }

    #[test]
    fn hangul_decomposes() {
        assert_eq!(fold("\u{ac00}"), "\u{1100}\u{1161}");
        assert_eq!(fold("\u{d55c}\u{d7a3}"), "\u{1112}\u{1161}\u{11ab}\u{1112}\u{1175}\u{11c2}");
        assert_eq!(fold("\u{d7a4}"), "\u{d7a4}");
    }

    #[test]
    fn marks_are_ordered_within_their_run() {
        assert_eq!(fold("a\u{301}\u{323}\u{300}"), "a\u{323}\u{301}\u{300}");
        assert_eq!(fold("\u{1e0b}\u{323}"), "d\u{323}\u{307}");
        assert_eq!(fold("\u{301}\u{323}b\u{301}\u{323}"), "\u{323}\u{301}b\u{323}\u{301}");
    }

    #[test]
    fn ignorables_vanish_but_separate_marks() {
        assert_eq!(fold("a\u{ad}B\u{200d}c\u{fe0f}"), "abc");
        assert_eq!(fold("\u{e0001}\u{e0fff}\u{200b}"), "");
        assert_eq!(fold("a\u{301}\u{200d}\u{323}"), "a\u{301}\u{323}");
        assert_eq!(fold("\u{e1000}"), "\u{e1000}");
    }

    #[test]
    fn the_version_is_12_1() {
        assert_eq!(fold("\u{32ff}"), "\u{32ff}"); // new in 12.1, without a canonical decomposition
        assert_eq!(fold("\u{a7c2}"), "\u{a7c3}"); // new in 12.0
        assert_eq!(fold("\u{a7c7}"), "\u{a7c7}"); // folds to U+A7C8 since 13.0
        assert_eq!(fold("\u{2c2f}"), "\u{2c2f}"); // folds to U+2C5F since 14.0
        assert_eq!(fold("\u{11938}"), "\u{11938}"); // decomposes since 13.0
        assert_eq!(fold("a\u{301}\u{1abf}"), "a\u{301}\u{1abf}"); // has a combining class since 13.0
    }

    #[test]
    fn only_malformed_bytes_are_invalid() {
        assert_eq!(validate("\u{378}\u{fffe}\u{10ffff}".as_bytes()), Ok(()));
        for (bad, at) in [
            (&b"ab\xff"[..], 2),
            (b"\xc0\xaf", 0),
            (b"\xed\xa0\x80", 0),
            (b"\xf4\x90\x80\x80", 0),
            (b"x\xe2\x82", 1),
            (b"\x80", 0),
        ] {
            let error = InvalidUtf8 { valid_up_to: at };
            assert_eq!(validate(bad), Err(error));
            assert_eq!(casefold(bad, &mut Vec::new()), Err(error));
        }
        assert_eq!(validate(b"ab\0\xff"), Ok(()));
    }

    #[test]
    fn stray_continuation_bytes_are_kept() {
        let fold = |name: &[u8]| {
            let mut out = Vec::new();
            casefold(name, &mut out).map(|()| out)
        };
        assert_eq!(validate(b"AB\x80"), Err(InvalidUtf8 { valid_up_to: 2 }));
        assert_eq!(fold(b"AB\x80\xbfC"), Ok(b"ab\x80\xbfc".to_vec()));
        assert_eq!(fold(b"A\xc2\xad\x80"), Ok(b"a\x80".to_vec()));
        assert_eq!(fold(b"A\x80\xff"), Err(InvalidUtf8 { valid_up_to: 2 }));
        // U+0301, the byte, U+0323: one scan to find the lowest class, one for each class.
        let expected = b"a\x80\x80\xcc\xa3\xcc\x81\x80b".to_vec();
        assert_eq!(fold(b"a\xcc\x81\x80\xcc\xa3B"), Ok(expected));
        assert!(eq_folded(b"A\x80", b"a\x80"));
        let strict = dirhash_casefold(b"A\x80", HashVersion::Tea, &[0; 4], true);
        assert_eq!(strict, Err(InvalidUtf8 { valid_up_to: 1 }));
        let hash = dirhash_casefold(b"A\x80", HashVersion::Tea, &[0; 4], false);
        assert_eq!(hash, Ok(dirhash(b"a\x80", HashVersion::Tea, &[0; 4])));
    }

    #[test]
    fn a_folding_too_long_for_the_kernel_is_refused() {
        let mut out = Vec::new();
        assert_eq!(casefold(&[b'A'; 4095], &mut out), Ok(()));
        assert_eq!(casefold(&[b'A'; 4096], &mut out), Err(InvalidUtf8 { valid_up_to: 4096 }));
    }

    #[test]
    fn equality() {
        assert!(eq_folded(b"ABC", b"abc"));
        assert!(eq_folded("\u{c5}ngstro\u{308}m".as_bytes(), "a\u{30a}NGSTR\u{d6}M".as_bytes()));
        assert!(eq_folded("\u{212a}".as_bytes(), b"K"));
        assert!(!eq_folded(b"abc", b"abd"));
        assert!(eq_folded(b"\xff", b"\xff"));
        assert!(!eq_folded(b"A\xff", b"a\xff"));
        assert!(!eq_folded(b"\xff", b""));
    }

    #[test]
    fn the_hash_is_of_the_folded_name() {
        let seed = [1, 2, 3, 4];
        let hash = |name: &[u8], strict| dirhash_casefold(name, HashVersion::HalfMd4, &seed, strict);
        let plain = |name: &[u8]| Ok(dirhash(name, HashVersion::HalfMd4, &seed));
        assert_eq!(hash(b"HELLO", true), plain(b"hello"));
        assert_eq!(hash("GRÜN".as_bytes(), true), plain("gru\u{308}n".as_bytes()));
        assert_eq!(hash(b"A\xff", false), plain(b"A\xff"));
        assert_eq!(hash(b"A\xff", true), Err(InvalidUtf8 { valid_up_to: 1 }));
        assert_eq!(hash(&[b'Q'; 300], true), plain(&[b'q'; 300]));
        assert_eq!(hash(b"", true), plain(b""));
        assert_eq!(hash("\u{ad}".as_bytes(), true), plain(b""));
    }
}
