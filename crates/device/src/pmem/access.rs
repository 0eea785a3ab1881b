//! The traits of persistent memory, and the numbers they speak of.

use super::error::PmemError;

/// Bytes of a cache line.
pub const LINE: usize = 64;
/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// Bytes of a sector: the unit in which the driver knows and heals bad blocks.
pub const SECTOR: u64 = 512;

/// A page frame number: a physical address divided by 4,096.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Pfn(pub u64);

/// Who executes an instruction: a CPU, or the task that stands for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Cpu(pub u32);

/// What [`PersistentMemory::direct_access`] gives: where a page lies, and how far from there the memory is contiguous.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectAccess {
    /// The frame of the first page.
    pub pfn: Pfn,
    /// Pages from there on that lie side by side and are good. Never 0; it may be more or fewer than were asked for.
    pub pages: u64,
}

/// Byte-addressable memory that outlives a power cut, as far as stores were written back and fenced.
///
/// Loads take `&mut self`, because they are watched; [`peek`](Self::peek) is for who looks without being part of the
/// system: invariants, printing.
pub trait PersistentMemory {
    /// Length in bytes, a multiple of [`PAGE`].
    fn size(&self) -> u64;

    /// The frame of page 0.
    fn start(&self) -> Pfn;

    /// Where page `pgoff` lies (`dax_direct_access` with `DAX_ACCESS`). The run reaches to the end of the memory, or only as
    /// far as was asked for where the memory has poison elsewhere.
    ///
    /// # Errors
    /// Out of range, or a poisoned sector lies in the range (the kernel's EHWPOISON).
    fn direct_access(&self, pgoff: u64, pages: u64) -> Result<DirectAccess, PmemError>;

    /// The same for a write that will heal (`DAX_RECOVERY_WRITE`): poison is no error; the run ends before the first
    /// poisoned page, or is that one page.
    ///
    /// # Errors
    /// Out of range.
    fn recovery_access(&self, pgoff: u64, pages: u64) -> Result<DirectAccess, PmemError>;

    /// The address of a byte that a page table names.
    ///
    /// # Errors
    /// The frame is not of this memory.
    #[inline]
    fn address_of(&self, pfn: Pfn, in_page: u64) -> Result<u64, PmemError> {
        let size = self.size();
        pfn.0
            .checked_sub(self.start().0)
            .and_then(|page| page.checked_mul(PAGE)?.checked_add(in_page))
            .filter(|addr| in_page < PAGE && *addr < size)
            .ok_or(PmemError::OutOfRange { addr: pfn.0.wrapping_mul(PAGE), len: 1, size })
    }

    /// Reads what a load would see, unwatched, uncounted and whatever is poisoned.
    ///
    /// # Errors
    /// Out of range, or the base fails.
    fn peek(&self, addr: u64, buf: &mut [u8]) -> Result<(), PmemError>;

    /// Loads. Sees every store so far, whoever made it.
    ///
    /// # Errors
    /// Out of range, a poisoned line, or the base fails.
    fn load(&mut self, cpu: Cpu, addr: u64, buf: &mut [u8]) -> Result<(), PmemError>;

    /// Stores through the cache. It is split at line borders; of what lies in one line only aligned 8 bytes are atomic.
    /// Poison stays as it is.
    ///
    /// # Errors
    /// Out of range, or the base fails. Nothing is stored then.
    fn store(&mut self, cpu: Cpu, addr: u64, data: &[u8]) -> Result<(), PmemError>;

    /// Stores past the cache (`movnti`; `memcpy_flushcache`): the store is on its way at once, and durable after
    /// this CPU's next fence.
    ///
    /// # Errors
    /// As [`store`](Self::store).
    fn store_nt(&mut self, cpu: Cpu, addr: u64, data: &[u8]) -> Result<(), PmemError>;

    /// Starts to write back the line of `addr`, which stays in the cache. Durable after this CPU's next fence.
    ///
    /// # Errors
    /// Out of range.
    fn clwb(&mut self, cpu: Cpu, addr: u64) -> Result<(), PmemError>;

    /// As [`clwb`](Self::clwb), and the line leaves the cache.
    ///
    /// # Errors
    /// Out of range.
    fn clflushopt(&mut self, cpu: Cpu, addr: u64) -> Result<(), PmemError>;

    /// Writes back the line of `addr`; durable at once.
    ///
    /// # Errors
    /// Out of range.
    fn clflush(&mut self, cpu: Cpu, addr: u64) -> Result<(), PmemError>;

    /// A fence (`sfence`, `mfence`, a locked instruction): what this CPU has on its way becomes durable.
    fn sfence(&mut self, cpu: Cpu);

    /// The driver reads (`pmem_do_read`).
    ///
    /// # Errors
    /// Out of range, a sector of the range is poisoned, or the base fails.
    fn driver_read(&mut self, cpu: Cpu, addr: u64, buf: &mut [u8]) -> Result<(), PmemError>;

    /// The driver writes (`pmem_do_write`): non-temporal stores that heal the sectors which they cover. No fence.
    ///
    /// # Errors
    /// Out of range, a poisoned sector is covered in part only, or the base fails. Nothing is stored then.
    fn driver_write(&mut self, cpu: Cpu, addr: u64, data: &[u8]) -> Result<(), PmemError>;

    /// The driver writes zeroes (`dax_zero_page_range`, which has whole pages). Costs little however long the range is,
    /// unless stores are watched. No fence.
    ///
    /// # Errors
    /// As [`driver_write`](Self::driver_write).
    fn zero(&mut self, cpu: Cpu, addr: u64, len: u64) -> Result<(), PmemError>;

    /// The driver's part of a `write(2)` that met poison (`pmem_recovery_write`): whole pages are healed and written.
    /// Returns the bytes written: all, or 0 where poison lies in a range that is not made of whole pages (the caller's EIO).
    ///
    /// # Errors
    /// Out of range, or the base fails.
    fn recovery_write(&mut self, cpu: Cpu, addr: u64, data: &[u8]) -> Result<usize, PmemError>;

    /// Loads 8 bytes, little-endian.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    #[inline]
    fn load_u64(&mut self, cpu: Cpu, addr: u64) -> Result<u64, PmemError> {
        let mut buf = [0; 8];
        self.load(cpu, addr, &mut buf)?;
        Ok(u64::from_le_bytes(buf))
    }

    /// Stores 8 bytes, little-endian. Atomic where `addr` is a multiple of 8.
    ///
    /// # Errors
    /// As [`store`](Self::store).
    #[inline]
    fn store_u64(&mut self, cpu: Cpu, addr: u64, value: u64) -> Result<(), PmemError> {
        self.store(cpu, addr, &value.to_le_bytes())
    }

    /// [`clwb`](Self::clwb) for every line of the range: `arch_wb_cache_pmem`, which is what `dax_flush` does. No fence.
    ///
    /// # Errors
    /// Out of range. Nothing is on its way then.
    fn write_back(&mut self, cpu: Cpu, addr: u64, len: u64) -> Result<(), PmemError> {
        let size = self.size();
        let end = addr.checked_add(len).filter(|end| *end <= size).ok_or(PmemError::OutOfRange { addr, len, size })?;
        let mut line = addr - addr % LINE as u64;
        while line < end {
            self.clwb(cpu, line)?;
            line += LINE as u64;
        }
        Ok(())
    }
}

/// Memory whose whole state can be kept and brought back.
pub trait Snapshots {
    /// What a state is kept as.
    type Snapshot;

    /// The state of this moment.
    fn snapshot(&self) -> Self::Snapshot;

    /// Goes back to a state. Allocates nothing in the steady state.
    fn restore(&mut self, to: &Self::Snapshot);
}
