//! The places that differ: fields where a structure has them, else runs of bytes.

use super::blocks::{Part, What};
use anyhow::Result;
use daxkit_format::field::{Access, InodeRef, Object, Place, Structure, to_hex};
use daxkit_format::{BlockNr, InodeNr};
use daxkit_volume::Volume;
use serde_json::{Value, json};
use std::fmt;
use std::ops::Range;

/// Most bytes of a place that are shown.
const SHOWN: usize = 32;
/// Most places that are shown; the rest is counted.
const MAX_PLACES: usize = 10_000;
/// Runs of bytes with fewer equal bytes between them are one.
const JOIN: usize = 8;

/// A place that would change.
#[derive(Debug)]
pub(super) struct Row {
    /// Its name.
    place: String,
    /// Byte of the device.
    offset: u64,
    len: u64,
    old: String,
    new: String,
    /// Old and new are values of a field, not the first bytes.
    field: bool,
    /// What it is, where the name does not say so.
    what: Option<String>,
}

impl Row {
    pub(super) fn document(&self) -> Value {
        let (old, new) = if self.field { ("old", "new") } else { ("old_bytes", "new_bytes") };
        json!({
            "place": self.place, "offset": self.offset, "len": self.len, "what": self.what, (old): self.old, (new): self.new
        })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, old, new, .. } = self;
        write!(f, "{place}")?;
        if let Some(what) = &self.what {
            write!(f, " ({what})")?;
        }
        if self.field {
            return write!(f, ": {old} -> {new}");
        }
        let dots = if self.len > SHOWN as u64 { "..." } else { "" };
        write!(f, ", {} bytes: {old}{dots} -> {new}{dots}", self.len)
    }
}

/// The rows so far.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(super) rows: Vec<Row>,
    /// How many more there are.
    pub(super) left_out: u64,
    /// Bytes that differ.
    pub(super) bytes: u64,
    /// Content of a file that goes on in the next block.
    content: Option<Content>,
}

/// Successive blocks of a file.
#[derive(Debug)]
struct Content {
    inode: InodeNr,
    first: u64,
    /// The first byte of the first block that differs.
    start: u64,
    next: u64,
    /// The block of the image behind it.
    next_block: u64,
    row: Row,
}

/// A block, as it is and as it would be.
struct Block<'a> {
    /// Byte of the device.
    at: u64,
    old: &'a [u8],
    new: &'a [u8],
}

impl Rows {
    /// Adds what differs in a block.
    pub(super) fn block(&mut self, before: &Volume, after: &Volume, nr: u64, what: &What) -> Result<()> {
        let (old, new) = (before.read_block(BlockNr(nr))?, after.read_block(BlockNr(nr))?);
        self.bytes += old.iter().zip(&new).filter(|(o, n)| o != n).count() as u64;
        let bs = u64::from(after.block_size());
        let block = Block { at: after.base().saturating_add(nr.saturating_mul(bs)), old: &old, new: &new };
        if let What::Content { inode, logical } = *what {
            self.content(&block, nr, inode, logical);
            return Ok(());
        }
        self.end_content();
        let mut next = 0;
        if let What::Parts(parts) = what {
            for part in parts {
                self.runs(&block, next..part.bytes.start, &Object::Block(nr), 0, None);
                self.part(&block, part, None);
                next = part.bytes.end;
            }
        }
        let object = Object::Block(nr);
        if let What::Used { structure, what, inode } = what {
            let part = Part { bytes: 0..old.len(), object: object.clone(), structure: *structure };
            self.part(&block, &part, Some(&format!("{what} of inode:{inode}")));
            next = old.len();
        }
        self.runs(&block, next..old.len(), &object, 0, None);
        Ok(())
    }

    /// All rows.
    pub(super) fn finish(mut self) -> Self {
        self.end_content();
        self
    }

    fn push(&mut self, row: Row) {
        if self.rows.len() < MAX_PLACES {
            self.rows.push(row);
        } else {
            self.left_out += 1;
        }
    }

    fn end_content(&mut self) {
        if let Some(content) = self.content.take() {
            self.push(content.row);
        }
    }

    /// A block of a file. It is one place with the block before, where both follow each other.
    fn content(&mut self, block: &Block<'_>, nr: u64, inode: InodeNr, logical: u64) {
        let differs = |at: &usize| block.old.get(*at) != block.new.get(*at);
        let start = (0..block.old.len()).find(differs).unwrap_or(0);
        let end = (start..block.old.len()).rev().find(differs).map_or(start, |last| last + 1);
        if let Some(content) = &mut self.content
            && (content.inode, content.next, content.next_block) == (inode, logical, nr)
        {
            let blocks = (logical - content.first).saturating_mul(block.old.len() as u64);
            content.row.len = blocks.saturating_add(end as u64).saturating_sub(content.start);
            content.next += 1;
            content.next_block += 1;
            return;
        }
        self.end_content();
        let object = Object::FileBlock(InodeRef::Number(inode.get()), logical);
        let row = bytes_row(block, start..end, Place { offset: start as u64, ..object.place() }, None);
        let (first, next, next_block) = (logical, logical + 1, nr + 1);
        self.content = Some(Content { inode, first, start: start as u64, next, next_block, row });
    }

    /// An object: its fields, then what lies in none of them.
    fn part(&mut self, block: &Block<'_>, part: &Part, what: Option<&str>) {
        let (Some(old), Some(new)) = (block.old.get(part.bytes.clone()), block.new.get(part.bytes.clone())) else {
            return;
        };
        if old == new {
            return;
        }
        let mut next = 0;
        if let Some(structure) = part.structure {
            let end = end_of(structure, old, new);
            for def in structure.fields().iter().filter(|def| def.offset + def.kind.len() <= end) {
                let range = def.offset..def.offset + def.kind.len();
                // Fields that share their bytes with others are shown under the first name.
                if range.start < next {
                    continue;
                }
                self.runs(
                    block,
                    part.bytes.start + next..part.bytes.start + range.start,
                    &part.object,
                    part.bytes.start,
                    what,
                );
                next = range.end;
                if old.get(range.clone()) == new.get(range) {
                    continue;
                }
                let Some(access) = Access::find(structure, def.name) else { continue };
                let text = |bytes| access.get_text(bytes).unwrap_or_default();
                self.push(Row {
                    place: part.object.clone().field(def.name).to_string(),
                    offset: block.at + (part.bytes.start + def.offset) as u64,
                    len: def.kind.len() as u64,
                    old: text(old),
                    new: text(new),
                    field: true,
                    what: what.map(ToOwned::to_owned),
                });
            }
        }
        self.runs(block, part.bytes.start + next..part.bytes.end, &part.object, part.bytes.start, what);
    }

    /// The runs of bytes that differ in a range of the block; places count from `origin`, where `object` begins.
    fn runs(&mut self, block: &Block<'_>, range: Range<usize>, object: &Object, origin: usize, what: Option<&str>) {
        let differs = |at: &usize| block.old.get(*at) != block.new.get(*at);
        let mut at = range.start;
        while let Some(start) = (at..range.end).find(differs) {
            let mut end = start + 1;
            while let Some(more) = (end..range.end.min(end + JOIN)).rev().find(differs) {
                end = more + 1;
            }
            let place = Place { offset: (start - origin) as u64, ..object.clone().place() };
            self.push(bytes_row(block, start..end, place, what));
            at = end;
        }
    }
}

fn bytes_row(block: &Block<'_>, range: Range<usize>, place: Place, what: Option<&str>) -> Row {
    let shown = range.start..range.end.min(range.start + SHOWN);
    let hex = |bytes: &[u8]| to_hex(bytes.get(shown.clone()).unwrap_or_default());
    Row {
        place: place.to_string(),
        offset: block.at + range.start as u64,
        len: range.len() as u64,
        old: hex(block.old),
        new: hex(block.new),
        field: false,
        what: what.map(ToOwned::to_owned),
    }
}

/// How much of the structure is there. An inode says so itself; what follows are attributes.
fn end_of(structure: Structure, old: &[u8], new: &[u8]) -> usize {
    let all = old.len().min(structure.size());
    if structure != Structure::Inode {
        return all;
    }
    let extra = |raw: &[u8]| raw.get(128..130).map_or(0, |b| b.iter().rev().fold(0, |n, b| n << 8 | usize::from(*b)));
    all.min(128 + extra(old).max(extra(new)))
}
