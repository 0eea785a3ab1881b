//! What was left out of an archive, and what is strange in it: lines of warning.

use daxkit_format::field::quote;
use std::fmt;

/// Notices kept until somebody takes them; of more only the number.
const KEPT: usize = 1000;

/// Something a user should hear of. Its text is one line whatever the archive holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A record of an extended header that nobody here knows. Told once for each keyword.
    Record {
        /// Its keyword.
        key: Vec<u8>,
        /// The first member that has it.
        member: Vec<u8>,
    },
    /// An extended attribute of a namespace ext4 cannot store.
    Xattr {
        /// Its full name.
        name: Vec<u8>,
        /// Whose.
        member: Vec<u8>,
    },
    /// An extended attribute whose value is longer than Linux allows.
    LongXattr {
        /// Its full name.
        name: Vec<u8>,
        /// Bytes of its value.
        len: usize,
        /// Whose.
        member: Vec<u8>,
    },
    /// An ACL that has no place in the image.
    Acl {
        /// What it is.
        what: &'static str,
        /// Whose.
        member: Vec<u8>,
    },
    /// A file flag that ext4 does not have, or not on this kind of member.
    Flag {
        /// As the archive calls it.
        name: Vec<u8>,
        /// Whose.
        member: Vec<u8>,
    },
    /// A type POSIX does not know; it says to take the member for a file.
    TakenForFile {
        /// The type in the header.
        typeflag: u8,
        /// Which member.
        member: Vec<u8>,
    },
    /// A member that says something no image can hold.
    Skipped {
        /// What it is.
        what: &'static str,
        /// Its name.
        member: Vec<u8>,
    },
    /// The archive ends behind a member, without blocks of zeroes: whole, or cut off just there.
    NoEnd {
        /// Its length.
        at: u64,
    },
    /// More than are kept.
    More {
        /// How many.
        count: u64,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record { key, member } => {
                write!(f, "ignored records {}, which are not known (first of {})", quote(key), quote(member))
            }
            Self::Xattr { name, member } => {
                let (name, member) = (quote(name), quote(member));
                write!(f, "left out attribute {name} of {member}: ext4 has no place for its namespace")
            }
            Self::LongXattr { name, len, member } => {
                let (name, member) = (quote(name), quote(member));
                write!(f, "left out attribute {name} of {member}: its value has {len} bytes, Linux allows 65536")
            }
            Self::Acl { what, member } => write!(f, "left out {what} of {}", quote(member)),
            Self::Flag { name, member } => {
                write!(f, "left out flag {} of {}: ext4 has no such flag for it", quote(name), quote(member))
            }
            Self::TakenForFile { typeflag, member } => {
                let member = quote(member);
                write!(f, "took {member} for a file: its type '{}' is not known", typeflag.escape_ascii())
            }
            Self::Skipped { what, member } => write!(f, "left out {}: {what}", quote(member)),
            Self::NoEnd { at } => {
                write!(f, "the archive has no end: its last member ends with it, at byte {at}; it may be cut off")
            }
            Self::More { count } => write!(f, "{count} more notices of the same kinds"),
        }
    }
}

/// Notices that wait to be taken.
#[derive(Default)]
pub(super) struct Notices {
    list: Vec<Notice>,
    more: u64,
}

impl Notices {
    pub(super) fn add(&mut self, notice: Notice) {
        if self.list.len() < KEPT {
            self.list.push(notice);
        } else {
            self.more += 1;
        }
    }

    pub(super) fn take(&mut self) -> Vec<Notice> {
        let mut list = std::mem::take(&mut self.list);
        let more = std::mem::take(&mut self.more);
        if more > 0 {
            list.push(Notice::More { count: more });
        }
        list
    }
}
