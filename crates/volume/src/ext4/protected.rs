//! Files that the kernel protects: fs-verity's descriptor, fscrypt's context.

use daxkit_format::OnDisk;
use daxkit_format::ext4::encryption;
use daxkit_format::ext4::verity::{VerityDescriptor, metadata_offset};
use daxkit_format::ext4::xattr::INDEX_ENCRYPTION;

use super::error::VolumeError;
use super::inode::Inode;
use super::map::Mapping;
use super::open::Volume;

impl Volume {
    /// The fs-verity descriptor of a file: `None` when it has none, or what stands where it should be is not one. It lies
    /// behind the data; its size stands in the last four bytes of the last block (`ext4_get_verity_descriptor_location`).
    ///
    /// # Errors
    /// The map is damaged, or the device failed.
    pub fn verity_descriptor(&self, inode: &Inode) -> Result<Option<VerityDescriptor>, VolumeError> {
        if !inode.is_verity() || !self.has_map(inode) {
            return Ok(None);
        }
        let mut last: Option<Mapping> = None;
        for run in self.extents(inode) {
            last = Some(run?);
        }
        let Some(last) = last.filter(|r| r.written) else { return Ok(None) };
        let end = last.end() << self.geometry().block_shift();
        let size_at = end.saturating_sub(4);
        let mut size = [0; 4];
        self.read_mapped(inode, size_at, &mut size)?;
        let size = u64::from(u32::from_le_bytes(size));
        // The descriptor begins with a block.
        let block = u64::from(self.block_size());
        let Some(from) = size_at.checked_sub(size).map(|at| at / block * block) else { return Ok(None) };
        let behind_data = metadata_offset(inode.size()).is_some_and(|m| from >= m);
        if size < size_of::<VerityDescriptor>() as u64 || !behind_data {
            return Ok(None);
        }
        let mut bytes = [0; size_of::<VerityDescriptor>()];
        self.read_mapped(inode, from, &mut bytes)?;
        Ok(VerityDescriptor::peek(&bytes).copied())
    }

    /// The encryption context of an inode; `None` when it is not encrypted.
    ///
    /// # Errors
    /// Its attributes are damaged, or the device failed.
    pub fn encryption_context(&self, inode: &Inode) -> Result<Option<Vec<u8>>, VolumeError> {
        if !inode.is_encrypted() {
            return Ok(None);
        }
        let found =
            self.xattrs(inode)?.into_iter().find(|x| x.index == INDEX_ENCRYPTION && x.name == encryption::XATTR_NAME);
        Ok(found.map(|x| x.value))
    }
}
