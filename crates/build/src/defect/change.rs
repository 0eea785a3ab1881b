//! What a change comes to: the bytes to be written, and what stood and will stand there as text.

use std::ops::Range;

use daxkit_device::BlockDevice;
use daxkit_format::FieldValue;
use daxkit_format::field::{Object, Place, ValueError, all_bits, parse_integer, to_hex};
use daxkit_volume::{Edit, Field, Located};

use super::error::Reason;
use super::number::operand;
use crate::recipe::DefectChange;

/// A change that has not been made yet.
pub(super) struct Change {
    pub(super) edits: Vec<Edit>,
    pub(super) offset: u64,
    pub(super) before: String,
    pub(super) after: String,
}

/// Works a change out against what is on the device.
pub(super) fn plan(
    device: &dyn BlockDevice,
    place: &Place,
    located: &Located,
    change: &DefectChange,
) -> Result<Change, Reason> {
    match change {
        DefectChange::Bytes(bytes) => write_bytes(device, located, bytes),
        DefectChange::Bit { index, to } => set_bit(device, place, located, *index, *to),
        _ if located.field.is_none() => Err(Reason::NoField),
        _ if place.offset != 0 => Err(Reason::OffsetInField),
        _ => set_field(device, located, change),
    }
}

fn read(device: &dyn BlockDevice, range: &Range<u64>) -> Result<Vec<u8>, Reason> {
    let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or(usize::MAX)];
    device.read_at(range.start, &mut bytes)?;
    Ok(bytes)
}

fn write_bytes(device: &dyn BlockDevice, located: &Located, bytes: &[u8]) -> Result<Change, Reason> {
    if located.bit.is_some() {
        return Err(Reason::OneBit);
    }
    let (len, room) = (bytes.len() as u64, located.named.end - located.named.start);
    if len > room {
        return Err(Reason::TooLong { len, room });
    }
    let offset = located.named.start;
    let before = read(device, &(offset..offset + len))?;
    if before == bytes {
        return Err(Reason::Unchanged { value: to_hex(bytes) });
    }
    let edits = vec![Edit { offset, bytes: bytes.to_vec() }];
    Ok(Change { edits, offset, before: to_hex(&before), after: to_hex(bytes) })
}

fn set_bit(device: &dyn BlockDevice, place: &Place, located: &Located, index: u32, to: bool) -> Result<Change, Reason> {
    if !matches!(place.object, Object::BlockBitmap(_) | Object::InodeBitmap(_)) || place.offset != 0 {
        return Err(Reason::NoBitmap);
    }
    let bits = (located.object.end - located.object.start).saturating_mul(8);
    if u64::from(index) >= bits {
        return Err(Reason::BitOutside { index, bits });
    }
    let offset = located.object.start + u64::from(index / 8);
    let before = read(device, &(offset..offset + 1))?.first().copied().unwrap_or(0);
    let bit = 1u8 << (index % 8);
    let was = before & bit != 0;
    if was == to {
        return Err(Reason::Unchanged { value: flag(to) });
    }
    let edits = vec![Edit { offset, bytes: vec![before ^ bit] }];
    Ok(Change { edits, offset, before: flag(was), after: flag(to) })
}

fn flag(on: bool) -> String {
    u8::from(on).to_string()
}

fn set_field(device: &dyn BlockDevice, located: &Located, change: &DefectChange) -> Result<Change, Reason> {
    let field = located.field.as_ref().ok_or(Reason::NoField)?;
    let before = located.read(device)?;
    let mut after = before.clone();
    match located.bit {
        Some(bit) => set_named_bit(field, bit, &mut after, change)?,
        None => set_value(field, &mut after, change)?,
    }
    let text = |bytes: &[u8]| match (located.bit, field.get(bytes)) {
        (Some(bit), Some(FieldValue::Int(x))) => flag(x & bit == bit),
        _ => field.get_text(bytes).unwrap_or_default(),
    };
    let edits = located.edits(&before, &after);
    if edits.is_empty() {
        return Err(Reason::Unchanged { value: text(&before) });
    }
    Ok(Change { edits, offset: located.named.start, before: text(&before), after: text(&after) })
}

/// The value of a field that is one integer, and its width in bits.
fn integer(field: &Field, bytes: &[u8]) -> Result<(u64, u32), Reason> {
    match field.get(bytes) {
        Some(FieldValue::Int(x)) => Ok((x, field.pieces(bytes.len()).iter().map(|p| p.len() as u32 * 8).sum())),
        _ => Err(Reason::NotANumber),
    }
}

fn store(field: &Field, bytes: &mut [u8], value: u64, width: u32) -> Result<(), Reason> {
    let fits = field.set(bytes, &FieldValue::Int(value));
    let error = || ValueError::Range { text: value.to_string(), bytes: width as usize / 8 };
    if fits { Ok(()) } else { Err(error().into()) }
}

fn set_named_bit(field: &Field, bit: u64, bytes: &mut [u8], change: &DefectChange) -> Result<(), Reason> {
    let (value, width) = integer(field, bytes)?;
    let value = match change {
        DefectChange::Set(text) if text.trim() == "1" => value | bit,
        DefectChange::Set(text) if text.trim() == "0" => value & !bit,
        _ => return Err(Reason::OneBit),
    };
    store(field, bytes, value, width)
}

fn set_value(field: &Field, bytes: &mut [u8], change: &DefectChange) -> Result<(), Reason> {
    let format = field.format();
    let value = |bytes: &[u8]| integer(field, bytes);
    let (new, width) = match change {
        DefectChange::Set(text) => {
            let Err(error) = field.set_text(bytes, text) else { return Ok(()) };
            // Any integer takes plain numbers of any base and sign, whatever its own form is.
            let number = value(bytes).ok().and_then(|(_, width)| Some((parse_integer(text.trim(), width)?, width)));
            number.ok_or(error)?
        }
        DefectChange::Or(text) => {
            let (x, width) = value(bytes)?;
            (x | operand(format, text, width)?, width)
        }
        DefectChange::Clear(text) => {
            let (x, width) = value(bytes)?;
            (x & !operand(format, text, width)?, width)
        }
        DefectChange::Xor(text) => {
            let (x, width) = value(bytes)?;
            (x ^ operand(format, text, width)?, width)
        }
        DefectChange::Add(n) => {
            let (x, width) = value(bytes)?;
            (x.wrapping_add_signed(*n) & all_bits(width), width)
        }
        DefectChange::Bytes(_) | DefectChange::Bit { .. } => return Err(Reason::NoField),
    };
    store(field, bytes, new, width)
}
