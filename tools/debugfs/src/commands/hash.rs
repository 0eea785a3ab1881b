//! Hashes of names, hashed directories, and names in directories.

use super::Command;
use crate::output::{self, shown, text};
use crate::session::Session;
use anyhow::{Context, Result, bail};
use daxkit_format::OnDisk;
use daxkit_format::ext4::casefold;
use daxkit_format::ext4::dir_entry::{self, Entries};
use daxkit_format::ext4::dx::{DxBlock, DxTail, tail_offset};
use daxkit_format::ext4::features::Incompat;
use daxkit_format::ext4::hash::{HashVersion, dirhash};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_volume::Inode;
use serde_json::{Value, json};
use std::collections::HashSet;

pub(super) static COMMANDS: &[Command] = &[
    Command {
        names: &["dx_hash", "hash"],
        args: "[-h ALGORITHM] [-s SEED] [-c] NAME",
        summary: "Compute the hash of a name; -h: legacy (the default), half_md4 or tea, -s: a UUID, -c: casefolded",
        example: "dx_hash -h half_md4 hello",
        run: dx_hash,
    },
    Command {
        names: &["htree_dump", "htree"],
        args: "DIRECTORY",
        summary: "Show the tree of a hashed directory with all its names",
        example: "htree /",
        run: htree,
    },
    Command {
        names: &["dirsearch"],
        args: "DIRECTORY NAME",
        summary: "Say where in a directory a name stands",
        example: "dirsearch / lost+found",
        run: dirsearch,
    },
];

fn dx_hash(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "h:s:c", &[], (1, 1))?;
    let version = match options.value("h") {
        None => HashVersion::Legacy,
        Some(name) => {
            let name = shown(name);
            let known = HashVersion::from_name(&name).filter(|v| *v != HashVersion::SipHash);
            known.with_context(|| format!("{name}: no such hash algorithm"))?
        }
    };
    let mut seed = [0; 4];
    if let Some(word) = options.value("s") {
        let bytes = std::str::from_utf8(word).ok().and_then(daxkit_format::field::parse_uuid);
        let bytes = bytes.with_context(|| format!("{}: not a UUID", shown(word)))?;
        for (word, bytes) in seed.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
    }
    let Some(name) = options.rest.first() else { return Ok(()) };
    let hash = if options.has('c') {
        casefold::dirhash_casefold(name, version, &seed, false).ok().context("the name cannot be folded")?
    } else {
        dirhash(name, version, &seed)
    };
    if session.json {
        let document =
            json!({ "name": text(name), "algorithm": version.name(), "hash": hash.hash, "minor": hash.minor_hash });
        return output::document(&mut session.out, command.name(), document);
    }
    writeln!(session.out, "Hash of {} is 0x{:08x} (minor {:#x})", shown(name), hash.hash, hash.minor_hash)?;
    Ok(())
}

fn htree(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (1, 1))?;
    for spec in options.rest {
        let dir = session.inode(spec)?;
        if !dir.is_dir() {
            bail!("{}: not a directory", shown(spec));
        }
        if !dir.flags().contains(InodeFlags::INDEX) {
            bail!("{}: not a hash-indexed directory", shown(spec));
        }
        let mut tree = Tree {
            dir,
            tail: session.volume.super_block().has_metadata_csum(),
            version: 0,
            rows: Vec::new(),
            seen: HashSet::new(),
        };
        let result = tree.root(session);
        if session.json {
            output::document(&mut session.out, command.name(), Value::from(std::mem::take(&mut tree.rows)))?;
        }
        result?;
    }
    Ok(())
}

/// A hashed directory on its way to the screen.
struct Tree {
    dir: Inode,
    /// Blocks have checksums.
    tail: bool,
    version: u8,
    rows: Vec<Value>,
    /// Blocks shown: each comes once, whatever the index says.
    seen: HashSet<u64>,
}

impl Tree {
    fn block(&mut self, session: &mut Session<'_>, logical: u64) -> Result<(u64, Vec<u8>)> {
        if !self.seen.insert(logical) {
            bail!("dir:{}/block:{logical}: the index leads here a second time", self.dir.nr());
        }
        let found = session.volume.read_file_block(&self.dir, logical)?;
        let (block, bytes) = found.with_context(|| format!("dir:{}/block:{logical}: a hole", self.dir.nr()))?;
        Ok((block.get(), bytes))
    }

    fn root(&mut self, session: &mut Session<'_>) -> Result<()> {
        let (_, bytes) = self.block(session, 0)?;
        let node = DxBlock::parse_root(&bytes, self.tail)?;
        let info = node.root.context("no root")?;
        self.version = info.hash_version;
        if session.json {
            self.rows.push(json!({
                "kind": "root", "block": 0, "hash_version": info.hash_version, "info_length": info.info_length,
                "indirect_levels": info.indirect_levels, "unused_flags": info.unused_flags,
            }));
        } else {
            let out = &mut session.out;
            writeln!(out, "Root node dump:\n\t Reserved zero: {}", info.reserved_zero)?;
            writeln!(out, "\t Hash Version: {}\n\t Info length: {}", info.hash_version, info.info_length)?;
            writeln!(out, "\t Indirect levels: {}\n\t Flags: {}", info.indirect_levels, info.unused_flags)?;
        }
        self.node(session, 0, &bytes, &node, info.indirect_levels)
    }

    /// A block of the index and all below it.
    fn node(
        &mut self,
        session: &mut Session<'_>,
        logical: u64,
        bytes: &[u8],
        node: &DxBlock<'_>,
        levels: u8,
    ) -> Result<()> {
        let entries: Vec<(u32, u32)> = node.iter().collect();
        let at = if node.root.is_some() { 32 } else { 8 };
        let sum = tail_offset(bytes, at).filter(|_| self.tail).and_then(|at| DxTail::peek(bytes.get(at..)?));
        let sum = sum.map(|t| t.dt_checksum.get());
        if session.json {
            let list: Vec<Value> = entries.iter().map(|(h, b)| json!({ "hash": h, "block": b })).collect();
            self.rows.push(json!({
                "kind": "index", "block": logical, "count": entries.len(), "limit": node.limit, "checksum": sum,
                "entries": list,
            }));
        } else {
            let out = &mut session.out;
            writeln!(out, "Number of entries (count): {}\nNumber of entries (limit): {}", entries.len(), node.limit)?;
            if let Some(sum) = sum {
                writeln!(out, "Checksum: 0x{sum:08x}")?;
            }
            for (i, (hash, block)) in entries.iter().enumerate() {
                writeln!(out, "Entry #{i}: Hash 0x{hash:08x}, block {block}")?;
            }
            writeln!(out)?;
        }
        for (i, (hash, child)) in entries.iter().enumerate() {
            if !session.json {
                writeln!(session.out, "Entry #{i}: Hash 0x{hash:08x}, block {child}")?;
            }
            let below = self.block(session, (*child).into());
            let done = below.and_then(|(physical, bytes)| match levels.checked_sub(1) {
                Some(levels) => {
                    let node = DxBlock::parse_node(&bytes, self.tail)?;
                    self.node(session, (*child).into(), &bytes, &node, levels)
                }
                None => self.leaf(session, (*child).into(), physical, &bytes),
            });
            // The next entry may lead to what is sound.
            if let Err(e) = done {
                session.complain(format_args!("{e:#}"));
            }
        }
        if !session.json {
            writeln!(session.out, "---------------------")?;
        }
        Ok(())
    }

    fn leaf(&mut self, session: &mut Session<'_>, logical: u64, physical: u64, bytes: &[u8]) -> Result<()> {
        let sum = dir_entry::tail(bytes).filter(|_| self.tail).map(|t| t.det_checksum.get());
        if !session.json {
            writeln!(session.out, "Reading directory block {logical}, phys {physical}")?;
        }
        let types = session.volume.has_incompat(Incompat::FILETYPE);
        let mut list = Vec::new();
        for entry in Entries::new(bytes, session.volume.block_size(), types) {
            let entry = match entry {
                Ok(entry) => entry,
                Err(e) => {
                    session.complain(format_args!("dir:{}/block:{logical}: {e}", self.dir.nr()));
                    break;
                }
            };
            if entry.inode == 0 {
                continue;
            }
            let hash = session.volume.name_hash(&self.dir, self.version, entry.name);
            if session.json {
                list.push(json!({
                    "inode": entry.inode, "rec_len": entry.rec_len, "name": text(entry.name),
                    "hash": hash.map(|h| h.hash), "minor": hash.map(|h| h.minor_hash),
                }));
                continue;
            }
            let hash = hash.map_or_else(|| "unknown".to_owned(), |h| format!("0x{:08x}-{:08x}", h.hash, h.minor_hash));
            writeln!(session.out, "{} {hash} ({}) {}   ", entry.inode, entry.rec_len, shown(entry.name))?;
        }
        if session.json {
            self.rows.push(json!({
                "kind": "leaf", "block": logical, "physical": physical, "checksum": sum, "entries": list,
            }));
        } else if let Some(sum) = sum {
            writeln!(session.out, "leaf block checksum: 0x{sum:08x}")?;
        }
        Ok(())
    }
}

fn dirsearch(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (2, 2))?;
    let [spec, name] = options.rest else { return Ok(()) };
    let dir = session.inode(spec)?;
    let mut found = None;
    let mut failed = Vec::new();
    // From end to end, not by the index: the index may be what is damaged.
    for entry in session.volume.read_dir(&dir)? {
        match entry {
            Ok(e) if e.name == *name => {
                found = Some(e);
                break;
            }
            Ok(_) => {}
            Err(e) => failed.push(e),
        }
    }
    for e in failed {
        session.complain(e);
    }
    if session.json {
        let document = found.map_or(Value::Null, |e| {
            json!({
                "inode": e.inode.get(), "logical": e.logical, "physical": e.block.map(|b| b.get()), "offset": e.offset,
            })
        });
        return output::document(&mut session.out, command.name(), document);
    }
    if let Some(e) = found {
        let block = e.block.map_or(0, |b| b.get());
        writeln!(session.out, "Entry found at logical block {}, phys {block}, offset {}", e.logical, e.offset)?;
        writeln!(session.out, "offset {}", e.offset)?;
    }
    Ok(())
}
