//! Why an image cannot be planned: each error names the path or the number that stands in the way.

use crate::geometry::GeometryError;
use std::fmt;

/// A path inside the image, printed lossily where it is not UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePath(pub Vec<u8>);

impl fmt::Display for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The shape is impossible.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// The content takes more room than there is.
    #[error("no space: {what} needs {needed} more blocks of {block_size} bytes, {free} are free")]
    NoSpace {
        /// What was being placed.
        what: String,
        /// Blocks it needs.
        needed: u64,
        /// Blocks that are left.
        free: u64,
        /// Bytes in a block.
        block_size: u32,
    },
    /// More inodes than the image has.
    #[error("no space: {needed} inodes are needed, the file system has {have}")]
    NoInodes {
        /// What content and metadata need.
        needed: u64,
        /// What there is.
        have: u64,
    },
    /// A path named for the DAX flag cannot have it.
    #[error("--dax {path}: {reason}")]
    DaxPath {
        /// The path as given.
        path: ImagePath,
        /// Why not.
        reason: &'static str,
    },
    /// Extended attributes that do not fit.
    #[error("{path}: extended attributes take more room than an inode and one block have{hint}")]
    Xattrs {
        /// Whose attributes.
        path: ImagePath,
        /// What would help.
        hint: &'static str,
    },
    /// An attribute that ext4 cannot store.
    #[error("{path}: extended attribute {name}: {reason}")]
    Xattr {
        /// Whose attribute.
        path: ImagePath,
        /// Its name.
        name: ImagePath,
        /// Why not.
        reason: String,
    },
    /// A file above what the block maps reach.
    #[error("{path}: {size} bytes are more than a file can have here ({limit})")]
    FileTooLarge {
        /// Which.
        path: ImagePath,
        /// Its size.
        size: u64,
        /// The largest size.
        limit: u64,
    },
    /// More subdirectories than a link count holds.
    #[error("{path}: {links} subdirectories need the dir_nlink feature")]
    TooManyLinks {
        /// Which directory or file.
        path: ImagePath,
        /// Links it would have.
        links: u64,
    },
    /// A wish of a recipe that the format, or this file system, cannot meet.
    #[error("{path}: {reason}")]
    Extra {
        /// Whose wish.
        path: ImagePath,
        /// What stands against it.
        reason: String,
    },
    /// `lost+found` in the source is no directory.
    #[error("/lost+found of the source is not a directory")]
    LostFound,
    /// The journal cannot be as asked for.
    #[error("the journal cannot have {blocks} blocks: {reason}")]
    Journal {
        /// Blocks asked for.
        blocks: u64,
        /// Why not.
        reason: &'static str,
    },
    /// A holder of options that only the kernel's resize inode could serve.
    #[error("blocks above 2^32 need extents")]
    NeedsExtents,
}
