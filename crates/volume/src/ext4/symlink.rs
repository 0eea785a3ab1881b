//! Where symbolic links lead: the target lies in `i_block` (fast), in a block (slow), or in the inode (inline data).

use daxkit_format::ext4::features::Incompat;
use daxkit_format::ext4::inode_flags::InodeFlags;

use super::error::{Corruption, VolumeError};
use super::inode::Inode;
use super::open::Volume;

/// Bytes of a target that fit in `i_block`, the kernel's zero byte at the end counted.
const FAST: u64 = 60;

impl Volume {
    /// True when the target of a symbolic link lies in `i_block` (`ext4_inode_is_fast_symlink`, Linux 6.12).
    #[must_use]
    pub fn is_fast_symlink(&self, inode: &Inode) -> bool {
        if !inode.is_symlink() || inode.has_inline_data() {
            return false;
        }
        if self.has_incompat(Incompat::EA_INODE) {
            // Values in inodes are counted in i_blocks too, so that says nothing.
            return (1..FAST).contains(&inode.size());
        }
        let cluster = u64::from(self.block_size()).saturating_mul(self.geometry().cluster_ratio.into());
        let attributes = if inode.file_acl() == 0 { 0 } else { cluster };
        inode.space() <= attributes && !inode.flags().contains(InodeFlags::EXTENTS)
    }

    /// The target of a symbolic link. Of an encrypted one it is ciphertext behind a length of two bytes.
    ///
    /// # Errors
    /// Not a symbolic link, a size that a link cannot have, or its content cannot be read.
    pub fn read_link(&self, inode: &Inode) -> Result<Vec<u8>, VolumeError> {
        if !inode.is_symlink() {
            return Err(VolumeError::NotASymlink { inode: inode.nr() });
        }
        let size = inode.size();
        let bad = || VolumeError::bad_inode(inode.nr(), Corruption::SymlinkSize { size });
        if self.is_fast_symlink(inode) {
            let len = usize::try_from(size).map_err(|_| bad())?;
            return inode.i_block.get(..len).filter(|t| !t.is_empty()).map(<[u8]>::to_vec).ok_or_else(bad);
        }
        if size == 0 || size > u64::from(self.block_size()) {
            return Err(bad());
        }
        self.read_file(inode, 0..size)
    }
}
