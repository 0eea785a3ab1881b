//! What two files hold, wherever it lies: holes, blocks that were never written and zeroes are the same.

use super::{Change, Pair};
use daxkit_volume::{Inode, Volume, VolumeError};

/// Bytes compared at once.
const CHUNK: usize = 1 << 20;

/// Bytes that are compared at a time before they are looked at one by one.
const STEP: usize = 4096;

/// Two buffers for parts of files, made when they are first needed.
#[derive(Debug, Default)]
pub(super) struct Buffers(Vec<u8>, Vec<u8>);

impl<E> Pair<'_, '_, E> {
    /// Compares the content of two regular files, as far as both go.
    pub(super) fn content(&mut self, path: &[u8], a: &Inode, b: &Inode, buffers: &mut Buffers) -> Result<(), E> {
        let (mut at, end) = (0, a.size().min(b.size()));
        let (mut first, mut bytes) = (None, 0u64);
        while at < end {
            let next = (next_data(self.a, a, at), next_data(self.b, b, at));
            let Some((next_a, next_b)) = self.both(path, next.0, next.1)? else { break };
            // Where neither has data both read as zero.
            at = next_a.min(next_b);
            let n = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX).min(CHUNK);
            if n == 0 {
                break;
            }
            let Buffers(one, other) = &mut *buffers;
            one.resize(n, 0);
            other.resize(n, 0);
            let read = (self.a.read_at(a, at, one), self.b.read_at(b, at, other));
            if self.both(path, read.0, read.1)?.is_none() {
                break;
            }
            for (offset, (x, y)) in (0..).step_by(STEP).zip(one.chunks(STEP).zip(other.chunks(STEP))) {
                if x != y {
                    let mut differing = (0u64..).zip(x.iter().zip(y)).filter(|(_, (x, y))| x != y).map(|(i, _)| i);
                    first = first.or_else(|| differing.next().map(|i| (bytes += 1, at + offset + i).1));
                    bytes += differing.count() as u64;
                }
            }
            at += n as u64;
        }
        match first {
            Some(first) => self.changed(path, Change::Content { first, bytes }),
            None => Ok(()),
        }
    }
}

/// The first byte of data at or behind a byte of a file; its size where there is none.
fn next_data(volume: &Volume, inode: &Inode, at: u64) -> Result<u64, VolumeError> {
    if inode.has_inline_data() {
        return Ok(at);
    }
    let shift = volume.geometry().block_shift();
    for run in volume.extents_from(inode, at >> shift) {
        let run = run?;
        if run.written {
            return Ok((run.logical << shift).max(at));
        }
    }
    Ok(inode.size())
}
