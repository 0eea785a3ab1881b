//! Why a defect could not be applied.

use daxkit_device::DeviceError;
use daxkit_format::field::ValueError;
use daxkit_volume::{LocateError, SealError, VolumeError};

use crate::recipe::{At, Defect};

/// What went wrong. Nothing was written, except where the device failed while the changes were written at the end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DefectError {
    /// A defect cannot be applied.
    #[error("{}:{}: {}{place}: {reason}", .at.line, .at.column, named(.name))]
    Defect {
        /// Where the recipe says so.
        at: At,
        /// What the defect is called; empty for no name.
        name: String,
        /// Where in the image, as a place.
        place: String,
        /// Why not.
        reason: Box<Reason>,
    },
    /// The image cannot be opened.
    #[error("defects need an ext4 image: {0}")]
    Open(VolumeError),
    /// The device failed outside of any defect.
    #[error("cannot write the defects: {0}")]
    Device(DeviceError),
}

fn named(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!("defect {name:?}: ") }
}

impl DefectError {
    pub(super) fn at(defect: &Defect, reason: Reason) -> Self {
        Self::Defect {
            at: defect.at,
            name: defect.name.clone(),
            place: defect.place.to_string(),
            reason: Box::new(reason),
        }
    }
}

/// Why a change cannot be made at a place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The place cannot be found.
    #[error(transparent)]
    Locate(#[from] LocateError),
    /// The image cannot be opened any more.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The text is not a value of the field.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// The checksum cannot be made right.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The change leaves everything as it is.
    #[error("it already has that value ({value})")]
    Unchanged {
        /// What stands there.
        value: String,
    },
    /// A value for something that is no field.
    #[error("the place names no field; write bytes there, or name one")]
    NoField,
    /// A value for a part of a field.
    #[error("a value is for a whole field; with an offset only bytes can be written")]
    OffsetInField,
    /// Arithmetic on something that is not one integer.
    #[error("the field is not one integer; name an element of it, or set it as a whole")]
    NotANumber,
    /// A single bit can be set to 1 or 0, nothing else.
    #[error("a single bit can only be set to 1 or 0")]
    OneBit,
    /// More bytes than there is room for.
    #[error("{len} bytes do not fit into the {room} bytes from there on")]
    TooLong {
        /// Bytes to be written.
        len: u64,
        /// Bytes there are.
        room: u64,
    },
    /// A bit of something that is no bitmap.
    #[error("a bit by its number is for whole bitmaps")]
    NoBitmap,
    /// A bit past the end of the bitmap's block.
    #[error("bit {index} lies past the {bits} bits of the bitmap's block")]
    BitOutside {
        /// Which.
        index: u32,
        /// How many there are.
        bits: u64,
    },
}
