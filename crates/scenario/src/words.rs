//! The closed lists of words that operations and declarations take.

use crate::word::words;

words! {
    /// Flags of `open`.
    pub enum OpenFlag "OPEN_FLAGS" {
        /// Read only.
        Rdonly = "O_RDONLY",
        /// Write only.
        Wronly = "O_WRONLY",
        /// Read and write.
        Rdwr = "O_RDWR",
        /// Make it if it is not there.
        Creat = "O_CREAT",
        /// Refuse if it is there.
        Excl = "O_EXCL",
        /// Cut to nothing.
        Trunc = "O_TRUNC",
        /// Write at the end.
        Append = "O_APPEND",
        /// Around the page cache.
        Direct = "O_DIRECT",
        /// Each write is durable with its attributes.
        Sync = "O_SYNC",
        /// Each write is durable.
        Dsync = "O_DSYNC",
        /// Must be a directory.
        Directory = "O_DIRECTORY",
        /// A symbolic link is not followed.
        Nofollow = "O_NOFOLLOW",
        /// Reading does not change the time of access.
        Noatime = "O_NOATIME",
        /// A reference only.
        Path = "O_PATH",
        /// A file without a name, in the directory named.
        Tmpfile = "O_TMPFILE",
    }

    /// Types of `mknod`.
    pub enum NodeKind "NODE" {
        /// A FIFO.
        Fifo = "fifo",
        /// A socket.
        Socket = "socket",
        /// A character device.
        Char = "char",
        /// A block device.
        Block = "block",
        /// A regular file.
        Regular = "regular",
    }

    /// Flags of `rename`.
    pub enum RenameFlag "RENAME_FLAGS" {
        /// Both names change places.
        Exchange = "exchange",
        /// Refuse if the new name is there.
        Noreplace = "noreplace",
    }

    /// Where `lseek` counts from, or what it looks for.
    pub enum Whence "WHENCE" {
        /// The beginning.
        Set = "set",
        /// The position.
        Cur = "cur",
        /// The end.
        End = "end",
        /// The next data.
        Data = "data",
        /// The next hole.
        Hole = "hole",
    }

    /// Flags of `fallocate`.
    pub enum FallocFlag "FALLOC_FLAGS" {
        /// The size stays.
        KeepSize = "keep_size",
        /// A hole (the size stays as well).
        Punch = "punch",
        /// Zeros.
        Zero = "zero",
        /// The range is cut out.
        Collapse = "collapse",
        /// A hole is put in.
        Insert = "insert",
        /// Shared blocks are copied.
        Unshare = "unshare",
    }

    /// What `fadvise` says.
    pub enum FileAdvice "ADVICE" {
        /// Nothing special.
        Normal = "normal",
        /// Soon wanted.
        WillNeed = "willneed",
        /// No longer wanted.
        DontNeed = "dontneed",
        /// In order.
        Sequential = "sequential",
        /// In no order.
        Random = "random",
    }

    /// Flags of `statx`.
    pub enum StatxFlag "STATX_FLAGS" {
        /// A symbolic link is not followed.
        Nofollow = "nofollow",
        /// The server is not asked.
        DontSync = "dont_sync",
        /// The server is asked.
        ForceSync = "force_sync",
    }

    /// Kinds and flags of `mmap`.
    pub enum MapFlag "MAP_FLAGS" {
        /// `MAP_SHARED`.
        Shared = "shared",
        /// `MAP_PRIVATE`.
        Private = "private",
        /// `MAP_SHARED_VALIDATE`.
        SharedValidate = "shared_validate",
        /// `MAP_SYNC`.
        Sync = "sync",
        /// `MAP_POPULATE`.
        Populate = "populate",
        /// `MAP_LOCKED`.
        Locked = "locked",
        /// `MAP_NORESERVE`.
        Noreserve = "noreserve",
    }

    /// What a mapping allows.
    pub enum Prot "PROT" {
        /// Nothing.
        None = "none",
        /// Loads.
        R = "r",
        /// Stores.
        W = "w",
        /// Loads and stores.
        Rw = "rw",
        /// Execution and loads.
        Rx = "rx",
        /// All.
        Rwx = "rwx",
    }

    /// What `madvise` says.
    pub enum MapAdvice "ADVICE" {
        /// Nothing special.
        Normal = "normal",
        /// The pages may go.
        DontNeed = "dontneed",
        /// Soon wanted.
        WillNeed = "willneed",
        /// Fault in for reading.
        PopulateRead = "populate_read",
        /// Fault in for writing.
        PopulateWrite = "populate_write",
        /// Punch a hole.
        Remove = "remove",
        /// Big pages are welcome.
        HugePage = "hugepage",
        /// Big pages are not.
        NoHugePage = "nohugepage",
        /// Not in a child.
        DontFork = "dontfork",
        /// The memory has failed.
        HwPoison = "hwpoison",
        /// The page is taken offline.
        SoftOffline = "soft_offline",
        /// Not wanted for now.
        Cold = "cold",
        /// Reclaim it.
        Pageout = "pageout",
    }

    /// Flags of `msync`.
    pub enum MsyncFlag "MSYNC_FLAGS" {
        /// Wait.
        Sync = "sync",
        /// Do not.
        Async = "async",
        /// Other copies are stale.
        Invalidate = "invalidate",
    }

    /// How much a load or a store moves.
    pub enum Width "WIDTH" {
        /// A byte.
        U8 = "u8",
        /// Two bytes.
        U16 = "u16",
        /// Four bytes.
        U32 = "u32",
        /// Eight bytes.
        U64 = "u64",
    }

    /// How a store goes.
    pub enum StoreFlag "STORE_FLAGS" {
        /// Past the cache.
        Nt = "nt",
    }

    /// What a pin is for.
    pub enum PinFlag "PIN_FLAGS" {
        /// For writing (`FOLL_WRITE`).
        Write = "write",
        /// For long (`FOLL_LONGTERM`).
        Longterm = "longterm",
        /// Without taking a fault or a lock (`get_user_pages_fast` only).
        Fast = "fast",
    }

    /// How a file system is shut down.
    pub enum Shutdown "HOW" {
        /// The log is written first.
        Flush = "flush",
        /// It is not.
        NoFlush = "noflush",
    }

    /// Whose rules a file system follows.
    pub enum Rules "RULES" {
        /// ext4.
        Ext4 = "ext4",
        /// XFS.
        Xfs = "xfs",
    }

    /// What lies under a file system.
    pub enum Device "DEVICE" {
        /// Persistent memory, synchronous: a whole device.
        Pmem = "pmem",
        /// Persistent memory whose flushes go through the host: no `MAP_SYNC`.
        VirtioPmem = "virtio_pmem",
        /// A partition of persistent memory, aligned to pages.
        PmemPartition = "pmem_partition",
        /// A partition of persistent memory that begins inside a page: no DAX.
        PmemMisaligned = "pmem_misaligned",
        /// A disk: no DAX.
        Disk = "disk",
    }

    /// What a scenario needs of who runs it.
    pub enum Need "NEED" {
        /// Files that are not accessed directly: page cache.
        PageCache = "page_cache",
        /// Files that share blocks.
        Reflink = "reflink",
        /// A reverse map, and failures told to the file system.
        Rmap = "rmap",
        /// A realtime device.
        Realtime = "realtime",
        /// fs-verity.
        Verity = "verity",
        /// Encryption of files.
        Encryption = "encryption",
        /// Power cuts.
        PowerCut = "power_cut",
        /// Media that can be poisoned.
        MediaPoison = "media_poison",
        /// Failures of memory.
        MemoryFailure = "memory_failure",
        /// Swap files.
        Swap = "swap",
        /// User namespaces.
        UserNs = "user_ns",
        /// A schedule that is chosen step by step.
        Stepping = "stepping",
        /// Trace events.
        Trace = "trace",
        /// What the kernel has in memory: entries, page tables, methods.
        State = "state",
        /// Extent swaps between files.
        MoveExtents = "move_extents",
    }

    /// Capabilities of a task.
    pub enum Capability "CAPABILITY" {
        /// Owners are changed.
        Chown = "CAP_CHOWN",
        /// Permissions do not count.
        DacOverride = "CAP_DAC_OVERRIDE",
        /// Acts as the owner.
        Fowner = "CAP_FOWNER",
        /// Immutable and append-only are changed.
        LinuxImmutable = "CAP_LINUX_IMMUTABLE",
        /// Mounts, and most else.
        SysAdmin = "CAP_SYS_ADMIN",
        /// Resources: reserved blocks, data journalling.
        SysResource = "CAP_SYS_RESOURCE",
        /// Special files.
        Mknod = "CAP_MKNOD",
        /// Memory is locked.
        IpcLock = "CAP_IPC_LOCK",
    }

    /// What the kernel counts; those that begin with `fallback.` are reasons why a fault of 2 MiB became one of 4 KiB.
    pub enum CounterName "COUNTER" {
        /// Traps into the kernel.
        Faults = "faults",
        /// Entries of 4 KiB put by DAX faults.
        Pte = "pte",
        /// Entries of 2 MiB put by DAX faults.
        Pmd = "pmd",
        /// Reads of holes.
        Zero = "zero",
        /// Private copies.
        Cow = "cow",
        /// Write-protect faults.
        Wp = "wp",
        /// Faults on the page cache.
        PageCache = "page_cache",
        /// Bytes of page cache that DAX made needless.
        CacheSaved = "cache_saved",
        /// Faults that fell back, whatever the reason.
        Fallback = "fallback",
        /// Huge pages are off.
        ThpDisabled = "fallback.thp_disabled",
        /// Address and offset differ modulo 2 MiB.
        Colour = "fallback.colour",
        /// A write to a private mapping.
        PrivateWrite = "fallback.private_write",
        /// The range reaches out of the mapping.
        OutsideVma = "fallback.outside_vma",
        /// The range reaches past the end of the file.
        EndOfFile = "fallback.end_of_file",
        /// An entry of 4 KiB is in the way.
        SmallEntry = "fallback.small_entry",
        /// The file system could not map the range.
        MapError = "fallback.map_error",
        /// The extent is shorter.
        ShortExtent = "fallback.short_extent",
        /// A write to blocks that are not written.
        NotMapped = "fallback.not_mapped",
        /// Blocks are not aligned.
        UnalignedPfn = "fallback.unaligned_pfn",
        /// The device has it not in one piece.
        NotContiguous = "fallback.not_contiguous",
        /// Another fault was first.
        LostRace = "fallback.lost_race",
        /// A page table is there.
        TableThere = "fallback.table_there",
    }
}
