//! One of two file systems, chosen when it is mounted: a machine can then have mounts of both.

use daxkit_format::dax::Errno;

use super::{DiskInode, Extent, Features, FileSystem, Ino, Media, Name, NewInode, Poisoned, Rename, Space};

/// A file system of one kind or another.
#[derive(Debug, Clone)]
pub enum Either<A, B> {
    /// Of the first kind.
    Left(A),
    /// Of the second kind.
    Right(B),
}

/// Each method is that of the one that is there.
macro_rules! either {
    ($this:ident.$method:ident($($arg:expr),*)) => {
        match $this {
            Either::Left(fs) => fs.$method($($arg),*),
            Either::Right(fs) => fs.$method($($arg),*),
        }
    };
}

impl<A: Media, B: Media> Media for Either<A, B> {
    fn pages(&self) -> u64 {
        either!(self.pages())
    }
    fn load(&self, offset: u64, buf: &mut [u8]) -> Result<(), Poisoned> {
        either!(self.load(offset, buf))
    }
    fn store(&mut self, cpu: u16, offset: u64, data: &[u8]) -> Result<(), Poisoned> {
        either!(self.store(cpu, offset, data))
    }
    fn store_nt(&mut self, cpu: u16, offset: u64, data: &[u8]) {
        either!(self.store_nt(cpu, offset, data))
    }
    fn zero(&mut self, cpu: u16, offset: u64, len: u64) {
        either!(self.zero(cpu, offset, len))
    }
    fn write_back(&mut self, cpu: u16, offset: u64, len: u64) {
        either!(self.write_back(cpu, offset, len))
    }
    fn fence(&mut self, cpu: u16) {
        either!(self.fence(cpu))
    }
    fn poison(&mut self, offset: u64, len: u64) {
        either!(self.poison(offset, len))
    }
    fn is_poisoned(&self, offset: u64, len: u64) -> bool {
        either!(self.is_poisoned(offset, len))
    }
}

impl<A: FileSystem, B: FileSystem> FileSystem for Either<A, B> {
    fn features(&self) -> Features {
        either!(self.features())
    }
    fn root(&self) -> Ino {
        either!(self.root())
    }
    fn space(&self) -> Space {
        either!(self.space())
    }
    fn read_inode(&self, ino: Ino) -> Result<DiskInode, Errno> {
        either!(self.read_inode(ino))
    }
    fn write_inode(&mut self, ino: Ino, inode: &DiskInode) -> Result<(), Errno> {
        either!(self.write_inode(ino, inode))
    }
    fn lookup(&self, dir: Ino, name: &[u8]) -> Result<Ino, Errno> {
        either!(self.lookup(dir, name))
    }
    fn read_dir(&self, dir: Ino) -> Result<Vec<Name>, Errno> {
        either!(self.read_dir(dir))
    }
    fn read_link(&self, ino: Ino) -> Result<Vec<u8>, Errno> {
        either!(self.read_link(ino))
    }
    fn create(&mut self, dir: Ino, name: Option<&[u8]>, new: &NewInode, target: &[u8]) -> Result<Ino, Errno> {
        either!(self.create(dir, name, new, target))
    }
    fn link(&mut self, ino: Ino, dir: Ino, name: &[u8]) -> Result<(), Errno> {
        either!(self.link(ino, dir, name))
    }
    fn unlink(&mut self, dir: Ino, name: &[u8], is_dir: bool, now: i64) -> Result<(), Errno> {
        either!(self.unlink(dir, name, is_dir, now))
    }
    fn rename(
        &mut self,
        from: Ino,
        from_name: &[u8],
        to: Ino,
        to_name: &[u8],
        how: Rename,
        now: i64,
    ) -> Result<(), Errno> {
        either!(self.rename(from, from_name, to, to_name, how, now))
    }
    fn free_inode(&mut self, ino: Ino) -> Result<(), Errno> {
        either!(self.free_inode(ino))
    }
    fn map(&self, ino: Ino, block: u64, len: u64) -> Result<Extent, Errno> {
        either!(self.map(ino, block, len))
    }
    fn map_for_write(&mut self, cpu: u16, ino: Ino, block: u64, len: u64) -> Result<Extent, Errno> {
        either!(self.map_for_write(cpu, ino, block, len))
    }
    fn preallocate(&mut self, ino: Ino, block: u64, len: u64) -> Result<(), Errno> {
        either!(self.preallocate(ino, block, len))
    }
    fn punch(&mut self, ino: Ino, block: u64, len: u64) -> Result<(), Errno> {
        either!(self.punch(ino, block, len))
    }
    fn shift(&mut self, ino: Ino, block: u64, len: u64, insert: bool) -> Result<(), Errno> {
        either!(self.shift(ino, block, len, insert))
    }
    fn read_inline(&self, ino: Ino) -> Result<Vec<u8>, Errno> {
        either!(self.read_inline(ino))
    }
    fn set_inline(&mut self, ino: Ino, content: &[u8]) -> Result<bool, Errno> {
        either!(self.set_inline(ino, content))
    }
    fn convert_inline(&mut self, cpu: u16, ino: Ino) -> Result<(), Errno> {
        either!(self.convert_inline(cpu, ino))
    }
    fn has_verity(&self) -> bool {
        either!(self.has_verity())
    }
    fn has_encrypt(&self) -> bool {
        either!(self.has_encrypt())
    }
    fn share(&mut self, to: Ino, from: Ino, blocks: u64) -> Result<(), Errno> {
        either!(self.share(to, from, blocks))
    }
    fn exchange(&mut self, cpu: u16, ino: Ino, donor: Ino, blocks: u64) -> Result<(), Errno> {
        either!(self.exchange(cpu, ino, donor, blocks))
    }
    fn is_reflinked(&self, ino: Ino) -> bool {
        either!(self.is_reflinked(ino))
    }
    fn owners(&self, block: u64) -> Option<Vec<(Ino, u64)>> {
        either!(self.owners(block))
    }
    fn forget_shared(&mut self, ino: Ino) {
        either!(self.forget_shared(ino));
    }
    fn inodes(&self) -> u64 {
        either!(self.inodes())
    }
    fn list_xattrs(&self, ino: Ino) -> Result<Vec<Vec<u8>>, Errno> {
        either!(self.list_xattrs(ino))
    }
    fn crash(&mut self, power: bool) -> Result<(), Errno> {
        either!(self.crash(power))
    }
    fn get_xattr(&self, ino: Ino, name: &[u8]) -> Result<Vec<u8>, Errno> {
        either!(self.get_xattr(ino, name))
    }
    fn set_xattr(&mut self, ino: Ino, name: &[u8], value: Option<&[u8]>) -> Result<(), Errno> {
        either!(self.set_xattr(ino, name, value))
    }
    fn is_dirty(&self, ino: Ino) -> bool {
        either!(self.is_dirty(ino))
    }
    fn commit(&mut self) -> Result<(), Errno> {
        either!(self.commit())
    }
    fn set_writable(&mut self, writable: bool, now: i64) -> Result<(), Errno> {
        either!(self.set_writable(writable, now))
    }
}
