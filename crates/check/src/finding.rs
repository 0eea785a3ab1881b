//! What was found: data, from which text, JSON and exit status are made.

use std::fmt;

use daxkit_format::field::quote;

use crate::code::Code;
use crate::repair::Fix;

/// Where something was found. Printed as a place that dax-debugfs takes, as far as there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum At {
    /// The image as a whole.
    Image,
    /// A field of the superblock; empty for all of it.
    Super(&'static str),
    /// A backup of the superblock.
    Backup(u32),
    /// The MMP block.
    Mmp,
    /// The journal.
    Journal,
    /// A field of a group's descriptor; empty for all of it.
    Group(u32, &'static str),
    /// A field of an inode; empty for all of it.
    Inode(u32, &'static str),
    /// A block of an inode's map, counted in the file.
    Logical(u32, u64),
    /// An entry of a directory: inode, block of the directory, byte in the block.
    Entry(u32, u32, u32),
    /// A block of the image.
    Block(u64),
    /// The quota of an owner: 0 for users, 1 for groups, 2 for projects.
    Quota(u8, u32),
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dotted =
            |f: &mut fmt::Formatter<'_>, field: &str| if field.is_empty() { Ok(()) } else { write!(f, ".{field}") };
        match self {
            Self::Image => f.write_str("image"),
            Self::Super(field) => f.write_str("super").and_then(|()| dotted(f, field)),
            Self::Backup(group) => write!(f, "super:{group}"),
            Self::Mmp => f.write_str("mmp"),
            Self::Journal => f.write_str("journal"),
            Self::Group(group, field) => write!(f, "group.{group}").and_then(|()| dotted(f, field)),
            Self::Inode(ino, field) => write!(f, "inode:{ino}").and_then(|()| dotted(f, field)),
            Self::Logical(ino, block) => write!(f, "inode:{ino}/block:{block}"),
            Self::Entry(ino, block, byte) => write!(f, "inode:{ino}/block:{block}+{byte:#x}"),
            Self::Block(block) => write!(f, "block:{block}"),
            Self::Quota(kind, id) => {
                write!(f, "quota.{}:{id}", ["user", "group", "project"].get(usize::from(*kind)).unwrap_or(&"?"))
            }
        }
    }
}

/// A value that was found or expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Datum {
    /// A number.
    Int(u64),
    /// A name inside the image.
    Name(Vec<u8>),
    /// Words.
    Text(String),
    /// Ranges of blocks, or of inodes.
    Ranges(Vec<(u64, u64)>),
}

impl fmt::Display for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(n) => n.fmt(f),
            Self::Name(name) => f.write_str(&quote(name)),
            Self::Text(text) => f.write_str(text),
            Self::Ranges(ranges) => {
                for (index, (first, last)) in ranges.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    if first == last { write!(f, "{comma}{first}")? } else { write!(f, "{comma}{first}-{last}")? }
                }
                Ok(())
            }
        }
    }
}

impl From<u64> for Datum {
    fn from(n: u64) -> Self {
        Self::Int(n)
    }
}

impl From<u32> for Datum {
    fn from(n: u32) -> Self {
        Self::Int(n.into())
    }
}

impl From<u16> for Datum {
    fn from(n: u16) -> Self {
        Self::Int(n.into())
    }
}

impl From<String> for Datum {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Datum {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// A finding.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What.
    pub code: Code,
    /// Where.
    pub at: At,
    /// What lies there.
    pub stored: Option<Datum>,
    /// What the rest of the file system says.
    pub observed: Option<Datum>,
    /// How it is mended; `None` when it cannot be.
    pub(crate) fix: Option<Fix>,
}

impl Finding {
    /// A finding that nothing mends, until [`Finding::fix`] says how.
    pub(crate) fn new(code: Code, at: At) -> Self {
        Self { code, at, stored: None, observed: None, fix: None }
    }

    pub(crate) fn stored(mut self, what: impl Into<Datum>) -> Self {
        self.stored = Some(what.into());
        self
    }

    pub(crate) fn observed(mut self, what: impl Into<Datum>) -> Self {
        self.observed = Some(what.into());
        self
    }

    pub(crate) fn fix(mut self, fix: Fix) -> Self {
        self.fix = Some(fix);
        self
    }

    /// The same, mended in the other way that there is: a file that shares blocks is deleted instead of copied.
    pub(crate) fn otherwise(&self) -> Option<Self> {
        match self.fix {
            // The lists that the file system keeps for itself are made anew as it is.
            Some(Fix::Clone(ino, ..)) if ino > 10 => Some(Self { fix: Some(Fix::Clear(ino)), ..self.clone() }),
            _ => None,
        }
    }

    /// What is done about it, as a question.
    #[must_use]
    pub fn question(&self) -> &'static str {
        match (self.code, &self.fix) {
            (Code::BlocksShared, Some(Fix::Clone(..))) => "Copy the blocks",
            (Code::BlocksShared, Some(Fix::Clear(_))) => "Delete the file",
            (Code::ExtentTree, _) => "Optimise it",
            _ => "Mend it",
        }
    }

    /// Whether repair knows what to do about it.
    #[must_use]
    pub fn is_fixable(&self) -> bool {
        self.fix.is_some()
    }

    /// What findings are sorted by, so that they come in one order whoever found them.
    pub(crate) fn key(&self) -> (Code, At) {
        (self.code, self.at)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.code.id(), self.at, self.code.title())?;
        match (&self.stored, &self.observed) {
            (Some(stored), Some(observed)) => write!(f, " ({stored}, should be {observed})"),
            (Some(stored), None) => write!(f, " ({stored})"),
            (None, Some(observed)) => write!(f, " (should be {observed})"),
            (None, None) => Ok(()),
        }
    }
}
