//! Content put aside: a file without a name, that bytes are appended to.

use super::error::TarError;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes that are gathered before they are written.
const BUFFER: usize = 1 << 20;

/// A file that grows at its end and vanishes with its last descriptor.
pub(super) struct Spool {
    file: File,
    dir: PathBuf,
    buffer: Vec<u8>,
    written: u64,
}

impl Spool {
    /// An empty file in `dir`.
    pub(super) fn new(dir: &Path) -> Result<Self, TarError> {
        let file = unnamed(dir).map_err(|e| failed("create", dir, e.into()))?;
        Ok(Self { file, dir: dir.to_path_buf(), buffer: Vec::with_capacity(BUFFER), written: 0 })
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Appends bytes.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), TarError> {
        if self.buffer.len() + bytes.len() > BUFFER {
            self.flush()?;
            if bytes.len() > BUFFER / 8 {
                return self.write(bytes);
            }
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// The file, with all of it written.
    pub(super) fn finish(mut self) -> Result<File, TarError> {
        self.flush()?;
        Ok(self.file)
    }

    fn flush(&mut self) -> Result<(), TarError> {
        let buffer = std::mem::take(&mut self.buffer);
        self.write(&buffer)?;
        self.buffer = buffer;
        self.buffer.clear();
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), TarError> {
        self.file.write_all_at(bytes, self.written).map_err(|e| failed("write to", &self.dir, e))?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

fn failed(what: &'static str, dir: &Path, source: io::Error) -> TarError {
    TarError::Spool { what, dir: dir.to_path_buf(), source }
}

/// Creates a file that has no name, or loses it at once where the file system cannot do better.
fn unnamed(dir: &Path) -> Result<File, Errno> {
    let mode = Mode::RUSR | Mode::WUSR;
    match rustix::fs::open(dir, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode) {
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => {}
        done => return done.map(File::from),
    }
    // The name is taken only for a moment, so that another run is in the way for no longer.
    let mut taken = Errno::EXIST;
    for nr in 0..1000 {
        let path = dir.join(format!(".daxkit-spool-{nr}"));
        match rustix::fs::open(&path, OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC, mode) {
            Ok(file) => {
                rustix::fs::unlink(&path)?;
                return Ok(file.into());
            }
            Err(Errno::EXIST) => taken = Errno::EXIST,
            Err(e) => return Err(e),
        }
    }
    Err(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(dir.path()).unwrap();
        let mut expected = Vec::new();
        for (nr, len) in [3, BUFFER - 4, 2, BUFFER / 8, BUFFER * 3, 0, BUFFER, 1].into_iter().enumerate() {
            assert_eq!(spool.len(), expected.len() as u64);
            let piece = vec![nr as u8 + 1; len];
            spool.append(&piece).unwrap();
            expected.extend(piece);
        }
        let file = spool.finish().unwrap();
        let mut found = vec![0; expected.len()];
        file.read_exact_at(&mut found, 0).unwrap();
        assert_eq!(file.metadata().unwrap().len(), expected.len() as u64);
        assert!(found == expected);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "it has no name");
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let Err(error) = Spool::new(Path::new("/no/such\ndirectory")) else { panic!("there is none") };
        let text = error.to_string();
        assert!(text.starts_with(r#"cannot create a temporary file in "/no/such\ndirectory": "#), "{text}");
    }
}
