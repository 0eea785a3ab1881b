//! Numbers of different meaning, which therefore refuse to mix.
//!
//! None of them has `+` or `-`: arithmetic on numbers from disk is checked, and goes through the methods here.

use core::fmt;

macro_rules! number {
    ($(#[$meta:meta])* $name:ident($inner:ty)) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl $name {
            /// The number itself.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }

            /// `self + n`, or `None` past the end of the type.
            #[must_use]
            pub const fn checked_add(self, n: $inner) -> Option<Self> {
                match self.0.checked_add(n) {
                    Some(x) => Some(Self(x)),
                    None => None,
                }
            }

            /// How far `self` is past `earlier`; `None` when it is before it.
            #[must_use]
            pub const fn checked_offset_from(self, earlier: Self) -> Option<$inner> {
                self.0.checked_sub(earlier.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// A block of the file system, counted from the start of the image (`ext4_fsblk_t`).
    BlockNr(u64)
);
number!(
    /// A block of a file, counted from the start of the file (`ext4_lblk_t`).
    LogicalBlock(u32)
);
number!(
    /// An inode's number, counted from 1; 64 bits because XFS needs them.
    InodeNr(u64)
);
number!(
    /// A block group (`ext4_group_t`).
    GroupNr(u32)
);

impl InodeNr {
    /// Bad blocks (`EXT4_BAD_INO`).
    pub const BAD: Self = Self(1);
    /// The root directory (`EXT4_ROOT_INO`).
    pub const ROOT: Self = Self(2);
    /// User quota (`EXT4_USR_QUOTA_INO`).
    pub const USR_QUOTA: Self = Self(3);
    /// Group quota (`EXT4_GRP_QUOTA_INO`).
    pub const GRP_QUOTA: Self = Self(4);
    /// Boot loader (`EXT4_BOOT_LOADER_INO`).
    pub const BOOT_LOADER: Self = Self(5);
    /// Undelete directory (`EXT4_UNDEL_DIR_INO`).
    pub const UNDEL_DIR: Self = Self(6);
    /// Reserved group descriptors (`EXT4_RESIZE_INO`).
    pub const RESIZE: Self = Self(7);
    /// The journal (`EXT4_JOURNAL_INO`).
    pub const JOURNAL: Self = Self(8);
    /// First inode that is not reserved on a file system that does not say otherwise (`EXT4_GOOD_OLD_FIRST_INO`).
    pub const GOOD_OLD_FIRST: Self = Self(11);
}
