//! An image read through a memory map: no system call per byte, for readers that jump about.
//!
//! What can go wrong: a page that lies wholly behind the end of a file that has shrunk raises SIGBUS, and so does a page the
//! host cannot read from its disk. So every read asks for the file's length first, and a file that has become shorter is
//! an error. This is not free of races: a file that shrinks between the question and the copy still kills the process. The
//! device therefore takes a shared lock, which keeps daxkit's own writers away; others can only be asked to behave. Who
//! reads images that others may cut, or disks that may fail, uses [`FileDevice`], whose errors are always values.
//!
//! No reference to mapped memory is ever made: bytes are copied out, so a concurrent change of the file is at worst a mix
//! of old and new bytes.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use memmap2::{MmapOptions, MmapRaw};

use crate::block::{BlockDevice, Geometry, check_range};
use crate::error::{DeviceError, OpenError};
use crate::file::{FileDevice, FileOptions};

/// A file or block device, mapped for reading.
pub struct MappedDevice {
    file: FileDevice,
    /// `None` where the host cannot map: reads are then `pread`.
    map: Option<MmapRaw>,
}

impl MappedDevice {
    /// Opens and maps, under a shared lock. The window of `options` counts; the access is always read-only.
    ///
    /// # Errors
    /// One line that names the path. A host that cannot map is no error.
    pub fn open(path: &Path, options: FileOptions) -> Result<Self, OpenError> {
        let file = FileDevice::open(path, options.without_write().shared_lock())?;
        let map = usize::try_from(file.len())
            .ok()
            .filter(|len| *len > 0)
            .and_then(|len| MmapOptions::new().offset(file.base()).len(len).map_raw_read_only(file.file()).ok());
        Ok(Self { file, map })
    }

    /// Whether reads come from memory.
    #[must_use]
    pub fn is_mapped(&self) -> bool {
        self.map.is_some()
    }

    fn check_not_shrunk(&self, offset: u64, len: u64) -> Result<(), DeviceError> {
        if self.file.is_block_device() {
            return Ok(());
        }
        let meta = self.file.file().metadata().map_err(|e| DeviceError::from_io("examine", offset, len, e))?;
        if self.file.base() + offset + len > meta.len() {
            return Err(DeviceError::Shrunk { offset, len });
        }
        Ok(())
    }
}

impl fmt::Debug for MappedDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MappedDevice").field("file", &self.file).field("mapped", &self.is_mapped()).finish()
    }
}

impl BlockDevice for MappedDevice {
    fn len(&self) -> u64 {
        self.file.len()
    }

    fn geometry(&self) -> Geometry {
        self.file.geometry()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DeviceError> {
        let Some(map) = &self.map else {
            return self.file.read_at(offset, buf);
        };
        let len = buf.len() as u64;
        check_range(offset, len, self.len())?;
        self.check_not_shrunk(offset, len)?;
        // SAFETY: the map has self.len() bytes and lives as long as self; offset + len lies within, checked above, so the
        // cast cannot truncate either. `buf` is ours alone and does not overlap a map nobody has a reference to. The bytes
        // may change under the copy; any byte is a valid u8, and no Rust code writes to this map.
        unsafe { std::ptr::copy_nonoverlapping(map.as_ptr().add(offset as usize), buf.as_mut_ptr(), buf.len()) };
        Ok(())
    }

    fn write_at(&self, _offset: u64, _data: &[u8]) -> Result<(), DeviceError> {
        Err(DeviceError::ReadOnly)
    }

    fn write_zeroes(&self, _offset: u64, _len: u64) -> Result<(), DeviceError> {
        Err(DeviceError::ReadOnly)
    }

    fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>, DeviceError> {
        self.file.next_data(offset)
    }

    fn flush(&self) -> Result<(), DeviceError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_is_there_and_a_shrunk_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        let bytes: Vec<u8> = (0..20_000u32).map(|n| n as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        // The window does not begin at a page.
        let device = MappedDevice::open(&path, FileOptions::read_only().offset(5)).unwrap();
        assert!(device.is_mapped());
        assert_eq!(device.len(), 19_995);
        let mut buf = vec![0; 9000];
        device.read_at(10_995, &mut buf).unwrap();
        assert_eq!(buf, bytes[11_000..]);
        assert!(matches!(device.read_at(10_996, &mut buf), Err(DeviceError::OutOfRange { .. })));
        assert!(matches!(device.write_at(0, b"x"), Err(DeviceError::ReadOnly)));
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(12_000).unwrap();
        assert!(matches!(device.read_at(10_995, &mut buf), Err(DeviceError::Shrunk { offset: 10_995, len: 9000 })));
        device.read_at(0, &mut buf).unwrap();
        assert_eq!(buf, bytes[5..9005]);
    }

    #[test]
    fn an_empty_file_is_a_device_without_bytes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let device = MappedDevice::open(file.path(), FileOptions::read_write()).unwrap();
        assert!(device.is_empty() && device.geometry().read_only);
        device.read_at(0, &mut []).unwrap();
    }

    #[test]
    fn a_writer_and_a_map_exclude_each_other() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let device = MappedDevice::open(file.path(), FileOptions::read_only()).unwrap();
        assert!(FileDevice::open(file.path(), FileOptions::read_write()).is_err());
        drop(device);
        let writer = FileDevice::open(file.path(), FileOptions::read_write()).unwrap();
        assert!(MappedDevice::open(file.path(), FileOptions::read_only()).is_err());
        drop(writer);
    }
}
