//! `[[file]]`, `[[dir]]`, `[[symlink]]`, `[[link]]`, `[[node]]`: the things of the tree, in the order of the text.

use super::attrs::attrs;
use super::content::file;
use super::error::cut;
use super::reader::{Field, Table};
use super::schema::{DIR, ENTRIES, FILE, LINK, NODE, SYMLINK, TableInfo};
use super::types::{Attrs, DirEntries, DirItem, Item, ItemKind};
use super::values::{LONGEST_NAME, image_path, pair, path_bytes, size};
use crate::source::Kind;
use daxkit_format::field::quote;
use std::collections::HashMap;

/// How the keys of a table that are not attributes are read.
type Read = fn(&Table<'_>) -> Option<ItemKind>;

const KINDS: &[(&str, &TableInfo, Read)] = &[
    ("file", &FILE, |t| file(t).map(ItemKind::File)),
    ("dir", &DIR, |t| dir(t).map(ItemKind::Dir)),
    ("symlink", &SYMLINK, |t| path_bytes(t.need("target")?).map(ItemKind::Symlink)),
    ("link", &LINK, |t| image_path(t.need("target")?).map(ItemKind::Link)),
    ("node", &NODE, node),
];

/// Reads all items of the recipe.
pub(super) fn items(recipe: &Table<'_>) -> Vec<Item> {
    let mut found = Vec::new();
    for (key, info, read) in KINDS {
        let tables = recipe.get(key).and_then(|field| several(field, info)).unwrap_or_default();
        found.extend(tables.into_iter().map(|table| (table, *read)));
    }
    found.sort_by_key(|(table, _)| table.offset);
    let mut lines = HashMap::new();
    found.into_iter().filter_map(|(table, read)| item(&table, read, &mut lines)).collect()
}

/// The tables of a list such as `[[file]]`.
pub(super) fn several<'a>(field: Field<'a>, info: &'static TableInfo) -> Option<Vec<Table<'a>>> {
    if field.value().as_table().is_none() {
        return field.tables(info, &format!("tables, {}", info.name));
    }
    let bracket = field.spelled().starts_with('[');
    let hint = if bracket { "; there may be several, so the brackets are doubled" } else { "" };
    field.refuse(format_args!("wants {}{hint}", info.name))
}

fn item(t: &Table<'_>, read: Read, lines: &mut HashMap<Vec<u8>, u32>) -> Option<Item> {
    let place = t.need("path");
    let path = place.and_then(image_path);
    // What a path is for is read even where the path is wrong: whatever stands first is told first.
    let kind = read(t);
    let attrs = if t.info.shared.is_some() { attrs(t) } else { Attrs::default() };
    let (place, path, kind) = (place?, path?, kind?);
    if path == b"/" && !matches!(kind, ItemKind::Dir(_)) {
        return place.refuse("is the root directory, which is a directory: [[dir]] gives it attributes");
    }
    if kind == ItemKind::Link(path.clone()) {
        return place.refuse("is its own `target`");
    }
    let at = t.reader.at(t.offset);
    if let Some(line) = lines.get(&path) {
        return place.refuse(format_args!("{} is given twice, first on line {line}", cut(quote(&path))));
    }
    lines.insert(path.clone(), t.reader.at(place.offset()).line);
    Some(Item { at, path, attrs, kind })
}

fn dir(t: &Table<'_>) -> Option<DirItem> {
    let htree_levels = match t.get("htree_levels") {
        Some(field) => field.number(0..=3)?,
        None => 0,
    };
    let entries = match t.get("entries") {
        Some(field) => Some(entries(field, htree_levels)?),
        None => None,
    };
    Some(DirItem { htree_levels, entries })
}

fn entries(field: Field<'_>, htree_levels: u8) -> Option<DirEntries> {
    const KINDS: &[(&str, Option<Kind>)] = &[("file", Some(Kind::File)), ("dir", Some(Kind::Dir)), ("link", None)];
    let t = field.table(&ENTRIES, "a table such as { count = 1000, prefix = \"f\" }")?;
    let given = if htree_levels == 0 { t.need("count") } else { t.get("count") };
    let count = given.map(|field| field.number(1..=u32::MAX));
    let prefix = t.get("prefix").map_or(Some(b"f".to_vec()), prefix);
    let width = t.get("width").map_or(Some(6), |field| field.number(1..=10));
    let kind = t.get("kind").map_or(Some(Some(Kind::File)), |field| field.choice(KINDS));
    let bytes = t.get("size").map_or(Some(0), size);
    if let (Some(Some(Kind::Dir)), Some(size), Some(kind)) = (kind, t.get("size"), t.get("kind")) {
        t.conflict(size, kind);
    }
    let count = match count {
        Some(count) => Some(count?),
        None if htree_levels == 0 => return None,
        None => None,
    };
    let (prefix, width, kind, size) = (prefix?, width?, kind?, bytes?);
    let names = 10u64.saturating_pow(width.into());
    if let (Some(count), Some(given)) = (count, given)
        && u64::from(count) > names
    {
        return given.refuse(format_args!("is {count}, but {width} digits (`width`) make {names} names"));
    }
    Some(DirEntries { count, prefix, width, kind, size })
}

/// What names begin with. Ten digits must have room behind it.
fn prefix(field: Field<'_>) -> Option<Vec<u8>> {
    let text = field.text("the start of a name")?;
    if text.contains(['/', '\0']) {
        return field.refuse("has a `/` or a NUL, which no name can have");
    }
    if text.len() > LONGEST_NAME - 10 {
        return field.refuse(format_args!("has {} bytes; the most is {}", text.len(), LONGEST_NAME - 10));
    }
    Some(text.as_bytes().to_vec())
}

fn node(t: &Table<'_>) -> Option<ItemKind> {
    const TYPES: &[(&str, Kind)] =
        &[("char", Kind::Char), ("block", Kind::Block), ("fifo", Kind::Fifo), ("socket", Kind::Socket)];
    let kind_field = t.need("type")?;
    let kind = kind_field.choice(TYPES)?;
    if matches!(kind, Kind::Char | Kind::Block) {
        return device(t.need("device")?).map(|device| ItemKind::Node(kind, device));
    }
    if let Some(device) = t.get("device") {
        return device.refuse("is for types `char` and `block`");
    }
    Some(ItemKind::Node(kind, (0, 0)))
}

/// Numbers of a device as Linux has them: 12 bits and 20 bits.
fn device(field: Field<'_>) -> Option<(u32, u32)> {
    const WANTED: &str = "\"MAJOR:MINOR\" with numbers up to 4095 and 1048575";
    pair(field.text(WANTED)?)
        .filter(|(major, minor)| *major < 1 << 12 && *minor < 1 << 20)
        .or_else(|| field.wants(WANTED))
}
