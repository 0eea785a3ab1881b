//! A file written from its beginning, and soon to be durable.

use std::fs::File;
use std::io::{self, Write};

use crate::sys;

/// Bytes after which the host is told to begin: so many that a disk is busy, so few that it has not much left at the end.
const PART: u64 = 8 << 20;

/// Writes a file from its beginning; the host begins to write it back meanwhile, so that a later `fsync` finds little to wait for.
#[derive(Debug)]
pub struct WriteOut<'f> {
    file: &'f File,
    /// Bytes written, and how many of them are on their way to the disk.
    written: u64,
    begun: u64,
}

impl<'f> WriteOut<'f> {
    /// A writer of a file that is empty.
    #[must_use]
    pub fn new(file: &'f File) -> Self {
        Self { file, written: 0, begun: 0 }
    }
}

impl Write for WriteOut<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.written += count as u64;
        if self.written - self.begun >= PART {
            sys::start_writeback(self.file, self.begun, self.written - self.begun);
            self.begun = self.written;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_in_the_file() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let bytes: Vec<u8> = (0..PART * 2 + 5).map(|n| (n % 251) as u8).collect();
        let mut out = WriteOut::new(file.as_file());
        for part in bytes.chunks(3 << 20) {
            out.write_all(part).expect("it is written");
        }
        assert_eq!((out.written, out.begun), (PART * 2 + 5, 9 << 20));
        assert!(std::fs::read(file.path()).expect("it is read") == bytes);
    }
}
