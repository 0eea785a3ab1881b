//! Bases that cost little to read: none at all, and an image read into memory once.

use std::fmt;
use std::ops::Range;

use super::access::PAGE;
use crate::block::{BlockDevice, COPY_BUFFER, Geometry, check_range};
use crate::error::DeviceError;

/// A device that reads as zero and cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zeroes {
    len: u64,
}

impl Zeroes {
    /// So many zero bytes.
    #[must_use]
    pub fn new(len: u64) -> Self {
        Self { len }
    }
}

fn read_only(len: u64) -> Geometry {
    Geometry { len, logical_sector_size: 512, read_only: true }
}

impl BlockDevice for Zeroes {
    fn len(&self) -> u64 {
        self.len
    }

    fn geometry(&self) -> Geometry {
        read_only(self.len)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DeviceError> {
        check_range(offset, buf.len() as u64, self.len)?;
        buf.fill(0);
        Ok(())
    }

    fn write_at(&self, _offset: u64, _data: &[u8]) -> Result<(), DeviceError> {
        Err(DeviceError::ReadOnly)
    }

    fn write_zeroes(&self, _offset: u64, _len: u64) -> Result<(), DeviceError> {
        Err(DeviceError::ReadOnly)
    }

    fn known_zero(&self, offset: u64, len: u64) -> bool {
        check_range(offset, len, self.len).is_ok()
    }

    fn next_data(&self, _offset: u64) -> Result<Option<Range<u64>>, DeviceError> {
        Ok(None)
    }

    fn flush(&self) -> Result<(), DeviceError> {
        Ok(())
    }
}

/// Pages of a directory's part: 2 MiB of the device.
const PART: usize = 512;

/// The content of an image, in memory; zero pages take no space. Reading takes no lock and no system call.
pub struct Resident {
    len: u64,
    /// Per 2 MiB: which part of `parts`, plus 1; 0 where all is zero.
    directory: Vec<u32>,
    /// Per page: which page of `bytes`, plus 1; 0 where it is zero.
    parts: Vec<[u32; PART]>,
    bytes: Vec<[u8; PAGE as usize]>,
}

impl fmt::Debug for Resident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resident").field("len", &self.len).field("pages", &self.bytes.len()).finish()
    }
}

impl Resident {
    /// Reads all of a device that is not known to be zero.
    ///
    /// # Errors
    /// The device's.
    pub fn read(device: &dyn BlockDevice) -> Result<Self, DeviceError> {
        let len = device.len();
        let parts_of_device = len.div_ceil(PAGE * PART as u64);
        let mut this = Self { len, directory: vec![0; parts_of_device as usize], parts: Vec::new(), bytes: Vec::new() };
        let mut buf = vec![0; COPY_BUFFER];
        let mut at = 0;
        while let Some(data) = device.next_data(at)? {
            // Whole pages, also where data begins inside one.
            let mut from = (data.start - data.start % PAGE).max(at);
            let end = data.end.next_multiple_of(PAGE).min(len);
            while from < end {
                let n = (end - from).min(COPY_BUFFER as u64) as usize;
                device.read_at(from, &mut buf[..n])?;
                for (number, page) in (from / PAGE..).zip(buf[..n].chunks(PAGE as usize)) {
                    if page.iter().any(|b| *b != 0) {
                        this.add(number, page);
                    }
                }
                from += n as u64;
            }
            at = end;
        }
        Ok(this)
    }

    fn add(&mut self, number: u64, content: &[u8]) {
        let mut page = [0; PAGE as usize];
        page[..content.len()].copy_from_slice(content);
        self.bytes.push(page);
        let part = &mut self.directory[(number / PART as u64) as usize];
        if *part == 0 {
            self.parts.push([0; PART]);
            *part = self.parts.len() as u32;
        }
        self.parts[*part as usize - 1][(number % PART as u64) as usize] = self.bytes.len() as u32;
    }

    #[inline]
    fn page(&self, number: u64) -> Option<&[u8; PAGE as usize]> {
        let part = self.parts.get((*self.directory.get((number / PART as u64) as usize)? as usize).checked_sub(1)?)?;
        self.bytes.get((part[(number % PART as u64) as usize] as usize).checked_sub(1)?)
    }
}

impl BlockDevice for Resident {
    fn len(&self) -> u64 {
        self.len
    }

    fn geometry(&self) -> Geometry {
        read_only(self.len)
    }

    #[inline]
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DeviceError> {
        check_range(offset, buf.len() as u64, self.len)?;
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let inside = (at % PAGE) as usize;
            let n = (PAGE as usize - inside).min(buf.len() - done);
            match self.page(at / PAGE) {
                Some(page) => buf[done..done + n].copy_from_slice(&page[inside..inside + n]),
                None => buf[done..done + n].fill(0),
            }
            done += n;
        }
        Ok(())
    }

    fn write_at(&self, _offset: u64, _data: &[u8]) -> Result<(), DeviceError> {
        Err(DeviceError::ReadOnly)
    }

    fn write_zeroes(&self, _offset: u64, _len: u64) -> Result<(), DeviceError> {
        Err(DeviceError::ReadOnly)
    }

    fn known_zero(&self, offset: u64, len: u64) -> bool {
        check_range(offset, len, self.len).is_ok()
            && (len == 0 || (offset / PAGE..=(offset + len - 1) / PAGE).all(|number| self.page(number).is_none()))
    }

    fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>, DeviceError> {
        let mut number = offset / PAGE;
        let pages = self.len.div_ceil(PAGE);
        while number < pages {
            if self.directory[(number / PART as u64) as usize] == 0 {
                number = (number / PART as u64 + 1) * PART as u64;
            } else if self.page(number).is_some() {
                let mut end = number + 1;
                while self.page(end).is_some() {
                    end += 1;
                }
                return Ok(Some((number * PAGE).max(offset)..(end * PAGE).min(self.len)));
            } else {
                number += 1;
            }
        }
        Ok(None)
    }

    fn flush(&self) -> Result<(), DeviceError> {
        Ok(())
    }
}
