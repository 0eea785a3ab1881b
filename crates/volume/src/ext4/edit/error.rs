//! Why an edit is refused.

use daxkit_format::dax::Errno;
use daxkit_format::ext4::features::Feature;
use daxkit_format::{BlockNr, InodeNr};

use super::super::error::{Corruption, VolumeError, printable};
use super::super::journal::JournalWriteError;
use super::super::open::Volume;

/// Why an edit was not made. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// What had to be read could not be, or is damaged.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// The volume was opened for reading.
    #[error("the image is open for reading only")]
    NotWritable,
    /// Features under which the volume must not be changed.
    #[error("an image with {} must not be changed", Volume::feature_names(.0))]
    Features(Vec<Feature>),
    /// The journal cannot be written like this.
    #[error(transparent)]
    Journal(#[from] JournalWriteError),
    /// No free blocks.
    #[error("no space left: {wanted} blocks are needed, {free} are free")]
    NoSpace {
        /// Blocks asked for.
        wanted: u64,
        /// Blocks that are free.
        free: u64,
    },
    /// No free inode.
    #[error("no free inode left")]
    NoInodes,
    /// The name is there already.
    #[error("inode:{dir}: {} exists", printable(.name))]
    Exists {
        /// The directory.
        dir: InodeNr,
        /// The name.
        name: Vec<u8>,
    },
    /// A name that no entry can have: empty, `.` or `..`, with a slash or a zero byte.
    #[error("not a name: {}", printable(.name))]
    BadName {
        /// The name.
        name: Vec<u8>,
    },
    /// A name of more than 255 bytes, or a target that no symbolic link has room for.
    #[error("{} bytes are too many for a name", .len)]
    NameTooLong {
        /// Its length.
        len: usize,
    },
    /// A directory that is to go has entries.
    #[error("inode:{inode}: directory not empty")]
    NotEmpty {
        /// The directory.
        inode: InodeNr,
    },
    /// A directory where none may be.
    #[error("inode:{inode}: is a directory")]
    IsADirectory {
        /// Which.
        inode: InodeNr,
    },
    /// As many links as the inode can count.
    #[error("inode:{inode}: too many links")]
    TooManyLinks {
        /// Which.
        inode: InodeNr,
    },
    /// More content than the file, or the kind of map it has, can hold.
    #[error("inode:{inode}: a size of {size} bytes is too large for it")]
    FileTooLarge {
        /// Which.
        inode: InodeNr,
        /// The size.
        size: u64,
    },
    /// An attribute that is not there.
    #[error("inode:{inode}: no attribute {}", printable(.name))]
    NoAttribute {
        /// Whose.
        inode: InodeNr,
        /// Its whole name.
        name: Vec<u8>,
    },
    /// Blocks that are free where blocks in use are to be freed, or the other way round.
    #[error("block:{block}: is {} already", if *.used { "in use" } else { "free" })]
    BlockState {
        /// The first of them.
        block: BlockNr,
        /// What it is.
        used: bool,
    },
    /// An inode that is free where one in use is to be freed, or the other way round.
    #[error("inode:{inode}: is {} already", if *.used { "in use" } else { "free" })]
    InodeState {
        /// Which.
        inode: InodeNr,
        /// What it is.
        used: bool,
    },
    /// What the kernel refuses, or what cannot be done to such an inode.
    #[error("inode:{inode}: {what}")]
    Refused {
        /// Which.
        inode: InodeNr,
        /// The kernel's error.
        errno: Errno,
        /// Why, for people.
        what: &'static str,
    },
}

impl EditError {
    /// A refusal.
    pub(crate) fn refused(inode: InodeNr, errno: Errno, what: &'static str) -> Self {
        Self::Refused { inode, errno, what }
    }

    /// Damage of an inode, found while editing it.
    pub(crate) fn damaged(inode: InodeNr, why: impl Into<Corruption>) -> Self {
        Self::Volume(VolumeError::bad_inode(inode, why))
    }

    /// What a system call would have returned.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match self {
            Self::Volume(e) => errno_of(e),
            Self::NotWritable | Self::Features(_) => Errno::EROFS,
            Self::Journal(JournalWriteError::Full { .. }) | Self::NoSpace { .. } | Self::NoInodes => Errno::ENOSPC,
            Self::Journal(_) => Errno::EINVAL,
            Self::Exists { .. } => Errno::EEXIST,
            Self::BadName { .. } | Self::BlockState { .. } | Self::InodeState { .. } => Errno::EINVAL,
            Self::NameTooLong { .. } => Errno::ENAMETOOLONG,
            Self::NotEmpty { .. } => Errno::ENOTEMPTY,
            Self::IsADirectory { .. } => Errno::EISDIR,
            Self::TooManyLinks { .. } => Errno::EMLINK,
            Self::FileTooLarge { .. } => Errno::EFBIG,
            Self::NoAttribute { .. } => Errno::ENODATA,
            Self::Refused { errno, .. } => *errno,
        }
    }
}

/// What a system call would have returned.
#[must_use]
pub fn errno_of(error: &VolumeError) -> Errno {
    match error {
        VolumeError::Io { .. } => Errno::EIO,
        VolumeError::NotFound { .. } => Errno::ENOENT,
        VolumeError::NotADirectory { .. } => Errno::ENOTDIR,
        VolumeError::TooManyLinks { .. } => Errno::ELOOP,
        VolumeError::Unsupported(_) => Errno::EOPNOTSUPP,
        VolumeError::NotASymlink { .. }
        | VolumeError::NoContent { .. }
        | VolumeError::BadPath { .. }
        | VolumeError::NoSuchInode { .. }
        | VolumeError::NoSuchGroup { .. }
        | VolumeError::NoSuchBlock { .. }
        | VolumeError::TooLarge { .. } => Errno::EINVAL,
        VolumeError::Corrupt { why: Corruption::Checksum, .. } => Errno::EBADMSG,
        VolumeError::Corrupt { .. } | VolumeError::NotExt4 { .. } => Errno::EUCLEAN,
    }
}
