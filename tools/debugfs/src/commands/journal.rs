//! The log of the journal, block by block, as it lies: the image on its device is read, not what a replay made of it.

use super::Command;
use crate::output::{self, shown};
use crate::session::Session;
use crate::words::number;
use anyhow::{Context, Result, bail};
use daxkit_format::OnDisk;
use daxkit_format::ext4::features::Compat;
use daxkit_format::jbd2::{
    BlockType, CommitHeader, Journal, JournalHeader, JournalSuperBlock, descriptor_block, revoke_block,
};
use daxkit_format::{BlockNr, InodeNr};
use daxkit_volume::{Mapping, OpenOptions, Volume};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

pub(super) static COMMANDS: &[Command] = &[Command {
    names: &["logdump"],
    args: "[-a] [-b BLOCK] [-c] [-i FILE] [-f HOST_FILE] [-n COUNT] [-O] [-S] [HOST_FILE]",
    summary: "Show the log; -a: tags, -b: of one block, -i: of an inode's block, -c: with bytes, -f: of a file of the host, -O: old transactions too, -S: the superblock",
    example: "logdump -S",
    run: logdump,
}];

/// Where the blocks of the log come from.
enum Source<'v> {
    Inode { volume: &'v Volume, runs: Vec<Mapping> },
    File(File),
}

impl Source<'_> {
    fn read(&self, block: u32, size: u32) -> Result<Vec<u8>> {
        let mut bytes = vec![0; size as usize];
        match self {
            Self::Inode { volume, runs } => {
                let logical = u64::from(block);
                let at = runs.iter().find(|r| (r.logical..r.end()).contains(&logical));
                let at = at.with_context(|| format!("journal/block:{block}: a hole"))?;
                bytes = volume.read_block(BlockNr(at.physical.get() + (logical - at.logical)))?;
            }
            Self::File(file) => file
                .read_exact_at(&mut bytes, u64::from(block) * u64::from(size))
                .with_context(|| format!("journal/block:{block}"))?,
        }
        Ok(bytes)
    }
}

/// What is to be shown.
struct Wanted {
    tags: bool,
    content: bool,
    block: Option<u64>,
    old: bool,
    transactions: Option<u64>,
}

fn logdump(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "ab:ci:f:n:OSs", &[], (0, 1))?;
    let raw = as_it_lies(session)?;
    let mut wanted = Wanted {
        tags: options.has('a'),
        content: options.has('c'),
        block: options.value("b").map(|w| number(w, "a block number")).transpose()?,
        old: options.has('O'),
        transactions: options.value("n").map(|w| number(w, "a number of transactions")).transpose()?,
    };
    let mut file;
    let mut nothing = std::io::sink();
    let mut head_line = String::new();
    if let Some(spec) = options.value("i") {
        let nr = session.inode(spec)?.nr();
        let (block, offset) = raw.inode_location(nr)?;
        let group = raw.geometry().group_of_inode(nr).map_or(0, |(g, _)| g.get());
        head_line = format!("Inode {nr} is at group {group}, block {block}, offset {offset}\n");
        wanted.block = Some(block.get());
    }
    let source = match options.value("f") {
        Some(name) => Source::File(File::open(OsStr::from_bytes(name)).with_context(|| shown(name))?),
        None => {
            if !raw.has_compat(Compat::HAS_JOURNAL) {
                bail!("the file system has no journal");
            }
            let nr = raw.super_block().s_journal_inum.get();
            if nr == 0 {
                bail!("the journal lies on another device, which -f names");
            }
            let mut inode = raw.inode_unverified(InodeNr(nr.into()))?;
            if options.has('s') {
                inode = backup(&raw, &inode)?;
            }
            let runs = raw.extents(&inode).collect::<Result<_, _>>()?;
            Source::Inode { volume: &raw, runs }
        }
    };
    let bs = raw.block_size();
    let head = source.read(0, bs)?;
    let sb = JournalSuperBlock::peek(&head).copied().context("a block is too short")?;
    let journal = sb.check(bs, u64::from(u32::MAX)).context("journal/block:0")?;
    let json = session.json;
    let out: &mut dyn Write = match options.rest.first() {
        _ if json => &mut nothing,
        None => &mut *session.out,
        Some(name) => {
            file = BufWriter::new(File::create(OsStr::from_bytes(name)).with_context(|| shown(name))?);
            &mut file
        }
    };
    out.write_all(head_line.as_bytes())?;
    let mut log = Log { source, journal, wanted, out, rows: Vec::new(), json, complaints: Vec::new() };
    if options.has('S') {
        log.super_block(&sb)?;
    }
    let result = log.walk().and_then(|()| Ok(log.out.flush()?));
    let Log { rows, complaints, .. } = log;
    if json {
        let fields =
            output::fields(daxkit_format::field::Structure::JournalSuperBlock, &head, size_of::<JournalSuperBlock>());
        let document = json!({ "super_block": fields, "blocks": rows });
        output::document(&mut session.out, command.name(), document)?;
    }
    for complaint in complaints {
        session.complain(complaint);
    }
    result
}

/// The image without what its journal holds, and without a look at checksums.
fn as_it_lies(session: &Session<'_>) -> Result<Volume> {
    let opening = &session.opening;
    let options = OpenOptions {
        super_block: opening.superblock.map(BlockNr),
        block_size: opening.block_size,
        catastrophic: opening.catastrophic,
        ignore_checksums: true,
        replay: false,
        ..OpenOptions::default()
    };
    Ok(Volume::open(Arc::clone(&session.device), &options)?)
}

/// The journal's inode with the map that the superblock has a copy of (`s_jnl_blocks`).
fn backup(volume: &Volume, inode: &daxkit_volume::Inode) -> Result<daxkit_volume::Inode> {
    let sb = volume.super_block();
    if sb.s_jnl_backup_type != 1 {
        bail!("the superblock has no copy of the journal's inode");
    }
    let mut raw = inode.raw().to_vec();
    let words = sb.s_jnl_blocks.iter().take(15).flat_map(|w| w.get().to_le_bytes());
    raw.iter_mut().skip(0x28).zip(words).for_each(|(to, from)| *to = from);
    Ok(volume.decode_inode(inode.nr(), raw))
}

struct Log<'v, 'o> {
    source: Source<'v>,
    journal: Journal,
    wanted: Wanted,
    out: &'o mut dyn Write,
    rows: Vec<Value>,
    json: bool,
    complaints: Vec<String>,
}

impl Log<'_, '_> {
    fn super_block(&mut self, sb: &JournalSuperBlock) -> Result<()> {
        let mut line = |label: &str, value: String| writeln!(self.out, "{:<25} {value}", format!("{label}:"));
        let mut names = self.journal.incompat.names();
        if sb.compat().contains(daxkit_format::jbd2::JournalCompat::CHECKSUM) {
            names.insert(0, "journal_checksum".to_owned());
        }
        let features = if names.is_empty() { "(none)".to_owned() } else { names.join(" ") };
        line("Journal features", features)?;
        let kib = u64::from(self.journal.maxlen) * u64::from(self.journal.block_size) / 1024;
        let size = if kib < 8192 { format!("{kib}k") } else { format!("{}M", kib / 1024) };
        line("Total journal size", size)?;
        line("Total journal blocks", self.journal.maxlen.to_string())?;
        line("Max transaction length", self.journal.ring_len().saturating_add(1).to_string())?;
        line("Fast commit length", self.journal.fast_commit.as_ref().map_or(0, ExactSizeIterator::len).to_string())?;
        line("Journal sequence", format!("0x{:08x}", self.journal.sequence))?;
        line("Journal start", self.journal.start.to_string())?;
        if self.journal.errno != 0 {
            line("Journal errno", self.journal.errno.to_string())?;
        }
        if sb.has_checksum() {
            line("Journal checksum type", "crc32c".to_owned())?;
            line("Journal checksum", format!("0x{:08x}", sb.checksum()))?;
        }
        writeln!(self.out)?;
        Ok(())
    }

    /// All blocks of the log in turn. The ring is gone round once at most, whatever the blocks say.
    fn walk(&mut self) -> Result<()> {
        let (mut at, mut sequence) = (self.journal.start, self.journal.sequence);
        writeln!(self.out, "Journal starts at block {at}, transaction {sequence}")?;
        if at == 0 {
            // Nothing is to be replayed; what was once logged begins where the ring does.
            if !self.wanted.old {
                return Ok(());
            }
            at = self.journal.first;
        }
        let mut left = u64::from(self.journal.ring_len());
        let mut transactions = 0;
        while left > 0 && self.wanted.transactions.is_none_or(|most| transactions < most) {
            let block = self.source.read(at, self.journal.block_size)?;
            let Some((kind, found)) = JournalHeader::of(&block) else {
                writeln!(self.out, "No magic number at block {at}: end of journal.")?;
                if self.wanted.transactions.is_none() {
                    break;
                }
                (at, left) = (self.journal.next(at), left - 1);
                continue;
            };
            if found != sequence {
                writeln!(self.out, "Found sequence {found} (not {sequence}) at block {at}: end of journal.")?;
                if !self.wanted.old {
                    break;
                }
                sequence = found;
            }
            let name = match kind {
                BlockType::Descriptor => "descriptor block",
                BlockType::Commit => "commit block",
                BlockType::Revoke => "revoke table",
                BlockType::SuperBlockV1 => "V1 superblock",
                BlockType::SuperBlockV2 => "V2 superblock",
            };
            if self.wanted.block.is_none() {
                let number = kind as u32;
                writeln!(self.out, "Found expected sequence {sequence}, type {number} ({name}) at block {at}")?;
            }
            let steps = match kind {
                BlockType::Descriptor => self.descriptor(at, sequence, &block)?,
                BlockType::Revoke => self.revoke(at, sequence, &block)?,
                BlockType::Commit => {
                    self.row(|| {
                        let time = CommitHeader::peek(&block).map_or(0, |h| h.h_commit_sec.get());
                        json!({ "block": at, "sequence": sequence, "type": "commit", "h_commit_sec": time })
                    });
                    sequence = sequence.wrapping_add(1);
                    transactions += 1;
                    1
                }
                BlockType::SuperBlockV1 | BlockType::SuperBlockV2 => {
                    writeln!(self.out, "Unexpected block type {} at block {at}.", kind as u32)?;
                    break;
                }
            };
            for _ in 0..steps.min(left) {
                at = self.journal.next(at);
            }
            left = left.saturating_sub(steps);
        }
        Ok(())
    }

    fn row(&mut self, make: impl FnOnce() -> Value) {
        if self.json {
            let row = make();
            self.rows.push(row);
        }
    }

    fn is_wanted(&self, block: u64) -> bool {
        self.wanted.tags || self.wanted.block == Some(block)
    }

    /// Shows a descriptor block; returns how many blocks it covers, itself included.
    fn descriptor(&mut self, at: u32, sequence: u32, block: &[u8]) -> Result<u64> {
        if self.wanted.tags {
            writeln!(self.out, "Dumping descriptor block, sequence {sequence}, at block {at}:")?;
        }
        let tags: Vec<_> = descriptor_block::tags(block, self.journal.format).collect();
        let (mut data, mut list) = (at, Vec::new());
        for tag in &tags {
            data = self.journal.next(data);
            if self.json {
                list.push(json!({ "fs_block": tag.block, "journal_block": data, "flags": tag.flags.bits() }));
            }
            if !self.is_wanted(tag.block) {
                continue;
            }
            let (target, flags) = (tag.block, tag.flags.bits());
            if self.wanted.tags {
                writeln!(self.out, "  FS block {target} logged at journal block {data} (flags {flags:#x})")?;
            } else {
                writeln!(
                    self.out,
                    "  FS block {target} logged at sequence {sequence}, journal block {data} (flags {flags:#x})"
                )?;
            }
            if self.wanted.content && !self.json {
                match self.source.read(data, self.journal.block_size) {
                    Ok(mut bytes) => {
                        tag.unescape(&mut bytes);
                        self.hex(&bytes)?;
                    }
                    Err(e) => self.complaints.push(format!("{e:#}")),
                }
            }
        }
        self.row(|| json!({ "block": at, "sequence": sequence, "type": "descriptor", "tags": list }));
        Ok(1 + tags.len() as u64)
    }

    fn revoke(&mut self, at: u32, sequence: u32, block: &[u8]) -> Result<u64> {
        if self.wanted.tags {
            writeln!(self.out, "Dumping revoke block, sequence {sequence}, at block {at}:")?;
        }
        match revoke_block::records(block, self.journal.format) {
            Err(e) => self.complaints.push(format!("journal/block:{at}: {e}")),
            Ok((_, records)) => {
                let records: Vec<u64> = records.collect();
                for revoked in records.iter().filter(|r| self.is_wanted(**r)).copied().collect::<Vec<_>>() {
                    let tail =
                        if self.wanted.tags { String::new() } else { format!(" at block {at}, sequence {sequence}") };
                    writeln!(self.out, "  Revoke FS block {revoked}{tail}")?;
                }
                self.row(|| json!({ "block": at, "sequence": sequence, "type": "revoke", "revoked": records }));
            }
        }
        Ok(1)
    }

    fn hex(&mut self, bytes: &[u8]) -> Result<()> {
        for (at, row) in (0..).step_by(16).zip(bytes.chunks(16)) {
            write!(self.out, "    {at:04x}: ")?;
            for word in row.chunks(4) {
                write!(self.out, " {}", daxkit_format::field::to_hex(word))?;
            }
            let letters: String =
                row.iter().map(|b| if (0x20..0x7f).contains(b) { char::from(*b) } else { '.' }).collect();
            writeln!(self.out, " {letters}")?;
        }
        Ok(())
    }
}
