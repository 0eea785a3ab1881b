//! The table of operations.

use super::args::{Address, Fd, Fs, Key, Map, Mode, NewFd, NewMap, NewPin, NewTask, Path, Pin, Target, Task, Text};
use super::{Arg, NameVisitor, OperationInfo, Shape};
use crate::ast::MountOptions;
use crate::data::Data;
use crate::error::Error;
use crate::letters::{Change, Flag, Flags, XFlag};
use crate::parse::Cursor;
use crate::word::Set;
use crate::words::{
    CounterName, FallocFlag, FileAdvice, MapAdvice, MapFlag, MsyncFlag, NodeKind, OpenFlag, PinFlag, Prot, RenameFlag,
    Shutdown, StatxFlag, StoreFlag, Whence, Width,
};

macro_rules! operations {
    ($( group $group:literal { $(
        $(#[doc = $doc:literal])+
        $variant:ident $name:literal ($($pos:ident: $pt:ty),*) [$($key:ident: $kt:ty),*] $shape:expr;
    )+ } )+) => {
        /// An operation of a task.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Operation { $($(
            $(#[doc = $doc])+
            $variant {
                $(#[doc = concat!("Argument `", stringify!($pos), "`.")] $pos: $pt,)*
                $(#[doc = concat!("Argument `", stringify!($key), "=`.")] $key: Option<$kt>,)*
            },
        )+)+ }

        impl Operation {
            /// Every operation there is, in the order of the reference.
            pub const TABLE: &'static [OperationInfo] = &[$($(
                OperationInfo {
                    name: $name,
                    group: $group,
                    about: concat!($($doc),+),
                    arguments: &[$((stringify!($pos), <$pt as Arg>::USAGE),)*],
                    options: &[$((stringify!($key), <$kt as Arg>::USAGE),)*],
                    shape: $shape,
                },
            )+)+];

            /// How it is written.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self { $($(Self::$variant { .. } => $name,)+)+ }
            }

            /// What it gives.
            #[must_use]
            pub const fn shape(&self) -> Shape {
                match self { $($(Self::$variant { .. } => $shape,)+)+ }
            }

            /// The arguments of the operation called `name`; `None` when there is none.
            pub(crate) fn parse(name: &str, c: &mut Cursor<'_>) -> Option<Result<Self, Error>> {
                match name {
                    $($($name => Some((|| {
                        $(let $pos = <$pt as Arg>::parse(c)?;)*
                        $(let mut $key: Option<$kt> = None;)*
                        while let Some(key) = c.key()? {
                            match &*key.text {
                                $(stringify!($key) if $key.is_none() => $key = Some(<$kt as Arg>::parse(c)?),)*
                                _ => return Err(c.bad_key(&key, &[$(stringify!($key)),*])),
                            }
                        }
                        Ok(Self::$variant { $($pos,)* $($key,)* })
                    })()),)+)+
                    _ => None,
                }
            }

            /// As it is written, into `out`.
            pub(crate) fn print(&self, out: &mut String) {
                out.push_str(self.name());
                match self { $($(Self::$variant { $($pos,)* $($key,)* } => {
                    $(super::arg::print_positional($pos, out);)*
                    $(if let Some(value) = $key {
                        out.push_str(concat!(" ", stringify!($key), "="));
                        value.print(out);
                    })*
                })+)+ }
            }

            /// Shows each name of it to `visit`, in the order of the arguments.
            pub(crate) fn names(&self, visit: NameVisitor<'_, '_>) {
                let _ = &visit;
                match self { $($(Self::$variant { $($pos,)* $($key,)* } => {
                    $($pos.names(visit);)*
                    $(if let Some(value) = $key { value.names(visit); })*
                })+)+ }
            }

            #[cfg(test)]
            pub(crate) fn any(g: &mut crate::any::Gen) -> Self {
                let mut left = g.below(Self::TABLE.len() as u64);
                $($(
                    if left == 0 {
                        return Self::$variant {
                            $($pos: <$pt as Arg>::any(g),)*
                            $($key: if g.coin() { Some(<$kt as Arg>::any(g)) } else { None },)*
                        };
                    }
                    left -= 1;
                )+)+
                unreachable!("the table has as many rows as variants")
            }
        }
    };
}

const STAT: &[&str] = &["type", "mode", "size", "blocks", "nlink", "uid", "gid", "ino"];
const STATX: &[&str] =
    &["type", "mode", "size", "blocks", "nlink", "uid", "gid", "ino", "attributes", "attributes_mask", "dax"];
const FSX: &[&str] = &["xflags", "raw", "extsize", "cowextsize", "nextents", "projid"];
const EXTENT_KINDS: &[&str] = &["written", "unwritten", "delalloc", "inline"];
const EXTENT: &[&str] = &["logical", "physical", "length", "shared", "last"];
const ENTRY_KINDS: &[&str] = &["mapped", "zero", "empty", "folio"];
const ENTRY: &[&str] = &["index", "order", "dirty", "towrite", "locked", "pfn"];
const PTE_KINDS: &[&str] = &["pte", "pmd"];
const PTE: &[&str] = &["offset", "target", "writable", "dirty", "pfn"];

operations! {
    group "Files" {
        /// Opens a file.
        Open "open" (fd: NewFd, path: Path, flags: Set<OpenFlag>) [mode: Mode] Shape::Unit;
        /// Closes a descriptor.
        Close "close" (fd: Fd) [] Shape::Unit;
        /// Makes another descriptor of the same open file.
        Dup "dup" (new: NewFd, fd: Fd) [] Shape::Unit;
        /// Makes an empty file, or empties it, and closes it.
        Creat "creat" (path: Path) [mode: Mode] Shape::Unit;
        /// Reads at the position.
        Read "read" (fd: Fd, length: u64) [] Shape::Bytes;
        /// Reads at an offset.
        Pread "pread" (fd: Fd, offset: u64, length: u64) [] Shape::Bytes;
        /// Writes at the position; gives the number of bytes.
        Write "write" (fd: Fd, data: Data) [] Shape::Number;
        /// Writes at an offset; gives the number of bytes.
        Pwrite "pwrite" (fd: Fd, offset: u64, data: Data) [] Shape::Number;
        /// Reads at an offset into mapped memory; gives the number of bytes.
        ReadInto "read_into" (fd: Fd, offset: u64, to: Address, length: u64) [] Shape::Number;
        /// Writes at an offset from mapped memory; gives the number of bytes.
        WriteFrom "write_from" (fd: Fd, offset: u64, from: Address, length: u64) [] Shape::Number;
        /// Moves the position; gives the new one.
        Lseek "lseek" (fd: Fd, offset: u64, whence: Whence) [] Shape::Number;
        /// Cuts or extends by path.
        Truncate "truncate" (path: Path, size: u64) [] Shape::Unit;
        /// Cuts or extends by descriptor.
        Ftruncate "ftruncate" (fd: Fd, size: u64) [] Shape::Unit;
        /// Allocates, punches, zeroes, collapses, inserts or unshares a range.
        Fallocate "fallocate" (fd: Fd, offset: u64, length: u64, flags: Set<FallocFlag>) [] Shape::Unit;
        /// Says how a range will be used.
        Fadvise "fadvise" (fd: Fd, offset: u64, length: u64, advice: FileAdvice) [] Shape::Unit;
        /// Makes a file durable.
        Fsync "fsync" (fd: Fd) [] Shape::Unit;
        /// Makes a file's data durable.
        Fdatasync "fdatasync" (fd: Fd) [] Shape::Unit;
        /// Gives the extents of a file.
        Fiemap "fiemap" (target: Target) [] Shape::Records(EXTENT_KINDS, EXTENT);
        /// Gives the number of the block of a file's block (`FIBMAP`).
        Bmap "bmap" (fd: Fd, block: u64) [] Shape::Number;
        /// Shares all blocks of the second file with the first (`FICLONE`).
        Ficlone "ficlone" (to: Fd, from: Fd) [] Shape::Unit;
        /// Exchanges extents with a donor (`EXT4_IOC_MOVE_EXT`).
        MoveExtents "move_extents" (fd: Fd, donor: Fd, length: u64) [] Shape::Unit;
        /// Turns swapping to a file on.
        Swapon "swapon" (path: Path) [] Shape::Unit;
        /// Turns swapping to a file off.
        Swapoff "swapoff" (path: Path) [] Shape::Unit;
    }
    group "Names" {
        /// Makes a directory.
        Mkdir "mkdir" (path: Path) [mode: Mode] Shape::Unit;
        /// Makes a FIFO, a socket, a device node or an empty file.
        Mknod "mknod" (path: Path, kind: NodeKind) [mode: Mode] Shape::Unit;
        /// Makes a symbolic link.
        Symlink "symlink" (target: Text, path: Path) [] Shape::Unit;
        /// Gives a file another name.
        Link "link" (from: Path, to: Path) [] Shape::Unit;
        /// Gives an open file a name (`O_TMPFILE`).
        Linkat "linkat" (fd: Fd, to: Path) [] Shape::Unit;
        /// Renames, or exchanges two names.
        Rename "rename" (from: Path, to: Path, flags: Set<RenameFlag>) [] Shape::Unit;
        /// Removes a name.
        Unlink "unlink" (path: Path) [] Shape::Unit;
        /// Removes a directory.
        Rmdir "rmdir" (path: Path) [] Shape::Unit;
        /// Gives the names of a directory, sorted, without `.` and `..`.
        Readdir "readdir" (path: Path) [] Shape::Texts;
        /// Gives where a symbolic link leads.
        Readlink "readlink" (path: Path) [] Shape::Text;
    }
    group "Attributes" {
        /// Gives the flags (`FS_IOC_GETFLAGS`), by the letters of lsattr.
        Getflags "getflags" (target: Target) [] Shape::Set;
        /// Sets the flags to these (`FS_IOC_SETFLAGS`).
        Setflags "setflags" (target: Target, flags: Flags<Flag>) [] Shape::Unit;
        /// Gets the flags, changes some, sets them.
        Chattr "chattr" (change: Change<Flag>, target: Target) [] Shape::Unit;
        /// Gives the attributes of `struct fsxattr`, flags by the letters of xfs_io.
        Fsgetxattr "fsgetxattr" (target: Target) [] Shape::Record(FSX);
        /// Sets them to these; what is not given is 0 (`FS_IOC_FSSETXATTR`).
        Fssetxattr "fssetxattr" (target: Target, xflags: Flags<XFlag>) [projid: u64, extsize: u64, cowextsize: u64] Shape::Unit;
        /// Gets them, changes what is given, sets them.
        Fschattr "fschattr" (change: Change<XFlag>, target: Target) [projid: u64, extsize: u64, cowextsize: u64] Shape::Unit;
        /// Calls `FS_IOC_FSSETXATTR` with an argument that cannot be read.
        FssetxattrBad "fssetxattr_bad" (target: Target) [] Shape::Unit;
        /// Gives what stat gives.
        Stat "stat" (target: Target) [] Shape::Record(STAT);
        /// Gives what statx gives; `attributes` and `attributes_mask` are sets of words, `dax` is 0 or 1.
        Statx "statx" (target: Target, flags: Set<StatxFlag>) [] Shape::Record(STATX);
        /// Changes permissions.
        Chmod "chmod" (target: Target, mode: Mode) [] Shape::Unit;
        /// Changes the owner.
        Chown "chown" (target: Target, uid: u64, gid: u64) [] Shape::Unit;
        /// Sets an extended attribute.
        Setxattr "setxattr" (target: Target, name: Text, value: Data) [] Shape::Unit;
        /// Gives an extended attribute.
        Getxattr "getxattr" (target: Target, name: Text) [] Shape::Bytes;
        /// Gives the names of extended attributes, sorted.
        Listxattr "listxattr" (target: Target) [] Shape::Texts;
        /// Removes an extended attribute.
        Removexattr "removexattr" (target: Target, name: Text) [] Shape::Unit;
        /// Turns fs-verity on.
        EnableVerity "enable_verity" (fd: Fd) [] Shape::Unit;
        /// Gives a directory an encryption policy.
        SetEncryption "set_encryption" (target: Target) [] Shape::Unit;
    }
    group "File systems" {
        /// Mounts.
        Mount "mount" (fs: Fs, options: MountOptions) [] Shape::Unit;
        /// Mounts again with other options.
        Remount "remount" (fs: Fs, options: MountOptions) [] Shape::Unit;
        /// Unmounts.
        Umount "umount" (fs: Fs) [] Shape::Unit;
        /// Gives the options that are shown in `/proc/mounts`.
        MountOptions "mount_options" (fs: Fs) [] Shape::Set;
        /// Gives what statfs gives.
        Statfs "statfs" (fs: Fs) [] Shape::Record(&["bsize", "blocks", "bfree", "bavail", "files", "ffree"]);
        /// Makes all file systems durable.
        Sync "sync" () [] Shape::Unit;
        /// Makes one file system durable.
        Syncfs "syncfs" (fs: Fs) [] Shape::Unit;
        /// Freezes.
        Freeze "freeze" (fs: Fs) [] Shape::Unit;
        /// Thaws.
        Thaw "thaw" (fs: Fs) [] Shape::Unit;
        /// Shuts down (`FS_IOC_SHUTDOWN`), with what is dirty written before or not; the next mount finds what was committed.
        Shutdown "shutdown" (fs: Fs, how: Shutdown) [] Shape::Unit;
        /// Drops caches: 1 the page cache, 2 inodes and names, 3 both, repeated until nothing more goes.
        DropCaches "drop_caches" (what: u64) [] Shape::Unit;
        /// Sets a switch of `/proc/sys/fs`.
        Sysctl "sysctl" (name: Key, value: u64) [] Shape::Unit;
        /// Cuts the power of the machine and mounts again what was mounted: what was not durable is gone, and so are descriptors, mappings and pins.
        PowerCut "power_cut" (fs: Fs) [] Shape::Unit;
        /// Poisons the media under a range of a file.
        Poison "poison" (target: Target, offset: u64, length: u64) [] Shape::Unit;
    }
    group "Mappings" {
        /// Maps a range of a file; `addr=` asks for an address, else it gets 2 MiB-aligned addresses of its own.
        Mmap "mmap" (map: NewMap, fd: Fd, offset: u64, length: u64, flags: Set<MapFlag>) [prot: Prot, addr: u64] Shape::Unit;
        /// Unmaps a mapping or a range of it.
        Munmap "munmap" (map: Map) [offset: u64, length: u64] Shape::Unit;
        /// Grows, shrinks or moves a mapping.
        Mremap "mremap" (map: Map, length: u64) [addr: u64] Shape::Unit;
        /// Changes what a mapping, or a range of it, allows.
        Mprotect "mprotect" (map: Map, prot: Prot) [offset: u64, length: u64] Shape::Unit;
        /// Says how a mapping, or a range of it, will be used.
        Madvise "madvise" (map: Map, advice: MapAdvice) [offset: u64, length: u64] Shape::Unit;
        /// Makes a mapping, or a range of it, durable.
        Msync "msync" (map: Map, flags: Set<MsyncFlag>) [offset: u64, length: u64] Shape::Unit;
        /// Loads a number.
        Load "load" (at: Address, width: Width) [] Shape::Number;
        /// Stores a number.
        Store "store" (at: Address, width: Width, value: u64, flags: Set<StoreFlag>) [] Shape::Unit;
        /// Loads bytes.
        LoadBytes "load_bytes" (at: Address, length: u64) [] Shape::Bytes;
        /// Stores bytes.
        StoreBytes "store_bytes" (at: Address, data: Data) [] Shape::Unit;
        /// Writes cache lines back, keeping them.
        Clwb "clwb" (at: Address, length: u64) [] Shape::Unit;
        /// Writes cache lines back and drops them.
        Clflush "clflush" (at: Address, length: u64) [] Shape::Unit;
        /// Waits for stores and write-backs.
        Sfence "sfence" () [] Shape::Unit;
        /// Pins pages of a mapping (`get_user_pages`).
        Pin "pin" (pin: NewPin, at: Address, length: u64, flags: Set<PinFlag>) [] Shape::Unit;
        /// Lets pinned pages go.
        Unpin "unpin" (pin: Pin) [] Shape::Unit;
    }
    group "Tasks" {
        /// Makes a child with a copy of memory and descriptors.
        Fork "fork" (child: NewTask) [] Shape::Unit;
        /// Ends the task.
        Exit "exit" () [] Shape::Unit;
        /// Changes the user.
        Setuid "setuid" (uid: u64) [] Shape::Unit;
        /// Waits until the task's operation that blocks has ended, and gives what came of it.
        Wait "wait" () [] Shape::Any;
        /// Sends a signal to a task that waits.
        Interrupt "interrupt" (task: Task) [] Shape::Unit;
    }
    group "State" {
        /// The persistent flag, 0 or 1, without a system call.
        Flag "flag" (target: Target) [] Shape::Number;
        /// `S_DAX` of the inode in memory.
        SDax "s_dax" (target: Target) [] Shape::Number;
        /// The kind of address-space operations: `dax` or `cache`.
        Aops "aops" (target: Target) [] Shape::Text;
        /// The kind of operations of a mapping: `dax` or `cache`.
        VmOps "vm_ops" (map: Map) [] Shape::Text;
        /// What is cached of a file, in order: entries and folios.
        Entries "entries" (target: Target) [] Shape::Records(ENTRY_KINDS, ENTRY);
        /// The page table under a mapping, in order; `target` is dax, zero, folio, anon or hwpoison.
        Ptes "ptes" (map: Map) [] Shape::Records(PTE_KINDS, PTE);
        /// How many pages of a file are pinned.
        Pins "pins" (target: Target) [] Shape::Number;
        /// Whether the inode of a path is in memory, without bringing it there.
        Cached "cached" (path: Path) [] Shape::Number;
        /// How many inodes of a file system are in memory.
        CachedInodes "cached_inodes" (fs: Fs) [] Shape::Number;
        /// Whether the inode in memory is to go as soon as nobody uses it (`I_DONTCACHE`).
        Dontcache "dontcache" (target: Target) [] Shape::Number;
        /// Bytes of a file as they are durable.
        Durable "durable" (target: Target, offset: u64, length: u64) [] Shape::Bytes;
        /// A counter.
        Counter "counter" (name: CounterName) [] Shape::Number;
        /// Sets all counters to 0.
        ResetCounters "reset_counters" () [] Shape::Unit;
        /// Trace events since the last `trace`, in order.
        Trace "trace" () [] Shape::Records(&[], &[]);
        /// What the kernel knows of a file, in words.
        Explain "explain" (target: Target) [] Shape::Text;
    }
}
