//! Directory blocks: entries, htree roots and nodes.

use super::buffer::Buffer;
use super::error::Read;
use super::words::{Words, number};
use crate::dump::image::Geometry;
use daxkit_format::FieldKind;
use daxkit_format::FieldValue;
use daxkit_format::ext4::dir_entry::{self, entry_len, rec_len_to_disk};
use daxkit_format::ext4::dx::{self, NODE_ENTRIES, ROOT_ENTRIES};
use daxkit_format::field::{Format, Structure};

/// A block of a directory.
pub(super) struct DirSection {
    buffer: Buffer,
    block_size: u32,
    /// Seed of its checksum.
    seed: Option<u32>,
    /// Where the entries of an htree begin here.
    dx: usize,
    /// What an htree's head says: limit and number of entries.
    limit: Option<u16>,
    count: u16,
}

impl DirSection {
    pub(super) fn new(buffer: Buffer, geo: &Geometry, seed: Option<u32>, logical: u64) -> Self {
        Self {
            buffer,
            block_size: geo.block_size,
            seed,
            dx: if logical == 0 { ROOT_ENTRIES } else { NODE_ENTRIES },
            limit: None,
            count: 0,
        }
    }

    pub(super) fn line(&mut self, line: &str) -> Read {
        if let Some(text) = line.strip_prefix('+') {
            return self.buffer.raw(text);
        }
        let mut words = Words(line);
        let first = words.word();
        if let Some(offset) = first.strip_prefix("/entry:") {
            return self.entry(number(offset, "an offset")?, &mut words);
        }
        if let Some(index) = first.strip_prefix("/dx:") {
            return self.dx_entry(number(index, "an index")?, &mut words);
        }
        match first {
            ".det_checksum" | ".dt_checksum" => {
                let name = first.strip_prefix('.').unwrap_or(first);
                words.expect("ok")?;
                self.buffer.field(&[], name, "ok")?;
            }
            ".hash_version" => {
                let kind = FieldKind::Le { width: 1, count: 1 };
                let format = Format::of(Structure::DxRoot, "hash_version", kind);
                let hash = self.small(format, kind, words.rest())?;
                // reserved_zero and info_length are what every root has.
                self.buffer.put(0x1C, &[hash, 8])?;
            }
            ".indirect_levels" => {
                let levels: u8 = words.number("a number of 8 bits")?;
                self.buffer.put(0x1E, &[levels])?;
            }
            ".limit" => self.limit = Some(words.number("a number of 16 bits")?),
            _ => return Err(format!("{first}: no line of a directory block begins like this").into()),
        }
        words.end()
    }

    fn small(&self, format: Format, kind: FieldKind, text: &str) -> Read<u8> {
        match format.parse(kind, text) {
            Ok(FieldValue::Int(n)) => u8::try_from(n).map_err(|_| format!("{text}: not a number of 8 bits").into()),
            _ => Err(format!("{text}: not {}", format.describe()).into()),
        }
    }

    /// `/entry:OFFSET NAME inode N [TYPE] [rec_len N] [stored N]`.
    fn entry(&mut self, at: usize, words: &mut Words<'_>) -> Read {
        let name = words.quoted()?;
        words.expect("inode")?;
        let inode: u32 = words.number("an inode number")?;
        let mut file_type = 0;
        if !["", "rec_len", "stored"].contains(&words.peek()) {
            let kind = FieldKind::Le { width: 1, count: 1 };
            file_type = self.small(Format::of(Structure::DirEntry, "file_type", kind), kind, words.word())?;
        }
        let usual = u32::try_from(entry_len(name.len())).map_err(|_| "the name is too long")?;
        let rec_len = if words.takes("rec_len") { words.number("a length")? } else { usual };
        let stored = if words.takes("stored") {
            words.number("a number of 16 bits")?
        } else {
            rec_len_to_disk(rec_len, self.block_size)
        };
        words.end()?;
        let name_len = u8::try_from(name.len()).map_err(|_| "a name has at most 255 bytes")?;
        self.buffer.put(at, &inode.to_le_bytes())?;
        self.buffer.put(at + 4, &stored.to_le_bytes())?;
        self.buffer.put(at + 6, &[name_len, file_type])?;
        self.buffer.put(at + 8, &name)
    }

    /// `/dx:0 block N`, `/dx:I hash H block N`.
    fn dx_entry(&mut self, index: u16, words: &mut Words<'_>) -> Read {
        let at = self.dx + usize::from(index) * 8;
        if index > 0 {
            words.expect("hash")?;
            let hash: u32 = words.number("a hash")?;
            self.buffer.put(at, &hash.to_le_bytes())?;
        }
        words.expect("block")?;
        let block: u32 = words.number("a block number")?;
        words.end()?;
        self.count = self.count.max(index.saturating_add(1));
        self.buffer.put(at + 4, &block.to_le_bytes())
    }

    pub(super) fn finish(mut self) -> Read<Buffer> {
        if let Some(limit) = self.limit {
            self.buffer.put(self.dx, &[limit, self.count].map(u16::to_le_bytes).concat())?;
        }
        let seed = |name: &str| self.seed.ok_or_else(|| format!("{name}: the file system has no checksums"));
        let mut buffer = self.buffer;
        if buffer.fits("det_checksum") {
            let tail = buffer.bytes.len().saturating_sub(12);
            buffer.put(tail, &[0, 0, 0, 0, 12, 0, 0, 0xDE])?;
            let sum = dir_entry::block_checksum(seed("det_checksum")?, &buffer.bytes);
            buffer.put(tail + 8, &sum.to_le_bytes())?;
        }
        if buffer.fits("dt_checksum") {
            dx::seal_block(seed("dt_checksum")?, &mut buffer.bytes, self.dx);
        }
        Ok(buffer)
    }
}
