//! Multiple mount protection: who has, or had, the file system mounted.

use daxkit_format::ext4::features::Incompat;
use daxkit_format::ext4::mmp::{MAGIC, MmpStruct, SEQ_CLEAN, SEQ_FSCK};
use daxkit_format::{BlockNr, OnDisk};

use super::error::{Corruption, Place, VolumeError};
use super::open::Volume;

/// What the sequence number of the block says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MmpState {
    /// Not in use.
    Clean,
    /// A checker runs, or was killed.
    Fsck,
    /// Mounted somewhere, or the machine died.
    Mounted {
        /// The last number written.
        sequence: u32,
    },
}

/// State of a sequence number.
#[must_use]
pub fn mmp_state(mmp: &MmpStruct) -> MmpState {
    match mmp.mmp_seq.get() {
        SEQ_CLEAN => MmpState::Clean,
        SEQ_FSCK => MmpState::Fsck,
        sequence => MmpState::Mounted { sequence },
    }
}

impl Volume {
    /// The block of multiple mount protection; `None` without the feature.
    ///
    /// # Errors
    /// The block's number is not possible, magic or checksum are wrong, or the device failed.
    pub fn mmp(&self) -> Result<Option<MmpStruct>, VolumeError> {
        if !self.has_incompat(Incompat::MMP) {
            return Ok(None);
        }
        let block = BlockNr(self.super_block().s_mmp_block.get());
        let g = self.geometry();
        if !g.has_blocks(block.get(), 1) {
            let why = Corruption::BlockRange { first: block.get(), last: block.get(), limit: g.blocks_count };
            return Err(VolumeError::corrupt(Place::SuperBlock { offset: 1024 }, why));
        }
        let place = Place::Block(block);
        // Another machine may write it at any time, so it is not taken from the cache.
        let mut bytes = vec![0; g.block_size as usize];
        self.read_blocks_into(place, block, &mut bytes)?;
        let mmp = MmpStruct::peek(&bytes).copied().unwrap_or_else(OnDisk::zeroed);
        let found = mmp.mmp_magic.get();
        if found != MAGIC {
            let why = Corruption::Magic { structure: MmpStruct::NAME, found, expected: MAGIC };
            return Err(VolumeError::corrupt(place, why));
        }
        if self.verify_seed().is_some_and(|seed| !mmp.verify(seed)) {
            return Err(VolumeError::corrupt(place, Corruption::Checksum));
        }
        Ok(Some(mmp))
    }
}
