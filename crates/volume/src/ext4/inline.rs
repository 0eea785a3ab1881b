//! Inline data: content that lies in the inode, its tail in the attribute `system.data`.

use daxkit_format::ext4::inline_data::{self, MIN_SIZE};
use daxkit_format::ext4::xattr::INDEX_SYSTEM;

use super::error::{Corruption, VolumeError};
use super::inode::Inode;
use super::open::Volume;

impl Volume {
    /// The tail of an inode's inline data: the value of `system.data`. Empty when the attribute is not there.
    pub(crate) fn inline_tail<'i>(&self, inode: &'i Inode) -> Result<&'i [u8], VolumeError> {
        let Some(attributes) = self.inode_attributes(inode)? else { return Ok(&[]) };
        for attribute in attributes {
            let a = attribute.map_err(|e| VolumeError::bad_inode(inode.nr(), e))?;
            if a.index == INDEX_SYSTEM && a.name == inline_data::XATTR_NAME {
                return Ok(a.value);
            }
        }
        Ok(&[])
    }

    /// The content of an inode with inline data, as long as its size says.
    ///
    /// # Errors
    /// The inode holds less than its size says, or its attributes are damaged.
    pub fn inline_data(&self, inode: &Inode) -> Result<Vec<u8>, VolumeError> {
        let mut data = inode.i_block.to_vec();
        debug_assert_eq!(data.len(), MIN_SIZE);
        data.extend_from_slice(self.inline_tail(inode)?);
        match usize::try_from(inode.size()) {
            Ok(len) if len <= data.len() => {
                data.truncate(len);
                Ok(data)
            }
            _ => {
                let why = Corruption::InlineData { size: inode.size(), found: data.len() };
                Err(VolumeError::bad_inode(inode.nr(), why))
            }
        }
    }
}
