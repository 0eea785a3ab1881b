//! Attribute flags by letter: those of `chattr` and `lsattr`, and those of `xfs_io`'s `chattr`.

use crate::word::{Set, Word};

crate::word::words! {
    /// A flag of `FS_IOC_GETFLAGS`, by the letter of lsattr.
    pub enum Flag "LETTERS" {
        /// `FS_SECRM_FL`.
        Secrm = "s",
        /// `FS_UNRM_FL`.
        Unrm = "u",
        /// `FS_SYNC_FL`.
        Sync = "S",
        /// `FS_DIRSYNC_FL`.
        Dirsync = "D",
        /// `FS_IMMUTABLE_FL`.
        Immutable = "i",
        /// `FS_APPEND_FL`.
        Append = "a",
        /// `FS_NODUMP_FL`.
        Nodump = "d",
        /// `FS_NOATIME_FL`.
        Noatime = "A",
        /// `FS_COMPR_FL`.
        Compr = "c",
        /// `FS_ENCRYPT_FL`.
        Encrypt = "E",
        /// `FS_JOURNAL_DATA_FL`.
        JournalData = "j",
        /// `FS_INDEX_FL`.
        Index = "I",
        /// `FS_NOTAIL_FL`.
        Notail = "t",
        /// `FS_TOPDIR_FL`.
        Topdir = "T",
        /// `FS_EXTENT_FL`.
        Extent = "e",
        /// `FS_NOCOW_FL`.
        Nocow = "C",
        /// `FS_DAX_FL`.
        Dax = "x",
        /// `FS_CASEFOLD_FL`.
        Casefold = "F",
        /// `FS_INLINE_DATA_FL`.
        InlineData = "N",
        /// `FS_PROJINHERIT_FL`.
        Projinherit = "P",
        /// `FS_VERITY_FL`.
        Verity = "V",
        /// `FS_NOCOMP_FL`.
        Nocomp = "m",
    }

    /// A flag of `FS_IOC_FSGETXATTR`, by the letter of `xfs_io`.
    pub enum XFlag "XFLAGS" {
        /// `FS_XFLAG_REALTIME`.
        Realtime = "r",
        /// `FS_XFLAG_PREALLOC`.
        Prealloc = "p",
        /// `FS_XFLAG_IMMUTABLE`.
        Immutable = "i",
        /// `FS_XFLAG_APPEND`.
        Append = "a",
        /// `FS_XFLAG_SYNC`.
        Sync = "s",
        /// `FS_XFLAG_NOATIME`.
        Noatime = "A",
        /// `FS_XFLAG_NODUMP`.
        Nodump = "d",
        /// `FS_XFLAG_RTINHERIT`.
        Rtinherit = "t",
        /// `FS_XFLAG_PROJINHERIT`.
        Projinherit = "P",
        /// `FS_XFLAG_NOSYMLINKS`.
        Nosymlinks = "n",
        /// `FS_XFLAG_EXTSIZE`.
        Extsize = "e",
        /// `FS_XFLAG_EXTSZINHERIT`.
        Extszinherit = "E",
        /// `FS_XFLAG_NODEFRAG`.
        Nodefrag = "f",
        /// `FS_XFLAG_FILESTREAM`.
        Filestream = "S",
        /// `FS_XFLAG_DAX`.
        Dax = "x",
        /// `FS_XFLAG_COWEXTSIZE`.
        Cowextsize = "C",
        /// `FS_XFLAG_HASATTR`.
        Hasattr = "X",
    }
}

/// A letter that stands for one bit.
pub trait Letter: Word {
    /// The bit.
    fn bit(self) -> u32;
}

impl Letter for Flag {
    fn bit(self) -> u32 {
        match self {
            Self::Secrm => 0x1,
            Self::Unrm => 0x2,
            Self::Compr => 0x4,
            Self::Sync => 0x8,
            Self::Immutable => 0x10,
            Self::Append => 0x20,
            Self::Nodump => 0x40,
            Self::Noatime => 0x80,
            Self::Nocomp => 0x400,
            Self::Encrypt => 0x800,
            Self::Index => 0x1000,
            Self::JournalData => 0x4000,
            Self::Notail => 0x8000,
            Self::Dirsync => 0x1_0000,
            Self::Topdir => 0x2_0000,
            Self::Extent => 0x8_0000,
            Self::Verity => 0x10_0000,
            Self::Nocow => 0x80_0000,
            Self::Dax => 0x200_0000,
            Self::InlineData => 0x1000_0000,
            Self::Projinherit => 0x2000_0000,
            Self::Casefold => 0x4000_0000,
        }
    }
}

impl Letter for XFlag {
    fn bit(self) -> u32 {
        match self {
            Self::Realtime => 0x1,
            Self::Prealloc => 0x2,
            Self::Immutable => 0x8,
            Self::Append => 0x10,
            Self::Sync => 0x20,
            Self::Noatime => 0x40,
            Self::Nodump => 0x80,
            Self::Rtinherit => 0x100,
            Self::Projinherit => 0x200,
            Self::Nosymlinks => 0x400,
            Self::Extsize => 0x800,
            Self::Extszinherit => 0x1000,
            Self::Nodefrag => 0x2000,
            Self::Filestream => 0x4000,
            Self::Dax => 0x8000,
            Self::Cowextsize => 0x1_0000,
            Self::Hasattr => 0x8000_0000,
        }
    }
}

/// Flags given to a call as they are: letters, or the number itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flags<L: Letter> {
    /// By letters.
    Letters(Set<L>),
    /// The raw number.
    Raw(u32),
}

impl<L: Letter> Flags<L> {
    /// The number.
    #[must_use]
    pub fn bits(&self) -> u32 {
        match self {
            Self::Letters(letters) => letters.iter().fold(0, |bits, letter| bits | letter.bit()),
            Self::Raw(bits) => *bits,
        }
    }
}

/// A change of flags: `+x`, `-j`, `+x-j`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<L: Letter> {
    /// Set.
    pub add: Set<L>,
    /// Cleared.
    pub remove: Set<L>,
}

impl<L: Letter> Change<L> {
    /// What `bits` come to.
    #[must_use]
    pub fn apply(&self, bits: u32) -> u32 {
        let of = |set: Set<L>| set.iter().fold(0, |bits, letter| bits | letter.bit());
        bits & !of(self.remove) | of(self.add)
    }
}

/// The words of the flags that are set, as `getflags` and `fsgetxattr` give them; bits without a letter are left out.
pub fn letters_of<L: Letter>(bits: u32) -> impl Iterator<Item = &'static str> {
    L::ALL.iter().filter(move |letter| bits & letter.bit() != 0).map(|letter| letter.word())
}
