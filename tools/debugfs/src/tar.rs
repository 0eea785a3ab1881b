//! Writing tar archives: POSIX headers, pax records for what they have no room for, GNU's sparse files (format 1.0).

use daxkit_format::ext4::inode::Timestamp;
use std::io::{self, Write};
use std::ops::Range;

/// Bytes of a record: headers and content are padded to it.
const RECORD: u64 = 512;

/// Largest number in the seven octal digits of owners, modes and device numbers.
const SEVEN: u64 = 0o7_777_777;

/// Largest number in the eleven octal digits of sizes and times.
const ELEVEN: u64 = 0o77_777_777_777;

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    Char,
    Block,
    Dir,
    Fifo,
}

impl Kind {
    fn flag(self) -> u8 {
        match self {
            Self::File => b'0',
            Self::HardLink => b'1',
            Self::Symlink => b'2',
            Self::Char => b'3',
            Self::Block => b'4',
            Self::Dir => b'5',
            Self::Fifo => b'6',
        }
    }
}

/// A member but for its content.
#[derive(Debug, Clone)]
pub(crate) struct Member<'a> {
    pub(crate) kind: Kind,
    pub(crate) name: &'a [u8],
    pub(crate) link: &'a [u8],
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) mtime: Timestamp,
    pub(crate) device: (u32, u32),
    /// Further pax records: keyword and value.
    pub(crate) records: Vec<(Vec<u8>, Vec<u8>)>,
}

/// An archive being written.
pub(crate) struct Archive<W> {
    out: W,
    /// Bytes of content that the present member still gets.
    padding: u64,
}

impl<W: Write> Archive<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, padding: 0 }
    }

    /// Begins a member of `size` bytes, which then come through [`Archive::content`].
    pub(crate) fn member(&mut self, member: &Member<'_>, size: u64) -> io::Result<()> {
        self.put(member, member.name, size)
    }

    /// Begins a file of `size` bytes with holes; what comes are the bytes of `ranges`, one after the other.
    pub(crate) fn sparse(&mut self, member: &Member<'_>, size: u64, ranges: &[Range<u64>]) -> io::Result<()> {
        let mut map = format!("{}\n", ranges.len());
        for range in ranges {
            map.push_str(&format!("{}\n{}\n", range.start, range.end - range.start));
        }
        let mut map = map.into_bytes();
        map.resize((map.len() as u64).next_multiple_of(RECORD) as usize, 0);
        let mut member = member.clone();
        for (keyword, value) in [
            (&b"GNU.sparse.major"[..], b"1".to_vec()),
            (b"GNU.sparse.minor", b"0".to_vec()),
            (b"GNU.sparse.name", member.name.to_vec()),
            (b"GNU.sparse.realsize", size.to_string().into_bytes()),
        ] {
            member.records.push((keyword.to_vec(), value));
        }
        let stored: u64 = ranges.iter().map(|r| r.end - r.start).sum();
        let name = [b"GNUSparseFile.0/", member.name].concat();
        self.put(&member, &name, map.len() as u64 + stored)?;
        self.content(&map)
    }

    fn put(&mut self, member: &Member<'_>, name: &[u8], size: u64) -> io::Result<()> {
        let mut records: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut record = |keyword: &str, value: Vec<u8>| records.push((keyword.as_bytes().to_vec(), value));
        let (uid, gid) = (u64::from(member.owner.0), u64::from(member.owner.1));
        if [name, member.link].iter().any(|n| std::str::from_utf8(n).is_err()) {
            record("hdrcharset", b"BINARY".to_vec());
        }
        if name.len() > 100 {
            record("path", name.to_vec());
        }
        if member.link.len() > 100 {
            record("linkpath", member.link.to_vec());
        }
        for (keyword, id) in [("uid", uid), ("gid", gid)] {
            if id > SEVEN {
                record(keyword, id.to_string().into_bytes());
            }
        }
        if size > ELEVEN {
            record("size", size.to_string().into_bytes());
        }
        let seconds = u64::try_from(member.mtime.seconds).ok().filter(|s| *s <= ELEVEN);
        if member.mtime.nanos != 0 || seconds.is_none() {
            record("mtime", pax_time(member.mtime).into_bytes());
        }
        records.extend(member.records.iter().cloned());
        if !records.is_empty() {
            let body: Vec<u8> = records.iter().flat_map(|(keyword, value)| pax_record(keyword, value)).collect();
            let base = name.rsplit(|b| *b == b'/').find(|n| !n.is_empty()).unwrap_or_default();
            let pax_name = [b"PaxHeaders/", base.get(..base.len().min(80)).unwrap_or_default()].concat();
            let head = header(b'x', &pax_name, b"", 0o644, (0, 0), body.len() as u64, 0, None);
            self.out.write_all(&head)?;
            self.padding = (body.len() as u64).next_multiple_of(RECORD);
            self.content(&body)?;
            self.end_member()?;
        }
        let device = matches!(member.kind, Kind::Char | Kind::Block).then_some(member.device);
        let small = |id: u64| if id > SEVEN { 0 } else { id };
        let size_field = if size > ELEVEN { 0 } else { size };
        let head = header(
            member.kind.flag(),
            name,
            member.link,
            member.mode.into(),
            (small(uid), small(gid)),
            size_field,
            seconds.unwrap_or(0),
            device,
        );
        self.out.write_all(&head)?;
        self.padding = size.next_multiple_of(RECORD);
        Ok(())
    }

    /// The next bytes of the member's content.
    pub(crate) fn content(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.padding = self.padding.saturating_sub(bytes.len() as u64);
        self.out.write_all(bytes)
    }

    /// Ends a member; content that did not come is zero.
    pub(crate) fn end_member(&mut self) -> io::Result<()> {
        while self.padding > 0 {
            let n = self.padding.min(RECORD);
            self.out.write_all(&[0; RECORD as usize][..n as usize])?;
            self.padding -= n;
        }
        Ok(())
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 1024])?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// A POSIX header. Numbers fit, names are cut where a pax record has the whole.
#[expect(clippy::too_many_arguments, reason = "the fields of one structure")]
fn header(
    flag: u8,
    name: &[u8],
    link: &[u8],
    mode: u64,
    (uid, gid): (u64, u64),
    size: u64,
    mtime: u64,
    device: Option<(u32, u32)>,
) -> [u8; RECORD as usize] {
    let mut head = [0; RECORD as usize];
    let mut put = |at: usize, len: usize, bytes: &[u8]| {
        head.iter_mut().skip(at).take(len).zip(bytes).for_each(|(to, from)| *to = *from);
    };
    let octal = |digits: usize, n: u64| format!("{n:0digits$o}").into_bytes();
    put(0, 100, name);
    put(100, 8, &octal(7, mode));
    put(108, 8, &octal(7, uid));
    put(116, 8, &octal(7, gid));
    put(124, 12, &octal(11, size));
    put(136, 12, &octal(11, mtime));
    put(148, 8, b"        ");
    put(156, 1, &[flag]);
    put(157, 100, link);
    put(257, 8, b"ustar\x0000");
    if let Some((major, minor)) = device {
        put(329, 8, &octal(7, major.into()));
        put(337, 8, &octal(7, minor.into()));
    }
    let sum: u64 = head.iter().map(|b| u64::from(*b)).sum();
    let sum = format!("{sum:06o}\0 ");
    head.iter_mut().skip(148).zip(sum.bytes()).for_each(|(to, from)| *to = from);
    head
}

/// `LENGTH KEYWORD=VALUE\n`, the length counting itself.
fn pax_record(keyword: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = keyword.len() + value.len() + 3;
    let mut len = rest + 1;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    [len.to_string().as_bytes(), b" ", keyword, b"=", value, b"\n"].concat()
}

/// Seconds with a fraction; before 1970 the fraction counts the other way.
fn pax_time(t: Timestamp) -> String {
    // Images can hold more nanoseconds than a second has.
    let total = i128::from(t.seconds) * 1_000_000_000 + i128::from(t.nanos.min(999_999_999));
    let (sign, total) = if total < 0 { ("-", -total) } else { ("", total) };
    let text = format!("{sign}{}.{:09}", total / 1_000_000_000, total % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_length() {
        assert_eq!(pax_record(b"uid", b"100000"), b"14 uid=100000\n");
        for n in 0..200 {
            let record = pax_record(b"k", &vec![b'v'; n]);
            let digits = record.iter().position(|b| *b == b' ').unwrap();
            let told: usize = std::str::from_utf8(&record[..digits]).unwrap().parse().unwrap();
            assert_eq!(told, record.len());
        }
    }

    #[test]
    fn times_before_1970_have_their_fraction() {
        let time = |seconds, nanos| pax_time(Timestamp { seconds, nanos });
        assert_eq!(
            (time(5, 0), time(5, 500_000_000), time(-1, 250_000_000)),
            ("5".into(), "5.5".into(), "-0.75".into())
        );
    }
}
