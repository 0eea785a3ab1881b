//! Pre-images in the file format of `e2undo`: the way back from a change in place.
//!
//! Invariant: before a block of the device changes for the first time, its old content is durable in the undo file. So
//! whatever moment the tool dies at, [`apply_undo`] gives back the device as it was; after [`UndoDevice::finish`] the
//! `e2undo` program does so too without being forced.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use zerocopy::IntoBytes;

use crate::block::{BlockDevice, COPY_BUFFER, Geometry, check_range};
use crate::error::{CopyError, DeviceError};
use crate::range_set::RangeSet;

mod apply;
mod format;

pub(crate) use apply::fs_offset;
pub use apply::{Applied, apply_undo};
use format::{
    BLOCK_SIZES, COMPAT_FS_OFFSET, Header, Key, MAGIC, STATE_FINISHED, SUPER_MAGIC_AT, SUPER_OFFSET, SUPER_SIZE, crc,
    key_block, keys_per_block,
};

/// An undo file that cannot be written or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UndoError {
    /// The undo file could not be read or written.
    #[error("cannot {op} the undo file: {source}")]
    File {
        /// What was tried, as a verb.
        op: &'static str,
        /// The host's answer.
        source: io::Error,
    },
    /// The file is something else.
    #[error("not an undo file")]
    NotAnUndoFile,
    /// The file is damaged: it is not used at all.
    #[error("the undo file is damaged: {what} in its block {block}")]
    Damaged {
        /// What is wrong.
        what: &'static str,
        /// Where, in blocks of the undo file.
        block: u64,
    },
    /// The file needs a newer program.
    #[error("the undo file has unknown features (incompatible {incompat:#x}, read-only compatible {rocompat:#x})")]
    UnknownFeatures {
        /// Unknown bits.
        incompat: u32,
        /// Unknown bits.
        rocompat: u32,
    },
    /// The superblock of the device is not the one the file was made for, neither as it was nor as it became.
    #[error("the undo file belongs to another file system, or that has changed since")]
    AnotherDevice,
    /// The block size asked for is not between 1 KiB and 1 MiB, or not a power of two.
    #[error("undo blocks of {0} bytes are not possible")]
    BlockSize(u32),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

fn file_error(op: &'static str) -> impl Fn(io::Error) -> UndoError {
    move |source| UndoError::File { op, source }
}

/// How an undo file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UndoOptions {
    /// The unit in which pre-images are taken: a power of two between 1 KiB and 1 MiB.
    pub block_size: u32,
    /// Where the device begins inside the file that `e2undo` will be called with.
    pub fs_offset: u64,
}

impl Default for UndoOptions {
    fn default() -> Self {
        Self { block_size: 4096, fs_offset: 0 }
    }
}

#[derive(Debug)]
struct State {
    file: File,
    /// The superblock as it was at first.
    first_super: [u8; SUPER_SIZE],
    /// Blocks whose pre-image is durable.
    saved: RangeSet,
    tail: Tail,
}

/// The end of the undo file, as the header on disk will say it.
#[derive(Debug, Clone)]
struct Tail {
    header: Header,
    /// Where the key block in progress stands, and its keys.
    key_block_at: u64,
    keys: Vec<Key>,
    /// First undo block that is free.
    next: u64,
}

/// A device that saves the old content of every block before it changes.
#[derive(Debug)]
pub struct UndoDevice<D> {
    base: D,
    block: u32,
    state: Mutex<State>,
}

impl<D: BlockDevice> UndoDevice<D> {
    /// Makes a new undo file at `path`, durable with its name, and saves pre-images there from now on.
    ///
    /// # Errors
    /// The file (also when the name is taken) or the device failed.
    pub fn create(base: D, path: &Path, options: UndoOptions) -> Result<Self, UndoError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(file_error("create"))?;
        let device = Self::over_file(base, file, options)?;
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent).and_then(|dir| dir.sync_all()).map_err(file_error("flush"))?;
        Ok(device)
    }

    /// As [`create`](Self::create), into an empty file that is open for reading and writing. Its name is the caller's
    /// business.
    ///
    /// # Errors
    /// The file or the device failed.
    pub fn over_file(base: D, file: File, options: UndoOptions) -> Result<Self, UndoError> {
        let block = options.block_size;
        if !BLOCK_SIZES.contains(&block) || !block.is_power_of_two() {
            return Err(UndoError::BlockSize(block));
        }
        let header = Header {
            magic: MAGIC,
            num_keys: 0.into(),
            super_offset: 1.into(),
            key_offset: 2.into(),
            block_size: block.into(),
            fs_block_size: block.into(),
            sb_crc: 0.into(),
            state: 0.into(),
            f_compat: if options.fs_offset == 0 { 0 } else { COMPAT_FS_OFFSET }.into(),
            f_incompat: 0.into(),
            f_rocompat: 0.into(),
            pad32: 0.into(),
            fs_offset: options.fs_offset.into(),
            padding: [0; 436],
            header_crc: 0.into(),
        };
        let tail = Tail { header, key_block_at: 2, keys: Vec::new(), next: 2 };
        let first_super = read_super(&base)?;
        let state = State { file, first_super, saved: RangeSet::new(), tail };
        let device = Self { base, block, state: Mutex::new(state) };
        {
            let mut state = device.state();
            state.write_super(&first_super)?;
            state.write_header().map_err(file_error("write"))?;
            let len = 2 * u64::from(block);
            state.file.set_len(len).and_then(|()| state.file.sync_all()).map_err(file_error("write"))?;
        }
        Ok(device)
    }

    /// The device below.
    pub fn base(&self) -> &D {
        &self.base
    }

    /// How many bytes of old content have been saved.
    pub fn bytes_saved(&self) -> u64 {
        self.state().saved.total().saturating_mul(u64::from(self.block)).min(self.base.len())
    }

    /// Saves the pre-images of all these ranges with one flush of the undo file. Who knows beforehand what will change
    /// calls this first; every write makes sure of its own range anyway.
    ///
    /// # Errors
    /// A range lies outside, the device could not be read, or the undo file not written. Nothing has changed then.
    pub fn save(&self, ranges: &[Range<u64>]) -> Result<(), DeviceError> {
        let len = self.base.len();
        let block = u64::from(self.block);
        for range in ranges {
            check_range(range.start, range.end.saturating_sub(range.start), len)?;
        }
        let mut state = self.state();
        state.go_on().map_err(|e| DeviceError::from_io("save the old content of", 0, 0, e))?;
        let mut missing = RangeSet::new();
        for range in ranges.iter().filter(|r| !r.is_empty()) {
            for gap in state.saved.gaps(range.start / block..range.end.div_ceil(block)) {
                missing.insert(gap);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let before = state.tail.clone();
        let result = self.append(&mut state, &missing);
        match result {
            Ok(()) => missing.iter().for_each(|blocks| state.saved.insert(blocks)),
            // What was appended half is not referred to by the header, and will be overwritten.
            Err(_) => state.tail = before,
        }
        result
    }

    /// The changes are complete: makes the device durable and the undo file one that `e2undo` accepts.
    ///
    /// # Errors
    /// The device or the undo file failed; the undo file still leads back with [`apply_undo`].
    pub fn finish(self) -> Result<D, UndoError> {
        self.settle()?;
        Ok(self.base)
    }

    /// As [`finish`](Self::finish), where more changes may follow: the undo file is complete until the next one.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn settle(&self) -> Result<(), UndoError> {
        self.base.flush()?;
        let now = read_super(&self.base)?;
        let mut state = self.state();
        state.write_super(&now)?;
        // First the copy, then the header that vouches for it.
        state.file.sync_data().map_err(file_error("flush"))?;
        state.tail.header.state = STATE_FINISHED.into();
        state.write_header().and_then(|()| state.file.sync_all()).map_err(file_error("write"))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic half way through an append leaves `saved` without those blocks: they are saved again.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends the pre-images of these blocks and makes them durable.
    fn append(&self, state: &mut State, missing: &RangeSet) -> Result<(), DeviceError> {
        let block = u64::from(self.block);
        let most = (COPY_BUFFER as u64 / block).max(1);
        let mut buf = Vec::new();
        for blocks in missing.iter() {
            let mut at = blocks.start;
            while at < blocks.end {
                let stop = (at + most).min(blocks.end);
                let (start, end) = (at * block, (stop * block).min(self.base.len()));
                buf.resize((end - start) as usize, 0);
                self.base.read_at(start, &mut buf)?;
                state
                    .push(at, &buf)
                    .map_err(|e| DeviceError::from_io("save the old content of", start, end - start, e))?;
                at = stop;
            }
        }
        state.commit().map_err(|e| {
            let first = missing.iter().next().map_or(0, |b| b.start * block);
            DeviceError::from_io("save the old content of", first, missing.total().saturating_mul(block), e)
        })
    }

    /// Saves what zeroing the range would change: the parts that may hold something else.
    fn save_data_in(&self, range: Range<u64>) -> Result<(), DeviceError> {
        check_range(range.start, range.end - range.start, self.base.len())?;
        let mut parts = Vec::new();
        let mut at = range.start;
        while at < range.end
            && let Some(data) = self.base.next_data(at)?
            && data.start < range.end
        {
            parts.push(data.start.max(range.start)..data.end.min(range.end));
            at = data.end;
        }
        self.save(&parts)
    }

    fn check_change(&self, offset: u64, len: u64) -> Result<Range<u64>, DeviceError> {
        check_range(offset, len, self.base.len())?;
        if self.base.geometry().read_only {
            return Err(DeviceError::ReadOnly);
        }
        self.state().go_on().map_err(|e| DeviceError::from_io("save the old content of", offset, len, e))?;
        Ok(offset..offset + len)
    }
}

impl State {
    fn block(&self) -> u64 {
        u64::from(self.tail.header.block_size.get())
    }

    /// Keeps a copy of a superblock.
    fn write_super(&mut self, copy: &[u8; SUPER_SIZE]) -> Result<(), UndoError> {
        let mut copy = *copy;
        self.tail.header.sb_crc = crc(&copy).into();
        copy[SUPER_MAGIC_AT].iter_mut().for_each(|b| *b = !*b);
        self.file.write_all_at(&copy, self.block()).map_err(file_error("write"))
    }

    /// Changes follow: the file is not complete any more. The superblock that was kept is the one it leads back to again, so that
    /// whatever the device becomes is recognised.
    fn go_on(&mut self) -> io::Result<()> {
        if self.tail.header.state.get() & STATE_FINISHED == 0 {
            return Ok(());
        }
        self.tail.header.state = 0.into();
        self.write_header()?;
        self.file.sync_data()?;
        let first = self.first_super;
        self.write_super(&first).map_err(io::Error::other)?;
        self.write_header()?;
        self.file.sync_data()
    }

    /// Writes one pre-image behind the end and notes its key.
    fn push(&mut self, fsblk: u64, data: &[u8]) -> io::Result<()> {
        let block = self.block();
        if self.tail.keys.len() as u64 == keys_per_block(self.tail.header.block_size.get()) {
            self.write_key_block()?;
            self.tail.keys.clear();
        }
        if self.tail.keys.is_empty() {
            self.tail.key_block_at = self.tail.next;
            self.tail.next += 1;
        }
        // Zeroes are left to the file's own hole.
        if data.iter().any(|b| *b != 0) {
            self.file.write_all_at(data, self.tail.next * block)?;
        }
        self.tail.next += (data.len() as u64).div_ceil(block);
        self.tail.keys.push(Key { fsblk: fsblk.into(), blk_crc: crc(data).into(), size: (data.len() as u32).into() });
        self.tail.header.num_keys += 1;
        Ok(())
    }

    fn write_key_block(&self) -> io::Result<()> {
        let block = key_block(&self.tail.keys, self.tail.header.block_size.get());
        self.file.write_all_at(&block, self.tail.key_block_at * self.block())
    }

    fn write_header(&mut self) -> io::Result<()> {
        self.tail.header.header_crc = self.tail.header.crc().into();
        self.file.write_all_at(self.tail.header.as_bytes(), 0)
    }

    /// Makes everything pushed durable, and then the header that refers to it: at no moment does the header on disk vouch
    /// for a pre-image that is not there.
    fn commit(&mut self) -> io::Result<()> {
        self.write_key_block()?;
        self.file.set_len(self.tail.next * self.block())?;
        self.file.sync_data()?;
        self.write_header()?;
        self.file.sync_data()
    }
}

/// The bytes where a superblock would be; zeroes for a device that ends before.
fn read_super<D: BlockDevice + ?Sized>(device: &D) -> Result<[u8; SUPER_SIZE], DeviceError> {
    let mut copy = [0; SUPER_SIZE];
    if device.len() >= SUPER_OFFSET + SUPER_SIZE as u64 {
        device.read_at(SUPER_OFFSET, &mut copy)?;
    }
    Ok(copy)
}

impl<D: BlockDevice> BlockDevice for UndoDevice<D> {
    fn len(&self) -> u64 {
        self.base.len()
    }

    fn geometry(&self) -> Geometry {
        self.base.geometry()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DeviceError> {
        self.base.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        let range = self.check_change(offset, data.len() as u64)?;
        self.save(&[range])?;
        self.base.write_at(offset, data)
    }

    fn write_out(&self, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        let range = self.check_change(offset, data.len() as u64)?;
        self.save(&[range])?;
        self.base.write_out(offset, data)
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Result<(), DeviceError> {
        let range = self.check_change(offset, len)?;
        self.save_data_in(range)?;
        self.base.write_zeroes(offset, len)
    }

    fn discard(&self, offset: u64, len: u64) -> Result<bool, DeviceError> {
        let range = self.check_change(offset, len)?;
        self.save_data_in(range)?;
        self.base.discard(offset, len)
    }

    fn known_zero(&self, offset: u64, len: u64) -> bool {
        self.base.known_zero(offset, len)
    }

    fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>, DeviceError> {
        self.base.next_data(offset)
    }

    fn copy_from_file(&self, src: &File, src_offset: u64, offset: u64, len: u64) -> Result<(), CopyError> {
        let range = self.check_change(offset, len)?;
        self.save(&[range])?;
        self.base.copy_from_file(src, src_offset, offset, len)
    }

    fn flush(&self) -> Result<(), DeviceError> {
        self.base.flush()
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        self.base.start_writeback(offset, len);
    }
}
