//! A device in memory, sparse: what was never written takes no space, so that a device of 15 TiB costs nothing.
//!
//! Invariant: a page that is absent reads as zero. Pages are shared with snapshots until one side writes (`Arc`).

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::block::{BlockDevice, Geometry, check_range};
use crate::error::DeviceError;

/// Small enough that scattered metadata does not waste much, large enough that file data needs few entries.
const PAGE: usize = 16 << 10;

/// Neighbouring pages lie in different shards, so that threads that write side by side seldom meet.
const SHARDS: usize = 16;

type Page = [u8; PAGE];
type Shard = BTreeMap<u64, Arc<Page>>;

/// A sparse device in memory.
#[derive(Debug)]
pub struct MemoryDevice {
    len: u64,
    shards: [RwLock<Shard>; SHARDS],
}

impl MemoryDevice {
    /// A device of `len` bytes that all read as zero.
    #[must_use]
    pub fn new(len: u64) -> Self {
        Self { len, shards: Default::default() }
    }

    /// A device with this content.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut device = Self::new(bytes.len() as u64);
        for (number, chunk) in (0u64..).zip(bytes.chunks(PAGE)) {
            if chunk.iter().any(|b| *b != 0) {
                let mut page = Arc::new([0; PAGE]);
                Arc::make_mut(&mut page)[..chunk.len()].copy_from_slice(chunk);
                let shard = device.shards[shard_of(number)].get_mut().unwrap_or_else(PoisonError::into_inner);
                shard.insert(number, page);
            }
        }
        device
    }

    /// The whole content. Only for devices that fit into memory.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.len).unwrap_or(usize::MAX)];
        for shard in &self.shards {
            for (number, page) in read(shard).iter() {
                let start = (*number as usize).saturating_mul(PAGE);
                if let Some(rest) = bytes.get_mut(start..) {
                    let n = rest.len().min(PAGE);
                    rest[..n].copy_from_slice(&page[..n]);
                }
            }
        }
        bytes
    }

    /// A second device with the content of this moment. Costs one pointer per page; content is shared until written.
    /// Writes that run at the same time are in it or not, page by page.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        Self { len: self.len, shards: std::array::from_fn(|i| RwLock::new(read(&self.shards[i]).clone())) }
    }

    /// How many bytes of memory the content takes.
    #[must_use]
    pub fn memory_used(&self) -> u64 {
        self.shards.iter().map(|s| (read(s).len() * PAGE) as u64).sum()
    }

    /// Calls `each` for every part of the range that lies in one page: the page's number, the bytes inside the page, and
    /// how far into the range they begin.
    fn pages(offset: u64, len: u64, mut each: impl FnMut(u64, Range<usize>, usize)) {
        let mut done = 0;
        while done < len {
            let at = offset + done;
            let inside = (at % PAGE as u64) as usize;
            let n = ((PAGE - inside) as u64).min(len - done) as usize;
            each(at / PAGE as u64, inside..inside + n, done as usize);
            done += n as u64;
        }
    }
}

impl Clone for MemoryDevice {
    fn clone(&self) -> Self {
        self.snapshot()
    }
}

const fn shard_of(page: u64) -> usize {
    (page % SHARDS as u64) as usize
}

fn read(shard: &RwLock<Shard>) -> RwLockReadGuard<'_, Shard> {
    // A panic between two page operations leaves whole pages; nothing to distrust.
    shard.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(shard: &RwLock<Shard>) -> RwLockWriteGuard<'_, Shard> {
    shard.write().unwrap_or_else(PoisonError::into_inner)
}

impl BlockDevice for MemoryDevice {
    fn len(&self) -> u64 {
        self.len
    }

    fn geometry(&self) -> Geometry {
        Geometry { len: self.len, logical_sector_size: 512, read_only: false }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DeviceError> {
        check_range(offset, buf.len() as u64, self.len)?;
        Self::pages(offset, buf.len() as u64, |number, inside, from| {
            let part = &mut buf[from..from + inside.len()];
            match read(&self.shards[shard_of(number)]).get(&number) {
                Some(page) => part.copy_from_slice(&page[inside]),
                None => part.fill(0),
            }
        });
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        check_range(offset, data.len() as u64, self.len)?;
        Self::pages(offset, data.len() as u64, |number, inside, from| {
            let mut shard = write(&self.shards[shard_of(number)]);
            let page = shard.entry(number).or_insert_with(|| Arc::new([0; PAGE]));
            let part = &data[from..from + inside.len()];
            Arc::make_mut(page)[inside].copy_from_slice(part);
        });
        Ok(())
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Result<(), DeviceError> {
        check_range(offset, len, self.len)?;
        if len == 0 {
            return Ok(());
        }
        let end = offset + len;
        let (first, last) = (offset / PAGE as u64, (end - 1) / PAGE as u64);
        for shard in &self.shards {
            let mut shard = write(shard);
            let present: Vec<u64> = shard.range(first..=last).map(|(number, _)| *number).collect();
            for number in present {
                let start = number * PAGE as u64;
                // The last page of a device may be short: whole is what the device has of it.
                let page_end = start.saturating_add(PAGE as u64).min(self.len);
                if offset <= start && page_end <= end {
                    shard.remove(&number);
                } else if let Some(page) = shard.get_mut(&number) {
                    let from = (offset.max(start) - start) as usize;
                    let to = (end.min(page_end) - start) as usize;
                    Arc::make_mut(page)[from..to].fill(0);
                }
            }
        }
        Ok(())
    }

    fn discard(&self, offset: u64, len: u64) -> Result<bool, DeviceError> {
        self.write_zeroes(offset, len).map(|()| true)
    }

    fn known_zero(&self, offset: u64, len: u64) -> bool {
        if check_range(offset, len, self.len).is_err() {
            return false;
        }
        if len == 0 {
            return true;
        }
        let (first, last) = (offset / PAGE as u64, (offset + len - 1) / PAGE as u64);
        if first == last {
            return !read(&self.shards[shard_of(first)]).contains_key(&first);
        }
        self.shards.iter().all(|shard| read(shard).range(first..=last).next().is_none())
    }

    fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>, DeviceError> {
        if offset >= self.len {
            return Ok(None);
        }
        let first = offset / PAGE as u64;
        let next = self.shards.iter().filter_map(|shard| read(shard).range(first..).next().map(|(n, _)| *n)).min();
        let Some(start) = next else { return Ok(None) };
        let mut end = start + 1;
        while read(&self.shards[shard_of(end)]).contains_key(&end) {
            end += 1;
        }
        let page = PAGE as u64;
        Ok(Some(offset.max(start * page)..end.saturating_mul(page).min(self.len)))
    }

    fn flush(&self) -> Result<(), DeviceError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_of_15_tib_costs_what_is_written() {
        let device = MemoryDevice::new(15 << 40);
        device.write_at((15 << 40) - 3, b"end").unwrap();
        assert_eq!(device.memory_used(), PAGE as u64);
        let mut buf = [9; 5];
        device.read_at((15 << 40) - 5, &mut buf).unwrap();
        assert_eq!(&buf, b"\0\0end");
        assert!(device.known_zero(0, 14 << 40) && !device.known_zero(0, 15 << 40));
        let data = device.next_data(0).unwrap().unwrap();
        assert_eq!(data, (15 << 40) - PAGE as u64..15 << 40);
        assert!(device.discard(0, 15 << 40).unwrap());
        assert_eq!((device.memory_used(), device.next_data(0).unwrap()), (0, None));
        assert!(device.write_at((15 << 40) - 2, b"end").is_err());
    }

    #[test]
    fn a_snapshot_does_not_see_later_writes() {
        let device = MemoryDevice::from_bytes(&[7; 40_000]);
        let before = device.snapshot();
        device.write_at(16_000, &[1; 1000]).unwrap();
        before.write_zeroes(0, 10).unwrap();
        let (now, then) = (device.to_vec(), before.to_vec());
        assert!(now[16_000..17_000].iter().all(|b| *b == 1) && now[0] == 7);
        assert!(then[10..].iter().all(|b| *b == 7) && then[..10] == [0; 10]);
    }

    #[test]
    fn pages_that_are_zero_take_no_space() {
        let mut bytes = vec![0; 10 * PAGE + 5];
        bytes[3 * PAGE] = 1;
        let device = MemoryDevice::from_bytes(&bytes);
        assert_eq!(device.memory_used(), PAGE as u64);
        assert_eq!(device.to_vec(), bytes);
        assert_eq!(device.next_data(0).unwrap(), Some(3 * PAGE as u64..4 * PAGE as u64));
    }
}
