//! Faults made on purpose: bad sectors, a full disk, writes and flushes that fail, a host that stops half way.
//!
//! Deterministic: the plan says everything, and operations are counted from 0 in the order in which they come. (With
//! several threads that order is the threads' own.)

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;

use crate::block::{BlockDevice, Geometry, check_range};
use crate::error::DeviceError;
use crate::range_set::RangeSet;

/// What is to go wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FaultPlan {
    bad_read: RangeSet,
    bad_write: RangeSet,
    capacity: Option<u64>,
    cut_after: Option<u64>,
    fail_reads: BTreeSet<u64>,
    fail_writes: BTreeSet<u64>,
    fail_flushes: BTreeSet<u64>,
}

impl FaultPlan {
    /// Nothing goes wrong; operations are only counted.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `count` bad sectors of `sector` bytes, for reading and writing, scattered over a device of `device_len` bytes.
    /// The same arguments give the same sectors. Two may fall together.
    #[must_use]
    pub fn scattered(seed: u64, count: u32, sector: u64, device_len: u64) -> Self {
        let mut state = seed;
        let sectors = device_len / sector.max(1);
        (0..count).filter(|_| sectors > 0).fold(Self::new(), |plan, _| {
            let start = split_mix(&mut state) % sectors * sector;
            plan.bad_sector(start..start + sector)
        })
    }

    /// The range can be neither read nor written.
    #[must_use]
    pub fn bad_sector(self, range: Range<u64>) -> Self {
        self.bad_read(range.clone()).bad_write(range)
    }

    /// The range cannot be read.
    #[must_use]
    pub fn bad_read(mut self, range: Range<u64>) -> Self {
        self.bad_read.insert(range);
        self
    }

    /// The range cannot be written or zeroed. A write gets as far as the range.
    #[must_use]
    pub fn bad_write(mut self, range: Range<u64>) -> Self {
        self.bad_write.insert(range);
        self
    }

    /// The disk is full after this many bytes have been written (zeroing takes no space).
    #[must_use]
    pub fn capacity(self, bytes: u64) -> Self {
        Self { capacity: Some(bytes), ..self }
    }

    /// After this many bytes have been written nothing more reaches the device: that write fails half way, and so does
    /// every change and flush that follows, as after a power cut.
    #[must_use]
    pub fn cut_after(self, bytes: u64) -> Self {
        Self { cut_after: Some(bytes), ..self }
    }

    /// The read with this number fails.
    #[must_use]
    pub fn fail_read(mut self, number: u64) -> Self {
        self.fail_reads.insert(number);
        self
    }

    /// The write with this number fails and writes nothing. Later ones succeed.
    #[must_use]
    pub fn fail_write(mut self, number: u64) -> Self {
        self.fail_writes.insert(number);
        self
    }

    /// The flush with this number fails.
    #[must_use]
    pub fn fail_flush(mut self, number: u64) -> Self {
        self.fail_flushes.insert(number);
        self
    }

    /// What cannot be read.
    #[must_use]
    pub fn bad_reads(&self) -> &RangeSet {
        &self.bad_read
    }
}

/// The generator of Steele, Lea and Flood ("Fast splittable pseudorandom number generators", 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// How often the device was asked, failures included, and how many bytes went through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls of `read_at`.
    pub reads: u64,
    /// Calls of `write_at`.
    pub writes: u64,
    /// Calls of `write_zeroes`.
    pub zeroes: u64,
    /// Calls of `discard`.
    pub discards: u64,
    /// Calls of `flush`.
    pub flushes: u64,
    /// Bytes read with success.
    pub bytes_read: u64,
    /// Bytes that reached the device by `write_at`.
    pub bytes_written: u64,
}

#[derive(Debug, Default)]
struct Counters {
    reads: AtomicU64,
    writes: AtomicU64,
    zeroes: AtomicU64,
    discards: AtomicU64,
    flushes: AtomicU64,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    /// Bytes that writes were allowed to write: what capacity and cut are measured by.
    granted: AtomicU64,
}

/// A device that fails as planned.
#[derive(Debug)]
pub struct FaultInjector<D> {
    base: D,
    plan: FaultPlan,
    counters: Counters,
}

impl<D: BlockDevice> FaultInjector<D> {
    /// `base`, failing as `plan` says.
    pub fn new(base: D, plan: FaultPlan) -> Self {
        Self { base, plan, counters: Counters::default() }
    }

    /// The device below, without faults.
    pub fn base(&self) -> &D {
        &self.base
    }

    /// Gives the device below back.
    pub fn into_base(self) -> D {
        self.base
    }

    /// The plan.
    pub fn plan(&self) -> &FaultPlan {
        &self.plan
    }

    /// What has been asked so far.
    pub fn counts(&self) -> Counts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let c = &self.counters;
        Counts {
            reads: get(&c.reads),
            writes: get(&c.writes),
            zeroes: get(&c.zeroes),
            discards: get(&c.discards),
            flushes: get(&c.flushes),
            bytes_read: get(&c.bytes_read),
            bytes_written: get(&c.bytes_written),
        }
    }

    fn is_cut(&self) -> bool {
        self.plan.cut_after.is_some_and(|limit| self.counters.granted.load(Ordering::Relaxed) >= limit)
    }

    /// How many of `len` bytes the disk still takes.
    fn grant(&self, len: u64) -> u64 {
        let limit = self.plan.capacity.unwrap_or(u64::MAX).min(self.plan.cut_after.unwrap_or(u64::MAX));
        let step = |granted: u64| Some(granted.saturating_add(len).min(limit));
        // OK to unwrap: the closure never gives None.
        let before = self.counters.granted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).unwrap();
        len.min(limit.saturating_sub(before))
    }

    fn change_check(&self, op: &'static str, offset: u64, len: u64) -> Result<(), DeviceError> {
        check_range(offset, len, self.base.len())?;
        if self.is_cut() {
            return Err(broken(op, offset, len));
        }
        match self.plan.bad_write.next_in(offset..offset + len) {
            Some(bad) => Err(DeviceError::BadSector { offset: bad.start }),
            None => Ok(()),
        }
    }
}

fn broken(op: &'static str, offset: u64, len: u64) -> DeviceError {
    DeviceError::Io { op, offset, len, source: io::Error::from(Errno::IO) }
}

fn count(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed)
}

impl<D: BlockDevice> BlockDevice for FaultInjector<D> {
    fn len(&self) -> u64 {
        self.base.len()
    }

    fn geometry(&self) -> Geometry {
        self.base.geometry()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DeviceError> {
        let number = count(&self.counters.reads);
        let len = buf.len() as u64;
        check_range(offset, len, self.base.len())?;
        if self.plan.fail_reads.contains(&number) {
            return Err(broken("read", offset, len));
        }
        if let Some(bad) = self.plan.bad_read.next_in(offset..offset + len) {
            return Err(DeviceError::BadSector { offset: bad.start });
        }
        self.base.read_at(offset, buf)?;
        self.counters.bytes_read.fetch_add(len, Ordering::Relaxed);
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        let number = count(&self.counters.writes);
        let len = data.len() as u64;
        check_range(offset, len, self.base.len())?;
        if self.geometry().read_only {
            return Err(DeviceError::ReadOnly);
        }
        if self.is_cut() || self.plan.fail_writes.contains(&number) {
            return Err(broken("write", offset, len));
        }
        let bad = self.plan.bad_write.next_in(offset..offset + len);
        let reach = bad.as_ref().map_or(len, |bad| bad.start - offset);
        let granted = self.grant(reach);
        self.base.write_at(offset, &data[..granted as usize])?;
        self.counters.bytes_written.fetch_add(granted, Ordering::Relaxed);
        if granted < reach {
            let at = offset + granted;
            return Err(if self.is_cut() {
                broken("write", at, len - granted)
            } else {
                DeviceError::NoSpace { offset: at }
            });
        }
        match bad {
            Some(bad) => Err(DeviceError::BadSector { offset: bad.start }),
            None => Ok(()),
        }
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Result<(), DeviceError> {
        count(&self.counters.zeroes);
        self.change_check("zero", offset, len)?;
        self.base.write_zeroes(offset, len)
    }

    fn discard(&self, offset: u64, len: u64) -> Result<bool, DeviceError> {
        count(&self.counters.discards);
        self.change_check("discard", offset, len)?;
        self.base.discard(offset, len)
    }

    fn known_zero(&self, offset: u64, len: u64) -> bool {
        check_range(offset, len, self.base.len()).is_ok()
            && !self.plan.bad_read.overlaps(offset..offset + len)
            && self.base.known_zero(offset, len)
    }

    fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>, DeviceError> {
        // A bad sector in a hole must be met by who goes from data to data, too.
        let data = self.base.next_data(offset)?;
        let stop = data.as_ref().map_or(self.base.len(), |d| d.start);
        Ok(self.plan.bad_read.next_in(offset.min(stop)..stop).or(data))
    }

    fn flush(&self) -> Result<(), DeviceError> {
        let number = count(&self.counters.flushes);
        if self.is_cut() || self.plan.fail_flushes.contains(&number) {
            return Err(broken("flush", 0, self.base.len()));
        }
        self.base.flush()
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        self.base.start_writeback(offset, len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryDevice;

    fn device(plan: FaultPlan) -> FaultInjector<MemoryDevice> {
        FaultInjector::new(MemoryDevice::new(10_000), plan)
    }

    #[test]
    fn everything_is_counted() {
        let device = device(FaultPlan::new().fail_read(1));
        let mut buf = [0; 10];
        device.read_at(0, &mut buf).unwrap();
        assert!(matches!(device.read_at(0, &mut buf), Err(DeviceError::Io { op: "read", .. })));
        assert!(device.read_at(9_995, &mut buf).is_err());
        device.write_at(0, &[1; 100]).unwrap();
        device.write_zeroes(0, 5).unwrap();
        assert!(device.discard(0, 5).unwrap());
        device.flush().unwrap();
        let expected =
            Counts { reads: 3, writes: 1, zeroes: 1, discards: 1, flushes: 1, bytes_read: 10, bytes_written: 100 };
        assert_eq!(device.counts(), expected);
    }

    #[test]
    fn a_write_gets_as_far_as_the_bad_sector() {
        let device = device(FaultPlan::new().bad_sector(512..1024));
        assert!(matches!(device.write_at(500, &[1; 600]), Err(DeviceError::BadSector { offset: 512 })));
        assert_eq!(device.base().to_vec()[499..513], [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
        let mut buf = [0; 100];
        assert!(matches!(device.read_at(1000, &mut buf), Err(DeviceError::BadSector { offset: 1000 })));
        assert!(device.read_at(1024, &mut buf).is_ok());
        assert!(device.write_zeroes(0, 513).is_err() && device.discard(1023, 1).is_err());
        assert!(!device.known_zero(600, 1) && device.known_zero(0, 0));
    }

    #[test]
    fn a_bad_sector_in_a_hole_is_met() {
        let device = device(FaultPlan::new().bad_read(512..1024));
        assert_eq!(device.next_data(0).unwrap(), Some(512..1024));
        assert_eq!(device.next_data(1024).unwrap(), None);
        assert_eq!(device.next_data(20_000).unwrap(), None);
    }

    #[test]
    fn a_full_disk_takes_what_fits() {
        let device = device(FaultPlan::new().capacity(150));
        device.write_at(0, &[1; 100]).unwrap();
        assert!(matches!(device.write_at(1000, &[2; 100]), Err(DeviceError::NoSpace { offset: 1050 })));
        assert!(matches!(device.write_at(0, &[3; 1]), Err(DeviceError::NoSpace { offset: 0 })));
        assert_eq!(device.base().to_vec()[1049..1051], [2, 0]);
        assert_eq!(device.counts().bytes_written, 150);
        device.flush().unwrap();
    }

    #[test]
    fn after_a_cut_nothing_arrives() {
        let device = device(FaultPlan::new().cut_after(150));
        device.write_at(0, &[1; 100]).unwrap();
        assert!(matches!(device.write_at(1000, &[2; 100]), Err(DeviceError::Io { offset: 1050, len: 50, .. })));
        assert!(device.write_at(0, &[3; 1]).is_err() && device.write_zeroes(0, 1).is_err() && device.flush().is_err());
        assert_eq!(device.base().to_vec()[0], 1);
    }

    #[test]
    fn the_nth_write_and_flush_fail_alone() {
        let device = device(FaultPlan::new().fail_write(1).fail_flush(0));
        device.write_at(0, b"a").unwrap();
        assert!(device.write_at(1, b"b").is_err());
        device.write_at(2, b"c").unwrap();
        assert_eq!(device.base().to_vec()[..3], *b"a\0c");
        assert!(device.flush().is_err());
        device.flush().unwrap();
    }

    #[test]
    fn scattered_sectors_depend_on_the_seed_only() {
        let plan = FaultPlan::scattered(7, 5, 512, 1 << 20);
        assert_eq!(plan, FaultPlan::scattered(7, 5, 512, 1 << 20));
        assert_ne!(plan, FaultPlan::scattered(8, 5, 512, 1 << 20));
        assert_eq!(plan.bad_reads().total(), 5 * 512);
        assert!(plan.bad_reads().iter().all(|r| r.start % 512 == 0 && r.end <= 1 << 20));
        assert!(FaultPlan::scattered(7, 5, 512, 100).bad_reads().is_empty());
    }
}
