//! `[[file]]`: what a file holds.

use super::placement::{mapping, placement};
use super::reader::{Field, Table};
use super::schema::{PATTERN, PIECE};
use super::types::{Content, FileItem};
use super::values::{hex, host_path, ranges, size};
use crate::source::{Pattern, Piece};
use std::ops::Range;

const CONTENT: &[&str] = &["text", "hex", "source", "pattern", "data"];

/// Where a file ends.
#[derive(Clone, Copy)]
enum End<'a> {
    /// Here, by `size`.
    Given(u64, Field<'a>),
    /// `size` is given and wrong, which is known already.
    Wrong,
    /// Where the content ends.
    Open,
}

/// Reads the keys of a file that are not attributes.
pub(super) fn file(t: &Table<'_>) -> Option<FileItem> {
    let end = match t.get("size").map(|field| (size(field), field)) {
        Some((Some(size), field)) => End::Given(size, field),
        Some((None, _)) => End::Wrong,
        None => End::Open,
    };
    let content = match t.one_of(CONTENT) {
        Some(field) => content(field, end),
        None => Some(Content::None),
    };
    let end_of_ranges = match (end, &content) {
        (End::Given(size, _), _) => size,
        (End::Open, Some(content)) => content_end(content).unwrap_or(u64::MAX),
        _ => u64::MAX,
    };
    let holes = t.get("holes").and_then(|field| ranges(field, end_of_ranges)).unwrap_or_default();
    let unwritten = t.get("unwritten").and_then(|field| ranges(field, end_of_ranges)).unwrap_or_default();
    check_holes(t, &holes, &unwritten, end_of_ranges);
    let placement = placement(t);
    let mapping = mapping(t, &placement, !unwritten.is_empty());
    let size = if let End::Given(size, _) = end { Some(size) } else { None };
    Some(FileItem { size, content: content?, holes, unwritten, placement, mapping })
}

/// Where the content ends; `None` for what the host knows alone.
fn content_end(content: &Content) -> Option<u64> {
    match content {
        Content::None => Some(0),
        Content::Bytes(bytes) => u64::try_from(bytes.len()).ok(),
        Content::Host(_) => None,
        Content::Pieces(pieces) => Some(pieces.last().map_or(0, |last| last.range.end)),
    }
}

/// A hole has nothing behind the end of the file to be a hole in, and a block is not both absent and unwritten.
fn check_holes(t: &Table<'_>, holes: &[Range<u64>], unwritten: &[Range<u64>], end: u64) {
    let Some(field) = t.get("holes") else { return };
    if let Some(hole) = holes.iter().find(|hole| hole.end > end) {
        field.refuse::<()>(format_args!("has a hole from {} to {}, and the file ends at {end}", hole.start, hole.end));
    }
    let Some(other) = t.get("unwritten") else { return };
    let meet = |a: &&Range<u64>| unwritten.iter().any(|b| a.start < b.end && b.start < a.end);
    if let Some(hole) = holes.iter().find(meet) {
        let later = if field.key_offset > other.key_offset { field } else { other };
        later.refuse::<()>(format_args!(
            "meets `{}` (line {}): the hole from {} to {} has no blocks that could be unwritten",
            if later.key == "holes" { "unwritten" } else { "holes" },
            field.reader.at(field.key_offset.min(other.key_offset)).line,
            hole.start,
            hole.end
        ));
    }
}

fn content(field: Field<'_>, end: End<'_>) -> Option<Content> {
    match field.key {
        "source" => host_path(field).map(Content::Host),
        "pattern" => {
            let pattern = pattern(field)?;
            match end {
                End::Given(0, _) => Some(Content::Pieces(Vec::new())),
                End::Given(size, _) => Some(Content::Pieces(vec![Piece { range: 0..size, pattern }])),
                End::Wrong => None,
                End::Open => field.refuse("needs `size`: it fills the whole file"),
            }
        }
        "data" => pieces(field, end).map(Content::Pieces),
        key => {
            let bytes = if key == "hex" { hex(field)? } else { field.text("a text")?.as_bytes().to_vec() };
            let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            match end {
                End::Given(size, at) if len > size => longer(field, len, size, at),
                _ => Some(Content::Bytes(bytes)),
            }
        }
    }
}

fn longer<T>(field: Field<'_>, len: u64, size: u64, at: Field<'_>) -> Option<T> {
    let line = at.reader.at(at.key_offset).line;
    field.refuse(format_args!("reaches to byte {len}, and `size` (line {line}) is {size}"))
}

fn pieces(field: Field<'_>, end: End<'_>) -> Option<Vec<Piece>> {
    let tables =
        field.tables(&PIECE, "a list of pieces such as { at = \"1M\", len = \"64K\", pattern = \"random\" }")?;
    let count = tables.len();
    let mut pieces: Vec<Piece> = Vec::new();
    for (i, t) in tables.iter().enumerate() {
        let before = pieces.last().map_or(0, |last| last.range.end);
        let start = match t.get("at") {
            None => before,
            Some(at) => {
                let start = size(at)?;
                if start < before {
                    return at.refuse(format_args!(
                        "wants pieces in order and apart; this one is at {start}, and the one before it ends at {before}"
                    ));
                }
                start
            }
        };
        let pattern = pattern(t.need("pattern")?)?;
        if i + 1 < count && t.get("len").is_none() {
            return note_piece(t, "lacks `len`; only the last piece ends where the file ends");
        }
        let stop = match (t.get("len"), end) {
            (Some(len), _) => {
                let bytes = size(len)?;
                let stop = start.checked_add(bytes).filter(|stop| *stop <= i64::MAX as u64);
                match (stop, end) {
                    _ if bytes == 0 => return len.refuse("is 0: a piece has at least one byte"),
                    (None, _) => return len.refuse("leads past 2^63-1 bytes"),
                    (Some(stop), End::Given(size, at)) if stop > size => return longer(len, stop, size, at),
                    (Some(stop), _) => stop,
                }
            }
            (None, End::Given(size, at)) => {
                if start >= size {
                    let line = at.reader.at(at.key_offset).line;
                    return note_piece(t, &format!("begins at {start}, and `size` (line {line}) is {size}"));
                }
                size
            }
            (None, End::Wrong) => return None,
            (None, End::Open) => return note_piece(t, "lacks `len`, and the file has no `size` where it would end"),
        };
        pieces.push(Piece { range: start..stop, pattern });
    }
    Some(pieces)
}

fn note_piece<T>(t: &Table<'_>, what: &str) -> Option<T> {
    t.lacks(|| what.to_owned());
    None
}

/// Makes a pattern that needs nothing but its name.
type Make = fn() -> Pattern;

/// A pattern by its name, or with what it needs as a table.
fn pattern(field: Field<'_>) -> Option<Pattern> {
    if let Some(t) = field.as_table(&PATTERN) {
        let value = t.need_one_of(PATTERN.keys)?;
        return match value.key {
            "byte" => value.number(0..=u8::MAX).map(Pattern::Byte),
            "random" => value.number(0..=u64::MAX).map(Pattern::Random),
            _ => match value.text("a text")? {
                "" => value.refuse("is empty"),
                text => Some(Pattern::Repeat(text.as_bytes().to_vec())),
            },
        };
    }
    if field.value().as_str().is_none() {
        return field.wants("a pattern such as \"zero\", \"random\", { byte = 0x5a }, { repeat = \"abc\" }");
    }
    const NAMES: &[(&str, Make)] = &[
        ("zero", || Pattern::Zero),
        ("random", || Pattern::Random(0)),
        ("offset", || Pattern::Offset),
        ("text", || Pattern::Text),
    ];
    field.choice(NAMES).map(|make| make())
}
