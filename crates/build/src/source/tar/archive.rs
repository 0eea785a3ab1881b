//! The archive from its first header to its end: headers that speak of the next member are gathered until it comes.

use super::compression::{self, Compression};
use super::content::{ContentFile, Seen};
use super::error::TarError;
use super::feed::Feed;
use super::header::{self, Header, is_zero};
use super::medium::{Cancelled, FileMedium, Medium, StreamMedium};
use super::notice::{Notice, Notices};
use super::pax::{LeftOut, Records, RecordsError, Told};
use super::spool::Spool;
use super::{Member, TarInput, TarOptions};
use crate::source::host;
use crate::source::tree::Kind;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

/// Most bytes of extended headers before one member: far more than all attributes that Linux can list.
const EXTENDED_LIMIT: u64 = 8 << 20;
/// Most bytes that global headers may leave for every member.
const GLOBAL_LIMIT: u64 = 64 << 10;
/// Longest name: far more than any path.
const NAME_LIMIT: u64 = 1 << 20;

/// A tar archive, read from front to end.
pub struct Archive {
    pub(super) medium: Medium,
    pub(super) options: TarOptions,
    pub(super) notices: Notices,
    /// An extended header was met, so that this is a PAX archive.
    pub(super) is_pax: bool,
    /// A plain file as it was.
    seen: Option<Seen>,
    /// What global headers say of every member.
    global: Records,
    told: Told,
    /// Data of an extended header.
    data: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Members,
    Ended,
    Failed,
}

/// What headers before a member say of it.
#[derive(Default)]
pub(super) struct Pending {
    /// Where the first of them begins.
    pub(super) at: Option<u64>,
    /// GNU's long name.
    pub(super) name: Option<Vec<u8>>,
    /// GNU's long name of a link's target.
    pub(super) link: Option<Vec<u8>>,
    records: Option<Records>,
    /// Bytes of extended headers.
    extended: u64,
}

impl Archive {
    /// Opens an archive and tells by its first bytes how it is compressed.
    ///
    /// # Errors
    /// It cannot be opened, it is empty, it is no tar archive, or compressed in a way that is not undone here.
    pub fn open(input: TarInput<'_>, options: TarOptions) -> Result<Self, TarError> {
        match input {
            TarInput::Path(path) => Self::open_path(path, options),
            TarInput::Stream(mut reader) => {
                let head = compression::head(&mut reader).map_err(|source| TarError::Read { source })?;
                Self::stream(head, reader, options)
            }
        }
    }

    fn open_path(path: &Path, options: TarOptions) -> Result<Self, TarError> {
        let error = |source| TarError::Open { path: path.to_path_buf(), source };
        let mut file = File::open(path).map_err(error)?;
        let stat = host::stat(&file, c"").map_err(|e| error(e.into()))?;
        let kind = stat.as_ref().map(|stat| stat.kind);
        if kind == Some(Kind::Dir) {
            return Err(TarError::Directory { path: path.to_path_buf() });
        }
        let head = compression::head(&mut file).map_err(|source| TarError::Read { source })?;
        match stat {
            Some(stat) if stat.kind == Kind::File && Compression::of(&head)? == Compression::Plain => {
                let seen = Seen::new(path, &stat);
                Ok(Self::new(Medium::File(FileMedium::new(file, stat.size)), Some(seen), options))
            }
            _ => Self::stream(head, file, options),
        }
    }

    fn stream(head: Vec<u8>, rest: impl Read + Send + 'static, options: TarOptions) -> Result<Self, TarError> {
        let compression = Compression::of(&head)?;
        let feed = Feed::start(Box::new(Cursor::new(head).chain(rest)), compression)?;
        let spool = Spool::new(&options.spool_dir)?;
        Ok(Self::new(Medium::Stream(StreamMedium::new(feed, spool)), None, options))
    }

    fn new(medium: Medium, seen: Option<Seen>, options: TarOptions) -> Self {
        Self {
            medium,
            options,
            notices: Notices::default(),
            is_pax: false,
            seen,
            global: Records::default(),
            told: Told::new(),
            data: Vec::new(),
            state: State::Members,
        }
    }

    /// The next member; `None` at the end. `cancelled` is asked now and then whether to stop. After an error nothing more
    /// comes out of the archive.
    ///
    /// # Errors
    /// The archive cannot be read or decompressed, is damaged, or holds what is not supported; or it was cancelled.
    pub fn next_member(&mut self, cancelled: &dyn Fn() -> bool) -> Result<Option<Member>, TarError> {
        match self.state {
            State::Members => {}
            State::Ended => return Ok(None),
            State::Failed => return Err(TarError::Unfinished),
        }
        let next = self.next(cancelled);
        match &next {
            Ok(Some(_)) => {}
            Ok(None) => self.state = State::Ended,
            Err(_) => self.state = State::Failed,
        }
        next
    }

    /// What was left out or is strange in the members that came since this was asked last. Of more than a thousand only
    /// the number is told.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        self.notices.take()
    }

    /// The file that holds the members' content.
    ///
    /// # Errors
    /// The last member was not read; the archive was written to meanwhile, or what was put aside cannot be written.
    pub fn finish(self) -> Result<ContentFile, TarError> {
        if self.state != State::Ended {
            return Err(TarError::Unfinished);
        }
        let file = self.medium.finish()?;
        if let Some(seen) = &self.seen
            && !seen.is_same(&file).map_err(|source| TarError::Read { source })?
        {
            return Err(TarError::Changed { path: seen.path.clone() });
        }
        Ok(ContentFile::new(file, self.seen))
    }

    fn next(&mut self, cancelled: Cancelled<'_>) -> Result<Option<Member>, TarError> {
        let mut pending = Pending::default();
        loop {
            if cancelled() {
                return Err(TarError::Cancelled);
            }
            let Some(header) = self.header(cancelled)? else {
                return match pending.at {
                    Some(at) => Err(TarError::Dangling { at }),
                    None => {
                        self.medium.drain(cancelled)?;
                        Ok(None)
                    }
                };
            };
            // What stands before a member that is left out speaks of that one.
            let left_out = match header.typeflag() {
                b'L' => {
                    pending.name = Some(self.long_name(&header, cancelled)?);
                    pending.at.get_or_insert(header.at);
                    continue;
                }
                b'K' => {
                    pending.link = Some(self.long_name(&header, cancelled)?);
                    pending.at.get_or_insert(header.at);
                    continue;
                }
                b'x' | b'X' => {
                    self.extended(&header, &mut pending, cancelled)?;
                    pending.at.get_or_insert(header.at);
                    continue;
                }
                b'g' => {
                    self.global(&header, cancelled)?;
                    continue;
                }
                b'V' => None,
                b'N' => Some("a table of long names in an old form of GNU tar"),
                b'A' => Some("an ACL in the form of Solaris"),
                b'E' => Some("an extended attribute in the form of Solaris"),
                _ => return self.member(&header, pending, cancelled).map(Some),
            };
            if let Some(what) = left_out {
                self.notices.add(Notice::Skipped { what, member: header.name() });
            }
            self.pass(&header, cancelled)?;
            pending = Pending::default();
        }
    }

    /// The next header; `None` at the end of the archive.
    fn header(&mut self, cancelled: Cancelled<'_>) -> Result<Option<Header>, TarError> {
        let at = self.medium.at();
        let block = match self.medium.peek(cancelled)? {
            Ok(block) => block,
            Err(rest) if rest.is_empty() && at == 0 => return Err(TarError::Empty),
            Err(_) if at == 0 => return Err(TarError::NotTar),
            Err(rest) if rest.iter().all(|b| *b == 0) => {
                self.notices.add(Notice::NoEnd { at });
                return Ok(None);
            }
            Err(_) => return Err(TarError::Truncated { member: Vec::new(), part: "the header", at }),
        };
        if let Some(header) = Header::new(&block, at) {
            self.medium.block(cancelled)?;
            return Ok(Some(header));
        }
        if !is_zero(&block) {
            return Err(if at == 0 { TarError::NotTar } else { TarError::Checksum { at } });
        }
        self.medium.block(cancelled)?;
        let end = match self.medium.peek(cancelled)? {
            Ok(block) => is_zero(&block),
            Err(rest) => rest.iter().all(|b| *b == 0),
        };
        if end { Ok(None) } else { Err(TarError::LoneZeroBlock { at }) }
    }

    /// Reads the data of a header that speaks of others.
    fn data(
        &mut self,
        header: &Header,
        what: &'static str,
        limit: u64,
        cancelled: Cancelled<'_>,
    ) -> Result<Vec<u8>, TarError> {
        let len = header.size()?;
        if len > limit {
            return Err(TarError::TooLong { at: header.at, what, len, limit });
        }
        let mut data = std::mem::take(&mut self.data);
        data.clear();
        if !self.medium.read(len, &mut data, cancelled)? {
            return Err(TarError::Truncated { member: Vec::new(), part: what, at: header.at });
        }
        self.medium.skip_padding(len, cancelled)?;
        Ok(data)
    }

    fn long_name(&mut self, header: &Header, cancelled: Cancelled<'_>) -> Result<Vec<u8>, TarError> {
        let data = self.data(header, "a long name", NAME_LIMIT, cancelled)?;
        let name = header::before_nul(&data).to_vec();
        self.data = data;
        Ok(name)
    }

    fn extended(&mut self, header: &Header, pending: &mut Pending, cancelled: Cancelled<'_>) -> Result<(), TarError> {
        self.is_pax = true;
        let limit = EXTENDED_LIMIT - pending.extended;
        let data = self.data(header, "an extended header", limit, cancelled)?;
        pending.extended += data.len() as u64;
        let mut records = self.records(pending);
        let read = records.read(&data, self.options.read_xattrs, &mut self.told);
        self.data = data;
        read.map_err(|error| records_error(error, header.at, &records))?;
        pending.records = Some(records);
        Ok(())
    }

    /// What the records before a member say of it, the global ones among them.
    pub(super) fn records(&self, pending: &mut Pending) -> Records {
        pending.records.take().unwrap_or_else(|| self.global.clone())
    }

    fn global(&mut self, header: &Header, cancelled: Cancelled<'_>) -> Result<(), TarError> {
        self.is_pax = true;
        let data = self.data(header, "a global header", EXTENDED_LIMIT, cancelled)?;
        let read = self.global.read(&data, self.options.read_xattrs, &mut self.told);
        self.data = data;
        read.map_err(|error| records_error(error, header.at, &self.global))?;
        let left_out = std::mem::take(&mut self.global.left_out);
        self.tell(left_out, &header.name());
        let len = self.global.weight() as u64;
        if len > GLOBAL_LIMIT {
            let what = "what global headers say of every member";
            return Err(TarError::TooLong { at: header.at, what, len, limit: GLOBAL_LIMIT });
        }
        Ok(())
    }

    /// Passes over a header's data.
    fn pass(&mut self, header: &Header, cancelled: Cancelled<'_>) -> Result<(), TarError> {
        let len = header.size()?;
        if !self.medium.skip(len, cancelled)? {
            return Err(TarError::Truncated { member: header.name(), part: "the content", at: header.at });
        }
        self.medium.skip_padding(len, cancelled)
    }

    /// Tells what could not be kept of a member's records.
    pub(super) fn tell(&mut self, left_out: Vec<LeftOut>, member: &[u8]) {
        for left_out in left_out {
            let member = member.to_vec();
            self.notices.add(match left_out {
                LeftOut::Namespace(name) => Notice::Xattr { name, member },
                LeftOut::Long(name, len) => Notice::LongXattr { name, len, member },
                LeftOut::Acl(what) => Notice::Acl { what, member },
                LeftOut::Keyword(key) => Notice::Record { key, member },
            });
        }
    }
}

fn records_error(error: RecordsError, at: u64, records: &Records) -> TarError {
    match error {
        RecordsError::Pax(source) => TarError::Pax { at, source },
        RecordsError::Sparse(source) => {
            let member = records.sparse.name.as_ref().or(records.path.as_ref()).cloned().unwrap_or_default();
            TarError::Sparse { member, at, source }
        }
    }
}
