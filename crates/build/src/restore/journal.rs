//! The journal's blocks.

use super::buffer::Buffer;
use super::error::Read;
use super::supers::named;
use super::words::Words;
use daxkit_format::OnDisk;
use daxkit_format::field::{BitSet, Structure, parse_hex};
use daxkit_format::jbd2::{BlockTail, JournalSuperBlock, TagChecksum, TagFlags, TagFormat, commit_block, journal_seed};
use zerocopy::IntoBytes;

/// What the journal's superblock says of the other blocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Log {
    format: TagFormat,
    seed: u32,
}

/// A block of the log.
pub(super) struct LogSection {
    buffer: Buffer,
    kind: Kind,
}

enum Kind {
    Super,
    /// A header follows what the superblock says.
    Block(Option<Log>),
    Content,
}

/// The structures whose fields may stand in a block of the log.
const STRUCTURES: [(Structure, usize); 3] =
    [(Structure::JournalHeader, 0), (Structure::CommitHeader, 0), (Structure::RevokeHeader, 0)];

impl LogSection {
    pub(super) fn super_block(mut buffer: Buffer) -> Self {
        buffer.begin(Structure::JournalSuperBlock, 0);
        Self { buffer, kind: Kind::Super }
    }

    pub(super) fn block(mut buffer: Buffer, content: bool, log: Option<Log>) -> Self {
        if content {
            return Self { buffer, kind: Kind::Content };
        }
        buffer.begin(Structure::JournalHeader, 0);
        Self { buffer, kind: Kind::Block(log) }
    }

    pub(super) fn line(&mut self, line: &str) -> Read {
        let log = match self.kind {
            Kind::Super => return named(&mut self.buffer, &[(Structure::JournalSuperBlock, 0)], line),
            Kind::Content => {
                let text = line.strip_prefix('+').ok_or("a line is `+0xOFFSET CONTENT` here")?;
                return self.buffer.raw(text);
            }
            Kind::Block(log) => log,
        };
        let mut words = Words(line);
        match words.word() {
            "tag" => self.tag(log.ok_or("the journal's superblock did not come before")?, &mut words),
            "revoke" => {
                let width = log.ok_or("the journal's superblock did not come before")?.format.revoke_bytes();
                let index: usize = words.number("an index")?;
                words.expect("block")?;
                let block: u64 = words.number("a block number")?;
                words.end()?;
                let bytes = block.to_be_bytes();
                let (high, low) = bytes.split_at_checked(8 - width).ok_or("a record is too wide")?;
                if high.iter().any(|b| *b != 0) {
                    return Err(format!("block {block}: records of this journal have {width} bytes").into());
                }
                let at = index.checked_mul(width).and_then(|at| at.checked_add(16)).ok_or("there is no such record")?;
                self.buffer.put(at, low)
            }
            _ => named(&mut self.buffer, &STRUCTURES, line),
        }
    }

    /// `tag OFFSET block N FLAGS [checksum C] [uuid HEX]`.
    fn tag(&mut self, log: Log, words: &mut Words<'_>) -> Read {
        let at: usize = words.number("an offset")?;
        words.expect("block")?;
        let block = words.number("a block number")?;
        // Names of flags are words, too.
        let rest = words.rest();
        let stop = [" checksum ", " uuid "].iter().filter_map(|word| rest.find(word)).min().unwrap_or(rest.len());
        let (flags, rest) = rest.split_at(stop);
        let flags = BitSet::Tag.parse(flags.trim()).ok_or_else(|| format!("{flags}: not flags of a tag"))?;
        let flags = u16::try_from(flags).map(TagFlags::from_bits_retain).map_err(|_| "the flags are too many")?;
        let mut words = Words(rest);
        let sum: u32 = if words.takes("checksum") { words.number("a checksum")? } else { 0 };
        let n = log.format.tag_bytes();
        let mut bytes = [0; 16];
        // A checksum as it is stored reads back as itself.
        if !log.format.write(&mut bytes, block, flags, sum) {
            return Err(format!("block {block}: it does not fit into a tag of this journal").into());
        }
        self.buffer.put(at, bytes.get(..n).unwrap_or_default())?;
        if words.takes("uuid") {
            let uuid = parse_hex(words.word()).filter(|uuid| uuid.len() == 16).ok_or("a UUID has 16 bytes")?;
            self.buffer.put(at.saturating_add(n), &uuid)?;
        }
        words.end()
    }

    /// The block, and what it says of the others when it is the superblock.
    pub(super) fn finish(self) -> Read<(Buffer, Option<Log>)> {
        let mut buffer = self.buffer;
        let log = match self.kind {
            Kind::Content => return Ok((buffer, None)),
            Kind::Super => {
                buffer.only_fit(&["s_checksum"])?;
                let sb = JournalSuperBlock::peek(&buffer.bytes).copied().ok_or("a block is too short")?;
                if buffer.fits("s_checksum") {
                    let mut sealed = sb;
                    sealed.s_checksum = sealed.checksum().into();
                    buffer.put(0, sealed.as_bytes())?;
                }
                return Ok((
                    buffer,
                    Some(Log { format: TagFormat::of(sb.incompat()), seed: journal_seed(&sb.s_uuid) }),
                ));
            }
            Kind::Block(log) => log,
        };
        buffer.only_fit(&["h_chksum", "t_checksum"])?;
        let summed = log.filter(|log| log.format.checksum != TagChecksum::None);
        for (name, seal) in [
            ("h_chksum", commit_block::seal as fn(&mut [u8], u32)),
            ("t_checksum", BlockTail::seal as fn(&mut [u8], u32)),
        ] {
            if buffer.fits(name) {
                let log = summed.ok_or_else(|| format!("{name}: the journal has no checksums"))?;
                seal(&mut buffer.bytes, log.seed);
            }
        }
        Ok((buffer, None))
    }
}
