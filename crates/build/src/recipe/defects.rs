//! `[[defect]]`: something deliberately wrong, held against the field table as far as that goes without an image.

use super::error::{cut, quoted};
use super::items::several;
use super::reader::{Field, Table};
use super::schema::DEFECT;
use super::target::Target;
use super::types::{Checksum, Defect, DefectChange};
use super::values::hex;
use daxkit_format::field::did_you_mean;
use daxkit_format::field::{InodeRef, Object, Place, quote};
use toml::de::DeValue;

const CHANGES: &[&str] = &["set", "or", "clear", "xor", "add", "bytes", "bit"];
/// Longest text of a place in which the place of an error is looked for.
const LONGEST_PLACE: usize = 1024;
/// Bits in the largest bitmap: a block of 64 KiB.
const BITMAP_BITS: u32 = 8 * 65536;

/// Reads all defects of the recipe.
pub(super) fn defects(recipe: &Table<'_>) -> Vec<Defect> {
    let tables = recipe.get("defect").and_then(|field| several(field, &DEFECT)).unwrap_or_default();
    tables.iter().filter_map(defect).collect()
}

fn defect(t: &Table<'_>) -> Option<Defect> {
    let name = t.get("name").map_or(Some(""), |field| field.text("a text"));
    let spelled = t.need("place");
    let place = spelled.and_then(place);
    let target = spelled.zip(place.as_ref()).and_then(|(field, place)| target(field, place));
    let change = t.need_one_of(CHANGES).and_then(|field| change(t, field, target.as_ref()));
    if let (Some(to), None) = (t.get("to"), t.get("bit")) {
        to.refuse::<()>("goes with `bit`, which is missing");
    }
    const CHECKSUMS: &[(&str, Checksum)] = &[("seal", Checksum::Seal), ("stale", Checksum::Stale)];
    let checksum = t.get("checksum").map_or(Some(Checksum::Seal), |field| field.choice(CHECKSUMS))?;
    // A target that is wrong has been noted; without one there is nothing to apply the change to.
    target?;
    Some(Defect { at: t.reader.at(t.offset), name: name?.to_owned(), place: place?, change: change?, checksum })
}

/// Reads a place. What is wrong with it is told at the column behind the part that is a place, where that can be found.
fn place(field: Field<'_>) -> Option<Place> {
    let text = field.text("a place such as 'inode.\"/a\".i_flags'")?;
    match text.parse::<Place>() {
        Ok(place) => {
            let relative = inode_path(&place.object).filter(|path| path.first() != Some(&b'/'));
            match relative {
                Some(path) => {
                    field.refuse(format_args!("names the inode {}, and its path begins with `/`", cut(quote(path))))
                }
                None => Some(place),
            }
        }
        Err(error) => {
            let good = if text.len() > LONGEST_PLACE { 0 } else { longest_place(text) };
            field.refuse_at(inside(&field, good), format_args!("{} is not a place: {}", quoted(text), error.reason))
        }
    }
}

/// The path in a place that names an inode by one.
fn inode_path(object: &Object) -> Option<&[u8]> {
    match object {
        Object::Inode(inode)
        | Object::Node(inode, _)
        | Object::Extent(inode, _)
        | Object::Map(inode, _)
        | Object::FileBlock(inode, _)
        | Object::Xattr(inode, _)
        | Object::Entry(inode, _)
        | Object::EntryAt(inode, ..)
        | Object::Dx(inode, ..)
        | Object::DirBlock(inode, _) => match inode {
            InodeRef::Path(path) => Some(path),
            InodeRef::Number(_) => None,
        },
        _ => None,
    }
}

/// Length of the longest start of a text that is a place.
fn longest_place(text: &str) -> usize {
    let starts = text.char_indices().map(|(i, _)| i).rev();
    let is_place = |end: &usize| text.get(..*end).is_some_and(|start| start.parse::<Place>().is_ok());
    starts.into_iter().find(is_place).unwrap_or(0)
}

/// The offset in the recipe of a byte of a text; that of the whole text where it has escapes.
fn inside(field: &Field<'_>, byte: usize) -> usize {
    let spelled = field.spelled();
    let plain = spelled.get(1..spelled.len().saturating_sub(1)) == field.value().as_str();
    if plain && byte > 0 { field.offset() + 1 + byte } else { field.offset() }
}

/// What a place names, with its field found in the field table.
fn target(field: Field<'_>, place: &Place) -> Option<Target> {
    match Target::find(place) {
        Ok(target) => Some(target),
        Err(wrong) => {
            let behind_dot = place.field.as_ref().map(|field| format!(".{field}")).unwrap_or_default();
            let start = field.value().as_str().and_then(|text| text.rfind(&behind_dot));
            let hint = did_you_mean(&wrong.part, wrong.known.iter().map(String::as_str));
            let at = start.map_or(0, |start| start + 1 + wrong.at);
            field.refuse_at(inside(&field, at), format_args!("{}{hint}", wrong.why))
        }
    }
}

fn change(t: &Table<'_>, field: Field<'_>, target: Option<&Target>) -> Option<DefectChange> {
    let accept = |outcome: Result<(), String>| match outcome {
        Ok(()) => Some(()),
        Err(why) => field.refuse(why),
    };
    match field.key {
        "bit" => {
            let index = field.number(0..=BITMAP_BITS - 1);
            let to = t.need("to").and_then(|field| field.bool());
            accept(target?.takes_bit())?;
            Some(DefectChange::Bit { index: index?, to: to? })
        }
        "bytes" => {
            let bytes = hex(field)?;
            accept(target?.takes_bytes(&bytes))?;
            Some(DefectChange::Bytes(bytes))
        }
        "add" => {
            let number = field.integer().and_then(|n| i64::try_from(n).ok());
            let number = number.or_else(|| field.wants("a number of 64 bits with its sign"))?;
            accept(target?.takes_number(None))?;
            Some(DefectChange::Add(number))
        }
        key => {
            let value = value(field, target)?;
            if key == "set" {
                accept(target?.takes_value(&value))?;
                return Some(DefectChange::Set(value));
            }
            accept(target?.takes_number(Some(&value)))?;
            Some(match key {
                "or" => DefectChange::Or(value),
                "clear" => DefectChange::Clear(value),
                _ => DefectChange::Xor(value),
            })
        }
    }
}

/// A value as text. A number for a field that holds a time is one of seconds, where eight digits of text would be a date.
fn value(field: Field<'_>, target: Option<&Target>) -> Option<String> {
    match field.value() {
        DeValue::String(text) => Some(text.clone().into_owned()),
        DeValue::Integer(_) => match field.integer() {
            Some(n) if target.is_some_and(Target::is_time) => Some(format!("@{n}")),
            Some(n) => Some(n.to_string()),
            None => field.wants("a number of 64 bits"),
        },
        _ => field.wants("a number, or a text as the field table writes it"),
    }
}
