//! Extended attributes, in inodes and in blocks of their own.

use super::DumpError;
use super::content::exact;
use super::cover::Cover;
use super::fields::{Known, fields};
use super::image::{Geometry, Image};
use daxkit_format::OnDisk;
use daxkit_format::ext4::xattr::{self, Attributes, MAGIC, XattrEntry, XattrHeader, XattrIbodyHeader};
use daxkit_format::field::{Structure, quote};

impl Image<'_> {
    /// The attributes between the extra fields of an inode and its end.
    pub(super) fn inode_xattrs(&mut self, cover: &mut Cover<'_>, start: usize) -> Result<(), DumpError> {
        let area = cover.bytes().get(start..).unwrap_or_default();
        if XattrIbodyHeader::peek(area).is_some_and(|h| h.h_magic.get() == MAGIC)
            && let Some(count) = self.attributes(cover, start, 4)?
        {
            // Attributes imply the magic number.
            if count == 0 {
                writeln!(self.out, "  .xattr none")?;
            }
            cover.mark(start..start + 4);
        }
        Ok(())
    }

    /// The block of attributes an inode points to, once.
    pub(super) fn xattr_block(&mut self, geo: &Geometry, block: u64) -> Result<(), DumpError> {
        if block == 0 || !self.claim_block(geo, block) {
            return Ok(());
        }
        let Some(bytes) = self.read_block(geo, block)? else { return Ok(()) };
        if bytes.iter().all(|b| *b == 0) {
            return Ok(());
        }
        let sound = XattrHeader::peek(&bytes).is_some_and(|h| h.h_magic.get() == MAGIC);
        writeln!(self.out, "block:{block} xattrs{}", if sound { "" } else { " damaged" })?;
        let mut cover = Cover::new(&bytes);
        if sound {
            let hash = xattr::block_hash(Attributes::in_block(&bytes).map_while(Result::ok).map(|a| a.hash));
            let sum = geo.seed.map(|s| xattr::block_checksum(s, block, &bytes));
            let known = |name: &str| match name {
                "h_hash" => Some(Known::Fits(u64::from(hash))),
                "h_checksum" => sum.map(|s| Known::Fits(u64::from(s))),
                _ => None,
            };
            fields(self.out, &mut cover, Structure::XattrHeader, 0, 32, &known)?;
            self.attributes(&mut cover, 0, 0)?;
        }
        cover.rest(self.out, "  ", "", 0)
    }

    /// Prints the attributes of an area that begins at `start`, values counted from `base` (0 in a block, 4 in an inode). `None`, and nothing
    /// printed, when entries or values run out of the area or over each other.
    fn attributes(&mut self, cover: &mut Cover<'_>, start: usize, base: usize) -> Result<Option<usize>, DumpError> {
        let area = cover.bytes().get(start..).unwrap_or_default();
        let list = if base == 0 { Some(Attributes::in_block(area)) } else { Attributes::in_inode(area) };
        let Some(Ok(list)) = list.map(|l| l.collect::<Result<Vec<_>, _>>()) else { return Ok(None) };
        // First on a trial basis: who overlaps is printed in hexadecimal.
        let mut trial = Cover::new(area);
        for a in &list {
            let value = base + usize::from(offset_of(area, a.offset));
            if !trial.take(a.offset..a.offset + 16 + a.name.len())
                || (!a.value.is_empty() && !trial.take(value..value + a.value.len()))
            {
                return Ok(None);
            }
        }
        let mut value_at = area.len();
        for a in &list {
            let offset = offset_of(area, a.offset);
            let value = base + usize::from(offset);
            let whole = xattr::prefix(a.index).map(|p| [p.as_bytes(), a.name].concat());
            match whole.filter(|w| xattr::split_name(w) == Some((a.index, a.name))) {
                Some(name) => write!(self.out, "  .xattr.{}", quote(&name))?,
                None => write!(self.out, "  .xattr index {} name {}", a.index, quote(a.name))?,
            }
            if a.value_inum == 0 {
                write!(self.out, " = {}", exact(a.value))?;
                // The kernel packs values from the end; an empty one has no place.
                let packed = value_at.saturating_sub(xattr::value_len(a.value.len()));
                let expected = if a.value.is_empty() { base } else { packed };
                if value != expected {
                    write!(self.out, " offs {offset}")?;
                }
                if !a.value.is_empty() {
                    value_at = value;
                }
            } else {
                write!(self.out, " inode {} size {}", a.value_inum, a.value_size)?;
                if offset != 0 {
                    write!(self.out, " offs {offset}")?;
                }
            }
            let fits = a.value_inum == 0 && a.hash == xattr::entry_hash(a.name, xattr::value_words(a.value));
            match a.hash {
                0 => writeln!(self.out)?,
                _ if fits => writeln!(self.out, " hash ok")?,
                hash => writeln!(self.out, " hash {hash:#x}")?,
            }
            cover.mark(start + a.offset..start + a.offset + 16 + a.name.len());
            cover.mark(start + value..start + value + a.value.len());
        }
        Ok(Some(list.len()))
    }
}

fn offset_of(area: &[u8], at: usize) -> u16 {
    area.get(at..).and_then(XattrEntry::peek).map_or(0, |e| e.e_value_offs.get())
}
