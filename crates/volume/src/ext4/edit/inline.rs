//! Inline data.

use super::super::inode::Inode;
use super::{EditError, Editor};
use daxkit_format::dax::Errno;

impl Editor<'_> {
    /// Writes into inline data; false when it does not fit there.
    pub(super) fn write_inline(&mut self, _: &mut Inode, _: u64, _: &[u8]) -> Result<bool, EditError> {
        Ok(false)
    }

    /// Sets the size of inline data; false when it does not fit there.
    pub(super) fn truncate_inline(&mut self, _: &mut Inode, _: u64) -> Result<bool, EditError> {
        Ok(false)
    }

    /// Moves content out of the inode.
    ///
    /// # Errors
    /// Not yet.
    pub fn leave_inline(&mut self, inode: &mut Inode) -> Result<(), EditError> {
        Err(EditError::refused(inode.nr(), Errno::EOPNOTSUPP, "inline data"))
    }
}
