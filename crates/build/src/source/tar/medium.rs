//! The bytes of an archive in order: blocks are read, data is passed over and can be found again afterwards.
//!
//! A plain file is read in place: only what is looked at, through a window that grows where headers lie close together, and
//! data is left where it is. A stream comes from a [`Feed`], and data is put aside in a [`Spool`]. Either way, what is passed
//! over lies in one file in the end.

use super::error::TarError;
use super::feed::Feed;
use super::header::{BLOCK, Block};
use super::spool::Spool;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// An archive with a place in it.
pub(super) enum Medium {
    /// A plain file.
    File(FileMedium),
    /// A stream.
    Stream(StreamMedium),
}

/// Whether to go on.
pub(super) type Cancelled<'a> = &'a dyn Fn() -> bool;

impl Medium {
    /// The place: bytes from the start of the archive.
    pub(super) fn at(&self) -> u64 {
        match self {
            Self::File(file) => file.at,
            Self::Stream(stream) => stream.at,
        }
    }

    /// The next block, without going on; where the archive ends before it is complete, the bytes that are left.
    pub(super) fn peek(&mut self, cancelled: Cancelled<'_>) -> Result<Result<Block, Vec<u8>>, TarError> {
        let bytes = match self {
            Self::File(file) => file.view(BLOCK)?,
            Self::Stream(stream) => stream.view(cancelled)?,
        };
        Ok(bytes.first_chunk::<BLOCK>().copied().ok_or_else(|| bytes.to_vec()))
    }

    /// The next block; `None` when the archive ends before its end.
    pub(super) fn block(&mut self, cancelled: Cancelled<'_>) -> Result<Option<Block>, TarError> {
        let block = self.peek(cancelled)?.ok();
        if block.is_some() {
            self.advance(BLOCK as u64);
        }
        Ok(block)
    }

    /// Goes on by less than was seen.
    fn advance(&mut self, len: u64) {
        match self {
            Self::File(file) => file.at += len,
            Self::Stream(stream) => {
                stream.at += len;
                stream.used += usize::try_from(len).unwrap_or(usize::MAX);
            }
        }
    }

    /// Appends the next `len` bytes to `out`. False when the archive ends before.
    pub(super) fn read(&mut self, len: u64, out: &mut Vec<u8>, cancelled: Cancelled<'_>) -> Result<bool, TarError> {
        self.each(len, cancelled, |bytes| {
            out.extend_from_slice(bytes);
            Ok(())
        })
    }

    fn each(
        &mut self,
        mut len: u64,
        cancelled: Cancelled<'_>,
        mut take: impl FnMut(&[u8]) -> Result<(), TarError>,
    ) -> Result<bool, TarError> {
        while len > 0 {
            let bytes = match self {
                Self::File(file) => file.view(1)?,
                Self::Stream(stream) => stream.view(cancelled)?,
            };
            let wanted = usize::try_from(len).unwrap_or(usize::MAX).min(bytes.len());
            let bytes = bytes.get(..wanted).unwrap_or_default();
            if bytes.is_empty() {
                return Ok(false);
            }
            take(bytes)?;
            len -= wanted as u64;
            self.advance(wanted as u64);
        }
        Ok(true)
    }

    /// Passes over `len` bytes that nobody needs. False when the archive ends before.
    pub(super) fn skip(&mut self, len: u64, cancelled: Cancelled<'_>) -> Result<bool, TarError> {
        match self {
            Self::File(file) => Ok(file.skip(len)),
            Self::Stream(_) => self.each(len, cancelled, |_| Ok(())),
        }
    }

    /// Passes over `len` bytes of content: returns where they begin in the file of [`Medium::finish`]; `None` when the
    /// archive ends before they do.
    pub(super) fn keep(&mut self, len: u64, cancelled: Cancelled<'_>) -> Result<Option<u64>, TarError> {
        match self {
            Self::File(file) => {
                let start = file.at;
                Ok(file.skip(len).then_some(start))
            }
            Self::Stream(stream) => {
                let start = stream.spool.len();
                Ok(stream.keep(len, cancelled)?.then_some(start))
            }
        }
    }

    /// Passes over what fills the last block of `len` bytes of data. An archive may end there.
    pub(super) fn skip_padding(&mut self, len: u64, cancelled: Cancelled<'_>) -> Result<(), TarError> {
        let padding = (BLOCK as u64 - len % BLOCK as u64) % BLOCK as u64;
        self.skip(padding, cancelled).map(drop)
    }

    /// Takes in what is left of a stream, so that its writer is not cut off and its checksum is seen to fit.
    pub(super) fn drain(&mut self, cancelled: Cancelled<'_>) -> Result<(), TarError> {
        if matches!(self, Self::Stream(_)) {
            self.skip(u64::MAX, cancelled)?;
        }
        Ok(())
    }

    /// The file that holds what was passed over.
    pub(super) fn finish(self) -> Result<File, TarError> {
        match self {
            Self::File(file) => Ok(file.file),
            Self::Stream(stream) => stream.spool.finish(),
        }
    }
}

/// A plain file, read through a window.
pub(super) struct FileMedium {
    file: File,
    /// Its length when it was opened; what is appended later is not seen.
    len: u64,
    at: u64,
    window: Vec<u8>,
    window_at: u64,
    filled: usize,
    /// Bytes the next window has.
    stride: usize,
}

/// The smallest window: where headers lie far apart, one is read at a time, with what mostly follows it.
const NARROW: usize = 4 << 10;
/// The largest: where they lie close together one call reads many.
const WIDE: usize = 256 << 10;

impl FileMedium {
    /// A file of `len` bytes.
    pub(super) fn new(file: File, len: u64) -> Self {
        Self { file, len, at: 0, window: vec![0; WIDE], window_at: 0, filled: 0, stride: WIDE }
    }

    /// The bytes from the place on: at least `wanted`, or all there are. `wanted` is not more than [`NARROW`].
    fn view(&mut self, wanted: usize) -> Result<&[u8], TarError> {
        if self.seen() < wanted && self.window_end() < self.len {
            self.fill(wanted)?;
        }
        let start = usize::try_from(self.at.saturating_sub(self.window_at)).unwrap_or(usize::MAX);
        Ok(self.window.get(start..self.filled).unwrap_or_default())
    }

    fn window_end(&self) -> u64 {
        self.window_at + self.filled as u64
    }

    /// Bytes of the window from the place on.
    fn seen(&self) -> usize {
        usize::try_from(self.window_end().saturating_sub(self.at)).unwrap_or(usize::MAX)
    }

    fn fill(&mut self, wanted: usize) -> Result<(), TarError> {
        // Reading what is passed over costs less than a call, as long as it is little.
        let near = self.at < self.window_end() + WIDE as u64 / 4;
        self.stride = if near { (self.stride * 4).min(WIDE) } else { NARROW };
        self.window_at = self.at;
        self.filled = 0;
        let rest = usize::try_from(self.len.saturating_sub(self.at)).unwrap_or(usize::MAX);
        while self.filled < wanted.min(rest) {
            let at = self.window_end();
            let end = self.stride.min(rest);
            let Some(room) = self.window.get_mut(self.filled..end) else { break };
            match self.file.read_at(room, at) {
                Ok(0) => break,
                Ok(n) => self.filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(TarError::Read { source }),
            }
        }
        Ok(())
    }

    /// False, at the end of the file, when fewer bytes follow.
    fn skip(&mut self, len: u64) -> bool {
        let end = self.at.checked_add(len).filter(|end| *end <= self.len);
        self.at = end.unwrap_or(self.len);
        end.is_some()
    }
}

/// A stream and what was put aside of it.
pub(super) struct StreamMedium {
    feed: Feed,
    chunk: Vec<u8>,
    used: usize,
    at: u64,
    spool: Spool,
}

impl StreamMedium {
    pub(super) fn new(feed: Feed, spool: Spool) -> Self {
        Self { feed, chunk: Vec::new(), used: 0, at: 0, spool }
    }

    /// The bytes from the place on: a block at least, as long as whole blocks were taken before; nothing at the end.
    fn view(&mut self, cancelled: Cancelled<'_>) -> Result<&[u8], TarError> {
        if self.used >= self.chunk.len() {
            let done = std::mem::take(&mut self.chunk);
            self.used = 0;
            self.chunk = self.feed.next(done, cancelled)?.unwrap_or_default();
        }
        Ok(self.chunk.get(self.used..).unwrap_or_default())
    }

    fn keep(&mut self, mut len: u64, cancelled: Cancelled<'_>) -> Result<bool, TarError> {
        while len > 0 {
            if self.view(cancelled)?.is_empty() {
                return Ok(false);
            }
            let wanted = usize::try_from(len).unwrap_or(usize::MAX).min(self.chunk.len() - self.used);
            self.spool.append(self.chunk.get(self.used..self.used + wanted).unwrap_or_default())?;
            self.used += wanted;
            self.at += wanted as u64;
            len -= wanted as u64;
        }
        Ok(true)
    }
}
