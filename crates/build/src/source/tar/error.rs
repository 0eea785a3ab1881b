//! What can be wrong with an archive. Each message is one line whatever the archive holds. Places are bytes of the archive
//! as it was before it was compressed. The archive itself is named only where a path is all there is to say: whoever opened
//! it knows what to call it.

use daxkit_format::ext4::acl::AclError;
use daxkit_format::field::quote;
use std::io;
use std::path::PathBuf;

/// Why an archive could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The archive cannot be opened.
    #[error("cannot open {path:?}: {source}")]
    Open {
        /// Its path.
        path: PathBuf,
        /// The host's reason.
        source: io::Error,
    },
    /// It is a directory.
    #[error("{path:?} is a directory, not an archive")]
    Directory {
        /// Its path.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("cannot read the archive: {source}")]
    Read {
        /// The host's reason.
        source: io::Error,
    },
    /// Content cannot be put aside.
    #[error("cannot {what} a temporary file in {dir:?}: {source}")]
    Spool {
        /// What was tried.
        what: &'static str,
        /// Where.
        dir: PathBuf,
        /// The host's reason.
        source: io::Error,
    },
    /// The thread that reads the archive could not be started, or did not come to an end.
    #[error("cannot run a thread that reads the archive: {source}")]
    Thread {
        /// The host's reason.
        source: io::Error,
    },
    /// Not one byte.
    #[error("the archive is empty, without even the zeroes that end one")]
    Empty,
    /// It does not begin with a header.
    #[error("not a tar archive: what it begins with is not a header, and not gzip or zstd")]
    NotTar,
    /// A compression that is not undone here.
    #[error("compressed with {format}, which is not read directly; use {program} -dc FILE | ... -d -")]
    Compressed {
        /// What it is called.
        format: &'static str,
        /// The program that undoes it.
        program: &'static str,
    },
    /// The compressed stream is damaged, cut off, or followed by something else.
    #[error("cannot decompress the archive: {format}: {source}")]
    Decompress {
        /// What it is called.
        format: &'static str,
        /// The decompressor's reason.
        source: io::Error,
    },
    /// The archive ends inside a member.
    #[error("the archive ends early: {part} of {} is cut off", name(.member, .at))]
    Truncated {
        /// The member's name; empty when its header is not complete.
        member: Vec<u8>,
        /// What of it is cut off.
        part: &'static str,
        /// Where its first header begins.
        at: u64,
    },
    /// Neither a header nor zeroes stand where a member has to begin.
    #[error("damaged archive: what stands at byte {at} is not a header, its checksum is wrong")]
    Checksum {
        /// Where.
        at: u64,
    },
    /// One block of zeroes ends nothing, and what follows it is not another one.
    #[error("damaged archive: a single block of zeroes at byte {at} is followed by other data")]
    LoneZeroBlock {
        /// Where the zeroes are.
        at: u64,
    },
    /// Headers that say something of the next member, and no next member.
    #[error("damaged archive: the extended header at byte {at} belongs to no member")]
    Dangling {
        /// Where the first of them begins.
        at: u64,
    },
    /// A field of a header holds no number.
    #[error("the header at byte {at}: {field} is not a number: {}", text.escape_ascii())]
    Field {
        /// Where the header begins.
        at: u64,
        /// The field, as POSIX calls it.
        field: &'static str,
        /// What stands there.
        text: Vec<u8>,
    },
    /// A field of a header holds a number it cannot mean.
    #[error("the header at byte {at}: {field} is {number}, which is out of range")]
    Range {
        /// Where the header begins.
        at: u64,
        /// The field, as POSIX calls it.
        field: &'static str,
        /// What it says.
        number: i64,
    },
    /// A header that is longer than any that can be meant.
    #[error("the header at byte {at}: {what} of {len} bytes is too long, {limit} is the limit")]
    TooLong {
        /// Where the header begins.
        at: u64,
        /// What it holds.
        what: &'static str,
        /// Its length.
        len: u64,
        /// The most that is read.
        limit: u64,
    },
    /// An extended header is malformed.
    #[error("the extended header at byte {at}: {source}")]
    Pax {
        /// Where it begins.
        at: u64,
        /// What is wrong with it.
        source: PaxError,
    },
    /// The map of a sparse file is wrong.
    #[error("{}: the map of the sparse file {source}", name(.member, .at))]
    Sparse {
        /// The member's name.
        member: Vec<u8>,
        /// Where its first header begins.
        at: u64,
        /// What is wrong with it.
        source: SparseError,
    },
    /// An ACL cannot be understood, or means nothing the kernel would store.
    #[error("{}: the {which} ACL: {source}", name(.member, .at))]
    Acl {
        /// The member's name.
        member: Vec<u8>,
        /// Where its first header begins.
        at: u64,
        /// `access` or `default`.
        which: &'static str,
        /// What is wrong with it.
        source: AclTextError,
    },
    /// What is right and not supported.
    #[error("{}: {what} is not supported", name(.member, .at))]
    Unsupported {
        /// The member's name.
        member: Vec<u8>,
        /// Where its first header begins.
        at: u64,
        /// What it is.
        what: &'static str,
    },
    /// The archive was written to while it was read.
    #[error("{path:?} changed while it was read")]
    Changed {
        /// Its path.
        path: PathBuf,
    },
    /// The content was asked for before the last member was read.
    #[error("the archive was not read to its end")]
    Unfinished,
    /// It was told to stop.
    #[error("cancelled")]
    Cancelled,
}

fn name(member: &[u8], at: &u64) -> String {
    if member.is_empty() { format!("the member at byte {at}") } else { quote(member) }
}

/// What is wrong with an extended header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PaxError {
    /// Not a length, a blank, a keyword, an equals sign, a value and a line feed.
    #[error("its record at offset {offset} is malformed")]
    Record {
        /// Offset in the header's data.
        offset: usize,
    },
    /// A value is not what its keyword asks for.
    #[error("{} has a value that it cannot have: {}", quote(.key), quote(.value))]
    Value {
        /// The keyword.
        key: Vec<u8>,
        /// The value, as far as it can be shown.
        value: Vec<u8>,
    },
}

/// What is wrong with the map of a sparse file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SparseError {
    /// More entries than are read.
    #[error("has more than {limit} entries")]
    TooMany {
        /// The most that are read.
        limit: usize,
    },
    /// Not a number, or one beyond 64 bits.
    #[error("holds something that is not a number in entry {index}")]
    Number {
        /// Which entry, from 0.
        index: usize,
    },
    /// An offset without a length, or a length without an offset.
    #[error("has half an entry, number {index}")]
    Half {
        /// Which entry, from 0.
        index: usize,
    },
    /// An entry begins before the one in front of it ends.
    #[error("is out of order or overlaps in entry {index}")]
    Order {
        /// Which entry, from 0.
        index: usize,
    },
    /// An entry ends past the end of the file.
    #[error("leaves the file in entry {index}, whose size is {size}")]
    PastEnd {
        /// Which entry, from 0.
        index: usize,
        /// Size of the file.
        size: u64,
    },
    /// The entries together have more data than the member.
    #[error("tells of {mapped} bytes of data, of which the archive holds {stored}")]
    Data {
        /// Bytes the entries tell of.
        mapped: u64,
        /// Bytes there are.
        stored: u64,
    },
    /// A map in front of the data is longer than map and data together.
    #[error("is longer than the member")]
    TooLong,
    /// The size of the file is not given.
    #[error("comes without the size of the file")]
    NoSize,
    /// The size of the file is given, and no map.
    #[error("is missing")]
    NoMap,
    /// A version nobody knows.
    #[error("is of version {major}.{minor}, which is not known")]
    Version {
        /// `GNU.sparse.major`.
        major: u64,
        /// `GNU.sparse.minor`.
        minor: u64,
    },
}

/// What is wrong with an ACL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AclTextError {
    /// An entry is not of the form `acl(5)` describes.
    #[error("{} is not an entry", quote(.entry))]
    Entry {
        /// The entry.
        entry: Vec<u8>,
    },
    /// A user or a group is named of whom no number is known.
    #[error("no number is known for the {kind} {}", quote(.name))]
    Unknown {
        /// `user` or `group`.
        kind: &'static str,
        /// The name.
        name: Vec<u8>,
    },
    /// The entries together are no ACL that the kernel would take.
    #[error(transparent)]
    Invalid(#[from] AclError),
}
