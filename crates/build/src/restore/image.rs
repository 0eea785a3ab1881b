//! The image being built: what is known of it so far, and the section that is being read.

use super::buffer::Buffer;
use super::error::{Fault, Read};
use super::groups::{BitmapSection, CopySection, DescriptorSection, Groups};
use super::inodes::InodeSection;
use super::journal::{Log, LogSection};
use super::special::{OrphanSection, QuotaSection};
use super::supers::SuperSection;
use super::words::{Words, number};
use super::{dirs::DirSection, supers::MmpSection, xattrs::BlockSection};
use crate::dump::image::Geometry;
use daxkit_device::{BlockDevice, DeviceError};
use daxkit_format::OnDisk;
use daxkit_format::ext4::super_block::SuperBlock;
use daxkit_format::field::{parse_number, quote};
use std::cell::Cell;
use std::sync::Arc;

/// What later sections need of the last inode.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner {
    pub(super) ino: u32,
    /// Seed of the checksums of its blocks.
    pub(super) seed: Option<u32>,
}

/// See the module.
pub(super) struct Restorer {
    device: Arc<dyn BlockDevice>,
    pub(super) sb: SuperBlock,
    geo: Result<Geometry, &'static str>,
    pub(super) groups: Groups,
    pub(super) owner: Option<Owner>,
    pub(super) log: Option<Log>,
    section: Section,
    /// Bytes that were made of others, a line for many.
    copied: Cell<u64>,
}

/// The section that is being read.
enum Section {
    None,
    Super(SuperSection),
    Mmp(MmpSection),
    Descriptor(DescriptorSection),
    Copy(CopySection),
    Bitmap(BitmapSection),
    Inode(Box<InodeSection>),
    Dir(DirSection),
    Xattrs(BlockSection),
    Log(LogSection),
    Quota(QuotaSection),
    Orphans(OrphanSection),
    /// Blocks of nobody; the size of one.
    Free(u64),
}

impl Restorer {
    pub(super) fn new(device: Arc<dyn BlockDevice>) -> Self {
        Self {
            device,
            sb: SuperBlock::zeroed(),
            geo: Err("no line `super` came before"),
            groups: Groups::default(),
            owner: None,
            log: None,
            section: Section::None,
            copied: Cell::new(0),
        }
    }

    /// Counts bytes that are made of others. Each block is named once, so that they are no more than the image has; a line can stand
    /// for a GiB.
    pub(super) fn copied(&self, bytes: u64) -> Read {
        let all = self.copied.get().saturating_add(bytes);
        if all > self.device.len() {
            return Err("more blocks of the kind than the image has".into());
        }
        self.copied.set(all);
        Ok(())
    }

    /// Takes a line.
    pub(super) fn line(&mut self, line: &str) -> Read {
        match line.strip_prefix("  ") {
            Some(line) => self.inside(line),
            None => {
                self.finish()?;
                self.begin(line)
            }
        }
    }

    /// Ends the image.
    pub(super) fn end(&mut self) -> Read {
        self.finish()?;
        let Ok(geo) = self.geo else { return Ok(()) };
        self.finish_groups(&geo)
    }

    /// A line that begins a section.
    fn begin(&mut self, line: &str) -> Read {
        let mut words = Words(line);
        let first = words.word();
        let (object, block) = first.split_once('/').unwrap_or((first, ""));
        let (kind, argument) = object.split_once([':', '.']).unwrap_or((object, ""));
        self.section = match (kind, argument, block) {
            ("unreadable", "", "") => {
                // Why is for the reader.
                words.rest();
                Section::None
            }
            ("super", "", "") => Section::Super(SuperSection::primary()),
            ("super", _, "") => Section::Super(SuperSection::copy(&self.sb, self.block_at(words.at()?)?)),
            ("mmp", "", "") => Section::Mmp(MmpSection::new(self.block_buffer(words.at()?)?)),
            ("group", _, "") => match argument.split_once(':') {
                None => Section::Descriptor(self.begin_descriptor(number(argument, "a group")?)?),
                Some((group, _)) => Section::Copy(CopySection(self.begin_copy(number(group, "a group")?)?)),
            },
            ("group", _, what) => {
                Section::Bitmap(self.begin_bitmap(number(argument, "a group")?, what, words.at()?)?)
            }
            ("groups", "", "") => {
                self.group_run(&mut words)?;
                Section::None
            }
            ("inode", _, "") => {
                let section = InodeSection::begin(self, number(argument, "an inode number")?)?;
                self.owner = Some(section.owner());
                let section = Section::Inode(Box::new(section));
                match words.word() {
                    "empty" => self.empty_inode(section)?,
                    _ => {
                        words.rest();
                        section
                    }
                }
            }
            ("dir", _, block) if !block.is_empty() => {
                let (geo, owner) = (self.geo()?, self.owner_of(number(argument, "an inode number")?)?);
                let logical = number(block.strip_prefix("block:").unwrap_or_default(), "a block number")?;
                Section::Dir(DirSection::new(self.block_buffer(words.at()?)?, &geo, owner.seed, logical))
            }
            ("block", _, "") => {
                let nr = number(argument, "a block number")?;
                words.expect("xattrs")?;
                let sound = !words.takes("damaged");
                Section::Xattrs(BlockSection::new(self.block_buffer(nr)?, nr, sound))
            }
            ("journal", "", "") => Section::Log(LogSection::super_block(self.block_buffer(words.at()?)?)),
            ("journal", "", _) => {
                // The data of a log in a text with hashes.
                if words.peek().starts_with("blake3:") {
                    return Err(Fault::Hashed);
                }
                let buffer = self.block_buffer(words.at()?)?;
                Section::Log(LogSection::block(buffer, words.takes("content"), self.log))
            }
            ("quota", _, "") => {
                words.expect("block")?;
                let logical = words.number("a block number")?;
                Section::Quota(QuotaSection::new(self.block_buffer(words.at()?)?, logical))
            }
            ("orphan", "", _) => {
                let block = words.at()?;
                let seed = self.owner.and_then(|owner| owner.seed);
                Section::Orphans(OrphanSection::new(self.block_buffer(block)?, block, seed))
            }
            ("blocks", "", "") => {
                words.rest();
                Section::None
            }
            ("free", "", "") => Section::Free(self.geo.map_or(1024, |geo| u64::from(geo.block_size))),
            _ => return Err(format!("{}: no section begins like this", quote(first.as_bytes())).into()),
        };
        // `groups` may have more to say about one copy.
        words.end()
    }

    /// A line of the section.
    fn inside(&mut self, line: &str) -> Read {
        let mut section = std::mem::replace(&mut self.section, Section::None);
        let done = match &mut section {
            Section::None => Err("no section that has lines was begun".into()),
            Section::Super(s) => s.line(line),
            Section::Mmp(s) => s.line(line),
            Section::Descriptor(s) => s.line(line),
            Section::Copy(s) => self.copy_line(s.0, line),
            Section::Bitmap(s) => s.line(line),
            Section::Inode(s) => s.line(self, line),
            Section::Dir(s) => s.line(line),
            Section::Xattrs(s) => s.line(line),
            Section::Log(s) => s.line(line),
            Section::Quota(s) => s.line(line),
            Section::Orphans(s) => s.line(line),
            Section::Free(bs) => self.free_line(*bs, line),
        };
        self.section = section;
        done
    }

    /// Ends the section.
    fn finish(&mut self) -> Read {
        match std::mem::replace(&mut self.section, Section::None) {
            Section::None | Section::Copy(_) | Section::Free(_) => Ok(()),
            Section::Super(s) => {
                let primary = s.is_primary();
                let (at, sb) = s.finish()?;
                if primary {
                    self.sb = sb;
                    self.geo = Geometry::of(&sb, self.device.len());
                }
                self.write(at, zerocopy::IntoBytes::as_bytes(&sb))
            }
            Section::Mmp(s) => {
                let seed = self.geo()?.seed;
                self.write_buffer(&s.finish(seed)?)
            }
            Section::Descriptor(s) => self.finish_descriptor(s),
            Section::Bitmap(s) => self.write_buffer(&s.finish()?),
            Section::Inode(mut s) => s.finish(self),
            Section::Dir(s) => self.write_buffer(&s.finish()?),
            Section::Xattrs(s) => {
                let seed = self.geo()?.seed;
                self.write_buffer(&s.finish(seed)?)
            }
            Section::Log(s) => {
                let (buffer, log) = s.finish()?;
                self.log = log.or(self.log);
                self.write_buffer(&buffer)
            }
            Section::Quota(s) => self.write_buffer(&s.finish()?),
            Section::Orphans(s) => self.write_buffer(&s.finish()?),
        }
    }

    /// An inode that has a checksum and nothing else.
    fn empty_inode(&mut self, section: Section) -> Read<Section> {
        if let Section::Inode(mut section) = section {
            section.line(self, ".i_checksum ok")?;
            section.finish(self)?;
        }
        Ok(Section::None)
    }

    /// `block:N[+0xOFFSET] CONTENT`.
    fn free_line(&self, bs: u64, line: &str) -> Read {
        let mut words = Words(line);
        let place = words.word();
        let place = place.strip_prefix("block:").ok_or_else(|| format!("{place}: not a place of a block"))?;
        let at = byte_of(place, bs)?;
        let bytes = words.content()?;
        words.end()?;
        self.write(at, &bytes)
    }

    /// The geometry, for sections that need one.
    pub(super) fn geo(&self) -> Read<Geometry> {
        self.geo.map_err(|reason| format!("where this lies cannot be said: {reason}").into())
    }

    /// The inode that blocks belong to, which has to come before them.
    fn owner_of(&self, ino: u32) -> Read<Owner> {
        let owner = self.owner.filter(|owner| owner.ino == ino);
        owner.ok_or_else(|| format!("inode {ino} is not the one that came before").into())
    }

    /// Byte of the image at which a block begins.
    pub(super) fn block_at(&self, block: u64) -> Read<u64> {
        let at = block.checked_mul(u64::from(self.geo()?.block_size));
        at.filter(|at| *at < self.device.len()).ok_or_else(|| format!("block {block} is not inside the image").into())
    }

    /// A block to be filled.
    pub(super) fn block_buffer(&self, block: u64) -> Read<Buffer> {
        Ok(Buffer::new(self.block_at(block)?, self.geo()?.block_size as usize))
    }

    pub(super) fn write(&self, at: u64, bytes: &[u8]) -> Read {
        Ok(self.device.write_at(at, bytes)?)
    }

    pub(super) fn write_buffer(&self, buffer: &Buffer) -> Read {
        self.write(buffer.at, &buffer.bytes)
    }

    pub(super) fn read(&self, at: u64, len: usize) -> Result<Vec<u8>, DeviceError> {
        let mut bytes = vec![0; len];
        self.device.read_at(at, &mut bytes)?;
        Ok(bytes)
    }
}

/// The byte that `BLOCK[+0xOFFSET]` stands for.
pub(super) fn byte_of(place: &str, bs: u64) -> Read<u64> {
    let (block, offset) = place.split_once('+').unwrap_or((place, "0"));
    let byte = parse_number(block).and_then(|b| b.checked_mul(bs)).zip(parse_number(offset));
    byte.and_then(|(b, o)| b.checked_add(o)).ok_or_else(|| format!("{}: not a place", quote(place.as_bytes())).into())
}
