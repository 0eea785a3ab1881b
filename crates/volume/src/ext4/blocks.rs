//! Reading blocks, with a small cache for metadata.
//!
//! The cache is direct-mapped and holds at most 4 MiB. It never holds file data. Whoever changes blocks under a volume
//! tells it by [`Volume::forget_blocks`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use daxkit_device::BlockDevice;
use daxkit_format::BlockNr;

use super::error::{Place, VolumeError};
use super::open::Volume;

/// Most bytes in the cache.
const CACHE_BYTES: usize = 4 << 20;

type Slot = Option<(u64, Arc<[u8]>)>;

/// Blocks of metadata read before.
#[derive(Debug)]
pub(crate) struct BlockCache {
    slots: Box<[Mutex<Slot>]>,
}

impl BlockCache {
    pub(crate) fn new(block_size: u32) -> Self {
        let slots = (CACHE_BYTES / block_size.max(1) as usize).clamp(16, 1024);
        Self { slots: (0..slots).map(|_| Mutex::new(None)).collect() }
    }

    fn slot(&self, block: u64) -> Option<MutexGuard<'_, Slot>> {
        let index = usize::try_from(block % self.slots.len().max(1) as u64).ok()?;
        // A slot is replaced as a whole, so a panic elsewhere cannot leave half of one.
        Some(self.slots.get(index)?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn get(&self, block: u64) -> Option<Arc<[u8]>> {
        self.slot(block)?.as_ref().filter(|(nr, _)| *nr == block).map(|(_, bytes)| Arc::clone(bytes))
    }

    pub(crate) fn put(&self, block: u64, bytes: &Arc<[u8]>) {
        if let Some(mut slot) = self.slot(block) {
            *slot = Some((block, Arc::clone(bytes)));
        }
    }

    /// Changes a part of a block, if it is kept.
    pub(crate) fn patch(&self, block: u64, at: usize, bytes: &[u8]) {
        let Some(mut slot) = self.slot(block) else { return };
        let Some((_, kept)) = slot.as_mut().filter(|(nr, _)| *nr == block) else { return };
        // Somebody may still read the old one.
        let part = Arc::get_mut(kept).and_then(|kept| kept.get_mut(at..at.checked_add(bytes.len())?));
        match part {
            Some(part) => part.copy_from_slice(bytes),
            None => *slot = None,
        }
    }

    pub(crate) fn forget(&self, block: u64) {
        if let Some(mut slot) = self.slot(block) {
            *slot = None;
        }
    }

    pub(crate) fn forget_range(&self, blocks: std::ops::Range<u64>) {
        if blocks.end.saturating_sub(blocks.start) >= self.slots.len() as u64 {
            self.clear();
        } else {
            blocks.for_each(|block| self.forget(block));
        }
    }

    fn clear(&self) {
        for slot in &self.slots {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

impl Volume {
    /// Reads one block as it is, checking nothing but its number.
    ///
    /// # Errors
    /// No such block, or the device failed.
    pub fn read_block(&self, block: BlockNr) -> Result<Vec<u8>, VolumeError> {
        let mut bytes = vec![0; self.geometry().block_size as usize];
        self.read_blocks_into(Place::Block(block), block, &mut bytes)?;
        Ok(bytes)
    }

    /// Fills `buf` from the start of `block` on. `buf` may be longer or shorter than a block.
    ///
    /// # Errors
    /// Blocks past the end of the file system, or the device failed.
    pub fn read_blocks_into(&self, place: Place, block: BlockNr, buf: &mut [u8]) -> Result<(), VolumeError> {
        let blocks = self.geometry().blocks_for(buf.len() as u64);
        let count = self.geometry().blocks_count;
        if block.get().checked_add(blocks).is_none_or(|end| end > count) {
            return Err(VolumeError::NoSuchBlock { block, count });
        }
        self.read_bytes(place, block.get() << self.geometry().block_shift(), buf)
    }

    /// Fills `buf` from byte `offset` of the file system on.
    pub(crate) fn read_bytes(&self, place: Place, offset: u64, buf: &mut [u8]) -> Result<(), VolumeError> {
        self.device().read_at(self.base().saturating_add(offset), buf).map_err(VolumeError::io(place))
    }

    /// A block of metadata, from the cache where it is there.
    pub(crate) fn block(&self, place: Place, block: BlockNr) -> Result<Arc<[u8]>, VolumeError> {
        if let Some(bytes) = self.cache().get(block.get()) {
            return Ok(bytes);
        }
        let mut bytes = vec![0; self.geometry().block_size as usize];
        self.read_blocks_into(place, block, &mut bytes)?;
        let bytes: Arc<[u8]> = bytes.into();
        self.cache().put(block.get(), &bytes);
        Ok(bytes)
    }

    /// Forgets every block read before, because the device was changed.
    pub fn forget_blocks(&self) {
        self.cache().clear();
        self.known().forget();
    }
}
