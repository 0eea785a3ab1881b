//! What a file system in memory is made with.

/// How a [`MemFs`](super::MemFs) is made.
#[derive(Debug, Clone, Copy)]
pub struct MemOptions {
    /// Bytes of the device: whole 2 MiB.
    pub size: u64,
    /// Most inodes.
    pub inodes: u32,
    /// First block that files get. 512 puts a first large file on 2 MiB, 513 never does.
    pub first_block: u64,
    /// Blocks that are left free between two allocations: 0 for long extents, 1 for extents of one block.
    pub gap: u64,
    /// Files have XFS's attributes, not ext4's flags.
    pub xfs: bool,
    /// Block size that is claimed: other than 4096 rules DAX out.
    pub block_size: u32,
    /// Small files may lie in the inode.
    pub inline_data: bool,
    /// There is a journal.
    pub has_journal: bool,
    /// XFS: shared blocks.
    pub reflink: bool,
    /// XFS: a map from blocks to the files that own them.
    pub rmap: bool,
    /// XFS: checksums, and with them inodes that have a place for the flag.
    pub crc: bool,
    /// Directories may fold case.
    pub casefold: bool,
    /// fs-verity.
    pub verity: bool,
    /// Encryption.
    pub encrypt: bool,
    /// It has a feature that forbids writing.
    pub read_only: bool,
}

impl Default for MemOptions {
    fn default() -> Self {
        Self {
            size: 16 << 20,
            inodes: 1024,
            first_block: 512,
            gap: 0,
            xfs: false,
            block_size: 4096,
            inline_data: false,
            has_journal: true,
            reflink: false,
            rmap: false,
            crc: true,
            casefold: false,
            verity: false,
            encrypt: false,
            read_only: false,
        }
    }
}
