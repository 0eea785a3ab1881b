//! Where the blocks of a journal come from: an inode of the file system, or a device of its own.

use daxkit_device::BlockDevice;
use daxkit_format::ext4::features::Incompat;
use daxkit_format::ext4::super_block::{self, SUPER_BLOCK_OFFSET, SuperBlock};
use daxkit_format::jbd2::{Journal, JournalSuperBlock};
use daxkit_format::{BlockNr, InodeNr, OnDisk};
use zerocopy::IntoBytes;

use super::super::error::{Corruption, Place, Unsupported, VolumeError};
use super::super::map::Mapping;
use super::super::open::Volume;
use super::ReplayOverlay;

/// The blocks of a journal and its checked superblock.
pub(crate) struct Log<'a> {
    source: Source<'a>,
    pub(crate) journal: Journal,
    super_block: JournalSuperBlock,
    block_size: u32,
}

enum Source<'a> {
    /// Runs of the journal's inode, in order.
    Inode { volume: &'a Volume, runs: Vec<Mapping> },
    /// The device, and the block that holds the journal's superblock.
    Device { device: &'a dyn BlockDevice, super_block: u32 },
}

impl<'a> Log<'a> {
    /// Finds the journal of a file system and checks its superblock.
    pub(crate) fn open(volume: &'a Volume, external: Option<&'a dyn BlockDevice>) -> Result<Self, VolumeError> {
        let sb = volume.super_block();
        let block_size = volume.block_size();
        let (source, available) = match (sb.s_journal_inum.get(), external) {
            (0, None) => return Err(VolumeError::Unsupported(Unsupported::ExternalJournal)),
            (0, Some(device)) => Self::device(volume, device)?,
            (inum, _) => Self::inode(volume, InodeNr(inum.into()))?,
        };
        let at = source.super_block();
        let mut bytes = vec![0; block_size as usize];
        source.read(at, &mut bytes)?;
        let bad = |why: Corruption| VolumeError::corrupt(Place::JournalBlock(at), why);
        let super_block = JournalSuperBlock::peek(&bytes).copied().unwrap_or_else(OnDisk::zeroed);
        let journal = super_block.check(block_size, available).map_err(|e| bad(e.into()))?;
        if matches!(source, Source::Device { .. }) && journal.uuid != sb.s_journal_uuid {
            return Err(bad(Corruption::JournalUuid));
        }
        Ok(Self { source, journal, super_block, block_size })
    }

    fn inode(volume: &'a Volume, nr: InodeNr) -> Result<(Source<'a>, u64), VolumeError> {
        let inode = volume.inode(nr)?;
        if !inode.is_file() || inode.i_links_count.get() == 0 || !volume.has_map(&inode) {
            return Err(VolumeError::bad_inode(nr, Corruption::JournalHole { block: 0 }));
        }
        let runs =
            volume.extents(&inode).filter(|r| r.as_ref().map_or(true, |m| m.written)).collect::<Result<_, _>>()?;
        Ok((Source::Inode { volume, runs }, inode.size() >> volume.geometry().block_shift()))
    }

    fn device(volume: &Volume, device: &'a dyn BlockDevice) -> Result<(Source<'a>, u64), VolumeError> {
        let place = Place::JournalBlock(0);
        let mut bytes = [0; size_of::<SuperBlock>()];
        if device.len() < SUPER_BLOCK_OFFSET + bytes.len() as u64 {
            return Err(VolumeError::corrupt(place, Corruption::JournalUuid));
        }
        device.read_at(SUPER_BLOCK_OFFSET, &mut bytes).map_err(VolumeError::io(place))?;
        let ours = super_block::parse(&bytes).filter(|sb| {
            sb.incompat().contains(Incompat::JOURNAL_DEV) && sb.s_uuid == volume.super_block().s_journal_uuid
        });
        if ours.is_none() {
            return Err(VolumeError::corrupt(place, Corruption::JournalUuid));
        }
        // The journal's superblock follows the block that holds the file-system-like one.
        let super_block = if volume.block_size() == 1024 { 2 } else { 1 };
        Ok((Source::Device { device, super_block }, device.len() / u64::from(volume.block_size())))
    }

    /// Reads a block of the journal.
    pub(crate) fn read(&self, block: u32) -> Result<Vec<u8>, VolumeError> {
        let mut bytes = vec![0; self.block_size as usize];
        self.source.read(block, &mut bytes)?;
        Ok(bytes)
    }

    /// The journal's superblock.
    pub(super) fn super_block(&self) -> &JournalSuperBlock {
        &self.super_block
    }

    /// The block of the journal that its superblock is.
    pub(super) fn super_block_nr(&self) -> u32 {
        self.source.super_block()
    }

    /// Byte of the device at which a block of a journal inside the file system lies.
    pub(super) fn place(&self, block: u32) -> Option<u64> {
        let Source::Inode { volume, runs } = &self.source else { return None };
        let at = find(runs, block)?.get().checked_mul(self.block_size.into())?;
        volume.base().checked_add(at)
    }

    /// The blocks of the file system that a journal inside it takes.
    pub(super) fn blocks(&self) -> impl Iterator<Item = std::ops::Range<u64>> + '_ {
        let runs: &[Mapping] = match &self.source {
            Source::Inode { runs, .. } => runs,
            Source::Device { .. } => &[],
        };
        runs.iter().map(|r| r.physical.get()..r.physical.get().saturating_add(r.len))
    }

    /// Writes a superblock that says that the log is empty and the next transaction has number `sequence`. An external
    /// journal stays as it is, since the overlay does not reach there.
    pub(crate) fn mark_empty(
        &self,
        volume: &Volume,
        overlay: &ReplayOverlay,
        sequence: u32,
    ) -> Result<(), VolumeError> {
        let Source::Inode { runs, .. } = &self.source else { return Ok(()) };
        let mut sb = self.super_block;
        sb.s_start = 0.into();
        if !self.journal.is_empty() {
            sb.s_sequence = sequence.into();
        }
        sb.seal();
        let place = Place::JournalBlock(0);
        let block = find(runs, 0).ok_or_else(|| VolumeError::corrupt(place, Corruption::JournalHole { block: 0 }))?;
        let at = volume.base().saturating_add(block.get().saturating_mul(self.block_size.into()));
        overlay.write_at(at, sb.as_bytes()).map_err(VolumeError::io(place))
    }
}

impl Source<'_> {
    fn super_block(&self) -> u32 {
        match self {
            Self::Inode { .. } => 0,
            Self::Device { super_block, .. } => *super_block,
        }
    }

    fn read(&self, block: u32, bytes: &mut [u8]) -> Result<(), VolumeError> {
        let place = Place::JournalBlock(block);
        match self {
            Self::Inode { volume, runs } => {
                let hole = || VolumeError::corrupt(place, Corruption::JournalHole { block });
                volume.read_blocks_into(place, find(runs, block).ok_or_else(hole)?, bytes)
            }
            Self::Device { device, .. } => {
                let at = u64::from(block).saturating_mul(bytes.len() as u64);
                device.read_at(at, bytes).map_err(VolumeError::io(place))
            }
        }
    }
}

/// Where a block of a file lies.
fn find(runs: &[Mapping], block: u32) -> Option<BlockNr> {
    let block = u64::from(block);
    let run = runs.get(runs.partition_point(|r| r.end() <= block))?;
    let inside = block.checked_sub(run.logical)?;
    Some(BlockNr(run.physical.get() + inside))
}
