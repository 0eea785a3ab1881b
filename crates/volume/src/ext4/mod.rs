//! ext4, from ext2 on: everything a mount or a tool needs to read and to change.
//!
//! [`Volume`] is the whole; each file adds to it what one structure allows: `groups` descriptors, `inode` inodes, `map` and
//! `file` content, `dir`, `htree` and `path` names, `xattr` attributes.

mod at_once;
mod bitmap;
mod blocks;
mod dir;
mod dir_blocks;
pub mod edit;
mod error;
mod file;
mod geometry;
mod groups;
mod htree;
mod inline;
mod inode;
pub mod inode_sums;
mod journal;
mod known;
mod locate;
mod map;
mod map_node;
mod map_runs;
mod mmp;
mod names;
mod open;
mod orphans;
mod owners;
mod path;
mod pmd;
mod protected;
mod quota;
mod resize;
mod seal;
mod subtree;
mod super_blocks;
mod supported;
mod symlink;
mod tables;
mod walk;
mod xattr;
mod xattr_list;

pub use at_once::in_order;
pub use bitmap::Bitmap;
pub use dir::{DirEntries, DirEntry};
pub use edit::{CommitError, Committed, EditError, Editor, errno_of};
pub use error::{Corruption, Place, ReplayError, Unsupported, VolumeError};
pub use file::{DataRanges, FileReader, MAX_READ};
pub use geometry::{Geometry, GeometryError};
pub use inode::Inode;
pub use journal::{
    HandJournal, JournalCommit, JournalWriteError, LogChecksum, ReplayOverlay, ReplayReport, Transaction,
};
pub use known::DirectoryNames;
pub use locate::{Absent, Field, LocateError, Located};
pub use map::{Extents, MapItem, MapWalk, Mapping, MetadataBlocks, Segment};
pub use mmp::{MmpState, mmp_state};
pub use names::{DirectoryPaths, NameScan, Naming};
pub use open::{OpenOptions, Volume};
pub use owners::{BlockOwner, BlockSet, BlockUse, MAX_OWNERS, OwnerScan, Owners};
pub use path::MAX_SYMLINKS;
pub use quota::QuotaFile;
pub use resize::ReservedGdt;
pub use seal::{Edit, Seal, SealError, Verdict, seal, seal_freely};
pub use subtree::Subtree;
pub use supported::readable_features;
pub use tables::{InodeTable, ScanErrors};
pub use walk::{Visit, Walk, WalkError};
pub use xattr::{NameAndValue, Xattr, XattrPlace};
