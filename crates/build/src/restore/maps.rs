//! Maps from logical to physical blocks: nodes of extent trees and indirect blocks.

use super::buffer::Buffer;
use super::error::Read;
use super::image::Restorer;
use super::inodes::{I_BLOCK, InodeSection};
use super::words::{Words, number, range};
use daxkit_format::ext4::extent::{self, Extent, ExtentIdx};
use zerocopy::IntoBytes;

/// `EXT4_EXT_MAGIC`.
const MAGIC: u16 = 0xF30A;

/// A node below `i_block`.
pub(super) struct NodeBuffer {
    path: String,
    buffer: Buffer,
}

impl InodeSection {
    /// `/node entries N max N depth N [generation N]`; below the root `/node:PATH @BLOCK` with the same, `elsewhere` or `damaged`; and
    /// `/node:PATH+0xOFFSET CONTENT`.
    pub(super) fn node_line(&mut self, image: &Restorer, place: &str, words: &mut Words<'_>) -> Read {
        let Some(path) = place.strip_prefix(':') else {
            return header(&mut self.buffer, I_BLOCK, words);
        };
        if let Some((path, offset)) = path.split_once('+') {
            let node = self.node.as_mut().filter(|node| node.path == path);
            let node = node.ok_or("it is not the node that came before")?;
            return node.buffer.raw(&format!("{offset} {}", words.rest()));
        }
        self.finish_node(image)?;
        let block = words.at()?;
        if words.takes("elsewhere") {
            return words.end();
        }
        let mut node = NodeBuffer { path: path.to_owned(), buffer: image.block_buffer(block)? };
        if words.takes("damaged") {
            words.end()?;
        } else {
            header(&mut node.buffer, 0, words)?;
        }
        self.node = Some(node);
        Ok(())
    }

    /// Seals and writes the node that is complete.
    pub(super) fn finish_node(&mut self, image: &Restorer) -> Read {
        let Some(mut node) = self.node.take() else { return Ok(()) };
        if node.buffer.fits("et_checksum") {
            let seed = self.owner().seed.ok_or("et_checksum: the file system has no checksums")?;
            extent::seal_block(seed, &mut node.buffer.bytes);
        }
        image.write_buffer(&node.buffer)
    }

    /// `/extent:PATH LOGICAL+LEN @BLOCK [unwritten]`, `/extent:PATH LOGICAL node @BLOCK [ei_unused N]`.
    pub(super) fn extent(&mut self, place: &str, words: &mut Words<'_>) -> Read {
        let (node, index) = place.rsplit_once('.').unwrap_or(("", place));
        let index: u16 = number(index, "the index of an entry")?;
        let (buffer, base) = match &mut self.node {
            _ if node.is_empty() => (&mut self.buffer, I_BLOCK),
            Some(n) if n.path == node => (&mut n.buffer, 0),
            _ => return Err("it is not an entry of the node that came before".into()),
        };
        let at = base + 12 + 12 * usize::from(index);
        let key = words.word();
        if base == I_BLOCK && index > 3 {
            return Err("i_block has four entries".into());
        }
        if words.takes("node") {
            let mut entry = ExtentIdx::new(number(key, "a logical block")?, within48(words.at()?)?);
            if words.takes("ei_unused") {
                entry.ei_unused.set(words.number("a number of 16 bits")?);
            }
            words.end()?;
            return buffer.put(at, entry.as_bytes());
        }
        let (logical, len) = key.split_once('+').ok_or("an extent is LOGICAL+LENGTH")?;
        let (logical, len): (u32, u16) = (number(logical, "a logical block")?, number(len, "a length of an extent")?);
        let block = within48(words.at()?)?;
        let written = !words.takes("unwritten");
        words.end()?;
        let entry = Extent::new(logical, block, len, written);
        if (entry.len(), entry.is_written()) != (len, written) {
            return Err(format!("no extent has {len} blocks").into());
        }
        buffer.put(at, entry.as_bytes())
    }

    /// `/map:PATH[-LAST] @BLOCK[-LAST] [level N]`, `/map:PATH @BLOCK elsewhere`, `/map:PATH-LAST each +1`.
    pub(super) fn map(&mut self, image: &Restorer, place: &str, words: &mut Words<'_>) -> Read {
        let (above, indexes) = place.rsplit_once('.').unwrap_or(("", place));
        let above: Vec<u32> = match above {
            "" => Vec::new(),
            path => path.split('.').map(|i| number(i, "an index")).collect::<Read<_>>()?,
        };
        let (first, last): (u32, u32) = range(indexes, "an index")?;
        if u64::from(last) >= self.block_size / 4 {
            return Err(format!("{last}: a block has no such word").into());
        }
        if words.takes("each") {
            words.expect("+1")?;
            words.end()?;
            return self.steady(image, &above, first, last);
        }
        let blocks = words.word().strip_prefix('@').ok_or("where it lies is missing")?;
        let (block, end): (u32, u32) = range(blocks, "a block of 32 bits")?;
        if words.takes("elsewhere") {
            return words.end();
        }
        if words.takes("level") {
            words.word();
        }
        words.end()?;
        let count = last - first;
        if end != block && end - block != count {
            return Err(
                format!("{} words do not name {} blocks", u64::from(count) + 1, u64::from(end - block) + 1).into()
            );
        }
        if block.checked_add(count).is_none() {
            return Err("there are no such blocks".into());
        }
        let bytes: Vec<u8> = (block..=block + count).flat_map(u32::to_le_bytes).collect();
        let at = first as usize * 4;
        if above.is_empty() {
            if last > 14 {
                return Err("i_block has fifteen words".into());
            }
            self.forget_below(&above, first, last);
            return self.buffer.put(I_BLOCK + at, &bytes);
        }
        let parent = self.map_block(image, &above)?;
        self.forget_below(&above, first, last);
        image.write(parent.saturating_add(at as u64), &bytes)
    }

    /// Blocks each of whose words are those of the block before, plus one.
    fn steady(&mut self, image: &Restorer, above: &[u32], first: u32, last: u32) -> Read {
        let path = |index: u32| [above, &[index]].concat();
        let before = self.map_block(image, &path(first.checked_sub(1).ok_or("there is no block before the first")?))?;
        let mut bytes = image.read(before, self.block_size as usize)?;
        for index in first..=last {
            for word in bytes.as_chunks_mut::<4>().0 {
                let old = u32::from_le_bytes(*word);
                if old != 0 {
                    *word = old.checked_add(1).ok_or("there are no such blocks")?.to_le_bytes();
                }
            }
            let at = self.map_block(image, &path(index))?;
            image.copied(self.block_size)?;
            image.write(at, &bytes)?;
        }
        Ok(())
    }

    /// Forgets where the last block lies if one of these words, which are about to change, leads to it.
    fn forget_below(&mut self, above: &[u32], first: u32, last: u32) {
        let leads = |path: &[u32]| match path.strip_prefix(above) {
            Some([word, ..]) => (first..=last).contains(word),
            _ => false,
        };
        if self.last_map.as_ref().is_some_and(|(path, _)| leads(path)) {
            self.last_map = None;
        }
    }

    /// Byte of the image at which the indirect block with this path lies.
    fn map_block(&mut self, image: &Restorer, path: &[u32]) -> Read<u64> {
        if let Some((last, at)) = &self.last_map
            && last.as_slice() == path
        {
            return Ok(*at);
        }
        let (root, below) = path.split_first().ok_or("a path has an index")?;
        if *root > 14 || path.len() > 4 {
            return Err("no indirect map has such a path".into());
        }
        let at = I_BLOCK + *root as usize * 4;
        let mut word = self.buffer.bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
        for index in below {
            let bytes = image.read(image.block_at(word.into())?.saturating_add(u64::from(*index) * 4), 4)?;
            word = bytes.try_into().map_or(0, u32::from_le_bytes);
        }
        let at = image.block_at(word.into())?;
        self.last_map = Some((path.to_vec(), at));
        Ok(at)
    }
}

/// The header of a node.
fn header(buffer: &mut Buffer, base: usize, words: &mut Words<'_>) -> Read {
    let mut fields = [0u16; 3];
    for (name, field) in ["entries", "max", "depth"].iter().zip(&mut fields) {
        words.expect(name)?;
        *field = words.number("a number of 16 bits")?;
    }
    let generation: u32 = if words.takes("generation") { words.number("a number of 32 bits")? } else { 0 };
    if words.takes("et_checksum") {
        words.expect("ok")?;
        buffer.field(&[], "et_checksum", "ok")?;
    }
    words.end()?;
    let [entries, max, depth] = fields;
    buffer.put(base, &[MAGIC, entries, max, depth].map(u16::to_le_bytes).concat())?;
    buffer.put(base + 8, &generation.to_le_bytes())
}

/// Block numbers of extents have 48 bits.
fn within48(block: u64) -> Read<u64> {
    if block >> 48 == 0 { Ok(block) } else { Err(format!("block {block}: an extent names blocks of 48 bits").into()) }
}
