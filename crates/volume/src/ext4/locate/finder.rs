//! What all searches share: reading without checks, and the volume that looks up names.

use std::cell::OnceCell;
use std::ops::Range;

use daxkit_format::BlockNr;
use daxkit_format::field::Object;

use super::super::error::VolumeError;
use super::super::open::{OpenOptions, Volume};
use super::super::seal::Block;
use super::{Absent, LocateError};

/// A search in one volume.
pub(super) struct Finder<'v> {
    pub(super) volume: &'v Volume,
    /// Seed of the checksums of metadata, when there are any.
    pub(super) seed: Option<u32>,
    /// The same file system, opened so that checksums do not matter.
    lenient: OnceCell<Volume>,
}

impl<'v> Finder<'v> {
    pub(super) fn new(volume: &'v Volume) -> Self {
        Self { volume, seed: volume.seal_seed(), lenient: OnceCell::new() }
    }

    /// A volume that does not verify checksums, to look up names and walk maps with.
    pub(super) fn lenient(&self) -> Result<&Volume, LocateError> {
        let v = self.volume;
        if v.ignores_checksums() {
            return Ok(v);
        }
        if let Some(lenient) = self.lenient.get() {
            return Ok(lenient);
        }
        let primary = v.super_block_offset() == daxkit_format::ext4::super_block::SUPER_BLOCK_OFFSET;
        let options = OpenOptions {
            offset: v.base(),
            super_block: (!primary).then(|| BlockNr(v.super_block_offset() / u64::from(v.block_size()))),
            block_size: (!primary).then(|| v.block_size()),
            ignore_checksums: true,
            catastrophic: v.is_catastrophic(),
            replay: false,
            writable: false,
            journal: None,
        };
        let opened = Volume::open(v.device().clone(), &options)?;
        Ok(self.lenient.get_or_init(|| opened))
    }

    pub(super) fn block_size(&self) -> u64 {
        self.volume.block_size().into()
    }

    /// The byte of the device at which a byte of the file system lies.
    pub(super) fn device_byte(&self, byte: u64) -> u64 {
        self.volume.base().saturating_add(byte)
    }

    /// A block of the file system, whatever it holds.
    pub(super) fn block(&self, nr: u64) -> Result<Block, LocateError> {
        let g = self.volume.geometry();
        if nr >= g.blocks_count {
            return Err(VolumeError::NoSuchBlock { block: BlockNr(nr), count: g.blocks_count }.into());
        }
        Ok(Block { nr, at: self.device_byte(nr << g.block_shift()), len: g.block_size })
    }

    /// Reads bytes of the device, which are at most a block (or an inode, a superblock).
    pub(super) fn read(&self, object: &Object, range: Range<u64>) -> Result<Vec<u8>, LocateError> {
        let mut bytes = vec![0; usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX)];
        let io = |source| LocateError::Io { object: Box::new(object.clone()), source };
        self.volume.device().read_at(range.start, &mut bytes).map_err(io)?;
        Ok(bytes)
    }
}

/// The object is not there.
pub(super) fn absent(object: &Object, why: Absent) -> LocateError {
    LocateError::Absent { object: Box::new(object.clone()), why }
}
