//! Reads and writes past the host's page cache.
//!
//! The host takes whole units at places that are a multiple of one, from memory that is as well; what is asked for is not like
//! that, so everything passes through a buffer of whole pages. Invariant: the file never becomes longer, so a page in which it
//! ends is read and written through the cache.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{OFlags, SeekFrom, seek};

use crate::aligned::{self, AlignedBuffer};
use crate::error::OpenError;

/// No sector of a disk is larger.
const UNIT: u64 = aligned::UNIT as u64;
/// Units of the buffer.
const BUFFER: u64 = 256;

/// A second way into a file.
#[derive(Debug)]
pub(super) struct Direct {
    file: File,
    /// From here on the file goes through the cache.
    end: u64,
    /// A write of a part of a unit writes the rest as well: one at a time.
    writing: Mutex<()>,
}

/// A part of a transfer: the whole units to be moved, and what of them was asked for.
struct Part {
    at: u64,
    units: u64,
    inside: std::ops::Range<usize>,
}

impl Direct {
    /// Opens what `plain` is once more.
    pub(super) fn open(plain: &File, path: &Path, write: bool) -> Result<Self, OpenError> {
        let fail = |e| OpenError::from_io(path, "use direct I/O", e);
        let flags = OFlags::DIRECT.bits() as i32;
        let file = OpenOptions::new().read(true).write(write).custom_flags(flags).open(path).map_err(fail)?;
        let (one, other) = (plain.metadata().map_err(fail)?, file.metadata().map_err(fail)?);
        if (one.dev(), one.ino(), one.rdev()) != (other.dev(), other.ino(), other.rdev()) {
            return Err(fail(io::Error::other("another file has taken the name")));
        }
        let len = seek(plain, SeekFrom::End(0)).map_err(|e| fail(e.into()))?;
        let direct = Self { file, end: len / UNIT * UNIT, writing: Mutex::new(()) };
        // Some hosts say only now that they cannot.
        if direct.end > 0 {
            let mut probe = [0];
            direct.read_exact_at(plain, &mut probe, 0).map_err(fail)?;
        }
        Ok(direct)
    }

    /// The parts of `range` before `end`, each as large as the buffer.
    fn parts(&self, at: u64, len: u64) -> impl Iterator<Item = Part> + use<> {
        let end = (at + len).min(self.end);
        let mut next = at;
        std::iter::from_fn(move || {
            if next >= end {
                return None;
            }
            let first = next / UNIT * UNIT;
            let stop = (first + BUFFER * UNIT).min(end);
            let inside = (next - first) as usize..(stop - first) as usize;
            next = stop;
            Some(Part { at: first, units: (stop - first).div_ceil(UNIT), inside })
        })
    }

    pub(super) fn read_exact_at(&self, plain: &File, buf: &mut [u8], at: u64) -> io::Result<()> {
        let mut units = AlignedBuffer::default();
        let mut rest = buf;
        let mut done = 0;
        for part in self.parts(at, rest.len() as u64) {
            let bytes = buffer(&mut units, part.units);
            self.file.read_exact_at(bytes, part.at)?;
            let (now, later) = rest.split_at_mut(part.inside.len());
            now.copy_from_slice(&bytes[part.inside]);
            done += now.len() as u64;
            rest = later;
        }
        if rest.is_empty() { Ok(()) } else { plain.read_exact_at(rest, at + done) }
    }

    /// Whether bytes can go to this place of the file from where they are.
    pub(super) fn takes(&self, data: &[u8], at: u64) -> bool {
        let len = data.len() as u64;
        aligned::is_aligned(data) && at.is_multiple_of(UNIT) && len.is_multiple_of(UNIT) && at + len <= self.end
    }

    /// Writes bytes that it [takes](Self::takes).
    pub(super) fn write_units_at(&self, data: &[u8], at: u64) -> io::Result<()> {
        self.file.write_all_at(data, at)
    }

    pub(super) fn write_all_at(&self, plain: &File, data: &[u8], at: u64) -> io::Result<()> {
        // Nothing is left half done by a panic elsewhere.
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut units = AlignedBuffer::default();
        let mut rest = data;
        let mut done = 0;
        for part in self.parts(at, rest.len() as u64) {
            let bytes = buffer(&mut units, part.units);
            if part.inside.len() < bytes.len() {
                self.file.read_exact_at(bytes, part.at)?;
            }
            let (now, later) = rest.split_at(part.inside.len());
            bytes[part.inside].copy_from_slice(now);
            self.file.write_all_at(bytes, part.at)?;
            done += now.len() as u64;
            rest = later;
        }
        if rest.is_empty() { Ok(()) } else { plain.write_all_at(rest, at + done) }
    }
}

/// The first `units` of a buffer, as bytes.
fn buffer(all: &mut AlignedBuffer, units: u64) -> &mut [u8] {
    all.resize((units * UNIT) as usize);
    all
}

#[cfg(test)]
mod tests {
    use crate::{AlignedBuffer, BlockDevice, DeviceError, FileDevice, FileOptions};

    #[test]
    fn what_goes_past_the_cache_is_what_goes_through_it() {
        // The source tree lies on a disk, which a directory for temporary files may not.
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let path = dir.path().join("image");
        let mut bytes: Vec<u8> = (0..3_000_123u32).map(|n| (n / 5) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let device = FileDevice::open(&path, FileOptions::read_write().offset(7).direct()).unwrap();
        let ranges =
            [(0, 1), (4085, 9), (4089, 4096), (1, 1_500_000), (2_990_000, 10_116), (3_000_110, 6), (8185, 8192)];
        for (n, (at, len)) in ranges.into_iter().enumerate() {
            let data = vec![0xc0 + n as u8; len];
            device.write_at(at, &data).unwrap();
            bytes[at as usize + 7..][..len].copy_from_slice(&data);
        }
        device.write_zeroes(20_000, 50_000).unwrap();
        bytes[20_007..70_007].fill(0);
        device.flush().unwrap();
        assert!(std::fs::read(&path).unwrap() == bytes);
        for (at, len) in ranges {
            let mut found = vec![0; len];
            device.read_at(at, &mut found).unwrap();
            assert!(found == bytes[at as usize + 7..][..len], "{at} {len}");
        }
        assert!(device.read_at(3_000_110, &mut [0; 7]).is_err());
    }

    #[test]
    fn what_is_written_out_is_what_is_written() {
        let dirs = [tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap(), tempfile::tempdir().unwrap()];
        for dir in dirs {
            let path = dir.path().join("image");
            let mut bytes = vec![7; 3_000_123];
            std::fs::write(&path, &bytes).unwrap();
            let device = FileDevice::open(&path, FileOptions::read_write().offset(512)).unwrap();
            // In whole pages of the file, and not; beyond its last whole page; few; and from memory that begins within a page.
            for (n, (at, len, skip)) in [
                (3584, 1 << 20, 0),
                (4096, 1 << 20, 0),
                (3584, 1 << 20, 1),
                (3584, (1 << 20) + 1, 0),
                (2_408_960, 590_000, 0),
                (7680, 4096, 0),
            ]
            .into_iter()
            .enumerate()
            {
                let mut buffer = AlignedBuffer::new(len + skip);
                buffer.iter_mut().zip(n..).for_each(|(byte, n)| *byte = (n / 3) as u8);
                // What is in the cache is not read any more.
                device.read_at(at as u64, &mut vec![0; len]).unwrap();
                device.write_out(at as u64, &buffer[skip..]).unwrap();
                bytes[at + 512..][..len].copy_from_slice(&buffer[skip..]);
                assert!(std::fs::read(&path).unwrap() == bytes, "{at} {len} {skip}");
            }
            assert!(device.write_out(3_000_000, &AlignedBuffer::new(1 << 20)).is_err());
            device.flush().unwrap();
            assert!(std::fs::read(&path).unwrap() == bytes);
            let reader = FileDevice::open(&path, FileOptions::read_only()).unwrap();
            assert!(matches!(reader.write_out(0, &[1]), Err(DeviceError::ReadOnly)));
        }
    }

    #[test]
    fn a_host_that_cannot_is_said_to() {
        let error =
            FileDevice::open(std::path::Path::new("/sys/kernel/uevent_seqnum"), FileOptions::read_only().direct());
        let text = error.unwrap_err().to_string();
        assert!(text.starts_with("/sys/kernel/uevent_seqnum: cannot use direct I/O: "), "{text}");
    }
}
