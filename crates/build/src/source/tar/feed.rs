//! A stream, decompressed in a thread of its own and handed over in chunks.
//!
//! Every chunk but the last is full, and the size of a chunk is a multiple of the size of a block. No more than a handful of
//! chunks exist, and they go back to the thread to be filled again.

use super::compression::{Compression, decompress};
use super::error::TarError;
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

/// Bytes of a chunk.
const CHUNK: usize = 256 << 10;
/// Chunks that wait to be taken.
const AHEAD: usize = 4;
/// How long somebody waits for a chunk before asking again whether to go on.
const PATIENCE: Duration = Duration::from_millis(50);

enum Message {
    Chunk(Vec<u8>),
    End,
    Failed(TarError),
}

/// The end of a stream that chunks come out of. When it is dropped the thread ends with its next chunk.
pub(super) struct Feed {
    messages: Receiver<Message>,
    empty: Sender<Vec<u8>>,
    ended: bool,
}

impl Feed {
    /// Starts a thread that reads `reader` to its end.
    pub(super) fn start(reader: Box<dyn Read + Send>, compression: Compression) -> Result<Self, TarError> {
        let (to_reader, messages) = sync_channel(AHEAD);
        let (empty, empties) = channel();
        // Detached: it may be stuck in a read that never ends, where nobody could wait for it.
        std::thread::Builder::new()
            .name("archive".into())
            .spawn(move || {
                let last = match pump(reader, compression, &to_reader, &empties) {
                    Ok(()) => Message::End,
                    Err(error) => Message::Failed(error),
                };
                // Nobody may be left to hear it.
                let _ = to_reader.send(last);
            })
            .map_err(|source| TarError::Thread { source })?;
        Ok(Self { messages, empty, ended: false })
    }

    /// The next chunk, never empty; `None` at the end. Takes back one that is done with.
    pub(super) fn next(&mut self, used: Vec<u8>, cancelled: &dyn Fn() -> bool) -> Result<Option<Vec<u8>>, TarError> {
        if used.capacity() >= CHUNK {
            // The thread may have ended.
            let _ = self.empty.send(used);
        }
        if self.ended {
            return Ok(None);
        }
        if cancelled() {
            return Err(TarError::Cancelled);
        }
        loop {
            match self.messages.recv_timeout(PATIENCE) {
                Ok(Message::Chunk(chunk)) => return Ok(Some(chunk)),
                Ok(Message::End) => {
                    self.ended = true;
                    return Ok(None);
                }
                Ok(Message::Failed(error)) => return Err(error),
                Err(RecvTimeoutError::Timeout) if cancelled() => return Err(TarError::Cancelled),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(TarError::Thread { source: io::ErrorKind::BrokenPipe.into() });
                }
            }
        }
    }
}

fn pump(
    reader: Box<dyn Read + Send>,
    compression: Compression,
    chunks: &SyncSender<Message>,
    empties: &Receiver<Vec<u8>>,
) -> Result<(), TarError> {
    let mut reader = decompress(reader, compression)?;
    loop {
        let mut chunk = empties.try_recv().unwrap_or_default();
        chunk.resize(CHUNK, 0);
        let (len, result) = fill(&mut *reader, &mut chunk);
        chunk.truncate(len);
        if len > 0 && chunks.send(Message::Chunk(chunk)).is_err() {
            return Ok(());
        }
        result.map_err(|source| compression.error(source))?;
        if len < CHUNK {
            return Ok(());
        }
    }
}

/// Reads until the buffer is full or nothing more comes; what was read before an error counts.
fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> (usize, io::Result<()>) {
    let mut len = 0;
    while let Some(rest) = buffer.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return (len, Err(e)),
        }
    }
    (len, Ok(()))
}
