//! The dump as an oracle: every place that it prints is found, lies where the dump says, and holds what the dump says.

use crate::images::{KINDS, build};
use crate::tools::load;
use daxkit_build::dump::{DumpOptions, dump_to_string};
use daxkit_device::BlockDevice;
use daxkit_format::field::{Object, Place, unquote};
use daxkit_volume::{Located, OpenOptions, Seal, Verdict, Volume};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A place of a dump, and what stands behind it on its line.
pub struct Printed {
    pub place: Place,
    pub rest: String,
}

/// Cuts a place off the front of a line: it ends at the first blank outside of quotes.
fn cut(line: &str) -> (&str, &str) {
    let mut at = 0;
    while let Some(c) = line[at..].chars().next().filter(|c| *c != ' ') {
        at += if c == '"' { line.len() - at - unquote(&line[at..]).unwrap().1.len() } else { c.len_utf8() };
    }
    (&line[..at], line[at..].trim_start())
}

/// All places of a dump.
pub fn printed(dump: &str) -> Vec<Printed> {
    let (mut section, mut out) = ("", Vec::new());
    for line in dump.lines().skip(3) {
        let (text, rest) = match line.strip_prefix("  ") {
            None => {
                let (head, rest) = cut(line);
                // Later blocks of a quota file are headed like the first; what is in them has other places.
                section = if head.starts_with("quota.") && !rest.starts_with("block 0 ") { "" } else { head };
                (section.to_owned(), rest)
            }
            // What is no place: an empty list of attributes, attributes of a block (their owner's place names them), and
            // ranges of words of a map.
            Some(line) if line.starts_with(".xattr ") => continue,
            Some(line) if line.starts_with(".xattr.") && section.starts_with("block:") => continue,
            Some(line) if line.starts_with(['.', '/', '+']) && !section.is_empty() => {
                let (tail, rest) = cut(line);
                if tail.starts_with("/map:") && tail.contains('-') {
                    continue;
                }
                (format!("{section}{tail}"), rest)
            }
            Some(_) => continue,
        };
        // Headings that are no places.
        if ["", "groups", "blocks", "free", "end", "block", "unreadable"].contains(&text.as_str())
            || text.contains("..")
        {
            continue;
        }
        let place = text.parse().unwrap_or_else(|e| panic!("{e} in {line:?}"));
        out.push(Printed { place, rest: rest.to_owned() });
    }
    out
}

pub fn open(device: &Arc<dyn BlockDevice>) -> Volume {
    let options = OpenOptions { ignore_checksums: true, replay: false, ..OpenOptions::default() };
    Volume::open(Arc::clone(device), &options).unwrap()
}

/// The text of a field of a located structure.
fn field(volume: &Volume, device: &dyn BlockDevice, object: &Object, name: &str) -> String {
    let located = volume.locate(&object.clone().field(name)).unwrap_or_else(|e| panic!("{e}"));
    located.field.unwrap().get_text(&located.read(device).unwrap()).unwrap()
}

/// What the dump says of an object without a field: `None` when it says nothing that is understood here.
fn agrees(volume: &Volume, device: &dyn BlockDevice, p: &Printed, located: &Located) -> Option<()> {
    let get = |name: &str| field(volume, device, &p.place.object, name);
    let words: Vec<&str> = p.rest.split_whitespace().collect();
    match &p.place.object {
        Object::Extent(..) if words.get(1) == Some(&"node") => {
            assert_eq!(format!("{} node @{}", get("ei_block"), get("ei_leaf")), p.rest);
        }
        Object::Extent(..) => {
            let raw: u32 = get("ee_len").parse().unwrap();
            let (len, state) = if raw > 32768 { (raw - 32768, " unwritten") } else { (raw, "") };
            assert_eq!(format!("{}+{len} @{}{state}", get("ee_block"), get("ee_start")), p.rest);
        }
        Object::Node(..) => {
            let (entries, max, depth) = (get("eh_entries"), get("eh_max"), get("eh_depth"));
            let head = format!("entries {entries} max {max} depth {depth}");
            // One below the root says where it lies.
            let lies = match located.object.start / u64::from(volume.block_size()) {
                _ if !p.rest.starts_with('@') => head,
                block => format!("@{block} {head}"),
            };
            assert!(p.rest.starts_with(&lies), "{} {:?}", p.place, p.rest);
            if p.rest.ends_with("et_checksum ok") {
                assert_eq!(located.seals.first().map(|s| s.verify(device).unwrap()), Some(Verdict::Right));
            }
        }
        Object::EntryAt(..) => {
            let (name, rest) = unquote(&p.rest).unwrap();
            let mut bytes = vec![0; name.len()];
            device.read_at(located.object.start + 8, &mut bytes).unwrap();
            assert_eq!((bytes, get("name_len")), (name, bytes_len(&p.rest)), "{}", p.place);
            assert!(rest.starts_with(&format!(" inode {} {}", get("inode"), get("file_type"))) || get("inode") == "0");
        }
        Object::Dx(_, _, 0) => assert_eq!(format!("block {}", get("block")), p.rest),
        Object::Dx(..) => {
            let hash = u32::from_str_radix(get("hash").trim_start_matches("0x"), 16).unwrap();
            assert_eq!(format!("hash {hash:#010x} block {}", get("block")), p.rest);
        }
        Object::Map(..) => {
            let value = located.field.unwrap().get_text(&located.read(device).unwrap()).unwrap();
            assert_eq!(words.first().copied(), Some(format!("@{value}").as_str()), "{}", p.place);
        }
        Object::Xattr(_, name) => {
            let tail = name.len() - name.iter().position(|b| *b == b'.').unwrap() - 1;
            assert_eq!(get("e_name_len"), tail.to_string());
        }
        _ => {
            let at = words.iter().find_map(|w| w.strip_prefix('@'))?;
            let start = at.parse::<u64>().unwrap() * u64::from(volume.block_size());
            assert_eq!(located.object.start, start, "{} {}", p.place, p.rest);
        }
    }
    Some(())
}

fn bytes_len(quoted: &str) -> String {
    unquote(quoted).unwrap().0.len().to_string()
}

#[test]
fn every_place_of_a_dump_is_found_where_the_dump_says() {
    let dir = tempfile::tempdir().unwrap();
    let (mut all, mut fields, mut sealed, mut judged) = (0, 0, 0, 0);
    for kind in KINDS {
        let device = load(&build(kind, dir.path()));
        let volume = open(&device);
        for p in printed(&dump_to_string(&device, &DumpOptions::default()).unwrap()) {
            let located = volume.locate(&p.place).unwrap_or_else(|e| panic!("{}: {e}", kind.name));
            all += 1;
            // Nothing is damaged yet.
            for seal in &located.seals {
                let verdict = seal.verify(&*device).unwrap();
                assert!(matches!(verdict, Verdict::Right | Verdict::Unused), "{}: {}: {verdict:?}", p.place, seal);
                sealed += 1;
            }
            if let Some(f) = located.field.filter(|_| p.place.field.is_some()) {
                fields += 1;
                let text = f.get_text(&located.read(&*device).unwrap()).unwrap();
                if p.rest == "ok" {
                    assert!(!located.seals.is_empty(), "{}", p.place);
                } else if !p.rest.starts_with("device ") && !text.starts_with("0x") {
                    // The dump joins times with their fractions and shows bytes as text where it can.
                    let time = p.rest.ends_with('Z') && text.ends_with('Z') && p.rest[..19] == text[..19];
                    assert!(p.rest == text || time, "{}: {:?} {text:?}", p.place, p.rest);
                }
            } else if p.place.offset == 0 && agrees(&volume, &*device, &p, &located).is_some() {
                judged += 1;
            }
        }
    }
    assert!(all > 14_000 && fields > 3_500 && sealed > 10_000 && judged > 10_000, "{all} {fields} {sealed} {judged}");
}

/// A block named by its number alone has every checksum that the objects in it have.
#[test]
fn a_block_has_the_checksums_of_what_lies_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let (mut blocks, mut nobodys) = (0, 0);
    for kind in KINDS {
        let device = load(&build(kind, dir.path()));
        let volume = open(&device);
        let mut by_block: BTreeMap<u64, BTreeMap<String, Seal>> = BTreeMap::new();
        for p in printed(&dump_to_string(&device, &DumpOptions::default()).unwrap()) {
            let located = volume.locate(&p.place.object.place()).unwrap();
            let block = located.object.start / u64::from(volume.block_size());
            // A plain file's content is nobody's business.
            let seals = located.seals.into_iter().map(|s| (s.to_string(), s));
            by_block.entry(block).or_default().extend(seals);
        }
        for (block, wanted) in by_block {
            let place = Object::Block(block).place();
            let found = volume.locate(&place).unwrap().seals;
            for (name, seal) in &wanted {
                assert!(found.contains(seal), "{}: {name} is not among those of {place}", kind.name);
            }
            blocks += 1;
            nobodys += u32::from(wanted.is_empty());
        }
    }
    assert!(blocks > 700 && nobodys > 100, "{blocks} {nobodys}");
}
