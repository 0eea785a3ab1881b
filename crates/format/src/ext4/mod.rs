//! ext4's structures, one file each, named after the kernel's (`fs/ext4/ext4.h`, Linux 6.12).
//!
//! The raw structures hold integers only and keep every bit. What needs more than one structure's fields (block size,
//! descriptor size, checksum seed) asks [`super_block::SuperBlock`].

pub mod acl;
pub mod acl_inherit;
pub mod casefold;
pub mod dir_block;
pub mod dir_entry;
pub mod dir_tree;
pub mod dx;
pub mod encryption;
pub mod extent;
pub mod features;
pub mod group_desc;
pub mod hash;
pub mod indirect;
pub mod inline_data;
pub mod inode;
pub mod inode_flags;
pub mod mmp;
pub mod orphan;
pub mod quota;
pub mod resize_inode;
pub mod super_block;
pub mod verity;
pub mod xattr;
