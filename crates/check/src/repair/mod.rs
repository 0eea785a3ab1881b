//! How findings are mended: those of the lowest stage, then everything is looked at again, until nothing is left.
//!
//! The stages go as the structures build on each other: what the superblock and the descriptors say, inodes and their maps; then
//! bitmaps and counts are made true, so that what needs new blocks or inodes can take them as any edit does: files that share blocks,
//! holes. Blocks of directories are written only now that they are nobody else's; then entries, `lost+found`, counts of links, quota,
//! and a new journal last.

mod bad_blocks;
mod blocks;
mod dirs;
mod driver;
mod fixer;
mod groups;
mod improve;
mod inodes;
mod journal;
mod names;

pub use driver::{Decide, Repaired, repair};

use daxkit_format::ext4::group_desc::GroupDesc;
use daxkit_format::ext4::inode::Inode;
use daxkit_format::ext4::quota::QuotaKind;
use daxkit_format::ext4::super_block::SuperBlock;
use zerocopy::IntoBytes;

/// A part of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    BlockBitmap,
    InodeBitmap,
    InodeTable,
}

/// What is done to an entry of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryFix {
    /// It goes.
    Remove,
    /// It says another type.
    Type(u8),
    /// It leads to another inode, of this type.
    Target(u32, u8),
    /// What no name holds becomes dots.
    Dots,
    /// What is not ASCII becomes dots.
    Ascii,
    /// It gets a name that nothing else has.
    Rename,
}

/// How a finding is mended. Sorted by stages: those of a later one are looked at again when an earlier one was mended.
#[derive(Debug, Clone)]
pub(crate) enum Fix {
    /// It was mended by opening the image.
    Done,
    /// A change of the superblock, which is sealed.
    Super(fn(&mut SuperBlock, u64), u64),
    /// A change of a descriptor, which is sealed.
    Group(u32, fn(&mut GroupDesc, u64), u64),
    /// A change of an inode's bytes, which are sealed.
    Inode(u32, fn(&mut [u8], u64), u64),
    /// Four bytes of an inode, which is sealed.
    InodeWord(u32, usize, u32),
    /// An inode is cleared.
    Clear(u32),
    /// What cannot stay goes out of a map.
    PruneMap(u32),
    /// A map is emptied.
    EmptyMap(u32),
    /// A file is copied to where it can be.
    Rebuild(u32),
    /// Inline data gets its attribute.
    InlineAttribute(u32),
    /// Four bytes of a block of attributes, which is sealed.
    XattrWord(u64, usize, u32),
    /// No inode has this block of attributes any more.
    XattrBlockGone(u64),
    /// The part of a group moves to where it can be.
    MovePart(u32, Part),
    /// A block of a directory is made whole: inode, block of the directory, block of the image.
    DirBlock(u32, u32, u64),
    /// Inline entries are made whole.
    InlineDir(u32),
    /// An entry: inode, block of the directory, block of the image (0 in the inode), byte.
    Entry(u32, u32, u64, u32, EntryFix),
    /// `..` leads to this directory.
    DotDot(u32, u32),
    /// A directory has no index any more.
    DropIndex(u32),
    /// A directory has no holes.
    FillHoles(u32),
    /// Blocks that others claim as well are copied; whether the first claim stays; which blocks.
    Clone(u32, bool, Vec<(u64, u64)>),
    /// There is a root.
    Root,
    /// An inode gets a name in lost+found.
    Connect(u32),
    /// There is a lost+found.
    LostFound,
    BlockBitmap(u32),
    InodeBitmap(u32),
    /// Bytes of the image.
    Bytes(u64, Vec<u8>),
    /// The quota of a kind: whether the file is made anew, and what ids use (bytes and inodes).
    Quota(QuotaKind, bool, Vec<(u32, u64, u64)>),
    Uuid,
    Mmp,
    ResizeInode,
    /// The journal goes, and a new one is made.
    NewJournal,
    /// Orphans are dealt with as a mount would.
    Orphans,
    /// Nothing says that orphans wait.
    NoOrphans,
    NoOrphanFile,
    NewOrphanFile,
    /// The extent tree of an inode is built anew.
    PackTree(u32),
}

/// Changes the fields of an inode's bytes.
pub(crate) fn edit_inode(raw: &mut [u8], change: impl FnOnce(&mut Inode)) {
    let Some(mut inode) = Inode::from_disk(raw) else { return };
    change(&mut inode);
    // Behind what i_extra_isize covers lie attributes, not fields.
    let extra = usize::from(inode.i_extra_isize.get());
    let known = if raw.len() > 128 { 128 + extra.min(size_of::<Inode>() - 128) } else { 128 };
    let len = raw.len().min(known);
    if let (Some(to), Some(from)) = (raw.get_mut(..len), inode.as_bytes().get(..len)) {
        to.copy_from_slice(from);
    }
}

/// What is mended together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Opening,
    Super,
    Inodes,
    Maps,
    Root,
    Blocks,
    DirBlocks,
    Entries,
    Names,
    Links,
    Last,
    /// Nothing is wrong any more.
    Optimise,
}

impl crate::Finding {
    /// When it is mended; `None` when it cannot be.
    pub(crate) fn stage(&self) -> Option<Stage> {
        use crate::Code::{
            GroupDirs, GroupFreeBlocks, GroupFreeInodes, InodeLinks, SuperFreeBlocks, SuperFreeInodes, XattrEaRefcount,
        };
        let fix = self.fix.as_ref()?;
        match self.code {
            // Whether it has a name is known when all names have been mended.
            crate::Code::InodeUnattachedEmpty => return Some(Stage::Names),
            crate::Code::LostFound => return Some(Stage::Last),
            crate::Code::SuperShared => return Some(Stage::Optimise),
            // The file goes, instead of its blocks.
            crate::Code::BlocksShared => return Some(Stage::Blocks),
            GroupDirs | GroupFreeBlocks | GroupFreeInodes | SuperFreeBlocks | SuperFreeInodes => {
                return Some(Stage::Maps);
            }
            InodeLinks | XattrEaRefcount => return Some(Stage::Links),
            _ => {}
        }
        Some(match fix {
            Fix::Done => Stage::Opening,
            Fix::Super(..)
            | Fix::Group(..)
            | Fix::Bytes(..)
            | Fix::Uuid
            | Fix::Mmp
            | Fix::NoOrphans
            | Fix::NoOrphanFile
            | Fix::NewOrphanFile
            | Fix::MovePart(..)
            | Fix::Orphans
            | Fix::NewJournal => Stage::Super,
            Fix::Inode(..)
            | Fix::InodeWord(..)
            | Fix::Clear(_)
            | Fix::PruneMap(_)
            | Fix::EmptyMap(_)
            | Fix::InlineAttribute(_)
            | Fix::XattrWord(..)
            | Fix::XattrBlockGone(_) => Stage::Inodes,
            Fix::DirBlock(..) | Fix::InlineDir(_) | Fix::DropIndex(_) => Stage::DirBlocks,
            Fix::Entry(..) | Fix::DotDot(..) => Stage::Entries,
            Fix::BlockBitmap(_) | Fix::InodeBitmap(_) => Stage::Maps,
            Fix::Root => Stage::Root,
            Fix::Clone(..) | Fix::Rebuild(_) | Fix::FillHoles(_) => Stage::Blocks,
            Fix::Connect(_) | Fix::LostFound => Stage::Names,
            // What lies where its blocks will be has to be gone.
            Fix::ResizeInode | Fix::Quota(..) => Stage::Last,
            Fix::PackTree(_) => Stage::Optimise,
        })
    }
}
