//! A watch that counts.

use super::access::Cpu;
use super::watch::{StoreKind, Watch, WriteBack};

/// How often what was executed. An operation that failed for its range is not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PmemCounts {
    /// Loads, the driver's included.
    pub loads: u64,
    /// Bytes loaded.
    pub bytes_loaded: u64,
    /// Stores through the cache.
    pub stores: u64,
    /// Stores past the cache, the driver's included.
    pub nt_stores: u64,
    /// Bytes stored, either way.
    pub bytes_stored: u64,
    /// Lines written back: `clwb`, `clflushopt`, `clflush`.
    pub write_backs: u64,
    /// Fences.
    pub fences: u64,
}

/// Counts what happens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counting {
    counts: PmemCounts,
}

impl Counting {
    /// The figures so far.
    #[must_use]
    pub fn counts(&self) -> PmemCounts {
        self.counts
    }
}

impl Watch for Counting {
    const WATCHES_LINES: bool = false;

    #[inline]
    fn load(&mut self, _cpu: Cpu, _addr: u64, len: u64) {
        self.counts.loads += 1;
        self.counts.bytes_loaded += len;
    }

    #[inline]
    fn store(&mut self, _cpu: Cpu, _addr: u64, len: u64, kind: StoreKind) {
        match kind {
            StoreKind::Cached => self.counts.stores += 1,
            StoreKind::NonTemporal => self.counts.nt_stores += 1,
        }
        self.counts.bytes_stored += len;
    }

    #[inline]
    fn write_back(&mut self, _cpu: Cpu, _line: u64, _how: WriteBack) {
        self.counts.write_backs += 1;
    }

    #[inline]
    fn fence(&mut self, _cpu: Cpu) {
        self.counts.fences += 1;
    }
}
