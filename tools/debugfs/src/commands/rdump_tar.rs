//! Trees of the image as one tar archive: with owners of any number, attributes, ACLs, links and holes, and without root.

use super::copy::{joined, last_name};
use crate::output::{self, shown};
use crate::session::Session;
use crate::tar::{Archive, Kind, Member};
use anyhow::{Context, Result};
use daxkit_device::{Existing, NewFile};
use daxkit_format::ext4::inode::mode;
use daxkit_volume::{Inode, Volume};
use serde_json::json;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Bytes of a file copied at once.
const CHUNK: usize = 1 << 20;

/// Ranges of one file that are kept in memory; a file in more pieces is stored whole.
const MAX_RANGES: usize = 1 << 20;

/// Writes the trees to `file`, `-` for standard output; the file is there whole or not at all, and durable.
pub(super) fn rdump_tar(
    session: &mut Session<'_>,
    name: &str,
    file: &[u8],
    sources: &[Vec<u8>],
    verbose: bool,
) -> Result<()> {
    let mut trees = Vec::new();
    for spec in sources {
        let inode = session.inode(spec)?;
        trees.push((last_name(session, spec, &inode), inode));
    }
    let mut copy =
        Copy { links: HashMap::new(), names: Vec::new(), verbose, errors: Vec::new(), sockets: 0, members: 0 };
    if file == b"-" {
        let mut archive = Archive::new(&mut session.out);
        copy.trees(&session.volume, &mut archive, &trees)?;
        archive.finish()?;
    } else {
        let path = Path::new(OsStr::from_bytes(file));
        let target = NewFile::create(path, Existing::Replace)?;
        let mut archive = Archive::new(BufWriter::with_capacity(CHUNK, target.file()));
        copy.trees(&session.volume, &mut archive, &trees).with_context(|| shown(file))?;
        archive.finish().with_context(|| shown(file))?;
        target.publish()?;
    }
    let to_output = file == b"-";
    for line in copy.names {
        if !session.json && !to_output {
            writeln!(session.out, "{line}")?;
        }
    }
    for error in copy.errors {
        session.complain(error);
    }
    if copy.sockets > 0 {
        session.messages.warning(format_args!("{} sockets left out: tar has none", copy.sockets));
    }
    if session.json && !to_output {
        let document = json!({ "members": copy.members, "sockets_left_out": copy.sockets });
        return output::document(&mut session.out, name, document);
    }
    Ok(())
}

struct Copy {
    /// The name under which an inode with several names came first.
    links: HashMap<u64, Vec<u8>>,
    names: Vec<String>,
    verbose: bool,
    errors: Vec<String>,
    sockets: u64,
    members: u64,
}

impl Copy {
    fn trees<W: Write>(&mut self, volume: &Volume, archive: &mut Archive<W>, trees: &[(Vec<u8>, Inode)]) -> Result<()> {
        let mut buf = vec![0; CHUNK];
        for (name, inode) in trees {
            for visit in volume.walk(inode.clone()) {
                match visit {
                    Ok(visit) => {
                        let path = joined(name, &visit.path);
                        self.member(volume, archive, &path, &visit.inode, &mut buf)?;
                    }
                    Err(e) => self.errors.push(format!("{}: {}", shown(&joined(name, &e.path)), e.error)),
                }
            }
        }
        Ok(())
    }

    /// Writes one member. Damage is kept for later; what cannot be written ends the archive.
    fn member<W: Write>(
        &mut self,
        volume: &Volume,
        archive: &mut Archive<W>,
        path: &[u8],
        inode: &Inode,
        buf: &mut [u8],
    ) -> Result<()> {
        let kind = match inode.file_type() {
            mode::IFREG => Kind::File,
            mode::IFDIR => Kind::Dir,
            mode::IFLNK => Kind::Symlink,
            mode::IFCHR => Kind::Char,
            mode::IFBLK => Kind::Block,
            mode::IFIFO => Kind::Fifo,
            mode::IFSOCK => {
                self.sockets += 1;
                return Ok(());
            }
            other => {
                self.errors.push(format!("{}: a file of no known type ({other:#o})", shown(path)));
                return Ok(());
            }
        };
        if self.verbose {
            self.names.push(shown(path));
        }
        let mut name = if path.is_empty() { b".".to_vec() } else { path.to_vec() };
        if kind == Kind::Dir {
            name.push(b'/');
        }
        let (records, mut link) = (self.records(volume, path, inode), Vec::new());
        if kind == Kind::Symlink {
            match volume.read_link(inode) {
                Ok(target) => link = target,
                Err(e) => {
                    self.errors.push(format!("{}: {e}", shown(path)));
                    return Ok(());
                }
            }
        }
        let mut member = Member {
            kind,
            name: &name,
            link: &link,
            mode: u32::from(inode.i_mode.get() & 0o7777),
            owner: (inode.uid(), inode.gid()),
            mtime: inode.mtime(),
            device: if matches!(kind, Kind::Char | Kind::Block) { inode.device() } else { (0, 0) },
            records,
        };
        self.members += 1;
        if kind != Kind::Dir && inode.i_links_count.get() > 1 {
            if let Some(first) = self.links.get(&inode.nr().get()).cloned() {
                (member.kind, member.link) = (Kind::HardLink, &first);
                archive.member(&member, 0)?;
                return Ok(());
            }
            self.links.insert(inode.nr().get(), path.to_vec());
        }
        if kind == Kind::File {
            return self.file(volume, archive, &member, path, inode, buf);
        }
        archive.member(&member, 0)?;
        Ok(())
    }

    fn file<W: Write>(
        &mut self,
        volume: &Volume,
        archive: &mut Archive<W>,
        member: &Member<'_>,
        path: &[u8],
        inode: &Inode,
        buf: &mut [u8],
    ) -> Result<()> {
        let size = inode.size();
        let ranges = match data(volume, inode) {
            Ok(ranges) => ranges,
            Err(e) => {
                self.errors.push(format!("{}: {e}", shown(path)));
                vec![0..0]
            }
        };
        let stored: u64 = ranges.iter().map(|r| r.end - r.start).sum();
        let whole = [0..size];
        let ranges = if stored < size {
            // The last range of a sparse file says how long it is.
            let mut ranges = ranges;
            if ranges.last().is_none_or(|r| r.end < size) {
                ranges.push(size..size);
            }
            archive.sparse(member, size, &ranges)?;
            ranges
        } else {
            archive.member(member, size)?;
            whole.to_vec()
        };
        for range in ranges {
            let mut at = range.start;
            while at < range.end {
                let n = (range.end - at).min(buf.len() as u64) as usize;
                let Some(part) = buf.get_mut(..n) else { break };
                if let Err(e) = volume.read_at(inode, at, part) {
                    // The header has told how much comes.
                    self.errors.push(format!("{}: {e}", shown(path)));
                    part.fill(0);
                }
                archive.content(part)?;
                at += n as u64;
            }
        }
        archive.end_member()?;
        Ok(())
    }

    /// Attributes and ACLs as pax records.
    fn records(&mut self, volume: &Volume, path: &[u8], inode: &Inode) -> Vec<(Vec<u8>, Vec<u8>)> {
        let list = match volume.xattrs(inode) {
            Ok(list) => list,
            Err(e) => {
                self.errors.push(format!("{}: {e}", shown(path)));
                return Vec::new();
            }
        };
        let mut records = Vec::new();
        for x in list {
            match x.for_user() {
                Ok(Some((name, value))) => match acl_text(&name, &value) {
                    Some((keyword, text)) => records.push((keyword.to_vec(), text.into_bytes())),
                    None => records.push(([b"SCHILY.xattr.", name.as_slice()].concat(), value)),
                },
                Ok(None) => {}
                Err(e) => self.errors.push(format!("{}: {}: {e}", shown(path), shown(&x.full_name()))),
            }
        }
        records
    }
}

/// Where a file holds data; all of it when it is in too many pieces.
fn data(volume: &Volume, inode: &Inode) -> Result<Vec<Range<u64>>> {
    let mut ranges = Vec::new();
    for range in volume.data_ranges(inode) {
        ranges.push(range?);
        if ranges.len() > MAX_RANGES {
            let all = 0..inode.size();
            return Ok(vec![all]);
        }
    }
    Ok(ranges)
}

/// An ACL as star and GNU tar write it, users and groups by number: `user::rw-,user:1000:r--,...`.
fn acl_text(name: &[u8], value: &[u8]) -> Option<(&'static [u8], String)> {
    let keyword: &[u8] = match name {
        b"system.posix_acl_access" => b"SCHILY.acl.access",
        b"system.posix_acl_default" => b"SCHILY.acl.default",
        _ => return None,
    };
    let entries = value.get(4..)?.chunks_exact(8);
    let mut words = Vec::new();
    for entry in entries {
        let half = |at: usize| entry.get(at..)?.first_chunk::<2>().map(|b| u16::from_le_bytes(*b));
        let id = entry.get(4..)?.first_chunk::<4>().map(|b| u32::from_le_bytes(*b))?;
        let who = match half(0)? {
            0x01 => "user:".to_owned(),
            0x02 => format!("user:{id}"),
            0x04 => "group:".to_owned(),
            0x08 => format!("group:{id}"),
            0x10 => "mask:".to_owned(),
            0x20 => "other:".to_owned(),
            _ => return None,
        };
        let perm = half(2)?;
        let bit = |mask: u16, letter: char| if perm & mask == 0 { '-' } else { letter };
        words.push(format!("{who}:{}{}{}", bit(4, 'r'), bit(2, 'w'), bit(1, 'x')));
    }
    Some((keyword, words.join(",")))
}
