//! Large and awkward inputs from end to end: a million files, directories and files of tens of thousands of pieces, names and
//! attributes at their limits, the machine's own `/usr`, images the kernel goes on to write to, 15 TiB, and the same bytes
//! from every machine. Each test prints what it measured.
//!
//! These tests need root (loop mounts, owners, `trusted.` attributes), a tmpfs at /dev/shm and some gigabytes of disk; one
//! that lacks what it needs fails and says so.

#[allow(dead_code)]
#[path = "../shared/mod.rs"]
mod shared;

mod attributes;
mod common;
mod directory;
mod edits;
mod huge;
mod kernel_writes;
mod machine;
mod million;
mod names;
mod reproducible;
mod sparse;

use shared::{judge, oracle, readers, snapshot, tools, tree_compare};
