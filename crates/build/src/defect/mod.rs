//! Defects: named places of a finished image changed on purpose, with the checksums over them made right again or left stale.
//!
//! Defects are applied one after the other. Each place is looked for in the image as the defects before it left it; one
//! that cannot be found there any more is where it was before the first. The superblock that the search goes by is always
//! the one from before the first defect, so that a number that makes no sense in it does not hide everything else, and
//! checksums are those that fit its seed.
//!
//! What is sealed stays consistent from the changed bytes outwards: the checksum over them, and the checksum over that one. A
//! change that writes a checksum keeps it, and those outside of it follow. Hashes of extended attributes are no checksums
//! of metadata and never follow ([`daxkit_volume::seal`]).
//!
//! Invariant: the device is written only when every defect could be applied.

mod change;
mod error;
mod number;

use std::sync::Arc;

use daxkit_device::{BlockDevice, Overlay};
use daxkit_format::OnDisk;
use daxkit_format::ext4::super_block::{SUPER_BLOCK_OFFSET, SuperBlock};
use daxkit_format::field::Place;
use daxkit_volume::{Located, OpenOptions, Volume, VolumeError, seal};
use zerocopy::IntoBytes;

use crate::recipe::{Checksum, Defect};

pub use error::{DefectError, Reason};

/// What a defect did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// What it is called; empty for no name.
    pub name: String,
    /// Where, as a place.
    pub place: String,
    /// Byte of the device at which the field (its lower half), the bytes or the byte with the bit lie.
    pub offset: u64,
    /// What stood there: the field as the field table writes it, a bit as `0` or `1`, bytes in hexadecimal.
    pub before: String,
    /// What stands there now, in the same form.
    pub after: String,
}

/// Applies defects to the image on `device`, in order. The device is not flushed.
///
/// # Errors
/// The first defect that cannot be applied, and nothing is written then; the image cannot be opened; the device failed.
pub fn apply(device: &Arc<dyn BlockDevice>, defects: &[Defect]) -> Result<Vec<Applied>, DefectError> {
    if defects.is_empty() {
        return Ok(Vec::new());
    }
    let image = Image::open(device)?;
    let mut applied = Vec::with_capacity(defects.len());
    for defect in defects {
        applied.push(image.change(defect).map_err(|reason| DefectError::at(defect, reason))?);
    }
    image.now.apply_to(device).map_err(DefectError::Device)?;
    Ok(applied)
}

/// How the image is opened: as it lies there, and whatever its checksums say.
fn options() -> OpenOptions {
    OpenOptions { ignore_checksums: true, replay: false, ..OpenOptions::default() }
}

/// An image while it is being damaged.
struct Image {
    /// As it was before the first defect.
    before: Volume,
    /// With the defects so far.
    now: Arc<Overlay<Arc<dyn BlockDevice>>>,
    super_block: SuperBlock,
}

impl Image {
    fn open(device: &Arc<dyn BlockDevice>) -> Result<Self, DefectError> {
        let before = Volume::open(Arc::clone(device), &options()).map_err(DefectError::Open)?;
        let mut super_block = SuperBlock::zeroed();
        device.read_at(SUPER_BLOCK_OFFSET, super_block.as_mut_bytes()).map_err(DefectError::Device)?;
        Ok(Self { before, now: Arc::new(Overlay::new(Arc::clone(device))), super_block })
    }

    /// The image with its defects, but with the superblock it had before.
    fn opened_now(&self) -> Result<Volume, VolumeError> {
        let now: Arc<dyn BlockDevice> = Arc::<Overlay<_>>::clone(&self.now);
        let view = Overlay::new(now);
        let place = daxkit_volume::Place::SuperBlock { offset: SUPER_BLOCK_OFFSET };
        let written = view.write_at(SUPER_BLOCK_OFFSET, self.super_block.as_bytes());
        written.map_err(|source| VolumeError::Io { place, source })?;
        Volume::open(Arc::new(view), &options())
    }

    fn locate(&self, place: &Place) -> Result<Located, Reason> {
        let now = self.opened_now()?.locate(place);
        now.or_else(|error| self.before.locate(place).map_err(|_| error.into()))
    }

    fn change(&self, defect: &Defect) -> Result<Applied, Reason> {
        let located = self.locate(&defect.place)?;
        let change = change::plan(&*self.now, &defect.place, &located, &defect.change)?;
        let sums = match defect.checksum {
            Checksum::Seal => seal(&*self.now, &located.seals, &change.edits)?,
            Checksum::Stale => Vec::new(),
        };
        for edit in change.edits.iter().chain(&sums) {
            self.now.write_at(edit.offset, &edit.bytes)?;
        }
        Ok(Applied {
            name: defect.name.clone(),
            place: defect.place.to_string(),
            offset: change.offset,
            before: change.before,
            after: change.after,
        })
    }
}
