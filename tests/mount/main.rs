//! The emulated kernel over the real file system: random operations on ext4 and on the small file system in memory side by side,
//! against a model that shares no code with either; then the image is judged by `e2fsck -fn` and `dax-fsck -n`, mounted
//! again here and by the kernel, and compared.
//!
//! These tests need mke2fs, e2fsck, and root with loop devices; one that lacks what it needs fails and says so.

#[allow(dead_code)]
#[path = "../shared/mod.rs"]
mod shared;

mod bad_images;
mod command;
mod differential;
mod machine;
mod model;
mod random;
mod super_block;
