//! What can go wrong with a volume: where, and why.
//!
//! Three kinds are kept apart: the image is damaged ([`VolumeError::Corrupt`]), the image is sound but beyond this crate
//! ([`VolumeError::Unsupported`]), and the host failed ([`VolumeError::Io`]); the rest are answers to a question that has
//! no better one. Every message is one line that begins with the place; places are written as dax-debugfs reads them.

use std::fmt;

use daxkit_device::DeviceError;
use daxkit_format::ext4::acl::AclError;
use daxkit_format::ext4::dir_entry::EntryError;
use daxkit_format::ext4::dx::DxError;
use daxkit_format::ext4::extent::NodeError;
use daxkit_format::ext4::features::Feature;
use daxkit_format::ext4::xattr::XattrError;
use daxkit_format::jbd2::JournalError;
use daxkit_format::jbd2::fast_commit::FcError;
use daxkit_format::{BlockNr, GroupNr, InodeNr};

use super::geometry::GeometryError;

/// Where something was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// The superblock that lies at this byte of the device.
    SuperBlock {
        /// Byte on the device.
        offset: u64,
    },
    /// A group descriptor.
    Group(GroupNr),
    /// The block bitmap of a group.
    BlockBitmap(GroupNr),
    /// The inode bitmap of a group.
    InodeBitmap(GroupNr),
    /// An inode.
    Inode(InodeNr),
    /// A block that belongs to an inode: a node of its map, its attributes, a block of a directory.
    InodeBlock {
        /// Whose.
        inode: InodeNr,
        /// Where on disk.
        block: BlockNr,
        /// Byte in the block.
        offset: u32,
    },
    /// A block of a file, counted in the file.
    FileBlock {
        /// Whose.
        inode: InodeNr,
        /// Block of the file.
        logical: u64,
    },
    /// Some block.
    Block(BlockNr),
    /// A block of the journal, counted in the journal.
    JournalBlock(u32),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SuperBlock { offset: 1024 } => write!(f, "super"),
            Self::SuperBlock { offset } => write!(f, "super at byte {offset}"),
            Self::Group(g) => write!(f, "group.{g}"),
            Self::BlockBitmap(g) => write!(f, "group.{g} block bitmap"),
            Self::InodeBitmap(g) => write!(f, "group.{g} inode bitmap"),
            Self::Inode(i) => write!(f, "inode:{i}"),
            Self::InodeBlock { inode, block, offset: 0 } => write!(f, "inode:{inode} block:{block}"),
            Self::InodeBlock { inode, block, offset } => write!(f, "inode:{inode} block:{block}+{offset:#x}"),
            Self::FileBlock { inode, logical } => write!(f, "inode:{inode} file block {logical}"),
            Self::Block(b) => write!(f, "block:{b}"),
            Self::JournalBlock(b) => write!(f, "journal block {b}"),
        }
    }
}

/// Why something found in an image cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Corruption {
    /// The superblock contradicts itself or the device.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// The checksum does not match.
    #[error("checksum does not match")]
    Checksum,
    /// A magic number is wrong.
    #[error("{structure} has magic number {found:#x}, not {expected:#x}")]
    Magic {
        /// The kernel's name of the structure.
        structure: &'static str,
        /// What is there.
        found: u32,
        /// What belongs there.
        expected: u32,
    },
    /// A block number outside of the file system, or over the superblock.
    #[error("blocks {first} to {last} do not lie inside the file system of {limit} blocks")]
    BlockRange {
        /// First block named.
        first: u64,
        /// Last block named.
        last: u64,
        /// Blocks of the file system.
        limit: u64,
    },
    /// A node of an extent tree is unusable.
    #[error(transparent)]
    ExtentNode(#[from] NodeError),
    /// An index node without entries.
    #[error("extent index node has no entries")]
    EmptyIndex,
    /// An extent of no blocks.
    #[error("extent at file block {logical} has no blocks")]
    EmptyExtent {
        /// First block of the file it names.
        logical: u64,
    },
    /// An entry of an extent tree that begins before the one before it ends, or before its node does.
    #[error("extent tree entry at file block {logical} stands where at least {expected} was expected")]
    ExtentOrder {
        /// First block of the file it names.
        logical: u64,
        /// The first possible.
        expected: u64,
    },
    /// An entry of an extent tree that reaches into what belongs to the next node.
    #[error("extent tree entry at file block {logical} reaches to {end}, its node ends at {limit}")]
    ExtentBeyond {
        /// First block of the file it names.
        logical: u64,
        /// End, exclusive.
        end: u64,
        /// End of what the node may map.
        limit: u64,
    },
    /// One file maps more blocks than the file system has.
    #[error("maps more than the {limit} blocks of the file system")]
    TooManyBlocks {
        /// Blocks of the file system.
        limit: u64,
    },
    /// An indirect block that occurs twice in one map.
    #[error("indirect block {block} occurs twice in the map")]
    IndirectTwice {
        /// The block.
        block: u64,
    },
    /// A directory entry is unusable.
    #[error(transparent)]
    DirEntry(#[from] EntryError),
    /// A directory entry with an empty name, or one that holds a slash or a zero byte.
    #[error("directory entry at offset {offset} has a name that cannot be one")]
    DirName {
        /// Where in the block.
        offset: u32,
    },
    /// A directory without its first entries.
    #[error("directory has no entry {name}")]
    DotMissing {
        /// `.` or `..`.
        name: &'static str,
    },
    /// A directory entry that names an inode that cannot be one.
    #[error("directory entry names inode {inode}, which is not valid")]
    EntryInode {
        /// What stands there.
        inode: u32,
    },
    /// A block of a hashed directory is unusable.
    #[error(transparent)]
    Htree(#[from] DxError),
    /// A hashed directory of more levels than the features allow.
    #[error("htree has {levels} levels below its root, at most {limit} are allowed")]
    HtreeLevels {
        /// What stands there.
        levels: u8,
        /// What may.
        limit: u8,
    },
    /// A hash of a version nobody knows.
    #[error("htree has unknown hash version {version}")]
    HashVersion {
        /// What stands there.
        version: u8,
    },
    /// An htree whose continuations never end.
    #[error("htree leads to more leaves than the directory has blocks")]
    HtreeEndless,
    /// A symbolic link longer than a block, or empty.
    #[error("symbolic link of {size} bytes")]
    SymlinkSize {
        /// Its size.
        size: u64,
    },
    /// `i_extra_isize` does not fit the inode.
    #[error("i_extra_isize is {stored}, an inode has room for {room}")]
    ExtraIsize {
        /// What stands there.
        stored: u16,
        /// What fits.
        room: u16,
    },
    /// Inline data without the attribute that holds its tail, although the size says there is one.
    #[error("inline data of {size} bytes, but the inode holds {found}")]
    InlineData {
        /// `i_size`.
        size: u64,
        /// Bytes found.
        found: usize,
    },
    /// The attributes cannot be read.
    #[error(transparent)]
    Xattr(#[from] XattrError),
    /// A block of attributes that says it has more blocks than one.
    #[error("attribute block says it has {found} blocks")]
    XattrBlocks {
        /// `h_blocks`.
        found: u32,
    },
    /// A block of attributes that says no inode has it.
    #[error("attribute block says it has no references")]
    XattrRefcount,
    /// An attribute whose value lies in an inode that is not made for it.
    #[error("attribute value in inode {inode}, which is not one for values")]
    EaInodeFlag {
        /// The inode.
        inode: u32,
    },
    /// An attribute whose value in an inode has another size than the entry says, or is too large.
    #[error("attribute value of {stored} bytes in inode {inode} of {found} bytes")]
    EaInodeSize {
        /// The inode.
        inode: u32,
        /// `e_value_size`.
        stored: u32,
        /// `i_size`.
        found: u64,
    },
    /// An attribute whose hash does not match.
    #[error("attribute value in inode {inode} does not match its hash")]
    EaInodeHash {
        /// The inode.
        inode: u32,
    },
    /// An inode with an attribute's value that says nobody names it.
    #[error("attribute value in inode {inode}, which counts no references")]
    EaInodeReferences {
        /// The inode.
        inode: u32,
    },
    /// An ACL is not one.
    #[error(transparent)]
    Acl(#[from] AclError),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The fast commits cannot be used.
    #[error(transparent)]
    FastCommit(#[from] FcError),
    /// A fast commit that cannot be carried out on what is there.
    #[error(transparent)]
    FastCommitReplay(#[from] ReplayError),
    /// The journal's file has a hole, or is no plain file.
    #[error("journal has no block {block}")]
    JournalHole {
        /// Block of the journal.
        block: u32,
    },
    /// The journal at hand belongs to another file system.
    #[error("journal belongs to another file system")]
    JournalUuid,
    /// The orphan list comes back to an inode it has passed, or leads out of the table.
    #[error("orphan list leads from inode {from} to {to}")]
    OrphanList {
        /// Where it was.
        from: u64,
        /// Where it goes.
        to: u64,
    },
    /// A block of the orphan file is not one.
    #[error("orphan file block has no valid tail")]
    OrphanBlock,
    /// A quota file whose head is not one.
    #[error("quota file has magic {magic:#x} and version {version}")]
    QuotaHeader {
        /// `dqh_magic`.
        magic: u32,
        /// `dqh_version`.
        version: u32,
    },
    /// A quota tree that leads out of its file, or to one block twice.
    #[error("quota tree refers to block {block} of {limit}")]
    QuotaTree {
        /// Where it leads.
        block: u32,
        /// Blocks of the file.
        limit: u32,
    },
    /// A directory that is its own ancestor, or has two parents.
    #[error("directory is reached a second time, from inode {parent}")]
    DirTwice {
        /// From where.
        parent: u64,
    },
    /// A directory below more others than any path can name.
    #[error("directory lies deeper than {limit} levels")]
    TooDeep {
        /// How deep directories are followed.
        limit: usize,
    },
}

/// Why a fast commit cannot be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// An inode number of no inode.
    #[error("fast commit names inode {inode}, which is not valid")]
    Inode {
        /// The number.
        inode: u32,
    },
    /// A range that cannot be mapped.
    #[error("fast commit maps file blocks {logical} to {end} of inode {inode} at block {physical}, which cannot be")]
    Range {
        /// Whose map.
        inode: u32,
        /// First block of the file.
        logical: u64,
        /// End, exclusive.
        end: u64,
        /// First block on disk.
        physical: u64,
    },
    /// No free block for metadata.
    #[error("no free block for what a fast commit needs")]
    NoSpace,
    /// A directory whose entries can be made only with an encryption key.
    #[error("fast commit makes a name in directory {inode}, which needs an encryption key")]
    NoKey {
        /// The directory.
        inode: u32,
    },
    /// A directory that has no room, and no map by extents in which it could grow.
    #[error("fast commit makes a name in directory {inode}, which cannot grow")]
    DirFull {
        /// The directory.
        inode: u32,
    },
}

/// What this crate cannot do with a sound image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsupported {
    /// Incompatible features that are not known.
    #[error("feature {} is not supported", names(.0))]
    Features(Vec<Feature>),
    /// The device is an external journal.
    #[error("this is an external journal (feature journal_dev), not a file system")]
    JournalDevice,
    /// The journal lies on another device, and none was given.
    #[error("the journal lies on another device, which is needed to replay it")]
    ExternalJournal,
    /// A revision that is not known.
    #[error("revision {0} is not supported")]
    Revision(u32),
}

fn names(features: &[Feature]) -> String {
    features.iter().map(|f| f.name()).collect::<Vec<_>>().join(", ")
}

/// Any error of a volume.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VolumeError {
    /// There is no ext4 file system where one was looked for.
    #[error("{place}: not an ext2, ext3 or ext4 file system (no magic number)")]
    NotExt4 {
        /// Where.
        place: Place,
    },
    /// The image is damaged.
    #[error("{place}: {why}")]
    Corrupt {
        /// Where.
        place: Place,
        /// Why.
        why: Corruption,
    },
    /// The image is beyond this crate.
    #[error("super: {0}")]
    Unsupported(Unsupported),
    /// The device could not be read or written.
    #[error("{place}: {source}")]
    Io {
        /// What was being read.
        place: Place,
        /// Why not.
        source: DeviceError,
    },
    /// A number of no inode.
    #[error("inode:{inode}: no such inode, the file system has {count}")]
    NoSuchInode {
        /// The number asked for.
        inode: InodeNr,
        /// The highest there is.
        count: u64,
    },
    /// A number of no group.
    #[error("group.{group}: no such group, the file system has {count}")]
    NoSuchGroup {
        /// The number asked for.
        group: GroupNr,
        /// How many there are.
        count: u32,
    },
    /// A number of no block.
    #[error("block:{block}: no such block, the file system has {count}")]
    NoSuchBlock {
        /// The number asked for.
        block: BlockNr,
        /// How many there are.
        count: u64,
    },
    /// A name that is not there.
    #[error("inode:{dir}: no entry {}", printable(.name))]
    NotFound {
        /// The directory.
        dir: InodeNr,
        /// The name.
        name: Vec<u8>,
    },
    /// Something else where a directory is needed.
    #[error("inode:{inode}: not a directory")]
    NotADirectory {
        /// What it is.
        inode: InodeNr,
    },
    /// Something else where a symbolic link is needed.
    #[error("inode:{inode}: not a symbolic link")]
    NotASymlink {
        /// What it is.
        inode: InodeNr,
    },
    /// Something without content where a file is needed.
    #[error("inode:{inode}: has no content")]
    NoContent {
        /// What it is.
        inode: InodeNr,
    },
    /// More symbolic links on one path than are followed.
    #[error("inode:{inode}: too many symbolic links")]
    TooManyLinks {
        /// The last one met.
        inode: InodeNr,
    },
    /// A path that cannot be one (empty, or without a last name where one is needed).
    #[error("not a path: {}", printable(.path))]
    BadPath {
        /// What was given.
        path: Vec<u8>,
    },
    /// More bytes asked for at once than are given at once.
    #[error("inode:{inode}: {len} bytes are too many to be read at once")]
    TooLarge {
        /// Whose.
        inode: InodeNr,
        /// How many.
        len: u64,
    },
}

/// A name or path as one line.
pub(crate) fn printable(name: &[u8]) -> String {
    name.escape_ascii().to_string()
}

impl VolumeError {
    /// Damage at a place.
    pub(crate) fn corrupt(place: Place, why: impl Into<Corruption>) -> Self {
        Self::Corrupt { place, why: why.into() }
    }

    /// Damage of an inode.
    pub(crate) fn bad_inode(inode: InodeNr, why: impl Into<Corruption>) -> Self {
        Self::corrupt(Place::Inode(inode), why)
    }

    /// For `map_err` of reads.
    pub(crate) fn io(place: Place) -> impl FnOnce(DeviceError) -> Self {
        move |source| Self::Io { place, source }
    }

    /// True when the image, not the host or the question, is at fault.
    #[must_use]
    pub fn is_corruption(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::NotExt4 { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_that_begins_with_the_place() {
        let e = VolumeError::corrupt(
            Place::InodeBlock { inode: InodeNr(12), block: BlockNr(8193), offset: 64 },
            EntryError::RecLen { offset: 64, rec_len: 3 },
        );
        assert_eq!(e.to_string(), "inode:12 block:8193+0x40: directory entry at offset 64 has rec_len 3");
        let e = VolumeError::NotFound { dir: InodeNr(2), name: b"a\nb".to_vec() };
        assert_eq!(e.to_string(), "inode:2: no entry a\\nb");
    }
}
