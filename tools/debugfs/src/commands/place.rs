//! Places: where something lies, what its fields say, and whether the checksums over it are right.
//!
//! There is a present place, a stack and a history. What begins with `.` or `/` is looked for in the object one stands at
//! (`.i_flags`, `/node:0`), what begins with `+` counts bytes from the present place.

use super::Command;
use crate::output::{self, shown};
use crate::position::Position;
use crate::session::Session;
use anyhow::{Context, Result, bail};
use daxkit_format::field::{Access, InodeRef, Object, Place, quote};
use daxkit_volume::{Located, Verdict};
use serde_json::{Map, Value, json};

pub(super) static COMMANDS: &[Command] = &[
    Command {
        names: &["locate"],
        args: "PLACE",
        summary: "Go to a place and say where it lies: bytes, structure, field, checksums over it",
        example: "locate inode:2.i_flags\nlocate \"inode.\"\"/two words\"\".i_size\"",
        run: locate,
    },
    Command {
        names: &["print"],
        args: "[PLACE]",
        summary: "Show the fields of a place (go there), or of the present one",
        example: "print group.0",
        run: print,
    },
    Command {
        names: &["push"],
        args: "[PLACE]",
        summary: "Keep the present place, and go to another",
        example: "push super",
        run: push,
    },
    Command { names: &["pop"], args: "", summary: "Go to the place that push kept last", example: "pop", run: pop },
    Command { names: &["back"], args: "", summary: "Go back to the place before", example: "back", run: back },
    Command { names: &["forward"], args: "", summary: "Go forward again", example: "forward", run: forward },
    Command {
        names: &["history"],
        args: "",
        summary: "List the places one has been at, and those kept",
        example: "history",
        run: history,
    },
];

/// The place a word names: as it is written, with its quotes taken away by the command line, added to the present
/// place, or a file.
pub(super) fn parse(session: &mut Session<'_>, word: &[u8]) -> Result<Place> {
    let text = shown(word);
    let whole = match (word.first(), session.position.here()) {
        (Some(b'.' | b'/'), Some(here)) => format!("{}{text}", here.object),
        (Some(b'+'), Some(here)) => format!("{here}{text}"),
        _ => text.clone(),
    };
    let first = match whole.parse::<Place>() {
        Ok(place) => return Ok(place),
        Err(e) => e,
    };
    for mark in [".entry.", ".xattr."] {
        if let Some((object, name)) = whole.split_once(mark)
            && let Ok(place) = format!("{object}{mark}{}", quote(name.as_bytes())).parse()
        {
            return Ok(place);
        }
    }
    for kind in ["inode.", "dir."] {
        if let Some(path) = whole.strip_prefix(kind)
            && let Ok(place) = format!("{kind}{}", quote(path.as_bytes())).parse()
        {
            return Ok(place);
        }
    }
    if word.first() == Some(&b'/') || word.first() == Some(&b'<') {
        let nr = session.inode(word)?.nr().get();
        return Ok(Object::Inode(InodeRef::Number(nr)).place());
    }
    Err(first.into())
}

fn verdicts(session: &Session<'_>, found: &Located) -> Result<Vec<(String, Verdict)>> {
    let device = session.volume.device();
    found.seals.iter().map(|seal| Ok((seal.to_string(), seal.verify(&**device)?))).collect()
}

fn in_words(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Right => "right".to_owned(),
        Verdict::Wrong { stored, right } => format!("wrong: {stored:#010x} is kept, {right:#010x} would be right"),
        Verdict::Unused => "not used".to_owned(),
        Verdict::Impossible => "there is no room for it".to_owned(),
    }
}

pub(super) fn seal_document(seal: &str, verdict: &Verdict) -> Value {
    match verdict {
        Verdict::Right => json!({ "checksum": seal, "verdict": "right" }),
        Verdict::Wrong { stored, right } => {
            json!({ "checksum": seal, "verdict": "wrong", "stored": stored, "right": right })
        }
        Verdict::Unused => json!({ "checksum": seal, "verdict": "unused" }),
        Verdict::Impossible => json!({ "checksum": seal, "verdict": "impossible" }),
    }
}

/// Shows the checksums over a place; those that are wrong are complained about. Returns what JSON shows of them.
pub(super) fn show_seals(session: &mut Session<'_>, found: &Located) -> Result<Vec<Value>> {
    let mut rows = Vec::new();
    for (seal, verdict) in verdicts(session, found)? {
        if session.json {
            rows.push(seal_document(&seal, &verdict));
        } else {
            writeln!(session.out, "checksum {seal}: {}", in_words(&verdict))?;
        }
        if matches!(verdict, Verdict::Wrong { .. }) {
            session.complain(format_args!("{seal}: checksum does not match"));
        }
    }
    Ok(rows)
}

/// The value of the field a place names, as text.
fn field_value(found: &Located, bytes: &[u8]) -> Option<(String, String)> {
    let field = found.field?;
    let value = field.get(bytes)?;
    let name = field.low().name;
    Some((name.to_owned(), field.format().format(field.kind(), &value)))
}

fn show(session: &mut Session<'_>, command: &Command, place: &Place) -> Result<()> {
    let found = session.volume.locate(place)?;
    let bytes = found.read(&**session.volume.device())?;
    let value = field_value(&found, &bytes);
    let bs = u64::from(session.volume.block_size());
    let base = session.volume.base();
    let block = |at: u64| (at.saturating_sub(base) / bs, at.saturating_sub(base) % bs);
    if session.json {
        let seals = show_seals(session, &found)?;
        let range = |r: &std::ops::Range<u64>| {
            let (nr, offset) = block(r.start);
            json!({ "offset": r.start, "len": r.end - r.start, "block": nr, "offset_in_block": offset })
        };
        let document = json!({
            "place": place.to_string(),
            "object": range(&found.object),
            "structure": found.structure.map(|s| json!({ "name": s.name(), "at": range(&found.structure_bytes) })),
            "named": range(&found.named),
            "field": value.map(|(name, value)| json!({ "name": name, "value": value })),
            "checksums": seals,
        });
        return output::document(&mut session.out, command.name(), document);
    }
    let line = |r: &std::ops::Range<u64>| {
        let (nr, offset) = block(r.start);
        format!(
            "bytes {:#x}-{:#x}, block:{nr}+{offset:#x}, {} bytes",
            r.start,
            r.end.saturating_sub(1),
            r.end - r.start
        )
    };
    writeln!(session.out, "place {place}\nobject {}", line(&found.object))?;
    if let Some(structure) = found.structure {
        writeln!(session.out, "structure {} {}", structure.name(), line(&found.structure_bytes))?;
    }
    if found.named != found.object {
        writeln!(session.out, "named {}", line(&found.named))?;
    }
    if let Some((name, value)) = value {
        writeln!(session.out, "field {name} = {value}")?;
    }
    show_seals(session, &found)?;
    Ok(())
}

fn locate(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (1, 1))?;
    let word = options.rest.first().map(Vec::as_slice).unwrap_or_default();
    let place = parse(session, word)?;
    show(session, command, &place)?;
    session.position.go(place);
    Ok(())
}

fn print(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (0, 1))?;
    let place = match options.rest.first() {
        Some(word) => parse(session, word)?,
        None => session.position.here().cloned().context("one stands nowhere; locate PLACE goes to a place")?,
    };
    let found = session.volume.locate(&place)?;
    let bytes = found.read(&**session.volume.device())?;
    let mut rows: Vec<(String, Value, String)> = Vec::new();
    if let Some((name, value)) = field_value(&found, &bytes) {
        rows.push((name, Value::from(value.clone()), value));
    } else if let Some(structure) = found.structure {
        let values = output::fields(structure, &bytes, bytes.len());
        for def in structure.fields() {
            let text = Access::find(structure, def.name).and_then(|a| a.get_text(&bytes));
            if let (Some(value), Some(text)) = (values.get(def.name), text) {
                rows.push((def.name.to_owned(), value.clone(), text));
            }
        }
    } else {
        let hex = daxkit_format::field::to_hex(&bytes);
        rows.push(("bytes".to_owned(), Value::from(hex.clone()), hex));
    }
    if session.json {
        let fields: Map<String, Value> = rows.into_iter().map(|(name, value, _)| (name, value)).collect();
        let structure = found.structure.map(|s| s.name());
        let document = json!({ "place": place.to_string(), "structure": structure, "fields": fields });
        output::document(&mut session.out, command.name(), document)?;
    } else {
        for (name, _, text) in rows {
            writeln!(session.out, "{name} = {text}")?;
        }
    }
    session.position.go(place);
    Ok(())
}

/// Says where one stands.
fn stands(session: &mut Session<'_>, command: &Command) -> Result<()> {
    let here = session.position.here().map(ToString::to_string);
    if session.json {
        return output::document(&mut session.out, command.name(), json!({ "place": here }));
    }
    writeln!(session.out, "{}", here.unwrap_or_else(|| "nowhere".to_owned()))?;
    Ok(())
}

fn push(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (0, 1))?;
    let target = match options.rest.first() {
        Some(word) => {
            let place = parse(session, word)?;
            session.volume.locate(&place)?;
            Some(place)
        }
        None => None,
    };
    // From nowhere one can go to a place, but there is nothing to keep.
    if !session.position.push() && target.is_none() {
        bail!("there is no place to keep, or too many are kept");
    }
    if let Some(place) = target {
        session.position.go(place);
    }
    stands(session, command)
}

fn step(
    session: &mut Session<'_>,
    command: &'static Command,
    words: &[Vec<u8>],
    how: fn(&mut Position) -> bool,
) -> Result<()> {
    command.options(words, "", &[], (0, 0))?;
    // Somebody who stands nowhere has nowhere to go, which is no failure.
    if !how(&mut session.position) && session.position.here().is_some() {
        bail!("there is no place to go to");
    }
    stands(session, command)
}

fn pop(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    step(session, command, words, Position::pop)
}

fn back(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    step(session, command, words, Position::back)
}

fn forward(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    step(session, command, words, Position::forward)
}

fn history(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    command.options(words, "", &[], (0, 0))?;
    let position = &session.position;
    let texts = |places: &[Place]| places.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (history, stack, at) = (texts(&position.history), texts(&position.stack), position.index());
    if session.json {
        let document = json!({ "history": history, "at": at, "stack": stack });
        return output::document(&mut session.out, command.name(), document);
    }
    for (i, place) in history.iter().enumerate() {
        writeln!(session.out, "{} {place}", if i == at { '*' } else { ' ' })?;
    }
    for place in stack {
        writeln!(session.out, "kept {place}")?;
    }
    Ok(())
}
