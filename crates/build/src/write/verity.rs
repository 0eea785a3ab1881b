//! The Merkle tree and the descriptor of fs-verity behind a file's data (Linux `fs/verity`, `ext4_end_enable_verity`).

use super::{WriteError, Writer};
use crate::plan::map::Run;
use crate::plan::verity::{DIGEST, TREE_BLOCK, is_verity, layout, levels};
use crate::source::{NodeId, OpenFile, Reader};
use daxkit_format::OnDisk;
use daxkit_format::ext4::verity::VerityDescriptor;
use sha2::{Digest, Sha256};
use zerocopy::IntoBytes;

/// `FS_VERITY_HASH_ALG_SHA256`.
const SHA256: u8 = 1;
/// Bytes of data read at a time.
const BUFFER: usize = 1 << 20;

/// Digests of one level, gathered into blocks.
#[derive(Default)]
struct Level {
    block: Vec<u8>,
    /// Blocks written.
    done: u64,
}

/// A tree being built, from the lowest level up.
struct Builder<'w, 'a> {
    writer: &'w Writer<'a>,
    runs: Vec<Run>,
    levels: Vec<Level>,
    /// Where each level begins, in bytes of the file; the lowest level first.
    starts: Vec<u64>,
    root: [u8; DIGEST as usize],
}

impl Writer<'_> {
    /// Writes what verity files have behind their data.
    pub(super) fn write_verity(&self) -> Result<(), WriteError> {
        let mut reader = Reader::new(self.source)?;
        for (id, _) in self.tree.extras().filter(|(id, _)| is_verity(self.tree, *id)) {
            self.one_verity(id, &reader.open(id)?)?;
        }
        Ok(())
    }

    fn one_verity(&self, id: NodeId, file: &OpenFile<'_>) -> Result<(), WriteError> {
        let size = self.tree.size(id);
        let bs = self.plan.params.block_size;
        let Some(layout) = layout(size, bs) else { return Ok(()) };
        let runs: Vec<Run> = self.plan.runs(self.tree, id).collect();
        let blocks = levels(size);
        // The highest level comes first in the file.
        let mut at = layout.tree.end;
        let starts: Vec<u64> = blocks
            .iter()
            .map(|n| {
                at -= n * TREE_BLOCK;
                at
            })
            .collect();
        let levels = blocks.iter().map(|_| Level::default()).collect();
        let mut builder = Builder { writer: self, runs, levels, starts, root: [0; 32] };
        let mut buffer = vec![0; BUFFER];
        let mut offset = 0;
        while offset < size {
            let n = (size - offset).min(BUFFER as u64) as usize;
            let part = buffer.get_mut(..n).unwrap_or_default();
            file.read_exact_at(part, offset)?;
            for block in part.chunks(TREE_BLOCK as usize) {
                builder.add(0, &padded_digest(block))?;
            }
            offset += n as u64;
        }
        builder.finish()?;
        let mut descriptor = VerityDescriptor::zeroed();
        descriptor.version = 1;
        descriptor.hash_algorithm = SHA256;
        descriptor.log_blocksize = TREE_BLOCK.trailing_zeros() as u8;
        descriptor.data_size.set(size);
        descriptor.root_hash.iter_mut().zip(builder.root).for_each(|(to, from)| *to = from);
        let mut tail = vec![0; (layout.end - layout.descriptor) as usize];
        tail.iter_mut().zip(descriptor.as_bytes()).for_each(|(to, from)| *to = *from);
        let size_at = tail.len() - 4;
        let length = (size_of::<VerityDescriptor>() as u32).to_le_bytes();
        tail.iter_mut().skip(size_at).zip(length).for_each(|(to, from)| *to = from);
        builder.write(layout.descriptor, &tail)?;
        // Between the tree and the descriptor, where blocks are larger than those of the tree.
        let gap = (layout.descriptor - layout.tree.end) as usize;
        builder.write(layout.tree.end, &vec![0; gap])
    }
}

/// The digest of a block, padded with zeroes to its full length.
fn padded_digest(block: &[u8]) -> [u8; DIGEST as usize] {
    let mut h = Sha256::new();
    h.update(block);
    h.update(&[0; TREE_BLOCK as usize][block.len().min(TREE_BLOCK as usize)..]);
    h.finalize().into()
}

impl Builder<'_, '_> {
    /// Adds the digest of the next block below a level; above the highest level it is the root.
    fn add(&mut self, level: usize, digest: &[u8; DIGEST as usize]) -> Result<(), WriteError> {
        let Some(l) = self.levels.get_mut(level) else {
            self.root = *digest;
            return Ok(());
        };
        l.block.extend_from_slice(digest);
        if l.block.len() as u64 == TREE_BLOCK { self.emit(level) } else { Ok(()) }
    }

    /// Writes the open block of a level and passes its digest up.
    fn emit(&mut self, level: usize) -> Result<(), WriteError> {
        let Some(l) = self.levels.get_mut(level) else { return Ok(()) };
        let mut block = std::mem::take(&mut l.block);
        block.resize(TREE_BLOCK as usize, 0);
        let at = self.starts.get(level).copied().unwrap_or(0) + l.done * TREE_BLOCK;
        l.done += 1;
        self.write(at, &block)?;
        self.add(level + 1, &padded_digest(&block))
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        for level in 0..self.levels.len() {
            if self.levels.get(level).is_some_and(|l| !l.block.is_empty()) {
                self.emit(level)?;
            }
        }
        Ok(())
    }

    /// Writes bytes at an offset of the file, wherever its blocks lie.
    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), WriteError> {
        let bs = self.writer.block_bytes();
        let end = offset + bytes.len() as u64;
        for run in &self.runs {
            let (start, stop) = ((run.logical * bs).max(offset), ((run.logical + run.len) * bs).min(end));
            if start < stop
                && let Some(part) = bytes.get((start - offset) as usize..(stop - offset) as usize)
            {
                self.writer.device.write_at(run.physical * bs + (start - run.logical * bs), part)?;
            }
        }
        Ok(())
    }
}
