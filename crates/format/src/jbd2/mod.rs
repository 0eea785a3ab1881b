//! The journal: jbd2's log and ext4's fast commits inside it.
//!
//! Everything of jbd2 is big-endian; the fast-commit tags, which are ext4's own, are little-endian. The structures are
//! those of `include/linux/jbd2.h` and `fs/ext4/fast_commit.h` (Linux 6.12), the rules those of `fs/jbd2/recovery.c`,
//! `fs/jbd2/commit.c` and `fs/ext4/fast_commit.c`.
//!
//! A log is read like this: [`JournalSuperBlock::check`] gives a [`Journal`], which knows the ring and the
//! [`TagFormat`]; from [`Journal::start`] on, each block that begins with a [`JournalHeader`] of the expected sequence
//! is a descriptor ([`descriptor_block::tags`]), a revoke block ([`revoke_block::records`]) or a commit block
//! ([`commit_block`]); whatever else comes first ends the log. Fast commits lie behind the ring ([`fast_commit`]).

mod block_tag;
mod checksum;
pub mod commit_block;
pub mod descriptor_block;
pub mod fast_commit;
mod features;
mod header;
pub mod revoke_block;
mod super_block;

pub use block_tag::{BlockTag, BlockTag3, TagChecksum, TagFlags, TagFormat, data_checksum};
pub use checksum::{BlockTail, crc32_be, journal_seed};
pub use commit_block::CommitHeader;
pub use descriptor_block::{DescriptorBuilder, Tag, tags};
pub use features::{ChecksumType, JournalCompat, JournalIncompat, JournalRoCompat};
pub use header::{BlockType, JournalHeader, MAGIC, tid_geq, tid_gt};
pub use revoke_block::{RevokeBuilder, RevokeHeader};
pub use super_block::{Journal, JournalSuperBlock, NewJournal, default_fast_commit_blocks};

/// Fewest blocks a log may have (`JBD2_MIN_JOURNAL_BLOCKS`), the fast-commit area not counted.
pub const MIN_JOURNAL_BLOCKS: u32 = 1024;

/// Length of the fast-commit area when the superblock says 0 (`JBD2_DEFAULT_FAST_COMMIT_BLOCKS`).
pub const DEFAULT_FAST_COMMIT_BLOCKS: u32 = 256;

/// Why a journal, or one block of it, cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// Fewer bytes than the structure has.
    #[error("journal: {structure} needs {needed} bytes and there are {found}")]
    Short {
        /// The kernel's name of the structure.
        structure: &'static str,
        /// Bytes it needs.
        needed: usize,
        /// Bytes there are.
        found: usize,
    },
    /// The header does not begin with [`MAGIC`].
    #[error("journal: magic number is {found:#010x}, not {MAGIC:#010x}")]
    Magic {
        /// What is there.
        found: u32,
    },
    /// The header's type is not the one this structure has.
    #[error("journal: block type {found} where {expected} was expected")]
    BlockType {
        /// What is there.
        found: u32,
        /// What belongs there.
        expected: &'static str,
    },
    /// `s_blocksize` is not the block size of the file system.
    #[error("journal superblock: s_blocksize is {found}, the file system's blocks have {expected} bytes")]
    BlockSize {
        /// What is there.
        found: u32,
        /// The file system's.
        expected: u32,
    },
    /// `s_maxlen` is more than the journal's inode or device holds.
    #[error("journal superblock: s_maxlen is {maxlen}, but there are only {available} blocks")]
    TooLong {
        /// What is there.
        maxlen: u32,
        /// Blocks of the journal's inode or device.
        available: u64,
    },
    /// The log has fewer than [`MIN_JOURNAL_BLOCKS`] blocks.
    #[error("journal superblock: a log of {blocks} blocks, fewer than {MIN_JOURNAL_BLOCKS}")]
    TooShort {
        /// From `s_first` (counted with what lies before it) to the end of the log.
        blocks: u32,
    },
    /// `s_first` is 0 or outside the log.
    #[error("journal superblock: s_first is {first}, the log ends at {last}")]
    First {
        /// What is there.
        first: u32,
        /// End of the log (exclusive).
        last: u32,
    },
    /// `s_start` is neither 0 nor inside the log.
    #[error("journal superblock: s_start is {start}, the log goes from {first} to {last}")]
    Start {
        /// What is there.
        start: u32,
        /// First block of the log.
        first: u32,
        /// End of the log (exclusive).
        last: u32,
    },
    /// `s_num_fc_blks` leaves too little for the log.
    #[error("journal superblock: {fc_blocks} fast-commit blocks of {maxlen} leave too short a log")]
    FastCommitBlocks {
        /// Length of the fast-commit area.
        fc_blocks: u32,
        /// `s_maxlen`.
        maxlen: u32,
    },
    /// Incompatible features nobody here knows.
    #[error("journal superblock: unknown incompatible features {0:#x}")]
    UnknownIncompat(u32),
    /// Read-only-compatible features nobody here knows (jbd2 refuses them as well).
    #[error("journal superblock: unknown read-only-compatible features {0:#x}")]
    UnknownRoCompat(u32),
    /// More than one of the three checksum features.
    #[error("journal superblock: checksum features exclude each other: compat {compat:#x}, incompat {incompat:#x}")]
    ChecksumFeatures {
        /// `s_feature_compat`.
        compat: u32,
        /// `s_feature_incompat`.
        incompat: u32,
    },
    /// `s_checksum_type` is not crc32c although a checksum feature of version 2 or 3 is on.
    #[error("journal superblock: checksum type {0}, only crc32c (4) is known")]
    ChecksumType(u8),
    /// A checksum does not match.
    #[error("journal: {structure} has checksum {stored:#010x}, its bytes give {computed:#010x}")]
    Checksum {
        /// The kernel's name of the structure.
        structure: &'static str,
        /// What is there.
        stored: u32,
        /// What belongs there.
        computed: u32,
    },
    /// `r_count` is smaller than its header or larger than the block.
    #[error("journal revoke block: r_count is {count}, allowed is 16 to {limit}")]
    RevokeCount {
        /// What is there.
        count: u32,
        /// Bytes of the block that may hold records, the header counted.
        limit: u32,
    },
}
