//! The objects of the emulated kernel, as plain data: mounts, inodes, dentries, open files, VMAs, pages.

use daxkit_format::dax::ext4::DataMode;
use daxkit_format::dax::{DaxDecision, DaxMode, FileKind};

use crate::fs::{DiskInode, Ino};
use crate::ids::{DentryId, FileId, InodeId, MmId, SbId, VmaId};
use crate::profile::{Personality, Profile};
use crate::xarray::XArray;

/// Which `address_space_operations` an inode has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Aops {
    /// Of the page cache (`ext4_da_aops`, `xfs_address_space_operations`).
    #[default]
    PageCache,
    /// Of DAX (`ext4_dax_aops`, `xfs_dax_aops`): no `read_folio`, no `readahead`, no `bmap` on XFS.
    Dax,
}

/// Which `vm_operations_struct` a VMA has. ext4 chooses at mmap; XFS has one for both and tests `IS_DAX` at each fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VmOps {
    /// Anonymous memory: none.
    #[default]
    Anonymous,
    /// `ext4_file_vm_ops`.
    Ext4File,
    /// `ext4_dax_vm_ops`.
    Ext4Dax,
    /// `xfs_file_vm_ops`.
    XfsFile,
}

bitflags::bitflags! {
    /// `inode->i_state`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct IState: u32 {
        /// Being filled; nobody else may use it.
        const NEW = 1 << 0;
        /// Metadata to be written (`I_DIRTY_SYNC | I_DIRTY_DATASYNC`).
        const DIRTY = 1 << 1;
        /// `I_DIRTY_PAGES`.
        const DIRTY_PAGES = 1 << 2;
        /// `I_WILL_FREE`.
        const WILL_FREE = 1 << 3;
        /// `I_FREEING`.
        const FREEING = 1 << 4;
        /// `I_DONTCACHE`.
        const DONTCACHE = 1 << 5;
        /// On the LRU.
        const LRU = 1 << 6;
        /// `I_REFERENCED`.
        const REFERENCED = 1 << 7;
        /// No name is left; evict frees it on disk.
        const ORPHAN = 1 << 8;
        /// ext4: what is written first may stay inside the inode (`EXT4_STATE_MAY_INLINE_DATA`).
        const MAY_INLINE = 1 << 9;
        /// `I_LINKABLE`: it never had a name, and may get one.
        const LINKABLE = 1 << 10;
    }
}

/// An in-core inode. `S_DAX` and `a_ops` are separate words; whoever changes the mode of a living inode changes them one
/// by one.
#[derive(Debug, Clone, Copy)]
pub struct Inode {
    /// Its mount.
    pub sb: SbId,
    /// Its number on disk.
    pub ino: Ino,
    /// What will be written back: mode, owner, flags, size, times.
    pub disk: DiskInode,
    /// `S_DAX`.
    pub s_dax: bool,
    /// Which rule decided it when the inode was instantiated; for reports.
    pub decision: Option<DaxDecision>,
    /// `i_mapping->a_ops`.
    pub aops: Aops,
    /// `i_state`.
    pub state: IState,
    /// `i_count`.
    pub refs: u32,
    /// `i_mapping->i_pages`.
    pub pages: XArray,
    /// `i_mapping->nrpages`, in units of 4 KiB; empty and zero entries count.
    pub nrpages: u64,
    /// First VMA of `i_mmap`.
    pub mmap: VmaId,
    /// VMAs that map it.
    pub mapped: u32,
    /// Direct I/O in flight (`i_dio_count`).
    pub dio: u32,
    /// How many inodes were instantiated before this one: tells one life of a file from the next.
    pub generation: u64,
    /// Number of open files, for reports.
    pub opens: u32,
    /// Dentries of it, first of the list (`i_dentry`).
    pub aliases: DentryId,
    /// ext4: `EXT4_STATE_VERITY_IN_PROGRESS`.
    pub verity_in_progress: bool,
    /// The open file that swapping goes to (`S_SWAPFILE`); none when it is no swap file.
    pub swap: FileId,
    /// `AS_EIO`: dirty data were lost, and nobody who waited for write-back was told.
    pub as_eio: bool,
    /// `i_mapping->wb_err`.
    pub wb_err: u32,
}

impl Inode {
    /// Its type.
    #[must_use]
    pub fn kind(&self) -> FileKind {
        self.disk.kind()
    }
}

/// A name in the cache. Negative ones are not kept.
#[derive(Debug, Clone, Copy)]
pub struct Dentry {
    /// Its mount.
    pub sb: SbId,
    /// Directory, by number on disk.
    pub dir: Ino,
    /// Hash of the name; the name itself stands in the directory.
    pub hash: u64,
    /// What it names.
    pub inode: InodeId,
    /// References (open files and children in use).
    pub refs: u32,
    /// `DCACHE_DONTCACHE`.
    pub dontcache: bool,
    /// `DCACHE_REFERENCED`.
    pub referenced: bool,
    /// Unhashed: the name is gone, or it never had one.
    pub unhashed: bool,
    /// Next dentry of the same inode.
    pub next_alias: DentryId,
}

bitflags::bitflags! {
    /// `file->f_flags`, as far as they matter, with Linux's values on x86-64.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct OpenFlags: u32 {
        /// Write only.
        const WRONLY = 0o1;
        /// Read and write.
        const RDWR = 0o2;
        /// Create.
        const CREAT = 0o100;
        /// It must not exist.
        const EXCL = 0o200;
        /// Cut to nothing.
        const TRUNC = 0o1000;
        /// Write at the end.
        const APPEND = 0o2000;
        /// `O_DSYNC`.
        const DSYNC = 0o10000;
        /// Past the page cache.
        const DIRECT = 0o40000;
        /// It must be a directory.
        const DIRECTORY = 0o200_000;
        /// The last component must not be a symbolic link.
        const NOFOLLOW = 0o400_000;
        /// `O_SYNC` without `O_DSYNC`.
        const SYNC = 0o4_000_000;
        /// A reference and nothing else.
        const PATH = 0o10_000_000;
        /// No name.
        const TMPFILE = 0o20_000_000;
    }
}

impl OpenFlags {
    /// Whether it may be read from.
    #[must_use]
    pub const fn readable(self) -> bool {
        matches!(self.bits() & 3, 0 | 2) && !self.contains(Self::PATH)
    }
    /// Whether it may be written to.
    #[must_use]
    pub const fn writable(self) -> bool {
        matches!(self.bits() & 3, 1 | 2) && !self.contains(Self::PATH)
    }
}

/// An open file description.
#[derive(Debug, Clone, Copy)]
pub struct File {
    /// What is open.
    pub inode: InodeId,
    /// By which name; none for `O_TMPFILE`'s.
    pub dentry: DentryId,
    /// How.
    pub flags: OpenFlags,
    /// `f_pos`.
    pub pos: u64,
    /// Descriptors and VMAs that hold it.
    pub refs: u32,
    /// `f_wb_err`: the last error of write-back that it was told of.
    pub wb_err: u32,
}

bitflags::bitflags! {
    /// `vm_flags`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct VmFlags: u32 {
        /// May be read.
        const READ = 1 << 0;
        /// May be written.
        const WRITE = 1 << 1;
        /// May be executed.
        const EXEC = 1 << 2;
        /// Shared with the file.
        const SHARED = 1 << 3;
        /// mprotect may add write permission.
        const MAYWRITE = 1 << 5;
        /// Writes wait until the metadata is durable (`MAP_SYNC`).
        const SYNC = 1 << 23;
        /// `VM_MIXEDMAP`: until 4.18 set at mmap of a DAX file, and `vm_insert_mixed` insists on it.
        const MIXEDMAP = 1 << 28;
        /// `VM_HUGEPAGE`.
        const HUGEPAGE = 1 << 29;
        /// `VM_NOHUGEPAGE`.
        const NOHUGEPAGE = 1 << 30;
        /// Not copied by fork.
        const DONTCOPY = 1 << 17;
    }
}

/// A stretch of an address space that maps a file or nothing.
#[derive(Debug, Clone, Copy)]
pub struct Vma {
    /// Whose.
    pub mm: MmId,
    /// First address.
    pub start: u64,
    /// Address behind the last.
    pub end: u64,
    /// Page of the file at `start`.
    pub pgoff: u64,
    /// Permissions and kind.
    pub flags: VmFlags,
    /// Operations.
    pub ops: VmOps,
    /// The file it holds; none for anonymous memory.
    pub file: FileId,
    /// The inode; none for anonymous memory.
    pub inode: InodeId,
    /// Next VMA of the same inode (`i_mmap`).
    pub next_of_inode: VmaId,
    /// Next VMA of the same address space, ascending.
    pub next_of_mm: VmaId,
}

impl Vma {
    /// The page of the file at an address.
    #[must_use]
    pub const fn index_of(&self, address: u64) -> u64 {
        self.pgoff + ((address - self.start) >> crate::ids::PAGE_SHIFT)
    }

    /// Where a page of the file is mapped, if it is.
    #[must_use]
    pub fn address_of(&self, index: u64) -> Option<u64> {
        let pages = (self.end - self.start) >> crate::ids::PAGE_SHIFT;
        let at = index.checked_sub(self.pgoff)?;
        (at < pages).then(|| self.start + (at << crate::ids::PAGE_SHIFT))
    }

    /// Whether it is shared.
    #[must_use]
    pub const fn shared(&self) -> bool {
        self.flags.contains(VmFlags::SHARED)
    }
}

/// An address space.
#[derive(Debug, Clone, Copy)]
pub struct Mm {
    /// First VMA.
    pub vmas: VmaId,
    /// Tasks that use it.
    pub users: u32,
    /// Where the next mapping goes that does not say where.
    pub next_address: u64,
    /// Huge pages are off for the process (`PR_SET_THP_DISABLE`).
    pub thp_disabled: bool,
}

/// A page in memory; its bytes stand beside it.
#[derive(Debug, Clone, Copy)]
pub struct Folio {
    /// Whose page cache; none when it is anonymous or was taken out.
    pub inode: InodeId,
    /// Where in it.
    pub index: u64,
    /// `PG_uptodate`.
    pub uptodate: bool,
    /// `PG_locked`.
    pub locked: bool,
    /// `PG_dirty`.
    pub dirty: bool,
    /// `PG_writeback`.
    pub writeback: bool,
    /// References: cache, page tables, pins, tasks that work on it.
    pub refs: u32,
}

/// A mount.
#[derive(Debug)]
pub struct SuperBlock<F> {
    /// The file system behind it.
    pub fs: F,
    /// Whose methods.
    pub personality: Personality,
    /// Which kernel.
    pub profile: Profile,
    /// The mode in force.
    pub dax: DaxMode,
    /// What `/proc/mounts` shows of it.
    pub dax_shown: Option<DaxMode>,
    /// Journalling of data.
    pub data: DataMode,
    /// Delayed allocation.
    pub delalloc: bool,
    /// Whether the device below can DAX.
    pub device_dax: bool,
    /// Whether the device is synchronous (`dax_synchronous`): `MAP_SYNC` works.
    pub synchronous: bool,
    /// Whether the device is a partition.
    pub partition: bool,
    /// XFS: whether the realtime device can DAX, when there is one.
    pub realtime: Option<bool>,
    /// Mounted read-only.
    pub read_only: bool,
    /// Not mounted any more.
    pub gone: bool,
    /// Frozen: neither writes nor write faults begin.
    pub frozen: bool,
    /// An I/O error or memory failure has shut it down.
    pub shutdown: bool,
    /// Inodes instantiated so far.
    pub generation: u64,
}

impl<F: Clone> Clone for SuperBlock<F> {
    fn clone(&self) -> Self {
        Self { fs: self.fs.clone(), ..*self }
    }

    fn clone_from(&mut self, source: &Self) {
        self.fs.clone_from(&source.fs);
        let Self {
            fs: _,
            personality,
            profile,
            dax,
            dax_shown,
            data,
            delalloc,
            device_dax,
            synchronous,
            partition,
            realtime,
            read_only,
            gone,
            frozen,
            shutdown,
            generation,
        } = source;
        self.personality = *personality;
        self.profile = *profile;
        self.dax = *dax;
        self.dax_shown = *dax_shown;
        self.data = *data;
        self.delalloc = *delalloc;
        self.device_dax = *device_dax;
        self.synchronous = *synchronous;
        self.partition = *partition;
        self.realtime = *realtime;
        self.read_only = *read_only;
        self.gone = *gone;
        self.frozen = *frozen;
        self.shutdown = *shutdown;
        self.generation = *generation;
    }
}
