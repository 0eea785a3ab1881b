//! A regular file or a block device of the host as a device, or a window of it.
//!
//! Reads and writes are one `pread` or `pwrite` each. The device knows which of its bytes read as zero without having been
//! written (fresh, punched, zeroed out); `write_zeroes` leaves those alone. Invariant: see [`ZeroMap`].

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{OFlags, SeekFrom, ioctl_blksszget, seek};
use rustix::io::Errno;

use crate::block::{BlockDevice, Geometry, check_range, copy_through_memory};
use crate::error::{CopyError, DeviceError, OpenError};
use crate::zero_map::ZeroMap;
use crate::{lock, sys};

mod direct;
mod options;
mod zeroing;

use direct::Direct;

pub use options::FileOptions;

/// A file, or a window of it, as a device.
#[derive(Debug)]
pub struct FileDevice {
    file: File,
    path: PathBuf,
    /// First byte of the window in the file.
    base: u64,
    len: u64,
    sector: u32,
    is_block: bool,
    write: bool,
    zero: ZeroMap,
    /// The way past the cache for everything, where that was asked for.
    direct: Option<Direct>,
    /// The way past the cache for what is written out, from when it is first wanted; `None` where there is none.
    out: OnceLock<Option<Direct>>,
}

/// Bytes that are worth a way past the cache: fewer are waited for longer than they are copied.
const PAST_CACHE: usize = 256 << 10;

impl FileDevice {
    /// Opens a regular file or block device. A writer takes the exclusive lock, and is refused an image that is mounted,
    /// behind a loop device, swap, or claimed.
    ///
    /// # Errors
    /// One line that names the path.
    pub fn open(path: &Path, options: FileOptions) -> Result<Self, OpenError> {
        let meta = std::fs::metadata(path).map_err(|e| OpenError::from_io(path, "open", e))?;
        let kind = meta.file_type();
        if kind.is_dir() {
            return Err(OpenError::IsDirectory { path: path.to_owned() });
        }
        if !kind.is_file() && !kind.is_block_device() {
            return Err(OpenError::NotADevice { path: path.to_owned() });
        }
        if options.write
            && let Some(how) = lock::held_by_kernel(path)
        {
            return Err(OpenError::InUse { path: path.to_owned(), how });
        }
        // Not every driver refuses to open such a device for writing.
        if options.write && kind.is_block_device() && lock::is_read_only(&meta) {
            return Err(OpenError::ReadOnly { path: path.to_owned() });
        }
        // On a block device O_EXCL claims it: nobody can mount it until it is closed.
        let exclusive = if options.write && kind.is_block_device() { OFlags::EXCL } else { OFlags::empty() };
        let file = OpenOptions::new()
            .read(true)
            .write(options.write)
            .custom_flags(exclusive.bits() as i32)
            .open(path)
            .map_err(|e| OpenError::from_io(path, "open", e))?;
        let device = Self::from_file(file, path, options)?;
        let direct = options.direct.then(|| Direct::open(&device.file, path, options.write)).transpose()?;
        Ok(Self { direct, ..device })
    }

    /// Makes a new regular file of `len` bytes, all known to be zero. For a file that must appear whole or not at all, use
    /// [`NewFile`](crate::NewFile).
    ///
    /// # Errors
    /// Also when there is a file of that name.
    pub fn create(path: &Path, len: u64) -> Result<Self, OpenError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(|e| OpenError::from_io(path, "create", e))?;
        Self::from_file(file, path, FileOptions::read_write().len(len).grow())
    }

    /// A device over a file that is open already, with the access that `options` say. `path` is for messages.
    ///
    /// # Errors
    /// As [`open`](Self::open), except that it is not checked who uses the file apart from its lock, and that
    /// [`FileOptions::direct`] does not count.
    pub fn from_file(file: File, path: &Path, options: FileOptions) -> Result<Self, OpenError> {
        let fail = |op| move |e: io::Error| OpenError::from_io(path, op, e);
        let kind = file.metadata().map_err(fail("examine"))?.file_type();
        let is_block = kind.is_block_device();
        if kind.is_dir() {
            return Err(OpenError::IsDirectory { path: path.to_owned() });
        }
        if !kind.is_file() && !is_block {
            return Err(OpenError::NotADevice { path: path.to_owned() });
        }
        if options.write {
            lock::lock_exclusive(&file, path)?;
        } else if options.shared_lock {
            lock::lock_shared(&file, path)?;
        }
        // Unlike the length in the metadata, the end as seek sees it is right for block devices too.
        let file_len = seek(&file, SeekFrom::End(0)).map_err(|e| fail("measure")(e.into()))?;
        let base = options.offset;
        let len = options.len.unwrap_or(file_len.saturating_sub(base));
        let outside = || OpenError::OutsideFile { path: path.to_owned(), offset: base, len, file_len };
        let end = base.checked_add(len).filter(|end| i64::try_from(*end).is_ok()).ok_or_else(outside)?;
        let zero = if options.fresh { ZeroMap::with(0..len) } else { ZeroMap::new() };
        if end > file_len || base > file_len {
            if !(options.grow && options.write && !is_block) {
                return Err(outside());
            }
            file.set_len(end).map_err(fail("extend"))?;
            zero.insert(file_len.saturating_sub(base)..len);
        }
        let sector = if is_block { ioctl_blksszget(&file).map_err(|e| fail("examine")(e.into()))? } else { 512 };
        let (path, write) = (path.to_owned(), options.write);
        Ok(Self { file, path, base, len, sector, is_block, write, zero, direct: None, out: OnceLock::new() })
    }

    /// The path it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file underneath.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// First byte of the window in the file.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Whether it is a block device of the host.
    #[must_use]
    pub fn is_block_device(&self) -> bool {
        self.is_block
    }

    /// What is known to read as zero.
    #[must_use]
    pub fn zero_map(&self) -> &ZeroMap {
        &self.zero
    }

    /// Makes the whole window read as zero, if the host can do so without writing every byte. Returns whether it did;
    /// if not, nothing that matters has changed.
    ///
    /// # Errors
    /// Read-only, or the host failed half way.
    pub fn punch_all(&self) -> Result<bool, DeviceError> {
        self.check_write(0, self.len)?;
        if self.known_zero(0, self.len) {
            return Ok(true);
        }
        let sector = u64::from(self.sector);
        if self.is_block && (!self.base.is_multiple_of(sector) || !self.len.is_multiple_of(sector)) {
            return Ok(false);
        }
        self.punch(0..self.len)
    }

    /// Learns which parts of a regular file are holes, asking the host for at most `limit` regions of data. Worth it before
    /// much zeroing of a file that may be sparse already.
    ///
    /// # Errors
    /// The host could not say.
    pub fn learn_holes(&self, limit: usize) -> Result<(), DeviceError> {
        let mut at = 0;
        for _ in 0..limit {
            let data = self.next_data(at)?;
            self.zero.insert(at..data.as_ref().map_or(self.len, |d| d.start));
            let Some(data) = data else { break };
            at = data.end;
        }
        Ok(())
    }

    fn check_write(&self, offset: u64, len: u64) -> Result<(), DeviceError> {
        if !self.write {
            return Err(DeviceError::ReadOnly);
        }
        check_range(offset, len, self.len)
    }

    /// Writes past the host's cache, if that can be: the bytes are copied nowhere, and nothing is left for a flush to wait for. `false` says
    /// that they, or some of them, have not been written.
    fn write_past_cache(&self, offset: u64, data: &[u8]) -> bool {
        if data.len() < PAST_CACHE {
            return false;
        }
        let open = || Direct::open(&self.file, &self.path, true).ok();
        let direct = self.direct.as_ref().or_else(|| self.out.get_or_init(open).as_ref());
        // Whatever goes wrong is told by who writes them through the cache.
        direct.is_some_and(|direct| {
            let at = self.base + offset;
            direct.takes(data, at) && direct.write_units_at(data, at).is_ok()
        })
    }

    /// Copies in the kernel. Returns how many bytes it managed; the rest must go through memory, which also finds out
    /// which side an error belongs to.
    fn copy_in_kernel(&self, src: &File, src_offset: u64, offset: u64, len: u64) -> Result<u64, CopyError> {
        let (mut from, mut to) = (src_offset, self.base + offset);
        let mut done = 0;
        while done < len {
            let step = (len - done).min(1 << 30) as usize;
            match rustix::fs::copy_file_range(src, Some(&mut from), &self.file, Some(&mut to), step) {
                Ok(0) => break,
                Ok(n) => done += n as u64,
                Err(Errno::INTR) => {}
                Err(Errno::NOSPC) => {
                    return Err(DeviceError::NoSpace { offset: offset + done }.into());
                }
                Err(_) => break,
            }
        }
        Ok(done)
    }
}

impl BlockDevice for FileDevice {
    fn len(&self) -> u64 {
        self.len
    }

    fn geometry(&self) -> Geometry {
        Geometry { len: self.len, logical_sector_size: self.sector, read_only: !self.write }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DeviceError> {
        let len = buf.len() as u64;
        check_range(offset, len, self.len)?;
        let done = match &self.direct {
            Some(direct) => direct.read_exact_at(&self.file, buf, self.base + offset),
            None => self.file.read_exact_at(buf, self.base + offset),
        };
        done.map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => DeviceError::Shrunk { offset, len },
            _ => DeviceError::from_io("read", offset, len, source),
        })
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        let len = data.len() as u64;
        self.check_write(offset, len)?;
        self.zero.remove(offset..offset + len);
        if let Some(direct) = &self.direct {
            let done = direct.write_all_at(&self.file, data, self.base + offset);
            return done.map_err(|error| DeviceError::from_io("write", offset, len, error));
        }
        let mut done = 0;
        while let Some(rest) = data.get(done..).filter(|rest| !rest.is_empty()) {
            let at = offset + done as u64;
            let error = match self.file.write_at(rest, self.base + at) {
                Ok(0) => io::Error::from(io::ErrorKind::WriteZero),
                Ok(n) => {
                    done += n;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            return Err(DeviceError::from_io("write", at, rest.len() as u64, error));
        }
        Ok(())
    }

    fn write_out(&self, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        let len = data.len() as u64;
        self.check_write(offset, len)?;
        self.zero.remove(offset..offset + len);
        if !self.write_past_cache(offset, data) {
            self.write_at(offset, data)?;
            // A little is left to the flush, which has to wait for it in any case.
            if data.len() >= PAST_CACHE {
                self.start_writeback(offset, len);
            }
        }
        Ok(())
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Result<(), DeviceError> {
        self.check_write(offset, len)?;
        let (mut at, end) = (offset, offset + len);
        while let Some(unknown) = self.zero.next_unknown(at..end) {
            at = unknown.end;
            self.zero_range(unknown)?;
        }
        Ok(())
    }

    fn discard(&self, offset: u64, len: u64) -> Result<bool, DeviceError> {
        self.check_write(offset, len)?;
        let (mut at, end) = (offset, offset + len);
        let mut all_zero = true;
        while let Some(unknown) = self.zero.next_unknown(at..end) {
            at = unknown.end;
            let inner = self.zeroable(&unknown);
            if !self.punch(inner.clone())? {
                if self.is_block && !inner.is_empty() {
                    // A refusal changes nothing, so there is nothing to report.
                    let _ = sys::block_discard(&self.file, self.base + inner.start, inner.end - inner.start);
                }
                all_zero = false;
            }
            all_zero &= inner == unknown;
        }
        Ok(all_zero)
    }

    fn known_zero(&self, offset: u64, len: u64) -> bool {
        check_range(offset, len, self.len).is_ok() && self.zero.contains(offset..offset + len)
    }

    fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>, DeviceError> {
        let mut at = offset;
        while at < self.len {
            let Some(unknown) = self.zero.next_unknown(at..self.len) else {
                return Ok(None);
            };
            let fail =
                |e: Errno| DeviceError::from_io("find data", unknown.start, unknown.end - unknown.start, e.into());
            let data = match seek(&self.file, SeekFrom::Data(self.base + unknown.start)) {
                Ok(found) => found.saturating_sub(self.base),
                // No data after this point.
                Err(Errno::NXIO) => self.len,
                // The host does not know of holes (block devices): all of it may be data.
                Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some(unknown)),
                Err(errno) => return Err(fail(errno)),
            };
            if data >= unknown.end {
                at = unknown.end;
                continue;
            }
            let hole = match seek(&self.file, SeekFrom::Hole(self.base + data)) {
                Ok(found) => found.saturating_sub(self.base),
                Err(Errno::NXIO) => self.len,
                Err(errno) => return Err(fail(errno)),
            };
            // Somebody may punch between the two questions; a region must never be empty.
            return Ok(Some(data..hole.clamp(data + 1, unknown.end)));
        }
        Ok(None)
    }

    fn copy_from_file(&self, src: &File, src_offset: u64, offset: u64, len: u64) -> Result<(), CopyError> {
        self.check_write(offset, len)?;
        self.zero.remove(offset..offset + len);
        let done = self.copy_in_kernel(src, src_offset, offset, len)?;
        copy_through_memory(self, src, src_offset.saturating_add(done), offset + done, len - done)
    }

    fn flush(&self) -> Result<(), DeviceError> {
        if !self.write {
            return Ok(());
        }
        self.file.sync_data().map_err(|source| DeviceError::from_io("flush", 0, self.len, source))
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        if check_range(offset, len, self.len).is_ok() {
            sys::start_writeback(&self.file, self.base + offset, len);
        }
    }
}
