//! What the emulated kernel asks of a file system: metadata in whole operations, a block map, and the memory below.
//!
//! A file system here knows nothing of `S_DAX`, page caches or faults. Its metadata operations are atomic and change a
//! running transaction; [`FileSystem::commit`] makes them durable. Data goes past it, straight to the memory.

pub mod either;
pub mod ext4;
mod media;
pub mod mem;
#[cfg(test)]
pub(crate) mod none;

pub use media::OverPmem;

use daxkit_format::dax::fileattr::XFlags;
use daxkit_format::dax::{Errno, FileKind};
use daxkit_format::ext4::inode_flags::InodeFlags;

/// An inode's number on disk.
pub type Ino = u64;

/// An inode as the file system holds it: what an in-core inode is filled from and written back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskInode {
    /// Type and permissions, `i_mode`.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Project.
    pub projid: u32,
    /// Links.
    pub nlink: u32,
    /// Bytes.
    pub size: u64,
    /// Blocks in units of 512 bytes, `i_blocks`. Not written back.
    pub blocks: u64,
    /// ext4's `i_flags`; on an XFS mount only what `FS_IOC_GETFLAGS` would show.
    pub flags: InodeFlags,
    /// What `FS_IOC_FSGETXATTR` would show: on ext4 follows from the flags.
    pub xflags: XFlags,
    /// XFS: extent size hint, bytes.
    pub extsize: u32,
    /// XFS: copy-on-write extent size hint, bytes.
    pub cowextsize: u32,
    /// Whether the contents lie inside the inode.
    pub inline_data: bool,
    /// Device number of a special file.
    pub rdev: u32,
    /// `i_atime`, seconds.
    pub atime: i64,
    /// `i_mtime`, seconds.
    pub mtime: i64,
    /// `i_ctime`, seconds.
    pub ctime: i64,
    /// `i_generation`.
    pub generation: u32,
}

impl DiskInode {
    /// Its type.
    #[must_use]
    pub fn kind(&self) -> FileKind {
        FileKind::from_mode(self.mode).unwrap_or(FileKind::Regular)
    }
}

/// What a new inode starts with. Inheritance has been decided by `format::dax` before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewInode {
    /// Type and permissions.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Project.
    pub projid: u32,
    /// Flags (ext4).
    pub flags: InodeFlags,
    /// Extended flags (XFS).
    pub xflags: XFlags,
    /// XFS: extent size hint.
    pub extsize: u32,
    /// XFS: copy-on-write extent size hint.
    pub cowextsize: u32,
    /// Device number of a special file.
    pub rdev: u32,
    /// Seconds, for all times.
    pub now: i64,
}

/// How a range of a file is backed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backing {
    /// No blocks.
    Hole,
    /// Blocks that read as zero until they are written (preallocated).
    Unwritten(u64),
    /// Blocks with data, from this block of the device on.
    Mapped(u64),
}

/// A stretch of a file that is backed one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First block of the file.
    pub block: u64,
    /// Blocks. Never 0.
    pub len: u64,
    /// What is behind it.
    pub backing: Backing,
    /// Whether the blocks were allocated or converted by the call that returned this (`IOMAP_F_NEW`).
    pub new: bool,
    /// Whether other files own the blocks too (`IOMAP_F_SHARED`).
    pub shared: bool,
}

/// What an entry of a directory says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The name.
    pub name: Vec<u8>,
    /// The inode.
    pub ino: Ino,
    /// Its type.
    pub kind: FileKind,
}

/// What `renameat2` was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rename {
    /// Replace what is there.
    #[default]
    Replace,
    /// `RENAME_NOREPLACE`.
    NoReplace,
    /// `RENAME_EXCHANGE`.
    Exchange,
}

/// Properties of a file system that rules depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// Block size, bytes.
    pub block_size: u32,
    /// Blocks of the device.
    pub blocks: u64,
    /// Small files may lie in the inode.
    pub inline_data: bool,
    /// New files get extents.
    pub extents: bool,
    /// There is a journal.
    pub has_journal: bool,
    /// Projects.
    pub project: bool,
    /// Case-insensitive directories.
    pub casefold: bool,
    /// XFS: shared blocks.
    pub reflink: bool,
    /// XFS: inodes with `di_flags2` (CRC format).
    pub v3_inodes: bool,
    /// Whether it can only be read (a feature that this code may not write).
    pub read_only: bool,
}

/// Space, as `statfs` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Free blocks.
    pub free_blocks: u64,
    /// Free inodes.
    pub free_inodes: u64,
}

/// The memory under a file system. Offsets are bytes of the device; `cpu` is the task, whose fence orders only its own
/// write-backs.
pub trait Media {
    /// Pages of the device.
    fn pages(&self) -> u64;
    /// Loads bytes. `Err`: poison.
    ///
    /// # Errors
    /// The lines are poisoned.
    fn load(&self, offset: u64, buf: &mut [u8]) -> Result<(), Poisoned>;
    /// Stores bytes through the cache.
    ///
    /// # Errors
    /// The lines are poisoned.
    fn store(&mut self, cpu: u16, offset: u64, data: &[u8]) -> Result<(), Poisoned>;
    /// Stores bytes past the cache and clears poison of whole sectors, as the driver and `dax_copy_from_iter` do.
    fn store_nt(&mut self, cpu: u16, offset: u64, data: &[u8]);
    /// Zeroes a range as the driver does; clears poison of whole sectors.
    fn zero(&mut self, cpu: u16, offset: u64, len: u64);
    /// Writes lines of a range back (`arch_wb_cache_pmem`).
    fn write_back(&mut self, cpu: u16, offset: u64, len: u64);
    /// `sfence`.
    fn fence(&mut self, cpu: u16);
    /// Poisons a range of whole lines.
    fn poison(&mut self, offset: u64, len: u64);
    /// Whether any line of a range is poisoned.
    fn is_poisoned(&self, offset: u64, len: u64) -> bool;
}

/// A load or store that met poison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Poisoned;

/// A file system.
pub trait FileSystem: Clone + Media {
    /// What it has.
    fn features(&self) -> Features;
    /// The root's number.
    fn root(&self) -> Ino;
    /// Free space.
    fn space(&self) -> Space;
    /// Inodes that there can be.
    fn inodes(&self) -> u64 {
        self.space().free_inodes
    }
    /// Whether files may be protected by fs-verity (ext4's feature `verity`).
    fn has_verity(&self) -> bool {
        false
    }
    /// Whether directories may be encrypted (ext4's feature `encrypt`).
    fn has_encrypt(&self) -> bool {
        false
    }

    /// Reads an inode. `ENOENT`, `EUCLEAN`, `EIO`.
    ///
    /// # Errors
    /// The kernel's errno, as in every method here.
    fn read_inode(&self, ino: Ino) -> Result<DiskInode, Errno>;
    /// Writes what is kept of an in-core inode into the running transaction.
    ///
    /// # Errors
    /// As above.
    fn write_inode(&mut self, ino: Ino, inode: &DiskInode) -> Result<(), Errno>;

    /// Finds a name.
    ///
    /// # Errors
    /// `ENOENT` when it is not there.
    fn lookup(&self, dir: Ino, name: &[u8]) -> Result<Ino, Errno>;
    /// Reads a whole directory, without `.` and `..`.
    ///
    /// # Errors
    /// As above.
    fn read_dir(&self, dir: Ino) -> Result<Vec<Name>, Errno>;
    /// Where a symbolic link points.
    ///
    /// # Errors
    /// As above.
    fn read_link(&self, ino: Ino) -> Result<Vec<u8>, Errno>;
    /// Makes an inode with a name, or without one (`O_TMPFILE`) on the orphan list.
    ///
    /// # Errors
    /// As above.
    fn create(&mut self, dir: Ino, name: Option<&[u8]>, new: &NewInode, target: &[u8]) -> Result<Ino, Errno>;
    /// Another name for an inode; takes it off the orphan list.
    ///
    /// # Errors
    /// As above.
    fn link(&mut self, ino: Ino, dir: Ino, name: &[u8]) -> Result<(), Errno>;
    /// Takes a name away. An inode without names goes to the orphan list; [`free_inode`](Self::free_inode) ends it.
    ///
    /// # Errors
    /// As above; `EISDIR`, `ENOTDIR`, `ENOTEMPTY`.
    fn unlink(&mut self, dir: Ino, name: &[u8], is_dir: bool, now: i64) -> Result<(), Errno>;
    /// Renames.
    ///
    /// # Errors
    /// As above.
    fn rename(
        &mut self,
        from: Ino,
        from_name: &[u8],
        to: Ino,
        to_name: &[u8],
        how: Rename,
        now: i64,
    ) -> Result<(), Errno>;
    /// Frees an inode without names, and its blocks.
    ///
    /// # Errors
    /// As above.
    fn free_inode(&mut self, ino: Ino) -> Result<(), Errno>;

    /// How `block` and what follows it are backed, at most `len` blocks.
    ///
    /// # Errors
    /// As above.
    fn map(&self, ino: Ino, block: u64, len: u64) -> Result<Extent, Errno>;
    /// Backs `block` and what follows it, at most `len` blocks, with written blocks: allocates where there is a hole,
    /// converts where it is unwritten. Blocks that become visible this way are zeroed on the media before.
    ///
    /// # Errors
    /// `ENOSPC` and as above.
    fn map_for_write(&mut self, cpu: u16, ino: Ino, block: u64, len: u64) -> Result<Extent, Errno>;
    /// Reserves unwritten blocks in the holes of a range.
    ///
    /// # Errors
    /// `ENOSPC` (a part may be reserved), and as above.
    fn preallocate(&mut self, ino: Ino, block: u64, len: u64) -> Result<(), Errno>;
    /// Makes holes of whole blocks.
    ///
    /// # Errors
    /// As above.
    fn punch(&mut self, ino: Ino, block: u64, len: u64) -> Result<(), Errno>;
    /// Takes blocks out and moves what follows down (`FALLOC_FL_COLLAPSE_RANGE`), or in and up (`INSERT_RANGE`).
    ///
    /// # Errors
    /// `EOPNOTSUPP` and as above.
    fn shift(&mut self, ino: Ino, block: u64, len: u64, insert: bool) -> Result<(), Errno>;
    /// Reads contents that lie inside the inode.
    ///
    /// # Errors
    /// As above.
    fn read_inline(&self, ino: Ino) -> Result<Vec<u8>, Errno>;
    /// Keeps `content` inside the inode, whose whole contents it then is. False, and nothing done, when it does not fit, the
    /// inode has blocks, or there are no contents inside inodes.
    ///
    /// # Errors
    /// As above.
    fn set_inline(&mut self, ino: Ino, content: &[u8]) -> Result<bool, Errno> {
        let _ = (ino, content);
        Ok(false)
    }
    /// Moves contents out of the inode into a block (`ext4_convert_inline_data`).
    ///
    /// # Errors
    /// As above.
    fn convert_inline(&mut self, cpu: u16, ino: Ino) -> Result<(), Errno>;

    /// Gives `to` the first `blocks` of `from` instead of its own (`FICLONE`): both own what is written, and a write to either
    /// copies.
    ///
    /// # Errors
    /// `EOPNOTSUPP` and as above.
    fn share(&mut self, to: Ino, from: Ino, blocks: u64) -> Result<(), Errno> {
        let _ = (to, from, blocks);
        Err(Errno::EOPNOTSUPP)
    }
    /// Moves what is written in the first `blocks` of `ino` into the blocks that `donor` has there, which gets the old ones. Where either has a
    /// hole, or `ino` nothing written, nothing moves.
    ///
    /// # Errors
    /// `EOPNOTSUPP` and as above.
    fn exchange(&mut self, cpu: u16, ino: Ino, donor: Ino, blocks: u64) -> Result<(), Errno> {
        let _ = (cpu, ino, donor, blocks);
        Err(Errno::EOPNOTSUPP)
    }
    /// Whether an inode shares blocks, or did (`XFS_DIFLAG2_REFLINK`).
    fn is_reflinked(&self, ino: Ino) -> bool {
        let _ = ino;
        false
    }

    /// Which files own a block, and as which of their blocks; none where there is no map from blocks to owners (XFS's feature `rmapbt`).
    fn owners(&self, block: u64) -> Option<Vec<(Ino, u64)>> {
        let _ = block;
        None
    }
    /// An inode that owns all of its blocks alone is not one that shares any more (`xfs_reflink_try_clear_inode_flag`).
    fn forget_shared(&mut self, ino: Ino) {
        let _ = ino;
    }

    /// Value of an extended attribute.
    ///
    /// # Errors
    /// `ENODATA`, `EOPNOTSUPP`.
    fn get_xattr(&self, ino: Ino, name: &[u8]) -> Result<Vec<u8>, Errno>;
    /// Sets (or with `None` removes) an extended attribute.
    ///
    /// # Errors
    /// `ENODATA`, `EOPNOTSUPP`, `ENOSPC`.
    fn set_xattr(&mut self, ino: Ino, name: &[u8], value: Option<&[u8]>) -> Result<(), Errno>;

    /// Names of the extended attributes of an inode, in no order.
    ///
    /// # Errors
    /// `EOPNOTSUPP` and as above.
    fn list_xattrs(&self, ino: Ino) -> Result<Vec<Vec<u8>>, Errno> {
        let _ = ino;
        Err(Errno::EOPNOTSUPP)
    }

    /// Whether an fsync of the inode would have to write metadata (`IOMAP_F_DIRTY`).
    fn is_dirty(&self, ino: Ino) -> bool;
    /// Makes every change before durable.
    ///
    /// # Errors
    /// `EIO`.
    fn commit(&mut self) -> Result<(), Errno>;
    /// The mount is writable from now on, or no longer: on media it says so, at once (`ext4_setup_super`, `ext4_put_super`).
    /// File systems that keep no such note have nothing to do.
    ///
    /// # Errors
    /// `EIO`.
    fn set_writable(&mut self, writable: bool, now: i64) -> Result<(), Errno> {
        let _ = (writable, now);
        Ok(())
    }
    /// Becomes what the next mount finds when the kernel stops here: metadata as they were committed; `power`: of the memory what
    /// was written back and fenced.
    ///
    /// # Errors
    /// `EOPNOTSUPP` when that is not known.
    fn crash(&mut self, power: bool) -> Result<(), Errno> {
        let _ = power;
        Err(Errno::EOPNOTSUPP)
    }
}
