//! Checksums of metadata: where each is kept, whether it is right, and what makes it right again.
//!
//! A [`Seal`] is one checksum of one image. It is found by [`Volume::locate`](super::Volume::locate) and then stands for itself: it
//! reads a device, and needs no volume. What it is computed from is read anew each time, the generation that is part of
//! an inode's seed and the UUID that is the journal's among it, so a seal found before a change is still good after it.
//! Where something lies that decides *where* a checksum is (`eh_max`, the limit of an htree block, `i_extra_isize`), the
//! place that counts is the one the bytes name at that moment.
//!
//! Nothing is written here. What would have to be written is returned as [`Edit`]s.
//!
//! Not checksums of metadata, and left alone: `e_hash` and `h_hash` of extended attributes, the hash of a value in an
//! inode of its own (its `i_atime`), hashes in htree entries and behind encrypted names, fs-verity's digests.

mod journal;
mod kind;
mod rules;

use std::fmt;
use std::ops::Range;

use daxkit_device::{BlockDevice, DeviceError, Overlay};

pub(in crate::ext4) use journal::{JournalSeed, TagVersion};
pub(in crate::ext4) use kind::{Bitmap, Block, GroupRule, InodeSeed, Kind, WhichBitmap};

/// Bytes to be written to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Byte of the device.
    pub offset: u64,
    /// What is to stand there.
    pub bytes: Vec<u8>,
}

impl Edit {
    /// The bytes of the device that are written.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.bytes.len() as u64)
    }
}

/// One checksum of an image: what it covers, where it is kept, what it is computed from. Written as the place of its field.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Seal(pub(in crate::ext4) Kind);

/// What a checksum comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It fits.
    Right,
    /// It does not fit. Numbers as wide as the field.
    Wrong {
        /// What is kept.
        stored: u32,
        /// What would fit.
        right: u32,
    },
    /// Nobody looks at it: a bitmap that was never written, an inode that is all zero, a superblock without `metadata_csum`.
    Unused,
    /// None can be right: there is no room for it where the bytes say it should be, or it would cover itself.
    Impossible,
}

/// Why a checksum cannot be looked at, or not be made right.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The device could not be read.
    #[error("{seal}: {source}")]
    Io {
        /// The checksum, as a place.
        seal: String,
        /// Why not.
        source: DeviceError,
    },
    /// The change concerns what all checksums of the file system are computed from.
    #[error(
        "{seal}: this changes what every other checksum is computed from; it can only be left stale (checksum = \"stale\")"
    )]
    Seeds {
        /// The checksum of the structure that holds the seed, as a place.
        seal: String,
    },
    /// The bytes leave no room for the checksum, or make it cover itself.
    #[error("{seal}: no checksum can be right there now; it can only be left stale (checksum = \"stale\")")]
    Impossible {
        /// The checksum, as a place.
        seal: String,
    },
}

impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Seal {
    /// Whether the checksum is right now.
    ///
    /// # Errors
    /// The device could not be read.
    pub fn verify(&self, device: &dyn BlockDevice) -> Result<Verdict, SealError> {
        let look = self.look(device)?;
        Ok(match look.state {
            State::Unused => Verdict::Unused,
            State::Impossible => Verdict::Impossible,
            State::Applies if look.edits().is_empty() => Verdict::Right,
            State::Applies => Verdict::Wrong { stored: look.stored(), right: look.right },
        })
    }

    /// What makes the checksum right; nothing when it is right already, or nobody looks at it.
    ///
    /// # Errors
    /// The device could not be read, or none can be right.
    pub fn fix(&self, device: &dyn BlockDevice) -> Result<Vec<Edit>, SealError> {
        let look = self.look(device)?;
        match look.state {
            State::Unused => Ok(Vec::new()),
            State::Impossible => Err(SealError::Impossible { seal: self.to_string() }),
            State::Applies => Ok(look.edits()),
        }
    }

    /// What makes the checksum wrong: its lowest bit the other way round than would be right. Nothing where there is none.
    ///
    /// # Errors
    /// The device could not be read.
    pub fn spoil(&self, device: &dyn BlockDevice) -> Result<Vec<Edit>, SealError> {
        let mut look = self.look(device)?;
        if look.state != State::Applies {
            return Ok(Vec::new());
        }
        look.flip_lowest_bit();
        Ok(look.edits())
    }

    /// The bytes of the device that it is computed from; its own may lie among them.
    ///
    /// # Errors
    /// The device could not be read.
    pub fn covers(&self, device: &dyn BlockDevice) -> Result<Vec<Range<u64>>, SealError> {
        Ok(self.look(device)?.covers)
    }

    /// The bytes of the device that hold the checksum.
    ///
    /// # Errors
    /// The device could not be read.
    pub fn stored_at(&self, device: &dyn BlockDevice) -> Result<Vec<Range<u64>>, SealError> {
        Ok(self.look(device)?.parts.iter().map(Part::range).collect())
    }

    fn look(&self, device: &dyn BlockDevice) -> Result<Look, SealError> {
        self.0.look(device).map_err(|source| SealError::Io { seal: self.to_string(), source })
    }
}

/// What else has to be written when `changes` are, so that the checksums over them are right again. `seals` are those that
/// protect the changed bytes, innermost first ([`Located::seals`](super::Located::seals)); one whose bytes are not
/// touched stays as it is, right or not, and so does one that `changes` themselves write.
///
/// # Errors
/// The device could not be read; a change of what all checksums are computed from; one after which none can be right.
pub fn seal(device: &dyn BlockDevice, seals: &[Seal], changes: &[Edit]) -> Result<Vec<Edit>, SealError> {
    follow(device, seals, changes, true)
}

/// As [`seal`], for changes that may do any harm: where they concern what all checksums are computed from, those over the changed
/// bytes are made right and the others fit no more; where none can be right it stays as it is.
///
/// # Errors
/// The device could not be read.
pub fn seal_freely(device: &dyn BlockDevice, seals: &[Seal], changes: &[Edit]) -> Result<Vec<Edit>, SealError> {
    follow(device, seals, changes, false)
}

fn follow(device: &dyn BlockDevice, seals: &[Seal], changes: &[Edit], strict: bool) -> Result<Vec<Edit>, SealError> {
    let after = Overlay::new(device);
    let changed: Vec<Range<u64>> = changes.iter().map(Edit::range).collect();
    let mut touched = changed.clone();
    let mut out = Vec::new();
    for (i, seal) in seals.iter().enumerate() {
        let io = |source| SealError::Io { seal: seal.to_string(), source };
        if i == 0 {
            changes.iter().try_for_each(|c| after.write_at(c.offset, &c.bytes)).map_err(io)?;
        }
        let look = seal.look(&after)?;
        if !overlap(&look.covers, &touched) {
            continue;
        }
        if strict && seal.0.rules_differ(device, &after).map_err(io)? {
            return Err(SealError::Seeds { seal: seal.to_string() });
        }
        let stored: Vec<_> = look.parts.iter().map(Part::range).collect();
        if overlap(&stored, &changed) {
            continue;
        }
        if strict && look.state == State::Impossible {
            return Err(SealError::Impossible { seal: seal.to_string() });
        }
        for edit in look.edits() {
            after.write_at(edit.offset, &edit.bytes).map_err(io)?;
            touched.push(edit.range());
            out.push(edit);
        }
    }
    Ok(out)
}

fn overlap(a: &[Range<u64>], b: &[Range<u64>]) -> bool {
    a.iter().any(|x| b.iter().any(|y| x.start < y.end && y.start < x.end))
}

/// Whether there is anything to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ext4) enum State {
    Applies,
    Unused,
    Impossible,
}

/// A piece of a checksum as it is stored: most lie in one, some in two.
#[derive(Debug, Clone)]
pub(in crate::ext4) struct Part {
    at: u64,
    stored: Vec<u8>,
    right: Vec<u8>,
    big_endian: bool,
}

impl Part {
    fn range(&self) -> Range<u64> {
        self.at..self.at.saturating_add(self.right.len() as u64)
    }
}

/// A checksum as it was found on a device.
#[derive(Debug, Clone)]
pub(in crate::ext4) struct Look {
    covers: Vec<Range<u64>>,
    /// Lowest piece first.
    parts: Vec<Part>,
    right: u32,
    state: State,
}

impl Look {
    /// A checksum over `covers` that should be `right`.
    pub(in crate::ext4) fn new(covers: Vec<Range<u64>>, right: u32) -> Self {
        Self { covers, parts: Vec::new(), right, state: State::Applies }
    }

    /// One that is not there.
    pub(in crate::ext4) fn absent(covers: Vec<Range<u64>>, state: State) -> Self {
        Self { covers, parts: Vec::new(), right: 0, state }
    }

    /// Adds a stored piece: `stored` are the bytes at byte `at` of the device, little-endian, the next lowest of the sum.
    pub(in crate::ext4) fn part(mut self, at: u64, stored: &[u8]) -> Self {
        let done: usize = self.parts.iter().map(|p| p.right.len()).sum();
        let right = self.right.to_le_bytes().iter().copied().skip(done).take(stored.len()).collect();
        self.parts.push(Part { at, stored: stored.to_vec(), right, big_endian: false });
        self
    }

    /// As [`Look::part`], big-endian and all of the sum (or the lower half of it, in two bytes).
    pub(in crate::ext4) fn big_endian_part(mut self, at: u64, stored: &[u8]) -> Self {
        let all = self.right.to_be_bytes();
        let right = all.get(all.len().saturating_sub(stored.len())..).unwrap_or_default().to_vec();
        self.parts.push(Part { at, stored: stored.to_vec(), right, big_endian: true });
        self
    }

    fn stored(&self) -> u32 {
        let add = |sum: u32, b: &u8| sum << 8 | u32::from(*b);
        self.parts.iter().rev().fold(0, |sum, p| {
            if p.big_endian { p.stored.iter().fold(sum, add) } else { p.stored.iter().rev().fold(sum, add) }
        })
    }

    fn flip_lowest_bit(&mut self) {
        let Some(part) = self.parts.first_mut() else { return };
        let lowest = if part.big_endian { part.right.last_mut() } else { part.right.first_mut() };
        if let Some(byte) = lowest {
            *byte ^= 1;
        }
    }

    fn edits(&self) -> Vec<Edit> {
        let wrong = self.parts.iter().filter(|p| p.stored != p.right);
        wrong.map(|p| Edit { offset: p.at, bytes: p.right.clone() }).collect()
    }
}
