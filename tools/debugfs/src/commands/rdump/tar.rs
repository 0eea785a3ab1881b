//! Trees of the image as one tar archive: with owners of any number, attributes, ACLs, links and holes, and without root.

use super::target::Target;
use super::{Tree, data, joined, records};
use crate::output::{self, shown};
use crate::session::Session;
use crate::tar::{Archive, Kind, Member};
use anyhow::{Context, Result};
use daxkit_cli::message::Messages;
use daxkit_device::WriteOut;
use daxkit_format::InodeNr;
use daxkit_format::ext4::inode::mode;
use daxkit_volume::{Inode, Volume, VolumeError};
use serde_json::json;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Bytes of a file copied at once, and bytes of the archive written at once.
const CHUNK: usize = 1 << 20;

/// Writes the trees to `archive`, `-` for standard output. A file is there whole or not at all, and durable.
pub(super) fn copy(session: &mut Session<'_>, name: &str, trees: &[Tree], archive: &[u8], verbose: bool) -> Result<()> {
    let to_output = archive == b"-";
    let quiet = session.json || !verbose;
    let messages = session.messages;
    let (volume, out) = (&session.volume, &mut session.out);
    let report = if to_output {
        // Names go where they are not taken for the archive.
        let mut names = std::io::stderr();
        let mut report = Report::new(messages, if quiet { None } else { Some(&mut names) });
        Copy::new(volume, Archive::new(&mut *out), &mut report).all(trees)?;
        report.end()
    } else {
        let target = Target::open(Path::new(OsStr::from_bytes(archive))).with_context(|| shown(archive))?;
        let mut report = Report::new(messages, if quiet { None } else { Some(&mut *out) });
        let file = BufWriter::with_capacity(CHUNK, WriteOut::new(target.file()));
        Copy::new(volume, Archive::new(file), &mut report).all(trees).with_context(|| shown(archive))?;
        let report = report.end();
        target.finish().with_context(|| shown(archive))?;
        report
    };
    session.complained |= report.damaged;
    if session.json && !to_output {
        let document = json!({ "members": report.members, "sockets_left_out": report.sockets });
        return output::document(&mut session.out, name, document);
    }
    Ok(())
}

/// What is said on the way, and what came of it.
struct Report<'a> {
    messages: Messages,
    names: Option<&'a mut dyn Write>,
    found: Found,
}

#[derive(Default)]
struct Found {
    members: u64,
    sockets: u64,
    damaged: bool,
}

impl<'a> Report<'a> {
    fn new(messages: Messages, names: Option<&'a mut dyn Write>) -> Self {
        Self { messages, names, found: Found::default() }
    }

    fn member(&mut self, path: &[u8]) -> std::io::Result<()> {
        self.found.members += 1;
        match &mut self.names {
            Some(names) => writeln!(names, "{}", shown(path)),
            None => Ok(()),
        }
    }

    fn damage(&mut self, path: &[u8], why: impl Display) {
        self.found.damaged = true;
        self.messages.error(format_args!("{}: {why}", shown(path)));
    }

    fn socket(&mut self, path: &[u8]) {
        self.found.sockets += 1;
        self.messages.warning(format_args!("{}: left out: a socket", shown(path)));
    }

    fn end(self) -> Found {
        if self.found.sockets > 0 {
            let s = if self.found.sockets == 1 { "" } else { "s" };
            self.messages.warning(format_args!("{} socket{s} left out: archives have none", self.found.sockets));
        }
        self.found
    }
}

struct Copy<'a, 'r, W> {
    volume: &'a Volume,
    archive: Archive<W>,
    report: &'a mut Report<'r>,
    /// The name under which an inode with several names came first.
    links: HashMap<InodeNr, Vec<u8>>,
    buf: Vec<u8>,
}

impl<'a, 'r, W: Write> Copy<'a, 'r, W> {
    fn new(volume: &'a Volume, archive: Archive<W>, report: &'a mut Report<'r>) -> Self {
        Self { volume, archive, report, links: HashMap::new(), buf: vec![0; CHUNK] }
    }

    fn all(mut self, trees: &[Tree]) -> Result<()> {
        for tree in trees {
            for visit in self.volume.walk(tree.inode.clone()) {
                match visit {
                    Ok(visit) => self.member(&joined(&tree.name, &visit.path), &visit.inode)?,
                    Err(e) => self.report.damage(&joined(&tree.name, &e.path), e.error),
                }
            }
        }
        self.archive.finish()?;
        Ok(())
    }

    /// Writes one member. Damage is told; only what cannot be written ends the archive.
    fn member(&mut self, path: &[u8], inode: &Inode) -> Result<()> {
        let kind = match inode.file_type() {
            mode::IFREG => Kind::File,
            mode::IFDIR => Kind::Dir,
            mode::IFLNK => Kind::Symlink,
            mode::IFCHR => Kind::Char,
            mode::IFBLK => Kind::Block,
            mode::IFIFO => Kind::Fifo,
            mode::IFSOCK => {
                self.report.socket(path);
                return Ok(());
            }
            other => {
                self.report.damage(path, format_args!("a file of no known type ({other:#o})"));
                return Ok(());
            }
        };
        let target = match kind {
            Kind::Symlink => match self.volume.read_link(inode) {
                Ok(target) => target,
                Err(error) => {
                    self.report.damage(path, error);
                    return Ok(());
                }
            },
            _ => Vec::new(),
        };
        let mut name = if path.is_empty() { b".".to_vec() } else { path.to_vec() };
        if kind == Kind::Dir {
            name.push(b'/');
        }
        self.report.member(path)?;
        let mut member = Member {
            kind,
            name: &name,
            link: &target,
            mode: u32::from(inode.i_mode.get() & 0o7777),
            owner: (inode.uid(), inode.gid()),
            mtime: inode.mtime(),
            device: if matches!(kind, Kind::Char | Kind::Block) { inode.device() } else { (0, 0) },
            records: Vec::new(),
        };
        if kind != Kind::Dir && inode.i_links_count.get() > 1 {
            if let Some(first) = self.links.get(&inode.nr()) {
                let member = Member { kind: Kind::HardLink, link: first, ..member };
                return Ok(self.archive.member(&member, 0)?);
            }
            self.links.insert(inode.nr(), path.to_vec());
        }
        member.records = self.records(path, inode);
        if kind == Kind::File {
            return self.file(&member, path, inode);
        }
        Ok(self.archive.member(&member, 0)?)
    }

    fn file(&mut self, member: &Member<'_>, path: &[u8], inode: &Inode) -> Result<()> {
        let size = inode.size();
        let (mut ranges, error) = data::ranges(self.volume, inode);
        let mut damage = Damage { first: error, more: 0 };
        if ranges.iter().map(|r| r.end - r.start).sum::<u64>() < size {
            // The last range of a sparse file says how long it is.
            if ranges.last().is_none_or(|r| r.end < size) {
                ranges.push(size..size);
            }
            self.archive.sparse(member, size, &ranges)?;
        } else {
            self.archive.member(member, size)?;
        }
        for range in ranges {
            let mut at = range.start;
            while at < range.end {
                let n = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(self.buf.len());
                let Some(part) = self.buf.get_mut(..n) else { break };
                // The header has told how much comes.
                damage.add(data::read(self.volume, inode, at, part));
                self.archive.content(part)?;
                at += n as u64;
            }
        }
        self.archive.end_member()?;
        if let Some(error) = damage.first {
            let more = if damage.more == 0 { String::new() } else { format!(", and {} more places", damage.more) };
            self.report.damage(path, format_args!("{error}{more}; zeroes stand for what cannot be read"));
        }
        Ok(())
    }

    fn records(&mut self, path: &[u8], inode: &Inode) -> Vec<records::Record> {
        let mut found: Vec<_> = records::flags(inode).into_iter().collect();
        match self.volume.xattrs(inode) {
            Ok(list) => {
                for attribute in list {
                    match records::attribute(&attribute) {
                        Ok(record) => found.extend(record),
                        Err(e) => self.report.damage(path, format_args!("{}: {e}", shown(&attribute.full_name()))),
                    }
                }
            }
            Err(error) => self.report.damage(path, error),
        }
        found
    }
}

/// What was wrong with the content of a file.
struct Damage {
    first: Option<VolumeError>,
    more: u64,
}

impl Damage {
    fn add(&mut self, error: Option<VolumeError>) {
        match (&self.first, error) {
            (_, None) => {}
            (None, error) => self.first = error,
            (Some(_), Some(_)) => self.more += 1,
        }
    }
}
