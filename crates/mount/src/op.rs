//! What one step touches: the labels by which an explorer knows which steps commute.

use std::fmt;

use crate::ids::{FileId, InodeId, MmId, SbId, TaskId, VmaId};
use crate::locks::LockId;

/// Kinds of objects. Things that the kernel keeps apart are apart here: `S_DAX`, the operations vector, the VMA's
/// operations and the entries of the mapping are four objects, and a design that changes them writes them one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Kind {
    /// Anything; conflicts with everything. For cold operations only.
    World,
    /// A lock.
    Lock,
    /// A wait queue.
    Queue,
    /// A task's own state, as others may change it (signals).
    Task,
    /// `S_DAX` of an in-core inode.
    SDax,
    /// `i_mapping->a_ops`.
    Aops,
    /// `i_size`.
    Size,
    /// The rest of an in-core inode: flags, owner, times, links, xflags.
    Attr,
    /// References, `i_state`, membership of the cache.
    Life,
    /// One index of `i_pages`.
    Entry,
    /// All of one inode's `i_pages`.
    Entries,
    /// `i_mmap`: which VMAs map the inode.
    IMmap,
    /// One page-table entry.
    Pte,
    /// All page tables of one address space.
    Ptes,
    /// The VMAs of one address space.
    Vmas,
    /// `vm_ops` and `vm_flags` of one VMA.
    Vma,
    /// Contents of one inode's data, wherever they are (cache, media).
    Data,
    /// Contents of all data of all files and anonymous memory.
    AllData,
    /// The block map of one inode.
    BlockMap,
    /// The namespace and the metadata of one file system.
    Fs,
    /// State of a mount: freeze, options.
    Sb,
    /// References to pages from outside of the page tables (pins).
    Pins,
    /// One open file: position, flags.
    File,
    /// Dentries and the inode cache.
    Icache,
}

/// One object: a kind and up to two numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Object(u64);

impl Object {
    const fn new(kind: Kind, a: u32, b: u64) -> Self {
        Self((kind as u64) << 56 | ((a as u64) & 0xF_FFFF) << 36 | (b & 0xF_FFFF_FFFF))
    }

    /// Everything there is.
    pub const WORLD: Self = Self::new(Kind::World, 0, 0);
    /// Data of all files.
    pub const ALL_DATA: Self = Self::new(Kind::AllData, 0, 0);
    /// All pins.
    pub const PINS: Self = Self::new(Kind::Pins, 0, 0);
    /// Dentries and the inode cache.
    pub const ICACHE: Self = Self::new(Kind::Icache, 0, 0);

    /// A lock.
    #[must_use]
    pub const fn lock(lock: LockId) -> Self {
        Self::new(Kind::Lock, lock.class as u32, lock.of as u64)
    }
    /// A wait queue.
    #[must_use]
    pub const fn queue(key: u64) -> Self {
        Self::new(Kind::Queue, (key >> 36) as u32, key)
    }
    /// A task.
    #[must_use]
    pub const fn task(task: TaskId) -> Self {
        Self::new(Kind::Task, task.0 as u32, 0)
    }
    /// `S_DAX` of an inode.
    #[must_use]
    pub const fn s_dax(inode: InodeId) -> Self {
        Self::new(Kind::SDax, inode.0, 0)
    }
    /// `a_ops` of an inode.
    #[must_use]
    pub const fn aops(inode: InodeId) -> Self {
        Self::new(Kind::Aops, inode.0, 0)
    }
    /// `i_size`.
    #[must_use]
    pub const fn size(inode: InodeId) -> Self {
        Self::new(Kind::Size, inode.0, 0)
    }
    /// Flags, owner, times of an inode.
    #[must_use]
    pub const fn attr(inode: InodeId) -> Self {
        Self::new(Kind::Attr, inode.0, 0)
    }
    /// References and state of an inode.
    #[must_use]
    pub const fn life(inode: InodeId) -> Self {
        Self::new(Kind::Life, inode.0, 0)
    }
    /// One index of `i_pages`.
    #[must_use]
    pub const fn entry(inode: InodeId, index: u64) -> Self {
        Self::new(Kind::Entry, inode.0, index)
    }
    /// All of `i_pages`.
    #[must_use]
    pub const fn entries(inode: InodeId) -> Self {
        Self::new(Kind::Entries, inode.0, 0)
    }
    /// `i_mmap`.
    #[must_use]
    pub const fn i_mmap(inode: InodeId) -> Self {
        Self::new(Kind::IMmap, inode.0, 0)
    }
    /// The entry that maps virtual page `page` (address >> 12).
    #[must_use]
    pub const fn pte(mm: MmId, page: u64) -> Self {
        Self::new(Kind::Pte, mm.0 as u32, page)
    }
    /// All page tables of an address space.
    #[must_use]
    pub const fn ptes(mm: MmId) -> Self {
        Self::new(Kind::Ptes, mm.0 as u32, 0)
    }
    /// The VMAs of an address space.
    #[must_use]
    pub const fn vmas(mm: MmId) -> Self {
        Self::new(Kind::Vmas, mm.0 as u32, 0)
    }
    /// Operations and flags of one VMA.
    #[must_use]
    pub const fn vma(vma: VmaId) -> Self {
        Self::new(Kind::Vma, vma.0, 0)
    }
    /// Contents of an inode.
    #[must_use]
    pub const fn data(inode: InodeId) -> Self {
        Self::new(Kind::Data, inode.0, 0)
    }
    /// The block map of an inode.
    #[must_use]
    pub const fn block_map(inode: InodeId) -> Self {
        Self::new(Kind::BlockMap, inode.0, 0)
    }
    /// Metadata of a file system.
    #[must_use]
    pub const fn fs(sb: SbId) -> Self {
        Self::new(Kind::Fs, sb.0 as u32, 0)
    }
    /// State of a mount.
    #[must_use]
    pub const fn sb(sb: SbId) -> Self {
        Self::new(Kind::Sb, sb.0 as u32, 0)
    }
    /// An open file.
    #[must_use]
    pub const fn file(file: FileId) -> Self {
        Self::new(Kind::File, file.0, 0)
    }

    const fn kind(self) -> u8 {
        (self.0 >> 56) as u8
    }

    const fn first(self) -> u64 {
        self.0 >> 36 & 0xF_FFFF
    }

    /// Whether it is of a kind.
    #[must_use]
    pub const fn is(self, kind: Kind) -> bool {
        self.kind() == kind as u8
    }

    /// The numbers that tell it from others of its kind.
    pub(crate) const fn numbers(self) -> (u32, u64) {
        (self.first() as u32, self.0 & 0xF_FFFF_FFFF)
    }

    /// Whether this object is `other`, or a whole that `other` is a part of.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        if self.0 == other.0 {
            return true;
        }
        let (mine, theirs) = (self.kind(), other.kind());
        mine == Kind::World as u8
            || (mine == Kind::Entries as u8 && theirs == Kind::Entry as u8 && self.first() == other.first())
            || (mine == Kind::Ptes as u8 && theirs == Kind::Pte as u8 && self.first() == other.first())
            || (mine == Kind::AllData as u8 && theirs == Kind::Data as u8)
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 24] = [
            "world", "lock", "queue", "task", "S_DAX", "a_ops", "i_size", "attr", "life", "entry", "i_pages", "i_mmap",
            "pte", "ptes", "vmas", "vma", "data", "all-data", "blockmap", "fs", "sb", "pins", "file", "icache",
        ];
        let name = NAMES.get(self.kind() as usize).copied().unwrap_or("?");
        let (a, b) = (self.first(), self.0 & 0xF_FFFF_FFFF);
        if b == 0 { write!(f, "{name}:{a}") } else { write!(f, "{name}:{a}.{b:#x}") }
    }
}

/// Most objects that one step may name: an `Op` then fills a cache line, and every step of a schedule is a few copies of one.
pub const MAX_OBJECTS: usize = 5;

/// The set of objects that a step touches, each read or written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Op {
    /// What the step is, in the kernel's words. For pictures and errors; two steps are told apart by objects alone.
    pub name: &'static str,
    objects: [Object; MAX_OBJECTS],
    len: u8,
    writes: u8,
}

impl Op {
    /// A step that touches nothing shared.
    #[must_use]
    #[inline]
    pub const fn new(name: &'static str) -> Self {
        Self { name, objects: [Object(0); MAX_OBJECTS], len: 0, writes: 0 }
    }

    /// A step that may touch anything.
    #[must_use]
    #[inline]
    pub const fn world(name: &'static str) -> Self {
        Self::new(name).write(Object::WORLD)
    }

    /// It reads `object` as well.
    #[must_use]
    #[inline]
    pub const fn read(mut self, object: Object) -> Self {
        assert!((self.len as usize) < MAX_OBJECTS, "a step names too many objects");
        self.objects[self.len as usize] = object;
        self.len += 1;
        self
    }

    /// It writes (and may read) `object` as well.
    #[must_use]
    #[inline]
    pub const fn write(mut self, object: Object) -> Self {
        self.writes |= 1 << self.len;
        self.read(object)
    }

    /// Its objects, and whether each is written.
    pub fn objects(&self) -> impl Iterator<Item = (Object, bool)> + '_ {
        (0..self.len as usize).map(|at| (self.objects[at], self.writes >> at & 1 == 1))
    }

    /// Whether the step was declared to touch `object` this way.
    #[must_use]
    pub fn allows(&self, object: Object, write: bool) -> bool {
        self.objects().any(|(declared, writes)| (writes || !write) && declared.covers(object))
    }

    /// Whether the order of two steps may matter: one writes what the other touches.
    #[must_use]
    pub fn conflicts(&self, other: &Self) -> bool {
        self.objects().any(|(a, a_writes)| {
            other.objects().any(|(b, b_writes)| (a_writes || b_writes) && (a.covers(b) || b.covers(a)))
        })
    }
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.name)?;
        for (at, (object, write)) in self.objects().enumerate() {
            write!(f, "{}{}{object}", if at > 0 { ", " } else { "" }, if write { "w " } else { "r " })?;
        }
        f.write_str(")")
    }
}
