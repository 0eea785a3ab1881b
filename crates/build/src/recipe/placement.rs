//! `[[file]]`: where the blocks of a file lie, and how they are mapped.

use super::reader::{Field, Table};
use super::schema::{EXTENT, FRAGMENTS, PLACE};
use super::values::size;
use crate::source::{Mapping, PlacedExtent, Placement};
use daxkit_format::ext4::extent::MAX_DEPTH;

const PLACEMENT: &[&str] = &["place", "fragments", "tree_depth", "extents"];
/// Blocks that a file system can have (`ee_start` has 48 bits), and so the first number that is none.
const PHYSICAL_END: u64 = 1 << 48;
/// Blocks that an extent tree can map (`ee_block` has 32 bits).
const LOGICAL_END: u64 = 1 << 32;

/// Reads where the blocks should lie.
pub(super) fn placement(t: &Table<'_>) -> Placement {
    let Some(field) = t.one_of(PLACEMENT) else { return Placement::Best };
    let found = match field.key {
        "place" => place(field),
        "fragments" => fragments(field),
        "tree_depth" => field.number(0..=MAX_DEPTH as u8).map(Placement::TreeDepth),
        _ => extents(field),
    };
    found.unwrap_or_default()
}

fn place(field: Field<'_>) -> Option<Placement> {
    let t = field.table(&PLACE, "a table such as { block = 5120 } or { align = \"2M\", skew = \"4K\" }")?;
    let skew = t.get("skew");
    let one = t.need_one_of(&["block", "align"])?;
    if one.key == "block" {
        if let Some(skew) = skew {
            t.conflict(one, skew);
        }
        return one.number(0..=PHYSICAL_END - 1).map(Placement::Block);
    }
    let align = size(one)?;
    if !align.is_power_of_two() {
        return one.wants("a power of two");
    }
    let behind = match skew {
        Some(skew) => size(skew)?,
        None => 0,
    };
    match skew {
        Some(skew) if behind >= align => {
            skew.refuse(format_args!("is {behind}, and must be less than `align`, which is {align}"))
        }
        _ => Some(Placement::Align { align, skew: behind }),
    }
}

fn fragments(field: Field<'_>) -> Option<Placement> {
    let Some(t) = field.as_table(&FRAGMENTS) else {
        if field.integer().is_none() {
            return field.wants("a number of pieces, or a table such as { pieces = 4, gap = 2 }");
        }
        return field.number(1..=LOGICAL_END).map(|pieces| Placement::Fragments { pieces, gap: 1 });
    };
    let pieces = t.need("pieces").and_then(|field| field.number(1..=LOGICAL_END));
    let gap = match t.get("gap") {
        Some(field) => field.number(1..=PHYSICAL_END - 1)?,
        None => 1,
    };
    Some(Placement::Fragments { pieces: pieces?, gap })
}

fn extents(field: Field<'_>) -> Option<Placement> {
    let wanted = "a list of extents such as { logical = 0, physical = 6000, len = 10 }";
    let mut extents: Vec<PlacedExtent> = Vec::new();
    let mut next = 0;
    for t in field.tables(&EXTENT, wanted)? {
        let at = t.need("logical");
        let logical = at.and_then(|field| field.number(0..=LOGICAL_END - 1));
        let physical = t.need("physical").and_then(|field| field.number(0..=PHYSICAL_END - 1));
        let count = t.need("len");
        let len = count.and_then(|field| field.number(1..=LOGICAL_END));
        let unwritten = t.get("unwritten").map_or(Some(false), |field| field.bool());
        let (at, logical, physical, count, len, unwritten) = (at?, logical?, physical?, count?, len?, unwritten?);
        if logical < next {
            return at.refuse(format_args!(
                "wants extents in order and apart; this one begins at {logical}, and the one before it ends at {next}"
            ));
        }
        // Neither sum overflows: both numbers have 48 bits at most.
        next = logical + len;
        if next > LOGICAL_END {
            return count.refuse(format_args!("leads past block {LOGICAL_END} of the file"));
        }
        if physical + len > PHYSICAL_END {
            return count.refuse(format_args!("leads past block {PHYSICAL_END} of the file system"));
        }
        extents.push(PlacedExtent { logical, physical, len, unwritten });
    }
    if extents.is_empty() {
        return field.refuse("is empty");
    }
    Some(Placement::Extents(extents.into()))
}

/// Reads how the blocks are mapped, and refuses what such a map cannot say.
pub(super) fn mapping(t: &Table<'_>, placement: &Placement, unwritten: bool) -> Mapping {
    const NAMES: &[(&str, Mapping)] =
        &[("extents", Mapping::Extents), ("indirect", Mapping::Indirect), ("inline", Mapping::Inline)];
    let Some(field) = t.get("mapping") else { return Mapping::Default };
    let Some(mapping) = field.choice(NAMES) else { return Mapping::Default };
    let placed = PLACEMENT.iter().find_map(|key| t.get(key));
    let unwritten = t.get("unwritten").filter(|_| unwritten);
    let (obstacle, why) = match mapping {
        Mapping::Inline => (placed.or(unwritten), "data in the inode has no blocks"),
        Mapping::Indirect => match placement {
            Placement::TreeDepth(_) => (placed, "a map of blocks has no extent tree"),
            Placement::Extents(list) if list.iter().any(|e| e.unwritten) => {
                (placed, "a map of blocks has no unwritten ones")
            }
            _ => (unwritten, "a map of blocks has no unwritten ones"),
        },
        Mapping::Default | Mapping::Extents => (None, ""),
    };
    if let Some(other) = obstacle {
        let (first, second) = if other.key_offset < field.key_offset { (other, field) } else { (field, other) };
        t.reader.note(second.key_offset, || {
            let line = t.reader.at(first.key_offset).line;
            format!("`{}` and `{}` (line {line}) exclude each other: {why}", second.key, first.key)
        });
    }
    mapping
}
