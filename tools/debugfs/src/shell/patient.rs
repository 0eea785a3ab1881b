//! The output of a run that edits: when nobody reads it any more, the commands go on without.

use std::io::Write;

/// See the module.
pub(super) struct Patient<W>(Option<W>);

impl<W: Write> Patient<W> {
    pub(super) fn new(out: W) -> Self {
        Self(Some(out))
    }

    fn go_on<T>(&mut self, work: impl FnOnce(&mut W) -> std::io::Result<T>, without: T) -> std::io::Result<T> {
        let Some(out) = &mut self.0 else { return Ok(without) };
        match work(out) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                self.0 = None;
                Ok(without)
            }
            done => done,
        }
    }
}

impl<W: Write> Write for Patient<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.go_on(|out| out.write(bytes), bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.go_on(W::flush, ())
    }
}
