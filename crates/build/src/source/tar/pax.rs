//! Extended headers: records of `pax(1)` (`LENGTH KEYWORD=VALUE` and a line feed), with the keywords of POSIX, GNU tar, star,
//! libarchive and Solaris that say something of an inode.
//!
//! A header's records are taken over into [`Records`] one by one; later ones win. An empty value takes back what was said
//! before, as POSIX wants it, but for extended attributes, whose value may be empty.

use super::encoding::{base64_decode, percent_decode, percent_decode_gnu};
use super::error::{PaxError, SparseError};
use super::number;
use super::sparse::Map;
use crate::source::xattr::storable;
use daxkit_format::ext4::inode::Timestamp;
use daxkit_format::ext4::xattr::SIZE_MAX;
use std::collections::HashSet;

/// What the extended headers before a member say of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link_path: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<Timestamp>,
    pub(super) atime: Option<Timestamp>,
    pub(super) ctime: Option<Timestamp>,
    pub(super) created: Option<Timestamp>,
    pub(super) dev_major: Option<u32>,
    pub(super) dev_minor: Option<u32>,
    pub(super) flags: Option<Vec<u8>>,
    pub(super) acl_access: Option<Vec<u8>>,
    pub(super) acl_default: Option<Vec<u8>>,
    /// Something of which no image can be made.
    pub(super) unsupported: Option<&'static str>,
    /// Full names and values, in the order of the records.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: SparseRecords,
    pub(super) left_out: Vec<LeftOut>,
    /// libarchive writes each attribute twice, and percent-encodes the names of both.
    of_libarchive: bool,
}

/// `GNU.sparse.*`, in all versions.
#[derive(Debug, Clone, Default)]
pub(super) struct SparseRecords {
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    /// The map of versions 0.0 and 0.1.
    pub(super) map: Option<Map>,
    /// The offset whose length comes next (0.0).
    offset: Option<u64>,
}

/// What cannot be kept of a header's records.
#[derive(Debug, Clone)]
pub(super) enum LeftOut {
    /// An attribute of a foreign namespace.
    Namespace(Vec<u8>),
    /// An attribute with a value of so many bytes.
    Long(Vec<u8>, usize),
    /// An ACL of this kind.
    Acl(&'static str),
    /// A keyword not met before.
    Keyword(Vec<u8>),
}

/// Keywords that are not known and were told of.
pub(super) type Told = HashSet<Vec<u8>>;

/// Most keywords that are told of.
const TOLD: usize = 256;

/// What is wrong in a header's records.
#[derive(Debug)]
pub(super) enum RecordsError {
    Pax(PaxError),
    Sparse(SparseError),
}

impl From<PaxError> for RecordsError {
    fn from(error: PaxError) -> Self {
        Self::Pax(error)
    }
}

impl From<SparseError> for RecordsError {
    fn from(error: SparseError) -> Self {
        Self::Sparse(error)
    }
}

/// Splits a header's data into keywords and values. Zeroes may follow the records.
fn split(data: &[u8]) -> impl Iterator<Item = Result<(&[u8], &[u8]), PaxError>> {
    let mut rest = data;
    std::iter::from_fn(move || {
        if rest.first().is_none_or(|b| *b == 0) && rest.iter().all(|b| *b == 0) {
            return None;
        }
        let Some((record, after)) = split_first(rest) else {
            let offset = data.len() - rest.len();
            rest = &[];
            return Some(Err(PaxError::Record { offset }));
        };
        rest = after;
        Some(Ok(record))
    })
}

type Record<'a> = (&'a [u8], &'a [u8]);

fn split_first(data: &[u8]) -> Option<(Record<'_>, &[u8])> {
    // A length has at most 20 digits.
    let blank = data.iter().take(21).position(|b| *b == b' ')?;
    let len = usize::try_from(number::decimal(data.get(..blank)?).ok()?).ok()?;
    let (record, after) = data.split_at_checked(len)?;
    let text = record.get(blank + 1..)?.strip_suffix(b"\n")?;
    let equals = text.iter().position(|b| *b == b'=')?;
    Some(((text.get(..equals)?, text.get(equals + 1..)?), after))
}

impl Records {
    /// Takes in the records of one header.
    pub(super) fn read(&mut self, data: &[u8], read_xattrs: bool, told: &mut Told) -> Result<(), RecordsError> {
        for record in split(data) {
            let (key, value) = record?;
            if !(self.plain(key, value)? || self.sparse.take(key, value)? || self.attribute(key, value, read_xattrs)?) {
                self.other(key, told);
            }
        }
        Ok(())
    }

    /// Bytes of memory the records take, roughly.
    pub(super) fn weight(&self) -> usize {
        let texts = [&self.path, &self.link_path, &self.flags, &self.acl_access, &self.acl_default, &self.sparse.name];
        let left_out = self.left_out.iter().map(|left_out| match left_out {
            LeftOut::Namespace(name) | LeftOut::Long(name, _) | LeftOut::Keyword(name) => 64 + name.len(),
            LeftOut::Acl(_) => 64,
        });
        texts.into_iter().flatten().map(Vec::len).sum::<usize>()
            + self.xattrs.iter().map(|(name, value)| 64 + name.len() + value.len()).sum::<usize>()
            + self.sparse.map.as_ref().map_or(0, Map::weight)
            + left_out.sum::<usize>()
    }

    fn plain(&mut self, key: &[u8], value: &[u8]) -> Result<bool, PaxError> {
        match key {
            b"path" => self.path = text(value),
            b"linkpath" => self.link_path = text(value),
            b"size" => self.size = decimal(key, value)?,
            b"uid" => self.uid = decimal(key, value)?,
            b"gid" => self.gid = decimal(key, value)?,
            b"mtime" => self.mtime = time(key, value)?,
            b"atime" => self.atime = time(key, value)?,
            b"ctime" => self.ctime = time(key, value)?,
            b"LIBARCHIVE.creationtime" => self.created = time(key, value)?,
            b"SCHILY.devmajor" | b"SUN.devmajor" => self.dev_major = decimal(key, value)?,
            b"SCHILY.devminor" | b"SUN.devminor" => self.dev_minor = decimal(key, value)?,
            b"SCHILY.fflags" => self.flags = text(value),
            b"SUN.holesdata" => self.unsupported = Some("a sparse file in the form of Solaris"),
            b"GNU.volume.filename" | b"GNU.volume.size" | b"GNU.volume.offset" => {
                self.unsupported = Some("a further volume of an archive in several volumes");
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn attribute(&mut self, key: &[u8], value: &[u8], read_xattrs: bool) -> Result<bool, PaxError> {
        let malformed = || value_error(key, value);
        if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
            self.of_libarchive = true;
            if read_xattrs {
                self.xattr(percent_decode(name), base64_decode(value).ok_or_else(malformed)?);
            }
        } else if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            if read_xattrs {
                let decode = if self.of_libarchive { percent_decode } else { percent_decode_gnu };
                self.xattr(decode(name), value.to_vec());
            }
        } else if key == b"RHT.security.selinux" {
            if read_xattrs && !value.is_empty() {
                // The kernel counts the NUL at the end of a context.
                let mut context = value.to_vec();
                if context.last() != Some(&0) {
                    context.push(0);
                }
                self.xattr(b"security.selinux".to_vec(), context);
            }
        } else if let Some(kind) = key.strip_prefix(b"SCHILY.acl.") {
            match kind {
                _ if !read_xattrs => {}
                b"access" => self.acl_access = text(value),
                b"default" => self.acl_default = text(value),
                b"ace" => self.left_out.push(LeftOut::Acl("the NFSv4 ACL")),
                _ => return Ok(false),
            }
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn xattr(&mut self, name: Vec<u8>, value: Vec<u8>) {
        if !storable(&name) || name.contains(&0) {
            self.left_out.push(LeftOut::Namespace(name));
        } else if value.len() > SIZE_MAX as usize {
            self.left_out.push(LeftOut::Long(name, value.len()));
        } else {
            self.xattrs.push((name, value));
        }
    }

    fn other(&mut self, key: &[u8], told: &mut Told) {
        if !says_nothing(key) && told.len() < TOLD && told.insert(key.to_vec()) {
            self.left_out.push(LeftOut::Keyword(key.to_vec()));
        }
    }
}

impl SparseRecords {
    /// True when a record says that the member is a sparse file.
    pub(super) fn is_given(&self) -> bool {
        self.major.is_some() || self.map.is_some()
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<bool, RecordsError> {
        let Some(what) = key.strip_prefix(b"GNU.sparse.") else { return Ok(false) };
        match what {
            b"major" => self.major = decimal(key, value)?,
            b"minor" => self.minor = decimal(key, value)?,
            b"name" => self.name = text(value),
            b"size" | b"realsize" => self.real_size = decimal(key, value)?,
            // The number of entries says nothing that the entries do not say.
            b"numblocks" => {}
            b"offset" => {
                let map = self.map.get_or_insert_default();
                if self.offset.is_some() {
                    return Err(SparseError::Half { index: map.len() }.into());
                }
                let index = map.len();
                self.offset = Some(number::decimal(value).map_err(|_| SparseError::Number { index })?);
            }
            b"numbytes" => {
                let map = self.map.get_or_insert_default();
                let index = map.len();
                let len = number::decimal(value).map_err(|_| SparseError::Number { index })?;
                map.push(self.offset.take().ok_or(SparseError::Half { index })?, len)?;
            }
            b"map" => self.map = Some(Map::from_commas(value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The map of versions 0.0 and 0.1, complete.
    pub(super) fn take_map(&mut self) -> Result<Option<Map>, SparseError> {
        match (self.offset, self.map.take()) {
            (Some(_), map) => Err(SparseError::Half { index: map.map_or(0, |map| map.len()) }),
            (None, map) => Ok(map),
        }
    }
}

/// Keywords that are known and of no use to an image.
fn says_nothing(key: &[u8]) -> bool {
    let of_star = |key: &[u8]| {
        matches!(
            key,
            b"dev"
                | b"dir"
                | b"filetype"
                | b"ino"
                | b"nlink"
                | b"offset"
                | b"realsize"
                | b"tarfiletype"
                | b"archtype"
                | b"release"
        ) || key.starts_with(b"volhdr.")
    };
    matches!(key, b"uname" | b"gname" | b"charset" | b"comment" | b"hdrcharset" | b"GNU.dumpdir" | b"GNU.volume.label")
        || key.strip_prefix(b"SCHILY.").is_some_and(of_star)
}

fn text(value: &[u8]) -> Option<Vec<u8>> {
    (!value.is_empty()).then(|| value.to_vec())
}

fn decimal<T: TryFrom<u64>>(key: &[u8], value: &[u8]) -> Result<Option<T>, PaxError> {
    if value.is_empty() {
        return Ok(None);
    }
    let number = number::decimal(value).ok().and_then(|n| T::try_from(n).ok());
    number.map(Some).ok_or_else(|| value_error(key, value))
}

fn time(key: &[u8], value: &[u8]) -> Result<Option<Timestamp>, PaxError> {
    if value.is_empty() { Ok(None) } else { number::time(value).map(Some).map_err(|_| value_error(key, value)) }
}

fn value_error(key: &[u8], value: &[u8]) -> PaxError {
    PaxError::Value { key: key.to_vec(), value: value.get(..64).unwrap_or(value).to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: &[u8]) -> Vec<u8> {
        let rest = key.len() + value.len() + 3;
        let len = (1..).find(|digits| (rest + digits).to_string().len() == *digits).unwrap() + rest;
        [format!("{len} {key}=").as_bytes(), value, b"\n"].concat()
    }

    fn read(data: &[u8]) -> Result<Records, RecordsError> {
        let mut records = Records::default();
        records.read(data, true, &mut Told::new()).map(|()| records)
    }

    #[test]
    fn values_hold_any_byte() {
        let value = b"a\n9 x=\0\xff=";
        let data = [record("SCHILY.xattr.user.a", value), record("path", b"p\nq"), vec![0; 9]].concat();
        let records = read(&data).unwrap();
        assert_eq!(records.xattrs, [(b"user.a".to_vec(), value.to_vec())]);
        assert_eq!(records.path.unwrap(), b"p\nq");
    }

    #[test]
    fn malformed_records_are_named_by_their_offset() {
        for (data, offset) in [
            (&b"x"[..], 0),
            (b"9 path=ab", 0),
            (b"0 path=a\n", 0),
            (b"5 ab\n", 0),
            (b"99999999999999999999 a=\n", 0),
            (b"184467440737095516150 a=\n", 0),
            (b"9 path=a\n9 path=ab\n", 9),
            (b"9 path=a\n\0\0x", 9),
        ] {
            let Err(RecordsError::Pax(error)) = read(data) else { panic!("{} is taken", data.escape_ascii()) };
            assert_eq!(error, PaxError::Record { offset }, "{}", data.escape_ascii());
        }
    }

    #[test]
    fn an_empty_value_takes_back() {
        let data = [record("uid", b"5"), record("uid", b""), record("path", b"a"), record("path", b"")].concat();
        let records = read(&data).unwrap();
        assert_eq!((records.uid, records.path), (None, None));
    }

    #[test]
    fn names_of_attributes_are_decoded_as_their_writer_encoded_them() {
        let gnu = record("SCHILY.xattr.user.a%3Db%41", b"1");
        assert_eq!(read(&gnu).unwrap().xattrs, [(b"user.a=b%41".to_vec(), b"1".to_vec())]);
        let libarchive = [record("LIBARCHIVE.xattr.user.%C3%A9", b"MQ"), record("SCHILY.xattr.user.%C3%A9", b"1")];
        let both = ("user.\u{e9}".as_bytes().to_vec(), b"1".to_vec());
        assert_eq!(read(&libarchive.concat()).unwrap().xattrs, [both.clone(), both]);
    }

    #[test]
    fn what_cannot_be_kept_is_told() {
        let data = [
            record("SCHILY.xattr.system.nfs4_acl", b"1"),
            record("SCHILY.xattr.user.a", &[0; 65537]),
            record("SCHILY.acl.ace", b"x"),
            record("VENDOR.x", b"1"),
            record("VENDOR.x", b"2"),
            record("comment", b"c"),
        ]
        .concat();
        let records = read(&data).unwrap();
        assert!(matches!(
            &records.left_out[..],
            [LeftOut::Namespace(a), LeftOut::Long(b, 65537), LeftOut::Acl(_), LeftOut::Keyword(c)]
                if a == b"system.nfs4_acl" && b == b"user.a" && c == b"VENDOR.x"
        ));
        assert!(records.xattrs.is_empty());
    }

    #[test]
    fn values_that_cannot_be_are_refused() {
        for (key, value) in [
            ("uid", "-1"),
            ("uid", "4294967296"),
            ("size", "18446744073709551616"),
            ("mtime", "soon"),
            ("LIBARCHIVE.xattr.user.a", "*"),
        ] {
            let Err(RecordsError::Pax(error)) = read(&record(key, value.as_bytes())) else { panic!("{key}={value}") };
            assert_eq!(error, PaxError::Value { key: key.into(), value: value.into() });
        }
    }
}
