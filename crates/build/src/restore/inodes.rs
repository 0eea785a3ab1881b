//! Inodes: their fields, and whatever hangs on them.

use super::buffer::Buffer;
use super::error::{Fault, Read};
use super::groups::inode_place;
use super::image::{Owner, Restorer, byte_of};
use super::maps::NodeBuffer;
use super::words::{Words, number};
use super::xattrs::Entries;
use crate::dump::inodes::fields_end;
use daxkit_format::OnDisk;
use daxkit_format::ext4::inode::{self, Inode};
use daxkit_format::field::{Structure, parse_time};

/// Byte of an inode at which `i_block` lies.
pub(super) const I_BLOCK: usize = 0x28;

/// The times that have a second word, and the bytes at which both words begin.
const TIMES: [(&str, usize, usize); 4] =
    [("i_ctime", 0x0C, 0x84), ("i_mtime", 0x10, 0x88), ("i_atime", 0x08, 0x8C), ("i_crtime", 0x90, 0x94)];

/// The lines of an inode.
pub(super) struct InodeSection {
    pub(super) ino: u32,
    /// Seed of the file system's checksums.
    seed: Option<u32>,
    pub(super) buffer: Buffer,
    entries: Option<Entries>,
    /// The node below `i_block` that is being read.
    pub(super) node: Option<NodeBuffer>,
    /// Byte of the file at which the last blocks that were named begin, and byte of the image.
    run: Option<(u64, u64)>,
    pub(super) block_size: u64,
    /// The block whose words were set last, and its path: the next line is likely to set more of them.
    pub(super) last_map: Option<(Vec<u32>, u64)>,
}

impl InodeSection {
    pub(super) fn begin(image: &Restorer, ino: u32) -> Read<Self> {
        let geo = image.geo()?;
        let at = inode_place(image, &geo, ino)?;
        Ok(Self {
            ino,
            seed: geo.seed,
            buffer: Buffer::new(at, geo.inode_size as usize),
            entries: None,
            node: None,
            run: None,
            block_size: geo.block_size.into(),
            last_map: None,
        })
    }

    /// Who its blocks belong to. The generation counts, so it is asked again when the fields are there.
    pub(super) fn owner(&self) -> Owner {
        let generation =
            self.buffer.bytes.get(0x64..0x68).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
        Owner { ino: self.ino, seed: self.seed.map(|seed| inode::checksum_seed(seed, self.ino, generation)) }
    }

    pub(super) fn line(&mut self, image: &Restorer, line: &str) -> Read {
        let mut words = Words(line);
        let first = words.word();
        if let Some(name) = line.strip_prefix(".xattr") {
            return self.attribute(name);
        }
        if first == ".i_block" {
            return self.i_block(&mut words);
        }
        if let Some(name) = first.strip_prefix('.') {
            return self.field(name, words.rest());
        }
        if let Some(text) = line.strip_prefix('+') {
            return self.buffer.raw(text);
        }
        if let Some(place) = first.strip_prefix("/block:") {
            return self.data(image, place, &mut words);
        }
        if let Some(place) = first.strip_prefix("/node") {
            return self.node_line(image, place, &mut words);
        }
        if let Some(place) = first.strip_prefix("/extent:") {
            return self.extent(place, &mut words);
        }
        if let Some(place) = first.strip_prefix("/map:") {
            return self.map(image, place, &mut words);
        }
        if words.peek().starts_with("blake3:") {
            return Err(Fault::Hashed);
        }
        Err(format!("{first}: no line of an inode begins like this").into())
    }

    fn field(&mut self, name: &str, text: &str) -> Read {
        let time = TIMES.iter().find(|(low, ..)| *low == name).and_then(|times| Some((times, parse_time(text)?)));
        let Some(((_, low_at, extra_at), time)) = time else {
            return self.buffer.field(&[(Structure::Inode, 0)], name, text);
        };
        let (low, extra) = time.encode(true);
        if inode::Timestamp::decode(low, Some(extra)) != time {
            return Err(format!("{name}: {text} does not fit").into());
        }
        self.buffer.put(*low_at, &low.to_le_bytes())?;
        // A second word that is not zero has a line of its own where the time does not say it.
        if extra != 0 { self.buffer.put(*extra_at, &extra.to_le_bytes()) } else { Ok(()) }
    }

    fn i_block(&mut self, words: &mut Words<'_>) -> Read {
        if words.takes("device") {
            let word = words.word();
            let (major, minor) = word.split_once(':').ok_or("a device is MAJOR:MINOR")?;
            let mut inode: Inode = OnDisk::zeroed();
            inode.set_device(number(major, "a device number")?, number(minor, "a device number")?);
            words.end()?;
            return self.buffer.put(I_BLOCK, &inode.i_block);
        }
        let bytes = words.bytes()?;
        words.end()?;
        if bytes.len() > 60 {
            return Err("i_block has sixty bytes".into());
        }
        self.buffer.put(I_BLOCK, &bytes)
    }

    fn attribute(&mut self, text: &str) -> Read {
        let buffer = &mut self.buffer;
        let entries = self.entries.get_or_insert_with(|| Entries::in_inode(fields_end(&buffer.bytes).0));
        entries.line(buffer, text)
    }

    /// `/block:N+COUNT @BLOCK`: what follows is the data there. `/block:N[+0xOFFSET] CONTENT`: the data.
    fn data(&mut self, image: &Restorer, place: &str, words: &mut Words<'_>) -> Read {
        if words.peek().starts_with('@') {
            let block = words.at()?;
            if words.takes("elsewhere") {
                return words.end();
            }
            let first = place.split_once('+').map_or(place, |(first, _)| first);
            let (logical, physical) = (byte_of(first, self.block_size)?, block.checked_mul(self.block_size));
            self.run = Some((logical, physical.ok_or("there is no such block")?));
            return words.end();
        }
        let at = byte_of(place, self.block_size)?;
        let bytes = words.content()?;
        words.end()?;
        let (logical, physical) = self.run.ok_or("where this block lies was not said before")?;
        let at = at.checked_sub(logical).and_then(|inside| inside.checked_add(physical));
        image.write(at.ok_or("this is not behind the block that was named before")?, &bytes)
    }

    /// Writes what is complete.
    pub(super) fn finish(&mut self, image: &mut Restorer) -> Read {
        self.finish_node(image)?;
        let buffer = &mut self.buffer;
        buffer.only_fit(&["i_checksum", "l_i_checksum_lo"])?;
        let seed = || self.seed.ok_or("i_checksum: the file system has no checksums");
        if buffer.fits("i_checksum") {
            inode::seal(seed()?, self.ino, &mut buffer.bytes);
        } else if buffer.fits("l_i_checksum_lo") {
            let sum = inode::checksum(seed()?, self.ino, &buffer.bytes);
            buffer.put(0x7C, &(sum as u16).to_le_bytes())?;
        }
        image.owner = Some(self.owner());
        image.write_buffer(&self.buffer)
    }
}
