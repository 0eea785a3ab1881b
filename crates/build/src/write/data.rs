//! The bytes of files, from the source to their blocks: the bulk of the work.
//!
//! Small files are gathered in a buffer while their blocks follow each other and go out in one write; large ones are copied in
//! pieces, inside the kernel where nobody needs to see the bytes.

use super::WriteError;
use crate::params::Identity;
use crate::plan::Plan;
use crate::plan::identity::ContentSum;
use crate::plan::map::NodeMap;
use crate::pool;
use crate::progress::Progress;
use crate::source::{Kind, NodeId, OpenFile, Reader, Source, Tree};
use daxkit_device::BlockDevice;

/// Bytes gathered before they are written.
const BUFFER: usize = 1 << 20;
/// Files up to this size are read into the buffer.
const SMALL: u64 = 256 << 10;
/// Bytes of a large file that one thread copies at a time.
const PIECE: u64 = 16 << 20;
/// Bytes of small files that one thread takes at a time.
const BATCH: u64 = 2 << 20;

/// A share of the work.
enum Task {
    /// The small files among these nodes.
    Small(u32, u32),
    /// A piece of a large file: blocks `from..to` of it.
    Piece { id: u32, from: u64, to: u64 },
}

/// What a thread has at hand.
struct Hand<'t> {
    reader: Reader<'t>,
    /// As long as it will ever be: nothing is cleared that is overwritten anyway.
    buffer: Vec<u8>,
    /// Bytes of the buffer that are filled.
    used: usize,
    /// Offset on the device where the buffer goes.
    at: u64,
    sum: ContentSum,
}

/// Writes all content; the sum of it where the UUID wants one.
///
/// # Errors
/// The source changed or cannot be read, or the device cannot be written.
pub(super) fn write_content(
    plan: &Plan,
    source: &Source,
    device: &dyn BlockDevice,
    progress: &dyn Progress,
) -> Result<ContentSum, WriteError> {
    let copier = Copier {
        plan,
        tree: source.tree(),
        device,
        progress,
        bs: u64::from(plan.params.block_size),
        hashing: matches!(plan.params.identity, Identity::FromContent { uuid: None, .. }),
    };
    let (tasks, total) = copier.tasks();
    progress.stage("writing files", total);
    let init = || {
        let reader = Reader::new(source)?;
        let buffer = vec![0; BUFFER + SMALL as usize + copier.bs as usize];
        Ok(Hand { reader, buffer, used: 0, at: 0, sum: ContentSum::default() })
    };
    let hands = pool::run(plan.params.threads, tasks.len(), progress, init, |hand, i| match tasks.get(i) {
        Some(Task::Small(from, to)) => copier.small(hand, *from, *to),
        Some(Task::Piece { id, from, to }) => copier.piece(hand, NodeId(*id), *from, *to),
        None => Ok(()),
    })?;
    let mut sum = ContentSum::default();
    hands.iter().for_each(|h| sum.join(&h.sum));
    Ok(sum)
}

struct Copier<'a> {
    plan: &'a Plan,
    tree: &'a Tree,
    device: &'a dyn BlockDevice,
    progress: &'a dyn Progress,
    bs: u64,
    hashing: bool,
}

impl<'t> Copier<'t> {
    fn tasks(&self) -> (Vec<Task>, u64) {
        let mut tasks = Vec::new();
        let (mut first, mut bytes, mut total) = (0, 0, 0);
        for id in self.tree.ids() {
            if self.tree.primary(id) != id || !matches!(self.tree.kind(id), Kind::File | Kind::Symlink) {
                continue;
            }
            let size = self.tree.size(id);
            total += size;
            if self.is_small(id) {
                bytes += size;
                if bytes >= BATCH {
                    tasks.push(Task::Small(first, id.0 + 1));
                    (first, bytes) = (id.0 + 1, 0);
                }
            } else if self.tree.kind(id) == Kind::File {
                let step = PIECE / self.bs;
                let mut at = 0;
                while at * self.bs < size {
                    tasks.push(Task::Piece { id: id.0, from: at, to: at + step });
                    at += step;
                }
            }
        }
        tasks.push(Task::Small(first, self.tree.len() as u32));
        (tasks, total)
    }

    /// One run from the start, and short.
    fn is_small(&self, id: NodeId) -> bool {
        self.tree.size(id) <= SMALL && !matches!(self.plan.maps.get(id.0), NodeMap::Complex(_))
    }

    fn small(&self, hand: &mut Hand<'t>, from: u32, to: u32) -> Result<(), WriteError> {
        let mut done = 0;
        for id in (from..to).map(NodeId) {
            if self.tree.primary(id) != id || !self.is_small(id) {
                continue;
            }
            let kind = self.tree.kind(id);
            let size = self.tree.size(id) as usize;
            if kind == Kind::File && self.hashing && self.plan.needs.inodes.is_inline(id) {
                let mut bytes = vec![0; size];
                hand.reader.read_whole(id, &mut bytes)?;
                hand.sum.add(id, 0, &bytes);
            }
            let NodeMap::Simple(block) = self.plan.maps.get(id.0) else { continue };
            let at = block * self.bs;
            if hand.at + hand.used as u64 != at || hand.used >= BUFFER {
                self.flush(hand)?;
                hand.at = at;
            }
            let end = hand.used + size.next_multiple_of(self.bs as usize);
            let room = hand.buffer.get_mut(hand.used..end).unwrap_or_default();
            let (bytes, rest) = room.split_at_mut_checked(size).unwrap_or_default();
            if kind == Kind::File {
                hand.reader.read_whole(id, bytes)?;
                if self.hashing {
                    hand.sum.add(id, 0, bytes);
                }
            } else {
                bytes.iter_mut().zip(self.tree.symlink_target(id)).for_each(|(to, from)| *to = *from);
            }
            rest.fill(0);
            hand.used = end;
            done += size as u64;
        }
        self.flush(hand)?;
        self.progress.advance(done);
        Ok(())
    }

    fn flush(&self, hand: &mut Hand<'t>) -> Result<(), WriteError> {
        let filled = hand.buffer.get(..hand.used).unwrap_or_default();
        if !filled.is_empty() {
            self.device.write_at(hand.at, filled)?;
            self.device.start_writeback(hand.at, hand.used as u64);
            hand.used = 0;
        }
        Ok(())
    }

    fn piece(&self, hand: &mut Hand<'t>, id: NodeId, from: u64, to: u64) -> Result<(), WriteError> {
        let size = self.tree.size(id);
        let file = hand.reader.open(id)?;
        let blocks = size.div_ceil(self.bs);
        for run in self.plan.maps.runs(id.0, blocks).filter(|r| r.written) {
            // What lies past the end of the file is not the file's content.
            let (start, end) = (run.logical.max(from), (run.logical + run.len).min(to).min(blocks));
            if start >= end {
                continue;
            }
            let offset = start * self.bs;
            let len = ((end - start) * self.bs).min(size - offset);
            let target = (run.physical + (start - run.logical)) * self.bs;
            self.copy(&mut hand.sum, &file, id, offset, target, len)?;
            self.device.start_writeback(target, len);
            // What the file does not fill of its last block.
            let rest = (end - start) * self.bs - len;
            if rest > 0 {
                self.device.write_zeroes(target + len, rest)?;
            }
        }
        file.finish()?;
        self.progress.advance((to * self.bs).min(size) - from * self.bs);
        Ok(())
    }

    /// Copies a range of a file: inside the kernel where nobody needs to see the bytes and one host file has them, else through
    /// memory.
    fn copy(
        &self,
        sum: &mut ContentSum,
        file: &OpenFile<'_>,
        id: NodeId,
        offset: u64,
        target: u64,
        len: u64,
    ) -> Result<(), WriteError> {
        let mut buffer = Vec::new();
        let mut done = 0;
        while done < len {
            let rest = offset + done..offset + len;
            if !self.hashing
                && let Some((host, at, n)) = file.in_host_file(rest)
            {
                self.device
                    .copy_from_file(host, at, target + done, n)
                    .map_err(|e| WriteError::of_copy(file.host_path(), e))?;
                done += n;
                continue;
            }
            buffer.resize(BUFFER, 0);
            let n = (len - done).min(BUFFER as u64);
            let part = buffer.get_mut(..n as usize).unwrap_or_default();
            file.read_exact_at(part, offset + done)?;
            if self.hashing {
                sum.add(id, offset + done, part);
            }
            self.device.write_at(target + done, part)?;
            done += n;
            if self.progress.cancelled() {
                return Err(WriteError::Cancelled);
            }
        }
        Ok(())
    }
}
