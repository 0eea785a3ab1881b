//! Where something lies, as text: `super.s_inodes_count`, `group.3.bg_checksum`, `inode."/a".i_flags`, `block:8193+0x40`.
//!
//! The forms (`N` is a decimal number, `"..."` a name as [`quote`] writes it, `FIELD` as in [`FieldRef`]):
//!
//! | object | what it is |
//! |---|---|
//! | `super`, `super:N` | the superblock, its copy in group N |
//! | `group.N`, `group.N:M` | a group descriptor, its copy in group M |
//! | `group.N/block_bitmap`, `group.N/inode_bitmap` | a bitmap |
//! | `inode:N`, `inode."/path"` | an inode |
//! | `inode:N/node:0.3` | the header of an extent node: the path of entries to it; none for the root |
//! | `inode:N/extent:0.3` | an entry of an extent node: the path to it |
//! | `inode:N/map:12.5` | a word of an indirect map: the path to it |
//! | `inode:N/block:L` | logical block L of the file |
//! | `inode:N.xattr."user.a"` | an extended attribute's entry |
//! | `dir:N.entry."f"`, `dir."/d".entry."f"` | a directory entry by name |
//! | `dir:N/block:L/entry:O` | a directory entry by its offset in logical block L |
//! | `dir:N/block:L/dx:I` | an entry of the htree block L |
//! | `dir:N/block:L` | what else a directory block holds: htree information, tail |
//! | `block:N` | a block of the image |
//! | `journal`, `journal/block:L` | the journal's superblock, a block of its log |
//! | `mmp` | the block of multiple mount protection |
//! | `quota.user`, `quota.user/id:N` | a quota file's head, one id's usage and limits |
//! | `orphan/block:L` | a block of the orphan file |
//!
//! A field or an offset in bytes (`+0x40`) may follow any of them.

use super::quote::{quote, unquote};
use super::structure::Structure;
use crate::ext4::quota::QuotaKind;
use core::fmt;
use core::str::FromStr;

/// An inode by number or by path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum InodeRef {
    /// By number.
    Number(u64),
    /// By absolute path inside the image.
    Path(Vec<u8>),
}

/// What a place lies in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// The superblock, or its copy in a group.
    Super {
        /// Which copy; `None` is the primary one.
        copy: Option<u32>,
    },
    /// A group descriptor, or its copy in another group's backup.
    Group {
        /// Whose descriptor.
        group: u32,
        /// Which copy; `None` is the primary one.
        copy: Option<u32>,
    },
    /// The block bitmap of a group.
    BlockBitmap(u32),
    /// The inode bitmap of a group.
    InodeBitmap(u32),
    /// An inode.
    Inode(InodeRef),
    /// The header of a node of an inode's extent tree.
    Node(InodeRef, Vec<u16>),
    /// An entry of a node of an inode's extent tree.
    Extent(InodeRef, Vec<u16>),
    /// A word of an inode's indirect map.
    Map(InodeRef, Vec<u32>),
    /// A logical block of a file.
    FileBlock(InodeRef, u64),
    /// An extended attribute, by its full name.
    Xattr(InodeRef, Vec<u8>),
    /// A directory entry by name.
    Entry(InodeRef, Vec<u8>),
    /// A directory entry by logical block and offset.
    EntryAt(InodeRef, u64, u32),
    /// An entry of an htree block, by logical block and index.
    Dx(InodeRef, u64, u32),
    /// A directory block.
    DirBlock(InodeRef, u64),
    /// A block of the image.
    Block(u64),
    /// The journal's superblock.
    Journal,
    /// A block of the journal.
    JournalBlock(u64),
    /// Multiple mount protection.
    Mmp,
    /// A quota file, or one id in it.
    Quota(QuotaKind, Option<u32>),
    /// A block of the orphan file.
    Orphan(u64),
}

/// A field inside an object: `i_flags`, `s_hash_seed[2]`, `i_flags.DAX`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FieldRef {
    /// Any name that [`Access::find`](super::Access::find) knows.
    pub name: String,
    /// Index into an array; `IND`, `DIND` and `TIND` for `i_block`.
    pub index: Option<String>,
    /// A single bit of it, by name.
    pub bit: Option<String>,
}

/// Where something lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// In what.
    pub object: Object,
    /// Which field of it; `None` for the whole.
    pub field: Option<FieldRef>,
    /// Bytes from the start of the object or field.
    pub offset: u64,
}

/// A text that is not a place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a place: {reason}")]
pub struct PlaceError {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Object {
    /// The structures whose fields may follow.
    #[must_use]
    pub const fn structures(&self) -> &'static [Structure] {
        use Structure as S;
        match self {
            Self::Super { .. } => &[S::SuperBlock],
            Self::Group { .. } => &[S::GroupDesc],
            Self::Inode(_) => &[S::Inode],
            Self::Node(..) => &[S::ExtentHeader, S::ExtentTail],
            Self::Extent(..) => &[S::Extent, S::ExtentIdx],
            Self::Xattr(..) => &[S::XattrEntry],
            Self::Entry(..) | Self::EntryAt(..) => &[S::DirEntry, S::DirEntryHash],
            Self::Dx(..) => &[S::DxEntry],
            Self::DirBlock(..) => &[S::DxRoot, S::DxCountLimit, S::DxTail, S::DirEntryTail],
            Self::Journal => &[S::JournalSuperBlock],
            Self::JournalBlock(_) => &[S::JournalHeader, S::CommitHeader, S::RevokeHeader, S::BlockTail],
            Self::Mmp => &[S::MmpStruct],
            Self::Quota(_, None) => &[S::DqHeader, S::DqInfo],
            Self::Quota(_, Some(_)) => &[S::DqBlk],
            Self::Orphan(_) => &[S::OrphanBlockTail],
            Self::BlockBitmap(_) | Self::InodeBitmap(_) | Self::Map(..) | Self::FileBlock(..) | Self::Block(_) => &[],
        }
    }

    /// The place of the whole object.
    #[must_use]
    pub const fn place(self) -> Place {
        Place { object: self, field: None, offset: 0 }
    }

    /// The place of a field.
    #[must_use]
    pub fn field(self, name: &str) -> Place {
        let field = FieldRef { name: name.to_owned(), index: None, bit: None };
        Place { object: self, field: Some(field), offset: 0 }
    }
}

fn path<T: fmt::Display>(f: &mut fmt::Formatter<'_>, path: &[T]) -> fmt::Result {
    for (i, p) in path.iter().enumerate() {
        write!(f, "{}{p}", if i == 0 { "" } else { "." })?;
    }
    Ok(())
}

impl fmt::Display for InodeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(n) => write!(f, ":{n}"),
            Self::Path(p) => write!(f, ".{}", quote(p)),
        }
    }
}

const KINDS: [(&str, QuotaKind); 3] =
    [("user", QuotaKind::User), ("group", QuotaKind::Group), ("project", QuotaKind::Project)];

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let copy = |f: &mut fmt::Formatter<'_>, c: &Option<u32>| c.map_or(Ok(()), |c| write!(f, ":{c}"));
        match self {
            Self::Super { copy: c } => {
                f.write_str("super")?;
                copy(f, c)
            }
            Self::Group { group, copy: c } => {
                write!(f, "group.{group}")?;
                copy(f, c)
            }
            Self::BlockBitmap(g) => write!(f, "group.{g}/block_bitmap"),
            Self::InodeBitmap(g) => write!(f, "group.{g}/inode_bitmap"),
            Self::Inode(i) => write!(f, "inode{i}"),
            Self::Node(i, p) => {
                write!(f, "inode{i}/node{}", if p.is_empty() { "" } else { ":" })?;
                path(f, p)
            }
            Self::Extent(i, p) => {
                write!(f, "inode{i}/extent:")?;
                path(f, p)
            }
            Self::Map(i, p) => {
                write!(f, "inode{i}/map:")?;
                path(f, p)
            }
            Self::FileBlock(i, l) => write!(f, "inode{i}/block:{l}"),
            Self::Xattr(i, name) => write!(f, "inode{i}.xattr.{}", quote(name)),
            Self::Entry(i, name) => write!(f, "dir{i}.entry.{}", quote(name)),
            Self::EntryAt(i, l, o) => write!(f, "dir{i}/block:{l}/entry:{o}"),
            Self::Dx(i, l, n) => write!(f, "dir{i}/block:{l}/dx:{n}"),
            Self::DirBlock(i, l) => write!(f, "dir{i}/block:{l}"),
            Self::Block(n) => write!(f, "block:{n}"),
            Self::Journal => f.write_str("journal"),
            Self::JournalBlock(l) => write!(f, "journal/block:{l}"),
            Self::Mmp => f.write_str("mmp"),
            Self::Quota(kind, id) => {
                let name = KINDS.iter().find(|(_, k)| k == kind).map_or("", |(n, _)| n);
                write!(f, "quota.{name}")?;
                id.map_or(Ok(()), |id| write!(f, "/id:{id}"))
            }
            Self::Orphan(l) => write!(f, "orphan/block:{l}"),
        }
    }
}

impl fmt::Display for FieldRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(i) = &self.index {
            write!(f, "[{i}]")?;
        }
        if let Some(b) = &self.bit {
            write!(f, ".{b}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.object.fmt(f)?;
        if let Some(field) = &self.field {
            write!(f, ".{field}")?;
        }
        if self.offset != 0 {
            write!(f, "+{:#x}", self.offset)?;
        }
        Ok(())
    }
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let mut p = Parser { rest: text };
        p.place().map_err(|reason| PlaceError { text: text.to_owned(), reason })
    }
}

impl FromStr for FieldRef {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let mut p = Parser { rest: text };
        let field =
            p.field().and_then(|f| if p.rest.is_empty() { Ok(f) } else { Err("something is left over behind it") });
        field.map_err(|reason| PlaceError { text: text.to_owned(), reason })
    }
}

type Parsed<T> = Result<T, &'static str>;

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn eat(&mut self, prefix: &str) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn number<T: FromStr>(&mut self) -> Parsed<T> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at_checked(end).ok_or("a number is missing")?;
        // One spelling a number, so that text and place correspond.
        if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
            return Err("a decimal number is missing");
        }
        self.rest = rest;
        digits.parse().map_err(|_| "a number is too large")
    }

    fn numbers<T: FromStr>(&mut self) -> Parsed<Vec<T>> {
        let mut out = vec![self.number()?];
        // A dot that is not followed by a digit begins a field.
        while self.rest.strip_prefix('.').is_some_and(|r| r.starts_with(|c: char| c.is_ascii_digit())) {
            self.rest = self.rest.get(1..).unwrap_or_default();
            out.push(self.number()?);
        }
        Ok(out)
    }

    fn quoted(&mut self) -> Parsed<Vec<u8>> {
        let (bytes, rest) = unquote(self.rest).ok_or("a quoted name is missing or does not end")?;
        // Not `self.rest = rest` above: the borrow must outlive the parser.
        let used = self.rest.len() - rest.len();
        self.rest = self.rest.get(used..).unwrap_or_default();
        Ok(bytes)
    }

    fn inode_ref(&mut self) -> Parsed<InodeRef> {
        if self.eat(":") {
            return Ok(InodeRef::Number(self.number()?));
        }
        if self.eat(".") {
            return Ok(InodeRef::Path(self.quoted()?));
        }
        Err("which inode: a number behind ':' or a quoted path behind '.'")
    }

    fn copy(&mut self) -> Parsed<Option<u32>> {
        if self.eat(":") { self.number().map(Some) } else { Ok(None) }
    }

    fn object(&mut self) -> Parsed<Object> {
        if self.eat("super") {
            return Ok(Object::Super { copy: self.copy()? });
        }
        if self.eat("group.") {
            let group = self.number()?;
            if self.eat("/block_bitmap") {
                return Ok(Object::BlockBitmap(group));
            }
            if self.eat("/inode_bitmap") {
                return Ok(Object::InodeBitmap(group));
            }
            return Ok(Object::Group { group, copy: self.copy()? });
        }
        if self.eat("inode") {
            let inode = self.inode_ref()?;
            return Ok(if self.eat("/node") {
                let path = if self.eat(":") { self.numbers()? } else { Vec::new() };
                Object::Node(inode, path)
            } else if self.eat("/extent:") {
                Object::Extent(inode, self.numbers()?)
            } else if self.eat("/map:") {
                Object::Map(inode, self.numbers()?)
            } else if self.eat("/block:") {
                Object::FileBlock(inode, self.number()?)
            } else if self.rest.starts_with(".xattr.\"") {
                self.eat(".xattr.");
                Object::Xattr(inode, self.quoted()?)
            } else {
                Object::Inode(inode)
            });
        }
        if self.eat("dir") {
            let dir = self.inode_ref()?;
            if self.eat(".entry.") {
                return Ok(Object::Entry(dir, self.quoted()?));
            }
            if !self.eat("/block:") {
                return Err("what in the directory: .entry.\"NAME\" or /block:N");
            }
            let block = self.number()?;
            return Ok(if self.eat("/entry:") {
                Object::EntryAt(dir, block, self.number()?)
            } else if self.eat("/dx:") {
                Object::Dx(dir, block, self.number()?)
            } else {
                Object::DirBlock(dir, block)
            });
        }
        if self.eat("block:") {
            return Ok(Object::Block(self.number()?));
        }
        if self.eat("journal") {
            return Ok(if self.eat("/block:") { Object::JournalBlock(self.number()?) } else { Object::Journal });
        }
        if self.eat("mmp") {
            return Ok(Object::Mmp);
        }
        if self.eat("quota.") {
            let kind = KINDS.iter().find(|(n, _)| self.eat(n)).ok_or("which quota: user, group or project")?.1;
            let id = if self.eat("/id:") { Some(self.number()?) } else { None };
            return Ok(Object::Quota(kind, id));
        }
        if self.eat("orphan/block:") {
            return Ok(Object::Orphan(self.number()?));
        }
        Err("it begins with none of super, group, inode, dir, block, journal, mmp, quota, orphan")
    }

    fn word(&mut self) -> Parsed<String> {
        let end =
            self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at_checked(end).ok_or("a name is missing")?;
        if word.is_empty() {
            return Err("a field name is missing");
        }
        self.rest = rest;
        Ok(word.to_owned())
    }

    fn field(&mut self) -> Parsed<FieldRef> {
        let name = self.word()?;
        let index = if self.eat("[") {
            let index = self.word()?;
            if !self.eat("]") {
                return Err("']' is missing");
            }
            Some(index)
        } else {
            None
        };
        let bit = if self.eat(".") { Some(self.word()?) } else { None };
        Ok(FieldRef { name, index, bit })
    }

    fn place(&mut self) -> Parsed<Place> {
        let object = self.object()?;
        let field = if self.eat(".") { Some(self.field()?) } else { None };
        let offset = if self.eat("+") {
            let hex = self.rest.strip_prefix("0x").ok_or("an offset is written +0xN")?;
            if hex.is_empty() || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err("an offset is written +0xN");
            }
            self.rest = "";
            u64::from_str_radix(hex, 16).map_err(|_| "the offset is too large")?
        } else {
            0
        };
        if self.rest.is_empty() { Ok(Place { object, field, offset }) } else { Err("something is left over behind it") }
    }
}
