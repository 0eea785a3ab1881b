//! Quota files and the orphan file.

use super::buffer::Buffer;
use super::error::Read;
use super::supers::named;
use super::words::Words;
use daxkit_format::ext4::orphan;
use daxkit_format::ext4::quota;
use daxkit_format::field::Structure;

/// A block of a quota file.
pub(super) struct QuotaSection {
    buffer: Buffer,
    /// Number of its first part of 1 KiB.
    first: u64,
    /// What the fields that follow belong to.
    structures: Vec<(Structure, usize)>,
}

impl QuotaSection {
    pub(super) fn new(buffer: Buffer, logical: u64) -> Self {
        let parts = (buffer.bytes.len() / quota::BLOCK_SIZE) as u64;
        let structures = vec![(Structure::DqHeader, 0), (Structure::DqInfo, 8)];
        Self { buffer, first: logical.saturating_mul(parts), structures }
    }

    /// Where a part of the file begins in this block.
    fn part(&self, words: &mut Words<'_>) -> Read<usize> {
        let number: u64 = words.number("a block of the tree")?;
        let inside = number.checked_sub(self.first).and_then(|n| usize::try_from(n).ok());
        let at = inside.and_then(|n| n.checked_mul(quota::BLOCK_SIZE)).filter(|at| *at < self.buffer.bytes.len());
        at.ok_or_else(|| format!("{number}: not a part of this block").into())
    }

    pub(super) fn line(&mut self, line: &str) -> Read {
        let mut words = Words(line);
        match words.word() {
            "tree" => {
                let base = self.part(&mut words)?;
                words.expect("ref")?;
                let index: usize = words.number("an index")?;
                words.expect("block")?;
                let child: u32 = words.number("a block of the tree")?;
                words.end()?;
                if index >= quota::BLOCK_SIZE / 4 {
                    return Err(format!("{index}: a block of the tree has no such reference").into());
                }
                self.buffer.put(base + index * 4, &child.to_le_bytes())
            }
            "leaf" => {
                let base = self.part(&mut words)?;
                self.structures = if words.takes("slot") {
                    let slot: usize = words.number("a slot")?;
                    if slot >= quota::ENTRIES_PER_BLOCK {
                        return Err(format!("{slot}: a leaf has no such slot").into());
                    }
                    vec![(Structure::DqBlk, base + 16 + slot * 72)]
                } else {
                    vec![(Structure::DqDataHeader, base)]
                };
                words.end()
            }
            _ => named(&mut self.buffer, &self.structures, line),
        }
    }

    pub(super) fn finish(self) -> Read<Buffer> {
        self.buffer.only_fit(&[])?;
        Ok(self.buffer)
    }
}

/// A block of the orphan file.
pub(super) struct OrphanSection {
    buffer: Buffer,
    block: u64,
    seed: Option<u32>,
}

impl OrphanSection {
    pub(super) fn new(mut buffer: Buffer, block: u64, seed: Option<u32>) -> Self {
        let tail = buffer.bytes.len().saturating_sub(8);
        buffer.begin(Structure::OrphanBlockTail, tail);
        Self { buffer, block, seed }
    }

    pub(super) fn line(&mut self, line: &str) -> Read {
        let mut words = Words(line);
        let tail = self.buffer.bytes.len().saturating_sub(8);
        if !words.takes("slot") {
            return named(&mut self.buffer, &[(Structure::OrphanBlockTail, tail)], line);
        }
        let slot: usize = words.number("a slot")?;
        words.expect("inode")?;
        let ino: u32 = words.number("an inode number")?;
        words.end()?;
        if slot >= tail / 4 {
            return Err(format!("{slot}: a block of orphans has no such slot").into());
        }
        self.buffer.put(slot * 4, &ino.to_le_bytes())
    }

    pub(super) fn finish(self) -> Read<Buffer> {
        let mut buffer = self.buffer;
        buffer.only_fit(&["ob_checksum"])?;
        if buffer.fits("ob_checksum") {
            let seed = self.seed.ok_or("ob_checksum: the file system has no checksums")?;
            let sum = orphan::block_checksum(seed, self.block, &buffer.bytes);
            let at = buffer.bytes.len().saturating_sub(4);
            buffer.put(at, &sum.to_le_bytes())?;
        }
        Ok(buffer)
    }
}
