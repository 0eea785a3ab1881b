//! ext4's structures, one file each, named after the kernel's.
pub mod hash;
