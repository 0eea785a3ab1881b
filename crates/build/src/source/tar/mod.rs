//! A tar archive as a source of images: its members in the order of the archive, and their content in one file.
//!
//! An [`Archive`] reads v7, ustar, GNU and PAX archives, plain, gzip or zstd, from a file or a stream. It gives each member
//! as it stands in the archive, with all that an inode can hold; what the members together mean (parents that are missing,
//! names that come twice, links, whiteouts, names that lead out of the tree) is for others to say. Content is not read
//! while the members are: of a plain file only the headers are, and it stays where it is; what comes out of a stream is put
//! aside in a file without a name. Either is the [`ContentFile`], in which [`FileData`] counts.
//!
//! Memory is bounded whatever the archive holds: a window or a few chunks, one extended header of 8 MiB, one map of 16 MiB.

mod acl;
mod archive;
mod compression;
mod content;
mod encoding;
mod error;
mod feed;
mod file_flags;
mod header;
mod medium;
mod member;
mod notice;
mod number;
mod pax;
mod sparse;
mod spool;

pub use archive::Archive;
pub use content::ContentFile;
pub use error::{AclTextError, PaxError, SparseError, TarError};
pub use file_flags::file_flag_names;
pub use notice::Notice;

use super::tree::{Attributes, XattrSet};
use daxkit_format::ext4::inode::Timestamp;
use daxkit_format::ext4::inode_flags::InodeFlags;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where an archive comes from.
pub enum TarInput<'a> {
    /// A file of the host; what is not a regular file is read as a stream.
    Path(&'a Path),
    /// A stream, such as the standard input.
    Stream(Box<dyn Read + Send>),
}

/// How to read an archive.
#[derive(Clone)]
pub struct TarOptions {
    /// The directory in which content that comes out of a stream is put aside.
    pub spool_dir: PathBuf,
    /// Read extended attributes and ACLs.
    pub read_xattrs: bool,
    /// Who the users and groups of ACLs are that are named without a number.
    pub ids: Arc<dyn AclIds>,
}

/// Numbers of users and groups.
pub trait AclIds: Send + Sync {
    /// The number of a user.
    fn user(&self, name: &[u8]) -> Option<u32>;
    /// The number of a group.
    fn group(&self, name: &[u8]) -> Option<u32>;
}

/// Nobody is known by name.
#[derive(Debug, Clone, Copy, Default)]
pub struct NumericIds;

impl AclIds for NumericIds {
    fn user(&self, _: &[u8]) -> Option<u32> {
        None
    }

    fn group(&self, _: &[u8]) -> Option<u32> {
        None
    }
}

/// A member of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name as it stands in the archive: any bytes, perhaps with a slash at the end.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: MemberKind,
    /// Mode, owner and times. Times the archive does not give are those of the last change of the content.
    pub attributes: Attributes,
    /// Time of creation, where it is given.
    pub created: Option<Timestamp>,
    /// Extended attributes, sorted by name, each name once. ACLs are in the form of the system call; an access ACL that
    /// says no more than the permission bits is not among them.
    pub xattrs: XattrSet,
    /// File flags: only such as the kernel would let it have.
    pub flags: InodeFlags,
}

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberKind {
    /// A regular file.
    File(FileData),
    /// A directory.
    Dir,
    /// A symbolic link with its target.
    Symlink(Vec<u8>),
    /// Another name for the member of this name, as it stands in the archive; some writers store the content again.
    HardLink(Vec<u8>, Option<FileData>),
    /// A character device with major and minor number.
    Char(u32, u32),
    /// A block device with major and minor number.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
}

/// Where the content of a file lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileData {
    /// Bytes the file has.
    pub size: u64,
    /// Offset of its first stored byte in the [`ContentFile`].
    pub at: u64,
    /// The ranges of a sparse file that hold data, sorted, apart and not empty; their bytes lie one behind the other from
    /// `at` on. `None` when all of the file is stored.
    pub ranges: Option<Box<[Range<u64>]>>,
}
