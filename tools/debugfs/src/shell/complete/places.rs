//! Places, and the fields in them.

use super::{Item, paths};
use crate::session::Session;
use daxkit_format::field::{Access, Format, Object, Place, Structure};

/// What a place begins with.
const BEGINS: &[&str] =
    &["super", "group.", "inode:", "inode.", "dir:", "dir.", "block:", "journal", "mmp", "quota.", "orphan/block:"];

/// Places that `word` may become.
pub(super) fn places(session: &Session<'_>, word: &str) -> Vec<Item> {
    if word.starts_with('/') {
        return paths::image(session, word, false);
    }
    // By its path from the root of the image.
    for head in ["inode.", "dir."] {
        if let Some(path) = word.strip_prefix(head).filter(|path| path.starts_with('/')) {
            return behind(head, paths::image(session, path, head == "dir."));
        }
    }
    if let Some((head, _)) = word.rsplit_once('/') {
        return parts(head).iter().map(|part| Item::open(format!("{head}/{part}"))).collect();
    }
    let Some((head, _)) = word.rsplit_once('.') else { return BEGINS.iter().map(|word| Item::open(*word)).collect() };
    if head == "quota" {
        return ["user", "group", "project"].iter().map(|kind| Item::open(format!("quota.{kind}"))).collect();
    }
    let place = match (head, session.position.here()) {
        ("", Some(here)) => Some(here.object.clone().place()),
        _ => head.parse::<Place>().ok(),
    };
    behind(&format!("{head}."), place.map(|place| fields(&place)).unwrap_or_default())
}

fn behind(head: &str, items: Vec<Item>) -> Vec<Item> {
    items.into_iter().map(|item| Item { word: format!("{head}{}", item.word), ..item }).collect()
}

/// What may stand behind the slash after an object.
fn parts(object: &str) -> &'static [&'static str] {
    match object.parse::<Place>().map(|place| place.object) {
        Ok(Object::Inode(_)) => &["node", "extent:", "map:", "block:"],
        Ok(Object::Group { .. }) => &["block_bitmap", "inode_bitmap"],
        Ok(Object::Journal) => &["block:"],
        Ok(Object::DirBlock(..)) => &["entry:", "dx:"],
        Ok(Object::Quota(..)) => &["id:"],
        Err(_) if object.starts_with("dir") => &["block:"],
        Ok(_) | Err(_) => &[],
    }
}

/// The fields of an object, or the bits of a field.
fn fields(place: &Place) -> Vec<Item> {
    let structures = place.object.structures();
    let Some(field) = &place.field else {
        return structures.iter().flat_map(|s| s.fields()).map(|def| Item::open(def.name)).collect();
    };
    let access = structures.iter().find_map(|s| Access::find(*s, &field.name));
    match access.map(|access| access.format()) {
        Some(Format::Bits(set)) if field.bit.is_none() => {
            set.names().into_iter().map(|(name, _)| Item::whole(name)).collect()
        }
        _ => Vec::new(),
    }
}

/// The fields of one structure: by the short names of debugfs, by the kernel's when the word begins like one of them.
pub(super) fn short_fields(structure: Structure, word: &str) -> Vec<Item> {
    let prefix = structure.prefix();
    let cut = if word.starts_with(prefix) { "" } else { prefix };
    structure.fields().iter().map(|def| Item::whole(def.name.strip_prefix(cut).unwrap_or(def.name))).collect()
}
