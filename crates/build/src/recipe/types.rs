//! What a recipe says, understood but not yet applied.

use crate::source::{Kind, Mapping, Piece, Placement};
use daxkit_format::ext4::inode::Timestamp;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::field::Place;
use globset::GlobSet;
use std::ops::Range;
use std::path::PathBuf;

/// Where something stands in the recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct At {
    /// Line, counted from 1.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
}

/// A recipe.
#[derive(Debug, Default)]
pub struct Recipe {
    /// `[filesystem]`.
    pub filesystem: FileSystemOptions,
    /// `source = [...]`: directories and archives that lie beneath the items, in order; relative paths are relative to the
    /// recipe's directory and are joined with it already.
    pub sources: Vec<(At, PathBuf)>,
    /// `[[file]]`, `[[dir]]`, `[[symlink]]`, `[[link]]`, `[[node]]`, in the order of the file.
    pub items: Vec<Item>,
    /// `[[rule]]`, in order; a later one wins.
    pub rules: Vec<Rule>,
    /// `[[defect]]`, in order.
    pub defects: Vec<Defect>,
    /// `[expect]`.
    pub expect: Expect,
}

/// `[filesystem]`: the options of the command line, as text where the command line has text. An option of the command line wins
/// over the recipe's; lists are joined, the recipe's first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileSystemOptions {
    /// SIZE, `auto` included.
    pub size: Option<String>,
    /// `--reserve`.
    pub reserve: Option<String>,
    /// `-b`.
    pub block_size: Option<String>,
    /// `-C`.
    pub cluster_size: Option<String>,
    /// `-t`.
    pub fs_type: Option<String>,
    /// `-T`.
    pub usage: Option<String>,
    /// `-L`.
    pub label: Option<String>,
    /// `-U`.
    pub uuid: Option<String>,
    /// `-N`.
    pub inodes: Option<String>,
    /// `-i`.
    pub inode_ratio: Option<String>,
    /// `-I`.
    pub inode_size: Option<String>,
    /// `-m`.
    pub reserved_percent: Option<String>,
    /// `-O`.
    pub features: Vec<String>,
    /// `-E`.
    pub extended: Vec<String>,
    /// `-J`.
    pub journal: Vec<String>,
    /// `-G`.
    pub flex_bg_size: Option<String>,
    /// `-g` with a number.
    pub blocks_per_group: Option<String>,
    /// `-r`.
    pub revision: Option<String>,
    /// `-M`.
    pub last_mounted: Option<String>,
    /// `-o`.
    pub creator_os: Option<String>,
    /// `-e`.
    pub errors: Option<String>,
    /// `--page-size`.
    pub page_size: Option<String>,
    /// `--pmem-align`: `none`, `2M`, `16M` or `128M`.
    pub pmem_align: Option<String>,
    /// `--holes`: `host`, `zero-blocks` or `none`.
    pub holes: Option<String>,
    /// `--dax`.
    pub dax_paths: Vec<String>,
    /// `--owner`.
    pub owner: Option<(u32, u32)>,
    /// `--exclude`.
    pub exclude: Vec<String>,
    /// Time of creation, and of every item that has none of its own.
    pub time: Option<Timestamp>,
    /// Whether the image depends on nothing but recipe and sources; `true` unless the recipe says otherwise.
    pub reproducible: Option<bool>,
}

/// Attributes of an item or of a rule; what is `None` stays as it was, or gets the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attrs {
    /// Permission bits with suid, sgid and sticky.
    pub mode: Option<u16>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Last access.
    pub atime: Option<Timestamp>,
    /// Last change of the inode.
    pub ctime: Option<Timestamp>,
    /// Last change of the content.
    pub mtime: Option<Timestamp>,
    /// Time of creation.
    pub crtime: Option<Timestamp>,
    /// Extended attributes by full name; ACLs in the form of the system call. SELinux contexts are here as `security.selinux`, with the
    /// NUL at their end.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Extended attributes to take away (rules).
    pub remove_xattrs: Vec<Vec<u8>>,
    /// Flags to set, as they are.
    pub flags: InodeFlags,
    /// The DAX flag.
    pub dax: Option<bool>,
}

/// Something in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Where the item begins.
    pub at: At,
    /// Absolute path in the image, clean: `/a/b`. `/` is the root directory.
    pub path: Vec<u8>,
    /// Its attributes.
    pub attrs: Attrs,
    /// What it is.
    pub kind: ItemKind,
}

/// What an item is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemKind {
    /// A regular file.
    File(FileItem),
    /// A directory.
    Dir(DirItem),
    /// A symbolic link with its target.
    Symlink(Vec<u8>),
    /// Another name for this path.
    Link(Vec<u8>),
    /// A character or block device with major and minor number, a fifo or a socket.
    Node(Kind, (u32, u32)),
}

/// A regular file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileItem {
    /// Its size in bytes; `None` is where the content ends.
    pub size: Option<u64>,
    /// Its bytes.
    pub content: Content,
    /// Ranges in bytes that are holes whatever the content says, sorted and apart. One that is open ends where the file does: at
    /// `u64::MAX` where the content is a file of the host and there is no size.
    pub holes: Vec<Range<u64>>,
    /// Ranges in bytes whose blocks are allocated and unwritten, sorted and apart from each other and from the holes; they may lie
    /// past the end of the file. Open ones end as those of the holes.
    pub unwritten: Vec<Range<u64>>,
    /// Where its blocks lie.
    pub placement: Placement,
    /// How its blocks are mapped.
    pub mapping: Mapping,
}

/// Where a file's bytes come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Content {
    /// Nowhere: what no other key fills is a hole.
    #[default]
    None,
    /// These bytes.
    Bytes(Vec<u8>),
    /// A file of the host, its path joined with the recipe's directory.
    Host(PathBuf),
    /// Pieces, in order and apart; between them are holes.
    Pieces(Vec<Piece>),
}

/// A directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DirItem {
    /// Levels of its htree: 0 for none asked for, 1 for a root over leaves, 2 for index blocks between.
    pub htree_levels: u8,
    /// Names to fill it with.
    pub entries: Option<DirEntries>,
}

/// Names made by rule: `prefix` and a number with `width` digits, from 0 on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntries {
    /// How many; `None` for as many as the htree's levels need.
    pub count: Option<u32>,
    /// What the names begin with.
    pub prefix: Vec<u8>,
    /// Digits of the number.
    pub width: u8,
    /// Files, directories, or hard links to the first of them (`None`), which is a file and spares inodes.
    pub kind: Option<Kind>,
    /// Size of each file, filled with [`Pattern::Offset`](crate::source::Pattern::Offset).
    pub size: u64,
}

/// What is done to everything that a pattern matches.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Where the rule begins.
    pub at: At,
    /// Paths in the image, in the language of `--exclude`.
    pub matches: GlobSet,
    /// Only these kinds; empty for all.
    pub kinds: Vec<Kind>,
    /// What is changed.
    pub attrs: Attrs,
}

/// Something deliberately wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Defect {
    /// Where the defect begins in the recipe.
    pub at: At,
    /// What it is called, for reports; empty for none.
    pub name: String,
    /// Where it lies in the image.
    pub place: Place,
    /// What is changed.
    pub change: DefectChange,
    /// What happens to the checksum over it.
    pub checksum: Checksum,
}

/// What is changed at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DefectChange {
    /// The field gets this value, as the field table writes it; numbers in any base.
    Set(String),
    /// These bits are set as well (numbers, or names for fields with named bits).
    Or(String),
    /// These bits are cleared.
    Clear(String),
    /// These bits are flipped.
    Xor(String),
    /// This is added, wrapping at the width of the field.
    Add(i64),
    /// These bytes are written at the place.
    Bytes(Vec<u8>),
    /// A bit of a bitmap, counted from the start of the group, is set or cleared.
    Bit {
        /// Which.
        index: u32,
        /// To what.
        to: bool,
    },
}

/// What happens to the checksum over a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Checksum {
    /// It is made right again, so that the change is the only defect.
    #[default]
    Seal,
    /// It stays as it was.
    Stale,
}

/// The verdict expected of checkers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expect {
    /// Of `e2fsck -fn`.
    pub e2fsck: Option<E2fsckVerdict>,
    /// Codes of findings of `dax-fsck`, exactly these.
    pub dax_fsck: Option<Vec<String>>,
    /// Whether the kernel mounts it.
    pub mounts: Option<bool>,
}

/// What `e2fsck -fn` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct E2fsckVerdict {
    /// Its exit status.
    pub exit: i32,
    /// Texts that its output holds.
    pub says: Vec<String>,
    /// Why it does not see a defect that is there.
    pub blind: Option<String>,
}
