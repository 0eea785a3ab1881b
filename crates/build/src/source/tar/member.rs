//! One member out of its header, the records before it and what follows it.

use super::archive::{Archive, Pending};
use super::error::{AclTextError, SparseError, TarError};
use super::header::{BLOCK, Dialect, Header, SparseBlock, is_zero};
use super::medium::Cancelled;
use super::notice::Notice;
use super::pax::{Records, SparseRecords};
use super::sparse::{Map, MapReader};
use super::{FileData, Member, MemberKind, acl, file_flags};
use crate::source::tree::{Attributes, XattrSet};
use daxkit_format::dax::FileKind;
use daxkit_format::ext4::inode_flags::InodeFlags;

const ACCESS: &[u8] = b"system.posix_acl_access";
const DEFAULT: &[u8] = b"system.posix_acl_default";

/// A member on its way: what errors and notices say of it.
struct Named<'a> {
    path: &'a [u8],
    at: u64,
}

impl Named<'_> {
    fn truncated(&self, part: &'static str) -> TarError {
        TarError::Truncated { member: self.path.to_vec(), part, at: self.at }
    }

    fn sparse(&self, source: SparseError) -> TarError {
        TarError::Sparse { member: self.path.to_vec(), at: self.at, source }
    }

    fn unsupported(&self, what: &'static str) -> TarError {
        TarError::Unsupported { member: self.path.to_vec(), at: self.at, what }
    }

    fn acl(&self, which: &'static str, source: AclTextError) -> TarError {
        TarError::Acl { member: self.path.to_vec(), at: self.at, which, source }
    }
}

impl Archive {
    /// The member that a header begins, with what was said of it before.
    pub(super) fn member(
        &mut self,
        header: &Header,
        mut pending: Pending,
        cancelled: Cancelled<'_>,
    ) -> Result<Member, TarError> {
        let at = pending.at.unwrap_or(header.at);
        let mut records = self.records(&mut pending);
        let sparse_name = records.sparse.name.take().filter(|_| records.sparse.is_given());
        let path = sparse_name.or(records.path.take()).or(pending.name).unwrap_or_else(|| header.name());
        let link = records.link_path.take().or(pending.link);
        let named = Named { path: &path, at };
        if let Some(what) = records.unsupported {
            return Err(named.unsupported(what));
        }
        let link = || link.unwrap_or_else(|| header.link_name().to_vec());
        let device = || -> Result<_, TarError> {
            let (major, minor) = header.device()?;
            Ok((records.dev_major.unwrap_or(major), records.dev_minor.unwrap_or(minor)))
        };
        let kind = match header.typeflag() {
            // Before there was a type for them, directories were told by a slash.
            0 | b'0' | b'7' if path.ends_with(b"/") => {
                self.pass_data(header, &records, &named, cancelled)?;
                MemberKind::Dir
            }
            b'1' => {
                let target = link();
                MemberKind::HardLink(target, self.link_data(header, &mut records, &named, cancelled)?)
            }
            b'2' => MemberKind::Symlink(link()),
            b'3' => device().map(|(major, minor)| MemberKind::Char(major, minor))?,
            b'4' => device().map(|(major, minor)| MemberKind::Block(major, minor))?,
            // What a directory's size says is how much it may hold.
            b'5' => MemberKind::Dir,
            b'6' => MemberKind::Fifo,
            // The data of GNU tar's incremental archives is a list of names.
            b'D' => {
                self.pass_data(header, &records, &named, cancelled)?;
                MemberKind::Dir
            }
            b'M' => return Err(named.unsupported("a further volume of an archive in several volumes")),
            b'S' => MemberKind::File(self.old_sparse(header, &records, &named, cancelled)?),
            typeflag => {
                if !matches!(typeflag, 0 | b'0' | b'7') {
                    self.notices.add(Notice::TakenForFile { typeflag, member: path.clone() });
                }
                MemberKind::File(self.file(header, &mut records, &named, cancelled)?)
            }
        };
        let mut attributes = attributes(header, &records)?;
        self.tell(std::mem::take(&mut records.left_out), &path);
        let flags = self.flags(&kind, &records, &path);
        let xattrs = self.xattrs(&kind, &mut records, &mut attributes, &named)?;
        Ok(Member { kind, attributes, created: records.created, xattrs, flags, path })
    }

    fn pass_data(
        &mut self,
        header: &Header,
        records: &Records,
        named: &Named<'_>,
        cancelled: Cancelled<'_>,
    ) -> Result<(), TarError> {
        let stored = stored(header, records)?;
        if !self.medium.skip(stored, cancelled)? {
            return Err(named.truncated("the content"));
        }
        self.medium.skip_padding(stored, cancelled)
    }

    /// Passes over the data of a file.
    fn keep(&mut self, stored: u64, named: &Named<'_>, cancelled: Cancelled<'_>) -> Result<u64, TarError> {
        let at = self.medium.keep(stored, cancelled)?.ok_or_else(|| named.truncated("the content"))?;
        self.medium.skip_padding(stored, cancelled)?;
        Ok(at)
    }

    fn file(
        &mut self,
        header: &Header,
        records: &mut Records,
        named: &Named<'_>,
        cancelled: Cancelled<'_>,
    ) -> Result<FileData, TarError> {
        let mut stored = stored(header, records)?;
        let sparse = &mut records.sparse;
        if !sparse.is_given() {
            return Ok(FileData { size: stored, at: self.keep(stored, named, cancelled)?, ranges: None });
        }
        let size = sparse.real_size.ok_or_else(|| named.sparse(SparseError::NoSize))?;
        let map = match map_in_records(sparse).map_err(|e| named.sparse(e))? {
            Some(map) => map,
            None => self.map_in_front(&mut stored, named, cancelled)?,
        };
        let ranges = map.ranges(size, stored).map_err(|e| named.sparse(e))?;
        Ok(FileData { size, at: self.keep(stored, named, cancelled)?, ranges })
    }

    /// Reads the map of version 1.0, which takes blocks of the `stored` bytes of the member.
    fn map_in_front(&mut self, stored: &mut u64, named: &Named<'_>, cancelled: Cancelled<'_>) -> Result<Map, TarError> {
        let mut reader = MapReader::default();
        loop {
            *stored = stored.checked_sub(BLOCK as u64).ok_or_else(|| named.sparse(SparseError::TooLong))?;
            let block = self.medium.block(cancelled)?.ok_or_else(|| named.truncated("the map of the sparse file"))?;
            if reader.block(&block).map_err(|e| named.sparse(e))? {
                return Ok(reader.finish());
            }
        }
    }

    /// A sparse file of the old GNU form: the map begins in the header and goes on in blocks behind it.
    fn old_sparse(
        &mut self,
        header: &Header,
        records: &Records,
        named: &Named<'_>,
        cancelled: Cancelled<'_>,
    ) -> Result<FileData, TarError> {
        let Some(head) = header.sparse()? else {
            return Err(named.unsupported("a sparse file that is not in a form of GNU tar"));
        };
        let mut map = Map::default();
        let mut open = map.push_fields(head.entries).map_err(|e| named.sparse(e))?;
        let mut goes_on = head.goes_on;
        while goes_on {
            if cancelled() {
                return Err(TarError::Cancelled);
            }
            let block = self.medium.block(cancelled)?.ok_or_else(|| named.truncated("the map of the sparse file"))?;
            let block: &SparseBlock = zerocopy::transmute_ref!(&block);
            open = open && map.push_fields(&block.sparse).map_err(|e| named.sparse(e))?;
            goes_on = block.is_extended != 0;
        }
        let stored = stored(header, records)?;
        let ranges = map.ranges(head.size, stored).map_err(|e| named.sparse(e))?;
        Ok(FileData { size: head.size, at: self.keep(stored, named, cancelled)?, ranges })
    }

    /// The data behind a hard link. POSIX let links have none until 2001, whatever their size says, and PAX let them have
    /// it; where the header does not tell which it is, what follows does.
    fn link_data(
        &mut self,
        header: &Header,
        records: &mut Records,
        named: &Named<'_>,
        cancelled: Cancelled<'_>,
    ) -> Result<Option<FileData>, TarError> {
        let has_data = stored(header, records)? > 0
            && match header.dialect() {
                _ if self.is_pax => true,
                Dialect::V7 | Dialect::Gnu => false,
                Dialect::Posix => match self.medium.peek(cancelled)? {
                    Ok(block) => !is_zero(&block) && Header::new(&block, 0).is_none(),
                    Err(rest) => !rest.is_empty(),
                },
            };
        if has_data { self.file(header, records, named, cancelled).map(Some) } else { Ok(None) }
    }

    fn flags(&mut self, kind: &MemberKind, records: &Records, path: &[u8]) -> InodeFlags {
        let Some(text) = &records.flags else { return InodeFlags::empty() };
        let kind = match kind {
            // Only files have further names, as far as flags go.
            MemberKind::File(_) | MemberKind::HardLink(..) => FileKind::Regular,
            MemberKind::Dir => FileKind::Directory,
            MemberKind::Symlink(_) => FileKind::Symlink,
            MemberKind::Char(..) | MemberKind::Block(..) | MemberKind::Fifo => FileKind::Special,
        };
        file_flags::parse(text, kind, |name| {
            self.notices.add(Notice::Flag { name: name.to_vec(), member: path.to_vec() });
        })
    }

    /// Attributes and ACLs as the kernel would have kept them. An access ACL sets the permission bits, as it does when it is
    /// set on a file: libarchive's headers have other ones.
    fn xattrs(
        &mut self,
        kind: &MemberKind,
        records: &mut Records,
        attributes: &mut Attributes,
        named: &Named<'_>,
    ) -> Result<XattrSet, TarError> {
        let mut list = std::mem::take(&mut records.xattrs);
        // The last one of a name counts: it is the first after this.
        list.reverse();
        list.sort_by(|a, b| a.0.cmp(&b.0));
        list.dedup_by(|a, b| a.0 == b.0);
        for (name, which, text) in
            [(ACCESS, "access", records.acl_access.take()), (DEFAULT, "default", records.acl_default.take())]
        {
            let place = list.binary_search_by(|(other, _)| other.as_slice().cmp(name));
            let (place, value) = match (place, text) {
                // As system calls know it; it needs no names.
                (Ok(place), _) => (place, list.remove(place).1),
                (Err(place), Some(text)) => {
                    let value = acl::parse(&text, &*self.options.ids).map_err(|e| named.acl(which, e))?;
                    (place, value)
                }
                (Err(_), None) => continue,
            };
            let no_place = match kind {
                MemberKind::Symlink(_) => Some("the ACL"),
                MemberKind::Dir => None,
                _ => (name == DEFAULT).then_some("the default ACL"),
            };
            if let Some(what) = no_place {
                self.notices.add(Notice::Acl { what, member: named.path.to_vec() });
                continue;
            }
            acl::check(&value).map_err(|e| named.acl(which, e))?;
            if name == ACCESS {
                let (mode, says_more) = acl::mode_of(&value);
                attributes.mode = attributes.mode & !0o777 | mode;
                if !says_more {
                    continue;
                }
            }
            list.insert(place, (name.to_vec(), value));
        }
        Ok(XattrSet { list })
    }
}

/// Bytes of data behind the header.
fn stored(header: &Header, records: &Records) -> Result<u64, TarError> {
    records.size.map_or_else(|| header.size(), Ok)
}

/// The map of versions 0.0 and 0.1; `None` for version 1.0, whose map stands in front of the data.
fn map_in_records(sparse: &mut SparseRecords) -> Result<Option<Map>, SparseError> {
    match (sparse.major.unwrap_or(0), sparse.minor.unwrap_or(0)) {
        (0, 0 | 1) => sparse.take_map()?.ok_or(SparseError::NoMap).map(Some),
        (1, 0) => Ok(None),
        (major, minor) => Err(SparseError::Version { major, minor }),
    }
}

fn attributes(header: &Header, records: &Records) -> Result<Attributes, TarError> {
    let mtime = records.mtime.map_or_else(|| header.mtime(), Ok)?;
    let (atime, ctime) = header.times().unwrap_or_default();
    Ok(Attributes {
        mode: header.mode()?,
        uid: records.uid.map_or_else(|| header.uid(), Ok)?,
        gid: records.gid.map_or_else(|| header.gid(), Ok)?,
        atime: records.atime.or(atime).unwrap_or(mtime),
        ctime: records.ctime.or(ctime).unwrap_or(mtime),
        mtime,
    })
}
