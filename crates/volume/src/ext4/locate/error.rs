//! Why a place cannot be found.

use daxkit_device::DeviceError;
use daxkit_format::field::{Object, Place};

use super::super::error::VolumeError;

/// See the module. Every message is one line that begins with what was looked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocateError {
    /// The way to the place is damaged, or a number, path or name is not there.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// The device could not be read.
    #[error("{object}: {source}")]
    Io {
        /// What was looked for.
        object: Box<Object>,
        /// Why not.
        source: DeviceError,
    },
    /// The image has no such object.
    #[error("{object}: {why}")]
    Absent {
        /// What was looked for.
        object: Box<Object>,
        /// Why not.
        why: Absent,
    },
    /// The object has no field of that name.
    #[error("{object}: there is no field {field:?} here")]
    NoField {
        /// The object.
        object: Box<Object>,
        /// The field.
        field: String,
    },
    /// The field is no array, or has no such element.
    #[error("{object}: there is no element {field:?} here")]
    NoElement {
        /// The object.
        object: Box<Object>,
        /// Field and element.
        field: String,
    },
    /// The field has no bit of that name.
    #[error("{object}: there is no bit {field:?} here")]
    NoBit {
        /// The object.
        object: Box<Object>,
        /// Field and bit.
        field: String,
    },
    /// The field lies behind what is stored (a small inode, a short record).
    #[error("{object}: {field:?} lies past the {len} bytes that are stored")]
    FieldOutside {
        /// The object.
        object: Box<Object>,
        /// The field.
        field: String,
        /// Bytes there are.
        len: u64,
    },
    /// The offset of the place lies behind the object or field.
    #[error("{place}: the offset lies past the {len} bytes there are")]
    OffsetOutside {
        /// The place.
        place: Box<Place>,
        /// Bytes there are.
        len: u64,
    },
}

/// Why an image has no such object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Absent {
    /// The group begins without a superblock.
    #[error("group {group} holds no superblock")]
    SuperCopy {
        /// The group.
        group: u32,
    },
    /// The group holds no copy of this descriptor.
    #[error("group {copy} holds no copy of it")]
    GroupCopy {
        /// The group that would hold the copy.
        copy: u32,
    },
    /// A path that does not begin with a slash.
    #[error("paths begin with a slash")]
    Relative,
    /// The inode's blocks are not mapped by extents.
    #[error("the inode has no extent tree")]
    NoExtents,
    /// The inode's blocks are mapped by extents.
    #[error("the inode has no indirect map")]
    NoIndirect,
    /// The inode has no blocks at all: its content lies in it, or it is a device.
    #[error("the inode has no blocks")]
    NoBlocks,
    /// A node has fewer entries.
    #[error("there is no entry {index}: the node has {count}")]
    Entry {
        /// Which was asked for.
        index: u32,
        /// How many there are.
        count: u32,
    },
    /// A path through a map that is longer than the map is deep.
    #[error("word {root} of the map leads through {levels} levels only")]
    Level {
        /// Word of `i_block`.
        root: u32,
        /// Blocks between it and the data.
        levels: u32,
    },
    /// An indirect block that is not there.
    #[error("the map has a hole on the way")]
    MapHole,
    /// Nothing is mapped there.
    #[error("block {logical} of the file is a hole")]
    Hole {
        /// Block of the file.
        logical: u64,
    },
    /// The inode has no attribute of this name.
    #[error("the inode has no such attribute")]
    Xattr,
    /// The entry is made up, or would lie outside of its block.
    #[error("no entry can lie there")]
    DirEntry,
    /// The block is no index block of a hashed directory.
    #[error("the block is no htree block")]
    NotHtree,
    /// An index block has fewer entries.
    #[error("there is no htree entry {index}: the block has {count}")]
    Dx {
        /// Which was asked for.
        index: u32,
        /// How many there are.
        count: u32,
    },
    /// There is no journal.
    #[error("the file system has no journal")]
    NoJournal,
    /// The journal lies on another device.
    #[error("the journal lies on another device")]
    ExternalJournal,
    /// The feature `mmp` is off.
    #[error("the file system has no multiple mount protection")]
    NoMmp,
    /// There is no such quota file.
    #[error("the file system has no such quota file")]
    NoQuota,
    /// The quota file has nothing about this id.
    #[error("the quota file has nothing about this id")]
    NoQuotaId,
    /// The feature `orphan_file` is off.
    #[error("the file system has no orphan file")]
    NoOrphanFile,
    /// More than anyone wants to hear of.
    #[error("more than {limit} blocks depend on it")]
    TooMany {
        /// Most that are listed.
        limit: usize,
    },
}
