//! What a place names, as far as the field table knows it, and which changes it takes.
//!
//! Whether a place exists in an image is for later; here a name must be that of a field, a value must be one that the field
//! can hold, and bits are counted in bitmaps only.

use super::error::{cut, quoted};
use daxkit_format::FieldKind;
use daxkit_format::field::did_you_mean;
use daxkit_format::field::{Access, FieldRef, Format, Object, Place, ValueError, parse_number};

/// What a place names.
pub(super) enum Target {
    /// A field, or a single bit of it by its name.
    Field { access: Access, bit: bool, offset: u64 },
    /// A bitmap, or bytes in it.
    Bitmap { offset: u64 },
    /// A word of an indirect map, 32 bits.
    Word { offset: u64 },
    /// Something that has no fields here, or bytes in it.
    Whole,
}

/// Why a field is none.
pub(super) struct Unknown {
    /// The part of the field that is wrong.
    pub(super) part: String,
    /// Where it begins, in bytes from the start of the field as it is written.
    pub(super) at: usize,
    /// What is wrong with it; it follows the key.
    pub(super) why: String,
    /// What would have done there.
    pub(super) known: Vec<String>,
}

impl Target {
    /// Finds what a place names.
    ///
    /// # Errors
    /// No structure at this place has such a field, element or bit.
    pub(super) fn find(place: &Place) -> Result<Self, Unknown> {
        let offset = place.offset;
        let Some(field) = &place.field else {
            return Ok(match place.object {
                Object::BlockBitmap(_) | Object::InodeBitmap(_) => Self::Bitmap { offset },
                Object::Map(..) => Self::Word { offset },
                _ => Self::Whole,
            });
        };
        let access = access(&place.object, field)?;
        if let Some(bit) = &field.bit
            && access.bit(bit).is_none()
        {
            let known: Vec<_> = match access.format() {
                Format::Bits(set) => set.names().into_iter().map(|(name, _)| name.to_owned()).collect(),
                _ => Vec::new(),
            };
            let why = if known.is_empty() {
                format!("names the bit {}, and the bits of {} have no names", quoted(bit), field.name)
            } else {
                format!("names the bit {}, which {} does not have", quoted(bit), field.name)
            };
            let at = field.to_string().len() - bit.len();
            return Err(Unknown { part: bit.clone(), at, why, known });
        }
        Ok(Self::Field { access, bit: field.bit.is_some(), offset })
    }

    /// True for a field that holds a time.
    pub(super) fn is_time(&self) -> bool {
        matches!(self, Self::Field { access, bit: false, .. } if matches!(access.format(), Format::Time | Format::TimeNanos))
    }

    /// Whether a bit can be counted in it.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn takes_bit(&self) -> Result<(), String> {
        match self {
            Self::Bitmap { offset: 0 } => Ok(()),
            Self::Bitmap { .. } => Err("counts from the start of the bitmap: `place` must have no offset".to_owned()),
            _ => Err("wants a bitmap in `place`, such as group.0/block_bitmap".to_owned()),
        }
    }

    /// Whether bytes can be written to it.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn takes_bytes(&self, bytes: &[u8]) -> Result<(), String> {
        if bytes.is_empty() {
            return Err("is empty".to_owned());
        }
        let (room, offset, name) = match self {
            Self::Field { bit: true, .. } => return Err("wants a `place` that is not a single bit".to_owned()),
            Self::Field { access, .. } if let Some(second) = access.second() => {
                let (name, low, high) = (access.name, access.low.name, second.name);
                return Err(format!("wants one field in `place`, and {name} lies in two: {low} and {high}"));
            }
            Self::Field { access, offset, .. } => (access.kind().len(), *offset, access.name),
            Self::Word { offset } => (4, *offset, "a word of the map"),
            Self::Bitmap { .. } | Self::Whole => return Ok(()),
        };
        let end = usize::try_from(offset).ok().and_then(|offset| offset.checked_add(bytes.len()));
        match end {
            Some(end) if end <= room => Ok(()),
            _ if offset == 0 => Err(format!("has {} bytes, and {name} has {room}", bytes.len())),
            _ => Err(format!("has {} bytes at offset {offset}, and {name} has {room}", bytes.len())),
        }
    }

    /// Whether it can be set to a value, given as the field table writes it.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn takes_value(&self, value: &str) -> Result<(), String> {
        match self {
            Self::Field { offset: 0, bit: false, access } => match access.format().parse(access.kind(), value) {
                Ok(_) => Ok(()),
                Err(ValueError::Syntax { wanted, .. }) => Err(not_wanted(access.format(), wanted, value)),
                Err(ValueError::Range { bytes, .. }) => Err(too_large(value, access.name, bytes)),
            },
            _ => self.takes_number(Some(value)),
        }
    }

    /// Whether it is one number that can be changed by another; `value` as text, checked where there is one.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn takes_number(&self, value: Option<&str>) -> Result<(), String> {
        let (format, bytes, name) = match self {
            Self::Field { offset: 1.., .. } | Self::Word { offset: 1.. } => {
                return Err("wants a `place` without an offset; `bytes` takes one".to_owned());
            }
            Self::Field { bit: true, .. } => {
                return match value {
                    Some("0" | "1") => Ok(()),
                    Some(other) => Err(format!("wants 0 or 1 for a single bit, found {}", quoted(other))),
                    None => Err("wants a `place` that is not a single bit".to_owned()),
                };
            }
            Self::Field { access, .. } => match access.kind() {
                FieldKind::Le { width, count: 1 } | FieldKind::Be { width, count: 1 } => {
                    (access.format(), usize::from(width), access.name)
                }
                FieldKind::Le { .. } | FieldKind::Be { .. } if access.second().is_none() => {
                    return Err(format!("wants one number, and {0} has several: {0}[INDEX] is one", access.name));
                }
                _ => return Err(format!("wants a field that is one number, and {} is none", access.name)),
            },
            Self::Word { .. } => (Format::Decimal, 4, "a word of the map"),
            Self::Bitmap { .. } => return Err("wants a field; a bitmap takes `bit` and `bytes`".to_owned()),
            Self::Whole => return Err("wants a field in `place`; without one there is only `bytes`".to_owned()),
        };
        let Some(value) = value else { return Ok(()) };
        let number = match format {
            Format::Bits(set) => set.parse(value),
            _ => parse_number(value.trim()),
        };
        match number {
            None => {
                let wanted = if matches!(format, Format::Bits(_)) { format.describe() } else { "a number" };
                Err(not_wanted(format, wanted, value))
            }
            Some(number) if bytes < 8 && number >> (8 * bytes) != 0 => Err(too_large(value, name, bytes)),
            Some(_) => Ok(()),
        }
    }
}

/// The message for a value in another form than the field's, with the flag that may be meant.
fn not_wanted(format: Format, wanted: &str, value: &str) -> String {
    let hint = match format {
        Format::Bits(set) => {
            let names = set.names();
            let stranger = value.split([' ', ',', '|']).find(|word| !word.is_empty() && set.parse(word).is_none());
            stranger.map_or_else(String::new, |word| did_you_mean(word, names.iter().map(|(name, _)| *name)))
        }
        _ => String::new(),
    };
    format!("wants {wanted}, found {}{hint}", quoted(value))
}

fn too_large(value: &str, name: &str, bytes: usize) -> String {
    format!("is {}, and {name} has {bytes} bytes", quoted(value))
}

/// Finds the field in one of the structures that an object may be, and the element of it.
fn access(object: &Object, field: &FieldRef) -> Result<Access, Unknown> {
    let structures = object.structures();
    let Some(access) = structures.iter().find_map(|s| Access::find(*s, &field.name)) else {
        let known: Vec<String> = structures.iter().flat_map(|s| names(*s)).collect();
        let object = cut(object.to_string());
        let why = if structures.is_empty() {
            format!("names the field {}, and {object} has no fields", quoted(&field.name))
        } else {
            format!("names the field {}, which {object} does not have", quoted(&field.name))
        };
        return Err(Unknown { part: field.name.clone(), at: 0, why, known });
    };
    let Some(index) = &field.index else { return Ok(access) };
    access.element(index).ok_or_else(|| Unknown {
        part: index.clone(),
        at: field.name.len() + 1,
        why: format!("has the index {}, and {} has no such element", quoted(index), field.name),
        known: Vec::new(),
    })
}

/// All names that are known for the fields of a structure: the kernel's, those without its prefix, and those of values that
/// lie in two halves.
fn names(structure: daxkit_format::field::Structure) -> Vec<String> {
    let mut names = Vec::new();
    for field in structure.fields() {
        let joined = field.name.strip_suffix("_lo");
        let short = field.name.strip_prefix(structure.prefix()).filter(|_| !structure.prefix().is_empty());
        let more = joined.into_iter().chain(short).filter(|name| Access::find(structure, name).is_some());
        names.push(field.name.to_owned());
        names.extend(more.map(str::to_owned));
    }
    names
}
