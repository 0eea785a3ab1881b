//! The pages of an overlay: in memory up to a limit, beyond that in a file without a name.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::error::DeviceError;
use crate::new_file::nameless;

/// Bytes of a page, the unit of change.
pub(super) const PAGE: u64 = 4096;

/// The content of a page.
pub(super) type Content = [u8; PAGE as usize];

/// Copies of the pages that bytes from `offset` on cover as a whole; none where there is one at most, which is copied to where it is kept
/// sooner.
pub(super) fn whole_pages(offset: u64, data: &[u8]) -> Vec<Box<Content>> {
    let skip = (offset.next_multiple_of(PAGE) - offset) as usize;
    let (pages, _) = data.get(skip..).unwrap_or_default().as_chunks::<{ PAGE as usize }>();
    // By way of a slice: an array would go over the stack.
    let copy = |page: &Content| Box::<[u8]>::from(page.as_slice()).try_into().ok();
    if pages.len() < 2 { Vec::new() } else { pages.iter().filter_map(copy).collect() }
}

/// A page that is kept. It goes back to the [`Pages`] it came from.
#[derive(Debug)]
pub(super) enum Page {
    /// In memory.
    Here(Box<Content>),
    /// In the file, at this page of it.
    Spilled(u64),
}

/// Where pages are kept.
#[derive(Debug)]
pub(super) struct Pages {
    /// Most pages in memory.
    limit: usize,
    here: usize,
    file: Option<File>,
    /// Pages of the file; some are free.
    len: u64,
    free: Vec<u64>,
}

impl Pages {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, here: 0, file: None, len: 0, free: Vec::new() }
    }

    /// None, with the same limit.
    pub(super) fn emptied(&self) -> Self {
        Self::new(self.limit)
    }

    /// Keeps a page.
    pub(super) fn keep(&mut self, content: Box<Content>) -> Result<Page, DeviceError> {
        if self.here < self.limit {
            self.here += 1;
            return Ok(Page::Here(content));
        }
        let slot = self.free.last().copied().unwrap_or(self.len);
        self.spilled()?.write_all_at(&*content, slot * PAGE).map_err(|e| failed("spill", e))?;
        if self.free.pop().is_none() {
            self.len += 1;
        }
        Ok(Page::Spilled(slot))
    }

    /// Gives a page up.
    pub(super) fn drop(&mut self, page: Page) {
        match page {
            Page::Here(_) => self.here -= 1,
            Page::Spilled(slot) => self.free.push(slot),
        }
    }

    /// A second page with the same content.
    pub(super) fn copy(&mut self, page: &Page) -> Result<Page, DeviceError> {
        let content = match page {
            Page::Here(content) => content.clone(),
            Page::Spilled(slot) => self.load(*slot)?,
        };
        self.keep(content)
    }

    /// Reads a part of a page, from its byte `from` on.
    pub(super) fn read(&self, page: &Page, from: usize, buf: &mut [u8]) -> Result<(), DeviceError> {
        match (page, &self.file) {
            (Page::Here(content), _) => {
                buf.copy_from_slice(&content[from..from + buf.len()]);
                Ok(())
            }
            (Page::Spilled(slot), Some(file)) => {
                file.read_exact_at(buf, slot * PAGE + from as u64).map_err(|e| failed("read back", e))
            }
            (Page::Spilled(_), None) => Err(failed("read back", io::ErrorKind::NotFound.into())),
        }
    }

    /// Changes a page where it is.
    pub(super) fn change(&self, page: &mut Page, change: impl FnOnce(&mut Content)) -> Result<(), DeviceError> {
        match page {
            Page::Here(content) => change(content),
            Page::Spilled(slot) => {
                let mut content = self.load(*slot)?;
                change(&mut content);
                let file = self.file.as_ref().ok_or_else(|| failed("spill", io::ErrorKind::NotFound.into()))?;
                file.write_all_at(&*content, *slot * PAGE).map_err(|e| failed("spill", e))?;
            }
        }
        Ok(())
    }

    /// How long the file has become.
    #[cfg(test)]
    pub(super) fn spilled_pages(&self) -> u64 {
        self.len
    }

    fn load(&self, slot: u64) -> Result<Box<Content>, DeviceError> {
        let mut content = Box::new([0; PAGE as usize]);
        self.read(&Page::Spilled(slot), 0, &mut *content)?;
        Ok(content)
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
