//! What a node has beyond what a directory of the host can say of it: flags, preallocated ranges, a wish for its place, a
//! kind of map. Few nodes have any of it, so it lies in a side table of the tree.

use daxkit_format::ext4::inode::Timestamp;
use daxkit_format::ext4::inode_flags::InodeFlags;
use std::ops::Range;

/// What a node has beyond its attributes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extra {
    /// Flags of its inode, set whether or not the kernel would allow them. Flags that change the form of the inode bring the
    /// form with them: `ENCRYPT` a context, `VERITY` a Merkle tree and a descriptor, `INLINE_DATA` inline data.
    pub flags: InodeFlags,
    /// The DAX flag: set, or kept from being inherited; `None` leaves it to inheritance and `--dax`.
    pub dax: Option<bool>,
    /// Byte ranges whose blocks are allocated and unwritten, sorted and apart; they may lie past the end of the file.
    pub unwritten: Box<[Range<u64>]>,
    /// Where its blocks should lie.
    pub placement: Placement,
    /// How its blocks are mapped.
    pub mapping: Mapping,
    /// Levels of the htree that a directory must have at least: 1 is a root over leaves, 2 has index blocks between them.
    pub htree_levels: u8,
    /// Time of creation, where it is not that of the file system.
    pub created: Option<Timestamp>,
    /// Its times of access and change were given on purpose: a reproducible image keeps them.
    pub own_times: bool,
}

impl Extra {
    /// True when there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Where the blocks of a file should lie.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Placement {
    /// Wherever the planner thinks best.
    #[default]
    Best,
    /// Block 0 of the file at this block of the file system, block 1 behind it; holes leave their places to others.
    Block(u64),
    /// Each range in one run, so that the file's first byte lies, or would lie, `skew` bytes behind a multiple of `align` bytes on the pmem device.
    Align {
        /// Bytes, a power of two and a multiple of the block size.
        align: u64,
        /// Bytes behind it, a multiple of the block size and less than `align`.
        skew: u64,
    },
    /// In so many pieces of nearly equal length, with `gap` blocks between them that are left to others.
    Fragments {
        /// Number of pieces.
        pieces: u64,
        /// Blocks between two pieces, at least one.
        gap: u64,
    },
    /// In just as many pieces as give its extent tree this depth.
    TreeDepth(u8),
    /// Exactly so; the ranges are in order of `logical` and cover what has blocks.
    Extents(Box<[PlacedExtent]>),
}

/// A run of blocks with its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacedExtent {
    /// First block in the file.
    pub logical: u64,
    /// First block in the file system.
    pub physical: u64,
    /// Blocks.
    pub len: u64,
    /// Allocated and not written.
    pub unwritten: bool,
}

/// How the blocks of an inode are mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mapping {
    /// As the file system has it.
    #[default]
    Default,
    /// By an extent tree.
    Extents,
    /// By direct and indirect blocks.
    Indirect,
    /// Its data lies in the inode.
    Inline,
}
