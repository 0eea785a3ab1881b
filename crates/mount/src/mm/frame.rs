//! What lies in a page, wherever it is: on a device, in a folio, nowhere.

use crate::fs::{FileSystem, Poisoned};
use crate::ids::PAGE_SIZE;
use crate::mm::page_table::{Frame, FrameKind};
use crate::world::World;

impl<F: FileSystem> World<F> {
    /// Bytes of a page, wherever it is.
    ///
    /// # Errors
    /// Poison.
    #[inline]
    pub(crate) fn read_frame(&self, frame: Frame, offset: u64, buf: &mut [u8]) -> Result<(), Poisoned> {
        match frame.kind() {
            FrameKind::Pmem(sb, pfn) => self.sb(sb).fs.load(pfn * PAGE_SIZE + offset, buf),
            FrameKind::Folio(folio) => {
                let at = offset as usize;
                buf.copy_from_slice(&self.folio_bytes[folio.0 as usize][at..at + buf.len()]);
                Ok(())
            }
            FrameKind::ZeroPage | FrameKind::HugeZeroPage => {
                buf.fill(0);
                Ok(())
            }
        }
    }

    /// Stores bytes into a page.
    ///
    /// # Errors
    /// Poison.
    #[inline]
    pub(crate) fn write_frame(&mut self, cpu: u16, frame: Frame, offset: u64, data: &[u8]) -> Result<(), Poisoned> {
        match frame.kind() {
            FrameKind::Pmem(sb, pfn) => self.sb_mut(sb).fs.store(cpu, pfn * PAGE_SIZE + offset, data),
            FrameKind::Folio(folio) => {
                let at = offset as usize;
                self.folio_bytes[folio.0 as usize][at..at + data.len()].copy_from_slice(data);
                Ok(())
            }
            // Never writable; a store there would be a fault of ours.
            FrameKind::ZeroPage | FrameKind::HugeZeroPage => Ok(()),
        }
    }
}
