//! What the pmem driver does: reads that refuse bad sectors, writes that heal them.
//!
//! Facts from `drivers/nvdimm/pmem.c` of 6.12: `pmem_do_read` fails if the list of bad blocks touches the range;
//! `pmem_do_write` clears them first and copies past the cache; `pmem_recovery_write` takes whole pages only.

use super::access::{Cpu, PAGE, SECTOR};
use super::emulated::{LINE_BYTES, Pmem};
use super::error::PmemError;
use super::watch::{StoreKind, Watch};
use crate::block::BlockDevice;

static ZERO_PAGE: [u8; PAGE as usize] = [0; PAGE as usize];

impl<B: BlockDevice, W: Watch> Pmem<B, W> {
    pub(super) fn read_as_driver(&mut self, cpu: Cpu, addr: u64, buf: &mut [u8]) -> Result<(), PmemError> {
        let len = buf.len() as u64;
        self.check(addr, len)?;
        self.watch.load(cpu, addr, len);
        self.check_sectors(addr, len)?;
        self.read_visible(addr, buf)
    }

    pub(super) fn write_as_driver(&mut self, cpu: Cpu, addr: u64, data: &[u8]) -> Result<(), PmemError> {
        let len = data.len() as u64;
        self.check(addr, len)?;
        self.check_part_sectors(addr, addr + len)?;
        self.put(cpu, addr, data, StoreKind::NonTemporal)?;
        self.watch.store(cpu, addr, len, StoreKind::NonTemporal);
        self.heal_sectors(addr, addr + len);
        Ok(())
    }

    pub(super) fn zero_as_driver(&mut self, cpu: Cpu, addr: u64, len: u64) -> Result<(), PmemError> {
        self.check(addr, len)?;
        let end = addr + len;
        self.check_part_sectors(addr, end)?;
        // Whole lines need no bytes of their own, unless the watch wants to see them.
        let whole = addr.div_ceil(LINE_BYTES)..(end / LINE_BYTES).max(addr.div_ceil(LINE_BYTES));
        let skip = !W::WATCHES_LINES && !whole.is_empty();
        let mut at = addr;
        while at < end {
            if skip && at == whole.start * LINE_BYTES {
                at = whole.end * LINE_BYTES;
                continue;
            }
            let stop = if skip && at < whole.start * LINE_BYTES { whole.start * LINE_BYTES } else { end };
            let n = (stop - at).min(PAGE);
            self.put(cpu, at, &ZERO_PAGE[..n as usize], StoreKind::NonTemporal)?;
            at += n;
        }
        self.drop_lines(whole);
        self.watch.store(cpu, addr, len, StoreKind::NonTemporal);
        self.heal_sectors(addr, end);
        Ok(())
    }

    pub(super) fn recover(&mut self, cpu: Cpu, addr: u64, data: &[u8]) -> Result<usize, PmemError> {
        let len = data.len() as u64;
        self.check(addr, len)?;
        if self.check_sectors(addr, len).is_err() && !(addr.is_multiple_of(PAGE) && len.is_multiple_of(PAGE)) {
            return Ok(0);
        }
        self.write_as_driver(cpu, addr, data)?;
        Ok(data.len())
    }

    /// Fails if a sector that the range covers in part only is poisoned: its rest would have to be read first.
    fn check_part_sectors(&self, addr: u64, end: u64) -> Result<(), PmemError> {
        for edge in [addr, end] {
            if addr < end && !edge.is_multiple_of(SECTOR) {
                let inside = if edge == addr { edge } else { edge - 1 };
                self.check_sectors(inside, 1)?;
            }
        }
        Ok(())
    }

    fn heal_sectors(&mut self, addr: u64, end: u64) {
        if !self.poison.is_empty() {
            let per_sector = SECTOR / LINE_BYTES;
            self.poison.remove(addr.div_ceil(SECTOR) * per_sector..end / SECTOR * per_sector);
        }
    }
}
