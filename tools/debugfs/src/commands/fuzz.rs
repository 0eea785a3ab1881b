//! Places changed: a value written, or a field damaged by one of the verbs that xfs_db has for it.

use super::Command;
use super::fields::{self, Wanted};
use super::place;
use crate::output::{self, shown};
use crate::session::Session;
use crate::words::number;
use anyhow::{Context, Result, bail};
use daxkit_build::source::random_word;
use daxkit_format::field::{Place, parse_hex, to_hex};
use daxkit_format::{FieldKind, FieldValue};
use daxkit_volume::{Edit, Field, Located};
use serde_json::json;

pub(super) static COMMANDS: &[Command] = &[
    Command {
        names: &["set"],
        args: "[-c] PLACE VALUE",
        summary: "Write a value into the field a place names, or bytes in hexadecimal; -c: leave the checksums over it as they are",
        example: "set inode:2.i_flags.DAX 1",
        run: set,
    },
    Command {
        names: &["fuzz"],
        args: "[-c] [-d] [--seed SEED] PLACE VERB [N]",
        summary: "Damage a field: zeroes, ones, firstbit, middlebit, lastbit, add [N], sub [N] or random; and make the checksums over it right (-d), or leave them as they are (-c)",
        example: "fuzz -d group.0.bg_flags middlebit",
        run: fuzz,
    },
];

/// How a field is damaged. Bits are counted from the most significant one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Zeroes,
    Ones,
    FirstBit,
    MiddleBit,
    LastBit,
    Add,
    Sub,
    Random,
}

/// The names of the verbs.
pub(crate) const VERBS: [&str; 8] = ["zeroes", "ones", "firstbit", "middlebit", "lastbit", "add", "sub", "random"];

const MEANINGS: &[(&str, Verb)] = &[
    ("zeroes", Verb::Zeroes),
    ("ones", Verb::Ones),
    ("firstbit", Verb::FirstBit),
    ("middlebit", Verb::MiddleBit),
    ("lastbit", Verb::LastBit),
    ("add", Verb::Add),
    ("sub", Verb::Sub),
    ("random", Verb::Random),
];

fn set(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "c", &[], (2, 2))?;
    session.check_writable()?;
    let [word, value] = options.rest else { return Ok(()) };
    let place = place::parse(session, word)?;
    let found = session.volume.locate(&place)?;
    let before = found.read(&**session.volume.device())?;
    let edits = match found.field {
        Some(Field::Named(access)) if place.offset == 0 => {
            let mut after = before.clone();
            fields::set(&Wanted { bit: found.bit, ..Wanted::new(access) }, &mut after, value, session.time())?;
            found.edits(&before, &after)
        }
        Some(Field::Word(def)) if place.offset == 0 => {
            let mut after = before.clone();
            let value = FieldValue::Int(number(value, "a number")?);
            if !def.set(&mut after, &value) {
                bail!("{}: does not fit {} bytes", shown(words.last().map_or(&[], Vec::as_slice)), def.kind.len());
            }
            found.edits(&before, &after)
        }
        _ => {
            let text = std::str::from_utf8(value).ok();
            let bytes = text.and_then(parse_hex).with_context(|| format!("{}: not hexadecimal bytes", shown(value)))?;
            let room = found.named.end - found.named.start;
            if bytes.len() as u64 > room {
                bail!("{} bytes do not fit into the {room} bytes from there on", bytes.len());
            }
            vec![Edit { offset: found.named.start, bytes }]
        }
    };
    write(session, &found, &edits, options.has('c'))?;
    report(session, command, &place, &found)
}

fn fuzz(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "cd", &["seed"], (2, 3))?;
    if options.has('c') && options.has('d') {
        bail!("-c and -d exclude each other");
    }
    session.check_writable()?;
    let [word, verb, by @ ..] = options.rest else { return Ok(()) };
    let by = by.first().map(|word| number(word, "a number")).transpose()?;
    let name = verb;
    let verb = MEANINGS.iter().find(|(name, _)| name.as_bytes() == verb.as_slice()).map(|(_, verb)| *verb);
    let verb = verb.with_context(|| format!("{}: no such verb; {}", shown(name), command.usage()))?;
    if by.is_some() && !matches!(verb, Verb::Add | Verb::Sub) {
        bail!("only add and sub take a number; {}", command.usage());
    }
    let by = by.unwrap_or(1);
    let seed = options.value("seed").map(|v| number(v, "a seed")).transpose()?.unwrap_or(0);
    let place = place::parse(session, word)?;
    let found = session.volume.locate(&place)?;
    let device = session.volume.device().clone();
    let at = order(&found, &place);
    let (start, end) = match (at.iter().min(), at.iter().max()) {
        (Some(start), Some(end)) => (*start, *end + 1),
        _ => bail!("{place}: no bytes there"),
    };
    let mut bytes = vec![0; usize::try_from(end - start).unwrap_or(0)];
    device.read_at(start, &mut bytes)?;
    let index = |at: u64| usize::try_from(at - start).unwrap_or(usize::MAX);
    // Most significant first, whatever their order on disk is.
    let mut value: Vec<u8> = at.iter().filter_map(|at| bytes.get(index(*at)).copied()).collect();
    match (found.bit, found.field.and_then(|f| f.get(&found.read(&*device).ok()?))) {
        (Some(bit), Some(FieldValue::Int(old))) => one_bit(&mut value, bit, old & bit != 0, verb, seed),
        _ => damage(&mut value, verb, (by, seed), &place),
    }
    // Only what changes: between the halves of a field may lie the checksum.
    let changed = at.iter().zip(&value).filter(|(at, byte)| bytes.get(index(**at)) != Some(*byte));
    let edits: Vec<Edit> = changed.map(|(at, byte)| Edit { offset: *at, bytes: vec![*byte] }).collect();
    write(session, &found, &edits, options.has('c'))?;
    report(session, command, &place, &found)
}

/// The bytes of the device that a place names, the most significant one first.
fn order(found: &Located, place: &Place) -> Vec<u64> {
    let Some(field) = found.field.filter(|_| place.offset == 0) else { return found.named.clone().collect() };
    let len = usize::try_from(found.structure_bytes.end - found.structure_bytes.start).unwrap_or(usize::MAX);
    let pieces = field.pieces(len);
    let at = |range: std::ops::Range<usize>| range.map(|i| found.structure_bytes.start.saturating_add(i as u64));
    match field.low().kind {
        // The second half is the higher one.
        FieldKind::Le { width, count } => {
            let width = usize::from(width);
            let words = pieces.into_iter().rev().flat_map(|piece| {
                let words = if count > 1 { width } else { piece.len() };
                piece.clone().step_by(words.max(1)).map(move |start| start..start + words)
            });
            words.flat_map(|word| at(word).rev()).collect()
        }
        FieldKind::Be { .. } | FieldKind::Bytes { .. } => pieces.into_iter().flat_map(at).collect(),
    }
}

/// Damages one bit by itself.
fn one_bit(value: &mut [u8], bit: u64, is_set: bool, verb: Verb, seed: u64) {
    let flip = match verb {
        Verb::Zeroes => is_set,
        Verb::Ones => !is_set,
        Verb::Random => random_word(seed, bit) & 1 == 1,
        _ => true,
    };
    for (byte, mask) in value.iter_mut().rev().zip(bit.to_le_bytes()).filter(|_| flip) {
        *byte ^= mask;
    }
}

fn damage(value: &mut [u8], verb: Verb, (by, seed): (u64, u64), place: &Place) {
    let bits = value.len() * 8;
    let mut flip = |bit: usize| {
        if let Some(byte) = value.get_mut(bit / 8) {
            *byte ^= 0x80 >> (bit % 8);
        }
    };
    match verb {
        Verb::FirstBit => flip(0),
        Verb::MiddleBit => flip(bits / 2),
        Verb::LastBit => flip(bits.saturating_sub(1)),
        Verb::Zeroes => value.fill(0),
        Verb::Ones => value.fill(0xff),
        Verb::Add => add(value, by, 0),
        // Less by a number is more by its complement, and by one.
        Verb::Sub => add(value, by.wrapping_neg(), if by == 0 { 0 } else { 0xff }),
        Verb::Random => {
            // Every place has its own numbers, the same in every run.
            let salt = place.to_string().bytes().fold(seed, |seed, b| random_word(seed, b.into()));
            let old = value.to_vec();
            for round in 0u64.. {
                for (n, chunk) in (0u64..).zip(value.chunks_mut(8)) {
                    let word = random_word(salt, n.wrapping_add(round << 32));
                    chunk.iter_mut().zip(word.to_le_bytes()).for_each(|(to, from)| *to = from);
                }
                // One in 256 leaves a byte as it was.
                if value != old || value.is_empty() {
                    break;
                }
            }
        }
    }
}

/// Adds a number; above its eight bytes stand `rest`.
fn add(value: &mut [u8], number: u64, rest: u8) {
    let mut over = 0u16;
    let digits = number.to_le_bytes().into_iter().chain(std::iter::repeat(rest));
    for (byte, digit) in value.iter_mut().rev().zip(digits) {
        let sum = u16::from(*byte) + u16::from(digit) + over;
        (*byte, over) = ((sum & 0xff) as u8, sum >> 8);
    }
}

/// Writes, and makes the checksums over the bytes right unless they are to stay.
fn write(session: &mut Session<'_>, found: &Located, edits: &[Edit], stale: bool) -> Result<()> {
    fields::write(session, edits, if stale { &[] } else { &found.seals })
}

/// Shows what stands there now.
fn report(session: &mut Session<'_>, command: &Command, place: &Place, found: &Located) -> Result<()> {
    let device = session.volume.device().clone();
    let value = match found.field.filter(|_| place.offset == 0) {
        Some(field) => {
            let bytes = found.read(&*device)?;
            match (found.bit, field.get(&bytes)) {
                (Some(bit), Some(FieldValue::Int(x))) => u8::from(x & bit != 0).to_string(),
                (_, Some(value)) => field.format().format(field.kind(), &value),
                _ => String::new(),
            }
        }
        None => {
            let len = usize::try_from(found.named.end - found.named.start).unwrap_or(0).min(MOST_SHOWN);
            let mut bytes = vec![0; len];
            device.read_at(found.named.start, &mut bytes)?;
            format!("0x{}", to_hex(&bytes))
        }
    };
    if session.json {
        let document = json!({ "place": place.to_string(), "value": value });
        return output::document(&mut session.out, command.name(), document);
    }
    writeln!(session.out, "{place} = {value}")?;
    Ok(())
}

/// Most bytes shown of a place that is no field.
const MOST_SHOWN: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn damaged(value: &[u8], verb: Verb, seed: u64) -> Vec<u8> {
        let mut value = value.to_vec();
        damage(&mut value, verb, (1, seed), &"super.s_state".parse().unwrap());
        value
    }

    #[test]
    fn verbs_do_what_their_names_say() {
        let v = [0x12, 0x34];
        assert_eq!(damaged(&v, Verb::Zeroes, 0), [0, 0]);
        assert_eq!(damaged(&v, Verb::Ones, 0), [0xff, 0xff]);
        assert_eq!(damaged(&v, Verb::FirstBit, 0), [0x92, 0x34]);
        assert_eq!(damaged(&v, Verb::MiddleBit, 0), [0x12, 0xb4]);
        assert_eq!(damaged(&v, Verb::LastBit, 0), [0x12, 0x35]);
        assert_eq!(damaged(&[0x12, 0xff], Verb::Add, 0), [0x13, 0]);
        assert_eq!(damaged(&[0xff, 0xff], Verb::Add, 0), [0, 0]);
        assert_eq!(damaged(&[0x12, 0], Verb::Sub, 0), [0x11, 0xff]);
        assert_eq!(damaged(&[0, 0], Verb::Sub, 0), [0xff, 0xff]);
        assert_eq!(damaged(&v, Verb::Random, 7), damaged(&v, Verb::Random, 7));
        assert_ne!(damaged(&v, Verb::Random, 7), damaged(&v, Verb::Random, 8));
        for byte in 0..=255 {
            assert_ne!(damaged(&[byte], Verb::Random, 0), [byte]);
        }
        assert_eq!(damaged(&[], Verb::Random, 0), [0u8; 0]);
        let mut wide = [0u8; 10];
        add(&mut wide, 5, 0);
        add(&mut wide, 6u64.wrapping_neg(), 0xff);
        assert_eq!(wide, [0xff; 10]);
    }
}
