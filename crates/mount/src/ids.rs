//! Names of the world's objects: small integers, never references.

use std::fmt;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident($inner:ty) = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl $name {
            /// The value that names nothing.
            pub const NONE: Self = Self(<$inner>::MAX);

            /// Whether it names something.
            #[must_use]
            pub const fn is_some(self) -> bool {
                self.0 != <$inner>::MAX
            }

            /// Whether it names nothing.
            #[must_use]
            pub const fn is_none(self) -> bool {
                !self.is_some()
            }

            /// The id, unless it names nothing.
            #[must_use]
            pub const fn some(self) -> Option<Self> {
                if self.is_some() { Some(self) } else { None }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::NONE
            }
        }

        impl From<u32> for $name {
            fn from(n: u32) -> Self {
                Self(<$inner>::try_from(n).unwrap_or(<$inner>::MAX))
            }
        }

        impl From<$name> for u32 {
            fn from(id: $name) -> u32 {
                u32::from(id.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                if self.is_some() { write!(f, concat!($prefix, "{}"), self.0) } else { write!(f, concat!($prefix, "-")) }
            }
        }
    )*};
}

ids! {
    /// A `task_struct`.
    TaskId(u16) = "task";
    /// A mounted file system (`super_block`).
    SbId(u16) = "sb";
    /// An in-core inode; not the number on disk.
    InodeId(u32) = "inode";
    /// A `dentry`.
    DentryId(u32) = "dentry";
    /// An open file description (`struct file`); what user space holds as a descriptor.
    FileId(u32) = "file";
    /// An address space of a process (`mm_struct`).
    MmId(u16) = "mm";
    /// A `vm_area_struct`.
    VmaId(u32) = "vma";
    /// A page of the page cache, or an anonymous one.
    FolioId(u32) = "folio";
}

/// log2 of the page size of the emulated machine.
pub const PAGE_SHIFT: u32 = 12;
/// The page size of the emulated machine: x86-64.
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;
/// log2 of what one PMD entry maps.
pub const PMD_SHIFT: u32 = 21;
/// What one PMD entry maps: 2 MiB.
pub const PMD_SIZE: u64 = 1 << PMD_SHIFT;
/// Order of a PMD entry: log2 of its number of pages.
pub const PMD_ORDER: u32 = PMD_SHIFT - PAGE_SHIFT;
/// Pages that one PMD entry maps.
pub const PTRS_PER_PMD: u64 = 1 << PMD_ORDER;
