//! The memory itself: an immutable base, and above it what was stored, as cache lines.
//!
//! The visible content of a line is: its entry in `lines`; else zeroes, if it is in `zeroed`; else the base's.

use std::ops::Range;
use std::sync::Arc;

use super::access::{Cpu, DirectAccess, LINE, PAGE, PersistentMemory, Pfn, SECTOR, Snapshots};
use super::align::PmemAlign;
use super::error::PmemError;
use super::line_map::LineMap;
use super::ranges::FlatRanges;
use super::resident::Zeroes;
use super::watch::{LineStore, NoWatch, StoreKind, Watch, WriteBack};
use crate::block::BlockDevice;

pub(super) const LINE_BYTES: u64 = LINE as u64;

/// How a memory is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PmemOptions {
    /// What the length must be a multiple of; a page in any case.
    pub align: PmemAlign,
    /// The frame of page 0. A multiple of 512, or no 2 MiB page can be mapped.
    pub start: Pfn,
}

impl Default for PmemOptions {
    /// Multiples of 2 MiB, above 4 GiB of memory.
    fn default() -> Self {
        Self { align: PmemAlign::Mib2, start: Pfn(1 << 20) }
    }
}

/// Emulated persistent memory. See the [module](crate::pmem).
#[derive(Debug)]
pub struct Pmem<B, W = NoWatch> {
    base: Arc<B>,
    size: u64,
    start: Pfn,
    pub(super) lines: LineMap<[u8; LINE]>,
    zeroed: FlatRanges,
    /// Numbers of poisoned lines.
    pub(super) poison: FlatRanges,
    pub(super) watch: W,
}

impl<B, W: Clone> Clone for Pmem<B, W> {
    fn clone(&self) -> Self {
        Self {
            base: Arc::clone(&self.base),
            size: self.size,
            start: self.start,
            lines: self.lines.clone(),
            zeroed: self.zeroed.clone(),
            poison: self.poison.clone(),
            watch: self.watch.clone(),
        }
    }

    fn clone_from(&mut self, source: &Self) {
        self.watch.clone_from(&source.watch);
        self.take_contents(source);
    }
}

impl<B, W> Pmem<B, W> {
    /// Becomes what `source` is, but for the watch. Reuses allocations.
    pub(super) fn take_contents<V>(&mut self, source: &Pmem<B, V>) {
        if !Arc::ptr_eq(&self.base, &source.base) {
            self.base = Arc::clone(&source.base);
        }
        self.size = source.size;
        self.start = source.start;
        self.lines.clone_from(&source.lines);
        self.zeroed.clone_from(&source.zeroed);
        self.poison.clone_from(&source.poison);
    }

    /// The same memory with another watch, which knows nothing of what happened before.
    pub fn watched_by<V>(&self, watch: V) -> Pmem<B, V> {
        Pmem {
            base: Arc::clone(&self.base),
            size: self.size,
            start: self.start,
            lines: self.lines.clone(),
            zeroed: self.zeroed.clone(),
            poison: self.poison.clone(),
            watch,
        }
    }

    /// Who watches.
    pub fn watch(&self) -> &W {
        &self.watch
    }

    /// The base, which no store changes.
    pub fn base(&self) -> &Arc<B> {
        &self.base
    }

    /// How many lines hold something else than the base.
    pub fn touched_lines(&self) -> usize {
        self.lines.len()
    }

    /// Poisons every line that the bytes touch. What lies outside the memory is ignored.
    pub fn poison(&mut self, bytes: Range<u64>) {
        let end = bytes.end.min(self.size).div_ceil(LINE_BYTES);
        self.poison.insert(bytes.start / LINE_BYTES..end);
    }

    /// Heals every line that the bytes touch, and changes no content.
    pub fn heal(&mut self, bytes: Range<u64>) {
        self.poison.remove(bytes.start / LINE_BYTES..bytes.end.div_ceil(LINE_BYTES));
    }

    /// What is poisoned, as ranges of bytes, ascending.
    pub fn poisoned(&self) -> impl Iterator<Item = Range<u64>> {
        self.poison.iter().map(|lines| lines.start * LINE_BYTES..lines.end * LINE_BYTES)
    }

    #[inline]
    pub(super) fn check(&self, addr: u64, len: u64) -> Result<(), PmemError> {
        match addr.checked_add(len) {
            Some(end) if end <= self.size => Ok(()),
            _ => Err(PmemError::OutOfRange { addr, len, size: self.size }),
        }
    }

    /// Fails if a poisoned sector touches the range, as the driver's list of bad blocks has it.
    pub(super) fn check_sectors(&self, addr: u64, len: u64) -> Result<(), PmemError> {
        if self.poison.is_empty() || len == 0 {
            return Ok(());
        }
        let lines = addr / SECTOR * (SECTOR / LINE_BYTES)..(addr + len).div_ceil(SECTOR) * (SECTOR / LINE_BYTES);
        match self.poison.next_in(lines) {
            Some(bad) => Err(PmemError::Poisoned { addr: (bad.start * LINE_BYTES).max(addr) }),
            None => Ok(()),
        }
    }

    /// Fails if the range has a poisoned line in it, as a load does.
    #[inline]
    fn check_lines(&self, addr: u64, len: u64) -> Result<(), PmemError> {
        if self.poison.is_empty() || len == 0 {
            return Ok(());
        }
        match self.poison.next_in(addr / LINE_BYTES..(addr + len).div_ceil(LINE_BYTES)) {
            Some(bad) => Err(PmemError::Poisoned { addr: (bad.start * LINE_BYTES).max(addr) }),
            None => Ok(()),
        }
    }
}

impl<W: Watch> Pmem<Zeroes, W> {
    /// Memory of `size` zero bytes over nothing.
    ///
    /// # Errors
    /// [`PmemError::BadLength`].
    pub fn zeroed(size: u64, options: PmemOptions, watch: W) -> Result<Self, PmemError> {
        Self::new(Arc::new(Zeroes::new(size)), options, watch)
    }
}

impl<B: BlockDevice, W: Watch> Pmem<B, W> {
    /// Memory over `base`, as long as it.
    ///
    /// # Errors
    /// [`PmemError::BadLength`].
    pub fn new(base: Arc<B>, options: PmemOptions, watch: W) -> Result<Self, PmemError> {
        let size = base.len();
        let multiple_of = options.align.bytes().max(PAGE);
        if size == 0 || !size.is_multiple_of(multiple_of) {
            return Err(PmemError::BadLength { len: size, multiple_of });
        }
        let (lines, zeroed, poison) = (LineMap::default(), FlatRanges::default(), FlatRanges::default());
        Ok(Self { base, size, start: options.start, lines, zeroed, poison, watch })
    }

    /// Writes the visible content of everything that was changed into `device`, which holds what the base holds: zeroes
    /// first, then stored lines, ascending. Poison is not looked at. Does not flush.
    ///
    /// # Errors
    /// The device's. It then has a part of the changes.
    pub fn write_back_to(&self, device: &dyn BlockDevice) -> Result<(), PmemError> {
        for lines in self.zeroed.iter() {
            device.write_zeroes(lines.start * LINE_BYTES, (lines.end - lines.start) * LINE_BYTES)?;
        }
        let mut lines: Vec<(u64, &[u8; LINE])> = self.lines.iter().collect();
        lines.sort_unstable_by_key(|(line, _)| *line);
        let mut run = Vec::new();
        for neighbours in lines.chunk_by(|a, b| a.0 + 1 == b.0) {
            for part in neighbours.chunks(crate::block::COPY_BUFFER / LINE) {
                run.clear();
                part.iter().for_each(|(_, bytes)| run.extend_from_slice(*bytes));
                device.write_at(part[0].0 * LINE_BYTES, &run)?;
            }
        }
        Ok(())
    }

    /// Writes what was changed into the base, which then holds it alone.
    ///
    /// # Errors
    /// [`PmemError::SharedBase`] while a snapshot reads the same base, or the base's.
    pub fn write_through(&mut self) -> Result<(), PmemError> {
        if Arc::get_mut(&mut self.base).is_none() {
            return Err(PmemError::SharedBase);
        }
        self.write_back_to(&*self.base)?;
        self.base.flush()?;
        self.lines.clear();
        self.zeroed.clear();
        Ok(())
    }

    #[inline]
    pub(super) fn read_visible(&self, addr: u64, buf: &mut [u8]) -> Result<(), PmemError> {
        let at = (addr % LINE_BYTES) as usize;
        if at + buf.len() <= LINE
            && let Some(line) = self.lines.get(addr / LINE_BYTES)
        {
            buf.copy_from_slice(&line[at..at + buf.len()]);
            return Ok(());
        }
        self.read_by_runs(addr, buf)
    }

    /// Lines above the base one by one, what lies between them in one piece.
    fn read_by_runs(&self, addr: u64, buf: &mut [u8]) -> Result<(), PmemError> {
        let end = addr + buf.len() as u64;
        let mut at = addr;
        while at < end {
            let mut run_end = (at / LINE_BYTES * LINE_BYTES + LINE_BYTES).min(end);
            if let Some(line) = self.lines.get(at / LINE_BYTES) {
                let from = (at % LINE_BYTES) as usize;
                let part = &mut buf[(at - addr) as usize..(run_end - addr) as usize];
                part.copy_from_slice(&line[from..from + part.len()]);
            } else {
                while run_end < end && self.lines.get(run_end / LINE_BYTES).is_none() {
                    run_end = (run_end + LINE_BYTES).min(end);
                }
                self.read_below(at, &mut buf[(at - addr) as usize..(run_end - addr) as usize])?;
            }
            at = run_end;
        }
        Ok(())
    }

    /// Reads what is under the stored lines.
    fn read_below(&self, addr: u64, buf: &mut [u8]) -> Result<(), PmemError> {
        let end = addr + buf.len() as u64;
        let mut at = addr;
        while at < end {
            let zero = self.zeroed.next_in(at / LINE_BYTES..end.div_ceil(LINE_BYTES));
            let zero = zero.map_or(end..end, |z| (z.start * LINE_BYTES).max(at)..(z.end * LINE_BYTES).min(end));
            if at < zero.start {
                self.base.read_at(at, &mut buf[(at - addr) as usize..(zero.start - addr) as usize])?;
            }
            buf[(zero.start - addr) as usize..(zero.end - addr) as usize].fill(0);
            at = zero.end;
        }
        Ok(())
    }

    /// Makes the line one that is stored here, with the content it has.
    fn fetch(&mut self, line: u64) -> Result<(), PmemError> {
        if self.lines.get(line).is_none() {
            let mut bytes = [0; LINE];
            self.read_below(line * LINE_BYTES, &mut bytes)?;
            self.lines.insert_new(line, bytes);
        }
        Ok(())
    }

    /// Stores, line by line. The range is inside. Whatever can fail comes before the first change.
    #[inline]
    pub(super) fn put(&mut self, cpu: Cpu, addr: u64, data: &[u8], kind: StoreKind) -> Result<(), PmemError> {
        let at = (addr % LINE_BYTES) as usize;
        if at + data.len() <= LINE
            && let Some(content) = self.lines.get_mut(addr / LINE_BYTES)
        {
            if W::WATCHES_LINES && !data.is_empty() {
                let before = &*content;
                self.watch.line_store(&LineStore { cpu, line: addr / LINE_BYTES, at, bytes: data, kind, before });
            }
            content[at..at + data.len()].copy_from_slice(data);
            return Ok(());
        }
        self.put_by_lines(cpu, addr, data, kind)
    }

    fn put_by_lines(&mut self, cpu: Cpu, addr: u64, data: &[u8], kind: StoreKind) -> Result<(), PmemError> {
        let end = addr + data.len() as u64;
        let (first, after) = (addr / LINE_BYTES, end.div_ceil(LINE_BYTES));
        if data.is_empty() {
            return Ok(());
        }
        for line in first..after {
            let whole = addr <= line * LINE_BYTES && (line + 1) * LINE_BYTES <= end;
            if W::WATCHES_LINES || !whole {
                self.fetch(line)?;
            }
        }
        for line in first..after {
            let start = (line * LINE_BYTES).max(addr);
            let bytes = &data[(start - addr) as usize..(end.min((line + 1) * LINE_BYTES) - addr) as usize];
            let at = (start % LINE_BYTES) as usize;
            let content = match self.lines.get_mut(line) {
                Some(content) => content,
                None => self.lines.insert_new(line, [0; LINE]),
            };
            if W::WATCHES_LINES {
                self.watch.line_store(&LineStore { cpu, line, at, bytes, kind, before: &*content });
            }
            content[at..at + bytes.len()].copy_from_slice(bytes);
        }
        Ok(())
    }

    /// Makes whole lines read as zero without keeping them. The watch has been told, if it wants to be.
    pub(super) fn drop_lines(&mut self, lines: Range<u64>) {
        if lines.is_empty() {
            return;
        }
        if lines.end - lines.start > self.lines.len() as u64 {
            if !self.lines.is_empty() {
                self.lines.retain(|line| !lines.contains(&line));
            }
        } else {
            lines.clone().for_each(|line| {
                self.lines.remove(line);
            });
        }
        if !self.base.known_zero(lines.start * LINE_BYTES, (lines.end - lines.start) * LINE_BYTES) {
            self.zeroed.insert(lines);
        }
    }

    fn store_as(&mut self, cpu: Cpu, addr: u64, data: &[u8], kind: StoreKind) -> Result<(), PmemError> {
        self.check(addr, data.len() as u64)?;
        self.put(cpu, addr, data, kind)?;
        self.watch.store(cpu, addr, data.len() as u64, kind);
        Ok(())
    }

    #[inline]
    fn write_line_back(&mut self, cpu: Cpu, addr: u64, how: WriteBack) -> Result<(), PmemError> {
        self.check(addr, 1)?;
        self.watch.write_back(cpu, addr / LINE_BYTES, how);
        Ok(())
    }

    fn frames(&self, pgoff: u64, pages: u64) -> Result<(Pfn, u64), PmemError> {
        let (addr, len) = (pgoff.saturating_mul(PAGE), pages.saturating_mul(PAGE));
        self.check(addr, len.max(PAGE))?;
        Ok((Pfn(self.start.0 + pgoff), self.size / PAGE - pgoff))
    }
}

impl<B: BlockDevice, W: Watch> PersistentMemory for Pmem<B, W> {
    #[inline]
    fn size(&self) -> u64 {
        self.size
    }

    #[inline]
    fn start(&self) -> Pfn {
        self.start
    }

    fn direct_access(&self, pgoff: u64, pages: u64) -> Result<DirectAccess, PmemError> {
        let (pfn, rest) = self.frames(pgoff, pages)?;
        // No range of the caller's is empty: one page is what he gets at least.
        let pages = pages.max(1);
        self.check_sectors(pgoff * PAGE, pages * PAGE)?;
        Ok(DirectAccess { pfn, pages: if self.poison.is_empty() { rest } else { pages } })
    }

    fn recovery_access(&self, pgoff: u64, pages: u64) -> Result<DirectAccess, PmemError> {
        match self.direct_access(pgoff, pages) {
            Err(PmemError::Poisoned { addr }) => {
                let good = addr / PAGE - pgoff;
                Ok(DirectAccess { pfn: Pfn(self.start.0 + pgoff), pages: good.max(1) })
            }
            other => other,
        }
    }

    fn peek(&self, addr: u64, buf: &mut [u8]) -> Result<(), PmemError> {
        self.check(addr, buf.len() as u64)?;
        self.read_visible(addr, buf)
    }

    #[inline]
    fn load(&mut self, cpu: Cpu, addr: u64, buf: &mut [u8]) -> Result<(), PmemError> {
        let len = buf.len() as u64;
        self.check(addr, len)?;
        self.watch.load(cpu, addr, len);
        self.check_lines(addr, len)?;
        self.read_visible(addr, buf)
    }

    #[inline]
    fn store(&mut self, cpu: Cpu, addr: u64, data: &[u8]) -> Result<(), PmemError> {
        self.store_as(cpu, addr, data, StoreKind::Cached)
    }

    fn store_nt(&mut self, cpu: Cpu, addr: u64, data: &[u8]) -> Result<(), PmemError> {
        self.store_as(cpu, addr, data, StoreKind::NonTemporal)
    }

    #[inline]
    fn clwb(&mut self, cpu: Cpu, addr: u64) -> Result<(), PmemError> {
        self.write_line_back(cpu, addr, WriteBack::Clwb)
    }

    fn clflushopt(&mut self, cpu: Cpu, addr: u64) -> Result<(), PmemError> {
        self.write_line_back(cpu, addr, WriteBack::ClflushOpt)
    }

    fn clflush(&mut self, cpu: Cpu, addr: u64) -> Result<(), PmemError> {
        self.write_line_back(cpu, addr, WriteBack::Clflush)
    }

    #[inline]
    fn sfence(&mut self, cpu: Cpu) {
        self.watch.fence(cpu);
    }

    fn driver_read(&mut self, cpu: Cpu, addr: u64, buf: &mut [u8]) -> Result<(), PmemError> {
        self.read_as_driver(cpu, addr, buf)
    }

    fn driver_write(&mut self, cpu: Cpu, addr: u64, data: &[u8]) -> Result<(), PmemError> {
        self.write_as_driver(cpu, addr, data)
    }

    fn zero(&mut self, cpu: Cpu, addr: u64, len: u64) -> Result<(), PmemError> {
        self.zero_as_driver(cpu, addr, len)
    }

    fn recovery_write(&mut self, cpu: Cpu, addr: u64, data: &[u8]) -> Result<usize, PmemError> {
        self.recover(cpu, addr, data)
    }
}

impl<B: BlockDevice, W: Watch> Snapshots for Pmem<B, W> {
    type Snapshot = Self;

    fn snapshot(&self) -> Self {
        self.clone()
    }

    fn restore(&mut self, to: &Self) {
        self.clone_from(to);
    }
}
