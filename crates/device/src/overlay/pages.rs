//! The pages of an overlay: in memory up to a limit, beyond that in a file without a name.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::slabs::{Slabs, Slot};
use crate::aligned::AlignedBuffer;
use crate::error::DeviceError;
use crate::new_file::nameless;

/// Bytes of a page, the unit of change.
pub(super) const PAGE: u64 = 4096;

/// The content of a page.
pub(super) type Content = [u8; PAGE as usize];

/// A page that is kept. It goes back to the [`Pages`] it came from.
#[derive(Debug)]
pub(super) enum Page {
    /// In memory.
    Here(Slot),
    /// In the file, at this page of it.
    Spilled(u64),
}

/// Where pages are kept.
#[derive(Debug)]
pub(super) struct Pages {
    /// Most pages in memory.
    limit: usize,
    here: Slabs,
    file: Option<File>,
    /// Pages of the file; some are free.
    len: u64,
    free: Vec<u64>,
}

impl Pages {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, here: Slabs::default(), file: None, len: 0, free: Vec::new() }
    }

    /// None, with the same limit.
    pub(super) fn emptied(&self) -> Self {
        Self::new(self.limit)
    }

    /// Keeps a page.
    pub(super) fn keep(&mut self, content: &Content) -> Result<Page, DeviceError> {
        if self.here.len() < self.limit {
            return Ok(Page::Here(self.here.put(content)));
        }
        let slot = self.free.last().copied().unwrap_or(self.len);
        self.spilled()?.write_all_at(content, slot * PAGE).map_err(|e| failed("spill", e))?;
        if self.free.pop().is_none() {
            self.len += 1;
        }
        Ok(Page::Spilled(slot))
    }

    /// Keeps memory that has so many pages in it, from page `first` of it on; gives it back where there is no room for them.
    pub(super) fn adopt(
        &mut self,
        buffer: AlignedBuffer,
        first: usize,
        count: usize,
    ) -> Result<impl Iterator<Item = Page> + use<>, AlignedBuffer> {
        if self.here.len().saturating_add(count) > self.limit {
            return Err(buffer);
        }
        Ok(self.here.adopt(buffer, first, count).map(Page::Here))
    }

    /// Gives a page up.
    pub(super) fn drop(&mut self, page: Page) {
        match page {
            Page::Here(slot) => self.here.free(slot),
            Page::Spilled(slot) => self.free.push(slot),
        }
    }

    /// A second page with the same content.
    pub(super) fn copy(&mut self, page: &Page) -> Result<Page, DeviceError> {
        let mut content = [0; PAGE as usize];
        self.read(page, 0, &mut content)?;
        self.keep(&content)
    }

    /// Reads a part of a page, from its byte `from` on.
    pub(super) fn read(&self, page: &Page, from: usize, buf: &mut [u8]) -> Result<(), DeviceError> {
        match (page, &self.file) {
            (Page::Here(slot), _) => {
                buf.copy_from_slice(&self.here.get(*slot)[from..from + buf.len()]);
                Ok(())
            }
            (Page::Spilled(slot), Some(file)) => {
                file.read_exact_at(buf, slot * PAGE + from as u64).map_err(|e| failed("read back", e))
            }
            (Page::Spilled(_), None) => Err(failed("read back", io::ErrorKind::NotFound.into())),
        }
    }

    /// Changes a page where it is.
    pub(super) fn change(&mut self, page: &Page, change: impl FnOnce(&mut Content)) -> Result<(), DeviceError> {
        match page {
            Page::Here(slot) => change(self.here.get_mut(*slot)),
            Page::Spilled(slot) => {
                let mut content = [0; PAGE as usize];
                self.read(page, 0, &mut content)?;
                change(&mut content);
                let file = self.file.as_ref().ok_or_else(|| failed("spill", io::ErrorKind::NotFound.into()))?;
                file.write_all_at(&content, *slot * PAGE).map_err(|e| failed("spill", e))?;
            }
        }
        Ok(())
    }

    /// How long the file has become.
    #[cfg(test)]
    pub(super) fn spilled_pages(&self) -> u64 {
        self.len
    }

    /// The file, which is made when it is wanted for the first time.
    fn spilled(&mut self) -> Result<&File, DeviceError> {
        if self.file.is_none() {
            let dir = File::open(std::env::temp_dir()).map_err(|e| failed("spill", e))?;
            self.file = Some(nameless(&dir).map_err(|e| failed("spill", e.into()))?);
        }
        self.file.as_ref().ok_or_else(|| failed("spill", io::ErrorKind::NotFound.into()))
    }
}

/// An error of the file, which lies where the host keeps temporary ones.
fn failed(op: &'static str, source: io::Error) -> DeviceError {
    let dir = std::env::temp_dir();
    let source =
        io::Error::new(source.kind(), format!("edits that do not fit into memory, in {}: {source}", dir.display()));
    DeviceError::Io { op, offset: 0, len: PAGE, source }
}
