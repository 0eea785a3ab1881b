//! Extended attributes, in inodes and in blocks of their own.

use super::buffer::Buffer;
use super::error::Read;
use super::supers::{named, set};
use super::words::Words;
use daxkit_format::OnDisk;
use daxkit_format::ext4::xattr::{self, Attributes, MAGIC, XattrEntry};
use daxkit_format::field::Structure;
use zerocopy::IntoBytes;

/// Entries that are put one behind the other, and their values from the end.
pub(super) struct Entries {
    /// Byte of the buffer at which the area begins.
    start: usize,
    /// Byte of the area that the offsets of values count from.
    base: usize,
    /// Where the next entry goes, and where the last value begins, both in the area.
    next: usize,
    value_at: Option<usize>,
}

impl Entries {
    /// Between the fields of an inode and its end.
    pub(super) fn in_inode(start: usize) -> Self {
        Self { start, base: 4, next: 4, value_at: None }
    }

    /// In a block.
    fn in_block() -> Self {
        Self { start: 0, base: 0, next: 32, value_at: None }
    }

    /// What follows `.xattr`: ` none`, `.NAME = VALUE`, ` index N name NAME = VALUE`, and what differs from what is usual.
    pub(super) fn line(&mut self, buffer: &mut Buffer, text: &str) -> Read {
        if self.base != 0 {
            buffer.put(self.start, &MAGIC.to_le_bytes())?;
        }
        let mut words = Words(text);
        if words.takes("none") {
            return words.end();
        }
        let (index, name) = if words.takes("index") {
            let index = words.number("a number of 8 bits")?;
            words.expect("name")?;
            (index, words.quoted()?)
        } else {
            words.0 = words.0.strip_prefix('.').ok_or("the name of an attribute is missing")?;
            let whole = words.quoted()?;
            let (index, name) = xattr::split_name(&whole).ok_or("no attribute has a name that begins like this")?;
            (index, name.to_vec())
        };
        let mut entry = XattrEntry::zeroed();
        entry.e_name_index = index;
        entry.e_name_len = u8::try_from(name.len()).map_err(|_| "the name of an attribute has at most 255 bytes")?;
        let mut value = None;
        if words.takes("inode") {
            entry.e_value_inum.set(words.number("an inode number")?);
            words.expect("size")?;
            entry.e_value_size.set(words.number("a size")?);
        } else {
            words.expect("=")?;
            value = Some(words.bytes()?);
        }
        let offset: Option<u16> = if words.takes("offs") { Some(words.number("an offset")?) } else { None };
        if words.takes("hash") {
            let hash = match &value {
                Some(value) if words.takes("ok") => xattr::entry_hash(&name, xattr::value_words(value)),
                _ => words.number("a hash")?,
            };
            entry.e_hash.set(hash);
        }
        words.end()?;
        match value {
            Some(value) => self.put_value(buffer, &mut entry, &value, offset)?,
            None => entry.e_value_offs.set(offset.unwrap_or(0)),
        }
        let at = self.start + self.next;
        self.next += xattr::entry_len(name.len());
        buffer.put(at, entry.as_bytes())?;
        buffer.put(at + 16, &name)
    }

    fn put_value(&mut self, buffer: &mut Buffer, entry: &mut XattrEntry, value: &[u8], offset: Option<u16>) -> Read {
        entry.e_value_size.set(u32::try_from(value.len()).map_err(|_| "the value is too long")?);
        let area = buffer.bytes.len().saturating_sub(self.start);
        let at = match offset {
            Some(offset) => self.base + usize::from(offset),
            None if value.is_empty() => self.base,
            None => self.value_at.unwrap_or(area).saturating_sub(xattr::value_len(value.len())),
        };
        let offs = at.checked_sub(self.base).and_then(|offs| u16::try_from(offs).ok());
        entry.e_value_offs.set(offs.ok_or("there is no room for the value")?);
        if value.is_empty() {
            return Ok(());
        }
        if offset.is_none() && at < self.next {
            return Err("there is no room for the value".into());
        }
        self.value_at = Some(at);
        buffer.put(self.start + at, value)
    }
}

/// A block of attributes.
pub(super) struct BlockSection {
    buffer: Buffer,
    block: u64,
    entries: Entries,
}

impl BlockSection {
    pub(super) fn new(mut buffer: Buffer, block: u64, sound: bool) -> Self {
        if sound {
            buffer.begin(Structure::XattrHeader, 0);
        }
        Self { buffer, block, entries: Entries::in_block() }
    }

    pub(super) fn line(&mut self, line: &str) -> Read {
        match line.strip_prefix(".xattr") {
            Some(text) => self.entries.line(&mut self.buffer, text),
            None => named(&mut self.buffer, &[(Structure::XattrHeader, 0)], line),
        }
    }

    pub(super) fn finish(self, seed: Option<u32>) -> Read<Buffer> {
        let mut buffer = self.buffer;
        buffer.only_fit(&["h_hash", "h_checksum"])?;
        if buffer.fits("h_hash") {
            let attributes = Attributes::in_block(&buffer.bytes).map_while(Result::ok);
            let hash = xattr::block_hash(attributes.map(|a| a.hash));
            set(&mut buffer.bytes, Structure::XattrHeader, "h_hash", hash.into())?;
        }
        if buffer.fits("h_checksum") {
            let seed = seed.ok_or("h_checksum: the file system has no checksums")?;
            let sum = xattr::block_checksum(seed, self.block, &buffer.bytes);
            set(&mut buffer.bytes, Structure::XattrHeader, "h_checksum", sum.into())?;
        }
        Ok(buffer)
    }
}
