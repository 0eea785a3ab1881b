//! No file system: for tests of what needs none.

use daxkit_format::dax::Errno;

use super::{DiskInode, Extent, Features, FileSystem, Ino, Media, Name, NewInode, Poisoned, Rename, Space};

/// Answers `ENODEV` to everything.
#[derive(Debug, Clone, Default)]
pub(crate) struct NoFs;

impl Media for NoFs {
    fn pages(&self) -> u64 {
        0
    }
    fn load(&self, _: u64, _: &mut [u8]) -> Result<(), Poisoned> {
        Err(Poisoned)
    }
    fn store(&mut self, _: u16, _: u64, _: &[u8]) -> Result<(), Poisoned> {
        Err(Poisoned)
    }
    fn store_nt(&mut self, _: u16, _: u64, _: &[u8]) {}
    fn zero(&mut self, _: u16, _: u64, _: u64) {}
    fn write_back(&mut self, _: u16, _: u64, _: u64) {}
    fn fence(&mut self, _: u16) {}
    fn poison(&mut self, _: u64, _: u64) {}
    fn is_poisoned(&self, _: u64, _: u64) -> bool {
        true
    }
}

impl FileSystem for NoFs {
    fn features(&self) -> Features {
        Features {
            block_size: 4096,
            blocks: 0,
            inline_data: false,
            extents: true,
            has_journal: false,
            project: false,
            casefold: false,
            reflink: false,
            v3_inodes: false,
            read_only: true,
        }
    }
    fn root(&self) -> Ino {
        2
    }
    fn space(&self) -> Space {
        Space { free_blocks: 0, free_inodes: 0 }
    }
    fn read_inode(&self, _: Ino) -> Result<DiskInode, Errno> {
        Err(Errno::ENODEV)
    }
    fn write_inode(&mut self, _: Ino, _: &DiskInode) -> Result<(), Errno> {
        Err(Errno::ENODEV)
    }
    fn lookup(&self, _: Ino, _: &[u8]) -> Result<Ino, Errno> {
        Err(Errno::ENODEV)
    }
    fn read_dir(&self, _: Ino) -> Result<Vec<Name>, Errno> {
        Err(Errno::ENODEV)
    }
    fn read_link(&self, _: Ino) -> Result<Vec<u8>, Errno> {
        Err(Errno::ENODEV)
    }
    fn create(&mut self, _: Ino, _: Option<&[u8]>, _: &NewInode, _: &[u8]) -> Result<Ino, Errno> {
        Err(Errno::ENODEV)
    }
    fn link(&mut self, _: Ino, _: Ino, _: &[u8]) -> Result<(), Errno> {
        Err(Errno::ENODEV)
    }
    fn unlink(&mut self, _: Ino, _: &[u8], _: bool, _: i64) -> Result<(), Errno> {
        Err(Errno::ENODEV)
    }
    fn rename(&mut self, _: Ino, _: &[u8], _: Ino, _: &[u8], _: Rename, _: i64) -> Result<(), Errno> {
        Err(Errno::ENODEV)
    }
    fn free_inode(&mut self, _: Ino) -> Result<(), Errno> {
        Err(Errno::ENODEV)
    }
    fn map(&self, _: Ino, _: u64, _: u64) -> Result<Extent, Errno> {
        Err(Errno::ENODEV)
    }
    fn map_for_write(&mut self, _: u16, _: Ino, _: u64, _: u64) -> Result<Extent, Errno> {
        Err(Errno::ENODEV)
    }
    fn preallocate(&mut self, _: Ino, _: u64, _: u64) -> Result<(), Errno> {
        Err(Errno::ENODEV)
    }
    fn punch(&mut self, _: Ino, _: u64, _: u64) -> Result<(), Errno> {
        Err(Errno::ENODEV)
    }
    fn shift(&mut self, _: Ino, _: u64, _: u64, _: bool) -> Result<(), Errno> {
        Err(Errno::ENODEV)
    }
    fn read_inline(&self, _: Ino) -> Result<Vec<u8>, Errno> {
        Err(Errno::ENODEV)
    }
    fn convert_inline(&mut self, _: u16, _: Ino) -> Result<(), Errno> {
        Err(Errno::ENODEV)
    }
    fn get_xattr(&self, _: Ino, _: &[u8]) -> Result<Vec<u8>, Errno> {
        Err(Errno::ENODEV)
    }
    fn set_xattr(&mut self, _: Ino, _: &[u8], _: Option<&[u8]>) -> Result<(), Errno> {
        Err(Errno::ENODEV)
    }
    fn is_dirty(&self, _: Ino) -> bool {
        false
    }
    fn commit(&mut self) -> Result<(), Errno> {
        Err(Errno::ENODEV)
    }
}
