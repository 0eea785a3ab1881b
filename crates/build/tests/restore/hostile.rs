//! Texts that are no images: an error that names the line, no panic, no write outside of the image.

use super::images::{KINDS, built, image, text};
use daxkit_build::dump::Data;
use daxkit_build::restore::RestoreError;

fn refused(text: &str, wanted: &str) {
    let error = built(text.as_bytes()).expect_err(text).to_string();
    assert!(error.contains(wanted), "{text:?}: {error}");
}

#[test]
fn what_is_no_text_is_refused() {
    refused("", "line 0: the text ends here");
    refused("hello\n", "line 1: daxkit-dump is missing before \"hello\"");
    refused("daxkit-dump 1\nlength 9\n", "line 1: this is version 1 of the text form, not 2");
    let head = "daxkit-dump 2\nlength 65536\ndata full\n";
    refused("daxkit-dump 2\nlength 18446744073709551615\ndata full\nend\n", "line 2: no file can be that long");
    refused("daxkit-dump 2\nlength x\n", "line 2: \"x\": not a length in bytes");
    refused("daxkit-dump 2\nlength 65536\ndata hash\nfree\nend\n", "line 3: the text has hashes in place of data");
    refused(head, "line 3: the text ends here");
    refused(&format!("{head}end\nmore\n"), "line 5: something follows the end");
    refused(&format!("{head}sooper\n"), "line 4: \"sooper\": no section begins like this");
    refused(&format!("{head}  .s_magic 5\n"), "line 4: no section that has lines");
    refused(&format!("{head}inode:12 file\n"), "line 4: where this lies cannot be said: no line `super` came before");
    refused(&format!("{head}free\n  block:0 zz\n"), "line 5: \"zz\": neither a text in quotes nor hexadecimal digits");
    refused(&format!("{head}free\n  block:0 \"a\n"), "line 5: a text in quotes is missing");
    refused(&format!("{head}free\n  block:0 61 62\n"), "line 5: \"62\" is too much");
    refused(&format!("{head}free\n  block:64 61\n"), "line 5: 1 bytes at byte 65536 are not inside the image");
    refused(&format!("{head}free\n  block:99999999999999999999 61\n"), "line 5: ");
    refused(&format!("{head}super\n  .s_nothing 5\n"), "line 5: no field s_nothing is known here");
    refused(&format!("{head}super\n  .s_state ok\nfree\n"), "line 6: s_state: it is no checksum");
    refused(&format!("{head}super\n  .s_state 99999\n"), "line 5: s_state: ");
    refused(&format!("{head}free\n  block:0 blake3:00 7 bytes\n"), "line 5: the text has hashes");
    let long = format!("{head}free\n  block:0 {}\n", "61".repeat(600_000));
    refused(&long, "line 5: a line of more than a megabyte");
    let mut bytes = head.as_bytes().to_vec();
    bytes.extend(b"fr\xffe\n");
    assert!(matches!(built(&bytes), Err(RestoreError::Line { line: 4, .. })));
}

/// Lines left out, doubled, moved, cut, and words of them changed: whatever it is, it ends.
#[test]
fn whatever_a_text_says_there_is_an_end() {
    let seed = std::env::var("DAXKIT_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(11);
    println!("DAXKIT_SEED={seed}");
    let mut state: u64 = seed;
    let mut below = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % n
    };
    let odd = [
        "0",
        "4294967295",
        "18446744073709551615",
        "-1",
        "0x",
        "\"",
        "@",
        "@0",
        "@99999999999",
        "none",
        "1-0",
        "ok",
        "",
    ];
    let (mut good, mut bad) = (0, 0);
    for (size, args) in KINDS {
        let text = String::from_utf8(text(&image(size, args), Data::Full)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for _ in 0..120 {
            let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            for _ in 0..=below(3) {
                let at = 3 + below(lines.len() - 4);
                match below(6) {
                    0 => drop(lines.remove(at)),
                    1 => lines.insert(at, lines[at].clone()),
                    2 => {
                        let line = lines.remove(at);
                        let to = 3 + below(lines.len() - 3);
                        lines.insert(to, line);
                    }
                    3 => {
                        let cut = (0..=below(lines[at].len() + 1)).rev().find(|n| lines[at].is_char_boundary(*n));
                        lines[at].truncate(cut.unwrap_or(0));
                    }
                    _ => {
                        let mut words: Vec<&str> = lines[at].split(' ').collect();
                        let word = below(words.len());
                        words[word] = odd[below(odd.len())];
                        lines[at] = words.join(" ");
                    }
                }
            }
            match built((lines.join("\n") + "\n").as_bytes()) {
                Ok(bytes) => {
                    assert!(!bytes.is_empty());
                    good += 1;
                }
                Err(error) => {
                    assert!(error.to_string().starts_with("line "), "seed {seed}: {error}");
                    bad += 1;
                }
            }
        }
    }
    assert!(good > 100 && bad > 100, "seed {seed}: {good} good, {bad} bad");
}
