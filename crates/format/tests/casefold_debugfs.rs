//! Foldings compared with e2fsprogs', by the hash of the folded name.
//!
//! Every code point that is not simply itself (some 19,000), its neighbours, a sample of the rest, and names of
//! many marks, mappings and ignorables, where the order matters. `DAXKIT_CASEFOLD_ALL=1` asks about all code points.

mod common;

use common::{Rng, dx_hash};
use daxkit_format::ext4::casefold::{casefold, dirhash_casefold};
use daxkit_format::ext4::hash::HashVersion;

/// Compares the hashes. For a name that cannot be folded the kernel hashes the bytes as they are; debugfs 1.47.0 does
/// so only if the first byte is a stray continuation byte, and otherwise refuses: then the refusal is compared.
fn check(names: Vec<Vec<u8>>) {
    let questions: Vec<_> = names.into_iter().map(|name| ("-h half_md4 -c -e utf8".to_string(), name)).collect();
    let mut out = Vec::new();
    for ((_, name), theirs) in questions.iter().zip(dx_hash(&questions)) {
        let refused = casefold(name, &mut out).is_err() && !matches!(name[0], 0x80..=0xbf);
        let ours = dirhash_casefold(name, HashVersion::HalfMd4, &[0; 4], false).expect("not strict");
        let ours = (!refused).then_some((ours.hash, ours.minor_hash));
        assert_eq!(ours, theirs, "{name:02x?} {}", String::from_utf8_lossy(name).escape_unicode());
    }
}

fn fold(c: char) -> Vec<u8> {
    let mut out = Vec::new();
    casefold(c.to_string().as_bytes(), &mut out).expect("a character is valid");
    out
}

/// What debugfs can be asked about.
fn askable(c: &char) -> bool {
    !['\0', '\n', '\r'].contains(c)
}

/// Characters that fold to something else, or that have a combining class: they move before a mark of the class 240.
fn special(c: &char) -> bool {
    let mut probe = Vec::new();
    casefold(format!("\u{345}\u{301}{c}").as_bytes(), &mut probe).expect("valid");
    let plain = format!("\u{3b9}\u{301}{c}");
    let mut high = Vec::new();
    casefold(format!("\u{35d}{c}").as_bytes(), &mut high).expect("valid");
    probe != plain.as_bytes() || high != format!("\u{35d}{c}").as_bytes()
}

#[test]
fn single_code_points() {
    let all = || ('\0'..=char::MAX).filter(askable);
    let chosen: Vec<char> = if std::env::var_os("DAXKIT_CASEFOLD_ALL").is_some() {
        all().collect()
    } else {
        let special: std::collections::BTreeSet<u32> = all().filter(special).map(u32::from).collect();
        // Fewer would mean the tables are empty or the probe is.
        assert!(special.len() > 19_000, "{}", special.len());
        all()
            .filter(|&c| {
                let c = u32::from(c);
                special.range(c.saturating_sub(1)..=c + 1).next().is_some() || c % 101 == 0
            })
            // Neither all Hangul nor all of the ignorable plane is needed.
            .filter(|&c| !(('\u{ac00}'..'\u{d7a4}').contains(&c) || c >= '\u{e0000}') || u32::from(c) % 37 == 0)
            .collect()
    };
    check(chosen.iter().map(|c| c.to_string().into_bytes()).collect());
    // The class shows only next to other marks: the lowest and the highest ones.
    check(chosen.iter().map(|c| format!("x\u{301}{c}\u{334}\u{35d}{c}\u{323}").into_bytes()).collect());
}

#[test]
fn names_of_marks_mappings_and_ignorables() {
    let mut rng = Rng(0x1234_5678_9abc_def1);
    let marks: Vec<char> =
        ('\u{300}'..='\u{1e94a}').filter(|c| special(c) && fold(*c) == c.to_string().as_bytes()).collect();
    let mapped: Vec<char> = ('\u{41}'..='\u{2fa1d}').filter(|c| fold(*c) != c.to_string().as_bytes()).collect();
    assert!(marks.len() > 700 && mapped.len() > 14_000, "{} {}", marks.len(), mapped.len());
    let names = (0..6000).map(|_| {
        let mut name = String::new();
        for _ in 0..1 + rng.below(24) {
            let c = match rng.below(10) {
                0..=3 => marks[rng.below(marks.len() as u64) as usize],
                4..=5 => mapped[rng.below(mapped.len() as u64) as usize],
                6 => ['\u{ad}', '\u{200d}', '\u{34f}', '\u{e0100}', '\u{180e}'][rng.below(5) as usize],
                7 => char::from_u32(0xac00 + rng.below(11_172) as u32).expect("a syllable"),
                8 => char::from_u32(0x20 + rng.below(0x5f) as u32).expect("ASCII"),
                _ => char::from_u32(rng.below(0x11_0000) as u32).filter(askable).unwrap_or('x'),
            };
            name.push(c);
        }
        name.into_bytes()
    });
    check(names.collect());
}

#[test]
fn malformed_names() {
    let mut rng = Rng(0xfeed_face_cafe_beef);
    let pieces: [&[u8]; 32] = [
        b"\xc0",
        b"\xc1",
        b"\xc2",
        b"\xdf",
        b"\xe0",
        b"\xe2",
        b"\xed",
        b"\xef",
        b"\xf0",
        b"\xf3",
        b"\xf4",
        b"\xf5",
        b"\xff",
        b"\x80",
        b"\xbf",
        b"\xa0",
        b"\x90",
        b"\x8f",
        b"A",
        b"z",
        b"\xc3\x89",
        b"\xe2\x82\xac",
        b"\xf0\x9f\x98\x80",
        b"\xf4\x8f\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xed\x9f\xbf",
        b"\xed\xa0\x80",
        b"\xe0\x9f\xbf",
        b"\xe0\xa0\x80",
        b"\xf0\x8f\xbf\xbf",
        b"\xf0\x90\x80\x80",
        b"\xcc\x81",
    ];
    let names = (0..10_000).map(|_| {
        (0..1 + rng.below(4)).flat_map(|_| pieces[rng.below(pieces.len() as u64) as usize]).copied().collect()
    });
    check(names.collect());
}

#[test]
fn stray_bytes_among_marks() {
    let mut rng = Rng(0xa5a5_0f0f_3c3c_9999);
    let pieces: [&[u8]; 11] = [
        b"A",
        b"\x80",
        b"\xbf",
        b"\xcc\x81",
        b"\xcc\xa3",
        b"\xcc\xb4",
        b"\xcd\x85",
        b"\xcd\x9d",
        b"\xc2\xad",
        b"\xc3\x89",
        b"\xea\xb0\x81",
    ];
    let mut names: Vec<Vec<u8>> = (0..6000)
        .map(|_| (0..1 + rng.below(12)).flat_map(|_| pieces[rng.below(11) as usize]).copied().collect())
        .collect();
    // Marks of 46 classes, then more and more stray bytes, each passed on in every scan: past the longest folding.
    let classes: String = ('\u{5b0}'..='\u{5b9}')
        .chain(['\u{5bb}', '\u{5bc}', '\u{5bd}', '\u{5bf}', '\u{5c1}', '\u{5c2}', '\u{fb1e}'])
        .chain('\u{64b}'..='\u{652}')
        .chain(['\u{670}', '\u{711}', '\u{c55}', '\u{c56}', '\u{e38}', '\u{e48}', '\u{eb8}', '\u{ec8}'])
        .chain(['\u{f71}', '\u{f72}', '\u{f74}', '\u{321}', '\u{31b}', '\u{323}', '\u{302a}', '\u{301}'])
        .chain(['\u{315}', '\u{35c}', '\u{35d}', '\u{334}', '\u{93c}'])
        .collect();
    let long = |strays| [classes.as_bytes(), &vec![0x80; strays]].concat();
    let mut out = Vec::new();
    assert!(casefold(&long(60), &mut out).is_ok() && casefold(&long(120), &mut out).is_err());
    names.extend((60..=120).map(long));
    check(names);
}
