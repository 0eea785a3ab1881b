//! A file system inside an image: open, read, map, change, and replay its journal.
//!
//! What it knows: how ext4's structures hang together: from the superblock to descriptors, inodes, maps, directories,
//! attributes, and how a log is replayed. What it must never know: screens, threads, clocks, or who asks. It reads through
//! [`daxkit_device::BlockDevice`] and takes the layout of every structure from `daxkit-format`.
//!
//! Invariant: no bytes of an image make it panic, loop for ever or allocate without bound. Work on one inode is bounded by
//! the blocks that really hold its metadata, memory by a few blocks.
#![forbid(unsafe_code)]

pub mod ext4;

pub use daxkit_format::{BlockNr, GroupNr, InodeNr, LogicalBlock};
pub use ext4::{
    CommitError, Committed, Corruption, DirEntry, Edit, EditError, Editor, Extents, Field, Geometry, GeometryError,
    Inode, JournalCommit, LocateError, Located, Mapping, OpenOptions, Place, ReplayOverlay, Seal, SealError, Segment,
    Unsupported, Verdict, Volume, VolumeError, Xattr, errno_of, in_order, seal, seal_freely,
};
