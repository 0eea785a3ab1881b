//! What attributes and inline data will do; goes away with them.

use super::super::inode::Inode;
use super::{EditError, Editor};
#[allow(missing_docs, clippy::missing_errors_doc)]
impl Editor<'_> {
    pub fn set_inline(&mut self, _: &mut Inode, _: &[u8]) -> Result<bool, EditError> {
        Ok(false)
    }
    pub fn inline_capacity(&self, _: &Inode) -> usize {
        60
    }
    pub fn drop_xattrs(&mut self, _: &mut Inode) -> Result<(), EditError> {
        Ok(())
    }
}
