//! Directory blocks: entries, htree roots and nodes.

use super::DumpError;
use super::cover::Cover;
use super::image::{Geometry, Image};
use super::inodes::Subject;
use super::maps::Run;
use daxkit_format::OnDisk;
use daxkit_format::ext4::dir_entry::{self, Entries, entry_len};
use daxkit_format::ext4::dx::{self, DxBlock, DxRoot, NODE_ENTRIES, ROOT_ENTRIES};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::field::{Format, Structure, quote};
use daxkit_format::{FieldKind, FieldValue};

impl Image<'_> {
    pub(super) fn directory(&mut self, geo: &Geometry, s: &Subject, runs: &[Run]) -> Result<(), DumpError> {
        let (ino, seed) = (s.ino, s.seed);
        let hashed = s.inode.flags().contains(InodeFlags::INDEX);
        let geo = *geo;
        self.each_block(&geo, runs, &mut |image, logical, block, bytes| {
            writeln!(image.out, "dir:{ino}/block:{logical} @{block}")?;
            let mut cover = Cover::new(bytes);
            if !(hashed && image.htree(&geo, seed, logical, &mut cover)?) {
                image.linear(&geo, seed, &mut cover)?;
            }
            cover.rest(image.out, "  ", "", 0)
        })
    }

    /// A block of entries, as far as they can be followed.
    fn linear(&mut self, geo: &Geometry, seed: Option<u32>, cover: &mut Cover<'_>) -> Result<(), DumpError> {
        let bytes = cover.bytes();
        let sealed = seed.is_some_and(|s| dir_entry::verify_block(s, bytes));
        let end = if sealed { bytes.len() - 12 } else { bytes.len() };
        let body = bytes.get(..end).unwrap_or_default();
        let mut at = 0;
        for entry in Entries::new(body, geo.block_size, geo.has_file_type).map_while(Result::ok) {
            self.entry(geo, cover, &entry, false)?;
            at = entry.offset + entry.rec_len as usize;
        }
        // A tail stands for itself only where the entries lead to it.
        if sealed && at == end {
            writeln!(self.out, "  .det_checksum ok")?;
            cover.mark(end..bytes.len());
        }
        Ok(())
    }

    fn entry(
        &mut self,
        geo: &Geometry,
        cover: &mut Cover<'_>,
        entry: &dir_entry::Entry<'_>,
        short: bool,
    ) -> Result<(), DumpError> {
        write!(self.out, "  /entry:{} {} inode {}", entry.offset, quote(entry.name), entry.inode)?;
        // The byte is there whether or not the file system has types.
        let file_type = cover.bytes().get(entry.offset + 7).copied().unwrap_or(0);
        if file_type != 0 {
            let kind = FieldKind::Le { width: 1, count: 1 };
            let format = Format::of(Structure::DirEntry, "file_type", kind);
            write!(self.out, " {}", format.format(kind, &FieldValue::Int(u64::from(file_type))))?;
        }
        // In blocks of 64 KiB one length has two spellings: only the kernel's is left to the reader.
        let stored = cover.bytes().get(entry.offset + 4..entry.offset + 6).and_then(|b| b.try_into().ok());
        let spelled = dir_entry::rec_len_to_disk(entry.rec_len, geo.block_size);
        if short || entry.rec_len as usize != entry_len(entry.name.len()) {
            write!(self.out, " rec_len {}", entry.rec_len)?;
        }
        if let Some(stored) = stored.map(u16::from_le_bytes).filter(|stored| *stored != spelled) {
            write!(self.out, " stored {stored}")?;
        }
        writeln!(self.out)?;
        cover.mark(entry.offset..entry.offset + 8 + entry.name.len());
        Ok(())
    }

    /// A root or node of an htree; `false`, and nothing printed, when the block is neither.
    fn htree(
        &mut self,
        geo: &Geometry,
        seed: Option<u32>,
        logical: u64,
        cover: &mut Cover<'_>,
    ) -> Result<bool, DumpError> {
        let bytes = cover.bytes();
        let offset = match dx::entries_offset(bytes) {
            Some(ROOT_ENTRIES) if logical == 0 => ROOT_ENTRIES,
            Some(NODE_ENTRIES) if logical != 0 => NODE_ENTRIES,
            _ => return Ok(false),
        };
        let parsed = if offset == ROOT_ENTRIES {
            DxBlock::parse_root(bytes, seed.is_some())
        } else {
            DxBlock::parse_node(bytes, seed.is_some())
        };
        let Ok(block) = parsed else { return Ok(false) };
        let mut entries = Entries::new(bytes, geo.block_size, geo.has_file_type);
        if offset == ROOT_ENTRIES {
            let (Some(Ok(dot)), Some(Ok(dotdot))) = (entries.next(), entries.next()) else { return Ok(false) };
            // Longer names would lie over what follows.
            let (Some(root), 1, 2) = (DxRoot::peek(bytes), dot.name.len(), dotdot.name.len()) else { return Ok(false) };
            self.entry(geo, cover, &dot, true)?;
            self.entry(geo, cover, &dotdot, true)?;
            let kind = FieldKind::Le { width: 1, count: 1 };
            let hash = Format::of(Structure::DxRoot, "hash_version", kind);
            let hash = hash.format(kind, &FieldValue::Int(u64::from(root.hash_version)));
            writeln!(self.out, "  .hash_version {hash}")?;
            if root.indirect_levels != 0 {
                writeln!(self.out, "  .indirect_levels {}", root.indirect_levels)?;
            }
            // reserved_zero and info_length are what every root has; unused_flags is left over when it is not zero.
            cover.mark(0x18..0x1F);
        } else {
            let Some(Ok(fake)) = entries.next() else { return Ok(false) };
            if !fake.name.is_empty() {
                return Ok(false);
            }
            self.entry(geo, cover, &fake, true)?;
        }
        writeln!(self.out, "  .limit {}", block.limit)?;
        for (i, e) in block.entries.iter().enumerate() {
            if i == 0 {
                writeln!(self.out, "  /dx:0 block {}", e.block)?;
            } else {
                writeln!(self.out, "  /dx:{i} hash {:#010x} block {}", e.hash, e.block)?;
            }
        }
        cover.mark(offset..offset + block.entries.len() * 8);
        let tail = offset + usize::from(block.limit) * 8 + 4;
        if seed.is_some_and(|s| dx::verify_block(s, bytes, offset)) && cover.take(tail..tail + 4) {
            writeln!(self.out, "  .dt_checksum ok")?;
        }
        Ok(true)
    }
}
