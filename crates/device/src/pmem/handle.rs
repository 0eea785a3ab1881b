//! A handle on a memory that many hold: the block device of a volume and the memory of a mount.
//!
//! The lock is held for one operation only (or for one closure of [`PmemHandle::with`], which must not use a handle on the
//! same memory).

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::access::{Cpu, DirectAccess, PersistentMemory, Pfn, Snapshots};
use super::emulated::{LINE_BYTES, Pmem};
use super::error::PmemError;
use super::watch::{NoWatch, Watch};
use crate::block::{BlockDevice, Geometry, check_range};
use crate::error::DeviceError;

/// A memory that is shared. Clones are the same memory.
#[derive(Debug)]
pub struct PmemHandle<B, W = NoWatch> {
    memory: Arc<Mutex<Pmem<B, W>>>,
    size: u64,
    start: Pfn,
    cpu: Cpu,
}

impl<B, W> Clone for PmemHandle<B, W> {
    fn clone(&self) -> Self {
        Self { memory: Arc::clone(&self.memory), size: self.size, start: self.start, cpu: self.cpu }
    }
}

impl<B: BlockDevice, W: Watch> PmemHandle<B, W> {
    /// Shares a memory. As a block device it is driven by CPU 0.
    pub fn new(memory: Pmem<B, W>) -> Self {
        let (size, start) = (memory.size(), memory.start());
        Self { memory: Arc::new(Mutex::new(memory)), size, start, cpu: Cpu(0) }
    }

    /// The same memory, driven by this CPU when used as a block device: its writes, and its flush, which is a fence
    /// and so orders no other handle's writes.
    #[must_use]
    pub fn driven_by(&self, cpu: Cpu) -> Self {
        Self { cpu, ..self.clone() }
    }

    /// Runs something on the memory itself, under the lock.
    pub fn with<T>(&self, f: impl FnOnce(&mut Pmem<B, W>) -> T) -> T {
        f(&mut self.lock())
    }

    /// The content and the watch of this moment.
    pub fn snapshot(&self) -> Pmem<B, W> {
        self.lock().clone()
    }

    /// Goes back to a snapshot, for everybody who holds a handle.
    pub fn restore(&self, to: &Pmem<B, W>) {
        self.lock().clone_from(to);
    }

    fn lock(&self) -> MutexGuard<'_, Pmem<B, W>> {
        // A panic between two stores leaves whole lines; nothing to distrust.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: BlockDevice, W: Watch> Snapshots for PmemHandle<B, W> {
    type Snapshot = Pmem<B, W>;

    fn snapshot(&self) -> Pmem<B, W> {
        Self::snapshot(self)
    }

    fn restore(&mut self, to: &Pmem<B, W>) {
        Self::restore(self, to);
    }
}

impl<B: BlockDevice, W: Watch> PersistentMemory for PmemHandle<B, W> {
    fn size(&self) -> u64 {
        self.size
    }

    fn start(&self) -> Pfn {
        self.start
    }

    fn direct_access(&self, pgoff: u64, pages: u64) -> Result<DirectAccess, PmemError> {
        self.lock().direct_access(pgoff, pages)
    }

    fn recovery_access(&self, pgoff: u64, pages: u64) -> Result<DirectAccess, PmemError> {
        self.lock().recovery_access(pgoff, pages)
    }

    fn peek(&self, addr: u64, buf: &mut [u8]) -> Result<(), PmemError> {
        self.lock().peek(addr, buf)
    }

    fn load(&mut self, cpu: Cpu, addr: u64, buf: &mut [u8]) -> Result<(), PmemError> {
        self.lock().load(cpu, addr, buf)
    }

    fn store(&mut self, cpu: Cpu, addr: u64, data: &[u8]) -> Result<(), PmemError> {
        self.lock().store(cpu, addr, data)
    }

    fn store_nt(&mut self, cpu: Cpu, addr: u64, data: &[u8]) -> Result<(), PmemError> {
        self.lock().store_nt(cpu, addr, data)
    }

    fn clwb(&mut self, cpu: Cpu, addr: u64) -> Result<(), PmemError> {
        self.lock().clwb(cpu, addr)
    }

    fn clflushopt(&mut self, cpu: Cpu, addr: u64) -> Result<(), PmemError> {
        self.lock().clflushopt(cpu, addr)
    }

    fn clflush(&mut self, cpu: Cpu, addr: u64) -> Result<(), PmemError> {
        self.lock().clflush(cpu, addr)
    }

    fn sfence(&mut self, cpu: Cpu) {
        self.lock().sfence(cpu);
    }

    fn driver_read(&mut self, cpu: Cpu, addr: u64, buf: &mut [u8]) -> Result<(), PmemError> {
        self.lock().driver_read(cpu, addr, buf)
    }

    fn driver_write(&mut self, cpu: Cpu, addr: u64, data: &[u8]) -> Result<(), PmemError> {
        self.lock().driver_write(cpu, addr, data)
    }

    fn zero(&mut self, cpu: Cpu, addr: u64, len: u64) -> Result<(), PmemError> {
        self.lock().zero(cpu, addr, len)
    }

    fn recovery_write(&mut self, cpu: Cpu, addr: u64, data: &[u8]) -> Result<usize, PmemError> {
        self.lock().recovery_write(cpu, addr, data)
    }

    fn write_back(&mut self, cpu: Cpu, addr: u64, len: u64) -> Result<(), PmemError> {
        self.lock().write_back(cpu, addr, len)
    }
}

impl<B: BlockDevice, W: Watch> BlockDevice for PmemHandle<B, W> {
    fn len(&self) -> u64 {
        self.size
    }

    fn geometry(&self) -> Geometry {
        Geometry { len: self.size, logical_sector_size: 512, read_only: false }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DeviceError> {
        Ok(self.lock().driver_read(self.cpu, offset, buf)?)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        Ok(self.lock().driver_write(self.cpu, offset, data)?)
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Result<(), DeviceError> {
        Ok(self.lock().zero(self.cpu, offset, len)?)
    }

    fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>, DeviceError> {
        Ok(self.lock().next_data(offset)?)
    }

    fn discard(&self, offset: u64, len: u64) -> Result<bool, DeviceError> {
        // The driver has no discard: the content stays.
        check_range(offset, len, self.size)?;
        Ok(false)
    }

    fn flush(&self) -> Result<(), DeviceError> {
        self.lock().sfence(self.cpu);
        Ok(())
    }
}

/// How far a region of data reaches beyond a stored line: regions may hold zeroes, and few regions are found sooner.
const REGION: u64 = 2 << 20;

impl<B: BlockDevice, W: Watch> Pmem<B, W> {
    /// The next region that may hold something: of the base, of stored lines, or poison, which must be met.
    fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>, PmemError> {
        let size = self.size();
        if offset >= size {
            return Ok(None);
        }
        let first = offset / LINE_BYTES;
        let stored = self.lines.iter().map(|(line, _)| line).filter(|line| *line >= first).min();
        let poisoned = self.poison.next_in(first..size / LINE_BYTES).map(|lines| lines.start);
        let above = stored.into_iter().chain(poisoned).min().map(|line| {
            let start = (line * LINE_BYTES).max(offset);
            start..(start / REGION * REGION + REGION).min(size)
        });
        let below = self.base().next_data(offset)?;
        Ok(match (above, below) {
            (Some(above), Some(below)) => Some(if below.start <= above.start { below } else { above }),
            (above, below) => above.or(below),
        })
    }
}
