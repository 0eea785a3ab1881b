//! The trait every device implements.
//!
//! All methods take `&self`, so that threads share one device without a lock around it. A range that does not lie wholly
//! inside the device is an error, never a short transfer. Two threads that write the same bytes at the same time get one
//! of the two contents per byte; nothing else is promised about them.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::error::{CopyError, DeviceError};

/// Size of the buffer used where data must pass through memory: big enough that the system call does not count.
pub const COPY_BUFFER: usize = 1 << 20;

/// Zeroes to write from, where a host cannot be asked for them.
static ZEROES: [u8; 1 << 16] = [0; 1 << 16];

/// The shape of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Length in bytes.
    pub len: u64,
    /// The unit in which the host can address it, in bytes (512 for regular files and memory).
    pub logical_sector_size: u32,
    /// Whether every change is refused.
    pub read_only: bool,
}

/// A range of bytes that can be read, and mostly written.
pub trait BlockDevice: Send + Sync + fmt::Debug {
    /// Length in bytes. It does not change while the device is open.
    fn len(&self) -> u64;

    /// Whether the device has no bytes at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Length, sector size and whether it can be written.
    fn geometry(&self) -> Geometry;

    /// Fills the whole of `buf` from `offset`, or fails.
    ///
    /// # Errors
    /// Out of range, or the host could not read. `buf` may then be partly changed.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DeviceError>;

    /// Writes the whole of `data` at `offset`, or fails.
    ///
    /// # Errors
    /// Out of range (nothing is written), read-only, or the host could not write (a part may be written).
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DeviceError>;

    /// As [`write_at`](Self::write_at), for what is soon to be durable, and not soon to be read: large pieces, which lie in whole pages both
    /// here and in an [`AlignedBuffer`](crate::AlignedBuffer), go past the host's cache where they can, and others are begun to be written back.
    ///
    /// # Errors
    /// As [`write_at`](Self::write_at).
    fn write_out(&self, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        self.write_at(offset, data)
    }

    /// Makes the range read as zero. Parts that are known to be zero are not touched.
    ///
    /// # Errors
    /// As [`write_at`](Self::write_at).
    fn write_zeroes(&self, offset: u64, len: u64) -> Result<(), DeviceError> {
        check_range(offset, len, self.len())?;
        write_zero_bytes(self, offset, len)
    }

    /// Tells the host that the content is not needed. Returns whether the range is known to read as zero afterwards; if
    /// not, it may hold anything.
    ///
    /// # Errors
    /// Out of range or read-only. A host that cannot discard is no error.
    fn discard(&self, offset: u64, len: u64) -> Result<bool, DeviceError> {
        check_range(offset, len, self.len())?;
        if self.geometry().read_only {
            return Err(DeviceError::ReadOnly);
        }
        Ok(self.known_zero(offset, len))
    }

    /// Whether the range is known to read as zero. Cheap, and conservative: `false` means "not known".
    fn known_zero(&self, offset: u64, len: u64) -> bool {
        let _ = (offset, len);
        false
    }

    /// The next region at or after `offset` that may hold something other than zeroes; `None` when there is none.
    /// Everything between `offset` and its start reads as zero. The region is never empty; a region that follows it
    /// directly is possible.
    ///
    /// # Errors
    /// The host could not say.
    fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>, DeviceError> {
        let len = self.len();
        Ok((offset < len).then_some(offset..len))
    }

    /// Copies `len` bytes from `src_offset` of `src` to `offset`. Holes of the source are copied as zeroes.
    ///
    /// # Errors
    /// Which side failed; a part may be written.
    fn copy_from_file(&self, src: &File, src_offset: u64, offset: u64, len: u64) -> Result<(), CopyError> {
        check_range(offset, len, self.len())?;
        copy_through_memory(self, src, src_offset, offset, len)
    }

    /// Makes everything written before durable: on return it survives a power cut.
    ///
    /// # Errors
    /// The host could not; which writes are lost is then unknown.
    fn flush(&self) -> Result<(), DeviceError>;

    /// Asks the host to begin writing the range back, without waiting. A hint that spreads the cost of a later flush.
    fn start_writeback(&self, offset: u64, len: u64) {
        let _ = (offset, len);
    }
}

/// Fails unless `offset .. offset + len` lies inside a device of `device_len` bytes.
///
/// # Errors
/// [`DeviceError::OutOfRange`].
pub fn check_range(offset: u64, len: u64, device_len: u64) -> Result<(), DeviceError> {
    match offset.checked_add(len) {
        Some(end) if end <= device_len => Ok(()),
        _ => Err(DeviceError::OutOfRange { offset, len, device_len }),
    }
}

/// Writes zero bytes through [`BlockDevice::write_at`], except where they are known to be there.
pub(crate) fn write_zero_bytes<D: BlockDevice + ?Sized>(device: &D, offset: u64, len: u64) -> Result<(), DeviceError> {
    let mut at = offset;
    let end = offset + len;
    while at < end {
        let step = (end - at).min(ZEROES.len() as u64);
        if !device.known_zero(at, step) {
            device.write_at(at, &ZEROES[..step as usize])?;
        }
        at += step;
    }
    Ok(())
}

/// Copies by reading and writing, for devices and hosts that have no shorter way.
pub(crate) fn copy_through_memory<D: BlockDevice + ?Sized>(
    device: &D,
    src: &File,
    src_offset: u64,
    offset: u64,
    len: u64,
) -> Result<(), CopyError> {
    if len == 0 {
        return Ok(());
    }
    let mut buf = vec![0; len.min(COPY_BUFFER as u64) as usize];
    let mut done = 0;
    while done < len {
        let want = (len - done).min(buf.len() as u64) as usize;
        let from = src_offset
            .checked_add(done)
            .ok_or_else(|| CopyError::Source(io::Error::from(io::ErrorKind::InvalidInput)))?;
        match src.read_at(&mut buf[..want], from) {
            Ok(0) => return Err(CopyError::SourceShort { at: from }),
            Ok(n) => {
                device.write_at(offset + done, &buf[..n])?;
                done += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(CopyError::Source(error)),
        }
    }
    Ok(())
}

macro_rules! forward {
    ($($what:ty),*) => {$(
        impl<T: BlockDevice + ?Sized> BlockDevice for $what {
            fn len(&self) -> u64 {
                (**self).len()
            }
            fn geometry(&self) -> Geometry {
                (**self).geometry()
            }
            fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DeviceError> {
                (**self).read_at(offset, buf)
            }
            fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
                (**self).write_at(offset, data)
            }
            fn write_out(&self, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
                (**self).write_out(offset, data)
            }
            fn write_zeroes(&self, offset: u64, len: u64) -> Result<(), DeviceError> {
                (**self).write_zeroes(offset, len)
            }
            fn discard(&self, offset: u64, len: u64) -> Result<bool, DeviceError> {
                (**self).discard(offset, len)
            }
            fn known_zero(&self, offset: u64, len: u64) -> bool {
                (**self).known_zero(offset, len)
            }
            fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>, DeviceError> {
                (**self).next_data(offset)
            }
            fn copy_from_file(&self, src: &File, src_offset: u64, offset: u64, len: u64) -> Result<(), CopyError> {
                (**self).copy_from_file(src, src_offset, offset, len)
            }
            fn flush(&self) -> Result<(), DeviceError> {
                (**self).flush()
            }
            fn start_writeback(&self, offset: u64, len: u64) {
                (**self).start_writeback(offset, len);
            }
        }
    )*};
}

forward!(Box<T>, Arc<T>, &T);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_checked_without_overflow() {
        assert!(check_range(0, 0, 0).is_ok());
        assert!(check_range(3, 5, 8).is_ok());
        assert!(matches!(check_range(3, 6, 8), Err(DeviceError::OutOfRange { offset: 3, len: 6, device_len: 8 })));
        assert!(check_range(9, 0, 8).is_err());
        assert!(check_range(u64::MAX, 2, u64::MAX).is_err());
    }

    #[test]
    fn the_trait_is_object_safe_and_forwards() {
        let device: Arc<dyn BlockDevice> = Arc::new(crate::MemoryDevice::new(10));
        let boxed: Box<dyn BlockDevice> = Box::new(device.clone());
        boxed.write_at(3, b"ab").unwrap();
        let mut buf = [0; 4];
        device.read_at(2, &mut buf).unwrap();
        assert_eq!(&buf, b"\0ab\0");
        assert_eq!(boxed.len(), 10);
        assert!(!boxed.known_zero(0, 10));
    }
}
