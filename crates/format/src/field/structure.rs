//! Every structure that lies on disk, with its size and its fields.

use crate::ext4::{
    dir_entry, dx, encryption, extent, group_desc, inode, mmp, orphan, quota, super_block, verity, xattr,
};
use crate::jbd2::{self, fast_commit};
use crate::on_disk::{FieldDef, OnDisk};

/// One row of the registry.
#[derive(Debug, Clone, Copy)]
pub struct StructureInfo {
    /// Which.
    pub structure: Structure,
    /// The kernel's name, e.g. `ext4_inode`.
    pub name: &'static str,
    /// Size in bytes of the fixed part.
    pub size: usize,
    /// The fields, in order of offset.
    pub fields: &'static [FieldDef],
}

macro_rules! registry {
    ($($(#[$meta:meta])* $variant:ident = $ty:ty,)*) => {
        /// All on-disk structures.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Structure {
            $($(#[$meta])* $variant,)*
        }

        static STRUCTURES: &[StructureInfo] = &[
            $(StructureInfo {
                structure: Structure::$variant,
                name: <$ty as OnDisk>::NAME,
                size: size_of::<$ty>(),
                fields: <$ty as OnDisk>::FIELDS,
            },)*
        ];

        impl Structure {
            /// Size, name and fields.
            #[must_use]
            pub const fn info(self) -> StructureInfo {
                match self {
                    $(Self::$variant => StructureInfo {
                        structure: self,
                        name: <$ty as OnDisk>::NAME,
                        size: size_of::<$ty>(),
                        fields: <$ty as OnDisk>::FIELDS,
                    },)*
                }
            }
        }
    };
}

registry! {
    /// The superblock.
    SuperBlock = super_block::SuperBlock,
    /// A group descriptor of 64 bytes.
    GroupDesc = group_desc::GroupDesc,
    /// A group descriptor of 32 bytes.
    GroupDesc32 = group_desc::GroupDesc32,
    /// An inode, with all extra fields.
    Inode = inode::Inode,
    /// Head of a node of an extent tree.
    ExtentHeader = extent::ExtentHeader,
    /// Entry of a leaf of an extent tree.
    Extent = extent::Extent,
    /// Entry of an index node of an extent tree.
    ExtentIdx = extent::ExtentIdx,
    /// End of a node of an extent tree.
    ExtentTail = extent::ExtentTail,
    /// A directory entry, without its name.
    DirEntry = dir_entry::DirEntry,
    /// End of a directory block.
    DirEntryTail = dir_entry::DirEntryTail,
    /// Hash behind the name of an encrypted, casefolded entry.
    DirEntryHash = dir_entry::DirEntryHash,
    /// Root of an htree.
    DxRoot = dx::DxRoot,
    /// Entry of an htree block.
    DxEntry = dx::DxEntry,
    /// Where the first entry's hash would be.
    DxCountLimit = dx::DxCountLimit,
    /// End of an htree block.
    DxTail = dx::DxTail,
    /// Head of a block of extended attributes.
    XattrHeader = xattr::XattrHeader,
    /// Head of the extended attributes in an inode.
    XattrIbodyHeader = xattr::XattrIbodyHeader,
    /// Entry of an extended attribute.
    XattrEntry = xattr::XattrEntry,
    /// Multiple mount protection.
    MmpStruct = mmp::MmpStruct,
    /// End of a block of the orphan file.
    OrphanBlockTail = orphan::OrphanBlockTail,
    /// Head of a quota file.
    DqHeader = quota::DqHeader,
    /// Information of a quota file.
    DqInfo = quota::DqInfo,
    /// Head of a leaf of a quota tree.
    DqDataHeader = quota::DqDataHeader,
    /// Usage and limits of one id.
    DqBlk = quota::DqBlk,
    /// fs-verity's descriptor.
    VerityDescriptor = verity::VerityDescriptor,
    /// fscrypt's context, version 1.
    ContextV1 = encryption::ContextV1,
    /// fscrypt's context, version 2.
    ContextV2 = encryption::ContextV2,
    /// The journal's superblock.
    JournalSuperBlock = jbd2::JournalSuperBlock,
    /// Head of every block of the journal that is not data.
    JournalHeader = jbd2::JournalHeader,
    /// A tag of a descriptor block.
    BlockTag = jbd2::BlockTag,
    /// A tag of a descriptor block with checksum version 3.
    BlockTag3 = jbd2::BlockTag3,
    /// End of a descriptor or revoke block.
    BlockTail = jbd2::BlockTail,
    /// A commit block.
    CommitHeader = jbd2::CommitHeader,
    /// Head of a revoke block.
    RevokeHeader = jbd2::RevokeHeader,
    /// Head of a fast-commit tag.
    FcTl = fast_commit::FcTl,
    /// First tag of a fast-commit area.
    FcHead = fast_commit::FcHead,
    /// Fast commit: blocks were mapped.
    FcAddRange = fast_commit::FcAddRange,
    /// Fast commit: blocks were unmapped.
    FcDelRange = fast_commit::FcDelRange,
    /// Fast commit: a name.
    FcDentryInfo = fast_commit::FcDentryInfo,
    /// Fast commit: an inode.
    FcInode = fast_commit::FcInode,
    /// Last tag of a fast commit.
    FcTail = fast_commit::FcTail,
}

/// All of them, in the order of [`Structure`].
#[must_use]
pub fn structures() -> &'static [StructureInfo] {
    STRUCTURES
}

impl Structure {
    /// The kernel's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.info().name
    }

    /// Size in bytes of the fixed part.
    #[must_use]
    pub const fn size(self) -> usize {
        self.info().size
    }

    /// The fields, in order of offset.
    #[must_use]
    pub const fn fields(self) -> &'static [FieldDef] {
        self.info().fields
    }

    /// The structure with this kernel name; the longer one where two share it.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        STRUCTURES.iter().filter(|s| s.name == name).max_by_key(|s| s.size).map(|s| s.structure)
    }

    /// What debugfs leaves out at the start of a field's name; empty where it has no names of its own.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::SuperBlock | Self::JournalSuperBlock => "s_",
            Self::GroupDesc | Self::GroupDesc32 => "bg_",
            Self::Inode => "i_",
            Self::MmpStruct => "mmp_",
            Self::XattrEntry => "e_",
            Self::XattrHeader => "h_",
            Self::Extent => "ee_",
            Self::ExtentIdx => "ei_",
            Self::ExtentHeader => "eh_",
            _ => "",
        }
    }
}
