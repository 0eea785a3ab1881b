//! The resize inode (7): a doubly indirect map over the reserved group descriptor blocks and their copies in the backups.
//!
//! The double-indirect block has an entry for each reserved descriptor block of group 0, at that block's place in the
//! descriptor table modulo the numbers in a block; the entry names the reserved block itself, which serves as the indirect
//! block and lists the copies of itself in the backup groups (`reserve_backup_gdb`, Linux `fs/ext4/resize.c`).

/// `i_size` of the resize inode: all a double-indirect map can reach, in bytes.
#[must_use]
pub fn size(block_size: u32) -> u64 {
    let bs = u64::from(block_size);
    let n = bs / 4;
    (12 + n + n * n) * bs
}

/// Index in the double-indirect block of the reserved descriptor block `gdt_index` (counted over the whole descriptor table,
/// used blocks included).
#[must_use]
pub fn dind_index(gdt_index: u32, block_size: u32) -> u32 {
    gdt_index % (block_size / 4).max(1)
}
