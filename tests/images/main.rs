//! Images from end to end: made, and then read back by everybody who can read them: `e2fsck`, `dumpe2fs`, `debugfs`, the
//! kernel through a loop device, `daxkit-volume`, and the independent reader `ext4-view`.
//!
//! Most of these tests need root (device nodes, owners, mounts); one without the rights it needs fails and says so.

#[path = "../shared/mod.rs"]
mod shared;

mod ext4_view;
mod harness;
mod matrix;
mod pairwise;
mod pmem;
mod promises;
mod reproducible;

use shared::{fixtures, oracle, readers, snapshot, tools, tree_compare};
