//! One field made into something else: set to a value, or by one of the verbs of xfs_db's `fuzz`.

use super::Command;
use super::place;
use crate::output;
use crate::session::Session;
use crate::words::number;
use anyhow::{Context, Result, bail};
use daxkit_format::field::{Format, Place};
use daxkit_format::{FieldKind, FieldValue};
use daxkit_volume::Located;
use daxkit_volume::ext4::edit::Sums;
use serde_json::json;

pub(super) static COMMANDS: &[Command] = &[
    Command {
        names: &["fuzz"],
        args: "[-c] [-s SEED] PLACE VERB [VALUE]",
        summary: "Change a field: zeroes, ones, firstbit, middlebit, lastbit, add, sub (VALUE, 1 without), random. \
Checksums stay and so become wrong; -c: make them right",
        example: "fuzz -c inode:2.i_size add",
        run: fuzz,
    },
    Command {
        names: &["set"],
        args: "[-c] PLACE VALUE",
        summary: "Set the field that a place names; checksums are made right; -c: leave them as they are",
        example: "set inode:2.i_mode 040755",
        run: set,
    },
];

pub(crate) const VERBS: [&str; 8] = ["zeroes", "ones", "firstbit", "middlebit", "lastbit", "add", "sub", "random"];

/// The field that a word names, and its bytes.
fn field(session: &mut Session<'_>, word: &[u8]) -> Result<(Place, Located, Vec<u8>)> {
    let place = place::parse(session, word)?;
    let found = session.volume.locate(&place)?;
    let bytes = found.read(&**session.volume.device())?;
    if found.field.is_none() {
        bail!("{place}: names no field");
    }
    Ok((place, found, bytes))
}

fn write(
    session: &mut Session<'_>,
    command: &'static Command,
    place: &Place,
    found: &Located,
    (before, after): (&[u8], &[u8]),
    sums: Sums,
) -> Result<()> {
    let edits = found.edits(before, after);
    session.edit_raw(|editor| Ok(editor.apply(found, &edits, sums)?))?;
    let text = |bytes: &[u8]| found.field.and_then(|f| f.get_text(bytes)).unwrap_or_default();
    let (old, new) = (text(before), text(after));
    if session.json {
        let document = json!({ "place": place.to_string(), "old": old, "new": new });
        return output::document(&mut session.out, command.name(), document);
    }
    writeln!(session.out, "{place}: {old} -> {new}")?;
    Ok(())
}

fn set(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "c", &[], (2, 2))?;
    session.check_writable()?;
    let [word, text] = options.rest else { return Ok(()) };
    let (place, found, before) = field(session, word)?;
    let mut after = before.clone();
    let text = String::from_utf8_lossy(text);
    let text = match found.field.map(|f| f.format()) {
        Some(Format::Time | Format::TimeNanos) if text == "now" => format!("@{}", session.now),
        _ => text.into_owned(),
    };
    if let Some(field) = found.field {
        field.set_text(&mut after, &text)?;
    }
    let sums = if options.has('c') { Sums::Stale } else { Sums::Right };
    write(session, command, &place, &found, (&before, &after), sums)
}

fn fuzz(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "cs:", &[], (2, 3))?;
    session.check_writable()?;
    let [word, verb, rest @ ..] = options.rest else { return Ok(()) };
    let by = rest.first().map_or(Ok(1), |word| number(word, "a number"))?;
    let seed = options.value("s").map_or(Ok(session.now), |word| number(word, "a seed"))?;
    let (place, found, before) = field(session, word)?;
    let mut after = before.clone();
    let field = found.field.context("no field")?;
    let value = field.get(&before).context("the field is not stored")?;
    let new = changed(&value, field.kind(), verb, by, seed)
        .with_context(|| format!("{}: no such verb", String::from_utf8_lossy(verb)))?;
    if !field.set(&mut after, &new) {
        bail!("{place}: the field cannot hold {new:?}");
    }
    let sums = if options.has('c') { Sums::Right } else { Sums::Stale };
    write(session, command, &place, &found, (&before, &after), sums)
}

/// What a verb makes of a value.
fn changed(value: &FieldValue, kind: FieldKind, verb: &[u8], by: u64, seed: u64) -> Option<FieldValue> {
    let width = match kind {
        FieldKind::Le { width, .. } | FieldKind::Be { width, .. } => u32::from(width) * 8,
        FieldKind::Bytes { .. } => 8,
    };
    let mask = if width >= 64 { u64::MAX } else { (1 << width) - 1 };
    let mut random = seed;
    let mut number = |x: u64| {
        Some(
            mask & match verb {
                b"zeroes" => 0,
                b"ones" => u64::MAX,
                b"firstbit" => x ^ 1 << (width - 1),
                b"middlebit" => x ^ 1 << (width / 2),
                b"lastbit" => x ^ 1,
                b"add" => x.wrapping_add(by),
                b"sub" => x.wrapping_sub(by),
                b"random" => split_mix(&mut random),
                _ => return None,
            },
        )
    };
    Some(match value {
        FieldValue::Int(x) => FieldValue::Int(number(*x)?),
        FieldValue::Ints(all) => FieldValue::Ints(all.iter().map(|x| number(*x)).collect::<Option<_>>()?),
        FieldValue::Bytes(all) => {
            FieldValue::Bytes(all.iter().map(|b| number((*b).into()).map(|x| x as u8)).collect::<Option<_>>()?)
        }
    })
}

/// The next number of a sequence that the seed decides (`SplitMix64`).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut x = *state;
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_change_what_they_say() {
        let kind = FieldKind::Le { width: 2, count: 1 };
        let apply = |verb: &str, x| match changed(&FieldValue::Int(x), kind, verb.as_bytes(), 3, 7) {
            Some(FieldValue::Int(x)) => Some(x),
            _ => None,
        };
        assert!(VERBS.iter().all(|verb| apply(verb, 5).is_some()));
        assert_eq!((apply("zeroes", 5), apply("ones", 5)), (Some(0), Some(0xffff)));
        assert_eq!(
            (apply("firstbit", 1), apply("middlebit", 1), apply("lastbit", 1)),
            (Some(0x8001), Some(0x101), Some(0))
        );
        assert_eq!((apply("add", 0xfffe), apply("sub", 1)), (Some(1), Some(0xfffe)));
        assert_eq!(apply("random", 1), apply("random", 9));
        assert_eq!(apply("nothing", 1), None);
        let bytes = changed(&FieldValue::Bytes(vec![1, 2]), FieldKind::Bytes { count: 2 }, b"lastbit", 1, 0);
        assert_eq!(bytes, Some(FieldValue::Bytes(vec![0, 3])));
    }
}
