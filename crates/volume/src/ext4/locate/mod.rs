//! Where a named place lies in an image: every form that [`Place`] has, found and described.
//!
//! Damage is expected. No checksum is verified on the way, and what lies beside a place need not make sense: an entry of
//! an extent tree is found by following the entries named, a block of a file by the one path that leads to it. What
//! cannot be found is said to be so; nothing is guessed. Everything is read from the device anew, but for the blocks that
//! a volume keeps ([`Volume::forget_blocks`]) when it looks up names.
//!
//! `super` and `group.N` are the superblock and the descriptors this volume was opened with, `super:0` and `group.N:0`
//! those of group 0.

mod dir;
mod error;
mod field;
mod file;
mod finder;
mod group;
mod inode;
mod journal;
mod owner;
mod special;
mod tree;
mod xattr;

use std::ops::Range;

use daxkit_device::{BlockDevice, DeviceError};
use daxkit_format::FieldDef;
use daxkit_format::field::{Access, FieldRef, Object, Place, Structure};

use super::open::Volume;
use super::seal::{Edit, Seal};
use finder::Finder;

pub use error::{Absent, LocateError};
pub use field::Field;

/// A place that was found. All ranges are bytes of the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The object: the whole block of a node or bitmap, an entry with what its length claims, an inode, ...
    pub object: Range<u64>,
    /// The structure that applies: the one the field belongs to, or the first that the object has. `None` for plain bytes.
    pub structure: Option<Structure>,
    /// Where the structure lies, as much of it as is stored (a 128-byte inode ends early). The object where there is no
    /// structure.
    pub structure_bytes: Range<u64>,
    /// The field the place names, an element of an array resolved. Words of an indirect map are fields without a name.
    pub field: Option<Field>,
    /// The bit of the field that the place names.
    pub bit: Option<u64>,
    /// What the place names, from its offset on: the rest of the object, or of the field (of its lower half, when it lies in two).
    pub named: Range<u64>,
    /// The checksums that protect the object, innermost first. Of an inode whose generation is named these are also those
    /// of its blocks, which are computed from it.
    pub seals: Vec<Seal>,
}

impl Located {
    /// The bytes of the structure, or of the object where it has none: what [`Located::field`] is read from.
    ///
    /// # Errors
    /// The device's.
    pub fn read(&self, device: &dyn BlockDevice) -> Result<Vec<u8>, DeviceError> {
        let range = &self.structure_bytes;
        let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or(usize::MAX)];
        device.read_at(range.start, &mut bytes)?;
        Ok(bytes)
    }

    /// What has to be written to make `before`, as [`Located::read`] gave it, into `after`: the runs of bytes that differ.
    #[must_use]
    pub fn edits(&self, before: &[u8], after: &[u8]) -> Vec<Edit> {
        let mut edits: Vec<Edit> = Vec::new();
        for (at, (_, byte)) in (self.structure_bytes.start..).zip(before.iter().zip(after)).filter(|(_, (b, a))| b != a)
        {
            match edits.last_mut() {
                Some(edit) if edit.range().end == at => edit.bytes.push(*byte),
                _ => edits.push(Edit { offset: at, bytes: vec![*byte] }),
            }
        }
        edits
    }
}

/// An object that was found, before its field is looked for.
#[derive(Debug, Clone)]
struct Spot {
    object: Range<u64>,
    /// The structures it has and where they lie.
    structures: Vec<(Structure, Range<u64>)>,
    /// For what has a value and no structure: its shape, counted from the start of the object.
    word: Option<FieldDef>,
    seals: Vec<Seal>,
}

impl Spot {
    /// Plain bytes.
    fn plain(object: Range<u64>, seals: Vec<Seal>) -> Self {
        Self { object, structures: Vec::new(), word: None, seals }
    }

    /// An object that is a structure, perhaps with more behind it.
    fn one(structure: Structure, object: Range<u64>, seals: Vec<Seal>) -> Self {
        Self::plain(object, seals).with(structure, 0)
    }

    /// Adds a structure that begins at byte `at` of the object; one that has no room is left out.
    fn with(mut self, structure: Structure, at: u64) -> Self {
        let start = self.object.start.saturating_add(at);
        let end = start.saturating_add(structure.size() as u64).min(self.object.end);
        if start < end {
            self.structures.push((structure, start..end));
        }
        self
    }
}

impl Volume {
    /// Finds a place in the image as it lies on [`Volume::device`].
    ///
    /// # Errors
    /// It is not there, or the way to it is damaged; see [`LocateError`].
    pub fn locate(&self, place: &Place) -> Result<Located, LocateError> {
        let finder = Finder::new(self);
        let spot = finder.object(&place.object)?;
        let mut located = named(place, spot)?;
        finder.seals_by_generation(&place.object, &mut located)?;
        Ok(located)
    }
}

impl Finder<'_> {
    fn object(&self, object: &Object) -> Result<Spot, LocateError> {
        match object {
            Object::Super { copy } => self.super_block(object, *copy),
            Object::Group { group, copy } => self.group(object, *group, *copy),
            Object::BlockBitmap(group) => self.block_bitmap(*group),
            Object::InodeBitmap(group) => self.inode_bitmap(*group),
            Object::Inode(inode) => self.whole_inode(inode),
            Object::Node(inode, path) => self.node(object, inode, path),
            Object::Extent(inode, path) => self.extent(object, inode, path),
            Object::Map(inode, path) => self.map_word(object, inode, path),
            Object::FileBlock(inode, logical) => self.file_block(object, inode, *logical),
            Object::Xattr(inode, name) => self.xattr(object, inode, name),
            Object::Entry(dir, name) => self.entry(object, dir, name),
            Object::EntryAt(dir, logical, offset) => self.entry_at(object, dir, *logical, *offset),
            Object::Dx(dir, logical, index) => self.dx_entry(object, dir, *logical, *index),
            Object::DirBlock(dir, logical) => self.dir_block(object, dir, *logical),
            Object::Block(nr) => self.image_block(*nr),
            Object::Journal => self.journal_super(object),
            Object::JournalBlock(nr) => self.journal_block(object, *nr),
            Object::Mmp => self.mmp_block(object),
            Object::Quota(kind, id) => self.quota(object, *kind, *id),
            Object::Orphan(logical) => self.orphan_block(object, *logical),
        }
    }
}

/// Looks for the field a place names in an object.
fn named(place: &Place, spot: Spot) -> Result<Located, LocateError> {
    let object = || Box::new(place.object.clone());
    let (structure, bytes, field, bit) = match (&place.field, spot.word) {
        (Some(wanted), _) => {
            let (structure, bytes, access) = find_field(place, wanted, &spot)?;
            let bit = wanted.bit.as_deref().map(|name| {
                access.bit(name).ok_or_else(|| LocateError::NoBit { object: object(), field: wanted.to_string() })
            });
            (Some(structure), bytes, Some(Field::Named(access)), bit.transpose()?)
        }
        (None, Some(word)) => (None, spot.object.clone(), Some(Field::Word(word)), None),
        (None, None) => {
            let first = spot.structures.first();
            let bytes = first.map_or_else(|| spot.object.clone(), |(_, bytes)| bytes.clone());
            (first.map(|(s, _)| *s), bytes, None, None)
        }
    };
    let whole = match &field {
        Some(field) => {
            let low = field.low();
            let start = bytes.start.saturating_add(low.offset as u64);
            start..start.saturating_add(low.kind.len() as u64)
        }
        None => spot.object.clone(),
    };
    let start = whole.start.checked_add(place.offset).filter(|start| *start < whole.end);
    let Some(start) = start else {
        return Err(LocateError::OffsetOutside { place: Box::new(place.clone()), len: whole.end - whole.start });
    };
    Ok(Located {
        object: spot.object,
        structure,
        structure_bytes: bytes,
        field,
        bit,
        named: start..whole.end,
        seals: spot.seals,
    })
}

fn find_field(place: &Place, wanted: &FieldRef, spot: &Spot) -> Result<(Structure, Range<u64>, Access), LocateError> {
    let (object, field) = (|| Box::new(place.object.clone()), || wanted.to_string());
    let found = spot
        .structures
        .iter()
        .find_map(|(s, bytes)| Access::find(*s, &wanted.name).map(|access| (*s, bytes.clone(), access)));
    let Some((structure, bytes, mut access)) = found else {
        return Err(LocateError::NoField { object: object(), field: field() });
    };
    if let Some(index) = &wanted.index {
        access = access.element(index).ok_or_else(|| LocateError::NoElement { object: object(), field: field() })?;
    }
    let len = bytes.end - bytes.start;
    let end = access.low.offset.saturating_add(access.low.kind.len());
    if end as u64 > len {
        return Err(LocateError::FieldOutside { object: object(), field: field(), len });
    }
    Ok((structure, bytes, access))
}
