//! Content of files: reading at any place, and which parts hold data at all.
//!
//! A file reads as zero where it has no blocks, or blocks that were never written. Sizes come from disk and may be absurd:
//! nothing is allocated by size, and holes cost nothing to skip.

use std::io;
use std::ops::Range;

use daxkit_format::BlockNr;

use super::error::{Place, VolumeError};
use super::inode::Inode;
use super::map::{Extents, Segment};
use super::open::Volume;

/// Most bytes [`Volume::read_file`] gives at once.
pub const MAX_READ: u64 = 1 << 30;

impl Volume {
    /// Reads from byte `offset` of a file, as much as fits in `buf`; returns how much that was: less than `buf` only at
    /// the end of the file.
    ///
    /// # Errors
    /// The inode has no content, its map is damaged, or the device failed. `buf` may then be partly changed.
    pub fn read_at(&self, inode: &Inode, offset: u64, buf: &mut [u8]) -> Result<usize, VolumeError> {
        let left = inode.size().saturating_sub(offset);
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        let Some(buf) = buf.get_mut(..len).filter(|b| !b.is_empty()) else { return Ok(0) };
        if inode.has_inline_data() {
            let data = self.inline_data(inode)?;
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            let part = data.get(from..from.saturating_add(len)).unwrap_or_default();
            buf.fill(0);
            buf.iter_mut().zip(part).for_each(|(d, s)| *d = *s);
            return Ok(len);
        }
        if !self.has_map(inode) {
            return Err(VolumeError::NoContent { inode: inode.nr() });
        }
        self.read_mapped(inode, offset, buf)?;
        Ok(len)
    }

    /// Reads from the blocks of a file without regard to its size.
    pub(crate) fn read_mapped(&self, inode: &Inode, offset: u64, buf: &mut [u8]) -> Result<(), VolumeError> {
        buf.fill(0);
        let shift = self.geometry().block_shift();
        let end = offset.saturating_add(buf.len() as u64);
        for run in self.extents_from(inode, offset >> shift) {
            let run = run?;
            let start = run.logical << shift;
            if start >= end {
                break;
            }
            if run.written {
                let from = start.max(offset);
                let to = (run.end() << shift).min(end);
                let place = Place::FileBlock { inode: inode.nr(), logical: from >> shift };
                let at = (run.physical.get() << shift).saturating_add(from - start);
                // `offset <= from <= to <= end`, and `end - offset` is the length of `buf`.
                let part = (from - offset) as usize..(to.max(from) - offset) as usize;
                if let Some(part) = buf.get_mut(part) {
                    self.read_bytes(place, at, part)?;
                }
            }
        }
        Ok(())
    }

    /// The bytes of a file in `range`, as far as the file goes.
    ///
    /// # Errors
    /// As [`Volume::read_at`]; more than [`MAX_READ`] bytes.
    pub fn read_file(&self, inode: &Inode, range: Range<u64>) -> Result<Vec<u8>, VolumeError> {
        let end = range.end.min(inode.size());
        let len = end.saturating_sub(range.start);
        if len > MAX_READ {
            return Err(VolumeError::TooLarge { inode: inode.nr(), len });
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        let n = self.read_at(inode, range.start, &mut bytes)?;
        bytes.truncate(n);
        Ok(bytes)
    }

    /// One block of a file as metadata (a directory's, a journal's, a quota file's): `None` where there is a hole or the
    /// block was never written.
    ///
    /// # Errors
    /// The map is damaged, or the device failed.
    pub fn read_file_block(&self, inode: &Inode, logical: u64) -> Result<Option<(BlockNr, Vec<u8>)>, VolumeError> {
        match self.map_block(inode, logical)? {
            Segment::Mapped(m) if m.written => {
                let place = Place::InodeBlock { inode: inode.nr(), block: m.physical, offset: 0 };
                Ok(Some((m.physical, self.block(place, m.physical)?.to_vec())))
            }
            _ => Ok(None),
        }
    }

    /// The byte ranges of a file that lie in written blocks, in order, up to its size; neighbours are joined. Everything
    /// else reads as zero.
    #[must_use]
    pub fn data_ranges(&self, inode: &Inode) -> DataRanges<'_> {
        DataRanges {
            inline: (inode.has_inline_data() && inode.size() > 0).then_some(0..inode.size()),
            extents: self.extents(inode),
            shift: self.geometry().block_shift(),
            size: inode.size(),
            pending: None,
            failed: false,
        }
    }

    /// A reader over the content, from the start.
    ///
    /// # Errors
    /// The inode has no content.
    pub fn reader<'v>(&'v self, inode: &'v Inode) -> Result<FileReader<'v>, VolumeError> {
        if !inode.has_inline_data() && !self.has_map(inode) {
            return Err(VolumeError::NoContent { inode: inode.nr() });
        }
        Ok(FileReader { volume: self, inode, position: 0 })
    }
}

/// See [`Volume::data_ranges`].
pub struct DataRanges<'v> {
    inline: Option<Range<u64>>,
    extents: Extents<'v>,
    shift: u32,
    size: u64,
    pending: Option<Range<u64>>,
    failed: bool,
}

impl Iterator for DataRanges<'_> {
    type Item = Result<Range<u64>, VolumeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(range) = self.inline.take() {
            return Some(Ok(range));
        }
        while !self.failed {
            match self.extents.next() {
                None => break,
                Some(Err(e)) => {
                    self.failed = true;
                    return Some(Err(e));
                }
                Some(Ok(run)) if !run.written => {}
                Some(Ok(run)) => {
                    let range = (run.logical << self.shift).min(self.size)..(run.end() << self.shift).min(self.size);
                    match &mut self.pending {
                        _ if range.is_empty() => {}
                        Some(p) if p.end == range.start => p.end = range.end,
                        p => {
                            if let Some(done) = p.replace(range) {
                                return Some(Ok(done));
                            }
                        }
                    }
                }
            }
        }
        self.pending.take().map(Ok)
    }
}

/// See [`Volume::reader`].
pub struct FileReader<'v> {
    volume: &'v Volume,
    inode: &'v Inode,
    position: u64,
}

impl io::Read for FileReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.volume.read_at(self.inode, self.position, buf).map_err(io::Error::other)?;
        self.position += n as u64;
        Ok(n)
    }
}

impl io::Seek for FileReader<'_> {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        let place = match to {
            io::SeekFrom::Start(n) => Some(n),
            io::SeekFrom::End(n) => self.inode.size().checked_add_signed(n),
            io::SeekFrom::Current(n) => self.position.checked_add_signed(n),
        };
        self.position = place.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}
