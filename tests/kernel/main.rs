//! The kernel of this machine as judge of the emulated one: the same random system calls on both, on the same file system, and after
//! each the same answer. In two personalities: ext4 over one image, and the small file system in memory with XFS's rules against XFS.
//!
//! These tests need root with loop devices, mke2fs and mkfs.xfs; one that lacks what it needs fails and says so.

#[allow(dead_code)]
#[path = "../shared/mod.rs"]
mod shared;

#[allow(dead_code)]
#[path = "../mount/machine.rs"]
mod machine;
#[path = "../mount/random.rs"]
mod random;

mod agree;
mod call;
mod emulated;
mod generate;
mod host;
mod known;
mod pair;
mod shrink;
mod sys;
mod trees;

/// Pages of the window of addresses that mappings are made in.
const WINDOW: u64 = 64;

/// Bytes that count up.
fn counting(first: u8, len: usize) -> Vec<u8> {
    (0..len).map(|n| first.wrapping_add(n as u8)).collect()
}
