//! What can be wrong with a name, a link or a layer while a tree is put together. One line each; names are escaped.

use std::fmt;

/// Bytes of a name or path, printed on one line.
struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// Why something cannot be put into the tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// A name that would lead out of its directory.
    #[error("the name {} has '..' in it", Escaped(path))]
    DotDot {
        /// As it was given.
        path: Vec<u8>,
    },
    /// A name with a zero byte.
    #[error("the name {} has a zero byte in it", Escaped(path))]
    Nul {
        /// As it was given.
        path: Vec<u8>,
    },
    /// A name no directory entry can hold.
    #[error("the last name of {} has {len} bytes, a directory entry holds 255", Escaped(path))]
    NameTooLong {
        /// Its path.
        path: Vec<u8>,
        /// Bytes of the name.
        len: usize,
    },
    /// A path longer than any tree needs.
    #[error("a path of {len} bytes is longer than {limit}")]
    PathTooLong {
        /// Its bytes.
        len: usize,
        /// The most there may be.
        limit: usize,
    },
    /// A path through something that is neither a directory nor a symbolic link.
    #[error("{} lies below {}, which is not a directory", Escaped(path), Escaped(blocker))]
    NotADirectory {
        /// The path.
        path: Vec<u8>,
        /// What is in the way.
        blocker: Vec<u8>,
    },
    /// A path through symbolic links that lead nowhere.
    #[error("{} leads through more than 40 symbolic links, or one longer than 4095 bytes", Escaped(path))]
    Loop {
        /// The path.
        path: Vec<u8>,
    },
    /// A directory on the way to something that should be there already.
    #[error("{} lies below {}, which does not exist", Escaped(path), Escaped(name))]
    Missing {
        /// The path.
        path: Vec<u8>,
        /// The name that is not there.
        name: Vec<u8>,
    },
    /// The root can only be a directory.
    #[error("the root of the tree must be a directory")]
    RootNotDir,
    /// A hard link to what never came.
    #[error("{} is a hard link to {}, which is not there", Escaped(path), Escaped(target))]
    NoTarget {
        /// The link.
        path: Vec<u8>,
        /// Its target as it was given.
        target: Vec<u8>,
    },
    /// A hard link to a directory.
    #[error("{} is a hard link to the directory {}", Escaped(path), Escaped(target))]
    LinkToDir {
        /// The link.
        path: Vec<u8>,
        /// The directory.
        target: Vec<u8>,
    },
    /// A symbolic link to nothing, or with a zero byte in its target.
    #[error("{} is a symbolic link to {}, which is no path", Escaped(path), Escaped(target))]
    BadTarget {
        /// The link.
        path: Vec<u8>,
        /// Its target as it was given.
        target: Vec<u8>,
    },
    /// More than the numbers hold.
    #[error("too many {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
    },
}
