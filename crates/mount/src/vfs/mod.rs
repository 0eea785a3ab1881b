//! The VFS: mounts, the inode cache, names, open files, attributes, system calls on them.

pub mod advise;
pub mod attr;
pub mod clone;
pub mod fileattr;
pub mod freeze;
pub(crate) mod history;
pub mod icache;
pub(crate) mod inline;
pub mod mount;
pub mod move_extents;
pub mod namespace;
pub mod open;
pub mod protect;
pub mod rw;
pub mod seek;
pub mod setattr;
pub mod shutdown;
pub mod space;
pub mod statx;
pub mod swap;
pub mod sync;
mod unshare;
